"""Strategies for hypothesis: valid parameters of both estimators, small data, invalid values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from hypothesis import strategies as st
from sklearn.metrics import make_scorer, mean_absolute_error, zero_one_loss
from skorch.callbacks import Callback, EarlyStopping
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier, FeedForwardRegressor, PeriodicEmbedding
from sknn._input._parameter_checks import (
    ADDED_ACTIVATIONS,
    PARAMETRIC_ACTIVATIONS,
    SKLEARN_ACTIVATIONS,
    hidden_units,
)

LARGEST = float(np.finfo(np.float64).max)
LEAST = 5e-324
CLASSIFICATION = ("binary", "multiclass", "multilabel")
REGRESSION = ("one output", "many outputs")


# --- data -------------------------------------------------------------------------------------


@dataclass
class Data:
    """A small problem, whose rows `X` may be in any container."""

    target: str
    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    X_val: Any = None
    y_val: np.ndarray | None = None

    @property
    def is_classification(self) -> bool:
        return self.target in CLASSIFICATION

    @property
    def n_samples(self) -> int:
        return len(self.y)

    @property
    def classes(self) -> np.ndarray:
        if self.target == "multilabel":
            return np.arange(self.y.shape[1])
        return np.unique(self.y)

    def estimator(self, **parameters: Any) -> FeedForwardClassifier | FeedForwardRegressor:
        kind = FeedForwardClassifier if self.is_classification else FeedForwardRegressor
        return kind(**parameters)

    @property
    def validation(self) -> dict[str, Any]:
        return {} if self.X_val is None else {"X_val": self.X_val, "y_val": self.y_val}


def some_rows(rng: np.random.RandomState, n_samples: int, n_features: int, kind: str) -> np.ndarray:
    X = rng.standard_normal((n_samples, n_features))
    if kind == "constant":
        X[:] = 1.0
    elif kind == "duplicates":
        X = X[rng.randint(0, max(1, n_samples // 3), n_samples)]
    elif kind == "many zeros":
        X *= rng.uniform(size=X.shape) < 0.3
    elif kind == "whole numbers":
        X = np.rint(2 * X)
    return X


def some_targets(rng: np.random.RandomState, n_samples: int, target: str, labels: Any) -> Any:
    if target == "binary":
        return labels[:2][rng.randint(0, 2, n_samples)]
    if target == "multiclass":
        return labels[rng.randint(0, len(labels), n_samples)]
    if target == "multilabel":
        return rng.randint(0, 2, (n_samples, 3))
    shape = n_samples if target == "one output" else (n_samples, 3)
    return rng.gamma(1.0, size=shape) + 0.01  # These are in the domain of every loss.


LABELS = {
    "integers": np.array([0, 3, 7, 11]),
    "negative": np.array([-3, -2, 5, 6], dtype=np.int8),
    "strings": np.array(["ant", "bee", "cat", "dog"]),
    "objects": np.array(["ant", "bee", "cat", "dog"], dtype=object),
    "floats": np.array([-1.0, 0.0, 2.0, 5.0]),
}

CONTAINERS = {
    "array": np.asarray,
    "float32": lambda X: X.astype(np.float32),
    "list": np.ndarray.tolist,
    "frame": lambda X: pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]),
    "csr": scipy.sparse.csr_matrix,
    "coo": scipy.sparse.coo_array,
    "Fortran": np.asfortranarray,
}


@st.composite
def data(draw, target: str | None = None, least: int = 1) -> Data:
    """Draw a small problem of any kind."""
    if target is None:
        target = draw(st.sampled_from(CLASSIFICATION + REGRESSION))
    n_samples, n_features = draw(st.integers(least, 30)), draw(st.integers(1, 6))
    rng = np.random.RandomState(draw(st.integers(0, 2**16)))
    kind = draw(
        st.sampled_from(["normal", "constant", "duplicates", "many zeros", "whole numbers"])
    )
    contain = CONTAINERS[draw(st.sampled_from(list(CONTAINERS)))]
    labels = LABELS[draw(st.sampled_from(list(LABELS)))]
    X = some_rows(rng, n_samples, n_features, kind)
    y = some_targets(rng, n_samples, target, labels)
    weight = draw(st.sampled_from([None, "some zeros", "any"]))
    if weight is not None:
        weight = rng.uniform(0.1, 3, n_samples) * (
            1.0 if weight == "any" else rng.uniform(size=n_samples) < 0.7
        )
    problem = Data(target, contain(X), y, weight)
    if draw(st.booleans()):
        rows = rng.randint(0, n_samples, draw(st.integers(1, 8)))  # All their labels are known.
        problem = replace(problem, X_val=contain(X[rows]), y_val=y[rows])
    return problem


# --- parameters -------------------------------------------------------------------------------


class Watcher(Callback):
    """A user's callback that counts batches."""

    def on_batch_end(self, net, **kwargs):
        self.n_batches_ = getattr(self, "n_batches_", 0) + 1


