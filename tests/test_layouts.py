"""Rows and targets work in any layout: sparse, strided, read-only, mapped, of any number type."""

from __future__ import annotations

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from compositions import OURS, THEIRS, frame_of, network
from conftest import TARGETS, needs_sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion, make_pipeline

from sknn import TrainingWarning

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- sparse rows ------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_sparse_rows_in_a_pipeline_equal_those_of_scikit_learns_mlp(early_stopping):
    _, y = TARGETS["multiclass"]
    words = [" ".join(f"w{(i * j) % 37}" for j in range(1, 4 + i % 5)) for i in range(len(y))]
    predictions = []
    for library in (OURS, THEIRS):
        union = FeatureUnion([("tfidf", TfidfVectorizer()), ("pairs", TfidfVectorizer(min_df=2))])
        net = network("multiclass", library, early_stopping=early_stopping)
        predictions.append(make_pipeline(union, net).fit(words, y).predict_proba(words))
    assert_allclose(predictions[0], predictions[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("container", ["csr", "csc", "coo", "lil", "dok", "bsr"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_rows_of_any_format_learn_the_model_of_dense_ones(container, kind):
    X, y = TARGETS["one output"]
    X = np.where(np.abs(X) > 1, X, 0)
    sparse = getattr(scipy.sparse, f"{container}_{kind}")(X)
    dense = network("one output").fit(X, y)
    model = network("one output").fit(sparse, y)
    for actual, expected in zip(model.coefs_, dense.coefs_, strict=True):
        assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    assert_allclose(model.predict(sparse), dense.predict(X))
    assert_allclose(model.predict(X), dense.predict(sparse))


def test_sparse_rows_with_unsorted_and_repeated_entries_learn_the_model_of_dense_ones():
    X, y = TARGETS["multiclass"]
    csr = scipy.sparse.csr_matrix(X)
    reversed_ = csr[:, ::-1].copy()
    assert not reversed_.has_sorted_indices
    halves = scipy.sparse.coo_matrix(
        (
            np.r_[X.ravel(), X.ravel()] / 2,
            (np.tile(np.repeat(np.arange(len(X)), 4), 2), np.tile(np.arange(4), 2 * len(X))),
        ),
        shape=X.shape,
    )
    for sparse, dense in ((reversed_, X[:, ::-1]), (halves, X)):
        actual = network("multiclass").fit(sparse, y).predict_proba(sparse)
        expected = network("multiclass").fit(dense, y).predict_proba(dense)
        assert_allclose(actual, expected, rtol=1e-9)


def test_sparse_rows_are_left_as_they_were():
    X, y = TARGETS["multiclass"]
    sparse = scipy.sparse.csr_matrix(X)
    before = sparse.copy()
    network("multiclass", early_stopping=True).fit(sparse, y).predict(sparse)
    assert (sparse != before).nnz == 0


# --- memory -----------------------------------------------------------------------------------

LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "reversed rows": lambda X: X[::-1].copy()[::-1],
    "reversed columns": lambda X: X[:, ::-1].copy()[:, ::-1],
    "transposed": lambda X: X.T.copy().T,
    "unaligned": lambda X: (
        np.frombuffer(b"x" + X.tobytes(), dtype=np.uint8)[1:].view(X.dtype).reshape(X.shape)
    ),
    "read only": lambda X: np.frombuffer(X.tobytes()).reshape(X.shape),
    "big endian": lambda X: X.astype(">f8"),
    "list of lists": lambda X: X.tolist(),
    "frame": frame_of,
    "frame of objects": lambda X: frame_of(X).astype(object),
    "objects": lambda X: X.astype(object),
    "subclass": lambda X: X.view(np.recarray),
}


@pytest.mark.matrix(8)
@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("target", ["binary", "one output"])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"early_stopping": True}, {"shuffle": False}, {"solver": "lbfgs"}, {"n_members": 3}],
    ids=str,
)
def test_memory_layout_of_the_rows_does_not_matter(target, layout, parameters):
    X, y = TARGETS[target]
    X = np.ascontiguousarray(X)
    expected = network(target, **parameters).fit(X, y)
    other = LAYOUTS[layout](X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", TrainingWarning)
        actual = network(target, **parameters).fit(other, y)
        assert_array_equal(actual.predict(other), expected.predict(X))
    for coef, reference in zip(actual.coefs_, expected.coefs_, strict=True):
        assert_array_equal(coef, reference)


@pytest.mark.matrix
@pytest.mark.parametrize("layout", ["reversed", "strided", "read only", "series", "list"])
@pytest.mark.parametrize("target", ["binary", "one output"])
def test_memory_layout_of_targets_and_weights_does_not_matter(target, layout):
    X, y = TARGETS[target]
    weight = np.random.RandomState(0).uniform(0, 2, len(X))

    def laid_out(array):
        if layout == "reversed":
            return array[::-1].copy()[::-1]
        if layout == "strided":
            return np.repeat(array, 3)[::3]
        if layout == "series":
            return pd.Series(array, index=np.arange(len(array))[::-1])
        if layout == "list":
            return array.tolist()
        array = array.copy()
        array.flags.writeable = False
        return array

    expected = network(target, early_stopping=True).fit(X, y, sample_weight=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", TrainingWarning)
        actual = network(target, early_stopping=True).fit(
            X, laid_out(y), sample_weight=laid_out(weight)
        )
    assert_array_equal(actual.coefs_[0], expected.coefs_[0])


@pytest.mark.matrix
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("target", ["multiclass", "one output", "two outputs", "multilabel"])
def test_read_only_memory_map_is_taken_without_a_warning(tmp_path, target, solver, shuffle):
    X, y = TARGETS[target]
    weight = np.ones(len(X))
    joblib.dump((X, y, weight), tmp_path / "data")
    X_map, y_map, weight_map = joblib.load(tmp_path / "data", mmap_mode="r")
    assert not X_map.flags.writeable
    net = network(target, solver=solver, shuffle=shuffle)
    expected = clone(net).fit(X, y, sample_weight=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", TrainingWarning)
        actual = clone(net).fit(X_map, y_map, sample_weight=weight_map)
        assert_array_equal(actual.predict(X_map), expected.predict(X))
        if solver != "lbfgs":
            actual.partial_fit(X_map, y_map)
        actual.score(X_map, y_map, sample_weight=weight_map)


@pytest.mark.parametrize("n_members", [1, 3])
def test_model_loaded_as_a_memory_map_predicts_and_goes_on(n_members, tmp_path):
    X, y = TARGETS["multiclass"]
    model = network("multiclass", n_members=n_members).fit(X, y)
    joblib.dump(model, tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = joblib.load(tmp_path / "model", mmap_mode="r")
        assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
        loaded.partial_fit(X, y)
    assert_array_equal(loaded.coefs_[0], model.partial_fit(X, y).coefs_[0])


def test_arrays_are_left_as_they_were():
    for target, (X, y) in TARGETS.items():
        weight = np.random.RandomState(0).uniform(0, 2, len(X))
        copies = X.copy(), y.copy(), weight.copy()
        for parameters in ({}, {"early_stopping": True}, {"solver": "lbfgs"}, {"shuffle": False}):
            network(target, **parameters).fit(X, y, sample_weight=weight).predict(X)
        for array, copy in zip((X, y, weight), copies, strict=True):
            assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "?", "f2"])
def test_rows_of_numbers_of_any_type_equal_scikit_learn(dtype):
    X, y = TARGETS["multiclass"]
    X = (X > 2).astype(dtype) if dtype == "?" else X.astype(dtype)
    ours = network("multiclass").fit(X, y)
    theirs = network("multiclass", THEIRS).fit(X, y)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype
    assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-8)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-8)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "float32", "int8"])
