"""From arrays to a trained network: the one door between scikit-learn's face and torch.

What goes in and what comes out are NumPy arrays and plain values; tensors, the module and the
skorch net live for one call.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sknn import _compat
from sknn._activations import ACTIVATIONS
from sknn._batches import Batches, multiplies_sparse
from sknn._devices import resolve_device
from sknn._inference import link, outputs_of
from sknn._lbfgs import train_lbfgs
from sknn._losses import LOSSES, Criterion
from sknn._module import FeedForwardModule
from sknn._net import FeedForwardNet, plain_records
from sknn._parameters import FlatParameters
from sknn._problem import Problem, State
from sknn._products import TorchProducts, products_of
from sknn._solvers import SOLVERS, Solver
from sknn._steps import ClosedFormStep, LossMeter, flops_per_step
from sknn._stopping import (
    InverseScaling,
    KeepFinishedEpoch,
    Progress,
    StopOnDivergence,
    StopOnPlateau,
    TrackProgress,
)


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
    device = resolve_device(settings.device, _torch_dtype(problem.X.dtype))
    n_rows = _batch_size(problem, settings)
    flops = flops_per_step(problem.layer_units, n_rows, problem.X.dtype)
    products = products_of(device, flops, _is_mixed(settings, device))
    with products.threads(flops):
        step = _step(problem, state, settings, device, products)
        meter = LossMeter(step, _n_train(problem), n_rows)
        if settings.solver == "lbfgs":
            trained = train_lbfgs(problem, state, settings, step, meter)
        else:
            trained = _train_stochastic(
                problem, state, settings, step, meter, random_state, incremental
            )
    if not all(np.isfinite(a).all() for a in (*trained.coefs, *trained.intercepts)):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may"
            " contain large values and need to be preprocessed."
            " Scale the features (for instance with StandardScaler) and a regression target,"
            f" or lower learning_rate_init (it is {settings.learning_rate_init})."
        )
    return trained


def _torch_dtype(dtype: np.dtype) -> torch.dtype:
    return torch.float32 if dtype == np.float32 else torch.float64


def _n_train(problem: Problem) -> int:
    return problem.X.shape[0] if problem.train_rows is None else len(problem.train_rows)


def _batch_size(problem: Problem, settings: SimpleNamespace) -> int:
    """Rows of a step: all of them for L-BFGS, never more than there are."""
    n_samples = _n_train(problem)
    if settings.solver == "lbfgs":
        return n_samples
    return min(200 if settings.batch_size == "auto" else settings.batch_size, n_samples)


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


def _step(
    problem: Problem,
    state: State,
    settings: SimpleNamespace,
    device: torch.device,
    products: type[TorchProducts],
) -> ClosedFormStep:
    """The step, over parameters that hold the starting point."""
    parameters = FlatParameters(
        problem.layer_units,
        0 if settings.solver == "lbfgs" else SOLVERS[settings.solver].n_slots,
        dtype=_torch_dtype(problem.X.dtype),
        device=device,
        input_major=multiplies_sparse(problem.X, device, _batch_size(problem, settings)),
    )
    parameters.write(state.coefs, state.intercepts)
    activation, loss = ACTIVATIONS[settings.activation], LOSSES[problem.loss]
    return ClosedFormStep(products(parameters), activation, loss, settings.alpha)


def _train_stochastic(
    problem: Problem,
    state: State,
    settings: SimpleNamespace,
    step: ClosedFormStep,
    meter: LossMeter,
    random_state: np.random.RandomState,
    incremental: bool,
) -> State:
    """Epochs of batches, run by skorch."""
    if settings.batch_size != "auto" and settings.batch_size > _n_train(problem):
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=2,
        )
    resumed = state.solver if incremental else None
    if resumed is not None and resumed["name"] != settings.solver:
        resumed = None
    parameters, device = step.parameters, step.parameters.storage.device
    progress = state.progress.copy(early_stopping=settings.early_stopping)
    net = FeedForwardNet(
        FeedForwardModule(parameters.weights, parameters.biases, settings.activation),
        Criterion(step.loss),
        partial(_solver, settings=settings, resumed=resumed),
        parameters,
        step,
        meter,
        progress,
        max_epochs=1 if incremental else settings.max_iter,
        callbacks=_rules(progress, settings),
        device=str(device),
    ).initialize()
    batches = Batches(
        problem.X,
        problem.y,
        problem.sample_weight,
        problem.train_rows,
        batch_size=_batch_size(problem, settings),
        random_state=random_state if settings.shuffle else None,
        device=device,
        dtype=step.products.dtype,
        operand=step.products.operand,
    )
    if settings.early_stopping:
        net.remember_best()
    net.partial_fit(batches, _validation(problem, parameters, settings))
    _warn_of_the_end(net, settings, incremental)
    if settings.early_stopping:
        parameters.storage[0].copy_(net.best_)
    return _published(net, state, settings)


def _solver(
    parameters: FlatParameters, settings: SimpleNamespace, resumed: dict[str, Any] | None
) -> Solver:
    """The solver, new or as the call before left it."""
    names = {
        "adam": ("beta_1", "beta_2", "epsilon"),
        "sgd": ("momentum", "nesterovs_momentum", "learning_rate", "power_t"),
    }[settings.solver]
    solver = SOLVERS[settings.solver](
        parameters,
        settings.learning_rate_init,
        **{name: getattr(settings, name) for name in names},
    )
    if resumed is not None:
        solver.restore(resumed["numbers"])
        for row, (coefs, intercepts) in enumerate(resumed["slots"], 1):
            parameters.write(coefs, intercepts, row)
    return solver


def _rules(progress: Progress, settings: SimpleNamespace) -> list[Any]:
    """The callbacks of an epoch's end, in scikit-learn's order."""
    tol, verbose = settings.tol, bool(settings.verbose)
    return [
        TrackProgress(progress, tol, verbose),
        StopOnDivergence(),
        *([InverseScaling(progress)] if settings.solver == "sgd" else []),
        StopOnPlateau(progress, tol, settings.n_iter_no_change, verbose),
        KeepFinishedEpoch(),
    ]


def _validation(
    problem: Problem, parameters: FlatParameters, settings: SimpleNamespace
) -> Callable[[], float] | None:
    """The score of the validation rows, as a function of nothing."""
    rows = problem.valid_rows
    if rows is None:
        return None
    output = link(LOSSES[problem.loss].output_activation)
    y = problem.y[rows]
    weight = None if problem.sample_weight is None else problem.sample_weight[rows]

    def score() -> float:
        prediction = outputs_of(
            problem.X, parameters.weights, parameters.biases, settings.activation, output, rows
        )
        return problem.score(y, prediction, weight)

    return score


def _warn_of_the_end(net: FeedForwardNet, settings: SimpleNamespace, incremental: bool) -> None:
    if net.interrupted_:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    elif net.stopped_ is not None:
        if net.stopped_.diverged and settings.early_stopping:
            warnings.warn(
                f"Training diverged in epoch {len(net.history)}: the validation score is NaN, as"
                " the network's outputs are not finite. The weights of the best validation score"
                " are restored. Scale the data, or lower learning_rate_init"
                f" (it is {settings.learning_rate_init}).",
                ConvergenceWarning,
                stacklevel=2,
            )
    elif not incremental:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) "
            "reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=2,
        )


def _published(net: FeedForwardNet, state: State, settings: SimpleNamespace) -> State:
    """What the net has become, in NumPy."""
    parameters, progress = net.parameters, net.progress
    coefs, intercepts = parameters.read()
    return State(
        coefs,
        intercepts,
        solver={
            "name": settings.solver,
            "numbers": net.optimizer_.numbers(),
            "slots": [parameters.read(row) for row in range(1, len(parameters.storage))],
        },
        progress=progress,
        history=state.history + plain_records(net.history, len(state.history)),
        n_iter=len(net.history),
        loss=net.history[-1]["train_loss"] if net.history else state.loss,
        device=net.device,
    )
