"""
Dropout and label smoothing against over-fitting
================================================

Will the diabetes progress above the median? 221 patients, ten measurements of each, and a network
that is far too large for them: two layers of 100 units, 11 000 weights. The first example,
``plot_first_network.py``, shows what happens; this one shows what helps.

- ``dropout=0.5`` leaves out each hidden unit with a probability of one half in each training step,
  anew for each row;
- ``input_dropout=0.5`` does the same to the measurements;
- ``label_smoothing=0.3`` asks for 85 % instead of a certainty.

Expect the plain network's training loss to fall on and on while its validation loss rises, and
both kinds of dropout to keep the two together: the gap between them shrinks by more than half, and
the validation loss no longer rises. Label smoothing does not stop the network from learning the
patients by heart, but from being so sure of it: expect its mean confidence (the probability of the
class that it predicts) nearer to its accuracy. The accuracy itself gains a point or two at best.

``normalization="layer"`` and ``"batch"`` are no such remedy: they make a network learn faster, the
patients as well. What they are good for is shown in ``plot_deep_networks.py``.

Run it with ``python examples/plot_overfitting.py``, or with the name of a picture behind it to save
the figure instead of showing it. It needs matplotlib.
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
# The data
# --------


def patients(random_state=0):
    """Return training and validation rows, scaled, and whether the progress is above the median."""
    X, progress = load_diabetes(return_X_y=True)
    y = (progress > np.median(progress)).astype(int)
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=random_state
    )
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_valid), y_train, y_valid


# %%
# One network, four ways to train it
# ----------------------------------
# The validation loss comes with ``X_val`` and ``y_val``, in ``validation_loss_curve_``. The
# training loss in ``loss_curve_`` is that of the networks with units left out, and of smoothed
# labels: it cannot be compared with the validation loss. So a callback of skorch takes that of the
# whole network on the training rows after every epoch.


def overfit(random_state=0, n_epochs=N_EPOCHS, **remedy):
    """Train on half of the patients and validate on the others.

    Returns {"training": losses, "validation": losses, "accuracy": float, "confidence": float}; the
    last two are of the validation rows at the end.
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
        # All epochs are meant to be run.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, y_train, X_val=X_valid, y_val=y_valid)
    return {
        "training": -np.array(network.net_.history[:, "training"]),
        "validation": np.array(network.validation_loss_curve_),
        "accuracy": network.score(X_valid, y_valid),
        "confidence": network.predict_proba(X_valid).max(axis=1).mean(),
    }


def many_seeds(n_seeds=5, n_epochs=N_EPOCHS, **remedy):
    """Return what `overfit` does, with one row for each seed."""
    runs = [overfit(seed, n_epochs, **remedy) for seed in range(n_seeds)]
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


# %%
# The picture
# -----------


def plot(by_remedy):
    """Draw the loss curves, and confidence beside accuracy."""
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
    left.plot([], [], color="tab:gray", label="validation rows")
    left.plot([], [], "--", color="tab:gray", label="training rows")
    left.set(title="Loss on rows trained on, and on others", xlabel="epoch", ylabel="log loss")
    left.legend(ncols=2)
    right.scatter([], [], color="tab:gray", marker="|", s=250, linewidth=3, label="accuracy")
    right.scatter([], [], color="tab:gray", s=60, label="mean confidence")
    right.set(
        title="Over-confidence on validation rows",
        xlabel="share, or probability",
        ylim=(len(by_remedy) + 0.3, -0.6),
    )
    right.set_yticks(range(len(by_remedy)), by_remedy)
    right.legend(loc="lower right", ncols=2)
    return figure


def main(picture=None, n_seeds=3):
    """Print the numbers, then show the figure, or save it if `picture` names a file."""
    by_remedy = {name: many_seeds(n_seeds, **remedy) for name, remedy in REMEDIES.items()}
    print(f"Diabetes above the median, 10-100-100-1: means over {n_seeds} seeds, at the end")
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
