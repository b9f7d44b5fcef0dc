"""Every step has the learning rate of torch's schedulers and of training by hand."""

from __future__ import annotations

import math
import pickle
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import assert_bit_equal, fitted_state
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from schedules import CONTINUED, N_BATCHES, SCHEDULERS, TORCHS_OWN, name_of, warmth
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch.optim import lr_scheduler
from training_by_hand import (
    DATA,
    NO_EPSILON,
    RATE,
    NormalizedSGD,
    VelocitySGD,
    assert_same_weights,
    assert_trained_alike,
    break_step,
    network,
    of_parameters,
    torch_adamw,
    trained_by_hand,
)

import sknn._training._stopping
from sknn._training._schedules import STEP_SCHEDULES, step_factor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(f"ignore:{TORCHS_OWN}"),
]

# SequentialLR of torch 2.4 and 2.5 calls `step` in a way that torch itself has deprecated.
TORCHS_OWN = "The epoch parameter in `scheduler.step"
SCHEDULES = {
    "cosine": {"learning_rate": "cosine"},
    "one_cycle": {"learning_rate": "one_cycle"},
    "coslog": {"learning_rate": "coslog"},
    "warm-up, coslog": {"learning_rate": "coslog", "warmup_fraction": 0.25},
    "warm-up": {"warmup_fraction": 0.4},
    "warm-up, cosine": {"learning_rate": "cosine", "warmup_fraction": 0.3},
    "warm-up, ExponentialLR": {
        "learning_rate": SCHEDULERS["ExponentialLR"],
        "warmup_fraction": 0.5,
    },
    **{name: {"learning_rate": make} for name, make in SCHEDULERS.items()},
}


# These schedulers of torch are used exactly as the others are.
LONG = ("ExponentialLR", "LambdaLR", "LinearLR")


@pytest.fixture(params=[pytest.param(s, marks=[pytest.mark.long] * (s in LONG)) for s in SCHEDULES])
def schedule(request):
    return SCHEDULES[request.param]


