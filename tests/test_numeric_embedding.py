"""Networks with `numeric_embedding`, `input_scaling` and parametric activations, in all their uses.

The arithmetic is tested in `network/test_operations.py`, and the initial parameters in
`network/test_initial_weights.py`.
"""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import subprocess
import sys
import textwrap
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal, fitted_state
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_by_hand import initial

import sknn._training._initial_model
from sknn import FeedForwardClassifier, FeedForwardRegressor, PeriodicEmbedding
from sknn._training._epoch import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
# Six columns: many values, two values, one value, many values, three values, two values.
X = np.c_[
    RNG.standard_normal(150),
    RNG.randint(0, 2, 150) * 5 - 1,
    np.full(150, 7.0),
    RNG.standard_normal(150),
    RNG.randint(0, 3, 150),
    RNG.randint(0, 2, 150),
]
MANY = [0, 3, 4]
SPECIES = TARGETS["multiclass"][1]
Y = {
    "binary": (X[:, 0] * X[:, 3] > 0).astype(int),
    "multiclass": SPECIES,
    "multilabel": np.c_[X[:, 0] > 0, X[:, 3] > X[:, 0]].astype(int),
    "one output": X[:, 0] * X[:, 3],
    "two outputs": np.c_[X[:, 0] * X[:, 3], X[:, 4]],
}
SMALL = {
    "hidden_layer_sizes": (7, 5),
    "max_iter": 5,
    "batch_size": 40,
    "random_state": 0,
    "learning_rate_init": 0.02,
}
EMBEDDED = {"numeric_embedding": PeriodicEmbedding(n_frequencies=5, size=3, scale=0.3)}
PARTS = {
    "embedding": EMBEDDED,
    "factors": {"input_scaling": True},
    "parametric": {"activation": "parametric_selu"},
}
ALL = {key: value for part in PARTS.values() for key, value in part.items()}
PARTS["all"] = ALL


def network(target="multiclass", **parameters):
    is_number = target in ("one output", "two outputs")
    return (FeedForwardRegressor if is_number else FeedForwardClassifier)(**SMALL | parameters)


def outputs(model, rows):
    return getattr(model, "predict_proba", model.predict)(rows)


@pytest.fixture(params=list(PARTS))
def parts(request):
    return PARTS[request.param]


@pytest.fixture(scope="module")
def fitted():
    """Return a classifier with all parts, for tests that do not change it."""
    return network(**ALL).fit(X, SPECIES)


# --- which columns ----------------------------------------------------------------------------


def test_columns_of_more_than_two_values_are_embedded_and_all_stay():
    model = network(**EMBEDDED).fit(X, SPECIES)
    state = model.module_state_
    assert_array_equal(state["embedding.columns"], MANY)
    assert state["embedding.weight"].shape == (3, 2, 5)
    assert model.coefs_[0].shape == (6 + 3 * 2, 7)
    assert model.n_features_in_ == 6


@pytest.mark.parametrize("n_members", [1, 2])
def test_nothing_is_embedded_if_no_column_has_three_values(n_members):
    rows = X[:, [1, 2, 5]]
    options = {"n_members": n_members, "random_state": 3}
    model = network(numeric_embedding="periodic", **options).fit(rows, SPECIES)
    assert model.module_state_ == {}
    plain = network(**options).fit(rows, SPECIES)
    for mine, theirs in zip(model.coefs_, plain.coefs_, strict=True):
        assert_array_equal(mine, theirs)
    assert_array_equal(outputs(model, rows), outputs(plain, rows))
    # Values that are new later do not change this.
    model.partial_fit(X[:, [0, 3, 4]], SPECIES)
    assert model.module_state_ == {}


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_few_rows_have_few_values(n_rows):
    model = network("one output", batch_size=1, **EMBEDDED)
    model.fit(X[:n_rows], np.arange(float(n_rows)))
    columns = model.module_state_.get("embedding.columns", np.array([]))
    assert (len(columns) > 0) == (n_rows == 3)


