"""An ensemble in one estimator: its members, their mean, and each way to train and use them."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal, case, fitted_state
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import Callback, GradientNormClipping
from torch import nn
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier, FeedForwardRegressor, TrainingWarning
from sknn._training._epoch import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

K = 3
CLASSIFICATION = ("binary", "multiclass", "multilabel")
SMALL = {
    **{"hidden_layer_sizes": (6, 5), "batch_size": 40, "learning_rate_init": 0.01, "max_iter": 4},
    **{"random_state": 0, "n_members": K, "n_iter_no_change": 1000},
}


def network(target, **parameters):
    kind = FeedForwardClassifier if target in CLASSIFICATION else FeedForwardRegressor
    return kind(**SMALL | parameters)


def member(model, i):
    """Return a model of one network, which holds the weights of one member."""
    one = copy.deepcopy(model).set_params(n_members=1)
    one.coefs_ = [coef[i] for coef in model.coefs_]
    one.intercepts_ = [intercept[i] for intercept in model.intercepts_]
    one.module_state_ = {name: array[i] for name, array in model.module_state_.items()}
    return one


def members(model):
    return [member(model, i) for i in range(len(model.coefs_[0]))]


def assert_first_is(model, one, rtol=1e-7, atol=1e-9):
    """Assert that the first member of a model is a model of one network."""
    first = member(model, 0)
    for name in ("coefs_", "intercepts_"):
        for actual, expected in zip(getattr(first, name), getattr(one, name), strict=True):
            assert actual.dtype == expected.dtype
            assert_allclose(actual, expected, rtol=rtol, atol=atol)
    assert set(first.module_state_) == set(one.module_state_)
    for name, expected in one.module_state_.items():
        assert_allclose(first.module_state_[name], expected, rtol=rtol, atol=atol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(model, name) == getattr(one, name)


# --- members ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", list(TARGETS))
def test_weights_have_a_leading_dimension_and_differ_from_member_to_member(target):
    X, y = TARGETS[target]
    model = network(target).fit(X, y)
    units = (X.shape[1], 6, 5, model.n_outputs_)
    assert [c.shape for c in model.coefs_] == [(K, *pair) for pair in pairwise(units)]
    assert [i.shape for i in model.intercepts_] == [(K, n) for n in units[1:]]
    for array in (*model.coefs_, *model.intercepts_):
        assert len(np.unique(array, axis=0)) == K
    assert model.n_layers_ == 4


def test_one_member_is_one_network():
    X, y = TARGETS["multiclass"]
    assert FeedForwardClassifier().n_members == FeedForwardRegressor().n_members == 1
    model = network("multiclass", n_members=1).fit(X, y)
    assert model.coefs_[0].shape == (4, 6)


class ByTensor(torch.optim.Optimizer):
    """An optimizer whose step depends on which values share a tensor."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                norm = parameter.grad.norm() + 1e-3
                parameter.add_(parameter.grad / norm, alpha=-group["lr"])


def rows_of_cubes(raw, y):
    return ((raw - y).abs() ** 3).sum(1)


