"""A network is found inside other estimators, with its curves and the epoch of its weights."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier, FeedForwardRegressor, from_sklearn
from sknn._display._curves import best_epoch_of, curves_of
from sknn._find_network import network_in

RNG = np.random.RandomState(0)
X = RNG.randn(120, 3)
Y = (X @ [1.0, -2.0, 0.5] + 0.5 * RNG.randn(120) > 0).astype(int)
ALL = {"epoch", "loss", "validation_loss", "validation_score", "learning_rate"}


def fitted(estimator, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, Y, **arguments)


def network(**parameters):
    return FeedForwardClassifier((4,), **{"max_iter": 5, "random_state": 0, **parameters})


@pytest.mark.parametrize("kind", [MLPClassifier, FeedForwardClassifier])
def test_network_is_found_in_pipeline_and_search(kind):
    pipeline = make_pipeline(StandardScaler(), kind(max_iter=2))
    name = f"{kind.__name__.lower()}__alpha"
    search = fitted(GridSearchCV(pipeline, {name: [0.1, 0.2]}, cv=2))
    assert network_in(search) is search.best_estimator_[-1]
    outer = make_pipeline(StandardScaler(), GridSearchCV(kind(max_iter=2), {"alpha": [0.1]}, cv=2))
    assert network_in(fitted(outer)) is outer[-1].best_estimator_


@pytest.mark.parametrize("kind", [MLPRegressor, FeedForwardRegressor])
def test_network_is_found_in_transformed_target(kind):
    model = fitted(TransformedTargetRegressor(kind(max_iter=2), transformer=StandardScaler()))
    assert network_in(model) is model.regressor_


@pytest.mark.parametrize(
    "estimator",
    [
        FeedForwardClassifier(),
        MLPRegressor(),
        make_pipeline(StandardScaler(), FeedForwardRegressor()),
        GridSearchCV(FeedForwardClassifier(), {"alpha": [0.1]}),
        TransformedTargetRegressor(FeedForwardRegressor()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_estimator_that_is_not_fitted_is_refused(estimator):
    with pytest.raises(NotFittedError, match="fit"):
        network_in(estimator)


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), make_pipeline(StandardScaler()), "adam", None, FeedForwardClassifier],
    ids=["another", "pipeline", "string", "none", "class"],
)
def test_estimator_without_network_is_refused(estimator):
    with pytest.raises(TypeError, match="There is no network in .* Pass a fitted FeedForward"):
        network_in(estimator)


def test_search_that_keeps_no_estimator_is_refused():
    search = fitted(GridSearchCV(network(), {"alpha": [0.1]}, refit=False, cv=2))
    with pytest.raises(ValueError, match="refit=False.*Set refit=True"):
        network_in(search)


@pytest.mark.parametrize(
    ("parameters", "has_rows", "names"),
    [
        ({}, False, {"epoch", "loss", "learning_rate"}),
        ({"early_stopping": True}, False, ALL),
        ({"early_stopping": True, "scoring": "loss"}, False, ALL),
        ({}, True, ALL),
        ({"early_stopping": True}, True, ALL),
    ],
)
def test_curves_are_those_of_the_attributes(parameters, has_rows, names):
    rows = {"X_val": X[:20], "y_val": Y[:20]} if has_rows else {}
    model = fitted(network(**parameters), **rows)
    curves = curves_of(model)
    assert set(curves) == names
    assert curves["epoch"].tolist() == [1, 2, 3, 4, 5]
    attributes = {
        "loss": model.loss_curve_,
        "validation_loss": model.validation_loss_curve_,
        "validation_score": model.validation_scores_,
        "learning_rate": model.learning_rate_curve_,
    }
    for name in names - {"epoch"}:
        assert curves[name].tolist() == attributes[name]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_curves_of_scikit_learns_are_those_of_the_attributes(early_stopping):
    model = fitted(MLPClassifier((4,), early_stopping=early_stopping, max_iter=5, random_state=0))
    curves = curves_of(model)
    assert curves["loss"].tolist() == model.loss_curve_
    assert ("validation_score" in curves) == early_stopping
    if early_stopping:
        assert curves["validation_score"].tolist() == model.validation_scores_


def test_curves_of_partial_fit_have_an_epoch_for_each_call():
    model = network()
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1])
    assert curves_of(model)["epoch"].tolist() == [1, 2, 3]


def test_validation_that_began_in_a_later_call_stands_at_the_end():
    model = fitted(network(warm_start=True))
    fitted(model.set_params(max_iter=3), X_val=X[:20], y_val=Y[:20])
    curves = curves_of(model)
    assert curves["epoch"][-1] == len(model.loss_curve_) == 8
    assert np.isnan(curves["validation_score"][:5]).all()
    assert curves["validation_score"][5:].tolist() == model.validation_scores_


@pytest.mark.parametrize("kind", [MLPClassifier, FeedForwardClassifier])
def test_lbfgs_has_no_curves(kind):
    model = fitted(kind((4,), solver="lbfgs", max_iter=50))
    with pytest.raises(ValueError, match="no loss curve: solver='lbfgs' does not record one"):
        curves_of(model)


def test_interrupt_before_the_first_epoch_leaves_no_curves():
    model = fitted(network())
    model.loss_curve_ = []
    with pytest.raises(ValueError, match="interrupted in the first epoch"):
        curves_of(model)


@pytest.mark.parametrize("scoring", [None, "loss", "roc_auc"])
def test_best_epoch_is_the_one_whose_weights_the_network_has(scoring):
    """A network that is fitted for only that many epochs has the same weights."""
    options = {"early_stopping": True, "scoring": scoring, "learning_rate_init": 0.05}
    model = fitted(network(max_iter=40, n_iter_no_change=5, **options))
    best = best_epoch_of(model)
    assert 1 <= best < len(model.loss_curve_)
    again = fitted(network(max_iter=best, n_iter_no_change=np.inf, **options))
    for mine, theirs in zip(model.coefs_, again.coefs_, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_best_epoch_of_scikit_learns_is_that_of_ours():
    parameters = {"early_stopping": True, "max_iter": 30, "random_state": 0}
    models = [fitted(kind((4,), **parameters)) for kind in (MLPClassifier, FeedForwardClassifier)]
    theirs, ours = map(best_epoch_of, models)
    assert theirs == ours == np.argmax(models[0].validation_scores_) + 1


def test_best_epoch_is_known_without_the_records():
    model = fitted(network(early_stopping=True, max_iter=30))
    expected = best_epoch_of(model)
    old = copy.copy(model)
    old._history = []
    assert best_epoch_of(old) == expected


def test_best_epoch_after_warm_start_on_other_rows_is_of_the_last_call():
    # Scores on different rows are not comparable: the best score of the second call counts, even
    # though the first call has a higher one.
    model = network(early_stopping=True, warm_start=True, max_iter=8)
    fitted(model, X_val=X[:1], y_val=Y[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y, X_val=X[:40], y_val=1 - Y[:40])
    best = best_epoch_of(model)
    n_before = len(model.loss_curve_) - model.n_iter_
    last_call = model.validation_scores_[n_before:]
    assert best == n_before + np.argmax(last_call) + 1
    assert max(last_call) < max(model.validation_scores_)


def test_best_epoch_after_warm_start_is_not_an_earlier_one_of_equal_score():
    model = network(early_stopping=True, warm_start=True, max_iter=8, learning_rate_init=0.05)
    fitted(model, X_val=[[3.0, -6.0, 1.5]], y_val=[1])
    fitted(model, X_val=[[-3.0, 6.0, -1.5]], y_val=[0])
    n_before = len(model.loss_curve_) - model.n_iter_
    assert model.best_validation_score_ in model.validation_scores_[:n_before]
    assert best_epoch_of(model) > n_before


@pytest.mark.parametrize("has_rows", [False, True])
def test_best_epoch_is_none_without_early_stopping(has_rows):
    rows = {"X_val": X[:20], "y_val": Y[:20]} if has_rows else {}
    assert best_epoch_of(fitted(network(), **rows)) is None


@pytest.mark.parametrize("kind", [MLPClassifier, FeedForwardClassifier])
def test_best_epoch_is_none_where_lbfgs_has_gone_on(kind):
    # The curves are those of the earlier training, but the weights are not.
    model = kind((4,), early_stopping=True, warm_start=True, max_iter=8, random_state=0)
    assert best_epoch_of(fitted(model)) is not None
    fitted(model.set_params(solver="lbfgs"))
    assert len(curves_of(model)["loss"]) == 8
    assert best_epoch_of(model) is None


def test_validation_losses_that_scikit_learn_did_not_keep_are_no_curve():
    theirs = fitted(MLPClassifier((4,), early_stopping=True, max_iter=5, random_state=0))
    ours = from_sklearn(theirs)
    assert np.isnan(ours.validation_loss_curve_).all()
    assert set(curves_of(ours)) == {"epoch", *ALL} - {"validation_loss"}
