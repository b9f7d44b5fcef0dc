"""Measure the size of a checkpoint and the time to save, load and name it.

One file is saved after one epoch in the system's temporary directory. The time depends on the disk,
because saving ends when the disk has stored the file. *expected* is the formula in docs/resume.md
without its small terms. *name* is the time for hashing the data, which happens once per fit, and
*GB/s* is the size of the data divided by this time. Sizes are in kilobytes and times in
milliseconds.
"""

import statistics
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._timing import Options, seconds, summarize
from sknn._training._checkpoint import CheckpointFile, snapshot
from sknn._training._fingerprint import _Description

CASES = [  # network, samples, share of nonzero values
    (Network((4, 100, 3), 150), 150, 1.0),
    (Network((64, 100, 10), 200), 1800, 1.0),
    (Network((64, 100, 10), 200), 1_000_000, 1.0),
    (Network((784, 256, 128, 10), 200), 60_000, 1.0),
    (Network((512, 1024, 1024, 10), 256), 10_000, 1.0),
    (Network((512, 1024, 1024, 10), 256, "sgd", "float64"), 10_000, 1.0),
    (Network((10_000, 100, 10), 200), 20_000, 0.01),
]
SLOTS = {"adam": 2, "sgd": 1}


class Measure(Callback):
    """Saves and loads the training repeatedly when it ends."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = CheckpointFile(directory, "0" * 40)
            times = range(1 + self.repeats)
            self.saving = [seconds(lambda: file.save(snapshot(net))) for _ in times][1:]
            self.loading = [seconds(file.load) for _ in times][1:]
            self.size = Path(file.path).stat().st_size


def expected_size(network: Network, n_rows: int) -> int:
    """Return the size of the parameters, the state of the solver and the order of the samples."""
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(network.units))
    of_row = np.min_scalar_type(n_rows - 1).itemsize
    itemsize = np.dtype(network.dtype).itemsize
    return (1 + SLOTS[network.solver]) * n_parameters * itemsize + of_row * n_rows


def run(options: Options) -> Iterator[dict]:
    repeats = options.count(9, 3)
    for network, n_rows, density in CASES[: 2 if options.quick else None]:
        X, y = network.data(n_rows, density)
        measure = Measure(repeats)
        model = estimator("sknn", network, 1).set_params(callbacks=[measure]).fit(X, y)
        ((_, measured),) = model.callbacks_
        naming = [seconds(_Description().of, X) for _ in range(1 + repeats)][1:]
        n_bytes = X.nbytes if density == 1 else X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
        summaries = {
            "save": summarize([1e3 * t for t in measured.saving]),
            "load": summarize([1e3 * t for t in measured.loading]),
            "name": summarize([1e3 * t for t in naming]),
        }
        yield {
            "network": network.name,
            "rows": f"{n_rows}" if density == 1 else f"{n_rows}, CSR, {density:.0%} set",
            "solver": network.solver,
            "dtype": network.dtype,
            "kB": measured.size / 1e3,
            "expected": expected_size(network, n_rows) / 1e3,
            **{name: summary.median for name, summary in summaries.items()},
            "GB/s": n_bytes / 1e9 / statistics.median(naming),
            "unsteady": [name for name, summary in summaries.items() if not summary.steady],
        }
