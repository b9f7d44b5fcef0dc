"""Save estimators in files that hold no code, and load them.

`FORMAT` is the one number that says how the document of `_document` is to be read. A new parameter
does not raise the number: an older file lacks the parameter, which then has its default. If
anything else is renamed, added or given another meaning,

1. raise `FORMAT`;
2. add a function to `UPGRADES`, under the old number, that takes a document of that number and
   returns one of the next, so that files of all numbers can still be read;
3. make new fixtures for this release (tests/old_files/make.py), and keep the old ones.

The layout of the file itself (`_files/_container.py`) must stay the same, because every version
recognizes files of a newer one by it.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable
from importlib.metadata import version
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import make_constraint, validate_parameter_constraints

from sknn._exports import _saved_attributes
from sknn._files import _container
from sknn._files._plain_values import Allowance, Codec, Kind, records_of, table_of
from sknn._input._periodic_embedding import PeriodicEmbedding
from sknn._network._solver_options import state_names
from sknn._platform._version import __version__
from sknn._training._fitted_names import with_later_names

FORMAT = 2


def _of_version_0_1(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of format 1 in format 2."""
    attributes = document.get("attributes")
    if type(attributes) is dict:
        attributes = with_later_names(attributes)
    return {**document, "attributes": attributes, "format": 2}


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _of_version_0_1}

# A file does not keep the directory, a place on one machine, to which a later fit would write.
_NOT_KEPT = {"checkpoint_dir": None}
_KEYS = {"format", "class", "parameters", "attributes", "requests", "versions"}
_METHODS = ("fit", "partial_fit", "score")
_LIBRARIES = ("scikit-learn", "numpy", "torch")
# Objects made from a file may take up to `_TIMES` times its size, and `_AND` bytes more.
_TIMES, _AND = 8.5, 2**22


def _plain_generator(generator: np.random.RandomState) -> dict[str, Any]:
    state = generator.get_state(legacy=False)
    if type(generator) is not np.random.RandomState or state["bit_generator"] != "MT19937":
        raise TypeError(f"{generator!r}, which is not of the usual kind, MT19937")
    return {
        "key": state["state"]["key"],
        "pos": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }


def _generator(state: Any) -> np.random.RandomState:
    key, pos, has_gauss, gauss = (state[k] for k in ("key", "pos", "has_gauss", "gauss"))
    is_sound = type(key) is np.ndarray and (key.dtype, key.shape) == (np.uint32, (624,))
    is_sound = is_sound and (type(pos), type(has_gauss), type(gauss)) == (int, int, float)
    # NumPy does not check these values, and would read beyond the end of the key.
    if not is_sound or not 0 <= pos <= 624 or has_gauss not in (0, 1) or len(state) != 4:
        raise ValueError("the state of a RandomState is unsound")
    generator = np.random.RandomState(0)
    generator.set_state(("MT19937", key, pos, has_gauss, gauss))
    return generator


def _embedding(parameters: dict[str, Any]) -> PeriodicEmbedding:
    if type(parameters) is not dict:
        raise ValueError("the parameters of a PeriodicEmbedding are not a dict")
    embedding = PeriodicEmbedding(**parameters)
    embedding._validate_params()
    return embedding


_codec = Codec(
    RandomState=Kind(np.random.RandomState, _plain_generator, _generator),
    PeriodicEmbedding=Kind(PeriodicEmbedding, PeriodicEmbedding.get_params, _embedding),
)


def save(estimator: BaseEstimator, path: str | os.PathLike) -> None:
    """Save an estimator in a file."""
    kind = type(estimator)
    # A subclass inherits the name, but would be loaded as the class that has it.
    if "_name_in_files" not in vars(kind):
        raise ValueError(
            f"{kind.__qualname__} of {kind.__module__} cannot be saved: a file can only contain"
            " a FeedForwardClassifier or a FeedForwardRegressor. Use pickle or joblib instead, and"
            " load such a file only if you trust its source."
        )
    document, arrays = _document(estimator)
    pieces = _container.pack(document, arrays)
    with _container.replacing(path) as file:
        for piece in pieces:
            file.write(piece)


def load(path: str | os.PathLike, kinds: dict[str, type[BaseEstimator]]) -> BaseEstimator:
    """Return the estimator that a file holds, of one of the classes in `kinds`, by name."""
    try:
        return _estimator(_container.read(path), kinds)
    except ValueError as error:
        raise ValueError(
            f"{os.fsdecode(path)} cannot be loaded: {str(error).rstrip('.'):.1000}. It must be"
            " an unmodified file that was written by the save method of an estimator, with this"
            " version of sknn or an older one. Get a new copy of the file, or save the estimator"
            " again."
        ) from error


