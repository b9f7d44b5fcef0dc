"""Version differences are hidden, and private operators give the results of their fallbacks."""

from __future__ import annotations

import platform
import warnings
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sknn import FeedForwardClassifier
from sknn._network import _solvers
from sknn._network._activations import ACTIVATIONS
from sknn._network._parameters import FlatParameters
from sknn._platform import _compat, _sklearn_compat
from sknn._platform._torch_settings import exact_products

# The names of the activations, each with the torch operator that computes its derivative.
KERNELS = {
    "relu": "relu",
    "tanh": "tanh",
    "logistic": "logistic",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "selu": "elu",
    "gelu": "gelu",
    "silu": "silu",
    "mish": "mish",
    "softplus": "softplus",
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(KERNELS))
def test_private_derivative_equals_public_fallback(name, dtype, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    delta = torch.randn(4, 5, dtype=dtype, generator=generator)
    z = 3 * torch.randn(4, 5, dtype=dtype, generator=generator)
    z[0] = torch.tensor([0.0, -0.0, 20.0, 20.5, -30.0])
    activation = ACTIVATIONS[name]
    if not activation.from_input:
        activation.apply_(z)
    private, public, calls = delta.clone(), delta.clone(), []
    kernel = getattr(_compat, f"_{KERNELS[name]}_kernel")
    assert kernel is not None

    def recorded(*args, **options):
        calls.append(name)
        return kernel(*args, **options)

    monkeypatch.setattr(_compat, f"_{KERNELS[name]}_kernel", recorded)
    activation.backward_(private, z)
    monkeypatch.setattr(_compat, f"_{KERNELS[name]}_kernel", None)
    activation.backward_(public, z)
    assert calls == [name]
    tolerance = {"rtol": 1e-12, "atol": 1e-15} if dtype == torch.float64 else {}
    torch.testing.assert_close(private, public, **tolerance)
    assert not torch.equal(private, delta)


def test_every_derivative_has_a_fallback_that_is_tested():
    assert set(KERNELS) == set(ACTIVATIONS) - {"identity"}


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "softplus"])
def test_activation_is_written_without_the_operator_of_torch_too(name, monkeypatch):
    z, out, expected = torch.linspace(-30, 30, 61), torch.empty(61), torch.empty(61)
    getattr(_compat, name)(z, expected)
    monkeypatch.setattr(_compat, "_kernel", lambda name, overload: None)
    _compat._writer(name, getattr(torch.nn.functional, name))(z, out)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


@pytest.mark.parametrize("beta_1", [0.9, 0.0])
def test_fused_adam_equals_public_fallback(beta_1, monkeypatch):
    assert _compat.has_adam_kernel("cpu")
    assert not _compat.has_adam_kernel("mps")
    vectors = []
    for fused in (True, False):
        monkeypatch.setattr(_compat, "has_adam_kernel", lambda _, fused=fused: fused)
        parameters = FlatParameters((3, 4, 2), 2, dtype=torch.float64)
        solver = _solvers.Adam(parameters, learning_rate_init=0.1, beta_1=beta_1, epsilon=1e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            parameters.gradient.normal_(generator=generator)
            solver.step()
        vectors.append(parameters.storage.clone())
    torch.testing.assert_close(*vectors, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("activation", list(KERNELS))
def test_training_without_private_operators_gives_the_same_model(activation, monkeypatch):
    rng = np.random.RandomState(0)
    X, y = rng.randn(60, 4), rng.randint(0, 3, 60)
    model = FeedForwardClassifier((20,), activation, max_iter=5, random_state=0)

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return clone(model).fit(X, y)

    expected = fit()
    monkeypatch.setattr(_compat, "_ADAM_KERNEL", None)
    for kernel in set(KERNELS.values()):
        monkeypatch.setattr(_compat, f"_{kernel}_kernel", None)
    np.testing.assert_allclose(fit().loss_curve_, expected.loss_curve_, rtol=1e-12)


def test_read_only_array_is_viewed_without_a_warning_or_a_copy():
    array = np.arange(6.0).reshape(2, 3)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = _compat.as_tensor(array)
    assert tensor.data_ptr() == array.__array_interface__["data"][0]
    assert not array.flags.writeable
    del array
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 1)])
def test_strides_of_a_tensor_depend_on_the_shape_alone_where_a_dimension_is_one(shape):
    """NumPy may store any stride there, and torch chooses by it how to sum a product."""
    array = np.arange(float(np.prod(shape))).reshape(shape)
    odd = np.lib.stride_tricks.as_strided(
        array, strides=[800 if n == 1 else 8 for n in shape], writeable=False
    )
    strides = {_compat.as_tensor(a).stride() for a in (array, array.T.copy().T, odd)}
    assert strides == {(shape[1], 1)}
    assert _compat.as_tensor(odd).tolist() == array.tolist()


