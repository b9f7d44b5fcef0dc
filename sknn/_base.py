"""scikit-learn's face: parameters, validation, fit, partial_fit, fitted attributes, tags.

torch and skorch are imported where training or prediction begins, not here.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral, Real
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from sknn import _checks
from sknn._sklearn_compat import CallbackSupportMixin, is_sklearn_callback, with_callbacks

if TYPE_CHECKING:
    from sknn._losses import Loss
    from sknn._net import FeedForwardNet
    from sknn._problem import Network, Problem, State, ValidationSet

_STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw")
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Values of an array whose validation, beside the network's work, is worth saving.
_SHORT = 10_000
# Of the fitted attributes, those that only a stochastic solver sets.
_STOCHASTIC_ATTRIBUTES = {
    "loss_curve_": "loss_curve",
    "learning_rate_curve_": "learning_rate_curve",
    "validation_scores_": "validation_scores",
    "validation_loss_curve_": "validation_loss_curve",
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
    if not (callable(estimator.solver) or estimator.solver in _STOCHASTIC_SOLVERS):
        raise AttributeError(
            "partial_fit is only available for stochastic"
            f" optimizers. {estimator.solver} is not stochastic."
        )
    return True


class BaseFeedForward(CallbackSupportMixin, BaseEstimator, ABC):
    """What the classifier and the regressor share.

    Subclasses say how targets are checked and encoded (`_check_targets`, `_encode_validation`),
    what their classes weigh (`_finalize_sample_weight`), which loss they are learned by
    (`_make_loss`), and how they are scored (`_score_encoded`).
    """

    _numeric_targets: ClassVar[bool]
    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [
            StrOptions({*_checks.SKLEARN_ACTIVATIONS, *_checks.ADDED_ACTIVATIONS}),
            "array-like",
            callable,
        ],
        "solver": [StrOptions({"lbfgs", "sgd", "adam", "adamw"}), callable],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [
            StrOptions({"constant", "invscaling", "adaptive", "cosine", "one_cycle"}),
            callable,
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose", StrOptions({"progress"})],
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
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "normalization": [StrOptions({"layer", "batch"}), None],
        "warmup_fraction": [Interval(Real, 0, 1, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "scoring": [StrOptions({"loss", *get_scorer_names()}), callable, None],
        "callbacks": [list, tuple, None],
        "dtype": [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        "device": [str],
    }

    @abstractmethod
    def _check_targets(
        self, y: np.ndarray, classes: Any, first_pass: bool, dtype: np.dtype
    ) -> np.ndarray:
        """Check targets against the model that is there, and encode them for the loss."""

    @abstractmethod
    def _encode_validation(self, y: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Check the targets of validation rows against those learned from, and encode them."""

    def _finalize_sample_weight(
        self, sample_weight: np.ndarray | None, y: np.ndarray, incremental: bool, dtype: np.dtype
    ) -> np.ndarray | None:
        """Weights of rows times those of their classes."""
        return sample_weight

    @abstractmethod
    def _make_loss(self, smoothed: bool) -> Loss:
        """The loss to learn by, or the one of validation rows, whose labels are not smoothed."""

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
    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
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
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Validation rows of your own. With `early_stopping=True` they take the place of the
            split, so that all of `X` is learned from; without, scores and losses are only recorded.
            In a `Pipeline`, `transform_input=["X_val"]` sends them through the steps before.

            .. versionadded:: 0.1
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.

            .. versionadded:: 0.1
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

            .. versionadded:: 0.1

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
        tasks = None
        if hasattr(self, "_skl_callbacks"):
            from sknn._reporting import FitTasks

            tasks = FitTasks(self, X, y, sample_weight)
        self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), tasks=tasks)
        if tasks is not None:
            tasks.end(lambda: vars(self))
        return self

    def _fit(
        self,
        X,
        y,
        sample_weight,
        given_validation=None,
        incremental=False,
        classes=None,
        tasks=None,
    ):
        """`fit`, or one epoch of it."""
        from sknn._training import train

        with unchanged_on_failure(self):
            self._check_parameters(given_validation)
            first_pass = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
            X, labels, sample_weight = self._check_data(X, y, sample_weight, first_pass)
            y = self._check_targets(labels, classes, first_pass, X.dtype)
            sample_weight = self._finalize_sample_weight(
                sample_weight, labels, incremental, X.dtype
            )
            network = self._network(
                (X.shape[1], *_checks.hidden_units(self.hidden_layer_sizes), self._n_outputs(y))
            )
            random_state = check_random_state(self.random_state)
            state = self._state(network, random_state, first_pass, X.dtype)
            problem = self._problem(X, y, labels, sample_weight, network, tasks)
            if self._is_watched(given_validation):
                validation = self._given_validation(*given_validation, X.dtype)
                problem = problem._replace(validation=validation)
            elif self.early_stopping and self.solver != "lbfgs":
                problem = self._split(problem, random_state, incremental)
            settings = SimpleNamespace(**{n: getattr(self, n) for n in self._parameter_constraints})
            self._publish(train(problem, state, settings, random_state, incremental), problem)
        return self

    def _check_parameters(self, given_validation) -> None:
        """What the table of constraints cannot say, before any work."""
        n_hidden = len(_checks.hidden_units(self.hidden_layer_sizes))
        _checks.layer_activations(self.activation, n_hidden)
        _checks.dropout_rates(self.dropout, n_hidden)
        _checks.check_schedule(self.learning_rate, self.warmup_fraction)
        _checks.check_solver(self.solver)
        if given_validation is not None:
            _checks.check_validation_pair(*given_validation)
        _checks.check_lbfgs(self, given_validation is not None and given_validation[0])

    def _network(self, layer_units: tuple[int, ...]) -> Network:
        """What the parameters say of the layers."""
        from sknn._problem import Network

        n_hidden = len(layer_units) - 2
        return Network(
            layer_units,
            _checks.layer_activations(self.activation, n_hidden),
            self.normalization,
            _checks.dropout_rates(self.dropout, n_hidden),
            float(self.input_dropout),
        )

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
                self._check_total(sample_weight, "sample_weight")
        return X, y, sample_weight

    @staticmethod
    def _check_total(weight: np.ndarray, name: str) -> None:
        total = weight.sum()
        if total == 0 or not np.isfinite(total):
            raise ValueError(
                f"The sum of {name} is {total} in {weight.dtype}. It must be finite, and"
                " not zero: negative weights must not cancel the others."
            )

    @staticmethod
    def _is_watched(given_validation) -> bool:
        return given_validation is not None and given_validation[0] is not None

    def _given_validation(self, X_val, y_val, sample_weight_val, dtype) -> ValidationSet:
        """The user's validation rows, checked against those learned from."""
        from sknn._problem import ValidationSet

        try:
            X_val = validate_data(
                self, X_val, accept_sparse="csr", dtype=dtype, order="C", reset=False
            )
        except ValueError as error:
            raise ValueError(
                "X_val cannot be used: it must be like X, with the same columns and without missing"
                f" values. {error}"
            ) from error
        y_val = check_array(
            y_val, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y_val"
        )
        if y_val.ndim == 2 and y_val.shape[1] == 1:
            y_val = column_or_1d(y_val, warn=True)
        check_consistent_length(X_val, y_val)
        if sample_weight_val is not None:
            sample_weight_val = _check_sample_weight(sample_weight_val, X_val, dtype=dtype)
            self._check_total(sample_weight_val, "sample_weight_val")
        encoded = self._encode_validation(y_val, dtype)
        return ValidationSet(X_val, encoded, y_val, sample_weight_val)

    def _problem(self, X, y, labels, sample_weight, network, tasks) -> Problem:
        """What is to be learned, from all rows."""
        from sknn._problem import Problem

        scorer = self.scoring
        if scorer is not None and scorer != "loss":
            scorer = check_scoring(self, scorer)

        def estimator_at(state: State) -> BaseFeedForward:
            estimator = copy.copy(self)
            vars(estimator).pop("feature_names_in_", None)  # it is given plain arrays
            estimator._publish(state, problem)
            return estimator

        problem = Problem(
            X,
            y,
            labels,
            sample_weight,
            self._make_loss(smoothed=True),
            network,
            score=self._score_encoded,
            validation_loss=self._make_loss(smoothed=False),
            scorer=scorer,
            estimator_at=estimator_at,
            tasks=tasks,
        )
        return problem

    def _split(self, problem: Problem, random_state, incremental) -> Problem:
        """Set validation rows aside."""
        from sknn._batches import split_rows
        from sknn._problem import ValidationSet

        if incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        y, weight = problem.y, problem.sample_weight
        train_rows, valid_rows = split_rows(
            len(y), self.validation_fraction, random_state, self._stratify(y)
        )
        for name, rows in (("training", train_rows), ("validation", valid_rows)):
            if weight is not None and weight[rows].sum() == 0:
                raise ValueError(
                    "Sample weights must contain at least one non-zero number."
                    f" Those of the {len(rows)} {name} rows sum to zero: change random_state or"
                    " validation_fraction, or leave out the rows without weight."
                )
        validation = ValidationSet(
            problem.X,
            y[valid_rows],
            problem.labels[valid_rows],
            None if weight is None else weight[valid_rows],
            valid_rows,
        )
        return problem._replace(train_rows=train_rows, validation=validation)

    def _state(self, network, random_state, first_pass, dtype) -> State:
        """Where training starts: new weights, or the model that is there."""
        from sknn._module import initial_parameters
        from sknn._problem import State
        from sknn._stopping import Progress

        if first_pass:
            activations = (
                self.activation if isinstance(self.activation, str) else network.activations
            )
            return State(*initial_parameters(network.layer_units, activations, random_state, dtype))
        self._check_weights(network.layer_units)
        progress = {
            name: getattr(self, attribute)
            for attribute, name in _STOCHASTIC_ATTRIBUTES.items()
            if hasattr(self, attribute)
        }
        return State(
            self.coefs_,
            self.intercepts_,
            self.module_state_,
            getattr(self, "_solver_state", None),
            Progress(**progress, n_samples_seen=getattr(self, "t_", 0)),
            getattr(self, "_history", []),
            loss=getattr(self, "loss_", np.nan),
        )

    def _publish(self, state: State, problem: Problem) -> None:
        """Set the fitted attributes."""
        for name in (*_STOCHASTIC_ATTRIBUTES, "_solver_state"):
            vars(self).pop(name, None)
        if state.solver is not None:
            for attribute, name in _STOCHASTIC_ATTRIBUTES.items():
                setattr(self, attribute, getattr(state.progress, name))
            self._solver_state = state.solver
        self.coefs_ = state.coefs
        self.intercepts_ = state.intercepts
        self.module_state_ = state.modules
        self.callbacks_ = state.callbacks
        self.loss_ = state.loss
        self.n_iter_ = state.n_iter
        self.t_ = state.progress.n_samples_seen
        self.n_layers_ = len(problem.network.layer_units)
        self.n_outputs_ = problem.network.layer_units[-1]
        self.out_activation_ = problem.loss.output_activation
        self.device_ = state.device
        self._history = state.history

    def _outputs(self, X, of: Callable) -> np.ndarray:
        """What a function of `sknn._inference` makes of the network's outputs for rows."""
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)
        from sknn._compat import as_tensor
        from sknn._devices import is_present
        from sknn._inference import forward_of, outputs_of

        if not self._is_valid(X):
            X = validate_data(self, X, accept_sparse="csr", reset=False)
        dtype = self._model_dtype()
        if X.dtype not in _FLOATS:
            X = X.astype(dtype)
        units = (self.n_features_in_, *map(len, self.intercepts_))
        self._check_weights(units)
        device = self.device_ if is_present(self.device_) else "cpu"
        weights = [as_tensor(np.asarray(coef, dtype).T).to(device) for coef in self.coefs_]
        biases = [as_tensor(np.asarray(i, dtype)).to(device) for i in self.intercepts_]
        forward = forward_of(weights, biases, self.module_state_, self._network(units))
        return outputs_of(X, forward, of(self.out_activation_))

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
            self.coefs_,
            self.intercepts_,
            self.module_state_,
            self._network((self.n_features_in_, *map(len, self.intercepts_))),
            self._make_loss(smoothed=True),
            self._history,
        )

    def set_callbacks(self, *callbacks):
        """Set callbacks of scikit-learn, which are told of each epoch of `fit` as a task.

        For callbacks of skorch there is the parameter `callbacks`.

        Parameters
        ----------
        *callbacks : callbacks of :mod:`sklearn.callback`
            None to remove those that are set.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        TypeError
            If one is a callback of skorch, or none at all.
        NotImplementedError
            If scikit-learn is older than 1.9.
        """
        for callback in callbacks:
            if hasattr(callback, "on_epoch_end") and not is_sklearn_callback(callback):
                raise TypeError(
                    f"set_callbacks takes callbacks of scikit-learn, got {callback!r}, which is one"
                    " of skorch: hand it to the parameter, as in"
                    f" {type(self).__name__}(callbacks=[...])."
                )
        return super().set_callbacks(*callbacks)

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
