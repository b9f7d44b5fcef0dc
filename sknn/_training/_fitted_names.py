"""The names of the attributes that a fit sets: one table, from which other modules derive theirs.

A file of `save`, an MLP of scikit-learn and the curves of a picture each hold some of them.
`complete_attributes` sets them where the user has set weights by hand.
"""

from __future__ import annotations

import copy
import math
import reprlib
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

ALL, CLASSIFIER, REGRESSOR = "every fit", "a classifier's fit", "a regressor's fit"
STOCHASTIC, NAMED = "a stochastic solver", "a fit to named columns"


class FittedName(NamedTuple):
    """One attribute that a fit sets.

    Attributes
    ----------
    name : str
        Name of the attribute.
    setter : str
        One of the constants above, which says which fits set the attribute.
    in_sklearn : bool
        Whether scikit-learn's MLP has the same attribute, so that a copy can stand in for it.
    curve : str
        Name of the curve, with one value for each epoch, that the attribute holds; an empty string
        for everything else.
    progress : str
        Name of the attribute of `Progress` that has the same value; an empty string if there is
        none.
    initial : object
        Value of the attribute before training; None also if it depends on the weights or the data.
    """

    name: str
    setter: str
    in_sklearn: bool = False
    curve: str = ""
    progress: str = ""
    initial: Any = None


FITTED_NAMES = (
    FittedName("n_features_in_", ALL, in_sklearn=True),
    FittedName("feature_names_in_", NAMED, in_sklearn=True),
    FittedName("classes_", CLASSIFIER, in_sklearn=True),
    FittedName("_label_binarizer", CLASSIFIER),
    FittedName("_n_targets", REGRESSOR),
    FittedName("_target_scaling", REGRESSOR),
    FittedName("coefs_", ALL),  # in scikit-learn, they include batch normalization
    FittedName("intercepts_", ALL),
    FittedName("module_state_", ALL),
    FittedName("loss_", ALL, in_sklearn=True, initial=math.nan),
    FittedName("n_iter_", ALL, in_sklearn=True, initial=0),
    FittedName("t_", ALL, in_sklearn=True, initial=0),
    FittedName("n_layers_", ALL, in_sklearn=True),
    FittedName("n_outputs_", ALL, in_sklearn=True),
    FittedName("out_activation_", ALL, in_sklearn=True),
    FittedName("device_", ALL, initial="cpu"),
    FittedName("callbacks_", ALL, initial=[]),
    FittedName("_history", ALL, initial=[]),
    FittedName("_notes", ALL, initial=[]),
    FittedName(
        "loss_curve_",
        STOCHASTIC,
        in_sklearn=True,
        curve="loss",
        progress="loss_curve",
        initial=[],
    ),
    FittedName(
        "learning_rate_curve_",
        STOCHASTIC,
        curve="learning_rate",
        progress="learning_rate_curve",
        initial=[],
    ),
    FittedName(
        "validation_scores_",
        STOCHASTIC,
        in_sklearn=True,
        curve="validation_score",
        progress="validation_scores",
    ),
    FittedName(
        "validation_loss_curve_",
        STOCHASTIC,
        curve="validation_loss",
        progress="validation_loss_curve",
    ),
    FittedName("best_loss_", STOCHASTIC, in_sklearn=True, progress="best_loss", initial=math.inf),
    FittedName(
        "best_validation_score_", STOCHASTIC, in_sklearn=True, progress="best_validation_score"
    ),
    FittedName("best_epoch_", STOCHASTIC, progress="best_epoch"),
    FittedName(
        "_no_improvement_count",
        STOCHASTIC,
        in_sklearn=True,
        progress="no_improvement_count",
        initial=0,
    ),
    FittedName("_watched", STOCHASTIC, progress="watched", initial=""),
    FittedName("_solver_state", STOCHASTIC, initial={}),
)

# The functions of the output layer that a classifier (True) and a regressor may have.
OUTPUT_ACTIVATIONS = {True: ("logistic", "softmax"), False: ("identity", "exp", "sort")}


def names_set_by(*setters: str) -> tuple[str, ...]:
    """Return the names of the attributes that these kinds of fits set."""
    return tuple(fitted.name for fitted in FITTED_NAMES if fitted.setter in setters)


# The attributes that have a counterpart in `Progress`, and its name there.
PROGRESS_OF = {fitted.name: fitted.progress for fitted in FITTED_NAMES if fitted.progress}


