"""The architecture of a network, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

ActivationLike = str | Callable[[], Any]

# An activation of this prefix mixes the function of the remaining name with the identity, by a
# parameter for each unit.
PARAMETRIC = "parametric_"


def has_parameters(activation: ActivationLike) -> bool:
    """Return whether an activation may have parameters: the user's own, and parametric ones."""
    return not isinstance(activation, str) or activation.startswith(PARAMETRIC)


class Periodic(NamedTuple):
    """A periodic embedding of some columns, which stands before the first layer.

    Attributes
    ----------
    columns : tuple of int
        Numbers of the columns that are embedded.
    n_frequencies : int
        Number of frequencies of a column.
    size : int
        Number of values that stand for a column: the column itself and `size` - 1 others.
    """

    columns: tuple[int, ...]
    n_frequencies: int
    size: int

    @property
    def n_added(self) -> int:
        """Number of values that stand before the columns of a row."""
        return len(self.columns) * (self.size - 1)


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
    embedding : Periodic or None
        Embedding of the rows, which all members share.
    scales_inputs : bool
        Whether each input of the first layer is multiplied by a parameter.
    """

    layer_units: tuple[int, ...]
    activations: tuple[ActivationLike, ...]
    normalization: str | None = None
    dropout: tuple[float, ...] = ()
    input_dropout: float = 0.0
    n_members: int = 1
    embedding: Periodic | None = None
    scales_inputs: bool = False

    @property
    def linear_units(self) -> tuple[int, ...]:
        """Numbers of inputs of the first linear layer, and of outputs of all of them."""
        n_added = 0 if self.embedding is None else self.embedding.n_added
        return (self.layer_units[0] + n_added, *self.layer_units[1:])

    def dropout_after(self, i: int) -> float:
        """Return the dropout rate of hidden layer `i`."""
        return self.dropout[i] if self.dropout else 0.0

    @property
    def leading(self) -> tuple[int, ...]:
        """The leading dimensions of weights and biases: none, or (n_members,) for several."""
        return () if self.n_members == 1 else (self.n_members,)

    @property
    def n_input_values(self) -> int:
        """Number of values of a row up to the first layer, those inside an embedding among them."""
        cosines = 0
        if self.embedding is not None:
            cosines = 2 * len(self.embedding.columns) * self.embedding.n_frequencies
        return self.linear_units[0] + cosines

    @property
    def is_plain(self) -> bool:
        """Whether no parameters are there but those of the linear layers."""
        return (
            self.normalization is None
            and self.embedding is None
            and not self.scales_inputs
            and not any(map(has_parameters, self.activations))
        )

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
