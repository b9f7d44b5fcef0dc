"""`X_val` and `scoring`: what is watched, recorded and restored, against fits of fewer epochs."""

from __future__ import annotations

import inspect
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import scipy.special
import sklearn
import torch
from conftest import TARGETS, assert_bit_equal, case
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    d2_pinball_score,
    get_scorer,
    log_loss,
    make_scorer,
    max_error,
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
    r2_score,
)
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import sknn._data._batches
import sknn._training._validation
from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSIFICATION = ("binary", "multiclass", "multilabel")
SMALL = {
    "hidden_layer_sizes": (6,),
    "batch_size": 40,
    "learning_rate_init": 0.02,
    "max_iter": 6,
    "random_state": 3,
}


def network(target, **parameters):
    kind = FeedForwardClassifier if target in CLASSIFICATION else FeedForwardRegressor
    return kind(**SMALL | parameters)


def mlp(target, **parameters):
    kind = MLPClassifier if target in CLASSIFICATION else MLPRegressor
    return kind(**SMALL | parameters)


def data(target):
    """Rows to learn from, and others with weights of their own, as arguments of `fit`."""
    X, y = TARGETS[target]
    if target == "counts":
        y = y + 1.0  # gamma needs it
    train, val = np.split(np.random.RandomState(0).permutation(len(X))[:150], [100])
    weight = np.random.RandomState(1).uniform(0.1, 3, len(val))
    return X[train], y[train], {"X_val": X[val], "y_val": y[val], "sample_weight_val": weight}


def unweighted(validation):
    return {name: validation[name] for name in ("X_val", "y_val")}


def best_epoch(scores):
    """The first of the highest, counted from 1."""
    return int(np.argmax(scores)) + 1


def is_over(scores, tol, n_iter_no_change):
    """scikit-learn's rule: whether training stops after these scores."""
    best, n_bad = -np.inf, 0
    for score in scores:
        n_bad = n_bad + 1 if score < best + tol else 0
        best = max(best, score)
    return n_bad > n_iter_no_change


def assert_same_weights(actual, expected):
    for name in ("coefs_", "intercepts_"):
        for left, right in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert_array_equal(left, right)
    assert set(actual.module_state_) == set(expected.module_state_)
    for name, array in expected.module_state_.items():
        assert_array_equal(actual.module_state_[name], array)


