"""The text of the examples with pictures agrees with what they print and draw.

Examples that consist of functions have tests over several seeds, in `test_quality.py` and
`test_first_network.py`. The others are scripts, which are run from end to end here.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import runpy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OF_FUNCTIONS = (
    "callbacks",
    "deep_networks",
    "early_stopping",
    "first_network",
    "imbalanced_classes",
    "learning_rates",
    "overfitting",
    "quantile_bands",
    "robust_losses",
)
# Strings that each script prints, among other lines.
SCRIPTS = {
    "churn": ["of 3000 customers have left", "TrainingWarning", "watching the loss", "tuned"],
    "classification": ["Best parameters:", "alpha = ", "malignant"],
    "compare_models": ["support vector machine", "usual p"],
    "ensembles": ["members  log loss", "in the gap"],
    "decision_boundaries": ["Log loss on the training set", "100 units"],
    "hidden_units": ["4 of 64 pixels are blank", "alpha=1 "],
    "learning_curves": ["epoch  training loss", "samples  training accuracy"],
    "out_of_core": ["60,000 samples", "original digits"],
    "regression": ["target not scaled", "ridge regression"],
    "same_as_scikit_learn": ["adam, float32", "lbfgs, 40 iterations"],
    "search": ["Grid search: 20 candidates", "Randomized search: 10 candidates"],
    "tables": ["digits, log loss", "Seconds per fit"],
    "tensorboard": ["Loss/valid_loss", "Largest relative difference"],
}


# Most scripts take several seconds.
QUICK = ("tensorboard",)


class Run(NamedTuple):
    """The names, the printed text, the axes and the sizes of the figures of a script's run."""

    names: dict[str, Any]
    printed: str
    axes: list[Any]
    bytes_of_figures: list[int]


@functools.cache
def run(name: str) -> Run:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    needed = {"tensorboard": "tensorboard", "tables": "skrub", "churn": "skrub"}
    if name in needed:
        pytest.importorskip(needed[name])
    pyplot.close("all")
    printed = io.StringIO()
    with (
        matplotlib.rc_context(),
        contextlib.redirect_stdout(printed),
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        monkeypatch.setattr(pyplot, "show", lambda: None)  # `show` warns that Agg cannot
        names = runpy.run_path(str(EXAMPLES / f"plot_{name}.py"), run_name="__main__")
        figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
        sizes = []
        for figure in figures:
            figure.savefig(picture := io.BytesIO(), format="png")
            sizes.append(picture.tell())
        pyplot.close("all")
    axes = [axis for figure in figures for axis in figure.axes]
    return Run(names, printed.getvalue(), axes, sizes)


# The form of the examples


def source_of(name):
    return (EXAMPLES / f"plot_{name}.py").read_text(encoding="utf-8")


def test_every_example_with_a_picture_is_tested():
    names = [path.stem.removeprefix("plot_") for path in EXAMPLES.glob("plot_*.py")]
    assert sorted(names) == sorted([*OF_FUNCTIONS, *SCRIPTS])


@pytest.mark.parametrize("name", [*OF_FUNCTIONS, *SCRIPTS])
def test_example_has_a_title_and_says_what_it_asks_and_what_to_expect(name):
    text = ast.get_docstring(ast.parse(source_of(name)))
    title, line, blank = text.splitlines()[:3]
    assert line == "=" * len(title)
    assert not blank
    assert "?" in text
    assert "expect" in text.lower()
    assert f"python examples/plot_{name}.py" in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_ends_with_a_conclusion(name):
    *_, last = source_of(name).split("# %%\n")
    assert len(last) > 80
    assert all(line.startswith("# ") for line in last.splitlines())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in SCRIPTS],
)
def test_script_prints_what_it_has_found_and_draws_it(name):
    of_script = run(name)
    for text in SCRIPTS[name]:
        assert text in of_script.printed
    assert of_script.axes
    assert min(of_script.bytes_of_figures) > 15_000
    for axis in of_script.axes:
        assert any(each.has_data() for each in (axis, *axis.child_axes))
    assert any(axis.get_xlabel() or axis.get_title() for axis in of_script.axes)


# The results that the examples state


@pytest.mark.long
def test_classification_is_good_and_better_with_the_penalty_that_was_chosen():
    names = run("classification").names
    default, tuned = names["test_scores"].values()
    assert tuned["ROC-AUC"] > 0.98
    assert tuned["log loss"] < default["log loss"]
    is_malignant = names["y_test"] == "malignant"
    assert np.mean(names["search"].predict(names["X_test"])[is_malignant] == "malignant") > 0.9


