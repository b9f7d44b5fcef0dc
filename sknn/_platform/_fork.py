"""What a forked process has to know of its parent.

A fork copies one thread alone. GNU's OpenMP, which torch's wheels for Linux bring, waits forever in
the child for the threads of a parallel region that the parent has run. NumPy's OpenBLAS starts
its own anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_inherits_torch = False


def inherits_torch() -> bool:
    """Whether this process was forked from one that had imported torch."""
    return _inherits_torch


def in_each_child(function: Callable[[], None]) -> None:
    """Call a function in every process that is forked from this one, before anything else."""
    if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
        os.register_at_fork(after_in_child=function)


def _note_torch() -> None:
    global _inherits_torch
    _inherits_torch = "torch" in sys.modules


in_each_child(_note_torch)
