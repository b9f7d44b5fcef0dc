"""The network as a torch module, and its initial weights."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import nn
from torch.nn import functional as F

from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import PARAMETRIC, ActivationLike, Network, Periodic
from sknn._network._dropout import Dropout, Masks
from sknn._platform import _compat
from sknn._platform._compat import borrowed_generator
from sknn._platform._torch_settings import float32_on_cpu_as_default
from sknn._platform._user_code import blamed_on


class Linear(nn.Linear):
    """A linear layer whose parameters are given tensors. It predicts for sparse rows, too.

    The constructor of `torch.nn.Linear` is not called, because it draws initial weights from
    torch's global generator, which belongs to the user.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, X: torch.Tensor | scipy.sparse.csr_matrix) -> torch.Tensor:
        if isinstance(X, torch.Tensor):
            return super().forward(X)
        return sparse_product(X, self.weight.detach()) + self.bias


def sparse_product(X: scipy.sparse.csr_matrix, weight: torch.Tensor) -> torch.Tensor:
    """Return the product of CSR rows with a weight (n_out, n_in), of shape (n_rows, n_out)."""
    return torch.from_numpy(X @ weight.t().numpy())


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization (Ioffe and Szegedy, 2015) that accepts a batch of one row in training.

    One row has no variance. In training it is normalized by the running statistics, as in
    prediction, and does not change them.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) == 1:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "batch": BatchNorm}


class PeriodicEmbedding(nn.Module):
    """Periodic functions of some columns, before all columns (Gorishniy et al., 2022).

    For a column x with n frequencies w, phases c, weights W and biases b, the values are

        W cos(2 pi w x + c) + b.

    These are the "PBLD" embeddings of Holzmueller et al. (2024).

    Parameters
    ----------
    embedding : Periodic
        Numbers of the columns, frequencies and values. The parameters are zero.

    Shape
    -----
    The input has shape (n_rows, n_features). The output has first the values of each column that is
    embedded, and then all columns.
    """

    def __init__(self, embedding: Periodic) -> None:
        super().__init__()
        n, n_frequencies, n_values = (
            len(embedding.columns),
            embedding.n_frequencies,
            embedding.size - 1,
        )
        self.frequencies = nn.Parameter(torch.zeros(n, n_frequencies))
        self.phases = nn.Parameter(torch.zeros(n, n_frequencies))
        self.weight = nn.Parameter(torch.zeros(n, n_values, n_frequencies))
        self.bias = nn.Parameter(torch.zeros(n, n_values))
        self.register_buffer("columns", torch.tensor(embedding.columns))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        x = X.index_select(1, self.columns).unsqueeze(2)
        cosines = torch.cos(x * (2 * math.pi * self.frequencies) + self.phases)
        values = (self.weight @ cosines.unsqueeze(3)).squeeze(3) + self.bias
        return torch.cat([values.flatten(1), X], 1)


class InputScaling(nn.Module):
    """A factor for each input of the first layer (Holzmueller et al., 2024).

    Attributes
    ----------
    rate_factor : float
        Factor of the rate with Adam, which moves every value by about the rate, whatever the
        gradient. A weight is of the order of 0.1, and a factor of 1.
    """

    rate_factor = 64.0

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_inputs))

    def forward(self, X: torch.Tensor | scipy.sparse.csr_matrix) -> torch.Tensor:
        if scipy.sparse.issparse(X):
            return X.multiply(self.weight.detach().numpy()).tocsr()
        return X * self.weight


class Parametric(nn.Module):
    """A mixture z + a (f(z) - z) of an activation f and the identity, with a weight of each unit.

    The weights are 1 at first, where the mixture is the activation (Holzmueller et al., 2024).
    """

    def __init__(self, activation: nn.Module, n_units: int) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.ones(n_units))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + self.weight * (self.activation(z) - z)


