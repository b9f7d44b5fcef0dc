"""skorch's net runs the epochs, and `net_` shows the model and its history afterwards."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import skorch
import torch
from conftest import TARGETS
from global_state import state_is_kept
from sklearn.exceptions import NotFittedError

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._training._net import EpochHistory

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def fitted():
    X, y = TARGETS["multiclass"]
    return FeedForwardClassifier(max_iter=7, early_stopping=True, random_state=0).fit(X, y)


def test_history_has_one_record_an_epoch(fitted):
    net = fitted.net_
    assert isinstance(net, skorch.NeuralNet)
    assert net.history[:, "epoch"] == list(range(1, 8))
    assert net.history[:, "train_loss"] == fitted.loss_curve_
    assert net.history[:, "valid_score"] == fitted.validation_scores_
    assert all(duration > 0 for duration in net.history[:, "dur"])


def test_net_predicts_without_drawing_from_torchs_generator(fitted):
    rows = torch.from_numpy(TARGETS["multiclass"][0])
    with state_is_kept():
        fitted.net_.forward(rows)


def test_history_goes_on_over_calls():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(max_iter=3, warm_start=True, random_state=0)
    estimator.fit(X, y).fit(X, y).partial_fit(X, y)
    history = estimator.net_.history
    assert history[:, "epoch"] == list(range(1, 8))
    assert history[:, "train_loss"] == estimator.loss_curve_


def test_history_of_lbfgs_has_one_record_an_iteration():
    X, y = TARGETS["one output"]
    estimator = FeedForwardRegressor(solver="lbfgs", max_iter=20, random_state=0).fit(X, y)
    losses = estimator.net_.history[:, "train_loss"]
    assert len(losses) == estimator.n_iter_
    assert losses[-1] == pytest.approx(estimator.loss_)
    assert losses == sorted(losses, reverse=True)


def test_history_survives_a_pickle(fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    assert loaded.net_.history.to_list() == fitted.net_.history.to_list()


def test_net_gives_the_raw_outputs(fitted):
    X, _ = TARGETS["multiclass"]
    raw = fitted.net_.forward(X)
    np.testing.assert_allclose(torch.softmax(raw, 1).numpy(), fitted.predict_proba(X), rtol=1e-10)
    assert fitted.net_.module_[0].weight.shape == (100, 4)


def test_changing_the_net_leaves_the_model_alone(fitted):
    before = fitted.coefs_[0].copy()
    with torch.no_grad():
        fitted.net_.module_[0].weight.zero_()
    np.testing.assert_array_equal(fitted.coefs_[0], before)


def test_net_shows_edited_coefficients(fitted):
    fitted.coefs_[0][:] = 0
    assert fitted.net_.module_[0].weight.abs().sum() == 0


def test_net_of_an_unfitted_estimator_is_an_error():
    with pytest.raises(NotFittedError):
        FeedForwardClassifier().net_  # noqa: B018


def test_epochs_are_run_by_skorch(monkeypatch):
    called = []
    loop = skorch.NeuralNet.fit_loop
    monkeypatch.setattr(
        skorch.NeuralNet, "fit_loop", lambda self, *a, **k: called.append(1) or loop(self, *a, **k)
    )
    X, y = TARGETS["binary"]
    FeedForwardClassifier(max_iter=2).fit(X, y)
    assert called == [1]


def test_history_looks_up_one_epoch_as_skorchs_does():
    rows = [{"epoch": i, "batches": []} for i in range(3)]
    ours, theirs = EpochHistory(rows), skorch.history.History(rows)
    for index in (0, -1, slice(0, 2), (0, "epoch"), (slice(None), "epoch")):
        assert ours[index] == theirs[index]


def test_net_of_replaced_lists(fitted):
    expected = fitted.net_.module_[0].weight
    fitted.coefs_ = [coef.tolist() for coef in fitted.coefs_]
    assert torch.equal(fitted.net_.module_[0].weight, expected)


def test_net_without_an_estimator_is_skorchs(fitted):
    X, _ = TARGETS["multiclass"]
    net = fitted.net_
    assert not hasattr(net, "classes_")
    np.testing.assert_allclose(net.predict_proba(X), net.forward(X).numpy())


def test_slice_of_the_module_is_a_plain_sequential(fitted):
    layers = fitted.net_.module_
    first = layers[:1]
    assert type(first) is torch.nn.Sequential
    assert list(first) == [layers[0]]
