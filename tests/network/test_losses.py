"""Losses equal scikit-learn's, torch's and the formulas of textbooks; callables are checked."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from conftest import TARGETS, torch_threads
from sklearn.metrics import (
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
)
from sklearn.neural_network._base import LOSS_FUNCTIONS, inplace_softmax
from torch.nn import functional as F

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._losses import (
    LOSSES,
    OUTPUT_ACTIVATIONS,
    Constants,
    Criterion,
    classification_loss,
    regression_loss,
)
from sknn._platform._compat import feature_major

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMOOTHING = 0.2
GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
LEVELS = (0.1, 0.5, 0.9)
DELTAS = (0.3, 1.0, 2.5)


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread, as training does for small steps. A second one would only slow them down."""
    with torch_threads(1):
        yield


def regression(name, huber_delta=1.0, quantile=(0.5,)):
    return regression_loss(name, huber_delta=huber_delta, quantile=quantile)


def classification(name, kind, label_smoothing=0.0, focal_gamma=2.0):
    return classification_loss(
        name,
        is_multiclass=kind == "multiclass",
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
    )


def _cases():
    cases = {n: regression(n) for n in ("squared_error", "poisson", "gamma", "absolute_error")}
    cases |= {f"huber {delta}": regression("huber", huber_delta=delta) for delta in DELTAS}
    cases |= {f"quantile {q}": regression("quantile", quantile=(q,)) for q in (0.2, 0.5)}
    cases["quantiles"] = regression("quantile", quantile=LEVELS)
    for kind in ("binary", "multiclass"):
        for smoothing, suffix in ((0.0, ""), (SMOOTHING, " smooth")):
            cases[f"{kind} log_loss{suffix}"] = classification("log_loss", kind, smoothing)
            for gamma in GAMMAS:
                cases[f"{kind} focal {gamma}{suffix}"] = classification(
                    "focal", kind, smoothing, gamma
                )
    return cases


# Every loss with a closed form. Its name begins with its kind.
CASES: dict = _cases()
CLASSIFICATION = [name for name in CASES if name.startswith(("binary", "multiclass"))]


def make_targets(name, n_rows, n_outputs, rng):
    """Return encoded targets of shape (n_rows, n_columns), in float64 or int64."""
    kind = name.split()[0]
    return {
        "multiclass": lambda: rng.randint(0, n_outputs, (n_rows, 1)),
        "binary": lambda: rng.randint(0, 2, (n_rows, n_outputs)).astype(float),
        "poisson": lambda: rng.poisson(1.5, (n_rows, n_outputs)).astype(float),
        "gamma": lambda: rng.gamma(1.5, size=(n_rows, n_outputs)) + 0.01,
        "quantiles": lambda: rng.randn(n_rows, 1),
    }.get(kind, lambda: rng.randn(n_rows, n_outputs))()


def make_case(name, scale=1.0, dtype=np.float64, n_rows=40):
    """Return raw outputs of shape (3, n_rows), and targets, which are feature-major too."""
    rng = np.random.RandomState(0)
    z = (scale * rng.randn(n_rows, 3)).astype(dtype)
    y = make_targets(name, n_rows, 3, rng)
    y = y if y.dtype == np.int64 else y.astype(dtype)
    return torch.from_numpy(z).t().contiguous(), feature_major(torch.from_numpy(y)).contiguous()


def closed_form(loss, z, y):
    """Return the finished terms and the derivative with respect to z, by the closed form."""
    p = z.clone()
    (loss.in_training_ or loss.link)(p)
    terms = p.new_empty(1 if loss.has_one_term else len(p), p.shape[1])
    ones = torch.ones_like(p[:1])
    loss.backward_(p, y, terms, Constants(ones, -ones, torch.full_like(p, torch.nan)))
    loss.finish_(terms)
    return terms, p


def reported(loss, terms, n_outputs=3):
    return terms.sum(0).mean().item() * loss.reported_scale(n_outputs)


def autograd(loss, z, y):
    """Return the derivative with respect to z of the loss that `AutogradStep` minimizes."""
    z = z.clone().requires_grad_()
    (loss.scale * loss.terms(z, y).sum()).backward()
    return z.grad


