"""Bad values of what scikit-learn's MLP does not have: an error that says what is allowed."""

from __future__ import annotations

import copy
import warnings
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal, case, fitted_state
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import EpochTimer
from torch import nn
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._steps import AutogradStep, ClosedFormStep

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 3, "random_state": 0}
CLASSIFICATION = ("binary", "multiclass", "multilabel")
STEP = ClosedFormStep.__call__
LINEAR = {"hidden_layer_sizes": ()}
TWO_LAYERS = {"hidden_layer_sizes": (6, 5)}


def network(target, **parameters):
    kind = FeedForwardClassifier if target in CLASSIFICATION else FeedForwardRegressor
    return kind(**SMALL | parameters)


def fail(estimator, *arguments, match, error=ValueError, call="fit", **more):
    """Assert that a call raises and changes nothing; return the message."""
    before = repr(fitted_state(estimator))
    with pytest.raises(error, match=match) as caught:
        getattr(estimator, call)(*arguments, **more)
    assert repr(fitted_state(estimator)) == before
    return str(caught.value)


def fail_unfitted_and_fitted(target, parameters, *arguments, match, error=ValueError, **more):
    """The same for `fit` of a new estimator and of a fitted one; return the message."""
    data = arguments or TARGETS[target]
    with pytest.MonkeyPatch.context() as patch:
        forbid_training(patch)
        message = fail(network(target, **parameters), *data, match=match, error=error, **more)
        # It has been fitted without what is wrong.
        fitted = copy.deepcopy(fitted_network(target, parameters.get("hidden_layer_sizes", (6,))))
        fail(fitted.set_params(**parameters), *data, match=match, error=error, **more)
    return message


@cache
def fitted_network(target, hidden_layer_sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClosedFormStep, "__call__", STEP)
        return network(target, hidden_layer_sizes=hidden_layer_sizes).fit(*TARGETS[target])


def forbid_training(patch):
    """Fail if a step is made."""

    def trained(*args, **kwargs):
        raise AssertionError("training has begun")

    patch.setattr(ClosedFormStep, "__call__", trained)
    patch.setattr(AutogradStep, "__call__", trained)


# --- the network ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "n_given", "n_hidden"),
    [
        ({"activation": ["relu", "tanh"]}, 2, 1),
        ({"activation": []}, 0, 1),
        ({"activation": ["relu"], **LINEAR}, 1, 0),
        ({"activation": ["relu"], **TWO_LAYERS}, 1, 2),
        ({"activation": (torch.nn.PReLU,) * 3, **TWO_LAYERS}, 3, 2),
        ({"dropout": [0.1, 0.2]}, 2, 1),
        ({"dropout": []}, 0, 1),
        ({"dropout": [0.5], **LINEAR}, 1, 0),
        ({"dropout": (0.1,), **TWO_LAYERS}, 1, 2),
        ({"dropout": np.zeros(3), **TWO_LAYERS}, 3, 2),
    ],
    ids=case,
)
def test_list_of_another_length_than_the_hidden_layers_raises(parameters, n_given, n_hidden):
    name = next(iter(parameters))
    words = f"'{name}' parameter is a list of {n_given}.* {n_hidden} *hidden *layers"
    for target in ("multiclass", "one output"):
        message = fail_unfitted_and_fitted(target, parameters, match=words)
        assert "one for each hidden layer" in message


@pytest.mark.parametrize(
    "activation",
    [["swish"], ["ReLU"], [None], [3], ["softmax"], [["relu"]]],
    ids=case,
)
def test_list_with_an_unknown_activation_raises(activation):
    words = f"'activation' parameter holds {activation[0]!r}"
    message = fail_unfitted_and_fitted(
        "multiclass", {"activation": activation}, match=words.replace("[", r"\[")
    )
    for name in ("'identity'", "'relu'", "'mish'", "torch.nn.Module"):
        assert name in message


