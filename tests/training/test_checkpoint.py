"""A training that was killed goes on, and ends bit by bit as one that was not."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zipfile
from collections import Counter, OrderedDict
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal, fitted_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EpochScoring
from torch.optim import lr_scheduler

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._files import _container
from sknn._files._archives import read_archive
from sknn._files._plain import Allowance
from sknn._platform._devices import is_present
from sknn._training import _checkpoint as checkpoint
from sknn._training._checkpoint import CheckpointFile, Snapshot
from sknn._training._trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, SPECIES = TARGETS["multiclass"]
SMALL = {
    "hidden_layer_sizes": (8, 6),
    "batch_size": 40,
    "learning_rate_init": 0.02,
    "max_iter": 24,
    "n_iter_no_change": 30,
    "random_state": 3,
    "checkpoint_every": 4,
}
ACCELERATORS = [name for name in ("cuda", "mps") if is_present(name)]
ON_TMPFS = sys.platform == "linux" and hasattr(os, "geteuid") and os.geteuid() == 0


def classifier(directory, **parameters):
    return FeedForwardClassifier(**{**SMALL, "checkpoint_dir": directory, **parameters})


def regressor(directory, **parameters):
    return FeedForwardRegressor(**{**SMALL, "checkpoint_dir": directory, **parameters})


def made_for(target, directory, **parameters):
    is_class = target in ("binary", "multiclass", "multilabel")
    return (classifier if is_class else regressor)(directory, **parameters)


class Killed(Exception):
    """Stands for the end of the process."""


@contextmanager
def killed_after(n_epochs, error=Killed):
    """Let the next training end amid the epoch after so many. Counts the epochs that are run."""
    counted = SimpleNamespace(n_epochs=0)
    epoch = Trainer.epoch

    def counting(self, net=None):
        loss = epoch(self, net)
        if counted.n_epochs == n_epochs:
            raise error
        counted.n_epochs += 1
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "epoch", counting)
        yield counted


def kill(estimator, n_epochs, *data, **more):
    """Start a fit, and end it amid the epoch after so many."""
    with killed_after(n_epochs), pytest.raises(Killed):
        estimator.fit(*data, **more)


def files(directory):
    return sorted(path.name for path in Path(directory).iterdir())


def the_file(directory):
    (name,) = files(directory)
    return Path(directory) / name


def assert_goes_on(make, directory, *data, kills=(10, 6), **more):
    """Assert that a fit that is killed again and again ends as one that is not."""
    whole = make().fit(*data, **more)
    assert files(directory) == []
    saved = 0
    for n_epochs in kills:
        kill(make(), n_epochs, *data, **more)
        saved += n_epochs // 4 * 4
        assert len(files(directory)) == 1
    estimator = make()
    with killed_after(None) as counted:
        estimator.fit(*data, **more)
    assert counted.n_epochs == whole.n_iter_ - saved
    assert files(directory) == []
    assert_bit_equal(estimator, whole)
    return estimator


# --- everything that lives from epoch to epoch ------------------------------------------------


class Adafactored(torch.optim.Optimizer):
    """An optimizer of the user, of other tensors than the flat vector, that keeps float64."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["scale"] = torch.ones((), dtype=torch.float64)
                    state["seen"] = (0, {"steps": 0})
                mean = float(parameter.grad.square().mean())
                state["scale"].mul_(0.9).add_(0.1 * mean)
                state["seen"] = (state["seen"][0] + 1, {"steps": state["seen"][1]["steps"] + 1})
                rate = group["lr"] / (state["scale"].sqrt().item() + 1e-3)
                parameter.add_(parameter.grad, alpha=-rate)


def noisy_activation():
    return torch.nn.Sequential(torch.nn.PReLU(), torch.nn.Dropout(0.3))


def sequential(optimizer):
    first, second = lr_scheduler.LinearLR(optimizer), lr_scheduler.StepLR(optimizer, 3)
    return lr_scheduler.SequentialLR(optimizer, [first, second], [8])