def absolute_loss(raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (raw - y).abs().sum(1)


def dotted_accuracy(estimator: Any, X: Any, y: Any) -> float:
    return float(np.mean(estimator.predict(X) == y))


def positive(sample: list[float]) -> st.SearchStrategy[float]:
    """Draw mostly typical values, and otherwise any legal float above zero."""
    return st.one_of(
        st.sampled_from(sample),
        st.sampled_from(sample),
        st.floats(LEAST, LARGEST, allow_subnormal=True),
    )


def share(sample: list[float]) -> st.SearchStrategy[float]:
    """Draw a float in [0, 1)."""
    return st.one_of(st.sampled_from(sample), st.floats(0, 1, exclude_max=True))


ACTIVATIONS = st.one_of(
    st.sampled_from(SKLEARN_ACTIVATIONS + ADDED_ACTIVATIONS + PARAMETRIC_ACTIVATIONS),
    st.sampled_from([torch.nn.PReLU, torch.nn.Hardswish, partial(torch.nn.Dropout, 0.25)]),
)
SIZES = st.one_of(
    st.just(()),
    st.integers(1, 5),
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=2).map(np.array),
)
TORCH_SOLVERS = [
    *(torch.optim.ASGD, torch.optim.Adadelta, torch.optim.Adagrad, torch.optim.Adam),
    *(torch.optim.AdamW, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam),
    *(torch.optim.RMSprop, torch.optim.Rprop, torch.optim.SGD),
    *([torch.optim.Adafactor] if hasattr(torch.optim, "Adafactor") else []),  # torch 2.5
    partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    partial(torch.optim.RMSprop, centered=True),
    partial(torch.optim.Adam, amsgrad=True, weight_decay=0.1),
]
SCHEDULERS = [
    partial(lr_scheduler.StepLR, step_size=1),
    partial(lr_scheduler.ExponentialLR, gamma=0.5),
    partial(lr_scheduler.ReduceLROnPlateau, patience=0),
]
COMMON = {
    "alpha": st.one_of(st.sampled_from([0, 1e-4, 1.0]), st.floats(0, LARGEST)),
    "batch_size": st.one_of(
        st.sampled_from(["auto", "by_rows"]), st.integers(1, 40), st.just(10**30)
    ),
    "learning_rate": st.sampled_from(
        ["constant", "invscaling", "adaptive", "cosine", "one_cycle", "coslog", *SCHEDULERS]
    ),
    "learning_rate_init": positive([1e-3, 0.1, 1]),
    "power_t": st.one_of(st.sampled_from([0, 0.5]), st.floats(0, LARGEST)),
    "shuffle": st.booleans(),
    "random_state": st.one_of(
        st.integers(0, 2**32 - 1),
        st.none(),
        st.builds(np.random.RandomState, st.integers(0, 9)),
    ),
    "tol": st.one_of(st.sampled_from([0, 1e-4]), st.floats(0, LARGEST)),
    "verbose": st.sampled_from([False, True, 0, 1, 7, "progress"]),
    "warm_start": st.booleans(),
    "momentum": st.one_of(st.sampled_from([0, 0.9, 1]), st.floats(0, 1)),
    "nesterovs_momentum": st.booleans(),
    "early_stopping": st.sampled_from([False, True, "waves"]),
    "validation_fraction": share([0.1, 0.4]),
    "beta_1": share([0.9, 0]),
    "beta_2": share([0.999, 0, 1 - 1e-16]),
    "epsilon": positive([1e-8, 1e-3]),
    "n_iter_no_change": st.sampled_from([1, 2, 10**30, np.inf]),
    "max_fun": st.sampled_from([1, 2, 3, 15000, 10**30]),
    "input_dropout": share([0.0, 0.5]),
    "normalization": st.sampled_from([None, "layer", "batch"]),
    "warmup_fraction": share([0.0, 0.3]),
    "max_grad_norm": st.one_of(st.none(), positive([1.0, 1e-3])),
    "callbacks": st.sampled_from(
        [None, [], [Watcher], (("watcher", Watcher()),), [EarlyStopping("train_loss", patience=1)]]
    ),
    "dtype": st.sampled_from(["auto", "float32", "float64", "bfloat16"]),
    "device": st.sampled_from(["cpu", "auto"]),
    "checkpoint_every": st.sampled_from([1, 2, 10**30]),
    "n_members": st.sampled_from([1, 2, 3]),
    "numeric_embedding": st.one_of(
        st.none(),
        st.just("periodic"),
        st.builds(PeriodicEmbedding, st.integers(1, 3), st.integers(2, 3), st.floats(1e-3, 1e6)),
    ),
    "input_scaling": st.booleans(),
    "initialization": st.sampled_from([None, "data"]),
    "regularization_schedule": st.sampled_from([None, "flat_cos"]),
}
OF_CLASSIFIER = {
    "loss": st.sampled_from(["log_loss", "focal", absolute_loss]),
    "focal_gamma": st.one_of(st.sampled_from([0, 0.5, 1, 2]), st.floats(0, LARGEST)),
    "label_smoothing": share([0.0, 0.1]),
    "scoring": st.sampled_from(
        [None, "loss", "accuracy", dotted_accuracy, make_scorer(zero_one_loss)]
    ),
}
OF_REGRESSOR = {
    "loss": st.sampled_from(
        ["squared_error", "poisson", "absolute_error", "huber", "quantile", "gamma", absolute_loss]
    ),
    "huber_delta": positive([1.0, 0.1]),
    "target_scaling": st.sampled_from([None, "standard", "clipped"]),
    "scoring": st.sampled_from(
        [None, "loss", "neg_mean_absolute_error", make_scorer(mean_absolute_error)]
    ),
}
# Options that only stochastic solvers have, with the values that L-BFGS accepts.
OFF_WITH_LBFGS = {
    **{"dropout": 0.0, "input_dropout": 0.0, "learning_rate": "constant", "callbacks": None},
    **{"warmup_fraction": 0.0, "max_grad_norm": None, "scoring": None, "n_members": 1},
    **{"regularization_schedule": None},
}


