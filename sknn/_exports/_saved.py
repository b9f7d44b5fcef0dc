"""An estimator as a file that runs no code, and back.

`FORMAT` is the one number that says how the document of `_document` is to be read. A new parameter
does not raise it: where an older file has none, it has its default. Anything else that is renamed,
added or given another meaning does:

1. raise `FORMAT`;
2. add to `UPGRADES`, under the number before, a function that takes a document of that number and
   returns one of the next, so that files of all numbers can still be read;
3. make new fixtures for this release (tests/old_files/make.py), and keep the old ones.

The layout of the file itself (`_files`) must stay: by it, any version tells files of a newer one.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable
from importlib.metadata import version
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._param_validation import make_constraint, validate_parameter_constraints

from sknn._exports import _attributes
from sknn._files import _container
from sknn._files._plain import Allowance, Codec, Kind, records_of, table_of
from sknn._input import _targets

if TYPE_CHECKING:
    from sknn._base import BaseFeedForward

FORMAT = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

# A place on a machine, which a later fit would write to.
_NOT_KEPT = {"checkpoint_dir": None}
_KEYS = {"format", "class", "parameters", "attributes", "requests", "versions"}
_LIBRARIES = ("scikit-learn", "numpy", "torch")
# What is made of a file may take so many times its size, and so many bytes more.
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
    # NumPy would read behind the key.
    if not is_sound or not 0 <= pos <= 624 or has_gauss not in (0, 1) or len(state) != 4:
        raise ValueError("the state of a RandomState is unsound")
    generator = np.random.RandomState(0)
    generator.set_state(("MT19937", key, pos, has_gauss, gauss))
    return generator


_codec = Codec(RandomState=Kind(np.random.RandomState, _plain_generator, _generator))


def _classes() -> dict[str, type[BaseFeedForward]]:
    from sknn._classifier import FeedForwardClassifier
    from sknn._regressor import FeedForwardRegressor

    return {kind.__name__: kind for kind in (FeedForwardClassifier, FeedForwardRegressor)}


def save(estimator: BaseFeedForward, path: str | os.PathLike) -> None:
    """The work of `BaseFeedForward.save`."""
    kind = type(estimator)
    if kind not in _classes().values():
        raise ValueError(
            f"{kind.__qualname__} of {kind.__module__} cannot be saved: a file names one of"
            f" {', '.join(_classes())}, and no class of others. Use pickle or joblib, whose files"
            " only those may load who trust their maker."
        )
    document, arrays = _document(estimator)
    pieces = _container.pack(document, arrays)
    with _container.replacing(path) as file:
        for piece in pieces:
            file.write(piece)


def load(path: str | os.PathLike) -> BaseFeedForward:
    """Load an estimator from a file that its `save` has made.

    Nothing in the file is run, whoever made it: it holds numbers, strings and arrays, which are
    checked. See docs/persistence.md.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    FeedForwardClassifier or FeedForwardRegressor
        As it was when it was saved, except that `checkpoint_dir` is None and `callbacks_` is empty,
        and that `device_` is 'cpu' if the device is absent.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is cut off, damaged, of a newer version, or no file of this package.

    See Also
    --------
    FeedForwardClassifier.save : Make such a file.
    FeedForwardRegressor.save : Make such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> import sknn
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = sknn.FeedForwardClassifier(max_iter=1000, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "iris.safetensors")
    ...     clf.save(path)
    ...     loaded = sknn.load(path)
    >>> bool((loaded.predict_proba(X) == clf.predict_proba(X)).all())
    True

    .. versionadded:: 0.1
    """
    try:
        return _estimator(_container.read(path))
    except ValueError as error:
        raise ValueError(
            f"{os.fsdecode(path)} cannot be loaded: {str(error).rstrip('.'):.1000}. It must be"
            " a file that an estimator's save has made, with this version of sknn or an older one,"
            " and that nobody has changed. Get it anew from where it was made, or save the"
            " estimator again."
        ) from error


def _document(estimator: BaseFeedForward) -> tuple[dict[str, Any], list[tuple[str, np.ndarray]]]:
    """What of an estimator goes into a file.

    Raises
    ------
    ValueError
        If something cannot be saved; it names all of it.
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
            refused.append(f"the {what} {name!r} holds {error}")
            names.extend([""] * (len(arrays) - len(names)))
        except RecursionError:
            refused.append(f"the {what} {name!r} is nested too deeply, or holds itself")

    parameters = estimator.get_params(deep=False)
    attributes = {k: v for k, v in vars(estimator).items() if k not in parameters}
    parameters.update(_NOT_KEPT)
    if not isinstance(parameters["process_group"], str):
        parameters["process_group"] = None
    trees = {name: encoded(name, value, "parameter") for name, value in parameters.items()}
    is_classifier = not estimator._numeric_targets
    known = (*_attributes.allowed(is_classifier), *_attributes.NOT_AS_THEY_ARE)
    for name, value in attributes.items():
        if name == "_skl_callbacks":
            kinds = ", ".join(type(callback).__name__ for callback in value)
            refused.append(f"set_callbacks has set callbacks of scikit-learn ({kinds})")
        elif name not in known:
            refused.append(f"the attribute {name!r} is not one of its own")
    plain = _plain_attributes(attributes)
    attribute_trees = {
        name: encoded(name, value, "attribute")
        for name, value in plain.items()
        if name in known and name not in _attributes.NOT_AS_THEY_ARE
    }
    if refused:
        raise ValueError(
            f"This {type(estimator).__name__} cannot be saved in a file that runs no code:"
            f" {'; '.join(refused)}. Allowed are numbers, strings, None, arrays, instances of"
            " numpy.random.RandomState, and lists, tuples and dicts of them. Set parameters to such"
            " values by set_params, set no callbacks by set_callbacks(), delete attributes of your"
            " own, and save then; or use pickle or joblib, whose files only those may load who"
            " trust their maker."
        )
    try:
        _attributes.check({**plain, "_history": []} if plain else {}, is_classifier)
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
    """Attributes as a file holds them."""
    plain = {k: v for k, v in attributes.items() if k not in _attributes.NOT_AS_THEY_ARE}
    if "_history" in plain:
        plain["_history"] = table_of(plain["_history"])
    if "_label_binarizer" in plain:
        plain["_label_binarizer"] = _targets.plain_binarizer(plain["_label_binarizer"])
    solver = plain.get("_solver_state")
    if isinstance(solver, dict) and {"name", "numbers"} <= set(solver):
        # What a scheduler and an optimizer of torch remember goes with an object that is not saved.
        known = _attributes.numbers_of(solver["name"])
        numbers = {k: v for k, v in solver["numbers"].items() if k in known}
        kept = {**solver, "numbers": numbers, "scheduler": None}
        plain["_solver_state"] = kept if known else {}
    return plain


