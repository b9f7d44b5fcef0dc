"""`class_weight` multiplies the weights of rows by those of their classes, as in scikit-learn."""

from __future__ import annotations

import pickle
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

import sknn._data._validation_split
from sknn import FeedForwardClassifier
from sknn._network._steps import ClosedFormStep

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, "learning_rate_init": 0.01}
WEIGHTS = {
    "binary": [None, {0: 2.0, 1: 0.25}, {1: 3.5}, {}, "balanced"],
    "multiclass": [None, {0: 1, 1: 5, 2: 0}, {2: 3.5}, {1: 2, 7: 1, 0: 1, 2: 4}, "balanced"],
    "multilabel": [
        [{0: 1, 1: k + 0.5} for k in range(4)],
        [{1: 3}, {}, {0: 2}, {}],
        ["balanced", {0: 2}, "balanced", None],
        "balanced",
    ],
}
SOLVERS = {
    "adam": {"solver": "adam"},
    "adamw": {"solver": "adamw"},
    "sgd": {"solver": "sgd"},
    "lbfgs": {"solver": "lbfgs"},
    "RMSprop": {"solver": partial(torch.optim.RMSprop, alpha=0.9)},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3},
}
CASES = [(target, weight) for target, weights in WEIGHTS.items() for weight in weights]


def classifier(**parameters):
    return FeedForwardClassifier(**SMALL | parameters)


def user_weights(n):
    return np.random.RandomState(0).uniform(0.1, 3, n)


@pytest.fixture
def no_training(monkeypatch):
    """Make the test fail if a training step is made."""

    def trained(*args, **kwargs):
        raise AssertionError("training has begun")

    monkeypatch.setattr(ClosedFormStep, "__call__", trained)


# --- the same as weights of rows --------------------------------------------------------------


@pytest.mark.matrix(8)
@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize(("target", "class_weight"), CASES, ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["alone", "with sample_weight"])
def test_class_weight_is_multiplied_into_sample_weight(target, class_weight, solver, weighted):
    X, y = TARGETS[target]
    own = user_weights(len(X)) if weighted else None
    expected = own
    if class_weight is not None:
        expected = compute_sample_weight(class_weight, y) * (1 if own is None else own)
    by_class = classifier(class_weight=class_weight, **SOLVERS[solver]).fit(X, y, own)
    by_row = classifier(**SOLVERS[solver]).fit(X, y, expected)
    assert_bit_equal(by_class, by_row)


@pytest.mark.parametrize("target", list(WEIGHTS))
def test_class_weight_changes_the_model(target):
    X, y = TARGETS[target]
    plain, weighted = (
        classifier(class_weight=weight).fit(X, y).coefs_[0] for weight in (None, WEIGHTS[target][1])
    )
    assert np.abs(plain - weighted).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower")
def test_class_weight_works_in_each_precision(dtype):
    X, y = TARGETS["multiclass"]
    by_class = classifier(class_weight="balanced", dtype=dtype).fit(X[:120], y[:120])
    weight = compute_sample_weight("balanced", y[:120])
    assert_bit_equal(by_class, classifier(dtype=dtype).fit(X[:120], y[:120], weight))


def test_whole_numbers_as_class_weight_equal_repeated_rows():
    X, y = TARGETS["multiclass"]
    times = np.array([1, 3, 0])[y]
    parameters = {"hidden_layer_sizes": (), "solver": "lbfgs", "tol": 1e-8, "max_iter": 3000}
    weighted = classifier(alpha=0.5, class_weight={0: 1, 1: 3, 2: 0}, **parameters).fit(X, y)
    # One row of weight 0 keeps the class without weight among the known classes.
    rows = np.r_[np.repeat(np.arange(len(y)), times), len(y) - 1]
    weight = np.r_[np.ones(times.sum()), 0]
    copied = classifier(alpha=0.5, **parameters).fit(X[rows], y[rows], weight)
    assert_allclose(weighted.predict_proba(X), copied.predict_proba(X), atol=1e-4)


