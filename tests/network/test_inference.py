"""Predictions that are computed chunk by chunk, also in several threads, equal those at once."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import TARGETS
from sklearn.datasets import load_iris

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network import _inference
from sknn._network._activations import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def chunks(monkeypatch):
    """Set chunks of sixteen rows, and return a list with the sizes of the computed chunks."""
    sizes = []
    forward = _inference.Layers.__call__

    def recorded(self, X, *args):
        sizes.append(X.shape[0])
        return forward(self, X, *args)

    monkeypatch.setattr(_inference, "FEW_VALUES", 0)
    monkeypatch.setattr(_inference, "CHUNK_BYTES", 1)
    monkeypatch.setattr(_inference, "MIN_CHUNK_ROWS", 16)
    monkeypatch.setattr(_inference.Layers, "__call__", recorded)
    return sizes


@pytest.mark.parametrize("kind", ["dense", "sparse", "densified"])
def test_outputs_of_chunks_are_those_of_all_rows(kind, chunks, monkeypatch):
    X, y = TARGETS["multiclass"]
    rows = (
        X if kind == "dense" else scipy.sparse.csr_matrix(X * (X > (5 if kind == "sparse" else 0)))
    )
    model = FeedForwardClassifier(max_iter=5, random_state=0).fit(X, y)
    chunked = model.predict_proba(rows)
    assert sum(chunks) == len(X)
    assert max(chunks) == 16
    monkeypatch.setattr(_inference, "MIN_CHUNK_ROWS", 10**6)
    np.testing.assert_allclose(chunked, model.predict_proba(rows), rtol=1e-12)
    assert chunks[-1] == len(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_another_dtype_are_cast_by_the_chunk(dtype, chunks, monkeypatch):
    X, y = TARGETS["one output"]
    model = FeedForwardRegressor(max_iter=5, random_state=0).fit(X.astype(dtype), y)
    cast_sizes = []
    cast = _inference._cast

    def recorded(rows, to):
        cast_sizes.append(rows.shape[0])
        return cast(rows, to)

    monkeypatch.setattr(_inference, "_cast", recorded)
    other = np.float64 if dtype == np.float32 else np.float32
    prediction = model.predict(X.astype(other))
    assert prediction.dtype == dtype
    assert max(cast_sizes) == 16
    np.testing.assert_allclose(prediction, model.predict(X.astype(dtype)), rtol=1e-4)


def test_validation_rows_are_scored_by_the_chunk(chunks):
    X, y = TARGETS["binary"]
    FeedForwardClassifier(max_iter=2, early_stopping=True).fit(X, y)
    assert sum(chunks) == 2 * 57
    assert max(chunks) == 16


@pytest.fixture
def pools(monkeypatch):
    """Return a list with the number of threads of each pool that shared chunks."""
    sizes = []

    class Pool(_inference.ThreadPoolExecutor):
        def __init__(self, n_threads):
            sizes.append(n_threads)
            super().__init__(n_threads)

    monkeypatch.setattr(_inference, "ThreadPoolExecutor", Pool)
    return sizes


def test_chunks_in_two_threads_are_those_in_one(chunks, pools, two_threads):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=5, random_state=0).fit(X, y)
    in_two = model.predict_proba(X)
    assert len(chunks) == 10
    assert pools == [2]
    torch.set_num_threads(1)
    np.testing.assert_array_equal(in_two, model.predict_proba(X))
    assert pools == [2]


@pytest.mark.parametrize("kind", ["few chunks", "made dense"])
def test_few_chunks_or_rows_made_dense_are_not_shared(kind, chunks, pools, two_threads):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=2, random_state=0).fit(X, y)
    rows = X[:60] if kind == "few chunks" else scipy.sparse.csr_matrix(X)
    np.testing.assert_allclose(model.predict_proba(rows), model.predict_proba(X)[: rows.shape[0]])
    assert pools == [2]  # Only the prediction for all dense rows was shared.
    assert chunks[:4] == ([16, 16, 16, 12] if kind == "few chunks" else [16] * 4)


def test_error_in_one_thread_ends_the_other_threads_work(chunks, pools, two_threads, monkeypatch):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=2).fit(X, y)
    forward, calls = _inference.Layers.__call__, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(*args)

    monkeypatch.setattr(_inference.Layers, "__call__", failing)
    with pytest.raises(KeyboardInterrupt):
        model.predict(np.tile(X, (200, 1)))
    assert pools == [2]
    assert len(calls) < 1000


def test_error_in_a_chunk_of_another_thread_is_raised(chunks, two_threads):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=5).fit(X.astype(np.float32), y)
    X = X.copy()
    X[-1, -1] = 1e300
    with pytest.raises(ValueError, match="too large for dtype"):
        model.predict(X)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda X: np.where(X == X[3, 1], np.nan, X),
        lambda X: X[:, :-1],
        lambda X: X[0],
        lambda X: X[:0],
        lambda X: X.astype(object).astype(str).astype(object) + "a",
        lambda X: X[None],
    ],
)
def test_short_arrays_are_refused_as_long_ones(spoil):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=2).fit(X, y)
    messages = []
    for repeats in (1, 100):
        rows = spoil(X if repeats == 1 else np.tile(X, (repeats, 1)))
        with pytest.raises(ValueError) as error:
            model.predict(rows)
        messages.append(str(error.value).replace("15000", "150"))
    assert messages[0] == messages[1]


def test_short_array_without_the_feature_names_of_the_fit_warns():
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = FeedForwardClassifier(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X.to_numpy()[:1])


@pytest.mark.matrix
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", TARGETS)
def test_few_rows_have_the_outputs_of_many(target, dtype, activation, monkeypatch):
    X, y = TARGETS[target]
    X = X.astype(dtype)
    cls = FeedForwardRegressor if y.dtype.kind == "f" else FeedForwardClassifier
    model = cls(hidden_layer_sizes=(9, 7), activation=activation, max_iter=2, random_state=0)
    model.fit(X, y)
    names = ("predict", "predict_proba", "predict_log_proba")
    methods = [getattr(model, name) for name in names if hasattr(model, name)]
    few = [method(X[:20]) for method in methods]
    monkeypatch.setattr(_inference, "FEW_VALUES", 0)
    many = [method(X[:20]) for method in methods]
    for one, two in zip(few, many, strict=True):
        assert one.dtype == two.dtype
        assert one.shape == two.shape
        assert one.flags.c_contiguous
        np.testing.assert_allclose(one, two, rtol=1e-9 if dtype == np.float64 else 1e-4)


@pytest.mark.parametrize("n_rows", [1, 2, 60])
def test_few_rows_have_equal_outputs_in_every_layout(n_rows):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=2, random_state=0).fit(X, y)
    rows = X[:n_rows]
    expected = model.predict_proba(rows)
    padded = np.zeros((n_rows, 9))
    padded[:, 1::2] = rows
    unaligned = np.empty(rows.nbytes + 8, np.uint8)[8:].view(np.float64).reshape(rows.shape)
    unaligned[...] = rows
    read_only = rows.copy()
    read_only.flags.writeable = False
    others = [np.asfortranarray(rows), padded[:, 1::2], unaligned, read_only, rows[:, ::-1].copy()]
    others[-1] = others[-1][:, ::-1]
    for other in [*others, rows.tolist(), torch.from_numpy(rows.copy()), rows.astype(">f8")]:
        np.testing.assert_array_equal(model.predict_proba(other), expected)


def test_few_rows_are_left_as_they_are():
    X, y = TARGETS["multiclass"]
    for sizes in ((), (5,)):
        model = FeedForwardClassifier(sizes, max_iter=2, random_state=0).fit(X, y)
        rows, coefs = X[:3].copy(), [coef.copy() for coef in model.coefs_]
        first = model.predict_proba(rows)
        np.testing.assert_array_equal(rows, X[:3])
        np.testing.assert_array_equal(model.predict_proba(rows), first)
        for one, two in zip(coefs, model.coefs_, strict=True):
            np.testing.assert_array_equal(one, two)


def test_few_rows_too_large_for_the_weights_are_refused_as_many():
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=2).fit(X.astype(np.float32), y)
    with pytest.raises(ValueError, match=r"too large for dtype\('float32'\)"):
        model.predict(np.full((1, 4), 1e300))


def test_sum_that_overflows_is_no_fault_of_the_rows():
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=2).fit(X, y)
    assert model.predict(np.full((2, 4), np.finfo(np.float64).max)).shape == (2,)
