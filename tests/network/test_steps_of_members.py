"""Several networks in one vector: each has the loss, gradient and outputs that it has alone."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import case
from scipy.special import log_expit, log_softmax, logsumexp
from test_losses import CASES, make_targets
from test_operations import NETWORKS, in_place_rows_of_cubes
from test_steps import (
    ALPHA,
    CPU,
    DROPPING,
    MIXED,
    SMOOTH,
    assert_gradient_is_that_of_finite_differences,
    evaluate,
    make_masks,
    mixed_step,
    one_thread,  # noqa: F401  a fixture that all tests of this module use
    operand,
    run,
    sparse_rows,
)
from test_steps import Problem as StepProblem
from torch import nn

from sknn._data._batches import Batch, Batches
from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import Network
from sknn._network._dropout import Masks, derived_seed
from sknn._network._inference import Layers, Modules, forward_of
from sknn._network._initial_weights import initial_parameters
from sknn._network._loss_meter import LossMeter
from sknn._network._losses import (
    OUTPUT_ACTIVATIONS,
    average_of,
    classification_loss,
    link,
    regression_loss,
)
from sknn._network._matrix_products import BFloat16Products, NumPyProducts, TorchProducts
from sknn._network._module import (
    Ensemble,
    FeedForwardModule,
    modules_between,
    network_module,
    state_between,
)
from sknn._network._parameters import FlatParameters
from sknn._network._solvers import clip_gradient_, clipping_of
from sknn._network._steps import AutogradStep, ClosedFormStep, flops_of_network, flops_per_step

K = 3
SEED = np.random.SeedSequence(0)


class Made(NamedTuple):
    """A step with all that it was made of."""

    problem: StepProblem
    step: ClosedFormStep | AutogradStep
    batch: Batch
    module: FeedForwardModule | Ensemble


def flat_parameters(network, input_major=False):
    """Return parameters in which each member has other values, and the modules that have some."""
    between = modules_between(network)
    parameters = FlatParameters(
        network.linear_units,
        dtype=torch.float64,
        input_major=input_major,
        modules=between.all(),
        n_shared=between.n_shared,
        n_members=network.n_members,
    )
    rng = np.random.RandomState(0)
    drawn = [initial_parameters(network.linear_units, "tanh", rng) for _ in range(K)]
    stacks = (
        [np.stack(of_layer) for of_layer in zip(*of, strict=True)]
        for of in zip(*drawn, strict=True)
    )
    parameters.write(*stacks)
    for extra in parameters.extras:  # ones and zeros would hide faults
        extra.data.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, tuple(extra.shape))))
    return parameters, between


def make(
    kind, name="multiclass log_loss", activations=SMOOTH, *,
    products=NumPyProducts, weighted=True, n_rows=12, X=None, loss=None, **options,
):  # fmt: skip
    """Return a step of three members. The `options` are those of `Network`."""
    n_outputs = {"multiclass": 4, "binary": 3, "quantiles": 3}.get(name.split()[0], 2)
    units = (7, 6, 5)[: len(activations) + 1] + (n_outputs,)
    options.setdefault("dropout", (0.0,) * len(activations))
    network = Network(units, activations, **options, n_members=K)
    # As in training, autograd makes the rows dense, and has the layout of dense rows.
    input_major = scipy.sparse.issparse(X) and kind is ClosedFormStep
    parameters, between = flat_parameters(network, input_major)
    masks = make_masks(network)
    loss = CASES[name] if loss is None else loss
    weights, biases = parameters.weights, parameters.biases
    module = network_module(weights, biases, network, loss.average, between, masks)
    rng = np.random.RandomState(1)
    X = rng.randn(n_rows, 7) if X is None else X
    y = make_targets(name, n_rows, n_outputs, rng)
    weight = rng.uniform(0.1, 3, n_rows) if weighted else None
    (batch,) = Batches(X, y, weight, batch_size=n_rows, device=CPU)
    problem = StepProblem(network, parameters, loss, batch)
    if kind is ClosedFormStep:
        step = kind(products(parameters), network, loss, ALPHA, masks, module=module)
        batch = batch._replace(X=operand(step.products, batch.X))
    else:
        step = kind(TorchProducts(parameters), module, loss, ALPHA)
    return Made(problem, step, batch, module)


def alone(made, i, X=None, masks=None, **changes):
    """Return the step by autograd of one member's own network, with masks of the member."""
    network, parameters, loss, batch = made.problem
    network = network._replace(n_members=1, **changes)
    between = modules_between(network)
    own = FlatParameters(network.linear_units, dtype=torch.float64, modules=between.all())
    for mine, theirs in zip(
        own.of_member(own.storage[0], 0),
        parameters.of_member(parameters.storage[0], i),
        strict=True,
    ):
        mine.copy_(theirs)
    if masks is None and network.drops:
        masks = Masks(SEED, CPU, K).of_member(i)
    module = network_module(own.weights, own.biases, network, loss.average, between, masks)
    batch = batch if X is None else batch._replace(X=X)
    return AutogradStep(TorchProducts(own), module, loss, ALPHA), batch


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def assert_each_is_alone(made, references=None):
    """Assert that the gradient of each member, and the mean loss, are those of networks alone."""
    value, gradient = evaluate(made[1:3])
    losses = []
    for i in range(K):
        step, batch = alone(made, i) if references is None else references[i]
        expected_value, expected = evaluate((step, batch))
        losses.append(expected_value)
        ours = made.problem.parameters.of_member(gradient, i)
        for mine, theirs in zip(ours, step.parameters.of_member(expected, 0), strict=True):
            assert_close(mine, theirs)
    assert value == pytest.approx(np.mean(losses), rel=1e-10)
    assert len(set(losses)) == K


