"""The estimator's parameters that decide how a network is trained, and values derived from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any


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

    @classmethod
    def of(cls, parameters: Mapping[str, Any], n_train: int, incremental: bool) -> Settings:
        """Return the settings of one call that learns from `n_train` rows."""
        solver, batch_size, verbose = (parameters[k] for k in ("solver", "batch_size", "verbose"))
        is_lbfgs = isinstance(solver, str) and solver == "lbfgs"
        rows_of_step = n_train
        if not is_lbfgs:
            rows_of_step = min(200 if batch_size == "auto" else int(batch_size), n_train)
        return cls(
            **{f.name: parameters[f.name] for f in fields(cls) if f.name in parameters},
            parameters=MappingProxyType(parameters),
            incremental=incremental,
            n_epochs=1 if incremental else parameters["max_iter"],
            rows_of_step=rows_of_step,
            is_verbose=verbose != "progress" and bool(verbose),
            is_mixed=parameters["dtype"] == "bfloat16" and not is_lbfgs,
        )
