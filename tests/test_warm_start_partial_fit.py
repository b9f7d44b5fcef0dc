"""Every sequence of `fit`, `warm_start` and `partial_fit` equals scikit-learn's MLP."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import TARGETS
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RTOL = 1e-8
FITTED = [
    "loss_curve_",
    "loss_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "n_iter_",
    "t_",
    "_no_improvement_count",
    "n_features_in_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
]
SOLVERS = {
    "adam": {"solver": "adam"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.05,
        "tol": 0.2,
        "n_iter_no_change": 1,
    },
}
# Sequences of calls. A refit between two partial fits would reveal stale state.
CALLS = list(product(["fit", "partial_fit"], repeat=2)) + [
    ("partial_fit", "fit", "partial_fit"),
    ("fit", "partial_fit", "fit"),
    ("fit", "partial_fit", "partial_fit"),
    ("partial_fit", "fit", "fit"),
]


def pair(target, **parameters):
    """Return scikit-learn's estimator and ours for a target, with equal parameters."""
    parameters = {
        "random_state": 5,
        "max_iter": 4,
        "hidden_layer_sizes": (12,),
        "batch_size": 40,
    } | parameters
    if target in ("binary", "multiclass", "multilabel"):
        return MLPClassifier(**parameters), FeedForwardClassifier(**parameters)
    if target == "counts":
        parameters["loss"] = "poisson"
    return MLPRegressor(**parameters), FeedForwardRegressor(**parameters)


def assert_same(ours, theirs, X, names=FITTED, rtol=RTOL):
    for name in names:
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if not hasattr(theirs, name):
            continue
        actual, expected = getattr(ours, name), getattr(theirs, name)
        if expected is None or isinstance(expected, str):
            assert actual == expected, name
        else:
            assert_allclose(actual, expected, rtol=rtol, err_msg=name)
    for name in ("coefs_", "intercepts_"):
        for actual, expected in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert_allclose(actual, expected, rtol=rtol, atol=rtol, err_msg=name)
    if hasattr(theirs, "classes_"):
        assert_array_equal(ours.classes_, theirs.classes_)
        assert_array_equal(ours.predict(X), theirs.predict(X))
    else:
        assert_allclose(ours.predict(X), theirs.predict(X), rtol=rtol, atol=rtol)


def first_arguments(target, call):
    y = TARGETS[target][1]
    if call != "partial_fit" or target not in ("binary", "multiclass", "multilabel"):
        return {}
    return {"classes": np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)}


# --- the table --------------------------------------------------------------------------------


@pytest.mark.matrix(4)
@pytest.mark.parametrize("calls", CALLS, ids="-".join)
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_calls_in_a_row_equal_scikit_learn(target, solver, warm_start, calls):
    X, y = TARGETS[target]
    theirs, ours = pair(target, warm_start=warm_start, **SOLVERS[solver])
    for i, call in enumerate(calls):
        # Each call gets other rows and another number of them, always with all classes.
        rows = slice(i, None, i + 1)
        arguments = first_arguments(target, call) if i == 0 else {}
        for estimator in (theirs, ours):
            getattr(estimator, call)(X[rows], y[rows], **arguments)
        assert_same(ours, theirs, X)


@pytest.mark.matrix(4)
@pytest.mark.parametrize("calls", CALLS, ids="-".join)
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("target", ["multilabel", "two outputs", "counts"])
def test_calls_in_a_row_on_several_outputs_equal_scikit_learn(target, warm_start, calls):
    X, y = TARGETS[target]
    theirs, ours = pair(target, warm_start=warm_start)
    for i, call in enumerate(calls):
        arguments = first_arguments(target, call) if i == 0 else {}
        for estimator in (theirs, ours):
            getattr(estimator, call)(X, y, **arguments)
        assert_same(ours, theirs, X)