def torch_rates(make, n, rate=RATE):
    """Return the rates that a scheduler of torch gives to n steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def torch_cosine(n, rate=RATE):
    return torch_rates(partial(lr_scheduler.CosineAnnealingLR, T_max=n), n, rate)


def torch_one_cycle(n, rate=RATE):
    return torch_rates(
        partial(lr_scheduler.OneCycleLR, max_lr=rate, total_steps=n, cycle_momentum=False), n, rate
    )


def coslog(n, rate=RATE):
    """Return the rates of n steps by the formula of Holzmueller et al. (2024)."""
    return [rate * math.sin(math.pi * math.log2(1 + 15 * i / n)) ** 2 for i in range(n)]


def expected_rates(n_epochs, learning_rate="constant", warmup_fraction=0.0):
    """Return the rate of each step by torch's schedulers and the warm-up's formula."""
    n = n_epochs * N_BATCHES
    factors = warmth(warmup_fraction, n)
    if callable(learning_rate):
        rates = np.repeat(torch_rates(learning_rate, n_epochs), N_BATCHES)
    elif learning_rate == "cosine":
        n_warm = sum(f < 1 for f in factors) + 1 if warmup_fraction else 0
        rates = [RATE] * n_warm + torch_cosine(n - n_warm)
    elif learning_rate == "coslog":
        n_warm = sum(f < 1 for f in factors) + 1 if warmup_fraction else 0
        rates = [RATE] * n_warm + coslog(n - n_warm)
    elif learning_rate == "one_cycle":
        rates = torch_one_cycle(n)
    else:
        rates = [RATE] * n
    return list(np.multiply(rates, factors))


class RecordingSGD(torch.optim.SGD):
    """An SGD optimizer that records the rate of every step."""

    rates: list[float] = []

    def __init__(self, params, lr=0.1, momentum=0.9):
        super().__init__(params, lr=lr, momentum=momentum)
        self.rates.clear()

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


# --- the functions ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5, 6, 7, 10, 11, 33, 100, 1001])
@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [("cosine", torch_cosine), ("one_cycle", torch_one_cycle), ("coslog", coslog)],
)
def test_factor_of_every_step_equals_torchs(schedule, theirs, n_steps):
    factors = [step_factor(step, n_steps, schedule, 0.0) for step in range(n_steps)]
    assert_allclose(factors, theirs(n_steps, rate=1.0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_steps", [1, 2, 10, 40])
@pytest.mark.parametrize("warmup_fraction", [0.01, 0.1, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_is_linear_over_its_share_of_the_steps(schedule, warmup_fraction, n_steps):
    n_warm = max(1, round(warmup_fraction * n_steps))
    factors = [step_factor(i, n_steps, schedule, warmup_fraction) for i in range(n_steps)]
    assert_allclose(factors[:n_warm], np.arange(1, n_warm + 1) / n_warm)
    rest = n_steps - n_warm
    expected = torch_cosine(rest, rate=1.0) if schedule == "cosine" and rest else [1.0] * rest
    assert_allclose(factors[n_warm:], expected, rtol=1e-9, atol=1e-12)


@given(
    schedule=st.sampled_from(["constant", "cosine", "one_cycle"]),
    n_steps=st.integers(1, 400),
    warmup_fraction=st.one_of(st.just(0.0), st.floats(1e-6, 1.0, exclude_max=True)),
)
@example(schedule="cosine", n_steps=1, warmup_fraction=0.1)
@example(schedule="cosine", n_steps=10, warmup_fraction=0.99)
@example(schedule="one_cycle", n_steps=1, warmup_fraction=0.0)
def test_factors_rise_to_one_and_fall_without_jumps(schedule, n_steps, warmup_fraction):
    assume(schedule != "one_cycle" or warmup_fraction == 0.0)
    # Steps beyond the horizon count too, because a step's rate is set after the step before it.
    factors = np.array(
        [step_factor(i, n_steps, schedule, warmup_fraction) for i in range(n_steps + 3)]
    )
    assert ((factors >= 0) & (factors <= 1)).all()
    top = int(factors.argmax())
    assert (np.diff(factors[: top + 1]) >= 0).all()
    assert (np.diff(factors[top:]) <= 0).all()
    assert len(set(factors[n_steps:])) == 1
    # The bound is the steepest slope of half a cosine over the steps of each part.
    n_up = 0.3 * n_steps - 1 if schedule == "one_cycle" else warmup_fraction * n_steps - 0.5
    n_down = 0.7 * n_steps if schedule == "one_cycle" else n_steps - top - 1
    rises, falls = np.diff(factors[: top + 1]), -np.diff(factors[top:n_steps])
    if n_up >= 1:
        assert rises.max(initial=0.0) <= math.pi / 2 / n_up
    if n_down >= 1:
        assert falls.max(initial=0.0) <= math.pi / 2 / n_down


@given(
    n_steps=st.integers(1, 400),
    warmup_fraction=st.one_of(st.just(0.0), st.floats(1e-6, 1.0, exclude_max=True)),
)
def test_factors_of_coslog_are_shares_and_end_at_zero(n_steps, warmup_fraction):
    factors = np.array(
        [step_factor(i, n_steps, "coslog", warmup_fraction) for i in range(n_steps + 3)]
    )
    assert ((factors >= 0) & (factors <= 1)).all()
    assert (factors[n_steps:] == 0).all()


def test_coslog_falls_to_zero_after_waves_each_twice_as_long():
    factors = np.array([step_factor(i, 1500, "coslog", 0.0) for i in range(1501)])
    assert_array_equal(np.flatnonzero(factors < 1e-12), [0, 100, 300, 700, 1500])
    highest = [factors[a:b].max() for a, b in pairwise([0, 100, 300, 700, 1500])]
    assert_allclose(highest, 1.0, atol=1e-3)


# --- through the estimators -------------------------------------------------------------------


def test_every_step_has_the_rate_of_torchs_scheduler(schedule):
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=RecordingSGD, max_iter=5, **schedule).fit(X, y)
    expected = expected_rates(5, **schedule)
    assert_allclose(RecordingSGD.rates, expected, rtol=1e-9, atol=1e-18)
    assert_allclose(model.learning_rate_curve_, expected[::N_BATCHES], rtol=1e-9, atol=1e-18)
    assert len(set(model.learning_rate_curve_)) > 1


@pytest.mark.parametrize("learning_rate", ["cosine", "one_cycle"])
def test_rate_of_the_last_step_is_almost_zero(learning_rate):
    X, y = DATA["multiclass"]
    network("multiclass", solver=RecordingSGD, learning_rate=learning_rate, max_iter=25).fit(X, y)
    assert len(RecordingSGD.rates) == 100
    assert 0 < RecordingSGD.rates[-1] < 3e-4 * RATE
    assert max(RecordingSGD.rates) == pytest.approx(RATE, rel=1e-2)


BY_HAND = {
    "adam": lambda module: torch.optim.Adam(module.parameters(), eps=NO_EPSILON),
    "adamw": torch_adamw(0.5),
    "sgd": of_parameters(VelocitySGD),
    torch.optim.RMSprop: of_parameters(torch.optim.RMSprop),
    NormalizedSGD: of_parameters(NormalizedSGD),
}


@pytest.mark.matrix(8)
@pytest.mark.parametrize("solver", list(BY_HAND), ids=name_of)
def test_scheduled_training_equals_one_by_hand(solver, schedule):
    X, y = DATA["one output"]
    model = network("one output", solver=solver, epsilon=NO_EPSILON, max_iter=4, **schedule)
    by_hand = trained_by_hand(
        model,
        X,
        y,
        BY_HAND[solver],
        rates=expected_rates(4, **schedule),
        alpha=0.0 if solver == "adamw" else None,
    )
    assert_trained_alike(model.fit(X, y), by_hand)
    assert_allclose(model.learning_rate_curve_, expected_rates(4, **schedule)[::N_BATCHES])


@pytest.mark.parametrize("solver", ["adam", "adamw", torch.optim.SGD], ids=name_of)
@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_schedules_of_scikit_learn_act_with_sgd_only(solver, learning_rate):
    X, y = DATA["multiclass"]
    slow = {"tol": 10.0, "n_iter_no_change": 10, "max_iter": 4}
    model = network("multiclass", solver=solver, learning_rate=learning_rate, **slow).fit(X, y)
    assert model.learning_rate_curve_ == [RATE] * 4
    assert_bit_equal(model, network("multiclass", solver=solver, **slow).fit(X, y))
    slow["n_iter_no_change"] = 1
    sgd = network("multiclass", solver="sgd", learning_rate=learning_rate, **slow).fit(X, y)
    assert sgd.learning_rate_curve_[-1] < RATE


def test_a_few_steps_are_all_warm_up():
    # All steps belong to the warm-up, and none is left for the cosine.
    X, y = DATA["multiclass"]
    for max_iter, fraction, expected in [(1, 0.1, [RATE]), (2, 0.99, [RATE / 2, RATE])]:
        model = network(
            "multiclass",
            batch_size=150,
            max_iter=max_iter,
            learning_rate="cosine",
            warmup_fraction=fraction,
        )
        assert_allclose(model.fit(X, y).learning_rate_curve_, expected)


# --- warm-up beside other schedules -----------------------------------------------------------


def invscaling(n_epochs):
    return [RATE / (150 * epoch + 1) ** 0.5 for epoch in range(n_epochs)]


def test_warm_up_multiplies_the_rates_of_invscaling():
    X, y = DATA["one output"]
    model = network(
        "one output", solver="sgd", learning_rate="invscaling", warmup_fraction=0.5, max_iter=4
    )
    rates = np.multiply(np.repeat(invscaling(4), N_BATCHES), warmth(0.5, 16))
    by_hand = trained_by_hand(model, X, y, of_parameters(VelocitySGD), rates=list(rates))
    assert_trained_alike(model.fit(X, y), by_hand)
    assert_allclose(model.learning_rate_curve_, rates[::N_BATCHES])


def test_warm_up_multiplies_the_rates_of_adaptive():
    X, y = DATA["one output"]
    # No epoch is an improvement, so the rate is divided by 5 after epochs 3, 5 and 7.
    never = {"solver": "sgd", "learning_rate": "adaptive", "tol": 100.0, "n_iter_no_change": 1}
    model = network("one output", warmup_fraction=0.5, max_iter=8, **never)
    base = RATE / np.array([1, 1, 1, 5, 5, 25, 25, 125])
    rates = np.repeat(base, N_BATCHES) * warmth(0.5, 32)
    by_hand = trained_by_hand(model, X, y, of_parameters(VelocitySGD), rates=list(rates))
    assert_trained_alike(model.fit(X, y), by_hand)
    assert_allclose(model.learning_rate_curve_, rates[::N_BATCHES])


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", torch.optim.Adam], ids=name_of)
@pytest.mark.parametrize("learning_rate", ["constant", "cosine", SCHEDULERS["StepLR"]], ids=name_of)
def test_warm_up_of_no_step_is_none(solver, learning_rate):
    X, y = DATA["multiclass"]
    models = [
        network("multiclass", solver=solver, learning_rate=learning_rate, **p).fit(X, y)
        for p in ({}, {"warmup_fraction": 0})
    ]
    assert_bit_equal(*models)


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.SGD], ids=name_of)
def test_warm_up_of_one_step_is_none_in_effect(solver):
    # The first step has 1 / 1 of the rate: the schedule is applied, but the result is the same.
    X, y = DATA["multiclass"]
    models = [network("multiclass", solver=solver, warmup_fraction=f).fit(X, y) for f in (0, 1e-9)]
    assert_same_weights(*models)


def test_warm_up_before_one_cycle_is_an_error():
    X, y = DATA["multiclass"]
    model = network("multiclass").fit(X, y)
    before = repr(fitted_state(model))
    model.set_params(learning_rate="one_cycle", warmup_fraction=0.1)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="'warmup_fraction'.*0.1.*one_cycle.*already includes"):
            getattr(model, method)(X, y)
    assert repr(fitted_state(model)) == before


@pytest.mark.matrix(6)
@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.SGD, NormalizedSGD], ids=name_of)
def test_schedules_emit_no_warning_of_torch(solver, schedule):
    # torch would warn about a scheduler that is stepped before its optimizer.
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=solver, **schedule)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", TORCHS_OWN)
        model.fit(X, y)
        clone(model).partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
    messages = {(w.category.__name__, str(w.message)[:40]) for w in caught}
    expected = {("ConvergenceWarning", "Stochastic Optimizer: Maximum iterations")}
    # All epochs of a schedule that has an end were asked for by n_iter_no_change=np.inf.
    assert messages == (set() if schedule.get("learning_rate") in STEP_SCHEDULES else expected)


def test_schedule_that_has_an_end_warns_of_it_if_training_might_have_stopped_before():
    X, y = DATA["multiclass"]
    model = network("multiclass", learning_rate="coslog", n_iter_no_change=10)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        model.fit(X, y)


@pytest.mark.matrix(7)
@pytest.mark.parametrize("solver", CONTINUED, ids=name_of)
def test_partial_fits_follow_the_schedule_of_one_fit(solver, schedule):
    X, y = DATA["one output"]
    model = network("one output", solver=solver, max_iter=5, **schedule)
    whole = clone(model).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", TORCHS_OWN)
        for call in range(5):
            model.partial_fit(X, y)
            if call != 2:
                model = pickle.loads(pickle.dumps(model))
    assert model.learning_rate_curve_ == whole.learning_rate_curve_
    assert_same_weights(model, whole)


@pytest.mark.matrix(8)
@pytest.mark.parametrize("solver", CONTINUED, ids=name_of)
@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("cosine", 0.0),
        ("warm-up, cosine", 0.0),
        ("coslog", 0.0),
        ("one_cycle", RATE / 25 / 1e4),
    ],
)
def test_partial_fit_beyond_the_horizon_warns_and_stays_at_the_end(solver, name, last):
    X, y = DATA["one output"]
    model = network("one output", solver=solver, max_iter=3, **SCHEDULES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", TORCHS_OWN)
        for _ in range(3):
            model.partial_fit(X, y)
    for _ in range(2):
        with pytest.warns(UserWarning, match="more than max_iter=3 times.*Raise max_iter"):
            model.partial_fit(X, y)
    assert model.learning_rate_curve_[3:] == pytest.approx([last, last], abs=1e-18)


def test_horizon_is_a_number_of_calls_whatever_rows_they_have():
    X, y = DATA["one output"]
    model = network("one output", learning_rate="cosine", max_iter=4, batch_size=10)
    for n_rows in (150, 10, 41, 120):
        model.partial_fit(X[:n_rows], y[:n_rows])
    expected = [RATE / 2 * (1 + math.cos(math.pi * call / 4)) for call in range(4)]
    assert_allclose(model.learning_rate_curve_, expected)


@pytest.mark.parametrize("learning_rate", ["cosine", "one_cycle"])
def test_partial_fit_after_fit_begins_a_horizon_of_its_own(learning_rate):
    X, y = DATA["one output"]
    model = network("one output", learning_rate=learning_rate, max_iter=3).fit(X, y)
    for _ in range(3):
        model.partial_fit(X, y)
    curve = model.learning_rate_curve_
    assert curve[:3] == curve[3:]
    assert model.fit(X, y).learning_rate_curve_ == curve[:3]


@pytest.mark.matrix(8)
@pytest.mark.parametrize("solver", CONTINUED[2:], ids=name_of)
def test_warm_start_begins_the_schedule_anew(solver, schedule):
    X, y = DATA["one output"]
    model = network("one output", solver=solver, warm_start=True, **schedule).fit(X, y).fit(X, y)
    curve = model.learning_rate_curve_
    assert curve[:3] == curve[3:]


def break_end_of_epoch(patch):
    """Let Ctrl-C come after the scheduler's step and before the epoch counts as finished."""

    def interrupt(self, net, **arguments):
        raise KeyboardInterrupt

    patch.setattr(sknn._training._stopping.StopOnPlateau, "on_epoch_end", interrupt)


