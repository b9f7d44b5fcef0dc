"""Helpers to assert that bad input fails as in scikit-learn and changes nothing."""

from __future__ import annotations

import copy
from functools import cache

import pytest
from conftest import TARGETS
from numpy.testing import assert_array_equal
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sknn import FeedForwardClassifier, FeedForwardRegressor

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 3, "random_state": 0}
KINDS = {
    "multiclass": (MLPClassifier, FeedForwardClassifier),
    "one output": (MLPRegressor, FeedForwardRegressor),
}


def pair(target, **parameters):
    """Return scikit-learn's estimator and ours."""
    return [kind(**SMALL | parameters) for kind in KINDS[target]]


def ours_for(target, **parameters):
    return KINDS[target][1](**SMALL | parameters)


@cache
def _fitted(target):
    return ours_for(target).fit(*TARGETS[target])


def fitted_for(target, **parameters):
    """Return a copy of our fitted estimator, whose parameters are set after the fit."""
    return copy.copy(_fitted(target)).set_params(**parameters)


def classes_for(target, call="partial_fit"):
    return {"classes": [0, 1, 2]} if target == "multiclass" and call == "partial_fit" else {}


def snapshot(estimator):
    """Return everything that a fit sets, in a form that can be compared."""
    parameters = estimator.get_params(deep=False)
    return repr({k: v for k, v in vars(estimator).items() if k not in parameters})


def fail(estimator, call, *arguments, error=ValueError, match=None, **more):
    """Assert that a call raises and changes nothing; return the message."""
    before, names = snapshot(estimator), list(vars(estimator))
    coefs = copy.deepcopy(getattr(estimator, "coefs_", None))
    with pytest.raises(error, match=match) as caught:
        getattr(estimator, call)(*arguments, **more)
    assert snapshot(estimator) == before
    assert list(vars(estimator)) == names
    if coefs is not None:
        for actual, expected in zip(estimator.coefs_, coefs, strict=True):
            assert_array_equal(actual, expected)
    return str(caught.value)


def spoiled(X, value):
    X = X.copy()
    X[5, 2] = value
    return X
