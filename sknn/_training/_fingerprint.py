"""The name of a training, made from its data, its parameters and its starting point.

Two trainings with the same name end with the same model, so that one can go on where the other has
stopped. Values enter the name by their content and not by their identity, so that a new process
finds the same name. Functions enter it by their code, so that a changed function changes the name.
"""

from __future__ import annotations

import copyreg
import hashlib
import json
import sys
import types
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
import scipy.sparse
import torch

from sknn._platform._version import __version__
from sknn._training._problem import Model, Problem

# Number of rows that are copied at once from an array that is not contiguous.
ROWS_AT_ONCE = 1000
# Parameters that do not change what is learned.
_NOT_OF_THE_MODEL = ("checkpoint_dir", "checkpoint_every", "process_group", "verbose")
# Classes and functions of these packages enter the name by their own names, because the versions
# say what they do. All others enter it by their code.
_LIBRARIES = {"numpy", "scipy", "sklearn", "skorch", "sknn", "torch", *sys.stdlib_module_names}


def fingerprint(problem: Problem, start: Model, parameters: Mapping[str, Any], device: str) -> str:
    """Return the name of a training, which has 40 hexadecimal digits.

    Parameters
    ----------
    problem : Problem
        The data and the loss.
    start : Model
        The starting point, without its history, which holds times.
    parameters : mapping of str to object
        The estimator's parameters by name. A callback counts with its class and with those of its
        attributes that are numbers, strings, or lists and dicts of them.
    device : str
        The device of the training.

    Raises
    ------
    ValueError
        If the name cannot depend on a parameter, because its value cannot be pickled.
    """
    data = problem.validation
    parts: dict[str, Any] = {
        "versions": [__version__, torch.__version__, np.__version__],
        "device": device,
        "rows": [problem.X, problem.y, problem.labels, problem.sample_weight],
        # The row numbers describe a split: training uses all other rows, in an order from the seed.
        "validation": data if data is None or data.rows is None else data.rows,
        "start": [start.coefs, start.intercepts, start.modules, vars(start.progress)],
    }
    described = {name: _Description().of(value) for name, value in parts.items()}
    for name, value in parameters.items():
        if name == "callbacks":
            described[name] = _of_callbacks(value)
        elif name not in _NOT_OF_THE_MODEL:
            described[f"parameter {name}"] = _of_parameter(name, value)
    text = json.dumps(described, sort_keys=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _of_parameter(name: str, value: Any) -> Any:
    if _is_constant(value):
        # No code of the user runs, so only a signal can raise here. Its exception is not ours.
        return _Description().of(value)
    try:
        return _Description().of(value)
    except Exception as error:  # pickling an object of the user may raise anything
        raise ValueError(
            f"The '{name}' parameter is {value!r}. With checkpoint_dir, a later process must be"
            f" able to recognize the same value, but this is not possible here: {error}. Pass a"
            " function or class that is defined in a module, without open files and similar"
            " objects, or leave checkpoint_dir at None."
        ) from error


def _of_callbacks(callbacks: Any) -> Any:
    """Describe callbacks by classes and plain attributes; other attributes may change in use."""
    described: list[int] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, list | tuple):
            return ["list", *map(plain, value)]
        if isinstance(value, dict):
            return ["dict", *([str(k), plain(v)] for k, v in value.items())]
        kind = value if isinstance(value, type) else type(value)
        is_new = hasattr(value, "on_epoch_end") and id(value) not in described
        described.append(id(value))
        attributes = getattr(value, "__dict__", {}) if is_new else {}
        return [kind.__module__, kind.__qualname__, *(plain(i) for i in sorted(attributes.items()))]

    return plain(callbacks)


