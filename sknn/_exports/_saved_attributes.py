"""Checks of the attributes of a fitted estimator that comes from a file or goes into one.

A file may come from a stranger, who can put anything in the place of an attribute. Attributes that
pass the checks are those of a model that a fit could have left, as far as prediction and further
training are concerned. The checks look at types, shapes and numbers of items, and not at whether
the values make a good model.
"""

from __future__ import annotations

import math
import re
import reprlib
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np

from sknn._files._plain_values import ARRAYS
from sknn._network._solver_options import SOLVER_OPTIONS, state_names
from sknn._training._fitted_names import (
    ALL,
    CLASSIFIER,
    NAMED,
    OUTPUT_ACTIVATIONS,
    REGRESSOR,
    STOCHASTIC,
    names_set_by,
)

# Attributes that an estimator may have, and that a file leaves out or holds in a form of its own.
NOT_AS_THEY_ARE = ("callbacks_", "_metadata_request")
_OF_STOCHASTIC_SOLVERS = names_set_by(STOCHASTIC)

_DEVICE = re.compile(r"[a-z]{1,20}(:[0-9]{1,3})?", re.ASCII)
_NORMALIZED = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_BATCH_NORMALIZED = (*_NORMALIZED, *_STATISTICS)
# Ranges of the numbers in a solver's state. A float counts exactly up to 2 ** 53.
_RANGES = {
    "lr": (0.0, math.inf),
    "learning_rate_init": (0.0, math.inf),
    "beta_1": (0.0, 1.0),
    "beta_2": (0.0, 1.0),
    "epsilon": (0.0, math.inf),
    "alpha": (0.0, math.inf),
    "momentum": (0.0, math.inf),
    "power_t": (0.0, math.inf),
    "n_updates": (0, 2**53),
}


def _needed(is_classifier: bool) -> list[str]:
    """Return the names of the attributes that a file of a fitted estimator must hold."""
    names = names_set_by(ALL, CLASSIFIER if is_classifier else REGRESSOR)
    return [name for name in names if name not in NOT_AS_THEY_ARE]


def allowed(is_classifier: bool) -> tuple[str, ...]:
    """Return the names of the attributes of a fit that a file may hold."""
    return (*_needed(is_classifier), *_OF_STOCHASTIC_SOLVERS, *names_set_by(NAMED))


def check(attributes: dict[str, Any], is_classifier: bool) -> None:
    """Refuse attributes that no fit can have left.

    An unfitted estimator has no attributes at all, which is allowed.

    Raises
    ------
    ValueError
        If an attribute is missing, unknown or unsound. The message names it.
    """
    if not attributes:
        return
    unknown = [name for name in attributes if name not in allowed(is_classifier)]
    if unknown:
        raise ValueError(f"it has unknown attributes: {unknown!r:.200}")
    needed = _needed(is_classifier)
    if any(name in attributes for name in _OF_STOCHASTIC_SOLVERS):
        needed += _OF_STOCHASTIC_SOLVERS
    for name in needed:
        _require(name in attributes, name, None, "present", "missing")
    units, leading = _check_intercepts(attributes)
    state = attributes["module_state_"]
    _require(type(state) is dict, "module_state_", state, "a dict")
    shapes, n_added = _shapes_of_modules(state, units, leading)
    linear_units = (units[0] + n_added, *units[1:])
    coefs_shapes = [(*leading, *shape) for shape in pairwise(linear_units)]
    _check_arrays("coefs_", attributes["coefs_"], coefs_shapes)
    _check_counts(attributes, units)
    _check_modules(state, shapes, units[0])
    outputs = OUTPUT_ACTIVATIONS[is_classifier]
    out = attributes["out_activation_"]
    _require(out in outputs, "out_activation_", out, f"one of {outputs}")
    if is_classifier:
        _check_classes(attributes, units[-1], out)
    else:
        n = attributes["_n_targets"]
        is_sound = _is_count(n, 1) and units[-1] % n == 0
        _require(is_sound, "_n_targets", n, f"a divisor of {units[-1]}")
        _require(out == "sort" or n == units[-1], "_n_targets", n, f"{units[-1]}")
        _check_scaling(attributes["_target_scaling"], n)
    if "_solver_state" in attributes:
        _check_progress(attributes)
        extras = _shapes_of_extras(shapes, leading)
        _check_solver(attributes["_solver_state"], linear_units, leading, extras)
    notes = attributes["_notes"]
    is_list = type(notes) is list and all(type(note) is str for note in notes)
    _require(is_list, "_notes", notes, "a list of strings")
    history = attributes["_history"]
    is_history = type(history) is list and all(type(record) is dict for record in history)
    _require(is_history, "_history", history, "a list of dicts")