def test_balanced_weights_give_each_class_the_same_say():
    X, y = TARGETS["multiclass"]
    rows = np.r_[0:50, 50:60, 100:105]
    parameters = {"hidden_layer_sizes": (), "solver": "lbfgs", "tol": 1e-8, "max_iter": 3000}
    balanced = classifier(alpha=0, class_weight="balanced", **parameters).fit(X[rows], y[rows])
    proba = balanced.predict_proba(X[rows])
    # At the optimum of the biases, the probabilities and the labels have the same weighted mean.
    weight = compute_sample_weight("balanced", y[rows])
    assert_allclose(np.average(proba, axis=0, weights=weight), 1 / 3, atol=1e-4)


def test_class_weight_raises_the_balanced_accuracy_of_an_imbalanced_set():
    rng = np.random.RandomState(0)
    y = (rng.uniform(size=1200) < 0.06).astype(int)
    X = rng.randn(1200, 4) + 0.9 * y[:, None]
    train, test = slice(0, 600), slice(600, None)
    scores = [
        balanced_accuracy_score(
            y[test],
            classifier(class_weight=weight, max_iter=40).fit(X[train], y[train]).predict(X[test]),
        )
        for weight in (None, "balanced")
    ]
    assert scores[1] > scores[0] + 0.1


@pytest.mark.parametrize("labels", ["strings", "objects", "booleans", "series"])
def test_labels_of_the_users_own_are_the_keys(labels):
    X, y = TARGETS["binary"]
    numbers = classifier(class_weight={0: 3.0, 1: 0.5}).fit(X, y)
    names = np.array([False, True] if labels == "booleans" else ["bad", "good"])
    if labels == "objects":
        names = names.astype(object)
    own = names[y]
    if labels == "series":
        own = pd.Series(own, index=np.arange(len(y))[::-1])
    named = classifier(class_weight={names[0]: 3.0, names[1]: 0.5}).fit(X, own)
    for actual, expected in zip(named.coefs_, numbers.coefs_, strict=True):
        assert_array_equal(actual, expected)
    assert_array_equal(named.predict(X), names[numbers.predict(X)])


def test_column_of_labels_is_weighted_as_a_vector():
    X, y = TARGETS["multiclass"]
    expected = classifier(class_weight="balanced").fit(X[:120], y[:120])
    with pytest.warns(match="column-vector y was passed"):
        actual = classifier(class_weight="balanced").fit(X[:120], y[:120, None])
    assert_bit_equal(actual, expected)


def test_single_number_as_sample_weight_goes_with_class_weight():
    X, y = TARGETS["binary"]
    each = classifier(class_weight="balanced").fit(X, y, np.full(len(y), 2.0))
    assert_bit_equal(classifier(class_weight="balanced").fit(X, y, 2.0), each)


@pytest.mark.parametrize("class_weight", [{0: 5.0}, "balanced"], ids=str)
def test_validation_rows_of_the_user_are_not_weighted_by_class(class_weight):
    X, y = TARGETS["binary"]
    train, val = slice(0, 300), slice(300, None)
    own = user_weights(len(y[val]))
    for weight in (None, own):
        model = classifier(class_weight=class_weight, max_iter=1).fit(
            X[train], y[train], X_val=X[val], y_val=y[val], sample_weight_val=weight
        )
        expected = log_loss(y[val], model.predict_proba(X[val]), sample_weight=weight)
        assert model.validation_loss_curve_ == pytest.approx([expected], rel=1e-10)
        assert model.validation_scores_ == [model.score(X[val], y[val], sample_weight=weight)]


def test_rows_of_the_split_are_weighted_by_class(monkeypatch):
    X, y = TARGETS["binary"]
    held_out = []
    split_rows = sknn._data._validation_split.split_rows

    def remember(*arguments):
        train, valid = split_rows(*arguments)
        held_out.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._validation_split, "split_rows", remember)
    model = classifier(class_weight={0: 7.0}, max_iter=1, early_stopping=True).fit(X, y)
    X_val, y_val = X[held_out[0]], y[held_out[0]]
    weight = np.where(y_val == 0, 7.0, 1.0)
    expected = log_loss(y_val, model.predict_proba(X_val), sample_weight=weight)
    assert model.validation_loss_curve_ == pytest.approx([expected], rel=1e-10)
    assert model.validation_scores_ == [model.score(X_val, y_val, sample_weight=weight)]


