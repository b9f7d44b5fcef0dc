"""Properties that hold for any valid parameters and any small data.

hypothesis searches for counterexamples.
"""

from __future__ import annotations

import copy
import re
import warnings
from contextlib import contextmanager
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from conftest import fitted_state
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from strategies import (
    INVALID,
    data,
    fit_arguments,
    parameters,
)

from sknn import FeedForwardClassifier, FeedForwardRegressor, TrainingWarning

# --- what may be raised, and what may be warned of --------------------------------------------


def splits(given, problem):
    """Return whether rows are set aside for early stopping."""
    is_on = given.get("early_stopping", False) and given["solver"] != "lbfgs"
    return is_on and problem.X_val is None


def is_mad(given, problem):
    """Return whether legal parameters may drive the weights out of the range of the dtype."""
    rate, alpha = given.get("learning_rate_init", 1e-3), given.get("alpha", 1e-4)
    is_exponential = given.get("loss") in ("poisson", "gamma")
    return rate >= 1 or alpha > 1 or is_exponential and rate >= 0.1


def has_levels(given, problem):
    quantile = given.get("quantile", 0.5)
    several = np.size(quantile) > 1 or problem.target == "many outputs"
    return given.get("loss") == "quantile" and np.ndim(quantile) > 0 and several


# Errors that `fit` may raise, each with a function that says for which parameters and data.
DOCUMENTED_ERRORS = [
    # scikit-learn's messages when the training or the validation part has too few rows.
    (r"The validation set is too small", splits),
    (r"the resulting train set will be empty", splits),
    (r"should be either positive and smaller than the number of samples", splits),
    (r"The (test|train)_size = \d+ should be greater or equal to the number of classes", splits),
    (r"The least populated class(es)? in y ha(s|ve) only 1 member", splits),
    (
        r"The weights of the \d+ (training|validation) rows sum to zero",
        lambda given, problem: splits(given, problem) and problem.sample_weight is not None,
    ),
    (
        r"Sample weights must contain at least one non-zero number",
        lambda given, problem: (
            problem.sample_weight is not None and not problem.sample_weight.any()
        ),
    ),
    (
        r"X_val has one row, but the score that early stopping monitors",
        lambda given, problem: (
            not problem.is_classification
            and given.get("early_stopping")
            and problem.X_val is not None
            and len(problem.y_val) == 1
        ),
    ),
    # Some numbers are too large or too small for the dtype.
    (r"which float(32|64) cannot represent", lambda given, problem: True),
    (r"Solver produced .*non-finite", is_mad),
    (r"whose step is beyond the range of torch.float32", is_mad),
    (
        r"a metric of one prediction for each target, but the 'quantile' parameter is a list",
        has_levels,
    ),
    (  # `fit` raises this only if the two parameters were set one after the other.
        r"learning_rate='one_cycle' already includes a warm-up",
        lambda given, problem: (
            given.get("learning_rate") == "one_cycle" and given.get("warmup_fraction", 0) > 0
        ),
    ),
    # `fit` raises these only if the two parameters were set one after the other.
    (r"networks share one numeric_embedding", lambda given, problem: given["input_dropout"] > 0),
    (
        r"'early_stopping' parameter is 'waves'",
        lambda given, problem: given["learning_rate"] != "coslog",
    ),
    (
        r"early_stopping='waves' only compares validation losses",
        lambda given, problem: (
            given["early_stopping"] == "waves" and given["scoring"] not in (None, "loss")
        ),
    ),
    (
        r"The targets are standardized",
        lambda given, problem: given["loss"] in ("poisson", "gamma") or callable(given["loss"]),
    ),
    (
        r"The 'activation' parameter makes modules that contain Dropout",
        lambda given, problem: given["solver"] == "lbfgs",
    ),
]
# Warnings that `fit` may give.
DOCUMENTED_WARNINGS = [
    (ConvergenceWarning, r"Maximum iterations|Training diverged|lbfgs failed to converge", None),
    (
        UserWarning,
        r"Got `batch_size` less than 1 or larger than sample size",
        lambda given, problem: (
            not isinstance(given.get("batch_size", "auto"), str)
            and given["batch_size"] > problem.n_samples * 0.5 * (1 - splits(given, problem))
        ),
    ),
    (
        UserWarning,
        r"dtype='bfloat16' is slower than dtype='float32' here",
        lambda given, problem: given.get("dtype") == "bfloat16",
    ),
    (
        UserWarning,
        r"partial_fit was called more than max_iter",
        lambda given, problem: given.get("learning_rate") in ("cosine", "one_cycle", "coslog"),
    ),
    (
        UndefinedMetricWarning,  # from scikit-learn, for a score that is recorded as NaN
        r"[RD]\^2 score is not well-defined with less than two samples",
        lambda given, problem: (
            not problem.is_classification
            and (problem.n_samples == 1 or problem.X_val is not None and len(problem.y_val) == 1)
        ),
    ),
]


