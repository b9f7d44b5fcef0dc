"""Extreme numbers and unusual sizes give finite results or a clear error."""

from __future__ import annotations

import tracemalloc
import warnings

import mpmath
import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import fitted_state
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._activations import ACTIVATIONS
from sknn._network._inference import log_probabilities, probabilities
from sknn._network._loss_formulas import Constants
from sknn._network._losses import classification_loss, regression_loss
from sknn._network._solvers import clip_gradient_
from sknn._training._stopping import inverse_scaling

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower:UserWarning"),
]
DTYPES = ["float32", "float64"]
SUM_TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 1e-5}
NOT_FINITE = "Solver produced .*non-finite.*Scale the features.*lower learning_rate_init"
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}
RNG = np.random.RandomState(0)
X = RNG.standard_normal((40, 3))
LABELS = {
    "binary": np.arange(40) % 2,
    "multiclass": np.arange(40) % 4,
    "multilabel": RNG.randint(0, 2, (40, 3)),
}


def assert_sound(model, X):
    """Assert that all predictions of a model are finite and that probabilities sum to one."""
    if isinstance(model, FeedForwardRegressor):
        assert np.isfinite(model.predict(X)).all()
        return
    probability, logarithm = model.predict_proba(X), model.predict_log_proba(X)
    assert np.isfinite(logarithm).all()
    assert (probability > 0).all() and (probability <= 1).all()
    if model.predict(X).ndim == 1:
        sums = probability.sum(axis=1, dtype=np.float64)
        tolerance = SUM_TOLERANCE[str(probability.dtype)]
        assert_allclose(sums, 1, rtol=0, atol=tolerance)


def fit_or_advice(model, *arguments, match=NOT_FINITE):
    """Fit and check the model, or check that the error message says what to do."""
    try:
        model.fit(*arguments)
    except ValueError as error:
        pytest.raises(ValueError, _raise, error).match(match)
        return None
    assert_sound(model, arguments[0])
    return model


def _raise(error):
    raise error


# --- outputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", list(LABELS))
def test_huge_logits_have_finite_logarithms_and_probabilities_that_add_up(target, dtype, size):
    clf = FeedForwardClassifier(**{**SMALL, "hidden_layer_sizes": ()}, dtype=dtype)
    clf.fit(X, LABELS[target])
    clf.coefs_[0] = np.sign(clf.coefs_[0]) * size
    assert_sound(clf, X)
    # A log-probability is minus the distance to the largest logit, or, for several labels, the
    # logit itself where it is negative.
    raw = X.astype(dtype) @ clf.coefs_[0] + clf.intercepts_[0]
    both = np.stack([np.zeros_like(raw), raw]) if target == "multilabel" else raw
    if target == "binary":
        both = np.c_[np.zeros_like(raw), raw]
    axis = 0 if target == "multilabel" else 1
    expected = both - np.logaddexp.reduce(both.astype(np.longdouble), axis=axis, keepdims=True)
    expected = expected[1] if target == "multilabel" else expected
    rtol = 1e-4 if dtype == "float32" else 1e-9
    assert_allclose(clf.predict_log_proba(X), expected.astype(float), rtol=rtol, atol=rtol * size)


