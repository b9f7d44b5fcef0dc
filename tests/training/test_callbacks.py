"""Callbacks see what skorch would show them, and callbacks that only look change nothing."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import scipy.sparse
import torch
from callbacks import (
    EVENTS,
    NAMES,
    SPECIES,
    X_IRIS,
    Look,
    OfLayers,
    Recorder,
    assert_same_model,
    assert_same_weights,
    at,
    classifier,
    data,
    history,
    seen,
)
from conftest import case
from sklearn.metrics import log_loss
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    Callback,
    EpochScoring,
    EpochTimer,
    Initializer,
    LRScheduler,
)
from skorch.dataset import ValidSplit
from torch.optim import lr_scheduler

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

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
        assert len(ours["batches"]) == 1  # Checkpoint uses it to format file names.


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


@pytest.mark.matrix
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_shown_are_those_learned_from(shuffle, early_stopping, is_sparse):
    # The loss that is reported for a batch is that of the rows and labels shown, computed by the
    # network before the step.
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


class LookAtBatches(Look):
    """A `Look` that also looks at every batch."""

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
    {"n_members": 3, "normalization": "batch", "dropout": 0.3},
    {"label_smoothing": 0.1, "class_weight": "balanced", "dtype": "float32"},
]


@pytest.mark.matrix(6)
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
    [
        {"normalization": "batch"},
        {"normalization": "layer", "dropout": 0.3},
        {"normalization": "batch", "n_members": 2},
    ],
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
    # The derivative of a linear model's outputs with respect to its inputs is its weights.
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
    with pytest.raises(
        ValueError, match="'callbacks' parameter .* solver='lbfgs' does not support"
    ):
        classifier(EpochTimer(), solver="lbfgs").fit(X_IRIS, NAMES)
    assert classifier(solver="lbfgs").fit(X_IRIS, NAMES).callbacks_ == []


class OfScikitLearn:
    """An object that scikit-learn accepts as a callback."""

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...
    def on_fit_task_end(self, estimator, context): ...


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("EpochScoring", r"contains 'EpochScoring'.*list of skorch callbacks"),
        (print, r"Derive it from skorch\.callbacks\.Callback"),
        (("name", 3), r"contains 3\."),
        (("name", EpochTimer(), 3), r"pairs of a name and a callback"),
        (OfScikitLearn(), r"scikit-learn callback. Pass it to set_callbacks"),
        (OfScikitLearn, r"scikit-learn callback. Pass it to set_callbacks"),
        (("name", OfScikitLearn()), r"Pass it to set_callbacks"),
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
    with pytest.raises(TypeError, match="'callbacks' .* class Needy, .* Pass an instance"):
        classifier(Needy).fit(X_IRIS, NAMES)
