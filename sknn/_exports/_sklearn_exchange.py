"""Conversion of networks to scikit-learn's MLPs, and back.

Both packages keep the same things in the same form: weights as arrays of shape (n_in, n_out),
curves as lists, and what a solver remembers as one array for each array of weights. So nothing is
computed on the way, except where batch normalization becomes part of the weights.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from sknn._exports._batch_norm_folding import folded
from sknn._input import _parameter_checks, _targets
from sknn._network._solver_options import SOLVER_OPTIONS
from sknn._platform._memory_alignment import aligned
from sknn._training._fitted_names import FITTED_NAMES, complete_attributes, restored_epoch

if TYPE_CHECKING:
    from sknn._network._architecture import Network

MLP = MLPClassifier | MLPRegressor

_SHARED = [fitted.name for fitted in FITTED_NAMES if fitted.in_sklearn]
_OPTIMIZERS = {"adam": AdamOptimizer, "sgd": SGDOptimizer}
# `_SLOTS` names the attributes of scikit-learn's optimizers for what a solver remembers of each
# parameter, in the order of our slots. `_THEIR_NAMES` are options to which they give other names.
_SLOTS = {"adam": ("ms", "vs"), "sgd": ("velocities",)}
_THEIR_NAMES = {"nesterovs_momentum": "nesterov", "learning_rate": "lr_schedule"}
_SCHEDULES = ("constant", "invscaling", "adaptive")
_METHODS = ("fit", "partial_fit", "score")


def to_sklearn(estimator: BaseEstimator) -> MLP:
    """Return an MLP of scikit-learn that is fitted like an estimator, given its `_snapshot`."""
    network = estimator._checked_network()
    _refuse_what_sklearn_lacks(estimator, network)
    kind = MLPRegressor if estimator._numeric_targets else MLPClassifier
    mlp = kind(**_sklearn_parameters(estimator, kind, network))
    _copy_attributes(estimator, mlp)
    dtype = estimator._model_dtype()
    coefs, intercepts = folded(
        estimator.coefs_, estimator.intercepts_, estimator.module_state_, dtype
    )
    mlp.coefs_, mlp.intercepts_ = coefs, intercepts
    # Early stopping of a warm start returns to these weights if it finds no better ones.
    mlp._best_coefs = [coef.copy() for coef in coefs]
    mlp._best_intercepts = [intercept.copy() for intercept in intercepts]
    state = getattr(estimator, "_solver_state", None) or {}
    is_carried_on = state.get("name") == estimator.solver and network.is_plain
    is_carried_on = is_carried_on and estimator._output_scaling() is None
    if estimator.solver in _OPTIMIZERS and is_carried_on:
        mlp._optimizer = _sklearn_optimizer(mlp, state)
    _copy_requests(estimator, mlp)
    return mlp


def from_sklearn(mlp: MLP, kinds: dict[type, type[BaseEstimator]]) -> BaseEstimator:
    """Return an estimator like an MLP. `kinds` maps each class of MLPs to our class."""
    if isinstance(mlp, tuple(kinds.values())):
        raise TypeError(
            "from_sklearn takes an MLPClassifier or an MLPRegressor of scikit-learn, got"
            f" {type(mlp).__name__}, which already belongs to this package. Use it directly."
        )
    if type(mlp) not in kinds:
        raise TypeError(_advice(mlp))
    estimator = kinds[type(mlp)](**copy.deepcopy(mlp.get_params(deep=False)))
    if hasattr(mlp, "coefs_"):
        _take_over(mlp, estimator)
    _copy_requests(mlp, estimator)
    return estimator


def _advice(given: Any) -> str:
    """Return the error message for something that is not an MLP, with what to give instead."""
    name = type(given).__name__ if not isinstance(given, type) else f"the class {given.__name__}"
    text = f"from_sklearn takes an MLPClassifier or an MLPRegressor of scikit-learn, got {name}."
    if isinstance(given, type):
        return f"{text} Pass an instance."
    if isinstance(given, MLPClassifier | MLPRegressor):
        return (
            f"{text} A subclass may predict differently. If it does not, copy its attributes,"
            " vars(mlp), to an instance of scikit-learn's class."
        )
    if hasattr(given, "steps"):
        return f"{text} Pass the step that is an MLP, as in from_sklearn(pipeline[-1])."
    if hasattr(given, "best_estimator_"):
        return f"{text} Pass the best estimator, as in from_sklearn(search.best_estimator_)."
    return f"{text} If this object contains an MLP, pass the MLP itself."


def _refuse_what_sklearn_lacks(estimator: BaseEstimator, network: Network) -> None:
    """Raise one error that names everything that an MLP of scikit-learn cannot predict with."""
    lacking = []
    if network.n_members > 1:
        lacking.append(f"the mean of n_members={network.n_members} networks (it supports only one)")
    own = network.names_of_own_modules
    named = [a for a in network.activations if isinstance(a, str)]
    others = [a for a in named if a not in _parameter_checks.SKLEARN_ACTIVATIONS]
    known = ", ".join(map(repr, _parameter_checks.SKLEARN_ACTIVATIONS))
    if own:
        lacking.append(f"modules of your own as activation ({own})")
    if others:
        names = ", ".join(dict.fromkeys(map(repr, others)))
        lacking.append(f"the activation {names} (it supports {known})")
    if not own and not others and len(set(named)) > 1:
        names = ", ".join(map(repr, network.activations))
        lacking.append(f"different activations ({names}; it supports one for all layers)")
    if network.embedding is not None:
        lacking.append(f"numeric_embedding={estimator.numeric_embedding!r}")
    if network.normalization == "layer" and network.activations:
        lacking.append(
            "normalization='layer' (only 'batch', whose statistics are fixed, can become part of"
            " the weights)"
        )
    if estimator._numeric_targets and estimator._predicts_levels():
        lacking.append(
            f"quantile={estimator.quantile!r}, which gives predictions an axis for the levels"
        )
    is_clipped = estimator._output_bounds() is not None
    if is_clipped:
        lacking.append("target_scaling='clipped', which limits the predictions")
    if lacking:
        # Neither an ONNX graph nor a file of `save` can hold the user's code, and `module_` does
        # not clip.
        ways = [] if is_clipped else ["module_ (torch)"]
        ways += [] if own else ["skl2onnx (ONNX)", "save"]
        listed = f"{', '.join(ways)} or pickle" if ways else "pickle"
        raise ValueError(
            f"scikit-learn's MLP cannot represent this {type(estimator).__name__}:"
            f" {'; '.join(lacking)}. Fit without these features, or export the model with"
            f" {listed}, which {'support' if ways else 'supports'} them."
        )


def _sklearn_parameters(estimator: BaseEstimator, kind: type, network: Network) -> dict[str, Any]:
    """Return the parameters that both have, with values that scikit-learn accepts.

    A value that it does not accept is replaced by one that leaves predictions as they are.
    """
    names = kind().get_params(deep=False)
    parameters = {name: copy.deepcopy(getattr(estimator, name)) for name in names}
    activations = network.activations
    own = estimator.activation if isinstance(estimator.activation, str) else "identity"
    parameters["activation"] = activations[0] if activations else own
    if parameters["activation"] not in _parameter_checks.SKLEARN_ACTIVATIONS:
        parameters["activation"] = "identity"  # No layer uses it.
    if parameters["solver"] not in ("lbfgs", *_OPTIMIZERS):
        parameters["solver"] = "adam"
    if parameters["learning_rate"] not in _SCHEDULES:
        parameters["learning_rate"] = "constant"
    if parameters["verbose"] == "progress":
        parameters["verbose"] = True
    for name in ("batch_size", "max_iter"):
        if parameters[name] == "by_rows":
            parameters[name] = kind().get_params(deep=False)[name]
    if parameters["early_stopping"] == "waves":
        parameters["early_stopping"] = False
    if kind is MLPClassifier:
        return parameters
    exponential = estimator.out_activation_ == "exp"
    parameters["loss"] = "poisson" if exponential else "squared_error"
    return parameters


def _copy_attributes(source: Any, target: Any) -> None:
    """Copy the attributes that both packages have under the same name."""
    for name in _SHARED:
        if hasattr(source, name):
            setattr(target, name, _copied(getattr(source, name)))
    if hasattr(source, "_label_binarizer"):
        learned = _targets.plain_binarizer(source._label_binarizer)
        learned = {name: _copied(value) for name, value in learned.items()}
        target._label_binarizer = _targets.binarizer_of(**learned)


def _copied(value: Any) -> Any:
    """Return a copy. A memory map, as joblib's `mmap_mode` makes it, becomes an array in memory."""
    return np.array(value) if isinstance(value, np.ndarray) else copy.deepcopy(value)


