"""The watch over global state reports every setting that a call leaves changed, and no other."""

from __future__ import annotations

import gc
import inspect
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from unittest import mock

import numpy as np
import pytest
import sklearn
import torch
from conftest import TARGETS
from global_state import METHODS, Watch, open_files, snapshot, state_is_kept
from threadpoolctl import threadpool_limits

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._base import BaseFeedForward

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def put(get, set_, value):
    """Return two functions: one changes a setting, and the other restores it."""
    before = get()
    return lambda: set_(value), lambda: set_(before)


def entered(context):
    return context.__enter__, lambda: context.__exit__(None, None, None)


def patched(*args):
    patch = mock.patch.object(*args)
    return patch.start, patch.stop


def drawn_of_numpys():
    state = np.random.get_state()
    return np.random.rand, lambda: np.random.set_state(state)


CHANGES = {
    "torch's threads": lambda: put(torch.get_num_threads, torch.set_num_threads, 7),
    "BLAS threads": lambda: (
        lambda: threadpool_limits(1, user_api="blas"),
        threadpool_limits(2, user_api="blas").restore_original_limits,
    ),
    "default dtype": lambda: put(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "default device": lambda: (
        lambda: torch.set_default_device("meta"),
        lambda: torch.set_default_device(None),
    ),
    "grad mode": lambda: entered(torch.no_grad()),
    "inference mode": lambda: entered(torch.inference_mode()),
    "autocast": lambda: entered(torch.autocast("cpu")),
    "deterministic algorithms": lambda: put(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "precision of float32 products": lambda: put(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "anomaly detection": lambda: put(
        torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, True
    ),
    "subnormal numbers": lambda: (
        lambda: torch.set_flush_denormal(True),
        lambda: torch.set_flush_denormal(False),
    ),
    "random's generator": lambda: (random.random, lambda: random.seed(0)),
    "NumPy's generator": drawn_of_numpys,
    "torch's generator": lambda: (lambda: torch.rand(1), lambda: torch.manual_seed(0)),
    "NumPy's errors": lambda: put(lambda: np.geterr(), lambda v: np.seterr(**v), {"all": "raise"}),
    "NumPy's print options": lambda: put(
        np.get_printoptions, lambda v: np.set_printoptions(**v), {"precision": 3}
    ),
    "scikit-learn's configuration": lambda: put(
        sklearn.get_config, lambda v: sklearn.set_config(**v), {"assume_finite": True}
    ),
    "list of warning filters": lambda: entered(warnings.catch_warnings()),
    "warning filters": lambda: (
        lambda: warnings.simplefilter("ignore", BytesWarning),
        lambda: warnings.filters.pop(0),
    ),
    "showwarning": lambda: patched(warnings, "showwarning", print),
    "environment": lambda: (
        lambda: os.environ.update(SKNN_TEST="1"),
        lambda: os.environ.pop("SKNN_TEST"),
    ),
    "handler of SIGINT": lambda: put(
        lambda: signal.getsignal(signal.SIGINT),
        lambda handler: signal.signal(signal.SIGINT, handler),
        signal.SIG_DFL,
    ),
    "handler of SIGTERM": lambda: put(
        lambda: signal.getsignal(signal.SIGTERM),
        lambda handler: signal.signal(signal.SIGTERM, handler),
        signal.SIG_IGN,
    ),
    "working directory": lambda: put(os.getcwd, os.chdir, os.sep),
    "sys.path": lambda: (lambda: sys.path.append("nowhere"), lambda: sys.path.pop()),
    "locale": lambda: put(
        lambda: locale.setlocale(locale.LC_ALL),
        lambda value: locale.setlocale(locale.LC_ALL, value),
        "C" if locale.setlocale(locale.LC_ALL) != "C" else "C.UTF-8",
    ),
    "levels of loggers": lambda: put(
        lambda: logging.getLogger("torch").level, logging.getLogger("torch").setLevel, 17
    ),
    "stdout and stderr": lambda: patched(sys, "stdout", sys.stderr),
    "garbage collector": lambda: (gc.disable, gc.enable),
    "recursion limit": lambda: put(sys.getrecursionlimit, sys.setrecursionlimit, 12345),
}


class Careless:
    """A stand-in for an estimator whose methods change some global state and may fail."""

    random_state = 0

    def __init__(self, change=lambda: None):
        self.change = change

    def fit(self, error=None):
        self.change()
        if error is not None:
            raise error
        return self

    def predict(self):
        return self.fit()


@pytest.mark.parametrize("error", [None, KeyError("x"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("name", list(CHANGES))
def test_watch_names_what_a_call_has_changed(name, error):
    change, undo = CHANGES[name]()
    watch = Watch()
    fit = watch.watched(Careless.fit)
    estimator = Careless(change)
    try:
        if error is None:
            assert fit(estimator) is estimator
        else:
            with pytest.raises(type(error)):
                fit(estimator, error)
    finally:
        undo()
    (violation,) = watch.take()
    assert violation.startswith("Careless.fit has changed: ")
    assert name in violation.split(": ")[1].split(", ")
    assert not watch.take()


def test_watch_lets_pass_what_changes_nothing_or_is_put_back():
    def change():
        with torch.no_grad(), np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")

    watch = Watch()
    watch.watched(Careless.fit)(Careless())
    watch.watched(Careless.fit)(Careless(change))
    assert not watch.violations


@pytest.mark.parametrize("random_state", [None, np.random.mtrand._rand])
def test_watch_lets_a_fit_without_random_state_draw_from_numpys_generator(random_state):
    watch, estimator = Watch(), Careless(np.random.rand)
    estimator.random_state = random_state
    watch.watched(Careless.fit)(estimator)
    assert not watch.violations
    watch.watched(Careless.predict)(estimator)
    assert watch.take() == ["Careless.predict has changed: NumPy's generator"]


def test_watch_compares_the_outermost_call_of_several():
    watch = Watch()

    class Nested(Careless):
        inner = Careless()

        def fit(self):
            torch.set_grad_enabled(False)
            inner(self.inner)
            torch.set_grad_enabled(True)

    inner = watch.watched(Careless.fit)
    watch.watched(Nested.fit)(Nested())
    assert not watch.violations


def test_watch_does_not_compare_while_another_thread_is_in_a_call():
    # Torch's number of threads belongs to the process: another call may be about to restore it.
    watch = Watch()
    inside, leave = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert leave.wait(10)

    thread = threading.Thread(target=watch.watched(Careless.fit), args=(Careless(wait),))
    thread.start()
    assert inside.wait(10)
    fit = watch.watched(Careless.fit)
    fit(Careless(random.random))
    assert not watch.violations
    leave.set()
    thread.join()
    fit(Careless(random.random))
    assert watch.take()


def test_suite_watches_all_methods_of_the_estimators(state_watch, monkeypatch):
    X, y = TARGETS["multiclass"]
    kept = FeedForwardClassifier._fit

    def careless(self, *args, **kwargs):
        random.random()
        return kept(self, *args, **kwargs)

    monkeypatch.setattr(BaseFeedForward, "_fit", careless)
    estimator = FeedForwardClassifier(max_iter=2, random_state=0).fit(X, y)
    estimator.partial_fit(X, y)
    assert [text.split(" ")[0] for text in state_watch.take()] == [
        "FeedForwardClassifier.fit",
        "FeedForwardClassifier.partial_fit",
    ]
    for kind in (FeedForwardClassifier, FeedForwardRegressor):
        for name in METHODS:
            method = inspect.getattr_static(kind, name, None)
            method = getattr(method, "fn", method)
            assert name.startswith("predict_") or hasattr(method, "__wrapped__"), name
        assert hasattr(kind.net_.fget, "__wrapped__")


def test_state_is_kept_sees_a_gaussian_that_is_drawn():
    with pytest.raises(AssertionError), state_is_kept():
        np.random.randn()  # returns the cached gaussian: NumPy's stream itself does not move


def test_state_is_kept_sees_a_file_that_stays_open():
    if open_files() is None:
        pytest.skip("the system does not list open files")
    files = []
    with pytest.raises(AssertionError), state_is_kept():
        files.append(open(os.devnull))
    files.pop().close()


def test_snapshot_is_of_everything_that_is_changed_above():
    assert set(CHANGES) <= set(snapshot())
