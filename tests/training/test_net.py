"""skorch's net runs the epochs, and `net_` shows the model and its history afterwards."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import skorch
import torch
from conftest import TARGETS, assert_bit_equal
from global_state import state_is_kept
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import get_scorer
from sklearn.utils.fixes import parse_version
from skorch.dataset import Dataset
from skorch.helper import SliceDataset

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
    assert_bit_equal(loaded, fitted)
    kept, lived = loaded.net_.history.to_list(), fitted.net_.history.to_list()
    assert [list(record) for record in kept] == [list(record) for record in lived]
    assert np.isnan([record["dur"] for record in kept]).all()


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


@pytest.mark.matrix
@pytest.mark.parametrize(
    "parameters", [{}, {"normalization": "batch"}, {"dtype": "float32"}, {"n_members": 3}]
)
@pytest.mark.parametrize("target", TARGETS)
def test_net_answers_as_the_estimator(target, parameters):
    X, y = TARGETS[target]
    is_class = target in ("binary", "multiclass", "multilabel")
    kind = FeedForwardClassifier if is_class else FeedForwardRegressor
    if target in ("binary", "multiclass"):
        y = np.array(["a", "b", "c"])[y]
    estimator = kind(hidden_layer_sizes=(8,), max_iter=4, random_state=0, **parameters)
    net = estimator.fit(X, y).net_
    weight = np.linspace(0.5, 2, len(y))
    assert_array_equal(net.predict(X), estimator.predict(X))
    assert net.score(X, y) == estimator.score(X, y)
    assert net.score(X, y, sample_weight=weight) == estimator.score(X, y, weight)
    assert is_classifier(net) == is_class
    assert hasattr(net, "classes_") == is_class
    expected = estimator.predict(X)
    if is_class:
        expected = estimator.predict_proba(X)
        assert_array_equal(net.classes_, estimator.classes_)
    assert_array_equal(net.predict_proba(X), expected)
    rows = X.astype(parameters.get("dtype", "float64"))
    for data in (Dataset(rows, y), SliceDataset(Dataset(rows, y)), torch.from_numpy(rows)):
        assert_allclose(net.predict_proba(data), expected, rtol=1e-5)
    raw = net.infer(torch.from_numpy(rows)).detach()
    assert_allclose(raw, net.forward(rows), rtol=1e-5)
    assert_allclose(raw, estimator.module_(torch.from_numpy(rows)).detach(), rtol=1e-5)


def test_net_of_quantiles_scores_as_the_estimator():
    X, y = TARGETS["one output"]
    estimator = FeedForwardRegressor("quantile", (8,), quantile=[0.1, 0.9], max_iter=4).fit(X, y)
    assert_array_equal(estimator.net_.predict(X), estimator.predict(X))
    assert estimator.net_.score(X, y) == estimator.score(X, y)


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "neg_log_loss", "f1_macro"])
def test_scorers_of_scikit_learn_take_the_net(fitted, scoring):
    X, y = TARGETS["multiclass"]
    scorer = get_scorer(scoring)
    assert scorer(fitted.net_, X, y) == scorer(fitted, X, y)


def test_answers_of_the_net_follow_the_weights_of_its_module(fitted, tmp_path):
    X, _ = TARGETS["multiclass"]
    net, changed = fitted.net_, fitted.net_
    with torch.no_grad():
        changed.module_.linear1.weight.zero_()
        changed.module_.linear1.bias.copy_(torch.arange(3.0))
    assert_allclose(changed.predict_proba(X), np.tile(np.exp([-2, -1, 0]), (150, 1)) / 1.503214725)
    assert_array_equal(net.predict_proba(X), fitted.predict_proba(X))
    net.save_params(f_params=tmp_path / "weights.pt")
    changed.load_params(f_params=tmp_path / "weights.pt")
    assert_array_equal(changed.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.skipif(
    parse_version(skorch.__version__) < parse_version("1.2"),
    reason="this skorch cannot read a pickled net with torch 2.6 or newer",
)
def test_pickle_of_the_net_answers_and_stays_changeable(fitted):
    X, y = TARGETS["multiclass"]
    net = pickle.loads(pickle.dumps(fitted.net_))
    assert net.history.to_list() == fitted.net_.history.to_list()
    assert_array_equal(net.predict_proba(X), fitted.predict_proba(X))
    assert net.score(X, y) == fitted.score(X, y)
    with torch.no_grad():
        net.module_.linear1.weight.zero_()
    assert len(np.unique(net.predict_proba(X), axis=0)) == 1


def test_net_keeps_answering_when_the_estimator_is_fitted_again(fitted):
    X, y = TARGETS["multiclass"]
    net, before = fitted.net_, fitted.predict_proba(X)
    fitted.set_params(hidden_layer_sizes=(3,)).fit(X, y > 0)
    assert_array_equal(net.predict_proba(X), before)
    assert_array_equal(net.classes_, [0, 1, 2])


def test_module_of_the_net_is_in_eval_mode():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier((8,), max_iter=4, normalization="batch").fit(X, y)
    net = estimator.net_
    net.infer(torch.from_numpy(X))
    assert_array_equal(net.predict_proba(X), estimator.predict_proba(X))


def test_slice_of_the_module_is_a_plain_sequential(fitted):
    layers = fitted.net_.module_
    first = layers[:1]
    assert type(first) is torch.nn.Sequential
    assert list(first) == [layers[0]]
