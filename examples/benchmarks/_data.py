"""Real data sets, as arrays of float64: from a folder, or from OpenML."""

from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml, load_digits
from sklearn.preprocessing import StandardScaler


def load(name: str, folder: str | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return scaled rows and targets of `digits`, `letter` or `diamonds`; None if out of reach.

    A folder holds `<name>.csv.gz` with a line of names, one of them `target`. Categories become
    columns of zeros and ones. The prices of the diamonds are scaled as well.
    """
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return StandardScaler().fit_transform(X), y
    try:
        import pandas as pd

        if folder is not None:
            frame = pd.read_csv(Path(folder) / f"{name}.csv.gz")
            X, y = frame.drop(columns="target"), frame["target"]
        else:
            X, y = fetch_openml(name, version=1, return_X_y=True, as_frame=True)
    except (ImportError, OSError) as error:
        print(f"{name} is skipped: {error}")
        return None
    X = StandardScaler().fit_transform(pd.get_dummies(X).to_numpy(np.float64))
    if name == "diamonds":
        y = y.to_numpy(np.float64)
        return X, (y - y.mean()) / y.std()
    return X, y.to_numpy(str)