def _plain(value: Any) -> Any:
    """Return a Boolean of NumPy as one of Python, and any other value as it is."""
    return bool(value) if isinstance(value, np.bool_) else value


def _sklearn_optimizer(mlp: MLP, state: dict[str, Any]) -> AdamOptimizer | SGDOptimizer:
    """Return an optimizer of scikit-learn in the state that a solver of this package is in."""
    name, numbers = state["name"], state["numbers"]
    options = {_THEIR_NAMES.get(k, k): _plain(numbers[k]) for k in SOLVER_OPTIONS[name].names}
    is_known = options.get("lr_schedule") in _SCHEDULES
    if name == "sgd" and not is_known:
        options["lr_schedule"] = "constant"
    rate = numbers["learning_rate_init"]
    optimizer = _OPTIMIZERS[name](mlp.coefs_ + mlp.intercepts_, rate, **options)
    for attribute, (coefs, intercepts, _) in zip(_SLOTS[name], state["slots"], strict=True):
        arrays = [np.array(array, order="C") for array in (*coefs, *intercepts)]
        setattr(optimizer, attribute, arrays)
    if name == "sgd":
        if is_known:
            optimizer.learning_rate = float(numbers["lr"])
        return optimizer
    optimizer.t = t = numbers["n_updates"]
    if t:
        root = np.sqrt(1 - options["beta_2"] ** t)
        optimizer.learning_rate = rate * root / (1 - options["beta_1"] ** t)
    return optimizer


