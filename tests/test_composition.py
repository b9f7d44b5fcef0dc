"""The estimators work inside scikit-learn's searches, pipelines and other meta-estimators."""

from __future__ import annotations

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from compositions import OURS, THEIRS, frame_of, network
from conftest import TARGETS, case, needs_sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import ConvergenceWarning, UnsetMetadataPassedError
from sklearn.feature_selection import RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.inspection import (
    PartialDependenceDisplay,
    partial_dependence,
    permutation_importance,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import PredictionErrorDisplay, d2_pinball_score, log_loss
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    LabelEncoder,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier

from sknn import FeedForwardClassifier, FeedForwardRegressor, TrainingWarning

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
    grid = [{"alpha": [1e-4, 10.0]}, {"solver": ["sgd"], "early_stopping": [True]}]
    ours = GridSearchCV(network(target), grid, cv=2, n_jobs=2, error_score="raise")
    theirs = GridSearchCV(network(target, THEIRS), grid, cv=2)
    with joblib.parallel_backend(backend, n_jobs=2):
        ours.fit(X, y)
    theirs.fit(X, y)
    assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-6
    )
    assert ours.best_params_ == theirs.best_params_


def test_search_over_the_number_of_members_scores_each_of_them():
    X, y = TARGETS["multiclass"]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), network("multiclass")),
        {"feedforwardclassifier__n_members": [1, 5]},
        cv=2,
        scoring="neg_log_loss",
        error_score="raise",
    ).fit(X, y)
    one, five = search.cv_results_["mean_test_score"]
    for n_members, score in ((1, one), (5, five)):
        model = make_pipeline(StandardScaler(), network("multiclass", n_members=n_members))
        assert score == cross_val_score(model, X, y, cv=2, scoring="neg_log_loss").mean()
    best = 5 if five > one else 1
    assert search.best_params_ == {"feedforwardclassifier__n_members": best}
    assert search.predict_proba(X).shape == (150, 3)


def test_randomized_search_draws_parameters():
    X, y = TARGETS["multiclass"]
    search = RandomizedSearchCV(
        network("multiclass"), {"alpha": [0.1, 1.0, 10.0]}, n_iter=2, cv=2, random_state=0
    )
    assert search.fit(X, y).best_score_ > 0


@pytest.mark.matrix(3)
@pytest.mark.parametrize("target", list(TARGETS))
def test_cross_val_score_equals_that_of_scikit_learns_mlp(target):
    X, y = TARGETS[target]
    ours = cross_val_score(network(target), X, y, cv=3, error_score="raise")
    theirs = cross_val_score(network(target, THEIRS), X, y, cv=3)
    assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.matrix(3)
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
        warnings.simplefilter("ignore", TrainingWarning)
        model.fit(frame_of(X), y).predict(frame_of(X))
    assert_array_equal(model[-1].feature_names_in_, frame_of(X).columns)


def test_set_output_is_not_offered():
    assert not hasattr(FeedForwardClassifier(), "set_output")
    assert not hasattr(FeedForwardRegressor(), "set_output")


@pytest.mark.matrix(1)
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


@pytest.mark.matrix(1)
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


# --- several levels of quantiles --------------------------------------------------------------

# Each test is of a line in the table of docs/quantiles.md.
LEVELS = [0.1, 0.5, 0.9]
both_targets = pytest.mark.parametrize("target", ["one output", "two outputs"])


def of_levels(**parameters):
    return network("one output", loss="quantile", **{"quantile": LEVELS} | parameters)


def score_of_levels(estimator, X, y):
    prediction = estimator.predict(X)
    return np.mean([d2_pinball_score(y, prediction[..., i], alpha=q) for i, q in enumerate(LEVELS)])


