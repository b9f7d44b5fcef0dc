"""skorch's callbacks: they work unchanged, on copies, and those that only look change nothing."""

from __future__ import annotations

import copy
import io
import json
import pickle
import signal
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse
import skorch
import torch
from conftest import TARGETS, assert_bit_equal, case
from sklearn.base import clone
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    Initializer,
    LRScheduler,
    PrintLog,
    ProgressBar,
    TensorBoard,
)
from skorch.dataset import ValidSplit
from skorch.exceptions import SkorchException
from skorch.utils import noop
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._steps import ClosedFormStep

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, SPECIES = TARGETS["multiclass"]
NAMES = np.array(["virginica", "setosa", "versicolor"])[SPECIES]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "learning_rate_init": 0.02, "random_state": 0}
EVENTS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_grad_computed",
    "on_batch_end",
    "on_epoch_end",
    "on_train_end",
)


class OfLayers(torch.optim.SGD):
    """Unknown to the estimators, so that it is given the tensors of the layers."""


def classifier(*callbacks, **parameters):
    return FeedForwardClassifier(**{**SMALL, "callbacks": list(callbacks), **parameters})


def data(target):
    """Rows and targets to learn from, and others."""
    X, y = TARGETS[target]
    if target == "binary":
        y = np.array(["malignant", "benign"])[y]
    elif target == "multiclass":
        y = NAMES
    return X[::2], y[::2], X[1::2], y[1::2]


def estimator_for(target, *callbacks, **parameters):
    is_numeric = target in ("one output", "two outputs")
    kind = FeedForwardRegressor if is_numeric else FeedForwardClassifier
    return kind(**{**SMALL, "callbacks": list(callbacks), **parameters})


def at(event, action):
    """A callback that acts at one event."""

    class Acting(Callback):
        pass

    setattr(Acting, event, lambda self, net, **arguments: action(net, **arguments))
    return Acting()


class Recorder(Callback):
    """Writes down all events, and what comes with them."""

    def initialize(self):
        self.events_ = []
        return self


def _record(event):
    def listen(self, net, **arguments):
        self.events_.append((event, arguments))

    return listen


for _event in EVENTS:
    setattr(Recorder, _event, _record(_event))


def seen(estimator):
    """What the first callback of a fitted estimator, a `Recorder`, has written down."""
    return estimator.callbacks_[0][1].events_


def history(estimator, *keys):
    """Columns of the training history, as lists."""
    columns = [estimator.net_.history[:, key] for key in keys]
    return columns if len(keys) > 1 else columns[0]


def assert_same_model(left, right):
    """Assert that two estimators are equal bit by bit, whatever callbacks they hold."""
    left, right = copy.copy(left), copy.copy(right)
    for estimator in (left, right):
        vars(estimator).pop("callbacks_")
    assert_bit_equal(left, right)


def attributes(estimator):
    """Which objects an estimator holds."""
    return {name: id(value) for name, value in vars(estimator).items()}


def assert_same_weights(left, right):
    for a, b in zip(
        (*left.coefs_, *left.intercepts_), (*right.coefs_, *right.intercepts_), strict=True
    ):
        np.testing.assert_array_equal(a, b)


# --- scores -----------------------------------------------------------------------------------


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


# --- what callbacks are shown -----------------------------------------------------------------


def test_events_are_those_of_skorch():
    theirs = NeuralNetClassifier(
        torch.nn.Linear(4, 3),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=2,
        batch_size=60,
        train_split=ValidSplit(10),
        callbacks=[("recorder", Recorder())],
        verbose=0,
    ).fit(X_IRIS.astype(np.float32), SPECIES)
    ours = classifier(Recorder(), max_iter=2, batch_size=60, early_stopping=True)
    ours.fit(X_IRIS, NAMES)
    expected = dict(theirs.callbacks_)["recorder"].events_
    assert [(event, sorted(arguments)) for event, arguments in seen(ours)] == [
        (event, sorted(arguments)) for event, arguments in expected
    ]


