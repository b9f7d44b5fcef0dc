"""Inference: rows are turned into outputs chunk by chunk, without a gradient."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import scipy.sparse
import torch

from sknn._data._rows import Rows, open_rows
from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import Network
from sknn._network._losses import OUTPUT_ACTIVATIONS, link
from sknn._network._module import Ensemble, FeedForwardModule, network_module, sparse_product
from sknn._network._steps import flops_of_network, flops_per_step
from sknn._platform._compat import as_tensor
from sknn._platform._devices import torch_dtype
from sknn._platform._memory_alignment import ALIGNMENT, aligned
from sknn._platform._threads import is_worth_sharing, one_blas_thread, threads_for
from sknn._platform._torch_settings import exact_products

# Size of the values of all layers for one chunk. It should fit into the second-level cache, and yet
# be so large that the cost of a chunk in Python does not matter.
CHUNK_BYTES = 2**21
MIN_CHUNK_ROWS = 256
# On a device, large chunks mean that the host waits for outputs less often.
DEVICE_CHUNK_BYTES = 2**26

# Rows are few if no layer has more values than this for all of them. What torch's products need
# besides their arithmetic then takes about as long as the arithmetic.
FEW_VALUES = 2**15
# OpenBLAS computes products of two matrices with this number of multiplications, or fewer, in one
# thread. (Its constants are SMP_THRESHOLD_MIN, 65536, times GEMM_MULTITHREAD_THRESHOLD, 4.) To set
# the number of its threads, and to set it back, takes a fifth of the time of a one-row call.
UNSHARED_PRODUCT = 2**18

# Torch's softmax adds up in float32. The sums of its probabilities are off by up to 1e-6 with this
# number of classes, by 5e-6 with 1,000 and by more than 1e-5 with 10,000. With more classes than
# this, probabilities are normalized again by sums in float64.
EXACT_CLASSES = 100

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_CPU = torch.device("cpu")

Outputs = Callable[[torch.Tensor], torch.Tensor]
Average = Callable[[torch.Tensor], torch.Tensor]
Buffers = Sequence["torch.Tensor | None"]


def probabilities(output_activation: str) -> Outputs:
    """Return a function from raw outputs (n_outputs, n_rows) to the probabilities of all classes.

    The two probabilities of a single logistic output are computed from inputs of both signs,
    because 1 - p would be zero from p = 1 - 1e-16 on. Probabilities that still round to zero become
    the least normal number, so that their logarithm is finite, as it is in `log_probabilities`.
    """
    apply_ = link(output_activation)

    def of_all_classes(z: torch.Tensor) -> torch.Tensor:
        p = apply_(torch.cat([-z, z]) if _is_binary(output_activation, z) else z)
        if output_activation == "softmax" and p.shape[0] > EXACT_CLASSES:
            p.div_(p.sum(0, dtype=torch.float64))
        return p.clamp_(min=torch.finfo(p.dtype).tiny)

    return of_all_classes


def log_probabilities(output_activation: str) -> Outputs:
    """Return a function from raw outputs (n_outputs, n_rows) to log-probabilities of all classes.

    They are computed by log-softmax, or by log-sigmoid of inputs of both signs, and so are finite
    where the probability rounds to zero.
    """
    log = OUTPUT_ACTIVATIONS[output_activation].log

    def of_all_classes(z: torch.Tensor) -> torch.Tensor:
        log_p = log(torch.cat([-z, z]) if _is_binary(output_activation, z) else z)
        if output_activation == "softmax" and log_p.shape[0] > EXACT_CLASSES:
            log_p.sub_(log_p.exp().sum(0, dtype=torch.float64).log_())
        return log_p

    return of_all_classes


def _is_binary(output_activation: str, z: torch.Tensor) -> bool:
    return output_activation == "logistic" and z.shape[0] == 1


class Layers:
    """The network as feature-major layers whose activations are given by name.

    Parameters
    ----------
    weights : sequence of torch.Tensor of shape (n_out, n_in)
        Weights of each layer; with a leading dimension, those of several members.
    biases : sequence of torch.Tensor of shape (n_out,)
        Biases of each layer, also with a leading dimension.
    activations : sequence of str
        Name of the activation of each hidden layer.
    average : callable, default=None
        Function from the raw outputs of several members to those of the ensemble, a result of
        `sknn._network._losses.average_of`.
    """

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor],
        activations: Sequence[str],
        average: Average | None = None,
    ) -> None:
        # The members share the rows, so that their first layers are one matrix.
        self.weights = [weights[0].reshape(-1, weights[0].shape[-1]), *weights[1:]]
        self.biases = [biases[0].reshape(-1, 1), *(bias.unsqueeze(-1) for bias in biases[1:])]
        self.average = average
        self.leading = biases[0].shape[:-1]
        self.n_members = math.prod(self.leading)
        self.units = (weights[0].shape[-1], *(bias.shape[-1] for bias in biases))
        self.device, self.dtype = biases[0].device, biases[0].dtype
        self._multiply_add = torch.baddbmm if self.leading else torch.addmm
        self._apply = [ACTIVATIONS[name].apply_ for name in activations]

    evaluating = staticmethod(nullcontext)

    def buffers(self, n_rows: int) -> Buffers:
        """Return memory for the outputs of each layer, for chunks of `n_rows` rows."""
        return [bias.new_empty(*bias.shape[:-1], n_rows) for bias in self.biases]

    def __call__(
        self, X: torch.Tensor | scipy.sparse.csr_matrix, buffers: Buffers | None = None
    ) -> torch.Tensor:
        """Return raw outputs (n_outputs, n_rows), in `buffers` if these are for as many rows."""
        weights, biases = self.weights, self.biases
        if buffers is None or buffers[0].shape[1] != X.shape[0]:
            buffers = [None] * len(weights)
        if isinstance(X, torch.Tensor):
            z = torch.addmm(biases[0], weights[0], X.t(), out=buffers[0])
        else:
            z = sparse_product(X, weights[0]).t() + biases[0]
        if self.leading:
            z = z.unflatten(0, (*self.leading, -1))
        for apply_, weight, bias, out in zip(
            self._apply, weights[1:], biases[1:], buffers[1:], strict=True
        ):
            apply_(z)
            z = self._multiply_add(bias, weight, z, out=out)
        return self.average(z) if self.leading else z


class Modules:
    """The network as a torch module, if it has parts that `Layers` does not support.

    Parameters
    ----------
    module : FeedForwardModule or Ensemble
        The network, from rows to raw outputs.
    network : Network
        The architecture.
    """

    def __init__(self, module: FeedForwardModule | Ensemble, network: Network) -> None:
        self.module = module
        self.units = (network.n_input_values, *network.layer_units[1:])
        self.n_members = network.n_members
        weight = module.linear_layers()[0].weight
        self.device, self.dtype = weight.device, weight.dtype

    def buffers(self, n_rows: int) -> None:
        """Return None: modules allocate their outputs themselves."""

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Run the body with the modules in evaluation mode, in whichever threads it uses."""
        was_training = self.module.training
        self.module.eval()
        try:
            yield
        finally:
            self.module.train(was_training)

    def __call__(
        self, X: torch.Tensor | scipy.sparse.csr_matrix, buffers: None = None
    ) -> torch.Tensor:
        """Return raw outputs (n_outputs, n_rows)."""
        return self.module(X).t()


