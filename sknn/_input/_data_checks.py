"""Check the data that the user gives to `fit` and `predict`, and convert them to arrays.

The arrays have the dtype to compute in. Rows in files, and tensors on a device, may keep another
dtype where the computation converts them a part at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import _check_y, _get_feature_names, validate_data

from sknn._input import _frames
from sknn._input._memory_maps import check_mapped, must_convert
from sknn._input._parameter_checks import naming
from sknn._input._targets import refuse_text
from sknn._input._tensors import (
    array_or_device_tensor,
    check_on_device,
    is_tensor,
    on_host,
    shape_placeholder,
)
from sknn._platform._sklearn_compat import check_sample_weight

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Up to this number of values, a look at each of them costs less than scikit-learn's validation.
_SHORT = 2**20
_IN_A_PIPELINE = (
    "\nA Pipeline only applies its preceding steps to X_val with metadata routing and"
    " transform_input=['X_val'], as docs/getting_started.md shows."
)
_NO_Y = object()  # stands in for the targets of rows that come without any


@dataclass(frozen=True)
class CheckedRows:
    """Checked rows with their targets and weights.

    Attributes
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Rows to learn from, or to validate with.
    y : ndarray or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
        Targets as the user gave them.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the rows.
    dtype : dtype
        Dtype to compute in.
    """

    X: Any
    y: np.ndarray | scipy.sparse.spmatrix
    sample_weight: np.ndarray | None
    dtype: np.dtype


def targets_of(y: Any, name: str) -> Any:
    """Return targets or weights in a form that scikit-learn takes: a tensor becomes an array.

    Raises
    ------
    ValueError
        If values are missing that scikit-learn's validation does not look for.
    """
    y = on_host(_frames.unwrapped(y, name), name)
    _frames.refuse_missing(y, name)
    return y


def check_rows(
    estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, dtypes: list[type], reset: bool
) -> CheckedRows:
    """Check the rows, targets and weights that an estimator learns from.

    Parameters
    ----------
    estimator : BaseFeedForward
        The estimator that learns.
    X, y, sample_weight : object
        Rows as the user gave them, and the targets and weights that `targets_of` returned.
    dtypes : list of type
        Dtypes to compute in; the first is the default.
    reset : bool
        Whether the estimator stores the number and the names of the features.
    """
    X = _frames.as_rows(X, "X")
    if estimator._numeric_targets:
        refuse_text(y, "y")
    if len(dtypes) > 1 and _frames.is_float32(X):
        dtypes = [np.float32]
    X = array_or_device_tensor(X, "X", estimator.device, dtypes)
    # scikit-learn's check refuses values that float32 cannot hold. NumPy would warn of them first.
    with np.errstate(over="ignore"), _frames.naming_columns(X):
        if _may_be_empty(estimator, X):
            X, _, dtype = _validated(estimator, X, _NO_Y, dtypes, reset)
            y = np.asarray(y)
            check_consistent_length(X, y)
        elif not reset and _is_valid(estimator, X, dtypes) and _is_valid_vector(y, len(X)):
            dtype = X.dtype
        else:
            X, y, dtype = _validated(estimator, X, y, dtypes, reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if sample_weight is not None:
            sample_weight = _check_weights(estimator, sample_weight, X, dtype, "sample_weight")
    return CheckedRows(X, y, sample_weight, dtype)


def check_validation_rows(
    estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, dtype: np.dtype
) -> CheckedRows:
    """Check the user's validation rows against the rows that are learned from."""
    with (
        naming("X_val", "like X, with the same columns and no missing values", _IN_A_PIPELINE),
        np.errstate(over="ignore"),
    ):
        X = array_or_device_tensor(_frames.as_rows(X, "X_val"), "X_val", estimator.device, [dtype])
        _refuse_names_of_its_own(estimator, X)
        with _frames.naming_columns(X, "X_val"):
            X, _, _ = _validated(estimator, X, _NO_Y, [dtype], reset=False)
    with naming("y_val", "like y, with one target for each row of X_val"):
        y = targets_of(y, "y_val")
        if estimator._numeric_targets:
            refuse_text(y, "y_val")
        if _may_be_empty(estimator, X):
            y = np.asarray(y)
        else:
            y = _check_y(y, multi_output=True, y_numeric=estimator._numeric_targets)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
    with naming("sample_weight_val", "one finite number for each row of X_val"):
        if sample_weight is not None:
            sample_weight = targets_of(sample_weight, "sample_weight_val")
            sample_weight = _check_weights(estimator, sample_weight, X, dtype, "sample_weight_val")
    return CheckedRows(X, y, sample_weight, dtype)


def _refuse_names_of_its_own(estimator: BaseEstimator, X_val: Any) -> None:
    """Refuse a frame whose columns have names if those of X have none.

    X has then most likely come through the steps of a pipeline, and X_val has not.
    """
    if hasattr(estimator, "feature_names_in_") or _get_feature_names(X_val) is None:
        return
    raise ValueError(
        "It is a frame with column names, but the columns of X have no names, so X may have been"
        " prepared in a way in which X_val was not. If the columns are the same, pass X_val as an"
        " array, for instance X_val.to_numpy()."
    )