def assert_steps_equal(*arguments, n_steps=1, **options):
    """Assert that the closed form is autograd across the ensemble, over buffers that are reused."""
    closed = make(ClosedFormStep, *arguments, **options)
    reference = make(AutogradStep, *arguments, **options)
    for _ in range(n_steps):
        value, gradient = evaluate(closed[1:3])
        expected_value, expected = evaluate(reference[1:3])
        assert value == pytest.approx(expected_value, rel=1e-10)
        assert_close(gradient, expected)
        assert_close(closed.module.extras(), reference.module.extras())
        for problem in (closed.problem, reference.problem):
            problem.parameters.storage[0].sub_(0.1 * expected)
    for part in closed.problem.parameters.views(gradient)[0]:
        assert (part.flatten(1).abs().amax(1) > 1e-4).all()


# The gradient.


@pytest.mark.matrix(20)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
def test_closed_form_of_a_loss_equals_autograd(products, name, weighted):
    assert_steps_equal(name, products=products, weighted=weighted)


@pytest.mark.matrix
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("activations", [*((n,) * 2 for n in ACTIVATIONS), *MIXED], ids=case)
def test_closed_form_of_activations_equals_autograd(activations, weighted, products):
    assert_steps_equal("binary log_loss", activations, products=products, weighted=weighted)


@pytest.mark.matrix
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("activations", [(), ("relu",), ("tanh", "gelu")], ids=case)
@pytest.mark.parametrize("name", ["squared_error", "quantiles", "multiclass focal 2.0 smooth"])
def test_closed_form_of_any_depth_equals_autograd(name, activations, products):
    for n_rows in (1, 12):
        assert_steps_equal(name, activations, products=products, n_rows=n_rows)


@pytest.mark.matrix
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("activations", [SMOOTH, ("relu", "gelu"), ()], ids=case)
@pytest.mark.parametrize("dropping", list(DROPPING))
def test_closed_form_of_dropout_equals_autograd_with_the_same_masks(
    dropping, activations, products
):
    options = DROPPING[dropping]
    if not activations:
        options = {"input_dropout": 0.3}
    for name in ("multiclass log_loss", "gamma"):
        assert_steps_equal(name, activations, products=products, n_steps=3, **options)