@pytest.mark.parametrize(
    "activation",
    [
        lambda: 3,
        lambda: None,
        lambda: torch.nn.ReLU,
        lambda: torch.relu,
        dict,
        [lambda: "relu"],
        # Callables that cannot be called so: a module where a class is due, a function of tensors.
        torch.nn.ReLU(),
        torch.relu,
        lambda x: x,
        torch.nn.Threshold,
        [torch.nn.GELU()],
    ],
    ids=lambda activation: repr(activation).partition(" at ")[0],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callable_that_makes_no_module_raises(activation, solver):
    message = fail_unfitted_and_fitted(
        "multiclass",
        {"activation": activation, "solver": solver},
        match="'activation' parameter",
    )
    assert "torch.nn.Module" in message


RATES = ["half", "0.5", None, True, -0.1, 1, 1.0, 1.5, np.nan, np.inf, 0.5 + 0j]


@pytest.mark.parametrize("rate", RATES, ids=case)
def test_dropout_that_is_no_share_raises(rate):
    for name in ("dropout", "input_dropout"):
        message = fail_unfitted_and_fitted(
            "multiclass", {name: rate}, match=f"'{name}' parameter", error=InvalidParameterError
        )
        assert "[0.0, 1.0)" in message


@pytest.mark.parametrize("rate", RATES + [False, [0.1], (), "a"], ids=case)
def test_list_with_a_dropout_that_is_no_share_raises(rate):
    message = fail_unfitted_and_fitted(
        "one output", {"dropout": [0.2, rate], **TWO_LAYERS}, match="'dropout' parameter"
    )
    assert "[0, 1)" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("dropout", v) for v in ({0: 0.5}, {0.5}, {0.5: 0}, {"hidden": 0.5}, np.array(0.5))),
        *(("activation", v) for v in ({"tanh": 1}, {"tanh"}, {0: "tanh"}, np.array("tanh"))),
        *(("quantile", v) for v in ({0.1, 0.9}, {0.1: 1, 0.9: 2}, np.array(0.5))),
    ],
    ids=case,
)
def test_collection_without_an_order_raises(name, value):
    # A dict has a length too, and its keys would be taken for the values.
    fail_unfitted_and_fitted("one output", {name: value}, match=f"'{name}' parameter")


@pytest.mark.parametrize("normalization", ["group", "Batch", True, torch.nn.LayerNorm, 1], ids=case)
def test_unknown_normalization_raises(normalization):
    message = fail_unfitted_and_fitted(
        "multiclass",
        {"normalization": normalization},
        match="'normalization' parameter",
        error=InvalidParameterError,
    )
    assert "'batch'" in message
    assert "'layer'" in message


# --- losses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quantile",
    [
        *([], (), [0.5, 0.5], [0.9, 0.1], [0.1, 0.9, 0.5], [0.0, 0.5], [0.5, 1.0]),
        *([0], [1], [-0.1, 0.5], [0.5, np.nan], ["half"], [None], [[0.1, 0.9]], [True]),
        *(0, 0.0, 1, 1.0, -0.1, 1.5, np.nan, None, "median", "0.5", True, False, 0.5j),
    ],
    ids=case,
)
@pytest.mark.parametrize("loss", ["quantile", "squared_error"])
def test_quantile_that_is_no_level_or_no_increasing_list_raises(quantile, loss):
    message = fail_unfitted_and_fitted(
        "one output", {"loss": loss, "quantile": quantile}, match="'quantile' parameter"
    )
    assert "(0, 1)" in message.replace("0.0", "0").replace("1.0", "1")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("levels", [[0.5], [0.1, 0.9]], ids=case)
def test_list_of_levels_with_two_columns_raises(levels, solver):
    X, y = TARGETS["two outputs"]
    parameters = {"loss": "quantile", "quantile": levels, "solver": solver}
    message = fail_unfitted_and_fitted(
        "one output", parameters, X, y, match="'quantile' parameter is a list"
    )
    assert "MultiOutputRegressor" in message
    fail(network("two outputs").fit(X, y).set_params(**parameters), X, y, match="'quantile'")