def _versions() -> dict[str, str]:
    import sknn

    return {"sknn": sknn.__version__, **{name: version(name) for name in _LIBRARIES}}


def _requests(requests: Any) -> dict[str, dict[str, Any]]:
    """What `set_fit_request` and the like have set, by method and argument."""
    if requests is None:
        return {}
    methods = ("fit", "partial_fit", "score")
    return {m: dict(getattr(requests, m).requests) for m in methods if hasattr(requests, m)}


def _check_parameters(kind: type[BaseFeedForward], parameters: dict[str, Any]) -> None:
    if parameters["callbacks"]:
        raise ValueError(
            f"The 'callbacks' parameter of {kind.__name__} is"
            f" {reprlib.repr(parameters['callbacks'])}, and a file holds no callbacks. Set it"
            " to None."
        )
    weights = parameters.get("class_weight")
    for weight in weights if isinstance(weights, list) else [weights]:
        if isinstance(weight, dict) and not all(isinstance(w, Real) for w in weight.values()):
            raise ValueError(
                f"The 'class_weight' parameter of {kind.__name__} holds {reprlib.repr(weight)},"
                " whose values must be numbers."
            )


def _check_constraints(kind: type[BaseFeedForward], parameters: dict[str, Any]) -> None:
    """As scikit-learn does, whose message would hold all of a value, however large."""
    for name, value in parameters.items():
        constraints = kind._parameter_constraints[name]
        if not any(make_constraint(c).is_satisfied_by(value) for c in constraints):
            raise ValueError(f"its parameter {name!r} cannot be {reprlib.repr(value)}")


def _estimator(contents: _container.Contents) -> BaseFeedForward:
    """The estimator that a file describes.

    Raises
    ------
    ValueError
        If it describes none.
    """
    document = _upgraded(contents.document)
    if set(document) != _KEYS:
        raise ValueError(f"its document has the keys {reprlib.repr(sorted(document))}, not {_KEYS}")
    for key in ("parameters", "attributes", "requests", "versions"):
        if type(document[key]) is not dict:
            raise ValueError(f"the {key} in its document are none")
    kinds = _classes()
    name = document["class"]
    if type(name) is not str or name not in kinds:
        raise ValueError(f"it is of a class {reprlib.repr(name)}, not one of {', '.join(kinds)}")
    kind = kinds[name]
    unknown = set(document["parameters"]) - set(kind._parameter_constraints)
    if unknown:
        raise ValueError(
            f"it has parameters that this version of sknn does not know,"
            f" {reprlib.repr(sorted(unknown))}: upgrade sknn"
        )
    allowance = Allowance(_TIMES * contents.n_bytes + _AND)
    sections = {key: document[key] for key in ("parameters", "attributes")}
    parts = _codec.decode(sections, contents.arrays, allowance)
    parameters, attributes = parts["parameters"], parts["attributes"]
    if type(parameters) is not dict or type(attributes) is not dict:
        raise ValueError("its parameters or attributes are none")
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
        _attributes.check(attributes, not kind._numeric_targets)
        attributes["callbacks_"] = []
        # As from a pickle: the binarizer is made, and a device that is absent is the CPU.
        estimator.__setstate__({**vars(estimator), **attributes})
    _set_requests(estimator, document["requests"])
    return estimator


def _upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """A document of this version."""
    number = document.get("format")
    if type(number) is not int or number < 1:
        raise ValueError(f"its format is {reprlib.repr(number)}, which is none")
    if number > FORMAT:
        raise ValueError(
            f"its format is {number}, and this version of sknn reads those up to {FORMAT}: it was"
            f" made by a newer one ({reprlib.repr(document.get('versions'))}); upgrade sknn"
        )
    while document["format"] < FORMAT:
        document = UPGRADES[document["format"]](document)
    return document


def _set_requests(estimator: BaseFeedForward, requests: dict[str, Any]) -> None:
    if not requests:
        return
    there = estimator._get_metadata_request()
    for method, wanted in requests.items():
        if method not in ("fit", "partial_fit", "score") or type(wanted) is not dict:
            raise ValueError(f"requests of metadata for {reprlib.repr(method)} are not known")
        own = getattr(there, method)
        for argument, alias in wanted.items():
            if argument not in own.requests:
                raise ValueError(f"{method} has no argument {reprlib.repr(argument)}")
            if not (alias is None or type(alias) in (bool, str)):
                raise ValueError(f"the request of {argument!r} is {reprlib.repr(alias)}")
            own.add_request(param=argument, alias=alias)
    estimator._metadata_request = there
