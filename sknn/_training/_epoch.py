"""Run epochs: a step turns each batch into a gradient, and a solver updates the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch

from sknn._data._batches import Batch, Batches
from sknn._data._processes import OneProcess
from sknn._data._shards import ShardBatches
from sknn._network._dropout import Masks
from sknn._network._loss_meter import LossMeter
from sknn._network._solvers import Solver, TorchSolver, clipping_of
from sknn._network._steps import AutogradStep, ClosedFormStep
from sknn._network._summed_step import SummedMeter, SummedStep
from sknn._platform._compat import GlobalGenerators
from sknn._training._schedules import EpochScheduler, StepSchedule
from sknn._training._validation import Validation
from sknn._training._waves import Waves

Rows = np.ndarray | scipy.sparse.csr_matrix


class Trainer:
    """The loop that trains one network, epoch by epoch.

    Parameters
    ----------
    batches : Batches or ShardBatches
        The batches of each epoch.
    step : ClosedFormStep, AutogradStep or SummedStep
        The step, which turns a batch into a loss and a gradient.
    meter : LossMeter or SummedMeter
        The meter, which reads the loss of an epoch.
    solver : Solver or TorchSolver
        The solver, which updates the parameters.
    schedule : StepSchedule, default=None
        The schedule that sets the rate of each step.
    scheduler : EpochScheduler, default=None
        The callback of the net that steps the user's torch scheduler.
    max_grad_norm : float, default=None
        Norm to which larger gradients are scaled down.
    validate : Validation, default=None
        Function that returns the score and the loss of the validation rows.
    rows, labels : ndarray or CSR matrix, ndarray
        All rows and their targets as the user gave them, for callbacks that see batches.
    generators : sequence of Masks or GlobalGenerators
        Generators that training draws from; the one that orders the rows is not among them.
    processes : OneProcess
        The processes that train the network.
    waves : Waves, default=None
        The ends of the waves of the rate, if they are watched.

    Attributes
    ----------
    update : callable
        Function that changes the parameters by the gradient that a step has left.
    first_rate : float
        The learning rate at the first step of the last epoch.
    """

    def __init__(
        self,
        batches: Batches | ShardBatches,
        step: ClosedFormStep | AutogradStep | SummedStep,
        meter: LossMeter | SummedMeter,
        solver: Solver | TorchSolver,
        *,
        schedule: StepSchedule | None = None,
        scheduler: EpochScheduler | None = None,
        max_grad_norm: float | None = None,
        validate: Validation | None = None,
        rows: Rows,
        labels: np.ndarray,
        generators: Sequence[Masks | GlobalGenerators],
        processes: OneProcess,
        waves: Waves | None = None,
    ) -> None:
        self.waves = waves
        self.batches = batches
        self.step = step
        self.meter = meter
        self.solver = solver
        self.schedule = schedule
        self.scheduler = scheduler
        self.validate = validate
        self._of_first_waves = batches, meter, validate
        self.rows, self.labels = rows, labels
        self.generators = generators
        self.processes = processes
        self.parameters = step.parameters
        self.first_rate = np.nan
        self._max_grad_norm = max_grad_norm
        self._group = solver.optimizer.param_groups[0]
        self.update = self._changed_update() if max_grad_norm or schedule else solver.update
        self._marks: tuple[Any, ...] = ()

    def leave_penalty_to_solver(self) -> None:
        """Let the solver add the penalty, if it can, where nothing else looks at the gradient."""
        step, solver = self.step, self.solver
        is_seen = self._max_grad_norm is not None or isinstance(solver, TorchSolver)
        if isinstance(step, ClosedFormStep):
            is_left = not is_seen and solver.takes_penalty()
            step.penalize = solver.penalize if is_left else step.add_penalty

    @property
    def grad_mode(self) -> Callable[[], Any]:
        """Return the mode of torch to train in.

        It is `torch.no_grad` for optimizers of torch and of the user, which may need more than the
        solvers of this package do.
        """
        return torch.no_grad if isinstance(self.solver, TorchSolver) else self.step.grad_mode

    def _changed_update(self) -> Callable[[], None]:
        """Return the solver's update with clipping before it and the next rate after it."""
        max_norm, clip = self._max_grad_norm, None
        if max_norm is not None:
            clip = clipping_of(self.parameters, max_norm)
        update, schedule = self.solver.update, self.schedule

        def changed_update() -> None:
            if clip is not None:
                clip()
            update()
            if schedule is not None:
                schedule.next_step()

        return changed_update

    def epoch(self, train_on: Callable[[Batch], None] | None = None) -> float:
        """Train on each batch once, by `train_on` where it is given, and return the loss."""
        schedule, step, meter, update = self.schedule, self.step, self.meter, self.update
        if schedule is not None:
            schedule.begin_epoch(self.batches.n_batches)
        self.first_rate = float(self._group["lr"])
        if train_on is None:
            for batch in self.batches:
                step(batch, meter.slot(batch))
                update()
        else:
            for batch in self.batches:
                train_on(batch)
        if schedule is not None:
            schedule.end_epoch()
        self.processes.copy_first_(*self.parameters.buffers)
        return meter.read()

    def begin_last_wave(self, raised: float) -> None:
        """Learn from the validation rows too, which were split off; so they are none any more.

        `raised` is how much the regularization is raised, or 0.
        """
        (self.batches, self.meter), self.validate = self.waves.all_rows(), None
        if raised:
            self.schedule.raised = raised

    def begin_first_wave(self) -> None:
        """Take back what `begin_last_wave` has done."""
        self.batches, self.meter, self.validate = self._of_first_waves
        self.schedule.raised = 0.0

    def save(self) -> None:
        """Keep a copy of everything that the next epoch will change, except the order of rows."""
        self.parameters.save()
        schedule, scheduler = self.schedule, self.scheduler
        self._marks = (
            self.solver.mark(),
            None if schedule is None else schedule.state(),
            None if scheduler is None else scheduler.state(),
        )

    def revert(self) -> None:
        """Go back to the last `save`."""
        self.parameters.revert()
        solver_mark, schedule_state, scheduler_state = self._marks
        self.solver.restore(solver_mark)
        if self.schedule is not None:
            self.schedule.restore(schedule_state)
        if self.scheduler is not None:
            self.scheduler.restore(scheduler_state)
