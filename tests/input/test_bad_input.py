"""Bad parameters and data: a clear error before any training, and nothing is changed."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils._param_validation import InvalidParameterError

import sknn._data._batches
import sknn._training._train
from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 3, "random_state": 0}
KINDS = {
    "multiclass": (MLPClassifier, FeedForwardClassifier),
    "one output": (MLPRegressor, FeedForwardRegressor),
}
FLOAT32_MAX = float(np.finfo(np.float32).max)


def pair(target, **parameters):
    """scikit-learn's estimator and ours."""
    return [kind(**SMALL | parameters) for kind in KINDS[target]]


def ours_for(target, **parameters):
    return KINDS[target][1](**SMALL | parameters)


def classes_for(target, call="partial_fit"):
    return {"classes": [0, 1, 2]} if target == "multiclass" and call == "partial_fit" else {}


def snapshot(estimator):
    """Everything that a fit sets, comparable."""
    parameters = estimator.get_params(deep=False)
    return repr({k: v for k, v in vars(estimator).items() if k not in parameters})


def fail(estimator, call, *arguments, error=ValueError, match=None, **more):
    """Assert that a call raises and changes nothing; return the message."""
    before, names = snapshot(estimator), list(vars(estimator))
    coefs = copy.deepcopy(getattr(estimator, "coefs_", None))
    with pytest.raises(error, match=match) as caught:
        getattr(estimator, call)(*arguments, **more)
    assert snapshot(estimator) == before
    assert list(vars(estimator)) == names
    if coefs is not None:
        for actual, expected in zip(estimator.coefs_, coefs, strict=True):
            assert_array_equal(actual, expected)
    return str(caught.value)


@pytest.fixture
def no_training(monkeypatch):
    """Fail if anything is trained."""

    def trained(*args, **kwargs):
        raise AssertionError("training has begun")

    for name in ("_train_stochastic", "train_lbfgs"):
        monkeypatch.setattr(sknn._training._train, name, trained)


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
    "focal_gamma": [-1.0, "strong", None],
    "label_smoothing": [-0.1, 1, 1.0, "half", None],
    "class_weight": ["auto", 1.0, 2],
    "huber_delta": [0, 0.0, -1.0, "wide", None],
    "quantile": [0, 0.0, 1, 1.5, "median", None],
}
# Parameters that scikit-learn has, with fewer options.
WIDER = {"activation", "solver", "learning_rate", "loss"}
OF_ONE_KIND = {
    "focal_gamma": "multiclass",
    "label_smoothing": "multiclass",
    "class_weight": "multiclass",
    "huber_delta": "one output",
    "quantile": "one output",
}


def cases(table):
    for name, values in table.items():
        for value in values:
            for target in KINDS:
                if OF_ONE_KIND.get(name, target) == target:
                    yield pytest.param(target, name, value, id=f"{target}-{name}-{value}")


def test_table_of_bad_values_names_every_parameter():
    for target in KINDS:
        assert set(ours_for(target).get_params()) <= set(OUT_OF_RANGE)


@pytest.mark.parametrize(("target", "name", "value"), list(cases(OUT_OF_RANGE)))
def test_parameter_out_of_its_range_raises_scikit_learns_error(target, name, value, no_training):
    X, y = TARGETS[target]
    theirs, ours = KINDS[target]
    estimator = ours(**SMALL | {name: value})
    message = fail(estimator, "fit", X, y, error=InvalidParameterError, match=f"'{name}' parameter")
    assert repr(value) in message
    if hasattr(estimator, "partial_fit"):
        again = fail(
            estimator, "partial_fit", X, y, error=InvalidParameterError, **classes_for(target)
        )
        assert again == message.replace(".fit", ".partial_fit")
    if name not in theirs().get_params():
        return
    with pytest.raises(InvalidParameterError) as caught:
        theirs(**SMALL | {name: value}).fit(X, y)

    def options_sorted(text):
        # The order of options in a message is that of a set.
        head, _, tail = (
            text.replace(ours.__name__, "E").replace(theirs.__name__, "E").partition("{")
        )
        options, _, rest = tail.partition("}")
        return head, sorted(options.split(", ")), rest

    message = message.replace(" or a str among {'progress'}", "")
    mine, expected = options_sorted(message), options_sorted(str(caught.value))
    if name in WIDER:
        assert mine[0] == expected[0]
        assert set(expected[1]) <= set(mine[1])
    else:
        assert mine == expected


