"""`validation_loss_curve_` holds the loss that fits of fewer epochs have on the validation rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from sklearn.metrics import (
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
)
from validation import Rising, cross_entropy, data, network, unweighted

import sknn._data._validation_split
import sknn._training._validation

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def focal(model, X, y, weight):
    p = model.predict_proba(X)
    if model.out_activation_ == "logistic" and y.ndim == 2:
        true = np.where(y == 1, p, 1 - p)
    else:
        true = np.take_along_axis(p, y[:, None], 1)
    gamma = model.focal_gamma
    return np.average((-((1 - true) ** gamma) * np.log(true)).sum(1), weights=weight)


def of_predictions(metric, factor=1.0, **options):
    def loss(model, X, y, weight):
        return factor * metric(y, model.predict(X), sample_weight=weight, **options)

    return loss


def pinball_of_levels(model, X, y, weight):
    n_levels = len(model.quantile)
    prediction = model.predict(X).reshape(len(X), -1, n_levels)
    return sum(
        mean_pinball_loss(target, of_target[:, i], sample_weight=weight, alpha=model.quantile[i])
        for target, of_target in zip(
            y.reshape(len(y), -1).T, np.moveaxis(prediction, 1, 0), strict=True
        )
        for i in range(n_levels)
    )


def huber(model, X, y, weight):
    terms = scipy.special.huber(model.huber_delta, y - model.predict(X))
    return np.average(terms, weights=weight)


def user_loss(raw, y):
    return (raw - y).abs().pow(1.5).sum(1)


def of_user_loss(model, X, y, weight):
    terms = np.abs(y - model.predict(X).reshape(y.shape)) ** 1.5
    return np.average(terms.reshape(len(y), -1).sum(1), weights=weight)


LOSSES = {
    "log_loss, two": ("binary", {}, cross_entropy),
    "log_loss": ("multiclass", {}, cross_entropy),
    "log_loss, labels": ("multilabel", {}, cross_entropy),
    "smoothed, two": ("binary", {"label_smoothing": 0.2}, cross_entropy),
    "smoothed": ("multiclass", {"label_smoothing": 0.2}, cross_entropy),
    "smoothed, labels": ("multilabel", {"label_smoothing": 0.2}, cross_entropy),
    "focal, two": ("binary", {"loss": "focal", "focal_gamma": 1.5}, focal),
    "focal": ("multiclass", {"loss": "focal", "label_smoothing": 0.2}, focal),
    "focal, labels": ("multilabel", {"loss": "focal"}, focal),
    "squares": ("one output", {}, of_predictions(mean_squared_error, 0.5)),
    "squares, two": ("two outputs", {}, of_predictions(mean_squared_error, 0.5)),
    "distances": (
        "one output",
        {"loss": "absolute_error"},
        of_predictions(mean_absolute_error),
    ),
    "distances, two": (
        "two outputs",
        {"loss": "absolute_error"},
        of_predictions(mean_absolute_error, 2.0),
    ),
    "huber": ("one output", {"loss": "huber", "huber_delta": 0.3}, huber),
    "level": (
        "one output",
        {"loss": "quantile", "quantile": 0.2},
        of_predictions(mean_pinball_loss, alpha=0.2),
    ),
    "level, two": (
        "two outputs",
        {"loss": "quantile", "quantile": 0.2},
        of_predictions(mean_pinball_loss, 2.0, alpha=0.2),
    ),
    "levels": (
        "one output",
        {"loss": "quantile", "quantile": [0.2, 0.5, 0.6]},
        pinball_of_levels,
    ),
    "levels, two": (
        "two outputs",
        {"loss": "quantile", "quantile": [0.2, 0.5, 0.6]},
        pinball_of_levels,
    ),
    "poisson": ("counts", {"loss": "poisson"}, of_predictions(mean_poisson_deviance, 0.5)),
    "gamma": ("counts", {"loss": "gamma"}, of_predictions(mean_gamma_deviance, 0.5)),
    "user": ("two outputs", {"loss": user_loss}, of_user_loss),
}
# None of these is part of the loss of validation rows.
PENALTIES = {
    "alpha": 30.0,
    "dropout": 0.2,
}


@pytest.mark.matrix(12)
@pytest.mark.parametrize(
    ("weighted", "penalties"), [(False, {}), (True, PENALTIES)], ids=["bare", "weights, penalties"]
)
@pytest.mark.parametrize("name", list(LOSSES))
def test_validation_loss_is_the_metric_of_fits_of_fewer_epochs(name, weighted, penalties):
    target, parameters, metric = LOSSES[name]
    X, y, validation = data(target)
    given = validation if weighted else unweighted(validation)
    parameters = {**parameters, **penalties, "learning_rate_init": 0.005}
    recorded = network(target, max_iter=3, **parameters).fit(X, y, **given)
    for n, loss in enumerate(recorded.validation_loss_curve_, 1):
        model = network(target, max_iter=n, **parameters).fit(X, y)
        weight = given.get("sample_weight_val")
        assert loss == pytest.approx(
            metric(model, given["X_val"], given["y_val"], weight), rel=1e-9
        )
    assert len(recorded.validation_loss_curve_) == 3


@pytest.mark.matrix
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    "name", ["log_loss, two", "smoothed", "focal, labels", "squares", "levels"]
)
def test_validation_loss_of_the_split_is_the_metric_of_its_rows(monkeypatch, name, weighted):
    target, parameters, metric = LOSSES[name]
    X, y, _ = data(target)
    weight = np.random.RandomState(2).uniform(0.1, 3, len(X)) if weighted else None
    held_out = []
    split_rows = sknn._data._validation_split.split_rows

    def remember(*arguments):
        train, valid = split_rows(*arguments)
        held_out.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._validation_split, "split_rows", remember)

    def after(n):
        model = network(
            target, max_iter=n, early_stopping=True, alpha=30.0, scoring=Rising(), **parameters
        )
        return model.fit(X, y, weight)

    curve = after(3).validation_loss_curve_
    for n, loss in enumerate(curve, 1):
        model, rows = after(n), held_out[-1]
        expected = metric(model, X[rows], y[rows], None if weight is None else weight[rows])
        assert loss == pytest.approx(expected, rel=1e-9)
    assert len(curve) == 3


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_nothing_is_recorded_without_validation_data(target):
    X, y, validation = data(target)
    model = network(target, warm_start=True)
    names = ("validation_scores_", "validation_loss_curve_", "best_validation_score_")
    for given in ({}, validation, {}):
        model.fit(X, y, **given)
        for name in names:
            assert (getattr(model, name) is None) == (not given), name
    model.fit(X, y, **validation).partial_fit(X, y)
    assert all(getattr(model, name) is None for name in names)


def test_warm_start_goes_on_with_the_record():
    X, y, validation = data("multiclass")
    model = network("multiclass", warm_start=True, max_iter=2)
    first = list(model.fit(X, y, **validation).validation_scores_)
    model.fit(X, y, **validation)
    assert model.validation_scores_[:2] == first
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == 4
    assert model.best_validation_score_ == max(model.validation_scores_)
