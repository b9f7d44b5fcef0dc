"""What several test modules share."""

from __future__ import annotations

import re
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


def case(value) -> str:
    """What a case is called: the same in every process, also for a function or an object."""
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
    """Fails a test in which a call of an estimator has left a change of global state behind."""
    yield _watch
    violations = _watch.take()
    if violations:
        pytest.fail("\n".join(violations), pytrace=False)


# The suite draws the same examples each time. "thorough" is for the long run, as in
# `pytest tests/test_properties.py --hypothesis-profile=thorough`: other examples each time, or
# those of a seed, with `--hypothesis-seed=0`. No example depends on the clock.
_ALWAYS = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("suite", max_examples=30, derandomize=True, **_ALWAYS)
settings.register_profile("thorough", max_examples=1000, print_blob=True, **_ALWAYS)
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
    """Rows and labels of each kind."""
    return TARGETS[request.param]


@pytest.fixture(params=["one output", "two outputs"])
def regression_data(request):
    """Rows and targets of each kind."""
    return TARGETS[request.param]


def needs_sklearn(version, reason):
    """Skip a test that compares with what scikit-learn does from this version on."""
    if parse_version(sklearn.__version__) < parse_version(version):
        pytest.skip(f"scikit-learn below {version} {reason}")


def fitted_state(estimator):
    """Everything that a fit sets, except the epochs' durations, as one comparable value."""

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
    """Assert that two estimators hold the same model, bit by bit."""
    left, right = fitted_state(left), fitted_state(right)
    assert set(left) == set(right)
    for name in left:
        assert repr(left[name]) == repr(right[name]), name


@contextmanager
def torch_threads(number):
    """A number of threads for torch, whatever the machine has."""
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
