"""Measure calls with little work: `partial_fit`, `predict`, a fit of one epoch, L-BFGS.

Times are in microseconds. For such calls, the two libraries mainly differ in their overhead:
validation, the creation of the network and its buffers, and threads. The network 64-100-10 is
trained on scikit-learn's digits, and the other network on noise. Each peer repeats its call for a
twentieth of a second. There is a pause before each peer, because idle threads of the previous peer
would slow it down. Both models learn from the same data, and the benchmark asserts that their
losses and probabilities are equal. Calls of `partial_fit` continue with the same model, so their
times are those of a stream of data.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from examples.benchmarks import _data
from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._timing import Options, compared, microseconds, take_turns

PEERS = ("sknn", "scikit-learn")
SIZES = ((64, 100, 10), (14, 64, 64, 2))
ROWS_TO_LEARN = (1, 10, 200)
ROWS_TO_PREDICT = (1, 10, 200, 1797)
LBFGS_ITERATIONS = 50


def data(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 samples and their labels."""
    if network.sizes[0] != 64:
        return network.data(max(ROWS_TO_PREDICT))
    X, y = _data.load("digits", None)
    return X.astype(network.dtype), y


def models_of(network: Network, max_iter: int, **parameters: Any) -> dict[str, Any]:
    """Return an estimator of each peer; a batch has at most 200 samples."""
    parameters["batch_size"] = "auto"
    return {peer: estimator(peer, network, max_iter).set_params(**parameters) for peer in PEERS}


def calls(network: Network, X: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, int, dict]]:
    """Yield the name of each call, the number of samples, and a function for each peer."""
    classes = np.unique(y)
    for n_rows in ROWS_TO_LEARN:
        models = models_of(network, max_iter=200)
        for model in models.values():
            model.partial_fit(X[:n_rows], y[:n_rows], classes=classes)
        agree(models, X[:n_rows], network)
        yield "partial_fit", n_rows, each(models, "partial_fit", X[:n_rows], y[:n_rows])
    models = models_of(network, max_iter=2)
    for model in models.values():
        model.fit(X, y)
    agree(models, X, network)
    for method in ("predict", "predict_proba"):
        for n_rows in ROWS_TO_PREDICT:
            yield method, n_rows, each(models, method, X[:n_rows])
    few = np.arange(10) % len(classes)
    yield "fit, 1 epoch", 10, each(models_of(network, max_iter=1), "fit", X[:10], few)
    models = models_of(network, max_iter=LBFGS_ITERATIONS, solver="lbfgs")
    yield f"fit, {LBFGS_ITERATIONS} of L-BFGS", len(X), each(models, "fit", X, y)


def each(models: dict[str, Any], method: str, *arguments: np.ndarray) -> dict[str, Callable]:
    return {
        peer: functools.partial(getattr(model, method), *arguments)
        for peer, model in models.items()
    }


def agree(models: dict[str, Any], X: np.ndarray, network: Network) -> None:
    """Assert that the peers have trained the same model."""
    tolerance = 1e-6 if network.dtype == "float64" else 1e-2
    np.testing.assert_allclose(*(m.loss_ for m in models.values()), rtol=tolerance)
    np.testing.assert_allclose(*(m.predict_proba(X) for m in models.values()), atol=tolerance)


def run(options: Options) -> Iterator[dict]:
    duration = 0.01 if options.quick else 0.05
    for sizes in SIZES:
        for dtype in ("float64", "float32"):
            network = Network(sizes, 200, dtype=dtype)
            for what, n_rows, of_peers in calls(network, *data(network)):
                labels = {"call": what, "rows": n_rows, "network": network.name, "dtype": dtype}
                measure = {
                    peer: functools.partial(microseconds, call, duration, repeats=1)
                    for peer, call in of_peers.items()
                }
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    results = take_turns(measure, options.count(full=9, quick=2))
                yield compared(labels, results)
