"""A grid search over Dask beside one over joblib's own processes, in milliseconds.

Twenty candidates and five folds on the digits, without the last fit of the best. *Dask* has two
worker processes of one thread on this machine, *loky* (joblib's default) two, *one process* none
beside this one. All workers are there before the clock starts, and the rows are scattered anew in
each turn. What Dask takes longer than loky is what it costs to send a fit, and to get its scores
back. Equal scores are asserted.
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
    """Return the milliseconds of a search, and what it takes to scatter the rows."""

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
