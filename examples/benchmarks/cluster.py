"""Compare a grid search on Dask with one in joblib's own processes.

The search has twenty candidates and five folds on the digits, without the final refit of the best
candidate. Times are in milliseconds. *Dask* uses two single-threaded worker processes on this
machine, *loky* (the default of joblib) uses two processes, and *one process* runs everything in
this process. All workers are started before the measurement, and the data are scattered again in
each turn. The difference between Dask and loky is the cost of sending fits and receiving their
scores. The benchmark asserts that all scores are equal.
"""

import functools
from collections.abc import Iterator

import joblib
import numpy as np
from sklearn.model_selection import GridSearchCV

from examples.benchmarks import _data
from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._timing import Options, compared, seconds, take_turns


def search_over(backend: dict, search: GridSearchCV, X: np.ndarray, y: np.ndarray) -> float:
    """Return the time of a search in milliseconds, including the time to scatter the data."""

    def fit():
        scatter = {"scatter": [X, y]} if backend["backend"] == "dask" else {}
        with joblib.parallel_config(**backend, **scatter):
            search.fit(X, y)

    return 1e3 * seconds(fit)


def run(options: Options) -> Iterator[dict]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        print("Dask is skipped: it needs the package distributed")
        return
    X, y = _data.load("digits", None)
    network = Network((64, 100, 10), 200, dtype="float64")
    widths, alphas = (25, 50, 100, 200), np.logspace(-5, -1, 5)
    if options.quick:
        widths, alphas = widths[:2], alphas[:2]
    grid = {"hidden_layer_sizes": [(width,) for width in widths], "alpha": alphas}
    backends = {
        "Dask": {"backend": "dask"},
        "loky": {"backend": "loky", "n_jobs": 2},
        "one process": {"backend": "sequential"},
    }
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster),
    ):
        for epochs in (2,) if options.quick else (5, 20):
            search = GridSearchCV(estimator("sknn", network, epochs), grid, cv=5, refit=False)
            searches = {peer: GridSearchCV(**search.get_params(deep=False)) for peer in backends}
            measure = {
                peer: functools.partial(search_over, backend, searches[peer], X, y)
                for peer, backend in backends.items()
            }
            labels = {"epochs": epochs, "fits": 5 * len(widths) * len(alphas)}
            yield compared(labels, take_turns(measure, options.count(full=5, quick=1)))
            scores = [s.cv_results_["mean_test_score"] for s in searches.values()]
            np.testing.assert_array_equal(scores, scores[:1] * 3)
