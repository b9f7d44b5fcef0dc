"""An error about a name of another library, or a typing error, ends with what may be meant."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from bad_input import fail
from conftest import TARGETS
from sklearn.base import BaseEstimator, clone
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

from sknn import FeedForwardClassifier, FeedForwardRegressor, PeriodicEmbedding
from sknn._input import _hints, _parameter_checks
from sknn._input._frames import naming_columns

X, y = TARGETS["multiclass"]
BOTH = (FeedForwardClassifier, FeedForwardRegressor)

# --- values of parameters -------------------------------------------------------------------------

AN_OPTIMIZER = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1)
# Each value, and the question at the end of the error that a classifier raises.
OF_CLASSIFIER = {
    ("activation", "swish"): "activation='silu'",
    ("activation", "linear"): "activation='identity'",
    ("activation", "sigmoid"): "activation='logistic'",
    ("activation", "ReLU"): "activation='relu'",
    ("activation", "LeakyReLU"): "activation='leaky_relu'",
    ("activation", "tanhh"): "activation='tanh'",
    ("activation", "PReLU"): "activation=torch.nn.PReLU",
    ("activation", "adam"): "solver='adam'",
    ("solver", "rmsprop"): "solver=torch.optim.RMSprop",
    ("solver", "torch.optim.NAdam"): "solver=torch.optim.NAdam",
    ("solver", "Adam"): "solver='adam'",
    ("solver", "L-BFGS"): "solver='lbfgs'",
    ("solver", AN_OPTIMIZER): "solver=torch.optim.SGD",
    ("learning_rate", 0.01): "learning_rate_init=0.01",
    ("learning_rate", "cosine_annealing"): "learning_rate='cosine'",
    ("learning_rate", "OneCycleLR"): "learning_rate='one_cycle'",
    ("learning_rate", "plateau"): "learning_rate=torch.optim.lr_scheduler.ReduceLROnPlateau",
    ("learning_rate_init", "cosine"): "learning_rate='cosine'",
    ("loss", "categorical_crossentropy"): "loss='log_loss'",
    ("loss", "BCEWithLogitsLoss"): "loss='log_loss'",
    ("loss", "binary:logistic"): "loss='log_loss'",
    ("loss", "focal_loss"): "loss='focal'",
    ("loss", "mse"): "FeedForwardRegressor(loss='squared_error')",
    ("scoring", "auc"): "scoring='roc_auc', or 'roc_auc_ovr' for three or more classes",
    ("scoring", "acc"): "scoring='accuracy'",
    ("scoring", "log_loss"): "scoring='neg_log_loss'",
    ("scoring", "rmse"): "scoring='neg_root_mean_squared_error'",
    ("scoring", "f1_score"): "scoring='f1'",
    ("scoring", "val_loss"): "scoring='loss'",
    ("early_stopping", 10): "early_stopping=True, n_iter_no_change=10",
    ("dtype", "double"): "dtype='float64'",
    ("dtype", "float16"): "dtype='bfloat16'",
    ("dtype", np.float32): "dtype='float32'",
    ("dtype", torch.float32): "dtype='float32'",
    ("device", torch.device("cuda")): "device='cuda'",
    ("device", 1): "device='cuda:1'",
    ("normalization", "BatchNorm1d"): "normalization='batch'",
    ("initialization", "xavier_uniform"): "initialization=None",
    ("initialization", "lsuv"): "initialization='data'",
    ("numeric_embedding", "pbld"): "numeric_embedding='periodic'",
    ("numeric_embedding", PeriodicEmbedding): "numeric_embedding=PeriodicEmbedding()",
    ("regularization_schedule", "flatcos"): "regularization_schedule='flat_cos'",
    ("class_weight", "balance"): "class_weight='balanced'",
}
OF_REGRESSOR = {
    ("loss", "mae"): "loss='absolute_error'",
    ("loss", "rmse"): "loss='squared_error'",
    ("loss", "HuberLoss"): "loss='huber'",
    ("loss", "pinball"): "loss='quantile'",
    ("loss", "reg:squarederror"): "loss='squared_error'",
    ("loss", "nll"): "FeedForwardClassifier(loss='log_loss')",
    ("loss", (64, 64)): "hidden_layer_sizes=(64, 64)",
    ("loss", 64): "hidden_layer_sizes=64",
    ("target_scaling", "zscore"): "target_scaling='standard'",
}
CASES = [(BOTH[0], *of, hint) for of, hint in OF_CLASSIFIER.items()]
CASES += [(BOTH[1], *of, hint) for of, hint in OF_REGRESSOR.items()]
NO_HINT = [
    ("loss", "hinge"),
    ("activation", 1),
    ("solver", None),
    ("scoring", "good"),
    ("alpha", -1),
]
NO_HINT += [("learning_rate", None), ("loss", "msle"), ("early_stopping", "yes"), ("dtype", None)]


def scikit_learns_message(estimator, name):
    with pytest.raises(InvalidParameterError) as caught:
        validate_parameter_constraints(
            estimator._parameter_constraints,
            {name: getattr(estimator, name)},
            caller_name=type(estimator).__name__,
        )
    return str(caught.value).replace("sknn._input._periodic_embedding.", "sknn.")


@pytest.mark.parametrize(("kind", "name", "value", "hint"), CASES, ids=str)
def test_error_of_a_value_ends_with_what_may_be_meant(kind, name, value, hint, no_training):
    estimator = kind(**{name: value})
    message = fail(estimator, "fit", X, y, error=InvalidParameterError)
    assert message == f"{scikit_learns_message(estimator, name)} Did you mean {hint}?"


@pytest.mark.parametrize(("name", "value"), NO_HINT)
@pytest.mark.parametrize("kind", BOTH)
def test_error_of_a_value_like_nothing_is_left_as_it_is(kind, name, value, no_training):
    estimator = kind(**{name: value})
    message = fail(estimator, "fit", X, y, error=InvalidParameterError)
    assert message == scikit_learns_message(estimator, name)


def test_first_argument_of_a_regressor_may_be_meant_as_layers(no_training):
    message = fail(FeedForwardRegressor((64, 64)), "fit", X, y, error=InvalidParameterError)
    assert message.endswith("Got (64, 64) instead. Did you mean hidden_layer_sizes=(64, 64)?")


def test_unknown_scorer_does_not_list_those_that_are_known():
    message = fail(FeedForwardClassifier(scoring="auc"), "fit", X, y, error=InvalidParameterError)
    assert len(message) < 300
    assert "sklearn.metrics.get_scorer_names()" in message


def test_item_of_a_list_of_activations_gets_a_hint(no_training):
    estimator = FeedForwardClassifier((4, 4), activation=["relu", "swish"])
    message = fail(estimator, "fit", X, y, match="contains 'swish'")
    assert message.endswith(" Did you mean activation='silu'?")


@pytest.mark.parametrize(
    ("device", "hint"), [("gpu", "'cuda'"), ("GPU:1", "'cuda:1'"), ("CPU", "'cpu'")]
)
def test_device_of_another_name_gets_a_hint(device, hint, no_training):
    message = fail(FeedForwardClassifier(device=device), "fit", X, y, match="'device' parameter")
    assert message.endswith(f"device='cpu'. Did you mean device={hint}?")


def test_absent_device_is_not_suggested_again(no_training):
    message = fail(FeedForwardClassifier(device="cuda:99"), "fit", X, y, match="'device' parameter")
    assert "Did you mean" not in message


def test_hint_reaches_the_processes_of_a_group():
    estimator = FeedForwardClassifier(process_group="world", solver="rmsprop")
    with pytest.raises(InvalidParameterError, match=r"Did you mean solver=torch\.optim\.RMSprop\?"):
        with _hints.explaining_values(estimator):
            estimator._check_parameters(None, None, None)


@pytest.mark.parametrize("value", [PeriodicEmbedding, "linear", 1])
def test_public_names_stand_for_our_classes(value):
    estimator = FeedForwardClassifier(numeric_embedding=value)
    message = fail(estimator, "fit", X, y, error=InvalidParameterError)
    assert "an instance of 'sknn.PeriodicEmbedding'" in message
    assert "sknn._" not in message


@pytest.mark.parametrize(("scoring", "other"), [("f1", "f1_macro"), ("roc_auc", "roc_auc_ovr")])
def test_scorer_of_two_classes_names_the_mean_over_classes(scoring, other):
    estimator = FeedForwardClassifier(scoring=scoring, early_stopping=True)
    message = fail(estimator, "fit", X, y, match="^The 'scoring' parameter raised ValueError: ")
    assert f"The scorer is '{scoring}'. Choose another one, such as '{other}', or" in message
    FeedForwardClassifier(scoring=other)._validate_params()


def test_scorer_of_classes_has_no_mean_for_numbers():
    regressor = FeedForwardRegressor(scoring="f1", early_stopping=True)
    message = fail(regressor, "fit", X, y + 0.5, match="'scoring' parameter")
    assert "The scorer is 'f1'. Choose another one, or set scoring='loss'." in message


# --- names of parameters --------------------------------------------------------------------------

PARAMETERS = {
    "lr": "learning_rate_init",
    "hidden_units": "hidden_layer_sizes",
    "hidden_layer_size": "hidden_layer_sizes",
    "epochs": "max_iter",
    "n_estimators": "n_members",
    "optimizer": "solver",
    "weight_decay": "alpha",
    "dropout_rate": "dropout",
    "patience": "early_stopping=True, n_iter_no_change=...",
    "validation_split": "early_stopping=True, validation_fraction=...",
    "random_seed": "random_state",
    "momentun": "momentum",
    "criterion": "loss",
    "n_jobs": "torch.set_num_threads(...)",
    "eval_set": "fit(X, y, X_val=..., y_val=...)",
    "X_val": "fit(X, y, X_val=...)",
}
OF_FIT = {
    "eval_set": "fit(X, y, X_val=..., y_val=...)",
    "validation_data": "fit(X, y, X_val=..., y_val=...)",
    "x_val": "fit(X, y, X_val=...)",
    "sample_weights": "fit(X, y, sample_weight=...)",
    "eval_sample_weight": "fit(X, y, sample_weight_val=...)",
    "classes": "partial_fit(X, y, classes=...)",
    "epochs": "{}(max_iter=...)",
    "batch_size": "{}(batch_size=...)",
    "callbacks": "{}(callbacks=...)",
}


def refused_by(call, name):
    """Return the words of Python for a call that refuses a keyword, without its own question."""
    return f"{call} got an unexpected keyword argument {name!r}"


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("kind", BOTH)
def test_unknown_parameter_ends_with_what_may_be_meant(kind, name):
    hint = f"Did you mean {PARAMETERS[name]}?"
    with pytest.raises(TypeError) as caught:
        kind(**{name: 1})
    assert str(caught.value) == f"{refused_by(f'{kind.__name__}.__init__()', name)}. {hint}"
    estimator = kind()
    with pytest.raises(ValueError) as theirs:
        BaseEstimator.set_params(estimator, **{name: 1})
    assert fail(estimator, "set_params", **{name: 1}) == f"{theirs.value} {hint}"
    pipeline = make_pipeline(StandardScaler(), estimator)
    with pytest.raises(ValueError, match=re.escape(hint)):
        pipeline.set_params(**{f"{kind.__name__.lower()}__{name}": 1})


@pytest.mark.parametrize("name", OF_FIT)
@pytest.mark.parametrize("kind", BOTH)
def test_unknown_argument_of_fit_ends_with_what_may_be_meant(kind, name, no_training):
    message = fail(kind(), "fit", X, y, error=TypeError, **{name: 1})
    hint = OF_FIT[name].format(kind.__name__)
    assert message == f"{refused_by(f'{kind.__name__}.fit()', name)}. Did you mean {hint}?"


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        (FeedForwardClassifier, "huber_delta", "FeedForwardRegressor"),
        (FeedForwardRegressor, "class_weight", "FeedForwardClassifier"),
    ],
)
def test_parameter_of_the_other_estimator_names_it(kind, name, owner):
    with pytest.raises(TypeError, match=rf"Did you mean {owner}\({name}=\.\.\.\)\?$"):
        kind(**{name: 1})


def test_name_like_nothing_is_left_to_python_and_scikit_learn(no_training):
    with pytest.raises(TypeError) as caught:
        FeedForwardClassifier(foo=1)
    assert str(caught.value) == refused_by("FeedForwardClassifier.__init__()", "foo")
    assert fail(FeedForwardClassifier(), "set_params", foo=1).endswith("'warmup_fraction'].")
    message = fail(FeedForwardClassifier(), "fit", X, y, error=TypeError, foo=1)
    assert message == refused_by("FeedForwardClassifier.fit()", "foo")


def test_other_errors_of_a_call_with_an_unknown_name_are_left(no_training):
    message = fail(
        FeedForwardClassifier(alpha=-1), "fit", X, y, error=InvalidParameterError, eval_set=1
    )
    assert "eval_set" not in message and "Did you mean" not in message
    embedded = FeedForwardClassifier(numeric_embedding=PeriodicEmbedding())
    message = fail(embedded, "set_params", numeric_embedding__lr=1)
    assert message.endswith("Valid parameters are: ['n_frequencies', 'scale', 'size'].")


class Narrow(FeedForwardClassifier):
    """A network as a user may derive one, with a constructor of its own."""

    def __init__(self, width=3, *, alpha=0.1):
        super().__init__(hidden_layer_sizes=(width,), alpha=alpha)
        self.width = width


def test_subclass_suggests_what_its_own_constructor_has():
    with pytest.raises(ValueError, match=r"Did you mean width\?$"):
        Narrow().set_params(widthh=1)
    with pytest.raises(ValueError, match=r"\['alpha', 'width'\]\.$"):
        Narrow().set_params(lr=1)
    assert Narrow().set_params(width=4).width == 4


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(FeedForwardClassifier, MLPClassifier), (FeedForwardRegressor, MLPRegressor)],
)
def test_signatures_have_the_names_and_no_others(ours, theirs):
    parameters = inspect.signature(ours).parameters
    assert [*parameters][:3] == [*inspect.signature(theirs).parameters][:3]
    assert {p.kind.name for p in parameters.values()} == {"POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"}
    assert set(parameters) == set(ours().get_params()) == set(ours._parameter_constraints)
    full = inspect.getfullargspec(ours.__init__)
    assert [*full.args[1:], *full.kwonlyargs] == list(parameters)
    assert full.varargs is full.varkw is None
    assert [*inspect.signature(ours.fit).parameters] == (
        ["self", "X", "y", "sample_weight", "X_val", "y_val", "sample_weight_val"]
    )
    assert clone(ours(alpha=0.5)).alpha == 0.5


# --- the tables -----------------------------------------------------------------------------------


def answers():
    for name, table in _hints._VALUES.items():
        for answer in table:
            yield name, answer


@pytest.mark.parametrize(("name", "answer"), list(answers()))
def test_what_is_suggested_for_a_value_is_allowed(name, answer):
    code = answer if "=" in answer else f"{name}={answer}"
    code = code.partition(", or ")[0]
    given = eval(f"dict({code})", {"torch": torch, "X": X})  # noqa: S307 (of our own table)
    kinds = [k for k in BOTH if name in k._parameter_constraints]
    if name == "loss":
        is_of_classes = answer in _hints._LOSSES_OF_CLASSIFIER
        kinds = [BOTH[0] if is_of_classes else BOTH[1]]
    for kind in kinds:
        kind(**given)._validate_params()
        _parameter_checks.check_solver(kind(**given).solver)


def test_what_is_suggested_for_a_parameter_is_one():
    known = {*BOTH[0]._parameter_constraints, *BOTH[1]._parameter_constraints}
    for answer in _hints._PARAMETERS:
        assert {part.partition("=")[0].strip() for part in answer.split(",")} <= known
    arguments = inspect.signature(FeedForwardClassifier.fit).parameters
    for answer in _hints._OF_FIT:
        assert {part.partition("=")[0].strip() for part in answer.split(",")} <= set(arguments)


def test_owners_are_those_of_the_constructors():
    first, second = (set(kind._parameter_constraints) for kind in BOTH)
    assert _hints._OWNERS == {
        **dict.fromkeys(first - second, "FeedForwardClassifier"),
        **dict.fromkeys(second - first, "FeedForwardRegressor"),
    }


@pytest.mark.parametrize(
    "table",
    [*_hints._VALUES.values(), _hints._PARAMETERS, _hints._OF_FIT, _hints._ELSEWHERE],
    ids=lambda table: next(iter(table)),
)
def test_names_in_the_tables_are_plain_and_stand_there_once(table):
    names = [name for names in table.values() for name in names.split()]
    assert names == [_hints._plain(name) for name in names]
    assert len(names) == len(set(names))


# --- columns --------------------------------------------------------------------------------------


def spoiled(value, dtype=np.float64):
    rows = X.astype(dtype)
    rows[5, 2] = rows[7, 0] = value
    return rows


NAMES = ["age", "fare", "weight", "size"]


def frame(value):
    return pd.DataFrame(spoiled(value), columns=NAMES)


NAMED = "'age', 'weight'."
NUMBERED = ", numbered from 0: 0, 2."
WITH_BAD_VALUES = {
    "array": (spoiled, NUMBERED),
    "array of float32": (lambda value: spoiled(value, np.float32), NUMBERED),
    "array of objects": (lambda value: spoiled(value, object), NUMBERED),
    "list": (lambda value: spoiled(value).tolist(), NUMBERED),
    "CSR": (lambda value: scipy.sparse.csr_matrix(spoiled(value)), NUMBERED),
    "CSC": (lambda value: scipy.sparse.csc_array(spoiled(value)), NUMBERED),
    "tensor": (lambda value: torch.tensor(spoiled(value)), NUMBERED),
    "pandas": (frame, f": {NAMED}"),
    "pandas, Float64": (lambda value: frame(value).astype("Float64"), f": {NAMED}"),
    "pandas, mixed": (lambda value: frame(value).assign(fare=1), f": {NAMED}"),
    "polars": (lambda value: pytest.importorskip("polars").from_pandas(frame(value)), f": {NAMED}"),
    "pyarrow": (
        lambda value: pytest.importorskip("pyarrow").Table.from_pandas(
            frame(value), preserve_index=False
        ),
        f": {NAMED}",
    ),
}


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (-np.inf, "such values")])
@pytest.mark.parametrize("kind", WITH_BAD_VALUES)
def test_columns_that_are_not_finite_are_named(kind, value, what, no_training):
    make, columns = WITH_BAD_VALUES[kind]
    if kind == "pandas, Float64" and np.isinf(value):
        pytest.skip("the same path as pandas")
    rows = make(value)
    message = fail(FeedForwardClassifier(), "fit", rows, y, match="^Input X contains ")
    assert message.endswith(f"\nColumns of X with {what}{columns}")


@pytest.fixture(scope="module")
def fitted():
    return FeedForwardClassifier(max_iter=1).fit(frame(1.0), y)


fewer_epochs = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@fewer_epochs
def test_columns_are_named_in_predict_and_in_validation_rows(fitted):
    assert fail(fitted, "predict", frame(np.nan)).endswith(f"\nColumns of X with NaN: {NAMED}")
    message = fail(fitted, "fit", frame(1.0), y, X_val=frame(np.inf), y_val=y)
    assert message.startswith("X_val cannot be used: it must be like X")
    assert f"dtype('float64').\nColumns of X_val with such values: {NAMED}\n" in message
    assert message.endswith(
        "\nA Pipeline only applies its preceding steps to X_val with"
        " metadata routing and transform_input=['X_val'], as docs/getting_started.md shows."
    )


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_columns_too_large_for_float32_are_named(no_training):
    rows = spoiled(1e39)
    rows[3, 1] = -3e38  # float32 can hold this one
    message = fail(
        FeedForwardClassifier(dtype="float32"), "fit", rows, y, match="infinity.*float32"
    )
    assert message.endswith("\nColumns of X with such values, numbered from 0: 0, 2.")


def test_columns_with_infinity_are_not_named_for_nan(no_training):
    rows = spoiled(np.nan)
    rows[:5, 1] = np.inf
    with pytest.raises(ValueError) as caught, naming_columns(rows):
        raise ValueError("Input X contains NaN.")
    assert (
        str(caught.value) == "Input X contains NaN.\nColumns of X with NaN, numbered from 0: 0, 2."
    )


def test_columns_of_a_tensor_on_its_device_are_named():
    for value, words in (
        (np.nan, "NaN"),
        (np.inf, "infinity or a value too large for dtype('float32')"),
    ):
        rows = torch.tensor(spoiled(value)).to(torch.bfloat16)
        with pytest.raises(ValueError, match="numbered from 0: 0, 2"), naming_columns(rows):
            raise ValueError(f"Input X contains {words}.")


def test_columns_of_a_memory_map_are_found_in_every_part(tmp_path, monkeypatch, no_training):
    monkeypatch.setattr("sknn._input._memory_maps.CHUNK_BYTES", 100)
    np.save(tmp_path / "rows.npy", spoiled(np.nan, np.float32).T)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r").T
    message = fail(FeedForwardClassifier(), "fit", rows, y, match="^Input X contains NaN")
    assert message.endswith("\nColumns of X with NaN, numbered from 0: 0, 2.")


def test_many_columns_are_named_in_part(no_training):
    rows = np.full((len(y), 8), np.nan)
    message = fail(FeedForwardClassifier(), "fit", rows, y)
    assert message.endswith(", numbered from 0: 0, 1, 2, 3, 4 and 3 more.")


def test_error_of_targets_does_not_name_columns(no_training):
    message = fail(FeedForwardRegressor(), "fit", X, np.where(y == 1, np.nan, y))
    assert message.startswith("Input y contains NaN") and "Columns" not in message
