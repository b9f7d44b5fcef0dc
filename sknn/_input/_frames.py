"""Handle the properties of data frames that scikit-learn's validation does not look at.

scikit-learn reads the column names, and converts a frame to an array by `__array__`. This module
imports no library of frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sknn._platform._sklearn_compat import readable_frame

# The names of float32 in pandas (NumPy's, nullable and Arrow's dtype), polars and pyarrow.
_FLOAT32 = {"float32", "Float32", "float[pyarrow]", "float"}
# The names of these libraries' dtypes for text and categories, in lower case, begin with one of
# these words.
_TEXT = ("str", "utf8", "large_str", "object", "category", "categorical", "enum", "dictionary")
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
            f"{name} is a LazyFrame of {library}, which is a query and has no values yet. Give the"
            f" frame that it makes: {name}.collect()."
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
            f"Input {name} contains {missing}, a missing value. Leave out the rows where it is"
            " missing, or fill it in."
        )


def is_float32(X: Any) -> bool:
    """Return whether all columns of a frame are float32, under the name that its library uses.

    scikit-learn recognizes only NumPy's float32 in pandas, and converts the others to float64.
    """
    dtypes = {dtype for _, dtype in _columns(X)}
    return bool(dtypes) and dtypes <= _FLOAT32


@contextmanager
def naming_columns(X: Any, name: str = "X") -> Iterator[None]:
    """Add the names of a frame's text columns to errors about text that is not a number."""
    try:
        yield
    except ValueError as error:
        text = [column for column, dtype in _columns(X) if dtype.lower().startswith(_TEXT)]
        if not text or "could not convert" not in str(error):
            raise
        more = f" and {len(text) - 5} more" if len(text) > 5 else ""
        named = ", ".join(map(repr, text[:5])) + more
        raise ValueError(
            f"{error}. Columns of {name} that hold text or categories: {named}. Encode them as"
            " numbers first, for instance by a OneHotEncoder in a ColumnTransformer, or leave them"
            " out."
        ) from error


def _columns(X: Any) -> list[tuple[str, str]]:
    """Return the names and dtypes of a frame's columns, or an empty list for anything else."""
    if not hasattr(X, "columns"):
        return []
    if hasattr(X, "dtypes"):
        return list(zip(X.columns, map(str, X.dtypes), strict=True))
    schema = getattr(X, "schema", None)  # pyarrow, where `columns` holds the values
    return list(zip(schema.names, map(str, schema.types), strict=True)) if schema else []
