"""Scores of `scoring` are recorded and watched, and the best epoch is restored.

Any scorer of scikit-learn or of the user will do.
"""

from __future__ import annotations

import math
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import sklearn.metrics
import torch
from conftest import case
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    d2_pinball_score,
    f1_score,
    fbeta_score,
    get_scorer,
    get_scorer_names,
    jaccard_score,
    log_loss,
    make_scorer,
    max_error,
    mean_absolute_error,
    mean_squared_error,
    precision_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)
from sklearn.model_selection import cross_val_score
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
import sknn._training._epoch
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


@pytest.mark.matrix(7)
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


@pytest.mark.matrix
@pytest.mark.parametrize("variant", ["batch normalization", "dropout", "module", "members"])
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


@pytest.mark.matrix
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
    with pytest.raises(ValueError, match="'scoring' parameter returned nan"):
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


# The positive class of two is the second, unless 1 is a class: scikit-learn takes the class 1.
def two_classes(metric):
    return lambda y, p, proba, c: metric(y == positive(c), p == positive(c))


def positive(classes):
    return 1 if 1 in classes else classes[1]


OF_TWO_CLASSES = {
    "f1": two_classes(f1_score),
    "jaccard": two_classes(jaccard_score),
    "precision": two_classes(precision_score),
    "recall": two_classes(recall_score),
    "average_precision": lambda y, p, proba, c: average_precision_score(
        y == positive(c), proba[:, list(c).index(positive(c))]
    ),
    "neg_brier_score": lambda y, p, proba, c: -np.mean((proba[:, 1] - (y == c[1])) ** 2),
    "d2_brier_score": lambda y, p, proba, c: (
        1 - np.mean((proba[:, 1] - (y == c[1])) ** 2) / np.var(y == c[1])
    ),
    **dict.fromkeys(
        ["roc_auc", "roc_auc_ovr", "roc_auc_ovo", "roc_auc_ovr_weighted", "roc_auc_ovo_weighted"],
        lambda y, p, proba, c: roc_auc_score(y == c[1], proba[:, 1]),
    ),
}


def of_classes(name, **options):
    metric = getattr(sklearn.metrics, name, None)
    return lambda y, p, proba, c: metric(y, proba, labels=c, **options)


OF_CLASSES = {
    "neg_log_loss": lambda y, p, proba, c: -log_loss(y, proba, labels=c),
    "neg_brier_score": lambda y, p, proba, c: -brier_score_loss(y, proba, labels=c),
    "average_precision": lambda y, p, proba, c: average_precision_score(y, proba),
    "d2_log_loss_score": of_classes("d2_log_loss_score"),
    "d2_brier_score": of_classes("d2_brier_score"),
    "top_k_accuracy": of_classes("top_k_accuracy_score"),
    "roc_auc_ovr": of_classes("roc_auc_score", multi_class="ovr"),
    "roc_auc_ovo": of_classes("roc_auc_score", multi_class="ovo"),
    "roc_auc_ovr_weighted": of_classes("roc_auc_score", multi_class="ovr", average="weighted"),
    "roc_auc_ovo_weighted": of_classes("roc_auc_score", multi_class="ovo", average="weighted"),
}
MULTICLASS = {*OF_CLASSES, "f1_macro", "balanced_accuracy", "rand_score"}
BINARY = {*OF_CLASSES, *OF_TWO_CLASSES, "f1_weighted", "matthews_corrcoef"}
# The kind of target, and the scorers that must work for it. Each other one may be refused.
TARGETS_OF_SCORERS = {
    "integers": MULTICLASS | {"r2", "neg_mean_squared_error"},
    "strings": MULTICLASS,
    "two strings": BINARY | {"positive_likelihood_ratio"},
    "two strings, one rare": BINARY,
    "1 and 2": BINARY | {"r2"},
    "three labels": {"roc_auc", "average_precision", "f1_macro", "f1_samples", "accuracy"},
    "two labels": {"roc_auc", "average_precision", "f1_macro", "f1_samples", "accuracy"},
    "numbers": {"r2", "neg_mean_squared_error", "explained_variance", "neg_max_error"},
    "counts": {"r2", "neg_mean_poisson_deviance", "neg_mean_squared_log_error"},
}


def of_kind(kind, seed):
    """Return 200 rows, of which some classes are rare."""
    random = np.random.RandomState(seed)
    X = random.randn(200, 4)
    if "labels" in kind:
        n_labels = 2 if kind == "two labels" else 3
        return X, (X[:, :n_labels] + random.randn(200, n_labels) > 0).astype(int)
    if kind in ("numbers", "counts"):
        return X, X[:, 0] + random.randn(200) if kind == "numbers" else random.poisson(3.0, 200)
    counts = {"two strings, one rare": [198, 2], "integers": [100, 95, 5], "strings": [100, 95, 5]}
    counts = counts.get(kind, [120, 80])
    y = random.permutation(np.repeat(np.arange(len(counts)), counts))
    X[:, 0] += y
    if "strings" in kind:
        return X, np.array(["ash", "birch", "cedar"])[y]
    return X, y + 1 if kind == "1 and 2" else y


