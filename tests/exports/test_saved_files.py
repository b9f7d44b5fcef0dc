"""A failed `save` leaves the old file; `load` refuses unsound files and upgrades old ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
from pathlib import Path

import joblib
import numpy as np
import pytest
import safetensors.numpy
import torch
from conftest import TARGETS, assert_bit_equal
from saved_files import put_together, taken_apart
from saved_models import SPECIES, X_IRIS, made_for, own_loss

import sknn
from sknn import FeedForwardClassifier
from sknn._exports import _saved
from sknn._files import _container

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_paths_of_every_kind(kind, tmp_path):
    path = kind(tmp_path / "é model")
    FeedForwardClassifier(alpha=0.5).save(path)
    assert sknn.load(path).alpha == 0.5


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failed_save_leaves_the_file_that_was_there(function, error, monkeypatch, tmp_path):
    def fail(*_):
        raise error

    path = tmp_path / "file"
    path.write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr(_container.os, function, fail)
        with pytest.raises(type(error)):
            FeedForwardClassifier().save(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_refused_save_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(ValueError):
        FeedForwardClassifier(scoring=own_loss).save(path)
    assert path.read_text() == "before"


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_mode_and_link_are_kept(tmp_path):
    path, link, new = tmp_path / "file", tmp_path / "link", tmp_path / "new"
    path.touch(mode=0o640)
    link.symlink_to(path)
    FeedForwardClassifier().save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    sknn.load(path).save(new)
    (tmp_path / "other").touch()
    assert new.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_no_file_is_neither_replaced_nor_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="not a regular file"):
        FeedForwardClassifier().save(pipe)
    with pytest.raises(ValueError, match="not a regular file"):
        sknn.load(pipe)
    with pytest.raises(OSError):
        FeedForwardClassifier().save(tmp_path)
    with pytest.raises(OSError):
        sknn.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        FeedForwardClassifier().save(tmp_path / "missing" / "file")
    with pytest.raises(FileNotFoundError):
        sknn.load(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == [pipe]


def npz():
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


FOREIGN = {
    "empty": (b"", "it is empty"),
    "text": (b"once upon a time, there was a file of text, of no use to us", "not a file of sknn"),
    "zeros": (bytes(1000), "not a file of sknn"),
    "random": (np.random.RandomState(0).bytes(1000), "not a file of sknn"),
    "pickle": (pickle.dumps(FeedForwardClassifier()), "a pickle"),
    "npz": (npz(), "a zip archive"),
    "safetensors": (safetensors.numpy.save({"a": np.zeros(3)}, {"b": "c"}), "a safetensors file"),
    "short": (b"\x01", "not a file of sknn"),
}


@pytest.mark.parametrize(("data", "said"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_file_is_refused(data, said, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=said) as error:
        sknn.load(path)
    assert str(path) in str(error.value)
    assert "save" in str(error.value)


@pytest.fixture
def parts(tmp_path):
    """Return the document, the header's entries and the arrays' bytes of a valid file."""
    made_for("multiclass").fit(X_IRIS, SPECIES).save(tmp_path / "file")
    return taken_apart((tmp_path / "file").read_bytes())


CHANGES = {
    "newer": (
        lambda d: d.update(format=_saved.FORMAT + 1),
        f"its format is {_saved.FORMAT + 1}.*up to {_saved.FORMAT}.*Upgrade sknn",
    ),
    "no format": (lambda d: d.pop("format"), "its format is None"),
    "parameter": (lambda d: d["parameters"].update(depth=3), "does not know.*depth.*Upgrade sknn"),
    "class": (lambda d: d.update({"class": "os.system"}), "of a class 'os.system'"),
    "attribute": (lambda d: d["attributes"].update(predict=3), "unknown attributes.*predict"),
    "dunder": (lambda d: d["attributes"].update(__class__="x"), "unknown attributes.*__class__"),
    "missing": (lambda d: d["attributes"].pop("t_"), "t_ is missing"),
    "twice": (
        lambda d: d["attributes"].update(intercepts_=d["attributes"]["coefs_"]),
        "used twice",
    ),
    "unused": (lambda d: d.update(attributes={}), "arrays are not used"),
    "value": (lambda d: d["parameters"].update(alpha=-1.0), "parameter 'alpha' cannot be -1.0"),
    "key": (lambda d: d.update(more=1), "has the keys"),
    "kind": (lambda d: d["parameters"].update(alpha={"$complex": 1}), "of an unknown kind"),
    "request": (lambda d: d.update(requests={"fit": {"__init__": True}}), "no argument"),
    "key of a dict twice": (
        lambda d: d["parameters"].update(class_weight={"$dict": [["a", "a"], [1, 2]]}),
        "a key of a dict occurs twice",
    ),
    "more values than records": (
        lambda d: d["attributes"].update(
            _history={"layouts": [["a"]], "layout": [0], "columns": [[1, 2]]}
        ),
        "not as long as the records ask for",
    ),
    "generator": (
        lambda d: d["parameters"].update(random_state={"$RandomState": {}}),
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_changed_document_is_refused(change, said, parts, tmp_path):
    document, header, body = parts
    change(document)
    path = tmp_path / "file"
    path.write_bytes(put_together(document, header, body))
    with pytest.raises(ValueError, match=f"(?s){said}"):
        sknn.load(path)


def test_key_of_the_document_that_is_there_twice_is_refused(parts, tmp_path):
    document, header, body = parts
    text = json.dumps(document)[1:-1] + ',"class":"FeedForwardRegressor"}'
    (tmp_path / "file").write_bytes(put_together(text, header, body))
    with pytest.raises(ValueError, match="a key of its document occurs twice"):
        sknn.load(tmp_path / "file")


def test_header_with_escapes_is_refused(parts, tmp_path):
    document, header, body = parts
    entries = json.dumps(header)[1:].replace("coefs_.0", "coefs_\\u002e0")
    (tmp_path / "file").write_bytes(put_together(document, entries, body))
    with pytest.raises(ValueError, match="not as this package writes it"):
        sknn.load(tmp_path / "file")


def test_strings_that_are_none_are_refused(tmp_path):
    path = tmp_path / "file"
    made_for("multiclass").fit(X_IRIS, np.array(["a", "bc", "d"])[SPECIES]).save(path)
    document, header, body = taken_apart(path.read_bytes())
    entry = header["classes_.0"]
    start, stop = entry["data_offsets"]
    no_characters = body[:start] + b"\xff" * (stop - start) + body[stop:]
    path.write_bytes(put_together(document, header, no_characters))
    with pytest.raises(ValueError, match="a number that is not a character"):
        sknn.load(path)
    header["classes_.0"] = {**entry, "shape": entry["shape"][::-1]}
    path.write_bytes(put_together(document, header, body))
    with pytest.raises(ValueError, match=r"an array of <U2 is stored as uint32 of \(2, 3\)"):
        sknn.load(path)


@pytest.mark.parametrize("pos", [-1, 625])
def test_generator_that_stands_beyond_its_words_is_refused(pos, tmp_path):
    """With such a position, NumPy would read memory outside of the generator's state."""
    path = tmp_path / "file"
    FeedForwardClassifier(random_state=np.random.RandomState(0)).save(path)
    document, header, body = taken_apart(path.read_bytes())
    document["parameters"]["random_state"]["$RandomState"]["pos"] = pos
    path.write_bytes(put_together(document, header, body))
    with pytest.raises(ValueError, match="the state of a RandomState is unsound"):
        sknn.load(path)


