"""Memory maps are read and converted one part at a time, and give the same models as arrays."""

from __future__ import annotations

import multiprocessing
import runpy
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from conftest import TARGETS, assert_bit_equal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import train_test_split

import sknn._data._validation_split
import sknn._input._memory_maps
import sknn._training._lbfgs
from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._data._csr import csr_slice, csr_take
from sknn._input._memory_maps import is_mapped
from sknn._network._summed_step import SummedStep

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_from_disk.py"
DTYPES = ["float64", "float32", "float16", "int8", "int64", "uint16", "bool", ">f4"]


def mapped(folder, array, order="C", name="X"):
    """Return a read-only memory map of a new file that holds the values of an array."""
    path = folder / f"{name}-{np.dtype(array.dtype).name}-{order}-{len(list(folder.iterdir()))}"
    array = np.asarray(array)
    file = np.memmap(path, array.dtype, "w+", shape=array.shape, order=order)
    file[...] = array
    file.flush()
    return np.memmap(path, array.dtype, "r", shape=array.shape, order=order)


def mapped_csr(folder, matrix, dtype=None):
    parts = (matrix.data if dtype is None else matrix.data.astype(dtype), matrix.indices)
    csr = scipy.sparse.csr_matrix(matrix.shape, dtype=parts[0].dtype)
    csr.data, csr.indices = (mapped(folder, part, name="csr") for part in parts)
    csr.indptr = mapped(folder, matrix.indptr, name="indptr")
    return csr


def whole_numbers(n_rows=300, n_features=7):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 6, (n_rows, n_features)).astype(float)
    return X, (X.sum(1) > 17).astype(int) + (X[:, 0] > 3)


@pytest.fixture
def one_chunk_at_a_time(monkeypatch):
    monkeypatch.setattr(sknn._input._memory_maps, "CHUNK_BYTES", 1000)


