"""`PeriodicEmbedding`."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval


class PeriodicEmbedding(BaseEstimator):
    """Learned periodic functions of numeric columns, for the parameter `numeric_embedding`.

    A column x is replaced by the values

        x,  W cos(2 pi w x + c) + b,

    where the frequencies w, the phases c, the weights W and the biases b of each column are
    learned. With these values, a network can fit functions of a single column that are not smooth,
    as trees can [1]_. These are the "PBLD" embeddings of [2]_. Columns that have at most two
    distinct values in the first `fit` are passed on unchanged.

    Parameters
    ----------
    n_frequencies : int, default=16
        Number of frequencies of each column.
    size : int, default=4
        Number of values that replace a column, including the column itself. It must be at least 2.
    scale : float, default=0.1
        Standard deviation of the initial frequencies, at most 1e6. It assumes columns with values
        of the order of one. This is the most important parameter: a larger value fits more
        irregular functions.

    See Also
    --------
    FeedForwardClassifier : Classifier with the parameter `numeric_embedding`.
    FeedForwardRegressor : Regressor with the parameter `numeric_embedding`.

    References
    ----------
    .. [1] Gorishniy, Y., Rubachev, I., & Babenko, A. (2022). On embeddings for numerical features
       in tabular deep learning. NeurIPS 35.
    .. [2] Holzmueller, D., Grinsztajn, L., & Steinwart, I. (2024). Better by default: strong
       pre-tuned MLPs and boosted trees on tabular data. NeurIPS 37.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import FeedForwardClassifier, PeriodicEmbedding
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = FeedForwardClassifier(
    ...     numeric_embedding=PeriodicEmbedding(scale=0.2), max_iter=300, random_state=0,
    ... )
    >>> clf = clf.set_params(numeric_embedding__n_frequencies=8).fit(X, y)
    >>> clf.module_state_["embedding.frequencies"].shape
    (4, 8)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_frequencies": [Interval(Integral, 1, None, closed="left")],
        "size": [Interval(Integral, 2, None, closed="left")],
        "scale": [Interval(Real, 0, 1e6, closed="right")],
    }

    def __init__(self, n_frequencies=16, size=4, scale=0.1):
        self.n_frequencies = n_frequencies
        self.size = size
        self.scale = scale
