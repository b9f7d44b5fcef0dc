"""`tabular_pipeline` takes tables as they are, and is a pipeline like any other."""

from __future__ import annotations

import pickle
import re
import sys

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_html_repr

from sknn import (
    FeedForwardClassifier,
    FeedForwardRegressor,
    PeriodicEmbedding,
    _tabular_pipeline,
    tabular_pipeline,
)

pd = pytest.importorskip("pandas")
pytest.importorskip("skrub")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 60
SMALL = {"hidden_layer_sizes": (8,), "n_members": 2, "max_iter": 4, "random_state": 0}


def small(kind="classifier", **parameters):
    return tabular_pipeline(kind, **SMALL | parameters)


def messy(seed=0, n=N):
    """Return a frame with columns of every kind."""
    rng = np.random.default_rng(seed)
    days = pd.to_timedelta(rng.integers(0, 900, n), unit="D")
    missing = np.arange(n) % 7 == 3
    frame = {
        "number": np.where(missing, np.nan, rng.normal(size=n)),
        "integer": rng.integers(0, 5, n),
        "category": pd.Categorical(rng.choice(["a", "b", "c"], n)),
        "string": pd.Series(np.where(missing, None, rng.choice(["x", "y"], n)), dtype=object),
        "text": [f"note {i} of {rng.integers(9)}" for i in range(n)],
        "boolean": rng.random(n) < 0.5,
        "nullable": pd.array(np.where(missing, None, rng.random(n) < 0.5), dtype="boolean"),
        "count": pd.array(np.where(missing, None, rng.integers(0, 9, n)), dtype="Int64"),
        "date": pd.Timestamp("2020-01-01") + days,
        "date as text": [f"2020-0{rng.integers(1, 9)}-1{rng.integers(9)}" for _ in range(n)],
        "all missing": np.full(n, np.nan),
        "constant": np.ones(n),
    }
    return pd.DataFrame(frame)


FRAME = messy()
TWO_COLUMNS = FRAME[["date", "category"]]
WITHOUT_TEXT = FRAME.drop(columns="text")  # few strings would be taken for categories
LABELS = np.where(FRAME["number"].fillna(0) > 0, "high", "low")
NUMBERS = np.where(FRAME["boolean"], 1e4, 2e4) + FRAME["integer"].to_numpy()


@pytest.fixture(scope="module")
def fitted():
    return small().fit(FRAME, LABELS)


