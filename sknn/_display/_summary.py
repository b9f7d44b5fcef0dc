"""Facts about the network of an estimator, fitted or not, and the same facts as text."""

from __future__ import annotations

import string
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import validate_parameter_constraints

from sknn._display._curves import best_epoch_of, curves_of, is_by_epochs
from sknn._input import _parameter_checks
from sknn._input._hints import explaining_values
from sknn._network._architecture import PARAMETRIC

UNKNOWN = "?"
COLUMNS = ("layer", "shape", "activation", "normalization", "dropout", "parameters")
CURVES_SHOWN = {
    "training loss": "loss",
    "validation loss": "validation_loss",
    "validation score": "validation_score",
}

# The parameters that the facts are made of. `fit` refuses the same values in the same words.
_PARAMETERS_SHOWN = (
    *("hidden_layer_sizes", "activation", "normalization", "dropout", "input_dropout"),
    *("loss", "solver", "max_iter", "device", "dtype", "n_members"),
    *("numeric_embedding", "input_scaling"),
)


class LayerFacts(NamedTuple):
    """Facts about one layer.

    Attributes
    ----------
    name : str
        The name of the layer: 'input', 'embedding' or 'scaling' (which stand before the first
        layer), 'hidden 1', ..., 'output'.
    n_in, n_out : int or None
        Numbers of inputs and of units. A number that is known only after `fit` is None, and so is
        `n_in` of the input.
    activation : str or None
        Name of the activation, if the layer has one.
    normalization : str or None
        The normalization, if the layer has one.
    dropout : float
        Dropout rate of the outputs of the layer.
    n_parameters : int or None
        Number of parameters of all members; None if it is known only after `fit`.
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
        """The numbers of inputs and of units, as in '64 -> 100'."""
        n_out = count_text(self.n_out)
        return n_out if self.name == "input" else f"{count_text(self.n_in)} -> {n_out}"

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the layer's row, one for each of `COLUMNS`."""
        return (
            *(self.name, self.shape, self.activation or "-", self.normalization or "-"),
            f"{self.dropout:g}" if self.dropout else "-",
            "-" if self.name == "input" else count_text(self.n_parameters),
        )


