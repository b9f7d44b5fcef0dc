"""Several processes that train one network: what they tell each other through `torch.distributed`.

Every method of `Processes` is collective: all processes of the group make the same calls in the
same order. An error that one of them raises before training ends all of them (`agreement`). A
process that dies during training closes its connections, and the others notice at their next call.
`OneProcess` stands in for a group where there is only one process, so that callers need not ask.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from sknn._platform._compat import as_tensor

# The environment variables that torchrun sets in each process that it starts.
_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class OneProcess:
    """The only process that trains a network, with the methods that a group has.

    Attributes
    ----------
    is_group : bool
        Whether several processes train one network.
    rank : int
        Number of this process, counted from 0.
    size : int
        Number of processes.
    """

    is_group = False
    rank, size = 0, 1

    @contextmanager
    def agreement(self) -> Iterator[None]:
        """Run the body; an error that it raises, in any process, ends all of them.

        The body must make no collective call.
        """
        yield

    def sum_(self, tensor: torch.Tensor) -> None:
        """Replace a tensor with its sum over all processes."""

    def copy_first_(self, *tensors: torch.Tensor) -> None:
        """Replace tensors with those of the first process."""

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank. The values are pickled."""
        return [value]

    def first(self, value: Any) -> Any:
        """Return the value of the first process. The value is pickled."""
        return value

    def any(self, condition: bool) -> bool:
        """Return whether a condition holds in any process."""
        return condition

    def first_numbers(self, numbers: list[float]) -> list[float]:
        """Return the numbers of the first process."""
        return numbers

    def concatenate(self, rows: np.ndarray, n_rows: list[int]) -> np.ndarray:
        """Return the rows of all processes, by rank; `n_rows` holds how many rows each has."""
        return rows


class Processes(OneProcess):
    """The processes of a group.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup
        The group, to which this process belongs.
    """

    is_group = True

    def __init__(self, group: Any) -> None:
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._first = dist.get_global_rank(group, 0)
        # NCCL moves only what is on a GPU.
        is_nccl = dist.get_backend(group) == "nccl"
        self._device = torch.device("cuda", torch.cuda.current_device()) if is_nccl else "cpu"

    @contextmanager
    def agreement(self) -> Iterator[None]:
        error = None
        try:
            yield
        except Exception as caught:
            error = caught
        errors = self.gather(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        failed = {rank: text for rank, text in enumerate(errors) if text is not None}
        if failed:
            listed = "; ".join(f"process {rank}: {text}" for rank, text in failed.items())
            raise RuntimeError(
                f"Process {self.rank} of {self.size} has not started training, because other"
                f" processes of process_group have failed. {listed}"
            )

    def sum_(self, tensor: torch.Tensor) -> None:
        self._call(dist.all_reduce, tensor)

    def copy_first_(self, *tensors: torch.Tensor) -> None:
        for tensor in tensors:
            self._call(dist.broadcast, tensor, self._first)

    def gather(self, value: Any) -> list[Any]:
        values = [None] * self.size
        self._call(dist.all_gather_object, values, value)
        return values

    def first(self, value: Any) -> Any:
        values = [value]
        self._call(dist.broadcast_object_list, values, self._first)
        return value if self.rank == 0 else values[0]

    def any(self, condition: bool) -> bool:
        count = torch.tensor([float(condition)], device=self._device)
        self.sum_(count)
        return bool(count.item())

    def first_numbers(self, numbers: list[float]) -> list[float]:
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        self.copy_first_(tensor)
        return tensor.tolist()

    def concatenate(self, rows: np.ndarray, n_rows: list[int]) -> np.ndarray:
        if rows.dtype == bool:
            return self.concatenate(rows.view(np.uint8), n_rows).view(bool)
        mine = torch.zeros(
            (max(n_rows), *rows.shape[1:]), dtype=as_tensor(rows).dtype, device=self._device
        )
        mine[: len(rows)] = as_tensor(rows)
        parts = [torch.empty_like(mine) for _ in n_rows]
        self._call(dist.all_gather, parts, mine)
        both = zip(parts, n_rows, strict=True)
        return torch.cat([part[:n].cpu() for part, n in both]).numpy()

    def _call(self, collective: Callable[..., object], *args: Any) -> None:
        try:
            collective(*args, group=self.group)
        except RuntimeError as error:
            raise RuntimeError(
                f"Process {self.rank} of {self.size} cannot continue: another process of"
                " process_group has ended, or did not respond within the timeout of the group."
                " The output of that process shows the cause. Restart all processes, as"
                " `torchrun --max-restarts` does. With checkpoint_dir, training continues from the"
                " last checkpoint."
            ) from error


def processes_of(process_group: Any, device: str) -> OneProcess:
    """Return the processes that the user's `process_group` names.

    "world" is the default group. If it does not exist yet, it is made of the processes that
    torchrun has started.

    Raises
    ------
    ValueError
        If the group does not exist, or this process is not in it.
    """
    if process_group is None:
        return OneProcess()
    if not dist.is_available():
        raise ValueError(
            f"The 'process_group' parameter is {process_group!r}, but this build of torch has no"
            " torch.distributed. Use a build that has it, or process_group=None."
        )
    if process_group != "world":
        if dist.get_rank(process_group) < 0:
            raise ValueError(
                "The 'process_group' parameter is a group that does not contain this process. Only"
                " call fit in the processes of the group."
            )
        return Processes(process_group)
    if not dist.is_initialized():
        if not all(name in os.environ for name in _OF_TORCHRUN):
            raise ValueError(
                "The 'process_group' parameter is 'world', but there are no other processes. Start"
                " the script with `torchrun --nproc-per-node=2 script.py`, or call"
                " torch.distributed.init_process_group first, or set process_group=None."
            )
        _begin_world("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl")
    return Processes(dist.group.WORLD)


def _begin_world(backend: str) -> None:
    """Make the default group of the processes that torchrun has started, or started again.

    When an agent restarts its processes, its store lives on and still holds the addresses of the
    dead ones. So each attempt uses keys of its own.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store, rank, size = next(dist.rendezvous("env://"))
        store = dist.PrefixStore(f"sknn{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    else:
        dist.init_process_group(backend)
    # A process that ends while the group's threads are running may be aborted.
    atexit.register(_end_world)


def _end_world() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