@pytest.fixture
def epochs(monkeypatch):
    """Return a list that gets an element for each epoch that begins."""
    begun, epoch = [], sknn._training._epoch.Trainer.epoch

    def counted(*arguments):
        begun.append(1)
        return epoch(*arguments)

    monkeypatch.setattr(sknn._training._epoch.Trainer, "epoch", counted)
    return begun


@pytest.fixture
def held_out(monkeypatch):
    """Return a list of the validation rows of each split."""
    splits, split_rows = [], sknn._data._validation_split.split_rows

    def remember(*arguments):
        train, valid = split_rows(*arguments)
        splits.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._validation_split, "split_rows", remember)
    return splits


def score_by_hand(name, model, X, y):
    classes = getattr(model, "classes_", ())
    if y.ndim == 2 and get_scorer(name)._response_method != "predict":
        metric = get_scorer(name)  # scikit-learn's scorers take two labels for two classes
        return metric._sign * metric._score_func(y, model.predict_proba(X), **metric._kwargs)
    references = {**OF_CLASSES, **(OF_TWO_CLASSES if len(classes) == 2 else {})}
    if y.ndim == 2 or not len(classes) or name not in references:
        return get_scorer(name)(model, X, y)
    proba = model.predict_proba(X)
    if name == "top_k_accuracy" and len(classes) == 2:
        return top_k_accuracy_score(y, proba[:, 1], labels=classes)
    return references[name](y, model.predict(X), proba, classes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.long) for s in (1, 2, 3))])
@pytest.mark.parametrize(
    "kind",
    [
        # Another kind of labels like each of these is quick.
        pytest.param(k, marks=[pytest.mark.long] * (k in ("strings", "two strings", "two labels")))
        for k in TARGETS_OF_SCORERS
    ],
)
def test_every_scorer_is_its_metric_or_is_refused_before_training(kind, seed, epochs, held_out):
    X, y = of_kind(kind, seed)
    target = "one output" if kind in ("numbers", "counts") else "binary"
    loss = {"loss": "poisson"} if kind == "counts" else {}
    names = get_scorer_names()
    if seed == 0:  # the quick case: those that must work, and some of the others
        names = [n for i, n in enumerate(names) if n in TARGETS_OF_SCORERS[kind] or i % 8 == 0]
    for name in names:
        epochs.clear()
        model = network(
            target, scoring=name, early_stopping=True, max_iter=1, random_state=seed, **loss
        )
        try:
            model.fit(X, y)
        except ValueError as error:
            assert "'scoring' parameter" in str(error) and repr(name) in str(error), name
            assert "scoring='loss'" in str(error)
            assert not epochs, name
            assert name not in TARGETS_OF_SCORERS[kind], str(error)
        else:
            rows = held_out[-1]
            expected = score_by_hand(name, model, X[rows], y[rows])
            assert_allclose(model.validation_scores_, [expected], rtol=1e-12, err_msg=name)


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("name", ["roc_auc", "roc_auc_ovr", "average_precision", "neg_log_loss"])
def test_own_rows_without_a_class(name, early_stopping, epochs):
    X, y = of_kind("integers", 0)
    model = network("multiclass", scoring=name, early_stopping=early_stopping, max_iter=2)
    rows = y < 2
    if name == "neg_log_loss":  # defined for the classes of the network
        model.fit(X, y, X_val=X[rows], y_val=y[rows])
        expected = -log_loss(y[rows], model.predict_proba(X[rows]), labels=[0, 1, 2])
        assert model.best_validation_score_ == pytest.approx(expected, rel=1e-12)
    elif name == "roc_auc_ovr" and not early_stopping:  # what is only recorded may be undefined
        with pytest.warns(sklearn.exceptions.UndefinedMetricWarning):
            model.fit(X, y, X_val=X[rows], y_val=y[rows])
        assert np.isnan(model.validation_scores_).all()
    else:
        with pytest.raises(ValueError, match="'scoring' parameter") as error:
            model.fit(X, y, X_val=X[rows], y_val=y[rows])
        assert not epochs
        # `roc_auc` does not take three classes, with or without rows of all.
        is_of_two_classes = name == "roc_auc"
        for part in (f"scorer is {name!r}", "scoring='loss'"):
            assert part in str(error.value)
        for part in ("no row of the classes [2]", "increase validation_f", "X_val and y_val"):
            assert (part in str(error.value)) != is_of_two_classes
        assert (error.value.__cause__ is None) == (name == "roc_auc_ovr")  # of NaN


