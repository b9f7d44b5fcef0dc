"""
Losses that bear outliers
=========================

What do wrong targets do to a network? The data are the progress of diabetes, and a clerk whose
decimal point slips: some of the training targets are ten times what they should be. The squared
error lets a target that is 1000 too high pull a thousand times as hard as one that is 1 too high;
``loss="absolute_error"`` lets both pull alike, and ``loss="huber"`` is the squared error near the
target and the absolute one beyond `huber_delta`.

Expect all three losses to be equally good where no target is wrong, with a mean absolute error of
about 45 on patients who took no part in training. Expect the squared error to get worse with each
further wrong target, to more than twice that with one in twenty, and the other two to stay where
they are until a good part of the targets is wrong.

Scale the targets by their median and quartiles, which do not mind the outliers either: mean and
standard deviation do. `huber_delta` is then in units of about a standard deviation.

Run it with ``python examples/plot_robust_losses.py``, or with the name of a picture behind it to
save the figure instead of showing it. It needs matplotlib.
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
# The data, and the slips
# -----------------------


def patients(share, random_state=0):
    """Return training and test rows, and targets; a share of the training targets is tenfold."""
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
# One network, three losses
# -------------------------


def predict(share, random_state=0, **loss):
    """Return the test targets, which are all right, and the predictions for them."""
    X_train, X_test, y_train, y_test = patients(share, random_state)
    # The quartiles are 1.35 standard deviations apart, were the targets normal.
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
        # All epochs are meant to be run.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, scaler.transform(y_train[:, None]).ravel())
    return y_test, scaler.inverse_transform(network.predict(X_test)[:, None]).ravel()


def errors(share, n_seeds=5, **loss):
    """Return the mean absolute error on the test rows for each seed."""
    return np.array([mean_absolute_error(*predict(share, seed, **loss)) for seed in range(n_seeds)])


# %%
# The picture
# -----------


def plot(by_loss, shown):
    """Draw the error by the share of wrong targets, and predictions with one in ten wrong."""
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
        title="Error on test rows, whose targets are right",
        xlabel="training targets that are tenfold, in %",
        ylabel="mean absolute error",
    )
    left.set_xticks(shares)
    left.set_ylim(bottom=0)
    left.legend()
    right.plot([0, 350], [0, 350], color="tab:gray", linewidth=1, label="perfect")
    right.set(
        title="One training target in ten wrong",
        xlabel="progress of test rows",
        ylabel="prediction",
    )
    right.legend()
    return figure


def main(picture=None, n_seeds=5):
    """Print the numbers, then show the figure, or save it if `picture` names a file."""
    by_loss = {
        name: {share: errors(share, n_seeds, **loss) for share in SHARES}
        for name, loss in LOSSES.items()
    }
    print(f"Mean absolute error on right targets: means over {n_seeds} seeds")
    print("  share of tenfold targets in training")
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
