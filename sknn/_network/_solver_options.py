"""The options and the memory of each stochastic solver, in one table that needs no torch."""

from __future__ import annotations

from typing import NamedTuple


class SolverOptions(NamedTuple):
    """The options and the memory of a stochastic solver of this package.

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
    # The solver keeps the schedule, which outlives one call of partial_fit, but does not apply it.
    "sgd": SolverOptions(("momentum", "nesterovs_momentum", "power_t", "learning_rate"), n_slots=1),
}


def state_names(solver: str) -> tuple[str, ...]:
    """Return the names of the numbers in a solver's state; none for an optimizer of torch."""
    if solver not in SOLVER_OPTIONS:
        return ()
    return ("lr", "learning_rate_init", "n_updates", *SOLVER_OPTIONS[solver].names)
