"""The estimators work inside scikit-learn's searches, pipelines and other meta-estimators."""

from __future__ import annotations

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from compositions import OURS, THEIRS, frame_of, network
from conftest import TARGETS, needs_sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import ConvergenceWarning, UnsetMetadataPassedError
from sklearn.feature_selection import RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- searches and scores ----------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_grid_search_in_two_processes_equals_one(target):
    X, y = TARGETS[target]
    model = make_pipeline(StandardScaler(), network(target))
    name = model.steps[-1][0]
    grid = {f"{name}__alpha": [1e-4, 1.0], f"{name}__hidden_layer_sizes": [(5,), (10, 5)]}
    one, two = (GridSearchCV(model, grid, cv=2, n_jobs=n_jobs) for n_jobs in (1, 2))
    one.fit(X, y)
    two.fit(X, y)
    assert two.best_params_ == one.best_params_
    for key in ("split0_test_score", "split1_test_score"):
        assert_array_equal(two.cv_results_[key], one.cv_results_[key])
    for actual, expected in zip(
        two.best_estimator_[-1].coefs_, one.best_estimator_[-1].coefs_, strict=True
    ):
        assert_array_equal(actual, expected)
    assert_array_equal(two.predict(X), one.predict(X))


@pytest.mark.matrix
@pytest.mark.parametrize("backend", ["sequential", "threading"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_grid_search_equals_that_of_scikit_learns_mlp(target, backend):
    X, y = TARGETS[target]
    grid = {"alpha": [1e-4, 10.0], "solver": ["adam", "sgd"], "early_stopping": [False, True]}
    ours = GridSearchCV(network(target), grid, cv=2, n_jobs=2, error_score="raise")
    theirs = GridSearchCV(network(target, THEIRS), grid, cv=2)
    with joblib.parallel_backend(backend, n_jobs=2):
        ours.fit(X, y)
    theirs.fit(X, y)
    assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-6
    )
    assert ours.best_params_ == theirs.best_params_


def test_randomized_search_draws_parameters():
    X, y = TARGETS["multiclass"]
    search = RandomizedSearchCV(
        network("multiclass"), {"alpha": [0.1, 1.0, 10.0]}, n_iter=2, cv=2, random_state=0
    )
    assert search.fit(X, y).best_score_ > 0


@pytest.mark.parametrize("target", list(TARGETS))
def test_cross_val_score_equals_that_of_scikit_learns_mlp(target):
    X, y = TARGETS[target]
    ours = cross_val_score(network(target), X, y, cv=3, error_score="raise")
    theirs = cross_val_score(network(target, THEIRS), X, y, cv=3)
    assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    "scoring", ["roc_auc_ovr", "neg_log_loss", "average_precision", "f1_macro", "accuracy"]
)
@pytest.mark.parametrize("target", ["binary", "multiclass"])
def test_scorers_by_name_equal_those_of_scikit_learns_mlp(target, scoring):
    X, y = TARGETS[target]
    ours = cross_val_score(network(target), X, y, cv=2, scoring=scoring, error_score="raise")
    theirs = cross_val_score(network(target, THEIRS), X, y, cv=2, scoring=scoring)
    assert_allclose(ours, theirs, rtol=1e-6)


def test_cross_validation_returns_fitted_estimators_and_predictions():
    X, y = TARGETS["multiclass"]
    results = cross_validate(network("multiclass"), X, y, cv=2, return_estimator=True)
    assert all(hasattr(estimator, "coefs_") for estimator in results["estimator"])
    probability = cross_val_predict(network("multiclass"), X, y, cv=2, method="predict_proba")
    assert probability.shape == (len(X), 3)
    assert_allclose(probability.sum(axis=1), 1)


def test_learning_curve_with_incremental_learning_equals_that_of_scikit_learns_mlp():
    X, y = TARGETS["multiclass"]
    parameters = {
        "train_sizes": [0.3, 1.0],
        "cv": 2,
        "exploit_incremental_learning": True,
        "shuffle": True,
        "random_state": 0,
    }
    ours = learning_curve(network("multiclass"), X, y, **parameters)
    theirs = learning_curve(network("multiclass", THEIRS), X, y, **parameters)
    for actual, expected in zip(ours, theirs, strict=True):
        assert_allclose(actual, expected)


# --- pipelines and meta-estimators ------------------------------------------------------------


def assert_equals_scikit_learns(make, target, method="predict"):
    """Assert that a meta-estimator predicts the same with our estimator and scikit-learn's MLP."""
    X, y = TARGETS[target]
    ours, theirs = (make(network(target, library)).fit(X, y) for library in (OURS, THEIRS))
    actual, expected = getattr(ours, method)(X), getattr(theirs, method)(X)
    assert np.shape(actual) == np.shape(expected)
    assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("target", list(TARGETS))
