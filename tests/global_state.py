"""Check that calls of the estimators leave the global state unchanged.

`snapshot` reads the state of the process and of the thread in torch, NumPy, scikit-learn, Python
and the operating system. `Watch` compares snapshots before and after each outermost call of a
public method, also if the call fails, and records the changes. `conftest.py` uses one `Watch` for
the whole suite.

Some libraries change the state when they are first used: torch's sympy adds a warning filter, and
joblib and NumPy's BLAS open files. No single call is to blame for that. So `use_libraries_once`
makes the first fits before the watch begins.
"""

from __future__ import annotations

import asyncio.events
import ctypes
import functools
import gc
import inspect
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import sklearn
import torch
from threadpoolctl import ThreadpoolController

from sknn import FeedForwardClassifier, FeedForwardRegressor

NUMPYS_GENERATOR = "NumPy's generator"
_MT19937_BYTES = 4 * 624 + 4  # These are the key and the position in it.
_SUBNORMAL = 1e-310


@functools.cache
def _blas_pools():
    return ThreadpoolController().lib_controllers


def _device_generators():
    if not torch.cuda.is_initialized():
        return []
    return [bytes(state) for state in torch.cuda.get_rng_state_all()]


def _autocast_state():
    kinds = ("cpu", "cuda")
    enabled = [torch.is_autocast_enabled(kind) for kind in kinds]
    return enabled, [torch.get_autocast_dtype(kind) for kind in kinds]


def _numpy_generator():
    # The memory is read directly. NumPy's own `get_state` takes twenty times as long, and adds only
    # the Gaussian that NumPy keeps for the next draw.
    generator = np.random.mtrand._rand._bit_generator
    return id(generator), ctypes.string_at(generator.ctypes.state_address, _MT19937_BYTES)


def _levels_of_loggers():
    names = (None, "sknn", "skorch", "torch", "sklearn")
    return logging.root.manager.disable, [logging.getLogger(name).level for name in names]


def _start_method():
    # The first bar of tqdm sets the default method, which is the first in the list of methods.
    return multiprocessing.get_start_method(True) or multiprocessing.get_all_start_methods()[0]


def open_files():
    """Return the number of open files, or None where it cannot be read.

    It is not part of `snapshot`, because other threads (those of Dask) open and close files.
    """
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None


