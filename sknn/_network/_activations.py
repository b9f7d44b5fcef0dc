"""The hidden activations, one line each: function, derivative, torch module, initial weights.

The function works in place on the raw outputs of a linear layer. The derivative multiplies `delta`
in place and is computed from the *output* of the activation, so that its input need not be kept. If
that is impossible, it is computed from the input, and the function writes to another tensor.
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
        `(z)`: applies the function to `z` in place.
    backward_ : callable
        `(delta, output)`, or `(delta, input)` if `from_input`: multiplies `delta` by the
        derivative in place.
    module : type of torch.nn.Module
        The same function as a module.
    initial : str
        The rule by which the parameters of the layer before are drawn: a key of
        `sknn._network._initial_weights.INITIAL`.
    apply : callable or None
        `(z, out)`: writes the function of `z` to `out`, for an activation whose derivative needs
        the input.
    from_sign : bool
        Whether the derivative needs no more than the sign of the output.
    """

    apply_: InPlace
    backward_: InPlaceBackward
    module: type[nn.Module]
    initial: str = "glorot"
    apply: Callable[[torch.Tensor, torch.Tensor], object] | None = None
    from_sign: bool = False

    @property
    def from_input(self) -> bool:
        """Whether the derivative is computed from the input."""
        return self.apply is not None

    @property
    def leaves_output(self) -> bool:
        """Whether the output may be multiplied by dropout's factors in place.

        The derivative is not wrong where a factor of 0 takes the sign away, as `delta` is 0 there.
        """
        return self.from_input or self.from_sign


def _nothing(_: torch.Tensor, __: torch.Tensor | None = None) -> None:
    """Do nothing: the identity, and its derivative, change no value."""


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
    "identity": Activation(_nothing, _nothing, nn.Identity, from_sign=True),
    "logistic": Activation(torch.sigmoid_, _compat.logistic_backward_, nn.Sigmoid, "logistic"),
    "tanh": Activation(torch.tanh_, _compat.tanh_backward_, nn.Tanh),
    "relu": Activation(torch.relu_, _compat.relu_backward_, nn.ReLU, from_sign=True),
    "leaky_relu": Activation(
        _leaky_relu_, _compat.leaky_relu_backward_, nn.LeakyReLU, "he", from_sign=True
    ),
    "elu": Activation(_elu_, _compat.elu_backward_, nn.ELU, "he"),
    "selu": Activation(_selu_, _compat.selu_backward_, nn.SELU, "lecun"),
    "gelu": Activation(_gelu_, _compat.gelu_backward_, nn.GELU, "he", _compat.gelu),
    "silu": Activation(_silu_, _compat.silu_backward_, nn.SiLU, "he", _compat.silu),
    "mish": Activation(_mish_, _compat.mish_backward_, nn.Mish, "he", _compat.mish),
    "softplus": Activation(
        _softplus_, _compat.softplus_backward_, nn.Softplus, "lecun", _compat.softplus
    ),
}