@pytest.mark.parametrize("listens", [False, True], ids=["epochs", "batches"])
def test_history_has_the_keys_of_skorch(listens):
    recorded = []
    look = at("on_epoch_end", lambda net, **_: recorded.append(copy.deepcopy(net.history[-1])))
    others = [Recorder] if listens else []
    NeuralNetClassifier(
        torch.nn.Linear(4, 3),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=1,
        batch_size=60,
        train_split=ValidSplit(10),
        callbacks=[*others, look],
        verbose=0,
    ).fit(X_IRIS.astype(np.float32), SPECIES)
    classifier(*others, look, max_iter=1, batch_size=60, early_stopping=True).fit(X_IRIS, NAMES)
    theirs, ours = recorded
    optional = {"valid_acc", "valid_acc_best", "train_batch_count", "valid_batch_count"}
    assert set(theirs) - optional == set(ours) - {"valid_score", "valid_score_best"}
    if listens:
        assert [set(batch) for batch in ours["batches"]] == [set(b) for b in theirs["batches"]]
    else:
        assert len(ours["batches"]) == 1  # what Checkpoint formats its file names with


@pytest.mark.parametrize("listens", [False, True], ids=["epochs", "batches"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_history_losses_are_the_curves(early_stopping, listens):
    X, y, X_val, y_val = data("multiclass")
    callbacks = [Recorder()] if listens else [EpochScoring("accuracy")]
    estimator = classifier(
        *callbacks, early_stopping=early_stopping, learning_rate_init=0.3, max_iter=8
    ).fit(X, y, X_val=X_val, y_val=y_val)
    for name, curve in (
        ("train_loss", estimator.loss_curve_),
        ("valid_loss", estimator.validation_loss_curve_),
    ):
        losses, is_best = history(estimator, name, f"{name}_best")
        assert losses == curve
        so_far = [np.inf, *np.minimum.accumulate(curve)]
        assert is_best == [loss < best for loss, best in zip(curve, so_far, strict=False)]
        assert False in is_best
    assert history(estimator, "valid_score") == estimator.validation_scores_
    assert history(estimator, "epoch") == list(range(1, 9))
    assert all(duration > 0 for duration in history(estimator, "dur"))
    assert all(record["batches"] == [] for record in estimator.net_.history)


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_shown_are_those_learned_from(shuffle, early_stopping, is_sparse):
    # The loss that comes with a batch is that of the rows and labels shown, by the network before
    # the step.
    X = scipy.sparse.csr_matrix(X_IRIS) if is_sparse else X_IRIS
    losses, shown, alpha = [], [], 0.3

    def expect(net, batch, training, **_):
        X_batch, y_batch = batch
        assert set(y_batch) <= set(NAMES)
        shown.append((training, scipy.sparse.csr_matrix(X_batch).toarray(), y_batch))
        loss = log_loss(y_batch, net.predict_proba(X_batch), labels=net.classes_)
        if training:
            weights = [
                p.detach().numpy() for n, p in net.module_.named_parameters() if "weight" in n
            ]
            loss += 0.5 * alpha * sum((w**2).sum() for w in weights) / len(y_batch)
        losses.append([loss])

    estimator = classifier(
        at("on_batch_begin", expect),
        at("on_batch_end", lambda net, loss, **_: losses[-1].append(loss)),
        shuffle=shuffle,
        early_stopping=early_stopping,
        alpha=alpha,
        batch_size=40,
        max_iter=2,
    ).fit(X, NAMES)
    expected, actual = zip(*losses, strict=True)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
    half = shown[: len(shown) // 2]
    rows = np.vstack([rows for _, rows, _ in half])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(X_IRIS, axis=0))
    sizes = [len(labels) for training, _, labels in half if training]
    first = np.average(actual[: len(sizes)], weights=sizes)
    assert first == pytest.approx(estimator.loss_curve_[0])


@pytest.mark.parametrize("given", ["split", "X_val"])
def test_data_sets_shown_are_the_rows_and_labels_of_the_user(given):
    X, y, X_val, y_val = data("multiclass")
    estimator = classifier(Recorder(), early_stopping=True, max_iter=1)
    validation = {"X_val": X_val, "y_val": y_val} if given == "X_val" else {}
    estimator.fit(X, y, **validation)
    arguments = dict(seen(estimator))
    np.testing.assert_array_equal(arguments["on_train_begin"]["y"], y)
    training, held_out = (
        [dataset[i] for i in range(len(dataset))]
        for dataset in (
            arguments["on_epoch_end"]["dataset_train"],
            arguments["on_epoch_end"]["dataset_valid"],
        )
    )
    all_rows, all_labels = (np.vstack([X, X_val]), np.r_[y, y_val]) if validation else (X, y)
    pairs = {(*row, label) for row, label in zip(all_rows, all_labels, strict=True)}
    assert {(*row, label) for row, label in training + held_out} == pairs
    assert len(training) + len(held_out) == len(all_labels)
    assert len(held_out) == (len(y_val) if validation else 8)


def test_net_predicts_what_the_estimator_will():
    predictions = []

    def look(net, **_):
        predictions.append((net.predict(X_IRIS), net.predict_proba(X_IRIS), net.classes_))

    classifier(at("on_epoch_end", look)).fit(X_IRIS, NAMES)
    for n_epochs, (labels, probabilities, classes) in enumerate(predictions, 1):
        reference = classifier(max_iter=n_epochs).fit(X_IRIS, NAMES)
        np.testing.assert_array_equal(labels, reference.predict(X_IRIS))
        np.testing.assert_array_equal(probabilities, reference.predict_proba(X_IRIS))
        np.testing.assert_array_equal(classes, reference.classes_)


def test_net_forward_gives_the_raw_outputs():
    raw = []
    look = at("on_epoch_end", lambda net, **_: raw.append(net.forward(X_IRIS)))
    estimator = classifier(look, max_iter=2).fit(X_IRIS, NAMES)
    probabilities = torch.softmax(raw[-1], 1).numpy()
    np.testing.assert_allclose(probabilities, estimator.predict_proba(X_IRIS), rtol=1e-10)


def test_what_callbacks_record_is_in_the_history():
    estimator = classifier(
        at("on_epoch_end", lambda net, **_: net.history.record("event_half", len(net.history) / 2))
    ).fit(X_IRIS, NAMES)
    assert history(estimator, "event_half") == [0.5, 1.0, 1.5, 2.0]


def test_what_callbacks_write_into_the_module_is_the_model():
    def write(net, **_):
        with torch.no_grad():
            net.module_.linear1.bias.fill_(7.0)

    estimator = classifier(
        Initializer("linear0.weight", fn=torch.nn.init.zeros_),
        at("on_epoch_end", write),
        learning_rate_init=1e-300,
    ).fit(X_IRIS, NAMES)
    assert np.abs(estimator.coefs_[0]).max() < 1e-200
    assert (estimator.intercepts_[1] == 7).all()


# --- callbacks that only look -----------------------------------------------------------------


class Look(Callback):
    """Looks at everything, and keeps nothing."""

    def _look(self, net, **arguments):
        net.predict(X_IRIS)
        net.predict_proba(X_IRIS[:3])
        net.score(X_IRIS, NAMES)
        net.get_params()
        net.history.to_list()
        net.module_.state_dict()
        net.optimizer_.state_dict()

    on_train_begin = on_epoch_begin = on_epoch_end = on_train_end = _look


class LookAtBatches(Look):
    """The same at every batch."""

    on_batch_begin = on_grad_computed = on_batch_end = Look._look


LOOKED_AT = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
    {"solver": "adamw", "learning_rate": "one_cycle"},
    {"solver": torch.optim.RMSprop},
    {"solver": OfLayers, "learning_rate": partial(lr_scheduler.ExponentialLR, gamma=0.5)},
    {"dropout": 0.3, "input_dropout": 0.1, "max_grad_norm": 0.5},
    {"normalization": "batch", "dropout": 0.3},
    {"activation": torch.nn.PReLU},
    {"label_smoothing": 0.1, "class_weight": "balanced", "dtype": "float32"},
]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("callback", [Look, LookAtBatches])
@pytest.mark.parametrize("parameters", LOOKED_AT, ids=case)
def test_callbacks_that_look_change_nothing(parameters, callback, early_stopping):
    parameters = {"early_stopping": early_stopping, "batch_size": 60, "max_iter": 3, **parameters}
    plain = classifier(**parameters).fit(X_IRIS, NAMES)
    assert_same_model(classifier(callback(), **parameters).fit(X_IRIS, NAMES), plain)


@pytest.mark.parametrize("look", ["forward", "module_.eval"])
@pytest.mark.parametrize(
    "parameters",
    [{"normalization": "batch"}, {"normalization": "layer", "dropout": 0.3}],
    ids=case,
)
def test_evaluating_the_module_leaves_the_next_epoch_in_training_mode(parameters, look):
    # skorch sets the mode of the module before each step, so its callbacks need not put it back.
    def evaluate(net, **_):
        if look == "forward":
            net.forward(X_IRIS)
        else:
            net.module_.eval()

    plain = classifier(**parameters).fit(X_IRIS, NAMES)
    looked = classifier(at("on_epoch_end", evaluate), **parameters).fit(X_IRIS, NAMES)
    assert_same_model(looked, plain)


@pytest.mark.parametrize(
    "parameters",
    [{"solver": "adam"}, {"solver": torch.optim.Adam}, {"solver": OfLayers}, {"loss": "focal"}],
    ids=case,
)
def test_callbacks_can_differentiate(parameters):
    # The derivative of a linear model's outputs by its inputs is its weights.
    derivatives = []

    def differentiate(net, **_):
        rows = torch.from_numpy(X_IRIS[:2]).requires_grad_()
        net.module_(rows)[:, 1].sum().backward()
        weight = net.module_.linear0.weight.detach().numpy()
        derivatives.append((rows.grad.numpy(), weight[1].copy()))

    parameters = {"hidden_layer_sizes": (), **parameters}
    plain = classifier(**parameters).fit(X_IRIS, NAMES)
    looked = classifier(at("on_epoch_end", differentiate), **parameters).fit(X_IRIS, NAMES)
    assert_same_model(looked, plain)
    assert len(derivatives) == 4
    for by_rows, weights in derivatives:
        np.testing.assert_allclose(by_rows, [weights, weights])


# --- skorch's own -----------------------------------------------------------------------------


def overfitting():
    """Validation rows whose loss rises again: their labels are shuffled."""
    X, y, X_val, y_val = data("multiclass")
    return X, y, {"X_val": X_val, "y_val": np.random.RandomState(0).permutation(y_val)}


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
        total_steps=19,  # skorch steps after the last batch, too
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
    """Stands for a `SummaryWriter`: it cannot be copied."""

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
    """Remembers how far each bar has come."""

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
    # Of the last layer's biases: the mean over rows of probability minus truth.
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


# --- copies -----------------------------------------------------------------------------------


class Collecting(Callback):
    """Fills a list that it is given."""

    def __init__(self, losses):
        self.losses = losses

    def on_epoch_end(self, net, **arguments):
        self.losses.append(net.history[-1, "train_loss"])


def test_callbacks_are_copied_and_the_originals_untouched():
    originals = [
        Collecting([]),
        EpochScoring("accuracy", on_train=True),
        EarlyStopping("train_loss"),
    ]
    before = [copy.deepcopy(vars(callback)) for callback in originals]
    estimator = classifier(*originals)
    for _ in range(2):
        estimator.fit(X_IRIS, NAMES)
        (_, collecting), (_, scoring), _ = estimator.callbacks_
        assert collecting.losses == estimator.loss_curve_
        assert scoring.best_score_ < np.inf
    assert [vars(callback) for callback in originals] == before
    assert all(
        given is original for given, original in zip(estimator.callbacks, originals, strict=True)
    )
    assert not any(
        fitted is original for (_, fitted) in estimator.callbacks_ for original in originals
    )


class Lines:
    """Takes lines, and could be copied."""

    def __init__(self):
        self.taken = []

    def take(self, line):
        self.taken.append(line)


def test_what_callbacks_write_to_is_the_users_own():
    # A copy of a stream or a log would take what is written, and nobody would read it.
    stream, lines = io.BytesIO(), Lines()
    other = {"f_optimizer": None, "f_criterion": None, "f_history": None}
    estimator = classifier(
        Checkpoint("train_loss_best", f_params=stream, **other),
        PrintLog(sink=lines.take),
        max_iter=1,
    ).fit(X_IRIS, NAMES)
    assert len(lines.taken) == 3
    stream.seek(0)
    saved = torch.load(stream, weights_only=True)
    np.testing.assert_array_equal(saved["linear0.weight"].T, estimator.coefs_[0])


def test_callbacks_may_be_instances_classes_and_pairs():
    estimator = classifier(
        EpochTimer,
        EpochTimer(),
        ("first", EpochTimer),
        ("second", EpochScoring("accuracy", on_train=True)),
    ).fit(X_IRIS, NAMES)
    assert [(name, type(callback)) for name, callback in estimator.callbacks_] == [
        ("EpochTimer_1", EpochTimer),
        ("EpochTimer_2", EpochTimer),
        ("first", EpochTimer),
        ("second", EpochScoring),
    ]
    tuples = FeedForwardClassifier(callbacks=(Recorder(),), **SMALL).fit(X_IRIS, NAMES)
    assert seen(tuples)


@pytest.mark.parametrize("callbacks", [None, []])
def test_without_callbacks_the_list_of_fitted_ones_is_empty(callbacks):
    assert classifier(callbacks=callbacks).fit(X_IRIS, NAMES).callbacks_ == []


class Keeping(Callback):
    """Keeps what it has worked with."""

    def on_train_begin(self, net, **arguments):
        self.net_, self.optimizer_, self.loss_ = net, net.optimizer_, 1.5


ALL_KINDS = (
    EpochScoring("accuracy", on_train=True),
    ("stop", EarlyStopping("train_loss", load_best=True, sink=noop)),
    LRScheduler(lr_scheduler.ReduceLROnPlateau, monitor="train_loss"),
    LRScheduler("StepLR", step_size=1, gamma=0.9, step_every="batch"),
    ProgressBar(),
    GradientNormClipping(1.0),
    Keeping(),
)


class Walker(pickle.Pickler):
    """Notes the kinds of all objects that go into a pickle."""

    def __init__(self):
        self.stream = io.BytesIO()
        super().__init__(self.stream)
        self.found = []

    def persistent_id(self, value):
        self.found.append(value)


def test_pickle_of_a_fitted_estimator_holds_callbacks_but_nothing_of_torch():
    estimator = classifier(*ALL_KINDS).fit(X_IRIS, NAMES)
    walker = Walker()
    walker.dump(estimator)
    of_training = (
        torch.Tensor,
        torch.nn.Module,
        torch.optim.Optimizer,
        lr_scheduler.LRScheduler,
        lr_scheduler.ReduceLROnPlateau,
        skorch.NeuralNet,
    )
    assert not [value for value in walker.found if isinstance(value, of_training)]
    loaded = pickle.loads(walker.stream.getvalue())
    np.testing.assert_array_equal(loaded.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))
    names = [name for name, _ in estimator.callbacks_]
    assert [name for name, _ in loaded.callbacks_] == names
    assert loaded.callbacks_[0][1].best_score_ == estimator.callbacks_[0][1].best_score_
    assert loaded.callbacks_[-1][1].loss_ == 1.5
    assert_same_weights(loaded.fit(X_IRIS, NAMES), estimator)


