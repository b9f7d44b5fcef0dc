"""`target_scaling` learns standardized targets, predicts in the units of y, and may clip."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_squared_error
from sklearn.preprocessing import StandardScaler

import sknn
from sknn import FeedForwardRegressor
from sknn._files import _container

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, ONE = TARGETS["one output"][0], load_diabetes().target
TWO = np.c_[1e3 * ONE + 5e4, -0.01 * ONE**2]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0, "batch_size": 64}
LEVELS = [0.1, 0.5, 0.9]
LOSSES = {
    "squared_error": {},
    "absolute_error": {"loss": "absolute_error"},
    "huber": {"loss": "huber", "huber_delta": 0.5},
    "quantile": {"loss": "quantile", "quantile": 0.8},
    "levels": {"loss": "quantile", "quantile": LEVELS},
}


def scaled(**parameters):
    return FeedForwardRegressor(**SMALL | {"target_scaling": "standard"} | parameters)


def plain(**parameters):
    return FeedForwardRegressor(**SMALL | parameters)


def standardized(y):
    """Return standardized targets, and the function that gives predictions their units."""
    scaler = StandardScaler().fit(y.reshape(len(y), -1))

    def with_units(prediction):
        mean, scale = scaler.mean_, scaler.scale_
        if y.ndim == 1:
            return prediction * scale[0] + mean[0]
        if prediction.ndim == 3:
            mean, scale = mean[:, None], scale[:, None]
        return prediction * scale + mean

    return scaler.transform(y.reshape(len(y), -1)).reshape(y.shape), with_units


def assert_close(actual, expected, tolerance=1e-10):
    assert actual.shape == expected.shape
    assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("y", [ONE, TWO], ids=["one target", "two targets"])
def test_training_equals_that_on_targets_that_are_standardized_by_hand(y, loss, solver):
    if solver == "lbfgs" and loss not in ("squared_error", "huber"):
        pytest.skip("a line search on corners is not the same after rounding")
    z, with_units = standardized(y)
    model = scaled(solver=solver, **LOSSES[loss]).fit(X, y)
    by_hand = plain(solver=solver, **LOSSES[loss]).fit(X, z)
    assert_close(model.predict(X), with_units(by_hand.predict(X)))
    assert_allclose(model.loss_, by_hand.loss_)
    assert model.n_iter_ == by_hand.n_iter_
    # The layers before the last one are those of the training.
    assert_allclose(model.coefs_[0], by_hand.coefs_[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("n_members", [2, 3])
def test_members_equal_those_on_targets_that_are_standardized_by_hand(n_members):
    z, with_units = standardized(TWO)
    model = scaled(n_members=n_members).fit(X, TWO)
    by_hand = plain(n_members=n_members).fit(X, z)
    assert_close(model.predict(X), with_units(by_hand.predict(X)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_predictions_of_other_dtypes_are_in_the_units_of_y(dtype):
    z, with_units = standardized(ONE)
    model, by_hand = (make(dtype=dtype).fit(X, y) for make, y in ((scaled, ONE), (plain, z)))
    tolerance = 1e-4 if dtype == "float32" else 0.05
    assert_close(model.predict(X), with_units(by_hand.predict(X)), tolerance)


def test_sparse_rows_and_weights_equal_those_by_hand():
    weight = np.random.RandomState(0).uniform(0, 2, len(X))
    mean = weight @ ONE / weight.sum()
    scale = np.sqrt(weight @ (ONE - mean) ** 2 / weight.sum())
    rows = scipy.sparse.csr_matrix(np.where(X > 1, X, 0))
    model = scaled().fit(rows, ONE, weight)
    by_hand = plain().fit(rows, (ONE - mean) / scale, weight)
    assert_close(model.predict(rows), by_hand.predict(rows) * scale + mean)


def test_weights_are_numbers_of_rows():
    counts = np.random.RandomState(0).randint(0, 3, len(X))
    options = {"batch_size": 10**6, "shuffle": False}
    repeated = np.repeat(np.arange(len(X)), counts)
    with pytest.warns(UserWarning, match="batch_size"):
        weighted = scaled(**options).fit(X, ONE, counts)
        several = scaled(**options).fit(X[repeated], ONE[repeated])
    assert_close(weighted.predict(X), several.predict(X), 1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "levels"])
def test_early_stopping_equals_that_by_hand(loss):
    z, with_units = standardized(ONE)
    options = {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 60, **LOSSES[loss]}
    options["learning_rate_init"] = 0.02
    model, by_hand = scaled(**options).fit(X, ONE), plain(**options).fit(X, z)
    assert_close(model.predict(X), with_units(by_hand.predict(X)))
    assert_allclose(model.validation_scores_, by_hand.validation_scores_)
    assert_allclose(model.validation_loss_curve_, by_hand.validation_loss_curve_)
    assert model.n_iter_ == by_hand.n_iter_ < 60


def test_own_validation_targets_are_in_the_units_of_y():
    mean, scale = ONE[50:].mean(), ONE[50:].std()
    model = scaled().fit(X[50:], ONE[50:], X_val=X[:50], y_val=ONE[:50])
    z = (ONE - mean) / scale
    by_hand = plain().fit(X[50:], z[50:], X_val=X[:50], y_val=z[:50])
    assert_allclose(model.validation_loss_curve_, by_hand.validation_loss_curve_)
    assert_allclose(model.validation_scores_, by_hand.validation_scores_)


def test_scorers_of_the_user_see_predictions_and_targets_in_the_units_of_y():
    seen = []

    def scoring(estimator, rows, y):
        seen.append((estimator.predict(rows), y))
        return -mean_squared_error(y, estimator.predict(rows))

    model = scaled(scoring=scoring, early_stopping=True).fit(X, ONE)
    assert set(np.concatenate([y for _, y in seen])) <= set(ONE)
    errors = [mean_squared_error(y, prediction) for prediction, y in seen]
    assert_allclose(model.validation_scores_, -np.array(errors[-len(model.validation_scores_) :]))
    assert ONE.min() < seen[-1][0].mean() < ONE.max()


def test_constant_target_is_predicted():
    y = np.full(len(X), 123.4)
    model = scaled(max_iter=200, learning_rate_init=0.01).fit(X, y)
    assert_allclose(model.predict(X), 123.4, atol=0.2)
    both = scaled().fit(X, np.c_[y, ONE])
    assert np.isfinite(both.predict(X)).all()
    one = scaled(batch_size=1).fit(X[:1], y[:1])
    assert one.predict(X[:1]) == pytest.approx(123.4, abs=1)


def test_targets_of_any_unit_are_learned_alike():
    expected = scaled().fit(X, ONE).predict(X)
    for factor, shift in ((1e-12, 0.0), (1e12, 0.0), (-3.0, 1e4)):
        moved = scaled().fit(X, factor * ONE + shift)
        if factor < 0:  # another sign is another problem, but of the same difficulty
            assert moved.score(X, factor * ONE + shift) > 0.3
        else:
            assert_close(moved.predict(X) / factor, expected, 1e-8)


# --- going on ---------------------------------------------------------------------------------


def assert_same_training(left, right, tolerance=1e-8):
    for mine, theirs in zip(
        [*left.coefs_, *left.intercepts_], [*right.coefs_, *right.intercepts_], strict=True
    ):
        assert_close(mine, theirs, tolerance)
    assert_allclose(left.loss_curve_, right.loss_curve_, rtol=tolerance)


@pytest.mark.parametrize("loss", ["squared_error", "levels"])
def test_partial_fits_equal_one_fit(loss):
    options = {"shuffle": False, "max_iter": 4, "n_iter_no_change": np.inf, **LOSSES[loss]}
    whole, model = scaled(**options).fit(X, TWO), scaled(**options)
    for _ in range(4):
        model.partial_fit(X, TWO)
        model = pickle.loads(pickle.dumps(model))
    assert_same_training(model, whole)


def test_partial_fit_keeps_the_scale_of_the_first_rows():
    # Later rows have another mean. They are learned in the units of the first ones.
    model = scaled().partial_fit(X[:100], ONE[:100])
    by_hand = plain().partial_fit(X[:100], (ONE[:100] - ONE[:100].mean()) / ONE[:100].std())
    later = 100 + 3 * ONE
    model.partial_fit(X, later)
    by_hand.partial_fit(X, (later - ONE[:100].mean()) / ONE[:100].std())
    prediction = by_hand.predict(X) * ONE[:100].std() + ONE[:100].mean()
    assert_close(model.predict(X), prediction, 1e-8)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_warm_start_equals_that_by_hand(solver):
    z, with_units = standardized(ONE)
    options = {"warm_start": True, "solver": solver, "max_iter": 5}
    model, by_hand = scaled(**options), plain(**options)
    for _ in range(3):
        model.fit(X, ONE)
        by_hand.fit(X, z)
    assert_close(model.predict(X), with_units(by_hand.predict(X)), 1e-7)


def test_fit_without_warm_start_learns_the_scale_anew():
    model = scaled().fit(X, 1e6 * ONE).fit(X, ONE)
    assert_bit_equal(model, scaled().fit(X, ONE))


def test_failed_fit_leaves_the_scale_that_was_there(monkeypatch):
    model = scaled(max_iter=3).fit(X, ONE)
    untouched = copy.deepcopy(model)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X, np.where(np.arange(len(X)) == 3, np.nan, 1e6 * ONE))
    with pytest.raises(ValueError, match="target_scaling"):
        model.set_params(loss="poisson").fit(X, 1e6 * ONE)
    model.set_params(loss="squared_error")
    with pytest.raises(ValueError, match="non-finite"):
        model.set_params(learning_rate_init=1e200, solver="sgd").fit(X, 1e6 * ONE)
    model.set_params(learning_rate_init=1e-3, solver="adam")
    assert_bit_equal(model, untouched)
    assert_bit_equal(model.partial_fit(X, ONE), untouched.partial_fit(X, ONE))


def test_weights_set_by_hand_are_in_the_units_of_y_and_train_as_they_are():
    fitted = scaled().fit(X, ONE)
    model = scaled(warm_start=True, max_iter=2)
    model.coefs_ = [coef.copy() for coef in fitted.coefs_]
    model.intercepts_ = [intercept.copy() for intercept in fitted.intercepts_]
    assert_array_equal(model.predict(X), fitted.predict(X))
    # Nobody has learned a scale, so the targets are learned as they are.
    by_hand = plain(warm_start=True, max_iter=2)
    by_hand.coefs_, by_hand.intercepts_ = fitted.coefs_, fitted.intercepts_
    assert_array_equal(model.fit(X, ONE).predict(X), by_hand.fit(X, ONE).predict(X))


def test_training_goes_on_from_weights_that_were_edited():
    z, with_units = standardized(ONE)
    model, by_hand = scaled(max_iter=2).fit(X, ONE), plain(max_iter=2).fit(X, z)
    model.intercepts_[-1][:] += 10 * ONE.std()
    by_hand.intercepts_[-1][:] += 10
    assert_close(model.predict(X), with_units(by_hand.predict(X)))
    model.partial_fit(X, ONE)
    by_hand.partial_fit(X, z)
    assert_close(model.predict(X), with_units(by_hand.predict(X)))


# --- clipped predictions ------------------------------------------------------------------------

FAR = 100 * X  # rows that lie far outside those that were learned from


def clipped(**parameters):
    return scaled(target_scaling="clipped", **parameters)


def limited(prediction, y):
    """Return predictions, which may have an axis of levels, in the range of the targets."""
    low, high = y.min(axis=0), y.max(axis=0)
    if prediction.ndim == 3:
        low, high = low[:, None], high[:, None]
    return np.clip(prediction, low, high)


@pytest.mark.matrix
@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("y", [ONE, TWO], ids=["one target", "two targets"])
def test_clipped_predictions_are_in_the_range_of_the_targets(y, loss, n_members):
    standard, model = (
        make(n_members=n_members, **LOSSES[loss]).fit(X, y) for make in (scaled, clipped)
    )
    for mine, theirs in zip(model.coefs_, standard.coefs_, strict=True):
        assert_array_equal(mine, theirs)  # Training does not change.
    expected = limited(standard.predict(FAR), y)
    assert (expected != standard.predict(FAR)).any()
    assert_allclose(model.predict(FAR), expected, rtol=1e-12)
    assert_array_equal(model.predict(FAR), model.net_.predict(FAR))
    if loss == "levels":
        assert (np.diff(model.predict(FAR)) >= 0).all()


def test_clipped_predictions_of_float32_are_in_the_range():
    model = clipped(dtype="float32").fit(X, ONE)
    prediction = model.predict(FAR)
    assert prediction.dtype == np.float32
    assert (prediction.min(), prediction.max()) == (np.float32(ONE.min()), np.float32(ONE.max()))


@pytest.mark.parametrize("loss", ["squared_error", "levels"])
def test_scores_and_losses_of_validation_rows_are_those_of_clipped_predictions(loss):
    options = {"max_iter": 3, **LOSSES[loss]}
    own = {"X_val": FAR[:50], "y_val": TWO[:50]}
    model = clipped(**options).fit(X[50:], TWO[50:], **own)
    assert_allclose(model.score(FAR[:50], TWO[:50]), model.validation_scores_[-1])
    if loss == "squared_error":
        errors = (model.predict(FAR[:50]) - TWO[:50]) / TWO[50:].std(axis=0)
        assert_allclose(model.validation_loss_curve_[-1], 0.5 * np.mean(errors**2))
    unlimited = scaled(**options).fit(X[50:], TWO[50:], **own)
    assert model.validation_loss_curve_[-1] < unlimited.validation_loss_curve_[-1]


def test_range_is_that_of_all_rows_that_were_learned_from():
    weight = np.ones(len(X))
    weight[ONE.argmax()] = weight[ONE.argmin()] = 0
    inner = ONE[weight > 0]
    model = clipped().fit(X, ONE, weight)
    assert (model.predict(FAR).min(), model.predict(FAR).max()) == (inner.min(), inner.max())
    model.partial_fit(X[:100], 1000 + ONE[:100])  # The range grows.
    assert model._target_scaling[2:] == (inner.min(), 1000 + ONE[:100].max())
    again = clipped().fit(X, ONE, weight)
    assert again._target_scaling[:2] == model._target_scaling[:2]
    # The model decides, and not a parameter that was set later.
    model.set_params(target_scaling=None).partial_fit(X[:100], ONE[:100] - 1000)
    assert model._target_scaling[2:] == ((ONE[:100] - 1000).min(), 1000 + ONE[:100].max())


def test_failed_fit_leaves_the_range_that_was_there():
    model = clipped(max_iter=3, solver="sgd").fit(X, ONE)
    untouched = copy.deepcopy(model)
    with pytest.raises(ValueError, match="non-finite"):
        model.set_params(learning_rate_init=1e200).partial_fit(X, 1e6 * ONE)
    assert_bit_equal(model.set_params(learning_rate_init=1e-3), untouched)


@pytest.mark.parametrize("target_scaling", ["standard", "clipped"])
def test_infinite_outputs_for_validation_rows_are_not_hidden(target_scaling):
    model = scaled(target_scaling=target_scaling, activation="identity", hidden_layer_sizes=64)
    with np.errstate(all="ignore"):
        model.fit(X[50:], ONE[50:], X_val=np.full((50, 10), 1.7e308), y_val=ONE[:50])
    assert np.isnan(model.validation_scores_).all()


def test_output_layer_of_another_size_after_a_clipped_fit_is_an_error():
    model = clipped().fit(X, TWO)
    model.coefs_[-1], model.intercepts_[-1] = np.ones((8, 3)), np.ones(3)
    with pytest.raises(ValueError, match=r"range of 2 targets .*, but coefs_ .* 3 outputs"):
        model.predict(X)


@pytest.mark.parametrize("loss", ["squared_error", "levels"])
@pytest.mark.parametrize("n_members", [1, 2])
def test_clipped_model_is_saved_and_exported(loss, n_members, again, tmp_path):
    model = clipped(n_members=n_members, **LOSSES[loss]).fit(X, TWO)
    loaded = again(model)
    assert_bit_equal(loaded, model)
    assert_array_equal(loaded.predict(FAR), model.predict(FAR))
    assert_bit_equal(loaded.partial_fit(X, 2 * TWO), model.partial_fit(X, 2 * TWO))
    with pytest.raises(ValueError, match="target_scaling='clipped', which limits"):
        model.to_sklearn()
    onnxruntime = pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")
    session = onnxruntime.InferenceSession(
        skl2onnx.to_onnx(model, X[:1]).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (prediction,) = session.run(None, {session.get_inputs()[0].name: FAR})
    expected = model.predict(FAR)
    assert_allclose(prediction.reshape(expected.shape), expected, rtol=1e-9)


def test_other_levels_after_a_fit_change_nothing():
    model = clipped(**LOSSES["levels"]).fit(X, TWO)
    expected = model.predict(FAR)
    assert_array_equal(model.set_params(quantile=[0.2, 0.8]).predict(FAR), expected)


# --- ways out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "levels"])
@pytest.mark.parametrize("y", [ONE, TWO], ids=["one target", "two targets"])
def test_file_goes_on_as_if_never_saved(y, loss, again):
    model = scaled(**LOSSES[loss]).fit(X, y)
    loaded = again(model)
    assert_bit_equal(loaded, model)
    assert_bit_equal(loaded.partial_fit(X, y), model.partial_fit(X, y))


def changed(model, path, change):
    """Save a model, and change the document of the file."""
    model.save(path)
    contents = _container.read(path)
    change(contents.document)
    pieces = _container.pack(contents.document, list(enumerate_names(contents)))
    path.write_bytes(b"".join(map(bytes, pieces)))


def enumerate_names(contents):
    return ((f"a.{i}", array) for i, array in enumerate(contents.arrays))


def test_file_without_the_attribute_is_refused(tmp_path):
    model = plain().fit(X, ONE)
    changed(
        model, tmp_path / "file", lambda document: document["attributes"].pop("_target_scaling")
    )
    with pytest.raises(ValueError, match="_target_scaling"):
        sknn.load(tmp_path / "file")


def test_file_of_format_1_is_of_targets_as_they_are(tmp_path):
    def as_format_1(document):
        document["format"] = 1
        del document["attributes"]["_target_scaling"]

    model = plain().fit(X, ONE)
    changed(model, tmp_path / "file", as_format_1)
    assert_bit_equal(sknn.load(tmp_path / "file"), model)


@pytest.mark.parametrize(
    "scaling", [[0.0, 1.0], {"$tuple": [0.0, 1.0]}, "standard", {"$tuple": []}], ids=str
)
def test_file_with_an_unsound_scale_is_refused(scaling, tmp_path):
    def spoil(document):
        document["attributes"]["_target_scaling"] = scaling

    changed(plain().fit(X, ONE), tmp_path / "file", spoil)
    with pytest.raises(ValueError, match="_target_scaling"):
        sknn.load(tmp_path / "file")


@pytest.mark.parametrize(
    "scaling",
    [
        (np.zeros(1), np.ones(1), np.zeros(1)),
        (np.zeros(1), np.ones(1), np.ones(1), np.zeros(1)),
        (np.zeros(1), np.ones(1), np.zeros(1), np.full(1, np.inf)),
        (np.zeros(1), np.zeros(1)),
        (np.zeros(1), -np.ones(1)),
        (np.zeros(2), np.ones(2)),
        (np.full(1, np.nan), np.ones(1)),
        (np.zeros(1), np.full(1, np.inf)),
    ],
    ids=str,
)
def test_model_with_an_unsound_scale_is_not_saved(scaling, tmp_path):
    model = scaled().fit(X, ONE)
    model._target_scaling = scaling
    with pytest.raises(ValueError, match="_target_scaling"):
        model.save(tmp_path / "file")


def test_pickle_of_a_version_without_scaled_targets_goes_on():
    model = plain().fit(X, ONE)
    state = model.__getstate__()
    del state["_target_scaling"], state["target_scaling"]
    old = object.__new__(FeedForwardRegressor)
    old.__setstate__(state)
    assert_bit_equal(old.partial_fit(X, ONE), model.partial_fit(X, ONE))


def test_module_and_net_and_mlp_predict_in_the_units_of_y():
    for y in (ONE, TWO):
        model = scaled().fit(X, y)
        expected = model.predict(X).reshape(len(X), -1)
        rows = torch.from_numpy(X)
        assert_close(model.module_(rows).detach().numpy(), expected, 1e-12)
        assert_close(model.net_.module_(rows).detach().numpy(), expected, 1e-12)
        theirs = model.to_sklearn()
        assert_close(theirs.predict(X), model.predict(X), 1e-12)
        # scikit-learn's training would go on in other units, so it begins with a new optimizer.
        assert not hasattr(theirs, "_optimizer")
        theirs.partial_fit(X, y)


@pytest.mark.parametrize("loss", ["squared_error", "levels"])
def test_onnx_predicts_in_the_units_of_y(loss):
    onnxruntime = pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")
    model = scaled(**LOSSES[loss]).fit(X, ONE)
    converted = skl2onnx.to_onnx(model, X[:1])
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (prediction,) = session.run(None, {session.get_inputs()[0].name: X})
    assert_close(prediction.reshape(model.predict(X).shape), model.predict(X), 1e-9)


def test_clone_has_the_parameter_and_no_scale():
    cloned = clone(scaled().fit(X, ONE))
    assert cloned.target_scaling == "standard"
    assert not hasattr(cloned, "_target_scaling")


def test_default_scales_nothing():
    model = FeedForwardRegressor(**SMALL).fit(X, ONE)
    assert model.target_scaling is None and model._target_scaling is None