SOLVERS = {
    "adam": {},
    "adamw": {"solver": "adamw", "alpha": 0.1},
    "sgd": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "sgd, adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 10.0,
        "n_iter_no_change": 2,
    },
    "NAdam": {"solver": torch.optim.NAdam},
    "NAdam, float32": {"solver": torch.optim.NAdam, "dtype": "float32"},
    "SGD, partial": {"solver": partial(torch.optim.SGD, momentum=0.9, nesterov=True)},
    "Adam, amsgrad": {"solver": partial(torch.optim.Adam, amsgrad=True, betas=(0.8, 0.9))},
    "LBFGS-like, of the user": {"solver": Adafactored, "dtype": "float32"},
}
SCHEDULES = {
    "cosine": {"learning_rate": "cosine"},
    "cosine, torch's optimizer": {"learning_rate": "cosine", "solver": torch.optim.RMSprop},
    "one_cycle": {"learning_rate": "one_cycle"},
    "warm-up": {"warmup_fraction": 0.5, "solver": "sgd", "learning_rate": "invscaling"},
    "clipping": {"max_grad_norm": 0.1},
    "StepLR": {"learning_rate": partial(lr_scheduler.StepLR, step_size=5)},
    "MultiStepLR": {"learning_rate": partial(lr_scheduler.MultiStepLR, milestones=[3, 9, 11, 11])},
    "lambda": {"learning_rate": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9)},
    "LambdaLR": {"learning_rate": lambda o: lr_scheduler.LambdaLR(o, lambda n: 0.9**n)},
    "SequentialLR": {"learning_rate": sequential},
    "CyclicLR": {
        "solver": partial(torch.optim.SGD, momentum=0.5),
        "learning_rate": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, 5),
    },
    "OneCycleLR": {
        "learning_rate": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 24, cycle_momentum=False)
    },
    "ReduceLROnPlateau": {
        "learning_rate": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.2)
    },
    "plateau and warm-up": {
        "learning_rate": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.2),
        "warmup_fraction": 0.5,
        "early_stopping": True,
    },
}
NETWORKS = {
    "dropout": {"dropout": [0.3, 0.1], "input_dropout": 0.2},
    "dropout, bfloat16": {"dropout": 0.3, "dtype": "bfloat16"},
    "batch normalization": {"normalization": "batch"},
    "layer normalization": {"normalization": "layer", "dropout": 0.2},
    "batch normalization, early stopping": {"normalization": "batch", "early_stopping": True},
    "module that draws": {"activation": noisy_activation, "dropout": 0.2},
    "gelu": {"activation": ["gelu", "softplus"]},
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
}
STOPS = {
    "early stopping": {"early_stopping": True},
    "early stopping, dropout": {"early_stopping": True, "dropout": 0.5},
    "early stopping that stops": {"early_stopping": True, "n_iter_no_change": 13, "tol": 0.2},
    "scoring": {"early_stopping": True, "scoring": "neg_log_loss"},
    "loss": {"early_stopping": True, "scoring": "loss"},
    "a plateau that stops": {"n_iter_no_change": 15, "tol": 0.3},
    "in order": {"shuffle": False},
    "in order, early stopping": {"shuffle": False, "early_stopping": True},
    "one batch": {"batch_size": 150},
    "focal": {"loss": "focal", "label_smoothing": 0.1, "class_weight": {0: 2.0}},
}
CASES = {**SOLVERS, **SCHEDULES, **NETWORKS, **STOPS}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower")
@pytest.mark.filterwarnings("ignore:To get the last learning rate computed by the scheduler")
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_resumed_fit_is_bit_equal(case, tmp_path):
    assert_goes_on(lambda: classifier(tmp_path, **CASES[case]), tmp_path, X_IRIS, SPECIES)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_resumed_fit_is_bit_equal_for_every_target(target, early_stopping, tmp_path):
    parameters = {"early_stopping": early_stopping, "dropout": 0.1}
    make = partial(made_for, target, tmp_path, **parameters)
    assert_goes_on(make, tmp_path, *TARGETS[target])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weights", [False, True])
def test_resumed_fit_is_bit_equal_with_validation_rows_of_ones_own(
    early_stopping, weights, tmp_path
):
    rng = np.random.RandomState(0)
    data = {"X_val": X_IRIS[::3], "y_val": SPECIES[::3]}
    if weights:
        data["sample_weight_val"] = rng.rand(50)
        data["sample_weight"] = rng.rand(150)
    make = partial(classifier, tmp_path, early_stopping=early_stopping)
    resumed = assert_goes_on(make, tmp_path, X_IRIS, SPECIES, **data)
    assert len(resumed.validation_scores_) == len(resumed.loss_curve_) == 24


@pytest.mark.parametrize("density", [0.02, 0.5])
def test_resumed_fit_is_bit_equal_for_sparse_rows(density, tmp_path):
    rows = scipy.sparse.random(200, 50, density, "csr", random_state=0)
    y = np.arange(200) % 3
    for dtype in (np.float32, np.float64):
        assert_goes_on(partial(classifier, tmp_path), tmp_path, rows.astype(dtype), y)


def test_resumed_fit_is_bit_equal_after_a_warm_start(tmp_path):
    def make():
        first = classifier(None, max_iter=5, early_stopping=True, warm_start=True)
        return first.fit(X_IRIS, SPECIES).set_params(max_iter=24, checkpoint_dir=tmp_path)

    resumed = assert_goes_on(make, tmp_path, X_IRIS, SPECIES)
    assert len(resumed.loss_curve_) == 5 + 24
    assert [record["epoch"] for record in resumed.net_.history] == list(range(1, 30))


@pytest.mark.skipif(not ACCELERATORS, reason="there is no accelerator")
@pytest.mark.parametrize("case", ["adam", "NAdam, float32", "dropout", "module that draws"])
@pytest.mark.parametrize("device", ACCELERATORS)
def test_resumed_fit_is_bit_equal_on_an_accelerator(device, case, tmp_path):
    parameters = {"dtype": "float32", **CASES[case], "early_stopping": True, "device": device}
    assert_goes_on(lambda: classifier(tmp_path, **parameters), tmp_path, X_IRIS, SPECIES)


