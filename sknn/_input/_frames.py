"""Handle the properties of data frames that scikit-learn's validation does not look at.

scikit-learn reads the column names, and converts a frame to an array by `__array__`. This module
imports no library of frames.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from sknn._input._memory_maps import chunks
from sknn._input._tensors import is_tensor
from sknn._platform._sklearn_compat import readable_frame

# The names of float32 in pandas (NumPy's, nullable and Arrow's dtype), polars and pyarrow.
_FLOAT32 = {"float32", "Float32", "float[pyarrow]", "float"}
# The names of these libraries' dtypes for text, categories and dates, in lower case, begin with one
# of these words.
_TEXT = ("str", "utf8", "large_str", "object", "category", "categorical", "enum", "dictionary")
_DATES = ("date", "time", "duration", "period", "interval")
# How NumPy and pandas fail to make numbers of them.
_NO_NUMBERS = re.compile(r"could not convert|Cannot cast|could not be promoted|float\(\) argument")
# How messages name a missing value in an array of objects, by the name of its type. NA is pandas'.
_MISSING = {"NoneType": "None", "NAType": "NA", "NaTType": "NaT"}


def unwrapped(value: Any, name: str) -> Any:
    """Return the object inside a wrapper of narwhals. Anything else is returned unchanged.

    Raises
    ------
    TypeError
        If the value is a lazy frame. NumPy would convert it to an array with one object.
    """
    library = type(value).__module__.partition(".")[0]
    if library in ("polars", "narwhals") and type(value).__name__ == "LazyFrame":
        raise TypeError(
            f"{name} is a {library} LazyFrame, which is a query and has no values yet. Pass the"
            f" collected frame: {name}.collect()."
        )
    return value.to_native() if library == "narwhals" else value


def as_rows(X: Any, name: str) -> Any:
    """Return a frame in a form that scikit-learn can read. Anything else is returned unchanged.

    Raises
    ------
    TypeError
        If the value is a lazy frame.
    """
    return readable_frame(unwrapped(X, name))


def refuse_missing(y: Any, name: str) -> None:
    """Refuse text, Booleans and dates that contain a missing value: None, NA or NaT.

    scikit-learn finds only NaN in such values, and fails with an obscure error when it compares
    another missing value. Missing values among numbers need no check here: they become NaN as a
    rule, which scikit-learn finds.

    Raises
    ------
    ValueError
        If a value is missing.
    """
    if type(y).__module__.partition(".")[0] in ("pandas", "polars", "pyarrow"):
        y = np.asarray(y)
    missing = ""
    if isinstance(y, list | tuple) or isinstance(y, np.ndarray) and y.dtype == object:
        types = set(map(type, y.flat if isinstance(y, np.ndarray) else y))
        if any(issubclass(kind, str | bool | np.bool_) for kind in types):
            there = {kind.__name__ for kind in types}
            missing = next((label for kind, label in _MISSING.items() if kind in there), "")
    elif isinstance(y, np.ndarray) and y.dtype.kind in "mM" and np.isnat(y).any():
        missing = "NaT"
    if missing:
        raise ValueError(
            f"Input {name} contains {missing}, a missing value. Remove the rows with missing"
            " values, or impute them."
        )


def is_float32(X: Any) -> bool:
    """Return whether all columns of a frame are float32, under the name that its library uses.

    scikit-learn recognizes only NumPy's float32 in pandas, and converts the others to float64.
    """
    dtypes = {dtype for _, dtype in _columns(X)}
    return bool(dtypes) and dtypes <= _FLOAT32


@contextmanager
def naming_columns(X: Any, name: str = "X") -> Iterator[None]:
    """Add the columns to errors about text and dates, which are no numbers, NaN, and infinity.

    They are named as in the frame, or numbered if there are no names.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        message = str(error)
        if _NO_NUMBERS.search(message):
            others = [c for c, dtype in _columns(X) if dtype.lower().startswith(_TEXT + _DATES)]
            if others:
                message = message.partition(". This means that no common DType")[0]
                error.args = (
                    f"{message}. Columns of {name} with text, categories or dates:"
                    f" {_listed(others)}. Encode them as numbers first, for instance with"
                    " sknn.tabular_pipeline or with a OneHotEncoder in a ColumnTransformer, or"
                    " remove them.",
                )
        elif found := re.match(r"Input X contains (?:NaN|infinity.*dtype\('(\w+)'\))", message):
            places = _not_finite(X, found[1])
            named = [column for column, _ in _columns(X)]
            columns = [named[i] for i in places] if named else places
            what = "such values" if found[1] else "NaN"
            numbered = "" if named else ", numbered from 0"
            listed = f"Columns of {name} with {what}{numbered}: {_listed(columns)}."
            error.args = (f"{message}\n{listed}",)
        raise


def _listed(columns: list[Any]) -> str:
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    return ", ".join(map(repr, columns[:5])) + more


def _not_finite(X: Any, dtype: str | None) -> list[int]:
    """Return the numbers of the columns with infinity in a dtype, or with NaN if it is None."""
    if is_tensor(X):
        X = X if dtype is None else X.to(getattr(sys.modules["torch"], dtype))
        return (X.isnan() if dtype is None else X.isinf()).any(0).nonzero()[:, 0].tolist()
    is_array = isinstance(X, np.ndarray) or issparse(X) and X.format == "csr"
    if not (is_array and X.dtype.kind == "f"):
        X = check_array(X, accept_sparse="csr", dtype=np.float64, ensure_all_finite=False)
    found = np.zeros(X.shape[1], dtype=bool)
    for rows in chunks(X, np.dtype(np.float64)):
        values = rows.data if issparse(rows) else rows
        with np.errstate(over="ignore"):
            bad = np.isnan(values) if dtype is None else np.isinf(values.astype(dtype))
        if issparse(rows):
            found[rows.indices[bad]] = True
        else:
            found |= bad.any(axis=0)
    return np.flatnonzero(found).tolist()


def _columns(X: Any) -> list[tuple[str, str]]:
    """Return the names and dtypes of a frame's columns, or an empty list for anything else."""
    if not hasattr(X, "columns"):
        return []
    if hasattr(X, "dtypes"):
        return list(zip(X.columns, map(str, X.dtypes), strict=True))
    schema = getattr(X, "schema", None)  # pyarrow, where `columns` holds the values
    return list(zip(schema.names, map(str, schema.types), strict=True)) if schema else []
