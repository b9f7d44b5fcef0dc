"""
Which model for this table?
===========================

A network, boosted trees, or a linear model? Papers rank them over many tables, and the winner on
yours may be another one. Three small tables of scikit-learn are given to each of them, in the same
splits: 400 handwritten digits, the chemistry of wines, and the progress of diabetes, here with a
column of words and with holes, as tables have them. ``tabular_pipeline`` takes them as they are.

Expect another winner on each. The network is best on the digits, where all 64 columns matter
together; the trees on the wines, where a few thresholds tell the classes apart; and the linear
model on the diabetes, where there is little more to be found than a slope in each column. The
network takes the longest by far.

Run it with ``python examples/plot_tables.py``. It needs matplotlib and skrub, and takes about
half a minute.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import skrub
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from sknn import tabular_pipeline

plt.style.use("seaborn-v0_8-colorblind")

# %%
# The tables
# ----------
# What is measured is the log loss of classes, and the root mean squared error of numbers: lower is
# better.


def messy_diabetes():
    """Return the diabetes data with the sex as words and a tenth of the blood pressures missing."""
    X, y = load_diabetes(scaled=False, return_X_y=True, as_frame=True)
    X["sex"] = np.where(X["sex"] == 1, "one", "other")
    rng = np.random.default_rng(0)
    X["bp"] = X["bp"].mask(rng.random(len(X)) < 0.1)
    return X, y


def some_digits():
    """Return 400 digits of 64 pixels."""
    X, y = load_digits(return_X_y=True, as_frame=True)
    return X.head(400), y.head(400)


tables = {
    "digits, log loss": ("classifier", some_digits()),
    "wines, log loss": ("classifier", load_wine(return_X_y=True, as_frame=True)),
    "diabetes, RMSE": ("regressor", messy_diabetes()),
}
print(messy_diabetes()[0].head(3))

# %%
# The models
# ----------
# Each with its defaults. ``tabular_pipeline`` prepares columns for any estimator; for trees skrub
# has a pipeline of its own, which leaves categories and missing values to them.


def models(kind, seed):
    """Return the models for a kind of target."""
    linear = LogisticRegression(max_iter=1000) if kind == "classifier" else RidgeCV()
    return {
        "network": tabular_pipeline(kind, random_state=seed),
        "trees": skrub.tabular_pipeline(kind),
        "linear": tabular_pipeline(linear),
    }


def loss(model, kind, X, y):
    """Return the log loss or the root mean squared error."""
    if kind == "classifier":
        return log_loss(y, model.predict_proba(X))
    return root_mean_squared_error(y, model.predict(X))


losses, seconds = {}, {}
with threadpool_limits(1):  # on tables this small several threads mostly wait for each other
    for table, (kind, (X, y)) in tables.items():
        for seed in range(3):
            strata = y if kind == "classifier" else None
            X_fit, X_test, y_fit, y_test = train_test_split(
                X, y, stratify=strata, random_state=seed
            )
            for name, model in models(kind, seed).items():
                start = time.perf_counter()
                model.fit(X_fit, y_fit)
                seconds.setdefault(name, []).append(time.perf_counter() - start)
                losses.setdefault((table, name), []).append(loss(model, kind, X_test, y_test))

names = ["network", "trees", "linear"]
for table in tables:
    means = [np.mean(losses[table, name]) for name in names]
    print(
        f"{table:<18s}" + "".join(f"{n:>10s} {m:7.3f}" for n, m in zip(names, means, strict=True))
    )
print("Seconds of a fit: " + ", ".join(f"{name} {np.median(seconds[name]):.2f}" for name in names))

# %%
# The picture
# -----------
# One point for each split. The lines are means. What matters is not the mean alone, but how far the
# points of one model lie apart.

figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axis, table in zip(axes, tables, strict=False):
    for place, name in enumerate(names):
        of_splits = losses[table, name]
        axis.plot(np.full(len(of_splits), place), of_splits, "o", color=f"C{place}", alpha=0.6)
        axis.hlines(np.mean(of_splits), place - 0.3, place + 0.3, color=f"C{place}")
    axis.set(title=table, xticks=range(3), xlim=(-0.5, 2.5))
    axis.set_xticklabels(names)
    if tables[table][0] == "classifier":
        axis.set_ylim(bottom=0)
axes[-1].bar(names, [np.median(seconds[name]) for name in names], color=["C0", "C1", "C2"])
axes[-1].set(title="seconds of a fit")
plt.show()

# %%
# So the answer is to try. A linear model costs nothing, and says what the others have to beat;
# trees come next, with their defaults, in less than a second; and the network is worth its time
# where it is ahead by more than the splits differ. Its page in the guide says what speaks for
# which, and the benchmarks have larger tables.
