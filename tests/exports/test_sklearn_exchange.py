"""A network and the MLP it is converted to or from predict alike and continue training alike."""

from __future__ import annotations

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
import sklearn
import torch
from conftest import TARGETS, assert_bit_equal, case
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PAIRS = {
    "binary": (FeedForwardClassifier, MLPClassifier),
    "multiclass": (FeedForwardClassifier, MLPClassifier),
    "multilabel": (FeedForwardClassifier, MLPClassifier),
    "one output": (FeedForwardRegressor, MLPRegressor),
    "two outputs": (FeedForwardRegressor, MLPRegressor),
}
SHARED = {"hidden_layer_sizes": (9, 5), "max_iter": 8, "random_state": 0}
SOLVERS = [
    {"solver": "adam", "beta_1": 0.8, "epsilon": 1e-6},
    {"solver": "sgd", "learning_rate_init": 0.01},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
    {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
]


@pytest.fixture(params=PAIRS)
def target(request):
    return request.param


def assert_same_predictions(left, right, X, rtol=1e-12, atol=1e-14):
    """Compare predictions and probabilities. `atol` allows for the digits that 1 - p loses."""
    if hasattr(left, "predict_proba"):
        np.testing.assert_array_equal(left.predict(X), right.predict(X))
        mine, theirs = left.predict_proba(X), right.predict_proba(X)
    else:
        mine, theirs = left.predict(X), right.predict(X)
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


def assert_go_on_alike(left, right, X, y, n_calls=4):
    for _ in range(n_calls):
        left.partial_fit(X, y)
        right.partial_fit(X, y)
    np.testing.assert_allclose(left.loss_curve_, right.loss_curve_, rtol=1e-6)
    for name in ("coefs_", "intercepts_"):
        for mine, theirs in zip(getattr(left, name), getattr(right, name), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9)
    assert left.t_ == right.t_


def fitted(target, **parameters):
    X, y = TARGETS[target]
    kind, _ = PAIRS[target]
    return kind(**{**SHARED, **parameters}).fit(X, y), X, y


# --- to scikit-learn ------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_scikit_learns_estimator_predicts_the_same(target, activation):
    ours, X, _ = fitted(target, activation=activation)
    theirs = ours.to_sklearn()
    assert type(theirs) is PAIRS[target][1]
    check_is_fitted(theirs)
    assert_same_predictions(ours, theirs, X)


@pytest.mark.parametrize("target", PAIRS)
def test_float32_predicts_the_same(target):
    X, y = TARGETS[target]
    X = X.astype(np.float32)
    ours = PAIRS[target][0](**SHARED).fit(X, y)
    theirs = ours.to_sklearn()
    assert theirs.coefs_[0].dtype == np.float32
    assert_same_predictions(ours, theirs, X, rtol=1e-5, atol=1e-6)


def test_it_is_the_estimator_that_scikit_learn_would_have_fitted(target):
    ours, X, y = fitted(target, early_stopping=target == "binary")
    theirs = PAIRS[target][1](**SHARED, early_stopping=target == "binary").fit(X, y)
    made = ours.to_sklearn()
    assert repr(made) == repr(theirs)
    # `_random_state` belongs to the last call alone. The next call creates a new one.
    assert set(vars(theirs)) - {"_random_state"} == set(vars(made))
    for name, value in vars(theirs).items():
        mine = vars(made).get(name)
        if name in ("coefs_", "intercepts_"):
            for a, b in zip(mine, value, strict=True):
                assert (a.dtype, a.flags.c_contiguous) == (b.dtype, b.flags.c_contiguous)
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)
        elif name in ("_optimizer", "_label_binarizer"):
            assert type(mine) is type(value)
            assert vars(mine).keys() == vars(value).keys()
        elif isinstance(value, float | list) and not name.startswith("_best"):
            np.testing.assert_allclose(mine, value, rtol=1e-6, err_msg=name)


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", SOLVERS, ids=case)
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_partial_fit_goes_on_in_scikit_learn(target, parameters):
    ours, X, y = fitted(target, **parameters)
    assert_go_on_alike(ours, ours.to_sklearn(), X, y)


