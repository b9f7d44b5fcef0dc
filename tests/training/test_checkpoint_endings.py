"""Tests of the checkpoint that remains, and what the user is told, for each end of a training."""

from __future__ import annotations

import os
import threading
import warnings
from functools import partial

import joblib
import numpy as np
import pytest
from checkpoints import (
    SPECIES,
    X_IRIS,
    classifier,
    files,
    kill,
    killed_after,
    loaded,
    regressor,
    the_file,
)
from conftest import TARGETS, assert_bit_equal, fitted_state
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EpochScoring

from sknn._training._checkpoint import CheckpointFile
from sknn._training._epoch import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- how training ends ------------------------------------------------------------------------


def test_file_is_there_only_while_training_goes_on(tmp_path, monkeypatch):
    there = []
    epoch = Trainer.epoch

    def looking(self, net=None):
        there.append(len(files(tmp_path)))
        return epoch(self, net)

    monkeypatch.setattr(Trainer, "epoch", looking)
    classifier(tmp_path, max_iter=8).fit(X_IRIS, SPECIES)
    assert there == [0] * 4 + [1] * 4
    assert files(tmp_path) == []


def test_nothing_is_saved_after_the_last_epoch(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(CheckpointFile, "save", lambda self, snapshot: saved.append(snapshot))
    classifier(tmp_path, max_iter=8).fit(X_IRIS, SPECIES)
    assert len(saved) == 1
    classifier(tmp_path, n_iter_no_change=2, tol=10.0, checkpoint_every=1).fit(X_IRIS, SPECIES)
    assert len(saved) == 1 + 3


def test_ctrl_c_keeps_model_and_file_and_the_same_fit_goes_on(tmp_path):
    whole = classifier(tmp_path).fit(X_IRIS, SPECIES)
    estimator = classifier(tmp_path)
    with killed_after(10, KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted"):
        estimator.fit(X_IRIS, SPECIES)
    assert estimator.n_iter_ == 10
    assert_bit_equal(estimator, classifier(None, max_iter=10).fit(X_IRIS, SPECIES))
    the_file(tmp_path)
    with killed_after(None) as counted:
        assert_bit_equal(estimator.fit(X_IRIS, SPECIES), whole)
    assert counted.n_epochs == 24 - 8


def test_warm_start_after_ctrl_c_is_another_training(tmp_path):
    estimator = classifier(tmp_path, warm_start=True)
    with killed_after(10, KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted"):
        estimator.fit(X_IRIS, SPECIES)
    left = the_file(tmp_path)
    with killed_after(None) as counted:
        estimator.fit(X_IRIS, SPECIES)
    assert counted.n_epochs == 24
    assert len(estimator.loss_curve_) == 10 + 24
    assert the_file(tmp_path) == left


def test_ctrl_c_amid_a_save_keeps_the_epoch_and_the_file_before(tmp_path, monkeypatch):
    fsync, n_saved = os.fsync, []

    def interrupted(handle):
        n_saved.append(handle)
        if len(n_saved) == 3:  # amid the save of the second file
            raise KeyboardInterrupt
        fsync(handle)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        estimator = classifier(tmp_path).fit(X_IRIS, SPECIES)
    assert estimator.n_iter_ == 8
    assert len(loaded(the_file(tmp_path))[1]["history"]) == 4


def test_diverged_fit_leaves_no_file(tmp_path):
    estimator = regressor(tmp_path, solver="sgd", learning_rate_init=1e300, checkpoint_every=1)
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        estimator.fit(*TARGETS["one output"])
    assert files(tmp_path) == []


FAILING = []


def accuracy_that_may_fail(estimator, X, y):
    if len(estimator.loss_curve_) in FAILING:
        raise RuntimeError("no score")
    return estimator.score(X, y)


def test_fit_that_a_scorer_fails_goes_on_afterwards(tmp_path):
    make = partial(classifier, tmp_path, early_stopping=True, scoring=accuracy_that_may_fail)
    FAILING.append(10)
    with pytest.raises(RuntimeError, match="no score"):
        make().fit(X_IRIS, SPECIES)
    FAILING.clear()
    with killed_after(None) as counted:
        resumed = make().fit(X_IRIS, SPECIES)
    assert counted.n_epochs == 24 - 8
    assert_bit_equal(resumed, make().fit(X_IRIS, SPECIES))


class CountEpochs(Callback):
    """A callback that records a NumPy number, looks at batches and asks to stop."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.seen = []

    def on_train_begin(self, net, **kwargs):
        self.n_at_begin = len(net.history)

    def on_batch_end(self, net, **kwargs):
        pass

    def on_epoch_end(self, net, **kwargs):
        epoch = net.history[-1, "epoch"]
        self.seen.append(epoch)
        net.history.record("number", np.float32(epoch / 3))
        net.history.record("which", ("epoch", np.int64(epoch), {"even": epoch % 2 == 0}))
        if epoch == self.stop_at:
            raise KeyboardInterrupt


def test_callbacks_of_skorch_see_the_epochs_to_come_and_the_history_of_those_before(tmp_path):
    callbacks = [CountEpochs(), EpochScoring("accuracy", on_train=True, lower_is_better=False)]
    make = partial(classifier, tmp_path, callbacks=callbacks)
    whole = make().fit(X_IRIS, SPECIES)
    kill(make(), 10, X_IRIS, SPECIES)
    resumed = make().fit(X_IRIS, SPECIES)
    counting = resumed.callbacks_[0][1]
    assert counting.n_at_begin == 8
    assert counting.seen == list(range(9, 25))
    left, right = fitted_state(resumed), fitted_state(whole)
    del left["callbacks_"], right["callbacks_"]
    assert repr(left) == repr(right)  # NumPy's numbers are equal, too.
    assert isinstance(resumed.net_.history[0, "number"], np.float32)


@pytest.mark.parametrize("n_epochs", [10, 12, 13])
def test_fit_that_a_callback_ends_is_a_success(n_epochs, tmp_path):
    classifier(tmp_path, callbacks=[CountEpochs(n_epochs)]).fit(X_IRIS, SPECIES)
    assert files(tmp_path) == []


def test_callbacks_of_scikit_learn_are_told_of_the_epochs_to_come(tmp_path):
    pytest.importorskip("sklearn.callback")
    told = []

    class Recording:
        def setup(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None): ...

        def on_fit_task_end(
            self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
        ):
            told.append(context.task_name)

        def teardown(self, estimator, context): ...

    whole = classifier(tmp_path).set_callbacks(Recording()).fit(X_IRIS, SPECIES)
    assert told.count("epoch") == 24
    kill(classifier(tmp_path).set_callbacks(Recording()), 9, X_IRIS, SPECIES)
    told.clear()
    resumed = classifier(tmp_path).set_callbacks(Recording()).fit(X_IRIS, SPECIES)
    assert told.count("epoch") == 24 - 8
    del resumed._skl_callbacks, whole._skl_callbacks
    assert_bit_equal(resumed, whole)


def test_verbose_says_from_where_training_goes_on(tmp_path, capsys):
    kill(classifier(tmp_path), 9, X_IRIS, SPECIES)
    path = the_file(tmp_path)
    capsys.readouterr()
    classifier(tmp_path, verbose=True).fit(X_IRIS, SPECIES)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Continuing after iteration 8, saved in {path}"
    assert lines[1].startswith("Iteration 9, loss = ")
    assert len(lines) == 1 + 24 - 8
    classifier(tmp_path, verbose=True).fit(X_IRIS, SPECIES)
    assert capsys.readouterr().out.startswith("Iteration 1, ")


def test_bar_begins_where_training_goes_on(tmp_path, capfd):
    kill(classifier(tmp_path), 9, X_IRIS, SPECIES)
    capfd.readouterr()
    classifier(tmp_path, verbose="progress").fit(X_IRIS, SPECIES)
    out, err = capfd.readouterr()
    assert out == ""
    assert " 8/24 " in err and "24/24" in err
    assert " 0/24 " not in err


def test_nothing_is_printed_or_warned_of_without_verbose(tmp_path, capfd):
    kill(classifier(tmp_path, tol=1.0, n_iter_no_change=12), 9, X_IRIS, SPECIES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(tmp_path, tol=1.0, n_iter_no_change=12).fit(X_IRIS, SPECIES)
    assert capfd.readouterr() == ("", "")


# --- fits at the same time --------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.long)])
def test_clones_in_a_parallel_search_do_not_collide(backend, tmp_path):
    def search(directory):
        pipeline = make_pipeline(StandardScaler(), classifier(directory, checkpoint_every=1))
        grid = {"feedforwardclassifier__alpha": [1e-4, 1e-1]}
        with joblib.parallel_config(backend):
            return GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X_IRIS, SPECIES)

    with_files, without = search(tmp_path), search(None)
    for name in ("mean_test_score", "split0_test_score", "rank_test_score"):
        assert with_files.cv_results_[name].tolist() == without.cv_results_[name].tolist()
    assert_bit_equal(with_files.best_estimator_[-1], without.best_estimator_[-1])
    assert len(files(tmp_path)) == 2 * 3  # of the finished fits in the search


def test_same_fit_in_two_threads_at_once_is_right_in_both(tmp_path):
    whole = classifier(None).fit(X_IRIS, SPECIES)
    fitted = []

    def fit():
        fitted.append(classifier(tmp_path, checkpoint_every=1).fit(X_IRIS, SPECIES))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=fit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not [w for w in caught if "checkpoint" in str(w.message)]
    assert len(fitted) == 4
    for estimator in fitted:
        assert_bit_equal(estimator, whole)
    assert files(tmp_path) == []
