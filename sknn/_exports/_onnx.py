"""Conversion to ONNX, through the hooks that skl2onnx looks for on an estimator.

skl2onnx asks an estimator for three things: which outputs it has (`parser_of`), what their types
and shapes are (`set_shapes`), and the nodes that compute them (`convert`). For options, searches
and ensembles it looks up the class in a registry instead. The first hook registers the class, so
that the first conversion of a process is like all later ones.

Numbers are computed in the type of the input, as in skl2onnx's own converters: in double for
double, and in float for everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

try:
    from onnx import TensorProto
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import (
        DictionaryType,
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        SequenceType,
        StringTensorType,
    )
except ImportError as error:
    raise ImportError(
        f"Conversion to ONNX needs skl2onnx, which cannot be imported: {error}. Install it with"
        ' `pip install "sknn[onnx]"`.'
    ) from error

from sknn._exports._batch_norm_folding import folded
from sknn._exports._onnx_nodes import (
    ACTIVATIONS,
    Nodes,
    embedded,
    layer_normalized,
    mixed,
    predictions,
    probabilities,
)
from sknn._input import _targets
from sknn._network._architecture import PARAMETRIC

if TYPE_CHECKING:
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope, Variable

    from sknn._network._architecture import Network

LOWEST_OPSET = 11
# The options that skl2onnx has for MLPClassifier.
_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [True, False],
}


def register(kinds: Iterable[type[BaseEstimator]]) -> None:
    """Register classes of estimators in skl2onnx."""
    for kind in kinds:
        update_registered_converter(
            kind,
            f"Sknn{kind.__name__}",
            set_shapes,
            convert,
            parser=_parse,
            options=None if kind._numeric_targets else dict(_OPTIONS),
        )


def parser_of(model: BaseEstimator) -> Callable[[Scope, list[Variable]], list[Variable]]:
    """Return the function that skl2onnx calls for an estimator of a class not yet registered."""

    def parser(scope: Scope, inputs: list[Variable]) -> list[Variable]:
        if type(model) not in scope.registered_models["aliases"]:
            register([type(model)])
        return _outputs(scope, model, inputs)

    return parser


def _parse(scope: Scope, model: Any, inputs: list[Variable], custom_parsers: Any = None) -> Any:
    """Declare an operator and its outputs. skl2onnx calls this for a registered class."""
    operator = scope.declare_local_operator(f"Sknn{type(model).__name__}", model)
    operator.inputs = inputs
    for variable in _outputs(scope, model, inputs):
        operator.outputs.append(variable)
    return operator.outputs


def _outputs(scope: Scope, model: BaseEstimator, inputs: list[Variable]) -> list[Variable]:
    """Declare the outputs that the options ask for, under the names that skl2onnx uses."""
    check_is_fitted(model, "coefs_")
    number = _number_type(inputs)
    declare = scope.declare_local_variable
    if model._numeric_targets:
        return [declare("variable", number())]
    options = _options(scope, model)
    model = model._snapshot()
    label = _label_type(_labels(model, options))
    if options["zipmap"] and options["output_class_labels"]:
        raise ValueError(
            "The option output_class_labels requires zipmap=False, but zipmap is"
            f" {options['zipmap']!r}. Set only one of the two options."
        )
    if options["zipmap"] == "columns":
        prefix = "s" if label is StringTensorType else "i"
        names = [f"{prefix}{name}" for name in _labels(model, options)]
        return [declare("output_label", label()), *(declare(name, number()) for name in names)]
    if options["zipmap"]:
        maps = SequenceType(DictionaryType(label([None]), FloatTensorType()))
        return [declare("output_label", label()), declare("output_probability", maps)]
    outputs = [declare("label", label()), declare("probabilities", number())]
    if options["output_class_labels"]:
        outputs.append(declare("class_labels", label()))
    return outputs


def _options(scope: Scope, model: BaseEstimator) -> dict[str, Any]:
    return scope.get_options(model, {"zipmap": True, "nocl": False, "output_class_labels": False})


def _number_type(inputs: list[Variable]) -> type:
    is_double = any(isinstance(variable.type, DoubleTensorType) for variable in inputs)
    return DoubleTensorType if is_double else FloatTensorType


def _label_type(labels: np.ndarray) -> type:
    return StringTensorType if labels.dtype.kind in "OUS" else Int64TensorType


def _labels(model: BaseEstimator, options: dict[str, Any]) -> np.ndarray:
    """Return the classes as ONNX can hold them: strings or int64.

    Raises
    ------
    ValueError
        If the classes are not strings, bools or whole numbers.
    """
    if not hasattr(model, "classes_"):
        raise _targets.classes_are_missing(model)
    classes = model.classes_
    if options.get("nocl"):
        return np.arange(len(classes))
    if all(isinstance(label, str) for label in classes.tolist()):
        return classes
    try:
        with np.errstate(invalid="ignore"):  # NumPy would warn of an infinity.
            labels = classes.astype(np.int64)
        is_exact = bool((labels == classes).all())
    except (TypeError, ValueError, OverflowError):
        is_exact = False
    if not is_exact:
        raise ValueError(
            f"The labels {classes} cannot be stored in ONNX, which only supports strings and int64."
            " Encode them as one of these before fit, or convert with the option nocl=True, with"
            " which the model returns their indices in classes_."
        )
    return labels


def set_shapes(operator: Operator) -> None:
    """Set the types and shapes of an operator's outputs."""
    model, outputs = operator.raw_operator._snapshot(), operator.outputs
    n_rows = operator.inputs[0].get_first_dimension()
    if model._numeric_targets:
        outputs[0].type.shape = [n_rows, *model._shape_of_a_row()]
        return
    options = _options(operator.scope_inst, operator.raw_operator)
    labels = _labels(model, options)
    is_multilabel = model._label_binarizer.y_type_.startswith("multilabel")
    shape = [n_rows, len(labels)]
    outputs[0].set_type(_label_type(labels)(shape if is_multilabel else [n_rows]))
    if _is_in_columns(options, outputs):
        for column in outputs[1:]:
            column.type.shape = [n_rows]
    elif not isinstance(outputs[1].type, SequenceType):
        outputs[1].type.shape = shape
        for class_labels in outputs[2:]:
            class_labels.type.shape = [len(labels)]


