"""A step over rows that are not in one place, and its loss.

The rows of a batch may be spread over several processes, or one process may take them a piece at a
time. The gradients of the parts are added up, and so are their losses.
"""

from __future__ import annotations

import math

import torch

from sknn._data._batches import Batch
from sknn._data._processes import OneProcess
from sknn._data._shards import Pieces
from sknn._network._steps import AutogradStep, ClosedFormStep, Slot, decay_of


class SummedStep:
    """A step that adds up the gradients of the parts of a batch.

    A part is the rows of a batch that this process holds, or a piece of them (`Pieces`). One sum
    over the processes adds up their gradients and losses: the loss is the last number of the vector
    that is summed.

    Parameters
    ----------
    step : ClosedFormStep or AutogradStep
        The step that computes the gradient of one part, without the penalty.
    alpha : float
        Strength of the L2 penalty.
    processes : OneProcess
        The processes that share the batch.

    Attributes
    ----------
    batch_loss : torch.Tensor of shape () of float64
        Loss of the last batch, with the penalty.
    """

    def __init__(
        self, step: ClosedFormStep | AutogradStep, alpha: float, processes: OneProcess
    ) -> None:
        self._step = step
        self.alpha = alpha
        self.processes = processes
        self.parameters, self.products, self.loss = step.parameters, step.products, step.loss
        self.grad_mode = step.grad_mode
        self.batch_loss = self.parameters.storage.new_zeros((), dtype=torch.float64)
        n_members = self.parameters.n_members
        self._scale = self.loss.reported_scale(self.parameters.layer_units[-1]) / n_members
        self._norm_scale = 0.5 / n_members

    def __call__(self, batch: Batch | Pieces, slot: Slot) -> None:
        """Fill the gradient with that of the whole batch, in every process."""
        message = self.parameters.message
        if isinstance(batch, Pieces):
            total = torch.zeros_like(message)
            for piece in batch:
                self._fill(piece, slot)
                total.add_(message)
            message.copy_(total)
        elif batch.n_rows:
            self._fill(batch, slot)
        else:
            message.zero_()
        self.processes.sum_(message)
        self.batch_loss.copy_(message[-1]).mul_(self._scale)
        if self.alpha:
            self._add_penalty(batch.weight_sum)

    def _fill(self, part: Batch, slot: Slot) -> None:
        """Fill the message with the gradient of one part and, behind it, the loss of the part."""
        shape = (*slot.terms.shape[:-1], part.n_rows)
        terms = slot.terms.view(-1)[: math.prod(shape)].view(shape)
        self._step(part, slot._replace(terms=terms))
        self._step.finish_(terms)
        sums = terms.view(-1, part.n_rows).sum(0)
        self.parameters.message[-1] = torch.dot(sums, part.weight)

    def _add_penalty(self, weight_sum: float) -> None:
        penalized = self.parameters.penalized
        decay = decay_of(self.alpha, weight_sum, penalized.dtype)
        self.parameters.penalized_gradient.add_(penalized, alpha=decay)
        self.batch_loss.add_(torch.dot(penalized, penalized), alpha=self._norm_scale * decay)


class SummedMeter:
    """The loss of an epoch of a `SummedStep`, with the methods of `LossMeter`.

    Parameters
    ----------
    step : SummedStep
        The step whose losses are measured.
    """

    def __init__(self, step: SummedStep) -> None:
        self._step = step
        storage, loss = step.parameters.storage, step.loss
        n_terms = 1 if loss.has_one_term else step.parameters.layer_units[-1]
        self._shape = (*step.parameters.leading, n_terms)
        self._norm = step.products.operand(storage.new_zeros(()))
        self._terms = storage.new_empty(0)
        self._total = torch.zeros_like(step.batch_loss)
        self._n_rows = 0
        self._n_pending = 0  # rows of the batch whose loss is not in the total yet

    def slot(self, batch: Batch | Pieces) -> Slot:
        """Return the slot into which the step of this batch writes.

        Each slot is for exactly one step: the next call takes up the loss of that step.
        """
        self._take_up_last_batch()
        self._n_pending = batch.n_shared
        shape = (*self._shape, batch.n_rows)
        n_terms = math.prod(shape)
        if n_terms > len(self._terms):
            self._terms = self._terms.new_empty(n_terms)
        terms = self._terms[:n_terms].view(shape)
        return Slot(terms, self._norm, terms)

    def batch_loss(self, batch: Batch | Pieces, slot: Slot) -> float:
        """Return the loss of the batch of the last step. This waits for the device."""
        return self._step.batch_loss.item()

    def read(self) -> float:
        """Return the mean loss of the rows since the last reading. This waits for the device."""
        self._take_up_last_batch()
        mean = self._total.item() / self._n_rows
        self._total.zero_()
        self._n_rows = 0
        return mean

    def _take_up_last_batch(self) -> None:
        if self._n_pending:
            self._total.add_(self._step.batch_loss, alpha=self._n_pending)
            self._n_rows += self._n_pending
            self._n_pending = 0
