"""Measure the additional cost of each feature in a training step.

Each number is the time of a step with the feature divided by the time of the plain step. Both are
steps of sknn, measured as in `steps.py` on the same network and data. They take turns in one
process, and the table shows the median of the ratios of all turns. *nothing* is the plain step
divided by itself, which shows the size of random fluctuations.

Some features, such as a validation set and callbacks, add their cost once per epoch. This cost is
divided by the number of steps per epoch, which is 1 for 4-100-3, 9 for 64-100-10, and 10 for the
others.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from examples.benchmarks._peers import estimator
from examples.benchmarks._timing import Options, Summary, in_turn, summarize
from examples.benchmarks.steps import CASES, Case, step_time, with_network

NETWORKS = ("4-100-3", "64-100-10", "14-64-64-2", "784-256-128-10", "30-100-100-1")
DOUBLE = "64-100-10"  # also in float64
QUICK = ("64-100-10", "30-100-100-1")


def no_arguments(X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {}


def weights(X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {"sample_weight": np.linspace(0.5, 1.5, len(y))}


def validation_rows(X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return a quarter of the training set as the validation set."""
    return {"X_val": X[::4], "y_val": y[::4]}


def custom_loss(raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (raw - y).square().sum(1)


class EpochListener(Callback):
    """Does nothing at the end of each epoch."""

    def on_epoch_end(self, net, **kwargs) -> None:
        pass


class BatchListener(Callback):
    """Does nothing at the end of each batch."""

    def on_batch_end(self, net, **kwargs) -> None:
        pass


@dataclass(frozen=True)
class Feature:
    """Parameters, additional arguments of `fit`, and the estimators that have the feature."""

    parameters: dict[str, Any] = field(default_factory=dict)
    arguments: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]] = no_arguments
    of: tuple[str, ...] = ("classifier", "regressor")

    def fit(self, network, X, y, epochs) -> float:
        """Train a new network and return its loss, like the entries of `_peers.FITS`."""
        if network.loss == "squared error":
            y = np.exp(y / y.std())  # some losses need positive targets
        model = estimator("sknn", network, epochs).set_params(**self.parameters)
        return model.fit(X, y, **self.arguments(X, y)).loss_


PLAIN = Feature()
ADDED_ACTIVATIONS = ("leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus")
_classifier, _regressor = (partial(Feature, of=(kind,)) for kind in PLAIN.of)

FEATURES = {
    "nothing": PLAIN,
    "sample_weight": Feature(arguments=weights),
    "class_weight": _classifier({"class_weight": "balanced"}),
    "label_smoothing": _classifier({"label_smoothing": 0.1}),
    "focal": _classifier({"loss": "focal"}),
    "focal, label_smoothing": _classifier({"loss": "focal", "label_smoothing": 0.1}),
    "absolute_error": _regressor({"loss": "absolute_error"}),
    "huber": _regressor({"loss": "huber"}),
    "quantile": _regressor({"loss": "quantile"}),
    "quantile, 3 levels": _regressor({"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
    "poisson": _regressor({"loss": "poisson"}),
    "gamma": _regressor({"loss": "gamma"}),
    "loss of your own": Feature({"loss": custom_loss}),
    "dropout": Feature({"dropout": 0.5}),
    "input_dropout": Feature({"input_dropout": 0.2}),
    "max_grad_norm": Feature({"max_grad_norm": 1.0}),
    "cosine": Feature({"learning_rate": "cosine"}),
    "warmup_fraction": Feature({"warmup_fraction": 0.1}),
    "adamw": Feature({"solver": "adamw"}),
    "torch.optim.Adam": Feature({"solver": torch.optim.Adam}),
    **{name: Feature({"activation": name}) for name in ADDED_ACTIVATIONS},
    "modules of your own": Feature({"activation": torch.nn.PReLU}),
    "layer normalization": Feature({"normalization": "layer"}),
    "batch normalization": Feature({"normalization": "batch"}),
    "X_val": Feature(arguments=validation_rows),
    "callback, of epochs": Feature({"callbacks": [EpochListener]}),
    "callback, of batches": Feature({"callbacks": [BatchListener]}),
}


def cases(quick: bool) -> dict[str, Case]:
    """Return the cases by column heading; with `quick`, one network of each kind."""
    chosen = {}
    for case in CASES:
        name = case.network.name
        if name not in (QUICK if quick else NETWORKS):
            continue
        chosen[name] = replace(case, epochs=case.epochs // 4) if quick else case
        if name == DOUBLE and not quick:
            chosen[f"{name}, float64"] = with_network(case, dtype="float64")
    return chosen


def is_measured(feature: Feature, case: Case, quick: bool) -> bool:
    """Return whether the feature is measured for this case; with `quick`, only for one kind."""
    kind = "regressor" if case.network.loss == "squared error" else "classifier"
    return kind in (feature.of[:1] if quick else feature.of)


def cost(feature: Feature, case: Case, repeats: int, burn_in: int) -> Summary:
    """Return the time of a step with the feature divided by that of the plain step."""
    measure = {
        "with": partial(step_time, case, feature.fit),
        "plain": partial(step_time, case, PLAIN.fit),
    }
    times = in_turn(measure, repeats, burn_in)
    return summarize([a / b for a, b in zip(times["with"], times["plain"], strict=True)])


def run(options: Options) -> Iterator[dict]:
    repeats, burn_in = options.count(full=5, quick=1), int(not options.quick)
    chosen = cases(options.quick)
    for name, feature in FEATURES.items():
        costs = {
            column: cost(feature, case, repeats, burn_in)
            for column, case in chosen.items()
            if is_measured(feature, case, options.quick)
        }
        yield {
            **{"feature": name, **dict.fromkeys(chosen)},
            **{column: result.median for column, result in costs.items()},
            "unsteady": [column for column, result in costs.items() if not result.steady],
        }
