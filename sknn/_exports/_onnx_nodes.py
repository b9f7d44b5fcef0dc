"""The parts of a network as ONNX nodes, made of operators that are the same from opset 11 on.

onnxruntime has no kernels of doubles for Elu, Selu, LeakyRelu, Softplus and Erf, and opsets differ
in how reductions take their axes. So activations are made of simpler operators, and the mean over
the units of a row is a product with a column of 1 / n. Only the error function of doubles is
computed in floats, with an error of 1e-7 in 'gelu'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

from sknn._exports._batch_norm_folding import EPSILON

if TYPE_CHECKING:
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Scope

# SELU's constants (Klambauer et al., 2017), as torch.nn.SELU has them.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_LEAK = 0.01  # the default slope of torch.nn.LeakyReLU


class Nodes:
    """Builder of a graph. Its methods take and return names of tensors.

    Parameters
    ----------
    scope : skl2onnx.common._topology.Scope
        Source of unique names.
    container : skl2onnx.common._container.ModelComponentContainer
        Container that nodes and constants are added to.
    dtype : type
        Dtype to compute in, float32 or float64.
    """

    def __init__(self, scope: Scope, container: ModelComponentContainer, dtype: type) -> None:
        self.scope, self.container, self.dtype = scope, container, dtype
        self.proto = TensorProto.DOUBLE if dtype is np.float64 else TensorProto.FLOAT

    def add(
        self, op: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output, and return the output's name."""
        output = output or self.scope.get_unique_variable_name(f"sknn_{op.lower()}")
        name = self.scope.get_unique_operator_name(f"sknn_{op}")
        self.container.add_node(
            op, list(inputs), [output], op_domain=domain, name=name, **attributes
        )
        return output

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add an array of numbers, by default in the dtype to compute in, or of strings."""
        name = self.scope.get_unique_variable_name("sknn_constant")
        array = np.asarray(value, self.dtype if dtype is None else dtype, order="C")
        if array.dtype.kind in "OUS":
            content = [str(text).encode("utf-8") for text in array]
            self.container.add_initializer(name, TensorProto.STRING, array.shape, content)
        else:
            tensor = numpy_helper.from_array(array)
            self.container.add_initializer(name, tensor.data_type, array.shape, tensor)
        return name

    def cast(self, x: str, to: int, output: str = "") -> str:
        return self.add("Cast", x, to=to, output=output)

    def linear(self, x: str, coef: np.ndarray, intercept: np.ndarray) -> str:
        product = self.add("MatMul", x, self.constant(coef))
        return self.add("Add", product, self.constant(intercept))

    def mean(self, results: list[str]) -> str:
        """Add the mean of tensors of one shape. onnxruntime's own has no kernel of doubles."""
        return self.times(self.add("Sum", *results), 1 / len(results))

    def times(self, x: str, number: float) -> str:
        return self.add("Mul", x, self.constant(number))

    def plus(self, x: str, number: float) -> str:
        return self.add("Add", x, self.constant(number))


def _leaky_relu(nodes: Nodes, x: str) -> str:
    return nodes.add("Max", x, nodes.times(x, _LEAK))


def _elu(nodes: Nodes, x: str, alpha: float = 1.0) -> str:
    below = nodes.add("Exp", nodes.add("Min", x, nodes.constant(0.0)))
    below = nodes.times(nodes.plus(below, -1.0), alpha)
    return nodes.add("Add", nodes.add("Relu", x), below)


def _selu(nodes: Nodes, x: str) -> str:
    return nodes.times(_elu(nodes, x, _SELU_ALPHA), _SELU_SCALE)


def _gelu(nodes: Nodes, x: str) -> str:
    root = nodes.times(x, 1 / math.sqrt(2))
    if nodes.proto == TensorProto.DOUBLE:
        single = nodes.cast(root, TensorProto.FLOAT)
        erf = nodes.cast(nodes.add("Erf", single), TensorProto.DOUBLE)
    else:
        erf = nodes.add("Erf", root)
    return nodes.add("Mul", nodes.times(x, 0.5), nodes.plus(erf, 1.0))


