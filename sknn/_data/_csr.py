"""Rows of a CSR matrix, cut out without a copy of the other rows' indices.

This module does not import torch.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse


def csr_slice(matrix: scipy.sparse.csr_matrix, start: int, stop: int) -> scipy.sparse.csr_matrix:
    """Return the rows from `start` to `stop`.

    SciPy would copy all indices of the matrix if `indptr` has another dtype than `indices`.
    """
    first, last = int(matrix.indptr[start]), int(matrix.indptr[stop])
    indptr = _fitting(matrix.indptr[start : stop + 1] - first, matrix.indices.dtype)
    parts = (matrix.data[first:last], matrix.indices[first:last], indptr)
    return type(matrix)(parts, shape=(stop - start, matrix.shape[1]))


def csr_take(matrix: scipy.sparse.csr_matrix, rows: np.ndarray) -> scipy.sparse.csr_matrix:
    """Return the given rows, in the given order.

    SciPy does it if the dtypes of `indptr` and `indices` are equal. If not, see `csr_slice`.
    """
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
    """Convert `indptr` to a dtype if that can hold it."""
    return indptr.astype(dtype) if indptr[-1] <= np.iinfo(dtype).max else indptr