@pytest.fixture
def torch_warns_always():
    """Let torch warn each time, not once in a process."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# --- early stopping ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", [*CLASSIFICATION, "one output", "two outputs"])
def test_early_stopping_by_given_rows_equals_scikit_learns_rule_by_hand(target, solver):
    # The whole of it from scikit-learn's MLP alone, which cannot be given validation rows: one fit
    # for each number of epochs, and the rule.
    X, y, validation = data(target)
    X_val, y_val = validation["X_val"], validation["y_val"]
    parameters = {"solver": solver, "tol": 1e-3, "n_iter_no_change": 2}
    ours = network(target, early_stopping=True, max_iter=15, **parameters)
    ours.fit(X, y, **unweighted(validation))
    models, scores = [], []
    while not is_over(scores, 1e-3, 2) and len(models) < 15:
        model = mlp(target, max_iter=len(models) + 1, **parameters | {"n_iter_no_change": 99})
        models.append(model.fit(X, y))
        scores.append(model.score(X_val, y_val))
    assert_allclose(ours.validation_scores_, scores, rtol=1e-6)
    assert_allclose(ours.loss_curve_, models[-1].loss_curve_, rtol=1e-8)
    restored = models[best_epoch(scores) - 1]
    for actual, expected in zip(ours.coefs_, restored.coefs_, strict=True):
        assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)
    assert ours.t_ == len(X) * ours.n_iter_
    assert ours.best_loss_ is None


@pytest.mark.parametrize("target", ["binary", "one output"])
def test_given_rows_need_no_split(target):
    # Too few rows to set any aside, and a class of one row.
    X, y, validation = data(target)
    rows = np.r_[:4]
    if target == "binary":
        rows = np.r_[np.flatnonzero(y == 0)[:1], np.flatnonzero(y == 1)[:3]]
    with pytest.raises(ValueError):
        network(target, early_stopping=True).fit(X[rows], y[rows])
    for fraction in (0.0, 0.1, 0.9):
        model = network(target, early_stopping=True, validation_fraction=fraction, batch_size=2)
        model.fit(X[rows], y[rows], **validation)
        assert model.t_ == 4 * model.n_iter_


@pytest.mark.parametrize("target", ["binary", "one output"])
def test_weight_of_a_row_in_the_split_does_not_matter_with_given_rows(target):
    X, y, validation = data(target)
    weight = np.random.RandomState(5).uniform(0, 2, len(X))
    stopped = network(target, early_stopping=True, max_iter=1).fit(X, y, weight, **validation)
    plain = network(target, max_iter=1).fit(X, y, weight)
    assert_same_weights(stopped, plain)


# --- without early stopping -------------------------------------------------------------------

VARIANTS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive"},
    "adamw": {"solver": "adamw", "learning_rate": "cosine"},
    "dropout": {"dropout": 0.3, "input_dropout": 0.1},
    "layer normalization": {"normalization": "layer"},
    "batch normalization": {"normalization": "batch", "dropout": 0.2},
    "module": {"activation": torch.nn.RReLU},
    "one order": {"shuffle": False},
    "torch": {"solver": torch.optim.RMSprop, "max_grad_norm": 1.0},
}


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "two outputs"])
def test_recording_leaves_the_model_bit_identical(target, variant):
    X, y, validation = data(target)
    plain = network(target, **VARIANTS[variant]).fit(X, y)
    recorded = network(target, **VARIANTS[variant]).fit(X, y, **validation)
    assert_same_weights(recorded, plain)
    for name in ("loss_curve_", "learning_rate_curve_", "best_loss_", "n_iter_", "t_", "loss_"):
        assert getattr(recorded, name) == getattr(plain, name), name
    for model in (recorded, plain):
        model.partial_fit(X, y)  # what the solver remembers is the same too
    assert_same_weights(recorded, plain)


@pytest.mark.parametrize("variant", ["adam", "dropout", "batch normalization", "module"])
@pytest.mark.parametrize("scoring", ["loss", "r2"])
def test_scoring_leaves_the_model_bit_identical(scoring, variant):
    X, y, validation = data("one output")
    plain = network("one output", **VARIANTS[variant]).fit(X, y)
    scored = network("one output", scoring=scoring, **VARIANTS[variant]).fit(X, y, **validation)
    assert_same_weights(scored, plain)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("target", [*CLASSIFICATION, "one output", "two outputs"])
def test_scores_are_those_of_fits_of_fewer_epochs(target, weighted, early_stopping):
    X, y, validation = data(target)
    given = validation if weighted else unweighted(validation)
    recorded = network(target, early_stopping=early_stopping).fit(X, y, **given)
    expected = [
        network(target, max_iter=n)
        .fit(X, y)
        .score(given["X_val"], given["y_val"], given.get("sample_weight_val"))
        for n in range(1, recorded.n_iter_ + 1)
    ]
    assert_allclose(recorded.validation_scores_, expected, rtol=1e-12)
    assert recorded.best_validation_score_ == max(recorded.validation_scores_)
    assert len(recorded.validation_scores_) == recorded.n_iter_ == 6


def test_recorded_scores_do_not_stop_the_training():
    X, y, validation = data("multiclass")
    validation["y_val"] = np.zeros_like(validation["y_val"])  # from the third epoch on, no better
    parameters = {"n_iter_no_change": 1, "max_iter": 20, "learning_rate_init": 0.001}
    recorded = network("multiclass", **parameters).fit(X, y, **validation)
    stopped = network("multiclass", early_stopping=True, **parameters).fit(X, y, **validation)
    assert recorded.n_iter_ == 20 > stopped.n_iter_
    assert recorded.best_loss_ == min(recorded.loss_curve_)


def test_history_and_lines_have_the_validation_scores(capsys):
    X, y, validation = data("multiclass")
    model = network("multiclass", verbose=True).fit(X, y, **validation)
    history = model.net_.history
    assert history[:, "valid_score"] == model.validation_scores_
    assert history[:, "valid_loss"] == model.validation_loss_curve_
    lines = [line for line in capsys.readouterr().out.splitlines() if "score" in line]
    assert lines == [f"Validation score: {score:f}" for score in model.validation_scores_]


# --- validation_loss_curve_ -------------------------------------------------------------------


def focal(model, X, y, weight):
    p = model.predict_proba(X)
    if model.out_activation_ == "logistic" and y.ndim == 2:
        true = np.where(y == 1, p, 1 - p)
    else:
        true = np.take_along_axis(p, y[:, None], 1)
    gamma = model.focal_gamma
    return np.average((-((1 - true) ** gamma) * np.log(true)).sum(1), weights=weight)


def cross_entropy(model, X, y, weight):
    p = model.predict_proba(X)
    if y.ndim == 1:
        return log_loss(y, p, sample_weight=weight)
    return sum(log_loss(y[:, k], p[:, k], sample_weight=weight) for k in range(y.shape[1]))


def of_predictions(metric, factor=1.0, **options):
    def loss(model, X, y, weight):
        return factor * metric(y, model.predict(X), sample_weight=weight, **options)

    return loss


def pinball_of_levels(model, X, y, weight):
    columns = model.predict(X).T
    return sum(
        mean_pinball_loss(y, column, sample_weight=weight, alpha=level)
        for level, column in zip(model.quantile, columns, strict=True)
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
    "poisson": ("counts", {"loss": "poisson"}, of_predictions(mean_poisson_deviance, 0.5)),
    "gamma": ("counts", {"loss": "gamma"}, of_predictions(mean_gamma_deviance, 0.5)),
    "user": ("two outputs", {"loss": user_loss}, of_user_loss),
}
# None of these is part of the loss of validation rows.
PENALTIES = {
    "alpha": 30.0,
    "dropout": 0.2,
}


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


class Rising:
    """A scorer for which the last epoch is the best."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, estimator, X, y):
        self.n_calls += 1
        return self.n_calls


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    "name", ["log_loss, two", "smoothed", "focal, labels", "squares", "levels"]
)
def test_validation_loss_of_the_split_is_the_metric_of_its_rows(monkeypatch, name, weighted):
    target, parameters, metric = LOSSES[name]
    X, y, _ = data(target)
    weight = np.random.RandomState(2).uniform(0.1, 3, len(X)) if weighted else None
    held_out = []
    split_rows = sknn._data._batches.split_rows

    def remember(*arguments):
        train, valid = split_rows(*arguments)
        held_out.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._batches, "split_rows", remember)

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


