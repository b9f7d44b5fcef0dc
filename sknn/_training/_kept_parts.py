"""Keep the working memory of the last training of a small network, for the next one of its thread.

To make the parameters, the module, the step and its buffers takes a large part of the time of a
`partial_fit` of a few rows. Nothing in them decides on a result, because each training writes all
numbers that it reads: the weights are those that it starts from, and the slots are zero, or those
of the solver's saved state. So a training may use what an earlier one has left, of whichever
estimator, if `key_of` is equal for the two. It takes this away, so that no other training can use
it meanwhile, and puts it back when it has ended well. Nothing is attached to an estimator.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Any

import torch

from sknn._data._rows import multiplies_sparse
from sknn._network._matrix_products import TorchProducts
from sknn._training._problem import Problem
from sknn._training._settings import Settings

# What a thread keeps is at most a few times as large as this number of parameters and outputs.
MOST_VALUES = 2**17

_in_this_thread = threading.local()


def key_of(
    problem: Problem, settings: Settings, device: torch.device, products: type[TorchProducts]
) -> Hashable | None:
    """Return a key that is equal for two trainings which can use the same memory.

    It is None if the memory must not be kept, because the network is large, code of the user may
    hold on to a part of it, or a part draws numbers or has a state of its own. Nor is it kept by
    L-BFGS, whose iterations take much longer.
    """
    network, processes = problem.network, problem.shards.processes
    units = network.layer_units
    n_values = network.n_members * sum(units) * (max(units) + settings.rows_of_step)
    loss = problem.loss  # That of several quantile levels is another object in each training.
    has_state = network.draws or not network.is_plain or loss.n_levels > 1
    has_own_code = (
        loss.is_of_the_user
        or settings.callbacks
        or callable(settings.solver)
        or callable(settings.learning_rate)
        or problem.tasks is not None
    )
    if (
        settings.solver == "lbfgs"
        or device.type != "cpu"
        or processes.is_group
        or n_values > MOST_VALUES
        or has_own_code
        or has_state
    ):
        return None
    return (
        *(network, loss, problem.dtype, problem.n_train, products),
        *(settings.solver, settings.alpha, settings.rows_of_step),
        multiplies_sparse(problem.X, device, settings.rows_of_step),
        problem.sample_weight is None,
    )


def take(key: Hashable | None) -> Any:
    """Return what this thread has kept under a key, and keep nothing; None if it is not there."""
    if key is None:
        return None
    # One call takes it, so that a training inside this one, as in a scorer, finds nothing.
    kept_key, parts = vars(_in_this_thread).pop("kept", (None, None))
    return parts if kept_key == key else None


def keep(key: Hashable | None, parts: Any) -> None:
    """Keep the parts of a training that has ended well, in place of those of an earlier one."""
    if key is not None:
        _in_this_thread.kept = key, parts
