"""
Learning from a file that need not fit into memory
==================================================

How does a network learn from rows that are in a file, piece by piece, and is it worth reading more
of them? The file holds copies of handwritten digits, as bytes: some are moved by a pixel, and all
have noise. :meth:`~sknn.FeedForwardClassifier.partial_fit` is called with one piece after the
other, so that only one is in memory, and after each the network is tried on digits that are not in
the file.

Expect the accuracy to rise with the rows that were read, and to end above that of a linear model
and above that of a network that learns the digits as they are, without copies.

Run it with ``python examples/plot_out_of_core.py``. It needs matplotlib and takes some seconds. For
more rows, more kinds of files and speed see ``train_from_disk.py`` and ``stream_parquet.py``.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
N_ROWS = 60_000
N_ROWS_OF_A_PIECE = 2_000

# %%
# The file
# --------
# 200 of the digits are copied, the others are for the test. A memory map is an array whose rows are
# in a file: what is written to it goes there, and so it is also made piece by piece.

X, y = load_digits(return_X_y=True)
X_few, X_test, y_few, y_test = train_test_split(X, y, train_size=200, stratify=y, random_state=0)
rng = np.random.default_rng(0)


def copies(n_rows):
    """Return digits that are moved, noisy copies of the few, and their labels."""
    chosen = rng.integers(len(X_few), size=n_rows)
    images = np.pad(X_few[chosen].reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moves = 1 + rng.choice([-1, 0, 1], size=(n_rows, 2), p=[1 / 8, 3 / 4, 1 / 8])
    rows, columns = moves[:, :1] + np.arange(8), moves[:, 1:] + np.arange(8)
    moved = images[np.arange(n_rows)[:, None, None], rows[:, :, None], columns[:, None, :]]
    noisy = moved + rng.normal(scale=2, size=moved.shape)
    return noisy.clip(0, 16).round().reshape(n_rows, 64).astype(np.uint8), y_few[chosen]


folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "digits"
file = np.memmap(path, np.uint8, "w+", shape=(N_ROWS, 64))
labels = np.empty(N_ROWS, y.dtype)
pieces = [slice(start, start + N_ROWS_OF_A_PIECE) for start in range(0, N_ROWS, N_ROWS_OF_A_PIECE)]
for piece in pieces:
    file[piece], labels[piece] = copies(N_ROWS_OF_A_PIECE)
file.flush()
print(f"{N_ROWS:,} rows, {path.stat().st_size / 1e6:.1f} MB on disk; a piece as float32 is")
megabytes = [4 * 64 * n_rows / 1e6 for n_rows in (N_ROWS_OF_A_PIECE, N_ROWS)]
print(f"{megabytes[0]:.1f} MB, all of them would be {megabytes[1]:.1f} MB")

# %%
# Piece by piece
# --------------
# One call goes once over the piece, in batches. The labels that there will be are said in the first
# call, as a piece need not have all of them. A linear model learns beside it.

network = FeedForwardClassifier((64,), batch_size=100, learning_rate_init=0.003, random_state=0)
linear = SGDClassifier(loss="log_loss", alpha=1e-3, random_state=0)
stored = np.memmap(path, np.uint8, "r", shape=(N_ROWS, 64))
rows_seen, curves = [], {"network": [], "linear model": []}
for piece in pieces:
    X_piece = stored[piece].astype(np.float32) / 16
    for name, model in {"network": network, "linear model": linear}.items():
        model.partial_fit(X_piece, labels[piece], classes=np.arange(10))
        curves[name].append(model.score((X_test / 16).astype(np.float32), y_test))
    rows_seen.append(piece.stop)
for name, accuracies in curves.items():
    print(f"{name}: accuracy {accuracies[0]:.3f} after {rows_seen[0]:,} rows,", end=" ")
    print(f"{accuracies[-1]:.3f} after {rows_seen[-1]:,}")

# %%
# `fit` reads the memory map itself, a batch at a time, where several epochs are wanted. As a
# reference, here is the network that learns from the 200 digits as they are, until it knows them.

few = FeedForwardClassifier((64,), learning_rate_init=0.003, max_iter=1000, random_state=0)
few.fit(X_few / 16, y_few)
accuracy_of_few = few.score(X_test / 16, y_test)
print(f"From the {len(X_few)} digits alone: {accuracy_of_few:.3f}, after {few.t_:,} rows")
del file, stored  # closes them, which Windows asks for before they are removed
folder.cleanup()

# %%
# The learning curve
# ------------------

figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
for (name, accuracies), style in zip(curves.items(), ("-", "--"), strict=True):
    axes.plot(rows_seen, accuracies, style, label=f"{name}, partial_fit")
of_few = f"network, the {len(X_few)} digits alone"
axes.axhline(accuracy_of_few, color="tab:gray", linestyle=":", label=of_few)
axes.set(
    title="Digits that are not in the file",
    xlabel="rows read from the file",
    ylabel="test accuracy",
    xlim=(0, N_ROWS),
)
axes.legend(loc="lower right")
plt.show()

# %%
# The first pieces do most, and the later ones still bring the network beyond the one that has only
# seen the digits as they are: rows in a file, as many as you like, are worth reading.
