"""`verbose` prints scikit-learn's lines or shows a bar, also with an older scikit-learn."""

from __future__ import annotations

import re
import runpy
import signal
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import programs
import pytest
import torch
from conftest import TARGETS, assert_bit_equal, needs_sklearn
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from skorch.callbacks import Callback
from tqdm.auto import tqdm

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._steps import ClosedFormStep
from sknn._platform import _compat, _sklearn_compat

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, SPECIES = TARGETS["multiclass"]
NAMES = np.array(["virginica", "setosa", "versicolor"])[SPECIES]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}
FITS = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"solver": "adam", "early_stopping": True},
    {"solver": "lbfgs"},
    {"max_iter": 100, "tol": 10.0, "n_iter_no_change": 2},
]


def classifier(**parameters):
    return FeedForwardClassifier(**{**SMALL, **parameters})


# --- lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [False, 0])
@pytest.mark.parametrize("parameters", FITS, ids=str)
def test_nothing_is_printed_without_verbose(capfd, parameters, verbose):
    classifier(verbose=verbose, **parameters).fit(X_IRIS, NAMES)
    assert capfd.readouterr() == ("", "")


@pytest.mark.matrix
@pytest.mark.parametrize("verbose", [True, 1, 10])
@pytest.mark.parametrize("parameters", FITS, ids=str)
def test_verbose_prints_scikit_learns_lines(capfd, parameters, verbose):
    if parameters.get("early_stopping"):
        needs_sklearn("1.9", "cannot score labels that are not numbers (its #33760)")
    if parameters.get("solver") == "lbfgs" and _compat.lbfgs_print_options(True):
        pytest.skip("SciPy below 1.15 prints in Fortran, whose lines come when its buffer is full")
    parameters = {**SMALL, "verbose": verbose, **parameters}
    printed = []
    for kind in (MLPClassifier, FeedForwardClassifier):
        kind(**parameters).fit(X_IRIS, NAMES)
        printed.append(capfd.readouterr())
    assert printed[1] == printed[0]
    if parameters.get("solver") != "lbfgs":
        assert printed[1].out.startswith("Iteration 1, loss = ")


def test_verbose_prints_scikit_learns_lines_of_a_regressor(capfd):
    X, y = TARGETS["one output"]
    printed = []
    for kind in (MLPRegressor, FeedForwardRegressor):
        kind(**SMALL, verbose=True, early_stopping=True).fit(X, y)
        printed.append(capfd.readouterr())
    assert printed[1] == printed[0]
    assert "Validation score: " in printed[0].out


def test_verbose_prints_the_scores_of_validation_rows_given(capsys):
    estimator = classifier(verbose=True).fit(X_IRIS, NAMES, X_val=X_IRIS[::3], y_val=NAMES[::3])
    expected = "".join(
        f"Iteration {n}, loss = {loss:.8f}\nValidation score: {score:f}\n"
        for n, (loss, score) in enumerate(
            zip(estimator.loss_curve_, estimator.validation_scores_, strict=True), 1
        )
    )
    assert capsys.readouterr() == (expected, "")


# --- the bar ----------------------------------------------------------------------------------


