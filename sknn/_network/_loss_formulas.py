"""Values and gradients of the losses, with the signatures that the tables in `_losses` need.

Each `*_backward_(p, y, terms, constants)` turns the predictions `p` into `delta = d loss / d z` in
place and fills `terms`; `*_finish_(terms)` completes these terms in place. Each `*_terms(z, y)` is
the same loss as a differentiable function of the raw outputs. All tensors are feature-major, of
shape (n_outputs, n_rows); for the multiclass losses `y` holds class indices, int64 of shape
(1, n_rows). All of them may have a dimension for members in front. Functions named
`*_multiclass_backward_` that are smoothed or focal take log-probabilities in place of `p`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F


class Constants(NamedTuple):
    """Tensors that are made once for all batches of one size.

    Attributes
    ----------
    ones, minus_ones : torch.Tensor of shape (1, n_rows) or (n_members, 1, n_rows)
        Constants for operators that take no Python number.
    scratch : torch.Tensor of shape (n_outputs, n_rows) or (n_members, n_outputs, n_rows)
        Memory for intermediate results.
    """

    ones: torch.Tensor
    minus_ones: torch.Tensor
    scratch: torch.Tensor


_EPS = {dtype: torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64)}


def clipped_log_(probability: torch.Tensor) -> None:
    """Take the logarithm of probabilities that are clipped to [eps, 1 - eps], in place."""
    eps = _EPS[probability.dtype]
    probability.clamp_(eps, 1 - eps).log_()


def squared_error_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    p.sub_(y)
    torch.square(p, out=terms)


def squared_error_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (z - y).square()


def poisson_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    torch.div(y, p, out=terms)
    torch.xlogy(y, terms, out=terms)
    p.sub_(y)
    terms.add_(p)


def poisson_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # y log(y / p) - y + p with p = exp(z)
    return torch.xlogy(y, y) - y * z - y + z.exp()


def binary_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    _true_probability(p, y, terms, constants)
    p.sub_(y)


def binary_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -F.binary_cross_entropy_with_logits(z, y, reduction="none")


def multiclass_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    torch.gather(p, -2, y, out=terms)
    p.scatter_add_(-2, y, constants.minus_ones)


def multiclass_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, -2).gather(-2, y)


def absolute_error_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    p.sub_(y)
    torch.abs(p, out=terms)
    p.sign_()


def absolute_error_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (z - y).abs()


def huber_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants, *, width: float
) -> None:
    # With the residual r and the clipped residual c, both branches of the loss are c (r - c / 2),
    # and the derivative is c.
    residual, clipped = p.sub_(y), constants.scratch
    torch.clamp(residual, -width, width, out=clipped)
    torch.sub(residual, clipped, alpha=0.5, out=terms)
    terms.mul_(clipped)
    p.copy_(clipped)


def huber_terms(z: torch.Tensor, y: torch.Tensor, *, width: float) -> torch.Tensor:
    return F.huber_loss(z, y, reduction="none", delta=width)


class Pinball:
    """The pinball loss, of one level or several.

    Each target has one output for each level. The outputs of one target stand together.

    Parameters
    ----------
    levels : tuple of float
        Levels of the quantiles.
    """

    def __init__(self, levels: tuple[float, ...]) -> None:
        self.levels = levels
        self._columns: dict[tuple[int, torch.dtype, torch.device], torch.Tensor] = {}

    def backward_(
        self, p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
    ) -> None:
        # The derivative by the residual r = z - y is 1 - q for r > 0, -q for r < 0, and 1/2 - q for
        # r = 0.
        residual, shift = constants.scratch, 0.5 - self._column(p)
        torch.sub(p, self._of_outputs(y), out=residual)
        torch.sign(residual, out=p)
        p.mul_(0.5).add_(shift)
        torch.mul(residual, p, out=terms)

    def terms(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        residual, q = z - self._of_outputs(y), self._column(z)
        return torch.maximum((1 - q) * residual, -q * residual)

    def _of_outputs(self, y: torch.Tensor) -> torch.Tensor:
        """Return the targets of all outputs. One row, or one for each output, stays as it is."""
        if len(self.levels) == 1 or y.shape[-2] == 1:
            return y
        return y.repeat_interleave(len(self.levels), -2)

    def _column(self, like: torch.Tensor) -> torch.Tensor | float:
        """Return the levels of all outputs as a column, or as a number if there is one level.

        The tensor is kept, because sending it to a device in every step would make the host wait.
        """
        if len(self.levels) == 1:
            return self.levels[0]
        n_outputs = like.shape[-2]
        key = n_outputs, like.dtype, like.device
        if key not in self._columns:
            with torch.inference_mode(False):  # so that autograd can use the tensor too
                levels = self.levels * (n_outputs // len(self.levels))
                self._columns[key] = torch.tensor(
                    levels, dtype=like.dtype, device=like.device
                ).unsqueeze(1)
        return self._columns[key]


def gamma_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    torch.div(y, p, out=terms)
    torch.sub(constants.ones, terms, out=p)


def gamma_finish_(ratio: torch.Tensor) -> None:
    """Turn y / p into half the deviance, y / p - log(y / p) - 1."""
    ratio.sub_(ratio.log()).sub_(1)


def gamma_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return z - y.log() + y * torch.exp(-z) - 1


def _true_probability(
    p: torch.Tensor, y: torch.Tensor, out: torch.Tensor, constants: Constants
) -> None:
    """Write the probability of the true label: p where y is 1, 1 - p where y is 0, both exactly."""
    torch.sub(constants.ones, p, out=out)
    torch.lerp(out, p, y, out=out)


def smoothed(y: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return smoothed targets y (1 - e) + e / K for zeros and ones of shape (n_outputs, n_rows).

    K is 2, because each output is a label of its own.
    """
    return y * (1 - smoothing) + smoothing / 2


