"""Values too large for the dtype and trainings that diverge raise an error and change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from bad_input import KINDS, classes_for, fail, ours_for, pair, spoiled
from conftest import TARGETS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FLOAT32_MAX = float(np.finfo(np.float32).max)

# A value too large for float32 makes NumPy warn of the cast before our error is raised.
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
        return
    if np.isinf(np.square(y).max()):  # scikit-learn returns a model whose loss is infinite
        fail(ours, "fit", X, y, match="Solver produced a non-finite training loss .*StandardScaler")
    else:
        assert np.isfinite(ours.fit(X, y).coefs_[0]).all()


@pytest.mark.matrix(8)
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
