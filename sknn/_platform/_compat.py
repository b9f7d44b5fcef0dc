"""Small functions that hide version differences and private operators of torch.

Nothing else in the package asks for a version of torch or SciPy, or calls a private operator. Every
function here that uses a private operator has a public fallback with the same result, and the tests
run both.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import scipy
import torch
from sklearn.utils.fixes import parse_version

from sknn._platform._fork import call_in_forked_children

_SCIPY_VERSION = parse_version(scipy.__version__)
_ADAM_KERNEL = getattr(torch, "_fused_adam_", None)


class _Writable:
    """The memory of an array, which NumPy's array interface presents as writable."""

    def __init__(self, array: np.ndarray) -> None:
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}
        self._owner = array  # keeps the memory alive


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """View an array as a tensor on the CPU, without a copy where torch allows that.

    `torch.from_numpy` warns about read-only memory (memory maps that joblib hands to its workers,
    frames of pandas 3). The callers only read the tensor, so the flag is lifted. Silencing the
    warning instead would change the filters of the whole process. Arrays with negative strides are
    copied, because torch does not support these.

    An array in C order gets the strides of C order also in dimensions of size one. NumPy may store
    any stride there, and a different one after pickling, and torch chooses by the strides in which
    order it sums a product.
    """
    if min(array.strides, default=0) < 0:
        array = array.copy()
    if not array.flags.writeable:
        array = np.asarray(_Writable(array))
    tensor = torch.from_numpy(array)
    if 1 in array.shape and tensor.is_contiguous():
        tensor = tensor.view(-1).view(array.shape)
    return tensor


def feature_major(targets: torch.Tensor) -> torch.Tensor:
    """Return targets of shape (n_rows, n_outputs) as (n_outputs, n_rows), without a copy.

    A single column is not transposed but reshaped, to strides of (n_rows, 1): `gather` of torch 2.5
    mistakes an index with strides of (1, 1) for an expanded one, and silently gives wrong values
    (pytorch's #129093).
    """
    return targets.reshape(1, -1) if targets.shape[1] == 1 else targets.t()


def mps_memory() -> float:
    """Return the largest number of bytes that Apple's GPU should use.

    It is infinite with torch 2.4, which has no function that returns it.
    """
    limit = getattr(torch.mps, "recommended_max_memory", None)
    return math.inf if limit is None else limit()


# The names of bfloat16 units in Linux's list of processor features: two of x86, and Arm's.
_BFLOAT16_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}


@cache
def _public_has_bfloat16_cpu(features_file: str = "/proc/cpuinfo") -> bool:
    try:
        with open(features_file) as lines:
            return any(
                not _BFLOAT16_FEATURES.isdisjoint(line.split())
                for line in lines
                if line.lower().startswith(("flags", "features"))
            )
    except OSError:  # not Linux
        return False