@pytest.mark.matrix(6)
@pytest.mark.parametrize("where", ["step", "end of the epoch"])
@pytest.mark.parametrize("solver", CONTINUED[1:], ids=name_of)
def test_interrupted_partial_fit_takes_no_step_of_the_schedule(
    monkeypatch, solver, schedule, where
):
    X, y = DATA["one output"]
    model, untouched = (
        network("one output", solver=solver, max_iter=5, **schedule) for _ in range(2)
    )
    for _ in range(2):
        model.partial_fit(X, y)
        untouched.partial_fit(X, y)
    with monkeypatch.context() as patch:
        if where == "step":
            break_step(patch, KeyboardInterrupt, at=3)
        else:
            break_end_of_epoch(patch)
        with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
            model.partial_fit(X, y)
    for _ in range(2):
        assert_same_weights(model.partial_fit(X, y), untouched.partial_fit(X, y))
    assert model.learning_rate_curve_ == untouched.learning_rate_curve_


def test_rate_of_zero_leaves_the_weights():
    X, y = DATA["one output"]
    model = network("one output", solver="sgd", momentum=0.0, learning_rate="cosine", max_iter=2)
    model.partial_fit(X, y).partial_fit(X, y)
    before = [coef.copy() for coef in model.coefs_]
    with pytest.warns(UserWarning, match="more than max_iter=2"):
        model.partial_fit(X, y)
    for actual, expected in zip(model.coefs_, before, strict=True):
        assert_array_equal(actual, expected)
