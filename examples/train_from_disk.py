"""Learn from a memory-mapped file that does not fit into memory.

The script writes noisy copies of the digits to a file, with one byte per pixel. It then fits a
network on this file in float32, with early stopping on a tenth of the samples, without ever loading
the complete file. Finally, it computes predictions for all samples, and shows that training on an
array gives the same model. Run it in the top directory of a checkout:

    python examples/train_from_disk.py [--rows 1000000]
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import FeedForwardClassifier


def write(path, n_rows):
    """Write the samples to the file and return their labels."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.RandomState(0)
    labels = np.empty(n_rows, np.uint8)
    file = np.memmap(path, np.uint8, "w+", shape=(n_rows, X.shape[1]))
    for start in range(0, n_rows, 50_000):
        chosen = rng.randint(len(X), size=min(50_000, n_rows - start))
        noisy = X[chosen] + rng.normal(scale=3, size=(len(chosen), X.shape[1]))
        file[start : start + len(chosen)] = noisy.clip(0, 16).round()
        labels[start : start + len(chosen)] = y[chosen]
    file.flush()
    return labels


def network():
    return FeedForwardClassifier(
        (64,),
        dtype="float32",  # precision of the computation; the file contains bytes
        early_stopping=True,
        max_iter=3,
        random_state=0,
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    n_rows = parser.parse_args(arguments).rows
    warnings.simplefilter("ignore", ConvergenceWarning)  # only three epochs on purpose
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits"
        y = write(path, n_rows)
        X = np.memmap(path, np.uint8, "r", shape=(n_rows, 64))
        begin = time.perf_counter()
        model = network().fit(X, y)
        print(
            f"{n_rows} samples, {X.nbytes / 1e6:.0f} MB on disk,"
            f" {4 * X.size / 1e6:.0f} MB in float32"
        )
        print(f"{model.n_iter_} epochs in {time.perf_counter() - begin:.1f} s")
        print(f"validation accuracy {model.best_validation_score_:.3f}")
        print(f"accuracy on all samples, predicted from the file: {model.score(X, y):.3f}")
        in_memory = network().fit(np.array(X), y)
        same = all(map(np.array_equal, model.coefs_, in_memory.coefs_))
        print(f"same weights as after training on an array: {same}")
        del X
    return model, in_memory


if __name__ == "__main__":
    main()
