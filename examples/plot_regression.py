"""
Regression from end to end
==========================

How far will diabetes progress in a year, and what do the errors of a network tell us? The columns
are prepared by their kind, the target is scaled by
:class:`~sklearn.compose.TransformedTargetRegressor`, the penalty is tuned, and each of 442 patients
is predicted by a network that has not seen that patient.

Expect a network that is as good as a ridge regression, about 0.5 in R2, as there is little in these
data that is not linear; a useless one where the target is not scaled; and larger errors for the
patients of whom more is expected.

Run it with ``python examples/plot_regression.py``. It needs matplotlib and takes some seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.metrics import PredictionErrorDisplay, mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import FeedForwardRegressor

plt.style.use("seaborn-v0_8-colorblind")
# The number of epochs is chosen here; not all networks of the search are done by then.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# The data
# --------
# As they were measured: ages in years, sex as 1 or 2, blood values in their own units. The target
# is a score between 25 and 346.

data = load_diabetes(scaled=False)
X, y = data.data, data.target
is_sex = np.array(data.feature_names) == "sex"
columns = ColumnTransformer(
    [
        ("sex", OneHotEncoder(drop="if_binary", sparse_output=False), is_sex),
        ("numbers", StandardScaler(), ~is_sex),
    ]
)

# %%
# The model
# ---------
# The weights begin small, so the outputs begin near zero: a target of about 150 is far away, in
# steps of the learning rate. ``TransformedTargetRegressor`` scales it for the training, and scales
# the predictions back. The search is inside, so each training part chooses its own penalty.

folds = KFold(5, shuffle=True, random_state=0)
network = FeedForwardRegressor(
    hidden_layer_sizes=(50,), learning_rate_init=0.005, max_iter=60, random_state=0
)
search = GridSearchCV(
    make_pipeline(columns, network), {"feedforwardregressor__alpha": [0.1, 1.0, 10.0, 100.0]}, cv=3
)
models = {
    "network": TransformedTargetRegressor(search, transformer=StandardScaler()),
    "network, target not scaled": search,
    "ridge regression": make_pipeline(columns, RidgeCV(np.logspace(-2, 3, 11))),
}
predictions = {name: cross_val_predict(model, X, y, cv=folds) for name, model in models.items()}
r2 = {name: r2_score(y, predicted) for name, predicted in predictions.items()}
print(" " * 28 + "    R2  mean absolute error")
for name, predicted in predictions.items():
    print(f"{name:<28s}{r2[name]:6.3f}{mean_absolute_error(y, predicted):15.1f}")

# %%
# The errors
# ----------
# In the left picture a perfect prediction lies on the diagonal, in the right one on the line at
# zero. Errors that have nothing to tell would be a band of equal width around it.

predicted = predictions["network"]
residuals = y - predicted
trend, p_value = spearmanr(predicted, np.abs(residuals))
print(f"Rank correlation of prediction and size of the error: {trend:.2f}")
print(f"(p = {p_value:.1g}); mean error {residuals.mean():.1f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6), layout="constrained")
for axis, kind in ((left, "actual_vs_predicted"), (right, "residual_vs_predicted")):
    PredictionErrorDisplay.from_predictions(
        y,
        predicted,
        kind=kind,
        subsample=None,
        scatter_kwargs={"alpha": 0.5, "s": 14, "color": "C0"},
        ax=axis,
    )
left.set(title="Predictions", xlabel="predicted progress", ylabel="actual progress")
edges = np.quantile(predicted, np.linspace(0, 1, 6))
fifth = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, 4)
centres = [predicted[fifth == part].mean() for part in range(5)]
spreads = np.array([residuals[fifth == part].std() for part in range(5)])
right.plot(centres, spreads, "-o", color="C2", label="standard deviation of each fifth")
right.plot(centres, -spreads, "-o", color="C2")
ticks = range(50, 351, 50)
left.set(xticks=ticks, yticks=ticks)
right.set(title="Residuals", xlabel="predicted progress", ylabel="residual: actual minus predicted")
right.legend(loc="lower left")
plt.show()

# %%
# The network is as good as the ridge regression and no better, which is worth knowing: it is the
# patients that cannot be told better by these ten numbers. The errors grow with the prediction; for
# a band that says how large they are for each patient see ``plot_quantile_bands.py``.
