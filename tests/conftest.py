"""Fixtures, data and assertions that several test modules share."""

from __future__ import annotations

import gc
import re
from collections import Counter, defaultdict
from contextlib import contextmanager

import numpy as np
import pytest
import sklearn
import torch
from global_state import Watch, install, use_libraries_once
from hypothesis import HealthCheck, settings
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_multilabel_classification,
)
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

import sknn
import sknn._training._train


@pytest.hookimpl(hookwrapper=True)
def pytest_collection():
    """Collect the tests with the garbage collector off, and exempt them from later collections."""
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


def _values(item):
    """Return the values of a case's parameters. Parameters given together are one value."""
    values = dict(item.callspec.params)
    names = [mark.args[0] for mark in item.iter_markers("parametrize")]
    names = [n.replace(",", " ").split() if isinstance(n, str) else list(n) for n in names]
    names += [[name] for name in values if not any(name in group for group in names)]
    return {tuple((n, id(values[n])) for n in group if n in values) for group in names}


def _spread(cases, most):
    """Return the cases with `most` values of the parameter that has most values, evenly spread."""
    by_names = defaultdict(dict)
    for _, values in cases:
        for value in values:
            by_names[tuple(name for name, _ in value)][value] = None
    _, values = max(by_names.items(), key=lambda item: (len(item[1]), item[0]))
    values, n = list(values), min(len(values), most)
    kept = {values[i * len(values) // n] for i in range(n)}
    return [each for each in cases if each[1] & kept]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark cases of a `matrix` as long, except a few.

    These have every value of each parameter, as far as the number of them that is allowed reaches.
    """
    matrices = defaultdict(list)
    for item in items:
        if (mark := item.get_closest_marker("matrix")) and not item.get_closest_marker("long"):
            key = item.parent.nodeid, item.originalname, *mark.args
            matrices[key].append((item, _values(item)))
    for (_, _, *most), cases in matrices.items():
        left = most[0] if most else len(cases)
        some = _spread(cases, left)
        missing, seen, quick = set().union(*(values for _, values in some)), Counter(), []
        while missing and len(quick) < left:
            # Of cases with as many new values, one whose other values have been seen least.
            new = [(len(v & missing), -sum(seen[each] for each in v)) for _, v in some]
            item, values = some.pop(new.index(max(new)))
            missing -= values
            seen.update(values)
            quick.append(item)
        for item, _ in cases:
            if item not in quick:
                item.add_marker(pytest.mark.long)


def case(value) -> str:
    """Return the name of a test case, without addresses, so that all processes use the same."""
    return re.sub(r"( at )?0x[0-9a-fA-F]+", "", str(value))


@pytest.fixture(scope="session")
def _watch():
    use_libraries_once()
    with pytest.MonkeyPatch.context() as monkeypatch:
        watch = Watch()
        install(watch, monkeypatch)
        yield watch


@pytest.fixture(autouse=True)
def state_watch(_watch):
    """Fail a test if a call of an estimator in it has changed the global state."""
    np.random.seed(0)  # `random_state=None` draws from it, and no test may depend on luck
    yield _watch
    violations = _watch.take()
    if violations:
        pytest.fail("\n".join(violations), pytrace=False)


# The profile "suite" draws the same examples each time. The profile "thorough" is for long runs,
# such as `pytest tests/test_properties.py --hypothesis-profile=thorough`: it draws new examples
# each time, unless `--hypothesis-seed=0` sets a seed. No example depends on the clock.
_ALWAYS = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("suite", max_examples=10, derandomize=True, **_ALWAYS)
settings.register_profile("thorough", max_examples=500, print_blob=True, **_ALWAYS)
settings.load_profile("suite")


def _targets_by_name() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.RandomState(0)
    X_iris, y_iris = load_iris(return_X_y=True)
    X_cancer, y_cancer = load_breast_cancer(return_X_y=True)
    X_diabetes, y_diabetes = load_diabetes(return_X_y=True, scaled=False)
    X_diabetes = StandardScaler().fit_transform(X_diabetes)
    y_diabetes = y_diabetes / 100
    return {
        "binary": (StandardScaler().fit_transform(X_cancer), y_cancer),
        "multiclass": (X_iris, y_iris),
        "multilabel": make_multilabel_classification(150, n_classes=4, random_state=0),
        "one output": (X_diabetes, y_diabetes),
        "two outputs": (X_diabetes, np.c_[y_diabetes, rng.permutation(y_diabetes)]),
        "counts": (X_diabetes, rng.poisson(y_diabetes).astype(float)),
    }


TARGETS = _targets_by_name()


@pytest.fixture(params=["binary", "multiclass", "multilabel"])
def classification_data(request):
    """Return the rows and labels of each kind of classification."""
    return TARGETS[request.param]


@pytest.fixture(params=["one output", "two outputs"])
def regression_data(request):
    """Return the rows and targets of each kind of regression."""
    return TARGETS[request.param]


def needs_sklearn(version, reason):
    """Skip a test if the installed scikit-learn is older than the version that the test needs."""
    if parse_version(sklearn.__version__) < parse_version(version):
        pytest.skip(f"scikit-learn below {version} {reason}")


def fitted_state(estimator):
    """Return all that a fit sets, except the durations of epochs, as one comparable value."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.shape, value.tolist()
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k != "dur"}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if hasattr(value, "y_type_"):
            return plain(vars(value))
        return value

    parameters = estimator.get_params(deep=False)
    return {k: plain(v) for k, v in vars(estimator).items() if k not in parameters}


def assert_bit_equal(left, right):
    """Assert that two estimators hold the same model, bit for bit."""
    left, right = fitted_state(left), fitted_state(right)
    assert set(left) == set(right)
    for name in left:
        assert repr(left[name]) == repr(right[name]), name


@contextmanager
def torch_threads(number):
    """Run the body with this number of torch threads, however many cores the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def two_threads():
    with torch_threads(2):
        yield


@pytest.fixture
def no_training(monkeypatch):
    """Fail the test if any training begins."""

    def trained(*args, **kwargs):
        raise AssertionError("training has begun")

    for name in ("train_stochastic", "train_lbfgs"):
        monkeypatch.setattr(sknn._training._train, name, trained)


@pytest.fixture
def again(tmp_path):
    """Return a function that saves an estimator and returns the loaded one."""

    def saved_and_loaded(estimator):
        estimator.save(tmp_path / "file")
        return sknn.load(tmp_path / "file")

    return saved_and_loaded
