"""What goes into a training and what comes out of it: NumPy arrays and plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from sknn._stopping import Progress

Score = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], float]


class Problem(NamedTuple):
    """What is to be learned.

    Attributes
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Of the dtype of the computation.
    y : ndarray of shape (n_samples, n_columns)
        Encoded targets.
    sample_weight : ndarray of shape (n_samples,) or None
    loss : str
        A key of `LOSSES`.
    layer_units : tuple of int
    score : callable
        Targets, predictions and weights to the score that early stopping watches.
    train_rows, valid_rows : ndarray of int, or None
        The validation split; None without early stopping.
    """

    X: np.ndarray | scipy.sparse.csr_matrix
    y: np.ndarray
    sample_weight: np.ndarray | None
    loss: str
    layer_units: tuple[int, ...]
    score: Score
    train_rows: np.ndarray | None = None
    valid_rows: np.ndarray | None = None


@dataclass
class State:
    """A network, and what training needs to go on with it.

    Attributes
    ----------
    coefs, intercepts : list of ndarray
    solver : dict or None
        Name, numbers, and slots (each a pair of coefs and intercepts) of the last stochastic
        solver.
    progress : Progress
    history : list of dict
    n_iter : int
    loss : float
    device : str
    """

    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]
    solver: dict[str, Any] | None = None
    progress: Progress = field(default_factory=Progress)
    history: list[dict[str, Any]] = field(default_factory=list)
    n_iter: int = 0
    loss: float = np.nan
    device: str = "cpu"
