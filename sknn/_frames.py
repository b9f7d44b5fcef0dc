"""Frames where arrays are taken: what scikit-learn's validation does not see of them.

It reads feature names from pandas and whatever else has the interchange protocol (polars, pyarrow),
and makes an array by `__array__`. No library of frames is imported here.
"""

from __future__ import annotations

from typing import Any

# What pandas (NumPy's, nullable and Arrow's), polars and pyarrow call it.
_FLOAT32 = {"float32", "Float32", "float[pyarrow]", "float"}


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


def is_float32(X: Any) -> bool:
    """Whether each column of a frame is float32, in whatever way its library says so.

    scikit-learn sees it of NumPy's dtypes in pandas only, and makes float64 of the others.
    """
    if not hasattr(X, "columns"):
        return False
    dtypes = X.schema.types if hasattr(X, "schema") and hasattr(X.schema, "types") else X.dtypes
    return len(dtypes) > 0 and {str(dtype) for dtype in dtypes} <= _FLOAT32
