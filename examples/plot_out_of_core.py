"""
Learning from a file that does not fit into memory
==================================================

How can a network learn from a file piece by piece, and does it benefit from reading more of it? The
file in this example contains copies of handwritten digits as bytes. Some of the copies are shifted
by one pixel, and all of them have noise. :meth:`~sknn.FeedForwardClassifier.partial_fit` is called
with one piece of the file after the other, so that only one piece is in memory at a time. After
each piece, the network is evaluated on digits that are not in the file.

Expect the accuracy to increase with the number of samples that were read. At the end it is higher
than the accuracy of a linear model, and higher than the accuracy of a network that learns from the
original digits without copies.

Run it with ``python examples/plot_out_of_core.py``. It needs matplotlib and takes some seconds. The
examples ``train_from_disk.py`` and ``stream_parquet.py`` use larger files and another file format,
and measure the speed.
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
# The copies are made from 200 of the digits, and the other digits form the test set. A memory map
# is an array whose data is stored in a file. It can also be written piece by piece.

X, y = load_digits(return_X_y=True)
X_few, X_test, y_few, y_test = train_test_split(X, y, train_size=200, stratify=y, random_state=0)
rng = np.random.default_rng(0)


def copies(n_rows):
    """Return shifted, noisy copies of the few digits, and their labels."""
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
print(f"{N_ROWS:,} samples, {path.stat().st_size / 1e6:.1f} MB on disk")
megabytes = [4 * 64 * n_rows / 1e6 for n_rows in (N_ROWS_OF_A_PIECE, N_ROWS)]
print(f"As float32: {megabytes[0]:.1f} MB for a piece, {megabytes[1]:.1f} MB for all samples")

# %%
# Learning piece by piece
# -----------------------
# Each call makes one pass over the piece, in batches. The first call needs the list of all classes,
# because a single piece might not contain all of them. A linear model is trained on the same pieces
# for comparison.

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
    print(f"{name}: accuracy {accuracies[0]:.3f} after {rows_seen[0]:,} samples,", end=" ")
    print(f"{accuracies[-1]:.3f} after {rows_seen[-1]:,}")

# %%
# For several epochs, pass the memory map to `fit`, which reads it one batch at a time. As a
# reference, the next network is fitted on the 200 original digits until it converges.

few = FeedForwardClassifier((64,), learning_rate_init=0.003, max_iter=1000, random_state=0)
few.fit(X_few / 16, y_few)
accuracy_of_few = few.score(X_test / 16, y_test)
print(f"Only the {len(X_few)} original digits: {accuracy_of_few:.3f} after {few.t_:,} samples")
del file, stored  # Windows requires files to be closed before they are removed
folder.cleanup()

# %%
# Learning curve
# --------------

figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
for (name, accuracies), style in zip(curves.items(), ("-", "--"), strict=True):
    axes.plot(rows_seen, accuracies, style, label=f"{name}, partial_fit")
of_few = f"network, only the {len(X_few)} original digits"
axes.axhline(accuracy_of_few, color="tab:gray", linestyle=":", label=of_few)
axes.set(
    title="Accuracy on digits that are not in the file",
    xlabel="samples read from the file",
    ylabel="test accuracy",
    xlim=(0, N_ROWS),
)
axes.legend(loc="lower right")
plt.show()

# %%
# The first pieces improve the accuracy most. With the later pieces, the network becomes more
# accurate than the one that was only trained on the original digits, so it is worth reading more
# samples from the file.
