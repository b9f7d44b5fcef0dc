"""
Churn: from a messy table to a decision
=======================================

Which customers are about to leave, and to whom is an offer worth its price? The table has dates,
categories, missing values, and a rare class: about 6% of the customers leave. This example goes the
whole way from the table to the decision:

- it compares a network with boosted trees and a linear model by cross-validation;
- it shows why the accuracy misleads early stopping if a class is rare, and what to watch instead;
- it passes validation data through the steps of the pipeline;
- it checks the probabilities, and chooses the threshold by the money that it earns;
- it asks which columns matter, and how.

Expect no clear winner. The means of the three models are closer to each other than the folds of one
model, and all of them are far from the best possible score, because the 177 customers who left are
few to learn from. Expect the threshold to matter more than the model: at the usual threshold of
0.5, hardly any customer gets an offer.

scikit-learn has no data about churn, so the script makes them up. This has an advantage: the true
probabilities are known, and with them the best score that a model could have. It also has a limit:
the ranking of the models holds for this table only.

Run it with ``python examples/plot_churn.py``. It needs matplotlib and skrub, and takes about a
minute.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
import skrub
from scipy.special import expit
from sklearn.calibration import CalibrationDisplay
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import PartialDependenceDisplay, partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss, make_scorer, roc_auc_score
from sklearn.model_selection import (
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    train_test_split,
)
from threadpoolctl import threadpool_limits

from sknn import FeedForwardClassifier, LossCurveDisplay, TrainingWarning, tabular_pipeline

plt.style.use("seaborn-v0_8-colorblind")

# %%
# The table
# ---------
# Each row describes a customer on the first of January. The target says whether the customer has
# left by the end of March. Customers leave more often if they have not logged in for a while, if
# they pay more than is usual for their plan (unless it is the premium plan), or if they are new and
# had to ask for help. In their first year, a contract keeps most of them. A fifth of the ages and
# some of the countries are missing.

TODAY = pd.Timestamp("2026-01-01")


def make_customers(n_rows, random_state=0):
    """Return the table, whether each customer left, and the true probability of it."""
    rng = np.random.default_rng(random_state)
    days = rng.integers(30, 2500, n_rows)
    silent = np.minimum(rng.exponential(25, n_rows).astype(int), days)
    plan = rng.choice(["basic", "family", "premium"], n_rows, p=[0.5, 0.3, 0.2])
    age = rng.normal(45, 15, n_rows).clip(18, 90).round()
    usual = pd.Series(plan).map({"basic": 20, "family": 35, "premium": 50}).to_numpy()
    charge = (usual * rng.lognormal(0, 0.25, n_rows)).round(2)
    tickets = rng.poisson(0.8, n_rows)
    countries = ["DE", "FR", "NL", "NO", "PL", None]
    country = rng.choice(countries, n_rows, p=[0.3, 0.25, 0.15, 0.1, 0.15, 0.05])
    table = pd.DataFrame(
        {
            "signed_up": TODAY - pd.to_timedelta(days, unit="D"),
            "last_login": TODAY - pd.to_timedelta(silent, unit="D"),
            "plan": plan,
            "country": country,
            "age": pd.Series(age).mask(rng.random(n_rows) < 0.2),
            "charge": charge,
            "tickets": tickets.astype(float),
        }
    )
    logit = (
        -5.1
        + 3 * np.tanh(silent / 40)
        + 2.5 * (charge / usual - 1) * (plan != "premium")
        - 1.5 * (days < 365)
        + 0.7 * tickets * np.exp(-days / 1000)
        + 0.8 * np.cos((age - 30) / 12)
        + 0.4 * (country == "NL")
    )
    probability = expit(logit)
    left = (rng.random(n_rows) < probability).astype(int)
    return table, left, probability


X, y, p = make_customers(4000)
X_train, X_test, y_train, y_test, p_train, p_test = train_test_split(
    X, y, p, test_size=1000, stratify=y, random_state=0
)
print(X_train.head(4))
print(f"{y_train.sum()} of {len(y_train)} customers have left: {y_train.mean():.1%}")

# %%
# All rows describe the same day, so a random split is right, stratified because churn is rare. With
# tables of several months, train on the earlier months and test on the last one. A date then needs
# a meaning that stays the same from month to month: pass the days since the last login, not its
# date.
#
# Three models in the same folds
# ------------------------------
# All of them take the table as it is. ``tabular_pipeline`` prepares it for the network and for the
# logistic regression, and skrub's pipeline for the trees. Three settings of the network save time:
# by default, it has four members, smaller batches and more epochs. The trees are small and learn
# slowly. With their defaults they overfit so few customers, as the last printed line shows.


def network(**parameters):
    """Return the pipeline of a network with settings for tables."""
    settings = {"n_members": 2, "batch_size": 128, "max_iter": 24, "random_state": 0}
    return tabular_pipeline("classifier", **settings | parameters)


boosting = HistGradientBoostingClassifier(learning_rate=0.05, max_leaf_nodes=8, random_state=0)
models = {
    "network": network(),
    "trees": skrub.tabular_pipeline(boosting),
    "linear": tabular_pipeline(LogisticRegression(max_iter=1000)),
}
folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X_train, y_train))


def predicted_in_folds(model):
    """Return the probability of churn of each customer, by a model that has not seen them."""
    with threadpool_limits(1):  # on tables this small several threads mostly wait for each other
        predictions = cross_val_predict(model, X_train, y_train, cv=folds, method="predict_proba")
    return predictions[:, 1]


metrics = {
    "log loss": log_loss,
    "area under the ROC curve": roc_auc_score,
    "average precision": average_precision_score,
}
out_of_fold, seconds = {}, {}
for name, model in models.items():
    start = time.perf_counter()
    out_of_fold[name] = predicted_in_folds(model)
    seconds[name] = time.perf_counter() - start
scores = {
    metric: {
        name: np.array([score(y_train[rows], predicted[rows]) for _, rows in folds])
        for name, predicted in (out_of_fold | {"truth": p_train}).items()
    }
    for metric, score in metrics.items()
}
print("Mean of the folds, and the lowest and the highest of them")
for metric, by_model in scores.items():
    print(metric)
    for name, of_folds in by_model.items():
        print(f"  {name:8s}{of_folds.mean():7.3f}  ({of_folds.min():.3f} to {of_folds.max():.3f})")
constant = log_loss(y_train, np.full(len(y_train), y_train.mean()))
default_trees = log_loss(y_train, predicted_in_folds(skrub.tabular_pipeline("classifier")))
print("Seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
print(f"Log loss of one probability for everyone: {constant:.3f}")
print(f"Log loss of trees with their defaults: {default_trees:.3f}")

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for axis, (metric, by_model) in zip(axes, scores.items(), strict=True):
    for place, (name, of_folds) in enumerate(by_model.items()):
        color = "black" if name == "truth" else f"C{place}"
        axis.plot(np.full(len(of_folds), place), of_folds, "o", color=color, alpha=0.6)
        axis.hlines(of_folds.mean(), place - 0.3, place + 0.3, color=color)
    axis.set(title=metric, xticks=range(len(by_model)), xlim=(-0.5, len(by_model) - 0.5))
    axis.set_xticklabels(by_model)
plt.show()

# %%
# Each point is a fold, and each line a mean. The models cannot be told apart: the folds of one
# model lie further apart than the means of different models. All of them have found something,
# because they are better than a constant, and none comes near to the truth.
#
# Early stopping and the rare class
# ---------------------------------
# ``early_stopping=True`` watches the accuracy by default, as in scikit-learn. If 6% of the
# customers leave, a network that predicts nothing but "stays" has an accuracy of 94% from the
# first epoch on. No later epoch can improve much on it, so training ends at once. ``fit`` issues a
# :class:`~sknn.TrainingWarning` about it.

watched = {}
for scoring in (None, "roc_auc", "loss"):
    clf = FeedForwardClassifier(early_stopping=True, scoring=scoring, random_state=0)
    model = tabular_pipeline(clf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrainingWarning)
        model.fit(X_train, y_train)
    best = 1 + int(np.argmax(clf.validation_scores_))
    watched[scoring or "accuracy"] = best, log_loss(y_test, model.predict_proba(X_test)[:, 1])
    for each in caught:
        print(f"scoring={scoring}: {each.category.__name__}: {each.message}")
for scoring, (best, loss) in watched.items():
    print(f"watching the {scoring:8s}  best epoch {best:2d}, log loss on the test rows {loss:.3f}")

# %%
# The loss and the area under the ROC curve see the order and the size of the probabilities, so the
# network goes on learning. ``tabular_pipeline`` always watches the loss, at the ends of its four
# waves of the learning rate.
#
# Validation data of your own
# ---------------------------
# To choose the validation rows yourself, pass them to ``fit``. They have to go through the same
# steps as the training rows: dates and words are of no use to the network. scikit-learn's metadata
# routing does this if ``transform_input`` names them, and if the network requests them.

rows = train_test_split(X_train, y_train, test_size=600, stratify=y_train, random_state=0)
X_fit, X_val, y_fit, y_val = rows
with sklearn.config_context(enable_metadata_routing=True):
    routed = network().set_params(transform_input=["X_val"])
    routed["network"].set_fit_request(X_val=True, y_val=True)
    routed.fit(X_fit, y_fit, X_val=X_val, y_val=y_val)

last = routed["network"].validation_loss_curve_[-1]
print(f"validation loss at the end: {last:.3f}")
display = LossCurveDisplay.from_estimator(routed)
display.figure_.suptitle("Validation rows that went through the pipeline")
plt.show()

# %%
# The star marks the end of the wave that was kept, the one with the lowest validation loss. The
# dotted line shows the accuracy again: it stays between 92% and 95%, whatever the loss does.
#
# Can the probabilities be taken at their word?
# ---------------------------------------------
# Of the customers who get a probability of 10%, one in ten should leave. The predictions are those
# of the folds. ``class_weight="balanced"`` is a popular remedy for rare classes, so the picture
# also shows a network that was trained with it.

out_of_fold["network, balanced"] = predicted_in_folds(network(class_weight="balanced"))
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
print(f"share who left                      {y_train.mean():.3f}")
for name, predicted in out_of_fold.items():
    print(f"{name:18s} mean probability {predicted.mean():.3f}")
    for axis in axes:
        CalibrationDisplay.from_predictions(
            y_train, predicted, n_bins=8, strategy="quantile", name=name, ax=axis
        )
axes[0].set(title="All predictions")
axes[1].set(title="The lower left corner", xlim=(0, 0.3), ylim=(0, 0.3))
plt.show()

# %%
# The mean probabilities of the three models are close to the share of customers who left. The
# highest probabilities are a little too high. With balanced weights, the network learns from a
# table in which half of the customers leave, and its probabilities are those of such a table: five
# times too high.
#
# The threshold
# -------------
# An offer costs 10, and keeps a customer who is worth 100. So it pays if the customer leaves with a
# probability of more than 10 / 100. This formula needs calibrated probabilities.
# ``TunedThresholdClassifierCV`` does without them: it takes the threshold with the highest gain in
# the folds, and then fits the pipeline to all training rows.


def gain(left, offered):
    """Return what the offers earn, per 1,000 customers."""
    return 1000 * np.mean(100 * (left & offered) - 10 * offered)


tuned = TunedThresholdClassifierCV(network(), scoring=make_scorer(gain), cv=folds)
tuned.fit(X_train, y_train)
final = tuned.estimator_
p_offer = final.predict_proba(X_test)[:, 1]
gains = {
    "offers to everyone": gain(y_test, np.ones_like(y_test)),
    "threshold 0.5": gain(y_test, (p_offer > 0.5).astype(int)),
    "threshold 0.1, by the formula": gain(y_test, (p_offer > 0.1).astype(int)),
    f"threshold {tuned.best_threshold_:.3f}, tuned": gain(y_test, tuned.predict(X_test)),
    "threshold 0.1, true probability": gain(y_test, (p_test > 0.1).astype(int)),
}
print("Gain for 1,000 customers of the test rows")
for name, value in gains.items():
    print(f"  {name:34s}{value:6.0f}")

thresholds = np.linspace(0, 0.5, 101)
figure, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
for name in ("network", "trees", "linear"):
    predicted = out_of_fold[name]
    of_folds = [gain(y_train, (predicted > t).astype(int)) for t in thresholds]
    axis.plot(thresholds, of_folds, label=f"{name}, in the folds")
axis.axvline(tuned.best_threshold_, color="tab:gray", linestyle="--", label="tuned")
axis.axvline(0.1, color="tab:gray", linestyle=":", label="by the formula")
axis.axhline(0, color="black", linewidth=0.8)
axis.set(xlabel="threshold", ylabel="gain for 1,000 customers", ylim=(-1000, None))
axis.set_title("The threshold matters more than the model")
axis.legend()
plt.show()

# %%
# The curves have broad tops, and the threshold that is best in the folds is best by chance among
# many that are nearly as good. If the probabilities are calibrated, take the formula: it earns more
# here than the tuned threshold.
#
# What the network has learned
# ----------------------------
# Permutation importance works on the columns of the table, before any preparation: it shuffles one
# of them in the test rows, and reports by how much the log loss rises. Partial dependence shows the
# mean probability as a function of a column. Three kinds of columns need care in scikit-learn:
# numbers with missing values (pass the rows that have one), integers (make them floats), and dates
# (pass ``custom_values`` to ``partial_dependence``, as the display cannot draw them).

importance = permutation_importance(
    final, X_test, y_test, scoring="neg_log_loss", n_repeats=3, random_state=0
)
order = np.argsort(importance.importances_mean)
for i in order[::-1]:
    mean, std = importance.importances_mean[i], importance.importances_std[i]
    print(f"{X.columns[i]:12s}{mean:8.4f} +- {std:.4f}")

few = X_test.head(200)
days_silent = np.arange(0, 121, 10)
by_login = partial_dependence(
    final,
    few,
    ["last_login"],
    custom_values={"last_login": np.array(TODAY - pd.to_timedelta(days_silent, unit="D"))},
)

figure, axes = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
importances, login, charge, tickets, age, plan = axes.ravel()
importances.barh(
    X.columns[order], importance.importances_mean[order], xerr=importance.importances_std[order]
)
importances.set(title="Permutation importance", xlabel="rise of the log loss")
login.plot(days_silent, by_login["average"][0])
login.set(title="Partial dependence", xlabel="days since the last login", ylabel="probability")
for axis, column in ((charge, "charge"), (tickets, "tickets"), (age, "age"), (plan, "plan")):
    PartialDependenceDisplay.from_estimator(
        final,
        few[few[column].notna()],
        [column],
        categorical_features=["plan"] if column == "plan" else None,
        grid_resolution=8,
        response_method="predict_proba",
        ax=[axis],
    )
plt.show()

# %%
# The order is right: in the formula of the data, the last login and the charge matter most, and the
# country least. The curve of the last login has kinks that are not in the data. The network gets
# the weekday and the month of each date, which mean nothing here, and finds patterns in them by
# chance. Days since the last login would leave it no such choice.

# %%
# The verdict for this table: take the linear model or the small trees. They are as good as the
# network, are fitted in a fraction of the time, and the linear model is the easiest to explain.
# There are too few customers who left for the network to use its advantage, which is to learn
# smooth functions of several columns. Try it again when there are more of them. Whichever model you
# choose, watch the loss rather than the accuracy, do without balanced weights if you need
# probabilities, and choose the threshold by what a mistake costs.
