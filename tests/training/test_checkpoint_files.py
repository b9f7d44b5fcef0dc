"""Training never continues from damaged, foreign or made-up files, and they do no harm."""

from __future__ import annotations

import copy
import json
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from collections import Counter, OrderedDict
from contextlib import suppress
from functools import partial
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from checkpoints import SPECIES, X_IRIS, classifier, files, kill, killed_after, the_file
from conftest import assert_bit_equal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sknn._files._archives import read_archive
from sknn._files._plain_values import Allowance
from sknn._training import _checkpoint as checkpoint
from sknn._training._checkpoint import CheckpointFile, Snapshot

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return the file of a training that was killed, its estimators, and a model trained whole."""
    directory = tmp_path_factory.mktemp("killed")
    make = partial(classifier, max_iter=8, checkpoint_every=3, dropout=0.1)
    whole = make(directory).fit(X_IRIS, SPECIES)
    kill(make(directory), 5, X_IRIS, SPECIES)
    path = the_file(directory)
    return SimpleNamespace(make=make, whole=whole, name=path.name, data=path.read_bytes())


def fit_beside(killed, directory, data):
    """Fit with `data` in the checkpoint file; return the number of epochs run and the warnings."""
    (directory / killed.name).write_bytes(data)
    with warnings.catch_warnings(record=True) as caught, killed_after(None) as counted:
        warnings.simplefilter("always")
        estimator = killed.make(directory).fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, killed.whole)
    assert files(directory) == []
    return counted.n_epochs, [str(w.message) for w in caught if "checkpoint" in str(w.message)]


def test_whole_file_is_gone_on_from(killed, tmp_path):
    assert fit_beside(killed, tmp_path, killed.data) == (8 - 3, [])


def test_file_that_cannot_be_read_for_once_is_gone_on_from(killed, tmp_path, monkeypatch):
    failures = [SystemError("AST constructor recursion depth mismatch"), None]
    read = CheckpointFile._read

    def failing_once(self):
        error = failures.pop(0)
        if error is not None:
            raise error
        return read(self)

    monkeypatch.setattr(CheckpointFile, "_read", failing_once)
    assert fit_beside(killed, tmp_path, killed.data) == (8 - 3, [])


def test_truncated_file_is_left_aside(killed, tmp_path):
    size = len(killed.data)
    for length in sorted({0, 1, 3, 4, 30, 100, *range(200, size, size // 12), size - 22, size - 1}):
        n_epochs, (warning,) = fit_beside(killed, tmp_path, killed.data[:length])
        assert n_epochs == 8, length
        assert str(tmp_path / killed.name) in warning
        assert "starts from the beginning" in warning


@pytest.mark.long
@given(data=st.data())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_flipped_bytes_are_noticed_or_change_nothing(killed, tmp_path, data):
    place = data.draw(st.integers(0, len(killed.data) - 1))
    flipped = bytearray(killed.data)
    flipped[place] ^= data.draw(st.integers(1, 255))
    fit_beside(killed, tmp_path, bytes(flipped))


@pytest.mark.parametrize("place", np.linspace(0.02, 0.8, 8))
def test_flipped_byte_of_the_content_is_noticed(killed, tmp_path, place):
    flipped = bytearray(killed.data)
    flipped[int(place * len(flipped))] ^= 0x10
    n_epochs, found = fit_beside(killed, tmp_path, bytes(flipped))
    assert (n_epochs, len(found)) in ((8, 1), (8 - 3, 0))  # Padding and dates do not count.


def npz(*arrays, **named):
    buffer = BytesIO()
    np.savez(buffer, *arrays, **named)
    return buffer.getvalue()


def npy(array):
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


FOREIGN = {
    "text": b"epoch,loss\n1,0.5\n",
    "pickle": pickle.dumps({"epoch": 3}),
    "array": npy(np.arange(10)),
    "archive": npz(weights=np.ones(3)),
    "archive of objects": npz(np.array([{}, None], dtype=object)),
    "no JSON": npz(np.arange(10, dtype=np.uint8), np.ones(3)),
    "JSON of something else": npz(np.frombuffer(b"[1, 2]", np.uint8)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_file_is_left_aside(what, killed, tmp_path):
    n_epochs, (warning,) = fit_beside(killed, tmp_path, FOREIGN[what])
    assert n_epochs == 8
    assert str(tmp_path / killed.name) in warning


def changed(data, change):
    """Return a file after a change to its JSON document or its arrays."""
    with np.load(BytesIO(data)) as archive:
        document, *arrays = (archive[name] for name in archive.files)
    label = json.loads(document.tobytes())
    change(label, arrays)
    return npz(np.frombuffer(json.dumps(label).encode(), np.uint8), *arrays)


CHANGES = {
    "format": (lambda label, _: label.update(format=0), "format is 0"),
    "fingerprint": (lambda label, _: label.update(fingerprint="0" * 40), "another training"),
    "shape": (lambda _, arrays: arrays.__setitem__(0, arrays[0][:, :-1]), "shape"),
    "a shape that would fit": (lambda _, arrays: arrays.__setitem__(0, arrays[0][:1]), "shape"),
    "dtype": (lambda _, arrays: arrays.__setitem__(0, arrays[0].astype(np.float32)), "float32"),
    "no array": (lambda _, arrays: arrays.pop(), "there is no array"),
    "no optimizer": (lambda label, _: label["tree"].pop("optimizer"), "optimizer"),
    "no history": (lambda label, _: label["tree"].pop("history"), "history"),
    "other rows": (lambda _, arrays: arrays.__setitem__(1, arrays[1][:100]), "100 rows"),
    "one generator more": (lambda label, _: label["tree"]["generators"].append(None), ""),
}


@pytest.mark.parametrize("what", CHANGES)
def test_file_of_another_form_is_left_aside_as_a_whole(what, killed, tmp_path):
    change, said = CHANGES[what]
    n_epochs, (warning,) = fit_beside(killed, tmp_path, changed(killed.data, change))
    assert n_epochs == 8
    assert said in warning
    assert str(tmp_path / killed.name) in warning


def zipped(*members, compression=zipfile.ZIP_STORED):
    """Return an archive of members that are given as (name, bytes)."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def head(shape, descr="<f8"):
    """Return the header of an .npy file that promises an array."""
    buffer = BytesIO()
    promise = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, promise)
    return buffer.getvalue()


