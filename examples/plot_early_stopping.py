"""
Early stopping: on which rows, by which score?
==============================================

Is a handwritten digit an eight? There are 20 eights among 730 other digits to learn from, and 20
among 487 to validate on. ``early_stopping=True`` stops when a score of validation rows no longer
rises, and restores the weights of the best epoch. By default the score is the accuracy, and here
lies a trap: to call everything "another digit" is right for 96 % of these rows from the first epoch
on, and for the first dozen epochs the accuracy does not rise. Training is stopped before it has
begun.

``scoring="roc_auc"`` watches the order of the rows instead: how likely is an eight to be given a
higher probability than another digit? It rises while the accuracy stands still. ``scoring="loss"``
watches the validation loss, which does as well here.

Expect the accuracy to stop a network that is no better than guessing (an area under the ROC curve
of at most about 0.5 on test rows), and the others one of about 0.95.

The validation rows are your own, by ``fit(X, y, X_val=..., y_val=...)``: with so few eights you
will want to say which ones to learn from. Without ``early_stopping=True`` their scores and losses
are recorded all the same, and nothing is stopped, which is how the curves of the picture are made.

Run it with ``python examples/plot_early_stopping.py``, or with the name of a picture behind it to
save the figure instead of showing it. It needs matplotlib.
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
# The data
# --------


def rare_eights(random_state=0, n_rare=20):
    """Return (rows, whether each is an eight) for training, validation and test.

    The test rows have their full share of eights.
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
# One network, stopped by different scores
# ----------------------------------------


def fit(random_state=0, **parameters):
    """Return the network, which has been watched on the validation rows."""
    (X, y), (X_val, y_val), _ = rare_eights(random_state)
    network = FeedForwardClassifier(
        (30,), learning_rate_init=0.01, max_iter=300, random_state=random_state
    )
    network.set_params(**parameters)
    with warnings.catch_warnings():
        # Where training is not stopped, all epochs are meant to be run.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(X, y, X_val=X_val, y_val=y_val)


def evaluate(network, random_state=0):
    """Return the ROC-AUC and the recall of eights on the test rows."""
    _, _, (X_test, y_test) = rare_eights(random_state)
    return (
        roc_auc_score(y_test, network.predict_proba(X_test)[:, 1]),
        recall_score(y_test, network.predict(X_test)),
    )


def best_epoch(network):
    """Return the number of the epoch with the best validation score, counted from 1."""
    return int(np.argmax(network.validation_scores_)) + 1


def many_seeds(scoring, n_seeds=5):
    """Stop by a score; return epochs run, best epoch, ROC-AUC and recall, a row for each seed."""
    rows = []
    for seed in range(n_seeds):
        network = fit(seed, early_stopping=True, scoring=scoring)
        rows.append((network.n_iter_, best_epoch(network), *evaluate(network, seed)))
    return np.array(rows)


# %%
# The picture
# -----------


def plot(curves, stopped, random_state=0):
    """Draw both scores by epoch, where they would stop, and the ROC curves of the test rows."""
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
    left.plot([], [], "*", color="tab:gray", markersize=12, label="best epoch, restored")
    left.plot([], [], ":", color="tab:gray", label="stopped here")
    left.set(title="Validation rows", xlabel="epoch", ylabel="score")
    left.legend(loc="lower right")

    _, _, (X_test, y_test) = rare_eights(random_state)
    right.plot([0, 1], [0, 1], color="tab:gray", linewidth=1, label="guessing")
    for name, network in stopped.items():
        false_alarms, found, _ = roc_curve(y_test, network.predict_proba(X_test)[:, 1])
        right.plot(false_alarms, found, color=colors[name], label=f"stopped by {name}")
    right.set(
        title="Test rows: ROC curve",
        xlabel="share of others taken for eights",
        ylabel="share of eights found",
    )
    right.set_aspect("equal")
    right.legend(loc="lower right")
    return figure


def main(picture=None, n_seeds=5):
    """Print the numbers, then show the figure, or save it if `picture` names a file."""
    print(f"Early stopping with 20 eights among 730 others: means over {n_seeds} seeds")
    print("  scoring       epochs    best  ROC-AUC  recall (of test rows)")
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
