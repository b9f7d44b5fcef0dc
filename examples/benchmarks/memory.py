"""Measure the peak memory of `fit` and `predict`, and the size of the pickle.

Sizes are in megabytes. Each estimator is measured in a new process, after a small fit and a
prediction that load everything that is loaded late. The memory that the process holds before the
call is subtracted: the libraries, X and y, and the fitted model in the case of `predict`. The
memory of `fit` therefore consists of the new weights, the state of the solver and copies of the
data, and that of `predict` includes the result. `fit` runs one epoch, and `predict` uses the same
data.
"""

import pickle
from collections.abc import Iterator

from examples.benchmarks._fresh import in_fresh_process, megabytes_beyond
from examples.benchmarks._peers import Network, estimator
from examples.benchmarks._timing import Options, Summary, compared

PEERS = ("sknn", "scikit-learn")
CASES = [  # network, samples, share of nonzero values
    (Network((64, 100, 10), 200), 300_000, 1.0),
    (Network((784, 256, 128, 10), 200), 30_000, 1.0),
    (Network((512, 1024, 1024, 10), 256), 10_000, 1.0),
    (Network((10_000, 100, 10), 200), 20_000, 0.01),
]


def measure(peer: str, network: Network, n_rows: int, density: float) -> dict[str, float]:
    """Return the sizes for one estimator in megabytes; runs in a new process."""
    X, y = network.data(n_rows, density)
    estimator(peer, network, 1).fit(X[:1000], y[:1000]).predict(X[:1000])
    model = estimator(peer, network, 1)
    fit, _ = megabytes_beyond(model.fit, X, y)
    predict, _ = megabytes_beyond(model.predict, X)
    return {"fit": fit, "predict": predict, "pickle": len(pickle.dumps(model)) / 1e6}


def run(options: Options) -> Iterator[dict]:
    for network, n_rows, density in CASES[: 1 if options.quick else None]:
        n_rows = n_rows // 10 if options.quick else n_rows
        found = {peer: in_fresh_process(measure, peer, network, n_rows, density) for peer in PEERS}
        rows = f"{n_rows}" if density == 1 else f"{n_rows}, CSR, {density:.0%} set"
        for of in ("fit", "predict", "pickle"):
            labels = {"of": of, "network": network.name, "rows": rows, "dtype": network.dtype}
            yield compared(labels, {peer: Summary(found[peer][of], True) for peer in PEERS})
