"""Training watches and records `X_val` and restores the best epoch, in each way to fit.

The ways include pipelines, searches and metadata routing of scikit-learn.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import sklearn
from conftest import assert_bit_equal, case
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    r2_score,
)
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from validation import (
    CLASSIFICATION,
    SMALL,
    VARIANTS,
    Rising,
    assert_same_weights,
    best_epoch,
    data,
    is_over,
    network,
    unweighted,
)

import sknn._data._batches
import sknn._training._validation
from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def mlp(target, **parameters):
    kind = MLPClassifier if target in CLASSIFICATION else MLPRegressor
    return kind(**SMALL | parameters)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# --- early stopping ---------------------------------------------------------------------------


@pytest.mark.matrix(3)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", [*CLASSIFICATION, "one output", "two outputs"])
def test_early_stopping_by_given_rows_equals_scikit_learns_rule_by_hand(target, solver):
    # All expected values come from scikit-learn's MLP, which cannot be given validation rows. It is
    # fitted once for each number of epochs, and the rule is applied by hand.
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
    # There are too few rows to set any aside, and one class has a single row.
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


@pytest.mark.matrix(6)
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
        model.partial_fit(X, y)  # The solver's state is the same, too.
    assert_same_weights(recorded, plain)


@pytest.mark.matrix
@pytest.mark.parametrize("variant", ["adam", "dropout", "batch normalization", "module", "members"])
@pytest.mark.parametrize("scoring", ["loss", "r2"])
def test_scoring_leaves_the_model_bit_identical(scoring, variant):
    X, y, validation = data("one output")
    plain = network("one output", **VARIANTS[variant]).fit(X, y)
    scored = network("one output", scoring=scoring, **VARIANTS[variant]).fit(X, y, **validation)
    assert_same_weights(scored, plain)


@pytest.mark.matrix(3)
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
    validation["y_val"] = np.zeros_like(validation["y_val"])  # Scores do not rise from epoch 3 on.
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


@pytest.mark.matrix(2)
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


@pytest.mark.matrix(4)
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

    scorer.__qualname__ = Rising.__qualname__  # A model keeps the name of its scorer.
    parameters = {"early_stopping": early_stopping}
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        interrupted = network("multiclass", scoring=scorer, **parameters).fit(X, y, **validation)
    assert interrupted.validation_scores_ == [1, 2]
    finished = network("multiclass", max_iter=2, scoring=Rising(), **parameters)
    assert_bit_equal(interrupted, finished.fit(X, y, **validation))


@pytest.mark.matrix
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
    assert max(model.validation_scores_) < 0  # The scores are negative losses of this fit.
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert not np.array_equal(model.coefs_[0], before)


def test_warm_start_with_other_validation_rows_does_not_compare_with_the_old_ones():
    X, y, validation = data("multiclass")
    model = network("multiclass", early_stopping=True, warm_start=True, max_iter=3)
    model.fit(X, y).best_validation_score_ = 2.0  # as if the rows were easy to get right
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
