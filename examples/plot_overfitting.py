"""
Dropout and label smoothing against overfitting
===============================================

How do dropout and label smoothing reduce overfitting? As in ``plot_first_network.py``, the task is
to predict whether the progression of diabetes will be above the median. The training set has 221
patients with ten measurements each, and the network is far too large for them: two hidden layers of
100 units with 11,000 weights. The example compares three remedies:

- ``dropout=0.5`` drops each hidden unit with a probability of 0.5, independently for each sample
  and training step.
- ``input_dropout=0.5`` does the same with the inputs.
- ``label_smoothing=0.3`` replaces the target probability of 1 by 0.85.

Expect the training loss of the plain network to keep decreasing while its validation loss
increases. With both kinds of dropout, the gap between the two losses shrinks by more than half, and
the validation loss no longer increases. Label smoothing does not prevent the network from
memorizing the patients, but it makes the network less overconfident: its mean confidence (the
predicted probability of the predicted class) is closer to its accuracy. The accuracy itself
improves by one or two percentage points at most.

``normalization="layer"`` and ``"batch"`` do not reduce overfitting. They make a network learn
faster, which includes memorizing the patients. ``plot_deep_networks.py`` shows when they are
useful.

Run it with ``python examples/plot_overfitting.py``. To save the figure instead of showing it, add
the name of an image file. The example needs matplotlib.
"""

import sys
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring

from sknn import FeedForwardClassifier

REMEDIES = {
    "plain": {},
    "dropout=0.5": {"dropout": 0.5},
    "input_dropout=0.5": {"input_dropout": 0.5},
    "label_smoothing=0.3": {"label_smoothing": 0.3},
}
N_EPOCHS = 100

# %%
# Data
# ----


def patients(random_state=0):
    """Return the scaled data; the labels say whether the progression is above the median."""
    X, progress = load_diabetes(return_X_y=True)
    y = (progress > np.median(progress)).astype(int)
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=random_state
    )
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_valid), y_train, y_valid


# %%
# Training a network in four ways
# -------------------------------
# With ``X_val`` and ``y_val``, the network records the validation loss in
# ``validation_loss_curve_``. The training loss in ``loss_curve_`` is computed with dropout and
# smoothed labels, so you cannot compare it with the validation loss. Therefore, a callback of
# skorch computes the loss of the complete network on the training set after every epoch.


def overfit(random_state=0, n_epochs=N_EPOCHS, **remedy):
    """Train on half of the patients and validate on the other half.

    Return {"training": losses, "validation": losses, "accuracy": float, "confidence": float}. The
    accuracy and the confidence are those on the validation set after the last epoch.
    """
    X_train, X_valid, y_train, y_valid = patients(random_state)
    training_loss = EpochScoring(
        "neg_log_loss", name="training", on_train=True, lower_is_better=False
    )
    network = FeedForwardClassifier(
        (100, 100),
        alpha=0.0,
        max_iter=n_epochs,
        n_iter_no_change=np.inf,
        callbacks=[training_loss],
        random_state=random_state,
        **remedy,
    )
    with warnings.catch_warnings():
        # The number of epochs is fixed on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, y_train, X_val=X_valid, y_val=y_valid)
    return {
        "training": -np.array(network.net_.history[:, "training"]),
        "validation": np.array(network.validation_loss_curve_),
        "accuracy": network.score(X_valid, y_valid),
        "confidence": network.predict_proba(X_valid).max(axis=1).mean(),
    }


def many_seeds(n_seeds=5, n_epochs=N_EPOCHS, **remedy):
    """Return the results of `overfit` with one row per seed."""
    runs = [overfit(seed, n_epochs, **remedy) for seed in range(n_seeds)]
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


# %%
# Plotting the results
# --------------------


def plot(by_remedy):
    """Plot the loss curves, and compare confidence and accuracy."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4), layout="constrained", width_ratios=(3, 2)
    )
    for number, (name, runs) in enumerate(by_remedy.items()):
        color = f"C{number}"
        epochs = np.arange(1, runs["training"].shape[1] + 1)
        left.plot(epochs, runs["validation"].mean(axis=0), color=color, label=name)
        left.plot(epochs, runs["training"].mean(axis=0), "--", color=color)
        accuracy, confidence = runs["accuracy"].mean(), runs["confidence"].mean()
        right.plot([accuracy, confidence], [number, number], color="tab:gray", zorder=1)
        right.scatter(accuracy, number, color=color, marker="|", s=250, linewidth=3)
        right.scatter(confidence, number, color=color, s=60)
    left.plot([], [], color="tab:gray", label="validation")
    left.plot([], [], "--", color="tab:gray", label="training")
    left.set(title="Training and validation loss", xlabel="epoch", ylabel="log loss")
    left.legend(ncols=2)
    right.scatter([], [], color="tab:gray", marker="|", s=250, linewidth=3, label="accuracy")
    right.scatter([], [], color="tab:gray", s=60, label="mean confidence")
    right.set(
        title="Overconfidence on the validation set",
        xlabel="accuracy, or mean confidence",
        ylim=(len(by_remedy) + 0.3, -0.6),
    )
    right.set_yticks(range(len(by_remedy)), by_remedy)
    right.legend(loc="lower right", ncols=2)
    return figure


def main(picture=None, n_seeds=3):
    """Print the results and show the figure, or save it if `picture` is a file name."""
    by_remedy = {name: many_seeds(n_seeds, **remedy) for name, remedy in REMEDIES.items()}
    print(f"Diabetes above the median, 10-100-100-1, last epoch (mean over {n_seeds} seeds)")
    print(" " * 21 + "training  validation    gap  accuracy  confidence")
    for name, runs in by_remedy.items():
        training, validation = runs["training"][:, -1].mean(), runs["validation"][:, -1].mean()
        print(
            f"  {name:<19s}{training:8.3f}{validation:12.3f}{validation - training:7.3f}"
            f"{runs['accuracy'].mean():10.3f}{runs['confidence'].mean():12.3f}"
        )

    figure = plot(by_remedy)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
