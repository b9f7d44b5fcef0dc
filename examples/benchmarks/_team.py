"""Start a process group on this machine whose processes wait for functions to call."""

import multiprocessing
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def _serve(rank: int, size: int, store: str, connection: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    while (job := connection.recv()) is not None:
        function, args = job
        connection.send(function(rank, size, *args))


@contextmanager
def team(size: int):
    """Yield a function that calls another function in all processes, with one thread each.

    The called function receives the rank, the number of processes and the arguments, and the
    results are returned in the order of the ranks. It must be importable in a new process.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        connections = []
        for rank in range(size):
            here, there = context.Pipe()
            args = (rank, size, str(Path(folder) / "store"), there)
            context.Process(target=_serve, args=args, daemon=True).start()
            there.close()
            connections.append(here)

        def call(function: Callable, *args: Any) -> list:
            for connection in connections:
                connection.send((function, args))
            return [connection.recv() for connection in connections]

        try:
            yield call
        finally:
            for connection in connections:
                connection.send(None)