@pytest.mark.parametrize("at", [0, 1, 299])
def test_third_value_is_found_wherever_it_is(at, monkeypatch):
    monkeypatch.setattr(sknn._training._initial_model, "_VALUES_OF_A_PART", 30)  # ten rows
    rows = np.tile([[0.0, 1.0, 2.0]], (300, 1))
    rows[::2, 1:] = 5
    rows[at, 1] = 3.5
    model = network("one output", numeric_embedding="periodic").fit(rows, rows[:, 1])
    assert_array_equal(model.module_state_["embedding.columns"], [1])


def test_name_stands_for_the_defaults():
    named, made = (
        network(numeric_embedding=e).fit(X, SPECIES) for e in ("periodic", PeriodicEmbedding())
    )
    assert_bit_equal(named, made)
    assert named.module_state_["embedding.weight"].shape == (3, 3, 16)


# --- the function -----------------------------------------------------------------------------


def by_hand(model, rows):
    """Return the raw outputs of a network with all parts, by the formulas."""
    state = model.module_state_
    x = rows[:, state["embedding.columns"]]
    u = 2 * math.pi * x[:, :, None] * state["embedding.frequencies"] + state["embedding.phases"]
    values = np.einsum("nif,ivf->niv", np.cos(u), state["embedding.weight"])
    h = np.c_[(values + state["embedding.bias"]).reshape(len(rows), -1), rows]
    h = h * state["input_scaling.weight"]
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

    def selu(z):
        return scale * np.where(z > 0, z, alpha * np.expm1(z))

    last = len(model.coefs_) - 1
    for i, (coef, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        z = h @ coef + intercept
        if i < last:
            h = z + state[f"activation{i}.weight"] * (selu(z) - z)
    return z


def test_predictions_equal_the_formulas():
    model = network("two outputs", **ALL).fit(X, Y["two outputs"])
    assert_allclose(model.predict(X), by_hand(model, X), rtol=1e-10, atol=1e-12)
    few = model.predict(X[:3])
    assert_allclose(few, by_hand(model, X[:3]), rtol=1e-10, atol=1e-12)


def test_every_parameter_is_trained(parts):
    model = network(**parts)
    before = initial(model, X, SPECIES).module_state_
    after = model.fit(X, SPECIES).module_state_
    assert set(before) == set(after) != set()
    for name, values in after.items():
        if name != "embedding.columns":
            assert (values != before[name]).any(), name


@pytest.mark.long
def test_embedding_learns_what_a_plain_network_of_the_same_size_does_not():
    rows = RNG.uniform(-1, 1, (400, 1))
    y = np.sign(np.sin(20 * rows[:, 0]))
    options = {"hidden_layer_sizes": (20,), "max_iter": 100, "batch_size": 40}
    options |= {"learning_rate_init": 0.01, "random_state": 0, "n_iter_no_change": 100}
    scores = [
        FeedForwardRegressor(numeric_embedding=embedding, **options).fit(rows, y).score(rows, y)
        for embedding in (PeriodicEmbedding(scale=3.0), None)
    ]
    assert scores[0] > 0.7 and scores[1] < 0.3


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["sgd", "adamw", "lbfgs", torch.optim.RMSprop])
@pytest.mark.parametrize("target", list(Y))
def test_every_solver_trains_every_target(target, solver):
    y = Y[target]
    rate = 0.002 if solver == "sgd" else 0.02
    options = {"solver": solver, "max_iter": 30, "learning_rate_init": rate}
    model = network(target, **ALL | options).fit(X, y)
    assert np.isfinite(outputs(model, X)).all()
    if solver != torch.optim.RMSprop:
        assert (
            model.loss_
            < network(target, **ALL, solver="sgd")
            .set_params(max_iter=1, learning_rate_init=1e-9)
            .fit(X, y)
            .loss_
        )


def test_lbfgs_goes_on_from_a_fitted_embedding():
    model = network(**ALL | {"solver": "lbfgs", "warm_start": True}).fit(X, SPECIES)
    loss = model.loss_
    assert model.fit(X, SPECIES).loss_ < loss


# --- going on, and being copied ---------------------------------------------------------------


