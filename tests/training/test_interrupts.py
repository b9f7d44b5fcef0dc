"""An exception at any line of the package, as a signal handler may raise one, loses no model."""

from __future__ import annotations

import copy
import dis
import gc
import signal
import sys
import threading
import warnings
import zipfile
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import programs
import pytest
import torch
from conftest import TARGETS, assert_bit_equal, fitted_state, torch_threads
from skorch.callbacks import Callback
from threadpoolctl import threadpool_info

import sknn._platform._compat
from sknn import FeedForwardClassifier
from sknn._files._container import replacing
from sknn._platform import _threads
from sknn._training._checkpoint import _write_archive
from sknn._training._net import FeedForwardNet

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PACKAGE = str(Path(sknn.__file__).parent)
X, SPECIES = TARGETS["multiclass"]
X, SPECIES = X[::3], SPECIES[::3]
SMALL = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0, "batch_size": 25}


@pytest.fixture(autouse=True)
def state_watch(_watch):
    """Watch the global state, except the trace function, which Python removes when it raises."""
    yield _watch
    violations = [v for v in _watch.take() if not v.endswith(": trace and profile functions")]
    assert not violations


class Signalled(Exception):
    """The exception that a signal handler raises."""


class Watching(Callback):
    """A user's callback that listens to batches and epochs."""

    def __repr__(self):
        return "Watching()"

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
    "members": {"n_members": 2, "dropout": 0.2},
    "optimizer": {"solver": torch.optim.NAdam},
    "warm start": {"warm_start": True},
    "callbacks": {"callbacks": [Watching()]},
    "progress": {"verbose": "progress"},
}


@cache
def without_signals(code):
    """Return the bytecode offsets of a function at which no signal handler can run.

    Python looks for signals after calls and where it jumps back. It does not look for them between
    the end of a `with` body and the call of `__exit__`, nor at the line of a `try`, which belongs
    to no block.
    """
    instructions = list(dis.get_instructions(code))
    ends = set()
    for i, instruction in enumerate(instructions):
        following = [each.opname for each in instructions[i : i + 3]]
        if following[0] in ("PUSH_EXC_INFO", "WITH_EXCEPT_START", "NOP"):
            ends.add(instruction.offset)
        if following == ["LOAD_CONST"] * 3:
            if all(each.argval is None for each in instructions[i : i + 3]):
                ends.add(instruction.offset)
    return ends


class Raising:
    """A context that raises at the n-th line of the package that its body runs.

    Without an n it only counts the lines. They include those of `__exit__` and `finally`, where
    most programs lose something.
    """

    def __init__(self, n=None, error=Signalled, package=PACKAGE, but_not=frozenset()):
        self.n, self.error, self.n_lines, self.where = n, error, 0, None
        self.package, self.but_not = package, but_not

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._in_frame)
        return self

    def __exit__(self, *exception):
        sys.settrace(self._before)

    def _in_frame(self, frame, event, arg):
        names = {frame.f_code.co_name, frame.f_back.f_code.co_name}
        is_counted = frame.f_code.co_filename.startswith(self.package) and not names & self.but_not
        return self._at_line if is_counted else None

    def _at_line(self, frame, event, arg):
        if event == "line" and frame.f_lasti not in without_signals(frame.f_code):
            self.n_lines += 1
            if self.n_lines == self.n:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                sys.settrace(None)
                raise self.error(self.where)
        return self._at_line


