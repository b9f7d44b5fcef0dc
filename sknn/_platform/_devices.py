"""Choose the torch device for the parameters `device` and `dtype`, and measure its memory."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from sknn._platform import _compat

_KINDS = "'cpu', 'cuda', 'cuda:1', 'mps' or another device string of torch, or 'auto'"

# With "auto", an accelerator is used if one step needs at least this many floating-point operations
# (as `flops_per_step` counts them). The number is estimated, not measured: the host starts 30 to 50
# kernels in a step, each of which takes about 5 us, so no step on an accelerator is faster than
# about 200 us; in that time two cores of a CPU do 5e7 operations.
ACCELERATE_FROM = 1e8

# The data are moved to a device as a whole if they take up at most this share of its free memory.
# The rest is left for the network.
SHARE_OF_MEMORY = 0.5


_DTYPES = {np.dtype(name): getattr(torch, name) for name in ("float32", "float64", "int64")}


def torch_dtype(dtype: np.dtype) -> torch.dtype:
    """Return the torch dtype for NumPy's float32, float64 or int64."""
    return _DTYPES[np.dtype(dtype)]


def is_present(name: str) -> bool:
    """Return whether this process can put a tensor on the device of this name now."""
    if name == "cpu":
        return True
    try:
        device = torch.device(name)
        if device.type == "meta":
            return False
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        # Torch raises these for an unknown name, a backend that was not compiled in, and a device
        # that it does not find.
        return False
    return True


def resolve_device(name: str, dtype: torch.dtype, flops: float) -> torch.device:
    """Return the device that `fit` computes on.

    Parameters
    ----------
    name : str
        The parameter `device` of the estimator.
    dtype : torch.dtype
        The dtype to compute in.
    flops : float
        Number of floating-point operations in one step.

    Raises
    ------
    ValueError
        If the device is absent, or cannot hold `dtype`.
    """
    if name == "auto":
        candidates = ["cuda"] if dtype == torch.float64 else ["cuda", "mps"]
        if flops < ACCELERATE_FROM:
            candidates = []
        name = next((kind for kind in candidates if is_present(kind)), "cpu")
    if not is_present(name):
        raise ValueError(
            f"The 'device' parameter is {name!r}, which torch {torch.__version__} cannot use here:"
            " there is no such device, or this build of torch does not support it (`python -m sknn`"
            f" lists the available devices). It must be {_KINDS}. Choose an available device, or"
            " device='cpu'."
        )
    device = torch.device(name)
    if device.type == "mps" and dtype == torch.float64:
        raise ValueError(
            "The 'device' parameter is 'mps', which does not support float64."
            " Set dtype='float32', or device='cpu'."
        )
    return device


def check_device(name: str, dtype: np.dtype) -> None:
    """Raise the error that `resolve_device` would raise, if any."""
    resolve_device(name, torch_dtype(dtype), flops=0.0)


def free_memory(device: torch.device) -> float:
    """Return how many bytes are free on a device, or infinity where torch cannot tell."""
    if device.type == "cuda":
        # Memory that torch has reserved but does not use is free for new tensors.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device.index)[0] + unused
    if device.type == "mps":
        return _compat.mps_memory() - torch.mps.driver_allocated_memory()
    return math.inf


@contextmanager
def memory_given_back(device: torch.device) -> Iterator[None]:
    """Run the body, then give the memory that torch's allocator has cached back to the device.

    An exception refers to the frames that it passed through, and these refer to tensors. So the
    frames are cleared: a notebook keeps the last exception for a long time.
    """
    try:
        yield
    except BaseException as error:
        if device.type != "cpu":
            traceback.clear_frames(error.__traceback__)
        raise
    finally:
        _empty_cache(device)


def _empty_cache(device: torch.device) -> None:
    if device.type != "cpu" and hasattr(getattr(torch, device.type, None), "empty_cache"):
        getattr(torch, device.type).empty_cache()


def fits(n_bytes: int, device: torch.device) -> bool:
    """Return whether data of this size are moved to a device as a whole, rather than in chunks."""
    return device.type == "cpu" or n_bytes <= SHARE_OF_MEMORY * free_memory(device)