@pytest.mark.parametrize("n_epochs", range(1, 24))
def test_killed_in_any_epoch(n_epochs, tmp_path):
    make = partial(classifier, tmp_path, checkpoint_every=3, dropout=0.2, early_stopping=True)
    whole = make().fit(X_IRIS, SPECIES)
    kill(make(), n_epochs, X_IRIS, SPECIES)
    with killed_after(None) as counted:
        assert_bit_equal(make().fit(X_IRIS, SPECIES), whole)
    assert counted.n_epochs == 24 - n_epochs // 3 * 3


@given(
    kills=st.lists(st.integers(0, 6), max_size=8),
    every=st.integers(1, 5),
    solver=st.sampled_from(["adam", "sgd", torch.optim.NAdam]),
    early_stopping=st.booleans(),
    dropout=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_kills_at_any_interval(tmp_path, kills, every, **parameters):
    seed = parameters.pop("seed")
    make = partial(
        classifier,
        tmp_path,
        checkpoint_every=every,
        max_iter=8,
        random_state=seed,
        **parameters,
    )
    whole = make().fit(X_IRIS, SPECIES)
    for n_epochs in kills:
        with killed_after(n_epochs):
            try:
                make().fit(X_IRIS, SPECIES)
            except Killed:
                continue
            break
    assert_bit_equal(make().fit(X_IRIS, SPECIES), whole)
    assert files(tmp_path) == []


def test_same_estimator_may_be_started_again_and_keeps_its_model_meanwhile(tmp_path):
    whole = classifier(tmp_path).fit(X_IRIS, SPECIES)
    estimator = classifier(tmp_path, max_iter=2).fit(X_IRIS, SPECIES)
    before = fitted_state(estimator)
    estimator.set_params(max_iter=24)
    kill(estimator, 9, X_IRIS, SPECIES)
    assert fitted_state(estimator) == before
    assert_bit_equal(estimator.fit(X_IRIS, SPECIES), whole)


def test_resumed_best_losses_of_the_history_are_those_of_the_whole(tmp_path):
    make = partial(classifier, tmp_path, learning_rate_init=0.5, early_stopping=True)
    history = assert_goes_on(make, tmp_path, X_IRIS, SPECIES).net_.history
    for name in ("train_loss", "valid_loss"):
        losses = history[:, name]
        least = np.minimum.accumulate([np.inf, *losses[:-1]])
        assert history[:, f"{name}_best"] == [bool(a < b) for a, b in zip(losses, least)]  # noqa: B905
        assert not all(history[10:, f"{name}_best"])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("n_rows, bytes_of_row", [(200, 1), (2000, 2), (70_000, 4)])
def test_size_of_the_file_is_that_of_the_guide(n_rows, bytes_of_row, early_stopping, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n_rows, 20), dtype=np.float32), np.arange(n_rows) % 3
    estimator = classifier(tmp_path, batch_size=100, early_stopping=early_stopping)
    kill(estimator, 9, X, y)
    n_parameters = 21 * 8 + 9 * 6 + 7 * 3
    expected = (4 if early_stopping else 3) * n_parameters * 4
    expected += bytes_of_row * (n_rows * 9 // 10 if early_stopping else n_rows)
    assert 0 < the_file(tmp_path).stat().st_size - expected < 6000 + 300 * 8


def test_durations_of_epochs_that_are_over_are_kept(tmp_path):
    estimator = classifier(tmp_path)
    kill(estimator, 9, X_IRIS, SPECIES)
    _, tree = loaded(the_file(tmp_path))
    durations = [record["dur"] for record in tree["history"]]
    assert estimator.fit(X_IRIS, SPECIES).net_.history[:8, "dur"] == durations


def test_global_generators_are_left_alone(tmp_path):
    make = partial(classifier, tmp_path, activation=noisy_activation, dropout=0.1)
    kill(make(), 9, X_IRIS, SPECIES)
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    make().fit(X_IRIS, SPECIES)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


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
        if len(n_saved) == 3:  # the second file
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
    """Records a number of NumPy, looks at batches, and asks to stop."""

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
    assert repr(left) == repr(right)  # NumPy's numbers, too
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
    assert lines[0] == f"Going on after iteration 8, saved in {path}"
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


# --- what is another training -----------------------------------------------------------------


def test_clones_in_a_parallel_search_do_not_collide_and_leave_nothing(tmp_path):
    def search(directory):
        pipeline = make_pipeline(StandardScaler(), classifier(directory, checkpoint_every=1))
        grid = {"feedforwardclassifier__alpha": [1e-4, 1e-1]}
        return GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X_IRIS, SPECIES)

    with_files, without = search(tmp_path), search(None)
    for name in ("mean_test_score", "split0_test_score", "rank_test_score"):
        assert with_files.cv_results_[name].tolist() == without.cv_results_[name].tolist()
    assert_bit_equal(with_files.best_estimator_[-1], without.best_estimator_[-1])
    assert files(tmp_path) == []


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


# --- files that are of no use -----------------------------------------------------------------


