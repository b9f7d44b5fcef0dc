"""One batch to a loss and a gradient.

`ClosedFormStep` is the hot path: the textbook's back-propagation, written into buffers made once.
`AutogradStep` differentiates whatever torch can, and is the reference that the closed form is
tested against. Both fill the gradient of the same `FlatParameters` and the same two slots of
the loss: the weighted sum of the loss's terms, and the squared norm of the weights.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse
import torch
from torch import nn

from sknn._activations import Activation
from sknn._batches import Batch
from sknn._losses import OUTPUT_ACTIVATIONS, Constants, Loss
from sknn._parameters import FlatParameters


class _Workspace:
    """Buffers for batches of one size, feature-major: a column is a row of the data.

    Layer i gives `outputs[i]`; `deltas[i]` is the derivative of the loss by its input. The last
    layer's delta takes the place of its output. `forward` and `backward` list what each layer's
    products read and write, so that the loops of a step look nothing up.
    """

    def __init__(self, parameters: FlatParameters, terms_rows: int, n_rows: int) -> None:
        new = parameters.storage.new_empty
        outputs = [new(n, n_rows) for n in parameters.layer_units[1:]]
        deltas = [*(new(n, n_rows) for n in parameters.layer_units[1:-1]), outputs[-1]]
        self.first_output, self.first_delta, self.last = outputs[0], deltas[0], outputs[-1]
        self.terms = new(terms_rows, n_rows)
        self.flat_terms = self.terms.view(-1)
        self.ones_of_terms = torch.ones_like(self.flat_terms)
        ones = torch.ones_like(outputs[0][:1])
        self.constants = Constants(ones, -ones)
        self.equal_shares = ones[0] / n_rows
        biases = [bias.unsqueeze(1) for bias in parameters.biases]
        weights = parameters.weights
        self.forward = list(zip(biases[1:], weights[1:], outputs[:-1], outputs[1:], strict=True))
        self.backward = [
            (
                deltas[i],
                parameters.bias_gradients[i],
                weights[i],
                weights[i].t(),
                parameters.weight_gradients[i],
                outputs[i - 1],
                outputs[i - 1].t(),
                deltas[i - 1],
            )
            for i in range(len(outputs) - 1, 0, -1)
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
    parameters : FlatParameters
    activation : Activation
    loss : Loss
    alpha : float
        Strength of the L2 penalty alpha / (2 n) |W|^2.
    """

    grad_mode = torch.inference_mode

    def __init__(
        self, parameters: FlatParameters, activation: Activation, loss: Loss, alpha: float
    ) -> None:
        self.parameters = parameters
        self.activation = activation
        self.loss = loss
        self.alpha = alpha
        self._apply_output_ = OUTPUT_ACTIVATIONS[loss.output_activation].apply_
        self._terms_rows = 1 if loss.has_one_term else parameters.layer_units[-1]
        self._first_bias = parameters.biases[0].unsqueeze(1)
        self._first_weight = parameters.weights[0]
        self._first_gradient = parameters.weight_gradients[0]
        self._workspaces: dict[int, _Workspace] = {}

    def __call__(self, batch: Batch, terms_slot: torch.Tensor, norm_slot: torch.Tensor) -> None:
        """Fill the gradient, the sum of the terms and the squared norm of the weights."""
        work = self._workspaces.get(batch.n_rows)
        if work is None:
            work = _Workspace(self.parameters, self._terms_rows, batch.n_rows)
            self._workspaces[batch.n_rows] = work
        self._forward(batch, work)
        self.loss.backward_(work.last, batch.y, work.terms, work.constants)
        if isinstance(batch.weight, torch.Tensor):
            work.last.mul_(batch.weight)
            work.terms.mul_(batch.weight)
            shares, scale = work.constants.ones[0], 1.0
        else:
            shares, scale = work.equal_shares, batch.weight
        torch.dot(work.flat_terms, work.ones_of_terms, out=terms_slot)
        self._backward(batch, work, shares, scale)
        if self.alpha:
            torch.dot(self.parameters.penalized, self.parameters.penalized, out=norm_slot)

    def _forward(self, batch: Batch, work: _Workspace) -> None:
        if isinstance(batch.X, torch.Tensor):
            torch.addmm(self._first_bias, self._first_weight, batch.X.t(), out=work.first_output)
        else:
            product = batch.X @ self._first_weight.numpy().T
            torch.add(self._first_bias, torch.from_numpy(product).t(), out=work.first_output)
        apply_ = self.activation.apply_
        for bias, weight, previous, output in work.forward:
            apply_(previous)
            torch.addmm(bias, weight, previous, out=output)
        self._apply_output_(work.last)

    def _backward(self, batch: Batch, work: _Workspace, shares: torch.Tensor, scale: float) -> None:
        # Without sample weights the division by n is left to the products, as their `alpha`.
        decay = self.alpha / batch.weight_sum
        backward_ = self.activation.backward_
        for (
            delta, bias_gradient, weight, weight_t, gradient, previous, previous_t, previous_delta
        ) in work.backward:  # fmt: skip
            torch.mv(delta, shares, out=bias_gradient)
            torch.addmm(weight, delta, previous_t, beta=decay, alpha=scale, out=gradient)
            torch.mm(weight_t, delta, out=previous_delta)
            backward_(previous_delta, previous)
        delta, gradient = work.first_delta, self._first_gradient
        torch.mv(delta, shares, out=self.parameters.bias_gradients[0])
        if isinstance(batch.X, torch.Tensor):
            torch.addmm(self._first_weight, delta, batch.X, beta=decay, alpha=scale, out=gradient)
        else:
            product = batch.X.T @ np.ascontiguousarray(delta.numpy().T)
            torch.mul(torch.from_numpy(product).t(), scale, out=gradient)
            gradient.add_(self._first_weight, alpha=decay)