@pytest.mark.parametrize(("target", "name", "value"), list(cases(OUT_OF_RANGE)))
def test_parameter_out_of_its_range_leaves_a_fitted_model(target, name, value):
    X, y = TARGETS[target]
    estimator = ours_for(target).fit(X, y).set_params(**{name: value})
    fail(estimator, "fit", X, y, error=InvalidParameterError, match=name)


@pytest.mark.parametrize(("target", "name", "value"), list(cases(OUT_OF_RANGE)))
def test_parameter_out_of_its_range_is_taken_by_init(target, name, value):
    # scikit-learn's rule: a constructor checks nothing.
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
    estimator = ours_for("multiclass").fit(X, y).set_params(device="nowhere")
    fail(estimator, "fit", X, y, match="'nowhere'")
    fail(estimator, "partial_fit", X, y, match="'nowhere'")
    assert estimator.predict(X).shape == y.shape


# --- rows -------------------------------------------------------------------------------------


def spoiled(X, value):
    X = X.copy()
    X[5, 2] = value
    return X


BAD_ROWS = {
    "NaN": lambda X: spoiled(X, np.nan),
    "infinity": lambda X: spoiled(X, np.inf),
    "minus infinity": lambda X: spoiled(X, -np.inf),
    "float32 NaN": lambda X: spoiled(X, np.nan).astype(np.float32),
    "one dimension": lambda X: X[:, 0],
    "three dimensions": lambda X: X[:, :, None],
    "no dimension": lambda X: np.array(3.0),
    "no rows": lambda X: X[:0],
    "no columns": lambda X: X[:, :0],
    "one row too few": lambda X: X[:-1],
    "strings": lambda X: X.astype(str).astype(object) + np.array("x", dtype=object),
    "words": lambda X: np.full(X.shape, "word"),
    "objects": lambda X: np.full(X.shape, {}, dtype=object),
    "None": lambda X: spoiled(X.astype(object), None),
    "complex": lambda X: X + 1j,
    "sparse NaN": lambda X: scipy.sparse.csr_matrix(spoiled(X, np.nan)),
    "sparse infinity": lambda X: scipy.sparse.csc_matrix(spoiled(X, np.inf)),
    "frame with NaN": lambda X: pd.DataFrame(spoiled(X, np.nan)),
    "frame with words": lambda X: pd.DataFrame(X).assign(word="word"),
    "frame with pd.NA": lambda X: pd.DataFrame(X.round()).astype("Int64").mask(X > X.mean()),
    "ragged": lambda X: [[1.0, 2.0], [1.0]] * 75,
    "text": lambda X: "rows",
    "nothing": lambda X: None,
}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", list(BAD_ROWS))
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_rows_raise_scikit_learns_error(target, kind, solver, no_training):
    X, y = TARGETS[target]
    X = BAD_ROWS[kind](X)
    theirs, ours = pair(target, solver=solver)
    with pytest.raises((ValueError, TypeError)) as caught:
        theirs.fit(X, y)
    message = fail(ours, "fit", X, y, error=type(caught.value))
    assert message == str(caught.value).replace(type(theirs).__name__, type(ours).__name__)
    if solver == "adam":
        fail(ours, "partial_fit", X, y, error=type(caught.value), **classes_for(target))


@pytest.mark.parametrize("kind", list(BAD_ROWS))
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_rows_leave_a_fitted_model(target, kind):
    X, y = TARGETS[target]
    estimator = ours_for(target).fit(X, y)
    for call in ("fit", "partial_fit"):
        fail(estimator, call, BAD_ROWS[kind](X), y, error=(ValueError, TypeError))
    if kind != "one row too few":
        fail(estimator, "predict", BAD_ROWS[kind](X), error=(ValueError, TypeError))


