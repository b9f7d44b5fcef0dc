"""A search that was cut off, run again with its checkpoints, does not fit again what was finished.

A fit in a search, or whatever else joblib runs, keeps its file when it is finished.
"""

from __future__ import annotations

import os
import re
import signal
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from checkpoints import (
    SPECIES,
    X_IRIS,
    Killed,
    classifier,
    files,
    killed_after,
    loaded,
    regressor,
    run,
    the_file,
)
from conftest import TARGETS, assert_bit_equal, fitted_state
from joblib import Parallel, delayed
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GRID = {"alpha": [1e-4, 1.0]}


def in_a_run(estimator, *data, **more):
    """Return an estimator that was fitted as a task of joblib."""
    (fitted,) = Parallel()([delayed(estimator.fit)(*data, **more)])
    return fitted


def search(directory, **options):
    estimator = classifier(directory, max_iter=8)
    return GridSearchCV(estimator, GRID, **{"cv": 3, "error_score": "raise"} | options)


def scores(found):
    """Return the results of a search, without times and without parameters."""
    return {
        name: column.tolist()
        for name, column in found.cv_results_.items()
        if "score" in name and "time" not in name
    }


# --- one fit ----------------------------------------------------------------------------------


class Halved(Callback):
    """A callback that changes the weights after the last epoch."""

    def on_train_end(self, net, **kwargs):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter *= 0.5


FITS = {
    "adam": {},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0},
    "an optimizer of torch": {"solver": torch.optim.NAdam},
    "a scheduler": {"learning_rate": partial(torch.optim.lr_scheduler.StepLR, step_size=5)},
    "a plateau that stops": {"n_iter_no_change": 5, "tol": 0.3},
    "early stopping": {"early_stopping": True},
    "early stopping that stops": {"early_stopping": True, "n_iter_no_change": 5, "tol": 0.2},
    "waves": {"early_stopping": "waves", "learning_rate": "coslog"},
    "dropout": {"dropout": 0.3},
    "batch normalization": {"normalization": "batch"},
    "members": {"n_members": 2},
    "a module of the user": {"activation": torch.nn.PReLU},
    "fewer epochs than checkpoint_every": {"max_iter": 2},
}


