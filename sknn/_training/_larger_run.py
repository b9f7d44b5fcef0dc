"""Whether a fit is one of many in a larger run, such as a search or a cross-validation.

A larger run goes on after a fit that returns, so a fit in it must not return a half-trained model.
"""

from __future__ import annotations

import sys
import threading

# Libraries that call functions as tasks of a larger run. scikit-learn's searches, validations and
# curves, and most of its ensembles, fit through joblib, with n_jobs=1 too.
_RUNNERS = ("joblib", "optuna")


def is_part_of_larger_run() -> bool:
    """Return whether joblib or Optuna is among the callers of what this thread runs now."""
    return not _callers().isdisjoint(_RUNNERS)


def runs_beside_others() -> bool:
    """Return whether other tasks of a larger run may be running at the same time.

    joblib and Optuna run tasks side by side in threads, or in processes of multiprocessing.
    """
    is_in_thread = threading.current_thread() is not threading.main_thread()
    return is_part_of_larger_run() and (is_in_thread or "multiprocessing" in _callers())


def _callers() -> set[str]:
    """Return the names of the packages whose functions this thread is in."""
    names, frame = set(), sys._getframe()
    while frame is not None:
        names.add(str(frame.f_globals.get("__name__")).partition(".")[0])
        frame = frame.f_back
    return names
