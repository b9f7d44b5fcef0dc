"""Compare models for tables: their scores and their cost.

Each dataset is split at random three times into a training set (75%) and a test set (25%). The
table shows means over the splits: the error (the share of wrong labels) or the RMSE, the log loss,
and the CPU time of `fit` and of the predictions in seconds on one thread. The last rows contain
geometric means of the ratios. If one of the two numbers is zero, there is no ratio, and the
geometric mean leaves the dataset out.

All models get the same data frames and use their default parameters. *MLP* is scikit-learn's
network. Its columns are prepared by skrub and scaled by a `StandardScaler`, and so is the target in
regression. *trees* is `HistGradientBoosting` in the pipeline of `skrub.tabular_pipeline`.
*RealMLP_TD* and *RealMLP_TD_S* are the networks of pytabkit (Holzmueller et al., 2024). They are
included if pytabkit can be imported, which needs a separate environment:

    python -m venv .venv-tables
    .venv-tables/bin/python -m pip install -c constraints.txt -e ".[tabular]" pytabkit==1.8.0
    .venv-tables/bin/python -m examples.benchmarks --only tabular --data FOLDER

The datasets are those of scikit-learn and eight others, which are read as `<name>.csv.gz` from a
folder. Five of these eight are also available on OpenML. With all models and datasets, the
benchmark takes hours, because RealMLP_TD needs minutes per fit.
"""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from sklearn import datasets
from sklearn.base import BaseEstimator
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from examples.benchmarks import _data
from examples.benchmarks._timing import Options
from sknn import tabular_pipeline


class Table(NamedTuple):
    """A dataset: the kind of its target, and the function that loads it from a folder."""

    kind: str
    load: Callable


def _of_scikit_learn(load: Callable) -> Callable:
    return lambda folder: load(return_X_y=True, as_frame=True)


def _of_folder(name: str) -> Callable:
    return lambda folder: _data.load_table(name, folder)


def _diamonds(folder: str | None) -> tuple | None:
    table = _data.load_table("diamonds", folder)
    return table and (table[0], np.log(table[1].astype(float)))


TABLES = {
    "wine": Table("classifier", _of_scikit_learn(datasets.load_wine)),
    "breast_cancer": Table("classifier", _of_scikit_learn(datasets.load_breast_cancer)),
    "diabetes": Table("regressor", _of_scikit_learn(datasets.load_diabetes)),
    "digits": Table("classifier", _of_scikit_learn(datasets.load_digits)),
    "phoneme": Table("classifier", _of_folder("phoneme")),
    "spambase": Table("classifier", _of_folder("spambase")),
    "flchain": Table("classifier", _of_folder("flchain")),
    "magic": Table("classifier", _of_folder("magic")),
    "letter": Table("classifier", _of_folder("letter")),
    "wages": Table("regressor", _of_folder("wages")),
    "movies": Table("regressor", _of_folder("movies")),
    "diamonds": Table("regressor", _diamonds),
}
QUICK = ("wine", "diabetes")


def _mlp(kind: str, seed: int) -> BaseEstimator:
    network = {"classifier": MLPClassifier, "regressor": MLPRegressor}[kind](random_state=seed)
    # The names of the steps do not matter. This replaces the scaler of `tabular_pipeline`.
    model = tabular_pipeline(network).set_params(scaler=StandardScaler())
    if kind == "regressor":
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return model


def _trees(kind: str, seed: int) -> BaseEstimator:
    import skrub

    model = skrub.tabular_pipeline(kind)
    return model.set_params(**{f"{model.steps[-1][0]}__random_state": seed})