def _torch_has_bfloat16_cpu() -> bool | None:
    """Return whether torch finds a bfloat16 unit in the processor, or None if it cannot tell."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    queries = [query for name in names if (query := getattr(torch.cpu, name, None)) is not None]
    return any(query() for query in queries) if queries else None


def has_bfloat16_unit(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(_torch_has_bfloat16_cpu()) or _public_has_bfloat16_cpu()
    return True


def has_adam_kernel(device_type: str) -> bool:
    """Return whether torch offers its fused Adam kernel on this type of device."""
    return _ADAM_KERNEL is not None and device_type in ("cpu", "cuda")


def adam_step_(
    vector: torch.Tensor,
    gradient: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    step_count: torch.Tensor,
    *,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    decay: float = 0.0,
) -> None:
    """Update the vector in place with torch's fused Adam kernel.

    `epsilon` is added to the bias-corrected root, as in torch's Adam. `step_count` is a tensor of
    one float32 on the device: the number of this step, where the first step has the number 1. The
    kernel adds `decay` times the vector to the gradient, but does not write the sum to `gradient`.
    """
    _ADAM_KERNEL(
        [vector],
        [gradient],
        [mean],
        [square],
        [],
        [step_count],
        lr=lr,
        beta1=beta_1,
        beta2=beta_2,
        weight_decay=decay,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )


# The values of torch's precision setting with which a CPU multiplies float32 matrices in float32.
EXACT = ("ieee", "none", "highest")
_precision_getter = getattr(torch._C, "_get_fp32_precision_getter", None)
_precision_setter = getattr(torch._C, "_set_fp32_precision_setter", None)


def _public_cpu_product_precision() -> str:
    return torch.get_float32_matmul_precision()


def _public_set_cpu_product_precision(precision: str) -> None:
    torch.set_float32_matmul_precision("highest" if precision in EXACT else precision)


def cpu_product_precision() -> str:
    """Return the precision of float32 products on a CPU: one of `EXACT`, or a lower one."""
    if _precision_getter is None:
        return _public_cpu_product_precision()
    return _precision_getter("mkldnn", "matmul")


def set_cpu_product_precision(precision: str) -> None:
    """Set, for the whole process, the precision that `cpu_product_precision` returns.

    Before torch 2.9, one setting applies to all devices.
    """
    if _precision_setter is None:
        _public_set_cpu_product_precision(precision)
        return
    # "none" means that the setting for all backends applies. A precision that came from that
    # setting is left to it again.
    _precision_setter("mkldnn", "matmul", "none")
    if _precision_getter("mkldnn", "matmul") != precision:
        _precision_setter("mkldnn", "matmul", precision)


_generator_lock = threading.RLock()


def _free_generator() -> None:
    """Replace the lock in a forked child: the thread that held it may not exist there."""
    global _generator_lock
    _generator_lock = threading.RLock()


call_in_forked_children(_free_generator)


class GlobalGenerators:
    """The global random generators of torch for the CPU and for one other device."""

    def __init__(self, device: torch.device | None = None) -> None:
        kind = "cpu" if device is None else device.type
        self._devices = [torch.device("cpu")]
        if kind != "cpu" and hasattr(getattr(torch, kind, None), "get_rng_state"):
            self._devices.append(device)

    def state(self) -> list[np.ndarray]:
        """Return the states of the generators, on which the next draws depend."""
        return [_get_or_set_state("get", device).numpy() for device in self._devices]

    def restore(self, state: list[np.ndarray]) -> None:
        """Set the generators to states that `state` returned."""
        for device, its_state in zip(self._devices, state, strict=True):
            _get_or_set_state("set", device, torch.from_numpy(its_state))

    def seed(self, seed: int) -> None:
        """Seed the generators. `torch.manual_seed` would seed all devices of the machine."""
        self.restore(
            [torch.Generator(d).manual_seed(seed).get_state().numpy() for d in self._devices]
        )


def _get_or_set_state(verb: str, device: torch.device, *state: torch.Tensor) -> torch.Tensor:
    """Get or set the state of a device's global generator; the `verb` is "get" or "set"."""
    module = torch if device.type == "cpu" else getattr(torch, device.type)
    where = () if device.type in ("cpu", "mps") else (device,)
    return getattr(module, f"{verb}_rng_state")(*state, *where)


@contextmanager
def borrowed_generator(device: torch.device | None = None) -> Iterator[GlobalGenerators]:
    """Run the body with torch's global generators, and restore their states afterwards.

    The whole process has one generator for the CPU, so only one thread at a time runs a body.
    """
    generators = GlobalGenerators(device)
    with _generator_lock:
        before = generators.state()
        try:
            try:
                yield generators
            finally:
                generators.restore(before)
        finally:  # A signal handler may have raised during the first call.
            generators.restore(before)


def mark_as_stepped(optimizer: torch.optim.Optimizer) -> None:
    """Tell torch's schedulers that the optimizer has stepped before they do.

    They watch the optimizer's `step`, which `Solver.update` bypasses, and would warn that the steps
    come in the wrong order.
    """
    optimizer._opt_called = True


def _public_relu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    delta.masked_fill_(output == 0, 0.0)


def _public_tanh_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    delta.mul_(1 - output.square())


def _public_logistic_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    delta.mul_(output * (1 - output))


def _public_leaky_relu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    delta.copy_(torch.where(output > 0, delta, _SLOPE * delta))


def _public_elu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    delta.copy_(torch.where(output > 0, delta, delta * (output + 1)))


def _public_selu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    below = output + _SELU_SCALE * _SELU_ALPHA
    delta.mul_(torch.where(output > 0, torch.full_like(output, _SELU_SCALE), below))


def _public_gelu_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    delta.mul_(torch.special.ndtr(z) + z * density)


def _public_silu_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    p = torch.sigmoid(z)
    delta.mul_(p * (1 + z * (1 - p)))


def _public_mish_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    t = torch.tanh(torch.nn.functional.softplus(z))
    delta.mul_(t + z * torch.sigmoid(z) * (1 - t.square()))


def _public_softplus_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    delta.mul_(torch.where(z > _SOFTPLUS_LINEAR_FROM, torch.ones_like(z), torch.sigmoid(z)))


def _kernel(name: str, overload: str) -> Any:
    """Return an operator of torch, without its Python wrapper where that can be removed.

    Without the wrapper, a call costs less. None is returned if this torch has no such operator.
    """
    kernel = getattr(getattr(torch.ops.aten, name, None), overload, None)
    return getattr(kernel, "_op", kernel)