def test_single_column_of_targets_becomes_a_row_that_gather_reads_right():
    classes = torch.tensor([[2], [0], [1], [2]])
    row = _compat.feature_major(classes[:3])
    assert row.data_ptr() == classes.data_ptr()
    assert row.stride() == (3, 1)  # Newer versions of torch could use (1, 1) too.
    assert torch.arange(12.0).reshape(3, 4)[:, :3].gather(0, row).tolist() == [[8, 1, 6]]


def test_columns_of_targets_become_rows_without_a_copy():
    targets = torch.arange(6.0).reshape(3, 2)
    rows = _compat.feature_major(targets)
    assert rows.data_ptr() == targets.data_ptr()
    assert rows.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_array_of_negative_strides_is_copied():
    array = np.arange(6.0).reshape(2, 3)[::-1, ::-1]
    assert _compat.as_tensor(array).tolist() == array.tolist()


def test_function_lent_to_scipy_is_released_when_the_body_ends():
    def add(a, b):
        return a + b

    add_lives = weakref.ref(add)
    with _compat.lent_to_scipy(add) as lent:
        assert lent(1, 2) == 3
    del add
    assert add_lives() is None
    assert callable(lent)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("flags\t\t: fpu avx512_bf16 avx512f", True),
        ("flags\t\t: fpu amx_bf16", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu avx512f", False),
        ("model name\t: the avx512_bf16 processor", False),
    ],
)
def test_bfloat16_unit_is_read_from_the_list_of_features(line, expected, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{line}\n")
    assert _compat._public_has_bfloat16_cpu(str(path)) is expected


def test_bfloat16_unit_is_denied_without_a_list_of_features(tmp_path):
    assert _compat._public_has_bfloat16_cpu(str(tmp_path / "absent")) is False


def test_bfloat16_unit_that_torch_reports_agrees_with_the_list_of_features():
    known = _compat._torch_has_bfloat16_cpu()
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    if known is None or not is_x86 or not Path("/proc/cpuinfo").exists():
        pytest.skip("needs torch's private query, and Linux on x86, of which alone it knows")
    assert known == _compat._public_has_bfloat16_cpu()


@pytest.fixture
def medium_products():
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("is_public", [False, True])
def test_float32_products_are_exact_in_a_call_and_as_they_were_after_it(
    is_public, medium_products, monkeypatch
):
    if is_public:
        monkeypatch.setattr(_compat, "_precision_getter", None)
        monkeypatch.setattr(_compat, "_precision_setter", None)
    before = _compat.cpu_product_precision()
    assert before not in _compat.EXACT
    with exact_products(torch.device("cpu")):
        assert _compat.cpu_product_precision() in _compat.EXACT
    assert _compat.cpu_product_precision() == before
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.skipif(
    not hasattr(torch.backends.mkldnn, "matmul"), reason="torch has one setting for everything"
)
def test_precision_of_products_that_follows_the_general_one_still_does_after_a_call():
    before = torch.backends.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    torch.backends.fp32_precision = "bf16"
    try:
        with exact_products(torch.device("cpu")):
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        torch.backends.fp32_precision = "tf32"
        assert torch.backends.mkldnn.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.fp32_precision = before


def test_generator_is_seeded_as_torch_does_it_and_put_back():
    torch.manual_seed(1)
    torch.randn(3)
    before = torch.get_rng_state()
    with _compat.borrowed_generator() as generators:
        generators.seed(5)
        drawn = torch.randn(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(torch.randn(3), drawn)
    torch.set_rng_state(before)


def test_generators_of_other_devices_are_not_seeded(monkeypatch):
    # `torch.manual_seed` would seed all devices.
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(torch, "manual_seed", fail)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", fail)
    model = FeedForwardClassifier((3,), activation=torch.nn.RReLU, max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model.fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(("kind", "where"), [("cuda", [torch.device("cuda", 1)]), ("mps", [])])
def test_generator_of_a_device_is_read_and_put_back_there(kind, where, monkeypatch):
    states = [torch.zeros(2, dtype=torch.uint8)]
    called = []
    backend = getattr(torch, kind)
    monkeypatch.setattr(backend, "get_rng_state", lambda *at: called.append(at) or states[0])
    monkeypatch.setattr(
        backend, "set_rng_state", lambda state, *at: called.append(at) or states.append(state)
    )
    device = where[0] if where else torch.device(kind)
    with _compat.borrowed_generator(device):
        states[0] = torch.ones(2, dtype=torch.uint8)
    assert states[-1].tolist() == [0, 0]
    assert set(called) == {tuple(where)}


@pytest.mark.parametrize(
    ("version", "verbose", "options"),
    [("1.14.1", True, {"iprint": 1}), ("1.14.1", False, {"iprint": -1}), ("1.15.0", True, {})],
)
def test_progress_of_lbfgs_is_requested_only_where_scipy_has_the_option(
    version, verbose, options, monkeypatch
):
    monkeypatch.setattr(_compat, "_SCIPY_VERSION", _compat.parse_version(version))
    assert _compat.lbfgs_print_options(verbose) == options


@pytest.mark.parametrize(
    ("hip", "capability", "has_unit"),
    [(None, (7, 5), False), (None, (8, 0), True), (None, (9, 0), True), ("6.0", (0, 0), True)],
)
def test_bfloat16_unit_of_a_gpu_depends_on_its_compute_capability(
    hip, capability, has_unit, monkeypatch
):
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert _compat.has_bfloat16_unit(torch.device("cuda")) is has_unit


def test_generators_of_a_gpu_are_put_back_beside_that_of_the_host(monkeypatch):
    there = {}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.arange(4).byte())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda s, device: there.update({device: s}))
    device = torch.device("cuda:1")
    generators = _compat.GlobalGenerators(device)
    before = torch.get_rng_state()
    saved = generators.state()
    expected = torch.rand(3)
    generators.restore(saved)
    assert torch.equal(torch.rand(3), expected)
    assert there[device].tolist() == [0, 1, 2, 3]
    torch.set_rng_state(before)


@pytest.mark.parametrize("is_old", [False, True])
def test_weights_that_are_all_zero_are_refused_with_any_scikit_learn(is_old, monkeypatch):
    if is_old and _sklearn_compat._REFUSES_ZEROS:
        never = partial(_sklearn_compat._check_sample_weight, allow_all_zero_weights=True)
        monkeypatch.setattr(_sklearn_compat, "_check_sample_weight", never)
        monkeypatch.setattr(_sklearn_compat, "_REFUSES_ZEROS", False)
    rows, zeros = np.ones((3, 1)), np.zeros(3)
    check = partial(_sklearn_compat.check_sample_weight, dtype=np.float64)
    with pytest.raises(ValueError, match="must contain at least one non-zero number"):
        check(zeros, rows)
    assert check(zeros, rows, allow_all_zero_weights=True).tolist() == [0, 0, 0]
    assert check([0, 1, 0], rows).tolist() == [0, 1, 0]
