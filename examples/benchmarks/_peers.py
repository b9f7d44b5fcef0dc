"""Build and train the same network with each library.

`FITS` is a dict of functions. Each function trains a new network for some epochs on shuffled
batches and returns the final training loss. For sknn and scikit-learn, this is the loss of the last
epoch, and for the other three the loss of the last batch.

- *sknn* and *scikit-learn* use the estimators in the way a user does.
- *skorch* uses `NeuralNet` with its default DataLoader, but without callbacks and validation.
- *torch* is a fast hand-written loop with autograd and a fused optimizer. It permutes the data once
  per epoch instead of gathering the samples of each batch.
- *C++* is the same loop without Python, in libtorch.cpp.

The last three do not compute an L2 penalty, which gives them a small advantage, and they receive
sparse data as dense arrays. For bfloat16, which only sknn supports, the others compute in float32.
A network for two classes has one logistic output.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse
import skorch
import torch
from sklearn.neural_network import MLPClassifier, MLPRegressor

from examples.benchmarks import _libtorch
from sknn import FeedForwardClassifier, FeedForwardRegressor

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Network:
    """A network and its training parameters."""

    sizes: tuple[int, ...]  # inputs, hidden layers, classes (or 1 for a regression)
    batch: int
    solver: str = "adam"
    dtype: str = "float32"

    @property
    def name(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def loss(self) -> str:
        return {1: "squared error", 2: "binary"}.get(self.sizes[-1], "cross entropy")

    @property
    def units(self) -> tuple[int, ...]:
        """Number of units of each layer."""
        return (*self.sizes[:-1], 1 if self.loss == "binary" else self.sizes[-1])

    @property
    def array_dtype(self) -> str:
        """The dtype of the arrays, which differs for bfloat16 because NumPy does not have it."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def data(self, n_rows: int, density: float = 1.0):
        """Return samples of standard normal noise, sparse if `density` is below 1, and targets.

        The targets come from a random linear model with some noise, or with wrong labels for 10% of
        the samples. All classes occur.
        """
        rng = np.random.default_rng(0)
        if density == 1:
            X = rng.standard_normal((n_rows, self.sizes[0]))
        else:
            shape = (n_rows, self.sizes[0])
            X = scipy.sparse.random(
                *shape, density, "csr", random_state=rng, data_rvs=rng.standard_normal
            )
        y = X @ rng.standard_normal((self.sizes[0], self.sizes[-1]))
        if self.loss == "squared error":
            y = y[:, 0] + 0.1 * rng.standard_normal(n_rows)
        else:
            y = y.argmax(axis=1)
            wrong = rng.uniform(size=n_rows) < 0.1
            y[wrong] = rng.integers(self.sizes[-1], size=wrong.sum())
            y[: self.sizes[-1]] = np.arange(self.sizes[-1])
        return X.astype(self.array_dtype), y


def estimator(library, network, max_iter, **parameters):
    """Return an estimator of sknn or scikit-learn that runs exactly `max_iter` epochs."""
    classes = {
        "sknn": (FeedForwardClassifier, FeedForwardRegressor),
        "scikit-learn": (MLPClassifier, MLPRegressor),
    }
    if network.dtype == "bfloat16" and library == "sknn":
        parameters["dtype"] = "bfloat16"
    return classes[library][network.loss == "squared error"](
        hidden_layer_sizes=network.sizes[1:-1],
        solver=network.solver,
        batch_size=network.batch,
        learning_rate_init=LEARNING_RATE,
        max_iter=max_iter,
        # No stopping rule ends a fit early, so every peer runs the same number of epochs.
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=0,
        **parameters,
    )


def fit_sknn(network, X, y, epochs):
    return estimator("sknn", network, epochs).fit(X, y).loss_


def fit_sklearn(network, X, y, epochs):
    return estimator("scikit-learn", network, epochs).fit(X, y).loss_


def torch_module(network):
    """Return the torch module of the network and the class of its loss."""
    layers = []
    for n_in, n_out in pairwise(network.units):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    losses = {
        "squared error": torch.nn.MSELoss,
        "binary": torch.nn.BCEWithLogitsLoss,
        "cross entropy": torch.nn.CrossEntropyLoss,
    }
    module = torch.nn.Sequential(*layers[:-1]).to(getattr(torch, network.array_dtype))
    return module, losses[network.loss]


def torch_arrays(network, X, y):
    """Return data and targets in the form that torch's losses require."""
    X = X.toarray() if scipy.sparse.issparse(X) else X
    if network.loss == "cross entropy":
        return X, y.astype(np.int64)
    return X, y[:, None].astype(X.dtype)


def torch_optimizer(network):
    """Return the class of the optimizer and its parameters."""
    if network.solver == "adam":
        return torch.optim.Adam, {"lr": LEARNING_RATE}
    return torch.optim.SGD, {"lr": LEARNING_RATE, "momentum": 0.9, "nesterov": True}


def fit_skorch(network, X, y, epochs):
    module, loss = torch_module(network)
    optimizer, parameters = torch_optimizer(network)
    net = skorch.NeuralNet(
        module,
        loss,
        optimizer=optimizer,
        max_epochs=epochs,
        batch_size=network.batch,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
        **{f"optimizer__{name}": value for name, value in parameters.items()},
    )
    return net.fit(*torch_arrays(network, X, y)).history[-1, "batches", -1, "train_loss"]


def fit_torch(network, X, y, epochs):
    X, y = map(torch.from_numpy, torch_arrays(network, X, y))
    module, loss = torch_module(network)
    criterion = loss()
    optimizer, parameters = torch_optimizer(network)
    optimizer = optimizer(module.parameters(), fused=True, **parameters)
    for _ in range(epochs):
        order = torch.randperm(len(X))
        batches = zip(X[order].split(network.batch), y[order].split(network.batch), strict=True)
        for X_batch, y_batch in batches:
            optimizer.zero_grad()
            value = criterion(module(X_batch), y_batch)
            value.backward()
            optimizer.step()
    return value.item()


def fit_libtorch(network, X, y, epochs):
    X, y = torch_arrays(network, X, y)
    return _libtorch.fit(network, X, y, epochs, LEARNING_RATE)


FITS = {
    "sknn": fit_sknn,
    "scikit-learn": fit_sklearn,
    "skorch": fit_skorch,
    "torch": fit_torch,
    "C++": fit_libtorch,
}


def has_bfloat16() -> bool:
    """Return whether sknn supports bfloat16 on this machine."""
    network = Network((1, 1, 1), 2, dtype="bfloat16")
    try:
        fit_sknn(network, np.zeros((2, 1), "f"), np.zeros(2), 1)
    except ValueError as error:
        print(f"bfloat16 is skipped: {error}")
        return False
    return True
