"""The benchmarks run, and their arithmetic and their tables are right. No time is tested."""

import importlib
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import torch_threads
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # plain `pytest` needs this

from examples.benchmarks import (
    _libtorch,
    _peers,
    _report,
    _timing,
    checkpoints,
    choices,
    devices,
    features,
    growth,
    limit,
    machines,
    processes,
    steps,
    tabular,
    waves,
)
from examples.benchmarks._fresh import megabytes_beyond
from examples.benchmarks._peers import FITS, Network
from examples.benchmarks._timing import Summary, compared, summarize, take_turns

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

main = importlib.import_module("examples.benchmarks.__main__")
# The loop in C++ takes part only if it has been compiled before.
PEERS = [peer for peer in FITS if peer != "C++" or _libtorch.is_compiled()]
ROW = {"network": "4-100-3", "rows": 150, "sknn": 117.4, "torch": 0.5, "/ torch": 234.8}


@pytest.fixture
def one_thread():
    """Give torch one thread: small products on two threads are slow on a busy machine."""
    with torch_threads(1):
        yield


def test_help_names_every_benchmark_and_each_has_a_run(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["--help"])
    assert stop.value.code == 0
    assert "--quick" in capsys.readouterr().out
    for name in main.NAMES:
        assert callable(importlib.import_module(f"examples.benchmarks.{name}").run)


def test_readme_without_results_is_refused(capsys):
    with pytest.raises(SystemExit):
        main.main(["--readme"])
    assert "--json" in capsys.readouterr().err


@pytest.mark.long
def test_devices_are_the_cpu_and_those_that_are_present(monkeypatch, capsys, one_thread):
    monkeypatch.setattr(devices, "QUICK", [(Network((4, 5, 3), 10), 2, 1)])
    monkeypatch.setattr(devices, "has_bfloat16", lambda: False)
    monkeypatch.setattr(devices, "is_present", lambda name: False)
    (row,) = devices.run(_timing.Options(quick=True, repeats=1))
    assert (row["device"], row["dtype"], row["/ cpu"]) == ("cpu", "float32", 1.0)
    assert "No accelerator is present" in capsys.readouterr().out
    # An accelerator has lines of its own. "cpu:0" stands in for one.
    monkeypatch.setattr(devices, "ACCELERATORS", ("cpu:0",))
    monkeypatch.setattr(devices, "is_present", lambda name: True)
    rows = list(devices.run(_timing.Options(quick=True, repeats=1)))
    assert [(r["device"], r["dtype"]) for r in rows] == [
        (device, dtype) for dtype in ("float32", "bfloat16") for device in ("cpu", "cpu:0")
    ]
    assert "No accelerator" not in capsys.readouterr().out


def test_take_turns_rotates_the_order_and_leaves_out_the_burn_in(monkeypatch):
    monkeypatch.setattr(_timing, "SPINNING", 0)
    calls = []

    def measure(peer):
        calls.append(peer)
        return float(len(calls))

    results = take_turns({"a": lambda: measure("a"), "b": lambda: measure("b")}, repeats=2)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert results["a"].median == (4 + 5) / 2
    assert results["b"].median == (3 + 6) / 2


def test_summarize_marks_spread_out_repeats():
    assert summarize([1.0, 1.1, 1.2]).steady
    assert not summarize([1.0, 1.0, 2.0, 3.0]).steady


def test_compared_divides_the_first_by_the_others():
    results = {"sknn": Summary(2.0, False), "torch": Summary(4.0, True), "C++": None}
    row = compared({"network": "a"}, results)
    assert row["/ torch"] == 0.5
    assert row["C++"] is None and row["/ C++"] is None
    assert row["unsteady"] == ["sknn"]


def test_table_aligns_rounds_and_marks():
    lines = _report.table([{**ROW, "unsteady": ["sknn"]}, {**ROW, "torch": None}]).splitlines()
    assert lines == [
        "| network | rows | sknn | torch | / torch |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 4-100-3 | 150 | 117~ | 0.500 | 234.80 |",
        "| 4-100-3 | 150 | 117 | - | 234.80 |",
    ]


def test_fill_in_replaces_only_what_is_between_the_markers():
    text = "a\n<!-- machine -->\n<!-- end machine -->\n<!-- steps -->\nold\n<!-- end steps -->\nz\n"
    filled = _report.fill_in(text, {"machine": {"cores": 2}, "steps": [ROW]})
    assert filled.startswith("a\n<!-- machine -->\n\ncores 2.\n\n<!-- end machine -->\n")
    assert filled.endswith("234.80 |\n\n<!-- end steps -->\nz\n")
    assert "old" not in filled
    assert _report.fill_in(filled, {"machine": {"cores": 2}, "steps": [ROW]}) == filled


def test_fill_in_without_the_place_is_refused():
    with pytest.raises(ValueError, match="<!-- steps -->"):
        _report.fill_in("<!-- machine -->\n<!-- end machine -->", {"machine": {}, "steps": []})


