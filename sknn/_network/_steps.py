"""A step turns one batch into a loss and a gradient.

`ClosedFormStep` is the hot path: the textbook's back-propagation, a list of operations on buffers
that are made once. `AutogradStep` differentiates anything that torch can differentiate. It is the
reference that the operations are tested against, and trains modules in mixed precision. Both fill
the gradient of a `FlatParameters` and a `Slot` with the parts of the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import nn

from sknn._data._batches import Batch
from sknn._network._architecture import Network
from sknn._network._dropout import Masks
from sknn._network._losses import Constants, Loss
from sknn._network._matrix_products import OPERANDS, Operand, TorchProducts
from sknn._network._module import Ensemble, FeedForwardModule
from sknn._network._operations import (
    Buffers,
    Operation,
    bias,
    hidden_layer,
    input_scaling,
    periodic_embedding,
    product,
)
from sknn._network._parameters import FlatParameters
from sknn._platform._user_code import blamed_on


class Slot(NamedTuple):
    """Memory for the parts of the loss of one batch, from which `LossMeter` computes the loss.

    Attributes
    ----------
    terms : torch.Tensor of shape (n_outputs, n_rows) or (1, n_rows)
        The terms of the loss, which the `finish_` of the step completes. Those of several members
        have one more dimension in front.
    norm : operand of shape ()
        The squared norm of the weights.
    factors : torch.Tensor, shaped like `terms`
        The sample weights of the batch over their mean. `LossMeter` multiplies the terms by them.
    """

    terms: torch.Tensor
    norm: Operand
    factors: torch.Tensor


class _Memory:
    """Blocks of memory that the workspaces for batches of all sizes share.

    They can share memory because a step uses only one workspace. This matters if several processes
    share a batch, of which each then has another number of rows in every step.

    Parameters
    ----------
    n_most : int
        Number of rows in the largest batch.
    like : torch.Tensor
        A tensor on the device of the blocks.
    dtype : torch.dtype
        Dtype of the blocks.
    """

    def __init__(self, n_most: int, like: torch.Tensor, dtype: torch.dtype) -> None:
        self._n_most = n_most
        self._new_empty = partial(like.new_empty, dtype=dtype)
        self._blocks: list[torch.Tensor] = []

    def allocator(self, n_rows: int) -> Callable[[int], torch.Tensor]:
        """Return a function that makes the buffers of one workspace.

        The function takes a number of units and returns a tensor of shape (n_units, n_rows).
        """
        numbers = count()

        def new(n_units: int) -> torch.Tensor:
            number, size = next(numbers), n_units * n_rows
            if number == len(self._blocks):
                self._blocks.append(self._new_empty(max(size, n_units * self._n_most)))
            elif size > len(self._blocks[number]):
                self._blocks[number] = self._new_empty(size)
            return self._blocks[number][:size].view(n_units, n_rows)

        return new


class _Workspace:
    """The operations and feature-major buffers for batches of one size.

    Each column of a buffer belongs to one row of the data; the units of several members follow one
    another. `forward` and `backward` list the calls of all operations, but not the product of the
    first layer, which reads the rows. `first_output` and `first_delta` are that product and the
    derivative by it. `last` is the tensor from which the loss is computed, and which it overwrites
    with the last delta: the last output, or its copy in the dtype of the parameters. `rows` and
    `row_factors` hold the result of dropout on dense rows, and its factors.

    The members share the rows, so that their first layers are one matrix and one product. With
    dropout on the rows, each has rows of its own, and the first product is by member, as all others
    are.
    """

    def __init__(self, step: ClosedFormStep, n_rows: int) -> None:
        products, n_members = step.products, step.network.n_members
        network = step.network
        units = [n_members * n for n in network.layer_units[1:]]
        new = step.memory.allocator(n_rows)
        outputs = [new(n) for n in units]
        deltas = [*(new(n) for n in units[:-1]), outputs[-1]]
        buffers = Buffers(products, new, n_rows, n_members)
        self.first_output, self.first_delta = outputs[0], deltas[0]
        if step.drops_inputs:
            self.first_output, self.first_delta = map(buffers.by_member, (outputs[0], deltas[0]))
        self.first_output_operand = buffers.operand(self.first_output)
        self.first_delta_operand = buffers.operand(self.first_delta)
        self.inputs: torch.Tensor | None = None
        if network.embedding is not None:
            self.inputs = new(network.linear_units[0])
            self.inputs_operand = buffers.operand(self.inputs)
            values_delta = new(network.embedding.n_added)
            self.values_delta_operand = buffers.operand(values_delta)
            self.columns = self.inputs[len(values_delta) :]
            self.embedding = periodic_embedding(buffers, step.embedding, self.inputs, values_delta)
        raw = outputs[-1]
        last = products.parameters.storage.new_empty(raw.shape)
        if last.dtype == raw.dtype:
            last = raw
        self.last = buffers.by_member(last)
        layers: list[Operation] = []
        a = outputs[0]
        for i, (z, delta) in enumerate(zip(outputs[:-1], deltas[:-1], strict=True)):
            if i:
                layers.append(product(buffers, i, a, z, delta, deltas[i - 1]))
            operations, a = hidden_layer(
                buffers, network, i, z, delta, masks=step.masks, module=step.module
            )
            layers += operations
        if len(units) > 1:
            layers.append(product(buffers, len(units) - 1, a, raw, raw, deltas[-2]))
        output = bias(buffers, len(units) - 1, last, raw)
        is_copied = last is not raw
        self.forward = [
            *(operation.forward for operation in layers),
            *([partial(last.copy_, raw)] if is_copied else []),
            output.forward,
            partial(step.apply_output_, self.last),
        ]
        self.backward = [
            *([partial(raw.copy_, last)] if is_copied else []),
            output.backward,
            *(operation.backward for operation in reversed(layers)),
        ]
        ones = torch.ones_like(self.last[..., :1, :])
        self.constants = Constants(ones, -ones, torch.empty_like(self.last))
        self.equal_shares = ones.view(-1, n_rows)[0] / n_rows
        self.rows: torch.Tensor | None = None
        self.row_factors: torch.Tensor | None = None


class ClosedFormStep:
    """Forward pass, loss and gradient by the closed form.

    Let a_0 be the rows and a_i = m_i * f_i(W_i a_{i-1} + b_i), where m_i are dropout's factors (or
    1). Let n be the sum of the sample weights s. Each a_i and delta_i has one column for each row
    of the batch. Then (Rumelhart, Hinton and Williams, 1986):

        delta_L = s / n * d loss / d z        (s (p - y) / n for canonical pairs, see `_losses`)
        delta_i = (W_{i+1}^T delta_{i+1}) * m_i * f_i'
        dW_i = delta_i a_{i-1}^T + alpha / n W_i
        db_i = sum of the columns of delta_i

    Parameters
    ----------
    products : TorchProducts
        The products of matrices, which also hold the parameters.
    network : Network
        The architecture.
    loss : Loss
        A loss with a `backward_`.
    alpha : float
        Strength of the L2 penalty alpha / (2 n) |W|^2.
    masks : Masks, default=None
        Generator of dropout's factors. None means no dropout.
    n_most : int, default=0
        Number of rows in the largest batch. By default it is that of the first batch.
    module : FeedForwardModule or Ensemble, default=None
        The module that holds normalization and the modules of the user, if the network has any.

    Attributes
    ----------
    add_penalty : callable
        `(decay)`: adds the weights times a factor to their gradient.
    penalize : callable
        The function that a step calls for this: `add_penalty`, or the function of a solver that
        does it in its own pass over memory.
    """

    def __init__(
        self,
        products: TorchProducts,
        network: Network,
        loss: Loss,
        alpha: float,
        masks: Masks | None = None,
        n_most: int = 0,
        module: FeedForwardModule | Ensemble | None = None,
    ) -> None:
        self.products = products
        self.module = module
        self.parameters = products.parameters
        self.memory = _Memory(n_most, self.parameters.storage, products.dtype)
        self.network = network
        self.loss = loss
        self.alpha = alpha
        self.masks = masks
        self.finish_ = loss.finish_
        self._multiply = self._multiply_rows = products.multiply
        self.apply_output_ = loss.in_training_ or loss.link
        self._penalized = products.operand(self.parameters.penalized)
        self.add_penalty = self.penalize = partial(_add_penalty, self.parameters)
        self.drops_inputs = masks is not None and network.input_dropout > 0
        if self.drops_inputs and network.n_members > 1:
            self._multiply_rows = products.multiply_stacks
        self._of_members = (network.n_members, -1, -1) if network.n_members > 1 else None
        shape = (*(network.leading if self.drops_inputs else ()), -1, network.linear_units[0])
        self._first_weight = self.parameters.weights[0]
        self._scaling: Operation | None = None
        weight = torch.as_tensor(products.weights[0])
        if network.scales_inputs:
            gradient = torch.as_tensor(products.weight_gradients[0])
            modules = [m.get_submodule("input_scaling") for m in self._members()]
            buffers = Buffers(products, self.memory.allocator(1), 1, network.n_members)
            self._scaling = input_scaling(buffers, modules, weight, gradient)
            weight = self._first_weight = self._scaling.output
        self._first_weight = self._first_weight.view(shape)
        self._first_gradient = torch.as_tensor(products.weight_gradients[0]).view(shape)
        self._first_weight_operand = products.operand(weight.view(shape))
        self.embedding: nn.Module | None = None
        if network.embedding is not None:
            shared = module if network.n_members == 1 else module.shared
            self.embedding = shared.get_submodule("embedding")
            added = weight.view(shape)[:, : network.embedding.n_added]
            self._values_weight_t = products.operand(added).T
        self._first_gradient_operand = products.operand(self._first_gradient)
        self._workspaces: dict[int, _Workspace] = {}
        # Autograd across code of the user cannot save tensors of the inference mode, and adds to
        # the gradients that are there.
        self._has_own = network.has_modules_of_the_user
        needs_autograd = self._has_own or loss.is_of_the_user
        self.grad_mode = torch.no_grad if needs_autograd else torch.inference_mode

    def __call__(self, batch: Batch, slot: Slot) -> None:
        """Fill the gradient, and the slot with the parts of the loss."""
        work = self._workspaces.get(batch.n_rows)
        if work is None:
            work = self._workspaces[batch.n_rows] = _Workspace(self, batch.n_rows)
        parameters, products = self.parameters, self.products
        if self._has_own:
            parameters.extra_gradient.zero_()
        X = batch.X
        if self.drops_inputs:
            X = self._drop_inputs(X, work)
        elif not isinstance(X, OPERANDS):
            X = [X]
        y = batch.y if self._of_members is None else batch.y.expand(self._of_members)
        products.refresh()
        self._forward(X, work)
        self.loss.backward_(work.last, y, slot.terms, work.constants)
        work.last.mul_(work.equal_shares if batch.weight is None else batch.weight)
        self._backward(X, work)
        products.collect()
        if self.alpha:
            decay = decay_of(self.alpha, batch.weight_sum, parameters.storage.dtype)
            self.penalize(decay)
            self._multiply(self._penalized, self._penalized, out=slot.norm)

    def _members(self) -> list[nn.Module]:
        return [self.module] if self.network.n_members == 1 else list(self.module)

    def _drop_inputs(
        self, X: Operand | scipy.sparse.csr_matrix, work: _Workspace
    ) -> Operand | list[scipy.sparse.csr_matrix]:
        """Return the rows after dropout: those of all members, or a matrix for each of them.

        Factors for sparse rows are drawn only for the values that are set.
        """
        rate, leading = self.network.input_dropout, self.network.leading
        if not isinstance(X, OPERANDS):
            data = torch.from_numpy(X.data)
            factors = self.masks.fill_(data.new_empty(*leading, len(data)), rate)
            return [
                type(X)((X.data * of_member.numpy(), X.indices, X.indptr), shape=X.shape)
                for of_member in (factors if leading else [factors])
            ]
        X = torch.as_tensor(X)
        if work.rows is None:
            work.rows, work.row_factors = (X.new_empty(*leading, *X.shape) for _ in range(2))
            work.fill_row_factors = self.masks.filler(work.row_factors, rate)
            work.rows_operand = self.products.operand(work.rows)
        work.fill_row_factors()
        torch.mul(X, work.row_factors, out=work.rows)
        return work.rows_operand

    def _forward(self, X: Operand | list[scipy.sparse.csr_matrix], work: _Workspace) -> None:
        if self._scaling is not None:
            self._scaling.forward()
        if isinstance(X, OPERANDS):
            X_t = X.swapaxes(-1, -2)
            if work.inputs is not None:
                work.columns.copy_(torch.as_tensor(X_t))
                work.embedding.forward()
                X_t = work.inputs_operand
            self._multiply_rows(self._first_weight_operand, X_t, out=work.first_output_operand)
        else:
            parts = map(_matrices, (self._first_weight, work.first_output))
            for rows, weight, output in zip(X, *parts, strict=True):
                output.copy_(torch.from_numpy(rows @ weight.numpy().T).t())
        for call in work.forward:
            call()

    def _backward(self, X: Operand | list[scipy.sparse.csr_matrix], work: _Workspace) -> None:
        for call in work.backward:
            call()
        if isinstance(X, OPERANDS):
            if work.inputs is not None:
                X = work.inputs_operand.T
                self._multiply(
                    self._values_weight_t, work.first_delta_operand, out=work.values_delta_operand
                )
                work.embedding.backward()
            self._multiply_rows(work.first_delta_operand, X, out=self._first_gradient_operand)
        else:
            parts = map(_matrices, (self._first_gradient, work.first_delta))
            for rows, gradient, delta in zip(X, *parts, strict=True):
                delta_t = delta.to(self.parameters.storage.dtype).numpy().T
                product = rows.T @ np.ascontiguousarray(delta_t)
                gradient.copy_(torch.from_numpy(product).t())
        if self._scaling is not None:
            self._scaling.backward()


def _add_penalty(parameters: FlatParameters, decay: float) -> None:
    """Add the weights times a factor to their gradient."""
    parameters.penalized_gradient.add_(parameters.penalized, alpha=decay)


def _matrices(stack: torch.Tensor) -> list[torch.Tensor]:
    """Return the matrices of a stack; a matrix is the only one of its stack."""
    return [stack] if stack.dim() == 2 else list(stack)


class AutogradStep:
    """Forward pass, loss and gradient by torch's automatic differentiation.

    Parameters
    ----------
    products : TorchProducts
        The object that holds the parameters. Torch itself multiplies, in the dtype of `products`.
    module : FeedForwardModule or Ensemble
        The network, from rows to raw outputs. Its parameters are views of those in `products`.
    loss : Loss
        Any loss; only its `terms` are used.
    alpha : float
        Strength of the L2 penalty, as in `ClosedFormStep`.
    """

    grad_mode = torch.no_grad

    def __init__(
        self, products: TorchProducts, module: nn.Module, loss: Loss, alpha: float
    ) -> None:
        self.products = products
        self.parameters = products.parameters
        self.module = module
        self.loss = loss
        self.alpha = alpha
        own = {"'loss'": loss.is_of_the_user, "'activation'": bool(module.own_modules)}
        names = " or ".join(name for name, is_own in own.items() if is_own)
        self._blame = blamed_on(f"Code of the {names} parameter") if names else nullcontext()
        self.parameters.attach_gradients(module)

    def finish_(self, terms: torch.Tensor) -> None:
        """Do nothing, because the terms are complete."""

    def _raw_outputs(self, X: torch.Tensor) -> torch.Tensor:
        """Return raw outputs of shape (n_outputs, n_rows), or those of each member."""
        is_one = isinstance(self.module, FeedForwardModule)
        return self.module(X).t() if is_one else self.module.each(X)

    def __call__(self, batch: Batch, slot: Slot) -> None:
        """Fill the gradient, and the slot with the parts of the loss."""
        parameters, dtype = self.parameters, self.products.dtype
        parameters.gradient.zero_()
        X = torch.as_tensor(batch.X if isinstance(batch.X, OPERANDS) else batch.X.toarray())
        is_mixed = dtype != parameters.storage.dtype
        with torch.enable_grad():
            with torch.autocast(X.device.type, dtype) if is_mixed else nullcontext():
                raw = self._raw_outputs(X).to(parameters.storage.dtype)
            if is_mixed:
                # Inside of another autocast, the next step would use this step's cached weights.
                torch.clear_autocast_cache()
            if raw.shape[-1] != batch.n_rows:
                raise ValueError(
                    f"The 'activation' parameter makes {self.module.own_modules}, which turned"
                    f" {batch.n_rows} rows into {raw.shape[-1]}. It must return a tensor of the"
                    " same shape as its input, with a value for each unit of each row."
                )
            y = batch.y if raw.dim() == 2 else batch.y.expand(len(raw), -1, -1)
            terms = self.loss.terms(raw, y)
            share = 1 / batch.n_rows if batch.weight is None else batch.weight
            with self._blame:
                ((terms * share).sum() * self.loss.scale).backward()
        slot.terms.copy_(terms.detach())
        if self.alpha:
            penalized = parameters.penalized
            decay = decay_of(self.alpha, batch.weight_sum, parameters.storage.dtype)
            parameters.penalized_gradient.add_(penalized, alpha=decay)
            torch.as_tensor(slot.norm).copy_(torch.dot(penalized, penalized))


# Largest numbers that torch accepts in an operation with a tensor of each dtype.
_LARGEST = {dtype: torch.finfo(dtype).max for dtype in (torch.float32, torch.float64)}


def decay_of(alpha: float, weight_sum: float, dtype: torch.dtype) -> float:
    """Return the factor by which the weights are added to their gradient.

    It is limited because tiny sample weights may take it beyond the range of the dtype.
    """
    return min(alpha / weight_sum, _LARGEST[dtype])


def flops_per_step(layer_units: tuple[int, ...], n_rows: int, dtype: np.dtype = np.float32) -> int:
    """Return the number of operations in the products of all layers: one forward, two backward.

    The unit is an operation in float32; an operation in float64 takes the time of two.
    """
    size = np.dtype(dtype).itemsize // np.dtype(np.float32).itemsize
    return size * 6 * n_rows * sum(n_in * n_out for n_in, n_out in pairwise(layer_units))


def flops_of_network(network: Network, n_rows: int, dtype: np.dtype) -> int:
    """Return the number of operations of `flops_per_step` for all members of a network."""
    return network.n_members * flops_per_step(network.linear_units, n_rows, dtype)
