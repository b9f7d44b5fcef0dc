"""The public function that makes the estimators known to skl2onnx."""

from __future__ import annotations

from sknn._classifier import FeedForwardClassifier
from sknn._regressor import FeedForwardRegressor


def register_onnx() -> None:
    """Register the estimators with skl2onnx, so that it can convert ensembles that contain them.

    You do not need this function to convert a single estimator, an estimator in a `Pipeline`, or
    the best estimator of a `GridSearchCV`, because skl2onnx then gets the converter from the
    estimator. For the estimators in a `VotingClassifier`, a `CalibratedClassifierCV` or a
    `StackingClassifier`, however, skl2onnx only looks up the class, which must be registered.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    See Also
    --------
    FeedForwardClassifier : The classifier that skl2onnx can convert.
    FeedForwardRegressor : The regressor that skl2onnx can convert.

    Examples
    --------
    >>> import sknn
    >>> sknn.register_onnx()
    """
    from sknn._exports._onnx import register

    register((FeedForwardClassifier, FeedForwardRegressor))
