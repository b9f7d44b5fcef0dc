"""Training by SciPy's L-BFGS-B, on the loss of all rows at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import torch
from sklearn.utils.optimize import _check_optimize_result
from torch import nn

from sknn._data._batches import Batches
from sknn._data._shards import Pieces, SummedStep
from sknn._network._meter import LossMeter
from sknn._network._module import FeedForwardModule
from sknn._network._steps import AutogradStep, ClosedFormStep
from sknn._platform import _compat
from sknn._training._net import plain_records
from sknn._training._problem import Problem, State
from sknn._training._reporting import epoch_bars
from sknn._training._stopping import StopTraining

# Of what all layers take and give for the rows of one evaluation. Sparse rows are not made dense.
PIECE_BYTES = 2**28


# Modules that are another function in every evaluation, or in training than after it.
_CHANGING = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU, nn.BatchNorm1d)


def check_fixed(module: nn.Module) -> None:
    """Refuse what is not one fixed function of the parameters.

    Raises
    ------
    ValueError
        If a module of the user drops out, draws, or normalizes by statistics of the batch.
    """
    for part in module.modules():
        if isinstance(part, _CHANGING):
            raise ValueError(
                f"The 'activation' parameter makes modules that hold {part}, which"
                " solver='lbfgs' cannot do: it minimizes one fixed function of all rows. Use a"
                " stochastic solver ('adam', 'adamw', 'sgd', or an optimizer of torch), or an"
                " activation without it."
            )


def rows_of_a_piece(problem: Problem) -> int:
    """Rows that are evaluated at once."""
    units = problem.network.layer_units[1 if scipy.sparse.issparse(problem.X) else 0 :]
    return max(1, PIECE_BYTES // (2 * sum(units) * problem.dtype.itemsize))


def train_lbfgs(
    problem: Problem,
    state: State,
    settings: SimpleNamespace,
    step: ClosedFormStep | AutogradStep | SummedStep,
    meter: LossMeter | SummedStep,
    module: FeedForwardModule,
) -> State:
    """Minimize from the parameters of `step`, which hold the starting point.

    The record of the stochastic solvers in `state` is handed on, as in scikit-learn.
    """
    parameters = step.parameters
    shards = problem.shards
    options = {
        "device": parameters.device,
        "dtype": step.products.dtype,
        "values": problem.dtype,
        "operand": step.products.operand,
    }
    data = (problem.X, problem.y, problem.sample_weight)
    if isinstance(step, SummedStep):
        pieces = Pieces(*data, rows_of_a_piece(problem), shards, **options)
    else:
        (batch,) = Batches(*data, batch_size=problem.n_train, **options)
    vector = parameters.storage[0]
    records: list[dict[str, Any]] = []
    start = vector.cpu().numpy().astype(np.float64)
    accepted = 0, start  # iterations, and the point that the last of them has come to
    loss = np.nan
    begin = perf_counter()
    is_reported = False  # the iteration, to scikit-learn's callbacks

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal loss, is_reported
        if problem.tasks is not None and not is_reported and len(records) < settings.max_iter:
            problem.tasks.begin_epoch()
            is_reported = True
        vector.copy_(torch.from_numpy(point))
        if isinstance(step, SummedStep):
            loss = step.of_pieces(pieces)
        else:
            step(batch, meter.slot(batch))
            loss = meter.read()
        return loss, parameters.gradient.cpu().numpy().astype(np.float64)

    def record(point: np.ndarray) -> None:
        # The line search accepts the point that it tried last, so `loss` is the loss there.
        nonlocal accepted, begin, is_reported
        end = perf_counter()
        records.append({"train_loss": loss, "dur": end - begin, "epoch": len(records) + 1})
        begin = end
        accepted = len(records), point.copy()
        for bar in bars:
            bar.show(loss)
        is_asked = False
        if problem.tasks is not None:
            is_reported = False
            attributes = partial(_attributes_at, problem, state_at, point)
            is_asked = problem.tasks.end_epoch(attributes)
        if is_asked if shards is None else shards.processes.any(is_asked):
            raise StopTraining

    def state_at(point: np.ndarray) -> State:
        vector.copy_(torch.from_numpy(point))
        row = parameters.read()
        return State(
            [coef.copy(order="K") for coef in row.coefs],
            [intercept.copy() for intercept in row.intercepts],
            modules={k: v.cpu().numpy().copy() for k, v in module.extras().items()},
            progress=state.progress,
            history=state.history + plain_records(records, len(state.history)),
            n_iter=len(records),
            loss=loss,
            device=str(parameters.device),
        )

    try:
        with step.grad_mode(), epoch_bars(settings.verbose) as bars:
            for bar in bars:
                bar.open(settings.max_iter)
            result = _minimize(
                objective,
                start,
                max_iter=settings.max_iter,
                max_fun=settings.max_fun,
                tol=settings.tol,
                verbose=not bars and bool(settings.verbose),
                callback=record,
            )
        n_iter = _check_optimize_result("lbfgs", result, settings.max_iter)
        point, loss = result.x, float(result.fun)
    except StopTraining:
        n_iter, point = accepted
    except KeyboardInterrupt:
        if shards is not None:
            raise  # the others would wait for this one
        warnings.warn("Training interrupted by user.", stacklevel=2)
        n_iter, point = accepted
        del records[n_iter:]  # one that has been recorded, but not yet accepted
        loss = records[-1]["train_loss"] if records else state.loss
    if shards is not None:
        point = np.array(shards.processes.first_numbers(point.tolist()))
    trained = replace(state_at(point), solver=state.solver, n_iter=n_iter)
    if is_reported:  # the last search has found no better point
        problem.tasks.end_epoch(lambda: vars(problem.estimator_at(trained)))
    return trained


def _attributes_at(
    problem: Problem, state_at: Callable[[np.ndarray], State], point: np.ndarray
) -> dict[str, Any]:
    return vars(problem.estimator_at(state_at(point)))


def _minimize(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: bool,
    callback: Callable[[np.ndarray], None],
) -> scipy.optimize.OptimizeResult:
    """Minimize by SciPy's L-BFGS-B with scikit-learn's options.

    `objective` gives the loss and its gradient, both float64; `callback` sees every accepted point.
    """
    with _compat.lent_to_scipy(objective) as lent:
        return scipy.optimize.minimize(
            lent,
            start,
            method="L-BFGS-B",
            jac=True,
            callback=callback,
            options={
                "maxfun": max_fun,
                "maxiter": max_iter,
                "gtol": tol,
                **_compat.lbfgs_print_options(verbose),
            },
        )
