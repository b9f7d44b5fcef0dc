"""Calls leave the rest of the process as it was.

They do not change the state of torch or NumPy or the warning filters, print nothing that was not
asked for, and keep the model when they fail.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import warnings
from contextlib import suppress

import joblib
import numpy as np
import pytest
import torch
from conftest import TARGETS, assert_bit_equal, fitted_state, torch_threads
from global_state import state_is_kept
from neighbours import CONFIGURATIONS, KINDS, ours_for, pair
from numpy.testing import assert_array_equal
from training_by_hand import break_step

from sknn import TrainingWarning

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- global state -----------------------------------------------------------------------------


@pytest.fixture(params=[1, 2, 3], ids=["1 thread", "2 threads", "3 threads"])
def n_threads(request):
    """Set torch's number of threads, as a user might."""
    with torch_threads(request.param):
        yield request.param


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def default_dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def with_nan(X):
    X = X.copy()
    X[2, 1] = np.nan
    return X


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_global_state_is_kept_by_every_method(target, parameters, n_threads):
    X, y = TARGETS[target]
    estimator = ours_for(target, **parameters)
    with state_is_kept():
        estimator.fit(X, y)
    methods = ["predict"]
    if target == "multiclass":
        methods += ["predict_proba", "predict_log_proba"]
    for method in methods:
        with state_is_kept():
            getattr(estimator, method)(X)
    with state_is_kept():
        estimator.score(X, y)
    with state_is_kept():
        pickle.loads(pickle.dumps(estimator)).predict(X)
    with state_is_kept():
        repr(estimator.net_)
    if estimator.solver != "lbfgs" and not estimator.early_stopping:
        with state_is_kept():
            estimator.partial_fit(X, y)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_default_dtype_of_torch_does_not_matter(target, default_dtype):
    X, y = TARGETS[target]
    estimators = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        with state_is_kept():
            estimators.append(ours_for(target).fit(X, y))
            estimators[-1].predict(X)
    assert estimators[0].coefs_[0].dtype == np.float64
    assert_bit_equal(*estimators)


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda X, y: (with_nan(X), y),
        lambda X, y: (X, y[:-1]),
        lambda X, y: (X * 1e300, y),
    ],
    ids=["NaN", "lengths", "overflow"],
)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_global_state_is_kept_by_a_failing_fit(target, spoil, solver, n_threads):
    X, y = TARGETS[target]
    with state_is_kept(), suppress(ValueError):
        ours_for(target, solver=solver, learning_rate_init=1e200).fit(*spoil(X, y))
    with state_is_kept(), suppress(ValueError):
        ours_for(target).fit(X, y).predict(spoil(X, y)[0])


class Broken(Exception):
    """The error that tests raise in the middle of training."""


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("error", [Broken, MemoryError, SystemExit])
def test_global_state_and_model_are_kept_by_an_error_in_a_step(
    monkeypatch, error, solver, n_threads
):
    X, y = TARGETS["multiclass"]
    estimator = ours_for("multiclass", solver=solver).fit(X, y)
    before = repr(fitted_state(estimator))
    break_step(monkeypatch, error, at=3)
    with state_is_kept(), pytest.raises(error):
        estimator.set_params(alpha=0.1).fit(X, y)
    assert repr(fitted_state(estimator)) == before


def test_global_state_is_kept_by_an_interrupt(monkeypatch, n_threads):
    X, y = TARGETS["multiclass"]
    break_step(monkeypatch, KeyboardInterrupt, at=3)
    with state_is_kept(), pytest.warns(UserWarning, match="Training interrupted by user"):
        ours_for("multiclass").fit(X, y)


@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
def test_number_of_threads_does_not_change_small_fits(parameters):
    X, y = TARGETS["multiclass"]
    before = torch.get_num_threads()
    fits = []
    for n in (1, 2):
        torch.set_num_threads(n)
        fits.append(ours_for("multiclass", **parameters).fit(X, y))
    torch.set_num_threads(before)
    assert_bit_equal(*fits)


