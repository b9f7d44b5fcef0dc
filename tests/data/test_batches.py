"""Batches and splits take rows in scikit-learn's order, whatever array holds the rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils import gen_batches, shuffle

from sknn._data import _batches
from sknn._data._batches import Batches
from sknn._data._validation_split import share_classes, split_rows

CPU = torch.device("cpu")


def to_array(X):
    return X.toarray() if scipy.sparse.issparse(X) else X.numpy().copy()


@pytest.fixture(params=["dense", "sparse", "densified"])
def rows(request):
    """Return 47 rows, dense or sparse, whose first column numbers them."""
    rng = np.random.RandomState(0)
    X = np.zeros((47, 30))
    X[:, 0] = np.arange(47) + 1.0
    if request.param == "densified":
        X[:, 1:9] = rng.rand(47, 8)
    return X if request.param == "dense" else scipy.sparse.csr_matrix(X)


@pytest.mark.matrix
@pytest.mark.parametrize("chunk_bytes", [1, 5_000, 10**6])
@pytest.mark.parametrize("batch_size", [1, 10, 46])
def test_batches_come_in_scikit_learns_shuffled_order(rows, batch_size, chunk_bytes, monkeypatch):
    monkeypatch.setattr(_batches, "CHUNK_BYTES", chunk_bytes)
    y = np.arange(47.0).reshape(-1, 1)
    batches = Batches(
        rows, y, batch_size=batch_size, random_state=np.random.RandomState(5), device=CPU
    )
    random_state, order = np.random.RandomState(5), np.arange(47)
    for _ in range(3):
        order = shuffle(order, random_state=random_state)
        expected = [order[part] for part in gen_batches(47, batch_size)]
        taken = [(to_array(b.X)[:, 0] - 1, b.y.numpy()[0].copy(), b.n_rows) for b in batches]
        assert len(taken) == len(expected)
        for (from_X, from_y, n_rows), indices in zip(taken, expected, strict=True):
            np.testing.assert_array_equal(from_X, indices)
            np.testing.assert_array_equal(from_y, indices)
            assert n_rows == len(indices)


def test_one_batch_of_all_rows_is_the_data_and_draws_from_the_random_state():
    X, y = np.random.RandomState(0).rand(10, 3), np.arange(10.0).reshape(-1, 1)
    weight = np.arange(1.0, 11.0)
    random_state = np.random.RandomState(3)
    batches = Batches(X, y, weight, batch_size=10, random_state=random_state, device=CPU)
    for _ in range(2):
        (batch,) = batches
        assert np.shares_memory(batch.X.numpy(), X)
        np.testing.assert_array_equal(batch.y.numpy()[0], np.arange(10))
        np.testing.assert_allclose(batch.weight.numpy(), weight / 55)
    theirs = np.random.RandomState(3)
    for _ in range(2):
        shuffle(np.arange(10), random_state=theirs)
    assert random_state.rand() == theirs.rand()


def test_batches_without_shuffling_are_views_of_the_data():
    X, y = np.random.RandomState(0).rand(10, 3), np.zeros((10, 1))
    for batch in Batches(X, y, batch_size=4, device=CPU):
        assert np.shares_memory(batch.X.numpy(), X)


def test_batches_of_some_rows_take_no_other(rows):
    chosen = np.array([40, 3, 17, 8, 30])
    batches = Batches(rows, np.zeros((47, 1)), rows=chosen, batch_size=2, device=CPU)
    taken = np.concatenate([to_array(batch.X)[:, 0] - 1 for batch in batches])
    np.testing.assert_array_equal(taken, chosen)


@pytest.mark.parametrize("shuffled", [False, True])
def test_weights_are_shares_of_each_batch(shuffled):
    X = np.arange(11.0).reshape(-1, 1)
    weight = np.random.RandomState(0).uniform(0, 2, 11)
    random_state = np.random.RandomState(1) if shuffled else None
    batches = Batches(X, X, weight, batch_size=4, random_state=random_state, device=CPU)
    for batch in batches:
        expected = weight[batch.X.numpy()[:, 0].astype(int)]
        assert batch.weight_sum == pytest.approx(expected.sum())
        np.testing.assert_allclose(batch.weight.numpy(), expected / expected.sum())


def test_batch_without_weight_is_left_out():
    X = np.arange(6.0).reshape(-1, 1)
    batches = Batches(X, X, np.array([1.0, 1, 0, 0, 1, 0]), batch_size=2, device=CPU)
    assert [batch.X[0].item() for batch in batches] == [0, 4]


@pytest.mark.parametrize("stratified", [False, True])
def test_split_is_scikit_learns(stratified):
    y = np.random.RandomState(0).randint(0, 2, (53, 1)).astype(bool)
    stratify = y if stratified else None
    train, valid = split_rows(53, 0.2, np.random.RandomState(7), stratify)
    expected = train_test_split(
        np.arange(53), test_size=0.2, random_state=np.random.RandomState(7), stratify=stratify
    )
    np.testing.assert_array_equal(train, expected[0])
    np.testing.assert_array_equal(valid, expected[1])


def test_split_with_a_single_validation_row_is_an_error():
    with pytest.raises(ValueError, match="The validation set is too small") as error:
        split_rows(5, 0.1, np.random.RandomState(0), None)
    assert "validation_fraction=0.1" in str(error.value)


@pytest.mark.parametrize("counts", [[9, 8, 2, 1], [5, 2, 2], [16, 2], [3, 2, 2, 2, 2, 2]])
@pytest.mark.parametrize("seed", range(5))
def test_rows_are_exchanged_until_each_class_is_on_both_sides(counts, seed):
    random = np.random.RandomState(seed)
    y = random.permutation(np.repeat(np.arange(len(counts)), counts))
    n_valid = max(2, len(y) // 3)
    for order in (random.permutation(len(y)), np.argsort(y), np.argsort(-y)):
        parts = order[n_valid:].copy(), order[:n_valid].copy()
        share_classes(*parts, y)
        assert [len(part) for part in parts] == [len(y) - n_valid, n_valid]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(y)))
        shared = {label for label, count in enumerate(counts) if count > 1}
        missing = [shared - set(y[part]) for part in parts]
        assert not missing[0]
        assert len(missing[1]) <= max(0, len(counts) - n_valid)
        again = [part.copy() for part in parts]
        share_classes(*again, y)
        for part, same in zip(parts, again, strict=True):
            np.testing.assert_array_equal(part, same)


def test_rows_without_weight_are_not_those_that_a_class_is_exchanged_by():
    y = np.repeat([0, 1, 2], [10, 6, 4])
    weight = np.ones(20)
    weight[[16, 17]] = 0  # of the last class
    for seed in range(20):
        order = np.random.RandomState(seed).permutation(20)
        parts = order[4:].copy(), order[:4].copy()
        share_classes(*parts, y, weight)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(20))
        for part in parts:
            assert set(y[part][weight[part] > 0]) == {0, 1, 2}
    weight[16:] = 0  # Nothing can be done for a class without weight.
    share_classes(*parts, y, weight)
    assert {0, 1} <= set(y[parts[1]])


def test_chunk_of_sparse_rows_is_bounded_by_its_values():
    X = scipy.sparse.random(4000, 1000, 0.05, format="csr", random_state=0)
    batches = Batches(
        X, np.zeros((4000, 1)), batch_size=10, random_state=np.random.RandomState(0), device=CPU
    )
    next(iter(batches))
    row_bytes = X.nnz / 4000 * 12
    assert batches.chunk_size * row_bytes <= 1.1 * _batches.CHUNK_BYTES
    assert batches.chunk_size * row_bytes >= 0.5 * _batches.CHUNK_BYTES
