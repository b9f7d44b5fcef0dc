"""Measurements that need a process of their own, and the peak of memory in it."""

import ctypes
import gc
import multiprocessing
import sys
import warnings
from collections.abc import Callable
from typing import Any

from sklearn.exceptions import ConvergenceWarning


def in_fresh_process(function: Callable, *args: Any) -> Any:
    """Return what a function of a module returns when a new Python calls it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_quietly, (function, *args))


def _quietly(function, *args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    return function(*args)


def megabytes_beyond(function: Callable, *args: Any) -> tuple[float, Any]:
    """Return by how much a call raises the memory of this process at its peak, and its result.

    Memory is what the process holds in RAM, in units of 1e6 bytes, libraries and all. Linux can
    forget an earlier peak; elsewhere, a call whose peak is below an earlier one counts as 0.
    """
    _return_free_memory()
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        before = _high_water()
        result = function(*args)
        return _high_water() - before, result
    before = _status("VmRSS")
    result = function(*args)
    return _status("VmHWM") - before, result


def _return_free_memory() -> None:
    """Give the system what the allocator keeps: a call that takes it up would seem to need none."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc
        libc.malloc_trim(0)


def _status(name: str) -> float:
    with open("/proc/self/status") as lines:
        kilobytes = next(line for line in lines if line.startswith(name)).split()[1]
    return int(kilobytes) * 1024 / 1e6


def _high_water() -> float:
    import resource  # Windows has none

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
