"""Measure `predict` and `predict_proba` for one sample (latency) and for many.

Times are in milliseconds, for a network 64-100-10. The estimators are compared with the bare torch
module in inference mode, followed by an argmax or a softmax and the conversion to a NumPy array.
The module does not validate its input and holds the outputs of all samples at once, whereas the
estimators check every value for NaN and infinity. Short calls are repeated, and the table shows the
time per call. The benchmark asserts that the probabilities of sknn and scikit-learn are equal.
"""

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch

from examples.benchmarks._peers import Network, estimator, torch_module
from examples.benchmarks._timing import Options, compared, microseconds, take_turns

PEERS = ("sknn", "scikit-learn")


def torch_calls(network: Network) -> dict[str, Callable]:
    """Return the functions that a torch user would write for each method."""
    module, _ = torch_module(network)
    module.eval()

    @torch.inference_mode()
    def predict(X):
        return module(torch.from_numpy(X)).argmax(1).numpy()

    @torch.inference_mode()
    def predict_proba(X):
        return module(torch.from_numpy(X)).softmax(1).numpy()

    return {"predict": predict, "predict_proba": predict_proba}


def milliseconds(call: Callable, rows: np.ndarray, quick: bool) -> float:
    return 1e-3 * microseconds(lambda: call(rows), 0.05 if quick else 0.1, repeats=1)


def run(options: Options) -> Iterator[dict]:
    for dtype in ("float32",) if options.quick else ("float32", "float64"):
        network = Network((64, 100, 10), 200, dtype=dtype)
        X, y = network.data(2000)
        models = {peer: estimator(peer, network, 2).fit(X, y) for peer in PEERS}
        ours, theirs = (model.predict_proba(X) for model in models.values())
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        by_hand = torch_calls(network)
        for n_rows in (1, 1000, 100_000 if options.quick else 1_000_000):
            rows = np.random.default_rng(0).standard_normal((n_rows, 64), dtype)
            for method in by_hand:
                calls = {peer: getattr(model, method) for peer, model in models.items()}
                calls["torch"] = by_hand[method]
                measure = {
                    peer: functools.partial(milliseconds, call, rows, options.quick)
                    for peer, call in calls.items()
                }
                labels = {"method": method, "rows": n_rows, "dtype": dtype}
                row = compared(labels, take_turns(measure, options.count(full=5, quick=1)))
                yield {**row, "sknn, rows/s": round(1e3 * n_rows / row["sknn"])}
