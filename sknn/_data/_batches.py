"""Rows in order: the validation split, and the batches of each epoch in scikit-learn's order.

Rows are taken chunk by chunk: one gather fills buffers that hold several batches, and a batch
is a set of views of these buffers, made once for a fit. So a step of a small network pays for
no gather and for no view, and memory beyond the data stays at one chunk (or one batch, if that
is larger).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils.extmath import _approximate_mode

from sknn._data._rows import DenseRows, open_rows, open_targets
from sknn._data._transfers import Transfer
from sknn._platform._compat import feature_major
from sknn._platform._devices import torch_dtype

# Gathered rows should still be in the second-level cache when the step reads them.
CHUNK_BYTES = 2**20
# On a device a chunk costs the host some 20 us of calls, and at 25 GB/s this takes 300 us to get
# there. Reckoned, not measured.
DEVICE_CHUNK_BYTES = 2**23
# A batch costs its views in Python: this bounds them when batches are tiny.
CHUNK_BATCHES = 256
# From so many rows on, the memory of scikit-learn's stratified split counts.
MANY_ROWS = 10**6


def split_rows(
    n_samples: int,
    validation_fraction: float,
    random_state: np.random.RandomState,
    stratify: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation rows, drawn as scikit-learn draws them."""
    is_costly = stratify is not None and n_samples >= MANY_ROWS
    if is_costly and 1 < stratify.sum() < n_samples - 1:
        train, valid = _stratified(stratify.ravel(), validation_fraction, random_state)
    else:
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


def _stratified(
    y: np.ndarray, validation_fraction: float, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The same rows as `train_test_split` draws for two classes, in a third of its memory.

    scikit-learn collects the indices in lists of Python: 106 bytes a row.
    """
    n_valid = math.ceil(validation_fraction * len(y))
    n_train = len(y) - n_valid
    counts = np.bincount(y, minlength=2)
    train_counts = _approximate_mode(counts, n_train, random_state)
    valid_counts = _approximate_mode(counts - train_counts, n_valid, random_state)
    train, valid = [], []
    for label in range(2):
        drawn = np.flatnonzero(y == label)[random_state.permutation(counts[label])]
        train.append(drawn[: train_counts[label]])
        valid.append(drawn[train_counts[label] :][: valid_counts[label]])
    return tuple(random_state.permutation(np.concatenate(rows)) for rows in (train, valid))


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
    offset : int
        Of its rows in the chunk.
    factors : torch.Tensor of shape (n_rows,) or None
        `weight` times `n_rows`.
    n_shared : int
        Its rows in all processes, where several train one network.
    """

    X: np.ndarray | torch.Tensor | scipy.sparse.csr_matrix
    y: torch.Tensor
    weight: torch.Tensor | None
    weight_sum: float
    n_rows: int
    offset: int = 0
    factors: torch.Tensor | None = None
    n_shared: int = 0


class RowOrder:
    """The order of rows in the epochs to come, as it is saved and put back."""

    n_samples: int
    batch_size: int
    random_state: np.random.RandomState | None
    _order: np.ndarray

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
        order, words = state["order"], state["random_state"]["state"]
        if order.shape != self._order.shape:
            raise ValueError(f"it is of {len(order)} rows, not of {self.n_samples}")
        if order.dtype.kind != "u" or not np.array_equal(np.sort(order), np.sort(self._order)):
            raise ValueError("its order of the rows is not one of these rows")
        # NumPy would read where it is told to, beyond the words that there are.
        if not 0 <= words["pos"] <= len(words["key"]):
            raise ValueError(f"its generator stands at {words['pos']} of {len(words['key'])} words")
        self._order[:] = order
        self.random_state.set_state(state["random_state"])


class Batches(RowOrder):
    """Batches over some rows of a data set; iterating is one epoch.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
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
        Of dense rows in a batch; by default that of `values`.
    values : dtype, default=None
        Of NumPy, in which is computed; by default that of `X`.
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
        values: np.dtype | None = None,
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
        self._X = open_rows(X, device, batch_size, dtype, values)
        self._y = open_targets(y, device)
        if device.type != "cpu" and not is_one_batch:  # only a gather does not wait for its copy
            in_order &= isinstance(self._X, DenseRows) and isinstance(self._y, DenseRows)
        self._in_order = in_order
        self._operand = operand
        row_bytes = X.shape[1] * (X.dtype if values is None else np.dtype(values)).itemsize
        if self._X.is_sparse:
            row_bytes = X.nnz * (X.dtype.itemsize + X.indices.itemsize) // X.shape[0]
        chunk_bytes = CHUNK_BYTES if device.type == "cpu" else DEVICE_CHUNK_BYTES
        fitting = chunk_bytes // max(1, batch_size * row_bytes)
        batches_per_chunk = min(max(1, fitting), CHUNK_BATCHES)
        self.chunk_size = min(self.n_samples, batch_size * batches_per_chunk)
        if not in_order:
            self._X.reserve(self.chunk_size)
            self._y.reserve(self.chunk_size)
        # The order goes to a device once an epoch.
        self._sent_order = None
        if device.type != "cpu" and not in_order:
            self._sent_order = Transfer((self.n_samples,), torch.int64, device)
        self._views: dict[int, list[Batch]] = {}
        self._shares: dict[int, _Shares] = {}
        self._chunk_start = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        if self.random_state is not None:
            self.random_state.shuffle(self._order)
        there = None
        if self._sent_order is not None:
            self._sent_order.room().copy_(torch.from_numpy(self._order))
            there = self._sent_order.send(self.n_samples)
        for start in range(0, self.n_samples, self.chunk_size):
            stop = min(start + self.chunk_size, self.n_samples)
            self._chunk_start = start
            yield from self._chunk(start, stop, there)

    def rows_of(self, batch: Batch) -> np.ndarray:
        """Which rows of `X` the batch that was yielded last holds."""
        start = self._chunk_start + batch.offset
        rows = slice(start, start + batch.n_rows)
        return np.arange(self.n_samples)[rows] if self._in_order else self._order[rows]

    def _chunk(self, start: int, stop: int, there: torch.Tensor | None) -> list[Batch]:
        """The batches of the rows from `start` to `stop`, gathered if they are out of order."""
        n_rows = stop - start
        if self._in_order:
            if n_rows < self.n_samples or not self._views:
                X, y = self._X.slice(start, stop), self._y.slice(start, stop)
                batches = self._slice(X, y, n_rows)
                self._views[n_rows] = self._weighted(batches, slice(start, stop), n_rows)
            return self._views[n_rows]
        order = self._order[start:stop]
        there = None if there is None else there[start:stop]
        X, y = self._X.gather(order, there), self._y.gather(order, there)
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
            batches.append(
                Batch(rows, feature_major(y[start:stop]), None, float(size), size, start)
            )
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
        self._transfer = Transfer((2, n_rows), torch_dtype(dtype), device)
        self.views = list(zip(*(r.split(batch_size) for r in self._transfer.there), strict=True))

    def fill(self, weight: np.ndarray) -> list[float]:
        """Take the weights of a chunk; returns the sum of each batch."""
        shares, factors = self._transfer.room().numpy()
        sums = np.add.reduceat(weight, self._starts)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(weight, np.repeat(sums, self._sizes), out=shares)
            np.multiply(shares, self._size_of_row, out=factors)
        self._transfer.send(2)
        return sums.tolist()