IMPORTS = """
import pickle, sys

def loaded():
    return {"matplotlib", "torch", "skorch", "skl2onnx", "onnx"} & set(sys.modules)

folder = sys.argv[1]
with open(folder + "/pickle", "rb") as file:
    model = pickle.load(file)
assert "sknn" in sys.modules and not loaded()
import joblib
joblib.load(folder + "/joblib")
assert not loaded()
import sknn
sknn.LossCurveDisplay, sknn.WeightsDisplay
saved = sknn.load(folder + "/saved")
saved.save(folder + "/again")
for fitted in (model, saved):
    assert "hidden 1" in fitted._repr_html_() and fitted.summary()
assert not loaded()

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
sknn.FeedForwardClassifier(device="cuda"), sknn.FeedForwardRegressor(device="cuda:3")
model = clone(sknn.FeedForwardClassifier((50, 20), max_iter=1))
repr(GridSearchCV(model, {"alpha": [0.1]})), hasattr(model, "partial_fit")
model.summary(), model._repr_html_()
assert not loaded()
"""


def test_large_libraries_are_not_imported_before_they_are_needed(tmp_path):
    model = ours_for("multiclass").fit(*TARGETS["multiclass"])
    (tmp_path / "pickle").write_bytes(pickle.dumps(model))
    joblib.dump(model, tmp_path / "joblib")
    model.save(tmp_path / "saved")
    subprocess.run([sys.executable, "-c", IMPORTS, tmp_path], check=True, timeout=120)


# --- printing ---------------------------------------------------------------------------------

VERBOSE = [
    ("multiclass", {"solver": "adam"}),
    ("multiclass", {"solver": "adam", "early_stopping": True}),
    (
        "multiclass",
        {"solver": "adam", "early_stopping": True, "n_iter_no_change": 1, "max_iter": 100},
    ),
    ("multiclass", {"solver": "sgd", "tol": 0.5, "n_iter_no_change": 2, "max_iter": 100}),
    (
        "multiclass",
        {
            "solver": "sgd",
            "learning_rate": "adaptive",
            "tol": 0.5,
            "n_iter_no_change": 1,
            "max_iter": 100,
        },
    ),
    (
        "multiclass",
        {
            "solver": "sgd",
            "learning_rate": "adaptive",
            "early_stopping": True,
            "tol": 0.5,
            "n_iter_no_change": 1,
            "max_iter": 100,
        },
    ),
    ("one output", {"solver": "sgd", "learning_rate": "invscaling"}),
    ("one output", {"solver": "adam", "early_stopping": True}),
    ("one output", {"solver": "lbfgs"}),
    ("one output", {"n_iter_no_change": np.inf}),
    ("one output", {"verbose": 5}),
    ("one output", {"verbose": 0}),
]


@pytest.mark.matrix(6)
@pytest.mark.parametrize(("target", "parameters"), VERBOSE, ids=str)
def test_verbose_prints_scikit_learns_lines(capsys, target, parameters):
    X, y = TARGETS[target]
    printed = []
    for estimator in pair(target, **{"verbose": True} | parameters):
        estimator.fit(X, y)
        printed.append(capsys.readouterr().out.splitlines())
    assert printed[1] == printed[0]
    silent = parameters.get("verbose") == 0 or parameters.get("solver") == "lbfgs"
    assert silent or any(line.startswith("Iteration 1, loss = ") for line in printed[1])


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_verbose_partial_fit_and_warm_start_print_scikit_learns_lines(capsys, target):
    X, y = TARGETS[target]
    first = {"classes": [0, 1, 2]} if target == "multiclass" else {}
    printed = []
    for estimator in pair(target, verbose=True, warm_start=True):
        estimator.partial_fit(X, y, **first).partial_fit(X, y).fit(X, y).fit(X, y)
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_nothing_is_printed_unless_asked(capfd, target, parameters):
    X, y = TARGETS[target]
    estimator = ours_for(target, **parameters).fit(X, y)
    estimator.predict(X)
    estimator.score(X, y)
    with suppress(ValueError):
        estimator.fit(with_nan(X), y)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_no_warning_but_of_convergence(target, parameters):
    X, y = TARGETS[target]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", TrainingWarning)
        ours_for(target, **parameters).fit(X, y).predict(X)
    assert [w.category.__name__ for w in caught] == ["ConvergenceWarning"]


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_convergence_warning_is_in_scikit_learns_words(target, solver):
    X, y = TARGETS[target]
    messages = []
    for estimator in pair(target, solver=solver):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(X, y)
        messages.append([(w.category, str(w.message)) for w in caught])
    assert messages[0] == messages[1]


# --- threads ----------------------------------------------------------------------------------


def in_threads(*functions):
    """Call functions at the same time and return their results; fail if one raises."""
    results, errors = [None] * len(functions), []
    barrier = threading.Barrier(len(functions))

    def work(i):
        try:
            barrier.wait()
            results[i] = functions[i]()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results


