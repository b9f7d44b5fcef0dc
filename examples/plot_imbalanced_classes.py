"""
Class weights and focal loss for rare classes
=============================================

How can a network learn to recognize a rare class? In this example, the training set contains 20
eights and 811 other digits. A network that is trained with the plain cross-entropy classifies most
eights as "another digit". This is nearly always correct for such data, but useless. The example
compares two remedies on the test set:

- ``class_weight="balanced"`` gives each eight the weight of 41 other digits. The network then
  detects most eights.
- ``loss="focal"`` reduces the weight of samples that are already classified well, so that the many
  easy digits do not dominate the few eights. The network then detects more eights, with hardly any
  false positives.

Expect class weights to give the highest balanced accuracy, that is, the mean of the recall of
eights and the recall of other digits. Their advantage increases as eights become rarer. The focal
loss lies between the class weights and the plain network. Do not expect a better *ranking* of the
samples: the area under the ROC curve is nearly the same for all networks. You could therefore also
lower the decision threshold of the plain network. With class weights, you do not have to choose a
threshold.

Run it with ``python examples/plot_imbalanced_classes.py``. To save the figure instead of showing
it, add the name of an image file. The example needs matplotlib.
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
# Data
# ----
# Half of the digits form the training set, from which all eights except `n_rare` are removed. The
# other half is the test set. It keeps all of its eights (10%), so that the recall is computed from
# many samples.


def rare_eights(n_rare=20, random_state=0):
    """Return training and test data; the labels are 1 for an eight."""
    X, digit = load_digits(return_X_y=True)
    X, y = X / 16, (digit == 8).astype(int)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=random_state
    )
    keep = np.r_[np.flatnonzero(y_train == 0), np.flatnonzero(y_train == 1)[:n_rare]]
    return X_train[keep], X_test, y_train[keep], y_test


# %%
# Training a network in four ways
# -------------------------------
# Recall is the share of the eights that are detected, and precision is the share of the positive
# predictions that are correct. Apart from the learning rate, the number of epochs and the remedy,
# all parameters have their default values.


def evaluate(n_rare=20, random_state=0, **remedy):
    """Return the scores on the test set as {name: value}."""
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
        # The number of epochs is fixed on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, y_train)
    predicted = network.predict(X_test)
    return {
        "balanced accuracy": balanced_accuracy_score(y_test, predicted),
        "recall": recall_score(y_test, predicted),
        # The precision is 0, without a warning, if nothing is predicted as an eight.
        "precision": precision_score(y_test, predicted, zero_division=0),
        "accuracy": accuracy_score(y_test, predicted),
        "ROC-AUC": roc_auc_score(y_test, network.predict_proba(X_test)[:, 1]),
    }


def many_seeds(n_rare=20, n_seeds=5):
    """Return {model: {score: array with one value per seed}}."""
    runs = {
        name: [evaluate(n_rare, seed, **remedy) for seed in range(n_seeds)]
        for name, remedy in MODELS.items()
    }
    return {
        name: {score: np.array([run[score] for run in of_model]) for score in SCORES}
        for name, of_model in runs.items()
    }


# %%
# Plotting the results
# --------------------


def plot(by_n_rare):
    """Plot balanced accuracy by number of eights, and precision and recall for 20 eights."""
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
    left.axhline(0.5, color="tab:gray", linestyle=":", label='always "another digit"')
    left.set_xscale("log", base=2)
    left.set_xticks(list(by_n_rare), list(by_n_rare))
    left.set(
        title="Balanced accuracy by number of eights",
        xlabel="eights in the training set, with 811 other digits",
        ylabel="balanced accuracy",
    )
    left.legend()
    right.set(
        title="20 eights, one marker per seed",
        xlabel="recall",
        ylabel="precision",
        xlim=(-0.05, 1),
        ylim=(-0.05, 1.05),
    )
    right.legend(loc="center left")
    return figure


def main(picture=None, n_seeds=5):
    """Print the scores and show the figure, or save it if `picture` is a file name."""
    by_n_rare = {n_rare: many_seeds(n_rare, n_seeds) for n_rare in N_RARE}
    print(f"20 eights and 811 other digits (mean over {n_seeds} seeds)")
    print(" " * 17 + "".join(f"{score:>19s}" for score in SCORES))
    for name, scores in by_n_rare[20].items():
        print(f"  {name:<15s}" + "".join(f"{scores[score].mean():19.3f}" for score in SCORES))
    print("Balanced accuracy by number of eights")
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
