"""Make the files of a release, tests/old_files/<version>/, which later versions must load.

Make them once for each release, in an environment of the oldest supported versions, because older
versions need not be able to read the pickles of newer ones:

    python3.10 -m venv oldest
    oldest/bin/pip install "numpy==1.23.*" "scipy==1.9.*" "scikit-learn==1.7.0" "skorch==1.0.0" \\
        torch safetensors skops joblib
    oldest/bin/python tests/old_files/make.py

Any Python that these packages have wheels for will do. The script prints the versions that it was
run with. Never make the files of a release again: tests/old_files/test_old_files.py tests that the
first ones still load.
"""

from __future__ import annotations

import pickle
import sys
import warnings
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import joblib  # noqa: E402
import numpy as np  # noqa: E402
import scipy  # noqa: E402
import sklearn  # noqa: E402
import skops.io  # noqa: E402
import skorch  # noqa: E402
import torch  # noqa: E402

import sknn  # noqa: E402
from sknn import FeedForwardClassifier, FeedForwardRegressor  # noqa: E402


def estimators():
    """Return the rows, and fitted estimators by name, each with its targets."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (60, 4))
    labels = np.array(["cat", "dog", "é"])[np.argmax(X[:, :3], axis=1)]
    flags = (X[:, :3] + 0.1 * rng.normal(size=(60, 3)) > 0).astype(int)
    numbers = np.c_[X.sum(axis=1), X[:, 0] * X[:, 1]]
    shared = {"hidden_layer_sizes": (5,), "max_iter": 20, "random_state": 0, "batch_size": 20}
    strings = FeedForwardClassifier(**shared, learning_rate_init=0.05).fit(X, labels)
    multilabel = FeedForwardClassifier(**shared, solver="adamw", dropout=0.1).fit(X, flags)
    binary = FeedForwardClassifier(**shared, solver="sgd", class_weight={True: 2.0})
    for _ in range(3):
        binary.partial_fit(X, flags[:, 0] > 0, classes=[False, True])
    early = FeedForwardClassifier(**shared, early_stopping=True, normalization="batch")
    two = FeedForwardRegressor(**shared, dtype="float32").fit(X, numbers)
    lbfgs = FeedForwardRegressor(**shared, solver="lbfgs").fit(X, numbers[:, 0])
    quantiles = FeedForwardRegressor(
        **shared | {"random_state": np.random.RandomState(1)}, loss="quantile", quantile=[0.1, 0.9]
    )
    return X, {
        "strings": (strings, labels),
        "multilabel": (multilabel, flags),
        "sgd": (binary, flags[:, 0] > 0),
        "early_stopping": (early.fit(X, labels), labels),
        "two_outputs": (two, numbers),
        "lbfgs": (lbfgs, numbers[:, 0]),
        "quantiles": (quantiles.fit(X, numbers[:, 0]), numbers[:, 0]),
    }


def main():
    directory = HERE / sknn.__version__.rpartition(".")[0]
    directory.mkdir(exist_ok=True)
    X, models = estimators()
    expected = {"X": X}
    for name, (estimator, y) in models.items():
        path = directory / name
        path.with_suffix(".pickle").write_bytes(pickle.dumps(estimator, protocol=4))
        joblib.dump(estimator, path.with_suffix(".joblib"))
        skops.io.dump(estimator, path.with_suffix(".skops"), compression=zipfile.ZIP_DEFLATED)
        estimator.save(path.with_suffix(".safetensors"))
        outputs = estimator.predict_proba if hasattr(estimator, "classes_") else estimator.predict
        expected[f"{name} y"] = y
        expected[f"{name} outputs"] = outputs(X)
        if estimator.solver != "lbfgs" and not estimator.early_stopping:
            estimator.partial_fit(X, y)
            expected[f"{name} next outputs"] = outputs(X)
    np.savez_compressed(directory / "expected.npz", **expected)
    for module in (np, scipy, sklearn, skorch, torch, joblib, skops, sknn):
        print(module.__name__, module.__version__)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