_READERS = {
    "torch's threads": torch.get_num_threads,
    "torch's interop threads": torch.get_num_interop_threads,
    "BLAS threads": lambda: [pool.num_threads for pool in _blas_pools()],
    "default dtype": torch.get_default_dtype,
    "default device": lambda: torch.empty(0).device,
    "grad mode": torch.is_grad_enabled,
    "inference mode": torch.is_inference_mode_enabled,
    "autocast": _autocast_state,
    "autocast cache": torch.is_autocast_cache_enabled,
    "deterministic algorithms": torch.get_deterministic_debug_mode,
    "precision of float32 products": torch.get_float32_matmul_precision,
    "precision of float32 products on the CPU": lambda: (
        torch.backends.mkldnn.matmul.fp32_precision
        if hasattr(torch.backends.mkldnn, "matmul")
        else None
    ),
    "anomaly detection": torch.is_anomaly_enabled,
    "subnormal numbers": lambda: _SUBNORMAL * 1.0 != 0.0,
    "cuDNN": lambda: torch._C._get_cudnn_enabled(),
    "cuDNN's benchmark": lambda: torch._C._get_cudnn_benchmark(),
    "mkldnn": lambda: torch._C._get_mkldnn_enabled(),
    "random's generator": random.getstate,
    NUMPYS_GENERATOR: _numpy_generator,
    "torch's generator": lambda: (bytes(torch.get_rng_state().numpy()), *_device_generators()),
    "NumPy's errors": np.geterr,
    "NumPy's print options": np.get_printoptions,
    "scikit-learn's configuration": sklearn.get_config,
    "list of warning filters": lambda: id(warnings.filters),
    "warning filters": lambda: list(warnings.filters),
    "showwarning": lambda: warnings.showwarning,
    "environment": lambda: os.environ._data.copy(),
    "handler of SIGINT": lambda: signal.getsignal(signal.SIGINT),
    "handler of SIGTERM": lambda: signal.getsignal(signal.SIGTERM),
    "working directory": os.getcwd,
    "sys.path": lambda: list(sys.path),
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "levels of loggers": _levels_of_loggers,
    "stdout and stderr": lambda: (id(sys.stdout), id(sys.stderr)),
    "garbage collector": lambda: (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
    "recursion limit": sys.getrecursionlimit,
    "start method of multiprocessing": _start_method,
    "policy of asyncio": lambda: getattr(asyncio.events, "_event_loop_policy", None),
    "trace and profile functions": lambda: (sys.gettrace(), sys.getprofile()),
}


def snapshot():
    """Return the state as a dictionary of comparable values."""
    return {name: read() for name, read in _READERS.items()}


def changes(before, after):
    """Return the names of the entries that differ between two snapshots."""
    return [name for name in before if before[name] != after[name]]


@contextmanager
def state_is_kept():
    """Assert that the body leaves the state unchanged, also if it raises."""
    np.random.seed(12)
    np.random.randn()  # NumPy now keeps a second Gaussian for the next draw.
    torch.manual_seed(34)
    before, numpys, files = snapshot(), repr(np.random.get_state()), open_files()
    try:
        yield
    finally:
        assert not changes(before, snapshot())
        assert repr(np.random.get_state()) == numpys
        assert files is None or open_files() <= files  # An unused memory map may be closed.


def draws_from_numpys(estimator):
    """Return whether a fit draws from NumPy's global generator, as in scikit-learn."""
    return estimator.random_state is None or estimator.random_state is np.random.mtrand._rand


def dask_is_at_work():
    """Return whether a Dask client or cluster runs in a thread, which changes warning filters."""
    return any(thread.name == "IO loop" for thread in threading.enumerate())


class Watch:
    """Compare the state before and after each outermost call of the wrapped methods.

    Only calls in the main thread are checked, and only if no call runs in another thread meanwhile:
    a call changes the state of the process, such as the number of BLAS threads, until it ends.

    Attributes
    ----------
    violations : list of str
        Messages that name a method and the state that its call has changed.
    """

    def __init__(self):
        self.violations = []
        self._n_here = 0  # Number of active outermost calls in the main thread: 0 or 1.
        self._n_elsewhere = self._n_begun_elsewhere = 0
        self._lock = threading.Lock()

    def watched(self, method):
        """Return a wrapper of a method that compares the state; name and signature are kept."""

        @functools.wraps(method)
        def call(estimator, *args, **kwargs):
            if threading.current_thread() is not threading.main_thread():
                with self._lock:
                    self._n_elsewhere += 1
                    self._n_begun_elsewhere += 1
                try:
                    return method(estimator, *args, **kwargs)
                finally:
                    with self._lock:
                        self._n_elsewhere -= 1
            if self._n_here or self._n_elsewhere:
                return method(estimator, *args, **kwargs)
            self._n_here += 1
            try:
                with self._compared(method.__name__, estimator):
                    return method(estimator, *args, **kwargs)
            finally:
                self._n_here -= 1

        return call

    @contextmanager
    def _compared(self, name, estimator):
        may_draw = name in ("fit", "partial_fit") and draws_from_numpys(estimator)
        n_begun_elsewhere = self._n_begun_elsewhere
        before = snapshot()
        try:
            yield
        finally:
            changed = changes(before, snapshot())
            if may_draw and NUMPYS_GENERATOR in changed:
                changed.remove(NUMPYS_GENERATOR)
            if changed and self._n_begun_elsewhere == n_begun_elsewhere and not dask_is_at_work():
                kind = type(estimator).__name__
                self.violations.append(f"{kind}.{name} has changed: {', '.join(changed)}")

    def take(self):
        """Return the violations since the last call of this method."""
        taken, self.violations = self.violations, []
        return taken


METHODS = (
    *("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "score"),
    *("get_params", "set_params", "set_callbacks", "to_sklearn", "__getstate__", "__setstate__"),
)


def install(watch, monkeypatch):
    """Wrap the methods of both estimators, and `net_` and `module_`, so that a watch sees them."""
    for kind in (FeedForwardClassifier, FeedForwardRegressor):
        for name in METHODS:
            method = inspect.getattr_static(kind, name, None)
            if hasattr(method, "fn"):  # `available_if` keeps the method in this attribute.
                monkeypatch.setattr(method, "fn", watch.watched(method.fn))
            elif method is not None:
                monkeypatch.setattr(kind, name, watch.watched(method))
        for name in ("net_", "module_"):
            made = inspect.getattr_static(kind, name)
            monkeypatch.setattr(kind, name, property(watch.watched(made.fget), doc=made.__doc__))


def use_libraries_once():
    """Fit and score in each way that makes a library import, open or register something."""
    X, y = np.random.RandomState(0).rand(8, 2), np.arange(8) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for parameters in (
            {"solver": "lbfgs"},
            {"normalization": "layer"},
            {"solver": torch.optim.RMSprop},
            {"dtype": "bfloat16"},
        ):
            FeedForwardClassifier((2,), max_iter=1, random_state=0, **parameters).fit(X, y).score(
                X, y
            )
