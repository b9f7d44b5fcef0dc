"""Who multiplies the matrices of a step: NumPy's BLAS, torch's, or bfloat16 units.

A step is written once, for *operands*: what `operand` makes of a tensor, sharing its memory, and
what `multiply` takes. Elementwise work and reductions are torch's everywhere.

NumPy's BLAS (OpenBLAS) multiplies faster than torch's (MKL) on the AMD processor that this was
measured on, most of all narrow matrices and float64. And a call costs less. But its threads are not
torch's, and what is elementwise must keep to one thread beside them: the idle threads of either
library spin for a while, on the cores that the other one needs. So large steps on many threads are
all torch's. `examples/benchmarks/choices.py` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from sknn._network._parameters import FlatParameters
from sknn._platform._threads import is_worth_sharing, one_blas_thread, threads_for

# With more threads of torch than this, elementwise work on one of them costs more than NumPy's
# products save. Measured on two.
NUMPY_UP_TO = 2
OPERANDS = (np.ndarray, torch.Tensor)
Operand = Any  # one of them


class TorchProducts:
    """Products by torch, in the dtype and on the device of the parameters.

    Parameters
    ----------
    parameters : FlatParameters

    Attributes
    ----------
    dtype : torch.dtype
        Of the rows, and of the outputs of all layers but the last.
    weights, weight_gradients : list of operands of shape (n_out, n_in)
    biases : list of torch.Tensor of shape (n_out,)
    bias_gradients : list of operands of shape (n_out,)
    multiply : callable
        `(left, right, out=...)`, of two matrices.
    sum_rows : callable
        `(matrix, ones, out=...)`: the sum of each row, as a product with a vector of ones.
    """

    multiply: Callable[..., object] = staticmethod(torch.matmul)
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
    def threads(flops: float) -> Iterator[None]:
        """Run the body on as many threads as steps of so many operations are worth."""
        with threads_for(flops):
            yield

    def operand(self, tensor: torch.Tensor) -> Operand:
        """A tensor as `multiply` takes it; it shares the tensor's memory."""
        return tensor

    def refresh(self) -> None:
        """Take up the parameters as they are now, before a step."""

    def collect(self) -> None:
        """Hand the gradient to the parameters, after a step."""


class NumPyProducts(TorchProducts):
    """Products by NumPy's BLAS, on views of tensors on the CPU."""

    multiply = staticmethod(np.dot)
    sum_rows = staticmethod(np.dot)

    @staticmethod
    @contextmanager
    def threads(flops: float) -> Iterator[None]:
        """Torch on one thread, and the BLAS too, unless the products gain by two."""
        shares = is_worth_sharing(flops) and 1 < torch.get_num_threads() <= NUMPY_UP_TO
        with (
            threads_for(0.0),
            nullcontext() if shares else one_blas_thread(),
            np.errstate(all="ignore"),  # the loss tells of overflows
        ):
            yield

    def operand(self, tensor: torch.Tensor) -> Operand:
        return tensor.numpy()


class BFloat16Products(TorchProducts):
    """Products of bfloat16 copies, which the processor's bfloat16 units add up in float32.

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
    """The kind of products for steps of so many operations; with `mixed`, of bfloat16 copies."""
    if mixed:
        return BFloat16Products
    shares_torchs_threads = is_worth_sharing(flops) and torch.get_num_threads() > NUMPY_UP_TO
    return TorchProducts if device.type != "cpu" or shares_torchs_threads else NumPyProducts