@pytest.mark.matrix(8)
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("name", ["squared_error", "multiclass log_loss"])
@pytest.mark.parametrize("n_rows", [1, 2, 12])
@pytest.mark.parametrize("key", list(NETWORKS))
def test_closed_form_of_modules_equals_autograd(key, n_rows, name, products):
    activations, options = NETWORKS[key]
    for weighted in (False, True):
        closed = make(
            ClosedFormStep, name, activations,
            products=products, weighted=weighted, n_rows=n_rows, **options,
        )  # fmt: skip
        reference = make(
            AutogradStep, name, activations, weighted=weighted, n_rows=n_rows, **options
        )
        for _ in range(3):  # the buffers of a step are used again, and statistics go on
            value, gradient = evaluate(closed[1:3])
            expected_value, expected = evaluate(reference[1:3])
            assert value == pytest.approx(expected_value, rel=1e-10)
            assert_close(gradient, expected)
            assert_close(closed.module.extras(), reference.module.extras())
            for problem in (closed.problem, reference.problem):
                problem.parameters.storage[0].sub_(0.1 * expected)


@pytest.mark.matrix
@pytest.mark.parametrize("products", [NumPyProducts, TorchProducts])
@pytest.mark.parametrize("n_rows", [1, 12])
@pytest.mark.parametrize("kind", ["regression", "multiclass", "binary"])
def test_closed_form_of_a_loss_of_the_user_equals_autograd(kind, n_rows, products):
    if kind == "regression":
        name = "squared_error"
        loss = regression_loss(in_place_rows_of_cubes, huber_delta=1.0, quantile=(0.5,))
    else:
        name = f"{kind} log_loss"
        loss = classification_loss(
            in_place_rows_of_cubes,
            is_multiclass=kind == "multiclass",
            label_smoothing=0.1,
            focal_gamma=2.0,
        )
    for activations in (SMOOTH, (nn.PReLU, "tanh"), ()):
        assert_steps_equal(name, activations, loss=loss, n_rows=n_rows, products=products)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [ClosedFormStep, AutogradStep])
@pytest.mark.parametrize("name", ["multiclass log_loss", "quantiles", "binary focal 2.0 smooth"])
@pytest.mark.parametrize(
    "key", ["plain", "dropout", *(key for key in NETWORKS if "embedding" not in NETWORKS[key][1])]
)
def test_each_member_has_the_gradient_and_loss_that_it_has_alone(key, name, kind):
    activations, options = {
        "plain": (SMOOTH, {}),
        "dropout": (("relu", "tanh"), DROPPING["all"]),
        **NETWORKS,
    }[key]
    assert_each_is_alone(make(kind, name, activations, **options))


@pytest.mark.parametrize(
    "key",
    [
        "dropout",
        *(pytest.param(key, marks=pytest.mark.long) for key in ("layer", "batch", "PReLU")),
        pytest.param("batch, gated", marks=pytest.mark.long),
    ],
)
def test_gradient_of_operations_equals_finite_differences(key):
    cases = {**NETWORKS, "dropout": (SMOOTH, DROPPING["all"])}
    activations, options = cases[key]
    problem, step, batch, _ = make(ClosedFormStep, "squared_error", activations, **options)
    assert_gradient_is_that_of_finite_differences(problem, (step, batch))


# Sparse rows.


@pytest.mark.parametrize("kind", [ClosedFormStep, AutogradStep])
@pytest.mark.parametrize("activations", [SMOOTH, ()], ids=case)
@pytest.mark.parametrize("weighted", [False, True])
def test_step_on_sparse_rows_equals_that_on_dense_ones(weighted, activations, kind):
    X = sparse_rows()
    made = make(kind, "multiclass log_loss", activations, weighted=weighted, X=X)
    assert scipy.sparse.issparse(made.batch.X)
    dense = torch.from_numpy(X.toarray())
    assert_each_is_alone(made, [alone(made, i, dense) for i in range(K)])


@pytest.mark.parametrize("activations", [SMOOTH, ()], ids=case)
@pytest.mark.parametrize("dropout", [(0.0, 0.0), (0.5, 0.2)], ids=case)
def test_input_dropout_of_sparse_rows_drops_other_stored_values_in_each_member(
    dropout, activations
):
    X = sparse_rows()
    options = {"dropout": dropout[: len(activations)], "input_dropout": 0.3}
    made = make(ClosedFormStep, "binary log_loss", activations, X=X, **options)
    references, seen = [], set()
    for i in range(K):
        masks = Masks(SEED, CPU, K).of_member(i)
        factors = masks.fill_(torch.empty(X.nnz, dtype=torch.float64), 0.3).numpy()
        seen.add(factors.tobytes())
        dropped = X.copy()
        dropped.data *= factors
        # The layers of the reference draw on from where the rows have stopped.
        dense = torch.from_numpy(dropped.toarray())
        references.append(alone(made, i, dense, masks, input_dropout=0.0))
    assert len(seen) == K
    assert_each_is_alone(made, references)
    assert (made.problem.batch.X != X).nnz == 0


