"""The losses: one line each in a table of name, output activation, value and gradient.

Conventions. Raw outputs `z` (the input of the output activation), predictions `p` and targets `y`
are *feature-major*: shape (n_outputs, n_rows), one column a row of the batch. The target of
"multiclass" is the class index, int64 of shape (1, n_rows); all others are floats shaped
like `p`. A loss gives *terms*, of shape (n_outputs, n_rows) or (1, n_rows): the loss of a batch is
`scale` times the sum over outputs of the terms, averaged over rows by their weights. What can wait
is left to `scale` (a factor, a sign) and to `finish_` (a logarithm), which are applied to the terms
of many batches at once: an operation less in every step.

Every pair of loss and output activation here is canonical, so that d loss / d z = p - y: for
the logistic and the softmax with cross-entropy, the identity with half the squared error, and the
exponential with half the Poisson deviance (Bishop, Pattern Recognition and Machine Learning, 2006,
section 4.3.6). The values are scikit-learn's (`sklearn/neural_network/_base.py`): probabilities are
clipped to [eps, 1 - eps] of their dtype before the logarithm, which the gradient ignores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class OutputActivation(NamedTuple):
    """The last activation, in place on `z` of shape (n_outputs, n_rows), and its logarithm."""

    apply_: Callable[[torch.Tensor], object]
    log: Callable[[torch.Tensor], torch.Tensor] | None


def _identity_(z: torch.Tensor) -> torch.Tensor:
    return z


def _softmax_(z: torch.Tensor) -> torch.Tensor:
    return torch.softmax(z, 0, out=z)


def _log_softmax(z: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, 0)


OUTPUT_ACTIVATIONS: dict[str, OutputActivation] = {
    "identity": OutputActivation(_identity_, None),
    "exp": OutputActivation(torch.exp_, None),
    "logistic": OutputActivation(torch.sigmoid_, F.logsigmoid),
    "softmax": OutputActivation(_softmax_, _log_softmax),
}


class Constants(NamedTuple):
    """Rows of one value, (1, n_rows), for operators that take no Python number. Made once."""

    ones: torch.Tensor
    minus_ones: torch.Tensor


class Loss(NamedTuple):
    """A loss with its output activation.

    Attributes
    ----------
    output_activation : str
        A key of `OUTPUT_ACTIVATIONS`.
    backward_ : callable
        `(p, y, terms, constants)`: turns `p` into `delta = d loss / d z` in place and fills
        `terms` with what `finish_` makes the terms of.
    finish_ : callable
        Elementwise and in place, on the filled terms of any number of batches.
    terms : callable
        `(z, y) -> terms`, differentiable: the reference for `backward_`, and the loss that
        `AutogradStep` differentiates.
    scale : float
        What the sum of the terms is multiplied by to give the loss.
    has_one_term : bool
        Whether `terms` has one row, instead of one for each output.
    averages_outputs : bool
        Whether the *reported* loss is the mean over outputs. scikit-learn reports the mean of
        squared errors over outputs and yet descends along the gradient of their sum.
    """

    output_activation: str
    backward_: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Constants], None]
    terms: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    finish_: Callable[[torch.Tensor], object] = _identity_
    scale: float = 1.0
    has_one_term: bool = False
    averages_outputs: bool = False

    def reported_scale(self, n_outputs: int) -> float:
        """`scale`, for the loss that is reported instead of the one that is descended."""
        return self.scale / n_outputs if self.averages_outputs else self.scale


_EPS = {dtype: torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64)}


def _clipped_log_(probability: torch.Tensor) -> None:
    eps = _EPS[probability.dtype]
    probability.clamp_(eps, 1 - eps).log_()


def _squared_error_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    p.sub_(y)
    torch.square(p, out=terms)


def _squared_error_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (z - y).square()


def _poisson_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    torch.div(y, p, out=terms)
    torch.xlogy(y, terms, out=terms)
    p.sub_(y)
    terms.add_(p)


def _poisson_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # y log(y / p) - y + p with p = exp(z)
    return torch.xlogy(y, y) - y * z - y + z.exp()


def _binary_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    # The probability of the true label: p where y is 1, 1 - p where y is 0, both exactly.
    torch.sub(constants.ones, p, out=terms)
    torch.lerp(terms, p, y, out=terms)
    p.sub_(y)


def _binary_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -F.binary_cross_entropy_with_logits(z, y, reduction="none")


def _multiclass_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    torch.gather(p, 0, y, out=terms)
    p.scatter_add_(0, y, constants.minus_ones)


def _multiclass_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, 0).gather(0, y)


LOSSES: dict[str, Loss] = {
    "squared_error": Loss(
        "identity",
        _squared_error_backward_,
        _squared_error_terms,
        scale=0.5,
        averages_outputs=True,
    ),
    "poisson": Loss("exp", _poisson_backward_, _poisson_terms),
    "binary_log_loss": Loss(
        "logistic", _binary_backward_, _binary_terms, _clipped_log_, scale=-1.0
    ),
    "multiclass_log_loss": Loss(
        "softmax",
        _multiclass_backward_,
        _multiclass_terms,
        _clipped_log_,
        scale=-1.0,
        has_one_term=True,
    ),
}


class Criterion(nn.Module):
    """A loss as a torch user knows it: the mean over rows, as scikit-learn reports it.

    Shape: raw outputs (n_rows, n_outputs) and targets (n_rows, n_outputs) give a scalar.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        terms = self.loss.terms(raw.t(), target.t())
        return terms.sum(0).mean() * self.loss.reported_scale(raw.shape[1])
