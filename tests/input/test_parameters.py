"""`FlatParameters` keeps all parameters in one vector, shared with modules, and restores copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sknn._network._architecture import Network
from sknn._network._initial_weights import initial_parameters
from sknn._network._module import BatchNorm, FeedForwardModule
from sknn._network._parameters import FlatParameters

UNITS = (3, 5, 4, 2)
N_WEIGHTS = 15 + 20 + 8
N_BIASES = 5 + 4 + 2


def random_arrays(seed=0):
    return initial_parameters(UNITS, "relu", np.random.RandomState(seed))


def modules():
    """Return modules that have 10 + 1 + 4 learned values and 3 + 3 buffers."""
    return [BatchNorm(5), nn.PReLU(), BatchNorm(4, affine=False), nn.PReLU(4), nn.Tanh()]


def make_parameters(n_slots=0, modules=(), **options):
    parameters = FlatParameters(UNITS, n_slots, dtype=torch.float64, modules=modules, **options)
    parameters.write(*random_arrays())
    return parameters


@pytest.mark.parametrize("input_major", [False, True])
def test_what_is_written_is_read_in_every_row(input_major):
    parameters = make_parameters(2, modules(), input_major=input_major)
    rng = np.random.RandomState(0)
    extras = [[rng.randn(*p.shape) for p in parameters.extras] for _ in range(3)]
    for row in range(3):
        parameters.write(*random_arrays(row), extras[row], row=row)
    for row in range(3):
        written = (*random_arrays(row), extras[row])
        for read, arrays in zip(parameters.read(row), written, strict=True):
            for actual, expected in zip(read, arrays, strict=True):
                np.testing.assert_array_equal(actual, expected)


def test_row_names_its_parts():
    row = make_parameters(modules=modules()).read()
    assert [c.shape for c in row.coefs] == [(3, 5), (5, 4), (4, 2)]
    assert [b.shape for b in row.intercepts] == [(5,), (4,), (2,)]
    assert [e.shape for e in row.extras] == [(5,), (5,), (1,), (4,)]


def test_what_is_read_shares_the_vectors_memory():
    parameters = make_parameters(modules=modules())
    parameters.storage.fill_(3.0)
    row = parameters.read()
    parameters.storage.fill_(4.0)
    assert all((array == 4).all() for arrays in row for array in arrays)


def test_views_share_the_vectors_memory():
    parameters = FlatParameters(UNITS, dtype=torch.float64)
    for weight, bias in zip(parameters.weights, parameters.biases, strict=True):
        weight.fill_(1.0)
        bias.fill_(2.0)
    assert parameters.storage[0].tolist() == [1.0] * N_WEIGHTS + [2.0] * N_BIASES
    assert parameters.penalized.tolist() == [1.0] * N_WEIGHTS
    parameters.weight_gradients[1].fill_(3.0)
    assert parameters.vector.grad.sum() == 3.0 * 20


def test_modules_parameters_are_views_at_the_end_of_the_vector_and_keep_their_values():
    given = modules()
    parameters = make_parameters(modules=given)
    tail = slice(N_WEIGHTS + N_BIASES, None)
    # The scales are 1, the shifts 0 and the slopes 1/4.
    initial = [1.0] * 5 + [0.0] * 5 + [0.25] * 5
    assert parameters.storage[0, tail].tolist() == initial
    parameters.storage[0, tail] = torch.arange(15.0)
    values = torch.cat([p.detach() for m in given for p in m.parameters()])
    assert values.dtype == torch.float64
    assert values.tolist() == list(range(15))
    parameters.gradient[tail] = torch.arange(15.0)
    gradients = torch.cat([p.grad for m in given for p in m.parameters()])
    assert gradients.tolist() == list(range(15))
    assert parameters.penalized.numel() == N_WEIGHTS


def test_writing_without_extras_leaves_them():
    parameters = make_parameters(modules=modules())
    kept = parameters.storage[0, N_WEIGHTS + N_BIASES :].clone()
    parameters.write(*random_arrays(1))
    assert torch.equal(parameters.storage[0, N_WEIGHTS + N_BIASES :], kept)


def test_module_in_several_layers_has_its_parameters_once():
    shared = nn.PReLU()
    parameters = make_parameters(modules=[shared, nn.Tanh(), shared])
    assert len(parameters.extras) == 1
    assert parameters.storage.shape == (1, N_WEIGHTS + N_BIASES + 1)


def test_autograd_adds_to_the_vectors_gradient():
    given = [BatchNorm(5), nn.PReLU()]
    parameters = make_parameters(modules=given)
    X = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given[1](given[0](X)).square().sum().backward()
    assert (parameters.gradient[: N_WEIGHTS + N_BIASES] == 0).all()
    assert (parameters.gradient[N_WEIGHTS + N_BIASES :] != 0).all()


def test_gradients_of_the_linear_layers_are_the_vectors():
    parameters = make_parameters()
    network = Network(UNITS, ("tanh", "tanh"))
    module = FeedForwardModule(parameters.weights, parameters.biases, network)
    parameters.attach_gradients(module)
    module(torch.ones(2, 3, dtype=torch.float64)).sum().backward()
    for layer, gradient in zip(
        (module.linear0, module.linear1, module.linear2), parameters.weight_gradients, strict=True
    ):
        assert layer.weight.grad.data_ptr() == gradient.data_ptr()
        assert gradient.abs().max() > 0
    assert parameters.bias_gradients[-1].tolist() == [2.0, 2.0]


def test_linear_layer_as_an_activation_is_none_of_the_networks():
    units = (3, 4, 2)
    activation = nn.Linear(4, 4)
    parameters = FlatParameters(units, dtype=torch.float64, modules=[activation])
    network = Network(units, (lambda: activation,))
    module = FeedForwardModule(parameters.weights, parameters.biases, network)
    parameters.attach_gradients(module)
    for layer, gradient in zip(
        (module.linear0, module.linear1), parameters.weight_gradients, strict=True
    ):
        assert layer.weight.grad.data_ptr() == gradient.data_ptr()
    assert activation.weight.grad.data_ptr() == parameters.gradient[-20:].data_ptr()


def changed(parameters, given):
    """Change all parameters and buffers, as another epoch would."""
    parameters.storage.add_(1.0)
    for module in given:
        if isinstance(module, BatchNorm):
            module(torch.arange(3.0 * module.num_features, dtype=torch.float64).view(3, -1))


def everything(parameters):
    return [parameters.storage.clone(), *(b.clone() for b in parameters.buffers)]


def assert_all_equal(left, right):
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def assert_all_different(left, right):
    assert not any(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_buffers_are_those_of_all_modules():
    given = modules()
    parameters = make_parameters(modules=given)
    names = ["running_mean", "running_var", "num_batches_tracked"] * 2
    assert [b.dtype for b in parameters.buffers] == [torch.float64, torch.float64, torch.int64] * 2
    owners = [given[0]] * 3 + [given[2]] * 3
    for buffer, owner, name in zip(parameters.buffers, owners, names, strict=True):
        assert buffer is getattr(owner, name)


def test_revert_goes_back_to_the_saved_state():
    given = modules()
    parameters = make_parameters(1, given)
    for _ in range(2):  # the second `save` reuses the memory of the first
        changed(parameters, given)
        parameters.save()
        kept = everything(parameters)
        changed(parameters, given)
        assert_all_different(everything(parameters), kept)
        parameters.revert()
        assert_all_equal(everything(parameters), kept)
    for module in given:
        if isinstance(module, BatchNorm):
            assert module.num_batches_tracked == 2


def test_restore_goes_back_to_a_checkpoint_but_for_what_the_solver_remembers():
    given = modules()
    parameters = make_parameters(1, given)
    changed(parameters, given)
    kept, checkpoint = everything(parameters), parameters.checkpoint()
    for _ in range(2):
        changed(parameters, given)
        assert_all_different(everything(parameters), kept)
        parameters.restore(checkpoint)
        storage, *buffers = everything(parameters)
        assert torch.equal(storage[0], kept[0][0])
        assert not torch.equal(storage[1], kept[0][1])
        assert_all_equal(buffers, kept[1:])


def test_checkpoint_and_save_do_not_share_memory_with_each_other():
    parameters = make_parameters(modules=modules())
    parameters.save()
    expected = everything(parameters)
    checkpoint = parameters.checkpoint()
    checkpoint.rows.fill_(9.0)
    for buffer in checkpoint.buffers:
        buffer.fill_(9)
    assert_all_equal(everything(parameters), expected)
    parameters.revert()
    assert_all_equal(everything(parameters), expected)


def test_module_is_the_network_and_shares_the_vector():
    parameters = FlatParameters(UNITS, dtype=torch.float64)
    coefs, intercepts = random_arrays()
    parameters.write(coefs, intercepts)
    network = Network(UNITS, ("tanh", "relu"))
    module = FeedForwardModule(parameters.weights, parameters.biases, network)
    X = np.random.RandomState(1).randn(6, 3)
    first = np.tanh(X @ coefs[0] + intercepts[0])
    second = np.maximum(first @ coefs[1] + intercepts[1], 0)
    expected = second @ coefs[2] + intercepts[2]
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(X)).numpy(), expected)
        module.linear0.weight.zero_()
    assert parameters.weights[0].abs().sum() == 0


def test_making_a_module_leaves_torchs_generator_alone():
    parameters = FlatParameters(UNITS, dtype=torch.float64)
    before = torch.get_rng_state()
    network = Network(UNITS, (nn.PReLU, lambda: nn.Linear(4, 4)), "batch")
    FeedForwardModule(parameters.weights, parameters.biases, network)
    assert torch.equal(torch.get_rng_state(), before)