@pytest.mark.matrix(2)
@pytest.mark.parametrize("n_members", [1, 3])
def test_partial_fits_equal_one_fit(n_members, parts):
    options = {"shuffle": False, "n_iter_no_change": 100, "n_members": n_members, **parts}
    whole, model = network(**options).fit(X, SPECIES), network(**options)
    for _ in range(5):
        model.partial_fit(X, SPECIES, classes=np.unique(SPECIES))
        model = pickle.loads(pickle.dumps(model))
    for mine, theirs in zip(model.coefs_, whole.coefs_, strict=True):
        assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
    for name, values in whole.module_state_.items():
        assert_allclose(model.module_state_[name], values, rtol=1e-9, atol=1e-12)


def test_columns_of_the_first_fit_are_kept():
    model = network(warm_start=True, **EMBEDDED).fit(X, SPECIES)
    other = X.copy()
    other[:, MANY] = X[:, MANY] > 0
    other[:, 1] = RNG.standard_normal(150)
    model.fit(other, SPECIES).partial_fit(other, SPECIES)
    assert_array_equal(model.module_state_["embedding.columns"], MANY)
    model.set_params(warm_start=False).fit(other, SPECIES)
    assert_array_equal(model.module_state_["embedding.columns"], [1])


def test_clone_has_an_embedding_of_its_own():
    model = network(**EMBEDDED)
    cloned = clone(model).set_params(numeric_embedding__scale=0.7)
    assert (cloned.numeric_embedding.scale, model.numeric_embedding.scale) == (0.7, 0.3)
    assert cloned.get_params()["numeric_embedding__size"] == 3
    assert not hasattr(clone(model.fit(X, SPECIES)), "coefs_")


def test_fit_changes_no_parameter():
    embedding = PeriodicEmbedding(size=3)
    model = network(numeric_embedding=embedding).fit(X, SPECIES)
    assert model.numeric_embedding is embedding
    assert set(vars(embedding)) == {"n_frequencies", "size", "scale"}


def test_grid_search_finds_an_embedding():
    pipeline = make_pipeline(StandardScaler(), network(**EMBEDDED))
    name = "feedforwardclassifier__numeric_embedding"
    grid = [{f"{name}__scale": [0.1, 1.0]}, {name: [None, "periodic"]}]
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, SPECIES)
    assert len(search.cv_results_["params"]) == 4
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    assert len(cross_val_score(pipeline, X, SPECIES, cv=2)) == 2


def test_representation_names_the_embedding():
    assert "numeric_embedding=PeriodicEmbedding(scale=0.5)" in repr(
        FeedForwardClassifier(numeric_embedding=PeriodicEmbedding(scale=0.5))
    )


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("target", "solver", "n_members"),
    [("multiclass", "adam", 1), ("one output", "adam", 3), ("one output", "lbfgs", 1)],
)
def test_files_and_pickles_go_on_as_if_never_saved(target, solver, n_members, parts, again):
    model = network(target, n_members=n_members, solver=solver, **parts).fit(X, Y[target])
    for copied in (again(model), pickle.loads(pickle.dumps(model))):
        assert_bit_equal(copied, model)
        assert copied.get_params().keys() == model.get_params().keys()
        assert repr(copied.numeric_embedding) == repr(model.numeric_embedding)
        assert_array_equal(outputs(copied, X), outputs(model, X))
        if solver == "adam":
            copied.partial_fit(X, Y[target])
            assert_bit_equal(copied, clone_and_go_on(model, Y[target]))


def clone_and_go_on(model, y):
    return pickle.loads(pickle.dumps(model)).partial_fit(X, y)


def test_unfitted_network_is_saved_with_its_embedding(again):
    loaded = again(network(**EMBEDDED))
    assert loaded.numeric_embedding.get_params() == EMBEDDED["numeric_embedding"].get_params()
    assert loaded.numeric_embedding is not EMBEDDED["numeric_embedding"]