def assert_probabilities(p, n):
    assert p.shape == (n, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


# What it makes


def test_steps_are_the_preparation_and_the_network():
    model = tabular_pipeline(n_jobs=2)
    assert type(model) is Pipeline
    assert list(model.named_steps) == ["vectorizer", "imputer", "scaler", "network"]
    assert model["vectorizer"].n_jobs == 2
    assert tabular_pipeline()["vectorizer"].n_jobs is None


@pytest.mark.parametrize(
    ("word", "kind"), [("classifier", FeedForwardClassifier), ("regressor", FeedForwardRegressor)]
)
def test_word_gives_the_network_with_the_settings_for_tables(word, kind):
    network = tabular_pipeline(word)["network"]
    _, settings = _tabular_pipeline._NETWORKS[word]
    assert type(network) is kind
    for name, value in settings.items():
        assert repr(getattr(network, name)) == repr(value), name


def test_parameters_replace_settings_of_this_pipeline_alone():
    model = tabular_pipeline("regressor", alpha=0.5, numeric_embedding__scale=0.7)
    assert model["network"].alpha == 0.5
    assert model["network"].numeric_embedding.scale == 0.7
    other = tabular_pipeline("regressor")["network"]
    assert other.alpha != 0.5
    assert other.numeric_embedding.scale != 0.7


def test_estimator_is_taken_as_it_is():
    estimator = HistGradientBoostingClassifier(max_iter=5)
    assert tabular_pipeline(estimator)["network"] is estimator
    ridge = tabular_pipeline(Ridge()).fit(FRAME, NUMBERS)
    assert ridge.score(FRAME, NUMBERS) > 0.9


def test_parameters_are_set_on_a_copy_of_an_estimator():
    estimator = FeedForwardClassifier((5,))
    network = tabular_pipeline(estimator, alpha=0.5)["network"]
    assert (network.alpha, network.hidden_layer_sizes) == (0.5, (5,))
    assert estimator.alpha == 0.0001


@pytest.mark.parametrize(
    ("estimator", "name"),
    [("classifier", "target_scaling"), (DummyClassifier(), "alpha"), ("regressor", "a__b")],
)
def test_unknown_parameter_is_an_error_that_names_it(estimator, name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'") as caught:
        tabular_pipeline(estimator, **{name: 1})
    assert len(str(caught.value)) < 250  # not a list of all parameters


@pytest.mark.parametrize(
    ("estimator", "name", "hint"),
    [
        ("classifier", "lr", "Did you mean learning_rate_init?"),
        ("regressor", "numeric_embedding__scael", "Did you mean numeric_embedding__scale?"),
        (Ridge(), "alphas", "Did you mean alpha?"),
        (Ridge(), "lr", "Its parameters are listed by get_params()."),
    ],
    ids=str,
)
def test_error_of_an_unknown_parameter_ends_with_what_may_be_meant(estimator, name, hint):
    with pytest.raises(TypeError) as caught:
        tabular_pipeline(estimator, **{name: 1})
    assert str(caught.value).endswith(f"either. {hint}")


@pytest.mark.parametrize(
    ("estimator", "error"),
    [
        ("classification", ValueError),
        (FeedForwardClassifier, TypeError),
        (None, TypeError),
        (PeriodicEmbedding(), TypeError),
    ],
    ids=str,
)
def test_what_is_no_estimator_is_an_error_that_says_what_is_allowed(estimator, error):
    match = "must be 'classifier', 'regressor' or an estimator instance"
    with pytest.raises(error, match=match) as caught:
        tabular_pipeline(estimator)
    assert "sknn._" not in str(caught.value)


def test_without_skrub_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skrub", None)
    with pytest.raises(ImportError, match=r'pip install "sknn\[tabular\]"'):
        tabular_pipeline()


# Tables


@pytest.mark.matrix(1)
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_frame_of_every_kind_of_column_is_learned_from(kind):
    # Enough epochs to learn the label, which is a function of one or two of the columns.
    y = LABELS if kind == "classifier" else NUMBERS
    model = small(kind, max_iter=60, early_stopping=False).fit(FRAME, y)
    assert model.score(FRAME, y) > 0.95
    assert model[:-1].transform(FRAME).dtype == np.float32


@pytest.mark.matrix(6)
@pytest.mark.parametrize("column", list(FRAME))
def test_frame_of_one_column_is_learned_from(column):
    frame = FRAME[[column]]
    assert_probabilities(small().fit(frame, LABELS).predict_proba(frame), N)


def test_polars_frame_gives_the_model_of_the_same_pandas_frame(fitted):
    pl = pytest.importorskip("polars")
    values = {
        name: [None if pd.isna(v) else v for v in FRAME[name].astype(object)] for name in FRAME
    }
    frame = pl.DataFrame(values)
    model = small().fit(frame, LABELS)
    # The columns are in the same order; of the rows that are filled in, one may be rounded.
    np.testing.assert_allclose(
        model.predict_proba(frame), fitted.predict_proba(FRAME), rtol=1e-3, atol=1e-4
    )
    with pytest.raises(TypeError, match="fitted to a polars dataframe"):
        model.predict(FRAME)


def test_array_with_missing_values_is_learned_from():
    X = np.random.default_rng(0).normal(size=(N, 3))
    X[::5, 1] = np.nan
    model = small(max_iter=60, early_stopping=False).fit(X, X[:, 0] > 0)
    assert model.score(X, X[:, 0] > 0) > 0.95
    assert model["network"].n_features_in_ == 4  # and where the second one is missing


@pytest.mark.parametrize("column", ["all missing", "constant"])
def test_column_without_information_is_zero_whatever_comes_later(fitted, column):
    names = list(fitted[:2].get_feature_names_out())
    rows = fitted[:-1].transform(FRAME.assign(**{column: 7.0}))
    np.testing.assert_array_equal(rows[:, names.index(column)], 0)


def test_missing_values_are_medians_and_have_a_column_that_says_so():
    frame = pd.DataFrame({"a": [1.0, 2.0, 5.0, np.nan, np.nan] * 12, "b": range(60)})
    rows = small().fit(frame, LABELS)[:-1].transform(frame)
    np.testing.assert_array_equal(rows[3::5, 0], 0)
    assert (rows[0::5, 0] < 0).all() and (rows[2::5, 0] > 0).all()
    assert rows.shape == (60, 3)
    assert (rows[3::5, 2] > rows[0::5, 2]).all()


def test_infinite_values_are_an_error_that_names_the_columns(fitted):
    frame = FRAME.assign(number=np.inf, constant=-np.inf)
    for call in (fitted.predict, lambda rows: small().fit(rows, LABELS)):
        with pytest.raises(ValueError, match="^Input X contains infinity.*") as caught:
            call(frame)
        assert str(caught.value).endswith("\nColumns of X with such values: 'number', 'constant'.")


def test_no_row_is_predicted_beyond_the_targets_that_were_seen():
    X = np.random.default_rng(0).normal(size=(N, 6))
    y = np.arange(float(N))
    model = small("regressor", max_iter=8, learning_rate_init=0.05).fit(X, y)
    corners = 1e6 * np.sign(np.random.default_rng(1).normal(size=(200, 6)))
    prediction = model.predict(corners)
    assert (prediction.min(), prediction.max()) == (0.0, N - 1)


def test_outliers_are_bent_to_at_most_three(fitted):
    rows = fitted[:-1].transform(FRAME.assign(number=1e9, date=pd.Timestamp("2190-01-01")))
    assert 2.99 < np.abs(rows).max() <= 3


CHANGES = {
    "unseen strings": {"text": "new"},
    "categories as strings": {"category": FRAME["category"].astype(str)},
    "numbers as strings": {"number": FRAME["number"].astype(str)},
    "words for numbers": {"number": "unknown"},
    "missing integers": {"integer": np.nan},
    "dates as strings": {"date": FRAME["date"].astype(str)},
    "words for dates": {"date": "unknown"},
    "no dates": {"date": pd.NaT},
    "dates of another century": {"date": pd.Timestamp("1920-02-29")},
    "booleans as strings": {"boolean": FRAME["boolean"].astype(str)},
    "values where there were none": {"all missing": 3.0},
}


@pytest.mark.matrix(4)
@pytest.mark.parametrize("change", CHANGES)
def test_column_that_has_changed_is_predicted_from(fitted, change):
    assert_probabilities(fitted.predict_proba(FRAME.assign(**CHANGES[change])), N)


@pytest.mark.matrix
@pytest.mark.parametrize("column", ["category", "string"])
@pytest.mark.parametrize("values", ["new", 7, None])
def test_category_that_is_unseen_is_no_category(fitted, column, values):
    frame = FRAME.assign(**{column: pd.Series([values] * N, dtype=object)})
    is_known = column == "string" and values is None
    if is_known:
        rows = fitted[:-1].transform(frame)
    else:
        with pytest.warns(UserWarning, match="unknown categories.*encoded as all zeros"):
            rows = fitted[:-1].transform(frame)
    names = list(fitted[:2].get_feature_names_out())
    own = [i for i, name in enumerate(names) if name.startswith(f"{column}_")]
    assert len(own) == 3
    assert ((rows[:, own] > 0).sum(axis=1) == int(is_known)).all()


@pytest.mark.matrix(1)
@pytest.mark.parametrize(
    "change", ["categories as strings", "numbers as strings", "dates as strings"]
)
def test_dtype_of_a_column_does_not_change_the_prediction(fitted, change):
    expected = fitted.predict_proba(FRAME)
    p = fitted.predict_proba(FRAME.assign(**CHANGES[change]))
    np.testing.assert_allclose(p, expected, rtol=1e-5)


def test_one_row_is_predicted_as_it_is_among_others(fitted):
    expected = fitted.predict_proba(FRAME)[:1]
    np.testing.assert_allclose(fitted.predict_proba(FRAME.head(1)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "frame",
    [FRAME[FRAME.columns[::-1]], FRAME.drop(columns="text"), FRAME.assign(more=1)],
    ids=["another order", "one less", "one more"],
)
def test_other_columns_at_prediction_are_an_error_that_shows_them(fitted, frame):
    with pytest.raises(ValueError, match="Columns of dataframes passed to fit.. and transform"):
        fitted.predict(frame)


@pytest.mark.parametrize(("n", "message"), [(1, "test_size"), (6, "validation_fraction")])
def test_too_few_rows_for_validation_are_an_error_about_them(n, message):
    with pytest.raises(ValueError, match=message):
        small().fit(FRAME.head(n), (["a", "b"] * 3)[:n])


@pytest.mark.parametrize("n_of_the_rare", [1, 2, 3])
def test_rare_class_is_learned_or_left_out(n_of_the_rare):
    y = np.zeros(40, int)
    y[:n_of_the_rare] = 1
    rows = np.random.default_rng(0).normal(size=(40, 3))
    assert_probabilities(small().fit(rows, y).predict_proba(rows), 40)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_training_runs_through_all_waves_without_comparing_them(early_stopping):
    model = small(max_iter=15, tol=10.0, early_stopping=early_stopping)
    model.fit(WITHOUT_TEXT, LABELS)  # no epoch improves by as much as `tol`
    assert model["network"].n_iter_ == 15


def test_few_rows_are_learned_from_without_validation():
    model = small(early_stopping=False).fit(WITHOUT_TEXT.head(6), ["a", "b"] * 3)
    assert_probabilities(model.predict_proba(WITHOUT_TEXT.head(6)), 6)


@pytest.mark.parametrize("make", [lambda X: X.tolist(), lambda X: X[:, 0]], ids=["list", "1-d"])
def test_what_is_no_table_is_an_error_that_says_so(make):
    with pytest.raises((TypeError, ValueError), match="DataFrame"):
        small().fit(make(np.zeros((N, 2))), LABELS)


# A pipeline like any other


def test_equal_fits_are_equal_whatever_numpys_generator(fitted):
    np.random.seed(7)
    again = small().fit(FRAME, LABELS)  # the text's encoder would draw from it
    np.testing.assert_array_equal(again.predict_proba(FRAME), fitted.predict_proba(FRAME))


def test_clone_has_the_same_parameters_and_none_of_the_objects():
    model = small(n_jobs=2)
    copy = clone(model)
    assert repr(copy.get_params()) == repr(model.get_params())
    assert copy["network"].numeric_embedding is not model["network"].numeric_embedding


def test_pickle_predicts_the_same(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(FRAME), fitted.predict_proba(FRAME))


@pytest.mark.long
def test_number_of_jobs_does_not_change_the_model(fitted):
    model = small(n_jobs=2).fit(FRAME, LABELS)
    assert model.get_params()["vectorizer__n_jobs"] == 2
    np.testing.assert_array_equal(model.predict_proba(FRAME), fitted.predict_proba(FRAME))


def test_search_reaches_every_step_by_name():
    grid = {
        "vectorizer__datetime__resolution": ["month"],
        "network__numeric_embedding__scale": [0.1, 0.4],
    }
    search = GridSearchCV(small("regressor"), grid, cv=2).fit(TWO_COLUMNS, NUMBERS)
    assert search.best_params_.keys() == grid.keys()
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_["network"].numeric_embedding
    assert best.scale == search.best_params_["network__numeric_embedding__scale"]


@pytest.mark.filterwarnings("ignore:Found unknown categories")  # in the first column
def test_cross_validation_takes_frames_of_which_a_fold_lacks_a_category():
    frame = TWO_COLUMNS.assign(category=["rare"] + ["usual"] * (N - 1))
    scores = cross_val_score(small(), frame, LABELS, cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


def test_html_shows_the_steps():
    html = estimator_html_repr(small())
    for name in (
        "TableVectorizer",
        "SquashingScaler",
        "ColumnNamingImputer",
        "FeedForwardClassifier",
    ):
        assert re.search(rf"\b{name}\b", html)


@pytest.mark.matrix(1)
@pytest.mark.parametrize(
    "make",
    [
        lambda model: CalibratedClassifierCV(model, cv=2),
        lambda model: VotingClassifier(
            [("network", model), ("most", DummyClassifier())], voting="soft"
        ),
    ],
    ids=["calibrated", "voting"],
)
def test_ensemble_of_scikit_learn_holds_the_pipeline(make):
    model = make(small()).fit(TWO_COLUMNS, LABELS)
    assert_probabilities(model.predict_proba(TWO_COLUMNS), N)


def test_network_takes_validation_rows_through_the_steps():
    X_val, y_val = messy(seed=1), LABELS[::-1]
    with sklearn.config_context(enable_metadata_routing=True):
        model = small().set_params(transform_input=["X_val"])
        model["network"].set_fit_request(X_val=True, y_val=True)
        model.fit(FRAME, LABELS, X_val=X_val, y_val=y_val)
        prepared = model[:-1]
        alone = small()["network"].fit(
            prepared.transform(FRAME), LABELS, X_val=prepared.transform(X_val), y_val=y_val
        )
    assert model["network"].validation_loss_curve_ == alone.validation_loss_curve_
    np.testing.assert_array_equal(model["network"].coefs_[0], alone.coefs_[0])


@pytest.mark.long
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_settings_for_tables_learn_what_a_linear_model_cannot(kind):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-3, 3, (600, 3)), columns=list("abc"))
    frame["group"] = rng.choice(["left", "right"], 600)
    signal = np.sin(2 * frame["a"]) * np.where(frame["group"] == "left", 1, -1)
    y = signal if kind == "regressor" else np.where(signal > 0, "up", "down")
    scores = cross_val_score(tabular_pipeline(kind, random_state=0), frame, y, cv=3)
    assert scores.mean() > 0.85
