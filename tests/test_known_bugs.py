"""Bugs that scikit-learn's MLP or skorch had do not occur here."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import TARGETS, assert_bit_equal, fitted_state, needs_sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
)
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier, FeedForwardRegressor, TrainingWarning

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}
SOLVERS = ["adam", "sgd", "lbfgs"]
# Each step multiplies the weights by -9: the first epochs are finite, and a later one is not.
DIVERGES_LATER = {
    "hidden_layer_sizes": (10,),
    "solver": "sgd",
    "learning_rate_init": 20.0,
    "alpha": 50.0,
    "batch_size": 100,
    "max_iter": 200,
    "n_iter_no_change": 1000,
    "random_state": 0,
}


def estimator_for(target, **parameters):
    """Return a small, quick estimator of ours for a kind of target."""
    parameters = SMALL | parameters
    if target in ("binary", "multiclass", "multilabel"):
        return FeedForwardClassifier(**parameters)
    if target == "counts":
        parameters["loss"] = "poisson"
    return FeedForwardRegressor(**parameters)


# --- early stopping ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array(["setosa", "versicolor", "virginica"], dtype=object),
        np.array([-7, 0, 40]),
        np.array([0.0, 1.0, 2.0]),
    ],
    ids=["strings", "objects", "integers", "floats"],
)
def test_early_stopping_with_labels_of_any_type_learns_the_same_model(labels):
    X, y = load_iris(return_X_y=True)
    expected = FeedForwardClassifier(early_stopping=True, **SMALL).fit(X, y)
    actual = FeedForwardClassifier(early_stopping=True, **SMALL).fit(X, labels[y])
    assert actual.validation_scores_ == expected.validation_scores_
    assert actual.loss_curve_ == expected.loss_curve_
    assert np.isfinite(actual.validation_scores_).all()
    assert_array_equal(actual.predict(X), labels[expected.predict(X)])
    assert actual.score(X, labels[y]) == expected.score(X, y)
    if labels.dtype.kind in "UO":
        needs_sklearn("1.9", "cannot score labels that are not numbers (its #33760)")
    theirs = MLPClassifier(early_stopping=True, **SMALL).fit(X, labels[y])
    assert actual.predict(X).dtype == theirs.predict(X).dtype
    assert actual.classes_.dtype == theirs.classes_.dtype


@pytest.mark.parametrize(
    "labels",
    [
        np.array([False, True]),
        np.array(["no", "yes"]),
        np.array(["no", "yes"], dtype=object),
        np.array([-1, 1]),
    ],
    ids=["booleans", "strings", "objects", "signs"],
)
def test_early_stopping_with_two_labels_of_any_type_learns_the_same_model(labels):
    X, y = TARGETS["binary"]
    if labels.dtype.kind in "UO":
        needs_sklearn("1.9", "cannot score labels that are not numbers (its #33760)")
    theirs = MLPClassifier(early_stopping=True, **SMALL).fit(X, labels[y])
    ours = FeedForwardClassifier(early_stopping=True, **SMALL).fit(X, labels[y])
    assert_allclose(ours.validation_scores_, theirs.validation_scores_)
    assert_allclose(ours.loss_curve_, theirs.loss_curve_)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    assert_array_equal(ours.classes_, theirs.classes_)


@pytest.mark.matrix
@pytest.mark.parametrize("target", ["binary", "multiclass", "one output", "two outputs", "counts"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_early_stopping_with_a_data_frame_does_not_warn(target, solver):
    X, y = TARGETS[target]
    frame = pd.DataFrame(X, columns=[f"column {i}" for i in range(X.shape[1])])
    estimator = estimator_for(target, early_stopping=True, solver=solver)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", TrainingWarning)
        estimator.fit(frame, pd.DataFrame(y) if y.ndim == 2 else pd.Series(y))
        named = estimator.predict(frame)
    assert_array_equal(estimator.feature_names_in_, frame.columns)
    assert_array_equal(named, clone(estimator).fit(X, y).predict(X))


def test_predict_of_a_model_of_a_data_frame_warns_about_lost_names_only():
    X, y = TARGETS["multiclass"]
    frame = pd.DataFrame(X, columns=list("abcd"))
    estimator = FeedForwardClassifier(**SMALL).fit(frame, y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame[list("bacd")])


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("binary", {}),
        ("multiclass", {}),
        ("multilabel", {}),
        ("one output", {"learning_rate_init": 0.5, "alpha": 0.0}),
        ("two outputs", {"learning_rate_init": 0.5, "alpha": 0.0}),
    ],
)
def test_early_stopping_with_a_diverging_loss_stops_and_restores_the_best(target, changes):
    X, y = TARGETS[target]
    estimator = estimator_for(target, early_stopping=True, **DIVERGES_LATER | changes)
    with pytest.warns(ConvergenceWarning, match="diverged") as caught:
        estimator.fit(X, y)
    assert len(caught) == 1
    scores = estimator.validation_scores_
    assert 1 < estimator.n_iter_ < estimator.max_iter
    assert len(scores) == len(estimator.loss_curve_) == estimator.n_iter_
    assert np.isnan(scores[-1])
    assert np.isfinite(scores[:-1]).all()
    assert estimator.best_validation_score_ == max(scores[:-1])
    # A fit that ends with the epoch of the best score has the same weights.
    best_epoch = int(np.argmax(scores[:-1])) + 1
    stopped = clone(estimator).set_params(max_iter=best_epoch).fit(X, y)
    for name in ("coefs_", "intercepts_"):
        for actual, expected in zip(getattr(estimator, name), getattr(stopped, name), strict=True):
            assert_array_equal(actual, expected)
    assert np.isfinite(estimator.predict(X)).all()


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel", "one output"])
def test_early_stopping_with_nothing_but_nan_scores_keeps_the_initial_weights(target):
    X, y = TARGETS[target]
    estimator = estimator_for(
        target, early_stopping=True, **DIVERGES_LATER | {"learning_rate_init": 1e200}
    )
    with pytest.warns(ConvergenceWarning, match="diverged"):
        estimator.fit(X, y)
    assert estimator.n_iter_ == 1
    assert np.isnan(estimator.validation_scores_).all()
    assert estimator.best_validation_score_ == -np.inf
    # With a tiny learning rate the weights keep their initial values.
    initial = clone(estimator).set_params(learning_rate_init=1e-300, max_iter=1).fit(X, y)
    for actual, expected in zip(estimator.coefs_, initial.coefs_, strict=True):
        assert_array_equal(actual, expected)
    assert np.isfinite(estimator.predict(X)).all()


def test_early_stopping_of_a_regressor_with_nan_scores_keeps_scikit_learns_weights():
    # scikit-learn's fit continues to max_iter, but the weights that it restores are the same.
    X, y = TARGETS["one output"]
    parameters = DIVERGES_LATER | {"learning_rate_init": 0.5, "alpha": 0.0, "max_iter": 20}
    ours = FeedForwardRegressor(early_stopping=True, **parameters).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MLPRegressor(early_stopping=True, **parameters).fit(X, y)
    for actual, expected in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert_allclose(actual, expected, rtol=1e-6)
    assert_allclose(ours.best_validation_score_, theirs.best_validation_score_, rtol=1e-6)


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.matrix(3)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", list(TARGETS))
def test_unit_weights_equal_no_weights(target, solver, early_stopping):
    X, y = TARGETS[target]
    estimator = estimator_for(target, solver=solver, early_stopping=early_stopping, batch_size=64)
    plain = clone(estimator).fit(X, y)
    weighted = clone(estimator).fit(X, y, sample_weight=np.ones(len(X)))
    assert weighted.n_iter_ == plain.n_iter_
    for name in ("coefs_", "intercepts_"):
        for actual, expected in zip(getattr(weighted, name), getattr(plain, name), strict=True):
            assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)
    if solver != "lbfgs":
        assert_allclose(weighted.loss_curve_, plain.loss_curve_, rtol=1e-10)
        assert (weighted.validation_scores_ is None) == (plain.validation_scores_ is None)
        if early_stopping:
            assert_allclose(weighted.validation_scores_, plain.validation_scores_, rtol=1e-10)


@pytest.mark.matrix(4)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", list(TARGETS))
def test_unit_weights_equal_no_weights_in_partial_fit(target, solver):
    X, y = TARGETS[target]
    estimator = estimator_for(target, solver=solver, batch_size=64)
    first = {}
    if target in ("binary", "multiclass"):
        first["classes"] = np.unique(y)
    elif target == "multilabel":
        first["classes"] = np.arange(y.shape[1])
    plain, weighted = clone(estimator), clone(estimator)
    for _ in range(3):
        plain.partial_fit(X, y, **first)
        weighted.partial_fit(X, y, sample_weight=np.ones(len(X)), **first)
    assert_allclose(weighted.loss_curve_, plain.loss_curve_, rtol=1e-10)
    for actual, expected in zip(weighted.coefs_, plain.coefs_, strict=True):
        assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("target", list(TARGETS))
def test_weights_of_the_rows_count_in_score(target):
    X, y = TARGETS[target]
    estimator = estimator_for(target).fit(X, y)
    weight = np.r_[np.ones(40), np.zeros(len(X) - 40)]
    assert_allclose(estimator.score(X, y, sample_weight=weight), estimator.score(X[:40], y[:40]))


# --- shapes -----------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "make",
    [
        lambda network: BaggingRegressor(network, n_estimators=2, random_state=0),
        lambda network: TransformedTargetRegressor(network, transformer=StandardScaler()),
        lambda network: StackingRegressor([("network", network)], LinearRegression(), cv=2),
    ],
    ids=["bagging", "transformed target", "stacking"],
)
def test_predictions_of_a_flat_target_are_flat_in_meta_regressors(make, solver, early_stopping):
    X, y = TARGETS["one output"]
    parameters = SMALL | {"solver": solver, "early_stopping": early_stopping}
    ours = make(FeedForwardRegressor(**parameters)).fit(X, y)
    assert ours.predict(X).shape == (len(X),)
    theirs = make(MLPRegressor(**parameters)).fit(X, y)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)


@pytest.mark.matrix
@pytest.mark.parametrize("target", ["binary", "multiclass"])
@pytest.mark.parametrize(
    "make",
    [
        lambda network: BaggingClassifier(network, n_estimators=2, random_state=0),
        lambda network: StackingClassifier([("network", network)], LogisticRegression(), cv=2),
    ],
    ids=["bagging", "stacking"],
)
def test_predictions_of_flat_labels_are_flat_in_meta_classifiers(make, target):
    X, y = TARGETS[target]
    labels = np.array(["a", "b", "c"])[y]
    ours = make(FeedForwardClassifier(**SMALL)).fit(X, labels)
    theirs = make(MLPClassifier(**SMALL)).fit(X, labels)
    assert ours.predict(X).shape == (len(X),)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6, atol=1e-9)


@pytest.mark.matrix(4)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["binary", "multiclass", "one output", "counts"])
def test_target_of_one_column_learns_the_same_model_and_warns(target, early_stopping):
    X, y = TARGETS[target]
    estimator = estimator_for(target, early_stopping=early_stopping)
    flat = clone(estimator).fit(X, y)
    message = "A column-vector y was passed when a 1d array was expected"
    with pytest.warns(DataConversionWarning, match=message):
        column = clone(estimator).fit(X, y.reshape(-1, 1))
    assert_bit_equal(column, flat)
    assert column.predict(X).shape == (len(X),)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_partial_fit_with_a_target_of_one_column_warns(target):
    X, y = TARGETS[target]
    first = {"classes": np.unique(y)} if target == "multiclass" else {}
    flat = estimator_for(target).partial_fit(X, y, **first)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        column = estimator_for(target).partial_fit(X, y.reshape(-1, 1), **first)
    assert_bit_equal(column, flat)


@pytest.mark.parametrize("target", list(TARGETS))
def test_prediction_has_the_shape_of_the_target(target):
    X, y = TARGETS[target]
    estimator = estimator_for(target).fit(X, y)
    assert estimator.predict(X).shape == y.shape
    assert estimator.predict(X[:1]).shape == y[:1].shape


# --- copies -----------------------------------------------------------------------------------


@pytest.mark.matrix(3)
@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "duplicate", [clone, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copy_before_fit_learns_the_same_model(duplicate, solver, target):
    X, y = TARGETS[target]
    estimator = estimator_for(target, solver=solver)
    copied = duplicate(estimator)
    assert copied.get_params() == estimator.get_params()
    assert_bit_equal(copied.fit(X, y), estimator.fit(X, y))


@pytest.mark.matrix(6)
@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("solver", SOLVERS)
def test_clone_of_a_fitted_model_is_unfitted(solver, target):
    X, y = TARGETS[target]
    estimator = estimator_for(target, solver=solver).fit(X, y)
    copied = clone(estimator)
    assert fitted_state(copied) == {}
    assert_bit_equal(copied.fit(X, y), estimator)


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in (2, 4, 5))],
    ids=["deepcopy", "pickle 2", "pickle 4", "pickle 5"],
)
def test_copy_of_a_fitted_model_predicts_the_same(duplicate, target, solver, early_stopping):
    X, y = TARGETS[target]
    estimator = estimator_for(target, solver=solver, early_stopping=early_stopping).fit(X, y)
    copied = duplicate(estimator)
    assert_bit_equal(copied, estimator)
    assert_array_equal(copied.predict(X), estimator.predict(X))
    if hasattr(estimator, "classes_"):
        assert_array_equal(copied.predict_proba(X), estimator.predict_proba(X))
        assert_array_equal(copied.predict_log_proba(X), estimator.predict_log_proba(X))
    copied.coefs_[0][:] = 0
    assert not (estimator.coefs_[0] == 0).all()


@pytest.mark.matrix(3)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adam"},
        {"solver": "sgd"},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
        {
            "solver": "sgd",
            "learning_rate": "adaptive",
            "tol": 1.0,
            "n_iter_no_change": 1,
            "learning_rate_init": 0.1,
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("target", list(TARGETS))
def test_partial_fit_of_a_copy_goes_on_as_if_never_copied(target, parameters, duplicate):
    X, y = TARGETS[target]
    estimator = estimator_for(target, batch_size=40, **parameters).fit(X, y)
    copied = duplicate(estimator)
    for _ in range(3):
        estimator.partial_fit(X, y)
        copied = duplicate(copied.partial_fit(X, y))
    assert_bit_equal(copied, estimator)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_warm_start_of_a_pickled_model_goes_on_as_if_never_pickled(target, solver):
    X, y = TARGETS[target]
    estimator = estimator_for(target, warm_start=True, solver=solver).fit(X, y)
    copied = pickle.loads(pickle.dumps(estimator))
    assert_bit_equal(copied.fit(X, y), estimator.fit(X, y))


@pytest.mark.matrix(2)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("target", "max_iter"), [("multiclass", 20), ("one output", 200)])
def test_pickle_is_no_larger_than_scikit_learns(target, max_iter, solver):
    X, y = TARGETS[target]
    ours = estimator_for(
        target, solver=solver, max_iter=max_iter, hidden_layer_sizes=(100,), tol=0.0
    ).fit(X, y)
    kind = MLPClassifier if target == "multiclass" else MLPRegressor
    theirs = kind(**{k: v for k, v in ours.get_params().items() if k in kind().get_params()})
    theirs.fit(X, y)
    assert len(pickle.dumps(ours)) <= len(pickle.dumps(theirs))


# --- failures ---------------------------------------------------------------------------------


def _with_nan(X):
    X = X.copy()
    X[3, 1] = np.nan
    return X


FAILING_FITS = {
    "NaN in X": (lambda X, y: (_with_nan(X), y), {}, "contains NaN"),
    "NaN in X, fewer columns": (lambda X, y: (_with_nan(X)[:, :2], y), {}, "contains NaN"),
    "lengths": (lambda X, y: (X, y[:-1]), {}, "inconsistent numbers of samples"),
    "empty": (lambda X, y: (X[:0], y[:0]), {}, "0 sample"),
    "validation": (
        lambda X, y: (X[::8, :2][:20], y[::8][:20]),
        {"early_stopping": True, "validation_fraction": 0.05},
        "The validation set is too small",
    ),
    "divergence": (
        lambda X, y: (X[:, :2], y),
        {"learning_rate_init": 1e200, "solver": "sgd"},
        "Solver produced non-finite parameter weights",
    ),
    "device": (lambda X, y: (X[:, :2], y), {"device": "nowhere"}, "device"),
}


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("named", [False, True], ids=["arrays", "frames"])
@pytest.mark.parametrize("failure", list(FAILING_FITS))
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_failed_refit_leaves_the_old_model(target, solver, failure, named):
    if failure == "validation" and solver == "lbfgs":
        pytest.skip("L-BFGS has no validation set")
    X, y = TARGETS[target]
    estimator = estimator_for(target, solver=solver)
    estimator.fit(pd.DataFrame(X).add_prefix("old ") if named else X, y)
    before = repr(fitted_state(estimator))
    prediction = estimator.predict(pd.DataFrame(X).add_prefix("old ") if named else X)

    spoil, changes, message = FAILING_FITS[failure]
    X_bad, y_bad = spoil(X, y)
    if named:
        X_bad = pd.DataFrame(X_bad).add_prefix("new ")
    if target == "multiclass":
        y_bad = np.array(["p", "q", "r"])[y_bad]
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**changes).fit(X_bad, y_bad)

    assert repr(fitted_state(estimator)) == before
    again = estimator.predict(pd.DataFrame(X).add_prefix("old ") if named else X)
    assert_array_equal(again, prediction)


def test_refit_with_continuous_labels_leaves_the_old_model():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(**SMALL).fit(X, y)
    before = repr(fitted_state(estimator))
    with pytest.raises(ValueError, match="Unknown label type"):
        estimator.fit(X[:, :2], X[:, 0])
    assert repr(fitted_state(estimator)) == before


def test_refit_with_other_classes_and_warm_start_leaves_the_old_model():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(warm_start=True, **SMALL).fit(X, y)
    before = repr(fitted_state(estimator))
    for labels in (np.minimum(y, 1), y + 1):
        with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
            estimator.fit(X, labels)
        assert repr(fitted_state(estimator)) == before
    with pytest.raises(ValueError, match="X has 2 features, but .* is expecting 4"):
        estimator.fit(X[:, :2], y)
    assert repr(fitted_state(estimator)) == before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("failure", ["NaN in X", "lengths", "divergence", "device"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_failed_first_fit_leaves_the_estimator_unfitted(target, failure):
    X, y = TARGETS[target]
    spoil, changes, message = FAILING_FITS[failure]
    estimator = estimator_for(target, **changes)
    with pytest.raises(ValueError, match=message):
        estimator.fit(*spoil(X, y))
    assert fitted_state(estimator) == {}


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
def test_partial_fit_with_unseen_classes_leaves_the_model(begin, solver):
    X, y = TARGETS["multiclass"]
    estimator, untouched = (FeedForwardClassifier(solver=solver, **SMALL) for _ in range(2))
    for each in (estimator, untouched):
        if begin == "fit":
            each.fit(X, y)
        else:
            each.partial_fit(X, y, classes=[0, 1, 2])
    before = repr(fitted_state(estimator))
    with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
        estimator.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        estimator.partial_fit(X, y, classes=[0, 1, 2, 3])
    assert repr(fitted_state(estimator)) == before
    assert_bit_equal(estimator.partial_fit(X, y), untouched.partial_fit(X, y))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_first_partial_fit_that_fails_leaves_the_estimator_unfitted():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        estimator.partial_fit(X, y)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        estimator.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="contains NaN"):
        estimator.partial_fit(_with_nan(X), y, classes=[0, 1, 2])
    assert fitted_state(estimator) == {}
    estimator.partial_fit(X, y, classes=[0, 1, 2])
    expected = FeedForwardClassifier(**SMALL).partial_fit(X, y, classes=[0, 1, 2])
    assert_bit_equal(estimator, expected)


def test_early_stopping_with_a_single_class_scores_as_scikit_learn():
    X, _ = TARGETS["multiclass"]
    parameters = {"early_stopping": True, "max_iter": 4, "random_state": 0}
    ours = FeedForwardClassifier(**parameters).fit(X, np.zeros(len(X), int))
    theirs = MLPClassifier(**parameters).fit(X, np.zeros(len(X), int))
    assert ours.validation_scores_ == theirs.validation_scores_
