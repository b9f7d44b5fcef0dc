"""From arrays to a trained network: the one door between scikit-learn's face and torch.

What goes in and what comes out are NumPy arrays and plain values; tensors, the module and the
skorch net live for one call.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch.dataset import Dataset
from torch.utils.data import Subset

from sknn._data._batches import Batches
from sknn._data._processes import Processes, agreement
from sknn._data._rows import multiplies_sparse, placed
from sknn._data._shards import ShardBatches, SummedStep
from sknn._network._dropout import Masks, derived_seed
from sknn._network._inference import Layers, Modules
from sknn._network._losses import Criterion
from sknn._network._meter import LossMeter
from sknn._network._module import FeedForwardModule, modules_between
from sknn._network._parameters import FlatParameters
from sknn._network._products import TorchProducts, products_of
from sknn._network._solvers import SOLVERS, make_solver, solver_name
from sknn._network._steps import AutogradStep, ClosedFormStep, flops_per_step
from sknn._platform import _compat
from sknn._platform._devices import memory_given_back, resolve_device, torch_dtype
from sknn._platform._torch_settings import usual_settings
from sknn._training._callbacks import copied_callbacks
from sknn._training._checkpoint import CheckpointFile, SaveCheckpoint, SharedCheckpointFile, go_on
from sknn._training._fingerprint import fingerprint
from sknn._training._lbfgs import check_fixed, rows_of_a_piece, train_lbfgs
from sknn._training._net import FeedForwardNet
from sknn._training._outcome import (
    check_finite,
    copy_of,
    model_if_stopped,
    model_of,
    published,
    warn_of_the_end,
)
from sknn._training._problem import Network, Problem, State
from sknn._training._reporting import EpochBar, ReportEpochs, epoch_bars
from sknn._training._schedules import STEP_SCHEDULES, EpochScheduler, StepSchedule
from sknn._training._stopping import (
    AgreeOnEpoch,
    InverseScaling,
    KeepFinishedEpoch,
    Progress,
    StopOnDivergence,
    StopOnPlateau,
    TrackProgress,
)
from sknn._training._trainer import Trainer
from sknn._training._validation import Validation

Step = ClosedFormStep | AutogradStep | SummedStep
AnyFile = CheckpointFile | SharedCheckpointFile


class Run(NamedTuple):
    """One call of `train`: what is learned, from where, how, and by what.

    Attributes
    ----------
    problem : Problem
    state : State
        The starting point.
    settings : SimpleNamespace
        The estimator's parameters by name.
    random_state : numpy.random.RandomState
    incremental : bool
    step : ClosedFormStep, AutogradStep or SummedStep
    module : FeedForwardModule
        Over the parameters of the step.
    meter : LossMeter or SummedStep
    generators : list of Masks or GlobalGenerators
        What is drawn from in training, beside `random_state`.
    """

    problem: Problem
    state: State
    settings: SimpleNamespace
    random_state: np.random.RandomState
    incremental: bool
    step: Step
    module: FeedForwardModule
    meter: LossMeter | SummedStep
    generators: list[Masks | _compat.GlobalGenerators]


def train(
    problem: Problem,
    state: State,
    settings: SimpleNamespace,
    random_state: np.random.RandomState,
    incremental: bool = False,
) -> State:
    """Train the network of `state` on a problem; `state` itself is left as it was.

    Parameters
    ----------
    problem : Problem
    state : State
        The starting point.
    settings : SimpleNamespace
        The estimator's parameters by name.
    random_state : numpy.random.RandomState
        Orders the rows; its initial weights and split are drawn already.
    incremental : bool
        One epoch, by the solver of the call before.

    Raises
    ------
    ValueError
        If the device is absent, or the weights have become non-finite.
    """
    units, n_rows = problem.network.layer_units, _batch_size(problem, settings)
    # By the whole batch, so that all processes choose the same.
    flops = flops_per_step(units, n_rows, problem.dtype)
    device = resolve_device(settings.device, torch_dtype(problem.dtype), flops)
    # Calls of partial_fit follow each other, and would have to ask for the memory again.
    memory = nullcontext() if incremental else memory_given_back(device)
    with usual_settings(device), memory:
        return _train(problem, state, settings, random_state, incremental, device)


def _train(
    problem: Problem,
    state: State,
    settings: SimpleNamespace,
    random_state: np.random.RandomState,
    incremental: bool,
    device: torch.device,
) -> State:
    problem = _placed(problem, device)
    n_own_rows = min(_batch_size(problem, settings), problem.X.shape[0])
    flops = flops_per_step(problem.network.layer_units, n_own_rows, problem.dtype)
    products = products_of(device, flops, _is_mixed(settings, device))
    seed = None
    if problem.network.draws:
        rank = 0 if problem.shards is None else problem.shards.processes.rank
        seed = derived_seed(random_state, state.progress.n_samples_seen, rank)
    with products.threads(flops), _generator_of_modules(problem.network, seed, device) as borrowed:
        masks = Masks(seed, device) if problem.network.drops else None
        generators = [g for g in (masks, borrowed) if g is not None]
        step, module, meter = _step(problem, state, settings, device, products, masks)
        run = Run(
            problem, state, settings, random_state, incremental, step, module, meter, generators
        )
        if settings.solver == "lbfgs":
            trained = train_lbfgs(problem, state, settings, step, meter, module)
        else:
            trained = _train_stochastic(run)
    check_finite(trained, problem, settings)
    return trained


def _placed(problem: Problem, device: torch.device) -> Problem:
    """The problem with rows of tensors on the device; its copies of them end with the training."""
    X, data = placed(problem.X, device, problem.dtype), problem.validation
    if data is not None:
        is_split = data.X is problem.X
        data = data._replace(X=X if is_split else placed(data.X, device, problem.dtype))
    return problem._replace(X=X, validation=data)


def _batch_size(problem: Problem, settings: SimpleNamespace) -> int:
    """Rows of a step: all of them for L-BFGS, never more than there are."""
    n_samples = problem.n_train
    if settings.solver == "lbfgs":
        return n_samples
    return min(200 if settings.batch_size == "auto" else int(settings.batch_size), n_samples)


def _is_mixed(settings: SimpleNamespace, device: torch.device) -> bool:
    """Whether bfloat16 copies are multiplied. L-BFGS's line search needs exact losses."""
    if settings.dtype != "bfloat16" or settings.solver == "lbfgs":
        return False
    if not _compat.has_bfloat16_unit(device):
        warnings.warn(
            "dtype='bfloat16' is slower than dtype='float32' here: this"
            f" {device.type} device has no unit for bfloat16 products"
            " (on a CPU: AMX, AVX512-BF16 or Arm's bf16).",
            stacklevel=2,
        )
    return True


