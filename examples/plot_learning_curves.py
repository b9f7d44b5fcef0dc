"""
Learning curves for samples, penalty and epochs
===============================================

A network performs better on its training set than on other data. What narrows this gap: more
samples, a stronger penalty, or fewer epochs? scikit-learn has displays for the first two,
:class:`~sklearn.model_selection.LearningCurveDisplay` and
:class:`~sklearn.model_selection.ValidationCurveDisplay`. For the third, a network records its loss
on the validation set after each epoch if you pass a validation set to `fit`.

Expect the validation accuracy to increase with the number of samples, up to the full training set.
A penalty narrows the gap at no cost until it becomes so strong that the network underfits. The
validation loss decreases, reaches a minimum and increases again, while the training loss keeps
decreasing.

Run it with ``python examples/plot_learning_curves.py``. It needs matplotlib and takes about ten
seconds. For the effect of dropout and label smoothing, see ``plot_overfitting.py``.
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

from sknn import FeedForwardClassifier, LossCurveDisplay

plt.style.use("seaborn-v0_8-colorblind")
# The number of epochs is fixed on purpose.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Data
# ----
# The data are handwritten digits. Noise is added to each pixel, so that the network can overfit.

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
# More samples
# ------------

n_rows, *by_rows = learning_curve(
    network, X, y, train_sizes=np.geomspace(0.06, 1, 5), cv=folds, shuffle=True, random_state=0
)
print("samples  training accuracy  validation accuracy")
for number, training, validation in zip(n_rows, *by_rows, strict=True):
    print(f"{number:7d}{training.mean():19.3f}{validation.mean():21.3f}")

# %%
# Stronger penalty
# ----------------

alphas = np.array([0.003, 0.03, 0.1, 0.3, 1, 3, 6])
by_alpha = validation_curve(network, X, y, param_name="alpha", param_range=alphas, cv=folds)
print("alpha  training accuracy  validation accuracy")
for alpha, training, validation in zip(alphas, *by_alpha, strict=True):
    print(f"{alpha:<5g}{training.mean():19.3f}{validation.mean():21.3f}")

# %%
# Fewer epochs
# ------------
# `fit` records the loss on the validation set. Without ``early_stopping=True``, it does not use the
# validation set for anything else.

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
# Plotting the results
# --------------------

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
options = {"score_name": "accuracy", "std_display_style": "fill_between"}
LearningCurveDisplay(train_sizes=n_rows, train_scores=by_rows[0], test_scores=by_rows[1]).plot(
    ax=left, **options
)
left.set(title="More samples", xlabel="training samples", xscale="log")
ValidationCurveDisplay(
    param_name="alpha",
    param_range=alphas,
    train_scores=by_alpha[0],
    test_scores=by_alpha[1],
).plot(ax=middle, **options)
middle.set(title="Stronger penalty", xlabel="alpha", xscale="log")
for axis, place in ((left, "lower right"), (middle, "lower left")):
    lines = axis.get_lines()
    axis.legend(lines, ["training", "validation"], loc=place)

LossCurveDisplay.from_estimators({"Fewer epochs": network}, ax=right)
right.axvline(best + 1, color="0.6", linestyle=":")
plt.show()

# %%
# Each of the three methods narrows the gap. Adding samples is the best method if you can get more:
# the validation accuracy in the left plot is still increasing at its end.