# --- scoring ----------------------------------------------------------------------------------


def worst_class(estimator, X, y):
    """A user's scorer: the accuracy in the class that is predicted worst."""
    correct = estimator.predict(X) == y
    return min(correct[y == label].mean() for label in np.unique(y))


def negative_loss(model, X, y, weight):
    return -(cross_entropy if hasattr(model, "classes_") else squares)(model, X, y, weight)


def squares(model, X, y, weight):
    return mean_squared_error(y, model.predict(X), sample_weight=weight) / 2


def by_name(name):
    return lambda model, X, y, weight: get_scorer(name)(model, X, y, sample_weight=weight)


SCORINGS = {
    "default": ("multiclass", None, by_name("accuracy")),
    "default, labels": ("multilabel", None, by_name("accuracy")),
    "default, numbers": ("two outputs", None, by_name("r2")),
    "loss": ("multiclass", "loss", negative_loss),
    "loss, labels": ("multilabel", "loss", negative_loss),
    "loss, numbers": ("two outputs", "loss", negative_loss),
    "name": ("multiclass", "balanced_accuracy", by_name("balanced_accuracy")),
    "name of probabilities": ("multiclass", "neg_log_loss", by_name("neg_log_loss")),
    "name, labels": ("multilabel", "f1_macro", by_name("f1_macro")),
    "name, numbers": (
        "two outputs",
        "neg_mean_absolute_error",
        by_name("neg_mean_absolute_error"),
    ),
    "callable": ("multiclass", worst_class, lambda model, X, y, weight: worst_class(model, X, y)),
    "made scorer": (
        "one output",
        make_scorer(mean_absolute_error, greater_is_better=False),
        by_name("neg_mean_absolute_error"),
    ),
}
# Validation targets that are the contrary of those learned from: the best epoch is an early one.
CONTRARY = {
    "multiclass": lambda y: (y + 1) % 3,
    "multilabel": lambda y: 1 - y,
    "one output": lambda y: -y,
    "two outputs": lambda y: -y,
}
STOPPING = {"batch_size": 10, "tol": 1e-4, "n_iter_no_change": 3, "max_iter": 30}


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", list(SCORINGS))
def test_scoring_is_watched_and_its_best_epoch_restored(name, weighted):
    target, scoring, metric = SCORINGS[name]
    X, y, validation = data(target)
    validation["y_val"] = CONTRARY[target](validation["y_val"])
    given = validation if weighted else unweighted(validation)
    weight = given.get("sample_weight_val")
    model = network(target, scoring=scoring, early_stopping=True, **STOPPING)
    model.fit(X, y, **given)
    replays = [
        network(target, **STOPPING | {"max_iter": n, "n_iter_no_change": np.inf}).fit(X, y)
        for n in range(1, model.n_iter_ + 1)
    ]
    scores = [metric(replay, given["X_val"], given["y_val"], weight) for replay in replays]
    assert_allclose(model.validation_scores_, scores, rtol=1e-9)
    best = best_epoch(scores)
    assert best < model.n_iter_  # else nothing would have to be restored
    assert model.n_iter_ == next(n for n in range(30) if is_over(scores[:n], 1e-4, 3))
    assert_same_weights(model, replays[best - 1])
    assert model.best_validation_score_ == max(model.validation_scores_)
    restored = metric(model, given["X_val"], given["y_val"], weight)
    assert model.best_validation_score_ == pytest.approx(restored, rel=1e-12)


@pytest.mark.parametrize("variant", ["batch normalization", "dropout", "module"])
@pytest.mark.parametrize("scoring", [None, "loss", "neg_log_loss"])
def test_best_epoch_is_restored_with_all_of_its_state(scoring, variant):
    X, y, validation = data("multiclass")
    validation["y_val"] = CONTRARY["multiclass"](validation["y_val"])
    parameters = {"scoring": scoring, **STOPPING, **VARIANTS[variant]}
    model = network("multiclass", early_stopping=True, **parameters).fit(X, y, **validation)
    best = best_epoch(model.validation_scores_)
    assert best < model.n_iter_
    parameters |= {"max_iter": best, "n_iter_no_change": np.inf}
    replay = network("multiclass", **parameters).fit(X, y, **validation)
    assert_same_weights(model, replay)
    assert replay.validation_scores_[-1] == model.best_validation_score_
    # What is recorded in training is what the restored network predicts, to the last digits.
    loss = cross_entropy(model, *validation.values())
    assert model.validation_loss_curve_[best - 1] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("name", ["loss", "name", "callable", "name, numbers"])
