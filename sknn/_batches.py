"""Rows in order: the validation split, and the batches of each epoch in scikit-learn's order.

Rows are taken chunk by chunk: one gather fills buffers that hold several batches, and a batch
is a set of views of these buffers, made once for a fit. So a step of a small network pays for
no gather and for no view, and memory beyond the data stays at one chunk (or one batch, if that
is larger).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from sklearn.model_selection import train_test_split

from sknn import _compat

# Gathered rows should still be in the second-level cache when the step reads them.
CHUNK_BYTES = 2**20
# A batch costs its views in Python: this bounds them when batches are tiny.
CHUNK_BATCHES = 256
# Rows with at least this share of values set are multiplied as dense ones, which is faster from a
# share of 0.1 to 0.2 on; `examples/benchmarks/choices.py` measures it.
DENSE_FROM = 0.1


def split_rows(
    n_samples: int,
    validation_fraction: float,
    random_state: np.random.RandomState,
    stratify: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation rows, drawn as scikit-learn draws them."""
    train, valid = train_test_split(
        np.arange(n_samples),
        test_size=validation_fraction,
        random_state=random_state,
        stratify=stratify,
    )
    if len(valid) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset. "
            f"Got {len(valid)} row(s) from {n_samples} with "
            f"validation_fraction={validation_fraction}; at least 2 are needed."
        )
    return train, valid


def multiplies_sparse(
    X: np.ndarray | scipy.sparse.spmatrix, device: torch.device, batch_size: int
) -> bool:
    """Whether the rows of `X` stay sparse in a step.

    They do on a CPU, if few values are set, or if a batch is most of the rows: these are never made
    dense at once.
    """
    return (
        scipy.sparse.issparse(X)
        and device.type == "cpu"
        and (2 * batch_size > X.shape[0] or X.nnz < DENSE_FROM * X.shape[0] * X.shape[1])
    )


class Batch(NamedTuple):
    """One step's rows.

    Attributes
    ----------
    X : operand of shape (n_rows, n_features), or scipy.sparse.csr_matrix
        An ndarray or a tensor: what the step's products take.
    y : torch.Tensor of shape (n_outputs, n_rows)
        Feature-major; (1, n_rows) of int64 where targets are class indices.
    weight : torch.Tensor of shape (n_rows,) or None
        Sample weights over their sum.
    weight_sum : float
        Sum of the sample weights, or n_rows.
    n_rows : int
    """

    X: np.ndarray | torch.Tensor | scipy.sparse.csr_matrix
    y: torch.Tensor
    weight: torch.Tensor | None
    weight_sum: float
    n_rows: int
    offset: int = 0
    factors: torch.Tensor | None = None


