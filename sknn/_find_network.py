"""Search for the fitted network in another estimator, such as a Pipeline or a search."""

from __future__ import annotations

from typing import Any

from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.validation import check_is_fitted

from sknn._fitted import FittedNetwork


def network_in(estimator: Any) -> Any:
    """Return the fitted network in an estimator.

    Parameters
    ----------
    estimator : object
        A network of this package or of scikit-learn; a Pipeline that ends with one; a search whose
        best estimator is one; a TransformedTargetRegressor of one; or a combination of these.

    Returns
    -------
    FeedForwardClassifier, FeedForwardRegressor, MLPClassifier or MLPRegressor
        The network itself, not a copy.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator holds no such network.
    ValueError
        If a search has kept no estimator.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, FittedNetwork | MLPClassifier | MLPRegressor):
        check_is_fitted(estimator)
        return estimator
    if isinstance(estimator, Pipeline):
        return network_in(estimator.steps[-1][1])
    if isinstance(estimator, BaseSearchCV):
        if not estimator.refit:
            raise ValueError(
                f"{type(estimator).__name__} has refit=False, so it does not keep an estimator. Set"
                " refit=True, or pass an estimator that you have fitted with its best_params_."
            )
        check_is_fitted(estimator)
        return network_in(estimator.best_estimator_)
    if isinstance(estimator, TransformedTargetRegressor):
        check_is_fitted(estimator)
        return network_in(estimator.regressor_)
    raise TypeError(
        f"There is no network in {estimator!r}. Pass a fitted FeedForwardClassifier,"
        " FeedForwardRegressor, or scikit-learn MLPClassifier or MLPRegressor. You can also pass a"
        " Pipeline that ends with one of these, a search whose best_estimator_ is one of these, or"
        " a TransformedTargetRegressor of one of these."
    )
