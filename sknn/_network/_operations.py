"""The operations of a network in training, each with a form forward and a form backward.

An operation works on feature-major buffers that are made once, of shape (n_units, n_rows). It is
two functions without arguments: `forward`, from the input buffer to the output buffer, and
`backward`, from the derivative of the loss by the output to the derivative by the input and to the
gradients of the operation's parameters. All tensors, views and operands are bound when the
functions are made, so that a step looks nothing up. Names that end in an underscore are the
operands of tensors: the same memory, as the products take it.

With several members, the networks of an ensemble, a buffer holds the units of one member after
those of the other: its shape is (n_members * n_units, n_rows). What works on each unit by itself
need not know of that; a product takes the buffers by member.

To add an operation, write a function that returns an `Operation`, call it in `hidden_layer`, and
add its module to `sknn._network._module`, which predicts and is the reference that tests compare
the gradient with. `layer_normalization` is a good example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import PARAMETRIC, Network
from sknn._network._dropout import Masks
from sknn._network._matrix_products import TorchProducts
from sknn._platform._user_code import blamed_on

New = Callable[[int], torch.Tensor]


class Operation(NamedTuple):
    """One operation, for batches of one size.

    Attributes
    ----------
    forward, backward : callable
        Functions without arguments for the two directions.
    output : torch.Tensor of shape (n_units, n_rows)
        The buffer that the next operation reads.
    """

    forward: Callable[[], object]
    backward: Callable[[], object]
    output: torch.Tensor


class Buffers:
    """What the operations of one workspace share.

    Parameters
    ----------
    products : TorchProducts
        The products of matrices, which also hold the parameters.
    new : callable
        Function that takes a number of units and returns a new buffer of shape (n_units, n_rows).
    n_rows : int
        Number of rows of a batch.
    n_members : int, default=1
        Number of networks.

    Attributes
    ----------
    operand : callable
        Function that returns a tensor as the products take it.
    ones : operand of shape (n_rows,)
        Ones, by which a product adds up the rows.
    short : module
        The library whose functions cost less for short vectors, given as operands: NumPy or torch.
        Both have `add`, `multiply`, `sqrt` and `reciprocal`, with `out`.
    """

    def __init__(self, products: TorchProducts, new: New, n_rows: int, n_members: int = 1) -> None:
        self.products, self.new, self.n_rows, self.n_members = products, new, n_rows, n_members
        self.operand = products.operand
        self.ones = self.operand(products.parameters.storage.new_ones(n_rows, dtype=products.dtype))
        self.short = np if isinstance(self.ones, np.ndarray) else torch

    def vector(self, n: int) -> torch.Tensor:
        """Return a new vector in the dtype of the parameters."""
        return self.products.parameters.storage.new_empty(n)

    def by_member(self, buffer: torch.Tensor) -> torch.Tensor:
        """Return a view of shape (n_members, n_units, n_rows) if there are several members."""
        return buffer if self.n_members == 1 else buffer.unflatten(0, (self.n_members, -1))


def product(
    buffers: Buffers, i: int, x: torch.Tensor, z: torch.Tensor, delta: torch.Tensor,
    x_delta: torch.Tensor,
) -> Operation:  # fmt: skip
    """Multiply the input of layer `i` by its weights.

    z = W x,    d x = W^T d z,    d W = d z x^T
    """
    products, operand = buffers.products, buffers.operand
    multiply = products.multiply if buffers.n_members == 1 else products.multiply_stacks
    weight, gradient = products.weights[i], products.weight_gradients[i]
    x_, z_, d_, x_d_ = (operand(buffers.by_member(b)) for b in (x, z, delta, x_delta))
    weight_t, x_t = weight.swapaxes(-1, -2), x_.swapaxes(-1, -2)

    def forward() -> None:
        multiply(weight, x_, out=z_)

    def backward() -> None:
        multiply(d_, x_t, out=gradient)
        multiply(weight_t, d_, out=x_d_)

    return Operation(forward, backward, z)


def bias(buffers: Buffers, i: int, z: torch.Tensor, delta: torch.Tensor) -> Operation:
    """Add the biases of layer `i` in place. Their gradient is the sum of the rows of delta."""
    products, ones, delta = buffers.products, buffers.ones, buffers.operand(delta)
    is_exact = z.dtype == products.parameters.storage.dtype
    biases = products.parameters.biases if is_exact else products.biases
    sum_rows, gradient = products.sum_rows, products.bias_gradients[i].reshape(-1)

    def backward() -> None:
        sum_rows(delta, ones, out=gradient)

    return Operation(partial(z.add_, biases[i].reshape(-1, 1)), backward, z)


def activation(buffers: Buffers, name: str, z: torch.Tensor, delta: torch.Tensor) -> Operation:
    """Apply an activation: in place, or into a new buffer if its derivative needs the input."""
    function = ACTIVATIONS[name]
    if name in OWN_ACTIVATIONS and z.dtype != torch.bfloat16:
        return OWN_ACTIVATIONS[name](buffers, z, delta)
    if not function.from_input:
        return Operation(partial(function.apply_, z), partial(function.backward_, delta, z), z)
    output = buffers.new(len(z))
    return Operation(
        partial(function.apply, z, output), partial(function.backward_, delta, z), output
    )


# From this number on, mish is the identity to the last bit of float64, and 4 (e^z + 2)^4 is finite
# in float32.
MISH_IS_IDENTITY_FROM = 20


def mish(buffers: Buffers, z: torch.Tensor, delta: torch.Tensor) -> Operation:
    """Apply z tanh(log(1 + e^z)), as a rational function of e = e^z.

    With n = e (e + 2), the hyperbolic tangent is n / (n + 2), and the derivative of mish is

        n / (n + 2) + 4 z e (e + 1) / (n + 2)^2.

    One exponential is all that both directions need. Torch's operators take three times as long.
    """
    output, e, n, d, tanh = (buffers.new(len(z)) for _ in range(5))

    def forward() -> None:
        torch.clamp(z, max=MISH_IS_IDENTITY_FROM, out=e)
        e.exp_()
        torch.add(e, 2, out=n).mul_(e)
        torch.add(n, 2, out=d)
        torch.div(n, d, out=tanh)
        torch.mul(z, tanh, out=output)

    def backward() -> None:
        torch.addcmul(e, e, e, out=n).div_(d).div_(d).mul_(z)
        delta.mul_(tanh.add_(n, alpha=4))

    return Operation(forward, backward, output)


def gelu(buffers: Buffers, z: torch.Tensor, delta: torch.Tensor) -> Operation:
    """Apply z F(z), with the distribution function F of the normal distribution.

    F(z) = 1/2 + 1/2 erf(z / sqrt(2)), and the derivative of gelu is

        F(z) + z exp(-z^2 / 2 - log(2 pi) / 2).

    The error function, which costs most, is computed once. Torch's operator computes it again for
    the derivative.
    """
    output, normal, density = (buffers.new(len(z)) for _ in range(3))
    root, half, offset = map(z.new_tensor, (math.sqrt(0.5), 0.5, -0.5 * math.log(2 * math.pi)))

    def forward() -> None:
        torch.mul(z, root, out=normal).erf_()
        torch.add(half, normal, alpha=0.5, out=normal)
        torch.mul(z, normal, out=output)

    def backward() -> None:
        torch.addcmul(offset, z, z, value=-0.5, out=density).exp_()
        delta.mul_(normal.addcmul_(z, density))

    return Operation(forward, backward, output)


OWN_ACTIVATIONS = {"gelu": gelu, "mish": mish}


def parametric(
    buffers: Buffers, name: str, modules: list[nn.Module], z: torch.Tensor, delta: torch.Tensor
) -> Operation:
    """Mix an activation f with the identity: h = z + a (f(z) - z), with a weight of each unit.

    For a derivative d by the output,

        d a = sum of the rows of d (f - z),    d z = d (1 - a + a f').
    """
    weight, gradient = buffers.products.parameters.stack([m.weight for m in modules])
    a, rest = weight.view(-1, 1), torch.empty_like(weight.view(-1, 1))
    change, by_f, output = (buffers.new(len(z)) for _ in range(3))
    # An f that works in place gets a copy of z. Its derivative multiplies what `by_f` holds.
    works_in_place = not ACTIVATIONS[name].from_input
    source = buffers.new(len(z)) if works_in_place else z
    f = activation(buffers, name, source, by_f)
    sum_rows, ones = buffers.products.sum_rows, buffers.ones
    by_f_, gradient_ = map(buffers.operand, (by_f, gradient.view(-1)))

    def forward() -> None:
        if works_in_place:
            source.copy_(z)
        f.forward()
        torch.sub(f.output, z, out=change)
        torch.addcmul(z, change, a, out=output)

    def backward() -> None:
        torch.mul(delta, change, out=by_f)
        sum_rows(by_f_, ones, out=gradient_)
        torch.mul(delta, a, out=by_f)
        f.backward()
        torch.sub(1, a, out=rest)
        torch.addcmul(by_f, delta, rest, out=delta)

    return Operation(forward, backward, output)


def periodic_embedding(
    buffers: Buffers, module: nn.Module, output: torch.Tensor, delta: torch.Tensor
) -> Operation:
    """Put the values W cos(2 pi w x + c) + b of some columns x before the rows.

    The last rows of the buffer `output` hold the columns of the data, and the first ones get the
    values. `delta` is the derivative by the values alone. With u = 2 pi w x + c and a derivative d,

        d W = d cos(u)^T,    d b = sum of the rows of d,    d u = -sin(u) W^T d,
        d c = sum of the rows of d u,    d w = 2 pi d u x^T.

    All are stacks of small matrices, one for each column, which torch multiplies in a quarter of
    NumPy's time.
    """
    n, n_frequencies = module.frequencies.shape
    n_rows = buffers.n_rows
    w, c, weight, b = (
        p.detach() for p in (module.frequencies, module.phases, module.weight, module.bias)
    )
    rows, columns = output[len(delta) :], module.columns
    x, angle, cosine, by_angle = (
        buffers.new(n * k) for k in (1, n_frequencies, n_frequencies, n_frequencies)
    )
    u, cos_u, d_u = (t.view(n, n_frequencies, n_rows) for t in (angle, cosine, by_angle))
    values, d = (t[: n * weight.shape[1]].view(n, -1, n_rows) for t in (output, delta))
    x_rows = x.view(n, 1, n_rows)
    speed = torch.empty_like(w)
    weight_t, cos_t, x_t = weight.mT, cos_u.mT, x_rows.mT
    speeds, shifts, biases = speed.unsqueeze(2), c.unsqueeze(2), b.unsqueeze(2)
    weight_gradient, bias_gradient, c_gradient, w_gradient = (
        p.grad for p in (module.weight, module.bias, module.phases, module.frequencies)
    )
    w_column = w_gradient.unsqueeze(2)

    def forward() -> None:
        torch.index_select(rows, 0, columns, out=x)
        torch.mul(w, 2 * math.pi, out=speed)
        torch.mul(x_rows, speeds, out=u)
        torch.cos(u.add_(shifts), out=cos_u)
        torch.bmm(weight, cos_u, out=values)
        values.add_(biases)

    def backward() -> None:
        torch.bmm(d, cos_t, out=weight_gradient)
        torch.sum(d, 2, out=bias_gradient)
        torch.bmm(weight_t, d, out=d_u)
        d_u.mul_(u.sin_().neg_())
        torch.sum(d_u, 2, out=c_gradient)
        torch.bmm(d_u, x_t, out=w_column)
        w_gradient.mul_(2 * math.pi)

    return Operation(forward, backward, output)


def input_scaling(
    buffers: Buffers, modules: list[nn.Module], weight: torch.Tensor, gradient: torch.Tensor
) -> Operation:
    """Multiply the inputs of the first layer by factors s, by way of its weights.

    The rows, which may be sparse and which members share, stay as they are: W s is the weight that
    multiplies them. If M is the derivative by that product, which `gradient` holds when `backward`
    is called,

        d W = M s,    d s = sum over the units of M W.

    The output is the product of weights and factors.
    """
    s, s_gradient = buffers.products.parameters.stack([m.weight for m in modules])
    s, s_gradient = s.unsqueeze(-2), s_gradient.view(*weight.shape[:-2], -1)
    if weight.dim() == 2:
        s = s.view(1, -1)
    scaled, scratch = torch.empty_like(weight), torch.empty_like(weight)

    def backward() -> None:
        torch.mul(gradient, weight, out=scratch)
        torch.sum(scratch, -2, out=s_gradient)
        gradient.mul_(s)

    return Operation(partial(torch.mul, weight, s, out=scaled), backward, scaled)


def dropout(
    buffers: Buffers, masks: Masks, rate: float, a: torch.Tensor, delta: torch.Tensor,
    in_place: bool,
) -> Operation:  # fmt: skip
    """Multiply by the factors of inverted dropout, which are drawn anew in each step."""
    factors = buffers.new(len(a))
    output = a if in_place else buffers.new(len(a))
    fill = masks.filler(factors, rate)

    def forward() -> None:
        fill()
        torch.mul(a, factors, out=output)

    return Operation(forward, partial(delta.mul_, factors), output)


def layer_normalization(
    buffers: Buffers, module: nn.LayerNorm, z: torch.Tensor, delta: torch.Tensor
) -> Operation:
    """Normalize each row over its n units, then scale and shift each unit (Ba et al., 2016).

    With u the row without its mean, s = (mean(u^2) + epsilon)^(-1/2) and h = s u, the output is
    g h + b. For a derivative d by the output,

        d g = sum of the rows of d h,    d b = sum of the rows of d,
        d z = s (g d - mean(g d) - h mean(g d h)),

    where the means are over the units of a row. They are products with a vector, which cost less
    than reductions. (One call of `addcmul` with factors of units costs more than two calls.)
    """
    n, operand, short, epsilon = len(z), buffers.operand, buffers.short, module.eps
    multiply, sum_rows, ones = buffers.products.multiply, buffers.products.sum_rows, buffers.ones
    scale, shift = (p.detach().unsqueeze(1) for p in (module.weight, module.bias))
    h, scratch = buffers.new(n), buffers.new(n)
    mean, s, mean_d, mean_dh = (buffers.vector(buffers.n_rows) for _ in range(4))
    shares = operand(torch.full_like(buffers.vector(n), 1 / n))
    scaled = operand(buffers.vector(n))
    mean_, s_, mean_d_, mean_dh_ = map(operand, (mean, s, mean_d, mean_dh))
    delta_, scratch_ = operand(delta), operand(scratch)
    z_t, delta_t, scratch_t = operand(z).T, delta_.T, scratch_.T
    scale_, scale_gradient, shift_gradient = map(
        operand, (module.weight.detach(), module.weight.grad, module.bias.grad)
    )

    def forward() -> None:
        multiply(z_t, shares, out=mean_)
        torch.sub(z, mean, out=h)
        torch.mul(h, h, out=scratch)
        multiply(scratch_t, shares, out=s_)
        short.add(s_, epsilon, out=s_)
        short.sqrt(s_, out=s_)
        short.reciprocal(s_, out=s_)
        h.mul_(s)
        torch.mul(h, scale, out=z)
        z.add_(shift)

    def backward() -> None:
        torch.mul(delta, h, out=scratch)
        sum_rows(scratch_, ones, out=scale_gradient)
        sum_rows(delta_, ones, out=shift_gradient)
        short.multiply(scale_, -1 / n, out=scaled)
        multiply(delta_t, scaled, out=mean_d_)
        multiply(scratch_t, scaled, out=mean_dh_)
        delta.mul_(scale).add_(mean_d).addcmul_(h, mean_dh).mul_(s)

    return Operation(forward, backward, z)


def batch_normalization(
    buffers: Buffers, module: nn.BatchNorm1d, z: torch.Tensor, delta: torch.Tensor
) -> Operation:
    """Normalize each unit over the n rows, then scale and shift it (Ioffe and Szegedy, 2015).

    With u the unit's values without their mean, s = (mean(u^2) + epsilon)^(-1/2) and f = g s, the
    output is f u + b. For a derivative d by the output,

        d g = s sum(d u),    d b = sum(d),    d z = f d - (f d b + f s u d g) / n.

    The running statistics move to those of the batch, with the unbiased variance, as in torch. One
    row has no variance, and is normalized by the running statistics, which do not change then and
    through which no derivative goes.
    """
    n, operand, short, epsilon = len(z), buffers.operand, buffers.short, module.eps
    n_rows, sum_rows, ones = buffers.n_rows, buffers.products.sum_rows, buffers.ones
    running_mean, running_var, rate = module.running_mean, module.running_var, module.momentum
    shift = module.bias.detach().unsqueeze(1)
    u, scratch = buffers.new(n), buffers.new(n)
    mean, s, f, of_mean, of_u = (buffers.vector(n) for _ in range(5))
    mean_, s_, f_, of_mean_, of_u_ = map(operand, (mean, s, f, of_mean, of_u))
    scale_, scale_gradient, shift_gradient = map(
        operand, (module.weight.detach(), module.weight.grad, module.bias.grad)
    )
    z_, delta_, scratch_ = map(operand, (z, delta, scratch))
    # The same vectors as columns, one value for each unit.
    mean_column, f_column, of_mean_column, of_u_column = (
        vector.unsqueeze(1) for vector in (mean, f, of_mean, of_u)
    )

    def forward() -> None:
        if n_rows == 1:
            mean.copy_(running_mean)
            s.copy_(running_var)
            torch.sub(z, mean_column, out=u)
        else:
            sum_rows(z_, ones, out=mean_)
            short.multiply(mean_, 1 / n_rows, out=mean_)
            torch.sub(z, mean_column, out=u)
            torch.mul(u, u, out=scratch)
            sum_rows(scratch_, ones, out=s_)
            short.multiply(s_, 1 / n_rows, out=s_)
            running_mean.lerp_(mean, rate)
            running_var.mul_(1 - rate).add_(s, alpha=rate * n_rows / (n_rows - 1))
            module.num_batches_tracked.add_(1)
        short.add(s_, epsilon, out=s_)
        short.sqrt(s_, out=s_)
        short.reciprocal(s_, out=s_)
        short.multiply(scale_, s_, out=f_)
        torch.mul(u, f_column, out=z)
        z.add_(shift)

    def backward() -> None:
        torch.mul(delta, u, out=scratch)
        sum_rows(scratch_, ones, out=scale_gradient)
        short.multiply(scale_gradient, s_, out=scale_gradient)
        sum_rows(delta_, ones, out=shift_gradient)
        delta.mul_(f_column)
        if n_rows == 1:
            return
        short.multiply(shift_gradient, f_, out=of_mean_)
        short.multiply(of_mean_, 1 / n_rows, out=of_mean_)
        short.multiply(scale_gradient, f_, out=of_u_)
        short.multiply(of_u_, s_, out=of_u_)
        short.multiply(of_u_, 1 / n_rows, out=of_u_)
        torch.mul(u, of_u_column, out=scratch)
        delta.sub_(of_mean_column).sub_(scratch)

    return Operation(forward, backward, z)


class _AcrossModule:
    """A module of the user between two buffers, differentiated by autograd across it alone.

    The module gets a copy of the buffer, which it may change in place. A module of torch takes the
    buffer's layout, and a class of the user gets rows that lie together, as it may view them in
    another shape; transposing costs more than most activations.
    """

    def __init__(self, module: nn.Module, z: torch.Tensor, delta: torch.Tensor) -> None:
        self.module, self.z, self.delta = module, z, delta
        self._where = f"The 'activation' parameter makes {type(module).__name__}, "
        is_of_torch = all(type(m).__module__.startswith("torch.nn.") for m in module.modules())
        self._layout = torch.preserve_format if is_of_torch else torch.contiguous_format
        self._x = self._values = None

    def forward(self) -> None:
        with torch.enable_grad():
            self._x = self.z.t().detach().requires_grad_()
            with blamed_on(f"{self._where}whose forward pass"):
                self._values = self.module(self._x.clone(memory_format=self._layout))
        if not isinstance(self._values, torch.Tensor) or self._values.shape != self._x.shape:
            got = getattr(self._values, "shape", None)
            raise ValueError(
                f"{self._where}which turned a tensor of shape {tuple(self._x.shape)} into"
                f" {type(self._values).__name__ if got is None else f'one of {tuple(got)}'}. It"
                " must return a tensor of the same shape, with a value for each unit of each row."
            )
        self.z.copy_(self._values.detach().t())

    def backward(self) -> None:
        if self._values.requires_grad:
            with blamed_on(f"{self._where}whose derivative"):
                self._values.backward(self.delta.t())
        if self._x.grad is None:
            self.delta.zero_()
        else:
            self.delta.copy_(self._x.grad.t())
        self._x = self._values = None


def own_module(module: nn.Module, z: torch.Tensor, delta: torch.Tensor) -> Operation:
    """Apply a module of the user; its parameters' gradients are added to those that are there."""
    across = _AcrossModule(module, z, delta)
    return Operation(across.forward, across.backward, z)


def hidden_layer(
    buffers: Buffers,
    network: Network,
    i: int,
    z: torch.Tensor,
    delta: torch.Tensor,
    *,
    masks: Masks | None,
    module: nn.Module | None,
) -> tuple[list[Operation], torch.Tensor]:
    """Return the operations between the products of layers `i` and `i` + 1, and their output."""
    name, rate = network.activations[i], network.dropout_after(i)
    operations = [bias(buffers, i, z, delta)]

    def own(place: str) -> Iterator[tuple[nn.Module, torch.Tensor, torch.Tensor]]:
        """Iterate over the modules of the members, of which each sees its part of the buffers."""
        members = [module] if buffers.n_members == 1 else module
        parts = (buffer.split(len(z) // buffers.n_members) for buffer in (z, delta))
        return zip((member.get_submodule(place) for member in members), *parts, strict=True)

    if network.normalization is not None:
        normalize = NORMALIZATIONS[network.normalization]
        operations += [normalize(buffers, *parts) for parts in own(f"normalization{i}")]
    output = z
    if isinstance(name, str):
        if name.startswith(PARAMETRIC):
            modules = [module for module, *_ in own(f"activation{i}")]
            base = name.removeprefix(PARAMETRIC)
            operations.append(parametric(buffers, base, modules, z, delta))
        else:
            operations.append(activation(buffers, name, z, delta))
        output = operations[-1].output
    else:
        operations += [own_module(*parts) for parts in own(f"activation{i}")]
    if masks is not None and rate > 0:
        in_place = isinstance(name, str) and leaves_output(name)
        operations.append(dropout(buffers, masks, rate, output, delta, in_place))
        output = operations[-1].output
    return operations, output


def leaves_output(name: str) -> bool:
    """Return whether dropout may multiply the output of an activation in place."""
    return name.startswith(PARAMETRIC) or ACTIVATIONS[name].leaves_output


NORMALIZATIONS = {"layer": layer_normalization, "batch": batch_normalization}