def test_partial_fit_of_another_solver_begins_anew_as_here():
    ours, X, y = fitted("multiclass")
    ours.set_params(solver="sgd")
    theirs = ours.to_sklearn()
    assert not hasattr(theirs, "_optimizer")
    assert_go_on_alike(ours, theirs, X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("target", ["binary", "two outputs"])
def test_warm_start_goes_on_in_scikit_learn(target, solver):
    ours, X, y = fitted(target, solver=solver, warm_start=True)
    theirs = ours.to_sklearn()
    ours.set_params(max_iter=5).fit(X, y)
    theirs.set_params(max_iter=5).fit(X, y)
    assert_same_predictions(ours, theirs, X, rtol=1e-5, atol=1e-8)


def test_early_stopping_goes_on_from_the_best_score():
    ours, X, y = fitted("multiclass", early_stopping=True, warm_start=True)
    theirs = ours.to_sklearn()
    assert theirs.best_validation_score_ == ours.best_validation_score_
    theirs.tol = theirs.n_iter_no_change = 1  # no score can improve by this much
    theirs.best_validation_score_ = 2.0
    theirs.fit(X, y)
    assert_same_predictions(ours, theirs, X)


def test_random_state_is_a_copy():
    ours, X, y = fitted("multiclass", random_state=np.random.RandomState(3), batch_size=20)
    theirs = ours.to_sklearn()
    again = sknn.from_sklearn(theirs)
    assert_go_on_alike(ours, theirs, X, y)
    assert_go_on_alike(again, copy.deepcopy(again), X, y)
    np.testing.assert_allclose(again.loss_curve_, ours.loss_curve_, rtol=1e-6)


def test_changing_one_leaves_the_other():
    ours, X, _ = fitted("multiclass")
    theirs = ours.to_sklearn()
    before = copy.deepcopy(ours)
    for array in (*theirs.coefs_, *theirs.intercepts_, *theirs._optimizer.ms, theirs.classes_):
        array[...] = 0
    theirs.loss_curve_.clear()
    assert_bit_equal(ours, before)


def test_it_pickles_clones_and_scores():
    ours, X, y = fitted("binary")
    theirs = pickle.loads(pickle.dumps(ours.to_sklearn()))
    assert_same_predictions(ours, theirs, X)
    assert theirs.score(X, y) == ours.score(X, y)
    assert not hasattr(clone(theirs).set_params(alpha=1.0), "coefs_")
    assert clone(theirs).fit(X, y).n_iter_ == ours.n_iter_


def test_feature_names_and_string_labels_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y = TARGETS["multiclass"]
    frame = pandas.DataFrame(X, columns=list("abcd"))
    ours = FeedForwardClassifier(**SHARED).fit(frame, np.array(["x", "y", "z"])[y])
    theirs = ours.to_sklearn()
    assert theirs.feature_names_in_.tolist() == list("abcd")
    assert_same_predictions(ours, theirs, frame)
    assert sknn.from_sklearn(theirs).feature_names_in_.tolist() == list("abcd")


@pytest.mark.matrix
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_normalization_becomes_part_of_the_weights(activation, dtype):
    ours, X, _ = fitted("multiclass", normalization="batch", activation=activation, dtype=dtype)
    for name, array in ours.module_state_.items():  # This imitates a long training.
        if array.ndim:
            ours.module_state_[name] = array * np.linspace(0.5, 2, len(array), dtype=array.dtype)
    theirs = ours.to_sklearn()
    assert theirs.coefs_[0].dtype == dtype
    assert not hasattr(theirs, "_optimizer")  # its moments would be those of other weights
    rtol, atol = (1e-11, 1e-13) if dtype == "float64" else (1e-5, 1e-6)
    assert_same_predictions(ours, theirs, X, rtol, atol)


@pytest.mark.parametrize(
    "parameters",
    [
        {"dropout": 0.3, "input_dropout": 0.1},
        {"class_weight": "balanced", "loss": "focal", "label_smoothing": 0.1},
        {"solver": "adamw", "learning_rate": "cosine", "warmup_fraction": 0.1},
        {"solver": torch.optim.RMSprop, "max_grad_norm": 1.0},
        {"solver": "sgd", "learning_rate": "one_cycle", "n_iter_no_change": np.inf},
        {"dtype": "bfloat16", "verbose": "progress"},
        {"scoring": "f1_macro", "early_stopping": True},
        {"activation": ["tanh", "tanh"]},
        {"activation": "gelu", "hidden_layer_sizes": ()},
        {"activation": [], "hidden_layer_sizes": []},
        {"loss": lambda raw, y: (raw - y).square().sum(1)},
    ],
    ids=case,
)
@pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower")
def test_what_predictions_do_not_depend_on_is_left_out(parameters):
    ours, X, _ = fitted("multiclass", **parameters)
    theirs = ours.to_sklearn()
    assert_same_predictions(ours, theirs, X, rtol=1e-5, atol=1e-6)
    theirs._validate_params()


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("squared_error", "squared_error"),
        ("poisson", "poisson"),
        ("gamma", "poisson"),
        ("huber", "squared_error"),
        ("absolute_error", "squared_error"),
        ("quantile", "squared_error"),
        (lambda raw, y: (raw - y).abs().sum(1), "squared_error"),
    ],
    ids=case,
)
def test_losses_become_those_of_the_same_output(loss, expected):
    ours, X, y = fitted("one output", loss=loss)
    theirs = ours.to_sklearn()
    assert theirs.loss == expected
    assert_same_predictions(ours, theirs, X)
    theirs.partial_fit(X, y)


