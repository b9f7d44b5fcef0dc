"""
Churn: from a messy table to a decision
=======================================

Which customers are about to leave, and which of them should receive an offer? The table contains
dates, categories, missing values, and a rare class: about 6% of the customers leave. This example
covers all steps from the table to the decision:

- It compares a network with boosted trees and a linear model by cross-validation.
- It shows why the accuracy is a poor score for early stopping if a class is rare, and which scores
  to use instead.
- It passes validation data through the steps of the pipeline.
- It checks whether the probabilities are calibrated, and chooses the decision threshold that earns
  the most money.
- It measures how important each column is, and how the predictions depend on it.

Expect no clear winner. The mean scores of the three models differ less than the scores of one model
in different folds. All of them are far from the best possible score, because the training set
contains only 177 customers who left. Expect the threshold to matter more than the model: with the
usual threshold of 0.5, hardly any customer receives an offer.

scikit-learn has no dataset about churn, so the script generates one. The advantage is that the true
probabilities are known, and therefore also the best score that a model can reach. The disadvantage
is that the ranking of the models is only valid for this table.

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
# left by the end of March. Customers are more likely to leave if they have not logged in for a
# while, if they pay more than is usual for their plan (except for the premium plan), or if they are
# new and had to ask for help. During their first year, a contract keeps most of them from leaving.
# A fifth of the ages and some of the countries are missing.

TODAY = pd.Timestamp("2026-01-01")


def make_customers(n_rows, random_state=0):
    """Return the table, whether each customer left, and the true probability of leaving."""
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
# All rows describe the same day, so they can be split at random. The split is stratified because
# churn is rare. If your table covers several months, train on the earlier months and test on the
# last one. In this case, replace the dates by values that mean the same in every month: the number
# of days since the last login instead of its date.
#
# Comparison of three models
# --------------------------
# All three models accept the table without preprocessing. ``tabular_pipeline`` prepares it for the
# network and for the logistic regression, and skrub's pipeline prepares it for the trees. Three
# settings of the network save time: the defaults are four members, smaller batches and more epochs.
# The trees are small and have a low learning rate. With their default parameters, they overfit on
# so few customers: the last two printed lines show that their log loss is higher than that of a
# constant prediction.


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
    """Return cross-validated predictions of the probability that each customer leaves."""
    with threadpool_limits(1):  # on small tables, several threads mostly wait for each other
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
# Each point is the score in one fold, and each line is a mean. These scores do not show that one
# model is better than another, because the scores of one model in different folds differ more than
# the means of the models. All three models are better than a constant prediction, but none of them
# comes close to the true probabilities.
#
# Early stopping and the rare class
# ---------------------------------
# By default, ``early_stopping=True`` monitors the accuracy, as in scikit-learn. If 6% of the
# customers leave, a network that predicts "stays" for everyone has an accuracy of 94% from the
# first epoch on. Later epochs can hardly improve on this, so training stops too early. In this
# case, ``fit`` issues a :class:`~sknn.TrainingWarning`.

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
# The area under the ROC curve depends on the order of the predicted probabilities, and the loss on
# their values. Both improve while the accuracy stays constant, so training continues.
# ``tabular_pipeline`` always monitors the loss, at the ends of the four waves of its learning-rate
# schedule.
#
# Your own validation data
# ------------------------
# To choose the validation rows yourself, pass them to ``fit``. They have to be transformed by the
# same steps as the training rows, because the network cannot process dates and strings.
# scikit-learn's metadata routing does this if the ``transform_input`` parameter of the pipeline
# lists them and the network requests them.

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
# The star marks the end of the wave with the lowest validation loss, whose weights were kept. The
# dotted line is the validation accuracy. It stays between 92% and 95%, no matter how the loss
# changes.
#
# Calibration of the probabilities
# --------------------------------
# Among the customers with a predicted probability of 10%, one in ten should leave. The plot uses
# the cross-validated predictions from above. ``class_weight="balanced"`` is a popular remedy for
# rare classes, so the plot also shows a network that was trained with it.

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
# highest probabilities are slightly too high. With balanced class weights, the network is trained
# as if half of the customers left, and on average, its probabilities are five times too high.
#
# The threshold
# -------------
# An offer costs 10, and keeps a customer who is worth 100. It therefore pays off if the customer
# would otherwise leave with a probability of more than 10 / 100. This formula requires calibrated
# probabilities. ``TunedThresholdClassifierCV`` does not require them: it selects the threshold with
# the highest gain in cross-validation, and then fits the pipeline on all training rows.


def gain(left, offered):
    """Return the gain from the offers per 1,000 customers."""
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
# The curves have broad maxima. Many thresholds are nearly as good as the best one, and it is a
# matter of chance which of them is the best in cross-validation. If the probabilities are
# calibrated, use the formula, which needs no search. Here, both thresholds earn at least twice as
# much as the usual one.
#
# What the network has learned
# ----------------------------
# Permutation importance is computed on the original columns of the table: it shuffles one column of
# the test rows at a time, and measures by how much the log loss increases. Partial dependence shows
# the mean predicted probability as a function of a column. In scikit-learn, three kinds of columns
# need special treatment: for numbers with missing values, pass only the rows without missing
# values; convert integers to floats; and for dates, pass ``custom_values`` to
# ``partial_dependence``, because the display cannot plot them.

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
# The order of the columns is plausible: in the formula that generated the data, the last login and
# the charge matter most, and here they come first. The country matters least, and its importance is
# close to zero. The curve for the last login has kinks that are not in this formula. The network
# receives the weekday and the month of each date, which have no influence here, and learns patterns
# in them that are due to chance. To avoid this, replace the date by the number of days since the
# last login.

# %%
# The conclusion for this table is to use the linear model or the small trees. They are as good as
# the network and are fitted in a fraction of the time, and the linear model is the easiest to
# explain. The advantage of the network is that it can learn smooth functions of several columns,
# but this requires more examples of customers who left. Try it again when you have them. Whichever
# model you choose, monitor the loss rather than the accuracy, do not use balanced class weights if
# you need probabilities, and choose the threshold according to the costs of mistakes.
