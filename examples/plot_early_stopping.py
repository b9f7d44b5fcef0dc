"""
Choosing the score for early stopping
=====================================

Which score should early stopping monitor if a class is rare? ``early_stopping=True`` stops the
training when the score on the validation set no longer improves, and restores the weights of the
best epoch. In this example, a network learns to recognize the digit eight. The training set
contains 20 eights and 730 other digits, and the validation set 20 eights and 487 other digits.

By default, early stopping monitors the accuracy, which is a poor choice here: predicting "another
digit" for every sample is correct for 96% of the samples. The network reaches this accuracy in the
first epoch and does not improve on it for about a dozen epochs, so the training stops too early.
``scoring="roc_auc"`` monitors how well the predicted probabilities rank eights above other digits.
This score increases while the accuracy stays constant. ``scoring="loss"`` monitors the validation
loss, which works equally well here.

Expect the network that is stopped by its accuracy to be no better than random guessing, with an
area under the ROC curve of at most about 0.5 on the test set. The two other networks reach about
0.95.

The example passes its own validation set to ``fit(X, y, X_val=..., y_val=...)``, because with so
few eights it matters which of them are used for training. Without ``early_stopping=True``, `fit`
only records the scores and losses on the validation set. The curves in the plot were recorded in
this way.

Run it with ``python examples/plot_early_stopping.py``. To save the figure instead of showing it,
add the name of an image file. The example needs matplotlib.
"""

import sys
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import recall_score, roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier

SCORINGS = ("accuracy", "loss", "roc_auc")
N_EPOCHS = 100

# %%
# Data
# ----


def rare_eights(random_state=0, n_rare=20):
    """Return (X, y) for the training, validation and test set; y is 1 for an eight.

    The test set keeps all of its eights.
    """
    X, digit = load_digits(return_X_y=True)
    X, y = X / 16, (digit == 8).astype(int)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.25, stratify=y, random_state=random_state
    )
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.4, stratify=y, random_state=random_state
    )
    kept = []
    for rows, is_eight in ((X_train, y_train), (X_valid, y_valid)):
        keep = np.r_[np.flatnonzero(is_eight == 0), np.flatnonzero(is_eight == 1)[:n_rare]]
        kept.append((rows[keep], is_eight[keep]))
    return *kept, (X_test, y_test)


# %%
# Stopping a network by different scores
# --------------------------------------


def fit(random_state=0, **parameters):
    """Return a network that was fitted with the validation set."""
    (X, y), (X_val, y_val), _ = rare_eights(random_state)
    network = FeedForwardClassifier(
        (30,), learning_rate_init=0.01, max_iter=300, random_state=random_state
    )
    network.set_params(**parameters)
    with warnings.catch_warnings():
        # Without early stopping, all epochs are run on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(X, y, X_val=X_val, y_val=y_val)


def evaluate(network, random_state=0):
    """Return the ROC AUC and the recall of eights on the test set."""
    _, _, (X_test, y_test) = rare_eights(random_state)
    return (
        roc_auc_score(y_test, network.predict_proba(X_test)[:, 1]),
        recall_score(y_test, network.predict(X_test)),
    )


def best_epoch(network):
    """Return the number of the epoch with the best validation score, counted from 1."""
    return int(np.argmax(network.validation_scores_)) + 1


def many_seeds(scoring, n_seeds=5):
    """Return the number of epochs, the best epoch, the ROC AUC and the recall for each seed."""
    rows = []
    for seed in range(n_seeds):
        network = fit(seed, early_stopping=True, scoring=scoring)
        rows.append((network.n_iter_, best_epoch(network), *evaluate(network, seed)))
    return np.array(rows)


# %%
# Plotting the results
# --------------------


def plot(curves, stopped, random_state=0):
    """Plot the validation scores, the epochs where training stops, and the ROC curves."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.4), layout="constrained", width_ratios=(3, 2)
    )
    colors = dict(zip(SCORINGS, ("C0", "C2", "C1"), strict=True))
    for name, scores in curves.items():
        left.plot(np.arange(1, len(scores) + 1), scores, color=colors[name], label=name)
        network = stopped[name]
        best = best_epoch(network)
        left.plot(best, scores[best - 1], "*", color=colors[name], markersize=15)
        left.axvline(network.n_iter_, color=colors[name], linestyle=":", linewidth=1.2)
    left.plot([], [], "*", color="tab:gray", markersize=12, label="best epoch (restored)")
    left.plot([], [], ":", color="tab:gray", label="last epoch")
    left.set(title="Scores on the validation set", xlabel="epoch", ylabel="score")
    left.legend(loc="lower right")

    _, _, (X_test, y_test) = rare_eights(random_state)
    right.plot([0, 1], [0, 1], color="tab:gray", linewidth=1, label="chance level")
    for name, network in stopped.items():
        false_alarms, found, _ = roc_curve(y_test, network.predict_proba(X_test)[:, 1])
        right.plot(false_alarms, found, color=colors[name], label=f"stopped by {name}")
    right.set(
        title="ROC curves on the test set",
        xlabel="false positive rate",
        ylabel="true positive rate",
    )
    right.set_aspect("equal")
    right.legend(loc="lower right")
    return figure


def main(picture=None, n_seeds=5):
    """Print the results and show the figure, or save it if `picture` is a file name."""
    print(f"Early stopping with 20 eights and 730 other digits (mean over {n_seeds} seeds)")
    print("  scoring       epochs    best  ROC-AUC  recall (test set)")
    for name in SCORINGS:
        epochs, best, area, recall = many_seeds(name, n_seeds).mean(axis=0)
        print(f"  {name:<12s}{epochs:8.0f}{best:8.0f}{area:9.3f}{recall:8.3f}")

    curves = {
        name: fit(max_iter=N_EPOCHS, n_iter_no_change=np.inf, scoring=name).validation_scores_
        for name in ("accuracy", "roc_auc")
    }
    stopped = {name: fit(early_stopping=True, scoring=name) for name in SCORINGS}
    figure = plot(curves, stopped)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
