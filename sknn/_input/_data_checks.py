"""What the user gives `fit`, as arrays: checked, and of the dtype to compute in, or in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import _check_y, validate_data

from sknn._input import _frames, _targets
from sknn._input._memory_maps import check_mapped, must_convert
from sknn._input._parameter_checks import naming
from sknn._input._tensors import check_there, is_tensor, on_host, outline, rows_of
from sknn._platform._sklearn_compat import check_sample_weight

if TYPE_CHECKING:
    from sknn._training._problem import ValidationSet


def targets_of(y: Any, name: str) -> Any:
    """Targets or weights as scikit-learn takes them: a tensor as an array, on the host.

    Raises
    ------
    ValueError
        If values are missing that scikit-learn's validation does not look for.
    """
    y = on_host(_frames.unwrapped(y, name), name)
    _frames.refuse_missing(y, name)
    return y


class CheckedInput:
    """The part of an estimator that looks at rows, targets and weights."""

    def _compute_dtypes(self, first_pass: bool) -> list[type]:
        """The dtypes to compute in, as `validate_data` takes them; the first is the default."""
        if self.dtype == "bfloat16":
            return [np.float32]
        if self.dtype != "auto":
            return [np.dtype(self.dtype).type]
        if first_pass:
            return [np.float64, np.float32]
        return [self._model_dtype()]

    def _check_data(self, X, y, sample_weight, first_pass):
        """Rows, targets and weights as arrays, and the dtype of the computation.

        The feature names are noted. Rows in a file, and those of a tensor on a device, may be left
        as they are, of another dtype.
        """
        dtypes = self._compute_dtypes(first_pass)
        X = _frames.as_rows(X, "X")
        if len(dtypes) > 1 and _frames.is_float32(X):
            dtypes = [np.float32]
        X = rows_of(X, "X", self.device, dtypes)
        # What float32 cannot hold is an error of its own.
        with np.errstate(over="ignore"), _frames.naming_columns(X):
            if self._may_have_no(X):
                X = validate_data(
                    self,
                    X,
                    dtype=dtypes,
                    accept_sparse="csr",
                    ensure_min_samples=0,
                    reset=first_pass,
                )
                y, dtype = np.asarray(y), X.dtype
                check_consistent_length(X, y)
            elif is_tensor(X) or must_convert(X, dtypes):
                check = check_there if is_tensor(X) else check_mapped
                dtype = check(self, X, y, dtypes, reset=first_pass)
                y = _check_y(y, multi_output=True, y_numeric=self._numeric_targets, estimator=self)
                check_consistent_length(X, y)
            else:
                X, y = validate_data(
                    self,
                    X,
                    y,
                    accept_sparse="csr",
                    multi_output=True,
                    y_numeric=self._numeric_targets,
                    dtype=dtypes,
                    order="C",
                    reset=first_pass,
                )
                dtype = X.dtype
            if y.ndim == 2 and y.shape[1] == 1:
                y = column_or_1d(y, warn=True)
            if sample_weight is not None:
                sample_weight = self._validated_weights(sample_weight, X, dtype, "sample_weight")
        return X, y, sample_weight, dtype

    def _may_have_no(self, X) -> bool:
        """Whether there are no rows, and other processes may have some."""
        return self.process_group is not None and getattr(X, "shape", (1,))[0] == 0

    def _validated_weights(self, weight, X, dtype, name) -> np.ndarray:
        """Weights of rows; of several processes, only the total of all has to be above zero."""
        if self._may_have_no(X):
            check_consistent_length(X, weight)
            return np.empty(0, dtype)
        if self.process_group is not None:
            return check_sample_weight(weight, outline(X), dtype=dtype, allow_all_zero_weights=True)
        weight = check_sample_weight(weight, outline(X), dtype=dtype)
        self._check_total(weight, name)
        return weight

    @staticmethod
    def _check_total(weight: np.ndarray, name: str) -> None:
        total = weight.sum()
        if total == 0 or not np.isfinite(total):
            raise ValueError(
                f"The sum of {name} is {total} in {weight.dtype}. It must be finite, and"
                " not zero: negative weights must not cancel the others."
            )

    def _check_validation(self, X_val, y_val, sample_weight_val, dtype) -> ValidationSet:
        """The user's validation rows, checked against those learned from."""
        from sknn._training._problem import ValidationSet

        with (
            naming("X_val", "like X, with the same columns and no missing values"),
            np.errstate(over="ignore"),
        ):
            X_val = rows_of(_frames.as_rows(X_val, "X_val"), "X_val", self.device, [dtype])
            if is_tensor(X_val):
                check_there(self, X_val, "no_validation", [dtype], reset=False)
            elif must_convert(X_val, [dtype]) and not self._may_have_no(X_val):
                check_mapped(self, X_val, "no_validation", [dtype], reset=False)
            else:
                with _frames.naming_columns(X_val, "X_val"):
                    X_val = validate_data(
                        self,
                        X_val,
                        accept_sparse="csr",
                        dtype=dtype,
                        order="C",
                        ensure_min_samples=int(not self._may_have_no(X_val)),
                        reset=False,
                    )
        with naming("y_val", "like y, with one target for each row of X_val"):
            y_val = targets_of(y_val, "y_val")
            if self._may_have_no(X_val):
                y_val = np.asarray(y_val)
            else:
                y_val = _check_y(y_val, multi_output=True, y_numeric=self._numeric_targets)
            if y_val.ndim == 2 and y_val.shape[1] == 1:
                y_val = column_or_1d(y_val, warn=True)
            check_consistent_length(X_val, y_val)
        with naming("sample_weight_val", "one finite number for each row of X_val"):
            if sample_weight_val is not None:
                sample_weight_val = targets_of(sample_weight_val, "sample_weight_val")
                sample_weight_val = self._validated_weights(
                    sample_weight_val, X_val, dtype, "sample_weight_val"
                )
        encoded = self._encode_validation(y_val, dtype)
        return ValidationSet(X_val, encoded, _targets.for_scorers(y_val), sample_weight_val)
