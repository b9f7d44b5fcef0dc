"""Rows in order: the batches of each epoch, in scikit-learn's order.

Rows are taken chunk by chunk: one gather fills buffers that hold several batches, and a batch
is a set of views of these buffers, which are made once for a fit. So a step of a small network pays
neither for a gather nor for a view, and the memory used beyond the data is one chunk (or one batch,
if that is larger).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from sknn._data._device_transfers import Transfer
from sknn._data._rows import DenseRows, open_rows, open_targets
from sknn._platform._compat import feature_major
from sknn._platform._devices import torch_dtype

# Gathered rows should still be in the second-level cache when the step reads them.
CHUNK_BYTES = 2**20
# On a device, the calls for a chunk cost the host about 20 us, and at 25 GB/s a chunk of this size
# takes 300 us to get there. These times are estimates, not measurements.
DEVICE_CHUNK_BYTES = 2**23
# Each batch of a chunk costs views, which are made in Python. This limits their number when batches
# are tiny.
CHUNK_BATCHES = 256


class Batch(NamedTuple):
    """The rows of one step.

    Attributes
    ----------
    X : operand of shape (n_rows, n_features), or scipy.sparse.csr_matrix
        The rows, as an ndarray or a tensor, whichever the products of the step take.
    y : torch.Tensor of shape (n_outputs, n_rows)
        Encoded targets, feature-major. Class indices are int64, of shape (1, n_rows).
    weight : torch.Tensor of shape (n_rows,) or None
        Sample weights, divided by their sum.
    weight_sum : float
        Sum of the sample weights, or `n_rows` if there are none.
    n_rows : int
        Number of rows in the batch.
    offset : int
        Index of the batch's first row in the chunk.
    factors : torch.Tensor of shape (n_rows,) or None
        `weight` times `n_rows`.
    n_shared : int
        Number of rows that the batch has in all processes together, if several processes train one
        network.
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
    """The order of rows in the epochs to come, which can be saved and restored."""

    n_samples: int
    batch_size: int
    random_state: np.random.RandomState | None
    _order: np.ndarray

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch, including those without weight."""
        return -(-self.n_samples // self.batch_size)

    def state(self) -> dict[str, Any] | None:
        """Return what the order of the next epochs depends on, or None if it never changes."""
        if self.random_state is None:
            return None
        compact = np.min_scalar_type(self._order.max())
        return {
            "order": self._order.astype(compact),
            "random_state": self.random_state.get_state(legacy=False),
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Restore what `state` returned."""
        if self.random_state is None:
            return
        order, words = state["order"], state["random_state"]["state"]
        if order.shape != self._order.shape:
            raise ValueError(f"it has an order of {len(order)} rows, not of {self.n_samples}")
        if order.dtype.kind != "u" or not np.array_equal(np.sort(order), np.sort(self._order)):
            raise ValueError("its order of the rows does not hold each training row once")
        # NumPy does not check the position and would read beyond the end of the words.
        if not 0 <= words["pos"] <= len(words["key"]):
            raise ValueError(f"its generator stands at {words['pos']} of {len(words['key'])} words")
        self._order[:] = order
        self.random_state.set_state(state["random_state"])


