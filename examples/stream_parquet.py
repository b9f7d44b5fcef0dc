"""Learn from two million rows of a Parquet file, one row group at a time.

The rows are synthetic taxi rides. The columns are the distance, the hour, the weekday, the rain,
and the duration in minutes. Rides take longer in the rush hours of working days and in rain, and
the duration has random noise. Because the formula is known, the best possible score is known as
well: it is the score of the expected duration.

The script writes the file one row group at a time. It then makes several passes over the file, with
one call of `partial_fit` per row group. The last tenth of the row groups is held-out data. With
``learning_rate="cosine"``, the learning rate decreases to zero in `max_iter` calls of
`partial_fit`, so `max_iter` has to be the total number of calls.

Run it with ``python examples/stream_parquet.py``. It takes some seconds and needs pyarrow.
``--rows`` sets the number of rows, and ``--folder`` sets a folder in which the file is kept. Expect
a score close to the best possible one. The memory should only grow by the size of one or two row
groups, regardless of the number of row groups in the file.
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
# Data
# ----


def make_rides(n_rows, rng):
    """Return the columns of `n_rows` rides."""
    rides = {
        "km": rng.gamma(2.0, 2.5, n_rows).astype("float32"),
        "hour": rng.uniform(0, 24, n_rows).astype("float32"),
        "weekday": rng.integers(0, 7, n_rows).astype("int8"),
        "rain": (rng.exponential(1.0, n_rows) * (rng.random(n_rows) < 0.3)).astype("float32"),
    }
    luck = rng.gamma(20, 1 / 20, n_rows)  # with a mean of 1
    return rides | {"minutes": (expected_minutes(rides) * luck).astype("float32")}


def expected_minutes(rides):
    """Return the expected duration of each ride in minutes, which no model can improve on."""
    hour = rides["hour"]
    rush = np.exp(-((hour - 8.5) ** 2) / 2) + np.exp(-((hour - 17.5) ** 2) / 4)
    rain = np.minimum(rides["rain"], 2)
    speed = 32 / (1 + (rides["weekday"] < 5) * rush) / (1 + 0.3 * rain)
    return 3 + 60 * rides["km"] / speed


def write(path, n_rows, seed=0):
    """Write rides to a file, in row groups of 50,000 or in ten row groups if there are few."""
    rng = np.random.default_rng(seed)
    ends = np.linspace(0, n_rows, max(10, n_rows // 50_000) + 1, dtype=int)
    writer = None
    for n_in_group in np.diff(ends):
        table = pa.table(make_rides(n_in_group, rng))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def read(path, groups):
    """Yield the columns of each of these row groups, with one row group in memory at a time."""
    with pq.ParquetFile(path) as file:
        for group in groups:
            table = file.read_row_group(group)
            yield {name: table[name].to_numpy() for name in table.column_names}


# %%
# Training
# --------


def features(rides):
    """Return the input of the network: distance, hour, rain, and a column for each weekday."""
    numbers = np.column_stack([rides["km"], rides["hour"], rides["rain"]])
    return np.hstack([numbers, rides["weekday"][:, None] == np.arange(7)]).astype("float32")


def learn(path, groups, n_passes, each_call=lambda: None):
    """Return the network and the scalers of inputs and targets, fitted on the first row group."""
    first = next(read(path, groups[:1]))
    scaler = StandardScaler().fit(features(first))
    minutes = StandardScaler().fit(first["minutes"][:, None])
    network = FeedForwardRegressor(
        hidden_layer_sizes=(64, 32),
        batch_size=500,
        learning_rate="cosine",
        learning_rate_init=0.01,
        max_iter=n_passes * len(groups),  # number of calls of partial_fit
        random_state=0,
    )
    for _ in range(n_passes):
        for rides in read(path, groups):
            y = minutes.transform(rides["minutes"][:, None]).ravel()
            network.partial_fit(scaler.transform(features(rides)), y)
            each_call()
    return network, scaler, minutes


def anonymous_megabytes():
    """Return the anonymous memory of this process in megabytes, or NaN if it is not on Linux."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--folder", help="keep rides.parquet in this folder")
    options = parser.parse_args(arguments)
    if options.rows < 1000:
        parser.error(f"--rows must be at least 1000, got {options.rows}")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(options.folder or temporary) / "rides.parquet"
        start = time.perf_counter()
        write(path, options.rows)
        n_groups = pq.read_metadata(path).num_row_groups
        size, seconds = path.stat().st_size / 1e6, time.perf_counter() - start
        print(f"{options.rows:,} rides in {n_groups} row groups, {size:.0f} MB, in {seconds:.1f} s")
        run(path, range(n_groups), options.passes)


def run(path, groups, n_passes):
    """Train on the first nine tenths of the row groups and evaluate on the last tenth."""
    n_held_out = len(groups) // 10
    learned, held_out = groups[:-n_held_out], groups[-n_held_out:]
    learn(path, learned[:1], 1)  # load everything that is loaded lazily, before the measurement
    memory, start = [anonymous_megabytes()], time.perf_counter()
    network, scaler, minutes = learn(
        path, learned, n_passes, lambda: memory.append(anonymous_megabytes())
    )
    seconds = time.perf_counter() - start
    n_rows = network.t_
    print(f"trained on {n_rows:,} rows in {seconds:.1f} s: {n_rows / seconds:,.0f} rows/s")
    as_array = 4 * n_rows / n_passes * network.n_features_in_ / 1e6
    print(f"memory grew by at most {max(memory) - memory[0]:.0f} MB between calls,")
    print(f"whereas all rows as a single array would take {as_array:.0f} MB")

    truth, best, predicted = [], [], []
    for rides in read(path, held_out):
        truth.append(rides["minutes"])
        best.append(expected_minutes(rides))
        scaled = network.predict(scaler.transform(features(rides)))
        predicted.append(minutes.inverse_transform(scaled[:, None]).ravel())
    truth = np.concatenate(truth)
    print(f"R2 on {len(truth):,} held-out rides:")
    for name, rows in [
        ("mean", [np.full_like(truth, minutes.mean_[0])]),
        ("network", predicted),
        ("expected duration", best),
    ]:
        print(f"  {name:<21}{r2_score(truth, np.concatenate(rows)):7.4f}")


if __name__ == "__main__":
    main()
