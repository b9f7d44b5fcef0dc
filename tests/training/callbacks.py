"""Callbacks that record, and small fits that they watch."""

from __future__ import annotations

import copy

import numpy as np
import torch
from conftest import TARGETS, assert_bit_equal
from skorch.callbacks import (
    Callback,
)

from sknn import FeedForwardClassifier

X_IRIS, SPECIES = TARGETS["multiclass"]
NAMES = np.array(["virginica", "setosa", "versicolor"])[SPECIES]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "learning_rate_init": 0.02, "random_state": 0}
EVENTS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_grad_computed",
    "on_batch_end",
    "on_epoch_end",
    "on_train_end",
)


class OfLayers(torch.optim.SGD):
    """An optimizer that the estimators do not know, so it receives the tensors of the layers."""


def classifier(*callbacks, **parameters):
    return FeedForwardClassifier(**{**SMALL, "callbacks": list(callbacks), **parameters})


def data(target):
    """Return rows and targets to learn from, and others to validate on."""
    X, y = TARGETS[target]
    if target == "binary":
        y = np.array(["malignant", "benign"])[y]
    elif target == "multiclass":
        y = NAMES
    return X[::2], y[::2], X[1::2], y[1::2]


def at(event, action):
    """Return a callback that acts at one event."""

    class Acting(Callback):
        pass

    setattr(Acting, event, lambda self, net, **arguments: action(net, **arguments))
    return Acting()


class Recorder(Callback):
    """A callback that records all events and their arguments."""

    def initialize(self):
        self.events_ = []
        return self


def _record(event):
    def record(self, net, **arguments):
        self.events_.append((event, arguments))

    return record


for _event in EVENTS:
    setattr(Recorder, _event, _record(_event))


def seen(estimator):
    """Return what the first callback of a fitted estimator, a `Recorder`, has recorded."""
    return estimator.callbacks_[0][1].events_


def history(estimator, *keys):
    """Return columns of the training history as lists."""
    columns = [estimator.net_.history[:, key] for key in keys]
    return columns if len(keys) > 1 else columns[0]


def assert_same_model(left, right):
    """Assert that two estimators are equal bit by bit, whatever callbacks they hold."""
    left, right = copy.copy(left), copy.copy(right)
    for estimator in (left, right):
        vars(estimator).pop("callbacks_")
    assert_bit_equal(left, right)


def assert_same_weights(left, right):
    for a, b in zip(
        (*left.coefs_, *left.intercepts_), (*right.coefs_, *right.intercepts_), strict=True
    ):
        np.testing.assert_array_equal(a, b)


class Look(Callback):
    """A callback that looks at everything and keeps nothing."""

    def _look(self, net, **arguments):
        net.predict(X_IRIS)
        net.predict_proba(X_IRIS[:3])
        net.score(X_IRIS, NAMES)
        net.get_params()
        net.history.to_list()
        net.module_.state_dict()
        net.optimizer_.state_dict()

    on_train_begin = on_epoch_begin = on_epoch_end = on_train_end = _look
