"""Updates and clipping equal those of scikit-learn and torch, and solvers can be restored."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from conftest import TARGETS, assert_bit_equal, case, fitted_state
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from skorch.callbacks import Callback
from torch import nn
from training_by_hand import (
    DATA,
    NO_EPSILON,
    VelocitySGD,
    assert_same_weights,
    assert_trained_alike,
    initial,
    network,
    torch_adamw,
    trained_by_hand,
)

from sknn._network import _solvers
from sknn._network._parameters import FlatParameters
from sknn._network._solvers import SGD, Adam, AdamW, clip_gradient_
from sknn._platform import _compat

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

UNITS = (3, 4, 2)


class GradientReader(Callback):
    """Read the gradients of the layers after each epoch."""

    def on_epoch_end(self, net, **kwargs):
        assert all(p.grad.abs().sum() > 0 for p in net.module_.parameters())


def make_parameters(n_slots, dtype=torch.float64):
    parameters = FlatParameters(UNITS, n_slots, dtype=dtype)
    parameters.storage[0].normal_(generator=torch.Generator().manual_seed(0))
    return parameters


def gradients(n_steps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    n_parameters = make_parameters(0).gradient.numel()
    # Some of the gradients are tiny, so that Adam's epsilon dominates.
    return [
        torch.randn(n_parameters, dtype=dtype, generator=generator) * 10.0 ** -(3 * (i % 3))
        for i in range(n_steps)
    ]


def assert_follows(solver, parameters, theirs, vector):
    for gradient in gradients(30):
        parameters.gradient.copy_(gradient)
        solver.step()
        theirs.update_params([vector], [gradient.numpy()])
        np.testing.assert_allclose(parameters.storage[0].numpy(), vector, rtol=1e-12, atol=1e-14)


@pytest.mark.matrix(3)
@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)])
def test_adam_equals_scikit_learns(beta_1, beta_2, epsilon):
    parameters = make_parameters(2)
    vector = parameters.storage[0].numpy().copy()
    theirs = AdamOptimizer([vector], 0.01, beta_1, beta_2, epsilon)
    assert_follows(Adam(parameters, 0.01, beta_1, beta_2, epsilon), parameters, theirs, vector)


@pytest.mark.parametrize("solver_class", [SGD, Adam])
def test_defaults_are_scikit_learns(solver_class):
    numbers = solver_class(make_parameters(solver_class.n_slots)).numbers()
    theirs = MLPClassifier().get_params()
    names = numbers.keys() - {"lr", "n_updates"}
    assert {name: numbers[name] for name in names} == {name: theirs[name] for name in names}
    assert numbers["lr"] == numbers["learning_rate_init"]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_sgd_equals_scikit_learns(momentum, nesterov):
    parameters = make_parameters(1)
    vector = parameters.storage[0].numpy().copy()
    theirs = SGDOptimizer([vector], 0.01, "constant", momentum, nesterov)
    assert_follows(SGD(parameters, 0.01, momentum, nesterov), parameters, theirs, vector)


@pytest.fixture(params=[True, False], ids=["fused kernel", "public operators"])
def kernel(request, monkeypatch):
    """Run a test with torch's private Adam kernel, and without it."""
    monkeypatch.setattr(_compat, "has_adam_kernel", lambda device_type: request.param)


@pytest.mark.matrix
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-3)])
@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 10.0])
def test_adamw_equals_torchs_with_decay_of_weights_only(kernel, alpha, beta_1, beta_2, dtype, tol):
    parameters = make_parameters(2, dtype)
    solver = AdamW(parameters, 0.01, alpha=alpha, beta_1=beta_1, beta_2=beta_2, epsilon=NO_EPSILON)
    n_weights = parameters.penalized.numel()
    weights, biases = (
        nn.Parameter(part.clone()) for part in parameters.storage[0].tensor_split([n_weights])
    )
    theirs = torch.optim.AdamW(
        [{"params": [weights], "weight_decay": alpha}, {"params": [biases], "weight_decay": 0.0}],
        lr=0.01,
        betas=(beta_1, beta_2),
        eps=NO_EPSILON,
    )
    for step, gradient in enumerate(gradients(30, dtype)):
        for group in (*solver.param_groups, *theirs.param_groups):
            group["lr"] = 0.01 / (1 + step % 7)
        parameters.gradient.copy_(gradient)
        weights.grad, biases.grad = gradient.tensor_split([n_weights])
        solver.step()
        theirs.step()
        expected = torch.cat([weights, biases]).detach()
        torch.testing.assert_close(parameters.storage[0], expected, rtol=tol, atol=tol)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
