"""Compare what the last wave of `early_stopping="waves"` can do on noisy tables of classes.

    python -m examples.benchmarks.waves [--data FOLDER] [--only NAME ...]

The rule in `sknn/_training/_waves.py` decides by the gain: the share of the validation loss that
the third wave takes off the best end before it. Each sample is a stratified random split of a
table. The name says how many rows the training set has if it is not 75% of all, which share of its
labels is replaced at random, and the number of classes that a numeric target was cut into. The
labels of the test set are unchanged.

The columns are the gain, what the rule does, and the error and the log loss on the test set, each
for three treatments of the last wave: *best* keeps the best end, *all rows* learns from the
validation rows too, and *raised* does so with more dropout and weight decay. The last lines are
geometric means of the ratios to *best*, over the samples for which the rule does the same. Errors
of zero are left out. Nothing is asserted. With all samples, the script takes half an hour.
"""

import argparse
import math
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from examples.benchmarks import _report
from examples.benchmarks.tabular import TABLES
from sknn import tabular_pipeline
from sknn._training import _waves

# Name of the table, classes that the target is cut into, rows of the training set, wrong labels.
SAMPLES = {
    "breast_cancer": ("breast_cancer", None, None, 0.0),
    "digits, 30% noise": ("digits", None, None, 0.3),
    "phoneme": ("phoneme", None, None, 0.0),
    "phoneme, 10% noise": ("phoneme", None, None, 0.1),
    "phoneme, 30% noise": ("phoneme", None, None, 0.3),
    "spambase": ("spambase", None, None, 0.0),
    "spambase, 1500 rows": ("spambase", None, 1500, 0.0),
    "spambase, 10% noise": ("spambase", None, None, 0.1),
    "flchain": ("flchain", None, None, 0.0),
    "flchain, 2000 rows": ("flchain", None, 2000, 0.0),
    "magic": ("magic", None, None, 0.0),
    "magic, 2000 rows": ("magic", None, 2000, 0.0),
    "magic, 6000 rows": ("magic", None, 6000, 0.0),
    "letter, 4000 rows, 30% noise": ("letter", None, 4000, 0.3),
    "wages, 2 classes": ("wages", 2, None, 0.0),
    "wages, 4 classes": ("wages", 4, None, 0.0),
    "movies, 3 classes": ("movies", 3, None, 0.0),
    "diamonds, 5 classes, 5000 rows": ("diamonds", 5, 5000, 0.0),
}
N_SPLITS = 3
# Methods in place of `Waves.raise_in_last_wave` that always decide the same.
TREATMENTS = {
    "best": lambda waves, records: None,
    "all rows": lambda waves, records: 0.0,
    "raised": lambda waves, records: (
        1 + _waves.PER_RISE * min(max(0.0, -waves.gain(records)), _waves.MOST_RISE)
    ),
}


def split_of(name: str, seed: int, folder: str | None) -> list | None:
    """Return the training and the test part of a sample's table, or None if it is not there."""
    table, n_classes, n_rows, noise = SAMPLES[name]
    loaded = TABLES[table].load(folder)
    if loaded is None:
        return None
    X, y = loaded
    if n_classes is not None:
        y = pd.qcut(y.astype(float), n_classes, labels=False, duplicates="drop")
    y = y.to_numpy().astype(str)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(X))[:n_rows]
    X, y = X.iloc[rows], y[rows]
    wrong = rng.random(len(y)) < noise
    y[wrong] = rng.permutation(y)[wrong]
    return [X, X_test, y, y_test]


def decision(losses: list[float], n_validation_rows: int) -> tuple[float, str]:
    """Return the gain of the third wave, and the treatment that the rule chooses for it."""
    waves = _waves.Waves.of(len(losses), 0.0, n_validation_rows)._replace(can_raise=True)
    records = [{"valid_loss": loss} for loss in losses]
    raised = waves.raise_in_last_wave(records)
    treatment = "best" if raised is None else "raised" if raised else "all rows"
    return waves.gain(records), treatment


def rows_of(name: str, folder: str | None) -> Iterator[dict]:
    """Yield a row for each split of a sample."""
    for seed in range(N_SPLITS):
        split = split_of(name, seed, folder)
        if split is None:
            return
        X, X_test, y, y_test = split
        pipeline = tabular_pipeline("classifier", random_state=seed)
        preparation = pipeline[:-1]
        X, X_test = preparation.fit_transform(X), preparation.transform(X_test)
        row = {"sample": name, "split": seed}
        for treatment, rule in TREATMENTS.items():
            always = {"raise_in_last_wave": rule, "has_risen": lambda waves, records: False}
            with patch.multiple(_waves.Waves, **always):
                network = clone(pipeline[-1]).fit(X, y)
            p = network.predict_proba(X_test).astype(float)
            if treatment == "best":
                n_held_out = math.ceil(len(y) * network.validation_fraction)
                row["gain"], row["rule"] = decision(network.validation_loss_curve_, n_held_out)
            row[f"error, {treatment}"] = float(np.mean(network.predict(X_test) != y_test))
            p /= p.sum(axis=1, keepdims=True)
            row[f"log loss, {treatment}"] = float(log_loss(y_test, p, labels=network.classes_))
        yield row


def geometric_means(rows: list[dict]) -> Iterator[dict]:
    """Yield the geometric means of the ratios to *best*, for each choice of the rule."""
    for rule in TREATMENTS:
        of_rule = [row for row in rows if row["rule"] == rule]
        if not of_rule:
            continue
        mean = {"sample": f"mean of {len(of_rule)}", "split": None, "gain": None, "rule": rule}
        for treatment in TREATMENTS:
            for what in ("error", "log loss"):
                pairs = [(row[f"{what}, {treatment}"], row[f"{what}, best"]) for row in of_rule]
                logs = [math.log(own / best) for own, best in pairs if own and best]
                mean[f"{what}, {treatment}"] = math.exp(np.mean(logs)) if logs else None
        yield mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="folder with letter.csv.gz, ...")
    parser.add_argument("--only", nargs="+", choices=SAMPLES, default=SAMPLES, metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1):
        for name in arguments.only:
            for row in rows_of(name, arguments.data):
                if not rows:
                    print(_report.heading(row))
                print(_report.line(row), flush=True)
                rows.append(row)
    for mean in geometric_means(rows):
        print(_report.line(mean))


if __name__ == "__main__":
    main()
