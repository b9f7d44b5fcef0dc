"""Validation rows may be frames, sparse or of other types, with and without weights."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import scipy.special
import torch
from conftest import assert_bit_equal, case
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from validation import assert_same_weights, data, network, unweighted, worst_class

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def torch_warns_always():
    """Let torch warn every time, and not only once per process."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("scoring", [None, "loss", "balanced_accuracy", worst_class], ids=case)
def test_frames_with_names_give_no_warning(scoring, early_stopping):
    X, y, validation = data("multiclass")
    names = [f"x{i}" for i in range(X.shape[1])]
    frames = {
        "X_val": pd.DataFrame(validation["X_val"], columns=names),
        "y_val": pd.Series(validation["y_val"], index=np.arange(len(validation["y_val"]))[::-1]),
        "sample_weight_val": pd.Series(validation["sample_weight_val"]),
    }
    model = network("multiclass", scoring=scoring, early_stopping=early_stopping)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        framed = model.fit(pd.DataFrame(X, columns=names), pd.Series(y), **frames)
    assert list(framed.feature_names_in_) == names
    plain = network("multiclass", scoring=scoring, early_stopping=early_stopping)
    plain.fit(X, y, **validation)
    assert_same_weights(framed, plain)
    assert framed.validation_scores_ == plain.validation_scores_
    assert framed.validation_loss_curve_ == plain.validation_loss_curve_


def test_frame_with_columns_of_other_names_raises():
    X, y, validation = data("multiclass")
    names = [f"x{i}" for i in range(X.shape[1])]
    frame = pd.DataFrame(validation["X_val"], columns=names[::-1])
    with pytest.raises(ValueError, match="(?s)X_val.*feature names"):
        network("multiclass").fit(
            pd.DataFrame(X, columns=names), y, X_val=frame, y_val=validation["y_val"]
        )


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("scoring", [None, "loss", "accuracy"])
@pytest.mark.parametrize("form", ["csr_array", "csc_matrix"])
@pytest.mark.parametrize("sparse_rows", [False, True], ids=["dense X", "sparse X"])
def test_sparse_validation_rows_equal_dense_ones(sparse_rows, form, scoring, early_stopping):
    X, y, validation = data("multilabel")
    if sparse_rows:
        X = scipy.sparse.csr_matrix(X)
    results = []
    for make in (np.asarray, getattr(scipy.sparse, form)):
        model = network("multilabel", scoring=scoring, early_stopping=early_stopping, max_iter=3)
        results.append(model.fit(X, y, **{**validation, "X_val": make(validation["X_val"])}))
    dense, sparse = results
    assert_same_weights(sparse, dense)
    assert_allclose(sparse.validation_scores_, dense.validation_scores_, rtol=1e-12)
    assert_allclose(sparse.validation_loss_curve_, dense.validation_loss_curve_, rtol=1e-12)


FORMS = {
    "lists": lambda array: array.tolist(),
    "Fortran order": np.asfortranarray,
    "read only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "big endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "objects": lambda array: array.astype(object),
}


