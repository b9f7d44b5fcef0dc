"""Activations and derivatives equal torch's, scikit-learn's, their formulas, and autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special
from sklearn.neural_network._base import ACTIVATIONS as THEIRS
from sklearn.neural_network._base import DERIVATIVES
from torch import nn

from sknn._input._parameter_checks import ADDED_ACTIVATIONS, SKLEARN_ACTIVATIONS
from sknn._network._activations import ACTIVATIONS

MODULES = {
    "identity": nn.Identity(),
    "logistic": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "elu": nn.ELU(1.0),
    "selu": nn.SELU(),
    "gelu": nn.GELU("none"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "softplus": nn.Softplus(1.0),
}

# The formulas are those of the papers.
FORMULAS = {
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "selu": lambda z: (
        1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0)))
    ),
    "gelu": lambda z: z * special.ndtr(z),
    "silu": lambda z: z * special.expit(z),
    "mish": lambda z: z * np.tanh(np.logaddexp(0, z)),
    "softplus": lambda z: np.logaddexp(0, z),
}


def make_inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(5, 7, dtype=dtype, generator=generator)


def applied(name, z):
    output = z.clone()
    ACTIVATIONS[name].apply_(output)
    return output


def derivative(name, z, delta=None):
    """Return `delta`, by default ones, multiplied by the derivative of an activation."""
    activation = ACTIVATIONS[name]
    delta = torch.ones_like(z) if delta is None else delta.clone()
    activation.backward_(delta, z.clone() if activation.from_input else applied(name, z))
    return delta


def by_autograd(name, z, delta):
    z = z.clone().requires_grad_()
    MODULES[name](z).backward(delta)
    return z.grad


def test_activations_are_those_that_the_estimators_allow():
    assert tuple(ACTIVATIONS) == (*SKLEARN_ACTIVATIONS, *ADDED_ACTIVATIONS)
    assert list(ACTIVATIONS) == list(MODULES)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_module_is_torchs_with_its_defaults(name):
    assert repr(ACTIVATIONS[name].module()) == repr(MODULES[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activation_equals_torchs_module(name, dtype):
    z = make_inputs(dtype)
    torch.testing.assert_close(applied(name, z), MODULES[name](z))


@pytest.mark.parametrize("name", list(FORMULAS))
def test_activation_equals_its_formula(name):
    z = make_inputs()
    expected = torch.from_numpy(FORMULAS[name](z.numpy()))
    torch.testing.assert_close(applied(name, z), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SKLEARN_ACTIVATIONS)
def test_activation_equals_scikit_learns(name):
    z = make_inputs()
    expected = z.numpy().copy()
    THEIRS[name](expected)
    torch.testing.assert_close(applied(name, z), torch.from_numpy(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_derivative_equals_autograds(name, dtype):
    z = make_inputs(dtype)
    delta = make_inputs(dtype).flip(0)
    tolerance = {"rtol": 1e-12, "atol": 1e-14} if dtype == torch.float64 else {}
    torch.testing.assert_close(derivative(name, z, delta), by_autograd(name, z, delta), **tolerance)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_derivative_equals_finite_differences(name):
    z, h = make_inputs(), 1e-6
    expected = (applied(name, z + h) - applied(name, z - h)) / (2 * h)
    torch.testing.assert_close(derivative(name, z), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", SKLEARN_ACTIVATIONS)
def test_derivative_equals_scikit_learns(name):
    z = make_inputs()
    expected = np.ones(z.shape)
    DERIVATIVES[name](applied(name, z).numpy(), expected)
    torch.testing.assert_close(derivative(name, z), torch.from_numpy(expected))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_derivative_at_zero_is_torchs(name):
    z = torch.tensor([0.0, -0.0])
    torch.testing.assert_close(derivative(name, z), by_autograd(name, z, torch.ones(2)))


def test_derivative_of_relu_at_zero_is_zero():
    assert derivative("relu", torch.tensor([0.0, -0.0, 1.0])).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_far_from_zero_values_and_derivatives_are_torchs_and_finite(name, dtype):
    # These include both sides of the value above which softplus is treated as linear.
    z = torch.tensor([-1e4, -100, -40, -19.9, 19.9, 20, 20.1, 40, 100, 1e4], dtype=dtype)
    output, delta = applied(name, z), derivative(name, z)
    assert output.isfinite().all() and delta.isfinite().all()
    torch.testing.assert_close(output, MODULES[name](z))
    torch.testing.assert_close(delta, by_autograd(name, z, torch.ones_like(z)))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activation_works_in_place_on_a_part_of_a_buffer(name):
    buffer = make_inputs()
    expected = MODULES[name](buffer[1:3].clone())
    rest = buffer[3:].clone()
    ACTIVATIONS[name].apply_(buffer[1:3])
    torch.testing.assert_close(buffer[1:3], expected)
    assert torch.equal(buffer[3:], rest)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activation_keeps_a_nan(name):
    assert applied(name, torch.tensor([float("nan"), 1.0])).isnan().tolist() == [True, False]


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "identity"])
def test_derivative_at_a_nan_is_torchs(name):
    z = torch.tensor([float("nan"), 1.0])
    expected = by_autograd(name, z, torch.ones(2))
    torch.testing.assert_close(derivative(name, z), expected, equal_nan=True)
