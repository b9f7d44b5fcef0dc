"""Search for the parameters of a network on a Dask cluster.

joblib's Dask backend sends each fit of a search to a worker of a Dask cluster. By default, the
cluster consists of two processes on this machine:

    python examples/search_on_cluster.py

To use an existing cluster, pass the address of its scheduler and the device of its workers:

    python examples/search_on_cluster.py --scheduler tcp://host:8786 --device auto

The same search is first run locally in this process. Expect both searches to select the same
parameters with the same scores. If the machines or their numbers of threads differ, the scores can
differ in the last bits. Whether the cluster is faster depends on the number of workers. Fits that
take a fraction of a second are hardly worth sending to a cluster.

The example needs the package distributed, which the extra `dask` installs.
"""

import argparse
import time
import warnings
from contextlib import contextmanager

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sknn import FeedForwardClassifier

try:
    from distributed import Client, LocalCluster
except ImportError as error:
    raise ImportError(
        "This example needs the package distributed. Install sknn with the extra dask, or run"
        " python -m pip install distributed"
    ) from error


@contextmanager
def connected(scheduler=None):
    """Yield a client of the scheduler's cluster, or of two new single-threaded processes."""
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def make_search(n_epochs, device):
    """Return a grid search over eight networks with four folds."""
    # The number of epochs is fixed on purpose. joblib sends this warning filter to the workers
    # together with the fits.
    warnings.simplefilter("ignore", ConvergenceWarning)
    network = FeedForwardClassifier(max_iter=n_epochs, device=device, random_state=0)
    grid = {
        "hidden_layer_sizes": [(50,), (100,)],
        "alpha": [1e-4, 1e-1],
        "learning_rate_init": [1e-3, 1e-2],
    }
    return GridSearchCV(network, grid, cv=4)


def timed(search, X, y):
    """Fit the search and return its time in seconds."""
    start = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - start


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scheduler", metavar="ADDRESS", help="default: two local processes")
    parser.add_argument(
        "--device", default="cpu", help='device of the workers ("auto": a GPU if any)'
    )
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(arguments)
    X, y = load_digits(return_X_y=True)
    X /= 16

    here, there = (make_search(options.epochs, device) for device in ("cpu", options.device))
    seconds = {"this process": timed(here, X, y)}
    with connected(options.scheduler) as client:
        # Otherwise, Dask removes copies of scattered data while no worker is using them.
        client.amm.stop()
        workers = client.ncores()
        with joblib.parallel_config("dask", scatter=[X, y]):
            name = f"{len(workers)} workers, {sum(workers.values())} parallel fits"
            seconds[name] = timed(there, X, y)

    for name, value in seconds.items():
        print(f"{name:<40}{value:8.2f} s")
    scores = [search.cv_results_["mean_test_score"] for search in (here, there)]
    print(f"largest difference in scores            {np.abs(scores[0] - scores[1]).max():8.2g}")
    print(f"best, local    {here.best_params_}, accuracy {here.best_score_:.4f}")
    print(f"best, cluster  {there.best_params_}, accuracy {there.best_score_:.4f}")


if __name__ == "__main__":
    main()
