"""The hidden activations, one line each: function, derivative, torch module.

The function works in place on the input of a layer; the derivative multiplies `delta` in place and
is taken from the activation's *output*, so that the input need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from sknn import _compat

InPlace = Callable[[torch.Tensor], object]
InPlaceBackward = Callable[[torch.Tensor, torch.Tensor], None]


class Activation(NamedTuple):
    """An elementwise function between two layers."""

    apply_: InPlace
    backward_: InPlaceBackward
    module: type[nn.Module]


def _nothing(_: torch.Tensor, __: torch.Tensor | None = None) -> None:
    """The identity, and its derivative."""


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(_nothing, _nothing, nn.Identity),
    "logistic": Activation(torch.sigmoid_, _compat.logistic_backward_, nn.Sigmoid),
    "tanh": Activation(torch.tanh_, _compat.tanh_backward_, nn.Tanh),
    "relu": Activation(torch.relu_, _compat.relu_backward_, nn.ReLU),
}
