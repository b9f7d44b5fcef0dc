"""An estimator that skl2onnx has converted to ONNX predicts the same in onnxruntime."""

from __future__ import annotations

import io
import sys
import warnings
from inspect import signature

import numpy as np
import pytest
import torch
from conftest import TARGETS, case
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._activations import ACTIVATIONS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # packages that ONNX imports may warn
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")

from skl2onnx import _parse, _supported_operators  # noqa: E402
from skl2onnx.common import _registration  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BOTH = (FeedForwardClassifier, FeedForwardRegressor)
PLAIN = {"zipmap": False}
LOWEST = 11


@pytest.fixture(autouse=True)
def unregistered():
    """Put skl2onnx in the state of a process that has not yet converted one of our networks."""

    def forget():
        for kind in BOTH:
            alias = _supported_operators.sklearn_operator_name_map.pop(kind, None)
            _parse.sklearn_parsers_map.pop(kind, None)
            _registration._converter_pool.pop(alias, None)
            _registration._shape_calculator_pool.pop(alias, None)

    forget()
    yield
    forget()


def run(model, X, **options):
    """Return what onnxruntime predicts for rows, after a conversion for inputs of their dtype."""
    converted = skl2onnx.to_onnx(model, X[:1], **options)
    onnx.checker.check_model(converted)
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: X})


def assert_predicts_the_same(model, X, tolerance=1e-5, **options):
    """Assert that onnxruntime gives the same labels and probabilities, or the same numbers."""
    options = {"options": PLAIN, **options} if hasattr(model, "predict_proba") else options
    first, *rest = run(model, X, **options)
    if hasattr(model, "predict_proba"):
        expected = model.predict_proba(X)
        np.testing.assert_allclose(rest[0], expected, rtol=tolerance, atol=tolerance)
        is_close = np.abs(expected - 0.5).min(axis=-1) < tolerance  # rounding decides the label
        assert (first == model.predict(X))[~is_close].all()
        assert is_close.mean() < 0.01
    else:
        expected = model.predict(X)
        assert first.shape == (expected.shape if expected.ndim > 1 else (len(X), 1))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            first.reshape(expected.shape), expected, rtol=tolerance, atol=tolerance * scale
        )


REAL = {
    "breast cancer": load_breast_cancer(return_X_y=True),
    "digits": load_digits(return_X_y=True),
    "iris": load_iris(return_X_y=True),
    "diabetes": load_diabetes(return_X_y=True),
}


@pytest.mark.matrix(2)
@pytest.mark.parametrize("values", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REAL)
def test_pipeline_on_real_data_predicts_the_same(name, dtype, values):
    X, y = REAL[name]
    kind = FeedForwardRegressor if name == "diabetes" else FeedForwardClassifier
    network = kind(hidden_layer_sizes=(20, 10), max_iter=30, dtype=dtype, random_state=0)
    model = make_pipeline(StandardScaler(), network).fit(X, y)
    assert_predicts_the_same(model, X.astype(values))


