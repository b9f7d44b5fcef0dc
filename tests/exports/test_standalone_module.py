"""`module_` is a plain torch module that torch's own tools accept."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import TARGETS, case
from global_state import state_is_kept
from sklearn.exceptions import NotFittedError
from torch import nn

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._activations import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Gated(nn.Module):
    """An activation of the user, with a parameter and a buffer."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("shift", torch.tensor(0.1))

    def forward(self, x):
        return torch.where(x > 0, x + self.shift, self.slope * x)


NETWORKS = [
    *({"activation": name} for name in ACTIVATIONS),
    {"hidden_layer_sizes": ()},
    {"normalization": "layer", "activation": "gelu"},
    {"normalization": "batch", "dropout": [0.3, 0.2], "input_dropout": 0.1},
    {"activation": Gated, "dropout": 0.2},
    {"activation": ["tanh", nn.PReLU], "dtype": "float32"},
]


def fitted(parameters):
    X, y = TARGETS["multiclass"]
    shared = {"hidden_layer_sizes": (7, 5), "max_iter": 5, "random_state": 0}
    model = FeedForwardClassifier(**{**shared, **parameters}).fit(X, y)
    return model, torch.from_numpy(X).to(model.module_[-1].weight.dtype)


@pytest.fixture(params=NETWORKS, ids=case)
def model_and_rows(request):
    return fitted(request.param)


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


@pytest.mark.parametrize("target", ["one output", "two outputs", "binary", "multilabel"])
def test_raw_outputs_of_other_targets(target):
    X, y = TARGETS[target]
    kind = FeedForwardRegressor if "output" in target else FeedForwardClassifier
    model = kind(max_iter=5).fit(X, y)
    raw = model.module_(torch.from_numpy(X)).detach().numpy()
    if "output" in target:
        assert raw.shape == (len(X), model.n_outputs_)
        np.testing.assert_allclose(raw.squeeze(), model.predict(X), rtol=1e-10)
    else:
        p = model.predict_proba(X)
        expected = p[:, 1:] if target == "binary" else p
        np.testing.assert_allclose(1 / (1 + np.exp(-raw)), expected, rtol=1e-10)


def test_module_is_torchs_own_in_the_dtype_of_the_weights(model_and_rows):
    model, rows = model_and_rows
    for part in model.module_:
        assert type(part).__module__.startswith("torch.nn") or type(part) is Gated
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


def test_dropout_drops_in_training_only():
    model, rows = fitted({"dropout": 0.5})
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


def test_training_goes_on_in_torch():
    model, rows = fitted({})
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


def test_saved_module_needs_torch_only():
    model, rows = fitted({"normalization": "batch", "activation": "mish", "dropout": 0.1})
    file = io.BytesIO()
    torch.save({"module": model.module_, "rows": rows, "raw": model.module_(rows)}, file)
    program = (
        "import io, sys, torch\n"
        "kept = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=False)\n"
        "assert torch.equal(kept['module'](kept['rows']), kept['raw'])\n"
        "assert not any(name.startswith('sk') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], input=file.getvalue(), check=True)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_export_with_any_number_of_rows(model_and_rows):
    model, rows = model_and_rows
    module = model.module_
    shapes = ({0: torch.export.Dim("n_rows")},)
    exported = torch.export.export(module, (rows,), dynamic_shapes=shapes).module()
    for n_rows in (len(rows), 7):
        assert torch.equal(exported(rows[:n_rows]), module(rows[:n_rows]))


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
    ((7, 5), {"normalization": "batch", "activation": torch.nn.PReLU, "dropout": 0.2}),
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
