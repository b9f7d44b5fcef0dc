"""Files of pickle, joblib and skops: their sizes, what they hold, and what loading them needs."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import skops.io
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_array_equal
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._platform._memory_alignment import ALIGNMENT, aligned

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "batch_size": 40}
LONG = {"max_iter": 150, "tol": 0.0, "n_iter_no_change": 1000}
SHARED = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "adaptive"},
    {"solver": "lbfgs"},
    {"early_stopping": True},
    {"hidden_layer_sizes": (), "solver": "sgd"},
    {"hidden_layer_sizes": (40, 30)},
    LONG,
    {**LONG, "early_stopping": True},
    {**LONG, "solver": "sgd"},
]
ADDED = [
    {"normalization": "batch", "solver": "adamw"},
    {"dropout": 0.2, "learning_rate": "cosine", "dtype": "float32"},
]


def pair(target, **parameters):
    """Return scikit-learn's estimator and ours for a target, with equal parameters."""
    kinds = (MLPRegressor, FeedForwardRegressor)
    if target in ("binary", "multiclass", "multilabel"):
        kinds = (MLPClassifier, FeedForwardClassifier)
    return [kind(**SMALL | parameters) for kind in kinds]


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def through_skops(estimator):
    data = skops.io.dumps(estimator)
    kind = type(estimator)
    own = f"{kind.__module__}.{kind.__name__}"
    assert skops.io.get_untrusted_types(data=data) == [own]
    return skops.io.loads(data, trusted=[own])


def joblib_size(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    return len(file.getvalue())


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", SHARED, ids=str)
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "two outputs"])
def test_files_are_no_larger_than_scikit_learns(target, parameters):
    X, y = TARGETS[target]
    theirs, ours = (estimator.fit(X, y) for estimator in pair(target, **parameters))
    allowed = 4096 + 100 * ours.n_iter_
    assert len(pickle.dumps(ours)) <= len(pickle.dumps(theirs)) + allowed
    assert joblib_size(ours) <= joblib_size(theirs) + allowed


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_files_hold_no_training_data(target, parameters, tmp_path):
    rng = np.random.RandomState(0)
    X, y = TARGETS[target]
    X = rng.permutation(X + rng.uniform(size=X.shape))  # makes each value unique
    if not is_classifier(pair(target)[1]):
        y = y + rng.uniform(size=y.shape)
    weight = rng.uniform(1, 2, len(y))
    (_, estimator) = pair(target, **parameters)
    validation = {} if parameters else {"X_val": X[:20] + 1, "y_val": y[:20]}
    estimator.fit(X, y, sample_weight=weight, **validation)
    estimator.save(tmp_path / "file")
    files = [pickle.dumps(estimator), skops.io.dumps(estimator), (tmp_path / "file").read_bytes()]
    for data in files:
        for array in (X, X + 1, X.astype(np.float32), weight):
            assert not any(row.tobytes() in data for row in np.ascontiguousarray(array)[:50])
            assert not any(row.tobytes() in data for row in np.ascontiguousarray(array.T)[:5])
        assert np.ascontiguousarray(y[:20]).tobytes() not in data