class Batches:
    """Batches over some rows of a data set; iterating is one epoch.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Of the dtype of the computation.
    y : ndarray of shape (n_samples, n_columns)
        Encoded targets.
    sample_weight : ndarray of shape (n_samples,) or None
    rows : ndarray of int or None
        The rows to take, in this order; None for all. Shuffled in place.
    batch_size : int
    random_state : numpy.random.RandomState or None
        Shuffles the order of the epoch before, as scikit-learn does; None keeps the order.
    device : torch.device
    dtype : torch.dtype, default=None
        Of dense rows in a batch; by default that of `X`.
    operand : callable, default=None
        What the products of a step take for a tensor of rows; by default the tensor.

    Notes
    -----
    A batch is valid until the next chunk is gathered. Batches whose weights sum to zero are
    left out: they hold no rows, as it were (scikit-learn divides by zero).
    """

    def __init__(
        self,
        X: np.ndarray | scipy.sparse.csr_matrix,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        *,
        batch_size: int,
        random_state: np.random.RandomState | None = None,
        device: torch.device,
        dtype: torch.dtype | None = None,
        operand: Callable[[torch.Tensor], np.ndarray | torch.Tensor] | None = None,
    ) -> None:
        self.n_samples = X.shape[0] if rows is None else len(rows)
        self.batch_size = batch_size
        self.random_state = random_state
        self.sample_weight = sample_weight
        # One batch of all rows needs no gathering: its sums do not depend on their order. The
        # random state is drawn from all the same.
        is_one_batch = batch_size >= self.n_samples
        in_order = rows is None and (random_state is None or is_one_batch)
        self._order = np.arange(self.n_samples) if rows is None else rows
        self._in_order = in_order
        self._X = open_rows(X, device, batch_size, dtype)
        self._y = _DenseRows(y, device)
        self._operand = operand
        row_bytes = X.shape[1] * X.dtype.itemsize
        if self._X.is_sparse:
            row_bytes = X.nnz * (X.dtype.itemsize + X.indices.itemsize) // X.shape[0]
        fitting = CHUNK_BYTES // max(1, batch_size * row_bytes)
        batches_per_chunk = min(max(1, fitting), CHUNK_BATCHES)
        self.chunk_size = min(self.n_samples, batch_size * batches_per_chunk)
        if not in_order:
            self._X.reserve(self.chunk_size)
            self._y.reserve(self.chunk_size)
        self._views: dict[int, list[Batch]] = {}
        self._shares: dict[int, _Shares] = {}
        self._chunk_start = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        if self.random_state is not None:
            self.random_state.shuffle(self._order)
        for start in range(0, self.n_samples, self.chunk_size):
            stop = min(start + self.chunk_size, self.n_samples)
            self._chunk_start = start
            yield from self._chunk(start, stop)

    @property
    def n_batches(self) -> int:
        """Batches of an epoch, those without weight included."""
        return -(-self.n_samples // self.batch_size)

    def state(self) -> dict[str, Any] | None:
        """What the order of the next epochs depends on; None if it never changes."""
        if self.random_state is None:
            return None
        compact = np.min_scalar_type(self._order.max())
        return {
            "order": self._order.astype(compact),
            "random_state": self.random_state.get_state(legacy=False),
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Take up what `state` gave."""
        if self.random_state is None:
            return
        if state["order"].shape != self._order.shape:
            raise ValueError(f"it is of {len(state['order'])} rows, not of {self.n_samples}")
        self._order[:] = state["order"]
        self.random_state.set_state(state["random_state"])

    def rows_of(self, batch: Batch) -> np.ndarray:
        """Which rows of `X` the batch that was yielded last holds."""
        start = self._chunk_start + batch.offset
        rows = slice(start, start + batch.n_rows)
        return np.arange(self.n_samples)[rows] if self._in_order else self._order[rows]

    def _chunk(self, start: int, stop: int) -> list[Batch]:
        """The batches of the rows from `start` to `stop`, gathered if they are out of order."""
        n_rows = stop - start
        if self._in_order:
            if n_rows < self.n_samples or not self._views:
                X, y = self._X.slice(start, stop), self._y.slice(start, stop)
                batches = self._slice(X, y, n_rows)
                self._views[n_rows] = self._weighted(batches, slice(start, stop), n_rows)
            return self._views[n_rows]
        order = self._order[start:stop]
        X, y = self._X.gather(order), self._y.gather(order)
        if self._X.is_sparse or n_rows not in self._views:
            self._views[n_rows] = self._slice(X, y, n_rows)
        return self._weighted(self._views[n_rows], order, n_rows)

    def _slice(self, X: torch.Tensor, y: torch.Tensor, n_rows: int) -> list[Batch]:
        """Cut a chunk into batches."""
        batches = []
        for start in range(0, n_rows, self.batch_size):
            stop = min(start + self.batch_size, n_rows)
            rows, size = X[start:stop], stop - start
            if self._operand is not None and isinstance(rows, torch.Tensor):
                rows = self._operand(rows)
            batches.append(Batch(rows, y[start:stop].t(), None, float(size), size, start))
        return batches

    def _weighted(
        self, batches: list[Batch], order: slice | np.ndarray, n_rows: int
    ) -> list[Batch]:
        """Put the weights into a chunk's batches; they and their order are known on the host."""
        if self.sample_weight is None:
            return batches
        if n_rows not in self._shares:
            dtype = self.sample_weight.dtype
            self._shares[n_rows] = _Shares(n_rows, self.batch_size, dtype, self._X.device)
        shares = self._shares[n_rows]
        sums = shares.fill(self.sample_weight[order])
        return [
            Batch(batch.X, batch.y, share, total, batch.n_rows, batch.offset, factors)
            for batch, total, (share, factors) in zip(batches, sums, shares.views, strict=True)
            if total != 0
        ]


class _Shares:
    """Weights of a chunk's rows over their sum in the batch, and those times its rows."""

    def __init__(self, n_rows: int, batch_size: int, dtype: np.dtype, device: torch.device) -> None:
        self._starts = np.arange(0, n_rows, batch_size)
        self._sizes = np.diff(np.append(self._starts, n_rows))
        self._size_of_row = np.repeat(self._sizes, self._sizes).astype(dtype)
        self._both = np.empty((2, n_rows), dtype)
        self._host = torch.from_numpy(self._both)
        self._there = self._host.to(device)
        self.views = list(zip(*(row.split(batch_size) for row in self._there), strict=True))

    def fill(self, weight: np.ndarray) -> list[float]:
        """Take the weights of a chunk; returns the sum of each batch."""
        shares, factors = self._both
        sums = np.add.reduceat(weight, self._starts)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(weight, np.repeat(sums, self._sizes), out=shares)
            np.multiply(shares, self._size_of_row, out=factors)
        if self._there is not self._host:
            self._there.copy_(self._host)
        return sums.tolist()


class _DenseRows:
    """Rows of an array on a device: a slice of them, a copy, or a copy into one buffer."""

    is_sparse = False

    def __init__(
        self, array: np.ndarray, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.device = device
        self._rows = _compat.as_tensor(array).to(device)
        self._dtype = self._rows.dtype if dtype is None else dtype
        self._buffer: torch.Tensor
        self._converted: torch.Tensor

    def reserve(self, n_rows: int) -> None:
        self._buffer = self._rows.new_empty((n_rows, *self._rows.shape[1:]))
        self._converted = self._buffer.to(self._dtype)

    def slice(self, start: int, stop: int) -> torch.Tensor:
        return self._rows[start:stop].to(self._dtype)

    def take(self, order: np.ndarray) -> torch.Tensor:
        return self._rows[torch.from_numpy(order).to(self.device)].to(self._dtype)

    def gather(self, order: np.ndarray) -> torch.Tensor:
        n_rows = len(order)
        chunk, converted = self._buffer[:n_rows], self._converted[:n_rows]
        if self.device.type == "cpu" and torch.get_num_threads() == 1:
            # On one thread NumPy's is the faster gather. Clipping skips a check of the order.
            np.take(self._rows.numpy(), order, 0, out=chunk.numpy(), mode="clip")
        else:
            index = torch.from_numpy(order).to(self.device)
            torch.index_select(self._rows, 0, index, out=chunk)
        return chunk if chunk.dtype == converted.dtype else converted.copy_(chunk)


class _SparseRows:
    """Rows of a CSR matrix, left sparse."""

    is_sparse = True

    def __init__(self, matrix: scipy.sparse.csr_matrix, device: torch.device) -> None:
        self.device = device
        self._matrix = matrix

    def reserve(self, n_rows: int) -> None:
        """Nothing to reserve: SciPy makes the rows that it gathers."""

    def slice(self, start: int, stop: int) -> scipy.sparse.csr_matrix:
        return self._matrix[start:stop]

    def take(self, order: np.ndarray) -> scipy.sparse.csr_matrix:
        return self._matrix[order]

    gather = take


class _DensifiedRows(_SparseRows):
    """Rows of a CSR matrix, made dense one chunk at a time."""

    is_sparse = False

    def __init__(
        self,
        matrix: scipy.sparse.csr_matrix,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(matrix, device)
        self._dtype = _compat.as_tensor(matrix.data[:0]).dtype if dtype is None else dtype

    def reserve(self, n_rows: int) -> None:
        shape = (n_rows, self._matrix.shape[1])
        self._buffer = torch.empty(shape, dtype=self._dtype, device=self.device)

    def slice(self, start: int, stop: int) -> torch.Tensor:
        return torch.from_numpy(super().slice(start, stop).toarray()).to(self.device, self._dtype)

    def take(self, order: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(super().take(order).toarray()).to(self.device, self._dtype)

    def gather(self, order: np.ndarray) -> torch.Tensor:
        return self._buffer[: len(order)].copy_(self.take(order))


def open_rows(
    X: np.ndarray | scipy.sparse.csr_matrix,
    device: torch.device,
    batch_size: int,
    dtype: torch.dtype | None = None,
) -> _DenseRows | _SparseRows:
    """The rows of `X` as a step on this device takes them."""
    if not scipy.sparse.issparse(X):
        return _DenseRows(X, device, dtype)
    if multiplies_sparse(X, device, batch_size):
        return _SparseRows(X, device)
    return _DensifiedRows(X, device, dtype)