def _real_mlp(name: str, kind: str, seed: int) -> BaseEstimator:
    import pytabkit
    from skrub import TableVectorizer, ToCategorical

    network = getattr(pytabkit, f"{name}_{kind.capitalize()}")
    # RealMLP accepts categories, but no missing numbers.
    fill_in = make_column_transformer(
        (SimpleImputer(add_indicator=True), make_column_selector(dtype_include="number")),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    return make_pipeline(
        TableVectorizer(low_cardinality=ToCategorical()),
        fill_in,
        network(device="cpu", n_threads=1, random_state=seed),
    )


MODELS = {
    "sknn": lambda kind, seed: tabular_pipeline(kind, random_state=seed),
    "MLP": _mlp,
    "trees": _trees,
    "RealMLP_TD": functools.partial(_real_mlp, "RealMLP_TD"),
    "RealMLP_TD_S": functools.partial(_real_mlp, "RealMLP_TD_S"),
}


def models() -> dict[str, Callable]:
    """Return the models that can be imported."""
    if importlib.util.find_spec("pytabkit") is not None:
        return MODELS
    return {name: make for name, make in MODELS.items() if not name.startswith("RealMLP")}


def cpu_seconds(function: Callable) -> tuple[float, object]:
    """Return the CPU time of a call, summed over all threads, and its result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def results(model: BaseEstimator, kind: str, X, X_test, y, y_test) -> dict[str, float]:
    """Fit a model and return the measurements by name."""
    fit, _ = cpu_seconds(lambda: model.fit(X, y))
    if kind == "regressor":
        predict, p = cpu_seconds(lambda: model.predict(X_test))
        error = float(np.sqrt(np.mean((np.ravel(p) - y_test) ** 2)))
        return {"RMSE": error, "fit, CPU s": fit, "predict, CPU s": predict}
    predict, p = cpu_seconds(lambda: model.predict_proba(X_test))
    p = np.asarray(p, np.float64)
    p /= p.sum(axis=1, keepdims=True)  # float32 sums are only approximately one
    return {
        "error": float(np.mean(model.classes_[p.argmax(axis=1)] != y_test)),
        "log loss": float(log_loss(y_test, p, labels=model.classes_)),
        "fit, CPU s": fit,
        "predict, CPU s": predict,
    }


def ratio(value: float, other: float | None) -> float | None:
    """Return the ratio of two measurements, or None if there is none."""
    return value / other if value and other else None


def rows_of(name: str, table: Table, options: Options) -> Iterator[dict]:
    """Yield one row of the table per measurement for a dataset."""
    loaded = table.load(options.data)
    if loaded is None:
        return
    X, y = loaded
    # Every version of every model accepts plain arrays of numbers or strings.
    y = y.to_numpy(np.float64) if table.kind == "regressor" else y.to_numpy().astype(str)
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.count(full=3, quick=1)):
        strata = y if table.kind == "classifier" else None
        split = train_test_split(X, y, stratify=strata, random_state=seed)
        for peer, make in models().items():
            for what, value in results(make(table.kind, seed), table.kind, *split).items():
                found.setdefault(what, {}).setdefault(peer, []).append(value)
    for what, by_peer in found.items():
        means = {
            peer: float(np.mean(by_peer[peer])) if peer in by_peer else None for peer in MODELS
        }
        labels = {"data": name, "rows": X.shape[0], "columns": X.shape[1], "what": what}
        own, *others = MODELS
        ratios = {f"/ {peer}": ratio(means[own], means[peer]) for peer in others}
        yield {**labels, **means, **ratios}


def geometric_means(rows: list[dict]) -> Iterator[dict]:
    """Yield a row with the geometric mean of the ratios for each measurement.

    RMSE and error count as the same measurement.
    """
    kinds = {"error or RMSE": ("error", "RMSE")}
    kinds |= {what: (what,) for what in ("log loss", "fit, CPU s", "predict, CPU s")}
    for what, names in kinds.items():
        of_kind = [row for row in rows if row["what"] in names]
        mean = {"data": "geometric mean", "rows": None, "columns": None, "what": what}
        mean |= dict.fromkeys(MODELS)
        for peer in list(MODELS)[1:]:
            ratios = [row[f"/ {peer}"] for row in of_kind if row[f"/ {peer}"] is not None]
            mean[f"/ {peer}"] = float(np.exp(np.mean(np.log(ratios)))) if ratios else None
        yield mean


def run(options: Options) -> Iterator[dict]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            rows = []
            for name in QUICK if options.quick else TABLES:
                for row in rows_of(name, TABLES[name], options):
                    rows.append(row)
                    yield row
            yield from geometric_means(rows)
    finally:
        torch.set_num_threads(n_threads)
