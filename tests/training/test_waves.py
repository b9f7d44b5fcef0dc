"""`early_stopping="waves"` keeps the best end of a wave, or learns from all rows in the last."""

from __future__ import annotations

import pickle
import signal

import numpy as np
import pytest
import torch
from checkpoints import files, kill, killed_after
from conftest import assert_bit_equal
from numpy.testing import assert_array_equal
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._initial_weights import initial_parameters
from sknn._training import _checkpoint, _waves
from sknn._training._epoch import Trainer
from sknn._training._waves import Waves

N_EPOCHS = 30
ENDS = (2, 6, 14, 30)  # 1/15, 1/5, 7/15 and all of the epochs


def rows(n_rows=200, noise=0.0):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n_rows, 4))
    y = X[:, 0] * X[:, 1] + X[:, 2]
    return X, y + noise * rng.standard_normal(n_rows)


CLEAN, NOISY = rows(), rows(noise=5.0)
SMALL = {
    "hidden_layer_sizes": (32,),
    "learning_rate": "coslog",
    "learning_rate_init": 0.03,
    "batch_size": 20,
    "max_iter": N_EPOCHS,
    "n_iter_no_change": np.inf,
    "early_stopping": "waves",
    "validation_fraction": 0.2,
    "random_state": 0,
}


def regressor(**parameters):
    return FeedForwardRegressor(**SMALL | parameters)


def as_classes(data):
    X, y = data
    return X, (y > np.median(y)).astype(int)


class Weights(Callback):
    """A user's callback that keeps the weights after each epoch."""

    def initialize(self):
        self.first_, self.n_validated_ = [], []

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        weight = next(p for name, p in net.module_.named_parameters() if "linear0" in name)
        self.first_.append(weight.detach().numpy().copy())


def weights_after(model, epoch):
    (_, watcher) = model.callbacks_[0]
    return watcher.first_[epoch - 1].swapaxes(-1, -2)


# --- the ends ---------------------------------------------------------------------------------


def test_ends_are_where_the_rate_is_zero():
    assert Waves.of(N_EPOCHS, 0.0, 100).ends == ENDS
    assert Waves.of(150, 0.0, 100).ends == (10, 30, 70, 150)
    assert Waves.of(200, 0.25, 100).ends == (60, 80, 120, 200)  # after a warm-up of 50 epochs
    assert Waves.of(1, 0.0, 100).ends == (1, 1, 1, 1)
    assert Waves.of(3, 0.0, 100).ends == (1, 1, 1, 3)


def test_few_validation_rows_ask_for_a_larger_gain():
    few, many = (Waves.of(4, 0.0, n).least_gain for n in (100, 10_000))
    assert (few, many) == pytest.approx((0.09, 0.045))


def records(*losses):
    return [{} if loss is None else {"valid_loss": loss} for loss in losses]


@pytest.mark.parametrize(
    ("losses", "best", "raised"),
    [
        ([], None, None),
        ([1.0], 1, None),
        ([1.0, 0.5], 2, None),
        ([1.0, 2.0], 1, None),
        ([1.0, 0.5, 0.4], 3, 0.0),
        ([0.5, 1.0, 0.4], 3, 0.0),
        ([1.0, 0.5, 0.48], 3, 1.0),
        ([1.0, 0.5, 0.5], 3, 1.0),
        ([1.0, 0.5, 0.52], 2, 1.2),
        ([0.5, 1.0, 0.52], 1, 1.2),  # It has risen above the best end before it.
        ([1.0, 0.5, 0.56], 2, None),
        ([0.5, 1.0, 0.8], 1, None),
        ([1.0, 0.5, 0.48, 0.47], 4, 1.0),
        ([1.0, 0.5, 0.48, 0.49], 3, 1.0),
        ([1.0, 0.5, 0.4, None], 4, 0.0),
        ([0.0, 0.0, 0.0], 3, 1.0),
        ([0.0, 0.0, 0.1], 2, None),
        ([np.nan, 0.5], 2, None),
        ([np.nan, 0.5, 0.4], 3, 0.0),
        ([0.5, np.nan, 0.4], 3, 0.0),
        ([np.nan], None, None),
        ([1.0, 0.5, np.nan], 2, None),
        ([np.nan, np.nan, np.nan, np.nan], None, None),
    ],
)
def test_best_end_and_how_much_the_last_wave_raises_the_regularization(losses, best, raised):
    waves = Waves((1, 2, 3, 4), least_gain=0.05, can_raise=True)
    assert waves.best_end(records(*losses)) == best
    assert waves.raise_in_last_wave(records(*losses)) == (raised and pytest.approx(raised))
    without_dropout = waves._replace(can_raise=False)
    assert without_dropout.raise_in_last_wave(records(*losses)) == (None if raised else raised)


