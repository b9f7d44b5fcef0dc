"""Differences between supported versions of scikit-learn, for modules that do not import torch.

The other half of `_compat`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.utils import validation
from sklearn.utils.validation import _check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn below 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """In the place of scikit-learn's: there are no callbacks yet."""

        def set_callbacks(self, *callbacks: Any) -> Any:
            raise NotImplementedError(
                "set_callbacks needs scikit-learn 1.9 or newer, and this is"
                f" {sklearn.__version__}. Upgrade it, or use skorch's callbacks: the 'callbacks'"
                " parameter."
            )

    def with_callbacks(method: Callable) -> Callable:
        return method


try:
    from sklearn.utils._repr_html.estimator import _VisualBlock
except ImportError:  # of a version to come
    _VisualBlock = None

_REFUSES_ZEROS = "allow_all_zero_weights" in inspect.signature(_check_sample_weight).parameters


def check_sample_weight(
    weight: Any, X: Any, *, dtype: Any, allow_all_zero_weights: bool = False
) -> np.ndarray:
    """scikit-learn's check of weights. Older versions never refuse those that are all zero."""
    if _REFUSES_ZEROS:
        options = {"allow_all_zero_weights": allow_all_zero_weights}
        return _check_sample_weight(weight, X, dtype=dtype, **options)
    weight = _check_sample_weight(weight, X, dtype=dtype)
    if not (allow_all_zero_weights or weight.any()):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


# Through narwhals. Before, pandas and what has the interchange protocol, which polars 2 gave up.
_READS_FRAMES = hasattr(validation, "nw")


class NamedArray:
    """An array with names of columns, as scikit-learn below 1.9 reads a frame.

    Parameters
    ----------
    frame : DataFrame of polars, or Table of pyarrow
    """

    def __init__(self, frame: Any) -> None:
        if hasattr(frame, "dtypes"):
            self.columns, self.dtypes = list(frame.columns), list(frame.dtypes)
            self._array = frame.to_numpy()
        else:  # pyarrow
            self.columns, self.dtypes = list(frame.schema.names), list(frame.schema.types)
            self._array = np.empty((len(frame), 0))
            if self.columns:
                self._array = np.column_stack([np.asarray(column) for column in frame.columns])
        self.shape, self.dtype = self._array.shape, self._array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._array, dtype)

    def __dataframe__(self, **options: Any) -> NamedArray:
        return self

    def column_names(self) -> list[str]:
        return self.columns


def readable_frame(X: Any) -> Any:
    """A frame of polars or pyarrow as this scikit-learn reads it; anything else as it is."""
    is_frame = type(X).__module__.partition(".")[0] in ("polars", "pyarrow") and hasattr(
        X, "columns"
    )
    return NamedArray(X) if is_frame and not _READS_FRAMES else X


def is_sklearn_callback(callback: Any) -> bool:
    """Whether an object follows scikit-learn's protocol of callbacks, in any version."""
    return hasattr(callback, "on_fit_task_begin") and hasattr(callback, "on_fit_task_end")


def with_html_before(table: Any, html: Callable[[], str]) -> Any:
    """scikit-learn's table of parameters, with more HTML before its own.

    One that is not made into HTML by `_html_repr` is returned as it is.
    """
    own = getattr(table, "_html_repr", None)
    if own is not None:
        table._html_repr = lambda: html() + own()
    return table


def has_table_of_attributes() -> bool:
    """Whether scikit-learn's diagrams have a table of the fitted attributes."""
    return hasattr(BaseEstimator, "_get_fitted_attr_html")


class StoredAttributes:
    """An estimator whose attributes are listed as those that it stores, without properties.

    scikit-learn's table of fitted attributes reads every attribute that is listed. `net_` and
    `module_` are made when they are read: torch is imported and the weights are copied, twice, to
    draw a diagram; and weights of other shapes than the parameters', which the user may look for,
    are an error.

    Parameters
    ----------
    estimator : BaseEstimator
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    @property
    def __class__(self) -> type:
        return type(self._estimator)

    def __dir__(self) -> list[str]:
        return list(vars(self._estimator))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


def has_captions() -> bool:
    """Whether scikit-learn's diagrams have captions, and blocks that can be made."""
    return (
        _VisualBlock is not None
        and "name_caption" in inspect.signature(_VisualBlock.__init__).parameters
    )


def captioned_block(estimator: Any, caption: str) -> Any:
    """The block of a diagram that scikit-learn makes of an estimator, with a caption."""
    name = type(estimator).__name__
    return _VisualBlock(
        "single", estimator, names=name, name_details=str(estimator), name_caption=caption
    )