class AutogradStep:
    """The same by torch's automatic differentiation, for anything that torch can differentiate.

    Parameters
    ----------
    parameters : FlatParameters
    module : torch.nn.Module
        Rows to raw outputs; its parameters are views of `parameters`, layer by layer.
    loss : Loss
    alpha : float
    """

    grad_mode = torch.no_grad

    def __init__(
        self, parameters: FlatParameters, module: nn.Module, loss: Loss, alpha: float
    ) -> None:
        self.parameters = parameters
        self.module = module
        self.loss = loss
        self.alpha = alpha
        gradients = zip(parameters.weight_gradients, parameters.bias_gradients, strict=True)
        for parameter, gradient in zip(
            module.parameters(), [g for pair in gradients for g in pair], strict=True
        ):
            parameter.grad = gradient

    def __call__(self, batch: Batch, terms_slot: torch.Tensor, norm_slot: torch.Tensor) -> None:
        """Fill the gradient, the sum of the terms and the squared norm of the weights."""
        parameters = self.parameters
        parameters.gradient.zero_()
        X = torch.from_numpy(batch.X.toarray()) if scipy.sparse.issparse(batch.X) else batch.X
        with torch.enable_grad():
            terms = self.loss.terms(self.module(X).t(), batch.y)
            if isinstance(batch.weight, torch.Tensor):
                total = (terms * batch.weight).sum()
                (total * self.loss.scale).backward()
            else:
                total = terms.sum()
                (total * self.loss.scale * batch.weight).backward()
        terms_slot.copy_(total.detach())
        penalized = parameters.penalized
        parameters.penalized_gradient.add_(penalized, alpha=self.alpha / batch.weight_sum)
        norm_slot.copy_(torch.dot(penalized, penalized))


class LossMeter:
    """The loss of an epoch, as scikit-learn reports it, read from the device once.

    The reported loss of a batch is the loss's scale times its weighted mean of terms (over
    outputs too, where the loss says so) plus the penalty alpha / (2 n) |W|^2; that of an epoch
    is their mean by number of rows.

    Parameters
    ----------
    parameters : FlatParameters
    loss : Loss
    alpha : float
    n_batches : int
        Batches of an epoch; up to `CAPACITY` are kept apart before they are summed.
    """

    CAPACITY = 256

    def __init__(
        self, parameters: FlatParameters, loss: Loss, alpha: float, n_batches: int = 1
    ) -> None:
        self._terms_scale = loss.reported_scale(parameters.layer_units[-1])
        self._norm_scale = 0.5 * alpha
        self._values = parameters.storage.new_zeros(2, min(n_batches, self.CAPACITY))
        self._slots = list(zip(self._values[0].unbind(), self._values[1].unbind(), strict=True))
        self._batches: list[Batch] = []
        self._full: list[tuple[torch.Tensor, list[Batch]]] = []

    def slots(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the step of this batch writes its sum of terms and its squared norm."""
        if len(self._batches) == len(self._slots):
            self._full.append((self._values.clone(), self._batches))
            self._batches = []
        self._batches.append(batch)
        return self._slots[len(self._batches) - 1]

    def read(self) -> float:
        """The mean by rows since the last reading. Waits for the device, as nothing else does."""
        total, n_rows = 0.0, 0
        for values, batches in [*self._full, (self._values, self._batches)]:
            for terms, norm, batch in zip(*values.tolist(), batches, strict=False):
                loss = self._terms_scale * _scalar_weight(batch) * terms
                total += batch.n_rows * (loss + self._norm_scale / batch.weight_sum * norm)
                n_rows += batch.n_rows
        self._full, self._batches = [], []
        return total / n_rows


def _scalar_weight(batch: Batch) -> float:
    """The weight that the terms of a batch were not yet multiplied by."""
    return 1.0 if isinstance(batch.weight, torch.Tensor) else batch.weight


def flops_per_step(layer_units: tuple[int, ...], n_rows: int) -> int:
    """Operations in the three products of each layer: forward, and two backward."""
    return 6 * n_rows * sum(n_in * n_out for n_in, n_out in pairwise(layer_units))
