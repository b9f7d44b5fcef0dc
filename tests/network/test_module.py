"""The torch module has the right layers, state and normalization, and the right initial weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import TARGETS
from scipy.stats import kstest
from sklearn.neural_network import MLPRegressor
from torch import nn

from sknn import FeedForwardClassifier
from sknn._input._parameter_checks import ADDED_ACTIVATIONS, SKLEARN_ACTIVATIONS
from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import Network
from sknn._network._dropout import Masks
from sknn._network._initial_weights import initial_parameters
from sknn._network._module import BatchNorm, FeedForwardModule, modules_between
from sknn._network._parameters import FlatParameters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

UNITS = (3, 5, 4, 2)


def make_module(activations=("tanh", "relu"), normalization=None, masks=None, **options):
    network = Network(UNITS, activations, normalization, **options)
    parameters = FlatParameters(UNITS, dtype=torch.float64)
    parameters.write(*initial_parameters(UNITS, "relu", np.random.RandomState(0)))
    return FeedForwardModule(parameters.weights, parameters.biases, network, masks=masks)


def make_masks():
    return Masks(np.random.SeedSequence(0), torch.device("cpu"))


def make_rows(n_rows=6, n_columns=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_rows, n_columns, dtype=dtype, generator=generator)


# Names and order of the layers.


def test_plain_module_is_linear_layers_and_activations():
    module = make_module()
    assert [(n, type(m).__name__) for n, m in module.named_children()] == [
        ("linear0", "Linear"),
        ("activation0", "Tanh"),
        ("linear1", "Linear"),
        ("activation1", "ReLU"),
        ("linear2", "Linear"),
    ]
    assert list(module.state_dict()) == [
        f"linear{i}.{part}" for i in range(3) for part in ("weight", "bias")
    ]
    assert module.extras() == {}


def test_module_with_all_options_has_its_layers_in_order():
    module = make_module(
        ("gelu", nn.PReLU), "batch", make_masks(), dropout=(0.5, 0.1), input_dropout=0.2
    )
    assert [(n, type(m).__name__) for n, m in module.named_children()] == [
        ("input_dropout", "Dropout"),
        ("linear0", "Linear"),
        ("normalization0", "BatchNorm"),
        ("activation0", "GELU"),
        ("dropout0", "Dropout"),
        ("linear1", "Linear"),
        ("normalization1", "BatchNorm"),
        ("activation1", "PReLU"),
        ("dropout1", "Dropout"),
        ("linear2", "Linear"),
    ]
    rates = module.input_dropout.rate, module.dropout0.rate, module.dropout1.rate
    assert rates == (0.2, 0.5, 0.1)
    assert list(module.extras()) == [
        *(
            f"normalization{i}.{part}"
            for i in range(2)
            for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        ),
        "activation1.weight",
    ]


def test_layers_without_dropout_have_no_module_for_it():
    module = make_module(masks=make_masks(), dropout=(0.0, 0.1))
    names = [name for name, _ in module.named_children()]
    assert "dropout0" not in names and "input_dropout" not in names and "dropout1" in names


def test_module_without_masks_has_no_dropout():
    module = make_module(dropout=(0.5, 0.5), input_dropout=0.5)
    assert not any("dropout" in name for name, _ in module.named_children())


def test_module_with_dropout_in_evaluation_is_the_one_without():
    X = make_rows()
    dropping = make_module(masks=make_masks(), dropout=(0.5, 0.5), input_dropout=0.5)
    assert not torch.allclose(dropping(X), make_module()(X))
    assert torch.equal(dropping.eval()(X), make_module()(X))


def test_linear_layers_are_views_and_never_copies():
    weights, biases = [torch.ones(2, 3), torch.ones(1, 2)], [torch.zeros(2), torch.zeros(1)]
    module = FeedForwardModule(weights, biases, Network((3, 2, 1), ("tanh",)))
    for layer, weight, bias in zip((module.linear0, module.linear1), weights, biases, strict=True):
        assert layer.weight.data_ptr() == weight.data_ptr()
        assert layer.bias.data_ptr() == bias.data_ptr()
    assert (module.linear0.in_features, module.linear0.out_features) == (3, 2)


# The user's activations.


def test_callable_is_called_once_for_each_hidden_layer():
    calls = []

    def make():
        calls.append(nn.PReLU(init=len(calls) + 1.0))
        return calls[-1]

    ((_, *layers),) = modules_between(Network(UNITS, (make, make))).members
    assert len(calls) == 2
    assert [layer[-1][1].weight.item() for layer in layers] == [1.0, 2.0]


def test_module_that_the_user_keeps_is_not_trained_and_its_copy_is_shared():
    kept = nn.PReLU()
    network = Network(UNITS, (lambda: kept, lambda: kept))
    ((_, (first,), (second,)),) = modules_between(network).members
    assert first[1] is second[1] is not kept
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(activation=lambda: kept, max_iter=3, random_state=0)
    learned = [estimator.fit(X, y).module_state_["activation0.weight"] for _ in range(2)]
    np.testing.assert_array_equal(*learned)
    assert learned[0] != 0.25
    assert kept.weight.item() == 0.25


@pytest.mark.parametrize("result", [None, torch.tanh, nn.PReLU])
def test_callable_that_returns_no_module_is_an_error_that_names_the_parameter(result):
    with pytest.raises(ValueError, match="'activation' parameter .* must return a torch.nn.Module"):
        modules_between(Network(UNITS, ("relu", lambda: result)))


class RandomScale(nn.Module):
    """A module that draws random numbers when it is created and in each training step."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(()))

    def forward(self, x):
        return x * (self.scale + torch.rand(()) * self.training)


