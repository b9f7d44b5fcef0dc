"""The hidden activations, one line each: function, derivative, torch module, initial weights.

The function works in place on the input of a layer. The derivative multiplies `delta` in place and
is taken from the activation's *output*, so that the input need not be kept; where that cannot be
done (`from_input`), it is taken from a copy of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from sknn._platform import _compat

InPlace = Callable[[torch.Tensor], object]
InPlaceBackward = Callable[[torch.Tensor, torch.Tensor], None]


class Activation(NamedTuple):
    """An elementwise function between two layers.

    Attributes
    ----------
    apply_ : callable
    backward_ : callable
        `(delta, output)`, or `(delta, input)` where `from_input`.
    module : type of torch.nn.Module
    initial : str
        A key of `sknn._network._module.INITIAL`: how the weights of its layer are drawn.
    from_input : bool
    """

    apply_: InPlace
    backward_: InPlaceBackward
    module: type[nn.Module]
    initial: str = "glorot"
    from_input: bool = False


def _nothing(_: torch.Tensor, __: torch.Tensor | None = None) -> None:
    """The identity, and its derivative."""


def _elu_(z: torch.Tensor) -> None:
    F.elu(z, inplace=True)


def _gelu_(z: torch.Tensor) -> None:
    z.copy_(F.gelu(z))


def _leaky_relu_(z: torch.Tensor) -> None:
    F.leaky_relu(z, inplace=True)


def _mish_(z: torch.Tensor) -> None:
    F.mish(z, inplace=True)


def _selu_(z: torch.Tensor) -> None:
    F.selu(z, inplace=True)


def _silu_(z: torch.Tensor) -> None:
    F.silu(z, inplace=True)


def _softplus_(z: torch.Tensor) -> None:
    z.copy_(F.softplus(z))


# The formulas are those of torch.nn with its defaults: a slope of 0.01 for leaky_relu, alpha = 1
# for elu, the exact (erf) gelu, beta = 1 for softplus.
ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(_nothing, _nothing, nn.Identity),
    "logistic": Activation(torch.sigmoid_, _compat.logistic_backward_, nn.Sigmoid, "logistic"),
    "tanh": Activation(torch.tanh_, _compat.tanh_backward_, nn.Tanh),
    "relu": Activation(torch.relu_, _compat.relu_backward_, nn.ReLU),
    "leaky_relu": Activation(_leaky_relu_, _compat.leaky_relu_backward_, nn.LeakyReLU, "he"),
    "elu": Activation(_elu_, _compat.elu_backward_, nn.ELU, "he"),
    "selu": Activation(_selu_, _compat.selu_backward_, nn.SELU, "lecun"),
    "gelu": Activation(_gelu_, _compat.gelu_backward_, nn.GELU, "he", True),
    "silu": Activation(_silu_, _compat.silu_backward_, nn.SiLU, "he", True),
    "mish": Activation(_mish_, _compat.mish_backward_, nn.Mish, "he", True),
    "softplus": Activation(_softplus_, _compat.softplus_backward_, nn.Softplus, "lecun", True),
}
