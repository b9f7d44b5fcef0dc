"""`save` keeps everything that predictions and further training need."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import scipy.sparse
import sklearn
from conftest import TARGETS, assert_bit_equal, case, fitted_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from saved_models import SPECIES, X_IRIS, made_for

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CONFIGURATIONS = [
    {"solver": "adam"},
    {"solver": "adamw", "dropout": 0.2, "learning_rate": "cosine"},
    {"solver": "sgd", "learning_rate": "adaptive", "momentum": 0.5},
    {"solver": "lbfgs"},
    {"early_stopping": True, "max_iter": 20, "scoring": "loss"},
    {"normalization": "batch", "activation": ["relu", "gelu"], "hidden_layer_sizes": [6, 5]},
    {"normalization": "layer", "dtype": "float32"},
    {"n_members": 3, "dropout": 0.2},
    {"n_members": 2, "normalization": "batch", "solver": "sgd"},
    {"n_members": 3, "normalization": "layer", "dtype": "float32", "early_stopping": True},
    {"hidden_layer_sizes": ()},
    {"warm_start": True, "random_state": np.random.RandomState(3), "max_iter": 18},
]


def plain(value):
    """Return a value, its types included, in a form that can be compared."""
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, [plain(v) for v in value.ravel().tolist()]
    if isinstance(value, list | tuple):
        return type(value), [plain(v) for v in value]
    if isinstance(value, dict):
        return [(plain(k), plain(v)) for k, v in value.items()]
    return type(value), repr(value)


def assert_same(loaded, estimator):
    """Assert that a loaded estimator equals the saved one, including its parameters."""
    assert type(loaded) is type(estimator)
    assert_bit_equal(loaded, estimator)
    assert list(loaded.get_params()) == list(estimator.get_params())
    for name, value in estimator.get_params().items():
        assert plain(loaded.get_params()[name]) == plain(value), name


@pytest.mark.matrix(8)
@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=case)
@pytest.mark.parametrize("target", TARGETS)
def test_everything_is_kept_and_training_goes_on(target, parameters, again):
    X, y = TARGETS[target]
    estimator = made_for(target, **parameters).fit(X, y)
    loaded = again(estimator)
    assert_same(loaded, estimator)
    for actual, expected in zip(loaded.coefs_, estimator.coefs_, strict=True):
        assert actual.flags.f_contiguous == expected.flags.f_contiguous  # affects rounding
    assert_array_equal(loaded.predict(X), estimator.predict(X))
    if hasattr(estimator, "predict_proba"):
        assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    if estimator.solver != "lbfgs" and not estimator.early_stopping:
        assert_bit_equal(loaded.partial_fit(X, y), estimator.partial_fit(X, y))
    estimator.set_params(warm_start=True)
    assert_bit_equal(loaded.set_params(warm_start=True).fit(X, y), estimator.fit(X, y))


def test_saved_twice_is_the_same_file(tmp_path):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    estimator.save(tmp_path / "one")
    sknn.load(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


LABELS = {
    "strings": np.array(["a", "bc", "é\u4e00\U0001f600"]),
    "surrogates": np.array(["a", "\ud800", "\udfff"]),
    "one string": np.array(["x"] * 3),
    "big-endian strings": np.array(["a", "b", "c"], ">U3"),
    "bools": np.array([False, True, True]),
    "integers": np.array([3, 5, 2**31 - 1], np.int32),
    "unsigned": np.array([3, 5, 255], np.uint8),
    "long": np.array([-(2**63), 5, 2**63 - 1]),
    "floats": np.array([-1.0, 0.0, 7.0]),
    "single": np.array([-1.0, 0.0, 7.0], np.float32),
    "dates": np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]"),
}


@pytest.mark.matrix(6)
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_keep_their_dtype(labels, again):
    estimator = made_for("multiclass").fit(X_IRIS, labels[SPECIES])
    loaded = again(estimator)
    assert_same(loaded, estimator)
    assert loaded.classes_.dtype == estimator.classes_.dtype
    assert loaded.predict(X_IRIS).dtype == estimator.predict(X_IRIS).dtype
    assert_array_equal(loaded.predict(X_IRIS), estimator.predict(X_IRIS))


@pytest.mark.parametrize(
    "items",
    [["a", "b", "c"], [1, 2.5, 10**30], [False, 2, 3.5], [np.int8(1), np.float32(2), 3]],
    ids=case,
)
def test_labels_of_objects_keep_their_types(items, again):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    estimator.classes_ = np.array(items, object)
    estimator._label_binarizer.classes_ = estimator.classes_
    loaded = again(estimator)
    assert_same(loaded, estimator)
    assert [type(c) for c in loaded.classes_] == [type(c) for c in items]


PARAMETERS = [
    {"hidden_layer_sizes": np.array([3, 4])},
    {"hidden_layer_sizes": [np.int64(3), 4]},
    {"hidden_layer_sizes": 7, "activation": ("relu",)},
    {"hidden_layer_sizes": [3] * 40, "dropout": [0.5] * 40},
    {"alpha": np.float32(0.1), "max_iter": np.int16(3), "shuffle": np.bool_(True)},
    {"solver": np.str_("sgd"), "n_iter_no_change": np.inf, "max_grad_norm": 5},
    {"random_state": None},
    {"random_state": np.int64(5)},
    {"random_state": np.random.RandomState(5)},
    {"callbacks": []},
    {"callbacks": ()},
    {"verbose": "progress", "process_group": "world", "device": "cuda:1"},
    {"scoring": "f1_macro", "normalization": "batch", "checkpoint_every": 3},
    {"max_iter": 10**30},
]


@pytest.mark.matrix(7)
@pytest.mark.parametrize("parameters", PARAMETERS, ids=case)
@pytest.mark.parametrize("kind", [FeedForwardClassifier, FeedForwardRegressor])
def test_unfitted_estimator_keeps_its_parameters(kind, parameters, again):
    estimator = kind(**parameters)
    loaded = again(estimator)
    assert_same(loaded, estimator)
    assert fitted_state(loaded) == {}


@pytest.mark.parametrize(
    "class_weight",
    [
        {0: 1.0, np.int64(1): 2, True: 3.0},
        {"a": 1, "$array": 0.5, "é": np.float32(3)},
        {2.5: 1, 10**25: 3},
        {i: float(i) for i in range(1, 100)},
        [{0: 1, 1: 2.0}, {0: 3, 1: 4}],
        "balanced",
        {},
    ],
    ids=repr,
)
def test_class_weights_keep_the_types_of_their_keys(class_weight, again):
    estimator = FeedForwardClassifier(class_weight=class_weight)
    assert_same(again(estimator), estimator)


def test_generator_goes_on_from_where_it_was(again):
    generator = np.random.RandomState(5)
    generator.normal(size=7)  # After an odd number of draws, the generator holds one more value.
    loaded = again(FeedForwardClassifier(random_state=generator))
    assert_array_equal(loaded.random_state.normal(size=700), generator.normal(size=700))


@pytest.mark.matrix
@pytest.mark.parametrize("quantile", [0.3, [0.1, 0.5, 0.9], (0.2, 0.4), np.array([0.2, 0.3])])
@pytest.mark.parametrize("target", ["one output", "two outputs"])
def test_quantiles_are_kept(target, quantile, again):
    X, y = TARGETS[target]
    estimator = made_for(target, loss="quantile", quantile=quantile).fit(X, y)
    loaded = again(estimator)
    assert_same(loaded, estimator)
    assert_array_equal(loaded.predict(X), estimator.predict(X))


def test_feature_names_are_kept(again):
    frame = pd.DataFrame(X_IRIS, columns=["a", "b", "ç", "d"])
    estimator = made_for("multiclass").fit(frame, SPECIES)
    loaded = again(estimator)
    assert_same(loaded, estimator)
    assert_array_equal(loaded.predict(frame), estimator.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame.rename(columns={"a": "x"}))


@pytest.mark.parametrize("n_classes", [1, 2])
def test_few_classes_are_kept(n_classes, again):
    y = SPECIES % n_classes
    estimator = made_for("multiclass").partial_fit(X_IRIS, y, classes=np.arange(n_classes))
    loaded = again(estimator)
    assert_same(loaded, estimator)
    assert_bit_equal(loaded.partial_fit(X_IRIS, y), estimator.partial_fit(X_IRIS, y))


def test_sparse_multilabel_targets_are_kept(again):
    X, y = TARGETS["multilabel"]
    estimator = made_for("multilabel").fit(X, scipy.sparse.csr_matrix(y))
    loaded = again(estimator)
    assert_same(loaded, estimator)
    assert scipy.sparse.issparse(loaded.predict(X))


def test_history_of_several_fits_is_kept(again):
    X, y = TARGETS["one output"]
    estimator = made_for("one output", warm_start=True).fit(X, y)
    estimator.fit(X, y, X_val=X, y_val=y).partial_fit(X, y)
    estimator._history[1]["own"] = [1, {"a": np.arange(3)}, np.float64(2.5), None]
    estimator._history[2]["own"] = "text"
    assert_same(again(estimator), estimator)


def test_requests_of_metadata_are_kept(again):
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = FeedForwardClassifier().set_fit_request(sample_weight=True, X_val="other")
        estimator.set_score_request(sample_weight=False)
        loaded = again(estimator)
        routing, default = estimator.get_metadata_routing(), again(FeedForwardClassifier())
        assert repr(loaded.get_metadata_routing()) == repr(routing)
        assert repr(default.get_metadata_routing()) != repr(routing)


def test_arrays_are_read_by_the_library(tmp_path):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    estimator.save(tmp_path / "file")
    arrays = safetensors.numpy.load_file(tmp_path / "file")
    for i, coef in enumerate(estimator.coefs_):
        assert_array_equal(arrays[f"coefs_.{i}"].T, coef)
        assert_array_equal(arrays[f"intercepts_.{i}"], estimator.intercepts_[i])


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_parameters_and_labels_are_kept(tmp_path, data):
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    scalars = scalars.filter(lambda v: not isinstance(v, int) or abs(v) < 10**40)
    keys = st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=5)
    weights = st.dictionaries(keys, st.floats() | st.integers(0, 9), max_size=30)
    parameters = {
        "hidden_layer_sizes": data.draw(st.lists(st.integers(1, 9), max_size=40) | st.just(())),
        "class_weight": data.draw(st.none() | weights | st.lists(weights, max_size=4)),
        "alpha": data.draw(st.floats(0, 1e300)),
        "activation": data.draw(st.sampled_from(["relu", ["mish", "tanh"]]) | st.lists(scalars)),
        "quantile": 0.5,
    }
    kind = FeedForwardClassifier
    if data.draw(st.booleans()):
        kind, parameters["quantile"] = FeedForwardRegressor, data.draw(st.lists(scalars))
        del parameters["class_weight"]
    else:
        del parameters["quantile"]
    estimator = kind(**parameters)
    estimator.save(tmp_path / "file")
    assert_same(sknn.load(tmp_path / "file"), estimator)
