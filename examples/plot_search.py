"""
Grid search and randomized search
=================================

How wide and how deep should a network be, how strong should the penalty be, and how many fits do
you need to choose these values? A grid search shows how two parameters interact. A randomized
search draws each parameter from its own distribution, so you can add a third parameter without
additional fits.

Expect four hidden units to be too few for handwritten digits, and a wide range of `alpha` to
perform equally well until the penalty becomes too strong. The randomized search comes close to the
best result of the grid search with half as many fits, although it also tunes the learning rate.

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
# Each fit has the same budget of 20 epochs, whether it converges or not.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Data and network
# ----------------

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.5, stratify=y, random_state=0
)
network = FeedForwardClassifier(batch_size=50, learning_rate_init=0.01, max_iter=20, random_state=0)
folds = StratifiedKFold(3, shuffle=True, random_state=0)

# %%
# Grid search
# -----------
# The layer sizes are tuples, which you can use directly as values of the grid.

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
print(f"Grid search: {len(results['params'])} candidates, {grid.n_splits_} folds")
print(f"  best {grid.best_params_}, accuracy {grid.best_score_:.3f}")

# %%
# Randomized search
# -----------------
# For the penalty and the learning rate, the order of magnitude matters. `scipy.stats.loguniform`
# gives all orders of magnitude the same probability.

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
print(f"Randomized search: {len(draws.cv_results_['params'])} candidates, {draws.n_splits_} folds")
best = {
    name: f"{value:.2g}" if isinstance(value, float) else value
    for name, value in draws.best_params_.items()
}
print(f"  best {best}, accuracy {draws.best_score_:.3f}")
test_accuracy = {"grid": grid.score(X_test, y_test), "random": draws.score(X_test, y_test)}
for name, accuracy in test_accuracy.items():
    print(f"Accuracy on the test set, {name}: {accuracy:.3f}")

# %%
# Plotting the results
# --------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
image = left.imshow(accuracies, cmap="viridis", aspect="auto", vmin=0.75)
for row, column in np.ndindex(accuracies.shape):
    value = accuracies[row, column]
    # Use black text on light cells and white text on dark cells.
    ink = "black" if image.norm(value) > 0.5 else "white"
    left.text(column, row, f"{value:.3f}", ha="center", va="center", color=ink)
left.set(title="Grid search", xlabel="alpha", ylabel="hidden_layer_sizes")
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
    title="Randomized search (the best candidate is circled)",
    xlabel="alpha",
    ylabel="learning_rate_init",
    xscale="log",
    yscale="log",
)
right.legend(title="hidden_layer_sizes", loc="best")
figure.colorbar(points, ax=right, extend="min", label="mean accuracy of the folds")
plt.show()

# %%
# Four hidden units are too few and 64 are enough. `alpha` can have any value up to about 0.1. Over
# such a range, a grid search fits nearly the same network several times, whereas each draw of the
# randomized search also tries another learning rate.
