"""scikit-learn's face: parameters, validation, fit, partial_fit, fitted attributes, tags.

torch and skorch are imported where training or prediction begins, not here.
"""

from __future__ import annotations

import copy
import os
import re
from abc import ABC, abstractmethod
from numbers import Integral, Real
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Hidden,
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metaestimators import available_if

from sknn._description import DescribedNetwork
from sknn._fitted import FittedNetwork
from sknn._input import _parameter_checks, _targets
from sknn._input._data_checks import CheckedInput, targets_of
from sknn._input._parameter_checks import hidden_units
from sknn._platform import _fork  # noqa: F401  from the start: it notes whether torch was there before a fork
from sknn._platform._sklearn_compat import (
    CallbackSupportMixin,
    is_sklearn_callback,
    with_callbacks,
)
from sknn._ways_out import Exports

if TYPE_CHECKING:
    from sknn._data._shards import Shards
    from sknn._network._losses import Loss
    from sknn._training._problem import Problem, State, ValidationSet

# What may differ between the processes that train one network.
_OF_EACH_PROCESS = (
    *("random_state", "verbose", "callbacks", "device", "process_group", "checkpoint_dir"),
)
_STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw")


def _is_stochastic(estimator: BaseFeedForward) -> bool:
    if not (callable(estimator.solver) or estimator.solver in _STOCHASTIC_SOLVERS):
        raise AttributeError(
            "partial_fit is only available for stochastic"
            f" optimizers. {estimator.solver} is not stochastic."
        )
    return True


def _name_of(choice: Any) -> str:
    """A parameter that is a string, a callable or None, as a string that lasts."""
    if choice is None or isinstance(choice, str):
        return str(choice)
    return getattr(choice, "__qualname__", type(choice).__qualname__)