def loaded(path):
    """The arrays and the tree of a file."""
    with np.load(path, allow_pickle=False) as archive:
        document, *arrays = (archive[name] for name in archive.files)
    return arrays, json.loads(document.tobytes())["tree"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A file of a training that was killed, with what it makes of a whole one."""
    directory = tmp_path_factory.mktemp("killed")
    make = partial(classifier, max_iter=8, checkpoint_every=3, dropout=0.1)
    whole = make(directory).fit(X_IRIS, SPECIES)
    kill(make(directory), 5, X_IRIS, SPECIES)
    path = the_file(directory)
    return SimpleNamespace(make=make, whole=whole, name=path.name, data=path.read_bytes())


def fit_beside(killed, directory, data):
    """The fit, with some bytes under the name of its file; how many epochs it ran, and warnings."""
    (directory / killed.name).write_bytes(data)
    with warnings.catch_warnings(record=True) as caught, killed_after(None) as counted:
        warnings.simplefilter("always")
        estimator = killed.make(directory).fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, killed.whole)
    assert files(directory) == []
    return counted.n_epochs, [str(w.message) for w in caught if "checkpoint" in str(w.message)]


def test_whole_file_is_gone_on_from(killed, tmp_path):
    assert fit_beside(killed, tmp_path, killed.data) == (8 - 3, [])


def test_file_that_cannot_be_read_for_once_is_gone_on_from(killed, tmp_path, monkeypatch):
    failures = [SystemError("AST constructor recursion depth mismatch"), None]
    read = CheckpointFile._read

    def failing_once(self):
        error = failures.pop(0)
        if error is not None:
            raise error
        return read(self)

    monkeypatch.setattr(CheckpointFile, "_read", failing_once)
    assert fit_beside(killed, tmp_path, killed.data) == (8 - 3, [])


def test_truncated_file_is_left_aside(killed, tmp_path):
    size = len(killed.data)
    for length in sorted({0, 1, 3, 4, 30, 100, *range(200, size, size // 40), size - 22, size - 1}):
        n_epochs, (warning,) = fit_beside(killed, tmp_path, killed.data[:length])
        assert n_epochs == 8, length
        assert str(tmp_path / killed.name) in warning
        assert "begins anew" in warning


@given(data=st.data())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_flipped_bytes_are_noticed_or_change_nothing(killed, tmp_path, data):
    place = data.draw(st.integers(0, len(killed.data) - 1))
    flipped = bytearray(killed.data)
    flipped[place] ^= data.draw(st.integers(1, 255))
    fit_beside(killed, tmp_path, bytes(flipped))


@pytest.mark.parametrize("place", np.linspace(0.02, 0.8, 20))
def test_flipped_byte_of_the_content_is_noticed(killed, tmp_path, place):
    flipped = bytearray(killed.data)
    flipped[int(place * len(flipped))] ^= 0x10
    n_epochs, found = fit_beside(killed, tmp_path, bytes(flipped))
    assert (n_epochs, len(found)) in ((8, 1), (8 - 3, 0))  # padding and dates count for nothing


def npz(*arrays, **named):
    buffer = BytesIO()
    np.savez(buffer, *arrays, **named)
    return buffer.getvalue()


def npy(array):
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


FOREIGN = {
    "text": b"epoch,loss\n1,0.5\n",
    "pickle": pickle.dumps({"epoch": 3}),
    "array": npy(np.arange(10)),
    "archive": npz(weights=np.ones(3)),
    "archive of objects": npz(np.array([{}, None], dtype=object)),
    "no JSON": npz(np.arange(10, dtype=np.uint8), np.ones(3)),
    "JSON of something else": npz(np.frombuffer(b"[1, 2]", np.uint8)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_file_is_left_aside(what, killed, tmp_path):
    n_epochs, (warning,) = fit_beside(killed, tmp_path, FOREIGN[what])
    assert n_epochs == 8
    assert str(tmp_path / killed.name) in warning


def changed(data, change):
    """A file with something else in its JSON document, or in its arrays."""
    with np.load(BytesIO(data)) as archive:
        document, *arrays = (archive[name] for name in archive.files)
    label = json.loads(document.tobytes())
    change(label, arrays)
    return npz(np.frombuffer(json.dumps(label).encode(), np.uint8), *arrays)


CHANGES = {
    "format": (lambda label, _: label.update(format=0), "format is 0"),
    "fingerprint": (lambda label, _: label.update(fingerprint="0" * 40), "another training"),
    "shape": (lambda _, arrays: arrays.__setitem__(0, arrays[0][:, :-1]), "shape"),
    "a shape that would fit": (lambda _, arrays: arrays.__setitem__(0, arrays[0][:1]), "shape"),
    "dtype": (lambda _, arrays: arrays.__setitem__(0, arrays[0].astype(np.float32)), "float32"),
    "no array": (lambda _, arrays: arrays.pop(), "there is no array"),
    "no optimizer": (lambda label, _: label["tree"].pop("optimizer"), "optimizer"),
    "no history": (lambda label, _: label["tree"].pop("history"), "history"),
    "other rows": (lambda _, arrays: arrays.__setitem__(1, arrays[1][:100]), "100 rows"),
    "one generator more": (lambda label, _: label["tree"]["generators"].append(None), ""),
}


@pytest.mark.parametrize("what", CHANGES)
def test_file_of_another_form_is_left_aside_as_a_whole(what, killed, tmp_path):
    change, said = CHANGES[what]
    n_epochs, (warning,) = fit_beside(killed, tmp_path, changed(killed.data, change))
    assert n_epochs == 8
    assert said in warning
    assert str(tmp_path / killed.name) in warning


# --- files that somebody has made up ----------------------------------------------------------


def zipped(*members, compression=zipfile.ZIP_STORED):
    """An archive of (name, bytes)."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def head(shape, descr="<f8"):
    """What an .npy file begins with that promises an array."""
    buffer = BytesIO()
    promise = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, promise)
    return buffer.getvalue()