def overlapping(n_members=50):
    """Return an archive whose directory names the same bytes again and again."""
    content = npy(np.zeros(100_000))
    one = zipped(("arr_0.npy", content))
    start = one.index(b"PK\x01\x02")
    entry = one[start : one.index(b"PK\x05\x06")]
    entries = b"".join(
        entry.replace(b"arr_0.npy", f"arr_{i:x}.npy".encode()) for i in range(min(n_members, 16))
    )
    n_entries = entries.count(b"PK\x01\x02")
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n_entries, n_entries, len(entries), start, 0)
    return one[:start] + entries + end


MADE_UP = {
    "compressed": (
        zipped(("arr_0.npy", npy(np.zeros(10**7))), compression=zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "members that overlap": (overlapping(), "larger than the file"),
    "promise of much": (
        zipped(("arr_0.npy", head((10**11,)))),
        "larger than the archive that holds it",
    ),
    "promise of too much": (zipped(("arr_0.npy", head((2**62, 2**62)))), "larger than the archive"),
    "less than nothing": (
        zipped(("arr_0.npy", head((-1,)) + b"12345678")),
        "larger than the archive",
    ),
    "wide values": (zipped(("arr_0.npy", head((1,), "|V2000000000"))), "larger than the archive"),
    "objects": (zipped(("arr_0.npy", head((1,), "|O") + pickle.dumps([print]))), "allow_pickle"),
    "another name": (zipped(("weights.npy", npy(np.zeros(3)))), "arr_0"),
    "another version": (zipped(("arr_0.npy", b"\x93NUMPY\x09\x00" + b"0" * 90)), "9, 0"),
}


@pytest.mark.parametrize("what", MADE_UP)
def test_made_up_archive_is_left_aside_without_much_memory(what, killed, tmp_path):
    data, said = MADE_UP[what]
    tracemalloc.start()
    (tmp_path / "made_up").write_bytes(data)
    with pytest.raises(Exception, match=said):
        read_archive(tmp_path / "made_up")
    assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 1e6
    tracemalloc.stop()
    (tmp_path / "made_up").unlink()
    n_epochs, (warning,) = fit_beside(killed, tmp_path, data)
    assert n_epochs == 8
    assert said in warning


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_named_pipe_is_left_aside_and_not_waited_for(killed, tmp_path):
    os.mkfifo(tmp_path / killed.name)
    with (
        pytest.warns(UserWarning, match="not a regular file"),
        pytest.warns(UserWarning, match="could not be saved"),
    ):
        estimator = killed.make(tmp_path).fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, killed.whole)
    assert files(tmp_path) == []


def generator_at(position):
    def change(label, _):
        label["tree"]["rows"]["random_state"]["state"]["pos"] = position

    return change


def rows_in_order(function):
    def change(label, arrays):
        place = label["tree"]["rows"]["order"]["$array"]
        arrays[place] = function(arrays[place])

    return change


def rate(value):
    return lambda label, _: label["tree"]["optimizer"].update(lr=value)


HOSTILE = {
    # Unchecked, such values would let NumPy and torch read and write beyond their memory.
    "a generator that stands too far": (generator_at(10**8), "stands at 100000000"),
    "a generator that stands before its words": (generator_at(-5), "stands at -5"),
    "rows that are not there": (rows_in_order(lambda order: order + 100), "order of the rows"),
    "rows before the first": (rows_in_order(lambda order: -order.astype(int)), "order of the rows"),
    "a row twice": (rows_in_order(lambda order: order // 2), "order of the rows"),
    "a number of a kind that there is not": (rate({"$scalar": [99, "1"]}), "IndexError"),
    "a number of an array": (rate({"$scalar": [3, [1.0] * 9]}), "a number is malformed"),
    "a number of many digits": (rate({"$scalar": [2, "1" * 10**5]}), "40 digits"),
    "something unknown": (rate({"$function": "print"}), "'function'"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_content_is_left_aside(what, killed, tmp_path):
    change, said = HOSTILE[what]
    n_epochs, (warning,) = fit_beside(killed, tmp_path, changed(killed.data, change))
    assert n_epochs == 8
    assert said in warning


def test_deep_content_is_left_aside(killed, tmp_path):
    deep = npz(np.frombuffer(b"[" * 100_000 + b"]" * 100_000, np.uint8))
    n_epochs, (warning,) = fit_beside(killed, tmp_path, deep)
    assert n_epochs == 8
    assert "RecursionError" in warning


@pytest.mark.matrix(1)
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "step"])
def test_hostile_state_of_an_optimizer_of_torch_is_left_aside(name, tmp_path):
    # torch's fused kernels would write one value per parameter into the smaller array.
    make = partial(classifier, tmp_path, solver=partial(torch.optim.Adam, fused=True))
    whole = make().fit(X_IRIS, SPECIES)
    kill(make(), 10, X_IRIS, SPECIES)

    def change(label, arrays):
        _, (state,) = label["tree"]["optimizer"]["state"]["$dict"]
        arrays[state[name]["$array"]] = np.zeros(3)

    path = the_file(tmp_path)
    path.write_bytes(changed(path.read_bytes(), change))
    with pytest.warns(UserWarning, match=rf"holds '{name}' of shape \(3,\)"):
        estimator = make().fit(X_IRIS, SPECIES)
    assert_bit_equal(estimator, whole)


def places(tree, path=()):
    """Yield the paths of all values in a JSON document."""
    yield path
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))


NUMBERS = [0, -1, 2**31, 2**63, 10**40, 0.5, -1e300, float("nan"), float("inf"), True]
OTHERS = [None, "", "x", [], {}, [[]], {"$array": -1}, {"$tuple": []}, {"$tensor": {"$array": 1}}]
OTHERS += [{"$scalar": [2, "-1"]}, {"$list": ["float", 0]}, {"$objects": [[1], ["text", 0, 1, 2]]}]
OTHERS += [{"$dict": [[[]], [1]]}, {"$Counter": [["a"], ["b"]]}, "params"]


@pytest.mark.long
@given(data=st.data())
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_made_up_content_ends_in_a_model_or_an_exception(killed, tmp_path, data):
    # The model may be another one, because whoever writes the file decides. But the process
    # survives, and the next fit works.
    def change(label, arrays):
        for _ in range(data.draw(st.integers(1, 3))):
            path = data.draw(st.sampled_from([p for p in places(label["tree"]) if p]))
            owner = label["tree"]
            for key in path[:-1]:
                owner = owner[key]
            owner[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(NUMBERS + OTHERS)))
        if data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(arrays) - 1))
            dtype = data.draw(st.sampled_from(["u1", "i8", "f4", "f8", "U3", "c16", "M8[s]"]))
            shape = data.draw(st.sampled_from([(), (0,), (1,), (3, 2), arrays[place].shape]))
            arrays[place] = np.ones(shape, dtype)

    (tmp_path / killed.name).write_bytes(changed(killed.data, change))
    with warnings.catch_warnings(), suppress(Exception), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        killed.make(tmp_path).fit(X_IRIS, SPECIES)
    for path in tmp_path.iterdir():
        path.unlink()
    assert fit_beside(killed, tmp_path, killed.data) == (8 - 3, [])