@pytest.fixture
def bars(monkeypatch):
    """Return the list of all bars that are opened."""
    opened = []

    class Noted(tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.is_open = True
            opened.append(self)

        def close(self):
            super().close()
            self.is_open = False

    monkeypatch.setattr("tqdm.auto.tqdm", Noted)
    return opened


def last_line(text):
    """Return the line that a terminal shows in the end."""
    (line,) = text.rstrip("\n").split("\n")  # a second bar would have a line of its own
    return line.split("\r")[-1]


@pytest.mark.parametrize(
    "parameters",
    [
        *FITS,
        {"early_stopping": True, "scoring": "loss"},
        {"solver": torch.optim.Adam, "learning_rate": "cosine"},
    ],
    ids=str,
)
def test_progress_is_one_bar_with_loss_score_and_rate(capfd, bars, parameters):
    estimator = classifier(verbose="progress", **parameters).fit(X_IRIS, NAMES)
    (bar,) = bars
    assert (bar.n, bar.total, bar.is_open) == (estimator.n_iter_, estimator.max_iter, False)
    captured = capfd.readouterr()
    assert captured.out == ""
    line = last_line(captured.err)
    assert f" {estimator.n_iter_}/{estimator.max_iter} [" in line
    shown = dict(re.findall(r"(\w+)=([-+.e\w]+)", line))
    expected = {"loss": estimator.net_.history[-1, "train_loss"]}
    if estimator.early_stopping:
        expected["score"] = estimator.validation_scores_[-1]
    if estimator.solver != "lbfgs":
        expected["rate"] = estimator.learning_rate_curve_[-1]
    assert shown == {name: f"{value:.4g}" for name, value in expected.items()}
    silent = classifier(**parameters).fit(X_IRIS, NAMES)
    assert_bit_equal(estimator, silent)


def test_progress_of_a_regressor_shows_the_score_of_validation_rows_given(capfd, bars):
    X, y = TARGETS["one output"]
    estimator = FeedForwardRegressor(**SMALL, verbose="progress")
    estimator.fit(X, y, X_val=X[::3], y_val=y[::3])
    assert f"score={estimator.validation_scores_[-1]:.4g}" in last_line(capfd.readouterr().err)


def test_progress_of_partial_fit_is_a_bar_of_one_epoch(capfd, bars):
    estimator = classifier(verbose="progress")
    for _ in range(2):
        estimator.partial_fit(X_IRIS, NAMES, classes=np.unique(NAMES))
        captured = capfd.readouterr()
        assert captured.out == ""
        assert f"loss={estimator.loss_:.4g}" in last_line(captured.err)
    assert [(bar.n, bar.total, bar.is_open) for bar in bars] == [(1, 1, False)] * 2


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def fail():
    raise LookupError("broken")


def stop():
    raise KeyboardInterrupt


class Acting(Callback):
    """A callback that acts in the third epoch."""

    def __init__(self, act):
        self.act = act

    def on_epoch_end(self, net, **arguments):
        if len(net.history) == 3:
            self.act()


@pytest.mark.parametrize("act", [ctrl_c, stop])
def test_progress_ends_with_a_training_that_is_ended(capfd, bars, act):
    is_warned = act is ctrl_c
    with pytest.warns(UserWarning, match="interrupted") if is_warned else nullcontext():
        classifier(verbose="progress", callbacks=[Acting(act)]).fit(X_IRIS, NAMES)
    assert [bar.is_open for bar in bars] == [False]
    assert capfd.readouterr().err.endswith("\n")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("act", [ctrl_c, fail])
def test_progress_ends_with_a_step_that_is_broken_off(monkeypatch, capfd, bars, solver, act):
    step, calls = ClosedFormStep.__call__, []

    def broken_step(self, *arguments):
        calls.append(None)
        if len(calls) == 3:
            act()
        step(self, *arguments)

    monkeypatch.setattr(ClosedFormStep, "__call__", broken_step)
    estimator = classifier(verbose="progress", solver=solver)
    if act is ctrl_c:
        with pytest.warns(UserWarning, match="interrupted"):
            estimator.fit(X_IRIS, NAMES)
    else:
        with pytest.raises(LookupError, match="broken"):
            estimator.fit(X_IRIS, NAMES)
    assert [bar.is_open for bar in bars] == [False]
    assert capfd.readouterr().err.endswith("\n")


def test_progress_ends_with_an_error_of_a_callback(capfd, bars):
    with pytest.raises(LookupError, match="broken"):
        classifier(verbose="progress", callbacks=[Acting(fail)]).fit(X_IRIS, NAMES)
    assert [bar.is_open for bar in bars] == [False]


def test_progress_shows_nothing_for_data_that_cannot_be_used(capfd, bars):
    with pytest.raises(ValueError, match="NaN"):
        classifier(verbose="progress").fit(np.full_like(X_IRIS, np.nan), NAMES)
    assert bars == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", ["bar", -1, None])
def test_verbose_of_another_kind_is_an_error(verbose):
    with pytest.raises(ValueError, match="'verbose' parameter.*'progress'"):
        classifier(verbose=verbose).fit(X_IRIS, NAMES)


# --- many fits --------------------------------------------------------------------------------


def test_progress_of_fits_one_after_the_other_is_a_bar_each(capfd, bars):
    cross_val_score(classifier(verbose="progress"), X_IRIS, NAMES, cv=3)
    assert [(bar.n, bar.total, bar.is_open) for bar in bars] == [(5, 5, False)] * 3
    assert "FeedForwardClassifier" not in capfd.readouterr().err


def fit(parameters):
    return classifier(verbose="progress", **parameters).fit(X_IRIS, NAMES)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_progress_of_fits_side_by_side_is_a_line_each_with_the_parameters(backend, capfd):
    varied = [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"hidden_layer_sizes": (7,) * 40}]
    fitted = Parallel(2, backend)(delayed(fit)(parameters) for parameters in varied)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "\r" not in captured.err
    lines = [re.sub(r" in \d\d:\d\d, ", " in 00:00, ", line) for line in captured.err.splitlines()]
    expected = []
    for estimator in fitted:
        name = " ".join(repr(clone(estimator)).split())
        shown = {"loss": estimator.net_.history[-1, "train_loss"]}
        if estimator.early_stopping:
            shown["score"] = estimator.validation_scores_[-1]
        if estimator.solver != "lbfgs":
            shown["rate"] = estimator.learning_rate_curve_[-1]
        values = ", ".join(f"{name}={value:.4g}" for name, value in shown.items())
        expected.append(f"{name}: {estimator.n_iter_} of 5 epochs in 00:00, {values}")
    assert sorted(lines) == sorted(expected)