@pytest.mark.matrix(4)
@pytest.mark.parametrize("calls", CALLS, ids="-".join)
@pytest.mark.parametrize("warm_start", [False, True])
def test_calls_in_a_row_with_one_random_state_object_equal_scikit_learn(warm_start, calls):
    X, y = TARGETS["multiclass"]
    pairs = pair("multiclass", warm_start=warm_start)
    for estimator in pairs:
        estimator.set_params(random_state=np.random.RandomState(11))
    for i, call in enumerate(calls):
        arguments = first_arguments("multiclass", call) if i == 0 else {}
        for estimator in pairs:
            getattr(estimator, call)(X, y, **arguments)
        assert_same(pairs[1], pairs[0], X)


@pytest.mark.matrix
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_two_fits_with_early_stopping_equal_scikit_learn(target, solver, warm_start):
    # Here the second fit finds better weights. When it does not, scikit-learn keeps its last
    # weights, as its `coefs_` are the very arrays that it remembers as the best. The next test
    # covers ours.
    X, y = TARGETS[target]
    # The usual `tol` would let the second fit stop before it has found anything better.
    parameters = SOLVERS[solver] | {"tol": 1e-4, "n_iter_no_change": 10}
    parameters["learning_rate_init"] = 0.005
    theirs, ours = pair(
        target, warm_start=warm_start, early_stopping=True, shuffle=False, max_iter=3, **parameters
    )
    for _ in range(2):
        for estimator in (theirs, ours):
            estimator.fit(X, y)
    assert_same(ours, theirs, X)
    if warm_start:
        assert max(ours.validation_scores_[3:]) > max(ours.validation_scores_[:3])


def test_warm_start_with_early_stopping_keeps_the_best_weights_of_all_fits():
    X, y = TARGETS["one output"]
    estimator = FeedForwardRegressor(
        hidden_layer_sizes=(20,),
        early_stopping=True,
        warm_start=True,
        max_iter=100,
        learning_rate_init=0.01,
        random_state=0,
    ).fit(X, y)
    best, coefs = estimator.best_validation_score_, [c.copy() for c in estimator.coefs_]
    # With such a large learning rate, no epoch of the second fit comes near the best score.
    estimator.set_params(learning_rate_init=1.0, max_iter=3).fit(X, y)
    assert max(estimator.validation_scores_[-3:]) < best
    assert estimator.best_validation_score_ == best
    for actual, expected in zip(estimator.coefs_, coefs, strict=True):
        assert_array_equal(actual, expected)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_early_stopping_switched_between_warm_starts_begins_its_own_record(target, early_stopping):
    X, y = TARGETS[target]
    _, estimator = pair(target, warm_start=True, early_stopping=early_stopping)
    estimator.fit(X, y)
    estimator.set_params(early_stopping=not early_stopping).fit(X, y)
    assert len(estimator.loss_curve_) == 8
    assert estimator.n_iter_ == 4
    if early_stopping:
        assert estimator.validation_scores_ is None
        assert estimator.best_validation_score_ is None
        assert estimator.best_loss_ == min(estimator.loss_curve_[4:])
    else:
        assert len(estimator.validation_scores_) == 4
        assert estimator.best_validation_score_ == max(estimator.validation_scores_)
        assert estimator.best_loss_ is None


