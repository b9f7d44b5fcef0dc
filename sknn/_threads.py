"""How many of torch's threads a piece of work is worth, for the time of one call.

Small steps belong on one thread: a barrier between two threads costs microseconds, and many
times that while another library's idle threads still spin on the other core.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Floating-point operations of one step from which several threads pay, on an idle machine of two
# cores; `examples/benchmarks/choices.py` measures it.
PARALLEL_FROM = 4e7

_lock = threading.Lock()
_in_this_thread = threading.local()
_n_active = 0
_n_outside = 0


@contextmanager
def threads_for(flops: float) -> Iterator[None]:
    """Run the body on one thread if `flops` a step are too few to share, else leave all as it is.

    Torch's number of threads belongs partly to the process (new threads take it over) and partly
    to each thread (OpenMP's). So every body puts back the number of its own thread. A thread that
    finds 1 while other bodies run may have taken over theirs: it puts back the number that the
    first of them found. A body inside another of the same thread changes nothing.
    """
    if flops >= PARALLEL_FROM or getattr(_in_this_thread, "limited", False):
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