@pytest.mark.parametrize(
    ("target", "name", "value", "allowed"),
    [
        *(("one output", "huber_delta", v, "(0.0, inf)") for v in (0, -1.0, np.nan, None, "a")),
        *(("multiclass", "focal_gamma", v, "[0.0, inf)") for v in (-1, np.nan, None, "a")),
        *(("multiclass", "label_smoothing", v, "[0.0, 1.0)") for v in (1, 1.0, -0.1, None, "a")),
        *(("multiclass", "label_smoothing", v, "[0.0, 1.0)") for v in (True, np.nan, [0.1])),
        *(("multiclass", "loss", v, "'focal'") for v in ("hinge", "squared_error", None, 1)),
        *(("one output", "loss", v, "'gamma'") for v in ("pinball", "log_loss", None, 1)),
    ],
    ids=case,
)
def test_parameter_of_a_loss_out_of_its_range_raises(target, name, value, allowed):
    message = fail_unfitted_and_fitted(
        target, {name: value}, match=f"'{name}' parameter", error=InvalidParameterError
    )
    assert allowed in message


WRONG_RESULTS = {
    "a loss of each value": (lambda raw, y: (raw - y).square(), r"tensor of shape \(\d+, 1\)"),
    "the mean": (lambda raw, y: (raw - y).square().mean(), r"tensor of shape \(\)"),
    "of other rows": (lambda raw, y: (raw - y).square().sum(1)[:-1], r"tensor of shape \(\d+,\)"),
    "a number": (lambda raw, y: 3.0, "float"),
    "nothing": (lambda raw, y: None, "NoneType"),
    "a list": (lambda raw, y: [0.0] * len(y), "list"),
    "an array": (lambda raw, y: (raw - y).detach().numpy()[:, 0], "ndarray"),
}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", list(WRONG_RESULTS))
@pytest.mark.parametrize("target", ["binary", "one output"])
def test_callable_loss_that_returns_something_else_than_a_loss_of_each_row_raises(
    target, kind, solver
):
    X, y = TARGETS[target]
    loss, given = WRONG_RESULTS[kind]
    for estimator in (network(target), network(target).fit(X, y)):
        estimator.set_params(loss=loss, solver=solver)
        words = f"'loss' parameter is a callable that returned .*({given})"
        message = fail(estimator, X, y, match=words)
        assert "(n_samples,)" in message
        assert "torch tensor" in message


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    "loss",
    [
        lambda raw, y: (raw - y).detach().square().sum(1),
        lambda raw, y: torch.zeros(len(y), dtype=raw.dtype),
        lambda raw, y: torch.from_numpy(((raw - y).detach().numpy() ** 2).sum(1)),
    ],
)
def test_callable_loss_without_a_derivative_raises(loss, solver):
    X, y = TARGETS["one output"]
    for estimator in (network("one output"), network("one output").fit(X, y)):
        estimator.set_params(loss=loss, solver=solver)
        fail(estimator, X, y, match="'loss' parameter .* cannot be differentiated")


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    ("loss", "worst", "allowed"),
    [("gamma", 0.0, "y > 0"), ("gamma", -0.25, "y > 0"), ("poisson", -0.25, "y >= 0")],
)
def test_target_outside_of_the_domain_of_a_loss_raises(loss, worst, allowed, solver):
    X, y = TARGETS["one output"]
    y = y.copy()
    y[7] = worst
    parameters = {"loss": loss, "solver": solver}
    words = f"loss '{loss}': the smallest is {worst}"
    message = fail_unfitted_and_fitted("one output", parameters, X, y, match=words)
    assert allowed in message
    if solver != "lbfgs":
        fitted = network("one output", **parameters).fit(X, np.abs(y) + 1)
        fail(fitted, X, y, match=words, call="partial_fit")


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("loss", "worst", "allowed"),
    [("gamma", 0.0, "y_val > 0"), ("gamma", -3.0, "y_val > 0"), ("poisson", -0.25, "y_val >= 0")],
)
def test_validation_target_outside_of_the_domain_of_a_loss_names_y_val(
    loss, worst, allowed, early_stopping
):
    X, y = TARGETS["one output"]
    bad = y.copy()
    bad[7] = worst
    message = fail_unfitted_and_fitted(
        "one output",
        {"loss": loss, "early_stopping": early_stopping},
        X_val=X,
        y_val=bad,
        match=f"y_val.*loss '{loss}': the smallest is {worst}",
    )
    assert allowed in message


