"""Rows that are spread over several processes, and steps over them.

The rows of all processes, in the order of their ranks, are numbered as if one process had them. A
batch is a part of one global order, of which each process takes the rows that it has: none at
times. It weighs them by the sum over the whole batch. So the sum of gradients over the
processes is the gradient of the batch, but for the penalty, which each adds to the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.utils.multiclass import unique_labels

from sknn._data._batches import Batch, RowOrder
from sknn._data._processes import Processes, agreement
from sknn._data._rows import open_rows, open_targets
from sknn._input._targets import every_indicator
from sknn._network._meter import Slot
from sknn._network._steps import AutogradStep, ClosedFormStep, decay_of
from sknn._platform._compat import feature_major
from sknn._training._problem import ValidationSet


class Shards:
    """Who has which rows.

    Parameters
    ----------
    processes : Processes
    facts : dict
        What has to be the same in all processes, by what it is called in an error.
    n_rows : int
        Rows of this process.

    Attributes
    ----------
    n_rows : list of int
        Of each process.
    start, stop : int
        The numbers of this process's rows.
    n_samples : int
        Rows of all.

    Raises
    ------
    ValueError
        In all processes, if the facts differ or there are no rows.
    """

    def __init__(self, processes: Processes, facts: dict[str, Any], n_rows: int) -> None:
        self.processes = processes
        gathered = processes.gather((facts, n_rows))
        for name, value in gathered[0][0].items():
            for rank, (others, _) in enumerate(gathered):
                if others.get(name) != value:
                    raise ValueError(
                        f"The processes of process_group differ in {name}: {value} in process 0,"
                        f" {others.get(name)} in process {rank}. All must have the same."
                    )
        self.n_rows = [n for _, n in gathered]
        ends = np.cumsum(self.n_rows)
        self.start, self.stop = int(ends[processes.rank]) - n_rows, int(ends[processes.rank])
        self.n_samples = int(ends[-1])
        if self.n_samples == 0:
            raise ValueError(
                "Found array with 0 sample(s) in all processes of process_group while a minimum of"
                " 1 is required."
            )

    def agreement(self) -> AbstractContextManager[None]:
        """Let an error of the body, in any process, end all of them."""
        return agreement(self.processes)

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Where in a list of row numbers those of this process are."""
        return np.flatnonzero((rows >= self.start) & (rows < self.stop))

    def mine(self, rows: np.ndarray) -> np.ndarray:
        """Those of this process, in the same order."""
        return rows[self.positions(rows)]

    def own(self, rows: np.ndarray) -> np.ndarray:
        """The same, numbered as this process numbers its rows."""
        return self.mine(rows) - self.start

    def of_all(self, values: np.ndarray) -> np.ndarray:
        """One value, or row of values, for each row of all processes."""
        return self.processes.concatenate(np.ascontiguousarray(values), self.n_rows)

    def labels_of_all(self, y: np.ndarray) -> np.ndarray:
        """Targets in which every label is that any process has."""
        with self.agreement():
            own = unique_labels(y) if y.shape[0] else y
        if y.ndim == 2:  # an indicator, of labels that are numbered
            indicator = every_indicator(y.shape[1])
            return type(y)(indicator) if scipy.sparse.issparse(y) else indicator
        return unique_labels(*(part for part in self.processes.gather(own) if len(part)))

    def validation_of_all(self, data: ValidationSet, dtype: np.dtype) -> ValidationSet:
        """The same rows of this process, with the targets and weights of those of all."""
        n_rows = self.processes.gather(len(data.y))
        return data._replace(
            y=self.processes.concatenate(data.y, n_rows),
            sample_weight=self.weights_of_all(data.sample_weight, dtype, n_rows),
            n_rows=n_rows,
        )

    def weights_of_all(
        self,
        sample_weight: np.ndarray | None,
        dtype: np.dtype,
        n_rows: list[int] | None = None,
    ) -> np.ndarray | None:
        """The weights of all rows; ones where a process has none, None if no process has any."""
        if not self.processes.any(sample_weight is not None):
            return None
        n_rows = self.n_rows if n_rows is None else n_rows
        if sample_weight is None:
            sample_weight = np.ones(n_rows[self.processes.rank])
        return self.processes.concatenate(sample_weight.astype(dtype, copy=False), n_rows)