@pytest.mark.matrix(6)
@pytest.mark.parametrize("opset", [LOWEST, None])
@pytest.mark.parametrize("values", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_predicts_the_same(activation, values, opset):
    X, y = TARGETS["one output"]
    X = X.astype(values)
    model = FeedForwardRegressor(
        hidden_layer_sizes=(10, 5), activation=activation, max_iter=5, random_state=0
    ).fit(X, y)
    rows = np.concatenate([X, 30 * X])  # These rows reach the tails of the activations.
    # In float64, erf still goes through float32, and torch's softplus(x) is x from 20 on.
    tolerance = {"gelu": 1e-6, "softplus": 1e-8}.get(activation, 1e-12)
    tolerance = tolerance if values is np.float64 else 1e-5
    assert_predicts_the_same(model, rows, tolerance, target_opset=opset)


def test_activations_are_all_eleven():
    assert len(ACTIVATIONS) == 11


OPSETS = range(LOWEST, skl2onnx.__max_supported_opset__ + 1)


@pytest.mark.parametrize(
    ("opsets", "values"),
    [
        ([LOWEST, OPSETS[-1], {"": 13, "ai.onnx.ml": 1}], np.float32),
        pytest.param(OPSETS, np.float64, marks=pytest.mark.long),
    ],
)
def test_every_opset_predicts_the_same(opsets, values):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(
        hidden_layer_sizes=(6,) * len(ACTIVATIONS),
        activation=list(ACTIVATIONS),
        normalization="layer",
        max_iter=5,
        random_state=0,
    ).fit(X, y)
    for opset in opsets:
        assert_predicts_the_same(model, X.astype(values), target_opset=opset)


@pytest.mark.matrix
@pytest.mark.parametrize("values", [np.float32, np.float64])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_normalization_and_a_list_of_activations_predict_the_same(normalization, values):
    X, y = TARGETS["multiclass"]
    X = X.astype(values)
    model = FeedForwardClassifier(
        hidden_layer_sizes=(8, 6),
        activation=["gelu", "tanh"],
        normalization=normalization,
        dropout=0.2,
        max_iter=20,
        random_state=0,
    ).fit(X, y)
    assert_predicts_the_same(model, X)
    assert_predicts_the_same(model, X, target_opset=LOWEST)


@pytest.mark.matrix(6)
@pytest.mark.parametrize("opset", [LOWEST, None])
@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        ("one output", {}),
        ("two outputs", {}),
        ("counts", {"loss": "poisson"}),
        ("one output", {"loss": "gamma"}),
        ("one output", {"loss": "huber"}),
        ("one output", {"loss": "quantile", "quantile": 0.2}),
        ("one output", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "max_iter": 1}),
        ("two outputs", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "max_iter": 1}),
        ("two outputs", {"loss": "quantile", "quantile": [0.3]}),
    ],
    ids=case,
)
def test_every_output_of_a_regressor_predicts_the_same(target, parameters, opset):
    X, y = TARGETS[target]
    parameters = {"max_iter": 10, "random_state": 0, **parameters}
    model = FeedForwardRegressor(hidden_layer_sizes=(10,), **parameters).fit(X, y)
    assert_predicts_the_same(model, X, 1e-12, target_opset=opset)
    assert_predicts_the_same(model, X.astype(np.float32), target_opset=opset)


@pytest.mark.matrix(3)
@pytest.mark.parametrize("opset", [LOWEST, None])
@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        ("binary", {}),
        ("multiclass", {"normalization": "batch", "activation": ["gelu", "tanh"]}),
        ("multilabel", {}),
        ("one output", {"normalization": "layer"}),
        ("two outputs", {}),
        ("counts", {"loss": "poisson"}),
        ("one output", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "max_iter": 1}),
        ("two outputs", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "max_iter": 1}),
    ],
    ids=case,
)
def test_mean_of_members_predicts_the_same(target, parameters, opset):
    X, y = TARGETS[target]
    is_class = target in ("binary", "multiclass", "multilabel")
    kind = FeedForwardClassifier if is_class else FeedForwardRegressor
    parameters = {"max_iter": 10, "n_members": 3, "random_state": 0, **parameters}
    model = kind(hidden_layer_sizes=(10, 6), **parameters).fit(X, y)
    # In float64, erf still goes through float32.
    assert_predicts_the_same(
        model, X, 1e-6 if "activation" in parameters else 1e-11, target_opset=opset
    )
    assert_predicts_the_same(model, X.astype(np.float32), target_opset=opset)


@pytest.mark.parametrize("target", ["one output", "two outputs"])
def test_quantiles_are_sorted(target):
    X, y = TARGETS[target]
    model = FeedForwardRegressor(loss="quantile", quantile=[0.1, 0.5, 0.9], max_iter=1).fit(X, y)
    raw = model.module_(torch.from_numpy(X)).detach().numpy()
    assert (np.diff(raw.reshape(-1, 3)) < 0).any()
    (quantiles,) = run(model, X)
    assert quantiles.shape == (len(X), 3) if target == "one output" else (len(X), 2, 3)
    assert (np.diff(quantiles) >= 0).all()


@pytest.mark.matrix
@pytest.mark.parametrize("opset", [LOWEST, None])
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_every_kind_of_labels_predicts_the_same(target, opset):
    X, y = TARGETS[target]
    model = FeedForwardClassifier(hidden_layer_sizes=(10,), max_iter=20, random_state=0).fit(X, y)
    assert_predicts_the_same(model, X, 1e-12, target_opset=opset)
    assert_predicts_the_same(model, X.astype(np.float32), target_opset=opset)
    labels, _ = run(model, X, options=PLAIN)
    assert labels.dtype == np.int64
    assert labels.shape == y.shape


