"""How many threads a piece of work is worth, for the time of one call.

Small steps belong on one thread: a barrier between two threads costs microseconds, and many
times that while another library's idle threads still spin on the other core. That holds for
torch's threads and for those of NumPy's BLAS.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

# Floating-point operations of one step (of float32: one of float64 counts as two) from which
# several threads pay, of torch or of NumPy's BLAS, on an idle machine of two cores;
# `examples/benchmarks/choices.py` measures it. NumPy's pay a little sooner, but then a busy other
# core costs more than they give.
PARALLEL_FROM = 4e7

_lock = threading.Lock()
_in_this_thread = threading.local()
_n_active = 0
_n_outside = 0
_blas_is_limited = False


def is_worth_sharing(flops: float) -> bool:
    """Whether several threads finish a step of so many operations sooner than one."""
    return flops >= PARALLEL_FROM


@contextmanager
def threads_for(flops: float) -> Iterator[None]:
    """Run the body on one of torch's threads if `flops` a step are too few to share.

    Torch's number of threads belongs partly to the process (new threads take it over) and partly
    to each thread (OpenMP's). So every body puts back the number of its own thread. A thread that
    finds 1 while other bodies run may have taken over theirs: it puts back the number that the
    first of them found. A body inside another of the same thread changes nothing.
    """
    if is_worth_sharing(flops) or getattr(_in_this_thread, "limited", False):
        yield
        return
    global _n_active, _n_outside
    entered = False
    try:
        with _lock:
            n_before = torch.get_num_threads()
            if _n_active == 0:
                _n_outside = n_before
            elif n_before == 1:
                n_before = _n_outside
            _n_active, entered = _n_active + 1, True
        _in_this_thread.limited = True
        torch.set_num_threads(1)
        yield
    finally:
        _in_this_thread.limited = False
        if entered:
            with _lock:
                _n_active -= 1
                torch.set_num_threads(n_before)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the body with NumPy's BLAS on one thread, as far as that can be had.

    The number belongs to the process, and threadpoolctl lets the thread of Python that has set it
    put it back. So another body that this one overlaps with may end its work on more threads:
    that costs time, and can change the last bits of large products.
    """
    global _blas_is_limited
    limit = None
    is_owner = False
    try:
        with _lock:
            if not _blas_is_limited and any(b.num_threads > 1 for b in _blas().lib_controllers):
                _blas_is_limited = is_owner = True
                limit = _blas().limit(limits=1).__enter__()
        yield
    finally:
        if is_owner:
            with _lock:
                try:
                    if limit is not None:
                        limit.__exit__(None, None, None)
                finally:
                    _blas_is_limited = False


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries of the process, looked for once: that takes a millisecond."""
    return ThreadpoolController().select(user_api="blas")