def test_what_scikit_learn_lacks_is_one_error_that_names_all_of_it():
    ours, X, y = fitted(
        "one output",
        activation=["gelu", torch.nn.PReLU],
        normalization="layer",
        loss="quantile",
        quantile=[0.1, 0.9],
        n_members=3,
    )
    with pytest.raises(ValueError) as error:
        ours.to_sklearn()
    parts = (
        "the mean of n_members=3 networks (it supports only one)",
        "modules of your own as activation (PReLU)",
        "the activation 'gelu' (it supports",
        "normalization='layer'",
        "quantile=[0.1, 0.9]",
        "module_",
    )
    for part in parts:
        assert part in str(error.value)


def test_error_names_the_ways_that_are_open():
    for activation, has_files in (("gelu", True), (torch.nn.PReLU, False)):
        ours, *_ = fitted("multiclass", activation=activation)
        with pytest.raises(ValueError, match="module_ .*pickle, which support them") as error:
            ours.to_sklearn()
        assert ("skl2onnx" in str(error.value)) == ("save" in str(error.value)) == has_files


def test_different_activations_are_an_error():
    ours, *_ = fitted("multiclass", activation=["tanh", "relu"])
    with pytest.raises(ValueError, match="different activations"):
        ours.to_sklearn()


def test_one_member_by_itself_is_converted():
    ours, X, _ = fitted("multiclass", n_members=3)
    p = []
    for i in range(3):
        one = clone(ours).set_params(n_members=1)
        one.coefs_ = [coef[i] for coef in ours.coefs_]
        one.intercepts_ = [intercept[i] for intercept in ours.intercepts_]
        one.classes_ = ours.classes_
        theirs = one.to_sklearn()
        assert_same_predictions(one, theirs, X)
        p.append(theirs.predict_proba(X))
    np.testing.assert_allclose(np.mean(p, axis=0), ours.predict_proba(X), rtol=1e-12)


def test_unfitted_network_is_an_error():
    with pytest.raises(NotFittedError):
        FeedForwardClassifier().to_sklearn()


def test_parameters_that_do_not_go_with_the_model_are_an_error():
    ours, *_ = fitted("multiclass")
    with pytest.raises(ValueError, match="require"):
        ours.set_params(normalization="batch").to_sklearn()
    ours.set_params(normalization=None).coefs_ = ours.coefs_[:-1]
    with pytest.raises(ValueError, match="coefs_ of shapes"):
        ours.to_sklearn()


# --- from scikit-learn ----------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_our_estimator_predicts_the_same(target, activation):
    X, y = TARGETS[target]
    kind, theirs = PAIRS[target]
    theirs = theirs(**SHARED, activation=activation).fit(X, y)
    ours = sknn.from_sklearn(theirs)
    assert type(ours) is kind
    assert_same_predictions(theirs, ours, X)