@pytest.mark.long
def test_regression_is_as_good_as_a_ridge_if_the_target_is_scaled():
    names = run("regression").names
    network, not_scaled, ridge = names["r2"].values()
    assert 0.42 < network < 1
    assert abs(network - ridge) < 0.06
    assert not_scaled < 0
    assert names["trend"] > 0.1
    assert names["p_value"] < 0.001
    assert names["spreads"][-1] > 1.3 * names["spreads"][0]


@pytest.mark.long
def test_search_by_draws_comes_near_to_the_grid_with_half_the_fits():
    names = run("search").names
    draws, grid = names["draws"], names["grid"]
    assert 2 * len(draws.cv_results_["params"]) == len(grid.cv_results_["params"])
    assert draws.best_score_ > grid.best_score_ - 0.02
    accuracies = names["accuracies"]  # one row for each size, one column for each alpha
    assert accuracies.max() == grid.best_score_
    assert accuracies[0].max() < accuracies[1:, :3].min() - 0.05
    assert np.ptp(accuracies[2:, :3]) < 0.03
    assert accuracies[:, -1].max() < 0.6


@pytest.mark.long
def test_comparison_finds_less_certain_what_the_usual_test_does():
    names = run("compare_models").names
    scores, usual, tests = names["scores"], names["usual"], names["tests"]
    assert tests["logistic regression"][0] > 0
    assert usual["logistic regression"] < 0.05 / 4 < tests["logistic regression"][2]
    for other, (mean, _, p) in tests.items():
        assert mean == pytest.approx(scores["network"].mean() - scores[other].mean())
        assert p > usual[other]


@pytest.mark.long
def test_corrected_t_test_is_the_usual_one_without_overlap():
    corrected = run("compare_models").names["corrected_t_test"]
    differences = np.random.default_rng(0).normal(0.5, 1, 12)
    usual = stats.ttest_1samp(differences, 0)
    mean, error, p = corrected(differences, n_train=100, n_test=0)
    assert (mean / error, p) == pytest.approx((usual.statistic, usual.pvalue))
    # The variance of the mean is 1/12 var without test rows and (1/12 + 1/4) var with them, which
    # is four times as much.
    assert corrected(differences, n_train=100, n_test=25)[1] == pytest.approx(2 * error)


@pytest.mark.long
def test_network_gains_from_the_rows_of_a_file():
    names = run("out_of_core").names
    network, linear = (np.array(curve) for curve in names["curves"].values())
    assert network[-5:].mean() > network[:5].mean() + 0.05
    assert network[-1] > linear[-1]
    assert network[-1] > names["accuracy_of_few"]
    assert not names["path"].exists()


def test_tensorboard_shows_the_history():
    names = run("tensorboard").names
    assert names["largest"] < 1e-6
    assert {"Loss/train_loss", "Loss/valid_loss", "Loss/valid_score"} <= set(names["tags"])
    assert [event.step for event in names["histograms"]] == [10, 20, 30, 40]
    low, good, high = (run["Loss/valid_loss"] for run in names["curves"].values())
    assert good[-1] < 0.5 * min(low[-1], high[-1])
    assert np.abs(np.diff(high[10:])).mean() > 5 * np.abs(np.diff(good[10:])).mean()


@pytest.mark.long
def test_networks_differ_from_those_of_scikit_learn_by_rounding():
    names = run("same_as_scikit_learn").names
    for name, (weights, losses, (ours, theirs)) in names["runs"].items():
        bound = 1e-4 if "float32" in name else 1e-12
        assert len(weights) == len(losses) == 50
        assert max(weights.max(), losses.max()) < bound, name
        np.testing.assert_array_equal(ours.predict(names["X"]), theirs.predict(names["X"]))
    assert names["runs"]["adam"][0][-1] < names["of_lbfgs"][-1] < 1e-8


@pytest.mark.long
def test_learning_curves_show_what_narrows_the_gap():
    names = run("learning_curves").names
    training, others = (scores.mean(axis=1) for scores in names["by_rows"])
    assert (np.diff(others) > 0).all()
    assert training[0] - others[0] > training[-1] - others[-1] + 0.1

    training, others = (scores.mean(axis=1) for scores in names["by_alpha"])
    gap = training - others
    assert gap[3] < gap[0] - 0.03
    assert others[3] > others[0] - 0.02
    assert others[-1] < others[3] - 0.1

    loss, best = names["validation_loss"], names["best"]
    assert 0 < best < len(loss) - 1
    assert loss[-1] > 1.15 * loss[best]
    assert names["training_loss"][-1] < 0.2 * names["training_loss"][best]