@pytest.mark.matrix(2)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_fits_in_two_threads_equal_fits_in_turn(solver, n_threads):
    jobs = [("multiclass", 1), ("one output", 2), ("binary", 3), ("multiclass", 4)]

    def job(target, seed):
        X, y = TARGETS[target]
        return ours_for(target, solver=solver, random_state=seed, max_iter=20).fit(X, y)

    in_turn = [job(*arguments) for arguments in jobs]
    together = in_threads(*[lambda a=arguments: job(*a) for arguments in jobs])
    for actual, expected in zip(together, in_turn, strict=True):
        assert_bit_equal(actual, expected)
    assert torch.get_num_threads() == n_threads


def test_predictions_in_two_threads_equal_one(n_threads):
    X, y = TARGETS["multiclass"]
    estimator = ours_for("multiclass").fit(X, y)
    expected = estimator.predict_proba(X)
    calls = [lambda: [estimator.predict_proba(X) for _ in range(20)] for _ in range(4)]
    for results in in_threads(*calls):
        for actual in results:
            assert_array_equal(actual, expected)
    assert torch.get_num_threads() == n_threads


def test_fit_in_a_thread_leaves_gradients_enabled_elsewhere():
    X, y = TARGETS["multiclass"]
    weight = torch.ones(3, requires_grad=True)

    def differentiate():
        for _ in range(200):
            weight.grad = None
            weight.square().sum().backward()
            assert torch.is_grad_enabled()
        return weight.grad.tolist()

    _, gradient = in_threads(lambda: ours_for("multiclass").fit(X, y), differentiate)
    assert gradient == [2.0, 2.0, 2.0]


# --- the model --------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_predict_writes_no_attribute(target, parameters):
    X, y = TARGETS[target]
    estimator = ours_for(target, **parameters).fit(X, y)
    before = {name: id(value) for name, value in vars(estimator).items()}
    state = repr(fitted_state(estimator))

    class Frozen(type(estimator)):
        def __setattr__(self, name, value):
            raise AssertionError(f"{name} is set")

    kind = type(estimator)
    estimator.__class__ = Frozen
    rows = torch.zeros(2, X.shape[1], dtype=torch.from_numpy(estimator.coefs_[0]).dtype)
    try:
        estimator.predict(X)
        estimator.score(X, y)
        if target != "one output":
            estimator.predict_proba(X)
            estimator.predict_log_proba(X)
        estimator.net_.forward(rows)
    finally:
        object.__setattr__(estimator, "__class__", kind)
    assert {name: id(value) for name, value in vars(estimator).items()} == before
    assert repr(fitted_state(estimator)) == state


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_fitted_attributes_hold_no_torch_object(target, parameters):
    X, y = TARGETS[target]
    estimator = ours_for(target, **parameters).fit(X, y)
    if hasattr(estimator, "partial_fit") and not estimator.early_stopping:
        estimator.partial_fit(X, y)
    allowed = (np.ndarray, np.generic, str, int, float, bool, type(None), np.dtype)
    n_arrays = 0

    def visit(path, value):
        nonlocal n_arrays
        kind = type(value)
        assert kind.__module__.split(".")[0] not in ("torch", "skorch", "sknn"), path
        n_arrays += isinstance(value, np.ndarray)
        if isinstance(value, dict):
            for key, item in value.items():
                visit(f"{path}[{key!r}]", item)
        elif isinstance(value, list | tuple | set):
            for i, item in enumerate(value):
                visit(f"{path}[{i}]", item)
        elif hasattr(value, "__dict__") and not isinstance(value, allowed):
            visit(path, vars(value))
        else:
            assert isinstance(value, allowed), (path, kind)

    for name, value in vars(estimator).items():
        visit(name, value)
    assert n_arrays >= 4


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_pickle_names_no_torch_class(target, parameters):
    X, y = TARGETS[target]
    data = pickle.dumps(ours_for(target, **parameters).fit(X, y), protocol=2)
    assert b"torch" not in data
    assert b"skorch" not in data


def test_net_is_a_copy():
    X, y = TARGETS["multiclass"]
    estimator = ours_for("multiclass").fit(X, y)
    before = repr(fitted_state(estimator))
    net = estimator.net_
    with torch.no_grad():
        for parameter in net.module_.parameters():
            parameter.zero_()
    net.history.clear()
    assert repr(fitted_state(estimator)) == before
    assert net is not estimator.net_
