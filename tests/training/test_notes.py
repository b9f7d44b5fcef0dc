"""A training that has gone wrong says so: warnings, `best_epoch_`, and lines where it is shown."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import make_classification, make_regression
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_tweedie_score, get_scorer, log_loss
from sklearn.model_selection import train_test_split

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor, LossCurveDisplay, TrainingWarning
from sknn._data._processes import OneProcess
from sknn._training._notes import notes_of_columns

RARE = make_classification(1500, 10, weights=[0.94], flip_y=0.02, random_state=0)
EASY = make_classification(400, 6, n_informative=4, class_sep=2.0, random_state=0)
NUMBERS = make_regression(300, 4, noise=1.0, random_state=0)


def classifier(**parameters):
    return FeedForwardClassifier((8,), **{"random_state": 0, "max_iter": 60} | parameters)


def regressor(**parameters):
    return FeedForwardRegressor(
        **{"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 60} | parameters
    )


def warnings_of(model, *data, **options):
    """Return the texts of the training warnings of a fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*data, **options)
    assert all(w.category is TrainingWarning for w in caught), [str(w.message) for w in caught]
    return [str(w.message) for w in caught]


# --- early stopping -----------------------------------------------------------------------------


def test_best_of_the_first_two_epochs_is_reported_with_what_to_do():
    model = classifier(early_stopping=True, learning_rate_init=0.01)
    first, *others = warnings_of(model, *RARE)
    assert model.best_epoch_ <= 2 < model.n_iter_
    assert first.startswith(
        f"Early stopping has restored the weights of epoch {model.best_epoch_} of {model.n_iter_},"
    )
    assert "scoring='loss' or 'roc_auc'" in first
    assert [text for text in others if "Early stopping" in text] == []


def test_good_training_says_nothing():
    model = classifier(early_stopping=True, learning_rate_init=0.01)
    assert warnings_of(model, *EASY) == []
    assert model.best_epoch_ > 2
    assert "note" not in model.summary()


def test_first_epochs_of_a_short_training_are_not_reported():
    # All epochs were run, so that nothing was given up too early.
    assert warnings_of(classifier(early_stopping=True, max_iter=2), *EASY) == []


def test_warm_start_that_finds_nothing_better_says_nothing():
    model = classifier(early_stopping=True, warm_start=True, learning_rate_init=0.01, max_iter=300)
    assert warnings_of(model, *EASY) == []
    best = model.best_epoch_
    rows = train_test_split(*EASY, random_state=0)
    options = {"X_val": rows[1], "y_val": rows[3]}
    assert warnings_of(model, rows[0], rows[2], **options) == []
    assert model.best_epoch_ is None or model.best_epoch_ > best