def levels() -> st.SearchStrategy:
    """Draw values of `quantile`."""
    level = st.floats(0, 1, exclude_min=True, exclude_max=True)
    several = st.lists(level, min_size=1, max_size=4, unique=True).map(sorted)
    return st.one_of(level, several, several.map(tuple), several.map(np.array))


def class_weights(problem: Data) -> st.SearchStrategy:
    """Draw values of `class_weight` for the labels of a problem."""
    weight = st.sampled_from([0.5, 1, 3.0])
    if problem.target == "multilabel":
        column = st.fixed_dictionaries({0: weight, 1: weight})
        n = problem.y.shape[1]
        several = st.lists(column, min_size=n, max_size=n)
        return st.one_of(st.sampled_from([None, "balanced"]), several)
    named = st.fixed_dictionaries(dict.fromkeys(problem.classes.tolist(), weight))
    return st.one_of(st.sampled_from([None, "balanced"]), named)


@st.composite
def parameters(draw, problem: Data, n_most_epochs: int = 4) -> dict[str, Any]:
    """Draw valid parameters, some or all of them, that may be used together."""
    own = OF_CLASSIFIER if problem.is_classification else OF_REGRESSOR
    sizes = draw(SIZES)
    n_hidden = len(hidden_units(sizes))
    of_a_layer = {
        "activation": st.one_of(
            ACTIVATIONS, st.lists(ACTIVATIONS, min_size=n_hidden, max_size=n_hidden)
        ),
        "dropout": st.one_of(
            share([0.0, 0.5]),
            st.lists(share([0.0, 0.5]), min_size=n_hidden, max_size=n_hidden),
        ),
    }
    others = {"quantile": levels()}
    if problem.is_classification:
        others = {"class_weight": class_weights(problem)}
    solver = st.sampled_from(["lbfgs", "sgd", "adam", "adamw", *TORCH_SOLVERS])
    drawn = draw(
        st.fixed_dictionaries(
            {"solver": solver, "max_iter": st.integers(1, n_most_epochs)},
            optional={**COMMON, **own, **of_a_layer, **others},
        )
    )
    drawn["hidden_layer_sizes"] = sizes
    drawn.setdefault("random_state", 0)
    if drawn["solver"] == "lbfgs":
        drawn.update(OFF_WITH_LBFGS)
        if drawn.get("normalization") == "batch":
            drawn["normalization"] = "layer"
    if drawn.get("learning_rate") == "one_cycle":
        drawn["warmup_fraction"] = 0.0
    if drawn.get("early_stopping") == "waves" and drawn.get("learning_rate") != "coslog":
        drawn["early_stopping"] = True
    if drawn.get("early_stopping") == "waves":
        drawn["scoring"] = None
    if scipy.sparse.issparse(problem.X):
        drawn["numeric_embedding"] = None
    if drawn.get("numeric_embedding") is not None and drawn.get("n_members", 1) > 1:
        drawn["input_dropout"] = 0.0
    if drawn.get("loss") not in (None, "squared_error", "absolute_error", "huber", "quantile"):
        drawn.pop("target_scaling", None)
    return drawn