# Constants of torch.nn's activations: the slope of leaky_relu, alpha and scale of selu (Klambauer
# et al., 2017, section 2), and the value above which softplus is treated as linear.
_SLOPE = 0.01
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_SOFTPLUS_LINEAR_FROM = 20

_relu_kernel = _kernel("threshold_backward", "grad_input")
_tanh_kernel = _kernel("tanh_backward", "grad_input")
_logistic_kernel = _kernel("sigmoid_backward", "grad_input")
_leaky_relu_kernel = _kernel("leaky_relu_backward", "grad_input")
_elu_kernel = _kernel("elu_backward", "grad_input")
_gelu_kernel = _kernel("gelu_backward", "grad_input")
_silu_kernel = _kernel("silu_backward", "grad_input")
_mish_kernel = _kernel("mish_backward", "default")
_softplus_kernel = _kernel("softplus_backward", "grad_input")


def relu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of relu, taken from its output."""
    if _relu_kernel is None:
        _public_relu_backward_(delta, output)
    else:
        _relu_kernel(delta, output, 0, grad_input=delta)


def tanh_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of tanh, taken from its output."""
    if _tanh_kernel is None:
        _public_tanh_backward_(delta, output)
    else:
        _tanh_kernel(delta, output, grad_input=delta)


def logistic_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of the logistic, taken from its output."""
    if _logistic_kernel is None:
        _public_logistic_backward_(delta, output)
    else:
        _logistic_kernel(delta, output, grad_input=delta)


def leaky_relu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of leaky_relu, taken from its output."""
    if _leaky_relu_kernel is None:
        _public_leaky_relu_backward_(delta, output)
    else:
        _leaky_relu_kernel(delta, output, _SLOPE, True, grad_input=delta)


def elu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of elu, taken from its output."""
    if _elu_kernel is None:
        _public_elu_backward_(delta, output)
    else:
        _elu_kernel(delta, 1, 1, 1, True, output, grad_input=delta)


def selu_backward_(delta: torch.Tensor, output: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of selu, taken from its output."""
    if _elu_kernel is None:
        _public_selu_backward_(delta, output)
    else:
        _elu_kernel(delta, _SELU_ALPHA, _SELU_SCALE, 1, True, output, grad_input=delta)


def gelu_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of gelu, taken from its input."""
    if _gelu_kernel is None:
        _public_gelu_backward_(delta, z)
    else:
        _gelu_kernel(delta, z, grad_input=delta)


def silu_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of silu, taken from its input."""
    if _silu_kernel is None:
        _public_silu_backward_(delta, z)
    else:
        _silu_kernel(delta, z, grad_input=delta)


def mish_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of mish, taken from its input."""
    if _mish_kernel is None:
        _public_mish_backward_(delta, z)
    else:
        delta.copy_(_mish_kernel(delta, z))


def softplus_backward_(delta: torch.Tensor, z: torch.Tensor) -> None:
    """Multiply `delta` in place by the derivative of softplus, taken from its input."""
    if _softplus_kernel is None:
        _public_softplus_backward_(delta, z)
    else:
        _softplus_kernel(delta, z, 1, _SOFTPLUS_LINEAR_FROM, grad_input=delta)


def _writer(
    name: str, function: Callable, *options: float
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a function of `(z, out)` that writes an activation of `z` to `out`.

    `function` computes the same for versions of torch that lack the operator.
    """
    kernel = _kernel(name, "out")
    if kernel is None:
        return lambda z, out: out.copy_(function(z))
    return lambda z, out: kernel(z, *options, out=out)


gelu = _writer("gelu", torch.nn.functional.gelu)
silu = _writer("silu", torch.nn.functional.silu)
mish = _writer("mish", torch.nn.functional.mish)
softplus = _writer("softplus", torch.nn.functional.softplus, 1, _SOFTPLUS_LINEAR_FROM)


@contextmanager
def lent_to_scipy(function: Callable) -> Iterator[Callable]:
    """Wrap a function for an optimizer of SciPy, and drop the reference to it after the body.

    SciPy 1.9 leaves the function that it gets in a reference cycle. That would keep the rows and
    the network in memory, also in that of a device, until the garbage collector runs.
    """
    held = [function]
    try:
        yield lambda *arguments: held[0](*arguments)
    finally:
        held.clear()


def lbfgs_print_options(verbose: bool) -> dict[str, int]:
    """Return SciPy's option that prints the progress of L-BFGS-B. SciPy 1.15 deprecated it."""
    if _SCIPY_VERSION >= parse_version("1.15"):
        return {}
    return {"iprint": 1 if verbose else -1}