class Batches(RowOrder):
    """Batches over some rows of a data set. Each iteration over them is one epoch.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Rows of the data set.
    y : ndarray of shape (n_samples, n_columns)
        Encoded targets.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the rows.
    rows : ndarray of int or None
        Numbers of the rows to take, in this order. None means all rows. The array is shuffled in
        place.
    batch_size : int
        Number of rows in one batch.
    random_state : numpy.random.RandomState or None
        Generator that shuffles the order of the previous epoch, as scikit-learn does. None keeps
        the order.
    device : torch.device
        The device on which steps are computed.
    dtype : torch.dtype, default=None
        Dtype of dense rows in a batch. By default it is that of `values`.
    values : dtype, default=None
        NumPy's dtype of the computation. By default it is that of `X`.
    operand : callable, default=None
        Function that turns a tensor of rows into what the products of a step take. By default they
        take the tensor.

    Notes
    -----
    A batch is valid until the next chunk is gathered. Batches whose weights sum to zero are
    left out, as if they held no rows (scikit-learn divides by zero).
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
        # One batch of all rows needs no gathering, because its sums do not depend on their order.
        # The random state is still used, so that it ends in the same state as scikit-learn's.
        is_one_batch = batch_size >= self.n_samples
        in_order = rows is None and (random_state is None or is_one_batch)
        self._order = np.arange(self.n_samples) if rows is None else rows
        self._X = open_rows(X, device, batch_size, dtype, values)
        self._y = open_targets(y, device)
        if device.type != "cpu" and not is_one_batch:
            # Rows that are streamed in order would make the host wait for each copy; a gather
            # does not wait.
            in_order &= isinstance(self._X, DenseRows) and isinstance(self._y, DenseRows)
        self._in_order = in_order
        self._operand = operand
        row_bytes = X.shape[1] * (X.dtype if values is None else np.dtype(values)).itemsize
        if self._X.is_sparse:
            row_bytes = X.nnz * (X.dtype.itemsize + X.indices.itemsize) // X.shape[0]
        chunk_bytes = CHUNK_BYTES if device.type == "cpu" else DEVICE_CHUNK_BYTES
        batches_per_chunk = max(1, chunk_bytes // max(1, batch_size * row_bytes))
        batches_per_chunk = min(batches_per_chunk, CHUNK_BATCHES)
        self.chunk_size = min(self.n_samples, batch_size * batches_per_chunk)
        if not in_order:
            self._X.reserve(self.chunk_size)
            self._y.reserve(self.chunk_size)
        # The order is sent to a device once per epoch.
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
        device_order = None
        if self._sent_order is not None:
            self._sent_order.next_buffer().copy_(torch.from_numpy(self._order))
            device_order = self._sent_order.send(self.n_samples)
        for start in range(0, self.n_samples, self.chunk_size):
            stop = min(start + self.chunk_size, self.n_samples)
            self._chunk_start = start
            yield from self._chunk(start, stop, device_order)

    def row_numbers(self, batch: Batch) -> np.ndarray:
        """Return the numbers of the rows of `X` that the last yielded batch holds."""
        start = self._chunk_start + batch.offset
        rows = slice(start, start + batch.n_rows)
        return np.arange(self.n_samples)[rows] if self._in_order else self._order[rows]

    def _chunk(self, start: int, stop: int, device_order: torch.Tensor | None) -> list[Batch]:
        """Return the batches of the rows from `start` to `stop` in the order.

        The rows are gathered unless they lie in this order already.
        """
        n_rows = stop - start
        if self._in_order:
            if n_rows < self.n_samples or not self._views:
                X, y = self._X.slice(start, stop), self._y.slice(start, stop)
                batches = self._slice(X, y, n_rows)
                self._views[n_rows] = self._weighted(batches, slice(start, stop), n_rows)
            return self._views[n_rows]
        order = self._order[start:stop]
        device_order = None if device_order is None else device_order[start:stop]
        X, y = self._X.gather(order, device_order), self._y.gather(order, device_order)
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
        """Put the weights into the batches of a chunk, whose rows `order` selects."""
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
    """The weights of a chunk's rows, divided by the sum and by the mean of their batch.

    The host knows the weights and their order, so it computes both there.
    """

    def __init__(self, n_rows: int, batch_size: int, dtype: np.dtype, device: torch.device) -> None:
        self._starts = np.arange(0, n_rows, batch_size)
        self._sizes = np.diff(np.append(self._starts, n_rows))
        self._size_of_row = np.repeat(self._sizes, self._sizes).astype(dtype)
        self._transfer = Transfer((2, n_rows), torch_dtype(dtype), device)
        self.views = list(zip(*(r.split(batch_size) for r in self._transfer.there), strict=True))

    def fill(self, weight: np.ndarray) -> list[float]:
        """Take the weights of a chunk and return their sum in each batch."""
        shares, factors = self._transfer.next_buffer().numpy()
        sums = np.add.reduceat(weight, self._starts)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(weight, np.repeat(sums, self._sizes), out=shares)
            np.multiply(shares, self._size_of_row, out=factors)
        self._transfer.send(2)
        return sums.tolist()