def test_file_that_is_written_again_as_it_was_is_gone_on_from(killed, tmp_path):
    same = changed(killed.data, lambda *_: None)
    assert fit_beside(killed, tmp_path, same) == (8 - 3, [])


def test_other_files_of_the_directory_are_left_alone(killed, tmp_path):
    others = ["data.npz", "sknn-notes.txt", "sknn-" + "0" * 40 + ".npz", killed.name + ".bak"]
    for name in others:
        (tmp_path / name).write_text(name)
    left_behind = tmp_path / (killed.name + ".abcd.tmp")
    left_behind.write_text("of a process that was killed amid a save")
    killed.make(tmp_path).fit(X_IRIS, SPECIES)
    assert files(tmp_path) == sorted(others)
    assert all((tmp_path / name).read_text() == name for name in others)


def test_tree_comes_back_as_it_was():
    state = {
        "plain": [None, True, 3, 0.1, -np.inf, 1e-320, "é", 2**70],
        "nan": np.nan,
        "tuple": (1, (2.5, [3])),
        3: {"$tuple": 1, 4.0: "keys"},
        "numbers": [np.float32(0.1), np.float64(0.1), np.int64(-3), np.bool_(True), np.str_("a")],
        "array": np.arange(6, dtype=np.uint16).reshape(2, 3).T,
        "empty": [np.empty((0, 3)), [], {}, ()],
        "scalar": np.array(2.5),
        "tensor": torch.arange(3),
        "counter": Counter([1, 1, 2]),
        "ordered": OrderedDict(b=1, a=2),
    }
    arrays = []
    tree = json.loads(json.dumps(checkpoint._codec.encode(state, arrays), allow_nan=False))
    back = pickle.loads(pickle.dumps(Snapshot(arrays, tree)))
    again = checkpoint._codec.decode(back.tree, back.arrays, Allowance())
    assert repr(again) == repr(state)
    assert type(again["counter"]) is Counter


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([1j, {}]), np.longdouble(1), 1j])
def test_value_that_cannot_be_saved_is_refused(value):
    with pytest.raises(TypeError, match="of type"):
        checkpoint._codec.encode({"a": [value]}, [])