FITS = {
    "adam": ("multiclass", {}),
    "adamw": ("binary", {"solver": "adamw", "alpha": 0.1}),
    "sgd": ("one output", {"solver": "sgd", "learning_rate": "invscaling"}),
    "in order": ("two outputs", {"shuffle": False, "batch_size": 30}),
    "penalty": ("multilabel", {"alpha": 1.0}),
    "no hidden layer": ("multiclass", {"hidden_layer_sizes": ()}),
    "dropout": ("multiclass", {"dropout": [0.3, 0.1], "input_dropout": 0.2}),
    "clipping": ("one output", {"max_grad_norm": 0.05}),
    "layer": ("multiclass", {"normalization": "layer", "dropout": 0.2}),
    "batch": ("two outputs", {"normalization": "batch", "max_grad_norm": 0.1}),
    "module": ("binary", {"activation": ["gelu", nn.PReLU], "dropout": 0.2}),
    "own loss": ("two outputs", {"loss": rows_of_cubes}),
    "focal": ("multiclass", {"loss": "focal", "label_smoothing": 0.1}),
    "class_weight": ("multiclass", {"class_weight": {0: 3.0}}),
    "poisson": ("counts", {"loss": "poisson"}),
    "levels": ("two outputs", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
    "torch, by element": ("multiclass", {"solver": torch.optim.NAdam}),
    "torch, by tensor": ("multiclass", {"solver": ByTensor, "normalization": "layer"}),
    "cosine": ("multiclass", {"learning_rate": "cosine", "warmup_fraction": 0.3}),
    "scheduler": ("binary", {"learning_rate": partial(lr_scheduler.StepLR, step_size=2)}),
    "float32": ("multiclass", {"dtype": "float32"}),
    "bfloat16": ("multiclass", {"dtype": "bfloat16"}),
    "bfloat16, dropout": ("binary", {"dtype": "bfloat16", "dropout": 0.3, "input_dropout": 0.2}),
    "bfloat16, layer": ("one output", {"dtype": "bfloat16", "normalization": "layer"}),
}
TOLERANCES = {"float32": {"rtol": 1e-3, "atol": 1e-4}, "bfloat16": {"rtol": 0.05, "atol": 0.01}}


@pytest.mark.matrix(12)
@pytest.mark.parametrize("key", list(FITS))
def test_first_member_is_the_model_of_one_network_without_and_with_weights(key):
    target, parameters = FITS[key]
    X, y = (array[:150] for array in TARGETS[target])
    weights = np.random.RandomState(0).uniform(0.1, 3, len(X))
    tolerance = TOLERANCES.get(parameters.get("dtype"), {})
    for n_epochs, weight in ((1, None), (3, weights)):
        ours, one = (
            network(target, **parameters | {"max_iter": n_epochs, "n_members": k}) for k in (K, 1)
        )
        assert_first_is(ours.fit(X, y, weight), one.fit(X, y, weight), **tolerance)


@pytest.mark.matrix(2)
@pytest.mark.parametrize("key", ["adam", "dropout", "batch", "torch, by element", "float32"])
def test_first_member_is_that_of_one_network_in_calls_of_partial_fit(key):
    target, parameters = FITS[key]
    X, y = TARGETS[target]
    ours, one = (network(target, **parameters | {"n_members": k}) for k in (K, 1))
    classes = {"classes": np.unique(y)} if target in CLASSIFICATION else {}
    for rows in (slice(0, 70), slice(70, 150), slice(0, 150, 2)):
        for model in (ours, one):
            model.partial_fit(X[rows], y[rows], **classes)
        assert_first_is(ours, one, **TOLERANCES.get(parameters.get("dtype"), {}))


def test_first_member_is_that_of_one_network_with_early_stopping_and_a_warm_start():
    # The scores rise with every epoch, so that the last epoch is the best for any weights.
    class Rising:
        n_calls = 0

        def __call__(self, estimator, X, y):
            self.n_calls += 1
            return self.n_calls

    X, y = TARGETS["multiclass"]
    ours, one = (
        network("multiclass", early_stopping=True, warm_start=True, scoring=Rising(), n_members=k)
        for k in (K, 1)
    )
    for _ in range(2):
        assert_first_is(ours.fit(X, y), one.fit(X, y))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_members_take_nothing_from_the_stream_of_random_state(early_stopping):
    X, y = TARGETS["multiclass"]
    states = []
    for n_members in (1, K):
        random_state = np.random.RandomState(3)
        network(
            "multiclass", random_state=random_state, n_members=n_members,
            early_stopping=early_stopping, dropout=0.1,
        ).fit(X, y)  # fmt: skip
        states.append(random_state.get_state(legacy=False))
    np.testing.assert_equal(*states)


@pytest.mark.parametrize("parameters", [{}, {"dropout": 0.3, "input_dropout": 0.2}], ids=case)
def test_members_do_not_depend_on_how_many_there_are(parameters):
    X, y = TARGETS["multiclass"]
    few, many = (network("multiclass", n_members=k, **parameters).fit(X, y) for k in (2, 5))
    for i in range(2):
        for actual, expected in zip(member(many, i).coefs_, member(few, i).coefs_, strict=True):
            assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("random_state", [None, 7])
def test_seed_decides_all_members(random_state):
    X, y = TARGETS["binary"]
    fits = []
    for seed in (5, 5, 6):
        np.random.seed(seed)
        model = network("binary", random_state=random_state, dropout=0.2, max_iter=2)
        fits.append(model.fit(X, y))
    assert_bit_equal(fits[0], fits[1])
    is_same = np.array_equal(fits[0].coefs_[0][1], fits[2].coefs_[0][1])
    assert is_same == (random_state is not None)


@pytest.mark.matrix(3)
@pytest.mark.parametrize("key", ["adam", "levels", "layer", "no hidden layer", "focal"])
def test_each_member_learns_as_one_network_does_and_the_loss_is_the_mean_of_theirs(key):
    target, parameters = FITS[key]
    X, y = TARGETS[target]
    parameters = {**parameters, "alpha": 0.5, "shuffle": False, "dropout": 0.0}
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X))
    # At this rate the weights stay the initial ones.
    start = network(target, **parameters, learning_rate_init=1e-300, max_iter=1, warm_start=True)
    start.fit(X, y, weight).set_params(learning_rate_init=0.01, max_iter=5)
    singles = [one.fit(X, y, weight) for one in members(start)]
    model = start.fit(X, y, weight)
    for i, single in enumerate(singles):
        for actual, expected in zip(member(model, i).coefs_, single.coefs_, strict=True):
            assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)
    losses = [single.loss_curve_[-5:] for single in singles]
    assert_allclose(model.loss_curve_[-5:], np.mean(losses, axis=0), rtol=1e-9)
    assert model.loss_ == model.loss_curve_[-1]
    assert len({single.loss_ for single in singles}) == K


