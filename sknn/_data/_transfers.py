"""From the host to a device, without the host waiting for the copy.

CUDA copies from pinned memory by itself while the host goes on. So two buffers take turns: the host
fills one while the device reads the other, and waits only before it would overwrite what has not
been read. A stream does one thing after the other: the copy waits for the steps that use the rows
there, so that these need no second buffer. Other devices make the host wait for each copy.
"""

from __future__ import annotations

from typing import Any

import torch


class CudaCopies:  # pragma: no cover (pinned memory and events need a GPU)
    """What is asked of CUDA, in one place."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def new_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Pinned memory of the host."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def start(self, there: torch.Tensor, here: torch.Tensor) -> Any:
        """Begin a copy; returns an event with `synchronize`, which waits for its end."""
        there.copy_(here, non_blocking=True)
        event = torch.cuda.Event()
        # By default it would be of the current device, which need not be this one.
        event.record(torch.cuda.current_stream(self._device))
        return event


def copies_of(device: torch.device) -> CudaCopies | None:
    """Who copies to a device while the host goes on, if anyone does."""
    return CudaCopies(device) if device.type == "cuda" else None


class Transfer:
    """Tensors of one dtype and a greatest length, one after the other on their way to a device.

    Parameters
    ----------
    shape : tuple of int
        Of the longest.
    dtype : torch.dtype
        Here and there: to convert on the way would take a copy that is not pinned.
    device : torch.device
        On the CPU nothing is copied: what was filled is there.

    Attributes
    ----------
    there : torch.Tensor
        On the device: always the same memory.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._copies = copies_of(device)
        if self._copies is None:
            self._here = [torch.empty(shape, dtype=dtype)]
        else:
            self._here = [self._copies.new_buffer(shape, dtype) for _ in range(2)]
        is_there = self._copies is None and device.type == "cpu"
        self.there = self._here[0] if is_there else torch.empty(shape, dtype=dtype, device=device)
        self._is_read: list[Any] = [None] * len(self._here)
        self._turn = 0

    def room(self) -> torch.Tensor:
        """A buffer to fill, on the host; waits until the device has read what was in it."""
        self._turn = (self._turn + 1) % len(self._here)
        if self._is_read[self._turn] is not None:
            self._is_read[self._turn].synchronize()
        return self._here[self._turn]

    def send(self, n_rows: int) -> torch.Tensor:
        """The first rows of that buffer, on the device; valid until the next are sent."""
        here, there = self._here[self._turn], self.there[:n_rows]
        if self._copies is not None:
            self._is_read[self._turn] = self._copies.start(there, here[:n_rows])
        elif here is not self.there:
            there.copy_(here[:n_rows])
        return there
