"""Schedulers of torch get the right rates and losses, and what is no scheduler is refused."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from conftest import TARGETS, fitted_state
from numpy.testing import assert_allclose
from schedules import CONTINUED, N_BATCHES, SCHEDULERS, TORCHS_OWN, name_of, warmth
from sklearn.base import clone
from torch.optim import lr_scheduler
from training_by_hand import (
    DATA,
    RATE,
    assert_same_weights,
    break_step,
    network,
)

from sknn import FeedForwardClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(f"ignore:{TORCHS_OWN}"),
]


class RecordingStepLR(lr_scheduler.StepLR):
    """A StepLR that records the rate it finds at each step."""

    found: list[float] = []

    def step(self, epoch=None):
        self.found.append(self.optimizer.param_groups[0]["lr"])
        super().step(epoch)


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.SGD], ids=name_of)
def test_scheduler_finds_rates_without_the_warm_up(solver):
    X, y = DATA["multiclass"]
    RecordingStepLR.found.clear()
    make = partial(RecordingStepLR, step_size=1, gamma=0.5)
    model = network(
        "multiclass", solver=solver, learning_rate=make, warmup_fraction=0.7, max_iter=5
    ).fit(X, y)
    base = RATE * 0.5 ** np.arange(5)
    assert_allclose(RecordingStepLR.found, [RATE, *base])  # torch takes a first step by itself.
    assert_allclose(model.learning_rate_curve_, base * warmth(0.7, 20)[::N_BATCHES])


class RecordingPlateau(lr_scheduler.ReduceLROnPlateau):
    """A ReduceLROnPlateau that records the values it is given."""

    given: list[float] = []

    def step(self, metrics, epoch=None):
        self.given.append(metrics)
        super().step(metrics)


@pytest.mark.matrix(8)
@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.SGD], ids=name_of)
@pytest.mark.parametrize("validation", ["none", "split", "given", "given and stopping"])
@pytest.mark.parametrize("target", list(DATA))
def test_plateau_scheduler_is_given_the_validation_loss_or_the_training_loss(
    target, validation, solver
):
    X, y = DATA[target]
    RecordingPlateau.given.clear()
    options = {"patience": 0, "threshold": 0.5}
    model = network(
        target,
        solver=solver,
        learning_rate=partial(RecordingPlateau, **options),
        early_stopping=validation in ("split", "given and stopping"),
        max_iter=6,
    )
    X_val, y_val = (X[::3], y[::3]) if "given" in validation else (None, None)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    watched = model.loss_curve_ if validation == "none" else model.validation_loss_curve_
    assert watched == RecordingPlateau.given
    assert len(watched) == 6

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rates = []
    for loss in watched:
        rates.append(optimizer.param_groups[0]["lr"])
        theirs.step(loss)
    assert_allclose(model.learning_rate_curve_, rates)
    assert rates[-1] < RATE


def test_class_of_a_scheduler_is_a_callable_too():
    X, y = DATA["multiclass"]
    RecordingPlateau.given.clear()
    model = network("multiclass", learning_rate=RecordingPlateau).fit(X, y)
    assert model.loss_curve_ == RecordingPlateau.given


@pytest.mark.matrix
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("solver", ["adam", torch.optim.SGD], ids=name_of)
@pytest.mark.parametrize(
    "made",
    [None, 0.1, lr_scheduler.StepLR, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])],
    ids=["None", "number", "class", "optimizer"],
)
def test_callable_that_makes_no_scheduler_is_an_error(monkeypatch, made, solver, method):
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=solver).fit(X, y)
    before = repr(fitted_state(model))
    break_step(monkeypatch, AssertionError("a step was made"), at=1)
    message = f"'learning_rate'.*callable.*{type(made).__name__}.*torch.optim.lr_scheduler.*StepLR"
    with pytest.raises(ValueError, match=message):
        getattr(model.set_params(learning_rate=lambda optimizer: made), method)(X, y)
    assert repr(fitted_state(model)) == before


@pytest.mark.parametrize("learning_rate", ["cosinus", 0.1, None])
def test_unknown_schedule_is_an_error(learning_rate):
    X, y = DATA["multiclass"]
    with pytest.raises(ValueError, match="'learning_rate'.*(one_cycle|cosine).*callable"):
        network("multiclass", learning_rate=learning_rate).fit(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_plateau_scheduler_goes_on_in_partial_fit(method):
    X, y = DATA["one output"]
    make = partial(RecordingPlateau, patience=1, threshold=100.0)
    model = network("one output", learning_rate=make, max_iter=3)
    for _ in range(1 if method == "fit" else 3):
        getattr(model, method)(X, y)
    for _ in range(3):
        model = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    # No epoch is an improvement. Bad epochs 1 and 2 have the first rate, and after every two
    # epochs the rate falls to a tenth.
    assert_allclose(model.learning_rate_curve_, RATE / 10.0 ** np.array([0, 0, 1, 1, 2, 2]))


@pytest.mark.matrix
@pytest.mark.parametrize("solver", CONTINUED, ids=name_of)
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_interrupted_fit_has_the_scheduler_of_the_last_epoch(monkeypatch, solver, name):
    X, y = DATA["one output"]
    model = network("one output", solver=solver, learning_rate=SCHEDULERS[name], max_iter=10)
    finished = clone(model).set_params(max_iter=3).fit(X, y)
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=3 * N_BATCHES + 2)
        with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
            model.fit(X, y)
    assert model.learning_rate_curve_ == finished.learning_rate_curve_
    assert_same_weights(model.partial_fit(X, y), finished.partial_fit(X, y))
    assert model.learning_rate_curve_ == finished.learning_rate_curve_


def test_scheduler_of_another_kind_begins_anew_in_partial_fit():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(
        max_iter=3,
        learning_rate=lambda optimizer: lr_scheduler.StepLR(optimizer, 1),
        random_state=0,
    ).fit(X, y)
    halving = {"learning_rate": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.5)}
    for _ in range(2):
        estimator.set_params(**halving).partial_fit(X, y)
    *_, before, after = estimator.learning_rate_curve_
    assert after == pytest.approx(0.5 * before)