@pytest.mark.parametrize("target", list(WEIGHTS))
def test_warm_start_weighs_by_class_again(target):
    X, y = TARGETS[target]
    class_weight = WEIGHTS[target][1]
    by_class = classifier(class_weight=class_weight, warm_start=True)
    by_row = classifier(warm_start=True)
    for _ in range(2):
        by_class.fit(X, y)
        by_row.fit(X, y, compute_sample_weight(class_weight, y))
        assert_bit_equal(by_class, by_row)


# --- partial_fit ------------------------------------------------------------------------------


@pytest.mark.matrix(5)
@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(
    ("target", "class_weight"),
    [(target, weight) for target, weight in CASES if "balanced" not in str(weight)],
    ids=str,
)
def test_partial_fit_weighs_by_class(target, class_weight, solver):
    X, y = TARGETS[target]
    classes = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
    own = user_weights(len(X))
    weight = own if class_weight is None else compute_sample_weight(class_weight, y) * own
    by_class, by_row = (
        classifier(class_weight=class_weight, solver=solver),
        classifier(solver=solver),
    )
    for start in range(3):
        rows = slice(start, None, 3)  # all classes are in each part
        by_class.partial_fit(X[rows], y[rows], own[rows], classes=classes)
        by_row.partial_fit(X[rows], y[rows], weight[rows], classes=classes)
        assert_bit_equal(by_class, by_row)


@pytest.mark.parametrize("class_weight", [{2: 3.0}, {0: 2.0, 2: 3.0}], ids=str)
def test_partial_fit_weighs_rows_that_lack_a_class(class_weight):
    # One part of the rows may lack a class: SGDClassifier accepts that too.
    X, y = TARGETS["multiclass"]
    part = slice(0, 80)
    assert not (y[part] == 2).any()
    SGDClassifier(class_weight=class_weight).partial_fit(X[part], y[part], classes=[0, 1, 2])
    by_class = classifier(class_weight=class_weight)
    by_class.partial_fit(X[part], y[part], classes=[0, 1, 2])
    vector = compute_class_weight(class_weight, classes=np.arange(3), y=y)
    by_row = classifier().partial_fit(X[part], y[part], vector[y[part]], classes=[0, 1, 2])
    assert_bit_equal(by_class, by_row)


def test_partial_fit_weighs_multilabel_rows_that_lack_a_label():
    X, y = TARGETS["multilabel"]
    class_weight = [{1: 3.0}, {0: 2.0}, {}, {}]
    part = np.flatnonzero((y[:, 0] == 0) & (y[:, 1] == 1))
    by_class = classifier(class_weight=class_weight)
    by_class.partial_fit(X[part], y[part], classes=np.arange(4))
    weight = compute_sample_weight(class_weight, y)[part]
    by_row = classifier().partial_fit(X[part], y[part], weight, classes=np.arange(4))
    assert_bit_equal(by_class, by_row)


@pytest.mark.parametrize(
    ("target", "class_weight"),
    [("multiclass", "balanced"), ("multilabel", "balanced"), ("multilabel", ["balanced"] * 4)],
    ids=str,
)
def test_partial_fit_refuses_balanced_as_sgd_classifier_does(target, class_weight, no_training):
    X, y = TARGETS[target]
    words = "class_weight 'balanced' is not supported for partial_fit"
    with pytest.raises(ValueError, match=words):
        SGDClassifier(class_weight="balanced").partial_fit(X, y[:, 0] if y.ndim == 2 else y, [0, 1])
    estimator = classifier(class_weight=class_weight)
    with pytest.raises(ValueError, match=words) as caught:
        estimator.partial_fit(X, y, classes=np.arange(y.shape[1]) if y.ndim == 2 else [0, 1, 2])
    assert "compute_class_weight" in str(caught.value)
    assert not hasattr(estimator, "coefs_")