Forward = Layers | Modules


def forward_of(
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    modules: dict[str, np.ndarray],
    network: Network,
    average: Average,
) -> Forward:
    """Return a fitted network for prediction: as `Layers` if possible, and else as `Modules`.

    It computes on the device of the parameters. `average` is that of `Layers`.

    Raises
    ------
    ValueError
        If `modules` holds arrays of modules that `network` does not have, or the reverse.
    """
    if network.is_plain and not modules:
        return Layers(weights, biases, network.activations, average)
    module = network_module(weights, biases, network, average)
    module.to(biases[0].device, biases[0].dtype).eval().load_extras(modules)
    return Modules(module, network)


def are_few(X: object, network: Network, device: str, dtype: np.dtype) -> bool:
    """Return whether `outputs_of_few` may take these rows of a network."""
    return (
        device == "cpu"
        and isinstance(X, (np.ndarray, torch.Tensor))
        and len(X) * network.n_members * max(network.layer_units) <= FEW_VALUES
        and not is_worth_sharing(flops_of_network(network, len(X), dtype))
    )


def outputs_of_few(
    X: np.ndarray | torch.Tensor,
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    activations: Sequence[str],
    average: Average,
    outputs: Outputs,
) -> np.ndarray:
    """Send a few rows through a network whose activations are given by name.

    The result is that of `outputs_of` for `Layers`, up to rounding. A call this short does without
    chunks and modes of torch. NumPy multiplies for one network, and torch for several members.

    Parameters
    ----------
    X : ndarray or tensor of shape (n_rows, n_features)
        The rows, on the CPU, of any real dtype.
    coefs, intercepts : sequence of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer, all of one dtype; with a leading
        dimension, those of several members.
    activations, average
        Those of `Layers`.
    outputs : callable
        Function from raw outputs (n_outputs, n_rows) to what is returned. It may work in place.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), C-contiguous
    """
    if isinstance(X, np.ndarray) and X.dtype == coefs[0].dtype:
        X = aligned(np.ascontiguousarray(X))
    else:
        dtype = torch_dtype(coefs[0].dtype)
        rows = open_rows(X, _CPU, len(X), values=_values_dtype(X, dtype))
        X = _cast(rows.slice(0, len(X)), dtype).numpy()
    is_unshared = len(X) * max(coef.size for coef in coefs) <= UNSHARED_PRODUCT
    with (
        threads_for(0.0),
        nullcontext() if is_unshared else one_blas_thread(),
        exact_products(_CPU),
    ):
        multiply = _dot if coefs[0].ndim == 2 else _products_of_stacks
        z = multiply(X, coefs[0], intercepts[0])
        for name, coef, intercept in zip(activations, coefs[1:], intercepts[1:], strict=True):
            ACTIVATIONS[name].apply_(z)
            z = multiply(z.numpy(), coef, intercept)
        raw = z.mT if z.dim() == 2 else average(z.mT)
        return np.ascontiguousarray(outputs(raw).t().numpy())


