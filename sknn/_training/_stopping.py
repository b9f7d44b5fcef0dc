"""scikit-learn's rules for when to stop, to lower the rate and to remember the best weights.

The rules are the pure functions at the top. The skorch callbacks below apply them at the end of
each epoch to `Progress`, the part of the history that outlives one call of `fit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from skorch.callbacks import Callback

if TYPE_CHECKING:
    from sknn._data._processes import OneProcess


def score_improves(score: float, best: float, tol: float) -> bool:
    """Return whether a validation score counts as better. A NaN does, as in scikit-learn."""
    return not score < best + tol


def loss_improves(loss: float, best: float, tol: float) -> bool:
    """Return whether a training loss counts as better. A NaN does, as in scikit-learn."""
    return not loss > best - tol


def inverse_scaling(learning_rate_init: float, n_samples_seen: int, power_t: float) -> float:
    """Return scikit-learn's "invscaling" rate, which counts *samples* and not steps."""
    try:
        return learning_rate_init / float(n_samples_seen + 1) ** power_t
    except OverflowError:  # Python raises it where IEEE 754 has an infinity
        return 0.0


def slowed(rate: float) -> float | None:
    """Return the next rate of the "adaptive" schedule, or None if the rate is too small for one."""
    return None if rate <= 1e-6 else rate / 5.0


class StopTraining(Exception):
    """The exception that ends the epochs.

    skorch uses a KeyboardInterrupt for this, which here always means the user's Ctrl-C.

    Parameters
    ----------
    diverged : bool, default=False
        Whether training ends because it cannot recover.
    is_amid_epoch : bool, default=False
        Whether the current epoch has not ended, so that training goes back to the one before.
    """

    def __init__(self, diverged: bool = False, is_amid_epoch: bool = False) -> None:
        super().__init__()
        self.diverged = diverged
        self.is_amid_epoch = is_amid_epoch


_CURVES = ("loss_curve", "learning_rate_curve", "validation_scores", "validation_loss_curve")


@dataclass
class Progress:
    """The values that the rules remember from call to call.

    Attributes
    ----------
    loss_curve : list of float
        Training loss of every epoch.
    learning_rate_curve : list of float
        Rate at the first step of every epoch.
    validation_scores, validation_loss_curve : list of float or None
        Score and loss of the validation rows in every epoch; None without validation data.
    best_loss : float or None
        Lowest training loss; None with early stopping.
    best_validation_score : float or None
        Highest validation score; None without validation data.
    no_improvement_count : int
        Number of consecutive epochs without an improvement.
    n_samples_seen : int
        Number of rows that all epochs have trained on.
    watched : str
        Name of what the validation scores measure. Scores with another name are not comparable.
    best_epoch : int or None
        Epoch, counted from 1 in `loss_curve`, whose weights are kept because of the validation
        rows; None where these decide nothing.
    """

    loss_curve: list[float] = field(default_factory=list)
    learning_rate_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] | None = None
    validation_loss_curve: list[float] | None = None
    best_loss: float | None = np.inf
    best_validation_score: float | None = None
    no_improvement_count: int = 0
    n_samples_seen: int = 0
    watched: str = ""
    best_epoch: int | None = None

    def copy(
        self, early_stopping: bool, has_validation: bool, watched: str = "", is_other: bool = False
    ) -> Progress:
        """Return a copy of the record to continue with. Curves that do not exist yet start empty.

        Scores that measure something else than `watched` are dropped. With early stopping, the best
        score is also dropped if the validation rows may be others than before (`is_other`).
        """
        scores, losses = self.validation_scores, self.validation_loss_curve
        best_score = self.best_validation_score
        if has_validation and watched != self.watched:
            scores = losses = best_score = None
        # If scores were only recorded, no best weights were kept that training could go back to.
        was_recorded = early_stopping and self.best_loss is not None
        best_epoch = self.best_epoch
        if best_score is None or was_recorded or early_stopping and is_other:
            best_score, best_epoch = -np.inf, None
        best_loss = np.inf if self.best_loss is None else self.best_loss
        return Progress(
            list(self.loss_curve),
            list(self.learning_rate_curve),
            list(scores or []) if has_validation else None,
            list(losses or []) if has_validation else None,
            None if early_stopping else best_loss,
            best_score if has_validation else None,
            self.no_improvement_count,
            self.n_samples_seen,
            watched if has_validation else self.watched,
            best_epoch if early_stopping else None,
        )

    def watch_loss(self, loss: float, tol: float) -> None:
        """Update the stop rule with an epoch's training loss."""
        improves = loss_improves(loss, self.best_loss, tol)
        self.no_improvement_count = 0 if improves else self.no_improvement_count + 1
        self.best_loss = min(self.best_loss, loss)  # a NaN leaves the best loss as it is

    def watch_score(self, score: float, tol: float) -> None:
        """Update the stop rule with an epoch's validation score, but not the best score."""
        improves = score_improves(score, self.best_validation_score, tol)
        self.no_improvement_count = 0 if improves else self.no_improvement_count + 1

    def add_score(self, score: float) -> bool:
        """Record an epoch's validation score, and return whether it is the best so far."""
        self.validation_scores.append(score)
        is_best = score > self.best_validation_score
        if is_best:
            self.best_validation_score = score
        return is_best

    def mark(self) -> dict[str, Any]:
        """Return the values to `rewind` to, with each list as its length.

        Copying the lists would cost too much in every epoch.
        """
        mark = vars(self).copy()
        for name in _CURVES:
            if mark[name] is not None:
                mark[name] = len(mark[name])
        return mark

    def rewind(self, mark: dict[str, Any]) -> None:
        """Go back to the values that `mark` returned."""
        for name, value in mark.items():
            kept = getattr(self, name)
            setattr(self, name, kept[:value] if isinstance(kept, list) else value)


