"""
Classification from end to end
==============================

Malignant or benign, from 30 measurements of cell nuclei: how good is a network once it is tuned,
and may its probabilities be taken at their word? The way is the usual one of scikit-learn: a
pipeline that prepares the columns, a grid search on the training rows, and a judgement on test rows
that neither of them has seen.

Expect a ROC-AUC of 0.98 or more, and better probabilities with a penalty that the search has chosen
than with the default one.

Run it with ``python examples/plot_classification.py``. It needs matplotlib and takes some seconds.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibrationDisplay
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    RocCurveDisplay,
    classification_report,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknn import FeedForwardClassifier

plt.style.use("seaborn-v0_8-colorblind")
# The epochs are bounded here on purpose: the search need not wait for the last digit of a loss.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# The data
# --------
# Ten quantities, and of each the mean over a woman's nuclei, its standard error, and the mean of
# the three largest. The labels are text, and "malignant" is the class that we look for.

data = load_breast_cancer()
X, y = data.data, data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
print(f"{len(X_train)} training rows, {len(X_test)} test rows,")
print(f"{np.mean(y_test == 'malignant'):.0%} of the test rows malignant")

# %%
# The pipeline
# ------------
# Areas and standard errors have long tails to the right, so their logarithm is taken before they
# are scaled. All of it is learned from training rows only, because it is part of the pipeline.

is_skewed = np.array(["area" in name or "error" in name for name in data.feature_names])
columns = ColumnTransformer(
    [
        ("skewed", make_pipeline(FunctionTransformer(np.log1p), StandardScaler()), is_skewed),
        ("others", StandardScaler(), ~is_skewed),
    ]
)
network = FeedForwardClassifier((50,), learning_rate_init=0.005, max_iter=100, random_state=0)
model = make_pipeline(columns, network)

# %%
# Tuning
# ------
# The search judges by the log loss, which asks for good probabilities, not only for the right side
# of one half.

search = GridSearchCV(
    model,
    {
        "feedforwardclassifier__alpha": [1e-4, 1e-2, 1.0, 10.0],
        "feedforwardclassifier__hidden_layer_sizes": [(10,), (50,)],
    },
    scoring="neg_log_loss",
    cv=5,
).fit(X_train, y_train)
print("Chosen:")
for name, value in search.best_params_.items():
    print(f"  {name.split('__')[1]} = {value}")
print(f"Log loss in cross-validation: {-search.best_score_:.3f}")

# %%
# On the test rows
# ----------------

default = clone(model).fit(X_train, y_train)
malignant = list(search.classes_).index("malignant")
test_scores = {}
for name, classifier in {"default alpha": default, "tuned": search}.items():
    probability = classifier.predict_proba(X_test)
    test_scores[name] = {
        "log loss": log_loss(y_test, probability, labels=search.classes_),
        "ROC-AUC": roc_auc_score(y_test == "malignant", probability[:, malignant]),
    }
    print(f"{name:<14s}", *(f"{key} {value:.3f} " for key, value in test_scores[name].items()))
print(classification_report(y_test, search.predict(X_test), digits=3))

# %%
# The confusion matrix counts rows for the threshold of one half, the ROC curve looks at all
# thresholds, and the calibration curve compares the probabilities with what then came true: of the
# rows that are called malignant with a probability of about 0.8, about 80 % should be so.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
ConfusionMatrixDisplay.from_estimator(
    search, X_test, y_test, cmap="Blues", colorbar=False, ax=left, text_kw={"fontsize": 14}
)
left.set(title="Confusion matrix", xlabel="predicted", ylabel="true")
RocCurveDisplay.from_estimator(
    search, X_test, y_test, pos_label="malignant", name="tuned", ax=middle
)
middle.plot([0, 1], [0, 1], ":", color="tab:gray", label="guessing")
middle.set(
    title="ROC curve",
    xlabel="share of the benign that raise an alarm",
    ylabel="share of the malignant that are found",
)
middle.legend(loc="lower right")
for (name, classifier), marker in zip(
    {"tuned": search, "default alpha": default}.items(), "os", strict=True
):
    CalibrationDisplay.from_estimator(
        classifier,
        X_test,
        y_test,
        n_bins=5,
        strategy="quantile",
        pos_label="malignant",
        name=name,
        marker=marker,
        ax=right,
    )
right.set(
    title="Calibration",
    xlabel="mean probability of being malignant",
    ylabel="share that is malignant",
)
right.legend(loc="upper left")
plt.show()

# %%
# The tuned network finds more than nine in ten of the malignant tumours, and the penalty that the
# search has chosen makes its probabilities better than the default does: the log loss on the test
# rows is lower.