def test_clone_set_params_and_repr():
    estimator = classifier(*ALL_KINDS).fit(X_IRIS, NAMES)
    cloned = clone(estimator)
    assert not hasattr(cloned, "callbacks_")
    assert cloned.callbacks[0] is not estimator.callbacks[0]
    assert cloned.callbacks[0].get_params() == estimator.callbacks[0].get_params()
    assert not hasattr(cloned.callbacks[0], "scoring_")
    assert_same_weights(cloned.fit(X_IRIS, NAMES), estimator)
    assert "EpochScoring" in repr(estimator)
    replaced = cloned.set_params(callbacks=[("only", Recorder())])
    assert [name for name, _ in replaced.fit(X_IRIS, NAMES).callbacks_] == ["only"]


@pytest.mark.long
def test_grid_search_in_processes_is_that_in_one():
    def search(n_jobs):
        scores = EpochScoring("accuracy", on_train=True, lower_is_better=False)
        estimator = classifier(scores, EarlyStopping("train_loss"))
        grid = {"learning_rate_init": [1e-4, 0.05]}
        return GridSearchCV(estimator, grid, cv=3, n_jobs=n_jobs).fit(X_IRIS, NAMES)

    here, elsewhere = search(1), search(2)
    np.testing.assert_array_equal(
        here.cv_results_["mean_test_score"], elsewhere.cv_results_["mean_test_score"]
    )
    assert_same_model(here.best_estimator_, elsewhere.best_estimator_)
    best = pickle.loads(pickle.dumps(elsewhere)).best_estimator_
    assert best.callbacks_[0][1].best_score_ == max(history(best, "accuracy"))