def one_hot(y: torch.Tensor, n_classes: int, smoothing: float, dtype: torch.dtype) -> torch.Tensor:
    """Return smoothed targets (..., n_classes, n_rows) for class indices (..., 1, n_rows)."""
    # On some devices F.one_hot would read the greatest index, for which the host waits.
    shape = (*y.shape[:-2], n_classes, y.shape[-1])
    ones = torch.zeros(shape, dtype=dtype, device=y.device).scatter_(-2, y, 1.0)
    return ones * (1 - smoothing) + smoothing / n_classes


def smooth_binary_backward_(
    p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    smoothing: float,
) -> None:
    _true_probability(p, y, terms, constants)
    p.sub_(y, alpha=1 - smoothing).sub_(constants.ones, alpha=smoothing / 2)


def smooth_binary_finish_(probability: torch.Tensor, *, smoothing: float) -> None:
    """Turn the probability of the true label into the loss of both labels."""
    other = 1 - probability
    clipped_log_(other)
    clipped_log_(probability)
    probability.lerp_(other, smoothing / 2)


def smooth_binary_terms(z: torch.Tensor, y: torch.Tensor, *, smoothing: float) -> torch.Tensor:
    return binary_terms(z, smoothed(y, smoothing))


def smooth_multiclass_backward_(
    log_p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    smoothing: float,
) -> None:
    ones, minus_ones = constants.ones, constants.minus_ones
    share = smoothing / log_p.shape[-2]
    torch.sum(log_p, -2, keepdim=True, out=terms)
    torch.add(log_p.gather(-2, y), terms, alpha=share / (1 - smoothing), out=terms)
    p = log_p.exp_()
    p.scatter_add_(-2, y, torch.sub(minus_ones, minus_ones, alpha=smoothing))
    p.sub_(ones, alpha=share)


def smooth_multiclass_terms(z: torch.Tensor, y: torch.Tensor, *, smoothing: float) -> torch.Tensor:
    """Return the loss divided by smoothing - 1, which is its `scale`."""
    log_p, share = torch.log_softmax(z, -2), smoothing / z.shape[-2]
    return log_p.gather(-2, y) + share / (1 - smoothing) * log_p.sum(-2, keepdim=True)


# The focal loss of a probability q is -F(q), with F(q) = (1 - q)^g log q. Its delta is that of
# cross-entropy times the weight w(q) = (1 - q)^g - g q (1 - q)^(g - 1) log q.


def _other(q: torch.Tensor, constants: Constants, focus: float) -> torch.Tensor:
    """Return 1 - q, which is kept above zero if a negative power of it will be taken."""
    other = torch.sub(constants.ones, q)
    return other.clamp_(min=_EPS[q.dtype]) if focus < 1 else other