@pytest.mark.matrix
@pytest.mark.usefixtures("one_chunk_at_a_time")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["auto", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower")
def test_model_of_a_map_is_that_of_the_array(tmp_path, stored, dtype, order, solver):
    X, y = whole_numbers()
    X = X.astype(stored)
    parameters = {"solver": solver, "dtype": dtype, "max_iter": 3, "random_state": 0}
    expected = FeedForwardClassifier((5,), early_stopping=True, **parameters).fit(X, y)
    X_mapped = mapped(tmp_path, X, order)
    model = FeedForwardClassifier((5,), early_stopping=True, **parameters).fit(X_mapped, y)
    assert_bit_equal(model, expected)
    assert_array_equal(model.predict_proba(X_mapped), expected.predict_proba(X))


@pytest.mark.matrix
@pytest.mark.usefixtures("one_chunk_at_a_time")
@pytest.mark.parametrize("density", [0.05, 0.6])
@pytest.mark.parametrize("dtype", ["auto", "float32", "float64"])
@pytest.mark.parametrize("stored", ["float64", "float32", "int16", "bool"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_model_of_a_mapped_csr_matrix_is_that_of_the_matrix(
    tmp_path, stored, dtype, density, solver
):
    rng = np.random.RandomState(0)
    X = scipy.sparse.random(200, 40, density, "csr", random_state=rng)
    X.data = rng.randint(1, 5, X.nnz).astype(stored)
    y = rng.randint(3, size=200)
    parameters = {"dtype": dtype, "max_iter": 3, "random_state": 0, "solver": solver}
    expected = FeedForwardClassifier((5,), **parameters).fit(X, y)
    X_mapped = mapped_csr(tmp_path, X)
    assert is_mapped(X_mapped)
    model = FeedForwardClassifier((5,), **parameters).fit(X_mapped, y)
    assert_bit_equal(model, expected)
    assert_array_equal(model.predict_proba(X_mapped), expected.predict_proba(X))


@pytest.mark.parametrize("stored", ["float64", "float32", "int8"])
def test_partial_fit_of_maps_is_that_of_arrays(tmp_path, stored):
    X, y = whole_numbers()
    models = []
    for make in (lambda rows: rows, lambda rows: mapped(tmp_path, rows)):
        model = FeedForwardClassifier((5,), random_state=0, dtype="float32")
        for start in range(0, 300, 100):
            rows = make(X[start : start + 100].astype(stored))
            model.partial_fit(rows, y[start : start + 100], classes=[0, 1, 2])
        models.append(model)
    assert_bit_equal(*models)


def test_regression_with_validation_rows_and_weights_in_files(tmp_path):
    X, y = TARGETS["one output"]
    X, weight = (X * 10).round().astype(np.int8), np.linspace(0.5, 2, len(y))
    models = []
    for make in (lambda a: a, lambda a: mapped(tmp_path, a)):
        model = FeedForwardRegressor(early_stopping=True, max_iter=5, random_state=0)
        model.fit(
            make(X[:300]), make(y[:300]), make(weight[:300]), X_val=make(X[300:]), y_val=y[300:]
        )
        models.append(model)
    assert_bit_equal(*models)


@pytest.mark.matrix
@pytest.mark.usefixtures("one_chunk_at_a_time")
@pytest.mark.parametrize("method", ["fit", "predict", "X_val"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_that_cannot_be_computed_with_are_the_same_error(tmp_path, method, value, order):
    X, y = whole_numbers()
    model = FeedForwardClassifier((5,), dtype="float32", max_iter=1).fit(X, y)
    X[-1, 3] = value
    X_mapped = mapped(tmp_path, X, order)

    def call(rows):
        if method == "X_val":
            return model.fit(X[:-1], y[:-1], X_val=rows, y_val=y)
        return model.predict(rows) if method == "predict" else model.fit(rows, y)

    with pytest.raises(ValueError, match="NaN|infinity|too large") as expected:
        call(X)
    with pytest.raises(ValueError, match="NaN|infinity|too large") as error:
        call(X_mapped)
    words = "NaN" if np.isnan(value) else "infinity"
    assert words in str(error.value) and words in str(expected.value)


def test_bad_shapes_of_maps_are_errors(tmp_path):
    X, y = whole_numbers()
    X = X.astype(np.int16)
    model = FeedForwardClassifier((5,), max_iter=1)
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.fit(mapped(tmp_path, X[:, 0]), y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(mapped(tmp_path, X), y[:-1])
    with pytest.raises(ValueError, match="requires y"):
        model.fit(mapped(tmp_path, X), None)
    model.fit(mapped(tmp_path, X), y)
    with pytest.raises(ValueError, match="X has 6 features, but"):
        model.predict(mapped(tmp_path, X[:, :6]))


def test_is_mapped_sees_through_views_and_not_copies(tmp_path):
    X = mapped(tmp_path, np.arange(12.0).reshape(4, 3))
    assert is_mapped(X) and is_mapped(np.asarray(X)) and is_mapped(X[1:, ::2].T)
    assert not is_mapped(X[[0, 2]]) and not is_mapped(np.array(X)) and not is_mapped([1, 2])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(20, 300), st.floats(0.2, 0.8), st.floats(0.1, 0.6))
def test_frugal_stratified_split_is_that_of_scikit_learn(seed, n_rows, share, fraction):
    y = np.random.RandomState(seed).permutation(n_rows) < share * n_rows
    # Each part has room for at least one row of each class, as scikit-learn requires.
    expected = train_test_split(
        np.arange(n_rows),
        test_size=fraction,
        random_state=np.random.RandomState(seed),
        stratify=y.reshape(-1, 1),
    )
    random_state = np.random.RandomState(seed)
    actual = sknn._data._validation_split._stratified(y, fraction, random_state)
    for mine, theirs in zip(actual, expected, strict=True):
        assert_array_equal(mine, theirs)


def test_split_of_many_rows_is_the_frugal_one(monkeypatch):
    X, y = TARGETS["binary"]
    fits = []
    for many in (10**6, 100):
        monkeypatch.setattr(sknn._data._validation_split, "MANY_ROWS", many)
        model = FeedForwardClassifier((5,), early_stopping=True, max_iter=3, random_state=0)
        fits.append(model.fit(X, y))
    assert_bit_equal(*fits)
    monkeypatch.setattr(sknn._data._validation_split, "train_test_split", None)
    fits[0].fit(X, y)
    with pytest.raises(TypeError):  # For a class of one row, scikit-learn's split is called.
        fits[0].fit(X, np.arange(len(y)) == 3)


@pytest.mark.matrix
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stored", ["float64", "int8", "csr"])
@pytest.mark.parametrize("changes", [{}, {"normalization": "layer"}, {"hidden_layer_sizes": ()}])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "two outputs"])
def test_lbfgs_in_pieces_finds_what_it_finds_at_once(
    tmp_path, monkeypatch, kind, changes, stored, weighted
):
    X, y = TARGETS[kind]
    X = X.round()
    weight = np.random.RandomState(0).randint(0, 3, len(X)) if weighted else None
    make = FeedForwardRegressor if kind == "two outputs" else FeedForwardClassifier
    sizes, fill = [], SummedStep._fill
    monkeypatch.setattr(
        SummedStep, "_fill", lambda s, part, slot: sizes.append(part.n_rows) or fill(s, part, slot)
    )
    models = []
    for piece_bytes in (2**28, 7_000):
        assert not sizes  # the first fit is not done in pieces
        monkeypatch.setattr(sknn._training._lbfgs, "PIECE_BYTES", piece_bytes)
        rows = scipy.sparse.csr_matrix(X) if stored == "csr" else mapped(tmp_path, X.astype(stored))
        model = make(solver="lbfgs", max_iter=8, alpha=0.1, random_state=0).set_params(**changes)
        models.append(model.fit(rows, y, weight))
    expected, actual = models
    assert 1 < len(set(sizes)) and sum(sizes) > len(X)  # the last piece is smaller
    np.testing.assert_allclose(actual.loss_, expected.loss_, rtol=1e-9)
    for one, other in zip(actual.coefs_, expected.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-8)


def _write(path, dtype, shape):
    """Write a file of the given shape that repeats one block of rows; return its read-only map."""
    file = np.memmap(path, dtype, "w+", shape=shape)
    block = np.random.RandomState(0).randint(0, 100, (20_000, *shape[1:])).astype(dtype)
    for start in range(0, shape[0], len(block)):
        file[start : start + len(block)] = block[: shape[0] - start]
    return np.memmap(path, dtype, "r", shape=shape)


def _anonymous():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def _growth(folder, kind, gigabytes):
    """Return by how many bytes `fit` and `predict` of a large file raise the anonymous memory."""
    warnings.simplefilter("ignore")
    if kind == "csr":
        n_rows = gigabytes * 10**9 // 8 // 100
        X = scipy.sparse.csr_matrix((n_rows, 1000), dtype=np.float32)
        X.data = _write(f"{folder}/data", "float32", (n_rows * 100,))
        X.indices = _write(f"{folder}/indices", "int32", (n_rows * 100,))
        X.indptr = np.arange(0, n_rows * 100 + 1, 100, dtype=np.int32)
    else:
        n_features = {"float32": 256, "float16": 512}[kind]
        n_rows = gigabytes * 10**9 // 1024
        X = _write(f"{folder}/{kind}", kind, (n_rows, n_features))
    y = (np.arange(n_rows) % 3 == 0).astype(np.int64)
    parameters = {"batch_size": 2000, "max_iter": 1, "early_stopping": True, "dtype": "float32"}
    model = FeedForwardClassifier((8,), random_state=0, **parameters).fit(X[:3000], y[:3000])
    before, highest, is_over = _anonymous(), 0, threading.Event()

    def watch():
        nonlocal highest
        while not is_over.wait(0.01):
            highest = max(highest, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        model.fit(X, y)
        n_labels = len(model.predict(X))
    finally:
        is_over.set()
        watcher.join()
    assert n_labels == n_rows
    return highest - before


@pytest.mark.long
@pytest.mark.parametrize(("kind", "gigabytes"), [("float32", 4), ("float16", 1), ("csr", 1)])
def test_large_file_takes_less_than_half_a_gigabyte_of_memory(tmp_path, kind, gigabytes):
    with open("/proc/self/status") as status:
        if "RssAnon" not in status.read():
            pytest.skip("this system does not tell anonymous memory from that of files")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        growth = pool.apply(_growth, (str(tmp_path), kind, gigabytes))
    for path in tmp_path.iterdir():
        path.unlink()
    assert growth < 500e6, f"{growth / 1e6:.0f} MB"
    print(f"{kind}: {growth / 1e6:.0f} MB")


@pytest.mark.long
def test_example_learns_from_the_file_what_it_learns_from_the_array(capsys):
    main = runpy.run_path(str(EXAMPLE))["main"]
    model, in_memory = main(["--rows", "20000"])
    assert_bit_equal(model, in_memory)
    assert model.best_validation_score_ > 0.9
    assert "same weights as after training on an array: True" in capsys.readouterr().out


def indices_of_two_kinds(folder, X):
    """Return a CSR matrix of memory maps with 64-bit `indptr` and 32-bit `indices`.

    This is the usual layout for more than 2 ** 31 values.
    """
    matrix = mapped_csr(folder, X)
    matrix.indptr = X.indptr.astype(np.int64)
    return matrix


@pytest.mark.parametrize("density", [0.05, 0.6])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_csr_maps_with_wide_indptr(tmp_path, density, solver):
    X = scipy.sparse.random(200, 40, density, "csr", random_state=0)
    y = np.random.RandomState(0).randint(3, size=200)
    parameters = {"solver": solver, "max_iter": 3, "random_state": 0, "batch_size": 30}
    expected = FeedForwardClassifier((5,), **parameters).fit(X, y)
    matrix = indices_of_two_kinds(tmp_path, X)
    model = FeedForwardClassifier((5,), **parameters).fit(matrix, y)
    assert_bit_equal(model, expected)
    assert_array_equal(model.predict_proba(matrix), expected.predict_proba(X))


def test_rows_of_a_csr_map_are_cut_without_its_other_indices(tmp_path):
    n_rows = 100_000
    X = scipy.sparse.csr_matrix((n_rows, 10), dtype=np.float32)
    X.data = mapped(tmp_path, np.ones(10 * n_rows, np.float32))
    X.indices = mapped(tmp_path, np.tile(np.arange(10, dtype=np.int32), n_rows))
    X.indptr = np.arange(0, 10 * n_rows + 1, 10, dtype=np.int64)
    order = np.random.RandomState(0).permutation(n_rows)[:50]
    for cut in (lambda: csr_slice(X, 30, 80), lambda: csr_take(X, order)):
        tracemalloc.start()
        try:
            rows = cut()
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()
        assert rows.shape == (50, 10) and rows.sum() == 500


@pytest.mark.parametrize("method", ["fit", "predict"])
@pytest.mark.parametrize("shape", [(), (300,), (300, 7, 1), (300, 0), (0, 7)])
def test_maps_of_a_wrong_shape_are_the_errors_of_arrays(tmp_path, method, shape):
    X, y = whole_numbers()
    model = FeedForwardClassifier((5,), max_iter=1).fit(X, y)
    array = np.zeros(shape, np.int8)
    X_mapped = (
        mapped(tmp_path, array)
        if array.size
        else np.memmap(tmp_path / "one", np.int8, "w+", shape=(1,))[:0].reshape(shape)
    )
    call = model.predict if method == "predict" else (lambda rows: model.fit(rows, y))
    with pytest.raises((ValueError, TypeError)) as expected:
        call(array)
    with pytest.raises((ValueError, TypeError)) as error:
        call(X_mapped)
    assert str(error.value)[:25] == str(expected.value)[:25]