@pytest.mark.parametrize("begin", [None, "fit", "partial_fit"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_partial_fit_with_early_stopping_raises_as_in_scikit_learn(target, begin):
    X, y = TARGETS[target]
    for estimator in pair(target):
        if begin is not None:
            getattr(estimator, begin)(X, y, **first_arguments(target, begin))
        estimator.set_params(early_stopping=True)
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
            estimator.partial_fit(X, y, **first_arguments(target, "partial_fit"))


def test_warm_start_of_fits_equals_one_long_fit_where_nothing_is_random_or_remembered():
    # Plain gradient descent on all rows in order has no state other than the weights.
    X, y = TARGETS["multiclass"]
    _, short = pair(
        "multiclass",
        solver="sgd",
        momentum=0.0,
        nesterovs_momentum=False,
        batch_size=150,
        shuffle=False,
        warm_start=True,
    )
    long = clone(short).set_params(max_iter=12, warm_start=False).fit(X, y)
    for _ in range(3):
        short.fit(X, y)
    assert short.loss_curve_ == long.loss_curve_
    for actual, expected in zip(short.coefs_, long.coefs_, strict=True):
        assert_array_equal(actual, expected)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fits_equal_one_fit_where_the_order_is_fixed(solver):
    X, y = TARGETS["multiclass"]
    _, fitted = pair("multiclass", solver=solver, shuffle=False, max_iter=7)
    stepped = clone(fitted)
    fitted.fit(X, y)
    for _ in range(7):
        stepped.partial_fit(X, y, classes=[0, 1, 2])
    assert stepped.loss_curve_ == fitted.loss_curve_
    assert stepped.t_ == fitted.t_ == 7 * len(X)
    for actual, expected in zip(stepped.coefs_, fitted.coefs_, strict=True):
        assert_array_equal(actual, expected)


# --- weights that the user changed ------------------------------------------------------------


def edit_in_place(estimator):
    for coef in estimator.coefs_:
        coef *= 0.5
    estimator.intercepts_[0][2] = 1.5
    estimator.coefs_[1][3, :] = 0.0


def replace_arrays(estimator):
    estimator.coefs_[0] = np.sin(np.arange(estimator.coefs_[0].size, dtype=float)).reshape(
        estimator.coefs_[0].shape
    )
    estimator.intercepts_[1] = estimator.intercepts_[1] + 0.25


def replace_lists(estimator):
    estimator.coefs_ = [np.ascontiguousarray(coef) * 0.5 for coef in estimator.coefs_]
    estimator.intercepts_ = [np.zeros_like(intercept) for intercept in estimator.intercepts_]


@pytest.mark.matrix
@pytest.mark.parametrize("change", [edit_in_place, replace_arrays, replace_lists])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "one output"])
def test_changed_weights_take_effect_in_partial_fit_as_in_scikit_learn(target, solver, change):
    X, y = TARGETS[target]
    theirs, ours = pair(target, solver=solver)
    for estimator in (theirs, ours):
        estimator.fit(X, y)
        change(estimator)
    before = ours.predict(X)
    assert_allclose(before, theirs.predict(X), rtol=RTOL, atol=RTOL)
    for _ in range(2):
        for estimator in (theirs, ours):
            estimator.partial_fit(X, y)
        assert_same(ours, theirs, X)
        for estimator in (theirs, ours):
            change(estimator)


@pytest.mark.matrix
@pytest.mark.parametrize("change", [edit_in_place, replace_arrays, replace_lists])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "one output"])
def test_changed_weights_take_effect_in_a_warm_start_as_in_scikit_learn(target, solver, change):
    X, y = TARGETS[target]
    theirs, ours = pair(target, solver=solver, warm_start=True)
    for estimator in (theirs, ours):
        estimator.fit(X, y)
        change(estimator)
        estimator.fit(X, y)
    assert_same(ours, theirs, X, rtol=1e-6 if solver == "lbfgs" else RTOL)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_fit_without_warm_start_forgets_changed_weights(solver):
    X, y = TARGETS["multiclass"]
    _, estimator = pair("multiclass", solver=solver)
    expected = [coef.copy() for coef in estimator.fit(X, y).coefs_]
    edit_in_place(estimator)
    estimator.fit(X, y)
    for actual, coef in zip(estimator.coefs_, expected, strict=True):
        assert_array_equal(actual, coef)


def test_partial_fit_leaves_arrays_that_the_user_kept():
    X, y = TARGETS["multiclass"]
    _, estimator = pair("multiclass")
    kept = estimator.fit(X, y).coefs_
    values = [coef.copy() for coef in kept]
    estimator.partial_fit(X, y)
    for array, value in zip(kept, values, strict=True):
        assert_array_equal(array, value)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_replaced_weights_of_a_wrong_shape_raise(call):
    X, y = TARGETS["multiclass"]
    _, estimator = pair("multiclass", warm_start=True)
    estimator.fit(X, y)
    estimator.coefs_ = [estimator.coefs_[0][:, :5], estimator.coefs_[1][:5]]
    with pytest.raises(ValueError, match="coefs_ of shapes"):
        getattr(estimator, call)(X, y)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("intercept", [np.zeros(5), np.zeros(1), np.zeros((12, 1))])
