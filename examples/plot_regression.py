"""
Regression from end to end
==========================

How well does a network predict the progression of diabetes within a year, and how do its errors
depend on the predicted value? A pipeline prepares the columns according to their type,
:class:`~sklearn.compose.TransformedTargetRegressor` scales the target, and a grid search tunes the
penalty. The prediction for each of the 442 patients comes from a network that was fitted without
this patient.

Expect the network to be as good as ridge regression, with an R2 of about 0.5, because the
relationships in this dataset are mostly linear. Without scaling of the target, the network is
useless. The errors increase with the predicted value.

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
# The number of epochs is fixed, and not all networks of the search converge.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Data
# ----
# The dataset contains the original measurements: ages in years, sex as 1 or 2, and blood values in
# their own units. The target is a score between 25 and 346.

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
# Model
# -----
# The initial weights are small, so the outputs start near zero. It would therefore take many steps
# to reach a target of about 150. ``TransformedTargetRegressor`` scales the target for training and
# scales the predictions back. It contains the grid search, so the penalty is chosen separately for
# each training set of the cross-validation.

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
# Errors
# ------
# In the left plot, perfect predictions lie on the diagonal, and in the right plot on the line at
# zero. If the errors did not depend on the prediction, they would form a band of constant width
# around this line.

predicted = predictions["network"]
residuals = y - predicted
trend, p_value = spearmanr(predicted, np.abs(residuals))
print(f"Rank correlation of prediction and absolute error: {trend:.2f}")
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
left.set(title="Predictions", xlabel="predicted progression", ylabel="actual progression")
edges = np.quantile(predicted, np.linspace(0, 1, 6))
fifth = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, 4)
centres = [predicted[fifth == part].mean() for part in range(5)]
spreads = np.array([residuals[fifth == part].std() for part in range(5)])
right.plot(centres, spreads, "-o", color="C2", label="standard deviation per quintile")
right.plot(centres, -spreads, "-o", color="C2")
ticks = range(50, 351, 50)
left.set(xticks=ticks, yticks=ticks)
right.set(title="Residuals", xlabel="predicted progression", ylabel="residual (actual - predicted)")
right.legend(loc="lower left")
plt.show()

# %%
# The network is as good as ridge regression but no better. This suggests that the ten measurements
# do not allow much better predictions. The errors increase with the prediction.
# ``plot_quantile_bands.py`` shows how to predict an interval for each patient.