def test_partial_fit_that_refuses_balanced_leaves_a_fitted_model():
    X, y = TARGETS["multiclass"]
    estimator = classifier(class_weight="balanced").fit(X, y)
    before = pickle.dumps(estimator)
    with pytest.raises(ValueError, match="not supported for partial_fit"):
        estimator.partial_fit(X, y)
    assert pickle.dumps(estimator) == before


# --- errors -----------------------------------------------------------------------------------

BAD = [
    ("binary", {0: 1.0, 2: 5.0}),
    ("binary", {"zero": 1.0}),
    ("multiclass", {0: 1.0, 5: 5.0}),
    ("multiclass", {5: 1.0}),
    ("binary", "Balanced"),
    ("binary", "auto"),
    ("binary", 3.0),
    ("binary", ({0: 1.0}, {1: 2.0})),
    ("binary", np.array([1.0, 2.0])),
    ("binary", [{0: 1.0, 1: 2.0}]),
    ("binary", [1.0, 2.0]),
    ("multilabel", {0: 1.0, 1: 2.0}),
    ("multilabel", [{0: 1.0}] * 3),
    ("multilabel", [{0: 1.0}] * 5),
    ("multilabel", []),
    ("multilabel", [{0: 1.0, 7: 2.0}] * 4),
    ("multilabel", [1.0, 1.0, 2.0, 2.0]),
]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(("target", "class_weight"), BAD, ids=str)
def test_class_weight_raises_what_compute_sample_weight_raises(
    target, class_weight, solver, no_training
):
    X, y = TARGETS[target]
    with pytest.raises((ValueError, TypeError)) as expected:
        compute_sample_weight(class_weight, y)
    estimator = classifier(class_weight=class_weight, solver=solver)
    with pytest.raises(type(expected.value)) as caught:
        estimator.fit(X, y)
    words = str(caught.value).replace("FeedForwardClassifier", "compute_sample_weight")
    assert words.startswith(str(expected.value))
    assert not hasattr(estimator, "coefs_")


@pytest.mark.parametrize(("target", "class_weight"), BAD, ids=str)
def test_bad_class_weight_leaves_a_fitted_model(target, class_weight):
    X, y = TARGETS[target]
    estimator = classifier().fit(X, y).set_params(class_weight=class_weight)
    before = pickle.dumps(estimator)
    with pytest.raises((ValueError, TypeError)):
        estimator.fit(X, y)
    assert pickle.dumps(estimator) == before


