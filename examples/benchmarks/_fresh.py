"""Run measurements in a new process, and measure the peak memory of a process."""

import ctypes
import gc
import multiprocessing
import sys
import warnings
from collections.abc import Callable
from typing import Any

from sklearn.exceptions import ConvergenceWarning


def in_fresh_process(function: Callable, *args: Any) -> Any:
    """Call a function of a module in a new Python process and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_quietly, (function, *args))


def _quietly(function, *args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    return function(*args)


def megabytes_beyond(function: Callable, *args: Any) -> tuple[float, Any]:
    """Return by how much a call raises the peak memory of this process, and its result.

    The memory is the resident memory of the process in units of 1e6 bytes, including its libraries.
    On Linux, an earlier peak can be reset. On other systems, a call whose peak is below an earlier
    one counts as 0.
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
    """Return unused memory to the system, so that a later call cannot reuse it."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc
        libc.malloc_trim(0)


def _status(name: str) -> float:
    with open("/proc/self/status") as lines:
        kilobytes = next(line for line in lines if line.startswith(name)).split()[1]
    return int(kilobytes) * 1024 / 1e6


def _high_water() -> float:
    import resource  # not available on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
