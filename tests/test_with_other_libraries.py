"""Other libraries hold our estimators, and compute with them what they do with scikit-learn's.

The libraries are not among those of the other tests. A test is skipped where its library is not
installed, unless the variable REQUIRE_OTHER_LIBRARIES is set in the environment. `.ci/run` sets it
and installs `.ci/others.txt`.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from skorch.callbacks import Callback

from sknn import FeedForwardClassifier, FeedForwardRegressor

# The libraries warn of many things, most of which are changes in libraries that they use.
pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = Path(__file__).resolve().parents[1] / "docs" / "with_other_libraries.md"
SMALL = {"hidden_layer_sizes": (10,), "max_iter": 30, "random_state": 0}

X, y = load_breast_cancer(return_X_y=True)
X, y = scale(X[:200, :4]), np.array(["malignant", "benign"])[y[:200]]
D, target = load_diabetes(return_X_y=True)
D, target = scale(D), scale(target)


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """Keep files in a temporary folder, and keep MLflow from reporting how it is used."""
    folder = tmp_path_factory.mktemp("other_libraries")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/runs.db")
        yield


def library(module):
    """Return a module of another library, or skip the test if it is not installed."""
    if "REQUIRE_OTHER_LIBRARIES" in os.environ:
        return importlib.import_module(module)
    return pytest.importorskip(module)


def same(compute):
    """Return what a function computes with our classes, which is what it does with scikit-learn's.

    `compute` takes a class of classifiers and one of regressors, and returns a list of arrays.
    """
    ours = compute(FeedForwardClassifier, FeedForwardRegressor)
    theirs = compute(MLPClassifier, MLPRegressor)
    for mine, expected in zip(ours, theirs, strict=True):
        if np.asarray(expected).dtype.kind == "f":
            assert_allclose(mine, expected, rtol=1e-9, atol=1e-12)
        else:
            assert_array_equal(mine, expected)
    return ours


# --- the page ----------------------------------------------------------------------------------


def sections():
    """Return the first block of the page, and the blocks of each section that need a library."""
    block = r"^```python{}\n(.*?)^```$"
    first, *parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (setup,) = re.findall(block.format(""), first, re.MULTILINE | re.DOTALL)
    marked = re.compile(block.format(r" not-run: it needs [\w-]+"), re.MULTILINE | re.DOTALL)
    return setup, {part.partition("\n")[0]: marked.findall(part) for part in parts}


def holds(intervals, truth):
    """Return the share of the intervals that hold the truth."""
    return np.mean((intervals[:, 0, 0] <= truth) & (truth <= intervals[:, 1, 0]))


def intervals_hold_nine_of_ten(page):
    for intervals in (page["interval"], page["quantile_interval"]):
        assert 0.8 < holds(intervals, page["t_test"]) < 0.98


def forecast_is_a_sine(page):
    expected = np.sin(2 * np.pi * np.arange(180, 200) / 20)
    assert_allclose(page["forecast"], expected, atol=0.1)


def effect_is_two(page):
    assert abs(page["effect"] - 2) < 0.1


def rows_are_resampled(page):
    assert page["model"].score(page["X_test"], page["y_test"]) > 0.85
    assert page["bagging"].score(page["X_test"], page["y_test"]) > 0.85


def difference_is_smaller(page):
    assert page["after"] < page["before"] / 2


def parts_add_up_to_the_prediction(page):
    parts, rows = page["parts"], page["X_test"][:3]
    probabilities = page["classifier"].predict_proba(rows)
    assert_allclose(parts.values.sum(1) + parts.base_values, probabilities, atol=1e-12)
    raw = page["module"](page["rows"]) - page["module"](page["background"]).mean(0)
    raw = raw.detach().numpy()
    assert_allclose(page["by_deep_lift"].sum(1), raw, atol=1e-5)
    assert_allclose(page["by_gradients"].sum(1), raw, atol=1.0)  # by 200 random rows


def attributions_add_up_to_the_raw_output(page):
    module, rows = page["module"], page["rows"]
    expected = (module(rows) - module(torch.zeros_like(rows)))[:, 0].detach()
    assert_allclose(page["attributions"].sum(1), expected, atol=0.02)


def unpromising_trials_are_pruned(page):
    for study, least in ((page["study"], 0), (page["by_hand"], 0.85)):
        states = [trial.state.name for trial in study.trials]
        assert set(states) == {"COMPLETE", "PRUNED"}
        assert study.best_value > least
    assert page["study"].best_value < 0.3


def two_features_do(page):
    assert len(page["selector"].k_feature_idx_) == 2
    assert page["stack"].score(page["X_test"], page["y_test"]) > 0.85
    assert_allclose(page["error"], page["bias"] + page["variance"])


def models_come_back_and_runs_have_metrics(page):
    mlflow, rows, expected = page["mlflow"], page["X_test"], clone(page["classifier"])
    expected.fit(page["X_train"], page["y_train"], X_val=rows, y_val=page["y_test"])
    for model in (page["same"], page["loaded"]):
        assert_array_equal(model.predict_proba(rows), expected.predict_proba(rows))
    history = mlflow.MlflowClient().get_metric_history(page["watched"].info.run_id, "valid_loss")
    assert_allclose([step.value for step in history], expected.validation_loss_curve_)
    logged = mlflow.get_run(page["run"].info.run_id).data
    assert logged.metrics["accuracy"] == expected.score(rows, page["y_test"])
    assert logged.params["hidden_layer_sizes"] == "(20,)"
    metrics = mlflow.get_run(page["autologged"].info.run_id).data.metrics
    assert metrics["training_accuracy_score"] > 0.85


LIBRARIES = {
    "MAPIE": ("mapie", intervals_hold_nine_of_ten),
    "skforecast": ("skforecast", forecast_is_a_sine),
    "EconML": ("econml", effect_is_two),
    "imbalanced-learn": ("imblearn", rows_are_resampled),
    "fairlearn": ("fairlearn", difference_is_smaller),
    "SHAP": ("shap", parts_add_up_to_the_prediction),
    "Captum": ("captum", attributions_add_up_to_the_raw_output),
    "Optuna": ("optuna", unpromising_trials_are_pruned),
    "mlxtend": ("mlxtend", two_features_do),
    "MLflow": ("mlflow", models_come_back_and_runs_have_metrics),
}


def test_page_has_a_section_for_each_library():
    assert list(sections()[1]) == list(LIBRARIES)


@pytest.mark.parametrize("name", LIBRARIES)
def test_blocks_of_the_page_run_and_compute_what_it_says(name):
    module, check = LIBRARIES[name]
    library(module)
    setup, blocks = sections()
    assert blocks[name]
    page = {"__name__": "page"}
    for code in (setup, *blocks[name]):
        exec(compile(code, str(PAGE), "exec"), page)  # noqa: S102 (our own page)
    check(page)


# --- MAPIE -------------------------------------------------------------------------------------


def test_conformal_intervals_and_sets_are_those_of_scikit_learn():
    regression, classification = library("mapie.regression"), library("mapie.classification")

    def conformal(Classifier, Regressor):
        split = regression.SplitConformalRegressor(Regressor(**SMALL), prefit=False)
        split.fit(D[:200], target[:200]).conformalize(D[200:300], target[200:300])
        cross = regression.CrossConformalRegressor(Regressor(**SMALL), cv=3, random_state=0)
        cross.fit_conformalize(D[:300], target[:300])
        jackknife = regression.JackknifeAfterBootstrapRegressor(
            Regressor(**SMALL), resampling=5, random_state=0
        )
        jackknife.fit_conformalize(D[:300], target[:300])
        network = make_pipeline(StandardScaler(), Classifier(**SMALL))
        sets = classification.CrossConformalClassifier(network, cv=3, random_state=0)
        sets.fit_conformalize(X[:150], y[:150])
        return [
            split.predict_interval(D[300:])[1],
            cross.predict_interval(D[300:])[1],
            jackknife.predict_interval(D[300:])[1],
            sets.predict_set(X[150:])[1],
        ]

    *intervals_of_each, _ = same(conformal)
    for intervals in intervals_of_each:
        assert 0.85 < holds(intervals, target[300:]) < 0.99


def test_several_levels_in_one_regressor_are_refused_by_mapie():
    mapie = library("mapie.regression")
    levels = FeedForwardRegressor("quantile", quantile=[0.05, 0.5, 0.95], **SMALL)
    levels.fit(D[:200], target[:200])
    conformal = mapie.SplitConformalRegressor(levels, prefit=True)
    with pytest.raises(ValueError, match="could not be broadcast"):
        conformal.conformalize(D[200:300], target[200:300])
    median = FeedForwardRegressor("quantile", quantile=0.5, **SMALL)
    with pytest.raises(ValueError, match="The base model is not supported"):
        mapie.ConformalizedQuantileRegressor(median).fit(D[:200], target[:200])


# --- skforecast --------------------------------------------------------------------------------


def test_forecasts_are_those_of_scikit_learn():
    recursive, direct = library("skforecast.recursive"), library("skforecast.direct")
    selection = library("skforecast.model_selection")
    pd = library("pandas")
    noise = np.random.RandomState(0).normal(scale=0.1, size=120)
    days = pd.date_range("2026-01-01", periods=120, freq="D")
    series = pd.Series(np.sin(np.arange(120) / 5) + noise, index=days)

    def forecasts(Classifier, Regressor):
        steps = recursive.ForecasterRecursive(Regressor(**SMALL), lags=12)
        steps.fit(series)
        each = direct.ForecasterDirect(Regressor(**SMALL), steps=3, lags=12)
        each.fit(series)
        folds = selection.TimeSeriesFold(steps=5, initial_train_size=100, refit=True)
        _, backtest = selection.backtesting_forecaster(
            steps, y=series, cv=folds, metric="mean_squared_error", show_progress=False, n_jobs=1
        )
        return [steps.predict(steps=10), each.predict(), backtest["pred"]]

    same(forecasts)


# --- EconML ------------------------------------------------------------------------------------


def test_effects_are_those_of_scikit_learn():
    dml, dr = library("econml.dml"), library("econml.dr")
    rng = np.random.RandomState(0)
    W, noise = rng.normal(size=(400, 3)), rng.normal(size=(2, 400))
    treatment = np.tanh(W[:, 0]) + noise[0]
    outcome = 2 * treatment + W[:, 0] ** 2 + noise[1]
    treated = (treatment > 0).astype(int)

    def effects(Classifier, Regressor):
        linear = dml.LinearDML(
            model_y=Regressor(**SMALL), model_t=Regressor(**SMALL), cv=2, random_state=0
        )
        linear.fit(outcome, treatment, X=None, W=W, sample_weight=1 + np.abs(W[:, 1]))
        robust = dr.DRLearner(
            model_regression=Regressor(**SMALL),
            model_propensity=Classifier(**SMALL),
            model_final=Regressor(**SMALL),
            cv=2,
            random_state=0,
        )
        return [linear.intercept_, robust.fit(outcome, treated, X=W).effect(W[:5])]

    same(effects)


# --- imbalanced-learn --------------------------------------------------------------------------


def test_networks_behind_samplers_are_those_of_scikit_learn():
    ensemble, pipeline = library("imblearn.ensemble"), library("imblearn.pipeline")
    over_sampling = library("imblearn.over_sampling")

    def probabilities(Classifier, Regressor):
        smote, network = over_sampling.SMOTE(random_state=0), Classifier(**SMALL)
        network.set_params(learning_rate_init=0.1)  # boosting needs networks better than chance
        models = [
            pipeline.make_pipeline(smote, network),
            *(
                kind(estimator=network, n_estimators=2, random_state=0)
                for kind in (
                    ensemble.BalancedBaggingClassifier,
                    ensemble.EasyEnsembleClassifier,
                    ensemble.RUSBoostClassifier,
                )
            ),
        ]
        return [model.fit(X, y).predict_proba(X) for model in models]

    same(probabilities)


def test_validation_rows_for_a_resampling_pipeline_reach_the_network_as_they_are():
    pipeline, over_sampling = library("imblearn.pipeline"), library("imblearn.over_sampling")
    sampler, scaler = over_sampling.SMOTE(random_state=0), StandardScaler().fit(X[:150])
    model = pipeline.make_pipeline(sampler, FeedForwardClassifier(early_stopping=True, **SMALL))
    rows = {"X_val": scaler.transform(X[150:]), "y_val": y[150:]}
    model.fit(X[:150], y[:150], **{f"feedforwardclassifier__{k}": v for k, v in rows.items()})
    alone = FeedForwardClassifier(early_stopping=True, **SMALL)
    alone.fit(*sampler.fit_resample(X[:150], y[:150]), **rows)
    assert model[-1].validation_scores_ == alone.validation_scores_


# --- fairlearn ---------------------------------------------------------------------------------


def test_fair_predictions_are_those_of_scikit_learn():
    reductions, post = library("fairlearn.reductions"), library("fairlearn.postprocessing")
    metrics = library("fairlearn.metrics")
    group, labels = (X[:, 1] > 0).astype(int), (y == "benign").astype(int)

    def predictions(Classifier, Regressor):
        network = Classifier(**SMALL)
        thresholds = post.ThresholdOptimizer(estimator=network, predict_method="predict_proba")
        thresholds.fit(X, labels, sensitive_features=group)
        reduced = reductions.ExponentiatedGradient(
            network, reductions.DemographicParity(), max_iter=3
        )
        reduced.fit(X, labels, sensitive_features=group)
        name = f"{Classifier.__name__.lower()}__sample_weight"
        grid = reductions.GridSearch(
            make_pipeline(StandardScaler(), network),
            reductions.EqualizedOdds(),
            grid_size=3,
            sample_weight_name=name,
        )
        grid.fit(X, labels, sensitive_features=group)
        frame = metrics.MetricFrame(
            metrics=metrics.selection_rate,
            y_true=labels,
            y_pred=network.fit(X, labels).predict(X),
            sensitive_features=group,
        )
        return [
            thresholds.predict(X, sensitive_features=group, random_state=0),
            reduced.predict(X, random_state=0),
            grid.predict_proba(X),
            frame.by_group,
        ]

    same(predictions)


# --- SHAP and Captum ---------------------------------------------------------------------------


def linear_network():
    """Return a network without hidden layers, whose outputs are linear in the features."""
    return FeedForwardRegressor(hidden_layer_sizes=(), max_iter=30, random_state=0).fit(D, target)


def test_shapley_values_are_those_of_scikit_learn():
    shap = library("shap")

    def values(Classifier, Regressor):
        predict = Classifier(**SMALL).fit(X, y).predict_proba
        by_kernel = shap.KernelExplainer(predict, X[:10]).shap_values(X[:2], silent=True)
        return [by_kernel, shap.PermutationExplainer(predict, X[:10], seed=0)(X[:2]).values]

    same(values)


def test_shap_explains_a_linear_network_by_its_weights():
    shap = library("shap")
    network = linear_network()
    expected = network.coefs_[0] * (D[:5] - D[5])[:, :, None]
    values = shap.KernelExplainer(network.predict, D[5:6]).shap_values(D[:5], silent=True)
    assert_allclose(values, expected[:, :, 0], atol=1e-8)
    rows, background = torch.from_numpy(D[:5]), torch.from_numpy(D[5:6])
    explainer = shap.GradientExplainer(network.module_.float(), background.float())
    assert_allclose(explainer.shap_values(rows.float()), expected, atol=1e-5)
    explainer = shap.DeepExplainer(network.module_, background)
    assert_allclose(explainer.shap_values(rows), expected, atol=1e-12)


def test_shap_refuses_a_module_in_float64_for_gradients_and_the_estimator_itself():
    shap = library("shap")
    network, rows = linear_network(), torch.from_numpy(D[:5])
    with pytest.raises(RuntimeError, match="same dtype"):
        shap.GradientExplainer(network.module_, rows).shap_values(rows)
    for estimator in (network, MLPRegressor(**SMALL).fit(D, target)):
        with pytest.raises(TypeError, match="not callable"):
            shap.Explainer(estimator, D[:5])


def test_captum_attributes_a_linear_network_by_its_weights():
    attr = library("captum.attr")
    network, rows = linear_network(), torch.from_numpy(D[:5])
    expected = network.coefs_[0].T * D[:5]
    for method in (attr.IntegratedGradients, attr.DeepLift, attr.FeatureAblation):
        assert_allclose(method(network.module_).attribute(rows).detach(), expected, atol=1e-10)


# --- Optuna ------------------------------------------------------------------------------------


def study_of(optuna, objective, **options):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
        **options,
    )
    study.optimize(objective, n_trials=8)
    return study


def test_pruning_by_partial_fit_is_that_of_scikit_learn():
    optuna = library("optuna")

    def reports(Classifier, Regressor):
        def objective(trial):
            rate = trial.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True)
            network = Classifier(**SMALL, learning_rate_init=rate)
            for step in range(10):
                network.partial_fit(X[:150], y[:150], classes=np.unique(y))
                trial.report(network.score(X[150:], y[150:]), step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return network.score(X[150:], y[150:])

        trials = study_of(optuna, objective, direction="maximize").trials
        values = [list(trial.intermediate_values.values()) for trial in trials]
        return [*values, [trial.state.name for trial in trials]]

    *_, states = same(reports)
    assert set(states) == {"COMPLETE", "PRUNED"}


def test_pruning_by_a_callback_ends_the_fit_and_leaves_the_estimator_as_it_was():
    optuna, integration = library("optuna"), library("optuna_integration")
    pruned, curves = [], []

    def objective(trial):
        rate = trial.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True)
        callback = integration.SkorchPruningCallback(trial, "valid_loss")
        network = FeedForwardClassifier(**SMALL, learning_rate_init=rate)
        network.set_params(callbacks=[callback])
        before = dict(vars(network))
        try:
            network.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
        except optuna.TrialPruned:
            pruned.append(vars(network) == before)
            raise
        curves.append(network.validation_loss_curve_)
        return network.validation_loss_curve_[-1]

    trials = study_of(optuna, objective).trials
    complete = [t for t in trials if t.state.name == "COMPLETE"]
    assert pruned
    assert all(pruned)
    assert len(pruned) + len(complete) == len(trials)
    assert [list(t.intermediate_values.values()) for t in complete] == curves


class CtrlC(Callback):
    """A callback that presses Ctrl-C in the third epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_a_study_whose_objective_calls_fit():
    optuna = library("optuna")

    def objective(trial):
        network = FeedForwardClassifier(**SMALL, callbacks=[CtrlC()] * (trial.number == 1))
        return network.fit(X, y).score(X, y)

    study = optuna.create_study()
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]