@pytest.mark.parametrize(
    "target", ["one output", pytest.param("two outputs", marks=pytest.mark.long)]
)
def test_pipelines_searches_and_inspections_hold_levels(target):
    X, y = TARGETS[target]
    shape = (*y.shape, 3)
    piped = make_pipeline(StandardScaler(), of_levels()).fit(X, y)
    assert piped.predict(X).shape == shape
    assert piped.score(X, y) == pytest.approx(score_of_levels(piped, X, y))
    search = GridSearchCV(of_levels(), {"alpha": [1e-4, 10.0]}, cv=2, error_score="raise")
    model = search.fit(X, y).best_estimator_
    assert_array_equal(search.predict(X), model.predict(X))
    halves = KFold(2)
    first, _ = next(halves.split(X))
    expected = of_levels().fit(X[first], y[first])
    others = np.setdiff1d(np.arange(len(X)), first)
    predicted = cross_val_predict(of_levels(), X, y, cv=halves)
    assert predicted.shape == shape
    assert_array_equal(predicted[others], expected.predict(X[others]))
    scores = cross_val_score(of_levels(), X, y, cv=halves, error_score="raise")
    assert scores[0] == pytest.approx(score_of_levels(expected, X[others], y[others]))
    assert_allclose(
        cross_val_score(of_levels(), X, y, cv=halves, scoring=score_of_levels), scores, rtol=1e-12
    )
    assert np.isfinite(learning_curve(of_levels(), X, y, cv=2)[2]).all()
    importances = permutation_importance(model, X, y, n_repeats=2, random_state=0)
    assert np.isfinite(importances.importances).all()
    SequentialFeatureSelector(of_levels(), n_features_to_select=1, cv=2).fit(X[:, :2], y)


@both_targets
def test_metric_by_name_raises_in_a_cross_validation_of_levels(target):
    X, y = TARGETS[target]
    for name in ("r2", "neg_mean_absolute_error"):
        with pytest.raises(ValueError, match="number of output|dim 3"):
            cross_val_score(of_levels(), X, y, cv=2, scoring=name, error_score="raise")
        with pytest.warns(UserWarning, match="Scoring failed"):
            scores = cross_val_score(of_levels(), X, y, cv=2, scoring=name)
        assert np.isnan(scores).all()


@both_targets
def test_partial_dependence_has_a_curve_for_each_level_of_each_target(target):
    X, y = TARGETS[target]
    model = of_levels().fit(X, y)
    found = partial_dependence(model, X, [0], grid_resolution=4)
    (grid,) = found["grid_values"]
    assert found["average"].shape == (model.n_outputs_, 4)
    rows = X.copy()
    rows[:, 0] = grid[2]
    expected = model.predict(rows).mean(axis=0).T.ravel()
    assert_allclose(found["average"][:, 2], expected, rtol=1e-9)


@both_targets
def test_displays_of_scikit_learn_take_one_level(target):
    pytest.importorskip("matplotlib").use("agg")
    X, y = TARGETS[target]
    model = of_levels().fit(X, y)
    with pytest.raises(ValueError, match="target must be specified"):
        PartialDependenceDisplay.from_estimator(model, X, [0], grid_resolution=4)
    PartialDependenceDisplay.from_estimator(model, X, [0], grid_resolution=4, target=1)
    with pytest.raises(ValueError):
        PredictionErrorDisplay.from_estimator(model, X, y)
    PredictionErrorDisplay.from_predictions(y, model.predict(X)[..., 1])


@both_targets
def test_bagging_averages_each_level_and_cannot_score(target):
    X, y = TARGETS[target]
    bag = BaggingRegressor(of_levels(), n_estimators=2, random_state=0).fit(X, y)
    expected = np.mean([model.predict(X) for model in bag.estimators_], axis=0)
    assert_allclose(bag.predict(X), expected, rtol=1e-12)
    assert (np.diff(bag.predict(X)) >= 0).all()
    with pytest.raises(ValueError, match="number of output|dim 3"):
        bag.score(X, y)


@pytest.mark.parametrize(
    "transform",
    [
        {"transformer": StandardScaler()},
        {"transformer": MinMaxScaler()},
        {"func": np.arcsinh, "inverse_func": np.sinh},
    ],
    ids=["standard", "min-max", "functions"],
)
def test_transformed_target_predicts_levels_of_one_target_and_cannot_score(transform):
    X, y = TARGETS["one output"]
    model = TransformedTargetRegressor(of_levels(), **transform).fit(X, y)
    prediction = model.predict(X)
    inverse = transform.get("inverse_func") or model.transformer_.inverse_transform
    assert_allclose(prediction, inverse(model.regressor_.predict(X)), rtol=1e-12)
    assert (np.diff(prediction) >= 0).all()
    with pytest.raises(ValueError, match="number of output"):
        model.score(X, y)
    assert np.isfinite(cross_val_score(model, X, y, cv=2, scoring=score_of_levels)).all()


@pytest.mark.parametrize(
    ("target", "transformer"),
    [
        ("one output", PowerTransformer()),
        ("one output", QuantileTransformer(n_quantiles=50)),
        ("two outputs", StandardScaler()),
    ],
    ids=case,
)
def test_transformed_target_that_cannot_predict_levels_raises(target, transformer):
    X, y = TARGETS[target]
    model = TransformedTargetRegressor(of_levels(), transformer=transformer).fit(X, y)
    with pytest.raises(ValueError, match="expecting 1 features|dim 3"):
        model.predict(X)