def test_readme_has_a_place_for_every_benchmark():
    results = {"machine": {"cores": 2}} | {name: [ROW] for name in main.NAMES}
    filled = _report.fill_in(_report.README.read_text(encoding="utf-8"), results)
    assert filled.count(_report.line(ROW)) == len(main.NAMES)


def test_exponent_of_a_power_is_found():
    sizes = np.array([10, 100, 1000])
    assert growth.exponent(sizes, 3 * sizes**1.5) == pytest.approx(1.5)


def test_products_of_a_step_have_the_operations_of_the_closed_form():
    # For each weight and row, the forward pass, the gradient of the weights and the gradient of the
    # inputs take 2 operations each.
    assert limit.flops(Network((4, 100, 3), 150)) == 2 * 150 * (2 * 4 * 100 + 3 * 100 * 3)


def test_step_time_is_the_difference_of_two_fits_by_every_peer(monkeypatch, one_thread):
    def seven_seconds_and_one_an_epoch(fit, network, X, y, epochs):
        assert np.isfinite(fit(network, X, y, epochs))
        return 7.0 + epochs

    monkeypatch.setattr(steps, "seconds", seven_seconds_and_one_an_epoch)
    case = steps.Case(Network((2, 10, 1), 10), batches=4, epochs=3)
    steps.check_same_work(case, PEERS)
    assert [steps.step_time(case, FITS[peer]) for peer in PEERS] == [1e6 / 4] * len(PEERS)


@pytest.mark.parametrize("quick", [False, True])
def test_features_are_measured_with_every_network_that_can_have_them(monkeypatch, quick):
    """The patched clock says that a step takes two microseconds with a feature, and one without."""
    monkeypatch.setattr(_timing, "SPINNING", 0)
    plain = features.PLAIN.fit
    monkeypatch.setattr(features, "step_time", lambda case, fit: 1.0 if fit == plain else 2.0)
    rows = {row["feature"]: row for row in features.run(_timing.Options(quick))}
    assert list(rows) == list(features.FEATURES)
    assert len({tuple(row) for row in rows.values()}) == 1  # all rows have the same columns
    *classifiers, regressor = sorted(features.cases(quick), key="30-100-100-1".__eq__)
    for name, row in rows.items():
        ratio = 1.0 if name == "nothing" else 2.0
        of = features.FEATURES[name].of
        assert {row[column] for column in classifiers} == {ratio if "classifier" in of else None}
        is_measured = of == ("regressor",) or "regressor" in of and not quick
        assert row[regressor] == (ratio if is_measured else None)


@pytest.mark.matrix(11)
@pytest.mark.parametrize("name", features.FEATURES)
def test_feature_of_the_benchmark_is_switched_on(name, monkeypatch, one_thread):
    made = []

    def estimator(*arguments):
        made.append(_peers.estimator(*arguments))
        return made[-1]

    monkeypatch.setattr(features, "estimator", estimator)
    feature = features.FEATURES[name]
    network = Network((4, 10, 3 if "classifier" in feature.of else 1), 10, dtype="float64")
    X, y = network.data(40)
    assert np.isfinite([f.fit(network, X, y, 10) for f in (features.PLAIN, feature)]).all()
    results = [(m.loss_, m.validation_scores_, len(m.callbacks_)) for m in made]
    assert (results[0] == results[1]) == (name == "nothing")


def test_checkpoints_are_of_the_size_that_is_expected():
    for row in checkpoints.run(_timing.Options(quick=True)):
        assert row["expected"] < row["kB"] < row["expected"] + 6
        assert min(row["save"], row["load"], row["name"]) > 0


@pytest.mark.long
def test_processes_are_timed_at_equal_work():
    rows = list(processes.run(_timing.Options(quick=True, repeats=1)))
    assert [row["kB a step"] for row in rows] == [4 * 804 / 1e3, 4 * 7511 / 1e3]
    for row in rows:
        assert row["calls an epoch"] == 2
        assert min(row["2 processes"], row["1 process"], row["all-reduce"]) > 0


def test_reckoning_is_that_of_a_ring():
    link = machines.Link(bandwidth=1e6, latency=1e-3, mark="")
    # Each of two machines sends half of the bytes twice, and waits for two messages.
    assert machines.ring(1000, 2, link) == pytest.approx(1e-3 + 2e-3)
    assert machines.ring(1000, 4, link) == pytest.approx(1.5e-3 + 6e-3)
    steps = {100: 0.012, 50: 0.006}
    same, larger = machines.speed_ups(steps.__getitem__, 100, 1000, 2, link)
    assert same == pytest.approx(0.012 / (0.006 + 0.003))
    assert larger == pytest.approx(2 * 0.012 / (0.012 + 0.003))


@pytest.mark.long
def test_machines_are_reckoned_with_from_times_that_are_measured():
    rows = list(machines.run(_timing.Options(quick=True, repeats=1)))
    assert [row["machines"] for row in rows] == [8, 64] * 2
    assert all(row["step, us"] > 0 and row["batch times P (100)"] > 0 for row in rows)


