"""The numbers in the textbook lab, examples/plot_first_network.py, hold on any machine."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plot_first_network.py"
SEEDS = 40


@pytest.fixture(scope="module")
def lab():
    spec = importlib.util.spec_from_file_location("plot_first_network", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Losses of training and validation, for the pictures.
CURVES = np.linspace(1, 0.2, 50), np.linspace(1, 0.5, 50)


def test_first_network_is_the_network_of_the_text(lab):
    assert lab.POINTS.shape == (10, 2)
    np.testing.assert_array_equal(lab.LABELS, [0] * 5 + [1] * 5)
    losses, _ = lab.first_network()
    assert len(losses) == lab.N_EPOCHS == 100


@pytest.mark.parametrize(
    "epoch, published", [(20, 0.45), (40, 0.30), (60, 0.22), (80, 0.18), (100, 0.15)]
)
@pytest.mark.parametrize("centre", [True, False])
def test_first_network_loss_is_at_most_the_published_one(lab, centre, epoch, published):
    losses, _ = lab.first_network(centre)
    assert losses[epoch - 1] <= published


@pytest.mark.parametrize("centre", [True, False])
def test_first_network_accuracy_is_at_least_the_published_one(lab, centre):
    _, accuracy = lab.first_network(centre)
    assert accuracy >= 0.90


@pytest.mark.long
def test_first_network_is_no_fluke_of_one_seed(lab):
    losses, share = lab.many_seeds(n_seeds=SEEDS)
    assert losses.shape == (SEEDS, 100)
    assert share >= 0.7
    for epoch, published in lab.PUBLISHED_LOSS.items():
        assert np.median(losses[:, epoch - 1]) < 0.75 * published


@pytest.mark.long
def test_centring_the_points_makes_more_seeds_succeed(lab):
    _, centred = lab.many_seeds(n_seeds=SEEDS)
    _, raw = lab.many_seeds(centre=False, n_seeds=SEEDS)
    assert 0.3 < raw < centred


@pytest.mark.parametrize(
    "losses, accuracy, expected",
    [
        (np.full(100, 0.15), 0.9, True),
        (np.full(100, 0.15), 0.8, False),
        (np.full(100, 0.16), 1.0, False),
        (np.r_[np.full(19, 9.0), np.full(81, 0.1)], 1.0, True),
        (np.r_[np.full(20, 9.0), np.full(80, 0.1)], 1.0, False),
    ],
)
def test_as_good_as_published_asks_for_every_epoch_and_the_accuracy(
    lab, losses, accuracy, expected
):
    assert lab.as_good_as_published(losses, accuracy) == expected


@pytest.mark.long
def test_classifier_scores_on_breast_cancer(lab):
    scores = lab.evaluate_classifier()
    floors = {"accuracy": 0.96, "precision": 0.95, "recall": 0.92, "F1": 0.94, "ROC-AUC": 0.985}
    assert scores.keys() == floors.keys()
    for name, (mean, deviation) in scores.items():
        assert floors[name] < mean <= 1, name
        assert 0 <= deviation < 0.05, name


@pytest.mark.long
def test_regressor_scores_on_diabetes(lab):
    scores = {name: mean for name, (mean, _) in lab.evaluate_regressor().items()}
    assert scores.keys() == {"MSE", "RMSE", "MAE", "R2"}
    assert np.isfinite(list(scores.values())).all()
    # Predicting the mean of the training targets gives an R2 of 0 and an RMSE of 77.
    assert 0.45 < scores["R2"] < 1
    assert 30 < scores["MAE"] < scores["RMSE"] < 58
    # The RMSE is the mean of the roots over the folds, hence not above the root of the mean.
    assert scores["RMSE"] == pytest.approx(scores["MSE"] ** 0.5, rel=0.01)
    assert scores["RMSE"] <= scores["MSE"] ** 0.5


@pytest.mark.long
def test_overfit_validation_loss_turns_while_training_loss_falls(lab):
    train, valid = lab.overfit()
    best = valid.argmin()
    assert 5 < best < 50
    assert valid[0] > 1.3 * valid[best]
    assert valid[-1] > 1.2 * valid[best]
    # Neither is a wiggle: from the best epoch on, the training loss falls and the validation loss
    # rises over every 15 epochs.
    stretches = slice(best, None, 15)
    assert (np.diff(train[stretches]) < 0).all()
    assert (np.diff(valid[stretches]) > 0).all()
    assert train[-1] < 0.7 * train[best]


def test_main_prints_the_numbers_and_saves_the_picture(lab, tmp_path, capsys, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    # The slow parts have tests of their own, so they are replaced here.
    monkeypatch.setattr(lab, "many_seeds", lambda centre=True: (np.ones((3, 100)), 0.5))
    monkeypatch.setattr(lab, "evaluate_classifier", lambda: {"accuracy": (0.9, 0.1)})
    monkeypatch.setattr(lab, "evaluate_regressor", lambda: {"MSE": (2907.0, 254.0)})
    monkeypatch.setattr(lab, "overfit", lambda: CURVES)
    with matplotlib.rc_context():
        lab.main(tmp_path / "picture.png")
    printed = capsys.readouterr().out
    for text in ("epoch  20", "epoch 100", "accuracy", "MSE", "Overfitting"):
        assert text in printed
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    matplotlib.pyplot.close("all")


def test_plot_draws_both_losses_of_the_overfitting_network(lab):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    with matplotlib.rc_context():
        figure = lab.plot(np.ones(100), np.ones((3, 100)), *CURVES)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    np.testing.assert_array_equal(lines["training"], CURVES[0])
    np.testing.assert_array_equal(lines["validation"], CURVES[1])
    matplotlib.pyplot.close(figure)
