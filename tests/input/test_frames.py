"""Frames and series of pandas, polars, pyarrow and narwhals can be given in place of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils.fixes import parse_version

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._platform import _sklearn_compat
from sknn._platform._sklearn_compat import NamedArray

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

X, y = TARGETS["multiclass"]
SINGLE = X.astype(np.float32)
WHOLE = X.astype(np.int64)
NAMES = ["a", "b", "c", "d"]
LABELS = np.array(["setosa", "versicolor", "virginica"])[y]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**parameters):
    return FeedForwardClassifier(**({"max_iter": 3, "random_state": 0} | parameters))


def polars(values, names=NAMES):
    return pl.DataFrame(np.ascontiguousarray(values), schema=names)


def pandas(values, dtype=None, names=NAMES):
    frame = pd.DataFrame(values, columns=names)
    return frame if dtype is None else frame.astype(dtype)


def arrow(values, names=NAMES):
    return pa.table({name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(names)})


def wrapped(values, names=NAMES):
    return pytest.importorskip("narwhals").from_native(polars(values, names))


LIBRARIES = {"polars": polars, "pandas": pandas, "pyarrow": arrow, "narwhals": wrapped}
each_library = pytest.mark.parametrize("library", LIBRARIES)

# Each entry holds a frame and the array of its values.
FRAMES = {
    "polars, integers and floats": (
        polars(X).with_columns(pl.col("a", "b").cast(pl.Int16)),
        np.c_[WHOLE[:, :2], X[:, 2:]],
    ),
    "polars, floats of both widths": (
        polars(SINGLE).with_columns(pl.col("a").cast(pl.Float64)),
        SINGLE.astype(np.float64),
    ),
    "polars, Boolean": (polars(X).with_columns(pl.col("a") > 6), np.c_[X[:, 0] > 6, X[:, 1:]]),
    "polars, all Boolean": (polars(X > 2), X > 2),
    "polars, Decimal": (polars(X).cast(pl.Decimal(10, 1)), X),
    "pandas, Int64": (pandas(WHOLE, "Int64"), WHOLE),
    "pandas, Float64": (pandas(X, "Float64"), X),
    "pandas, boolean": (pandas(X > 2, "boolean"), X > 2),
    "pandas, double of Arrow": (pandas(X, "float64[pyarrow]"), X),
    "pandas, int64 of Arrow": (pandas(WHOLE, "int64[pyarrow]"), WHOLE),
    "pandas, integers and floats": (pandas(X).astype({"a": int}), np.c_[WHOLE[:, :1], X[:, 1:]]),
    "pandas, objects": (pandas(X, object), X),
    "pandas, categories of numbers": (pandas(X).astype({"a": "category"}), X),
}
FLOAT32 = {
    "polars": polars(SINGLE),
    "pandas": pandas(SINGLE),
    "pandas, Float32": pandas(SINGLE, "Float32"),
    "pandas, float of Arrow": pandas(SINGLE, "float32[pyarrow]"),
    "pandas, both": pandas(SINGLE).astype({"a": "Float32", "b": "float32[pyarrow]"}),
    "pyarrow": arrow(SINGLE),
}


def assert_like_the_array(frame, array):
    model, expected = classifier().fit(frame, y), classifier().fit(array, y)
    assert_array_equal(model.feature_names_in_, NAMES)
    outputs = model.predict_proba(frame)
    assert type(outputs) is np.ndarray
    assert_array_equal(outputs, expected.predict_proba(array))
    del model.feature_names_in_
    assert_bit_equal(model, expected)
    return model


@pytest.mark.matrix(7)
@pytest.mark.parametrize("kind", FRAMES)
def test_frame_gives_the_model_of_the_array(kind):
    model = assert_like_the_array(*FRAMES[kind])
    assert model.coefs_[0].dtype == np.float64


@pytest.mark.parametrize("kind", FLOAT32)
def test_frame_of_float32_is_computed_in_float32(kind):
    model = assert_like_the_array(FLOAT32[kind], SINGLE)
    assert model.coefs_[0].dtype == np.float32


def test_dtype_parameter_and_the_model_come_before_the_dtype_of_a_frame():
    assert classifier(dtype="float64").fit(polars(SINGLE), y).coefs_[0].dtype == np.float64
    model = classifier().fit(polars(X), y).partial_fit(polars(SINGLE), y)
    assert model.coefs_[0].dtype == np.float64


@each_library
def test_names_are_learned_and_checked_as_scikit_learn_does(library):
    frame = LIBRARIES[library]
    model = classifier().fit(frame(X), y)
    assert_array_equal(model.feature_names_in_, NAMES)
    theirs = MLPClassifier(max_iter=1).fit(pandas(X), y)
    for names in (["b", "a", "c", "d"], ["a", "b", "c", "e"], ["a", "b", "c"]):
        messages = []
        for estimator, make in ((model, frame), (theirs, pandas)):
            with pytest.raises(ValueError, match="feature names should match") as error:
                estimator.predict(make(X[:, : len(names)], names=names))
            messages.append(str(error.value))
        assert messages[0] == messages[1]
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)


@each_library
def test_validation_data_may_be_frames(library):
    frame = LIBRARIES[library]
    weight = np.linspace(0.5, 2.0, len(X))
    model = classifier().fit(frame(X), y, X_val=frame(X[:50]), y_val=pl.Series(y[:50]))
    expected = classifier().fit(X, y, X_val=X[:50], y_val=y[:50])
    assert model.validation_loss_curve_ == expected.validation_loss_curve_
    weights = {"sample_weight": pl.Series(weight)}
    assert_array_equal(
        classifier().fit(frame(X), y, **weights).coefs_[0],
        classifier().fit(X, y, sample_weight=weight).coefs_[0],
    )


SERIES = {
    "polars String": pl.Series(LABELS),
    "polars Categorical": pl.Series(LABELS).cast(pl.Categorical),
    "polars Enum": pl.Series(LABELS, dtype=pl.Enum(sorted(set(LABELS)))),
    "polars frame": pl.DataFrame({"y": LABELS}),
    "pandas object": pd.Series(LABELS, dtype=object),
    "pandas string": pd.Series(LABELS, dtype="string"),
    "pandas string of Arrow": pd.Series(LABELS, dtype="string[pyarrow]"),
    "pandas category": pd.Series(LABELS, dtype="category"),
    "pyarrow": pa.array(LABELS.tolist()),
    "pyarrow in chunks": pa.chunked_array([LABELS[:9].tolist(), LABELS[9:].tolist()]),
}


@pytest.mark.matrix(5)
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("kind", SERIES)
def test_labels_of_text_are_those_of_the_array(kind):
    labels = SERIES[kind]
    model, expected = classifier().fit(X, labels), classifier().fit(X, LABELS.astype(object))
    assert_bit_equal(model, expected)
    assert model.score(X, labels) == expected.score(X, LABELS)


@pytest.mark.parametrize(
    "labels",
    [
        pl.Series(y),
        pl.Series(y, dtype=pl.UInt8),
        pl.Series(y == 1),
        pd.Series(y, dtype="Int64"),
        pd.Series(y, dtype="int64[pyarrow]"),
        pd.Series(y == 1, dtype="boolean"),
        pa.array(y),
    ],
    ids=lambda labels: f"{type(labels).__module__} {getattr(labels, 'dtype', '')}",
)
def test_labels_of_numbers_are_those_of_the_array(labels):
    model = classifier().fit(X, labels)
    expected = classifier().fit(X, np.asarray(labels).astype(model.classes_.dtype))
    assert_bit_equal(model, expected)
    assert model.score(X, labels) == expected.score(X, np.asarray(labels).astype(int))


def test_indicators_and_several_targets_may_be_frames():
    for target, kind in (
        ("multilabel", FeedForwardClassifier),
        ("two outputs", FeedForwardRegressor),
    ):
        data, targets = TARGETS[target]
        frame = pl.DataFrame(targets)
        model, expected = (kind(max_iter=3, random_state=0).fit(data, t) for t in (frame, targets))
        assert_bit_equal(model, expected)
        assert model.score(data, frame) == pytest.approx(expected.score(data, targets), rel=1e-12)


# --- errors ---------------------------------------------------------------------------------------

MISSING = {
    "polars null": polars(X).with_columns(pl.when(pl.col("a") < 6).then(pl.col("a"))),
    "polars null of integers": polars(WHOLE).with_columns(a=pl.when(pl.col("a") < 6).then(1)),
    "polars null of Booleans": polars(X).with_columns(a=pl.when(pl.col("a") < 6).then(True)),
    "polars nan": polars(X).with_columns(a=pl.when(pl.col("a") < 6).then(1).otherwise(np.nan)),
    "pandas Int64": pandas(WHOLE, "Int64").mask(X > 6),
    "pandas Float32": pandas(SINGLE, "Float32").mask(X > 6),
    "pandas double of Arrow": pandas(X, "float64[pyarrow]").mask(X > 6),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_values_are_refused_as_scikit_learn_does(kind):
    if kind == "pandas double of Arrow" and parse_version(pd.__version__) < parse_version("2"):
        pytest.skip("pandas below 2 makes objects of Arrow's missing values")
    model = classifier().fit(polars(X), y)
    for call in (model.predict, lambda rows: classifier().fit(rows, y)):
        with pytest.raises(ValueError, match="^Input X contains NaN"):
            call(MISSING[kind])
    with pytest.raises(ValueError, match="^Input y contains NaN"):
        classifier().fit(X, pl.Series([None, *y[1:].tolist()]))


NONE = [None, *LABELS[1:].tolist()]
MISSING_LABELS = {
    "list": NONE,
    "objects": np.array(NONE, dtype=object),
    "list of Booleans": [None, *(y[1:] == 1).tolist()],
    "polars String": pl.Series(NONE),
    "polars Categorical": pl.Series(NONE).cast(pl.Categorical),
    "polars Boolean": pl.Series([None, *(y[1:] == 1).tolist()]),
    "polars frame": pl.DataFrame({"y": NONE}),
    "pandas object": pd.Series(NONE, dtype=object),
    "pandas string": pd.Series(NONE, dtype="string"),
    "pandas datetime": pd.Series([pd.NaT, *pd.to_datetime(y[1:])]),
    "pyarrow": pa.array(NONE),
}


@pytest.mark.parametrize("kind", MISSING_LABELS)
def test_missing_label_is_refused_by_name(kind):
    labels, model = MISSING_LABELS[kind], classifier().fit(X, LABELS)
    for call in (
        lambda: model.fit(X, labels),
        lambda: classifier().partial_fit(X, labels, classes=np.unique(LABELS)),
        lambda: model.score(X, labels),
    ):
        with pytest.raises(ValueError, match="^Input y contains N(one|A|aT), a missing value"):
            call()
    with pytest.raises(ValueError, match="y_val cannot be used.*Input y_val contains N"):
        model.fit(X, LABELS, X_val=X, y_val=labels)


@pytest.mark.parametrize("library", ["polars", "narwhals"])
def test_lazy_frame_is_refused_and_the_way_out_is_named(library):
    lazy = polars(X).lazy()
    if library == "narwhals":
        lazy = pytest.importorskip("narwhals").from_native(lazy)
    model = classifier().fit(X, y)
    for call in (
        model.predict,
        lambda rows: model.fit(rows, y),
        lambda rows: model.partial_fit(rows, y),
    ):
        with pytest.raises(TypeError, match=rf"^X is a {library} LazyFrame.*X\.collect\(\)"):
            call(lazy)
    with pytest.raises(TypeError, match=r"y\.collect\(\)"):
        model.fit(X, lazy)
    with pytest.raises(TypeError, match=r"y\.collect\(\)"):
        model.score(X, lazy)
    with pytest.raises(ValueError, match=r"X_val cannot be used.*X_val\.collect\(\)"):
        model.fit(X, y, X_val=lazy, y_val=y)


TEXT = {
    "polars String": polars(X).with_columns(c=pl.Series(LABELS)),
    "polars Categorical": polars(X).with_columns(c=pl.Series(LABELS).cast(pl.Categorical)),
    "polars Enum": polars(X).with_columns(c=SERIES["polars Enum"]),
    "pandas object": pandas(X).assign(c=LABELS.astype(object)),
    "pandas string": pandas(X).assign(c=pd.Series(LABELS, dtype="string")),
    "pandas category": pandas(X).assign(c=pd.Series(LABELS, dtype="category")),
    "pyarrow": arrow(X).set_column(2, "c", pa.array(LABELS.tolist())),
}


@pytest.mark.parametrize("kind", TEXT)
def test_column_of_text_is_named_in_the_error(kind):
    match = "could not convert string to float: 'setosa'.*with text, categories or dates: 'c'. E"
    model = classifier().fit(polars(X), y)
    for call in (model.predict, lambda rows: classifier().fit(rows, y)):
        with pytest.raises(ValueError, match=match):
            call(TEXT[kind])
    with pytest.raises(ValueError, match="X_val cannot be used.*Columns of X_val with text.*'c'"):
        model.fit(polars(X), y, X_val=TEXT[kind], y_val=y)


DAYS = pd.Series(pd.date_range("2020-01-01", periods=len(X)))
# These fail in other ways than text does.
NO_NUMBERS = {
    "category beside Booleans": pd.DataFrame({"c": pd.Categorical(LABELS), "n": True}),
    "date beside numbers": pd.DataFrame({"c": DAYS, "n": 1.0}),
    "category beside Int64": pd.DataFrame({"c": pd.Categorical(LABELS)}).assign(
        n=pd.array([1] * len(X), dtype="Int64")
    ),
    "date beside Int64": pd.DataFrame({"c": DAYS, "n": pd.array([1] * len(X), dtype="Int64")}),
    "date beside Booleans": pd.DataFrame({"c": DAYS, "n": True}),
    "date with a time zone": pd.DataFrame({"c": DAYS.dt.tz_localize("UTC"), "n": 1.0}),
    "dates as objects": pd.DataFrame({"c": DAYS.dt.date, "n": 1.0}),
    "duration": pd.DataFrame({"c": DAYS - DAYS[0], "n": 1.0}),
    "period": pd.DataFrame({"c": DAYS.dt.to_period("D"), "n": 1.0}),
    "interval": pd.DataFrame({"c": pd.cut(X[:, 0], 3).astype(object), "n": 1.0}),
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=pytest.mark.long if i > 1 else ()) for i, k in enumerate(NO_NUMBERS)],
)
def test_column_that_is_no_number_beside_another_is_named_in_the_error(kind):
    frame = NO_NUMBERS[kind]
    model = classifier().fit(pd.DataFrame({"c": X[:, 0], "n": X[:, 1]}), y)
    match = "Columns of X with text, categories or dates: 'c'. Encode.* sknn.tabular_pipeline"
    for call in (model.predict, lambda rows: classifier().fit(rows, y)):
        with pytest.raises((TypeError, ValueError), match=match):
            call(frame)
    with pytest.raises(ValueError, match="X_val cannot be used.*Columns of X_val with text.*'c'"):
        model.fit(frame.assign(c=1.0), y, X_val=frame, y_val=y)


def test_frame_of_dates_alone_is_read_as_in_scikit_learn():
    frame = pd.DataFrame({"c": DAYS.astype("datetime64[ns]")})
    expected = classifier().fit(pd.DataFrame({"c": check_array(frame, dtype=np.float64)[:, 0]}), y)
    assert_array_equal(classifier().fit(frame, y).coefs_[0], expected.coefs_[0])


def test_many_columns_of_text_are_named_in_part():
    frame = pd.DataFrame({f"t{i}": LABELS for i in range(7)})
    with pytest.raises(ValueError, match="'t0', 't1', 't2', 't3', 't4' and 2 more. Encode"):
        classifier().fit(frame, y)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_frame_that_an_old_scikit_learn_does_not_read_gives_the_same_model(library, monkeypatch):
    frame = LIBRARIES[library]
    expected = classifier().fit(pandas(X), y, X_val=pandas(X[:50]), y_val=y[:50])
    monkeypatch.setattr(_sklearn_compat, "_READS_FRAMES", False)
    given = NamedArray(frame(X))
    assert (len(given), given.shape, given.dtype) == (len(X), X.shape, X.dtype)
    assert given.__dataframe__().column_names() == NAMES
    assert_array_equal(np.asarray(given, dtype=np.float32), SINGLE)
    assert NamedArray(frame(X[:, :0], names=[])).shape[1] == 0
    model = classifier().fit(frame(X), y, X_val=frame(X[:50]), y_val=y[:50])
    assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.validation_loss_curve_ == expected.validation_loss_curve_
    assert classifier().fit(frame(SINGLE), y).coefs_[0].dtype == np.float32


# --- with scikit-learn's tools --------------------------------------------------------------------


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_pipelines_hand_frames_on(library):
    pipeline = make_pipeline(StandardScaler(), classifier()).set_output(transform=library)
    frame = LIBRARIES[library](X)
    expected = make_pipeline(StandardScaler(), classifier()).fit(X, y)
    pipeline.fit(frame, pl.Series(y))
    if library == "pandas" or _sklearn_compat._READS_FRAMES:
        assert_array_equal(pipeline[-1].feature_names_in_, NAMES)
    # The scaler sums the values in the order that they have in memory, which affects rounding.
    assert_allclose(pipeline.predict_proba(frame), expected.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_cross_validation_of_frames(library):
    scores = cross_val_score(classifier(), LIBRARIES[library](X), pl.Series(y), cv=3)
    assert_array_equal(scores, cross_val_score(classifier(), X, y, cv=3))
