"""
Training one network in several processes
=========================================

With ``process_group="world"``, every process calls `fit` with its own part of the data, and all
processes get the network that a single process would learn from the complete data. In this example,
each process has a part of the digits, and the parts differ in size. The processes train one network
together. The first process then trains the same network by itself on the complete data. Expect the
two networks to differ only by rounding errors.

Start it with ``torchrun --nproc-per-node=2 examples/train_in_processes.py``, with as many processes
as you like. docs/processes.md explains how to use several machines. Without torchrun, as in
``python examples/train_in_processes.py``, the script starts two processes itself. It takes some
seconds, most of which are spent on imports.
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
# The data of a process
# ---------------------
#
# In a real application, each process would read its own file. torchrun sets the number of each
# process and the number of processes in environment variables.


def rows_of(rank, size):
    """Return this process's part of the digits, with pixels between 0 and 1, and the labels."""
    X, y = load_digits(return_X_y=True)
    ends = len(X) * np.arange(size + 1) ** 2 // size**2  # later parts are larger
    rows = slice(ends[rank], ends[rank + 1])
    return X[rows] / 16, y[rows]


# %%
# Training
# --------
#
# All processes run the same code. Only the `random_state` of the first process is used, and `fit`
# only prints in this process.


def network(**parameters):
    """Return an unfitted network."""
    return FeedForwardClassifier(
        (50,), max_iter=30, early_stopping=True, random_state=0, **parameters
    )


def train(checkpoint_dir):
    """Train together with the other processes. The first process then compares the result."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    X, y = rows_of(rank, size)
    print(f"Process {rank} of {size}: {len(X)} samples", flush=True)
    together = network(process_group="world", checkpoint_dir=checkpoint_dir).fit(X, y)

    if rank == 0:
        X, y = rows_of(0, 1)
        alone = network().fit(X, y)
        differences = [
            np.abs(ours - its).max()
            for ours, its in zip(together.coefs_, alone.coefs_, strict=True)
        ]
        print(f"Epochs: {together.n_iter_} together, {alone.n_iter_} in one process")
        print(
            f"Accuracy: {together.score(X, y):.4f} together, {alone.score(X, y):.4f} in one process"
        )
        print(f"Largest difference between the weights: {max(differences):.1e}")


# %%
# Starting the processes
# ----------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--checkpoint-dir", help="save checkpoints here, to resume after a kill")
    arguments = parser.parse_args()
    if "RANK" in os.environ:
        warnings.simplefilter("ignore", ConvergenceWarning)  # 30 epochs are enough here
        train(arguments.checkpoint_dir)
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run"]
        options = ["--standalone", "--nproc-per-node=2"]
        command = [*torchrun, *options, __file__, *sys.argv[1:]]
        subprocess.run(command, check=True)  # noqa: S603 (itself, with its own arguments)


if __name__ == "__main__":
    main()
