"""`FeedForwardRegressor`."""

from __future__ import annotations

from typing import ClassVar

from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions

from sknn import _targets
from sknn._base import BaseFeedForward, partial_fit_available
from sknn._docs import document


@document
class FeedForwardRegressor(RegressorMixin, BaseFeedForward):
    """A feedforward network for regression, with one output or several.

    Minimizes half the squared error or half the Poisson deviance. It stands where
    :class:`sklearn.neural_network.MLPRegressor` stands: equal parameters, data and
    `random_state` give the same model.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        Half the squared error, with the identity as output activation, or half the Poisson
        deviance, with the exponential; the latter needs `y >= 0`.
    {parameters_without_heading}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    FeedForwardClassifier : The same network for classification.
    sklearn.neural_network.MLPRegressor : The estimator that this one is a drop-in for.

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
    _parameter_constraints: ClassVar[dict] = {
        **BaseFeedForward._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

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
        dtype="auto",
        device="cpu",
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
        self.dtype = dtype
        self.device = device

    def _check_targets(self, y, classes, first_pass, dtype):
        return _targets.encode_numbers(y, self.loss, dtype)

    def _loss_name(self):
        return self.loss

    def _n_outputs(self, y):
        return y.shape[1]

    def _stratify(self, y):
        return None

    def _score_encoded(self, y, prediction, sample_weight):
        return _targets.r_squared(y, prediction, sample_weight)

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the dtype of the weights.
        """
        from sknn._inference import link

        prediction = self._outputs(X, link)
        return prediction.ravel() if prediction.shape[1] == 1 else prediction

    @partial_fit_available
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Go on by one epoch over the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows to learn from.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The estimator, one epoch further.

        Raises
        ------
        AttributeError
            With `solver="lbfgs"`.
        ValueError
            If `early_stopping=True`, or as in `fit`.
        """
        return self._fit(X, y, sample_weight, incremental=True)
