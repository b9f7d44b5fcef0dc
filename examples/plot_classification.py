"""
Classification from end to end
==============================

How well does a tuned network classify tumours as malignant or benign, and are its predicted
probabilities well calibrated? This example follows the usual scikit-learn workflow: a pipeline
prepares the columns, a grid search tunes the network on the training set, and the final evaluation
uses a test set that neither of them has seen.

Expect a ROC AUC of at least 0.98. Also expect the penalty `alpha` that the grid search selects to
give better probabilities than the default value.

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
# The number of epochs is limited on purpose, because the search does not need full convergence.
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Data
# ----
# The dataset describes ten properties of cell nuclei. For each property, it contains the mean over
# all nuclei of a patient, the standard error of this mean, and the mean of the three largest
# values. The labels are strings, and "malignant" is the positive class.

data = load_breast_cancer()
X, y = data.data, data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
print(f"{len(X_train)} training samples, {len(X_test)} test samples")
print(f"{np.mean(y_test == 'malignant'):.0%} of the test samples are malignant")

# %%
# Pipeline
# --------
# Areas and standard errors have long-tailed distributions, so the pipeline takes their logarithm
# before it scales them. Because the preprocessing is part of the pipeline, it is fitted on the
# training data only.

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
# The grid search minimizes the log loss. Unlike the accuracy, the log loss takes the predicted
# probabilities into account and not only the predicted classes.

search = GridSearchCV(
    model,
    {
        "feedforwardclassifier__alpha": [1e-4, 1e-2, 1.0, 10.0],
        "feedforwardclassifier__hidden_layer_sizes": [(10,), (50,)],
    },
    scoring="neg_log_loss",
    cv=5,
).fit(X_train, y_train)
print("Best parameters:")
for name, value in search.best_params_.items():
    print(f"  {name.split('__')[1]} = {value}")
print(f"Log loss in cross-validation: {-search.best_score_:.3f}")

# %%
# Evaluation on the test set
# --------------------------

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
# The confusion matrix uses a decision threshold of 0.5, whereas the ROC curve covers all
# thresholds. The calibration curve compares the predicted probabilities with the observed
# frequencies: among the samples with a predicted probability of about 0.8 for "malignant", about
# 80% should be malignant.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
ConfusionMatrixDisplay.from_estimator(
    search, X_test, y_test, cmap="Blues", colorbar=False, ax=left, text_kw={"fontsize": 14}
)
left.set(title="Confusion matrix", xlabel="predicted label", ylabel="true label")
RocCurveDisplay.from_estimator(
    search, X_test, y_test, pos_label="malignant", name="tuned", ax=middle
)
middle.plot([0, 1], [0, 1], ":", color="tab:gray", label="chance level")
middle.set(
    title="ROC curve",
    xlabel="false positive rate",
    ylabel="true positive rate",
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
    xlabel="mean predicted probability",
    ylabel="fraction of malignant samples",
)
right.legend(loc="upper left")
plt.show()

# %%
# The tuned network detects more than 90% of the malignant tumours. The penalty that the grid search
# selected also improves the probabilities: the log loss on the test set is lower than with the
# default penalty.
