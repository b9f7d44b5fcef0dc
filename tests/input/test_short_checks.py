"""What plain arrays are spared in a short call changes neither results, errors nor warnings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import assert_bit_equal
from sklearn.datasets import load_iris
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import unique_labels

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._input import _data_checks, _targets

X, Y = load_iris(return_X_y=True)
X, Y = X[::5].copy(), Y[::5].copy()


def outcome(function, *arguments):
    """Return what a call returns, or its error, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*arguments)
        except ValueError as error:
            result = type(error), str(error)
    return result, [(w.category, str(w.message)) for w in caught]


@pytest.mark.parametrize(
    "y",
    [
        np.array([3]),
        np.array([2, 1, 2], np.int8),
        np.array([2, 1, 2], ">i8"),
        np.array([True, False, True]),
        np.array([1, 1, 1]),
        np.arange(20),
        np.arange(21),
        np.arange(60) % 31,
        np.arange(60) % 30,
        np.array([2**63, 1], np.uint64),
        np.array([0.0, 1.0, 1.0]),
        np.array([0.5, 1.0]),
        np.array(["a", "b", "a"]),
        np.array([[0, 1], [1, 1]]),
        np.array([[3], [4]]),
    ],
    ids=repr,
)
def test_labels_are_those_that_scikit_learn_finds(y):
    (ours, our_warnings), (theirs, their_warnings) = (
        outcome(function, y) for function in (_targets.labels_in, unique_labels)
    )
    np.testing.assert_array_equal(ours, theirs)
    assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)
    assert our_warnings == their_warnings
    (ours, our_warnings), (theirs, their_warnings) = (
        outcome(function, y) for function in (_targets.fitted_binarizer, LabelBinarizer().fit)
    )
    assert our_warnings == their_warnings
    if isinstance(theirs, tuple):
        assert ours == theirs
        return
    assert _targets.plain_binarizer(ours)["y_type"] == theirs.y_type_
    assert ours.sparse_input_ == theirs.sparse_input_
    assert ours.classes_.dtype == theirs.classes_.dtype
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)


def spoiled(position, value, of=X):
    array = np.array(of, float)
    array.flat[position] = value
    return array


@pytest.mark.matrix
@pytest.mark.parametrize("cls", [FeedForwardClassifier, FeedForwardRegressor])
@pytest.mark.parametrize(
    "rows, targets",
    [
        (X, Y),
        (X[:1], Y[:1]),
        (np.asfortranarray(X), Y),
        (X[:, ::-1], Y),
        (X.astype(np.float32), Y),
        (X.astype(int), Y),
        (X, Y.astype(float)),
        (X, Y.astype(object)),
        (X, Y[:, None]),
        (X, Y[:-1]),
        (X, spoiled(3, np.nan, Y)),
        (X, spoiled(3, np.inf, Y)),
        (spoiled(3, np.nan), Y),
        (spoiled(3, np.inf), Y),
        (spoiled([3, 4], [np.inf, -np.inf]), Y),
        (X[:, :-1], Y),
        (X[:0], Y[:0]),
        (X[0], Y[:1]),
        (X[None], Y),
    ],
)
def test_plain_arrays_are_checked_as_all_others(cls, rows, targets, monkeypatch):
    results = []
    for is_spared in (True, False):
        model = cls(hidden_layer_sizes=(3,), random_state=0)
        classes = {"classes": [0, 1, 2]} if cls is FeedForwardClassifier else {}
        model.partial_fit(X, Y, **classes)
        with monkeypatch.context() as patch:
            if not is_spared:
                patch.setattr(_data_checks, "_is_valid", lambda *args: False)
            results.append(outcome(model.partial_fit, rows, targets))
    (one, our_warnings), (two, other_warnings) = results
    assert our_warnings == other_warnings
    if isinstance(two, tuple):
        assert one == two
    else:
        assert_bit_equal(one, two)
