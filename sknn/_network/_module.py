"""The network as a torch module, and its initial weights."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import nn
from torch.nn import functional as F

from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import ActivationLike, Network
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


class FeedForwardModule(nn.Sequential):
    """Linear layers with normalization, activation and dropout between them.

    The modules are named `input_dropout`, `linear0`, `normalization0`, `activation0`, `dropout0`,
    `linear1`, and so on, in this order. Those that the network does not have are left out.

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
        Normalization and activations, an item of the result of `modules_between`. By default that
        function is called here.
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
        between = modules_between(network)[0] if between is None else between
        modules: list[tuple[str, nn.Module]] = []
        if masks is not None and network.input_dropout:
            modules.append(("input_dropout", Dropout(masks, network.input_dropout, True)))
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            modules.append((f"linear{i}", Linear(weight, bias)))
            if i < len(between):
                modules += between[i]
                rate = network.dropout_after(i)
                if masks is not None and rate:
                    modules.append((f"dropout{i}", Dropout(masks, rate)))
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
        for name, tensor in extras.items():
            tensor.copy_(_compat.as_tensor(np.asarray(arrays[name])))


class Ensemble(nn.ModuleList):
    """Several networks of one architecture, whose predictions are averaged.

    Parameters
    ----------
    members : iterable of FeedForwardModule
        The networks.
    average : callable
        Function from the raw outputs of the members, of shape (n_members, n_outputs, n_rows), to
        those of the ensemble. It is a result of `sknn._network._losses.average_of`.

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
    ) -> None:
        super().__init__(members)
        self.average = average

    @property
    def own_modules(self) -> str:
        """Names of the user's activations, as those of a member."""
        return self[0].own_modules

    def each(self, X: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs of each member, of shape (n_members, n_outputs, n_rows)."""
        return torch.stack([member(X).t() for member in self])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the raw outputs of the ensemble."""
        return self.average(self.each(X)).t()

    def linear_layers(self) -> list[nn.Linear]:
        """Return the first layers of all members, then the second layers, and so on."""
        return list(chain.from_iterable(zip(*(m.linear_layers() for m in self), strict=True)))

    def extras(self) -> dict[str, torch.Tensor]:
        """Return the state of all modules but the linear layers, with one item for each member."""
        states = [member.extras() for member in self]
        return {name: torch.stack([state[name] for state in states]) for name in states[0]}

    def load_extras(self, arrays: dict[str, np.ndarray]) -> None:
        """Load what `extras` returned, given as arrays."""
        check_extras(arrays, self.extras())
        for i, member in enumerate(self):
            member.load_extras({name: array[i] for name, array in arrays.items()})


def network_module(
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    network: Network,
    average: Callable[[torch.Tensor], torch.Tensor],
    members: Sequence[Sequence[Sequence[tuple[str, nn.Module]]]] | None = None,
    masks: Masks | None = None,
) -> FeedForwardModule | Ensemble:
    """Return the module of a network, or that of all members of an ensemble.

    Parameters
    ----------
    weights, biases, network, masks
        Those of `FeedForwardModule`; for several members, with a leading dimension.
    average : callable
        That of `Ensemble`.
    members : sequence, default=None
        The result of `modules_between`. By default that function is called here.
    """
    members = modules_between(network) if members is None else members
    if network.n_members == 1:
        return FeedForwardModule(weights, biases, network, members[0], masks)
    return Ensemble(
        (
            FeedForwardModule(
                [weight[i] for weight in weights],
                [bias[i] for bias in biases],
                network,
                between,
                None if masks is None else masks.of_member(i),
            )
            for i, between in enumerate(members)
        ),
        average,
    )


def state_between(network: Network) -> dict[str, torch.Tensor]:
    """Return the initial state of all modules but the linear layers, by name, as `extras` does."""
    states = [
        {
            f"{place}.{name}": tensor
            for layer in between
            for place, module in layer
            for name, tensor in module.state_dict().items()
        }
        for between in modules_between(network)
    ]
    if network.n_members == 1:
        return states[0]
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


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
            f"The fitted model has module_state_ of shapes {given}, but normalization"
            f" and activation ask for {wanted}. Restore them, or fit anew with"
            " warm_start=False."
        )