def with_warnings(fit):
    """Return the fitted estimator, and the messages of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit()
    return fitted, [str(w.message) for w in caught]


@pytest.mark.matrix(5)
@pytest.mark.parametrize("case", FITS)
def test_finished_fit_is_taken_from_its_file(case, tmp_path):
    make = partial(classifier, tmp_path, **FITS[case])
    whole, told = with_warnings(lambda: in_a_run(make(), X_IRIS, SPECIES))
    alone = classifier(None, **FITS[case]).fit(X_IRIS, SPECIES)
    assert fitted_state(whole) == fitted_state(alone)
    the_file(tmp_path)
    with killed_after(0):  # an epoch would raise
        again, told_again = with_warnings(lambda: in_a_run(make(), X_IRIS, SPECIES))
    assert_bit_equal(again, whole)
    assert told_again == told
    the_file(tmp_path)
    if not make().early_stopping:
        assert_bit_equal(again.partial_fit(X_IRIS, SPECIES), whole.partial_fit(X_IRIS, SPECIES))


def test_finished_fit_whose_training_diverged_warns_again(tmp_path):
    make = partial(regressor, tmp_path, solver="sgd", learning_rate_init=1e3, early_stopping=True)
    with np.errstate(all="ignore"):
        whole, told = with_warnings(lambda: in_a_run(make(), *TARGETS["one output"]))
    assert "Training diverged" in told[0]
    with killed_after(0):
        again, told_again = with_warnings(lambda: in_a_run(make(), *TARGETS["one output"]))
    assert_bit_equal(again, whole)
    assert told_again == told


def test_finished_fit_that_is_refused_is_refused_again(tmp_path):
    make = partial(regressor, tmp_path, solver="sgd", learning_rate_init=1e300)
    with pytest.raises(ValueError, match="non-finite") as first, np.errstate(all="ignore"):
        in_a_run(make(), *TARGETS["one output"])
    with killed_after(0), pytest.raises(ValueError, match="non-finite") as second:
        in_a_run(make(), *TARGETS["one output"])
    assert str(second.value) == str(first.value)


def test_callbacks_are_told_nothing_of_a_training_that_is_taken_from_its_file(tmp_path):
    make = partial(classifier, tmp_path, callbacks=[Halved()])
    whole = in_a_run(make(), X_IRIS, SPECIES)
    with killed_after(0):
        again = in_a_run(make(), X_IRIS, SPECIES)  # the weights are not halved a second time
    assert fitted_state(again) | {"callbacks_": 0} == fitted_state(whole) | {"callbacks_": 0}
    np.testing.assert_array_equal(again.coefs_[0], whole.coefs_[0])


def test_callbacks_of_scikit_learn_are_told_of_a_fit_without_epochs(tmp_path):
    pytest.importorskip("sklearn.callback")
    told = []

    class Recording:
        def setup(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None): ...

        def on_fit_task_end(
            self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
        ):
            told.append((context.task_name, fitted_estimator.n_iter_))

        def teardown(self, estimator, context): ...

    make = partial(classifier, tmp_path, max_iter=3)
    in_a_run(make().set_callbacks(Recording()), X_IRIS, SPECIES)
    assert [name for name, _ in told] == ["epoch"] * 3 + ["fit"]
    told.clear()
    in_a_run(make().set_callbacks(Recording()), X_IRIS, SPECIES)
    assert told == [("fit", 3)]


def test_fit_of_ones_own_takes_the_finished_training_and_removes_the_file(tmp_path):
    whole = in_a_run(classifier(tmp_path), X_IRIS, SPECIES)
    with killed_after(0):
        assert_bit_equal(classifier(tmp_path).fit(X_IRIS, SPECIES), whole)
    assert files(tmp_path) == []


def test_fit_that_a_signal_ends_while_its_end_is_saved_goes_on(tmp_path, monkeypatch):
    whole = classifier(None).fit(X_IRIS, SPECIES)
    fsync, n_saved = os.fsync, []

    def interrupted(handle):
        n_saved.append(handle)
        if len(n_saved) == 11:  # after five saves, each of which syncs a file and its folder
            raise KeyboardInterrupt
        fsync(handle)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_a_run(classifier(tmp_path), X_IRIS, SPECIES)
    with killed_after(None) as counted:
        assert_bit_equal(in_a_run(classifier(tmp_path), X_IRIS, SPECIES), whole)
    assert counted.n_epochs == 4


def test_verbose_says_that_nothing_is_left_to_do(tmp_path, capsys):
    in_a_run(classifier(tmp_path, n_iter_no_change=5, tol=0.3), X_IRIS, SPECIES)
    path = the_file(tmp_path)
    fitted = in_a_run(
        classifier(tmp_path, n_iter_no_change=5, tol=0.3, verbose=True), X_IRIS, SPECIES
    )
    expected = f"Training already ended after iteration {fitted.n_iter_}, saved in {path}\n"
    assert capsys.readouterr().out == expected
    assert fitted.n_iter_ < fitted.max_iter


# --- searches ---------------------------------------------------------------------------------


def test_search_run_again_fits_only_the_best_candidate(tmp_path):
    whole = search(None).fit(X_IRIS, SPECIES)
    with killed_after(None) as counted:
        first = search(tmp_path).fit(X_IRIS, SPECIES)
    assert counted.n_epochs == (2 * 3 + 1) * 8
    left = files(tmp_path)
    assert len(left) == 2 * 3  # each candidate and fold has one, and the refit has removed its own
    with killed_after(None) as counted:
        second = search(tmp_path).fit(X_IRIS, SPECIES)
    assert counted.n_epochs == 8
    assert scores(first) == scores(second) == scores(whole)
    assert_bit_equal(second.best_estimator_, whole.best_estimator_)
    assert files(tmp_path) == left


@pytest.mark.matrix(4)
@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt])
@pytest.mark.parametrize("n_epochs", [3, 8, 13, 30, 47, 48, 53])
def test_search_that_was_cut_off_goes_on(n_epochs, error, tmp_path):
    whole = search(None).fit(X_IRIS, SPECIES)
    is_refit = n_epochs >= 2 * 3 * 8
    if error is KeyboardInterrupt and is_refit:
        with killed_after(n_epochs, error), pytest.warns(UserWarning, match="interrupted"):
            search(tmp_path).fit(X_IRIS, SPECIES)
    else:
        with killed_after(n_epochs, error), pytest.raises(error):
            search(tmp_path).fit(X_IRIS, SPECIES)
    with killed_after(None) as counted:
        again = search(tmp_path).fit(X_IRIS, SPECIES)
    finished, begun = divmod(n_epochs, 8)
    assert counted.n_epochs == (2 * 3 + 1 - finished) * 8 - begun // 4 * 4
    assert scores(again) == scores(whole)
    assert_bit_equal(again.best_estimator_, whole.best_estimator_)


def test_pipelines_prepare_again_what_was_finished_but_train_nothing(tmp_path):
    def validate():
        pipeline = make_pipeline(StandardScaler(), classifier(tmp_path))
        return cross_validate(pipeline, X_IRIS, SPECIES, cv=3, return_estimator=True)

    first = validate()
    with killed_after(0):
        second = validate()
    assert first["test_score"].tolist() == second["test_score"].tolist()
    for left, right in zip(first["estimator"], second["estimator"], strict=True):
        np.testing.assert_array_equal(left[0].mean_, right[0].mean_)
        assert_bit_equal(left[-1], right[-1])


@pytest.mark.long
def test_candidates_folds_seeds_and_rows_have_files_of_their_own(tmp_path):
    def n_new(call):
        before = set(files(tmp_path))
        with killed_after(None) as counted:
            call()
        n_files = len(set(files(tmp_path)) - before)
        assert counted.n_epochs == 8 * n_files
        return n_files

    make = partial(classifier, tmp_path, max_iter=8, batch_size=20)
    validate = partial(cross_val_score, cv=4)
    assert n_new(lambda: validate(make(), X_IRIS, SPECIES)) == 4
    assert n_new(lambda: validate(make(), X_IRIS, SPECIES)) == 0
    assert n_new(lambda: validate(make(alpha=0.1), X_IRIS, SPECIES)) == 4
    assert n_new(lambda: validate(make(random_state=4), X_IRIS, SPECIES)) == 4
    assert n_new(lambda: validate(make(), 2 * X_IRIS, SPECIES)) == 4
    assert n_new(lambda: validate(make(), X_IRIS, SPECIES[::-1])) == 4
    changed = X_IRIS.copy()
    changed[0, 0] += 1  # row 0 is in three of the four folds
    assert n_new(lambda: validate(make(), changed, SPECIES)) == 3
    shuffled = StratifiedKFold(4, shuffle=True, random_state=0)
    assert n_new(lambda: validate(make(), X_IRIS, SPECIES, cv=shuffled)) == 4
    distributions = {"alpha": [0.1, 0.2, 0.3]}
    random = partial(RandomizedSearchCV, param_distributions=distributions, n_iter=2, refit=False)
    first = random(make(), cv=2, random_state=0)
    assert n_new(lambda: first.fit(X_IRIS, SPECIES)) == 4
    assert n_new(lambda: first.fit(X_IRIS, SPECIES)) == 0
    bagging = BaggingClassifier(make(), 3, random_state=0)
    assert n_new(lambda: bagging.fit(X_IRIS, SPECIES)) == 3
    assert n_new(lambda: bagging.fit(X_IRIS, SPECIES)) == 0
    nested = GridSearchCV(make(), GRID, cv=2)
    assert n_new(lambda: validate(nested, X_IRIS, SPECIES, cv=2)) == 2 * (2 * 2 + 1)
    curve = partial(learning_curve, train_sizes=[0.5, 1.0], cv=2)
    curve = partial(curve, exploit_incremental_learning=True)
    before = files(tmp_path)
    curve(make(), X_IRIS, SPECIES)  # partial_fit makes no file
    assert files(tmp_path) == before


def test_lbfgs_goes_into_a_grid_of_its_own_without_files(tmp_path):
    grids = [{"solver": ["adam", "sgd"]}, {"solver": ["lbfgs"], "checkpoint_dir": [None]}]
    found = GridSearchCV(classifier(tmp_path), grids, cv=2, error_score="raise", refit=False)
    found.fit(X_IRIS, SPECIES)
    assert len(files(tmp_path)) == 2 * 2
    found.set_params(param_grid={"solver": ["lbfgs"]})
    with pytest.raises(ValueError, match="has no epochs to save"):
        found.fit(X_IRIS, SPECIES)


def test_search_without_a_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'random_state' parameter is None"):
        cross_val_score(classifier(tmp_path, random_state=None), X_IRIS, SPECIES, cv=2)


def test_damaged_file_of_a_finished_fit_is_replaced(tmp_path):
    whole = in_a_run(classifier(tmp_path), X_IRIS, SPECIES)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="cannot be used"), killed_after(None) as counted:
        assert_bit_equal(in_a_run(classifier(tmp_path), X_IRIS, SPECIES), whole)
    assert counted.n_epochs == 24
    with killed_after(0):
        in_a_run(classifier(tmp_path), X_IRIS, SPECIES)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_size_of_a_finished_file_is_that_of_the_guide(solver, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 20)), np.arange(2000) % 3
    in_a_run(classifier(tmp_path, solver=solver), X, y)
    n_parameters = 21 * 8 + 9 * 6 + 7 * 3
    expected = 8 * n_parameters * (3 if solver == "adam" else 2) + 2 * 2000
    assert 0 < the_file(tmp_path).stat().st_size - expected < 6000 + 300 * 24


# --- killed processes -------------------------------------------------------------------------

SEARCH = """
from pathlib import Path
from sklearn.model_selection import GridSearchCV
folder, n_jobs, is_killed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "killed"

