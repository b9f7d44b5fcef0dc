"""
Rare classes: class weights and the focal loss
==============================================

Is a handwritten digit an eight? With 20 eights among 811 other digits to learn from, a network
that is trained by the plain cross-entropy calls most eights "another digit": that is right nearly
always where eights are as rare as this, and useless. Two remedies, and what they do on digits that
were not trained on:

- ``class_weight="balanced"`` lets each eight weigh as much as 41 others: most eights are found;
- ``loss="focal"`` lets a digit count less the better it is classified already, so that the many
  easy others do not drown the few eights: more eights are found, with hardly a false alarm.

Expect the weights to have the higher balanced accuracy (the mean of the shares of eights and of
others that are recognized), the more so the rarer the eights; and the focal loss to lie between
them and the plain network. Expect no wonders in the *order* of the digits: the area under the ROC
curve is much the same for all, so a lower threshold for the plain network's probability would be a
remedy too. The weights need no such threshold.

Run it with ``python examples/plot_imbalanced_classes.py``, or with the name of a picture behind it
to save the figure instead of showing it. It needs matplotlib.
"""

import sys
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier

MODELS = {
    "plain": {},
    "focal": {"loss": "focal"},
    "balanced": {"class_weight": "balanced"},
    "balanced, focal": {"class_weight": "balanced", "loss": "focal"},
}
SCORES = ("balanced accuracy", "recall", "precision", "accuracy", "ROC-AUC")
N_RARE = (10, 20, 40, 80)

# %%
# The data
# --------
# Half of the digits are for training, and all but `n_rare` of their eights are thrown away. The
# other half has its full share of eights (one in ten), so that recall is measured on many.


def rare_eights(n_rare=20, random_state=0):
    """Return training and test rows, and whether each is an eight."""
    X, digit = load_digits(return_X_y=True)
    X, y = X / 16, (digit == 8).astype(int)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=random_state
    )
    keep = np.r_[np.flatnonzero(y_train == 0), np.flatnonzero(y_train == 1)[:n_rare]]
    return X_train[keep], X_test, y_train[keep], y_test


# %%
# One network, four ways to train it
# ----------------------------------
# Recall is the share of the eights that are found, precision the share of the alarms that are
# right. All is as by default but for the rate, the number of epochs and the remedy.


def evaluate(n_rare=20, random_state=0, **remedy):
    """Return the scores on the test rows as {name: value}."""
    X_train, X_test, y_train, y_test = rare_eights(n_rare, random_state)
    network = FeedForwardClassifier(
        (30,),
        learning_rate_init=0.01,
        max_iter=60,
        n_iter_no_change=np.inf,
        random_state=random_state,
        **remedy,
    )
    with warnings.catch_warnings():
        # All 60 epochs are meant to be run.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, y_train)
    predicted = network.predict(X_test)
    return {
        "balanced accuracy": balanced_accuracy_score(y_test, predicted),
        "recall": recall_score(y_test, predicted),
        # Without an alarm none is right: 0, and no warning.
        "precision": precision_score(y_test, predicted, zero_division=0),
        "accuracy": accuracy_score(y_test, predicted),
        "ROC-AUC": roc_auc_score(y_test, network.predict_proba(X_test)[:, 1]),
    }


def many_seeds(n_rare=20, n_seeds=5):
    """Return {model: {score: array with a value for each seed}}."""
    runs = {
        name: [evaluate(n_rare, seed, **remedy) for seed in range(n_seeds)]
        for name, remedy in MODELS.items()
    }
    return {
        name: {score: np.array([run[score] for run in of_model]) for score in SCORES}
        for name, of_model in runs.items()
    }


# %%
# The picture
# -----------


def plot(by_n_rare):
    """Draw balanced accuracy by the number of eights, and precision and recall for 20 of them."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, marker in zip(MODELS, "osD^", strict=True):
        values = np.array([scores[name]["balanced accuracy"] for scores in by_n_rare.values()])
        (line,) = left.plot(list(by_n_rare), values.mean(axis=1), marker=marker, label=name)
        left.fill_between(
            list(by_n_rare),
            values.min(axis=1),
            values.max(axis=1),
            color=line.get_color(),
            alpha=0.12,
            linewidth=0,
        )
        scores = by_n_rare[20][name]
        right.plot(
            scores["recall"],
            scores["precision"],
            marker,
            color=line.get_color(),
            label=name,
        )
    left.axhline(0.5, color="tab:gray", linestyle=":", label='always "no eight"')
    left.set_xscale("log", base=2)
    left.set_xticks(list(by_n_rare), list(by_n_rare))
    left.set(
        title="The rarer the eights, the more a remedy helps",
        xlabel="eights among 811 other digits",
        ylabel="balanced accuracy",
    )
    left.legend()
    right.set(
        title="20 eights, one mark for each seed",
        xlabel="recall: eights that are found",
        ylabel="precision: alarms that are right",
        xlim=(-0.05, 1),
        ylim=(-0.05, 1.05),
    )
    right.legend(loc="center left")
    return figure


def main(picture=None, n_seeds=5):
    """Print the scores, then show the figure, or save it if `picture` names a file."""
    by_n_rare = {n_rare: many_seeds(n_rare, n_seeds) for n_rare in N_RARE}
    print(f"20 eights among 811 other digits: means over {n_seeds} seeds")
    print(" " * 17 + "".join(f"{score:>19s}" for score in SCORES))
    for name, scores in by_n_rare[20].items():
        print(f"  {name:<15s}" + "".join(f"{scores[score].mean():19.3f}" for score in SCORES))
    print("Balanced accuracy by the number of eights")
    print(" " * 17 + "".join(f"{n_rare:8d}" for n_rare in by_n_rare))
    for name in MODELS:
        means = [scores[name]["balanced accuracy"].mean() for scores in by_n_rare.values()]
        print(f"  {name:<15s}" + "".join(f"{mean:8.3f}" for mean in means))

    figure = plot(by_n_rare)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
