"""The score and the loss of the validation rows, computed once an epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse
import torch

from sknn._data._validation_split import ValidationSet
from sknn._network._inference import Forward, open_for, outputs_of
from sknn._network._losses import Loss
from sknn._platform._compat import as_tensor, feature_major
from sknn._training._problem import Problem, Scorer


class Validation:
    """Function that computes the score and the loss of the validation rows.

    Parameters
    ----------
    problem : Problem
        The problem, which has validation rows.
    forward : Forward
        Function from rows to the raw outputs of the network in training.
    estimator_now : callable
        Function without arguments that returns an estimator with that network, for the user's
        scorer.
    must_stop : bool
        Whether stopping depends on the score, so that it has to be a number.
    """

    def __init__(
        self,
        problem: Problem,
        forward: Forward,
        estimator_now: Callable[[], Any],
        must_stop: bool,
    ) -> None:
        self.problem = problem
        self.forward = forward
        self.estimator_now = estimator_now
        self.must_stop = must_stop
        data = problem.validation
        device = forward.device
        self._y = feature_major(as_tensor(data.y).to(device))
        weight = data.sample_weight
        self._shares = None if weight is None else torch.from_numpy(weight / weight.sum())
        # A device keeps a copy of the rows. The CPU reads them where they are.
        self._X, self._rows, self._source = data.X, data.rows, None
        if device.type != "cpu":
            self._X, self._rows = data.X if data.rows is None else data.X[data.rows], None
            self._source = open_for(self._X, forward)

    @cached_property
    def shown(self) -> tuple[np.ndarray | scipy.sparse.csr_matrix, np.ndarray]:
        """Rows and labels for the user's scorers and callbacks."""
        data = self.problem.validation
        return data.X if data.rows is None else data.X[data.rows], data.labels

    def __call__(self) -> tuple[float, float]:
        """Return the score, and the loss without penalty and label smoothing."""
        data, loss = self.problem.validation, self.problem.validation_loss
        with self.forward.evaluating():
            both = outputs_of(self._X, self.forward, raw_and_linked(loss), self._rows, self._source)
        if data.n_rows is not None:
            both = self.problem.shards.processes.concatenate(both, data.n_rows)
        n_outputs = both.shape[1] // 2
        raw, prediction = both[:, :n_outputs], both[:, n_outputs:]
        value = self._loss(loss, raw)
        scorer = self.problem.scorer
        if not np.isfinite(both).all():  # a probability can be finite though its raw output is not
            score = np.nan
        elif scorer is None:
            score = self.problem.score(data.y, np.ascontiguousarray(prediction), data.sample_weight)
        elif scorer == "loss":
            score = -value
        else:
            score = self._user_score(scorer, data)
        return score, value

    def _loss(self, loss: Loss, raw: np.ndarray) -> float:
        terms = losses_of_rows(loss, raw, self._y)
        mean = terms.mean() if self._shares is None else torch.dot(terms, self._shares)
        return mean.item() * loss.reported_scale(raw.shape[1])

    def _user_score(self, scorer: Scorer, data: ValidationSet) -> float:
        weight = {}
        if data.sample_weight is not None and _takes_weights(scorer):
            weight["sample_weight"] = data.sample_weight
        score = scorer(self.estimator_now(), *self.shown, **weight)
        if hasattr(score, "item"):
            with suppress(ValueError, RuntimeError):  # Arrays of several values raise these.
                score = score.item()
        if not isinstance(score, Real):
            raise ValueError(
                f"The 'scoring' parameter gave {score!r}. It must give one number for an estimator,"
                " rows and targets: choose a scorer of a single metric."
            )
        if self.must_stop and np.isnan(score):
            raise ValueError(
                "The 'scoring' parameter gave nan for the validation rows although the predictions"
                " are finite, so early stopping has nothing to watch. The metric may not be defined"
                " for these rows (a class may be missing): choose another, or other rows."
            )
        return float(score)


def losses_of_rows(loss: Loss, raw: np.ndarray, y: torch.Tensor) -> torch.Tensor:
    """Return the losses of rows, shape (n_rows,), from raw outputs (n_rows, n_outputs).

    `y` holds the encoded targets of the rows, feature-major.
    """
    z = torch.from_numpy(raw).to(y.device).t()
    # The network predicts with the sorted outputs, so the loss is theirs too.
    if loss.output_activation == "sort":
        loss.link(z)
    with torch.no_grad():
        return loss.terms(z, y).sum(0).cpu()


def raw_and_linked(loss: Loss) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that stacks raw outputs on their values after the output activation."""
    apply_ = loss.link
    return lambda z: torch.cat([z, apply_(z.clone())])


def _takes_weights(scorer: Scorer) -> bool:
    """Return whether a scorer, or the metric of a scikit-learn scorer, accepts `sample_weight`."""
    function = getattr(scorer, "_score_func", scorer)
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)