def test_optuna_search_is_that_of_scikit_learn():
    optuna, integration = library("optuna"), library("optuna_integration")
    alpha = optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)

    def search(Classifier, Regressor):
        found = []
        for pruning in (False, True):
            searched = integration.OptunaSearchCV(
                Classifier(**SMALL),
                {"alpha": alpha},
                cv=3,
                n_trials=4,
                enable_pruning=pruning,
                max_iter=10,
                random_state=0,
            )
            found += [searched.fit(X, y).best_score_, searched.best_params_["alpha"]]
        return found

    same(search)


# --- mlxtend -----------------------------------------------------------------------------------


def test_selections_stacks_and_decompositions_are_those_of_scikit_learn():
    library("mlxtend")
    from mlxtend.classifier import EnsembleVoteClassifier, StackingCVClassifier
    from mlxtend.evaluate import bias_variance_decomp, feature_importance_permutation
    from mlxtend.feature_selection import SequentialFeatureSelector
    from mlxtend.regressor import StackingCVRegressor

    labels = (y == "benign").astype(int)

    def results(Classifier, Regressor):
        network = Classifier(**SMALL)
        options = {"cv": 2, "random_state": 0}
        selector = SequentialFeatureSelector(network, k_features=2, cv=2).fit(X, y)
        stack = StackingCVClassifier([network], network, use_probas=True, **options)
        sum_of_two = StackingCVRegressor([Regressor(**SMALL)], Regressor(**SMALL), **options)
        fitted = Classifier(**SMALL).fit(X, labels)
        vote = EnsembleVoteClassifier([fitted, fitted], voting="soft", fit_base_estimators=False)
        return [
            selector.k_feature_idx_,
            selector.k_score_,
            stack.fit(X, labels).predict_proba(X),
            sum_of_two.fit(D, target).predict(D),
            vote.fit(X, labels).predict_proba(X),
            feature_importance_permutation(X, labels, fitted.predict, "accuracy", 2, seed=0)[0],
            bias_variance_decomp(
                Regressor(**SMALL),
                D[:300],
                target[:300],
                D[300:],
                target[300:],
                loss="mse",
                num_rounds=3,
                random_seed=0,
            ),
        ]

    same(results)


