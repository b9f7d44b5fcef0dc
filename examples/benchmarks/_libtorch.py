"""Make the training loop in libtorch.cpp available as a Python function.

The library is compiled when it is first needed, which takes half a minute to a minute. It is kept
in a folder of the user in the system's temporary directory, under a name that depends on the
version of torch, the compiler flags and the source code.
"""

import ctypes
import functools
import getpass
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

SOURCE = Path(__file__).with_name("libtorch.cpp")
LOSSES = ("cross entropy", "binary", "squared error")  # in the order of the enum
SOLVERS = ("adam", "sgd")


def _command() -> list[str] | None:
    """Return the compiler and its flags, or None if compiling is not possible."""
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    try:
        # This import takes a second. Some versions of torch need setuptools for it.
        from torch.utils.cpp_extension import include_paths, library_paths
    except ImportError:
        return None
    if compiler is None:
        return None
    return [
        *(compiler, "-std=c++20", "-O2", "-fPIC", "-shared"),
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}",
        *(f"-isystem{path}" for path in include_paths()),
        *(f"-L{path}" for path in library_paths()),
        *("-ltorch", "-ltorch_cpu", "-lc10"),
    ]


def _path(command: list[str]) -> Path:
    """Return the path of the compiled library, whether it exists or not."""
    key = " ".join([torch.__version__, *command]).encode() + SOURCE.read_bytes()
    folder = Path(tempfile.gettempdir()) / f"sknn-benchmarks-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to someone else")
    return folder / f"libtorch-{hashlib.sha256(key).hexdigest()[:16]}.so"


def is_compiled() -> bool:
    """Return whether the library has been compiled before."""
    command = _command()
    return command is not None and _path(command).exists()


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled library, or None if it cannot be built.

    It is linked to the libtorch of this process.
    """
    command = _command()
    if command is None:
        print("C++ is skipped: it needs a compiler (c++, g++ or clang++), and setuptools")
        return None
    path = _path(command)
    if not path.exists():
        print("compiling libtorch.cpp: half a minute or more, this once", flush=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        compiler, *flags = command
        command = [compiler, str(SOURCE), *flags, "-o", str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 (its own command)
        if done.returncode != 0:
            print(f"C++ is skipped: the compiler says\n{done.stderr[:1000]}")
            return None
        unfinished.rename(path)  # atomic, in case two processes compile
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        print(f"C++ is skipped: {error}")
        return None
    number, pointer = ctypes.c_int64, ctypes.c_void_p
    loaded.fit.restype = ctypes.c_char_p
    loaded.fit.argtypes = [
        *(pointer, pointer, number),  # data, targets, number of samples
        *(ctypes.POINTER(number), number, number, number),  # units, layers, batch, epochs
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int),  # float64?, loss, solver
        *(ctypes.c_double, ctypes.POINTER(ctypes.c_double)),  # rate, final loss
    ]
    return loaded


def fit(network, X: np.ndarray, y: np.ndarray, epochs: int, rate: float) -> float:
    """Train a network in C++ and return the loss of its last batch."""
    X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)
    units = (ctypes.c_int64 * len(network.units))(*network.units)
    loss = ctypes.c_double()
    error = library().fit(
        *(X.ctypes.data, y.ctypes.data, len(X)),
        *(units, len(units) - 1, network.batch, epochs),
        *(X.dtype == np.float64, LOSSES.index(network.loss), SOLVERS.index(network.solver)),
        *(rate, ctypes.byref(loss)),
    )
    if error is not None:
        raise RuntimeError(error.decode())
    return loss.value
