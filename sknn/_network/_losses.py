"""The losses: tables of output activation, gradient and value.

Conventions. Raw outputs `z` (the input of the output activation), predictions `p` and targets `y`
are *feature-major*: their shape is (n_outputs, n_rows), and each column is one row of the batch.
The targets of the multiclass losses are class indices, int64 of shape (1, n_rows). All other
targets are floats shaped like `p`, unless several quantiles are learned: the outputs of one target
then stand together, in the order of the levels, and `y` has one row for each target. Raw outputs of
several members have one more dimension in front, and their targets are expanded to it.
A loss gives *terms*, of shape (n_outputs, n_rows) or (1, n_rows): the loss of a batch is `scale`
times the sum of the terms over outputs, averaged over rows by their weights. Work that can be
postponed is left to `scale` (a factor, a sign) and to `finish_` (a logarithm), which are applied to
the terms of many batches at once. That saves an operation in every step.

scikit-learn's losses are canonical pairs of loss and output activation: d loss / d z = p - y for
the logistic and the softmax with cross-entropy, the identity with half the squared error, and the
exponential with half the Poisson deviance (Bishop, Pattern Recognition and Machine Learning, 2006,
section 4.3.6). Their values are scikit-learn's (`sklearn/neural_network/_base.py`): probabilities
are clipped to [eps, 1 - eps] of their dtype before the logarithm, which the gradient ignores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sknn._network import _loss_formulas as formulas
from sknn._network._loss_formulas import Constants
from sknn._platform._compat import feature_major
from sknn._platform._user_code import blamed_on

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Bounds = tuple[np.ndarray, np.ndarray]


class OutputActivation(NamedTuple):
    """The activation of the output layer.

    Attributes
    ----------
    apply_ : callable
        `(z)`: applies the activation in place to raw outputs of shape (..., n_outputs, n_rows).
    average : callable
        Function from the raw outputs z_i of several members, of shape (n_members, n_outputs,
        n_rows), to raw outputs whose activation f is the mean of the members': f^-1(mean f(z_i)).
    log : callable or None
        Function from raw outputs to the logarithms of the activation.
    """

    apply_: Callable[[torch.Tensor], object]
    average: Callable[[torch.Tensor], torch.Tensor]
    log: Callable[[torch.Tensor], torch.Tensor] | None = None


def _identity_(z: torch.Tensor) -> torch.Tensor:
    return z


def _softmax_(z: torch.Tensor) -> torch.Tensor:
    return torch.softmax(z, -2, out=z)


def _log_softmax(z: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, -2)


def _log_softmax_(z: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, -2, out=z)


def _sort_(z: torch.Tensor) -> torch.Tensor:
    return z.copy_(z.sort(-2).values)


def _mean(z: torch.Tensor) -> torch.Tensor:
    return z.mean(0)


def _log_mean_exp(z: torch.Tensor) -> torch.Tensor:
    # The sum of as many ones is the number of members, also where torch.fx records the operations.
    return z.logsumexp(0) - torch.zeros_like(z[:, 0]).logsumexp(0)


def _mean_logistic(z: torch.Tensor) -> torch.Tensor:
    # The logit of the mean p is log(mean p) - log(mean (1 - p)), which is exact in both tails.
    return F.logsigmoid(z).logsumexp(0) - F.logsigmoid(-z).logsumexp(0)


def _mean_softmax(z: torch.Tensor) -> torch.Tensor:
    return _log_mean_exp(_log_softmax(z))


# "sort" is the rearrangement of quantiles: each level is learned by its own output, and the sorted
# outputs, which cannot cross, are never further from the true quantiles than the unsorted ones
# (Chernozhukov, Fernandez-Val and Galichon, Econometrica 78, 2010, proposition 4).
OUTPUT_ACTIVATIONS: dict[str, OutputActivation] = {
    "identity": OutputActivation(_identity_, _mean),
    "exp": OutputActivation(torch.exp_, _log_mean_exp),
    "sort": OutputActivation(_sort_, _mean),
    "logistic": OutputActivation(torch.sigmoid_, _mean_logistic, F.logsigmoid),
    "softmax": OutputActivation(_softmax_, _mean_softmax, _log_softmax),
}


def link(
    output_activation: str, n_levels: int = 1, bounds: Bounds | None = None
) -> Callable[[torch.Tensor], object]:
    """Return the output activation, which works in place on raw outputs (..., n_outputs, n_rows).

    With several levels, each group of `n_levels` outputs belongs to one target, and the activation
    is applied to each group by itself. With bounds, the values of each output are then clipped.
    """
    apply_ = OUTPUT_ACTIVATIONS[output_activation].apply_
    if n_levels == 1 and bounds is None:
        return apply_

    def apply_to_targets_(z: torch.Tensor) -> torch.Tensor:
        apply_(z if z.shape[-2] == n_levels else z.unflatten(-2, (-1, n_levels)))
        if bounds is not None:
            z.clamp_(*(torch.from_numpy(b).to(z.device, z.dtype).unsqueeze(1) for b in bounds))
        return z

    return apply_to_targets_


def average_of(output_activation: str, n_levels: int = 1) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function from the raw outputs of several members to those of their mean.

    The quantiles of each member are sorted before, so that the mean is that of its predictions. The
    function changes nothing in place, so that autograd and torch.fx can follow it.
    """
    average = OUTPUT_ACTIVATIONS[output_activation].average
    if output_activation != "sort":
        return average
    return partial(_average_sorted, average, n_levels)  # A pickle of `net_` holds it.