def test_normalized_members_with_all_parts_are_saved(again):
    model = network(**ALL, n_members=3, normalization="batch").fit(X, SPECIES)
    loaded = again(model)
    assert_bit_equal(loaded, model)
    assert_bit_equal(loaded.partial_fit(X, SPECIES), clone_and_go_on(model, SPECIES))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding.columns", np.array([0, 3, 9])),
        ("embedding.columns", np.array([-1, 3, 4])),
        ("embedding.columns", np.array([3, 0, 4])),
        ("embedding.columns", np.array([0, 3, 3])),
        ("embedding.columns", np.array([0.0, 3.0, 4.0])),
        ("embedding.columns", np.array([0, 3])),
        ("embedding.bias", np.zeros((3, 3))),
        ("embedding.weight", np.zeros((3, 10))),
        ("embedding.phases", np.zeros((3, 5), bool)),
        ("input_scaling.weight", np.ones(6)),
        ("activation1.weight", np.ones(7)),
        ("embedding.other", np.ones(7)),
    ],
)
def test_unsound_state_is_not_saved(name, value, fitted, tmp_path):
    model = copy.copy(fitted)
    model.module_state_ = {**fitted.module_state_, name: value}
    with pytest.raises(ValueError, match="module_state_|coefs_"):
        model.save(tmp_path / "file")


@pytest.mark.matrix(2)
@pytest.mark.parametrize(("n_epochs", "n_members"), [(2, 1), (5, 2)])
def test_checkpoint_goes_on_bit_by_bit(n_epochs, n_members, parts, tmp_path):
    class Killed(Exception):
        """An exception that stands for the end of the process."""

    def make():
        options = {"max_iter": 7, "dropout": 0.1, "n_members": n_members, **parts}
        return network(checkpoint_dir=tmp_path, checkpoint_every=1, **options)

    whole = make().fit(X, SPECIES)
    epoch, done = Trainer.epoch, []

    def killed(self, train_on=None):
        if len(done) == n_epochs:
            raise Killed
        done.append(1)
        return epoch(self, train_on)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "epoch", killed)
        with pytest.raises(Killed):
            make().fit(X, SPECIES)
    assert len(list(tmp_path.iterdir())) == 1
    assert_bit_equal(make().fit(X, SPECIES), whole)
    assert list(tmp_path.iterdir()) == []


# --- rows of every kind -----------------------------------------------------------------------


@pytest.mark.parametrize("part", ["factors", "parametric"])
@pytest.mark.parametrize(("batch_size", "n_members"), [(40, 1), (150, 3)])
def test_sparse_rows_equal_dense_ones(batch_size, n_members, part):
    rows = np.where(RNG.uniform(size=(150, 20)) < 0.05, RNG.standard_normal((150, 20)), 0)
    options = {"n_members": n_members, "batch_size": batch_size, **PARTS[part]}
    dense = network(**options).fit(rows, SPECIES)
    sparse = network(**options).fit(scipy.sparse.csr_matrix(rows), SPECIES)
    for mine, theirs in zip(sparse.coefs_, dense.coefs_, strict=True):
        assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)
    for name, values in dense.module_state_.items():
        assert_allclose(sparse.module_state_[name], values, rtol=1e-8)
    given = scipy.sparse.csr_matrix(rows)
    assert_allclose(outputs(sparse, given), outputs(sparse, rows), rtol=1e-10)
    assert_allclose(outputs(sparse, given[:2]), outputs(sparse, rows[:2]), rtol=1e-10)


def as_polars(rows):
    return pytest.importorskip("polars").DataFrame(rows, schema=[f"x{i}" for i in range(6)])


@pytest.mark.parametrize(
    "contain",
    [
        np.asfortranarray,
        torch.from_numpy,
        np.ndarray.tolist,
        lambda rows: pd.DataFrame(rows, columns=[f"x{i}" for i in range(6)]),
        as_polars,
    ],
    ids=["Fortran", "tensor", "list", "pandas", "polars"],
)
def test_rows_in_any_container_give_the_same_model(contain, fitted):
    model = network(**ALL).fit(contain(X), SPECIES)
    assert repr(fitted_state(fitted)["coefs_"]) == repr(fitted_state(model)["coefs_"])
    assert_array_equal(outputs(model, contain(X)), outputs(fitted, X))


