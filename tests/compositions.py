"""Small networks of both libraries and data frames, for tests of compositions."""

from __future__ import annotations

import pandas as pd
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sknn import FeedForwardClassifier, FeedForwardRegressor

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0, "learning_rate_init": 0.01}
OURS = {"classifier": FeedForwardClassifier, "regressor": FeedForwardRegressor}
THEIRS = {"classifier": MLPClassifier, "regressor": MLPRegressor}


def network(target, library=OURS, **parameters):
    kind = "classifier" if target in ("binary", "multiclass", "multilabel") else "regressor"
    return library[kind](**SMALL | parameters)


def frame_of(X):
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
