"""Frames where arrays are taken: what scikit-learn's validation does not see of them.

It reads the names of columns, and makes an array by `__array__`. No library of frames is imported
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sknn._platform._sklearn_compat import readable_frame

# What pandas (NumPy's, nullable and Arrow's), polars and pyarrow call it.
_FLOAT32 = {"float32", "Float32", "float[pyarrow]", "float"}
# How their names of text and categories begin, in lower case.
_TEXT = ("str", "utf8", "large_str", "object", "category", "categorical", "enum", "dictionary")
# Missing values in arrays of objects, by the names of their types; NA is pandas'.
_MISSING = {"NoneType": "None", "NAType": "NA", "NaTType": "NaT"}


def unwrapped(value: Any, name: str) -> Any:
    """What narwhals has wrapped; anything else as it is.

    Raises
    ------
    TypeError
        For a lazy frame, of which NumPy would make an array of one object.
    """
    library = type(value).__module__.partition(".")[0]
    if library in ("polars", "narwhals") and type(value).__name__ == "LazyFrame":
        raise TypeError(
            f"{name} is a LazyFrame of {library}, which is a query and has no values yet. Give the"
            f" frame that it makes: {name}.collect()."
        )
    return value.to_native() if library == "narwhals" else value


def as_rows(X: Any, name: str) -> Any:
    """A frame as scikit-learn reads it; anything else as it is. Raises as `unwrapped`."""
    return readable_frame(unwrapped(X, name))


def refuse_missing(y: Any, name: str) -> None:
    """Refuse text, Booleans and dates of which some are missing: None, NA or NaT.

    scikit-learn looks for NaN in them, and fails where it compares another missing value. Among
    numbers they are left to it: what they become, NaN as a rule, it finds.

    Raises
    ------
    ValueError
        If there is one.
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
    """Whether each column of a frame is float32, in whatever way its library says so.

    scikit-learn sees it of NumPy's dtypes in pandas only, and makes float64 of the others.
    """
    dtypes = {dtype for _, dtype in _columns(X)}
    return bool(dtypes) and dtypes <= _FLOAT32


@contextmanager
def naming_columns(X: Any, name: str = "X") -> Iterator[None]:
    """Let an error of text that is no number tell of the columns of a frame that hold text."""
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
    """Names and dtypes of the columns of a frame; of anything else, none."""
    if not hasattr(X, "columns"):
        return []
    if hasattr(X, "dtypes"):
        return list(zip(X.columns, map(str, X.dtypes), strict=True))
    schema = getattr(X, "schema", None)  # of pyarrow, whose `columns` are the values
    return list(zip(schema.names, map(str, schema.types), strict=True)) if schema else []