def test_loss_is_the_mean_of_the_losses_with_the_penalty_by_hand():
    X, y = TARGETS["multiclass"]
    model = network(
        "multiclass", alpha=2.0, batch_size=150, learning_rate_init=1e-300, max_iter=1
    ).fit(X, y)
    losses = [
        log_loss(y, one.predict_proba(X))
        + 2.0 / (2 * len(X)) * sum((coef**2).sum() for coef in one.coefs_)
        for one in members(model)
    ]
    assert model.loss_ == pytest.approx(np.mean(losses), rel=1e-12)


# --- predictions ------------------------------------------------------------------------------


@pytest.mark.matrix(8)
@pytest.mark.parametrize("key", list(FITS))
def test_predictions_are_the_mean_of_those_of_the_members(key):
    target, parameters = FITS[key]
    X, y = TARGETS[target]
    model = network(target, **parameters).fit(X, y)
    method = "predict_proba" if target in CLASSIFICATION else "predict"
    each = [getattr(one, method)(X) for one in members(model)]
    assert_allclose(getattr(model, method)(X), np.mean(each, axis=0), rtol=1e-5, atol=1e-7)
    assert np.ptp(each, axis=0).max() > 1e-3
    if target not in CLASSIFICATION:
        return
    p = model.predict_proba(X)
    assert_allclose(np.exp(model.predict_log_proba(X)), p, rtol=1e-5)
    if target == "multiclass":
        assert_array_equal(model.predict(X), model.classes_[p.argmax(axis=1)])
        assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    elif target == "multilabel":
        assert_array_equal(model.predict(X), p > 0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", CLASSIFICATION)
def test_log_probabilities_are_finite_where_members_are_certain_and_disagree(target, dtype):
    X, y = TARGETS[target]
    model = network(target, dtype=dtype, max_iter=1).fit(X, y)
    model.coefs_[-1] = model.coefs_[-1] * np.array([1e6, -1e6, 1.0], dtype)[:, None, None]
    log_p = model.predict_log_proba(X)
    assert np.isfinite(log_p).all()
    each = [one.predict_proba(X) for one in members(model)]
    assert_allclose(np.exp(log_p), np.mean(each, axis=0), rtol=1e-4, atol=1e-6)


def by_hand(coefs, intercepts, X):
    """Return the raw outputs of each member of a network with relu, by NumPy."""
    raw = []
    for i in range(len(coefs[0])):
        a = X
        for j, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
            a = a @ coef[i] + intercept[i]
            if j < len(coefs) - 1:
                a = np.maximum(a, 0)
        raw.append(a)
    return np.array(raw)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=case)
