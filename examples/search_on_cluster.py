"""Search for the parameters of a network on a cluster, by Dask.

joblib's Dask backend sends each fit of a search to a worker of a Dask cluster. By default the
cluster is two processes of this machine:

    python examples/search_on_cluster.py

A real one is named by its scheduler, and its workers by what they can do:

    python examples/search_on_cluster.py --scheduler tcp://host:8786 --device auto

The same search is run here first, in this process. Expect the same parameters to win with the same
scores; the last bits differ where the machines or their numbers of threads do. Whether it is sooner
depends on the number of workers: a fit of a fraction of a second is hardly worth sending.

It needs the package distributed, which the extra `dask` brings.
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
        "This example needs the package distributed: install sknn with the extra dask, or"
        " python -m pip install distributed"
    ) from error


@contextmanager
def connected(scheduler=None):
    """Yield a client of the scheduler's cluster, or of two new processes of one thread each."""
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
    """Return a search among eight networks, in four folds."""
    # All epochs are meant to be run. The filter travels to the workers with the fits.
    warnings.simplefilter("ignore", ConvergenceWarning)
    network = FeedForwardClassifier(max_iter=n_epochs, device=device, random_state=0)
    grid = {
        "hidden_layer_sizes": [(50,), (100,)],
        "alpha": [1e-4, 1e-1],
        "learning_rate_init": [1e-3, 1e-2],
    }
    return GridSearchCV(network, grid, cv=4)


def timed(search, X, y):
    """Fit the search and return the seconds that it took."""
    start = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - start


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scheduler", metavar="ADDRESS", help="default: two processes, here")
    parser.add_argument("--device", default="cpu", help='of the workers; "auto": a GPU if any')
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(arguments)
    X, y = load_digits(return_X_y=True)
    X /= 16

    here, there = (make_search(options.epochs, device) for device in ("cpu", options.device))
    seconds = {"this process": timed(here, X, y)}
    with connected(options.scheduler) as client:
        # Else Dask takes back copies of scattered data while no worker is using them.
        client.amm.stop()
        workers = client.ncores()
        with joblib.parallel_config("dask", scatter=[X, y]):
            name = f"{len(workers)} workers, {sum(workers.values())} fits at once"
            seconds[name] = timed(there, X, y)

    for name, value in seconds.items():
        print(f"{name:<40}{value:8.2f} s")
    scores = [search.cv_results_["mean_test_score"] for search in (here, there)]
    print(f"largest difference of scores            {np.abs(scores[0] - scores[1]).max():8.2g}")
    print(f"best here   {here.best_params_}, accuracy {here.best_score_:.4f}")
    print(f"best there  {there.best_params_}, accuracy {there.best_score_:.4f}")


if __name__ == "__main__":
    main()
