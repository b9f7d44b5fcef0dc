"""Tell a forked process what it has inherited from its parent.

A fork copies only the thread that calls it. If the parent has run a parallel region, GNU's OpenMP,
which torch's wheels for Linux contain, waits forever in the child for the threads of that region.
NumPy's OpenBLAS has no such problem: it starts new threads in the child.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_inherits_torch = False


def inherits_torch() -> bool:
    """Return whether this process was forked from one that had imported torch."""
    return _inherits_torch


def call_in_forked_children(function: Callable[[], None]) -> None:
    """Call a function in every process that is forked from this one, before it runs other code."""
    if hasattr(os, "register_at_fork"):  # Windows, which cannot fork, does not have it.
        os.register_at_fork(after_in_child=function)


def _note_torch() -> None:
    global _inherits_torch
    _inherits_torch = "torch" in sys.modules


call_in_forked_children(_note_torch)
