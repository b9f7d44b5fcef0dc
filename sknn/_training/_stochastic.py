"""Training by epochs of batches, which skorch runs."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from skorch.dataset import Dataset
from torch.utils.data import Subset

from sknn._data._batches import Batches
from sknn._data._processes import OneProcess
from sknn._data._shards import ShardBatches
from sknn._network._dropout import Masks
from sknn._network._inference import Layers, Modules
from sknn._network._loss_meter import LossMeter
from sknn._network._losses import Criterion
from sknn._network._module import Ensemble, FeedForwardModule
from sknn._network._solvers import AdamW, make_solver, solver_name
from sknn._network._steps import AutogradStep, ClosedFormStep
from sknn._network._summed_step import SummedMeter, SummedStep
from sknn._platform import _compat
from sknn._training._callbacks import copied_callbacks
from sknn._training._checkpoint import (
    CheckpointFile,
    SaveCheckpoint,
    SharedCheckpointFile,
    go_on,
    snapshot,
)
from sknn._training._epoch import Trainer
from sknn._training._fingerprint import fingerprint
from sknn._training._larger_run import is_part_of_larger_run
from sknn._training._net import FeedForwardNet
from sknn._training._notes import notes_of_epochs
from sknn._training._outcome import (
    copy_of,
    is_to_restore_best,
    model_if_stopped,
    model_of,
    published,
    warn_of_the_end,
)
from sknn._training._problem import Model, Problem
from sknn._training._reporting import EpochBar, ReportEpochs, epoch_bars
from sknn._training._schedules import STEP_SCHEDULES, EpochScheduler, StepSchedule
from sknn._training._settings import Settings
from sknn._training._stopping import (
    AgreeOnEpoch,
    InverseScaling,
    KeepFinishedEpoch,
    Progress,
    StopOnDivergence,
    StopOnPlateau,
    TrackProgress,
)
from sknn._training._validation import Validation
from sknn._training._waves import RAISED_DECAY, RAISED_DROPOUT, WatchWaves, Waves

AnyFile = CheckpointFile | SharedCheckpointFile


class Run(NamedTuple):
    """One training by epochs.

    Attributes
    ----------
    problem : Problem
        The data and the loss.
    start : Model
        The model that training starts from.
    settings : Settings
        The settings of the training.
    random_state : numpy.random.RandomState
        Generator that orders the rows.
    module : FeedForwardModule or Ensemble
        The network as a torch module, over the parameters of the step.
    step : ClosedFormStep, AutogradStep or SummedStep
        The step, which turns a batch into a loss and a gradient.
    meter : LossMeter or SummedMeter
        The meter, which reads the loss of an epoch.
    generators : list of Masks or GlobalGenerators
        Generators that training draws from, beside `random_state`.
    """

    problem: Problem
    start: Model
    settings: Settings
    random_state: np.random.RandomState
    module: FeedForwardModule | Ensemble
    step: ClosedFormStep | AutogradStep | SummedStep
    meter: LossMeter | SummedMeter
    generators: list[Masks | _compat.GlobalGenerators]


def train_stochastic(run: Run) -> Model:
    """Train by epochs of batches, which skorch runs."""
    problem, settings, parameters = run.problem, run.settings, run.step.parameters
    processes = problem.shards.processes
    if not isinstance(settings.batch_size, str) and settings.batch_size > problem.n_train:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=2,
        )
    file = _checkpoint_file(run)
    with epoch_bars(settings.verbose, problem, run.start) as bars:
        with processes.agreement():  # on the user's callbacks and optimizer
            net = _net(run, bars, file)
        if net.trainer.validate is not None:
            net.trainer.validate.check_scorer()
        if settings.restores_best:
            net.best_ = parameters.checkpoint()
        if file is not None:
            go_on(net, file)
            if net.records_ and settings.is_verbose:
                does = "Training already ended" if net.has_ended_ else "Continuing"
                print(f"{does} after iteration {len(net.records_)}, saved in {file.path}")
        is_to_train = not net.has_ended_
        if is_to_train:
            _run_epochs(net, run)
    # In a group, the others would wait for this one. A larger run would go on with what is only
    # half trained.
    is_raised = net.interrupted_ and (processes.is_group or is_part_of_larger_run())
    if not net.has_ended_ or is_raised:
        raise KeyboardInterrupt
    if file is not None and not net.interrupted_:
        if not processes.any(is_part_of_larger_run()):
            file.remove()
        elif is_to_train:
            file.save(snapshot(net))
    warn_of_the_end(net, settings)
    notes = notes_of_epochs(net, problem, settings)
    if is_to_restore_best(net, settings):
        parameters.restore(net.best_)
    processes.copy_first_(parameters.storage, *parameters.buffers)
    return replace(published(net, run.start, settings), notes=notes)


def _run_epochs(net: FeedForwardNet, run: Run) -> None:
    """Run the epochs that are left."""
    epochs = net.max_epochs - len(net.records_)
    if net.datasets is None:
        net.trainer.leave_penalty_to_solver()
        net.partial_fit(net.trainer, epochs=epochs)
    else:
        # Some callbacks look at the gradients, or clip them.
        run.step.parameters.attach_gradients(run.module)
        net.partial_fit(run.problem.X, run.problem.labels, epochs=epochs)


def _checkpoint_file(run: Run) -> AnyFile | None:
    """Return the file of this training's checkpoints, or None if it has none."""
    settings, processes = run.settings, run.problem.shards.processes
    if settings.checkpoint_dir is None or settings.incremental:
        return None
    device = str(run.step.parameters.device)
    with processes.agreement():
        name = fingerprint(run.problem, run.start, settings.parameters, device)
    if processes.is_group:
        return SharedCheckpointFile(settings.checkpoint_dir, name, processes)
    return CheckpointFile(settings.checkpoint_dir, name)