def _average_sorted(
    average: Callable[[torch.Tensor], torch.Tensor], n_levels: int, z: torch.Tensor
) -> torch.Tensor:
    return average(z.unflatten(-2, (-1, n_levels)).sort(-2).values.flatten(-3, -2))


class Loss(NamedTuple):
    """A loss with its output activation.

    Attributes
    ----------
    output_activation : str
        A key of `OUTPUT_ACTIVATIONS`.
    backward_ : callable
        `(p, y, terms, constants)`: turns `p` into `delta = d loss / d z` in place and fills
        `terms` with values that `finish_` completes.
    terms : callable
        `(z, y) -> terms`, differentiable. It is the reference for `backward_`, and the loss that
        `AutogradStep` differentiates.
    finish_ : callable
        `(terms)`: completes, elementwise and in place, the terms of any number of batches that
        `backward_` has filled.
    scale : float
        Factor that turns the sum of the terms into the loss.
    has_one_term : bool
        Whether `terms` has one row, instead of one for each output.
    in_training_ : callable or None
        Function that training applies to the raw outputs before `backward_`, if it is not the
        output activation.
    averages_outputs : bool
        Whether the *reported* loss is the mean over outputs. scikit-learn reports the mean of
        squared errors over outputs and yet descends along the gradient of their sum.
    n_levels : int
        Number of quantile levels, each of which has an output of its own for each target.
    bounds : pair of ndarray of shape (n_outputs,), or None
        The smallest and the largest prediction of each output, if predictions are clipped. Only the
        loss of validation rows has them.
    """

    output_activation: str
    backward_: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Constants], None]
    terms: Function
    finish_: Callable[[torch.Tensor], object] = _identity_
    scale: float = 1.0
    has_one_term: bool = False
    averages_outputs: bool = False
    in_training_: Callable[[torch.Tensor], object] | None = None
    n_levels: int = 1
    bounds: Bounds | None = None

    @property
    def link(self) -> Callable[[torch.Tensor], object]:
        """Function that applies the output activation in place to raw outputs."""
        return link(self.output_activation, self.n_levels, self.bounds)

    @property
    def average(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Function from the raw outputs of several members to those of their mean."""
        return average_of(self.output_activation, self.n_levels)

    @property
    def is_of_the_user(self) -> bool:
        """Whether the user's own function computes the loss."""
        return isinstance(self.terms, _CustomTerms)

    def reported_scale(self, n_outputs: int) -> float:
        """Return the factor for the reported loss. `scale` is the one for the descended loss."""
        return self.scale / n_outputs if self.averages_outputs else self.scale

    def best_constants(
        self, y: np.ndarray, sample_weight: np.ndarray | None, n_outputs: int
    ) -> list[np.ndarray]:
        """Return raw outputs, of shape (n_outputs,), among which is the best constant for targets.

        The mean is the best for the squared error and the canonical losses, and the median for the
        absolute error. For other losses, one of both is close to the best.

        Parameters
        ----------
        y : ndarray of shape (n_rows, n_columns)
            Encoded targets.
        sample_weight : ndarray of shape (n_rows,) or None
            Weights of the rows. The median does without them.
        n_outputs : int
            Number of outputs of the network.
        """
        tiny = np.finfo(np.float64).tiny
        if self.output_activation == "softmax":
            counts = np.bincount(y.ravel().astype(np.intp), sample_weight, n_outputs)
            return [np.log(np.maximum(counts / counts.sum(), tiny))]
        mean = np.average(y.astype(np.float64), axis=0, weights=sample_weight)
        if self.output_activation == "logistic":
            return [np.log(np.maximum(mean, tiny)) - np.log(np.maximum(1 - mean, tiny))]
        if self.output_activation == "exp":
            return [np.log(np.maximum(mean, tiny))]
        return [np.repeat(constant, self.n_levels) for constant in (mean, np.median(y, axis=0))]


_binary = partial(Loss, "logistic", scale=-1.0)
_multiclass = partial(Loss, "softmax", scale=-1.0, has_one_term=True)

# Losses without parameters. `regression_loss` and `classification_loss` make the others.
LOSSES: dict[str, Loss] = {
    "squared_error": Loss(
        "identity",
        formulas.squared_error_backward_,
        formulas.squared_error_terms,
        scale=0.5,
        averages_outputs=True,
    ),
    "poisson": Loss("exp", formulas.poisson_backward_, formulas.poisson_terms),
    "gamma": Loss("exp", formulas.gamma_backward_, formulas.gamma_terms, formulas.gamma_finish_),
    "absolute_error": Loss(
        "identity", formulas.absolute_error_backward_, formulas.absolute_error_terms
    ),
    "binary_log_loss": _binary(
        formulas.binary_backward_, formulas.binary_terms, formulas.clipped_log_
    ),
    "multiclass_log_loss": _multiclass(
        formulas.multiclass_backward_, formulas.multiclass_terms, formulas.clipped_log_
    ),
}

# The classifier's losses by (is_multiclass, is_smoothed, is_focal). `classification_loss` binds the
# parameters of their functions: smoothed losses take `smoothing`, focal ones take `focus`.
CLASSIFICATION_LOSSES: dict[tuple[bool, bool, bool], Loss] = {
    (False, False, False): LOSSES["binary_log_loss"],
    (False, False, True): _binary(
        formulas.focal_binary_backward_,
        formulas.focal_binary_terms,
        formulas.focal_binary_finish_,
    ),
    (False, True, False): _binary(
        formulas.smooth_binary_backward_,
        formulas.smooth_binary_terms,
        formulas.smooth_binary_finish_,
    ),
    (False, True, True): _binary(
        formulas.smooth_focal_binary_backward_,
        formulas.smooth_focal_binary_terms,
        formulas.smooth_focal_binary_finish_,
    ),
    (True, False, False): LOSSES["multiclass_log_loss"],
    (True, False, True): _multiclass(
        formulas.focal_multiclass_backward_,
        formulas.focal_multiclass_terms,
        in_training_=_log_softmax_,
    ),
    (True, True, False): _multiclass(
        formulas.smooth_multiclass_backward_,
        formulas.smooth_multiclass_terms,
        in_training_=_log_softmax_,
    ),
    (True, True, True): _multiclass(
        formulas.smooth_focal_multiclass_backward_,
        formulas.smooth_focal_multiclass_terms,
        in_training_=_log_softmax_,
    ),
}


def regression_loss(
    loss: str | Function, *, huber_delta: float, quantile: tuple[float, ...]
) -> Loss:
    """Return the loss of a regressor.

    `loss` is a name, or the user's function of raw outputs and targets, both of shape
    (n_rows, n_outputs).
    """
    if callable(loss):
        return _of_the_user("identity", _CustomTerms(loss))
    if loss == "quantile" and len(quantile) > 1:
        return _pinball(quantile)  # It holds tensors, which have to end with the training.
    return _named_regression_loss(loss, huber_delta, quantile)


# Equal parameters give the same object, by which a training finds memory that it can use again.
@lru_cache(maxsize=64)
def _named_regression_loss(loss: str, huber_delta: float, quantile: tuple[float, ...]) -> Loss:
    if loss == "huber":
        return Loss(
            "identity",
            partial(formulas.huber_backward_, width=huber_delta),
            partial(formulas.huber_terms, width=huber_delta),
        )
    return _pinball(quantile) if loss == "quantile" else LOSSES[loss]


def _pinball(quantile: tuple[float, ...]) -> Loss:
    pinball = formulas.Pinball(quantile)
    return Loss(
        "identity" if len(quantile) == 1 else "sort",
        pinball.backward_,
        pinball.terms,
        in_training_=_identity_,
        n_levels=len(quantile),
    )


def classification_loss(
    loss: str | Function, *, is_multiclass: bool, label_smoothing: float, focal_gamma: float
) -> Loss:
    """Return the loss of a classifier.

    `loss` is a name, or the user's function of raw outputs and targets (smoothed ones and zeros),
    both of shape (n_rows, n_outputs).
    """
    if callable(loss):
        plain = CLASSIFICATION_LOSSES[is_multiclass, False, False]
        terms = _CustomTerms(loss, label_smoothing, is_multiclass)
        return _of_the_user(plain.output_activation, terms)
    return _named_classification_loss(loss, is_multiclass, label_smoothing, focal_gamma)


@lru_cache(maxsize=64)
def _named_classification_loss(
    loss: str, is_multiclass: bool, label_smoothing: float, focal_gamma: float
) -> Loss:
    is_smoothed, is_focal = label_smoothing > 0, loss == "focal" and focal_gamma > 0
    kind = (is_multiclass, is_smoothed, is_focal)
    found = CLASSIFICATION_LOSSES[kind]
    options = {"smoothing": label_smoothing} if is_smoothed else {}
    if is_focal:
        options["focus"] = focal_gamma
    if not options:
        return found
    if kind == (True, True, False):  # The formula divides its terms by this scale.
        found = found._replace(scale=label_smoothing - 1)
    if found.finish_ is not _identity_:
        found = found._replace(finish_=partial(found.finish_, **options))
    return found._replace(
        backward_=partial(found.backward_, **options), terms=partial(found.terms, **options)
    )


def _of_the_user(output_activation: str, terms: _CustomTerms) -> Loss:
    return Loss(
        output_activation, terms.backward_, terms, has_one_term=True, in_training_=_identity_
    )


class _CustomTerms:
    """Terms of shape (1, n_rows) from the user's loss, whose result is checked."""

    def __init__(
        self, function: Function, label_smoothing: float = 0.0, is_multiclass: bool = False
    ) -> None:
        self.function = function
        self.label_smoothing = label_smoothing
        self.is_multiclass = is_multiclass

    def __call__(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if z.dim() == 3:  # Members do not share the losses of their rows.
            return torch.stack([self(*pair) for pair in zip(z, y, strict=True)])
        if self.is_multiclass:
            y = formulas.one_hot(y, len(z), self.label_smoothing, z.dtype)
        elif self.label_smoothing:
            y = formulas.smoothed(y, self.label_smoothing)
        with blamed_on("The 'loss' parameter is a callable that"):
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
                " it from the raw outputs with torch operations, without detach() or NumPy."
            )
        return values.unsqueeze(0)

    def backward_(
        self, p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
    ) -> None:
        """Turn raw outputs into the derivative by them, by autograd across the loss alone."""
        with torch.enable_grad():
            z = p.detach().clone().requires_grad_()
            values = self(z, y)
            with blamed_on("Code of the 'loss' parameter"):
                values.sum().backward()
        terms.copy_(values.detach())
        p.copy_(z.grad)


class Criterion(nn.Module):
    """A loss as a torch module: the mean over rows, as scikit-learn reports it.

    Shape
    -----
    Raw outputs and targets have shape (n_rows, n_outputs). The result is a scalar.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        terms = self.loss.terms(raw.t(), feature_major(target))
        return terms.sum(0).mean() * self.loss.reported_scale(raw.shape[1])
