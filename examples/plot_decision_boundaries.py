"""
Effect of width and penalty on decision boundaries
==================================================

How do the number of hidden units and the penalty `alpha` affect the decision boundaries of a
network? With two features, you can plot the boundaries, because the network predicts a class for
each point of the plane. The samples are wines from three growers, described by their colour
intensity and their content of proline, an amino acid.

Expect simple boundaries with two hidden units. With many units and hardly any penalty, expect
boundaries that wind around individual wines. Such a network classifies nearly all training samples
correctly, but it is overconfident: its log loss on other wines is several times as high as that of
a network with smooth boundaries. With a penalty, even the widest network has smooth boundaries, and
networks of all widths perform equally well. You do not have to choose the width carefully if you
choose a good value of `alpha`.

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
# The narrow networks may reach `max_iter`.
warnings.simplefilter("ignore", ConvergenceWarning)
WIDTHS = (2, 10, 100)
ALPHAS = (1e-4, 1.0, 10.0)

data = load_wine()
features = [data.feature_names.index(name) for name in ("color_intensity", "proline")]
X, y = data.data[:, features], data.target

# %%
# Fitting the networks
# --------------------
# L-BFGS finds a minimum of the loss, which does not take long on small data. Cross-validation
# measures how well the networks perform on other wines.

splits = StratifiedKFold(5, shuffle=True, random_state=0)


def model(width, alpha):
    """Return the unfitted pipeline."""
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
    print(f"{name.capitalize()} on the training set / in cross-validation")
    print(" " * 12 + "".join(f"{f'alpha={alpha:g}':>18s}" for alpha in ALPHAS))
    for width in WIDTHS:
        keys = [(width, alpha) for alpha in ALPHAS]
        cells = [f"{learned[name][key]:.3f} / {others[name][key]:.3f}" for key in keys]
        print(f"{width:4d} units  " + "".join(f"{cell:>18s}" for cell in cells))

# %%
# Plotting the boundaries
# -----------------------

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
        f"log loss: training {learned['log loss'][width, alpha]:.2f},"
        f" validation {others['log loss'][width, alpha]:.2f}",
        fontsize="medium",
    )
for axis in axes[-1]:
    axis.set_xlabel("colour intensity")
for axis in axes[:, 0]:
    axis.set_ylabel("proline")
axes[0, 0].legend(loc="upper right", fontsize="small")
plt.show()

# %%
# With 100 units and hardly any penalty, the network memorizes nearly all training samples. Its log
# loss on other wines is several times as high as with ``alpha=1``, where the same 100 units perform
# as well as any other network here.
