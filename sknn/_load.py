"""The public function that loads an estimator from a file."""

from __future__ import annotations

import os

from sknn._classifier import FeedForwardClassifier
from sknn._exports import _saved
from sknn._regressor import FeedForwardRegressor


def load(path: str | os.PathLike) -> FeedForwardClassifier | FeedForwardRegressor:
    """Load an estimator from a file that its `save` has made.

    The file holds numbers, strings and arrays, which are checked, and no code is run, whoever made
    it. See docs/persistence.md.

    Parameters
    ----------
    path : str or os.PathLike
        Path of the file.

    Returns
    -------
    FeedForwardClassifier or FeedForwardRegressor
        The estimator as it was when it was saved, except that `checkpoint_dir` is None, that
        `callbacks_` is empty, and that `device_` is 'cpu' if the device is absent.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is cut off or damaged, if a newer version has made it, or if it is not a file of
        this package.

    See Also
    --------
    FeedForwardClassifier.save : Save a classifier in a file.
    FeedForwardRegressor.save : Save a regressor in a file.

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