# --- stops, interrupts, errors ----------------------------------------------------------------


def stop(net, **_):
    """End training as skorch's callbacks do, in the third epoch."""
    if len(net.history) == 3:
        raise KeyboardInterrupt


def interrupt(net, **_):
    """The user's Ctrl-C in the third epoch."""
    if len(net.history) == 3:
        signal.raise_signal(signal.SIGINT)


SCHEDULES = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"solver": "adam", "learning_rate": partial(lr_scheduler.ExponentialLR, gamma=0.5)},
    {"solver": "adamw", "learning_rate": "cosine", "early_stopping": True},
]


@pytest.mark.parametrize("parameters", SCHEDULES, ids=case)
def test_stop_at_the_end_of_an_epoch_keeps_it(parameters):
    # Whole: with the rate that the next epoch would have.
    horizon = {"max_iter": 3} if parameters.get("learning_rate") != "cosine" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped = classifier(at("on_epoch_end", stop), **parameters).fit(X_IRIS, NAMES)
    assert stopped.n_iter_ == len(stopped.loss_curve_) == len(stopped.net_.history) == 3
    if horizon:
        finished = classifier(**parameters, **horizon).fit(X_IRIS, NAMES)
        assert_same_model(stopped, finished)


@pytest.mark.parametrize(
    "event", ["on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end"]
)
def test_stop_amid_an_epoch_leaves_that_one_out(event):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped = classifier(at(event, stop), batch_size=50).fit(X_IRIS, NAMES)
    assert stopped.n_iter_ == len(stopped.loss_curve_) == len(stopped.net_.history) == 2
    assert_same_model(stopped, classifier(batch_size=50, max_iter=2).fit(X_IRIS, NAMES))


