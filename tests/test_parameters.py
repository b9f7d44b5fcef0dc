"""The flat vector and its views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sknn._module import FeedForwardModule, initial_parameters
from sknn._parameters import FlatParameters

UNITS = (3, 5, 4, 2)


def random_arrays(seed=0):
    return initial_parameters(UNITS, "relu", np.random.RandomState(seed))


@pytest.mark.parametrize("input_major", [False, True])
def test_what_is_written_is_read_in_every_row(input_major):
    parameters = FlatParameters(UNITS, 2, dtype=torch.float64, input_major=input_major)
    for row in range(3):
        parameters.write(*random_arrays(row), row)
    for row in range(3):
        for read, written in zip(parameters.read(row), random_arrays(row), strict=True):
            for actual, expected in zip(read, written, strict=True):
                np.testing.assert_array_equal(actual, expected)


def test_views_share_the_vectors_memory():
    parameters = FlatParameters(UNITS, dtype=torch.float64)
    for weight, bias in zip(parameters.weights, parameters.biases, strict=True):
        weight.fill_(1.0)
        bias.fill_(2.0)
    n_weights = 15 + 20 + 8
    assert parameters.storage[0].tolist() == [1.0] * n_weights + [2.0] * 11
    assert parameters.penalized.tolist() == [1.0] * n_weights
    parameters.weight_gradients[1].fill_(3.0)
    assert parameters.vector.grad.sum() == 3.0 * 20


def test_revert_goes_back_to_the_saved_state():
    parameters = FlatParameters(UNITS, 1, dtype=torch.float64)
    parameters.write(*random_arrays())
    parameters.save()
    kept = parameters.storage.clone()
    parameters.storage.add_(1.0)
    parameters.revert()
    assert torch.equal(parameters.storage, kept)


def test_module_is_the_network_and_shares_the_vector():
    parameters = FlatParameters(UNITS, dtype=torch.float64)
    coefs, intercepts = random_arrays()
    parameters.write(coefs, intercepts)
    module = FeedForwardModule(parameters.weights, parameters.biases, "tanh")
    X = np.random.RandomState(1).randn(6, 3)
    expected = X
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        expected = (np.tanh(expected) if i else expected) @ coef + intercept
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(X)).numpy(), expected)
        module[0].weight.zero_()
    assert parameters.weights[0].abs().sum() == 0
    assert [type(layer).__name__ for layer in module] == ["Linear", "Tanh"] * 2 + ["Linear"]


def test_making_a_module_leaves_torchs_generator_alone():
    parameters = FlatParameters(UNITS, dtype=torch.float64)
    before = torch.get_rng_state()
    FeedForwardModule(parameters.weights, parameters.biases)
    assert torch.equal(torch.get_rng_state(), before)
