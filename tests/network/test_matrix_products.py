"""NumPy, torch and bfloat16 products give the same step, and each is used where it should be."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal, torch_threads
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._input._parameter_checks import ADDED_ACTIVATIONS
from sknn._network import _matrix_products
from sknn._network._matrix_products import (
    BFloat16Products,
    NumPyProducts,
    TorchProducts,
    products_of,
)
from sknn._network._parameters import FlatParameters
from sknn._platform import _compat, _threads

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def used(monkeypatch):
    """Return a list of the classes of products that fits use, in their order."""
    kinds = []
    initialize = TorchProducts.__init__

    def recorded(self, parameters):
        kinds.append(type(self))
        initialize(self, parameters)

    monkeypatch.setattr(TorchProducts, "__init__", recorded)
    return kinds


@pytest.mark.parametrize(
    "device, n_threads, flops, mixed, expected",
    [
        ("cpu", 1, 1.0, False, NumPyProducts),
        ("cpu", 1, 1e12, False, NumPyProducts),
        ("cpu", 2, 1e12, False, NumPyProducts),
        ("cpu", 3, 1.0, False, NumPyProducts),
        ("cpu", 3, 1e12, False, TorchProducts),
        ("cpu", 1, 1.0, True, BFloat16Products),
        ("meta", 1, 1.0, False, TorchProducts),
        ("meta", 1, 1.0, True, BFloat16Products),
    ],
)
def test_products_depend_on_device_threads_and_size(
    device, n_threads, flops, mixed, expected, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    assert products_of(torch.device(device), flops, mixed) is expected


@pytest.mark.matrix
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"activation": ["gelu", "selu"], "dropout": 0.2, "input_dropout": 0.1},
        {"loss": "focal", "label_smoothing": 0.1, "max_grad_norm": 0.1},
        {"normalization": "batch", "activation": "mish", "dropout": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torchs_products_learn_what_numpys_do(dtype, parameters, used, monkeypatch):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier((20, 10), dtype=dtype, max_iter=10, random_state=0, **parameters)
    model.fit(X, y)
    expected = model.loss_curve_
    monkeypatch.setattr(_threads, "PARALLEL_FROM", 1.0)
    monkeypatch.setattr(_matrix_products, "NUMPY_UP_TO", 0)
    with torch_threads(1):
        model.fit(X, y)
    assert used == [NumPyProducts, TorchProducts]
    np.testing.assert_allclose(
        model.loss_curve_, expected, rtol=1e-5 if dtype == "float32" else 1e-12
    )


@pytest.mark.matrix
@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_bfloat16_learns_as_float32_does(activation, solver, name, used):
    X, y = TARGETS[name]
    kind = FeedForwardClassifier if name in ("binary", "multiclass", "multilabel") else None
    kind = kind or FeedForwardRegressor
    curves = []
    for dtype in ("float32", "bfloat16"):
        model = kind(
            hidden_layer_sizes=(20, 10),
            activation=activation,
            solver=solver,
            dtype=dtype,
            max_iter=20,
            random_state=0,
        ).fit(X, y)
        curves.append(model.loss_curve_)
    assert used == [NumPyProducts, BFloat16Products]
    assert curves[0] != curves[1]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.05)


@pytest.mark.matrix(7)
@pytest.mark.parametrize(
    "parameters",
    [
        *({"activation": name} for name in ADDED_ACTIVATIONS),
        {"dropout": 0.2, "input_dropout": 0.1},
        {"loss": "focal"},
        {"label_smoothing": 0.1},
        {"normalization": "layer"},
        {"normalization": "batch"},
        {"activation": torch.nn.PReLU},
    ],
    ids=str,
)
def test_bfloat16_learns_as_float32_does_with_the_additions(parameters, used):
    X, y = TARGETS["multiclass"]
    curves = []
    for dtype in ("float32", "bfloat16"):
        model = FeedForwardClassifier(
            (20, 10), dtype=dtype, max_iter=20, random_state=0, **parameters
        ).fit(X, y)
        curves.append(model.loss_curve_)
        assert all(array.dtype == np.float32 for array in model.coefs_)
    assert used == [NumPyProducts, BFloat16Products]
    assert curves[0] != curves[1]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.05)


def test_bfloat16_keeps_weights_state_and_predictions_in_float32():
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(dtype="bfloat16", max_iter=5, random_state=0).fit(X, y)
    slots = [a for pair in model._solver_state["slots"] for arrays in pair for a in arrays]
    for array in (*model.coefs_, *model.intercepts_, *slots):
        assert array.dtype == np.float32
    # The weights are not rounded to bfloat16: the low half of their bits is in use.
    assert (model.coefs_[0].view(np.uint32) & 0xFFFF).any()
    assert model.predict_proba(X).dtype == np.float32


@pytest.mark.parametrize("density", [0.02, 0.5])
def test_bfloat16_takes_sparse_rows(density):
    rng = np.random.RandomState(0)
    X = scipy.sparse.random(300, 50, density, format="csr", random_state=rng)
    y = (X @ rng.randn(50) > 0).astype(int)
    scores = []
    for rows in (X, X.toarray()):
        model = FeedForwardClassifier(
            dtype="bfloat16", max_iter=20, learning_rate_init=0.01, batch_size=50, random_state=0
        )
        scores.append(model.fit(rows, y).loss_)
    assert scores[0] == pytest.approx(scores[1], rel=0.1)


def test_bfloat16_partial_fit_goes_on_and_equal_fits_are_bit_equal():
    X, y = TARGETS["multiclass"]
    models = []
    for _ in range(2):
        model = FeedForwardClassifier(dtype="bfloat16", random_state=0)
        for _ in range(5):
            model.partial_fit(X, y, classes=np.unique(y))
        models.append(model)
    assert_bit_equal(*models)
    assert models[0].loss_curve_[-1] < models[0].loss_curve_[0]


def test_bfloat16_lbfgs_is_float32():
    X, y = TARGETS["one output"]
    fits = [
        FeedForwardRegressor(
            hidden_layer_sizes=(5,), solver="lbfgs", dtype=dtype, max_iter=20, random_state=0
        ).fit(X, y)
        for dtype in ("float32", "bfloat16")
    ]
    for one, other in zip(*(fit.coefs_ for fit in fits), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("has_unit", [True, False])
def test_bfloat16_warns_where_the_processor_has_no_unit_for_it(has_unit, monkeypatch):
    monkeypatch.setattr(_compat, "has_bfloat16_unit", lambda kind: has_unit)
    X, y = TARGETS["multiclass"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        FeedForwardClassifier(dtype="bfloat16", max_iter=2).fit(X, y)
    assert any("slower than dtype='float32'" in str(w.message) for w in caught) is not has_unit


@pytest.mark.long
def test_bfloat16_scores_as_float32_on_digits():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    means = []
    for dtype in ("float32", "bfloat16"):
        scores = [
            FeedForwardClassifier(dtype=dtype, max_iter=30, random_state=seed)
            .fit(scaler.transform(X_train), y_train)
            .score(scaler.transform(X_test), y_test)
            for seed in range(4)
        ]
        means.append(np.mean(scores))
    assert means[1] > means[0] - 0.005


@pytest.mark.parametrize("input_major", [False, True])
@pytest.mark.parametrize("kind", [NumPyProducts, TorchProducts])
def test_products_take_views_and_never_copy(kind, input_major):
    parameters = FlatParameters((3, 4, 2), dtype=torch.float64, input_major=input_major)
    products = kind(parameters)
    for name in ("weights", "weight_gradients", "biases", "bias_gradients"):
        pairs = zip(getattr(products, name), getattr(parameters, name), strict=True)
        for taken, tensor in pairs:
            assert torch.as_tensor(taken).data_ptr() == tensor.data_ptr()
            assert taken.shape == tensor.shape


def test_bfloat16_adds_the_last_bias_in_float32():
    X, y = TARGETS["one output"]
    model = FeedForwardRegressor(
        hidden_layer_sizes=(5,), dtype="bfloat16", alpha=0.0, learning_rate_init=1e-9, max_iter=1
    )
    model.partial_fit(X, y)
    model.intercepts_[-1][:] = 1000.0
    y = model.predict(X)
    model.partial_fit(X, y)
    # The targets are the network's own predictions, so the loss comes only from rounding.
    assert model.loss_ < 1e-3
