"""Load real datasets from scikit-learn, from a folder, or from OpenML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import fetch_openml, load_digits
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    import pandas as pd

OPENML = {"magic": "MagicTelescope"}  # names that are different on OpenML


def load_table(name: str, folder: str | None) -> tuple[pd.DataFrame, pd.Series] | None:
    """Return a table and its target without changes, or None if they are not available.

    They come from a folder or from OpenML. A folder contains `<name>.csv.gz`, whose first line has
    the column names, one of which is `target`.
    """
    try:
        import pandas as pd

        if folder is not None:
            frame = pd.read_csv(Path(folder) / f"{name}.csv.gz")
            return frame.drop(columns="target"), frame["target"]
        return fetch_openml(OPENML.get(name, name), version=1, return_X_y=True, as_frame=True)
    except (ImportError, OSError, ValueError) as error:  # ValueError: the name is unknown to OpenML
        print(f"{name} is skipped: {error}")
        return None


def load(name: str, folder: str | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return scaled data and targets of `digits`, `letter` or `diamonds`, or None.

    The data are arrays of float64, and categories are one-hot encoded. The prices of the diamonds
    are scaled as well. The result is None if the dataset is not available.
    """
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return StandardScaler().fit_transform(X), y
    table = load_table(name, folder)
    if table is None:
        return None
    import pandas as pd

    X, y = table
    X = StandardScaler().fit_transform(pd.get_dummies(X).to_numpy(np.float64))
    if name == "diamonds":
        y = y.to_numpy(np.float64)
        return X, (y - y.mean()) / y.std()
    return X, y.to_numpy(str)
