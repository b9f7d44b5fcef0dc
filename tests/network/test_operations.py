"""Operations that have parameters of their own give the loss and gradient of autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TARGETS, fitted_state
from test_losses import CASES, make_targets
from test_steps import (
    ALPHA,
    CPU,
    assert_gradient_is_that_of_finite_differences,
    evaluate,
    make_masks,
    one_thread,  # noqa: F401  a fixture that all tests of this module use
    operand,
)
from test_steps import Problem as StepProblem
from torch import nn

from sknn import FeedForwardClassifier
from sknn._data._batches import Batches
from sknn._network._architecture import Network, Periodic
from sknn._network._initial_weights import initial_parameters
from sknn._network._losses import regression_loss
from sknn._network._matrix_products import NumPyProducts, TorchProducts
from sknn._network._module import modules_between, network_module
from sknn._network._operations import Buffers, mish
from sknn._network._parameters import FlatParameters
from sknn._network._steps import AutogradStep, ClosedFormStep
from sknn._training import _train

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class InPlace(nn.Module):
    """A module that changes its input, which another module would still need."""

    def forward(self, x):
        return x.mul_(2).tanh_()


class Gated(nn.Module):
    """A module whose units depend on each other, with a parameter."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.tensor([0.3]))

    def forward(self, x):
        return x * torch.softmax(self.gate * x, 1)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach().sign()


class Halved(nn.Module):
    """A module that returns fewer rows than it gets."""

    def forward(self, x):
        return x[: len(x) // 2]


SHARED = nn.PReLU(init=0.3)
NETWORKS = {
    "layer": (("tanh", "mish"), {"normalization": "layer"}),
    "batch": (("tanh", "mish"), {"normalization": "batch"}),
    "layer, dropout": (("relu", "gelu"), {"normalization": "layer", "dropout": (0.3, 0.2)}),
    "batch, dropout": (("relu", "gelu"), {"normalization": "batch", "dropout": (0.3, 0.2)}),
    "PReLU": ((nn.PReLU, "tanh"), {}),
    "the same module twice": ((lambda: SHARED, lambda: SHARED), {}),
    "in place": (("tanh", InPlace), {}),
    "gated": ((Gated, Gated), {"dropout": (0.2, 0.0), "input_dropout": 0.2}),
    "detached": (("tanh", Detached), {}),
    "batch, gated": ((Gated, "tanh"), {"normalization": "batch"}),
    "parametric": (("parametric_selu", "parametric_mish"), {"dropout": (0.2, 0.1)}),
    "scaled": (("tanh", "mish"), {"scales_inputs": True, "input_dropout": 0.2}),
    "periodic": (("tanh", "mish"), {"embedding": Periodic((0, 2, 5), 4, 3)}),
    "all for tables": (
        ("parametric_selu", "parametric_selu"),
        {"embedding": Periodic(tuple(range(7)), 5, 4), "scales_inputs": True},
    ),
}


def make_steps(key, products=NumPyProducts, name="multiclass log_loss", weighted=True, n_rows=12):
    """Return the closed form and autograd of one network, each with parameters of its own."""
    activations, options = NETWORKS[key]
    made = []
    for kind in (ClosedFormStep, AutogradStep):
        rng = np.random.RandomState(0)
        n_outputs = 4 if name.startswith("multiclass") else 2
        units = (7, 6, 5, n_outputs)
        network = Network(units, activations, **{"dropout": (0.0, 0.0), **options})
        between = modules_between(network)
        units = network.linear_units
        parameters = FlatParameters(units, dtype=torch.float64, modules=between.all())
        parameters.write(*initial_parameters(units, "tanh", rng))
        for extra in parameters.extras:  # ones and zeros would hide faults
            extra.data.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, tuple(extra.shape))))
        masks = make_masks(network)
        weights, biases = parameters.weights, parameters.biases
        module = network_module(weights, biases, network, CASES[name].average, between, masks)
        X, y = rng.randn(n_rows, 7), make_targets(name, n_rows, n_outputs, rng)
        weight = rng.uniform(0.1, 3, n_rows) if weighted else None
        (batch,) = Batches(X, y, weight, batch_size=n_rows, device=CPU)
        if kind is ClosedFormStep:
            step = kind(products(parameters), network, CASES[name], ALPHA, masks, module=module)
            batch = batch._replace(X=operand(step.products, batch.X))
        else:
            step = kind(TorchProducts(parameters), module, CASES[name], ALPHA)
        made.append((StepProblem(network, parameters, CASES[name], batch), step, batch, module))
    return made


