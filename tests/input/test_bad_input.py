"""Bad rows and targets raise a clear error before any training and change nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from bad_input import KINDS, SMALL, classes_for, fail, fitted_for, ours_for, pair, spoiled
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

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


def without_columns(message):
    """Return a message without the line that names the columns, which scikit-learn's has not."""
    return message.partition("\nColumns of X with ")[0]


@pytest.mark.parametrize("process_group", [None, "world"])
@pytest.mark.parametrize("number", [np.array(3.0), np.float64(3), torch.tensor(3.0)], ids=type)
def test_number_in_the_place_of_rows_is_scikit_learns_error(number, process_group):
    ours = fitted_for("multiclass", process_group=process_group)
    fail(ours, "predict", number, match="Expected 2D array, got scalar array")


@pytest.mark.matrix
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
    assert without_columns(message) == str(caught.value).replace(
        type(theirs).__name__, type(ours).__name__
    )
    if solver == "adam":
        fail(ours, "partial_fit", X, y, error=type(caught.value), **classes_for(target))


@pytest.mark.matrix(12)
@pytest.mark.parametrize("kind", list(BAD_ROWS))
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_rows_leave_a_fitted_model(target, kind):
    X, y = TARGETS[target]
    estimator = fitted_for(target)
    for call in ("fit", "partial_fit"):
        fail(estimator, call, BAD_ROWS[kind](X), y, error=(ValueError, TypeError))
    if kind != "one row too few":
        fail(estimator, "predict", BAD_ROWS[kind](X), error=(ValueError, TypeError))


@pytest.mark.matrix(11)
@pytest.mark.parametrize("kind", [kind for kind in BAD_ROWS if kind != "one row too few"])
@pytest.mark.parametrize("target", list(KINDS))
def test_bad_rows_in_predict_raise_scikit_learns_error(target, kind):
    X, y = TARGETS[target]
    theirs, ours = KINDS[target][0](**SMALL).fit(X, y), fitted_for(target)
    with pytest.raises((ValueError, TypeError)) as caught:
        theirs.predict(BAD_ROWS[kind](X))
    message = fail(ours, "predict", BAD_ROWS[kind](X), error=(ValueError, TypeError))
    assert without_columns(message) == str(caught.value).replace(
        type(theirs).__name__, type(ours).__name__
    )


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
    "text": lambda y: "abc",
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
    message = message.partition(". The targets y of a regressor")[0]
    assert message == str(caught.value).replace(type(theirs).__name__, type(ours).__name__)


@pytest.mark.matrix(12)
@pytest.mark.parametrize(("target", "spoil"), list(bad_targets()))
def test_bad_targets_leave_a_fitted_model(target, spoil):
    X, y = TARGETS[target]
    estimator = fitted_for(target)
    for call in ("fit", "partial_fit"):
        fail(estimator, call, X, spoil(y), error=(ValueError, TypeError))


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("fitted", [False, True])
def test_target_of_a_regressor_that_is_not_a_number_raises(call, fitted):
    # scikit-learn raises a ufunc's TypeError in the first epoch, or ends with non-finite weights.
    X, y = TARGETS["one output"]
    estimator = ours_for("one output")
    if fitted:
        estimator.fit(X, y)
    fail(estimator, call, X, np.full(len(y), "word"), match="array of numbers, got <U4")
    with_words = np.array([*y[:-1], "hi"], dtype=object)
    advice = "The targets y of a regressor must .* Use FeedForwardClassifier to predict labels.$"
    for words in (with_words, pd.Series(with_words), pd.Series(["a"] * len(y), dtype="category")):
        fail(estimator, call, X, words, match=f"^could not convert .*'. {advice}")
    fail(estimator, call, X, with_words.tolist(), match=advice)
    with_none = np.array([*y[:-1], None], dtype=object)
    fail(estimator, call, X, with_none, match="Input y contains NaN")


def test_numbers_written_as_text_are_targets_as_in_scikit_learn():
    X, y = TARGETS["one output"]
    expected = ours_for("one output").fit(X, y)
    assert_bit_equal(ours_for("one output").fit(X, pd.Series(y).map(repr)), expected)


def test_y_val_of_text_is_named():
    X, y = TARGETS["one output"]
    text = pd.Series(["a"] * len(y))
    match = "^y_val cannot be used.* 'a'. The targets y_val of a regressor must be"
    fail(ours_for("one output"), "fit", X, y, X_val=X, y_val=text, match=match)


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
    assert "y >= 0. If you standardized the targets, divide them by their mean instead." in message
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
    # Where there are many classes, scikit-learn takes 7 for "7".
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
