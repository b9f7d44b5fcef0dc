"""
Choosing a model for a table
============================

Should you use a network, boosted trees or a linear model for a table? Published comparisons rank
models over many tables, but the best model for your table may be a different one. This example
compares the three models on three small tables from scikit-learn, with the same splits for all of
them: 400 handwritten digits, a chemical analysis of wines, and the diabetes dataset. The diabetes
data is modified to resemble real tables, with a column of strings and missing values.
``tabular_pipeline`` accepts these tables without preprocessing.

Expect a different winner for each table. The network is best on the digits, where all 64 columns
are informative in combination. The trees are best on the wines, where a few thresholds separate the
classes. The linear model is best on the diabetes data, where there is little to learn beyond one
slope per column. The network takes by far the longest time.

Run it with ``python examples/plot_tables.py``. It needs matplotlib and skrub, and takes about half
a minute.
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
# Tables
# ------
# The score is the log loss for classification and the root mean squared error for regression. For
# both, lower is better.


def messy_diabetes():
    """Return the diabetes data with sex as strings and 10% of the blood pressures missing."""
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
# Models
# ------
# All models use their default parameters. ``tabular_pipeline`` prepares the columns for any
# estimator. For trees, skrub has its own pipeline, which leaves categories and missing values to
# the trees.


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
with threadpool_limits(1):  # on small tables, several threads mostly wait for each other
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
print("Seconds per fit: " + ", ".join(f"{name} {np.median(seconds[name]):.2f}" for name in names))

# %%
# Plotting the results
# --------------------
# Each point is one split, and the lines are means. Compare the differences between the means with
# the spread of the points of a model.

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
axes[-1].set(title="seconds per fit")
plt.show()

# %%
# None of the three models is the best for all tables, so compare them on your own table. Start with
# a linear model, which takes almost no time and sets the score that the others have to beat. Then
# try trees with their default parameters, which take less than a second. The network is worth its
# time if its advantage is larger than the differences between the splits. The page on tables in the
# user guide explains when to prefer which model, and the benchmarks use larger tables.
