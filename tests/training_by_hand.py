"""Networks trained by a plain torch loop, as the reference for solvers and schedules."""

from __future__ import annotations

import numpy as np
import torch
from conftest import TARGETS, torch_threads
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from torch import nn
from torch.nn import functional as F

import sknn._training._train
from sknn import FeedForwardClassifier, FeedForwardRegressor

RATE = 0.01
# With an epsilon this small, it does not matter whether Adam adds it before or after the root.
NO_EPSILON = 1e-30
SMALL = {
    "hidden_layer_sizes": (6, 5),
    "activation": "tanh",
    "alpha": 0.5,
    "batch_size": 40,  # the last batch of the 150 rows is smaller
    "max_iter": 3,
    "n_iter_no_change": np.inf,
    "learning_rate_init": RATE,
    "shuffle": False,
    "random_state": 0,
}
# The rows of Iris are sorted by class, so training without shuffling needs another order.
_ORDER = np.random.RandomState(0).permutation(150)
DATA = {name: tuple(a[_ORDER] for a in TARGETS[name]) for name in ("multiclass", "one output")}


def network(target, **parameters):
    kind = FeedForwardClassifier if target == "multiclass" else FeedForwardRegressor
    return kind(**SMALL | parameters)


def initial(estimator, X, y):
    """Return a fitted clone that still has its initial weights.

    A learning rate of 1e-300 makes a step too short to change a weight.
    """
    still = {"solver": "sgd", "learning_rate": "constant", "warmup_fraction": 0.0, "max_iter": 1}
    still |= {"early_stopping": False}
    return clone(estimator).set_params(**still, learning_rate_init=1e-300).fit(X, y)


def sequential(model, activation):
    """Return a torch module with the layers and the weights of a fitted estimator."""
    modules = []
    for coef, intercept in zip(model.coefs_, model.intercepts_, strict=True):
        weight = torch.tensor(coef.T.copy())
        linear = nn.Linear(*coef.shape, dtype=weight.dtype)
        linear.weight.data, linear.bias.data = weight, torch.tensor(intercept.copy())
        modules += [linear, activation()]
    return nn.Sequential(*modules[:-1]).to(weight.dtype)


def linear_layers(module):
    return [layer for layer in module if isinstance(layer, nn.Linear)]


@torch_threads(1)  # as the estimators do for networks of this size
def trained_by_hand(
    estimator, X, y, optimizer, *, rates=None, max_norm=None, alpha=None, activation=nn.Tanh
):
    """Train a torch module on the batches and from the initial weights of an unfitted estimator.

    `optimizer` is called with the module and returns its optimizer; `rates` holds the learning
    rate of each step. Returns the weights, the biases and the loss of each epoch, in the layout of
    the estimator's attributes.
    """
    module = sequential(initial(estimator, X, y), activation)
    alpha = estimator.alpha if alpha is None else alpha
    rows, targets = torch.tensor(X), torch.tensor(y)
    steps = optimizer(module)
    rates = None if rates is None else iter(rates)
    losses = []
    for _ in range(estimator.max_iter):
        total = 0.0
        for batch in torch.arange(len(X)).split(estimator.batch_size):
            raw = module(rows[batch])
            if is_classifier(estimator):
                loss = F.cross_entropy(raw, targets[batch])
            else:
                loss = 0.5 * F.mse_loss(raw.squeeze(1), targets[batch])
            squares = sum(layer.weight.square().sum() for layer in linear_layers(module))
            loss = loss + alpha / (2 * len(batch)) * squares
            steps.zero_grad()
            loss.backward()
            if max_norm is not None:
                nn.utils.clip_grad_norm_(module.parameters(), max_norm)
            if rates is not None:
                rate = next(rates)
                for group in steps.param_groups:
                    group["lr"] = rate
            steps.step()
            total += loss.item() * len(batch)
        losses.append(total / len(X))
    assert rates is None or next(rates, None) is None
    layers = linear_layers(module)
    weights = [layer.weight.detach().numpy().T for layer in layers]
    return weights, [layer.bias.detach().numpy() for layer in layers], losses


def assert_trained_alike(estimator, by_hand, tol=1e-8):
    coefs, intercepts, losses = by_hand
    assert_allclose(estimator.loss_curve_, losses, rtol=tol)
    for actual, expected in zip(estimator.coefs_, coefs, strict=True):
        assert_allclose(actual, expected, rtol=tol, atol=tol)
    for actual, expected in zip(estimator.intercepts_, intercepts, strict=True):
        assert_allclose(actual, expected, rtol=tol, atol=tol)


def assert_same_weights(left, right):
    assert left.loss_curve_ == right.loss_curve_
    pairs = zip([*left.coefs_, *left.intercepts_], [*right.coefs_, *right.intercepts_], strict=True)
    for actual, expected in pairs:
        assert_array_equal(actual, expected)


def of_parameters(optimizer_class, **options):
    """Return a function that makes the optimizer for `trained_by_hand`."""
    return lambda module: optimizer_class(module.parameters(), lr=RATE, **options)


class NormalizedSGD(torch.optim.Optimizer):
    """SGD with momentum that divides the gradient of each tensor by its norm.

    Its steps would differ if all parameters were one flat vector.
    """

    def __init__(self, params, lr=0.1, momentum=0.5):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                velocity = state.setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(p.grad / p.grad.norm())
                p.sub_(velocity, alpha=group["lr"])


def break_step(patch, error, at):
    """Raise `error` in the `at`-th training step from now on, counted from 1."""
    step = sknn._training._train.ClosedFormStep
    call = step.__call__
    n_calls = 0

    def broken(self, *arguments):
        nonlocal n_calls
        n_calls += 1
        if n_calls == at:
            raise error
        return call(self, *arguments)

    patch.setattr(step, "__call__", broken)


def torch_adamw(alpha, **options):
    """Return a function that makes torch's AdamW, which decays only the layers' weights."""

    def make(module):
        layers = linear_layers(module)
        groups = [
            {"params": [layer.weight for layer in layers], "weight_decay": alpha},
            {"params": [layer.bias for layer in layers], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, eps=NO_EPSILON, **options)

    return make


class VelocitySGD(torch.optim.Optimizer):
    """SGD as in scikit-learn, whose velocity includes the rate. torch multiplies it by the rate."""

    def __init__(self, params, lr, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for p in group["params"]:
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(momentum).sub_(rate * p.grad)
                p.add_(momentum * velocity - rate * p.grad)