def surroundings():
    """Return the state that a call must leave as it was, apart from the model."""
    return {
        "torch": torch.get_num_threads(),
        "BLAS": [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"],
        "limits": (set(_threads._torch_limits), set(_threads._blas_limits)),
        "locks": (_threads._lock.locked(), sknn._platform._compat._generator_lock._is_owned()),
        "generator": torch.get_rng_state().tolist(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "errors": np.geterr(),
        "warnings": list(warnings.filters),
        "threads": threading.active_count(),
    }


@contextmanager
def unchanged_surroundings(where):
    before = surroundings()
    yield
    after = surroundings()
    for name in before:
        assert after[name] == before[name], (name, where())


@pytest.fixture(autouse=True)
def _two_threads():
    with torch_threads(2):
        yield


def sampled(n_lines, request, most=60):
    """Return some of the lines to raise at, which differ from case to case."""
    if n_lines <= most:
        return range(1, n_lines + 1)
    rng = np.random.RandomState(len(request.node.name))
    return sorted(rng.choice(np.arange(1, n_lines + 1), most, replace=False).tolist())


def call(estimator, method, context=None):
    function = getattr(estimator, method)  # scikit-learn replaces an error raised in here.
    with context or nullcontext():
        function(*((X,) if method == "predict" else (X, SPECIES)))


def check_interrupts(make, method, error, lines):
    """Raise at each of the given lines of a method; assert that nothing but the call is lost."""
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
            call(estimator, method)  # It works as if nothing had happened.
            assert_bit_equal(estimator, finished)
        elif error is KeyboardInterrupt and repr(fitted_state(estimator)) != repr(
            fitted_state(finished)
        ):
            assert estimator.n_iter_ < SMALL["max_iter"]  # The model is that of a finished epoch.
    return n_raised


def count_lines(make, method):
    estimator = make()
    counting = Raising()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(estimator, method, counting)
    return counting.n_lines


def makers(case):
    """Return a function that makes an unfitted estimator, and one that makes a fitted estimator."""
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


@pytest.mark.matrix(2)
@pytest.mark.parametrize("error", [Signalled, KeyboardInterrupt])
@pytest.mark.parametrize("case", ["adam", "early stopping", "module"])
def test_exception_at_any_line_loses_nothing_but_the_call(case, error, request, capfd):
    _, fitted = makers(case)
    for method in methods_of(case):
        lines = sampled(count_lines(fitted, method), request, 6)
        check_interrupts(fitted, method, error, lines)


@pytest.mark.long
@pytest.mark.parametrize("error", [Signalled, KeyboardInterrupt])
@pytest.mark.parametrize("case", CASES)
def test_exception_at_many_lines_loses_nothing_but_the_call(case, error, request, capfd):
    new, fitted = makers(case)
    for method in methods_of(case):
        lines = sampled(count_lines(fitted, method), request, 12)
        check_interrupts(fitted, method, error, lines)
    check_interrupts(new, "fit", error, sampled(count_lines(new, "fit"), request, 12))


SIGNALS = """
import copy, signal
import torch
from sknn import FeedForwardClassifier
from sknn._platform import _threads
from sknn._training._checkpoint import _write_archive
from sknn._training._net import FeedForwardNet
from sknn._files._container import replacing
rng = np.random.RandomState(int(sys.argv[1]))
X, y = rng.randn(60, 5), rng.randint(0, 3, 60)
torch.set_num_threads(2)

class Signalled(Exception):
    pass

def handler(number, frame):
    raise Signalled

signal.signal(signal.SIGALRM, handler)
small = dict(hidden_layer_sizes=(4,), max_iter=4, random_state=0)
more = [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"dropout": 0.3, "warm_start": True},
        {"activation": torch.nn.Tanh}, {"checkpoint_dir": sys.argv[2], "checkpoint_every": 1}]
n_raised = n_calls = 0
for parameters in more:
    fitted = FeedForwardClassifier(**{**small, **parameters}).fit(X, y)
    begin = time.perf_counter()
    copy.deepcopy(fitted).fit(X, y)
    most = 1.2 * (time.perf_counter() - begin)
    refitted = copy.deepcopy(fitted).fit(X, y)
    before = [fitted.predict_proba(X).tobytes(), refitted.predict_proba(X).tobytes()]
    for _ in range(int(sys.argv[3])):
        estimator = copy.deepcopy(fitted)
        n_calls += 1
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, most))
            estimator.fit(X, y)
            for _ in range(20):
                estimator.predict(X)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Signalled:
            n_raised += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        now = estimator.predict_proba(X).tobytes()
        assert now in before, parameters
        if now == before[0]:
            assert estimator.fit(X, y).predict_proba(X).tobytes() == before[1], parameters
        assert torch.get_num_threads() == 2 and not _threads._torch_limits, parameters
        assert not _threads._lock.locked() and not _threads._blas_limits, parameters
print(n_calls, n_raised)
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
@pytest.mark.parametrize("seed", [0])
def test_signal_at_a_random_point_loses_nothing_but_the_call(seed, tmp_path):
    (line,) = programs.run(SIGNALS, seed, tmp_path, 60)
    n_calls, n_raised = map(int, line.split())
    assert n_calls == 360
    assert n_raised > 0


def test_exception_while_a_checkpoint_is_written_is_the_one_that_is_raised(tmp_path):
    """Raise at each line of zipfile, which raises an error of its own if an entry is left open."""

    def write():
        with replacing(tmp_path / "file") as file:
            _write_archive(file, [np.arange(3.0), np.arange(4)])

    write()
    before = (tmp_path / "file").read_bytes()
    n, raised = 0, True
    while raised:
        n += 1
        # `__del__` of a half-made archive fails by itself, and exceptions in `__del__` are lost.
        raising = Raising(n, package=zipfile.__file__, but_not={"__init__", "__del__"})
        try:
            with raising:
                write()
        except Signalled as error:
            assert error.args == (raising.where,)
        raised = raising.where is not None
        assert (tmp_path / "file").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert n > 100
    gc.collect()  # A finalizer that fails is reported here as an error of the test.


def test_exception_while_limits_are_set_or_lifted_lifts_them():
    # Raise at each line of `_threads` in turn while it sets and lifts the limits of one body.
    n = 0
    while True:
        n += 1
        raising = Raising(n)
        with unchanged_surroundings(lambda r=raising: r.where):
            try:
                with raising, _threads.threads_for(0.0), _threads.one_blas_thread():
                    pass
            except Signalled:
                pass
        if raising.where is None:
            break
    assert n > 30


def test_ctrl_c_just_before_the_epochs_is_the_callers(monkeypatch):
    # skorch swallows it there, and the network would have had no epoch.
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    model = FeedForwardClassifier(**SMALL).fit(X, SPECIES)
    before = copy.deepcopy(model)
    monkeypatch.setattr(FeedForwardNet, "fit_loop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, SPECIES)
    assert_bit_equal(model, before)
