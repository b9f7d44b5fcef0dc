"""A training step beside its bare matrix products and the memory that Adam has to move.

No step is faster than its products (for each layer the outputs, the gradient of the weights, and
but for the first layer the gradient of the inputs), plus one pass of Adam over memory, which reads
the parameters, the gradient and two moments, and writes all but the gradient.

- *products*: each product alone, again and again on the same buffers, so with all that fits in
  cache; by the fastest of torch on all threads, torch on one, and NumPy. Which won most of the
  time is in *by*.
- *memory*: a copy that moves as many bytes as Adam, 7 values for each parameter. With
  `dtype="bfloat16"` these are float32: only the products take bfloat16.
- *share*: (products + memory) / step. The rest is all else: activations, the loss, the gathering
  of rows, the stop rule, Python.

GFLOP/s count the products only, in the step and alone.
"""

import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch

from examples.benchmarks._peers import Network, has_bfloat16
from examples.benchmarks._timing import SPINNING, Options, microseconds
from examples.benchmarks.steps import CASES, DTYPES, microseconds_per_step, with_network

NETWORKS = ("64-100-10", "784-256-128-10", "512-1024-1024-10")


def products(network: Network) -> list[tuple[tuple[int, int, int], bool, bool]]:
    """Return ((m, k, n), left transposed, right transposed) of each product of a step.

    Activations hold one column for each row of the data, as in sknn; the data are in C order.
    """
    found, rows = [], network.batch
    for layer, (n_in, n_out) in enumerate(pairwise(network.units)):
        found.append(((n_out, n_in, rows), False, layer == 0))  # W X' or W H
        found.append(((n_out, rows, n_in), False, layer > 0))  # D X or D H'
        if layer > 0:
            found.append(((n_in, n_out, rows), True, False))  # W' D
    return found


def operand(n_rows: int, n_columns: int, transposed: bool, dtype: torch.dtype) -> torch.Tensor:
    """Return a matrix of this shape, as the transpose of one in C order if `transposed`."""
    if transposed:
        return torch.randn(n_columns, n_rows).to(dtype).t()
    return torch.randn(n_rows, n_columns).to(dtype)


def product_times(product, dtype: torch.dtype, budget: float) -> dict[str, float]:
    """Return the microseconds of one product by library."""
    (m, k, n), left_transposed, right_transposed = product
    left = operand(m, k, left_transposed, dtype)
    right = operand(k, n, right_transposed, dtype)
    out = torch.empty(m, n, dtype=dtype)
    n_threads, times = torch.get_num_threads(), {}
    for name, number in (("torch", n_threads), ("torch, one thread", 1)):
        torch.set_num_threads(number)
        times[name] = microseconds(lambda: torch.mm(left, right, out=out), budget, 3)
    torch.set_num_threads(n_threads)
    if dtype != torch.bfloat16:
        arrays = [tensor.numpy() for tensor in (left, right, out)]
        times["NumPy"] = microseconds(lambda: np.dot(*arrays[:2], out=arrays[2]), budget, 3)
        time.sleep(SPINNING)
    return times


def fastest_products(network: Network, budget: float) -> tuple[float, str]:
    """Return the microseconds of all products of a step, and who computed most of that time."""
    total, shares = 0.0, Counter()
    for product in products(network):
        times = product_times(product, getattr(torch, network.dtype), budget)
        name = min(times, key=times.get)
        total += times[name]
        shares[name] += times[name]
    return total, shares.most_common(1)[0][0]


def memory_time(network: Network, budget: float) -> float:
    """Return the microseconds of a copy that moves 7 values for each parameter."""
    n_parameters = sum((a + 1) * b for a, b in pairwise(network.units))
    source = torch.zeros(7 * n_parameters // 2, dtype=getattr(torch, network.array_dtype))
    target = torch.zeros_like(source)
    return microseconds(lambda: target.copy_(source), budget, 3)


def flops(network: Network) -> int:
    return sum(2 * m * k * n for (m, k, n), *_ in products(network))


def run(options: Options) -> Iterator[dict]:
    bfloat16 = has_bfloat16()
    budget = 0.02 if options.quick else 0.05
    for case in CASES:
        name = case.network.name
        if name not in NETWORKS or options.quick and case.network.batch > 200:
            continue
        for dtype in DTYPES[: 1 if options.quick else 3 if bfloat16 else 2]:
            case = with_network(case, dtype=dtype)
            network, repeats = case.network, options.count(full=5, quick=2)
            step = microseconds_per_step(case, ["sknn"], repeats)["sknn"]
            bare, by = fastest_products(network, budget)
            memory = memory_time(network, budget)
            yield {
                **{"network": name, "batch": network.batch, "dtype": dtype},
                **{"step": step.median, "products": bare, "by": by, "memory": memory},
                "share": (bare + memory) / step.median,
                "GFLOP/s": flops(network) / step.median / 1e3,
                "products, GFLOP/s": flops(network) / bare / 1e3,
                "unsteady": [] if step.steady else ["step"],
            }
