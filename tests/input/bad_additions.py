"""Helpers to assert that bad parameters fail before any training and change nothing.

Unfitted and fitted networks have to fail alike.
"""

from __future__ import annotations

import copy
from functools import cache

import pytest
from conftest import TARGETS, fitted_state

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._steps import AutogradStep, ClosedFormStep

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 3, "random_state": 0}
CLASSIFICATION = ("binary", "multiclass", "multilabel")
STEP = ClosedFormStep.__call__


def network(target, **parameters):
    kind = FeedForwardClassifier if target in CLASSIFICATION else FeedForwardRegressor
    return kind(**SMALL | parameters)


def fail(estimator, *arguments, match, error=ValueError, call="fit", **more):
    """Assert that a call raises and changes nothing; return the message."""
    before = repr(fitted_state(estimator))
    with pytest.raises(error, match=match) as caught:
        getattr(estimator, call)(*arguments, **more)
    assert repr(fitted_state(estimator)) == before
    return str(caught.value)


def fail_unfitted_and_fitted(target, parameters, *arguments, match, error=ValueError, **more):
    """Assert that `fit` of a new and of a fitted network raises alike; return the message."""
    data = arguments or TARGETS[target]
    with pytest.MonkeyPatch.context() as patch:
        forbid_training(patch)
        message = fail(network(target, **parameters), *data, match=match, error=error, **more)
        # This network was fitted without the bad parameters.
        fitted = copy.deepcopy(fitted_network(target, parameters.get("hidden_layer_sizes", (6,))))
        fail(fitted.set_params(**parameters), *data, match=match, error=error, **more)
    return message


@cache
def fitted_network(target, hidden_layer_sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClosedFormStep, "__call__", STEP)
        return network(target, hidden_layer_sizes=hidden_layer_sizes).fit(*TARGETS[target])


def forbid_training(patch):
    """Make every training step raise an error."""

    def trained(*args, **kwargs):
        raise AssertionError("training has begun")

    patch.setattr(ClosedFormStep, "__call__", trained)
    patch.setattr(AutogradStep, "__call__", trained)