def test_float32_of_scikit_learn_stays_float32():
    X, y = TARGETS["multiclass"]
    X = X.astype(np.float32)
    theirs = MLPClassifier(**SHARED).fit(X, y)
    ours = sknn.from_sklearn(theirs)
    assert ours.predict_proba(X).dtype == np.float32
    assert_same_predictions(theirs, ours, X, rtol=1e-5, atol=1e-6)
    assert ours.partial_fit(X, y).coefs_[0].dtype == np.float32


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_attributes_are_those_of_our_own_fit(target, solver):
    X, y = TARGETS[target]
    kind, theirs = PAIRS[target]
    ours = kind(**SHARED, solver=solver).fit(X, y)
    made = sknn.from_sklearn(theirs(**SHARED, solver=solver).fit(X, y))
    assert set(vars(made)) == set(vars(ours))
    assert made.get_params() == ours.get_params()
    unknown = {"_history", "_solver_state", "_label_binarizer", "device_", "callbacks_"}
    for name in set(vars(ours)) - unknown:
        mine, expected = getattr(made, name), getattr(ours, name)
        assert type(mine) is type(expected), name
        if name in ("coefs_", "intercepts_"):
            for a, b in zip(mine, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        elif isinstance(expected, float | list):
            np.testing.assert_allclose(mine, expected, rtol=1e-5, err_msg=name)
    if solver != "lbfgs":
        assert made._solver_state.keys() == ours._solver_state.keys()
        assert made._solver_state["numbers"].keys() == ours._solver_state["numbers"].keys()
        assert made.net_.history[:, "train_loss"] == made.loss_curve_
        assert made.net_.history[-1].keys() == ours.net_.history[-1].keys()


@pytest.mark.matrix
@pytest.mark.parametrize("parameters", SOLVERS, ids=case)
def test_partial_fit_goes_on_here(target, parameters):
    X, y = TARGETS[target]
    theirs = PAIRS[target][1](**{**SHARED, **parameters}).fit(X, y)
    assert_go_on_alike(sknn.from_sklearn(theirs), theirs, X, y)


def test_partial_fit_goes_on_from_partial_fit_with_all_classes():
    X, y = TARGETS["multiclass"]
    theirs = MLPClassifier(**SHARED).partial_fit(X[:60], y[:60], classes=[0, 1, 2, 7])
    assert_go_on_alike(sknn.from_sklearn(theirs), theirs, X, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start_goes_on_here(early_stopping):
    X, y = TARGETS["binary"]
    parameters = {**SHARED, "warm_start": True, "early_stopping": early_stopping}
    theirs = MLPClassifier(**parameters).fit(X, y)
    ours = sknn.from_sklearn(theirs)
    theirs.fit(X, y)
    ours.fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    if early_stopping:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)
    assert_same_predictions(theirs, ours, X, rtol=1e-5, atol=1e-8)


def test_recorded_rate_is_nan_where_scikit_learn_does_not_tell():
    X, y = TARGETS["multiclass"]
    for schedule, known in (("constant", True), ("invscaling", False), ("adaptive", False)):
        theirs = MLPClassifier(**SHARED, solver="sgd", learning_rate=schedule).fit(X, y)
        rates = sknn.from_sklearn(theirs).learning_rate_curve_
        assert len(rates) == theirs.n_iter_
        assert all(rate == 0.001 if known else np.isnan(rate) for rate in rates)


def test_early_stopping_is_taken_over():
    X, y = TARGETS["multiclass"]
    theirs = MLPClassifier(**SHARED, early_stopping=True).fit(X, y)
    ours = sknn.from_sklearn(theirs)
    assert ours.validation_scores_ == theirs.validation_scores_
    assert np.isnan(ours.validation_loss_curve_).all()
    assert ours.net_.history[:, "valid_score"] == theirs.validation_scores_
    assert_same_predictions(theirs, ours, X)


def test_unfitted_estimator_is_taken_over():
    theirs = MLPRegressor(alpha=0.3, solver="sgd", random_state=4)
    ours = sknn.from_sklearn(theirs)
    assert repr(ours) == "FeedForwardRegressor(alpha=0.3, random_state=4, solver='sgd')"
    with pytest.raises(NotFittedError):
        check_is_fitted(ours)


def test_what_is_taken_over_can_be_saved(tmp_path):
    X, y = TARGETS["multiclass"]
    for parameters in ({}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}):
        ours = sknn.from_sklearn(MLPClassifier(**SHARED, **parameters).fit(X, y))
        ours.save(tmp_path / "model.safetensors")
        assert_bit_equal(sknn.load(tmp_path / "model.safetensors"), ours)


