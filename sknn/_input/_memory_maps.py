"""Data in files: memory maps that are read, and converted, a part at a time.

A map whose values are of the dtype of the computation, in C order, needs nothing of this: it is an
array. Of any other, scikit-learn's validation would make a copy in memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

# Of the dtype of the computation, for one look at the values.
CHUNK_BYTES = 2**23


def is_mapped(X: Any) -> bool:
    """Whether the values lie in a file: a memory map, a view of one, or a CSR matrix of maps."""
    if scipy.sparse.issparse(X):
        return X.format == "csr" and any(map(is_mapped, (X.data, X.indices)))
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap.mmap)


def must_convert(X: Any, dtypes: Sequence[Any]) -> bool:
    """Whether these are rows in a file that no step can take as they are."""
    if not is_mapped(X) or X.dtype.kind not in "biuf":
        return False
    return X.dtype not in dtypes or not scipy.sparse.issparse(X) and not X.flags.c_contiguous


def check_mapped(
    estimator: BaseEstimator,
    X: np.ndarray | scipy.sparse.csr_matrix,
    y: Any,
    dtypes: Sequence[Any],
    reset: bool,
) -> np.dtype:
    """scikit-learn's validation of rows, without a copy of all of them.

    `y` is looked at only for whether it is there.

    Returns
    -------
    dtype
        The one to compute in: that of `X` if it is one of `dtypes`, else the first of them.

    Raises
    ------
    ValueError
        As `validate_data` would, for rows converted to that dtype.
    """
    from sknn._data._rows import converted  # here, as it needs torch

    dtype = np.dtype(next((d for d in dtypes if X.dtype == d), dtypes[0]))
    options = {"accept_sparse": "csr", "estimator": estimator, "input_name": "X"}
    check_array(X[:1] if X.ndim else X, **options)  # of the wrong shape, say
    validate_data(estimator, X, y, reset=reset, skip_check_array=True)
    for rows in chunks(X, dtype):
        with np.errstate(over="ignore"):  # what float32 cannot hold is an error of its own
            rows = converted(rows, dtype)
            check_array(rows, accept_sparse="csr", dtype=dtype, estimator=estimator, input_name="X")
    return dtype


def chunks(
    X: np.ndarray | scipy.sparse.csr_matrix, dtype: np.dtype
) -> Iterator[np.ndarray | scipy.sparse.csr_matrix]:
    """The rows, some at a time."""
    is_sparse = scipy.sparse.issparse(X)
    n_values = X.nnz // X.shape[0] if is_sparse else X.shape[1]
    size = max(1, CHUNK_BYTES // (max(1, n_values) * dtype.itemsize))
    for start in range(0, X.shape[0], size):
        stop = min(start + size, X.shape[0])
        yield csr_slice(X, start, stop) if is_sparse else X[start:stop]


def csr_slice(matrix: scipy.sparse.csr_matrix, start: int, stop: int) -> scipy.sparse.csr_matrix:
    """Rows of a CSR matrix. SciPy would copy all indices, if `indptr` is of another dtype."""
    first, last = int(matrix.indptr[start]), int(matrix.indptr[stop])
    indptr = _fitting(matrix.indptr[start : stop + 1] - first, matrix.indices.dtype)
    parts = (matrix.data[first:last], matrix.indices[first:last], indptr)
    return type(matrix)(parts, shape=(stop - start, matrix.shape[1]))


def csr_take(matrix: scipy.sparse.csr_matrix, rows: np.ndarray) -> scipy.sparse.csr_matrix:
    """Rows of a CSR matrix in an order; for the same reason not always by SciPy."""
    if matrix.indptr.dtype == matrix.indices.dtype:
        return matrix[rows]
    starts = matrix.indptr[rows]
    sizes = matrix.indptr[rows + 1] - starts
    indptr = np.append(0, np.cumsum(sizes))
    places = np.repeat(starts - indptr[:-1], sizes) + np.arange(indptr[-1])
    indptr = _fitting(indptr, matrix.indices.dtype)
    parts = (matrix.data[places], matrix.indices[places], indptr)
    return type(matrix)(parts, shape=(len(rows), matrix.shape[1]))


def _fitting(indptr: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return indptr.astype(dtype) if indptr[-1] <= np.iinfo(dtype).max else indptr