def noise(kind, n=200):
    """Return rows and targets that have nothing to do with them."""
    rng = np.random.RandomState(1)
    X = rng.standard_normal((n, 3))
    y = {
        "binary": rng.randint(0, 2, n),
        "multiclass": rng.choice([0, 0, 0, 1, 2], n),
        "multilabel": (rng.rand(n, 3) > 0.7).astype(int),
        "numbers": rng.standard_normal(n),
        "two": rng.standard_normal((n, 2)),
        "positive": rng.gamma(2.0, 1.0, n),
    }[kind]
    return X[: n // 2], X[n // 2 :], y[: n // 2], y[n // 2 :]


@pytest.mark.parametrize(
    ("kind", "scoring", "parameters"),
    [
        ("binary", None, {}),
        ("multiclass", None, {}),
        ("multilabel", None, {}),
        ("multiclass", "loss", {}),
        ("binary", "loss", {"label_smoothing": 0.2}),
        ("binary", "roc_auc", {}),
        ("multiclass", "balanced_accuracy", {"n_members": 2, "random_state": 0}),
        ("numbers", None, {}),
        ("two", "loss", {}),
        ("numbers", "neg_mean_squared_error", {"target_scaling": "standard"}),
        ("numbers", None, {"loss": "quantile", "quantile": [0.2, 0.8]}),
        ("positive", None, {"loss": "gamma"}),
        ("positive", "loss", {"loss": "poisson"}),
    ],
)
def test_score_of_a_constant_is_that_of_a_dummy(kind, scoring, parameters):
    """Training from random outputs on noise, with hardly a step, is no better than a constant."""
    X, X_val, y, y_val = noise(kind)
    is_classifier = kind in ("binary", "multiclass", "multilabel")
    make = classifier if is_classifier else regressor
    options = {"early_stopping": True, "learning_rate_init": 1e-9, "max_iter": 3}
    model = make(scoring=scoring, **options, **{"random_state": 1} | parameters)
    texts = warnings_of(model, X, y, X_val=X_val, y_val=y_val)
    (text,) = (text for text in texts if "constant prediction" in text)
    constant = float(text.split("a constant prediction, ")[1].split(". ")[0])
    if is_classifier:
        dummy = DummyClassifier(strategy="prior").fit(X_val, y_val)
        expected = {
            None: lambda: dummy.score(X_val, y_val),
            "loss": lambda: -log_loss(y_val, dummy.predict_proba(X_val)),
        }.get(scoring, lambda: get_scorer(scoring)(dummy, X_val, y_val))()
    else:
        dummy = DummyRegressor().fit(X_val, y_val)
        p = dummy.predict(X_val)
        losses = {
            "squared_error": lambda: np.mean((y_val - p) ** 2) / 2,
            "gamma": lambda: np.mean(np.log(p / y_val) + y_val / p - 1),
            "poisson": lambda: np.mean(y_val * np.log(y_val / p) - y_val + p),
        }
        loss = parameters.get("loss", "squared_error")
        if scoring == "loss" or loss == "gamma":
            expected = -losses[loss]()
        else:
            expected = 0.0 if scoring is None else get_scorer(scoring)(dummy, X_val, y_val)
    assert_allclose(constant, expected, rtol=1e-3, atol=1e-9)
    assert model.best_validation_score_ <= constant + 5e-4 * abs(constant)


def test_own_scorer_is_called_once_an_epoch_and_compared_with_no_constant():
    calls = []

    def scorer(estimator, X, y):
        calls.append(len(y))
        return 0.0

    model = classifier(early_stopping=True, scoring=scorer, max_iter=3)
    assert warnings_of(model, *EASY) == []
    assert len(calls) == 3


def test_training_that_has_diverged_is_reported_as_such_alone():
    X, y = NUMBERS
    model = regressor(early_stopping=True, solver="sgd", learning_rate_init=1e6)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", TrainingWarning)
            model.fit(X, y)


# --- schedules and scores -----------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [True, False])
def test_schedule_that_is_cut_short_is_reported(early_stopping):
    model = classifier(
        learning_rate="cosine", max_iter=500, early_stopping=early_stopping, tol=0.01
    )
    (text,) = (text for text in warnings_of(model, *EASY) if "schedule" in text)
    assert model.n_iter_ < 450
    assert f"max_iter=500 epochs, but training has stopped after {model.n_iter_}" in text
    assert "n_iter_no_change=np.inf" in text
    assert text.endswith(
        "With early_stopping=True, the best epoch is restored after a full run, too."
    )


def test_schedule_that_was_run_to_its_end_says_nothing():
    model = classifier(learning_rate="cosine", max_iter=20, n_iter_no_change=np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(*EASY)


def test_scoring_without_rows_to_score_is_reported():
    (text,) = warnings_of(classifier(scoring="roc_auc", max_iter=2), *EASY)
    assert "early_stopping=True, pass X_val and y_val" in text
    rows = {"X_val": EASY[0], "y_val": EASY[1]}
    assert warnings_of(classifier(scoring="roc_auc", max_iter=2), *EASY, **rows) == []


@pytest.mark.parametrize(
    ("make", "loss", "parameters"),
    [
        (regressor, "quantile", {"quantile": [0.1, 0.9]}),
        (regressor, "huber", {"huber_delta": 2.0}),
        (classifier, "focal", {"focal_gamma": 1.0}),
    ],
)
def test_parameter_of_another_loss_is_reported(make, loss, parameters):
    X, y = EASY
    ((name, value),) = parameters.items()
    for solver in ("adam", "lbfgs"):
        model = make(max_iter=2, solver=solver, **parameters)
        (text,) = warnings_of(model, X, y)
        assert text.startswith(f"{name}={value} has no effect with loss=")
        assert text.endswith(f"Set loss='{loss}'.")
    assert warnings_of(model.set_params(loss=loss), X, y) == []


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"learning_rate": "adaptive"}, "learning_rate='adaptive' has no effect"),
        ({"learning_rate": "invscaling"}, "learning_rate='invscaling' has no effect"),
        ({"solver": "lbfgs", "early_stopping": True}, "early_stopping has no effect"),
    ],
)
def test_parameter_that_scikit_learn_ignores_is_a_line_of_the_summary(parameters, line):
    model = classifier(max_iter=2, **parameters)
    assert line in model.summary()
    assert warnings_of(model, *EASY) == []
    assert line in model.summary()
    assert "no effect" not in classifier(solver="sgd", learning_rate="adaptive").summary()


# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "parameters", "reason"),
    [
        (5e3, {}, "large targets"),
        (5e3, {"early_stopping": True, "scoring": "loss"}, "large targets"),
        (500.0, {}, None),
        (5e3, {"solver": "lbfgs"}, None),  # which takes steps of any length
        (5e3, {"target_scaling": "standard"}, None),
        (0.02, {}, "tol ends the training too early"),
        (0.02, {"tol": 1e-6}, None),
        (0.02, {"n_iter_no_change": np.inf}, None),
        (0.02, {"solver": "lbfgs"}, None),
        (5e-4, {"solver": "lbfgs"}, "tol ends the training too early"),
        (5e3, {"loss": "gamma"}, None),  # which starts at the mean
        (5e3, {"loss": lambda y, p: (y - p).square().mean(dim=1)}, None),
    ],
)
def test_targets_that_are_too_large_or_too_small_are_reported(size, parameters, reason):
    X = rows_of_sizes(1, 1)
    y = size * np.abs(1 + 0.1 * X[:, 0])
    found = warnings_of(regressor(max_iter=2, **parameters), X, y)
    found = [text for text in found if "The values of y" in text]
    if reason is None:
        assert found == []
    else:
        (text,) = found
        assert reason in text and "target_scaling='standard'" in text


def test_size_of_any_output_is_reported():
    X = rows_of_sizes(1, 1)
    for loss in ("squared_error", "quantile"):
        model = regressor(max_iter=2, loss=loss)
        (text,) = warnings_of(model, X, np.c_[X[:, 0], 2e4 * X[:, 1]])
        assert "about 2e+04" in text
    assert model._notes == ["the targets have a size of 2e+04"]


# --- columns ------------------------------------------------------------------------------------


def rows_of_sizes(*sizes, n=300):
    return np.random.RandomState(0).standard_normal((n, len(sizes))) * sizes


AS = {
    "array": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "sparse": scipy.sparse.csr_matrix,
    "sparse array": scipy.sparse.csr_array,
    "tensor": torch.from_numpy,
}


