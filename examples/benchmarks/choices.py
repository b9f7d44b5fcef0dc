"""Measure the facts that the design of the engine is based on.

    python -m examples.benchmarks.choices

- *layout*: the products and the softmax of one training step, with activations stored with one row
  per sample or with one column per sample (feature-major, as in sknn), in plain torch.
- *threads*: a training step of sknn on one thread and on all threads, by the number of operations
  of a step. Above `sknn._platform._threads.PARALLEL_FROM`, all threads are faster. In this
  measurement, on a machine with two cores, only the products run on several threads.
- *density*: a training step of sknn on sparse data and on the same data as a dense array, by the
  share of nonzero values. Above `sknn._data._rows.DENSE_FROM`, the dense array is faster.
- *who*: a training step of sknn with the products of NumPy and with those of torch, for all sizes.
- *sparse products*: the sparse products of SciPy, which sknn uses, and those of torch's CSR
  tensors.
- *products*: the matrix products of a layer by torch and by NumPy, which limit the speed of large
  steps.
- *epoch*: an epoch with a single batch, compared with the step and update of that batch. The
  difference is the cost of skorch, the stopping rule, shuffling and the saved state. The time to
  create and initialize the net is measured as well.

Times are medians over repetitions in microseconds, after a warm-up. Nothing is asserted.
"""

import time
import warnings

import numpy as np
import scipy.sparse
import torch
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from examples.benchmarks._timing import SPINNING, microseconds
from sknn import FeedForwardClassifier
from sknn._data._batches import Batches
from sknn._data._rows import DENSE_FROM
from sknn._network._architecture import Network
from sknn._network._initial_weights import initial_parameters
from sknn._network._loss_meter import LossMeter
from sknn._network._losses import LOSSES
from sknn._network._matrix_products import NumPyProducts, TorchProducts
from sknn._network._parameters import FlatParameters
from sknn._network._solvers import Adam
from sknn._network._steps import ClosedFormStep, flops_per_step
from sknn._platform._threads import is_worth_sharing

SHAPES = [
    ((4, 100, 3), 150),
    ((64, 100, 10), 200),
    ((14, 64, 64, 2), 200),
    ((64, 200, 10), 200),
    ((64, 200, 100, 10), 200),
    ((100, 200, 100, 10), 300),
    ((200, 200, 100, 10), 400),
    ((784, 256, 128, 10), 200),
]


def training_step(X, units, kind=NumPyProducts, input_major=False):
    """Return a function that runs a step and an update of sknn on a single batch."""
    dtype = torch.float32 if X.dtype == np.float32 else torch.float64
    parameters = FlatParameters(units, 2, dtype=dtype, input_major=input_major)
    parameters.write(*initial_parameters(units, "relu", np.random.RandomState(0)))
    multiplying = kind(parameters)
    network = Network(units, ("relu",) * (len(units) - 2))
    step = ClosedFormStep(multiplying, network, LOSSES["multiclass_log_loss"], 1e-4)
    n_rows, solver = X.shape[0], Adam(parameters)
    y = np.random.RandomState(1).randint(0, units[-1], (n_rows, 1))
    (batch,) = Batches(
        X,
        y,
        batch_size=n_rows,
        device=torch.device("cpu"),
        dtype=multiplying.dtype,
        operand=multiplying.operand,
    )
    slot = LossMeter(step, n_rows, n_rows).slot(batch)

    def run():
        with torch.inference_mode():
            step(batch, slot)
            solver.update()

    return run


def products(units, n_rows, feature_major):
    """Return a function that computes the products and the softmax of a step in plain torch."""
    n_in, n_hidden, n_out = units
    new = torch.randn
    if feature_major:
        X, h, z = new(n_in, n_rows), new(n_hidden, n_rows), new(n_out, n_rows)
        W, V = new(n_hidden, n_in), new(n_out, n_hidden)
        pairs = [(W, X, h), (V, h, z), (z, h.t(), V), (V.t(), z, h), (h, X.t(), W)]
    else:
        X, h, z = new(n_rows, n_in), new(n_rows, n_hidden), new(n_rows, n_out)
        W, V = new(n_in, n_hidden), new(n_hidden, n_out)
        pairs = [(X, W, h), (h, V, z), (h.t(), z, V), (z, V.t(), h), (X.t(), h, W)]
    outs = [torch.empty_like(out) for _, _, out in pairs]
    p = torch.empty_like(z)

    def run():
        with torch.inference_mode():
            for (left, right, _), out in zip(pairs, outs, strict=True):
                torch.mm(left, right, out=out)
            torch.softmax(z, 0 if feature_major else 1, out=p)

    return run


def print_layout():
    print("\nlayout, float32, one thread: products and softmax of a step")
    torch.set_num_threads(1)
    for units, n_rows in SHAPES:
        if len(units) == 3:
            rows = microseconds(products(units, n_rows, feature_major=False))
            columns = microseconds(products(units, n_rows, feature_major=True))
            name = "-".join(map(str, units))
            print(f"{name:<20} rows {rows:8.1f}  columns {columns:8.1f}  {columns / rows:5.2f}")


def print_threads(n_threads):
    print(f"\nthreads, float32: a step on one thread and on {n_threads} of NumPy's BLAS")
    torch.set_num_threads(1)
    for units, n_rows in SHAPES:
        run = training_step(np.random.RandomState(0).randn(n_rows, units[0]).astype("f"), units)
        times = []
        for number in (1, n_threads):
            with threadpool_limits(number, user_api="blas"):
                times.append(microseconds(run))
        flops = flops_per_step(units, n_rows)
        side = "all" if is_worth_sharing(flops) else "one"
        name = "-".join(map(str, units))
        print(
            f"{name:<20} {flops:10.1e} operations  one {times[0]:8.1f}  all {times[1]:8.1f}"
            f"  {times[1] / times[0]:5.2f}  sknn takes {side}"
        )


