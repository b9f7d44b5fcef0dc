"""Estimate the speed-up on 8 and 64 machines from the time of a single-threaded step.

The estimated time of a step in which P machines share a batch of B samples is

    time of a step with B / P samples, measured on this machine
    + 2 (P - 1) / P * bytes / bandwidth + 2 (P - 1) * latency.

The last two terms are the time of a ring all-reduce of the gradients, with 4 bytes per parameter
and one number for the loss. *same batch* is the time of a step on one machine divided by this time,
that is, the speed-up of the same training. For *batch times P*, each machine has B samples. This is
a different training with larger batches, and the number is the increase in throughput. Nothing else
is included, neither the waiting time for the slowest machine nor the communication once per epoch.
Each machine has at least one sample.
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
    """A network connection between machines."""

    bandwidth: float  # bytes per second
    latency: float  # seconds per message between processes
    mark: str  # suffix of its columns


LINKS = [Link(10e9 / 8, 50e-6, " (10)"), Link(100e9 / 8, 20e-6, " (100)")]
MACHINES = (8, 64)


def ring(n_bytes: float, n_machines: int, link: Link) -> float:
    """Return the time of a ring all-reduce in seconds."""
    moved = 2 * (n_machines - 1) / n_machines * n_bytes
    return moved / link.bandwidth + 2 * (n_machines - 1) * link.latency


def speed_ups(
    step: Callable[[int], float], batch: int, n_bytes: float, n_machines: int, link: Link
) -> tuple[float, float]:
    """Return the speed-ups with the same batch, and with a batch that grows with the machines.

    `step` returns the time in seconds of a step on one machine with a given number of samples.
    """
    exchange = ring(n_bytes, n_machines, link)
    alone, share = step(batch), step(math.ceil(batch / n_machines))
    return alone / (share + exchange), n_machines * alone / (alone + exchange)


def step_time(network: Network, batches: int, epochs: int) -> float:
    """Return the time of a step of one process in seconds, measured once."""
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
    """Measure steps with the whole batch and with its parts, and compute the speed-ups."""
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
