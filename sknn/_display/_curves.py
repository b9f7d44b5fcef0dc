"""What a fitted estimator tells of its training, epoch by epoch: curves, and the best epoch.

Of this package's estimators and of scikit-learn's MLPs, also inside of a Pipeline or a search.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sknn._fitted import FittedNetwork

# Of each curve, the attribute.
CURVES = {
    "loss": "loss_curve_",
    "validation_loss": "validation_loss_curve_",
    "validation_score": "validation_scores_",
    "learning_rate": "learning_rate_curve_",
}


def network_in(estimator: Any) -> Any:
    """The fitted network in an estimator.

    Parameters
    ----------
    estimator : object
        A network of this package or of scikit-learn; a Pipeline that ends with one; a search whose
        best estimator is one, or a TransformedTargetRegressor around one; or these in each other.

    Returns
    -------
    FeedForwardClassifier, FeedForwardRegressor, MLPClassifier or MLPRegressor

    Raises
    ------
    NotFittedError
        If it is not fitted.
    TypeError
        If there is no such network.
    ValueError
        If a search has kept no estimator.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, (FittedNetwork, MLPClassifier, MLPRegressor)):
        check_is_fitted(estimator)
        return estimator
    if isinstance(estimator, Pipeline):
        return network_in(estimator.steps[-1][1])
    if isinstance(estimator, BaseSearchCV):
        if not estimator.refit:
            raise ValueError(
                f"{type(estimator).__name__} has refit=False, with which it keeps no estimator. Set"
                " refit=True, or give an estimator that you have fitted with its best_params_."
            )
        check_is_fitted(estimator)
        return network_in(estimator.best_estimator_)
    if isinstance(estimator, TransformedTargetRegressor):
        check_is_fitted(estimator)
        return network_in(estimator.regressor_)
    raise TypeError(
        f"There is no network in {estimator!r}. Give a fitted FeedForwardClassifier,"
        " FeedForwardRegressor, or MLPClassifier or MLPRegressor of scikit-learn; or a Pipeline"
        " that ends with one, a search whose best_estimator_ is one, or a"
        " TransformedTargetRegressor of one."
    )


def curves_of(network: Any) -> dict[str, np.ndarray]:
    """The curves that a fitted network has, of equal length.

    Parameters
    ----------
    network : FeedForwardClassifier, FeedForwardRegressor, MLPClassifier or MLPRegressor

    Returns
    -------
    dict of str to ndarray of shape (n_epochs,)
        'epoch', counted from 1, 'loss', and as far as the network has them 'validation_loss',
        'validation_score' and 'learning_rate'. Validation may have begun in a later call than the
        first (with `warm_start`): epochs before are NaN.

    Raises
    ------
    ValueError
        If there is no epoch of which to tell.
    """
    losses = getattr(network, CURVES["loss"], None)
    if not losses:
        reason = (
            "solver='lbfgs' keeps none: it has no epochs. Use a stochastic solver ('adam', 'sgd')."
            if losses is None
            else "its training was interrupted in the first epoch. Fit it again."
        )
        raise ValueError(f"{type(network).__name__} has no loss curve: {reason}")
    curves = {"epoch": np.arange(1, len(losses) + 1)}
    for name, attribute in CURVES.items():
        values = getattr(network, attribute, None)
        # Losses that are all NaN stand for those that scikit-learn's MLP did not keep.
        if values and not (name == "validation_loss" and np.isnan(values).all()):
            # Scores that are there have been taken in every epoch since the first of them.
            curves[name] = np.full(len(losses), np.nan)
            curves[name][len(losses) - len(values) :] = values
    return curves


def is_by_epochs(network: Any) -> bool:
    """Whether the last training is the one whose curves a network has.

    `solver="lbfgs"` with `warm_start` leaves the curves of a training before, as in scikit-learn.
    """
    losses = getattr(network, CURVES["loss"], None)
    return bool(losses) and np.array_equal(network.loss_, losses[-1], equal_nan=True)


def best_epoch_of(network: Any) -> int | None:
    """The epoch whose weights a network has, by early stopping; counted from 1.

    Returns
    -------
    int or None
        None without early stopping, where the weights are those of the last epoch; where no epoch
        was better than the weights that training started from, of which no record is left; and
        where `solver="lbfgs"` has gone on.
    """
    scores = getattr(network, "validation_scores_", None)
    # Without early stopping the best loss is kept, in scikit-learn too.
    if not scores or network.best_loss_ is not None or not is_by_epochs(network):
        return None
    n_before = len(network.loss_curve_) - len(scores)
    # Our records tell which weights were kept: with `warm_start` on other rows, the best score
    # is that of the last call, and an equal one may stand in the curve before.
    records = getattr(network, "_history", [])[-len(scores) :]
    if any("valid_score_best" in record for record in records):
        kept = [i for i, record in enumerate(records, 1) if record.get("valid_score_best")]
        return n_before + kept[-1] if kept else None
    (kept,) = np.nonzero(np.equal(scores, network.best_validation_score_))
    return n_before + int(kept[0]) + 1 if len(kept) else None