def accuracy(estimator, X, y):
    if is_killed:  # as soon as three fits are finished, with all other processes
        with open(folder / "scored", "a") as file:
            file.write(".")
        if (folder / "scored").stat().st_size >= 3:
            os.killpg(os.getpgrp(), 9)
    return estimator.score(X, y)

def search(name):
    network = make(str(folder / name), 7).set_params(verbose=True, max_iter=20)
    grid = {"alpha": [0.1, 1.0]}
    found = GridSearchCV(network, grid, cv=3, n_jobs=n_jobs, scoring=accuracy).fit(X, y)
    results = {k: list(v) for k, v in found.cv_results_.items() if "time" not in k}
    print("results", state(found.best_estimator_), sorted(results.items()), flush=True)

search("searched")
search("new")
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL and process groups")
@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_search_whose_processes_were_killed_goes_on(n_jobs, tmp_path):
    run(SEARCH, tmp_path, n_jobs, "killed", returncode=-signal.SIGKILL)
    saved = [len(loaded(path)[1]["history"]) for path in tmp_path.glob("searched/*.npz")]
    assert saved.count(20) >= 3
    out = run(SEARCH, tmp_path, n_jobs, "whole", timeout=590)
    first, again, then, whole, _ = re.split("(results .*)", out)
    assert first.count("Iteration ") == (2 * 3 + 1) * 20 - sum(saved)
    assert first.count("Training already ended after iteration 20, ") == saved.count(20)
    assert then.count("Iteration ") == (2 * 3 + 1) * 20
    assert again == whole
