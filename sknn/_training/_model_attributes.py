"""Convert a model to the fitted attributes of an estimator, and back."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from sknn._platform._memory_alignment import aligned
from sknn._training._fitted_names import PROGRESS_OF, STOCHASTIC, names_set_by
from sknn._training._problem import Model, Problem
from sknn._training._stopping import Progress


def model_of_attributes(estimator: BaseEstimator) -> Model:
    """Return the model that a fitted estimator holds."""
    progress = {
        name: getattr(estimator, attribute)
        for attribute, name in PROGRESS_OF.items()
        if hasattr(estimator, attribute)
    }
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    scaling = estimator._output_scaling()
    if scaling is not None:
        mean, scale = scaling
        last = (coefs[-1] / scale, (intercepts[-1] - mean) / scale)
        coefs, intercepts = (
            [*of[:-1], array.astype(of[-1].dtype)]
            for of, array in zip((coefs, intercepts), last, strict=True)
        )
    return Model(
        coefs,
        intercepts,
        estimator.module_state_,
        getattr(estimator, "_solver_state", None),
        Progress(**progress, n_samples_seen=getattr(estimator, "t_", 0)),
        getattr(estimator, "_history", []),
        loss=getattr(estimator, "loss_", np.nan),
    )


def set_attributes(estimator: BaseEstimator, model: Model, problem: Problem) -> None:
    """Set the fitted attributes of an estimator to those of a model."""
    for name in names_set_by(STOCHASTIC):
        vars(estimator).pop(name, None)
    if model.solver is not None:
        for attribute, name in PROGRESS_OF.items():
            setattr(estimator, attribute, getattr(model.progress, name))
        estimator._solver_state = model.solver
    coefs, intercepts = model.coefs, model.intercepts
    scaling = estimator._output_scaling()
    if scaling is not None:  # the last layer, which is linear, gets the units of the targets
        mean, scale = scaling
        last = (coefs[-1] * scale, intercepts[-1] * scale + mean)
        coefs, intercepts = (
            [*of[:-1], array.astype(of[-1].dtype)]
            for of, array in zip((coefs, intercepts), last, strict=True)
        )
    # The layout that a pickle gives to a stack of matrices, and that prediction needs.
    coefs = [np.ascontiguousarray(c) if c.ndim == 3 else c for c in coefs]
    estimator.coefs_ = [aligned(coef) for coef in coefs]
    estimator.intercepts_ = intercepts
    estimator.module_state_ = model.modules
    estimator.callbacks_ = model.callbacks
    estimator.loss_ = model.loss
    estimator.n_iter_ = model.n_iter
    estimator.t_ = model.progress.n_samples_seen
    estimator.n_layers_ = len(problem.network.layer_units)
    estimator.n_outputs_ = problem.network.layer_units[-1]
    estimator.out_activation_ = problem.loss.output_activation
    estimator.device_ = model.device
    estimator._history = model.history
    estimator._notes = [note.fact for note in model.notes]
