"""Small models for the tests of `save` and `load`."""

from __future__ import annotations

from conftest import TARGETS

from sknn import FeedForwardClassifier, FeedForwardRegressor

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, "batch_size": 40}
X_IRIS, SPECIES = TARGETS["multiclass"]


def made_for(target, **parameters):
    is_class = target in ("binary", "multiclass", "multilabel")
    kind = FeedForwardClassifier if is_class else FeedForwardRegressor
    return kind(**SMALL | parameters)


def own_loss(outputs, targets):
    return (outputs - targets).square().sum(1)
