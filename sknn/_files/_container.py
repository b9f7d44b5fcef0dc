"""Write and read a document and arrays as one file in the safetensors format.

The file consists of eight bytes with the header's length, of the header, which is JSON, and of the
arrays' bytes. The header holds the name, dtype, shape and place of each array. Its `__metadata__`
holds one string, "sknn": the document, which is JSON too and begins with the checksum. The
document's "arrays" lists the names and forms of the arrays, in their order. The form is "C" for an
array that is in the file as it is, "F" for one that is transposed there, or a dtype for which the
format has no name.

The checksum is the SHA-256 of the whole file with 64 zeros in the checksum's place. So a flipped
bit, wherever it is, is found before anything else is read. The checksum does not say who made the
file: all checks that follow assume that a stranger did.

JSON can be dense (an empty list takes three bytes there, and 64 in memory), so its values are
counted before they are made. Arrays take as much memory as they take in the file, and the library
checks their sizes before it makes them.
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
# Largest size of a header, in bytes, that the safetensors library accepts.
_MAX_HEADER = 100_000_000
# Largest number of bytes of memory that a value of JSON takes, with its key.
_OF_A_VALUE = 150
# The dtypes for which the format has names, in little-endian order.
_DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_STRING = re.compile(r"[<>]U[1-9][0-9]{0,8}", re.ASCII)
_TIME = re.compile(r"[<>][Mm]8(\[[0-9]{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?", re.ASCII)
_SWAPPED = re.compile(r">[iuf][248]", re.ASCII)

# First bytes of other kinds of files that are often mistaken for ours, and what to do with them.
_OTHERS = (
    (
        b"\x80",
        "It seems to be a pickle. If you trust its source, use pickle.load or joblib.load.",
    ),
    (b"PK\x03\x04", "It seems to be a zip archive, such as NumPy, torch and skops write."),
    (b"\x93NUMPY", "It seems to be a NumPy array. Use numpy.load."),
    (b"\x1f\x8b", "It seems to be compressed with gzip. joblib.load reads such pickles."),
    (b"x\x9c", "It seems to be compressed with zlib. joblib.load reads such pickles."),
    (b"\x89HDF", "It seems to be HDF5."),
)


class Contents(NamedTuple):
    """The contents of a file.

    Attributes
    ----------
    document : dict
        The document, without its checksum and its list of arrays.
    arrays : list of ndarray
        The arrays, in the order in which `pack` was given them.
    n_bytes : int
        Size of the file in bytes.
    """

    document: dict[str, Any]
    arrays: list[np.ndarray]
    n_bytes: int


def stored(array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the form of an array, and a C-contiguous array that the format can hold.

    Raises
    ------
    TypeError
        If the format can hold no such array.
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
    """Return the array that `stored` was given, in memory of its own."""
    if form == "C":
        return array.copy()
    if form == "F":
        return array.copy().T
    if type(form) is str and _STRING.fullmatch(form):
        n_characters = int(form[2:])
        if array.dtype != np.uint32 or not array.ndim or array.shape[-1] != n_characters:
            raise ValueError(f"an array of {form} is stored as {array.dtype} of {array.shape}")
        if (array > 0x10FFFF).any():
            raise ValueError("a string holds a number that is not a character")
        strings = array.copy().reshape(-1).view(f"<U{n_characters}").reshape(array.shape[:-1])
        return strings.astype(form, copy=False)
    if type(form) is str and _TIME.fullmatch(form) and array.dtype == np.int64:
        return array.copy().view("<" + form[1:]).astype(form, copy=False)
    if type(form) is str and _SWAPPED.fullmatch(form) and array.dtype.str[1:] == form[1:]:
        return array.astype(form)
    raise ValueError(f"an array of {array.dtype} has the form {form!r:.50}, which is not known")


def _check_density(header: bytes, n_bytes: int) -> None:
    """Refuse JSON that would take many times its size in memory, before it is parsed.

    The strings must be ASCII, with no escapes but those of quotes and backslashes, so that they are
    no longer in memory than in the file.
    """
    n_values = sum(header.count(mark) for mark in (b",", b":", b"[", b"{"))
    if n_values * _OF_A_VALUE > 6 * n_bytes + 6_000_000:
        raise ValueError(f"its header has {n_values} values, too many for its size")
    escapes = header.replace(b"\\\\", b"").replace(b'\\"', b"")
    if b"\\" in escapes or not header.isascii():
        raise ValueError("its header is not as this package writes it")


def pack(
    document: dict[str, Any], arrays: list[tuple[str, np.ndarray]]
) -> list[bytes | memoryview]:
    """Return the bytes of a file, in pieces.

    Parameters
    ----------
    document : dict
        Values that JSON can hold.
    arrays : list of (str, ndarray)
        The arrays, each with a unique name.

    Raises
    ------
    TypeError
        If an array has a dtype that cannot be saved.
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
    """Return the checksum of a file, with zeros in the place of the one that begins at `start`."""
    digest = hashlib.sha256(data[:start])
    digest.update(_ZEROS)
    digest.update(data[start + 64 :])
    return digest.hexdigest()