# --- schedules, clipping, callbacks, scoring --------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: 3,
        lambda optimizer: None,
        lambda optimizer: optimizer,
        lambda optimizer: lr_scheduler.StepLR,
        lambda optimizer: lambda epoch: 0.1,
        # Callables that cannot be called with an optimizer alone.
        lr_scheduler.StepLR,
        lambda: None,
        partial(lr_scheduler.StepLR, size=10),
    ],
    ids=lambda make: repr(make).partition(" at ")[0],
)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_callable_that_makes_no_scheduler_raises(make, solver):
    message = fail_unfitted_and_fitted(
        "one output",
        {"learning_rate": make, "solver": solver},
        match="'learning_rate' parameter is a callable",
    )
    assert "torch.optim.lr_scheduler" in message


@pytest.mark.parametrize("learning_rate", ["linear", "Cosine", None, 0.1, ["cosine"]], ids=case)
def test_unknown_schedule_raises(learning_rate):
    message = fail_unfitted_and_fitted(
        "one output",
        {"learning_rate": learning_rate},
        match="'learning_rate' parameter",
        error=InvalidParameterError,
    )
    assert "'one_cycle'" in message
    assert "callable" in message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(("warmup_fraction", v, "[0.0, 1.0)") for v in (-0.1, 1, 1.0, 5, None, "a", np.nan)),
        *(("max_grad_norm", v, "(0.0, inf)") for v in (0, 0.0, -1.0, "a", np.nan, [1.0])),
    ],
    ids=case,
)
def test_parameter_of_the_steps_out_of_its_range_raises(name, value, allowed):
    message = fail_unfitted_and_fitted(
        "multiclass", {name: value}, match=f"'{name}' parameter", error=InvalidParameterError
    )
    assert allowed in message


def test_warm_up_before_a_schedule_that_has_its_own_raises():
    message = fail_unfitted_and_fitted(
        "multiclass",
        {"learning_rate": "one_cycle", "warmup_fraction": 0.1},
        match="'warmup_fraction' parameter is 0.1.*one_cycle",
    )
    assert "warmup_fraction=0" in message


@pytest.mark.parametrize(
    "callbacks",
    [[3], ["timer"], [None], [print], [("timer", 3)], [(3, EpochTimer())], [dict], [EpochTimer, 3]],
    ids=case,
)
def test_list_with_something_that_is_no_callback_raises(callbacks):
    message = fail_unfitted_and_fitted(
        "multiclass",
        {"callbacks": callbacks},
        match="'callbacks' parameter holds",
        error=(TypeError, ValueError),
    )
    assert "skorch callbacks" in message


@pytest.mark.parametrize("callbacks", [EpochTimer(), EpochTimer, "timer", 3, {"a": 1}], ids=case)
def test_callbacks_that_are_no_list_raise(callbacks):
    message = fail_unfitted_and_fitted(
        "multiclass",
        {"callbacks": callbacks},
        match="'callbacks' parameter",
        error=InvalidParameterError,
    )
    assert "list" in message


@pytest.mark.parametrize("scoring", ["exactness", 3, ["accuracy"], {"a": "accuracy"}], ids=case)
def test_unknown_scoring_raises_also_where_nothing_is_scored(scoring):
    message = fail_unfitted_and_fitted(
        "multiclass",
        {"scoring": scoring},
        match="'scoring' parameter",
        error=InvalidParameterError,
    )
    assert "'balanced_accuracy'" in message
    assert "'loss'" in message
    assert "callable" in message


# --- L-BFGS -----------------------------------------------------------------------------------

STOCHASTIC_ONLY = [
    ("dropout", 0.1),
    ("dropout", [0.1]),
    ("input_dropout", 0.1),
    ("normalization", "batch"),
    ("learning_rate", "cosine"),
    ("learning_rate", "one_cycle"),
    ("learning_rate", partial(lr_scheduler.StepLR, step_size=10)),
    ("warmup_fraction", 0.1),
    ("max_grad_norm", 1.0),
    ("scoring", "loss"),
    ("scoring", "r2"),
    ("scoring", lambda estimator, X, y: 0.0),
    ("callbacks", [EpochTimer()]),
    ("callbacks", (EpochTimer,)),
]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("name", "value"), STOCHASTIC_ONLY, ids=case)
def test_stochastic_addition_with_lbfgs_raises(name, value, early_stopping):
    parameters = {name: value, "early_stopping": early_stopping}
    for target in ("multiclass", "one output"):
        message = fail_unfitted_and_fitted(
            target, {"solver": "lbfgs", **parameters}, match=f"'{name}' parameter is .*lbfgs"
        )
        assert repr(value) in message
        assert "'adam'" in message
        network(target, **parameters).fit(*TARGETS[target])  # not with another solver


