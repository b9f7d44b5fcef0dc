"""Independent references: linear models at the same penalty, and the published rules."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from conftest import TARGETS
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier, FeedForwardRegressor, _targets

# Without a hidden layer the network is a linear model, with one optimum.
LINEAR = {
    "hidden_layer_sizes": (),
    "solver": "lbfgs",
    "tol": 1e-9,
    "max_iter": 5000,
    "random_state": 0,
}


@pytest.fixture(autouse=True)
def run_to_the_optimum(monkeypatch):
    """Let L-BFGS go on where SciPy would end it, at a relative gain of 2e-9."""
    minimize = scipy.optimize.minimize

    def patient(*args, options, **kwargs):
        return minimize(*args, options={**options, "ftol": 0.0, "maxls": 100}, **kwargs)

    monkeypatch.setattr(scipy.optimize, "minimize", patient)


@pytest.mark.parametrize("target", ["binary", "multiclass"])
@pytest.mark.parametrize("alpha", [0.1, 10.0])
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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [1e-3, 5.0])
def test_regressor_without_hidden_layer_is_ridge(alpha, weighted):
    X, y = TARGETS["one output"]
    weight = np.random.RandomState(0).uniform(0, 3, len(X)) if weighted else None
    ours = FeedForwardRegressor(alpha=alpha, **LINEAR).fit(X, y, weight)
    theirs = Ridge(alpha=alpha).fit(X, y, weight)
    assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)
    assert_allclose(ours.coefs_[0].ravel(), theirs.coef_, atol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_poisson_regressor_without_hidden_layer_is_the_generalized_linear_model(alpha):
    X, y = TARGETS["counts"]
    # The GLM divides its deviance by n, and its penalty not; ours divides both.
    ours = FeedForwardRegressor(loss="poisson", alpha=alpha * len(X), **LINEAR).fit(X, y)
    theirs = PoissonRegressor(alpha=alpha, tol=1e-10, max_iter=5000).fit(X, y)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4)


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