def overlapping(n_members=50):
    """An archive whose directory names the same bytes again and again."""
    content = npy(np.zeros(100_000))
    one = zipped(("arr_0.npy", content))
    start = one.index(b"PK\x01\x02")
    entry = one[start : one.index(b"PK\x05\x06")]
    entries = b"".join(
        entry.replace(b"arr_0.npy", f"arr_{i:x}.npy".encode()) for i in range(min(n_members, 16))
    )
    n_entries = entries.count(b"PK\x01\x02")
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n_entries, n_entries, len(entries), start, 0)
    return one[:start] + entries + end


MADE_UP = {
    "compressed": (
        zipped(("arr_0.npy", npy(np.zeros(10**7))), compression=zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "members that overlap": (overlapping(), "larger than the file"),
    "promise of much": (zipped(("arr_0.npy", head((10**11,)))), "larger than what holds it"),
    "promise of too much": (zipped(("arr_0.npy", head((2**62, 2**62)))), "larger than what"),
    "less than nothing": (zipped(("arr_0.npy", head((-1,)) + b"12345678")), "larger than what"),
    "wide values": (zipped(("arr_0.npy", head((1,), "|V2000000000"))), "larger than what"),
    "objects": (zipped(("arr_0.npy", head((1,), "|O") + pickle.dumps([print]))), "allow_pickle"),
    "another name": (zipped(("weights.npy", npy(np.zeros(3)))), "arr_0"),
    "another version": (zipped(("arr_0.npy", b"\x93NUMPY\x09\x00" + b"0" * 90)), "9, 0"),
}


@pytest.mark.parametrize("what", MADE_UP)
def test_made_up_archive_is_left_aside_without_much_memory(what, killed, tmp_path):
    data, said = MADE_UP[what]
    tracemalloc.start()
    (tmp_path / "made_up").write_bytes(data)
    with pytest.raises(Exception, match=said):
        read_archive(tmp_path / "made_up")
    assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 1e6
    tracemalloc.stop()
    (tmp_path / "made_up").unlink()
    n_epochs, (warning,) = fit_beside(killed, tmp_path, data)
    assert n_epochs == 8
    assert said in warning


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_named_pipe_is_left_aside_and_not_waited_for(killed, tmp_path):
    os.mkfifo(tmp_path / killed.name)
    with (
        pytest.warns(UserWarning, match="not a regular file"),
        pytest.warns(UserWarning, match="could not be saved"),
    ):
        estimator = killed.make(tmp_path).fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, killed.whole)
    assert files(tmp_path) == []


def generator_at(position):
    def change(label, _):
        label["tree"]["rows"]["random_state"]["state"]["pos"] = position

    return change


def rows_in_order(function):
    def change(label, arrays):
        place = label["tree"]["rows"]["order"]["$array"]
        arrays[place] = function(arrays[place])

    return change


def rate(value):
    return lambda label, _: label["tree"]["optimizer"].update(lr=value)


HOSTILE = {
    # NumPy and torch would read and write beyond their memory.
    "a generator that stands too far": (generator_at(10**8), "stands at 100000000"),
    "a generator that stands before its words": (generator_at(-5), "stands at -5"),
    "rows that are not there": (rows_in_order(lambda order: order + 100), "order of the rows"),
    "rows before the first": (rows_in_order(lambda order: -order.astype(int)), "order of the rows"),
    "a row twice": (rows_in_order(lambda order: order // 2), "order of the rows"),
    "a number of a kind that there is not": (rate({"$scalar": [99, "1"]}), "IndexError"),
    "a number of an array": (rate({"$scalar": [3, [1.0] * 9]}), "not as it should be"),
    "a number of many digits": (rate({"$scalar": [2, "1" * 10**5]}), "40 digits"),
    "something unknown": (rate({"$function": "print"}), "'function'"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_content_is_left_aside(what, killed, tmp_path):
    change, said = HOSTILE[what]
    n_epochs, (warning,) = fit_beside(killed, tmp_path, changed(killed.data, change))
    assert n_epochs == 8
    assert said in warning


def test_deep_content_is_left_aside(killed, tmp_path):
    deep = npz(np.frombuffer(b"[" * 100_000 + b"]" * 100_000, np.uint8))
    n_epochs, (warning,) = fit_beside(killed, tmp_path, deep)
    assert n_epochs == 8
    assert "RecursionError" in warning


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "step"])
def test_hostile_state_of_an_optimizer_of_torch_is_left_aside(name, tmp_path):
    # torch's fused kernels would write as many values as there are parameters.
    make = partial(classifier, tmp_path, solver=partial(torch.optim.Adam, fused=True))
    whole = make().fit(X_IRIS, SPECIES)
    kill(make(), 10, X_IRIS, SPECIES)

    def change(label, arrays):
        _, (state,) = label["tree"]["optimizer"]["state"]["$dict"]
        arrays[state[name]["$array"]] = np.zeros(3)

    path = the_file(tmp_path)
    path.write_bytes(changed(path.read_bytes(), change))
    with pytest.warns(UserWarning, match=rf"holds '{name}' of shape \(3,\)"):
        estimator = make().fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, whole)


def places(tree, path=()):
    """The paths of all values in a JSON document."""
    yield path
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))