def _net(run: Run, bars: list[EpochBar], file: AnyFile | None) -> FeedForwardNet:
    """Build the skorch net, ready to train."""
    problem, settings, parameters = run.problem, run.settings, run.step.parameters
    processes = problem.shards.processes

    def estimator_now(net: FeedForwardNet) -> Any:
        estimator = problem.estimator_at(copy_of(model_of(net)))
        vars(estimator).pop("feature_names_in_", None)  # it gets plain arrays, without names
        return estimator

    def attributes_now() -> dict[str, Any]:
        return vars(problem.estimator_at(model_if_stopped(net_if_alive(), run.start, settings)))

    trainer = _trainer(run, lambda: estimator_now(net_if_alive()))
    progress = run.start.progress.copy(
        settings.early_stopping,
        problem.validation is not None,
        problem.watched,
        is_other=problem.train_rows is None,
    )
    reports = [] if problem.tasks is None else [ReportEpochs(problem.tasks, attributes_now)]
    callbacks = copied_callbacks(settings.callbacks)
    net = FeedForwardNet(
        run.module,
        Criterion(problem.loss),
        lambda _: trainer.solver.optimizer,
        parameters,
        estimator_now,
        trainer,
        progress,
        _datasets(problem) if callbacks else None,
        _rules(settings, trainer, progress, [*bars, *reports], processes, file),
        processes,
        max_epochs=settings.n_epochs,
        batch_size=trainer.batches.batch_size,
        callbacks=callbacks,
        verbose=int(settings.is_verbose),
        device=str(parameters.device),
    )
    net_if_alive = weakref.ref(net)  # in a cycle with the net, the rows would outlive the fit
    return net.initialize()


