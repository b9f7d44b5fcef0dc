"""The architecture of a network, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

ActivationLike = str | Callable[[], Any]


class Network(NamedTuple):
    """The architecture of a network.

    Attributes
    ----------
    layer_units : tuple of int
        Numbers of features, of units in each hidden layer, and of outputs.
    activations : tuple of (str or callable)
        Activation of each hidden layer: a key of `ACTIVATIONS`, or a callable of the user that
        makes a module.
    normalization : str or None
        Normalization before the activation of each hidden layer: a key of `NORMALIZATIONS`, or
        None.
    dropout : tuple of float
        Dropout rate of each hidden layer; empty if nothing is dropped.
    input_dropout : float
        Dropout rate of the features.
    n_members : int
        Number of networks of this architecture, whose predictions are averaged.
    """

    layer_units: tuple[int, ...]
    activations: tuple[ActivationLike, ...]
    normalization: str | None = None
    dropout: tuple[float, ...] = ()
    input_dropout: float = 0.0
    n_members: int = 1

    def dropout_after(self, i: int) -> float:
        """Return the dropout rate of hidden layer `i`."""
        return self.dropout[i] if self.dropout else 0.0

    @property
    def leading(self) -> tuple[int, ...]:
        """The leading dimensions of weights and biases: none, or (n_members,) for several."""
        return () if self.n_members == 1 else (self.n_members,)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but linear layers, activations given by name, and dropout."""
        return self.normalization is None and all(isinstance(a, str) for a in self.activations)

    @property
    def has_modules_of_the_user(self) -> bool:
        """Whether some activation is a module that the user's callable makes."""
        return not all(isinstance(a, str) for a in self.activations)

    @property
    def names_of_own_modules(self) -> str:
        """Names of the user's activations, for an error message; empty if there are none."""
        own = [a for a in self.activations if not isinstance(a, str)]
        return ", ".join(dict.fromkeys(getattr(a, "__qualname__", repr(a)) for a in own))

    @property
    def drops(self) -> bool:
        """Whether dropout leaves anything out in training."""
        return self.input_dropout > 0 or any(rate > 0 for rate in self.dropout)

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers beside the order of the rows."""
        return self.drops or self.has_modules_of_the_user
