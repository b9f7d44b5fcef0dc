"""The warning of a training that has probably not learned what it could."""


class TrainingWarning(UserWarning):
    """A training has ended without an error, and there are signs that it has gone wrong.

    `fit` warns if

    - early stopping has restored the weights of the first or second epoch;
    - the best validation score is no better than that of a constant prediction;
    - columns of `X` have values whose sizes differ by a factor of more than 1,000;
    - training has stopped while a schedule of the learning rate had much of its epochs to go;
    - `scoring` is set although there are no validation rows to score.

    The same facts are lines of :meth:`~sknn.FeedForwardClassifier.summary`. A filter silences the
    warnings: ``warnings.simplefilter("ignore", sknn.TrainingWarning)``.

    See Also
    --------
    sklearn.exceptions.ConvergenceWarning : The warning of a training that has reached `max_iter`.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from sknn import FeedForwardRegressor, TrainingWarning
    >>> X = np.random.RandomState(0).standard_normal((50, 2)) * [1, 1e6]
    >>> reg = FeedForwardRegressor(solver="lbfgs", random_state=0)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     reg = reg.fit(X, X[:, 0])
    >>> TrainingWarning in [warning.category for warning in caught]
    True
    """