def modules_between(network: Network) -> list[list[list[tuple[str, nn.Module]]]]:
    """Make the normalization and activation of each hidden layer, named and initialized.

    Returns
    -------
    list of list of list of (str, torch.nn.Module)
        For each member, for each hidden layer: the modules behind its linear layer.

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
    # Copies are trained, so that a module that the user keeps does not change. A module that stands
    # in two layers is copied once.
    if not is_custom:
        return members
    if network.n_members > 1:
        _check_alike(members, network)
    with blamed_on(f"The 'activation' parameter makes {network.names_of_own_modules}, whose copy"):
        return [copy.deepcopy(layers) for layers in members]


def _check_alike(members: list[list[list[tuple[str, nn.Module]]]], network: Network) -> None:
    """Refuse members whose parameters and buffers cannot be stacked."""
    first, *others = (
        {
            f"{place}.{name}": tuple(tensor.shape)
            for layer in layers
            for place, module in layer
            for name, tensor in module.state_dict().items()
        }
        for layers in members
    )
    for shapes in others:
        if shapes != first:
            raise ValueError(
                f"The 'activation' parameter makes {network.names_of_own_modules}, with parameters"
                f" and buffers of the shapes {first} for one member and {shapes} for another. All"
                f" of the n_members={network.n_members} networks must have the same: let the"
                " callable return the same kind of module in every call."
            )


def _modules_of_a_member(network: Network) -> list[list[tuple[str, nn.Module]]]:
    layers = []
    pairs = zip(network.layer_units[1:-1], network.activations, strict=True)
    for i, (n_units, activation) in enumerate(pairs):
        layer: list[tuple[str, nn.Module]] = []
        if network.normalization is not None:
            layer.append((f"normalization{i}", NORMALIZATIONS[network.normalization](n_units)))
        layer.append((f"activation{i}", _activation_module(activation)))
        layers.append(layer)
    return layers


def _activation_module(activation: ActivationLike) -> nn.Module:
    if isinstance(activation, str):
        return ACTIVATIONS[activation].module()
    with blamed_on(f"The 'activation' parameter holds a callable, {activation!r}, that"):
        try:
            module, failure = activation(), None
            got = f"that returned an object of type {type(module).__name__}"
        except TypeError as error:
            module, failure, got = None, error, f"that failed: {error}"
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"The 'activation' parameter holds a callable, {activation!r}, {got}. It is called"
            " without arguments, once for each hidden layer: it must return a torch.nn.Module, as"
            " a class like torch.nn.PReLU does, or a function that makes a module."
        ) from failure
    return module


class InitialRule(NamedTuple):
    """A rule by which the parameters of a layer are drawn uniformly on [-b, b].

    Attributes
    ----------
    bound : callable
        Function that returns b for `(n_in, n_out)`.
    draws_biases : bool
        Whether the biases are drawn too, after the weights of their layer. If not, they are zero.
    """

    bound: Callable[[int, int], float]
    draws_biases: bool


# "glorot" and "logistic" are scikit-learn's rules (Glorot and Bengio, 2010). "he" is the rule for
# activations that let about half of the variance through, as relu does (He et al., 2015). "lecun"
# gives the weights a variance of 1 / n_in (for selu: Klambauer et al., 2017).
INITIAL: dict[str, InitialRule] = {
    "glorot": InitialRule(lambda n_in, n_out: math.sqrt(6 / (n_in + n_out)), True),
    "logistic": InitialRule(lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)), True),
    "he": InitialRule(lambda n_in, n_out: math.sqrt(6 / n_in), False),
    "lecun": InitialRule(lambda n_in, n_out: math.sqrt(3 / n_in), False),
}


def initial_parameters(
    layer_units: Sequence[int],
    activations: Sequence[ActivationLike] | str,
    random_state: np.random.RandomState,
    dtype: np.dtype | type = np.float64,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw coefficients and intercepts, layer by layer.

    The activation after a layer names its rule in `INITIAL`: scikit-learn's four activations have
    scikit-learn's rules, and the user's own activations have "glorot". The output layer follows the
    rule of the last hidden layer if that is one of scikit-learn's, and else "lecun".

    Parameters
    ----------
    layer_units : sequence of int
        Number of features, of units in each hidden layer, and of outputs.
    activations : sequence of str or callable, or str
        Activation of each hidden layer. A string is the activation of all of them.
    random_state : numpy.random.RandomState
        Generator of the values, which are drawn in float64.
    dtype : dtype, default=float64
        Dtype of the result.

    Returns
    -------
    coefs : list of ndarray of shape (n_in, n_out), of `dtype`
    intercepts : list of ndarray of shape (n_out,), of `dtype`
    """
    n_hidden = len(layer_units) - 2
    # Without a hidden layer, a string still names the rule of the output layer, as in scikit-learn.
    names = [activations] * (n_hidden + 1) if isinstance(activations, str) else [*activations]
    rules = [INITIAL[ACTIVATIONS[a].initial if isinstance(a, str) else "glorot"] for a in names]
    last = rules[-1] if rules else INITIAL["glorot"]
    rules = [*rules[:n_hidden], last if last.draws_biases else INITIAL["lecun"]]
    coefs, intercepts = [], []
    for (n_in, n_out), rule in zip(pairwise(layer_units), rules, strict=True):
        bound = rule.bound(n_in, n_out)
        coef = random_state.uniform(-bound, bound, (n_in, n_out))
        intercept = np.zeros(n_out)
        if rule.draws_biases:
            intercept = random_state.uniform(-bound, bound, n_out)
        coefs.append(coef.astype(dtype, copy=False))
        intercepts.append(intercept.astype(dtype, copy=False))
    return coefs, intercepts
