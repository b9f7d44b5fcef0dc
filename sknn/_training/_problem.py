"""What goes into a training and what comes out of it: NumPy arrays and plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from sknn._network._losses import Loss
from sknn._training._stopping import Progress

ActivationLike = str | Callable[[], Any]
Score = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], float]
Scorer = Callable[..., float]


class Network(NamedTuple):
    """What the layers are.

    Attributes
    ----------
    layer_units : tuple of int
        Number of features, of units in each hidden layer, and of outputs.
    activations : tuple of (str or callable)
        One for each hidden layer: a key of `ACTIVATIONS`, or the user's maker of modules.
    normalization : str or None
        A key of `NORMALIZATIONS`.
    dropout : tuple of float
        One for each hidden layer; empty for none.
    input_dropout : float
    """

    layer_units: tuple[int, ...]
    activations: tuple[ActivationLike, ...]
    normalization: str | None = None
    dropout: tuple[float, ...] = ()
    input_dropout: float = 0.0

    def dropout_after(self, i: int) -> float:
        """The dropout of a hidden layer."""
        return self.dropout[i] if self.dropout else 0.0

    @property
    def has_closed_form(self) -> bool:
        """Whether all of it is differentiated without autograd."""
        return self.normalization is None and all(isinstance(a, str) for a in self.activations)

    @property
    def has_modules_of_the_user(self) -> bool:
        return not all(isinstance(a, str) for a in self.activations)

    @property
    def drops(self) -> bool:
        """Whether anything is left out in training."""
        return self.input_dropout > 0 or any(rate > 0 for rate in self.dropout)

    @property
    def draws(self) -> bool:
        """Whether anything random goes on in training but the order of rows."""
        return self.drops or self.has_modules_of_the_user


class ValidationSet(NamedTuple):
    """Rows that are not learned from.

    Attributes
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
    y : ndarray of shape (n_rows, n_columns)
        Encoded targets.
    labels : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        The same as the user gave them.
    sample_weight : ndarray of shape (n_rows,) or None
    rows : ndarray of int or None
        Which rows of `X`; None for all.
    n_rows : list of int or None
        Rows of each process, where several train one network.
    """

    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor
    y: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray | None
    rows: np.ndarray | None = None
    n_rows: list[int] | None = None


class Problem(NamedTuple):
    """What is to be learned.

    Attributes
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        In files and tensors they may be of any dtype and layout. A tensor is on a device.
    dtype : dtype
        Of the computation: float32 or float64.
    y : ndarray of shape (n_samples, n_columns)
        Encoded targets.
    labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The same as the user gave them.
    sample_weight : ndarray of shape (n_samples,) or None
    loss : Loss
    network : Network
    score : callable
        Encoded targets, predictions and weights to the score that is watched by default.
    train_rows : ndarray of int, or None
        The rows to learn from; None for all.
    validation : ValidationSet or None
    validation_loss : Loss or None
        The loss of the validation rows: without smoothing.
    scorer : callable, "loss" or None
        What early stopping watches instead: estimator, rows, labels (and `sample_weight`) to a
        score, or the negative validation loss.
    watched : str
        Names what the scores of the validation rows are of.
    estimator_at : callable or None
        A `State` to an estimator that predicts with it.
    shards : Shards or None
        Who has which rows, where several processes train one network. Then `X`, `y` and `labels`
        are those of this process, while `sample_weight`, `train_rows` and, in `validation`, `y` and
        `sample_weight` are of the rows of all.
    tasks : FitTasks or None
        Tells scikit-learn's callbacks of epochs.
    """

    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor
    dtype: np.dtype
    y: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray | None
    loss: Loss
    network: Network
    score: Score
    train_rows: np.ndarray | None = None
    validation: ValidationSet | None = None
    validation_loss: Loss | None = None
    scorer: Scorer | str | None = None
    watched: str = ""
    estimator_at: Callable[[State], Any] | None = None
    shards: Any = None
    tasks: Any = None

    @property
    def n_train(self) -> int:
        """Number of rows to learn from, in all processes."""
        if self.train_rows is not None:
            return len(self.train_rows)
        return self.X.shape[0] if self.shards is None else self.shards.n_samples


@dataclass
class State:
    """A network, and what training needs to go on with it.

    Attributes
    ----------
    coefs, intercepts : list of ndarray
    modules : dict of str to ndarray, or None
        Parameters and buffers of normalization and of the user's activations, by name; None for
        their initial values.
    solver : dict or None
        Name, numbers, slots (each a `Row`, as a tuple) and schedule of the last stochastic solver.
    progress : Progress
    history : list of dict
    n_iter : int
    loss : float
    device : str
    callbacks : list of (str, skorch.callbacks.Callback)
        The user's, as training has left them.
    """

    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]
    modules: dict[str, np.ndarray] | None = None
    solver: dict[str, Any] | None = None
    progress: Progress = field(default_factory=Progress)
    history: list[dict[str, Any]] = field(default_factory=list)
    n_iter: int = 0
    loss: float = np.nan
    device: str = "cpu"
    callbacks: list[tuple[str, Any]] = field(default_factory=list)
