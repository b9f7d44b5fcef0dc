"""Bad validation rows, targets and weights raise an error that names them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from bad_additions import fail, fail_unfitted_and_fitted, network
from conftest import TARGETS, case

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_frame_beside_an_array_raises_as_it_was_not_prepared_in_the_same_way():
    X, y = TARGETS["one output"]
    frame = pd.DataFrame(X).add_prefix("x")
    fail(network("one output"), X, y, X_val=frame, y_val=y, match="X_val.*no names.*to_numpy")
    network("one output").fit(frame, y, X_val=frame, y_val=y)
    network("one output").fit(X, y, X_val=pd.DataFrame(X), y_val=y)  # numbers are no names


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("X_val",), "X_val is provided.*y_val was not"),
        (("X_val", "sample_weight_val"), "X_val is provided.*y_val was not"),
        (("y_val",), "y_val is provided.*X_val was not"),
        (("y_val", "sample_weight_val"), "y_val is provided.*X_val was not"),
        (("sample_weight_val",), "sample_weight_val is provided.*X_val.*not"),
    ],
    ids=case,
)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_part_of_the_validation_data_raises(target, early_stopping, given, words):
    X, y = TARGETS[target]
    everything = {"X_val": X, "y_val": y, "sample_weight_val": np.ones(len(X))}
    fail_unfitted_and_fitted(
        target,
        {"early_stopping": early_stopping},
        match=words,
        **{name: everything[name] for name in given},
    )


def spoiled(X, value):
    X = X.copy()
    X[5, 2] = value
    return X


BAD_ROWS = {
    "NaN": lambda X: spoiled(X, np.nan),
    "infinity": lambda X: spoiled(X, np.inf),
    "sparse NaN": lambda X: scipy.sparse.csr_matrix(spoiled(X, np.nan)),
    "fewer columns": lambda X: X[:, :-1],
    "more columns": lambda X: np.c_[X, X],
    "one dimension": lambda X: X[:, 0],
    "three dimensions": lambda X: X[:, :, None],
    "no rows": lambda X: X[:0],
    "words": lambda X: np.full(X.shape, "word"),
    "objects": lambda X: np.full(X.shape, {}, dtype=object),
    "None": lambda X: spoiled(X.astype(object), None),
    "complex": lambda X: X + 1j,
    "one row too few": lambda X: X[:-1],
    "ragged": lambda X: [[1.0, 2.0], [1.0]] * (len(X) // 2),
    "frame with pd.NA": lambda X: pd.DataFrame(X.round()).astype("Int64").mask(X > X.mean()),
}


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", list(BAD_ROWS))
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_bad_validation_rows_raise_an_error_that_names_them(target, kind, early_stopping):
    X, y = TARGETS[target]
    fail_unfitted_and_fitted(
        target,
        {"early_stopping": early_stopping},
        X_val=BAD_ROWS[kind](X),
        y_val=y,
        match="X_val",
        error=(ValueError, TypeError),
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_validation_rows_too_large_for_float32_raise():
    X, y = TARGETS["one output"]
    fail_unfitted_and_fitted(
        "one output",
        {"dtype": "float32"},
        X_val=spoiled(X, 1e39),
        y_val=y,
        match="X_val.*infinity.*float32",
    )
    large = y.copy()
    large[4] = 1e39
    fail_unfitted_and_fitted(
        "one output", {"dtype": "float32"}, X_val=X, y_val=large, match="y_val.*float32"
    )


def replaced(y, value, dtype=object):
    y = y.astype(dtype)
    y[3] = value
    return y


BAD_TARGETS = {
    "multiclass": {
        "continuous": lambda y: y + 0.5,
        "NaN": lambda y: replaced(y, np.nan, float),
        "infinity": lambda y: replaced(y, np.inf, float),
        "a label never seen": lambda y: y + 1,
        "strings of the numbers": lambda y: y.astype(str),
        "words": lambda y: np.array(["ash", "birch", "cedar"])[y],
        "mixed": lambda y: np.array([*y[:-1], "word"], dtype=object),
        "objects with None": lambda y: replaced(y, None),
        "one too few": lambda y: y[:-1],
        "one too many": lambda y: np.r_[y, 0],
        "one-hot": lambda y: np.eye(3, dtype=int)[y],
        "two columns": lambda y: np.c_[y, y],
        "three dimensions": lambda y: np.zeros((len(y), 2, 2)),
        "no dimension": lambda y: 3,
        "complex": lambda y: y + 1j,
        "empty": lambda y: y[:0],
    },
    "binary": {
        "a label never seen": lambda y: y + 1,
        "multilabel": lambda y: np.c_[y, 1 - y],
        "strings of the numbers": lambda y: y.astype(str),
    },
    "multilabel": {
        "fewer columns": lambda y: y[:, :-1],
        "more columns": lambda y: np.c_[y, y],
        "classes": lambda y: np.arange(len(y)) % 4,
        "numbers of labels": lambda y: y.sum(1),
        "column": lambda y: y[:, :1],
        "continuous": lambda y: y + 0.5,
        "strings": lambda y: y.astype(str),
    },
    "one output": {
        "NaN": lambda y: replaced(y, np.nan, float),
        "infinity": lambda y: replaced(y, np.inf, float),
        "strings": lambda y: np.full(len(y), "word"),
        "strings of numbers": lambda y: y.astype(str),
        "word objects": lambda y: np.full(len(y), "word", dtype=object),
        "objects with None": lambda y: replaced(y, None),
        "complex": lambda y: y + 1j,
        "one too few": lambda y: y[:-1],
        "one too many": lambda y: np.r_[y, 0],
        "two columns": lambda y: np.c_[y, y],
        "three dimensions": lambda y: np.zeros((len(y), 2, 2)),
        "no dimension": lambda y: 3.0,
        "empty": lambda y: y[:0],
        "sparse": lambda y: scipy.sparse.csr_matrix(y[:, None]),
    },
    "two outputs": {
        "one column": lambda y: y[:, 0],
        "three columns": lambda y: np.c_[y, y[:, 0]],
    },
}


@pytest.mark.matrix(21)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("target", "kind"), [(target, kind) for target, table in BAD_TARGETS.items() for kind in table]
)
def test_bad_validation_targets_raise_an_error_that_names_them(target, kind, early_stopping):
    X, y = TARGETS[target]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fail_unfitted_and_fitted(
            target,
            {"early_stopping": early_stopping},
            X_val=X,
            y_val=BAD_TARGETS[target][kind](y),
            match="y_val",
        )


def test_label_never_seen_is_named_with_those_that_are_known():
    X, y = TARGETS["multiclass"]
    names = np.array(["ash", "birch", "cedar"])
    labels = names[y].astype(object)
    labels[:2] = "dogwood"
    message = fail(
        network("multiclass"), X, names[y], X_val=X, y_val=labels, match="y_val.*'dogwood'"
    )
    assert "'ash' 'birch' 'cedar'" in message


@pytest.mark.parametrize(
    ("labels", "given"),
    [(lambda y: y.astype(str), lambda y: y), (lambda y: y > 0, lambda y: y.astype(str))],
)
def test_numbers_for_strings_raise(labels, given):
    X, y = TARGETS["binary"]
    fail(network("binary"), X, labels(y), X_val=X, y_val=given(y), match="y_val")


BAD_WEIGHTS = {
    "NaN": lambda n: np.where(np.arange(n) == 3, np.nan, 1.0),
    "infinity": lambda n: np.where(np.arange(n) == 3, np.inf, 1.0),
    "zeros": np.zeros,
    "zero": lambda n: 0.0,
    "that cancel": lambda n: np.r_[np.zeros(n - 2), 1.0, -1.0],
    "one too few": lambda n: np.ones(n - 1),
    "one too many": lambda n: np.ones(n + 1),
    "two dimensions": lambda n: np.ones((n, 2)),
    "words": lambda n: np.full(n, "heavy"),
    "complex": lambda n: np.full(n, 1j),
    "empty": lambda n: np.ones(0),
}


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", list(BAD_WEIGHTS))
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_bad_validation_weights_raise_an_error_that_names_them(target, kind, early_stopping):
    X, y = TARGETS[target]
    fail_unfitted_and_fitted(
        target,
        {"early_stopping": early_stopping},
        X_val=X,
        y_val=y,
        sample_weight_val=BAD_WEIGHTS[kind](len(X)),
        match="sample_weight_val",
        error=(ValueError, TypeError),
    )


def test_error_of_the_rows_learned_from_does_not_speak_of_validation_rows():
    X, y = TARGETS["one output"]
    good = {"X_val": X, "y_val": y, "sample_weight_val": np.ones(len(X))}
    estimator = network("one output")
    for call in (
        lambda: estimator.fit(spoiled(X, np.nan), y, **good),
        lambda: estimator.fit(X, replaced(y, np.nan, float), **good),
        lambda: estimator.fit(X, y, np.ones(3), **good),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert "_val" not in str(caught.value)
