"""A document and arrays as one file in the safetensors format, and back.

The file. Eight bytes with the header's length; the header, JSON; the arrays' bytes. The header
holds the name, dtype, shape and place of each array, and in `__metadata__` one string, "sknn": the
document, JSON too, which begins with the checksum. Its "arrays" are, in their order, the names and
forms of the arrays: "C" for one that is in the file as it is, "F" for one that is there transposed,
or a dtype that the format has no word for.

The checksum is the SHA-256 of the whole file with 64 zeros in the checksum's place. So a bit that
is flipped, wherever it is, is found before anything else is looked at. It does not say who made the
file: all that follows takes it to be a stranger's.

Memory. JSON can be dense (three bytes make an empty list, of 64), so its values are counted before
they are made. Arrays take what they take in the file: their sizes are checked, by the library,
before they are made.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_ZEROS = b"0" * 64
_BEGINNING = b'{"__metadata__":{"sknn":"{\\"sha256\\":\\"'
# The library's own limit.
_MAX_HEADER = 100_000_000
# Bytes that a value of JSON takes at most, with its key.
_OF_A_VALUE = 150
# What the format has words for, in little-endian order.
_DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_STRING = re.compile(r"[<>]U[1-9][0-9]{0,8}", re.ASCII)
_TIME = re.compile(r"[<>][Mm]8(\[[0-9]{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?", re.ASCII)
_SWAPPED = re.compile(r">[iuf][248]", re.ASCII)

# Beginnings of files that are often taken for each other, and what to do with them.
_OTHERS = (
    (
        b"\x80",
        "It seems to be a pickle: pickle.load or joblib.load read it, if you trust its maker.",
    ),
    (b"PK\x03\x04", "It seems to be a zip archive, as NumPy, torch and skops make them."),
    (b"\x93NUMPY", "It seems to be an array of NumPy: numpy.load reads it."),
    (b"\x1f\x8b", "It seems to be compressed by gzip: joblib.load reads such pickles."),
    (b"x\x9c", "It seems to be compressed by zlib: joblib.load reads such pickles."),
    (b"\x89HDF", "It seems to be HDF5."),
)


class Contents(NamedTuple):
    """What is in a file.

    Attributes
    ----------
    document : dict
    arrays : list of ndarray
    n_bytes : int
        Size of the file.
    """

    document: dict[str, Any]
    arrays: list[np.ndarray]
    n_bytes: int


def stored(array: np.ndarray) -> tuple[str, np.ndarray]:
    """The form of an array, and a C-contiguous one that the format has words for.

    Raises
    ------
    TypeError
        If there is none.
    """
    dtype = array.dtype
    if dtype.kind == "U" and dtype.itemsize:
        plain = np.array(array, dtype.newbyteorder("<"), order="C", copy=True)
        return dtype.str, plain.reshape(-1).view("<u4").reshape(*array.shape, dtype.itemsize // 4)
    if dtype.kind in "mM" and _TIME.fullmatch(dtype.str):
        return dtype.str, np.asarray(array, dtype.newbyteorder("<"), order="C").view("<i8")
    if dtype.str[1:] not in [np.dtype(name).str[1:] for name in _DTYPES]:
        raise TypeError(f"an array of {dtype}")
    if dtype.str[0] == ">":
        return dtype.str, np.asarray(array, dtype.newbyteorder("<"), order="C")
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return "F", array.T
    return "C", np.asarray(array, order="C")


def _restored(form: Any, array: np.ndarray) -> np.ndarray:
    """What `stored` was given, in memory of its own."""
    if form == "C":
        return array.copy()
    if form == "F":
        return array.copy().T
    if type(form) is str and _STRING.fullmatch(form):
        n_characters = int(form[2:])
        if array.dtype != np.uint32 or not array.ndim or array.shape[-1] != n_characters:
            raise ValueError(f"an array of {form} is there as {array.dtype} of {array.shape}")
        if (array > 0x10FFFF).any():
            raise ValueError("a string holds what is no character")
        strings = array.copy().reshape(-1).view(f"<U{n_characters}").reshape(array.shape[:-1])
        return strings.astype(form, copy=False)
    if type(form) is str and _TIME.fullmatch(form) and array.dtype == np.int64:
        return array.copy().view("<" + form[1:]).astype(form, copy=False)
    if type(form) is str and _SWAPPED.fullmatch(form) and array.dtype.str[1:] == form[1:]:
        return array.astype(form)
    raise ValueError(f"an array of {array.dtype} is there as {form!r:.50}, which is not known")


def _check_density(header: bytes, n_bytes: int) -> None:
    """Refuse JSON that would take many times its size, before it is parsed.

    Its strings are ASCII with no escapes but of quotes and backslashes: no longer than in the file.
    """
    n_values = sum(header.count(mark) for mark in (b",", b":", b"[", b"{"))
    if n_values * _OF_A_VALUE > 6 * n_bytes + 6_000_000:
        raise ValueError(f"its header is of {n_values} values, too many for its size")
    escapes = header.replace(b"\\\\", b"").replace(b'\\"', b"")
    if b"\\" in escapes or not header.isascii():
        raise ValueError("its header is not as this package writes it")


def pack(
    document: dict[str, Any], arrays: list[tuple[str, np.ndarray]]
) -> list[bytes | memoryview]:
    """The bytes of a file, in pieces.

    Parameters
    ----------
    document : dict
        What JSON can hold.
    arrays : list of (str, ndarray)
        With a name of its own for each.

    Raises
    ------
    TypeError
        If an array is of a dtype that cannot be saved.
    ValueError
        If the document is so large that `read` would refuse it.
    """
    import safetensors.numpy

    forms, tensors = [], {}
    for name, array in arrays:
        form, tensors[name] = stored(array)
        forms.append([name, form])
    whole = {"sha256": _ZEROS.decode(), **document, "arrays": forms}
    text = json.dumps(whole, allow_nan=False, separators=(",", ":"))
    data = safetensors.numpy.save(tensors, metadata={"sknn": text})
    start = 8 + len(_BEGINNING)
    if data[8:start] != _BEGINNING or data[start : start + 64] != _ZEROS:
        raise RuntimeError("This version of safetensors lays out its header in another way.")
    _check_density(data[8 : 8 + int.from_bytes(data[:8], "little")], len(data))
    view = memoryview(data)
    return [view[:start], _digest(view, start).encode(), view[start + 64 :]]


def _digest(data: memoryview, start: int) -> str:
    digest = hashlib.sha256(data[:start])
    digest.update(_ZEROS)
    digest.update(data[start + 64 :])
    return digest.hexdigest()


def read(path: str | os.PathLike) -> Contents:
    """What is in a file.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is no whole file that `pack` has made.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a directory is an error of `open`
        raise ValueError("it is no regular file")
    with open(path, "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        _check_beginning(file.read(8 + len(_BEGINNING)), n_bytes)
        file.seek(0)
        data = file.read(n_bytes + 1)
    return _unpacked(data)


def _check_beginning(beginning: bytes, n_bytes: int) -> None:
    """Tell a file that is none of ours by its first bytes, whatever its size."""
    n_header = int.from_bytes(beginning[:8], "little")
    if beginning[8:] == _BEGINNING:
        if n_header > min(n_bytes - 8, _MAX_HEADER):
            raise ValueError(
                f"it is cut off, or damaged: it has {n_bytes} bytes, and its first eight say that"
                f" {n_header} are to follow, with those of the arrays behind them"
            )
        return
    for start, found in _OTHERS:
        if beginning.startswith(start):
            raise ValueError(f"it is no file of sknn. {found}")
    if not n_bytes:
        raise ValueError("it is empty")
    if beginning[8:].startswith((b"{", b' {"')) and n_header <= n_bytes - 8:
        raise ValueError("it is a safetensors file, but none that an estimator's save has made")
    raise ValueError("it is no file of sknn")


def _unpacked(data: bytes) -> Contents:
    n_bytes, start = len(data), 8 + len(_BEGINNING)
    end = 8 + int.from_bytes(data[:8], "little")
    if end > n_bytes or data[start : start + 64] != _digest(memoryview(data), start).encode():
        raise ValueError(
            "its checksum is not that of its bytes: it is cut off, damaged, or was changed"
        )
    header = data[8:end]
    _check_density(header, n_bytes)
    document = _document(header.decode("ascii"))
    del header
    forms = document.pop("arrays", None)
    tensors = _tensors(data)
    del data
    try:
        names = [name for name, _ in forms]
        if len(set(names)) != len(names) or set(names) != set(tensors):
            raise ValueError("its document names other arrays than there are")
        arrays = [_restored(form, tensors.pop(name)) for name, form in forms]
    except TypeError as error:
        raise ValueError("the list of its arrays is none") from error
    return Contents(document, arrays, n_bytes)


def _document(header: str) -> dict[str, Any]:
    decoder = json.JSONDecoder()
    try:
        text, _ = decoder.raw_decode(header, header.index('"{'))
        document = json.loads(
            text,
            object_pairs_hook=_without_repetition,
            parse_int=_short_integer,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("its document is nested too deeply") from None
    if type(document) is not dict:
        raise ValueError("its document is no JSON object")
    del document["sha256"]
    return document


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key of its document is there twice")
    return made


def _short_integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError("a number of its document has more than 64 bits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number of its document is infinite")
    return value


def _no_constant(text: str) -> None:
    raise ValueError(f"its document holds {text}, which is no JSON")


def _tensors(data: bytes) -> dict[str, np.ndarray]:
    """The arrays by name. The library checks places and sizes before it makes them."""
    import safetensors
    import safetensors.numpy

    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its header is unsound ({type(error).__name__}: {error})") from error


def new_file(path: str | os.PathLike) -> tuple[int, str]:
    """The handle and the name of a new file beside a path, with the mode that any new file gets."""
    name = f"{os.fspath(path)}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(name, flags, 0o666), name
    except FileNotFoundError as error:
        directory = os.path.dirname(os.fspath(path)) or os.curdir
        what = "There is no such directory to write a file in"
        raise FileNotFoundError(error.errno, what, directory) from None


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A new file that takes the place of another, as a whole, when the body has written it.

    It is on the disk before it takes the place; if the body fails, the file that was there stays.
    A link is followed. The file's mode is that of the one before, or what the process gives a new
    file.

    Raises
    ------
    OSError
        If it cannot be written, or there is something else than a file at `path`.
    """
    path = os.path.realpath(os.fsdecode(path))
    mode = None
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"There is a directory at {path}.")
        if not stat.S_ISREG(mode):
            raise FileExistsError(f"There is no regular file at {path}, but something else.")
    handle, name = new_file(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            with suppress(OSError):
                os.chmod(name, stat.S_IMODE(mode))
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    with suppress(OSError):  # not every system opens directories
        directory = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