def complete_attributes(estimator: BaseEstimator) -> None:
    """Set the fitted attributes that follow from those that the user has set by hand.

    Attributes that are there stay as they are, but lists of weights become arrays. What nobody can
    know without the classes stays missing: `classes_`, `_label_binarizer` and, with several
    outputs, `out_activation_`.

    Parameters
    ----------
    estimator : FittedNetwork
        An estimator that has `coefs_` at least.

    Raises
    ------
    ValueError
        If the attributes that are there are not those of a network. The message says which ones to
        set.
    """
    units = _set_layers(estimator)
    is_classifier = not estimator._numeric_targets
    if hasattr(estimator, "out_activation_"):
        allowed = OUTPUT_ACTIVATIONS[is_classifier]
        if estimator.out_activation_ not in allowed:
            raise ValueError(
                f"out_activation_ is {estimator.out_activation_!r}. For a"
                f" {type(estimator).__name__}, it must be one of {', '.join(map(repr, allowed))}."
            )
    estimator._complete_targets(units[-1])
    network = estimator._network(units, estimator._fitted_members())
    found = {
        "n_features_in_": units[0],
        "n_layers_": len(units),
        "n_outputs_": units[-1],
        "module_state_": {},
    }
    if not network.is_plain and not hasattr(estimator, "module_state_"):
        from sknn._network._module import initial_state

        found["module_state_"] = initial_state(network, estimator._model_dtype())
    setters = [ALL]
    if any(hasattr(estimator, name) for name in names_set_by(STOCHASTIC)):
        setters.append(STOCHASTIC)
    for fitted in FITTED_NAMES:
        if fitted.setter in setters and fitted.name != "out_activation_":
            if not hasattr(estimator, fitted.name):
                value = found.get(fitted.name, fitted.initial)
                setattr(estimator, fitted.name, copy.copy(value))
    estimator._check_weights(network)


def restored_epoch(attributes: Mapping[str, Any]) -> int | None:
    """Return the epoch that early stopping has restored, of attributes without `best_epoch_`.

    scikit-learn's MLP and version 0.1 have kept the first epoch of the best score.
    """
    scores, losses = attributes.get("validation_scores_"), attributes.get("loss_curve_")
    # Only a training without early stopping keeps the best loss, in scikit-learn too. Attributes
    # from a file may be anything, and are checked later.
    if (
        type(scores) is not list
        or type(losses) is not list
        or attributes.get("best_loss_") is not None
    ):
        return None
    if attributes.get("best_validation_score_") not in scores:
        return None
    return len(losses) - len(scores) + scores.index(attributes["best_validation_score_"]) + 1


def with_later_names(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a model of version 0.1 with those that were added since."""
    added: dict[str, Any] = {}
    if "_n_targets" in attributes:  # The targets were learned as they are.
        added["_target_scaling"] = None
    if "coefs_" in attributes:
        added["_notes"] = []
    if "loss_curve_" in attributes:
        added["best_epoch_"] = restored_epoch(attributes)
    return added | attributes


def _set_layers(estimator: BaseEstimator) -> tuple[int, ...]:
    """Make the weights arrays, and return the numbers of features and of units in each layer."""
    if not hasattr(estimator, "intercepts_"):
        raise NotFittedError(
            f"This {type(estimator).__name__} has coefs_, but no intercepts_. Set both, or call"
            " 'fit'."
        )
    given = (estimator.coefs_, estimator.intercepts_)
    try:
        with warnings.catch_warnings():  # NumPy 1.23 warns of rows of different lengths
            warnings.simplefilter("ignore")
            coefs, intercepts = ([np.asarray(array) for array in arrays] for arrays in given)
        is_sound = len(coefs) == len(intercepts) > 0
        is_sound = is_sound and all(c.ndim in (2, 3) and c.size for c in coefs)
        is_sound = is_sound and all(i.ndim == coefs[0].ndim - 1 for i in intercepts)
        is_sound = is_sound and all(a.dtype.kind in "fiu" for a in (*coefs, *intercepts))
    except (TypeError, ValueError):  # not a list, or not arrays
        is_sound = False
    if not is_sound:
        coefs, intercepts = map(reprlib.repr, given)
        raise ValueError(
            f"coefs_ is {coefs} and intercepts_ is {intercepts}. They must be lists of equal length"
            " with one array of numbers for each layer. The shape of each array must be"
            " (n_in, n_out) in coefs_, and (n_out,) in intercepts_. If there are several members,"
            " the arrays have an additional leading dimension."
        )
    estimator.coefs_, estimator.intercepts_ = coefs, intercepts
    return (coefs[0].shape[-2], *(intercept.shape[-1] for intercept in intercepts))


def without_durations(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records of a history in which the durations of epochs are unknown, that is NaN.

    A clock would make the files of equal models differ.
    """
    return [{**record, "dur": math.nan} if "dur" in record else record for record in history]
