"""Limit the number of threads during a call, if its work is too small to share.

Small steps run on one thread: a barrier between two threads costs microseconds, and many times that
while idle threads of another library still spin on the other core. That is true of torch's threads
and of those of NumPy's BLAS.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
from threadpoolctl import LibController, ThreadpoolController

from sknn._platform._fork import call_in_forked_children, inherits_torch

# Several threads of torch or of NumPy's BLAS pay off if one step needs at least this many
# floating-point operations in float32 (one in float64 counts as two).
# `examples/benchmarks/choices.py` measured it on an idle machine with two cores. NumPy's threads
# pay off a little earlier, but if the other core is busy, they then cost more than they gain.
PARALLEL_FROM = 4e7

_lock = threading.Lock()
_in_this_thread = threading.local()
_torch_limits: set[_TorchLimit] = set()
_n_torch_threads_outside = 0
_blas_limits: set[_BlasLimit] = set()
_n_blas_threads_outside: list[int] = []  # The number of each library, before the first limit.


def is_worth_sharing(flops: float) -> bool:
    """Return whether several threads finish a step of `flops` operations sooner than one."""
    return flops >= PARALLEL_FROM


def threads_for(flops: float) -> AbstractContextManager[None]:
    """Run the body on one thread of torch if a step has too few operations (`flops`) to share.

    A process that was forked from one with torch does all its work on one thread: see `_fork`.

    Torch's number of threads belongs partly to the process (new threads inherit it) and partly to
    each thread (for OpenMP). So every body restores the number of its own thread. A thread that
    finds 1 while other bodies run may have inherited their limit: it restores the number that the
    first of them found. A body inside another one of the same thread changes nothing.
    """
    is_shared = is_worth_sharing(flops) and not inherits_torch()
    if is_shared or getattr(_in_this_thread, "limit", None) in _torch_limits:
        return nullcontext()
    return _limited(_TorchLimit())


def one_blas_thread() -> AbstractContextManager[None]:
    """Run the body with NumPy's BLAS on one thread, where that is possible.

    The number of threads belongs to the process. If bodies overlap in several threads, the last one
    to end restores it. The number is not changed while a thread outside of this package holds a
    limit of threadpoolctl.
    """
    return _limited(_BlasLimit())


@contextmanager
def _limited(limit: _TorchLimit | _BlasLimit) -> Iterator[None]:
    """Run the body with a limit.

    A signal can arrive at any time, and its handler may raise. So the limit is lifted twice: if the
    handler raises during the first call, the second one does the rest.
    """
    try:
        try:
            limit.set()
            yield
        finally:
            limit.lift()
    finally:
        limit.lift()


class _TorchLimit:
    """A limit of one torch thread for the Python thread that sets it."""

    def __init__(self) -> None:
        self.n_before: int | None = None

    def set(self) -> None:
        global _n_torch_threads_outside
        with _lock:
            n_before = torch.get_num_threads()
            if not _torch_limits:
                _n_torch_threads_outside = n_before
            elif n_before == 1:
                n_before = _n_torch_threads_outside
            self.n_before = n_before
            _torch_limits.add(self)
        _in_this_thread.limit = self
        torch.set_num_threads(1)

    def lift(self) -> None:
        if self.n_before is None:
            return
        with _lock:
            _torch_limits.discard(self)
            torch.set_num_threads(self.n_before)
        _in_this_thread.limit = None
        self.n_before = None


class _BlasLimit:
    """A limit of one thread for the libraries of NumPy's BLAS."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def set(self) -> None:
        with _lock:
            if not _blas_limits:
                _n_blas_threads_outside[:] = [library.num_threads for library in _blas()]
                if max(_n_blas_threads_outside, default=1) == 1:
                    return
            _blas_limits.add(self)
            _set_blas_threads([1] * len(_n_blas_threads_outside))

    def lift(self) -> None:
        with _lock:
            if _blas_limits == {self}:
                _set_blas_threads(_n_blas_threads_outside)
            _blas_limits.discard(self)


def _set_blas_threads(numbers: list[int]) -> None:
    for library, number in zip(_blas(), numbers, strict=True):
        library.set_num_threads(number)
        # In newer versions of threadpoolctl, only the thread that has set a number may set it
        # again, until it gives up control.
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread()


@cache
def _blas() -> list[LibController]:
    """Return the BLAS libraries of the process. They are searched once, which takes 1 ms."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _forget_other_threads() -> None:
    """Drop the lock and the limits of other threads in a forked child: they do not exist there."""
    global _lock
    _lock = threading.Lock()
    _torch_limits.intersection_update([getattr(_in_this_thread, "limit", None)])
    for limit in list(_blas_limits):
        if limit.thread != threading.get_ident():
            limit.lift()


call_in_forked_children(_forget_other_threads)