LOSSES = {
    **{
        f"{name} {kind} {smoothing} {gamma}": (
            classification_loss(
                name,
                is_multiclass=kind == "multiclass",
                label_smoothing=smoothing,
                focal_gamma=gamma,
            ),
            kind,
        )
        for name, gamma in [("log_loss", 0), ("focal", 0.5), ("focal", 2), ("focal", 5.0)]
        for kind in ("binary", "multiclass")
        for smoothing in (0.0, 0.1)
    },
    **{
        f"{name} {quantile}": (regression_loss(name, huber_delta=1.5, quantile=quantile), "number")
        for name, quantile in [
            ("squared_error", (0.5,)),
            ("absolute_error", (0.5,)),
            ("huber", (0.5,)),
            ("quantile", (0.1,)),
            ("quantile", (0.1, 0.9)),
            ("gamma", (0.5,)),
            ("poisson", (0.5,)),
        ]
    },
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(LOSSES))
def test_loss_and_gradient_are_finite_at_extreme_outputs(name, dtype):
    loss, kind = LOSSES[name]
    is_exponential = loss.output_activation == "exp"
    sizes = [0.0, 1e-30, 1e-8, 1.0, 30.0, 80.0] + ([] if is_exponential else [1e4, 1e15])
    z = torch.tensor([[s * a for s in sizes for a in (1, -1)]], dtype=dtype)
    if kind == "multiclass":
        z = torch.cat([z, torch.zeros_like(z), -z])
        y = (torch.arange(z.shape[1]) % 3).unsqueeze(0)
    elif kind == "binary":
        y = (torch.arange(z.shape[1]) // 2 % 2).to(dtype).unsqueeze(0)
    else:
        y = torch.full_like(z, 2.0)
        if "(0.1, 0.9)" in name:
            z = torch.cat([z, z + 1])
    n_rows = z.shape[1]
    p = z.clone()
    (loss.in_training_ or loss.link)(p)
    terms = torch.empty(1 if loss.has_one_term else len(z), n_rows, dtype=dtype)
    ones = torch.ones(1, n_rows, dtype=dtype)
    loss.backward_(p, y, terms, Constants(ones, -ones, torch.empty_like(z)))
    loss.finish_(terms)
    assert torch.isfinite(terms).all(), terms
    assert torch.isfinite(p).all(), p
    assert torch.isfinite(loss.terms(z, y)).all()


def test_focal_loss_and_gradient_equal_those_of_many_digits():
    loss = classification_loss("focal", is_multiclass=False, label_smoothing=0.0, focal_gamma=2.0)
    z = torch.tensor([[-30.0, -5.0, -0.1, 0.0, 0.1, 5.0, 15.0]], dtype=torch.float64)
    y, ones = torch.ones_like(z), torch.ones_like(z)
    p, terms = torch.sigmoid(z), torch.empty_like(z)
    loss.backward_(p, y, terms, Constants(ones, -ones, torch.empty_like(z)))
    loss.finish_(terms)
    with mpmath.workdps(50):

        def value(at):
            q = 1 / (1 + mpmath.exp(-at))
            return -((1 - q) ** 2) * mpmath.log(q)

        values = [float(value(mpmath.mpf(v))) for v in z[0].tolist()]
        slopes = [float(mpmath.diff(value, mpmath.mpf(v))) for v in z[0].tolist()]
    # For q near one, 1 - q loses digits: its value of 3e-7 has an error of 1e-16, and is cubed.
    assert_allclose((loss.scale * terms)[0].numpy(), values, rtol=1e-8)
    assert_allclose(p[0].numpy(), slopes, rtol=1e-8)


# --- scales -----------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "lbfgs", torch.optim.RMSprop])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softplus"])
@pytest.mark.parametrize("target", ["multiclass", "number"])
def test_rows_of_any_scale_train_or_tell_what_to_do(target, activation, solver, scale):
    kind = FeedForwardClassifier if target == "multiclass" else FeedForwardRegressor
    y = LABELS["multiclass"]
    for dtype in DTYPES:
        if dtype == "float32" and not 1e-300 < scale < 1e300:
            continue
        model = kind(**SMALL, activation=activation, solver=solver, dtype=dtype)
        fit_or_advice(model, X * scale, y)


@pytest.mark.matrix
@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "huber", "quantile", "gamma", "poisson"]
)
def test_targets_of_any_scale_train_or_tell_what_to_do(loss, solver, dtype, scale):
    y = (np.arange(40) % 5 + 1) * scale
    reg = FeedForwardRegressor(loss, **SMALL, solver=solver, dtype=dtype)
    fit_or_advice(reg, X, y)


