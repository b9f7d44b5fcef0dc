"""Dropout: the values that each batch leaves out are drawn from a generator of their own.

Inverted dropout (Srivastava et al., JMLR 15, 2014, section 10): a value is left out with
probability p, and the others are divided by 1 - p, so that prediction needs no change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

# A draw has 16 bits, which on one thread takes a fifth of the time of a draw of float32. The
# effective rate is the multiple of 2 ** -16 nearest to p, and the values that are kept are divided
# by exactly 1 minus that rate.
_LEVELS = 2**16

# A schedule may raise rates up to this one. Rates above it are not raised.
MOST_RAISED = 0.5


def generator_on(device: torch.device) -> torch.Generator:
    """Return a generator on the device, so that no draw has to be sent there."""
    return torch.Generator(device)


class Masks:
    """Generator of dropout's factors: 0 with probability p, and else 1 / (1 - p).

    Parameters
    ----------
    seed : numpy.random.SeedSequence
        Seed of the draws.
    device : torch.device
        The device on which the factors are drawn.
    n_members : int, default=1
        Number of networks, of which each has a stream of its own on the CPU, so that the first one
        is trained as it would be alone. On another device, one stream fills the factors of all.
    """

    def __init__(
        self, seed: np.random.SeedSequence, device: torch.device, n_members: int = 1
    ) -> None:
        self._generator = None
        if device.type != "cpu":
            self._generator = generator_on(device).manual_seed(int(seed.generate_state(1)[0]))
            n_members = 1
        others = (
            np.random.SeedSequence(seed.entropy, spawn_key=(*(seed.spawn_key or (0,)), i))
            for i in range(1, n_members)
        )
        self._streams = [np.random.SFC64(s) for s in (seed, *others)]
        self._strength = [1.0]  # one list for the objects of all members

    @property
    def strength(self) -> float:
        """Factor of all rates, which a schedule may change from step to step."""
        return self._strength[0]

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength[0] = value

    def _levels(self, rate: float) -> tuple[int, float]:
        """Return the number of levels that are dropped now, and the factor of other values."""
        rate = min(rate * self._strength[0], max(rate, MOST_RAISED))
        dropped = min(round(rate * _LEVELS), _LEVELS - 1)
        return dropped, _LEVELS / (_LEVELS - dropped)

    def filler(self, factors: torch.Tensor, rate: float) -> Callable[[], None]:
        """Return a function that fills a tensor with new factors, in the order of its memory.

        The first dimension of the tensor is divided among the members. The views that the function
        needs are made once, because in a step of a small network each view costs as much as an
        operation.
        """
        if len(self._streams) > 1:
            parts = factors.view(len(self._streams), -1)
            fills = [self.of_member(i).filler(part, rate) for i, part in enumerate(parts)]

            def fill_each() -> None:
                for fill in fills:
                    fill()

            return fill_each
        (bits,) = self._streams
        if self._generator is not None:

            def fill() -> None:
                dropped, scale = self._levels(rate)
                factors.uniform_(generator=self._generator)
                torch.mul(factors >= dropped / _LEVELS, scale, out=factors)

            return fill

        n_values = factors.numel()
        n_words = -(-n_values // 4)
        kept = np.empty(n_values, bool)
        if factors.dtype == torch.bfloat16:
            kept_tensor = torch.from_numpy(kept).view(factors.shape)

            def fill() -> None:
                dropped, scale = self._levels(rate)
                drawn = bits.random_raw(n_words).view(np.uint16)[:n_values]
                np.greater_equal(drawn, np.uint16(dropped), out=kept)
                factors.copy_(kept_tensor).mul_(scale)

            return fill

        array = factors.numpy().reshape(-1)

        def fill() -> None:
            dropped, scale = self._levels(rate)
            drawn = bits.random_raw(n_words).view(np.uint16)[:n_values]
            np.greater_equal(drawn, np.uint16(dropped), out=kept)
            # Two calls in one dtype each cost less than one whose operands NumPy has to convert.
            np.copyto(array, kept)
            np.multiply(array, array.dtype.type(scale), out=array)

        return fill

    def of_member(self, i: int) -> Masks:
        """Return an object that draws from the stream of one member."""
        one = copy.copy(self)
        one._streams = self._streams if len(self._streams) == 1 else [self._streams[i]]
        return one

    def state(self) -> dict[str, Any]:
        """Return what the next draws depend on."""
        generator = None if self._generator is None else self._generator.get_state().numpy()
        return {"bits": [stream.state for stream in self._streams], "generator": generator}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        for stream, saved in zip(self._streams, state["bits"], strict=True):
            stream.state = saved
        if self._generator is not None:
            self._generator.set_state(torch.from_numpy(state["generator"]))

    def fill_(self, factors: torch.Tensor, rate: float) -> torch.Tensor:
        """Fill a tensor with new factors once and return it."""
        self.filler(factors, rate)()
        return factors


def derived_seed(
    random_state: np.random.RandomState, n_samples_seen: int, key: tuple[int, ...] = ()
) -> np.random.SeedSequence:
    """Return a seed for randomness that scikit-learn does not have.

    The seed is drawn from a copy of `random_state`, so that the stream of scikit-learn's own draws
    is not disturbed. It depends on the number of rows seen before, so that each `partial_fit` with
    an integer `random_state` leaves out other values, and on a key. Each of several processes has
    its rank as key, and members of an ensemble have longer keys.
    """
    entropy = copy.deepcopy(random_state).randint(0, 2**32, size=4, dtype=np.uint32)
    return np.random.SeedSequence([*map(int, entropy), n_samples_seen], spawn_key=key)


class Dropout(nn.Module):
    """Dropout with factors from `Masks`, applied in training only.

    Parameters
    ----------
    masks : Masks
        Generator of the factors.
    rate : float
        Probability that a value is left out.
    row_major : bool, default=False
        Whether the factors are drawn row by row of the data. The factors of a layer's outputs are
        drawn unit by unit, because the activations of the closed form are feature-major.

    Shape
    -----
    The input and the output have shape (n_rows, n_units).
    """

    def __init__(self, masks: Masks, rate: float, row_major: bool = False) -> None:
        super().__init__()
        self.masks = masks
        self.rate = rate
        self.row_major = row_major

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        shape = x.shape if self.row_major else x.shape[::-1]
        factors = self.masks.fill_(x.new_empty(shape), self.rate)
        return x * (factors if self.row_major else factors.t())
