"""Activations and their derivatives against scikit-learn's functions and autograd."""

from __future__ import annotations

import pytest
import torch
from sklearn.neural_network._base import ACTIVATIONS as THEIRS
from sklearn.neural_network._base import DERIVATIVES

from sknn._activations import ACTIVATIONS


@pytest.fixture
def z():
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(5, 7, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activation_equals_scikit_learns(name, z):
    expected = z.numpy().copy()
    THEIRS[name](expected)
    output = z.clone()
    ACTIVATIONS[name].apply_(output)
    torch.testing.assert_close(output, torch.from_numpy(expected))
    torch.testing.assert_close(ACTIVATIONS[name].module()(z), output)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_derivative_equals_scikit_learns_and_autograd(name, z):
    activation = ACTIVATIONS[name]
    z.requires_grad_()
    activation.module()(z).sum().backward()
    output = z.detach().clone()
    activation.apply_(output)
    delta = torch.ones_like(output)
    activation.backward_(delta, output)
    torch.testing.assert_close(delta, z.grad)
    expected = torch.ones_like(output).numpy()
    DERIVATIVES[name](output.numpy(), expected)
    torch.testing.assert_close(delta, torch.from_numpy(expected))


def test_derivative_of_relu_at_zero_is_zero():
    delta, output = torch.ones(3), torch.tensor([0.0, -0.0, 1.0])
    ACTIVATIONS["relu"].backward_(delta, output)
    assert delta.tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activation_keeps_a_nan(name):
    z = torch.tensor([float("nan"), 1.0])
    ACTIVATIONS[name].apply_(z)
    assert z.isnan().tolist() == [True, False]