def test_loss_below_zero_that_rises_has_not_fallen():
    waves = Waves((1, 2, 3, 4), least_gain=0.05)
    assert waves.raise_in_last_wave(records(0.0, -2.0, -1.9)) is None
    assert waves.raise_in_last_wave(records(0.0, -2.0, -2.2)) == 0.0


def test_end_of_three_waves_at_once_shows_no_gain():
    waves = Waves.of(3, 0.0, 100)._replace(can_raise=True)
    assert waves.ends == (1, 1, 1, 3)
    assert waves.raise_in_last_wave(records(1.0)) is None


def test_third_wave_that_ends_the_training_has_nothing_after_it():
    waves = Waves.of(20, 0.97, 100)._replace(can_raise=True)
    assert waves.ends == (19, 20, 20, 20)
    assert waves.raise_in_last_wave(records(*[1.0] * 19, 0.5)) is None


# --- noisy and clean data ---------------------------------------------------------------------


def test_best_end_is_restored_on_noisy_data():
    model = regressor(callbacks=[Weights()]).fit(*NOISY)
    losses = [model.validation_loss_curve_[n - 1] for n in ENDS]
    best = ENDS[int(np.argmin(losses))]
    assert best < N_EPOCHS  # The data are noisy enough.
    assert_array_equal(model.coefs_[0], weights_after(model, best))
    assert (model.coefs_[0] != weights_after(model, N_EPOCHS)).any()
    assert model.n_iter_ == N_EPOCHS == len(model.validation_loss_curve_)
    assert model.t_ == N_EPOCHS * 160


def test_last_wave_learns_from_all_rows_of_clean_data():
    model = regressor(callbacks=[Weights()]).fit(*CLEAN)
    assert model.t_ == 14 * 160 + 16 * 200
    assert len(model.validation_loss_curve_) == len(model.validation_scores_) == 14
    assert len(model.loss_curve_) == N_EPOCHS
    assert_array_equal(model.coefs_[0], weights_after(model, N_EPOCHS))


# --- more regularization ------------------------------------------------------------------------

REGULARIZED = {
    "hidden_layer_sizes": (64, 64),
    "solver": "adamw",
    "alpha": 0.02,
    "dropout": 0.1,
    "regularization_schedule": "flat_cos",
}


def random_classes():
    return CLEAN[0], np.random.RandomState(1).randint(0, 2, len(CLEAN[0]))


class Strengths(Callback):
    """A user's callback that keeps the strengths of dropout and decay at the end of each epoch."""

    def initialize(self):
        self.strengths_ = []

    def on_epoch_end(self, net, **kwargs):
        trainer = net.trainer
        self.strengths_.append((trainer.generators[0].strength, trainer.solver.strength))


def strengths_of(model):
    (_, watcher) = model.callbacks_[0]
    return np.array(watcher.strengths_)


@pytest.fixture
def hardly_falling(monkeypatch):
    """Let every gain be one of a loss that hardly falls."""
    monkeypatch.setattr(_waves, "LEAST_GAIN", np.inf)
    monkeypatch.setattr(_waves, "MOST_RISE", np.inf)


@pytest.mark.parametrize("n_members", [1, 3])
def test_last_wave_of_a_loss_that_hardly_falls_is_regularized_more(hardly_falling, n_members):
    X, y = random_classes()
    model = FeedForwardClassifier(
        **SMALL | REGULARIZED, n_members=n_members, callbacks=[Strengths()]
    ).fit(X, y)
    assert model.t_ == 14 * 160 + 16 * 200
    assert len(model.validation_loss_curve_) == 14
    first, second, third = (model.validation_loss_curve_[n - 1] for n in ENDS[:3])
    best = min(first, second)
    raised = 1 + 5 * max(0.0, third / best - 1)
    assert raised > 1  # The classes are random.
    strengths = strengths_of(model)
    assert_array_equal(strengths[:13], 1.0)
    np.testing.assert_allclose(strengths[14:], [[2 * raised, 5 * raised]] * 16)


def test_regressor_with_dropout_raises_nothing(hardly_falling):
    assert regressor(**REGULARIZED).fit(*NOISY).t_ == N_EPOCHS * 160