class Facts(NamedTuple):
    """Facts about the network of an estimator.

    Attributes
    ----------
    estimator : str
        Name of the estimator's class.
    is_fitted : bool
        Whether the estimator is fitted.
    layers : list of LayerFacts
        The layers, from the input to the output.
    n_parameters : int or None
        Number of all parameters; None if it is known only after `fit`.
    settings : dict of str to str
        The number of members if there are several, the loss, solver, device, dtype and epochs, and
        the last losses and scores of a fitted estimator.
    notes : list of str
        What the last training showed to be wrong, and parameters that have no effect.
    """

    estimator: str
    is_fitted: bool
    layers: list[LayerFacts]
    n_parameters: int | None
    settings: dict[str, str]
    notes: list[str]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The texts of the table: `COLUMNS`, a row for each layer, and one for the total."""
        total = ("total", *[""] * (len(COLUMNS) - 2), count_text(self.n_parameters))
        return [COLUMNS, *(layer.cells for layer in self.layers), total]

    @property
    def units(self) -> list[str]:
        """The number of units of each layer, from the features to the outputs."""
        return [count_text(layer.n_out) for layer in self.layers]


def count_text(count: int | None) -> str:
    """Return a number with commas, or a question mark for None."""
    return UNKNOWN if count is None else f"{count:,}"


def name_of(choice: Any) -> str:
    """Return the name of a parameter that is a string, a class, a function or a partial."""
    if isinstance(choice, str):
        return choice
    choice = getattr(choice, "func", choice)  # A functools.partial has its function in `func`.
    return getattr(choice, "__name__", type(choice).__name__)


def facts_of(estimator: BaseEstimator) -> Facts:
    """Return the facts about an estimator's network.

    The numbers of features and of outputs, and what depends on them, are known only after `fit`.

    Raises
    ------
    ValueError, TypeError
        If `fit` would refuse a parameter that is shown, or if the parameters describe no network.
    """
    now = estimator._snapshot()
    constraints = {name: now._parameter_constraints[name] for name in _PARAMETERS_SHOWN}
    given = {name: getattr(now, name) for name in _PARAMETERS_SHOWN}
    with explaining_values(estimator):
        validate_parameter_constraints(constraints, given, caller_name=type(estimator).__name__)
    is_fitted = hasattr(now, "coefs_")
    if is_fitted:
        units = now._layer_units()
        out_activation = now.out_activation_
    else:
        units = (None, *_parameter_checks.hidden_units(now.hidden_layer_sizes), None)
        out_activation = UNKNOWN
    n_hidden = len(units) - 2
    activations = _parameter_checks.layer_activations(now.activation, n_hidden)
    dropout = _parameter_checks.dropout_rates(now.dropout, n_hidden)
    extra = _parameters_between(now, units, activations, is_fitted)
    n_members = now._fitted_members() if is_fitted else now.n_members

    layers = [LayerFacts("input", None, units[0], dropout=float(now.input_dropout))]
    first = _layer_of_inputs(now, units[0], is_fitted)
    if first is not None:
        layers.append(first)
        units = (first.n_out, *units[1:])
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
                n_members * ((n_in + 1) * n_out + extra[i]) if is_known else None,
            )
        )
    counts = [layer.n_parameters for layer in layers]
    total = None if None in counts else sum(counts)
    settings = {} if n_members == 1 else {"members": str(n_members)}
    settings |= _settings(now, is_fitted)
    notes = [*(now._notes if is_fitted else []), *_without_effect(now)]
    return Facts(type(estimator).__name__, is_fitted, layers, total, settings, notes)


def _layer_of_inputs(
    estimator: BaseEstimator, n_features: int | None, is_fitted: bool
) -> LayerFacts | None:
    """Return the facts about what stands before the first layer, or None if nothing does."""
    embedding = estimator.numeric_embedding
    if is_fitted and estimator._fitted_network().embedding is None:
        embedding = None  # No column has more than two values.
    if embedding is None and not estimator.input_scaling:
        return None
    name, activation = ("scaling", None) if embedding is None else ("embedding", "periodic")
    if not is_fitted:
        return LayerFacts(name, n_features, None, activation, n_parameters=None)
    state, network = estimator.module_state_, estimator._fitted_network()
    counts = [
        np.size(array)
        for key, array in state.items()
        if key.startswith(("embedding.", "input_scaling.")) and key != "embedding.columns"
    ]
    n_inputs = network.linear_units[0]
    return LayerFacts(name, n_features, n_inputs, activation, n_parameters=sum(counts))


def _parameters_between(
    estimator: BaseEstimator, units: tuple, activations: tuple, is_fitted: bool
) -> list[int | None]:
    """Return, for each layer, the number of parameters beside its weights and biases.

    They are a scale and a shift for each unit that is normalized, a weight for each unit of a
    parametric activation, and the parameters of the user's own. The last layer has none.
    """
    is_own = [not isinstance(activation, str) for activation in activations]
    if not (is_fitted and any(is_own)):
        n_for_each = 0 if estimator.normalization is None else 2
        known = (
            (n_for_each + (not own and name.startswith(PARAMETRIC))) * size
            for name, own, size in zip(activations, is_own, units[1:-1], strict=True)
        )
        return [None if own else n for own, n in zip(is_own, known, strict=True)] + [0]
    # Torch is needed to tell the parameters of a module from its buffers. A module that stands in
    # two layers is counted in the first.
    from torch import nn

    from sknn._network._module import modules_between

    (layers,) = modules_between(estimator._network(units, n_members=1)).members
    named = {name: module for layer in layers[1:] for name, module in layer}
    counts = [0] * (len(units) - 1)
    for name, parameter in nn.ModuleDict(named).named_parameters():
        module, _, _ = name.partition(".")
        counts[int(module.lstrip(string.ascii_letters))] += parameter.numel()
    return counts


def _without_effect(estimator: BaseEstimator) -> list[str]:
    """Return a line for each parameter that is set and has no effect, as in scikit-learn."""
    solver, rate = estimator.solver, estimator.learning_rate
    notes = []
    if isinstance(rate, str) and rate in ("adaptive", "invscaling") and solver != "sgd":
        notes.append(f"learning_rate={rate!r} has no effect: it is for solver='sgd'")
    if estimator.early_stopping and solver == "lbfgs":
        notes.append("early_stopping has no effect: solver='lbfgs' has no epochs")
    return notes


def _settings(estimator: BaseEstimator, is_fitted: bool) -> dict[str, str]:
    """Return the texts of `Facts.settings`."""
    settings = {"loss": name_of(estimator.loss), "solver": name_of(estimator.solver)}
    unit = "iterations" if estimator.solver == "lbfgs" else "epochs"
    if not is_fitted:
        settings["device"] = estimator.device
        settings["dtype"] = estimator.dtype
        is_by_rows = estimator.max_iter == "by_rows"
        settings[unit] = "by the number of rows" if is_by_rows else f"at most {estimator.max_iter}"
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
            (known,) = np.nonzero(~np.isnan(curves[name]))
            last = known[-1] if len(known) else -1
            settings[title] = f"{curves[name][last]:.4g}"
            if 0 <= last < n_epochs - 1:
                settings[title] += f" in epoch {last + 1}, the last with validation rows"
            if best is not None and best - 1 in known:
                settings[title] += f"; in epoch {best}: {curves[name][best - 1]:.4g}"
    return settings


def text_of(facts: Facts) -> str:
    """Return the facts as lines of text."""
    rows = facts.rows
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
            *(f"{'note'.ljust(width)}  {note}" for note in facts.notes),
        ]
    )