@pytest.mark.long
def test_gradient_of_dropout_of_sparse_rows_equals_finite_differences():
    problem, step, batch, _ = make(ClosedFormStep, "poisson", X=sparse_rows(), **DROPPING["all"])
    assert_gradient_is_that_of_finite_differences(problem, (step, batch))


def test_sparse_rows_without_a_value_can_be_dropped():
    X = scipy.sparse.csr_matrix((12, 7))
    made = make(ClosedFormStep, "squared_error", X=X, **DROPPING["the features"])
    plain = make(ClosedFormStep, "squared_error", X=X)
    value, gradient = evaluate(made[1:3])
    expected_value, expected = evaluate(plain[1:3])
    assert value == expected_value
    assert torch.equal(gradient, expected)


# The loss meter.


@pytest.mark.matrix
@pytest.mark.parametrize("limit", ["MAX_BATCHES", "MAX_TERMS"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["binary log_loss smooth", "quantiles", "multiclass focal 2.0"])
def test_loss_of_batches_and_epoch_is_the_mean_of_the_members(name, weighted, limit, monkeypatch):
    monkeypatch.setattr(LossMeter, limit, 7)
    made = make(ClosedFormStep, name, products=TorchProducts)
    rng = np.random.RandomState(0)
    X, y = rng.randn(25, 7), make_targets(name, 25, made.problem.network.layer_units[-1], rng)
    weight = rng.uniform(0.1, 2, 25) if weighted else None
    singles = [alone(made, i)[0] for i in range(K)]
    batches = list(Batches(X, y, weight, batch_size=4, device=CPU))
    losses = [np.mean([evaluate((step, batch))[0] for step in singles]) for batch in batches]
    meter = LossMeter(made.step, 25, 4)
    with made.step.grad_mode():
        for batch, expected in zip(batches, losses, strict=True):
            slot = meter.slot(batch)
            made.step(batch, slot)
            assert meter.batch_loss(batch, slot) == pytest.approx(expected, rel=1e-12)
        expected = np.average(losses, weights=[batch.n_rows for batch in batches])
        assert meter.read() == pytest.approx(expected, rel=1e-12)


def test_step_makes_no_tensor_of_the_batch_size_after_the_first():
    for products in (NumPyProducts, TorchProducts):
        made = make(
            ClosedFormStep, "multiclass log_loss", ("relu", "relu"),
            products=products, weighted=False, n_rows=500,
        )  # fmt: skip
        meter = LossMeter(made.step, 500, 500)
        run(made.step, meter, made.batch)
        with torch.profiler.profile(profile_memory=True) as profile:
            with made.step.grad_mode():
                made.step(made.batch, meter.slot(made.batch))
        allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())
        assert allocated < 8 * 500


def test_flops_count_all_members():
    network = Network((4, 100, 3), ("relu",), n_members=5)
    expected = 5 * flops_per_step((4, 100, 3), 150, np.float64)
    assert flops_of_network(network, 150, np.float64) == expected


# Products in bfloat16.


@pytest.mark.parametrize("dropping", [None, *DROPPING])
@pytest.mark.parametrize("name", ["multiclass log_loss", "quantiles", "squared_error"])
def test_bfloat16_gradient_of_each_member_is_that_of_autograd_to_its_rounding(name, dropping):
    made = make(ClosedFormStep, name, n_rows=1000, **DROPPING.get(dropping, {}))
    step, batch = mixed_step(made.problem)
    value, gradient = evaluate((step, batch))
    exact = make(AutogradStep, name, n_rows=1000, **DROPPING.get(dropping, {}))
    expected_value, expected = evaluate(exact[1:3])
    assert value == pytest.approx(expected_value, rel=0.005)
    assert not torch.equal(gradient, expected.float())
    for i in range(K):
        ours = step.parameters.of_member(gradient, i)
        theirs = step.parameters.of_member(expected.float(), i)
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine - other).norm() < 0.06 * other.norm()


