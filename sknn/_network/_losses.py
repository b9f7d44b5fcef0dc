"""The losses: a table of name, output activation, value and gradient.

Conventions. Raw outputs `z` (the input of the output activation), predictions `p` and targets `y`
are *feature-major*: shape (n_outputs, n_rows), one column a row of the batch. The target of the
multiclass losses is the class index, int64 of shape (1, n_rows); all others are floats shaped
like `p` (one row for all, where quantiles are learned). A loss gives *terms*, of shape
(n_outputs, n_rows) or (1, n_rows): the loss of a batch is `scale` times the sum over outputs of the
terms, averaged over rows by their weights. What can wait is left to `scale` (a factor, a sign) and
to `finish_` (a logarithm), which are applied to the terms of many batches at once: an operation
less in every step.

scikit-learn's losses are canonical pairs of loss and output activation: d loss / d z = p - y for
the logistic and the softmax with cross-entropy, the identity with half the squared error, and the
exponential with half the Poisson deviance (Bishop, Pattern Recognition and Machine Learning, 2006,
section 4.3.6). Their values are scikit-learn's (`sklearn/neural_network/_base.py`): probabilities
are clipped to [eps, 1 - eps] of their dtype before the logarithm, which the gradient ignores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from sknn._network import _loss_functions as functions
from sknn._network._loss_functions import Constants
from sknn._platform._compat import feature_major

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class OutputActivation(NamedTuple):
    """The last activation, in place on `z` of shape (n_outputs, n_rows), and its logarithm."""

    apply_: Callable[[torch.Tensor], object]
    log: Callable[[torch.Tensor], torch.Tensor] | None = None


def _identity_(z: torch.Tensor) -> torch.Tensor:
    return z


def _softmax_(z: torch.Tensor) -> torch.Tensor:
    return torch.softmax(z, 0, out=z)


def _log_softmax(z: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, 0)


def _log_softmax_(z: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, 0, out=z)


def _sort_(z: torch.Tensor) -> torch.Tensor:
    return z.copy_(z.sort(0).values)


# "sort" is the rearrangement of quantiles: each level is learned by an output of its own, and the
# sorted outputs, which cannot cross, are never further from the true quantiles than the unsorted
# (Chernozhukov, Fernandez-Val and Galichon, Econometrica 78, 2010, proposition 4).
OUTPUT_ACTIVATIONS: dict[str, OutputActivation] = {
    "identity": OutputActivation(_identity_),
    "exp": OutputActivation(torch.exp_),
    "sort": OutputActivation(_sort_),
    "logistic": OutputActivation(torch.sigmoid_, F.logsigmoid),
    "softmax": OutputActivation(_softmax_, _log_softmax),
}


class Loss(NamedTuple):
    """A loss with its output activation.

    Attributes
    ----------
    output_activation : str
        A key of `OUTPUT_ACTIVATIONS`.
    backward_ : callable or None
        `(p, y, terms, constants)`: turns `p` into `delta = d loss / d z` in place and fills
        `terms` with what `finish_` makes the terms of. None where autograd has to do it.
    terms : callable
        `(z, y) -> terms`, differentiable: the reference for `backward_`, and the loss that
        `AutogradStep` differentiates.
    finish_ : callable
        Elementwise and in place, on the filled terms of any number of batches.
    scale : float
        What the sum of the terms is multiplied by to give the loss.
    has_one_term : bool
        Whether `terms` has one row, instead of one for each output.
    in_training_ : callable or None
        What `backward_` has in place of the output activation, if it is something else.
    averages_outputs : bool
        Whether the *reported* loss is the mean over outputs. scikit-learn reports the mean of
        squared errors over outputs and yet descends along the gradient of their sum.
    """

    output_activation: str
    backward_: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Constants], None] | None
    terms: Function
    finish_: Callable[[torch.Tensor], object] = _identity_
    scale: float = 1.0
    has_one_term: bool = False
    averages_outputs: bool = False
    in_training_: Callable[[torch.Tensor], object] | None = None

    def reported_scale(self, n_outputs: int) -> float:
        """`scale`, for the loss that is reported instead of the one that is descended."""
        return self.scale / n_outputs if self.averages_outputs else self.scale


# Those without parameters; `regression_loss` and `classification_loss` make the others.
LOSSES: dict[str, Loss] = {
    "squared_error": Loss(
        "identity",
        functions.squared_error_backward_,
        functions.squared_error_terms,
        scale=0.5,
        averages_outputs=True,
    ),
    "poisson": Loss("exp", functions.poisson_backward_, functions.poisson_terms),
    "gamma": Loss("exp", functions.gamma_backward_, functions.gamma_terms, functions.gamma_finish_),
    "absolute_error": Loss(
        "identity", functions.absolute_error_backward_, functions.absolute_error_terms
    ),
    "binary_log_loss": Loss(
        "logistic",
        functions.binary_backward_,
        functions.binary_terms,
        functions.clipped_log_,
        scale=-1.0,
    ),
    "multiclass_log_loss": Loss(
        "softmax",
        functions.multiclass_backward_,
        functions.multiclass_terms,
        functions.clipped_log_,
        scale=-1.0,
        has_one_term=True,
    ),
}


def regression_loss(
    loss: str | Function, *, huber_delta: float, quantile: tuple[float, ...]
) -> Loss:
    """The regressor's loss.

    `loss` is a name, or the user's function of raw outputs and targets, both (n_rows, n_outputs).
    """
    if callable(loss):
        return Loss("identity", None, _CustomTerms(loss), has_one_term=True)
    if loss == "huber":
        return Loss(
            "identity",
            partial(functions.huber_backward_, width=huber_delta),
            partial(functions.huber_terms, width=huber_delta),
        )
    if loss == "quantile":
        pinball = functions.Pinball(quantile)
        return Loss(
            "identity" if len(quantile) == 1 else "sort",
            pinball.backward_,
            pinball.terms,
            in_training_=_identity_,
        )
    return LOSSES[loss]


def classification_loss(
    loss: str | Function, *, is_multiclass: bool, label_smoothing: float, focal_gamma: float
) -> Loss:
    """The classifier's loss.

    `loss` is a name, or the user's function of raw outputs and targets (ones and zeros, smoothed),
    both (n_rows, n_outputs).
    """
    plain = LOSSES["multiclass_log_loss" if is_multiclass else "binary_log_loss"]
    if callable(loss):
        terms = _CustomTerms(loss, label_smoothing, is_multiclass)
        return Loss(plain.output_activation, None, terms, has_one_term=True)
    options = {"smoothing": label_smoothing} if label_smoothing else {}
    if loss == "focal" and focal_gamma:
        options["focus"] = focal_gamma
    if not options:
        return plain
    name = "_".join(["smooth"] * bool(label_smoothing) + ["focal"] * ("focus" in options))
    name += "_multiclass" if is_multiclass else "_binary"
    backward_, terms = (
        partial(getattr(functions, f"{name}_{part}"), **options) for part in ("backward_", "terms")
    )
    changed = plain._replace(backward_=backward_, terms=terms, finish_=_identity_)
    if is_multiclass:
        changed = changed._replace(in_training_=_log_softmax_)
    if name == "smooth_multiclass":
        return changed._replace(scale=label_smoothing - 1)
    if is_multiclass:
        return changed
    return changed._replace(finish_=partial(getattr(functions, f"{name}_finish_"), **options))


class _CustomTerms:
    """The user's loss as terms (1, n_rows), its result checked."""

    def __init__(
        self, function: Function, label_smoothing: float = 0.0, is_multiclass: bool = False
    ) -> None:
        self.function = function
        self.label_smoothing = label_smoothing
        self.is_multiclass = is_multiclass

    def __call__(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.is_multiclass:
            y = functions.one_hot(y, len(z), self.label_smoothing, z.dtype)
        elif self.label_smoothing:
            y = functions.smoothed(y, self.label_smoothing)
        values = self.function(z.t(), y.t())
        if not isinstance(values, torch.Tensor) or values.shape != z.shape[1:]:
            got = f"an object of type {type(values).__name__}"
            if isinstance(values, torch.Tensor):
                got = f"a tensor of shape {tuple(values.shape)}"
            raise ValueError(
                f"The 'loss' parameter is a callable that returned {got} for raw outputs and"
                f" targets of shape {tuple(z.t().shape)}. It must return a torch tensor of shape"
                f" (n_samples,), here ({z.shape[1]},): the loss of each row."
            )
        if z.requires_grad and not values.requires_grad:
            raise ValueError(
                "The 'loss' parameter is a callable whose result cannot be differentiated. Compute"
                " it from the raw outputs by operations of torch, without detach() or NumPy."
            )
        return values.unsqueeze(0)


class Criterion(nn.Module):
    """A loss as a torch user knows it: the mean over rows, as scikit-learn reports it.

    Shape: raw outputs (n_rows, n_outputs) and targets (n_rows, n_outputs) give a scalar.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        terms = self.loss.terms(raw.t(), feature_major(target))
        return terms.sum(0).mean() * self.loss.reported_scale(raw.shape[1])
