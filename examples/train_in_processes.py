"""
Several processes train one network
===================================

With ``process_group="world"`` every process calls `fit` with the rows that it has, and all of them
end with the network that one process would learn from all rows. This example gives each process a
part of the digits, of unequal size, fits them together, and then fits all rows in one process.
Expect the two networks to differ by rounding only.

Start it by ``torchrun --nproc-per-node=2 examples/train_in_processes.py``, with as many
processes as you like; docs/processes.md says how on several machines. Without torchrun, as in
``python examples/train_in_processes.py``, it starts two processes of itself. It takes some
seconds, most of which are imports.
"""

import argparse
import os
import subprocess
import sys
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import FeedForwardClassifier

# %%
# The rows of a process
# ---------------------
#
# In earnest each process would read a file of its own. The number of the process, and of all, are
# what torchrun puts into the environment.


def rows_of(rank, size):
    """Return the process's part of the digits, pixels between 0 and 1, and their labels."""
    X, y = load_digits(return_X_y=True)
    ends = len(X) * np.arange(size + 1) ** 2 // size**2  # the later, the more
    rows = slice(ends[rank], ends[rank + 1])
    return X[rows] / 16, y[rows]


# %%
# The training
# ------------
#
# It is the same line in each process. `random_state` counts in the first, and only there are lines
# printed.


def network(**parameters):
    """Return a network that is not fitted yet."""
    return FeedForwardClassifier(
        (50,), max_iter=30, early_stopping=True, random_state=0, **parameters
    )


def train(checkpoint_dir):
    """Train with the other processes; the first one compares the result with its own."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    X, y = rows_of(rank, size)
    print(f"Process {rank} of {size}: {len(X)} rows", flush=True)
    together = network(process_group="world", checkpoint_dir=checkpoint_dir).fit(X, y)

    if rank == 0:
        X, y = rows_of(0, 1)
        alone = network().fit(X, y)
        differences = [
            np.abs(ours - its).max()
            for ours, its in zip(together.coefs_, alone.coefs_, strict=True)
        ]
        print(f"Epochs: {together.n_iter_} together, {alone.n_iter_} alone")
        print(f"Accuracy: {together.score(X, y):.4f} together, {alone.score(X, y):.4f} alone")
        print(f"Weights, largest difference: {max(differences):.1e}")


# %%
# The start
# ---------


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--checkpoint-dir", help="keep the training here, to go on if it is killed")
    arguments = parser.parse_args()
    if "RANK" in os.environ:
        warnings.simplefilter("ignore", ConvergenceWarning)  # 30 epochs will do here
        train(arguments.checkpoint_dir)
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run"]
        options = ["--standalone", "--nproc-per-node=2"]
        command = [*torchrun, *options, __file__, *sys.argv[1:]]
        subprocess.run(command, check=True)  # noqa: S603 (itself, with its own arguments)


if __name__ == "__main__":
    main()