def test_memory_maps_become_arrays(tmp_path):
    ours, X, y = fitted("multiclass")
    joblib.dump([ours, ours.to_sklearn()], tmp_path / "both")
    ours, theirs = joblib.load(tmp_path / "both", mmap_mode="r")
    there, here = ours.to_sklearn(), sknn.from_sklearn(theirs)
    for model in (there, here):
        binarizer = model._label_binarizer
        for array in (*model.coefs_, *model.intercepts_, model.classes_, binarizer.classes_):
            assert type(array) is np.ndarray
        model.partial_fit(X, y)
    here.save(tmp_path / "here")


def test_poisson_loss_of_scikit_learn():
    X, y = TARGETS["counts"]
    theirs = MLPRegressor(**SHARED, loss="poisson").fit(X, y)
    ours = sknn.from_sklearn(theirs)
    assert ours.loss == "poisson"
    assert_same_predictions(theirs, ours, X)
    assert_go_on_alike(ours, theirs, X, y)


def test_sparse_indicator_is_taken_over():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = TARGETS["multilabel"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MLPClassifier(**SHARED).fit(sparse.csr_matrix(X), y)
    assert_same_predictions(theirs, sknn.from_sklearn(theirs), X)


class Subclass(MLPClassifier):
    pass


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (make_pipeline(StandardScaler(), MLPClassifier()), r"from_sklearn\(pipeline\[-1\]\)"),
        (LogisticRegression(), "got LogisticRegression"),
        (MLPClassifier, "got the class MLPClassifier. Pass an instance"),
        (Subclass(), "may predict differently"),
        (FeedForwardClassifier(), "which already belongs to this package. Use it directly"),
        (None, "got NoneType"),
    ],
    ids=case,
)
def test_anything_else_is_an_error_that_says_what_to_do(given, advice):
    with pytest.raises(TypeError, match=advice):
        sknn.from_sklearn(given)


def test_search_is_an_error_that_names_the_best_estimator():
    X, y = TARGETS["multiclass"]
    search = GridSearchCV(MLPClassifier(max_iter=2), {"alpha": [1.0]}, cv=2).fit(X, y)
    with pytest.raises(TypeError, match="search.best_estimator_"):
        sknn.from_sklearn(search)


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.matrix(3)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_there_and_back_is_the_same_model(target, solver):
    ours, X, y = fitted(target, solver=solver)
    back = sknn.from_sklearn(ours.to_sklearn())
    assert_same_predictions(ours, back, X, rtol=0, atol=0)
    assert back.get_params() == ours.get_params()
    if solver != "lbfgs":
        assert_go_on_alike(back, ours, X, y)


@pytest.mark.matrix(3)
def test_back_and_there_is_the_same_model(target):
    X, y = TARGETS[target]
    theirs = PAIRS[target][1](**SHARED).fit(X, y)
    again = sknn.from_sklearn(theirs).to_sklearn()
    assert_same_predictions(theirs, again, X, rtol=0, atol=0)
    assert_go_on_alike(again, theirs, X, y)
    for mine, expected in zip(again._optimizer.vs, theirs._optimizer.vs, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-12)


def test_requests_of_metadata_go_along():
    with sklearn.config_context(enable_metadata_routing=True):
        theirs = MLPClassifier().set_fit_request(sample_weight=True)
        ours = sknn.from_sklearn(theirs)
        assert ours.get_metadata_routing().fit.requests["sample_weight"] is True
        X, y = TARGETS["multiclass"]
        ours.set_params(max_iter=2).set_fit_request(X_val=True)
        back = ours.fit(X, y).to_sklearn()
        assert back.get_metadata_routing().fit.requests == {"sample_weight": True}
