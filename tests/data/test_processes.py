"""Several processes that train one network get the model of one process on all rows."""

from __future__ import annotations

import copy
import pickle
from contextlib import redirect_stdout
from functools import partial
from io import StringIO

import numpy as np
import pytest
import scipy.sparse
import skorch
import torch
import torch.distributed as dist
from conftest import TARGETS, assert_bit_equal, case
from hypothesis import HealthCheck, assume, given, settings, strategies
from processes import Team
from sklearn.base import clone

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1"),
]

SIZES = {2: [(1, 149), (150, 0)], 4: [(30, 40, 50, 30), (0, 5, 144, 1)]}
UNEVEN = {2: [(40, 110)], 4: [(0, 5, 144, 1)]}


# The tests with four processes are long, because they share the cores of a small machine.
@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.long)])
def team(request, tmp_path_factory):
    team = Team(request.param, tmp_path_factory.mktemp("team"))
    yield team
    team.close()


def data(kind, n_rows=150):
    """Return rows, targets and weights in an order that gives the processes different classes."""
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
    """Fit to the rows of process `rank`, or to all rows if it is None, as the options say."""
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


def assert_model_of_one_process(team, kind, parameters, *options, sizes=None):
    expected = fit_shard(None, kind, parameters, None, options)
    for each in sizes or SIZES[team.size]:
        assert_same_model(team.run(fit_shard, kind, parameters, each, options), expected)


def assert_same_model(models, expected):
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


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", KINDS)
def test_model_of_several_processes_is_that_of_one(team, kind, solver):
    if team.size == 4 and solver != "adam" and kind != "multiclass":
        pytest.skip("two processes have done it")
    loss = {"loss": "poisson"} if kind == "counts" else {}
    assert_model_of_one_process(team, kind, {"solver": solver, "alpha": 0.1} | loss)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["binary", "multiclass", "two outputs"])
@pytest.mark.parametrize(
    ("option", "early_stopping", "solver"),
    [
        ("weights", True, "adam"),
        ("weights", False, "lbfgs"),
        ("sparse", False, "adam"),
        ("sparse", False, "lbfgs"),
        ("partial_fit", False, "adam"),
        ("X_val", False, "adam"),
        ("X_val", True, "adam"),
        ("warm_start", True, "adam"),
        ("warm_start", False, "lbfgs"),
    ],
)
def test_ways_to_fit(team, kind, option, early_stopping, solver):
    if team.size == 4 and kind != "binary":
        pytest.skip("two processes have done it")
    parameters = {"early_stopping": early_stopping, "solver": solver, "alpha": 0.1}
    if kind == "multiclass" and solver == "adam":  # L-BFGS trains one network.
        parameters["n_members"] = 3
    options = [option, "weights"]
    if kind == "two outputs":
        parameters["target_scaling"] = "clipped"
        options = [option]
    assert_model_of_one_process(team, kind, parameters, *options, sizes=UNEVEN[team.size])