class TrackProgress(Callback):
    """Callback that records and prints an epoch's results, and remembers the best weights.

    With early stopping, the stop rule watches the validation score, and the weights of the best
    score are remembered. Without it, the rule watches the training loss, and scores are only
    recorded.
    """

    def __init__(self, progress: Progress, tol: float, verbose: bool, early_stopping: bool) -> None:
        self.progress = progress
        self.tol = tol
        self.verbose = verbose
        self.early_stopping = early_stopping
        self.least_loss = self.least_valid_loss = np.inf

    def on_train_begin(self, net, **kwargs) -> None:
        for record in net.records_:  # records of a training that is resumed
            self.least_loss = min(self.least_loss, record["train_loss"])
            self.least_valid_loss = min(self.least_valid_loss, record.get("valid_loss", np.inf))

    def on_epoch_end(self, net, **kwargs) -> None:
        record, progress = net.record_, self.progress
        loss, score = record["train_loss"], record.get("valid_score")
        progress.n_samples_seen += net.trainer.batches.n_samples
        progress.loss_curve.append(loss)
        progress.learning_rate_curve.append(net.trainer.first_rate)
        # skorch's callbacks look for these names.
        record["train_loss_best"] = loss < self.least_loss
        self.least_loss = min(self.least_loss, loss)
        if self.verbose:
            print(f"Iteration {record['epoch']}, loss = {loss:.8f}")
        if score is None:
            progress.watch_loss(loss, self.tol)
            return
        if self.verbose:
            print(f"Validation score: {score:f}")
        valid_loss = record["valid_loss"]
        progress.validation_loss_curve.append(valid_loss)
        record["valid_loss_best"] = valid_loss < self.least_valid_loss
        self.least_valid_loss = min(self.least_valid_loss, valid_loss)
        if self.early_stopping:
            progress.watch_score(score, self.tol)
        else:
            progress.watch_loss(loss, self.tol)
        record["valid_score_best"] = progress.add_score(score)
        if self.early_stopping and record["valid_score_best"]:
            net.remember_best()


class StopOnDivergence(Callback):
    """Callback that ends training if weights are not finite or the score is NaN."""

    def __init__(self, early_stopping: bool) -> None:
        self.early_stopping = early_stopping

    def on_epoch_end(self, net, **kwargs) -> None:
        record = net.record_
        if self.early_stopping:
            diverged = math.isnan(record["valid_score"])
        else:
            diverged = not math.isfinite(record["train_loss"]) and not net.is_finite()
        if diverged:
            raise StopTraining(diverged=True)


class AgreeOnEpoch(Callback):
    """Callback that gives every process the first one's loss and score, which the rules use.

    The numbers of the processes differ only by rounding, between processors of different kinds.
    """

    def __init__(self, processes: OneProcess) -> None:
        self.processes = processes

    def on_epoch_end(self, net, **kwargs) -> None:
        record = net.record_
        names = [n for n in ("train_loss", "valid_score", "valid_loss") if n in record]
        numbers = self.processes.first_numbers([record[name] for name in names])
        record.update(zip(names, numbers, strict=True))


class InverseScaling(Callback):
    """Callback that sets the rate if the solver's schedule is "invscaling"."""

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
    """Callback that ends training, or lowers an adaptive rate, if epochs bring no improvement.

    It acts after more than `n_iter_no_change` consecutive epochs without one.
    """

    def __init__(
        self,
        progress: Progress,
        tol: float,
        n_iter_no_change: float,
        verbose: bool,
        early_stopping: bool,
    ) -> None:
        self.progress = progress
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.verbose = verbose
        self.watched = "Validation score" if early_stopping else "Training loss"

    def on_epoch_end(self, net, **kwargs) -> None:
        if self.progress.no_improvement_count <= self.n_iter_no_change:
            return
        message = (
            f"{self.watched} did not improve more than tol={self.tol:f} "
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
    """Callback that saves the state after each epoch, so that an interrupt loses only one epoch.

    Only the callback that saves a checkpoint comes after this one, because an epoch is over when
    all other callbacks have handled its end. That is why this callback also ends training if one
    of them, in any process, has asked for it.
    """

    def __init__(self, processes: OneProcess) -> None:
        self.processes = processes

    def on_train_begin(self, net, **kwargs) -> None:
        net.save_epoch()

    def on_epoch_end(self, net, **kwargs) -> None:
        net.save_epoch()
        is_asked = net.is_asked_to_stop_
        if self.processes.any(is_asked):
            raise StopTraining
