"""Files that were damaged by chance or on purpose are refused, or load without harm."""

from __future__ import annotations

import copy
import tracemalloc

import numpy as np
import pytest
from saved_files import PLACE, put_together, sealed, taken_apart

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore")

rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, (30, 3))
LABELS = np.array(["a", "b", "c"])[rng.randint(3, size=30)]
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, "batch_size": 10}


def _victims():
    classifier = FeedForwardClassifier(**SMALL | {"class_weight": {"a": 2.0}}).fit(X, LABELS)
    multilabel = FeedForwardClassifier(**SMALL | {"solver": "sgd", "normalization": "batch"})
    multilabel.partial_fit(X, (X > 0).astype(int), classes=[0, 1, 2])
    long = FeedForwardRegressor(**SMALL | {"max_iter": 20, "tol": 0.0, "early_stopping": True})
    quantiles = FeedForwardRegressor(
        **SMALL | {"solver": "adamw", "random_state": np.random.RandomState(1)},
        loss="quantile",
        quantile=[0.1, 0.5],
    )
    lbfgs = FeedForwardClassifier(**SMALL | {"solver": "lbfgs"}).fit(X, X[:, 0] > 0)
    return {
        "classifier": (classifier, LABELS),
        "multilabel": (multilabel, (X > 0).astype(int)),
        "regressor": (long.fit(X, X[:, :2]), X[:, :2]),
        "quantiles": (quantiles.fit(X, X[:, 0]), X[:, 0]),
        "lbfgs": (lbfgs, X[:, 0] > 0),
        "unfitted": (FeedForwardRegressor(), X[:, 0]),
    }


@pytest.fixture(scope="module")
def victims(tmp_path_factory):
    """Return the bytes of valid files, each with targets for further training."""
    path = tmp_path_factory.mktemp("victims") / "file"
    files = {}
    for name, (estimator, y) in _victims().items():
        estimator.save(path)
        files[name] = path.read_bytes(), y
    return files


def limit(n_bytes):
    return 10 * n_bytes + 10_000_000


class Loader:
    """A helper that loads bytes as a file, checks the memory in use, and uses the estimator."""

    def __init__(self, directory):
        self.path = directory / "file"
        self.n_refused = self.n_loaded = 0

    def load(self, data):
        """Return the estimator, or None if the file is refused."""
        self.path.write_bytes(data)
        tracemalloc.start()
        try:
            estimator = sknn.load(self.path)
        except ValueError as error:
            assert str(self.path) in str(error)
            assert len(str(error)) < 3000
            self.n_refused += 1
            return None
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < limit(len(data))
        self.n_loaded += 1
        return estimator

    def use(self, data, y, what=""):
        """Load the bytes and, unless they are refused, predict and train with the estimator."""
        estimator = self.load(data)
        if estimator is None or not (hasattr(estimator, "coefs_") or is_small(estimator)):
            return
        for use in (
            lambda: estimator.predict(X),
            lambda: repr(estimator),
            lambda: estimator.net_,
            lambda: estimator.partial_fit(X, y),
            lambda: estimator.predict(X),
        ):
            try:
                use()
            except (ValueError, TypeError, AttributeError) as error:
                documented = (ValueError, AttributeError)  # The docstrings name these errors.
                assert isinstance(error, documented), (what, repr(error))


def is_small(estimator):
    """Return whether the parameters are not legal ones for more memory than there is."""
    sizes = [*np.ravel(np.asarray(estimator.hidden_layer_sizes, object)), estimator.n_members]
    return not any(isinstance(size, int) and size > 10_000 for size in sizes)


@pytest.fixture
def loader(tmp_path):
    return Loader(tmp_path)


# --- bytes ------------------------------------------------------------------------------------


def flip(data, rng):
    i = rng.randint(len(data))
    return data[:i] + bytes([data[i] ^ 1 << rng.randint(8)]) + data[i + 1 :]


def change(data, rng):
    i = rng.randint(len(data))
    return data[:i] + rng.bytes(1) + data[i + 1 :]


def cut(data, rng):
    return data[: rng.randint(len(data))]


def insert(data, rng):
    i = rng.randint(len(data) + 1)
    return data[:i] + rng.bytes(rng.randint(1, 20)) + data[i:]


def remove(data, rng):
    i = rng.randint(len(data))
    return data[:i] + data[i + rng.randint(1, 20) :]


def repeat(data, rng):
    i, j = np.sort(rng.randint(len(data) + 1, size=2))
    return data[:j] + data[i:j] + data[j:]


def exchange(data, rng):
    i, j = np.sort(rng.randint(len(data) - 8, size=2))
    i = min(i, j - 8) if j >= 8 else i
    if i < 0 or i + 8 > j:
        return data + b"\0"
    return data[:i] + data[j : j + 8] + data[i + 8 : j] + data[i : i + 8] + data[j + 8 :]


def other_length(data, rng):
    n = int.from_bytes(data[:8], "little")
    new = [0, 1, n - 1, n + 1, n + 8, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(data), len(data) - 8]
    return int(new[rng.randint(len(new))]).to_bytes(8, "little") + data[8:]


def more(data, rng):
    return data + rng.bytes(rng.randint(1, 2000))


MUTATIONS = [flip, change, cut, insert, remove, repeat, exchange, other_length, more]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_spoilt_bytes_are_refused(mutate, victims, loader):
    rng = np.random.RandomState(len(mutate.__name__))
    n = 0
    for data, _ in victims.values():
        for _ in range(15):
            spoilt = mutate(data, rng)
            if spoilt != data:
                n += 1
                assert loader.load(spoilt) is None
    assert n > 70


