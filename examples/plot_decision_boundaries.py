"""
Decision boundaries by width and penalty
========================================

What do the number of hidden units and the penalty `alpha` do to the shape of what is learned? With
two features it can be drawn: the network is asked for the class of each point of the plane. The
points are wines from three growers, told apart by the intensity of their colour and by proline, an
amino acid.

Expect simple boundaries of two units, and boundaries that wind around single wines where there are
many units and hardly a penalty: they are right for nearly all that was learned, and so sure of
themselves that their log loss on other wines is several times that of smooth ones. With a penalty
also the widest network is smooth, and networks of all widths are equally good: the width need not
be chosen with care if `alpha` is.

Run it with ``python examples/plot_decision_boundaries.py``. It needs matplotlib and takes some
seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
# The narrow networks may end at `max_iter`.
warnings.simplefilter("ignore", ConvergenceWarning)
WIDTHS = (2, 10, 100)
ALPHAS = (1e-4, 1.0, 10.0)

data = load_wine()
features = [data.feature_names.index(name) for name in ("color_intensity", "proline")]
X, y = data.data[:, features], data.target

# %%
# One network for each panel
# --------------------------
# L-BFGS goes to the bottom of the loss, which for small data is quickly done. What the networks are
# worth on other wines is judged by cross-validation.

splits = StratifiedKFold(5, shuffle=True, random_state=0)


def model(width, alpha):
    """Return the pipeline, not fitted."""
    network = FeedForwardClassifier(
        (width,), "tanh", solver="lbfgs", alpha=alpha, max_iter=300, random_state=0
    )
    return make_pipeline(StandardScaler(), network)


models = {(width, alpha): model(width, alpha).fit(X, y) for width in WIDTHS for alpha in ALPHAS}
scorers = {"accuracy": "accuracy", "log loss": "neg_log_loss"}
learned = {
    "accuracy": {key: fitted.score(X, y) for key, fitted in models.items()},
    "log loss": {key: log_loss(y, fitted.predict_proba(X)) for key, fitted in models.items()},
}
folds = {key: cross_validate(model(*key), X, y, cv=splits, scoring=scorers) for key in models}
others = {
    name: {key: abs(of_model[f"test_{name}"].mean()) for key, of_model in folds.items()}
    for name in scorers
}
for name in scorers:
    print(f"{name.capitalize()} on the wines learned from / on others")
    print(" " * 12 + "".join(f"{f'alpha={alpha:g}':>18s}" for alpha in ALPHAS))
    for width in WIDTHS:
        keys = [(width, alpha) for alpha in ALPHAS]
        cells = [f"{learned[name][key]:.3f} / {others[name][key]:.3f}" for key in keys]
        print(f"{width:4d} units  " + "".join(f"{cell:>18s}" for cell in cells))

# %%
# The plane
# ---------

margin = 0.05 * np.ptp(X, axis=0)
(left, bottom), (right, top) = X.min(axis=0) - margin, X.max(axis=0) + margin
first, second = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
plane = np.c_[first.ravel(), second.ravel()]
colors = ["C0", "C2", "C4"]

figure, axes = plt.subplots(
    len(WIDTHS), len(ALPHAS), figsize=(10.5, 9), layout="constrained", sharex=True, sharey=True
)
for (width, alpha), axis in zip(models, axes.flat, strict=True):
    classes = models[width, alpha].predict(plane).reshape(first.shape)
    axis.contourf(first, second, classes, levels=[-0.5, 0.5, 1.5, 2.5], colors=colors, alpha=0.35)
    for grower, marker in enumerate("o^s"):
        axis.scatter(
            *X[y == grower].T,
            c=colors[grower],
            marker=marker,
            s=18,
            edgecolors="black",
            linewidths=0.5,
            label=f"grower {grower}",
        )
    axis.set_title(
        f"{width} units, alpha={alpha:g}\n"
        f"log loss: learned {learned['log loss'][width, alpha]:.2f},"
        f" others {others['log loss'][width, alpha]:.2f}",
        fontsize="medium",
    )
for axis in axes[-1]:
    axis.set_xlabel("colour intensity")
for axis in axes[:, 0]:
    axis.set_ylabel("proline")
axes[0, 0].legend(loc="upper right", fontsize="small")
plt.show()

# %%
# A hundred units with hardly a penalty know nearly all wines by heart, and pay for it with a log
# loss on others of several times that of the same hundred units with ``alpha=1``, which are as good
# as any.
