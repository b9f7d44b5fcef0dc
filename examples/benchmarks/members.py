"""Compare an ensemble that is trained at once with its members trained one by one.

*turns* is the time of one fit per member, with different seeds and one after the other, and *at
once* is the time of one fit with `n_members`. Both run the same number of epochs and steps on the
same data. The fits are short, but their fixed costs are only a small part of the time, so that the
ratio shows what a user gains.
"""

from collections.abc import Iterator
from functools import partial
from time import perf_counter

from examples.benchmarks._peers import estimator
from examples.benchmarks._timing import Options, compared, take_turns
from examples.benchmarks.steps import CASES, Case, with_network

NETWORKS = ("4-100-3", "64-100-10", "14-64-64-2", "784-256-128-10")
N_MEMBERS = (2, 8)
QUICK = (8,)


def fit_time(case: Case, n_fits: int, n_members: int) -> float:
    """Return the time of some fits with `n_members` members and different seeds in milliseconds."""
    network = case.network
    X, y = case.data
    start = perf_counter()
    for seed in range(n_fits):
        model = estimator("sknn", network, case.epochs, n_members=n_members)
        model.set_params(random_state=seed).fit(X, y)
    return 1e3 * (perf_counter() - start)


def row(case: Case, n_members: int, repeats: int) -> dict:
    measure = {
        "at once": partial(fit_time, case, 1, n_members),
        "turns": partial(fit_time, case, n_members, 1),
    }
    labels = {"network": case.network.name, "dtype": case.network.dtype, "members": n_members}
    return compared(labels, take_turns(measure, repeats))


def run(options: Options) -> Iterator[dict]:
    for case in CASES:
        if case.network.name not in NETWORKS:
            continue
        for dtype in ("float32", "float64")[: 1 if options.quick else None]:
            for n_members in QUICK if options.quick else N_MEMBERS:
                yield row(with_network(case, dtype=dtype), n_members, options.count(5, 1))
