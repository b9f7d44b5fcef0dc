"""Small functions and classes that hide the differences between versions of scikit-learn.

They are kept apart from `_compat` for modules that must not import torch.
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
        """Stand-in for scikit-learn's class in versions that have no callbacks yet."""

        def set_callbacks(self, *callbacks: Any) -> Any:
            raise NotImplementedError(
                "set_callbacks needs scikit-learn 1.9 or newer, but the installed version is"
                f" {sklearn.__version__}. Upgrade it, or use skorch callbacks with the 'callbacks'"
                " parameter."
            )

    def with_callbacks(method: Callable) -> Callable:
        return method


try:
    from sklearn.utils._repr_html.estimator import _VisualBlock
except ImportError:  # A future version may move this private class.
    _VisualBlock = None

_REFUSES_ZEROS = "allow_all_zero_weights" in inspect.signature(_check_sample_weight).parameters


def check_sample_weight(
    weight: Any, X: Any, *, dtype: Any, allow_all_zero_weights: bool = False
) -> np.ndarray:
    """Check weights as the newest scikit-learn does.

    Older versions have no `allow_all_zero_weights` and never refuse weights that are all zero.
    """
    if _REFUSES_ZEROS:
        options = {"allow_all_zero_weights": allow_all_zero_weights}
        return _check_sample_weight(weight, X, dtype=dtype, **options)
    weight = _check_sample_weight(weight, X, dtype=dtype)
    if not (allow_all_zero_weights or weight.any()):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


# Newer versions read frames of all libraries through narwhals. Older ones read pandas, and frames
# with the interchange protocol, which polars 2 has dropped.
_READS_FRAMES = hasattr(validation, "nw")


class NamedArray:
    """An array with column names, in a form that scikit-learn below 1.9 reads as a frame.

    Parameters
    ----------
    frame : DataFrame of polars, or Table of pyarrow
        The frame, whose values are copied to the array.
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
    """Return a frame of polars or pyarrow in a form that the installed scikit-learn can read.

    Anything else is returned unchanged.
    """
    is_frame = type(X).__module__.partition(".")[0] in ("polars", "pyarrow") and hasattr(
        X, "columns"
    )
    return NamedArray(X) if is_frame and not _READS_FRAMES else X


def is_sklearn_callback(callback: Any) -> bool:
    """Return whether an object follows scikit-learn's callback protocol, in any version."""
    return hasattr(callback, "on_fit_task_begin") and hasattr(callback, "on_fit_task_end")


def with_html_before(table: Any, html: Callable[[], str]) -> Any:
    """Put more HTML before that of scikit-learn's table of parameters.

    A table that has no method `_html_repr` is returned unchanged.
    """
    own = getattr(table, "_html_repr", None)
    if own is not None:
        table._html_repr = lambda: html() + own()
    return table


def has_table_of_attributes() -> bool:
    """Return whether scikit-learn's diagrams have a table of the fitted attributes."""
    return hasattr(BaseEstimator, "_get_fitted_attr_html")


class StoredAttributes:
    """A view of an estimator in which `dir` lists the stored attributes, but no properties.

    scikit-learn's table of fitted attributes reads every attribute that `dir` lists. The properties
    `net_` and `module_` build their values when they are read. So drawing a diagram would import
    torch and copy the weights twice. It would also fail if the shapes of the weights do not match
    the parameters, which may be what the user wants to find out from the diagram.

    Parameters
    ----------
    estimator : BaseEstimator
        The estimator to view.
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
    """Return whether scikit-learn's diagrams have captions, and blocks that can be created."""
    return (
        _VisualBlock is not None
        and "name_caption" in inspect.signature(_VisualBlock.__init__).parameters
    )


def captioned_block(estimator: Any, caption: str) -> Any:
    """Return the block that stands for an estimator in scikit-learn's diagrams, with a caption."""
    name = type(estimator).__name__
    return _VisualBlock(
        "single", estimator, names=name, name_details=str(estimator), name_caption=caption
    )
