"""Measure a training step on each available device, and with data moved in chunks.

The time of a step in microseconds is measured in the same way as in `steps`, but only for sknn,
with `device="cpu"`, "cuda" and "mps". Devices that are absent have no lines. The loss is read at
the end of each epoch, so the measurement includes all work of the device. *in chunks* is the same
fit with data that stays on the host, which is the case for data that would take more than half of
the free memory of the device. On the CPU, this is the additional cost of data of another dtype or
from a file, apart from reading it. */ cpu* and */ in memory* are below 1 if the device, or the
version with chunks, is faster.
"""

import functools
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

from examples.benchmarks._peers import Network, estimator, has_bfloat16
from examples.benchmarks._timing import Options, seconds, take_turns
from sknn._platform._devices import is_present

ACCELERATORS = ("cuda", "mps")
# Networks, full batches per epoch, and epochs that are timed after the first one.
CASES = [
    (Network((4, 100, 3), 150), 4, 100),
    (Network((64, 100, 10), 200), 9, 40),
    (Network((14, 64, 64, 2), 200), 10, 40),
    (Network((784, 256, 128, 10), 200), 10, 8),
    (Network((512, 1024, 1024, 10), 256), 10, 2),
    (Network((512, 1024, 1024, 10), 4096), 2, 2),
]
QUICK = CASES[1:4:2]


def step_time(network: Network, data, batches: int, epochs: int, device: str, whole: bool):
    """Return the time of a step in microseconds, measured once."""

    def fit(max_iter: int) -> None:
        estimator("sknn", network, max_iter, device=device).fit(*data)

    with nullcontext() if whole else patch("sknn._data._rows.fits", lambda n_bytes, device: False):
        fit(1)
        short = seconds(fit, 1)
        return 1e6 * (seconds(fit, 1 + epochs) - short) / (epochs * batches)


def run(options: Options) -> Iterator[dict]:
    accelerators = [name for name in ACCELERATORS if is_present(name)]
    if not accelerators:
        print("No accelerator is present, so there are only lines for the CPU.\n")
    dtypes = ("float32", "bfloat16") if has_bfloat16() or accelerators else ("float32",)
    for network, batches, epochs in QUICK if options.quick else CASES:
        data = network.data(network.batch * batches)
        for dtype in dtypes:
            case = replace(network, dtype=dtype)
            measure = {
                (device, whole): functools.partial(
                    step_time, case, data, batches, epochs, device, whole
                )
                for device in ("cpu", *accelerators)
                for whole in (True, False)
            }
            times = take_turns(measure, options.count(full=5, quick=2))
            for device in ("cpu", *accelerators):
                whole, chunks = times[device, True], times[device, False]
                yield {
                    **{"network": network.name, "batch": network.batch, "dtype": dtype},
                    **{"device": device, "in memory": whole.median, "in chunks": chunks.median},
                    "/ cpu": whole.median / times["cpu", True].median,
                    "/ in memory": chunks.median / whole.median,
                    "unsteady": [
                        name
                        for name, time in (("in memory", whole), ("in chunks", chunks))
                        if not time.steady
                    ],
                }
