"""The network as any torch user knows it, and its initial weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from sknn._activations import ACTIVATIONS


class Linear(nn.Linear):
    """A linear layer around given tensors.

    Torch's own constructor draws initial weights from torch's global generator, which belongs
    to the user.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)


class FeedForwardModule(nn.Sequential):
    """Linear layers with an activation between them; returns raw outputs.

    Parameters
    ----------
    weights : sequence of torch.Tensor of shape (n_out, n_in)
    biases : sequence of torch.Tensor of shape (n_out,)
        The module's parameters are views of these tensors, never copies.
    activation : str
        A key of `sknn._activations.ACTIVATIONS`.

    Shape
    -----
    Input (n_rows, n_features), output (n_rows, n_outputs): what enters the output activation.
    """

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor],
        activation: str = "relu",
    ) -> None:
        layers: list[nn.Module] = []
        for weight, bias in zip(weights, biases, strict=True):
            layers += [Linear(weight, bias), ACTIVATIONS[activation].module()]
        super().__init__(*layers[:-1])


def initial_parameters(
    layer_units: Sequence[int],
    activation: str,
    random_state: np.random.RandomState,
    dtype: np.dtype | type = np.float64,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw coefficients and intercepts as scikit-learn does, layer by layer.

    Uniform on [-b, b] with b = sqrt(6 / (n_in + n_out)) (Glorot and Bengio, 2010), 2 in place of 6
    for the logistic activation; the biases are drawn too, after the weights of their layer.

    Returns
    -------
    coefs : list of ndarray of shape (n_in, n_out), of `dtype`
    intercepts : list of ndarray of shape (n_out,), of `dtype`
    """
    factor = 2.0 if activation == "logistic" else 6.0
    coefs, intercepts = [], []
    for n_in, n_out in pairwise(layer_units):
        bound = np.sqrt(factor / (n_in + n_out))
        for arrays, shape in ((coefs, (n_in, n_out)), (intercepts, n_out)):
            arrays.append(random_state.uniform(-bound, bound, shape).astype(dtype, copy=False))
    return coefs, intercepts
