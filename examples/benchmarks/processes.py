"""Compare a training step in two processes with a step in one process.

Times are in microseconds. The processes communicate over the loopback interface and use one thread
each. The batch is the same, so each of the two processes has half of its samples. The time of a
step is measured as in `steps`: the time of a fit of 1 + k epochs minus the time of a fit of 1
epoch, divided by the number of additional steps. *2 processes* and *1 process* take turns in the
same two processes, and one process waits while the other works alone. *sums* is the time that a
step waits for its sums over the processes, including delays of the other process. *all-reduce* is
the time of the same sum in a loop without other work. *calls an epoch* is the number of other
communication calls per epoch, in a training without a validation set.

The benchmark asserts that the losses are equal.
"""

import functools
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._team import team
from examples.benchmarks._timing import Options, compared, seconds, take_turns
from sknn._data._processes import Processes

CASES = [  # network, batches per epoch, epochs after the first
    (Network((4, 100, 3), 150), 1, 300),
    (Network((64, 100, 10), 200), 9, 40),
    (Network((14, 64, 64, 2), 200), 10, 40),
    (Network((784, 256, 128, 10), 200), 10, 10),
    (Network((512, 1024, 1024, 10), 256), 10, 2),
]


def n_parameters(network: Network) -> int:
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(network.units))


def fit(rank: int, size: int, network: Network, batches: int, epochs: int, is_one: bool) -> float:
    """Fit for some epochs in one or all processes, and return the loss."""
    X, y = network.data(network.batch * batches)
    model = estimator("sknn", network, epochs)
    if is_one:
        return model.fit(X, y).loss_ if rank == 0 else np.nan
    own = np.array_split(np.arange(len(X)), size)[rank]
    return model.set_params(process_group="world").fit(X[own], y[own]).loss_


def timed_fit(rank: int, size: int, *args: Any) -> tuple[float, float]:
    """Return the time of a fit in seconds, and its part for sums; all processes start together."""
    waited = 0.0
    original = Processes.sum_

    def timed_sum(processes: Processes, tensor: torch.Tensor) -> None:
        nonlocal waited
        start = time.perf_counter()
        original(processes, tensor)
        waited += time.perf_counter() - start

    dist.barrier()
    Processes.sum_ = timed_sum
    try:
        return seconds(fit, rank, size, *args), waited
    finally:
        Processes.sum_ = original


def all_reduce(rank: int, size: int, n_numbers: int) -> float:
    """Return the time of a sum of float32 numbers over the processes in microseconds."""
    numbers = torch.zeros(n_numbers)
    group, n_calls = Processes(dist.group.WORLD), 200

    def many() -> None:
        for _ in range(n_calls):
            group.sum_(numbers)

    many()
    return 1e6 * min(seconds(many) for _ in range(3)) / n_calls


def calls(rank: int, size: int, network: Network, batches: int, epochs: int) -> int:
    """Return the number of calls of torch.distributed in a fit."""
    n_calls = 0
    original = Processes._call

    def counted(*args: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        original(*args)

    Processes._call = counted
    try:
        fit(rank, size, network, batches, epochs, False)
    finally:
        Processes._call = original
    return n_calls


def step_time(call: Any, case: tuple, is_one: bool, waits: list[float]) -> float:
    """Return the time of a step in the first process in microseconds, measured once."""
    network, batches, epochs = case
    (short, short_wait), *_ = call(timed_fit, network, batches, 1, is_one)
    (long, long_wait), *_ = call(timed_fit, network, batches, 1 + epochs, is_one)
    waits.append(1e6 * (long_wait - short_wait) / (epochs * batches))
    return 1e6 * (long - short) / (epochs * batches)


def run(options: Options) -> Iterator[dict]:
    with team(2) as call:
        for network, batches, epochs in CASES[: 2 if options.quick else None]:
            epochs = max(2, epochs // 4) if options.quick else epochs
            case = network, batches, epochs
            together, alone = (call(fit, network, batches, 2, is_one)[0] for is_one in (0, 1))
            np.testing.assert_allclose(together, alone, rtol=1e-3)
            of_two, of_one = (
                call(calls, network, batches, 2)[0],
                call(calls, network, batches, 1)[0],
            )
            waits: dict[bool, list[float]] = {False: [], True: []}
            measure = {
                name: functools.partial(step_time, call, case, is_one, waits[is_one])
                for name, is_one in (("2 processes", False), ("1 process", True))
            }
            times = take_turns(measure, options.count(full=5, quick=2))
            n_numbers = n_parameters(network) + 1
            labels = {
                "network": network.name,
                "batch": network.batch,
                "kB a step": 4 * n_numbers / 1e3,
                "sums a step": 1,
                "calls an epoch": of_two - of_one - batches,
            }
            row = compared(labels, times)
            wait = float(np.median(waits[False]))
            yield row | {
                "sums": wait,
                "share": f"{wait / times['2 processes'].median:.0%}",
                "all-reduce": call(all_reduce, n_numbers)[0],
            }