NUMBERS = [0, -1, 2**31, 2**63, 10**40, 0.5, -1e300, float("nan"), float("inf"), True]
OTHERS = [None, "", "x", [], {}, [[]], {"$array": -1}, {"$tuple": []}, {"$tensor": {"$array": 1}}]
OTHERS += [{"$scalar": [2, "-1"]}, {"$list": ["float", 0]}, {"$objects": [[1], ["text", 0, 1, 2]]}]
OTHERS += [{"$dict": [[[]], [1]]}, {"$Counter": [["a"], ["b"]]}, "params"]


@given(data=st.data())
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_made_up_content_ends_in_a_model_or_an_exception(killed, tmp_path, data):
    # It may be another model: whoever writes the file decides. But the process goes on, and what
    # is left fits again.
    def change(label, arrays):
        for _ in range(data.draw(st.integers(1, 3))):
            path = data.draw(st.sampled_from([p for p in places(label["tree"]) if p]))
            owner = label["tree"]
            for key in path[:-1]:
                owner = owner[key]
            owner[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(NUMBERS + OTHERS)))
        if data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(arrays) - 1))
            dtype = data.draw(st.sampled_from(["u1", "i8", "f4", "f8", "U3", "c16", "M8[s]"]))
            shape = data.draw(st.sampled_from([(), (0,), (1,), (3, 2), arrays[place].shape]))
            arrays[place] = np.ones(shape, dtype)

    (tmp_path / killed.name).write_bytes(changed(killed.data, change))
    with warnings.catch_warnings(), suppress(Exception), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        killed.make(tmp_path).fit(X_IRIS, SPECIES)
    for path in tmp_path.iterdir():
        path.unlink()
    assert fit_beside(killed, tmp_path, killed.data) == (8 - 3, [])


def test_file_that_is_written_again_as_it_was_is_gone_on_from(killed, tmp_path):
    same = changed(killed.data, lambda *_: None)
    assert fit_beside(killed, tmp_path, same) == (8 - 3, [])


def test_other_files_of_the_directory_are_left_alone(killed, tmp_path):
    others = ["data.npz", "sknn-notes.txt", "sknn-" + "0" * 40 + ".npz", killed.name + ".bak"]
    for name in others:
        (tmp_path / name).write_text(name)
    left_behind = tmp_path / (killed.name + ".abcd.tmp")
    left_behind.write_text("of a process that was killed amid a save")
    killed.make(tmp_path).fit(X_IRIS, SPECIES)
    assert files(tmp_path) == sorted(others)
    assert all((tmp_path / name).read_text() == name for name in others)


def test_tree_comes_back_as_it_was():
    state = {
        "plain": [None, True, 3, 0.1, -np.inf, 1e-320, "é", 2**70],
        "nan": np.nan,
        "tuple": (1, (2.5, [3])),
        3: {"$tuple": 1, 4.0: "keys"},
        "numbers": [np.float32(0.1), np.float64(0.1), np.int64(-3), np.bool_(True), np.str_("a")],
        "array": np.arange(6, dtype=np.uint16).reshape(2, 3).T,
        "empty": [np.empty((0, 3)), [], {}, ()],
        "scalar": np.array(2.5),
        "tensor": torch.arange(3),
        "counter": Counter([1, 1, 2]),
        "ordered": OrderedDict(b=1, a=2),
    }
    arrays = []
    tree = json.loads(json.dumps(checkpoint._codec.encode(state, arrays), allow_nan=False))
    back = pickle.loads(pickle.dumps(Snapshot(arrays, tree)))
    again = checkpoint._codec.decode(back.tree, back.arrays, Allowance())
    assert repr(again) == repr(state)
    assert type(again["counter"]) is Counter


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([1j, {}]), np.longdouble(1), 1j])
def test_value_that_cannot_be_saved_is_refused(value):
    with pytest.raises(TypeError, match="of type"):
        checkpoint._codec.encode({"a": [value]}, [])


# --- what is refused --------------------------------------------------------------------------


class Opaque(lr_scheduler.StepLR):
    """A scheduler whose state is no plain value."""

    def state_dict(self):
        return {**super().state_dict(), "secret": object()}