@st.composite
def plain_parameters(draw, problem: Data, **fixed: Any) -> dict[str, Any]:
    """Draw valid parameters with which fits can be repeated, print nothing and write no file."""
    drawn = draw(parameters(problem, n_most_epochs=3))
    # The network learns at these rates. With most legal rates, all models are alike, or none are.
    rate = draw(st.sampled_from([1e-3, 1e-2, 0.1]))
    numbers = {"alpha": 1e-3, "learning_rate_init": rate, "momentum": 0.9, "epsilon": 1e-8}
    kept = {k: numbers.get(k, v) for k, v in drawn.items() if k != "verbose"}
    return {**kept, "random_state": draw(st.integers(0, 9)), **fixed}


def fit_arguments(given: dict[str, Any], problem: Data) -> dict[str, Any]:
    """Return the arguments for the validation rows, or none with L-BFGS, which refuses them."""
    return {} if given.get("solver", "adam") == "lbfgs" else problem.validation


# --- the same values in other containers ------------------------------------------------------


def strided(X: np.ndarray) -> np.ndarray:
    wide = np.zeros((2 * len(X), 3 * X.shape[1]), X.dtype)
    wide[::2, ::3] = X
    return wide[::2, ::3]


def read_only(X: np.ndarray) -> np.ndarray:
    X = X.copy()
    X.flags.writeable = False
    return X


def mixed_frame(X: np.ndarray) -> pd.DataFrame:
    columns = {f"x{i}": X[:, i].astype("int16" if i % 2 else "float64") for i in range(X.shape[1])}
    return pd.DataFrame(columns)


