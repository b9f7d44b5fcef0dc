"""Pairs of scikit-learn's estimator and ours, and a way to make a training step fail."""

from __future__ import annotations

from sklearn.neural_network import MLPClassifier, MLPRegressor

import sknn._training._net
import sknn._training._stopping
import sknn._training._train
import sknn._training._validation
from sknn import FeedForwardClassifier, FeedForwardRegressor

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "batch_size": 40}
KINDS = {
    "binary": (MLPClassifier, FeedForwardClassifier),
    "multiclass": (MLPClassifier, FeedForwardClassifier),
    "multilabel": (MLPClassifier, FeedForwardClassifier),
    "one output": (MLPRegressor, FeedForwardRegressor),
}
CONFIGURATIONS = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "adaptive"},
    {"solver": "lbfgs"},
    {"solver": "adam", "early_stopping": True},
    {"solver": "adam", "dtype": "float32"},
]


def pair(target, **parameters):
    """Return scikit-learn's estimator and ours for a target, with equal parameters."""
    theirs, ours = KINDS[target]
    shared = {k: v for k, v in parameters.items() if k not in ("dtype", "device")}
    return theirs(**SMALL | shared), ours(**SMALL | parameters)


def ours_for(target, **parameters):
    return pair(target, **parameters)[1]


def break_step(monkeypatch, error, at):
    """Raise `error` in the `at`-th training step from now on, counted from 1."""
    step = sknn._training._train.ClosedFormStep
    call = step.__call__
    n_calls = 0

    def broken(self, *arguments):
        nonlocal n_calls
        n_calls += 1
        if n_calls == at:
            raise error
        return call(self, *arguments)

    monkeypatch.setattr(step, "__call__", broken)
