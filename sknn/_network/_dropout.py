"""Dropout: what is left out of each batch, drawn from a generator of its own.

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

# Draws decide by 16 bits: on one thread a fifth of the time of a draw of float32. The rate that
# acts is the nearest multiple of 2 ** -16, and the values kept are divided by exactly its rest.
_LEVELS = 2**16


def generator_on(device: torch.device) -> torch.Generator:
    """A generator of a device: drawn from there, no draw has to be sent."""
    return torch.Generator(device)


class Masks:
    """Draws factors: 0 with the probability of dropout, else 1 / (1 - p).

    Parameters
    ----------
    seed : numpy.random.SeedSequence
    device : torch.device
    """

    def __init__(self, seed: np.random.SeedSequence, device: torch.device) -> None:
        self._bits = np.random.SFC64(seed)
        self._generator = None
        if device.type != "cpu":
            self._generator = generator_on(device).manual_seed(int(seed.generate_state(1)[0]))

    def filler(self, factors: torch.Tensor, rate: float) -> Callable[[], None]:
        """A function that fills a tensor with new factors, in the order of its memory.

        What it needs is made once: in a small network's step, each view costs as much as an
        operation.
        """
        dropped = min(round(rate * _LEVELS), _LEVELS - 1)
        scale = _LEVELS / (_LEVELS - dropped)
        if self._generator is not None:

            def fill() -> None:
                factors.uniform_(generator=self._generator)
                torch.mul(factors >= dropped / _LEVELS, scale, out=factors)

            return fill

        n_values = factors.numel()
        n_words, least = -(-n_values // 4), np.uint16(dropped)
        kept = np.empty(n_values, bool)
        if factors.dtype == torch.bfloat16:
            kept_tensor = torch.from_numpy(kept).view(factors.shape)

            def fill() -> None:
                np.greater_equal(
                    self._bits.random_raw(n_words).view(np.uint16)[:n_values], least, out=kept
                )
                factors.copy_(kept_tensor).mul_(scale)

            return fill

        array = factors.numpy().reshape(-1)
        factor = array.dtype.type(scale)

        def fill() -> None:
            np.greater_equal(
                self._bits.random_raw(n_words).view(np.uint16)[:n_values], least, out=kept
            )
            np.multiply(kept, factor, out=array)

        return fill

    def state(self) -> dict[str, Any]:
        """What the next draws depend on."""
        there = None if self._generator is None else self._generator.get_state().numpy()
        return {"bits": self._bits.state, "generator": there}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self._bits.state = state["bits"]
        if self._generator is not None:
            self._generator.set_state(torch.from_numpy(state["generator"]))

    def fill_(self, factors: torch.Tensor, rate: float) -> torch.Tensor:
        """Fill a tensor once."""
        self.filler(factors, rate)()
        return factors


def derived_seed(
    random_state: np.random.RandomState, n_samples_seen: int, rank: int = 0
) -> np.random.SeedSequence:
    """A seed for what is random beyond scikit-learn, whose stream is not disturbed.

    It is drawn from a copy, and counts the rows seen before, so that each `partial_fit` with an
    integer `random_state` leaves out something else, as each process of several does.
    """
    entropy = copy.deepcopy(random_state).randint(0, 2**32, size=4, dtype=np.uint32)
    return np.random.SeedSequence(
        [*map(int, entropy), n_samples_seen], spawn_key=(rank,) if rank else ()
    )


class Dropout(nn.Module):
    """Dropout by `Masks`, in training only.

    Parameters
    ----------
    masks : Masks
    rate : float
    row_major : bool, default=False
        Whether the factors are drawn row by row of the data. Outputs of a layer are drawn unit by
        unit, as the closed form, whose activations are feature-major, draws them.

    Shape
    -----
    Input and output (n_rows, n_units).
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