# These containers hold whole numbers of at most 100 in size. Their rows are dense; those of the
# containers in SPARSE are sparse.
WHOLE = {
    **{str(dtype): partial(np.asarray, dtype=dtype) for dtype in ("float64", "int64", "int8")},
    "list": np.ndarray.tolist,
    "list of tuples": lambda X: [tuple(row) for row in X.tolist()],
    "list of integers": lambda X: X.astype(int).tolist(),
    "objects": lambda X: X.astype(object),
    "Fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "big-endian": lambda X: X.astype(">f8"),
    "big-endian integers": lambda X: X.astype(">i4"),
    "frame": pd.DataFrame,
    "mixed frame": mixed_frame,
    "frame of nullable integers": lambda X: pd.DataFrame(X).astype("Int32"),
    "frame of nullable floats": lambda X: pd.DataFrame(X).astype("Float64"),
}
SPARSE = {
    "csr": scipy.sparse.csr_matrix,
    "csc": scipy.sparse.csc_array,
    "coo": scipy.sparse.coo_matrix,
    "lil": scipy.sparse.lil_matrix,
}


def disordered(X: np.ndarray, rng: np.random.RandomState) -> scipy.sparse.csr_matrix:
    """Return a CSR matrix with unsorted columns in each row, stored zeros and 64-bit indices."""
    n_rows, n_columns = X.shape
    order = np.argsort(rng.uniform(size=X.shape), axis=1)
    values = np.take_along_axis(X, order, axis=1).ravel()
    starts = np.arange(n_rows + 1) * n_columns
    indices = order.ravel().astype(np.int64)
    matrix = scipy.sparse.csr_matrix((values, indices.astype(np.int32), starts), shape=X.shape)
    matrix.indices, matrix.indptr = indices, starts.astype(np.int64)
    return matrix


# --- invalid values ---------------------------------------------------------------------------

_NO_NUMBER = st.one_of(
    st.sampled_from([None, [], {}, (), object(), object, b"1", 1j, [0.5], {0.5}, np.array([0.5])]),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.floats(), max_size=2),
)
_NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf, np.float32("nan")])
_NEGATIVE = st.one_of(st.floats(max_value=0, exclude_max=True), st.integers(max_value=-1))
_FRACTION = st.floats().filter(lambda x: not float(x).is_integer())
_AT_LEAST_0 = st.one_of(_NO_NUMBER, _NOT_FINITE, _NEGATIVE)
_ABOVE_0 = st.one_of(_AT_LEAST_0, st.sampled_from([0, 0.0, -0.0, False]))
_SHARE = st.one_of(_AT_LEAST_0, st.floats(min_value=1), st.integers(min_value=1), st.just(True))
_COUNT = st.one_of(_NO_NUMBER, _NOT_FINITE, st.integers(max_value=0), st.floats())
_FLAG = st.one_of(_NO_NUMBER, st.floats(), st.integers(min_value=2), st.integers(max_value=-1))


def _no_name(*allowed: str) -> st.SearchStrategy[Any]:
    """Draw anything except these strings."""
    junk = st.one_of(
        st.text(max_size=8), st.floats(), st.integers(), st.sampled_from([{}, 1j, b"relu"])
    )
    return junk.filter(lambda value: value not in allowed)


def _without_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return strategy.filter(lambda value: value is not None)


