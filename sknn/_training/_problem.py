"""The input and the result of a training, as NumPy arrays and plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from sknn._data._shards import AllRows
from sknn._data._validation_split import ValidationSet
from sknn._network._architecture import Network
from sknn._network._losses import Loss
from sknn._training._stopping import Progress

Score = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], float]
Scorer = Callable[..., float]


class Problem(NamedTuple):
    """The data, the loss and the architecture of a training.

    Attributes
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Rows of the data set. Those in files and tensors may have any dtype and layout; a tensor is
        on a device.
    dtype : dtype
        Dtype of the computation: float32 or float64.
    y : ndarray of shape (n_samples, n_columns)
        Encoded targets.
    labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Targets as the user gave them.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the rows.
    loss : Loss
        Loss to minimize.
    network : Network
        Layers of the network.
    shards : AllRows
        The division of the rows among the processes. If several processes train one network, `X`,
        `y` and `labels` are those of this process, while `sample_weight`, `train_rows` and, in
        `validation`, `y` and `sample_weight` are those of all processes.
    score : callable
        Function of encoded targets, predictions and weights that returns the score which early
        stopping watches by default.
    train_rows : ndarray of int, or None
        Numbers of the rows to learn from; None takes all.
    validation : ValidationSet or None
        Validation rows.
    validation_loss : Loss or None
        Loss of the validation rows, whose labels are not smoothed.
    scorer : callable, "loss" or None
        What early stopping watches in place of `score`: a function of an estimator, rows and labels
        (and `sample_weight`), or the negative validation loss.
    watched : str
        Name of what the scores of the validation rows measure.
    estimator_at : callable or None
        Function that makes an estimator of a `Model`.
    tasks : FitTasks or None
        Tasks by which scikit-learn's callbacks are told of the epochs.
    """

    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor
    dtype: np.dtype
    y: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray | None
    loss: Loss
    network: Network
    shards: AllRows
    score: Score
    train_rows: np.ndarray | None = None
    validation: ValidationSet | None = None
    validation_loss: Loss | None = None
    scorer: Scorer | str | None = None
    watched: str = ""
    estimator_at: Callable[[Model], Any] | None = None
    tasks: Any = None

    @property
    def n_train(self) -> int:
        """Number of rows to learn from, in all processes."""
        return self.shards.n_samples if self.train_rows is None else len(self.train_rows)


@dataclass
class Model:
    """A network, and what training needs to continue with it.

    Attributes
    ----------
    coefs, intercepts : list of ndarray
        Weights and biases of each layer.
    modules : dict of str to ndarray, or None
        Parameters and buffers of normalization and of the user's activations, by name; None stands
        for their initial values.
    solver : dict or None
        Name, numbers, slots (each a `Row`, as a tuple) and schedule of the last stochastic solver.
    progress : Progress
        Curves and counts of the training so far.
    history : list of dict
        One record for each epoch.
    n_iter : int
        Number of epochs or iterations of the last training.
    loss : float
        Last training loss.
    is_interrupted : bool
        Whether the user's Ctrl-C ended the last training.
    device : str
        Name of the device of the last training.
    callbacks : list of (str, skorch.callbacks.Callback)
        The user's callbacks, as training has left them.
    notes : list of Note
        Signs that the last training has gone wrong.
    """

    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]
    modules: dict[str, np.ndarray] | None = None
    solver: dict[str, Any] | None = None
    progress: Progress = field(default_factory=Progress)
    history: list[dict[str, Any]] = field(default_factory=list)
    n_iter: int = 0
    loss: float = np.nan
    is_interrupted: bool = False
    device: str = "cpu"
    callbacks: list[tuple[str, Any]] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)
