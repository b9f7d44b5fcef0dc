"""`PeriodicEmbedding`."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval


class PeriodicEmbedding(BaseEstimator):
    """Periodic functions of each numeric column, as `numeric_embedding` of an estimator.

    A column x is replaced by the values

        x,  W cos(2 pi w x + c) + b,

    where the frequencies w, the phases c, the weights W and the biases b of each column are
    learned. A network with them fits functions of one column that are not smooth, as trees do
    [1]_. These are the "PBLD" embeddings of [2]_. Columns that have at most two values in the rows
    of the first `fit` are passed on as they are.

    Parameters
    ----------
    n_frequencies : int, default=16
        Number of frequencies of each column.
    size : int, default=4
        Number of values that stand for a column, the column itself among them; at least 2.
    scale : float, default=0.1
        Standard deviation of the initial frequencies, up to 1e6, for columns whose values are of
        the order of one. It is the parameter that matters most: a larger one fits more irregular
        functions.

    See Also
    --------
    FeedForwardClassifier : Classifier that takes it as `numeric_embedding`.
    FeedForwardRegressor : Regressor that takes it as `numeric_embedding`.

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