def test_weights_set_by_hand_with_three_dimensions_predict(hidden, is_sparse):
    rng = np.random.RandomState(0)
    X = rng.randn(20, 5) * (rng.uniform(size=(20, 5)) < 0.6)
    units = (5, *hidden, 3)
    coefs = [rng.randn(2, *pair) for pair in pairwise(units)]
    intercepts = [rng.randn(2, n) for n in units[1:]]
    classifier = FeedForwardClassifier(hidden_layer_sizes=hidden, n_members=2)
    classifier.classes_ = np.arange(3)
    regressor = FeedForwardRegressor(hidden_layer_sizes=hidden, n_members=2)
    for model in (classifier, regressor):
        model.coefs_, model.intercepts_ = coefs, intercepts
    rows = scipy.sparse.csr_matrix(X) if is_sparse else X
    raw = by_hand(coefs, intercepts, X)
    assert_allclose(regressor.predict(rows), raw.mean(axis=0), rtol=1e-10)
    expected = softmax(raw, axis=2).mean(axis=0)
    assert_allclose(classifier.predict_proba(rows), expected, rtol=1e-10)
    assert np.abs(classifier.predict_log_proba(rows) - np.log(expected)).max() < 1e-10
    # They are a model like any other, which learns on.
    before = copy.deepcopy(coefs)
    for model, y in ((classifier, np.arange(20) % 3), (regressor, rng.randn(20, 3))):
        model.partial_fit(rows, y)
        assert model.coefs_[0].shape == (2, *units[:2])
        assert not np.array_equal(model.coefs_[0], before[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda coefs, intercepts: (coefs, [i[0] for i in intercepts]),
        lambda coefs, intercepts: ([coefs[0], coefs[1][0]], intercepts),
        lambda coefs, intercepts: ([coefs[0], coefs[1][:1]], intercepts),
        lambda coefs, intercepts: (coefs, [intercepts[0], intercepts[1][:1]]),
        lambda coefs, intercepts: ([c[None] for c in coefs], [i[None] for i in intercepts]),
        lambda coefs, intercepts: ([c[:0] for c in coefs], [i[:0] for i in intercepts]),
        lambda coefs, intercepts: ([c[:1] for c in coefs], [i[:1] for i in intercepts]),
    ],
)
def test_weights_set_by_hand_whose_shapes_do_not_fit_are_an_error(change):
    rng = np.random.RandomState(0)
    model = FeedForwardRegressor(hidden_layer_sizes=(4,), n_members=2)
    coefs, intercepts = change(
        [rng.randn(2, 5, 4), rng.randn(2, 4, 3)], [rng.randn(2, 4), rng.randn(2, 3)]
    )
    model.coefs_, model.intercepts_ = coefs, intercepts
    with pytest.raises(ValueError, match="(coefs_|intercepts_) of shapes|coefs_ is "):
        model.predict(rng.randn(6, 5))


@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_predictions_follow_weights_that_are_edited_and_replaced(target):
    X, y = TARGETS[target]
    model = network(target).fit(X, y)
    method = "predict_proba" if target in CLASSIFICATION else "predict"
    before = getattr(model, method)(X)
    model.coefs_[1][1] *= 2  # in place, and of one member only
    edited = getattr(model, method)(X)
    assert not np.allclose(before, edited)
    expected = np.mean([getattr(one, method)(X) for one in members(model)], axis=0)
    assert_allclose(edited, expected, rtol=1e-10)
    model.coefs_ = [np.ascontiguousarray(coef[::-1]) for coef in model.coefs_]
    model.intercepts_ = [intercept[::-1].tolist() for intercept in model.intercepts_]
    assert_allclose(getattr(model, method)(X), expected, rtol=1e-10)
    # Training goes on from there, with the solver's state.
    model.intercepts_ = [np.array(intercept) for intercept in model.intercepts_]
    start = [coef.copy() for coef in model.coefs_]
    model.partial_fit(X, y)
    for coef, was in zip(model.coefs_, start, strict=True):
        change = np.abs(coef - was)
        assert 0 < change.max() < 0.2


def test_predictions_of_one_row_many_rows_and_any_layout_are_equal():
    X, y = TARGETS["multiclass"]
    model = network("multiclass").fit(X, y)
    p = model.predict_proba(X)
    assert_allclose(np.vstack([model.predict_proba(X[i : i + 1]) for i in range(9)]), p[:9])
    assert_allclose(model.predict_proba(np.tile(X, (40, 1))), np.tile(p, (40, 1)))
    model.coefs_ = [np.asfortranarray(coef) for coef in model.coefs_]
    assert_allclose(model.predict_proba(np.asfortranarray(X)), p)


def test_number_of_members_that_is_set_after_fit_waits_for_the_next_fit():
    X, y = TARGETS["multiclass"]
    model = network("multiclass").fit(X, y)
    before = model.predict_proba(X)
    for n_members in (1, 5):
        model.set_params(n_members=n_members)
        assert_array_equal(model.predict_proba(X), before)
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), before)
        assert len(model.net_.module_) == K
    model.fit(X, y)
    assert model.coefs_[0].shape[0] == 5
    model.set_params(n_members=1).fit(X, y)
    assert model.coefs_[0].ndim == 2


# --- rows and targets of all kinds ------------------------------------------------------------