class FeedForwardModule(nn.Sequential):
    """Linear layers with normalization, activation and dropout between them.

    The modules are named `input_dropout`, `embedding`, `input_scaling`, `linear0`,
    `normalization0`, `activation0`, `dropout0`, `linear1`, and so on, in this order. Those that the
    network does not have are left out.

    Parameters
    ----------
    weights : sequence of torch.Tensor of shape (n_out, n_in)
        Weights of each layer.
    biases : sequence of torch.Tensor of shape (n_out,)
        Biases of each layer. The parameters of the linear layers are views of the tensors in
        `weights` and `biases`, never copies.
    network : Network
        The architecture, of which this is one member.
    between : sequence of list of (str, torch.nn.Module), default=None
        The modules before each linear layer, as `ModulesBetween` has them. By default they are made
        here.
    masks : Masks, default=None
        Generator of dropout's factors. Without it there is no dropout.

    Shape
    -----
    The input has shape (n_rows, n_features). The output has shape (n_rows, n_outputs) and holds the
    raw outputs, which the output activation takes.
    """

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor],
        network: Network,
        between: Sequence[Sequence[tuple[str, nn.Module]]] | None = None,
        masks: Masks | None = None,
    ) -> None:
        between = modules_between(network).of_one() if between is None else between
        modules: list[tuple[str, nn.Module]] = []
        if masks is not None and network.input_dropout:
            modules.append(("input_dropout", Dropout(masks, network.input_dropout, True)))
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            modules += between[i]
            if i and masks is not None and network.dropout_after(i - 1):
                rate = network.dropout_after(i - 1)
                modules.append((f"dropout{i - 1}", Dropout(masks, rate)))
            modules.append((f"linear{i}", Linear(weight, bias)))
        super().__init__(OrderedDict(modules))
        self.own_modules = network.names_of_own_modules
        self._blame = blamed_on(
            f"The 'activation' parameter makes {self.own_modules}, with which the forward pass"
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return raw outputs; an error names the parameter if there are modules of the user."""
        with self._blame if self.own_modules else nullcontext():
            return super().forward(X)

    def __getitem__(self, index):
        """Return a module, or a slice of the modules as a plain `torch.nn.Sequential`."""
        if not isinstance(index, slice):
            return super().__getitem__(index)
        return nn.Sequential(OrderedDict(self.places()[index]))

    def places(self) -> list[tuple[str, nn.Module]]:
        """Return all names with their modules.

        `named_children` would list a module that stands in two places only once.
        """
        return list(self._modules.items())

    def linear_layers(self) -> list[nn.Linear]:
        """Return the linear layers, in their order."""
        return [module for name, module in self.places() if name.startswith("linear")]

    def extras(self) -> dict[str, torch.Tensor]:
        """Return the state of all modules but the linear layers, by name in `state_dict`."""
        return {
            f"{place}.{name}": tensor
            for place, module in self.places()
            if not place.startswith("linear")
            for name, tensor in module.state_dict().items()
        }

    def load_extras(self, arrays: dict[str, np.ndarray]) -> None:
        """Load what `extras` returned, given as arrays.

        Raises
        ------
        ValueError
            If the names or shapes differ from those of this module.
        """
        extras = self.extras()
        check_extras(arrays, extras)
        _load(extras, arrays)


class Ensemble(nn.Module):
    """Several networks of one architecture, whose predictions are averaged.

    Parameters
    ----------
    members : iterable of FeedForwardModule
        The networks.
    average : callable
        Function from the raw outputs of the members, of shape (n_members, n_outputs, n_rows), to
        those of the ensemble. It is a result of `sknn._network._losses.average_of`.
    shared : sequence of (str, torch.nn.Module), default=()
        Named modules that all members share. They turn the rows into the input of the members.

    Shape
    -----
    The input has shape (n_rows, n_features). The output has shape (n_rows, n_outputs) and holds the
    raw outputs of the ensemble: the output activation turns them into the mean of the members'
    predictions.
    """

    def __init__(
        self,
        members: Iterable[FeedForwardModule],
        average: Callable[[torch.Tensor], torch.Tensor],
        shared: Sequence[tuple[str, nn.Module]] = (),
    ) -> None:
        super().__init__()
        self.shared = nn.Sequential(OrderedDict(shared))
        self.members = nn.ModuleList(members)
        self.average = average

    def __iter__(self) -> Iterator[FeedForwardModule]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, i: int) -> FeedForwardModule:
        return self.members[i]

    @property
    def own_modules(self) -> str:
        """Names of the user's activations, as those of a member."""
        return self.members[0].own_modules

    def each(self, X: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs of each member, of shape (n_members, n_outputs, n_rows)."""
        X = self.shared(X)
        return torch.stack([member(X).t() for member in self])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs of the ensemble."""
        return self.average(self.each(X)).t()

    def linear_layers(self) -> list[nn.Linear]:
        """Return the first layers of all members, then the second layers, and so on."""
        return list(chain.from_iterable(zip(*(m.linear_layers() for m in self), strict=True)))

    def extras(self) -> dict[str, torch.Tensor]:
        """Return the state of all modules but the linear layers.

        That of the members' modules has one item for each member.
        """
        return dict(self.shared.state_dict()) | _stacked([member.extras() for member in self])

    def load_extras(self, arrays: dict[str, np.ndarray]) -> None:
        """Load what `extras` returned, given as arrays."""
        check_extras(arrays, self.extras())
        shared = self.shared.state_dict()
        _load(shared, arrays)
        for i, member in enumerate(self):
            own = {name: array[i] for name, array in arrays.items() if name not in shared}
            member.load_extras(own)


def _stacked(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the states of members as one, with an item for each of them."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def _load(state: dict[str, torch.Tensor], arrays: dict[str, np.ndarray]) -> None:
    for name, tensor in state.items():
        tensor.copy_(_compat.as_tensor(np.asarray(arrays[name])))


class ModulesBetween(NamedTuple):
    """The modules of a network beside the linear layers and dropout, named and initialized.

    Attributes
    ----------
    shared : list of (str, torch.nn.Module)
        Modules before the first layer that all members share.
    members : list of list of list of (str, torch.nn.Module)
        For each member, for each linear layer: the modules before it.
    """

    shared: list[tuple[str, nn.Module]]
    members: list[list[list[tuple[str, nn.Module]]]]

    def all(self) -> list[nn.Module]:
        """Return all modules, those of one member after the other."""
        own = (module for layers in self.members for layer in layers for _, module in layer)
        return [*(module for _, module in self.shared), *own]

    def of_one(self) -> list[list[tuple[str, nn.Module]]]:
        """Return the modules before each linear layer of a network that has one member."""
        first, *others = self.members[0]
        return [self.shared + first, *others]

    @property
    def n_shared(self) -> int:
        """Number of parameters of the shared modules, as tensors."""
        return sum(len(list(module.parameters())) for _, module in self.shared)


def network_module(
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    network: Network,
    average: Callable[[torch.Tensor], torch.Tensor],
    between: ModulesBetween | None = None,
    masks: Masks | None = None,
) -> FeedForwardModule | Ensemble:
    """Return the module of a network, or that of all members of an ensemble.

    Parameters
    ----------
    weights, biases, network, masks
        Those of `FeedForwardModule`; for several members, with a leading dimension.
    average : callable
        That of `Ensemble`.
    between : ModulesBetween, default=None
        The result of `modules_between`. By default that function is called here.
    """
    between = modules_between(network) if between is None else between
    if network.n_members == 1:
        return FeedForwardModule(weights, biases, network, between.of_one(), masks)
    return Ensemble(
        (
            FeedForwardModule(
                [weight[i] for weight in weights],
                [bias[i] for bias in biases],
                network,
                layers,
                None if masks is None else masks.of_member(i),
            )
            for i, layers in enumerate(between.members)
        ),
        average,
        between.shared,
    )


def state_between(network: Network) -> dict[str, torch.Tensor]:
    """Return the initial state of all modules but the linear layers, by name, as `extras` does."""
    shared, members = modules_between(network)
    states = [_state(chain.from_iterable(layers)) for layers in members]
    return _state(shared) | (states[0] if network.n_members == 1 else _stacked(states))


def _state(modules: Iterable[tuple[str, nn.Module]]) -> dict[str, torch.Tensor]:
    """Return the state of named modules, under the names of a `state_dict`."""
    return {
        f"{place}.{name}": tensor
        for place, module in modules
        for name, tensor in module.state_dict().items()
    }


def initial_state(network: Network, dtype: type) -> dict[str, np.ndarray]:
    """Return the state with which training starts, as arrays with the dtype of the weights."""
    arrays = {name: tensor.numpy() for name, tensor in state_between(network).items()}
    return {k: v.astype(dtype) if v.dtype.kind == "f" else v.copy() for k, v in arrays.items()}


def check_extras(arrays: dict[str, np.ndarray], extras: dict[str, torch.Tensor]) -> None:
    """Refuse arrays whose names or shapes are not those of the state of modules."""
    wanted = {name: tuple(tensor.shape) for name, tensor in extras.items()}
    given = {name: np.shape(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(
            f"The fitted model has module_state_ of shapes {given}, but normalization, activation,"
            f" numeric_embedding and input_scaling require {wanted}. Restore the values from the"
            " last fit, or fit again with warm_start=False."
        )


def modules_between(network: Network) -> ModulesBetween:
    """Make the modules before each linear layer: embedding, scaling, normalization, activation.

    The parameters of the embedding are zero, because its initial ones are drawn.

    Raises
    ------
    ValueError
        If a callable of the user returns something that is not a module, or for one member modules
        with other parameters than for another.
    """
    # The user's modules may draw initial parameters from torch's global generator.
    is_custom = network.has_modules_of_the_user
    with float32_on_cpu_as_default(), borrowed_generator() if is_custom else nullcontext():
        members = [_modules_of_a_member(network) for _ in range(network.n_members)]
        shared: list[tuple[str, nn.Module]] = []
        if network.embedding is not None:
            shared.append(("embedding", PeriodicEmbedding(network.embedding)))
    # Copies are trained, so that a module that the user keeps does not change. A module that stands
    # in two layers is copied once.
    if not is_custom:
        return ModulesBetween(shared, members)
    if network.n_members > 1:
        _check_alike(members, network)
    with blamed_on(f"The 'activation' parameter makes {network.names_of_own_modules}, whose copy"):
        return ModulesBetween(shared, [copy.deepcopy(layers) for layers in members])


def _check_alike(members: list[list[list[tuple[str, nn.Module]]]], network: Network) -> None:
    """Refuse members whose parameters and buffers cannot be stacked."""
    first, *others = (
        {name: tuple(t.shape) for name, t in _state(chain.from_iterable(layers)).items()}
        for layers in members
    )
    for shapes in others:
        if shapes != first:
            raise ValueError(
                f"The 'activation' parameter makes {network.names_of_own_modules}, with parameters"
                f" and buffers of the shapes {first} for one member and {shapes} for another. They"
                f" must be the same for all of the n_members={network.n_members} networks. Let the"
                " callable return the same kind of module in every call."
            )


def _modules_of_a_member(network: Network) -> list[list[tuple[str, nn.Module]]]:
    first = []
    if network.scales_inputs:
        first.append(("input_scaling", InputScaling(network.linear_units[0])))
    layers: list[list[tuple[str, nn.Module]]] = [first]
    pairs = zip(network.layer_units[1:-1], network.activations, strict=True)
    for i, (n_units, activation) in enumerate(pairs):
        layer: list[tuple[str, nn.Module]] = []
        if network.normalization is not None:
            layer.append((f"normalization{i}", NORMALIZATIONS[network.normalization](n_units)))
        layer.append((f"activation{i}", _activation_module(activation, n_units)))
        layers.append(layer)
    return layers


def _activation_module(activation: ActivationLike, n_units: int) -> nn.Module:
    if isinstance(activation, str):
        name = activation.removeprefix(PARAMETRIC)
        module = ACTIVATIONS[name].module()
        return module if name == activation else Parametric(module, n_units)
    with blamed_on(f"The 'activation' parameter contains a callable, {activation!r}, that"):
        try:
            module, failure = activation(), None
            got = f"that returned an object of type {type(module).__name__}"
        except TypeError as error:
            module, failure, got = None, error, f"that failed: {error}"
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"The 'activation' parameter contains a callable, {activation!r}, {got}. It is called"
            " without arguments, once for each hidden layer, and must return a torch.nn.Module. Use"
            " a class such as torch.nn.PReLU, or a function that creates a module."
        ) from failure
    return module
