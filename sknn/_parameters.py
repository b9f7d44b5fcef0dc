"""All parameters of a network in one flat tensor, with the solver's state beside them.

Layout. Row 0 of `storage` holds the parameters, the rows below it what the solver remembers of
each of them (Adam: two moments, SGD: a velocity). A row is the weights of all layers, then
their biases. So a solver updates whole vectors, the penalty is one product of the leading part of
a row with itself, and a checkpoint of everything is one copy.

The weights of a layer are held (n_out, n_in), as `torch.nn.Linear` has them: together with
feature-major activations this is the layout in which the products of narrow layers are fastest
(about half the time; `examples/benchmarks/choices.py` measures it). The one exception is a first
layer that multiplies sparse rows: there a row's products read whole rows of the transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from sknn import _compat

Arrays = list[np.ndarray]


class FlatParameters:
    """Weights and biases of every layer as views of one vector.

    Parameters
    ----------
    layer_units : sequence of int
        Number of features, of units in each hidden layer, and of outputs.
    n_slots : int
        Number of values that the solver keeps for each parameter.
    dtype : torch.dtype
    device : torch.device
    input_major : bool
        Whether the first layer's weights are held (n_in, n_out).

    Attributes
    ----------
    vector : torch.Tensor of shape (n_parameters,)
        The parameters, with `grad` as its gradient: what a `torch.optim.Optimizer` is given.
    gradient : torch.Tensor of shape (n_parameters,)
    slots : torch.Tensor of shape (n_slots, n_parameters)
    penalized, penalized_gradient : torch.Tensor of shape (n_weights,)
        The weights of all layers, on which the L2 penalty acts, and their gradient.
    weights, weight_gradients : list of torch.Tensor of shape (n_out, n_in)
    biases, bias_gradients : list of torch.Tensor of shape (n_out,)
    """

    def __init__(
        self,
        layer_units: Sequence[int],
        n_slots: int = 0,
        *,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        input_major: bool = False,
    ) -> None:
        self.layer_units = tuple(layer_units)
        self.input_major = input_major
        n_weights = sum(n_in * n_out for n_in, n_out in pairwise(self.layer_units))
        n_parameters = n_weights + sum(self.layer_units[1:])
        self.storage = torch.zeros(1 + n_slots, n_parameters, dtype=dtype, device=device)
        self.gradient = torch.zeros(n_parameters, dtype=dtype, device=device)
        self._saved: torch.Tensor | None = None
        self.slots = self.storage[1:]
        self.vector = torch.nn.Parameter(self.storage[0])
        self.vector.grad = self.gradient
        self.penalized = self.storage[0, :n_weights]
        self.penalized_gradient = self.gradient[:n_weights]
        self.weights, self.biases = self.views(self.storage[0])
        self.weight_gradients, self.bias_gradients = self.views(self.gradient)

    def views(self, row: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """One row as the weights (n_out, n_in) and the biases of each layer."""
        sizes = [n_in * n_out for n_in, n_out in pairwise(self.layer_units)]
        *weights, rest = row.split([*sizes, row.numel() - sum(sizes)])
        shapes = list(pairwise(self.layer_units))
        matrices = [w.view(n_out, n_in) for w, (n_in, n_out) in zip(weights, shapes, strict=True)]
        if self.input_major:
            matrices[0] = weights[0].view(shapes[0]).t()
        return matrices, list(rest.split(self.layer_units[1:]))

    def read(self, row: int = 0) -> tuple[Arrays, Arrays]:
        """Coefficients (n_in, n_out) and intercepts of one row of `storage`, as NumPy arrays.

        On the CPU they share its memory.
        """
        weights, biases = self.views(self.storage[row])
        return [w.t().cpu().numpy() for w in weights], [b.cpu().numpy() for b in biases]

    def write(self, coefs: Sequence, intercepts: Sequence, row: int = 0) -> None:
        """Copy coefficients (n_in, n_out) and intercepts into one row of `storage`."""
        weights, biases = self.views(self.storage[row])
        for view, array in zip(weights, coefs, strict=True):
            view.copy_(_compat.as_tensor(np.asarray(array)).t())
        for view, array in zip(biases, intercepts, strict=True):
            view.copy_(_compat.as_tensor(np.asarray(array)))

    def save(self) -> None:
        """Keep a copy of `storage` for `revert`."""
        if self._saved is None:
            self._saved = torch.empty_like(self.storage)
        self._saved.copy_(self.storage)

    def revert(self) -> None:
        """Go back to the last `save`."""
        self.storage.copy_(self._saved)