@contextmanager
def _generator_of_modules(
    network: Network, seed: np.random.SeedSequence | None, device: torch.device
) -> Iterator[_compat.GlobalGenerators | None]:
    """Let the user's modules draw what `random_state` decides, and put torch's generator back."""
    if not network.has_modules_of_the_user:
        yield None
        return
    with _compat.borrowed_generator(device) as generators:
        generators.seed(int(seed.generate_state(1)[0]))
        yield generators


def _step(
    problem: Problem,
    state: State,
    settings: SimpleNamespace,
    device: torch.device,
    products: type[TorchProducts],
    masks: Masks | None,
) -> tuple[Step, FeedForwardModule, LossMeter | SummedStep]:
    """The step, the module and the meter, over parameters that hold the starting point."""
    network, loss, shards = problem.network, problem.loss, problem.shards
    between = modules_between(network)
    if settings.solver == "lbfgs":
        for module in (module for layer in between for _, module in layer):
            check_fixed(module)
    n_rows = _batch_size(problem, settings)
    input_major = multiplies_sparse(problem.X, device, n_rows)
    if shards is not None:  # the layout of what they sum; dense rows want the usual one
        input_major = not shards.processes.any(not input_major)
    parameters = FlatParameters(
        network.layer_units,
        SOLVERS[settings.solver].n_slots if settings.solver in SOLVERS else 0,
        dtype=torch_dtype(problem.dtype),
        device=device,
        input_major=input_major,
        modules=[module for layer in between for _, module in layer],
    )
    parameters.write(state.coefs, state.intercepts)
    module = FeedForwardModule(parameters.weights, parameters.biases, network, between, masks)
    if state.modules is not None:
        module.load_extras(state.modules)
    # Decoupled weight decay is the solver's own.
    alpha = 0.0 if settings.solver == "adamw" else settings.alpha
    n_most = min(n_rows, problem.X.shape[0])
    is_summed = shards is not None
    if settings.solver == "lbfgs" and rows_of_a_piece(problem) < n_most:
        is_summed, n_most = True, rows_of_a_piece(problem)
    own_alpha = 0.0 if is_summed else alpha
    if network.has_closed_form and loss.backward_ is not None:
        step = ClosedFormStep(products(parameters), network, loss, own_alpha, masks, n_most)
    else:
        step = AutogradStep(products(parameters), module, loss, own_alpha)
    if not is_summed:
        return step, module, LossMeter(step, problem.n_train, n_rows)
    processes = None if shards is None else shards.processes
    if processes is not None:
        processes.copy_first_model_(parameters)
    summed = SummedStep(step, alpha, processes)
    return summed, module, summed


