"""Files of pickle, joblib and skops: their sizes, what they hold, and what loading them needs."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_array_equal
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EpochScoring, EpochTimer, PrintLog

import sknn
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
    *({**LONG, "early_stopping": True}, {**LONG, "solver": "sgd"}),
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


@pytest.mark.matrix(5)
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


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_file_of_an_absent_device_is_loaded(through):
    X, y = TARGETS["multiclass"]
    estimator = pair("multiclass")[1].fit(X, y)
    estimator.device_ = "cuda:99"
    loaded = through(estimator)
    assert loaded.device_ == "cpu"
    estimator.device_ = "cpu"
    assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))


@pytest.mark.matrix(1)
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


@pytest.mark.matrix(2)
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

    for seed in range(10):
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


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("normalization", [None, "layer"])
def test_predictions_of_members_do_not_depend_on_the_layout_of_their_weights(dtype, normalization):
    """The first layer that a training leaves has another layout than the one of its pickle."""
    layouts = set()
    for seed in range(5):
        rng = np.random.RandomState(seed)
        n_rows, n_features, first, second = rng.randint(1, 40, 4)
        X, y = rng.standard_normal((n_rows + 1, n_features)), rng.standard_normal(n_rows + 1)
        parameters = {"dtype": dtype, "normalization": normalization, "random_state": seed}
        model = FeedForwardRegressor(
            hidden_layer_sizes=(first, second), max_iter=1, n_members=3, **parameters
        ).fit(X, y)
        expected = model.predict(X)
        others = [pickle.loads(pickle.dumps(model))]
        for change in (
            np.ascontiguousarray,
            np.asfortranarray,
            lambda c: c[:, ::-1].copy()[:, ::-1],
        ):
            others.append(copy.copy(model))
            others[-1].coefs_ = [change(coef) for coef in model.coefs_]
        for other in others:
            layouts.add(other.coefs_[0].flags.c_contiguous)
            assert_array_equal(other.predict(X), expected)
    assert layouts == {False, True}


def test_array_of_objects_is_not_moved():
    # The bytes of such an array are references, so copying them elsewhere would be useless.
    beside = np.array([None, 1.5, "a"], dtype=object)[1:]
    assert aligned(beside) is beside
    numbers = np.arange(9.0)[1:]
    numbers = numbers if numbers.ctypes.data % ALIGNMENT else numbers[1:]
    assert aligned(numbers).ctypes.data % ALIGNMENT == 0
    assert_array_equal(aligned(numbers), numbers)


class KeepHistory(Callback):
    """A callback that keeps the history of the net, and a list of its records."""

    def on_train_begin(self, net, **arguments):
        self.history_ = net.history

    def on_train_end(self, net, **arguments):
        self.records_ = net.history.to_list()


# Fits of each kind: target, parameters, and whether a file of `save` can hold the estimator.
FITS = {
    "adam": ("multiclass", {}, True),
    "sgd": ("binary", {"solver": "sgd", "learning_rate": "invscaling"}, True),
    "lbfgs": ("two outputs", {"solver": "lbfgs"}, True),
    "early stopping": ("multiclass", {"early_stopping": True, "scoring": "accuracy"}, True),
    "batch": ("multiclass", {"normalization": "batch", "solver": "adamw", "dropout": 0.2}, True),
    "levels": ("one output", {"loss": "quantile", "quantile": [0.1, 0.9]}, True),
    "one unit": ("one output", {"hidden_layer_sizes": [1, 1], "activation": ["relu"] * 2}, True),
    "multilabel": ("multilabel", {"verbose": "progress"}, True),
    "optimizer": ("multiclass", {"solver": torch.optim.NAdam}, False),
    "scheduler": ("multiclass", {"learning_rate": torch.optim.lr_scheduler.LinearLR}, False),
    "modules": ("multiclass", {"activation": torch.nn.PReLU}, False),
    "EpochTimer": ("multiclass", {"callbacks": [EpochTimer()]}, False),
    "EpochScoring": ("multiclass", {"callbacks": [EpochScoring("accuracy", name="own")]}, False),
    "other callbacks": ("multiclass", {"callbacks": [PrintLog(), KeepHistory()]}, False),
}


def fitted_again(name, *, frame=False):
    """Return a new fit of `FITS`."""
    target, parameters, _ = FITS[name]
    X, y = TARGETS[target]
    if frame:
        # Strings that are names of parameters and of keys in the history, too.
        names = [*("loss", "alpha", "epoch", "own"), *map("x{}".format, range(X.shape[1]))]
        X = pd.DataFrame(X, columns=names[: X.shape[1]])
        y = np.array(["adam", "cpu", "name"], object)[y] if target == "multiclass" else y
    return pair(target)[1].set_params(**parameters).fit(X, y)


def all_bytes(estimator, path):
    """Return the hash of joblib, the pickles, and the file of `save` if there can be one."""
    files = [joblib.hash(estimator), *(pickle.dumps(estimator, protocol) for protocol in (2, 4, 5))]
    if not estimator.callbacks and not any(
        callable(getattr(estimator, name)) for name in ("solver", "learning_rate", "activation")
    ):
        estimator.save(path)
        files.append(path.read_bytes())
    return files


@pytest.mark.matrix(7)
@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize("name", FITS)
def test_equal_fits_have_equal_bytes(name, frame, tmp_path):
    estimator = fitted_again(name, frame=frame)
    expected = all_bytes(estimator, tmp_path / "file")
    assert (len(expected) == 5) == FITS[name][2]
    others = [fitted_again(name, frame=frame), through_pickle(estimator), through_joblib(estimator)]
    others += [sknn.load(tmp_path / "file")] if FITS[name][2] else []
    for other in others:
        assert all_bytes(other, tmp_path / "file") == expected


@pytest.mark.matrix(1)
@pytest.mark.parametrize("through", [through_pickle, through_joblib])
def test_training_that_goes_on_after_a_pickle_has_equal_bytes(through, tmp_path):
    X, y = TARGETS["binary"]
    for make in (partial(pair, "binary", warm_start=True), partial(pair, "binary", solver="sgd")):
        estimator = make()[1].fit(X, y.astype(float))
        unfitted = through(make()[1])  # as one that is sent to another process
        assert pickle.dumps(unfitted.fit(X, y.astype(float))) == pickle.dumps(estimator)
        loaded = through(estimator)
        for model in (estimator, loaded):
            model.fit(X, y.astype(float)).partial_fit(X, y.astype(float))
        assert all_bytes(loaded, tmp_path / "file") == all_bytes(estimator, tmp_path / "file")


@pytest.mark.long
def test_other_process_writes_equal_bytes(tmp_path):
    code = (
        "import hashlib, sys, warnings; warnings.simplefilter('ignore')\n"
        "import joblib, numpy as np, pickle\n"
        "from sknn import FeedForwardClassifier\n"
        "X = np.arange(60.0).reshape(20, 3) % 7\n"
        "y = np.array(['adam', 'loss'])[np.arange(20) % 2]\n"
        "clf = FeedForwardClassifier((4,), max_iter=3, early_stopping=True, random_state=0,\n"
        "                            class_weight={'adam': 1.0, 'loss': 2.0}).fit(X, y)\n"
        "clf.save(path)\n"
        "files = pickle.dumps(clf), open(path, 'rb').read(), joblib.hash(clf).encode()\n"
        "hashes = [hashlib.sha1(file).hexdigest() for file in files]\n"
    )
    path = str(tmp_path / "file")
    here = {"path": path}
    exec(code, here)  # noqa: S102
    there = subprocess.run(
        [sys.executable, "-c", f"path = {path!r}\n{code}print(hashes)"],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert there.strip() == str(here["hashes"])


def test_durations_live_as_long_as_the_estimator(tmp_path):
    X, y = TARGETS["multiclass"]
    timer = ("timer", EpochTimer())
    estimator = pair("multiclass")[1].set_params(callbacks=[timer, KeepHistory()]).fit(X, y)
    durations = estimator.net_.history[:, "dur"]
    assert all(duration > 0 for duration in durations)
    assert estimator.callbacks_[1][1].history_[:, "dur"] == durations
    loaded = through_pickle(estimator)
    for history in (loaded.net_.history, loaded.callbacks_[1][1].history_):
        assert history[:, "epoch"] == [1, 2, 3, 4]
        assert np.isnan(history[:, "dur"]).all()
    assert np.isnan([record["dur"] for record in loaded.callbacks_[1][1].records_]).all()
    assert loaded.callbacks_[0][1].epoch_start_time_ is None
    assert loaded.summary() == estimator.summary()
    assert estimator.net_.history[:, "dur"] == durations
    loaded.partial_fit(X, y)
    assert np.isnan(loaded.net_.history[:, "dur"]).tolist() == [True] * 4 + [False]


def test_cache_of_joblib_recognizes_an_equal_model(tmp_path):
    calls = []

    def accuracy(model, X, y):
        calls.append(1)
        return model.score(X, y)

    cached = joblib.Memory(tmp_path, verbose=0).cache(accuracy)
    for _ in range(3):
        cached(fitted_again("adam"), *TARGETS["multiclass"])
    assert calls == [1]


def test_value_that_holds_itself_is_pickled():
    estimator = fitted_again("adam")
    own = estimator._history[0]["own"] = []
    own.append(own)
    kept = through_pickle(estimator)._history[0]["own"]
    assert kept[0] is kept


def test_attributes_of_the_user_stay_one_object():
    estimator = fitted_again("adam")
    estimator.first = estimator.second = ["a"]
    loaded = through_pickle(estimator)
    assert loaded.first is loaded.second
