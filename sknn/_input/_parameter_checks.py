"""Check the parameters beyond scikit-learn's table of constraints, mostly in combination.

All checks raise before any training. Their messages name the parameter, the given value, and the
allowed ones.
"""

from __future__ import annotations

import inspect
import os
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import InvalidParameterError, StrOptions

SKLEARN_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
ADDED_ACTIVATIONS = ("leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus")
PARAMETRIC_ACTIVATIONS = ("parametric_selu",)


class ScorerNames(StrOptions):
    """Constraint on `scoring`, whose text does not list the dozens of names that it allows."""

    def __init__(self) -> None:
        super().__init__({"loss", *get_scorer_names()})

    def __str__(self) -> str:
        return "'loss', the name of a scorer (one of sklearn.metrics.get_scorer_names())"


def hidden_units(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """Return the number of units in each hidden layer."""
    sizes = hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must contain integers, one for each hidden layer, got {sizes}."
        )
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return tuple(int(size) for size in sizes)


def _ordered_items(name: str, value: Any) -> list[Any]:
    """Return the items of a list-like value, and refuse containers that have no order."""
    if (
        isinstance(value, dict | set | frozenset)
        or isinstance(value, np.ndarray)
        and not value.ndim
    ):
        raise ValueError(
            f"The '{name}' parameter is {value!r}. Pass several values as a list, because their"
            " order matters."
        )
    return list(value)


def layer_activations(activation: Any, n_hidden: int) -> tuple[str | Callable[[], Any], ...]:
    """Return the activation of each hidden layer."""
    if isinstance(activation, str) or callable(activation):
        return (activation,) * n_hidden
    given = _ordered_items("activation", activation)
    if len(given) != n_hidden:
        raise ValueError(
            f"The 'activation' parameter is a list of {len(given)} activations, but there are"
            f" {n_hidden} hidden layers. Pass one for each hidden layer, or a single one for all."
        )
    allowed = (*SKLEARN_ACTIVATIONS, *ADDED_ACTIVATIONS, *PARAMETRIC_ACTIVATIONS)
    for item in given:
        if not (callable(item) or isinstance(item, str) and item in allowed):
            raise ValueError(
                f"The 'activation' parameter contains {item!r}. Each of its items must be one of"
                f" {', '.join(map(repr, allowed))}, or a callable that returns a torch.nn.Module."
            )
    return tuple(given)


def dropout_rates(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    """Return the dropout rate of each hidden layer."""
    if isinstance(dropout, Real):
        return (float(dropout),) * n_hidden
    rates = _ordered_items("dropout", dropout)
    if len(rates) != n_hidden:
        raise ValueError(
            f"The 'dropout' parameter is a list of {len(rates)} rates, but there are {n_hidden}"
            " hidden layers. Pass one for each hidden layer, or a single one for all."
        )
    if not all(isinstance(r, Real) and not isinstance(r, bool) and 0 <= r < 1 for r in rates):
        raise ValueError(
            f"The 'dropout' parameter must contain floats in the range [0, 1), got {rates}."
        )
    return tuple(map(float, rates))


def quantile_levels(quantile: Any) -> tuple[float, ...]:
    """Return the levels for `loss="quantile"`."""
    levels = [quantile] if isinstance(quantile, Real) else _ordered_items("quantile", quantile)
    is_valid = all(isinstance(q, Real) and 0 < q < 1 for q in levels)
    if not levels or not is_valid or any(a >= b for a, b in zip(levels, levels[1:], strict=False)):
        raise ValueError(
            "The 'quantile' parameter must be a float in the range (0, 1), or an increasing list of"
            f" them, got {quantile!r}."
        )
    return tuple(map(float, levels))


def check_solver(solver: Any) -> None:
    """Refuse a solver that is neither a name nor a usable optimizer of torch."""
    if isinstance(solver, str):
        return
    import torch

    optimizer = getattr(solver, "func", solver)
    if not (isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer)):
        raise ValueError(
            f"The 'solver' parameter is {solver!r}. It must be 'lbfgs', 'sgd', 'adam', 'adamw', a"
            " subclass of torch.optim.Optimizer, or a functools.partial of one."
        )
    options = getattr(solver, "keywords", {})
    if getattr(solver, "args", ()):
        raise ValueError(
            f"The 'solver' parameter is a partial of {optimizer.__name__} with positional"
            " arguments. Pass its options as keyword arguments instead, because the first argument"
            " of an optimizer is the list of parameters that it updates."
        )
    if "lr" in options:
        raise ValueError(
            f"The 'solver' parameter is a partial with lr={options['lr']!r}. Set"
            " learning_rate_init instead."
        )
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"The 'solver' parameter is {optimizer.__name__}, which needs a closure that evaluates"
            " the loss several times per step. This is not supported. Use solver='lbfgs', or an"
            " optimizer whose step does not need a closure."
        )
    if optimizer is torch.optim.SparseAdam:
        raise ValueError(
            "The 'solver' parameter is SparseAdam, which needs sparse gradients, but the gradients"
            " of these networks are dense. Use torch.optim.Adam, or solver='adam'."
        )