def row_of_ratios(what, **ratios):
    own, *others = tabular.MODELS
    row = dict.fromkeys(["data", "rows", "columns", "what", own, *others])
    row |= {"what": what} | {f"/ {peer}": ratios.get(peer) for peer in others}
    return row


def test_tables_are_compared_by_the_geometric_mean_of_the_ratios():
    rows = [row_of_ratios("error", trees=0.5), row_of_ratios("RMSE", trees=2.0, MLP=0.25)]
    rows += [row_of_ratios("error"), row_of_ratios("log loss", trees=3.0)]
    error, loss, *times = tabular.geometric_means(rows)
    assert (error["/ trees"], error["/ MLP"]) == (pytest.approx(1.0), pytest.approx(0.25))
    assert (loss["/ trees"], loss["/ MLP"]) == (pytest.approx(3.0), None)
    assert all(row["/ trees"] is None for row in times)
    assert {tuple(row) for row in [*rows, error]} == {tuple(error)}


def test_error_of_zero_has_no_ratio():
    assert tabular.ratio(1.0, 4.0) == 0.25
    assert tabular.ratio(0.0, 4.0) is tabular.ratio(4.0, 0.0) is tabular.ratio(1.0, None) is None


@pytest.mark.parametrize(("kind", "what"), [("classifier", "error"), ("regressor", "RMSE")])
def test_results_of_a_model_are_what_scikit_learn_measures(kind, what):
    X, y = np.arange(40.0)[:, None] % 7, np.arange(40) % 3
    X, X_test, y, y_test = X[:30], X[30:], y[:30], y[30:]
    model = {"classifier": DecisionTreeClassifier, "regressor": DecisionTreeRegressor}[kind]()
    found = tabular.results(model, kind, X, X_test, y, y_test)
    if kind == "classifier":
        assert found[what] == pytest.approx(1 - model.score(X_test, y_test))
        assert found["log loss"] == log_loss(y_test, model.predict_proba(X_test))
    else:
        assert found[what] == root_mean_squared_error(y_test, model.predict(X_test))
    assert min(found["fit, CPU s"], found["predict, CPU s"]) > 0


@pytest.mark.long
def test_tables_are_measured_with_every_model():
    pytest.importorskip("skrub")
    threads = torch.get_num_threads()
    rows = list(tabular.run(_timing.Options(quick=True)))
    of = {row["data"] for row in rows}
    assert of == {*tabular.QUICK, "geometric mean"}
    assert len({tuple(row) for row in rows}) == 1  # all rows have the same columns
    for row in rows[:-4]:
        assert None not in (row["sknn"], row["MLP"], row["trees"])
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("third", "rule"), [(0.3, "all rows"), (0.49, "raised"), (0.53, "raised"), (0.6, "best")]
)
def test_rule_of_the_last_wave_is_that_of_the_package(third, rule):
    losses = [1.0] * 64
    losses[12], losses[29] = 0.5, third
    assert waves.decision(losses, 10_000) == (pytest.approx((0.5 - third) / 0.5), rule)


def test_every_treatment_of_the_last_wave_is_measured(monkeypatch):
    pytest.importorskip("skrub")
    monkeypatch.setattr(waves, "SAMPLES", {"wine": ("wine", None, 60, 0.3)})
    monkeypatch.setattr(waves, "N_SPLITS", 1)
    pipeline = partial(waves.tabular_pipeline, n_members=1, max_iter=15)
    monkeypatch.setattr(waves, "tabular_pipeline", pipeline)
    (row,) = waves.rows_of("wine", None)
    losses = {row[f"log loss, {treatment}"] for treatment in waves.TREATMENTS}
    assert len(losses) == 3
    (mean,) = waves.geometric_means([row])
    assert mean["rule"] == row["rule"] and mean.keys() == row.keys()
    assert (mean["error, best"], mean["log loss, best"]) == (1.0, 1.0)


@pytest.mark.matrix(2)
@pytest.mark.parametrize("density", [1.0, 0.05])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("sizes", [(20, 30, 3), (20, 30, 2), (20, 30, 1)])
def test_every_peer_learns(sizes, solver, density, one_thread):
    network = Network(sizes, 100, solver, "float64")  # the loss of one batch falls steadily
    X, y = network.data(100, density)
    for peer in PEERS:
        losses = []
        for epochs in (1, 30):
            torch.manual_seed(0)  # Both trainings start from the same weights.
            losses.append(FITS[peer](network, X, y, epochs))
        assert losses[1] < losses[0], peer


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="an earlier peak cannot be forgotten"
)
def test_peak_is_of_this_call_alone():
    megabytes_beyond(np.ones, 20_000_000)
    beyond, array = megabytes_beyond(np.ones, 5_000_000)
    assert array.nbytes / 1e6 == 40
    assert 35 < beyond < 60


@pytest.mark.parametrize("density", [1.0, 0.05])
def test_step_that_the_choices_measure_runs(density):
    X = scipy.sparse.random(20, 40, density, "csr", "f", random_state=0)
    rows = X if density < 1 else X.toarray()
    choices.training_step(rows, (40, 10, 3), input_major=density < 1)()
