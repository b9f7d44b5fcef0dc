"""Threads may share an estimator or have one each, and searches may run in parallel."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import programs
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal, torch_threads
from skorch.callbacks import EpochScoring

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = TARGETS["multiclass"]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "batch_size": 40}


@pytest.fixture(autouse=True)
def _two_threads():
    with torch_threads(2):
        yield


def in_threads(*functions, seconds=300):
    """Run functions at the same time and return their results; fail if one raises or hangs."""
    results, errors = [None] * len(functions), []
    barrier = threading.Barrier(len(functions))

    def work(i):
        try:
            barrier.wait(60)
            results[i] = functions[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[i], daemon=True) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    assert not errors, errors
    return results


@pytest.fixture
def frequent_switches():
    """Make the threads of Python take turns every ten microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# --- predictions ------------------------------------------------------------------------------

ESTIMATORS = {
    "float64": FeedForwardClassifier(**SMALL),
    "float32": FeedForwardClassifier(**SMALL, dtype="float32"),
    "normalization": FeedForwardClassifier(**SMALL, normalization="batch"),
    "module": FeedForwardClassifier(**SMALL, activation=torch.nn.PReLU),
    "members": FeedForwardClassifier(**SMALL, n_members=3),
    # Chunks of this network have a number of rows for which softmax rounds by torch's threads.
    "wide": FeedForwardClassifier(**SMALL | {"hidden_layer_sizes": (100,)}),
    "quantiles": FeedForwardRegressor(**SMALL, loss="quantile", quantile=[0.1, 0.5, 0.9]),
}


def questions():
    """Return calls with their expected answers, of different sizes.

    The calls are for one row, a few rows, more rows than a chunk has, and more than fit in one
    pool.
    """
    sizes = [1, 7, 150, 40_000]
    rows = [np.resize(X, (n, X.shape[1])) for n in sizes]
    rows += [scipy.sparse.csr_matrix(rows[1]), scipy.sparse.csr_matrix(rows[2])]
    asked = []
    for estimator in ESTIMATORS.values():
        estimator.fit(X, SPECIES)
        is_classifier = isinstance(estimator, FeedForwardClassifier)
        for method in ("predict", "predict_proba") if is_classifier else ("predict",):
            function = getattr(estimator, method)
            asked += [(function, X_asked, function(X_asked)) for X_asked in rows]
    return asked


def answers_are_equal(asked, n_answers, seconds=None):
    """Ask in 32 threads, each in a different order, and return the number of compared answers."""
    begin = time.monotonic()

    def ask(seed):
        rng, n = np.random.RandomState(seed), 0
        while n < n_answers if seconds is None else time.monotonic() - begin < seconds:
            function, rows, expected = asked[rng.randint(len(asked))]
            if len(expected) > 1000 and rng.rand() < 0.9:
                continue  # nine tenths of the long answers are left out
            actual = function(rows)
            assert actual.dtype == expected.dtype
            assert np.array_equal(actual, expected)
            n += 1
        return n

    return sum(in_threads(*[lambda s=seed: ask(s) for seed in range(32)]))


def attributes():
    return [
        {name: (id(value), repr(value)) for name, value in vars(estimator).items()}
        for estimator in ESTIMATORS.values()
    ]


def test_answers_in_32_threads_are_those_of_one(frequent_switches):
    asked = questions()
    before, threads = attributes(), set(threading.enumerate())  # joblib and tqdm keep their threads
    assert answers_are_equal(asked, 10) == 32 * 10
    assert attributes() == before
    assert torch.get_num_threads() == 2
    assert set(threading.enumerate()) <= threads