@pytest.mark.parametrize("without", ["dropout", "regularization_schedule"])
def test_nothing_is_raised_without_dropout_and_its_schedule(hardly_falling, without):
    X, y = random_classes()
    parameters = REGULARIZED | {without: {"dropout": 0.0, "regularization_schedule": None}[without]}
    model = FeedForwardClassifier(**SMALL | parameters).fit(X, y)
    assert model.t_ == N_EPOCHS * 160
    assert len(model.validation_loss_curve_) == N_EPOCHS


def test_own_validation_rows_raise_nothing(hardly_falling):
    X, y = random_classes()
    model = FeedForwardClassifier(**SMALL | REGULARIZED, callbacks=[Strengths()])
    model.fit(X[40:], y[40:], X_val=X[:40], y_val=y[:40])
    assert model.t_ == N_EPOCHS * 160
    assert strengths_of(model).max() == 1.0


@pytest.mark.parametrize("has_own", [False, True])
def test_loss_that_rises_a_lot_ends_training_with_the_best_end(has_own, capsys):
    X, y = random_classes()
    own = {"X_val": X[:40], "y_val": y[:40]} if has_own else {}
    parameters = SMALL | REGULARIZED | {"verbose": True, "callbacks": [Weights()]}
    rows = slice(40, None) if has_own else slice(None)
    model = FeedForwardClassifier(**parameters).fit(X[rows], y[rows], **own)
    first, second, third = (losses := [model.validation_loss_curve_[n - 1] for n in ENDS[:3]])
    assert third > 1.1 * min(first, second)  # The classes are random.
    assert model.n_iter_ == len(model.loss_curve_) == 14
    assert model.t_ == 14 * 160
    assert_array_equal(model.coefs_[0], weights_after(model, ENDS[int(np.argmin(losses))]))
    assert "Validation loss has risen until epoch 14. Stopping.\n" in capsys.readouterr().out


def test_checkpoint_of_a_training_that_ends_after_the_third_wave(tmp_path):
    X, y = random_classes()

    def make():
        return FeedForwardClassifier(
            **SMALL | REGULARIZED, checkpoint_dir=tmp_path, checkpoint_every=1
        )

    whole = make().fit(X, y)
    kill(make(), 13, X, y)
    assert_bit_equal(make().fit(X, y), whole)
    assert files(tmp_path) == []


def test_verbose_says_that_there_is_more_regularization(hardly_falling, capsys):
    X, y = random_classes()
    FeedForwardClassifier(**SMALL | REGULARIZED, verbose=True).fit(X, y)
    assert (
        "Validation loss no longer falls enough after epoch 14: learning from all rows with more"
        " regularization.\nIteration 15, loss ="
    ) in capsys.readouterr().out


@pytest.mark.parametrize("n_epochs", [14, 20])
def test_checkpoint_goes_on_with_more_regularization(hardly_falling, n_epochs, tmp_path):
    X, y = random_classes()

    def make():
        return FeedForwardClassifier(
            **SMALL | REGULARIZED, checkpoint_dir=tmp_path, checkpoint_every=1
        )

    whole = make().fit(X, y)
    kill(make(), n_epochs, X, y)
    assert_bit_equal(make().fit(X, y), whole)


def test_callbacks_of_the_user_change_nothing():
    for data in (CLEAN, NOISY):
        watched, alone = (regressor(callbacks=c).fit(*data) for c in ([Weights()], None))
        for mine, theirs in zip(watched.coefs_, alone.coefs_, strict=True):
            assert_array_equal(mine, theirs)
        assert watched.loss_curve_ == alone.loss_curve_


def test_own_validation_rows_are_never_learned_from():
    X, y = CLEAN
    model = regressor(callbacks=[Weights()])
    model.fit(X[40:], y[40:], X_val=X[:40], y_val=y[:40])
    assert model.t_ == N_EPOCHS * 160
    losses = [model.validation_loss_curve_[n - 1] for n in ENDS]
    best = ENDS[int(np.argmin(losses))]
    assert_array_equal(model.coefs_[0], weights_after(model, best))


@pytest.mark.parametrize("n_members", [1, 3])
def test_waves_of_a_classifier_and_of_members(n_members):
    X, y = as_classes(CLEAN)
    model = FeedForwardClassifier(**SMALL, n_members=n_members).fit(X, y)
    learned = regressor(n_members=n_members).fit(*CLEAN)
    assert learned.t_ == 14 * 160 + 16 * 200
    assert model.score(X, y) > 0.9
    # Cross-entropy of a classifier over-fits sooner: what was seen says which way it went.
    assert model.t_ in (N_EPOCHS * 160, 14 * 160 + 16 * 200)


