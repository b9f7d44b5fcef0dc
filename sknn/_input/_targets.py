"""Labels and targets to arrays and back, and the scores that early stopping watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import assert_all_finite

from sknn._input._parameter_checks import check_domain


def encode_labels(y: np.ndarray, binarizer: LabelBinarizer, dtype: np.dtype) -> np.ndarray:
    """Labels to what the loss takes.

    Returns
    -------
    ndarray of shape (n_samples, 1) of int64
        Class indices, for a multiclass target.
    ndarray of shape (n_samples, n_outputs) of `dtype`
        Zeros and ones, for a binary (one column) or multilabel target.
    """
    if binarizer.y_type_ == "multiclass":
        if y.ndim == 2:
            raise ValueError("The object was not fitted with multilabel input.")
        return np.searchsorted(binarizer.classes_, y).astype(np.int64, copy=False).reshape(-1, 1)
    if binarizer.y_type_ == "binary" and y.ndim == 1 and len(binarizer.classes_) == 2:
        # As the binarizer does it, which on the way needs 56 bytes a row.
        return (y == binarizer.classes_[1]).astype(dtype).reshape(-1, 1)
    if y.shape[0] == 0:  # of one of several processes
        n_columns = y.shape[1] if y.ndim == 2 else 1
        return np.empty((0, n_columns), dtype)
    encoded = binarizer.transform(y)
    # A binary problem of a single class comes out as zeros, in whatever shape.
    return np.ascontiguousarray(encoded, dtype=dtype).reshape(len(encoded), -1)


def unknown_labels(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The labels that are none of the classes.

    By Python's equality: NumPy's set functions warn of numbers beside strings, or, of many, take
    1 for "1".
    """
    known = set(classes.tolist())
    return labels[np.array([label not in known for label in labels.tolist()], dtype=bool)]


def plain_binarizer(binarizer: LabelBinarizer) -> dict[str, Any]:
    """What a binarizer has learned, as plain values."""
    return {
        "y_type": binarizer.y_type_,
        "sparse_input": bool(binarizer.sparse_input_),
        "classes": binarizer.classes_,
    }


def binarizer_of(y_type: str, sparse_input: bool, classes: np.ndarray) -> LabelBinarizer:
    """The binarizer that has learned this."""
    binarizer = LabelBinarizer()
    binarizer.y_type_, binarizer.sparse_input_ = y_type, sparse_input
    binarizer.classes_ = classes
    return binarizer


def every_indicator(n_labels: int) -> np.ndarray:
    """Rows of a multilabel indicator in which every label is there, and every one is not."""
    return np.repeat([[0], [1]], n_labels, axis=1)


def for_scorers(y: np.ndarray | scipy.sparse.spmatrix) -> np.ndarray:
    """Targets as scorers and callbacks take them: dense.

    scikit-learn's scorers make a sparse matrix of an indicator, which SciPy does not do with
    float16 or with another machine's order of bytes.
    """
    if scipy.sparse.issparse(y):
        return y.toarray()
    if y.ndim < 2 or y.dtype.kind not in "iuf":
        return y
    native = y.dtype.newbyteorder("=")
    return y.astype(np.float32 if native == np.float16 else native, copy=False)


def decode_labels(prediction: np.ndarray, binarizer: LabelBinarizer) -> np.ndarray:
    """Probabilities of shape (n_samples, n_outputs) to labels.

    As the binarizer does it, which for one row takes longer than the network.
    """
    classes = binarizer.classes_
    if binarizer.y_type_ == "multiclass":
        return classes.take(prediction.argmax(axis=1))
    if binarizer.y_type_ == "binary" and len(classes) == 2:
        return classes.take((prediction[:, 0] > 0.5).astype(np.intp))
    if prediction.shape[1] == 1:
        prediction = prediction.ravel()
    return binarizer.inverse_transform(prediction)


def accuracy(y: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """The share of rows whose encoded labels are all right; NaN for non-finite predictions."""
    if not np.isfinite(prediction).all():
        return np.nan
    if y.shape[1] < prediction.shape[1]:  # class indices
        correct = prediction.argmax(axis=1) == y[:, 0]
    else:
        correct = ((prediction > 0.5) == (y == 1)).all(axis=1)
    return float(np.average(correct, weights=sample_weight))


def r_squared(y: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """The coefficient of determination; NaN for non-finite predictions."""
    if not np.isfinite(prediction).all():
        return np.nan
    with np.errstate(all="ignore"):  # squares of what is still finite may not be
        return float(r2_score(y, prediction, sample_weight=sample_weight))


def pinball_score(
    y: np.ndarray,
    prediction: np.ndarray,
    levels: tuple[float, ...],
    sample_weight: np.ndarray | None,
) -> float:
    """The mean over levels of the D2 pinball score; NaN for non-finite predictions.

    Several levels are the columns of `prediction`, for `y` of one column.
    """
    if not np.isfinite(prediction).all():
        return np.nan
    columns = [prediction] if len(levels) == 1 else prediction.T
    with np.errstate(all="ignore"):
        scores = [
            d2_pinball_score(y, column, sample_weight=sample_weight, alpha=level)
            for level, column in zip(levels, columns, strict=True)
        ]
    return float(np.mean(scores))


def encode_numbers(
    y: np.ndarray, loss: str | Callable, dtype: np.dtype, name: str = "y"
) -> np.ndarray:
    """Regression targets as (n_samples, n_outputs) of `dtype`.

    Raises
    ------
    ValueError
        If targets are no numbers, too large for `dtype`, or beyond the domain of the loss.
    """
    if scipy.sparse.issparse(y) or y.dtype.kind not in "biuf":
        raise ValueError(
            f"The targets {name} of a regressor must be a dense array of numbers, got "
            + (
                f"a sparse matrix. Use {name}.toarray()."
                if scipy.sparse.issparse(y)
                else f"{y.dtype}."
            )
        )
    assert_all_finite(y, input_name=name)
    check_domain(y, loss, name)
    with np.errstate(over="ignore"):
        encoded = y.astype(dtype, copy=False).reshape(len(y), y.shape[1] if y.ndim == 2 else 1)
    if not np.isfinite(encoded).all():
        raise ValueError(
            f"Input {name} contains a value too large for {np.dtype(dtype)!r}: the largest is"
            f" {np.abs(y).max()}. Scale the target, or use dtype='float64'."
        )
    return np.ascontiguousarray(encoded)