def check_lbfgs(estimator: BaseEstimator, X_val: Any) -> None:
    """Refuse options that only stochastic solvers have, if they are on and the solver is L-BFGS."""
    if estimator.solver != "lbfgs":
        return
    switched_on = {
        "dropout": bool(np.any(np.asarray(estimator.dropout, dtype=float) > 0)),
        "input_dropout": estimator.input_dropout > 0,
        "normalization": estimator.normalization == "batch",
        "learning_rate": estimator.learning_rate not in ("constant", "invscaling", "adaptive"),
        "warmup_fraction": estimator.warmup_fraction > 0,
        "max_grad_norm": estimator.max_grad_norm is not None,
        "scoring": estimator.scoring is not None,
        "callbacks": bool(estimator.callbacks),
        "n_members": estimator.n_members > 1,
        "max_iter": estimator.max_iter == "by_rows",
        "regularization_schedule": estimator.regularization_schedule is not None,
    }
    for name, is_on in switched_on.items():
        if is_on:
            raise ValueError(
                f"The '{name}' parameter is {getattr(estimator, name)!r}, which solver='lbfgs'"
                " does not support, because it minimizes one fixed function of all rows for one"
                " network. Use a stochastic solver ('adam', 'adamw', 'sgd', or an optimizer of"
                f" torch), or leave '{name}' at its default."
            )
    if X_val is not None:
        raise ValueError(
            "X_val and y_val are only for stochastic solvers, which evaluate them after every"
            " epoch. solver='lbfgs' does not use them. Use a stochastic solver, or omit them."
        )


def check_checkpoint(estimator: BaseEstimator) -> None:
    """Refuse checkpoints of a training that could not be repeated in the same way."""
    if estimator.checkpoint_dir is None:
        return
    given = f"The 'checkpoint_dir' parameter is {estimator.checkpoint_dir!r}"
    if not os.fspath(estimator.checkpoint_dir):
        raise ValueError(f"{given}. It must name a directory. Use '.' for the working directory.")
    if estimator.solver == "lbfgs":
        raise ValueError(
            f"{given}, but solver='lbfgs' has no epochs to save. Use a stochastic solver ('adam',"
            " 'adamw', 'sgd', or an optimizer of torch), or leave 'checkpoint_dir' at its default."
        )
    if not isinstance(estimator.random_state, Integral):
        raise ValueError(
            f"{given}, but the 'random_state' parameter is {estimator.random_state!r}. It must be"
            " an int, so that calling the same fit again repeats the same training. Set it, or"
            " leave 'checkpoint_dir' at its default."
        )


