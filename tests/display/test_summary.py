"""`facts_of` collects the layers and settings of a network, and `summary` returns them as text."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier

from sknn import FeedForwardClassifier, FeedForwardRegressor, PeriodicEmbedding, from_sklearn
from sknn._display._curves import best_epoch_of, curves_of
from sknn._display._summary import facts_of

RNG = np.random.RandomState(0)
X = RNG.randn(60, 5)
Y = RNG.randint(0, 3, 60)


def fitted(estimator, X=X, y=Y, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few epochs or a processor without bfloat16 warn
        return estimator.fit(X, y, **arguments)


def test_layers_of_a_fitted_network():
    model = FeedForwardClassifier(
        (7, 4), ["relu", "tanh"], dropout=[0.25, 0.0], input_dropout=0.1, max_iter=2
    )
    layers = facts_of(fitted(model)).layers
    assert [layer.cells for layer in layers] == [
        ("input", "5", "-", "-", "0.1", "-"),
        ("hidden 1", "5 -> 7", "relu", "-", "0.25", "42"),
        ("hidden 2", "7 -> 4", "tanh", "-", "-", "32"),
        ("output", "4 -> 3", "softmax", "-", "-", "15"),
    ]


class TwoParameters(torch.nn.Module):
    """An activation with a parameter of three numbers, another of one, and a buffer."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.ones(3))
        self.b = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("c", torch.ones(100))

    def forward(self, x):
        return x * self.b + self.a.mean() * self.c[0]


@pytest.mark.matrix
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
@pytest.mark.parametrize("activation", ["relu", ["gelu", TwoParameters], torch.nn.PReLU])
def test_parameters_are_counted_as_torch_counts_them(normalization, activation, n_members):
    parameters = {"normalization": normalization, "n_members": n_members, "random_state": 0}
    model = FeedForwardClassifier((7, 4), activation, max_iter=2, **parameters)
    facts = facts_of(fitted(model))
    module = model.net_.module_
    assert facts.n_parameters == sum(p.numel() for p in module.parameters())
    for i, layer in enumerate(facts.layers[1:]):
        members = [module] if n_members == 1 else module
        children = [child for member in members for child in member.named_children()]
        parts = [m for name, m in children if name.endswith(str(i))]
        assert layer.n_parameters == sum(p.numel() for m in parts for p in m.parameters())


def test_activation_that_stands_in_two_layers_is_counted_once():
    shared = torch.nn.PReLU()
    model = fitted(FeedForwardClassifier((7, 4), lambda: shared, max_iter=2))
    facts = facts_of(model)
    assert facts.n_parameters == sum(p.numel() for p in model.net_.module_.parameters())
    assert facts.layers[1].activation == "<lambda>"


def test_before_fit_what_the_data_tell_is_unknown():
    model = FeedForwardRegressor(
        hidden_layer_sizes=[7, 4, 3], activation=["relu", "relu", TwoParameters]
    )
    facts = facts_of(model)
    assert not facts.is_fitted
    assert facts.units == ["?", "7", "4", "3", "?"]
    assert [layer.n_parameters for layer in facts.layers] == [0, None, 32, None, None]
    assert facts.n_parameters is None
    assert facts.layers[-1].activation == "?"
    assert facts.settings == {
        **{"loss": "squared_error", "solver": "adam", "device": "cpu", "dtype": "auto"},
        "epochs": "at most 200",
    }


def test_fitted_layers_are_those_of_the_weights_and_not_of_the_parameter():
    model = fitted(FeedForwardClassifier((7,), normalization="layer", max_iter=2))
    expected = facts_of(model).layers
    model.set_params(hidden_layer_sizes=(100,))
    assert facts_of(model).layers == expected


def test_members_are_told_and_layers_are_those_of_one():
    model = FeedForwardClassifier((7,), max_iter=2, n_members=3)
    assert facts_of(model).settings["members"] == "3"
    assert facts_of(model).units == ["?", "7", "?"]
    facts = facts_of(fitted(model))
    assert facts.settings["members"] == "3"
    assert facts.units == ["5", "7", "3"]
    assert facts.n_parameters == 3 * (5 * 7 + 7 + 7 * 3 + 3)
    assert "members        3" in model.summary()
    model.set_params(n_members=5)
    assert facts_of(model).settings["members"] == "3"
    assert "members" not in facts_of(FeedForwardClassifier()).settings


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"hidden_layer_sizes": (0,)}, ValueError),
        ({"activation": ["relu", "relu"]}, ValueError),
        ({"dropout": None}, TypeError),
    ],
)
def test_parameters_of_no_network_are_refused(parameters, error):
    with pytest.raises(error):
        FeedForwardClassifier(**parameters).summary()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("auto", "float64"), ("float32", "float32"), ("bfloat16", "float32, products in bfloat16")],
)
def test_dtype_is_that_of_the_weights(dtype, expected):
    model = fitted(FeedForwardClassifier((4,), dtype=dtype, max_iter=2))
    assert facts_of(model).settings["dtype"] == expected


