"""The features improve models on real data, over several seeds, as the examples say.

Each margin was checked on 20 seeds or more, and the mean over the few seeds here is well clear of
it.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import get_scorer, log_loss

from sknn import FeedForwardClassifier, FeedForwardRegressor

# Other tests check what the options compute. These train for seconds, and so they are long.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SEEDS = range(3)


@functools.cache
def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Rare classes


@pytest.fixture(scope="module")
def rare_eights():
    return example("plot_imbalanced_classes").many_seeds(n_rare=20, n_seeds=4)


@pytest.mark.parametrize(
    "model, gain", [("balanced", 0.08), ("balanced, focal", 0.08), ("focal", 0.02)]
)
def test_balanced_accuracy_rises_by_a_remedy_for_a_rare_class(rare_eights, model, gain):
    remedied, plain = (rare_eights[name]["balanced accuracy"] for name in (model, "plain"))
    assert remedied.mean() > plain.mean() + gain


@pytest.mark.parametrize("model, gain", [("balanced", 0.15), ("focal", 0.04)])
def test_recall_rises_by_a_remedy_for_a_rare_class(rare_eights, model, gain):
    assert rare_eights[model]["recall"].mean() > rare_eights["plain"]["recall"].mean() + gain


def test_class_weights_move_the_threshold_and_hardly_the_order_of_rows(rare_eights):
    areas = {name: scores["ROC-AUC"].mean() for name, scores in rare_eights.items()}
    assert max(areas.values()) - min(areas.values()) < 0.03


# Over-fitting


@functools.cache
def overfit(remedy):
    lab = example("plot_overfitting")
    return lab.many_seeds(len(SEEDS), **lab.REMEDIES[remedy])


def gap(runs):
    return (runs["validation"][:, -1] - runs["training"][:, -1]).mean()


def over_confidence(runs):
    return (runs["confidence"] - runs["accuracy"]).mean()


def test_network_without_a_remedy_overfits():
    runs = overfit("plain")
    assert gap(runs) > 0.15
    mean = runs["validation"].mean(axis=0)
    assert mean[-1] > mean.min() + 0.03
    assert over_confidence(runs) > 0.03


@pytest.mark.parametrize("remedy, share", [("dropout=0.5", 0.65), ("input_dropout=0.5", 0.5)])
def test_dropout_narrows_the_gap_between_training_and_validation(remedy, share):
    assert gap(overfit(remedy)) < share * gap(overfit("plain"))


@pytest.mark.parametrize("remedy", ["dropout=0.5", "input_dropout=0.5"])
def test_dropout_ends_with_a_lower_validation_loss(remedy):
    assert (
        overfit(remedy)["validation"][:, -1].mean() < overfit("plain")["validation"][:, -1].mean()
    )


def test_label_smoothing_makes_less_confident_and_no_less_accurate():
    smoothed, plain = overfit("label_smoothing=0.3"), overfit("plain")
    assert smoothed["confidence"].mean() < plain["confidence"].mean() - 0.06
    assert abs(over_confidence(smoothed)) < over_confidence(plain) - 0.02
    assert smoothed["accuracy"].mean() > plain["accuracy"].mean() - 0.03


def test_decoupled_decay_narrows_the_gap_between_training_and_validation():
    losses = {}
    for alpha in (0.0, 10.0):
        network = FeedForwardClassifier(
            (100, 100), solver="adamw", alpha=alpha, max_iter=100, n_iter_no_change=np.inf
        )
        of_seeds = []
        for seed in SEEDS:
            X, X_valid, y, y_valid = example("plot_overfitting").patients(seed)
            network.set_params(random_state=seed).fit(X, y)
            of_seeds.append(
                [
                    log_loss(y, network.predict_proba(X)),
                    log_loss(y_valid, network.predict_proba(X_valid)),
                ]
            )
        losses[alpha] = np.mean(of_seeds, axis=0)
    (train, valid), (train_decayed, valid_decayed) = losses.values()
    assert valid_decayed - train_decayed < 0.5 * (valid - train)
    assert valid_decayed < valid


# Depth: normalization and activations


@functools.cache
def deep(activation, normalization=None, depth=8, n_epochs=10, rate=0.001):
    """Return the mean loss of each epoch and the mean accuracy, over the seeds."""
    runs = [
        example("plot_deep_networks").train(
            depth, seed, n_epochs, rate, activation=activation, normalization=normalization
        )
        for seed in SEEDS
    ]
    losses = np.mean([network.loss_curve_ for network, _ in runs], axis=0)
    return losses, np.mean([accuracy for _, accuracy in runs])


def test_eight_logistic_layers_learn_only_with_batch_normalization():
    losses, accuracy = deep("logistic", rate=0.003)
    assert losses[-1] > 0.99 * math.log(10)
    assert accuracy < 0.15
    losses, accuracy = deep("logistic", "batch", rate=0.003)
    assert losses[-1] < 0.3 * math.log(10)
    assert accuracy > 0.85


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_eight_layers_learn_faster_with_normalization(activation, normalization):
    losses, _ = deep(activation, n_epochs=5)
    normalized, _ = deep(activation, normalization, n_epochs=5)
    assert normalized[-1] < 0.85 * losses[-1]


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "selu", "gelu", "silu", "mish"])
def test_activation_learns_digits_as_well_as_relu(activation):
    losses, accuracy = deep(activation, depth=2, n_epochs=15, rate=0.003)
    by_relu, accuracy_by_relu = deep("relu", depth=2, n_epochs=15, rate=0.003)
    assert losses[-1] < 1.1 * by_relu[-1]
    assert accuracy > accuracy_by_relu - 0.015


@pytest.mark.parametrize("activation", ["softplus", torch.nn.PReLU, ["gelu", "tanh"]])
def test_other_activation_learns_digits(activation):
    _, accuracy = example("plot_deep_networks").train(2, activation=activation)
    assert accuracy > 0.88


@pytest.mark.parametrize("activation", ["gelu", "selu"])
def test_sixteen_layers_learn_better_than_with_relu(activation):
    of = functools.partial(deep, depth=16, n_epochs=15, rate=0.003)
    assert of(activation)[1] > of("relu")[1] + 0.05


# Quantiles


@pytest.fixture(scope="module")
def curve():
    """Return the example and, for each seed, new rows of its curve, targets and predictions."""
    lab = example("plot_quantile_bands")
    pairs = []
    for seed in SEEDS:
        X, y = lab.curve_data(5000, random_state=1000 + seed)
        pairs.append((X, y, lab.fit_curve(random_state=seed).predict(X)))
    return lab, pairs


def test_quantiles_cover_what_they_claim_on_new_rows(curve):
    lab, pairs = curve
    coverage = np.mean([lab.coverage(y, predicted) for _, y, predicted in pairs], axis=0)
    # The training rows are a sample too, of 2000 rows for each seed.
    n_rows = len(pairs) / (1 / 5000 + 1 / 2000)
    assert (np.abs(coverage - lab.LEVELS) < 3.5 * lab.standard_error(n_rows)).all()


def test_quantiles_follow_those_of_the_distribution(curve):
    lab, pairs = curve
    for X, _, predicted in pairs:
        true = lab.true_quantiles(X[:, 0])
        # The best band of equal width for all rows is more than twice as far from the truth.
        equal = true.mean(axis=1, keepdims=True) + (true - true.mean(axis=1, keepdims=True)).mean(0)
        assert np.abs(predicted - true).mean() < 0.5 * np.abs(equal - true).mean()


def test_quantiles_of_patients_cover_what_they_claim_in_other_folds():
    lab = example("plot_quantile_bands")
    # Three seeds do not mean three times as many patients: all predict the same 442.
    coverage = np.mean([lab.coverage(*lab.predict_diabetes(seed)) for seed in SEEDS], axis=0)
    error = lab.standard_error(442)
    assert (np.abs(coverage - lab.LEVELS) < 3 * error).all()


def test_quantiles_never_cross_where_their_order_is_hard(curve):
    lab, pairs = curve
    assert all((np.diff(predicted, axis=1) >= 0).all() for _, _, predicted in pairs)
    # Far from the training rows, and after only one epoch, nothing but the sorting keeps the
    # outputs of the levels in order.
    X, y = lab.curve_data(200)
    network = FeedForwardRegressor("quantile", quantile=lab.LEVELS, max_iter=1, random_state=0)
    predicted = network.fit(X, y).predict(np.linspace(-100, 100, 2001)[:, None])
    assert (np.diff(predicted, axis=1) >= 0).all()


# Outliers


@functools.cache
def outlier_error(loss, share):
    lab = example("plot_robust_losses")
    return lab.errors(share, len(SEEDS), **lab.LOSSES[loss]).mean()


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
def test_robust_loss_bears_outliers_that_the_squared_error_does_not(loss):
    assert outlier_error(loss, 0.1) < 0.5 * outlier_error("squared_error", 0.1)
    assert outlier_error(loss, 0.1) < 1.1 * outlier_error(loss, 0.0)


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
def test_robust_loss_is_as_good_without_outliers(loss):
    assert outlier_error(loss, 0.0) < 1.06 * outlier_error("squared_error", 0.0)


# Learning rates


def exponential(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)


@functools.cache
def final_loss(rate=0.05, **parameters):
    return example("plot_learning_rates").final_losses(rate, 4, **parameters).mean()


@functools.cache
def final_losses_at_a_low_rate(solver):
    return example("plot_learning_rates").final_losses(0.003, len(SEEDS), solver=solver)


@pytest.mark.parametrize(
    "schedule",
    [
        {"learning_rate": "cosine"},
        {"learning_rate": "cosine", "warmup_fraction": 0.1},
        {"learning_rate": "one_cycle"},
        {"learning_rate": exponential},
    ],
    ids=["cosine", "warmup and cosine", "one_cycle", "callable"],
)
def test_schedule_reaches_a_lower_loss_than_a_constant_rate_in_as_many_epochs(schedule):
    assert final_loss(**schedule) < 0.6 * final_loss()


def test_warmup_lowers_the_loss_that_a_cosine_from_a_high_rate_reaches():
    warm = final_loss(0.2, learning_rate="cosine", warmup_fraction=0.1)
    assert warm < 0.4 * final_loss(0.2, learning_rate="cosine")


@pytest.mark.parametrize("seed", SEEDS)
def test_clipping_tames_a_rate_that_learns_nothing_without(seed):
    lab = example("plot_learning_rates")
    _, accuracy = lab.clipped(None, seed)
    _, accuracy_clipped = lab.clipped(0.1, seed)
    assert accuracy < 0.3
    assert accuracy_clipped > 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_clipping_tames_targets_in_thousands_that_diverge_without(seed):
    X, _, y, _ = example("plot_robust_losses").patients(0.0, seed)
    network = FeedForwardRegressor(
        hidden_layer_sizes=(50,), solver="sgd", learning_rate_init=0.01, random_state=seed
    )
    with pytest.raises(ValueError, match="non-finite"):
        network.fit(X, y)
    assert network.set_params(max_grad_norm=10.0).fit(X, y).score(X, y) > 0.4


@pytest.mark.parametrize(
    "solver",
    ["adamw", torch.optim.NAdam, functools.partial(torch.optim.RMSprop, alpha=0.9)],
    ids=["adamw", "NAdam", "RMSprop"],
)
def test_solver_learns_digits_as_well_as_adam(solver):
    by_adam, by_solver = map(final_losses_at_a_low_rate, ("adam", solver))
    assert by_solver.mean() < 1.2 * by_adam.mean()
    assert not np.array_equal(by_solver, by_adam)


# Early stopping and callbacks


def test_scoring_keeps_early_stopping_from_the_trap_of_a_rare_class():
    lab = example("plot_early_stopping")
    area = {name: lab.many_seeds(name, len(SEEDS))[:, 2] for name in ("accuracy", "roc_auc")}
    assert area["accuracy"].mean() < 0.6
    assert area["roc_auc"].mean() > 0.9


@pytest.mark.parametrize("scoring", ["loss", "roc_auc", "balanced_accuracy"])
@pytest.mark.parametrize("added", [{}, {"normalization": "batch", "dropout": 0.2}])
def test_early_stopping_restores_the_epoch_that_the_scorer_likes_best(scoring, added):
    X, X_val, y, y_val = example("plot_overfitting").patients()
    network = FeedForwardClassifier(
        (100, 100),
        learning_rate_init=0.003,
        early_stopping=True,
        scoring=scoring,
        random_state=0,
        **added,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    best = int(np.argmax(network.validation_scores_))
    assert best + 1 < network.n_iter_

    score = get_scorer("neg_log_loss" if scoring == "loss" else scoring)(network, X_val, y_val)
    assert score == pytest.approx(network.validation_scores_[best], rel=1e-10)
    # The reference is a training that ends with that epoch.
    ended = FeedForwardClassifier(**network.get_params())
    ended.set_params(early_stopping=False, n_iter_no_change=np.inf, max_iter=best + 1).fit(X, y)
    restored = [*network.coefs_, *network.intercepts_, *network.module_state_.values()]
    expected = [*ended.coefs_, *ended.intercepts_, *ended.module_state_.values()]
    for left, right in zip(restored, expected, strict=True):
        np.testing.assert_array_equal(left, right)


def test_checkpoint_holds_the_epoch_of_the_least_validation_loss(tmp_path):
    lab = example("plot_callbacks")
    network = lab.fit(tmp_path)
    least = min(network.validation_loss_curve_)
    assert least < 0.97 * network.validation_loss_curve_[-1]
    assert lab.validation_loss(lab.restored(network, tmp_path)) == pytest.approx(least, rel=1e-10)


def test_callbacks_record_what_they_are_told(tmp_path):
    lab = example("plot_callbacks")
    network = lab.fit(tmp_path, n_epochs=31)
    history = network.net_.history
    X, X_val, y, y_val = lab.cells()
    assert history[-1, "train_recall"] == lab.RECALL(network, X, y)
    assert history[-1, "valid_recall"] == lab.RECALL(network, X_val, y_val)
    assert network.learning_rate_curve_ == pytest.approx(
        [0.005 * 0.5 ** (epoch // 15) for epoch in range(31)]
    )
    distance = history[:, "distance"]
    # With half the learning rate, the weights move about half as far in as many epochs.
    assert distance[-1] - distance[15] < distance[14] - distance[0]


# The examples


@pytest.mark.parametrize(
    "name, settings, printed",
    [
        ("plot_imbalanced_classes", {"n_seeds": 1}, ["balanced accuracy", "balanced, focal"]),
        ("plot_overfitting", {"n_seeds": 1}, ["input_dropout=0.5", "label_smoothing=0.3"]),
        (
            "plot_deep_networks",
            {"n_seeds": 1, "depths": (8,)},
            ["logistic, batch", "relu, layer"],
        ),
        ("plot_quantile_bands", {}, ["diabetes, five folds", "Crossings: 0"]),
        ("plot_robust_losses", {"n_seeds": 1}, ["huber", "absolute_error"]),
        (
            "plot_learning_rates",
            {"n_seeds": 1, "rates": (0.05,)},
            ["warm-up, cosine", "max_grad_norm=0.1"],
        ),
        ("plot_early_stopping", {"n_seeds": 1}, ["accuracy", "roc_auc"]),
        ("plot_callbacks", {"n_epochs": 40}, ["valid_recall", "Validation loss of the checkpoint"]),
    ],
)
def test_main_prints_the_numbers_and_saves_the_picture(name, settings, printed, tmp_path, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    with matplotlib.rc_context():
        example(name).main(tmp_path / "picture.png", **settings)
    out = capsys.readouterr().out
    for text in printed:
        assert text in out
    assert (tmp_path / "picture.png").stat().st_size > 20_000
    matplotlib.pyplot.close("all")