def _document(estimator: BaseEstimator) -> tuple[dict[str, Any], list[tuple[str, np.ndarray]]]:
    """Return the document and the arrays that a file holds for an estimator.

    Raises
    ------
    ValueError
        If something cannot be saved. The message names all of it.
    """
    arrays: list[np.ndarray] = []
    names: list[str] = []
    refused: list[str] = []

    def encoded(name: str, value: Any, what: str) -> Any:
        try:
            tree = _codec.encode(value, arrays)
            for i, array in enumerate(arrays[len(names) :]):
                _container.stored(array)
                names.append(f"{name}.{i}")
            return tree
        except TypeError as error:
            refused.append(f"the {what} {name!r} contains {error}")
            names.extend([""] * (len(arrays) - len(names)))
        except RecursionError:
            refused.append(f"the {what} {name!r} is nested too deeply, or contains itself")

    parameters = estimator.get_params(deep=False)
    attributes = {k: v for k, v in estimator.__getstate__().items() if k not in parameters}
    parameters.update(_NOT_KEPT)
    if not isinstance(parameters["process_group"], str):
        parameters["process_group"] = None
    trees = {name: encoded(name, value, "parameter") for name, value in parameters.items()}
    is_classifier = not estimator._numeric_targets
    known = (*_saved_attributes.allowed(is_classifier), *_saved_attributes.NOT_AS_THEY_ARE)
    for name, value in attributes.items():
        if name == "_skl_callbacks":
            kinds = ", ".join(type(callback).__name__ for callback in value)
            refused.append(f"scikit-learn callbacks were set with set_callbacks ({kinds})")
        elif name not in known:
            refused.append(f"the attribute {name!r} does not belong to this package")
    plain = _plain_attributes(attributes)
    attribute_trees = {
        name: encoded(name, value, "attribute")
        for name, value in plain.items()
        if name in known and name not in _saved_attributes.NOT_AS_THEY_ARE
    }
    if refused:
        raise ValueError(
            f"This {type(estimator).__name__} cannot be saved in a file without code:"
            f" {'; '.join(refused)}. Only numbers, strings, None, arrays, instances of"
            " numpy.random.RandomState, and lists, tuples and dicts of them can be saved. Before"
            " you save the estimator, set its parameters to such values with set_params, remove"
            " callbacks with set_callbacks(), and delete your own attributes. Alternatively, use"
            " pickle or joblib, and load such a file only if you trust its source."
        )
    try:
        _saved_attributes.check({**plain, "_history": []} if plain else {}, is_classifier)
    except ValueError as error:
        raise ValueError(f"This {type(estimator).__name__} cannot be saved: {error}.") from error
    document = {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "parameters": trees,
        "attributes": attribute_trees,
        "requests": _requests(attributes.get("_metadata_request")),
        "versions": _versions(),
    }
    validate_parameter_constraints(
        estimator._parameter_constraints, parameters, type(estimator).__name__
    )
    _check_parameters(type(estimator), parameters)
    return document, list(zip(names, arrays, strict=True))


