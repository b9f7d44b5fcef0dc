"""Give out the rows of a data set a part at a time, on the device that computes with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch

from sknn._data._csr import csr_slice, csr_take
from sknn._data._device_transfers import Transfer
from sknn._platform import _compat
from sknn._platform._devices import fits, torch_dtype

# If at least this share of their values is set, sparse rows are multiplied as dense ones. That is
# faster above a share of 0.1 to 0.2; `examples/benchmarks/choices.py` measures it.
DENSE_FROM = 0.1


def multiplies_sparse(
    X: np.ndarray | scipy.sparse.spmatrix, device: torch.device, batch_size: int
) -> bool:
    """Return whether the rows of `X` stay sparse in a step.

    They do on a CPU if few values are set, or if a batch holds more than half of the rows, which
    are never made dense all at once.
    """
    return (
        scipy.sparse.issparse(X)
        and device.type == "cpu"
        and (2 * batch_size > X.shape[0] or X.nnz < DENSE_FROM * X.shape[0] * X.shape[1])
    )


class DenseRows:
    """Rows of an array or a tensor that is on the device as a whole.

    `slice` returns views if no conversion is needed, `take` returns copies, and `gather` copies
    into a buffer. The other classes of rows have the same methods.
    """

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
        self._views: dict[int, tuple[torch.Tensor, ...]] = {}

    def reserve(self, n_rows: int) -> None:
        self._buffer = self._rows.new_empty((n_rows, *self._rows.shape[1:]))
        self._converted = self._buffer.to(self._dtype)
        self._views = {}

    def slice(self, start: int, stop: int) -> torch.Tensor:
        return self._rows[start:stop].to(self._dtype)

    def take(self, order: np.ndarray) -> torch.Tensor:
        return self._rows[torch.from_numpy(order).to(self.device)].to(self._dtype)

    def gather(self, order: np.ndarray, device_order: torch.Tensor | None = None) -> torch.Tensor:
        """Return rows in the given order, in the memory that `reserve` has made.

        On another device than the CPU, `device_order` may hold the same order there.
        """
        n_rows = len(order)
        if n_rows not in self._views:
            self._views[n_rows] = (self._buffer[:n_rows], self._converted[:n_rows])
        chunk, converted = self._views[n_rows]
        if self.device.type == "cpu" and torch.get_num_threads() == 1:
            # NumPy gathers faster than torch on one thread. Clipping skips a check of the order.
            np.take(self._rows.numpy(), order, 0, out=chunk.numpy(), mode="clip")
        else:
            if device_order is None:
                device_order = torch.from_numpy(order).to(self.device)
            torch.index_select(self._rows, 0, device_order, out=chunk)
        return chunk if chunk.dtype == converted.dtype else converted.copy_(chunk)


class StreamedRows:
    """Rows of an array that stays where it is; parts are converted and moved to the device.

    This is for arrays in a file, of another dtype than that of the computation, or too large for
    the memory of the device.

    Parameters
    ----------
    array : ndarray of shape (n_samples, n_features)
        The values, of any real dtype, byte order and memory layout.
    device : torch.device
        The device to which rows are moved.
    dtype : torch.dtype
        Dtype of the rows that are given out.
    values : dtype
        NumPy's float32, float64 or int64, to which values are converted first.
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

    def gather(self, order: np.ndarray, device_order: torch.Tensor | None = None) -> torch.Tensor:
        rows = converted(self._array[order], self._values)
        self._transfer.next_buffer()[: len(order)].copy_(_compat.as_tensor(rows))
        return self._transfer.send(len(order))

    def _moved(self, rows: np.ndarray) -> torch.Tensor:
        # The rows are in C order because the memory layout decides how products round.
        rows = _compat.as_tensor(np.ascontiguousarray(converted(rows, self._values)))
        return rows.to(self.device, self._dtype)


class SparseRows:
    """Rows of a CSR matrix that stay sparse."""

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
        """Do nothing: SciPy allocates the rows that it gathers."""

    def slice(self, start: int, stop: int) -> scipy.sparse.csr_matrix:
        return csr_slice(self._matrix, start, stop).astype(self._values, copy=False)

    def take(self, order: np.ndarray) -> scipy.sparse.csr_matrix:
        return csr_take(self._matrix, order).astype(self._values, copy=False)

    def gather(
        self, order: np.ndarray, device_order: torch.Tensor | None = None
    ) -> scipy.sparse.csr_matrix:
        return self.take(order)


class DensifiedRows(SparseRows):
    """Rows of a CSR matrix that are made dense one chunk at a time."""

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

    def gather(self, order: np.ndarray, device_order: torch.Tensor | None = None) -> torch.Tensor:
        rows = torch.from_numpy(super().take(order).toarray())
        self._transfer.next_buffer()[: len(order)].copy_(rows)
        return self._transfer.send(len(order))


def converted(array: Any, dtype: np.dtype) -> Any:
    """Return an array or a CSR matrix in another dtype."""
    # Torch converts float16 in a twentieth of NumPy's time. No CSR matrix gets here: SciPy has none
    # in float16.
    if array.dtype == np.float16:
        return _compat.as_tensor(array).to(torch_dtype(dtype)).numpy()
    return array.astype(dtype, copy=False)


Rows = DenseRows | StreamedRows | SparseRows


def placed(
    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor, device: torch.device, dtype: np.dtype
) -> np.ndarray | scipy.sparse.csr_matrix | torch.Tensor:
    """Return a tensor on the device and in the dtype of the steps, in C order.

    So a tensor is moved and converted once, and not at all if nothing about it has to change.
    Anything else is returned unchanged. The result is an array on the CPU if that is the device, or
    if the tensor would fill the memory of the device.
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
    """Return the rows of `X` as a step on this device takes them.

    Parameters
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Rows of the data set.
    device : torch.device
        The device on which steps are computed.
    batch_size : int
        Number of rows in the largest batch.
    dtype : torch.dtype, default=None
        Dtype of dense rows. By default it is that of `values`.
    values : dtype, default=None
        NumPy's dtype of the computation. By default it is that of `X`. If `X` is a tensor, either
        this or `dtype` is required.
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
    """Return encoded targets as `open_rows` returns rows.

    They are in the dtype of the steps already.
    """
    if fits(y.nbytes, device):
        return DenseRows(y, device)
    return StreamedRows(y, device, torch_dtype(y.dtype), y.dtype)
