"""
Learning rates: warm-up, cosine, one cycle, clipping
====================================================

High or low? One rate for all of the training is a compromise: a high one gets ahead fast and then
jumps around the minimum, a low one gets near to it and takes its time. A schedule need not choose.
On handwritten digits, 20 epochs of Adam on batches of 32 rows:

- ``learning_rate="cosine"`` goes from `learning_rate_init` to 0 at the end of `max_iter` epochs;
- ``warmup_fraction=0.1`` lets the rate rise from 0 over the first tenth of the steps, when the
  weights are new and a full step would be a leap in the dark;
- ``learning_rate="one_cycle"`` has a rise and a fall of its own.

Expect the schedules to do best at a rate at which the constant one jumps around and ends anywhere,
and with a loss a little below that of the best constant rate; and the warm-up to matter most where
the rate is really too high. So with a schedule try a *higher* rate: at a low one it ends with a
higher loss, as it takes away what was scarce. A schedule reaches its end if all `max_iter` epochs
are run, which ``n_iter_no_change=np.inf`` sees to.

The last picture is of ``solver="sgd"`` at a rate that is far too high. It learns nothing: the first
steps are so large that nearly all units are dead, zero for every row. ``max_grad_norm=0.1`` bounds
the gradient, and by it the steps. Expect that network to learn.

Run it with ``python examples/plot_learning_rates.py``, or with the name of a picture behind it to
save the figure instead of showing it. It needs matplotlib.
"""

import sys
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier

SCHEDULES = {
    "constant": {},
    "warm-up": {"warmup_fraction": 0.1},
    "cosine": {"learning_rate": "cosine"},
    "warm-up, cosine": {"learning_rate": "cosine", "warmup_fraction": 0.1},
    "one_cycle": {"learning_rate": "one_cycle"},
}
RATES = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
HIGH_RATE = 0.05
N_EPOCHS = 20

# %%
# A network and its rate
# ----------------------


def digits(random_state=0):
    """Return training and test rows, in [0, 1], and the digits."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, test_size=1 / 3, stratify=y, random_state=random_state
    )
    return X_train, X_test, y_train, y_test


def train(rate, random_state=0, n_epochs=N_EPOCHS, **parameters):
    """Return the network, and its log loss on the training rows at the end.

    The last of `loss_curve_` is a mean over the steps of the last epoch, from which the network has
    moved on.
    """
    X, _, y, _ = digits(random_state)
    network = FeedForwardClassifier(
        (50,),
        batch_size=32,
        learning_rate_init=rate,
        max_iter=n_epochs,
        n_iter_no_change=np.inf,
        random_state=random_state,
        **parameters,
    )
    with warnings.catch_warnings():
        # All epochs are meant to be run.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X, y)
    return network, log_loss(y, network.predict_proba(X))


def final_losses(rate, n_seeds=3, **parameters):
    """Return the training loss at the end for each seed."""
    return np.array([train(rate, seed, **parameters)[1] for seed in range(n_seeds)])


# %%
# Clipping
# --------


def clipped(max_grad_norm, random_state=0):
    """Return a network, trained by `solver="sgd"` at the rate of 1, and its test accuracy."""
    network, _ = train(1.0, random_state, 10, solver="sgd", max_grad_norm=max_grad_norm)
    _, X_test, _, y_test = digits(random_state)
    return network, network.score(X_test, y_test)


# %%
# The picture
# -----------


def plot(networks, by_schedule, by_norm):
    """Draw rates and losses by epoch, losses at the end by rate, and the effect of clipping."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7), layout="constrained")
    (upper_left, upper_right), (lower_left, lower_right) = axes
    styles = ("-", ":", "-", "--", "-.")
    colors = ("C0", "C1", "C2", "C3", "C5")  # C4 is a yellow that is hard to see on white
    for (name, network), style, color in zip(networks.items(), styles, colors, strict=True):
        look = {"linestyle": style, "color": color, "label": name}
        epochs = np.arange(1, network.n_iter_ + 1)
        upper_left.plot(epochs, network.learning_rate_curve_, **look)
        upper_right.plot(epochs, network.loss_curve_, **look)
        means = [losses.mean() for losses in by_schedule[name].values()]
        lower_left.plot(list(by_schedule[name]), means, marker="o", **look)
    upper_left.set(
        title="Rate at the first step of each epoch", xlabel="epoch", ylabel="learning rate"
    )
    upper_right.set(
        title=f"Training loss, learning_rate_init={HIGH_RATE}",
        xlabel="epoch",
        ylabel="loss",
        yscale="log",
    )
    lower_left.set(
        title=f"Training loss after {N_EPOCHS} epochs",
        xlabel="learning_rate_init",
        ylabel="log loss, mean over seeds",
        xscale="log",
        yscale="log",
    )
    lower_left.set_xticks(list(by_schedule["constant"]), list(by_schedule["constant"]))
    lower_left.minorticks_off()
    for norm, network in by_norm.items():
        lower_right.plot(
            np.arange(1, network.n_iter_ + 1), network.loss_curve_, label=f"max_grad_norm={norm}"
        )
    lower_right.set(
        title='solver="sgd", learning_rate_init=1', xlabel="epoch", ylabel="training loss"
    )
    lower_right.set_ylim(bottom=0)
    for axis in (upper_left, upper_right):
        axis.set_xticks(range(5, N_EPOCHS + 1, 5))
    upper_left.legend(fontsize="small")
    lower_right.legend()
    return figure


def main(picture=None, n_seeds=2, rates=RATES):
    """Print the numbers, then show the figure, or save it if `picture` names a file."""
    by_schedule = {
        name: {rate: final_losses(rate, n_seeds, **schedule) for rate in rates}
        for name, schedule in SCHEDULES.items()
    }
    print(f"Training loss after {N_EPOCHS} epochs by learning_rate_init: means of {n_seeds} seeds")
    print(" " * 18 + "".join(f"{rate:9.3f}" for rate in rates))
    for name, by_rate in by_schedule.items():
        print(f"  {name:<16s}" + "".join(f"{losses.mean():9.4f}" for losses in by_rate.values()))

    print("Clipping, sgd at the rate of 1: training loss and test accuracy after 10 epochs")
    by_norm = {}
    for norm in (None, 0.1):
        by_norm[norm], accuracy = clipped(norm)
        print(f"  max_grad_norm={norm!s:<5s}{by_norm[norm].loss_:9.3f}{accuracy:9.3f}")

    networks = {name: train(HIGH_RATE, **schedule)[0] for name, schedule in SCHEDULES.items()}
    figure = plot(networks, by_schedule, by_norm)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
