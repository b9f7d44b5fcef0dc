"""Run programs in an interpreter of their own, with a time limit."""

from __future__ import annotations

import os
import subprocess
import sys

PREAMBLE = """
import os, sys, threading, time, warnings
import numpy as np
warnings.simplefilter("ignore")
"""


def run(program, *arguments, seconds=300, **environment):
    """Return the lines that a program prints.

    The test fails if the program fails, or has not ended after `seconds`.
    """
    # The program has a process group of its own, so that hanging forked children are killed too.
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", PREAMBLE + program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=hasattr(os, "killpg"),
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, 9)
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"hangs after {out}\n{err}") from None
    assert process.returncode == 0, f"{out}\n{err}"
    return out.splitlines()
