"""Optimizers of torch work as solvers, and learn what a hand-trained torch.nn.Sequential does."""

from __future__ import annotations

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse
import torch
from conftest import assert_bit_equal, fitted_state
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn
from training_by_hand import (
    DATA,
    RATE,
    NormalizedSGD,
    assert_same_weights,
    assert_trained_alike,
    break_step,
    initial,
    network,
    of_parameters,
    trained_by_hand,
)

from sknn._network._architecture import Network
from sknn._network._module import FeedForwardModule
from sknn._network._parameters import FlatParameters
from sknn._network._solvers import TorchSolver

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class SGDWithOptions(torch.optim.SGD):
    """An optimizer that takes its rate without naming it."""

    def __init__(self, params, **options):
        super().__init__(params, **options)


class RatelessSGD(torch.optim.Optimizer):
    """An optimizer that has no rate."""

    def __init__(self, params):
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=0.01)


class HiddenRateSGD(torch.optim.Optimizer):
    """An optimizer that takes a rate, but has none in its parameter groups."""

    def __init__(self, params, lr):
        super().__init__(params, {})


class RaisingOptimizer(torch.optim.Optimizer):
    """An optimizer whose step needs a closure."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure):
        raise AssertionError


def named(*names):
    """Return those of the named optimizers that this version of torch has."""
    return [getattr(torch.optim, name) for name in names if hasattr(torch.optim, name)]


ELEMENTWISE = named(
    "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax",
    "NAdam", "RAdam", "RMSprop", "Rprop", "SGD",
)  # fmt: skip
BY_SHAPE = [*named("Adafactor"), NormalizedSGD]
# The states of these optimizers are a velocity, several moments, a number, or nothing.
SOLVERS = {
    "SGD": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "amsgrad": partial(torch.optim.Adam, amsgrad=True),
    "Rprop": torch.optim.Rprop,
    "NAdam": torch.optim.NAdam,
    "ASGD": torch.optim.ASGD,
    **{solver.__name__: solver for solver in BY_SHAPE},
}


# The quick solvers have no state, a velocity, moments with a number, and states of single layers.
@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.long] * (name in ("amsgrad", "Rprop", "ASGD")))
        for name in SOLVERS
    ]
)
def solver(request):
    return SOLVERS[request.param]


@pytest.mark.matrix(8)
@pytest.mark.parametrize("target", list(DATA))
@pytest.mark.parametrize("optimizer", [*ELEMENTWISE, *BY_SHAPE], ids=lambda o: o.__name__)
def test_training_equals_one_by_hand(target, optimizer):
    X, y = DATA[target]
    estimator = network(target, solver=optimizer)
    by_hand = trained_by_hand(estimator, X, y, of_parameters(optimizer))
    assert_trained_alike(estimator.fit(X, y), by_hand)


@pytest.mark.matrix(3)
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (torch.optim.Adam, {"betas": (0.5, 0.6), "eps": 1e-3}),
        (torch.optim.RMSprop, {"centered": True}),
        (NormalizedSGD, {"momentum": 0.0}),
    ],
)
def test_options_of_a_partial_are_those_of_the_optimizer(optimizer, options):
    X, y = DATA["multiclass"]
    estimator = network("multiclass", solver=partial(optimizer, **options))
    by_hand = trained_by_hand(estimator, X, y, of_parameters(optimizer, **options))
    assert_trained_alike(estimator.fit(X, y), by_hand)


def test_rate_reaches_an_optimizer_that_does_not_name_it():
    X, y = DATA["multiclass"]
    estimator = network("multiclass", solver=SGDWithOptions)
    by_hand = trained_by_hand(estimator, X, y, of_parameters(torch.optim.SGD))
    assert_trained_alike(estimator.fit(X, y), by_hand)
    assert estimator.learning_rate_curve_ == [RATE] * 3


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, *BY_SHAPE], ids=lambda o: o.__name__)
def test_parameters_of_the_users_activation_are_learned_without_penalty(optimizer):
    X, y = DATA["one output"]
    estimator = network("one output", solver=optimizer, activation=nn.PReLU)
    by_hand = trained_by_hand(estimator, X, y, of_parameters(optimizer), activation=nn.PReLU)
    assert_trained_alike(estimator.fit(X, y), by_hand)


@pytest.mark.parametrize("optimizer", BY_SHAPE, ids=lambda o: o.__name__)
def test_layers_are_separate_tensors_for_sparse_rows_too(optimizer):
    # The weights of the first layer are stored transposed if rows are sparse.
    X, y = DATA["one output"]
    X = np.where(X > 1.0, X, 0.0)
    estimator = network("one output", solver=optimizer)
    by_hand = trained_by_hand(estimator, X, y, of_parameters(optimizer))
    assert_trained_alike(estimator.fit(scipy.sparse.csr_matrix(X), y), by_hand)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, *BY_SHAPE], ids=lambda o: o.__name__)
def test_float32_stays_float32(optimizer):
    X, y = DATA["one output"]
    X, y = X.astype(np.float32), y.astype(np.float32)
    estimator = network("one output", solver=optimizer)
    by_hand = trained_by_hand(estimator, X, y, of_parameters(optimizer))
    assert_trained_alike(estimator.fit(X, y), by_hand, tol=1e-4)
    assert {a.dtype for a in (*estimator.coefs_, *estimator.intercepts_)} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("optimizer", "shapes"),
    [
        (torch.optim.Adam, [(26,)]),
        (partial(torch.optim.Rprop, etas=(0.4, 1.1)), [(26,)]),
        (NormalizedSGD, [(4, 3), (4,), (2, 4), (2,)]),
        (partial(NormalizedSGD, momentum=0.0), [(4, 3), (4,), (2, 4), (2,)]),
    ],
)
def test_elementwise_optimizers_get_one_flat_vector_and_others_get_layers(optimizer, shapes):
    parameters = FlatParameters((3, 4, 2), dtype=torch.float64)
    module = FeedForwardModule(
        parameters.weights, parameters.biases, Network((3, 4, 2), ("tanh",), dropout=(0.0,))
    )
    (group,) = TorchSolver(optimizer, parameters, module, 0.1).param_groups
    assert [tuple(p.shape) for p in group["params"]] == shapes
    parameters.gradient.copy_(torch.arange(26.0))
    assert sum(p.grad.sum().item() for p in group["params"]) == sum(range(26))


@pytest.mark.parametrize(
    "optimizer", [torch.optim.NAdam, partial(torch.optim.RMSprop, centered=True), NormalizedSGD]
)
def test_partial_fit_continues_in_another_dtype(optimizer):
    X, y = DATA["one output"]
    model = network("one output", solver=optimizer, dtype="float64").partial_fit(X, y)
    exact = clone(model).partial_fit(X, y).partial_fit(X, y)
    model.set_params(dtype="float32").partial_fit(X, y)
    assert model.coefs_[0].dtype == np.float32
    for ours, theirs in zip(model.coefs_, exact.coefs_, strict=True):
        assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_restored_rate_is_set_in_the_groups_that_schedules_hold():
    parameters = FlatParameters((3, 4, 2), dtype=torch.float64)
    solver = TorchSolver(torch.optim.Adam, parameters, None, 0.1)
    (group,) = solver.param_groups
    saved = solver.numbers()
    group["lr"] = 0.025
    solver.restore(saved)
    assert group["lr"] == 0.1
    assert solver.param_groups[0] is group


def test_generator_of_torch_is_unchanged_and_has_no_effect(solver):
    X, y = DATA["multiclass"]
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        models.append(network("multiclass", solver=solver, shuffle=True).fit(X, y))
        assert torch.equal(torch.get_rng_state(), before)
    assert_bit_equal(*models)


def test_momentum_and_betas_of_the_estimator_do_not_act(solver):
    X, y = DATA["multiclass"]
    others = {"momentum": 0.1, "beta_1": 0.1, "beta_2": 0.2, "epsilon": 1.0, "power_t": 2.0}
    models = [network("multiclass", solver=solver, **p).fit(X, y) for p in ({}, others)]
    assert_bit_equal(*models)


# --- partial_fit and pickle -------------------------------------------------------------------


@pytest.mark.matrix(3)
@pytest.mark.parametrize("target", list(DATA))
def test_partial_fits_are_the_epochs_of_one_fit(target, solver):
    X, y = DATA[target]
    whole = network(target, solver=solver, max_iter=4).fit(X, y)
    parts = network(target, solver=solver)
    classes = {"classes": np.unique(y)} if target == "multiclass" else {}
    for _ in range(4):
        parts.partial_fit(X, y, **classes)
    assert_same_weights(parts, whole)


@pytest.mark.matrix(3)
def test_fit_and_partial_fit_continue_as_if_never_pickled(solver):
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=solver).fit(X, y)
    pickled = pickle.loads(pickle.dumps(model))
    for _ in range(3):
        model.partial_fit(X, y)
        pickled = pickle.loads(pickle.dumps(pickled.partial_fit(X, y)))
        assert_bit_equal(pickled, model)


@pytest.mark.parametrize(
    ("method", "before", "after"),
    [
        ("partial_fit", torch.optim.Adam, SOLVERS["momentum"]),
        ("partial_fit", "adam", torch.optim.Adam),
        ("partial_fit", torch.optim.Adam, "adam"),
        ("fit", SOLVERS["momentum"], SOLVERS["momentum"]),
    ],
)
def test_state_is_left_behind_by_another_solver_and_by_a_warm_start(method, before, after):
    X, y = DATA["one output"]
    model = network("one output", solver=before, warm_start=True).fit(X, y)
    without = pickle.loads(pickle.dumps(model))
    vars(without).pop("_solver_state")
    fits = [getattr(m.set_params(solver=after), method)(X, y) for m in (model, without)]
    assert_same_weights(*fits)


def test_state_of_the_optimizer_is_held_without_torch(solver):
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=solver).fit(X, y).partial_fit(X, y)
    n_arrays = 0

    def visit(value):
        nonlocal n_arrays
        if isinstance(value, dict):
            value = [*value.keys(), *value.values()]
        if isinstance(value, list | tuple):
            for item in value:
                visit(item)
            return
        n_arrays += isinstance(value, np.ndarray)
        assert isinstance(value, np.ndarray | str | int | float | None), type(value)

    visit(model._solver_state)
    assert n_arrays > 0 or solver is torch.optim.SGD


@pytest.mark.matrix(2)
@pytest.mark.parametrize("n_epochs", [0, 1, 2])
def test_interrupt_goes_back_to_the_last_finished_epoch(monkeypatch, solver, n_epochs):
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=solver, shuffle=True, max_iter=50)
    finished = initial(model, X, y)
    if n_epochs:
        finished = clone(model).set_params(max_iter=n_epochs).fit(X, y)
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=4 * n_epochs + 3)
        with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
            model.fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == n_epochs
    for actual, expected in zip(model.coefs_, finished.coefs_, strict=True):
        assert_array_equal(actual, expected)
    if n_epochs:
        for _ in range(2):
            assert_same_weights(model.partial_fit(X, y), finished.partial_fit(X, y))


@pytest.mark.matrix(2)
def test_interrupt_of_partial_fit_keeps_model_and_state(monkeypatch, solver):
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=solver).fit(X, y)
    untouched = pickle.loads(pickle.dumps(model))
    with monkeypatch.context() as patch:
        break_step(patch, KeyboardInterrupt, at=3)
        with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
            model.partial_fit(X, y)
    assert_same_weights(model, untouched)
    assert_same_weights(model.partial_fit(X, y), untouched.partial_fit(X, y))


@pytest.mark.parametrize("target", list(DATA))
def test_early_stopping_restores_the_best_epoch(target):
    X, y = DATA[target]
    X, X_val, y, y_val = X[::2], X[1::2], y[::2], y[1::2]
    # The steps are too long, so the best epoch is not the last one.
    model = network(
        target,
        solver=partial(torch.optim.RMSprop, alpha=0.5),
        learning_rate_init=0.3,
        max_iter=15,
        early_stopping=True,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    scores = model.validation_scores_
    assert model.best_validation_score_ == max(scores) > scores[-1]
    assert model.score(X_val, y_val) == pytest.approx(max(scores), rel=1e-12)


# --- in scikit-learn's tools ------------------------------------------------------------------


def test_clone_trains_alike(solver):
    X, y = DATA["multiclass"]
    model = network("multiclass", solver=solver)
    copy = clone(model)
    assert repr(copy.solver) == repr(solver)
    assert_bit_equal(copy.fit(X, y), model.fit(X, y))


@pytest.mark.long
def test_grid_search_over_solvers_equals_scores_one_by_one():
    X, y = DATA["multiclass"]
    solvers = ["adam", torch.optim.RMSprop, SOLVERS["momentum"], NormalizedSGD]
    model = network("multiclass", max_iter=10)
    search = GridSearchCV(model, {"solver": solvers}, cv=3, error_score="raise").fit(X, y)
    scores = [cross_val_score(clone(model).set_params(solver=s), X, y, cv=3) for s in solvers]
    assert_allclose(search.cv_results_["mean_test_score"], np.mean(scores, axis=1))
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    assert repr(search.best_params_["solver"]) == repr(solvers[search.best_index_])
    assert search.score(X, y) > 0.5


# --- errors -----------------------------------------------------------------------------------


UNUSABLE = {
    "LBFGS": (torch.optim.LBFGS, "solver.*LBFGS.*closure.*lbfgs"),
    "partial of LBFGS": (partial(torch.optim.LBFGS, history_size=5), "solver.*LBFGS.*closure"),
    "closure": (RaisingOptimizer, "solver.*RaisingOptimizer.*closure"),
    "SparseAdam": (torch.optim.SparseAdam, "solver.*SparseAdam.*sparse gradients.*dense"),
    "lr": (partial(torch.optim.SGD, lr=0.1), "solver.*lr=0.1.*learning_rate_init"),
    "positional": (partial(torch.optim.SGD, []), "solver.*SGD.*positional.*keyword"),
    "class": (dict, "solver.*dict.*subclass of torch.optim.Optimizer.*partial"),
    "module": (nn.Linear, "solver.*Linear.*subclass of torch.optim.Optimizer"),
    "function": (print, "solver.*print.*subclass of torch.optim.Optimizer"),
    "partial of a function": (partial(print, end=""), "solver.*print.*torch.optim.Optimizer"),
    "lambda": (lambda p: torch.optim.SGD(p), "solver.*lambda.*torch.optim.Optimizer"),
    "instance": (torch.optim.SGD([torch.zeros(1)]), "solver.*adam.*callable"),
    "name": ("rmsprop", "solver.*adamw.*'rmsprop'"),
    "unknown option": (partial(torch.optim.SGD, mass=1.0), "solver.*SGD.*options.*'mass'"),
    "illegal option": (partial(torch.optim.SGD, momentum=-1.0), "solver.*SGD.*options.*momentum"),
    "base class": (torch.optim.Optimizer, "solver.*Optimizer"),
    "no rate": (RatelessSGD, "solver.*RatelessSGD.*lr"),
    "hidden rate": (HiddenRateSGD, "solver.*HiddenRateSGD.*'lr'"),
    **{
        muon.__name__: (muon, r"solver.*Muon.*shapes.*\(6, 4\), \(6,\).*2D")
        for muon in named("Muon")
    },
}


@pytest.mark.matrix(18)
@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name, (unusable, _) in UNUSABLE.items()
        for method in ("fit", "partial_fit")
        if callable(unusable) or method == "fit"  # Without a callable, there is no partial_fit.
    ],
)
def test_unusable_solver_is_an_error_before_training(monkeypatch, name, method):
    X, y = DATA["multiclass"]
    model = network("multiclass").fit(X, y)
    before = repr(fitted_state(model))
    unusable, message = UNUSABLE[name]
    break_step(monkeypatch, AssertionError("a step was made"), at=1)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        getattr(model.set_params(solver=unusable), method)(X, y)
    assert repr(fitted_state(model)) == before


def test_diverging_optimizer_ends_in_the_usual_error():
    X, y = DATA["one output"]
    model = network("one output", solver=torch.optim.SGD).fit(X, y)
    before = repr(fitted_state(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            model.set_params(learning_rate_init=1e200).fit(X, y)
    assert repr(fitted_state(model)) == before
