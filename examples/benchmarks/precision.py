"""Compare the validation scores of bfloat16 and float32.

The scores (accuracy or R2) are means over several seeds, multiplied by 100. They are computed on
25% of the data, with the same seeds and epochs for both dtypes. *points* is the score of bfloat16
minus that of float32. *spread* is the standard deviation of the scores of float32 over the seeds,
which shows how significant a difference is. No time is measured.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from sklearn.model_selection import train_test_split

from examples.benchmarks import _data
from examples.benchmarks._peers import estimator, has_bfloat16
from examples.benchmarks._timing import Options
from examples.benchmarks.fits import DATA


def scores(network, X, y, epochs: int, n_seeds: int) -> np.ndarray:
    """Return the validation score of a fit for each seed."""
    X_train, X_valid, y_train, y_valid = train_test_split(X, y, random_state=0)
    return np.array(
        [
            100
            * estimator("sknn", network, epochs)
            .set_params(random_state=seed)
            .fit(X_train, y_train)
            .score(X_valid, y_valid)
            for seed in range(n_seeds)
        ]
    )


def run(options: Options) -> Iterator[dict]:
    if not has_bfloat16():
        return
    for name, (network, epochs, _) in DATA.items():
        loaded = _data.load(name, options.data)
        if loaded is None:
            continue
        X, y = loaded[0].astype("float32"), loaded[1]
        epochs, n_seeds = (2, 1) if options.quick else (epochs, options.count(full=5, quick=1))
        single, mixed = (
            scores(replace(network, dtype=dtype), X, y, epochs, n_seeds)
            for dtype in ("float32", "bfloat16")
        )
        yield {
            **{"data": name, "epochs": epochs, "seeds": n_seeds},
            **{"float32": single.mean(), "bfloat16": mixed.mean()},
            **{"points": mixed.mean() - single.mean(), "spread": single.std()},
        }
