"""Initial weights that are drawn for the data, and those of an embedding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from training_by_hand import initial

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._architecture import Periodic
from sknn._network._initial_weights import (
    N_ROWS_OF_DATA,
    initial_embedding,
    initial_parameters,
    parameters_from_data,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

UNITS = (4, 30, 20, 3)
X_IRIS, SPECIES = TARGETS["multiclass"]
DATA = {"initialization": "data", "random_state": 0, "max_iter": 2}


def seeded(seed=0):
    return np.random.RandomState(seed)


def from_data(X, units=UNITS, functions=(np.tanh, np.tanh), **options):
    return parameters_from_data(units, functions, X, seeded(), **options)


def rows(n_rows=200, n_columns=4, seed=1):
    return 3 + 50 * seeded(seed).standard_normal((n_rows, n_columns))


# --- an embedding -----------------------------------------------------------------------------


def test_parameters_of_an_embedding_have_the_shapes_and_spreads_of_their_formulas():
    columns = tuple(range(0, 80, 2))
    state = initial_embedding(Periodic(columns, 50, 4), 0.3, seeded())
    frequencies, phases = state["embedding.frequencies"], state["embedding.phases"]
    assert frequencies.shape == phases.shape == (40, 50)
    assert_allclose([frequencies.mean(), frequencies.std()], [0, 0.3], atol=0.02)
    assert_allclose([phases.min(), phases.max()], [-math.pi, math.pi], atol=0.05)
    assert_allclose(phases.std(), math.pi / math.sqrt(3), rtol=0.05)
    for name, shape in (("weight", (40, 3, 50)), ("bias", (40, 3))):
        values = state[f"embedding.{name}"]
        assert values.shape == shape
        assert np.abs(values).max() <= 50**-0.5
        assert_allclose(values.std(), 50**-0.5 / math.sqrt(3), rtol=0.1)
    assert_array_equal(state["embedding.columns"], columns)
    dtypes = {str(a.dtype) for name, a in state.items() if name != "embedding.columns"}
    assert dtypes == {"float64"}


def test_scale_of_an_embedding_multiplies_its_frequencies_only():
    one, two = (initial_embedding(Periodic((0, 3), 5, 3), s, seeded()) for s in (0.1, 0.2))
    for name in one:
        factor = 2 if name == "embedding.frequencies" else 1
        assert_allclose(two[name], factor * one[name])


# --- weights from the data --------------------------------------------------------------------


def test_every_units_product_with_the_rows_has_a_deviation_of_one():
    X = rows()
    coefs, intercepts = from_data(X)
    for coef, intercept in zip(coefs, intercepts, strict=True):
        z = X @ coef
        assert_allclose(z.std(axis=0), 1.0)
        # A weighted mean of rows lies between the extremes, so that the unit is zero among them.
        assert ((z + intercept).min(axis=0) < 0).all()
        assert ((z + intercept).max(axis=0) > 0).all()
        X = np.tanh(z + intercept)


def test_biases_of_a_layer_differ_and_have_the_spread_of_a_flat_mean_of_five():
    # With shares of a flat Dirichlet distribution, the sum of their squares is 1/3 in expectation.
    (coef, _), (intercept, _) = from_data(rows(2000), (4, 5000, 1), (np.tanh,))
    z_mean = coef.T @ rows(2000).mean(axis=0)
    assert len(np.unique(intercept)) == 5000
    assert_allclose((intercept + z_mean).std(), math.sqrt(1 / 3), rtol=0.05)


def test_output_layer_is_drawn_like_the_others():
    X = rows()
    (coef,), (intercept,) = from_data(X, (4, 3), ())
    assert_allclose((X @ coef).std(axis=0), 1.0)
    assert (np.abs(intercept) > 0).all()


def test_constant_columns_leave_the_other_columns_a_deviation_of_one():
    X = rows()
    X[:, 1] = 7.0
    (coef, *_), (intercept, *_) = from_data(X)
    assert_allclose((X @ coef).std(axis=0), 1.0)
    assert np.isfinite(intercept).all()


@pytest.mark.parametrize(
    "X", [np.full((10, 4), 3.1), np.zeros((10, 4)), rows(1), np.full((10, 4), 1e-200)], ids=str
)
def test_rows_that_are_all_alike_give_weights_of_the_usual_size(X):
    coefs, intercepts = from_data(X)
    for coef, intercept in zip(coefs, intercepts, strict=True):
        assert np.isfinite(coef).all() and np.isfinite(intercept).all()
        assert_allclose(coef.std(), len(coef) ** -0.5, rtol=0.3)
        assert_allclose(X @ coef + intercept, 0, atol=1e-12)  # the mean of rows is the row itself
        X = np.tanh(X @ coef + intercept)


def test_rows_of_any_unit_and_origin_give_the_same_function():
    X = rows()
    moved = 1e4 + X * np.array([1e-3, 1e-3, 1e-3, 1e-3])
    (coef, *_), (intercept, *_) = from_data(X)
    (other, *_), (its_intercept, *_) = from_data(moved)
    assert_allclose(moved @ other + its_intercept, X @ coef + intercept, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_drawn_in_float64_and_rounded_to_the_dtype(dtype):
    exact = from_data(rows())
    rounded = from_data(rows(), dtype=dtype)
    for arrays, others in zip(exact, rounded, strict=True):
        for array, other in zip(arrays, others, strict=True):
            assert other.dtype == dtype
            assert_array_equal(other, array.astype(dtype))


@pytest.mark.parametrize("name", ["selu", "mish"])
def test_parametric_activation_has_the_rule_of_the_activation(name):
    pairs = [
        initial_parameters(UNITS, [activation] * 2, seeded())
        for activation in (name, f"parametric_{name}")
    ]
    for arrays, others in zip(*pairs, strict=True):
        for array, other in zip(arrays, others, strict=True):
            assert_array_equal(array, other)


# --- initialization="data" of an estimator ----------------------------------------------------


def started(X, y=SPECIES, **parameters):
    """Return an estimator that still has its initial weights."""
    layers = {"hidden_layer_sizes": (30, 20)}
    return initial(FeedForwardClassifier(**layers | DATA | parameters), X, y)


@pytest.mark.matrix
@pytest.mark.parametrize("activation", ["relu", "parametric_selu", torch.nn.Softsign])
@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
def test_every_layer_gets_its_real_inputs(activation, normalization):
    model = started(X_IRIS, activation=activation, normalization=normalization)
    # Each linear layer of the module is given what stands before it, which follows from the rows.
    values, n_linear = torch.from_numpy(X_IRIS), 0
    for module in model.net_.module_:
        if isinstance(module, torch.nn.BatchNorm1d):  # one epoch has changed the statistics
            module.reset_running_stats()
        if isinstance(module, torch.nn.Linear):
            product = values @ module.weight.T
            assert_allclose(product.detach().std(dim=0, correction=0), 1.0, rtol=1e-6)
            n_linear += 1
        values = module(values)
    assert n_linear == 3 == len(model.coefs_)


def test_embedding_and_factors_stand_before_the_first_layer():
    model = started(X_IRIS, numeric_embedding="periodic", input_scaling=True)
    state = {k: torch.from_numpy(v) for k, v in model.module_state_.items()}
    x = torch.from_numpy(X_IRIS)[:, state["embedding.columns"]]
    angles = (
        2 * math.pi * x[:, :, None] * state["embedding.frequencies"] + state["embedding.phases"]
    )
    values = torch.einsum("nif,ivf->niv", torch.cos(angles), state["embedding.weight"])
    values = (values + state["embedding.bias"]).flatten(1)
    product = np.c_[values.numpy(), X_IRIS] @ model.coefs_[0]
    assert_allclose(product.std(axis=0), 1.0, rtol=1e-6)


def test_first_member_is_that_of_one_network_and_the_others_differ():
    one, three = (started(X_IRIS, n_members=n) for n in (1, 3))
    for mine, theirs in zip(one.coefs_, three.coefs_, strict=True):
        assert_allclose(theirs[0], mine)
        assert (theirs[1] != theirs[0]).all() and (theirs[2] != theirs[1]).all()
    for member in range(3):
        assert_allclose((X_IRIS @ three.coefs_[0][member]).std(axis=0), 1.0)


@pytest.mark.parametrize("n_members", [1, 3])
def test_equal_seeds_give_equal_models_and_others_do_not(n_members):
    make = FeedForwardClassifier((6, 5), n_members=n_members, **DATA)
    first, second = (clone(make).fit(X_IRIS, SPECIES) for _ in range(2))
    assert_bit_equal(first, second)
    other = clone(make).set_params(random_state=1).fit(X_IRIS, SPECIES)
    assert (other.coefs_[0] != first.coefs_[0]).any()


def as_memory_map(X, directory):
    np.save(directory / "rows.npy", X)
    return np.load(directory / "rows.npy", mmap_mode="r")


CONTAINERS = {
    "csr": lambda X, directory: scipy.sparse.csr_matrix(X),
    "memory map": as_memory_map,
    "tensor": lambda X, directory: torch.from_numpy(X),
    "Fortran": lambda X, directory: np.asfortranarray(X),
}


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_rows_in_any_container_give_the_same_weights(container, tmp_path):
    X = np.rint(X_IRIS)
    model = started(CONTAINERS[container](X, tmp_path))
    for mine, theirs in zip(model.coefs_, started(X).coefs_, strict=True):
        assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, torch.bfloat16], ids=str)
def test_rows_of_any_dtype_give_the_same_weights(dtype, tmp_path):
    X = np.rint(X_IRIS)  # All these dtypes hold the numbers.
    rows = torch.from_numpy(X).to(dtype) if isinstance(dtype, torch.dtype) else X.astype(dtype)
    model, expected = started(rows), started(X)
    tolerance = 1e-12 if model.coefs_[0].dtype == np.float64 else 1e-6
    for mine, theirs in zip(model.coefs_, expected.coefs_, strict=True):
        assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def test_float16_rows_in_a_file_give_the_weights_of_those_in_memory(tmp_path):
    X = np.rint(X_IRIS).astype(np.float16)
    mine, theirs = (started(rows) for rows in (as_memory_map(X, tmp_path), X))
    assert_array_equal(mine.coefs_[0], theirs.coefs_[0])


def test_rows_beyond_the_limit_are_sampled_evenly():
    # The rows grow, so those that are looked at must be spread over the whole range.
    n_rows = 3 * N_ROWS_OF_DATA
    X = np.linspace(0, 1, n_rows)[:, None] * np.ones((1, 3))
    model = started(X, np.arange(n_rows) % 2, hidden_layer_sizes=(5,))
    assert_allclose((X @ model.coefs_[0]).std(axis=0), 1.0, rtol=1e-3)


def test_one_row_is_enough():
    model = FeedForwardRegressor(hidden_layer_sizes=(5,), **DATA).fit([[1.0, 2.0]], [3.0])
    assert np.isfinite(model.predict([[1.0, 2.0]])).all()


def test_warm_start_and_partial_fit_do_not_draw_again():
    still = {"learning_rate_init": 1e-300, "solver": "sgd", "max_iter": 1}
    model = FeedForwardClassifier((6,), **DATA | still).fit(X_IRIS, SPECIES)
    before = [coef.copy() for coef in model.coefs_]
    model.set_params(warm_start=True, random_state=7).fit(X_IRIS, SPECIES)
    model.partial_fit(X_IRIS, SPECIES)
    for coef, old in zip(model.coefs_, before, strict=True):
        assert_array_equal(coef, old)


def test_lbfgs_starts_from_weights_of_the_data():
    one, other = (
        FeedForwardClassifier((6,), solver="lbfgs", **DATA | {"initialization": how})
        .fit(X_IRIS, SPECIES)
        .coefs_[0]
        for how in ("data", None)
    )
    assert (one != other).any()
