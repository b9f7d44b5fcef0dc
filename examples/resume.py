"""
Resume: a training that was killed goes on
==========================================

With ``checkpoint_dir`` set, `fit` keeps a file of the running training. This example starts a
training in a process of its own, kills that process as soon as there is a file, and calls the same
`fit` again: once more in a process that is killed, then to the end. Expect the model to be the one
of a training that was never interrupted, bit by bit, although dropout, the order of rows and early
stopping all go by random numbers; and the directory to be empty afterwards.

Run it with ``python examples/resume.py``. It takes a few seconds.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import FeedForwardClassifier

# %%
# The training
# ------------


def train(directory=None, verbose=False):
    """Return a network for the digits. A directory makes its training one that can go on."""
    X, y = load_digits(return_X_y=True)
    network = FeedForwardClassifier(
        (100, 50),
        batch_size=20,
        dropout=0.3,
        early_stopping=True,
        n_iter_no_change=np.inf,
        max_iter=60,
        random_state=0,  # an integer: the training has to be the same one when started again
        verbose=verbose,
        checkpoint_dir=directory,
        checkpoint_every=10,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all epochs are meant to be run
        return network.fit(X / 16, y)


# %%
# A process that dies
# -------------------


def train_and_kill(directory):
    """Train in a process of its own, and kill it when it has saved a file. Return that file."""
    before = {path: path.stat().st_mtime_ns for path in Path(directory).iterdir()}
    process = subprocess.Popen([sys.executable, __file__, directory])  # noqa: S603 (itself)
    try:
        while process.poll() is None:
            for path in Path(directory).glob("*.npz"):
                if path.stat().st_mtime_ns != before.get(path):
                    return path
            time.sleep(0.001)
    finally:
        process.kill()  # as `kill -9` does: nothing in the process hears of it
        process.wait()
    raise RuntimeError("The process has ended before it could be killed.")


def main():
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(2):
            path = train_and_kill(directory)
            print(f"Killed. There is {path.name}, {path.stat().st_size / 1000:.0f} kB.")

        with contextlib.redirect_stdout(io.StringIO()) as printed:
            resumed = train(directory, verbose=True)
        print(printed.getvalue().split(",")[0])  # verbose says from where training goes on
        print(f"Left in the directory: {len(list(Path(directory).iterdir()))} files")

    whole = train()
    same = [
        resumed.loss_curve_ == whole.loss_curve_,
        resumed.validation_scores_ == whole.validation_scores_,
        all(map(np.array_equal, resumed.coefs_, whole.coefs_)),
    ]
    print(f"Epochs: {resumed.n_iter_}, and {whole.n_iter_} without a break")
    print(f"Losses, scores and weights are equal: {all(same)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1])
    else:
        main()
