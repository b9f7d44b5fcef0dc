"""Microseconds per training step: sknn, scikit-learn, skorch and a hand-written torch loop.

    python examples/benchmarks/steps.py [--quick] [--shapes NAME ...] [--dtypes float32 ...]
                                        [--repeats N] [--json FILE]

Method. A step is one update of Adam from one batch. Its time is

    (time of a fit of 1 + k epochs - time of a fit of 1 epoch) / (k * steps per epoch),

so that validation, encoding and the making of the network, which a fit pays once, cancel, and
what an epoch costs (shuffling, keeping the loss, the stop rule) is shared among its steps. The
table shows the median over the repeats, marked ~ where the third quartile is more than 1.3 times
the first: then something else was running, and the number means little. The peers take turns in
one process, in another order in each repeat, because what ran just before has an influence
(threads of a BLAS that still spin, caches); a first round is not counted, and each turn begins
with a fit that is not timed. So what a fit suffers just after another library's products, as in
a Pipeline, is mostly left out. All peers get the same arrays, network, batch size and learning
rate, and shuffle every epoch. All make the same number of steps, except that skorch, being slow,
makes fewer.

What the peers are: scikit-learn's MLPClassifier; skorch's NeuralNet with its default DataLoader,
callbacks and validation switched off; and the loop that a torch user would write for speed, with
autograd, fused Adam and the rows permuted once per epoch instead of gathered per batch. The last
two compute no L2 penalty, which favours them a little. Two classes are one logistic output.

Nothing here asserts anything about time. It asserts that sknn and scikit-learn had the same
losses, so that the same work was timed.
"""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import skorch
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_info

from sknn import FeedForwardClassifier

LEARNING_RATE = 1e-3
PEERS = ("sknn", "scikit-learn", "skorch", "torch")


@dataclass(frozen=True)
class Shape:
    """A network, its data, and how many epochs are timed beyond the first."""

    sizes: tuple  # inputs, hidden layers, classes
    batch: int
    batches: int  # per epoch, all full
    epochs: int

    def data(self, dtype):
        """Rows of standard normal noise; labels of a random linear teacher, a tenth wrong."""
        rng = np.random.RandomState(0)
        n_rows, n_classes = self.batch * self.batches, self.sizes[-1]
        X = rng.standard_normal((n_rows, self.sizes[0]))
        y = (X @ rng.standard_normal((self.sizes[0], n_classes))).argmax(axis=1)
        wrong = rng.uniform(size=n_rows) < 0.1
        y[wrong] = rng.randint(n_classes, size=wrong.sum())
        return X.astype(dtype), y


SHAPES = {
    "4-100-3": Shape((4, 100, 3), 150, 1, 600),
    "64-100-10": Shape((64, 100, 10), 200, 9, 60),
    "14-64-64-2": Shape((14, 64, 64, 2), 200, 10, 60),
    "784-256-128-10": Shape((784, 256, 128, 10), 200, 10, 16),
    "512-1024-1024-10": Shape((512, 1024, 1024, 10), 256, 4, 6),
}


def estimator(cls, shape, epochs):
    return cls(
        hidden_layer_sizes=shape.sizes[1:-1],
        batch_size=shape.batch,
        learning_rate_init=LEARNING_RATE,
        max_iter=epochs,
        # Neither loss nor patience ends a fit: every peer runs the same number of epochs.
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=0,
    )


def torch_parts(shape, X, y):
    """Return the network for torch, its loss function, and the labels as that wants them."""
    sizes = list(shape.sizes)
    if sizes[-1] == 2:
        sizes[-1] = 1
    layers = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers[:-1]).to(torch.from_numpy(X).dtype)
    if sizes[-1] == 1:
        return module, torch.nn.BCEWithLogitsLoss, y[:, None].astype(X.dtype)
    return module, torch.nn.CrossEntropyLoss, y.astype(np.int64)


def fit_skorch(shape, X, y, epochs):
    module, criterion, y = torch_parts(shape, X, y)
    skorch.NeuralNet(
        module,
        criterion,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        max_epochs=epochs,
        batch_size=shape.batch,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
    ).fit(X, y)


def fit_torch(shape, X, y, epochs):
    module, criterion, y = torch_parts(shape, X, y)
    X, y, criterion = torch.from_numpy(X), torch.from_numpy(y), criterion()
    try:
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=True)
    except (RuntimeError, TypeError):  # no fused kernel for this device or version
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    for _ in range(epochs):
        order = torch.randperm(len(X))
        for X_batch, y_batch in zip(
            X[order].split(shape.batch), y[order].split(shape.batch), strict=True
        ):
            optimizer.zero_grad()
            loss = criterion(module(X_batch), y_batch)
            loss.backward()
            optimizer.step()