def test_decision_regions_are_drawn():
    plotting, pyplot = library("mlxtend.plotting"), library("matplotlib.pyplot")
    network = FeedForwardClassifier(**SMALL).fit(X[:, :2], y == "benign")
    figure, ax = pyplot.subplots()
    plotting.plot_decision_regions(X[:, :2], (y == "benign").astype(int), network, ax=ax)
    assert ax.collections
    pyplot.close(figure)


# --- MLflow ------------------------------------------------------------------------------------


@pytest.fixture
def mlflow():
    module = library("mlflow")
    library("mlflow.sklearn")
    yield module
    module.sklearn.autolog(disable=True)


def test_autolog_logs_a_pipeline_or_search_as_for_scikit_learn_and_no_bare_estimator(mlflow):
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)

    def metrics_of(model):
        with mlflow.start_run() as run:
            model.fit(X, y)
        return mlflow.get_run(run.info.run_id).data.metrics

    def metrics(Classifier, Regressor):
        models = (
            make_pipeline(StandardScaler(), Classifier(**SMALL)),
            GridSearchCV(Classifier(**SMALL), {"alpha": [0.1, 1.0]}, cv=2),
        )
        logged = [metrics_of(model) for model in models]
        assert all("training_roc_auc" in each for each in logged)
        return [value for each in logged for _, value in sorted(each.items())]

    same(metrics)
    assert metrics_of(MLPClassifier(**SMALL))
    assert not metrics_of(FeedForwardClassifier(**SMALL))


@pytest.mark.parametrize("form", ["skops", "cloudpickle"])
def test_logged_model_predicts_the_same_when_it_is_loaded(mlflow, form):
    options = {"serialization_format": form, "pip_requirements": []}
    if form == "skops":
        options["skops_trusted_types"] = ["sknn._regressor.FeedForwardRegressor"]
    model = make_pipeline(StandardScaler(), FeedForwardRegressor(**SMALL)).fit(D, target)
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(model, name="network", **options)
    for loaded in (mlflow.sklearn.load_model, mlflow.pyfunc.load_model):
        assert_array_equal(loaded(logged.model_uri).predict(D), model.predict(D))
