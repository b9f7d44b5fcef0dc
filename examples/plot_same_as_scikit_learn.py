"""
Numerical equality with scikit-learn's networks
===============================================

With the same data, parameters and seed, does :class:`~sknn.FeedForwardClassifier` learn the same
network as :class:`~sklearn.neural_network.MLPClassifier`? Both start from the same weights and
process the samples in the same order. They only add numbers in a different order, which causes
different rounding errors. This example measures the difference after each epoch.

Expect differences of the size of rounding errors: below 1e-12 in float64 after 50 epochs of Adam or
stochastic gradient descent, and below 1e-4 in float32. With L-BFGS, differences grow faster,
because it compares losses to determine its step size.

Run it with ``python examples/plot_same_as_scikit_learn.py``. It needs matplotlib and takes some
seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
# The number of epochs is fixed on purpose.
warnings.simplefilter("ignore", ConvergenceWarning)
N_EPOCHS = 50
X, y = load_digits(return_X_y=True)
X, y = X[:600] / 16, y[:600]

# %%
# Training both networks side by side
# -----------------------------------
# :meth:`~sknn.FeedForwardClassifier.partial_fit` trains for one epoch, so the weights can be
# compared after each epoch.


def largest_difference(ours, theirs):
    """Return the largest difference of any weight or bias."""
    pairs = zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


def side_by_side(X, **parameters):
    """Return the differences of the weights and losses after each epoch, and both models."""
    ours, theirs = (
        kind((50,), random_state=0, **parameters) for kind in (FeedForwardClassifier, MLPClassifier)
    )
    weights = []
    for _ in range(N_EPOCHS):
        for model in (ours, theirs):
            model.partial_fit(X, y, classes=np.arange(10))
        weights.append(largest_difference(ours, theirs))
    losses = np.abs(np.array(ours.loss_curve_) - theirs.loss_curve_)
    return np.array(weights), losses, (ours, theirs)


# On small data, several threads spend most of the time waiting for each other.
with threadpool_limits(1):
    runs = {
        "adam": side_by_side(X, solver="adam"),
        "sgd": side_by_side(X, solver="sgd", learning_rate_init=0.1),
        "adam, float32": side_by_side(X.astype(np.float32), solver="adam"),
    }
print(f"Largest difference after {N_EPOCHS} epochs")
print(f"{'':<16s}weights    loss  predictions")
for name, (weights, losses, (ours, theirs)) in runs.items():
    different = np.sum(ours.predict(X) != theirs.predict(X))
    print(f"{name:<16s}{weights[-1]:7.0e}{losses[-1]:8.0e}{different:13d}")

# %%
# L-BFGS has iterations instead of epochs. It is trained from scratch for each number of iterations.

iterations = [1, 2, 5, 10, 20, 40]
of_lbfgs = []
with threadpool_limits(1):
    for n_iterations in iterations:
        pair = [
            kind((50,), solver="lbfgs", max_iter=n_iterations, random_state=0).fit(X, y)
            for kind in (FeedForwardClassifier, MLPClassifier)
        ]
        of_lbfgs.append(largest_difference(*pair))
print(f"lbfgs, {iterations[-1]} iterations: {of_lbfgs[-1]:.0e}")

# %%
# Plotting the differences
# ------------------------
# Differences of exactly zero cannot be shown on a logarithmic axis and are left out. The two
# horizontal lines mark the relative rounding errors of float32 and float64.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained", sharey=True)
epochs = np.arange(1, N_EPOCHS + 1)
for (name, (weights, losses, _)), style in zip(runs.items(), ("-", "--", "-."), strict=True):
    left.plot(epochs, np.where(weights > 0, weights, np.nan), style, label=name)
    right.plot(epochs, np.where(losses > 0, losses, np.nan), style, marker=".", label=name)
left.plot(iterations, of_lbfgs, "o:", label="lbfgs, by iterations")
for axis in (left, right):
    for dtype in (np.float32, np.float64):
        axis.axhline(np.finfo(dtype).eps, color="tab:gray", linewidth=0.8, zorder=0)
    axis.set(xlabel="epoch", yscale="log", ylim=(1e-18, 1e-2))
for dtype in (np.float32, np.float64):
    place = {"xy": (1.01, np.finfo(dtype).eps), "xycoords": right.get_yaxis_transform()}
    right.annotate(dtype.__name__, **place, va="center", color="tab:gray")
left.set(title="Weights and biases", ylabel="largest difference")
right.set(title="Training loss", ylabel="difference")
left.legend(loc="upper left", ncols=2)
plt.show()

# %%
# After 50 epochs, the two networks only differ by rounding errors. You can use either of them to
# reproduce a result that was published with scikit-learn.
