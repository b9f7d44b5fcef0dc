"""The warning about trainings that ended normally but probably failed."""


class TrainingWarning(UserWarning):
    """Warning about a training that ended without an error but has probably failed.

    `fit` issues this warning if

    - early stopping has restored the weights of the first or second epoch;
    - the best validation score is no better than that of a constant prediction;
    - the values in the columns of `X` differ in size by a factor of more than 1,000;
    - training has stopped long before the end of the learning rate schedule;
    - the targets of a regression are so large that the solver can hardly reach them, or so small
      that `tol` ends training too early;
    - `scoring` is set, but there are no validation data to score;
    - `quantile`, `huber_delta` or `focal_gamma` is set, but `loss` is a loss without it.

    :meth:`~sknn.FeedForwardClassifier.summary` shows the same information. To silence the warnings,
    use ``warnings.simplefilter("ignore", sknn.TrainingWarning)``.

    See Also
    --------
    sklearn.exceptions.ConvergenceWarning : Warning about a training that has reached `max_iter`.

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
