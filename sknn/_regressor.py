"""`FeedForwardRegressor`."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions

from sknn._base import BaseFeedForward, partial_fit_available
from sknn._docs import document
from sknn._input import _parameter_checks, _targets
from sknn._input._data_checks import targets_of
from sknn._input._hints import explaining_keywords


@document
class FeedForwardRegressor(RegressorMixin, BaseFeedForward):
    """A feedforward network for regression with one or several targets.

    It minimizes half the squared error, or another `loss`. It can replace
    :class:`sklearn.neural_network.MLPRegressor`: the same parameters, data and `random_state` give
    the same model.

    Parameters
    ----------
    loss : str or callable, default='squared_error'
        Loss to minimize, for a target y and a prediction p:

        - 'squared_error': `(y - p) ** 2 / 2`, half the squared error;
        - 'poisson': `y * log(y / p) - y + p`, half the Poisson deviance, for `y >= 0`;
        - 'absolute_error': `abs(y - p)`, which is minimized by the median;
        - 'huber': half the squared error for absolute errors up to `huber_delta`, and
          `huber_delta * (abs(y - p) - huber_delta / 2)` for larger errors [4]_;
        - 'quantile': the pinball loss `max(q * (y - p), (q - 1) * (y - p))` of each level q in
          `quantile` [5]_;
        - 'gamma': `log(p / y) + y / p - 1`, half the gamma deviance, for `y > 0`;
        - a callable that takes the raw outputs and the targets, which are torch tensors of the same
          shape (n_samples, n_outputs), and returns the loss of each sample as a tensor of shape
          (n_samples,). It must use operations that torch can differentiate.

        The output activation is the exponential for 'poisson' and 'gamma', and the identity for all
        others. The losses of several outputs are summed, except that squared errors are reported as
        their mean.
    {parameters}
    huber_delta : float, default=1.0
        Absolute error at which 'huber' changes from a quadratic to a linear loss, in the units of
        `y`.
    quantile : float or list of float, default=0.5
        Level of 'quantile', in (0, 1). With an increasing list of levels, the predictions have a
        last axis for the levels: their shape is (n_samples, n_levels), or, if `y` has several
        columns, (n_samples, n_targets, n_levels). Each level of each target has its own output, and
        the predictions for a target are sorted [6]_, so that they never cross. With 'quantile',
        `score` returns the mean of the D2 pinball scores of all levels and targets. scikit-learn's
        metrics expect one prediction for each target, so they cannot be used for `scoring` if there
        are several levels.
    target_scaling : 'standard', 'clipped' or None, default=None
        'standard' trains on standardized targets: the mean is subtracted, and the result is divided
        by the standard deviation. Both are computed in the first `fit`, with its sample weights.
        After training, the last layer is scaled back, so that predictions, `coefs_` and everything
        derived from them are in the units of `y`. The recorded losses, `huber_delta` and `tol` are
        in units of the standard deviation. Only losses of this package whose output activation is
        the identity are supported.

        'clipped' does the same, and limits predictions to the range of `y`, so that no input leads
        to an absurd prediction. The range grows in later calls of `partial_fit` and with
        `warm_start`. Samples of weight 0 do not count. The loss and the score of validation data
        are those of the clipped predictions. `module_` does not clip. Both values take effect in
        the first `fit`, and are ignored for weights that are set by hand.

    Attributes
    ----------
    {attributes}

    See Also
    --------
    FeedForwardClassifier : The same network for classification.
    sklearn.neural_network.MLPRegressor : The estimator that this one can replace.

    {references}

    Examples
    --------
    >>> from sklearn.compose import TransformedTargetRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sknn import FeedForwardRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> network = FeedForwardRegressor(solver="lbfgs", alpha=1.0, max_iter=5000, random_state=0)
    >>> model = TransformedTargetRegressor(network, transformer=StandardScaler())
    >>> bool(model.fit(X_train, y_train).score(X_test, y_test) > 0.3)
    True
    """

    _numeric_targets = True
    _name_in_files = "FeedForwardRegressor"
    _parameter_constraints: ClassVar[dict] = {
        **BaseFeedForward._parameter_constraints,
        "loss": [
            StrOptions(
                {"squared_error", "poisson", "absolute_error", "huber", "quantile", "gamma"}
            ),
            callable,
        ],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "target_scaling": [StrOptions({"standard", "clipped"}), None],
    }

    @explaining_keywords
    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        input_dropout=0.0,
        normalization=None,
        warmup_fraction=0.0,
        max_grad_norm=None,
        scoring=None,
        callbacks=None,
        dtype="auto",
        device="cpu",
        process_group=None,
        checkpoint_dir=None,
        checkpoint_every=10,
        n_members=1,
        numeric_embedding=None,
        input_scaling=False,
        initialization=None,
        regularization_schedule=None,
        huber_delta=1.0,
        quantile=0.5,
        target_scaling=None,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.normalization = normalization
        self.warmup_fraction = warmup_fraction
        self.max_grad_norm = max_grad_norm
        self.scoring = scoring
        self.callbacks = callbacks
        self.dtype = dtype
        self.device = device
        self.process_group = process_group
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
        self.n_members = n_members
        self.numeric_embedding = numeric_embedding
        self.input_scaling = input_scaling
        self.initialization = initialization
        self.regularization_schedule = regularization_schedule
        self.huber_delta = huber_delta
        self.quantile = quantile
        self.target_scaling = target_scaling

    def _check_targets(self, rows, shards, incremental, first_pass):
        with shards.processes.agreement():
            encoded = _targets.encode_numbers(rows.y, self.loss, rows.dtype)
        n_targets, n_learned = encoded.shape[1], getattr(self, "_n_targets", None)
        if not first_pass and n_learned not in (None, n_targets):
            raise ValueError(
                f"y has {n_targets} column(s), but the fitted model predicts {n_learned}. Pass the"
                " same columns as before, or fit again with warm_start=False."
            )
        if self._predicts_levels():
            _parameter_checks.check_scoring_of_levels(self.scoring, self._levels(), n_targets)
        self._n_targets = n_targets
        is_scaled = (self.target_scaling if first_pass else self._target_scaling) is not None
        if is_scaled:
            with shards.processes.agreement():
                _parameter_checks.check_target_scaling(self.loss)
        learned = None if first_pass else self._target_scaling
        if is_scaled:
            learned = self._learned_scaling(rows, shards, encoded, learned)
        self._target_scaling = learned
        return self._standardized(encoded)

    def _learned_scaling(self, rows, shards, encoded, learned):
        """Return the mean and the scale of each target in all processes, and perhaps its range.

        What an earlier call has learned stays, but the range grows.
        """
        is_clipped = self.target_scaling == "clipped" if learned is None else len(learned) == 4
        if learned is not None and not is_clipped:
            return learned
        weight = shards.weights_of_all(rows.sample_weight, rows.dtype)
        if weight is not None and not weight.any():  # This becomes an error of the weights.
            weight = None
        y = shards.of_all(encoded)
        scaling = _targets.mean_and_scale(y, weight) if learned is None else learned[:2]
        if not is_clipped:
            return scaling
        y = y if weight is None else y[weight != 0]
        low, high = y.min(axis=0).astype(np.float64), y.max(axis=0).astype(np.float64)
        if learned is not None:
            low, high = np.minimum(low, learned[2]), np.maximum(high, learned[3])
        return (*scaling, low, high)

    def _standardized(self, y):
        """Return targets in the units of training."""
        if self._target_scaling is None:
            return y
        mean, scale, *_ = self._target_scaling
        return ((y - mean) / scale).astype(y.dtype)

    def _output_scaling(self):
        scaling = getattr(self, "_target_scaling", None)
        if scaling is None:
            return None
        n_levels = len(self._levels()) if self._predicts_levels() else 1
        return tuple(np.repeat(values, n_levels) for values in scaling[:2])

    def _target_bounds(self):
        """Return the range of the targets, if it limits the predictions."""
        scaling = getattr(self, "_target_scaling", None)
        return None if scaling is None or len(scaling) == 2 else scaling[2:]

    def _output_bounds(self):
        bounds = self._target_bounds()
        if bounds is None:
            return None
        # The levels, and the weights, may have been changed since.
        n_outputs, n_targets = np.shape(self.intercepts_[-1])[-1], len(bounds[0])
        if n_outputs % n_targets:
            raise ValueError(
                f"The predictions are limited to the range of {n_targets} targets"
                f" (target_scaling='clipped'), but coefs_ and intercepts_ have {n_outputs} outputs."
                " Restore the weights of the fit, or set these weights on a new estimator."
            )
        return tuple(np.repeat(values, n_outputs // n_targets) for values in bounds)

    def _complete_targets(self, n_outputs):
        n_levels = len(self._levels()) if self._predicts_levels() else 1
        if n_outputs % n_levels:
            raise ValueError(
                f"coefs_ and intercepts_ have {n_outputs} outputs, but quantile={self.quantile!r}"
                f" has {n_levels} levels. Set quantile to the levels of the outputs."
            )
        self._n_targets = getattr(self, "_n_targets", n_outputs // n_levels)
        self._target_scaling = getattr(self, "_target_scaling", None)
        if not hasattr(self, "out_activation_"):
            self.out_activation_ = self._make_loss(smoothed=False).output_activation

    def _encode_validation(self, rows):
        encoded = _targets.encode_numbers(rows.y, self.loss, rows.dtype, name="y_val")
        if encoded.shape[1] != self._n_targets:
            raise ValueError(
                f"y_val has {encoded.shape[1]} column(s), but y has {self._n_targets}. Both must"
                " have the same number of columns."
            )
        return self._standardized(encoded)

    def _levels(self):
        return _parameter_checks.quantile_levels(self.quantile)

    def _predicts_levels(self):
        """Return whether predictions have an axis for the levels of quantiles."""
        return self.loss == "quantile" and not isinstance(self.quantile, Real)

    def _make_loss(self, smoothed):
        from sknn._network._losses import regression_loss

        loss = regression_loss(self.loss, huber_delta=self.huber_delta, quantile=self._levels())
        bounds = self._target_bounds()
        if smoothed or bounds is None:
            return loss
        bounds = (np.repeat(self._standardized(values), loss.n_levels) for values in bounds)
        return loss._replace(bounds=tuple(bounds))

    def _n_outputs(self, y):
        return y.shape[1] * (len(self._levels()) if self._predicts_levels() else 1)

    def _shape_of_a_row(self):
        """Return the shape of the outputs for one row, (n_outputs,) or (n_targets, n_levels).

        The outputs of one target stand together, in the order of the levels.
        """
        n_outputs = np.shape(self.intercepts_[-1])[-1]
        n_targets = getattr(self, "_n_targets", 1)  # Weights set by hand come without it.
        has_levels = self.out_activation_ == "sort" or self._predicts_levels()
        return (n_targets, n_outputs // n_targets) if has_levels and n_targets > 1 else (n_outputs,)

    def _link(self, output_activation):
        """Return the output activation of the fitted network."""
        from sknn._network._losses import link

        return link(output_activation, self._n_levels(), self._output_bounds())

    def _n_levels(self):
        return self._shape_of_a_row()[-1]

    def _stratify(self, y):
        return None

    def _initial_outputs(self, problem):
        # From exp(0) = 1 to the mean, Adam may need as many epochs as early stopping waits for.
        # scikit-learn has the other loss with this output, "poisson", and starts it there.
        if self.loss != "gamma":
            return None
        y, n_outputs = problem.shards.of_all(problem.y), problem.network.layer_units[-1]
        (outputs,) = problem.loss.best_constants(y, problem.sample_weight, n_outputs)
        return outputs

    def _scorer(self):
        # R2 can be far below zero where the gamma loss, which is relative, is small.
        return "loss" if self.scoring is None and self.loss == "gamma" else self.scoring

    def _score_encoded(self, y, prediction, sample_weight):
        if self.loss == "quantile":
            return _targets.pinball_score(y, prediction, self._levels(), sample_weight)
        return _targets.r_squared(y, prediction, sample_weight)

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions in the dtype of the weights. If `quantile` is a list, the last axis holds
            the levels, and the values along it never decrease. The shape is then
            (n_samples, n_levels) for one target, and (n_samples, n_targets, n_levels) for several.
        """
        now = self._snapshot()
        prediction = now._outputs(X, now._link)
        is_flat = prediction.shape[1] == 1 and not now._predicts_levels()
        shape = () if is_flat else now._shape_of_a_row()
        return prediction.reshape(len(prediction), *shape)

    def score(self, X, y, sample_weight=None):
        """Return the coefficient of determination R2, or the D2 pinball score for quantiles.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Test samples.
        y : {array-like, torch.Tensor} of shape (n_samples,) or (n_samples, n_outputs)
            True targets for `X`.
        sample_weight : {array-like, torch.Tensor} of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        float
            Score of at most 1. The best constant prediction (the mean, or the quantile) has the
            score 0. With `loss="quantile"`, it is the mean of the D2 pinball scores of all levels
            and targets, see :func:`sklearn.metrics.d2_pinball_score`.
        """
        y, sample_weight = targets_of(y, "y"), targets_of(sample_weight, "sample_weight")
        if self.loss != "quantile":
            return super().score(X, y, sample_weight)
        y, levels = np.asarray(y), self._levels()
        prediction = self.predict(X)
        check_consistent_length(y, prediction)
        n_learned = prediction[0].size // getattr(self, "_n_targets", y[0].size)
        if n_learned != len(levels):
            raise ValueError(
                f"The 'quantile' parameter has {len(levels)} level(s), {list(levels)}, but the"
                f" fitted model predicts {n_learned}. Set quantile to the levels that were used in"
                " fit, or fit again."
            )
        return _targets.pinball_score(y, prediction, levels, sample_weight)

    @partial_fit_available
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on the given data.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The input data.
        y : {array-like, torch.Tensor} of shape (n_samples,) or (n_samples, n_outputs)
            True targets for `X`.
        sample_weight : {array-like, torch.Tensor} of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        self : object
            The estimator after one more epoch of training.

        Raises
        ------
        AttributeError
            If `solver="lbfgs"`.
        ValueError
            If `early_stopping` is set, or for the same reasons as in `fit`.
        """
        return self._fit(X, y, sample_weight, incremental=True)
