"""Values and gradients of the losses, as the table in `_losses` wants them.

Each `*_backward_(p, y, terms, constants)` turns the predictions `p` into `delta = d loss / d z` in
place and fills `terms`; each `*_terms(z, y)` is the same loss as a differentiable function of the
raw outputs. All are feature-major, shape (n_outputs, n_rows); for the multiclass losses `y` is the
class index, int64 of shape (1, n_rows).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F


class Constants(NamedTuple):
    """What is made once for all batches of a size: rows of one value, and room to work in.

    Attributes
    ----------
    ones, minus_ones : torch.Tensor of shape (1, n_rows)
        For operators that take no Python number.
    scratch : torch.Tensor of shape (n_outputs, n_rows)
    """

    ones: torch.Tensor
    minus_ones: torch.Tensor
    scratch: torch.Tensor


_EPS = {dtype: torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64)}


def clipped_log_(probability: torch.Tensor) -> None:
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
    torch.gather(p, 0, y, out=terms)
    p.scatter_add_(0, y, constants.minus_ones)


def multiclass_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(z, 0).gather(0, y)


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
    # With the clipped residual c, both branches are c (r - c / 2), and the derivative is c.
    residual, clipped = p.sub_(y), constants.scratch
    torch.clamp(residual, -width, width, out=clipped)
    torch.sub(residual, clipped, alpha=0.5, out=terms)
    terms.mul_(clipped)
    p.copy_(clipped)


def huber_terms(z: torch.Tensor, y: torch.Tensor, *, width: float) -> torch.Tensor:
    return F.huber_loss(z, y, reduction="none", delta=width)


def pinball_backward_(
    p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    levels: tuple[float, ...],
) -> None:
    # The derivative by the residual r = z - y is 1 - q above y, -q below, and 1/2 - q at r = 0.
    residual, shift = constants.scratch, 0.5 - _column(levels, p)
    torch.sub(p, y, out=residual)
    torch.sign(residual, out=p)
    p.mul_(0.5).add_(shift)
    torch.mul(residual, p, out=terms)


def pinball_terms(z: torch.Tensor, y: torch.Tensor, *, levels: tuple[float, ...]) -> torch.Tensor:
    residual, q = z - y, _column(levels, z)
    return torch.maximum((1 - q) * residual, -q * residual)


def _column(levels: tuple[float, ...], like: torch.Tensor) -> torch.Tensor | float:
    """The levels, one for each row of a feature-major tensor; a number if there is one."""
    return levels[0] if len(levels) == 1 else like.new_tensor(levels).unsqueeze(1)


def gamma_backward_(
    p: torch.Tensor, y: torch.Tensor, terms: torch.Tensor, constants: Constants
) -> None:
    torch.div(y, p, out=terms)
    torch.sub(constants.ones, terms, out=p)


def gamma_finish_(ratio: torch.Tensor) -> None:
    """Half the deviance, from y / p: y / p - log(y / p) - 1."""
    ratio.sub_(ratio.log()).sub_(1)


def gamma_terms(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return z - y.log() + y * torch.exp(-z) - 1


def _true_probability(
    p: torch.Tensor, y: torch.Tensor, out: torch.Tensor, constants: Constants
) -> None:
    """The probability of the true label: p where y is 1, 1 - p where y is 0, both exactly."""
    torch.sub(constants.ones, p, out=out)
    torch.lerp(out, p, y, out=out)


def smoothed(y: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Zeros and ones of shape (n_outputs, n_rows) as smoothed targets: y (1 - e) + e / K.

    With K = 2: each row is a label of its own.
    """
    return y * (1 - smoothing) + smoothing / 2


def one_hot(y: torch.Tensor, n_classes: int, smoothing: float, dtype: torch.dtype) -> torch.Tensor:
    """Class indices (1, n_rows) as smoothed targets (n_classes, n_rows)."""
    return F.one_hot(y[0], n_classes).t().to(dtype) * (1 - smoothing) + smoothing / n_classes


def smooth_binary_backward_(
    p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    smoothing: float,
) -> None:
    _true_probability(p, y, terms, constants)
    p.sub_(y, alpha=1 - smoothing).sub_(smoothing / 2)


