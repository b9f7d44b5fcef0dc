"""Copies from the host to a device for which the host does not wait.

CUDA copies from pinned memory by itself while the host goes on. So two buffers take turns: the host
fills one while the device reads the other, and waits only before it would overwrite values that
have not been read. A stream runs its operations in order: the copy waits for the steps that use the
rows on the device, which therefore need no second buffer there. With other devices the host waits
for each copy.
"""

from __future__ import annotations

from typing import Any

import torch


class CudaCopies:  # pragma: no cover (pinned memory and events need a GPU)
    """The calls to CUDA that a `Transfer` makes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def new_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Return a tensor in pinned memory of the host."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def start(self, there: torch.Tensor, here: torch.Tensor) -> Any:
        """Start a copy and return an event whose `synchronize` waits until the copy has ended."""
        there.copy_(here, non_blocking=True)
        event = torch.cuda.Event()
        # By default the stream would be one of the current device, which need not be this one.
        event.record(torch.cuda.current_stream(self._device))
        return event


def copies_of(device: torch.device) -> CudaCopies | None:
    """Return the object that copies to a device while the host goes on, or None."""
    return CudaCopies(device) if device.type == "cuda" else None


class Transfer:
    """A channel that sends tensors to a device, one after the other.

    Parameters
    ----------
    shape : tuple of int
        Shape of the longest tensor.
    dtype : torch.dtype
        Dtype on the host and on the device. A conversion on the way would need a copy that is not
        pinned.
    device : torch.device
        The device that receives. If it is the CPU, nothing is copied: the buffer that was filled is
        the result.

    Attributes
    ----------
    there : torch.Tensor
        The tensor on the device. It is the same memory for every transfer.
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

    def next_buffer(self) -> torch.Tensor:
        """Return a buffer on the host to fill, after the device has read its last content."""
        self._turn = (self._turn + 1) % len(self._here)
        if self._is_read[self._turn] is not None:
            self._is_read[self._turn].synchronize()
        return self._here[self._turn]

    def send(self, n_rows: int) -> torch.Tensor:
        """Send the first rows of that buffer and return them on the device.

        They are valid until the next rows are sent.
        """
        here, there = self._here[self._turn], self.there[:n_rows]
        if self._copies is not None:
            self._is_read[self._turn] = self._copies.start(there, here[:n_rows])
        elif here is not self.there:
            there.copy_(here[:n_rows])
        return there
