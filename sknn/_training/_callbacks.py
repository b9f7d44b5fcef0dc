"""The user's skorch callbacks: checked, copied, listened to, and what remains of them."""

from __future__ import annotations

import copy
import dis
import signal
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochScoring, LRScheduler
from torch.optim.lr_scheduler import LRScheduler as TorchScheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sknn._platform._sklearn_compat import is_sklearn_callback

# What training lives on: it belongs to one fit, and is never pickled.
_OF_ONE_FIT = (torch.optim.Optimizer, TorchScheduler, ReduceLROnPlateau, NeuralNet)


def copied_callbacks(callbacks: Sequence[Any] | None) -> list[Any]:
    """Copies of the user's callbacks, as `NeuralNet` takes them.

    Raises
    ------
    TypeError
        If one is no callback of skorch.
    """
    return [_copied(item) for item in callbacks or ()]


def _copied(item: Any) -> Any:
    if isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], str):
        name, callback = item
        return name, _copied_callback(callback)
    return _copied_callback(item)


def _copied_callback(callback: Any) -> Any:
    if isinstance(callback, type) and issubclass(callback, Callback):
        try:
            return callback()
        except TypeError as error:
            raise TypeError(
                f"The 'callbacks' parameter holds the class {callback.__name__}, which cannot be"
                f" made without arguments: {error}. Give an instance."
            ) from error
    if not isinstance(callback, Callback):
        advice = "Derive it from skorch.callbacks.Callback."
        if is_sklearn_callback(callback):
            advice = "It is a callback of scikit-learn: hand it to set_callbacks(...) instead."
        raise TypeError(
            f"The 'callbacks' parameter holds {callback!r}. It must be a list of skorch callbacks:"
            f" instances, classes, or pairs of a name and a callback. {advice}"
        )
    new = copy.copy(callback)
    for name, value in vars(callback).items():
        # What a callback counts and collects is its own. What it writes to is the user's.
        if isinstance(value, list | dict | set | np.ndarray):
            vars(new)[name] = copy.copy(value)
    return new


def is_listening(callback: Callback, event: str) -> bool:
    """Whether a callback does anything at an event.

    Two of skorch's override `on_batch_end` for an option alone: EpochScoring for its cache, which
    `FeedForwardNet` leaves unused, and LRScheduler for steps by batches.
    """
    method = getattr(type(callback), event)
    if method is getattr(Callback, event):
        return False
    if method is EpochScoring.on_batch_end:
        return False
    return not (method is LRScheduler.on_batch_end and callback.step_every != "batch")


def is_raised_by_statement(error: BaseException) -> bool:
    """Whether a `raise` has raised an error, and not the arrival of a signal.

    skorch's callbacks end training by `raise KeyboardInterrupt`. A Ctrl-C interrupts whatever
    instruction is being run, or calls the user's own handler, which may raise.
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
    """Callbacks without the net, optimizer and scheduler that they have worked with."""
    for _, callback in callbacks:
        for name, value in vars(callback).items():
            if isinstance(value, _OF_ONE_FIT):
                vars(callback)[name] = None
    return callbacks