def read(path: str | os.PathLike) -> Contents:
    """Return the contents of a file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If `pack` has not made the file, or the file is not complete.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # For a directory, `open` raises.
        raise ValueError("it is not a regular file")
    with open(path, "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        _check_beginning(file.read(8 + len(_BEGINNING)), n_bytes)
        file.seek(0)
        data = file.read(n_bytes + 1)
    return _unpacked(data)


def _check_beginning(beginning: bytes, n_bytes: int) -> None:
    """Refuse a file that is not one of ours by its first bytes, whatever its size."""
    n_header = int.from_bytes(beginning[:8], "little")
    if beginning[8:] == _BEGINNING:
        if n_header > min(n_bytes - 8, _MAX_HEADER):
            raise ValueError(
                f"it is truncated or damaged: it has {n_bytes} bytes, but according to the first"
                f" eight, a header of {n_header} bytes follows, and then the arrays"
            )
        return
    for start, found in _OTHERS:
        if beginning.startswith(start):
            raise ValueError(f"it is not a file of sknn. {found}")
    if not n_bytes:
        raise ValueError("it is empty")
    if beginning[8:].startswith((b"{", b' {"')) and n_header <= n_bytes - 8:
        raise ValueError("it is a safetensors file that was not written by an estimator's save")
    raise ValueError("it is not a file of sknn")


def _unpacked(data: bytes) -> Contents:
    n_bytes, start = len(data), 8 + len(_BEGINNING)
    end = 8 + int.from_bytes(data[:8], "little")
    if end > n_bytes or data[start : start + 64] != _digest(memoryview(data), start).encode():
        raise ValueError(
            "its checksum does not match its contents: it was truncated, damaged or modified"
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
            raise ValueError("its document names other arrays than those in the file")
        arrays = [_restored(form, tensors.pop(name)) for name, form in forms]
    except TypeError as error:
        raise ValueError("its document holds no list of names and forms of arrays") from error
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
        raise ValueError("its document is not a JSON object")
    del document["sha256"]
    return document


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key of its document occurs twice")
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
    raise ValueError(f"its document holds {text}, which is not JSON")


def _tensors(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays by name. The library checks places and sizes before it makes them."""
    import safetensors
    import safetensors.numpy

    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its header is unsound ({type(error).__name__}: {error})") from error


def new_file(path: str | os.PathLike) -> tuple[int, str]:
    """Make a new file beside a path, with the usual mode, and return its handle and its name."""
    name = f"{os.fspath(path)}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(name, flags, 0o666), name
    except FileNotFoundError as error:
        directory = os.path.dirname(os.fspath(path)) or os.curdir
        what = "The directory of the file does not exist"
        raise FileNotFoundError(error.errno, what, directory) from None


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a new file that replaces the file at `path`, as a whole, after the body has written it.

    The new file is on the disk before it replaces the old one. If the body fails, the old file
    stays. A link is followed. The new file has the mode of the old one, or else the usual mode.

    Raises
    ------
    OSError
        If the file cannot be written, or there is something other than a file at `path`.
    """
    path = os.path.realpath(os.fsdecode(path))
    mode = None
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{path} is a directory.")
        if not stat.S_ISREG(mode):
            raise FileExistsError(f"{path} exists, but is not a regular file.")
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
    with suppress(OSError):  # Not every system can open directories.
        directory = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
