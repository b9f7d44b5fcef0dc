"""Convert labels and targets to arrays and back, and compute the scores for early stopping."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import unique_labels

from sknn._input._parameter_checks import check_domain
from sknn._input._tensors import is_tensor

if TYPE_CHECKING:
    from sknn._data._processes import OneProcess

_FOR_LABELS = "Use FeedForwardClassifier to predict labels."


def encode_labels(y: np.ndarray, binarizer: LabelBinarizer, dtype: np.dtype) -> np.ndarray:
    """Return labels in the form that the loss takes.

    Returns
    -------
    ndarray of shape (n_samples, 1) of int64
        The class indices, for a multiclass target.
    ndarray of shape (n_samples, n_outputs) of `dtype`
        Zeros and ones, for a binary (one column) or multilabel target.
    """
    if binarizer.y_type_ == "multiclass":
        if y.ndim == 2:
            raise ValueError("The object was not fitted with multilabel input.")
        return np.searchsorted(binarizer.classes_, y).astype(np.int64, copy=False).reshape(-1, 1)
    if binarizer.y_type_ == "binary" and y.ndim == 1 and len(binarizer.classes_) == 2:
        # The binarizer gives the same result, but needs 56 bytes for each row meanwhile.
        return (y == binarizer.classes_[1]).astype(dtype).reshape(-1, 1)
    if y.shape[0] == 0:  # One of several processes may have no rows.
        n_columns = y.shape[1] if y.ndim == 2 else 1
        return np.empty((0, n_columns), dtype)
    encoded = binarizer.transform(y)
    # A binary problem with a single class gives zeros, whose shape may vary.
    return np.ascontiguousarray(encoded, dtype=dtype).reshape(len(encoded), -1)


def unknown_labels(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the labels that are not among the classes.

    They are compared in Python: NumPy's set functions warn if numbers meet strings, or, if there
    are many values, treat 1 and "1" as equal.
    """
    known = set(classes.tolist())
    return labels[np.array([label not in known for label in labels.tolist()], dtype=bool)]


def plain_binarizer(binarizer: LabelBinarizer) -> dict[str, Any]:
    """Return the fitted attributes of a binarizer as plain values."""
    return {
        "y_type": binarizer.y_type_,
        "sparse_input": bool(binarizer.sparse_input_),
        "classes": binarizer.classes_,
    }


def binarizer_of(y_type: str, sparse_input: bool, classes: np.ndarray) -> LabelBinarizer:
    """Return a binarizer with these fitted attributes: the inverse of `plain_binarizer`."""
    binarizer = LabelBinarizer()
    binarizer.y_type_, binarizer.sparse_input_ = y_type, sparse_input
    binarizer.classes_ = classes
    return binarizer


def binarizer_of_outputs(
    classes: np.ndarray, n_outputs: int, output_activation: str | None
) -> LabelBinarizer:
    """Return the binarizer for the classes and the outputs of a network that the user describes.

    A logistic function of several outputs means a multilabel target. Without a function that is
    known, the classes of several outputs exclude each other.

    Raises
    ------
    ValueError
        If the classes are not sorted, or are not as many as the outputs stand for.
    """
    is_increasing = classes.ndim == 1 and np.array_equal(classes, np.unique(classes))
    if not is_increasing:
        raise ValueError(
            f"classes_ is {reprlib.repr(classes.tolist())}. It must contain each label once, in"
            " sorted order, and the outputs must have the same order."
        )
    n_expected = (1, 2) if n_outputs == 1 else (n_outputs,)
    if len(classes) not in n_expected:
        raise ValueError(
            f"classes_ has {len(classes)} labels, but coefs_ and intercepts_ have {n_outputs}"
            " outputs. Two classes require one output, and more classes require one output each."
        )
    kind = "multilabel-indicator" if output_activation == "logistic" else "multiclass"
    return binarizer_of("binary" if n_outputs == 1 else kind, False, classes)


def classes_are_missing(estimator: BaseEstimator) -> NotFittedError:
    """Return the error for a classifier that has weights, but no classes."""
    return NotFittedError(
        f"The classes of this {type(estimator).__name__}, whose weights were set by hand, are not"
        " known. Set classes_ to the sorted labels (and out_activation_ to 'logistic' for a"
        " multilabel target), or call 'partial_fit' with classes."
    )


def labels_in(y: np.ndarray | scipy.sparse.spmatrix) -> np.ndarray:
    """Return the sorted labels that occur, as scikit-learn's `unique_labels` does.

    That function takes a tenth of a short `partial_fit` to find out of what kind the labels are.
    Integers in a vector leave no doubt. It warns if there are many labels in more than 20 rows.
    """
    labels = _labels_of_integers(y)
    return unique_labels(y) if labels is None else labels


def fitted_binarizer(y: np.ndarray | scipy.sparse.spmatrix) -> LabelBinarizer:
    """Return a binarizer that is fitted to targets."""
    labels = _labels_of_integers(y)
    if labels is None:
        return LabelBinarizer().fit(y)
    return binarizer_of("binary" if len(labels) <= 2 else "multiclass", False, labels)


def _labels_of_integers(y: np.ndarray | scipy.sparse.spmatrix) -> np.ndarray | None:
    """Return the sorted labels of a vector of integers; None if scikit-learn has to look at it."""
    if type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biu":
        labels = np.unique(y).astype(y.dtype.newbyteorder("="), copy=False)
        if len(y) <= 20 or 2 * len(labels) <= len(y):
            return labels
    return None