def test_scoring_is_watched_on_the_rows_of_the_split_too(monkeypatch, name):
    target, scoring, metric = SCORINGS[name]
    X, y, _ = data(target)
    weight = np.random.RandomState(2).uniform(0.1, 3, len(X))
    held_out = []
    split_rows = sknn._data._batches.split_rows

    def remember(*arguments):
        train, valid = split_rows(*arguments)
        held_out.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._batches, "split_rows", remember)
    parameters = {"early_stopping": True, "validation_fraction": 0.3}
    model = network(target, scoring=scoring, **parameters, **STOPPING).fit(X, y, weight)
    rows = held_out[-1]
    restored = metric(model, X[rows], y[rows], weight[rows])
    assert model.best_validation_score_ == pytest.approx(restored, rel=1e-12)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_loss_as_scoring_stores_the_negative_validation_loss(early_stopping):
    X, y, validation = data("multiclass")
    model = network(
        "multiclass", scoring="loss", early_stopping=early_stopping, label_smoothing=0.1
    )
    model.fit(X, y, **validation)
    assert_array_equal(model.validation_scores_, -np.array(model.validation_loss_curve_))
    assert model.best_validation_score_ == -min(model.validation_loss_curve_)


def test_default_score_of_quantiles_is_the_d2_pinball_score():
    X, y, validation = data("one output")
    levels = [0.2, 0.7]
    model = network("one output", loss="quantile", quantile=levels, max_iter=1)
    model.fit(X, y, **validation)
    expected = np.mean(
        [
            d2_pinball_score(
                validation["y_val"],
                column,
                alpha=level,
                sample_weight=validation["sample_weight_val"],
            )
            for level, column in zip(levels, model.predict(validation["X_val"]).T, strict=True)
        ]
    )
    assert model.validation_scores_ == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("given_rows", [False, True], ids=["split", "given rows"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_scorer_sees_the_users_own_labels_and_the_weights(weighted, given_rows):
    X, y, validation = data("multiclass")
    names = np.array(["ash", "birch", "cedar"])
    weight = np.random.RandomState(2).uniform(0.1, 3, len(X)) if weighted else None
    seen = []

    def scorer(estimator, X, y, **more):
        seen.append((X, y, more, estimator.predict(X)))
        assert_array_equal(estimator.classes_, names)
        return float((estimator.predict(X) == y).mean())

    given = {}
    if given_rows:
        given = validation if weighted else unweighted(validation)
        given = {**given, "y_val": names[given["y_val"]]}
    model = network("multiclass", scoring=scorer, early_stopping=True, max_iter=2)
    model.fit(X, names[y], weight, **given)
    assert len(seen) == model.n_iter_ == 2
    rows = (
        {tuple(x): (label, w) for x, label, w in zip(X, y, weight, strict=True)} if weighted else {}
    )
    for X_seen, y_seen, more, predicted in seen:
        assert set(y_seen) <= set(names) and set(predicted) <= set(names)
        assert set(more) == ({"sample_weight"} if weighted else set())
        if given_rows:
            assert_array_equal(X_seen, validation["X_val"])
            assert_array_equal(y_seen, given["y_val"])
        if weighted and given_rows:
            assert_array_equal(more["sample_weight"], validation["sample_weight_val"])
        elif weighted:
            expected = [rows[tuple(x)] for x in X_seen]
            assert_array_equal(more["sample_weight"], [w for _, w in expected])


def test_scorer_sees_targets_in_their_own_shape():
    shapes = []

    def scorer(estimator, X, y):
        shapes.append((y.shape, estimator.predict(X).shape))
        return 0.0

    for target, shape in (
        ("one output", (50,)),
        ("two outputs", (50, 2)),
        ("multilabel", (50, 4)),
    ):
        X, y, validation = data(target)
        network(target, scoring=scorer, max_iter=1).fit(X, y, **validation)
        assert shapes.pop() == (shape, shape)


def test_estimator_of_the_scorer_is_the_network_of_that_epoch():
    X, y, validation = data("multiclass")
    seen = []

    def scorer(estimator, X, y):
        seen.append((estimator.predict_proba(X), estimator.n_iter_))
        return 0.0

    model = network("multiclass", scoring=scorer, max_iter=3).fit(X, y, **validation)
    for n, (proba, n_iter) in enumerate(seen, 1):
        replay = network("multiclass", max_iter=n).fit(X, y)
        assert_allclose(proba, replay.predict_proba(validation["X_val"]), rtol=1e-12)
        assert n_iter == n
    assert_array_equal(seen[-1][0], model.predict_proba(validation["X_val"]))


@pytest.mark.parametrize(
    "scoring",
    [
        "neg_max_error",
        make_scorer(max_error, greater_is_better=False),
        lambda estimator, X, y: -max_error(y, estimator.predict(X)),
    ],
    ids=["name", "made scorer", "callable"],
)
def test_scorer_of_a_metric_that_takes_no_weights_works_with_weights(scoring):
    X, y, validation = data("one output")
    model = network("one output", scoring=scoring, max_iter=1).fit(X, y, **validation)
    expected = -max_error(validation["y_val"], model.predict(validation["X_val"]))
    assert model.validation_scores_ == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize(
    "number", [np.float32(0.5), np.array(0.5), torch.tensor(0.5), 1, True], ids=repr
)
def test_score_of_any_type_of_number_is_taken_as_scikit_learn_takes_it(number):
    # `cross_val_score` unpacks what has an `item()` too.
    X, y, validation = data("one output")
    model = network("one output", scoring=lambda estimator, X, y: number, max_iter=1)
    model.fit(X, y, **validation)
    assert model.validation_scores_ == [float(number)]
    assert type(model.validation_scores_[0]) is float


NO_SCORES = {
    "several": lambda estimator, X, y: {"accuracy": 1.0, "f1": 1.0},
    "word": lambda estimator, X, y: "good",
    "nothing": lambda estimator, X, y: None,
    "array": lambda estimator, X, y: np.ones(len(y)),
    "complex": lambda estimator, X, y: 1j,
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", list(NO_SCORES))
def test_score_that_is_not_one_number_raises(kind, early_stopping):
    X, y, validation = data("multiclass")
    model = network("multiclass").fit(X, y)
    before = pickle.dumps(model)
    model.set_params(scoring=NO_SCORES[kind], early_stopping=early_stopping)
    with pytest.raises(ValueError, match="(?s)'scoring' parameter.*one number"):
        model.fit(X, y, **validation)
    model.set_params(scoring=None, early_stopping=False)
    assert pickle.dumps(model) == before


def test_score_of_nan_raises_where_it_is_watched():
    # Precision without a prediction of the class, an AUC of one class, and the like.
    X, y, validation = data("multiclass")
    scoring = {"scoring": lambda estimator, X, y: np.nan}
    model = network("multiclass", early_stopping=True, **scoring)
    with pytest.raises(ValueError, match="'scoring' parameter gave nan"):
        model.fit(X, y, **validation)
    recorded = network("multiclass", max_iter=2, **scoring).fit(X, y, **validation)
    assert np.isnan(recorded.validation_scores_).all()
    assert_same_weights(recorded, network("multiclass", max_iter=2).fit(X, y))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    "scoring", [["accuracy", "f1"], ("accuracy",), {"a": "accuracy"}, "exactness", 3], ids=case
)
def test_scoring_that_is_no_single_scorer_is_an_invalid_parameter(scoring, early_stopping):
    X, y, validation = data("multiclass")
    model = network("multiclass", scoring=scoring, early_stopping=early_stopping)
    with pytest.raises(ValueError, match="'scoring' parameter of FeedForwardClassifier"):
        model.fit(X, y, **validation)


def test_metric_in_the_place_of_a_scorer_raises():
    X, y, validation = data("multiclass")
    with pytest.raises(ValueError, match="scoring.*make_scorer"):
        network("multiclass", scoring=balanced_accuracy_score).fit(X, y, **validation)


def test_score_undefined_for_one_row_is_no_divergence():
    # R2 needs two rows. The loss of one row is well defined.
    X, y, validation = data("one output")
    one = {"X_val": validation["X_val"][:1], "y_val": validation["y_val"][:1]}
    with warnings.catch_warnings(record=True) as caught, pytest.raises(ValueError, match="X_val"):
        warnings.simplefilter("always")
        network("one output", early_stopping=True).fit(X, y, **one)
    assert not [w for w in caught if "diverged" in str(w.message)]
    model = network("one output", early_stopping=True, scoring="loss", max_iter=3).fit(X, y, **one)
    assert np.isfinite(model.validation_scores_).all()


# --- what data may be -------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("scoring", [None, "loss", "balanced_accuracy", worst_class], ids=case)
def test_frames_with_names_give_no_warning(scoring, early_stopping):
    X, y, validation = data("multiclass")
    names = [f"x{i}" for i in range(X.shape[1])]
    frames = {
        "X_val": pd.DataFrame(validation["X_val"], columns=names),
        "y_val": pd.Series(validation["y_val"], index=np.arange(len(validation["y_val"]))[::-1]),
        "sample_weight_val": pd.Series(validation["sample_weight_val"]),
    }
    model = network("multiclass", scoring=scoring, early_stopping=early_stopping)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        framed = model.fit(pd.DataFrame(X, columns=names), pd.Series(y), **frames)
    assert list(framed.feature_names_in_) == names
    plain = network("multiclass", scoring=scoring, early_stopping=early_stopping)
    plain.fit(X, y, **validation)
    assert_same_weights(framed, plain)
    assert framed.validation_scores_ == plain.validation_scores_
    assert framed.validation_loss_curve_ == plain.validation_loss_curve_


def test_frame_with_columns_of_other_names_raises():
    X, y, validation = data("multiclass")
    names = [f"x{i}" for i in range(X.shape[1])]
    frame = pd.DataFrame(validation["X_val"], columns=names[::-1])
    with pytest.raises(ValueError, match="(?s)X_val.*feature names"):
        network("multiclass").fit(
            pd.DataFrame(X, columns=names), y, X_val=frame, y_val=validation["y_val"]
        )


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("scoring", [None, "loss", "accuracy"])
@pytest.mark.parametrize("form", ["csr_array", "csc_matrix"])
@pytest.mark.parametrize("sparse_rows", [False, True], ids=["dense X", "sparse X"])
def test_sparse_validation_rows_equal_dense_ones(sparse_rows, form, scoring, early_stopping):
    X, y, validation = data("multilabel")
    if sparse_rows:
        X = scipy.sparse.csr_matrix(X)
    results = []
    for make in (np.asarray, getattr(scipy.sparse, form)):
        model = network("multilabel", scoring=scoring, early_stopping=early_stopping, max_iter=3)
        results.append(model.fit(X, y, **{**validation, "X_val": make(validation["X_val"])}))
    dense, sparse = results
    assert_same_weights(sparse, dense)
    assert_allclose(sparse.validation_scores_, dense.validation_scores_, rtol=1e-12)
    assert_allclose(sparse.validation_loss_curve_, dense.validation_loss_curve_, rtol=1e-12)


FORMS = {
    "lists": lambda array: array.tolist(),
    "Fortran order": np.asfortranarray,
    "read only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "big endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "objects": lambda array: array.astype(object),
}


@pytest.mark.parametrize("scoring", [None, "loss", "max_error_of_mine"])
@pytest.mark.parametrize(
    ("target", "form"),
    [
        (target, form)
        for target in ("binary", "one output", "two outputs")
        for form in FORMS
        if (target, form) != ("binary", "objects")  # numbers as objects are no labels for sklearn
    ],
)
def test_form_of_the_validation_data_does_not_matter(target, form, scoring, torch_warns_always):
    if scoring == "max_error_of_mine":

        def scoring(estimator, X, y):
            return -np.abs(y - estimator.predict(X)).max()

    X, y, validation = data(target)
    plain = network(target, scoring=scoring, max_iter=2).fit(X, y, **validation)
    given = {name: FORMS[form](array) for name, array in validation.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        formed = network(target, scoring=scoring, max_iter=2).fit(X, FORMS[form](y), **given)
    assert_bit_equal(formed, plain)


def test_labels_of_validation_rows_may_be_sparse_or_lack_a_class():
    X, y, validation = data("multilabel")
    plain = network("multilabel").fit(X, y, **validation)
    sparse = {**validation, "y_val": scipy.sparse.csr_matrix(validation["y_val"])}
    assert_bit_equal(network("multilabel").fit(X, y, **sparse), plain)
    for target in ("binary", "multiclass"):
        X, y, validation = data(target)
        rows = validation["y_val"] == 1
        given = {name: array[rows] for name, array in validation.items()}
        model = network(target, max_iter=1).fit(X, y, **given)
        assert model.validation_scores_ == pytest.approx([model.score(*given.values())], rel=1e-12)


@pytest.mark.parametrize("names", [("no", "yes"), ("ash", "birch")])
def test_labels_of_validation_rows_may_be_strings(names):
    X, y, validation = data("binary")
    names = np.array(names)
    plain = network("binary", early_stopping=True).fit(X, y, **validation)
    given = {**validation, "y_val": names[validation["y_val"]].astype(object)}
    named = network("binary", early_stopping=True).fit(X, names[y], **given)
    assert_same_weights(named, plain)
    assert named.validation_scores_ == plain.validation_scores_


def test_column_of_validation_targets_is_taken_as_a_vector_with_the_warning_of_y():
    X, y, validation = data("one output")
    plain = network("one output").fit(X, y, **validation)
    with pytest.warns(match="column-vector y was passed"):
        column = network("one output").fit(
            X, y, **{**validation, "y_val": validation["y_val"][:, None]}
        )
    assert_bit_equal(column, plain)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_one_number_as_sample_weight_val_equals_no_weights(early_stopping):
    X, y, validation = data("multiclass")
    plain = network("multiclass", early_stopping=early_stopping).fit(X, y, **unweighted(validation))
    one = network("multiclass", early_stopping=early_stopping)
    one.fit(X, y, **{**validation, "sample_weight_val": 2.0})
    assert_same_weights(one, plain)
    assert_allclose(one.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_whole_weights_of_validation_rows_equal_repeated_rows(target):
    X, y, validation = data(target)
    times = np.random.RandomState(0).randint(0, 4, len(validation["X_val"]))
    weighted = network(target).fit(X, y, **{**validation, "sample_weight_val": times})
    repeated = {k: np.repeat(v, times, axis=0) for k, v in unweighted(validation).items()}
    copied = network(target).fit(X, y, **repeated)
    assert_allclose(weighted.validation_scores_, copied.validation_scores_, rtol=1e-10)
    assert_allclose(weighted.validation_loss_curve_, copied.validation_loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_validation_rows_of_another_float_are_computed_with_in_the_models(target):
    X, y, validation = data(target)
    X = X.astype(np.float32)
    given = {**validation, "X_val": validation["X_val"].astype(np.float32)}
    single = network(target).fit(X, y, **given)
    double = network(target).fit(X, y, **validation)
    assert double.coefs_[0].dtype == np.float32
    assert_bit_equal(double, single)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_arrays_of_the_user_are_left_as_they_were(target):
    X, y, validation = data(target)
    copies = {name: array.copy() for name, array in validation.items()}
    network(target, early_stopping=True, scoring="loss").fit(X, y, **validation)
    for name, array in validation.items():
        assert_array_equal(array, copies[name])


def test_model_holds_no_validation_data():
    X, y, validation = data("one output")
    many = {name: np.repeat(array, 50, axis=0) for name, array in validation.items()}
    for parameters in ({}, {"early_stopping": True}, {"scoring": "r2"}):
        few, model = (
            pickle.dumps(network("one output", **parameters).fit(X, y, **given))
            for given in (validation, many)
        )
        assert len(model) == len(few)


# --- inside scikit-learn ----------------------------------------------------------------------


def test_only_fit_takes_validation_data():
    names = ["X_val", "y_val", "sample_weight_val"]
    for kind in (FeedForwardClassifier, FeedForwardRegressor):
        parameters = inspect.signature(kind.fit).parameters
        assert [
            p for p in parameters if parameters[p].kind is inspect.Parameter.KEYWORD_ONLY
        ] == names
        assert not set(names) & set(inspect.signature(kind.partial_fit).parameters)
    X, y, validation = data("multiclass")
    with pytest.raises(TypeError, match="X_val"):
        network("multiclass").partial_fit(X, y, classes=[0, 1, 2], **unweighted(validation))
    with pytest.raises(TypeError, match="positional"):
        network("multiclass").fit(X, y, None, X, y)


def scaled_pipeline(target, **parameters):
    net = network(target, **parameters)
    net.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
    return Pipeline([("scale", StandardScaler()), ("net", net)], transform_input=["X_val"])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "one output"])
def test_pipeline_sends_validation_rows_through_its_steps(routing, target, early_stopping):
    X, y, validation = data(target)
    piped = scaled_pipeline(target, early_stopping=early_stopping).fit(X, y, **validation)
    scaler = StandardScaler().fit(X)
    given = {**validation, "X_val": scaler.transform(validation["X_val"])}
    alone = network(target, early_stopping=early_stopping).fit(scaler.transform(X), y, **given)
    assert piped[-1].validation_scores_ == alone.validation_scores_
    assert piped[-1].validation_loss_curve_ == alone.validation_loss_curve_
    assert_same_weights(piped[-1], alone)


def test_pipeline_without_transform_input_hands_rows_on_as_they_are(routing):
    X, y, validation = data("multiclass")
    piped = scaled_pipeline("multiclass").set_params(transform_input=None)
    piped.fit(X, y, **validation)
    alone = network("multiclass").fit(StandardScaler().fit_transform(X), y, **validation)
    assert piped[-1].validation_scores_ == alone.validation_scores_


def test_searches_route_validation_data_to_each_fit(routing):
    X, y, validation = data("multiclass")
    model = scaled_pipeline("multiclass", early_stopping=True)
    search = GridSearchCV(model, {"net__alpha": [0.1, 10.0]}, cv=2, error_score="raise")
    search.fit(X, y, **validation)
    scaler = StandardScaler().fit(X)
    alone = network("multiclass", early_stopping=True, alpha=search.best_params_["net__alpha"])
    alone.fit(
        scaler.transform(X), y, **{**validation, "X_val": scaler.transform(validation["X_val"])}
    )
    assert_same_weights(search.best_estimator_[-1], alone)
    result = cross_validate(
        model, X, y, cv=3, params=validation, return_estimator=True, error_score="raise"
    )
    for fitted in result["estimator"]:
        X_val, y_val, weight = validation.values()
        assert fitted.score(X_val, y_val) == pytest.approx(
            accuracy_score(y_val, fitted.predict(X_val)), rel=1e-12
        )
        assert fitted[-1].best_validation_score_ == pytest.approx(
            accuracy_score(y_val, fitted.predict(X_val), sample_weight=weight), rel=1e-12
        )


def test_grid_search_hands_validation_data_on_without_routing():
    X, y, validation = data("one output")
    search = GridSearchCV(network("one output"), {"alpha": [0.1]}, cv=2, error_score="raise")
    search.fit(X, y, **unweighted(validation))
    alone = network("one output", alpha=0.1).fit(X, y, **unweighted(validation))
    assert_bit_equal(search.best_estimator_, alone)
    score = r2_score(validation["y_val"], alone.predict(validation["X_val"]))
    assert alone.validation_scores_[-1] == pytest.approx(score, rel=1e-12)


def test_validation_data_that_nobody_asked_for_raise_under_routing(routing):
    X, y, validation = data("multiclass")
    pipeline = Pipeline([("net", network("multiclass"))])
    with pytest.raises(ValueError, match="X_val"):
        pipeline.fit(X, y, **validation)


def test_scorer_with_weights_works_under_routing(routing):
    X, y, validation = data("multiclass")
    model = network("multiclass", scoring="balanced_accuracy", max_iter=1)
    model.fit(X, y, **validation)
    X_val, y_val, weight = validation.values()
    expected = balanced_accuracy_score(y_val, model.predict(X_val), sample_weight=weight)
    assert model.validation_scores_ == pytest.approx([expected], rel=1e-12)


# --- Ctrl-C -----------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("scoring", [None, "loss", "neg_log_loss"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_interrupt_while_given_rows_are_scored_keeps_the_last_finished_epoch(
    monkeypatch, scoring, early_stopping, where
):
    X, y, validation = data("multiclass")
    parameters = {"scoring": scoring, "early_stopping": early_stopping}
    finished = network("multiclass", max_iter=2, **parameters).fit(X, y, **validation)
    validate = sknn._training._validation.Validation.__call__
    n_calls = 0

    def interrupted_call(self):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3 and where == "before":
            raise KeyboardInterrupt
        result = validate(self)
        if n_calls == 3:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(sknn._training._validation.Validation, "__call__", interrupted_call)
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            interrupted = network("multiclass", max_iter=50, **parameters).fit(X, y, **validation)
    assert_bit_equal(interrupted, finished)
    assert len(interrupted.validation_loss_curve_) == 2


@pytest.mark.parametrize("early_stopping", [False, True])
def test_interrupt_in_the_users_scorer_keeps_the_last_finished_epoch(early_stopping):
    X, y, validation = data("multiclass")
    n_calls = 0

    def scorer(estimator, X, y):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise KeyboardInterrupt
        return n_calls

    scorer.__qualname__ = Rising.__qualname__  # a model knows the name of what it was scored by
    parameters = {"early_stopping": early_stopping}
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        interrupted = network("multiclass", scoring=scorer, **parameters).fit(X, y, **validation)
    assert interrupted.validation_scores_ == [1, 2]
    finished = network("multiclass", max_iter=2, scoring=Rising(), **parameters)
    assert_bit_equal(interrupted, finished.fit(X, y, **validation))


@pytest.mark.parametrize("dtype", [">i4", ">f8", "float16", bool])
@pytest.mark.parametrize("given", [False, True])
def test_multilabel_targets_of_any_dtype_can_be_scored(dtype, given):
    X, y, validation = data("multilabel")
    chosen = {"early_stopping": True, "scoring": "accuracy", "max_iter": 3}

    def scores(kind):
        rows = {**validation, "y_val": validation["y_val"].astype(kind)} if given else {}
        return network("multilabel", **chosen).fit(X, y.astype(kind), **rows).validation_scores_

    assert scores(dtype) == scores(int)


# --- between calls ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"scoring": "loss"}, {"loss": "focal", "scoring": "loss"}], ids=case
)
def test_warm_start_with_another_score_does_not_compare_with_the_old_one(change):
    X, y, _ = data("multiclass")
    model = network(
        "multiclass", early_stopping=True, warm_start=True, max_iter=20, learning_rate_init=0.01
    ).fit(X, y)
    before = model.coefs_[0].copy()
    model.set_params(**change).fit(X, y)
    assert max(model.validation_scores_) < 0  # of this fit alone: negative losses
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert not np.array_equal(model.coefs_[0], before)


def test_warm_start_with_other_validation_rows_does_not_compare_with_the_old_ones():
    X, y, validation = data("multiclass")
    model = network("multiclass", early_stopping=True, warm_start=True, max_iter=3)
    model.fit(X, y).best_validation_score_ = 2.0  # as of rows that are easy to get right
    before = model.coefs_[0].copy()
    model.fit(X, y, **validation)
    assert model.best_validation_score_ <= 1
    assert not np.array_equal(model.coefs_[0], before)


def test_scorer_that_changes_its_estimator_does_not_change_training():
    X, y, validation = data("multiclass")
    kept = []

    def keep(estimator, X_val, y_val):
        kept.append((estimator, estimator.predict_proba(X_val)))
        estimator.coefs_[0] = estimator.coefs_[0] * 0
        estimator.coefs_[1][:] = 0
        return estimator.score(X_val, y_val)

    model = network("multiclass", scoring=keep, max_iter=4).fit(X, y, **validation)
    plain = network("multiclass", max_iter=4).fit(X, y)
    for actual, expected in zip(model.coefs_, plain.coefs_, strict=True):
        assert_array_equal(actual, expected)
    assert not np.array_equal(kept[0][1], kept[-1][1])
