"""The base class of both estimators: parameters, validation, `fit`, `partial_fit` and tags.

torch and skorch are imported where training or prediction begins, and never by importing this
module.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import check_scoring
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

from sknn._fitted import FittedNetwork
from sknn._input import _hints, _parameter_checks, _targets
from sknn._input._data_checks import (
    CheckedRows,
    check_rows,
    check_total,
    check_validation_rows,
    targets_of,
)
from sknn._input._periodic_embedding import PeriodicEmbedding
from sknn._platform import (
    _fork,  # noqa: F401  imported at once: it notes whether torch was imported before a fork
)
from sknn._platform._sklearn_compat import (
    CallbackSupportMixin,
    is_sklearn_callback,
    with_callbacks,
)
from sknn._training._fitted_names import complete_attributes

if TYPE_CHECKING:
    from sknn._data._processes import OneProcess
    from sknn._data._shards import AllRows
    from sknn._data._validation_split import ValidationSet
    from sknn._network._losses import Loss
    from sknn._training._problem import Model, Problem

# The processes that train one network may differ in these parameters.
_OF_EACH_PROCESS = (
    *("random_state", "verbose", "callbacks", "device", "process_group", "checkpoint_dir"),
)
_STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw")


def _is_stochastic(estimator: BaseEstimator) -> bool:
    if not (callable(estimator.solver) or estimator.solver in _STOCHASTIC_SOLVERS):
        raise AttributeError(
            "partial_fit is only available for stochastic"
            f" optimizers. {estimator.solver} is not stochastic."
        )
    return True


def _name_of(choice: Any) -> str:
    """Return a name, equal in later processes, for a parameter: a string, a callable or None."""
    if choice is None or isinstance(choice, str):
        return str(choice)
    return getattr(choice, "__qualname__", type(choice).__qualname__)


class BaseFeedForward(CallbackSupportMixin, FittedNetwork, ABC):
    """Base class of the classifier and the regressor.

    Subclasses define how targets are checked and encoded (`_check_targets`, `_encode_validation`),
    how classes are weighted (`_finalize_sample_weight`), which loss is minimized (`_make_loss`),
    and how outputs are scored (`_score_encoded`).
    """

    _numeric_targets: ClassVar[bool]
    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [
            StrOptions(
                {
                    *_parameter_checks.SKLEARN_ACTIVATIONS,
                    *_parameter_checks.ADDED_ACTIVATIONS,
                    *_parameter_checks.PARAMETRIC_ACTIVATIONS,
                }
            ),
            "array-like",
            callable,
        ],
        "solver": [StrOptions({"lbfgs", "sgd", "adam", "adamw"}), callable],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto", "by_rows"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [
            StrOptions({"constant", "invscaling", "adaptive", "cosine", "one_cycle", "coslog"}),
            callable,
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"by_rows"})],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose", StrOptions({"progress"})],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean", StrOptions({"waves"})],
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
        "scoring": [_parameter_checks.ScorerNames(), callable, None],
        "callbacks": [list, tuple, None],
        "dtype": [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        "device": [str],
        "process_group": [
            StrOptions({"world"}),
            HasMethods(["rank", "size"]),
            Hidden(Options(Integral, {-100})),  # torch's NON_GROUP_MEMBER
            None,
        ],
        "checkpoint_dir": [str, os.PathLike, None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "numeric_embedding": [StrOptions({"periodic"}), PeriodicEmbedding, None],
        "input_scaling": ["boolean"],
        "initialization": [StrOptions({"data"}), None],
        "regularization_schedule": [StrOptions({"flat_cos"}), None],
    }

    @abstractmethod
    def _check_targets(self, rows: CheckedRows, shards: AllRows, incremental, first_pass):
        """Check targets against the fitted model, and return them encoded for the loss."""

    def _check_partial_fit(self, y: Any, classes: Any) -> None:
        """Store or check the classes that are given to `partial_fit`."""

    @abstractmethod
    def _complete_targets(self, n_outputs: int) -> None:
        """Set what follows, for a network with so many outputs, from attributes set by hand."""

    @abstractmethod
    def _encode_validation(self, rows: CheckedRows) -> np.ndarray:
        """Check the targets of validation rows against those learned from, and encode them."""

    def _finalize_sample_weight(
        self, rows: CheckedRows, shards: AllRows, incremental: bool
    ) -> np.ndarray | None:
        """Return the weights of the rows of all processes, times the weights of their classes."""
        sample_weight = shards.weights_of_all(rows.sample_weight, rows.dtype)
        if shards.processes.is_group and sample_weight is not None:
            check_total(sample_weight, "sample_weight of all processes")
        return sample_weight

    @abstractmethod
    def _make_loss(self, smoothed: bool) -> Loss:
        """Return the loss to minimize, or, if not `smoothed`, the loss of validation rows."""

    @abstractmethod
    def _n_outputs(self, y: np.ndarray) -> int:
        """Return the number of output units for encoded targets."""

    @abstractmethod
    def _stratify(self, y: np.ndarray) -> np.ndarray | None:
        """Return the classes that the validation split is stratified by, or None."""

    @abstractmethod
    def _score_encoded(
        self, y: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None
    ) -> float:
        """Return the score that early stopping watches, of encoded targets and outputs."""

    @_hints.explaining_keywords
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the network to data and targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The input data. They can also be a pandas or polars data frame. With `dtype="auto"`, the
            network computes in float32 if the data are float32 (in a frame, all of its columns),
            and in float64 otherwise. A tensor that is already on the device of the estimator is not
            copied. See docs/frames.md.
        y : {array-like, torch.Tensor} of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or a multilabel indicator for the classifier, and numbers for the
            regressor. A tensor on a device is copied to the host.
        sample_weight : {array-like, torch.Tensor} of shape (n_samples,), default=None
            Sample weights. None gives every sample the weight 1.
        X_val : {array-like, sparse matrix, torch.Tensor} of shape (n_val, n_features), default=None
            Your own validation data. With `early_stopping`, they replace the validation split, so
            that all of `X` is used for training. Without it, their scores and losses are only
            recorded. In a `Pipeline`, `transform_input=["X_val"]` applies the preceding steps to
            them.
        y_val : {array-like, torch.Tensor} of shape (n_val,) or (n_val, n_outputs), default=None
            Target values for `X_val`.
        sample_weight_val : {array-like, torch.Tensor} of shape (n_val,), default=None
            Sample weights for `X_val`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or parameters are invalid, if `device` is not available, or if the weights
            are no longer finite. The estimator is left unchanged.
        RuntimeError
            If another process of `process_group` has failed before training, or has ended.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If `max_iter` is reached, or if training diverges with early stopping.
        UserWarning
            After Ctrl-C, or if a checkpoint cannot be saved or used. In a search or a
            cross-validation, Ctrl-C raises KeyboardInterrupt instead.
        """
        tasks = None
        if hasattr(self, "_skl_callbacks"):
            from sknn._training._reporting import FitTasks

            tasks = FitTasks(self, X, y, sample_weight)
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), tasks=tasks)

    def _fit(self, X, y, sample_weight, validation=(None, None, None), *, tasks=None, **options):
        """Do the work of `fit` or of `partial_fit`.

        A copy is trained, and the estimator takes over its fitted attributes in one assignment. So
        a fit that fails, at whatever point, leaves the model as it was.
        """
        trained = self._copy()
        trained._train(X, y, sample_weight, validation, tasks=tasks, **options)
        if tasks is not None:
            tasks.end(lambda: vars(trained))
        self._take_over(trained)
        return self

    def _train(
        self, X, y, sample_weight, validation, *, tasks=None, incremental=False, classes=None
    ):
        """Check and encode the data, split it, train, and set the fitted attributes."""
        from sknn._data._processes import processes_of
        from sknn._training._initial_model import new_model
        from sknn._training._model_attributes import model_of_attributes, set_attributes
        from sknn._training._settings import Settings
        from sknn._training._train import train

        processes = processes_of(self.process_group, self.device)
        with processes.agreement():
            with _hints.explaining_values(self):
                self._check_parameters(*validation)
            first_pass = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
            if not first_pass and self._has_weights_set_by_hand():
                complete_attributes(self)
            rows = self._checked_rows(X, y, sample_weight, classes, incremental, first_pass)
        shards = self._shards(processes, rows, validation, incremental)
        problem = self._encoded_problem(rows, shards, incremental, first_pass, tasks)
        random_state = processes.first(check_random_state(self.random_state))
        if first_pass:
            outputs = self._initial_outputs(problem)
            start = new_model(
                self, problem.network, random_state, rows.dtype, rows.X, shards, outputs
            )
        else:
            self._check_weights(problem.network)
            start = model_of_attributes(self)
        if validation[0] is not None:
            problem = self._with_own_validation(problem, validation)
        elif self.early_stopping and self.solver != "lbfgs":
            problem = self._with_split(problem, random_state, incremental)
        parameters = {name: getattr(self, name) for name in self._parameter_constraints}
        settings = Settings.of(parameters, problem.n_train, incremental)
        set_attributes(self, train(problem, start, settings, random_state), problem)

    def _validate_params(self) -> None:
        # In a group, an error in one process must reach all, as it does from `_check_parameters`.
        if self.process_group is None:
            with _hints.explaining_values(self):
                super()._validate_params()
        else:
            group = {"process_group": self.process_group}
            name = type(self).__name__
            validate_parameter_constraints(self._parameter_constraints, group, caller_name=name)

    def _check_parameters(self, X_val, y_val, sample_weight_val) -> None:
        """Check what the table of constraints cannot express, before any work."""
        if self.process_group is not None:
            super()._validate_params()
        n_hidden = len(_parameter_checks.hidden_units(self.hidden_layer_sizes))
        _parameter_checks.layer_activations(self.activation, n_hidden)
        _parameter_checks.dropout_rates(self.dropout, n_hidden)
        _parameter_checks.check_schedule(self.learning_rate, self.warmup_fraction)
        _parameter_checks.check_waves(self)
        _parameter_checks.check_solver(self.solver)
        _parameter_checks.check_embedding(self)
        _parameter_checks.check_validation_pair(X_val, y_val, sample_weight_val)
        _parameter_checks.check_lbfgs(self, X_val)
        _parameter_checks.check_scoring_of_processes(self.scoring, self.process_group)

    def _checked_rows(self, X, y, sample_weight, classes, incremental, first_pass) -> CheckedRows:
        """Check the rows, targets and weights to learn from, and the parameters for their dtype."""
        from sknn._platform._devices import check_device

        y, sample_weight = targets_of(y, "y"), targets_of(sample_weight, "sample_weight")
        if incremental:
            self._check_partial_fit(y, targets_of(classes, "classes"))
        else:
            _parameter_checks.check_checkpoint(self)
        dtypes = self._compute_dtypes(first_pass)
        rows = check_rows(self, X, y, sample_weight, dtypes, reset=first_pass)
        with _hints.explaining_values(self):
            check_device(self.device, rows.dtype)
        _parameter_checks.check_representable(self, rows.dtype)
        return rows

    def _compute_dtypes(self, first_pass: bool) -> list[type]:
        """Return the dtypes to compute in, as `validate_data` takes them; the default is first."""
        if self.dtype == "bfloat16":
            return [np.float32]
        if self.dtype != "auto":
            return [np.dtype(self.dtype).type]
        if first_pass:
            return [np.float64, np.float32]
        return [self._model_dtype()]

    def _shards(self, processes: OneProcess, rows: CheckedRows, validation, incremental) -> AllRows:
        """Return the division of the rows, after a check that all processes' rows go together."""
        from sknn._data._shards import AllRows, Shards

        X, y = rows.X, rows.y
        if not processes.is_group:
            return AllRows(X.shape[0])
        facts = {
            f"the parameter {name}": re.sub(r" at 0x\w+", "", repr(getattr(self, name)))
            for name in self._parameter_constraints
            if name not in _OF_EACH_PROCESS
        }
        facts["the number of features"] = X.shape[1]
        facts["the dtype to compute in"] = str(rows.dtype)
        facts["the number of columns of y"] = y.shape[1] if y.ndim == 2 else 1
        facts["the feature names"] = list(getattr(self, "feature_names_in_", ()))
        facts["whether X_val is passed"] = validation[0] is not None
        facts["whether checkpoint_dir is set"] = self.checkpoint_dir is not None and not incremental
        facts["whether they are already fitted"] = hasattr(self, "coefs_")
        if incremental or self.warm_start:
            facts["the number of samples seen before"] = getattr(self, "t_", 0)
            scaling = getattr(self, "_target_scaling", None) or ()
            facts["the scaling of the targets"] = [values.tolist() for values in scaling]
            facts["the classes"] = np.asarray(getattr(self, "classes_", ())).tolist()
        return Shards(processes, facts, X.shape[0])

    def _encoded_problem(
        self, rows: CheckedRows, shards: AllRows, incremental, first_pass, tasks
    ) -> Problem:
        """Encode the targets, and return the problem in which all rows are learned from."""
        from sknn._training._model_attributes import set_attributes
        from sknn._training._problem import Problem

        encoded = self._check_targets(rows, shards, incremental, first_pass)
        hidden_units = _parameter_checks.hidden_units(self.hidden_layer_sizes)
        scorer = self._scorer()
        sample_weight = self._finalize_sample_weight(rows, shards, incremental)
        units = (rows.X.shape[1], *hidden_units, self._n_outputs(encoded))
        network = self._network(
            units, self.n_members, self._embedded_columns(rows, shards, first_pass)
        )
        if scorer is not None and scorer != "loss":
            scorer = check_scoring(self, scorer)

        def estimator_at(model: Model) -> BaseFeedForward:
            estimator = self._copy()
            set_attributes(estimator, model, problem)
            return estimator

        problem = Problem(
            rows.X,
            rows.dtype,
            encoded,
            _targets.for_scorers(rows.y),
            sample_weight,
            self._make_loss(smoothed=True),
            network,
            shards,
            score=self._score_encoded,
            validation_loss=self._make_loss(smoothed=False),
            scorer=scorer,
            watched=self._watched_scores(),
            tasks=tasks,
        )
        # The result is a new tuple, because a tuple that holds a function which refers to it would
        # form a cycle, and the rows would stay in memory after the fit.
        return problem._replace(estimator_at=estimator_at)

    def _embedded_columns(
        self, rows: CheckedRows, shards: AllRows, first_pass: bool
    ) -> tuple[int, ...]:
        """Return the numbers of the columns that are embedded: those of the first fit."""
        if self.numeric_embedding is None:
            return ()
        if not first_pass:
            return tuple(map(int, self.module_state_.get("embedding.columns", ())))
        from sknn._training._initial_model import columns_of_many_values

        return columns_of_many_values(rows.X, shards.processes)

    def _initial_outputs(self, problem: Problem) -> np.ndarray | None:
        """Return what is added to the initial biases of the output layer, or None."""
        return None

    def _scorer(self) -> Any:
        """Return what the validation rows are scored by; None stands for `_score_encoded`."""
        return self.scoring

    def _watched_scores(self) -> str:
        """Return a name for what the scores of validation rows measure."""
        return f"{_name_of(self._scorer())} {_name_of(self.loss)}"

    def _with_own_validation(self, problem: Problem, validation) -> Problem:
        """Return the problem with the user's validation rows."""
        from sknn._data._validation_split import ValidationSet

        shards, dtype = problem.shards, problem.dtype
        with shards.processes.agreement():
            rows = check_validation_rows(self, *validation, dtype)
            encoded = self._encode_validation(rows)
        labels = _targets.for_scorers(rows.y)
        data = ValidationSet(rows.X, encoded, labels, rows.sample_weight)
        data = shards.validation_of_all(data, dtype)
        self._check_enough(data)
        return problem._replace(validation=data)

    def _check_enough(self, data: ValidationSet) -> None:
        """Check that the validation rows, those of all processes together, can be scored."""
        if self.process_group is not None:
            if len(data.y) == 0:
                raise ValueError(
                    "X_val has no rows in any process of process_group. Pass rows in at least one"
                    " process, or omit X_val in all of them."
                )
            if data.sample_weight is not None:
                check_total(data.sample_weight, "sample_weight_val of all processes")
        is_watched = self.early_stopping and self.early_stopping != "waves"
        is_watched = is_watched and self._scorer() is None
        if is_watched and self._numeric_targets and len(data.y) < 2:
            raise ValueError(
                "X_val has one row, but the score that early stopping monitors requires at least"
                " two. Pass more rows, or set scoring='loss'."
            )

    def _with_split(self, problem: Problem, random_state, incremental) -> Problem:
        """Return the problem with some of its rows set aside for validation."""
        from sknn._data._validation_split import ValidationSet, share_classes, split_rows

        if incremental:
            raise ValueError(f"partial_fit does not support early_stopping={self.early_stopping!r}")
        y, weight, shards = problem.y, problem.sample_weight, problem.shards
        # Where scikit-learn's MLP has nothing like it, its split need not be kept: if a scorer is
        # set, or with waves. Stratification refuses classes of one row.
        watches_waves = self.early_stopping == "waves"
        stratify = None if watches_waves else self._stratify(y)
        if stratify is not None:
            stratify = shards.of_all(stratify)
        train_rows, valid_rows = split_rows(
            problem.n_train, self.validation_fraction, random_state, stratify
        )
        is_of_classes = not self._numeric_targets and y.shape[1] == 1
        shares = callable(problem.scorer) or watches_waves and not shards.processes.is_group
        if is_of_classes and shares:
            share_classes(train_rows, valid_rows, y.ravel().astype(np.intp), weight)
        for name, rows in (("training", train_rows), ("validation", valid_rows)):
            if weight is not None and weight[rows].sum() == 0:
                raise ValueError(
                    "Sample weights must contain at least one non-zero number."
                    f" The weights of the {len(rows)} {name} rows sum to zero. Change random_state"
                    " or validation_fraction, or remove the rows with zero weight."
                )
        if weight is not None:
            weight = weight[shards.mine(valid_rows)]
        own_rows = shards.own(valid_rows)
        data = ValidationSet(problem.X, y[own_rows], problem.labels[own_rows], weight, own_rows)
        data = shards.validation_of_all(data, problem.dtype)
        return problem._replace(train_rows=train_rows, validation=data)

    def set_params(self, **params):
        """Set parameters of this estimator or of its `PeriodicEmbedding`.

        Parameters
        ----------
        **params : dict
            Parameters by name. `numeric_embedding__scale` sets the `scale` of the
            `PeriodicEmbedding`.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter. The message suggests a similar name if there is one.
        """
        try:
            return super().set_params(**params)
        except ValueError as error:
            known = self.get_params(deep=False)
            name = next((n for n in params if n.partition("__")[0] not in known), None)
            if name is not None:
                error.args = (f"{error} {_hints.of_parameter(name, known)}".rstrip(),)
            raise

    def set_callbacks(self, *callbacks):
        """Set scikit-learn callbacks, for which each epoch of `fit` is a task.

        To use skorch callbacks, set the parameter `callbacks`.

        Parameters
        ----------
        *callbacks : callbacks of :mod:`sklearn.callback`
            Callbacks that replace the current ones. A call without arguments removes them.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        TypeError
            If one of them is a skorch callback, or not a callback.
        NotImplementedError
            If scikit-learn is older than 1.9.
        """
        for callback in callbacks:
            if hasattr(callback, "on_epoch_end") and not is_sklearn_callback(callback):
                raise TypeError(
                    f"set_callbacks takes scikit-learn callbacks, got {callback!r}, which is a"
                    " skorch callback. Pass it to the 'callbacks' parameter instead, as in"
                    f" {type(self).__name__}(callbacks=[...])."
                )
        return super().set_callbacks(*callbacks)

    def __sklearn_clone__(self):
        # A group cannot be copied: the copy has none, and the clone gets the same group.
        copied = self._copy()
        copied.process_group = None
        clone = super(BaseFeedForward, copied).__sklearn_clone__()
        clone.process_group = self.process_group
        return clone

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.numeric_embedding is None
        return tags


partial_fit_available = available_if(_is_stochastic)
