"""Pairs of scikit-learn's estimator and ours."""

from __future__ import annotations

from sklearn.neural_network import MLPClassifier, MLPRegressor

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