def test_solver_and_loss_of_the_user_are_named():
    solver = partial(torch.optim.SGD, momentum=0.5)
    model = FeedForwardClassifier((4,), solver=solver, loss=torch.nn.BCELoss())
    settings = facts_of(model).settings
    assert (settings["solver"], settings["loss"]) == ("SGD", "BCELoss")


def test_losses_are_of_the_last_and_of_the_best_epoch():
    model = FeedForwardClassifier(
        (8,), early_stopping=True, learning_rate_init=0.1, max_iter=40, random_state=0
    )
    settings = facts_of(fitted(model)).settings
    best = best_epoch_of(model)
    assert settings["epochs"] == f"{model.n_iter_}; the weights are those of epoch {best}"
    for name, curve in (
        ("training loss", model.loss_curve_),
        ("validation loss", model.validation_loss_curve_),
        ("validation score", model.validation_scores_),
    ):
        assert settings[name] == f"{curve[-1]:.4g}; in epoch {best}: {curve[best - 1]:.4g}"


def test_validation_of_waves_is_told_with_its_last_epoch():
    rng = np.random.RandomState(0)
    rows = rng.standard_normal((200, 4))
    model = FeedForwardRegressor(
        hidden_layer_sizes=(32,),
        early_stopping="waves",
        learning_rate="coslog",
        learning_rate_init=0.03,
        batch_size=20,
        max_iter=30,
        n_iter_no_change=np.inf,
        validation_fraction=0.2,
        random_state=0,
    )
    facts = facts_of(fitted(model, rows, rows[:, 0] * rows[:, 1] + rows[:, 2]))
    curves = curves_of(model)
    assert list(curves["validation_loss"][:14]) == model.validation_loss_curve_
    assert np.isnan(curves["validation_loss"][14:]).all()
    loss = f"{model.validation_loss_curve_[-1]:.4g}"
    assert facts.settings["validation loss"] == f"{loss} in epoch 14, the last with validation rows"
    assert facts.settings["epochs"] == "30; the weights are those of epoch 30"


def test_epochs_that_follow_from_the_rows_are_told():
    model = FeedForwardClassifier(max_iter="by_rows", batch_size="by_rows")
    assert facts_of(model).settings["epochs"] == "by the number of rows"
    assert facts_of(fitted(model.set_params(n_iter_no_change=100))).settings["epochs"] == "128"


ROWS = np.c_[X, X[:, 0] > 0]  # five columns of many values and one of two


@pytest.mark.parametrize("n_members", [1, 3])
def test_embedding_and_factors_are_layers_before_the_first_one(n_members):
    model = FeedForwardClassifier(
        (7, 4),
        ["parametric_selu", "relu"],
        numeric_embedding=PeriodicEmbedding(n_frequencies=6, size=3),
        input_scaling=True,
        n_members=n_members,
        max_iter=2,
    )
    layers = facts_of(model).layers
    assert [layer.name for layer in layers] == ["input", "embedding", *HIDDEN, "output"]
    layers = facts_of(fitted(model, ROWS)).layers
    n_embedding = 5 * (6 + 6 + 2 * 6 + 2)
    assert [layer.cells[:3] for layer in layers[:3]] == [
        ("input", "6", "-"),
        ("embedding", "6 -> 16", "periodic"),
        ("hidden 1", "16 -> 7", "parametric_selu"),
    ]
    n_own = 16 + (16 * 7 + 7 + 7) + (7 * 4 + 4) + (4 * 3 + 3)
    n_of_torch = sum(p.numel() for p in model.net_.module_.parameters())
    assert n_of_torch == n_embedding + n_members * n_own
    text = model.summary()
    assert f"{n_of_torch:,}" in text
    assert "embedding" in text


def test_factors_alone_are_a_layer():
    model = fitted(FeedForwardClassifier((7,), input_scaling=True, max_iter=2))
    assert facts_of(model).layers[1].cells == ("scaling", "5 -> 5", "-", "-", "-", "5")


