"""The model that a training starts from if there is none: its initial weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.base import BaseEstimator

from sknn._data._processes import OneProcess
from sknn._data._shards import AllRows
from sknn._network._architecture import Network
from sknn._network._dropout import derived_seed
from sknn._network._initial_weights import (
    N_ROWS_OF_DATA,
    initial_embedding,
    initial_parameters,
    parameters_from_data,
)
from sknn._network._module import initial_state, modules_between
from sknn._platform._compat import as_tensor
from sknn._training._problem import Model

# The key of `derived_seed` by which the weights of members are drawn. Dropout has other keys.
_KEY_OF_WEIGHTS = (0, 0)
# Number of values that are looked at in one go.
_VALUES_OF_A_PART = 2**22

Drawn = tuple[list[np.ndarray], list[np.ndarray]]


def new_model(
    estimator: BaseEstimator,
    network: Network,
    random_state: np.random.RandomState,
    dtype: np.dtype,
    X: Any,
    shards: AllRows,
    outputs: np.ndarray | None = None,
) -> Model:
    """Return a model with initial weights, which are drawn from `random_state`.

    Only those of the first member are, and those of the embedding, which all members share. The
    others come from a generator that it decides, so that the split and the order of the rows, and
    with them the first member, are those of one network.

    Parameters
    ----------
    estimator : BaseFeedForward
        The estimator, whose parameters say how weights are drawn.
    network : Network
        The architecture.
    random_state : numpy.random.RandomState
        Generator of the values.
    dtype : dtype
        Dtype of the weights.
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Rows of this process, of which `initialization="data"` takes some.
    shards : AllRows
        The division of the rows among the processes.
    outputs : ndarray of shape (n_outputs,), default=None
        Numbers that are added to the biases of the output layer.
    """
    modules = None
    if network.embedding is not None:
        scale = float(estimator._embedding_parameters()["scale"])
        drawn_state = initial_embedding(network.embedding, scale, random_state)
        modules = initial_state(network, dtype)
        modules |= {name: drawn_state[name].astype(modules[name].dtype) for name in drawn_state}
    # Without a hidden layer, a single name still decides how the output layer is initialized.
    own = estimator.activation
    activations = own if isinstance(own, str) else network.activations
    between = inputs = None
    if estimator.initialization == "data":
        between = modules_between(network)
        inputs = _first_inputs(between.shared, modules, X, shards)

    def drawn(generator: np.random.RandomState, member: int) -> Drawn:
        units = network.linear_units
        if inputs is None:
            coefs, intercepts = initial_parameters(units, activations, generator, dtype)
        else:
            functions = [_function([m for _, m in layer]) for layer in between.members[member][1:]]
            coefs, intercepts = parameters_from_data(units, functions, inputs, generator, dtype)
        if outputs is not None:
            intercepts[-1] += outputs.astype(dtype)
        return coefs, intercepts

    first = drawn(random_state, 0)
    if network.n_members == 1:
        return Model(*first, modules)
    seed = derived_seed(random_state, 0, _KEY_OF_WEIGHTS)
    other = np.random.RandomState(np.random.MT19937(seed))
    members = [first, *(drawn(other, i) for i in range(1, network.n_members))]
    coefs, intercepts = (
        map(np.stack, zip(*arrays, strict=True)) for arrays in zip(*members, strict=True)
    )
    return Model(list(coefs), list(intercepts), modules)


def _first_inputs(
    shared: list[tuple[str, torch.nn.Module]],
    state: dict[str, np.ndarray] | None,
    X: Any,
    shards: AllRows,
) -> np.ndarray:
    """Return some rows in float64 as the first layer gets them, spread evenly over all rows."""
    rows = np.linspace(0, shards.n_samples - 1, N_ROWS_OF_DATA).astype(np.intp)
    own = shards.own(np.unique(rows))
    if isinstance(X, torch.Tensor):
        inputs = X[torch.from_numpy(own).to(X.device)].cpu().double().numpy()
    else:
        chosen = X[own]
        is_sparse = scipy.sparse.issparse(chosen)
        inputs = np.asarray(chosen.toarray() if is_sparse else chosen, np.float64)
    # All processes draw from these rows, so that their generators stay in step.
    inputs = shards.processes.concatenate(inputs, shards.processes.gather(len(inputs)))
    for place, module in shared:
        names = module.state_dict()
        arrays = {name: torch.from_numpy(state[f"{place}.{name}"]) for name in names}
        module.double().load_state_dict(arrays)
        inputs = _function([module])(inputs)
    return inputs


def _function(modules: list[torch.nn.Module]) -> Callable[[np.ndarray], np.ndarray]:
    """Return modules, in their mode of evaluation, as a function of arrays of float64."""
    sequence = torch.nn.Sequential(*modules).double().eval()

    def apply(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return sequence(as_tensor(inputs)).numpy()

    return apply


def columns_of_many_values(X: np.ndarray | torch.Tensor, processes: OneProcess) -> tuple[int, ...]:
    """Return the numbers of the columns that have three values or more in the rows of all."""
    found = [of for of in processes.gather(_extremes(X)) if of is not None]
    extremes = np.sort(np.concatenate([of[:2] for of in found]), axis=0)
    is_many = np.any([of[2] for of in found], axis=0)
    is_many |= (np.diff(extremes, axis=0) > 0).sum(axis=0) > 1
    return tuple(np.flatnonzero(is_many).tolist())


def _extremes(X: np.ndarray | torch.Tensor) -> tuple[np.ndarray, ...] | None:
    """Return the least and the largest value of each column, and whether it has any other."""
    low = high = is_other = None
    for part in _parts(X):
        least, most = part.amin(0), part.amax(0)
        low = least if low is None else torch.minimum(low, least)
        high = most if high is None else torch.maximum(high, most)
    for part in _parts(X):
        others = ((part != low) & (part != high)).any(0)
        is_other = others if is_other is None else is_other | others
    if is_other is None:
        return None
    return low.double().cpu().numpy(), high.double().cpu().numpy(), is_other.cpu().numpy()


def _parts(X: np.ndarray | torch.Tensor) -> Iterator[torch.Tensor]:
    """Iterate over parts of the rows, as tensors on the device where the rows are."""
    size = max(1, _VALUES_OF_A_PART // max(1, X.shape[1]))
    for start in range(0, X.shape[0], size):
        part = X[start : start + size]
        yield part if isinstance(part, torch.Tensor) else as_tensor(np.asarray(part, np.float64))
