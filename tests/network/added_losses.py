"""Helpers for tests of the losses that scikit-learn lacks."""

from __future__ import annotations

from numpy.testing import assert_allclose

from sknn import FeedForwardClassifier, FeedForwardRegressor

SMALL = {
    "hidden_layer_sizes": (6,),
    "activation": "tanh",
    "batch_size": 60,
    "learning_rate_init": 0.01,
    "max_iter": 5,
    "random_state": 0,
}
CLASSIFICATION = ("binary", "multiclass", "multilabel")


def network(target, **parameters):
    kind = FeedForwardClassifier if target in CLASSIFICATION else FeedForwardRegressor
    return kind(**SMALL | parameters)


def assert_same_weights(actual, expected, **tolerance):
    for name in ("coefs_", "intercepts_"):
        for left, right in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert_allclose(left, right, **{"rtol": 0, "atol": 0, **tolerance})
