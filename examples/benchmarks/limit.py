"""Compare a training step with its matrix products and the memory traffic of Adam.

A step cannot be faster than its matrix products (for each layer the outputs, the gradient of the
weights and, except in the first layer, the gradient of the inputs) and one pass of Adam over
memory. This pass reads the parameters, the gradient and two moments, and writes all of them except
the gradient.

- *products* is the time of the products. Each product is computed alone and repeatedly on the same
  buffers, so everything that fits into the cache is in the cache. The time is that of the fastest
  of torch on all threads, torch on one thread, and NumPy. *by* is the one that computes most of
  this time.
- *memory* is the time of a copy that moves as many bytes as Adam, that is, 7 values per parameter.
  With `dtype="bfloat16"`, these values are float32, because only the products use bfloat16.
- *share* is (products + memory) / step. The rest of the step is everything else: activations, the
  loss, gathering the samples, the stopping rule, and Python.

GFLOP/s only count the products, in the step and alone.
"""

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch

from examples.benchmarks._peers import FITS, Network, has_bfloat16
from examples.benchmarks._timing import SPINNING, Options, microseconds, take_turns
from examples.benchmarks.steps import CASES, DTYPES, Case, step_time, with_network

ONE_THREAD = "torch, one thread"
NETWORKS = ("64-100-10", "784-256-128-10", "512-1024-1024-10")


def products(network: Network) -> list[tuple[tuple[int, int, int], bool, bool]]:
    """Return ((m, k, n), left transposed, right transposed) of each product of a step.

    As in sknn, activations have one column per sample. The input data are in C order.
    """
    found, rows = [], network.batch
    for layer, (n_in, n_out) in enumerate(pairwise(network.units)):
        found.append(((n_out, n_in, rows), False, layer == 0))  # W X' or W H
        found.append(((n_out, rows, n_in), False, layer > 0))  # D X or D H'
        if layer > 0:
            found.append(((n_in, n_out, rows), True, False))  # W' D
    return found


def operand(n_rows: int, n_columns: int, transposed: bool, dtype: torch.dtype) -> torch.Tensor:
    """Return a matrix of this shape, as the transpose of a C-ordered matrix if `transposed`."""
    if transposed:
        return torch.randn(n_columns, n_rows).to(dtype).t()
    return torch.randn(n_rows, n_columns).to(dtype)


def ways(product, dtype: torch.dtype) -> dict[str, Callable]:
    """Return the functions that compute a product, by library."""
    (m, k, n), left_transposed, right_transposed = product
    left = operand(m, k, left_transposed, dtype)
    right = operand(k, n, right_transposed, dtype)
    out = torch.empty(m, n, dtype=dtype)
    by_torch = functools.partial(torch.mm, left, right, out=out)
    found = {"torch": by_torch, ONE_THREAD: by_torch}
    if dtype != torch.bfloat16:  # not supported by NumPy
        found["NumPy"] = functools.partial(np.dot, left.numpy(), right.numpy(), out=out.numpy())
    return found


def time_of(way: str, call: Callable, budget: float) -> float:
    """Return the time of a product in microseconds."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1 if way == ONE_THREAD else n_threads)
    result = microseconds(call, budget, repeats=1)
    torch.set_num_threads(n_threads)
    return result


def fastest(product, dtype: torch.dtype, budget: float) -> tuple[str, Callable, float]:
    """Return the fastest way to compute a product, its function, and its time in microseconds."""
    found = [(way, call, time_of(way, call, budget)) for way, call in ways(product, dtype).items()]
    time.sleep(SPINNING)
    return min(found, key=lambda way: way[-1])


def memory_time(network: Network, budget: float) -> float:
    """Return the time in microseconds of a copy that moves 7 values per parameter."""
    n_parameters = sum((a + 1) * b for a, b in pairwise(network.units))
    source = torch.zeros(7 * n_parameters // 2, dtype=getattr(torch, network.array_dtype))
    target = torch.zeros_like(source)
    return microseconds(lambda: target.copy_(source), budget, repeats=1)


def flops(network: Network) -> int:
    return sum(2 * m * k * n for (m, k, n), *_ in products(network))


def row(case: Case, repeats: int, budget: float) -> dict:
    """Measure a network: its step, its products and its memory traffic take turns."""
    network = case.network
    chosen = [
        fastest(product, getattr(torch, network.dtype), budget) for product in products(network)
    ]
    chosen.sort(key=lambda way: way[0] == "NumPy")  # NumPy last: it would slow torch down
    shares = Counter()
    for way, _, duration in chosen:
        shares[way] += duration
    measure = {
        "step": lambda: step_time(case, FITS["sknn"]),
        "products": lambda: sum(time_of(way, call, budget) for way, call, _ in chosen),
        "memory": lambda: memory_time(network, budget),
    }
    results = take_turns(measure, repeats)
    step, bare, memory = (result.median for result in results.values())
    return {
        **{"network": network.name, "batch": network.batch, "dtype": network.dtype},
        **{"step": step, "products": bare, "by": shares.most_common(1)[0][0], "memory": memory},
        **{"share": (bare + memory) / step, "GFLOP/s": flops(network) / step / 1e3},
        "products, GFLOP/s": flops(network) / bare / 1e3,
        "unsteady": [name for name, result in results.items() if not result.steady],
    }


def run(options: Options) -> Iterator[dict]:
    dtypes = DTYPES if has_bfloat16() else DTYPES[:2]
    for case in CASES:
        if case.network.name not in NETWORKS or options.quick and case.network.batch > 200:
            continue
        for dtype in dtypes[: 1 if options.quick else None]:
            yield row(with_network(case, dtype=dtype), options.count(full=3, quick=2), 0.02)