@pytest.mark.parametrize("kind", [kind for kind in BAD_ROWS if kind != "one row too few"])
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_rows_in_predict_raise_scikit_learns_error(target, kind):
    X, y = TARGETS[target]
    theirs, ours = (estimator.fit(X, y) for estimator in pair(target))
    with pytest.raises((ValueError, TypeError)) as caught:
        theirs.predict(BAD_ROWS[kind](X))
    message = fail(ours, "predict", BAD_ROWS[kind](X), error=(ValueError, TypeError))
    assert message == str(caught.value).replace(type(theirs).__name__, type(ours).__name__)


@pytest.mark.parametrize("call", ["predict", "partial_fit", "score"])
@pytest.mark.parametrize("target", list(KINDS))
def test_another_number_of_features_raises_scikit_learns_error(target, call):
    X, y = TARGETS[target]
    messages = []
    for estimator in pair(target):
        estimator.fit(X, y)
        arguments = (X[:, :2],) if call == "predict" else (X[:, :2], y)
        messages.append(
            fail(estimator, call, *arguments) if "sknn" in str(type(estimator)) else None
        )
        if messages[-1] is None:
            with pytest.raises(ValueError) as caught:
                getattr(estimator, call)(*arguments)
            messages[-1] = str(caught.value)
    theirs, ours = KINDS[target]
    assert messages[1] == messages[0].replace(theirs.__name__, ours.__name__)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "score"])
def test_prediction_of_an_unfitted_estimator_raises_not_fitted(method):
    X, y = TARGETS["multiclass"]
    arguments = (X, y) if method == "score" else (X,)
    with pytest.raises(NotFittedError, match="This FeedForwardClassifier instance is not fitted"):
        getattr(FeedForwardClassifier(), method)(*arguments)
    if hasattr(FeedForwardRegressor, method):
        with pytest.raises(NotFittedError, match="This FeedForwardRegressor instance"):
            getattr(FeedForwardRegressor(), method)(*arguments)
    with pytest.raises(NotFittedError):
        FeedForwardClassifier().net_  # noqa: B018


# --- targets ----------------------------------------------------------------------------------

BAD_LABELS = {
    "NaN": lambda y: np.where(np.arange(len(y)) == 3, np.nan, y),
    "infinity": lambda y: np.where(np.arange(len(y)) == 3, np.inf, y),
    "continuous": lambda y: y + 0.5 * np.arange(len(y)),
    "None": lambda y: None,
    "mixed": lambda y: np.array([*y[:-1], "word"], dtype=object),
    "objects with None": lambda y: np.array([*y[:-1], None], dtype=object),
    "multiclass of several outputs": lambda y: np.c_[y, y],
    "three dimensions": lambda y: np.zeros((len(y), 2, 2)),
    "one too few": lambda y: y[:-1],
    "one too many": lambda y: np.r_[y, 0],
    "no dimension": lambda y: 3,
    "complex": lambda y: y + 1j,
    "empty": lambda y: y[:0],
    "boolean objects": lambda y: (y > 0).astype(object),
}
BAD_NUMBERS = {
    "NaN": lambda y: np.where(np.arange(len(y)) == 3, np.nan, y),
    "infinity": lambda y: np.where(np.arange(len(y)) == 3, np.inf, y),
    "word objects": lambda y: np.full(len(y), "word", dtype=object),
    "None": lambda y: None,
    "three dimensions": lambda y: np.zeros((len(y), 2, 2)),
    "one too few": lambda y: y[:-1],
    "one too many": lambda y: np.r_[y, 0],
    "no dimension": lambda y: 3.0,
    "empty": lambda y: y[:0],
}


def bad_targets():
    for target, table in (("multiclass", BAD_LABELS), ("one output", BAD_NUMBERS)):
        for kind in table:
            yield pytest.param(target, table[kind], id=f"{target}-{kind}")


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("target", "spoil"), list(bad_targets()))
def test_bad_targets_raise_scikit_learns_error(target, spoil, early_stopping, no_training):
    X, y = TARGETS[target]
    theirs, ours = pair(target, early_stopping=early_stopping)
    with pytest.raises((ValueError, TypeError)) as caught:
        theirs.fit(X, spoil(y))
    message = fail(ours, "fit", X, spoil(y), error=(ValueError, TypeError))
    assert message == str(caught.value).replace(type(theirs).__name__, type(ours).__name__)


