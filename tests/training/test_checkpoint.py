"""A training that was killed continues, and ends bit for bit like one that was not killed."""

from __future__ import annotations

import pickle
from functools import partial

import joblib
import numpy as np
import pytest
import scipy.sparse
import torch
from checkpoints import (
    SPECIES,
    X_IRIS,
    Killed,
    classifier,
    files,
    kill,
    killed_after,
    loaded,
    made_for,
    the_file,
)
from conftest import TARGETS, assert_bit_equal, fitted_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from sknn._platform._devices import is_present

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ACCELERATORS = [name for name in ("cuda", "mps") if is_present(name)]


def assert_goes_on(make, directory, *data, kills=(10, 6), **more):
    """Assert that a fit that is killed again and again ends like one that is not killed."""
    whole = make().fit(*data, **more)
    assert files(directory) == []
    saved = 0
    for n_epochs in kills:
        kill(make(), n_epochs, *data, **more)
        saved += n_epochs // 4 * 4
        assert len(files(directory)) == 1
    estimator = make()
    with killed_after(None) as counted:
        estimator.fit(*data, **more)
    assert counted.n_epochs == whole.n_iter_ - saved
    assert files(directory) == []
    assert_bit_equal(estimator, whole)
    return estimator


class Adafactored(torch.optim.Optimizer):
    """A user's optimizer that works on other tensors than the flat vector and has float64 state."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["scale"] = torch.ones((), dtype=torch.float64)
                    state["seen"] = (0, {"steps": 0})
                mean = float(parameter.grad.square().mean())
                state["scale"].mul_(0.9).add_(0.1 * mean)
                state["seen"] = (state["seen"][0] + 1, {"steps": state["seen"][1]["steps"] + 1})
                rate = group["lr"] / (state["scale"].sqrt().item() + 1e-3)
                parameter.add_(parameter.grad, alpha=-rate)


def noisy_activation():
    return torch.nn.Sequential(torch.nn.PReLU(), torch.nn.Dropout(0.3))


def sequential(optimizer):
    first, second = lr_scheduler.LinearLR(optimizer), lr_scheduler.StepLR(optimizer, 3)
    return lr_scheduler.SequentialLR(optimizer, [first, second], [8])


SOLVERS = {
    "adam": {},
    "adamw": {"solver": "adamw", "alpha": 0.1},
    "sgd": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "sgd, adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 10.0,
        "n_iter_no_change": 2,
    },
    "NAdam": {"solver": torch.optim.NAdam},
    "NAdam, float32": {"solver": torch.optim.NAdam, "dtype": "float32"},
    "SGD, partial": {"solver": partial(torch.optim.SGD, momentum=0.9, nesterov=True)},
    "Adam, amsgrad": {"solver": partial(torch.optim.Adam, amsgrad=True, betas=(0.8, 0.9))},
    "LBFGS-like, of the user": {"solver": Adafactored, "dtype": "float32"},
}
SCHEDULES = {
    "cosine": {"learning_rate": "cosine"},
    "cosine, torch's optimizer": {"learning_rate": "cosine", "solver": torch.optim.RMSprop},
    "one_cycle": {"learning_rate": "one_cycle"},
    "warm-up": {"warmup_fraction": 0.5, "solver": "sgd", "learning_rate": "invscaling"},
    "clipping": {"max_grad_norm": 0.1},
    "StepLR": {"learning_rate": partial(lr_scheduler.StepLR, step_size=5)},
    "MultiStepLR": {"learning_rate": partial(lr_scheduler.MultiStepLR, milestones=[3, 9, 11, 11])},
    "lambda": {"learning_rate": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9)},
    "LambdaLR": {"learning_rate": lambda o: lr_scheduler.LambdaLR(o, lambda n: 0.9**n)},
    "SequentialLR": {"learning_rate": sequential},
    "CyclicLR": {
        "solver": partial(torch.optim.SGD, momentum=0.5),
        "learning_rate": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, 5),
    },
    "OneCycleLR": {
        "learning_rate": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 24, cycle_momentum=False)
    },
    "ReduceLROnPlateau": {
        "learning_rate": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.2)
    },
    "plateau and warm-up": {
        "learning_rate": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.2),
        "warmup_fraction": 0.5,
        "early_stopping": True,
    },
}
NETWORKS = {
    "dropout": {"dropout": [0.3, 0.1], "input_dropout": 0.2},
    "dropout, bfloat16": {"dropout": 0.3, "dtype": "bfloat16"},
    "batch normalization": {"normalization": "batch"},
    "layer normalization": {"normalization": "layer", "dropout": 0.2},
    "batch normalization, early stopping": {"normalization": "batch", "early_stopping": True},
    "module that draws": {"activation": noisy_activation, "dropout": 0.2},
    "gelu": {"activation": ["gelu", "softplus"]},
    "members": {"n_members": 3, "dropout": [0.3, 0.1], "input_dropout": 0.2},
    "members, early stopping": {"n_members": 3, "normalization": "batch", "early_stopping": True},
    "members, modules": {"n_members": 2, "activation": noisy_activation, "dtype": "bfloat16"},
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
}
STOPS = {
    "early stopping": {"early_stopping": True},
    "early stopping, dropout": {"early_stopping": True, "dropout": 0.5},
    "early stopping that stops": {"early_stopping": True, "n_iter_no_change": 13, "tol": 0.2},
    "scoring": {"early_stopping": True, "scoring": "neg_log_loss"},
    "loss": {"early_stopping": True, "scoring": "loss"},
    "a plateau that stops": {"n_iter_no_change": 15, "tol": 0.3},
    "in order": {"shuffle": False},
    "in order, early stopping": {"shuffle": False, "early_stopping": True},
    "one batch": {"batch_size": 150},
    "focal": {"loss": "focal", "label_smoothing": 0.1, "class_weight": {0: 2.0}},
}
CASES = {**SOLVERS, **SCHEDULES, **NETWORKS, **STOPS}
# Each of these is much like another case.
LONG = {
    *("adamw", "sgd", "SGD, partial", "Adam, amsgrad", "NAdam", "clipping", "MultiStepLR"),
    *("LambdaLR", "CyclicLR", "OneCycleLR", "lambda", "dropout", "layer normalization", "gelu"),
    *("batch normalization", "members", "members, early stopping", "float32", "bfloat16"),
    *("early stopping", "early stopping, dropout", "in order", "in order, early stopping"),
    *("loss", "one batch", "module that draws", "ReduceLROnPlateau", "cosine"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.long] * (c in LONG)) for c in CASES]
)
@pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower")
@pytest.mark.filterwarnings("ignore:To get the last learning rate computed by the scheduler")
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_resumed_fit_is_bit_equal(case, tmp_path):
    assert_goes_on(lambda: classifier(tmp_path, **CASES[case]), tmp_path, X_IRIS, SPECIES)


@pytest.mark.matrix(4)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_resumed_fit_is_bit_equal_for_every_target(target, early_stopping, tmp_path):
    parameters = {"early_stopping": early_stopping, "dropout": 0.1}
    make = partial(made_for, target, tmp_path, **parameters)
    assert_goes_on(make, tmp_path, *TARGETS[target])


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weights", [False, True])
def test_resumed_fit_is_bit_equal_with_validation_rows_of_ones_own(
    early_stopping, weights, tmp_path
):
    rng = np.random.RandomState(0)
    data = {"X_val": X_IRIS[::3], "y_val": SPECIES[::3]}
    if weights:
        data["sample_weight_val"] = rng.rand(50)
        data["sample_weight"] = rng.rand(150)
    make = partial(classifier, tmp_path, early_stopping=early_stopping)
    resumed = assert_goes_on(make, tmp_path, X_IRIS, SPECIES, **data)
    assert len(resumed.validation_scores_) == len(resumed.loss_curve_) == 24


@pytest.mark.matrix(1)
@pytest.mark.parametrize("density", [0.02, 0.5])
def test_resumed_fit_is_bit_equal_for_sparse_rows(density, tmp_path):
    rows = scipy.sparse.random(200, 50, density, "csr", random_state=0)
    y = np.arange(200) % 3
    for dtype in (np.float32, np.float64):
        assert_goes_on(partial(classifier, tmp_path), tmp_path, rows.astype(dtype), y)


def test_resumed_fit_is_bit_equal_after_a_warm_start(tmp_path):
    def make():
        first = classifier(None, max_iter=5, early_stopping=True, warm_start=True)
        return first.fit(X_IRIS, SPECIES).set_params(max_iter=24, checkpoint_dir=tmp_path)

    resumed = assert_goes_on(make, tmp_path, X_IRIS, SPECIES)
    assert len(resumed.loss_curve_) == 5 + 24
    assert [record["epoch"] for record in resumed.net_.history] == list(range(1, 30))


@pytest.mark.skipif(not ACCELERATORS, reason="there is no accelerator")
@pytest.mark.parametrize("case", ["adam", "NAdam, float32", "dropout", "module that draws"])
@pytest.mark.parametrize("device", ACCELERATORS)
def test_resumed_fit_is_bit_equal_on_an_accelerator(device, case, tmp_path):
    parameters = {"dtype": "float32", **CASES[case], "early_stopping": True, "device": device}
    assert_goes_on(lambda: classifier(tmp_path, **parameters), tmp_path, X_IRIS, SPECIES)


@pytest.fixture(scope="module")
def whole():
    return classifier(None, dropout=0.2, early_stopping=True).fit(X_IRIS, SPECIES)


@pytest.mark.parametrize(
    "n_epochs",
    [pytest.param(n, marks=[pytest.mark.long] * (n not in (1, 3, 11, 23))) for n in range(1, 24)],
)
def test_killed_in_any_epoch(n_epochs, whole, tmp_path):
    make = partial(classifier, tmp_path, checkpoint_every=3, dropout=0.2, early_stopping=True)
    kill(make(), n_epochs, X_IRIS, SPECIES)
    with killed_after(None) as counted:
        assert_bit_equal(make().fit(X_IRIS, SPECIES), whole)
    assert counted.n_epochs == 24 - n_epochs // 3 * 3


@given(
    kills=st.lists(st.integers(0, 6), max_size=8),
    every=st.integers(1, 5),
    solver=st.sampled_from(["adam", "sgd", torch.optim.NAdam]),
    early_stopping=st.booleans(),
    dropout=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(
    max_examples=7,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_kills_at_any_interval(tmp_path, kills, every, **parameters):
    seed = parameters.pop("seed")
    make = partial(
        classifier,
        tmp_path,
        checkpoint_every=every,
        max_iter=8,
        random_state=seed,
        **parameters,
    )
    whole = make().fit(X_IRIS, SPECIES)
    for n_epochs in kills:
        with killed_after(n_epochs):
            try:
                make().fit(X_IRIS, SPECIES)
            except Killed:
                continue
            break
    assert_bit_equal(make().fit(X_IRIS, SPECIES), whole)
    assert files(tmp_path) == []


def test_same_estimator_may_be_started_again_and_keeps_its_model_meanwhile(tmp_path):
    whole = classifier(tmp_path).fit(X_IRIS, SPECIES)
    estimator = classifier(tmp_path, max_iter=2).fit(X_IRIS, SPECIES)
    before = fitted_state(estimator)
    estimator.set_params(max_iter=24)
    kill(estimator, 9, X_IRIS, SPECIES)
    assert fitted_state(estimator) == before
    assert_bit_equal(estimator.fit(X_IRIS, SPECIES), whole)


def test_resumed_best_losses_of_the_history_are_those_of_the_whole(tmp_path):
    make = partial(classifier, tmp_path, learning_rate_init=0.5, early_stopping=True)
    history = assert_goes_on(make, tmp_path, X_IRIS, SPECIES).net_.history
    for name in ("train_loss", "valid_loss"):
        losses = history[:, name]
        least = np.minimum.accumulate([np.inf, *losses[:-1]])
        assert history[:, f"{name}_best"] == [bool(a < b) for a, b in zip(losses, least)]  # noqa: B905
        assert not all(history[10:, f"{name}_best"])


@pytest.mark.matrix
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("n_rows, bytes_of_row", [(200, 1), (2000, 2), (70_000, 4)])
def test_size_of_the_file_is_that_of_the_guide(n_rows, bytes_of_row, early_stopping, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n_rows, 20), dtype=np.float32), np.arange(n_rows) % 3
    estimator = classifier(tmp_path, batch_size=n_rows // 4, early_stopping=early_stopping)
    kill(estimator, 9, X, y)
    n_parameters = 21 * 8 + 9 * 6 + 7 * 3
    expected = (4 if early_stopping else 3) * n_parameters * 4
    expected += bytes_of_row * (n_rows * 9 // 10 if early_stopping else n_rows)
    assert 0 < the_file(tmp_path).stat().st_size - expected < 6000 + 300 * 8


def test_durations_of_epochs_that_are_over_are_kept(tmp_path):
    estimator = classifier(tmp_path)
    kill(estimator, 9, X_IRIS, SPECIES)
    _, tree = loaded(the_file(tmp_path))
    durations = [record["dur"] for record in tree["history"]]
    assert estimator.fit(X_IRIS, SPECIES).net_.history[:8, "dur"] == durations


def test_global_generators_are_left_alone(tmp_path):
    make = partial(classifier, tmp_path, activation=noisy_activation, dropout=0.1)
    kill(make(), 9, X_IRIS, SPECIES)
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    make().fit(X_IRIS, SPECIES)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_resumed_fit_has_the_bytes_of_a_whole_one(tmp_path):
    whole, resumed = (
        classifier(str(tmp_path), early_stopping=True, scoring="accuracy", checkpoint_every=1)
        for _ in range(2)
    )
    whole.fit(X_IRIS, SPECIES)
    kill(resumed, 9, X_IRIS, SPECIES)
    with killed_after(None) as resumption:
        resumed.fit(X_IRIS, SPECIES)
    assert resumption.n_epochs == whole.n_iter_ - 9
    assert pickle.dumps(resumed) == pickle.dumps(whole)
    assert joblib.hash(resumed) == joblib.hash(whole)
