"""The feedforward network for scikit-learn users."""

from sknn._classifier import FeedForwardClassifier
from sknn._regressor import FeedForwardRegressor
from sknn._saved import load

__all__ = ["FeedForwardClassifier", "FeedForwardRegressor", "load"]
__version__ = "0.1.0"
