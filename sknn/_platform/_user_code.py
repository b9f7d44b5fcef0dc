"""Errors of the user's code name the parameter that the code came from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping


class blamed_on:
    """Context that puts a name before the errors of its body, which calls code of the user.

    A built-in exception is replaced by one of its class whose message begins with the name, and is
    its cause. Exceptions of other classes may be meant for the caller, as optuna's `TrialPruned`
    is, so they pass as they are, with the message as a note (from Python 3.11 on).

    Parameters
    ----------
    where : str
        Beginning of the message, as "The 'loss' parameter", which then "raised KeyError: ...".
    advice : str, default=""
        Sentences that end the message.
    """

    def __init__(self, where: str, advice: str = "") -> None:
        self.where = where
        self.advice = advice

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, Exception):
            return
        message = self.message_of(error)
        if type(error).__module__ == "builtins":
            raise _of_same_class(error, message) from error
        if hasattr(error, "add_note"):
            error.add_note(message)

    def message_of(self, error: Exception) -> str:
        """Return the message that names where an error came from."""
        message = f"{self.where} raised {type(error).__name__}: {error}".removesuffix(": ")
        return f"{message.rstrip().rstrip('.')}. {self.advice}" if self.advice else message


def parameters_of(function: Callable) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function by name, or none if it does not tell them.

    Many functions that are written in C have no signature.
    """
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):
        return {}


def _of_same_class(error: Exception, message: str) -> Exception:
    """Return an exception of the same class, or a RuntimeError if a message does not make one.

    The attributes stay what they were, such as the number and the file name of an OSError.
    """
    try:
        new = type(error)(message)
    except TypeError:  # the class takes other arguments, as UnicodeDecodeError does
        return RuntimeError(message)
    if isinstance(error, OSError) and error.errno is not None:
        new = type(error)(error.errno, message)
    for name in ("errno", "filename", "filename2", "name", "obj", "path", "value"):
        if getattr(error, name, None) is not None:
            setattr(new, name, getattr(error, name))
    vars(new).update(vars(error))
    return new
