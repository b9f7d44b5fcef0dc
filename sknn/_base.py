"""scikit-learn's face: parameters, validation, fit, partial_fit, fitted attributes, tags.

torch and skorch are imported where training or prediction begins, not here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral, Real
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

if TYPE_CHECKING:
    from sknn._net import FeedForwardNet
    from sknn._problem import Problem, State

_STOCHASTIC_SOLVERS = ("sgd", "adam")
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Values of an array whose validation, beside the network's work, is worth saving.
_SHORT = 10_000
# Of the fitted attributes, those that only a stochastic solver sets.
_STOCHASTIC_ATTRIBUTES = {
    "loss_curve_": "loss_curve",
    "validation_scores_": "validation_scores",
    "best_loss_": "best_loss",
    "best_validation_score_": "best_validation_score",
    "_no_improvement_count": "no_improvement_count",
}


@contextmanager
def unchanged_on_failure(estimator: BaseEstimator) -> Iterator[None]:
    """Put all attributes back if the body raises: a failed fit leaves the model that was there."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _is_stochastic(estimator: BaseFeedForward) -> bool:
    if estimator.solver not in _STOCHASTIC_SOLVERS:
        raise AttributeError(
            "partial_fit is only available for stochastic"
            f" optimizers. {estimator.solver} is not stochastic."
        )
    return True