def check_schedule(learning_rate: Any, warmup_fraction: float) -> None:
    """Refuse a warm-up together with a schedule that has its own."""
    if learning_rate == "one_cycle" and warmup_fraction > 0:
        raise ValueError(
            f"The 'warmup_fraction' parameter is {warmup_fraction}, but learning_rate='one_cycle'"
            " already includes a warm-up. Set warmup_fraction=0, or learning_rate='cosine'."
        )


def check_target_scaling(loss: Any) -> None:
    """Refuse to standardize the targets of a loss that depends on their unit."""
    if callable(loss) or loss in ("poisson", "gamma"):
        raise ValueError(
            "The targets are standardized by target_scaling, but the 'loss' parameter"
            f" is {loss!r}. This is only possible with the losses 'squared_error',"
            " 'absolute_error', 'huber' and 'quantile'. Choose one of these losses, or fit again"
            " with target_scaling=None."
        )


def check_embedding(estimator: BaseEstimator) -> None:
    """Refuse wrong parameters of an embedding, and what does not go together with one."""
    embedding = estimator.numeric_embedding
    if embedding is None:
        return
    if isinstance(embedding, BaseEstimator):
        try:
            embedding._validate_params()
        except ValueError as error:
            raise InvalidParameterError(f"The 'numeric_embedding' parameter: {error}") from error
    if estimator.input_dropout > 0 and estimator.n_members > 1:
        raise ValueError(
            f"The 'input_dropout' parameter is {estimator.input_dropout}, but the"
            f" n_members={estimator.n_members} networks share one numeric_embedding, so they cannot"
            " drop different features. Set input_dropout=0 (dropout still acts on the layers),"
            " n_members=1, or numeric_embedding=None."
        )


def check_waves(estimator: BaseEstimator) -> None:
    """Refuse to watch the waves of a schedule that has none."""
    if estimator.early_stopping == "waves" and estimator.learning_rate != "coslog":
        raise ValueError(
            "The 'early_stopping' parameter is 'waves', but the 'learning_rate' parameter is"
            f" {estimator.learning_rate!r}, which has no waves. Set learning_rate='coslog', or"
            " early_stopping=True, which stops when the score no longer improves."
        )
    if estimator.early_stopping == "waves" and estimator.scoring not in (None, "loss"):
        raise ValueError(
            f"The 'scoring' parameter is {estimator.scoring!r}, but early_stopping='waves' only"
            " compares validation losses. Set scoring=None, or early_stopping=True, which monitors"
            " a score."
        )


def check_representable(estimator: BaseEstimator, dtype: np.dtype) -> None:
    """Refuse parameters that are used and that the dtype of the computation cannot represent."""
    solver, loss = estimator.solver, estimator.loss
    is_adam = isinstance(solver, str) and solver in ("adam", "adamw")
    used = {
        "alpha": True,
        "learning_rate_init": solver != "lbfgs",
        "epsilon": is_adam,
        "focal_gamma": loss == "focal",
        "huber_delta": loss == "huber",
    }
    largest, least = (float(getattr(np.finfo(dtype), n)) for n in ("max", "smallest_subnormal"))
    for name in (name for name, is_used in used.items() if is_used):
        number = getattr(estimator, name)
        # With zeros instead of these two, Adam would divide zero by zero, and all gradients of the
        # Huber loss would be zero.
        is_lost = name in ("epsilon", "huber_delta") and number < least
        if number > largest or is_lost:
            limit = f"least {least}" if is_lost else f"most {largest}"
            raise ValueError(
                f"The '{name}' parameter is {number!r}, which {np.dtype(dtype)} cannot represent."
                f" With this dtype, it must be at {limit}. Use dtype='float64', or another number."
            )


