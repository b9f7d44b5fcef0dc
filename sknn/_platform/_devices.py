"""The user's `device` and `dtype`, resolved or refused."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from sknn._platform import _compat

_KINDS = "'cpu', 'cuda', 'cuda:1', 'mps' or another device string of torch, or 'auto'"

# Floating-point operations of one step (as `flops_per_step` counts them) from which "auto" takes an
# accelerator. Reckoned, not measured on one: the host starts 30 to 50 kernels a step at some 5 us
# each, so no step takes less than about 200 us there; in that time two cores of a CPU do 5e7.
ACCELERATE_FROM = 1e8

# Of a device's free memory, the most that data take up whole; the rest is for the network.
SHARE_OF_MEMORY = 0.5


_DTYPES = {np.dtype(name): getattr(torch, name) for name in ("float32", "float64", "int64")}


def torch_dtype(dtype: np.dtype) -> torch.dtype:
    """Torch's name for NumPy's float32, float64 or int64."""
    return _DTYPES[np.dtype(dtype)]


def is_present(name: str) -> bool:
    """Whether a tensor can be put on the device of this name, in this process, now."""
    if name == "cpu":
        return True
    try:
        device = torch.device(name)
        if device.type == "meta":
            return False
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        # Torch's ways of saying: no such string, not compiled in, not found.
        return False
    return True


def resolve_device(name: str, dtype: torch.dtype, flops: float) -> torch.device:
    """The device that `fit` computes on, in steps of so many operations.

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
            " there is no such device, or this build of torch is not made for it (`python -m sknn`"
            f" lists what there is). Allowed are {_KINDS}. Choose a device that is present, or"
            " device='cpu'."
        )
    device = torch.device(name)
    if device.type == "mps" and dtype == torch.float64:
        raise ValueError(
            "The 'device' parameter is 'mps', which has no float64."
            " Set dtype='float32', or device='cpu'."
        )
    return device


def check_device(name: str, dtype: np.dtype) -> None:
    """Raise what `resolve_device` raises."""
    resolve_device(name, torch_dtype(dtype), flops=0.0)


def free_memory(device: torch.device) -> float:
    """Bytes that can be had on a device; infinite where torch does not know."""
    if device.type == "cuda":
        # What torch holds and does not use is free to us.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device.index)[0] + unused
    if device.type == "mps":
        return _compat.mps_memory() - torch.mps.driver_allocated_memory()
    return math.inf


@contextmanager
def memory_given_back(device: torch.device) -> Iterator[None]:
    """Run the body, then return to the device what torch's allocator keeps for the next tensors.

    An error holds the frames that it came through, and they the tensors. So these frames are
    cleared: in a notebook, the last error stays for long.
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
    """Whether data of this size are moved to a device at once, rather than in chunks."""
    return device.type == "cpu" or n_bytes <= SHARE_OF_MEMORY * free_memory(device)
