"""
Comparing a network with other models
=====================================

Is the network better than a linear model, or was it luck? Cross-validation gives each model a score
for each split. As the training rows of any two splits overlap, these scores are not independent,
and the usual paired t-test, which takes them to be so, finds differences too easily. The corrected
resampled t-test [1]_ allows for the overlap.

Expect the network to be ahead of the logistic regression on handwritten digits, and by the usual
test beyond all doubt; and expect the corrected test to find that ten splits of so few rows are not
enough to say so.

Run it with ``python examples/plot_compare_models.py``. It needs matplotlib and takes about ten
seconds.

.. [1] Nadeau, C. and Bengio, Y. (2003). Inference for the Generalization Error. Machine Learning
   52, 239-281.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")

# %%
# The scores
# ----------
# Five folds, twice, with other rows in them the second time: ten splits, the same for all models.

X, y = load_digits(return_X_y=True)
splits = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
models = {
    "network": FeedForwardClassifier((50,), learning_rate_init=0.01, tol=1e-2, random_state=0),
    "logistic regression": LogisticRegression(max_iter=1000),
    "nearest neighbours": KNeighborsClassifier(3),
    "random forest": RandomForestClassifier(random_state=0),
    "support vector machine": SVC(),
}
# On data this small several threads mostly wait for each other.
with threadpool_limits(1):
    scores = {
        name: cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=splits)
        for name, model in models.items()
    }

# %%
# The test
# --------
# With J splits of n1 training rows and n2 test rows, and differences d of the scores, the variance
# of their mean is estimated as (1/J + n2/n1) var(d), where the usual test has 1/J alone. The
# statistic mean(d) / sqrt((1/J + n2/n1) var(d)) is compared with Student's t with J - 1 degrees of
# freedom.


def corrected_t_test(differences, n_train, n_test):
    """Return the mean, its standard error, and the two-sided p-value that it is zero."""
    n_splits = len(differences)
    variance = (1 / n_splits + n_test / n_train) * differences.var(ddof=1)
    mean, error = differences.mean(), np.sqrt(variance)
    return mean, error, 2 * stats.t.sf(abs(mean) / error, n_splits - 1)


n_train, n_test = 0.8 * len(X), 0.2 * len(X)
others = [name for name in models if name != "network"]
tests = {
    name: corrected_t_test(scores["network"] - scores[name], n_train, n_test) for name in others
}
usual = {name: stats.ttest_rel(scores["network"], scores[name]).pvalue for name in others}
print(f"Accuracy in {len(scores['network'])} splits: mean and standard deviation")
for name, of_model in scores.items():
    print(f"  {name:<24s}{of_model.mean():6.3f} +- {of_model.std(ddof=1):.3f}")
print("The network's accuracy minus that of")
print(" " * 31 + "mean   error       p  usual p")
for name, (mean, error, p) in tests.items():
    print(f"  {name:<26s}{mean:+7.3f}{error:8.3f}{p:8.2g}{usual[name]:9.2g}")

# %%
# In the picture the bars on the right are intervals of 95 % for the difference: with one that
# contains zero, either model may be the better one. As there are four comparisons, a p-value has
# to be below 0.05 / 4 for a chance of at most 5 % that any of them is a false alarm (Bonferroni's
# correction).

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for row, of_model in enumerate(scores.values()):
    left.plot(of_model, np.full(len(of_model), row), "|", color="tab:gray", markersize=9)
    left.errorbar(of_model.mean(), row, xerr=of_model.std(ddof=1), fmt="o", color="C0", capsize=4)
left.plot([], [], "|", color="tab:gray", markersize=9, label="one split")
left.errorbar([], [], xerr=[], fmt="o", color="C0", capsize=4, label="mean, standard deviation")
left.set_yticks(range(len(scores)), list(scores))
left.set(title="Scores", xlabel="accuracy", ylim=(len(scores) - 0.2, -0.5))
left.legend(loc="lower left", fontsize="small", ncols=2)
quantile = stats.t.ppf(0.975, len(scores["network"]) - 1)
for row, (mean, error, p) in enumerate(tests.values()):
    half = quantile * error
    right.errorbar(mean, row, xerr=half, fmt="s", color="C2", capsize=4)
    right.annotate(f"p = {p:.2g}", (mean, row), (0, 9), textcoords="offset points", ha="center")
right.axvline(0, color="tab:gray", linestyle=":")
right.set_yticks(range(len(tests)), list(tests))
right.set(
    title="The network against the others",
    xlabel="accuracy of the network minus that of the other",
    ylim=(len(tests) - 0.5, -0.6),
)
plt.show()

# %%
# The usual test calls the network better than the logistic regression, even with Bonferroni's
# correction; the corrected test does not, and is the one to trust: its p-values are all larger. To
# tell such models apart takes more digits, not more splits of the same ones.
