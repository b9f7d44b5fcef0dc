"""
Depth, activations and normalization
====================================

How deep can a network be before it stops learning, and how does this depend on the activation and
on normalization? This example trains networks with 32 units per hidden layer for 15 epochs on
handwritten digits. With one or two hidden layers, nearly every activation works as well as the
default, ReLU. In a deep network, each layer multiplies the signal by a factor in the forward pass,
and the gradient by a factor in the backward pass. If these factors are far from one, the signal and
the gradient vanish.

Expect the logistic function, whose slope is at most 1/4, to fail first: with eight layers it learns
nothing, and its accuracy of 10% is that of random guessing. ReLU works with up to about eight
layers, and 'gelu', 'selu' and 'tanh' with up to almost 16 layers. With ``normalization="batch"``,
which rescales each unit to mean 0 and variance 1, even a network with 16 logistic layers learns.
With both kinds of normalization, a network with eight ReLU layers learns faster: 7 epochs are
enough to learn what takes 10 epochs otherwise.

Batch normalization computes the mean and the variance of each batch. The 1198 training samples of
this example are split into eleven batches of 100 and one of 98. With 1003 samples, the last batch
would have only three samples and would spoil what the network has learned from the other batches:
with eight layers, the accuracy would be 77% instead of 94%. Choose a `batch_size` that does not
leave a small last batch, or use ``normalization="layer"``, which treats each sample independently.

Run it with ``python examples/plot_deep_networks.py``. To save the figure instead of showing it, add
the name of an image file. The example needs matplotlib.
"""

import sys
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier

DEPTHS = (1, 2, 4, 8, 16)
NETWORKS = {
    "relu": {"activation": "relu"},
    "gelu": {"activation": "gelu"},
    "selu": {"activation": "selu"},
    "tanh": {"activation": "tanh"},
    "logistic": {"activation": "logistic"},
    "relu, batch": {"activation": "relu", "normalization": "batch"},
    "logistic, batch": {"activation": "logistic", "normalization": "batch"},
}
OF_EIGHT_LAYERS = {
    "relu, layer": {"activation": "relu", "normalization": "layer"},
    "logistic, layer": {"activation": "logistic", "normalization": "layer"},
}
N_EPOCHS = 15

# %%
# Training a deep network
# -----------------------


def digits(random_state=0):
    """Return the training and test data, with pixels in [0, 1]."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, test_size=1 / 3, stratify=y, random_state=random_state
    )
    return X_train, X_test, y_train, y_test


def train(depth, random_state=0, n_epochs=N_EPOCHS, learning_rate_init=0.003, **parameters):
    """Return the trained network and its accuracy on the test set."""
    X_train, X_test, y_train, y_test = digits(random_state)
    network = FeedForwardClassifier(
        (32,) * depth,
        batch_size=100,
        learning_rate_init=learning_rate_init,
        max_iter=n_epochs,
        n_iter_no_change=np.inf,
        random_state=random_state,
        **parameters,
    )
    with warnings.catch_warnings():
        # The number of epochs is fixed on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, y_train)
    return network, network.score(X_test, y_test)


def many_runs(depths=DEPTHS, n_seeds=2, **parameters):
    """Train networks of these depths with seeds 0, 1, ...

    Return {depth: (training losses, accuracies)}. The losses have one row per seed and one column
    per epoch, and there is one accuracy per seed.
    """
    runs = {
        depth: [train(depth, seed, **parameters) for seed in range(n_seeds)] for depth in depths
    }
    return {
        depth: (
            np.array([network.loss_curve_ for network, _ in of_depth]),
            np.array([accuracy for _, accuracy in of_depth]),
        )
        for depth, of_depth in runs.items()
    }


# %%
# Plotting the results
# --------------------


def plot(runs):
    """Plot the accuracy by depth, and the loss of networks with eight layers."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    names = dict.fromkeys(name.split(",")[0] for name in runs)
    # C4 is left out because its yellow is hard to see on white.
    colors = dict(zip(names, ("C0", "C1", "C2", "C3", "C5"), strict=True))
    for name, by_depth in runs.items():
        activation, _, normalization = name.partition(", ")
        style = {"": "-", "layer": "--", "batch": ":"}[normalization]
        look = {"color": colors[activation], "linestyle": style, "label": name}
        if name in NETWORKS:
            accuracies = [accuracies.mean() for _, accuracies in by_depth.values()]
            left.plot(list(by_depth), accuracies, marker="o", **look)
        if activation in ("relu", "logistic"):
            losses = by_depth[8][0].mean(axis=0)
            right.plot(np.arange(1, len(losses) + 1), losses, **look)
    left.axhline(0.1, color="tab:gray", linewidth=0.8, zorder=0)
    left.set_xscale("log", base=2)
    left.set_xticks(list(runs["relu"]), list(runs["relu"]))
    left.set(title="Accuracy after 15 epochs", xlabel="hidden layers", ylabel="test accuracy")
    left.set_ylim(0, 1.02)
    left.legend(loc="lower left")
    right.set(title="Eight hidden layers", xlabel="epoch", ylabel="training loss")
    right.set_ylim(0, 3.3)
    right.legend(ncols=2, loc="upper right")
    return figure


def main(picture=None, n_seeds=2, depths=DEPTHS):
    """Print the results and show the figure, or save it if `picture` is a file name.

    One of the depths must be 8.
    """
    runs = {name: many_runs(depths, n_seeds, **network) for name, network in NETWORKS.items()}
    print(f"Test accuracy by number of hidden layers (mean over {n_seeds} seeds)")
    print(" " * 18 + "".join(f"{depth:7d}" for depth in depths))
    for name, by_depth in runs.items():
        means = [accuracies.mean() for _, accuracies in by_depth.values()]
        print(f"  {name:<16s}" + "".join(f"{mean:7.3f}" for mean in means))

    runs |= {name: many_runs((8,), n_seeds, **network) for name, network in OF_EIGHT_LAYERS.items()}
    print("Training loss with eight hidden layers")
    print("                    epoch 5  epoch 15")
    for name, by_depth in runs.items():
        losses = by_depth[8][0].mean(axis=0)
        print(f"  {name:<16s}{losses[4]:9.3f}{losses[-1]:10.3f}")

    figure = plot(runs)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
