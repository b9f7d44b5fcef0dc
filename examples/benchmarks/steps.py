"""Compare a training step of sknn with other ways to train the same network.

A step is one update of the weights from one batch. Its time in microseconds is

    (time of a fit of 1 + k epochs - time of a fit of 1 epoch) / (k * steps per epoch).

Validation, encoding and the creation of the network, which happen once per fit, cancel out. The
costs of an epoch (shuffling, recording the loss, the stopping rule) are divided by its number of
steps. The peers of `_peers.py` take turns in one process. Each turn begins with a pause and a fit
that is not timed, so the table does not show how products of another library slow down the first
fit after them, for example in a Pipeline. All peers get the same arrays, network, batch size and
learning rate, shuffle the data in every epoch and run the same number of steps. The exception is
skorch, which runs fewer steps because it is slow.

The benchmark asserts nothing about time, but it asserts that the peers do the same work: the losses
of sknn and scikit-learn are equal, and so are those of the two hand-written loops.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from examples.benchmarks import _libtorch
from examples.benchmarks._peers import FITS, Network, has_bfloat16
from examples.benchmarks._timing import Options, compared, seconds, take_turns

DTYPES = ("float32", "float64", "bfloat16")


@dataclass(frozen=True)
class Case:
    """A network, its data, and the number of epochs that are timed after the first one."""

    network: Network
    batches: int  # per epoch, all of them full
    epochs: int
    density: float = 1.0

    @functools.cached_property
    def data(self):
        return self.network.data(self.network.batch * self.batches, self.density)

    @property
    def labels(self) -> dict:
        network = self.network
        rows = "dense" if self.density == 1 else f"CSR, {self.density:.0%} set"
        labels = {"network": network.name, "batch": network.batch, "rows": rows}
        return {**labels, "solver": network.solver, "dtype": network.dtype}


CASES = [
    Case(Network((2, 10, 1), 10), 10, 60),
    Case(Network((4, 100, 3), 150), 1, 500),
    Case(Network((64, 100, 10), 200), 9, 50),
    Case(Network((14, 64, 64, 2), 200), 10, 50),
    Case(Network((30, 100, 100, 1), 200), 10, 40),
    Case(Network((784, 256, 128, 10), 200), 10, 12),
    Case(Network((512, 1024, 1024, 10), 256), 10, 3),
    Case(Network((512, 1024, 1024, 10), 4096), 1, 2),
]
SGD = ("64-100-10", "784-256-128-10", "512-1024-1024-10")  # only for the first batch size above
SPARSE = Case(Network((1000, 100, 10), 200), 10, 20)
DENSITIES = (0.01, 0.05)
QUICK = ("64-100-10", "784-256-128-10")


def cases(quick: bool) -> Iterator[Case]:
    """Yield all cases, grouped by network; with `quick`, a few short ones."""
    for case in CASES:
        name = case.network.name
        if quick:
            if name not in QUICK:
                continue
            case = replace(case, epochs=max(2, case.epochs // 4))
        is_thorough = not quick or name == QUICK[0]
        for dtype in DTYPES if is_thorough else DTYPES[:1]:
            yield with_network(case, dtype=dtype)
        if name in SGD and case.network.batch <= 256 and is_thorough:
            for dtype in DTYPES[: 1 if quick else None]:
                yield with_network(case, dtype=dtype, solver="sgd")
    for density in DENSITIES[: 1 if quick else None]:
        for dtype in DTYPES[: 1 if quick else 2]:
            yield replace(with_network(SPARSE, dtype=dtype), density=density)


def with_network(case: Case, **changes) -> Case:
    return replace(case, network=replace(case.network, **changes))


def check_same_work(case: Case, peers: list[str]) -> None:
    """Assert that peers with the same random numbers have the same loss after two epochs."""
    rtol = {"float64": 1e-6, "float32": 1e-3, "bfloat16": 0.05}[case.network.dtype]
    for pair in (("sknn", "scikit-learn"), ("torch", "C++")):
        losses = []
        for peer in pair:
            torch.manual_seed(0)
            losses += [FITS[peer](case.network, *case.data, 2)] if peer in peers else []
        np.testing.assert_allclose(losses, losses[0], rtol=rtol)


def step_time(case: Case, fit: Callable) -> float:
    """Return the time of a step in microseconds, measured once; `fit` is like those in `FITS`."""
    X, y = case.data
    network = case.network
    epochs = max(2, case.epochs // 4) if fit is FITS["skorch"] else case.epochs
    fit(network, X, y, 1)
    short = seconds(fit, network, X, y, 1)
    long = seconds(fit, network, X, y, 1 + epochs)
    return 1e6 * (long - short) / (epochs * case.batches)


def run(options: Options) -> Iterator[dict]:
    bfloat16 = has_bfloat16()
    peers = [peer for peer in FITS if peer != "C++" or _libtorch.library() is not None]
    for case in cases(options.quick):
        if case.network.dtype == "bfloat16" and not bfloat16:
            continue
        check_same_work(case, peers)
        repeats = options.count(full=3 if case.network.batch > 1000 else 5, quick=2)
        measure = {peer: functools.partial(step_time, case, FITS[peer]) for peer in peers}
        times = take_turns(measure, repeats)
        yield compared(case.labels, {peer: times.get(peer) for peer in FITS})