@pytest.mark.parametrize("event", ["on_train_begin", "on_train_end"])
def test_keyboard_interrupt_outside_the_epochs_goes_through(event):
    # As in skorch; what ends epochs inside has no meaning there.
    def raise_it(net, **_):
        raise KeyboardInterrupt

    estimator = classifier().fit(X_IRIS, NAMES).set_params(callbacks=[at(event, raise_it)])
    before = attributes(estimator)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X_IRIS, NAMES)
    assert attributes(estimator) == before


@pytest.mark.parametrize(
    "event",
    ["on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end", "on_epoch_end"],
)
def test_ctrl_c_in_a_callback_is_an_interrupt(event):
    with pytest.warns(UserWarning, match="^Training interrupted by user.$") as caught:
        interrupted = classifier(at(event, interrupt), batch_size=50).fit(X_IRIS, NAMES)
    assert len(caught) == 1
    assert_same_model(interrupted, classifier(batch_size=50, max_iter=2).fit(X_IRIS, NAMES))


def scored_under_ctrl_c(net, X, y):
    interrupt(net)
    return 0.0


def test_ctrl_c_in_a_scorer_is_an_interrupt():
    with pytest.warns(UserWarning, match="interrupted"):
        interrupted = classifier(EpochScoring(scored_under_ctrl_c, on_train=True))
        interrupted.fit(X_IRIS, NAMES)
    assert interrupted.n_iter_ == 2


