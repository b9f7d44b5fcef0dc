"""
Grid search and randomized search
=================================

How wide, how deep, and how strong a penalty: which of these matter on handwritten digits, and how
many fits does it take to find out? A grid shows how two parameters work together; a randomized
search draws each parameter from a distribution of its own, so that a third one costs no further
fits.

Expect four units to be too few, and a wide range of `alpha` to be equally good before it becomes
too strong. And expect the randomized search to come near to the best of the grid with half as many
fits, though it also has a learning rate to choose.

Run it with ``python examples/plot_search.py``. It needs matplotlib and takes some seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    train_test_split,
)

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
# Each fit has 20 epochs, however far it has come by then: what is compared is what they achieve.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# The data, and the network
# -------------------------

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.5, stratify=y, random_state=0
)
network = FeedForwardClassifier(batch_size=50, learning_rate_init=0.01, max_iter=20, random_state=0)
folds = StratifiedKFold(3, shuffle=True, random_state=0)

# %%
# A grid
# ------
# The layer sizes are tuples, and go into the grid as they are.

SIZES = [(4,), (16,), (64,), (64, 64)]
ALPHAS = [1e-4, 1e-2, 1e-1, 1.0, 10.0]
grid = GridSearchCV(network, {"hidden_layer_sizes": SIZES, "alpha": ALPHAS}, cv=folds)
grid.fit(X_train, y_train)
results = grid.cv_results_
accuracies = np.empty((len(SIZES), len(ALPHAS)))
for parameters, score in zip(results["params"], results["mean_test_score"], strict=True):
    row, column = (
        SIZES.index(parameters["hidden_layer_sizes"]),
        ALPHAS.index(parameters["alpha"]),
    )
    accuracies[row, column] = score
print(f"Grid: {len(results['params'])} points, {grid.n_splits_} folds")
print(f"  best {grid.best_params_}, accuracy {grid.best_score_:.3f}")

# %%
# Draws from distributions
# ------------------------
# A penalty and a rate are felt by their order of magnitude: `scipy.stats.loguniform` gives each
# order the same chance.

draws = RandomizedSearchCV(
    network,
    {
        "hidden_layer_sizes": SIZES,
        "alpha": loguniform(1e-4, 1e1),
        "learning_rate_init": loguniform(1e-3, 1e-1),
    },
    n_iter=len(results["params"]) // 2,
    cv=folds,
    random_state=1,
)
draws.fit(X_train, y_train)
print(f"Draws: {len(draws.cv_results_['params'])} points, {draws.n_splits_} folds")
best = {
    name: f"{value:.2g}" if isinstance(value, float) else value
    for name, value in draws.best_params_.items()
}
print(f"  best {best}, accuracy {draws.best_score_:.3f}")
test_accuracy = {"grid": grid.score(X_test, y_test), "draws": draws.score(X_test, y_test)}
for name, accuracy in test_accuracy.items():
    print(f"Accuracy on the test rows, {name}: {accuracy:.3f}")

# %%
# What they have found
# --------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
image = left.imshow(accuracies, cmap="viridis", aspect="auto", vmin=0.75)
for row, column in np.ndindex(accuracies.shape):
    value = accuracies[row, column]
    # Dark ink on the light end of the map, and the other way round.
    ink = "black" if image.norm(value) > 0.5 else "white"
    left.text(column, row, f"{value:.3f}", ha="center", va="center", color=ink)
left.set(title="Grid", xlabel="alpha", ylabel="hidden_layer_sizes")
left.set_xticks(range(len(ALPHAS)), [f"{alpha:g}" for alpha in ALPHAS])
left.set_yticks(range(len(SIZES)), [str(sizes) for sizes in SIZES])
figure.colorbar(image, ax=left, extend="min", label="mean accuracy of the folds")

tried = draws.cv_results_
for sizes, marker in zip(SIZES, "vos^", strict=True):
    chosen = [
        number
        for number, parameters in enumerate(tried["params"])
        if parameters["hidden_layer_sizes"] == sizes
    ]
    points = right.scatter(
        [tried["params"][number]["alpha"] for number in chosen],
        [tried["params"][number]["learning_rate_init"] for number in chosen],
        c=tried["mean_test_score"][chosen],
        norm=image.norm,
        marker=marker,
        s=110,
        edgecolors="black",
    )
    right.scatter([], [], c="tab:gray", marker=marker, s=110, edgecolors="black", label=str(sizes))
right.plot(
    draws.best_params_["alpha"],
    draws.best_params_["learning_rate_init"],
    "o",
    markersize=20,
    markerfacecolor="none",
    markeredgecolor="C2",
    markeredgewidth=2,
)
right.set(
    title="Draws; the ring is around the best",
    xlabel="alpha",
    ylabel="learning_rate_init",
    xscale="log",
    yscale="log",
)
right.legend(title="hidden_layer_sizes", loc="best")
figure.colorbar(points, ax=right, extend="min", label="mean accuracy of the folds")
plt.show()

# %%
# Four units are too few, 64 are enough, and `alpha` may be anything up to about 0.1: over such a
# range a grid tries the same network again and again, while each draw is also another rate.
