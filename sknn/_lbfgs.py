"""Training by SciPy's L-BFGS-B, on the loss of all rows at once."""

from __future__ import annotations

import warnings
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.utils.optimize import _check_optimize_result

from sknn._batches import Batches
from sknn._net import plain_records
from sknn._problem import Problem, State
from sknn._solvers import minimize_lbfgs
from sknn._steps import ClosedFormStep, LossMeter


def train_lbfgs(
    problem: Problem,
    state: State,
    settings: SimpleNamespace,
    step: ClosedFormStep,
    meter: LossMeter,
) -> State:
    """Minimize from the parameters of `step`, which hold the starting point.

    The record of the stochastic solvers in `state` is handed on, as in scikit-learn.
    """
    parameters = step.parameters
    (batch,) = Batches(
        problem.X,
        problem.y,
        problem.sample_weight,
        batch_size=problem.X.shape[0],
        device=parameters.storage.device,
        dtype=step.products.dtype,
        operand=step.products.operand,
    )
    vector = parameters.storage[0]
    records: list[dict[str, Any]] = []
    accepted = [vector.cpu().numpy().astype(np.float64)]
    loss = np.nan
    begin = perf_counter()

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal loss
        vector.copy_(torch.from_numpy(point))
        step(batch, meter.slot(batch))
        loss = meter.read()
        return loss, parameters.gradient.cpu().numpy().astype(np.float64)

    def record(point: np.ndarray) -> None:
        # The line search accepts the point that it tried last, so `loss` is the loss there.
        nonlocal begin
        end = perf_counter()
        records.append({"train_loss": loss, "dur": end - begin, "epoch": len(records) + 1})
        begin = end
        accepted[0] = point.copy()

    try:
        with step.grad_mode():
            result = minimize_lbfgs(
                objective,
                accepted[0],
                max_iter=settings.max_iter,
                max_fun=settings.max_fun,
                tol=settings.tol,
                verbose=bool(settings.verbose),
                callback=record,
            )
        n_iter = _check_optimize_result("lbfgs", result, settings.max_iter)
        point, loss = result.x, float(result.fun)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        n_iter, point = len(records), accepted[0]
        loss = records[-1]["train_loss"] if records else state.loss
    vector.copy_(torch.from_numpy(point))
    coefs, intercepts = parameters.read()
    return State(
        coefs,
        intercepts,
        solver=state.solver,
        progress=state.progress,
        history=state.history + plain_records(records, len(state.history)),
        n_iter=n_iter,
        loss=loss,
        device=str(vector.device),
    )
