"""Check memory maps, which are data in files, one part at a time.

A map in C order whose dtype is that of the computation is used like any array and needs nothing
from this module. scikit-learn's validation would copy any other map into memory.
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

from sknn._data._csr import csr_slice

# Size of the part that is checked at a time, after its conversion to the dtype of the computation.
CHUNK_BYTES = 2**23


def is_mapped(X: Any) -> bool:
    """Return whether the values lie in a file.

    They do in a memory map, in a view of one, and in a CSR matrix whose arrays are memory maps.
    """
    if scipy.sparse.issparse(X):
        return X.format == "csr" and any(map(is_mapped, (X.data, X.indices)))
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap.mmap)


def must_convert(X: Any, dtypes: Sequence[Any]) -> bool:
    """Return whether the rows lie in a file and have to be converted before a step can use them."""
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
    """Validate rows as scikit-learn does, without a copy of all of them.

    Only the presence of `y` is checked, not its values.

    Returns
    -------
    dtype
        The dtype to compute in: that of `X` if it is one of `dtypes`, else the first of them.

    Raises
    ------
    ValueError
        If `validate_data` would refuse the rows after their conversion to that dtype.
    """
    from sknn._data._rows import converted  # imported here because it needs torch

    dtype = np.dtype(next((d for d in dtypes if X.dtype == d), dtypes[0]))
    options = {"accept_sparse": "csr", "estimator": estimator, "input_name": "X"}
    check_array(X[:1] if X.ndim else X, **options)  # This finds a wrong shape, for instance.
    validate_data(estimator, X, y, reset=reset, skip_check_array=True)
    for rows in chunks(X, dtype):
        with np.errstate(over="ignore"):  # `check_array` refuses what float32 cannot hold.
            rows = converted(rows, dtype)
            check_array(rows, accept_sparse="csr", dtype=dtype, estimator=estimator, input_name="X")
    return dtype


def chunks(
    X: np.ndarray | scipy.sparse.csr_matrix, dtype: np.dtype
) -> Iterator[np.ndarray | scipy.sparse.csr_matrix]:
    """Yield the rows in chunks that take up about `CHUNK_BYTES` in the given dtype."""
    is_sparse = scipy.sparse.issparse(X)
    n_values = X.nnz // X.shape[0] if is_sparse else X.shape[1]
    size = max(1, CHUNK_BYTES // (max(1, n_values) * dtype.itemsize))
    for start in range(0, X.shape[0], size):
        stop = min(start + size, X.shape[0])
        yield csr_slice(X, start, stop) if is_sparse else X[start:stop]
