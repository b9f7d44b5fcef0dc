"""Rows that are spread over several processes.

The rows of all processes, in the order of their ranks, are numbered as if one process held them. A
batch is a part of one global order, and each process takes those of its rows that it holds; at
times it holds none. It divides their weights by the sum over the whole batch. So the sum of the
gradients over the processes is the gradient of the batch, except for the penalty, which every
process adds to the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch

from sknn._data._batches import Batch, RowOrder
from sknn._data._processes import OneProcess, Processes
from sknn._data._rows import open_rows, open_targets
from sknn._data._validation_split import ValidationSet
from sknn._platform._compat import feature_major


class AllRows:
    """The rows of a data set that one process holds as a whole.

    Parameters
    ----------
    n_rows : int
        Number of rows of this process.
    processes : OneProcess, default=None
        The processes that train the network. By default there is only this one.

    Attributes
    ----------
    processes : OneProcess
        The processes that train the network.
    n_rows : list of int
        Number of rows of each process.
    start, stop : int
        Range of the numbers of this process's rows among the rows of all processes.
    n_samples : int
        Number of rows of all processes.
    """

    def __init__(self, n_rows: int, processes: OneProcess | None = None) -> None:
        self.processes = OneProcess() if processes is None else processes
        self.n_rows = [n_rows]
        self.start, self.stop = 0, n_rows
        self.n_samples = n_rows

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Return where in an array of row numbers the rows of this process stand."""
        return np.arange(len(rows))

    def mine(self, rows: np.ndarray) -> np.ndarray:
        """Return the row numbers that belong to this process, in the same order."""
        return rows

    def own(self, rows: np.ndarray) -> np.ndarray:
        """Return the same as `mine`, in this process's own numbering."""
        return rows

    def of_all(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the rows of all processes, by rank, given those of this process."""
        return values

    def validation_of_all(self, data: ValidationSet, dtype: np.dtype) -> ValidationSet:
        """Return this process's validation rows with the targets and weights of all processes."""
        return data

    def weights_of_all(
        self,
        sample_weight: np.ndarray | None,
        dtype: np.dtype,
        n_rows: list[int] | None = None,
    ) -> np.ndarray | None:
        """Return the weights of all rows, or None if no process has any.

        The rows of a process that has none weigh 1.
        """
        return sample_weight


class Shards(AllRows):
    """The rows of a data set of which each process of a group holds a part.

    Parameters
    ----------
    processes : Processes
        The processes of the group.
    facts : dict
        Facts that must be equal in all processes, by the names that an error gives them.
    n_rows : int
        Number of rows of this process.

    Raises
    ------
    ValueError
        In all processes, if the facts differ or there are no rows.
    """

    def __init__(self, processes: Processes, facts: dict[str, Any], n_rows: int) -> None:
        super().__init__(n_rows, processes)
        gathered = processes.gather((facts, n_rows))
        for name, value in gathered[0][0].items():
            for rank, (others, _) in enumerate(gathered):
                if others.get(name) != value:
                    raise ValueError(
                        f"The processes of process_group differ in {name}: {value} in process 0,"
                        f" {others.get(name)} in process {rank}. It must be the same in"
                        " all processes."
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

    def positions(self, rows: np.ndarray) -> np.ndarray:
        return np.flatnonzero((rows >= self.start) & (rows < self.stop))

    def mine(self, rows: np.ndarray) -> np.ndarray:
        return rows[self.positions(rows)]

    def own(self, rows: np.ndarray) -> np.ndarray:
        return self.mine(rows) - self.start

    def of_all(self, values: np.ndarray) -> np.ndarray:
        return self.processes.concatenate(np.ascontiguousarray(values), self.n_rows)

    def validation_of_all(self, data: ValidationSet, dtype: np.dtype) -> ValidationSet:
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
        if not self.processes.any(sample_weight is not None):
            return None
        n_rows = self.n_rows if n_rows is None else n_rows
        if sample_weight is None:
            sample_weight = np.ones(n_rows[self.processes.rank])
        return self.processes.concatenate(sample_weight.astype(dtype, copy=False), n_rows)


class ShardBatches(RowOrder):
    """This process's part of each batch. One iteration is one epoch, as with `Batches`.

    Parameters
    ----------
    shards : Shards
        The division of the rows among the processes.
    X, y : ndarray or CSR matrix, ndarray
        Rows and encoded targets of this process.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the rows of all processes.
    rows : ndarray of int or None
        Numbers of the rows to take, among the rows of all processes; None takes all.
    batch_size, random_state, device, dtype, values, operand
        The same as for `Batches`.
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
        # If all rows are one batch, they need not be gathered, as in `Batches`.
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

    def row_numbers(self, batch: Batch) -> np.ndarray:
        """Return the numbers of the rows of this process that the last yielded batch holds."""
        return self._own


class Pieces:
    """All rows as one batch, of which this process takes its own rows a piece at a time.

    Parameters
    ----------
    X, y : ndarray or CSR matrix, ndarray
        Rows and encoded targets of this process.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the rows of all processes.
    size : int
        Number of rows in a piece.
    shards : AllRows
        The division of the rows among the processes.
    device, dtype, values, operand
        The same as for `Batches`.

    Attributes
    ----------
    n_rows : int
        Number of rows in the largest piece.
    n_shared : int
        Number of rows of all processes.
    weight_sum : float
        Sum of the weights of all rows.
    """

    def __init__(
        self,
        X: np.ndarray | scipy.sparse.csr_matrix,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        size: int,
        shards: AllRows,
        *,
        device: torch.device,
        dtype: torch.dtype,
        values: np.dtype,
        operand: Callable[[torch.Tensor], Any],
    ) -> None:
        self._X, self._y = open_rows(X, device, len(y), dtype, values), open_targets(y, device)
        self._operand = operand
        self._n_own_rows, self._size = len(y), size
        self.n_rows = min(size, len(y))
        self.n_shared = shards.n_samples
        self.weight_sum, weight = float(self.n_shared), np.ones(len(y), values)
        if sample_weight is not None:
            self.weight_sum = float(sample_weight.sum())
            weight = sample_weight[shards.start : shards.stop]
        self._share = torch.from_numpy(weight / weight.dtype.type(self.weight_sum)).to(device)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the pieces, in order."""
        for start in range(0, self._n_own_rows, self._size):
            stop = min(start + self._size, self._n_own_rows)
            X = self._X.slice(start, stop)
            if isinstance(X, torch.Tensor):
                X = self._operand(X)
            y = feature_major(self._y.slice(start, stop))
            yield Batch(X, y, self._share[start:stop], self.weight_sum, stop - start)
