"""Encode plain values as JSON and a list of arrays, and decode them without running any code.

Numbers, strings, None, lists, tuples, dicts and arrays are decoded to equal values of the same
types, including NumPy's numbers and the order of a dict. In JSON, an object whose only key begins
with `$` stands for a value that JSON cannot express. An array is written as its place in the list.
A long list of scalars becomes a column, which consists of arrays too, so that a curve takes eight
bytes for each epoch.

The encoded values may come from a stranger. Anything that differs from what `Codec.encode` writes
is a `ValueError`. Each array is handed out once. The memory of objects made from arrays is counted
against an allowance before they are made.

`canonical` prepares plain values for pickle.
"""

from __future__ import annotations

import re
import reprlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

# The types of arrays. joblib's load(..., mmap_mode="r") leaves arrays that are maps of a file.
ARRAYS = (np.ndarray, np.memmap)
# A list of at least this number of scalars becomes a column.
MIN_COLUMN = 16
_INT64 = range(-(2**63), 2**63)
_INTEGER = re.compile(r"-?[0-9]{1,40}", re.ASCII)
_DICTS = {kind.__name__: kind for kind in (dict, Counter, OrderedDict)}
# The dtypes of arrays for lists whose numbers have one type. All take eight bytes a number, even
# where one would do, so that a file is not small beside the objects made from it.
_COLUMNS = {
    "bool": (bool, "<i8"),
    "int": (int, "<i8"),
    "float": (float, "<f8"),
    "numpy.bool": (np.bool_, "<i8"),
    **{
        f"numpy.{kind.__name__}": (kind, dtype)
        for dtype, kinds in (
            ("<i8", (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32)),
            ("<f8", (np.float16, np.float32, np.float64)),
        )
        for kind in kinds
    },
}


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{reprlib.repr(text)} is not an integer of up to 40 digits")
    return int(text)


def _truth(text: str) -> bool:
    return ("False", "True").index(text) == 1


def _integer_of(kind: type) -> Callable[[str], Any]:
    def of(text: str) -> Any:
        value, limits = _integer(text), np.iinfo(kind)
        if not limits.min <= value <= limits.max:
            raise ValueError(f"{value} is out of the range of {kind.__name__}")
        return kind(value)

    return of


def _float_of(kind: type) -> Callable[[str], Any]:
    def of(text: str) -> Any:
        with np.errstate(over="ignore"):
            return kind(float(text))

    return of


class _Scalar(NamedTuple):
    """A type of scalars, with functions that convert a scalar to text and text to a scalar."""

    kind: type
    text: Callable[[Any], str]
    value: Callable[[str], Any]


# Files hold places in this table, so new types must be added at the end.
_SCALARS = (
    _Scalar(type(None), lambda _: "", lambda _: None),
    _Scalar(bool, str, _truth),
    _Scalar(int, str, _integer),
    _Scalar(float, repr, float),
    _Scalar(str, str, str),
    _Scalar(np.bool_, lambda v: str(bool(v)), lambda text: np.bool_(_truth(text))),
    _Scalar(np.str_, str, np.str_),
    *(
        _Scalar(kind, lambda v: str(int(v)), _integer_of(kind))
        for kind in (
            *(np.int8, np.int16, np.int32, np.int64),
            *(np.uint8, np.uint16, np.uint32, np.uint64),
        )
    ),
    *(
        _Scalar(kind, lambda v: repr(float(v)), _float_of(kind))
        for kind in (np.float16, np.float32, np.float64)
    ),
)
_PLACES = {scalar.kind: place for place, scalar in enumerate(_SCALARS)}
# Upper bounds of the bytes of a scalar made from text, not counting the text: for Python's scalars
# (which take at least 49, and a place in a list), and for NumPy's.
_SIZE, _NUMPY_SIZE, _FIRST_OF_NUMPY = 64, 160, _PLACES[np.bool_]


class Allowance:
    """The number of bytes that objects made from a file may still take."""

    def __init__(self, n_bytes: float = np.inf) -> None:
        self.n_bytes = n_bytes

    def take(self, n_bytes: float) -> None:
        """Subtract the bytes of objects that are about to be made.

        Raises
        ------
        ValueError
            If the objects take more than is left.
        """
        self.n_bytes -= n_bytes
        if self.n_bytes < 0:
            raise ValueError("it would take many times its size in memory")