def test_class_of_a_single_row_is_named_where_the_metric_needs_it(epochs):
    X, y = of_kind("strings", 0)
    y = np.where(y == "cedar", "birch", y)
    y[0] = "cedar"
    model = network("multiclass", scoring="roc_auc_ovr", early_stopping=True)
    with pytest.raises(ValueError, match=r"no row of the classes \['cedar'\]"):
        model.fit(X, y)
    assert not epochs
    model.set_params(scoring="neg_log_loss").fit(X, y)
    assert np.isfinite(model.validation_scores_).all()


def test_label_that_all_validation_rows_share_is_named(epochs):
    X, y = of_kind("three labels", 0)
    rows = y[:, 1] == 1
    model = network("multilabel", scoring="roc_auc", early_stopping=True)
    with pytest.raises(ValueError, match=r"returned nan.*one value of the labels \[1\]"):
        model.fit(X, y, X_val=X[rows], y_val=y[rows])
    assert not epochs


@pytest.mark.parametrize(
    "scoring, metric",
    [
        ("f1", lambda y, p, w: f1_score(y, p, pos_label="birch", sample_weight=w)),
        (
            make_scorer(f1_score, pos_label="ash"),
            lambda y, p, w: f1_score(y, p, pos_label="ash", sample_weight=w),
        ),
        (
            make_scorer(partial(fbeta_score, beta=2)),
            lambda y, p, w: fbeta_score(y, p, beta=2, pos_label="birch", sample_weight=w),
        ),
        (
            make_scorer(partial(fbeta_score, beta=2, pos_label="ash")),
            lambda y, p, w: fbeta_score(y, p, beta=2, pos_label="ash", sample_weight=w),
        ),
        (
            make_scorer(f1_score, average="macro"),
            lambda y, p, w: f1_score(y, p, average="macro", sample_weight=w),
        ),
        (
            make_scorer(fbeta_score, beta=0.5, average="weighted"),
            lambda y, p, w: fbeta_score(y, p, beta=0.5, average="weighted", sample_weight=w),
        ),
        (
            make_scorer(lambda y, p, pos_label=1: float((p == pos_label).mean())),
            lambda y, p, w: (p == "birch").mean(),
        ),
    ],
    ids=[
        "name",
        "own positive class",
        "partial",
        "partial, own positive class",
        "macro",
        "weighted",
        "own",
    ],
)
def test_positive_class_of_strings_is_the_second_unless_the_user_says_so(scoring, metric):
    X, y = of_kind("two strings", 1)
    weight = np.random.RandomState(0).uniform(0.1, 3, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = network("binary", scoring=scoring, max_iter=1, tol=0, n_iter_no_change=np.inf)
        with pytest.warns(sklearn.exceptions.ConvergenceWarning):
            model.fit(X, y, X_val=X, y_val=y, sample_weight_val=weight)
    expected = metric(y, model.predict(X), weight)
    assert model.validation_scores_ == pytest.approx([expected], rel=1e-12)


def test_labels_that_the_user_has_set_are_kept():
    X, y = of_kind("integers", 0)
    for metric in (partial(log_loss, labels=[0, 1, 2, 3]), log_loss):
        options = {"labels": [0, 1, 2, 3]} if metric is log_loss else {}
        scorer = make_scorer(metric, response_method="predict_proba", **options)
        model = network("multiclass", scoring=scorer, early_stopping=True)
        with pytest.raises(ValueError, match="number of classes in labels is different"):
            model.fit(X, y)
        assert getattr(scorer, "_kwargs") == options  # noqa: B009  the user's object


def test_scorer_keeps_the_split_of_scikit_learn_if_no_class_is_missing(held_out):
    X, y, _ = data("multiclass")
    for scoring in (None, "f1_macro"):
        network("multiclass", scoring=scoring, early_stopping=True, max_iter=1).fit(X, y)
    assert_array_equal(*held_out)


@pytest.mark.parametrize("kind", ["integers", "two strings, one rare"])
def test_scorer_has_each_class_among_its_rows(kind, held_out):
    X, y = of_kind(kind, 3)
    for scoring in (None, "loss", "f1_macro"):
        network("binary", scoring=scoring, early_stopping=True, max_iter=1).fit(X, y)
    default, loss, scorer = held_out
    assert_array_equal(default, loss)
    assert set(y[default]) < set(y[scorer]) == set(y)
    assert len(default) == len(scorer) and len(np.setdiff1d(scorer, default)) == 1


@pytest.mark.matrix(1)
@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc_ovr", "neg_brier_score"])
def test_cross_validation_with_a_rare_class_has_no_failed_fold(scoring):
    X, y = of_kind("strings", 0)
    model = network("multiclass", scoring=scoring, early_stopping=True, max_iter=2)
    scores = cross_val_score(model, X, y, cv=5, scoring="accuracy", error_score="raise")
    assert len(scores) == 5 and np.isfinite(scores).all()


@pytest.mark.parametrize("target", ["multiclass", "one output"])
@pytest.mark.parametrize("error", [KeyError("rate"), ValueError("no rate."), ZeroDivisionError()])
def test_error_of_a_scorer_in_training_names_the_parameter(target, error):
    calls = []

    def fragile(estimator, X, y):
        calls.append(1)
        if len(calls) == 3:
            raise error
        return 0.5

    X, y, validation = data(target)
    with pytest.raises(type(error), match="'scoring' parameter raised") as raised:
        network(target, scoring=fragile).fit(X, y, **unweighted(validation))
    assert raised.value.__cause__ is error
    assert "fragile. Choose another one, or set scoring='loss'." in str(raised.value)


def test_error_of_a_scorer_names_the_classes_that_are_missing():
    def fragile(estimator, X, y):
        return 1 / (y == 2).sum().item()

    X, y = of_kind("integers", 0)
    rows = y < 2
    with pytest.raises(ZeroDivisionError, match=r"'scoring'.*no row of the classes \[2\]"):
        network("multiclass", scoring=fragile).fit(X, y, X_val=X[rows], y_val=y[rows])


def test_own_function_is_called_once_an_epoch_even_if_a_class_is_missing():
    X, y = of_kind("integers", 0)
    rows, calls = y < 2, []

    def scorer(estimator, X, y):
        calls.append(estimator.n_iter_)
        return 0.0

    model = network("multiclass", scoring=scorer, max_iter=3)
    model.fit(X, y, X_val=X[rows], y_val=y[rows])
    assert calls == [1, 2, 3]


def test_trial_of_a_scorer_leaves_the_model_and_gives_no_warnings():
    X, y, validation = data("multiclass")
    validation["y_val"] = np.where(validation["y_val"] == 2, 1, validation["y_val"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scored = network("multiclass", scoring="precision_macro", max_iter=1)
        scored.fit(X, y, **validation)
    assert sum("Precision is ill-defined" in str(w.message) for w in caught) <= 1
    assert_same_weights(scored, network("multiclass", max_iter=1).fit(X, y))


@pytest.mark.parametrize(
    "target, scoring, methods",
    [
        ("multiclass", make_scorer(roc_auc_score, response_method="decision_function"), "decision"),
        ("one output", "neg_log_loss", "predict_proba"),
        ("one output", "roc_auc", "decision_function or predict_proba"),
    ],
    ids=["decision function", "probabilities", "either"],
)
def test_scorer_of_a_method_that_the_network_lacks_is_refused(target, scoring, methods, epochs):
    X, y, validation = data(target)
    kind = "FeedForwardClassifier" if target == "multiclass" else "FeedForwardRegressor"
    with pytest.raises(ValueError, match=f"'scoring' parameter needs {methods}.*{kind} does not"):
        network(target, scoring=scoring).fit(X, y, **validation)
    assert not epochs


class Opaque:
    """A function whose parameters cannot be read, as those of many that are written in C."""

    def __init__(self, function):
        self.function = function

    @property
    def __signature__(self):
        raise ValueError("no signature found for builtin")

    def __call__(self, *arguments):
        return self.function(*arguments)


@pytest.mark.parametrize(
    "scoring",
    [
        make_scorer(Opaque(math.dist), greater_is_better=False),
        Opaque(lambda estimator, X, y: -math.dist(y, estimator.predict(X))),
    ],
    ids=["metric", "scorer"],
)
def test_function_without_a_readable_signature_gets_no_weights(scoring):
    X, y, validation = data("one output")
    model = network("one output", scoring=scoring, max_iter=1).fit(X, y, **validation)
    expected = -math.dist(validation["y_val"], model.predict(validation["X_val"]))
    assert model.validation_scores_ == pytest.approx([expected], rel=1e-12)


def test_metric_of_numbers_is_not_refused_for_what_the_initial_network_predicts():
    # The Poisson deviance is defined for positive predictions, which the first epoch brings.
    X, y, validation = data("one output")
    y, validation["y_val"] = y + 100, validation["y_val"] + 100
    still = network("one output", learning_rate_init=1e-12, max_iter=1).fit(X, y)
    assert still.predict(validation["X_val"]).min() < 0
    options = {"learning_rate_init": 0.5, "early_stopping": True, "max_iter": 3}
    model = network("one output", scoring="neg_mean_poisson_deviance", **options)
    model.fit(X, y, **validation)
    assert np.isfinite(model.validation_scores_).all()
