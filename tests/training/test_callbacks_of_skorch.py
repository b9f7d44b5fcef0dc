"""The callbacks that come with skorch work unchanged."""

from __future__ import annotations

import json
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from callbacks import (
    NAMES,
    SMALL,
    X_IRIS,
    OfLayers,
    assert_same_weights,
    at,
    classifier,
    data,
    history,
)
from conftest import case
from sklearn.metrics import get_scorer
from skorch.callbacks import (
    BatchScoring,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
    ProgressBar,
    TensorBoard,
)
from skorch.exceptions import SkorchException
from skorch.utils import noop
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier, FeedForwardRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def estimator_for(target, *callbacks, **parameters):
    is_numeric = target in ("one output", "two outputs")
    kind = FeedForwardRegressor if is_numeric else FeedForwardClassifier
    return kind(**{**SMALL, "callbacks": list(callbacks), **parameters})


# --- scores -----------------------------------------------------------------------------------


@pytest.mark.matrix(4)
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("on_train", [False, True], ids=["validation", "training"])
@pytest.mark.parametrize(
    ("target", "scoring"),
    [
        ("multiclass", "accuracy"),
        ("multiclass", "f1_macro"),
        ("multiclass", "neg_log_loss"),
        ("binary", "roc_auc"),
        ("multilabel", "f1_macro"),
        ("one output", "r2"),
        ("two outputs", "neg_mean_absolute_error"),
    ],
)
def test_epoch_scoring_is_the_score_of_the_epoch(target, scoring, on_train, is_sparse):
    X, y, X_val, y_val = data(target)
    if is_sparse:
        X, X_val = scipy.sparse.csr_matrix(X), scipy.sparse.csr_matrix(X_val)
    scores = EpochScoring(scoring, on_train=on_train, lower_is_better=False)
    estimator = estimator_for(target, scores).fit(X, y, X_val=X_val, y_val=y_val)
    scored = (X, y) if on_train else (X_val, y_val)
    expected = [
        get_scorer(scoring)(estimator_for(target, max_iter=n).fit(X, y), *scored)
        for n in range(1, 5)
    ]
    actual, is_best = history(estimator, scoring, f"{scoring}_best")
    assert actual == pytest.approx(expected, rel=1e-12)
    assert len(set(actual)) > 1
    so_far = [-np.inf, *np.maximum.accumulate(actual)]
    assert is_best == [score > best for score, best in zip(actual, so_far, strict=False)]


def n_right(net, X, y):
    assert set(y) <= set(NAMES)
    return int((net.predict(X) == y).sum())


def test_epoch_scoring_by_callable_none_and_several():
    estimator = classifier(
        EpochScoring(n_right, on_train=True),
        EpochScoring(None, on_train=True),
        ("mine", EpochScoring("f1_macro", on_train=True, name="f1")),
    ).fit(X_IRIS, NAMES)
    for n_epochs, (right, score, f1) in enumerate(
        zip(*history(estimator, "n_right", "score", "f1"), strict=True), 1
    ):
        reference = classifier(max_iter=n_epochs).fit(X_IRIS, NAMES)
        assert right == (reference.predict(X_IRIS) == NAMES).sum()
        assert score == reference.score(X_IRIS, NAMES)
        assert f1 == get_scorer("f1_macro")(reference, X_IRIS, NAMES)
    assert [name for name, _ in estimator.callbacks_] == [
        "EpochScoring_1",
        "EpochScoring_2",
        "mine",
    ]


@pytest.mark.parametrize("target", ["multiclass", "multilabel", "one output"])
def test_epoch_scoring_of_the_split_is_the_validation_score(target):
    X, y, _, _ = data(target)
    scoring = "r2" if target == "one output" else "accuracy"
    estimator = estimator_for(target, EpochScoring(scoring), early_stopping=True).fit(X, y)
    np.testing.assert_allclose(history(estimator, scoring), estimator.validation_scores_)


def test_epoch_scoring_without_validation_rows_records_nothing():
    estimator = classifier(EpochScoring("accuracy")).fit(X_IRIS, NAMES)
    assert all("accuracy" not in record for record in estimator.net_.history)


@pytest.mark.parametrize("on_train", [False, True], ids=["validation", "training"])
def test_batch_scoring_of_one_batch_is_epoch_scoring(on_train):
    X, y, X_val, y_val = data("multiclass")
    estimator = classifier(
        BatchScoring("accuracy", on_train=on_train, name="by_batch"),
        EpochScoring("accuracy", on_train=on_train),
    ).fit(X, y, X_val=X_val, y_val=y_val)
    by_batch, by_epoch = history(estimator, "by_batch", "accuracy")
    assert by_batch == by_epoch


# --- skorch's other callbacks -----------------------------------------------------------------


def overfitting():
    """Return data whose validation loss rises again, because the validation labels are shuffled."""
    X, y, X_val, y_val = data("multiclass")
    return X, y, {"X_val": X_val, "y_val": np.random.RandomState(0).permutation(y_val)}


