"""
Learning rate schedules, warm-up and gradient clipping
======================================================

Should the learning rate be high or low? A constant learning rate is a compromise. With a high
learning rate, the loss decreases fast and then fluctuates around the minimum. With a low learning
rate, the network comes close to the minimum but needs a long time. A schedule combines the
advantages of both. This example trains networks on handwritten digits for 20 epochs, with Adam and
batches of 32 samples:

- ``learning_rate="cosine"`` decreases the learning rate from `learning_rate_init` to 0 over
  `max_iter` epochs.
- ``warmup_fraction=0.1`` increases the learning rate from 0 over the first tenth of the steps.
  Large steps are risky while the weights are close to their random initial values.
- ``learning_rate="one_cycle"`` includes both an increase and a decrease.

Expect the schedules to perform best at a learning rate at which the loss fluctuates without a
schedule. Their final loss is slightly below that of the best constant learning rate. The warm-up
matters most if the learning rate is too high. With a schedule, try a *higher* learning rate. At a
low learning rate, a schedule ends with a higher loss than no schedule, because it makes the small
steps even smaller. A schedule only reaches its end if all `max_iter` epochs are run, which
``n_iter_no_change=np.inf`` ensures.

The last plot shows ``solver="sgd"`` with a learning rate that is far too high. Without clipping,
the network learns nothing, because the first steps are so large that nearly all units die, that is,
they output zero for every sample. ``max_grad_norm=0.1`` limits the norm of the gradient and
therefore the size of the steps. With clipping, the network learns.

Run it with ``python examples/plot_learning_rates.py``. To save the figure instead of showing it,
add the name of an image file. The example needs matplotlib.
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
# Training with a learning rate
# -----------------------------


def digits(random_state=0):
    """Return the training and test data, with pixels in [0, 1]."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, test_size=1 / 3, stratify=y, random_state=random_state
    )
    return X_train, X_test, y_train, y_test


def train(rate, random_state=0, n_epochs=N_EPOCHS, **parameters):
    """Return the network and its final log loss on the training set.

    The last value of `loss_curve_` is a mean over the steps of the last epoch, during which the
    weights still change.
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
        # The number of epochs is fixed on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X, y)
    return network, log_loss(y, network.predict_proba(X))


def final_losses(rate, n_seeds=3, **parameters):
    """Return the final training loss for each seed."""
    return np.array([train(rate, seed, **parameters)[1] for seed in range(n_seeds)])


# %%
# Gradient clipping
# -----------------


def clipped(max_grad_norm, random_state=0):
    """Return a network trained by SGD with a learning rate of 1, and its test accuracy."""
    network, _ = train(1.0, random_state, 10, solver="sgd", max_grad_norm=max_grad_norm)
    _, X_test, _, y_test = digits(random_state)
    return network, network.score(X_test, y_test)


# %%
# Plotting the results
# --------------------


def plot(networks, by_schedule, by_norm):
    """Plot learning rates, losses by epoch, final losses, and the effect of clipping."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7), layout="constrained")
    (upper_left, upper_right), (lower_left, lower_right) = axes
    styles = ("-", ":", "-", "--", "-.")
    colors = ("C0", "C1", "C2", "C3", "C5")  # C4, a yellow, is hard to see on white
    for (name, network), style, color in zip(networks.items(), styles, colors, strict=True):
        look = {"linestyle": style, "color": color, "label": name}
        epochs = np.arange(1, network.n_iter_ + 1)
        upper_left.plot(epochs, network.learning_rate_curve_, **look)
        upper_right.plot(epochs, network.loss_curve_, **look)
        means = [losses.mean() for losses in by_schedule[name].values()]
        lower_left.plot(list(by_schedule[name]), means, marker="o", **look)
    upper_left.set(title="Learning rate at the first step", xlabel="epoch", ylabel="learning rate")
    upper_right.set(
        title=f"Training loss, learning_rate_init={HIGH_RATE}",
        xlabel="epoch",
        ylabel="loss",
        yscale="log",
    )
    lower_left.set(
        title=f"Training loss after {N_EPOCHS} epochs",
        xlabel="learning_rate_init",
        ylabel="log loss (mean over seeds)",
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
    """Print the results and show the figure, or save it if `picture` is a file name."""
    by_schedule = {
        name: {rate: final_losses(rate, n_seeds, **schedule) for rate in rates}
        for name, schedule in SCHEDULES.items()
    }
    print(
        f"Training loss after {N_EPOCHS} epochs by learning_rate_init (mean over {n_seeds} seeds)"
    )
    print(" " * 18 + "".join(f"{rate:9.3f}" for rate in rates))
    for name, by_rate in by_schedule.items():
        print(f"  {name:<16s}" + "".join(f"{losses.mean():9.4f}" for losses in by_rate.values()))

    print("Clipping, sgd, learning rate of 1: training loss and test accuracy after 10 epochs")
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
