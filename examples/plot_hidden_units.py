"""
What hidden units learn
=======================

What does a unit of the first hidden layer respond to? The unit multiplies each pixel of a
handwritten digit by a weight, so you can plot its weights as an image of 8 x 8 pixels. Ink excites
the unit in red areas and inhibits it in blue areas.

Expect noise before training, patterns after training, and smoother patterns with a larger penalty
`alpha`. Two numbers confirm this. The first is the correlation between the weights of
*neighbouring* pixels, which is close to zero before training and clearly positive afterwards. The
second is the size of the weights of pixels that are blank in all training samples. These weights
receive no gradient from the data and keep their initial values, unless a penalty shrinks them.

Run it with ``python examples/plot_hidden_units.py``. It needs matplotlib and takes some seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier, WeightsDisplay

plt.style.use("seaborn-v0_8-colorblind")
# The number of epochs is fixed on purpose.
warnings.simplefilter("ignore", ConvergenceWarning)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=1 / 3, stratify=y, random_state=0
)
blank = (X_train == 0).all(axis=0)
print(f"{blank.sum()} of 64 pixels are blank in all {len(X_train)} training samples")

# %%
# Before and after training
# -------------------------
# With ``learning_rate_init=1e-12``, one epoch leaves the weights practically unchanged. All
# networks have the same initial weights because they use the same seed.


def train(alpha, max_iter=60, learning_rate_init=0.003):
    """Return a fitted network."""
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
    """Return the correlation between the weights of horizontally or vertically adjacent pixels."""
    images = weights.T.reshape(-1, 8, 8)
    first = np.r_[images[:, :, :-1].ravel(), images[:, :-1, :].ravel()]
    second = np.r_[images[:, :, 1:].ravel(), images[:, 1:, :].ravel()]
    return np.corrcoef(first, second)[0, 1]


likeness = {name: likeness_of_neighbours(n.coefs_[0]) for name, n in networks.items()}
of_blank = {name: np.abs(n.coefs_[0][blank]).mean() for name, n in networks.items()}
accuracy = {name: n.score(X_test, y_test) for name, n in networks.items()}
print(" " * 18 + "correlation of neighbours  weights of blank pixels  test accuracy")
for name in networks:
    print(f"{name:<18s}{likeness[name]:25.2f}{of_blank[name]:25.1e}{accuracy[name]:15.3f}")

# %%
# Plotting the weights
# --------------------
# The colour scale of each network is symmetric and extends to its largest weight.

figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
for axis, (name, network) in zip(axes.flat, networks.items(), strict=True):
    WeightsDisplay.from_estimator(network, units=None, image_shape=(8, 8), ax=axis)
    axis.set_title(name)
plt.show()

# %%
# Training turns the noise into patterns, which are smoother with a stronger penalty. Without a
# penalty, the weights of the blank pixels do not change. With a penalty, they vanish.
