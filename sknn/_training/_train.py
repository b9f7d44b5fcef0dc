"""Train a network. The estimators start each training here.

The input and the result are NumPy arrays and plain values. Tensors, the torch module and the skorch
net live for one call.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
import torch

from sknn._data._rows import multiplies_sparse, placed
from sknn._network._architecture import Network
from sknn._network._dropout import Masks, derived_seed
from sknn._network._loss_meter import LossMeter
from sknn._network._matrix_products import TorchProducts, products_of
from sknn._network._module import (
    Ensemble,
    FeedForwardModule,
    ModulesBetween,
    modules_between,
    network_module,
)
from sknn._network._parameters import FlatParameters
from sknn._network._solvers import SOLVERS
from sknn._network._steps import AutogradStep, ClosedFormStep, flops_of_network
from sknn._network._summed_step import SummedMeter, SummedStep
from sknn._platform import _compat
from sknn._platform._devices import memory_given_back, resolve_device, torch_dtype
from sknn._platform._torch_settings import default_settings
from sknn._training._kept_parts import keep, key_of, take
from sknn._training._lbfgs import check_fixed, rows_of_a_piece, train_lbfgs
from sknn._training._notes import notes_of_input
from sknn._training._outcome import check_finite, in_memory_of_its_own
from sknn._training._problem import Model, Problem
from sknn._training._settings import Settings
from sknn._training._stochastic import Run, train_stochastic


class Parts(NamedTuple):
    """A network in training.

    Attributes
    ----------
    module : FeedForwardModule or Ensemble
        The network as a torch module, over the parameters of the step.
    step : ClosedFormStep, AutogradStep or SummedStep
        The step, which turns a batch into a loss and a gradient.
    meter : LossMeter or SummedMeter
        The meter, which reads the loss of an epoch.
    """

    module: FeedForwardModule | Ensemble
    step: ClosedFormStep | AutogradStep | SummedStep
    meter: LossMeter | SummedMeter


def train(
    problem: Problem, start: Model, settings: Settings, random_state: np.random.RandomState
) -> Model:
    """Train a network on a problem.

    Parameters
    ----------
    problem : Problem
        The data, the loss and the architecture.
    start : Model
        The model that training starts from. It is left as it was.
    settings : Settings
        The settings of the training.
    random_state : numpy.random.RandomState
        Generator that orders the rows. The initial weights and the split have been drawn from it
        already.

    Returns
    -------
    Model
        The trained model.

    Raises
    ------
    ValueError
        If the device is absent, or the weights have become non-finite.
    """
    # The whole batch counts, not this process's part, so that all processes choose the same device.
    flops = flops_of_network(problem.network, settings.rows_of_step, problem.dtype)
    device = resolve_device(settings.device, torch_dtype(problem.dtype), flops)
    # Calls of partial_fit follow each other, and would have to ask for the memory again.
    memory = nullcontext() if settings.incremental else memory_given_back(device)
    with default_settings(device), memory:
        return _train_on(device, _placed(problem, device), start, settings, random_state)


def _train_on(
    device: torch.device,
    problem: Problem,
    start: Model,
    settings: Settings,
    random_state: np.random.RandomState,
) -> Model:
    """Train on a device that holds the problem's tensors."""
    network = problem.network
    n_own_rows = min(settings.rows_of_step, problem.X.shape[0])
    flops = flops_of_network(network, n_own_rows, problem.dtype)
    if settings.is_mixed:
        _warn_of_slow_bfloat16(device)
    products = products_of(device, flops, settings.is_mixed)
    seed = None
    if network.draws:
        rank = problem.shards.processes.rank
        of_rank = (rank,) if rank else ()
        seed = derived_seed(random_state, start.progress.n_samples_seen, of_rank)
    with (
        products.threads(flops, network.n_members),
        _generator_of_modules(network, seed, device) as borrowed,
    ):
        masks = Masks(seed, device, network.n_members) if network.drops else None
        generators = [g for g in (masks, borrowed) if g is not None]
        # The state of modules that the network does not have is refused in `_parts`.
        key = None if start.modules else key_of(problem, settings, device, products)
        parts = take(key)
        if parts is None:
            parts = _parts(problem, start, settings, device, products, masks)
        else:
            parts.step.parameters.storage.zero_()
            parts.step.parameters.write(start.coefs, start.intercepts)
        if settings.solver == "lbfgs":
            trained = train_lbfgs(problem, start, settings, **parts._asdict())
        else:
            run = Run(
                problem,
                start,
                settings,
                random_state,
                **parts._asdict(),
                generators=generators,
            )
            trained = train_stochastic(run)
            if key is not None:
                trained = in_memory_of_its_own(trained)
    check_finite(trained, problem, settings)
    if not settings.incremental:
        trained.notes.extend(notes_of_input(problem, settings))
        for note in trained.notes if not trained.is_interrupted else ():
            note.warn()
    if not trained.is_interrupted:
        keep(key, parts)
    return trained