SKLEARN_NAMES = {
    "squared_error": "squared_error",
    "poisson": "poisson",
    "binary log_loss": "binary_log_loss",
    "multiclass log_loss": "log_loss",
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("name", list(SKLEARN_NAMES))
def test_loss_equals_scikit_learns_also_where_probabilities_saturate(name, scale, dtype):
    loss = CASES[name]
    z, y = make_case(name, scale, dtype)
    if name == "poisson":
        z = z.clamp(-20, 20)
    p = z.clone()
    OUTPUT_ACTIVATIONS[loss.output_activation].apply_(p)
    target = y.numpy().T
    if name == "multiclass log_loss":
        target = np.eye(3)[y.numpy()[0]]
    expected = LOSS_FUNCTIONS[SKLEARN_NAMES[name]](target, p.numpy().T.copy())
    terms, _ = closed_form(loss, z, y)
    assert reported(loss, terms) == pytest.approx(
        expected, rel=1e-5 if dtype == np.float32 else 1e-12
    )


# The independent references compute mean losses of float64 arrays y and z of shape
# (n_rows, n_outputs).


def summed(metric, link=lambda z: z):
    """Return a function that computes the sum of a metric over the outputs."""
    return lambda y, z: sum(metric(a, b) for a, b in zip(y.T, link(z).T, strict=True))


def torch_huber(y, z, delta):
    return F.huber_loss(torch.from_numpy(z.copy()), torch.from_numpy(y.copy()), delta=delta).item()


def pinballs(y, z):
    return sum(
        mean_pinball_loss(y[:, 0], column, alpha=level)
        for level, column in zip(LEVELS, z.T, strict=True)
    )


def cross_entropy(y, z, smoothing=0.0):
    z, y = torch.from_numpy(z), torch.from_numpy(y)
    return F.cross_entropy(z, y[:, 0], label_smoothing=smoothing).item()


def focal(y, z, gamma, smoothing=0.0):
    """Return the mean of -(1 - p)^g log(p) over rows (Lin et al., 2017, equation 4).

    The term of each class is multiplied by the share of the label that it has.
    """
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    n_classes = z.shape[1]
    share = np.eye(n_classes)[y[:, 0]] * (1 - smoothing) + smoothing / n_classes
    return -(share * (1 - p) ** gamma * np.log(p)).sum(axis=1).mean()


def each_label(multiclass_loss):
    """Return a loss that applies a multiclass loss to each label separately.

    A logistic function is a softmax of two outputs, one of which is 0.
    """

    def of_columns(y, z, **options):
        pairs = zip(y.astype(np.int64).T, z.T, strict=True)
        return sum(
            multiclass_loss(label[:, None], np.c_[np.zeros_like(column), column], **options)
            for label, column in pairs
        )

    return of_columns


REFERENCES = {
    "squared_error": lambda y, z: 0.5 * ((y - z) ** 2).mean(),
    "poisson": lambda y, z: 0.5 * summed(mean_poisson_deviance, np.exp)(y, z),
    "gamma": lambda y, z: 0.5 * summed(mean_gamma_deviance, np.exp)(y, z),
    "absolute_error": summed(mean_absolute_error),
    "quantiles": pinballs,
    **{f"huber {delta}": summed(partial(torch_huber, delta=delta)) for delta in DELTAS},
    **{f"quantile {q}": summed(partial(mean_pinball_loss, alpha=q)) for q in (0.2, 0.5)},
}
for smoothing, suffix in ((0.0, ""), (SMOOTHING, " smooth")):
    smooth = {"smoothing": smoothing}
    REFERENCES[f"multiclass log_loss{suffix}"] = partial(cross_entropy, **smooth)
    REFERENCES[f"binary log_loss{suffix}"] = partial(each_label(cross_entropy), **smooth)
    for gamma in GAMMAS:
        REFERENCES[f"multiclass focal {gamma}{suffix}"] = partial(focal, gamma=gamma, **smooth)
        REFERENCES[f"binary focal {gamma}{suffix}"] = partial(
            each_label(focal), gamma=gamma, **smooth
        )


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(CASES))
def test_loss_and_criterion_equal_an_independent_reference(name, dtype):
    loss, (z, y) = CASES[name], make_case(name, dtype=dtype)
    target = y.numpy().T if y.dtype == torch.int64 else y.double().numpy().T
    expected = REFERENCES[name](target, np.ascontiguousarray(z.double().numpy().T))
    terms, _ = closed_form(loss, z, y)
    assert terms.dtype == z.dtype
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert reported(loss, terms) == pytest.approx(expected, rel=tolerance)
    assert Criterion(loss)(z.t(), y.t()).item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(
    "name, scale", [*((name, 1) for name in CASES), *((name, 30) for name in CLASSIFICATION)]
)
def test_delta_is_the_derivative_of_the_terms(name, scale):
    z, y = make_case(name, scale)
    _, delta = closed_form(CASES[name], z, y)
    torch.testing.assert_close(delta, autograd(CASES[name], z, y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_saturated_probabilities_give_finite_losses_and_gradients(name, dtype):
    loss, (z, y) = CASES[name], make_case(name, dtype=dtype, n_rows=40)
    z[:, ::4] = z[:, ::4].sign() * 1e4
    z[:, 1::4] *= 200
    z[:, 2::4] = z[:, 2::4].sign() * 18  # The logistic is about to round to 1 here in float32.
    terms, delta = closed_form(loss, z, y)
    assert terms.isfinite().all() and delta.isfinite().all()
    assert (delta.abs() <= 5).all()
    assert Criterion(loss)(z.t(), y.t()).isfinite()
    by_autograd = autograd(loss, z, y)
    torch.testing.assert_close(delta, by_autograd, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_focal_loss_of_gamma_zero_is_exactly_the_log_loss(kind, scale):
    z, y = make_case(kind, scale)
    expected, loss = CASES[f"{kind} log_loss"], CASES[f"{kind} focal 0.0"]
    for ours, theirs in zip(closed_form(loss, z, y), closed_form(expected, z, y), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_smooth_focal_loss_of_gamma_zero_is_the_smooth_log_loss(kind):
    z, y = make_case(kind)
    expected, loss = CASES[f"{kind} log_loss smooth"], CASES[f"{kind} focal 0.0 smooth"]
    for ours, theirs in zip(closed_form(loss, z, y), closed_form(expected, z, y), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in CLASSIFICATION if not n.endswith("smooth")])
def test_loss_without_smoothing_is_the_limit_of_vanishing_smoothing(name):
    kind, loss, *gamma = name.split()
    z, y = make_case(kind)
    options = {"focal_gamma": float(gamma[0])} if gamma else {}
    tiny = classification(loss, kind, 1e-15, **options)
    assert tiny != CASES[name]
    for ours, theirs in zip(closed_form(tiny, z, y), closed_form(CASES[name], z, y), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_label_smoothing_of_zeros_and_ones_is_the_formula_for_two_classes(n_outputs):
    z, y = make_case("binary")
    z, y = z[:n_outputs].contiguous(), y[:n_outputs].contiguous()
    target = y * (1 - SMOOTHING) + SMOOTHING / 2
    terms, delta = closed_form(CASES["binary log_loss smooth"], z, y)
    torch.testing.assert_close(delta, torch.sigmoid(z) - target)
    expected = F.binary_cross_entropy_with_logits(z, target, reduction="none")
    torch.testing.assert_close(-terms, expected)


def test_label_smoothing_of_classes_is_the_formula():
    z, y = make_case("multiclass")
    target = torch.eye(3, dtype=torch.float64)[y[0]].T * (1 - SMOOTHING) + SMOOTHING / 3
    _, delta = closed_form(CASES["multiclass log_loss smooth"], z, y)
    torch.testing.assert_close(delta, torch.softmax(z, 0) - target)


# Where a loss has no derivative, the closed form chooses the same subgradient as autograd.


def at_residuals(*residuals):
    """Return raw outputs and targets of one output with exactly these differences."""
    z = torch.tensor([residuals], dtype=torch.float64) + 1
    return z, torch.ones_like(z)


@pytest.mark.parametrize(
    "name, residuals, expected",
    [
        ("absolute_error", (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0)),
        ("quantile 0.2", (-2.0, 0.0, 2.0), (-0.2, 0.3, 0.8)),
        ("quantile 0.5", (-2.0, 0.0, 2.0), (-0.5, 0.0, 0.5)),
        ("huber 2.5", (-3.0, -2.5, 0.0, 2.5, 3.0), (-2.5, -2.5, 0.0, 2.5, 2.5)),
    ],
)
def test_subgradient_at_a_kink(name, residuals, expected):
    z, y = at_residuals(*residuals)
    terms, delta = closed_form(CASES[name], z, y)
    np.testing.assert_allclose(delta[0], expected, rtol=1e-15)
    assert terms[0, residuals.index(0.0)] == 0
    torch.testing.assert_close(autograd(CASES[name], z, y), delta)


@pytest.mark.parametrize("n_targets", [1, 2, 3])
@pytest.mark.parametrize("levels", [(0.2,), (0.2, 0.7), (0.1, 0.5, 0.9), (0.1, 0.2, 0.3, 0.8)])
def test_each_level_has_the_loss_and_derivative_of_itself_alone(levels, n_targets):
    rng, n_outputs = np.random.RandomState(0), n_targets * len(levels)
    z, y = (torch.from_numpy(rng.randn(n, 20)) for n in (n_outputs, n_targets))
    loss = regression("quantile", quantile=levels)
    terms, delta = closed_form(loss, z, y)
    torch.testing.assert_close(delta, autograd(loss, z, y), rtol=1e-12, atol=0)
    assert len(terms) == n_outputs
    for i in range(n_outputs):
        target, level = y[i // len(levels)], levels[i % len(levels)]
        alone = closed_form(regression("quantile", quantile=(level,)), z[i : i + 1], target[None])
        residual = z[i].numpy() - target.numpy()
        slope = np.where(residual > 0, 1 - level, -level)
        for of_several, of_one, expected in zip(
            (terms[i], delta[i]), alone, (slope * residual, slope), strict=True
        ):
            np.testing.assert_allclose(of_several, expected, rtol=1e-12)
            np.testing.assert_allclose(of_one[0], expected, rtol=1e-12)


def test_levels_of_one_target_after_those_of_two_have_their_own_loss():
    loss = regression("quantile", quantile=LEVELS)
    z, y = make_case("quantiles")
    expected = closed_form(regression("quantile", quantile=LEVELS), z, y)
    closed_form(loss, torch.cat([z, z + 1]), torch.cat([y, y]))
    for actual, wanted in zip(closed_form(loss, z, y), expected, strict=True):
        assert torch.equal(actual, wanted)


def test_levels_first_met_in_inference_can_be_differentiated_later():
    loss, (z, y) = regression("quantile", quantile=LEVELS), make_case("quantiles")
    with torch.inference_mode():
        _, delta = closed_form(loss, z, y)
    torch.testing.assert_close(autograd(loss, z, y), delta.clone())


def test_subgradient_of_several_levels_at_zero_is_that_of_each():
    z, y = torch.ones(3, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    terms, delta = closed_form(CASES["quantiles"], z, y)
    expected = torch.tensor([[0.4, 0.4], [0.0, 0.0], [-0.4, -0.4]], dtype=torch.float64)
    torch.testing.assert_close(delta, expected)
    torch.testing.assert_close(autograd(CASES["quantiles"], z, y), expected)
    assert (terms == 0).all()


def test_huber_loss_is_continuous_at_its_edges():
    edge = np.nextafter(2.5, 3)
    terms, delta = closed_form(CASES["huber 2.5"], *at_residuals(2.5, edge, -2.5, -edge))
    np.testing.assert_allclose(terms[0], 2.5**2 / 2, rtol=1e-14)
    np.testing.assert_allclose(delta[0], [2.5, 2.5, -2.5, -2.5])


@pytest.mark.parametrize("name", ["squared_error", "poisson", "gamma", "absolute_error"])
def test_regression_loss_by_name_is_that_of_the_table(name):
    assert regression(name) is LOSSES[name]


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_log_loss_without_smoothing_is_that_of_the_table(kind):
    assert classification("log_loss", kind) is LOSSES[f"{kind}_log_loss"]


def test_several_levels_are_sorted_in_prediction_and_not_in_training():
    z = torch.tensor([[3.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    trained = z.clone()
    CASES["quantiles"].in_training_(trained)
    assert torch.equal(trained, z)
    assert CASES["quantiles"].link(z) is z
    assert z.tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_levels_of_each_target_are_sorted_by_themselves():
    z = torch.tensor([[9.0, 1.0], [7.0, 3.0], [8.0, 2.0], [3.0, 9.0], [1.0, 8.0], [2.0, 7.0]])
    assert CASES["quantiles"].link(z) is z
    assert z.tolist() == [[7, 1], [8, 2], [9, 3], [1, 7], [2, 8], [3, 9]]
    rows = torch.tensor([[9.0, 7.0, 8.0, 3.0, 1.0, 2.0]])
    CASES["quantiles"].link(rows.t())  # The outputs of modules are row-major.
    assert rows.tolist() == [[7, 8, 9, 1, 2, 3]]


def test_softmax_of_large_inputs_is_scikit_learns():
    z = 1e4 * np.random.RandomState(0).randn(4, 6)
    expected = z.T.copy()
    inplace_softmax(expected)
    ours = torch.from_numpy(z.copy())
    OUTPUT_ACTIVATIONS["softmax"].apply_(ours)
    np.testing.assert_allclose(ours.numpy().T, expected, rtol=1e-12)


@pytest.mark.parametrize("name", [n for n, a in OUTPUT_ACTIVATIONS.items() if a.log is not None])
def test_logarithm_of_an_output_activation_is_that_of_its_values(name):
    z = torch.from_numpy(np.random.RandomState(0).randn(3, 5))
    expected = OUTPUT_ACTIVATIONS[name].apply_(z.clone()).log()
    torch.testing.assert_close(OUTPUT_ACTIVATIONS[name].log(z), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_loss_of_certain_and_right_labels_is_scikit_learns_and_not_zero(kind, dtype):
    z = torch.from_numpy(np.array([[1e4, -1e4], [-1e4, 1e4]], dtype))
    y = torch.tensor([[0, 1]]) if kind == "multiclass" else (z > 0).to(z.dtype)
    terms, _ = closed_form(CASES[f"{kind} log_loss"], z, y)
    theirs = "log_loss" if kind == "multiclass" else "binary_log_loss"
    right = np.eye(2, dtype=dtype)
    expected = LOSS_FUNCTIONS[theirs](right, right.copy())
    assert expected > 0
    assert reported(CASES[f"{kind} log_loss"], terms, 2) == pytest.approx(expected, rel=1e-6)


# Losses that are functions of the user.


def cross_entropy_of_rows(raw, y):
    return -(y * torch.log_softmax(raw, 1)).sum(1)


def binary_cross_entropy_of_rows(raw, y):
    return F.binary_cross_entropy_with_logits(raw, y, reduction="none").sum(1)


def huber_of_rows(raw, y):
    return F.huber_loss(raw, y, reduction="none").sum(1)


@pytest.mark.parametrize("smoothing", [0.0, SMOOTHING])
@pytest.mark.parametrize(
    "kind, function",
    [("multiclass", cross_entropy_of_rows), ("binary", binary_cross_entropy_of_rows)],
)
def test_callable_of_a_classifier_gets_one_hot_targets_as_they_are_smoothed(
    kind, function, smoothing
):
    seen = []

    def recorded(raw, y):
        seen.append((raw, y))
        return function(raw, y)

    z, y = make_case(kind)
    loss = classification(recorded, kind, smoothing)
    suffix = " smooth" if smoothing else ""
    named = CASES[f"{kind} log_loss{suffix}"]
    assert loss.is_of_the_user
    assert loss.output_activation == named.output_activation
    terms = loss.terms(z, y)
    ((raw, target),) = seen
    assert raw.shape == target.shape == (40, 3)
    assert raw.dtype == target.dtype == torch.float64
    ones = torch.eye(3)[y[0]] if kind == "multiclass" else y.T
    expected = ones * (1 - smoothing) + smoothing / (3 if kind == "multiclass" else 2)
    torch.testing.assert_close(target, expected, check_dtype=False)
    torch.testing.assert_close(terms, named.scale * named.terms(z, y).sum(0, keepdim=True))


def test_callable_of_a_regressor_gets_raw_outputs_and_targets():
    seen = []

    def recorded(raw, y):
        seen.append((raw, y))
        return huber_of_rows(raw, y)

    z, y = make_case("huber 1.0")
    loss = regression(recorded)
    terms = loss.terms(z, y)
    ((raw, target),) = seen
    assert torch.equal(raw, z.t()) and torch.equal(target, y.t())
    torch.testing.assert_close(terms, CASES["huber 1.0"].terms(z, y).sum(0, keepdim=True))
    torch.testing.assert_close(Criterion(loss)(z.t(), y.t()), huber_of_rows(raw, target).mean())


NETWORK = {"hidden_layer_sizes": (5,), "max_iter": 8, "batch_size": 40, "random_state": 0}


@pytest.mark.parametrize(
    "name, smoothing", [("binary", 0.0), ("multiclass", 0.1), ("multilabel", 0.1)]
)
def test_classifier_learns_the_same_by_a_callable_of_equal_formula(name, smoothing):
    X, y = TARGETS[name]
    shapes = set()

    def loss(raw, y):
        shapes.add((tuple(raw.shape[1:]), tuple(y.shape[1:])))
        formula = cross_entropy_of_rows if name == "multiclass" else binary_cross_entropy_of_rows
        return formula(raw, y)

    weight = np.random.RandomState(0).uniform(0.5, 2, len(y))
    models = [
        FeedForwardClassifier(loss=loss, label_smoothing=smoothing, **NETWORK).fit(X, y, weight)
        for loss in (loss, "log_loss")
    ]
    n_raw = {"binary": 1, "multiclass": 3, "multilabel": 4}[name]
    assert shapes == {((n_raw,), (n_raw,))}
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(models[0].predict_proba(X), models[1].predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("name", ["one output", "two outputs"])
def test_regressor_learns_the_same_by_a_callable_of_equal_formula(name):
    X, y = TARGETS[name]
    models = [
        FeedForwardRegressor(loss=loss, **NETWORK).fit(X, y) for loss in (huber_of_rows, "huber")
    ]
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(models[0].predict(X), models[1].predict(X), rtol=1e-6)


def squares(raw, y):
    return (raw - y) ** 2


@pytest.mark.parametrize(
    "function, got",
    [
        (lambda raw, y: squares(raw, y), r"a tensor of shape \(\d+, 2\)"),
        (lambda raw, y: squares(raw, y).mean(), r"a tensor of shape \(\)"),
        (lambda raw, y: squares(raw, y).sum(1, keepdim=True), r"a tensor of shape \(\d+, 1\)"),
        (lambda raw, y: squares(raw, y).sum(0), r"a tensor of shape \(2,\)"),
        (lambda raw, y: squares(raw, y).mean().item(), "float"),
        (lambda raw, y: squares(raw, y).detach().sum(1).numpy(), "ndarray"),
        (lambda raw, y: None, "NoneType"),
        (lambda raw, y: squares(raw, y).sum(1).tolist(), "list"),
    ],
    ids=[
        "all terms", "a mean", "a column", "a row", "a number", "an array", "nothing", "a list",
    ],
)  # fmt: skip
def test_callable_that_returns_something_else_is_an_error_that_says_what(function, got):
    X, y = TARGETS["two outputs"]
    model = FeedForwardRegressor(loss=function, **NETWORK)
    with pytest.raises(
        ValueError, match=rf"'loss' parameter .*{got}.* of shape \(n_samples,\)"
    ) as caught:
        model.fit(X, y)
    # The message names the shapes of the targets and of the expected result. Both belong to the
    # same rows: a batch, or all of them.
    given, wanted = re.search(r"shape \((\d+), 2\)\..* here \((\d+),\)", str(caught.value)).groups()
    assert given == wanted
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize(
    "function",
    [
        lambda raw, y: squares(raw, y).detach().sum(1),
        lambda raw, y: squares((raw > 0).to(y.dtype), y).sum(1),
    ],
    ids=["detached", "of no derivative"],
)
def test_callable_whose_result_cannot_be_differentiated_is_an_error(function):
    X, y = TARGETS["two outputs"]
    with pytest.raises(ValueError, match="'loss' parameter .*cannot be differentiated"):
        FeedForwardRegressor(loss=function, **NETWORK).fit(X, y)


@pytest.mark.parametrize("name", ["binary", "multiclass", "multilabel"])
def test_callable_of_a_classifier_that_returns_a_wrong_shape_is_an_error(name):
    X, y = TARGETS[name]
    with pytest.raises(ValueError, match=r"'loss' parameter .*must return .*\(n_samples,\)"):
        FeedForwardClassifier(loss=lambda raw, y: raw - y, **NETWORK).fit(X, y)
