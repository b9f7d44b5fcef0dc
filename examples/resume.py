"""
Resuming a training that was killed
===================================

With ``checkpoint_dir`` set, `fit` saves checkpoints of the running training. This example starts a
training in a separate process and kills the process as soon as there is a checkpoint. It does this
a second time, with a process that resumes from the checkpoint. Finally, it calls the same `fit`
once more and lets it run to the end. Expect the model to be bit-identical to that of an
uninterrupted training, although dropout, the order of the samples and the split for early stopping
all depend on random numbers. Also expect the directory to be empty at the end.

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
    """Return a network that is fitted on the digits, with checkpoints if there is a directory."""
    X, y = load_digits(return_X_y=True)
    network = FeedForwardClassifier(
        (100, 50),
        batch_size=20,
        dropout=0.3,
        early_stopping=True,
        n_iter_no_change=np.inf,
        max_iter=60,
        random_state=0,  # an integer, so that the second call is the same training
        verbose=verbose,
        checkpoint_dir=directory,
        checkpoint_every=10,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
        return network.fit(X / 16, y)


# %%
# Killing the process
# -------------------


def train_and_kill(directory):
    """Train in a separate process, kill it when it has saved a checkpoint, and return the file."""
    before = {path: path.stat().st_mtime_ns for path in Path(directory).iterdir()}
    process = subprocess.Popen([sys.executable, __file__, directory])  # noqa: S603 (itself)
    try:
        while process.poll() is None:
            for path in Path(directory).glob("*.npz"):
                if path.stat().st_mtime_ns != before.get(path):
                    return path
            time.sleep(0.001)
    finally:
        process.kill()  # like `kill -9`: the process cannot react
        process.wait()
    raise RuntimeError("The process ended before it could be killed.")


def main():
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(2):
            path = train_and_kill(directory)
            print(f"Killed after saving {path.name}, {path.stat().st_size / 1000:.0f} kB.")

        with contextlib.redirect_stdout(io.StringIO()) as printed:
            resumed = train(directory, verbose=True)
        print(printed.getvalue().split(",")[0])  # with verbose, fit prints where it resumes
        print(f"Files left in the directory: {len(list(Path(directory).iterdir()))}")

    whole = train()
    same = [
        resumed.loss_curve_ == whole.loss_curve_,
        resumed.validation_scores_ == whole.validation_scores_,
        all(map(np.array_equal, resumed.coefs_, whole.coefs_)),
    ]
    print(f"Epochs: {resumed.n_iter_} with interruptions, {whole.n_iter_} without")
    print(f"Losses, scores and weights are equal: {all(same)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1])
    else:
        main()
