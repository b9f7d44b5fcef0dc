"""
Callbacks for scores, checkpoints and learning rates
====================================================

How can you record scores, save checkpoints and change the learning rate while a network is trained?
Callbacks of skorch are called at certain points of the training, for example after each epoch, and
they can add values to the history. This example trains a network on the breast cancer dataset,
which contains 30 measurements of cell nuclei per patient, with four callbacks:

- ``EpochScoring`` computes a scikit-learn score after each epoch, on the training set or on the
  validation set. The scorer receives your own labels, here "malignant" and "benign".
- ``Checkpoint`` saves the weights whenever the validation loss reaches a new minimum.
- ``LRScheduler`` uses a scheduler of torch. Here it halves the learning rate every 15 epochs.
- A custom callback of a few lines records how far the weights have moved from their initial values.

``verbose="progress"`` shows a progress bar instead of one line per epoch.

Expect the training loss to decrease until the end, and the validation loss to reach its minimum
after about 15 epochs. The checkpoint contains the weights of that epoch, and a copy of the network
with these weights reproduces the minimum. Also expect the weights to move more slowly each time the
learning rate is halved.

`fit` trains with copies of the callbacks. The copies with the results are in `callbacks_`, and the
list that you passed stays unchanged, so that a clone, or each fit of a grid search, starts from
scratch. To use the callbacks of scikit-learn 1.9, call ``network.set_callbacks(...)`` instead.

Run it with ``python examples/plot_callbacks.py``. To save the figure instead of showing it, add the
name of an image file. The example needs matplotlib.
"""

import copy
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, make_scorer, recall_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, Checkpoint, EpochScoring, LRScheduler

from sknn import FeedForwardClassifier

N_EPOCHS = 60
RECALL = make_scorer(recall_score, pos_label="malignant")

# %%
# Data
# ----


def cells(random_state=0):
    """Return the scaled training and validation data, with strings as labels."""
    X, y = load_breast_cancer(return_X_y=True)
    labels = np.where(y == 0, "malignant", "benign")
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, labels, test_size=0.5, stratify=labels, random_state=random_state
    )
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_valid), y_train, y_valid


# %%
# A custom callback
# -----------------
# skorch passes its net to the callback. The torch module is the attribute `module_` of this net.


class WeightDistance(Callback):
    """Records the distance of all parameters from their initial values."""

    def _parameters(self, net):
        return [p.detach().cpu().numpy().copy() for p in net.module_.parameters()]

    def on_train_begin(self, net, **kwargs):
        self.start_ = self._parameters(net)

    def on_epoch_end(self, net, **kwargs):
        moved = [p - start for p, start in zip(self._parameters(net), self.start_, strict=True)]
        net.history.record("distance", sum((d**2).sum() for d in moved) ** 0.5)


# %%
# Training with all callbacks
# ---------------------------


def fit(folder, random_state=0, n_epochs=N_EPOCHS, verbose=False):
    """Return the network, trained with all callbacks. Checkpoints are written to the folder."""
    X_train, X_valid, y_train, y_valid = cells(random_state)
    callbacks = [
        ("train_recall", EpochScoring(RECALL, name="train_recall", on_train=True)),
        ("valid_recall", EpochScoring(RECALL, name="valid_recall")),
        ("valid_auc", EpochScoring("roc_auc", name="valid_auc")),
        Checkpoint(
            monitor="valid_loss_best",
            dirname=folder,
            # Save only the weights.
            f_optimizer=None,
            f_criterion=None,
            f_history=None,
        ),
        LRScheduler(policy="StepLR", step_size=15, gamma=0.5),
        WeightDistance,
    ]
    network = FeedForwardClassifier(
        (100,),
        alpha=0.0,
        learning_rate_init=0.005,
        max_iter=n_epochs,
        n_iter_no_change=np.inf,
        callbacks=callbacks,
        verbose=verbose,
        random_state=random_state,
    )
    with warnings.catch_warnings():
        # The number of epochs is fixed on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(X_train, y_train, X_val=X_valid, y_val=y_valid)


# %%
# Restoring a checkpoint
# ----------------------
# The file contains the state of the torch module, whose layers hold the transposed weights. If you
# only need the best epoch, use ``early_stopping=True, scoring="loss"``, which needs no file.


def restored(network, folder):
    """Return a copy of the network with the weights of the checkpoint."""
    state = torch.load(Path(folder) / "params.pt", weights_only=True)
    best = copy.deepcopy(network)
    layers = range(len(best.coefs_))
    best.coefs_ = [state[f"linear{i}.weight"].numpy().T for i in layers]
    best.intercepts_ = [state[f"linear{i}.bias"].numpy() for i in layers]
    return best


def validation_loss(network, random_state=0):
    """Return the log loss on the validation set."""
    _, X_valid, _, y_valid = cells(random_state)
    return log_loss(y_valid, network.predict_proba(X_valid), labels=network.classes_)


# %%
# Plotting the history
# --------------------


def plot(history):
    """Plot the recorded losses, scores, learning rates and distances."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    epochs = np.array(history[:, "epoch"])
    left.plot(epochs, history[:, "train_loss"], label="train_loss")
    left.plot(epochs, history[:, "valid_loss"], label="valid_loss")
    saved = np.flatnonzero(history[:, "event_cp"])
    losses = np.array(history[:, "valid_loss"])
    left.plot(epochs[saved], losses[saved], ".", color="C1", markersize=9, label="checkpoint")
    left.plot(
        epochs[saved[-1]],
        losses[saved[-1]],
        "*",
        color="C1",
        markersize=15,
        label="last checkpoint",
    )
    left.set(title="Checkpoint", xlabel="epoch", ylabel="log loss")
    left.set_ylim(bottom=0)
    left.legend()
    for name in ("train_recall", "valid_recall", "valid_auc"):
        middle.plot(epochs, history[:, name], label=name)
    middle.set(title="EpochScoring", xlabel="epoch", ylabel="score")
    middle.legend()
    (rate,) = right.step(epochs, history[:, "event_lr"], color="C2", where="mid")
    right.set(title="LRScheduler and custom callback", xlabel="epoch", ylabel="learning rate")
    right.set_ylim(bottom=0)
    twin = right.twinx()
    (distance,) = twin.plot(epochs, history[:, "distance"], color="C3")
    twin.set_ylabel("distance from the initial weights")
    twin.set_ylim(bottom=0)
    right.legend([rate, distance], ["event_lr", "distance"], loc="lower center")
    return figure


def main(picture=None, n_epochs=N_EPOCHS):
    """Print the results and show the figure, or save it if `picture` is a file name."""
    with tempfile.TemporaryDirectory() as folder:
        network = fit(folder, n_epochs=n_epochs, verbose="progress")
        best = restored(network, folder)
    history = network.net_.history
    print("  epoch  train_loss  valid_loss  valid_recall  valid_auc      rate  distance  saved")
    for row in history[:: max(1, n_epochs // 10)]:
        print(
            f"{row['epoch']:7d}{row['train_loss']:12.4f}{row['valid_loss']:12.4f}"
            f"{row['valid_recall']:14.3f}{row['valid_auc']:11.4f}{row['event_lr']:10.5f}"
            f"{row['distance']:10.2f}  {'yes' if row['event_cp'] else ''}"
        )
    print(f"Validation loss at the end: {validation_loss(network):.4f}")
    print(f"Validation loss of the checkpoint: {validation_loss(best):.4f}")
    print("Callbacks of this fit:", ", ".join(name for name, _ in network.callbacks_))

    figure = plot(history)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
