"""Ctrl-C in one of many fits ends the search, or whatever else the fits are a part of."""

from __future__ import annotations

import signal
import sys
import threading
import warnings

import numpy as np
import programs
import pytest
from conftest import TARGETS, assert_bit_equal, fitted_state
from joblib import Memory, Parallel, delayed, parallel_config
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.experimental import (
    enable_halving_search_cv,  # noqa: F401
    enable_iterative_imputer,  # noqa: F401
)
from sklearn.feature_selection import RFECV
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LinearRegression, RANSACRegressor
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from skorch.callbacks import Callback

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._training._larger_run import is_part_of_larger_run

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = TARGETS["one output"]
X, y = X[:60], y[:60]
LABELS = (y > np.median(y)).astype(int)
GRID = {"alpha": [1e-4, 1.0]}
# Numbers of the evaluations of the loss so far, and of the one in which Ctrl-C is pressed.
COUNTS = {"now": 0, "ctrl-c": 0}


def interrupting_loss(raw, y):
    COUNTS["now"] += 1
    if COUNTS["now"] == COUNTS["ctrl-c"]:
        signal.raise_signal(signal.SIGINT)
    return (raw - y).square().sum(1) / 2


@pytest.fixture
def ctrl_c():
    """Return a function that sets the evaluation in which Ctrl-C is pressed."""

    def at(n):
        COUNTS.update({"now": 0, "ctrl-c": n})

    yield at
    at(0)


def network(solver="adam", kind=FeedForwardRegressor, **parameters):
    # An epoch of Adam is one evaluation, as all rows are one batch; L-BFGS makes about one for each
    # iteration.
    small = {"hidden_layer_sizes": (4,), "max_iter": 8, "tol": 0.0, "random_state": 0}
    return kind(**small | {"solver": solver, "loss": interrupting_loss} | parameters)


def classifier(net):
    """Return a classifier with the parameters of a regressor from `network`."""
    return network(net.solver, FeedForwardClassifier, max_iter=net.max_iter)


def importances(net):
    return np.abs(net.coefs_[0]).sum(axis=1)


RUNS = {
    "GridSearchCV": lambda net: GridSearchCV(net, GRID, cv=2).fit(X, y),
    "HalvingGridSearchCV": lambda net: HalvingGridSearchCV(net, GRID, cv=2, min_resources=20).fit(
        X, y
    ),
    "Pipeline in GridSearchCV": lambda net: GridSearchCV(
        make_pipeline(StandardScaler(), net), {"feedforwardregressor__alpha": [1e-4, 1.0]}, cv=2
    ).fit(X, y),
    "GridSearchCV, multimetric": lambda net: GridSearchCV(
        net, GRID, cv=2, scoring=["r2", "neg_max_error"], refit=False, error_score=np.nan
    ).fit(X, y),
    "search in a cross-validation": lambda net: cross_val_score(
        GridSearchCV(net, GRID, cv=2), X, y, cv=2
    ),
    "cross_val_score": lambda net: cross_val_score(net, X, y, cv=2),
    "cross_validate": lambda net: cross_validate(net, X, y, cv=2),
    "cross_val_predict": lambda net: cross_val_predict(net, X, y, cv=2),
    "learning_curve": lambda net: learning_curve(net, X, y, cv=2),
    "validation_curve": lambda net: validation_curve(
        net, X, y, param_name="alpha", param_range=[1e-4, 1.0], cv=2
    ),
    "BaggingRegressor": lambda net: BaggingRegressor(net, 3, random_state=0).fit(X, y),
    "VotingRegressor": lambda net: VotingRegressor([("a", net), ("b", net)]).fit(X, y),
    "StackingRegressor": lambda net: StackingRegressor([("a", net), ("b", net)]).fit(X, y),
    "MultiOutputRegressor": lambda net: MultiOutputRegressor(net).fit(X, np.c_[y, y]),
    "Parallel": lambda net: Parallel()(delayed(net.fit)(X, y) for _ in range(2)),
    # These fit without joblib.
    "AdaBoostClassifier": lambda net: AdaBoostClassifier(classifier(net), n_estimators=3).fit(
        X, LABELS
    ),
    "AdaBoostRegressor": lambda net: AdaBoostRegressor(net, n_estimators=3).fit(X, y),
    "ClassifierChain": lambda net: ClassifierChain(classifier(net)).fit(X, np.c_[LABELS, LABELS]),
    "RegressorChain": lambda net: RegressorChain(net).fit(X, np.c_[y, y]),
    "SelfTrainingClassifier": lambda net: SelfTrainingClassifier(classifier(net)).fit(
        X, np.where(np.arange(len(y)) % 2, LABELS, -1)
    ),
    "TunedThresholdClassifierCV": lambda net: TunedThresholdClassifierCV(classifier(net)).fit(
        X, LABELS
    ),
    "IterativeImputer": lambda net: IterativeImputer(net, max_iter=2).fit(
        np.where(np.eye(*X.shape), np.nan, X)
    ),
    "RANSACRegressor": lambda net: RANSACRegressor(net, min_samples=30).fit(X, y),
    "RFECV": lambda net: RFECV(net, cv=2, importance_getter=importances).fit(X, y),
    "permutation_test_score": lambda net: permutation_test_score(net, X, y, cv=2),
}


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("run", RUNS)
def test_ctrl_c_ends_the_run(run, solver, ctrl_c):
    ctrl_c(4)
    with pytest.raises(KeyboardInterrupt):
        RUNS[run](network(solver))
    assert COUNTS["now"] == 4  # nothing was trained afterwards