def _dot(X: np.ndarray, coef: np.ndarray, intercept: np.ndarray) -> torch.Tensor:
    """Return the outputs of one layer. Neither `dot` nor torch warns of an overflow."""
    return torch.from_numpy(np.dot(X, coef)).add_(as_tensor(intercept))


def _products_of_stacks(X: np.ndarray, coef: np.ndarray, intercept: np.ndarray) -> torch.Tensor:
    """Return the outputs of one layer of several members."""
    z = torch.matmul(as_tensor(X), as_tensor(coef))
    return z.add_(as_tensor(intercept).unsqueeze(-2))


def chunk_size(forward: Forward, values: np.dtype) -> int:
    """Return the number of rows that are sent through the network at once."""
    n_bytes = CHUNK_BYTES if forward.device.type == "cpu" else DEVICE_CHUNK_BYTES
    n_features, *units = forward.units
    n_values = n_features + forward.n_members * sum(units)
    return max(MIN_CHUNK_ROWS, n_bytes // (n_values * values.itemsize))


def open_for(X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor, forward: Forward) -> Rows:
    """Return the rows of `X` as a network takes them."""
    values = _values_dtype(X, forward.dtype)
    return open_rows(X, forward.device, chunk_size(forward, values), values=values)


def _values_dtype(
    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor, dtype: torch.dtype
) -> np.dtype:
    """Return the dtype in which rows are read by a network of another dtype, or of the same.

    Rows of floats keep their dtype here: `_cast` converts them, and finds values that do not fit.
    """
    if isinstance(X, torch.Tensor):
        is_kept = X.dtype in (torch.float32, torch.float64)
        return _FLOATS[(X.dtype if is_kept else dtype) == torch.float64]
    return X.dtype if X.dtype in _FLOATS else _FLOATS[dtype == torch.float64]


def outputs_of(
    X: np.ndarray | scipy.sparse.csr_matrix | torch.Tensor,
    forward: Forward,
    outputs: Outputs,
    rows: np.ndarray | None = None,
    source: Rows | None = None,
) -> np.ndarray:
    """Send rows through the network.

    Parameters
    ----------
    X : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        The rows, of any real dtype.
    forward : Forward
        The network.
    outputs : callable
        Function from raw outputs (n_outputs, n_rows) to what is returned. It may work in place.
    rows : ndarray of int or None
        Numbers of the rows to take. None means all rows.
    source : Rows, default=None
        The result of `open_for`, if the caller has kept it.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), C-contiguous
    """
    device, dtype = forward.device, forward.dtype
    n_rows = X.shape[0] if rows is None else len(rows)
    values = _values_dtype(X, forward.dtype)
    chunk_rows = chunk_size(forward, values)
    if source is None:
        source = open_for(X, forward)

    def outputs_of_chunk(start: int, buffers: Buffers | None = None) -> torch.Tensor:
        stop = min(start + chunk_rows, n_rows)
        chunk = source.slice(start, stop) if rows is None else source.take(rows[start:stop])
        chunk = _cast(chunk, dtype)
        return outputs(forward(chunk, buffers)).t().cpu()

    if n_rows <= chunk_rows:
        # Torch's threads share the products of one member after the other.
        flops = flops_per_step(forward.units, n_rows, values)
        with torch.inference_mode(), exact_products(device), threads_for(flops):
            return np.ascontiguousarray(outputs_of_chunk(0).numpy())

    # Each thread works on several chunks and need not wait for the others, whereas torch's threads
    # wait for each other at the end of each operation. Sparse rows that are made dense take memory,
    # so one thread makes one chunk of them at a time.
    starts = range(chunk_rows, n_rows, chunk_rows)
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    if len(starts) < 2 * n_threads or scipy.sparse.issparse(X) and not source.is_sparse:
        n_threads = 1
    flops = flops_per_step(forward.units, chunk_rows, values) if n_threads == 1 else 0.0
    stop_all = threading.Event()

    def fill(starts: Sequence[int]) -> None:
        try:
            # A new thread inherits torch's number of threads from the process, where a call in
            # another thread may have changed it, and operations round by it.
            with torch.inference_mode(), threads_for(flops):
                buffers = forward.buffers(chunk_rows)
                for start in starts:
                    if stop_all.is_set():
                        return
                    result[start : start + chunk_rows] = outputs_of_chunk(start, buffers).numpy()
        except BaseException:
            stop_all.set()
            raise

    with torch.inference_mode(), exact_products(device), threads_for(flops):
        first = outputs_of_chunk(0)
        result = np.empty((n_rows, first.shape[1]), first.numpy().dtype)
        result[:chunk_rows] = first.numpy()
        if n_threads == 1:
            fill(starts)
            return result
        with ThreadPoolExecutor(n_threads) as pool:
            try:
                list(pool.map(fill, (starts[i::n_threads] for i in range(n_threads))))
            except BaseException:  # also after Ctrl-C, as the pool waits for its threads
                stop_all.set()
                raise
    return result


def _cast(
    X: torch.Tensor | scipy.sparse.csr_matrix, dtype: torch.dtype
) -> torch.Tensor | scipy.sparse.csr_matrix:
    """Return rows in the dtype of the weights and in C order.

    The memory order and the alignment decide how products round. Both are fixed here, so that equal
    rows give equal outputs.

    Raises
    ------
    ValueError
        If the dtype of the weights cannot hold the values.
    """
    if isinstance(X, torch.Tensor):
        X = X.contiguous()
    name = "float32" if dtype == torch.float32 else "float64"
    if X.dtype in (dtype, np.dtype(name)):
        return X.clone() if isinstance(X, torch.Tensor) and X.data_ptr() % ALIGNMENT else X
    with np.errstate(over="ignore"):
        X = X.to(dtype) if isinstance(X, torch.Tensor) else X.astype(name)
    values = X if isinstance(X, torch.Tensor) else torch.from_numpy(X.data)
    if not torch.isfinite(values).all():
        raise ValueError(
            f"Input X contains infinity or a value too large for dtype('{name}'), the dtype of the"
            " model. Scale the rows, or fit with dtype='float64'."
        )
    return X
