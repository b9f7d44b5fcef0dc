"""`partial_fit` learns from data that come in chunks of any kind and size."""

from __future__ import annotations

import gc
import itertools
import math
import runpy
import sys
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from conftest import assert_bit_equal, case
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier, MLPRegressor
from skorch.callbacks import Callback

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SIZES = (120, 1, 37, 200, 40, 3, 81, 7, 150, 39, 2, 64)
RATE = 0.02


def stream(kind="regressor", n_features=6, sizes=SIZES):
    """Yield chunks of unequal sizes, made one after the other: rows, targets and weights."""
    rng = np.random.RandomState(0)
    for n_rows in sizes:
        X = rng.randn(n_rows, n_features)
        raw = X[:, 0] - np.sin(3 * X[:, 1]) + 0.1 * rng.randn(n_rows)
        y = raw if kind == "regressor" else np.digitize(raw, [-0.5, 0.5])
        yield X, y, rng.uniform(0.5, 2, n_rows)


def pair(kind, **parameters):
    """Return scikit-learn's estimator, ours, and the arguments that tell them the classes."""
    parameters = {"hidden_layer_sizes": (12,), "batch_size": 40, "random_state": 3} | parameters
    theirs, ours = {
        "regressor": (MLPRegressor, FeedForwardRegressor),
        "classifier": (MLPClassifier, FeedForwardClassifier),
    }[kind]
    return theirs(**parameters), ours(**parameters), first_call(kind)


def first_call(kind):
    return {"classes": [0, 1, 2]} if kind == "classifier" else {}


def assert_same(ours, theirs):
    assert ours.t_ == theirs.t_
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    for name in ("coefs_", "intercepts_"):
        for actual, expected in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert_allclose(actual, expected, rtol=1e-6, atol=1e-9, err_msg=name)


# --- the same model as scikit-learn's ---------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adam"},
        {"solver": "sgd", "learning_rate_init": RATE},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    ],
    ids=case,
)
@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_stream_of_unequal_chunks_equals_scikit_learn(kind, parameters, weighted):
    theirs, ours, arguments = pair(kind, **parameters)
    for X, y, weight in stream(kind):
        for estimator in (theirs, ours):
            if weighted:
                arguments = arguments | {"sample_weight": weight}
            estimator.partial_fit(X, y, **arguments)
    assert_same(ours, theirs)


def test_stream_sorted_by_class_equals_scikit_learn():
    theirs, ours, arguments = pair("classifier", solver="sgd", learning_rate_init=RATE)
    X, y, _ = next(stream("classifier", sizes=(600,)))
    for label in (2, 0, 1, 2):
        for estimator in (theirs, ours):
            estimator.partial_fit(X[y == label], y[y == label], **arguments)
        assert_array_equal(ours.predict(X), theirs.predict(X))
    assert_same(ours, theirs)


# --- schedules --------------------------------------------------------------------------------


class Rates(Callback):
    """A callback that passes the rate of each step to `sink`, a function that all calls share."""

    def __init__(self, sink):
        self.sink = sink

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.sink(net.optimizer_.param_groups[0]["lr"])


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.RMSprop])
@pytest.mark.parametrize(
    ("parameters", "factor"),
    [
        ({"learning_rate": "cosine"}, lambda at: (1 + math.cos(math.pi * at)) / 2),
        ({"warmup_fraction": 0.5}, lambda at: min(1.0, 2 * at)),
        ({}, lambda at: 1.0),
    ],
    ids=["cosine", "warm-up", "constant"],
)
def test_rate_of_a_step_follows_calls_and_the_steps_within(parameters, factor, solver):
    rates = []
    model = FeedForwardRegressor(
        batch_size=40,
        solver=solver,
        learning_rate_init=RATE,
        max_iter=len(SIZES),
        callbacks=[Rates(rates.append)],
        **parameters,
    )
    expected = []
    for call, (X, y, _) in enumerate(stream()):
        model.partial_fit(X, y)
        n_steps = math.ceil(len(X) / 40)
        # The warm-up counts steps from 1.
        shift = 1 if "warmup_fraction" in parameters else 0
        at = [(call + (i + shift) / n_steps) / len(SIZES) for i in range(n_steps)]
        expected += [RATE * factor(position) for position in at]
    assert_allclose(rates, expected)
    firsts = np.cumsum([0] + [math.ceil(size / 40) for size in SIZES[:-1]])
    assert_allclose(model.learning_rate_curve_, np.array(rates)[firsts])


@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
def test_one_cycle_rises_for_three_tenths_of_the_calls_and_falls():
    model = FeedForwardRegressor(
        learning_rate="one_cycle", max_iter=24, learning_rate_init=RATE
    )  # Each call takes one step.
    for X, y, _ in itertools.chain(stream(), stream()):
        model.partial_fit(X, y)
    curve = np.array(model.learning_rate_curve_)
    assert (np.diff(curve[:7]) > 0).all() and (np.diff(curve[7:]) < 0).all()
    assert curve[0] == pytest.approx(RATE / 25)
    assert curve.max() > 0.95 * RATE
    assert curve[-1] < 0.05 * RATE