def test_bfloat16_by_autograd_is_near_the_closed_form():
    made = make(AutogradStep, "huber 1.0", n_rows=1000)
    _, expected = evaluate(made[1:3])
    network, loss = made.problem.network, made.problem.loss
    single = FlatParameters(network.layer_units, dtype=torch.float32, n_members=K)
    single.storage.copy_(made.problem.parameters.storage)
    module = network_module(single.weights, single.biases, network, loss.average)
    step = AutogradStep(BFloat16Products(single), module, loss, ALPHA)
    batch = made.batch._replace(
        X=made.batch.X.to(torch.bfloat16), y=made.batch.y.float(), weight=made.batch.weight.float()
    )
    _, gradient = evaluate((step, batch))
    assert (gradient - expected).norm() < 0.03 * expected.norm()
    assert not torch.equal(gradient, expected.float())


# The mean of predictions.


LEVELS = {"sort": (2, 3, 6)}
AVERAGES = [(name, n_levels) for name in OUTPUT_ACTIVATIONS for n_levels in LEVELS.get(name, (1,))]


@pytest.mark.parametrize("scale", [1, 10, 300])
@pytest.mark.parametrize(("name", "n_levels"), AVERAGES)
def test_output_of_the_average_is_the_mean_of_the_outputs(name, n_levels, scale):
    generator = torch.Generator().manual_seed(0)
    z = scale * torch.randn(5, 6, 40, dtype=torch.float64, generator=generator)
    if name == "exp":
        z.clamp_(max=600)
    before = z.clone()
    apply_ = link(name, n_levels)
    outputs = torch.stack([apply_(of_member.clone()) for of_member in z])
    raw = average_of(name, n_levels)(z)
    assert torch.equal(z, before)
    assert raw.shape == z.shape[1:]
    torch.testing.assert_close(apply_(raw), outputs.mean(0), rtol=1e-10, atol=1e-300)


def test_quantiles_are_sorted_in_each_member_before_the_mean():
    z = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 7.0, 1.0]], dtype=torch.float64)[..., None]
    assert average_of("sort", 2)(z).flatten().tolist() == [0.5, 4.0, 0.5, 4.5]
    assert average_of("sort", 4)(z).flatten().tolist() == [0.0, 1.0, 3.5, 5.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "raw",
    [
        *([800, -800, 0], [-1000, -999, -1001], [1000, 999, 1001], [40, 50, 60], [-40, -50, -60]),
        *([0, 0, 0], [1e4, -1e4, 1e4], [1e30, -1e30, 3], [-1e30, -1e30, -1e30]),
    ],
    ids=str,
)
def test_average_of_logistic_outputs_keeps_both_tails(raw, dtype):
    z = torch.tensor(raw, dtype=dtype).view(3, 1, 1)
    average = average_of("logistic")(z)
    log = OUTPUT_ACTIVATIONS["logistic"].log
    exact = np.array(raw)
    # The logarithms of the mean probability of each of the two classes.
    for sign in (1, -1):
        ours = log(sign * average).item()
        assert np.isfinite(ours)
        expected = logsumexp(log_expit(sign * exact)) - np.log(3)
        tolerance = 8 * torch.finfo(dtype).eps
        assert ours == pytest.approx(expected, rel=tolerance, abs=0.5 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1, 100, 1e4, 1e30])
def test_log_probabilities_of_an_average_of_classes_are_finite_and_exact(scale, dtype):
    generator = torch.Generator().manual_seed(0)
    z = scale * torch.randn(5, 4, 30, dtype=dtype, generator=generator)
    average = average_of("softmax")(z)
    log = OUTPUT_ACTIVATIONS["softmax"].log
    ours = log(average).numpy()
    assert np.isfinite(ours).all()
    expected = logsumexp(log_softmax(z.double().numpy(), axis=1), axis=0) - np.log(5)
    tolerance = 8 * torch.finfo(dtype).eps
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def test_average_of_exponentials_is_finite_where_they_overflow():
    z = torch.tensor([1000.0, 999.0, -1000.0], dtype=torch.float64).view(3, 1, 1)
    expected = logsumexp([1000.0, 999.0, -1000.0]) - np.log(3)
    assert average_of("exp")(z).item() == pytest.approx(expected, rel=1e-14)