@contextmanager
def only_what_is_documented(given, problem, more_errors=()):
    """Run the body; let documented errors pass, and fail for any other error or warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", TrainingWarning)
        try:
            yield
        except ValueError as error:
            allowed = [
                pattern
                for pattern, may_be in [*DOCUMENTED_ERRORS, *more_errors]
                if re.search(pattern, str(error), re.DOTALL) and may_be(given, problem)
            ]
            if not allowed:
                raise
            event(f"raises {allowed[0]}")
    for warning in caught:
        assert any(
            warning.category is category
            and re.search(pattern, str(warning.message))
            and (may_be is None or may_be(given, problem))
            for category, pattern, may_be in DOCUMENTED_WARNINGS
        ), f"{warning.category.__name__}: {warning.message}"


# --- any valid combination --------------------------------------------------------------------


def check_fitted(model, problem):
    """Assert that fitted attributes and predictions have the documented shapes and dtypes."""
    n_samples = problem.n_samples
    n_features = np.shape(problem.X)[1] if not hasattr(problem.X, "shape") else problem.X.shape[1]
    dtype = model.coefs_[0].dtype
    leading = () if model.n_members == 1 else (model.n_members,)
    n_added = np.size(model.module_state_.get("embedding.bias", ()))
    units = [n_features + n_added, *(i.shape[-1] for i in model.intercepts_)]
    assert n_features == model.n_features_in_
    assert [c.shape for c in model.coefs_] == [(*leading, *pair) for pair in pairwise(units)]
    assert [i.shape for i in model.intercepts_] == [(*leading, n) for n in units[1:]]
    assert {a.dtype for a in [*model.coefs_, *model.intercepts_]} == {dtype}
    assert model.n_layers_ == len(units) and model.n_outputs_ == units[-1]
    if model.dtype == "auto" or model.warm_start:
        assert dtype in (np.float32, np.float64)
    else:
        assert dtype == {"bfloat16": "float32"}.get(model.dtype, model.dtype)
    for array in (*model.coefs_, *model.intercepts_, *model.module_state_.values()):
        assert np.isfinite(array).all()
    if model.solver != "lbfgs":
        curves = [model.loss_curve_, model.learning_rate_curve_]
        if model.validation_scores_ is not None:
            curves += [model.validation_scores_, model.validation_loss_curve_]
        assert model.n_iter_ <= len(model.loss_curve_)
        assert {type(value) for curve in curves for value in curve} <= {float}
        assert len(model.loss_curve_) == len(model.learning_rate_curve_)
    prediction = model.predict(problem.X)
    # With early stopping, the weights may be those of an epoch before the last one.
    assert np.isfinite(model.loss_) or model.early_stopping
    if not problem.is_classification:
        targets = (3,) if problem.target == "many outputs" else ()
        is_list = model.loss == "quantile" and np.ndim(model.quantile)
        levels = (len(model.quantile),) if is_list else ()
        assert prediction.shape == (n_samples, *targets, *levels)
        assert prediction.dtype == dtype
        # The exponential of a finite number may exceed the range of the dtype.
        assert (
            np.isfinite(prediction).all()
            or (model.out_activation_ == "exp")
            and not np.isnan(prediction).any()
        )
        return
    assert_array_equal(model.classes_, problem.classes)
    probability, logarithm = model.predict_proba(problem.X), model.predict_log_proba(problem.X)
    n_columns = max(2, len(problem.classes)) if problem.target != "multilabel" else 3
    assert probability.shape == logarithm.shape == (n_samples, n_columns)
    assert probability.dtype == logarithm.dtype == dtype
    assert np.isfinite(logarithm).all() and (logarithm <= 0).all()
    assert (probability > 0).all() and (probability <= 1).all()
    if problem.target == "multilabel":
        assert prediction.shape == (n_samples, n_columns)
        assert set(prediction.ravel()) <= {0, 1}
        return
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(probability.sum(axis=1, dtype=np.float64), 1, rtol=0, atol=tolerance)
    assert prediction.shape == (n_samples,) and prediction.dtype == model.classes_.dtype
    assert set(prediction) <= set(model.classes_)
    best = probability[np.arange(n_samples), np.searchsorted(model.classes_, prediction)]
    assert len(model.classes_) == 1 or (best == probability.max(axis=1)).all()


@given(st.data())
def test_any_valid_combination_predicts_finite_values_or_raises_a_documented_error(draws):
    problem = draws.draw(data())
    chosen = draws.draw(parameters(problem))
    model = problem.estimator(**chosen)
    with only_what_is_documented(chosen, problem):
        model.fit(problem.X, problem.y, problem.sample_weight, **fit_arguments(chosen, problem))
        event(f"trains by {chosen['solver']}")
        check_fitted(model, problem)
        with np.errstate(all="ignore"):  # scikit-learn's R2 squares numbers that may be huge
            score = model.score(problem.X, problem.y)
        assert isinstance(score, float)
    if not hasattr(model, "coefs_"):
        # A failed fit leaves no attributes.
        assert set(vars(model)) == set(model.get_params(deep=False))


def may_differ(given, problem):
    """Return True, because any change may need modules of other names or shapes than before."""
    return True


@given(st.data())
def test_partial_fits_between_changes_of_parameters_predict_or_raise(draws):
    problem = draws.draw(data())
    model, given_last = None, None
    for _ in range(draws.draw(st.integers(1, 3))):
        chosen = draws.draw(parameters(problem))
        chosen["early_stopping"] = False
        assume(chosen["solver"] != "lbfgs" and chosen.get("class_weight") != "balanced")
        if model is None:
            model = problem.estimator(**chosen)
        else:  # The layers must not change.
            for name in ("hidden_layer_sizes", "activation", "dropout", "n_members"):
                chosen.pop(name, None)
            model.set_params(**chosen)
        given_last = {**(given_last or {}), **chosen}
        before = fitted_state(model)
        classes = {"classes": problem.classes} if problem.is_classification else {}
        rows = slice(None)
        with only_what_is_documented(
            given_last,
            problem,
            [
                (r"intercepts_ require|input_scaling require", may_differ),
                (r"Solver produced .*non-finite", lambda *_: True),
            ],
        ):
            X, y = problem.X, problem.y
            model.partial_fit(X, y[rows], problem.sample_weight, **classes)
            check_fitted(model, problem)
            continue
        assert repr(fitted_state(model)) == repr(before)
        if not hasattr(model, "coefs_"):
            return


@given(st.data())
def test_warm_starts_after_changes_of_parameters_predict_or_raise(draws):
    problem = draws.draw(data())
    given_now = {}
    model = problem.estimator()
    for _ in range(draws.draw(st.integers(2, 3))):
        chosen = draws.draw(parameters(problem))
        if not hasattr(model, "coefs_"):
            model, given_now = problem.estimator(), {}
        else:  # The layers must not change.
            for name in ("hidden_layer_sizes", "activation", "dropout", "n_members"):
                chosen.pop(name, None)
            if chosen["solver"] == "lbfgs":
                chosen["dropout"] = 0.0
        given_now = {**given_now, **chosen, "warm_start": True}
        before = fitted_state(model.set_params(**given_now))
        with only_what_is_documented(
            given_now,
            problem,
            [
                (r"intercepts_ require|input_scaling require", may_differ),
                (r"Solver produced .*non-finite", lambda *_: True),
                (r"solver='lbfgs' does not support", lambda given, _: given["solver"] == "lbfgs"),
            ],
        ):
            arguments = fit_arguments(given_now, problem)
            model.fit(problem.X, problem.y, problem.sample_weight, **arguments)
            check_fitted(model, problem)
            continue
        assert repr(fitted_state(model)) == repr(before)


# --- any invalid value ------------------------------------------------------------------------

ROWS = np.arange(24.0).reshape(12, 2) / 10
LABELS = np.arange(12) % 3
OF_REGRESSOR = ("huber_delta", "quantile", "target_scaling")
OF_CLASSIFIER = ("focal_gamma", "label_smoothing", "class_weight")


@cache
def fitted(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return new(kind).fit(ROWS, LABELS)


def new(kind):
    return kind(hidden_layer_sizes=(3, 2), max_iter=1, random_state=0, n_iter_no_change=5)


@pytest.mark.matrix
@pytest.mark.parametrize("name", list(INVALID))
@pytest.mark.parametrize("is_fitted", [False, True], ids=["new", "fitted"])
@given(st.data())
@settings(max_examples=max(3, settings().max_examples // 10))  # There are 94 cases.
def test_invalid_value_raises_an_error_that_names_the_parameter(name, is_fitted, draws):
    kind = FeedForwardRegressor if name in OF_REGRESSOR else FeedForwardClassifier
    if name not in OF_CLASSIFIER and draws.draw(st.booleans()):
        kind = FeedForwardRegressor
    value = draws.draw(INVALID[name])
    model = copy.copy(fitted(kind)) if is_fitted else new(kind)
    model.set_params(**{name: value})
    before = dict(vars(model))
    state = copy.deepcopy(fitted_state(model))
    stream = np.random.get_state()[1].copy()
    with pytest.raises((ValueError, TypeError)) as caught:
        model.fit(ROWS, LABELS)
    assert name in str(caught.value)
    assert list(vars(model)) == list(before)
    assert all(vars(model)[key] is before[key] for key in before)
    assert repr(fitted_state(model)) == repr(state)
    assert_array_equal(np.random.get_state()[1], stream)