@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
def test_scheduler_of_torch_takes_a_step_a_call():
    model = FeedForwardRegressor(
        learning_rate=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.5),
        learning_rate_init=RATE,
    )
    for X, y, _ in stream():
        model.partial_fit(X, y)
    assert_allclose(model.learning_rate_curve_, RATE * 0.5 ** (np.arange(len(SIZES)) // 3))


# --- kinds of chunks --------------------------------------------------------------------------


def by_memory_map(X, folder):
    np.save(folder / "rows.npy", X)
    return np.load(folder / "rows.npy", mmap_mode="r")


def by_record_batch(X, folder):
    return pa.RecordBatch.from_pandas(pd.DataFrame(X).add_prefix("x")).to_pandas()


KINDS = {
    "memory map": by_memory_map,
    "frame": lambda X, folder: pd.DataFrame(X).add_prefix("x"),
    "record batch of Arrow": by_record_batch,
    "lists": lambda X, folder: X.tolist(),
    "Fortran order": lambda X, folder: np.asfortranarray(X),
    "every second row": lambda X, folder: np.repeat(X, 2, axis=0)[::2],
}


@pytest.mark.matrix(3)
@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_any_kind_learn_the_model_of_arrays(kind, tmp_path):
    _, expected, _ = pair("regressor")
    actual = clone(expected)
    for X, y, _ in stream(sizes=SIZES[:4]):
        expected.partial_fit(X, y)
        actual.partial_fit(KINDS[kind](X, tmp_path), y)
    if hasattr(actual, "feature_names_in_"):
        assert_array_equal(actual.feature_names_in_, [f"x{i}" for i in range(6)])
        del actual.feature_names_in_
    assert_bit_equal(actual, expected)


@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
def test_sparse_and_dense_chunks_in_turns_learn_the_model_of_dense_ones():
    _, expected, _ = pair("regressor")
    actual = clone(expected)
    for call, (X, y, _) in enumerate(stream(n_features=30)):
        X[np.abs(X) < 1.5] = 0
        expected.partial_fit(X, y)
        actual.partial_fit(scipy.sparse.csr_matrix(X) if call % 2 else X, y)
    assert_allclose(actual.loss_curve_, expected.loss_curve_, rtol=1e-10)
    assert_allclose(actual.coefs_[0], expected.coefs_[0], rtol=1e-8, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
@pytest.mark.parametrize("spoil", ["NaN", "columns in another order", "a column more"])
def test_chunk_that_is_refused_leaves_the_model_as_it_was(spoil):
    _, expected, _ = pair("regressor", learning_rate="cosine")
    actual = clone(expected)
    for call, (X, y, _) in enumerate(stream(sizes=SIZES[:5])):
        frame = pd.DataFrame(X).add_prefix("x")
        if call == 3:
            bad = {
                "NaN": frame * np.nan,
                "columns in another order": frame[frame.columns[::-1]],
                "a column more": frame.assign(more=0.0),
            }[spoil]
            with pytest.raises(ValueError):
                actual.partial_fit(bad, y)
        actual.partial_fit(frame, y)
        expected.partial_fit(frame, y)
    assert_bit_equal(actual, expected)


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"tol": 10.0, "n_iter_no_change": 1},  # The stop rule ends training.
        {"early_stopping": True, "scoring": "r2"},
        {"learning_rate": "cosine", "dropout": 0.1},
        {"callbacks": [Rates(id)]},
        {"normalization": "batch"},
        {"n_members": 3},
        {"solver": "lbfgs"},
    ],
    ids=case,
)
def test_rows_are_free_when_the_call_ends(parameters, call):
    """The rows do not wait for the garbage collector, which counts objects and not bytes."""
    if call == "partial_fit" and ("early_stopping" in parameters or "solver" in parameters):
        pytest.skip("partial_fit does not take it")
    model = FeedForwardRegressor(hidden_layer_sizes=(5,), max_iter=5, **parameters)
    X, y, _ = next(stream())
    getattr(model, call)(X.copy(), y)
    gc.collect()
    gc.disable()
    try:
        getattr(model, call)(X, y)
        rows = weakref.ref(X)
        del X
        assert rows() is None
    finally:
        gc.enable()


def anonymous_megabytes():
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024 / 1e6


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux")
def test_memory_does_not_grow_with_the_number_of_chunks():
    model = FeedForwardRegressor(hidden_layer_sizes=(10,), batch_size=2000)
    chunks = stream(n_features=50, sizes=[20_000] * 60)  # 8 MB each
    used = []
    for X, y, _ in chunks:
        model.partial_fit(X, y)
        used.append(anonymous_megabytes())
    assert max(used) - used[4] < 40


# --- the example ------------------------------------------------------------------------------

EXAMPLE = str(Path(__file__).resolve().parents[2] / "examples" / "stream_parquet.py")


@pytest.mark.long
def test_example_comes_near_the_best_score(tmp_path, capsys):
    runpy.run_path(EXAMPLE)["main"](["--rows", "50000", "--passes", "3", "--folder", str(tmp_path)])
    assert (tmp_path / "rides.parquet").exists()
    out = capsys.readouterr().out
    assert "50,000 rides in 10 row groups" in out
    assert "trained on 135,000 rows" in out
    mean, network, best = (float(line.split()[-1]) for line in out.splitlines()[-3:])
    assert abs(mean) < 0.01
    assert 0.85 * best < network < best


def test_example_without_pyarrow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        runpy.run_path(EXAMPLE)
