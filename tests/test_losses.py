"""Values of the losses against scikit-learn's own functions, and the criterion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neural_network._base import LOSS_FUNCTIONS, inplace_softmax
from torch.nn import functional as F

from sknn._losses import LOSSES, OUTPUT_ACTIVATIONS, Constants, Criterion

NAMES = {
    "squared_error": "squared_error",
    "poisson": "poisson",
    "binary_log_loss": "binary_log_loss",
    "multiclass_log_loss": "log_loss",
}


def make_case(name, scale, dtype):
    rng = np.random.RandomState(0)
    z = (scale * rng.randn(3, 40)).astype(dtype)
    if name == "multiclass_log_loss":
        y = rng.randint(0, 3, (1, 40))
    elif name == "binary_log_loss":
        y = rng.randint(0, 2, (3, 40)).astype(dtype)
    else:
        y = rng.poisson(2, (3, 40)).astype(dtype)
    return torch.from_numpy(z), torch.from_numpy(y)


def constants(p):
    return Constants(torch.ones_like(p[:1]), -torch.ones_like(p[:1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("name", list(LOSSES))
def test_loss_equals_scikit_learns_also_where_probabilities_saturate(name, scale, dtype):
    loss = LOSSES[name]
    z, y = make_case(name, scale, dtype)
    p = z.clone()
    OUTPUT_ACTIVATIONS[loss.output_activation].apply_(p)
    target = y.numpy().T
    if name == "multiclass_log_loss":
        target = np.eye(3)[y.numpy()[0]]
    if name == "poisson" and scale == 30:
        z, p = z.clamp(-20, 20), p.clamp(np.exp(-20), np.exp(20))
    expected = LOSS_FUNCTIONS[NAMES[name]](target, p.numpy().T.copy())
    terms = torch.empty(1 if loss.has_one_term else 3, 40, dtype=p.dtype)
    loss.backward_(p, y, terms, constants(p))
    loss.finish_(terms)
    reported = terms.sum(0).mean().item() * loss.reported_scale(3)
    assert reported == pytest.approx(expected, rel=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("name", list(LOSSES))
def test_delta_is_the_derivative_of_the_terms(name):
    loss = LOSSES[name]
    z, y = make_case(name, 1, np.float64)
    z.requires_grad_()
    (loss.scale * loss.terms(z, y).sum()).backward()
    p = z.detach().clone()
    OUTPUT_ACTIVATIONS[loss.output_activation].apply_(p)
    terms = torch.empty(1 if loss.has_one_term else 3, 40, dtype=p.dtype)
    loss.backward_(p, y, terms, constants(p))
    torch.testing.assert_close(p, z.grad, rtol=1e-10, atol=1e-12)


def test_criterion_is_the_reported_mean_loss():
    z, y = make_case("multiclass_log_loss", 1, np.float64)
    criterion = Criterion(LOSSES["multiclass_log_loss"])
    torch.testing.assert_close(criterion(z.t(), y.t()), F.cross_entropy(z.t(), y[0]))
    z, y = make_case("squared_error", 1, np.float64)
    criterion = Criterion(LOSSES["squared_error"])
    torch.testing.assert_close(criterion(z.t(), y.t()), 0.5 * F.mse_loss(z, y))


def test_softmax_of_large_inputs_is_scikit_learns():
    z = 1e4 * np.random.RandomState(0).randn(4, 6)
    expected = z.T.copy()
    inplace_softmax(expected)
    ours = torch.from_numpy(z.copy())
    OUTPUT_ACTIVATIONS["softmax"].apply_(ours)
    np.testing.assert_allclose(ours.numpy().T, expected, rtol=1e-12)