def test_probabilities_are_never_zero_where_they_would_round_to_it():
    X, y = TARGETS["binary"]
    model = FeedForwardClassifier(hidden_layer_sizes=(5,), max_iter=5, random_state=0).fit(X, y)
    model.coefs_[-1] *= 1e4
    _, p = run(model, X, options=PLAIN)
    assert p.min() > 0
    np.testing.assert_allclose(p, model.predict_proba(X), rtol=1e-8)


LABELS = {
    "strings": np.array(["setosa", "versicolor", "ärger"]),
    "objects": np.array(["a", "b", "c"], dtype=object),
    "numbers": np.array([-3, 5, 7], dtype=np.int16),
    "whole floats": np.array([0.0, 1.0, 5.0]),
}


@pytest.mark.matrix
@pytest.mark.parametrize("labels", LABELS.values(), ids=list(LABELS))
@pytest.mark.parametrize("options", [None, PLAIN], ids=case)
def test_labels_of_every_kind_come_back(labels, options):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=20, random_state=0).fit(X, labels[y])
    first, second = run(model, X, options=options)
    assert first.tolist() == model.predict(X).tolist()
    if options is None:
        assert second[0].keys() == set(labels.tolist())
        second = [[row[label] for label in labels.tolist()] for row in second]
    np.testing.assert_allclose(second, model.predict_proba(X), atol=1e-5)


def test_bools_are_zero_and_one():
    X, y = TARGETS["binary"]
    model = FeedForwardClassifier(max_iter=5, random_state=0).fit(X, y == 1)
    labels, _ = run(model, X, options=PLAIN)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels == 1, model.predict(X))


def test_labels_that_onnx_has_not_are_an_error_unless_places_are_asked_for():
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=5, random_state=0).fit(X, np.array(["a", "b", "c"])[y])
    for labels in (np.array([1, "b", 2.5], dtype=object), np.array([0.5, 1.0, np.inf])):
        model.classes_ = labels
        with pytest.raises(ValueError, match=r"strings and int64.*nocl=True"):
            run(model, X)
    labels, _ = run(model, X, options={**PLAIN, "nocl": True})
    np.testing.assert_array_equal(labels, model.predict_proba(X).argmax(axis=1))


def test_names_and_types_of_outputs_are_those_of_scikit_learns_mlp():
    X, y = TARGETS["multiclass"]
    ours = FeedForwardClassifier(max_iter=5).fit(X, y)
    theirs = MLPClassifier(max_iter=5).fit(X, y)
    for wrap in (lambda model: model, lambda model: make_pipeline(MinMaxScaler(), model).fit(X, y)):
        for option in (None, PLAIN, {"zipmap": "columns"}, {**PLAIN, "output_class_labels": True}):
            outputs = [
                [
                    (o.name, o.type.WhichOneof("value"))
                    for o in skl2onnx.to_onnx(wrap(m), X[:1], options=option).graph.output
                ]
                for m in (ours, theirs)
            ]
            assert outputs[0] == outputs[1]


def test_first_conversion_of_a_process_is_like_the_second():
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=5).fit(X, y)
    first, second = (skl2onnx.to_onnx(model, X[:1], options=PLAIN) for _ in range(2))
    assert first.graph.output == second.graph.output
    assert [node.op_type for node in first.graph.node] == [
        node.op_type for node in second.graph.node
    ]


def test_columns_and_class_labels_as_options():
    X, y = TARGETS["multiclass"]
    names = np.array(["a", "b", "c"])
    model = make_pipeline(StandardScaler(), FeedForwardClassifier(max_iter=20, random_state=0))
    model.fit(X, names[y])
    labels, *columns = run(model, X, options={"zipmap": "columns"})
    assert labels.tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(np.stack(columns, axis=1), model.predict_proba(X), atol=1e-5)
    *_, classes = run(model, X, options={**PLAIN, "output_class_labels": True})
    assert classes.tolist() == names.tolist()
    with pytest.raises(ValueError, match="output_class_labels requires zipmap=False"):
        run(model[-1], X, options={"zipmap": True, "output_class_labels": True})


def test_unknown_option_is_skl2onnxs_error():
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=5).fit(X, y)
    with pytest.raises(NameError, match="raw_scores"):
        run(model, X, options={id(model): {"raw_scores": True}})


def test_column_transformer_before_the_network():
    X, y = TARGETS["binary"]
    columns = ColumnTransformer([("a", StandardScaler(), [0, 3]), ("b", MinMaxScaler(), [5, 6, 7])])
    model = make_pipeline(columns, FeedForwardClassifier(max_iter=20, random_state=0)).fit(X, y)
    assert_predicts_the_same(model, X.astype(np.float32))