_SIZES = st.one_of(
    st.none(),
    st.floats(),
    st.integers(max_value=0),
    st.text(min_size=1, max_size=5),
    st.lists(st.one_of(st.floats(), st.integers(max_value=0), st.text(max_size=2)), min_size=1),
    st.lists(st.lists(st.integers(1, 3), min_size=1), min_size=1),
    st.sampled_from([object(), 1j, [None], [True], [[]], {"a": 1}, np.array([1.5])]),
)
_ACTIVATION = st.one_of(
    _no_name(*SKLEARN_ACTIVATIONS, *ADDED_ACTIVATIONS),
    st.lists(_no_name(*SKLEARN_ACTIVATIONS, *ADDED_ACTIVATIONS), min_size=1),
    st.sampled_from([["relu"] * 5, [["relu", "relu"]], [], [None, None], {"relu"}]),
)
_DROPOUT = st.one_of(
    _SHARE.filter(lambda value: not isinstance(value, list)),
    st.lists(_SHARE, min_size=1, max_size=2),
    st.sampled_from([[0.1] * 5, [[0.1, 0.1]], np.array([0.1]), np.array(0.5), [None, 0.1]]),
)
_QUANTILE = st.one_of(
    _SHARE.filter(lambda value: not isinstance(value, list) and np.size(value) != 1),
    st.sampled_from([0, 1, 0.0, 1.0, [], [0.5, 0.5], [0.9, 0.1], [0.1, 1], [[0.1, 0.9]], ["a"]]),
    st.lists(st.one_of(_NOT_FINITE, _NEGATIVE, st.floats(min_value=1)), min_size=1),
)
# The values are invalid for an estimator with two hidden layers and the integer labels 0, 1, 2.
INVALID: dict[str, st.SearchStrategy[Any]] = {
    "hidden_layer_sizes": _SIZES,
    "activation": _ACTIVATION,
    "solver": _no_name("lbfgs", "sgd", "adam", "adamw") | st.sampled_from([dict, object, print]),
    "alpha": _AT_LEAST_0,
    "batch_size": _COUNT.filter(lambda value: value is not True),
    "learning_rate": _no_name(
        *("constant", "invscaling", "adaptive", "cosine", "one_cycle", "coslog")
    ),
    "learning_rate_init": _ABOVE_0,
    "power_t": _AT_LEAST_0,
    "max_iter": _COUNT,
    "shuffle": _FLAG,
    "random_state": st.one_of(
        _without_none(_NO_NUMBER), st.floats(), st.integers(max_value=-1), st.just(2**32)
    ),
    "tol": _AT_LEAST_0,
    "verbose": st.one_of(_NO_NUMBER, st.floats(), st.integers(max_value=-1)),
    "warm_start": _FLAG,
    "momentum": st.one_of(_AT_LEAST_0, st.floats(min_value=1, exclude_min=True)),
    "nesterovs_momentum": _FLAG,
    "early_stopping": _FLAG,
    "validation_fraction": _SHARE,
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "epsilon": _ABOVE_0,
    "n_iter_no_change": st.one_of(
        _NO_NUMBER, st.integers(max_value=0), _FRACTION.filter(lambda x: x != np.inf)
    ),
    "max_fun": _COUNT,
    "dropout": _DROPOUT,
    "input_dropout": _SHARE,
    "normalization": _no_name("layer", "batch"),
    "warmup_fraction": _SHARE,
    "max_grad_norm": _without_none(_ABOVE_0),
    "scoring": _no_name("loss"),
    "callbacks": st.one_of(
        _no_name(),
        st.lists(st.one_of(st.integers(), st.text(), st.none()), min_size=1),
        st.sampled_from([[object], [("a", 1)], [dict], ({},), [[Watcher]]]),
    ),
    "dtype": _no_name("auto", "float32", "float64", "bfloat16"),
    "device": st.one_of(st.floats(), st.none(), st.text(), st.sampled_from(["cuda:99", "cpu:x"])),
    "process_group": _no_name("world"),
    "checkpoint_dir": st.one_of(st.floats(), st.integers(), st.sampled_from(["", b"x", [], {}])),
    "checkpoint_every": _COUNT,
    "n_members": _COUNT.filter(lambda value: value is not True),
    "numeric_embedding": st.one_of(
        _no_name("periodic"),
        st.just(PeriodicEmbedding),
        st.builds(PeriodicEmbedding, n_frequencies=_COUNT.filter(lambda value: value is not True)),
        st.builds(PeriodicEmbedding, scale=_ABOVE_0),
    ),
    "input_scaling": _FLAG,
    "initialization": _no_name("data"),
    "regularization_schedule": _no_name("flat_cos"),
    "target_scaling": _no_name("standard"),
    "loss": _no_name(
        *("log_loss", "focal", "squared_error", "poisson", "absolute_error"),
        *("huber", "quantile", "gamma"),
    ),
    "focal_gamma": _AT_LEAST_0,
    "label_smoothing": _SHARE,
    "class_weight": st.one_of(
        _no_name("balanced").filter(lambda value: value != {}),
        st.sampled_from([{99: 1.0}, {0: "heavy"}, {0: np.nan}, {0: None}, [{0: 1}, {}], ["a"]]),
    ),
    "huber_delta": _ABOVE_0,
    "quantile": _QUANTILE,
}