# Inference.


OUTPUTS = {"softmax": 4, "logistic": 1, "identity": 2, "exp": 1, "sort": 6}


@pytest.mark.matrix
@pytest.mark.parametrize("input_major", [False, True])
@pytest.mark.parametrize("activations", [(), ("relu",), SMOOTH, (nn.PReLU, "tanh")], ids=case)
@pytest.mark.parametrize("name", list(OUTPUTS))
@pytest.mark.parametrize("is_sparse", [False, True])
def test_raw_outputs_are_the_average_of_those_of_each_member(
    is_sparse, name, activations, input_major
):
    units = (7, 6, 5)[: len(activations) + 1] + (OUTPUTS[name],)
    network = Network(units, activations, n_members=K)
    parameters, members = flat_parameters(network, input_major)
    weights, biases = parameters.weights, parameters.biases
    average = average_of(name, 3 if name == "sort" else 1)
    reference = network_module(weights, biases, network, average, members).eval()
    state = {name: tensor.numpy() for name, tensor in reference.extras().items()}
    forward = forward_of(weights, biases, state, network, average)
    assert isinstance(forward, Layers if network.is_plain else Modules)
    X = sparse_rows(20)
    rows = X if is_sparse else torch.from_numpy(X.toarray())
    with torch.no_grad():
        each = [member(torch.from_numpy(X.toarray())).t() for member in reference]
        expected = average(torch.stack(each))
        assert_close(forward(rows), expected)
        assert_close(reference(rows), expected.t())
        buffers = forward.buffers(20)
        for _ in range(2):  # the buffers are used again
            assert_close(forward(rows, buffers), expected)
        assert_close(forward(rows[:3], buffers), expected[:, :3])


def test_layers_see_what_training_changes():
    for input_major in (False, True):
        network = Network((7, 6, 2), ("relu",), n_members=K)
        parameters, _ = flat_parameters(network, input_major)
        weights, biases = parameters.weights, parameters.biases
        layers = Layers(weights, biases, network.activations, average_of("identity"))
        before = layers(torch.ones(4, 7, dtype=torch.float64))
        parameters.storage[0].mul_(2)
        after = layers(torch.ones(4, 7, dtype=torch.float64))
        fresh = Layers([w.clone() for w in weights], biases, network.activations, layers.average)
        assert torch.equal(after, fresh(torch.ones(4, 7, dtype=torch.float64)))
        assert not torch.equal(before, after)


# Modules.


@pytest.mark.parametrize("key", ["layer", "batch", "PReLU", "the same module twice"])
def test_state_of_modules_goes_from_one_ensemble_to_another(key):
    activations, options = NETWORKS[key]
    made = make(ClosedFormStep, "squared_error", activations, **options)
    evaluate(made[1:3])
    arrays = {name: tensor.numpy().copy() for name, tensor in made.module.extras().items()}
    assert arrays and all(array.shape[0] == K for array in arrays.values())
    other = make(AutogradStep, "squared_error", activations, **options)
    for extra in other.problem.parameters.extras:
        extra.data.zero_()
    other.module.load_extras(arrays)
    assert_close(other.module.extras(), made.module.extras())
    # They are in the vector, and not beside it.
    for i in range(K):
        ours, theirs = (
            m.problem.parameters.of_member(m.problem.parameters.storage[0], i)
            for m in (other, made)
        )
        for mine, their in zip(ours, theirs, strict=True):
            assert torch.equal(mine, their)
    name = next(iter(arrays))
    with pytest.raises(ValueError, match=name):
        other.module.load_extras({**arrays, name: arrays[name][:2]})
    assert_close(other.module.extras(), made.module.extras())


def test_initial_state_is_that_of_one_network_for_each_member():
    network = Network((4, 3, 2, 2), (nn.PReLU, "tanh"), "batch")
    one, several = state_between(network), state_between(network._replace(n_members=K))
    assert list(one) == list(several)
    for name, tensor in one.items():
        assert torch.equal(several[name], torch.stack([tensor] * K))


def test_module_that_the_user_keeps_is_copied_for_each_member():
    kept = nn.PReLU()
    network = Network((4, 3, 2, 2), (lambda: kept, lambda: kept), n_members=K)
    members = modules_between(network).members
    assert len(members) == K
    for _, (first,), (second,) in members:
        assert first[1] is second[1] is not kept
    assert len({id(layers[1][0][1]) for layers in members}) == K


