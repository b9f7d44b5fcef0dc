"""Folding of batch normalization into the linear layer before it.

In prediction the statistics are fixed, so that normalization is a linear map of each unit. It
comes between the linear layer and the activation. With scale g, shift b, running mean m and
variance v,

    g (x W + c - m) / sqrt(v + eps) + b = x (W s) + ((c - m) s + b),    s = g / sqrt(v + eps).

This is exact for every activation, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EPSILON = 1e-5  # of torch.nn.BatchNorm1d and torch.nn.LayerNorm


def folded(
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    modules: dict[str, np.ndarray],
    dtype: type,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return linear layers that compute the same as those with batch normalization and scaling.

    Parameters
    ----------
    coefs : sequence of ndarray of shape (n_in, n_out)
        Weights of each layer.
    intercepts : sequence of ndarray of shape (n_out,)
        Biases of each layer.
    modules : dict of str to ndarray
        `module_state_`. If it holds no running statistics and no factors of the inputs, the layers
        are copied as they are.
    dtype : type
        Dtype of the returned arrays.

    Returns
    -------
    coefs : list of ndarray of shape (n_in, n_out)
        Weights of the new layers, C-contiguous.
    intercepts : list of ndarray of shape (n_out,)
        Biases of the new layers.
    """
    new_coefs, new_intercepts = [], []
    scale = modules.get("input_scaling.weight")
    if scale is not None:
        coefs = [np.asarray(coefs[0], np.float64) * np.asarray(scale)[:, None], *coefs[1:]]
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        mean = modules.get(f"normalization{i}.running_mean")
        if mean is not None:
            coef, intercept, mean, var, weight, bias = (
                np.asarray(array, np.float64)
                for array in (
                    coef,
                    intercept,
                    mean,
                    *(modules[f"normalization{i}.{k}"] for k in ("running_var", "weight", "bias")),
                )
            )
            scale = weight / np.sqrt(var + EPSILON)
            coef, intercept = coef * scale, (intercept - mean) * scale + bias
        new_coefs.append(np.array(coef, dtype, order="C"))
        new_intercepts.append(np.array(intercept, dtype))
    return new_coefs, new_intercepts
