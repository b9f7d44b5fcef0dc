"""Updates against scikit-learn's optimizers, and their state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from sknn._parameters import FlatParameters
from sknn._solvers import SGD, Adam

UNITS = (3, 4, 2)


def make_parameters(n_slots):
    parameters = FlatParameters(UNITS, n_slots, dtype=torch.float64)
    parameters.storage[0].normal_(generator=torch.Generator().manual_seed(0))
    return parameters


def gradients(n_steps):
    generator = torch.Generator().manual_seed(1)
    n_parameters = make_parameters(0).gradient.numel()
    # Tiny ones among them: there Adam's epsilon decides.
    return [
        torch.randn(n_parameters, dtype=torch.float64, generator=generator) * 10.0 ** -(3 * (i % 3))
        for i in range(n_steps)
    ]


def assert_follows(solver, parameters, theirs, vector):
    for gradient in gradients(30):
        parameters.gradient.copy_(gradient)
        solver.step()
        theirs.update_params([vector], [gradient.numpy()])
        np.testing.assert_allclose(parameters.storage[0].numpy(), vector, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)])
def test_adam_equals_scikit_learns(beta_1, beta_2, epsilon):
    parameters = make_parameters(2)
    vector = parameters.storage[0].numpy().copy()
    theirs = AdamOptimizer([vector], 0.01, beta_1, beta_2, epsilon)
    assert_follows(Adam(parameters, 0.01, beta_1, beta_2, epsilon), parameters, theirs, vector)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_sgd_equals_scikit_learns(momentum, nesterov):
    parameters = make_parameters(1)
    vector = parameters.storage[0].numpy().copy()
    theirs = SGDOptimizer([vector], 0.01, "constant", momentum, nesterov)
    assert_follows(SGD(parameters, 0.01, momentum, nesterov), parameters, theirs, vector)


@pytest.mark.parametrize("solver_class", [Adam, SGD])
def test_restored_solver_goes_on_as_if_never_saved(solver_class):
    parameters = make_parameters(solver_class.n_slots)
    solver = solver_class(parameters, 0.01)
    for gradient in gradients(5):
        parameters.gradient.copy_(gradient)
        solver.step()
    other = FlatParameters(UNITS, solver_class.n_slots, dtype=torch.float64)
    for row in range(len(parameters.storage)):
        other.write(*parameters.read(row), row)
    restored = solver_class(other, 99.0)
    restored.restore(solver.numbers())
    for gradient in gradients(3):
        for p, s in ((parameters, solver), (other, restored)):
            p.gradient.copy_(gradient)
            s.step()
    assert torch.equal(parameters.storage, other.storage)


def test_step_is_update_with_an_optional_closure():
    parameters = make_parameters(1)
    solver = SGD(parameters, 0.1, momentum=0.0)
    parameters.gradient.fill_(1.0)
    before = parameters.storage[0].clone()
    assert solver.step(lambda: 42) == 42
    torch.testing.assert_close(parameters.storage[0], before - 0.1)