class Kind(NamedTuple):
    """A type whose objects are saved as plain values.

    Attributes
    ----------
    type : type
        The type of the objects.
    plain : callable
        Function that converts an object to a plain value. It raises TypeError for an object that
        cannot be saved.
    make : callable
        Function that converts the plain value to an object. It raises ValueError for a value that
        stands for no object.
    """

    type: type
    plain: Callable[[Any], Any]
    make: Callable[[Any], Any]


class Codec:
    """Encoder and decoder of values.

    Parameters
    ----------
    **kinds : Kind
        Types that are allowed beside plain values, by their names in JSON.
    """

    def __init__(self, **kinds: Kind) -> None:
        self._kinds = kinds

    def encode(self, value: Any, arrays: list[np.ndarray]) -> Any:
        """Return a value as JSON can hold it, and append copies of its arrays to the list.

        Raises
        ------
        TypeError
            If the value holds something that is not plain. Some arrays may have been appended.
        """
        if type(value) in _PLACES:
            return _encoded_scalar(value)
        if type(value) is list:
            if len(value) >= MIN_COLUMN and all(type(item) in _PLACES for item in value):
                return {"$list": _column(value, arrays)}
            return [self.encode(item, arrays) for item in value]
        if type(value) is tuple:
            return {"$tuple": self.encode(list(value), arrays)}
        if type(value) in _DICTS.values():
            if type(value) is dict and all(type(k) is str and k[:1] != "$" for k in value):
                return {key: self.encode(item, arrays) for key, item in value.items()}
            parts = [self.encode(list(part), arrays) for part in (value, value.values())]
            return {"$" + type(value).__name__: parts}
        for name, kind in self._kinds.items():
            if isinstance(value, kind.type):
                return {"$" + name: self.encode(kind.plain(value), arrays)}
        if type(value) is np.memmap:
            value = np.asarray(value)
        if type(value) is np.ndarray and not value.dtype.hasobject:
            arrays.append(value.copy(order="K"))
            return {"$array": len(arrays) - 1}
        if type(value) is np.ndarray and value.dtype == object:
            items = value.ravel().tolist()
            if all(type(item) in _PLACES for item in items):
                return {"$objects": [list(value.shape), _column(items, arrays)]}
        raise TypeError(f"{reprlib.repr(value)} of type {type(value).__name__}")

    def decode(self, tree: Any, arrays: list[np.ndarray], allowance: Allowance) -> Any:
        """Return the value that `encode` was given.

        Raises
        ------
        ValueError
            If `encode` cannot have returned the tree, an array of the list is not used exactly
            once, or the value takes more memory than the allowance.
        """
        decoder = _Decoder(self._kinds, arrays, allowance)
        try:
            value = decoder.value(tree)
        except (TypeError, KeyError, IndexError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        except RecursionError:
            raise ValueError("its values are nested too deeply") from None
        if decoder.unused:
            raise ValueError(f"{len(decoder.unused)} of its arrays are not used")
        return value


def _encoded_scalar(value: Any) -> Any:
    kind = type(value)
    is_json = kind in (type(None), bool, str)
    is_json |= kind is int and value in _INT64
    is_json |= kind is float and -np.inf < value < np.inf
    if is_json:
        return value
    scalar = _SCALARS[_PLACES[kind]]
    text = scalar.text(value)
    if kind is int and not _INTEGER.fullmatch(text):
        raise TypeError(f"{reprlib.repr(value)}, an integer of more than 40 digits")
    return {"$scalar": [_PLACES[kind], text]}


def _column(values: list[Any], arrays: list[np.ndarray]) -> list[Any]:
    """Encode scalars as arrays: as numbers if all have one type of numbers, else as text."""
    for name, (kind, dtype) in _COLUMNS.items():
        if values and all(type(v) is kind for v in values):
            if kind is not int or all(v in _INT64 for v in values):
                arrays.append(np.array(values, dtype))
                return [name, len(arrays) - 1]
    places, lengths, texts = [], [], []
    for value in values:
        _encoded_scalar(value)  # This refuses a scalar that could not be decoded.
        places.append(_PLACES[type(value)])
        texts.append(_SCALARS[places[-1]].text(value).encode("utf-8", "surrogatepass"))
        lengths.append(len(texts[-1]))
    first = len(arrays)
    arrays += [
        np.array(places, np.uint8),
        np.array(lengths, np.int64),
        np.frombuffer(b"".join(texts), np.uint8),
    ]
    return ["text", first, first + 1, first + 2]


def canonical(value: Any, strings: dict[str, str]) -> Any:
    """Return an equal plain value for which pickle writes the same bytes, however it was made.

    pickle writes an object that it meets a second time as a reference to the first one. So its
    bytes depend on which equal strings, arrays or dtypes happen to be one object. Here, lists,
    tuples, dicts and NumPy's scalars are made anew, and equal strings become one object. Arrays
    become views that have NumPy's own object for their dtype and the strides that unpickling gives
    them; joblib's hash reads the strides, which for an axis of length 1 may be anything.

    Parameters
    ----------
    value : object
        The value. What is not plain in it stays the same object.
    strings : dict of str to str
        The objects for the strings that have occurred so far. New ones are added.
    """
    kind = type(value)
    if kind is str:
        if value not in strings:
            # A new object: pickle also writes names of classes, which may be the same string.
            strings[value] = value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
        return strings[value]
    if kind is list or kind is tuple:
        return kind([canonical(item, strings) for item in value])
    if kind is dict:
        return {canonical(key, strings): canonical(item, strings) for key, item in value.items()}
    if kind is np.ndarray and value.dtype == object:
        items = value.ravel().tolist()
        if all(type(item) in _PLACES for item in items):
            return _object_array([canonical(item, strings) for item in items], value.shape)
    elif kind is np.ndarray and value.dtype.kind in "biufcSUmM":
        if not value.flags.forc:
            value = value.copy(order="K")
        if value.flags.fnc:
            return canonical(value.T, strings).T
        memory = np.ascontiguousarray(value)
        return np.ndarray(value.shape, np.dtype(value.dtype.str), memory)
    elif kind in _PLACES and isinstance(value, np.generic):
        return np.asarray(value)[()]
    return value


def _object_array(items: list[Any], shape: Sequence[int]) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


class _Decoder:
    """Decoder of one tree. `unused` holds the arrays that have not been handed out yet."""

    def __init__(
        self, kinds: dict[str, Kind], arrays: list[np.ndarray], allowance: Allowance
    ) -> None:
        self.unused = dict(enumerate(arrays))
        self._kinds = kinds
        self._allowance = allowance

    def value(self, tree: Any) -> Any:
        if type(tree) is list:
            return [self.value(item) for item in tree]
        if type(tree) is not dict:
            return tree
        if len(tree) != 1 or not next(iter(tree)).startswith("$"):
            if any(key.startswith("$") for key in tree):
                raise ValueError("it has a key with $ among others")
            return {key: self.value(item) for key, item in tree.items()}
        ((name, content),) = tree.items()
        name = name[1:]
        if name in _DICTS:
            return self._dict(_DICTS[name], content)
        if name in self._kinds:
            return self._kinds[name].make(self.value(content))
        if name not in self._METHODS:
            raise ValueError(f"it contains a value of an unknown kind, {name[:50]!r}")
        return self._METHODS[name](self, content)

    def _dict(self, kind: type, content: Any) -> Any:
        keys, values = (self.value(part) for part in content)
        made = kind()
        for key, value in zip(keys, values, strict=True):
            made[key] = value
        if len(made) != len(keys):
            raise ValueError("a key of a dict occurs twice")
        return made

    def _array(self, place: Any) -> np.ndarray:
        if type(place) is not int or place not in self.unused:
            raise ValueError(f"there is no array {place!r:.50}, or it is used twice")
        return self.unused.pop(place)

    def _tuple(self, content: Any) -> tuple[Any, ...]:
        return tuple(self._checked_list(self.value(content)))

    @staticmethod
    def _checked_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise ValueError(f"there is a {type(value).__name__} in the place of a list")
        return value

    def _scalar(self, content: Any) -> Any:
        place, text = content
        if type(place) is not int or type(text) is not str or place < 0:
            raise ValueError("a number is malformed")
        return _SCALARS[place].value(text)

    def _objects(self, content: Any) -> np.ndarray:
        shape, column = content
        return _object_array(self._list(column), [int(n) for n in self._checked_list(shape)])

    def _list(self, content: Any) -> list[Any]:
        name, *places = content
        arrays = [self._array(place) for place in places]
        if name in _COLUMNS:
            (array,) = arrays
            return self._numbers(name, array)
        if name != "text":
            raise ValueError(f"there are no columns of {name!r:.50}")
        places, lengths, text = arrays
        is_sound = (places.dtype, lengths.dtype, text.dtype) == (np.uint8, np.int64, np.uint8)
        is_sound &= places.ndim == lengths.ndim == text.ndim == 1
        if not is_sound or len(places) != len(lengths) or (places >= len(_SCALARS)).any():
            raise ValueError("the arrays of a column do not go together")
        if (lengths < 0).any() or (lengths > len(text)).any() or lengths.sum() != len(text):
            raise ValueError("the lengths of a column's texts are not those of its bytes")
        n_of_numpy = np.count_nonzero(places >= _FIRST_OF_NUMPY)
        # With a single character beyond 16 bits, every character of a string takes four bytes.
        self._allowance.take(len(places) * _SIZE + n_of_numpy * _NUMPY_SIZE + 4 * len(text))
        values, start = [], 0
        for place, length in zip(places, lengths, strict=True):
            piece = text[start : start + length].tobytes().decode("utf-8", "surrogatepass")
            values.append(_SCALARS[place].value(piece))
            start += int(length)
        return values

    def _numbers(self, name: str, array: np.ndarray) -> list[Any]:
        kind, dtype = _COLUMNS[name]
        if array.ndim != 1 or array.dtype != dtype:
            raise ValueError(f"a column of {name} is {array.dtype} of shape {array.shape}")
        with np.errstate(over="ignore"):
            exact = array.astype(kind)
        if dtype == "<i8" and (exact != array).any():
            raise ValueError(f"a column of {name} holds a value of another type")
        # Python keeps its small integers and both truth values once, and makes no new objects.
        is_shared = dtype == "<i8" and not name.startswith("numpy")
        n_made = np.count_nonzero((array < -5) | (array > 256)) if is_shared else array.size
        self._allowance.take(8 * array.size + (24 if kind is float else 32) * n_made)
        return list(exact) if name.startswith("numpy") else exact.tolist()

    _METHODS: ClassVar = {
        "array": _array,
        "list": _list,
        "objects": _objects,
        "scalar": _scalar,
        "tuple": _tuple,
    }


def table_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return records as columns: for each key, the list of its values in the records that have it.

    The order of the keys in each record is kept. `layouts` lists the orders that occur, and
    `layout` holds the place of each record's order in that list.
    """
    layouts: dict[tuple[str, ...], int] = {}
    columns: dict[str, list[Any]] = {}
    layout = []
    for record in records:
        layout.append(layouts.setdefault(tuple(record), len(layouts)))
        for key, value in record.items():
            columns.setdefault(key, []).append(value)
    return {
        "layouts": [list(keys) for keys in layouts],
        "layout": layout,
        "columns": list(columns.values()),
    }


def records_of(table: Any, allowance: Allowance) -> list[dict[str, Any]]:
    """Return the records that `table_of` was given.

    Raises
    ------
    ValueError
        If `table_of` cannot have returned the table, or the records take more memory than the
        allowance.
    """
    try:
        layouts, layout, columns = table["layouts"], table["layout"], table["columns"]
        sizes = [_record_size(keys) for keys in layouts]
        keys = list(dict.fromkeys(key for keys in layouts for key in keys))
        values = {key: iter(column) for key, column in zip(keys, columns, strict=True)}
        if any(type(column) is not list for column in columns):
            raise ValueError("a column is not a list")
        n_values = sum(len(column) for column in columns)
        if any(type(i) is not int or i < 0 for i in layout):
            raise ValueError("the layout of a record is not a number from 0 on")
        if n_values != sum(len(layouts[i]) for i in layout):
            raise ValueError("the columns of the records are not as long as the records ask for")
        allowance.take(sum(sizes[i] for i in layout))
        return [{key: next(values[key]) for key in layouts[i]} for i in layout]
    except (TypeError, KeyError, IndexError, StopIteration) as error:
        raise ValueError(f"a table of records is unsound ({type(error).__name__})") from error


def _record_size(keys: list[str]) -> int:
    """Return the bytes of memory that a record with these keys takes, without its values."""
    if type(keys) is not list or not all(type(k) is str for k in keys):
        raise ValueError("the keys of a record are not a list of strings")
    if len(set(keys)) != len(keys):
        raise ValueError("a key of a record occurs twice")
    return dict.fromkeys(keys).__sizeof__() + 24