@pytest.mark.parametrize(("target", "spoil"), list(bad_targets()))
def test_bad_targets_leave_a_fitted_model(target, spoil):
    X, y = TARGETS[target]
    estimator = ours_for(target).fit(X, y)
    for call in ("fit", "partial_fit"):
        fail(estimator, call, X, spoil(y), error=(ValueError, TypeError))


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("fitted", [False, True])
def test_target_of_a_regressor_that_is_not_a_number_raises(call, fitted):
    # scikit-learn: a ufunc's TypeError in the first epoch, non-finite weights after the last.
    X, y = TARGETS["one output"]
    estimator = ours_for("one output")
    if fitted:
        estimator.fit(X, y)
    fail(estimator, call, X, np.full(len(y), "word"), match="array of numbers, got <U4")
    with_none = np.array([*y[:-1], None], dtype=object)
    fail(estimator, call, X, with_none, match="Input y contains NaN")


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_complex_target_of_a_regressor_raises(solver, no_training):
    X, y = TARGETS["one output"]
    fail(ours_for("one output", solver=solver), "fit", X, y + 1j, match="[Cc]omplex")


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_negative_target_of_the_poisson_loss_raises(solver, no_training):
    X, y = TARGETS["counts"]
    y = y.copy()
    y[7] = -0.25
    estimator = ours_for("one output", loss="poisson", solver=solver)
    message = fail(estimator, "fit", X, y, match="loss 'poisson'.*-0.25")
    assert "y >= 0" in message
    if solver != "lbfgs":
        fail(estimator, "partial_fit", X, y, match="loss 'poisson'")


def test_negative_target_of_the_poisson_loss_leaves_a_fitted_model():
    X, y = TARGETS["counts"]
    estimator = ours_for("one output", loss="poisson").fit(X, y)
    fail(estimator, "fit", X, -y, match="loss 'poisson'")
    fail(estimator, "partial_fit", X, -y, match="loss 'poisson'")


def test_unseen_classes_in_partial_fit_raise_and_leave_the_model():
    X, y = TARGETS["multiclass"]
    estimator = ours_for("multiclass").partial_fit(X, y, classes=[0, 1, 2])
    for labels in (y + 1, y - 1, np.array(["a", "b", "c"])[y], y > 0.5):
        if labels.dtype == bool:
            continue
        fail(estimator, "partial_fit", X, labels, match="`y` has classes not in `self.classes_`")
    multilabel = TARGETS["multilabel"][1]
    fail(estimator, "partial_fit", X, multilabel)


def test_numbers_beside_strings_are_unseen_classes_however_many_there_are():
    # Where there are many, scikit-learn takes 7 for "7".
    y = np.repeat(np.arange(30), 2)
    X, names = np.random.RandomState(0).randn(len(y), 3), y.astype(str)
    estimator = ours_for("multiclass").fit(X, names)
    fail(estimator, "partial_fit", X, y, match="`y` has classes not in `self.classes_`")
    fail(estimator, "fit", X, names, X_val=X, y_val=y, match="y_val has the labels")


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_labels_of_another_kind_leave_a_multilabel_model(call):
    X, y = TARGETS["multilabel"]
    estimator = ours_for("multiclass", warm_start=True).fit(X, y)
    fail(estimator, call, X, y[:, :3], match="warm_start can only be used where `y` has the same")
    fail(estimator, call, X, np.arange(len(y)) % 5, match="the same classes")


