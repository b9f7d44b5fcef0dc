"""Ctrl-C keeps the model of the last finished epoch, or the model from before the call."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from conftest import TARGETS, assert_bit_equal, fitted_state
from global_state import state_is_kept
from neighbours import SMALL, ours_for
from numpy.testing import assert_array_equal
from sklearn.base import clone
from training_by_hand import break_step

import sknn._training._net
import sknn._training._stochastic
import sknn._training._stopping
import sknn._training._validation

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

INTERRUPTED = [
    {"solver": "adam"},
    {"solver": "sgd"},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
    {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.05,
        "tol": 1.0,
        "n_iter_no_change": 1,
    },
    {"solver": "adam", "early_stopping": True},
    {"solver": "sgd", "early_stopping": True, "learning_rate": "adaptive"},
    {"solver": "adam", "shuffle": False},
]


def n_steps_per_epoch(target, early_stopping):
    n = len(TARGETS[target][1])
    n -= int(np.ceil(0.1 * n)) if early_stopping else 0
    return -(-n // SMALL["batch_size"])


def fit_interrupted(estimator, X, y):
    with pytest.warns(UserWarning, match="^Training interrupted by user.$") as caught:
        estimator.fit(X, y)
    assert [str(w.message) for w in caught] == ["Training interrupted by user."]
    return estimator


@pytest.mark.matrix(4)
@pytest.mark.parametrize("n_epochs", [1, 2, 3])
@pytest.mark.parametrize("parameters", INTERRUPTED, ids=str)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_interrupt_in_a_step_keeps_the_last_finished_epoch(
    monkeypatch, target, parameters, n_epochs
):
    X, y = TARGETS[target]
    finished = ours_for(target, max_iter=n_epochs, **parameters).fit(X, y)
    n_steps = n_steps_per_epoch(target, parameters.get("early_stopping", False))
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=n_epochs * n_steps + 2)
        interrupted = fit_interrupted(ours_for(target, max_iter=50, **parameters), X, y)
    assert_bit_equal(interrupted, finished)
    assert interrupted.n_iter_ == len(interrupted.loss_curve_) == n_epochs
    if not interrupted.early_stopping:
        for _ in range(3):
            assert_bit_equal(interrupted.partial_fit(X, y), finished.partial_fit(X, y))


RULES = [
    "TrackProgress",
    "StopOnDivergence",
    "InverseScaling",
    "StopOnPlateau",
    "KeepFinishedEpoch",
]


@pytest.mark.matrix(12)
@pytest.mark.parametrize(
    ("where", "parameters"),
    [
        (rule, parameters)
        for rule in RULES
        for parameters in INTERRUPTED
        if rule != "InverseScaling" or parameters.get("learning_rate") == "invscaling"
    ],
    ids=str,
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_interrupt_at_the_end_of_an_epoch_keeps_a_whole_one(monkeypatch, where, before, parameters):
    X, y = TARGETS["one output"]
    rule = getattr(sknn._training._stopping, where)
    on_epoch_end = rule.on_epoch_end
    n_calls = 0

    def interrupted_call(self, net, **arguments):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3 and before:
            raise KeyboardInterrupt
        on_epoch_end(self, net, **arguments)
        if n_calls == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rule, "on_epoch_end", interrupted_call)
        interrupted = fit_interrupted(ours_for("one output", max_iter=50, **parameters), X, y)
    assert interrupted.n_iter_ == (3 if where == "KeepFinishedEpoch" and not before else 2)
    finished = ours_for("one output", max_iter=interrupted.n_iter_, **parameters).fit(X, y)
    assert_bit_equal(interrupted, finished)
    if not interrupted.early_stopping:
        assert_bit_equal(interrupted.partial_fit(X, y), finished.partial_fit(X, y))


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_interrupt_while_scoring_keeps_the_last_finished_epoch(monkeypatch, target):
    X, y = TARGETS[target]
    finished = ours_for(target, early_stopping=True, max_iter=2).fit(X, y)
    outputs_of = sknn._training._validation.outputs_of
    n_calls = 0

    def interrupted_call(*arguments):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise KeyboardInterrupt
        return outputs_of(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(sknn._training._validation, "outputs_of", interrupted_call)
        interrupted = fit_interrupted(ours_for(target, early_stopping=True, max_iter=50), X, y)
    assert_bit_equal(interrupted, finished)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_interrupt_in_the_first_epoch_keeps_the_initial_weights(
    monkeypatch, target, solver, early_stopping
):
    X, y = TARGETS[target]
    estimator = ours_for(target, solver=solver, early_stopping=early_stopping)
    initial = clone(estimator).set_params(learning_rate_init=1e-300, max_iter=1).fit(X, y)
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=2)
        fit_interrupted(estimator, X, y)
    assert estimator.n_iter_ == 0
    assert estimator.loss_curve_ == []
    assert estimator.t_ == 0
    for actual, expected in zip(estimator.coefs_, initial.coefs_, strict=True):
        assert_array_equal(actual, expected)
    assert estimator.predict(X).shape == y.shape


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_interrupt_in_partial_fit_keeps_the_model(monkeypatch, solver):
    X, y = TARGETS["multiclass"]
    estimator = ours_for("multiclass", solver=solver).fit(X, y)
    untouched = copy.deepcopy(estimator)
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=2)
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            estimator.partial_fit(X, y)
    assert estimator.loss_curve_ == untouched.loss_curve_
    assert estimator.t_ == untouched.t_
    for actual, expected in zip(estimator.coefs_, untouched.coefs_, strict=True):
        assert_array_equal(actual, expected)
    estimator.partial_fit(X, y)
    untouched.partial_fit(X, y)
    assert estimator.loss_curve_ == untouched.loss_curve_
    for actual, expected in zip(estimator.coefs_, untouched.coefs_, strict=True):
        assert_array_equal(actual, expected)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_interrupt_in_a_warm_start_keeps_the_epochs_before(monkeypatch, target):
    X, y = TARGETS[target]
    estimator = ours_for(target, warm_start=True).fit(X, y)
    shorter = copy.deepcopy(estimator).set_params(max_iter=2).fit(X, y)
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=2 * n_steps_per_epoch(target, False) + 1)
        fit_interrupted(estimator.set_params(max_iter=2 + 48), X, y)
    assert_bit_equal(estimator, shorter)


@pytest.mark.parametrize("at", [5, 12, 25])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_interrupt_of_lbfgs_keeps_the_last_finished_iteration(monkeypatch, target, at):
    X, y = TARGETS[target]
    parameters = {"solver": "lbfgs", "tol": 0.0}
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=at)
        interrupted = fit_interrupted(ours_for(target, max_iter=500, **parameters), X, y)
    finished = ours_for(target, max_iter=interrupted.n_iter_, **parameters).fit(X, y)
    assert 1 <= interrupted.n_iter_ == finished.n_iter_ < at
    assert interrupted.loss_ == finished.loss_
    for actual, expected in zip(interrupted.coefs_, finished.coefs_, strict=True):
        assert_array_equal(actual, expected)


def test_interrupt_outside_the_epochs_leaves_the_old_model(monkeypatch):
    X, y = TARGETS["multiclass"]
    estimator = ours_for("multiclass").fit(X, y)
    before = repr(fitted_state(estimator))

    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(sknn._training._stochastic, "published", interrupt)
    with state_is_kept(), pytest.raises(KeyboardInterrupt):
        estimator.set_params(alpha=1.0).fit(X, y)
    assert repr(fitted_state(estimator)) == before


def test_stopping_rule_is_no_interrupt():
    # In skorch, a callback ends training early by raising KeyboardInterrupt.
    X, y = TARGETS["multiclass"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = ours_for("multiclass", tol=10.0, n_iter_no_change=2, max_iter=50).fit(X, y)
    assert estimator.n_iter_ < 50
