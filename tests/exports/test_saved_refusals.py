"""`save` leaves out some state, and refuses what it cannot store with an error that names it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from conftest import assert_bit_equal, case
from numpy.testing import assert_array_equal
from saved_files import put_together, taken_apart
from saved_models import SPECIES, X_IRIS, made_for, own_loss
from skorch.callbacks import EpochScoring

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._platform._sklearn_compat import CallbackSupportMixin
from sknn._training._fitted_names import without_durations

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_places_and_groups_are_not_kept(again, tmp_path):
    group = type("Group", (), {"rank": lambda self: 0, "size": lambda self: 1})()
    estimator = FeedForwardClassifier(checkpoint_dir=tmp_path, process_group=group)
    loaded = again(estimator)
    assert loaded.checkpoint_dir is None
    assert loaded.process_group is None
    assert estimator.checkpoint_dir == tmp_path


def test_place_in_a_file_of_a_stranger_is_not_taken_up(tmp_path):
    path = tmp_path / "file"
    FeedForwardClassifier().save(path)
    document, header, body = taken_apart(path.read_bytes())
    document["parameters"]["checkpoint_dir"] = str(tmp_path / "other")
    path.write_bytes(put_together(document, header, body))
    assert sknn.load(path).checkpoint_dir is None


def test_state_of_a_torch_optimizer_is_not_kept(again):
    estimator = made_for("multiclass", solver=torch.optim.RAdam).fit(X_IRIS, SPECIES)
    estimator.set_params(solver="adam")
    loaded = again(estimator)
    assert loaded._solver_state == {}
    assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))
    assert_bit_equal(loaded.partial_fit(X_IRIS, SPECIES), estimator.partial_fit(X_IRIS, SPECIES))


def test_state_of_a_torch_scheduler_is_not_kept(again):
    scheduler = partial(torch.optim.lr_scheduler.StepLR, step_size=2)
    estimator = made_for("multiclass", learning_rate=scheduler).fit(X_IRIS, SPECIES)
    estimator.partial_fit(X_IRIS, SPECIES).set_params(learning_rate="constant")
    loaded = again(estimator)
    assert loaded._solver_state["scheduler"] is None
    assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))


def test_callbacks_that_a_fit_has_used_are_not_kept(again):
    scoring = EpochScoring("f1_macro", name="own", on_train=True)
    estimator = made_for("multiclass", callbacks=[scoring]).fit(X_IRIS, SPECIES)
    loaded = again(estimator.set_params(callbacks=None))
    assert loaded.callbacks_ == []
    assert repr(loaded._history) == repr(without_durations(estimator._history))
    assert "own" in loaded.net_.history[-1]


def test_absent_device_becomes_the_cpu(again):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    estimator.device_ = "cuda:99"
    loaded = again(estimator)
    assert loaded.device_ == "cpu"
    estimator.device_ = "cpu"
    assert_array_equal(loaded.predict(X_IRIS), estimator.predict(X_IRIS))


class Own(FeedForwardClassifier):
    """A subclass whose module may be missing where the file is loaded."""


UNSAVED = [
    {"activation": torch.nn.PReLU},
    {"activation": [torch.nn.PReLU]},
    {"solver": torch.optim.SGD},
    {"solver": partial(torch.optim.SGD, momentum=0.5)},
    {"learning_rate": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2)},
    {"loss": own_loss},
    {"scoring": own_loss},
    {"callbacks": [EpochScoring("f1_macro")]},
    {"random_state": np.random.RandomState(np.random.PCG64(0))},
    {"hidden_layer_sizes": range(3)},
    {"alpha": np.longdouble(1)},
    {"max_iter": 10**50},
    {"activation": torch.nn.PReLU, "scoring": own_loss, "callbacks": [EpochScoring]},
]


@pytest.mark.parametrize("parameters", UNSAVED, ids=case)
@pytest.mark.parametrize("kind", [FeedForwardClassifier, FeedForwardRegressor])
def test_what_cannot_be_saved_is_named(kind, parameters, tmp_path):
    estimator = kind(**parameters)
    with pytest.raises(ValueError, match="cannot be saved") as error:
        estimator.save(tmp_path / "file")
    for name in parameters:
        assert f"the parameter {name!r} contains" in str(error.value)
    assert len(str(error.value).split(" contains ")) == 1 + len(parameters)
    assert "set_params" in str(error.value)
    assert list(tmp_path.iterdir()) == []


HAS_CALLBACKS = hasattr(CallbackSupportMixin, "_init_callback_context")


@pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn has had callbacks since 1.9")
def test_callbacks_of_scikit_learn_are_named(tmp_path):
    estimator = FeedForwardClassifier(scoring=own_loss)
    from sklearn.callback import ProgressBar

    estimator.set_callbacks(ProgressBar())
    with pytest.raises(ValueError, match="ProgressBar") as error:
        estimator.save(tmp_path / "file")
    assert "set_callbacks" in str(error.value)
    assert "'scoring'" in str(error.value)
    estimator.set_callbacks().set_params(scoring=None).save(tmp_path / "file")


def test_attributes_and_classes_of_others_are_named(tmp_path):
    estimator = FeedForwardClassifier()
    estimator.note = "of mine"
    with pytest.raises(ValueError, match="'note' does not belong to this package"):
        estimator.save(tmp_path / "file")
    with pytest.raises(ValueError, match="Own of .*test_saved_refusals cannot be saved"):
        Own().save(tmp_path / "file")
    circle = [1]
    circle.append(circle)
    with pytest.raises(ValueError, match="'quantile' is nested too deeply, or contains itself"):
        FeedForwardRegressor(quantile=circle).save(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coefs_", None),
        ("coefs_", [np.ones((4, 6)), np.ones((5, 3))]),
        ("coefs_", [[[1.0] * 6] * 4, np.ones((6, 3))]),
        ("intercepts_", [np.ones(6)]),
        ("classes_", np.array([2, 1, 0])),
        ("n_features_in_", 5),
        ("t_", -1),
        ("module_state_", {"activation0.weight": np.ones(1)}),
        ("best_loss_", "low"),
        ("_solver_state", {"name": "adam"}),
    ],
)
def test_attributes_that_do_not_go_together_are_named(name, value, tmp_path):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    setattr(estimator, name, value)
    with pytest.raises(ValueError, match=f"cannot be saved: its attribute ({name}|coefs_)"):
        estimator.save(tmp_path / "file")
    delattr(estimator, name)
    with pytest.raises(ValueError, match=f"its attribute {name} is missing"):
        estimator.save(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coefs_", lambda m: [m.coefs_[0][:2], m.coefs_[1]]),
        ("coefs_", lambda m: [m.coefs_[0][0], m.coefs_[1][0]]),
        ("coefs_", lambda m: [m.coefs_[0][None], m.coefs_[1][None]]),
        ("intercepts_", lambda m: [m.intercepts_[0], m.intercepts_[1][0]]),
        ("intercepts_", lambda m: [m.intercepts_[0], m.intercepts_[1][:2]]),
        ("intercepts_", lambda m: [i[:1] for i in m.intercepts_]),
        ("intercepts_", lambda m: [i[:0] for i in m.intercepts_]),
        ("intercepts_", lambda m: [i[None] for i in m.intercepts_]),
        ("intercepts_", lambda m: [i[..., :0] for i in m.intercepts_]),
        ("module_state_", lambda m: {k: v[:2] for k, v in m.module_state_.items()}),
        ("module_state_", lambda m: {k: v[0] for k, v in m.module_state_.items()}),
        ("_solver_state", lambda m: with_slots(m, lambda w, b, e: (w, b, e[:4]))),
        ("_solver_state", lambda m: with_slots(m, lambda w, b, e: ([a[0] for a in w], b, e))),
        ("_solver_state", lambda m: with_slots(m, lambda w, b, e: (w, [a[0] for a in b], e))),
    ],
)
def test_shapes_of_members_that_do_not_go_together_are_named(name, change, tmp_path):
    estimator = made_for("multiclass", n_members=3, normalization="batch").fit(X_IRIS, SPECIES)
    estimator.save(tmp_path / "file")
    loaded = sknn.load(tmp_path / "file")
    setattr(loaded, name, change(estimator))
    with pytest.raises(ValueError, match=f"cannot be saved: its attribute {name}"):
        loaded.save(tmp_path / "file")


def with_slots(estimator, change):
    """Return the state of a solver with other lists of weights, biases and extras."""
    slots = [change(*slot) for slot in estimator._solver_state["slots"]]
    return {**estimator._solver_state, "slots": slots}


@pytest.mark.parametrize("n_targets", [0, 4, 6, 2.0, True])
def test_number_of_targets_that_does_not_divide_the_outputs_is_named(n_targets, tmp_path):
    y = X_IRIS[:, :2]
    estimator = made_for("two outputs", loss="quantile", quantile=[0.1, 0.9])
    estimator.fit(X_IRIS, np.c_[y, y[:, 0]])
    estimator._n_targets = n_targets
    if n_targets == 6:
        estimator.out_activation_, estimator._n_targets = "identity", 3
    with pytest.raises(ValueError, match="cannot be saved: its attribute _n_targets"):
        estimator.save(tmp_path / "file")


def test_edited_weights_are_kept(again):
    estimator = made_for("multiclass").fit(X_IRIS, SPECIES)
    estimator.coefs_ = [np.asarray(c, np.float32)[::-1] for c in estimator.coefs_]
    loaded = again(estimator)
    assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))


def test_parameter_that_no_fit_would_take_is_named(tmp_path):
    with pytest.raises(ValueError, match="The 'alpha' parameter of FeedForwardClassifier"):
        FeedForwardClassifier(alpha=-1.0).save(tmp_path / "file")
    with pytest.raises(ValueError, match="The 'callbacks' parameter of FeedForwardRegressor"):
        FeedForwardRegressor(callbacks=[1]).save(tmp_path / "file")
    with pytest.raises(ValueError, match="The 'class_weight' parameter of FeedForwardClassifier"):
        FeedForwardClassifier(class_weight=[{0: "heavy"}]).save(tmp_path / "file")