def test_stacking_takes_levels_as_features_and_predicts_them_as_its_last_step():
    X, y = TARGETS["one output"]
    below = StackingRegressor([("net", of_levels())], LinearRegression(), cv=2).fit(X, y)
    assert below.final_estimator_.coef_.shape == (3,)
    assert below.predict(X).shape == (len(X),)
    on_top = StackingRegressor([("ols", LinearRegression())], of_levels(), cv=2).fit(X, y)
    assert on_top.predict(X).shape == (len(X), 3)
    with pytest.raises(ValueError, match="number of output"):
        on_top.score(X, y)


def test_voting_regressor_averages_levels_over_the_rows():
    X, y = TARGETS["one output"]
    one, other = of_levels(), of_levels(random_state=1)
    voting = VotingRegressor([("one", one), ("other", other)]).fit(X, y)
    assert voting.predict(X).shape == (3, 2)
    expected = [model.predict(X).mean(axis=0) for model in voting.estimators_]
    assert_allclose(voting.predict(X), np.transpose(expected), rtol=1e-12)


def test_voting_regressor_of_one_level_averages_its_estimators():
    X, y = TARGETS["one output"]
    models = [("one", of_levels(quantile=0.1)), ("other", of_levels(quantile=0.1, random_state=1))]
    voting = VotingRegressor(models).fit(X, y)
    expected = np.mean([model.predict(X) for model in voting.estimators_], axis=0)
    assert_allclose(voting.predict(X), expected, rtol=1e-12)


def test_multi_output_regressor_gives_levels_the_first_axis():
    X, y = TARGETS["two outputs"]
    model = MultiOutputRegressor(of_levels()).fit(X, y)
    assert model.predict(X).shape == (3, len(X), 2)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(X, y)


def test_chains_and_boosting_of_levels_raise():
    X, y = TARGETS["two outputs"]
    chain = RegressorChain(of_levels()).fit(X, y)
    with pytest.raises(ValueError, match="broadcast"):
        chain.predict(X)
    with pytest.raises(ValueError, match="broadcast"):
        AdaBoostRegressor(of_levels(), n_estimators=2, random_state=0).fit(X, y[:, 0])


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


@pytest.mark.parametrize("target", ["multiclass", "one output"])
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


# --- validation data through meta-estimators --------------------------------------------------

X, _y = TARGETS["multiclass"]
TRAIN, HELD = np.split(np.random.RandomState(0).permutation(len(_y)), [100])
NAMES = np.array(["ash", "birch", "cedar"])[_y].astype(object)


def watching(**parameters):
    return network("multiclass", **parameters).set_fit_request(X_val=True, y_val=True)


@pytest.mark.parametrize(
    "meta",
    [
        lambda net: VotingClassifier([("net", net)]),
        lambda net: BaggingClassifier(net, n_estimators=1, bootstrap=False, random_state=0),
    ],
    ids=["voting", "bagging"],
)
def test_ensemble_that_encodes_y_watches_what_one_encoder_encodes(meta, routing):
    with pytest.raises(ValueError, match="VotingClassifier, StackingClassifier and BaggingCl") as e:
        meta(watching()).fit(X[TRAIN], NAMES[TRAIN], X_val=X[HELD], y_val=NAMES[HELD])
    assert "y_val has the labels ['ash' 'birch' 'cedar']" in str(e.value)
    assert "Encode both with the same LabelEncoder before you fit" in str(e.value)
    y = LabelEncoder().fit_transform(NAMES)
    ensemble = meta(watching(scoring="neg_log_loss"))
    ensemble.fit(X[TRAIN], y[TRAIN], X_val=X[HELD], y_val=y[HELD])
    member = ensemble.estimators_[0]
    expected = -log_loss(y[HELD], member.predict_proba(X[HELD]))
    assert member.validation_scores_[-1] == pytest.approx(expected, rel=1e-12)


def test_stacking_hands_validation_rows_to_its_last_estimator_too(routing):
    y = LabelEncoder().fit_transform(NAMES)
    stack = StackingClassifier([("net", watching())], cv=2)
    with pytest.raises(ValueError, match="StackingClassifier.*the same LabelEncoder"):
        stack.fit(X[TRAIN], NAMES[TRAIN], X_val=X[HELD], y_val=NAMES[HELD])
    with pytest.raises(TypeError, match="X_val"):
        stack.fit(X[TRAIN], y[TRAIN], X_val=X[HELD], y_val=y[HELD])


