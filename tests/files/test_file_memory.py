"""Loading any file, even a hostile one, takes at most 10 MB plus ten times the file's size."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from saved_files import put_together, taken_apart, with_arrays

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._training._fitted_names import without_durations

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# N values of two bytes or more in the file take far more than 10 MB as Python objects.
N = 300_000
# WIDE characters take more than 10 MB, and four times as much at four bytes each.
WIDE = 12_000_000


def limit(n_bytes):
    return 10 * n_bytes + 10_000_000


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return the document, the header's entries and the arrays' bytes of a valid file."""
    path = tmp_path_factory.mktemp("files") / "file"
    X = np.random.RandomState(0).uniform(-1, 1, (30, 3))
    estimator = FeedForwardRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    estimator.fit(X, X[:, :2]).save(path)
    return taken_apart(path.read_bytes())


def with_text(text):
    return lambda document, header, body: put_together('"format":1,"x":' + text + "}", header, body)


def with_entries(text):
    def make(document, header, body):
        return put_together(document, json.dumps(header)[1:-1] + "," + text + "}", body)

    return make


def with_wide_string(*path):
    """Add a string of ASCII with one character that makes Python store each in four bytes."""

    def make(document, header, body):
        new = copy.deepcopy(document)
        new["format"] += "versions" in path
        at = new
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = "a" * WIDE + "\N{GRINNING FACE}"
        return put_together(json.dumps(new)[1:], header, body)

    return make


def with_tuples(document, header, body):
    tree = json.loads('{"$tuple":[' * 400 + "]}" * 400)
    return put_together({**document, "parameters": {"alpha": tree}}, header, body)


def with_history(document, header, body):
    """Add empty records, which take eight bytes each in the file and nearly 100 in memory."""
    new = copy.deepcopy(document)
    header, body = with_arrays(header, body, x=np.zeros(5 * N, np.int64))
    new["arrays"].append(["x", "C"])
    layout = {"$list": ["int", len(new["arrays"]) - 1]}
    new["attributes"]["_history"] = {"layouts": [[]], "layout": layout, "columns": []}
    return put_together(new, header, body)


def with_long_records(document, header, body):
    """Add records of eight values that take as few bytes in the file as possible."""
    new = copy.deepcopy(document)
    keys = [f"x{i}" for i in range(9)]
    arrays = {key: np.zeros(N, np.int64) for key in keys[1:]} | {keys[0]: np.zeros(N, np.int64)}
    header, body = with_arrays(header, body, **arrays)
    first = len(new["arrays"])
    new["arrays"] += [[key, "C"] for key in arrays]
    columns = [{"$list": ["bool", first + i]} for i in range(8)]
    layout = {"$list": ["int", first + 8]}
    new["attributes"]["_history"] = {"layouts": [keys[1:]], "layout": layout, "columns": columns}
    return put_together(new, header, body)


def with_column(kind):
    """Add a list of N scalars of one kind, which take nine bytes each in the file."""

    def make(document, header, body):
        new = copy.deepcopy(document)
        arrays = {
            "a": np.full(N, kind, np.uint8),
            "b": np.zeros(N, np.int64),
            "c": np.zeros(0, np.uint8),
        }
        header, body = with_arrays(header, body, **arrays)
        first = len(new["arrays"])
        new["arrays"] += [[name, "C"] for name in arrays]
        column = {"$list": ["text", first, first + 1, first + 2]}
        new["parameters"]["hidden_layer_sizes"] = column
        return put_together(new, header, body)

    return make


def with_one_array_often(document, header, body):
    new = copy.deepcopy(document)
    header, body = with_arrays(header, body, x=np.zeros(2**17))
    new["arrays"].append(["x", "C"])
    place = len(new["arrays"]) - 1
    new["attributes"]["coefs_"] = [{"$array": place}] * 1000
    return put_together(new, header, body)


