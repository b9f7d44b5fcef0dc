"""The feedforward network for scikit-learn users."""

from sknn._classifier import FeedForwardClassifier
from sknn._regressor import FeedForwardRegressor

__all__ = ["FeedForwardClassifier", "FeedForwardRegressor"]
__version__ = "0.1.0"