def test_replaced_intercepts_of_a_wrong_shape_raise(call, intercept):
    X, y = TARGETS["multiclass"]
    _, estimator = pair("multiclass", warm_start=True)
    estimator.fit(X, y)
    estimator.intercepts_[0] = intercept
    with pytest.raises(ValueError, match="intercepts_"):
        getattr(estimator, call)(X, y)


# --- parameters that change between calls -----------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("sizes", [(13,), (12, 3), (), 5])
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_changed_hidden_layer_sizes_raise_and_leave_the_model(target, call, sizes):
    X, y = TARGETS[target]
    _, estimator = pair(target, warm_start=True)
    expected = estimator.fit(X, y).predict(X)
    names = set(vars(estimator))
    estimator.set_params(hidden_layer_sizes=sizes)
    with pytest.raises(ValueError, match="hidden_layer_sizes=.*warm_start=False"):
        getattr(estimator, call)(X, y)
    assert set(vars(estimator)) == names
    assert_array_equal(estimator.predict(X), expected)
    estimator.set_params(warm_start=False).fit(X, y)
    assert len(estimator.coefs_) == len(np.atleast_1d(sizes)) + 1


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_changed_number_of_outputs_raises_and_leaves_the_model(call):
    X, y = TARGETS["two outputs"]
    _, estimator = pair("two outputs", warm_start=True)
    expected = estimator.fit(X, y).predict(X)
    with pytest.raises(ValueError):
        getattr(estimator, call)(X, y[:, 0])
    assert_array_equal(estimator.predict(X), expected)
    assert estimator.n_outputs_ == 2


