"""The user's device: used, refused, or replaced where a loaded model finds it absent."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from conftest import TARGETS

from sknn import FeedForwardClassifier, FeedForwardRegressor, _devices
from sknn._devices import is_present, resolve_device

DEVICES = ["cpu", *[name for name in ("cuda", "mps") if is_present(name)]]
ABSENT = [name for name in ("cuda", "mps", "xpu") if not is_present(name)]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_fit_on_each_device_that_is_present(device, solver):
    X, y = TARGETS["multiclass"]
    X = X.astype(np.float32)
    estimator = FeedForwardClassifier(solver=solver, device=device, max_iter=20, random_state=0)
    expected = FeedForwardClassifier(solver=solver, max_iter=20, random_state=0).fit(X, y)
    estimator.fit(X, y)
    assert estimator.device_ == device
    np.testing.assert_allclose(
        estimator.predict_proba(X), expected.predict_proba(X), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("device", [*ABSENT, "cuda:99", "meta", "gpu", "", "cpu:x"])
def test_absent_device_is_an_error_before_training(device):
    X, y = TARGETS["one output"]
    estimator = FeedForwardRegressor(device=device)
    with pytest.raises(ValueError, match="'device' parameter") as error:
        estimator.fit(X, y)
    assert repr(device) in str(error.value)
    assert "'auto'" in str(error.value)
    assert not hasattr(estimator, "coefs_")


def test_auto_device_is_one_that_is_present():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(device="auto", max_iter=2).fit(X, y)
    assert estimator.device_ in DEVICES


def test_auto_device_is_never_mps_for_float64(monkeypatch):
    monkeypatch.setattr(_devices, "is_present", lambda name: name in ("cpu", "mps"))
    assert resolve_device("auto", torch.float64).type == "cpu"
    assert resolve_device("auto", torch.float32).type == "mps"
    with pytest.raises(ValueError, match="has no float64"):
        resolve_device("mps", torch.float64)


def test_loaded_model_whose_device_is_absent_predicts_on_the_cpu():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(max_iter=2, random_state=0).fit(X, y)
    expected = estimator.predict_proba(X)
    estimator.device_ = "cuda:99"
    loaded = pickle.loads(pickle.dumps(estimator))
    assert loaded.device_ == "cpu"
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
