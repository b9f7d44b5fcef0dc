"""`regularization_schedule="flat_cos"` lets dropout and decay fall to zero in the second half."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_allclose
from training_by_hand import (
    DATA,
    NO_EPSILON,
    RATE,
    assert_trained_alike,
    linear_layers,
    network,
    trained_by_hand,
)

from sknn._network._dropout import Masks
from sknn._network._steps import ClosedFormStep

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_STEPS = 5 * 4  # five epochs of four batches
SCHEDULED = {"regularization_schedule": "flat_cos", "max_iter": 5}


def strengths(n_steps=N_STEPS):
    """Return the strength in each step, by the formula of Holzmueller et al. (2024)."""
    t = np.arange(n_steps) / n_steps
    return np.where(t < 0.5, 1.0, 0.5 * (1 + np.cos(math.pi * (2 * t - 1))))


@pytest.fixture
def seen(monkeypatch):
    """Return a list of the strengths of dropout in the steps that are made."""
    found = []
    call = ClosedFormStep.__call__

    def watched(self, *arguments):
        found.append(self.masks.strength)
        return call(self, *arguments)

    monkeypatch.setattr(ClosedFormStep, "__call__", watched)
    return found


@pytest.mark.matrix
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("learning_rate", ["constant", "coslog"])
@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.SGD])
def test_strength_of_dropout_in_each_step(solver, learning_rate, n_members, seen):
    network(
        "multiclass",
        solver=solver,
        learning_rate=learning_rate,
        n_members=n_members,
        dropout=0.3,
        **SCHEDULED,
    ).fit(*DATA["multiclass"])
    assert_allclose(seen, strengths(), atol=1e-15)


def test_strength_of_dropout_in_calls_of_partial_fit(seen):
    X, y = DATA["one output"]
    model = network("one output", dropout=0.3, **SCHEDULED)
    for _ in range(5):
        model.partial_fit(X, y)
    assert_allclose(seen, strengths(), atol=1e-15)


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("n_members", [1, 3])
def test_rate_of_the_factors_is_the_strength_times_the_rate(n_members, dtype):
    masks = Masks(np.random.SeedSequence(0), torch.device("cpu"), n_members)
    factors = torch.empty(3 * 20000, dtype=dtype).view(3, -1)
    fill = masks.filler(factors, 0.4)
    for strength in (1.0, 0.5, 0.0):
        masks.strength = strength
        fill()
        rate = 0.4 * strength
        assert_allclose((factors == 0).double().mean(), rate, atol=0.01)
        kept = factors[factors != 0].double().unique()
        assert_allclose(kept, [1 / (1 - rate)], rtol=1e-4 if dtype != torch.bfloat16 else 1e-2)


@pytest.mark.parametrize(("rate", "raised"), [(0.1, 0.3), (0.4, 0.5), (0.7, 0.7)])
def test_rates_are_raised_to_a_half_at_most(rate, raised):
    masks = Masks(np.random.SeedSequence(0), torch.device("cpu"))
    masks.strength = 3.0
    factors = masks.fill_(torch.empty(20000), rate)
    assert_allclose((factors == 0).double().mean(), raised, atol=0.015)


def test_decay_by_adamw_in_each_step_equals_that_of_torch():
    X, y = DATA["multiclass"]
    alpha = 5.0
    left = iter(strengths())

    class Scheduled(torch.optim.AdamW):
        """AdamW of torch, with another decay in each step."""

        def step(self, closure=None):
            self.param_groups[0]["weight_decay"] = alpha * next(left)
            return super().step(closure)

    def make(module):
        layers = linear_layers(module)
        groups = [
            {"params": [layer.weight for layer in layers]},
            {"params": [layer.bias for layer in layers], "weight_decay": 0.0},
        ]
        return Scheduled(groups, lr=RATE, eps=NO_EPSILON)

    model = network("multiclass", solver="adamw", alpha=alpha, epsilon=NO_EPSILON, **SCHEDULED)
    by_hand = trained_by_hand(model, X, y, make, alpha=0)
    assert next(left, None) is None
    assert_trained_alike(model.fit(X, y), by_hand)
    constant = network("multiclass", solver="adamw", alpha=alpha, epsilon=NO_EPSILON, max_iter=5)
    assert np.abs(constant.fit(X, y).coefs_[0]).sum() < 0.99 * np.abs(model.coefs_[0]).sum()


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.Adam])
def test_nothing_to_schedule_leaves_the_model_as_it_is(solver):
    X, y = DATA["multiclass"]
    models = [
        network("multiclass", solver=solver, max_iter=5, regularization_schedule=schedule).fit(X, y)
        for schedule in (None, "flat_cos")
    ]
    assert_bit_equal(*models)


def test_rates_of_another_schedule_stay_as_they_are():
    X, y = TARGETS["one output"]
    rates = [
        network("one output", learning_rate="cosine", dropout=0.2, regularization_schedule=schedule)
        .fit(X, y)
        .learning_rate_curve_
        for schedule in (None, "flat_cos")
    ]
    assert rates[0] == rates[1]