def check_rows_to_predict(estimator: BaseEstimator, X: Any, dtype: type, device: str) -> Any:
    """Check rows to predict for. They may be of any real dtype, which the network converts."""
    if _is_valid(estimator, X):
        return X
    X = array_or_device_tensor(_frames.as_rows(X, "X"), "X", device, [dtype])
    if _is_valid(estimator, X):
        return X
    with _frames.naming_columns(X):
        X, _, _ = _validated(estimator, X, _NO_Y, [dtype], reset=False, any_dtype=True)
        if X.dtype == object:  # the columns of a frame whose dtypes scikit-learn does not see
            X = check_array(X, dtype=dtype, estimator=estimator, input_name="X")
    return X


def _check_dense(estimator: BaseEstimator, X: Any) -> None:
    """Refuse sparse rows for an embedding, which would make all of their zeros dense."""
    if estimator.numeric_embedding is not None and scipy.sparse.issparse(X):
        raise ValueError(
            "The rows are a sparse matrix, but the 'numeric_embedding' parameter is"
            f" {estimator.numeric_embedding!r}, which does not support sparse input, because it"
            " maps zeros to other numbers. Pass X.toarray() if it fits in memory, or set"
            " numeric_embedding=None."
        )


def _validated(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    dtypes: list[type],
    reset: bool,
    any_dtype: bool = False,
) -> tuple[Any, Any, np.dtype | None]:
    """Do what scikit-learn's `validate_data` does, for rows of every kind.

    A tensor is checked on its device. Rows in a file that must be converted before a step can use
    them are checked a part at a time. Both are returned unchanged. Other rows become an array, or a
    CSR matrix, of one of the dtypes.

    Returns
    -------
    X, y : object
        Checked rows and targets.
    dtype : dtype or None
        Dtype to compute in; None for a tensor that may keep any dtype.
    """
    _check_dense(estimator, X)
    has_y, is_on_device = y is not _NO_Y, is_tensor(X)
    is_empty = _may_be_empty(estimator, X)
    kept = _FLOATS if any_dtype else dtypes
    if is_on_device or must_convert(X, kept) and not is_empty:
        check = check_on_device if is_on_device else check_mapped
        targets = y if has_y else "no_validation"  # scikit-learn's word for none
        wanted = None if is_on_device and any_dtype else dtypes
        dtype = check(estimator, X, targets, wanted, reset=reset)
        if has_y:
            y = _check_y(
                y, multi_output=True, y_numeric=estimator._numeric_targets, estimator=estimator
            )
            check_consistent_length(X, y)
        return X, y, dtype
    options: dict[str, Any] = {"accept_sparse": "csr", "reset": reset}
    if not any_dtype:
        options |= {"dtype": dtypes, "order": "C", "ensure_min_samples": int(not is_empty)}
    if not has_y:
        X = validate_data(estimator, X, **options)
    else:
        numeric = estimator._numeric_targets
        X, y = validate_data(estimator, X, y, multi_output=True, y_numeric=numeric, **options)
    return X, y, X.dtype


def _may_be_empty(estimator: BaseEstimator, X: Any) -> bool:
    """Return whether there are no rows, while other processes of the group may have some."""
    shape = getattr(X, "shape", ())
    return estimator.process_group is not None and len(shape) > 0 and shape[0] == 0


def _is_valid(estimator: BaseEstimator, X: Any, dtypes: list[type] | None = None) -> bool:
    """Return whether scikit-learn's validation would surely find no fault in a small array.

    If `dtypes` are given, it also is in C order and has one of them, so that nothing is converted.
    The validation takes half the time of a short call.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in (_FLOATS if dtypes is None else dtypes)
        and (dtypes is None or X.flags.c_contiguous)
        and 0 < X.size <= _SHORT
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


def _is_valid_vector(y: Any, n_rows: int) -> bool:
    """Return whether scikit-learn's validation would surely return these targets unchanged."""
    return (
        type(y) is np.ndarray
        and y.shape == (n_rows,)
        and (y.dtype.kind in "biu" or y.dtype in _FLOATS and bool(np.isfinite(y).all()))
    )


def _check_weights(
    estimator: BaseEstimator, weight: Any, X: Any, dtype: np.dtype, name: str
) -> np.ndarray:
    """Check the weights of rows. In a group, only the total of all processes must be positive."""
    if _may_be_empty(estimator, X):
        check_consistent_length(X, weight)
        return np.empty(0, dtype)
    if estimator.process_group is not None:
        return check_sample_weight(
            weight, shape_placeholder(X), dtype=dtype, allow_all_zero_weights=True
        )
    weight = check_sample_weight(weight, shape_placeholder(X), dtype=dtype)
    check_total(weight, name)
    return weight


def check_total(weight: np.ndarray, name: str) -> None:
    """Refuse weights whose sum is zero or not finite."""
    total = weight.sum()
    if total == 0 or not np.isfinite(total):
        raise ValueError(
            f"The sum of {name} is {total} in {weight.dtype}. It must be finite and not zero."
            " Negative weights must not cancel out the others."
        )
