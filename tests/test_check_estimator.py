"""scikit-learn's common tests, with nothing excused."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from sknn import FeedForwardClassifier, FeedForwardRegressor

VARIANTS = [
    {},
    {"solver": "sgd"},
    {"solver": "lbfgs"},
    {"activation": "tanh"},
    {"activation": "logistic"},
    {"activation": "identity"},
    {"early_stopping": True},
    {"dtype": "float64"},
    {"dtype": "float32"},
    {"hidden_layer_sizes": (9, 8)},
    {"warm_start": True},
]


def _cases():
    for estimator_class in (FeedForwardClassifier, FeedForwardRegressor):
        for variant in VARIANTS:
            # max_iter as scikit-learn sets it for its own class in these tests.
            estimator = estimator_class(max_iter=100, **variant)
            for checked, check in estimator_checks_generator(estimator, legacy=True):
                name = f"{estimator_class.__name__}-{variant}-{check.func.__name__}"
                yield pytest.param(
                    checked, check, id=name, marks=[pytest.mark.long] if variant else []
                )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(_cases()))
def test_common_check_passes(estimator, check):
    check(estimator)
