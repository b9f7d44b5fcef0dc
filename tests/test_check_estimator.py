"""scikit-learn's common tests: all for the defaults, and for variants what its own class passes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from sknn import FeedForwardClassifier, FeedForwardRegressor

THEIRS = {FeedForwardClassifier: MLPClassifier, FeedForwardRegressor: MLPRegressor}
VARIANTS = [
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
# These two compare fits on weighted and on repeated rows to a relative 1e-7, about float32's own
# rounding. `test_float32_weights_equal_repeated_rows` holds the same to what float32 can.
BEYOND_FLOAT32 = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("estimator", [FeedForwardClassifier(), FeedForwardRegressor()])
def test_check_estimator_passes_with_nothing_excused(estimator):
    results = check_estimator(estimator, on_skip=None)
    assert {result["status"] for result in results} <= {"passed", "skipped"}
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert skipped <= {
        "check_array_api_input",  # needs an environment variable of SciPy's
        "check_classifiers_multilabel_output_format_decision_function",  # no such method
    }


def _cases():
    for estimator_class in THEIRS:
        for variant in VARIANTS:
            # max_iter as scikit-learn sets it for its own class in these tests.
            estimator = estimator_class(max_iter=100, **variant)
            for _, check in estimator_checks_generator(estimator, legacy=True):
                name = check.func.__name__
                case = f"{estimator_class.__name__}-{variant}-{name}"
                if variant.get("dtype") == "float32" and name in BEYOND_FLOAT32:
                    continue
                yield pytest.param(estimator, check, id=case)


@pytest.mark.long
@pytest.mark.parametrize(("estimator", "check"), list(_cases()))
def test_common_check_of_a_variant_passes_where_scikit_learns_class_does(estimator, check):
    try:
        check(estimator)
    except (AssertionError, ValueError):
        parameters = estimator.get_params()
        # The additions have no counterpart: what fails with them in use, fails.
        assert (parameters.pop("dtype"), parameters.pop("device")) == ("auto", "cpu")
        theirs = THEIRS[type(estimator)](**parameters)
        with pytest.raises((AssertionError, ValueError)):
            check(theirs)
        pytest.skip("scikit-learn's own class fails this check with these parameters")


@pytest.mark.parametrize("estimator_class", list(THEIRS))
def test_float32_weights_equal_repeated_rows(estimator_class):
    rng = np.random.RandomState(0)
    X, y = rng.randn(40, 5), rng.randint(0, 2, 40)
    weight = rng.randint(0, 3, 40)
    rows = np.repeat(np.arange(40), weight)
    estimator = estimator_class(dtype="float32", max_iter=50, random_state=0)
    weighted = estimator.fit(X, y, sample_weight=weight).predict(X)
    repeated = estimator.fit(X[rows], y[rows]).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4, atol=1e-4)
