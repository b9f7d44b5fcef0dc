"""`random_state` may be an int, a generator that fits share, or None for NumPy's global one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TARGETS, assert_bit_equal
from global_state import state_is_kept
from neighbours import CONFIGURATIONS, KINDS, ours_for, pair
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sknn import FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def assert_same_weights(theirs, ours):
    for actual, expected in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert_allclose(actual, expected, rtol=1e-8, atol=1e-10)


STREAMS = [
    {"solver": "adam"},
    {"solver": "sgd", "shuffle": False},
    {"solver": "adam", "early_stopping": True},
    {"solver": "adam", "early_stopping": True, "shuffle": False},
    {"solver": "lbfgs"},
    {"solver": "lbfgs", "early_stopping": True},
]


@pytest.mark.matrix(4)
@pytest.mark.parametrize("parameters", STREAMS, ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_no_random_state_draws_from_numpys_global_generator_as_scikit_learn(target, parameters):
    X, y = TARGETS[target]
    theirs, ours = pair(target, random_state=None, **parameters)
    left = []
    for estimator in (theirs, ours):
        np.random.seed(0)
        np.random.randn()  # makes NumPy cache a second gaussian
        estimator.fit(X, y).fit(X, y)
        left.append(repr(np.random.get_state()))
    assert_same_weights(theirs, ours)
    assert left[0] == left[1]


@pytest.mark.matrix(4)
@pytest.mark.parametrize("parameters", STREAMS, ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_random_state_object_is_advanced_as_scikit_learn_advances_it(target, parameters):
    X, y = TARGETS[target]
    streams = [np.random.RandomState(4) for _ in range(2)]
    theirs, ours = pair(target, **parameters)
    theirs.set_params(random_state=streams[0]).fit(X, y).fit(X, y)
    ours.set_params(random_state=streams[1]).fit(X, y).fit(X, y)
    assert ours.random_state is streams[1]
    assert_same_weights(theirs, ours)
    assert repr(streams[0].get_state()) == repr(streams[1].get_state())


def first_call(target, y):
    """Return the additional arguments of the first `partial_fit`."""
    if KINDS[target][1] is FeedForwardRegressor:
        return {}
    return {"classes": np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)}


@pytest.mark.matrix
@pytest.mark.parametrize("random_state", [None, "object"])
@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd"}, {"shuffle": False}], ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_partial_fit_advances_the_stream_as_scikit_learn(target, parameters, random_state):
    X, y = TARGETS[target]
    left = []
    estimators = pair(target, **parameters)
    for estimator in estimators:
        np.random.seed(7)
        stream = np.random.RandomState(7) if random_state else None
        estimator.set_params(random_state=stream)
        for _ in range(3):
            estimator.partial_fit(X, y, **first_call(target, y))
        left.append(repr((stream or np.random).get_state()))
    assert_same_weights(*estimators)
    assert left[0] == left[1]


@pytest.mark.matrix
@pytest.mark.parametrize("random_state", [None, "object"])
@pytest.mark.parametrize("parameters", STREAMS[:3] + STREAMS[4:5], ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_warm_start_advances_the_stream_as_scikit_learn(target, parameters, random_state):
    X, y = TARGETS[target]
    left = []
    estimators = pair(target, warm_start=True, **parameters)
    for estimator in estimators:
        np.random.seed(7)
        stream = np.random.RandomState(7) if random_state else None
        estimator.set_params(random_state=stream).fit(X, y).fit(X, y)
        left.append(repr((stream or np.random).get_state()))
    if not parameters.get("early_stopping"):  # see "A warm start with early stopping" in the docs
        assert_same_weights(*estimators)
    assert left[0] == left[1]


@pytest.mark.parametrize("is_global", [True, False])
def test_several_estimators_share_a_stream_as_scikit_learns_do(is_global):
    pairs = [pair(target, random_state=None) for target in KINDS]
    left = []
    for ours in (False, True):
        np.random.seed(3)
        stream = np.random.mtrand._rand if is_global else np.random.RandomState(3)
        for target, both in zip(KINDS, pairs, strict=True):
            both[ours].set_params(random_state=stream).fit(*TARGETS[target])
        left.append(repr(stream.get_state()))
    for both in pairs:
        assert_same_weights(*both)
    assert left[0] == left[1]


def test_no_random_state_gives_another_model_every_time():
    X, y = TARGETS["multiclass"]
    one, two = (ours_for("multiclass", random_state=None).fit(X, y) for _ in range(2))
    assert not np.array_equal(one.coefs_[0], two.coefs_[0])


@pytest.mark.parametrize(
    "parameters",
    [{"dropout": 0.5, "input_dropout": 0.2}, {"activation": torch.nn.RReLU}],
    ids=["dropout", "module"],
)
def test_what_scikit_learn_does_not_draw_moves_no_stream(parameters):
    X, y = TARGETS["multiclass"]
    theirs, ours = pair("multiclass", random_state=None)
    ours.set_params(**parameters)
    left = []
    for estimator in (theirs, ours):
        np.random.seed(0)
        torch.manual_seed(0)
        estimator.fit(X, y)
        left.append((repr(np.random.get_state()), torch.get_rng_state().tolist()))
    assert left[0] == left[1]
    np.random.seed(0)
    assert_bit_equal(clone(ours).fit(X, y), ours)  # NumPy's generator still decides the draws


@pytest.mark.parametrize("made", ["by the module", "in a step"])
def test_torchs_generator_is_put_back_after_a_module_that_fails(made):
    class Failing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.rand(1)
            if made == "by the module":
                raise RuntimeError("broken")

        def forward(self, x):
            torch.rand(1)
            raise RuntimeError("broken")

    X, y = TARGETS["multiclass"]
    with state_is_kept(), pytest.raises(RuntimeError, match="broken"):
        ours_for("multiclass", activation=Failing).fit(X, y)


def test_generator_of_torch_does_not_matter():
    X, y = TARGETS["multiclass"]
    torch.manual_seed(1)
    one = ours_for("multiclass").fit(X, y)
    torch.manual_seed(2)
    assert_bit_equal(ours_for("multiclass").fit(X, y), one)


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("target", list(KINDS))
def test_equal_fits_are_bit_equal(target, parameters):
    X, y = TARGETS[target]
    estimators = [ours_for(target, **parameters).fit(X, y) for _ in range(3)]
    estimators.append(estimators[0])
    for estimator in estimators[1:]:
        assert_bit_equal(estimator, estimators[0])
        assert_array_equal(estimator.predict(X), estimators[0].predict(X))
    refitted = estimators[1].fit(X[: len(X) // 2], y[: len(X) // 2]).fit(X, y)
    assert_bit_equal(refitted, estimators[0])