@pytest.mark.matrix(8)
@pytest.mark.parametrize("weight", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_any_scale_train_or_tell_what_to_do(dtype, solver, weight):
    clf = FeedForwardClassifier(**SMALL, solver=solver, dtype=dtype)
    fit_or_advice(
        clf,
        X,
        LABELS["binary"],
        np.full(40, weight),
        match=NOT_FINITE + "|The sum of sample_weight is|must contain at least one non-zero"
        "|Input sample_weight contains",
    )


def test_tiny_weights_take_the_penalty_beyond_float32_without_an_error_of_torch():
    clf = FeedForwardClassifier(**SMALL, solver="sgd", dtype="float32", alpha=100.0)
    with pytest.raises(ValueError, match=r"non-finite.*or alpha \(100.0\)"):
        clf.fit(X, LABELS["binary"], np.full(40, 1e-39))


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["lbfgs", "adam", "sgd"])
@pytest.mark.parametrize(
    "rows",
    {
        "constant": np.ones((40, 3)),
        "zeros": np.zeros((40, 3)),
        "minus zeros": np.full((40, 3), -0.0),
        "duplicates": np.repeat(X[:1], 40, axis=0),
        "subnormal": np.full((40, 3), 1e-310) * np.sign(X),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
def test_rows_that_say_nothing_train(rows, solver, dtype, normalization):
    if solver == "lbfgs" and normalization == "batch":
        pytest.skip("refused")
    for kind in (FeedForwardClassifier, FeedForwardRegressor):
        model = kind(**SMALL, solver=solver, dtype=dtype, normalization=normalization)
        assert_sound(model.fit(rows[1], LABELS["multiclass"]), rows[1])


def test_minus_zero_and_zero_are_the_same_rows():
    models = [
        FeedForwardClassifier(**SMALL).fit(rows, LABELS["binary"])
        for rows in (np.where(X > 0, X, 0.0), np.where(X > 0, X, -0.0))
    ]
    for one, two in zip(models[0].coefs_, models[1].coefs_, strict=True):
        assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_largest_numbers_train_or_tell_what_to_do(dtype, solver):
    rows = np.sign(X) * np.finfo(dtype).max
    for kind in (FeedForwardClassifier, FeedForwardRegressor):
        fit_or_advice(kind(**SMALL, solver=solver, dtype=dtype), rows, LABELS["multiclass"])


# --- parameters at the ends of their range ----------------------------------------------------


@pytest.mark.parametrize(
    "kind, options",
    [
        (FeedForwardClassifier, {"alpha": 1e39}),
        (FeedForwardClassifier, {"learning_rate_init": 1e39}),
        (FeedForwardClassifier, {"epsilon": 1e39}),
        (FeedForwardClassifier, {"epsilon": 1e-46}),
        (FeedForwardClassifier, {"focal_gamma": 1e39, "loss": "focal"}),
        (FeedForwardRegressor, {"huber_delta": 1e39, "loss": "huber"}),
        (FeedForwardRegressor, {"huber_delta": 1e-46, "loss": "huber"}),
    ],
    ids=str,
)
def test_number_that_float32_cannot_hold_is_named(kind, options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=rf"'{name}' parameter is .* float32 cannot represent"):
        kind(**SMALL, **options, dtype="float32").fit(X, LABELS["binary"])
    model = kind(**SMALL, **options, dtype="float64")
    fit_or_advice(model, X, LABELS["binary"])


@pytest.mark.parametrize("weight", ["heavy", [1.0, 2.0]])
def test_class_weight_that_is_no_number_is_named(weight):
    with pytest.raises(ValueError, match="'class_weight' parameter is .* numbers as weights"):
        FeedForwardClassifier(**SMALL, class_weight={0: weight}).fit(X, LABELS["binary"])


def test_number_that_is_not_used_may_be_any():
    FeedForwardRegressor(**SMALL, huber_delta=1e300, dtype="float32").fit(X, X[:, 0])
    FeedForwardClassifier(
        **SMALL, solver="lbfgs", learning_rate_init=1e300, epsilon=1e300, dtype="float32"
    ).fit(X, LABELS["binary"])


def test_rate_of_a_torch_solver_beyond_float32_is_named():
    clf = FeedForwardClassifier(
        **SMALL, solver=torch.optim.Adamax, learning_rate_init=3e38, dtype="float32"
    )
    with pytest.raises(ValueError, match="Adamax, whose step is beyond the range of torch.float32"):
        clf.fit(X, LABELS["binary"])


def test_inverse_scaling_with_a_huge_exponent_ends_at_zero():
    assert inverse_scaling(0.1, 40, 1e300) == 0.0
    clf = FeedForwardClassifier(
        **SMALL, solver="sgd", learning_rate="invscaling", power_t=1e300
    ).fit(X, LABELS["binary"])
    assert clf.learning_rate_curve_[1:] == [0.0] * 4


@pytest.mark.parametrize("value", [1e160, 1e300])
def test_clipping_holds_for_a_norm_beyond_float64(value):
    gradient = torch.full((4,), value, dtype=torch.float64)
    clip_gradient_(gradient, 1.0)
    torch.testing.assert_close(gradient, torch.full((4,), 0.5, dtype=torch.float64))
    infinite = torch.tensor([value, np.inf], dtype=torch.float64)
    clip_gradient_(infinite, 1.0)
    assert not torch.isfinite(infinite).all()


@pytest.mark.parametrize("kind", [FeedForwardClassifier, FeedForwardRegressor])
def test_last_step_to_where_outputs_overflow_is_an_error(kind):
    # The weights are still finite, and so is the loss, computed before the step.
    model = kind(hidden_layer_sizes=(3, 3), max_iter=1, random_state=0, alpha=0.0)
    model.set_params(learning_rate_init=1e200, activation="leaky_relu")
    with pytest.raises(ValueError, match="with which the outputs are non-finite.*lower learning"):
        model.fit(X, LABELS["binary"])
    assert not hasattr(model, "coefs_")


def test_huge_weights_before_a_layer_of_zeros_are_no_fault():
    # The bound on what all layers together do to a row is infinity times zero, which is NaN.
    clf = FeedForwardClassifier(hidden_layer_sizes=(3, 1), solver="sgd", alpha=0, momentum=0)
    clf.partial_fit([[0.0]], [3], classes=[3])
    clf.coefs_ = [np.full((1, 3), 1e154), np.full((3, 1), 1e154), np.zeros((1, 1))]
    clf.intercepts_ = [np.zeros(3), np.zeros(1), np.zeros(1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.partial_fit([[0.0]], [3])
    assert_array_equal(clf.predict([[0.0]]), [3])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("loss", "y"), [("squared_error", 1e20), ("squared_error", 3e38), ("huber", 3e38)]
)
@pytest.mark.filterwarnings("ignore")  # of scikit-learn, of NumPy and of ends of trainings
def test_fit_whose_loss_is_infinite_is_an_error(loss, y, early_stopping, solver):
    targets = np.where(LABELS["binary"] == LABELS["binary"][0], y, -y).astype(np.float32)
    model = FeedForwardRegressor(loss, hidden_layer_sizes=(3,), max_iter=5, random_state=0)
    model.set_params(early_stopping=early_stopping and solver != "lbfgs", solver=solver)
    with pytest.raises(ValueError, match="Solver produced .*non-finite.*StandardScaler"):
        model.fit(X.astype(np.float32), targets)
    assert not hasattr(model, "coefs_")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scoring", [None, "loss", "neg_mean_absolute_error"])
def test_validation_loss_that_is_infinite_in_every_epoch_is_an_error(scoring):
    rows, y = X.astype(np.float32), X[:, 0].astype(np.float32)
    model = FeedForwardRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=0)
    model.set_params(early_stopping=True, scoring=scoring)
    with pytest.raises(ValueError, match="Solver produced a non-finite validation loss in every"):
        model.fit(rows, y, X_val=rows, y_val=np.full(len(y), 3e38, np.float32))
    assert not hasattr(model, "coefs_")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scoring", [None, "loss"])
def test_validation_loss_that_is_infinite_is_no_error_where_it_is_only_recorded(scoring):
    rows, y = X.astype(np.float32), X[:, 0].astype(np.float32)
    model = FeedForwardRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=0)
    plain = model.fit(rows, y).predict(rows)
    model.set_params(scoring=scoring).fit(rows, y, X_val=rows, y_val=np.full(len(y), 3e38, "f4"))
    assert np.isinf(model.validation_loss_curve_).all()
    assert_array_equal(model.predict(rows), plain)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("early_stopping", [False, True])  # L-BFGS does not read it
def test_lbfgs_that_leaves_the_weights_but_has_no_loss_is_an_error(early_stopping):
    clf = FeedForwardClassifier(hidden_layer_sizes=(), solver="lbfgs", max_iter=1, random_state=0)
    clf.set_params(early_stopping=early_stopping)
    with pytest.raises(ValueError, match=r"Solver produced a non-finite training loss"):
        clf.set_params(alpha=1e160).fit(X, LABELS["binary"])


@pytest.mark.filterwarnings("ignore")
def test_partial_fit_whose_loss_is_infinite_is_an_error_and_changes_nothing():
    rows, y = X.astype(np.float32), LABELS["binary"].astype(np.float32)
    model = FeedForwardRegressor(hidden_layer_sizes=(3,), random_state=0).partial_fit(rows, y)
    before = fitted_state(model)
    with pytest.raises(ValueError, match=r"Solver produced a non-finite training loss \(inf\)"):
        model.partial_fit(rows, np.full(len(rows), 1e20, np.float32))
    assert repr(fitted_state(model)) == repr(before)


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_last_step_to_where_exponentials_overflow_is_an_error(loss):
    # Weights in the hundreds suffice to overflow.
    rows, y = np.array([[3.0], [-1], [-1], [-2], [2]]), np.array([0.55, 1.17, 0.24, 2.11, 0.04])
    model = FeedForwardRegressor(loss, hidden_layer_sizes=(), solver="sgd", random_state=0)
    n_refused = 0
    for rate in (0.01, 1.0, 100.0):
        for max_iter in (1, 2):
            model.set_params(learning_rate_init=rate, max_iter=max_iter)
            try:
                assert np.isfinite(model.fit(rows, y).predict(rows)).all()
            except ValueError as error:
                assert "non-finite" in str(error)
                n_refused += 1
    assert 0 < n_refused < 6


@pytest.mark.parametrize("kind", [FeedForwardClassifier, FeedForwardRegressor])
@pytest.mark.parametrize("dtype", DTYPES)
def test_early_stopping_under_divergence_keeps_a_sound_model(kind, dtype):
    model = kind(**SMALL, early_stopping=True, solver="sgd", learning_rate_init=1e20, dtype=dtype)
    model.set_params(max_iter=50, activation="identity")
    with pytest.warns(ConvergenceWarning, match="Training diverged"):
        model.fit(X, LABELS["binary"])
    assert_sound(model, X)


# --- sizes ------------------------------------------------------------------------------------


# scikit-learn 1.7 gives this warning wherever it inspects labels.
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%")
@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_ten_thousand_classes_have_probabilities_that_add_up(dtype):
    n_classes = 10_000
    rows = RNG.standard_normal((n_classes, 4))
    y = np.arange(n_classes)
    clf = FeedForwardClassifier(
        hidden_layer_sizes=(8,), batch_size=2000, max_iter=1, random_state=0, dtype=dtype
    )
    tracemalloc.start()
    clf.fit(rows, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n_classes**2  # bytes: an eighth of one indicator matrix
    assert_sound(clf, rows[:200])
    clf.coefs_[-1] = clf.coefs_[-1] * 1000
    assert_sound(clf, rows[:200])


def test_float32_probabilities_of_many_classes_add_up_as_sums_of_float64():
    rng = np.random.RandomState(0)
    raw = torch.from_numpy((5 * rng.standard_normal((50_000, 64))).astype(np.float32))
    for p in (probabilities("softmax")(raw.clone()), log_probabilities("softmax")(raw).exp()):
        assert p.dtype == torch.float32
        assert_allclose(p.sum(0, dtype=torch.float64), 1, rtol=0, atol=1e-6)


def test_hundred_thousand_sparse_features_are_not_made_dense(monkeypatch):
    columns = RNG.randint(0, 100_000, 20_000)  # ten values a row
    rows = scipy.sparse.csr_matrix(
        (np.ones(20_000), columns, np.arange(0, 20_001, 10)), shape=(2000, 100_000)
    )

    def refuse(*args, **kwargs):
        raise AssertionError("rows are made dense")

    monkeypatch.setattr(scipy.sparse.csr_matrix, "toarray", refuse)
    monkeypatch.setattr(type(rows), "toarray", refuse)
    clf = FeedForwardClassifier(hidden_layer_sizes=(5,), max_iter=1, random_state=0)
    tracemalloc.start()
    clf.fit(rows, np.arange(2000) % 3)
    assert_sound(clf, rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2000 * 100_000  # bytes: an eighth of the dense rows


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("normalization", [None, "layer"])
def test_one_row_trains(solver, normalization):
    for kind, y in ((FeedForwardClassifier, ["a"]), (FeedForwardRegressor, [2.0])):
        for n_members in (1, 3) if solver != "lbfgs" else (1,):
            model = kind(
                **SMALL, solver=solver, normalization=normalization, n_members=n_members
            ).fit(X[:1], y)
            assert_sound(model, X[:1])


@pytest.mark.matrix
@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_batches_of_one_train(solver, normalization):
    for kind in (FeedForwardClassifier, FeedForwardRegressor):
        for n_members in (1, 3):
            model = kind(
                **SMALL | {"max_iter": 2},
                solver=solver,
                normalization=normalization,
                batch_size=1,
                n_members=n_members,
            )
            assert_sound(model.fit(X, LABELS["multiclass"]), X)


@pytest.mark.matrix(6)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_fifty_layers_train_or_tell_what_to_do(activation, dtype):
    clf = FeedForwardClassifier(
        hidden_layer_sizes=(6,) * 50, activation=activation, max_iter=2, random_state=0, dtype=dtype
    )
    assert_sound(clf.fit(X, LABELS["multiclass"]), X)


def test_ten_thousand_hidden_units_train():
    clf = FeedForwardClassifier(hidden_layer_sizes=(10_000,), max_iter=2, random_state=0)
    assert_sound(clf.fit(X, LABELS["multiclass"]), X)


def test_no_warning_of_numpy_leaves_a_diverging_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in (*DTYPES, "bfloat16"):
            for max_grad_norm in (None, 1e300):
                model = FeedForwardRegressor(
                    **{**SMALL, "max_iter": 30},
                    solver="sgd",
                    learning_rate_init=1e10,
                    dtype=dtype,
                    max_grad_norm=max_grad_norm,
                )
                warnings.filterwarnings("ignore", "dtype='bfloat16' is slower")
                with pytest.raises(ValueError, match=NOT_FINITE):
                    model.fit(X, LABELS["binary"])
