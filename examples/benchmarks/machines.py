"""How much faster 8 and 64 machines would be: a reckoning, from the step of one thread here.

A step of P machines that share a batch of B rows takes, on paper,

    time of a step with B / P rows, measured here
    + 2 (P - 1) / P * bytes / bandwidth + 2 (P - 1) * latency,

the last two being the all-reduce in a ring of the gradients, 4 bytes a parameter and one number
for the loss. *same batch* is the time of one machine's step over that: how much sooner the same
training ends. *batch times P* lets each machine have B rows, which is another training, of larger
batches: it is how many times the rows pass in a second. Nothing else is counted: not that the
slowest machine is waited for, and not the calls of an epoch. A share is one row at least.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch

from examples.benchmarks._peers import FITS, Network
from examples.benchmarks._timing import Options, seconds, take_turns
from examples.benchmarks.processes import CASES, n_parameters


class Link(NamedTuple):
    """Between machines."""

    bandwidth: float  # bytes a second
    latency: float  # seconds, of a message between processes
    mark: str  # of its columns


LINKS = [Link(10e9 / 8, 50e-6, " (10)"), Link(100e9 / 8, 20e-6, " (100)")]
MACHINES = (8, 64)


def ring(n_bytes: float, n_machines: int, link: Link) -> float:
    """Seconds of an all-reduce in a ring."""
    moved = 2 * (n_machines - 1) / n_machines * n_bytes
    return moved / link.bandwidth + 2 * (n_machines - 1) * link.latency


def speed_ups(
    step: Callable[[int], float], batch: int, n_bytes: float, n_machines: int, link: Link
) -> tuple[float, float]:
    """With the same batch, and in rows a second with one that grows with the machines.

    `step` gives the seconds of a step of one machine with so many rows.
    """
    exchange = ring(n_bytes, n_machines, link)
    alone, share = step(batch), step(math.ceil(batch / n_machines))
    return alone / (share + exchange), n_machines * alone / (alone + exchange)


def step_time(network: Network, batches: int, epochs: int) -> float:
    """The seconds of a step of one process, measured once."""
    fit = functools.partial(FITS["sknn"], network, *network.data(network.batch * batches))
    fit(1)
    short = seconds(fit, 1)
    return (seconds(fit, 1 + epochs) - short) / (epochs * batches)


def run(options: Options) -> Iterator[dict]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for network, batches, epochs in CASES[: 2 if options.quick else None]:
            epochs = max(2, epochs // 4) if options.quick else epochs
            yield from reckoning(network, batches, epochs, options.count(full=5, quick=2))
    finally:
        torch.set_num_threads(n_threads)


def reckoning(network: Network, batches: int, epochs: int, repeats: int) -> Iterator[dict]:
    """Measure steps of a batch and of its shares, and reckon with them."""
    sizes = [network.batch, *(math.ceil(network.batch / n) for n in MACHINES)]
    measure = {
        size: functools.partial(step_time, replace(network, batch=size), batches, epochs)
        for size in sizes
    }
    times = {size: summary.median for size, summary in take_turns(measure, repeats).items()}
    n_bytes = 4 * (n_parameters(network) + 1)
    for n_machines in MACHINES:
        row = {
            "network": network.name,
            "batch": network.batch,
            "machines": n_machines,
            "step, us": 1e6 * times[network.batch],
            "of a share": 1e6 * times[math.ceil(network.batch / n_machines)],
        }
        for link in LINKS:
            both = speed_ups(times.__getitem__, network.batch, n_bytes, n_machines, link)
            row["ring, us" + link.mark] = 1e6 * ring(n_bytes, n_machines, link)
            row["same batch" + link.mark], row["batch times P" + link.mark] = both
        yield row