@pytest.mark.parametrize("solver", ["adam", pytest.param("lbfgs", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("target", "class_weight", "words"),
    [
        ("multiclass", {0: -1}, "the weight -1 for the class 0"),
        ("binary", {0: 1.0, 1: np.nan}, "the weight nan for the class 1"),
        ("binary", {0: 1.0, 1: np.inf}, "the weight inf for the class 1"),
        ("binary", {0: 1.0, 1: "-2"}, "the weight '-2' for the class 1"),
        ("binary", {0: 1.0, 1: None}, "the weight None for the class 1"),
        ("multilabel", [{}, {1: -0.5}, {}, {}], "the weight -0.5 for the class 1"),
    ],
    ids=str,
)
def test_class_weight_that_is_negative_or_not_finite_is_named(
    target, class_weight, words, solver, no_training
):
    X, y = TARGETS[target]
    estimator = classifier(class_weight=class_weight, solver=solver)
    with pytest.raises(ValueError, match=f"^class_weight has {words}. .* not be negative.$"):
        estimator.fit(X, y)
    assert not hasattr(estimator, "coefs_")


def test_negative_class_weight_is_refused_by_partial_fit_and_leaves_the_model():
    X, y = TARGETS["multiclass"]
    estimator = classifier().partial_fit(X, y, classes=[0, 1, 2]).set_params(class_weight={2: -1.0})
    before = pickle.dumps(estimator)
    with pytest.raises(ValueError, match="the weight -1.0 for the class 2"):
        estimator.partial_fit(X, y)
    assert pickle.dumps(estimator) == before


@pytest.mark.parametrize(
    ("labels", "class_weight", "words"),
    [
        (
            "abc",
            {"a": 2, "z": 3},
            "['b', 'c'], are not in class_weight. The keys of class_weight"
            " are ['a', 'z'], and the classes are ['a', 'b', 'c'].",
        ),
        ("abc", {0: 2}, "The keys of class_weight are [0], and the classes are ['a', 'b', 'c']."),
        ([0, 1], {"0": 2}, "The keys of class_weight are ['0'], and the classes are [0, 1]."),
        (
            [0, 1],
            [1.0, 5.0],
            "class_weight is [1.0, 5.0]. It must be a dict {label: weight}, and the"
            " labels are [0, 1].",
        ),
        ([1, 2], [1, 2], "The 'class_weight' parameter is [1, 2]. It must be 'balanced' or a dict"),
        (np.eye(2, dtype=int), [{0: 1, 5: 2}] * 2, "must have the keys 0 and 1, or only one of"),
    ],
    ids=str,
)
def test_class_weight_for_other_classes_shows_its_keys_and_the_classes(
    labels, class_weight, words, no_training
):
    y = np.repeat(np.array(list(labels)), 10, axis=0)
    with pytest.raises(ValueError, match=re.escape(words)):
        classifier(class_weight=class_weight).fit(np.ones((len(y), 2)), y)


@pytest.mark.parametrize("class_weight", ["Balanced", 3.0, ("balanced",)], ids=str)
def test_class_weight_of_another_kind_is_an_invalid_parameter(class_weight):
    X, y = TARGETS["binary"]
    with pytest.raises(InvalidParameterError, match="'class_weight' parameter.*balanced"):
        classifier(class_weight=class_weight).fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("class_weight", [{0: 0, 1: 0}, {0: np.inf, 1: 1.0}], ids=str)
def test_class_weight_that_leaves_no_finite_weight_raises(class_weight, solver, no_training):
    X, y = TARGETS["binary"]
    with pytest.raises(ValueError, match="class_weight"):
        classifier(class_weight=class_weight, solver=solver).fit(X, y)


# --- inside scikit-learn ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "class_weight", [None, {0: 1, 1: 2}, "balanced", [{0: 1}, {1: 2}]], ids=str
)
def test_clone_and_repr_keep_class_weight(class_weight):
    estimator = classifier(class_weight=class_weight)
    assert clone(estimator).class_weight == class_weight
    assert ("class_weight" in repr(estimator)) == (class_weight is not None)
    assert estimator.get_params()["class_weight"] is class_weight


def test_fit_leaves_the_users_dict_alone():
    X, y = TARGETS["binary"]
    given = {0: 1.0, 1: 2.0}
    estimator = classifier(class_weight=given).fit(X, y)
    assert estimator.class_weight is given
    assert given == {0: 1.0, 1: 2.0}


def test_grid_search_over_class_weight_equals_fits_by_hand():
    X, y = TARGETS["binary"]
    grid = [None, {0: 6.0}, "balanced"]
    model = make_pipeline(StandardScaler(), classifier())
    name = "feedforwardclassifier__class_weight"
    search = GridSearchCV(model, {name: grid}, cv=3, scoring="balanced_accuracy").fit(X, y)
    expected = [
        cross_val_score(
            clone(model).set_params(**{name: weight}), X, y, cv=3, scoring="balanced_accuracy"
        ).mean()
        for weight in grid
    ]
    assert_array_equal(search.cv_results_["mean_test_score"], expected)
    assert len(set(expected)) > 1


@pytest.mark.parametrize("class_weight", [{0: 2.0}, "balanced"], ids=str)
def test_pickled_model_goes_on_with_its_class_weight(class_weight):
    X, y = TARGETS["binary"]
    model = classifier(class_weight=class_weight, warm_start=True).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_bit_equal(copy.fit(X, y), model.fit(X, y))
