"""The curves of a training, with a value for each epoch, and its best epoch.

The functions take fitted estimators of this package and MLPs of scikit-learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sknn._training._fitted_names import FITTED_NAMES, restored_epoch

# Name of the attribute that holds each curve.
CURVES = {fitted.curve: fitted.name for fitted in FITTED_NAMES if fitted.curve}


def curves_of(network: Any) -> dict[str, np.ndarray]:
    """Return the curves that a fitted network has, all of equal length.

    Parameters
    ----------
    network : FeedForwardClassifier, FeedForwardRegressor, MLPClassifier or MLPRegressor
        A fitted network.

    Returns
    -------
    dict of str to ndarray of shape (n_epochs,)
        The keys are 'epoch', whose values count from 1, 'loss', and those of 'validation_loss',
        'validation_score' and 'learning_rate' that the network has. Validation may have begun in a
        later call than the first (with `warm_start`); values of earlier epochs are NaN then.

    Raises
    ------
    ValueError
        If the network has recorded no epoch.
    """
    losses = getattr(network, CURVES["loss"], None)
    if not losses:
        reason = "its training was interrupted in the first epoch. Fit it again."
        if losses is None and network.solver == "lbfgs":
            reason = (
                "solver='lbfgs' does not record one, because it has no epochs. Use a stochastic"
                " solver ('adam', 'sgd')."
            )
        elif not hasattr(network, "loss_"):
            reason = "its weights were set by hand, without training. Call 'fit' first."
        raise ValueError(f"{type(network).__name__} has no loss curve: {reason}")
    curves = {"epoch": np.arange(1, len(losses) + 1)}
    validated = [i for i, r in enumerate(getattr(network, "_history", ())) if "valid_score" in r]
    for name, attribute in CURVES.items():
        values = getattr(network, attribute, None)
        # Losses that are all NaN come from an MLP of scikit-learn, which has kept none.
        if values and not (name == "validation_loss" and np.isnan(values).all()):
            # Once validation has begun, every later epoch has a value, except in a last wave.
            at = validated if len(validated) == len(values) else slice(-len(values), None)
            curves[name] = np.full(len(losses), np.nan)
            curves[name][at] = values
    return curves


def is_by_epochs(network: Any) -> bool:
    """Return whether the curves of a network are those of its last training.

    `solver="lbfgs"` with `warm_start` leaves the curves of an earlier training, as in scikit-learn.
    """
    losses = getattr(network, CURVES["loss"], None)
    loss = getattr(network, "loss_", np.nan)  # Weights set by hand may be without one.
    return bool(losses) and np.array_equal(loss, losses[-1], equal_nan=True)


def best_epoch_of(network: Any) -> int | None:
    """Return the epoch, counted from 1, whose weights early stopping has restored.

    Returns
    -------
    int or None
        The epoch. It is None without early stopping, which leaves the weights of the last epoch; if
        no epoch was better than the weights that training started from, which have no record; and
        if `solver="lbfgs"` has continued the training.
    """
    if not is_by_epochs(network):
        return None
    attributes = vars(network)
    return attributes["best_epoch_"] if "best_epoch_" in attributes else restored_epoch(attributes)