def test_validation_rows_weigh_by_sample_weight():
    X, y = NOISY
    weight = np.random.RandomState(1).uniform(0, 3, len(X))
    options = {"X_val": X[:40], "y_val": y[:40]}
    plain = regressor().fit(X[40:], y[40:], **options)
    model = regressor(callbacks=[Weights()])
    model.fit(X[40:], y[40:], sample_weight_val=weight[:40], **options)
    losses = model.validation_loss_curve_
    assert losses != plain.validation_loss_curve_
    best = ENDS[int(np.argmin([losses[n - 1] for n in ENDS if n <= len(losses)]))]
    assert_array_equal(model.coefs_[0], weights_after(model, best))


def test_rows_without_weight_have_no_effect_in_the_last_wave():
    X, y = CLEAN
    weight = np.random.RandomState(1).randint(0, 2, len(X)).astype(float)
    changed = np.where(weight == 0, 100.0, y)
    models = [regressor().fit(X, targets, weight) for targets in (y, changed)]
    assert models[0].t_ == 14 * 160 + 16 * 200
    for mine, theirs in zip(models[0].coefs_, models[1].coefs_, strict=True):
        assert_array_equal(mine, theirs)


def test_validation_rows_have_an_effect_in_the_last_wave_only():
    X, y = CLEAN
    random_state = np.random.RandomState(0)  # The weights are drawn before the split.
    initial_parameters((4, 32, 1), "relu", random_state)
    _, held_out = train_test_split(np.arange(200), test_size=0.2, random_state=random_state)
    changed = y.copy()
    changed[held_out] += 1e-3
    before, after = regressor().fit(X, y), regressor().fit(X, changed)
    assert before.loss_curve_[:14] == after.loss_curve_[:14]
    assert before.loss_curve_[14] != after.loss_curve_[14]


def test_warm_up_moves_the_switch():
    model = regressor(warmup_fraction=0.5).fit(*CLEAN)
    assert model.t_ in (N_EPOCHS * 160, 22 * 160 + 8 * 200)  # half, and 7/15 of the other half
    assert len(model.validation_loss_curve_) in (N_EPOCHS, 22)


# --- ends of a training -----------------------------------------------------------------------


def test_patience_is_not_read():
    usual, impatient = (
        regressor(**options).fit(*NOISY) for options in ({}, {"tol": 1e9, "n_iter_no_change": 1})
    )
    assert impatient.n_iter_ == N_EPOCHS
    assert_array_equal(usual.coefs_[0], impatient.coefs_[0])


