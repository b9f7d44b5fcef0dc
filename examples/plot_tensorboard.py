"""
Monitoring training with TensorBoard
====================================

Is the network still learning, or is one of its parameters a bad choice? TensorBoard plots curves in
a browser during the training, and shows several runs in the same plot. To use it, pass skorch's
``TensorBoard`` callback in the parameter `callbacks`. After each epoch, this callback writes the
history of the training: losses, validation scores, and everything that other callbacks record. A
custom callback can add images, histograms or text.

This example trains three networks with different learning rates and writes each of them to its own
folder. It then reads the files in the same way as TensorBoard, so that it can plot the curves here.
To see the curves in a browser during the training, run ``tensorboard --logdir runs``.

Expect slow progress with the low learning rate and fluctuations with the high one. The values in
the files equal those of the history, rounded to float32.

Run it with ``python examples/plot_tensorboard.py``. It needs matplotlib and tensorboard, which you
can install with ``python -m pip install tensorboard``.
"""

import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from skorch.callbacks import TensorBoard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
# The number of epochs is fixed on purpose.
warnings.simplefilter("ignore", ConvergenceWarning)
RATES = {"low": 0.0003, "good": 0.003, "high": 0.1}

X, y = load_digits(return_X_y=True)
X_train, X_valid, y_train, y_valid = train_test_split(
    X / 16, y, test_size=0.3, stratify=y, random_state=0
)

# %%
# Writing the files
# -----------------
# The following callback is derived from skorch's callback. Every ten epochs, it also writes a
# histogram of the weights of the first layer. skorch passes its net to the callback, and the torch
# module is the attribute `module_` of this net.


class WithWeights(TensorBoard):
    """Writes the history and histograms of the weights of the first layer."""

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        epoch = len(net.history)
        if epoch % 10 == 0:
            weights = next(net.module_.parameters()).detach().cpu()
            self.writer.add_histogram("Weights/first layer", weights, global_step=epoch)


def train(folder, rate):
    """Return a fitted network, whose training is written to the folder."""
    network = FeedForwardClassifier(
        (50,),
        batch_size=50,
        learning_rate_init=rate,
        max_iter=40,
        n_iter_no_change=np.inf,
        callbacks=[WithWeights(SummaryWriter(folder))],
        random_state=0,
    )
    return network.fit(X_train, y_train, X_val=X_valid, y_val=y_valid)


# %%
# Reading the files
# -----------------
# TensorBoard itself reads files with `EventAccumulator`. Losses and scores are scalars, and each of
# them has the number of its epoch.

networks, curves = {}, {}
with tempfile.TemporaryDirectory() as runs:
    for name, rate in RATES.items():
        folder = Path(runs) / name
        networks[name] = train(folder, rate)
        events = EventAccumulator(str(folder), size_guidance={"histograms": 0}).Reload()
        curves[name] = {
            tag: np.array([event.value for event in events.Scalars(tag)])
            for tag in events.Tags()["scalars"]
        }
        histograms = events.Histograms("Weights/first layer")
tags = sorted(curves["good"])
print("Scalars:", ", ".join(tags))
print("Epochs of the histograms of the last run:", [event.step for event in histograms])
print("rate       training loss  validation loss  validation accuracy")
for name, rate in RATES.items():
    run = curves[name]
    print(
        f"{rate:<10g}{run['Loss/train_loss'][-1]:14.4f}{run['Loss/valid_loss'][-1]:17.4f}"
        f"{run['Loss/valid_score'][-1]:21.3f}"
    )
largest = max(
    np.abs(run["Loss/valid_loss"] / np.array(networks[name].validation_loss_curve_) - 1).max()
    for name, run in curves.items()
)
print(f"Largest relative difference from the history: {largest:.1e}")

# %%
# Plotting the curves
# -------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for (name, rate), style in zip(RATES.items(), (":", "-", "--"), strict=True):
    for axis, tag in ((left, "Loss/train_loss"), (right, "Loss/valid_score")):
        values = curves[name][tag]
        axis.plot(np.arange(1, len(values) + 1), values, style, label=f"{name}, {rate:g}")
left.set(title="Loss/train_loss", xlabel="epoch", ylabel="training loss", yscale="log")
right.set(title="Loss/valid_score", xlabel="epoch", ylabel="validation accuracy", ylim=(0.8, 1))
right.legend(title="learning rate", loc="lower right")
plt.show()

# %%
# The good learning rate gives the lowest validation loss. With the low learning rate, the network
# has not converged yet, and with the high learning rate, the loss fluctuates.
