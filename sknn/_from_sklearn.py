"""The public function that makes an estimator from an MLP of scikit-learn."""

from __future__ import annotations

from sklearn.neural_network import MLPClassifier, MLPRegressor

from sknn._classifier import FeedForwardClassifier
from sknn._exports import _sklearn_exchange
from sknn._regressor import FeedForwardRegressor


def from_sklearn(
    mlp: MLPClassifier | MLPRegressor,
) -> FeedForwardClassifier | FeedForwardRegressor:
    """Convert a scikit-learn MLP, fitted or not, to an estimator of this package.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor
        The estimator to convert. It is not modified. Subclasses are not accepted, because their
        predictions may differ.

    Returns
    -------
    FeedForwardClassifier or FeedForwardRegressor
        An estimator with the same parameters. If `mlp` is fitted, the estimator also has the same
        predictions, fitted attributes and solver state, so that `partial_fit` continues as it would
        in scikit-learn. Values that scikit-learn does not record are NaN in `learning_rate_curve_`,
        `validation_loss_curve_` and the durations of `net_.history`.

    Raises
    ------
    TypeError
        If `mlp` is not an instance of one of these two classes.

    See Also
    --------
    FeedForwardClassifier.to_sklearn : Convert a classifier to scikit-learn's.
    FeedForwardRegressor.to_sklearn : Convert a regressor to scikit-learn's.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import sknn
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = sknn.from_sklearn(MLPClassifier(max_iter=1000, random_state=0).fit(X, y))
    >>> type(clf).__name__
    'FeedForwardClassifier'
    >>> bool(clf.score(X, y) > 0.9)
    True
    """
    kinds = {MLPClassifier: FeedForwardClassifier, MLPRegressor: FeedForwardRegressor}
    return _sklearn_exchange.from_sklearn(mlp, kinds)
