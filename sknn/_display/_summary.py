"""What is known of an estimator's network, fitted or not, and the same as text."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import validate_parameter_constraints

from sknn._display._curves import best_epoch_of, curves_of, is_by_epochs
from sknn._input import _parameter_checks

if TYPE_CHECKING:
    from sknn._base import BaseFeedForward

UNKNOWN = "?"
COLUMNS = ("layer", "shape", "activation", "normalization", "dropout", "parameters")
CURVES_SHOWN = {
    "training loss": "loss",
    "validation loss": "validation_loss",
    "validation score": "validation_score",
}

# What the facts are made of. `fit` refuses the same values in the same words.
_PARAMETERS_SHOWN = (
    *("hidden_layer_sizes", "activation", "normalization", "dropout", "input_dropout"),
    *("loss", "solver", "max_iter", "device", "dtype"),
)


class LayerFacts(NamedTuple):
    """What is known of a layer.

    Attributes
    ----------
    name : str
        'input', 'hidden 1', ..., 'output'.
    n_in, n_out : int or None
        None if it is known after `fit` only. The input has no `n_in`.
    activation : str or None
        None for none.
    normalization : str or None
    dropout : float
    n_parameters : int or None
        None if it is known after `fit` only.
    """

    name: str
    n_in: int | None
    n_out: int | None
    activation: str | None = None
    normalization: str | None = None
    dropout: float = 0.0
    n_parameters: int | None = 0

    @property
    def shape(self) -> str:
        """As '64 -> 100'."""
        n_out = count_text(self.n_out)
        return n_out if self.name == "input" else f"{count_text(self.n_in)} -> {n_out}"

    @property
    def cells(self) -> tuple[str, ...]:
        """One text for each of `COLUMNS`."""
        return (
            *(self.name, self.shape, self.activation or "-", self.normalization or "-"),
            f"{self.dropout:g}" if self.dropout else "-",
            "-" if self.name == "input" else count_text(self.n_parameters),
        )


class Facts(NamedTuple):
    """What is known of an estimator's network.

    Attributes
    ----------
    estimator : str
        The name of its class.
    is_fitted : bool
    layers : list of LayerFacts
    n_parameters : int or None
    settings : dict of str to str
        Loss, solver, device, dtype, epochs, and of a fitted estimator its last losses and scores.
    """

    estimator: str
    is_fitted: bool
    layers: list[LayerFacts]
    n_parameters: int | None
    settings: dict[str, str]

    @property
    def units(self) -> list[str]:
        """The number of units of each layer, from the features to the outputs."""
        return [count_text(layer.n_out) for layer in self.layers]


def count_text(count: int | None) -> str:
    """A number with commas, or a question mark."""
    return UNKNOWN if count is None else f"{count:,}"


def name_of(choice: Any) -> str:
    """A parameter that is a string, or a class, function or partial, as a name."""
    if isinstance(choice, str):
        return choice
    choice = getattr(choice, "func", choice)  # of a functools.partial
    return getattr(choice, "__name__", type(choice).__name__)


def facts_of(estimator: BaseFeedForward) -> Facts:
    """What is known of an estimator's network.

    Numbers of features and of outputs, and what depends on them, are known after `fit` only.

    Raises
    ------
    ValueError, TypeError
        If `fit` would refuse a parameter that is shown, or if the parameters are of no network.
    """
    now = estimator._as_it_is()
    constraints = {name: now._parameter_constraints[name] for name in _PARAMETERS_SHOWN}
    given = {name: getattr(now, name) for name in _PARAMETERS_SHOWN}
    validate_parameter_constraints(constraints, given, caller_name=type(estimator).__name__)
    is_fitted = hasattr(now, "coefs_")
    if is_fitted:
        units = (int(now.n_features_in_), *(len(intercept) for intercept in now.intercepts_))
        out_activation = now.out_activation_
    else:
        units = (None, *_parameter_checks.hidden_units(now.hidden_layer_sizes), None)
        out_activation = UNKNOWN
    n_hidden = len(units) - 2
    activations = _parameter_checks.layer_activations(now.activation, n_hidden)
    dropout = _parameter_checks.dropout_rates(now.dropout, n_hidden)
    extra = _parameters_between(now, units, activations, is_fitted)

    layers = [LayerFacts("input", None, units[0], dropout=float(now.input_dropout))]
    for i in range(n_hidden + 1):
        n_in, n_out = units[i : i + 2]
        is_hidden = i < n_hidden
        is_known = None not in (n_in, n_out, extra[i])
        layers.append(
            LayerFacts(
                f"hidden {i + 1}" if is_hidden else "output",
                n_in,
                n_out,
                name_of(activations[i]) if is_hidden else out_activation,
                now.normalization if is_hidden else None,
                dropout[i] if is_hidden else 0.0,
                (n_in + 1) * n_out + extra[i] if is_known else None,
            )
        )
    counts = [layer.n_parameters for layer in layers]
    total = None if None in counts else sum(counts)
    settings = _settings(now, is_fitted)
    return Facts(type(estimator).__name__, is_fitted, layers, total, settings)


def _parameters_between(
    estimator: BaseFeedForward, units: tuple, activations: tuple, is_fitted: bool
) -> list[int | None]:
    """How many parameters follow a layer's weights and biases: for each layer, the last has none.

    A scale and a shift for each unit that is normalized, and those of the user's own activations.
    """
    is_own = [not isinstance(activation, str) for activation in activations]
    if not (is_fitted and any(is_own)):
        n_for_each = 0 if estimator.normalization is None else 2
        known = (n_for_each * size for size in units[1:-1])
        return [None if own else n for own, n in zip(is_own, known, strict=True)] + [0]
    # Only torch tells the parameters of a module from its buffers. A module that stands in two
    # layers is counted in the first.
    from torch import nn

    from sknn._network._module import modules_between

    layers = modules_between(estimator._network(units))
    named = {name: module for layer in layers for name, module in layer}
    counts = [0] * (len(units) - 1)
    for name, parameter in nn.ModuleDict(named).named_parameters():
        module, _, _ = name.partition(".")
        counts[int(module.lstrip(string.ascii_letters))] += parameter.numel()
    return counts


def _settings(estimator: BaseFeedForward, is_fitted: bool) -> dict[str, str]:
    settings = {"loss": name_of(estimator.loss), "solver": name_of(estimator.solver)}
    unit = "iterations" if estimator.solver == "lbfgs" else "epochs"
    if not is_fitted:
        settings["device"] = estimator.device
        settings["dtype"] = estimator.dtype
        settings[unit] = f"at most {estimator.max_iter}"
        return settings
    settings["device"] = estimator.device_
    settings["dtype"] = np.dtype(estimator._model_dtype()).name
    if estimator.dtype == "bfloat16":
        settings["dtype"] += ", products in bfloat16"
    curves = curves_of(estimator) if is_by_epochs(estimator) else {}
    settings[unit] = str(estimator.n_iter_)
    n_epochs = len(curves["epoch"]) if curves else estimator.n_iter_
    if n_epochs != estimator.n_iter_:
        settings[unit] += f" in the last call, {n_epochs} in all"
    best = best_epoch_of(estimator)
    if best is not None:
        settings[unit] += f"; the weights are those of epoch {best}"
    settings["training loss"] = f"{estimator.loss_:.4g}"
    for title, name in CURVES_SHOWN.items():
        if name in curves:
            settings[title] = f"{curves[name][-1]:.4g}"
            if best is not None:
                settings[title] += f"; in epoch {best}: {curves[name][best - 1]:.4g}"
    return settings


def text_of(facts: Facts) -> str:
    """The facts as lines of text."""
    rows = [COLUMNS, *(layer.cells for layer in facts.layers)]
    rows.append(("total", *[""] * (len(COLUMNS) - 2), count_text(facts.n_parameters)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for *texts, number in rows:
        cells = [text.ljust(width) for text, width in zip(texts, widths[:-1], strict=True)]
        lines.append("  ".join([*cells, number.rjust(widths[-1])]))
    rule = "-" * len(lines[0])
    state = "fitted" if facts.is_fitted else "not fitted: ? is known after fit"
    width = max(map(len, facts.settings))
    return "\n".join(
        [
            f"{facts.estimator}, {state}",
            *(rule, lines[0], rule, *lines[1:-1], rule, lines[-1], rule),
            *(f"{name.ljust(width)}  {value}" for name, value in facts.settings.items()),
        ]
    )
