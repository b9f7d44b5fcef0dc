"""`FeedForwardClassifier`."""

from __future__ import annotations

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from sknn import _targets
from sknn._base import BaseFeedForward, partial_fit_available, unchanged_on_failure
from sknn._docs import document


@document
class FeedForwardClassifier(ClassifierMixin, BaseFeedForward):
    """A feedforward network for classification: binary, multiclass or multilabel.

    Minimizes the cross-entropy, with a logistic output for two classes and for multilabel
    targets and a softmax for more classes. It stands where
    :class:`sklearn.neural_network.MLPClassifier` stands: equal parameters, data and
    `random_state` give the same model.

    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    {attributes}

    See Also
    --------
    FeedForwardRegressor : The same network for regression.
    sklearn.neural_network.MLPClassifier : The estimator that this one is a drop-in for.

    {references}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sknn import FeedForwardClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    >>> clf = FeedForwardClassifier(max_iter=1000, random_state=0).fit(X_train, y_train)
    >>> clf.predict(X_test[:3])
    array([0, 0, 0])
    >>> bool(clf.score(X_test, y_test) > 0.9)
    True
    """

    _numeric_targets = False

    def __init__(
        self,
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
        # With partial_fit, `classes` are those of all calls; `warm_start` asks for the same set
        # again.
        #
        # partial_fit  warm_start  classes_ known   action
        #      no          any          no          learn the classes from y
        #      no          no           yes         learn them anew
        #      no          yes          yes         y must have the same classes
        #      yes         yes          yes         y must have the same classes
        #      yes         no           yes         y must have no other class
        if first_pass and classes is None:
            self._learn_classes(y)
        else:
            self._check_classes(unique_labels(y))
        return _targets.encode_labels(y, self._label_binarizer, dtype)

    def _learn_classes(self, y):
        self._label_binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._label_binarizer.classes_

    def _check_classes(self, classes):
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same "
                    "classes as in the previous call to fit. Previously "
                    f"got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _is_multiclass(self):
        return self._label_binarizer.y_type_ == "multiclass"

    def _loss_name(self):
        return "multiclass_log_loss" if self._is_multiclass() else "binary_log_loss"

    def _n_outputs(self, y):
        return len(self.classes_) if self._is_multiclass() else y.shape[1]

    def _score_encoded(self, y, prediction, sample_weight):
        if len(self.classes_) == 1:  # whatever the output, it is the label
            prediction = np.where(np.isfinite(prediction), y, np.nan)
        return _targets.accuracy(y, prediction, sample_weight)

    def _stratify(self, y):
        # As scikit-learn: neither multiclass (it counts one-hot columns) nor multilabel splits are.
        return y.astype(bool) if self._n_outputs(y) == 1 else None

    def predict(self, X):
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels of the dtype of `classes_`; zeros and ones for a multilabel target.
        """
        from sknn._inference import link

        return _targets.decode_labels(self._outputs(X, link), self._label_binarizer)

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_` and the dtype of the weights, never exactly zero. The rows
            sum to one, except for a multilabel target.
        """
        from sknn._inference import probabilities

        return self._outputs(X, probabilities)

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; from log-softmax, so it is finite also where a probability
            is too small for the dtype.
        """
        from sknn._inference import log_probabilities

        return self._outputs(X, log_probabilities)

    @partial_fit_available
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Go on by one epoch over the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows to learn from.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Their labels, or multilabel indicators.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come. Needed in the first call, optional in later ones.

        Returns
        -------
        self : object
            The estimator, one epoch further.

        Raises
        ------
        AttributeError
            With `solver="lbfgs"`.
        ValueError
            If `early_stopping=True`, if `classes` are missing in the first call or change later,
            if `y` has others, or as in `fit`.
        """
        with unchanged_on_failure(self):
            if _check_partial_fit_first_call(self, classes):
                multilabel = type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            return self._fit(X, y, sample_weight, incremental=True, classes=self.classes_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