class BaseFeedForward(
    CallbackSupportMixin,
    CheckedInput,
    FittedNetwork,
    DescribedNetwork,
    Exports,
    BaseEstimator,
    ABC,
):
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
            StrOptions(
                {*_parameter_checks.SKLEARN_ACTIVATIONS, *_parameter_checks.ADDED_ACTIVATIONS}
            ),
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
        "process_group": [
            StrOptions({"world"}),
            HasMethods(["rank", "size"]),
            Hidden(Options(Integral, {-100})),  # of torch, for a group of others
            None,
        ],
        "checkpoint_dir": [str, os.PathLike, None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
    }

    @abstractmethod
    def _check_targets(
        self,
        y: np.ndarray,
        incremental: bool,
        first_pass: bool,
        dtype: np.dtype,
        shards: Shards | None = None,
    ) -> np.ndarray:
        """Check targets against the model that is there, and encode them for the loss."""

    def _check_partial_fit(self, y: Any, classes: Any) -> None:
        """Take up, or check, the classes that are given to `partial_fit`."""

    @abstractmethod
    def _encode_validation(self, y: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Check the targets of validation rows against those learned from, and encode them."""

    def _finalize_sample_weight(
        self,
        sample_weight: np.ndarray | None,
        y: np.ndarray,
        incremental: bool,
        dtype: np.dtype,
        shards: Shards | None = None,
    ) -> np.ndarray | None:
        """Weights of rows times those of their classes; with `shards`, of the rows of all."""
        if shards is None:
            return sample_weight
        sample_weight = shards.weights_of_all(sample_weight, dtype)
        if sample_weight is not None:
            self._check_total(sample_weight, "sample_weight of all processes")
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
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The rows to learn from, a frame of pandas or polars among them. With `dtype="auto"` they
            are computed with in float32 if they are float32 (in a frame: all columns), else in
            float64. A tensor on a device is used where it is, if that is the one to compute on. See
            docs/frames.md.
        y : {array-like, torch.Tensor} of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or a multilabel indicator, for the classifier; numbers, for the regressor.
            A tensor on a device is copied to the host.
        sample_weight : {array-like, torch.Tensor} of shape (n_samples,), default=None
            Weights of the rows. None is the same as all ones.
        X_val : {array-like, sparse matrix, torch.Tensor} of shape (n_val, n_features), default=None
            Validation rows of your own. With `early_stopping=True` they take the place of the
            split, so that all of `X` is learned from; without, scores and losses are only recorded.
            In a `Pipeline`, `transform_input=["X_val"]` sends them through the steps before.

            .. versionadded:: 0.1
        y_val : {array-like, torch.Tensor} of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.

            .. versionadded:: 0.1
        sample_weight_val : {array-like, torch.Tensor} of shape (n_val,), default=None
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
        RuntimeError
            With `process_group`, if another process has failed before training, or has ended.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If `max_iter` ends the training, or if it diverges with early stopping.
        UserWarning
            After Ctrl-C, or if a checkpoint cannot be saved or used.
        """
        tasks = None
        if hasattr(self, "_skl_callbacks"):
            from sknn._training._reporting import FitTasks

            tasks = FitTasks(self, X, y, sample_weight)
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), tasks=tasks)

    def _fit(
        self, X, y, sample_weight, validation=(None, None, None), *, tasks=None, **incremental
    ):
        """`fit`, or one epoch of it.

        A copy is trained, and what it has learned is taken over in one assignment. So a fit that
        fails, at whatever point, leaves the model that was there, and a prediction in another
        thread sees the old model or the new one.
        """
        trained = self._as_it_is()
        object.__setattr__(trained, "__dict__", vars(self).copy())
        trained._train(X, y, sample_weight, validation, tasks=tasks, **incremental)
        if tasks is not None:
            tasks.end(lambda: vars(trained))
        self._become(trained)
        return self

    def _train(
        self,
        X,
        y,
        sample_weight,
        validation=(None, None, None),
        *,
        incremental=False,
        classes=None,
        tasks=None,
    ):
        """Validate, encode, split, train, publish."""
        from sknn._data._processes import agreement, processes_of
        from sknn._platform._devices import check_device
        from sknn._training._train import train

        processes = processes_of(self.process_group, self.device)
        with agreement(processes):
            self._check_parameters(*validation)
            y, sample_weight = targets_of(y, "y"), targets_of(sample_weight, "sample_weight")
            if incremental:
                self._check_partial_fit(y, targets_of(classes, "classes"))
            else:
                _parameter_checks.check_checkpoint(self)
            first_pass = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
            X, labels, sample_weight, dtype = self._check_data(X, y, sample_weight, first_pass)
            check_device(self.device, dtype)
            _parameter_checks.check_representable(self, dtype)
        shards = None
        if processes is not None:
            shards = self._shards(processes, X, labels, dtype, validation, incremental)
        y = self._check_targets(labels, incremental, first_pass, dtype, shards)
        sample_weight = self._finalize_sample_weight(
            sample_weight, labels, incremental, dtype, shards
        )
        network = self._network(
            (
                X.shape[1],
                *hidden_units(self.hidden_layer_sizes),
                self._n_outputs(y),
            )
        )
        random_state = check_random_state(self.random_state)
        if processes is not None:
            random_state = processes.first(random_state)
        state = self._state(network, random_state, first_pass, dtype)
        problem = self._problem(X, dtype, y, labels, sample_weight, network, shards, tasks)
        if validation[0] is not None:
            with agreement(processes):
                rows = self._check_validation(*validation, dtype)
            if shards is not None:
                rows = shards.validation_of_all(rows, dtype)
            self._check_enough(rows)
            problem = problem._replace(validation=rows)
        elif self.early_stopping and self.solver != "lbfgs":
            problem = self._split(problem, random_state, incremental)
        settings = SimpleNamespace(**{n: getattr(self, n) for n in self._parameter_constraints})
        self._publish(train(problem, state, settings, random_state, incremental), problem)

    def _validate_params(self) -> None:
        # What else is wrong in one process, all of them have to hear of: in `_check_parameters`.
        if self.process_group is None:
            super()._validate_params()
        else:
            group = {"process_group": self.process_group}
            name = type(self).__name__
            validate_parameter_constraints(self._parameter_constraints, group, caller_name=name)

    def _check_parameters(self, X_val, y_val, sample_weight_val) -> None:
        """What the table of constraints cannot say, before any work."""
        if self.process_group is not None:
            super()._validate_params()
        n_hidden = len(hidden_units(self.hidden_layer_sizes))
        _parameter_checks.layer_activations(self.activation, n_hidden)
        _parameter_checks.dropout_rates(self.dropout, n_hidden)
        _parameter_checks.check_schedule(self.learning_rate, self.warmup_fraction)
        _parameter_checks.check_solver(self.solver)
        _parameter_checks.check_validation_pair(X_val, y_val, sample_weight_val)
        _parameter_checks.check_lbfgs(self, X_val)
        _parameter_checks.check_scoring_of_processes(self.scoring, self.process_group)

    def _shards(self, processes, X, labels, dtype, validation, incremental) -> Shards:
        """Who has which rows, once all processes have told that theirs go together."""
        from sknn._data._shards import Shards

        facts = {
            f"the parameter {name}": re.sub(r" at 0x\w+", "", repr(getattr(self, name)))
            for name in self._parameter_constraints
            if name not in _OF_EACH_PROCESS
        }
        facts["the number of features"] = X.shape[1]
        facts["the dtype to compute in"] = str(dtype)
        facts["the number of columns of y"] = labels.shape[1] if labels.ndim == 2 else 1
        facts["the feature names"] = list(getattr(self, "feature_names_in_", ()))
        facts["X_val being given"] = validation[0] is not None
        facts["checkpoint_dir being set"] = self.checkpoint_dir is not None and not incremental
        facts["being fitted already"] = hasattr(self, "coefs_")
        if incremental or self.warm_start:
            facts["the samples seen before"] = getattr(self, "t_", 0)
            facts["the classes"] = np.asarray(getattr(self, "classes_", ())).tolist()
        return Shards(processes, facts, X.shape[0])

    def _check_enough(self, rows: ValidationSet) -> None:
        """Whether the validation rows, those of all processes together, can be scored."""
        if self.process_group is not None:
            if len(rows.y) == 0:
                raise ValueError(
                    "X_val has no rows in any process of process_group. Give some rows to one of"
                    " them, or leave out X_val in all."
                )
            if rows.sample_weight is not None:
                self._check_total(rows.sample_weight, "sample_weight_val of all processes")
        is_watched = self.early_stopping and self.scoring is None
        if is_watched and self._numeric_targets and len(rows.y) < 2:
            raise ValueError(
                "X_val has one row, and the score that early stopping watches is defined for two or"
                " more. Give more rows, or set scoring='loss'."
            )

    def _problem(self, X, dtype, y, labels, sample_weight, network, shards, tasks) -> Problem:
        """What is to be learned, from all rows."""
        from sknn._training._problem import Problem

        scorer = self.scoring
        if scorer is not None and scorer != "loss":
            scorer = check_scoring(self, scorer)

        def estimator_at(state: State) -> BaseFeedForward:
            estimator = copy.copy(self)
            estimator._publish(state, problem)
            return estimator

        problem = Problem(
            X,
            dtype,
            y,
            _targets.for_scorers(labels),
            sample_weight,
            self._make_loss(smoothed=True),
            network,
            score=self._score_encoded,
            validation_loss=self._make_loss(smoothed=False),
            scorer=scorer,
            watched=self._watched_scores(),
            shards=shards,
            tasks=tasks,
        )
        # Another tuple than the function's own: in a cycle, the rows would outlive the fit.
        return problem._replace(estimator_at=estimator_at)

    def _watched_scores(self) -> str:
        """A name for what the scores of validation rows are of."""
        return f"{_name_of(self.scoring)} {_name_of(self.loss)}"

    def _split(self, problem: Problem, random_state, incremental) -> Problem:
        """Set validation rows aside."""
        from sknn._data._batches import split_rows
        from sknn._training._problem import ValidationSet

        if incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        y, weight, shards = problem.y, problem.sample_weight, problem.shards
        stratify = self._stratify(y)
        if shards is not None and stratify is not None:
            stratify = shards.of_all(stratify)
        train_rows, valid_rows = split_rows(
            problem.n_train, self.validation_fraction, random_state, stratify
        )
        for name, rows in (("training", train_rows), ("validation", valid_rows)):
            if weight is not None and weight[rows].sum() == 0:
                raise ValueError(
                    "Sample weights must contain at least one non-zero number."
                    f" Those of the {len(rows)} {name} rows sum to zero: change random_state or"
                    " validation_fraction, or leave out the rows without weight."
                )
        if weight is not None:
            weight = weight[valid_rows if shards is None else shards.mine(valid_rows)]
        own_rows = valid_rows if shards is None else shards.own(valid_rows)
        validation = ValidationSet(
            problem.X, y[own_rows], problem.labels[own_rows], weight, own_rows
        )
        if shards is not None:
            validation = shards.validation_of_all(validation, problem.dtype)
        return problem._replace(train_rows=train_rows, validation=validation)

    def set_callbacks(self, *callbacks):
        """Set callbacks of scikit-learn, which are told of each epoch of `fit` as a task.

        For callbacks of skorch there is the parameter `callbacks`.

        Parameters
        ----------
        *callbacks : callbacks of :mod:`sklearn.callback`
            They take the place of those that are set; without any, there are none.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        TypeError
            If one is a callback of skorch, or no callback of any kind.
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

    def __sklearn_clone__(self):
        # A group cannot be copied, so that the clone has the same one. A copy has none.
        clone = super(BaseFeedForward, copy.copy(self)).__sklearn_clone__()
        clone.process_group = self.process_group
        return clone

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


partial_fit_available = available_if(_is_stochastic)
