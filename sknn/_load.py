"""The public function that loads an estimator from a file."""

from __future__ import annotations

import os

from sknn._classifier import FeedForwardClassifier
from sknn._exports import _saved
from sknn._regressor import FeedForwardRegressor


def load(path: str | os.PathLike) -> FeedForwardClassifier | FeedForwardRegressor:
    """Load an estimator from a file written by its `save` method.

    The file contains only numbers, strings and arrays, and all of them are checked. Loading runs no
    code, so files from untrusted sources are safe to load. See docs/persistence.md.

    Parameters
    ----------
    path : str or os.PathLike
        Path of the file.

    Returns
    -------
    FeedForwardClassifier or FeedForwardRegressor
        The estimator as it was saved, except that `checkpoint_dir` is None, `callbacks_` is empty,
        and `device_` is 'cpu' if the original device is not available.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is truncated or damaged, if it was written by a newer version, or if it was not
        written by this package.

    See Also
    --------
    FeedForwardClassifier.save : Save a classifier to a file.
    FeedForwardRegressor.save : Save a regressor to a file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> import sknn
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = sknn.FeedForwardClassifier(max_iter=1000, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "iris.safetensors")
    ...     clf.save(path)
    ...     loaded = sknn.load(path)
    >>> bool((loaded.predict_proba(X) == clf.predict_proba(X)).all())
    True
    """
    kinds = (FeedForwardClassifier, FeedForwardRegressor)
    return _saved.load(path, {kind._name_in_files: kind for kind in kinds})
