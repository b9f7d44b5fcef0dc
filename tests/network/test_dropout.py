"""Dropout drops the right share of values, changes nothing else, and draws reproducibly."""

from __future__ import annotations

import warnings
from copy import deepcopy

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal
from scipy.stats import chisquare

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network import _dropout
from sknn._network._dropout import Dropout, Masks, derived_seed

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CPU = torch.device("cpu")
RATES = (0.001, 0.1, 1 / 3, 0.5, 0.9, 0.999)


def make_masks(seed=0):
    return Masks(np.random.SeedSequence(seed), CPU)


def draw(shape, rate, dtype=torch.float64, seed=0):
    return make_masks(seed).fill_(torch.empty(shape, dtype=dtype), rate)


@pytest.mark.parametrize("rate", RATES)
def test_share_dropped_is_the_rate_within_binomial_error(rate):
    n = 400_000
    n_dropped = (draw((1000, 400), rate) == 0).sum().item()
    assert abs(n_dropped - n * rate) < 4 * np.sqrt(n * rate * (1 - rate))


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", RATES)
def test_values_kept_are_divided_by_exactly_one_minus_the_rounded_rate(rate, dtype):
    rounded = round(rate * 2**16) / 2**16
    factors = draw((300, 400), rate, dtype)
    expected = torch.tensor([0.0, 1 / (1 - rounded)], dtype=torch.float64).to(dtype)
    assert factors.dtype == dtype
    assert torch.equal(factors.unique(), expected)


@pytest.mark.parametrize("rate", RATES)
def test_bfloat16_factors_are_those_of_float64_to_its_rounding(rate):
    single, exact = draw((300, 400), rate, torch.bfloat16), draw((300, 400), rate)
    assert torch.equal(single, exact.to(torch.bfloat16))


def test_rate_that_rounds_to_one_still_keeps_a_value():
    factors = draw((1000, 1000), 1 - 2**-20)
    assert factors.unique().tolist() == [0.0, 2.0**16]


def test_rate_that_rounds_to_zero_drops_nothing():
    assert (draw((1000, 1000), 2**-20) == 1).all()


def test_mean_factor_is_one_in_every_row_column_and_place():
    # One draw gives four factors, and all four places must have the same probability.
    factors = draw((400, 1000), 0.5)
    for axis in (0, 1):
        n = factors.shape[axis]
        assert (factors.mean(axis) - 1).abs().max() < 5 / np.sqrt(n)
    for place in range(4):
        assert abs(factors.flatten()[place::4].mean() - 1) < 4 / np.sqrt(100_000)


def test_neighbours_are_dropped_independently():
    dropped = (draw((500, 800), 0.3) == 0).flatten().long()
    # Count how often each of the eight possible triples occurs, without overlaps.
    triples = dropped[: len(dropped) // 3 * 3].view(-1, 3) @ torch.tensor([4, 2, 1])
    counts = torch.bincount(triples, minlength=8).numpy()
    shares = [0.3 ** bin(i).count("1") * 0.7 ** (3 - bin(i).count("1")) for i in range(8)]
    assert chisquare(counts, counts.sum() * np.array(shares)).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(1,), (2, 3), (5, 7), (0,), (4, 0)])
def test_any_number_of_factors_can_be_drawn(shape):
    factors = torch.full(shape, torch.nan)
    assert make_masks().fill_(factors, 0.5) is factors
    assert torch.isin(factors, torch.tensor([0.0, 2.0])).all()


def test_equal_seeds_draw_equal_factors_and_each_draw_differs():
    masks, again = make_masks(), make_masks()
    draws = [m.fill_(torch.empty(20, 20), 0.5).clone() for m in (masks, masks, again, again)]
    assert torch.equal(draws[0], draws[2]) and torch.equal(draws[1], draws[3])
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draw((20, 20), 0.5, torch.float32, seed=1))


# The derived seed.


def test_derived_seed_leaves_the_random_state_as_it_is():
    random_state = np.random.RandomState(0)
    before = random_state.get_state(legacy=False)
    derived_seed(random_state, 0)
    np.testing.assert_equal(random_state.get_state(legacy=False), before)


