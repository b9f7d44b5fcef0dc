"""Whether a fit is one of many in a larger run, such as a search or a cross-validation.

A larger run goes on after a fit that returns, so a fit in it must not return a half-trained model.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType

# Libraries that call functions as tasks of a larger run. scikit-learn's searches, validations and
# curves, and most of its ensembles, fit through joblib, with n_jobs=1 too.
_RUNNERS = ("joblib", "optuna")
# Modules of scikit-learn whose functions fit several times without joblib. They are compared by
# name, because not every version of scikit-learn has them.
_THRESHOLDS = "sklearn.model_selection._classification_threshold"
_LOOPS = {
    "sklearn.ensemble._weight_boosting",  # AdaBoostClassifier and AdaBoostRegressor
    "sklearn.feature_selection._rfe",
    "sklearn.impute._iterative",
    "sklearn.linear_model._ransac",
    _THRESHOLDS,
    "sklearn.model_selection._validation",  # the first fits of permutation_test_score
    "sklearn.multioutput",  # ClassifierChain and RegressorChain
    "sklearn.semi_supervised._self_training",
}


def is_part_of_larger_run() -> bool:
    """Return whether one of the callers of what this thread runs now fits several times.

    These callers are joblib, Optuna, and the modules of scikit-learn that fit in a loop.
    """
    return any(_is_task(frame) or _is_in_loop(frame) for frame in _callers())


def runs_beside_others() -> bool:
    """Return whether other tasks of a larger run may be running at the same time.

    joblib and Optuna run tasks side by side in threads, or in processes of multiprocessing.
    """
    if not any(map(_is_task, _callers())):
        return False
    is_in_thread = threading.current_thread() is not threading.main_thread()
    return is_in_thread or any(_package(frame) == "multiprocessing" for frame in _callers())


def _is_task(frame: FrameType) -> bool:
    """Return whether a function is one of a library that runs tasks."""
    return _package(frame) in _RUNNERS


def _is_in_loop(frame: FrameType) -> bool:
    """Return whether a function belongs to what fits in a loop in scikit-learn."""
    module = _module(frame)
    if module == _THRESHOLDS:  # FixedThresholdClassifier fits only once, and has no folds.
        return hasattr(frame.f_locals.get("self"), "cv")
    return module in _LOOPS


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _package(frame: FrameType) -> str:
    return _module(frame).partition(".")[0]


def _callers() -> Iterator[FrameType]:
    """Yield the functions that this thread is in."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