@pytest.mark.parametrize(
    "contain",
    [
        np.ndarray.tolist,
        np.asfortranarray,
        pd.DataFrame,
        lambda X: torch.from_numpy(X.copy()),
        lambda X: np.ascontiguousarray(X)[::1],
    ],
    ids=["list", "Fortran", "frame", "tensor", "slice"],
)
@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
def test_rows_in_any_container_give_the_bit_equal_model(contain, early_stopping):
    X, y = TARGETS["multiclass"]
    plain, other = (
        network("multiclass", early_stopping=early_stopping, dropout=0.2) for _ in range(2)
    )
    plain.fit(X, y)
    other.fit(contain(X), y)
    for actual, expected in zip(other.coefs_, plain.coefs_, strict=True):
        assert_array_equal(actual, expected)
    assert_array_equal(other.predict(contain(X)), plain.predict(X))


def test_memory_map_gives_the_bit_equal_model(tmp_path):
    X, y = TARGETS["multiclass"]
    np.save(tmp_path / "X.npy", X)
    rows = np.load(tmp_path / "X.npy", mmap_mode="r")
    models = [network("multiclass", early_stopping=True) for _ in range(2)]
    for model, each in zip(models, (X, rows), strict=True):
        model.fit(each, y)
    assert_bit_equal(*models)
    assert_array_equal(models[1].predict_proba(rows), models[0].predict_proba(X))


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", [{}, {"normalization": "batch"}, {"early_stopping": True}])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_sparse_rows_give_the_model_of_dense_ones(parameters, dtype):
    rng = np.random.RandomState(0)
    X = rng.randn(200, 40) * (rng.uniform(size=(200, 40)) < 0.02)
    y = rng.randint(0, 3, 200)
    rows = scipy.sparse.csr_matrix(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TrainingWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "dtype='bfloat16' is slower")
        sparse, dense = (
            network("multiclass", dtype=dtype, **parameters).fit(each, y) for each in (rows, X)
        )
    if dtype == "float64":
        for actual, expected in zip(sparse.coefs_, dense.coefs_, strict=True):
            assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)
    tolerance = TOLERANCES.get(dtype, {"rtol": 1e-7})
    assert_allclose(sparse.predict_proba(rows), dense.predict_proba(X), **tolerance)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_sparse_rows_with_input_dropout_keep_the_first_member(dropout):
    rng = np.random.RandomState(0)
    rows = scipy.sparse.random(200, 40, 0.02, "csr", random_state=rng)
    y = rng.randint(0, 3, 200)
    ours, one = (
        network("multiclass", input_dropout=0.3, dropout=dropout, n_members=k).fit(rows, y)
        for k in (K, 1)
    )
    assert_first_is(ours, one)


# --- validation -------------------------------------------------------------------------------


def rows_and_validation(target):
    X, y = TARGETS[target]
    order = np.random.RandomState(0).permutation(len(X))[:150]
    train, held = order[:100], order[100:]
    return X[train], y[train], X[held], y[held]


@pytest.mark.matrix(3)
@pytest.mark.parametrize("key", ["adam", "levels", "batch", "penalty", "bfloat16", "dropout"])
def test_scores_are_those_of_the_averaged_outputs(key):
    target, parameters = FITS[key]
    X, y, X_val, y_val = rows_and_validation(target)
    scoring = "loss" if key == "levels" else None
    shorter = [network(target, **parameters | {"max_iter": n}).fit(X, y) for n in range(1, 5)]
    if scoring is None:
        expected = [each.score(X_val, y_val) for each in shorter]
    else:  # the sum over targets and levels of the pinball loss
        errors = [y_val[:, :, None] - each.predict(X_val) for each in shorter]
        levels = np.array([0.1, 0.5, 0.9])
        losses = [np.maximum(levels * e, (levels - 1) * e) for e in errors]
        expected = [-each.sum(axis=(1, 2)).mean() for each in losses]
    for early_stopping in (False, True):
        model = network(target, **parameters, early_stopping=early_stopping, scoring=scoring)
        model.fit(X, y, X_val=X_val, y_val=y_val)
        assert_allclose(model.validation_scores_, expected, rtol=1e-6, atol=1e-9)
        best = shorter[int(np.argmax(expected)) if early_stopping else -1]
        for actual, wanted in zip(model.coefs_, best.coefs_, strict=True):
            assert_array_equal(actual, wanted)