def test_frame_of_pandas_types_equals_scikit_learn(dtype):
    X, y = TARGETS["multiclass"]
    frame = frame_of(X.round() if dtype != "boolean" else X > 2).astype(dtype)
    ours = network("multiclass").fit(frame, y)
    theirs = network("multiclass", THEIRS).fit(frame, y)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4 if dtype == "float32" else 1e-8)


def test_frame_with_mixed_columns_of_numbers_equals_scikit_learn():
    X, y = TARGETS["multiclass"]
    frame = frame_of(X)
    frame["x0"] = frame["x0"].round().astype(int)
    frame["x1"] = frame["x1"].astype(object)
    frame["x2"] = frame["x2"] > 3
    ours = network("multiclass").fit(frame, y)
    theirs = network("multiclass", THEIRS).fit(frame, y)
    assert_allclose(ours.predict_proba(frame), theirs.predict_proba(frame), rtol=1e-8)


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f4", "f8"])
def test_two_labels_of_any_type_equal_scikit_learn(dtype):
    X, y = TARGETS["binary"]
    ours = network("binary").fit(X, y.astype(dtype))
    theirs = network("binary", THEIRS).fit(X, y.astype(dtype))
    assert ours.classes_.dtype == theirs.classes_.dtype
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["booleans", "sparse", "lists", "frame", "floats"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_multilabel_targets_of_any_kind_equal_scikit_learn(kind, early_stopping):
    if kind == "sparse" and early_stopping:
        needs_sklearn("1.9", "cannot score sparse predictions (as in its #33760)")
    X, y = TARGETS["multilabel"]
    y = {
        "booleans": lambda: y.astype(bool),
        "sparse": lambda: scipy.sparse.csr_matrix(y),
        "lists": lambda: y.tolist(),
        "frame": lambda: pd.DataFrame(y),
        "floats": lambda: y.astype(float),
    }[kind]()
    results = []
    for library in (OURS, THEIRS):
        try:
            model = network("multilabel", library, early_stopping=early_stopping).fit(X, y)
        except (TypeError, ValueError) as error:
            results.append(type(error))
        else:
            results.append(model)
    ours, theirs = results
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)
    actual, expected = ours.predict(X), theirs.predict(X)
    assert type(actual) is type(expected)
    if kind == "sparse":
        actual, expected = actual.toarray(), expected.toarray()
    assert_array_equal(actual, expected)
