"""Several processes that train one network: what they tell each other, by `torch.distributed`.

Everything is collective: all processes of the group make the same calls in the same order. An error
in one of them before training ends all (`agreement`); a process that dies in training closes its
connections, which the others see at their next call.
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

from sknn._network._parameters import FlatParameters
from sknn._platform._compat import as_tensor

# What torchrun tells each process that it starts.
_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Processes:
    """The processes of a group.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and of all.
    """

    def __init__(self, group: Any) -> None:
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._first = dist.get_global_rank(group, 0)
        # NCCL moves only what is on a GPU.
        is_nccl = dist.get_backend(group) == "nccl"
        self._device = torch.device("cuda", torch.cuda.current_device()) if is_nccl else "cpu"

    def sum_(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by its sum over all processes."""
        self._call(dist.all_reduce, tensor)

    def copy_first_(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by that of the first process."""
        self._call(dist.broadcast, tensor, self._first)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank. They are pickled."""
        values = [None] * self.size
        self._call(dist.all_gather_object, values, value)
        return values

    def first(self, value: Any) -> Any:
        """The first process's value. It is pickled."""
        values = [value]
        self._call(dist.broadcast_object_list, values, self._first)
        return value if self.rank == 0 else values[0]

    def any(self, condition: bool) -> bool:
        """Whether a condition holds in any process."""
        count = torch.tensor([float(condition)], device=self._device)
        self.sum_(count)
        return bool(count.item())

    def first_numbers(self, numbers: list[float]) -> list[float]:
        """The first process's numbers."""
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        self.copy_first_(tensor)
        return tensor.tolist()

    def concatenate(self, rows: np.ndarray, n_rows: list[int]) -> np.ndarray:
        """The rows of all processes, by rank; `n_rows` says how many each has."""
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

    def copy_first_model_(self, parameters: FlatParameters) -> None:
        """Give parameters, solver's state and buffers the values of the first process."""
        self.copy_first_(parameters.storage)
        self.copy_first_buffers_(parameters)

    def copy_first_buffers_(self, parameters: FlatParameters) -> None:
        """Give buffers (running statistics) the values of the first process."""
        for buffer in parameters.buffers:
            self.copy_first_(buffer)

    def _call(self, collective: Callable[..., object], *args: Any) -> None:
        try:
            collective(*args, group=self.group)
        except RuntimeError as error:
            raise RuntimeError(
                f"Process {self.rank} of {self.size} cannot go on: another process of"
                " process_group has ended, or has not answered in the time that the group allows."
                " What has happened is in its own output. Start all of them again, as"
                " `torchrun --max-restarts` does; with checkpoint_dir, training goes on from the"
                " last checkpoint."
            ) from error


def processes_of(process_group: Any, device: str) -> Processes | None:
    """The processes that the user's `process_group` names; None for this one alone.

    "world" is the default group. If there is none yet, it is made of what torchrun has started.

    Raises
    ------
    ValueError
        If there is no such group, or this process is not in it.
    """
    if process_group is None:
        return None
    if not dist.is_available():
        raise ValueError(
            f"The 'process_group' parameter is {process_group!r}, but this build of torch has no"
            " torch.distributed. Use one that has it, or process_group=None."
        )
    if process_group != "world":
        if dist.get_rank(process_group) < 0:
            raise ValueError(
                "The 'process_group' parameter is a group that this process is not in. Call fit in"
                " the group's own processes only."
            )
        return Processes(process_group)
    if not dist.is_initialized():
        if not all(name in os.environ for name in _OF_TORCHRUN):
            raise ValueError(
                "The 'process_group' parameter is 'world', but there are no other processes: start"
                " the script by `torchrun --nproc-per-node=2 script.py`, or call"
                " torch.distributed.init_process_group first, or set process_group=None."
            )
        _begin_world("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl")
    return Processes(dist.group.WORLD)


def _begin_world(backend: str) -> None:
    """Make the default group of what torchrun has started, or started again.

    In one agent's restarts the store lives on, with the addresses of those that are dead; so each
    attempt has keys of its own.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store, rank, size = next(dist.rendezvous("env://"))
        store = dist.PrefixStore(f"sknn{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    else:
        dist.init_process_group(backend)
    atexit.register(_end_world)  # a process that ends with running threads of it may be aborted


def _end_world() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def agreement(processes: Processes | None) -> Iterator[None]:
    """Let an error of the body, in any process, end all of them. The body makes no calls."""
    if processes is None:
        yield
        return
    error = None
    try:
        yield
    except Exception as caught:
        error = caught
    errors = processes.gather(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    failed = {rank: text for rank, text in enumerate(errors) if text is not None}
    if failed:
        listed = "; ".join(f"process {rank}: {text}" for rank, text in failed.items())
        raise RuntimeError(
            f"Process {processes.rank} of {processes.size} has not begun to train, as others of"
            f" process_group have failed before. {listed}"
        )