def test_pipeline_equals_one_of_scikit_learns_mlp(target):
    assert_equals_scikit_learns(lambda net: make_pipeline(StandardScaler(), net), target)


def test_pipeline_passes_weights_of_the_rows_on():
    X, y = TARGETS["binary"]
    weight = np.random.RandomState(0).uniform(0, 2, len(X))
    pipeline = Pipeline([("scale", StandardScaler()), ("net", network("binary"))])
    pipeline.fit(X, y, net__sample_weight=weight)
    alone = network("binary").fit(StandardScaler().fit_transform(X), y, sample_weight=weight)
    assert_array_equal(pipeline[-1].coefs_[0], alone.coefs_[0])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_column_transformer_of_a_frame_with_categories(early_stopping):
    X, y = TARGETS["multiclass"]
    frame = frame_of(X)
    frame["color"] = pd.Categorical(np.array(["red", "green", "blue"])[np.arange(len(X)) % 3])
    frame["shape"] = np.array(["round", "flat"], dtype=object)[np.arange(len(X)) % 2]
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), make_column_selector(dtype_include="number")),
            ("words", OneHotEncoder(sparse_output=False), ["color", "shape"]),
        ]
    )
    labels = pd.Series(np.array(["a", "b", "c"])[y])
    if early_stopping:
        needs_sklearn("1.9", "cannot score labels that are not numbers (its #33760)")
    predictions = []
    for library in (OURS, THEIRS):
        net = network("multiclass", library, early_stopping=early_stopping)
        model = make_pipeline(clone(columns), net)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ConvergenceWarning)
            predictions.append(model.fit(frame, labels).predict_proba(frame))
    assert_allclose(predictions[0], predictions[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_pipeline_that_hands_on_pandas_keeps_feature_names_without_a_warning(early_stopping):
    X, y = TARGETS["one output"]
    model = make_pipeline(StandardScaler(), network("one output", early_stopping=early_stopping))
    model.set_output(transform="pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(frame_of(X), y).predict(frame_of(X))
    assert_array_equal(model[-1].feature_names_in_, frame_of(X).columns)


def test_set_output_is_not_offered():
    assert not hasattr(FeedForwardClassifier(), "set_output")
    assert not hasattr(FeedForwardRegressor(), "set_output")


@pytest.mark.matrix
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("target", ["binary", "multiclass"])
def test_calibration_equals_that_of_scikit_learns_mlp(target, method):
    assert_equals_scikit_learns(
        lambda net: CalibratedClassifierCV(net, method=method, cv=2), target, "predict_proba"
    )


@pytest.mark.parametrize("target", ["binary", "multiclass"])
def test_ada_boost_classifier_equals_that_of_scikit_learns_mlp(target):
    assert_equals_scikit_learns(
        lambda net: AdaBoostClassifier(net, n_estimators=3, random_state=0),
        target,
        "predict_proba",
    )


def test_ada_boost_regressor_equals_that_of_scikit_learns_mlp():
    assert_equals_scikit_learns(
        lambda net: AdaBoostRegressor(net, n_estimators=3, random_state=0), "one output"
    )


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voting_classifier_equals_that_of_scikit_learns_mlp(voting):
    assert_equals_scikit_learns(
        lambda net: VotingClassifier([("net", net), ("lr", LogisticRegression())], voting=voting),
        "multiclass",
    )


def test_voting_regressor_equals_that_of_scikit_learns_mlp():
    assert_equals_scikit_learns(
        lambda net: VotingRegressor([("net", net), ("ols", LinearRegression())]), "one output"
    )


@pytest.mark.parametrize("meta", [MultiOutputClassifier, ClassifierChain])
def test_multi_output_classifier_equals_that_of_scikit_learns_mlp(meta):
    assert_equals_scikit_learns(meta, "multilabel")


def test_multi_output_regressor_equals_that_of_scikit_learns_mlp():
    assert_equals_scikit_learns(MultiOutputRegressor, "two outputs")


def test_multi_output_partial_fit_equals_that_of_scikit_learns_mlp():
    X, y = TARGETS["multilabel"]
    ours, theirs = (MultiOutputClassifier(network("multilabel", lib)) for lib in (OURS, THEIRS))
    for model in (ours, theirs):
        for _ in range(3):
            model.partial_fit(X, y, classes=[np.array([0, 1])] * y.shape[1])
    for actual, expected in zip(ours.predict_proba(X), theirs.predict_proba(X), strict=True):
        assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("meta", [OneVsRestClassifier, OneVsOneClassifier])
def test_multiclass_reductions_equal_those_of_scikit_learns_mlp(meta):
    assert_equals_scikit_learns(meta, "multiclass")


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_permutation_importance_equals_that_of_scikit_learns_mlp(target):
    X, y = TARGETS[target]
    ours, theirs = (
        permutation_importance(network(target, library).fit(X, y), X, y, random_state=0)
        for library in (OURS, THEIRS)
    )
    assert_allclose(ours.importances, theirs.importances, rtol=1e-6, atol=1e-9)


def test_permutation_importance_of_a_frame_does_not_warn():
    X, y = TARGETS["multiclass"]
    model = network("multiclass").fit(frame_of(X), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        permutation_importance(model, frame_of(X), y, n_repeats=2, random_state=0)


def test_partial_dependence_equals_that_of_scikit_learns_mlp():
    X, y = TARGETS["one output"]
    ours, theirs = (
        partial_dependence(network("one output", library).fit(X, y), X, [0, 2], grid_resolution=10)
        for library in (OURS, THEIRS)
    )
    assert_allclose(ours["average"], theirs["average"], rtol=1e-6)


def test_feature_selection_by_importances_of_the_first_layer():
    X, y = TARGETS["one output"]

    def importance(estimator):
        return np.abs(estimator.coefs_[0]).sum(axis=1)

    ours, theirs = (
        SelectFromModel(network("one output", library), importance_getter=importance).fit(X, y)
        for library in (OURS, THEIRS)
    )
    assert_array_equal(ours.get_support(), theirs.get_support())
    RFECV(network("one output"), importance_getter=importance, cv=2, step=5).fit(X, y)
    SequentialFeatureSelector(network("one output"), n_features_to_select=1, cv=2).fit(X[:, :3], y)


# --- metadata routing -------------------------------------------------------------------------


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_fit_and_partial_fit_under_metadata_routing_equal_those_without(target, solver):
    X, y = TARGETS[target]
    expected = network(target, solver=solver).fit(X, y)
    if solver != "lbfgs":
        expected.partial_fit(X, y)
    with sklearn.config_context(enable_metadata_routing=True):
        actual = network(target, solver=solver).fit(X, y)
        if solver != "lbfgs":
            actual.partial_fit(X, y)
        assert_array_equal(actual.predict(X), expected.predict(X))
    for coef, reference in zip(actual.coefs_, expected.coefs_, strict=True):
        assert_array_equal(coef, reference)


@pytest.mark.parametrize("target", ["binary", "multiclass", "one output"])
def test_routed_weights_reach_fit_through_pipeline_and_grid_search(routing, target):
    needs_sklearn("1.7.2", "does not route weights to the score of a pipeline (its #30937)")
    X, y = TARGETS[target]
    weight = np.random.RandomState(0).uniform(0.1, 2, len(X))
    results = []
    for library in (OURS, THEIRS):
        net = network(target, library).set_fit_request(sample_weight=True)
        net = net.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        search = GridSearchCV(
            Pipeline([("scale", scaler), ("net", net)]), {"net__alpha": [0.1, 10.0]}, cv=2
        )
        search.fit(X, y, sample_weight=weight)
        results.append(search)
    ours, theirs = results
    assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-6
    )
    scaled = StandardScaler().fit_transform(X)
    alone = network(target).set_params(alpha=ours.best_params_["net__alpha"])
    alone.fit(scaled, y, sample_weight=weight)
    assert_array_equal(ours.best_estimator_[-1].coefs_[0], alone.coefs_[0])


def test_weights_that_nobody_asked_for_raise_under_metadata_routing(routing):
    X, y = TARGETS["multiclass"]
    search = GridSearchCV(network("multiclass"), {"alpha": [0.1]}, cv=2)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        search.fit(X, y, sample_weight=np.ones(len(X)))


def test_metadata_requests_are_those_of_scikit_learns_mlp(routing):
    for target in ("multiclass", "one output"):
        ours, theirs = (network(target, library) for library in (OURS, THEIRS))
        validation = dict.fromkeys(("X_val", "y_val", "sample_weight_val"))
        for method in ("fit", "partial_fit", "score"):
            mine, expected = (
                getattr(e.get_metadata_routing(), method).requests for e in (ours, theirs)
            )
            assert mine == {**expected, **(validation if method == "fit" else {})}
        for method in ("set_fit_request", "set_partial_fit_request", "set_score_request"):
            assert hasattr(ours, method)


def test_requests_survive_clone(routing):
    estimator = network("multiclass").set_fit_request(sample_weight=True)
    assert clone(estimator).get_metadata_routing().fit.requests["sample_weight"] is True
