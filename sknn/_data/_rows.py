"""The rows of a data set as steps and predictions take them: some at a time, on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch

from sknn._data._transfers import Transfer
from sknn._input._memory_maps import csr_slice, csr_take
from sknn._platform import _compat
from sknn._platform._devices import fits, torch_dtype

# Rows with at least this share of values set are multiplied as dense ones, which is faster from a
# share of 0.1 to 0.2 on; `examples/benchmarks/choices.py` measures it.
DENSE_FROM = 0.1


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


class DenseRows:
    """Rows of an array or a tensor on a device: a slice of them, a copy, or one into a buffer."""

    is_sparse = False

    def __init__(
        self,
        array: np.ndarray | torch.Tensor,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.device = device
        if not isinstance(array, torch.Tensor):
            array = _compat.as_tensor(array)
        self._rows = array.to(device)
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

    def gather(self, order: np.ndarray, there: torch.Tensor | None = None) -> torch.Tensor:
        """Rows in an order, which is `there` on the device already, unless that is the CPU."""
        n_rows = len(order)
        chunk, converted = self._buffer[:n_rows], self._converted[:n_rows]
        if self.device.type == "cpu" and torch.get_num_threads() == 1:
            # On one thread NumPy's is the faster gather. Clipping skips a check of the order.
            np.take(self._rows.numpy(), order, 0, out=chunk.numpy(), mode="clip")
        else:
            index = torch.from_numpy(order).to(self.device) if there is None else there
            torch.index_select(self._rows, 0, index, out=chunk)
        return chunk if chunk.dtype == converted.dtype else converted.copy_(chunk)


class StreamedRows:
    """Rows of an array that stays where it is, converted and moved to the device some at a time.

    So they are in a file, of another dtype than is computed with, or beside a device whose memory
    they would fill.

    Parameters
    ----------
    array : ndarray of shape (n_samples, n_features)
        Of any real dtype, byte order and memory layout.
    device : torch.device
    dtype : torch.dtype
        Of the rows that are given out.
    values : dtype
        Of NumPy: float32, float64 or int64, to which values are converted first.
    """

    is_sparse = False

    def __init__(
        self, array: np.ndarray, device: torch.device, dtype: torch.dtype, values: np.dtype
    ) -> None:
        self.device = device
        self._array, self._dtype, self._values = array, dtype, values
        self._transfer: Transfer

    def reserve(self, n_rows: int) -> None:
        self._transfer = Transfer((n_rows, self._array.shape[1]), self._dtype, self.device)

    def slice(self, start: int, stop: int) -> torch.Tensor:
        return self._moved(self._array[start:stop])

    def take(self, order: np.ndarray) -> torch.Tensor:
        return self._moved(self._array[order])

    def gather(self, order: np.ndarray, there: torch.Tensor | None = None) -> torch.Tensor:
        rows = converted(self._array[order], self._values)
        self._transfer.room()[: len(order)].copy_(_compat.as_tensor(rows))
        return self._transfer.send(len(order))

    def _moved(self, rows: np.ndarray) -> torch.Tensor:
        # In C order: the order decides on how products round.
        rows = _compat.as_tensor(np.ascontiguousarray(converted(rows, self._values)))
        return rows.to(self.device, self._dtype)


class SparseRows:
    """Rows of a CSR matrix, left sparse."""

    is_sparse = True

    def __init__(
        self,
        matrix: scipy.sparse.csr_matrix,
        device: torch.device,
        values: np.dtype | None = None,
    ) -> None:
        self.device = device
        self._matrix = matrix
        self._values = matrix.dtype if values is None else values

    def reserve(self, n_rows: int) -> None:
        """Nothing to reserve: SciPy makes the rows that it gathers."""

    def slice(self, start: int, stop: int) -> scipy.sparse.csr_matrix:
        return csr_slice(self._matrix, start, stop).astype(self._values, copy=False)

    def take(self, order: np.ndarray) -> scipy.sparse.csr_matrix:
        return csr_take(self._matrix, order).astype(self._values, copy=False)

    def gather(
        self, order: np.ndarray, there: torch.Tensor | None = None
    ) -> scipy.sparse.csr_matrix:
        return self.take(order)


class DensifiedRows(SparseRows):
    """Rows of a CSR matrix, made dense one chunk at a time."""

    is_sparse = False

    def __init__(
        self,
        matrix: scipy.sparse.csr_matrix,
        device: torch.device,
        values: np.dtype | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(matrix, device, values)
        self._dtype = torch_dtype(self._values) if dtype is None else dtype

    def reserve(self, n_rows: int) -> None:
        self._transfer = Transfer((n_rows, self._matrix.shape[1]), self._dtype, self.device)

    def slice(self, start: int, stop: int) -> torch.Tensor:
        return torch.from_numpy(super().slice(start, stop).toarray()).to(self.device, self._dtype)

    def take(self, order: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(super().take(order).toarray()).to(self.device, self._dtype)

    def gather(self, order: np.ndarray, there: torch.Tensor | None = None) -> torch.Tensor:
        rows = torch.from_numpy(super().take(order).toarray())
        self._transfer.room()[: len(order)].copy_(rows)
        return self._transfer.send(len(order))


def converted(array: Any, dtype: np.dtype) -> Any:
    """An array or a CSR matrix, which SciPy never has in float16, in another dtype."""
    if array.dtype == np.float16:  # in a twentieth of the time of NumPy
        return _compat.as_tensor(array).to(torch_dtype(dtype)).numpy()
    return array.astype(dtype, copy=False)


Rows = DenseRows | StreamedRows | SparseRows


def placed(
    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor, device: torch.device, dtype: np.dtype
) -> np.ndarray | scipy.sparse.csr_matrix | torch.Tensor:
    """A tensor where steps are computed, in C order and of their dtype; anything else as it is.

    So it is moved and converted once, and not at all if that is what it is. As an array it goes to
    the CPU, and to a device whose memory it would fill.
    """
    if not isinstance(X, torch.Tensor):
        return X
    is_elsewhere = X.device.type != device.type or device.index not in (None, X.device.index)
    X = X.to(torch_dtype(dtype))
    if device.type == "cpu" or is_elsewhere and not fits(X.numel() * X.element_size(), device):
        return np.ascontiguousarray(X.cpu().numpy())
    return X.to(device).contiguous()


def open_rows(
    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor,
    device: torch.device,
    batch_size: int,
    dtype: torch.dtype | None = None,
    values: np.dtype | None = None,
) -> Rows:
    """The rows of `X` as a step on this device takes them.

    Parameters
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
    device : torch.device
    batch_size : int
    dtype : torch.dtype, default=None
        Of dense rows; by default that of `values`.
    values : dtype, default=None
        Of NumPy, in which is computed; by default that of `X`. A tensor needs it, or `dtype`.
    """
    if isinstance(X, torch.Tensor):
        return DenseRows(X, device, torch_dtype(values) if dtype is None else dtype)
    values = X.dtype if values is None else np.dtype(values)
    if scipy.sparse.issparse(X):
        if multiplies_sparse(X, device, batch_size):
            return SparseRows(X, device, values)
        return DensifiedRows(X, device, values, dtype)
    dtype = torch_dtype(values) if dtype is None else dtype
    if X.dtype == values and X.flags.c_contiguous and fits(X.size * values.itemsize, device):
        return DenseRows(X, device, dtype)
    return StreamedRows(X, device, dtype, values)


def open_targets(y: np.ndarray, device: torch.device) -> DenseRows | StreamedRows:
    """Encoded targets, which are in the dtype of the steps, as `open_rows` opens rows."""
    if fits(y.nbytes, device):
        return DenseRows(y, device)
    return StreamedRows(y, device, torch_dtype(y.dtype), y.dtype)