@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
@pytest.mark.parametrize(
    "meta",
    [
        lambda net: CalibratedClassifierCV(net, cv=2),
        lambda net: SelfTrainingClassifier(net),
        lambda net: GridSearchCV(net, {"alpha": [0.1]}, cv=2),
        lambda net: FixedThresholdClassifier(net),
        lambda net: TunedThresholdClassifierCV(net, cv=2),
    ],
    ids=["calibrated", "self-training", "grid search", "fixed threshold", "tuned threshold"],
)
def test_other_meta_estimators_hand_on_both_as_they_are(meta, routing):
    y = np.minimum(_y, 1) + 1
    meta(watching()).fit(X[TRAIN], y[TRAIN], X_val=X[HELD], y_val=y[HELD])


@pytest.mark.parametrize(
    "meta, advice",
    [
        (lambda net: OneVsRestClassifier(net), "OneVsRestClassifier, OneVsOneClassifier"),
        (lambda net: OneVsOneClassifier(net), "use the validation split of early_stopping"),
        (lambda net: OutputCodeClassifier(net, random_state=0), "and OutputCodeClassifier train"),
    ],
    ids=["one against rest", "one against one", "output codes"],
)
def test_wrappers_that_split_the_classes_are_named(meta, advice, routing):
    with pytest.raises(ValueError, match=f"y_val has the labels.*{advice}"):
        meta(watching()).fit(X[TRAIN], _y[TRAIN], X_val=X[HELD], y_val=_y[HELD])
    with pytest.raises(ValueError, match=f"y_val has the labels.*{advice}"):
        meta(watching()).fit(X[TRAIN], NAMES[TRAIN], X_val=X[HELD], y_val=NAMES[HELD])


@pytest.mark.parametrize("meta", [ClassifierChain, MultiOutputClassifier])
def test_wrappers_that_split_the_columns_of_y_are_named(meta, routing):
    y = np.column_stack([_y, _y])
    with pytest.raises(ValueError, match=f"y_val has the shape.*{meta.__name__}"):
        meta(watching()).fit(X[TRAIN], y[TRAIN], X_val=X[HELD], y_val=y[HELD])


def test_label_that_y_never_has_says_nothing_of_ensembles_where_the_classes_are_no_codes():
    with pytest.raises(ValueError, match="y_val has the labels") as error:
        network("multiclass").fit(X[TRAIN], _y[TRAIN] + 1, X_val=X[HELD], y_val=_y[HELD])
    assert "Classifier" not in str(error.value)


class OfLength(FeedForwardClassifier):
    """A network that notes how many validation rows each fit gets."""

    def fit(self, X, y, *, X_val=None, y_val=None):
        LENGTHS.append(len(X_val))
        return super().fit(X, y, X_val=X_val, y_val=y_val)


LENGTHS = []


def test_cross_validation_cuts_validation_rows_if_they_are_as_many_as_all_rows():
    for n_rows in (len(X), len(X) - 1):
        params = {"X_val": X[:n_rows], "y_val": _y[:n_rows]}
        cross_val_score(OfLength(max_iter=1), X, _y, params=params, cv=2)
    assert LENGTHS == [len(X) // 2] * 2 + [len(X) - 1] * 2


class OnHeldRows(FeedForwardClassifier):
    """A network that brings its validation rows."""

    y_held = _y[HELD]

    def fit(self, X, y, sample_weight=None):
        held = TARGETS["multiclass"][0][HELD]
        return super().fit(X, y, sample_weight, X_val=held, y_val=self.y_held)


@pytest.mark.parametrize(
    "meta",
    [
        lambda net: VotingClassifier([("net", net)]),
        lambda net: StackingClassifier([("net", net)], cv=2),
        lambda net: BaggingClassifier(net, n_estimators=1, random_state=0),
        lambda net: AdaBoostClassifier(net, n_estimators=1, random_state=0),
        lambda net: GridSearchCV(net, {"alpha": [0.1]}, cv=2),
    ],
    ids=["voting", "stacking", "bagging", "boosting", "grid search"],
)
def test_class_that_holds_its_validation_rows_works_in_any_wrapper(meta):
    net = OnHeldRows((8,), learning_rate_init=0.05, early_stopping=True, random_state=0)
    fitted = meta(net).fit(X[TRAIN], _y[TRAIN])
    member = getattr(fitted, "best_estimator_", None) or fitted.estimators_[0]
    expected = member.score(X[HELD], _y[HELD])
    assert member.best_validation_score_ == pytest.approx(expected, rel=1e-12)