def every_indicator(n_labels: int) -> np.ndarray:
    """Return two rows of a multilabel indicator: one without any label, and one with all."""
    return np.repeat([[0], [1]], n_labels, axis=1)


def labels_of_all(y: np.ndarray | scipy.sparse.spmatrix, processes: OneProcess) -> Any:
    """Return targets that hold every label that occurs in any process."""
    if not processes.is_group:
        return y
    with processes.agreement():
        own = unique_labels(y) if y.shape[0] else y
    if y.ndim == 2:  # the labels of an indicator are numbered
        indicator = every_indicator(y.shape[1])
        return type(y)(indicator) if scipy.sparse.issparse(y) else indicator
    return unique_labels(*(part for part in processes.gather(own) if len(part)))


def for_scorers(y: np.ndarray | scipy.sparse.spmatrix) -> np.ndarray:
    """Return targets as dense arrays that scorers and callbacks can use.

    scikit-learn's scorers convert an indicator to a sparse matrix, and SciPy has none for float16
    or for the byte order of another machine.
    """
    if scipy.sparse.issparse(y):
        return y.toarray()
    if y.ndim < 2 or y.dtype.kind not in "iuf":
        return y
    native = y.dtype.newbyteorder("=")
    return y.astype(np.float32 if native == np.float16 else native, copy=False)


def decode_labels(prediction: np.ndarray, binarizer: LabelBinarizer) -> np.ndarray:
    """Convert probabilities of shape (n_samples, n_outputs) to labels.

    The result is that of the binarizer, which takes longer than the network for one row.
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
    """Return the share of rows whose encoded labels are all correct.

    It is NaN if a prediction is not finite.
    """
    if not np.isfinite(prediction).all():
        return np.nan
    if y.shape[1] < prediction.shape[1]:  # class indices
        correct = prediction.argmax(axis=1) == y[:, 0]
    else:
        correct = ((prediction > 0.5) == (y == 1)).all(axis=1)
    return float(np.average(correct, weights=sample_weight))


def r_squared(y: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """Return the coefficient of determination, or NaN if a prediction is not finite."""
    if not np.isfinite(prediction).all():
        return np.nan
    with np.errstate(all="ignore"):  # Squares of large finite numbers may be infinite.
        return float(r2_score(y, prediction, sample_weight=sample_weight))


def pinball_score(
    y: np.ndarray,
    prediction: np.ndarray,
    levels: tuple[float, ...],
    sample_weight: np.ndarray | None,
) -> float:
    """Return the mean D2 pinball score over the levels, or NaN if a prediction is not finite.

    `prediction` has a value for each level of the first target, then of the second, and so on. The
    score of a level is the mean of the scores of the targets.
    """
    if not np.isfinite(prediction).all():
        return np.nan
    prediction = prediction.reshape(len(prediction), -1, len(levels))
    with np.errstate(all="ignore"):
        scores = [
            d2_pinball_score(y, prediction[:, :, i], sample_weight=sample_weight, alpha=level)
            for i, level in enumerate(levels)
        ]
    return float(np.mean(scores))


def mean_and_scale(
    y: np.ndarray, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and standard deviation of each column, in float64.

    The scale of a column that is constant is 1.
    """
    # Powers of two change no bit, and keep the squares of very large and small targets in range.
    _, exponents = np.frexp(np.abs(y).max(axis=0).astype(np.float64))
    y = np.ldexp(y.astype(np.float64), -exponents)
    mean = np.average(y, axis=0, weights=sample_weight)
    scale = np.sqrt(np.average(np.square(y - mean), axis=0, weights=sample_weight))
    is_constant = scale <= 1e-13 * np.abs(mean)  # That much is left of a constant by rounding.
    scale = np.where(is_constant, 1.0, np.ldexp(scale, exponents))
    return np.ldexp(mean, exponents), scale


def refuse_text(y: Any, name: str) -> None:
    """Refuse objects that are not numbers, such as a series of strings, as targets of a regressor.

    scikit-learn would refuse them without a word about the targets. It converts text that contains
    numbers.

    Raises
    ------
    ValueError
        If an object is text that is not a number.
    """
    if isinstance(y, list | tuple) or scipy.sparse.issparse(y) or is_tensor(y):
        return
    y = np.asarray(y)
    if y.dtype != object:
        return
    try:
        y.astype(np.float64)
    except (TypeError, ValueError) as error:
        if "could not convert" in str(error):
            raise ValueError(
                f"{error}. The targets {name} of a regressor must be numbers. {_FOR_LABELS}"
            ) from error


def encode_numbers(
    y: np.ndarray, loss: str | Callable, dtype: np.dtype, name: str = "y"
) -> np.ndarray:
    """Return regression targets as an array of shape (n_samples, n_outputs) and of `dtype`.

    Raises
    ------
    ValueError
        If a target is not a number, is too large for `dtype`, or is outside the domain of the loss.
    """
    is_sparse = scipy.sparse.issparse(y)
    if is_sparse or y.dtype.kind not in "biuf":
        got = f"a sparse matrix. Use {name}.toarray()" if is_sparse else y.dtype
        advice = f" {_FOR_LABELS}" if not is_sparse and y.dtype.kind in "US" else ""
        raise ValueError(
            f"The targets {name} of a regressor must be a dense array of numbers, got"
            f" {got}.{advice}"
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
