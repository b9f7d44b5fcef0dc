"""Train two networks with ``device="auto"``: a small one and a wide one.

The small one stays on the CPU, with or without an accelerator: its steps are too short to gain. The
wide one goes to the accelerator if there is one. The same script runs on both machines, and its
models can be loaded on either.

Run it with ``python examples/choose_device.py``; it takes some seconds on two cores.
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
ENOUGH = 1e8  # operations of a step from which "auto" takes an accelerator, see docs/devices.md
NETWORKS = {"small": (100,), "wide": (1024, 1024)}


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is chosen here
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)  # float32 runs on every accelerator
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    print("Accelerators:", ", ".join(name for name in present if present[name]) or "none here")

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
        # Three products with each layer's weights, each of a product and a sum for every row.
        operations = 6 * BATCH_SIZE * sum(coef.size for coef in network.coefs_)
        print(
            f"{name}: on {network.device_!r} in {seconds:.1f} s,"
            f" accuracy {network.score(X_test, y_test):.3f},"
            f" {operations:.1e} operations a step"
        )
        if network.device_ == "cpu" and operations >= ENOUGH:
            print("  It would go to an accelerator, with a build of torch for that.")
        elif network.device_ == "cpu":
            print(f"  From {ENOUGH:.0e} operations on it would go to an accelerator.")

        # What is fitted is NumPy's: it loads where the device is absent, and predicts on the CPU.
        loaded = pickle.loads(pickle.dumps(network))  # noqa: S301 (its own pickle)
        np.testing.assert_array_equal(loaded.predict(X_test), network.predict(X_test))


if __name__ == "__main__":
    main()