def _train_stochastic(run: Run) -> State:
    """Epochs of batches, run by skorch."""
    problem, settings, parameters = run.problem, run.settings, run.step.parameters
    if settings.batch_size != "auto" and settings.batch_size > problem.n_train:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=2,
        )
    shards = problem.shards
    processes = None if shards is None else shards.processes
    file = _checkpoint_file(run)
    with epoch_bars(settings.verbose) as bars:
        with agreement(processes):  # on callbacks and optimizers of the user
            net = _net(run, bars, file)
        if settings.early_stopping:
            net.remember_best()
        if file is not None:
            go_on(net, file)
            if net.records_ and _is_verbose(settings):
                print(f"Going on after iteration {len(net.records_)}, saved in {file.path}")
        epochs = net.max_epochs - len(net.records_)
        if net.datasets is None:
            net.partial_fit(net.trainer, epochs=epochs)
        else:
            parameters.attach_gradients(run.module)  # some callbacks look at them, or clip them
            net.partial_fit(problem.X, problem.labels, epochs=epochs)
    if net.interrupted_ and processes is not None:  # the others would wait for this one
        raise KeyboardInterrupt
    if file is not None and not net.interrupted_:
        file.remove()
    warn_of_the_end(net, run)
    if settings.early_stopping:
        parameters.restore(net.best_)
    if shards is not None:
        shards.processes.copy_first_model_(parameters)
    return published(net, run)


def _checkpoint_file(run: Run) -> AnyFile | None:
    """Where this training is kept, if it is."""
    settings = run.settings
    if settings.checkpoint_dir is None or run.incremental:
        return None
    device = str(run.step.parameters.device)
    processes = None if run.problem.shards is None else run.problem.shards.processes
    with agreement(processes):
        name = fingerprint(run.problem, run.state, settings, device)
    if processes is not None:
        return SharedCheckpointFile(settings.checkpoint_dir, name, processes)
    return CheckpointFile(settings.checkpoint_dir, name)


