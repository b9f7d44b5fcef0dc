"""Models equal independent references: linear models of the same penalty, and published rules."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from conftest import TARGETS
from numpy.testing import assert_allclose
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.metrics import accuracy_score, mean_pinball_loss, r2_score
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._input import _targets

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Without a hidden layer the network is a linear model, which has one optimum.
LINEAR = {
    "hidden_layer_sizes": (),
    "solver": "lbfgs",
    "tol": 1e-9,
    "max_iter": 5000,
    "random_state": 0,
}
# The gradient of a piecewise linear loss does not vanish near the optimum, so the steps must be
# small to come close to it.
DESCENT = {
    "hidden_layer_sizes": (),
    "solver": "adam",
    "alpha": 0,
    "batch_size": len(TARGETS["one output"][1]),
    "learning_rate": "cosine",
    "learning_rate_init": 0.1,
    "max_iter": 1200,
    "n_iter_no_change": np.inf,
    "random_state": 0,
}


@pytest.fixture(autouse=True)
def run_to_the_optimum(monkeypatch):
    """Let L-BFGS continue where SciPy would stop, which is at a relative gain of 2e-9."""
    minimize = scipy.optimize.minimize

    def patient(*args, options, **kwargs):
        return minimize(*args, options={**options, "ftol": 0.0, "maxls": 100}, **kwargs)

    monkeypatch.setattr(scipy.optimize, "minimize", patient)


@pytest.mark.matrix(1)
@pytest.mark.parametrize(("target", "alpha"), [("binary", 0.1), ("multiclass", 10.0)])
def test_classifier_without_hidden_layer_is_logistic_regression(target, alpha):
    X, y = TARGETS[target]
    ours = FeedForwardClassifier(alpha=alpha, **LINEAR).fit(X, y)
    theirs = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=5000).fit(X, y)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    if target == "binary":
        assert_allclose(ours.coefs_[0].T, theirs.coef_, atol=1e-4)
        assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-4)


def test_weighted_classifier_without_hidden_layer_is_logistic_regression():
    X, y = TARGETS["binary"]
    weight = np.random.RandomState(0).uniform(0, 3, len(X))
    ours = FeedForwardClassifier(alpha=1.0, **LINEAR).fit(X, y, weight)
    theirs = LogisticRegression(tol=1e-10, max_iter=5000).fit(X, y, weight)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(("alpha", "weighted"), [(1e-3, False), (5.0, True)])
def test_regressor_without_hidden_layer_is_ridge(alpha, weighted):
    X, y = TARGETS["one output"]
    weight = np.random.RandomState(0).uniform(0, 3, len(X)) if weighted else None
    ours = FeedForwardRegressor(alpha=alpha, **LINEAR).fit(X, y, weight)
    theirs = Ridge(alpha=alpha).fit(X, y, weight)
    assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)
    assert_allclose(ours.coefs_[0].ravel(), theirs.coef_, atol=1e-4)


@pytest.mark.matrix(1)
@pytest.mark.parametrize("alpha", [0.05, 0.0])
def test_poisson_regressor_without_hidden_layer_is_the_generalized_linear_model(alpha):
    X, y = TARGETS["counts"]
    # scikit-learn's GLM divides the deviance by n but not the penalty. Ours divides both.
    ours = FeedForwardRegressor(loss="poisson", alpha=alpha * len(X), **LINEAR).fit(X, y)
    theirs = PoissonRegressor(alpha=alpha, tol=1e-10, max_iter=5000).fit(X, y)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4)


@pytest.mark.matrix(1)
@pytest.mark.parametrize(("alpha", "weighted"), [(0.05, True), (0.0, False)])
def test_gamma_regressor_without_hidden_layer_is_the_generalized_linear_model(alpha, weighted):
    X, y = TARGETS["one output"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else None
    total = len(X) if weight is None else weight.sum()
    ours = FeedForwardRegressor(loss="gamma", alpha=alpha * total, **LINEAR).fit(X, y, weight)
    theirs = GammaRegressor(alpha=alpha, tol=1e-10, max_iter=5000).fit(X, y, weight)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4)
    assert_allclose(ours.coefs_[0].ravel(), theirs.coef_, atol=1e-4)


def assert_near_the_least_pinball_loss(X, y, prediction, level, weight=None, rtol=2e-3):
    """Assert that the loss of a linear model is just above the least possible loss."""
    best = QuantileRegressor(quantile=level, alpha=0, solver="highs").fit(X, y, weight)
    least, loss = (
        mean_pinball_loss(y, p, alpha=level, sample_weight=weight)
        for p in (best.predict(X), prediction)
    )
    assert least * (1 - 1e-9) <= loss <= least * (1 + rtol)
    at_the_constant = mean_pinball_loss(y, np.full(len(y), np.quantile(y, level)), alpha=level)
    assert loss < 0.9 * at_the_constant


@pytest.mark.parametrize(("level", "weighted"), [(0.1, False), (0.8, True)])
def test_quantile_regressor_without_hidden_layer_nears_the_linear_program(level, weighted):
    X, y = TARGETS["one output"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else None
    ours = FeedForwardRegressor(loss="quantile", quantile=level, **DESCENT).fit(X, y, weight)
    assert_near_the_least_pinball_loss(X, y, ours.predict(X), level, weight)


def test_quantile_regressor_by_lbfgs_nears_the_linear_program():
    X, y = TARGETS["one output"]
    parameters = LINEAR | {"max_fun": 100_000}
    ours = FeedForwardRegressor(loss="quantile", quantile=0.3, alpha=0, **parameters).fit(X, y)
    assert_near_the_least_pinball_loss(X, y, ours.predict(X), 0.3, rtol=1e-2)


def test_quantile_levels_without_hidden_layer_each_near_their_linear_program():
    X, y = TARGETS["one output"]
    levels = [0.1, 0.35, 0.5, 0.8]
    ours = FeedForwardRegressor(loss="quantile", quantile=levels, **DESCENT).fit(X, y)
    lines = X @ ours.coefs_[0] + ours.intercepts_[0]
    for level, line in zip(levels, lines.T, strict=True):
        assert_near_the_least_pinball_loss(X, y, line, level)
    # The predictions are the sorted lines. Sorting does not raise the sum of their losses.
    assert_allclose(ours.predict(X), np.sort(lines), rtol=1e-12)
    sums = [
        sum(mean_pinball_loss(y, p[:, k], alpha=level) for k, level in enumerate(levels))
        for p in (ours.predict(X), lines)
    ]
    assert sums[0] <= sums[1]


@pytest.mark.long
def test_levels_of_two_targets_without_hidden_layer_near_the_program_of_each():
    X, y = TARGETS["one output"]
    y = np.c_[y, X @ np.linspace(-1, 1, X.shape[1]) + y]
    levels = [0.2, 0.6]
    ours = FeedForwardRegressor(loss="quantile", quantile=levels, **DESCENT).fit(X, y)
    lines = (X @ ours.coefs_[0] + ours.intercepts_[0]).reshape(len(X), 2, 2)
    assert_allclose(ours.predict(X), np.sort(lines), rtol=1e-12)
    for column, of_target in zip(y.T, np.moveaxis(lines, 1, 0), strict=True):
        alone = FeedForwardRegressor(loss="quantile", quantile=levels, **DESCENT).fit(X, column)
        for level, line, other in zip(levels, of_target.T, alone.predict(X).T, strict=True):
            assert_near_the_least_pinball_loss(X, column, line, level)
            assert np.abs(line - other).mean() < 0.05 * column.std()


def test_one_level_for_two_outputs_nears_both_linear_programs():
    X, y = TARGETS["one output"]
    y = np.c_[y, X @ np.linspace(-1, 1, X.shape[1]) + y]
    ours = FeedForwardRegressor(loss="quantile", quantile=0.3, **DESCENT).fit(X, y)
    for k in range(2):
        assert_near_the_least_pinball_loss(X, y[:, k], ours.predict(X)[:, k], 0.3)


@pytest.mark.parametrize(
    "weighted", [pytest.param(False, marks=pytest.mark.long), True], ids=["equal", "weighted"]
)
def test_absolute_error_without_hidden_layer_nears_the_linear_program(weighted):
    X, y = TARGETS["one output"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else None
    ours = FeedForwardRegressor(loss="absolute_error", **DESCENT).fit(X, y, weight)
    assert_near_the_least_pinball_loss(X, y, ours.predict(X), 0.5, weight)


@pytest.mark.matrix(2)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("delta", [0.05, 0.4, 100.0])
@pytest.mark.parametrize("alpha", [1e-2, 5.0])
def test_huber_without_hidden_layer_is_the_minimum_that_scipy_finds(alpha, delta, weighted):
    X, y = TARGETS["one output"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else np.ones(len(X))

    def objective(parameters):
        coef, intercept = parameters[:-1], parameters[-1]
        residual = X @ coef + intercept - y
        terms = weight * scipy.special.huber(delta, residual)
        slope = weight * np.clip(residual, -delta, delta)
        value = (terms.sum() + alpha / 2 * coef @ coef) / weight.sum()
        return value, np.r_[X.T @ slope + alpha * coef, slope.sum()] / weight.sum()

    start = np.zeros(X.shape[1] + 1)
    best = scipy.optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "maxiter": 5000}
    )
    ours = FeedForwardRegressor(loss="huber", huber_delta=delta, alpha=alpha, **LINEAR)
    ours.fit(X, y, weight)
    assert ours.loss_ == pytest.approx(best.fun, rel=1e-8)
    assert_allclose(ours.predict(X), X @ best.x[:-1] + best.x[-1], atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0}, {0: 0.2, 1: 3}], ids=str)
def test_class_weight_without_hidden_layer_is_that_of_logistic_regression(class_weight):
    X, y = TARGETS["binary"]
    ours = FeedForwardClassifier(alpha=1.0, class_weight=class_weight, **LINEAR).fit(X, y)
    theirs = LogisticRegression(class_weight=class_weight, tol=1e-10, max_iter=5000).fit(X, y)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)


@pytest.mark.matrix(1)
@pytest.mark.parametrize("target", ["binary", "multiclass"])
def test_label_smoothing_without_hidden_layer_is_logistic_regression_on_weighted_copies(target):
    # A row with the smoothed label y (1 - e) + e / K counts as K rows, one of each label, with the
    # values of the smoothed label as their weights.
    X, y = TARGETS[target]
    smoothing, n_classes = 0.2, len(np.unique(y))
    ours = FeedForwardClassifier(alpha=1.0, label_smoothing=smoothing, **LINEAR).fit(X, y)
    weight = np.eye(n_classes)[y] * (1 - smoothing) + smoothing / n_classes
    labels = np.tile(np.arange(n_classes), len(X))
    theirs = LogisticRegression(tol=1e-10, max_iter=5000)
    theirs.fit(np.repeat(X, n_classes, axis=0), labels, weight.ravel())
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)


@pytest.mark.matrix(1)
@pytest.mark.parametrize("gamma", [2.5, 1.0, 0.0])
def test_focal_loss_without_hidden_layer_is_the_minimum_that_scipy_finds(gamma):
    X, y = TARGETS["binary"]
    alpha, sign = 5.0, 2 * y - 1

    def objective(parameters):
        coef, intercept = parameters[:-1], parameters[-1]
        log_p = -np.logaddexp(0, -sign * (X @ coef + intercept))
        p = np.exp(log_p)
        slope = (gamma * p * log_p - (1 - p)) * (1 - p) ** gamma * sign / len(X)
        value = -((1 - p) ** gamma * log_p).mean() + alpha / 2 * coef @ coef / len(X)
        return value, np.r_[X.T @ slope + alpha * coef / len(X), slope.sum()]

    start = np.zeros(X.shape[1] + 1)
    best = scipy.optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "maxiter": 5000}
    )
    ours = FeedForwardClassifier(loss="focal", focal_gamma=gamma, alpha=alpha, **LINEAR).fit(X, y)
    assert ours.loss_ == pytest.approx(best.fun, rel=1e-6)
    expected = scipy.special.expit(X @ best.x[:-1] + best.x[-1])
    assert_allclose(ours.predict_proba(X)[:, 1], expected, atol=1e-3)


def test_a_weight_of_two_equals_a_copy():
    X, y = TARGETS["multiclass"]
    weight = np.random.RandomState(0).randint(0, 3, len(X))
    repeated = np.repeat(np.arange(len(X)), weight)
    parameters = {**LINEAR, "alpha": 0.5}
    weighted = FeedForwardClassifier(**parameters).fit(X, y, weight)
    copied = FeedForwardClassifier(**parameters).fit(X[repeated], y[repeated])
    assert_allclose(weighted.predict_proba(X), copied.predict_proba(X), atol=1e-6)


def test_network_learns_what_a_linear_model_cannot():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (600, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    network = FeedForwardClassifier((30,), solver="lbfgs", alpha=1e-3, random_state=0)
    assert network.fit(X_train, y_train).score(X_test, y_test) > 0.9
    assert LogisticRegression().fit(X_train, y_train).score(X_test, y_test) < 0.7


@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping_scores_are_scikit_learns_metrics(weighted):
    rng = np.random.RandomState(0)
    weight = rng.uniform(0, 2, 40) if weighted else None
    codes, p = rng.randint(0, 4, (40, 1)), rng.rand(40, 4)
    assert _targets.accuracy(codes, p, weight) == accuracy_score(
        codes[:, 0], p.argmax(1), sample_weight=weight
    )
    labels = rng.randint(0, 2, (40, 2)).astype(float)
    q = np.where(rng.rand(40, 2) < 0.8, labels, 1 - labels) * 0.4 + 0.3
    assert _targets.accuracy(labels, q, weight) == accuracy_score(
        labels, q > 0.5, sample_weight=weight
    )
    assert _targets.r_squared(p, q[:, [0, 1, 0, 1]], weight) == r2_score(
        p, q[:, [0, 1, 0, 1]], sample_weight=weight
    )
    assert np.isnan(_targets.accuracy(codes, np.full((40, 4), np.nan), weight))
    assert np.isnan(_targets.r_squared(p, np.full((40, 4), np.inf), weight))
