"""Trainings that cannot be saved are refused, and a full disk only causes a warning."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SPECIES, X_IRIS, classifier, files, kill, killed_after, the_file
from conftest import assert_bit_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier
from sknn._files import _container
from sknn._training._epoch import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ON_TMPFS = sys.platform == "linux" and hasattr(os, "geteuid") and os.geteuid() == 0


# --- what is refused --------------------------------------------------------------------------


class Opaque(lr_scheduler.StepLR):
    """A scheduler whose state holds more than plain values."""

    def state_dict(self):
        return {**super().state_dict(), "secret": object()}


class RecordsAnObject(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("thing", self)


def test_scheduler_whose_state_cannot_be_saved_is_refused_before_training(tmp_path):
    estimator = classifier(tmp_path, learning_rate=partial(Opaque, step_size=5))
    with killed_after(None) as counted, pytest.raises(ValueError, match="scheduler.*object") as e:
        estimator.fit(X_IRIS, SPECIES)
    assert "checkpoint_dir" in str(e.value) and "can be saved. Use only" in str(e.value)
    assert counted.n_epochs == 0


def test_record_that_cannot_be_saved_is_refused_at_the_first_save(tmp_path):
    estimator = classifier(tmp_path, callbacks=[RecordsAnObject()])
    with pytest.raises(ValueError, match="state of the history contains"):
        estimator.fit(X_IRIS, SPECIES)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_random_state_must_be_an_integer(random_state, tmp_path):
    estimator = classifier(tmp_path / "new", random_state=random_state)
    with pytest.raises(ValueError, match="'random_state' parameter.*must be an int") as error:
        estimator.fit(X_IRIS, SPECIES)
    assert "'checkpoint_dir' parameter" in str(error.value)
    assert not (tmp_path / "new").exists()
    classifier(tmp_path, random_state=np.int64(3), max_iter=2).fit(X_IRIS, SPECIES)


def test_lbfgs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'checkpoint_dir' parameter.*lbfgs"):
        classifier(tmp_path, solver="lbfgs").fit(X_IRIS, SPECIES)


def test_partial_fit_makes_no_file_and_asks_for_nothing(tmp_path):
    estimator = classifier(tmp_path / "new", random_state=None, checkpoint_every=1)
    for _ in range(3):
        estimator.partial_fit(X_IRIS, SPECIES, classes=[0, 1, 2])
    assert not (tmp_path / "new").exists()


def unwritable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    yield tmp_path / "file"
    yield tmp_path / "file" / "below"
    yield str(tmp_path / "null\0byte")
    yield ""
    if sys.platform == "linux":
        yield "/proc/sknn"
        yield "/proc/self"


def test_path_that_cannot_be_written_is_refused_before_training(tmp_path):
    for path in unwritable(tmp_path):
        with killed_after(None) as counted, pytest.raises(ValueError) as error:
            classifier(path).fit(X_IRIS, SPECIES)
        assert counted.n_epochs == 0
        assert f"'checkpoint_dir' parameter is {path!r}" in str(error.value)
        assert "directory" in str(error.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_files_that_another_process_sweeps_away_are_no_error(tmp_path, monkeypatch):
    new_file = _container.new_file

    def swept(path):
        handle, name = new_file(path)
        os.unlink(name)
        return handle, name

    monkeypatch.setattr(_container, "new_file", swept)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier(tmp_path).fit(X_IRIS, SPECIES)
    assert files(tmp_path) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_directory_without_the_right_to_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="'checkpoint_dir' parameter"):
        classifier(tmp_path).fit(X_IRIS, SPECIES)


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_directory_is_made_with_its_parents(kind, tmp_path):
    class AsPath:
        def __fspath__(self):
            return os.fsencode(tmp_path / "a" / "b")

    path = AsPath() if kind is os.fsencode else kind(tmp_path / "a" / "b")
    kill(classifier(path), 9, X_IRIS, SPECIES)
    the_file(tmp_path / "a" / "b")


def test_parameters_are_cloned_and_pickled(tmp_path):
    estimator = classifier(tmp_path)
    for copied in (clone(estimator), pickle.loads(pickle.dumps(estimator))):
        assert copied.get_params() == estimator.get_params()
    assert FeedForwardClassifier().checkpoint_dir is None


# --- full disks -------------------------------------------------------------------------------


class Full:
    """A file on a disk that has room for `n_bytes` bytes and no more."""

    def __init__(self, file, n_bytes):
        self.file = file
        self.n_bytes = n_bytes

    def write(self, data):
        size = memoryview(data).nbytes
        if size > self.n_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.n_bytes -= size
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.matrix(3)
@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_failed_save_warns_once_and_keeps_the_file_before(share, tmp_path, monkeypatch):
    whole = classifier(tmp_path).fit(X_IRIS, SPECIES)
    kill(classifier(tmp_path), 5, X_IRIS, SPECIES)
    before = the_file(tmp_path).read_bytes()
    fdopen, n_bytes = os.fdopen, int(share * len(before))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", lambda *args: Full(fdopen(*args), n_bytes))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kill(classifier(tmp_path), 14, X_IRIS, SPECIES)
    (warning,) = [str(w.message) for w in caught]
    assert "No space left on device" in warning
    assert str(the_file(tmp_path)) in warning
    assert the_file(tmp_path).read_bytes() == before
    with killed_after(None) as counted:
        assert_bit_equal(classifier(tmp_path).fit(X_IRIS, SPECIES), whole)
    assert counted.n_epochs == 24 - 4


def test_training_goes_on_where_the_directory_has_been_taken_away(tmp_path, monkeypatch):
    epoch, directory = Trainer.epoch, tmp_path / "away"

    def removing(self, net=None):
        if directory.exists():
            directory.rmdir()
        return epoch(self, net)

    monkeypatch.setattr(Trainer, "epoch", removing)
    with pytest.warns(UserWarning, match="could not be saved"):
        estimator = classifier(directory).fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, classifier(None).fit(X_IRIS, SPECIES))


@pytest.mark.skipif(not ON_TMPFS, reason="only root on Linux may mount a small disk")
def test_disk_that_fills_up_keeps_the_file_and_training_goes_on(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        whole = classifier(None).fit(X_IRIS, SPECIES)
        kill(classifier(tmp_path), 5, X_IRIS, SPECIES)
        before = the_file(tmp_path).read_bytes()
        filler = tmp_path / "filler"
        with suppress_full_disk(), open(filler, "wb", buffering=0) as file:
            while file.write(b"0" * 1024):
                pass
        with pytest.warns(UserWarning, match="could not be saved.*No space left") as caught:
            kill(classifier(tmp_path), 14, X_IRIS, SPECIES)
        assert len(caught) == 1
        filler.unlink()
        assert the_file(tmp_path).read_bytes() == before
        with killed_after(None) as counted:
            assert_bit_equal(classifier(tmp_path).fit(X_IRIS, SPECIES), whole)
        assert counted.n_epochs == 24 - 4
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)  # noqa: S607 (the system says where it is)


@contextmanager
def suppress_full_disk():
    try:
        yield
    except OSError as error:
        assert error.errno == errno.ENOSPC
