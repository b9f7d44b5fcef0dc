"""L-BFGS refuses the additions that need stochastic training and works with the others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from bad_additions import fail_unfitted_and_fitted, network
from conftest import TARGETS, assert_bit_equal, case
from skorch.callbacks import EpochTimer
from torch import nn
from torch.optim import lr_scheduler

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

STOCHASTIC_ONLY = [
    ("dropout", 0.1),
    ("dropout", [0.1]),
    ("input_dropout", 0.1),
    ("normalization", "batch"),
    ("learning_rate", "cosine"),
    ("learning_rate", "one_cycle"),
    ("learning_rate", "coslog"),
    ("learning_rate", partial(lr_scheduler.StepLR, step_size=10)),
    ("warmup_fraction", 0.1),
    ("max_grad_norm", 1.0),
    ("scoring", "loss"),
    ("scoring", "r2"),
    ("scoring", lambda estimator, X, y: 0.0),
    ("callbacks", [EpochTimer()]),
    ("callbacks", (EpochTimer,)),
    ("n_members", 3),
    ("max_iter", "by_rows"),
    ("regularization_schedule", "flat_cos"),
]


@pytest.mark.matrix(10)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("name", "value"), STOCHASTIC_ONLY, ids=case)
def test_stochastic_addition_with_lbfgs_raises(name, value, early_stopping):
    parameters = {name: value, "early_stopping": early_stopping}
    for target in ("multiclass", "one output"):
        message = fail_unfitted_and_fitted(
            target, {"solver": "lbfgs", **parameters}, match=f"'{name}' parameter is .*lbfgs"
        )
        assert repr(value) in message
        assert "'adam'" in message
        network(target, **parameters).fit(*TARGETS[target])  # Another solver accepts the parameter.


@pytest.mark.matrix
@pytest.mark.parametrize(
    "part", [nn.Dropout, nn.AlphaDropout, nn.RReLU, partial(nn.BatchNorm1d, 8)], ids=case
)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_activation_that_changes_between_evaluations_with_lbfgs_raises(target, part):
    def activation():
        return nn.Sequential(nn.Tanh(), nn.Sequential(part()))

    message = fail_unfitted_and_fitted(
        target,
        {"solver": "lbfgs", "activation": activation, "hidden_layer_sizes": (8,)},
        match="'activation' parameter.*lbfgs",
    )
    assert type(part()).__name__ in message
    network(target, activation=activation, hidden_layer_sizes=(8,)).fit(*TARGETS[target])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_validation_rows_with_lbfgs_raise(target, early_stopping):
    X, y = TARGETS[target]
    message = fail_unfitted_and_fitted(
        target,
        {"solver": "lbfgs", "early_stopping": early_stopping},
        X_val=X,
        y_val=y,
        match="X_val.*lbfgs",
    )
    assert "stochastic" in message


@pytest.mark.parametrize(
    "parameters",
    [
        {"dropout": 0.0},
        {"dropout": [0]},
        {"input_dropout": 0},
        {"warmup_fraction": 0},
        {"callbacks": []},
        {"callbacks": ()},
        {"n_members": 1},
        {"learning_rate": "adaptive"},
        {"learning_rate": "invscaling"},
        {"early_stopping": True},
    ],
    ids=case,
)
def test_addition_that_is_switched_off_does_nothing_to_lbfgs(parameters):
    X, y = TARGETS["multiclass"]
    plain = network("multiclass", solver="lbfgs").fit(X, y)
    assert_bit_equal(network("multiclass", solver="lbfgs", **parameters).fit(X, y), plain)


def test_layer_normalization_works_with_lbfgs():
    X, y = TARGETS["one output"]
    model = network("one output", solver="lbfgs", normalization="layer", alpha=0.5, max_iter=50)
    model.set_params(activation="tanh").fit(X, y)
    state = model.module_state_
    scale, shift = state["normalization0.weight"], state["normalization0.bias"]
    assert np.abs(scale - 1).max() > 0.01  # scales and shifts are learned
    assert np.abs(shift).max() > 0.01
    z = X @ model.coefs_[0] + model.intercepts_[0]
    z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
    raw = np.tanh(z * scale + shift) @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(model.predict(X), raw[:, 0], rtol=1e-9, atol=1e-12)
    penalty = sum((coef**2).sum() for coef in model.coefs_) * 0.5 / len(X)
    loss = (((y - raw[:, 0]) ** 2).mean() + penalty) / 2
    assert model.loss_ == pytest.approx(loss, rel=1e-9)
    first = network("one output", solver="lbfgs", normalization="layer", alpha=0.5, max_iter=1)
    assert model.loss_ < 0.5 * first.set_params(activation="tanh").fit(X, y).loss_
