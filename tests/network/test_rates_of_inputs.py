"""Adam moves the factors of `input_scaling` at 64 times the rate, and all else at the rate."""

from __future__ import annotations

import pytest
import torch
from conftest import torch_threads
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F
from training_by_hand import DATA, NO_EPSILON, RATE, initial, network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Scaled(nn.Module):
    """A network with factors of its inputs and parametric activations, written anew."""

    def __init__(self, model):
        super().__init__()
        state = {k: torch.from_numpy(v.copy()) for k, v in model.module_state_.items()}
        self.scaling = nn.Parameter(state["input_scaling.weight"])
        self.mixtures = nn.ParameterList(
            state[f"activation{i}.weight"] for i in range(len(model.coefs_) - 1)
        )
        self.weights = nn.ParameterList(torch.from_numpy(coef.copy()) for coef in model.coefs_)
        self.biases = nn.ParameterList(torch.from_numpy(b.copy()) for b in model.intercepts_)

    def forward(self, x):
        x = x * self.scaling
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = x @ weight + bias
            x = z if i == last else z + self.mixtures[i] * (F.selu(z) - z)
        return x

    def groups(self):
        return [
            {"params": [*self.weights], "lr": RATE},
            {"params": [*self.biases], "lr": RATE},
            {"params": [self.scaling], "lr": RATE * 64},
            {"params": [*self.mixtures], "lr": RATE},
        ]


def made(**parameters):
    options = {"alpha": 0.0, "epsilon": NO_EPSILON}
    return network(
        "multiclass", activation="parametric_selu", input_scaling=True, **options | parameters
    )


@torch_threads(1)
def trained_by_torch(model, X, y, optimizer):
    module = Scaled(initial(model, X, y))
    steps = optimizer(module.groups())
    rows, targets = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(model.max_iter):
        for batch in torch.arange(len(X)).split(model.batch_size):
            steps.zero_grad()
            F.cross_entropy(module(rows[batch]), targets[batch]).backward()
            steps.step()
    return module


def assert_weights_are_those_of(model, module):
    for coef, weight in zip(model.coefs_, module.weights, strict=True):
        assert_allclose(coef, weight.detach(), rtol=1e-8, atol=1e-9)
    for intercept, bias in zip(model.intercepts_, module.biases, strict=True):
        assert_allclose(intercept, bias.detach(), rtol=1e-8, atol=1e-9)
    assert_allclose(model.module_state_["input_scaling.weight"], module.scaling.detach(), rtol=1e-8)
    for i, mixture in enumerate(module.mixtures):
        found = model.module_state_[f"activation{i}.weight"]
        assert_allclose(found, mixture.detach(), rtol=1e-8)


def test_training_by_adam_equals_a_torch_network_of_the_kernel():
    X, y = DATA["multiclass"]
    model = made(max_iter=6)
    module = trained_by_torch(model, X, y, lambda groups: torch.optim.Adam(groups, eps=1e-30))
    assert_weights_are_those_of(model.fit(X, y), module)


def test_decay_by_adamw_is_that_of_a_torch_network():
    X, y = DATA["multiclass"]
    model = made(max_iter=6, solver="adamw", alpha=2.0)

    def adamw(groups):
        weights, *others = groups
        others = [{**group, "weight_decay": 0.0} for group in others]
        return torch.optim.AdamW([{**weights, "weight_decay": 2.0}, *others], eps=1e-30)

    module = trained_by_torch(model, X, y, adamw)
    assert_weights_are_those_of(model.fit(X, y), module)


def test_members_have_the_factors_of_one_network():
    X, y = DATA["multiclass"]
    one, three = (made(n_members=n).fit(X, y) for n in (1, 3))
    for mine, theirs in zip(one.coefs_, three.coefs_, strict=True):
        assert_allclose(theirs[0], mine, rtol=1e-8, atol=1e-10)
    for name, values in one.module_state_.items():
        assert_allclose(three.module_state_[name][0], values, rtol=1e-8)
