"""Bad parameters and absent devices raise an error before any training and change nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from bad_input import KINDS, SMALL, classes_for, fail, fitted_for, ours_for, pair
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from sknn import FeedForwardClassifier, FeedForwardRegressor, PeriodicEmbedding

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- parameters -------------------------------------------------------------------------------

OUT_OF_RANGE = {
    "hidden_layer_sizes": [0, -1, 2.5, "wide", None],
    "activation": ["hardswish", "ReLU", None, 1],
    "solver": ["newton", "Adam", None],
    "alpha": [-1e-3, "strong", None, [0.1]],
    "batch_size": [0, -1, 2.5, "all", None],
    "learning_rate": ["linear", None, 0.1],
    "learning_rate_init": [0, 0.0, -1.0, "fast", None],
    "power_t": [-0.5, "root", None],
    "max_iter": [0, -5, 2.5, "many", None],
    "shuffle": [2, "yes", None],
    "random_state": [-1, 2**32, "seed", 1.5],
    "tol": [-1e-9, "loose", None],
    "verbose": [-1, "loud", None],
    "warm_start": [2, "yes", None],
    "momentum": [-0.1, 1.1, "some", None],
    "nesterovs_momentum": [2, "yes", None],
    "early_stopping": [2, "yes", None],
    "validation_fraction": [-0.1, 1, 1.0, 1.5, "half", None],
    "beta_1": [-0.1, 1, 1.0, "most", None],
    "beta_2": [-0.1, 1, 1.0, "most", None],
    "epsilon": [0, 0.0, -1e-8, "small", None],
    "n_iter_no_change": [0, -1, 2.5, "few", None],
    "max_fun": [0, -1, 2.5, "many", None],
    "loss": ["hinge", None, 1],
    "dropout": [-0.1, 1, 1.0, "half", None],
    "input_dropout": [-0.1, 1, 1.0, "half", None, [0.1]],
    "normalization": ["group", 1, True],
    "warmup_fraction": [-0.1, 1, 1.0, "half", None],
    "max_grad_norm": [0, 0.0, -1.0, "large"],
    "scoring": ["good", 1, ["accuracy"]],
    "callbacks": ["timer", 1, {"a": 1}],
    "dtype": ["float16", "double", None, np.float32],
    "device": [None, 0, 1.5],
    "process_group": ["everyone", 2, ["world"], True],
    "checkpoint_dir": [0, 1.5, ["here"]],
    "checkpoint_every": [0, -1, 2.5, "often", None],
    "n_members": [0, -1, 2.5, "several", None],
    "numeric_embedding": ["linear", 1, True, PeriodicEmbedding],
    "input_scaling": [2, "yes", None],
    "initialization": ["zeros", 1, True],
    "regularization_schedule": ["linear", 1, True],
    "target_scaling": ["minmax", 1, True],
    "focal_gamma": [-1.0, "strong", None],
    "label_smoothing": [-0.1, 1, 1.0, "half", None],
    "class_weight": ["auto", 1.0, 2],
    "huber_delta": [0, 0.0, -1.0, "wide", None],
    "quantile": [0, 0.0, 1, 1.5, "median", None],
}
# scikit-learn has these parameters too, with fewer options.
WIDER = {"activation", "solver", "batch_size", "learning_rate", "loss"}
OF_ONE_KIND = {
    "focal_gamma": "multiclass",
    "label_smoothing": "multiclass",
    "class_weight": "multiclass",
    "huber_delta": "one output",
    "quantile": "one output",
    "target_scaling": "one output",
}


def parameters_of_targets():
    """Return each parameter with each kind of estimator that has it. One of these is quick."""
    for i, name in enumerate(OUT_OF_RANGE):
        kinds = [t for t in KINDS if OF_ONE_KIND.get(name, t) == t]
        for j, target in enumerate(kinds):
            is_long = (i - j) % len(kinds) != 0
            yield pytest.param(target, name, marks=[pytest.mark.long] * is_long)


each_parameter = pytest.mark.parametrize(("target", "name"), list(parameters_of_targets()))


def test_table_of_bad_values_names_every_parameter():
    for target in KINDS:
        assert set(ours_for(target).get_params()) <= set(OUT_OF_RANGE)


@each_parameter
def test_parameter_out_of_its_range_raises_scikit_learns_error(target, name, no_training):
    X, y = TARGETS[target]
    theirs, ours = KINDS[target]

    def options_sorted(text):
        # A message lists the options in the order of a set, which is arbitrary.
        head, _, tail = (
            text.replace(ours.__name__, "E").replace(theirs.__name__, "E").partition("{")
        )
        options, _, rest = tail.partition("}")
        return head, sorted(options.split(", ")), rest

    for value in OUT_OF_RANGE[name]:
        estimator = ours(**SMALL | {name: value})
        message = fail(
            estimator, "fit", X, y, error=InvalidParameterError, match=f"'{name}' parameter"
        )
        assert repr(value).replace("sknn._input._periodic_embedding.", "sknn.") in message
        if hasattr(estimator, "partial_fit"):
            again = fail(
                estimator, "partial_fit", X, y, error=InvalidParameterError, **classes_for(target)
            )
            assert again == message.replace(".fit", ".partial_fit")
        if name not in theirs().get_params():
            continue
        with pytest.raises(InvalidParameterError) as caught:
            theirs(**SMALL | {name: value}).fit(X, y)
        message = message.partition(" Did you mean ")[0]
        for added in ("progress", "by_rows", "waves"):
            message = message.replace(f" or a str among {{'{added}'}}", "")
        mine, expected = options_sorted(message), options_sorted(str(caught.value))
        if name in WIDER:
            assert mine[0] == expected[0]
            assert set(expected[1]) <= set(mine[1])
        else:
            assert mine == expected


@each_parameter
def test_parameter_out_of_its_range_leaves_a_fitted_model(target, name):
    X, y = TARGETS[target]
    for value in OUT_OF_RANGE[name][:2]:
        estimator = fitted_for(target, **{name: value})
        fail(estimator, "fit", X, y, error=InvalidParameterError, match=name)


@each_parameter
def test_parameter_out_of_its_range_is_taken_by_init(target, name):
    # By scikit-learn's rule, a constructor checks nothing.
    for value in OUT_OF_RANGE[name]:
        assert getattr(ours_for(target, **{name: value}), name) is value


def test_float_that_is_not_finite_is_refused_as_in_scikit_learn():
    X, y = TARGETS["multiclass"]
    names = ["alpha", "learning_rate_init", "tol", "momentum", "beta_1", "epsilon", "power_t"]
    for name in names:
        for value in (np.nan, np.inf, -np.inf):
            raised = []
            for estimator in pair("multiclass", **{name: value}):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        estimator.fit(X, y)
                except ValueError as error:
                    raised.append(isinstance(error, InvalidParameterError))
                else:
                    raised.append(None)
            assert raised[0] == raised[1], (name, value)


@pytest.mark.parametrize("target", list(KINDS))
@pytest.mark.parametrize(
    "sizes", [(0,), (5, 0), (-1,), (5, -2, 3), [0], np.array([3, 0]), np.array([-1])], ids=str
)
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_hidden_layer_of_no_units_raises_scikit_learns_error(target, sizes, call, no_training):
    X, y = TARGETS[target]
    theirs, ours = pair(target, hidden_layer_sizes=sizes)
    message = fail(ours, call, X, y, match="hidden_layer_sizes", **classes_for(target, call))
    with pytest.raises(ValueError) as caught:
        getattr(theirs, call)(X, y, **classes_for(target, call))
    assert message == str(caught.value)


@pytest.mark.parametrize("target", list(KINDS))
@pytest.mark.parametrize(
    "sizes",
    [
        (2.5,),
        (5.0,),
        (np.inf,),
        (np.nan,),
        ("5",),
        (None,),
        (True,),
        (5, False),
        True,
        np.array([2.0, 3.0]),
        np.array([True]),
        [[5, 5]],
        {"units": 3},
        (5 + 0j,),
    ],
    ids=str,
)
def test_hidden_layer_of_something_else_than_a_whole_number_of_units_raises(
    target, sizes, no_training
):
    X, y = TARGETS[target]
    fail(ours_for(target, hidden_layer_sizes=sizes), "fit", X, y, match="hidden_layer_sizes")


@pytest.mark.parametrize(
    "sizes",
    [
        np.int32(4),
        np.array([4]),
        [np.int64(4)],
        (4,),
        [4],
        np.array([4], dtype=np.uint8),
        range(4, 5),
    ],
    ids=repr,
)
def test_hidden_layer_sizes_of_any_integer_type_equal_a_plain_tuple(sizes):
    X, y = TARGETS["multiclass"]
    expected = ours_for("multiclass", hidden_layer_sizes=(4,)).fit(X, y)
    actual = ours_for("multiclass", hidden_layer_sizes=sizes).fit(X, y)
    assert_array_equal(actual.coefs_[0], expected.coefs_[0])


def test_unknown_parameter_is_refused_by_init():
    for kind in (FeedForwardClassifier, FeedForwardRegressor):
        with pytest.raises(TypeError, match="hidden_units"):
            kind(hidden_units=3)
        with pytest.raises(ValueError, match="Invalid parameter 'hidden_units'"):
            kind().set_params(hidden_units=3)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", list(KINDS))
def test_batch_larger_than_the_data_warns_in_scikit_learns_words(target, solver):
    X, y = TARGETS[target]
    messages = []
    for estimator in pair(target, batch_size=len(X) + 1, solver=solver):
        with pytest.warns(UserWarning, match="batch_size") as caught:
            estimator.fit(X, y)
        messages.append([(str(w.message), w.category) for w in caught if "batch" in str(w.message)])
    assert messages[0] == messages[1]
    clipped = ours_for(target, batch_size=len(X), solver=solver).fit(X, y)
    assert_array_equal(estimator.coefs_[0], clipped.coefs_[0])


def test_batch_larger_than_the_training_part_warns_with_early_stopping():
    X, y = TARGETS["multiclass"]
    for estimator in pair("multiclass", batch_size=140, early_stopping=True):
        with pytest.warns(UserWarning, match="It is going to be clipped"):
            estimator.fit(X, y)


def test_batch_size_of_true_is_one_row():
    X, y = TARGETS["multiclass"]
    true, one = (ours_for("multiclass", batch_size=b).fit(X[:40], y[:40]) for b in (True, 1))
    assert_bit_equal(true, one)


def test_batch_larger_than_the_data_does_not_warn_with_lbfgs():
    X, y = TARGETS["multiclass"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours_for("multiclass", batch_size=1000, solver="lbfgs").fit(X, y)


@pytest.mark.parametrize("target", list(KINDS))
@pytest.mark.parametrize(
    ("n_rows", "fraction"), [(10, 0.05), (10, 0.1), (8, 0.01), (4, 0.25), (9, 0.11)]
)
def test_validation_part_too_small_raises_scikit_learns_error(
    target, n_rows, fraction, no_training
):
    X, y = (a[:: len(a) // n_rows][:n_rows] for a in TARGETS[target])
    theirs, ours = pair(target, early_stopping=True, validation_fraction=fraction)
    with pytest.raises(ValueError) as caught:
        theirs.fit(X, y)
    message = fail(ours, "fit", X, y)
    assert message.startswith(str(caught.value))


@pytest.mark.parametrize("target", list(KINDS))
def test_validation_part_of_nothing_raises_scikit_learns_error(target, no_training):
    X, y = TARGETS[target]
    theirs, ours = pair(target, early_stopping=True, validation_fraction=0.0)
    with pytest.raises(ValueError) as caught:
        theirs.fit(X, y)
    assert fail(ours, "fit", X, y) == str(caught.value)


def test_class_of_one_row_raises_scikit_learns_error_with_early_stopping(no_training):
    X, y = TARGETS["binary"]
    y = (np.arange(len(y)) == 3).astype(int)
    theirs, ours = pair("multiclass", early_stopping=True)
    with pytest.raises(ValueError) as caught:
        theirs.fit(X, y)
    assert fail(ours, "fit", X, y) == str(caught.value)


# --- devices ----------------------------------------------------------------------------------


def absent_devices():
    names = ["", "gpu", "nowhere", "cpu:zero", "cuda:", "meta", "cuda:99", "cpu cpu", "CPU"]
    if not torch.cuda.is_available():
        names += ["cuda", "cuda:0"]
    if not torch.backends.mps.is_available():
        names.append("mps")
    if not (hasattr(torch, "xpu") and torch.xpu.is_available()):
        names.append("xpu")
    return names


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("name", absent_devices())
@pytest.mark.parametrize("target", list(KINDS))
def test_absent_device_raises_before_training(target, name, solver, no_training):
    X, y = TARGETS[target]
    estimator = ours_for(target, device=name, solver=solver)
    message = fail(estimator, "fit", X, y, match="'device' parameter")
    assert repr(name) in message
    assert "device='cpu'" in message
    if solver != "lbfgs":
        fail(estimator, "partial_fit", X, y, match="'device'", **classes_for(target))


def test_absent_device_leaves_a_fitted_model():
    X, y = TARGETS["multiclass"]
    estimator = fitted_for("multiclass", device="nowhere")
    fail(estimator, "fit", X, y, match="'nowhere'")
    fail(estimator, "partial_fit", X, y, match="'nowhere'")
    assert estimator.predict(X).shape == y.shape
