"""The estimator's parameters that decide how a network is trained, and values derived from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np


def batch_size_by_rows(n_rows: int) -> int:
    """Return the size of a batch for `batch_size="by_rows"`."""
    sizes = ((3_000, 32), (5_000, 64), (15_000, 128), (100_000, 256), (300_000, 512))
    return next((size for limit, size in sizes if n_rows < limit), 1024)


def epochs_by_rows(n_rows: int) -> int:
    """Return the number of epochs for `max_iter="by_rows"`.

    It is 64 for 1,000 to 50,000 rows and 128 for fewer, which make few steps. For more rows it is
    as many as read 3,200,000 rows in all, but at least 8.
    """
    return 128 if n_rows < 1_000 else max(8, min(64, 64 * 50_000 // n_rows))


def _batch_size(batch_size: int | str, n_rows: int) -> int:
    if batch_size == "by_rows":
        return batch_size_by_rows(n_rows)
    return 200 if batch_size == "auto" else int(batch_size)


@dataclass(frozen=True)
class Settings:
    """The parameters that decide how one call trains, and values derived from them.

    The fields down to `checkpoint_every` are the estimator's parameters of the same name.

    Attributes
    ----------
    parameters : mapping of str to object
        All parameters of the estimator, by name.
    incremental : bool
        Whether this call is a `partial_fit`.
    n_epochs : int
        Largest number of epochs in this call.
    rows_of_step : int
        Number of rows in a step: all rows for L-BFGS, and never more rows than there are.
    is_verbose : bool
        Whether the lines that scikit-learn prints are printed.
    is_mixed : bool
        Whether matrices are multiplied as bfloat16 copies. L-BFGS does not do so, because its line
        search needs exact losses.
    watches_waves : bool
        Whether the ends of the waves of the rate are compared. `early_stopping` is False then.
    """

    solver: str | Callable[..., Any]
    alpha: float
    batch_size: int | str
    learning_rate: str | Callable[..., Any]
    learning_rate_init: float
    max_iter: int
    shuffle: bool
    tol: float
    verbose: bool | int | str
    early_stopping: bool
    n_iter_no_change: float
    max_fun: int
    warmup_fraction: float
    max_grad_norm: float | None
    regularization_schedule: str | None
    callbacks: Sequence[Any] | None
    dtype: str
    device: str
    checkpoint_dir: str | os.PathLike | None
    checkpoint_every: int
    parameters: Mapping[str, Any]
    incremental: bool
    n_epochs: int
    rows_of_step: int
    is_verbose: bool
    is_mixed: bool
    watches_waves: bool

    @property
    def restores_best(self) -> bool:
        """Whether the validation rows decide which weights are kept."""
        return self.early_stopping or self.watches_waves

    @classmethod
    def of(cls, parameters: Mapping[str, Any], n_train: int, incremental: bool) -> Settings:
        """Return the settings of one call that learns from `n_train` rows."""
        solver, batch_size, verbose = (parameters[k] for k in ("solver", "batch_size", "verbose"))
        early_stopping = parameters["early_stopping"]
        watches_waves = isinstance(early_stopping, str)
        is_lbfgs = isinstance(solver, str) and solver == "lbfgs"
        rows_of_step = n_train
        if not is_lbfgs:
            rows_of_step = min(_batch_size(batch_size, n_train), n_train)
        max_iter = parameters["max_iter"]
        if isinstance(max_iter, str):
            max_iter = epochs_by_rows(n_train)
        return cls(
            **{f.name: parameters[f.name] for f in fields(cls) if f.name in parameters}
            | {
                "early_stopping": bool(early_stopping) and not watches_waves,
                "max_iter": max_iter,
                # The training loss hardly falls at the ends of waves, and training goes on there.
                "n_iter_no_change": np.inf if watches_waves else parameters["n_iter_no_change"],
            },
            watches_waves=watches_waves,
            parameters=MappingProxyType(parameters),
            incremental=incremental,
            n_epochs=1 if incremental else max_iter,
            rows_of_step=rows_of_step,
            is_verbose=verbose != "progress" and bool(verbose),
            is_mixed=parameters["dtype"] == "bfloat16" and not is_lbfgs,
        )
