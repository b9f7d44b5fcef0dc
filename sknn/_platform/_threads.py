"""How many threads a piece of work is worth, for the time of one call.

Small steps belong on one thread: a barrier between two threads costs microseconds, and many
times that while another library's idle threads still spin on the other core. That holds for
torch's threads and for those of NumPy's BLAS.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
from threadpoolctl import LibController, ThreadpoolController

from sknn._platform._fork import in_each_child, inherits_torch

# Floating-point operations of one step (of float32: one of float64 counts as two) from which
# several threads pay, of torch or of NumPy's BLAS, on an idle machine of two cores;
# `examples/benchmarks/choices.py` measures it. NumPy's pay a little sooner, but then a busy other
# core costs more than they give.
PARALLEL_FROM = 4e7

_lock = threading.Lock()
_in_this_thread = threading.local()
_torch_limits: set[_TorchLimit] = set()
_n_outside = 0
_blas_limits: set[_BlasLimit] = set()
_blas_outside: list[int] = []  # of each library, before the first of the limits


def is_worth_sharing(flops: float) -> bool:
    """Whether several threads finish a step of so many operations sooner than one."""
    return flops >= PARALLEL_FROM


def threads_for(flops: float) -> AbstractContextManager[None]:
    """Run the body on one of torch's threads if `flops` a step are too few to share.

    In a process that was forked from one with torch, all work is on one thread: see `_fork`.

    Torch's number of threads belongs partly to the process (new threads take it over) and partly
    to each thread (OpenMP's). So every body puts back the number of its own thread. A thread that
    finds 1 while other bodies run may have taken over theirs: it puts back the number that the
    first of them found. A body inside another of the same thread changes nothing.
    """
    is_shared = is_worth_sharing(flops) and not inherits_torch()
    if is_shared or getattr(_in_this_thread, "limit", None) in _torch_limits:
        return nullcontext()
    return _kept(_TorchLimit())


def one_blas_thread() -> AbstractContextManager[None]:
    """Run the body with NumPy's BLAS on one thread, as far as that can be had.

    The number belongs to the process. It is put back when the last of the bodies that overlap in
    several threads has ended; it stays as it is where a thread that does not belong to this package
    holds a limit of threadpoolctl.
    """
    return _kept(_BlasLimit())


@contextmanager
def _kept(limit: _TorchLimit | _BlasLimit) -> Iterator[None]:
    """Run the body with a limit.

    A signal can come at any time, and its handler may raise. So a limit can be lifted twice, and
    is: the second time does what is left to do where the handler raises amid the first.
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
    """One of torch's threads for this one of Python's."""

    def __init__(self) -> None:
        self.n_before: int | None = None

    def set(self) -> None:
        global _n_outside
        with _lock:
            n_before = torch.get_num_threads()
            if not _torch_limits:
                _n_outside = n_before
            elif n_before == 1:
                n_before = _n_outside
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
    """One thread for the libraries of NumPy's BLAS."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def set(self) -> None:
        with _lock:
            if not _blas_limits:
                _blas_outside[:] = [library.num_threads for library in _blas()]
                if max(_blas_outside, default=1) == 1:
                    return
            _blas_limits.add(self)
            _set_blas_threads([1] * len(_blas_outside))

    def lift(self) -> None:
        with _lock:
            if _blas_limits == {self}:
                _set_blas_threads(_blas_outside)
            _blas_limits.discard(self)


def _set_blas_threads(numbers: list[int]) -> None:
    for library, number in zip(_blas(), numbers, strict=True):
        library.set_num_threads(number)
        # Newer versions of threadpoolctl let the thread that has set a number set others, and no
        # other one, until it says that it is done.
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread()


@cache
def _blas() -> list[LibController]:
    """The BLAS libraries of the process, looked for once: that takes a millisecond."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _forget_other_threads() -> None:
    """In a child: threads that held the lock, or had set a limit, are not there any more."""
    global _lock
    _lock = threading.Lock()
    _torch_limits.intersection_update([getattr(_in_this_thread, "limit", None)])
    for limit in list(_blas_limits):
        if limit.thread != threading.get_ident():
            limit.lift()


in_each_child(_forget_other_threads)