@pytest.mark.matrix(7)
@pytest.mark.parametrize(
    "parameters",
    [
        {"shuffle": False, "batch_size": "auto", "class_weight": {0: 1.0, 1: 2.5, 2: 0.5}},
        {"batch_size": 1, "max_iter": 1},
        {"batch_size": 149, "class_weight": "balanced", "activation": ["gelu", "tanh"]},
        {
            **{"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
            "max_grad_norm": 0.1,
        },
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
        {"learning_rate": "cosine", "warmup_fraction": 0.3, "loss": "focal"},
        {"learning_rate": "one_cycle", "label_smoothing": 0.1, "normalization": "layer"},
        {"numeric_embedding": "periodic", "input_scaling": True, "activation": "parametric_selu"},
        {"initialization": "data", "numeric_embedding": "periodic", "n_members": 2},
        {"learning_rate": "coslog", "early_stopping": "waves", "n_iter_no_change": np.inf},
        {"n_members": 3, "alpha": 0.1, "early_stopping": True},
        {"n_members": 2, "normalization": "layer", "max_grad_norm": 0.1, "solver": "sgd"},
        {
            "early_stopping": True,
            "scoring": "loss",
            "max_iter": 15,
            "tol": 0.05,
            "n_iter_no_change": 2,
            "hidden_layer_sizes": (),
        },
    ],
    ids=case,
)
def test_parameters(team, parameters):
    assert_model_of_one_process(team, "multiclass", parameters, sizes=UNEVEN[team.size])


@pytest.mark.parametrize("n_members", [1, 3])
def test_levels_of_two_targets(team, n_members):
    parameters = {"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "early_stopping": True}
    parameters["n_members"] = n_members
    assert_model_of_one_process(team, "two outputs", parameters, sizes=UNEVEN[team.size])


def fit_waves(rank, sizes):
    """Fit with waves whose last one learns from all rows."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((200, 4))
    y = X[:, 0] * X[:, 1] + X[:, 2]
    model = FeedForwardRegressor(
        hidden_layer_sizes=(32,),
        learning_rate="coslog",
        learning_rate_init=0.03,
        batch_size=20,
        max_iter=30,
        n_iter_no_change=np.inf,
        early_stopping="waves",
        validation_fraction=0.2,
        random_state=0,
    )
    if rank is not None:
        model.set_params(process_group="world")
        X, y = shard(rank, sizes, X, y)
    return model.fit(X, y).set_params(process_group=None)


def test_last_wave_learns_from_all_rows_of_all_processes(team):
    sizes = (40, 160) if team.size == 2 else (0, 30, 70, 100)
    expected = fit_waves(None, None)
    assert expected.t_ == 14 * 160 + 16 * 200
    assert_same_model(team.run(fit_waves, sizes), expected)


def embedded_columns(rank, parts):
    model = FeedForwardRegressor(
        hidden_layer_sizes=3, max_iter=1, numeric_embedding="periodic", process_group="world"
    )
    return model.fit(*parts[rank]).module_state_["embedding.columns"]


def test_values_of_all_processes_decide_which_columns_are_embedded(team):
    # Two values, three in all processes together, three in the last process, one in each process.
    X = np.tile([[0.0, 0.0, 0.0, 0.0]], (6, 1))
    X[::2] = 1.0
    others = X.copy()
    others[:, 1] += 1
    others[0, 2] = 5.0
    X[:, 3], others[:, 3] = 3.0, 4.0
    y = np.arange(6.0)
    parts = [(X, y)] * (team.size - 1) + [(others, y)]
    for columns in team.run(embedded_columns, parts):
        assert columns.tolist() == [1, 2]


# ----------------------------------------------------------------------------
# Other kinds of rows and labels
# ----------------------------------------------------------------------------


def fitted_by_all(rank, size, parameters, arrays, regressor=False, fit="fit"):
    """Fit to the arrays of process `rank`, or to the first arrays in one process if it is None."""
    kind = FeedForwardRegressor if regressor else FeedForwardClassifier
    defaults = {"hidden_layer_sizes": 6, "max_iter": 3, "random_state": 1, "batch_size": 16}
    model = kind(**defaults | parameters, process_group=None if rank is None else "world")
    return getattr(model, fit)(*arrays[rank or 0]).set_params(process_group=None)


def assert_equal_models(team, parameters, arrays, joined, rtol=1e-6, **options):
    models = team.run(partial(fitted_by_all, **options), team.size, parameters, arrays)
    for model in models[1:]:
        assert_bit_equal(model, models[0])
    expected = fitted_by_all(None, 1, parameters, [joined], **options)
    for actual, wanted in zip(models[0].coefs_, expected.coefs_, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=rtol * 1e-3)
    if hasattr(expected, "classes_"):
        np.testing.assert_array_equal(models[0].classes_, expected.classes_)
        assert models[0].classes_.dtype == expected.classes_.dtype
    return models[0]


def in_parts(team, *arrays):
    """Return for each process a list of its parts of the arrays."""
    rows = np.array_split(np.arange(arrays[0].shape[0]), team.size)
    return [[array[part] for array in arrays] for part in rows]


def random_rows(n_rows=60, n_features=5, seed=0):
    return np.random.RandomState(seed).normal(size=(n_rows, n_features))


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "a much longer name", "of these"],  # One process has only short labels.
        [False, True],
        [3, 1 << 40, 7],
        np.array(["x", "yy", "zzz"], object),
    ],
    ids=case,
)
def test_labels_that_one_process_alone_has(team, labels):
    y = np.asarray(labels)[np.sort(np.arange(60) % len(labels))]
    parts = in_parts(team, random_rows(), y)
    if y.dtype.kind == "U":
        parts = [[X, y.astype(f"U{max(map(len, y))}")] for X, y in parts]
    assert_equal_models(team, {}, parts, [random_rows(), y])


def test_indicator_of_labels_that_one_process_alone_has(team):
    y = (np.arange(60)[:, None] // 20 == np.arange(3)).astype(int)
    parts = in_parts(team, random_rows(), y)
    assert_equal_models(team, {}, parts, [random_rows(), y])
    sparse = [[X, scipy.sparse.csr_matrix(y)] for X, y in parts]
    assert_equal_models(team, {}, sparse, [random_rows(), y])


@pytest.mark.parametrize("label", ["class_weight", "multilabel"])
def test_partial_fit_of_a_process_without_rows(team, label):
    y = (np.arange(60)[:, None] // 20 == np.arange(3)).astype(int)
    y = y if label == "multilabel" else y.argmax(axis=1)
    nothing = [np.empty((0, 5)), y[:0], None, [0, 1, 2]]
    everything = [random_rows(), y, None, [0, 1, 2]]
    weights = {} if label == "multilabel" else {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}
    arrays = [nothing] * (team.size - 1) + [everything]
    assert_equal_models(team, weights, arrays, everything, fit="partial_fit")


def test_sparse_rows_of_which_some_are_multiplied_as_they_are(team):
    """The layout of the weights depends on how rows are multiplied; all processes must agree."""
    X = scipy.sparse.random(400, 2000, 0.001, "csr", random_state=0)
    dense_part = scipy.sparse.random(100, 2000, 0.5, "csr", random_state=1)
    X = scipy.sparse.vstack([X, dense_part]).tocsr()
    y = np.arange(500) % 3
    rows = [[0, 400], [400, 500], *[[500, 500]] * 2][: team.size]
    arrays = [[X[a:b], y[a:b]] for a, b in rows]
    parameters = {"batch_size": 50, "max_iter": 2}
    assert_equal_models(team, parameters, arrays, [X, y])
    arrays[1][0] = arrays[1][0].toarray()
    assert_equal_models(team, parameters, arrays, [X, y])


def test_memory_maps_of_other_dtypes(team, tmp_path):
    X, y = (random_rows() * 100).astype(np.int16), np.arange(60) % 2
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert_equal_models(team, {}, in_parts(team, mapped, y), [X.astype(float), y])


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-4), ("bfloat16", 0.3)])
def test_precision(team, dtype, rtol):
    y = np.arange(60) % 3
    parameters = {"dtype": dtype, "max_iter": 2}
    assert_equal_models(
        team, parameters, in_parts(team, random_rows(), y), [random_rows(), y], rtol=rtol
    )


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(draw=strategies.data())
def test_any_sizes(team, draw):
    sizes = draw.draw(strategies.lists(strategies.integers(0, 25), min_size=4, max_size=4))
    sizes = sizes[: team.size]
    assume(sum(sizes) >= 2)
    integers = strategies.integers
    rng = np.random.RandomState(draw.draw(integers(0, 99)))
    n_rows, n_labels = sum(sizes), draw.draw(integers(2, 3))
    X, y = rng.normal(size=(n_rows, 3)), rng.randint(0, n_labels, n_rows)
    y[:2] = 0, 1
    weight = rng.randint(0, 3, n_rows).astype(float)
    weight[0] = 1
    ends = np.cumsum(sizes)
    both = zip(ends - sizes, ends, strict=True)
    arrays = [[X[a:b], y[a:b], weight[a:b]] for a, b in both]
    parameters = {
        "batch_size": draw.draw(integers(1, 60)),
        "solver": draw.draw(strategies.sampled_from(["sgd", "adam", "lbfgs"])),
        "shuffle": draw.draw(strategies.booleans()),
        "max_iter": 2,
    }
    assert_equal_models(team, parameters, arrays, [X, y, weight])


# ----------------------------------------------------------------------------
# Dropout, batch statistics, and functions and modules of torch
# ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_members", [1, 3])
def test_dropout_differs_between_processes_and_can_be_repeated(team, n_members):
    parts = [[random_rows(), np.arange(60) % 2]] * team.size
    parameters = {"dropout": 0.5, "input_dropout": 0.2, "solver": "sgd", "batch_size": 500}
    parameters["n_members"] = n_members
    models = team.run(fitted_by_all, team.size, parameters, parts)
    again = team.run(fitted_by_all, team.size, parameters, parts)
    for model in [*models[1:], *again]:
        assert_bit_equal(model, models[0])
    # With equal masks, the equal rows would lead to the gradients of one process.
    alone = fitted_by_all(None, 1, parameters, parts)
    assert not np.allclose(models[0].coefs_[0], alone.coefs_[0], rtol=1e-3)


def test_batch_statistics_kept_are_those_of_the_first_process(team):
    X, y = random_rows() + np.arange(60)[:, None], np.arange(60) % 2
    parameters = {"normalization": "batch", "batch_size": 60, "max_iter": 1}
    models = team.run(fitted_by_all, team.size, parameters, in_parts(team, X, y))
    for model in models[1:]:
        assert_bit_equal(model, models[0])
    # All processes have the same weights in the first step, so the means are those of `first`.
    first = in_parts(team, X, y)[0]
    alone = fitted_by_all(None, 1, parameters | {"batch_size": len(first[0])}, [first])
    means = {k: v for k, v in alone.module_state_.items() if "running" in k}
    assert means
    for name, mean in means.items():
        np.testing.assert_allclose(models[0].module_state_[name], mean)


def a_loss(y, z):
    return (y - z).abs().pow(1.5).sum(1)


def slower(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)


@pytest.mark.matrix(2)
@pytest.mark.parametrize(
    "parameters",
    [
        {"loss": a_loss, "activation": [torch.nn.SiLU]},
        {"solver": torch.optim.NAdam},
        {"solver": torch.optim.SGD, "learning_rate": slower},
        {
            "learning_rate": torch.optim.lr_scheduler.ReduceLROnPlateau,
            "activation": [torch.nn.PReLU],
        },
    ],
    ids=case,
)
def test_what_torch_differentiates_and_optimizes(team, parameters):
    y = random_rows(seed=1)[:, 0]
    parts = in_parts(team, random_rows(), y)
    assert_equal_models(team, parameters, parts, [random_rows(), y], regressor=True)


# --- callbacks, seeds, printing, calls --------------------------------------------------------


class Stop(skorch.callbacks.Callback):
    def __init__(self, epoch, event="on_epoch_end"):
        self.epoch, self.event = epoch, event

    def on_epoch_end(self, net, **kwargs):
        if self.event == "on_epoch_end" and len(net.history) == self.epoch:
            raise KeyboardInterrupt

    def on_batch_end(self, net, training, **kwargs):
        if self.event == "on_batch_end" and len(net.history) == self.epoch:
            raise KeyboardInterrupt


def stopped(rank, size, last, event):
    X, y, _ = data("multiclass")
    rows = np.arange(150) % size == rank
    callbacks = [Stop(2, event)] if rank == (size - 1 if last else 0) else None
    model = FeedForwardClassifier(
        max_iter=9, random_state=0, batch_size=20, callbacks=callbacks, process_group="world"
    )
    model.fit(X[rows], y[rows])
    return model.n_iter_, model.coefs_


@pytest.mark.matrix
@pytest.mark.parametrize("event", ["on_epoch_end", "on_batch_end"])
@pytest.mark.parametrize("last", [False, True])
def test_callback_of_one_process_stops_all_in_the_same_epoch(team, last, event):
    results = team.run(stopped, team.size, last, event)
    assert [n_iter for n_iter, _ in results] == [2] * team.size
    for _, coefs in results[1:]:
        for left, right in zip(coefs, results[0][1], strict=True):
            np.testing.assert_array_equal(left, right)


class Batches(skorch.callbacks.Callback):
    def on_train_begin(self, net, **kwargs):
        self.n_rows, self.losses, self.norms = [], [], []

    def on_batch_begin(self, net, batch, training, **kwargs):
        if training:
            self.n_rows.append(len(batch[1]))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.norms.append(float(sum(p.grad.norm() ** 2 for _, p in named_parameters)))

    def on_batch_end(self, net, training, loss, **kwargs):
        if training:
            self.losses.append(loss)


def watched(rank, arrays, early_stopping):
    model = fitted_by_all(
        rank, 2, {"callbacks": [Batches()], "early_stopping": early_stopping}, arrays
    )
    ((_, seen),) = model.callbacks_
    return seen.n_rows, seen.losses, seen.norms


@pytest.mark.parametrize("early_stopping", [False, True])
def test_callbacks_see_the_rows_of_their_process_and_the_sums_of_all(team, early_stopping):
    X, y = random_rows(), np.arange(60) % 2
    seen = team.run(watched, in_parts(team, X, y), early_stopping)
    n_rows, losses, norms = watched(None, [[X, y]], early_stopping)
    assert np.sum([rows for rows, _, _ in seen], axis=0).tolist() == n_rows
    for _, its_losses, its_norms in seen:
        np.testing.assert_allclose(its_losses, losses, rtol=1e-6)
        np.testing.assert_allclose(its_norms, norms, rtol=1e-6)


def seeded(rank, size, seeds):
    """Return the weights of a fit, and the next number drawn from the source of the seed."""
    np.random.seed(rank or 0)
    seed = seeds[rank or 0]
    if isinstance(seed, str):
        seed = np.random.RandomState(int(seed))
    X, y, _ = data("multiclass")
    rows = np.ones(150, bool) if rank is None else np.arange(150) // 75 == rank
    group = None if rank is None else "world"
    model = FeedForwardClassifier(max_iter=2, random_state=seed, process_group=group)
    model.fit(X[rows], y[rows])
    return model.coefs_, np.random.rand() if seed is None else seed.rand() if hasattr(
        seed, "rand"
    ) else None


@pytest.mark.parametrize("seeds", [[None] * 4, ["3", "4", "5", "6"], [5, None, 7, 8]], ids=case)
def test_random_state_is_that_of_the_first_process(team, seeds):
    results = team.run(seeded, team.size, seeds[: team.size])
    coefs, drawn = seeded(None, 1, seeds)
    for its_coefs, _ in results:
        for left, right in zip(its_coefs, coefs, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-6)
    assert results[0][1] == drawn


def printed(rank, size):
    X, y, _ = data("multiclass")
    model = estimator("multiclass", {"verbose": rank == 0, "process_group": "world"})
    with redirect_stdout(StringIO()) as output:
        model.fit(X[rank::size], y[rank::size])
    return output.getvalue(), model.loss_curve_


def test_only_the_process_that_is_verbose_prints(team):
    (text, losses), *others = team.run(printed, team.size)
    lines = [f"Iteration {n}, loss = {loss:.8f}" for n, loss in enumerate(losses, 1)]
    assert text.splitlines() == lines
    assert all(not other for other, _ in others)


def counted(rank, size, parameters, fit="fit"):
    """Return the calls of torch.distributed in a fit, and how many numbers each of them moves."""
    calls = []

    def counting(name, function):
        def call(value, *args, **kwargs):
            calls.append((name, value.numel() if isinstance(value, torch.Tensor) else None))
            return function(value, *args, **kwargs)

        return call

    names = ("all_reduce", "broadcast", "all_gather", "all_gather_object", "broadcast_object_list")
    originals = {name: getattr(dist, name) for name in names}
    for name, function in originals.items():
        setattr(dist, name, counting(name, function))
    try:
        X, y, _ = data("multiclass")
        model = estimator("multiclass", {"process_group": "world", "tol": 0} | parameters)
        options = {"classes": [0, 1, 2]} if fit == "partial_fit" else {}
        getattr(model, fit)(X[rank::size], y[rank::size], **options)
    finally:
        for name, function in originals.items():
            setattr(dist, name, function)
    n_parameters = sum(a.size for a in [*model.coefs_, *model.intercepts_])
    n_steps = sum(1 for call in calls if call == ("all_reduce", n_parameters + 1))
    return len(calls), n_steps


@pytest.mark.parametrize(
    ("parameters", "of_epoch"),
    [
        *(({}, 2), ({"early_stopping": True}, 3), ({"n_members": 3}, 2)),
        pytest.param({"normalization": "batch"}, None, marks=pytest.mark.long),
    ],
    ids=case,
)
def test_one_sum_a_step_and_two_or_three_calls_an_epoch(team, parameters, of_epoch):
    (short, steps), *others = team.run(counted, team.size, parameters | {"max_iter": 2})
    assert others == [(short, steps)] * (team.size - 1)
    ((long, more_steps), *_) = team.run(counted, team.size, parameters | {"max_iter": 4})
    rows = 135 if "early_stopping" in parameters else 150
    n_steps = -(-rows // 32)
    if of_epoch is not None:
        assert (steps, more_steps) == (2 * n_steps, 4 * n_steps)
        assert long - short == 2 * (n_steps + of_epoch)


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_calls_of_a_fit_beside_its_steps(team, fit):
    ((calls, steps), *_) = team.run(counted, team.size, {"max_iter": 1}, fit)
    assert steps == 5
    n_of_columns = fit == "fit"  # which are compared in their size, over all processes
    assert calls - steps - 2 == 10 + n_of_columns


# --- groups -----------------------------------------------------------------------------------


def in_a_group_of_two(rank, ranks):
    """Return what the processes of a smaller group learn; assert that the others are refused."""
    group = dist.new_group(ranks)
    X, y, _ = data("multiclass")
    model = clone(estimator("multiclass", {"process_group": group}))
    assert model.process_group is group
    if rank not in ranks:
        with pytest.raises(ValueError, match="a group that does not contain this process"):
            model.fit(X, y)
        return None
    rows = np.arange(150) * len(ranks) // 150 == ranks.index(rank)
    model.fit(X[rows], y[rows])
    for copied in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.process_group is None
        assert_bit_equal(copied, model)
    return model


@pytest.mark.parametrize("ranks", [[1], [0, 1], [1, 3]], ids=case)
def test_group_of_some_processes(team, ranks):
    if max(ranks) >= team.size:
        pytest.skip("there is no such process")
    models = team.run(in_a_group_of_two, ranks)
    expected = estimator("multiclass", {}).fit(*data("multiclass")[:2])
    for rank in ranks:
        for actual, wanted in zip(models[rank].coefs_, expected.coefs_, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-6)


class StopTask:
    """A callback of scikit-learn that ends the fit in its second epoch."""

    n_epochs = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.n_epochs += context.task_name == "epoch"
        return self.n_epochs == 2


def with_callback_of_sklearn(rank, solver):
    X, y, _ = data("multiclass")
    model = estimator("multiclass", {"process_group": "world", "solver": solver, "max_iter": 9})
    if rank == 1:
        model.set_callbacks(StopTask())
    model.fit(X[rank::4], y[rank::4])
    return model.n_iter_, model.coefs_[0].sum()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callback_of_sklearn_in_one_process_stops_all(team, solver):
    pytest.importorskip("sklearn.callback")  # It is new in scikit-learn 1.9.
    results = team.run(with_callback_of_sklearn, solver)
    assert results == [(2, results[0][1])] * team.size
