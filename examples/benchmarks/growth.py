"""Measure how the time and the memory of `fit` grow with the size of the problem.

The table shows the exponent b of size^b for sknn and scikit-learn. One dimension grows while the
others are fixed: samples, features, units of the single hidden layer, or classes. The precision is
float32. The exponent is the slope of a least-squares line through the logarithms at the sizes in
*over*, which are the last three of each range. Smaller sizes are not used because overhead
dominates there; *from* is the smallest size. Times are those of one epoch, measured in turns after
a warm-up. Memory is the peak beyond the data, measured in a new process as in `memory`. *s* and
*MB* are the values at the largest size.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from examples.benchmarks._fresh import in_fresh_process, megabytes_beyond
from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._timing import Options, seconds, take_turns

PEERS = ("sknn", "scikit-learn")
UPPER = 3  # number of sizes that the exponent is fitted to


@dataclass(frozen=True)
class Size:
    """The size of a problem: a network with one hidden layer, and the number of samples."""

    rows: int = 4000
    features: int = 64
    width: int = 100
    classes: int = 10

    @property
    def network(self) -> Network:
        return Network((self.features, self.width, self.classes), 200)


RANGES = {
    "rows": (1000, 10_000, 100_000, 300_000, 1_000_000),
    "features": (16, 128, 1024, 4096, 16384),
    "width": (16, 128, 1024, 4096, 16384),
    "classes": (3, 10, 100, 300, 1000),
}
QUICK_RANGES = {"rows": (3000, 10_000, 30_000)}


def exponent(sizes, values) -> float:
    """Return the slope in the log-log plot: b if the values are c * sizes ** b."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def times(size: Size, repeats: int) -> dict[str, float]:
    """Return the time of one epoch in seconds for each peer."""
    X, y = size.network.data(size.rows)
    models = {peer: estimator(peer, size.network, 1) for peer in PEERS}
    measure = {peer: functools.partial(seconds, model.fit, X, y) for peer, model in models.items()}
    return {peer: result.median for peer, result in take_turns(measure, repeats).items()}


def peak(peer: str, size: Size) -> float:
    """Return the peak memory of one fit beyond the data in megabytes; runs in a new process."""
    small = Size()
    estimator(peer, small.network, 1).fit(*small.network.data(1000))
    data = size.network.data(size.rows)
    return megabytes_beyond(estimator(peer, size.network, 1).fit, *data)[0]


def run(options: Options) -> Iterator[dict]:
    for grows, values in (QUICK_RANGES if options.quick else RANGES).items():
        sizes = [Size(**{grows: value}) for value in values]
        found = [times(size, options.count(full=3, quick=1)) for size in sizes]
        row = {"grows": grows, "from": values[0], "over": f"{values[-UPPER]} to {values[-1]}"}
        for peer in PEERS:
            upper = [point[peer] for point in found[-UPPER:]]
            row[f"{peer}: time"] = exponent(values[-UPPER:], upper)
            row[f"{peer}: s"] = upper[-1]
        for peer in PEERS:
            upper = [in_fresh_process(peak, peer, size) for size in sizes[-UPPER:]]
            row[f"{peer}: memory"] = exponent(values[-UPPER:], np.maximum(upper, 0.1))
            row[f"{peer}: MB"] = upper[-1]
        yield row
