"""All parameters of a network in one flat tensor, with the solver's state beside them.

Layout. Row 0 of `storage` holds the parameters. The rows below it hold the values that the solver
keeps for each parameter (two moments for Adam, a velocity for SGD). Each row holds the weights of
all layers, then their biases, then the parameters of other modules (normalization, the user's
activations). So a solver updates whole vectors, the penalty is one product of the leading part of a
row with itself, and a checkpoint of everything is one copy (and one of each buffer of the modules,
such as running statistics, if there are any).

If several networks are trained at once, the members of an ensemble, each layer's weights and
biases have a leading dimension for them. So the solver and the penalty need not know of them, and
the first layer of all members is one matrix, because they share the rows.

The weights of a layer have shape (n_out, n_in), as in `torch.nn.Linear`. Together with
feature-major activations, this is the layout in which the products of narrow layers are fastest
(they take about half the time; `examples/benchmarks/choices.py` measures it). The one exception is
a first layer that multiplies sparse rows: the products of a row then read whole rows of the
transpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sknn._platform import _compat

Arrays = list[np.ndarray]


class Row(NamedTuple):
    """One row of `FlatParameters.storage`, which has a value for each parameter.

    Attributes
    ----------
    coefs : list of ndarray of shape (n_in, n_out)
        Values for the weights of each layer.
    intercepts : list of ndarray of shape (n_out,)
        Values for the biases of each layer.
    extras : list of ndarray
        Values for the parameters of modules other than the linear layers.
    """

    coefs: Arrays
    intercepts: Arrays
    extras: Arrays


class Checkpoint(NamedTuple):
    """Copies of some rows of `FlatParameters.storage` and of the buffers."""

    rows: torch.Tensor
    buffers: list[torch.Tensor]


class FlatParameters:
    """Weights and biases of every layer, and all other parameters, as views of one vector.

    Parameters
    ----------
    layer_units : sequence of int
        Number of features, of units in each hidden layer, and of outputs.
    n_slots : int
        Number of values that the solver keeps for each parameter.
    dtype : torch.dtype
        Dtype of the parameters, the gradient and the solver's values.
    device : torch.device
        Device of all these tensors.
    input_major : bool
        Whether the weights of the first layer are stored with shape (n_in, n_out).
    modules : sequence of torch.nn.Module
        Other modules than the linear layers: those that members share, and then those of one member
        after the other. Their parameters become views of the vector and keep their values. Their
        buffers are part of every checkpoint.
    n_shared : int, default=0
        Number of parameters of the modules that members share.
    n_members : int
        Number of networks. If it is not 1, the weights and biases below, and the arrays of a `Row`,
        have a leading dimension of this size.

    Attributes
    ----------
    leading : tuple of int
        The leading dimensions of weights and biases: none, or (n_members,) for several members.
    device : torch.device
        The device, as the caller named it: "cuda" stays "cuda".
    vector : torch.Tensor of shape (n_parameters,)
        The parameters, with the gradient as its `grad`. It is the parameter that a
        `torch.optim.Optimizer` is given.
    gradient : torch.Tensor of shape (n_parameters,)
        The gradient of the loss by `vector`.
    message : torch.Tensor of shape (n_parameters + 1,)
        The gradient followed by one value for the loss. Processes add up their messages.
    slots : torch.Tensor of shape (n_slots, n_parameters)
        The values that the solver keeps.
    penalized, penalized_gradient : torch.Tensor of shape (n_weights,)
        The weights of all layers, on which the L2 penalty acts, and their gradient.
    weights, weight_gradients : list of torch.Tensor of shape (n_out, n_in)
        Weights of each layer, and their gradients.
    biases, bias_gradients : list of torch.Tensor of shape (n_out,)
        Biases of each layer, and their gradients.
    extras : list of torch.nn.Parameter
        Parameters of `modules`.
    extra_gradient : torch.Tensor
        The part of the gradient that belongs to `extras`.
    buffers : list of torch.Tensor
        Buffers of `modules`.
    """

    def __init__(
        self,
        layer_units: Sequence[int],
        n_slots: int = 0,
        *,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        input_major: bool = False,
        modules: Sequence[nn.Module] = (),
        n_shared: int = 0,
        n_members: int = 1,
    ) -> None:
        self.layer_units = tuple(layer_units)
        self.n_members = n_members
        self.leading = () if n_members == 1 else (n_members,)
        self.input_major = input_major
        self.device = torch.device(device)
        for module in modules:
            module.to(device, dtype)
        factors = {id(p): getattr(m, "rate_factor", 1.0) for m in modules for p in m.parameters()}
        # The parameters of a module that stands in several layers are counted once. Those of the
        # members that correspond to each other are neighbours, so that they can be stacked.
        self.extras = list({id(p): p for m in modules for p in m.parameters()}.values())
        shared, own = self.extras[:n_shared], self.extras[n_shared:]
        n_own = len(own) // n_members
        self._n_shared = n_shared
        self.extras = shared + [p for i in range(n_own) for p in own[i::n_own]]
        self.buffers = list({id(b): b for m in modules for b in m.buffers()}.values())
        self._extra_factors = [factors[id(p)] for p in self.extras]
        n_weights = n_members * sum(n_in * n_out for n_in, n_out in pairwise(self.layer_units))
        n_linear = n_weights + n_members * sum(self.layer_units[1:])
        n_parameters = n_linear + sum(p.numel() for p in self.extras)
        self.storage = torch.zeros(1 + n_slots, n_parameters, dtype=dtype, device=device)
        self.message = torch.zeros(n_parameters + 1, dtype=dtype, device=device)
        self.gradient = self.message[:-1]
        self._saved: Checkpoint | None = None
        self.slots = self.storage[1:]
        self.vector = torch.nn.Parameter(self.storage[0])
        self.vector.grad = self.gradient
        self.penalized = self.storage[0, :n_weights]
        self.penalized_gradient = self.gradient[:n_weights]
        self.extra_gradient = self.gradient[n_linear:]
        self._views: dict[int, tuple[list[torch.Tensor], ...]] = {}
        self.weights, self.biases, extras = self._views_of(0)
        self.weight_gradients, self.bias_gradients, extra_gradients = self.views(self.gradient)
        for parameter, view, gradient in zip(self.extras, extras, extra_gradients, strict=True):
            parameter.data = view.copy_(parameter.detach())
            parameter.grad = gradient

    def views(
        self, row: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Return views of one row: the weights (n_out, n_in), the biases and the extras."""
        k = self.n_members
        shapes = [(n_in, k * n_out) for n_in, n_out in pairwise(self.layer_units)]
        sizes = [n_in * n_out for n_in, n_out in shapes]
        units = [n_out for _, n_out in shapes]
        parts = list(row.split([*sizes, *units, *(p.numel() for p in self.extras)]))
        n = len(shapes)
        weights = [w.view(n_out, n_in) for w, (n_in, n_out) in zip(parts, shapes, strict=False)]
        if self.input_major:
            weights[0] = parts[0].view(shapes[0]).t()
        biases = parts[n : 2 * n]
        if k > 1:
            weights, biases = ([v.unflatten(0, (k, -1)) for v in of] for of in (weights, biases))
        extras = [e.view(p.shape) for e, p in zip(parts[2 * n :], self.extras, strict=True)]
        return weights, biases, extras

    def of_member(self, row: torch.Tensor, member: int) -> list[torch.Tensor]:
        """Return views of all values of one row that belong to one member."""
        weights, biases, extras = self.views(row)
        own = extras[self._n_shared + member :: self.n_members]
        return [*(v[member] if self.n_members > 1 else v for v in (*weights, *biases)), *own]

    def rate_factors(self) -> list[tuple[slice, float]]:
        """Return parts of the vector with the factors of their rates; empty if all are 1."""
        n_linear = len(self.gradient) - len(self.extra_gradient)
        sized = [(n_linear, 1.0)]
        sized += zip((p.numel() for p in self.extras), self._extra_factors, strict=True)
        parts: list[tuple[slice, float]] = []
        start = 0
        for size, factor in sized:
            stop = start + size
            if parts and parts[-1][1] == factor:
                start = parts.pop()[0].start
            parts.append((slice(start, stop), factor))
            start = stop
        return [] if len(parts) == 1 else parts

    def shared(self, row: torch.Tensor) -> torch.Tensor:
        """Return a view of the values of one row that all members share."""
        size = sum(p.numel() for p in self.extras[: self._n_shared])
        start = len(row) - sum(p.numel() for p in self.extras)
        return row[start : start + size]

    def stack(self, parameters: Sequence[nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the values and the gradients of parameters that are neighbours as two stacks."""
        first = parameters[0]
        start, size = first.storage_offset(), first.numel()
        if [p.storage_offset() for p in parameters] != [
            start + i * size for i in range(len(parameters))
        ]:
            raise ValueError("the parameters are no neighbours in the vector")
        stop, shape = start + size * len(parameters), (len(parameters), *first.shape)
        return self.storage[0, start:stop].view(shape), self.gradient[start:stop].view(shape)

    def _views_of(self, row: int) -> tuple[list[torch.Tensor], ...]:
        """Return the views of one row of `storage`. They are made once."""
        if row not in self._views:
            self._views[row] = self.views(self.storage[row])
        return self._views[row]

    def read(self, row: int = 0) -> Row:
        """Return one row of `storage` as NumPy arrays, which on the CPU share its memory."""
        weights, biases, extras = self._views_of(row)
        return Row(
            [w.mT.cpu().numpy() for w in weights],
            [b.cpu().numpy() for b in biases],
            [e.cpu().numpy() for e in self._by_member(extras)],
        )

    def _by_member(self, extras: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return extras in the order of a `Row`: shared ones, then those of each member."""
        own, k = extras[self._n_shared :], self.n_members
        return [*extras[: self._n_shared], *(e for i in range(k) for e in own[i::k])]

    def write(
        self, coefs: Sequence, intercepts: Sequence, extras: Sequence | None = None, row: int = 0
    ) -> None:
        """Copy arrays into one row of `storage`. If `extras` is None, the extras do not change."""
        weights, biases, others = self._views_of(row)
        for view, array in zip(weights, coefs, strict=True):
            view.copy_(_compat.as_tensor(np.asarray(array)).mT)
        for view, array in zip(biases, intercepts, strict=True):
            view.copy_(_compat.as_tensor(np.asarray(array)))
        if extras is not None:
            for view, array in zip(self._by_member(others), extras, strict=True):
                view.copy_(_compat.as_tensor(np.asarray(array)))

    def attach_gradients(self, module: nn.Module) -> None:
        """Make the gradients of a module's linear layers views of the vector's gradient."""
        gradients = (self.weight_gradients, self.bias_gradients)
        if self.n_members > 1:  # one layer of all members after the other
            gradients = ([g for of_layer in of for g in of_layer] for of in gradients)
        for layer, weight, bias in zip(module.linear_layers(), *gradients, strict=True):
            layer.weight.grad, layer.bias.grad = weight, bias

    def checkpoint(self) -> Checkpoint:
        """Return a copy of the parameters and buffers, without the values that the solver keeps."""
        return Checkpoint(self.storage[0].clone(), [b.clone() for b in self.buffers])

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore what `checkpoint` returned."""
        self.storage[0].copy_(checkpoint.rows)
        for buffer, saved in zip(self.buffers, checkpoint.buffers, strict=True):
            buffer.copy_(saved)

    @contextmanager
    def holding(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Run the body with the parameters of a checkpoint."""
        now = self.checkpoint()
        self.restore(checkpoint)
        try:
            yield
        finally:
            self.restore(now)

    def save(self) -> None:
        """Save a copy of everything for `revert`."""
        if self._saved is None:
            empty = [torch.empty_like(b) for b in self.buffers]
            self._saved = Checkpoint(torch.empty_like(self.storage), empty)
        self._saved.rows.copy_(self.storage)
        if self.buffers:
            for saved, buffer in zip(self._saved.buffers, self.buffers, strict=True):
                saved.copy_(buffer)

    def revert(self) -> None:
        """Restore what `save` saved last."""
        self.storage.copy_(self._saved.rows)
        for buffer, saved in zip(self.buffers, self._saved.buffers, strict=True):
            buffer.copy_(saved)
