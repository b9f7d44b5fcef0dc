"""Matrix products of a step: by NumPy's BLAS, by torch's BLAS, or by bfloat16 units.

A step is written once, for *operands*: `operand` makes one of a tensor, whose memory it shares, and
`multiply` takes them. Torch does the elementwise operations and reductions in all cases.

NumPy's BLAS (OpenBLAS) multiplies faster than torch's BLAS (MKL) on the AMD processor on which this
was measured, most of all for narrow matrices and float64. A call also costs less. But its threads
are not those of torch, and elementwise operations beside them have to run on one thread, because
the idle threads of either library spin for a while on the cores that the other one needs. So torch
does everything in large steps on many threads. `examples/benchmarks/choices.py` measures it.

A thread of Python beside the BLAS, which takes half of Adam's vector or gathers the next rows, is
no help: waking it takes 60 us, and it has to wait for the core of a spinning thread. On two idle
cores, two products of the first layer, Adam's update and a gather took 0.98 to 1.06 of their time
in turn for 784-256-128-10 in float32, and 0.94 to 1.01 for 512-1024-1024-10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from sknn._network._parameters import FlatParameters
from sknn._platform._threads import is_worth_sharing, one_blas_thread, threads_for

# If torch has more threads than this, elementwise operations on one of them cost more than NumPy's
# products save. This was measured on two threads.
NUMPY_UP_TO = 2
OPERANDS = (np.ndarray, torch.Tensor)
Operand = Any  # an instance of one of `OPERANDS`


class TorchProducts:
    """Products by torch, in the dtype and on the device of the parameters.

    Parameters
    ----------
    parameters : FlatParameters
        The parameters of the network.

    Attributes
    ----------
    dtype : torch.dtype
        Dtype of the rows, and of the outputs of all layers but the last.
    weights, weight_gradients : list of operands of shape (n_out, n_in)
        Weights of each layer, and their gradients. Those of several members have one more dimension
        in front, and so have the biases.
    biases : list of torch.Tensor of shape (n_out,)
        Biases of each layer.
    bias_gradients : list of operands of shape (n_out,)
        Gradients of the biases.
    multiply : callable
        `(left, right, out=...)`: writes the product of two matrices.
    multiply_stacks : callable
        `(left, right, out=...)`: writes the products of two stacks of matrices, one for each
        member.
    sum_rows : callable
        `(matrix, ones, out=...)`: writes the sum of each row, as a product with a vector of ones.
    """

    multiply: Callable[..., object] = staticmethod(torch.matmul)
    multiply_stacks: Callable[..., object] = staticmethod(torch.bmm)
    sum_rows: Callable[..., object] = staticmethod(torch.matmul)

    def __init__(self, parameters: FlatParameters) -> None:
        self.parameters = parameters
        self.dtype = parameters.storage.dtype
        self.weights = [self.operand(w) for w in parameters.weights]
        self.weight_gradients = [self.operand(g) for g in parameters.weight_gradients]
        self.biases = parameters.biases
        self.bias_gradients = [self.operand(g) for g in parameters.bias_gradients]

    @staticmethod
    @contextmanager
    def threads(flops: float, n_members: int = 1) -> Iterator[None]:
        """Run the body on as many threads as are worth it for steps of `flops` operations.

        `flops` counts the operations of all members.
        """
        with threads_for(flops):
            yield

    def operand(self, tensor: torch.Tensor) -> Operand:
        """Return a tensor as `multiply` takes it, without a copy."""
        return tensor

    def refresh(self) -> None:
        """Read the current parameters before a step."""

    def collect(self) -> None:
        """Write the gradient to the parameters after a step."""


class NumPyProducts(TorchProducts):
    """Products by NumPy's BLAS, on arrays that are views of tensors on the CPU."""

    multiply = staticmethod(np.dot)
    multiply_stacks = staticmethod(np.matmul)
    sum_rows = staticmethod(np.dot)

    @staticmethod
    @contextmanager
    def threads(flops: float, n_members: int = 1) -> Iterator[None]:
        """Run torch on one thread, and also the BLAS unless its products gain from more.

        The BLAS multiplies for one member after the other, so that its threads share the work of
        one.
        """
        shares = is_worth_sharing(flops / n_members) and 1 < torch.get_num_threads() <= NUMPY_UP_TO
        with (
            threads_for(0.0),
            nullcontext() if shares else one_blas_thread(),
            np.errstate(all="ignore"),  # the loss shows overflows
        ):
            yield

    def operand(self, tensor: torch.Tensor) -> Operand:
        return tensor.numpy()


class BFloat16Products(TorchProducts):
    """Products of bfloat16 copies, which bfloat16 units of the processor add up in float32.

    The parameters, the gradient that the solver sees and all of the solver's state stay in
    float32 (Micikevicius et al., Mixed Precision Training, 2018). bfloat16 has float32's range, so
    the loss needs no scaling.
    """

    def __init__(self, parameters: FlatParameters) -> None:
        super().__init__(parameters)
        self.dtype = torch.bfloat16
        self._vector = parameters.storage[0]
        self._shadow = torch.empty_like(self._vector, dtype=self.dtype)
        self.weights, self.biases, _ = parameters.views(self._shadow)
        gradient = torch.empty_like(self._vector, dtype=self.dtype)
        self.weight_gradients, _, _ = parameters.views(gradient)
        self._weight_gradient = gradient[: len(parameters.penalized)]

    @staticmethod
    def sum_rows(matrix: torch.Tensor, ones: torch.Tensor, out: torch.Tensor) -> None:
        torch.sum(matrix, 1, dtype=out.dtype, out=out)

    def refresh(self) -> None:
        self._shadow.copy_(self._vector)

    def collect(self) -> None:
        self.parameters.penalized_gradient.copy_(self._weight_gradient)


def products_of(device: torch.device, flops: float, mixed: bool) -> type[TorchProducts]:
    """Return the class of products for steps of `flops` operations; `mixed` asks for bfloat16."""
    if mixed:
        return BFloat16Products
    shares_torchs_threads = is_worth_sharing(flops) and torch.get_num_threads() > NUMPY_UP_TO
    return TorchProducts if device.type != "cpu" or shares_torchs_threads else NumPyProducts