@pytest.mark.matrix(8)
@pytest.mark.parametrize(
    ("parameters", "changes"),
    [
        ({"solver": "adam"}, {"learning_rate_init": 0.1}),
        ({"solver": "adam"}, {"beta_1": 0.1, "beta_2": 0.5, "epsilon": 0.1}),
        ({"solver": "sgd"}, {"learning_rate_init": 0.1}),
        ({"solver": "sgd"}, {"momentum": 0.1, "nesterovs_momentum": False}),
        ({"solver": "sgd"}, {"learning_rate": "invscaling"}),
        ({"solver": "sgd", "learning_rate": "invscaling"}, {"power_t": 0.1}),
        ({"solver": "sgd", "learning_rate": "invscaling"}, {"learning_rate_init": 0.1}),
        ({"solver": "sgd", "learning_rate": "adaptive"}, {"tol": 10.0, "n_iter_no_change": 1}),
        ({}, {"alpha": 5.0}),
        ({}, {"batch_size": 20}),
        ({}, {"shuffle": False}),
        ({}, {"activation": "tanh"}),
        ({}, {"random_state": 99}),
        ({}, {"max_iter": 50}),
        ({}, {"tol": 10.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_parameter_changed_before_partial_fit_acts_as_in_scikit_learn(
    target, begin, parameters, changes
):
    X, y = TARGETS[target]
    theirs, ours = pair(target, **{"learning_rate_init": 0.01} | parameters)
    for estimator in (theirs, ours):
        getattr(estimator, begin)(X, y, **first_arguments(target, begin))
        estimator.set_params(**changes)
    for _ in range(4):
        for estimator in (theirs, ours):
            estimator.partial_fit(X, y)
        assert_same(ours, theirs, X)


@pytest.mark.matrix
@pytest.mark.parametrize(
    "changes",
    [{"learning_rate_init": 0.05}, {"solver": "sgd"}, {"alpha": 5.0}, {"activation": "tanh"}],
    ids=str,
)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_parameter_changed_before_a_warm_start_acts_as_in_scikit_learn(target, changes):
    X, y = TARGETS[target]
    theirs, ours = pair(target, warm_start=True)
    for estimator in (theirs, ours):
        estimator.fit(X, y).set_params(**changes).fit(X, y)
    assert_same(ours, theirs, X)


def test_refit_leaves_nothing_of_the_fit_before():
    X, y = TARGETS["multiclass"]
    names = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    theirs, ours = pair("multiclass", early_stopping=True)
    for estimator in (theirs, ours):
        estimator.fit(names, y)
        assert hasattr(estimator, "feature_names_in_") and hasattr(estimator, "loss_curve_")
        estimator.set_params(solver="lbfgs").fit(X, y)
    assert not hasattr(theirs, "feature_names_in_")
    assert not hasattr(ours, "feature_names_in_")
    assert not {name for name in vars(ours) if "loss_curve_" in name or name == "_solver_state"}


# --- other solvers between calls --------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "one output"])
def test_partial_fit_after_lbfgs_begins_a_new_solver(target, solver):
    X, y = TARGETS[target]
    _, estimator = pair(target, solver="lbfgs")
    estimator.fit(X, y)
    assert not hasattr(estimator, "loss_curve_")
    one_epoch = clone(estimator).set_params(warm_start=True).fit(X, y)
    one_epoch.set_params(solver=solver, max_iter=1).fit(X, y)
    estimator.set_params(solver=solver).partial_fit(X, y)
    assert estimator.loss_curve_ == one_epoch.loss_curve_ == [estimator.loss_]
    assert estimator.t_ == len(X)
    assert estimator.n_iter_ == 1
    assert estimator.best_loss_ == estimator.loss_
    for actual, expected in zip(estimator.coefs_, one_epoch.coefs_, strict=True):
        assert_array_equal(actual, expected)
    estimator.partial_fit(X, y)
    assert len(estimator.loss_curve_) == 2


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_warm_start_by_lbfgs_after_a_stochastic_solver_equals_scikit_learn(target, solver):
    X, y = TARGETS[target]
    theirs, ours = pair(target, solver=solver, warm_start=True)
    for estimator in (theirs, ours):
        estimator.fit(X, y).set_params(solver="lbfgs").fit(X, y)
    names = ["loss_", "n_iter_", "n_layers_", "t_", "loss_curve_", "best_loss_"]
    assert_same(ours, theirs, X, names=names, rtol=1e-6)


@pytest.mark.parametrize(("first", "second"), [("adam", "sgd"), ("sgd", "adam")])
def test_another_stochastic_solver_in_partial_fit_begins_anew(first, second):
    X, y = TARGETS["multiclass"]
    _, estimator = pair("multiclass", solver=first, learning_rate_init=0.01)
    estimator.fit(X, y)
    other = clone(estimator).set_params(warm_start=True).fit(X, y)
    other.set_params(solver=second, max_iter=1).fit(X, y)
    estimator.set_params(solver=second).partial_fit(X, y)
    assert estimator.loss_curve_ == other.loss_curve_
    for actual, expected in zip(estimator.coefs_, other.coefs_, strict=True):
        assert_array_equal(actual, expected)


def test_partial_fit_with_lbfgs_does_not_exist():
    message = "has no attribute 'partial_fit'"
    for kind in (MLPClassifier, FeedForwardClassifier, FeedForwardRegressor):
        assert not hasattr(kind(solver="lbfgs"), "partial_fit")
        with pytest.raises(AttributeError, match=message) as caught:
            getattr(kind(solver="lbfgs"), "partial_fit")  # noqa: B009
        assert str(caught.value.__cause__) == (
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )


# --- precision --------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize(("first", "second"), [("f4", "f8"), ("f8", "f4")])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_dtype_of_the_first_fit_stays_as_in_scikit_learn(target, first, second, call):
    X, y = TARGETS[target]
    theirs, ours = pair(target, warm_start=True)
    for estimator in (theirs, ours):
        estimator.fit(X.astype(first), y)
        getattr(estimator, call)(X.astype(second), y)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.dtype(first)
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)


# --- classes ----------------------------------------------------------------------------------

X_IRIS, Y_IRIS = TARGETS["multiclass"]


# NumPy 1.23 warns when scikit-learn compares numbers with strings. Our comparisons are tested in
# tests/input/test_bad_input.py.
@pytest.mark.matrix(6)
@pytest.mark.filterwarnings("ignore:elementwise comparison failed:FutureWarning")
@pytest.mark.parametrize(
    ("parameters", "calls"),
    [
        ({}, [("partial_fit", Y_IRIS, {})]),
        ({}, [("partial_fit", Y_IRIS, {"classes": [0, 1]})]),
        (
            {},
            [
                ("partial_fit", Y_IRIS, {"classes": [0, 1, 2]}),
                ("partial_fit", Y_IRIS, {"classes": [0, 1, 2, 3]}),
            ],
        ),
        ({}, [("fit", Y_IRIS, {}), ("partial_fit", Y_IRIS, {"classes": [0, 1]})]),
        ({}, [("fit", Y_IRIS, {}), ("partial_fit", Y_IRIS + 1, {})]),
        ({}, [("fit", np.minimum(Y_IRIS, 1), {}), ("partial_fit", Y_IRIS, {})]),
        ({"warm_start": True}, [("fit", Y_IRIS, {}), ("fit", np.minimum(Y_IRIS, 1), {})]),
        ({"warm_start": True}, [("fit", Y_IRIS, {}), ("fit", Y_IRIS + 1, {})]),
        ({"warm_start": True}, [("fit", Y_IRIS, {}), ("partial_fit", Y_IRIS % 2, {})]),
        ({"warm_start": True}, [("partial_fit", Y_IRIS % 2, {"classes": [0, 1, 2]})]),
        ({}, [("fit", Y_IRIS, {}), ("partial_fit", np.array(list("abc"))[Y_IRIS], {})]),
        ({}, [("fit", Y_IRIS, {}), ("partial_fit", X_IRIS[:, 0], {})]),
    ],
)
def test_classes_error_is_scikit_learns(parameters, calls):
    *before, (call, y, arguments) = calls
    messages = []
    for estimator in pair("multiclass", **parameters):
        for earlier_call, earlier_y, earlier_arguments in before:
            getattr(estimator, earlier_call)(X_IRIS, earlier_y, **earlier_arguments)
        with pytest.raises(ValueError) as caught:
            getattr(estimator, call)(X_IRIS, y, **arguments)
        messages.append(str(caught.value))
    assert messages[1] == messages[0]


def test_partial_fit_learns_from_some_of_the_classes_as_scikit_learn():
    theirs, ours = pair("multiclass")
    labels = np.array(["a", "b", "c"])[Y_IRIS]
    for rows in (slice(0, 50), slice(50, 150), slice(20, 60)):
        for estimator in (theirs, ours):
            estimator.partial_fit(X_IRIS[rows], labels[rows], classes=["c", "a", "b"])
        assert_same(ours, theirs, X_IRIS)


def test_fit_without_warm_start_learns_new_classes():
    theirs, ours = pair("multiclass")
    for y in (Y_IRIS, np.array(["a", "b"])[Y_IRIS % 2], Y_IRIS[:, None] == [0, 1, 2, 3]):
        for estimator in (theirs, ours):
            estimator.fit(X_IRIS, y)
        assert_same(ours, theirs, X_IRIS)


@pytest.mark.parametrize("learning_rate", ["constant", "invscaling"])
def test_stochastic_fit_after_a_warm_lbfgs_goes_on_as_in_scikit_learn(learning_rate):
    X, y = TARGETS["multiclass"]
    parameters = {"learning_rate": learning_rate, "learning_rate_init": 0.1, "warm_start": True}
    theirs, ours = pair("multiclass", **parameters)
    for solver in ("sgd", "lbfgs", "sgd"):
        for estimator in (theirs, ours):
            estimator.set_params(solver=solver, max_iter=5).fit(X, y)
    assert ours.t_ == theirs.t_
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-7)
    assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-7)
