"""`module_` is a plain torch module that torch's own tools accept."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import TARGETS, case, torch_threads
from global_state import state_is_kept
from sklearn.exceptions import NotFittedError
from torch import nn

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._activations import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread, as training does for small steps. A second one would only slow them down."""
    with torch_threads(1):
        yield


class Gated(nn.Module):
    """An activation of the user, with a parameter and a buffer."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("shift", torch.tensor(0.1))

    def forward(self, x):
        return torch.where(x > 0, x + self.shift, self.slope * x)


class OfTwoDimensions(nn.Module):
    """An activation that torch.fx cannot record, because it asks for a number."""

    def forward(self, x):
        return torch.tanh(x) if len(x.shape) == 2 else x


NETWORKS = [
    {"n_members": 2, "activation": OfTwoDimensions, "normalization": "layer"},
    {"hidden_layer_sizes": (5,) * len(ACTIVATIONS), "activation": list(ACTIVATIONS)},
    {"n_members": 3, "normalization": "batch", "dropout": [0.3, 0.2], "input_dropout": 0.1},
    {"hidden_layer_sizes": ()},
    {"normalization": "layer", "activation": "gelu"},
    {"normalization": "batch", "dropout": [0.3, 0.2], "input_dropout": 0.1},
    {"activation": Gated, "dropout": 0.2},
    {"activation": ["tanh", nn.PReLU], "dtype": "float32"},
    {"n_members": 3, "dtype": "float32"},
    {"n_members": 3, "hidden_layer_sizes": ()},
    {"n_members": 3, "activation": Gated, "dropout": 0.2},
]


def fitted(parameters):
    X, y = TARGETS["multiclass"]
    shared = {"hidden_layer_sizes": (7, 5), "max_iter": 5, "random_state": 0}
    model = FeedForwardClassifier(**{**shared, **parameters}).fit(X, y)
    return model, torch.from_numpy(X).to(next(model.module_.parameters()).dtype)


@pytest.fixture(scope="module", params=NETWORKS, ids=case)
def model_and_rows(request):
    return fitted(request.param)


@pytest.mark.matrix(6)
def test_raw_outputs_are_those_of_the_model(model_and_rows):
    model, rows = model_and_rows
    module = model.module_
    assert isinstance(module, nn.Module)
    assert not module.training
    raw = module(rows)
    assert raw.shape == (len(rows), 3)
    expected = model.predict_proba(rows.numpy())
    tolerance = 1e-12 if rows.dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(torch.softmax(raw, 1).detach().numpy(), expected, rtol=tolerance)


@pytest.mark.matrix
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("target", ["one output", "two outputs", "binary", "multilabel"])
def test_raw_outputs_of_other_targets(target, n_members):
    X, y = TARGETS[target]
    kind = FeedForwardRegressor if "output" in target else FeedForwardClassifier
    model = kind(max_iter=5, n_members=n_members, random_state=0).fit(X, y)
    raw = model.module_(torch.from_numpy(X)).detach().numpy()
    if "output" in target:
        assert raw.shape == (len(X), model.n_outputs_)
        np.testing.assert_allclose(raw.squeeze(), model.predict(X), rtol=1e-10)
    else:
        p = model.predict_proba(X)
        expected = p[:, 1:] if target == "binary" else p
        np.testing.assert_allclose(1 / (1 + np.exp(-raw)), expected, rtol=1e-10)


@pytest.mark.parametrize("target", ["one output", "two outputs"])
def test_raw_outputs_of_several_members_are_quantiles(target):
    X, y = TARGETS[target]
    parameters = {"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "n_members": 3}
    model = FeedForwardRegressor(max_iter=1, random_state=0, **parameters).fit(X, y)
    module, rows = model.module_, torch.from_numpy(X)
    raw = module(rows).detach().numpy()
    members = (getattr(module, name)(rows).detach().numpy() for name in "012")
    assert any((np.diff(of_one.reshape(-1, 3)) < 0).any() for of_one in members)
    np.testing.assert_allclose(raw.reshape(model.predict(X).shape), model.predict(X), rtol=1e-10)


def test_raw_outputs_of_several_members_are_logarithms_of_counts():
    X, y = TARGETS["counts"]
    model = FeedForwardRegressor(loss="poisson", max_iter=5, n_members=3, random_state=0).fit(X, y)
    module, rows = model.module_, torch.from_numpy(X)
    raw = module(rows).detach().numpy().ravel()
    of_each = [getattr(module, name)(rows).detach().numpy().ravel() for name in "012"]
    np.testing.assert_allclose(np.exp(raw), model.predict(X), rtol=1e-10)
    np.testing.assert_allclose(np.exp(raw), np.exp(of_each).mean(0), rtol=1e-10)


def test_module_is_torchs_own_in_the_dtype_of_the_weights(model_and_rows):
    model, rows = model_and_rows
    for part in model.module_.modules():
        is_torchs = type(part).__module__.startswith(("torch.nn", "torch.fx"))
        assert is_torchs or type(part) in (Gated, OfTwoDimensions)
    for parameter in model.module_.parameters():
        assert parameter.dtype == rows.dtype
        assert parameter.device.type == "cpu"
        assert parameter.requires_grad
        assert parameter.is_leaf


def test_names_tell_the_place():
    model, _ = fitted({"normalization": "batch", "dropout": [0.3, 0.0], "input_dropout": 0.1})
    names = [name for name, _ in model.module_.named_children()]
    assert names == [
        *("input_dropout", "linear0", "normalization0", "activation0", "dropout0"),
        *("linear1", "normalization1", "activation1", "linear2"),
    ]
    assert model.module_.dropout0.p == 0.3


def test_names_of_members_are_numbers():
    model, _ = fitted({"n_members": 3, "normalization": "batch"})
    module = model.module_
    assert [name for name, _ in module.named_children()] == ["0", "1", "2"]
    of_one = fitted({"normalization": "batch"})[0].module_.state_dict()
    expected = [f"{i}.{name}" for i in range(3) for name in of_one]
    assert list(module.state_dict()) == expected
    for i in range(3):
        linear = getattr(module, str(i)).linear1
        np.testing.assert_array_equal(linear.weight.detach().numpy(), model.coefs_[1][i].T)
        np.testing.assert_array_equal(linear.bias.detach().numpy(), model.intercepts_[1][i])


@pytest.mark.parametrize("n_members", [1, 3])
def test_dropout_drops_in_training_only(n_members):
    model, rows = fitted({"dropout": 0.5, "n_members": n_members})
    module = model.module_
    assert torch.equal(module(rows), module(rows))
    with torch.random.fork_rng():
        assert not torch.equal(module.train()(rows), module(rows))


def test_each_access_makes_another_with_the_weights_of_now():
    model, rows = fitted({})
    first = model.module_
    with torch.no_grad():
        first.linear0.weight.zero_()
    assert model.coefs_[0].any()
    assert model.module_.linear0.weight.any()
    model.coefs_[0][:] = 2.0
    assert (model.module_.linear0.weight == 2.0).all()
    model.coefs_ = [coef.tolist() for coef in model.coefs_]
    assert torch.equal(model.module_(rows), model.module_(rows))


def test_access_leaves_torch_as_it_was(model_and_rows):
    model, _ = model_and_rows
    with state_is_kept(), torch.inference_mode():
        module = model.module_
    assert not any(p.is_inference() for p in module.parameters())


def test_users_frozen_parameters_stay_frozen():
    def frozen():
        return nn.PReLU().requires_grad_(False)

    model, _ = fitted({"activation": frozen})
    assert not model.module_.activation0.weight.requires_grad
    assert model.module_.linear0.weight.requires_grad


def test_module_of_the_user_in_two_layers_stays_in_both():
    shared = nn.PReLU()
    model, rows = fitted({"activation": lambda: shared})
    module = model.module_
    assert module.activation0 is module.activation1
    with torch.no_grad():
        proba = torch.softmax(module(rows), 1)
    np.testing.assert_allclose(proba, model.predict_proba(rows), rtol=1e-10)
    part = model.net_.module_[1:4]
    assert [name for name, _ in part.named_parameters()][0] == "activation0.weight"
    assert len(part) == 3


@pytest.mark.parametrize("n_members", [1, 3])
def test_training_goes_on_in_torch(n_members):
    model, rows = fitted({"n_members": n_members})
    labels = torch.from_numpy(TARGETS["multiclass"][1])
    module = model.module_.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(rows), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_state_dict_fits_another_access(model_and_rows):
    model, rows = model_and_rows
    module, other = model.module_, model.module_
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(rows), module(rows))


SAVED = {"normalization": "batch", "activation": "mish", "dropout": 0.1}


@pytest.mark.parametrize("n_members", [1, 3])
def test_module_is_loaded_without_this_package(n_members, monkeypatch):
    model, rows = fitted({**SAVED, "n_members": n_members})
    module, file = model.module_, io.BytesIO()
    torch.save(module, file)
    pickled, file = pickle.dumps(module), io.BytesIO(file.getvalue())
    with monkeypatch.context() as patch:
        for name in list(sys.modules):
            if name.startswith("sk"):  # scikit-learn, skorch and this package
                patch.setitem(sys.modules, name, None)
        loaded = pickle.loads(pickled), torch.load(file, weights_only=False)
    for other in loaded:
        assert not other.training
        assert torch.equal(other(rows), module(rows))


@pytest.mark.long
def test_saved_module_needs_torch_only():
    model, rows = fitted({**SAVED, "n_members": 3})
    module, file = model.module_, io.BytesIO()
    kept = {"module": module, "pickle": pickle.dumps(module), "rows": rows, "raw": module(rows)}
    torch.save(kept, file)
    program = (
        "import io, pickle, sys, torch\n"
        "kept = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=False)\n"
        "for module in (kept['module'], pickle.loads(kept['pickle'])):\n"
        "    assert not module.training\n"
        "    assert torch.equal(module(kept['rows']), kept['raw'])\n"
        "assert not any(name.startswith('sk') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], input=file.getvalue(), check=True)


def test_copy_of_a_module_of_several_members_is_its_own():
    model, rows = fitted({"n_members": 3})
    module = model.module_
    copied = copy.deepcopy(module)
    assert torch.equal(copied(rows), module(rows))
    with torch.no_grad():
        getattr(copied, "1").linear0.weight.zero_()
    assert not torch.equal(copied(rows), module(rows))


@pytest.mark.matrix(1)  # Torch takes a second to export a network.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_export_with_any_number_of_rows(model_and_rows):
    model, rows = model_and_rows
    module = model.module_
    shapes = ({0: torch.export.Dim("n_rows")},)
    exported = torch.export.export(module, (rows,), dynamic_shapes=shapes).module()
    for n_rows in (len(rows), 7):
        assert torch.equal(exported(rows[:n_rows]), module(rows[:n_rows]))


@pytest.mark.matrix(4)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trace_with_any_number_of_rows(model_and_rows):
    model, rows = model_and_rows
    module = model.module_
    traced = torch.jit.trace(module, rows)
    for n_rows in (len(rows), 7):
        assert torch.equal(traced(rows[:n_rows]), module(rows[:n_rows]))


# This runs in its own process because torch's compiler sets process-wide flags and keeps workers.
COMPILING = """
import numpy as np, torch
from sklearn.datasets import load_iris
from sknn import FeedForwardClassifier
from sknn._network._activations import ACTIVATIONS