def test_derived_seed_is_decided_by_random_state_and_rows_seen():
    def words(seed, n_samples_seen):
        state = derived_seed(np.random.RandomState(seed), n_samples_seen).generate_state(4)
        return tuple(state.tolist())

    assert words(0, 100) == words(0, 100)
    assert len({words(0, 0), words(0, 100), words(0, 101), words(1, 0), words(1, 100)}) == 5


# The dropout module.


@pytest.mark.parametrize("row_major", [False, True])
def test_module_multiplies_by_its_factors_in_their_order(row_major):
    module = Dropout(make_masks(), 0.4, row_major)
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factors = draw((6, 5), 0.4) if row_major else draw((5, 6), 0.4).t()
    torch.testing.assert_close(module(x), x * factors, rtol=0, atol=0)
    assert not torch.equal(module(x), x * factors)  # The second call draws new factors.


def test_modules_gradient_is_that_of_the_values_kept():
    x = torch.ones(6, 5, dtype=torch.float64, requires_grad=True)
    output = Dropout(make_masks(), 0.4)(x)
    output.sum().backward()
    assert torch.equal(x.grad, output.detach())


def test_module_does_nothing_and_draws_nothing_in_evaluation():
    masks = make_masks()
    module = Dropout(masks, 0.4).eval()
    x = torch.ones(6, 5)
    assert module(x) is x
    assert torch.equal(masks.fill_(torch.empty(9, 9), 0.5), draw((9, 9), 0.5, torch.float32))


# Dropout in the estimators.

DROPPING = {"dropout": [0.5, 0.2], "input_dropout": 0.1}
SMALL = {"hidden_layer_sizes": (8, 6), "max_iter": 4, "batch_size": 30}


def make_model(**parameters):
    return FeedForwardClassifier(**{**SMALL, "random_state": 0, **parameters})


@pytest.mark.parametrize("parameters", [{"dropout": 0.5}, {"input_dropout": 0.5}, DROPPING])
def test_dropout_changes_the_model_and_equal_seeds_give_equal_ones(parameters):
    X, y = TARGETS["multiclass"]
    models = [make_model(**parameters).fit(X, y) for _ in range(2)]
    assert_bit_equal(*models)
    plain = make_model().fit(X, y)
    assert models[0].loss_curve_ != plain.loss_curve_
    other = make_model(**parameters, random_state=1).fit(X, y)
    assert other.loss_curve_ != models[0].loss_curve_


@pytest.mark.parametrize("parameters", [{"dropout": [0, 0]}, {"dropout": 0, "input_dropout": 0}])
def test_dropout_of_zero_is_the_model_without(parameters):
    X, y = TARGETS["multiclass"]
    assert_bit_equal(make_model(**parameters).fit(X, y), make_model().fit(X, y))


