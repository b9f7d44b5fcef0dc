"""Some changes of the input must not change a model, or must change it in a known way.

hypothesis searches for counterexamples.
"""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import assert_bit_equal
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from strategies import (
    SPARSE,
    WHOLE,
    Data,
    data,
    disordered,
    fit_arguments,
    plain_parameters,
    read_only,
    some_targets,
    strided,
)

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size`:UserWarning"),
    pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower:UserWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning"),
    pytest.mark.filterwarnings("ignore:X has feature names:UserWarning"),
]
NAMES = {
    "strings": np.array(["a", "bb", "c", "d"]),
    "objects": np.array(["a", "bb", "c", "d"], dtype=object),
    "floats": np.array([-2.0, 0.0, 1.0, 7.0]),
    "short integers": np.array([-100, 0, 1, 100], dtype=np.int8),
    "unsigned": np.array([0, 1, 2**40, 2**63], dtype=np.uint64),
    "booleans": np.array([False, True]),
}


def fit_or_error(model, *arguments, call="fit", **more):
    """Call `fit`, or the method named `call`, and return the model or the ValueError."""
    try:
        return getattr(model, call)(*arguments, **more)
    except ValueError as error:
        return error


def assert_same_weights(one, two):
    for left, right in zip(
        [*one.coefs_, *one.intercepts_], [*two.coefs_, *two.intercepts_], strict=True
    ):
        assert left.dtype == right.dtype
        assert_array_equal(left, right)
    assert repr(one.loss_) == repr(two.loss_)


# --- labels -----------------------------------------------------------------------------------


@given(st.data())
def test_renamed_labels_change_only_the_names(draws):
    problem = draws.draw(data(draws.draw(st.sampled_from(["binary", "multiclass"]))))
    names = NAMES[draws.draw(st.sampled_from(list(NAMES)))]
    assume(len(names) >= len(problem.classes))
    chosen = draws.draw(plain_parameters(problem))
    code = {label: names[i] for i, label in enumerate(problem.classes.tolist())}

    def renamed(y):
        return names[np.searchsorted(problem.classes, y)]

    weights = chosen.get("class_weight")
    if isinstance(weights, dict):
        weights = {code[label]: weight for label, weight in weights.items()}
    by_name = {**chosen, "class_weight": weights}
    arguments = fit_arguments(chosen, problem)
    in_names = {k: renamed(v) if k == "y_val" else v for k, v in arguments.items()}
    call, more = "fit", (arguments, in_names)
    if draws.draw(st.booleans()) and chosen["solver"] != "lbfgs":
        call = "partial_fit"
        more = tuple({"classes": c} for c in (problem.classes, renamed(problem.classes)))
    X, y, weight = problem.X, problem.y, problem.sample_weight
    one = fit_or_error(problem.estimator(**chosen), X, y, weight, call=call, **more[0])
    two = fit_or_error(problem.estimator(**by_name), X, renamed(y), weight, call=call, **more[1])
    assert type(one) is type(two)
    if isinstance(one, ValueError):
        return
    assert_same_weights(one, two)
    assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert_array_equal(two.classes_, renamed(one.classes_))
    prediction = two.predict(X)
    assert prediction.dtype == two.classes_.dtype
    assert_array_equal(prediction, renamed(one.predict(X)))


def smooth_problem(draws, target, n_classes=3):
    """Return a generator and a problem with all classes, of a size that L-BFGS solves exactly."""
    rng = np.random.RandomState(draws.draw(st.integers(0, 2**16)))
    n_samples, n_features = draws.draw(st.integers(8, 30)), draws.draw(st.integers(1, 4))
    X = rng.standard_normal((n_samples, n_features))
    if target in ("binary", "multiclass"):
        y = np.arange(n_samples) % (2 if target == "binary" else n_classes)
    else:
        y = some_targets(rng, n_samples, target, None)
    return rng, Data(target, X, y)


AT_OPTIMUM = {"hidden_layer_sizes": (), "solver": "lbfgs", "tol": 1e-9, "max_iter": 5000}


@pytest.mark.long
@given(st.data())
def test_permuted_classes_permute_the_results_at_the_optimum(draws):
    # With a penalty the optimal probabilities are unique, wherever L-BFGS starts. SciPy stops when
    # an iteration gains less than 2e-9 of the loss. With a curvature of alpha / n, the distance to
    # the optimum is then about sqrt(2 * 2e-9 * n / alpha), which is at most 1e-3 here.
    target = draws.draw(st.sampled_from(["binary", "multiclass"]))
    rng, problem = smooth_problem(draws, target, n_classes=draws.draw(st.integers(3, 5)))
    permutation = rng.permutation(len(problem.classes))
    weights = draws.draw(st.sampled_from([None, "balanced"]))
    options = {
        "alpha": draws.draw(st.sampled_from([0.1, 1.0, 10.0])),
        "label_smoothing": draws.draw(st.sampled_from([0.0, 0.2])),
        "random_state": draws.draw(st.integers(0, 9)),
    }
    plain, permuted = (
        FeedForwardClassifier(**AT_OPTIMUM, **options, class_weight=weights).fit(problem.X, y)
        for y in (problem.y, permutation[problem.y])
    )
    assert_allclose(
        permuted.predict_proba(problem.X)[:, permutation],
        plain.predict_proba(problem.X),
        rtol=0,
        atol=1e-3,
    )


# --- weights ----------------------------------------------------------------------------------

LOSSES = {
    "binary": ["log_loss", "focal"],
    "multiclass": ["log_loss", "focal"],
    "multilabel": ["log_loss", "focal"],
    "one output": ["squared_error", "poisson", "absolute_error", "huber", "quantile", "gamma"],
    "many outputs": ["squared_error", "poisson", "absolute_error", "huber", "quantile", "gamma"],
}


@given(st.data())
def test_weights_of_k_equal_k_copies(draws):
    # Within three iterations, the different order of sums has not yet led to another path.
    target = draws.draw(st.sampled_from(list(LOSSES)))
    rng, problem = smooth_problem(draws, target)
    weight = rng.randint(0, 4, problem.n_samples)
    if problem.is_classification and target != "multilabel":
        weight[:3] = 1  # one row of each class
    assume(weight.any())
    model = problem.estimator(
        loss=draws.draw(st.sampled_from(LOSSES[target])),
        hidden_layer_sizes=draws.draw(st.sampled_from([(), (3,), (3, 2)])),
        activation=draws.draw(st.sampled_from(["tanh", "relu", "softplus"])),
        alpha=draws.draw(st.sampled_from([0.0, 0.1])),
        solver="lbfgs",
        max_iter=3,
        random_state=draws.draw(st.integers(0, 9)),
    )
    weighted = clone(model).fit(problem.X, problem.y, weight)
    copied = clone(model).fit(problem.X.repeat(weight, axis=0), problem.y.repeat(weight, axis=0))
    output = "predict_proba" if problem.is_classification else "predict"
    for one, two in zip(weighted.coefs_, copied.coefs_, strict=True):
        assert_allclose(one, two, rtol=1e-7, atol=1e-9)
    one, two = (getattr(m, output)(problem.X) for m in (weighted, copied))
    assert_allclose(one, two, rtol=1e-7, atol=1e-9)


@given(st.data())
def test_weights_times_a_number_change_only_what_alpha_weighs(draws):
    # The loss is a weighted mean plus alpha / (2 sum of weights) |W|^2. Multiplying by a power of
    # two is exact. Decoupled decay depends on the learning rate, not on the sum of weights.
    problem = draws.draw(data())
    chosen = draws.draw(plain_parameters(problem))
    weight = problem.sample_weight
    assume(weight is not None)
    factor = 2.0 ** draws.draw(st.integers(-10, 10))
    arguments = fit_arguments(chosen, problem)
    alpha = draws.draw(st.sampled_from([0.0, 0.125]))
    scaled = alpha if chosen["solver"] == "adamw" else alpha * factor
    one, two = (
        fit_or_error(
            problem.estimator(**{**chosen, "alpha": a}), problem.X, problem.y, w, **arguments
        )
        for a, w in ((alpha, weight), (scaled, weight * factor))
    )
    assert type(one) is type(two)
    if not isinstance(one, ValueError):
        assert_same_weights(one, two)


def test_weights_times_a_number_take_away_from_alpha():
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((30, 3)), np.arange(30) % 2
    sizes = [
        np.abs(FeedForwardClassifier(**AT_OPTIMUM, alpha=1.0).fit(X, y, [c] * 30).coefs_[0]).sum()
        for c in (0.01, 1.0, 100.0)
    ]
    assert sizes[0] < 0.5 * sizes[1] and sizes[1] < 0.99 * sizes[2]


# --- containers -------------------------------------------------------------------------------


def whole_numbers(draws, target=None):
    problem = draws.draw(data(target, least=2))
    n_samples = problem.n_samples
    rng = np.random.RandomState(draws.draw(st.integers(0, 99)))
    X = rng.randint(-100, 100, (n_samples, draws.draw(st.integers(1, 6)))).astype(float)
    X *= rng.uniform(size=X.shape) < 0.6
    return rng, Data(problem.target, X, problem.y, problem.sample_weight)


def compare_fits(draws, problem, contain, chosen, assert_alike=assert_same_weights):
    given_rows = contain(problem.X)
    call = "fit"
    classes = {}
    if chosen["solver"] != "lbfgs" and draws.draw(st.booleans()):
        call = "partial_fit"
        classes = {"classes": problem.classes} if problem.is_classification else {}
    y, weight = problem.y, problem.sample_weight
    one, two = (
        fit_or_error(problem.estimator(**chosen), X, y, weight, call=call, **classes)
        for X in (problem.X, given_rows)
    )
    assert type(one) is type(two)
    if isinstance(one, ValueError):
        return
    assert_alike(one, two)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if not hasattr(one, method):
            continue
        expected = getattr(one, method)(problem.X)
        if assert_alike is assert_same_weights:
            assert_array_equal(getattr(two, method)(given_rows), expected)
            assert_array_equal(getattr(one, method)(given_rows), expected)


@pytest.mark.long
@given(st.data())
def test_rows_in_any_dense_container_learn_the_bit_equal_model(draws):
    _, problem = whole_numbers(draws)
    contain = WHOLE[draws.draw(st.sampled_from(list(WHOLE)))]
    compare_fits(draws, problem, contain, draws.draw(plain_parameters(problem)))


@pytest.mark.long
@given(st.data())
def test_boolean_rows_learn_the_bit_equal_model(draws):
    rng, problem = whole_numbers(draws)
    problem.X = (problem.X > 0).astype(float)
    contain = draws.draw(
        st.sampled_from(
            [
                lambda X: X.astype(bool),
                lambda X: X.astype(bool).tolist(),
                lambda X: pd.DataFrame(X.astype(bool)),
                lambda X: pd.DataFrame(X.astype(bool)).astype("boolean"),
                lambda X: X.astype(np.uint8),
            ]
        )
    )
    compare_fits(draws, problem, contain, draws.draw(plain_parameters(problem)))


@pytest.mark.long
@given(st.data())
def test_float32_rows_with_dtype_float64_learn_the_bit_equal_model(draws):
    # Every float32 is exactly a float64, so nothing is rounded.
    rng, problem = whole_numbers(draws)
    problem.X = rng.standard_normal(problem.X.shape).astype(np.float32).astype(np.float64)
    chosen = draws.draw(plain_parameters(problem, dtype="float64"))
    kind = draws.draw(st.sampled_from([np.asarray, pd.DataFrame, np.asfortranarray]))
    compare_fits(draws, problem, lambda X: kind(X.astype(np.float32)), chosen)


def assert_close_weights(one, two):
    for left, right in zip(one.coefs_, two.coefs_, strict=True):
        assert_allclose(left, right, rtol=1e-6, atol=1e-8)


@pytest.mark.long
@given(st.data())
def test_sparse_rows_learn_the_model_of_dense_ones_to_rounding(draws):
    rng, problem = whole_numbers(draws)
    problem.X = problem.X / 128
    kind = draws.draw(st.sampled_from([*SPARSE, "disordered"]))
    contain = SPARSE.get(kind, lambda X: disordered(X, np.random.RandomState(0)))
    as_float32 = draws.draw(st.booleans())
    solver = draws.draw(st.sampled_from(["sgd", "adam", "adamw", "lbfgs"]))
    chosen = draws.draw(plain_parameters(problem, dtype="float64"))
    chosen.update(solver=solver, max_iter=2, learning_rate_init=1e-2)
    # For sparse rows, dropout draws random numbers only for the values that are set.
    chosen.update(input_dropout=0.0, early_stopping=False, numeric_embedding=None)
    if solver == "lbfgs":
        assume(chosen.get("scoring") is None and not chosen.get("callbacks"))
        assume(not chosen.get("warmup_fraction") and chosen.get("max_grad_norm") is None)
        assume(np.size(chosen.get("dropout", 0.0)) < 2 and not np.any(chosen.get("dropout", 0.0)))
        assume(chosen.get("normalization") != "batch" and chosen.get("n_members", 1) == 1)

    def sparse(X):
        matrix = contain(X)
        return matrix.astype(np.float32) if as_float32 else matrix

    compare_fits(draws, problem, sparse, chosen, assert_close_weights)


@pytest.mark.long
@given(st.data())
def test_targets_and_weights_in_any_container_learn_the_bit_equal_model(draws):
    _, problem = whole_numbers(draws)
    y = problem.y
    if not problem.is_classification:
        y = np.rint(10 * y) + 1
    kinds = {
        "list": np.ndarray.tolist,
        "read-only": read_only,
        "column": lambda y: y.reshape(-1, 1) if y.ndim == 1 else y,
        "series": lambda y: pd.Series(y) if y.ndim == 1 else pd.DataFrame(y),
        "strided": lambda y: strided(y.reshape(len(y), -1)).reshape(y.shape),
    }
    if y.dtype.kind in "if" and np.abs(y).max() < 128:
        for name in ("int8", "int16", "int64", "float32", ">i4", ">f8"):
            kinds[name] = lambda y, name=name: y.astype(name)
        kinds["nullable"] = lambda y: pd.Series(y).astype("Int64") if y.ndim == 1 else y
    kind = draws.draw(st.sampled_from(list(kinds)))
    chosen = draws.draw(plain_parameters(problem))
    if isinstance(chosen.get("class_weight"), dict):
        del chosen["class_weight"]
    weight = problem.sample_weight
    in_kind = weight
    if weight is not None:
        in_kind = draws.draw(
            st.sampled_from([np.ndarray.tolist, pd.Series, read_only, lambda w: w.astype(">f8")])
        )(weight)
    one = fit_or_error(problem.estimator(**chosen), problem.X, y, weight)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        two = fit_or_error(problem.estimator(**chosen), problem.X, kinds[kind](y), in_kind)
    is_column = kind == "column" and y.ndim == 1
    assert any(w.category is DataConversionWarning for w in caught) == is_column
    assert type(one) is type(two)
    if not isinstance(one, ValueError):
        assert_same_weights(one, two)
        assert_array_equal(one.predict(problem.X), two.predict(problem.X))


# --- what users rely on -----------------------------------------------------------------------


@given(st.data())
def test_permuted_features_with_permuted_first_weights_learn_the_permuted_model(draws):
    target = draws.draw(st.sampled_from(list(LOSSES)))
    rng, problem = smooth_problem(draws, target)
    X, y = problem.X, problem.y
    permutation = rng.permutation(X.shape[1])
    one = problem.estimator(
        hidden_layer_sizes=(4,),
        activation=draws.draw(st.sampled_from(["tanh", "logistic", "gelu"])),
        solver=draws.draw(st.sampled_from(["adam", "sgd", "lbfgs"])),
        max_iter=2,
        warm_start=True,
        random_state=0,
    ).fit(X, y)
    two = pickle.loads(pickle.dumps(one))
    two.coefs_[0] = two.coefs_[0][permutation]
    one.fit(X, y)
    two.fit(X[:, permutation], y)
    assert_allclose(two.coefs_[0], one.coefs_[0][permutation], rtol=1e-7, atol=1e-9)
    assert_allclose(two.coefs_[1], one.coefs_[1], rtol=1e-7, atol=1e-9)


def fitted(draws):
    problem = draws.draw(data())
    chosen = draws.draw(plain_parameters(problem, callbacks=None))
    model = fit_or_error(
        problem.estimator(**chosen),
        problem.X,
        problem.y,
        problem.sample_weight,
        **fit_arguments(chosen, problem),
    )
    assume(not isinstance(model, ValueError))
    return problem, model


@given(st.data())
def test_prediction_of_a_row_does_not_depend_on_the_rows_around_it(draws):
    problem, model = fitted(draws)
    rng = np.random.RandomState(0)
    X = rng.standard_normal((draws.draw(st.integers(1, 300)), model.n_features_in_))
    X = X.astype(model.coefs_[0].dtype)
    if hasattr(model, "feature_names_in_"):
        X = pd.DataFrame(X, columns=model.feature_names_in_)
    order, cut = rng.permutation(len(X)), draws.draw(st.integers(1, len(X)))
    parts = [X[:cut], X[cut:]] if cut < len(X) else [X]
    shuffled = X.iloc[order] if hasattr(X, "iloc") else X[order]
    output = "predict_log_proba" if problem.is_classification else "predict"
    whole = getattr(model, output)(X)
    # Matrix products with another number of rows may sum in another order.
    scale = np.abs(whole[np.isfinite(whole)]).max(initial=1.0)  # exp may overflow for far rows
    tolerance = {"rtol": 1e-10, "atol": 1e-10 * float(scale)}
    if whole.dtype == np.float32:
        tolerance = {name: 1e5 * value for name, value in tolerance.items()}
    pieces = np.concatenate([getattr(model, output)(part) for part in parts])
    assert_allclose(pieces, whole, **tolerance)
    assert_allclose(getattr(model, output)(shuffled), whole[order], **tolerance)


@pytest.mark.long
@given(st.data())
def test_pickle_of_a_fitted_estimator_is_bit_equal_and_goes_on_alike(draws):
    problem, model = fitted(draws)
    loaded = pickle.loads(pickle.dumps(model))
    assert_bit_equal(model, loaded)
    assert_array_equal(model.predict(problem.X), loaded.predict(problem.X))
    if hasattr(model, "partial_fit") and not model.early_stopping:
        one, two = (
            fit_or_error(m, problem.X, problem.y, problem.sample_weight, call="partial_fit")
            for m in (model, loaded)
        )
        assert type(one) is type(two)
        if not isinstance(one, ValueError):
            assert_bit_equal(one, two)


@pytest.mark.long
@given(st.data())
def test_parameters_go_round_through_clone_set_params_and_repr(draws):
    problem = draws.draw(data())
    chosen = draws.draw(plain_parameters(problem, callbacks=None))
    model = problem.estimator(**chosen)
    for other in (
        clone(model),
        problem.estimator().set_params(**model.get_params()),
        type(model)(**model.get_params(deep=False)),
    ):
        assert repr(other) == repr(model)
        assert repr(other.get_params()) == repr(model.get_params())
    for name, value in chosen.items():
        assert model.get_params()[name] is value
    arguments = (problem.X, problem.y, problem.sample_weight)
    one, two = (fit_or_error(m, *arguments) for m in (clone(model), clone(model)))
    assert type(one) is type(two)
    if not isinstance(one, ValueError):
        assert_bit_equal(one, two)


@given(st.data())
def test_repr_makes_the_estimator_again(draws):
    names = {kind.__name__: kind for kind in (FeedForwardClassifier, FeedForwardRegressor)}
    problem = draws.draw(data())
    chosen = draws.draw(plain_parameters(problem))
    plain = {k: v for k, v in chosen.items() if isinstance(v, int | float | str | tuple)}
    plain = {k: v for k, v in plain.items() if k != "callbacks"}
    model = problem.estimator(**plain)
    again = eval(model.__repr__(N_CHAR_MAX=10**6), {**names, "inf": np.inf, "nan": np.nan})  # noqa: S307  of what it has just printed
    assert repr(again.get_params()) == repr(model.get_params())
