"""Estimators with the losses that scikit-learn lacks: shapes, scores, weights and solvers."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import torch
from added_losses import CLASSIFICATION, assert_same_weights, network
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import (
    d2_pinball_score,
    make_scorer,
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    r2_score,
)
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardRegressor
from sknn._input._targets import pinball_score

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LEVELS = [0.1, 0.4, 0.5, 0.9]
REGRESSION_LOSSES = {
    "absolute_error": {"loss": "absolute_error"},
    "huber": {"loss": "huber", "huber_delta": 0.5},
    "level": {"loss": "quantile", "quantile": 0.3},
    "levels": {"loss": "quantile", "quantile": LEVELS},
    "gamma": {"loss": "gamma"},
    "callable": {"loss": lambda raw, y: (raw - y).abs().pow(1.5).sum(1)},
}
CLASSIFICATION_LOSSES = {
    "focal": {"loss": "focal", "focal_gamma": 1.5},
    "smoothed": {"label_smoothing": 0.2},
    "smoothed focal": {"loss": "focal", "label_smoothing": 0.2},
    "callable": {"loss": lambda raw, y: (torch.sigmoid(raw) - y).square().sum(1)},
}
CASES = [
    *(
        (target, name, parameters)
        for name, parameters in REGRESSION_LOSSES.items()
        for target in ("one output", "two outputs")
    ),
    *(
        (target, name, parameters)
        for name, parameters in CLASSIFICATION_LOSSES.items()
        for target in CLASSIFICATION
    ),
]
# Every loss and every kind of targets is among these pairs.
QUICK = [
    *(("one output", name) for name in ("absolute_error", "level", "gamma")),
    *(("two outputs", name) for name in ("huber", "levels", "callable")),
    *(("binary", "focal"), ("multiclass", "smoothed focal")),
    *(("multilabel", "smoothed"), ("binary", "callable")),
]
each_loss = pytest.mark.parametrize(
    ("target", "parameters"),
    [pytest.param(t, p, id=f"{t}-{name}") for t, name, p in CASES if (t, name) in QUICK],
)
each_loss_and_target = pytest.mark.parametrize(
    ("target", "parameters"),
    [
        pytest.param(t, p, id=f"{t}-{name}", marks=[pytest.mark.long] * ((t, name) not in QUICK))
        for t, name, p in CASES
    ],
)


def classes_for(target):
    if target not in CLASSIFICATION:
        return {}
    y = TARGETS[target][1]
    return {"classes": np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)}


# --- values of the losses ---------------------------------------------------------------------

METRICS = {
    "absolute_error": ({"loss": "absolute_error"}, mean_absolute_error),
    "level": (
        {"loss": "quantile", "quantile": 0.8},
        partial(mean_pinball_loss, alpha=0.8),
    ),
    "gamma": ({"loss": "gamma"}, mean_gamma_deviance),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "gamma")) for name in METRICS]
)
def test_network_learns_its_own_metric_better_than_squares(name):
    parameters, metric = METRICS[name]
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (400, 2))
    y = np.exp(np.sin(3 * X[:, 0]) + 0.7 * rng.randn(400))
    common = {
        "hidden_layer_sizes": (20,),
        "activation": "tanh",
        "learning_rate": "cosine",
        "learning_rate_init": 0.03,
        "batch_size": 50,
        "max_iter": 50,
        "n_iter_no_change": np.inf,
    }
    squares, own = (
        FeedForwardRegressor(random_state=0, **common, **p).fit(X, y).predict(X)
        for p in ({}, parameters)
    )
    assert metric(y, own) < metric(y, np.maximum(squares, 1e-2))


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_constant_prediction_of_a_quantile_is_the_empirical_quantile(level):
    # All rows are equal, so the best prediction is a quantile of the targets.
    y = np.random.RandomState(0).standard_gamma(2.0, 301)
    model = FeedForwardRegressor(
        loss="quantile",
        quantile=level,
        hidden_layer_sizes=(),
        batch_size=301,
        learning_rate="cosine",
        learning_rate_init=0.1,
        max_iter=300,
        n_iter_no_change=np.inf,
        random_state=0,
    ).fit(np.zeros((301, 1)), y)
    expected = np.quantile(y, level)
    assert model.predict([[0.0]]) == pytest.approx([expected], abs=0.02)
    below = (y < model.predict([[0.0]])).mean()
    assert below == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"loss": "absolute_error"}, 2.0),
        ({"loss": "huber", "huber_delta": 1e6}, 22.2),
        ({"loss": "gamma"}, 22.2),
        ({"loss": "huber", "huber_delta": 5.0}, "the zero of the clipped residuals' sum"),
    ],
    ids=str,
)
def test_constant_prediction_of_a_loss_is_its_known_minimum(parameters, expected):
    y = np.array([1.0, 2.0, 2.0, 6.0, 100.0])
    if isinstance(expected, str):
        delta = parameters["huber_delta"]
        expected = scipy.optimize.brentq(lambda m: np.clip(m - y, -delta, delta).sum(), 1, 100)
    model = FeedForwardRegressor(
        hidden_layer_sizes=(),
        batch_size=5,
        learning_rate="cosine",
        learning_rate_init=0.5,
        max_iter=400,
        n_iter_no_change=np.inf,
        tol=0,
        random_state=0,
        **parameters,
    ).fit(np.zeros((5, 1)), y)
    assert model.predict([[0.0]]) == pytest.approx([expected], abs=0.02)


def test_focal_loss_without_focus_is_log_loss():
    for target in CLASSIFICATION:
        X, y = TARGETS[target]
        plain, focal = (
            network(target, **p).fit(X, y) for p in ({}, {"loss": "focal", "focal_gamma": 0})
        )
        assert_same_weights(focal, plain, atol=1e-12)
        assert focal.loss_ == pytest.approx(plain.loss_, rel=1e-10)


@pytest.mark.parametrize("target", CLASSIFICATION)
def test_focal_loss_is_the_reported_mean_over_rows(target):
    X, y = TARGETS[target]
    model = network(
        target, loss="focal", focal_gamma=2.5, max_iter=2, batch_size=1000, alpha=0, shuffle=False
    )
    with pytest.warns(match="batch_size"):
        model.fit(X, y)
    # An epoch has one step, so the loss of the second epoch is that of the model after the first.
    with pytest.warns(match="batch_size"):
        first = clone(model).set_params(max_iter=1).fit(X, y)
    p = first.predict_proba(X)
    p_true = np.where(y == 1, p, 1 - p) if y.ndim == 2 else p[np.arange(len(y)), y][:, None]
    expected = -((1 - p_true) ** 2.5 * np.log(p_true)).sum(1).mean()
    assert model.loss_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("target", CLASSIFICATION)
def test_label_smoothing_is_the_reported_cross_entropy_with_smooth_targets(target):
    X, y = TARGETS[target]
    model = network(target, label_smoothing=0.3, max_iter=2, batch_size=1000, alpha=0)
    with pytest.warns(match="batch_size"):
        model.fit(X, y)
    with pytest.warns(match="batch_size"):
        first = clone(model).set_params(max_iter=1).fit(X, y)
    p = first.predict_proba(X)
    if target == "multilabel":
        smooth = y * 0.7 + 0.15
        expected = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).sum(1).mean()
    else:
        n_classes = p.shape[1]
        smooth = np.eye(n_classes)[y] * 0.7 + 0.3 / n_classes
        expected = -(smooth * np.log(p)).sum(1).mean()
    assert model.loss_ == pytest.approx(expected, rel=1e-9)


def test_smooth_labels_keep_probabilities_away_from_zero_and_one():
    X, y = TARGETS["multiclass"]
    parameters = {"solver": "lbfgs", "max_iter": 1000, "alpha": 0, "hidden_layer_sizes": (20,)}
    rows = np.r_[0:40, 50:80]  # These two of the three classes can be separated without errors.
    X, y = StandardScaler().fit_transform(X)[rows], y[rows]
    sharp, smooth = (
        network("binary", label_smoothing=e, **parameters).fit(X, y).predict_proba(X)
        for e in (0.0, 0.2)
    )
    assert sharp.max(1).mean() > 0.999
    # The loss is smallest where the probability of the label equals its smooth target.
    assert_allclose(smooth[np.arange(len(y)), y], 0.9, atol=1e-2)


# --- predictions and attributes ---------------------------------------------------------------


def test_each_level_has_a_column_and_columns_never_cross():
    X, y = TARGETS["one output"]
    model = network("one output", loss="quantile", quantile=LEVELS, max_iter=1).fit(X, y)
    # After one epoch the raw outputs still cross, so their order does not come from learning.
    raw = np.tanh(X @ model.coefs_[0] + model.intercepts_[0]) @ model.coefs_[1]
    raw += model.intercepts_[1]
    assert (np.diff(raw) < 0).any()
    prediction = model.predict(X)
    assert prediction.shape == (len(X), 4)
    assert prediction.dtype == np.float64
    assert_allclose(prediction, np.sort(raw), rtol=1e-12, atol=1e-12)
    assert model.n_outputs_ == 4
    assert model.out_activation_ == "sort"
    assert model.n_layers_ == 3


@pytest.mark.parametrize("n_targets", [2, 3])
def test_levels_of_several_targets_have_an_axis_and_never_cross(n_targets):
    X, y = TARGETS["one output"]
    y = np.c_[y, -y, X[:, 0]][:, :n_targets]
    model = network("two outputs", loss="quantile", quantile=LEVELS, max_iter=1).fit(X, y)
    raw = np.tanh(X @ model.coefs_[0] + model.intercepts_[0]) @ model.coefs_[1]
    raw = (raw + model.intercepts_[1]).reshape(len(X), n_targets, 4)
    for target in range(n_targets):
        assert (np.diff(raw[:, target]) < 0).any()
    prediction = model.predict(X)
    assert_allclose(prediction, np.sort(raw), rtol=1e-12, atol=1e-12)
    for rows in (X[:1], scipy.sparse.csr_matrix(X), np.repeat(X, 40, axis=0)):
        expected = prediction if len(X) == rows.shape[0] else prediction[[0] * rows.shape[0]]
        expected = np.repeat(prediction, 40, axis=0) if rows.shape[0] > len(X) else expected
        assert_allclose(model.predict(rows), expected, rtol=1e-12, atol=1e-12)
    assert (model.n_outputs_, model.out_activation_) == (4 * n_targets, "sort")
    assert f"-> {4 * n_targets}" in model.summary()


def test_list_of_one_level_for_two_targets_has_an_axis_for_it():
    X, y = TARGETS["two outputs"]
    number, one = (
        network("two outputs", loss="quantile", quantile=q).fit(X, y) for q in (0.3, [0.3])
    )
    assert_same_weights(one, number)
    assert one.predict(X).shape == (len(X), 2, 1)
    assert_array_equal(one.predict(X)[:, :, 0], number.predict(X))
    assert one.score(X, y) == number.score(X, y)


def test_predictions_are_those_of_the_fit_whatever_is_set_afterwards():
    X, y = TARGETS["two outputs"]
    model = network("two outputs", loss="quantile", quantile=LEVELS).fit(X, y)
    expected = model.predict(X)
    model.set_params(loss="squared_error", quantile=0.5)
    assert_array_equal(model.predict(X), expected)


@pytest.mark.matrix
@pytest.mark.parametrize("target", ["one output", "two outputs"])
@pytest.mark.parametrize("n_hidden", [0, 2])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_levels_never_cross_far_from_the_rows(solver, n_hidden, target):
    X, y = TARGETS[target]
    model = network(target, loss="quantile", quantile=LEVELS, solver=solver)
    model.set_params(hidden_layer_sizes=(5,) * n_hidden, max_iter=30).fit(X, y)
    far = 100 * np.random.RandomState(0).randn(1000, X.shape[1])
    assert (np.diff(model.predict(far)) >= 0).all()


def test_list_of_one_level_gives_one_column():
    X, y = TARGETS["one output"]
    number, one = (
        network("one output", loss="quantile", quantile=q).fit(X, y) for q in (0.3, [0.3])
    )
    assert_same_weights(one, number)
    assert number.predict(X).shape == (len(X),)
    assert one.predict(X).shape == (len(X), 1)
    assert_array_equal(one.predict(X)[:, 0], number.predict(X))
    assert one.n_outputs_ == number.n_outputs_ == 1
    assert one.score(X, y) == number.score(X, y)


@pytest.mark.parametrize("levels", [(0.2, 0.7), np.array([0.2, 0.7]), np.float64([0.2, 0.7])])
def test_levels_may_be_any_sequence(levels):
    X, y = TARGETS["one output"]
    as_list = network("one output", loss="quantile", quantile=[0.2, 0.7]).fit(X, y)
    other = network("one output", loss="quantile", quantile=levels).fit(X, y)
    assert_bit_equal(other, as_list)
    assert_array_equal(other.predict(X), as_list.predict(X))


def test_one_level_for_two_outputs_gives_a_column_for_each_output():
    X, y = TARGETS["two outputs"]
    model = network("two outputs", loss="quantile", quantile=0.3).fit(X, y)
    assert model.predict(X).shape == (len(X), 2)
    assert (model.n_outputs_, model.out_activation_) == (2, "identity")
    raw = np.tanh(X @ model.coefs_[0] + model.intercepts_[0]) @ model.coefs_[1]
    assert_allclose(model.predict(X), raw + model.intercepts_[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("y_shape", ["vector", "column"])
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_levels_take_a_vector_or_a_column_of_targets(y_shape):
    X, y = TARGETS["one output"]
    parameters = {"loss": "quantile", "quantile": LEVELS}
    model = network("one output", **parameters).fit(X, y)
    other = network("one output", **parameters).fit(X, y if y_shape == "vector" else y[:, None])
    assert_bit_equal(other, model)
    assert other.score(X, y[:, None]) == model.score(X, y)


@each_loss_and_target
def test_outputs_have_the_link_of_their_loss(target, parameters):
    X, y = TARGETS[target]
    model = network(target, **parameters).fit(X, y)
    expected = {"binary": "logistic", "multilabel": "logistic", "multiclass": "softmax"}
    link = expected.get(target, "identity")
    if parameters.get("loss") == "gamma":
        link = "exp"
    if isinstance(parameters.get("quantile"), list):
        link = "sort"
    assert model.out_activation_ == link
    assert model.n_outputs_ == len(model.intercepts_[-1])
    if target not in CLASSIFICATION and link != "sort":
        assert model.predict(X).shape == y.shape
    elif target in CLASSIFICATION:
        assert model.predict_proba(X).shape == (
            y.shape if y.ndim == 2 else (len(y), len(model.classes_))
        )


def test_gamma_predicts_positive_numbers():
    X, y = TARGETS["two outputs"]
    model = network("two outputs", loss="gamma").fit(X, y)
    raw = np.tanh(X @ model.coefs_[0] + model.intercepts_[0]) @ model.coefs_[1]
    assert_allclose(model.predict(X), np.exp(raw + model.intercepts_[1]), rtol=1e-12)
    assert (model.predict(-50 * X) > 0).all()


# --- scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("quantile", [0.3, [0.3], LEVELS], ids=str)
def test_score_of_levels_is_the_mean_d2_pinball_score(quantile, weighted):
    X, y = TARGETS["one output"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else None
    model = network("one output", loss="quantile", quantile=quantile).fit(X, y, weight)
    prediction = model.predict(X).reshape(len(X), -1)
    expected = np.mean(
        [
            d2_pinball_score(y, column, alpha=level, sample_weight=weight)
            for level, column in zip(np.atleast_1d(quantile), prediction.T, strict=True)
        ]
    )
    assert model.score(X, y, weight) == pytest.approx(expected, rel=1e-12)
    assert model.score(X.tolist(), y.tolist(), weight) == model.score(X, y, weight)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_score_of_levels_of_two_targets_is_the_mean_over_both(weighted):
    X, y = TARGETS["two outputs"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else None
    model = network("two outputs", loss="quantile", quantile=LEVELS).fit(X, y, weight)
    prediction = model.predict(X)
    expected = np.mean(
        [
            d2_pinball_score(y[:, t], prediction[:, t, i], alpha=level, sample_weight=weight)
            for t in range(2)
            for i, level in enumerate(LEVELS)
        ]
    )
    assert model.score(X, y, weight) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="different number of output"):
        model.score(X, y[:, 0])


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_score_of_a_level_for_two_outputs_is_the_d2_pinball_score(weighted):
    X, y = TARGETS["two outputs"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X)) if weighted else None
    model = network("two outputs", loss="quantile", quantile=0.3).fit(X, y, weight)
    expected = d2_pinball_score(y, model.predict(X), alpha=0.3, sample_weight=weight)
    assert model.score(X, y, weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["absolute_error", "huber", "gamma", "callable"])
def test_score_of_the_other_losses_is_r2(name):
    X, y = TARGETS["two outputs"]
    weight = np.random.RandomState(0).uniform(0.1, 3, len(X))
    model = network("two outputs", **REGRESSION_LOSSES[name]).fit(X, y)
    expected = r2_score(y, model.predict(X), sample_weight=weight)
    assert model.score(X, y, weight) == pytest.approx(expected, rel=1e-12)


def test_cross_validation_scores_levels_by_default_and_by_a_metric():
    X, y = TARGETS["one output"]
    model = network("one output", loss="quantile", quantile=[0.2, 0.8])
    scores = cross_val_score(model, X, y, cv=3, error_score="raise")
    width = cross_val_score(
        model, X, y, cv=3, scoring=make_scorer(lambda y, p: np.diff(p).mean()), error_score="raise"
    )
    assert np.isfinite(scores).all()
    assert (width >= 0).all()


def test_search_over_levels_of_two_targets_takes_the_default_score():
    X, y = TARGETS["two outputs"]
    model = network("two outputs", loss="quantile", quantile=LEVELS)
    grid = {"alpha": [1e-4, 100.0], "quantile": [LEVELS, [0.3, 0.6]]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y)
    best = clone(model).set_params(**search.best_params_).fit(X, y)
    assert_array_equal(search.predict(X), best.predict(X))
    assert search.score(X, y) == best.score(X, y)


def test_quantile_changes_nothing_with_another_loss():
    X, y = TARGETS["two outputs"]
    plain = network("two outputs").fit(X, y)
    other = network("two outputs", quantile=LEVELS, huber_delta=7.0).fit(X, y)
    other._notes = [note for note in other._notes if "is ignored because" not in note]
    assert_bit_equal(other, plain)
    assert_array_equal(other.predict(X), plain.predict(X))
    assert other.score(X, y) == plain.score(X, y)


# --- weights, solvers, precision, continued training ------------------------------------------


@pytest.mark.matrix(5)
@each_loss_and_target
def test_integer_weights_equal_repeated_rows(target, parameters):
    X, y = TARGETS[target]
    X, y = X[:150], y[:150]
    weight = np.random.RandomState(0).randint(0, 4, len(X))
    weight[[0, 75, 149]] = 1  # This keeps a row of every class.
    rows = np.repeat(np.arange(len(X)), weight)
    common = {"max_iter": 8, "alpha": 0.5, "batch_size": 1000, **parameters}
    # Each epoch is one step with all rows, so neither their order nor their number matters.
    with pytest.warns(match="batch_size"):
        weighted = network(target, **common).fit(X, y, weight)
    with pytest.warns(match="batch_size"):
        repeated = network(target, **common).fit(X[rows], y[rows])
    assert_same_weights(weighted, repeated, atol=1e-9)
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-9)


@pytest.mark.matrix(6)
@each_loss
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_loss_falls_with_every_solver(target, parameters, solver):
    X, y = TARGETS[target]
    model = network(target, solver=solver, **parameters)
    first, last = (clone(model).set_params(max_iter=n).fit(X, y).loss_ for n in (1, 15))
    assert last < first


@pytest.mark.matrix(5)
@each_loss
def test_partial_fit_is_one_epoch_of_fit(target, parameters):
    X, y = TARGETS[target]
    whole = network(target, max_iter=1, **parameters).fit(X, y)
    part = network(target, **parameters).partial_fit(X, y, **classes_for(target))
    assert_same_weights(part, whole)
    assert part.loss_curve_ == whole.loss_curve_
    part.partial_fit(X, y)
    assert len(part.loss_curve_) == 2
    assert part.loss_curve_[1] < part.loss_curve_[0]


@pytest.mark.matrix(5)
@each_loss
def test_warm_start_continues_from_the_weights(target, parameters):
    X, y = TARGETS[target]
    model = network(target, warm_start=True, solver="sgd", momentum=0, shuffle=False, **parameters)
    model.set_params(max_iter=2)
    for _ in range(2):
        model.fit(X, y)
    whole = network(target, solver="sgd", momentum=0, shuffle=False, **parameters)
    assert_same_weights(model, whole.set_params(max_iter=4).fit(X, y))


@pytest.mark.matrix(4)
@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        pytest.param(t, p, id=f"{t}-{name}")
        for t, name, p in CASES
        if (t, name) in QUICK and name != "callable"
    ],
)
def test_pickled_model_predicts_and_continues(target, parameters):
    X, y = TARGETS[target]
    model = network(target, **parameters).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict(X), model.predict(X))
    assert copy.score(X, y) == model.score(X, y)
    assert_bit_equal(copy.partial_fit(X, y), model.partial_fit(X, y))


@pytest.mark.matrix(5)
@each_loss
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_single_precision_is_near_double(target, parameters, solver):
    X, y = TARGETS[target]
    single, double = (
        network(target, solver=solver, dtype=dtype, **parameters).fit(X, y)
        for dtype in ("float32", "float64")
    )
    assert {array.dtype for array in single.coefs_ + single.intercepts_} == {np.dtype(np.float32)}
    assert single.loss_ == pytest.approx(double.loss_, rel=1e-3)
    name = "predict_proba" if target in CLASSIFICATION else "predict"
    actual, expected = (getattr(model, name)(X) for model in (single, double))
    assert actual.dtype == np.float32
    assert_allclose(actual, expected, rtol=2e-2, atol=2e-3)


@pytest.mark.matrix(6)
@each_loss_and_target
def test_early_stopping_watches_the_score_of_the_loss(target, parameters):
    X, y = TARGETS[target]
    held_out = {"X_val": X[::3], "y_val": y[::3]}
    model = network(target, early_stopping=True, **parameters).fit(X, y, **held_out)
    watched = model.score(*held_out.values())
    if parameters.get("loss") == "gamma":
        watched = -model.validation_loss_curve_[model.best_epoch_ - 1]
    assert model.best_validation_score_ == pytest.approx(watched, rel=1e-12)
    split = network(target, early_stopping=True, **parameters).fit(X, y)
    assert len(split.validation_loss_curve_) == split.n_iter_


@pytest.mark.matrix(3)
@each_loss
def test_same_seed_gives_the_same_model(target, parameters):
    X, y = TARGETS[target]
    assert_bit_equal(*(network(target, **parameters).fit(X, y) for _ in range(2)))


@pytest.mark.matrix(6)
@each_loss_and_target
def test_net_has_the_loss_as_its_criterion(target, parameters):
    X, y = TARGETS[target]
    model = network(target, alpha=0, max_iter=1, **parameters).fit(X, y)
    net = model.net_
    encoded = y[:, None] if y.ndim == 1 else y
    encoded = encoded.astype(np.int64 if target == "multiclass" else np.float64)
    with torch.no_grad():
        raw = net.module_(torch.from_numpy(X))
        loss = net.criterion_(raw, torch.from_numpy(encoded)).item()
    # The first loss that L-BFGS computes is that of all rows before any step.
    again = clone(model).set_params(solver="lbfgs", warm_start=True, max_fun=1, max_iter=1)
    vars(again).update({k: v for k, v in vars(model).items() if k not in model.get_params()})
    assert loss == pytest.approx(_first_loss_of_lbfgs(again, X, y), rel=1e-9)


def _first_loss_of_lbfgs(model, X, y):
    """Return the loss at the point where L-BFGS begins."""
    values = []
    minimize = scipy.optimize.minimize

    def listen(function, *args, **kwargs):
        values.append(function(args[0])[0])
        return minimize(function, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scipy.optimize, "minimize", listen)
        model.fit(X, y)
    return values[0]


@pytest.mark.parametrize("levels", [(0.5,), (0.1, 0.9)])
def test_score_of_levels_that_are_not_finite_is_nan(levels):
    prediction = np.ones((3, len(levels)))
    prediction[1, -1] = np.inf
    if len(levels) == 1:
        prediction = prediction[:, 0]
    assert np.isnan(pinball_score(np.arange(3.0), prediction, levels, None))


def test_score_with_other_levels_than_those_of_the_fit_is_an_error():
    X, y = TARGETS["two outputs"]
    model = FeedForwardRegressor("quantile", quantile=[0.1, 0.5, 0.9], max_iter=2, random_state=0)
    model.fit(X, y).set_params(quantile=[0.2, 0.5])
    message = r"'quantile' parameter has 2 level\(s\), \[0.2, 0.5\], but .* predicts 3"
    with pytest.raises(ValueError, match=message):
        model.score(X, y)
