"""Learn from two million rows of a Parquet file, one row group at a time.

The rows are taxi rides, made up: how far, when, in what rain, and how many minutes each took. Rides
are slow in the rush hours of a working day, slower in rain, and luck does the rest. As the formula
is known, so is the best score that there can be: that of the expected minutes.

The script writes the file row group by row group, and learns from it by calls of `partial_fit`, one
for each row group, in several passes. The last tenth of the row groups is held out. With
``learning_rate="cosine"`` the rate falls to zero in `max_iter` calls, so `max_iter` is the number
of calls that there will be.

Run it with ``python examples/stream_parquet.py``; it takes some seconds. ``--rows`` says how many,
``--folder`` keeps the file. Expect a score near the best, and memory for a row group or two, of
however many. It needs pyarrow.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardRegressor

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise ImportError(
        "This example needs the package pyarrow: python -m pip install pyarrow"
    ) from error

# %%
# The rides, and the file
# -----------------------


def make_rides(n_rows, rng):
    """Return the columns of so many rides."""
    rides = {
        "km": rng.gamma(2.0, 2.5, n_rows).astype("float32"),
        "hour": rng.uniform(0, 24, n_rows).astype("float32"),
        "weekday": rng.integers(0, 7, n_rows).astype("int8"),
        "rain": (rng.exponential(1.0, n_rows) * (rng.random(n_rows) < 0.3)).astype("float32"),
    }
    luck = rng.gamma(20, 1 / 20, n_rows)  # of mean 1
    return rides | {"minutes": (expected_minutes(rides) * luck).astype("float32")}


def expected_minutes(rides):
    """Return the mean of the minutes of such rides, which no model can better."""
    hour = rides["hour"]
    rush = np.exp(-((hour - 8.5) ** 2) / 2) + np.exp(-((hour - 17.5) ** 2) / 4)
    rain = np.minimum(rides["rain"], 2)
    speed = 32 / (1 + (rides["weekday"] < 5) * rush) / (1 + 0.3 * rain)
    return 3 + 60 * rides["km"] / speed


def write(path, n_rows, seed=0):
    """Write rides to a file, in row groups of 50,000, or in ten if they are few."""
    rng = np.random.default_rng(seed)
    ends = np.linspace(0, n_rows, max(10, n_rows // 50_000) + 1, dtype=int)
    writer = None
    for n_in_group in np.diff(ends):
        table = pa.table(make_rides(n_in_group, rng))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def read(path, groups):
    """Yield the columns of each of these row groups; one is in memory at a time."""
    with pq.ParquetFile(path) as file:
        for group in groups:
            table = file.read_row_group(group)
            yield {name: table[name].to_numpy() for name in table.column_names}


# %%
# Learning
# --------


def features(rides):
    """Return rows for the network: distance, hour, rain, and a column for each weekday."""
    numbers = np.column_stack([rides["km"], rides["hour"], rides["rain"]])
    return np.hstack([numbers, rides["weekday"][:, None] == np.arange(7)]).astype("float32")


def learn(path, groups, n_passes, each_call=lambda: None):
    """Return the network, and the scalers of its rows and targets, which the first group sets."""
    first = next(read(path, groups[:1]))
    scaler = StandardScaler().fit(features(first))
    minutes = StandardScaler().fit(first["minutes"][:, None])
    network = FeedForwardRegressor(
        hidden_layer_sizes=(64, 32),
        batch_size=500,
        learning_rate="cosine",
        learning_rate_init=0.01,
        max_iter=n_passes * len(groups),  # calls of partial_fit
        random_state=0,
    )
    for _ in range(n_passes):
        for rides in read(path, groups):
            y = minutes.transform(rides["minutes"][:, None]).ravel()
            network.partial_fit(scaler.transform(features(rides)), y)
            each_call()
    return network, scaler, minutes


def anonymous_megabytes():
    """Return the memory of this process that is no file's; not a number where Linux is not."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--folder", help="where to leave rides.parquet; default: nowhere")
    options = parser.parse_args(arguments)
    if options.rows < 1000:
        parser.error("--rows: 1000 or more, got " + str(options.rows))
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(options.folder or temporary) / "rides.parquet"
        start = time.perf_counter()
        write(path, options.rows)
        n_groups = pq.read_metadata(path).num_row_groups
        size, seconds = path.stat().st_size / 1e6, time.perf_counter() - start
        print(f"{options.rows:,} rides in {n_groups} row groups, {size:.0f} MB, in {seconds:.1f} s")
        run(path, range(n_groups), options.passes)


def run(path, groups, n_passes):
    """Learn from the first nine tenths of the row groups, and score on the last."""
    n_held_out = len(groups) // 10
    learned, held_out = groups[:-n_held_out], groups[-n_held_out:]
    learn(path, learned[:1], 1)  # so that what is loaded late is there before it counts
    memory, start = [anonymous_megabytes()], time.perf_counter()
    network, scaler, minutes = learn(
        path, learned, n_passes, lambda: memory.append(anonymous_megabytes())
    )
    seconds = time.perf_counter() - start
    n_rows = network.t_
    print(f"learned from {n_rows:,} rows in {seconds:.1f} s: {n_rows / seconds:,.0f} rows/s")
    as_array = 4 * n_rows / n_passes * network.n_features_in_ / 1e6
    print(f"memory grew by {max(memory) - memory[0]:.0f} MB at most, between the calls;")
    print(f"as one array the rows would take {as_array:.0f} MB")

    truth, best, predicted = [], [], []
    for rides in read(path, held_out):
        truth.append(rides["minutes"])
        best.append(expected_minutes(rides))
        scaled = network.predict(scaler.transform(features(rides)))
        predicted.append(minutes.inverse_transform(scaled[:, None]).ravel())
    truth = np.concatenate(truth)
    print(f"R2 on {len(truth):,} rides held out:")
    for name, rows in [
        ("the mean", [np.full_like(truth, minutes.mean_[0])]),
        ("the network", predicted),
        ("the expected minutes", best),
    ]:
        print(f"  {name:<21}{r2_score(truth, np.concatenate(rows)):7.4f}")


if __name__ == "__main__":
    main()
