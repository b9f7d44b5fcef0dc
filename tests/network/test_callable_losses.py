"""A loss may be a function of the user."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from added_losses import CLASSIFICATION, SMALL, assert_same_weights, network
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.metrics import (
    log_loss,
)
from sklearn.model_selection import GridSearchCV
from torch.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def pinball(raw, y, levels):
    q = torch.tensor(levels, dtype=raw.dtype)
    return torch.maximum(q * (y - raw), (q - 1) * (y - raw)).sum(1)


def focal_of_labels(raw, y, gamma):
    p = torch.sigmoid(raw)
    p_true = torch.where(y == 1, p, 1 - p)
    return -((1 - p_true) ** gamma * p_true.log()).sum(1)


def focal_of_classes(raw, y, gamma):
    p = torch.softmax(raw, 1)
    return -(y * (1 - p) ** gamma * p.log()).sum(1)


def soft_cross_entropy(raw, y):
    return -(y * torch.log_softmax(raw, 1)).sum(1)


def binary_cross_entropy(raw, y):
    return F.binary_cross_entropy_with_logits(raw, y, reduction="none").sum(1)


SAME_FORMULA = {
    "squares": ("one output", {}, lambda raw, y: (raw - y).square().sum(1) / 2),
    # The gradient is that of the sum over the outputs. Only the reported loss is their mean.
    "squares, two": ("two outputs", {}, lambda raw, y: (raw - y).square().sum(1) / 2),
    "distances": ("two outputs", {"loss": "absolute_error"}, lambda raw, y: (raw - y).abs().sum(1)),
    "huber": (
        "two outputs",
        {"loss": "huber", "huber_delta": 0.5},
        lambda raw, y: F.huber_loss(raw, y, reduction="none", delta=0.5).sum(1),
    ),
    "level": (
        "one output",
        {"loss": "quantile", "quantile": 0.3},
        partial(pinball, levels=[0.3]),
    ),
    "log_loss, two": ("binary", {}, binary_cross_entropy),
    "log_loss": ("multiclass", {}, soft_cross_entropy),
    "log_loss, labels": ("multilabel", {}, binary_cross_entropy),
    "smoothed, two": ("binary", {"label_smoothing": 0.2}, binary_cross_entropy),
    "smoothed": ("multiclass", {"label_smoothing": 0.2}, soft_cross_entropy),
    "smoothed, labels": ("multilabel", {"label_smoothing": 0.2}, binary_cross_entropy),
    "focal, two": (
        "binary",
        {"loss": "focal", "focal_gamma": 1.5},
        partial(focal_of_labels, gamma=1.5),
    ),
    "focal": (
        "multiclass",
        {"loss": "focal", "focal_gamma": 1.5},
        partial(focal_of_classes, gamma=1.5),
    ),
    "focal, labels": (
        "multilabel",
        {"loss": "focal", "focal_gamma": 1.5},
        partial(focal_of_labels, gamma=1.5),
    ),
    "smoothed focal": (
        "multiclass",
        {"loss": "focal", "focal_gamma": 1.5, "label_smoothing": 0.2},
        partial(focal_of_classes, gamma=1.5),
    ),
}


@pytest.mark.matrix(9)
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("name", list(SAME_FORMULA))
def test_callable_of_the_formula_of_a_loss_equals_it(name, solver, weighted):
    target, parameters, function = SAME_FORMULA[name]
    X, y = TARGETS[target]
    X, y = X[:150], y[:150]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else None
    parameters = {"solver": solver, "alpha": 0.1, **parameters}
    built_in = network(target, **parameters).fit(X, y, weight)
    own = network(target, **{**parameters, "loss": function}).fit(X, y, weight)
    assert_same_weights(own, built_in, atol=1e-10)
    assert own.out_activation_ == built_in.out_activation_
    assert_allclose(own.predict(X), built_in.predict(X), rtol=1e-9)
    if name != "squares, two":
        assert own.loss_ == pytest.approx(built_in.loss_, rel=1e-10)


@pytest.mark.parametrize("target", [*CLASSIFICATION, "one output", "two outputs"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_callable_is_given_raw_outputs_and_targets_of_one_shape(target, smoothing):
    X, y = TARGETS[target]
    seen = []

    def loss(raw, targets):
        seen.append((raw.detach().clone(), targets.clone()))
        return (raw - targets).square().sum(1)

    options = {"label_smoothing": smoothing} if target in CLASSIFICATION else {}
    model = network(target, loss=loss, max_iter=1, shuffle=False, **options).fit(X, y)
    raw, targets = seen[0]
    n_rows = SMALL["batch_size"]
    expected = y[:n_rows].reshape(n_rows, -1)
    if target == "multiclass":
        expected = np.eye(3)[y[:n_rows]]
    if target in CLASSIFICATION:
        n_classes = 3 if target == "multiclass" else 2
        expected = expected * (1 - smoothing) + smoothing / n_classes
    assert raw.shape == targets.shape == (n_rows, model.n_outputs_)
    assert raw.dtype == targets.dtype == torch.float64
    assert_allclose(targets, expected, rtol=1e-12)


def test_callable_sees_labels_as_they_are_on_validation_rows():
    X, y = TARGETS["multiclass"]

    def loss(raw, targets):
        seen.append(targets.unique().tolist())
        return soft_cross_entropy(raw, targets)

    seen = []
    model = network("multiclass", loss=loss, label_smoothing=0.3, max_iter=1, batch_size=150)
    model.fit(X, y, X_val=X[::2], y_val=y[::2])
    assert_allclose(seen[0], [0.1, 0.8])
    assert seen[1] == [0.0, 1.0]
    expected = log_loss(y[::2], model.predict_proba(X[::2]))
    assert model.validation_loss_curve_ == pytest.approx([expected], rel=1e-10)


@pytest.mark.matrix
@pytest.mark.parametrize("target", [*CLASSIFICATION, "one output"])
@pytest.mark.parametrize("variant", [{"normalization": "batch"}, {"dropout": 0.3}], ids=str)
def test_callable_goes_with_what_else_autograd_does(target, variant):
    X, y = TARGETS[target]
    function = {
        "binary": binary_cross_entropy,
        "multiclass": soft_cross_entropy,
        "multilabel": binary_cross_entropy,
        "one output": lambda raw, y: (raw - y).square().sum(1) / 2,
    }[target]
    built_in, own = (
        network(target, **variant, **loss).fit(X, y) for loss in ({}, {"loss": function})
    )
    assert_same_weights(own, built_in, atol=1e-8)


def test_callable_survives_clone_grid_search_and_pickle():
    X, y = TARGETS["one output"]
    # A function of a module that can be imported, as pickle asks for.
    search = GridSearchCV(
        network("one output"), {"loss": ["squared_error", half_squares]}, cv=2, error_score="raise"
    ).fit(X, y)
    assert_allclose(*search.cv_results_["mean_test_score"], rtol=1e-8)
    model = network("one output", loss=half_squares, warm_start=True).fit(X, y)
    assert clone(model).loss is half_squares
    assert_bit_equal(pickle.loads(pickle.dumps(model)).fit(X, y), model.fit(X, y))


def half_squares(raw, y):
    return (raw - y).square().sum(1) / 2
