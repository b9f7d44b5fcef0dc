"""`FeedForwardClassifier`."""

from __future__ import annotations

from functools import cached_property
from numbers import Real
from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from sknn._base import BaseFeedForward, partial_fit_available
from sknn._docs import document
from sknn._input import _targets
from sknn._input._data_checks import check_total, targets_of
from sknn._input._hints import explaining_keywords
from sknn._input._parameter_checks import check_class_weights, keys_and_classes


@document
class FeedForwardClassifier(ClassifierMixin, BaseFeedForward):
    """A feedforward network for classification: binary, multiclass or multilabel.

    It minimizes the cross-entropy (or another `loss`). The output is logistic for two classes and
    for multilabel targets, and a softmax for more classes. It can replace
    :class:`sklearn.neural_network.MLPClassifier`: the same parameters, data and `random_state` give
    the same model.

    Parameters
    ----------
    {parameters}
    loss : {'log_loss', 'focal'} or callable, default='log_loss'
        'log_loss' is the cross-entropy. 'focal' is the focal loss [4]_,
        `-(1 - p) ** focal_gamma * log(p)`, where p is the predicted probability of the true class.
        It gives less weight to samples that are classified well. A callable takes the raw outputs
        and the targets, which are torch tensors of the same shape (n_samples, n_outputs), and
        returns the loss of each sample as a tensor of shape (n_samples,). It must use operations
        that torch can differentiate. The targets are ones and zeros, with one column for each class
        (one column in total for two classes). The output activation is the same as for 'log_loss'.
    focal_gamma : float, default=2.0
        Exponent of 'focal', at least 0. With 0, 'focal' is the same as 'log_loss'.
    label_smoothing : float, default=0.0
        Fraction e of each label that is spread over all classes [5]_, in [0, 1). Targets y become
        `y * (1 - e) + e / K` for K classes, with K = 2 for a logistic output. Validation losses and
        scores use the original labels.
    class_weight : dict, 'balanced', list of dict or None, default=None
        Weights of the classes in the form `{label: weight}`. They are multiplied by
        `sample_weight`, and must be at least 0. Labels that are not in the dict have the weight 1.
        'balanced' uses the weights `n_samples / (n_classes * np.bincount(y))`. For a multilabel
        target, pass a list with one dict for each column. See
        :func:`sklearn.utils.class_weight.compute_sample_weight`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels.
    {attributes}

    See Also
    --------
    FeedForwardRegressor : The same network for regression.
    sklearn.neural_network.MLPClassifier : The estimator that this one can replace.

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
    _name_in_files = "FeedForwardClassifier"
    _parameter_constraints: ClassVar[dict] = {
        **BaseFeedForward._parameter_constraints,
        "loss": [StrOptions({"log_loss", "focal"}), callable],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    @explaining_keywords
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
        loss="log_loss",
        focal_gamma=2.0,
        label_smoothing=0.0,
        class_weight=None,
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
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    def _check_targets(self, rows, shards, incremental, first_pass):
        # With partial_fit, `classes` are the classes of all calls; `warm_start` requires the same
        # set of classes again.
        #
        # partial_fit  warm_start  classes_ known   action
        #      no          any          no          learn the classes from y
        #      no          no           yes         learn them anew
        #      no          yes          yes         y must have the same classes
        #      yes         yes          yes         y must have the same classes
        #      yes         no           yes         y must have no other class
        seen = _targets.labels_of_all(rows.y, shards.processes)
        if not incremental and (first_pass or not hasattr(self, "classes_")):
            self._learn_classes(seen)
        else:
            self._check_classes(_targets.labels_in(seen))
        return _targets.encode_labels(rows.y, self._label_binarizer, rows.dtype)

    def _check_partial_fit(self, y, classes):
        if _check_partial_fit_first_call(self, classes):
            if self.process_group is not None and getattr(y, "shape", (1,))[0] == 0 and y.ndim == 2:
                y = _targets.every_indicator(y.shape[1])
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)

    def _learn_classes(self, y):
        self._label_binarizer = _targets.fitted_binarizer(y)
        self.classes_ = self._label_binarizer.classes_

    def _complete_targets(self, n_outputs):
        out = getattr(self, "out_activation_", None)
        if "_label_binarizer" in vars(self):
            self.classes_ = getattr(self, "classes_", self._label_binarizer.classes_)
        elif hasattr(self, "classes_"):
            self.classes_ = np.asarray(self.classes_)
            self._label_binarizer = _targets.binarizer_of_outputs(self.classes_, n_outputs, out)
        if out is None and n_outputs == 1:
            self.out_activation_ = "logistic"
        elif out is None and hasattr(self, "classes_"):
            self.out_activation_ = "softmax" if self._is_multiclass() else "logistic"

    @cached_property
    def _label_binarizer(self):
        # This is read only where the attribute is missing: an attribute goes before this property.
        raise _targets.classes_are_missing(self)

    def _check_classes(self, classes):
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same "
                    "classes as in the previous call to fit. Previously "
                    f"got {self.classes_}, `y` has {classes}"
                )
        elif len(_targets.unknown_labels(classes, self.classes_)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _encode_validation(self, rows):
        y = rows.y
        is_multilabel = self._label_binarizer.y_type_.startswith("multilabel")
        if is_multilabel and (y.ndim != 2 or y.shape[1] != len(self.classes_)):
            raise ValueError(
                f"y_val has the shape {y.shape}. It must be a multilabel indicator like y, of shape"
                f" (n_val, {len(self.classes_)})."
            )
        if not is_multilabel and y.ndim == 2:
            raise ValueError(
                f"y_val has the shape {y.shape}. It must have one label for each row, like y."
                " ClassifierChain and MultiOutputClassifier fit one network for each column of y,"
                " but pass on y_val as a whole. With these, omit y_val and use the validation split"
                " of early_stopping."
            )
        try:
            unseen = _targets.unknown_labels(unique_labels(y), self.classes_)
            if not len(unseen):
                encoded = _targets.encode_labels(y, self._label_binarizer, rows.dtype)
        except (ValueError, TypeError) as error:  # `y_val` is of another kind than y
            raise ValueError(
                "y_val cannot be used: its labels must be of the same kind as those of y, which has"
                f" the classes {self.classes_}. {error}"
            ) from error
        if len(unseen):
            raise ValueError(
                f"y_val has the labels {unseen}, which do not occur in y. The classes of y are"
                f" {self.classes_}."
                " Remove the rows with these labels from the validation data, or add rows with"
                f" these labels to y.{self._advice_on_codes()}"
            )
        return encoded

    def _advice_on_codes(self):
        """Return what to do if the classes are codes that an ensemble may have made of y."""
        if self.classes_.tolist() != list(range(len(self.classes_))):
            return ""
        advice = (
            " If an ensemble fits this network: VotingClassifier, StackingClassifier and"
            " BaggingClassifier encode y as 0 to k-1, but pass on y_val unchanged. Encode both with"
            " the same LabelEncoder before you fit the ensemble."
        )
        if len(self.classes_) == 2:
            advice += (
                " OneVsRestClassifier, OneVsOneClassifier and OutputCodeClassifier train each"
                " network on the labels 0 and 1. With these, omit y_val and use the validation"
                " split of early_stopping."
            )
        return advice

    def _finalize_sample_weight(self, rows, shards, incremental):
        sample_weight = super()._finalize_sample_weight(rows, shards, incremental)
        if self.class_weight is None:
            return sample_weight
        y = rows.y
        if shards.processes.is_group:  # "balanced" counts the rows of all processes
            y = np.concatenate(shards.processes.gather(y.toarray() if issparse(y) else y))
        is_list = isinstance(self.class_weight, list)
        if incremental and "balanced" in (self.class_weight if is_list else [self.class_weight]):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which only sees part of"
                " the data at a time. Compute the weights for all labels, or for a large sample y,"
                " with compute_class_weight('balanced', classes=classes, y=y), and pass them as the"
                " class_weight parameter in a dict {label: weight}."
            )
        if incremental:
            # These rows may lack some classes. One row of each class is added, and taken off.
            everything = self.classes_
            if y.ndim == 2:
                everything = _targets.every_indicator(y.shape[1])
            labels = np.concatenate([y.toarray() if issparse(y) else y, everything])
            weight = self._class_weights(labels)[: len(labels) - len(everything)]
        else:
            weight = self._class_weights(y)
        if sample_weight is not None:
            weight = weight * sample_weight
        weight = weight.astype(rows.dtype, copy=False)
        check_total(weight, "sample_weight times class_weight")
        return weight

    def _class_weights(self, y):
        try:
            check_class_weights(self.class_weight)
            return compute_sample_weight(self.class_weight, y)
        except (ValueError, IndexError) as error:
            if "not in class_weight" in str(error):
                error.args = (f"{error}. {keys_and_classes(self.class_weight, y)}",)
            if "class_weight" in str(error):
                raise
            raise ValueError(
                f"The 'class_weight' parameter is {self.class_weight!r}. It must be 'balanced' or a"
                " dict {label: weight} with numbers as weights. For a multilabel target, it must be"
                f" a list of these, one for each column. {error}"
            ) from error

    def _is_multiclass(self):
        return self._label_binarizer.y_type_ == "multiclass"

    def _make_loss(self, smoothed):
        from sknn._network._losses import classification_loss

        return classification_loss(
            self.loss,
            is_multiclass=self._is_multiclass(),
            label_smoothing=self.label_smoothing if smoothed else 0.0,
            focal_gamma=self.focal_gamma,
        )

    def _n_outputs(self, y):
        return len(self.classes_) if self._is_multiclass() else y.shape[1]

    def _score_encoded(self, y, prediction, sample_weight):
        if len(self.classes_) == 1:  # All predictions are this class.
            prediction = np.where(np.isfinite(prediction), y, np.nan)
        return _targets.accuracy(y, prediction, sample_weight)

    def _stratify(self, y):
        # As in scikit-learn, multiclass splits (for which it counts one-hot columns) and multilabel
        # splits are not stratified.
        return y.astype(bool) if self._n_outputs(y) == 1 else None

    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Predicted labels in the dtype of `classes_`, or zeros and ones for a multilabel target.
        """
        from sknn._network._losses import link

        snapshot = self._snapshot()
        return _targets.decode_labels(snapshot._outputs(X, link), snapshot._label_binarizer)

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities in the order of `classes_` and in the dtype of the weights. They are never
            exactly zero. Each row sums to one, except for a multilabel target.
        """
        from sknn._network._inference import probabilities

        return self._snapshot()._outputs(X, probabilities)

    def predict_log_proba(self, X):
        """Predict the logarithms of the class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms in the order of `classes_`. They are computed with log-softmax, so they are
            finite even if a probability is too small for the dtype.
        """
        from sknn._network._inference import log_probabilities

        return self._snapshot()._outputs(X, log_probabilities)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy: the fraction of samples whose labels are all correct.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Test samples.
        y : {array-like, torch.Tensor} of shape (n_samples,) or (n_samples, n_classes)
            True labels for `X`, or a multilabel indicator.
        sample_weight : {array-like, torch.Tensor} of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        float
            Accuracy between 0 and 1.
        """
        weight = targets_of(sample_weight, "sample_weight")
        return super().score(X, targets_of(y, "y"), weight)

    @partial_fit_available
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on the given data.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            The input data.
        y : {array-like, torch.Tensor} of shape (n_samples,) or (n_samples, n_classes)
            True labels for `X`, or a multilabel indicator.
        sample_weight : {array-like, torch.Tensor} of shape (n_samples,), default=None
            Sample weights.
        classes : array-like of shape (n_classes,), default=None
            Classes across all calls to `partial_fit`. It must be passed in the first call and can
            be omitted in later calls.

        Returns
        -------
        self : object
            The estimator after one more epoch of training.

        Raises
        ------
        AttributeError
            If `solver="lbfgs"`.
        ValueError
            If `early_stopping` is set, if `classes` is missing in the first call or changes later,
            if `y` contains labels that are not in `classes`, or for the same reasons as in `fit`.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