@pytest.mark.parametrize("callback", [Recorder, Look])
def test_ctrl_c_in_a_step_is_an_interrupt(monkeypatch, callback):
    step, calls = ClosedFormStep.__call__, []

    def interrupted_step(self, *arguments):
        calls.append(None)
        if len(calls) == 2 * 3 + 2:
            signal.raise_signal(signal.SIGINT)
        step(self, *arguments)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted"):
        patch.setattr(ClosedFormStep, "__call__", interrupted_step)
        interrupted = classifier(callback(), batch_size=50).fit(X_IRIS, NAMES)
    assert_same_model(interrupted, classifier(batch_size=50, max_iter=2).fit(X_IRIS, NAMES))


@pytest.mark.parametrize("event", EVENTS)
def test_error_in_a_callback_leaves_the_fitted_model(event):
    def fail(net, **_):
        raise LookupError("broken")

    estimator = classifier(Recorder()).fit(X_IRIS, NAMES)
    estimator.set_params(callbacks=[at(event, fail)], warm_start=True)
    before, coefs = attributes(estimator), copy.deepcopy(estimator.coefs_)
    with pytest.raises(LookupError, match="broken"):
        estimator.fit(X_IRIS, NAMES)
    assert attributes(estimator) == before
    np.testing.assert_array_equal(estimator.coefs_[0], coefs[0])


