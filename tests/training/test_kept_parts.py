"""Memory that one training leaves to the next one of its thread changes no result."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import scipy.sparse
from conftest import assert_bit_equal
from sklearn.base import clone
from sklearn.datasets import load_iris

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._training import _kept_parts, _train

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
ROWS = np.random.RandomState(0).permutation(len(X))
X, Y = X[ROWS], Y[ROWS]


def classifier(**parameters):
    parameters = {"hidden_layer_sizes": (12,), "random_state": 3, "max_iter": 5, **parameters}
    return FeedForwardClassifier(**parameters)


def begun(n_rows=10, **parameters):
    return on(classifier(**parameters), n_rows)


def on(model, n_rows=10, **more):
    return model.partial_fit(X[:n_rows], Y[:n_rows], classes=[0, 1, 2], **more)


def other_numbers_of_rows():
    model = begun()
    for n_rows in (10, 1, 10, 150, 10, 150):
        on(model, n_rows)
    return [model]


def weights_edited_in_place():
    model = on(begun())
    model.coefs_[0] *= 0.5
    model.intercepts_[1][:] = 0.25
    return [on(on(model))]


def weights_replaced():
    model = on(begun())
    model.coefs_ = [np.ascontiguousarray(2 * coef) for coef in model.coefs_]
    model.intercepts_ = [0 * intercept for intercept in model.intercepts_]
    return [on(on(model))]


def copies_that_go_on_apart():
    model = on(begun())
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), clone(model)]
    on(model, 150)
    for i, each in enumerate(copies):
        for _ in range(i + 1):
            on(each)
    return [on(model), *copies]


def parameters_changed():
    model = on(begun())
    for change in (
        {"alpha": 0.5},
        {"learning_rate_init": 0.1},
        {"batch_size": 3},
        {"solver": "sgd"},
        {"momentum": 0.5},
        {"learning_rate": "invscaling"},
        {"solver": "adamw", "learning_rate": "cosine"},
        {"max_grad_norm": 0.1},
        {"label_smoothing": 0.1},
        {"loss": "focal"},
        {"activation": "tanh"},
        {"shuffle": False},
    ):
        on(on(model.set_params(**change)))
    return [model]


def another_dtype():
    models = [begun(dtype=dtype) for dtype in ("float32", "float64", "float32", "auto")]
    return [on(model) for model in models]


def weights_of_rows_and_none():
    model = begun()
    for weight in (np.arange(1.0, 11), None, np.eye(10)[0] + np.eye(10)[4], None):
        on(model, sample_weight=weight)
    return [model]


def sparse_and_dense():
    model = begun()
    few = scipy.sparse.csr_matrix(X[:10] * (X[:10] > 6))
    for rows in (few, X[:10], scipy.sparse.csr_matrix(X[:10]), few, X[:10]):
        model.partial_fit(rows, Y[:10])
    return [model]


def dropout():
    return [on(on(begun(dropout=0.4))), on(begun()), on(begun(input_dropout=0.2))]


def normalization():
    return [on(on(begun(normalization="batch"))), on(begun()), on(begun(normalization="layer"))]


def estimators_in_turn():
    models = [begun(), begun(random_state=7), begun(hidden_layer_sizes=(5, 5))]
    for _ in range(3):
        for model in models:
            on(model)
    return models


def fits_of_every_kind():
    parameters = [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {}, {"solver": "lbfgs"}]
    models = [classifier(**each).fit(X, Y) for each in parameters]
    warm = on(begun(warm_start=True)).fit(X, Y).fit(X[:10], np.arange(10) % 3)
    return [*models, on(warm), on(models[0]), classifier(early_stopping=True).fit(X, Y)]


def failing_training():
    model = on(begun(solver="sgd"))
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match="non-finite"):
        model.partial_fit(X[:10] * 1e300, Y[:10])
    assert_bit_equal(model, before)
    return [on(model), on(begun(solver="sgd"))]


def training_inside_of_a_training():
    def score(estimator, X, y):
        return begun(100, random_state=int(1e3 * abs(estimator.coefs_[0][0, 0]))).score(X, y)

    model = classifier(early_stopping=True, scoring=score, validation_fraction=1 / 3)
    return [model.fit(X, Y), model.fit(X, Y)]


def regressor():
    model = FeedForwardRegressor(hidden_layer_sizes=(4, 4), random_state=0)
    for n_rows in (10, 10, 20, 10):
        model.partial_fit(X[:n_rows, :3], X[:n_rows, 3])
    return [model]


SCENARIOS = [
    *(other_numbers_of_rows, weights_edited_in_place, weights_replaced, copies_that_go_on_apart),
    *(parameters_changed, another_dtype, weights_of_rows_and_none, sparse_and_dense, dropout),
    *(normalization, estimators_in_turn, fits_of_every_kind, failing_training, regressor),
    training_inside_of_a_training,
]


@pytest.fixture(autouse=True)
def nothing_kept():
    vars(_kept_parts._in_this_thread).clear()


@pytest.fixture
def made(monkeypatch):
    """Return a list that gets an item for each training which makes its parts anew."""
    calls, make = [], _train._parts
    monkeypatch.setattr(_train, "_parts", lambda *args: calls.append(1) or make(*args))
    return calls


@pytest.mark.matrix(8)
@pytest.mark.filterwarnings("ignore:partial_fit was called more than:UserWarning")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_kept_memory_changes_no_model(scenario, monkeypatch):
    with_memory = scenario()
    with monkeypatch.context() as patch:
        patch.setattr(_train, "take", lambda key: None)
        without = scenario()
    for one, two in zip(with_memory, without, strict=True):
        assert_bit_equal(one, two)


def test_trainings_with_an_equal_key_make_their_parts_once(made):
    model = begun()
    for _ in range(3):
        on(model)
    assert len(made) == 1
    begun(random_state=8)
    assert len(made) == 1
    on(model, 20)
    assert len(made) == 2


@pytest.mark.parametrize("parameters", [{"loss": "focal"}, {"label_smoothing": 0.1}], ids=str)
def test_losses_with_equal_parameters_use_the_same_memory(parameters, made):
    on(on(begun(**parameters)))
    assert len(made) == 1


def test_regression_losses_with_other_parameters_make_new_parts(made):
    for loss, options in (("huber", "huber_delta"), ("quantile", "quantile")):
        made.clear()
        model = FeedForwardRegressor(loss, (12,), random_state=0, **{options: 0.25})
        model.partial_fit(X, X[:, 0]).partial_fit(X, X[:, 0])
        assert len(made) == 1
        model.set_params(**{options: 0.75}).partial_fit(X, X[:, 0])
        assert len(made) == 2


@pytest.mark.parametrize(
    "parameters",
    [
        {"dropout": 0.2},
        {"normalization": "layer"},
        {"hidden_layer_sizes": (1000,)},
        {"hidden_layer_sizes": (60,), "n_members": 40},
    ],
    ids=str,
)
def test_memory_of_large_and_of_other_networks_is_not_kept(parameters, made):
    on(on(begun(**parameters)))
    assert len(made) == 3
    assert not vars(_kept_parts._in_this_thread)


def test_arrays_of_a_model_are_its_own():
    model = on(begun())
    kept = copy.deepcopy(model)
    begun(random_state=9)
    on(begun(random_state=9), 150)
    assert_bit_equal(model, kept)
    (_, parts) = _kept_parts._in_this_thread.kept
    vector = parts.step.parameters.storage.numpy()
    arrays = [*model.coefs_, *model.intercepts_]
    for slot in model._solver_state["slots"]:
        arrays += [array for part in slot for array in part]
    assert not any(np.shares_memory(vector, array) for array in arrays)


def test_many_estimators_keep_the_memory_of_one():
    models = [begun(hidden_layer_sizes=(n,)) for n in range(1, 20)]
    key, parts = _kept_parts._in_this_thread.kept
    assert len(vars(_kept_parts._in_this_thread)) == 1
    assert parts.step.parameters.layer_units == (4, 19, 3)
    assert all("kept" not in name for model in models for name in vars(model))


def test_threads_share_no_memory():
    models = [begun(random_state=i) for i in range(4)]
    expected = copy.deepcopy(models)
    for model in expected:
        for _ in range(20):
            on(model)
    barrier = threading.Barrier(len(models))

    def train(model):
        barrier.wait()
        for _ in range(20):
            on(model)

    threads = [threading.Thread(target=train, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, two in zip(models, expected, strict=True):
        assert_bit_equal(one, two)


def test_state_of_modules_that_are_gone_is_refused_although_memory_is_kept():
    model = begun(normalization="layer")
    begun()
    with pytest.raises(ValueError, match="module_state_"):
        on(model.set_params(normalization=None))
