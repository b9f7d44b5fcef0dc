"""
Statistical comparison with other models
========================================

Is a network better than a linear model, or is the difference due to chance? Cross-validation gives
one score per model and split. Because the training sets of any two splits overlap, these scores are
not independent. The usual paired t-test assumes that they are, and therefore reports significant
differences too often. The corrected resampled t-test [1]_ takes the overlap into account.

Expect the network to be more accurate than the logistic regression on handwritten digits. According
to the usual test, this difference is clearly significant. According to the corrected test, ten
splits of such a small dataset are not enough evidence.

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
# Scores
# ------
# Five-fold cross-validation is run twice with different folds. This gives ten splits, which are the
# same for all models.

X, y = load_digits(return_X_y=True)
splits = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
models = {
    "network": FeedForwardClassifier((50,), learning_rate_init=0.01, tol=1e-2, random_state=0),
    "logistic regression": LogisticRegression(max_iter=1000),
    "nearest neighbours": KNeighborsClassifier(3),
    "random forest": RandomForestClassifier(random_state=0),
    "support vector machine": SVC(),
}
# On small data, several threads spend most of the time waiting for each other.
with threadpool_limits(1):
    scores = {
        name: cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=splits)
        for name, model in models.items()
    }

# %%
# Corrected t-test
# ----------------
# Consider J splits with n1 training and n2 test samples, and the differences d of the scores. The
# corrected test estimates the variance of their mean as (1/J + n2/n1) var(d), whereas the usual
# test uses var(d) / J. The statistic mean(d) / sqrt((1/J + n2/n1) var(d)) is compared with
# Student's t-distribution with J - 1 degrees of freedom.


def corrected_t_test(differences, n_train, n_test):
    """Return the mean, its standard error, and the two-sided p-value for a mean of zero."""
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
print(f"Accuracy over {len(scores['network'])} splits (mean and standard deviation)")
for name, of_model in scores.items():
    print(f"  {name:<24s}{of_model.mean():6.3f} +- {of_model.std(ddof=1):.3f}")
print("Accuracy of the network minus the accuracy of")
print(" " * 31 + "mean   error       p  usual p")
for name, (mean, error, p) in tests.items():
    print(f"  {name:<26s}{mean:+7.3f}{error:8.3f}{p:8.2g}{usual[name]:9.2g}")

# %%
# The bars in the right plot are 95% confidence intervals of the differences. If an interval
# contains zero, either model may be the better one. Because there are four comparisons, a p-value
# has to be below 0.05 / 4 to limit the probability of any false positive to 5% (Bonferroni
# correction).

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for row, of_model in enumerate(scores.values()):
    left.plot(of_model, np.full(len(of_model), row), "|", color="tab:gray", markersize=9)
    left.errorbar(of_model.mean(), row, xerr=of_model.std(ddof=1), fmt="o", color="C0", capsize=4)
left.plot([], [], "|", color="tab:gray", markersize=9, label="one split")
left.errorbar([], [], xerr=[], fmt="o", color="C0", capsize=4, label="mean and standard deviation")
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
    title="Network compared with other models",
    xlabel="difference in accuracy",
    ylim=(len(tests) - 0.5, -0.6),
)
plt.show()

# %%
# According to the usual test, the network is better than the logistic regression, even with the
# Bonferroni correction. The corrected test, which is more reliable, does not confirm this: all of
# its p-values are larger than those of the usual test, and the p-value for the logistic regression
# exceeds 0.05 / 4. To tell these models apart, you need more samples, not more splits of the same
# samples.
