"""Whether a fit is one of many in a larger run, such as a search or a cross-validation.

A larger run goes on after a fit that returns, so a fit in it must not return a half-trained model.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading

# Libraries that call functions as tasks of a larger run. scikit-learn's searches, validations and
# curves, and most of its ensembles, fit through joblib, with n_jobs=1 too.
_RUNNERS = ("joblib", "optuna")


def is_part_of_larger_run() -> bool:
    """Return whether joblib or Optuna is among the callers of what this thread runs now."""
    frame = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _RUNNERS:
            return True
        frame = frame.f_back
    return False


def runs_beside_others() -> bool:
    """Return whether other tasks of a larger run may be running at the same time.

    joblib and Optuna run tasks side by side in threads, or in processes of multiprocessing.
    """
    is_in_worker = (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    )
    return is_in_worker and is_part_of_larger_run()
