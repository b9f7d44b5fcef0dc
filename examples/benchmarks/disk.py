"""Compare epochs on a memory-mapped file with plain reading and with data in memory.

The file has just been written, so it is still in the page cache of the operating system. Reading
from a disk may be slower. *read* is the throughput of copying the file from the page cache, one
megabyte at a time. *epoch* is the throughput of an epoch on the memory map in float32, and *share*
is the time of plain reading divided by that of the epoch. */ memory* compares this epoch with one
on the same data as an array of float32. All times are the best of three. A network without hidden
layers does little besides reading. *growth* is the increase of the anonymous memory during a fit in
a new process, with 10% of the samples as the validation set. The benchmark asserts that the models
are equal.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from examples.benchmarks._fresh import in_fresh_process
from examples.benchmarks._timing import Options, seconds
from sknn import FeedForwardClassifier

N_FEATURES = 256
CASES = [  # dtype in the file, hidden layers, shuffled
    ("float32", (), False),
    ("float32", (), True),
    ("float32", (64,), True),
    ("float64", (), True),
    ("float16", (), True),
    ("uint8", (), True),
    ("uint8", (64,), True),
]


def write(path: Path, dtype: str, n_rows: int) -> np.memmap:
    """Write a file of integers from 0 to 99 in repeating blocks and return its memory map."""
    rows = np.memmap(path, dtype, "w+", shape=(n_rows, N_FEATURES))
    block = np.random.RandomState(0).randint(0, 100, (20_000, N_FEATURES)).astype(dtype)
    for start in range(0, n_rows, len(block)):
        rows[start : start + len(block)] = block[: n_rows - start]
    return np.memmap(path, dtype, "r", shape=rows.shape)


def read(rows: np.ndarray) -> None:
    """Copy the data into a buffer, one megabyte at a time."""
    size = 2**20 // rows[0].nbytes
    buffer = np.empty((size, N_FEATURES), rows.dtype)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        buffer[: len(part)] = part


def anonymous_megabytes() -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


@contextmanager
def watched(peak: list[float]) -> Iterator[None]:
    """Store the maximum of the anonymous memory in a list, measured every 10 ms."""
    is_over = threading.Event()

    def watch():
        while not is_over.wait(0.01):
            peak[0] = max(peak[0], anonymous_megabytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def epoch(model: FeedForwardClassifier) -> float:
    """Return the time of the fastest epoch of a fit in seconds."""
    return min(record["dur"] for record in model.net_.history)


def run(options: Options) -> Iterator[dict]:
    n_rows = 100_000 if options.quick else 1_000_000
    y = (np.arange(n_rows) % 3 == 0).astype(np.int64)
    for dtype, hidden, shuffle in CASES[3:5] if options.quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            yield compare(Path(folder) / "rows", dtype, y, hidden, shuffle)


def network(hidden: tuple[int, ...], shuffle: bool, **parameters) -> FeedForwardClassifier:
    return FeedForwardClassifier(
        hidden,
        dtype="float32",
        shuffle=shuffle,
        batch_size=1000,
        max_iter=3,
        random_state=0,
        **parameters,
    )


def growth(path: Path, dtype: str, y: np.ndarray, hidden: tuple[int, ...], shuffle: bool) -> float:
    """Return the memory growth of a fit in megabytes; runs in a new process."""
    rows = np.memmap(path, dtype, "r", shape=(len(y), N_FEATURES))
    model = network(hidden, shuffle, early_stopping=True).fit(rows[:5000], y[:5000])
    peak = [before := anonymous_megabytes()]
    with watched(peak):
        model.fit(rows, y)
    return peak[0] - before


def compare(path: Path, dtype: str, y: np.ndarray, hidden: tuple[int, ...], shuffle: bool) -> dict:
    rows = write(path, dtype, len(y))
    network(hidden, shuffle).fit(rows[:2000], y[:2000])
    reading = min(seconds(read, rows) for _ in range(3))
    of_file = network(hidden, shuffle).fit(rows, y)
    of_array = network(hidden, shuffle).fit(rows.astype(np.float32), y)
    for one, other in zip(of_file.coefs_, of_array.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)
    return {
        "in the file": dtype,
        "network": "-".join(map(str, (N_FEATURES, *hidden, 1))),
        "shuffled": "yes" if shuffle else "no",
        "read, GB/s": rows.nbytes / reading / 1e9,
        "epoch, GB/s": rows.nbytes / epoch(of_file) / 1e9,
        "share": reading / epoch(of_file),
        "/ memory": epoch(of_file) / epoch(of_array),
        "file, MB": rows.nbytes / 1e6,
        "growth, MB": in_fresh_process(growth, path, dtype, y, hidden, shuffle),
    }