# --- other ways to fit ------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.Adam])
def test_partial_fit_tells_callbacks_of_one_epoch(solver):
    estimator = classifier(Recorder(), EpochScoring("accuracy", on_train=True), solver=solver)
    plain = classifier(solver=solver)
    for n_calls in range(1, 4):
        for each in (estimator, plain):
            each.partial_fit(X_IRIS, NAMES, classes=np.unique(NAMES))
        events = [event for event, _ in seen(estimator)]
        assert events == list(EVENTS)  # one batch
        assert len(history(estimator, "accuracy")) == n_calls
        assert history(estimator, "accuracy")[-1] == estimator.score(X_IRIS, NAMES)
    assert_same_weights(estimator, plain)
    assert estimator.loss_curve_ == plain.loss_curve_


def test_partial_fit_goes_on_with_the_rate_that_a_callback_has_left():
    scheduler = LRScheduler(lr_scheduler.ExponentialLR, gamma=0.5)
    estimator = classifier(scheduler)
    for _ in range(4):
        estimator.partial_fit(X_IRIS, NAMES, classes=np.unique(NAMES))
    expected = classifier(scheduler).fit(X_IRIS, NAMES).learning_rate_curve_
    assert estimator.learning_rate_curve_ == pytest.approx(expected)
    assert expected == [0.02, 0.01, 0.005, 0.0025]


def test_warm_start_tells_callbacks_of_each_fit_anew():
    estimator = classifier(Recorder(), EpochScoring("accuracy", on_train=True), warm_start=True)
    plain = classifier(warm_start=True)
    for _ in range(2):
        for each in (estimator, plain):
            each.fit(X_IRIS, NAMES)
        assert [event for event, _ in seen(estimator)].count("on_epoch_end") == 4
    assert history(estimator, "epoch") == list(range(1, 9))
    assert len(history(estimator, "accuracy")) == 8
    assert_same_weights(estimator, plain)


def test_callbacks_with_lbfgs_are_an_error_that_names_them():
    with pytest.raises(ValueError, match="'callbacks' parameter .* solver='lbfgs' cannot"):
        classifier(EpochTimer(), solver="lbfgs").fit(X_IRIS, NAMES)
    assert classifier(solver="lbfgs").fit(X_IRIS, NAMES).callbacks_ == []


class OfScikitLearn:
    """What scikit-learn takes for a callback."""

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...
    def on_fit_task_end(self, estimator, context): ...


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("EpochScoring", r"holds 'EpochScoring'.*list of skorch callbacks"),
        (print, r"Derive it from skorch\.callbacks\.Callback"),
        (("name", 3), r"holds 3\."),
        (("name", EpochTimer(), 3), r"pairs of a name and a callback"),
        (OfScikitLearn(), r"callback of scikit-learn: hand it to set_callbacks"),
        (OfScikitLearn, r"callback of scikit-learn: hand it to set_callbacks"),
        (("name", OfScikitLearn()), r"hand it to set_callbacks"),
    ],
    ids=case,
)
def test_what_is_no_skorch_callback_is_an_error_that_names_the_right_door(callback, message):
    with pytest.raises(TypeError, match=rf"(?s)'callbacks' parameter.*{message}"):
        classifier(EpochTimer(), callback).fit(X_IRIS, NAMES)


@pytest.mark.parametrize("callbacks", [EpochTimer(), "EpochTimer", {"name": EpochTimer()}])
def test_callbacks_that_are_no_list_are_an_error(callbacks):
    with pytest.raises(ValueError, match="'callbacks' parameter of FeedForwardClassifier must be"):
        classifier(callbacks=callbacks).fit(X_IRIS, NAMES)


class Needy(Callback):
    def __init__(self, path):
        self.path = path


def test_class_of_a_callback_that_needs_arguments_is_an_error_that_names_it():
    with pytest.raises(TypeError, match="'callbacks' .* class Needy, .* Give an instance"):
        classifier(Needy).fit(X_IRIS, NAMES)