@pytest.mark.matrix
@pytest.mark.parametrize("load_best", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.Adam, OfLayers])
def test_checkpoint_saves_and_loads_the_best_epoch(tmp_path, solver, load_best):
    X, y, validation = overfitting()
    parameters = {"solver": solver, "learning_rate_init": 0.05, "max_iter": 8}
    told = []
    estimator = classifier(
        Checkpoint(dirname=str(tmp_path), load_best=load_best, sink=told.append), **parameters
    ).fit(X, y, **validation)
    n_best = int(np.argmin(estimator.validation_loss_curve_)) + 1
    assert n_best < 8
    best = classifier(**{**parameters, "max_iter": n_best}).fit(X, y)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    for i in range(2):
        np.testing.assert_array_equal(saved[f"linear{i}.weight"].T, best.coefs_[i])
        np.testing.assert_array_equal(saved[f"linear{i}.bias"], best.intercepts_[i])
    assert history(estimator, "event_cp") == history(estimator, "valid_loss_best")
    assert len(json.loads((tmp_path / "history.json").read_text())) == n_best
    groups = torch.load(tmp_path / "optimizer.pt", weights_only=False)["param_groups"]
    assert groups[0]["lr"] == 0.05
    assert (tmp_path / "criterion.pt").exists()
    assert not any("Unable to save" in line for line in told)
    last = classifier(**parameters).fit(X, y)
    assert_same_weights(estimator, best if load_best else last)
    assert estimator.loss_curve_ == last.loss_curve_
    assert history(estimator, "epoch") == list(range(1, 9))


def test_checkpoint_formats_file_names_by_epoch(tmp_path):
    names = Checkpoint(
        monitor=None, dirname=str(tmp_path), f_params="{last_epoch[epoch]}.pt", f_optimizer=None
    )
    classifier(names).fit(X_IRIS, NAMES)
    assert {path.name for path in tmp_path.glob("*.pt")} >= {"1.pt", "2.pt", "3.pt", "4.pt"}


def test_checkpoint_that_lacks_its_monitor_says_so(tmp_path):
    with pytest.raises(SkorchException, match="validation data"):
        classifier(Checkpoint(dirname=str(tmp_path))).fit(X_IRIS, NAMES)


@pytest.mark.parametrize("load_best", [False, True])
@pytest.mark.parametrize("monitor", ["valid_loss", "train_loss"])
def test_early_stopping_of_skorch_stops(monitor, load_best):
    X, y, validation = overfitting()
    parameters = {"learning_rate_init": 0.3, "max_iter": 60, "n_iter_no_change": np.inf}
    patience = 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = classifier(
            EarlyStopping(monitor, patience=patience, threshold=0, load_best=load_best, sink=noop),
            **parameters,
        ).fit(X, y, **validation)
    losses = history(estimator, monitor)
    n_best = int(np.argmin(losses)) + 1
    assert estimator.n_iter_ == len(losses) == n_best + patience < 60
    kept = n_best if load_best else estimator.n_iter_
    assert_same_weights(estimator, classifier(**{**parameters, "max_iter": kept}).fit(X, y))


