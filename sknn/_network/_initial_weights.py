"""The initial weights of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sknn._network._activations import ACTIVATIONS
from sknn._network._architecture import PARAMETRIC, ActivationLike, Periodic


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
    rules = [INITIAL[_rule_of(name)] for name in names]
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


def _rule_of(activation: ActivationLike) -> str:
    if not isinstance(activation, str):
        return "glorot"
    return ACTIVATIONS[activation.removeprefix(PARAMETRIC)].initial


# Number of rows by which the weights of `initialization="data"` are scaled.
N_ROWS_OF_DATA = 2048
# Number of rows whose mean, with random weights, is where a unit is zero.
_N_ROWS_OF_BIAS = 5


def initial_embedding(
    embedding: Periodic, scale: float, random_state: np.random.RandomState
) -> dict[str, np.ndarray]:
    """Draw the parameters of a periodic embedding, as the state of its module, in float64.

    The frequencies are normal with the standard deviation `scale`, the phases uniform on the
    circle, and weights and biases uniform on [-b, b] with b = n_frequencies ** -0.5.
    """
    n, n_frequencies, n_values = (
        len(embedding.columns),
        embedding.n_frequencies,
        embedding.size - 1,
    )
    bound = n_frequencies**-0.5
    return {
        "embedding.frequencies": random_state.normal(0.0, scale, (n, n_frequencies)),
        "embedding.phases": random_state.uniform(-math.pi, math.pi, (n, n_frequencies)),
        "embedding.weight": random_state.uniform(-bound, bound, (n, n_values, n_frequencies)),
        "embedding.bias": random_state.uniform(-bound, bound, (n, n_values)),
        "embedding.columns": np.array(embedding.columns, np.int64),
    }


def parameters_from_data(
    layer_units: Sequence[int],
    functions: Sequence[Callable[[np.ndarray], np.ndarray]],
    X: np.ndarray,
    random_state: np.random.RandomState,
    dtype: np.dtype | type = np.float64,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw coefficients and intercepts so that every unit varies on the data.

    The weights of a unit are normal, and scaled so that its product with the rows has a standard
    deviation of 1. Its bias makes it zero at a weighted mean of five random rows, with weights from
    a flat Dirichlet distribution. So the units are neither constant on the data, nor do their kinks
    lie together (Holzmueller et al., 2024).

    Parameters
    ----------
    layer_units : sequence of int
        Number of inputs, of units in each hidden layer, and of outputs.
    functions : sequence of callable
        For each hidden layer, what stands between its linear map and the next.
    X : ndarray of shape (n_rows, n_inputs), of float64
        Rows as the first layer gets them.
    random_state : numpy.random.RandomState
        Generator of the values.
    dtype : dtype, default=float64
        Dtype of the result.

    Returns
    -------
    coefs : list of ndarray of shape (n_in, n_out), of `dtype`
    intercepts : list of ndarray of shape (n_out,), of `dtype`
    """
    coefs, intercepts = [], []
    for i, (n_in, n_out) in enumerate(pairwise(layer_units)):
        coef = random_state.standard_normal((n_in, n_out))
        z = X @ coef
        spread = z.std(axis=0)
        # Of rows that are all alike, a unit is constant. Its weights stay of the usual size.
        is_constant = spread <= 1e-7 * np.abs(z).max(axis=0)
        spread[is_constant] = math.sqrt(n_in)
        coef, z = coef / spread, z / spread
        rows = random_state.randint(len(z), size=(_N_ROWS_OF_BIAS, n_out))
        shares = random_state.standard_exponential((_N_ROWS_OF_BIAS, n_out))
        shares /= shares.sum(axis=0)
        intercept = -(np.take_along_axis(z, rows, 0) * shares).sum(axis=0)
        coefs.append(coef.astype(dtype, copy=False))
        intercepts.append(intercept.astype(dtype, copy=False))
        if i < len(functions):
            X = functions[i](z + intercept)
    return coefs, intercepts