def test_adamw_is_decay_of_weights_then_scikit_learns_adam(kernel, epsilon):
    parameters = make_parameters(2)
    solver = AdamW(parameters, 0.01, alpha=0.3, epsilon=epsilon)
    vector = parameters.storage[0].numpy().copy()
    theirs = AdamOptimizer([vector], 0.01, epsilon=epsilon)
    is_weight = np.arange(len(vector)) < sum(weight.numel() for weight in parameters.weights)
    for gradient in gradients(30):
        parameters.gradient.copy_(gradient)
        solver.step()
        vector[is_weight] *= 1 - 0.01 * 0.3
        theirs.update_params([vector], [gradient.numpy()])
        assert_allclose(parameters.storage[0].numpy(), vector, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("is_present", [True, False])
@pytest.mark.parametrize("solver_class", [Adam, AdamW])
def test_kernel_is_used_where_there_is_one(solver_class, is_present, monkeypatch):
    calls = []
    monkeypatch.setattr(_compat, "has_adam_kernel", lambda device_type: is_present)
    monkeypatch.setattr(_compat, "adam_step_", lambda *_, **__: calls.append(1))
    solver = solver_class(make_parameters(2))
    solver.update()
    assert len(calls) == is_present


@pytest.mark.parametrize(
    ("solver_class", "options"),
    [
        (Adam, {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 1e-4}),
        (
            SGD,
            {
                "momentum": 0.5,
                "nesterovs_momentum": False,
                "learning_rate": "invscaling",
                "power_t": 0.3,
            },
        ),
        (AdamW, {"alpha": 0.3, "beta_1": 0.5}),
    ],
)
def test_restored_solver_continues_as_if_never_saved(solver_class, options):
    parameters = make_parameters(solver_class.n_slots)
    solver = solver_class(parameters, 0.01, **options)
    for gradient in gradients(5):
        parameters.gradient.copy_(gradient)
        solver.step()
    other = FlatParameters(UNITS, solver_class.n_slots, dtype=torch.float64)
    for row in range(len(parameters.storage)):
        other.write(*parameters.read(row), row)
    restored = solver_class(other, 99.0)
    restored.restore(solver.numbers())
    assert restored.numbers() == solver.numbers()
    assert solver.numbers().items() >= {"lr": 0.01, "n_updates": 5, **options}.items()
    for gradient in gradients(3):
        for p, s in ((parameters, solver), (other, restored)):
            p.gradient.copy_(gradient)
            s.step()
    assert torch.equal(parameters.storage, other.storage)


@pytest.fixture
def calls_of_penalize(monkeypatch):
    """Let solvers take the penalty of small networks, too, and return what they are given."""
    calls, penalize = [], _solvers.Solver.penalize

    def recorded(self, decay):
        calls.append(decay)
        penalize(self, decay)

    monkeypatch.setattr(_solvers.Solver, "penalize", recorded)
    for solver_class in (SGD, Adam):
        monkeypatch.setattr(solver_class, "n_weights_of_large", 1)
    monkeypatch.setattr(_solvers, "_BLOCK", 64)
    return calls


@pytest.mark.parametrize(
    "options",
    [{"solver": "adam"}, {"solver": "sgd"}, {"solver": "sgd", "nesterovs_momentum": False}],
    ids=str,
)
@pytest.mark.parametrize("target", list(DATA))
def test_penalty_that_the_update_adds_equals_that_of_scikit_learn(
    target, options, calls_of_penalize
):
    X, y = DATA[target]
    parameters = {"alpha": 0.5, "hidden_layer_sizes": (23, 11), "random_state": 0, "max_iter": 10}
    model = network(target).set_params(dtype="float64", **parameters, **options).fit(X, y)
    theirs = (MLPClassifier if hasattr(model, "classes_") else MLPRegressor)(
        **{name: model.get_params()[name] for name in MLPRegressor().get_params() if name != "loss"}
    ).fit(X, y)
    assert calls_of_penalize
    assert_allclose(model.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    for ours, other in zip(model.coefs_, theirs.coefs_, strict=True):
        assert_allclose(ours, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sgd_in_blocks_is_sgd_bit_by_bit(dtype, calls_of_penalize, monkeypatch):
    X, y = DATA["one output"]
    model = network("one output", solver="sgd", dtype=dtype, hidden_layer_sizes=(23, 11), alpha=0.5)
    in_blocks = clone(model).fit(X, y)
    assert calls_of_penalize
    calls_of_penalize.clear()
    monkeypatch.setattr(SGD, "n_weights_of_large", 10**9)
    assert_bit_equal(in_blocks, model.fit(X, y))
    assert not calls_of_penalize


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(
    "options", [{"max_grad_norm": 1e9}, {"callbacks": [GradientReader]}], ids=case
)
def test_penalty_is_in_the_gradient_where_something_reads_it(options, solver, calls_of_penalize):
    X, y = DATA["one output"]
    network("one output", solver=solver, **options).fit(X, y)
    assert not calls_of_penalize


def test_step_is_update_with_an_optional_closure():
    parameters = make_parameters(1)
    solver = SGD(parameters, 0.1, momentum=0.0)
    parameters.gradient.fill_(1.0)
    before = parameters.storage[0].clone()
    assert solver.step(lambda: 42) == 42
    torch.testing.assert_close(parameters.storage[0], before - 0.1)


# --- adamw, through the estimators ------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-8), (np.float32, 1e-3)])
@pytest.mark.parametrize("target", list(DATA))
def test_training_by_adamw_equals_torchs_without_penalty(target, dtype, tol):
    X, y = DATA[target]
    X = X.astype(dtype)
    y = y if target == "multiclass" else y.astype(dtype)
    model = network(target, solver="adamw", alpha=2.0, beta_1=0.8, beta_2=0.99, epsilon=NO_EPSILON)
    optimizer = torch_adamw(2.0, lr=0.01, betas=(0.8, 0.99))
    # The loss of the reference has no penalty, and so its curve has none.
    by_hand = trained_by_hand(model, X, y, optimizer, alpha=0.0)
    assert_trained_alike(model.fit(X, y), by_hand, tol)
    assert model.loss_ == model.loss_curve_[-1]
    assert {a.dtype for a in (*model.coefs_, *model.intercepts_)} == {np.dtype(dtype)}


@pytest.mark.matrix
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("target", list(TARGETS)[:5])
def test_adamw_without_decay_is_adam_bit_by_bit(target, shuffle):
    X, y = TARGETS[target]
    kind = "multiclass" if target in ("binary", "multiclass", "multilabel") else target
    models = [
        network(kind, solver=solver, alpha=0.0, shuffle=shuffle).fit(X, y)
        for solver in ("adamw", "adam")
    ]
    assert_same_weights(*models)
    assert_same_weights(*[model.partial_fit(X, y) for model in models])


def test_decay_of_adamw_does_not_depend_on_the_batch_as_the_penalty_of_adam_does():
    # The penalty is divided by the number of rows in a batch; decay is a factor in each step.
    X, y = DATA["multiclass"]
    shrinking = {}
    for solver in ("adamw", "adam"):
        norms = [
            sum(np.square(coef).sum() for coef in network("multiclass", **p).fit(X, y).coefs_)
            for p in ({"solver": solver, "alpha": 0.0}, {"solver": solver, "alpha": 5.0})
        ]
        shrinking[solver] = norms[1] / norms[0]
    # Each of the 12 steps multiplies the weights by 1 - 0.01 * 5. The norms are squared.
    assert shrinking["adamw"] == pytest.approx((1 - 0.01 * 5) ** 24, rel=0.3)
    assert shrinking["adam"] > 2 * shrinking["adamw"]


def test_adamw_continues_in_partial_fit_as_if_never_pickled():
    X, y = DATA["multiclass"]
    whole = network("multiclass", solver="adamw", max_iter=4).fit(X, y)
    model, pickled = (network("multiclass", solver="adamw") for _ in range(2))
    for _ in range(4):
        model.partial_fit(X, y, classes=np.unique(y))
        pickled = pickle.loads(pickle.dumps(pickled))
        pickled.partial_fit(X, y, classes=np.unique(y))
        assert_bit_equal(pickled, model)
    assert_same_weights(model, whole)


# --- clipping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 5.0])
def test_clipped_gradient_equals_torchs(max_norm, dtype):
    parameters = make_parameters(0, dtype)
    for gradient in gradients(3, dtype):
        parameters.gradient.copy_(gradient)
        theirs = nn.Parameter(torch.zeros_like(gradient))
        theirs.grad = gradient.clone()
        norm = nn.utils.clip_grad_norm_([theirs], max_norm).item()
        clip_gradient_(parameters.gradient, max_norm)
        # torch adds 1e-6 to the norm by which it divides.
        torch.testing.assert_close(
            parameters.gradient, theirs.grad, rtol=2e-6 / min(norm, max_norm), atol=0.0
        )
        # This package does not add it, so the new norm is exact.
        expected = torch.tensor(min(norm, max_norm), dtype=dtype)
        torch.testing.assert_close(parameters.gradient.norm(), expected, rtol=1e-6, atol=0.0)


class Elsewhere(torch.Tensor):
    """A tensor on the host that claims to be on a device, and fails if the host reads a norm."""

    device = torch.device("meta")

    def numpy(self):
        raise AssertionError("the host waits for a device")


@pytest.mark.parametrize("share", [1e-3, 0.5, 1 - 1e-9])
def test_gradient_on_a_device_is_clipped_as_on_the_host(share):
    for gradient in gradients(3):
        max_norm = share * float(gradient.norm())
        here, there = gradient.clone(), gradient.clone()
        clip_gradient_(here, max_norm)
        clip_gradient_(there.as_subclass(Elsewhere), max_norm)
        assert_allclose(there.numpy(), here.numpy(), rtol=1e-14)
        assert_allclose(float(here.norm()), max_norm, rtol=1e-14)


@pytest.mark.parametrize("place", [torch.Tensor, Elsewhere], ids=["host", "device"])
def test_gradient_within_the_norm_is_left_bit_by_bit(place):
    for gradient in [*gradients(3), torch.zeros(26, dtype=torch.float64)]:
        clipped = gradient.clone().as_subclass(place)
        clip_gradient_(clipped, float(gradient.norm()) + 1e-12)
        assert torch.equal(clipped, gradient)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite_is_not_made_finite(value):
    (gradient,) = gradients(1)
    gradient[3] = value
    clip_gradient_(gradient, 1.0)
    assert not torch.isfinite(gradient).all()


BY_HAND = {
    "adam": lambda module: torch.optim.Adam(module.parameters(), lr=0.01, eps=NO_EPSILON),
    "adamw": torch_adamw(1e5, lr=1e-6),
    "sgd": lambda module: VelocitySGD(module.parameters(), lr=0.01),
    torch.optim.RMSprop: lambda module: torch.optim.RMSprop(module.parameters(), lr=0.01),
}


@pytest.mark.parametrize("solver", list(BY_HAND), ids=str)
def test_clipped_training_equals_one_with_torchs_clipping(solver):
    # The gradients and the penalty are so large that the 1e-6 of torch does not matter.
    X, y = DATA["one output"]
    y = y * 1e4
    model = network(
        "one output",
        solver=solver,
        alpha=1e5,
        epsilon=NO_EPSILON,
        max_grad_norm=1.0,
        learning_rate_init=1e-6 if solver == "adamw" else 0.01,
    )
    alpha = 0.0 if solver == "adamw" else None
    by_hand = trained_by_hand(model, X, y, BY_HAND[solver], max_norm=1.0, alpha=alpha)
    assert_trained_alike(model.fit(X, y), by_hand)


def test_clipped_norm_includes_the_penalty():
    # The length of a step of plain gradient descent is the rate times the norm, for any alpha.
    X, y = DATA["one output"]
    for alpha in (0.0, 1e5):
        model = network(
            "one output", solver="sgd", momentum=0.0, alpha=alpha, max_grad_norm=0.1, max_iter=1
        )
        model.set_params(batch_size=len(X))
        start = initial(model, X, y)
        model.fit(X, y)
        moved = [
            (new - old).ravel()
            for new, old in zip(
                [*model.coefs_, *model.intercepts_],
                [*start.coefs_, *start.intercepts_],
                strict=True,
            )
        ]
        assert np.linalg.norm(np.concatenate(moved)) == pytest.approx(0.01 * 0.1, rel=1e-9)


@pytest.mark.matrix
@pytest.mark.parametrize("solver", list(BY_HAND), ids=str)
@pytest.mark.parametrize("target", list(DATA))
def test_norm_that_is_never_reached_changes_nothing(target, solver):
    X, y = DATA[target]
    models = [
        network(target, solver=solver, max_grad_norm=norm).fit(X, y).partial_fit(X, y)
        for norm in (None, 1e9)
    ]
    assert_bit_equal(*models)


@pytest.mark.parametrize("solver", list(BY_HAND), ids=str)
def test_overflow_of_a_clipped_gradient_ends_in_the_usual_error(solver):
    X, y = DATA["one output"]
    model = network("one output", solver=solver, activation="identity", alpha=0.0)
    before = repr(fitted_state(model.fit(X, y)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            clone(model).set_params(max_grad_norm=1.0).fit(X * 1e200, y * 1e200)
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            model.set_params(max_grad_norm=1.0).fit(X * 1e200, y * 1e200)
    assert repr(fitted_state(model)) == before


def test_clipping_of_a_spoiled_row_keeps_training_stable():
    # One row has a huge target. Without clipping, its gradient throws the weights far away.
    X, y = (a.copy() for a in DATA["one output"])
    y[40] = 1e5
    sizes = {}
    for norm in (None, 1.0):
        model = network("one output", solver="sgd", max_grad_norm=norm, activation="relu")
        model.fit(X, y)
        sizes[norm] = max(np.abs(coef).max() for coef in model.coefs_)
    assert sizes[1.0] < 2
    assert sizes[None] > 10 * sizes[1.0]


def test_clipping_holds_for_a_norm_beyond_float32():
    gradient = torch.full((4,), 1e30)
    with np.errstate(over="ignore"):  # Training ignores the overflow too.
        clip_gradient_(gradient, 1.0)
    torch.testing.assert_close(gradient, torch.full((4,), 0.5))