def test_progress_of_a_fit_that_fails_beside_others_ends_with_its_line(capfd):
    failing = classifier(verbose="progress", callbacks=[Acting(fail)])
    with pytest.raises(LookupError, match="broken"):
        Parallel(2, "threading")([delayed(failing.fit)(X_IRIS, NAMES)])
    assert "): 3 of 5 epochs in " in capfd.readouterr().err


SEARCH = """
from sklearn.model_selection import GridSearchCV
from sknn import FeedForwardClassifier
os.dup2(1, 2)  # bars are in the lines that the test gets
X, y = np.random.RandomState(0).randn(60, 3), np.arange(60) % 2
network = FeedForwardClassifier((4,), max_iter=5, random_state=0, verbose="progress")
GridSearchCV(network, {"alpha": [0.1, 0.2]}, cv=2, refit=False, n_jobs=2).fit(X, y)
"""


@pytest.mark.long
def test_progress_of_a_search_in_two_processes_is_a_line_for_each_fit():
    lines = programs.run(SEARCH)
    assert [line.partition(", loss=")[0][:-5] for line in sorted(lines)] == [
        f"FeedForwardClassifier(alpha={alpha}, hidden_layer_sizes=(4,), max_iter=5,"
        " random_state=0, verbose='progress'): 5 of 5 epochs in "
        for alpha in (0.1, 0.1, 0.2, 0.2)
    ]


# --- scikit-learn below 1.9 -------------------------------------------------------------------

OLDER = """
import sys
import warnings

import numpy as np
import skorch.callbacks  # imports what has an import of sklearn.callback of its own

sys.modules["sklearn.callback"] = None  # an import of it fails from here on
from sknn import FeedForwardClassifier

warnings.simplefilter("ignore")
X = np.random.RandomState(0).randn(20, 2)
y = X[:, 0] > 0
estimator = FeedForwardClassifier(max_iter=2, callbacks=[skorch.callbacks.EpochTimer()])
assert len(estimator.fit(X, y).callbacks_) == 1


class OfScikitLearn:
    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...
    def on_fit_task_end(self, estimator, context): ...


def message(action, kind):
    try:
        action()
    except kind as error:
        return str(error)


print(message(lambda: estimator.set_callbacks(OfScikitLearn()), NotImplementedError))
print(message(lambda: estimator.set_callbacks(skorch.callbacks.EpochTimer()), TypeError))
estimator.set_params(callbacks=[OfScikitLearn()])
print(message(lambda: estimator.fit(X, y), TypeError))
"""


def test_older_scikit_learn_gets_a_mixin_that_names_the_version_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)  # an import of it fails
    older = runpy.run_path(_sklearn_compat.__file__)
    with pytest.raises(
        NotImplementedError, match=r"set_callbacks needs scikit-learn 1\.9 or newer"
    ):
        older["CallbackSupportMixin"]().set_callbacks()
    assert older["with_callbacks"](classifier) is classifier


@pytest.mark.long
def test_older_scikit_learn_has_an_error_for_its_callbacks_and_all_the_rest():
    done = subprocess.run(
        [sys.executable, "-c", OLDER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs, of_skorch, swapped = done.stdout.splitlines()
    assert re.search(r"set_callbacks needs scikit-learn 1\.9 or newer.*'callbacks'", theirs)
    assert "callbacks=[...]" in of_skorch
    assert "set_callbacks" in swapped
