"""Several processes train one network: the model of one process on all rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from conftest import TARGETS, assert_bit_equal
from processes import Team

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SIZES = {2: [(75, 75), (1, 149), (150, 0), (40, 110)], 4: [(30, 40, 50, 30), (0, 5, 144, 1)]}


@pytest.fixture(scope="module", params=[2, 4])
def team(request, tmp_path_factory):
    team = Team(request.param, tmp_path_factory.mktemp("team"))
    yield team
    team.close()


def data(kind, n_rows=150):
    """Rows in an order that gives the processes different classes, and weights."""
    X, y = TARGETS[kind]
    chosen = np.random.RandomState(1).permutation(len(X))[:n_rows]
    chosen = chosen[np.argsort(y[chosen].reshape(n_rows, -1)[:, 0], kind="stable")]
    weight = np.random.RandomState(2).randint(0, 4, n_rows).astype(float)
    return X[chosen], y[chosen], weight


def estimator(kind, parameters):
    is_number = kind in ("one output", "two outputs", "counts")
    return (FeedForwardRegressor if is_number else FeedForwardClassifier)(
        **{"hidden_layer_sizes": (7, 5), "max_iter": 4, "random_state": 3, "batch_size": 32}
        | parameters
    )


def shard(rank, sizes, *arrays):
    start = sum(sizes[:rank])
    rows = slice(start, start + sizes[rank])
    return [array if array is None else array[rows] for array in arrays]


def fit_shard(rank, kind, parameters, sizes, options=()):
    """Fit by all processes, in whatever way the options say."""
    X, y, weight = data(kind)
    weight = weight if "weights" in options else None
    if "sparse" in options:
        X = scipy.sparse.csr_matrix(np.where(X > np.median(X), X, 0))
    X_val, y_val, weight_val = X[100:], y[100:], None if weight is None else weight[100:]
    model = estimator(kind, parameters)
    if rank is not None:
        model.set_params(process_group="world")
        X, y, weight = shard(rank, sizes, X, y, weight)
        halves = [50 // len(sizes)] * (len(sizes) - 1)
        halves.append(50 - sum(halves))
        X_val, y_val, weight_val = shard(rank, halves, X_val, y_val, weight_val)
    if "partial_fit" in options:
        classes = {"classes": np.unique(data(kind)[1])} if hasattr(model, "class_weight") else {}
        for _ in range(3):
            model.partial_fit(X, y, weight, **classes)
    elif "X_val" in options:
        model.fit(X, y, weight, X_val=X_val, y_val=y_val, sample_weight_val=weight_val)
    else:
        model.fit(X, y, weight)
        if "warm_start" in options:
            model.set_params(warm_start=True).fit(X, y, weight)
    return model.set_params(process_group=None)


def assert_model_of_one_process(team, kind, parameters, sizes, *options):
    models = team.run(fit_shard, kind, parameters, sizes, options)
    expected = fit_shard(None, kind, parameters, sizes, options)
    for model in models[1:]:
        assert_bit_equal(model, models[0])
    model = models[0]
    for actual, wanted in zip(
        [*model.coefs_, *model.intercepts_], [*expected.coefs_, *expected.intercepts_], strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-9)
    names = {name for name in vars(expected) if name.endswith("_")}
    assert {name for name in vars(model) if name.endswith("_")} == names
    for name in names & {"loss_", "loss_curve_", "validation_scores_", "validation_loss_curve_"}:
        if getattr(expected, name) is None:
            assert getattr(model, name) is None
        else:
            np.testing.assert_allclose(getattr(model, name), getattr(expected, name), rtol=1e-6)
    for name in names & {"n_iter_", "t_", "n_outputs_", "out_activation_"}:
        assert getattr(model, name) == getattr(expected, name)
    if hasattr(expected, "classes_"):
        np.testing.assert_array_equal(model.classes_, expected.classes_)


KINDS = ["binary", "multiclass", "multilabel", "one output", "two outputs", "counts"]


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", KINDS)
def test_model_of_several_processes_is_that_of_one(team, kind, solver):
    loss = {"loss": "poisson"} if kind == "counts" else {}
    for sizes in SIZES[team.size]:
        assert_model_of_one_process(team, kind, {"solver": solver, "alpha": 0.1} | loss, sizes)


@pytest.mark.parametrize("option", ["weights", "sparse", "partial_fit", "X_val", "warm_start"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "two outputs"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ways_to_fit(team, kind, option, early_stopping, solver):
    if option == "partial_fit" and (early_stopping or solver == "lbfgs"):
        pytest.skip("partial_fit does not stop early")
    if option == "X_val" and solver == "lbfgs":
        pytest.skip("lbfgs has no validation data")
    parameters = {"early_stopping": early_stopping, "solver": solver, "max_iter": 8}
    for sizes in SIZES[team.size]:
        assert_model_of_one_process(team, kind, parameters, sizes, option, "weights")


@pytest.mark.parametrize(
    "parameters",
    [
        {"shuffle": False},
        {"batch_size": "auto"},
        {"batch_size": 1, "max_iter": 1},
        {"batch_size": 149},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
        {"learning_rate": "cosine", "warmup_fraction": 0.3},
        {"learning_rate": "one_cycle"},
        {"max_grad_norm": 0.1},
        {"class_weight": "balanced"},
        {"class_weight": {0: 1.0, 1: 2.5, 2: 0.5}},
        {"loss": "focal", "label_smoothing": 0.1},
        {"normalization": "layer"},
        {"activation": ["gelu", "tanh"]},
        {"early_stopping": True, "scoring": "loss", "max_iter": 50, "n_iter_no_change": 3},
        {"hidden_layer_sizes": ()},
    ],
    ids=str,
)
def test_parameters(team, parameters):
    for sizes in SIZES[team.size]:
        assert_model_of_one_process(team, "multiclass", parameters, sizes)