class _Description:
    """A translation of values to JSON that gives equal results for equal values."""

    def __init__(self) -> None:
        self._open: list[int] = []  # ids of the values that contain the current one

    def of(self, value: Any) -> Any:
        """Return the description of a value."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if id(value) in self._open:
            return ["again", len(self._open) - self._open.index(id(value))]
        self._open.append(id(value))
        try:
            return [type(value).__name__, *self._parts(value)]
        finally:
            self._open.pop()

    def _parts(self, value: Any) -> list[Any]:
        if isinstance(value, np.generic):
            return [value.item() if value.dtype.kind in "biufU" else repr(value)]
        if isinstance(value, np.ndarray):
            # Contiguous memory is not copied, and a memory map is read only once.
            flags = value.flags
            if flags.c_contiguous or flags.f_contiguous or value.dtype.hasobject:
                return [joblib.hash(value, hash_name="sha1")]
            digest = hashlib.sha1(str((value.dtype, value.shape)).encode(), usedforsecurity=False)
            for start in range(0, len(value), ROWS_AT_ONCE):
                digest.update(np.ascontiguousarray(value[start : start + ROWS_AT_ONCE]))
            return [digest.hexdigest()]
        if scipy.sparse.issparse(value):
            value = value.tocsr()
            return self._all([value.shape, value.data, value.indices, value.indptr])
        if isinstance(value, torch.Tensor):
            return self._all([value.detach().cpu().numpy()])
        if isinstance(value, dict):
            return sorted(([self.of(k), self.of(v)] for k, v in value.items()), key=json.dumps)
        if isinstance(value, set | frozenset):
            return sorted(self._all(value), key=json.dumps)
        if isinstance(value, list | tuple):
            return self._all(value)
        if isinstance(value, bytes):
            return [value.hex()]
        if isinstance(value, types.ModuleType):
            return [value.__name__]
        if isinstance(value, types.CodeType):
            numbers = value.co_argcount, value.co_kwonlyargcount, value.co_flags
            return self._all([value.co_code, value.co_consts, value.co_names, numbers])
        if isinstance(value, types.FunctionType | type):
            name = [value.__module__, value.__qualname__]
            return name if _is_of_a_library(value) else [*name, *self._all(_content_of(value))]
        if isinstance(value, staticmethod | classmethod):
            return self._all([value.__func__])
        if isinstance(value, property):
            return self._all([value.fget])
        # Anything else is described as pickle would rebuild it: by a global name, or by a function
        # with its arguments.
        known = copyreg.dispatch_table.get(type(value))
        reduced = value.__reduce_ex__(4) if known is None else known(value)
        if isinstance(reduced, str):
            return [getattr(value, "__module__", None), reduced]
        make, arguments, *more = reduced
        state, items, pairs = (more + [None] * 3)[:3]
        return self._all([make, arguments, state, list(items or ()), dict(pairs or ())])

    def _all(self, values: Any) -> list[Any]:
        return [self.of(value) for value in values]


def _is_of_a_library(value: Any) -> bool:
    module = value.__module__ or ""
    return module.partition(".")[0] in _LIBRARIES and "<" not in value.__qualname__


def _content_of(value: types.FunctionType | type) -> list[Any]:
    """Return the parts that describe a function or a class.

    They are the code and the bound values of a function, and the bases, methods and constants of a
    class.
    """
    if isinstance(value, type):
        kinds = (types.FunctionType, staticmethod, classmethod, property)
        inside = {k: v for k, v in vars(value).items() if isinstance(v, kinds) or _is_constant(v)}
        del inside["__module__"]
        inside.pop("__firstlineno__", None)  # It exists since Python 3.13.
        return [value.__bases__, inside]
    cells = []
    for cell in value.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # the cell is empty
            cells.append(None)
    there = value.__globals__
    constants = {n: there[n] for n in value.__code__.co_names if _is_constant(there.get(n, value))}
    return [value.__code__, value.__defaults__, value.__kwdefaults__, cells, constants]


def _is_constant(value: Any) -> bool:
    """Return whether a value is a number, a string, or a tuple of them.

    Lists do not count, because code may collect values in them.
    """
    if isinstance(value, tuple | frozenset):
        return all(map(_is_constant, value))
    return value is None or isinstance(value, bool | int | float | complex | str | bytes)
