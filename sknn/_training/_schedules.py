"""Schedules of the learning rate: by steps, and by epochs through a torch scheduler.

A schedule by steps multiplies the current rate: `learning_rate_init`, or what the rules by epochs
("adaptive", "invscaling", a scheduler) have made of it. The two kinds do not interfere, because a
schedule by steps puts the rate back before the rules of an epoch's end run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback
from torch.optim import lr_scheduler

from sknn._platform._user_code import blamed_on

STEP_SCHEDULES = ("cosine", "one_cycle", "coslog")

# Torch's defaults for OneCycleLR: the share of steps in which the rate rises, the ratio of the peak
# rate to the first rate, and the ratio of the first rate to the last one.
_RISING = 0.3
_PEAK_OVER_FIRST = 25.0
_FIRST_OVER_LAST = 1e4

# In older versions of torch, the plateau scheduler does not derive from LRScheduler.
_SCHEDULERS = (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)


def cosine(position: float) -> float:
    """Return the cosine that falls from 1 to 0 while the position rises from 0 to 1.

    The schedule is that of Loshchilov and Hutter (2017), without restarts.
    """
    return 0.5 * (1 + math.cos(math.pi * min(position, 1.0)))


def one_cycle(step: float, n_steps: int) -> float:
    """Return the share of the peak rate at a step, as `torch.optim.lr_scheduler.OneCycleLR` does.

    The rate goes up and down along cosines (Smith and Topin, 2019). Momentum and Adam's decays do
    not change.
    """
    first = 1 / _PEAK_OVER_FIRST
    last = first / _FIRST_OVER_LAST
    top, end = _RISING * n_steps - 1, n_steps - 1
    if step <= top:
        return 1 + (first - 1) * cosine(step / top)
    return last + (1 - last) * cosine((step - top) / (end - top))


# The positions at which the four waves of `coslog` end.
ENDS_OF_WAVES = (1 / 15, 3 / 15, 7 / 15, 1)


def coslog(position: float) -> float:
    """Return the factor of four cosine waves, each twice as long as the one before.

    The factor is (1 - cos(2 pi log2(1 + 15 t))) / 2 at the position t from 0 to 1 (Holzmueller et
    al., 2024). It is 0 at the beginning, after 1/15, 1/5 and 7/15 of the steps, and at the end.
    """
    return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * min(position, 1.0))))


def flat_cos(position: float) -> float:
    """Return 1 up to the middle, and then the cosine that falls to 0 (Holzmueller et al., 2024)."""
    return cosine(max(0.0, 2 * position - 1))


def step_factor(step: int, n_steps: int, schedule: str, warmup_fraction: float) -> float:
    """Return the factor of the rate at a step of `n_steps`, where steps are counted from 0.

    The linear warm-up takes the first `warmup_fraction` of all steps, with the factors 1 / n,
    2 / n, ..., 1. The cosine begins where the warm-up ends.
    """
    if schedule == "one_cycle":
        return one_cycle(min(step, n_steps - 1), n_steps)
    n_warm = max(1, round(warmup_fraction * n_steps)) if warmup_fraction else 0
    if step < n_warm:
        return (step + 1) / n_warm
    if schedule == "coslog":
        return coslog((step - n_warm) / (n_steps - n_warm)) if step < n_steps else 0.0
    if schedule == "cosine":
        return cosine((step - n_warm) / (n_steps - n_warm)) if step < n_steps else 0.0
    return 1.0


class StepSchedule:
    """A schedule that sets the rate before each step.

    Parameters
    ----------
    param_groups : list of dict
        The parameter groups of the optimizer.
    schedule : str
        The schedule: "cosine", "one_cycle", or any other string for the warm-up alone.
    warmup_fraction : float
        Share of all steps that the warm-up takes.
    n_epochs : int
        Number of epochs after which the schedule ends.
    n_before : int, default=0
        Number of these epochs that earlier calls have finished.
    regularized : sequence of (object, float), default=()
        Objects whose attribute `strength` is set to that of the regularization in each step, and
        the strength to which each can be raised.

    Attributes
    ----------
    raised : float
        Factor of the strengths to which the regularization is raised now; 0 if it is not raised,
        and follows its schedule.
    n_epochs_done : int
        Number of epochs that are finished, with those of earlier calls.
    """

    def __init__(
        self,
        param_groups: list[dict[str, Any]],
        schedule: str,
        warmup_fraction: float,
        n_epochs: int,
        n_before: int = 0,
        regularized: Sequence[tuple[Any, float]] = (),
    ) -> None:
        self.raised = 0.0
        self._regularized = regularized
        self._groups = param_groups
        self._schedule = schedule
        self._warmup_fraction = warmup_fraction
        self._n_epochs = n_epochs
        self.n_epochs_done = n_before
        self._rates: list[float] = []
        self._step = self._n_steps = 0

    def begin_epoch(self, n_steps: int) -> None:
        """Remember the current rates, and set those of the first step."""
        self._rates = [group["lr"] for group in self._groups]
        self._n_steps = self._n_epochs * n_steps
        self._step = self.n_epochs_done * n_steps
        self._set()

    def next_step(self) -> None:
        """Set the rates of the next step."""
        self._step += 1
        self._set()

    def end_epoch(self) -> None:
        """Put back the rates from before the epoch."""
        for group, rate in zip(self._groups, self._rates, strict=True):
            group["lr"] = rate
        self.n_epochs_done += 1

    def state(self) -> int:
        """Return the number of finished epochs, from which `restore` continues."""
        return self.n_epochs_done

    def restore(self, state: int) -> None:
        """Continue from what `state` returned, between two epochs."""
        self.n_epochs_done = state

    def _set(self) -> None:
        factor = step_factor(self._step, self._n_steps, self._schedule, self._warmup_fraction)
        for group, rate in zip(self._groups, self._rates, strict=True):
            group["lr"] = rate * factor
        for regularized, most in self._regularized:
            scheduled = flat_cos(self._step / self._n_steps)
            regularized.strength = self.raised * most if self.raised else scheduled


class EpochScheduler(Callback):
    """Callback that steps a torch scheduler at the end of each epoch.

    Parameters
    ----------
    make : callable
        The user's function that takes an optimizer and returns a scheduler.
    optimizer : torch.optim.Optimizer
        The optimizer whose rate is scheduled.
    state : dict or None
        The value that `state` returned in an earlier call. It is ignored if it belongs to another
        class of scheduler.

    Raises
    ------
    ValueError
        If `make` does not return a scheduler.
    """

    def __init__(
        self,
        make: Callable[[torch.optim.Optimizer], Any],
        optimizer: torch.optim.Optimizer,
        state: dict[str, Any] | None = None,
    ) -> None:
        # Some schedulers set the rate when they are made, which is right in the first call only.
        groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        with blamed_on("The 'learning_rate' parameter is a callable that"):
            try:
                self.scheduler, failure = make(optimizer), None
                got = f"returned an object of type {type(self.scheduler).__name__}"
            except TypeError as error:
                self.scheduler, failure, got = None, error, f"failed: {error}"
        if not isinstance(self.scheduler, _SCHEDULERS):
            raise ValueError(
                f"The 'learning_rate' parameter is a callable that {got}. It must take a torch"
                " optimizer and return a scheduler of torch.optim.lr_scheduler, for instance"
                " lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)."
            ) from failure
        if state is not None and state["kind"] == type(self.scheduler).__name__:
            self.restore(state)
            for group, numbers in zip(optimizer.param_groups, groups, strict=True):
                group.update(numbers)

    def state(self) -> dict[str, Any]:
        """Return what the scheduler needs to continue, with the name of its class."""
        kind = type(self.scheduler).__name__
        with self._blame("state_dict"):
            return {"kind": kind, "numbers": dict(self.scheduler.state_dict())}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` of a scheduler of the same class returned."""
        with self._blame("load_state_dict"):
            self.scheduler.load_state_dict(state["numbers"])

    def _blame(self, method: str) -> blamed_on:
        kind = type(self.scheduler).__name__
        return blamed_on(
            f"The 'learning_rate' parameter is a callable that made a {kind}, whose {method}"
        )

    def on_epoch_end(self, net, **kwargs) -> None:
        record, values = net.record_, ()
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            values = (record.get("valid_loss", record["train_loss"]),)
        with self._blame("step"):
            self.scheduler.step(*values)
