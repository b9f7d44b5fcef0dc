"""Convert tensors of torch to arrays, or check them on the device that they are on.

This module does not import torch: a caller who has a tensor has imported it already.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

if TYPE_CHECKING:
    import torch
    from sklearn.base import BaseEstimator

_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
# The dtypes that both torch and NumPy have, by their common name.
_DTYPES = {name: np.dtype(name) for name in ("bool", *_INTEGERS, "float16", "float32", "float64")}


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def on_host(value: Any, name: str, dtypes: list[type] | None = None) -> Any:
    """Return a tensor as an array, or a sparse one as a CSR matrix.

    The result shares memory with a tensor on the CPU. Anything else is returned unchanged.

    Parameters
    ----------
    value : object
        The value to convert.
    name : str
        Name of the argument, for errors.
    dtypes : list of type, default=None
        Floats that NumPy does not have, such as bfloat16, are converted to the first of these. The
        default is float32, which can represent all their values.

    Raises
    ------
    ValueError
        If the values of a tensor are not real numbers.
    """
    if not is_tensor(value):
        return value
    tensor = _checked_and_detached(value, name).cpu()
    dtype = np.dtype(np.float32 if dtypes is None else dtypes[0])
    if str(tensor.layout).startswith("torch.sparse_"):
        return _to_scipy(tensor, dtype)
    return _to_numpy(tensor, dtype)


def array_or_device_tensor(X: Any, name: str, device: str, dtypes: list[type] | None = None) -> Any:
    """Return a tensor as an array or a CSR matrix, unless it can stay on the device that it is on.

    Parameters
    ----------
    X : object
        Rows. If they are not a tensor, they are returned unchanged.
    name : str
        Name of the argument, for errors.
    device : str
        The estimator's parameter. With "cpu", rows on another device are copied to the host; with
        any other value, "auto" included, they stay where they are. Sparse tensors are always
        copied to the host, where their rows are made dense a chunk at a time.
    dtypes : list of type, default=None
        The dtypes to compute in, as in `on_host`.

    Returns
    -------
    ndarray, CSR matrix, tensor on a device other than the CPU, or `X`
    """
    if not is_tensor(X):
        return X
    X = _checked_and_detached(X, name)
    is_empty = X.ndim > 0 and X.shape[0] == 0  # One of several processes may have no rows.
    is_strided = str(X.layout) == "torch.strided"
    if device == "cpu" or X.device.type == "cpu" or is_empty or not is_strided:
        return on_host(X, name, dtypes)
    if X.device.type == "mps" and dtypes is not None and compute_dtype(X, dtypes) == np.float64:
        return on_host(X, name, dtypes)  # MPS has no float64
    return X


def compute_dtype(X: torch.Tensor, dtypes: list[type]) -> np.dtype:
    """Return the dtype to compute in: that of the rows if `dtypes` has it, else the first one."""
    own = _DTYPES.get(_torch_name(X.dtype))
    return np.dtype(next((dtype for dtype in dtypes if own == dtype), dtypes[0]))


def shape_placeholder(X: Any) -> Any:
    """Return an array of zeros with the shape of a tensor, which takes up no memory.

    Anything else is returned unchanged.
    """
    if not is_tensor(X):
        return X
    dtype = _DTYPES.get(_torch_name(X.dtype), np.dtype(np.float32))
    return np.broadcast_to(np.zeros((), dtype), tuple(X.shape))


def check_on_device(
    estimator: BaseEstimator, X: torch.Tensor, y: Any, dtypes: list[type] | None, reset: bool
) -> np.dtype | None:
    """Validate rows on a device as scikit-learn does. The host reads one number from the device.

    Parameters
    ----------
    estimator : BaseEstimator
        The estimator that learns from the rows, or predicts for them.
    X : torch.Tensor
        A tensor that `array_or_device_tensor` returned.
    y : object
        The targets. Only their presence is checked, not their values.
    dtypes : list of type or None
        The dtypes to compute in, or None for that of the rows.
    reset : bool
        Whether the estimator stores the number of features.

    Returns
    -------
    dtype or None
        The dtype to compute in, or None if `dtypes` is None.

    Raises
    ------
    ValueError
        If `validate_data` would refuse the rows after their conversion to that dtype.
    """
    options = {"estimator": estimator, "input_name": "X"}
    if X.ndim != 2:
        check_array(on_host(X, "X"), dtype=dtypes or "numeric", **options)
    shape = shape_placeholder(X)
    check_array(shape, ensure_all_finite=False, **options)
    validate_data(estimator, shape, y, reset=reset, skip_check_array=True)
    dtype = None if dtypes is None else compute_dtype(X, dtypes)
    if dtype is not None or _torch_name(X.dtype) not in _DTYPES:
        X = X.to(getattr(sys.modules["torch"], "float32" if dtype is None else dtype.name))
    if X.is_floating_point() and not bool(X.sum().isfinite()):
        # Either the sum has overflowed, or a value is not finite. The first row with a NaN, or else
        # with an infinity, makes `check_array` raise its error.
        for bad in (X.isnan().any(1), X.isinf().any(1)):
            check_array(on_host(X[bad.nonzero()[:1, 0]], "X"), ensure_min_samples=0, **options)
    return dtype


def _torch_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _checked_and_detached(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """Return the tensor without gradients, and refuse one whose values are not real numbers."""
    if tensor.is_complex():
        raise ValueError(
            f"Complex data not supported: {name} is a tensor of {tensor.dtype}. Pass real numbers,"
            " for instance the real and imaginary parts as separate columns."
        )
    if tensor.is_quantized:
        raise ValueError(
            f"{name} is a quantized tensor of {tensor.dtype}. Pass its values as ordinary numbers:"
            f" {name}.dequantize()."
        )
    if tensor.is_nested:
        raise ValueError(
            f"{name} is a nested tensor, whose rows may differ in length. Pass a tensor whose rows"
            f" all have the same length, for instance {name}.to_padded_tensor(0.0)."
        )
    if _torch_name(tensor.dtype) not in _DTYPES and not tensor.is_floating_point():
        raise ValueError(
            f"{name} is a tensor of {tensor.dtype}, whose values are not numbers. Pass integers or"
            " floats."
        )
    return tensor.detach()


def _to_numpy(tensor: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """Return a tensor on the CPU as an array that shares its memory.

    Floats that NumPy does not have are converted to `dtype`.
    """
    if _torch_name(tensor.dtype) not in _DTYPES:
        tensor = tensor.to(getattr(sys.modules["torch"], dtype.name))
    return tensor.resolve_neg().numpy()


def _to_scipy(tensor: torch.Tensor, dtype: np.dtype) -> scipy.sparse.csr_matrix | np.ndarray:
    """Return a sparse tensor on the CPU as a CSR matrix, which shares its values if it is CSR.

    SciPy converts the other layouts, because torch warns that its own conversions are not stable.
    """
    if tensor.ndim != 2 or tensor.dense_dim():
        return _to_numpy(tensor.to_dense(), dtype)
    layout, shape = _torch_name(tensor.layout), tuple(tensor.shape)
    if layout == "sparse_coo":
        tensor = tensor.coalesce()
        values, places = _to_numpy(tensor.values(), dtype), tuple(tensor.indices().numpy())
        return scipy.sparse.coo_matrix((values, places), shape=shape).tocsr()
    values = _to_numpy(tensor.values(), dtype)
    if layout in ("sparse_csr", "sparse_bsr"):
        places = tensor.col_indices().numpy(), tensor.crow_indices().numpy()
        kind = scipy.sparse.csr_matrix if layout == "sparse_csr" else scipy.sparse.bsr_matrix
        return kind((values, *places), shape=shape).tocsr()
    places = tensor.row_indices().numpy(), tensor.ccol_indices().numpy()
    if layout == "sparse_csc":
        return scipy.sparse.csc_matrix((values, *places), shape=shape).tocsr()
    blocks = values.transpose(0, 2, 1)  # A column of blocks is a row of the transposed matrix.
    return scipy.sparse.bsr_matrix((blocks, *places), shape=shape[::-1]).T.tocsr()
