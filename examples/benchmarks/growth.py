"""How time and memory of `fit` grow: the exponent b of size^b, beside scikit-learn's.

One dimension grows, the others stay: rows, features, units of the one hidden layer, classes; in
float32. The exponent is the slope of a least-squares line through the logarithms at the sizes in
*over*, the last three of each range: below them overhead counts, not the size (*from* is where the
range begins). Times are of one epoch, in turns, after a burn-in; memory is the peak beyond
the data, each in a fresh process, as in `memory`. *s* and *MB* are those of the last size.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from examples.benchmarks._fresh import in_fresh_process, megabytes_beyond
from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._timing import Options, seconds, take_turns

PEERS = ("sknn", "scikit-learn")
UPPER = 3  # sizes that the exponent is fitted to


@dataclass(frozen=True)
class Size:
    """One point: a network with one hidden layer, and the number of its rows."""

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
    """Return the slope of the line through the logarithms: b where values are c * sizes ** b."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def times(size: Size, repeats: int) -> dict[str, float]:
    """Return the seconds of one epoch for each peer."""
    X, y = size.network.data(size.rows)
    models = {peer: estimator(peer, size.network, 1) for peer in PEERS}
    measure = {peer: functools.partial(seconds, model.fit, X, y) for peer, model in models.items()}
    return {peer: result.median for peer, result in take_turns(measure, repeats).items()}


def peak(peer: str, size: Size) -> float:
    """Return the megabytes of one fit beyond the data. Runs in a process of its own."""
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
