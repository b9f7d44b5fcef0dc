"""
Size and spread of an ensemble
==============================

How much does averaging several networks improve the predictions, and does the spread of the
networks show where the predictions are uncertain? ``n_members`` trains several networks at once on
the same batches. This example extracts the members from a single fit, so that it can evaluate
ensembles of different sizes.

Expect the log loss on the test set to decrease with every member. The first members help most: two
or three members give about half of the improvement of 20. On average the log loss cannot increase,
because the loss of the mean prediction is at most the mean loss of the members. There is no such
rule for the accuracy, which can go up or down.

The second part fits a curve whose training data has a gap. Expect the members to agree where there
is training data, and to diverge in the gap and beyond both ends.

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
# The number of epochs is fixed on purpose.
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
# Number of members
# -----------------
# The training set contains 200 digits. For each size, 30 ensembles are drawn at random from the 20
# members.

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
# Spread of the members
# ---------------------


def rows_of_a_curve(n_rows=150):
    """Return samples of a sine curve with little noise, with a gap in the middle."""
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
places = {"in the data": has_rows, "in the gap": np.abs(grid) < 1, "outside": np.abs(grid) > 3}
for place, is_there in places.items():
    print(f"Mean spread {place}: {spread[is_there].mean():.2f}")

# %%
# Plotting the results
# --------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
of_each = [log_loss(y_test, p) for p in of_members]
left.plot([1] * 20, of_each, ".", color="tab:gray", label="single members")
left.plot(sizes, list(losses.values()), "o-", color="C0", label="mean of 30 ensembles")
left.set(title="Digits", xlabel="members", ylabel="test log loss", xticks=sizes)
left.legend()

right.plot(grid, predictions.T, color="tab:gray", linewidth=0.7)
right.plot([], [], color="tab:gray", linewidth=0.7, label="members")
mean = curve.predict(grid[:, None])
right.plot(grid, mean, color="C0", label="mean of the members")
right.fill_between(
    grid, mean - 2 * spread, mean + 2 * spread, color="C0", alpha=0.2, label="2 standard deviations"
)
right.plot(x, target, ".", color="black", markersize=3, label="training data")
right.set(title="A curve with a gap", xlabel="x", ylabel="y", ylim=(-4, 4))
right.legend(ncols=2)
plt.show()

# %%
# A few members give most of the improvement that 20 members give. The members diverge where there
# is no training data. Do not use their spread as an error bar, because it does not include the
# noise of the targets.