def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    """Add the nodes of a network to a graph.

    Raises
    ------
    ValueError
        If ONNX cannot express the network, or the target opset is too low.
    """
    check_is_fitted(operator.raw_operator, "coefs_")
    model = operator.raw_operator._snapshot()
    network = model._checked_network()
    _refuse_what_onnx_lacks(model, network, container.target_opset)
    is_double = _number_type(operator.inputs) is DoubleTensorType
    nodes = Nodes(scope, container, np.float64 if is_double else np.float32)
    columns = [nodes.cast(variable.full_name, nodes.proto) for variable in operator.inputs]
    x = columns[0] if len(columns) == 1 else nodes.add("Concat", *columns, axis=1)
    # Opsets differ in what softmax does to three dimensions, so that each member has its own nodes.
    results = [_result(nodes, x, model, network, i) for i in range(network.n_members)]
    result = results[0] if len(results) == 1 else nodes.mean(results)
    if model._numeric_targets:
        bounds = model._output_bounds()
        if bounds is not None:
            low, high = (nodes.constant(b.reshape(model._shape_of_a_row())) for b in bounds)
            result = nodes.add("Min", nodes.add("Max", result, low), high)
        nodes.add("Identity", result, output=operator.outputs[0].full_name)
    else:
        _write_classification(nodes, model, operator, result)