def test_module_that_draws_is_decided_by_random_state_and_leaves_torchs_generator():
    X, y = TARGETS["multiclass"]
    curves = []
    with torch.random.fork_rng([]):
        for seed in (0, 0, 1):
            torch.manual_seed(len(curves))
            before = torch.get_rng_state()
            model = FeedForwardClassifier(
                (4, 4), activation=RandomScale, max_iter=3, random_state=seed
            ).fit(X, y)
            curves.append(model.loss_curve_)
            assert torch.equal(torch.get_rng_state(), before)
    assert curves[0] == curves[1] != curves[2]
    scales = [model.module_state_[f"activation{i}.scale"] for i in range(2)]
    assert scales[0].shape == () and scales[0] != scales[1]


# The state of modules other than the linear layers.


@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
@pytest.mark.parametrize("activations", [("tanh", "relu"), (nn.PReLU, "gelu")])
def test_extras_make_another_module_the_same(activations, normalization):
    module = make_module(activations, normalization)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.startswith("linear"):
                parameter.add_(0.5)
    module.double()
    module(make_rows(20))
    module.eval()
    state = {name: tensor.numpy().copy() for name, tensor in module.extras().items()}
    other = make_module(activations, normalization).double().eval()
    X = make_rows(6, seed=1)
    assert torch.equal(other(X), module(X)) is not bool(state)
    other.load_extras(state)
    assert torch.equal(other(X), module(X))


def test_loading_extras_copies_into_the_vector():
    network = Network(UNITS, (nn.PReLU, "tanh"), "layer")
    between = modules_between(network)
    parameters = FlatParameters(UNITS, dtype=torch.float64, modules=between.all())
    weights, biases = parameters.weights, parameters.biases
    module = FeedForwardModule(weights, biases, network, *between.members)
    state = {k: np.full(v.shape, 7.0) for k, v in module.extras().items()}
    module.load_extras(state)
    state["activation0.weight"][:] = 8
    n_extras = 2 * 5 + 1 + 2 * 4
    assert (parameters.storage[0, -n_extras:] == 7).all()


@pytest.mark.parametrize(
    "state, named",
    [
        ({}, r"{}"),
        ({"activation0.weight": np.ones(2), "activation1.weight": np.ones(1)}, r"\(2,\)"),
        ({"activation0.weight": np.ones(1)}, "activation1.weight"),
        ({f"activation{i}.weight": np.ones(1) for i in range(3)}, "activation2.weight"),
    ],
)
def test_extras_of_another_network_are_an_error_that_names_both(state, named):
    module = make_module((nn.PReLU, nn.PReLU))
    with pytest.raises(ValueError, match=rf"module_state_ of shapes .*{named}.*warm_start=False"):
        module.load_extras(state)
    assert all((tensor == 0.25).all() for tensor in module.extras().values())


# Normalization.


def test_batch_norm_equals_torchs():
    ours, theirs = BatchNorm(4).double(), nn.BatchNorm1d(4).double()
    for seed in range(3):
        X = make_rows(7, 4, seed)
        torch.testing.assert_close(ours(X), theirs(X), rtol=0, atol=0)
    for (name, left), right in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        assert torch.equal(left, right), name
    X = make_rows(1, 4)
    assert torch.equal(ours.eval()(X), theirs.eval()(X))


