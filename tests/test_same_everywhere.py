"""With a given `random_state`, results are bit-identical in any thread, process and global state.

What ran before in the process does not change them either.
"""

from __future__ import annotations

import hashlib
import locale
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch
from conftest import TARGETS, assert_bit_equal, fitted_state, torch_threads
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch.optim.lr_scheduler import StepLR

from sknn import FeedForwardClassifier, FeedForwardRegressor, TrainingWarning
from sknn._network._matrix_products import TorchProducts
from sknn._training import _train

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower"),
]

TESTS = Path(__file__).resolve().parent
KINDS = {
    "binary": FeedForwardClassifier,
    "multiclass": FeedForwardClassifier,
    "multilabel": FeedForwardClassifier,
    "one output": FeedForwardRegressor,
    "two outputs": FeedForwardRegressor,
}


def data(target):
    """Return a hundred rows with all classes, and their targets."""
    X, y = TARGETS[target]
    rows = np.random.RandomState(0).permutation(len(X))[:100]
    return X[rows], y[rows]


class Mixing(torch.nn.Module):
    """An activation that draws from torch's generator for its initial weights and in training."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Linear(1, 1)
        self.half = torch.tensor(0.3)

    def forward(self, x):
        noise = torch.rand_like(x) if self.training else torch.zeros(1, dtype=x.dtype)
        return torch.relu(x) * self.slope.weight + noise * self.half


def cubes(raw, y):
    return ((raw - y).abs() ** 3).sum(1)


CASES = {
    "adam": {},
    "adam, float32": {"dtype": "float32"},
    "adam, bfloat16": {"dtype": "bfloat16"},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive"},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adamw, one cycle": {"solver": "adamw", "learning_rate": "one_cycle"},
    "lbfgs": {"solver": "lbfgs"},
    "lbfgs, autograd": {"solver": "lbfgs", "normalization": "layer"},
    "early stopping": {"early_stopping": True},
    "early stopping by the loss": {"early_stopping": True, "scoring": "loss", "dtype": "float32"},
    "dropout": {"dropout": 0.3, "input_dropout": 0.2},
    "dropout, layer normalization": {"dropout": 0.3, "normalization": "layer"},
    "batch normalization": {"normalization": "batch"},
    "batch normalization, bfloat16": {"normalization": "batch", "dtype": "bfloat16"},
    "a module": {"activation": Mixing},
    "a module, float32": {"activation": Mixing, "dtype": "float32"},
    "a loss": {"loss": cubes},
    "members": {"n_members": 3, "dropout": 0.3, "input_dropout": 0.2, "normalization": "layer"},
    "members, bfloat16": {"n_members": 3, "dtype": "bfloat16"},
    "members, early stopping": {"n_members": 3, "early_stopping": True},
    "RMSprop": {"solver": torch.optim.RMSprop},
    "NAdam": {"solver": partial(torch.optim.NAdam, momentum_decay=0.1)},
    "Adagrad": {"solver": torch.optim.Adagrad},
    **(
        {"Adafactor": {"solver": torch.optim.Adafactor}}
        if hasattr(torch.optim, "Adafactor")
        else {}
    ),
    "cosine, warm-up, clipping": {
        "learning_rate": "cosine",
        "warmup_fraction": 0.3,
        "max_grad_norm": 0.1,
    },
    "a scheduler": {"learning_rate": partial(StepLR, step_size=1)},
}
EVERY_TARGET = ("adam", "lbfgs", "early stopping", "batch normalization")
RUNS = [(name, target) for name in EVERY_TARGET for target in KINDS] + [
    (name, ("multiclass", "one output")[i % 2])
    for i, name in enumerate(name for name in CASES if name not in EVERY_TARGET)
]
QUICK = {name: (name, target) for name, target in RUNS}  # each kind of fit with one of its targets
EACH = [pytest.param(*run, marks=[pytest.mark.long] * (QUICK[run[0]] != run)) for run in RUNS]
each_run = pytest.mark.parametrize(("name", "target"), EACH)


def new(name, target, **parameters):
    shared = {"hidden_layer_sizes": (8, 6), "max_iter": 3, "batch_size": 40, "random_state": 0}
    return KINDS[target](**shared | CASES[name] | parameters)


def has_partial_fit(estimator):
    return hasattr(estimator, "partial_fit") and not estimator.early_stopping


def results(estimator, X, y):
    """Return the estimator and its score, predictions and weights after `fit` and `partial_fit`."""
    estimator.fit(X, y)
    given = [estimator.score(X, y)]
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(estimator, method):
            given.append(getattr(estimator, method)(X))
    if has_partial_fit(estimator):
        given.append(estimator.partial_fit(X, y).predict(X))
    given += [parameter.detach().numpy() for parameter in estimator.net_.module_.parameters()]
    return estimator, given


@cache
def usual(name, target):
    return results(new(name, target), *data(target))


def assert_as_usual(name, target, actual):
    estimator, given = usual(name, target)
    assert_bit_equal(actual[0], estimator)
    assert len(actual[1]) == len(given)
    for left, right in zip(actual[1], given, strict=True):
        assert_array_equal(left, right)
        assert np.asarray(left).dtype == np.asarray(right).dtype


# --- State that a caller may have set ---------------------------------------------------------


@contextmanager
def changed(get, put, value):
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


@contextmanager
def drawn_from():
    """Move all global generators elsewhere, with a gaussian cached for the next draw."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(5)
    np.random.seed(6)
    np.random.randn()
    torch.manual_seed(7)
    torch.randn(3)
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


