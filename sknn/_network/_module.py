"""The network as any torch user knows it, and its initial weights."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sknn._network._activations import ACTIVATIONS
from sknn._network._dropout import Dropout, Masks
from sknn._platform import _compat
from sknn._platform._compat import borrowed_generator
from sknn._platform._torch_settings import usual_constructors
from sknn._training._problem import ActivationLike, Network


class Linear(nn.Linear):
    """A linear layer around given tensors.

    Torch's own constructor draws initial weights from torch's global generator, which belongs
    to the user.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization (Ioffe and Szegedy, 2015) that a batch of one row does not break.

    One row has no variance: in training it is normalized by the running statistics, as in
    prediction, and leaves them as they are.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) == 1:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "batch": BatchNorm}


class FeedForwardModule(nn.Sequential):
    """Linear layers with normalization, activation and dropout between them.

    The modules are named `linear0`, `normalization0`, `activation0`, `dropout0`, `linear1`, ...,
    those that are not asked for left out; `input_dropout` comes first.

    Parameters
    ----------
    weights : sequence of torch.Tensor of shape (n_out, n_in)
    biases : sequence of torch.Tensor of shape (n_out,)
        The linear layers' parameters are views of these tensors, never copies.
    network : Network
    between : sequence of list of (str, torch.nn.Module), default=None
        What `modules_between` made for each hidden layer; by default it is made here.
    masks : Masks, default=None
        Draws what dropout leaves out. Without one there is no dropout.

    Shape
    -----
    Input (n_rows, n_features), output (n_rows, n_outputs): what enters the output activation.
    """

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor],
        network: Network,
        between: Sequence[Sequence[tuple[str, nn.Module]]] | None = None,
        masks: Masks | None = None,
    ) -> None:
        between = modules_between(network) if between is None else between
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

    def __getitem__(self, index):
        """A module, or a slice as a plain `torch.nn.Sequential`."""
        if not isinstance(index, slice):
            return super().__getitem__(index)
        return nn.Sequential(OrderedDict(self.places()[index]))

    def places(self) -> list[tuple[str, nn.Module]]:
        """Each place and its module, of which `named_children` gives one in two places once."""
        return list(self._modules.items())

    def extras(self) -> dict[str, torch.Tensor]:
        """What is in the state beside the linear layers, by its name in `state_dict`."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("linear")}

    def load_extras(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `extras` gave, as arrays.

        Raises
        ------
        ValueError
            If names or shapes are not those of this module.
        """
        there = self.extras()
        wanted = {name: tuple(tensor.shape) for name, tensor in there.items()}
        given = {name: np.shape(array) for name, array in arrays.items()}
        if given != wanted:
            raise ValueError(
                f"The model that is there has module_state_ of shapes {given}, but normalization"
                f" and activation ask for {wanted}. Set them back, or fit anew with"
                " warm_start=False."
            )
        for name, tensor in there.items():
            tensor.copy_(_compat.as_tensor(np.asarray(arrays[name])))


def modules_between(network: Network) -> list[list[tuple[str, nn.Module]]]:
    """Normalization and activation of each hidden layer, named, with initial parameters.

    Raises
    ------
    ValueError
        If a callable of the user makes something that is no module.
    """
    layers = []
    pairs = zip(network.layer_units[1:-1], network.activations, strict=True)
    # The user's modules may draw initial parameters from torch's generator.
    is_custom = network.has_modules_of_the_user
    with usual_constructors(), borrowed_generator() if is_custom else nullcontext():
        for i, (n_units, activation) in enumerate(pairs):
            layer: list[tuple[str, nn.Module]] = []
            if network.normalization is not None:
                layer.append((f"normalization{i}", NORMALIZATIONS[network.normalization](n_units)))
            layer.append((f"activation{i}", _activation_module(activation)))
            layers.append(layer)
    # A module that the user keeps is not trained; one that stands in two layers stays one.
    return copy.deepcopy(layers) if is_custom else layers


def _activation_module(activation: ActivationLike) -> nn.Module:
    if isinstance(activation, str):
        return ACTIVATIONS[activation].module()
    try:
        module = activation()
        got = f"that returned an object of type {type(module).__name__}"
    except TypeError as error:
        module, got = None, f"that failed: {error}"
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"The 'activation' parameter holds a callable, {activation!r}, {got}. It is called"
            " without arguments, once for each hidden layer: it must return a torch.nn.Module, as"
            " a class like torch.nn.PReLU does, or a function that makes a module."
        )
    return module


def initial_parameters(
    layer_units: Sequence[int],
    activations: Sequence[ActivationLike] | str,
    random_state: np.random.RandomState,
    dtype: np.dtype | type = np.float64,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw coefficients and intercepts, layer by layer.

    Before scikit-learn's four activations, and before the user's own, as scikit-learn does: uniform
    on [-b, b] with b = sqrt(6 / (n_in + n_out)) (Glorot and Bengio, 2010), 2 in place of 6 for the
    logistic; the biases are drawn too, after the weights of their layer. Before the others the
    biases are zero, and b is

    - sqrt(6 / n_in) for those that let about half of the variance through, as relu does:
      leaky_relu, elu, gelu, silu, mish (He et al., 2015);
    - sqrt(3 / n_in), a variance of 1 / n_in, for selu (Klambauer et al., 2017) and softplus.

    The output layer follows the last hidden layer where that is scikit-learn's, and else has zero
    biases and a variance of 1 / n_in.

    Parameters
    ----------
    layer_units : sequence of int
    activations : sequence of str or callable, or str
        One for each hidden layer; a string is that of all layers.
    random_state : numpy.random.RandomState
    dtype : dtype, default=float64

    Returns
    -------
    coefs : list of ndarray of shape (n_in, n_out), of `dtype`
    intercepts : list of ndarray of shape (n_out,), of `dtype`
    """
    n_hidden = len(layer_units) - 2
    # Without a hidden layer, a string still names the rule of the output layer, as in scikit-learn.
    names = [activations] * (n_hidden + 1) if isinstance(activations, str) else [*activations]
    rules = [ACTIVATIONS[a].initial if isinstance(a, str) else "glorot" for a in names]
    last = rules[-1] if rules else "glorot"
    rules = [*rules[:n_hidden], last if last in ("glorot", "logistic") else "lecun"]
    coefs, intercepts = [], []
    for (n_in, n_out), rule in zip(pairwise(layer_units), rules, strict=True):
        square = {
            "glorot": 6.0 / (n_in + n_out),
            "logistic": 2.0 / (n_in + n_out),
            "he": 6.0 / n_in,
            "lecun": 3.0 / n_in,
        }[rule]
        bound = np.sqrt(square)
        coef = random_state.uniform(-bound, bound, (n_in, n_out))
        if rule in ("glorot", "logistic"):
            intercept = random_state.uniform(-bound, bound, n_out)
        else:
            intercept = np.zeros(n_out)
        coefs.append(coef.astype(dtype, copy=False))
        intercepts.append(intercept.astype(dtype, copy=False))
    return coefs, intercepts