def test_batch_norm_of_one_row_uses_running_statistics_and_keeps_them():
    module = BatchNorm(4).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        module.bias.fill_(0.5)
    module(make_rows(50, 4) * 3 + 1)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    X = make_rows(1, 4, seed=1)
    output = module(X)
    deviation = (before["running_var"] + module.eps).sqrt()
    expected = (X - before["running_mean"]) / deviation * module.weight + module.bias
    torch.testing.assert_close(output, expected)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    output.sum().backward()
    torch.testing.assert_close(module.bias.grad, torch.ones(4, dtype=torch.float64))
    assert (module.weight.grad != 0).all()


@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_normalization_is_between_linear_map_and_activation(normalization):
    module = make_module(("tanh", "relu"), normalization).double()
    X = make_rows(9)
    z = X @ module.linear0.weight.T + module.linear0.bias
    axis = 1 if normalization == "layer" else 0
    mean, variance = z.mean(axis, keepdim=True), z.var(axis, correction=0, keepdim=True)
    expected = torch.tanh((z - mean) / (variance + 1e-5).sqrt())
    torch.testing.assert_close(module.activation0(module.normalization0(z)), expected)
    rest = nn.Sequential(*list(module)[3:])
    torch.testing.assert_close(module(X), rest(expected))


@pytest.mark.parametrize("n_rows", [31, 61, 1])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_a_last_batch_of_one_row_does_not_break_training(normalization, n_rows):
    X, y = TARGETS["multiclass"]
    order = np.random.RandomState(0).permutation(len(y))[:n_rows]
    model = FeedForwardClassifier(
        (5,), normalization=normalization, batch_size=min(30, n_rows), max_iter=3, random_state=0
    )
    if n_rows > 1:
        model.fit(X[order], y[order])
    else:
        model.partial_fit(X[order], y[order], classes=np.unique(y))
    assert np.isfinite(model.loss_)
    assert np.isfinite(model.predict_proba(X)).all()
    if normalization == "batch":
        n_steps = {31: 3, 61: 6, 1: 0}[n_rows]
        assert model.module_state_["normalization0.num_batches_tracked"] == n_steps


# Initial weights.

WIDE = (60, 80, 50, 40)


def scikit_learns(activation, units, seed, dtype):
    """Return initial weights and biases from scikit-learn's private method, layer by layer."""
    model = MLPRegressor(activation=activation)
    model._random_state = np.random.RandomState(seed)
    pairs = [model._init_coef(n_in, n_out, dtype) for n_in, n_out in pairwise(units)]
    return [coef for coef, _ in pairs], [intercept for _, intercept in pairs]