def _require(holds: Any, name: str, value: Any, expected: str, found: str = "") -> None:
    if not holds:
        found = found or reprlib.repr(value)
        raise ValueError(f"its attribute {name} is {found}, but it must be {expected}")


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_array(value: Any, kinds: str, shape: tuple[int, ...]) -> bool:
    return type(value) in ARRAYS and value.dtype.kind in kinds and value.shape == shape


def _check_intercepts(attributes: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Check the biases of the layers, and that there are as many weights.

    Returns
    -------
    units : tuple of int
        Numbers of features and of units in each layer.
    leading : tuple of int
        The leading dimensions of weights and biases: none, or the number of members.
    """
    coefs, intercepts = attributes["coefs_"], attributes["intercepts_"]
    for name, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
        is_list = isinstance(arrays, list | tuple) and arrays
        _require(is_list, name, arrays, "a list of arrays, one for each layer")
    shapes = [np.shape(intercept) for intercept in intercepts]
    n_features = attributes["n_features_in_"]
    _require(_is_count(n_features, 1), "n_features_in_", n_features, "an int of at least 1")
    leading = shapes[0][:-1]
    is_chain = len(leading) < 2 and all(n > 1 for n in leading)
    is_chain = is_chain and all(s[:-1] == leading and len(s) and s[-1] > 0 for s in shapes)
    expected = "of shapes (n_units,), or (n_members, n_units) with several members"
    _require(is_chain, "intercepts_", None, expected, f"of shapes {shapes!r:.200}")
    _check_arrays("intercepts_", intercepts, shapes)
    return (int(n_features), *(shape[-1] for shape in shapes)), leading


def _check_arrays(
    name: str, arrays: Any, shapes: list[tuple[int, ...]], kinds: str = "fiu"
) -> None:
    """Check that an attribute is a list of arrays of numbers that have these shapes."""
    is_list = isinstance(arrays, list | tuple) and len(arrays) == len(shapes)
    is_sound = is_list and all(map(_is_array, arrays, [kinds] * len(shapes), shapes))
    expected = f"a list of arrays of numbers, of the shapes {shapes!r:.300}"
    found = arrays
    if is_list:
        found = [(a.dtype.str, a.shape) if type(a) in ARRAYS else type(a) for a in arrays]
    _require(is_sound, name, found, expected)


def _check_counts(attributes: dict[str, Any], units: tuple[int, ...]) -> None:
    n_features = units[0]
    for name, expected in (("n_layers_", len(units)), ("n_outputs_", units[-1])):
        value = attributes[name]
        _require(_is_count(value) and value == expected, name, value, str(expected))
    for name in ("n_iter_", "t_"):
        value = attributes[name]
        _require(_is_count(value) and value < 2**62, name, value, "an int of at least 0")
    _require(_is_number(attributes["loss_"]), "loss_", attributes["loss_"], "a float")
    device = attributes["device_"]
    is_device = type(device) is str and _DEVICE.fullmatch(device)
    _require(is_device, "device_", device, "a device string of torch")
    if "feature_names_in_" in attributes:
        names = attributes["feature_names_in_"]
        is_sound = _is_array(names, "O", (n_features,)) and all(type(n) is str for n in names)
        _require(is_sound, "feature_names_in_", names, f"an array of {n_features} strings")


def _shapes_of_modules(
    state: dict[str, Any], units: tuple[int, ...], leading: tuple[int, ...]
) -> tuple[dict[str, tuple[int, ...]], int]:
    """Return the shapes of `module_state_`, and the number of values that an embedding adds.

    Which parts are there follows from the names in it. The order is that of the parameters.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    n_added = 0
    if "embedding.weight" in state:
        shape = np.shape(state["embedding.weight"])
        _require(len(shape) == 3, "module_state_", None, "with an embedding.weight of 3 dimensions")
        n, n_values, n_frequencies = shape
        n_added = n * n_values
        shapes["embedding.frequencies"] = shapes["embedding.phases"] = (n, n_frequencies)
        shapes |= {"embedding.weight": shape, "embedding.bias": (n, n_values)}
        shapes["embedding.columns"] = (n,)
    if "input_scaling.weight" in state:
        shapes["input_scaling.weight"] = (*leading, units[0] + n_added)
    normalized = ()
    if "normalization0.weight" in state:
        is_batch = "normalization0.running_mean" in state
        normalized = _BATCH_NORMALIZED if is_batch else _NORMALIZED
    for i, n_units in enumerate(units[1:-1]):
        for name in normalized:
            shape = () if name == "num_batches_tracked" else (n_units,)
            shapes[f"normalization{i}.{name}"] = (*leading, *shape)
        if f"activation{i}.weight" in state:
            shapes[f"activation{i}.weight"] = (*leading, n_units)
    return shapes, n_added


def _shapes_of_extras(
    shapes: dict[str, tuple[int, ...]], leading: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Return the shapes of the parameters of modules: shared ones, then those of each member."""
    shared: list[tuple[int, ...]] = []
    own: list[tuple[int, ...]] = []
    for name, shape in shapes.items():
        if name.startswith("embedding."):
            shared += [] if name == "embedding.columns" else [shape]
        elif not name.endswith(_STATISTICS):
            own.append(shape[len(leading) :])
    return shared + own * math.prod(leading)


def _check_modules(state: Any, shapes: dict[str, tuple[int, ...]], n_features: int) -> None:
    """Check that `module_state_` holds arrays of these shapes, and nothing else."""
    expected = "a dict of the arrays of this package's own modules, or empty"
    _require(set(state) == set(shapes), "module_state_", None, expected, f"{list(state)!r:.300}")
    for name, shape in shapes.items():
        kinds = "iu" if name.endswith(("num_batches_tracked", "columns")) else "fiu"
        is_sound = _is_array(state[name], kinds, shape)
        _require(is_sound, f"module_state_[{name!r}]", state[name], f"an array of shape {shape}")
    columns = state.get("embedding.columns")
    if columns is not None:
        is_sound = len(columns) > 0 and 0 <= columns[0] and columns[-1] < n_features
        is_sound = is_sound and bool((np.diff(columns) > 0).all())
        expected = f"increasing numbers of columns below {n_features}"
        _require(is_sound, "module_state_['embedding.columns']", columns, expected)


def _check_scaling(scaling: Any, n_targets: int) -> None:
    """Check that scaling is None, or a mean and a positive scale of each target.

    The smallest and the largest target may follow.
    """
    if scaling is None:
        return
    is_sound = type(scaling) is tuple and len(scaling) in (2, 4)
    is_sound = is_sound and all(_is_array(values, "f", (n_targets,)) for values in scaling)
    is_sound = is_sound and all(np.isfinite(values).all() for values in scaling)
    is_sound = is_sound and bool((scaling[1] > 0).all())
    is_sound = is_sound and (len(scaling) == 2 or bool((scaling[2] <= scaling[3]).all()))
    expected = (
        f"None, or two or four arrays of {n_targets} numbers, of which the second are positive and"
        " the third not above the fourth"
    )
    _require(is_sound, "_target_scaling", scaling, expected)


def _check_classes(attributes: dict[str, Any], n_outputs: int, out: str) -> None:
    binarizer = attributes["_label_binarizer"]
    expected = "what a LabelBinarizer has learned"
    keys = {"y_type", "sparse_input", "classes"}
    is_dict = type(binarizer) is dict and set(binarizer) == keys
    _require(is_dict, "_label_binarizer", binarizer, expected)
    y_type, sparse, learned = (binarizer[key] for key in ("y_type", "sparse_input", "classes"))
    _require(type(sparse) is bool, "_label_binarizer", binarizer, expected)
    for name, classes in (("classes_", attributes["classes_"]), ("_label_binarizer", learned)):
        is_array = type(classes) in ARRAYS and classes.ndim == 1 and len(classes) > 0
        is_array = is_array and classes.dtype.kind in "biufUMO"
        is_array = is_array and _is_increasing(classes)
        _require(is_array, name, classes, "an array of labels, sorted")
    classes = attributes["classes_"]
    is_same = len(learned) == len(classes) and bool((learned == classes).all())
    _require(is_same, "_label_binarizer", learned, f"of the classes {reprlib.repr(classes)}")
    n_classes = len(classes)
    is_sound = {
        "binary": n_outputs == 1 and n_classes <= 2 and out == "logistic",
        # No fit leaves two classes with two outputs, but weights may be set by hand.
        "multiclass": n_outputs == n_classes > 1 and out == "softmax",
        "multilabel-indicator": n_outputs == n_classes and out == "logistic",
    }
    expected = f"of a kind with {n_classes} classes, {n_outputs} outputs and {out!r}"
    is_kind = type(y_type) is str and is_sound.get(y_type, False)
    _require(is_kind, "_label_binarizer", y_type, expected)


def _is_increasing(classes: np.ndarray) -> bool:
    try:
        return all(a < b for a, b in pairwise(classes.tolist())) and classes[0] == classes[0]
    except TypeError:  # The labels cannot be compared.
        return False


def _check_progress(attributes: dict[str, Any]) -> None:
    for name in ("loss_curve_", "learning_rate_curve_"):
        curve = attributes[name]
        is_curve = type(curve) is list and all(map(_is_number, curve))
        _require(is_curve, name, curve, "a list of floats")
    for name in ("validation_scores_", "validation_loss_curve_"):
        curve = attributes[name]
        is_curve = curve is None or type(curve) is list and all(map(_is_number, curve))
        _require(is_curve, name, curve, "a list of floats, or None")
    for name in ("best_loss_", "best_validation_score_"):
        value = attributes[name]
        _require(value is None or _is_number(value), name, value, "a float, or None")
    best, n_epochs = attributes["best_epoch_"], len(attributes["loss_curve_"])
    is_epoch = best is None or _is_count(best, 1) and best <= n_epochs
    _require(is_epoch, "best_epoch_", best, f"None, or an int from 1 to {n_epochs}")
    count, watched = attributes["_no_improvement_count"], attributes["_watched"]
    _require(_is_count(count), "_no_improvement_count", count, "an int of at least 0")
    _require(type(watched) is str, "_watched", watched, "a string")


def _check_solver(
    state: Any,
    units: tuple[int, ...],
    leading: tuple[int, ...],
    extras: list[tuple[int, ...]],
) -> None:
    """Check that a solver's state is empty or that of one of this package's solvers.

    `extras` are the shapes of the other parameters than weights and biases.
    """
    name = "_solver_state"
    _require(type(state) is dict, name, state, "a dict")
    if not state:
        return
    keys = {"name", "numbers", "slots", "n_calls", "scheduler"}
    _require(set(state) == keys, name, list(state), f"a dict of {keys}")
    solver, slots = state["name"], state["slots"]
    is_known = type(solver) is str and solver in SOLVER_OPTIONS
    _require(is_known, f"{name}['name']", solver, f"one of {tuple(SOLVER_OPTIONS)}")
    _require(_is_count(state["n_calls"]), f"{name}['n_calls']", state["n_calls"], "an int")
    _require(state["scheduler"] is None, f"{name}['scheduler']", state["scheduler"], "None")
    numbers, expected = state["numbers"], state_names(solver)
    is_dict = type(numbers) is dict and set(numbers) == set(expected)
    _require(is_dict, f"{name}['numbers']", numbers, f"a dict of {expected}")
    for key, value in numbers.items():
        where = f"{name}['numbers'][{key!r}]"
        if key == "nesterovs_momentum":
            _require(isinstance(value, bool | np.bool_), where, value, "a bool")
        elif key == "learning_rate":
            _require(type(value) is str, where, value, "a string")
        else:
            low, high = _RANGES[key]
            is_sound = _is_count(value) if key == "n_updates" else _is_number(value)
            is_sound = is_sound and low <= value <= high and math.isfinite(value)
            is_sound = is_sound and not (key in ("beta_1", "beta_2") and value == 1)
            # Torch converts an int to one of 64 bits.
            is_sound = is_sound and not (isinstance(value, Integral) and value > 2**53)
            _require(is_sound, where, value, f"a number from {low} to {high}")
    n_slots = SOLVER_OPTIONS[solver].n_slots
    is_list = type(slots) is list and len(slots) == n_slots
    is_list = is_list and all(type(slot) is tuple and len(slot) == 3 for slot in slots)
    _require(is_list, f"{name}['slots']", slots, f"a list of {n_slots} tuples")
    weights = [(*leading, *shape) for shape in pairwise(units)]
    biases = [(*leading, n_units) for n_units in units[1:]]
    for slot in slots:
        for arrays, shapes in zip(slot, (weights, biases, extras), strict=True):
            _check_arrays(f"{name}['slots']", arrays, shapes, "f")
