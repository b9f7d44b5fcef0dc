"""Microseconds per training step on each device that is present, and with rows moved in chunks.

The time of a step is taken as `steps` takes it, of sknn alone, with `device="cpu"`, "cuda" and
"mps": those that are absent have no lines. An epoch ends when its loss is read, so that no work of
a device is left out. *in chunks* is the same fit with rows that stay on the host, as those do that
would take more than half of the device's free memory; on the CPU it is what rows of another dtype
or from a file cost beside reading them. */ cpu* and */ in memory* are below 1 where the device, or
the chunks, are faster.
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
# Networks, full batches in an epoch, and epochs that are timed beyond the first.
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
    """Return the microseconds of a step, measured once."""

    def fit(max_iter: int) -> None:
        estimator("sknn", network, max_iter, device=device).fit(*data)

    with nullcontext() if whole else patch("sknn._data._rows.fits", lambda n_bytes, device: False):
        fit(1)
        short = seconds(fit, 1)
        return 1e6 * (seconds(fit, 1 + epochs) - short) / (epochs * batches)


def run(options: Options) -> Iterator[dict]:
    accelerators = [name for name in ACCELERATORS if is_present(name)]
    if not accelerators:
        print("No accelerator is present: there are lines of the CPU only.\n")
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
