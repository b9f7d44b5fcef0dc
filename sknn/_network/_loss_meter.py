"""The loss of an epoch: steps write its parts to memory of a meter, which is read once."""

from __future__ import annotations

import math

import torch

from sknn._data._batches import Batch
from sknn._network._matrix_products import Operand
from sknn._network._steps import AutogradStep, ClosedFormStep, Slot


class LossMeter:
    """The loss of an epoch, as scikit-learn reports it, which is read from the device once.

    The reported loss of a batch is the scale of the loss times the weighted mean of the terms (also
    over outputs, if the loss averages them) plus the penalty alpha / (2 n) |W|^2. The loss of an
    epoch is the mean of the losses of its batches, weighted by their numbers of rows. The loss of
    several members is the mean of theirs.

    Parameters
    ----------
    step : ClosedFormStep or AutogradStep
        The step whose losses are measured.
    n_samples, batch_size : int
        Number of rows in an epoch and in a batch. The terms of as many batches as `MAX_TERMS` and
        `MAX_BATCHES` allow are kept before they are summed.
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
        n_members = step.parameters.n_members
        self._terms_scale = loss.reported_scale(n_outputs) / n_members
        self._norm_scale = 0.5 * step.alpha / n_members
        self._shape = step.parameters.leading + (1 if loss.has_one_term else n_outputs,)
        self._n_terms = math.prod(self._shape)  # terms of one row
        n_rows = max(batch_size, min(n_samples, self.MAX_TERMS // self._n_terms))
        self._terms = new_ones(self._n_terms * n_rows)
        self._factors = new_ones(self._n_terms * n_rows)
        # The first value is the sum of the terms; the others are the norms, one for each batch.
        self._values = new_ones(1 + min(-(-n_samples // batch_size), self.MAX_BATCHES))
        self._n_most_terms, self._n_most_batches = len(self._terms), len(self._values) - 1
        self._sum = self._operand(self._values[0])
        # Views are made once: in an epoch of a small network, each costs as much as an operation.
        self._slots: dict[tuple[int, int, int], Slot] = {}
        self._filled_views: dict[int, tuple[torch.Tensor, Operand, Operand]] = {}
        # Number of rows and sum of weights of each batch. The batch itself would keep its gathered
        # rows alive.
        self._batches: list[tuple[int, float]] = []
        self._n_filled = 0
        # Values of earlier batches, for which there was no memory left.
        self._full: list[tuple[torch.Tensor, list[tuple[int, float]]]] = []

    def slot(self, batch: Batch) -> Slot:
        """Return the slot into which the step of this batch writes."""
        n_terms = self._n_terms * batch.n_rows
        if len(self._batches) == self._n_most_batches or (
            self._n_filled + n_terms > self._n_most_terms
        ):
            self._full.append((self._summed().clone(), self._batches))
            self._batches, self._n_filled = [], 0
        key = (len(self._batches), self._n_filled, n_terms)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._make_slot(*key)
        if batch.factors is not None:
            slot.factors.copy_(batch.factors)
        self._n_filled += n_terms
        self._batches.append((batch.n_rows, batch.weight_sum))
        return slot

    def batch_loss(self, batch: Batch, slot: Slot) -> float:
        """Return the reported loss of the batch whose slot was filled last.

        This waits for the device.
        """
        terms = slot.terms.clone()
        self._finish_(terms)
        terms = terms.view(-1, batch.n_rows).sum(0)
        mean = terms.mean() if batch.weight is None else torch.dot(terms, batch.weight)
        penalty = self._norm_scale * float(slot.norm) / batch.weight_sum
        return self._terms_scale * mean.item() + penalty

    def _make_slot(self, n_batches: int, start: int, n_terms: int) -> Slot:
        terms, factors = (
            row[start : start + n_terms].view(*self._shape, -1)
            for row in (self._terms, self._factors)
        )
        return Slot(terms, self._operand(self._values[1 + n_batches]), factors)

    def _summed(self) -> torch.Tensor:
        """Sum the terms that have been filled, and return the sum and the norms."""
        n = self._n_filled
        if n not in self._filled_views:
            terms, factors = self._terms[:n], self._factors[:n]
            self._filled_views[n] = (terms, self._operand(terms), self._operand(factors))
        terms, terms_operand, factors_operand = self._filled_views[n]
        self._finish_(terms)
        self._multiply(terms_operand, factors_operand, out=self._sum)
        return self._values

    def read(self) -> float:
        """Return the mean loss of the rows since the last reading.

        This waits for the device, which nothing else does in an ordinary epoch.
        """
        total, n_rows = 0.0, 0
        filled = [*self._full, (self._summed(), self._batches)]
        values = [values for values, _ in filled]
        rows = torch.stack(values).tolist() if self._full else [values[0].tolist()]
        for (terms, *norms), (_, batches) in zip(rows, filled, strict=True):
            total += self._terms_scale * terms
            for norm, (n_batch_rows, weight_sum) in zip(norms, batches, strict=False):
                total += self._norm_scale * norm * n_batch_rows / weight_sum
                n_rows += n_batch_rows
        self._full, self._batches, self._n_filled = [], [], 0
        return total / n_rows
