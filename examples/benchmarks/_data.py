"""Real data sets from scikit-learn, from a folder, or from OpenML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import fetch_openml, load_digits
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    import pandas as pd

OPENML = {"magic": "MagicTelescope"}  # names that differ there


def load_table(name: str, folder: str | None) -> tuple[pd.DataFrame, pd.Series] | None:
    """Return a table and its target as they are, or None if they are out of reach.

    They are from a folder or from OpenML. A folder holds `<name>.csv.gz` with a line of names, one
    of them `target`.
    """
    try:
        import pandas as pd

        if folder is not None:
            frame = pd.read_csv(Path(folder) / f"{name}.csv.gz")
            return frame.drop(columns="target"), frame["target"]
        return fetch_openml(OPENML.get(name, name), version=1, return_X_y=True, as_frame=True)
    except (ImportError, OSError, ValueError) as error:  # a ValueError for a name unknown there
        print(f"{name} is skipped: {error}")
        return None


def load(name: str, folder: str | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return scaled rows and targets of `digits`, `letter` or `diamonds`; None if out of reach.

    The rows are arrays of float64, in which categories are columns of zeros and ones. The prices of
    the diamonds are scaled as well.
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