def _value_and_weight(
    q: torch.Tensor, log_q: torch.Tensor, other: torch.Tensor, focus: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return F(q) and w(q), given q, its logarithm, and 1 - q."""
    power = other if focus == 2 else other.pow(focus - 1)
    weight = torch.sub(other, q * log_q, alpha=focus).mul_(power)
    return (power * other).mul_(log_q), weight


def focal_binary_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants, *, focus: float
) -> None:
    eps = _EPS[p.dtype]
    _true_probability(p, y, terms, constants)
    q = terms.clamp_(eps, 1 - eps)
    other = torch.sub(constants.ones, q)
    power = other if focus == 2 else other.pow(focus - 1)
    weight = torch.sub(other, q * q.log(), alpha=focus).mul_(power)
    p.sub_(y).mul_(weight)


def focal_multiclass_backward_(
    log_p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants, *, focus: float
) -> None:
    torch.gather(log_p, -2, y, out=terms)
    q = terms.exp()
    value, weight = _value_and_weight(q, terms, _other(q, constants, focus), focus)
    terms.copy_(value)
    log_p.exp_().scatter_add_(-2, y, constants.minus_ones).mul_(weight)


def focal_binary_finish_(q: torch.Tensor, *, focus: float) -> None:
    """Turn q into F(q)."""
    power = (1 - q).pow_(focus)
    q.log_().mul_(power)


def focal_binary_terms(z: torch.Tensor, y: torch.Tensor, *, focus: float) -> torch.Tensor:
    return smooth_focal_binary_terms(z, y, focus=focus, smoothing=0.0)


def focal_multiclass_terms(z: torch.Tensor, y: torch.Tensor, *, focus: float) -> torch.Tensor:
    return _focal(torch.log_softmax(z, -2).gather(-2, y), focus)


def smooth_focal_binary_backward_(
    p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    focus: float,
    smoothing: float,
) -> None:
    # With the probability q of the true label, the loss is -a F(q) - b F(1 - q), with a + b = 1.
    # Its derivative by the input of q, which is z or -z, is b w(1 - q) q - a w(q) (1 - q).
    q, eps, ones = terms, _EPS[p.dtype], constants.ones
    _true_probability(p, y, q, constants)
    other = torch.sub(ones, q.clamp_(eps, 1 - eps))
    _, weight = _value_and_weight(q, q.log(), other, focus)
    _, other_weight = _value_and_weight(other, other.log(), q, focus)
    share = smoothing / 2
    slope = torch.sub(weight.mul_(other), other_weight.mul_(q), alpha=share / (1 - share))
    torch.sub(ones, y, alpha=2, out=p)
    p.mul_(slope).mul_(1 - share)


def smooth_focal_binary_finish_(q: torch.Tensor, *, focus: float, smoothing: float) -> None:
    other = 1 - q
    focal_binary_finish_(other, focus=focus)
    focal_binary_finish_(q, focus=focus)
    q.lerp_(other, smoothing / 2)


def smooth_focal_binary_terms(
    z: torch.Tensor, y: torch.Tensor, *, focus: float, smoothing: float
) -> torch.Tensor:
    target = smoothed(y, smoothing)
    return target * _focal(F.logsigmoid(z), focus) + (1 - target) * _focal(F.logsigmoid(-z), focus)


def smooth_focal_multiclass_backward_(
    log_p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    focus: float,
    smoothing: float,
) -> None:
    # With targets t, delta_j = p_j sum_k t_k w_k - t_j w_j.
    ones, share = constants.ones, smoothing / log_p.shape[-2]
    p = log_p.exp()
    value, weight = _value_and_weight(p, log_p, _other(p, constants, focus), focus)
    target = constants.scratch.fill_(share)
    target.scatter_add_(-2, y, torch.sub(ones, ones, alpha=smoothing))
    torch.sum(value.mul_(target), -2, keepdim=True, out=terms)
    weight.mul_(target)
    torch.mul(p, weight.sum(-2, keepdim=True), out=log_p)
    log_p.sub_(weight)


def smooth_focal_multiclass_terms(
    z: torch.Tensor, y: torch.Tensor, *, focus: float, smoothing: float
) -> torch.Tensor:
    values = _focal(torch.log_softmax(z, -2), focus)
    return (one_hot(y, z.shape[-2], smoothing, z.dtype) * values).sum(-2, keepdim=True)


def _focal(log_q: torch.Tensor, focus: float) -> torch.Tensor:
    eps = _EPS[log_q.dtype]
    return (1 - log_q.exp()).clamp_min(eps).pow(focus) * log_q