def _result(nodes: Nodes, x: str, model: BaseEstimator, network: Network, member: int) -> str:
    """Add the nodes of one member, and return its predictions or the probabilities of classes."""
    coefs, intercepts, modules = model.coefs_, model.intercepts_, model.module_state_
    if network.n_members > 1:
        coefs, intercepts = ([array[member] for array in of] for of in (coefs, intercepts))
        modules = {
            name: array if name.startswith("embedding.") else array[member]
            for name, array in modules.items()
        }
    coefs, intercepts = folded(coefs, intercepts, modules, np.float64)
    if network.embedding is not None:
        x = embedded(nodes, x, modules)
    n_hidden = len(network.activations)
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        x = nodes.linear(x, coef, intercept)
        if i < n_hidden:
            if network.normalization == "layer":
                parts = (modules[f"normalization{i}.{k}"] for k in ("weight", "bias"))
                x = layer_normalized(nodes, x, *parts)
            name = network.activations[i]
            activated = ACTIVATIONS[name.removeprefix(PARAMETRIC)](nodes, x)
            if name.startswith(PARAMETRIC):
                activated = mixed(nodes, x, activated, modules[f"activation{i}.weight"])
            x = activated
    if model._numeric_targets:
        return predictions(nodes, x, model.out_activation_, model._shape_of_a_row())
    return probabilities(nodes, x, model.out_activation_, len(intercepts[-1]))


def _is_in_columns(options: dict[str, Any], outputs: list[Variable]) -> bool:
    """Return whether each class has an output of its own.

    An ensemble asks for a single output with the columns of all classes.
    """
    return options["zipmap"] == "columns" and len(outputs) > 2


def _refuse_what_onnx_lacks(model: BaseEstimator, network: Network, opset: int) -> None:
    """Raise one error that names everything that ONNX cannot express."""
    lacking = []
    own = network.names_of_own_modules
    if own:
        lacking.append(
            f"modules of your own as activation ({own}): export module_ by torch.onnx instead"
        )
    if not model._numeric_targets and len(model.classes_) == 1:
        lacking.append(f"a single class ({model.classes_[0]!r}), which needs no network")
    if opset < LOWEST_OPSET:
        lacking.append(f"target_opset={opset}: choose one from {LOWEST_OPSET} on")
    if lacking:
        raise ValueError(
            f"This {type(model).__name__} cannot be converted to ONNX: {'; '.join(lacking)}."
        )


def _write_classification(nodes: Nodes, model: BaseEstimator, operator: Operator, p: str) -> None:
    """Add the nodes of labels and probabilities, in the form of the operator's outputs."""
    outputs, options = operator.outputs, _options(nodes.scope, operator.raw_operator)
    labels = _labels(model, options)
    kind = str if _label_type(labels) is StringTensorType else np.int64
    label = outputs[0].full_name
    if model._label_binarizer.y_type_.startswith("multilabel"):
        is_there = nodes.add("Greater", p, nodes.constant(0.5))
        nodes.cast(is_there, TensorProto.INT64, output=label)
    else:
        place = nodes.add("ArgMax", p, axis=1, keepdims=0)
        nodes.add("Gather", nodes.constant(labels, kind), place, axis=0, output=label)
    if isinstance(outputs[1].type, SequenceType):
        name = "classlabels_strings" if kind is str else "classlabels_int64s"
        keys = {name: labels.tolist()}
        p = nodes.cast(p, TensorProto.FLOAT)  # ZipMap takes no other type.
        nodes.add("ZipMap", p, output=outputs[1].full_name, domain="ai.onnx.ml", **keys)
        _join_identity(nodes.container)
    elif _is_in_columns(options, outputs):
        for i, column in enumerate(outputs[1:]):
            place = nodes.constant(i, np.int64)
            nodes.add("Gather", p, place, axis=1, output=column.full_name)
    else:
        nodes.add("Identity", p, output=outputs[1].full_name)
        for class_labels in outputs[2:]:
            nodes.add("Identity", nodes.constant(labels, kind), output=class_labels.full_name)


def _join_identity(container: ModelComponentContainer) -> None:
    """Remove an Identity node behind the last node, which then writes to the Identity's output.

    skl2onnx puts an Identity behind the outputs of a search's best estimator, and onnxruntime has
    no Identity for maps.
    """
    last = container.nodes[-1]
    for node in container.nodes:
        if node.op_type == "Identity" and node.input[0] == last.output[0]:
            last.output[0] = node.output[0]
            container.nodes.remove(node)
            return
