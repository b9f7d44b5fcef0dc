"""When to stop, slow down or remember the best: scikit-learn's rules.

The rules are the pure functions at the top; the skorch callbacks below apply them at the end of
each epoch to `Progress`, the part of the history that outlives one call of `fit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from skorch.callbacks import Callback


def score_improves(score: float, best: float, tol: float) -> bool:
    """Whether a validation score counts as better. A NaN does, as in scikit-learn."""
    return not score < best + tol


def loss_improves(loss: float, best: float, tol: float) -> bool:
    """Whether a training loss counts as better. A NaN does, as in scikit-learn."""
    return not loss > best - tol


def inverse_scaling(learning_rate_init: float, n_samples_seen: int, power_t: float) -> float:
    """The rate after so many *samples* (not steps), by scikit-learn's "invscaling"."""
    return learning_rate_init / (n_samples_seen + 1) ** power_t


def slowed(rate: float) -> float | None:
    """The next rate of the "adaptive" schedule, or None when the rate is too small to go on."""
    return None if rate <= 1e-6 else rate / 5.0


class StopTraining(Exception):
    """Ends the epochs. skorch would take a KeyboardInterrupt for it: that one is the user's."""

    def __init__(self, diverged: bool = False) -> None:
        super().__init__()
        self.diverged = diverged


@dataclass
class Progress:
    """What the rules remember from call to call.

    Attributes
    ----------
    loss_curve : list of float
        Training loss of every epoch.
    validation_scores : list of float or None
        None without early stopping.
    best_loss : float or None
        None with early stopping.
    best_validation_score : float or None
        None without early stopping.
    no_improvement_count : int
    n_samples_seen : int
    """

    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] | None = None
    best_loss: float | None = np.inf
    best_validation_score: float | None = None
    no_improvement_count: int = 0
    n_samples_seen: int = 0

    def copy(self, early_stopping: bool) -> Progress:
        """The record to go on with; starts that of scores, or of losses, where there is none."""
        scores, best_score = self.validation_scores, self.best_validation_score
        if scores is None:
            scores, best_score = [], -np.inf
        best_loss = np.inf if self.best_loss is None else self.best_loss
        return Progress(
            list(self.loss_curve),
            list(scores) if early_stopping else None,
            None if early_stopping else best_loss,
            best_score if early_stopping else None,
            self.no_improvement_count,
            self.n_samples_seen,
        )

    def add_loss(self, loss: float, tol: float) -> None:
        """Take in an epoch's training loss, as what stopping watches."""
        improves = loss_improves(loss, self.best_loss, tol)
        self.no_improvement_count = 0 if improves else self.no_improvement_count + 1
        self.best_loss = min(self.best_loss, loss)  # keeps the best beside a NaN

    def add_score(self, score: float, tol: float) -> bool:
        """Take in an epoch's validation score; returns whether it is the best."""
        self.validation_scores.append(score)
        improves = score_improves(score, self.best_validation_score, tol)
        self.no_improvement_count = 0 if improves else self.no_improvement_count + 1
        is_best = score > self.best_validation_score
        if is_best:
            self.best_validation_score = score
        return is_best

    def mark(self) -> dict[str, Any]:
        """All but the lists, of which only the lengths are kept: cheap enough for every epoch."""
        state = dict(vars(self))
        state["loss_curve"] = len(self.loss_curve)
        if self.validation_scores is not None:
            state["validation_scores"] = len(self.validation_scores)
        return state

    def rewind(self, mark: dict[str, Any]) -> None:
        """Go back to what `mark` gave."""
        for name, value in mark.items():
            kept = getattr(self, name)
            setattr(self, name, kept[:value] if isinstance(kept, list) else value)


class TrackProgress(Callback):
    """Takes the epoch's record into `progress`, prints it, and remembers the best weights."""

    def __init__(self, progress: Progress, tol: float, verbose: bool) -> None:
        self.progress = progress
        self.tol = tol
        self.verbose = verbose

    def on_epoch_end(self, net, dataset_train=None, **kwargs) -> None:
        record = net.record_
        loss, score = record["train_loss"], record.get("valid_score")
        self.progress.n_samples_seen += dataset_train.n_samples
        self.progress.loss_curve.append(loss)
        if self.verbose:
            print(f"Iteration {record['epoch']}, loss = {loss:.8f}")
        if score is None:
            self.progress.add_loss(loss, self.tol)
            return
        if self.verbose:
            print(f"Validation score: {score:f}")
        if self.progress.add_score(score, self.tol):
            net.remember_best()


class StopOnDivergence(Callback):
    """Ends training that cannot recover: non-finite weights, or a validation score of NaN."""

    def on_epoch_end(self, net, **kwargs) -> None:
        record = net.record_
        score = record.get("valid_score")
        if score is not None:
            diverged = math.isnan(score)
        else:
            diverged = not math.isfinite(record["train_loss"]) and not net.is_finite()
        if diverged:
            raise StopTraining(diverged=True)


class InverseScaling(Callback):
    """Sets the rate where the solver's schedule is "invscaling"."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_epoch_end(self, net, **kwargs) -> None:
        group = net.optimizer_.param_groups[0]
        if group.get("learning_rate") != "invscaling":
            return
        group["lr"] = inverse_scaling(
            group["learning_rate_init"], self.progress.n_samples_seen, group["power_t"]
        )


class StopOnPlateau(Callback):
    """Ends training, or slows an adaptive rate, after more than `n_iter_no_change` bad epochs."""

    def __init__(
        self,
        progress: Progress,
        tol: float,
        n_iter_no_change: float,
        verbose: bool,
    ) -> None:
        self.progress = progress
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.verbose = verbose

    def on_epoch_end(self, net, **kwargs) -> None:
        if self.progress.no_improvement_count <= self.n_iter_no_change:
            return
        watched = "Training loss" if "valid_score" not in net.record_ else "Validation score"
        message = (
            f"{watched} did not improve more than tol={self.tol:f} "
            f"for {self.n_iter_no_change:d} consecutive epochs."
        )
        group = net.optimizer_.param_groups[0]
        adaptive = group.get("learning_rate") == "adaptive"
        rate = slowed(group["lr"]) if adaptive else None
        if rate is None:
            if self.verbose:
                print(message + (" Learning rate too small." if adaptive else "") + " Stopping.")
            raise StopTraining
        if self.verbose:
            print(f"{message} Setting learning rate to {rate:f}")
        group["lr"] = rate
        self.progress.no_improvement_count = 0


class KeepFinishedEpoch(Callback):
    """Saves the state after each epoch, so that an interrupt in the next one loses only that one.

    The last callback: the epoch is over when all others have seen it.
    """

    def on_train_begin(self, net, **kwargs) -> None:
        net.save_epoch()

    def on_epoch_end(self, net, **kwargs) -> None:
        net.save_epoch()
