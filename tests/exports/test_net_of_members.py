"""The skorch net of an ensemble answers as the estimator does, with the weights that it has now."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import skorch
import torch
from conftest import TARGETS, case, torch_threads
from sklearn.utils.fixes import parse_version
from torch import nn

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread, as training does for small steps. A second one would only slow them down."""
    with torch_threads(1):
        yield


NETWORKS = [
    {},
    {"hidden_layer_sizes": (), "dtype": "float32"},
    {"normalization": "batch", "dropout": 0.2},
    {"normalization": "layer", "activation": nn.PReLU},
]


def fitted(target, **parameters):
    X, y = TARGETS[target]
    kind = FeedForwardRegressor if "output" in target else FeedForwardClassifier
    shared = {"hidden_layer_sizes": (7, 5), "max_iter": 5, "n_members": 3, "random_state": 0}
    model = kind(**{**shared, **parameters}).fit(X, y)
    return model, X.astype(model.coefs_[0].dtype), y


@pytest.mark.parametrize("parameters", NETWORKS, ids=case)
def test_net_predicts_and_scores_as_the_estimator(parameters):
    model, X, y = fitted("multiclass", **parameters)
    net = model.net_
    np.testing.assert_array_equal(net.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(net.predict(X), model.predict(X))
    assert net.score(X, y) == model.score(X, y)
    assert net.history[:, "train_loss"] == model.loss_curve_


@pytest.mark.parametrize("target", ["binary", "multiclass", "two outputs"])
def test_raw_outputs_of_the_net_are_those_of_the_mean(target):
    model, X, _ = fitted(target)
    raw = model.net_.forward(torch.from_numpy(X)).detach()
    assert raw.shape == (len(X), model.n_outputs_)
    torch.testing.assert_close(raw, model.module_(torch.from_numpy(X)).detach(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("parameters", NETWORKS, ids=case)
def test_net_follows_the_weights_of_its_members_and_the_estimator_does_not(parameters):
    model, X, _ = fitted("multiclass", **parameters)
    net, before = model.net_, model.predict_proba(X)
    with torch.no_grad():
        for member in net.module_:
            for parameter in member.parameters():
                parameter.mul_(0.5)
        expected = torch.softmax(net.forward(torch.from_numpy(X)), 1)
    rtol = 1e-4 if X.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(net.predict_proba(X), expected, rtol=rtol)
    assert np.abs(net.predict_proba(X) - before).max() > 0.01
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.skipif(
    parse_version(skorch.__version__) < parse_version("1.2"),
    reason="this skorch cannot read a pickled net with torch 2.6 or newer",
)
@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        ("binary", {}),
        ("multiclass", {"normalization": "batch"}),
        ("two outputs", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
    ],
)
def test_pickle_of_the_net_answers(target, parameters):
    model, X, _ = fitted(target, **parameters)
    net = pickle.loads(pickle.dumps(model.net_))
    np.testing.assert_array_equal(net.predict(X), model.predict(X))