def test_own_modules_of_the_first_member_draw_what_they_draw_alone():
    def make_module():
        module = nn.PReLU()
        nn.init.uniform_(module.weight)
        return module

    torch.manual_seed(0)
    one = state_between(Network((4, 3, 2), (make_module,)))
    torch.manual_seed(0)
    several = state_between(Network((4, 3, 2), (make_module,), n_members=K))
    for name, tensor in one.items():
        assert torch.equal(several[name][0], tensor)
        assert len(several[name].unique()) == K


# The flat vector.


@pytest.mark.parametrize("input_major", [False, True])
@pytest.mark.parametrize("key", ["plain", "layer", "PReLU", "the same module twice"])
def test_values_of_members_divide_the_vector(key, input_major):
    activations, options = {"plain": (SMOOTH, {}), **NETWORKS}[key]
    network = Network((7, 6, 5, 2), activations, options.get("normalization"), n_members=K)
    parameters, members = flat_parameters(network, input_major)
    vector = parameters.storage[0]
    vector.fill_(-1)
    for i in range(K):
        views = parameters.of_member(vector, i)
        for view in views:
            assert (view == -1).all()
            view.fill_(i)
    assert (vector.view(-1) >= 0).all()
    counts = torch.bincount(vector.long())
    assert len(counts) == K and len(counts.unique()) == 1
    # The layers and modules of a member are views of its values.
    module = network_module(
        parameters.weights, parameters.biases, network, average_of("identity"), members
    )
    for i, member in enumerate(module):
        assert all((p == i).all() for p in member.parameters())
    assert sum(p.numel() for p in module.parameters()) == len(vector)


@pytest.mark.parametrize("input_major", [False, True])
def test_rows_are_written_and_read_with_a_leading_dimension(input_major):
    rng = np.random.RandomState(0)
    units = (4, 3, 2)
    modules = [nn.PReLU(3) for _ in range(K)]
    parameters = FlatParameters(
        units, 2, dtype=torch.float64, input_major=input_major, modules=modules, n_members=K
    )
    assert parameters.leading == (K,)
    coefs = [rng.randn(K, 4, 3), rng.randn(K, 3, 2)]
    intercepts = [rng.randn(K, 3), rng.randn(K, 2)]
    extras = [rng.randn(3) for _ in range(K)]
    parameters.write(coefs, intercepts, extras, row=1)
    for written, read in zip((coefs, intercepts, extras), parameters.read(1), strict=True):
        for array, expected in zip(read, written, strict=True):
            assert array.shape == expected.shape
            np.testing.assert_array_equal(array, expected)
    assert not parameters.storage[2].any()
    parameters.write(coefs, intercepts)
    for i in range(K):
        first, second, *_ = parameters.of_member(parameters.storage[0], i)
        np.testing.assert_array_equal(first, coefs[0][i].T)
        np.testing.assert_array_equal(second, coefs[1][i].T)
    # The penalty acts on the weights of all members and on nothing else.
    weights = np.concatenate([coef.ravel() for coef in coefs])
    np.testing.assert_array_equal(np.sort(parameters.penalized), np.sort(weights))


def test_first_weights_of_all_members_are_one_matrix():
    for input_major in (False, True):
        parameters = FlatParameters(
            (4, 3, 2), dtype=torch.float64, input_major=input_major, n_members=K
        )
        matrix = parameters.weights[0].view(K * 3, 4)
        assert matrix.data_ptr() == parameters.storage.data_ptr()
        assert matrix.t().is_contiguous() == input_major


@pytest.mark.parametrize("key", ["layer", "PReLU"])
def test_gradients_of_layers_are_views_of_the_vectors_gradient(key):
    activations, options = NETWORKS[key]
    made = make(AutogradStep, "squared_error", activations, **options)
    _, gradient = evaluate(made[1:3])
    parameters = made.problem.parameters
    for i, member in enumerate(made.module):
        own = parameters.of_member(parameters.gradient, i)
        pointers = {view.data_ptr() for view in own}
        assert {p.grad.data_ptr() for p in member.parameters()} == pointers
    assert gradient.abs().max() > 0


