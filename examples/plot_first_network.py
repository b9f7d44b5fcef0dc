"""
A first network
===============

This example reproduces the lab exercise of a deep-learning course with
:class:`sknn.FeedForwardClassifier`: a network with ten hidden units learns to separate ten points.
It then answers some questions that the exercise leaves open, on real datasets that are included in
scikit-learn. How good is a classifier, how good is a regressor, and what does overfitting look
like?

Expect the first network to perform at least as well as the published one. Expect the validation
loss of the overfitting network to increase after about 20 epochs, while its training loss keeps
decreasing.

Run it with ``python examples/plot_first_network.py``. To save the figure instead of showing it, add
the name of an image file. The example needs matplotlib.
"""

import sys
import warnings

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier, FeedForwardRegressor

# %%
# Ten points and a 2-10-1 network
# -------------------------------
# The network has two inputs, ten hidden units with ReLU, and one logistic output for the two
# classes. It is trained with Adam and a learning rate of 0.01 for 100 epochs. All ten points form
# one batch, so that an epoch is a single step. The published run of this exercise ends with an
# accuracy of 0.90 and reports these losses:

POINTS = np.array(
    [(1, 2), (2, 1), (3, 3), (4, 5), (5, 4), (6, 1), (7, 2), (8, 3), (9, 4), (10, 5)], dtype=float
)
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
PUBLISHED_LOSS = {20: 0.45, 40: 0.30, 60: 0.22, 80: 0.18, 100: 0.15}
PUBLISHED_ACCURACY = 0.90
N_EPOCHS = 100


def first_network(centre=True, random_state=0):
    """Train the 2-10-1 network and return the loss of each epoch and the final accuracy.

    The loss of an epoch is computed in the forward pass, that is, before the update of the weights.
    It includes the L2 penalty of the default ``alpha=0.0001``, which is below 0.001 here.
    """
    X = POINTS - POINTS.mean(axis=0) if centre else POINTS
    network = FeedForwardClassifier(
        hidden_layer_sizes=(10,),
        activation="relu",
        solver="adam",
        learning_rate_init=0.01,
        batch_size=len(X),
        max_iter=N_EPOCHS,
        # Training stops after *more than* n_iter_no_change epochs without improvement, which cannot
        # happen within 100 epochs.
        n_iter_no_change=N_EPOCHS,
        tol=0.0,
        random_state=random_state,
    )
    with warnings.catch_warnings():
        # The exercise asks for 100 epochs, whether the network has converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X, LABELS)
    return np.array(network.loss_curve_), network.score(X, LABELS)


def as_good_as_published(losses, accuracy):
    """Return whether a run reaches the published accuracy and the five published losses."""
    return accuracy >= PUBLISHED_ACCURACY and all(
        losses[epoch - 1] <= published for epoch, published in PUBLISHED_LOSS.items()
    )


# %%
# A single good run could be a matter of luck, because the losses depend on the seed, most of all at
# epoch 20. If the points are used as they are, only 55 of the seeds 0 to 99 reach the published
# losses at all five epochs (54% of 1000 seeds). The reason is the initialization of the ReLU units.
# Their kinks lie near the origin, and all points lie on one side of it. As a result, a third of the
# units are dead (they output zero for all points), and another third have no kink among the points.
# Therefore the points are centred here, but not scaled, which reduces the share of such units to
# 3%. With centred points, 85 of the seeds 0 to 99 reach the published losses (87% of 1000). The
# median loss is 0.6 times the published one at epoch 20 and 0.06 times the published one at epoch
# 100. Seed 0, which is printed below, is better than the median.


def many_seeds(centre=True, n_seeds=100):
    """Repeat the run with seeds 0, 1, ... and return the loss curves and the share of good runs."""
    runs = [first_network(centre, random_state=seed) for seed in range(n_seeds)]
    return np.array([losses for losses, _ in runs]), np.mean(
        [as_good_as_published(*run) for run in runs]
    )


# %%
# How good is a classifier?
# -------------------------
# The network classifies tumours as benign or malignant, from 30 measurements of cell nuclei for
# each of 569 women. Malignant is the positive class: recall is the share of the cancers that are
# detected, and precision is the share of the positive predictions that are correct. Every score is
# the mean over five folds of held-out data. The scaler is part of the pipeline, so it is also
# fitted on the training folds only. All parameters have their default values.


def evaluate_classifier(random_state=0):
    """Return accuracy, precision, recall, F1 and ROC AUC as {name: (mean, standard deviation)}."""
    X, y = load_breast_cancer(return_X_y=True)
    malignant = (y == 0).astype(int)
    model = make_pipeline(StandardScaler(), FeedForwardClassifier(random_state=random_state))
    with warnings.catch_warnings():
        # After the default 200 epochs, the training loss still decreases slowly.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_validate(
            model,
            X,
            malignant,
            cv=StratifiedKFold(5, shuffle=True, random_state=random_state),
            scoring=["accuracy", "precision", "recall", "f1", "roc_auc"],
        )
    return {
        name: (scores[f"test_{key}"].mean(), scores[f"test_{key}"].std())
        for name, key in {
            "accuracy": "accuracy",
            "precision": "precision",
            "recall": "recall",
            "F1": "f1",
            "ROC-AUC": "roc_auc",
        }.items()
    }


# %%
# How good is a regressor?
# ------------------------
# The network predicts the progression of diabetes within a year (a score between 25 and 346) from
# ten measurements of 442 patients. The target is scaled for training, and the predictions are
# scaled back, so that the errors have the unit of the score. Because the dataset is small and
# noisy, the network needs a strong penalty, ``alpha=10``. This value was chosen by trying a few
# values on the same folds, which makes the scores slightly optimistic. For comparison, ridge
# regression reaches an R2 of 0.49 here.


