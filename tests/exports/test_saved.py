"""What `save` keeps, what it refuses, and what `load` refuses."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import scipy.sparse
import sklearn
import torch
from conftest import TARGETS, assert_bit_equal, case, fitted_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from saved_files import put_together, taken_apart
from skorch.callbacks import EpochScoring

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._exports import _saved
from sknn._files import _container
from sknn._platform._sklearn_compat import CallbackSupportMixin

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, "batch_size": 40}
CONFIGURATIONS = [
    {"solver": "adam"},
    {"solver": "adamw", "dropout": 0.2, "learning_rate": "cosine"},
    {"solver": "sgd", "learning_rate": "adaptive", "momentum": 0.5},
    {"solver": "lbfgs"},
    {"early_stopping": True, "max_iter": 20, "scoring": "loss"},
    {"normalization": "batch", "activation": ["relu", "gelu"], "hidden_layer_sizes": [6, 5]},
    {"normalization": "layer", "dtype": "float32"},
    {"hidden_layer_sizes": ()},
    {"warm_start": True, "random_state": np.random.RandomState(3), "max_iter": 18},
]
X_IRIS, SPECIES = TARGETS["multiclass"]


def made_for(target, **parameters):
    is_class = target in ("binary", "multiclass", "multilabel")
    kind = FeedForwardClassifier if is_class else FeedForwardRegressor
    return kind(**SMALL | parameters)


def plain(value):
    """A value with its types, arrays and generators included."""
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, [plain(v) for v in value.ravel().tolist()]
    if isinstance(value, list | tuple):
        return type(value), [plain(v) for v in value]
    if isinstance(value, dict):
        return [(plain(k), plain(v)) for k, v in value.items()]
    return type(value), repr(value)


@pytest.fixture
def again(tmp_path):
    """Saves an estimator, and returns what is loaded."""

    def saved_and_loaded(estimator):
        estimator.save(tmp_path / "file")
        return sknn.load(tmp_path / "file")

    return saved_and_loaded


def assert_same(loaded, estimator):
    """Assert that an estimator came back as it was, with its parameters."""
    assert type(loaded) is type(estimator)
    assert_bit_equal(loaded, estimator)
    assert list(loaded.get_params()) == list(estimator.get_params())
    for name, value in estimator.get_params().items():
        assert plain(loaded.get_params()[name]) == plain(value), name


# --- what is kept -----------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", CONFIGURATIONS, ids=case)
@pytest.mark.parametrize("target", TARGETS)
def test_everything_is_kept_and_training_goes_on(target, parameters, again):
    X, y = TARGETS[target]
    estimator = made_for(target, **parameters).fit(X, y)
    loaded = again(estimator)
    assert_same(loaded, estimator)
    for actual, expected in zip(loaded.coefs_, estimator.coefs_, strict=True):
        assert actual.flags.f_contiguous == expected.flags.f_contiguous  # decides on rounding
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
    generator.normal(size=7)  # an odd number: one more is kept
    loaded = again(FeedForwardClassifier(random_state=generator))
    assert_array_equal(loaded.random_state.normal(size=700), generator.normal(size=700))


@pytest.mark.parametrize("quantile", [0.3, [0.1, 0.5, 0.9], (0.2, 0.4), np.array([0.2, 0.3])])
def test_quantiles_are_kept(quantile, again):
    X, y = TARGETS["one output"]
    estimator = made_for("one output", loss="quantile", quantile=quantile).fit(X, y)
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


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
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


# --- what is not kept, or refused -------------------------------------------------------------


def test_places_and_groups_are_not_kept(again, tmp_path):
    group = type("Group", (), {"rank": lambda self: 0, "size": lambda self: 1})()
    estimator = FeedForwardClassifier(checkpoint_dir=tmp_path, process_group=group)
    loaded = again(estimator)
    assert loaded.checkpoint_dir is None
    assert loaded.process_group is None
    assert estimator.checkpoint_dir == tmp_path


def test_place_in_a_file_of_a_stranger_is_not_taken_up(tmp_path):
    path = tmp_path / "file"
    FeedForwardClassifier().save(path)
    document, header, body = taken_apart(path.read_bytes())
    document["parameters"]["checkpoint_dir"] = str(tmp_path / "other")
    path.write_bytes(put_together(document, header, body))
    assert sknn.load(path).checkpoint_dir is None


def test_state_of_a_torch_optimizer_is_not_kept(again):
    estimator = made_for("multiclass", solver=torch.optim.RAdam).fit(X_IRIS, SPECIES)
    estimator.set_params(solver="adam")
    loaded = again(estimator)
    assert loaded._solver_state == {}
    assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))
    assert_bit_equal(loaded.partial_fit(X_IRIS, SPECIES), estimator.partial_fit(X_IRIS, SPECIES))


def test_state_of_a_torch_scheduler_is_not_kept(again):
    scheduler = partial(torch.optim.lr_scheduler.StepLR, step_size=2)
    estimator = made_for("multiclass", learning_rate=scheduler).fit(X_IRIS, SPECIES)
    estimator.partial_fit(X_IRIS, SPECIES).set_params(learning_rate="constant")
    loaded = again(estimator)
    assert loaded._solver_state["scheduler"] is None
    assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))


def test_callbacks_that_a_fit_has_used_are_not_kept(again):
    scoring = EpochScoring("f1_macro", name="own", on_train=True)
    estimator = made_for("multiclass", callbacks=[scoring]).fit(X_IRIS, SPECIES)
    loaded = again(estimator.set_params(callbacks=None))
    assert loaded.callbacks_ == []
    assert loaded._history == estimator._history
    assert "own" in loaded.net_.history[-1]


def test_absent_device_becomes_the_cpu(again):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    estimator.device_ = "cuda:99"
    loaded = again(estimator)
    assert loaded.device_ == "cpu"
    estimator.device_ = "cpu"
    assert_array_equal(loaded.predict(X_IRIS), estimator.predict(X_IRIS))


class Own(FeedForwardClassifier):
    """Of a module that whoever loads it may not have."""


def own_loss(outputs, targets):
    return (outputs - targets).square().sum(1)


UNSAVED = [
    {"activation": torch.nn.PReLU},
    {"activation": [torch.nn.PReLU]},
    {"solver": torch.optim.SGD},
    {"solver": partial(torch.optim.SGD, momentum=0.5)},
    {"learning_rate": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2)},
    {"loss": own_loss},
    {"scoring": own_loss},
    {"callbacks": [EpochScoring("f1_macro")]},
    {"random_state": np.random.RandomState(np.random.PCG64(0))},
    {"hidden_layer_sizes": range(3)},
    {"alpha": np.longdouble(1)},
    {"max_iter": 10**50},
    {"activation": torch.nn.PReLU, "scoring": own_loss, "callbacks": [EpochScoring]},
]


@pytest.mark.parametrize("parameters", UNSAVED, ids=case)
@pytest.mark.parametrize("kind", [FeedForwardClassifier, FeedForwardRegressor])
def test_what_cannot_be_saved_is_named(kind, parameters, tmp_path):
    estimator = kind(**parameters)
    with pytest.raises(ValueError, match="cannot be saved") as error:
        estimator.save(tmp_path / "file")
    for name in parameters:
        assert f"the parameter {name!r} holds" in str(error.value)
    assert len(str(error.value).split("holds")) == 1 + len(parameters)
    assert "set_params" in str(error.value)
    assert list(tmp_path.iterdir()) == []


HAS_CALLBACKS = hasattr(CallbackSupportMixin, "_init_callback_context")


@pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn has had callbacks since 1.9")
def test_callbacks_of_scikit_learn_are_named(tmp_path):
    estimator = FeedForwardClassifier(scoring=own_loss)
    from sklearn.callback import ProgressBar

    estimator.set_callbacks(ProgressBar())
    with pytest.raises(ValueError, match="ProgressBar") as error:
        estimator.save(tmp_path / "file")
    assert "set_callbacks" in str(error.value)
    assert "'scoring'" in str(error.value)
    estimator.set_callbacks().set_params(scoring=None).save(tmp_path / "file")


def test_attributes_and_classes_of_others_are_named(tmp_path):
    estimator = FeedForwardClassifier()
    estimator.note = "of mine"
    with pytest.raises(ValueError, match="'note' is not one of its own"):
        estimator.save(tmp_path / "file")
    with pytest.raises(ValueError, match="Own of .*test_saved cannot be saved"):
        Own().save(tmp_path / "file")
    circle = [1]
    circle.append(circle)
    with pytest.raises(ValueError, match="'quantile' is nested too deeply, or holds itself"):
        FeedForwardRegressor(quantile=circle).save(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coefs_", None),
        ("coefs_", [np.ones((4, 6)), np.ones((5, 3))]),
        ("coefs_", [[[1.0] * 6] * 4, np.ones((6, 3))]),
        ("intercepts_", [np.ones(6)]),
        ("classes_", np.array([2, 1, 0])),
        ("n_features_in_", 5),
        ("t_", -1),
        ("module_state_", {"activation0.weight": np.ones(1)}),
        ("best_loss_", "low"),
        ("_solver_state", {"name": "adam"}),
    ],
)
def test_attributes_that_do_not_go_together_are_named(name, value, tmp_path):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    setattr(estimator, name, value)
    with pytest.raises(ValueError, match=f"cannot be saved: its attribute ({name}|coefs_)"):
        estimator.save(tmp_path / "file")
    delattr(estimator, name)
    with pytest.raises(ValueError, match=f"its attribute {name} is missing"):
        estimator.save(tmp_path / "file")


def test_edited_weights_are_kept(again):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    estimator.coefs_ = [np.asarray(c, np.float32)[::-1] for c in estimator.coefs_]
    loaded = again(estimator)
    assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))


def test_parameter_that_no_fit_would_take_is_named(tmp_path):
    with pytest.raises(ValueError, match="The 'alpha' parameter of FeedForwardClassifier"):
        FeedForwardClassifier(alpha=-1.0).save(tmp_path / "file")
    with pytest.raises(ValueError, match="The 'callbacks' parameter of FeedForwardRegressor"):
        FeedForwardRegressor(callbacks=[1]).save(tmp_path / "file")
    with pytest.raises(ValueError, match="The 'class_weight' parameter of FeedForwardClassifier"):
        FeedForwardClassifier(class_weight=[{0: "heavy"}]).save(tmp_path / "file")


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_paths_of_every_kind(kind, tmp_path):
    path = kind(tmp_path / "é model")
    FeedForwardClassifier(alpha=0.5).save(path)
    assert sknn.load(path).alpha == 0.5


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failed_save_leaves_the_file_that_was_there(function, error, monkeypatch, tmp_path):
    def fail(*_):
        raise error

    path = tmp_path / "file"
    path.write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr(_container.os, function, fail)
        with pytest.raises(type(error)):
            FeedForwardClassifier().save(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_refused_save_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(ValueError):
        FeedForwardClassifier(scoring=own_loss).save(path)
    assert path.read_text() == "before"


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_mode_and_link_are_kept(tmp_path):
    path, link, new = tmp_path / "file", tmp_path / "link", tmp_path / "new"
    path.touch(mode=0o640)
    link.symlink_to(path)
    FeedForwardClassifier().save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    sknn.load(path).save(new)
    (tmp_path / "other").touch()
    assert new.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_no_file_is_neither_replaced_nor_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="no regular file"):
        FeedForwardClassifier().save(pipe)
    with pytest.raises(ValueError, match="no regular file"):
        sknn.load(pipe)
    with pytest.raises(OSError):
        FeedForwardClassifier().save(tmp_path)
    with pytest.raises(OSError):
        sknn.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        FeedForwardClassifier().save(tmp_path / "missing" / "file")
    with pytest.raises(FileNotFoundError):
        sknn.load(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == [pipe]


def npz():
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


FOREIGN = {
    "empty": (b"", "it is empty"),
    "text": (b"once upon a time, there was a file of text, of no use to us", "no file of sknn"),
    "zeros": (bytes(1000), "no file of sknn"),
    "random": (np.random.RandomState(0).bytes(1000), "no file of sknn"),
    "pickle": (pickle.dumps(FeedForwardClassifier()), "a pickle"),
    "npz": (npz(), "a zip archive"),
    "safetensors": (safetensors.numpy.save({"a": np.zeros(3)}, {"b": "c"}), "a safetensors file"),
    "short": (b"\x01", "no file of sknn"),
}


@pytest.mark.parametrize(("data", "said"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_file_is_refused(data, said, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=said) as error:
        sknn.load(path)
    assert str(path) in str(error.value)
    assert "save" in str(error.value)


@pytest.fixture
def parts(tmp_path):
    """Of a valid file: its document, the header's entries and the arrays' bytes."""
    made_for("multiclass").fit(X_IRIS, SPECIES).save(tmp_path / "file")
    return taken_apart((tmp_path / "file").read_bytes())


CHANGES = {
    "newer": (lambda d: d.update(format=2), "its format is 2.*up to 1.*upgrade sknn"),
    "no format": (lambda d: d.pop("format"), "its format is None"),
    "parameter": (lambda d: d["parameters"].update(depth=3), "does not know.*depth.*upgrade sknn"),
    "class": (lambda d: d.update({"class": "os.system"}), "of a class 'os.system'"),
    "attribute": (lambda d: d["attributes"].update(predict=3), "not its own.*predict"),
    "dunder": (lambda d: d["attributes"].update(__class__="x"), "not its own.*__class__"),
    "missing": (lambda d: d["attributes"].pop("t_"), "t_ is missing"),
    "twice": (
        lambda d: d["attributes"].update(intercepts_=d["attributes"]["coefs_"]),
        "used twice",
    ),
    "unused": (lambda d: d.update(attributes={}), "arrays belong to nothing"),
    "value": (lambda d: d["parameters"].update(alpha=-1.0), "parameter 'alpha' cannot be -1.0"),
    "key": (lambda d: d.update(more=1), "has the keys"),
    "request": (lambda d: d.update(requests={"fit": {"__init__": True}}), "no argument"),
    "key of a dict twice": (
        lambda d: d["parameters"].update(class_weight={"$dict": [["a", "a"], [1, 2]]}),
        "a key of a dict is there twice",
    ),
    "more values than records": (
        lambda d: d["attributes"].update(
            _history={"layouts": [["a"]], "layout": [0], "columns": [[1, 2]]}
        ),
        "not as long as the records ask for",
    ),
    "generator": (
        lambda d: d["parameters"].update(random_state={"$RandomState": {}}),
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_changed_document_is_refused(change, said, parts, tmp_path):
    document, header, body = parts
    change(document)
    path = tmp_path / "file"
    path.write_bytes(put_together(document, header, body))
    with pytest.raises(ValueError, match=f"(?s){said}"):
        sknn.load(path)


def test_key_of_the_document_that_is_there_twice_is_refused(parts, tmp_path):
    document, header, body = parts
    text = json.dumps(document)[1:-1] + ',"class":"FeedForwardRegressor"}'
    (tmp_path / "file").write_bytes(put_together(text, header, body))
    with pytest.raises(ValueError, match="a key of its document is there twice"):
        sknn.load(tmp_path / "file")


def test_header_with_escapes_is_refused(parts, tmp_path):
    document, header, body = parts
    entries = json.dumps(header)[1:].replace("coefs_.0", "coefs_\\u002e0")
    (tmp_path / "file").write_bytes(put_together(document, entries, body))
    with pytest.raises(ValueError, match="not as this package writes it"):
        sknn.load(tmp_path / "file")


@pytest.mark.parametrize("pos", [-1, 625])
def test_generator_that_stands_beyond_its_words_is_refused(pos, tmp_path):
    """NumPy would read memory that is not its own."""
    path = tmp_path / "file"
    FeedForwardClassifier(random_state=np.random.RandomState(0)).save(path)
    document, header, body = taken_apart(path.read_bytes())
    document["parameters"]["random_state"]["$RandomState"]["pos"] = pos
    path.write_bytes(put_together(document, header, body))
    with pytest.raises(ValueError, match="the state of a RandomState is unsound"):
        sknn.load(path)


def test_parameter_that_an_older_file_lacks_has_its_default(parts, tmp_path):
    document, header, body = parts
    document["parameters"].pop("checkpoint_every")
    (tmp_path / "file").write_bytes(put_together(document, header, body))
    assert sknn.load(tmp_path / "file").checkpoint_every == 10


def test_older_format_is_upgraded(parts, tmp_path, monkeypatch):
    document, header, body = parts
    weight = document["parameters"].pop("alpha")
    document["parameters"]["decay"] = 2 * weight
    path = tmp_path / "file"
    path.write_bytes(put_together(document, header, body))

    def alpha_for_decay(document):
        parameters = dict(document["parameters"])
        parameters["alpha"] = parameters.pop("decay") / 2
        return {**document, "format": 2, "parameters": parameters}

    monkeypatch.setattr(_saved, "FORMAT", 3)
    monkeypatch.setitem(_saved.UPGRADES, 1, alpha_for_decay)
    monkeypatch.setitem(_saved.UPGRADES, 2, lambda document: {**document, "format": 3})
    assert sknn.load(path).alpha == weight


def test_every_older_format_has_an_upgrade():
    assert set(_saved.UPGRADES) == set(range(1, _saved.FORMAT))


def test_neither_torch_nor_skorch_is_imported(tmp_path):
    path = tmp_path / "file"
    made_for("multiclass").fit(X_IRIS, SPECIES).save(path)
    code = (
        "import sys, sknn\n"
        "sknn.load(sys.argv[1]).save(sys.argv[1])\n"
        "assert not {'torch', 'skorch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=120)


def test_state_of_generators_is_left_alone(tmp_path):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    before = repr(np.random.get_state()), torch.get_rng_state().tolist()
    estimator.save(tmp_path / "file")
    sknn.load(tmp_path / "file").predict(X_IRIS)
    assert (repr(np.random.get_state()), torch.get_rng_state().tolist()) == before


def test_missing_directory_is_named(tmp_path):
    path = tmp_path / "missing" / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="no such directory") as caught:
        FeedForwardClassifier().save(path)
    assert caught.value.filename == str(path.parent)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_memory_mapped_model_can_be_saved(solver, tmp_path):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(solver=solver, max_iter=5, random_state=0).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert type(mapped.coefs_[0]) is np.memmap
    mapped.save(tmp_path / "model.safetensors")
    assert_bit_equal(sknn.load(tmp_path / "model.safetensors"), model)