def check_scoring_of_processes(scoring: Any, process_group: Any) -> None:
    """Refuse scorers if several processes train one network: no process has all rows to score."""
    if process_group is not None and scoring not in (None, "loss"):
        raise ValueError(
            f"The 'scoring' parameter is {scoring!r}, which needs all validation rows in one"
            " process. With process_group, early stopping can only monitor the accuracy or R2"
            " (scoring=None), or the validation loss (scoring='loss')."
        )


def check_scoring_of_levels(scoring: Any, levels: tuple[float, ...], n_targets: int) -> None:
    """Refuse metrics of scikit-learn, which take one prediction for each target, for quantiles.

    `levels` are those of a list. One level of one target is a single column, which metrics take.
    """
    if scoring in (None, "loss") or n_targets == len(levels) == 1:
        return
    metric = getattr(scoring, "_score_func", None)
    is_of_sklearn = getattr(metric, "__module__", "").startswith("sklearn.")
    if isinstance(scoring, str) or is_of_sklearn:
        shape = "(n_samples, n_levels)" if n_targets == 1 else "(n_samples, n_targets, n_levels)"
        raise ValueError(
            f"The 'scoring' parameter is {scoring!r}, a metric of one prediction for each target,"
            f" but the 'quantile' parameter is a list, {list(levels)}, so predictions have the"
            f" shape {shape}. Early stopping can monitor the mean D2 pinball score (scoring=None),"
            " the validation loss (scoring='loss'), or your own function that takes (estimator, X,"
            " y) and returns a number."
        )


def check_class_weights(class_weight: Any) -> None:
    """Refuse weights of classes that are negative or not finite."""
    for weights in class_weight if isinstance(class_weight, list) else [class_weight]:
        for label, weight in weights.items() if isinstance(weights, dict) else ():
            numbers = np.asarray(weight, dtype=np.float64)
            if not (np.isfinite(numbers) & (numbers >= 0)).all():
                raise ValueError(
                    f"class_weight has the weight {weight!r} for the class {label!r}. The weights"
                    " of classes must be finite and must not be negative."
                )


def keys_and_classes(class_weight: Any, y: Any) -> str:
    """Return a sentence about the keys in `class_weight` and the classes, which do not match."""
    if y.ndim == 2:
        return (
            f"class_weight is {reprlib.repr(class_weight)}. For a multilabel target, each dict in"
            " the list must have the keys 0 and 1, or only one of them."
        )
    classes = reprlib.repr(np.unique(y).tolist())
    if isinstance(class_weight, dict):
        keys = reprlib.repr(list(class_weight))
        return f"The keys of class_weight are {keys}, and the classes are {classes}."
    return (
        f"class_weight is {reprlib.repr(class_weight)}. It must be a dict {{label: weight}}, and"
        f" the labels are {classes}."
    )


def check_validation_pair(X_val: Any, y_val: Any, sample_weight_val: Any) -> None:
    """Refuse half of a validation set."""
    if X_val is not None and y_val is None:
        raise ValueError("X_val is provided, but y_val was not provided.")
    if X_val is None and y_val is not None:
        raise ValueError("y_val is provided, but X_val was not provided.")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val is provided, but X_val and y_val were not provided.")


@contextmanager
def naming(name: str, allowed: str, advice: str = "") -> Iterator[None]:
    """Put the name of an argument, and what is allowed for it, before the errors of the body."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message = f"{name} cannot be used: it must be {allowed}. {error}{advice}"
        raise ValueError(message) from error


def check_domain(y: np.ndarray, loss: Any, name: str = "y") -> None:
    """Refuse targets for which the loss of a regressor is not defined."""
    if loss == "poisson" and (y < 0).any():
        allowed = ">= 0"
    elif loss == "gamma" and (y <= 0).any():
        allowed = "> 0"
    else:
        return
    raise ValueError(
        f"Some value(s) of {name} are out of the valid range of the loss {loss!r}: the smallest is"
        f" {y.min()}, but it needs {name} {allowed}. If you standardized the targets, divide them"
        " by their mean instead. Use loss='squared_error' for other targets."
    )
