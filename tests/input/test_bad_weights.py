"""Bad sample weights raise a clear error before any training and change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from bad_input import KINDS, classes_for, fail, fitted_for, ours_for, pair
from conftest import TARGETS
from numpy.testing import assert_array_equal

import sknn._data._validation_split
import sknn._training._train

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BAD_WEIGHTS = {
    "NaN": lambda n: np.where(np.arange(n) == 3, np.nan, 1.0),
    "infinity": lambda n: np.where(np.arange(n) == 3, np.inf, 1.0),
    "zeros": np.zeros,
    "one too few": lambda n: np.ones(n - 1),
    "one too many": lambda n: np.ones(n + 1),
    "two dimensions": lambda n: np.ones((n, 2)),
    "words": lambda n: np.full(n, "heavy"),
    "complex": lambda n: np.full(n, 1j),
    "zero": lambda n: 0.0,
    "empty": lambda n: np.ones(0),
}


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", list(BAD_WEIGHTS))
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_weights_raise_scikit_learns_error(target, kind, solver, no_training):
    X, y = TARGETS[target]
    weight = BAD_WEIGHTS[kind](len(X))
    theirs, ours = pair(target, solver=solver)
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)) as caught:
        theirs.fit(X, y, sample_weight=weight)
    expected = str(caught.value)
    if caught.type is ZeroDivisionError:  # NumPy raises it in scikit-learn 1.7
        expected = "Sample weights must contain at least one non-zero number."
    message = fail(ours, "fit", X, y, sample_weight=weight, error=(ValueError, TypeError))
    assert message == expected
    if solver == "adam":
        fail(
            ours,
            "partial_fit",
            X,
            y,
            sample_weight=weight,
            error=(ValueError, TypeError),
            **classes_for(target),
        )


@pytest.mark.matrix
@pytest.mark.parametrize("kind", list(BAD_WEIGHTS))
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_weights_leave_a_fitted_model(target, kind):
    X, y = TARGETS[target]
    estimator = fitted_for(target)
    weight = BAD_WEIGHTS[kind](len(X))
    for call in ("fit", "partial_fit"):
        fail(estimator, call, X, y, sample_weight=weight, error=(ValueError, TypeError))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", list(KINDS))
def test_weights_that_cancel_raise(target, solver, no_training):
    X, y = TARGETS[target]
    weight = np.tile([1.0, -1.0], len(X) // 2 + 1)[: len(X) // 2 * 2]
    X, y = X[: len(weight)], y[: len(weight)]
    fail(ours_for(target, solver=solver), "fit", X, y, sample_weight=weight, match="sample_weight")


@pytest.mark.parametrize("target", list(KINDS))
def test_weight_of_one_number_equals_that_of_each_row(target):
    X, y = TARGETS[target]
    one = ours_for(target).fit(X, y, sample_weight=2.0)
    each = ours_for(target).fit(X, y, sample_weight=np.full(len(X), 2.0))
    assert_array_equal(one.coefs_[0], each.coefs_[0])


@pytest.mark.parametrize("target", list(KINDS))
def test_validation_rows_of_no_weight_do_not_give_a_silent_nan(target, monkeypatch):
    # The weights of the training rows are fine: only the score has nothing to average.
    X, y = TARGETS[target]
    split = sknn._data._validation_split.split_rows
    held_out = []

    def remember(*arguments):
        train, valid = split(*arguments)
        held_out.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._validation_split, "split_rows", remember)
    ours_for(target, early_stopping=True).fit(X, y)
    weight = np.ones(len(X))
    weight[held_out[0]] = 0
    estimator = ours_for(target, early_stopping=True)
    fail(
        estimator,
        "fit",
        X,
        y,
        sample_weight=weight,
        match="Sample weights must contain at least one",
    )