@pytest.mark.long
def test_hidden_units_learn_patterns_and_a_penalty_smooths_them():
    names = run("hidden_units").names
    before, none, weak, strong = names["likeness"].values()
    assert abs(before) < 0.15
    assert none > before + 0.2
    assert strong > none + 0.03
    before, none, weak, strong = names["of_blank"].values()
    assert none == pytest.approx(before, rel=1e-6)
    assert max(weak, strong) < 1e-3 * before
    accuracies = list(names["accuracy"].values())
    assert accuracies[0] < 0.3
    assert min(accuracies[1:]) > 0.9


@pytest.mark.long
def test_ensembles_gain_most_from_a_few_members_and_part_where_there_are_no_rows():
    names = run("ensembles").names
    losses = np.array(list(names["losses"].values()))
    assert losses[0] > losses[2] > losses[-1]
    assert losses[0] - losses[2] > 0.4 * (losses[0] - losses[-1])
    assert losses[-1] < np.mean(names["of_each"])
    spreads = [names["spread"][is_there].mean() for is_there in names["places"].values()]
    assert 4 * spreads[0] < min(spreads[1:])
    p = names["of_members"].mean(axis=0)
    np.testing.assert_allclose(p, names["digits"].predict_proba(names["X_test"]), rtol=1e-10)


@pytest.mark.long
def test_decision_boundaries_of_wide_networks_need_a_penalty():
    names = run("decision_boundaries").names
    loss = names["others"]["log loss"]
    assert names["learned"]["accuracy"][100, 1e-4] > 0.98
    assert loss[100, 1e-4] > 3 * loss[100, 1.0]
    assert loss[100, 1.0] < min(loss.values()) + 0.03
    of_penalty = [loss[width, 1.0] for width in names["WIDTHS"]]
    assert np.ptp(of_penalty) < 0.05


@pytest.mark.long
def test_each_table_has_another_best_model_and_the_network_takes_longest():
    names = run("tables").names
    loss = {key: np.mean(values) for key, values in names["losses"].items()}
    best = [min(names["names"], key=lambda name: loss[table, name]) for table in names["tables"]]
    assert best == ["network", "trees", "linear"]
    seconds = {name: np.median(values) for name, values in names["seconds"].items()}
    assert seconds["network"] > seconds["trees"] > seconds["linear"]


@pytest.mark.long
def test_models_of_churn_are_level_and_far_from_the_truth():
    scores = run("churn").names["scores"]
    for metric, by_model in scores.items():
        means = {name: of_folds.mean() for name, of_folds in by_model.items()}
        truth = means.pop("truth")
        gaps = np.abs(np.array(list(means.values())) - truth)
        assert np.ptp(gaps) < np.ptp(by_model["network"]), metric
        assert np.ptp(gaps) < gaps.min(), metric
    names = run("churn").names
    assert max(by_model.mean() for by_model in scores["log loss"].values()) < names["constant"]
    assert names["default_trees"] > names["constant"]


@pytest.mark.long
def test_accuracy_stops_the_network_of_churn_at_once():
    names = run("churn").names
    best = {name: epoch for name, (epoch, _) in names["watched"].items()}
    assert best["accuracy"] <= 2 < 10 < min(best["loss"], best["roc_auc"])
    losses = {name: loss for name, (_, loss) in names["watched"].items()}
    assert losses["accuracy"] > 1.3 * max(losses["loss"], losses["roc_auc"])
    accuracies = names["routed"]["network"].validation_scores_
    assert 0.92 < min(accuracies) < max(accuracies) < 0.95


@pytest.mark.long
def test_probabilities_of_churn_are_calibrated_unless_the_classes_are_balanced():
    names = run("churn").names
    share = names["y_train"].mean()
    for name, predicted in names["out_of_fold"].items():
        if name == "network, balanced":
            assert predicted.mean() > 4 * share
        else:
            assert predicted.mean() == pytest.approx(share, rel=0.1)


@pytest.mark.long
def test_threshold_of_churn_matters_and_so_do_the_last_login_and_the_charge():
    names = run("churn").names
    everyone, half, formula, tuned, _ = names["gains"].values()
    assert everyone < 0 <= half < 0.5 * min(formula, tuned)
    assert 0.03 < names["tuned"].best_threshold_ < 0.15
    means = dict(zip(names["X"].columns, names["importance"].importances_mean, strict=True))
    assert set(sorted(means, key=means.get)[-2:]) == {"last_login", "charge"}
    assert means["country"] < 0.2 * min(means["last_login"], means["charge"])
    assert names["by_login"]["average"][0, -1] > 3 * names["by_login"]["average"][0, 0]