def _solver_state(mlp: MLP) -> dict[str, Any]:
    """Return the state of scikit-learn's optimizer in this package's form.

    The state is empty if there is no optimizer, as after 'lbfgs'.
    """
    optimizer = getattr(mlp, "_optimizer", None)
    if optimizer is None:
        return {}
    is_sgd = isinstance(optimizer, SGDOptimizer)
    name = "sgd" if is_sgd else "adam"
    options = SOLVER_OPTIONS[name].names
    rate = optimizer.learning_rate_init
    numbers = {
        # Adam's `learning_rate` is the rate of the last step, corrected for the moments' bias.
        "lr": float(optimizer.learning_rate) if is_sgd else rate,
        "learning_rate_init": rate,
        **{k: _plain(getattr(optimizer, _THEIR_NAMES.get(k, k))) for k in options},
        "n_updates": 0 if is_sgd else optimizer.t,
    }
    n = len(mlp.coefs_)
    slots = []
    for attribute in _SLOTS[name]:
        arrays = [np.array(array) for array in getattr(optimizer, attribute)]
        slots.append((arrays[:n], arrays[n:], []))
    return {"name": name, "numbers": numbers, "slots": slots, "n_calls": 0, "scheduler": None}


def _take_over(mlp: MLP, estimator: BaseEstimator) -> None:
    """Set the fitted attributes of scikit-learn's estimator, and those that only ours has."""
    _copy_attributes(mlp, estimator)
    estimator.coefs_ = [aligned(np.array(coef, order="F")) for coef in mlp.coefs_]
    estimator.intercepts_ = [np.array(intercept) for intercept in mlp.intercepts_]
    if not hasattr(mlp, "loss_"):
        return  # The weights were set by hand, and so are those of the estimator.
    estimator.loss_ = float(mlp.loss_)
    if hasattr(mlp, "loss_curve_"):
        _take_over_curves(mlp, estimator)
    complete_attributes(estimator)


def _take_over_curves(mlp: MLP, estimator: BaseEstimator) -> None:
    """Set the attributes of a training by epochs."""
    n_epochs, scores = len(mlp.loss_curve_), getattr(mlp, "validation_scores_", None)
    for name in ("best_loss_", "best_validation_score_"):
        value = getattr(mlp, name, None)
        setattr(estimator, name, None if value is None else float(value))
    estimator.loss_curve_ = [float(loss) for loss in mlp.loss_curve_]
    if scores is not None:
        estimator.validation_scores_ = [float(score) for score in scores]
    optimizer = getattr(mlp, "_optimizer", None)
    is_constant = getattr(optimizer, "lr_schedule", "constant") == "constant"
    rate = mlp.learning_rate_init if is_constant else np.nan
    estimator.learning_rate_curve_ = [float(rate)] * n_epochs
    estimator.validation_loss_curve_ = None if scores is None else [np.nan] * len(scores)
    estimator.best_epoch_ = restored_epoch(vars(mlp))
    estimator._watched = "" if scores is None else estimator._watched_scores()
    estimator._solver_state = _solver_state(mlp)
    estimator._history = _history(
        estimator.loss_curve_, getattr(estimator, "validation_scores_", None)
    )


def _history(losses: list[float], scores: list[float] | None) -> list[dict[str, Any]]:
    """Return the history: one record for each epoch, with what scikit-learn has recorded."""
    records, best = [], np.inf
    for i, loss in enumerate(losses):
        record = {
            "epoch": i + 1,
            "train_loss": loss,
            "train_loss_best": loss < best,
            "dur": np.nan,
        }
        if scores is not None and i < len(scores):
            record["valid_score"] = scores[i]
        records.append(record)
        best = min(best, loss)
    return records


def _copy_requests(source: Any, target: Any) -> None:
    """Copy the metadata requests (`set_fit_request` and the like) for arguments that both have."""
    if not hasattr(source, "_metadata_request"):
        return
    requests = target._get_metadata_request()
    for method in _METHODS:
        given = getattr(source._metadata_request, method, None)
        own = getattr(requests, method, None)
        for argument, alias in {} if given is None else given.requests.items():
            if own is not None and argument in own.requests:
                own.add_request(param=argument, alias=alias)
    target._metadata_request = requests