def smooth_binary_finish_(probability: torch.Tensor, *, smoothing: float) -> None:
    """The loss of both labels, from the true one's probability."""
    other = 1 - probability
    clipped_log_(other)
    clipped_log_(probability)
    probability.lerp_(other, smoothing / 2)


def smooth_binary_terms(z: torch.Tensor, y: torch.Tensor, *, smoothing: float) -> torch.Tensor:
    return binary_terms(z, smoothed(y, smoothing))


def smooth_multiclass_backward_(
    p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    smoothing: float,
) -> None:
    log_p = constants.scratch.copy_(p)
    clipped_log_(log_p)
    torch.sum(log_p, 0, keepdim=True, out=terms)
    terms.mul_(smoothing / len(p)).add_(log_p.gather(0, y), alpha=1 - smoothing)
    p.scatter_add_(0, y, constants.minus_ones * (1 - smoothing))
    p.sub_(smoothing / len(p))


def smooth_multiclass_terms(z: torch.Tensor, y: torch.Tensor, *, smoothing: float) -> torch.Tensor:
    target = one_hot(y, len(z), smoothing, z.dtype)
    return (target * torch.log_softmax(z, 0)).sum(0, keepdim=True)


def _focal_value_and_weight(q: torch.Tensor, focus: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(1 - q)^g log q, and what it multiplies cross-entropy's delta by: -q (1 - q) d/dq of it.

    Over (1 - q), so that the weight is 1 without focus: w = (1 - q)^g - g q (1 - q)^(g - 1) log q.
    """
    eps = _EPS[q.dtype]
    q = q.clamp(eps, 1 - eps)
    log_q, other = q.log(), 1 - q
    power = other.pow(focus)
    value = power * log_q
    return value, power.addcdiv_(q.mul_(value), other, value=-focus)


def focal_binary_backward_(
    p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    focus: float,
    smoothing: float,
) -> None:
    # The loss is a F(q) + b F(1 - q) of the true label's probability q, with a + b = 1; its
    # derivative by q's own input is b w(1 - q) q - a w(q) (1 - q), and that input is z or -z.
    _true_probability(p, y, terms, constants)
    value, weight = _focal_value_and_weight(terms, focus)
    if not smoothing:
        terms.copy_(value)
        p.sub_(y).mul_(weight)
        return
    other_value, other_weight = _focal_value_and_weight(1 - terms, focus)
    share = smoothing / 2
    slope = share * other_weight * terms - (1 - share) * weight * (1 - terms)
    torch.mul(slope, 2 * y - 1, out=p)
    torch.lerp(value, other_value, share, out=terms)


def focal_binary_terms(
    z: torch.Tensor, y: torch.Tensor, *, focus: float, smoothing: float
) -> torch.Tensor:
    target = smoothed(y, smoothing)
    return target * _focal(F.logsigmoid(z), focus) + (1 - target) * _focal(F.logsigmoid(-z), focus)


def focal_multiclass_backward_(
    p: torch.Tensor,
    y: torch.Tensor,
    terms: torch.Tensor,
    constants: Constants,
    *,
    focus: float,
    smoothing: float,
) -> None:
    if not smoothing:
        value, weight = _focal_value_and_weight(p.gather(0, y), focus)
        terms.copy_(value)
        p.scatter_add_(0, y, constants.minus_ones)
        p.mul_(weight)
        return
    # With targets t: delta_j = p_j sum_k t_k w_k - t_j w_j.
    value, weight = _focal_value_and_weight(p, focus)
    target = one_hot(y, len(p), smoothing, p.dtype)
    torch.sum(value.mul_(target), 0, keepdim=True, out=terms)
    weight.mul_(target)
    p.mul_(weight.sum(0, keepdim=True)).sub_(weight)


def focal_multiclass_terms(
    z: torch.Tensor, y: torch.Tensor, *, focus: float, smoothing: float
) -> torch.Tensor:
    values = _focal(torch.log_softmax(z, 0), focus)
    if not smoothing:
        return values.gather(0, y)
    return (one_hot(y, len(z), smoothing, z.dtype) * values).sum(0, keepdim=True)


def _focal(log_q: torch.Tensor, focus: float) -> torch.Tensor:
    eps = _EPS[log_q.dtype]
    return (1 - log_q.exp()).clamp_min(eps).pow(focus) * log_q