def test_validation_loss_is_that_of_the_averaged_probabilities():
    X, y, X_val, y_val = rows_and_validation("multiclass")
    model = network("multiclass").fit(X, y, X_val=X_val, y_val=y_val)
    expected = log_loss(y_val, model.predict_proba(X_val))
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-10)
    mean = np.mean([log_loss(y_val, one.predict_proba(X_val)) for one in members(model)])
    assert expected < mean * 0.999


def test_scorer_of_the_user_sees_the_ensemble():
    seen = []

    def scorer(estimator, X, y):
        assert estimator.coefs_[0].shape[0] == K
        seen.append(estimator.predict_proba(X))
        return -log_loss(y, seen[-1])

    X, y, X_val, y_val = rows_and_validation("multiclass")
    model = network("multiclass", scoring=scorer, early_stopping=True)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    best = int(np.argmax(model.validation_scores_))
    assert_array_equal(seen[best], model.predict_proba(X_val))


# --- copies, starts and errors ----------------------------------------------------------------


@pytest.mark.matrix(3)
@pytest.mark.parametrize("key", ["adam", "dropout", "batch", "torch, by element", "bfloat16"])
def test_equal_fits_are_bit_equal_and_pickles_and_clones_go_on_alike(key):
    target, parameters = FITS[key]
    X, y = TARGETS[target]
    model, again = (network(target, **parameters).fit(X, y) for _ in range(2))
    assert_bit_equal(model, again)
    assert_bit_equal(clone(model).fit(X, y), model)
    loaded = pickle.loads(pickle.dumps(model))
    assert_bit_equal(loaded, model)
    for each in (model, loaded):
        each.partial_fit(X, y)
    assert_bit_equal(loaded, model)


@pytest.mark.matrix
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 2)])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_another_number_of_members_at_a_warm_start_is_an_error_that_loses_nothing(
    target, before, after, call
):
    X, y = TARGETS[target]
    model = network(target, n_members=before, warm_start=True, max_iter=2).fit(X, y)
    state = fitted_state(model)
    model.set_params(n_members=after)
    with pytest.raises(ValueError, match=f"n_members={after} .*warm_start=False") as caught:
        getattr(model, call)(X, y)
    assert str(model.coefs_[0].shape) in str(caught.value)
    assert repr(fitted_state(model)) == repr(state)
    model.set_params(n_members=before).partial_fit(X, y)


@pytest.mark.parametrize("before", [1, 2])
def test_weights_of_another_number_of_members_begin_with_a_new_solver(before):
    X, y = TARGETS["multiclass"]
    model = network("multiclass", n_members=before).fit(X, y)
    other = network("multiclass", random_state=1).fit(X, y)
    model.set_params(n_members=K, warm_start=True)
    model.coefs_, model.intercepts_ = other.coefs_, other.intercepts_
    model.fit(X, y)
    assert model.coefs_[0].shape == (K, 4, 6)
    assert model.predict_proba(X).shape == (150, 3)


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, [2]], ids=case)
def test_number_of_members_that_is_no_count_is_an_error(value):
    X, y = TARGETS["one output"]
    model = network("one output", max_iter=1).fit(X, y)
    state = fitted_state(model)
    with pytest.raises(InvalidParameterError, match="'n_members' parameter"):
        model.set_params(n_members=value).fit(X, y)
    assert repr(fitted_state(model)) == repr(state)
    with pytest.raises(InvalidParameterError, match="'n_members' parameter"):
        network("one output", n_members=value).partial_fit(X, y)


@pytest.mark.parametrize("n_members", [np.int64(3), True], ids=case)
def test_number_of_members_may_be_any_integer(n_members):
    X, y = TARGETS["one output"]
    model = network("one output", n_members=n_members, max_iter=1).fit(X, y)
    expected = network("one output", n_members=int(n_members), max_iter=1).fit(X, y)
    assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert_array_equal(model.predict(X), expected.predict(X))


def test_lbfgs_is_an_error_that_says_why():
    X, y = TARGETS["multiclass"]
    model = network("multiclass").fit(X, y)
    state = fitted_state(model)
    with pytest.raises(ValueError, match="'n_members' parameter is 3, .*lbfgs.* one network"):
        model.set_params(solver="lbfgs").fit(X, y)
    assert repr(fitted_state(model)) == repr(state)
    network("multiclass", solver="lbfgs", n_members=1).fit(X, y)


class Halved(nn.Module):
    def forward(self, x):
        return x[: len(x) // 2]


class Doubled(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], 1)