@pytest.mark.matrix
@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
@pytest.mark.parametrize("parameters", [*SHARED[:5], *ADDED], ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_estimator_comes_back_and_training_goes_on(target, parameters, through):
    X, y = TARGETS[target]
    estimator = pair(target)[1].set_params(**parameters).fit(X, y)
    loaded = through(estimator)
    assert_bit_equal(loaded, estimator)
    assert_array_equal(loaded.predict(X), estimator.predict(X))
    if estimator.solver != "lbfgs" and not estimator.early_stopping:
        assert_bit_equal(loaded.partial_fit(X, y), estimator.partial_fit(X, y))


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_unfitted_estimator_comes_back(through):
    estimator = FeedForwardClassifier(class_weight={0: 1.0, 1: 2.0}, random_state=3)
    assert repr(through(estimator)) == repr(estimator)


@pytest.mark.parametrize("target", TARGETS)
def test_pickle_holds_no_object_of_scikit_learn(target):
    # Such an object belongs to one version of scikit-learn, and other versions warn about it.
    X, y = TARGETS[target]
    data = pickle.dumps(pair(target)[1].fit(X, y))
    assert b"sklearn" not in data


def test_binarizer_of_a_pickle_is_as_it_was():
    X, y = TARGETS["multilabel"]
    estimator = pair("multilabel")[1].fit(X, y)
    loaded = through_pickle(estimator)
    assert vars(loaded._label_binarizer).keys() == vars(estimator._label_binarizer).keys()
    assert_array_equal(loaded._label_binarizer.transform(y), y)


@pytest.mark.parametrize("module", ["pickle", pytest.param("joblib", marks=pytest.mark.long)])
def test_file_is_loaded_without_torch(module, tmp_path):
    X, y = TARGETS["multiclass"]
    path = tmp_path / "file"
    estimator = pair("multiclass")[1].fit(X, y)
    path.write_bytes(pickle.dumps(estimator))
    if module == "joblib":
        joblib.dump(estimator, path)
    load = {
        "pickle": "pickle.load(open(sys.argv[1], 'rb'))",
        "joblib": "joblib.load(sys.argv[1])",
    }
    code = (
        f"import sys, {module}\n"
        f"{load[module]}\n"
        "assert 'sknn' in sys.modules and not {'torch', 'skorch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=120)


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_file_of_an_absent_device_is_loaded(through):
    X, y = TARGETS["multiclass"]
    estimator = pair("multiclass")[1].fit(X, y)
    estimator.device_ = "cuda:99"
    loaded = through(estimator)
    assert loaded.device_ == "cpu"
    estimator.device_ = "cpu"
    assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))


@pytest.mark.parametrize("by", ["pickle", "skops"])
def test_pipelines_and_searches_are_kept(by):
    X, y = TARGETS["multiclass"]
    pipeline = make_pipeline(StandardScaler(), FeedForwardClassifier((5,), max_iter=5))
    search = GridSearchCV(pipeline, {"feedforwardclassifier__alpha": [0.1, 1.0]}, cv=2)
    for model in (pipeline.fit(X, y), search.fit(X, y)):
        if by == "pickle":
            same = pickle.loads(pickle.dumps(model))
        else:
            data = skops.io.dumps(model)
            types = skops.io.get_untrusted_types(data=data)
            ours = [name for name in types if name.startswith("sknn.")]
            assert ours == ["sknn._classifier.FeedForwardClassifier"]
            same = skops.io.loads(data, trusted=types)
        assert_array_equal(same.predict_proba(X), model.predict_proba(X))


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("offset", [8, 16, 24, 40])
def test_predictions_do_not_depend_on_where_memory_begins(dtype, offset):
    """MKL sums in another order for arrays that begin 8 bytes off a multiple of 16, as layers may.

    Aligned copies avoid the difference.
    """

    def elsewhere(array):
        room = np.empty(array.nbytes + 128, np.uint8)
        start = -room.ctypes.data % 64 + offset
        order = "F" if array.flags.f_contiguous else "C"
        moved = np.ndarray(array.shape, array.dtype, room, start, order=order)
        moved[...] = array
        return moved

    for seed in range(20):
        rng = np.random.RandomState(seed)
        n_rows, n_features, first, second = rng.randint(1, 40, 4)
        X, y = rng.standard_normal((n_rows + 1, n_features)), rng.standard_normal(n_rows + 1)
        model = FeedForwardRegressor(
            hidden_layer_sizes=(first, second), max_iter=1, dtype=dtype, random_state=seed
        ).fit(X, y)
        X = X.astype(dtype)
        expected = model.predict(X)
        moved = copy.copy(model)
        moved.coefs_ = [elsewhere(coef) for coef in model.coefs_]
        for other in (moved, pickle.loads(pickle.dumps(model)), pickle.loads(pickle.dumps(moved))):
            assert_array_equal(other.predict(elsewhere(X)), expected)


def test_array_of_objects_is_not_moved():
    # The bytes of such an array are references, so copying them elsewhere would be useless.
    beside = np.array([None, 1.5, "a"], dtype=object)[1:]
    assert aligned(beside) is beside
    numbers = np.arange(9.0)[1:]
    numbers = numbers if numbers.ctypes.data % ALIGNMENT else numbers[1:]
    assert aligned(numbers).ctypes.data % ALIGNMENT == 0
    assert_array_equal(aligned(numbers), numbers)
