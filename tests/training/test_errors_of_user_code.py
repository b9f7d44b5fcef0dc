"""An error of code that the user gave names the parameter, and keeps the original as its cause."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TARGETS, fitted_state
from skorch.callbacks import Callback
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = TARGETS["binary"]
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}


class Pruned(Exception):
    """An exception that a callback raises for the caller of `fit`, as those of optuna do."""


def failing(event, error):
    """Return a skorch callback that raises an error at an event."""

    def method(self, *args, **kwargs):
        raise error

    return type("Failing", (Callback,), {event: method})()


def fails(*args, **kwargs):
    raise KeyError("broken")


class FailingModule(torch.nn.Module):
    forward = fails


class Uncopied(torch.nn.Module):
    __deepcopy__ = fails


class InPlace(torch.nn.Module):
    def forward(self, x):
        return x.exp().mul_(2).exp_().add_(1).sqrt_() if x.requires_grad else x


class FailingInit(torch.optim.SGD):
    def __init__(self, parameters, lr):
        fails()


class FailingStep(torch.optim.SGD):
    step = fails


class FailingSchedule(lr_scheduler.LRScheduler):
    def __init__(self, optimizer):
        self.optimizer = optimizer

    step = fails


def in_place_loss(raw, y):
    error = torch.sigmoid(raw)
    values = (error * error).sum(1)
    error.add_(1)
    return values


BROKEN = [
    ({"loss": fails}, "'loss' parameter is a callable that raised KeyError: 'broken'"),
    ({"loss": in_place_loss}, "Code of the 'loss' parameter raised RuntimeError: .*inplace"),
    ({"activation": fails}, "'activation' parameter contains a callable, .* raised KeyError"),
    ({"activation": FailingModule}, "'activation' parameter makes FailingModule, whose forward"),
    ({"activation": Uncopied}, "'activation' parameter makes Uncopied, whose copy raised KeyError"),
    ({"activation": InPlace}, "makes InPlace, whose derivative raised RuntimeError: .*inplace"),
    ({"solver": FailingInit}, "'solver' parameter is FailingInit, which raised KeyError: 'broken'"),
    ({"solver": FailingStep}, "'solver' parameter is FailingStep, whose step raised KeyError"),
    ({"learning_rate": fails}, "'learning_rate' parameter is a callable that raised KeyError"),
    (
        {"learning_rate": FailingSchedule},
        "'learning_rate' .* made a FailingSchedule, whose step",
    ),
    *(
        (
            {"callbacks": [failing(event, KeyError("broken"))]},
            f"'callbacks' parameter contains a Failing, whose {event} raised KeyError: 'broken'",
        )
        for event in (
            *("on_train_begin", "on_epoch_begin", "on_batch_begin", "on_grad_computed"),
            *("on_batch_end", "on_epoch_end", "on_train_end"),
        )
    ),
    (
        {"callbacks": [failing("initialize", KeyError("broken"))]},
        "'callbacks' parameter raised Key",
    ),
    ({"callbacks": [type("Made", (Callback,), {"__init__": fails})]}, "'callbacks' .* class Made"),
]


@pytest.mark.parametrize(
    ("parameters", "message"), BROKEN, ids=[f"{list(p)[0]}-{i}" for i, (p, _) in enumerate(BROKEN)]
)
def test_error_names_the_parameter_keeps_its_cause_and_changes_nothing(parameters, message):
    clf = FeedForwardClassifier(**SMALL).fit(X, Y)
    before = fitted_state(clf)
    with pytest.raises(Exception, match=message) as info:
        clf.set_params(**parameters).fit(X, Y)
    cause = info.value.__cause__
    assert cause is not None and str(cause) in str(info.value)
    assert repr(fitted_state(clf)) == repr(before)


@pytest.mark.matrix(2)
@pytest.mark.parametrize("event", ["on_epoch_end", "on_batch_end", "on_train_begin"])
def test_exception_that_a_callback_raises_for_the_caller_passes(event):
    error = Pruned("epoch 1")
    with pytest.raises(Pruned) as info:
        FeedForwardClassifier(**SMALL, callbacks=[failing(event, error)]).fit(X, Y)
    assert info.value is error


def test_predict_names_the_module_of_the_user_too():
    class Later(torch.nn.Module):
        def forward(self, x):
            return x if len(x) > 1 else fails()

    clf = FeedForwardClassifier(**SMALL, activation=Later).fit(X, Y)
    with pytest.raises(KeyError, match="'activation' parameter makes .*Later"):
        clf.predict(X[:1])
    assert np.isin(clf.predict(X), Y).all()