def _plain_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a pickle in the form in which a file holds them."""
    plain = {k: v for k, v in attributes.items() if k not in _saved_attributes.NOT_AS_THEY_ARE}
    if "_history" in plain:
        plain["_history"] = table_of(plain["_history"])
    solver = plain.get("_solver_state")
    if isinstance(solver, dict) and {"name", "numbers"} <= set(solver):
        # The states of a scheduler and an optimizer of torch belong to objects that are not saved.
        known = state_names(solver["name"])
        numbers = {k: v for k, v in solver["numbers"].items() if k in known}
        kept = {**solver, "numbers": numbers, "scheduler": None}
        plain["_solver_state"] = kept if known else {}
    return plain


def _versions() -> dict[str, str]:
    """Return the versions of this package and of the libraries that a model depends on."""
    return {"sknn": __version__, **{name: version(name) for name in _LIBRARIES}}


def _requests(requests: Any) -> dict[str, dict[str, Any]]:
    """Return what `set_fit_request` and the like have set, by method and argument."""
    if requests is None:
        return {}
    return {m: dict(getattr(requests, m).requests) for m in _METHODS if hasattr(requests, m)}


def _check_parameters(kind: type[BaseEstimator], parameters: dict[str, Any]) -> None:
    if parameters["callbacks"]:
        raise ValueError(
            f"The 'callbacks' parameter of {kind.__name__} is"
            f" {reprlib.repr(parameters['callbacks'])}, but a file cannot contain callbacks. Set"
            " it to None."
        )
    weights = parameters.get("class_weight")
    for weight in weights if isinstance(weights, list) else [weights]:
        if isinstance(weight, dict) and not all(isinstance(w, Real) for w in weight.values()):
            raise ValueError(
                f"The 'class_weight' parameter of {kind.__name__} contains {reprlib.repr(weight)},"
                " whose values must be numbers."
            )


def _check_constraints(kind: type[BaseEstimator], parameters: dict[str, Any]) -> None:
    """Check parameters as scikit-learn does, with a message that shortens a large value."""
    for name, value in parameters.items():
        constraints = kind._parameter_constraints[name]
        if not any(make_constraint(c).is_satisfied_by(value) for c in constraints):
            raise ValueError(f"its parameter {name!r} cannot be {reprlib.repr(value)}")


def _estimator(
    contents: _container.Contents, kinds: dict[str, type[BaseEstimator]]
) -> BaseEstimator:
    """Return the estimator that a file describes.

    Raises
    ------
    ValueError
        If the file describes no sound estimator.
    """
    document = _upgraded(contents.document)
    if set(document) != _KEYS:
        raise ValueError(f"its document has the keys {reprlib.repr(sorted(document))}, not {_KEYS}")
    for key in ("parameters", "attributes", "requests", "versions"):
        if type(document[key]) is not dict:
            raise ValueError(f"the {key} in its document are not a JSON object")
    name = document["class"]
    if type(name) is not str or name not in kinds:
        raise ValueError(f"it is of a class {reprlib.repr(name)}, not one of {', '.join(kinds)}")
    kind = kinds[name]
    unknown = set(document["parameters"]) - set(kind._parameter_constraints)
    if unknown:
        raise ValueError(
            f"it has parameters that this version of sknn does not know,"
            f" {reprlib.repr(sorted(unknown))}. Upgrade sknn"
        )
    allowance = Allowance(_TIMES * contents.n_bytes + _AND)
    sections = {key: document[key] for key in ("parameters", "attributes")}
    parts = _codec.decode(sections, contents.arrays, allowance)
    parameters, attributes = parts["parameters"], parts["attributes"]
    if type(parameters) is not dict or type(attributes) is not dict:
        raise ValueError("its parameters or attributes are not a dict")
    parameters.update(_NOT_KEPT)
    estimator = kind(**parameters)
    try:
        _check_constraints(kind, vars(estimator))
        _check_parameters(kind, vars(estimator))
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a parameter is unsound ({error})") from error
    if attributes:
        if "_history" in attributes:
            attributes["_history"] = records_of(attributes["_history"], allowance)
        _saved_attributes.check(attributes, not kind._numeric_targets)
        attributes["callbacks_"] = []
        # As with a pickle, this makes the binarizer, and replaces a device that is absent by 'cpu'.
        estimator.__setstate__({**vars(estimator), **attributes})
    _set_requests(estimator, document["requests"])
    return estimator


def _upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of any older format as one of the current format."""
    number = document.get("format")
    if type(number) is not int or number < 1:
        raise ValueError(f"its format is {reprlib.repr(number)}, not a number from 1 on")
    if number > FORMAT:
        raise ValueError(
            f"its format is {number}, but this version of sknn only reads formats up to {FORMAT}."
            f" The file was written by a newer version ({reprlib.repr(document.get('versions'))})."
            " Upgrade sknn"
        )
    while document["format"] < FORMAT:
        document = UPGRADES[document["format"]](document)
    return document


def _set_requests(estimator: BaseEstimator, requests: dict[str, Any]) -> None:
    if not requests:
        return
    there = estimator._get_metadata_request()
    for method, wanted in requests.items():
        if method not in _METHODS or type(wanted) is not dict:
            raise ValueError(
                f"its requests of metadata for {reprlib.repr(method)} are unknown or not a dict"
            )
        own = getattr(there, method)
        for argument, alias in wanted.items():
            if argument not in own.requests:
                raise ValueError(f"{method} has no argument {reprlib.repr(argument)}")
            if not (alias is None or type(alias) in (bool, str)):
                given = reprlib.repr(alias)
                raise ValueError(f"the request of {argument!r} is {given}, not a bool or string")
            own.add_request(param=argument, alias=alias)
    estimator._metadata_request = there