def test_parameter_that_an_older_file_lacks_has_its_default(parts, tmp_path):
    document, header, body = parts
    document["parameters"].pop("checkpoint_every")
    (tmp_path / "file").write_bytes(put_together(document, header, body))
    assert sknn.load(tmp_path / "file").checkpoint_every == 10


def test_older_format_is_upgraded(parts, tmp_path, monkeypatch):
    document, header, body = parts
    weight = document["parameters"].pop("alpha")
    document["parameters"]["decay"] = 2 * weight
    path = tmp_path / "file"
    path.write_bytes(put_together(document, header, body))

    def alpha_for_decay(document):
        parameters = dict(document["parameters"])
        parameters["alpha"] = parameters.pop("decay") / 2
        return {**document, "format": now + 1, "parameters": parameters}

    now = _saved.FORMAT
    monkeypatch.setattr(_saved, "FORMAT", now + 2)
    monkeypatch.setitem(_saved.UPGRADES, now, alpha_for_decay)
    monkeypatch.setitem(_saved.UPGRADES, now + 1, lambda document: {**document, "format": now + 2})
    assert sknn.load(path).alpha == weight


def test_every_older_format_has_an_upgrade():
    assert set(_saved.UPGRADES) == set(range(1, _saved.FORMAT))


def test_state_of_generators_is_left_alone(tmp_path):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    before = repr(np.random.get_state()), torch.get_rng_state().tolist()
    estimator.save(tmp_path / "file")
    sknn.load(tmp_path / "file").predict(X_IRIS)
    assert (repr(np.random.get_state()), torch.get_rng_state().tolist()) == before


def test_missing_directory_is_named(tmp_path):
    path = tmp_path / "missing" / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="directory of the file does not exist") as caught:
        FeedForwardClassifier().save(path)
    assert caught.value.filename == str(path.parent)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_memory_mapped_model_can_be_saved(solver, tmp_path):
    X, y = TARGETS["multiclass"]
    model = FeedForwardClassifier(solver=solver, max_iter=5, random_state=0).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert type(mapped.coefs_[0]) is np.memmap
    mapped.save(tmp_path / "model.safetensors")
    assert_bit_equal(sknn.load(tmp_path / "model.safetensors"), model)
