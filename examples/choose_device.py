"""Train a small and a wide network with ``device="auto"``.

The small network stays on the CPU, with or without an accelerator, because its training steps are
too short to benefit from one. The wide network runs on the accelerator if there is one. The same
script works on machines with and without an accelerator, and you can load the resulting models on
either.

Run it with ``python examples/choose_device.py``. It takes some seconds on two cores.
"""

import pickle
import time
import warnings

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import FeedForwardClassifier

N_EPOCHS = 20
BATCH_SIZE = 200
ENOUGH = 1e8  # operations per step from which "auto" uses an accelerator, see docs/devices.md
NETWORKS = {"small": (100,), "wide": (1024, 1024)}


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)  # all accelerators support float32
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    print("Accelerators:", ", ".join(name for name in present if present[name]) or "none")

    for name, hidden in NETWORKS.items():
        network = FeedForwardClassifier(
            hidden_layer_sizes=hidden,
            batch_size=BATCH_SIZE,
            max_iter=N_EPOCHS,
            device="auto",
            random_state=0,
        )
        start = time.perf_counter()
        network.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        # Each layer needs three matrix products with its weights. A product takes one
        # multiplication and one addition per weight and sample.
        operations = 6 * BATCH_SIZE * sum(coef.size for coef in network.coefs_)
        print(
            f"{name}: on {network.device_!r} in {seconds:.1f} s,"
            f" accuracy {network.score(X_test, y_test):.3f},"
            f" {operations:.1e} operations per step"
        )
        if network.device_ == "cpu" and operations >= ENOUGH:
            print("  It would run on an accelerator if one were available.")
        elif network.device_ == "cpu":
            print(f"  It would run on an accelerator from {ENOUGH:.0e} operations per step.")

        # The fitted attributes are NumPy arrays. You can load the model on a machine without the
        # device, where it predicts on the CPU.
        loaded = pickle.loads(pickle.dumps(network))  # noqa: S301 (its own pickle)
        np.testing.assert_array_equal(loaded.predict(X_test), network.predict(X_test))


if __name__ == "__main__":
    main()