def print_who(n_threads):
    print(f"\nwho multiplies, on up to {n_threads} threads: a step by NumPy's products, by torch's")
    for dtype in ("float32", "float64"):
        for units, n_rows in [*SHAPES, ((512, 1024, 1024, 10), 256)]:
            rows = np.random.RandomState(0).randn(n_rows, units[0]).astype(dtype)
            flops, times = flops_per_step(units, n_rows, rows.dtype), []
            for kind in (NumPyProducts, TorchProducts):
                torch.set_num_threads(n_threads)
                time.sleep(SPINNING)
                with kind.threads(flops):
                    times.append(microseconds(training_step(rows, units, kind)))
            name = "-".join(map(str, units))
            ours, theirs = times
            print(f"{dtype}  {name:<20} {ours:9.1f} {theirs:9.1f}  {ours / theirs:5.2f}")


def print_density():
    print("\ndensity, float32, one thread: a step of 200 rows, 1000-100-10")
    torch.set_num_threads(1)
    units = (1000, 100, 10)
    for density in (0.01, 0.03, 0.05, 0.09, 0.15, 0.3):
        X = scipy.sparse.random(200, 1000, density, "csr", "f", random_state=0)
        with threadpool_limits(1, user_api="blas"):
            dense = microseconds(training_step(X.toarray(), units))
            # If all samples are in one batch, they are multiplied without conversion.
            sparse = microseconds(training_step(X, units, input_major=True))
        side = "sparse" if density < DENSE_FROM else "dense"
        print(
            f"{density:5.2f}  sparse {sparse:8.1f}  dense {dense:8.1f}  {sparse / dense:5.2f}"
            f"  sknn takes {side}"
        )


def print_sparse_products():
    print("\nsparse products, float32, one thread: 200 rows by 100 units, by SciPy and by torch")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Sparse")
    for n_features, density in ((1000, 0.01), (1000, 0.05), (10_000, 0.01)):
        X = scipy.sparse.random(200, n_features, density, "csr", "f", random_state=0)
        W, D = np.ones((n_features, 100), "f"), np.ones((200, 100), "f")

        def by_torch(rows, right):
            parts = map(torch.from_numpy, (rows.indptr, rows.indices, rows.data))
            return torch.sparse_csr_tensor(*parts, rows.shape) @ torch.from_numpy(right)

        calls = {
            "forward": (lambda X=X, W=W: X @ W, lambda X=X, W=W: by_torch(X, W)),
            # torch cannot multiply a transposed CSR matrix, so it gets the CSR matrix of the
            # transpose.
            "backward": (lambda X=X, D=D: X.T @ D, lambda X=X, D=D: by_torch(X.T.tocsr(), D)),
        }
        for name, (ours, theirs) in calls.items():
            ours, theirs = microseconds(ours), microseconds(theirs)
            print(
                f"{n_features:6d} features, {density:.0%} set  {name:<9}"
                f" SciPy {ours:8.1f}  torch {theirs:8.1f}  {ours / theirs:5.2f}"
            )


def print_products(n_threads):
    print(f"\nproducts on {n_threads} threads: torch, NumPy, and torch / NumPy")
    torch.set_num_threads(n_threads)
    for dtype in ("float32", "float64"):
        for m, k, n in ((256, 784, 200), (1024, 1024, 256), (1024, 256, 1024)):
            rng = np.random.RandomState(0)
            left, right = (rng.randn(*shape).astype(dtype) for shape in ((m, k), (k, n)))
            out = np.empty((m, n), dtype)
            theirs = microseconds(lambda a=left, b=right, c=out: np.dot(a, b, out=c))
            time.sleep(SPINNING)
            tensors = [torch.from_numpy(array) for array in (left, right, out)]
            ours = microseconds(lambda t=tensors: torch.mm(t[0], t[1], out=t[2]))
            print(f"{dtype}  {m}x{k}x{n:<6} {ours:9.0f} {theirs:9.0f}  {ours / theirs:5.2f}")


def print_epoch():
    print("\nepoch, float32: 4-100-3, 150 rows in one batch")
    units, X = (4, 100, 3), np.random.RandomState(0).randn(150, 4).astype("f")
    y = np.random.RandomState(1).randint(0, 3, 150)
    torch.set_num_threads(1)
    step = microseconds(training_step(X, units))

    def fit(max_iter):
        return FeedForwardClassifier(max_iter=max_iter, tol=0, n_iter_no_change=np.inf).fit(X, y)

    short, long = (microseconds(lambda n=n: fit(n), seconds=0.5) for n in (1, 1001))
    epoch = (long - short) / 1000
    print(f"epoch {epoch:8.1f}  step and update {step:8.1f}  the rest {epoch - step:8.1f}")
    model = fit(1)
    print(f"a skorch net made, initialized and filled {microseconds(lambda: model.net_):8.1f}")


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    n_threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {n_threads} threads, NumPy {np.__version__}")
    print_layout()
    print_threads(n_threads)
    print_who(n_threads)
    print_density()
    print_sparse_products()
    print_products(n_threads)
    print_epoch()


if __name__ == "__main__":
    main()
