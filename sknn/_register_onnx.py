"""The public function that makes the estimators known to skl2onnx."""

from __future__ import annotations

from sknn._classifier import FeedForwardClassifier
from sknn._regressor import FeedForwardRegressor


def register_onnx() -> None:
    """Register the estimators in skl2onnx, for conversion of ensembles that hold one.

    If an estimator is converted by itself, in a `Pipeline` or as the best of a `GridSearchCV`,
    skl2onnx asks the estimator, and this function need not be called. For the estimators in a
    `VotingClassifier`, a `CalibratedClassifierCV` or a `StackingClassifier`, it only looks up the
    class, which must have been registered.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    See Also
    --------
    FeedForwardClassifier : The network for classes, which skl2onnx converts.
    FeedForwardRegressor : The network for numbers, which skl2onnx converts.

    Examples
    --------
    >>> import sknn
    >>> sknn.register_onnx()
    """
    from sknn._exports._onnx import register

    register((FeedForwardClassifier, FeedForwardRegressor))