@pytest.mark.parametrize("every", [29, pytest.param(3, marks=pytest.mark.long)])
def test_every_flipped_bit_is_refused(every, victims, loader):
    data, _ = victims["lbfgs"]
    for place in range(0, 8 * len(data), every):
        i, bit = divmod(place, 8)
        loader.path.write_bytes(data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :])
        with pytest.raises(ValueError, match="cannot be loaded"):
            sknn.load(loader.path)


@pytest.mark.matrix(5)
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_spoilt_bytes_with_the_right_checksum_are_refused_or_harmless(mutate, victims, loader):
    rng = np.random.RandomState(len(mutate.__name__))
    for data, y in victims.values():
        for _ in range(5):
            spoilt = mutate(data, rng)
            if len(spoilt) > PLACE + 64:
                loader.use(sealed(spoilt), y)
    assert loader.n_refused


# --- the document -----------------------------------------------------------------------------

HOSTILE = [
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**62, 2**63 - 1, -(2**63), 10**30),
    *(0.0, -0.5, 1e-320, 1e308, "", "x", "cpu", "__class__", "__import__('os')", "é\ud800" * 3),
    *([], [[]], [None], [0], [1] * 20, {}, {"a": 1}, {"$tuple": []}, {"$tuple": [1, "a"]}),
    *({"$array": 0}, {"$array": -1}, {"$array": 10**6}, {"$array": True}, {"$list": ["int", 0]}),
    *(
        {"$list": ["text", 0, 1, 2]},
        {"$list": ["numpy.int8", 0]},
        {"$objects": [[1], ["float", 0]]},
        {"$scalar": [2, "9" * 40]},
    ),
    *({"$scalar": [3, "nan"]}, {"$scalar": [3, "inf"]}, {"$scalar": [7, "999"]}),
    *({"$scalar": [99, "1"]}, {"$dict": [[1, 1], [2, 3]]}, {"$dict": [[[]], [1]]}),
    *({"$RandomState": {}}, {"$RandomState": [1]}, {"$unknown": 1}, {"$tuple": 1, "a": 2}),
]


def leaves(tree, path=()):
    """Yield the path of every node below the root of a JSON tree, including inner nodes."""
    if path:
        yield path
    if isinstance(tree, dict):
        for key in tree:
            yield from leaves(tree[key], (*path, key))
    elif isinstance(tree, list):
        for i, item in enumerate(tree):
            yield from leaves(item, (*path, i))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def edited(document, path, value):
    new = copy.deepcopy(document)
    at(new, path[:-1])[path[-1]] = value
    return new


def fuzz_the_document(victims, loader, n_values, every):
    rng = np.random.RandomState(1)
    for data, y in victims.values():
        document, header, body = taken_apart(data)
        for path in list(leaves(document))[rng.randint(every) :: every]:
            values = [HOSTILE[i] for i in rng.choice(len(HOSTILE), n_values, replace=False)]
            for value in values:
                new = edited(document, path, value)
                loader.use(put_together(new, header, body), y, (path, value))
            parent = at(document, path[:-1])
            if isinstance(parent, dict):
                for key in ("", "x", "__class__", "predict", "$tuple", "coefs_")[:n_values]:
                    new = copy.deepcopy(document)
                    inner = at(new, path[:-1])
                    inner[key] = inner.pop(path[-1])
                    loader.use(put_together(new, header, body), y, (path, "key", key))
            new = copy.deepcopy(document)
            del at(new, path[:-1])[path[-1]]
            loader.use(put_together(new, header, body), y, (path, "removed"))
    assert loader.n_refused > 100 / every
    assert loader.n_loaded > 100 / every


@pytest.mark.parametrize(
    ("n_values", "every"), [(1, 50), pytest.param(2, 2, marks=pytest.mark.long)]
)
def test_hostile_documents_are_refused_or_harmless(n_values, every, victims, loader):
    fuzz_the_document(victims, loader, n_values, every)


# --- the arrays -------------------------------------------------------------------------------

DTYPES = ["BOOL", "U8", "I8", "F16", "BF16", "F32", "F64", "I64", "U32", "C64", "F8_E4M3", "Q7"]


@pytest.mark.parametrize("every", [20, pytest.param(3, marks=pytest.mark.long)])
def test_hostile_arrays_are_refused_or_harmless(every, victims, loader):
    rng = np.random.RandomState(2)
    for data, y in victims.values():
        document, header, body = taken_apart(data)
        names = list(header)
        for name in names[rng.randint(every) :: every]:
            entry = header[name]
            start, stop = entry["data_offsets"]
            other = header[names[rng.randint(len(names))]]
            shapes = [[], [stop - start], entry["shape"][::-1], [0, 2**60], [2**32, 2**32], [-1]]
            shapes += [[1] * 70, [1.5], "x", None, [2**63]]
            entries = [
                other,
                {**entry, "dtype": DTYPES[rng.randint(len(DTYPES))]},
                *({**entry, "shape": shape} for shape in shapes),
                {**entry, "data_offsets": [start, stop + 8]},
                {**entry, "data_offsets": [stop, start]},
                {**entry, "data_offsets": [0, len(body)]},
                {**entry, "data_offsets": [-8, 0]},
                {**entry, "more": 1},
                {},
                None,
            ]
            for new in entries:
                loader.use(put_together(document, {**header, name: new}, body), y, (name, new))
            for new in (
                {k: v for k, v in header.items() if k != name},
                {("x" if k == name else k): v for k, v in header.items()},
                {**header, "x": entry},
            ):
                loader.use(put_together(document, new, body), y, (name, "names"))
            noise = rng.bytes(stop - start)
            new = body[:start] + noise + body[stop:]
            loader.use(put_together(document, header, new), y, (name, "noise"))
    assert loader.n_refused
