"""Training by SciPy's L-BFGS-B, which minimizes the loss of all rows."""

from __future__ import annotations

import warnings
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import torch
from sklearn.utils.optimize import _check_optimize_result
from torch import nn

from sknn._data._batches import Batch, Batches
from sknn._data._shards import Pieces
from sknn._network._loss_meter import LossMeter
from sknn._network._module import FeedForwardModule
from sknn._network._steps import AutogradStep, ClosedFormStep
from sknn._network._summed_step import SummedMeter, SummedStep
from sknn._platform import _compat
from sknn._training._larger_run import is_part_of_larger_run
from sknn._training._net import plain_records
from sknn._training._problem import Model, Problem
from sknn._training._reporting import EpochBar, epoch_bars
from sknn._training._settings import Settings
from sknn._training._stopping import StopTraining

# Largest size, in bytes, of the inputs and outputs of all layers for the rows that are evaluated at
# once. Sparse rows do not count, because they are not made dense.
PIECE_BYTES = 2**28

# Modules that compute a different function in each evaluation, or in training and after it.
_CHANGING = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU, nn.BatchNorm1d)


def check_fixed(module: nn.Module) -> None:
    """Refuse modules that are not a fixed function of the parameters.

    Raises
    ------
    ValueError
        If a module of the user drops out, draws, or normalizes by statistics of the batch.
    """
    for part in module.modules():
        if isinstance(part, _CHANGING):
            raise ValueError(
                f"The 'activation' parameter makes modules that contain {part}, which"
                " solver='lbfgs' does not support, because it minimizes one fixed function of all"
                " rows. Use a stochastic solver ('adam', 'adamw', 'sgd', or an optimizer of torch),"
                " or an activation without it."
            )


