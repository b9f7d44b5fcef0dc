"""
What the hidden units learn
===========================

What does a unit of the first layer look for? It multiplies each pixel of a handwritten digit by a
weight of its own, so its weights can be looked at as an image of 8 x 8 pixels: red where ink
excites the unit, blue where ink holds it back.

Expect noise before training, patterns after it, and smoother ones with a penalty `alpha`.
Two numbers say so without a look. The weights of *neighbouring* pixels have nothing to do with each
other at first, and resemble each other in the end. And the pixels that are white in each of the
digits learned from teach nothing: their weights stay as they were drawn, unless a penalty takes
them away.

Run it with ``python examples/plot_hidden_units.py``. It needs matplotlib and takes some seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
# All epochs are meant to be run.
warnings.simplefilter("ignore", ConvergenceWarning)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=1 / 3, stratify=y, random_state=0
)
blank = (X_train == 0).all(axis=0)
print(f"{blank.sum()} of 64 pixels are white in each of the {len(X_train)} training rows")

# %%
# Before and after
# ----------------
# With ``learning_rate_init=1e-12`` an epoch leaves the weights where they begin, which are the same
# in all of the networks, as the seed is.


def train(alpha, max_iter=60, learning_rate_init=0.003):
    """Return the network, trained."""
    network = FeedForwardClassifier(
        (12,),
        alpha=alpha,
        learning_rate_init=learning_rate_init,
        batch_size=50,
        max_iter=max_iter,
        n_iter_no_change=np.inf,
        random_state=0,
    )
    return network.fit(X_train, y_train)


networks = {
    "before training": train(0.0, max_iter=1, learning_rate_init=1e-12),
    "alpha=0": train(0.0),
    "alpha=0.1": train(0.1),
    "alpha=1": train(1.0),
}

# %%
# Two numbers
# -----------


def likeness_of_neighbours(weights):
    """Return the correlation of the weights of pixels that are side by side or one upon another."""
    images = weights.T.reshape(-1, 8, 8)
    first = np.r_[images[:, :, :-1].ravel(), images[:, :-1, :].ravel()]
    second = np.r_[images[:, :, 1:].ravel(), images[:, 1:, :].ravel()]
    return np.corrcoef(first, second)[0, 1]


likeness = {name: likeness_of_neighbours(n.coefs_[0]) for name, n in networks.items()}
of_blank = {name: np.abs(n.coefs_[0][blank]).mean() for name, n in networks.items()}
accuracy = {name: n.score(X_test, y_test) for name, n in networks.items()}
print(" " * 18 + "likeness of neighbours  weights of white pixels  test accuracy")
for name in networks:
    print(f"{name:<18s}{likeness[name]:22.2f}{of_blank[name]:25.1e}{accuracy[name]:15.3f}")

# %%
# The images
# ----------
# Each row of images has a scale of its own, from the largest weight down to its negative.

figure, axes = plt.subplots(
    len(networks), 12, figsize=(11, 4.3), layout="constrained", sharex=True, sharey=True
)
for row, (name, network) in zip(axes, networks.items(), strict=True):
    largest = np.abs(network.coefs_[0]).max()
    # The weights of the first layer.
    for axis, weights in zip(row, network.coefs_[0].T, strict=True):
        image = axis.imshow(weights.reshape(8, 8), cmap="RdBu_r", vmin=-largest, vmax=largest)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.colorbar(image, ax=row, fraction=0.02, pad=0.005)
for number, axis in enumerate(axes[0]):
    axis.set_title(f"unit {number}", fontsize="small")
plt.show()

# %%
# Training makes patterns of the noise, and the stronger the penalty, the smoother they are; the
# weights of the white pixels do not move without one, and vanish with it.