@pytest.mark.parametrize("dtype", ["int64", "float64", "bool", "str"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_single_class_is_handled_as_in_scikit_learn(dtype, solver):
    X, _ = TARGETS["multiclass"]
    y = np.ones(len(X)).astype(dtype)
    theirs, ours = (estimator.fit(X, y) for estimator in pair("multiclass", solver=solver))
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-6, atol=1e-9)
    assert_array_equal(ours.predict(X), theirs.predict(X))


# --- weights ----------------------------------------------------------------------------------

BAD_WEIGHTS = {
    "NaN": lambda n: np.where(np.arange(n) == 3, np.nan, 1.0),
    "infinity": lambda n: np.where(np.arange(n) == 3, np.inf, 1.0),
    "zeros": np.zeros,
    "one too few": lambda n: np.ones(n - 1),
    "one too many": lambda n: np.ones(n + 1),
    "two dimensions": lambda n: np.ones((n, 2)),
    "words": lambda n: np.full(n, "heavy"),
    "complex": lambda n: np.full(n, 1j),
    "zero": lambda n: 0.0,
    "empty": lambda n: np.ones(0),
}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", list(BAD_WEIGHTS))
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_weights_raise_scikit_learns_error(target, kind, solver, no_training):
    X, y = TARGETS[target]
    weight = BAD_WEIGHTS[kind](len(X))
    theirs, ours = pair(target, solver=solver)
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)) as caught:
        theirs.fit(X, y, sample_weight=weight)
    expected = str(caught.value)
    if caught.type is ZeroDivisionError:  # from NumPy, in scikit-learn 1.7
        expected = "Sample weights must contain at least one non-zero number."
    message = fail(ours, "fit", X, y, sample_weight=weight, error=(ValueError, TypeError))
    assert message == expected
    if solver == "adam":
        fail(
            ours,
            "partial_fit",
            X,
            y,
            sample_weight=weight,
            error=(ValueError, TypeError),
            **classes_for(target),
        )


@pytest.mark.parametrize("kind", list(BAD_WEIGHTS))
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_weights_leave_a_fitted_model(target, kind):
    X, y = TARGETS[target]
    estimator = ours_for(target).fit(X, y)
    weight = BAD_WEIGHTS[kind](len(X))
    for call in ("fit", "partial_fit"):
        fail(estimator, call, X, y, sample_weight=weight, error=(ValueError, TypeError))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", list(KINDS))
