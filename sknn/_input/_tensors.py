"""Tensors of torch where arrays are taken: as arrays, or checked on the device that they are on.

torch is not imported from here: whoever has a tensor has torch.
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
# The dtypes that NumPy has too, by the name that both give them.
_DTYPES = {name: np.dtype(name) for name in ("bool", *_INTEGERS, "float16", "float32", "float64")}


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def on_host(value: Any, name: str, dtypes: list[type] | None = None) -> Any:
    """A tensor as an array, or a sparse one as a CSR matrix; anything else as it is.

    Memory of the CPU is shared.

    Parameters
    ----------
    value : object
    name : str
        Of the argument, for errors.
    dtypes : list of type, default=None
        To the first of them are converted floats that NumPy has not, such as bfloat16; by default
        to float32, which holds each of their values.

    Raises
    ------
    ValueError
        If a tensor has no real numbers.
    """
    if not is_tensor(value):
        return value
    tensor = _real(value, name).cpu()
    dtype = np.dtype(np.float32 if dtypes is None else dtypes[0])
    if str(tensor.layout).startswith("torch.sparse_"):
        return _to_scipy(tensor, dtype)
    return _to_numpy(tensor, dtype)


def rows_of(X: Any, name: str, device: str, dtypes: list[type] | None = None) -> Any:
    """Rows as an array or a CSR matrix, but a tensor where an estimator computes on a device.

    Parameters
    ----------
    X : object
        What is no tensor is returned as it is.
    name : str
        Of the argument, for errors.
    device : str
        As the estimator has it. With "cpu" rows of another device are copied to the host; with any
        other, "auto" included, they stay where they are. Sparse ones never do: there, rows are made
        dense some at a time.
    dtypes : list of type, default=None
        Those to compute in, as `on_host` takes them.

    Returns
    -------
    ndarray, CSR matrix, tensor on another device than the CPU, or `X`
    """
    if not is_tensor(X):
        return X
    X = _real(X, name)
    is_empty = X.ndim > 0 and X.shape[0] == 0  # of one of several processes
    is_strided = str(X.layout) == "torch.strided"
    if device == "cpu" or X.device.type == "cpu" or is_empty or not is_strided:
        return on_host(X, name, dtypes)
    if X.device.type == "mps" and dtypes is not None and computed_in(X, dtypes) == np.float64:
        return on_host(X, name, dtypes)  # MPS has no float64
    return X


def computed_in(X: torch.Tensor, dtypes: list[type]) -> np.dtype:
    """The dtype to compute in: that of the rows if it is among `dtypes`, else the first."""
    own = _DTYPES.get(_name_of(X.dtype))
    return np.dtype(next((dtype for dtype in dtypes if own == dtype), dtypes[0]))


def outline(X: Any) -> Any:
    """An array of zeros that has the shape of a tensor, and no memory; anything else as it is."""
    if not is_tensor(X):
        return X
    dtype = _DTYPES.get(_name_of(X.dtype), np.dtype(np.float32))
    return np.broadcast_to(np.zeros((), dtype), tuple(X.shape))


def check_there(
    estimator: BaseEstimator, X: torch.Tensor, y: Any, dtypes: list[type] | None, reset: bool
) -> np.dtype | None:
    """scikit-learn's validation of rows on a device, of which the host reads one number.

    Parameters
    ----------
    estimator : BaseEstimator
    X : torch.Tensor
        As `rows_of` gives it.
    y : object
        Looked at only for whether it is there.
    dtypes : list of type or None
        Those to compute in; None for the one that the rows have.
    reset : bool
        Whether the estimator learns the number of features.

    Returns
    -------
    dtype or None
        The one to compute in.

    Raises
    ------
    ValueError
        As `validate_data` would, for rows converted to that dtype.
    """
    options = {"estimator": estimator, "input_name": "X"}
    if X.ndim != 2:
        check_array(on_host(X, "X"), dtype=dtypes or "numeric", **options)
    shape = outline(X)
    check_array(shape, ensure_all_finite=False, **options)
    validate_data(estimator, shape, y, reset=reset, skip_check_array=True)
    dtype = None if dtypes is None else computed_in(X, dtypes)
    if dtype is not None or _name_of(X.dtype) not in _DTYPES:
        X = X.to(getattr(sys.modules["torch"], "float32" if dtype is None else dtype.name))
    if X.is_floating_point() and not bool(X.sum().isfinite()):
        # The sum may have overflowed, or some value is bad. A row of the worst kind says which.
        for bad in (X.isnan().any(1), X.isinf().any(1)):
            check_array(on_host(X[bad.nonzero()[:1, 0]], "X"), ensure_min_samples=0, **options)
    return dtype


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _real(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The tensor without what arrays have not: gradients. Refuses what has no real numbers."""
    if tensor.is_complex():
        raise ValueError(
            f"Complex data not supported: {name} is a tensor of {tensor.dtype}. Give real numbers,"
            " as the real and the imaginary parts side by side."
        )
    if tensor.is_quantized:
        raise ValueError(
            f"{name} is a quantized tensor of {tensor.dtype}. Give the numbers that its codes stand"
            f" for: {name}.dequantize()."
        )
    if tensor.is_nested:
        raise ValueError(
            f"{name} is a nested tensor, whose rows may differ in length. Give a tensor whose rows"
            f" have one length: {name}.to_padded_tensor(0.0), say."
        )
    if _name_of(tensor.dtype) not in _DTYPES and not tensor.is_floating_point():
        raise ValueError(
            f"{name} is a tensor of {tensor.dtype}, whose values are not numbers. Give integers or"
            " floats."
        )
    return tensor.detach()


def _to_numpy(tensor: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """A tensor on the CPU as an array over its memory; floats that NumPy has not, as `dtype`."""
    if _name_of(tensor.dtype) not in _DTYPES:
        tensor = tensor.to(getattr(sys.modules["torch"], dtype.name))
    return tensor.resolve_neg().numpy()


def _to_scipy(tensor: torch.Tensor, dtype: np.dtype) -> scipy.sparse.csr_matrix | np.ndarray:
    """A sparse tensor on the CPU as a CSR matrix, over the memory of its values where it is one.

    SciPy converts the other layouts: torch warns that its own conversions are not stable yet.
    """
    if tensor.ndim != 2 or tensor.dense_dim():
        return _to_numpy(tensor.to_dense(), dtype)
    layout, shape = _name_of(tensor.layout), tuple(tensor.shape)
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
    blocks = values.transpose(0, 2, 1)  # columns of blocks are rows of the transpose
    return scipy.sparse.bsr_matrix((blocks, *places), shape=shape[::-1]).T.tocsr()