class RecordsAnObject(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("thing", self)


def test_scheduler_whose_state_cannot_be_saved_is_refused_before_training(tmp_path):
    estimator = classifier(tmp_path, learning_rate=partial(Opaque, step_size=5))
    with killed_after(None) as counted, pytest.raises(ValueError, match="scheduler.*object") as e:
        estimator.fit(X_IRIS, SPECIES)
    assert "checkpoint_dir" in str(e.value) and "Allowed are" in str(e.value)
    assert counted.n_epochs == 0


def test_record_that_cannot_be_saved_is_refused_at_the_first_save(tmp_path):
    estimator = classifier(tmp_path, callbacks=[RecordsAnObject()])
    with pytest.raises(ValueError, match="state of the history holds"):
        estimator.fit(X_IRIS, SPECIES)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_random_state_must_be_an_integer(random_state, tmp_path):
    estimator = classifier(tmp_path / "new", random_state=random_state)
    with pytest.raises(ValueError, match="'random_state' parameter.*must be an int") as error:
        estimator.fit(X_IRIS, SPECIES)
    assert "'checkpoint_dir' parameter" in str(error.value)
    assert not (tmp_path / "new").exists()
    classifier(tmp_path, random_state=np.int64(3), max_iter=2).fit(X_IRIS, SPECIES)


def test_lbfgs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'checkpoint_dir' parameter.*lbfgs"):
        classifier(tmp_path, solver="lbfgs").fit(X_IRIS, SPECIES)


def test_partial_fit_makes_no_file_and_asks_for_nothing(tmp_path):
    estimator = classifier(tmp_path / "new", random_state=None, checkpoint_every=1)
    for _ in range(3):
        estimator.partial_fit(X_IRIS, SPECIES, classes=[0, 1, 2])
    assert not (tmp_path / "new").exists()


def unwritable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    yield tmp_path / "file"
    yield tmp_path / "file" / "below"
    yield str(tmp_path / "null\0byte")
    yield ""
    if sys.platform == "linux":
        yield "/proc/sknn"
        yield "/proc/self"


def test_path_that_cannot_be_written_is_refused_before_training(tmp_path):
    for path in unwritable(tmp_path):
        with killed_after(None) as counted, pytest.raises(ValueError) as error:
            classifier(path).fit(X_IRIS, SPECIES)
        assert counted.n_epochs == 0
        assert f"'checkpoint_dir' parameter is {path!r}" in str(error.value)
        assert "directory" in str(error.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_files_that_another_process_sweeps_away_are_no_error(tmp_path, monkeypatch):
    new_file = _container.new_file

    def swept(path):
        handle, name = new_file(path)
        os.unlink(name)
        return handle, name

    monkeypatch.setattr(_container, "new_file", swept)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier(tmp_path).fit(X_IRIS, SPECIES)
    assert files(tmp_path) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_directory_without_the_right_to_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="'checkpoint_dir' parameter"):
        classifier(tmp_path).fit(X_IRIS, SPECIES)


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_directory_is_made_with_its_parents(kind, tmp_path):
    class AsPath:
        def __fspath__(self):
            return os.fsencode(tmp_path / "a" / "b")

    path = AsPath() if kind is os.fsencode else kind(tmp_path / "a" / "b")
    kill(classifier(path), 9, X_IRIS, SPECIES)
    the_file(tmp_path / "a" / "b")


def test_parameters_are_cloned_and_pickled(tmp_path):
    estimator = classifier(tmp_path)
    for copied in (clone(estimator), pickle.loads(pickle.dumps(estimator))):
        assert copied.get_params() == estimator.get_params()
    assert FeedForwardClassifier().checkpoint_dir is None


# --- full disks -------------------------------------------------------------------------------


class Full:
    """A disk that takes so many bytes, and no more."""

    def __init__(self, file, n_bytes):
        self.file = file
        self.n_bytes = n_bytes

    def write(self, data):
        size = memoryview(data).nbytes
        if size > self.n_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.n_bytes -= size
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_failed_save_warns_once_and_keeps_the_file_before(share, tmp_path, monkeypatch):
    whole = classifier(tmp_path).fit(X_IRIS, SPECIES)
    kill(classifier(tmp_path), 5, X_IRIS, SPECIES)
    before = the_file(tmp_path).read_bytes()
    fdopen, n_bytes = os.fdopen, int(share * len(before))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", lambda *args: Full(fdopen(*args), n_bytes))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kill(classifier(tmp_path), 14, X_IRIS, SPECIES)
    (warning,) = [str(w.message) for w in caught]
    assert "No space left on device" in warning
    assert str(the_file(tmp_path)) in warning
    assert the_file(tmp_path).read_bytes() == before
    with killed_after(None) as counted:
        assert_bit_equal(classifier(tmp_path).fit(X_IRIS, SPECIES), whole)
    assert counted.n_epochs == 24 - 4


def test_training_goes_on_where_the_directory_has_been_taken_away(tmp_path, monkeypatch):
    epoch, directory = Trainer.epoch, tmp_path / "away"

    def removing(self, net=None):
        if directory.exists():
            directory.rmdir()
        return epoch(self, net)

    monkeypatch.setattr(Trainer, "epoch", removing)
    with pytest.warns(UserWarning, match="could not be saved"):
        estimator = classifier(directory).fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, classifier(None).fit(X_IRIS, SPECIES))


# --- processes --------------------------------------------------------------------------------

PRELUDE = """
import os, pickle, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
from sklearn.datasets import load_iris
from sknn import FeedForwardClassifier
X, y = load_iris(return_X_y=True)
def make(directory, every=1):
    return FeedForwardClassifier(
        (30,), batch_size=10, max_iter=60, n_iter_no_change=100, random_state=5, dropout=0.2,
        early_stopping=True, checkpoint_dir=directory, checkpoint_every=every)
def state(model):
    kept = {k: v for k, v in vars(model).items() if k.endswith("_") or k == "_solver_state"}
    del kept["callbacks_"]
    kept["coefs_"] = [c.tobytes() for c in kept["coefs_"]]
    return repr(sorted(kept.items(), key=str))
"""


