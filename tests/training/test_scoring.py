"""Scores of `scoring` are recorded and watched, and the best epoch is restored.

Any scorer of scikit-learn or of the user will do.
"""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from conftest import case
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import (
    balanced_accuracy_score,
    d2_pinball_score,
    get_scorer,
    make_scorer,
    max_error,
    mean_absolute_error,
    mean_squared_error,
)
from validation import (
    VARIANTS,
    assert_same_weights,
    best_epoch,
    cross_entropy,
    data,
    is_over,
    network,
    unweighted,
    worst_class,
)

import sknn._data._validation_split
import sknn._training._validation

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
# These validation targets contradict the training targets, so that an early epoch is the best.
CONTRARY = {
    "multiclass": lambda y: (y + 1) % 3,
    "multilabel": lambda y: 1 - y,
    "one output": lambda y: -y,
    "two outputs": lambda y: -y,
}
STOPPING = {"batch_size": 10, "tol": 1e-4, "n_iter_no_change": 3, "max_iter": 30}


@pytest.mark.matrix
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
    assert best < model.n_iter_  # Otherwise nothing would be restored.
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
    # The loss recorded in training is that of the restored network, up to the last digits.
    loss = cross_entropy(model, *validation.values())
    assert model.validation_loss_curve_[best - 1] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("name", ["loss", "name", "callable", "name, numbers"])
def test_scoring_is_watched_on_the_rows_of_the_split_too(monkeypatch, name):
    target, scoring, metric = SCORINGS[name]
    X, y, _ = data(target)
    weight = np.random.RandomState(2).uniform(0.1, 3, len(X))
    held_out = []
    split_rows = sknn._data._validation_split.split_rows

    def remember(*arguments):
        train, valid = split_rows(*arguments)
        held_out.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._validation_split, "split_rows", remember)
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
    # `cross_val_score`, too, unpacks any score that has an `item()`.
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
    # Precision without a prediction of the class or an AUC of one class can be nan, for example.
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
