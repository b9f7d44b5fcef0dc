"""
Prediction intervals with the quantile loss
===========================================

How can a network predict intervals instead of single values? With ``loss="quantile"`` and a list of
levels, a :class:`~sknn.FeedForwardRegressor` predicts one column per level. For the level 0.9, it
predicts the value that is not exceeded by 90% of the targets. The interval between the columns for
0.1 and 0.9 therefore contains 80% of the targets. It is wide where the noise is large. The error of
an ordinary regression, in contrast, is a single number for all samples.

This example uses two datasets. The first is a curve whose noise increases from left to right, so
that the true quantiles are known. The second is the progression of diabetes in 442 patients. The
prediction for each patient comes from a network that was fitted without this patient (five-fold
cross-validation).

Expect the intervals to follow the true quantiles, and the columns never to cross. The *coverage*,
that is, the share of targets at or below a column, should equal the level up to random
fluctuations. Its standard error is ``sqrt(level * (1 - level) / n)`` for n targets, which is about
0.02 for the patients. The training set is a random sample, too. For the curve with its 2000
training samples, this adds an error of about 0.01. Because there are few patients to learn from,
their intervals are slightly too narrow. They would be even narrower without the penalty and with
more epochs, and for more extreme levels such as 0.05.

Run it with ``python examples/plot_quantile_bands.py``. To save the figure instead of showing it,
add the name of an image file. The example needs matplotlib.
"""

import sys

import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardRegressor

LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]

# %%
# A curve with increasing noise
# -----------------------------


def noise(x):
    """Return the standard deviation of the targets at x."""
    return 0.1 + 0.125 * (x + 3)


def curve_data(n_rows, random_state=0):
    """Return samples with one feature, and targets from a sine with Gaussian noise."""
    rng = np.random.RandomState(random_state)
    x = rng.uniform(-3, 3, n_rows)
    return x[:, None], np.sin(1.5 * x) + noise(x) * rng.standard_normal(n_rows)


def true_quantiles(x):
    """Return an array of shape (n_rows, n_levels)."""
    return np.sin(1.5 * x)[:, None] + noise(x)[:, None] * norm.ppf(LEVELS)


def fit_curve(n_rows=2000, random_state=0):
    """Return a network for all levels, fitted to the curve."""
    X, y = curve_data(n_rows, random_state)
    network = FeedForwardRegressor(
        "quantile",
        (50,),
        quantile=LEVELS,
        learning_rate="cosine",
        learning_rate_init=0.01,
        max_iter=100,
        n_iter_no_change=np.inf,
        random_state=random_state,
    )
    return network.fit(X, y)


# %%
# Diabetes patients
# -----------------
# The targets are scaled to a mean of about 0 and a variance of about 1, because the penalty was
# chosen for targets of this size.


def predict_diabetes(random_state=0):
    """Return the targets and their cross-validated predictions."""
    X, progress = load_diabetes(return_X_y=True)
    y = (progress - 150) / 77
    network = FeedForwardRegressor(
        "quantile",
        (20,),
        "tanh",
        quantile=LEVELS,
        alpha=1.0,
        batch_size=64,
        learning_rate="cosine",
        learning_rate_init=0.01,
        max_iter=20,
        n_iter_no_change=np.inf,
        random_state=random_state,
    )
    predicted = cross_val_predict(
        make_pipeline(StandardScaler(), network),
        X,
        y,
        cv=KFold(5, shuffle=True, random_state=random_state),
    )
    return y, predicted


# %%
# Coverage
# --------


def coverage(y, predicted):
    """Return the share of targets at or below each column."""
    return (y[:, None] <= predicted).mean(axis=0)


def standard_error(n_rows):
    """Return the standard error of the coverage for each level."""
    levels = np.array(LEVELS)
    return np.sqrt(levels * (1 - levels) / n_rows)


# %%
# Plotting the results
# --------------------


def plot(network, coverages, n_patients):
    """Plot the intervals for the curve, and the coverage for both datasets."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.4), layout="constrained", width_ratios=(3, 2)
    )
    X, y = curve_data(600, random_state=1)
    grid = np.linspace(-3, 3, 200)
    predicted, true = network.predict(grid[:, None]), true_quantiles(grid)
    left.plot(X, y, ".", color="tab:gray", markersize=3, alpha=0.6, label="new samples")
    left.fill_between(
        grid, predicted[:, 0], predicted[:, -1], color="C0", alpha=0.2, label="0.1 to 0.9"
    )
    left.fill_between(
        grid, predicted[:, 1], predicted[:, -2], color="C0", alpha=0.35, label="0.25 to 0.75"
    )
    left.plot(grid, predicted[:, 2], color="C0", label="0.5")
    left.plot(grid, true, "--", color="black", linewidth=0.9)
    left.plot([], [], "--", color="black", linewidth=0.9, label="true quantiles")
    left.set(title="Curve with increasing noise", xlabel="x", ylabel="y")
    left.legend(loc="upper left", ncols=2)

    right.plot([0, 1], [0, 1], color="tab:gray", label="ideal coverage")
    error = 2 * standard_error(n_patients)
    right.errorbar(
        LEVELS, LEVELS, error, fmt="none", color="tab:gray", capsize=4, label="2 standard errors"
    )
    for (name, values), marker in zip(coverages.items(), "od", strict=True):
        right.plot(LEVELS, values, marker, label=name)
    right.set(title="Coverage", xlabel="level", ylabel="share of targets at or below")
    right.set_aspect("equal")
    right.legend(loc="upper left")
    return figure


def main(picture=None):
    """Print the results and show the figure, or save it if `picture` is a file name."""
    network = fit_curve()
    X_new, y_new = curve_data(5000, random_state=1)
    y_patients, of_patients = predict_diabetes()
    predictions = {
        "curve, 5000 samples": (y_new, network.predict(X_new)),
        "diabetes, five folds": (y_patients, of_patients),
    }
    coverages = {name: coverage(*pair) for name, pair in predictions.items()}
    print("Share of the targets at or below the prediction, by level")
    print(" " * 24 + "".join(f"{level:8.2f}" for level in LEVELS))
    for name, values in coverages.items():
        print(f"  {name:<22s}" + "".join(f"{value:8.3f}" for value in values))
        error = standard_error(len(predictions[name][0]))
        print("    standard error      " + "".join(f"{value:8.3f}" for value in error))
    crossings = sum((np.diff(p, axis=1) < 0).sum() for _, p in predictions.values())
    print(f"Crossings: {crossings}")
    print(f"D2 pinball score on the new samples of the curve: {network.score(X_new, y_new):.3f}")
    distance = np.abs(network.predict(X_new) - true_quantiles(X_new[:, 0])).mean()
    print(f"Mean distance from the true quantiles: {distance:.3f}")

    figure = plot(network, coverages, len(y_patients))
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
