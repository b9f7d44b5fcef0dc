"""The imputer of `tabular_pipeline`."""

from __future__ import annotations

from typing import Any

from sklearn.impute import SimpleImputer

from sknn._input._frames import naming_columns


class ColumnNamingImputer(SimpleImputer):
    """scikit-learn's imputer, whose error about infinity names the columns of the frame."""

    def fit(self, X: Any, y: Any = None) -> ColumnNamingImputer:
        with naming_columns(X):
            return super().fit(X, y)

    def transform(self, X: Any) -> Any:
        with naming_columns(X):
            return super().transform(X)
