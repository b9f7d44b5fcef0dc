"""
How many networks, and how far they are apart
=============================================

What does the mean of several networks gain over one, and does the spread of the networks say where
they know little? ``n_members`` trains them at once, on the same batches. Here the members are taken
out one by one, so that a single fit tells about ensembles of all sizes.

Expect the log loss on new digits to fall with each member, quickly at first: two or three members
have about half of what 20 gain. It cannot rise on average: the loss of a mean is at most the mean
of the losses. The accuracy has no such rule, and may do as it likes.

Of a curve with a gap, expect the members to agree where there are rows, and to part where there are
none: in the gap, and beyond both ends.

Run it with ``python examples/plot_ensembles.py``. It needs matplotlib and takes some seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier, FeedForwardRegressor

plt.style.use("seaborn-v0_8-colorblind")
# All epochs are meant to be run.
warnings.simplefilter("ignore", ConvergenceWarning)


def members_of(ensemble):
    """Return a network for each member of an ensemble."""
    networks = []
    for i in range(ensemble.n_members):
        network = clone(ensemble).set_params(n_members=1)
        network.coefs_ = [coef[i] for coef in ensemble.coefs_]
        network.intercepts_ = [intercept[i] for intercept in ensemble.intercepts_]
        if hasattr(ensemble, "classes_"):
            network.classes_ = ensemble.classes_
        networks.append(network)
    return networks


# %%
# How many
# --------
# 200 digits to learn from. For each size, 30 ensembles are drawn from the 20 members.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, train_size=200, stratify=y, random_state=0
)
digits = FeedForwardClassifier(
    (20,),
    learning_rate_init=0.01,
    max_iter=60,
    n_iter_no_change=np.inf,
    n_members=20,
    random_state=0,
).fit(X_train, y_train)
of_members = np.array([member.predict_proba(X_test) for member in members_of(digits)])

rng = np.random.default_rng(0)
sizes = [1, 2, 3, 5, 10, 20]
losses = {}
print("members  log loss  accuracy")
for size in sizes:
    drawn = [of_members[rng.permutation(20)[:size]].mean(axis=0) for _ in range(30)]
    losses[size] = np.mean([log_loss(y_test, p) for p in drawn])
    accuracy = np.mean([np.mean(p.argmax(axis=1) == y_test) for p in drawn])
    print(f"{size:7}{losses[size]:10.3f}{accuracy:10.3f}")

# %%
# How far apart
# -------------


def rows_of_a_curve(n_rows=150):
    """Return rows of one feature, with a gap in the middle, and a sine with little noise."""
    x = rng.uniform(1, 3, n_rows) * rng.choice([-1, 1], n_rows)
    return x[:, None], np.sin(2 * x) + rng.normal(0, 0.1, n_rows)


x, target = rows_of_a_curve()
curve = FeedForwardRegressor(
    hidden_layer_sizes=(30, 30),
    learning_rate_init=0.01,
    max_iter=200,
    n_iter_no_change=np.inf,
    n_members=10,
    random_state=0,
).fit(x, target)

grid = np.linspace(-5, 5, 201)
predictions = np.array([member.predict(grid[:, None]) for member in members_of(curve)])
spread = predictions.std(axis=0)
has_rows = (np.abs(grid) >= 1) & (np.abs(grid) <= 3)
places = {"among the rows": has_rows, "in the gap": np.abs(grid) < 1, "beyond": np.abs(grid) > 3}
for place, is_there in places.items():
    print(f"Spread {place}: {spread[is_there].mean():.2f} on average")

# %%
# The picture
# -----------

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
of_each = [log_loss(y_test, p) for p in of_members]
left.plot([1] * 20, of_each, ".", color="tab:gray", label="each member")
left.plot(sizes, list(losses.values()), "o-", color="C0", label="mean of 30 ensembles")
left.set(title="Digits", xlabel="members", ylabel="log loss of new rows", xticks=sizes)
left.legend()

right.plot(grid, predictions.T, color="tab:gray", linewidth=0.7)
right.plot([], [], color="tab:gray", linewidth=0.7, label="members")
mean = curve.predict(grid[:, None])
right.plot(grid, mean, color="C0", label="their mean")
right.fill_between(
    grid, mean - 2 * spread, mean + 2 * spread, color="C0", alpha=0.2, label="2 deviations"
)
right.plot(x, target, ".", color="black", markersize=3, label="rows learned from")
right.set(title="A curve with a gap", xlabel="x", ylabel="y", ylim=(-4, 4))
right.legend(ncols=2)
plt.show()

# %%
# A few members have most of what many would gain. The members part where nothing was learned. Their
# spread is no error bar: the noise of the targets is not in it.
