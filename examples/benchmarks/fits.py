"""Compare complete fits with scikit-learn: real data, a tiny fit, a grid search.

Times are in milliseconds. The data are scaled before the measurement. On the real datasets, both
estimators run the same number of epochs, and the time includes everything else in a fit, such as
validation, encoding and the creation of the network. The benchmark asserts that the losses are
equal. The repeated fit of one epoch on ten samples shows the fixed cost of a fit. The grid search
has 20 candidates and 5 folds, which makes 101 short fits with their scores. *jobs* is the number of
processes, which are started before the measurement.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from sklearn.model_selection import GridSearchCV

from examples.benchmarks import _data
from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._timing import Options, compared, microseconds, seconds, take_turns

PEERS = ("sknn", "scikit-learn")
DATA = {  # name: network, epochs, epochs with --quick
    "digits": (Network((64, 100, 10), 200), 100, 10),
    "letter": (Network((16, 100, 100, 26), 200), 20, 2),
    "diamonds": (Network((26, 100, 1), 200), 20, 2),
}


def milliseconds(labels: dict, fits: dict, repeats: int) -> dict:
    measure = {peer: functools.partial(lambda fit: 1e3 * seconds(fit), fits[peer]) for peer in fits}
    return compared(labels, take_turns(measure, repeats))


def fits_of_data(name: str, options: Options) -> Iterator[dict]:
    network, epochs, quick_epochs = DATA[name]
    loaded = _data.load(name, options.data)
    if loaded is None:
        return
    epochs = quick_epochs if options.quick else epochs
    for dtype in ("float32", "float64"):
        X, y = loaded[0].astype(dtype), loaded[1]
        models = {peer: estimator(peer, replace(network, dtype=dtype), epochs) for peer in PEERS}
        labels = {"what": f"{name}, {len(X)} rows, {epochs} epochs", "network": network.name}
        fits = {peer: functools.partial(model.fit, X, y) for peer, model in models.items()}
        row = milliseconds({**labels, "dtype": dtype, "jobs": 1}, fits, options.count(5, 1))
        # Rounding errors differ and grow from step to step.
        rtol = 1e-3 if dtype == "float64" else 0.1
        np.testing.assert_allclose(*(model.loss_ for model in models.values()), rtol=rtol)
        yield row


def fixed_cost(options: Options) -> dict:
    network = Network((4, 100, 3), 10, dtype="float64")
    X, y = network.data(10)
    fits = {peer: functools.partial(estimator(peer, network, 1).fit, X, y) for peer in PEERS}
    labels = {"what": "10 rows, 1 epoch", "network": network.name, "dtype": "float64", "jobs": 1}
    measure = {
        peer: functools.partial(lambda fit: 1e-3 * microseconds(fit, repeats=1), fits[peer])
        for peer in PEERS
    }
    return compared(labels, take_turns(measure, options.count(full=5, quick=2)))


def grid_search(n_jobs: int, options: Options) -> dict:
    X, y = _data.load("digits", None)
    network = Network((64, 100, 10), 200, dtype="float64")
    widths, alphas = (25, 50, 100, 200), np.logspace(-5, -1, 5)
    if options.quick:
        widths, alphas = widths[:2], alphas[:2]
    epochs = 5 if options.quick else 20
    grid = {"hidden_layer_sizes": [(width,) for width in widths], "alpha": alphas}
    searches = {
        peer: GridSearchCV(estimator(peer, network, epochs), grid, cv=5, n_jobs=n_jobs)
        for peer in PEERS
    }
    fits = {peer: functools.partial(search.fit, X, y) for peer, search in searches.items()}
    n_fits = 5 * len(list(itertools.product(*grid.values()))) + 1
    labels = {"what": f"grid search on digits, {n_fits} fits of {epochs} epochs"}
    labels |= {"network": "64-25-10 to 64-200-10", "dtype": "float64", "jobs": n_jobs}
    return milliseconds(labels, fits, options.count(full=2, quick=1))


def run(options: Options) -> Iterator[dict]:
    for name in DATA:
        yield from fits_of_data(name, options)
    yield fixed_cost(options)
    for n_jobs in (1, 2):
        yield grid_search(n_jobs, options)
