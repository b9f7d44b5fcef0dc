"""The score and the loss of the validation rows, computed once an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse
import torch

from sknn._data._validation_split import missing_classes
from sknn._network._inference import Forward, open_for, outputs_of
from sknn._network._losses import Loss
from sknn._platform._compat import as_tensor, feature_major
from sknn._platform._user_code import blamed_on
from sknn._training._problem import Problem, Scorer
from sknn._training._scorers import (
    averaged_over_classes,
    is_of_sklearn,
    metric_of,
    response_methods,
    takes_classes,
    takes_weights,
    used_method,
    with_classes,
)


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

    @cached_property
    def scorer(self) -> Scorer:
        """The user's scorer, which knows the classes of the network if it is of scikit-learn."""
        return with_classes(self.problem.scorer, self.estimator_now(), self.shown[1].ndim == 2)

    def check_scorer(self) -> None:
        """Refuse a scorer that must fail, before training.

        A metric of scikit-learn is tried: one of probabilities with the initial network, and one of
        predictions with those of `_possible_predictions`. Functions of the user are not tried, so
        that they are called once an epoch.

        Raises
        ------
        ValueError
            If the estimator lacks the method that the scorer needs, or the metric is not defined
            for the validation rows.
        """
        if self.problem.scorer is None or self.problem.scorer == "loss":
            return
        estimator = self.estimator_now()
        methods, method = response_methods(self.scorer), used_method(self.scorer, estimator)
        if methods and method is None:
            raise ValueError(
                f"The 'scoring' parameter needs {' or '.join(methods)}, which"
                f" {type(estimator).__name__} does not have. {self._advice}"
            )
        if not is_of_sklearn(self.scorer):
            return
        try:
            with warnings.catch_warnings():  # The epochs will warn.
                warnings.simplefilter("ignore")
                score = self._scored(self._possible_predictions(estimator, method))
        except Exception as error:
            if np.isfinite(self._outputs()).all():
                blame = self._blame
                if not takes_classes(self.scorer, estimator, method):
                    blame = blamed_on("The 'scoring' parameter", self._other_scorer)
                raise ValueError(blame.message_of(error)) from error
            return
        score = self._number(score)
        # A metric of predicted labels may be NaN only until the network predicts some class.
        if not (hasattr(estimator, "classes_") and method == "predict"):
            self._check_watchable(score)

    def __call__(self) -> tuple[float, float]:
        """Return the score, and the loss without penalty and label smoothing."""
        data, loss = self.problem.validation, self.problem.validation_loss
        both = self._outputs()
        n_outputs = both.shape[1] // 2
        raw, prediction = both[:, :n_outputs], both[:, n_outputs:]
        # A probability can be finite though its raw output is not, and so can a clipped prediction.
        is_finite = np.isfinite(both).all()
        value = self._loss(loss, raw)
        scorer = self.problem.scorer
        if not is_finite:
            score = np.nan
        elif scorer is None:
            score = self.problem.score(data.y, np.ascontiguousarray(prediction), data.sample_weight)
        elif scorer == "loss":
            score = -value
        else:
            with self._blame:
                score = self._scored()
            score = self._number(score)
            self._check_watchable(score)
        return score, value

    def score_of_a_constant(self) -> float | None:
        """Return the score of the best constant prediction for the validation rows.

        It is None if the scorer is the user's own function, which is called once an epoch only, or
        the best constant is not known. A metric of scikit-learn is computed for the network with an
        output layer that ignores its inputs.
        """
        problem, data, loss = self.problem, self.problem.validation, self.problem.validation_loss
        if problem.scorer is None and loss.output_activation in ("identity", "exp", "sort"):
            return 0.0  # by the definitions of R2 and of the D2 pinball score
        n_rows, n_outputs = len(data.y), problem.network.layer_units[-1]
        constants = loss.best_constants(data.y, data.sample_weight, n_outputs)
        if problem.scorer == "loss":
            if loss.is_of_the_user:
                return None
            rows = (np.tile(raw.astype(problem.dtype), (n_rows, 1)) for raw in constants)
            return -min(self._loss(loss, raw) for raw in rows)
        raw = constants[0]
        if problem.scorer is None:
            prediction = torch.from_numpy(raw)[:, None]
            loss.link(prediction)
            prediction = np.tile(prediction.numpy().T, (n_rows, 1))
            return problem.score(data.y, prediction, data.sample_weight)
        if not is_of_sklearn(self.scorer):
            return None
        estimator = self.estimator_now()
        scaling = estimator._output_scaling()
        if scaling is not None:
            raw = raw * scaling[1] + scaling[0]
        estimator.coefs_[-1] = np.zeros_like(estimator.coefs_[-1])
        estimator.intercepts_[-1] = np.zeros_like(estimator.intercepts_[-1]) + raw
        with warnings.catch_warnings():  # Some metrics warn of labels that are never predicted.
            warnings.simplefilter("ignore")
            score = self._number(self._scored(estimator=estimator))
        return None if np.isnan(score) else score

    def _outputs(self) -> np.ndarray:
        """Return the raw outputs for the validation rows, and beside them the predictions."""
        data = self.problem.validation
        transform = raw_and_linked(self.problem.validation_loss)
        with self.forward.evaluating():
            both = outputs_of(self._X, self.forward, transform, self._rows, self._source)
        if data.n_rows is not None:
            both = self.problem.shards.processes.concatenate(both, data.n_rows)
        return both

    def _loss(self, loss: Loss, raw: np.ndarray) -> float:
        terms = losses_of_rows(loss, raw, self._y)
        mean = terms.mean() if self._shares is None else torch.dot(terms, self._shares)
        return mean.item() * loss.reported_scale(raw.shape[1])

    def _possible_predictions(self, estimator: Any, method: str) -> np.ndarray | None:
        """Return predictions that a defined metric takes, or None if it takes probabilities.

        They hold all classes. Numbers are positive, because each metric of numbers takes these.
        """
        if method != "predict":
            return None
        y = self.shown[1]
        if not hasattr(estimator, "classes_"):
            return np.abs(y) + 0.5
        return y if y.ndim == 2 else np.resize(estimator.classes_, len(y))

    def _scored(self, predicted: np.ndarray | None = None, estimator: Any = None) -> Any:
        """Return what the user's scorer gives for the network, or its metric for predictions.

        An `estimator` takes the place of the network in training.
        """
        weight = {}
        if self.problem.validation.sample_weight is not None and takes_weights(self.scorer):
            weight["sample_weight"] = self.problem.validation.sample_weight
        if predicted is None:
            estimator = self.estimator_now() if estimator is None else estimator
            return self.scorer(estimator, *self.shown, **weight)
        metric, given = metric_of(self.scorer)
        return metric(self.shown[1], predicted, **given | weight)

    def _number(self, score: Any) -> float:
        """Return a score as a float, or raise if it is not one number."""
        if hasattr(score, "item"):
            with suppress(ValueError, RuntimeError):  # Arrays of several values raise these.
                score = score.item()
        if not isinstance(score, Real):
            raise ValueError(
                f"The 'scoring' parameter returned {score!r}. It must return one number for"
                " (estimator, X, y). Choose a scorer with a single metric."
            )
        return float(score)

    def _check_watchable(self, score: float) -> None:
        if self.must_stop and np.isnan(score):
            raise ValueError(
                "The 'scoring' parameter returned nan for the validation rows, although the"
                " predictions are finite, so early stopping cannot monitor it. The metric may not"
                f" be defined for these rows. {self._advice}"
            )

    @cached_property
    def _blame(self) -> blamed_on:
        return blamed_on("The 'scoring' parameter", self._advice)

    @cached_property
    def _advice(self) -> str:
        """What an error adds: the name of the scorer, the classes that are missing, ways out."""
        estimator, data = self.estimator_now(), self.problem.validation
        missing = ()
        if hasattr(estimator, "classes_"):
            missing = missing_classes(data, estimator.classes_)
        if not len(missing):
            return self._other_scorer
        what = "no row of the classes" if data.labels.ndim == 1 else "only one value of the labels"
        what = f"{what} {missing.tolist()}"
        return (
            f"The scorer is {self._name}, but the validation rows contain {what}. Set"
            " scoring='loss', increase validation_fraction, or pass X_val and y_val with rows of"
            " all classes."
        )

    @property
    def _other_scorer(self) -> str:
        estimator, such_as = self.estimator_now(), ","
        is_named = isinstance(estimator.scoring, str)
        if is_named and len(getattr(estimator, "classes_", ())) > 2:
            other = averaged_over_classes(estimator.scoring)
            such_as = f", such as {other!r}," if other else ","
        return f"The scorer is {self._name}. Choose another one{such_as} or set scoring='loss'."

    @cached_property
    def _name(self) -> str:
        scoring = self.estimator_now().scoring
        name = getattr(scoring, "__qualname__", type(scoring).__qualname__)
        with suppress(Exception):  # A scorer of a partial function may have no repr.
            name = repr(scoring) if name in ("str", "_Scorer") else name
        return name


def losses_of_rows(loss: Loss, raw: np.ndarray, y: torch.Tensor) -> torch.Tensor:
    """Return the losses of rows, shape (n_rows,), from raw outputs (n_rows, n_outputs).

    `y` holds the encoded targets of the rows, feature-major.
    """
    z = torch.from_numpy(raw).to(y.device).t()
    # The network predicts with the sorted or clipped outputs, so the loss is theirs too.
    if loss.output_activation == "sort" or loss.bounds is not None:
        loss.link(z)
    with torch.no_grad():
        return loss.terms(z, y).sum(0).cpu()


def raw_and_linked(loss: Loss) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that stacks raw outputs on their values after the output activation."""
    apply_ = loss.link
    return lambda z: torch.cat([z, apply_(z.clone())])