@pytest.mark.parametrize(
    "part", [nn.Dropout, nn.AlphaDropout, nn.RReLU, partial(nn.BatchNorm1d, 8)], ids=case
)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_activation_that_changes_between_evaluations_with_lbfgs_raises(target, part):
    def activation():
        return nn.Sequential(nn.Tanh(), nn.Sequential(part()))

    message = fail_unfitted_and_fitted(
        target,
        {"solver": "lbfgs", "activation": activation, "hidden_layer_sizes": (8,)},
        match="'activation' parameter.*lbfgs",
    )
    assert type(part()).__name__ in message
    network(target, activation=activation, hidden_layer_sizes=(8,)).fit(*TARGETS[target])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_validation_rows_with_lbfgs_raise(target, early_stopping):
    X, y = TARGETS[target]
    message = fail_unfitted_and_fitted(
        target,
        {"solver": "lbfgs", "early_stopping": early_stopping},
        X_val=X,
        y_val=y,
        match="X_val.*lbfgs",
    )
    assert "stochastic" in message


@pytest.mark.parametrize(
    "parameters",
    [
        {"dropout": 0.0},
        {"dropout": [0]},
        {"input_dropout": 0},
        {"warmup_fraction": 0},
        {"callbacks": []},
        {"callbacks": ()},
        {"learning_rate": "adaptive"},
        {"learning_rate": "invscaling"},
        {"early_stopping": True},
    ],
    ids=case,
)
def test_addition_that_is_switched_off_does_nothing_to_lbfgs(parameters):
    X, y = TARGETS["multiclass"]
    plain = network("multiclass", solver="lbfgs").fit(X, y)
    assert_bit_equal(network("multiclass", solver="lbfgs", **parameters).fit(X, y), plain)


def test_layer_normalization_works_with_lbfgs():
    X, y = TARGETS["one output"]
    model = network("one output", solver="lbfgs", normalization="layer", alpha=0.5, max_iter=50)
    model.set_params(activation="tanh").fit(X, y)
    state = model.module_state_
    scale, shift = state["normalization0.weight"], state["normalization0.bias"]
    assert np.abs(scale - 1).max() > 0.01  # they are learned
    assert np.abs(shift).max() > 0.01
    z = X @ model.coefs_[0] + model.intercepts_[0]
    z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
    raw = np.tanh(z * scale + shift) @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(model.predict(X), raw[:, 0], rtol=1e-9, atol=1e-12)
    penalty = sum((coef**2).sum() for coef in model.coefs_) * 0.5 / len(X)
    loss = (((y - raw[:, 0]) ** 2).mean() + penalty) / 2
    assert model.loss_ == pytest.approx(loss, rel=1e-9)
    first = network("one output", solver="lbfgs", normalization="layer", alpha=0.5, max_iter=1)
    assert model.loss_ < 0.5 * first.set_params(activation="tanh").fit(X, y).loss_


# --- validation data --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("X_val",), "X_val is provided.*y_val was not"),
        (("X_val", "sample_weight_val"), "X_val is provided.*y_val was not"),
        (("y_val",), "y_val is provided.*X_val was not"),
        (("y_val", "sample_weight_val"), "y_val is provided.*X_val was not"),
        (("sample_weight_val",), "sample_weight_val is provided.*X_val.*not"),
    ],
    ids=case,
)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_part_of_the_validation_data_raises(target, early_stopping, given, words):
    X, y = TARGETS[target]
    everything = {"X_val": X, "y_val": y, "sample_weight_val": np.ones(len(X))}
    fail_unfitted_and_fitted(
        target,
        {"early_stopping": early_stopping},
        match=words,
        **{name: everything[name] for name in given},
    )


