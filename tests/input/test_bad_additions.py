"""Bad values of parameters that scikit-learn's MLP lacks raise errors that say what is allowed."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from bad_additions import fail, fail_unfitted_and_fitted, network
from conftest import TARGETS, case
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer, mean_pinball_loss
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import EpochTimer
from torch.optim import lr_scheduler

from sknn import TrainingWarning

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LINEAR = {"hidden_layer_sizes": ()}
TWO_LAYERS = {"hidden_layer_sizes": (6, 5)}


# --- the network ------------------------------------------------------------------------------


@pytest.mark.matrix(5)
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
    words = f"'activation' parameter contains {activation[0]!r}"
    message = fail_unfitted_and_fitted(
        "multiclass", {"activation": activation}, match=words.replace("[", r"\[")
    )
    for name in ("'identity'", "'relu'", "'mish'", "torch.nn.Module"):
        assert name in message


@pytest.mark.matrix
@pytest.mark.parametrize(
    "activation",
    [
        lambda: 3,
        lambda: None,
        lambda: torch.nn.ReLU,
        lambda: torch.relu,
        dict,
        [lambda: "relu"],
        # These callables do not work without arguments, as a class or factory of modules would:
        # modules, functions of tensors, and a class that requires arguments.
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


@pytest.mark.matrix(14)
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


@pytest.mark.matrix
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("learned", "given", "match"),
    [
        ((1, [0.1, 0.9]), (1, [0.1, 0.5, 0.9]), "intercepts_"),
        ((2, [0.1, 0.9]), (2, [0.5]), "intercepts_"),
        ((2, [0.1, 0.9]), (1, [0.1, 0.9]), r"y has 1 column\(s\), .* predicts 2"),
        # The number of outputs is the same in these.
        ((2, [0.1, 0.9]), (1, [0.1, 0.2, 0.5, 0.9]), r"y has 1 column\(s\), .* predicts 2"),
        ((1, [0.1, 0.9]), (2, [0.5]), r"y has 2 column\(s\), .* predicts 1"),
        ((2, 0.5), (1, [0.1, 0.9]), r"y has 1 column\(s\), .* predicts 2"),
    ],
    ids=case,
)
def test_other_levels_or_targets_than_those_learned_raise(learned, given, match, call):
    X, y = TARGETS["two outputs"]
    targets = {1: y[:, 0], 2: y}
    model = network("two outputs", loss="quantile", quantile=learned[1], warm_start=True)
    model.fit(X, targets[learned[0]]).set_params(quantile=given[1])
    message = fail(model, X, targets[given[0]], match=match, call=call)
    assert "warm_start=False" in message


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("target", "levels"),
    [("one output", [0.1, 0.9]), ("two outputs", [0.1, 0.9]), ("two outputs", [0.5])],
    ids=case,
)
@pytest.mark.parametrize(
    "scoring",
    ["r2", "neg_mean_absolute_error", make_scorer(mean_pinball_loss, alpha=0.9)],
    ids=case,
)
def test_metric_of_one_prediction_for_each_target_raises_with_levels(
    scoring, target, levels, early_stopping
):
    parameters = {"loss": "quantile", "quantile": levels, "scoring": scoring}
    parameters["early_stopping"] = early_stopping
    message = fail_unfitted_and_fitted(target, parameters, match="'scoring' parameter")
    for words in (str(levels), "n_levels", "scoring=None", "scoring='loss'", "(estimator, X, y)"):
        assert words in message


@pytest.mark.parametrize(
    "scoring",
    [
        None,
        "loss",
        lambda estimator, X, y: -np.abs(estimator.predict(X)[..., 0] - y).mean(),
        make_scorer(lambda y, prediction: -np.abs(prediction[..., 0] - y).mean()),
    ],
    ids=case,
)
@pytest.mark.parametrize("target", ["one output", "two outputs"])
def test_scores_of_own_functions_are_watched_with_levels(target, scoring):
    X, y = TARGETS[target]
    model = network(target, loss="quantile", quantile=[0.1, 0.9], early_stopping=True)
    model.set_params(scoring=scoring).fit(X, y)
    assert np.isfinite(model.validation_scores_).all()


def test_metric_of_one_prediction_is_watched_with_a_list_of_one_level_and_one_target():
    X, y = TARGETS["one output"]
    model = network("one output", loss="quantile", quantile=[0.5], early_stopping=True)
    model.set_params(scoring="neg_mean_absolute_error").fit(X, y)
    assert np.isfinite(model.validation_scores_).all()


@pytest.mark.matrix(13)
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


@pytest.mark.matrix
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


@pytest.mark.matrix
@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: 3,
        lambda optimizer: None,
        lambda optimizer: optimizer,
        lambda optimizer: lr_scheduler.StepLR,
        lambda optimizer: lambda epoch: 0.1,
        # These callables cannot be called with an optimizer alone.
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


@pytest.mark.matrix(7)
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
        match="'callbacks' parameter contains",
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
    assert "one of sklearn.metrics.get_scorer_names()" in message
    assert "'loss'" in message
    assert "callable" in message


def test_nothing_is_wrong_with_good_additions():
    # In contrast to the tests above, good values give neither an error nor a warning.
    X, y = TARGETS["multiclass"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", TrainingWarning)
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
            n_members=2,
        ).fit(X, y, X_val=X[::2], y_val=y[::2], sample_weight_val=np.ones(75)).predict(X)