class ShardBatches(RowOrder):
    """This process's part of each batch; iterating is one epoch. As `Batches` otherwise.

    Parameters
    ----------
    shards : Shards
    X, y : ndarray or CSR matrix, ndarray
        Of this process.
    sample_weight : ndarray of shape (n_samples,) or None
        Of the rows of all processes.
    rows : ndarray of int or None
        Numbers among the rows of all processes; None for all.
    batch_size, random_state, device, dtype, values, operand
        As `Batches` takes them.
    """

    def __init__(
        self,
        shards: Shards,
        X: np.ndarray | scipy.sparse.csr_matrix,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        *,
        batch_size: int,
        random_state: np.random.RandomState | None = None,
        device: torch.device,
        dtype: torch.dtype,
        values: np.dtype,
        operand: Callable[[torch.Tensor], Any],
    ) -> None:
        self.shards = shards
        self.n_samples = shards.n_samples if rows is None else len(rows)
        self.batch_size = batch_size
        self.random_state = random_state
        self.sample_weight = sample_weight
        self._order = np.arange(self.n_samples) if rows is None else rows
        # All rows in one batch need no gathering, as in `Batches`.
        self._in_order = rows is None and batch_size >= self.n_samples
        self._device, self._operand, self._values = device, operand, np.dtype(values)
        self._X, self._y = open_rows(X, device, batch_size, dtype, values), open_targets(y, device)
        if not self._in_order:
            n_most = min(batch_size, X.shape[0])
            self._X.reserve(n_most)
            self._y.reserve(n_most)
        self._own = np.empty(0, int)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        if self.random_state is not None:
            self.random_state.shuffle(self._order)
        order = np.arange(self.n_samples) if self._in_order else self._order
        positions = self.shards.positions(order)
        rows = order[positions]
        starts = np.arange(0, self.n_samples, self.batch_size)
        sizes = np.diff(np.append(starts, self.n_samples))
        ends = np.searchsorted(positions, starts + sizes)
        totals, weights = sizes.astype(self._values), np.ones(len(rows), self._values)
        if self.sample_weight is not None:
            totals = np.add.reduceat(self.sample_weight[order], starts)
            weights = self.sample_weight[rows]
        rows = rows - self.shards.start
        begin = 0
        for end, size, total in zip(ends, sizes, totals.tolist(), strict=True):
            if total != 0:
                self._own = rows[begin:end]
                yield self._batch(self._own, weights[begin:end] / total, total, int(size))
            begin = end

    def _batch(self, rows: np.ndarray, share: np.ndarray, total: float, size: int) -> Batch:
        n_rows = len(rows)
        if self._in_order:
            X, y = self._X.slice(0, n_rows), self._y.slice(0, n_rows)
        else:
            X, y = self._X.gather(rows), self._y.gather(rows)
        if isinstance(X, torch.Tensor):
            X = self._operand(X)
        share = torch.from_numpy(share.astype(self._values, copy=False)).to(self._device)
        return Batch(X, feature_major(y), share, total, n_rows, n_shared=size)

    def rows_of(self, batch: Batch) -> np.ndarray:
        """Which rows of this process's `X` the batch that was yielded last holds."""
        return self._own