def spoiled(X, value):
    X = X.copy()
    X[5, 2] = value
    return X


BAD_ROWS = {
    "NaN": lambda X: spoiled(X, np.nan),
    "infinity": lambda X: spoiled(X, np.inf),
    "sparse NaN": lambda X: scipy.sparse.csr_matrix(spoiled(X, np.nan)),
    "fewer columns": lambda X: X[:, :-1],
    "more columns": lambda X: np.c_[X, X],
    "one dimension": lambda X: X[:, 0],
    "three dimensions": lambda X: X[:, :, None],
    "no rows": lambda X: X[:0],
    "words": lambda X: np.full(X.shape, "word"),
    "objects": lambda X: np.full(X.shape, {}, dtype=object),
    "None": lambda X: spoiled(X.astype(object), None),
    "complex": lambda X: X + 1j,
    "one row too few": lambda X: X[:-1],
    "ragged": lambda X: [[1.0, 2.0], [1.0]] * (len(X) // 2),
    "frame with pd.NA": lambda X: pd.DataFrame(X.round()).astype("Int64").mask(X > X.mean()),
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", list(BAD_ROWS))
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_bad_validation_rows_raise_an_error_that_names_them(target, kind, early_stopping):
    X, y = TARGETS[target]
    fail_unfitted_and_fitted(
        target,
        {"early_stopping": early_stopping},
        X_val=BAD_ROWS[kind](X),
        y_val=y,
        match="X_val",
        error=(ValueError, TypeError),
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_validation_rows_too_large_for_float32_raise():
    X, y = TARGETS["one output"]
    fail_unfitted_and_fitted(
        "one output",
        {"dtype": "float32"},
        X_val=spoiled(X, 1e39),
        y_val=y,
        match="X_val.*infinity.*float32",
    )
    large = y.copy()
    large[4] = 1e39
    fail_unfitted_and_fitted(
        "one output", {"dtype": "float32"}, X_val=X, y_val=large, match="y_val.*float32"
    )


def replaced(y, value, dtype=object):
    y = y.astype(dtype)
    y[3] = value
    return y


BAD_TARGETS = {
    "multiclass": {
        "continuous": lambda y: y + 0.5,
        "NaN": lambda y: replaced(y, np.nan, float),
        "infinity": lambda y: replaced(y, np.inf, float),
        "a label never seen": lambda y: y + 1,
        "strings of the numbers": lambda y: y.astype(str),
        "words": lambda y: np.array(["ash", "birch", "cedar"])[y],
        "mixed": lambda y: np.array([*y[:-1], "word"], dtype=object),
        "objects with None": lambda y: replaced(y, None),
        "one too few": lambda y: y[:-1],
        "one too many": lambda y: np.r_[y, 0],
        "one-hot": lambda y: np.eye(3, dtype=int)[y],
        "two columns": lambda y: np.c_[y, y],
        "three dimensions": lambda y: np.zeros((len(y), 2, 2)),
        "no dimension": lambda y: 3,
        "complex": lambda y: y + 1j,
        "empty": lambda y: y[:0],
    },
    "binary": {
        "a label never seen": lambda y: y + 1,
        "multilabel": lambda y: np.c_[y, 1 - y],
        "strings of the numbers": lambda y: y.astype(str),
    },
    "multilabel": {
        "fewer columns": lambda y: y[:, :-1],
        "more columns": lambda y: np.c_[y, y],
        "classes": lambda y: np.arange(len(y)) % 4,
        "numbers of labels": lambda y: y.sum(1),
        "column": lambda y: y[:, :1],
        "continuous": lambda y: y + 0.5,
        "strings": lambda y: y.astype(str),
    },
    "one output": {
        "NaN": lambda y: replaced(y, np.nan, float),
        "infinity": lambda y: replaced(y, np.inf, float),
        "strings": lambda y: np.full(len(y), "word"),
        "strings of numbers": lambda y: y.astype(str),
        "word objects": lambda y: np.full(len(y), "word", dtype=object),
        "objects with None": lambda y: replaced(y, None),
        "complex": lambda y: y + 1j,
        "one too few": lambda y: y[:-1],
        "one too many": lambda y: np.r_[y, 0],
        "two columns": lambda y: np.c_[y, y],
        "three dimensions": lambda y: np.zeros((len(y), 2, 2)),
        "no dimension": lambda y: 3.0,
        "empty": lambda y: y[:0],
        "sparse": lambda y: scipy.sparse.csr_matrix(y[:, None]),
    },
    "two outputs": {
        "one column": lambda y: y[:, 0],
        "three columns": lambda y: np.c_[y, y[:, 0]],
    },
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("target", "kind"), [(target, kind) for target, table in BAD_TARGETS.items() for kind in table]
)
def test_bad_validation_targets_raise_an_error_that_names_them(target, kind, early_stopping):
    X, y = TARGETS[target]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fail_unfitted_and_fitted(
            target,
            {"early_stopping": early_stopping},
            X_val=X,
            y_val=BAD_TARGETS[target][kind](y),
            match="y_val",
        )


def test_label_never_seen_is_named_with_those_that_are_known():
    X, y = TARGETS["multiclass"]
    names = np.array(["ash", "birch", "cedar"])
    labels = names[y].astype(object)
    labels[:2] = "dogwood"
    message = fail(
        network("multiclass"), X, names[y], X_val=X, y_val=labels, match="y_val.*'dogwood'"
    )
    assert "'ash' 'birch' 'cedar'" in message


@pytest.mark.parametrize(
    ("labels", "given"),
    [(lambda y: y.astype(str), lambda y: y), (lambda y: y > 0, lambda y: y.astype(str))],
)
def test_numbers_for_strings_raise(labels, given):
    X, y = TARGETS["binary"]
    fail(network("binary"), X, labels(y), X_val=X, y_val=given(y), match="y_val")


BAD_WEIGHTS = {
    "NaN": lambda n: np.where(np.arange(n) == 3, np.nan, 1.0),
    "infinity": lambda n: np.where(np.arange(n) == 3, np.inf, 1.0),
    "zeros": np.zeros,
    "zero": lambda n: 0.0,
    "that cancel": lambda n: np.r_[np.zeros(n - 2), 1.0, -1.0],
    "one too few": lambda n: np.ones(n - 1),
    "one too many": lambda n: np.ones(n + 1),
    "two dimensions": lambda n: np.ones((n, 2)),
    "words": lambda n: np.full(n, "heavy"),
    "complex": lambda n: np.full(n, 1j),
    "empty": lambda n: np.ones(0),
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", list(BAD_WEIGHTS))
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_bad_validation_weights_raise_an_error_that_names_them(target, kind, early_stopping):
    X, y = TARGETS[target]
    fail_unfitted_and_fitted(
        target,
        {"early_stopping": early_stopping},
        X_val=X,
        y_val=y,
        sample_weight_val=BAD_WEIGHTS[kind](len(X)),
        match="sample_weight_val",
        error=(ValueError, TypeError),
    )


def test_error_of_the_rows_learned_from_does_not_speak_of_validation_rows():
    X, y = TARGETS["one output"]
    good = {"X_val": X, "y_val": y, "sample_weight_val": np.ones(len(X))}
    estimator = network("one output")
    for call in (
        lambda: estimator.fit(spoiled(X, np.nan), y, **good),
        lambda: estimator.fit(X, replaced(y, np.nan, float), **good),
        lambda: estimator.fit(X, y, np.ones(3), **good),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert "_val" not in str(caught.value)


def test_nothing_is_wrong_with_good_additions():
    # The other side of all of the above: neither an error nor a warning.
    X, y = TARGETS["multiclass"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        network(
            "multiclass",
            hidden_layer_sizes=(6, 5),
            activation=["gelu", torch.nn.PReLU],
            dropout=[0.1, 0.2],
            input_dropout=0.1,
            normalization="batch",
            learning_rate="cosine",
            warmup_fraction=0.2,
            max_grad_norm=1.0,
            scoring="balanced_accuracy",
            early_stopping=True,
            callbacks=[EpochTimer],
            class_weight="balanced",
            loss="focal",
            label_smoothing=0.1,
        ).fit(X, y, X_val=X[::2], y_val=y[::2], sample_weight_val=np.ones(75)).predict(X)
