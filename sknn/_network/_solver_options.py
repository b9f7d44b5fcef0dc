"""What each stochastic solver takes and remembers, in one table that needs no torch."""

from __future__ import annotations

from typing import NamedTuple


class SolverOptions(NamedTuple):
    """What a stochastic solver of this package takes and remembers.

    Attributes
    ----------
    names : tuple of str
        Names of the solver's options. They are parameters of the estimator, and the solver's state
        keeps their values as the first call has set them.
    n_slots : int
        Number of values that the solver remembers for each parameter of the network.
    """

    names: tuple[str, ...]
    n_slots: int


_ADAM = ("beta_1", "beta_2", "epsilon")
SOLVER_OPTIONS = {
    "adam": SolverOptions(_ADAM, n_slots=2),
    "adamw": SolverOptions((*_ADAM, "alpha"), n_slots=2),
    # The solver keeps the schedule, as it outlives one call of partial_fit. It applies none itself.
    "sgd": SolverOptions(("momentum", "nesterovs_momentum", "power_t", "learning_rate"), n_slots=1),
}


def state_names(solver: str) -> tuple[str, ...]:
    """Return the names of the numbers in a solver's state; there are none for others' solvers."""
    if solver not in SOLVER_OPTIONS:
        return ()
    return ("lr", "learning_rate_init", "n_updates", *SOLVER_OPTIONS[solver].names)