def test_several_inputs_are_the_columns_in_order():
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(max_iter=20, random_state=0).fit(X, y)
    kind = skl2onnx.common.data_types.FloatTensorType
    types = [("first", kind([None, 1])), ("others", kind([None, 3]))]
    converted = skl2onnx.to_onnx(model, initial_types=types, options=PLAIN)
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = X.astype(np.float32)
    _, p = session.run(None, {"first": rows[:, :1], "others": rows[:, 1:]})
    np.testing.assert_allclose(p, model.predict_proba(X), atol=1e-5)


def test_integer_rows():
    X, y = REAL["digits"]
    X = X.astype(np.int64)
    model = FeedForwardClassifier(max_iter=20, random_state=0).fit(X, y)
    assert_predicts_the_same(model, X)


@pytest.mark.matrix
@pytest.mark.parametrize("options", [None, PLAIN], ids=case)
@pytest.mark.parametrize(("in_pipeline", "n_members"), [(False, 1), (True, 1), (True, 3)])
def test_grid_search_needs_no_registration(in_pipeline, n_members, options):
    X, y = TARGETS["multiclass"]
    network = FeedForwardClassifier(max_iter=20, n_members=n_members, random_state=0)
    estimator = make_pipeline(StandardScaler(), network) if in_pipeline else network
    name = "feedforwardclassifier__alpha" if in_pipeline else "alpha"
    search = GridSearchCV(estimator, {name: [0.1]}, cv=2).fit(X, y)
    labels, p = run(search, X, options=options)
    if options is None:
        p = [[row[label] for label in search.classes_] for row in p]
    np.testing.assert_allclose(p, search.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(labels, search.predict(X))


@pytest.mark.parametrize("n_members", [pytest.param(1, marks=pytest.mark.long), 2])
def test_ensembles_after_registration_predict_the_same(n_members):
    X, y = TARGETS["multiclass"]
    network = FeedForwardClassifier(10, max_iter=5, n_members=n_members, random_state=0)
    members = [("ours", network), ("theirs", GaussianNB())]
    ensembles = [
        VotingClassifier(members, voting="soft", flatten_transform=False),
        VotingClassifier(members, voting="hard", flatten_transform=False),
        CalibratedClassifierCV(network, cv=2),
        StackingClassifier(members, GaussianNB(), cv=2),
        OneVsRestClassifier(network),
    ]
    sknn.register_onnx()
    for ensemble in ensembles:
        ensemble.fit(X, y)
        labels, p = run(ensemble, X, options=PLAIN)
        np.testing.assert_array_equal(labels, ensemble.predict(X))
        if hasattr(ensemble, "predict_proba"):
            np.testing.assert_allclose(p, ensemble.predict_proba(X), atol=1e-5)


def test_voting_regressor_after_registration_predicts_the_same():
    X, y = TARGETS["one output"]
    members = [("ours", FeedForwardRegressor(max_iter=20)), ("theirs", LinearRegression())]
    ensemble = VotingRegressor(members).fit(X, y)
    with pytest.raises(KeyError, match="FeedForwardRegressor"):
        run(ensemble, X)
    sknn.register_onnx()
    np.testing.assert_allclose(run(ensemble, X)[0].ravel(), ensemble.predict(X), rtol=1e-5)


def test_edited_weights_are_converted():
    X, y = TARGETS["one output"]
    model = FeedForwardRegressor(max_iter=5).fit(X, y)
    model.coefs_ = [2 * coef for coef in model.coefs_]
    assert_predicts_the_same(model, X, 1e-12)


def test_equal_layers_are_converted():
    X, y = TARGETS["one output"]
    model = FeedForwardRegressor(hidden_layer_sizes=(10, 10, 10), max_iter=2).fit(X, y)
    model.coefs_[1] = model.coefs_[2]
    model.intercepts_[1] = model.intercepts_[2] = model.intercepts_[0]
    assert_predicts_the_same(model, X, 1e-12)


def test_what_onnx_lacks_is_one_error_that_names_all_of_it():
    X, y = TARGETS["binary"]
    model = FeedForwardClassifier(activation=torch.nn.PReLU, max_iter=2).fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError) as error:
        run(model, X, target_opset=LOWEST - 1, options=PLAIN)
    for part in ("PReLU", "module_", "single class", f"target_opset={LOWEST - 1}", f"{LOWEST} on"):
        assert part in str(error.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_modules_of_the_user_are_exported_by_torch():
    X, y = TARGETS["multiclass"]
    X = X.astype(np.float32)
    model = FeedForwardClassifier(activation=torch.nn.PReLU, max_iter=5, random_state=0).fit(X, y)
    module, file = model.module_, io.BytesIO()
    # This exporter needs no package beside torch and onnx.
    options = {"dynamo": False} if "dynamo" in signature(torch.onnx.export).parameters else {}
    rows = torch.from_numpy(X)
    names = {"input_names": ["X"], "dynamic_axes": {"X": {0: "n_rows"}}}
    torch.onnx.export(module, (rows,), file, **names, **options)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (raw,) = session.run(None, {"X": X[:7]})
    np.testing.assert_allclose(raw, module(rows[:7]).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_unfitted_network_is_an_error():
    with pytest.raises(NotFittedError):
        run(FeedForwardClassifier(), TARGETS["binary"][0])


@pytest.mark.parametrize("kind", BOTH)
def test_hooks_of_skl2onnx_are_found_and_not_listed(kind):
    model = kind()
    for name in ("onnx_parser", "onnx_shape_calculator", "onnx_converter"):
        assert callable(getattr(model, name)())
        assert name not in dir(model)
    assert "to_sklearn" in dir(model)


def test_missing_skl2onnx_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    monkeypatch.delitem(sys.modules, "sknn._exports._onnx", raising=False)
    for call in (sknn.register_onnx, FeedForwardClassifier().onnx_converter):
        with pytest.raises(ImportError, match=r"sknn\[onnx\]"):
            call()


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_weights_set_by_hand_are_converted(normalization):
    X, y = TARGETS["multiclass"]
    fitted = FeedForwardClassifier(max_iter=5, random_state=0).fit(X, y)
    model = FeedForwardClassifier(normalization=normalization)
    model.coefs_, model.intercepts_ = fitted.coefs_, fitted.intercepts_
    with pytest.raises(ValueError, match="Set classes_ to the sorted labels"):
        run(model, X)
    model.classes_ = ["a", "b", "c"]
    labels, p = run(model, X, options=PLAIN)
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_allclose(p, model.predict_proba(X), atol=1e-5)


# --- steps that skl2onnx does not convert: the table of docs/streams.md -------------------------

HOLES = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, np.nan]], dtype=np.float32)