def _trainer(run: Run, estimator_now: Callable[[], Any]) -> Trainer:
    """Build the trainer, with its batches, solver, schedule and validation rows."""
    problem, settings, step = run.problem, run.settings, run.step
    resumed = run.start.solver or None if settings.incremental else None
    if resumed is not None and resumed["name"] != solver_name(settings.solver):
        resumed = None
    solver = make_solver(step.parameters, run.module, settings.parameters, resumed)
    shards = problem.shards
    batches_of = partial(
        partial(ShardBatches, shards) if shards.processes.is_group else Batches,
        problem.X,
        problem.y,
        problem.sample_weight,
        batch_size=settings.rows_of_step,
        random_state=run.random_state if settings.shuffle else None,
        device=step.parameters.device,
        dtype=step.products.dtype,
        values=problem.dtype,
        operand=step.products.operand,
    )

    def all_rows() -> tuple[Batches | ShardBatches, LossMeter | SummedMeter]:
        if not isinstance(run.meter, LossMeter):
            return batches_of(None), run.meter
        return batches_of(None), LossMeter(step, shards.n_samples, settings.rows_of_step)

    schedule = scheduler = validate = None
    regularized = []
    if settings.regularization_schedule is not None:
        regularized = [(g, RAISED_DROPOUT) for g in run.generators if isinstance(g, Masks)]
        if isinstance(solver, AdamW):
            regularized.append((solver, RAISED_DECAY))
    waves = None
    if settings.watches_waves:
        n_validation_rows = len(problem.validation.y)
        waves = Waves.of(settings.max_iter, settings.warmup_fraction, n_validation_rows)
        if problem.train_rows is not None:
            can_raise = any(isinstance(each, Masks) for each, _ in regularized)
            can_raise = can_raise and problem.loss.output_activation in ("softmax", "logistic")
            waves = waves._replace(can_raise=can_raise, all_rows=all_rows)
    if settings.learning_rate in STEP_SCHEDULES or settings.warmup_fraction or regularized:
        schedule = StepSchedule(
            solver.optimizer.param_groups,
            settings.learning_rate,
            settings.warmup_fraction,
            n_epochs=settings.max_iter,
            n_before=0 if resumed is None else resumed["n_calls"],
            regularized=regularized,
        )
    if callable(settings.learning_rate):
        scheduler_state = None if resumed is None else resumed["scheduler"]
        scheduler = EpochScheduler(settings.learning_rate, solver.optimizer, scheduler_state)
    if problem.validation is not None:
        forward = Modules(run.module, problem.network)
        if problem.network.is_plain:
            weights, biases = step.parameters.weights, step.parameters.biases
            average = problem.loss.average
            forward = Layers(weights, biases, problem.network.activations, average)
        validate = Validation(problem, forward, estimator_now, settings.early_stopping)
    return Trainer(
        batches_of(problem.train_rows),
        step,
        run.meter,
        solver,
        schedule=schedule,
        scheduler=scheduler,
        max_grad_norm=settings.max_grad_norm,
        validate=validate,
        rows=problem.X,
        labels=problem.labels,
        generators=run.generators,
        processes=shards.processes,
        waves=waves,
    )


def _rules(
    settings: Settings,
    trainer: Trainer,
    progress: Progress,
    reports: list[Any],
    processes: OneProcess,
    file: AnyFile | None,
) -> tuple[list[Any], list[Any]]:
    """Return the rules of an epoch's end, those before and those after the user's callbacks.

    The rules before them record and report the epoch, and end a training that cannot recover. The
    rules after them set the rate and decide whether to stop, in scikit-learn's order.
    """
    tol, early_stopping, is_verbose = settings.tol, settings.early_stopping, settings.is_verbose
    before = [
        *([AgreeOnEpoch(processes)] if processes.is_group else []),
        TrackProgress(progress, tol, is_verbose, early_stopping),
        *([] if trainer.waves is None else [WatchWaves(trainer.waves, is_verbose)]),
        *reports,
        StopOnDivergence(early_stopping),
    ]
    plateau = StopOnPlateau(progress, tol, settings.n_iter_no_change, is_verbose, early_stopping)
    after = [
        *([] if trainer.scheduler is None else [trainer.scheduler]),
        *([InverseScaling(progress)] if settings.solver == "sgd" else []),
        plateau,
        KeepFinishedEpoch(processes),
        *([] if file is None else [SaveCheckpoint(file, settings.checkpoint_every)]),
    ]
    return before, after


def _datasets(problem: Problem) -> tuple[Any, Any]:
    """Return the training and validation rows with their targets, for the user's callbacks."""
    everything = Dataset(problem.X, problem.labels)
    training, validation = everything, None
    if problem.train_rows is not None:
        training = Subset(everything, problem.shards.own(problem.train_rows).copy())
    data = problem.validation
    if data is not None and data.rows is not None:
        validation = Subset(everything, data.rows)
    elif data is not None:
        validation = Dataset(data.X, data.labels)
    return training, validation