@pytest.mark.parametrize(
    ("module", "dtype"), [(Halved, "auto"), (Doubled, "auto"), (Halved, "bfloat16")]
)
def test_module_that_changes_the_shape_is_an_error_that_loses_nothing(module, dtype):
    X, y = TARGETS["multiclass"]
    model = network("multiclass", dtype=dtype).fit(X, y)
    state = fitted_state(model)
    with pytest.raises(ValueError, match=module.__name__):
        model.set_params(activation=module).fit(X, y)
    assert repr(fitted_state(model)) == repr(state)


@pytest.mark.parametrize("other", [nn.Tanh, partial(nn.PReLU, 6)], ids=["another", "a shape"])
def test_modules_that_differ_from_member_to_member_are_an_error_that_loses_nothing(other):
    made = []

    def make_module():
        made.append(nn.PReLU() if len(made) < 3 else other())
        return made[-1]

    X, y = TARGETS["multiclass"]
    model = network("multiclass").fit(X, y)
    state = fitted_state(model)
    with pytest.raises(ValueError, match=r"'activation' parameter .*the n_members=3 networks"):
        model.set_params(activation=make_module).fit(X, y)
    assert repr(fitted_state(model)) == repr(state)
    # Its layers may differ.
    layers = [nn.PReLU, partial(nn.PReLU, 5)]
    model.set_params(activation=layers).fit(X, y)
    assert model.module_state_["activation0.weight"].shape == (K, 1)
    assert model.module_state_["activation1.weight"].shape == (K, 5)


@pytest.mark.parametrize("i", range(K))
def test_member_that_diverges_is_the_usual_error(i):
    X, y = TARGETS["two outputs"]
    model = network("two outputs", warm_start=True, activation="identity").fit(X, y)
    for coef in model.coefs_:
        coef[i] *= 1e120
    state = fitted_state(model)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X, y)
    assert repr(fitted_state(model)) == repr(state)


def test_member_that_diverges_with_early_stopping_gives_the_usual_warning():
    X, y, X_val, y_val = rows_and_validation("two outputs")
    model = network(
        "two outputs", solver="sgd", learning_rate_init=1e5, activation="identity",
        early_stopping=True, max_iter=40,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="Training diverged"):
        model.fit(X, y, X_val=X_val, y_val=y_val)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()


# --- callbacks, interrupts and threads --------------------------------------------------------


class Norms(Callback):
    """A callback that records the norm of the gradient of each member after each step."""

    def on_train_begin(self, net, **kwargs):
        self.norms_, self.losses_ = [], []

    def on_batch_end(self, net, training=False, loss=None, **kwargs):
        self.losses_.append(float(loss))
        squares = [
            sum(float(p.grad.square().sum()) for p in member.parameters()) for member in net.module_
        ]
        self.norms_.append(np.sqrt(squares))


def test_callbacks_of_batches_see_the_gradients_and_the_mean_loss():
    X, y = TARGETS["multiclass"]
    plain = network("multiclass", normalization="layer").fit(X, y)
    model = network("multiclass", normalization="layer", callbacks=[("norms", Norms())])
    model.fit(X, y)
    for actual, expected in zip(model.coefs_, plain.coefs_, strict=True):
        assert_array_equal(actual, expected)
    norms = dict(model.callbacks_)["norms"]
    assert np.shape(norms.norms_) == (4 * 4, K)
    assert (np.array(norms.norms_) > 0).all()
    sizes = np.array([40, 40, 40, 30])
    losses = np.reshape(norms.losses_, (4, 4)) @ sizes / 150
    assert_allclose(losses, plain.loss_curve_, rtol=1e-6)


def test_callback_that_clips_gradients_clips_those_of_all_members():
    X, y = TARGETS["multiclass"]
    clipping = GradientNormClipping(1e-3)
    clipped = network("multiclass", solver="sgd", callbacks=[clipping], momentum=0.0).fit(X, y)
    plain = network("multiclass", solver="sgd", momentum=0.0).fit(X, y)
    start = network("multiclass", solver="sgd", learning_rate_init=1e-300).fit(X, y)
    moved, expected = (
        sum(np.square(c - s).sum() for c, s in zip(each.coefs_, start.coefs_, strict=True))
        for each in (clipped, plain)
    )
    assert 0 < np.sqrt(moved) <= 1e-3 * 0.01 * 16 * 1.001
    assert expected > 100 * moved