def test_seconds_since_1970_are_rounded_to_two_minutes_as_floats():
    assert np.spacing(np.float32(1.75e9)) == 128


def test_function_is_not_converted():
    with pytest.raises(RuntimeError, match="FunctionTransformer is not supported"):
        run(FunctionTransformer(np.cos).fit(HOLES), HOLES)


def test_transformed_target_is_not_converted():
    X, y = TARGETS["one output"]
    model = TransformedTargetRegressor(FeedForwardRegressor(max_iter=2)).fit(X, y)
    with pytest.raises(skl2onnx.common.exceptions.MissingShapeCalculator):
        run(model, X)


def test_imputer_loses_its_indicator_and_the_network_fails():
    imputer = SimpleImputer(add_indicator=True).fit(HOLES)
    assert imputer.transform(HOLES).shape == (3, 3)
    assert run(imputer, HOLES)[0].shape == (3, 2)
    model = make_pipeline(imputer, FeedForwardRegressor(max_iter=2)).fit(HOLES, [1.0, 2.0, 3.0])
    with pytest.raises(Exception, match="dimension"):
        run(model, HOLES)


def test_imputer_of_doubles_cannot_be_loaded():
    with pytest.raises(Exception, match="implementation for Imputer"):
        run(SimpleImputer().fit(HOLES), HOLES.astype(np.float64))


def test_network_of_a_tabular_pipeline_is_converted_without_its_steps():
    pytest.importorskip("skrub")
    X, y = TARGETS["one output"]
    model = sknn.tabular_pipeline("regressor", max_iter=4, random_state=0).fit(X, y)
    with pytest.raises(skl2onnx.common.exceptions.MissingShapeCalculator, match="skrub"):
        run(model, X)
    prepared = model[:-1].transform(X).astype(np.float32)
    (predicted,) = run(model["network"], prepared)
    np.testing.assert_allclose(predicted.ravel(), model.predict(X), rtol=1e-3, atol=1e-3)
