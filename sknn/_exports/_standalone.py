"""A fitted network as a plain torch module, in which nothing is of this package."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from sknn._network._module import BatchNorm, FeedForwardModule, Linear, modules_between
from sknn._platform import _compat
from sknn._platform._torch_settings import usual_settings
from sknn._training._problem import Network

# Ours differ from torch's in how they are made and trained, not in what they compute and keep.
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {Linear: nn.Linear, BatchNorm: nn.BatchNorm1d}


def standalone_module(
    coefs: list[np.ndarray],
    intercepts: list[np.ndarray],
    modules: dict[str, np.ndarray],
    network: Network,
    dtype: torch.dtype,
) -> nn.Sequential:
    """Layers, normalization, activations and dropout as torch's own modules, on the CPU.

    Parameters
    ----------
    coefs : list of ndarray of shape (n_in, n_out)
    intercepts : list of ndarray of shape (n_out,)
    modules : dict of str to ndarray
        What `FeedForwardModule.extras` gave.
    network : Network
    dtype : torch.dtype

    Returns
    -------
    torch.nn.Sequential
        In eval mode, with parameters of its own.

    Raises
    ------
    ValueError
        If names or shapes in `modules` are not those of `network`.
    """
    with usual_settings(torch.device("cpu")):
        weights = [_compat.as_tensor(np.asarray(c).T.copy()).to(dtype) for c in coefs]
        biases = [_compat.as_tensor(np.array(i)).to(dtype) for i in intercepts]
        ours = FeedForwardModule(weights, biases, network, modules_between(network))
        ours.to(dtype).load_extras(modules)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if network.input_dropout:
            layers["input_dropout"] = nn.Dropout(network.input_dropout)
        n_hidden = len(network.activations)
        for name, module in ours.places():
            if type(module) in _PLAIN:
                module.__class__ = _PLAIN[type(module)]
            layers[name] = module
            i = int(name.removeprefix("activation")) if name.startswith("activation") else n_hidden
            if i < n_hidden and network.dropout_after(i):
                layers[f"dropout{i}"] = nn.Dropout(network.dropout_after(i))
        return nn.Sequential(layers).eval()