def test_rows_in_a_file_give_the_same_model(tmp_path):
    np.save(tmp_path / "rows.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    models = [network(**ALL).fit(rows, SPECIES) for rows in (mapped, X.astype(np.float32))]
    assert models[0].coefs_[0].dtype == np.float32
    for mine, theirs in zip(*(model.coefs_ for model in models), strict=True):
        assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.matrix(2)
@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_dtypes_learn_about_the_same(dtype, n_members, parts):
    options = {"n_members": n_members, **parts}
    exact = network("one output", **options).fit(X, Y["one output"])
    model = network("one output", dtype=dtype, **options).fit(X, Y["one output"])
    assert model.coefs_[0].dtype == np.float32
    floats = {str(v.dtype) for k, v in model.module_state_.items() if "columns" not in k}
    assert floats == {"float32"}
    tolerance = 1e-3 if dtype == "float32" else 0.1
    assert_allclose(model.loss_, exact.loss_, rtol=tolerance)


def test_validation_rows_and_early_stopping_with_all_parts():
    order = np.random.RandomState(0).permutation(150)
    train, valid = order[50:], order[:50]
    model = network(**ALL, early_stopping=True)
    model.fit(X[train], SPECIES[train], X_val=X[valid], y_val=SPECIES[valid])
    assert len(model.validation_scores_) == model.n_iter_
    assert max(model.validation_scores_) == model.score(X[valid], SPECIES[valid])
    assert network(**ALL, early_stopping=True).fit(X, SPECIES).best_validation_score_ >= 0


def test_gradient_is_clipped_for_each_member_and_for_what_they_share():
    options = {**ALL, "n_members": 3, "max_grad_norm": 1e-3, "solver": "sgd", "momentum": 0}
    model = network(**options, batch_size=150)
    model.set_params(max_iter=1, alpha=0.0, batch_size=150, learning_rate_init=1.0)
    before, after = initial(model, X, SPECIES), model.fit(X, SPECIES)
    names = [n for n in after.module_state_ if n.startswith("embedding") and "columns" not in n]
    moved = [(after.module_state_[n] - before.module_state_[n]).ravel() for n in names]
    assert np.linalg.norm(np.concatenate(moved)) == pytest.approx(1e-3, rel=1e-6)


# --- ways out ---------------------------------------------------------------------------------


@pytest.mark.matrix(3)
@pytest.mark.parametrize(
    ("target", "n_members"),
    [("binary", 3), ("multiclass", 1), ("multilabel", 3), ("one output", 1), ("two outputs", 3)],
)
def test_module_and_net_predict_the_same(target, n_members, parts):
    model = network(target, n_members=n_members, normalization="batch", **parts).fit(X, Y[target])
    rows = torch.from_numpy(X)
    link = {"softmax": lambda z: z.softmax(1), "logistic": torch.sigmoid}.get(
        model.out_activation_, lambda z: z
    )
    expected = outputs(model, X)
    expected = expected[:, 1:] if target == "binary" else expected.reshape(len(X), -1)
    for module in (model.module_, model.net_.module_):
        assert not module.training
        with torch.no_grad():
            assert_allclose(link(module(rows)).numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.long
def test_module_is_made_of_torch_alone(tmp_path):
    modules = []
    for part, n_members in itertools.product(PARTS, (1, 3)):
        model = network("two outputs", n_members=n_members, **PARTS[part]).fit(X, Y["two outputs"])
        modules.append((pickle.dumps(model.module_), model.predict(X)))
    (tmp_path / "modules").write_bytes(pickle.dumps((torch.from_numpy(X), modules)))
    program = """
        import pickle, sys
        import numpy as np, torch

        class Hidden:
            def find_spec(self, name, path=None, target=None):
                assert name.partition(".")[0] not in ("sknn", "sklearn", "skorch"), name

        sys.meta_path.insert(0, Hidden())
        rows, modules = pickle.load(open("modules", "rb"))
        for pickled, expected in modules:
            module = pickle.loads(pickled)
            with torch.no_grad():
                found = module(rows).numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
            module.double().train()(rows).sum().backward()
            assert all(p.grad is not None for p in module.parameters())
        assert len(modules) == 8
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=True, timeout=300
    )


def test_module_has_the_parameters_under_their_names(fitted):
    module = fitted.module_
    names = set(module.state_dict())
    assert {"embedding.frequencies", "input_scaling.weight", "activation0.weight"} <= names
    assert {name for name, _ in module.named_buffers()} == {"embedding.columns"}


@pytest.mark.matrix(2)
@pytest.mark.parametrize(
    ("target", "dtype", "n_members"),
    [
        ("binary", np.float32, 3),
        ("multiclass", np.float64, 1),
        ("two outputs", np.float64, 3),
        ("two outputs", np.float32, 1),
    ],
)
def test_onnx_predicts_the_same(target, dtype, n_members, parts):
    onnxruntime = pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")
    rows = X.astype(dtype)
    model = network(target, n_members=n_members, **parts).fit(rows, Y[target])
    options = {"options": {"zipmap": False}} if target != "two outputs" else {}
    converted = skl2onnx.to_onnx(model, rows[:1], **options)
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for given in (rows, rows[:1]):
        found = session.run(None, {session.get_inputs()[0].name: given})[-1]
        tolerance = 1e-5 if dtype == np.float32 else 1e-9
        assert_allclose(found, outputs(model, given), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("normalization", [None, "batch"])
def test_factors_become_part_of_the_weights_of_scikit_learns_mlp(normalization):
    for target in ("multiclass", "one output"):
        model = network(target, input_scaling=True, normalization=normalization).fit(X, Y[target])
        before = pickle.dumps(model)
        theirs = model.to_sklearn()
        assert_allclose(outputs(theirs, X), outputs(model, X), rtol=1e-10, atol=1e-12)
        assert not hasattr(theirs, "_optimizer")
        assert pickle.dumps(model) == before
        theirs.partial_fit(X, Y[target])


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        (EMBEDDED, r"numeric_embedding=PeriodicEmbedding\("),
        ({"numeric_embedding": "periodic"}, "numeric_embedding='periodic'"),
        ({"activation": "parametric_selu"}, "the activation 'parametric_selu'"),
    ],
)
def test_what_scikit_learns_mlp_lacks_is_named(parameters, named):
    model = network(**parameters).fit(X, SPECIES)
    with pytest.raises(ValueError, match=f"cannot represent.*{named}"):
        model.to_sklearn()


def test_weights_set_by_hand_get_factors_of_one():
    plain = network("one output", activation="selu").fit(X, Y["one output"])
    model = network("one output", input_scaling=True, activation="parametric_selu")
    model.coefs_, model.intercepts_ = plain.coefs_, plain.intercepts_
    assert_allclose(model.predict(X), plain.predict(X), rtol=1e-12)
    assert_allclose(model.module_(torch.from_numpy(X)).detach()[:, 0], plain.predict(X), rtol=1e-12)
    assert_array_equal(
        model.partial_fit(X, Y["one output"]).module_state_["input_scaling.weight"].shape, (6,)
    )


def test_joblib_keeps_the_embedding(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "model.joblib")
    for mode in (None, "r"):
        loaded = joblib.load(tmp_path / "model.joblib", mmap_mode=mode)
        assert_array_equal(outputs(loaded, X), outputs(fitted, X))


def test_state_that_does_not_fit_is_refused(fitted):
    model = copy.copy(fitted)
    state = dict(fitted.module_state_)
    del state["input_scaling.weight"]
    model.module_state_ = state
    with pytest.raises(ValueError, match="module_state_ of shapes.*numeric_embedding"):
        model.predict(X)


def test_embedding_and_factors_whose_outputs_overflow_are_an_error():
    # The weights of the linear layer alone are too small for that.
    rows = np.array([[1.8, 0.4, 1.0], [2.2, 1.9, -1.0], [0.95, -0.15, -0.1]])
    model = FeedForwardClassifier(
        (), numeric_embedding="periodic", input_scaling=True, dtype="float32", random_state=0
    )
    model.set_params(
        solver=partial(torch.optim.RMSprop, centered=True), learning_rate_init=1e14, alpha=0
    )
    with pytest.raises(ValueError, match="with which the outputs are non-finite"):
        model.partial_fit(rows, [0, 3, 3], classes=[0, 3])
