"""Simulate an accelerator with torch's "meta" tensors, and record the traffic with the host.

Meta tensors have shapes but no values. When the host would read values from a device, the read is
recorded and returns constants, so that a fit can go on. Torch itself refuses operators on meta
tensors whose result has a shape that depends on values (`nonzero`, a mask as an index, `unique`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sknn._data import _device_transfers
from sknn._network import _dropout
from sknn._training import _train

META = torch.device("meta")
_SCALARS = {"item": 1.0, "_local_scalar_dense": 1.0, "is_nonzero": True}


class Send(NamedTuple):
    """One copy from the host to the device."""

    dtype: torch.dtype
    n_values: int
    is_waited_for: bool


class Accelerator(TorchDispatchMode):
    """Record the traffic between the host and `META` while this mode is active.

    Attributes
    ----------
    reads : list of str
        Names of operators whose result the host would have to wait for.
    sends : list of Send
        The copies from the host to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.sends: list[Send] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not any(tensor.device == META for tensor in tensors):
            result = function(*args, **kwargs)
            if isinstance(result, torch.Tensor) and tensors and result.device == META:
                self.sends.append(Send(result.dtype, result.numel(), True))
            return result
        if name in _SCALARS:
            self.reads.append(name)
            return _SCALARS[name]
        if name == "copy_" and args[0].device != args[1].device:
            if args[1].device == META:
                self.reads.append(name)
                return args[0].zero_()
            is_waited_for = not (args[2:] or [kwargs.get("non_blocking", False)])[0]
            self.sends.append(Send(args[1].dtype, args[1].numel(), is_waited_for))
        if name in ("to", "_to_copy") and torch.device("cpu") in tree_leaves((args[1:], kwargs)):
            self.reads.append(name)
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        return function(*args, **kwargs)


class Copies:
    """Stand-in for `CudaCopies` that requests non-blocking copies, but needs no event."""

    def new_buffer(self, shape, dtype):
        return torch.empty(shape, dtype=dtype)

    def start(self, there, here):
        there.copy_(here, non_blocking=True)


def stand_in(monkeypatch) -> None:
    """Make every `fit` compute on `META`, with asynchronous copies as on CUDA."""
    monkeypatch.setattr(_train, "resolve_device", lambda *_: META)
    monkeypatch.setattr(
        _device_transfers, "copies_of", lambda device: Copies() if device == META else None
    )
    # Torch has no generator for META, and accepts any other one there.
    monkeypatch.setattr(_dropout, "generator_on", lambda _: torch.Generator())