def _placed(problem: Problem, device: torch.device) -> Problem:
    """Return the problem with its tensors on the device. The copies end with the training."""
    X, data = placed(problem.X, device, problem.dtype), problem.validation
    if data is not None:
        is_split = data.X is problem.X
        data = data._replace(X=X if is_split else placed(data.X, device, problem.dtype))
    return problem._replace(X=X, validation=data)


def _warn_of_slow_bfloat16(device: torch.device) -> None:
    if not _compat.has_bfloat16_unit(device):
        warnings.warn(
            "dtype='bfloat16' is slower than dtype='float32' here, because this"
            f" {device.type} device has no unit for bfloat16 products"
            " (on a CPU: AMX, AVX512-BF16 or Arm's bf16).",
            stacklevel=2,
        )


@contextmanager
def _generator_of_modules(
    network: Network, seed: np.random.SeedSequence | None, device: torch.device
) -> Iterator[_compat.GlobalGenerators | None]:
    """Let the user's modules draw numbers that `random_state` decides.

    They draw from torch's global generators, which are put back afterwards.
    """
    if not network.has_modules_of_the_user:
        yield None
        return
    with _compat.borrowed_generator(device) as generators:
        generators.seed(int(seed.generate_state(1)[0]))
        yield generators


def _parts(
    problem: Problem,
    start: Model,
    settings: Settings,
    device: torch.device,
    products: type[TorchProducts],
    masks: Masks | None,
) -> Parts:
    """Build the network in training, with the starting point as its parameters."""
    between = modules_between(problem.network)
    if settings.solver == "lbfgs":
        for module in between.all():
            check_fixed(module)
    parameters = _parameters(problem, settings, device, between)
    parameters.write(start.coefs, start.intercepts)
    module = network_module(
        parameters.weights,
        parameters.biases,
        problem.network,
        problem.loss.average,
        between,
        masks,
    )
    if start.modules is not None:
        module.load_extras(start.modules)
    problem.shards.processes.copy_first_(parameters.storage, *parameters.buffers)
    return Parts(module, *_step_and_meter(problem, settings, products(parameters), module, masks))


def _parameters(
    problem: Problem,
    settings: Settings,
    device: torch.device,
    between: ModulesBetween,
) -> FlatParameters:
    """Lay out the parameters of all layers and the solver's slots, all zero."""
    # All processes add up vectors of one layout. It is the usual one if any of them has dense rows.
    # Autograd makes rows dense, and warns of members whose weights have gaps in memory.
    is_dense = not multiplies_sparse(problem.X, device, settings.rows_of_step)
    is_dense = is_dense or not _has_closed_form(problem.network, settings)
    return FlatParameters(
        problem.network.linear_units,
        SOLVERS[settings.solver].n_slots if settings.solver in SOLVERS else 0,
        dtype=torch_dtype(problem.dtype),
        device=device,
        input_major=not problem.shards.processes.any(is_dense),
        modules=between.all(),
        n_shared=between.n_shared,
        n_members=problem.network.n_members,
    )


def _has_closed_form(network: Network, settings: Settings) -> bool:
    """Return whether the step is the closed form.

    In mixed precision, autocast decides where modules compute in float32.
    """
    return network.is_plain or not settings.is_mixed


def _step_and_meter(
    problem: Problem,
    settings: Settings,
    products: TorchProducts,
    module: FeedForwardModule | Ensemble,
    masks: Masks | None,
) -> tuple[ClosedFormStep | AutogradStep | SummedStep, LossMeter | SummedMeter]:
    """Choose the step and the meter that goes with it."""
    network, loss, processes = problem.network, problem.loss, problem.shards.processes
    # Decoupled weight decay is the solver's own.
    alpha = 0.0 if settings.solver == "adamw" else settings.alpha
    n_most = min(settings.rows_of_step, problem.X.shape[0])
    is_summed = processes.is_group
    if settings.solver == "lbfgs" and rows_of_a_piece(problem) < n_most:
        is_summed, n_most = True, rows_of_a_piece(problem)
    own_alpha = 0.0 if is_summed else alpha  # the penalty is added to the sum
    if _has_closed_form(network, settings):
        step = ClosedFormStep(products, network, loss, own_alpha, masks, n_most, module)
    else:
        step = AutogradStep(products, module, loss, own_alpha)
    if not is_summed:
        return step, LossMeter(step, problem.n_train, settings.rows_of_step)
    summed = SummedStep(step, alpha, processes)
    return summed, SummedMeter(summed)
