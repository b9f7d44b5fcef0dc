"""
Losses that are robust to outliers
==================================

How do wrong targets in the training set affect a network? In this example, the decimal point is
wrong in some of the training targets of the diabetes dataset, so that they are ten times as large
as they should be. With the squared error, a target that is 1000 too high has a gradient that is a
thousand times as large as that of a target that is 1 too high. With ``loss="absolute_error"``, both
gradients are equal. ``loss="huber"`` is the squared error for errors below `huber_delta` and the
absolute error beyond it.

Expect all three losses to perform equally well if all targets are correct, with a mean absolute
error of about 45 on the test set. With the squared error, the error increases with every further
wrong target, and it more than doubles if 5% of the targets are wrong. With the other two losses,
the error hardly changes until a considerable share of the targets is wrong.

Scale the targets by their median and quartiles, which are also robust to outliers. The mean and the
standard deviation are not. `huber_delta` is then in units of about one standard deviation.

Run it with ``python examples/plot_robust_losses.py``. To save the figure instead of showing it, add
the name of an image file. The example needs matplotlib.
"""

import sys
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import RobustScaler, StandardScaler

from sknn import FeedForwardRegressor

LOSSES = {
    "squared_error": {"loss": "squared_error"},
    "huber": {"loss": "huber", "huber_delta": 0.5},
    "absolute_error": {"loss": "absolute_error"},
}
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2)

# %%
# Data with wrong targets
# -----------------------


def patients(share, random_state=0):
    """Return training and test data; a share of the training targets is multiplied by ten."""
    X, progress = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, progress, test_size=1 / 3, random_state=random_state
    )
    scaler = StandardScaler().fit(X_train)
    rng = np.random.RandomState(random_state)
    slips = rng.permutation(len(y_train))[: round(share * len(y_train))]
    y_train[slips] *= 10
    return scaler.transform(X_train), scaler.transform(X_test), y_train, y_test


# %%
# Training with three losses
# --------------------------


def predict(share, random_state=0, **loss):
    """Return the test targets, which are all correct, and the predictions for them."""
    X_train, X_test, y_train, y_test = patients(share, random_state)
    # For normally distributed targets, the quartiles are 1.35 standard deviations apart.
    scaler = RobustScaler(unit_variance=True).fit(y_train[:, None])
    network = FeedForwardRegressor(
        hidden_layer_sizes=(20,),
        alpha=10.0,
        learning_rate_init=0.005,
        max_iter=200,
        n_iter_no_change=np.inf,
        random_state=random_state,
        **loss,
    )
    with warnings.catch_warnings():
        # The number of epochs is fixed on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, scaler.transform(y_train[:, None]).ravel())
    return y_test, scaler.inverse_transform(network.predict(X_test)[:, None]).ravel()


def errors(share, n_seeds=5, **loss):
    """Return the mean absolute error on the test set for each seed."""
    return np.array([mean_absolute_error(*predict(share, seed, **loss)) for seed in range(n_seeds)])


# %%
# Plotting the results
# --------------------


def plot(by_loss, shown):
    """Plot the error by the share of wrong targets, and the predictions with 10% wrong targets."""
    import matplotlib.pyplot as plt

    plt.style.use("seaborn-v0_8-colorblind")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for number, (name, by_share) in enumerate(by_loss.items()):
        values = np.array(list(by_share.values()))
        shares = [100 * share for share in by_share]
        color = f"C{number}"
        left.plot(shares, values.mean(axis=1), "-o", color=color, label=name)
        left.fill_between(
            shares, values.min(axis=1), values.max(axis=1), color=color, alpha=0.15, linewidth=0
        )
        if name in shown:
            right.plot(*shown[name], "o", color=color, markersize=4, alpha=0.7, label=name)
    left.set(
        title="Error on the test set",
        xlabel="wrong training targets (%)",
        ylabel="mean absolute error",
    )
    left.set_xticks(shares)
    left.set_ylim(bottom=0)
    left.legend()
    right.plot([0, 350], [0, 350], color="tab:gray", linewidth=1, label="perfect")
    right.set(
        title="Predictions with 10% wrong training targets",
        xlabel="actual progression",
        ylabel="predicted progression",
    )
    right.legend()
    return figure


def main(picture=None, n_seeds=5):
    """Print the results and show the figure, or save it if `picture` is a file name."""
    by_loss = {
        name: {share: errors(share, n_seeds, **loss) for share in SHARES}
        for name, loss in LOSSES.items()
    }
    print(f"Mean absolute error on the test set (mean over {n_seeds} seeds)")
    print("  share of wrong targets in the training set")
    print(" " * 18 + "".join(f"{share:8.0%}" for share in SHARES))
    for name, by_share in by_loss.items():
        print(f"  {name:<16s}" + "".join(f"{values.mean():8.1f}" for values in by_share.values()))

    shown = {name: predict(0.1, **LOSSES[name]) for name in ("squared_error", "absolute_error")}
    figure = plot(by_loss, shown)
    if picture is None:
        import matplotlib.pyplot as plt

        plt.show()
    else:
        figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
