"""The names of the attributes that a fit sets: one table, from which other modules derive theirs.

A file of `save`, an MLP of scikit-learn and the curves of a picture each hold some of them.
"""

from __future__ import annotations

from typing import NamedTuple

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
    """

    name: str
    setter: str
    in_sklearn: bool = False
    curve: str = ""
    progress: str = ""


FITTED_NAMES = (
    FittedName("n_features_in_", ALL, in_sklearn=True),
    FittedName("feature_names_in_", NAMED, in_sklearn=True),
    FittedName("classes_", CLASSIFIER, in_sklearn=True),
    FittedName("_label_binarizer", CLASSIFIER),
    FittedName("_n_targets", REGRESSOR),
    FittedName("coefs_", ALL),  # in scikit-learn, they include batch normalization
    FittedName("intercepts_", ALL),
    FittedName("module_state_", ALL),
    FittedName("loss_", ALL, in_sklearn=True),
    FittedName("n_iter_", ALL, in_sklearn=True),
    FittedName("t_", ALL, in_sklearn=True),
    FittedName("n_layers_", ALL, in_sklearn=True),
    FittedName("n_outputs_", ALL, in_sklearn=True),
    FittedName("out_activation_", ALL, in_sklearn=True),
    FittedName("device_", ALL),
    FittedName("callbacks_", ALL),
    FittedName("_history", ALL),
    FittedName("loss_curve_", STOCHASTIC, in_sklearn=True, curve="loss", progress="loss_curve"),
    FittedName(
        "learning_rate_curve_", STOCHASTIC, curve="learning_rate", progress="learning_rate_curve"
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
    FittedName("best_loss_", STOCHASTIC, in_sklearn=True, progress="best_loss"),
    FittedName(
        "best_validation_score_", STOCHASTIC, in_sklearn=True, progress="best_validation_score"
    ),
    FittedName(
        "_no_improvement_count", STOCHASTIC, in_sklearn=True, progress="no_improvement_count"
    ),
    FittedName("_watched", STOCHASTIC, progress="watched"),
    FittedName("_solver_state", STOCHASTIC),
)


def names_set_by(*setters: str) -> tuple[str, ...]:
    """Return the names of the attributes that these kinds of fits set."""
    return tuple(fitted.name for fitted in FITTED_NAMES if fitted.setter in setters)


# The attributes that have a counterpart in `Progress`, and its name there.
PROGRESS_OF = {fitted.name: fitted.progress for fitted in FITTED_NAMES if fitted.progress}
