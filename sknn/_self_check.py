"""Checks that the package works on this machine, by a few seconds of training on digits.

Each check returns a text that says what it has found, or raises `CheckFailed`.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sknn._environment import device_names

# Largest relative difference that rounding may cause in ten epochs of float64, as in the tests.
TOLERANCE = 1e-6
LEAST_ACCURACY = 0.9


class CheckFailed(Exception):
    """Raised by a check that has found something wrong. The message says what."""


@cache
def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of scikit-learn's digits, the labels, and a mask of the rows for testing."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16, y, np.arange(len(y)) % 4 == 0


def _fitted(estimator: Any) -> Any:
    """Fit an estimator to three quarters of the digits, without the warning of too few epochs."""
    from sklearn.exceptions import ConvergenceWarning

    X, y, is_test = _digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X[~is_test], y[~is_test])


def _network(**parameters: Any) -> Any:
    """Return a classifier that learns the digits in a few epochs."""
    from sknn import FeedForwardClassifier

    parameters = {"max_iter": 50, "learning_rate_init": 0.005, "random_state": 0, **parameters}
    return FeedForwardClassifier((50,), **parameters)


def check_accuracy(device: str) -> str:
    """Check that a network learns digits on a device, in float32, which all devices have."""
    model = _fitted(_network(device=device, dtype="float32"))
    X, y, is_test = _digits()
    accuracy = model.score(X[is_test], y[is_test])
    found = f"accuracy {accuracy:.3f}, expected at least {LEAST_ACCURACY}"
    if not accuracy >= LEAST_ACCURACY:
        raise CheckFailed(found)
    return found


def check_same_as_sklearn() -> str:
    """Check that the same seed gives the same model as in scikit-learn."""
    from sklearn.neural_network import MLPClassifier

    parameters = {"max_iter": 10, "random_state": 0}
    ours = _fitted(_network(learning_rate_init=0.001, **parameters))
    theirs = _fitted(MLPClassifier((50,), **parameters))
    difference = max(
        float(np.abs(a - b).max() / np.abs(b).max())
        for a, b in zip(
            [*ours.coefs_, *ours.intercepts_, np.array(ours.loss_curve_)],
            [*theirs.coefs_, *theirs.intercepts_, np.array(theirs.loss_curve_)],
            strict=True,
        )
    )
    found = f"largest relative difference {difference:.1e}, expected at most {TOLERANCE:.0e}"
    if not difference <= TOLERANCE:
        raise CheckFailed(found)
    return found


def check_round_trip() -> str:
    """Check that a model predicts the same, bit by bit, after `save` and `load`."""
    from sknn import load

    model = _fitted(_network(max_iter=3))
    X, _, _ = _digits()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.safetensors"
        model.save(path)
        n_bytes = path.stat().st_size
        again = load(path)
    if not np.array_equal(again.predict_proba(X), model.predict_proba(X)):
        raise CheckFailed("the loaded model and the saved model predict different probabilities")
    return f"{n_bytes:,} bytes, the same probabilities"


def checks() -> dict[str, Callable[[], str]]:
    """Return the checks by their names, with a check of the accuracy for each device."""
    return {
        **{f"digits on {name}": partial(check_accuracy, name) for name in device_names()},
        "the same model as scikit-learn's": check_same_as_sklearn,
        "save and load": check_round_trip,
    }