def run(code, *arguments, timeout=300):
    """Run some code after the prelude in a new Python that finds this sknn."""
    root = str(Path(sknn.__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        check=True,
        timeout=timeout,
    ).stdout


def test_another_process_goes_on(tmp_path):
    out = run(
        """
from sknn._training._trainer import Trainer
epoch, n_epochs = Trainer.epoch, 0
def dying(self, net=None):
    global n_epochs
    if n_epochs == 25:
        print(n_epochs, flush=True)
        os._exit(0)
    n_epochs += 1
    return epoch(self, net)
Trainer.epoch = dying
make(sys.argv[1], 10).fit(X, y)
""",
        tmp_path,
    )
    assert out.split() == ["25"]
    the_file(tmp_path)
    out = run(
        """
resumed = make(sys.argv[1], 10).set_params(verbose=True).fit(X, y)
print(state(resumed) == state(make(sys.argv[1] + "/new").fit(X, y)))
""",
        tmp_path,
    )
    first, *_, last = out.splitlines()
    assert first.startswith("Going on after iteration 20, ")
    assert last == "True"


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_at_random_moments(tmp_path):
    out = run(
        """
import random, signal
directory = sys.argv[1]
whole = state(make(directory + "/whole").fit(X, y))
random.seed(0)
n_kills = n_right = 0
while n_kills < 150 or not n_right:  # longer and longer lives, on a machine that is busy
    process = os.fork()
    if process == 0:
        model = make(directory + "/killed").fit(X, y)
        with open(directory + "/state", "w") as file:
            file.write(state(model))
        os._exit(0)
    time.sleep(random.uniform(0, 0.25 * (1 + n_kills // 150)))
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        n_kills += 1
        left = os.listdir(directory + "/killed") if os.path.exists(directory + "/killed") else []
        assert len(left) <= 2, left  # the file, and one half written
    else:
        assert status == 0
        assert open(directory + "/state").read() == whole
        assert os.listdir(directory + "/killed") == []
        n_right += 1
print(n_kills, n_right)
""",
        tmp_path,
        timeout=600,
    )
    n_kills, n_right = map(int, out.split())
    assert n_kills >= 150
    assert n_right >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on a process")
def test_limit_on_the_size_of_files_is_a_warning(tmp_path):
    out = run(
        """
import resource
directory = sys.argv[1]
whole = state(make(directory + "/whole").fit(X, y))
warnings.simplefilter("always")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in (0, 1, 500, 3000, 8000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        limited = state(make(directory + "/limited").fit(X, y))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    messages = [str(w.message) for w in caught if "checkpoint" in str(w.message)]
    print(limited == whole, len(messages), "could not be saved" in messages[0],
          os.listdir(directory + "/limited"))
""",
        tmp_path,
    )
    assert out.splitlines() == ["True 1 True []"] * 5


@pytest.mark.skipif(not ON_TMPFS, reason="only root on Linux may mount a small disk")
def test_disk_that_fills_up_keeps_the_file_and_training_goes_on(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        whole = classifier(None).fit(X_IRIS, SPECIES)
        kill(classifier(tmp_path), 5, X_IRIS, SPECIES)
        before = the_file(tmp_path).read_bytes()
        filler = tmp_path / "filler"
        with suppress_full_disk(), open(filler, "wb", buffering=0) as file:
            while file.write(b"0" * 1024):
                pass
        with pytest.warns(UserWarning, match="could not be saved.*No space left") as caught:
            kill(classifier(tmp_path), 14, X_IRIS, SPECIES)
        assert len(caught) == 1
        filler.unlink()
        assert the_file(tmp_path).read_bytes() == before
        with killed_after(None) as counted:
            assert_bit_equal(classifier(tmp_path).fit(X_IRIS, SPECIES), whole)
        assert counted.n_epochs == 24 - 4
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)  # noqa: S607 (where it is, the system says)


@contextmanager
def suppress_full_disk():
    try:
        yield
    except OSError as error:
        assert error.errno == errno.ENOSPC


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_process_killed_from_outside(tmp_path):
    root = str(Path(sknn.__file__).resolve().parents[1])
    code = PRELUDE + "make(sys.argv[1]).set_params(max_iter=100000).fit(X, y)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        while not any(name.endswith(".npz") for name in files(tmp_path)):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    arrays, tree = loaded(next(tmp_path.glob("*.npz")))
    assert len(tree["history"]) >= 1
    assert all(np.isfinite(a).all() for a in arrays)


@pytest.mark.long
def test_example_prints_that_the_models_are_equal():
    path = Path(__file__).resolve().parents[2] / "examples" / "resume.py"
    out = run("import runpy; runpy.run_path(sys.argv.pop(), run_name='__main__')", path)
    assert out.count("Killed. There is sknn-") == 2
    assert "Going on after iteration " in out
    assert "Left in the directory: 0 files" in out
    assert "Epochs: 60, and 60 without a break" in out
    assert "equal: True" in out
