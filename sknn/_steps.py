"""One batch to a loss and a gradient.

`ClosedFormStep` is the hot path: the textbook's back-propagation, written into buffers made once.
`AutogradStep` differentiates whatever torch can, and is the reference that the closed form is
tested against. Both fill the gradient of the same `FlatParameters` and the same `Slot` of the loss.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sknn._activations import Activation
from sknn._batches import Batch
from sknn._losses import OUTPUT_ACTIVATIONS, Constants, Loss
from sknn._products import OPERANDS, Operand, TorchProducts


class Slot(NamedTuple):
    """Where a step writes what `LossMeter` makes the loss of.

    Attributes
    ----------
    terms : torch.Tensor of shape (n_outputs, n_rows) or (1, n_rows)
        The terms of the loss, but for what the step leaves to its `finish_`.
    norm : operand of shape ()
        The squared norm of the weights.
    """

    terms: torch.Tensor
    norm: Operand


class _Workspace:
    """Buffers for batches of one size, feature-major: a column is a row of the data.

    Layer i gives `outputs[i]`; `deltas[i]` is the derivative of the loss by its input, and the last
    delta takes the place of the last output. `forward` and `backward` list what each layer's
    operations read and write, as tensors and as operands, so that a step looks nothing up.
    `last` is what the loss sees: the last output, or its copy in the dtype of the parameters.
    """

    def __init__(self, products: TorchProducts, n_rows: int) -> None:
        parameters, operand = products.parameters, products.operand
        units = parameters.layer_units[1:]

        def new(n_units: int) -> torch.Tensor:
            return parameters.storage.new_empty(n_units, n_rows, dtype=products.dtype)

        outputs = [new(n) for n in units]
        deltas = [*(new(n) for n in units[:-1]), outputs[-1]]
        self.raw = outputs[-1]
        self.last = parameters.storage.new_empty(self.raw.shape)
        if self.last.dtype == self.raw.dtype:
            self.last = self.raw
        ones = torch.ones_like(self.last[:1])
        self.constants = Constants(ones, -ones)
        self.equal_shares = ones[0] / n_rows
        self.ones = operand(torch.ones_like(self.raw[0]))
        self.first_output, self.first_output_operand = outputs[0], operand(outputs[0])
        self.first_delta, self.first_delta_operand = deltas[0], operand(deltas[0])
        self.last_bias = parameters.biases[-1].unsqueeze(1)
        self.forward = [
            (
                outputs[i - 1],
                products.biases[i - 1].unsqueeze(1),
                operand(outputs[i - 1]),
                products.weights[i],
                operand(outputs[i]),
            )
            for i in range(1, len(units))
        ]
        self.backward = [
            (
                operand(deltas[i]),
                products.bias_gradients[i],
                products.weight_gradients[i],
                products.weights[i].T,
                outputs[i - 1],
                operand(outputs[i - 1]).T,
                deltas[i - 1],
                operand(deltas[i - 1]),
            )
            for i in range(len(units) - 1, 0, -1)
        ]


class ClosedFormStep:
    """Forward pass, loss and gradient by the closed form.

    With a_0 the rows, a_i = f(W_i a_{i-1} + b_i), n the sum of the sample weights s and all of
    a, delta holding one column a row (Rumelhart, Hinton and Williams, 1986):

        delta_L = s (p - y) / n               (canonical pairs, see `_losses`)
        delta_i = (W_{i+1}^T delta_{i+1}) * f'(a_i)
        dW_i = delta_i a_{i-1}^T + alpha / n W_i
        db_i = sum of the columns of delta_i

    Parameters
    ----------
    products : TorchProducts
        Who multiplies; holds the parameters.
    activation : Activation
    loss : Loss
    alpha : float
        Strength of the L2 penalty alpha / (2 n) |W|^2.
    """

    grad_mode = torch.inference_mode

    def __init__(
        self, products: TorchProducts, activation: Activation, loss: Loss, alpha: float
    ) -> None:
        self.products = products
        self.parameters = products.parameters
        self.activation = activation
        self.loss = loss
        self.alpha = alpha
        self.finish_ = loss.finish_
        self._multiply, self._sum_rows = products.multiply, products.sum_rows
        self._apply_output_ = OUTPUT_ACTIVATIONS[loss.output_activation].apply_
        self._penalized = products.operand(self.parameters.penalized)
        self._workspaces: dict[int, _Workspace] = {}

    def __call__(self, batch: Batch, slot: Slot) -> None:
        """Fill the gradient, and the slot of the loss."""
        work = self._workspaces.get(batch.n_rows)
        if work is None:
            work = self._workspaces[batch.n_rows] = _Workspace(self.products, batch.n_rows)
        parameters, products = self.parameters, self.products
        products.refresh()
        self._forward(batch, work)
        self.loss.backward_(work.last, batch.y, slot.terms, work.constants)
        work.last.mul_(work.equal_shares if batch.weight is None else batch.weight)
        self._backward(batch, work)
        products.collect()
        if self.alpha:
            decay = self.alpha / batch.weight_sum
            parameters.penalized_gradient.add_(parameters.penalized, alpha=decay)
            self._multiply(self._penalized, self._penalized, out=slot.norm)

    def _forward(self, batch: Batch, work: _Workspace) -> None:
        multiply, apply_, X = self._multiply, self.activation.apply_, batch.X
        if isinstance(X, OPERANDS):
            multiply(self.products.weights[0], X.T, out=work.first_output_operand)
        else:
            product = X @ self.parameters.weights[0].numpy().T
            work.first_output.copy_(torch.from_numpy(product).t())
        for previous, bias, previous_operand, weight, output_operand in work.forward:
            previous.add_(bias)
            apply_(previous)
            multiply(weight, previous_operand, out=output_operand)
        if work.last is not work.raw:
            work.last.copy_(work.raw)
        work.last.add_(work.last_bias)
        self._apply_output_(work.last)

    def _backward(self, batch: Batch, work: _Workspace) -> None:
        multiply, sum_rows, backward_ = self._multiply, self._sum_rows, self.activation.backward_
        products, ones, X = self.products, work.ones, batch.X
        if work.last is not work.raw:
            work.raw.copy_(work.last)
        for (
            delta, bias_gradient, gradient, weight_t,
            previous, previous_t, previous_delta, previous_delta_operand,
        ) in work.backward:  # fmt: skip
            sum_rows(delta, ones, out=bias_gradient)
            multiply(delta, previous_t, out=gradient)
            multiply(weight_t, delta, out=previous_delta_operand)
            backward_(previous_delta, previous)
        sum_rows(work.first_delta_operand, ones, out=products.bias_gradients[0])
        if isinstance(X, OPERANDS):
            multiply(work.first_delta_operand, X, out=products.weight_gradients[0])
        else:
            delta_t = work.first_delta.to(self.parameters.storage.dtype).numpy().T
            product = X.T @ np.ascontiguousarray(delta_t)
            torch.as_tensor(products.weight_gradients[0]).copy_(torch.from_numpy(product).t())


class AutogradStep:
    """The same by torch's automatic differentiation, for anything that torch can differentiate.

    Parameters
    ----------
    products : TorchProducts
        Holds the parameters; torch itself multiplies.
    module : torch.nn.Module
        Rows to raw outputs; its parameters are views of the parameters, layer by layer.
    loss : Loss
    alpha : float
    """

    grad_mode = torch.no_grad

    def __init__(
        self, products: TorchProducts, module: nn.Module, loss: Loss, alpha: float
    ) -> None:
        self.products = products
        self.parameters = parameters = products.parameters
        self.module = module
        self.loss = loss
        self.alpha = alpha
        gradients = zip(parameters.weight_gradients, parameters.bias_gradients, strict=True)
        for parameter, gradient in zip(
            module.parameters(), [g for pair in gradients for g in pair], strict=True
        ):
            parameter.grad = gradient

    def finish_(self, terms: torch.Tensor) -> None:
        """Nothing: the terms are complete."""

    def __call__(self, batch: Batch, slot: Slot) -> None:
        """Fill the gradient, and the slot of the loss."""
        parameters = self.parameters
        parameters.gradient.zero_()
        X = torch.as_tensor(batch.X if isinstance(batch.X, OPERANDS) else batch.X.toarray())
        with torch.enable_grad():
            terms = self.loss.terms(self.module(X).t(), batch.y)
            share = 1 / batch.n_rows if batch.weight is None else batch.weight
            ((terms * share).sum() * self.loss.scale).backward()
        slot.terms.copy_(terms.detach())
        penalized = parameters.penalized
        parameters.penalized_gradient.add_(penalized, alpha=self.alpha / batch.weight_sum)
        torch.as_tensor(slot.norm).copy_(torch.dot(penalized, penalized))


class LossMeter:
    """The loss of an epoch, as scikit-learn reports it, read from the device once.

    The reported loss of a batch is the loss's scale times its weighted mean of terms (over
    outputs too, where the loss says so) plus the penalty alpha / (2 n) |W|^2; that of an epoch
    is their mean by number of rows.

    Parameters
    ----------
    step : ClosedFormStep or AutogradStep
    n_samples, batch_size : int
        Rows of an epoch and of a batch. The terms of as many batches as `MAX_TERMS` and
        `MAX_BATCHES` allow are kept apart before they are summed.
    """

    MAX_TERMS = 2**16
    MAX_BATCHES = 256

    def __init__(
        self, step: ClosedFormStep | AutogradStep, n_samples: int, batch_size: int
    ) -> None:
        loss, n_outputs = step.loss, step.parameters.layer_units[-1]
        new_ones = step.parameters.storage.new_ones
        self._finish_ = step.finish_
        self._operand, self._multiply = step.products.operand, step.products.multiply
        self._terms_scale = loss.reported_scale(n_outputs)
        self._norm_scale = 0.5 * step.alpha
        self._n_terms = 1 if loss.has_one_term else n_outputs  # of a row
        n_rows = max(batch_size, min(n_samples, self.MAX_TERMS // self._n_terms))
        self._terms = new_ones(self._n_terms * n_rows)
        self._factors = new_ones(self._n_terms * n_rows)
        # The sum of the terms, then the norm of each batch.
        self._values = new_ones(1 + min(-(-n_samples // batch_size), self.MAX_BATCHES))
        self._sum = self._operand(self._values[0])
        # Views, made once: in a small network's epoch, each costs as much as an operation.
        self._slots: dict[tuple[int, int, int], Slot] = {}
        self._filled: dict[int, tuple[torch.Tensor, Operand, Operand]] = {}
        # Rows and weight of each batch; the batch itself would keep its gathered rows alive.
        self._batches: list[tuple[int, float]] = []
        self._n_filled = 0
        self._full: list[tuple[torch.Tensor, list[tuple[int, float]]]] = []

    def slot(self, batch: Batch) -> Slot:
        """Where the step of this batch writes."""
        n_terms = self._n_terms * batch.n_rows
        if 1 + len(self._batches) == len(self._values) or (
            self._n_filled + n_terms > len(self._terms)
        ):
            self._full.append((self._summed().clone(), self._batches))
            self._batches, self._n_filled = [], 0
        key = (len(self._batches), self._n_filled, n_terms)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._make_slot(*key)
        if batch.weight is not None:
            factors = self._factors[self._n_filled : self._n_filled + n_terms]
            factors.view(self._n_terms, -1).copy_(batch.weight).mul_(batch.n_rows)
        self._n_filled += n_terms
        self._batches.append((batch.n_rows, batch.weight_sum))
        return slot

    def _make_slot(self, n_batches: int, start: int, n_terms: int) -> Slot:
        terms = self._terms[start : start + n_terms].view(self._n_terms, -1)
        return Slot(terms, self._operand(self._values[1 + n_batches]))

    def _summed(self) -> torch.Tensor:
        """Sum the terms that are there."""
        n = self._n_filled
        if n not in self._filled:
            terms, factors = self._terms[:n], self._factors[:n]
            self._filled[n] = (terms, self._operand(terms), self._operand(factors))
        terms, terms_operand, factors_operand = self._filled[n]
        self._finish_(terms)
        self._multiply(terms_operand, factors_operand, out=self._sum)
        return self._values

    def read(self) -> float:
        """The mean by rows since the last reading. Waits for the device, as nothing else does."""
        total, n_rows = 0.0, 0
        for values, batches in [*self._full, (self._summed(), self._batches)]:
            terms, *norms = values.tolist()
            total += self._terms_scale * terms
            for norm, (n_batch_rows, weight_sum) in zip(norms, batches, strict=False):
                total += self._norm_scale * norm * n_batch_rows / weight_sum
                n_rows += n_batch_rows
        self._full, self._batches, self._n_filled = [], [], 0
        return total / n_rows


def flops_per_step(layer_units: tuple[int, ...], n_rows: int, dtype: np.dtype = np.float32) -> int:
    """Operations in the three products of each layer: forward, and two backward.

    In units of a float32 operation: one in float64 takes the time of two.
    """
    size = np.dtype(dtype).itemsize // np.dtype(np.float32).itemsize
    return size * 6 * n_rows * sum(n_in * n_out for n_in, n_out in pairwise(layer_units))