# Clipping.


@pytest.mark.parametrize("input_major", [False, True])
@pytest.mark.parametrize("key", ["plain", "layer"])
def test_gradient_of_each_member_is_clipped_by_its_own_norm(key, input_major):
    activations, options = {"plain": (SMOOTH, {}), **NETWORKS}[key]
    network = Network((7, 6, 5, 2), activations, options.get("normalization"), n_members=K)
    parameters, _ = flat_parameters(network, input_major)
    gradient = parameters.gradient
    gradient.copy_(torch.randn(len(gradient), generator=torch.Generator().manual_seed(0)))
    for scale, i in ((0.01, 0), (100.0, 2)):
        for view in parameters.of_member(gradient, i):
            view.mul_(scale)
    expected = []
    for i in range(K):
        own = torch.cat([view.reshape(-1) for view in parameters.of_member(gradient, i)]).clone()
        clip_gradient_(own, 1.0)
        expected.append(own)
    kept = [view.clone() for view in parameters.of_member(gradient, 0)]
    clipping_of(parameters, 1.0)()
    for i, own in enumerate(expected):
        views = parameters.of_member(gradient, i)
        assert torch.equal(torch.cat([view.reshape(-1) for view in views]), own)
        norm = torch.linalg.vector_norm(own).item()
        assert norm < 0.5 if i == 0 else norm == pytest.approx(1.0, rel=1e-12)
    for view, before in zip(parameters.of_member(gradient, 0), kept, strict=True):
        assert torch.equal(view, before)


@pytest.mark.parametrize("value", [1e200, np.nan, np.inf])
def test_clipping_keeps_a_broken_member_from_the_others(value):
    parameters, _ = flat_parameters(Network((7, 6, 2), ("tanh",), n_members=K))
    parameters.gradient.fill_(0.01)
    for view in parameters.of_member(parameters.gradient, 1):
        view.fill_(value)
    clipping_of(parameters, 1000.0)()
    for i in (0, 2):
        assert all((v == 0.01).all() for v in parameters.of_member(parameters.gradient, i))
    if value == 1e200:
        own = parameters.of_member(parameters.gradient, 1)
        norm = torch.linalg.vector_norm(torch.cat([view.reshape(-1) for view in own]))
        assert norm.item() == pytest.approx(1000.0)


# The streams of dropout.


def draws(masks, n=2, shape=(4, 5)):
    return torch.stack([masks.fill_(torch.empty(shape), 0.5).clone() for _ in range(n)])


def test_first_member_draws_what_it_draws_alone_and_the_others_draw_other_factors():
    several = draws(Masks(SEED, CPU, K), shape=(K, 4, 5))
    assert torch.equal(several[:, 0], draws(Masks(SEED, CPU)))
    seen = {several[j, i].numpy().tobytes() for j in range(2) for i in range(K)}
    assert len(seen) == 2 * K
    # More members do not change the first ones.
    more = draws(Masks(SEED, CPU, K + 2), shape=(K + 2, 4, 5))
    assert torch.equal(several, more[:, :K])


def test_member_draws_from_the_stream_of_all():
    masks, again = Masks(SEED, CPU, K), Masks(SEED, CPU, K)
    for i in range(K):
        draws(masks.of_member(i), n=1)
    draws(again, n=1, shape=(K, 4, 5))
    assert repr(masks.state()) == repr(again.state())


def test_state_of_the_streams_is_restored():
    masks = Masks(SEED, CPU, K)
    state = copy.deepcopy(masks.state())
    first = draws(masks, shape=(K, 4, 5))
    assert not torch.equal(first, draws(masks, shape=(K, 4, 5)))
    masks.restore(state)
    assert torch.equal(first, draws(masks, shape=(K, 4, 5)))
    with pytest.raises(ValueError):
        Masks(SEED, CPU, K + 1).restore(state)


def test_members_of_all_processes_draw_different_factors():
    random_state = np.random.RandomState(0)
    seen = set()
    for rank in range(3):
        key = (rank,) if rank else ()
        masks = Masks(derived_seed(random_state, 0, key), CPU, K)
        seen |= {draws(masks.of_member(i), n=1).numpy().tobytes() for i in range(K)}
    assert len(seen) == 3 * K
