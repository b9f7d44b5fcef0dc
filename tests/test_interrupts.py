"""An exception at any line of the package, as a signal's handler may raise it, loses no model."""

from __future__ import annotations

import copy
import sys
import threading
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TARGETS, assert_bit_equal, fitted_state, torch_threads
from skorch.callbacks import Callback
from threadpoolctl import threadpool_info

import sknn
from sknn import FeedForwardClassifier, _threads

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PACKAGE = str(Path(sknn.__file__).parent)
X, SPECIES = TARGETS["multiclass"]
X, SPECIES = X[::3], SPECIES[::3]
SMALL = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0, "batch_size": 25}


class Signalled(Exception):
    """What the handler of a signal raises."""


class Watching(Callback):
    """A callback of the user that hears of batches and of epochs."""

    def on_batch_end(self, net, **kwargs): ...

    def on_epoch_end(self, net, **kwargs):
        net.history.record("seen", True)


CASES = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "invscaling"},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True},
    "dropout, normalization": {"dropout": 0.2, "normalization": "batch"},
    "module": {"activation": torch.nn.Tanh},
    "optimizer": {"solver": torch.optim.NAdam},
    "warm start": {"warm_start": True},
    "callbacks": {"callbacks": [Watching()]},
    "progress": {"verbose": "progress"},
}


class Raising:
    """Raises at the n-th line of the package that the body runs; counts them without an n.

    Lines of `__exit__` and `finally` are among them, where most programs lose something.
    """

    def __init__(self, n=None, error=Signalled):
        self.n, self.error, self.n_lines, self.where = n, error, 0, None

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._in_frame)
        return self

    def __exit__(self, *exception):
        sys.settrace(self._before)

    def _in_frame(self, frame, event, arg):
        return self._at_line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _at_line(self, frame, event, arg):
        if event == "line":
            self.n_lines += 1
            if self.n_lines == self.n:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                sys.settrace(None)
                raise self.error(self.where)
        return self._at_line


def surroundings():
    """What a call leaves as it was, apart from the model."""
    return {
        "torch": torch.get_num_threads(),
        "BLAS": [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"],
        "limits": (set(_threads._torch_limits), _threads._blas_limit),
        "locks": (_threads._lock.locked(), sknn._compat._generator_lock.acquire(blocking=False)),
        "generator": torch.get_rng_state().tolist(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "errors": np.geterr(),
        "warnings": list(warnings.filters),
        "threads": threading.active_count(),
    }


@contextmanager
def unchanged_surroundings(where):
    before = surroundings()
    sknn._compat._generator_lock.release()
    yield
    after = surroundings()
    sknn._compat._generator_lock.release()
    for name in before:
        assert after[name] == before[name], (name, where())


@pytest.fixture(autouse=True)
def _two_threads():
    with torch_threads(2):
        yield


def sampled(n_lines, request, most=60):
    """Some of the lines to raise at, other ones for each case."""
    if n_lines <= most:
        return range(1, n_lines + 1)
    rng = np.random.RandomState(len(request.node.name))
    return sorted(rng.choice(np.arange(1, n_lines + 1), most, replace=False).tolist())


def call(estimator, method, context=None):
    function = getattr(estimator, method)  # scikit-learn makes its own error of one in here
    with context or nullcontext():
        function(*((X,) if method == "predict" else (X, SPECIES)))


def check_interrupts(make, method, error, lines):
    """Raise at each of some lines of a method; assert that nothing but the call is lost."""
    n_raised = 0
    finished = make()
    call(finished, method)
    again = copy.deepcopy(finished)
    call(again, method)
    for n in lines:
        estimator = make()
        old = repr(fitted_state(estimator))
        raising = Raising(n, error)
        with unchanged_surroundings(lambda r=raising: r.where), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                call(estimator, method, raising)
            except error:
                n_raised += 1
                assert repr(fitted_state(estimator)) in (old, repr(fitted_state(finished)))
        if estimator.__dict__.get("coefs_") is not None:
            assert np.isfinite(estimator.predict_proba(X)).all()
        if repr(fitted_state(estimator)) == old:
            call(estimator, method)  # as if nothing had been
            assert_bit_equal(estimator, finished)
        elif error is KeyboardInterrupt and repr(fitted_state(estimator)) != repr(
            fitted_state(finished)
        ):
            assert estimator.n_iter_ < SMALL["max_iter"]  # an epoch that was finished
    return n_raised


def count_lines(make, method):
    estimator = make()
    counting = Raising()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(estimator, method, counting)
    return counting.n_lines


def makers(case):
    """An estimator without a model, and one with a model."""
    parameters = {**SMALL, **CASES[case]}

    def new():
        return FeedForwardClassifier(**parameters)

    fitted = new()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(X, SPECIES)
    return new, lambda: copy.deepcopy(fitted)


def methods_of(case):
    lacks = case in ("lbfgs", "early stopping")
    return ["fit", "predict"] if lacks else ["fit", "partial_fit", "predict"]


@pytest.mark.parametrize("error", [Signalled, KeyboardInterrupt])
@pytest.mark.parametrize("case", ["adam", "early stopping", "module"])
def test_exception_at_any_line_loses_nothing_but_the_call(case, error, request, capfd):
    _, fitted = makers(case)
    for method in methods_of(case):
        lines = sampled(count_lines(fitted, method), request, 25)
        check_interrupts(fitted, method, error, lines)


@pytest.mark.long
@pytest.mark.parametrize("error", [Signalled, KeyboardInterrupt])
@pytest.mark.parametrize("case", CASES)
def test_exception_at_every_line_loses_nothing_but_the_call(case, error, request, capfd):
    new, fitted = makers(case)
    for method in methods_of(case):
        check_interrupts(fitted, method, error, range(1, count_lines(fitted, method) + 1))
    lines = sampled(count_lines(new, "fit"), request, 100)
    check_interrupts(new, "fit", error, lines)
