"""Closed-form steps give the loss and gradient of autograd and of finite differences."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, case
from test_losses import (
    CASES,
    make_targets,
    one_thread,  # noqa: F401  a fixture that all tests of this module use
)
from torch import nn

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._data._batches import Batch, Batches
from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import Network
from sknn._network._dropout import Masks
from sknn._network._initial_weights import initial_parameters
from sknn._network._loss_meter import LossMeter
from sknn._network._losses import Loss
from sknn._network._matrix_products import BFloat16Products, NumPyProducts, TorchProducts
from sknn._network._module import FeedForwardModule, modules_between
from sknn._network._parameters import FlatParameters
from sknn._network._steps import AutogradStep, ClosedFormStep, flops_per_step
from sknn._training import _train

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CPU = torch.device("cpu")
ALPHA = 0.3
# All powers of the focal loss have one formula, so the slower tests take one power in quick runs.
SOME_CASES = [
    pytest.param(name, marks=[pytest.mark.long] * ("focal" in name and "focal 2.0" not in name))
    for name in CASES
]
MIXED = [("relu", "gelu"), ("softplus", "tanh"), ("selu", "identity"), ("mish", "logistic")]
# The derivative of the first is computed from its output, that of the second from its input.
SMOOTH = ("tanh", "mish")
DROPPING = {
    "the features": {"input_dropout": 0.3},
    "a layer": {"dropout": (0.5, 0.0)},
    "all": {"dropout": (0.2, 0.6), "input_dropout": 0.3},
}


class Problem(NamedTuple):
    """A small network with a batch of rows."""

    network: Network
    parameters: FlatParameters
    loss: Loss
    batch: Batch


def make_problem(name, activations=SMOOTH, *, weighted=True, n_rows=12, X=None, **options):
    """Return a problem in float64. The `options` are those of `Network`."""
    rng = np.random.RandomState(0)
    n_outputs = {"multiclass": 4, "binary": 3, "quantiles": 3}.get(name.split()[0], 2)
    units = (7, 6, 5)[: len(activations) + 1] + (n_outputs,)
    options.setdefault("dropout", (0.0,) * len(activations))
    network = Network(units, activations, **options)
    parameters = FlatParameters(units, dtype=torch.float64, input_major=scipy.sparse.issparse(X))
    parameters.write(*initial_parameters(units, "tanh", rng))
    X = rng.randn(n_rows, 7) if X is None else X
    y = make_targets(name, n_rows, n_outputs, rng)
    weight = rng.uniform(0.1, 3, n_rows) if weighted else None
    (batch,) = Batches(X, y, weight, batch_size=n_rows, device=CPU)
    return Problem(network, parameters, CASES[name], batch)


def make_masks(network):
    seed = np.random.SeedSequence(0)
    return Masks(seed, CPU, network.n_members) if network.drops else None


def run(step, meter, batch):
    """Return the reported loss and the gradient of one batch."""
    with step.grad_mode():
        step(batch, meter.slot(batch))
        value = meter.read()
    return value, step.parameters.gradient.clone()


def operand(products, X):
    return products.operand(X) if isinstance(X, torch.Tensor) else X


def closed_form_step(problem, products=NumPyProducts, alpha=ALPHA):
    """Return the step, and the batch in the form that the step takes."""
    network, parameters, loss, batch = problem
    step = ClosedFormStep(products(parameters), network, loss, alpha, make_masks(network))
    return step, batch._replace(X=operand(step.products, batch.X))


def autograd_step(problem, products=TorchProducts, alpha=ALPHA, masks=None, between=None):
    network, parameters, loss, batch = problem
    masks = make_masks(network) if masks is None else masks
    module = FeedForwardModule(parameters.weights, parameters.biases, network, between, masks)
    return AutogradStep(products(parameters), module, loss, alpha), batch


def evaluate(made):
    """Return reported loss and gradient, from the result of `closed_form_step` or similar."""
    step, batch = made
    return run(step, LossMeter(step, batch.n_rows, batch.n_rows), batch)


def assert_steps_equal(problem, products=NumPyProducts):
    value, gradient = evaluate(closed_form_step(problem, products))
    expected_value, expected = evaluate(autograd_step(problem))
    assert value == pytest.approx(expected_value, rel=1e-10)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)
    for part in problem.parameters.views(gradient)[0]:
        assert part.abs().max() > 1e-3


def assert_gradient_is_that_of_finite_differences(problem, made, h=1e-6):
    """Compare every element of the gradient with differences of the reported loss.

    Dropout draws the same values for each evaluation.
    """
    network, parameters, loss, _ = problem
    step, batch = made
    meter = LossMeter(step, batch.n_rows, batch.n_rows)
    masks = getattr(step, "masks", None)
    start = None if masks is None else masks.state()

    def again():
        if masks is not None:
            masks.restore(start)
        return run(step, meter, batch)

    _, gradient = again()
    # This corrects the one known inconsistency, which is scikit-learn's: the squared error is
    # reported as the mean over outputs, but its sum is minimized. The penalty is not scaled.
    scale = loss.reported_scale(network.layer_units[-1]) / loss.scale
    penalty = ALPHA / batch.weight_sum * with_zeros_beside_weights(parameters)
    # The loss of several members is the mean of theirs, and each minimizes its own.
    gradient = (scale * (gradient - penalty) + penalty) / network.n_members
    vector = parameters.storage[0]
    expected = torch.empty_like(vector)
    for i, kept in enumerate(vector.tolist()):
        vector[i] = kept + h
        above, _ = again()
        vector[i] = kept - h
        below, _ = again()
        vector[i] = kept
        expected[i] = (above - below) / (2 * h)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-7)


def with_zeros_beside_weights(parameters):
    vector = torch.zeros_like(parameters.storage[0])
    vector[: len(parameters.penalized)] = parameters.penalized
    return vector


@pytest.mark.matrix
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
def test_closed_form_of_a_loss_equals_autograd(products, name, weighted):
    assert_steps_equal(make_problem(name, weighted=weighted), products)


@pytest.mark.matrix
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("name", ["squared_error", "multiclass log_loss"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_closed_form_of_an_activation_equals_autograd(activation, name, products):
    for n_hidden in (1, 2):
        for weighted in (False, True):
            problem = make_problem(name, (activation,) * n_hidden, weighted=weighted)
            assert_steps_equal(problem, products)


@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("activations", MIXED, ids=case)
def test_closed_form_of_mixed_activations_equals_autograd(activations, products):
    for name in ("binary focal 2.0 smooth", "huber 1.0"):
        assert_steps_equal(make_problem(name, activations), products)


@pytest.mark.matrix
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", list(CASES))
def test_closed_form_without_a_hidden_layer_equals_autograd(name, weighted):
    assert_steps_equal(make_problem(name, (), weighted=weighted))


@pytest.mark.matrix
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("activations", [SMOOTH, ("relu", "leaky_relu"), ("gelu", "elu")], ids=case)
@pytest.mark.parametrize("dropping", list(DROPPING))
def test_closed_form_of_dropout_equals_autograd(dropping, activations, products):
    for name in ("multiclass log_loss", "gamma", "quantiles"):
        problem = make_problem(name, activations, **DROPPING[dropping])
        assert_steps_equal(problem, products)
        plain = make_problem(name, activations)
        value, _ = evaluate(closed_form_step(plain, products))
        assert value != evaluate(closed_form_step(problem, products))[0]


@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
def test_dropout_draws_anew_for_each_batch_of_whatever_size(products):
    rng = np.random.RandomState(0)
    problem = make_problem("binary log_loss", **DROPPING["all"])
    X, y = rng.randn(26, 7), rng.randint(0, 2, (26, 3)).astype(float)
    step, _ = closed_form_step(problem, products)
    reference, _ = autograd_step(problem)
    values = []
    for _ in range(2):  # The rows are the same each time.
        for batch in Batches(X, y, batch_size=10, device=CPU):
            expected_value, expected = evaluate((reference, batch))
            batch = batch._replace(X=operand(step.products, batch.X))
            value, gradient = evaluate((step, batch))
            assert value == pytest.approx(expected_value, rel=1e-10)
            torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)
            values.append(value)
    assert len(set(values)) == 6


@pytest.mark.matrix(9)
@pytest.mark.parametrize("name", SOME_CASES)
def test_gradient_of_a_loss_equals_finite_differences(name):
    problem = make_problem(name)
    assert_gradient_is_that_of_finite_differences(problem, closed_form_step(problem))


@pytest.mark.matrix(6)
@pytest.mark.parametrize("activations", [*((name,) * 2 for name in ACTIVATIONS)], ids="-".join)
def test_gradient_of_activations_equals_finite_differences(activations):
    problem = make_problem("multiclass log_loss", activations)
    assert_gradient_is_that_of_finite_differences(problem, closed_form_step(problem))


@pytest.mark.matrix
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("name", ["squared_error", "binary focal 2.0 smooth"])
@pytest.mark.parametrize("dropping", list(DROPPING))
def test_gradient_of_dropout_equals_finite_differences(dropping, name, products):
    problem = make_problem(name, **DROPPING[dropping])
    assert_gradient_is_that_of_finite_differences(problem, closed_form_step(problem, products))


def shared_slope():
    """Return a function that returns the same module for all layers."""
    module = nn.PReLU(init=0.3)
    return lambda: module


@pytest.mark.parametrize(
    "activations, normalization",
    [
        (("tanh", "gelu"), "batch"),
        ((nn.PReLU, "mish"), "layer"),
        ((shared_slope(),) * 2, None),
    ],
    ids=["batch", "a module and layer", "a shared module"],
)
def test_gradient_of_modules_by_autograd_equals_finite_differences(activations, normalization):
    problem = make_problem("multiclass log_loss", activations, normalization=normalization)
    between = modules_between(problem.network)
    units = problem.network.layer_units
    parameters = FlatParameters(units, dtype=torch.float64, modules=between.all())
    parameters.write(*problem.parameters.read()[:2])
    n_extras = sum(p.numel() for p in parameters.extras)
    assert n_extras > 0
    generator = torch.Generator().manual_seed(0)
    parameters.storage[0, -n_extras:] += 0.3 * torch.rand(n_extras, generator=generator)
    problem = problem._replace(parameters=parameters)
    made = autograd_step(problem, between=between.members[0])
    _, gradient = evaluate(made)
    assert (gradient[-n_extras:] != 0).all()
    assert_gradient_is_that_of_finite_differences(problem, made)


@pytest.mark.parametrize("step", [closed_form_step, autograd_step])
def test_penalty_acts_on_weights_and_not_on_biases(step):
    problem = make_problem("squared_error", weighted=False)
    _, with_penalty = evaluate(step(problem))
    _, without = evaluate(step(problem, alpha=0.0))
    torch.testing.assert_close(
        with_penalty - without,
        ALPHA / problem.batch.n_rows * with_zeros_beside_weights(problem.parameters),
        rtol=1e-9,
        atol=1e-12,
    )


# Sparse rows.


def sparse_rows(n_rows=12):
    return scipy.sparse.random(n_rows, 7, 0.4, format="csr", random_state=np.random.RandomState(0))


def assert_layers_equal(left, right, gradients):
    """Assert that values are equal, and gradients too, layer by layer.

    The weights of the first layer have another order in memory if rows are sparse.
    """
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-10)
    pairs = zip(left.views(gradients[0][1]), right.views(gradients[1][1]), strict=True)
    for ours, theirs in [pair for kinds in pairs for pair in zip(*kinds, strict=True)]:
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("step", [closed_form_step, autograd_step])
@pytest.mark.parametrize("weighted", [False, True])
def test_step_on_sparse_rows_equals_dense(step, weighted):
    X = sparse_rows()
    problems = [
        make_problem("multiclass log_loss", ("relu", "silu"), weighted=weighted, X=rows)
        for rows in (X, X.toarray())
    ]
    assert scipy.sparse.issparse(problems[0].batch.X)
    results = [evaluate(step(problem)) for problem in problems]
    assert_layers_equal(problems[0].parameters, problems[1].parameters, results)


@pytest.mark.parametrize("dropout", [(0.0, 0.0), (0.5, 0.2)], ids=case)
def test_input_dropout_of_sparse_rows_drops_stored_values_and_equals_autograd(dropout):
    X = sparse_rows()
    problem = make_problem("binary log_loss", X=X, dropout=dropout, input_dropout=0.3)
    before = problem.batch.X.copy()
    result = evaluate(closed_form_step(problem))
    assert (problem.batch.X != before).nnz == 0
    # The reference drops the values by hand, and then takes a step with the resulting rows.
    masks = make_masks(problem.network)
    factors = masks.fill_(torch.empty(X.nnz, dtype=torch.float64), 0.3)
    dropped = X.copy()
    dropped.data *= factors.numpy()
    reference = make_problem("binary log_loss", X=dropped.toarray(), dropout=dropout)
    expected = evaluate(autograd_step(reference, masks=masks))
    assert_layers_equal(problem.parameters, reference.parameters, [result, expected])


def test_gradient_of_dropout_of_sparse_rows_equals_finite_differences():
    problem = make_problem("poisson", X=sparse_rows(), **DROPPING["all"])
    assert_gradient_is_that_of_finite_differences(problem, closed_form_step(problem))


# The loss meter.


@pytest.mark.matrix
@pytest.mark.parametrize("limit", ["MAX_BATCHES", "MAX_TERMS"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name",
    ["binary log_loss", "binary log_loss smooth", "gamma", "quantiles", "multiclass focal 2.0"],
)
def test_epoch_loss_is_the_mean_by_rows_over_more_batches_than_the_meter_holds(
    name, weighted, limit, monkeypatch
):
    monkeypatch.setattr(LossMeter, limit, 7)
    rng = np.random.RandomState(0)
    problem = make_problem(name)
    X, y = rng.randn(61, 7), make_targets(name, 61, problem.network.layer_units[-1], rng)
    weight = rng.uniform(0.1, 2, 61) if weighted else None
    step, _ = closed_form_step(problem, TorchProducts)
    meter, total = LossMeter(step, 61, 2), 0.0
    with step.grad_mode():
        for _ in range(2):
            total = 0.0
            for batch in Batches(X, y, weight, batch_size=2, device=CPU):
                total += batch.n_rows * run(step, LossMeter(step, 2, 2), batch)[0]
                step(batch, meter.slot(batch))
            assert meter.read() == pytest.approx(total / 61, rel=1e-12)


@pytest.mark.matrix
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", list(CASES))
def test_loss_of_a_batch_is_read_without_disturbing_the_epochs(name, weighted):
    rng = np.random.RandomState(0)
    problem = make_problem(name)
    X, y = rng.randn(25, 7), make_targets(name, 25, problem.network.layer_units[-1], rng)
    weight = rng.uniform(0.1, 2, 25) if weighted else None
    step, _ = closed_form_step(problem, TorchProducts)
    meter, total = LossMeter(step, 25, 10), 0.0
    with step.grad_mode():
        for batch in Batches(X, y, weight, batch_size=10, device=CPU):
            slot = meter.slot(batch)
            step(batch, slot)
            value = meter.batch_loss(batch, slot)
            assert value == pytest.approx(evaluate((step, batch))[0], rel=1e-12)
            total += batch.n_rows * value
        assert meter.read() == pytest.approx(total / 25, rel=1e-12)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_meter_does_not_keep_the_rows_of_a_batch(is_sparse):
    rng = np.random.RandomState(0)
    X = sparse_rows(60)
    X = X if is_sparse else X.toarray()
    problem = make_problem("squared_error", X=X[:12])
    step, _ = closed_form_step(problem)
    meter, seen = LossMeter(step, 60, 40), []
    batches = Batches(
        X,
        rng.randn(60, 2),
        batch_size=40,
        random_state=rng,
        device=CPU,
        operand=step.products.operand,
    )
    for batch in batches:
        meter.slot(batch)
        if is_sparse:
            seen.append(weakref.ref(batch.X))
    assert len(seen) == 2 * is_sparse
    del batch, batches
    gc.collect()
    assert all(reference() is None for reference in seen)
    assert not any(isinstance(value, Batch) for value in meter._batches)


# Memory and operations of a step.

# A step with one of these losses allocates nothing of the size of the batch.
IN_PLACE = ["squared_error", "absolute_error", "huber 1.0", "quantile 0.2", "multiclass log_loss"]


@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("name", IN_PLACE)
def test_step_makes_no_tensor_of_the_batch_size_after_the_first(name, products):
    problem = make_problem(name, ("relu", "gelu"), weighted=False, n_rows=50)
    step, batch = closed_form_step(problem, products)
    meter = LossMeter(step, batch.n_rows, batch.n_rows)
    run(step, meter, batch)
    with torch.profiler.profile(profile_memory=True) as profile:
        with step.grad_mode():
            step(batch, meter.slot(batch))
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())
    n_gelu = 8 * 5 * batch.n_rows  # torch has no in-place gelu.
    assert allocated < n_gelu + 8 * batch.n_rows  # Apart from that, only scalars are allocated.


def test_step_makes_no_array_of_the_batch_size_after_the_first():
    problem = make_problem("multiclass log_loss", ("relu",), weighted=False, n_rows=5000)
    step, batch = closed_form_step(problem)
    meter = LossMeter(step, batch.n_rows, batch.n_rows)
    run(step, meter, batch)
    slot = meter.slot(batch)
    tracemalloc.start()  # tracemalloc sees NumPy's memory, but not torch's.
    with step.grad_mode():
        step(batch, slot)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * batch.n_rows


def test_flops_count_three_products_a_layer():
    assert flops_per_step((4, 100, 3), 150) == 6 * 150 * (400 + 300)
    assert flops_per_step((4, 100, 3), 150, np.float64) == 2 * 6 * 150 * (400 + 300)


# Products in bfloat16.


def mixed_step(problem):
    """Return the closed form with bfloat16 products for the same problem in float32."""
    network = problem.network
    single = FlatParameters(network.layer_units, dtype=torch.float32, n_members=network.n_members)
    single.storage.copy_(problem.parameters.storage)
    batch = problem.batch
    batch = batch._replace(
        X=batch.X.to(torch.bfloat16),
        y=batch.y if batch.y.dtype == torch.int64 else batch.y.float(),
        weight=batch.weight.float(),
    )
    mixed = problem._replace(parameters=single, batch=batch)
    return closed_form_step(mixed, BFloat16Products)


def assert_bfloat16_is_near_autograd(problem, rtol):
    made = mixed_step(problem)
    value, gradient = evaluate(made)
    expected_value, expected = evaluate(autograd_step(problem))
    assert value == pytest.approx(expected_value, rel=0.005)
    assert not torch.equal(gradient, expected.float())
    views = made[0].parameters.views
    pairs = zip(views(gradient), views(expected.float()), strict=True)
    for ours, theirs in [pair for kinds in pairs for pair in zip(*kinds, strict=True)]:
        assert (ours - theirs).norm() < rtol * theirs.norm()


@pytest.mark.parametrize("name", SOME_CASES)
def test_bfloat16_gradient_of_a_loss_is_that_of_autograd_to_its_rounding(name):
    assert_bfloat16_is_near_autograd(make_problem(name, n_rows=1000), 0.03)


@pytest.mark.parametrize("activations", [*((n,) * 2 for n in ACTIVATIONS), *MIXED], ids="-".join)
def test_bfloat16_gradient_of_activations_is_that_of_autograd_to_its_rounding(activations):
    # A unit near zero may round to the other side of a kink.
    rtol = 0.15 if {"relu", "leaky_relu", "selu"} & {*activations} else 0.03
    for name in ("multiclass log_loss", "squared_error"):
        assert_bfloat16_is_near_autograd(make_problem(name, activations, n_rows=1000), rtol)


@pytest.mark.parametrize("dropping", list(DROPPING))
def test_bfloat16_gradient_of_dropout_is_that_of_autograd_to_its_rounding(dropping):
    for name in ("multiclass log_loss", "squared_error"):
        problem = make_problem(name, n_rows=1000, **DROPPING[dropping])
        assert_bfloat16_is_near_autograd(problem, 0.03)


@pytest.mark.parametrize("dropping", [None, *DROPPING])
def test_bfloat16_by_autograd_is_near_the_closed_form(dropping):
    problem = make_problem("huber 1.0", n_rows=1000, **DROPPING.get(dropping, {}))
    step, batch = mixed_step(problem)
    value, gradient = evaluate((step, batch))
    mixed = problem._replace(parameters=step.parameters, batch=batch)
    expected_value, expected = evaluate(autograd_step(mixed, BFloat16Products))
    assert value == pytest.approx(expected_value, rel=0.005)
    assert (gradient - expected).norm() < 0.03 * expected.norm()


# The choice between the two kinds of steps.


@pytest.fixture
def used(monkeypatch):
    """Return a list of the kinds of steps that fits create, in their order."""
    kinds = []
    for kind in (ClosedFormStep, AutogradStep):

        def recorded(*args, kind=kind):
            kinds.append(kind)
            return kind(*args)

        monkeypatch.setattr(_train, kind.__name__, recorded)
    return kinds


FIT = {"hidden_layer_sizes": (4, 3), "max_iter": 1, "random_state": 0}


def rows_of_squares(raw, y):
    return ((raw - y) ** 2).sum(1)


@pytest.mark.parametrize(
    "parameters, expected",
    [
        *(({"activation": name}, ClosedFormStep) for name in ACTIVATIONS),
        ({"activation": ["gelu", "relu"]}, ClosedFormStep),
        ({"dropout": 0.5, "input_dropout": 0.1}, ClosedFormStep),
        ({"max_grad_norm": 1.0}, ClosedFormStep),
        *(
            ({"loss": name}, ClosedFormStep)
            for name in ("absolute_error", "huber", "quantile", "gamma", "poisson")
        ),
        ({"loss": "quantile", "quantile": [0.1, 0.9]}, ClosedFormStep),
        ({"loss": rows_of_squares}, ClosedFormStep),
        ({"normalization": "layer"}, ClosedFormStep),
        ({"normalization": "batch"}, ClosedFormStep),
        ({"normalization": "batch", "dtype": "bfloat16"}, AutogradStep),
        ({"activation": nn.PReLU}, ClosedFormStep),
        ({"activation": ["relu", nn.PReLU]}, ClosedFormStep),
    ],
    ids=case,
)
def test_regressor_uses_the_closed_form_wherever_there_is_one(parameters, expected, used):
    X, y = TARGETS["one output"]
    FeedForwardRegressor(**FIT, **parameters).fit(X, y)
    assert used == [expected]


@pytest.mark.parametrize("name", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    "parameters, expected",
    [
        ({"label_smoothing": 0.1}, ClosedFormStep),
        ({"loss": "focal"}, ClosedFormStep),
        ({"loss": "focal", "label_smoothing": 0.1, "dropout": 0.1}, ClosedFormStep),
        ({"loss": rows_of_squares}, ClosedFormStep),
    ],
    ids=case,
)
def test_classifier_uses_the_closed_form_wherever_there_is_one(name, parameters, expected, used):
    X, y = TARGETS[name]
    FeedForwardClassifier(**FIT, **parameters).fit(X, y)
    assert used == [expected]