def rows_of_a_piece(problem: Problem) -> int:
    """Return the number of rows that are evaluated at once."""
    units = problem.network.layer_units[1 if scipy.sparse.issparse(problem.X) else 0 :]
    return max(1, PIECE_BYTES // (2 * sum(units) * problem.dtype.itemsize))


class Minimization:
    """The minimization of the loss of all rows, by SciPy's L-BFGS-B with scikit-learn's options.

    Parameters
    ----------
    problem, start, settings, module, step, meter
        The arguments of `train_lbfgs`.

    Attributes
    ----------
    records : list of dict
        The history, with one record for each accepted point.
    accepted : (int, ndarray)
        The number of accepted points, and the last one of them; at first 0 and the starting point.
    loss : float
        The loss at the point that was evaluated last.
    has_open_task : bool
        Whether scikit-learn's callbacks have seen the beginning of an iteration but not its end.
    """

    def __init__(
        self,
        problem: Problem,
        start: Model,
        settings: Settings,
        module: FeedForwardModule,
        step: ClosedFormStep | AutogradStep | SummedStep,
        meter: LossMeter | SummedMeter,
    ) -> None:
        self._problem, self._start, self._settings = problem, start, settings
        self._step, self._meter, self._module = step, meter, module
        self._vector = step.parameters.storage[0]
        self._data = self._pieces_or_batch()
        self._bars: list[EpochBar] = []
        self.records: list[dict[str, Any]] = []
        self.accepted = 0, self._vector.cpu().numpy().astype(np.float64)
        self.loss = np.nan
        self.has_open_task = False
        self._begin = perf_counter()

    def _pieces_or_batch(self) -> Pieces | Batch:
        problem, step = self._problem, self._step
        data = (problem.X, problem.y, problem.sample_weight)
        options = {
            "device": step.parameters.device,
            "dtype": step.products.dtype,
            "values": problem.dtype,
            "operand": step.products.operand,
        }
        if isinstance(step, SummedStep):
            return Pieces(*data, rows_of_a_piece(problem), problem.shards, **options)
        (batch,) = Batches(*data, batch_size=problem.n_train, **options)
        return batch

    def run(self) -> tuple[int, np.ndarray]:
        """Minimize until SciPy stops; return the number of iterations and the best point."""
        settings = self._settings
        with (
            self._step.grad_mode(),
            epoch_bars(settings.verbose, self._problem, self._start) as self._bars,
            _compat.lent_to_scipy(self.objective) as objective,
        ):
            for bar in self._bars:
                bar.open(settings.max_iter)
            is_printed = not self._bars and bool(settings.verbose)
            result = scipy.optimize.minimize(
                objective,
                self.accepted[1],
                method="L-BFGS-B",
                jac=True,
                callback=self.accept,
                options={
                    "maxfun": settings.max_fun,
                    "maxiter": settings.max_iter,
                    "gtol": settings.tol,
                    **_compat.lbfgs_print_options(is_printed),
                },
            )
        n_iter = _check_optimize_result("lbfgs", result, settings.max_iter)
        self.loss = float(result.fun)
        return n_iter, result.x

    def objective(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss at a point and its gradient there, both in float64."""
        tasks, step, max_iter = self._problem.tasks, self._step, self._settings.max_iter
        if tasks is not None and not self.has_open_task and len(self.records) < max_iter:
            tasks.begin_epoch()
            self.has_open_task = True
        self._vector.copy_(torch.from_numpy(point))
        step(self._data, self._meter.slot(self._data))
        self.loss = self._meter.read()
        return self.loss, step.parameters.gradient.cpu().numpy().astype(np.float64)

    def accept(self, point: np.ndarray) -> None:
        """Record the point that an iteration has come to.

        The line search accepts the point that it tried last, so `loss` is the loss there.

        Raises
        ------
        StopTraining
            If a callback of scikit-learn asks for the end, in any process.
        """
        records, problem = self.records, self._problem
        end = perf_counter()
        duration, self._begin = end - self._begin, end
        records.append({"train_loss": self.loss, "dur": duration, "epoch": len(records) + 1})
        self.accepted = len(records), point.copy()
        for bar in self._bars:
            bar.show(self.loss)
        is_asked = False
        if problem.tasks is not None:
            self.has_open_task = False
            is_asked = problem.tasks.end_epoch(
                lambda: vars(problem.estimator_at(self.model_at(point)))
            )
        if problem.shards.processes.any(is_asked):
            raise StopTraining

    def go_back(self) -> None:
        """Undo what an interrupt left unfinished: a record without its point, and the loss."""
        n_iter, _ = self.accepted
        del self.records[n_iter:]
        self.loss = self.records[-1]["train_loss"] if self.records else self._start.loss

    def model_at(self, point: np.ndarray) -> Model:
        """Return the network with the parameters of a point, as training would end there."""
        self._vector.copy_(torch.from_numpy(point))
        start, parameters = self._start, self._step.parameters
        row = parameters.read()
        return Model(
            [coef.copy(order="K") for coef in row.coefs],
            [intercept.copy() for intercept in row.intercepts],
            modules={k: v.cpu().numpy().copy() for k, v in self._module.extras().items()},
            progress=replace(start.progress, best_epoch=None),
            history=start.history + plain_records(self.records, len(start.history)),
            n_iter=len(self.records),
            loss=self.loss,
            device=str(parameters.device),
        )


def train_lbfgs(
    problem: Problem,
    start: Model,
    settings: Settings,
    module: FeedForwardModule,
    step: ClosedFormStep | AutogradStep | SummedStep,
    meter: LossMeter | SummedMeter,
) -> Model:
    """Return the network that minimizes the loss, from a start at the parameters of `step`.

    The record of the stochastic solvers in `start` is handed on, as in scikit-learn.
    """
    processes = problem.shards.processes
    minimization = Minimization(problem, start, settings, module, step, meter)
    is_interrupted = False
    try:
        n_iter, point = minimization.run()
    except StopTraining:
        n_iter, point = minimization.accepted
    except KeyboardInterrupt:
        if processes.is_group or is_part_of_larger_run():
            raise  # the other processes would wait for this one, and a search would go on
        warnings.warn("Training interrupted by user.", stacklevel=2)
        is_interrupted = True
        minimization.go_back()
        n_iter, point = minimization.accepted
    if processes.is_group:
        point = np.array(processes.first_numbers(point.tolist()))
    trained = replace(
        minimization.model_at(point),
        solver=start.solver,
        n_iter=n_iter,
        is_interrupted=is_interrupted,
    )
    if minimization.has_open_task:  # the last search has found no better point
        problem.tasks.end_epoch(lambda: vars(problem.estimator_at(trained)))
    return trained