@pytest.mark.parametrize("kind", AS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_columns_of_very_different_size_are_reported(kind, solver):
    X = rows_of_sizes(1, 2e4, 1)
    (text,) = warnings_of(regressor(max_iter=2, solver=solver), AS[kind](X), X[:, 0])
    assert "e+04 in column 1" in text and "StandardScaler" in text
    X = rows_of_sizes(1, 900, 1)
    assert warnings_of(regressor(max_iter=2, solver=solver), AS[kind](X), X[:, 0]) == []


def test_rare_indicators_and_columns_of_zeros_have_no_size_of_their_own():
    X = rows_of_sizes(1, 1, 1, n=5000)
    X[:, 1] = 0
    X[::1000, 1] = 1
    X[:, 2] = 0
    assert warnings_of(regressor(max_iter=1), X, X[:, 0]) == []


def test_offset_counts_as_size():
    X = rows_of_sizes(1, 1)
    X[:, 1] += 2e4  # a year, or a date in days
    assert len(warnings_of(regressor(max_iter=2), X, X[:, 0])) == 1


def test_sizes_whose_squares_overflow_are_reported():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (note,) = notes_of_columns(rows_of_sizes(1, 1e200), OneProcess())
    assert note.fact.endswith("inf in column 1")


def test_partial_fit_says_nothing_of_its_few_rows():
    X = rows_of_sizes(1, 1e5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = regressor().partial_fit(X, X[:, 0])
    assert model._notes == []


# --- where the facts are shown ------------------------------------------------------------------


@pytest.fixture(scope="module")
def rare():
    model = classifier(early_stopping=True, learning_rate_init=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)  # the way to silence them
        return model.fit(*RARE)


def test_facts_are_lines_of_summary_html_and_picture(rare):
    fact = f"early stopping has restored epoch {rare.best_epoch_} of {rare.n_iter_}"
    assert rare._notes[0] == fact
    assert f"note              {fact}" in rare.summary()
    assert f"<td>{fact}</td>" in rare._repr_html_()
    plt = pytest.importorskip("matplotlib.pyplot")
    display = LossCurveDisplay.from_estimator(rare)
    assert display.notes_text_.get_text() == "\n".join(rare._notes)
    good = classifier(max_iter=20, learning_rate="cosine", n_iter_no_change=np.inf).fit(*EASY)
    both = LossCurveDisplay.from_estimators({"a": rare, "b": good})
    assert both.notes_text_.get_text().splitlines()[0] == f"a: {fact}"
    assert LossCurveDisplay.from_estimator(good).notes_text_ is None
    plt.close("all")


def test_facts_and_the_best_epoch_are_kept_in_files(rare, tmp_path):
    rare.save(tmp_path / "model.safetensors")
    for again in (pickle.loads(pickle.dumps(rare)), sknn.load(tmp_path / "model.safetensors")):
        assert again.best_epoch_ == rare.best_epoch_
        assert again._notes == rare._notes
        assert again.summary() == rare.summary()


# --- the gamma loss -----------------------------------------------------------------------------


def amounts(n=600, mean=952):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, 4))
    return X, rng.gamma(2.0, mean / 2, n) * np.exp(X[:, 0] / 2)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_gamma_starts_at_the_mean_of_the_targets(n_members, weighted):
    X, y = amounts()
    weight = np.random.RandomState(0).rand(len(y)) if weighted else None
    model = regressor(loss="gamma", n_members=n_members, learning_rate_init=1e-12, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, sample_weight=weight)
    drawn = regressor(loss="poisson", n_members=n_members, learning_rate_init=1e-12, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        drawn.fit(X, y, sample_weight=weight)
    difference = model.intercepts_[-1] - drawn.intercepts_[-1]
    assert_allclose(difference, np.log(np.average(y, weights=weight)), rtol=1e-6)
    assert_allclose(model.coefs_[-1], drawn.coefs_[-1], atol=1e-9)


def test_poisson_needs_targets_of_mean_one_and_says_so():
    X, y = amounts()
    model = regressor(loss="poisson", early_stopping=True, max_iter=300)
    (text,) = warnings_of(model, X, y)
    assert "Scale the target too" in text
    assert d2_tweedie_score(y, model.predict(X), power=1) < 0
    assert warnings_of(model, X, y / y.mean()) == []
    assert d2_tweedie_score(y / y.mean(), model.predict(X), power=1) > 0.1


@pytest.mark.matrix(1)
@pytest.mark.parametrize("seed", range(5))
def test_gamma_with_early_stopping_learns_targets_of_any_size(seed):
    X, y = amounts()
    model = regressor(loss="gamma", early_stopping=True, random_state=seed, max_iter=300)
    assert warnings_of(model, X, y) == []
    assert model.validation_scores_ == [-loss for loss in model.validation_loss_curve_]
    assert d2_tweedie_score(y, model.predict(X), power=2) > 0.05
