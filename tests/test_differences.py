"""The differences from scikit-learn that docs/differences.md lists are as described there."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import TARGETS
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from training_by_hand import break_step

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._steps import ClosedFormStep

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::RuntimeWarning"
)


@pytest.mark.parametrize("estimator", [FeedForwardClassifier, FeedForwardRegressor])
def test_partial_fit_does_not_exist_with_lbfgs(estimator):
    assert not hasattr(estimator(solver="lbfgs"), "partial_fit")
    assert hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_logarithms_of_probabilities_are_finite_where_scikit_learns_are_not(target, dtype):
    X, y = TARGETS[target]
    X = X.astype(dtype)
    ours = FeedForwardClassifier(max_iter=5, random_state=0).fit(X, y)
    theirs = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    far = 1e5 * X
    assert np.isneginf(theirs.predict_log_proba(far)).any()
    log_p, p = ours.predict_log_proba(far), ours.predict_proba(far)
    assert np.isfinite(log_p).all()
    assert (p > 0).all()
    assert p.dtype == log_p.dtype == dtype
    # Rounding errors of the outputs are 1e5 times those on the training rows.
    rounding = 1e-2 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(p, theirs.predict_proba(far), atol=rounding)
    if target != "multilabel":
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-5 if dtype == np.float32 else 1e-12)
    near = ours.predict_proba(X)
    np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), near, rtol=1e-5)


def test_smaller_of_two_probabilities_is_not_one_minus_the_larger():
    X, y = TARGETS["binary"]
    ours = FeedForwardClassifier(max_iter=5, random_state=0).fit(X, y)
    ours.coefs_[-1][:] = 0
    ours.intercepts_[-1][:] = 50
    p = ours.predict_proba(X[:1])
    np.testing.assert_allclose(p, [[np.exp(-50), 1]], rtol=1e-12)


@pytest.mark.parametrize("library", ["torch", "polars", "pandas"])
def test_float32_of_tensors_and_frames_is_computed_in_float32(library):
    make = {
        "torch": lambda array: pytest.importorskip("torch").from_numpy(array),
        "polars": lambda array: pytest.importorskip("polars").DataFrame(array),
        "pandas": lambda array: pytest.importorskip("pandas").DataFrame(array).astype("Float32"),
    }[library]
    X, y = TARGETS["multiclass"]
    rows = make(X.astype(np.float32))
    theirs = MLPClassifier(max_iter=2, random_state=0).fit(rows, y)
    assert theirs.coefs_[0].dtype == np.float64
    ours = FeedForwardClassifier(max_iter=2, random_state=0).fit(rows, y)
    assert ours.coefs_[0].dtype == np.float32
    ours.set_params(dtype="float64").fit(rows, y)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-9)


def test_predictions_have_the_dtype_of_the_model():
    X, y = TARGETS["one output"]
    ours = FeedForwardRegressor(max_iter=2).fit(X.astype(np.float32), y)
    theirs = MLPRegressor(max_iter=2).fit(X.astype(np.float32), y)
    assert ours.predict(X).dtype == np.float32
    assert theirs.predict(X).dtype == np.float64
    with pytest.raises(ValueError, match="too large for dtype\\('float32'\\)"):
        ours.predict(1e40 * np.ones((1, X.shape[1])))


def test_model_keeps_its_dtype_in_a_later_call():
    X, y = TARGETS["one output"]
    ours = FeedForwardRegressor(max_iter=2).fit(X.astype(np.float32), y)
    ours.partial_fit(X, y)
    assert {a.dtype for a in (*ours.coefs_, *ours.intercepts_)} == {np.dtype(np.float32)}


def test_batch_without_weight_takes_no_step():
    X, y = TARGETS["one output"]
    weight = np.ones(40)
    weight[10:20] = 0
    parameters = {"max_iter": 3, "batch_size": 10, "shuffle": False, "random_state": 0}
    kept = np.r_[0:10, 20:40]
    ours = FeedForwardRegressor(**parameters).fit(X[:40], y[:40], weight)
    expected = FeedForwardRegressor(**parameters).fit(X[kept], y[kept], weight[kept])
    np.testing.assert_allclose(ours.loss_curve_, expected.loss_curve_, rtol=1e-12)
    with pytest.raises(ZeroDivisionError):
        MLPRegressor(**parameters).fit(X[:40], y[:40], weight)


@pytest.mark.parametrize(
    "changes",
    [
        [{"solver": "lbfgs"}, {"solver": "adam"}],
        [{"early_stopping": False}, {"early_stopping": True}],
        [{"early_stopping": True}, {"early_stopping": False}],
    ],
    ids=str,
)
def test_solver_and_early_stopping_may_change_between_warm_starts(changes):
    X, y = TARGETS["multiclass"]
    ours = FeedForwardClassifier(warm_start=True, max_iter=3)
    theirs = MLPClassifier(warm_start=True, max_iter=3)
    for change in changes:
        ours.set_params(**change).fit(X, y)
    assert np.isfinite(ours.loss_curve_).all()
    assert (ours.validation_scores_ is None) == (not ours.early_stopping)
    theirs.set_params(**changes[0]).fit(X, y)
    with pytest.raises((AttributeError, TypeError)):
        theirs.set_params(**changes[1]).fit(X, y)


def test_interrupted_lbfgs_keeps_its_last_iteration(monkeypatch):
    X, y = TARGETS["multiclass"]
    parameters = {"solver": "lbfgs", "random_state": 0}
    reference = FeedForwardClassifier(max_iter=4, **parameters).fit(X, y)
    calls = []
    step = ClosedFormStep.__call__

    def interrupted(self, *args):
        calls.append(1)
        # L-BFGS makes one evaluation at the start and, on this well-behaved problem, one for each
        # iteration.
        if len(calls) > n_evaluations:
            raise KeyboardInterrupt
        step(self, *args)

    monkeypatch.setattr(ClosedFormStep, "__call__", interrupted)
    n_evaluations = 10**9
    FeedForwardClassifier(max_iter=4, **parameters).fit(X, y)
    n_evaluations, calls[:] = len(calls), []
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        ours = FeedForwardClassifier(max_iter=100, **parameters).fit(X, y)
    assert ours.n_iter_ == 4
    assert ours.loss_ == pytest.approx(reference.loss_)
    np.testing.assert_allclose(ours.coefs_[0], reference.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_interrupt_ends_a_cross_validation_in_which_scikit_learn_keeps_the_fold(
    solver, monkeypatch
):
    X, y = TARGETS["multiclass"]
    parameters = {"solver": solver, "max_iter": 5, "random_state": 0}
    backprop, calls = MLPClassifier._backprop, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return backprop(self, *args)

    monkeypatch.setattr(MLPClassifier, "_backprop", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        scores = cross_val_score(MLPClassifier(**parameters), X, y, cv=3)
    assert np.isfinite(scores).all()
    break_step(monkeypatch, KeyboardInterrupt, at=3)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(FeedForwardClassifier(**parameters), X, y, cv=3)


def test_attributes_of_an_earlier_solver_are_not_left_behind():
    X, y = TARGETS["multiclass"]
    ours, theirs = FeedForwardClassifier(max_iter=2), MLPClassifier(max_iter=2)
    for estimator in (ours, theirs):
        estimator.fit(X, y).set_params(solver="lbfgs").fit(X, y)
    assert hasattr(theirs, "loss_curve_")
    fresh = FeedForwardClassifier(max_iter=2, solver="lbfgs").fit(X, y)
    assert set(vars(ours)) == set(vars(fresh))


def test_coefs_are_in_fortran_order_also_after_a_pickle():
    X, y = TARGETS["multiclass"]
    ours = FeedForwardClassifier(max_iter=2).fit(X, y)
    for estimator in (ours, pickle.loads(pickle.dumps(ours))):
        assert all(coef.flags.f_contiguous for coef in estimator.coefs_)
