"""Files of earlier releases, made by tests/old_files/make.py, load and give the same outputs."""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_allclose
from sklearn.utils.validation import check_is_fitted

import sknn

DATA = Path(__file__).parent
RELEASES = sorted(path.name for path in DATA.iterdir() if path.is_dir() and path.name[0].isdigit())
OURS = {"sknn._classifier.FeedForwardClassifier", "sknn._regressor.FeedForwardRegressor"}


def load_pickle(path):
    return pickle.loads(path.read_bytes())


def load_skops(path):
    untrusted = skops.io.get_untrusted_types(file=path)
    assert set(untrusted) <= OURS
    return skops.io.load(path, trusted=untrusted)


READERS = {
    ".pickle": load_pickle,
    ".joblib": joblib.load,
    ".skops": load_skops,
    ".safetensors": sknn.load,
}
FILES = [
    path.relative_to(DATA)
    for release in RELEASES
    for path in sorted((DATA / release).iterdir())
    if path.suffix in READERS
]


def test_there_are_files_of_every_kind_for_this_release():
    release = sknn.__version__.rpartition(".")[0]
    assert release in RELEASES
    names = {path.stem for path in FILES if path.parts[0] == release}
    assert len(names) >= 7
    assert len([p for p in FILES if p.parts[0] == release]) == len(names) * len(READERS)


# A warning about another version is an error too, since the files hold no object of scikit-learn.
@pytest.mark.matrix(28)
@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("file", FILES, ids=str)
def test_old_file_is_read_and_training_goes_on(file):
    expected = np.load(DATA / file.parent / "expected.npz")
    X, y = expected["X"], expected[f"{file.stem} y"]
    estimator = READERS[file.suffix](DATA / file)
    check_is_fitted(estimator)

    def outputs():
        method = "predict_proba" if hasattr(estimator, "classes_") else "predict"
        return getattr(estimator, method)(X)

    # Parameters that were added after the release have their defaults.
    assert estimator.get_params().keys() == type(estimator)().get_params().keys()
    # The files were made on another machine, whose matrix products round differently.
    rtol = 1e-5 if estimator.coefs_[0].dtype == np.float32 else 1e-9
    assert outputs().dtype == estimator.coefs_[0].dtype
    assert_allclose(outputs(), expected[f"{file.stem} outputs"], rtol=rtol, atol=rtol)
    assert estimator.predict(X).shape == y.shape or estimator.loss == "quantile"
    if f"{file.stem} next outputs" in expected.files:
        estimator.partial_fit(X, y)
        assert_allclose(outputs(), expected[f"{file.stem} next outputs"], rtol=rtol, atol=rtol)
    else:
        estimator.set_params(warm_start=True).fit(X, y)


@pytest.mark.parametrize("file", [f for f in FILES if f.stem == "quantiles"], ids=str)
def test_old_file_holds_the_state_of_a_generator(file):
    estimator = READERS[file.suffix](DATA / file)
    expected = READERS[".safetensors"]((DATA / file).with_suffix(".safetensors"))
    assert isinstance(estimator.random_state, np.random.RandomState)
    assert estimator.random_state.randint(2**31) == expected.random_state.randint(2**31)
