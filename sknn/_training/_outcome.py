"""The outcome of a training: warnings about how it ended, and the network as NumPy arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknn._data._validation_split import ValidationSet
from sknn._network._inference import forward_of, outputs_of
from sknn._network._solvers import solver_name
from sknn._platform import _compat
from sknn._training._callbacks import without_training_state
from sknn._training._net import FeedForwardNet, plain_records
from sknn._training._problem import Model, Problem
from sknn._training._schedules import STEP_SCHEDULES
from sknn._training._settings import Settings
from sknn._training._validation import losses_of_rows, raw_and_linked


def warn_of_the_end(net: FeedForwardNet, settings: Settings) -> None:
    """Warn if training was interrupted, has diverged or has not converged."""
    schedule = net.trainer.schedule
    if net.interrupted_:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    elif net.stopped_ is not None:
        if not (net.stopped_.diverged and is_to_restore_best(net, settings)):
            return
        if settings.watches_waves:
            warnings.warn(
                f"Training diverged in epoch {len(net.records_)}: the training loss is NaN, because"
                " the network's weights are not finite. The weights from the best end of a wave are"
                " restored. Scale the data, or lower learning_rate_init"
                f" (it is {settings.learning_rate_init}).",
                ConvergenceWarning,
                stacklevel=2,
            )
        else:
            warnings.warn(
                f"Training diverged in epoch {len(net.records_)}: the validation score is NaN,"
                " because the network's outputs or their errors are not finite. The weights with"
                " the best validation score are restored. Scale the data, or lower"
                f" learning_rate_init (it is {settings.learning_rate_init}).",
                ConvergenceWarning,
                stacklevel=2,
            )
    elif not settings.incremental and not _was_to_run_to_the_end(settings):
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) "
            "reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=2,
        )
    elif (
        settings.incremental
        and settings.learning_rate in STEP_SCHEDULES
        and schedule.n_epochs_done > settings.max_iter
    ):
        warnings.warn(
            f"partial_fit was called more than max_iter={settings.max_iter} times, which is the"
            f" length of the schedule learning_rate={settings.learning_rate!r}. The learning rate"
            f" stays at its final value, {net.trainer.first_rate:.3g}. Raise max_iter to the number"
            " of calls.",
            stacklevel=2,
        )


def is_to_restore_best(net: FeedForwardNet, settings: Settings) -> bool:
    """Return whether a training that ends now ends with the best weights, and not with the last.

    Before the end of the first wave, there is nothing better than the weights of the last epoch.
    """
    waves = net.trainer.waves
    if waves is not None:
        return waves.best_end(net.records_) is not None
    return settings.early_stopping


def _was_to_run_to_the_end(settings: Settings) -> bool:
    """Return whether a schedule that has an end was given all of its epochs on purpose."""
    return settings.learning_rate in STEP_SCHEDULES and settings.n_iter_no_change == np.inf


def model_of(net: FeedForwardNet) -> Model:
    """Return the current network of the net as NumPy arrays, without the solver's state.

    On the CPU, the arrays of the linear layers share the net's memory.
    """
    progress = net.progress
    row = net.parameters.read()
    return Model(
        row.coefs,
        row.intercepts,
        modules={k: v.cpu().numpy().copy() for k, v in net.module_.extras().items()},
        solver={},
        progress=progress,
        n_iter=len(net.records_),
        loss=progress.loss_curve[-1] if progress.loss_curve else np.nan,
        device=net.device,
    )


def model_if_stopped(net: FeedForwardNet, start: Model, settings: Settings) -> Model:
    """Return a copy of the network that training would end with if this epoch were the last."""
    restores = is_to_restore_best(net, settings)
    with net.parameters.holding(net.best_) if restores else nullcontext():
        model = copy_of(model_of(net))
    history = start.history + plain_records(net.records_, len(start.history))
    return replace(model, history=history)


def copy_of(model: Model) -> Model:
    """Return a copy of a model that the user may keep or change while training goes on."""
    progress = model.progress
    return replace(
        model,
        coefs=[coef.copy(order="K") for coef in model.coefs],
        intercepts=[intercept.copy() for intercept in model.intercepts],
        progress=replace(
            progress, **{k: list(v) for k, v in vars(progress).items() if isinstance(v, list)}
        ),
    )


def in_memory_of_its_own(model: Model) -> Model:
    """Return a published model whose arrays are copies, so that training may use theirs again."""
    slots = [
        tuple([array.copy(order="K") for array in arrays] for arrays in slot)
        for slot in model.solver["slots"]
    ]
    return replace(copy_of(model), solver={**model.solver, "slots": slots})


def published(net: FeedForwardNet, start: Model, settings: Settings) -> Model:
    """Return the trained network, and what further training needs, as NumPy arrays."""
    parameters, trainer = net.parameters, net.trainer
    schedule, scheduler = trainer.schedule, trainer.scheduler
    model = model_of(net)
    n_calls = schedule.n_epochs_done if settings.incremental and schedule is not None else 0
    return replace(
        model,
        solver={
            "name": solver_name(settings.solver),
            "numbers": trainer.solver.numbers(),
            "slots": [tuple(parameters.read(i)) for i in range(1, len(parameters.storage))],
            # The schedule of partial_fit ends after a number of its own calls.
            "n_calls": n_calls,
            "scheduler": None if scheduler is None else scheduler.state(),
        },
        history=start.history + plain_records(net.records_, len(start.history)),
        loss=model.loss if net.records_ else start.loss,
        is_interrupted=net.interrupted_,
        callbacks=without_training_state(net.user_callbacks),
    )


def check_finite(trained: Model, problem: Problem, settings: Settings) -> None:
    """Refuse a model that is useless because its training has diverged or has never had a loss.

    Raises
    ------
    ValueError
        If weights, the outputs for the training rows, or the loss are not finite.
    """
    arrays = (*trained.coefs, *trained.intercepts, *trained.modules.values())
    if not all(np.isfinite(a).all() for a in arrays):
        what = "Solver produced non-finite parameter weights."
    elif not _may_overflow(problem, trained) and not _has_only_worst_scores(
        problem, trained, settings
    ):
        return
    elif not _all_finite(problem, trained, raw_and_linked(problem.loss)):
        what = "Solver produced parameter weights with which the outputs are non-finite."
    elif not np.isfinite(trained.loss) and not _has_other_weights(problem, trained, settings):
        what = f"Solver produced a non-finite training loss ({trained.loss})."
    elif _has_only_worst_scores(problem, trained, settings) and not _has_finite_loss(
        problem, trained, problem.validation
    ):
        what = "Solver produced a non-finite validation loss in every epoch."
    else:
        return
    raise ValueError(
        f"{what} The input data may contain large values and need to be preprocessed."
        " Scale the features (for instance with StandardScaler) and a regression target, or lower"
        f" learning_rate_init (it is {settings.learning_rate_init}) or alpha ({settings.alpha})."
    )


def _has_other_weights(problem: Problem, trained: Model, settings: Settings) -> bool:
    """Return whether the weights are not those of the last epoch, and have a finite loss."""
    is_unchanged = trained.is_interrupted and trained.n_iter == 0
    has_others = _stops_early(problem, settings) or is_unchanged
    return has_others and _has_finite_loss(problem, trained)


def _stops_early(problem: Problem, settings: Settings) -> bool:
    """Return whether scores of validation rows decide on the weights, as never with L-BFGS."""
    return settings.restores_best and problem.validation is not None


def _has_only_worst_scores(problem: Problem, trained: Model, settings: Settings) -> bool:
    """Return whether early stopping has watched scores that are all the worst there can be."""
    is_worst = trained.progress.best_validation_score == -np.inf
    return is_worst and _stops_early(problem, settings)


def _may_overflow(problem: Problem, trained: Model) -> bool:
    """Return whether outputs for the training rows may exceed the dtype.

    The last step may have caused this, and no loss is computed after it. The rows are evaluated
    only if weights are huge, the loss has overflowed, or outputs are exponentials. All processes
    return the same, because they have equal weights and losses.
    """
    largest = [max(coef.max(), -coef.min()) for coef in trained.coefs]
    # The gain bounds the factor by which all layers together can enlarge a row. Weights are huge if
    # it exceeds the square root of the largest number, as rows of that size could then overflow.
    # The gain is NaN if some layers are huge and another one is zero.
    with np.errstate(over="ignore", invalid="ignore"):
        layers = zip(trained.coefs, largest, strict=True)
        gain = np.prod([coef.shape[-2] * float(m) for coef, m in layers])
        gain *= np.prod([_gain_of(name, array) for name, array in trained.modules.items()])
    is_moderate = gain <= np.sqrt(np.finfo(problem.dtype).max) and np.isfinite(trained.loss)
    return not is_moderate or problem.loss.output_activation == "exp"


def _gain_of(name: str, array: np.ndarray) -> float:
    """Return a bound on the factor by which an array of a module enlarges what it is applied to.

    A parametric activation mixes z and selu(z) >= -1.76, so that its factor is at most 1 + 3 |a|.
    """
    if array.dtype.kind != "f" or name.endswith(("running_mean", "running_var")):
        return 1.0
    n_terms = array.shape[-1] if name == "embedding.weight" else 1
    return 1 + 3 * n_terms * float(np.abs(array).max(initial=0))


def _outputs(trained: Model, problem: Problem, X: Any, transform: Callable, rows: Any = None):
    """Return transformed outputs of a model for rows."""
    weights = [_compat.as_tensor(coef.swapaxes(-1, -2)) for coef in trained.coefs]
    biases = [_compat.as_tensor(intercept) for intercept in trained.intercepts]
    average = problem.loss.average
    forward = forward_of(weights, biases, trained.modules, problem.network, average)
    return outputs_of(X, forward, transform, rows)


def _all_finite(problem: Problem, trained: Model, transform: Callable) -> bool:
    """Return whether all transformed outputs for the training rows are finite."""
    is_finite = True
    if problem.X.shape[0]:
        is_finite = bool(np.isfinite(_outputs(trained, problem, problem.X, transform)).all())
    return not problem.shards.processes.any(not is_finite)


def _has_finite_loss(
    problem: Problem, trained: Model, validation: ValidationSet | None = None
) -> bool:
    """Return whether the mean loss of the training rows, or of validation rows, is finite."""
    X, y, rows = problem.X, problem.y, None
    if validation is not None:
        X, y, rows = validation.X, validation.y, validation.rows
    is_finite = True
    if X.shape[0] or validation is not None:
        raw = _outputs(trained, problem, X, lambda z: z, rows)
        if validation is not None and validation.n_rows is not None:  # y is that of all processes
            raw = problem.shards.processes.concatenate(raw, validation.n_rows)
        y = _compat.feature_major(_compat.as_tensor(y))
        is_finite = bool(np.isfinite(losses_of_rows(problem.loss, raw, y).mean().item()))
    return not problem.shards.processes.any(not is_finite)
