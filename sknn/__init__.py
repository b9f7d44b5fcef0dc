"""The feedforward network for scikit-learn users."""

from sknn._classifier import FeedForwardClassifier
from sknn._from_sklearn import from_sklearn
from sknn._input._periodic_embedding import PeriodicEmbedding
from sknn._load import load
from sknn._loss_curve_display import LossCurveDisplay
from sknn._platform._version import __version__ as __version__
from sknn._register_onnx import register_onnx
from sknn._regressor import FeedForwardRegressor
from sknn._tabular_pipeline import tabular_pipeline
from sknn._training._training_warning import TrainingWarning
from sknn._weights_display import WeightsDisplay

__all__ = [
    "FeedForwardClassifier",
    "FeedForwardRegressor",
    "LossCurveDisplay",
    "PeriodicEmbedding",
    "TrainingWarning",
    "WeightsDisplay",
    "from_sklearn",
    "load",
    "register_onnx",
    "tabular_pipeline",
]