@pytest.mark.matrix(9)
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("name", ["squared_error", "multiclass log_loss"])
@pytest.mark.parametrize("n_rows", [1, 2, 12])
@pytest.mark.parametrize("key", list(NETWORKS))
def test_gradient_loss_and_statistics_equal_those_of_autograd(key, n_rows, name, products):
    for weighted in (False, True):
        closed, reference = make_steps(key, products, name, weighted, n_rows)
        for _ in range(3):  # the buffers of a step are used again, and statistics go on
            value, gradient = evaluate(closed[1:3])
            expected_value, expected = evaluate(reference[1:3])
            assert value == pytest.approx(expected_value, rel=1e-10)
            torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)
            ours, theirs = closed[3].extras(), reference[3].extras()
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
            for problem in (closed[0], reference[0]):
                problem.parameters.storage[0].sub_(0.1 * expected)
    if closed[0].parameters.extras:
        assert closed[0].parameters.extra_gradient.abs().max() > 1e-6


@pytest.mark.parametrize("key", ["layer", "batch", "batch, gated", "all for tables"])
def test_gradient_is_that_of_finite_differences(key):
    (problem, step, batch, _), _ = make_steps(key)
    assert_gradient_is_that_of_finite_differences(problem, (step, batch))


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(
    "parameters",
    [{"normalization": "layer"}, {"normalization": "batch"}, {"activation": Gated}],
    ids=str,
)
def test_fit_equals_a_fit_by_autograd(parameters, solver, monkeypatch):
    X, y = TARGETS["multiclass"]
    clf = FeedForwardClassifier((6, 5), max_iter=8, random_state=0, solver=solver, **parameters)
    clf.set_params(batch_size=40, dropout=0.1, early_stopping=True)
    ours = clf.fit(X, y).predict_proba(X)
    monkeypatch.setattr(
        _train,
        "ClosedFormStep",
        lambda products, network, loss, alpha, masks, n_most, module: AutogradStep(
            products, module, loss, alpha
        ),
    )
    np.testing.assert_allclose(ours, clf.fit(X, y).predict_proba(X), rtol=1e-8)


@pytest.mark.parametrize("batch_size", [20, 150])
def test_module_that_changes_the_number_of_rows_is_an_error_that_loses_nothing(batch_size):
    X, y = TARGETS["multiclass"]
    clf = FeedForwardClassifier((6,), max_iter=3, random_state=0).fit(X, y)
    before = fitted_state(clf)
    with pytest.raises(ValueError, match=r"makes Halved, which turned .*\(\d+, 6\) into one of"):
        clf.set_params(activation=Halved, batch_size=batch_size).fit(X, y)
    assert repr(fitted_state(clf)) == repr(before)


def in_place_rows_of_cubes(raw, y):
    """Return a loss whose derivative depends on the outputs of all units, computed in place."""
    distance = (raw - y).abs_().pow(3)
    return distance.sum(1).mul_(raw.softmax(1).amax(1))


@pytest.mark.matrix(4)
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("n_rows", [1, 12])
@pytest.mark.parametrize("key", ["layer", "PReLU", "plain"])
def test_loss_of_the_user_equals_autograd_of_the_whole(key, n_rows, products, monkeypatch):
    monkeypatch.setitem(NETWORKS, "plain", (("tanh", "mish"), {}))
    loss = regression_loss(in_place_rows_of_cubes, huber_delta=1.0, quantile=(0.5,))
    monkeypatch.setitem(CASES, "squared_error", loss)
    for weighted in (False, True):
        closed, reference = make_steps(key, products, "squared_error", weighted, n_rows)
        value, gradient = evaluate(closed[1:3])
        expected_value, expected = evaluate(reference[1:3])
        assert value == pytest.approx(expected_value, rel=1e-10)
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mish_and_its_derivative_are_torchs_near_zero_and_far_from_it(dtype):
    z = torch.cat([torch.linspace(-900, 900, 2001), torch.linspace(-4, 25, 2001)]).to(dtype)[None]
    x = z.double().clone().requires_grad_()
    expected = nn.functional.mish(x)
    (derivative,) = torch.autograd.grad(expected.sum(), x)
    parameters = FlatParameters((1, 1), dtype=dtype)
    buffers = Buffers(
        NumPyProducts(parameters), lambda n: torch.empty(n, z.shape[1], dtype=dtype), z.shape[1]
    )
    delta = torch.ones_like(z)
    operation = mish(buffers, z, delta)
    operation.forward()
    operation.backward()
    unit, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    torch.testing.assert_close(
        operation.output.double(), expected.detach(), rtol=6 * unit, atol=tiny
    )
    torch.testing.assert_close(delta.double(), derivative, rtol=0, atol=100 * unit)