class BaseFeedForward(BaseEstimator, ABC):
    """What the classifier and the regressor share.

    Subclasses say how targets are checked and encoded (`_check_targets`), which loss they are
    learned by (`_loss_name`), and how they are scored (`_score_encoded`).
    """

    _numeric_targets: ClassVar[bool]
    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dtype": [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        "device": [str],
    }

    @abstractmethod
    def _check_targets(
        self, y: np.ndarray, classes: Any, first_pass: bool, dtype: np.dtype
    ) -> np.ndarray:
        """Check targets against the model that is there, and encode them for the loss."""

    @abstractmethod
    def _loss_name(self) -> str:
        """The key of `sknn._losses.LOSSES` to learn by."""

    @abstractmethod
    def _n_outputs(self, y: np.ndarray) -> int:
        """Number of output units for encoded targets."""

    @abstractmethod
    def _stratify(self, y: np.ndarray) -> np.ndarray | None:
        """What the validation split is stratified by."""

    @abstractmethod
    def _score_encoded(
        self, y: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None
    ) -> float:
        """The score that early stopping watches, of encoded targets and the network's output."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the network to data and targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows to learn from. With `dtype="auto"` they are computed with in float32 if they
            are float32, else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or a multilabel indicator, for the classifier; numbers, for the regressor.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None is the same as all ones.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data are unusable, `device` is absent, or the weights have become non-finite. The
            estimator is then as it was before the call.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If `max_iter` ends the training, or if it diverges with early stopping.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X, y, sample_weight, incremental, classes=None):
        """`fit`, or one epoch of it."""
        from sknn._training import train

        with unchanged_on_failure(self):
            hidden_units = self._hidden_units()
            first_pass = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
            X, y, sample_weight = self._check_data(X, y, sample_weight, first_pass)
            y = self._check_targets(y, classes, first_pass, X.dtype)
            units = (X.shape[1], *hidden_units, self._n_outputs(y))
            random_state = check_random_state(self.random_state)
            state = self._state(units, random_state, first_pass, X.dtype)
            problem = self._problem(X, y, sample_weight, units, random_state, incremental)
            settings = SimpleNamespace(**{n: getattr(self, n) for n in self._parameter_constraints})
            self._publish(train(problem, state, settings, random_state, incremental), problem)
        return self

    def _hidden_units(self) -> tuple[int, ...]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes must hold integers, one for each hidden layer, got {sizes}."
            )
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return tuple(int(size) for size in sizes)

    def _compute_dtype(self, first_pass: bool) -> list[type] | type:
        """The dtype of the computation, as `validate_data` takes it; the first is the default."""
        if self.dtype == "bfloat16":
            return np.float32
        if self.dtype != "auto":
            return np.dtype(self.dtype).type
        if first_pass:
            return [np.float64, np.float32]
        return self._model_dtype()

    def _model_dtype(self) -> type:
        """The dtype of the weights that are there: float64 unless they are float32."""
        return np.float32 if np.asarray(self.coefs_[0]).dtype == np.float32 else np.float64

    def _check_data(self, X, y, sample_weight, first_pass):
        """Rows, targets and weights as arrays; the feature names are noted."""
        with np.errstate(over="ignore"):  # what float32 cannot hold is an error of its own
            X, y = validate_data(
                self,
                X,
                y,
                accept_sparse="csr",
                multi_output=True,
                y_numeric=self._numeric_targets,
                dtype=self._compute_dtype(first_pass),
                order="C",
                reset=first_pass,
            )
            if y.ndim == 2 and y.shape[1] == 1:
                y = column_or_1d(y, warn=True)
            if sample_weight is not None:
                sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
                total = sample_weight.sum()
                if total == 0 or not np.isfinite(total):
                    raise ValueError(
                        f"The sum of sample_weight is {total} in {X.dtype}. It must be finite, and"
                        " not zero: negative weights must not cancel the others."
                    )
        return X, y, sample_weight

    def _problem(self, X, y, sample_weight, units, random_state, incremental) -> Problem:
        """What is to be learned, its validation rows set aside."""
        from sknn._batches import split_rows
        from sknn._problem import Problem

        problem = Problem(X, y, sample_weight, self._loss_name(), units, score=self._score_encoded)
        if not self.early_stopping or self.solver not in _STOCHASTIC_SOLVERS:
            return problem
        if incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        train_rows, valid_rows = split_rows(
            len(y), self.validation_fraction, random_state, self._stratify(y)
        )
        for name, rows in (("training", train_rows), ("validation", valid_rows)):
            if sample_weight is not None and sample_weight[rows].sum() == 0:
                raise ValueError(
                    "Sample weights must contain at least one non-zero number."
                    f" Those of the {len(rows)} {name} rows sum to zero: change random_state or"
                    " validation_fraction, or leave out the rows without weight."
                )
        return problem._replace(train_rows=train_rows, valid_rows=valid_rows)

    def _state(self, units, random_state, first_pass, dtype) -> State:
        """Where training starts: new weights, or the model that is there."""
        from sknn._module import initial_parameters
        from sknn._problem import State
        from sknn._stopping import Progress

        if first_pass:
            return State(*initial_parameters(units, self.activation, random_state, dtype))
        self._check_weights(units)
        progress = {
            name: getattr(self, attribute)
            for attribute, name in _STOCHASTIC_ATTRIBUTES.items()
            if hasattr(self, attribute)
        }
        return State(
            self.coefs_,
            self.intercepts_,
            getattr(self, "_solver_state", None),
            Progress(**progress, n_samples_seen=getattr(self, "t_", 0)),
            getattr(self, "_history", []),
            loss=getattr(self, "loss_", np.nan),
        )

    def _publish(self, state: State, problem: Problem) -> None:
        """Set the fitted attributes."""
        from sknn._losses import LOSSES

        for name in (*_STOCHASTIC_ATTRIBUTES, "_solver_state"):
            vars(self).pop(name, None)
        if state.solver is not None:
            for attribute, name in _STOCHASTIC_ATTRIBUTES.items():
                setattr(self, attribute, getattr(state.progress, name))
            self._solver_state = state.solver
        self.coefs_ = state.coefs
        self.intercepts_ = state.intercepts
        self.loss_ = state.loss
        self.n_iter_ = state.n_iter
        self.t_ = state.progress.n_samples_seen
        self.n_layers_ = len(problem.layer_units)
        self.n_outputs_ = problem.layer_units[-1]
        self.out_activation_ = LOSSES[problem.loss].output_activation
        self.device_ = state.device
        self._history = state.history

    def _outputs(self, X, of: Callable) -> np.ndarray:
        """What a function of `sknn._inference` makes of the network's outputs for rows."""
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)
        from sknn._compat import as_tensor
        from sknn._devices import is_present
        from sknn._inference import outputs_of

        if not self._is_valid(X):
            X = validate_data(self, X, accept_sparse="csr", reset=False)
        dtype = self._model_dtype()
        if X.dtype not in _FLOATS:
            X = X.astype(dtype)
        self._check_weights((self.n_features_in_, *map(len, self.intercepts_)))
        device = self.device_ if is_present(self.device_) else "cpu"
        return outputs_of(
            X,
            [as_tensor(np.asarray(coef, dtype).T).to(device) for coef in self.coefs_],
            [as_tensor(np.asarray(intercept, dtype)).to(device) for intercept in self.intercepts_],
            self.activation,
            of(self.out_activation_),
        )

    def _is_valid(self, X) -> bool:
        """Whether scikit-learn's validation, half the time of a short call, would find nothing."""
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in _FLOATS
            and 0 < X.size <= _SHORT
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
            and bool(np.isfinite(X).all())
        )

    def _check_weights(self, units: tuple[int, ...]) -> None:
        """Refuse `coefs_` and `intercepts_` whose shapes are not those of layers of these units."""
        expected = (
            ("coefs_", self.coefs_, list(pairwise(units))),
            ("intercepts_", self.intercepts_, [(n_out,) for n_out in units[1:]]),
        )
        for name, arrays, shapes in expected:
            there = [np.shape(array) for array in arrays]
            if there != shapes:
                raise ValueError(
                    f"The model that is there has {name} of shapes {there}, but the number of"
                    f" features, hidden_layer_sizes={self.hidden_layer_sizes} and intercepts_ ask"
                    f" for {shapes}. Keep them, or fit anew with warm_start=False."
                )

    @property
    def net_(self) -> FeedForwardNet:
        """The model as a skorch net, for reading: made anew on each access.

        Returns
        -------
        FeedForwardNet
            With a copy of the weights in `module_`, and the training history in `history`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before the first `fit`.
        """
        check_is_fitted(self)
        from sknn._net import net_of

        return net_of(
            self.coefs_, self.intercepts_, self.activation, self._loss_name(), self._history
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if getattr(self, "device_", "cpu") != "cpu":
            from sknn._devices import is_present

            if not is_present(self.device_):
                self.device_ = "cpu"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


partial_fit_available = available_if(_is_stochastic)