def _net(run: Run, bars: list[EpochBar], file: AnyFile | None) -> FeedForwardNet:
    """The skorch net, ready to train."""
    problem, settings, parameters = run.problem, run.settings, run.step.parameters

    def estimator_now() -> Any:
        estimator = problem.estimator_at(copy_of(model_of(net_if_alive())))
        vars(estimator).pop("feature_names_in_", None)  # it is given plain arrays
        return estimator

    def attributes_now() -> dict[str, Any]:
        return vars(problem.estimator_at(model_if_stopped(net_if_alive(), run)))

    trainer = _trainer(run, estimator_now)
    progress = run.state.progress.copy(
        settings.early_stopping,
        problem.validation is not None,
        problem.watched,
        is_other=problem.train_rows is None,
    )
    processes = None if problem.shards is None else problem.shards.processes
    reports = [] if problem.tasks is None else [ReportEpochs(problem.tasks, attributes_now)]
    callbacks = copied_callbacks(settings.callbacks)
    net = FeedForwardNet(
        run.module,
        Criterion(problem.loss),
        lambda _: trainer.solver.optimizer,
        parameters,
        trainer,
        progress,
        estimator_now,
        _datasets(problem) if callbacks else None,
        _rules(settings, trainer, progress, [*bars, *reports], processes, file),
        processes,
        max_epochs=1 if run.incremental else settings.max_iter,
        batch_size=trainer.batches.batch_size,
        callbacks=callbacks,
        verbose=int(_is_verbose(settings)),
        device=str(parameters.device),
    )
    net_if_alive = weakref.ref(net)  # in a cycle with the net, the rows would outlive the fit
    return net.initialize()


def _trainer(run: Run, estimator_now: Callable[[], Any]) -> Trainer:
    """What an epoch needs: batches, solver, schedule, validation rows."""
    problem, settings, step = run.problem, run.settings, run.step
    resumed = run.state.solver or None if run.incremental else None
    if resumed is not None and resumed["name"] != solver_name(settings.solver):
        resumed = None
    solver = make_solver(step.parameters, run.module, settings, resumed)
    shards = problem.shards
    batches = (Batches if shards is None else partial(ShardBatches, shards))(
        problem.X,
        problem.y,
        problem.sample_weight,
        problem.train_rows,
        batch_size=_batch_size(problem, settings),
        random_state=run.random_state if settings.shuffle else None,
        device=step.parameters.device,
        dtype=step.products.dtype,
        values=problem.dtype,
        operand=step.products.operand,
    )
    schedule = scheduler = validate = None
    if settings.learning_rate in STEP_SCHEDULES or settings.warmup_fraction:
        schedule = StepSchedule(
            solver.optimizer.param_groups,
            settings.learning_rate,
            settings.warmup_fraction,
            n_epochs=settings.max_iter,
            n_before=0 if resumed is None else resumed["n_calls"],
        )
    if callable(settings.learning_rate):
        scheduler_state = None if resumed is None else resumed["scheduler"]
        scheduler = EpochScheduler(settings.learning_rate, solver.optimizer, scheduler_state)
    if problem.validation is not None:
        forward = Modules(run.module, problem.network.layer_units)
        if problem.network.has_closed_form:
            weights, biases = step.parameters.weights, step.parameters.biases
            forward = Layers(weights, biases, problem.network.activations)
        validate = Validation(problem, forward, estimator_now, settings.early_stopping)
    return Trainer(
        batches,
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
    )


def _is_verbose(settings: SimpleNamespace) -> bool:
    """Whether scikit-learn's lines are printed."""
    return settings.verbose != "progress" and bool(settings.verbose)


def _rules(
    settings: SimpleNamespace,
    trainer: Trainer,
    progress: Progress,
    reports: list[Any],
    processes: Processes | None,
    file: AnyFile | None,
) -> tuple[list[Any], list[Any]]:
    """What is done at an epoch's end, before and after the user's callbacks.

    Before: the record, who is told of it, and an end for what cannot recover. After: the rate and
    the stop rule, in scikit-learn's order.
    """
    tol, early_stopping, is_verbose = settings.tol, settings.early_stopping, _is_verbose(settings)
    before = [
        *([] if processes is None else [AgreeOnEpoch(processes)]),
        TrackProgress(progress, tol, is_verbose, early_stopping),
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
    """Training and validation rows with their targets, as the user's callbacks are shown them."""
    everything = Dataset(problem.X, problem.labels)
    training, validation = everything, None
    if problem.train_rows is not None:
        rows, shards = problem.train_rows, problem.shards
        training = Subset(everything, rows.copy() if shards is None else shards.own(rows))
    data = problem.validation
    if data is not None and data.rows is not None:
        validation = Subset(everything, data.rows)
    elif data is not None:
        validation = Dataset(data.X, data.labels)
    return training, validation