SOAK = """
import ctypes, os, sys
sys.path.insert(0, "tests")
import torch
import test_concurrency as t
torch.set_num_threads(2)

def resident():
    # Without what glibc keeps of freed memory, which depends on how many long answers overlapped.
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

asked = t.questions()
before = t.attributes()
t.answers_are_equal(asked, 0, seconds=3)
early = resident()
n = t.answers_are_equal(asked, 0, seconds=10)
assert t.attributes() == before
assert torch.get_num_threads() == 2 and threading.active_count() == 1
print(n, resident() - early)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_seconds_of_answers_in_32_threads():
    # glibc may give each of the 32 threads an arena of its own, which would look like a leak.
    (line,) = programs.run(SOAK, MALLOC_ARENA_MAX="2")
    n_answers, growth = map(float, line.split())
    print(f"{n_answers:.0f} answers, {growth:+.1f} MB")
    assert n_answers > 1000
    assert growth < 10  # MB


# --- fits -------------------------------------------------------------------------------------

FITS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive"},
    "adamw": {"solver": "adamw", "learning_rate": "cosine"},
    "lbfgs": {"solver": "lbfgs"},
    "optimizer": {"solver": torch.optim.NAdam},
    "early stopping": {"early_stopping": True},
    "dropout": {"dropout": 0.3, "input_dropout": 0.1},
    "normalization": {"normalization": "batch"},
    "module": {"activation": lambda: torch.nn.Sequential(torch.nn.PReLU(), torch.nn.Dropout(0.2))},
    "verbose": {"verbose": True},
    "members": {"n_members": 3, "dropout": 0.3},
}


def fitted(parameters, seed):
    return FeedForwardClassifier(**{**SMALL, **parameters, "random_state": seed}).fit(X, SPECIES)


@pytest.mark.matrix(6)
@pytest.mark.parametrize("case", FITS)
def test_two_fits_in_threads_equal_two_in_turn(case, frequent_switches, capsys):
    in_turn = [fitted(FITS[case], seed) for seed in range(2)]
    together = in_threads(*[lambda s=seed: fitted(FITS[case], s) for seed in range(2)])
    for pair in zip(together, in_turn, strict=True):
        assert_bit_equal(*pair)
    assert torch.get_num_threads() == 2


def test_fits_of_every_kind_in_eight_threads_equal_those_in_turn(frequent_switches, capsys):
    jobs = list(enumerate(list(FITS.values())[:8]))
    in_turn = [fitted(parameters, seed) for seed, parameters in jobs]
    together = in_threads(*[lambda p=p, s=s: fitted(p, s) for s, p in jobs])
    for pair in zip(together, in_turn, strict=True):
        assert_bit_equal(*pair)


def test_fits_with_callbacks_in_threads_equal_those_in_turn():
    def scored(seed):
        callbacks = [EpochScoring("accuracy", on_train=True, lower_is_better=False)]
        history = fitted({"callbacks": callbacks}, seed).net_.history
        return history[:, ("train_loss", "accuracy")]

    assert in_threads(*[lambda s=s: scored(s) for s in range(4)]) == [scored(s) for s in range(4)]


def outcome(estimator, rows):
    return estimator.predict_proba(rows).tobytes(), estimator.predict(rows).tobytes()


def ask_while(train, estimator, ask, n_least=20):
    """Return the results of `ask` during a training in another thread, and just before it."""
    is_over, begun = threading.Event(), threading.Event()

    def training():
        try:
            begun.wait(60)
            train()
        finally:
            is_over.set()

    def asking():
        seen = []
        while len(seen) < n_least or not is_over.is_set():
            seen.append(ask())
            begun.set()
        return seen

    return in_threads(training, asking, asking)[1:]


def test_prediction_during_a_fit_is_of_the_old_model_or_of_the_new_one(frequent_switches):
    # The classes, the layers and the output differ, so a mixture of both models would either fail
    # or return something else.
    estimator = FeedForwardClassifier(**SMALL)
    labels = {3: np.array(["c", "a", "b"])[SPECIES], 2: SPECIES % 2 == 0}
    models = {}
    for n in labels:
        estimator.fit(X, labels[n])
        models[n] = {estimator.predict_proba(X).tobytes(), estimator.predict(X).tobytes()}
    assert not models[2] & models[3]

    def train():
        for n in (3, 2) * 6:
            estimator.fit(X, labels[n])

    def ask():
        return estimator.predict_proba(X).tobytes(), estimator.predict(X).tobytes()

    everything = models[2] | models[3]
    for seen in ask_while(train, estimator, ask):
        assert {answer for pair in seen for answer in pair} <= everything


def test_prediction_during_partial_fit_is_of_a_finished_call(frequent_switches):
    estimator = FeedForwardClassifier(**SMALL, normalization="batch").fit(X, SPECIES)
    models = [estimator.predict_proba(X).tobytes()]

    def train():
        for _ in range(15):
            estimator.partial_fit(X, SPECIES)
            models.append(estimator.predict_proba(X).tobytes())

    for seen in ask_while(train, estimator, lambda: estimator.predict_proba(X).tobytes()):
        assert set(seen) <= set(models)
        places = [models.index(answer) for answer in seen]
        assert places == sorted(places)  # no answer is older than the one before


def test_failing_fit_does_not_show_in_another_thread(frequent_switches):
    estimator = FeedForwardClassifier(**SMALL).fit(X, SPECIES)
    expected = estimator.predict_proba(X).tobytes()

    def train():
        for _ in range(12):
            with pytest.raises(ValueError, match="inconsistent numbers"):
                estimator.fit(X[:, :2], SPECIES[:-1])
            with pytest.raises(ValueError, match="y_val"):
                estimator.fit(X[:, :2], SPECIES % 2, X_val=X[:, :2], y_val=SPECIES)

    for seen in ask_while(train, estimator, lambda: estimator.predict_proba(X).tobytes()):
        assert set(seen) == {expected}


def test_parameter_that_is_set_during_a_fit_is_kept():
    class Changing(FeedForwardClassifier):
        def _check_targets(self, *arguments):
            owner.set_params(alpha=0.5)
            owner.note = "of the user"
            return super()._check_targets(*arguments)

    owner = Changing(**SMALL)
    owner.fit(X, SPECIES)
    assert owner.alpha == 0.5
    assert owner.note == "of the user"
    alike = FeedForwardClassifier(**SMALL).fit(X, SPECIES)
    assert np.array_equal(owner.coefs_[0], alike.coefs_[0])  # the fit began with the old value


# --- searches ---------------------------------------------------------------------------------

SEARCH = """
import torch, joblib
from sklearn.model_selection import GridSearchCV, cross_val_score
from sknn import FeedForwardClassifier
backend, before = sys.argv[1:]
rng = np.random.RandomState(0)
X, y = rng.randn(150, 20), rng.randint(0, 3, 150)
torch.set_num_threads(2)
if before == "parallel":
    torch.ones(10**6) + 1
    FeedForwardClassifier(hidden_layer_sizes=(1000, 1000), max_iter=1).fit(X, y)

def search(n_jobs, cross_validate=None):
    estimator = FeedForwardClassifier(hidden_layer_sizes=(8,), max_iter=10, random_state=0)
    found = GridSearchCV(estimator, {"alpha": [1e-4, 1.0]}, cv=3, n_jobs=n_jobs).fit(X, y)
    return found.cv_results_["mean_test_score"].tolist(), found.best_estimator_.coefs_[0].tobytes()

def nested(seed):
    with joblib.parallel_backend("threading", n_jobs=2):
        return search(2)

expected = search(1)
begin = time.perf_counter()
if backend == "nested":
    calls = (joblib.delayed(nested)(seed) for seed in range(2))
    results = joblib.Parallel(n_jobs=2, backend="loky")(calls)
else:
    with joblib.parallel_backend(backend):
        results = [search(2)]
print(all(result == expected for result in results))
print(f"{time.perf_counter() - begin:.1f} s", file=sys.stderr)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("backend", "before"),
    [(b, "parallel") for b in ("loky", "threading", "multiprocessing", "nested")]
    + [("loky", "nothing")],
)
def test_search_over_every_backend_ends_and_equals_that_of_one_process(backend, before):
    assert programs.run(SEARCH, backend, before) == ["True"]
