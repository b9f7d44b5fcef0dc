"""Networks with validation rows to watch, and the rule of early stopping by hand."""

from __future__ import annotations

import numpy as np
import torch
from conftest import TARGETS
from numpy.testing import assert_array_equal
from sklearn.metrics import (
    log_loss,
)

from sknn import FeedForwardClassifier, FeedForwardRegressor

CLASSIFICATION = ("binary", "multiclass", "multilabel")
SMALL = {
    "hidden_layer_sizes": (6,),
    "batch_size": 40,
    "learning_rate_init": 0.02,
    "max_iter": 6,
    "random_state": 3,
}


def network(target, **parameters):
    kind = FeedForwardClassifier if target in CLASSIFICATION else FeedForwardRegressor
    return kind(**SMALL | parameters)


def data(target):
    """Return rows to learn from, and validation rows with weights, as arguments of `fit`."""
    X, y = TARGETS[target]
    if target == "counts":
        y = y + 1.0  # The gamma loss needs positive targets.
    train, val = np.split(np.random.RandomState(0).permutation(len(X))[:150], [100])
    weight = np.random.RandomState(1).uniform(0.1, 3, len(val))
    return X[train], y[train], {"X_val": X[val], "y_val": y[val], "sample_weight_val": weight}


def unweighted(validation):
    return {name: validation[name] for name in ("X_val", "y_val")}


def best_epoch(scores):
    """Return the first epoch with the highest score, counted from 1."""
    return int(np.argmax(scores)) + 1


def is_over(scores, tol, n_iter_no_change):
    """Return whether training stops after these scores by scikit-learn's rule."""
    best, n_bad = -np.inf, 0
    for score in scores:
        n_bad = n_bad + 1 if score < best + tol else 0
        best = max(best, score)
    return n_bad > n_iter_no_change


def assert_same_weights(actual, expected):
    for name in ("coefs_", "intercepts_"):
        for left, right in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert_array_equal(left, right)
    assert set(actual.module_state_) == set(expected.module_state_)
    for name, array in expected.module_state_.items():
        assert_array_equal(actual.module_state_[name], array)


VARIANTS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive"},
    "adamw": {"solver": "adamw", "learning_rate": "cosine"},
    "dropout": {"dropout": 0.3, "input_dropout": 0.1},
    "layer normalization": {"normalization": "layer"},
    "batch normalization": {"normalization": "batch", "dropout": 0.2},
    "module": {"activation": torch.nn.RReLU},
    "one order": {"shuffle": False},
    "torch": {"solver": torch.optim.RMSprop, "max_grad_norm": 1.0},
    "members": {"n_members": 3, "dropout": 0.2, "normalization": "batch"},
}


def cross_entropy(model, X, y, weight):
    p = model.predict_proba(X)
    if y.ndim == 1:
        return log_loss(y, p, sample_weight=weight)
    return sum(log_loss(y[:, k], p[:, k], sample_weight=weight) for k in range(y.shape[1]))


class Rising:
    """A scorer for which the last epoch is the best."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, estimator, X, y):
        self.n_calls += 1
        return self.n_calls


def worst_class(estimator, X, y):
    """Return the accuracy in the class that is predicted worst, as a user's scorer may."""
    correct = estimator.predict(X) == y
    return min(correct[y == label].mean() for label in np.unique(y))