def test_ctrl_c_in_partial_fit_ends_the_run(ctrl_c):
    ctrl_c(4)
    with pytest.raises(KeyboardInterrupt):
        learning_curve(network(), X, y, cv=2, exploit_incremental_learning=True)
    assert COUNTS["now"] == 4


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_in_a_run_leaves_the_model_that_was_there(solver, ctrl_c):
    net = network(solver).fit(X, y)
    before = repr(fitted_state(net))
    ctrl_c(4)
    with pytest.raises(KeyboardInterrupt):
        Parallel()([delayed(net.set_params(alpha=1.0).fit)(X, y)])
    assert repr(fitted_state(net)) == before
    ctrl_c(0)
    assert_bit_equal(net.fit(X, y), network(solver, alpha=1.0).fit(X, y))


def test_model_of_a_fit_that_ctrl_c_has_ended_is_not_cached(ctrl_c, tmp_path):
    fit = Memory(tmp_path, verbose=0).cache(fit_network)
    ctrl_c(4)
    with pytest.raises(KeyboardInterrupt):
        fit(X, y)
    ctrl_c(0)
    assert fit(X, y).n_iter_ == 8


def fit_network(X, y):
    return network().fit(X, y)


# --- fits that are no part of a run -----------------------------------------------------------

FITS = {
    "fit": lambda net: net.fit(X, y),
    "Pipeline": lambda net: make_pipeline(StandardScaler(), net).fit(X, y)[-1],
    "TransformedTargetRegressor": lambda net: TransformedTargetRegressor(net).fit(X, y).regressor_,
    "final estimator of StackingRegressor": lambda net: (
        StackingRegressor([("linear", LinearRegression())], net, passthrough=True)
        .fit(X, y)
        .final_estimator_
    ),
    "FixedThresholdClassifier": lambda net: (
        FixedThresholdClassifier(classifier(net)).fit(X, LABELS).estimator_
    ),
}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("fit", FITS)
def test_ctrl_c_in_a_fit_of_its_own_keeps_the_last_epoch(fit, solver, ctrl_c):
    ctrl_c(5)
    with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
        fitted = FITS[fit](network(solver))
    assert COUNTS["now"] == 5
    assert 1 <= fitted.n_iter_ <= 4
    ctrl_c(0)
    whole = FITS[fit](network(solver, max_iter=fitted.n_iter_))
    np.testing.assert_array_equal(fitted.coefs_[0], whole.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_in_the_refit_of_a_search_keeps_the_search(solver, ctrl_c):
    ctrl_c(0)
    whole = GridSearchCV(network(solver), GRID, cv=2, refit=False).fit(X, y)
    ctrl_c(COUNTS["now"] + 4)
    with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
        search = GridSearchCV(network(solver), GRID, cv=2).fit(X, y)
    for name in ("mean_test_score", "split1_test_score"):
        assert search.cv_results_[name].tolist() == whole.cv_results_[name].tolist()
    assert 1 <= search.best_estimator_.n_iter_ < 8


def test_ctrl_c_in_a_loop_of_the_user_ends_one_fit_or_all_if_the_warning_is_an_error(ctrl_c):
    ctrl_c(4)
    with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
        networks = [network(alpha=alpha).fit(X, y) for alpha in (0.1, 0.2)]
    assert [net.n_iter_ for net in networks] == [3, 8]
    ctrl_c(4)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Training interrupted by user")
        with pytest.raises(UserWarning, match="interrupted"):
            networks = [network(alpha=alpha).fit(X, y) for alpha in (0.1, 0.2)]
    assert COUNTS["now"] == 4


# --- several processes and threads ------------------------------------------------------------

SEARCHES = """
import signal
from pathlib import Path
from sklearn.model_selection import GridSearchCV, cross_val_score
from sknn import FeedForwardRegressor

to, runs, folder = *sys.argv[1:3], Path(sys.argv[3])
X = np.random.RandomState(0).randn(60, 3)
y = X[:, 0]
n_calls = 0

def loss(raw, y):
    global n_calls
    n_calls += 1
    if n_calls == 4:
        # Ctrl-C is pressed when both workers are at work, as one that is starting is no test.
        (folder / f"{run} {os.getpid()}").touch()
        while len(list(folder.glob(f"{run} *"))) < 2:
            time.sleep(0.01)
        if to == "group":  # as a terminal does
            os.killpg(os.getpgrp(), signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(300)  # until the signal comes
    return (raw - y).square().sum(1) / 2

for run in runs.split():
    net = FeedForwardRegressor(loss, (4,), solver=run, max_iter=20, random_state=0)
    try:
        if run == "adam":
            GridSearchCV(net, {"alpha": [0.1, 0.2]}, cv=3, n_jobs=2).fit(X, y)
        else:
            cross_val_score(net, X, y, cv=5, n_jobs=2)
        print(run, "went on", flush=True)
    except KeyboardInterrupt:
        print(run, "ended", flush=True)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
@pytest.mark.parametrize(
    ("to", "runs"),
    [
        ("group", "adam"),
        pytest.param("group", "adam lbfgs", marks=pytest.mark.long),
        pytest.param("worker", "adam lbfgs", marks=pytest.mark.long),
    ],
)
def test_ctrl_c_ends_a_search_in_two_processes(to, runs, tmp_path):
    lines = programs.run(SEARCHES, to, runs, tmp_path)
    assert lines == [f"{run} ended" for run in runs.split()]


def test_ctrl_c_in_threads_ends_the_search_at_once_and_the_fits_at_work_in_the_background():
    both, ended, done = threading.Barrier(2), threading.Event(), threading.Semaphore(0)
    n_begun = []

    def act(self, net, **kwargs):
        if len(net.history) == 2:
            n_begun.append(net)
            if both.wait(60) == 0:
                signal.raise_signal(signal.SIGINT)
            ended.wait(60)
        if len(net.history) == net.max_epochs:
            done.release()

    listening = type("Listening", (Callback,), {"on_epoch_end": act})
    with pytest.raises(KeyboardInterrupt), parallel_config("threading"):
        try:
            GridSearchCV(network(callbacks=[listening]), GRID, cv=4, n_jobs=2).fit(X, y)
        finally:
            ended.set()
    for _ in range(2):
        assert done.acquire(timeout=60)
    assert len(n_begun) == 2


# --- how it is told ---------------------------------------------------------------------------


def called_from(module):
    """Return what the function says when a function of a module with this name calls it."""
    names = {"__name__": module, "call": is_part_of_larger_run}
    exec("def function():\n    return call()\nanswer = function()", names)  # noqa: S102 (our own)
    return names["answer"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [("joblib.parallel", True), ("joblib._dask", True), ("optuna.study._optimize", True)]
    + [("sklearn.ensemble._weight_boosting", True), ("sklearn.multioutput", True)]
    + [("sklearn.semi_supervised._self_training", True), ("sklearn.ensemble._stacking", False)]
    + [("sklearn.pipeline", False), ("joblibs", False), ("my.joblib", False), (None, False)],
)
def test_calls_that_are_open_tell_a_larger_run(module, expected):
    assert called_from(module) is expected