POLICIES = [
    (lr_scheduler.ExponentialLR, {"gamma": 0.5}),
    (lr_scheduler.StepLR, {"step_size": 2, "gamma": 0.1}),
    (lr_scheduler.CosineAnnealingLR, {"T_max": 6}),
    (lr_scheduler.ReduceLROnPlateau, {"patience": 0, "threshold": 10.0}),
]


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.SGD, OfLayers])
@pytest.mark.parametrize(("policy", "options"), POLICIES)
def test_lr_scheduler_by_epoch_is_the_estimators_own_schedule(policy, options, solver):
    X, y, validation = overfitting()
    parameters = {"solver": solver, "max_iter": 6}
    scheduler = LRScheduler(policy, monitor="valid_loss", **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lr_scheduler")
        actual = classifier(scheduler, **parameters).fit(X, y, **validation)
    own = classifier(learning_rate=lambda optimizer: policy(optimizer, **options), **parameters)
    assert_same_weights(actual, own.fit(X, y, **validation))
    assert actual.learning_rate_curve_ == own.learning_rate_curve_
    assert len(set(actual.learning_rate_curve_)) > 1
    assert history(actual, "event_lr") == actual.learning_rate_curve_


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_lr_scheduler_by_batch_is_the_estimators_own_schedule(solver):
    parameters = {"solver": solver, "batch_size": 50, "max_iter": 6}
    scheduler = LRScheduler(
        lr_scheduler.OneCycleLR,
        step_every="batch",
        max_lr=SMALL["learning_rate_init"],
        total_steps=19,  # skorch also steps after the last batch.
        cycle_momentum=False,
    )
    rates = []
    look = at(
        "on_grad_computed", lambda net, **_: rates.append(net.optimizer_.param_groups[0]["lr"])
    )
    classifier(scheduler, look, **parameters).fit(X_IRIS, NAMES)
    np.testing.assert_allclose(rates, scheduler_rates(19)[:18])


def scheduler_rates(n_steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    rate = SMALL["learning_rate_init"]
    schedule = lr_scheduler.OneCycleLR(optimizer, rate, n_steps, cycle_momentum=False)
    rates = []
    for _ in range(n_steps - 1):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return [*rates, schedule.get_last_lr()[0]]


class Writer:
    """A stand-in for `SummaryWriter`. Like it, this class cannot be copied."""

    def __init__(self):
        self.scalars = []
        self.is_closed = False
        self.lock = threading.Lock()

    def add_scalar(self, tag, scalar_value, global_step):
        self.scalars.append((tag, scalar_value, global_step))

    def close(self):
        self.is_closed = True


def test_tensorboard_writes_the_history_to_the_users_writer():
    X, y, X_val, y_val = data("multiclass")
    writer = Writer()
    estimator = classifier(EpochScoring("accuracy"), TensorBoard(writer))
    estimator.fit(X, y, X_val=X_val, y_val=y_val)
    assert writer.is_closed
    columns = {"accuracy": "accuracy", "valid_score": "Loss/valid_score", "dur": "dur"}
    columns |= {"train_loss": "Loss/train_loss", "valid_loss": "Loss/valid_loss"}
    expected = {
        (tag, record[key], record["epoch"])
        for record in estimator.net_.history
        for key, tag in columns.items()
    }
    assert set(writer.scalars) == expected


def test_tensorboard_writes_files(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    estimator = classifier(TensorBoard(SummaryWriter(tmp_path))).fit(X_IRIS, NAMES)
    written = EventAccumulator(str(tmp_path)).Reload().Scalars("Loss/train_loss")
    assert [event.step for event in written] == [1, 2, 3, 4]
    np.testing.assert_allclose([event.value for event in written], estimator.loss_curve_, rtol=1e-6)


class CountedBar(ProgressBar):
    """A `ProgressBar` that remembers how far each of its bars has come."""

    def on_train_begin(self, net, **arguments):
        self.counts_ = []

    def on_epoch_end(self, net, **arguments):
        self.counts_.append((self.pbar_.n, self.pbar_.total))
        super().on_epoch_end(net, **arguments)


@pytest.mark.parametrize("batch_size", [50, 10])
def test_progress_bar_of_skorch_is_full_at_the_end_of_an_epoch(capsys, batch_size):
    estimator = classifier(CountedBar(), early_stopping=True, batch_size=batch_size, max_iter=2)
    estimator.fit(X_IRIS, NAMES)
    counts = estimator.callbacks_[0][1].counts_
    n_batches = -(-135 // batch_size)
    assert len(counts) == 2
    assert all(n == total > n_batches for n, total in counts)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"0/{counts[0][1]}" in captured.err


def test_print_log_prints_the_history():
    lines = []
    X, y, X_val, y_val = data("multiclass")
    # skorch puts PrintLog last, so that it sees what the others record.
    estimator = classifier(PrintLog(sink=lines.append), EpochScoring("accuracy"))
    estimator.fit(X, y, X_val=X_val, y_val=y_val)
    names = ["epoch", "accuracy", "train_loss", "valid_loss", "valid_score", "dur"]
    assert lines[0].split() == names
    assert len(lines) == 2 + 4
    assert f"{estimator.loss_curve_[-1]:.4f}" in lines[-1]
    assert [name for name, _ in estimator.callbacks_] == ["EpochScoring", "PrintLog"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "sgd"},
        {"solver": "sgd", "normalization": "layer"},
        {"solver": torch.optim.SGD},
        {"solver": OfLayers},
    ],
    ids=case,
)
def test_gradient_norm_clipping_is_max_grad_norm(parameters):
    # torch adds 1e-6 to the norm that it divides by.
    clipped = classifier(GradientNormClipping(0.05), **parameters).fit(X_IRIS, NAMES)
    expected = classifier(max_grad_norm=0.05, **parameters).fit(X_IRIS, NAMES)
    free = classifier(**parameters).fit(X_IRIS, NAMES)
    assert np.abs(expected.coefs_[0] - free.coefs_[0]).max() > 1e-3
    for a, b in zip(clipped.coefs_, expected.coefs_, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("solver", ["adam", torch.optim.Adam, OfLayers])
def test_gradients_shown_are_those_of_the_batch(solver):
    # The gradient of the last layer's biases is the mean over rows of probability minus truth.
    shown = []

    def look(net, named_parameters, batch, **_):
        X, y = batch
        gradient = dict(named_parameters)["linear1.bias"].grad
        truth = y[:, None] == net.classes_
        expected = (net.predict_proba(X) - truth).mean(0)
        shown.append((gradient.numpy().copy(), expected))

    classifier(at("on_grad_computed", look), solver=solver, batch_size=50).fit(X_IRIS, NAMES)
    assert len(shown) == 3 * 4
    for actual, expected in shown:
        np.testing.assert_allclose(actual, expected, atol=1e-12)