class Pieces:
    """All rows as one batch, of which each process takes its own, some at a time.

    Parameters
    ----------
    X, y : ndarray or CSR matrix, ndarray
        Of this process.
    sample_weight : ndarray of shape (n_samples,) or None
        Of the rows of all processes.
    size : int
        Rows of a piece.
    shards : Shards or None
        None for the only process.
    device, dtype, values, operand
        As `Batches` takes them.
    """

    def __init__(
        self,
        X: np.ndarray | scipy.sparse.csr_matrix,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        size: int,
        shards: Shards | None,
        *,
        device: torch.device,
        dtype: torch.dtype,
        values: np.dtype,
        operand: Callable[[torch.Tensor], Any],
    ) -> None:
        self._X, self._y = open_rows(X, device, len(y), dtype, values), open_targets(y, device)
        self._operand = operand
        self._n_rows, self._size = len(y), size
        self.n_samples = len(y) if shards is None else shards.n_samples
        self.total, weight = float(self.n_samples), np.ones(len(y), values)
        if sample_weight is not None:
            self.total = float(sample_weight.sum())
            own = slice(None) if shards is None else slice(shards.start, shards.stop)
            weight = sample_weight[own]
        self._share = torch.from_numpy(weight / weight.dtype.type(self.total)).to(device)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the pieces, in order."""
        for start in range(0, self._n_rows, self._size):
            stop = min(start + self._size, self._n_rows)
            X = self._X.slice(start, stop)
            if isinstance(X, torch.Tensor):
                X = self._operand(X)
            y = feature_major(self._y.slice(start, stop))
            yield Batch(X, y, self._share[start:stop], self.total, stop - start)


class SummedStep:
    """A step whose rows are not in one place: the gradients of the parts are added up.

    A part is what one process has of a batch, and one sum over the processes unites them; or it is
    one of the `Pieces` of a process. Takes the place of a step, and of its `LossMeter`: the loss of
    the batch is the last number of what is summed.

    Parameters
    ----------
    step : ClosedFormStep or AutogradStep
        Of one part, without the penalty.
    alpha : float
        Strength of the penalty.
    processes : Processes or None
        None for this process alone.
    """

    def __init__(
        self, step: ClosedFormStep | AutogradStep, alpha: float, processes: Processes | None
    ) -> None:
        self._step = step
        self.alpha = alpha
        self.processes = processes
        self.parameters, self.products, self.loss = step.parameters, step.products, step.loss
        self.grad_mode = step.grad_mode
        n_outputs = self.parameters.layer_units[-1]
        self._n_terms = 1 if self.loss.has_one_term else n_outputs
        self._scale = self.loss.reported_scale(n_outputs)
        self._norm = self.parameters.storage.new_zeros(())
        self._norm_operand = self.products.operand(self._norm)
        self._terms = self.parameters.storage.new_empty(0)
        self._last = self.parameters.storage.new_zeros((), dtype=torch.float64)
        self._total = torch.zeros_like(self._last)
        self._n_rows = 0

    def slot(self, batch: Batch) -> Slot:
        """Where the step of this batch writes."""
        n_terms = self._n_terms * batch.n_rows
        if n_terms > len(self._terms):
            self._terms = self._terms.new_empty(n_terms)
        terms = self._terms[:n_terms].view(self._n_terms, batch.n_rows)
        return Slot(terms, self._norm_operand, terms)

    def __call__(self, batch: Batch, slot: Slot) -> None:
        """Fill the gradient with that of the whole batch, in every process."""
        if batch.n_rows:
            self._fill(batch, slot)
        else:
            self.parameters.message.zero_()
        self._unite(batch.weight_sum, batch.n_shared)

    def of_pieces(self, pieces: Pieces) -> float:
        """Fill the gradient with that of all rows, and return their loss."""
        message = self.parameters.message
        total = torch.zeros_like(message)
        for piece in pieces:
            self._fill(piece, self.slot(piece))
            total.add_(message)
        message.copy_(total)
        self._unite(pieces.total, pieces.n_samples)
        return self.read()

    def _fill(self, part: Batch, slot: Slot) -> None:
        """The gradient of one part, and behind it its loss."""
        self._step(part, slot)
        self._step.finish_(slot.terms)
        self.parameters.message[-1] = torch.dot(slot.terms.sum(0), part.weight)

    def _unite(self, weight_sum: float, n_rows: int) -> None:
        """Add up over the processes, and add the penalty."""
        message = self.parameters.message
        if self.processes is not None:
            self.processes.sum_(message)
        self._last.copy_(message[-1]).mul_(self._scale)
        if self.alpha:
            penalized = self.parameters.penalized
            decay = decay_of(self.alpha, weight_sum, penalized.dtype)
            self.parameters.penalized_gradient.add_(penalized, alpha=decay)
            self._last.add_(torch.dot(penalized, penalized), alpha=0.5 * decay)
        self._total.add_(self._last, alpha=n_rows)
        self._n_rows += n_rows

    def batch_loss(self, batch: Batch, slot: Slot) -> float:
        """The loss of the batch of the last step. Waits for the device."""
        return self._last.item()

    def read(self) -> float:
        """The mean by rows since the last reading. Waits for the device."""
        mean = self._total.item() / self._n_rows
        self._total.zero_()
        self._n_rows = 0
        return mean
