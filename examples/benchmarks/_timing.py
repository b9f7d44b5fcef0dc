"""Measure times in turns, compute medians, and describe the machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_info

SPINNING = 0.15  # seconds until the idle threads of a BLAS go to sleep


@dataclass(frozen=True)
class Options:
    """The command-line options that apply to every benchmark."""

    quick: bool = False
    repeats: int | None = None
    data: str | None = None

    def count(self, full: int, quick: int) -> int:
        """Return the number of repeats without warm-up: the user's number, or one of these."""
        return self.repeats or (quick if self.quick else full)


class Summary(NamedTuple):
    """A median, which is steady if the third quartile is at most 1.3 times the first."""

    median: float
    steady: bool


def seconds(function: Callable, *args: Any) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def microseconds(function: Callable, seconds: float = 0.15, repeats: int = 5) -> float:
    """Return the median time of a short call, over repetitions of about `seconds` each."""
    start = time.perf_counter()
    n_calls = 0
    while time.perf_counter() - start < seconds:
        function()
        n_calls += 1
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(n_calls):
            function()
        times.append(1e6 * (time.perf_counter() - start) / n_calls)
    return statistics.median(times)


def summarize(values: list[float]) -> Summary:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Summary(float(middle), bool(high <= 1.3 * low))


def in_turn(
    measure: dict[str, Callable[[], float]], repeats: int, burn_in: int = 1
) -> dict[str, list[float]]:
    """Measure each peer `repeats` times, in a different order each time, after a warm-up.

    Each turn begins with a pause. The threads of NumPy's BLAS keep spinning for a tenth of a second
    after the last product, and on two cores they would double the time of the next peer.
    """
    peers = list(measure)
    values = {peer: [] for peer in peers}
    for turn in range(burn_in + repeats):
        first = turn % len(peers)
        for peer in peers[first:] + peers[:first]:
            time.sleep(SPINNING)
            value = measure[peer]()
            if turn >= burn_in:
                values[peer].append(value)
    return values


def take_turns(
    measure: dict[str, Callable[[], float]], repeats: int, burn_in: int = 1
) -> dict[str, Summary]:
    """Return the medians of the measurements of `in_turn`."""
    return {peer: summarize(v) for peer, v in in_turn(measure, repeats, burn_in).items()}


def compared(labels: dict[str, Any], results: dict[str, Summary | None]) -> dict[str, Any]:
    """Return a row of a table: labels, medians, and the ratios of the first peer to the others.

    None stands for a peer that does not support this case. `unsteady` contains the peers whose
    median is unreliable because another process was active.
    """
    medians = {peer: result and result.median for peer, result in results.items()}
    (own, value), *others = medians.items()
    ratios = {f"/ {peer}": other and value / other for peer, other in others}
    unsteady = [peer for peer, result in results.items() if result and not result.steady]
    return {**labels, **medians, **ratios, "unsteady": unsteady}


def machine() -> dict[str, Any]:
    """Return the facts about the machine that are needed to compare the results with others."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            processor = next(line for line in lines if line.startswith("model name"))
            processor = processor.split(":")[1].strip()
    except (OSError, StopIteration):
        pass  # not Linux, or a processor that Linux does not name
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor,
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "NumPy threads": max(blas, default=1),
        "Python": platform.python_version(),
    } | {name: version(name) for name in ("numpy", "scikit-learn", "torch", "skorch")}