FITS = {
    "sknn": lambda shape, X, y, epochs: estimator(FeedForwardClassifier, shape, epochs).fit(X, y),
    "scikit-learn": lambda shape, X, y, epochs: estimator(MLPClassifier, shape, epochs).fit(X, y),
    "skorch": fit_skorch,
    "torch": fit_torch,
}


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def check_same_work(shape, X, y):
    """Assert that sknn and scikit-learn start out with the same losses."""
    losses = [FITS[peer](shape, X, y, 2).loss_curve_ for peer in ("sknn", "scikit-learn")]
    np.testing.assert_allclose(*losses, rtol=1e-3 if X.dtype == np.float32 else 1e-6)


def microseconds_per_step(shape, dtype, repeats):
    """Return {peer: (median time of a step in microseconds, whether to trust it)}."""
    X, y = shape.data(dtype)
    check_same_work(shape, X, y)
    times = {peer: [] for peer in PEERS}
    for repeat in range(repeats + 1):
        first = repeat % len(PEERS)
        for peer in PEERS[first:] + PEERS[:first]:
            epochs = max(4, shape.epochs // 4) if peer == "skorch" else shape.epochs
            FITS[peer](shape, X, y, 1)  # settles the threads and caches that the last peer left
            short = seconds(FITS[peer], shape, X, y, 1)
            long = seconds(FITS[peer], shape, X, y, 1 + epochs)
            if repeat > 0:  # the first round is the burn-in
                times[peer].append(1e6 * (long - short) / (epochs * shape.batches))
    quartiles = {peer: np.quantile(values, [0.25, 0.5, 0.75]) for peer, values in times.items()}
    return {
        peer: (float(mid), bool(high <= 1.3 * low)) for peer, (low, mid, high) in quartiles.items()
    }


def fixed_milliseconds(repeats=100):
    """Return the time of a whole fit of one epoch on ten rows, in milliseconds."""
    shape = Shape((4, 100, 3), 10, 1, 1)
    X, y = shape.data("float64")
    times = {"sknn": [], "scikit-learn": []}
    for repeat in range(repeats + 1):
        for peer, values in times.items():
            elapsed = 1e3 * seconds(FITS[peer], shape, X, y, 1)
            if repeat > 0:
                values.append(elapsed)
    return {peer: statistics.median(values) for peer, values in times.items()}


def machine():
    """Return what a reader has to know to compare these times with others."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            processor = next(line for line in lines if line.startswith("model name"))
            processor = processor.split(":")[1].strip()
    except (OSError, StopIteration):
        pass  # not Linux, or a processor that Linux does not name
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "NumPy threads": max(blas, default=1),
        "python": platform.python_version(),
    } | {name: version(name) for name in ("numpy", "scikit-learn", "torch", "skorch")}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps, 3 repeats")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "float64"), default=["float32", "float64"]
    )
    parser.add_argument("--repeats", type=int, help="default: 7, or 3 with --quick")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file as well")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    repeats = arguments.repeats or (3 if arguments.quick else 7)
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print(f"\nmicroseconds per step of Adam, median of {repeats}; ratios are sknn / peer\n")
    columns = ["network", "rows", "dtype", *PEERS, *(f"/ {peer}" for peer in PEERS[1:])]
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * 3 + " ---: |" * (len(columns) - 3))
    results = []
    for name in arguments.shapes:
        shape = SHAPES[name]
        if arguments.quick:
            shape = replace(shape, epochs=max(3, shape.epochs // 4))
        for dtype in arguments.dtypes:
            steps = microseconds_per_step(shape, dtype, repeats)
            times = {peer: time for peer, (time, _) in steps.items()}
            cells = [name, str(shape.batch), dtype]
            cells += [f"{time:.0f}{'' if steady else '~'}" for time, steady in steps.values()]
            cells += [f"{times['sknn'] / times[peer]:.2f}" for peer in PEERS[1:]]
            print("| " + " | ".join(cells) + " |", flush=True)
            results.append({"network": name, "rows": shape.batch, "dtype": dtype} | times)
    fixed = fixed_milliseconds()
    print("\nmilliseconds for a whole fit of one epoch on ten rows (4-100-3, float64): ", end="")
    print(", ".join(f"{peer} {value:.2f}" for peer, value in fixed.items()))
    if arguments.json:
        report = {"machine": facts, "microseconds_per_step": results, "fixed_milliseconds": fixed}
        with open(arguments.json, "w") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    # All peers stop at max_iter by design.
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.manual_seed(0)
    main()
