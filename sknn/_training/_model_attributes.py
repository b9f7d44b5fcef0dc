"""Convert a model to the fitted attributes of an estimator, and back."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from sknn._network._architecture import Network
from sknn._network._dropout import derived_seed
from sknn._network._module import initial_parameters
from sknn._platform._memory_alignment import aligned
from sknn._training._fitted_names import PROGRESS_OF, STOCHASTIC, names_set_by
from sknn._training._problem import Model, Problem
from sknn._training._stopping import Progress

# The key of `derived_seed` by which the weights of members are drawn. Dropout has other keys.
_KEY_OF_WEIGHTS = (0, 0)


def new_model(
    estimator: BaseEstimator,
    network: Network,
    random_state: np.random.RandomState,
    dtype: np.dtype,
) -> Model:
    """Return a model with initial weights, which are drawn from `random_state`.

    Only those of the first member are. The others come from a generator that it decides, so that
    the split and the order of the rows, and with them the first member, are those of one network.
    """
    # Without a hidden layer, a single name still decides how the output layer is initialized.
    own = estimator.activation
    activations = own if isinstance(own, str) else network.activations

    def drawn(generator: np.random.RandomState) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return initial_parameters(network.layer_units, activations, generator, dtype)

    first = drawn(random_state)
    if network.n_members == 1:
        return Model(*first)
    seed = derived_seed(random_state, 0, _KEY_OF_WEIGHTS)
    other = np.random.RandomState(np.random.MT19937(seed))
    members = [first, *(drawn(other) for _ in range(1, network.n_members))]
    coefs, intercepts = (
        map(np.stack, zip(*arrays, strict=True)) for arrays in zip(*members, strict=True)
    )
    return Model(list(coefs), list(intercepts))


def model_of_attributes(estimator: BaseEstimator) -> Model:
    """Return the model that a fitted estimator holds."""
    progress = {
        name: getattr(estimator, attribute)
        for attribute, name in PROGRESS_OF.items()
        if hasattr(estimator, attribute)
    }
    return Model(
        estimator.coefs_,
        estimator.intercepts_,
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
    # The layout that a pickle gives to a stack of matrices, and that prediction needs.
    coefs = [np.ascontiguousarray(c) if c.ndim == 3 else c for c in model.coefs]
    estimator.coefs_ = [aligned(coef) for coef in coefs]
    estimator.intercepts_ = model.intercepts
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
