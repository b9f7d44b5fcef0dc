"""
Learning curves: rows, penalty and epochs
=========================================

A network is better on the rows that it has learned from than on others. What narrows this gap: more
rows, a stronger penalty, or an earlier end? scikit-learn has a display for the first two,
:class:`~sklearn.model_selection.LearningCurveDisplay` and
:class:`~sklearn.model_selection.ValidationCurveDisplay`; the third is what a network records of
each epoch, if validation rows are given to `fit`.

Expect more rows to raise the accuracy on others up to the last row there is. Expect a penalty to
narrow the gap at no cost, up to a strength from which on the network learns too little. And expect
the loss on validation rows to fall, turn, and rise again, while the training loss falls on.

Run it with ``python examples/plot_learning_curves.py``. It needs matplotlib and takes about ten
seconds. For what dropout and label smoothing do see ``plot_overfitting.py``.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import (
    LearningCurveDisplay,
    StratifiedKFold,
    ValidationCurveDisplay,
    learning_curve,
    train_test_split,
    validation_curve,
)

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
# All epochs are meant to be run.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# The data
# --------
# Handwritten digits, with noise added to each pixel, so that there is something to learn by heart.

X, y = load_digits(return_X_y=True)
X = X / 16 + np.random.default_rng(0).normal(scale=0.3, size=X.shape)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
network = FeedForwardClassifier(
    batch_size=50,
    learning_rate_init=0.005,
    max_iter=30,
    n_iter_no_change=np.inf,
    random_state=0,
)

# %%
# More rows
# ---------

n_rows, *by_rows = learning_curve(
    network, X, y, train_sizes=np.geomspace(0.06, 1, 5), cv=folds, shuffle=True, random_state=0
)
print("rows   accuracy on them   on others")
for number, training, validation in zip(n_rows, *by_rows, strict=True):
    print(f"{number:4d}{training.mean():19.3f}{validation.mean():12.3f}")

# %%
# A stronger penalty
# ------------------

alphas = np.array([0.003, 0.03, 0.1, 0.3, 1, 3, 6])
by_alpha = validation_curve(network, X, y, param_name="alpha", param_range=alphas, cv=folds)
print("alpha  accuracy on rows learned from   on others")
for alpha, training, validation in zip(alphas, *by_alpha, strict=True):
    print(f"{alpha:<7g}{training.mean():30.3f}{validation.mean():12.3f}")

# %%
# An earlier end
# --------------
# Validation rows that are given to `fit` are watched, and without ``early_stopping=True`` nothing
# else is done with them.

X_train, X_valid, y_train, y_valid = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
network.fit(X_train, y_train, X_val=X_valid, y_val=y_valid)
training_loss = np.array(network.loss_curve_)
validation_loss = np.array(network.validation_loss_curve_)
best = validation_loss.argmin()
print("epoch  training loss  validation loss")
for epoch in (0, best, len(training_loss) - 1):
    print(f"{epoch + 1:5d}{training_loss[epoch]:15.3f}{validation_loss[epoch]:17.3f}")

# %%
# Three pictures of over-fitting
# ------------------------------

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
options = {"score_name": "accuracy", "std_display_style": "fill_between"}
LearningCurveDisplay(train_sizes=n_rows, train_scores=by_rows[0], test_scores=by_rows[1]).plot(
    ax=left, **options
)
left.set(title="More rows", xlabel="training rows", xscale="log")
ValidationCurveDisplay(
    param_name="alpha",
    param_range=alphas,
    train_scores=by_alpha[0],
    test_scores=by_alpha[1],
).plot(ax=middle, **options)
middle.set(title="A stronger penalty", xlabel="alpha", xscale="log")
for axis, place in ((left, "lower right"), (middle, "lower left")):
    lines = axis.get_lines()
    axis.legend(lines, ["rows learned from", "others"], loc=place)

# The curves of one fit.
epochs = np.arange(1, len(training_loss) + 1)
right.plot(epochs, training_loss, label="rows learned from")
right.plot(epochs, validation_loss, label="others")
right.plot(epochs[best], validation_loss[best], "*", color="C1", markersize=14, label="the best")
right.set(title="An earlier end", xlabel="epoch", ylabel="log loss")
right.set_ylim(bottom=0)
right.legend()
plt.show()

# %%
# Each of the three narrows the gap, and more rows are the best of them where they can be had: the
# left curve of the other rows is still rising at its end.
