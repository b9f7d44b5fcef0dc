"""Check, copy and call the user's skorch callbacks, and keep them after training."""

from __future__ import annotations

import copy
import dis
import signal
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochScoring, EpochTimer, LRScheduler
from torch.optim.lr_scheduler import LRScheduler as TorchScheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sknn._platform._sklearn_compat import is_sklearn_callback
from sknn._platform._user_code import blamed_on
from sknn._training._fitted_names import without_durations

# Objects of these classes belong to one fit and are never pickled.
_OF_ONE_FIT = (torch.optim.Optimizer, TorchScheduler, ReduceLROnPlateau, NeuralNet)


def copied_callbacks(callbacks: Sequence[Any] | None) -> list[Any]:
    """Return copies of the user's callbacks in the form that `NeuralNet` takes.

    Raises
    ------
    TypeError
        If one of them is not a skorch callback.
    """
    return [_copied(item) for item in callbacks or ()]


def _copied(item: Any) -> Any:
    if isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], str):
        name, callback = item
        return name, _copied_callback(callback)
    return _copied_callback(item)


def _copied_callback(callback: Any) -> Any:
    if isinstance(callback, type) and issubclass(callback, Callback):
        where = f"The 'callbacks' parameter contains the class {callback.__name__}, which"
        with blamed_on(where):
            try:
                return callback()
            except TypeError as error:
                failure = error
        raise TypeError(
            f"{where} cannot be created without arguments: {failure}. Pass an instance."
        ) from failure
    if not isinstance(callback, Callback):
        advice = "Derive it from skorch.callbacks.Callback."
        if is_sklearn_callback(callback):
            advice = "It is a scikit-learn callback. Pass it to set_callbacks(...) instead."
        raise TypeError(
            f"The 'callbacks' parameter contains {callback!r}. It must be a list of skorch"
            f" callbacks: instances, classes, or pairs of a name and a callback. {advice}"
        )
    new = copy.copy(callback)
    for name, value in vars(callback).items():
        # The copy counts and collects in containers of its own. Objects that a callback writes to
        # stay those of the user.
        if isinstance(value, list | dict | set | np.ndarray):
            vars(new)[name] = copy.copy(value)
    return new


def is_listening(callback: Callback, event: str) -> bool:
    """Return whether a callback does anything at an event.

    Two of skorch's callbacks override `on_batch_end` for the sake of one option: EpochScoring for
    its cache, which `FeedForwardNet` does not use, and LRScheduler for steps by batches.
    """
    method = getattr(type(callback), event)
    if method is getattr(Callback, event):
        return False
    if method is EpochScoring.on_batch_end:
        return False
    return not (method is LRScheduler.on_batch_end and callback.step_every != "batch")


def is_raised_by_statement(error: BaseException) -> bool:
    """Return whether an error was raised by a `raise` statement and not by a signal.

    skorch's callbacks end training with `raise KeyboardInterrupt`. A Ctrl-C interrupts whatever
    instruction is running, or calls the user's own handler, which may raise.
    """
    handler = getattr(signal.getsignal(signal.SIGINT), "__code__", None)
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
        if traceback.tb_frame.f_code is handler:
            return False
    operation = traceback.tb_frame.f_code.co_code[traceback.tb_lasti]
    return dis.opname[operation] == "RAISE_VARARGS"


def without_training_state(callbacks: list[tuple[str, Callback]]) -> list[tuple[str, Callback]]:
    """Remove the nets, optimizers and schedulers that callbacks hold, and return the callbacks."""
    for _, callback in callbacks:
        for name, value in vars(callback).items():
            if isinstance(value, _OF_ONE_FIT):
                vars(callback)[name] = None
    return callbacks


def without_clocks(callbacks: list[tuple[str, Callback]]) -> list[tuple[str, Callback]]:
    """Return copies of callbacks without the times that skorch has measured.

    They are the start of an epoch in skorch's EpochTimer, and the durations of epochs in a history,
    or a list of its records, that a callback has kept.
    """
    copies = []
    for name, callback in callbacks:
        new = copy.copy(callback)
        for key, value in vars(new).items():
            if isinstance(value, list) and all(isinstance(record, dict) for record in value):
                vars(new)[key] = type(value)(without_durations(value))
        if isinstance(new, EpochTimer):
            new.epoch_start_time_ = None
        copies.append((name, new))
    return copies
