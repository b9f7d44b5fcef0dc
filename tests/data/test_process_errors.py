"""If something goes wrong in one of several processes, the fit ends in all of them."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
from conftest import fitted_state
from processes import SHORT_TIMEOUT, Team
from skorch.callbacks import Callback
from test_processes import data, estimator

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._data import _processes
from sknn._training import _validation

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    team = Team(2, tmp_path_factory.mktemp("pair"), SHORT_TIMEOUT)
    yield team
    team.close()


class Raise(Callback):
    def __init__(self, error=None, event="on_epoch_end", epoch=2):
        self.error, self.event, self.epoch = error, event, epoch

    def initialize(self):
        if self.event == "initialize":
            raise self.error
        return self

    def on_epoch_end(self, net, **kwargs):
        if self.event == "on_epoch_end" and len(net.history) == self.epoch:
            raise self.error


def half(rank, size, *arrays):
    rows = np.array_split(np.arange(len(arrays[0])), size)[rank]
    return [array[rows] for array in arrays]


# ----------------------------------------------------------------------------
# An error before training
# ----------------------------------------------------------------------------


def attempt(model, fit):
    """Return the error of a fit, and whether the fit has left the model as it was."""
    before = fitted_state(model)
    try:
        fit()
    except Exception as error:
        return type(error).__name__, str(error), repr(fitted_state(model)) == repr(before)
    return None


def usable(size):
    """Return a number that all processes share if the group can still be used for a fit."""
    total = FeedForwardClassifier(max_iter=1, random_state=0, process_group="world")
    X, y, _ = data("multiclass")
    return float(total.fit(X, y).coefs_[0].sum())


def with_nan(array):
    array = np.array(array, float)
    array.flat[3] = np.nan
    return array


def with_text(array):
    return np.char.add(array.astype(str), "a")


# Only process 1 gets these parameters and these arguments of `fit`, made from its own arguments.
BAD = {
    "NaN in X": ("multiclass", {}, lambda X, y, w: {"X": with_nan(X)}, "Input X contains NaN"),
    "text in X": (
        "multiclass",
        {},
        lambda X, y, w: {"X": np.char.add(X.astype(str), "a")},
        "could not conv",
    ),
    "flat X": ("multiclass", {}, lambda X, y, w: {"X": X[:, 0]}, "Expected 2D array"),
    "NaN in y": ("one output", {}, lambda X, y, w: {"y": with_nan(y)}, "contains NaN"),
    "fractions as labels": ("multiclass", {}, lambda X, y, w: {"y": y + 0.5}, "Unknown label"),
    "short y": ("multiclass", {}, lambda X, y, w: {"y": y[1:]}, "inconsistent numbers"),
    "short weights": ("binary", {}, lambda X, y, w: {"sample_weight": w[1:]}, "sample_weight"),
    "NaN weights": ("binary", {}, lambda X, y, w: {"sample_weight": with_nan(w)}, "NaN"),
    "negative counts": ("counts", {"loss": "poisson"}, lambda X, y, w: {"y": y - 9}, "poisson"),
    "bad warm_start": (
        "multiclass",
        {"warm_start": np.array([1, 2])},
        None,
        "'warm_start' parameter",
    ),
    "bad alpha": ("multiclass", {"alpha": -1}, None, "'alpha' parameter"),
    "bad solver": ("multiclass", {"solver": "best"}, None, "'solver' parameter"),
    "absent device": ("multiclass", {"device": "cuda:99"}, None, "'device' parameter"),
    "no callback": ("multiclass", {"callbacks": [3]}, None, "callback"),
    "NaN in X_val": (
        *("multiclass", {}),
        *(lambda X, y, w: {"X_val": with_nan(X), "y_val": y}, "X_val cannot be used"),
    ),
    "new label in y_val": (
        *("multiclass", {}),
        *(lambda X, y, w: {"X_val": X, "y_val": y + 7}, "y_val has the labels"),
    ),
    "no seed for a checkpoint": (
        *("multiclass", {"random_state": None, "checkpoint_dir": "."}, None),
        "'random_state' parameter",
    ),
}


def fit_badly(rank, name):
    kind, parameters, change, _ = BAD[name]
    X, y, weight = half(rank, 2, *data(kind))
    model = estimator(kind, {"max_iter": 1}).fit(X, y).set_params(process_group="world")
    arguments = {"X": X, "y": y}
    if name == "negative counts":
        model.set_params(loss="poisson")
    if "X_val" in (change(X, y, weight) if change else ()):
        arguments |= {"X_val": X, "y_val": y}
    if rank == 1:
        model.set_params(**parameters)
        arguments |= change(X, y, weight) if change else {}
    return attempt(model, lambda: model.fit(**arguments)), usable(2)


# Each of these errors is raised at a place where a quick case raises one too.
LIKE_OTHERS = (
    *("text in X", "flat X", "fractions as labels"),
    *("NaN weights", "bad alpha", "bad solver"),
)


@pytest.mark.matrix(4)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name in LIKE_OTHERS)) for name in BAD],
)
def test_error_in_one_process_before_training_ends_all(pair, name):
    (other, first), (own, second) = pair.run(fit_badly, name)
    fragment = BAD[name][-1]
    kind, message, is_unchanged = own
    assert fragment in message and is_unchanged
    assert kind in ("ValueError", "TypeError", "InvalidParameterError")
    assert other[0] == "RuntimeError" and other[2]
    assert "Process 0 of 2 has not started training" in other[1]
    assert f"process 1: {kind}: {message}" in other[1]
    assert first == second


def fit_with_bad_folder(rank, folder):
    X, y, _ = half(rank, 2, *data("multiclass"))
    model = estimator("multiclass", {"process_group": "world", "checkpoint_dir": folder})
    return attempt(model, lambda: model.fit(X, y)), usable(2)


def test_checkpoint_dir_that_the_first_process_cannot_write_to_ends_all(pair, tmp_path):
    file = tmp_path / "file"
    file.touch()
    (own, first), (other, second) = pair.run(fit_with_bad_folder, str(file / "folder"))
    assert own[0] == "ValueError" and "'checkpoint_dir' parameter" in own[1]
    assert other[0] == "RuntimeError" and f"process 0: ValueError: {own[1]}" in other[1]
    assert first == second


# ----------------------------------------------------------------------------
# Incompatible arguments raise the same error in all processes
# ----------------------------------------------------------------------------

DIFFERENT = {
    "parameter": (
        *({"alpha": 0.5}, {}),
        "differ in the parameter alpha: 0.0001 in process 0, 0.5 in process 1. It must be",
    ),
    "checkpoint_every": ({"checkpoint_every": 3}, {}, "differ in the parameter checkpoint_every"),
    "checkpoint_dir": (
        *({"checkpoint_dir": "."}, {}),
        "differ in whether checkpoint_dir is set: False in process 0, True in process 1",
    ),
    "features": ({}, {"X": lambda X: X[:, 1:]}, "differ in the number of features: 4 in process 0"),
    "names": ({}, {"X": lambda X: pd.DataFrame(X, columns=list("abcd"))}, "in the feature names"),
    "dtype": (
        *({}, {"X": lambda X: X.astype(np.float32)}),
        "differ in the dtype to compute in: float64 in process 0, float32 in process 1",
    ),
    "columns of y": ({}, {"y": lambda y: np.eye(3, dtype=int)[y]}, "differ in the number of col"),
    "kinds of labels": ({}, {"y": lambda y: y.astype(str)}, "Mix of label input types"),
    "X_val": (
        *({}, {"X_val": lambda _: np.zeros((1, 4)), "y_val": lambda _: np.zeros(1, int)}),
        "differ in whether X_val is passed: False in process 0, True in process 1",
    ),
}
UNUSABLE = {
    "no rows": ({"X": lambda X: X[:0], "y": lambda y: y[:0]}, "0 sample(s) in all processes"),
    "no weight": ({"sample_weight": lambda _: np.zeros(75)}, "sum of sample_weight of all proc"),
    "no X_val": (
        {"X_val": lambda _: np.zeros((0, 4)), "y_val": lambda _: np.zeros(0, int)},
        "X_val has no rows in any process",
    ),
    "no weight of X_val": (
        {
            "X_val": lambda _: np.zeros((2, 4)),
            "y_val": lambda _: np.zeros(2, int),
            "sample_weight_val": lambda _: np.zeros(2),
        },
        "sum of sample_weight_val of all processes",
    ),
}


def fit_differently(rank, name):
    X, y, _ = half(rank, 2, *data("multiclass"))
    model = estimator("multiclass", {"process_group": "world"})
    parameters, changes, _ = DIFFERENT[name] if name in DIFFERENT else ({}, *UNUSABLE[name])
    arguments = {"X": X, "y": y}
    if rank == 1 or name in UNUSABLE:
        model.set_params(**parameters)
        arguments |= {key: change(arguments.get(key)) for key, change in changes.items()}
    return attempt(model, lambda: model.fit(**arguments)), usable(2)


@pytest.mark.matrix(5)
@pytest.mark.parametrize("name", [*DIFFERENT, *UNUSABLE])
def test_what_does_not_go_together_is_the_same_error_in_all(pair, name):
    (own, first), (other, second) = pair.run(fit_differently, name)
    assert own == other
    assert own[0] == "ValueError" and own[2]
    assert (DIFFERENT.get(name) or UNUSABLE[name])[-1] in own[1]
    assert first == second


def fit_after_other_lives(rank):
    X, y, _ = half(rank, 2, *data("multiclass"))
    model = estimator("multiclass", {"warm_start": True, "max_iter": 1 + rank}).fit(
        *data("multiclass")[:2]
    )
    model.set_params(max_iter=2, process_group="world")
    return attempt(model, lambda: model.fit(X, y))


def test_models_of_other_trainings_do_not_go_on_together(pair):
    first, second = pair.run(fit_after_other_lives)
    assert first == second
    assert (
        "differ in the number of samples seen before: 150 in process 0, 300 in process 1"
        in first[1]
    )


def partial_fit_badly(rank, name):
    X, y, _ = half(rank, 2, *data("multiclass"))
    model = estimator("multiclass", {"process_group": "world"})
    classes = [0, 1, 2]
    if name == "unseen":  # `classes` lacks the labels of process 1.
        y = y + 5 * rank
    if name == "missing" and rank == 1:
        classes = None
    if name == "different" and rank == 1:
        classes = [0, 1, 2, 3]
    return attempt(model, lambda: model.partial_fit(X, y, classes=classes)), usable(2)


def test_partial_fit_with_a_class_that_one_process_has_not_named(pair):
    (own, first), (other, second) = pair.run(partial_fit_badly, "unseen")
    assert own == other and first == second
    assert own[0] == "ValueError" and "`y` has classes not in `self.classes_`" in own[1]


def test_partial_fit_without_classes_in_one_process(pair):
    (other, first), (own, second) = pair.run(partial_fit_badly, "missing")
    assert own[0] == "ValueError" and "classes must be passed on the first call" in own[1]
    assert own[1] in other[1] and first == second


def test_partial_fit_with_other_classes_in_one_process(pair):
    (own, first), (other, second) = pair.run(partial_fit_badly, "different")
    assert own == other and first == second
    assert "differ in the classes: [0, 1, 2] in process 0" in own[1]


# ----------------------------------------------------------------------------
# A process that dies, or is stopped
# ----------------------------------------------------------------------------


def fit_until_signal(rank, size, where, number):
    """Send process 1 a signal in the middle of its fit; return how the fits of the others end."""
    model = estimator("multiclass", {"max_iter": 1}).fit(*data("multiclass")[:2])
    before = fitted_state(model)
    X, y, _ = half(rank, size, *data("multiclass"))
    model.set_params(process_group="world", max_iter=50, tol=0, n_iter_no_change=np.inf)
    is_lbfgs = where == "lbfgs"
    model.set_params(solver="lbfgs" if is_lbfgs else "adam", early_stopping=where == "validation")
    if rank == 1:
        owner = _validation.Validation if where == "validation" else _processes.Processes
        name = "__call__" if where == "validation" else "sum_"
        original, n_calls = getattr(owner, name), 0

        def until_signal(*args):
            nonlocal n_calls
            n_calls += 1
            if n_calls == 12:
                os.kill(os.getpid(), number)
            return original(*args)

        setattr(owner, name, until_signal)
    start = time.perf_counter()
    try:
        model.fit(X, y)
    except RuntimeError as error:
        is_unchanged = repr(fitted_state(model)) == repr(before)
        return str(error), is_unchanged, time.perf_counter() - start
    return "no error"


def assert_ended(outcomes, size):
    ranks = [rank for rank in range(size) if rank != 1]
    for rank, (message, is_unchanged, _) in zip(ranks, outcomes, strict=True):
        assert (
            f"Process {rank} of {size} cannot continue: another process of process_group" in message
        )
        assert is_unchanged


@pytest.mark.parametrize(
    "where", ["epochs", *(pytest.param(w, marks=pytest.mark.long) for w in ("lbfgs", "validation"))]
)
def test_process_that_is_killed_ends_the_other(pair, where):
    outcomes = pair.outcomes(fit_until_signal, 2, where, signal.SIGKILL, without=[1])
    assert_ended(outcomes, 2)


@pytest.mark.long
def test_process_that_is_killed_ends_the_three_others(tmp_path):
    team = Team(4, tmp_path, SHORT_TIMEOUT)
    outcomes = team.outcomes(fit_until_signal, 4, "epochs", signal.SIGKILL, without=[1])
    team.close()
    assert_ended(outcomes, 4)


@pytest.mark.long  # It waits for the timeout.
def test_process_that_does_not_answer_ends_the_other_after_the_timeout(pair):
    outcomes = pair.outcomes(fit_until_signal, 2, "epochs", signal.SIGSTOP, without=[1])
    assert_ended(outcomes, 2)
    assert outcomes[0][2] >= SHORT_TIMEOUT


def fit_until_error(rank, error):
    """Raise an error in a callback of process 1, and let it end the process as it ends a script."""
    X, y, _ = half(rank, 2, *data("multiclass"))
    model = estimator("multiclass", {"process_group": "world", "max_iter": 50})
    if rank == 1:
        model.set_params(callbacks=[Raise(error)])
    try:
        model.fit(X, y)
    except (ValueError, KeyboardInterrupt):
        os._exit(1)
    except RuntimeError as error:
        return str(error), not hasattr(model, "coefs_"), 0.0
    return "no error"


@pytest.mark.long
@pytest.mark.parametrize("error", [ValueError("of mine")], ids=repr)
def test_error_in_a_callback_ends_its_process_and_then_the_other(pair, error):
    assert_ended(pair.outcomes(fit_until_error, error, without=[1]), 2)


def interrupted(rank, solver, end=None):
    """Send Ctrl-C to process 1 after some sums; return how each fit ends.

    If `end` is a path, process 1 writes there how its fit ends, and then ends as a script does.
    """
    X, y, _ = half(rank, 2, *data("multiclass"))
    model = estimator("multiclass", {"process_group": "world", "max_iter": 50, "solver": solver})
    if rank == 1:
        original, n_calls = _processes.Processes.sum_, 0

        def until_interrupt(*args):
            nonlocal n_calls
            n_calls += 1
            if n_calls == 12:
                # Where the tests are a shell's job in the background, the signal is ignored.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.raise_signal(signal.SIGINT)
            return original(*args)

        _processes.Processes.sum_ = until_interrupt
    try:
        model.fit(X, y)
    except (KeyboardInterrupt, RuntimeError) as error:
        outcome = type(error).__name__, str(error), not hasattr(model, "coefs_")
        if rank == 1 and end is not None:
            end.write_text(repr(outcome))
            os._exit(1)
        return outcome


def test_ctrl_c_ends_a_process_and_then_the_other(pair, tmp_path):
    ((kind, message, is_unchanged),) = pair.outcomes(
        interrupted, "adam", tmp_path / "end", without=[1]
    )
    assert (tmp_path / "end").read_text() == repr(("KeyboardInterrupt", "", True))
    assert kind == "RuntimeError" and "cannot continue" in message and is_unchanged


@pytest.mark.long  # One fit waits for the timeout.
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_in_one_process_propagates_and_the_other_waits_for_the_timeout(pair, solver):
    other, own = pair.outcomes(interrupted, solver)
    assert own == ("KeyboardInterrupt", "", True)
    assert other[0] == "RuntimeError" and "cannot continue" in other[1] and other[2]


# ----------------------------------------------------------------------------
# Groups
# ----------------------------------------------------------------------------


def test_world_without_any_group_is_refused(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(
        ValueError, match="there are no other processes. Start the script with `torc"
    ):
        FeedForwardRegressor(process_group="world").fit([[1.0], [2.0]], [1.0, 2.0])


@pytest.mark.parametrize("group", ["all", 3])
def test_group_that_is_none_is_refused(group):
    with pytest.raises(ValueError, match="'process_group' parameter of FeedForwardRegressor must"):
        FeedForwardRegressor(process_group=group).fit([[1.0], [2.0]], [1.0, 2.0])
