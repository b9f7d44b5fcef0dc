"""Signs that a training has gone wrong: warnings when it ends, and lines of the summary."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from sknn._data._processes import OneProcess
from sknn._training._problem import Problem
from sknn._training._schedules import STEP_SCHEDULES
from sknn._training._settings import Settings
from sknn._training._training_warning import TrainingWarning

if TYPE_CHECKING:
    from sknn._training._net import FeedForwardNet

# Columns whose values differ in size by more than this factor are reported, and targets that are
# larger than it.
MOST_RATIO = 1e3
# Largest number of rows, spread evenly, that the sizes of the values are taken from.
N_ROWS_LOOKED_AT = 1_000
# A schedule is cut short if training ends before this share of its epochs.
LEAST_SHARE = 0.9


class Note(NamedTuple):
    """A sign that a training has gone wrong.

    Attributes
    ----------
    fact : str
        The fact in a few words, as a line of the summary.
    warning : str
        The text of the warning, which says what to do.
    """

    fact: str
    warning: str

    def warn(self) -> None:
        warnings.warn(self.warning, TrainingWarning, stacklevel=2)


def notes_of_epochs(net: FeedForwardNet, problem: Problem, settings: Settings) -> list[Note]:
    """Return what the epochs of a `fit` show, before the best weights are restored.

    The end of a training that has diverged is reported by another warning.
    """
    has_diverged = net.stopped_ is not None and net.stopped_.diverged
    if settings.incremental or not net.records_ or has_diverged:
        return []
    found = (
        _early_best(net, problem, settings),
        _no_better_than_a_constant(net, problem, settings),
        _cut_short(net, settings),
    )
    return [note for note in found if note is not None]


def notes_of_input(problem: Problem, settings: Settings) -> list[Note]:
    """Return what the parameters and the data of a `fit` show."""
    return [
        *_ignored(problem, settings),
        *notes_of_columns(problem.X, problem.shards.processes),
        *_notes_of_targets(problem, settings),
    ]


# Parameters of one loss: the default, and the loss.
_OF_A_LOSS = {
    "quantile": (0.5, "quantile"),
    "huber_delta": (1.0, "huber"),
    "focal_gamma": (2.0, "focal"),
}


def _ignored(problem: Problem, settings: Settings) -> Iterator[Note]:
    """Yield a note for each parameter of ours that is set and has no effect."""
    parameters = settings.parameters
    if parameters["scoring"] is not None and problem.validation is None:
        yield Note(
            "scoring is ignored because there are no validation rows",
            "The 'scoring' parameter is set, but there are no validation rows to score. Set"
            " early_stopping=True, pass X_val and y_val to fit, or leave scoring at None.",
        )
    for name, (default, loss) in _OF_A_LOSS.items():
        value, given = parameters.get(name, default), parameters["loss"]
        if given != loss and not (np.ndim(value) == 0 and value == default):
            fact = f"{name} is ignored because the loss is not {loss!r}"
            yield Note(
                fact, f"{name}={value!r} has no effect with loss={given!r}. Set loss={loss!r}."
            )


def _ways_out(problem: Problem, settings: Settings) -> str:
    """Return what to do about validation scores that do not rise."""
    scale = "Scale the columns of X"
    if problem.validation.rows is None:
        scale += ", prepare X_val and y_val in the same way as X and y"
    ways = f"{scale}, lower learning_rate_init, or raise n_iter_no_change or validation_fraction."
    if settings.parameters["scoring"] is not None:
        return ways
    if problem.loss.output_activation in ("softmax", "logistic"):
        return (
            f"{ways} If a class is rare, set scoring='loss' or 'roc_auc', because the accuracy"
            " hardly depends on this class."
        )
    return f"{ways} Scale the target too, or set scoring='loss'."


def _is_stopped_by_plateau(net: FeedForwardNet, settings: Settings) -> bool:
    return net.progress.no_improvement_count > settings.n_iter_no_change


def _early_best(net: FeedForwardNet, problem: Problem, settings: Settings) -> Note | None:
    progress, n_done = net.progress, len(net.records_)
    # A warm start may find weights that can hardly be improved.
    is_first = n_done == len(progress.loss_curve)
    best = progress.best_epoch
    is_early = settings.early_stopping and best is not None and best <= 2
    if not (is_early and is_first and _is_stopped_by_plateau(net, settings)):
        return None
    return Note(
        f"early stopping has restored epoch {best} of {n_done}",
        f"Early stopping has restored the weights of epoch {best} of {n_done}, which had the"
        " highest validation score. This means that the network has hardly learned anything."
        f" {_ways_out(problem, settings)}",
    )


def _no_better_than_a_constant(
    net: FeedForwardNet, problem: Problem, settings: Settings
) -> Note | None:
    score = net.progress.best_validation_score
    if not settings.early_stopping or score is None or not np.isfinite(score):
        return None
    constant = net.trainer.validate.score_of_a_constant()
    if constant is None or score > constant:
        return None
    return Note(
        f"no validation score is better than that of a constant prediction, {constant:.4g}",
        f"The best validation score is {score:.4g}, which is no better than the score of a constant"
        f" prediction, {constant:.4g}. By this score, the network has learned nothing."
        f" {_ways_out(problem, settings)}",
    )


def _cut_short(net: FeedForwardNet, settings: Settings) -> Note | None:
    n_done, n_epochs = len(net.records_), settings.n_epochs
    is_cut = settings.learning_rate in STEP_SCHEDULES and n_done < LEAST_SHARE * n_epochs
    if not (is_cut and _is_stopped_by_plateau(net, settings)):
        return None
    name = settings.learning_rate
    return Note(
        f"the schedule {name!r} was cut short after {n_done} of {n_epochs} epochs",
        f"learning_rate={name!r} is a schedule for max_iter={n_epochs} epochs, but training has"
        f" stopped after {n_done}, because the loss or the validation score did not improve for"
        f" more than n_iter_no_change={settings.n_iter_no_change} epochs. Set"
        " n_iter_no_change=np.inf to run the schedule to its end, or lower max_iter."
        " With early_stopping=True, the best epoch is restored after a full run, too.",
    )


def notes_of_columns(X: Any, processes: OneProcess) -> list[Note]:
    """Return a note if the sizes of the values in the columns are very different.

    The size of a column is the root mean square of its values that are not zero. So a rare
    indicator has the size 1, as a standardized column has, and columns of zeros have none.
    """
    parts = processes.gather(_squares(X))
    sums, counts = (np.sum([part[i] for part in parts], axis=0) for i in range(2))
    (columns,) = np.nonzero(counts)
    if len(columns) < 2:
        return []
    sizes = np.sqrt(sums[columns] / counts[columns])
    least, most = sizes.argmin(), sizes.argmax()
    if not sizes[most] > MOST_RATIO * sizes[least] > 0:
        return []
    of_least, of_most = f"{sizes[least]:.2g}", f"{sizes[most]:.2g}"
    return [
        Note(
            f"columns of X differ in size: {of_least} in column {columns[least]},"
            f" {of_most} in column {columns[most]}",
            f"The columns of X have values of very different sizes: about {of_least} in column"
            f" {columns[least]} and {of_most} in column {columns[most]}. A network learns little"
            " from such columns. Scale them, for instance with a StandardScaler in a Pipeline.",
        )
    ]


def _notes_of_targets(problem: Problem, settings: Settings) -> list[Note]:
    """Return a note if the solver can hardly learn numbers of the targets' size.

    The outputs begin near zero, and an update of a stochastic solver moves them by about the
    learning rate, so that large targets are out of reach. L-BFGS makes steps of any length. `tol`
    ends a training without early stopping by the loss, whose size is that of squared targets, and
    L-BFGS by its gradient.
    """
    is_of_users = callable(settings.parameters["loss"])
    if is_of_users or problem.loss.output_activation not in ("identity", "sort"):
        return []
    parts = problem.shards.processes.gather(_squares(problem.y))
    sums, counts = (np.sum([part[i] for part in parts], axis=0) for i in range(2))
    sizes = np.sqrt(sums[counts > 0] / counts[counts > 0])
    least, most, tol = 0.0, np.inf, 10 * settings.parameters["tol"]
    if settings.solver == "lbfgs":
        least = tol
    else:
        most = MOST_RATIO
        if not settings.restores_best and settings.n_iter_no_change < np.inf:
            least = np.sqrt(tol)
    if (sizes > most).any():
        size, reason = sizes.max(), "A network learns such large targets slowly or not at all."
    elif (sizes < least).any():
        size, reason = sizes.min(), "With such small targets, tol ends the training too early."
    else:
        return []
    return [
        Note(
            f"the targets have a size of {size:.2g}",
            f"The values of y have a size of about {size:.2g}. {reason} Scale them with"
            " target_scaling='standard', or with a TransformedTargetRegressor.",
        )
    ]


def _squares(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the squares and the number of values that are not zero, by column."""
    n_rows = X.shape[0]
    rows = X[:: max(1, -(-n_rows // N_ROWS_LOOKED_AT))]
    if isinstance(rows, torch.Tensor):
        rows = rows.cpu().double().numpy()
    if scipy.sparse.issparse(rows):
        rows = rows.astype(np.float64)
        parts = (rows.multiply(rows), rows != 0)
        return tuple(np.asarray(part.sum(axis=0)).ravel() for part in parts)
    rows = np.asarray(rows, np.float64)
    with np.errstate(over="ignore"):
        return np.einsum("ij,ij->j", rows, rows), np.count_nonzero(rows, axis=0)