def test_weights_that_cancel_raise(target, solver, no_training):
    X, y = TARGETS[target]
    weight = np.tile([1.0, -1.0], len(X) // 2 + 1)[: len(X) // 2 * 2]
    X, y = X[: len(weight)], y[: len(weight)]
    fail(ours_for(target, solver=solver), "fit", X, y, sample_weight=weight, match="sample_weight")


@pytest.mark.parametrize("target", list(KINDS))
def test_weight_of_one_number_equals_that_of_each_row(target):
    X, y = TARGETS[target]
    one = ours_for(target).fit(X, y, sample_weight=2.0)
    each = ours_for(target).fit(X, y, sample_weight=np.full(len(X), 2.0))
    assert_array_equal(one.coefs_[0], each.coefs_[0])


@pytest.mark.parametrize("target", list(KINDS))
def test_validation_rows_of_no_weight_do_not_give_a_silent_nan(target, monkeypatch):
    # The weights of the training rows are fine: only the score has nothing to average.
    X, y = TARGETS[target]
    split = sknn._data._batches.split_rows
    held_out = []

    def remember(*arguments):
        train, valid = split(*arguments)
        held_out.append(valid)
        return train, valid

    monkeypatch.setattr(sknn._data._batches, "split_rows", remember)
    ours_for(target, early_stopping=True).fit(X, y)
    weight = np.ones(len(X))
    weight[held_out[0]] = 0
    estimator = ours_for(target, early_stopping=True)
    fail(
        estimator,
        "fit",
        X,
        y,
        sample_weight=weight,
        match="Sample weights must contain at least one",
    )


# --- precision and divergence -----------------------------------------------------------------
# A value too large for float32 makes NumPy warn of the cast, before our error.

overflowing = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@overflowing
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("value", [1e39, -1e39, 1e300])
@pytest.mark.parametrize("target", list(KINDS))
def test_rows_too_large_for_float32_raise_before_training(target, solver, value, no_training):
    X, y = TARGETS[target]
    estimator = ours_for(target, dtype="float32", solver=solver)
    message = fail(estimator, "fit", spoiled(X, value), y, match="Input X contains infinity")
    assert "float32" in message
    if solver != "lbfgs":
        fail(estimator, "partial_fit", spoiled(X, value), y, match="X", **classes_for(target))


@overflowing
def test_sparse_rows_too_large_for_float32_raise_before_training(no_training):
    X, y = TARGETS["multiclass"]
    X = scipy.sparse.csr_matrix(spoiled(X, 1e39))
    fail(ours_for("multiclass", dtype="float32"), "fit", X, y, match="Input X contains infinity")


@overflowing
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_targets_too_large_for_float32_raise_before_training(loss, solver, no_training):
    X, y = TARGETS["counts"]
    y = y.copy()
    y[4] = 1e39
    estimator = ours_for("one output", dtype="float32", loss=loss, solver=solver)
    message = fail(estimator, "fit", X, y, match="Input y contains")
    assert "float32" in message
    assert "float64" in message


@overflowing
@pytest.mark.parametrize("weight", [1e39, FLOAT32_MAX / 2], ids=["one", "their sum"])
def test_weights_of_rows_too_large_for_float32_raise_before_training(weight, no_training):
    X, y = TARGETS["multiclass"]
    weight = np.full(len(X), weight)
    estimator = ours_for("multiclass", dtype="float32")
    fail(estimator, "fit", X, y, sample_weight=weight, match="sample_weight")


@overflowing
@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_rows_too_large_for_a_float32_model_raise_in_predict(dtype):
    X, y = TARGETS["multiclass"]
    estimator = ours_for("multiclass", dtype=dtype).fit(X.astype(np.float32), y)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        fail(estimator, method, spoiled(X, 1e39), match="Input X contains infinity")


@overflowing
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("scale", [1e25, 1e200])
def test_diverging_fit_raises_scikit_learns_words_and_advice(dtype, solver, scale):
    if dtype == "float32" and scale > FLOAT32_MAX:
        pytest.skip("caught before training")
    X, y = TARGETS["one output"]
    parameters = {"solver": solver, "learning_rate_init": 10.0}
    X, y = X * scale, y * scale
    theirs, ours = pair("one output", **parameters)
    if dtype == "float32":
        ours.set_params(dtype=dtype)
        X, y = X.astype(np.float32), y.astype(np.float32)
    try:
        theirs.fit(X, y)
    except ValueError as error:
        message = fail(ours, "fit", X, y)
        assert message.startswith(str(error))
        assert "StandardScaler" in message
        assert "learning_rate_init (it is 10.0)" in message
    else:
        assert np.isfinite(ours.fit(X, y).coefs_[0]).all()


@overflowing
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("target", list(KINDS))
def test_diverging_rate_raises_and_changes_nothing(target, call, solver, dtype):
    X, y = TARGETS[target]
    X = X * 1e10
    parameters = {"solver": solver, "dtype": dtype}
    rate = {"sgd": 1e30, "adam": 1e38}[solver] if dtype == "float32" else 1e300
    message = (
        "Solver produced non-finite parameter weights. The input data may contain large values"
    )
    unfitted = ours_for(target, learning_rate_init=rate, **parameters)
    fitted = ours_for(target, **parameters).fit(X / 1e10, y)
    fitted.set_params(learning_rate_init=rate)
    fail(unfitted, call, X, y, match=message, **classes_for(target, call))
    if call == "fit":
        fail(fitted, call, X, y, match=message)


@overflowing
@pytest.mark.parametrize("target", list(KINDS))
def test_diverging_float32_fit_never_returns_nan_predictions(target):
    X, y = TARGETS[target]
    for exponent in range(0, 39, 3):
        estimator = ours_for(target, dtype="float32", solver="sgd", learning_rate_init=0.5)
        rows = X * 10.0**exponent
        try:
            estimator.fit(rows, y)
        except ValueError as error:
            assert "non-finite" in str(error) or "Input X" in str(error)
            assert not hasattr(estimator, "coefs_")
        else:
            assert np.isfinite(estimator.coefs_[0]).all()
            assert np.isfinite(estimator.predict(X)).all()


def test_sparse_target_of_a_regressor_raises():
    X, y = TARGETS["one output"]
    fail(ours_for("one output"), "fit", X, scipy.sparse.csr_matrix(np.c_[y, y]), match="toarray")


def test_multilabel_target_of_a_multiclass_model_raises():
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(max_iter=2, random_state=0).fit(X, y)
    labels = np.random.RandomState(0).randint(0, 2, (len(X), 3))
    fail(estimator, "partial_fit", X, labels, match="not fitted with multilabel input")


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_replaced_weights_of_a_wrong_shape_raise_in_predict(name):
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(max_iter=2, random_state=0).fit(X, y)
    setattr(estimator, name, [array[:-1] for array in getattr(estimator, name)])
    with pytest.raises(ValueError, match="of shapes"):
        estimator.predict(X)