@pytest.mark.matrix(8)
@pytest.mark.parametrize("scoring", [None, "loss", "max_error_of_mine"])
@pytest.mark.parametrize(
    ("target", "form"),
    [
        (target, form)
        for target in ("binary", "one output", "two outputs")
        for form in FORMS
        if (target, form) != ("binary", "objects")  # sklearn takes no number objects as labels.
    ],
)
def test_form_of_the_validation_data_does_not_matter(target, form, scoring, torch_warns_always):
    if scoring == "max_error_of_mine":

        def scoring(estimator, X, y):
            return -np.abs(y - estimator.predict(X)).max()

    X, y, validation = data(target)
    plain = network(target, scoring=scoring, max_iter=2).fit(X, y, **validation)
    given = {name: FORMS[form](array) for name, array in validation.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        formed = network(target, scoring=scoring, max_iter=2).fit(X, FORMS[form](y), **given)
    assert_bit_equal(formed, plain)


def test_labels_of_validation_rows_may_be_sparse_or_lack_a_class():
    X, y, validation = data("multilabel")
    plain = network("multilabel").fit(X, y, **validation)
    sparse = {**validation, "y_val": scipy.sparse.csr_matrix(validation["y_val"])}
    assert_bit_equal(network("multilabel").fit(X, y, **sparse), plain)
    for target in ("binary", "multiclass"):
        X, y, validation = data(target)
        rows = validation["y_val"] == 1
        given = {name: array[rows] for name, array in validation.items()}
        model = network(target, max_iter=1).fit(X, y, **given)
        assert model.validation_scores_ == pytest.approx([model.score(*given.values())], rel=1e-12)


@pytest.mark.parametrize("names", [("no", "yes"), ("ash", "birch")])
def test_labels_of_validation_rows_may_be_strings(names):
    X, y, validation = data("binary")
    names = np.array(names)
    plain = network("binary", early_stopping=True).fit(X, y, **validation)
    given = {**validation, "y_val": names[validation["y_val"]].astype(object)}
    named = network("binary", early_stopping=True).fit(X, names[y], **given)
    assert_same_weights(named, plain)
    assert named.validation_scores_ == plain.validation_scores_


def test_column_of_validation_targets_is_taken_as_a_vector_with_the_warning_of_y():
    X, y, validation = data("one output")
    plain = network("one output").fit(X, y, **validation)
    with pytest.warns(match="column-vector y was passed"):
        column = network("one output").fit(
            X, y, **{**validation, "y_val": validation["y_val"][:, None]}
        )
    assert_bit_equal(column, plain)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_one_number_as_sample_weight_val_equals_no_weights(early_stopping):
    X, y, validation = data("multiclass")
    plain = network("multiclass", early_stopping=early_stopping).fit(X, y, **unweighted(validation))
    one = network("multiclass", early_stopping=early_stopping)
    one.fit(X, y, **{**validation, "sample_weight_val": 2.0})
    assert_same_weights(one, plain)
    assert_allclose(one.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("target", ["multiclass", "two outputs"])
def test_whole_weights_of_validation_rows_equal_repeated_rows(target):
    X, y, validation = data(target)
    times = np.random.RandomState(0).randint(0, 4, len(validation["X_val"]))
    weighted = network(target).fit(X, y, **{**validation, "sample_weight_val": times})
    repeated = {k: np.repeat(v, times, axis=0) for k, v in unweighted(validation).items()}
    copied = network(target).fit(X, y, **repeated)
    assert_allclose(weighted.validation_scores_, copied.validation_scores_, rtol=1e-10)
    assert_allclose(weighted.validation_loss_curve_, copied.validation_loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_validation_rows_of_another_float_are_computed_with_in_the_models(target):
    X, y, validation = data(target)
    X = X.astype(np.float32)
    given = {**validation, "X_val": validation["X_val"].astype(np.float32)}
    single = network(target).fit(X, y, **given)
    double = network(target).fit(X, y, **validation)
    assert double.coefs_[0].dtype == np.float32
    assert_bit_equal(double, single)


@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_arrays_of_the_user_are_left_as_they_were(target):
    X, y, validation = data(target)
    copies = {name: array.copy() for name, array in validation.items()}
    network(target, early_stopping=True, scoring="loss").fit(X, y, **validation)
    for name, array in validation.items():
        assert_array_equal(array, copies[name])


def test_model_holds_no_validation_data():
    X, y, validation = data("one output")
    many = {name: np.repeat(array, 50, axis=0) for name, array in validation.items()}
    for parameters in ({}, {"early_stopping": True}, {"scoring": "r2"}):
        few, model = (
            pickle.dumps(network("one output", **parameters).fit(X, y, **given))
            for given in (validation, many)
        )
        assert len(model) == len(few)