class CtrlC(Callback):
    """A user's callback that presses Ctrl-C in an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("data", "epoch", "kept"),
    [
        (NOISY, 2, 1),  # before the first end: the last epoch that was finished
        (NOISY, 5, 2),  # after it: the best end
        (CLEAN, 10, 6),
        (CLEAN, 20, 14),  # in the last wave, which learns from all rows
    ],
    ids=["first wave", "second wave", "third wave", "last wave"],
)
def test_ctrl_c_keeps_the_best_end_so_far_or_else_the_last_epoch(data, epoch, kept):
    model = regressor(callbacks=[Weights(), CtrlC(epoch)])
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*data)
    assert model.n_iter_ == epoch - 1
    assert_array_equal(model.coefs_[0], weights_after(model, kept))


@pytest.mark.parametrize("after", [1, 5])
def test_divergence_raises_before_the_first_end_and_warns_after_it(after, monkeypatch):
    epoch = Trainer.epoch

    def diverging(self, train_on=None):
        loss = epoch(self, train_on)
        self.n_done = getattr(self, "n_done", 0) + 1
        if self.n_done > after:
            self.parameters.vector.data.fill_(np.nan)
            return np.nan
        return loss

    monkeypatch.setattr(Trainer, "epoch", diverging)
    model = regressor(callbacks=[Weights()])
    if after == 1:
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            model.fit(*NOISY)
        assert not hasattr(model, "coefs_")
        return
    with pytest.warns(UserWarning, match="diverged in epoch 6: the training loss.*end of a wave"):
        model.fit(*NOISY)
    assert_array_equal(model.coefs_[0], weights_after(model, 2))


def test_no_warning_says_that_all_epochs_were_run():
    # Every warning is an error in the tests.
    for data in (CLEAN, NOISY):
        regressor(n_iter_no_change=100).fit(*data)


def test_verbose_says_that_all_rows_are_learned_from(capsys):
    regressor(verbose=True).fit(*CLEAN)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("Validation loss still falls after epoch 14: learning from all rows.")
    assert lines[at + 1].startswith("Iteration 15, loss =")
    assert not any("Validation" in line for line in lines[at + 1 :])
    regressor(verbose=True).fit(*NOISY)
    assert "all rows" not in capsys.readouterr().out


# --- going on ---------------------------------------------------------------------------------


@pytest.mark.matrix(2)
@pytest.mark.parametrize(
    ("data", "n_epochs"),
    [(NOISY, 1), (CLEAN, 9), (NOISY, 20), (CLEAN, 14), (CLEAN, 20)],
    ids=["first wave", "third wave", "last wave", "its end", "all rows"],
)
def test_checkpoint_goes_on_before_and_after_the_switch(n_epochs, data, tmp_path):
    def make():
        return regressor(checkpoint_dir=tmp_path, checkpoint_every=1, dropout=0.1)

    whole = make().fit(*data)
    kill(make(), n_epochs, *data)
    model = make()
    with killed_after(None) as counted:
        model.fit(*data)
    assert counted.n_epochs == N_EPOCHS - n_epochs
    assert files(tmp_path) == []
    assert_bit_equal(model, whole)


def test_unusable_checkpoint_of_the_last_wave_leaves_a_whole_training(tmp_path, monkeypatch):
    def make():
        return regressor(checkpoint_dir=tmp_path, checkpoint_every=1)

    whole = make().fit(*CLEAN)
    kill(make(), 20, *CLEAN)
    n_calls = []
    restore = _checkpoint._restore

    def failing(net, state):
        restore(net, state)
        if not n_calls:
            n_calls.append(len(state["history"]))
            raise ValueError("the checkpoint is unusable")

    monkeypatch.setattr(_checkpoint, "_restore", failing)
    model = make()
    with pytest.warns(UserWarning, match="unusable"):
        model.fit(*CLEAN)
    assert n_calls == [20]
    assert_bit_equal(model, whole)


def test_warm_start_begins_the_waves_anew():
    X, y = CLEAN
    model = regressor(warm_start=True).fit(X, y)
    t = model.t_
    model.set_params(learning_rate_init=1e-4).fit(X, y)
    assert model.n_iter_ == N_EPOCHS
    assert model.t_ - t in (N_EPOCHS * 160, 14 * 160 + 16 * 200)


def test_equal_fits_and_pickles_are_equal():
    first, second = (regressor().fit(*CLEAN) for _ in range(2))
    assert_bit_equal(first, second)
    assert_bit_equal(pickle.loads(pickle.dumps(first)), first)


def test_validation_part_of_one_row_is_enough():
    # Only the loss decides, which one row has. R2, which is recorded, needs two.
    X, y = rows(40)
    with pytest.warns(UserWarning, match="R.2 score is not well-defined"):
        model = regressor().fit(X[1:], y[1:], X_val=X[:1], y_val=y[:1])
    assert len(model.validation_loss_curve_) in (14, N_EPOCHS)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 4, 7])
def test_few_epochs_are_enough(max_iter):
    model = regressor(max_iter=max_iter).fit(*CLEAN)
    assert model.n_iter_ == max_iter
    assert np.isfinite(model.predict(CLEAN[0])).all()


@pytest.mark.parametrize("solver", ["sgd", "adamw", torch.optim.Adam])
def test_waves_with_other_solvers(solver):
    rate = 0.03 if solver != "sgd" else 0.1
    model = regressor(solver=solver, learning_rate_init=rate).fit(*NOISY)
    assert model.n_iter_ == N_EPOCHS


# --- the epoch that is kept ---------------------------------------------------------------------


@pytest.mark.parametrize("data", [CLEAN, NOISY], ids=["clean", "noisy"])
def test_best_epoch_is_the_end_whose_weights_are_kept(data):
    model = regressor(callbacks=[("weights", Weights())]).fit(*data)
    assert model.best_epoch_ in ENDS
    assert (model.best_epoch_ == N_EPOCHS) == (data is CLEAN)
    assert_array_equal(model.coefs_[0], weights_after(model, model.best_epoch_))
    assert f"the weights are those of epoch {model.best_epoch_}" in model.summary()
