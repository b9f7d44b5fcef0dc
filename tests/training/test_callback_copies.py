"""A fit works on copies of the callbacks, which can be cloned, pickled and sent to processes."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import skorch
import torch
from callbacks import (
    NAMES,
    SMALL,
    X_IRIS,
    Recorder,
    assert_same_model,
    assert_same_weights,
    classifier,
    history,
    seen,
)
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
    ProgressBar,
)
from skorch.utils import noop
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Collecting(Callback):
    """A callback that fills the list it is given."""

    def __init__(self, losses):
        self.losses = losses

    def on_epoch_end(self, net, **arguments):
        self.losses.append(net.history[-1, "train_loss"])


def test_callbacks_are_copied_and_the_originals_untouched():
    originals = [
        Collecting([]),
        EpochScoring("accuracy", on_train=True),
        EarlyStopping("train_loss"),
    ]
    before = [copy.deepcopy(vars(callback)) for callback in originals]
    estimator = classifier(*originals)
    for _ in range(2):
        estimator.fit(X_IRIS, NAMES)
        (_, collecting), (_, scoring), _ = estimator.callbacks_
        assert collecting.losses == estimator.loss_curve_
        assert scoring.best_score_ < np.inf
    assert [vars(callback) for callback in originals] == before
    assert all(
        given is original for given, original in zip(estimator.callbacks, originals, strict=True)
    )
    assert not any(
        fitted is original for (_, fitted) in estimator.callbacks_ for original in originals
    )


class Lines:
    """An object that collects lines and could be copied."""

    def __init__(self):
        self.taken = []

    def take(self, line):
        self.taken.append(line)


def test_what_callbacks_write_to_is_the_users_own():
    # If the stream or the log were copied, the output would go to a copy that nobody reads.
    stream, lines = io.BytesIO(), Lines()
    other = {"f_optimizer": None, "f_criterion": None, "f_history": None}
    estimator = classifier(
        Checkpoint("train_loss_best", f_params=stream, **other),
        PrintLog(sink=lines.take),
        max_iter=1,
    ).fit(X_IRIS, NAMES)
    assert len(lines.taken) == 3
    stream.seek(0)
    saved = torch.load(stream, weights_only=True)
    np.testing.assert_array_equal(saved["linear0.weight"].T, estimator.coefs_[0])


def test_callbacks_may_be_instances_classes_and_pairs():
    estimator = classifier(
        EpochTimer,
        EpochTimer(),
        ("first", EpochTimer),
        ("second", EpochScoring("accuracy", on_train=True)),
    ).fit(X_IRIS, NAMES)
    assert [(name, type(callback)) for name, callback in estimator.callbacks_] == [
        ("EpochTimer_1", EpochTimer),
        ("EpochTimer_2", EpochTimer),
        ("first", EpochTimer),
        ("second", EpochScoring),
    ]
    tuples = FeedForwardClassifier(callbacks=(Recorder(),), **SMALL).fit(X_IRIS, NAMES)
    assert seen(tuples)


@pytest.mark.parametrize("callbacks", [None, []])
def test_without_callbacks_the_list_of_fitted_ones_is_empty(callbacks):
    assert classifier(callbacks=callbacks).fit(X_IRIS, NAMES).callbacks_ == []


class Keeping(Callback):
    """A callback that keeps the net, the optimizer and a number."""

    def on_train_begin(self, net, **arguments):
        self.net_, self.optimizer_, self.loss_ = net, net.optimizer_, 1.5


ALL_KINDS = (
    EpochScoring("accuracy", on_train=True),
    ("stop", EarlyStopping("train_loss", load_best=True, sink=noop)),
    LRScheduler(lr_scheduler.ReduceLROnPlateau, monitor="train_loss"),
    LRScheduler("StepLR", step_size=1, gamma=0.9, step_every="batch"),
    ProgressBar(),
    GradientNormClipping(1.0),
    Keeping(),
)


class Walker(pickle.Pickler):
    """A pickler that notes all objects that go into the pickle."""

    def __init__(self):
        self.stream = io.BytesIO()
        super().__init__(self.stream)
        self.found = []

    def persistent_id(self, value):
        self.found.append(value)


def test_pickle_of_a_fitted_estimator_holds_callbacks_but_nothing_of_torch():
    estimator = classifier(*ALL_KINDS).fit(X_IRIS, NAMES)
    walker = Walker()
    walker.dump(estimator)
    of_training = (
        torch.Tensor,
        torch.nn.Module,
        torch.optim.Optimizer,
        lr_scheduler.LRScheduler,
        lr_scheduler.ReduceLROnPlateau,
        skorch.NeuralNet,
    )
    assert not [value for value in walker.found if isinstance(value, of_training)]
    loaded = pickle.loads(walker.stream.getvalue())
    np.testing.assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))
    names = [name for name, _ in estimator.callbacks_]
    assert [name for name, _ in loaded.callbacks_] == names
    assert loaded.callbacks_[0][1].best_score_ == estimator.callbacks_[0][1].best_score_
    assert loaded.callbacks_[-1][1].loss_ == 1.5
    assert_same_weights(loaded.fit(X_IRIS, NAMES), estimator)


def test_clone_set_params_and_repr():
    estimator = classifier(*ALL_KINDS).fit(X_IRIS, NAMES)
    cloned = clone(estimator)
    assert not hasattr(cloned, "callbacks_")
    assert cloned.callbacks[0] is not estimator.callbacks[0]
    assert cloned.callbacks[0].get_params() == estimator.callbacks[0].get_params()
    assert not hasattr(cloned.callbacks[0], "scoring_")
    assert_same_weights(cloned.fit(X_IRIS, NAMES), estimator)
    assert "EpochScoring" in repr(estimator)
    replaced = cloned.set_params(callbacks=[("only", Recorder())])
    assert [name for name, _ in replaced.fit(X_IRIS, NAMES).callbacks_] == ["only"]


@pytest.mark.long
def test_grid_search_in_processes_is_that_in_one():
    def search(n_jobs):
        scores = EpochScoring("accuracy", on_train=True, lower_is_better=False)
        estimator = classifier(scores, EarlyStopping("train_loss"))
        grid = {"learning_rate_init": [1e-4, 0.05]}
        return GridSearchCV(estimator, grid, cv=3, n_jobs=n_jobs).fit(X_IRIS, NAMES)

    here, elsewhere = search(1), search(2)
    np.testing.assert_array_equal(
        here.cv_results_["mean_test_score"], elsewhere.cv_results_["mean_test_score"]
    )
    assert_same_model(here.best_estimator_, elsewhere.best_estimator_)
    best = pickle.loads(pickle.dumps(elsewhere)).best_estimator_
    assert best.callbacks_[0][1].best_score_ == max(history(best, "accuracy"))
