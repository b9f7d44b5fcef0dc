"""A fitted network as a plain torch module, which needs nothing of this package."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.fx
from torch import nn

from sknn._network._architecture import Network
from sknn._network._module import (
    BatchNorm,
    FeedForwardModule,
    InputScaling,
    Linear,
    Parametric,
    PeriodicEmbedding,
    check_extras,
    network_module,
    state_between,
)
from sknn._platform import _compat
from sknn._platform._torch_settings import default_settings

# Our classes, and torch's classes that compute the same function and hold the same state. Ours
# differ only in how they are made and trained.
_OURS = (PeriodicEmbedding, InputScaling, Parametric)
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {Linear: nn.Linear, BatchNorm: nn.BatchNorm1d}


def standalone_module(
    coefs: list[np.ndarray],
    intercepts: list[np.ndarray],
    modules: dict[str, np.ndarray],
    network: Network,
    average: Callable[[torch.Tensor], torch.Tensor],
    dtype: torch.dtype,
) -> nn.Sequential | torch.fx.GraphModule:
    """Make a module of torch's own layers, normalization, activations and dropout, on the CPU.

    Parameters
    ----------
    coefs : list of ndarray of shape (n_in, n_out)
        Weights of each layer, with a leading dimension for several members.
    intercepts : list of ndarray of shape (n_out,)
        Biases of each layer, with a leading dimension for several members.
    modules : dict of str to ndarray
        `module_state_`: what `FeedForwardModule.extras` returned, as arrays.
    network : Network
        The architecture.
    average : callable
        Function from the raw outputs of members to those of the ensemble, of operations of torch.
    dtype : torch.dtype
        Dtype of the parameters.

    Returns
    -------
    torch.nn.Sequential or torch.fx.GraphModule
        The module, in eval mode, with parameters of its own. The graph is that of several members,
        and of `average`.

    Raises
    ------
    ValueError
        If the names or shapes in `modules` are not those of `network`.
    """
    with default_settings(torch.device("cpu")):
        weights = [
            _compat.as_tensor(np.asarray(c).swapaxes(-1, -2).copy()).to(dtype) for c in coefs
        ]
        biases = [_compat.as_tensor(np.array(i)).to(dtype) for i in intercepts]
        ours = network_module(weights, biases, network, average)
        ours.to(dtype).load_extras(modules)
        if isinstance(ours, FeedForwardModule):
            return _traced(_plain_member(ours, network)).eval()
        members = {str(i): _plain_member(member, network) for i, member in enumerate(ours)}
        graph = _graph_of_mean(members, average, "shared" if len(ours.shared) else "")
        parts = nn.ModuleDict({"shared": ours.shared, **members})
        return _traced(torch.fx.GraphModule(parts, graph, "Ensemble")).eval()


def _traced(module: nn.Module) -> nn.Module:
    """Return a module without classes of this package, whose functions become nodes of a graph.

    Modules of torch and of the user stay as they are.
    """
    has_ours = any(type(part) in _OURS for part in module.modules())
    if not has_ours:
        return module
    # A graph names the class of its tracer, which a pickle would need. A copy of it names none.
    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(_Tracer().trace(module), {}))
    return torch.fx.GraphModule(module, graph, "FeedForward")


class _Tracer(torch.fx.Tracer):
    """A tracer that goes into the modules of this package, and into no others."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) not in _OURS and not isinstance(m, nn.Sequential | torch.fx.GraphModule)


def _plain_member(ours: FeedForwardModule, network: Network) -> nn.Sequential:
    """Return one network as a sequence of torch's own modules and those of the user."""
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
    return nn.Sequential(layers)


def _graph_of_mean(
    members: Iterable[str], average: Callable[[torch.Tensor], torch.Tensor], shared: str
) -> torch.fx.Graph:
    """Return what `Ensemble` does with members of these names, as a graph of torch's functions.

    It names no class of this package, so that torch alone can load a module that has it.
    """
    graph = torch.fx.Graph()
    X = graph.placeholder("X")
    if shared:
        X = graph.call_module(shared, (X,))
    raw = [graph.call_method("t", (graph.call_module(name, (X,)),)) for name in members]
    stacked = torch.fx.Proxy(graph.call_function(torch.stack, (raw,)))
    graph.output(average(stacked).t().node)
    return graph


def check_module_state(modules: dict[str, np.ndarray], network: Network) -> None:
    """Check `module_state_` against normalization and activations, without a copy of the weights.

    Raises
    ------
    ValueError
        If the names or shapes in `modules` are not those of `network`, or a callable of the user
        returns something that is not a module.
    """
    with default_settings(torch.device("cpu")):
        check_extras(modules, state_between(network))