def test_interrupt_keeps_the_last_finished_epoch(monkeypatch):
    epoch, n_epochs = Trainer.epoch, []

    def interrupted(self, net=None):
        loss = epoch(self, net)
        if len(n_epochs) == 2:
            raise KeyboardInterrupt
        n_epochs.append(1)
        return loss

    X, y = TARGETS["multiclass"]
    parameters = {"dropout": 0.2, "normalization": "batch"}
    expected = network("multiclass", **parameters, max_iter=2).fit(X, y)
    monkeypatch.setattr(Trainer, "epoch", interrupted)
    model = network("multiclass", **parameters)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert model.n_iter_ == 2
    for actual, wanted in zip(model.coefs_, expected.coefs_, strict=True):
        assert_array_equal(actual, wanted)


def test_threads_predict_while_another_fits():
    X, y = TARGETS["multiclass"]
    fitted = network("multiclass", normalization="batch").fit(X, y)
    expected = fitted.predict_proba(X)
    alone = network("multiclass", max_iter=30, dropout=0.2).fit(X, y)
    model = network("multiclass", max_iter=30, dropout=0.2)
    results, errors = [], []

    def predict():
        try:
            results.extend(fitted.predict_proba(X) for _ in range(30))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    model.fit(X, y)
    for thread in threads:
        thread.join()
    assert not errors
    assert all(np.array_equal(p, expected) for p in results) and len(results) == 60
    assert_bit_equal(model, alone)


@pytest.mark.parametrize("key", ["adam", "batch", "levels", "module"])
def test_net_has_a_module_of_each_member_and_answers_for_their_mean(key):
    target, parameters = FITS[key]
    X, y = TARGETS[target]
    model = network(target, **parameters).fit(X, y)
    net = model.net_
    assert len(net.module_) == K
    for i, one in enumerate(net.module_):
        layers = one.linear_layers()
        for layer, coef in zip(layers, model.coefs_, strict=True):
            assert_array_equal(layer.weight.detach().numpy().T, coef[i])
    method = "predict_proba" if target in CLASSIFICATION else "predict"
    assert_allclose(net.predict_proba(X), getattr(model, method)(X), rtol=1e-10)
    # What is changed there is a copy, which the net's own answers follow.
    with torch.no_grad():
        net.module_[1].linear_layers()[-1].bias.add_(1.0)
    changed = copy.deepcopy(model)
    changed.intercepts_[-1][1] += 1.0
    assert_allclose(net.predict_proba(X), getattr(changed, method)(X), rtol=1e-10)


# --- real data --------------------------------------------------------------------------------


def losses_of_one_and_eight(kind, X, y, **parameters):
    """Return the mean loss of three networks on held-out rows, and that of eight members."""
    stratify = y if kind is FeedForwardClassifier else None
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=stratify)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)

    def loss(n_members, seed):
        model = kind(n_members=n_members, random_state=seed, dtype="float32", **parameters)
        model.fit(X, y)
        if kind is FeedForwardClassifier:
            return log_loss(y_test, model.predict_proba(X_test))
        return np.mean((y_test - model.predict(X_test)) ** 2)

    return np.mean([loss(1, seed) for seed in range(3)]), loss(8, 0)


def test_eight_members_have_a_lower_loss_than_one_on_digits():
    one, eight = losses_of_one_and_eight(
        FeedForwardClassifier, *load_digits(return_X_y=True),
        hidden_layer_sizes=(8,), max_iter=40, learning_rate_init=0.01,
    )  # fmt: skip
    assert eight < 0.8 * one  # about 0.6


@pytest.mark.long
def test_eight_members_have_a_lower_loss_than_one_on_26_classes():
    X, y = make_classification(
        2600, 16, n_informative=12, n_classes=26, n_clusters_per_class=1, class_sep=1.5,
        random_state=0,
    )  # fmt: skip
    one, eight = losses_of_one_and_eight(
        FeedForwardClassifier, X, y, hidden_layer_sizes=(32,), max_iter=40, learning_rate_init=0.02
    )
    assert eight < 0.85 * one  # about 0.7


@pytest.mark.long
def test_eight_members_have_a_lower_error_than_one_on_diabetes():
    X, y = load_diabetes(return_X_y=True)
    one, eight = losses_of_one_and_eight(
        FeedForwardRegressor, X, y / 100,
        hidden_layer_sizes=(20, 20, 20), max_iter=100, learning_rate_init=0.02,
        n_iter_no_change=1000,
    )  # fmt: skip
    assert eight < 0.85 * one  # about 0.7