def assert_arrays_equal(left, right):
    for ours, theirs in zip(left, right, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("units", [UNITS, (3, 2)], ids=str)
@pytest.mark.parametrize("activation", SKLEARN_ACTIVATIONS)
def test_initial_weights_of_scikit_learns_activations_are_its_own(activation, units, dtype):
    ours = initial_parameters(units, activation, np.random.RandomState(3), dtype)
    assert_arrays_equal(ours, scikit_learns(activation, units, 3, dtype))


@pytest.mark.parametrize("activation", SKLEARN_ACTIVATIONS)
def test_initial_weights_of_a_list_of_equal_activations_are_those_of_the_one(activation):
    ours = initial_parameters(UNITS, (activation,) * 2, np.random.RandomState(3))
    assert_arrays_equal(ours, scikit_learns(activation, UNITS, 3, np.float64))


@pytest.mark.parametrize("activations", [("logistic", "tanh"), ("tanh", "logistic")])
def test_initial_weights_of_a_mixed_list_are_each_activations_own(activations):
    ours = initial_parameters(UNITS, activations, np.random.RandomState(3))
    # For the logistic, the same uniform numbers are drawn from a narrower range.
    tanhs = scikit_learns("tanh", UNITS, 3, np.float64)
    narrow = 1 / np.sqrt(3)
    factors = [narrow if a == "logistic" else 1 for a in (*activations, activations[-1])]
    for actual, expected in zip(ours, tanhs, strict=True):
        for array, other, factor in zip(actual, expected, factors, strict=True):
            np.testing.assert_allclose(array, factor * other, rtol=1e-12)


@pytest.mark.parametrize("activations", [(nn.PReLU, nn.PReLU), ("relu", nn.PReLU)])
def test_initial_weights_of_callables_follow_scikit_learns_rule(activations):
    ours = initial_parameters(UNITS, activations, np.random.RandomState(3))
    assert_arrays_equal(ours, scikit_learns("relu", UNITS, 3, np.float64))


# The documentation gives these bounds. A number is the square of the bound times n_in.
BOUNDS = {
    "leaky_relu": 6, "elu": 6, "gelu": 6, "silu": 6, "mish": 6, "selu": 3, "softplus": 3,
}  # fmt: skip


def assert_uniform(coef, bound):
    assert kstest(coef.ravel(), "uniform", (-bound, 2 * bound)).pvalue > 1e-3
    assert 0.99 * bound < np.abs(coef).max() <= bound


def test_every_added_activation_has_a_documented_bound():
    assert set(BOUNDS) == set(ADDED_ACTIVATIONS)


@pytest.mark.parametrize("activation", list(BOUNDS))
def test_initial_weights_of_the_added_activations_are_uniform_with_zero_biases(activation):
    coefs, intercepts = initial_parameters(WIDE, activation, np.random.RandomState(0))
    for coef in coefs[:-1]:
        assert_uniform(coef, np.sqrt(BOUNDS[activation] / len(coef)))
    # The output layer of all of them has a variance of 1 / n_in.
    assert_uniform(coefs[-1], np.sqrt(3 / len(coefs[-1])))
    assert all((intercept == 0).all() for intercept in intercepts)


@pytest.mark.parametrize("activations", [("gelu", "tanh"), ("tanh", "gelu"), ("selu", nn.PReLU)])
def test_output_layer_follows_the_last_hidden_layer(activations):
    coefs, intercepts = initial_parameters(WIDE, activations, np.random.RandomState(0))
    by_glorot = [a == "tanh" or callable(a) for a in (*activations, activations[-1])]
    for coef, intercept, is_glorot in zip(coefs, intercepts, by_glorot, strict=True):
        assert (intercept != 0).any() == is_glorot
        if is_glorot:
            assert_uniform(coef, np.sqrt(6 / sum(coef.shape)))
    if activations[-1] == "gelu":
        assert_uniform(coefs[-1], np.sqrt(3 / len(coefs[-1])))


def test_selu_with_its_initial_weights_normalizes_itself():
    # Mean 0 and variance 1 are a fixed point (Klambauer et al., 2017, theorem 1).
    coefs, _ = initial_parameters((256,) * 12, "selu", np.random.RandomState(0))
    a = torch.from_numpy(np.random.RandomState(1).randn(256, 500))
    for coef in coefs[:-1]:
        a = torch.from_numpy(coef.T) @ a
        ACTIVATIONS["selu"].apply_(a)
    assert abs(a.mean()) < 0.1
    assert abs(a.var() - 1) < 0.1


@pytest.mark.parametrize("activation", [*ACTIVATIONS, nn.PReLU])
def test_fit_starts_from_the_initial_weights(activation):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(
        (6, 5), activation, max_iter=1, learning_rate_init=1e-300, solver="sgd", random_state=4
    ).fit(X, y)
    expected = initial_parameters((4, 6, 5, 3), (activation,) * 2, np.random.RandomState(4))
    for arrays, initial in zip((model.coefs_, model.intercepts_), expected, strict=True):
        for actual, drawn in zip(arrays, initial, strict=True):
            np.testing.assert_allclose(actual, drawn, rtol=0, atol=1e-200)


def dropping():
    return nn.Sequential(nn.ReLU(), nn.Dropout(0.5))


def test_fits_with_random_modules_are_equal_in_several_threads():
    X, y = TARGETS["multiclass"]

    def fit(_=None):
        estimator = FeedForwardClassifier((8,), activation=dropping, max_iter=20, random_state=0)
        return estimator.fit(X, y).coefs_[0]

    expected = fit()
    with ThreadPoolExecutor(3) as pool:
        for coef in pool.map(fit, range(6)):
            np.testing.assert_array_equal(coef, expected)


@pytest.mark.parametrize(
    ("fitted", "changed"),
    [
        ({"normalization": "layer"}, {"normalization": None}),
        ({"activation": nn.PReLU}, {"activation": "relu"}),
        ({"activation": "relu"}, {"activation": nn.PReLU}),
    ],
)
def test_prediction_with_modules_taken_away_or_added_is_an_error(fitted, changed):
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(max_iter=2, **fitted).fit(X, y).set_params(**changed)
    with pytest.raises(ValueError, match="module_state_"):
        estimator.predict(X)