def test_embedding_of_no_column_is_no_layer():
    model = FeedForwardClassifier((7,), numeric_embedding="periodic", max_iter=2)
    layer = facts_of(fitted(model, X > 0)).layers[1]
    assert layer.cells[:2] == ("hidden 1", "5 -> 7")


HIDDEN = ("hidden 1", "hidden 2")


def test_recorded_validation_is_told_without_a_best_epoch():
    model = fitted(FeedForwardClassifier((4,), max_iter=3), X_val=X[:9], y_val=Y[:9])
    settings = facts_of(model).settings
    assert settings["epochs"] == "3"
    assert settings["validation score"] == f"{model.validation_scores_[-1]:.4g}"


def test_epochs_of_several_calls_are_told():
    model = FeedForwardClassifier((4,))
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    assert facts_of(model).settings["epochs"] == "1 in the last call, 3 in all"


def test_lbfgs_has_iterations_and_a_loss():
    model = fitted(FeedForwardRegressor(hidden_layer_sizes=(), solver="lbfgs"), y=X[:, 0])
    facts = facts_of(model)
    assert facts.settings["iterations"] == str(model.n_iter_)
    assert facts.settings["training loss"] == f"{model.loss_:.4g}"
    assert [layer.name for layer in facts.layers] == ["input", "output"]
    assert facts.layers[-1].activation == "identity"


def test_text_has_all_cells_and_settings_in_columns():
    model = fitted(FeedForwardClassifier((700, 40), normalization="batch", max_iter=2))
    facts, text = facts_of(model), model.summary()
    lines = text.splitlines()
    assert lines[0] == "FeedForwardClassifier, fitted"
    table = lines[1 : lines.index(lines[1], 4) + 3]
    assert len({len(line) for line in table}) == 1
    for layer, line in zip(facts.layers, lines[4:8], strict=True):
        assert line.split() == " ".join(layer.cells).split()
    assert lines[9].split() == ["total", f"{facts.n_parameters:,}"]
    for name, value in facts.settings.items():
        assert any(line.startswith(name) and line.endswith(value) for line in lines[11:])


def test_lbfgs_after_epochs_tells_its_own_loss_and_no_epochs_of_before():
    model = FeedForwardClassifier(
        (4,), early_stopping=True, warm_start=True, max_iter=8, random_state=0
    )
    fitted(fitted(model).set_params(solver="lbfgs", max_iter=20))
    settings = facts_of(model).settings
    assert settings["iterations"] == str(model.n_iter_)
    assert settings["training loss"] == f"{model.loss_:.4g}"
    assert model.loss_ != model.loss_curve_[-1]
    assert not {"validation loss", "validation score"} & set(settings)


def test_validation_loss_that_was_not_kept_is_not_told():
    theirs = fitted(MLPClassifier((4,), early_stopping=True, max_iter=5, random_state=0))
    settings = facts_of(from_sklearn(theirs)).settings
    assert "validation loss" not in settings
    assert settings["validation score"].startswith(f"{theirs.validation_scores_[-1]:.4g}")


def test_own_activations_are_counted_without_a_copy_of_the_weights(monkeypatch):
    model = fitted(FeedForwardClassifier((7, 4), torch.nn.PReLU, max_iter=1))
    monkeypatch.setattr(FeedForwardClassifier, "net_", property(lambda self: 1 / 0))
    monkeypatch.setattr(FeedForwardClassifier, "module_", property(lambda self: 1 / 0))
    assert facts_of(model).n_parameters == 5 * 7 + 7 + 1 + 7 * 4 + 4 + 1 + 4 * 3 + 3


@pytest.mark.parametrize(
    "parameters",
    [
        *({"normalization": True}, {"dtype": np.float32}, {"device": torch.device("cpu")}),
        *({"activation": None}, {"activation": "sinus"}, {"dropout": 1.5}, {"loss": 3}),
        *({"solver": "rprop"}, {"max_iter": 0}, {"input_dropout": "much"}),
    ],
    ids=str,
)
def test_parameters_that_fit_refuses_are_refused_in_its_words(parameters):
    model = FeedForwardClassifier((4,), **parameters)
    with pytest.raises(ValueError, match=f"The '{next(iter(parameters))}' parameter of") as told:
        model.summary()
    with pytest.raises(ValueError) as expected:
        model.fit(X, Y)
    assert str(told.value) == str(expected.value)