def _softplus(nodes: Nodes, x: str) -> str:
    """Compute log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    decay = nodes.add("Exp", nodes.add("Neg", nodes.add("Abs", x)))
    return nodes.add("Add", nodes.add("Relu", x), nodes.add("Log", nodes.plus(decay, 1.0)))


def _silu(nodes: Nodes, x: str) -> str:
    # This is not x * Sigmoid(x), which onnxruntime 1.18 fuses into a node without a kernel for
    # doubles.
    return nodes.add("Div", x, nodes.plus(nodes.add("Exp", nodes.add("Neg", x)), 1.0))


def _mish(nodes: Nodes, x: str) -> str:
    return nodes.add("Mul", x, nodes.add("Tanh", _softplus(nodes, x)))


ACTIVATIONS: dict[str, Callable[[Nodes, str], str]] = {
    "identity": lambda nodes, x: x,
    "logistic": lambda nodes, x: nodes.add("Sigmoid", x),
    "tanh": lambda nodes, x: nodes.add("Tanh", x),
    "relu": lambda nodes, x: nodes.add("Relu", x),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "softplus": _softplus,
}


def layer_normalized(nodes: Nodes, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
    """Give each row mean 0 and variance 1 over its units, then scale and shift the units."""
    average = nodes.constant(np.full((len(weight), 1), 1 / len(weight)))
    centred = nodes.add("Sub", x, nodes.add("MatMul", x, average))
    variance = nodes.add("MatMul", nodes.add("Mul", centred, centred), average)
    deviation = nodes.add("Sqrt", nodes.plus(variance, EPSILON))
    unit = nodes.add("Div", centred, deviation)
    scaled = nodes.add("Mul", unit, nodes.constant(weight))
    return nodes.add("Add", scaled, nodes.constant(bias))


def embedded(nodes: Nodes, x: str, modules: dict[str, np.ndarray]) -> str:
    """Put the values of a periodic embedding before the columns of the rows.

    Cosines are sines of other phases, as onnxruntime has no Cos of doubles.
    """
    columns, frequencies, phases, weight, bias = (
        np.asarray(modules[f"embedding.{name}"])
        for name in ("columns", "frequencies", "phases", "weight", "bias")
    )
    n, n_values = bias.shape
    chosen = nodes.add("Gather", x, nodes.constant(columns, np.int64), axis=1)
    by_column = nodes.add("Transpose", chosen, perm=[1, 0])
    by_column = nodes.add("Reshape", by_column, nodes.constant([n, -1, 1], np.int64))
    speed = 2 * math.pi * np.asarray(frequencies, np.float64)[:, None]
    shift = np.asarray(phases, np.float64)[:, None] + math.pi / 2
    angles = nodes.add("MatMul", by_column, nodes.constant(speed))
    cosines = nodes.add("Sin", nodes.add("Add", angles, nodes.constant(shift)))
    values = nodes.add("MatMul", cosines, nodes.constant(weight.swapaxes(1, 2)))
    values = nodes.add("Add", values, nodes.constant(bias[:, None]))
    by_row = nodes.add("Transpose", values, perm=[1, 0, 2])
    flat = nodes.add("Reshape", by_row, nodes.constant([-1, n * n_values], np.int64))
    return nodes.add("Concat", flat, x, axis=1)


def mixed(nodes: Nodes, x: str, activated: str, weight: np.ndarray) -> str:
    """Mix an activation with its input, by a weight of each unit."""
    change = nodes.add("Mul", nodes.add("Sub", activated, x), nodes.constant(weight))
    return nodes.add("Add", x, change)


def sorted_levels(nodes: Nodes, x: str, n_levels: int) -> str:
    """Sort the values along the last axis in increasing order."""
    values = nodes.scope.get_unique_variable_name("sknn_sorted")
    places = nodes.scope.get_unique_variable_name("sknn_places")
    nodes.container.add_node(
        "TopK",
        [x, nodes.constant([n_levels], np.int64)],
        [values, places],
        name=nodes.scope.get_unique_operator_name("sknn_TopK"),
        axis=-1,
        largest=0,
        sorted=1,
    )
    return values


def _exact_logistic(nodes: Nodes, x: str) -> str:
    """Compute the logistic function as exp(min(x, 0)) / (1 + exp(-|x|)).

    Small values are exact to all digits. onnxruntime's Sigmoid loses digits there, and is zero
    where the exponential is not.
    """
    above = nodes.add("Exp", nodes.add("Min", x, nodes.constant(0.0)))
    decay = nodes.add("Exp", nodes.add("Neg", nodes.add("Abs", x)))
    return nodes.add("Div", above, nodes.plus(decay, 1.0))


def probabilities(nodes: Nodes, raw: str, output_activation: str, n_outputs: int) -> str:
    """Compute the probability of each class, in one column each. No probability is zero.

    The two classes of a single logistic output are computed from the raw output and from its
    negative, since 1 - p would be zero from p = 1 - 1e-16 on.
    """
    if output_activation == "softmax":
        p = nodes.add("Softmax", raw, axis=1)
    else:
        if n_outputs == 1:
            raw = nodes.add("Concat", nodes.add("Neg", raw), raw, axis=1)
        p = _exact_logistic(nodes, raw)
    return nodes.add("Max", p, nodes.constant(np.finfo(nodes.dtype).tiny))


def predictions(nodes: Nodes, raw: str, output_activation: str, shape: tuple[int, ...]) -> str:
    """Compute the predictions of a regressor. Those for one row have the given shape."""
    if len(shape) > 1:
        raw = nodes.add("Reshape", raw, nodes.constant([0, *shape], np.int64))  # 0 keeps the rows
    if output_activation == "exp":
        return nodes.add("Exp", raw)
    return sorted_levels(nodes, raw, shape[-1]) if output_activation == "sort" else raw
