"""Tests of what remains of a training that a callback stops, interrupts or makes fail."""

from __future__ import annotations

import copy
import signal
import warnings
from functools import partial

import numpy as np
import pytest
from callbacks import EVENTS, NAMES, X_IRIS, Look, Recorder, assert_same_model, at, classifier
from conftest import case
from skorch.callbacks import (
    EpochScoring,
)
from torch.optim import lr_scheduler

from sknn._network._steps import ClosedFormStep

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def attributes(estimator):
    """Return the identities of the objects that an estimator holds."""
    return {name: id(value) for name, value in vars(estimator).items()}


def stop(net, **_):
    """End training in the third epoch in the way that skorch's callbacks do."""
    if len(net.history) == 3:
        raise KeyboardInterrupt


def interrupt(net, **_):
    """Send the user's Ctrl-C in the third epoch."""
    if len(net.history) == 3:
        signal.raise_signal(signal.SIGINT)


SCHEDULES = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"solver": "adam", "learning_rate": partial(lr_scheduler.ExponentialLR, gamma=0.5)},
    {"solver": "adamw", "learning_rate": "cosine", "early_stopping": True},
]


@pytest.mark.parametrize("parameters", SCHEDULES, ids=case)
def test_stop_at_the_end_of_an_epoch_keeps_it(parameters):
    # The epoch is kept whole, with the learning rate that the next epoch would have.
    horizon = {"max_iter": 3} if parameters.get("learning_rate") != "cosine" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped = classifier(at("on_epoch_end", stop), **parameters).fit(X_IRIS, NAMES)
    assert stopped.n_iter_ == len(stopped.loss_curve_) == len(stopped.net_.history) == 3
    if horizon:
        finished = classifier(**parameters, **horizon).fit(X_IRIS, NAMES)
        assert_same_model(stopped, finished)


@pytest.mark.parametrize(
    "event", ["on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end"]
)
def test_stop_amid_an_epoch_leaves_that_one_out(event):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped = classifier(at(event, stop), batch_size=50).fit(X_IRIS, NAMES)
    assert stopped.n_iter_ == len(stopped.loss_curve_) == len(stopped.net_.history) == 2
    assert_same_model(stopped, classifier(batch_size=50, max_iter=2).fit(X_IRIS, NAMES))


@pytest.mark.parametrize("event", ["on_train_begin", "on_train_end"])
def test_keyboard_interrupt_outside_the_epochs_goes_through(event):
    # As in skorch, a KeyboardInterrupt ends training inside the epochs only.
    def raise_it(net, **_):
        raise KeyboardInterrupt

    estimator = classifier().fit(X_IRIS, NAMES).set_params(callbacks=[at(event, raise_it)])
    before = attributes(estimator)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X_IRIS, NAMES)
    assert attributes(estimator) == before


@pytest.mark.parametrize(
    "event",
    ["on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end", "on_epoch_end"],
)
def test_ctrl_c_in_a_callback_is_an_interrupt(event):
    with pytest.warns(UserWarning, match="^Training interrupted by user.$") as caught:
        interrupted = classifier(at(event, interrupt), batch_size=50).fit(X_IRIS, NAMES)
    assert len(caught) == 1
    assert_same_model(interrupted, classifier(batch_size=50, max_iter=2).fit(X_IRIS, NAMES))


def scored_under_ctrl_c(net, X, y):
    interrupt(net)
    return 0.0


def test_ctrl_c_in_a_scorer_is_an_interrupt():
    with pytest.warns(UserWarning, match="interrupted"):
        interrupted = classifier(EpochScoring(scored_under_ctrl_c, on_train=True))
        interrupted.fit(X_IRIS, NAMES)
    assert interrupted.n_iter_ == 2


@pytest.mark.parametrize("callback", [Recorder, Look])
def test_ctrl_c_in_a_step_is_an_interrupt(monkeypatch, callback):
    step, calls = ClosedFormStep.__call__, []

    def interrupted_step(self, *arguments):
        calls.append(None)
        if len(calls) == 2 * 3 + 2:
            signal.raise_signal(signal.SIGINT)
        step(self, *arguments)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted"):
        patch.setattr(ClosedFormStep, "__call__", interrupted_step)
        interrupted = classifier(callback(), batch_size=50).fit(X_IRIS, NAMES)
    assert_same_model(interrupted, classifier(batch_size=50, max_iter=2).fit(X_IRIS, NAMES))


@pytest.mark.parametrize("event", EVENTS)
def test_error_in_a_callback_leaves_the_fitted_model(event):
    def fail(net, **_):
        raise LookupError("broken")

    estimator = classifier(Recorder()).fit(X_IRIS, NAMES)
    estimator.set_params(callbacks=[at(event, fail)], warm_start=True)
    before, coefs = attributes(estimator), copy.deepcopy(estimator.coefs_)
    with pytest.raises(LookupError, match="broken"):
        estimator.fit(X_IRIS, NAMES)
    assert attributes(estimator) == before
    np.testing.assert_array_equal(estimator.coefs_[0], coefs[0])