def evaluate_regressor(random_state=0):
    """Return MSE, RMSE, MAE and R2 as {name: (mean, standard deviation)}."""
    X, y = load_diabetes(return_X_y=True)
    network = FeedForwardRegressor(alpha=10.0, max_iter=500, random_state=random_state)
    model = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), network), transformer=StandardScaler()
    )
    scores = cross_validate(
        model,
        X,
        y,
        cv=KFold(5, shuffle=True, random_state=random_state),
        scoring={
            "MSE": "neg_mean_squared_error",
            "RMSE": "neg_root_mean_squared_error",
            "MAE": "neg_mean_absolute_error",
            "R2": "r2",
        },
    )
    # scikit-learn's scorers negate errors, so that higher is better.
    return {
        name: (abs(scores[f"test_{name}"].mean()), scores[f"test_{name}"].std())
        for name in ("MSE", "RMSE", "MAE")
    } | {"R2": (scores["test_R2"].mean(), scores["test_R2"].std())}


# %%
# What does overfitting look like?
# --------------------------------
# This part turns the diabetes data into a binary classification problem: will the progression be
# above the median? Half of the patients form the training set of a network that is far too large
# for them (two hidden layers of 100 units, 11,000 weights for 221 patients) and has no penalty. The
# other half is the validation set. :meth:`~sknn.FeedForwardClassifier.partial_fit` trains one epoch
# per call, so the validation loss can be computed after each epoch. The training loss keeps
# decreasing, but the validation loss starts to increase after about 20 epochs. From then on, the
# network memorizes the patients of the training set, which does not help to predict the others.


def overfit(random_state=0, n_epochs=100):
    """Return the training loss and the validation loss of each epoch, without a penalty."""
    X, progress = load_diabetes(return_X_y=True)
    y = (progress > np.median(progress)).astype(int)
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=random_state
    )
    scaler = StandardScaler().fit(X_train)
    X_train, X_valid = scaler.transform(X_train), scaler.transform(X_valid)
    network = FeedForwardClassifier((100, 100), alpha=0.0, random_state=random_state)
    train_loss, valid_loss = [], []
    for _ in range(n_epochs):
        network.partial_fit(X_train, y_train, classes=[0, 1])
        train_loss.append(log_loss(y_train, network.predict_proba(X_train)))
        valid_loss.append(log_loss(y_valid, network.predict_proba(X_valid)))
    return np.array(train_loss), np.array(valid_loss)


# %%
# Plotting the results
# --------------------


def plot(losses, seeds_losses, train_loss, valid_loss):
    """Plot the loss on the ten points next to the published one, and the overfitting network."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = np.arange(1, len(losses) + 1)
    low, middle, high = np.quantile(seeds_losses, [0.1, 0.5, 0.9], axis=0)
    left.fill_between(epochs, low, high, alpha=0.2, label="seeds, 10% to 90%")
    left.plot(epochs, middle, label="seeds, median")
    left.plot(epochs, losses, "--", label="seed 0")
    left.plot(
        PUBLISHED_LOSS.keys(), PUBLISHED_LOSS.values(), "o", color="tab:gray", label="published"
    )
    left.set(title="Ten points, 2-10-1 network", xlabel="epoch", ylabel="training loss")
    left.set_ylim(bottom=0)
    left.legend()

    epochs = np.arange(1, len(train_loss) + 1)
    best = valid_loss.argmin()
    right.plot(epochs, train_loss, label="training")
    right.plot(epochs, valid_loss, label="validation")
    right.axvline(
        epochs[best], color="tab:gray", linestyle=":", label=f"best epoch, {epochs[best]}"
    )
    right.set(title="Overfitting on diabetes, 10-100-100-1", xlabel="epoch", ylabel="log loss")
    right.set_ylim(bottom=0)
    right.legend(loc="lower left")
    return figure


def main(picture=None):
    """Print the results and show the figure, or save it if `picture` is a file name."""
    losses, accuracy = first_network()
    seeds_losses, share = many_seeds()
    _, share_raw = many_seeds(centre=False)
    print("Ten points, 2-10-1 network, centred inputs")
    print("           seed 0  median of 100 seeds  published")
    for epoch, published in PUBLISHED_LOSS.items():
        median = np.median(seeds_losses[:, epoch - 1])
        print(f"  epoch {epoch:3d} {losses[epoch - 1]:6.3f} {median:12.3f} {published:17.2f}")
    print(f"  accuracy  {accuracy:6.2f} {PUBLISHED_ACCURACY:30.2f}")
    print(f"  as good as published: {share:.0%} of 100 seeds; without centring: {share_raw:.0%}")

    for title, scores in {
        "Breast cancer, five folds": evaluate_classifier(),
        "Diabetes, five folds": evaluate_regressor(),
    }.items():
        print(title)
        for name, (mean, deviation) in scores.items():
            digits = 0 if mean > 1000 else 1 if mean > 10 else 3
            print(f"  {name:<9s} {mean:8.{digits}f} +- {deviation:.{digits}f}")

    train_loss, valid_loss = overfit()
    print("Overfitting, log loss")
    for title, epoch in {
        "best validation": valid_loss.argmin() + 1,
        "end": len(valid_loss),
    }.items():
        print(
            f"  epoch {epoch:3d}  training {train_loss[epoch - 1]:.3f}"
            f"  validation {valid_loss[epoch - 1]:.3f}  ({title})"
        )

    figure = plot(losses, seeds_losses, train_loss, valid_loss)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
