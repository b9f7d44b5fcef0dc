"""How one epoch runs: batches to steps to updates, then a look at the validation rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch

from sknn._data._batches import Batch, Batches
from sknn._data._shards import ShardBatches, SummedStep
from sknn._network._dropout import Masks
from sknn._network._meter import LossMeter
from sknn._network._solvers import Solver, TorchSolver, clip_gradient_
from sknn._network._steps import AutogradStep, ClosedFormStep
from sknn._platform._compat import GlobalGenerators
from sknn._training._schedules import EpochScheduler, StepSchedule
from sknn._training._validation import Validation

if TYPE_CHECKING:
    from sknn._training._net import FeedForwardNet

Rows = np.ndarray | scipy.sparse.csr_matrix


class Trainer:
    """Trains one network, epoch by epoch.

    Parameters
    ----------
    batches : Batches or ShardBatches
    step : ClosedFormStep, AutogradStep or SummedStep
    meter : LossMeter or SummedStep
    solver : Solver or TorchSolver
    schedule : StepSchedule, default=None
        Sets the rate of each step.
    scheduler : EpochScheduler, default=None
        Steps the user's torch scheduler, as one of the net's callbacks.
    max_grad_norm : float, default=None
    validate : Validation, default=None
    rows, labels : ndarray or CSR matrix, ndarray
        All rows and their targets as the user gave them, for callbacks that see batches.
    generators : sequence of Masks or GlobalGenerators, default=()
        What is drawn from in training, beside the order of rows.

    Attributes
    ----------
    first_rate : float
        The learning rate at the first step of the last epoch.
    """

    def __init__(
        self,
        batches: Batches | ShardBatches,
        step: ClosedFormStep | AutogradStep | SummedStep,
        meter: LossMeter | SummedStep,
        solver: Solver | TorchSolver,
        *,
        schedule: StepSchedule | None = None,
        scheduler: EpochScheduler | None = None,
        max_grad_norm: float | None = None,
        validate: Validation | None = None,
        rows: Rows,
        labels: np.ndarray,
        generators: Sequence[Masks | GlobalGenerators] = (),
    ) -> None:
        self.batches = batches
        self.step = step
        self.meter = meter
        self.solver = solver
        self.schedule = schedule
        self.scheduler = scheduler
        self.validate = validate
        self.rows, self.labels = rows, labels
        self.generators = generators
        self.parameters = step.parameters
        self.first_rate = np.nan
        self._max_grad_norm = max_grad_norm
        self._group = solver.optimizer.param_groups[0]
        self._update = self._changed_update() if max_grad_norm or schedule else solver.update
        self._marks: tuple[Any, ...] = ()

    @property
    def grad_mode(self) -> Callable[[], Any]:
        """The mode of torch to train in. An optimizer of the user may want more than ours do."""
        return torch.no_grad if isinstance(self.solver, TorchSolver) else self.step.grad_mode

    def _changed_update(self) -> Callable[[], None]:
        """The solver's update, with clipping before it and the next rate after it."""
        gradient, max_norm = self.parameters.gradient, self._max_grad_norm
        update, schedule = self.solver.update, self.schedule

        def changed_update() -> None:
            if max_norm is not None:
                clip_gradient_(gradient, max_norm)
            update()
            if schedule is not None:
                schedule.next_step()

        return changed_update

    def epoch(self, net: FeedForwardNet | None = None) -> float:
        """One pass over the batches; returns the loss. With a net, its callbacks see each batch."""
        schedule, step, meter, update = self.schedule, self.step, self.meter, self._update
        if schedule is not None:
            schedule.begin_epoch(self.batches.n_batches)
        self.first_rate = float(self._group["lr"])
        if net is None:
            for batch in self.batches:
                step(batch, meter.slot(batch))
                update()
        else:
            for batch in self.batches:
                self._announced_step(batch, net)
        if schedule is not None:
            schedule.end_epoch()
        if isinstance(step, SummedStep):
            step.processes.copy_first_buffers_(self.parameters)
        return meter.read()

    def _announced_step(self, batch: Batch, net: FeedForwardNet) -> None:
        """A step of which the callbacks hear; the loss of each batch is read for them."""
        rows = self.batches.rows_of(batch)
        X, y = self.rows[rows], self.labels[rows]
        slot = self.meter.slot(batch)
        net.notify("on_batch_begin", batch=(X, y), training=True)
        net.module_.train()  # whatever a callback has done to it
        self.step(batch, slot)
        named_parameters = list(net.module_.named_parameters())
        net.notify(
            "on_grad_computed", named_parameters=named_parameters, batch=(X, y), training=True
        )
        self._update()
        loss = self.meter.batch_loss(batch, slot)
        net.record_["batches"][-1].update(train_loss=loss, train_batch_size=len(y))
        net.notify("on_batch_end", batch=(X, y), training=True, loss=loss, y_pred=None)

    def save(self) -> None:
        """Keep a copy of everything that the next epoch will change, but for the order of rows."""
        self.parameters.save()
        schedule, scheduler = self.schedule, self.scheduler
        self._marks = (
            self.solver.mark(),
            None if schedule is None else schedule.n_epochs_done,
            None if scheduler is None else dict(scheduler.scheduler.state_dict()),
        )

    def revert(self) -> None:
        """Go back to the last `save`."""
        self.parameters.revert()
        solver_mark, n_epochs_done, scheduler_mark = self._marks
        self.solver.restore(solver_mark)
        if self.schedule is not None:
            self.schedule.n_epochs_done = n_epochs_done
        if self.scheduler is not None:
            self.scheduler.scheduler.load_state_dict(scheduler_mark)
