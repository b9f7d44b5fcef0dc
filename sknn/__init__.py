"""The feedforward network for scikit-learn users."""

from sknn._classifier import FeedForwardClassifier
from sknn._exports._exchange import from_sklearn
from sknn._exports._saved import load
from sknn._loss_curve_display import LossCurveDisplay
from sknn._regressor import FeedForwardRegressor
from sknn._ways_out import register_onnx
from sknn._weights_display import WeightsDisplay

__all__ = [
    "FeedForwardClassifier",
    "FeedForwardRegressor",
    "LossCurveDisplay",
    "WeightsDisplay",
    "from_sklearn",
    "load",
    "register_onnx",
]
__version__ = "0.1.0"
