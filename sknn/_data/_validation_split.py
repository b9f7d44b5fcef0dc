"""Validation rows: those of the user, or those that are split off as scikit-learn splits them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.model_selection import train_test_split
from sklearn.utils.extmath import _approximate_mode

if TYPE_CHECKING:
    import torch

# From this number of rows on, scikit-learn's own stratified split takes too much memory.
MANY_ROWS = 10**6


class ValidationSet(NamedTuple):
    """Rows that the network does not learn from.

    Attributes
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Validation rows of the user, or all rows of the training data.
    y : ndarray of shape (n_rows, n_columns)
        Encoded targets.
    labels : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Targets as the user gave them.
    sample_weight : ndarray of shape (n_rows,) or None
        Weights of the rows.
    rows : ndarray of int or None
        Numbers of the validation rows in `X`; None if all rows of `X` are validation rows.
    n_rows : list of int or None
        Number of rows in each process, where several processes train one network.
    """

    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor
    y: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray | None
    rows: np.ndarray | None = None
    n_rows: list[int] | None = None


def split_rows(
    n_samples: int,
    validation_fraction: float,
    random_state: np.random.RandomState,
    stratify: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training and validation rows, drawn as scikit-learn draws them."""
    is_costly = stratify is not None and n_samples >= MANY_ROWS
    if is_costly and 1 < stratify.sum() < n_samples - 1:
        train, valid = _stratified(stratify.ravel(), validation_fraction, random_state)
    else:
        train, valid = train_test_split(
            np.arange(n_samples),
            test_size=validation_fraction,
            random_state=random_state,
            stratify=stratify,
        )
    if len(valid) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset. "
            f"Got {len(valid)} row(s) from {n_samples} with "
            f"validation_fraction={validation_fraction}; at least 2 are needed."
        )
    return train, valid


def share_classes(
    train: np.ndarray, valid: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None
) -> None:
    """Exchange rows in place so that both parts have every class of two rows or more.

    Metrics may be undefined without some class. A part takes a row of a class that it lacks, and
    gives one of the class of which it has most rows. The parts keep their sizes, and stay as they
    are if they lack no class. A part with fewer rows than classes gets as many classes as it can
    hold. Rows without weight do not count, as metrics do not see them.

    Parameters
    ----------
    train, valid : ndarray of int
        Row numbers of the two parts.
    y : ndarray of int
        Classes of all rows.
    weight : ndarray, default=None
        Weights of all rows. None stands for all ones.
    """
    n_classes = y.max() + 1
    if weight is not None:
        y = np.where(weight > 0, y, n_classes)  # a class of their own, which no part lacks
    totals = np.bincount(y, minlength=n_classes + 1)
    totals[n_classes] = 0
    for part, other in ((valid, train), (train, valid)):
        counts = np.bincount(y[part], minlength=len(totals))
        for label in np.flatnonzero((totals > 1) & (counts == 0)):
            most = counts.argmax()
            if counts[most] < 2:
                break
            given, taken = (y[part] == most).argmax(), (y[other] == label).argmax()
            part[given], other[taken] = other[taken], part[given]
            counts[most] -= 1
            counts[label] += 1


def missing_classes(data: ValidationSet, classes: np.ndarray) -> np.ndarray:
    """Return the classes of which validation rows with a weight above zero have no example.

    Those of a multilabel target are the labels that are zero, or one, in all of these rows.
    """
    y = data.y if data.sample_weight is None else data.y[data.sample_weight > 0]
    if data.labels.ndim == 2:
        return classes[(y == y[0]).all(axis=0)]
    return classes[~np.isin(np.arange(len(classes)), y)]


def _stratified(
    y: np.ndarray, validation_fraction: float, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that `train_test_split` draws for two classes, in a third of its memory.

    scikit-learn collects the indices in lists of Python, which take 106 bytes for each row.
    """
    n_valid = math.ceil(validation_fraction * len(y))
    n_train = len(y) - n_valid
    counts = np.bincount(y, minlength=2)
    train_counts = _approximate_mode(counts, n_train, random_state)
    valid_counts = _approximate_mode(counts - train_counts, n_valid, random_state)
    train, valid = [], []
    for label in range(2):
        drawn = np.flatnonzero(y == label)[random_state.permutation(counts[label])]
        train.append(drawn[: train_counts[label]])
        valid.append(drawn[train_counts[label] :][: valid_counts[label]])
    return tuple(random_state.permutation(np.concatenate(rows)) for rows in (train, valid))