def test_dropout_is_off_in_prediction():
    X, y = TARGETS["multiclass"]
    model = make_model(**DROPPING).fit(X, y)
    plain = make_model(max_iter=1).fit(X, y)
    plain.coefs_, plain.intercepts_ = model.coefs_, model.intercepts_
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_dropout_does_not_change_initial_weights_split_and_order_of_rows(early_stopping):
    X, y = TARGETS["one output"]
    fits, states, curves = [], [], []
    for parameters in ({}, DROPPING):
        random_state = np.random.RandomState(0)
        model = FeedForwardRegressor(
            **{**SMALL, "max_iter": 2, "batch_size": 40},
            solver="sgd",
            momentum=0.0,
            learning_rate_init=1e-300,  # The weights keep their initial values.
            early_stopping=early_stopping,
            random_state=random_state,
            **parameters,
        ).fit(X, y)
        fits.append(model)
        states.append(random_state.get_state(legacy=False))
        curves.append(model.validation_scores_)
    for left, right in zip(fits[0].coefs_, fits[1].coefs_, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_equal(*states)
    assert curves[0] == curves[1]
    assert fits[0].loss_curve_ != fits[1].loss_curve_


def test_dropout_leaves_the_global_generators_alone():
    X, y = TARGETS["multiclass"]
    ours, torchs = np.random.get_state(legacy=False), torch.get_rng_state()
    make_model(**DROPPING).fit(X, y)
    np.testing.assert_equal(np.random.get_state(legacy=False), ours)
    assert torch.equal(torch.get_rng_state(), torchs)


def test_dropout_without_a_random_state_differs_from_fit_to_fit():
    X, y = TARGETS["multiclass"]
    ours = np.random.get_state(legacy=False)
    try:
        np.random.seed(0)
        curves = [make_model(**DROPPING, random_state=None).fit(X, y).loss_curve_ for _ in "ab"]
    finally:
        np.random.set_state(ours)
    assert curves[0] != curves[1]


def test_each_partial_fit_drops_something_else():
    X, y = TARGETS["multiclass"]
    losses = []
    # The weights do not change, so the loss of an epoch depends only on what was dropped.
    model = make_model(
        **DROPPING, solver="sgd", momentum=0.0, learning_rate_init=1e-300, shuffle=False
    )
    for _ in range(3):
        model.partial_fit(X, y, classes=np.unique(y))
        losses.append(model.loss_)
    assert len(set(losses)) == 3
    again = make_model(
        **DROPPING, solver="sgd", momentum=0.0, learning_rate_init=1e-300, shuffle=False
    )
    for loss in losses:
        assert again.partial_fit(X, y, classes=np.unique(y)).loss_ == loss


def test_single_rate_applies_to_every_hidden_layer():
    X, y = TARGETS["multiclass"]
    assert_bit_equal(make_model(dropout=0.3).fit(X, y), make_model(dropout=[0.3, 0.3]).fit(X, y))


def test_training_loss_is_that_of_the_rows_as_they_are_dropped():
    # Without a hidden layer, the loss of one batch in its order can be computed by hand.
    X, y = TARGETS["one output"]
    random_state = np.random.RandomState(0)
    model = FeedForwardRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        batch_size=len(X),
        alpha=0.0,
        input_dropout=0.3,
        max_iter=1,
        shuffle=False,
        learning_rate_init=1e-300,
        random_state=random_state,
    )
    model.fit(X, y)
    # The generator has drawn only the initial weights, so its state is that when training began.
    masks = Masks(derived_seed(deepcopy(random_state), 0), CPU)
    dropped = X * masks.fill_(torch.empty(X.shape, dtype=torch.float64), 0.3).numpy()
    prediction = (dropped @ model.coefs_[0] + model.intercepts_[0]).ravel()
    assert model.loss_ == pytest.approx(0.5 * ((y - prediction) ** 2).mean(), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_sparse_rows_are_dropped_from_a_copy(density, dtype):
    rng = np.random.RandomState(0)
    X = scipy.sparse.random(120, 30, density, format="csr", random_state=rng)
    X = X.astype(np.float32 if dtype != "float64" else np.float64)
    y = rng.randint(0, 2, 120)
    before = X.copy()
    model = make_model(**DROPPING, dtype=dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "dtype='bfloat16' is slower")
        model.fit(X, y)
    assert (X != before).nnz == 0
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("batch_size", [30, 120])
def test_read_only_rows_are_dropped_without_a_warning(batch_size, is_sparse):
    rng = np.random.RandomState(0)
    X = scipy.sparse.random(120, 30, 0.05, format="csr", random_state=rng)
    y = rng.randint(0, 2, 120)
    arrays = (X.data, X.indices, X.indptr)
    if not is_sparse:
        X = X.toarray()
        arrays = (X,)
    for array in arrays:
        array.flags.writeable = False
    model = make_model(**DROPPING, batch_size=batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        model.fit(X, y)
    assert np.isfinite(model.loss_)


def test_rows_without_any_value_can_be_dropped():
    X = scipy.sparse.csr_matrix((60, 10))
    y = np.arange(60) % 2
    model = make_model(**DROPPING).fit(X, y)
    assert np.isfinite(model.loss_)


def test_masks_of_a_device_continue_from_their_state(monkeypatch):
    assert _dropout.generator_on(torch.device("cpu")).device.type == "cpu"
    generator = torch.Generator()
    monkeypatch.setattr(_dropout, "generator_on", lambda device: generator)
    masks = _dropout.Masks(np.random.SeedSequence(0), torch.device("meta"))
    state = masks.state()
    drawn = torch.rand(5, generator=generator)
    assert not torch.equal(torch.rand(5, generator=generator), drawn)
    masks.restore(state)
    assert torch.equal(torch.rand(5, generator=generator), drawn)