EMPTY = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
DENSE = {
    "lists": with_text("[" + "[]," * N + "0]"),
    "dicts": with_text("[" + "{}," * N + "0]"),
    "numbers": with_text("[" + "1.5," * N + "0]"),
    "strings": with_text("[" + '"ab",' * N + "0]"),
    "keys": with_text("{" + ",".join(f'"{i}":0' for i in range(N)) + "}"),
    "depth": with_text("[" * N),
    "pairs of depth": with_text("[" * N + "]" * N),
    "dicts of depth": with_text('{"a":' * N),
    "a little depth": with_text("[" * 40_000 + "]" * 40_000),
    "tuples of depth": with_tuples,
    "a long number": with_text("1" * N),
    "a long fraction": with_text("0." + "1" * N),
    "a long exponent": with_text("1e" + "1" * N),
    "a wide string": with_text('"\\ud83d\\ude00' + "a" * N + '"'),
    "wide strings": with_text("[" + '"\\ud83d\\ude00",' * (N // 10) + "0]"),
    "a wide parameter": with_wide_string("parameters", "loss"),
    "a wide version": with_wide_string("versions", "sknn"),
    "escapes": with_text('"' + "\\u0041" * N + '"'),
    "names": with_entries(",".join(f'"{i}":{EMPTY}' for i in range(N // 10))),
    "shapes": with_entries('"x":' + EMPTY.replace("[0]", "[" + "1," * N + "1]")),
    "lists as entries": with_entries('"x":[' + "[]," * N + "0]"),
    "depth of entries": with_entries('"x":' + "[" * N),
    "records": with_history,
    "long records": with_long_records,
    "nothings": with_column(0),
    "numbers of NumPy": with_column(5),
    "strings of NumPy": with_column(6),
    "one array often": with_one_array_often,
}


# These may load: their values do no harm and take little memory for the size of the file.
SMALL_ENOUGH = ("nothings", "records", "long records")
LONG = ("nothings", "long records", "a wide version")
OF_THE_PARSER = ("lists", "keys", "depth", "a long number", "wide strings", "names", "shapes")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in DENSE]
)
def test_dense_file_takes_no_more_memory_than_is_allowed(name, file, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DENSE[name](*file))
    tracemalloc.start()
    try:
        with suppress(ValueError) if name in SMALL_ENOUGH else pytest.raises(ValueError):
            sknn.load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit(path.stat().st_size)


MEASURE = """
import sys, warnings
warnings.simplefilter("ignore")
import sknn

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

def forget():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

sknn.load(sys.argv[1]).save(sys.argv[1])
for path in sys.argv[2:]:
    n_bytes = len(open(path, "rb").read())
    forget()
    before = peak()
    try:
        sknn.load(path)
    except ValueError:
        pass
    grown = peak() - before
    assert grown < 10 * n_bytes + 10_000_000, (path, n_bytes, grown)
    print(path, n_bytes, grown)
assert not {"torch", "skorch", "skl2onnx", "onnx"} & set(sys.modules)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(
    "names",
    [
        OF_THE_PARSER,
        pytest.param([n for n in DENSE if n not in OF_THE_PARSER], marks=pytest.mark.long),
    ],
    ids=["of the parser", "others"],
)
def test_process_that_loads_dense_files_takes_little_memory_and_no_torch(names, file, tmp_path):
    # tracemalloc does not see the memory of the library's parser, which is not written in Python.
    paths = []
    for name in names:
        paths.append(tmp_path / name)
        paths[-1].write_bytes(DENSE[name](*file))
    valid = tmp_path / "valid"
    valid.write_bytes(put_together(*file))
    command = [sys.executable, "-c", MEASURE, valid, *paths]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == len(paths)


# scikit-learn 1.7 gives this warning wherever it looks at labels.
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%")
@pytest.mark.parametrize(
    "kind", ["wide", pytest.param("long", marks=pytest.mark.long), "many classes"]
)
def test_valid_file_takes_no_more_memory_than_is_allowed(kind, tmp_path):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (3000, 20))
    if kind == "wide":
        estimator = FeedForwardRegressor(hidden_layer_sizes=(600, 600), max_iter=1)
        estimator.fit(X[:200], X[:200, 0])
    elif kind == "long":
        estimator = FeedForwardRegressor(hidden_layer_sizes=(2,), max_iter=3).fit(X[:5], X[:5, 0])
        estimator._history = estimator._history * 50_000
        estimator.loss_curve_ = estimator.loss_curve_ * 50_000
        estimator.learning_rate_curve_ = estimator.learning_rate_curve_ * 50_000
    else:
        labels = np.array([f"class {i}" for i in range(3000)])
        estimator = FeedForwardClassifier(
            hidden_layer_sizes=(4,), max_iter=1, class_weight=dict.fromkeys(labels.tolist(), 2.0)
        ).fit(X, labels)
    path = tmp_path / "file"
    estimator.save(path)
    tracemalloc.start()
    try:
        loaded = sknn.load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit(path.stat().st_size)
    assert repr(loaded._history) == repr(without_durations(estimator._history))