X, y = load_iris(return_X_y=True)
for sizes, parameters in (
    ((5,) * len(ACTIVATIONS), {"normalization": "layer", "activation": [*ACTIVATIONS]}),
    ((7, 5), {"normalization": "batch", "activation": torch.nn.PReLU, "n_members": 2}),
):
    model = FeedForwardClassifier(sizes, max_iter=5, random_state=0, **parameters).fit(X, y)
    module, rows = model.module_, torch.from_numpy(X)
    compiled = torch.compile(module, fullgraph=True)
    with torch.no_grad():
        np.testing.assert_allclose(compiled(rows).numpy(), module(rows).numpy(), rtol=1e-8)
"""


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compile_gives_equal_outputs():
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILING], check=True)


def test_unfitted_estimator_has_no_module():
    with pytest.raises(NotFittedError):
        FeedForwardClassifier().module_  # noqa: B018
    assert not hasattr(FeedForwardClassifier(), "module_")


def test_parameters_that_do_not_go_with_the_model_are_an_error():
    model, _ = fitted({"normalization": "batch"})
    model.set_params(normalization=None)
    with pytest.raises(ValueError, match="module_state_ of shapes"):
        model.module_  # noqa: B018
    model.set_params(normalization="batch", hidden_layer_sizes=(7, 5, 3))
    model.intercepts_ = model.intercepts_[:-1]
    with pytest.raises(ValueError, match="coefs_ of shapes"):
        model.module_  # noqa: B018


def test_nothing_warns():
    model, _ = fitted({"dropout": 0.1})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.module_  # noqa: B018
    assert not caught
