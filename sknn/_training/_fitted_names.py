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
    """

    name: str
    setter: str
    in_sklearn: bool = False
    curve: str = ""


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
    FittedName("loss_curve_", STOCHASTIC, in_sklearn=True, curve="loss"),
    FittedName("learning_rate_curve_", STOCHASTIC, curve="learning_rate"),
    FittedName("validation_scores_", STOCHASTIC, in_sklearn=True, curve="validation_score"),
    FittedName("validation_loss_curve_", STOCHASTIC, curve="validation_loss"),
    FittedName("best_loss_", STOCHASTIC, in_sklearn=True),
    FittedName("best_validation_score_", STOCHASTIC, in_sklearn=True),
    FittedName("_no_improvement_count", STOCHASTIC, in_sklearn=True),
    FittedName("_watched", STOCHASTIC),
    FittedName("_solver_state", STOCHASTIC),
)


def names_set_by(*setters: str) -> tuple[str, ...]:
    """Return the names of the attributes that these kinds of fits set."""
    return tuple(fitted.name for fitted in FITTED_NAMES if fitted.setter in setters)


# `Progress` holds the values of these, under names without underscores at the ends.
PROGRESS_OF = {
    name: name.strip("_") for name in names_set_by(STOCHASTIC) if name != "_solver_state"
}
