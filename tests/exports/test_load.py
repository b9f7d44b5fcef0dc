"""Memory does not grow over hundreds of calls."""

from __future__ import annotations

import sys

import programs
import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

# `measure` prints by how much resident memory, in MB, and the number of objects that Python's
# collector does not free grow after a warm-up.
MEASURE = """
import gc, itertools, pickle
import torch
from sknn import FeedForwardClassifier
rng = np.random.RandomState(0)
X, y = rng.randn(300, 20), rng.randint(0, 3, 300)
small = {"hidden_layer_sizes": (20,), "max_iter": 2, "random_state": 0}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def measure(call, n, n_warm_up=100):
    for _ in range(n_warm_up):
        call()
    gc.collect()
    memory, objects = resident(), len(gc.get_objects())
    for _ in range(n):
        call()
    gc.collect()
    print(f"{resident() - memory:.2f} {len(gc.get_objects()) - objects}")
"""

CASES = [
    {},
    {"solver": "sgd"},
    {"solver": "lbfgs"},
    {"early_stopping": True, "dropout": 0.3},
    {"normalization": "batch", "dtype": "float32"},
]


def growth(program):
    """Return the growth of memory and the number of objects, for each call of `measure`."""
    lines = programs.run(MEASURE + program, seconds=570)
    return [(float(memory), int(objects)) for memory, objects in map(str.split, lines)]


def assert_no_growth(program, most=5.0):
    for memory, objects in growth(program):
        assert memory < most  # MB
        assert objects < 100


def test_500_refits_of_one_estimator():
    program = f"""
for parameters in {CASES}:
    estimator = FeedForwardClassifier(**{{**small, **parameters}})
    measure(lambda: estimator.fit(X, y), 500)
"""
    assert_no_growth(program)


def test_500_new_estimators():
    program = f"""
parameters = {CASES[-1]}
measure(lambda: FeedForwardClassifier(**{{**small, **parameters}}).fit(X, y), 500)
"""
    assert_no_growth(program)


def test_500_fits_with_modules_callbacks_and_an_optimizer_of_the_user():
    program = """
from skorch.callbacks import EpochScoring
more = {"activation": torch.nn.PReLU, "callbacks": [EpochScoring("accuracy")],
        "solver": torch.optim.NAdam}
measure(lambda: FeedForwardClassifier(**small, **more).fit(X, y, X_val=X, y_val=y), 500)
"""
    assert_no_growth(program)


def test_fit_leaves_nothing_for_the_collector():
    # Rows that only the collector frees would stay for a while and add to the memory of later fits.
    program = """
def fit():
    FeedForwardClassifier(**small).fit(X.copy(), y)

fit()
gc.collect()
gc.disable()
before = resident()
X = rng.randn(20000, 20)
y = rng.randint(0, 3, 20000)
small["batch_size"] = 1000
fit()
before = resident()
for _ in range(60):  # of 3.2 MB each
    fit()
print(f"{resident() - before:.2f} 0")
"""
    assert_no_growth(program, most=20.0)


def test_500_fits_that_fail():
    program = """
estimator = FeedForwardClassifier(**small).fit(X, y)
n_failed = 0

def fail():
    global n_failed
    for rows, parameters in [(X[:-1], {}), (X * 1e300, {"learning_rate_init": 1e300})]:
        try:
            estimator.set_params(learning_rate_init=0.1).set_params(**parameters).fit(rows, y)
        except ValueError:
            n_failed += 1

measure(fail, 500)
assert n_failed == 2 * 600
"""
    assert_no_growth(program)


def test_10000_predictions():
    program = """
estimator = FeedForwardClassifier(**small).fit(X, y)
many = np.tile(X, (20, 1))

def predict():
    for rows in (X[:1], X, many):
        estimator.predict(rows)
        estimator.predict_proba(rows)

measure(predict, 1700)
"""
    assert_no_growth(program)


def test_200_fits_in_threads_that_end():
    program = """
def fit():
    thread = threading.Thread(target=FeedForwardClassifier(**small).fit, args=[X, y])
    thread.start()
    thread.join()

measure(fit, 200)
"""
    assert_no_growth(program)


def test_1000_calls_of_partial_fit_keep_their_history_alone():
    program = """
estimator = FeedForwardClassifier(**small)
measure(lambda: estimator.partial_fit(X, y, classes=[0, 1, 2]), 1000)
assert len(estimator.loss_curve_) == len(estimator._history) == 1100
"""
    ((memory, objects),) = growth(program)
    assert memory < 5.0  # MB; each call leaves a record of a few hundred bytes
    assert objects <= 1000 + 100