def a_default_dtype(dtype):
    return changed(torch.get_default_dtype, torch.set_default_dtype, dtype)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def without_subnormals():
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)  # three epochs do not converge
        warnings.simplefilter("ignore", TrainingWarning)  # nor do they learn much
        warnings.filterwarnings("ignore", message="dtype='bfloat16' is slower")
        yield


@contextmanager
def another_locale():
    # The first two have a decimal comma, but not every system has them.
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
        try:
            with changed(
                lambda: locale.setlocale(locale.LC_ALL),
                lambda value: locale.setlocale(locale.LC_ALL, value),
                name,
            ):
                yield
            return
        except locale.Error:
            continue
    pytest.skip("no other locale is installed")


SETTINGS = {
    "other generators": drawn_from,
    "default dtype float64": lambda: a_default_dtype(torch.float64),
    "default dtype bfloat16": lambda: a_default_dtype(torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "medium precision of products": lambda: changed(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "deterministic algorithms": lambda: changed(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "no subnormal numbers": without_subnormals,
    "default device": default_device,
    "device context": lambda: torch.device("meta"),
    "NumPy's errors raise": lambda: np.errstate(all="raise"),
    "print options": lambda: np.printoptions(precision=1, threshold=2, suppress=True),
    "warnings as errors": warnings_as_errors,
    "locale": another_locale,
    "pandas output": lambda: sklearn.config_context(transform_output="pandas"),
    "assume_finite": lambda: sklearn.config_context(assume_finite=True),
    "metadata routing": lambda: sklearn.config_context(enable_metadata_routing=True),
    "parameters not validated": lambda: sklearn.config_context(skip_parameter_validation=True),
}


def runs_with_settings():
    """Return each kind of fit with one setting, and with six more in long tests."""
    for i, run in enumerate(QUICK.values()):
        for j, setting in enumerate(SETTINGS):
            if (i - j) % len(SETTINGS) == 0:
                yield (*run, setting)
            elif (i - j) % 3 == 0:
                yield pytest.param(*run, setting, marks=pytest.mark.long)


@pytest.mark.parametrize(("name", "target", "setting"), list(runs_with_settings()))
def test_results_do_not_depend_on_what_the_caller_has_set(name, target, setting):
    usual(name, target)
    with SETTINGS[setting]():
        actual = results(new(name, target), *data(target))
    assert_as_usual(name, target, actual)


@pytest.mark.matrix
@pytest.mark.parametrize("setting", ["autocast", "medium precision of products", "default device"])
@pytest.mark.parametrize("name", ["adam", "adam, float32", "dropout"])
def test_settings_do_not_matter_to_torchs_own_products(name, setting, monkeypatch):
    # Torch computes the products of large networks on many threads.
    monkeypatch.setattr(_train, "products_of", lambda *_: TorchProducts)
    X, y = TARGETS["multiclass"]
    estimators = []
    for context in (nullcontext, SETTINGS[setting]):
        with context():
            estimators.append(new(name, "multiclass", hidden_layer_sizes=(70, 70)).fit(X, y))
    assert_bit_equal(*estimators)


def test_settings_do_not_matter_to_a_prediction_in_several_chunks(two_threads):
    X, y = TARGETS["multiclass"]
    estimator = new("adam, float32", "multiclass").fit(X, y)
    rows = np.tile(X, (1000, 1))
    expected = estimator.predict_proba(rows)
    for setting in ("autocast", "medium precision of products", "default device"):
        with SETTINGS[setting]():
            assert_array_equal(estimator.predict_proba(rows), expected)


def test_callbacks_and_losses_see_torch_as_it_comes():
    seen = []

    def loss(raw, y):
        seen.append((torch.is_autocast_enabled("cpu"), torch.zeros(1).device.type))
        return (raw - y).square().sum(1)

    X, y = TARGETS["one output"]
    with torch.autocast("cpu"), torch.device("meta"), torch.inference_mode():
        FeedForwardRegressor(loss=loss, max_iter=2, random_state=0).fit(X, y)
    assert seen
    assert set(seen) == {(False, "cpu")}


def test_fits_of_bfloat16_inside_of_autocast_do_not_keep_old_weights():
    # Autocast keeps its copies of the weights until the outermost autocast context ends.
    X, y = TARGETS["multiclass"]
    estimator = new("batch normalization, bfloat16", "multiclass", max_iter=20)
    expected = clone(estimator).fit(X, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert_bit_equal(estimator.fit(X, y), expected)
    assert expected.loss_curve_[-1] < 0.9 * expected.loss_curve_[0]


def test_optimizers_make_their_scalars_in_float32_whatever_the_default_dtype():
    X, y = TARGETS["multiclass"]
    with a_default_dtype(torch.float64):
        estimator = new("NAdam", "multiclass").fit(X, y)
        assert torch.get_default_dtype() == torch.float64
    state = estimator._solver_state["numbers"]["state"][0]
    assert state["mu_product"].dtype == np.float32


def test_default_dtype_is_put_back_after_a_step_that_fails(monkeypatch):
    def fail(*_):
        raise RuntimeError("broken")

    X, y = TARGETS["multiclass"]
    monkeypatch.setattr(torch.optim.RMSprop, "step", fail)
    with a_default_dtype(torch.float64):
        with pytest.raises(RuntimeError, match="broken"):
            new("RMSprop", "multiclass").fit(X, y)
        assert torch.get_default_dtype() == torch.float64


# --- Copies, threads, processes ---------------------------------------------------------------


def pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))


@pytest.mark.matrix(9)
@each_run
def test_copies_of_an_estimator_give_the_same_results(name, target):
    copied = clone(pickled(new(name, target)))
    assert_as_usual(name, target, results(copied, *data(target)))


@pytest.mark.matrix(9)
@pytest.mark.parametrize(
    ("name", "target"), [run for run in EACH if has_partial_fit(new(*run.values))]
)
def test_partial_fits_go_on_from_a_pickle_as_if_never_saved(name, target):
    X, y = data(target)
    straight = new(name, target, max_iter=6)
    first = {"classes": np.unique(y)} if KINDS[target] is FeedForwardClassifier else {}
    if target == "multilabel":
        first = {"classes": np.arange(y.shape[1])}
    saved = straight.partial_fit(X, y, **first)
    for _ in range(3):
        saved = pickled(saved).partial_fit(X, y)
        straight.partial_fit(X, y)
    assert_bit_equal(saved, straight)
    assert_array_equal(saved.predict(X), straight.predict(X))


@pytest.mark.matrix(9)
@each_run
def test_warm_starts_go_on_from_a_pickle_as_if_never_saved(name, target):
    X, y = data(target)
    saved = straight = new(name, target, warm_start=True).fit(X, y)
    for _ in range(2):
        saved = pickled(saved).fit(X, y)
        straight.fit(X, y)
    assert_bit_equal(saved, straight)
    assert_array_equal(saved.predict(X), straight.predict(X))


@pytest.mark.matrix(9)
@each_run
def test_fit_in_another_thread_gives_the_same_results(name, target):
    made = []
    with torch_threads(2):
        usual(name, target)
        thread = threading.Thread(
            target=lambda: made.append(results(new(name, target), *data(target)))
        )
        thread.start()
        thread.join()
    assert_as_usual(name, target, *made)


def print_digest():
    """Print one digest of the results of all runs. Other processes call this."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    digest = hashlib.sha256()
    for name, target in RUNS:
        estimator, given = usual(name, target)
        state = sorted(fitted_state(estimator).items())
        digest.update(repr((state, [np.asarray(value).tolist() for value in given])).encode())
    print(digest.hexdigest())


def digest_of_process(*flags, imports="", **environment):
    code = f"{imports}\nfrom test_same_everywhere import print_digest\nprint_digest()"
    root = str(TESTS.parent)
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, str(TESTS)]), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_results_do_not_depend_on_the_process(capsys):
    expected = digest_of_process(PYTHONHASHSEED="0")
    assert len(expected.strip()) == 64
    # PYTHONOPTIMIZE "2" removes docstrings, and skorch cannot be imported without them.
    others = {"PYTHONHASHSEED": "1234", "TORCHDYNAMO_DISABLE": "1", "LC_ALL": "C", "TZ": "UTC-9"}
    imports = "import skorch, torch, scipy.optimize, pandas"
    assert digest_of_process("-O", imports=imports, **others) == expected
    with torch_threads(1):
        usual.cache_clear()
        print_digest()
        usual.cache_clear()
    assert capsys.readouterr().out == expected


@pytest.mark.long
@pytest.mark.parametrize("name", ["adam", "lbfgs", "early stopping", "dropout", "a module"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_workers_of_joblib_give_the_same_results_to_rounding(name, target):
    X, y = TARGETS[target]
    grid = {"alpha": [1e-4, 0.1], "hidden_layer_sizes": [(8, 6), (5, 5)]}
    searches = [
        GridSearchCV(new(name, target), grid, cv=3, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2)
    ]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    assert_allclose(scores[1], scores[0], rtol=1e-10)
    models = [search.best_estimator_ for search in searches]
    for actual, expected in zip(models[1].coefs_, models[0].coefs_, strict=True):
        assert_allclose(actual, expected, rtol=1e-10)
    scores = [cross_val_score(new(name, target), X, y, cv=3, n_jobs=n) for n in (1, 2)]
    assert_allclose(scores[1], scores[0], rtol=1e-10)
