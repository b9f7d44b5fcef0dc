"""Read NumPy's archives (.npz) in such a way that a malicious file can do no harm.

No code is run, since pickled objects are refused. The memory that a file takes is bounded by its
size, since members that are compressed, overlap, or promise more numbers than they hold are
refused.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import numpy as np


def read_archive(path: Path) -> list[np.ndarray]:
    """Return the arrays that `numpy.savez` was given, in their order.

    Raises
    ------
    Exception
        If the file is not such an archive, or is damaged. The exception may be of any kind.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for ever for a process that writes to it.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        with zipfile.ZipFile(file) as members:
            if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
                raise ValueError("it is compressed")
            if sum(member.file_size for member in members.infolist()) > status.st_size:
                raise ValueError("its members are larger than the file")
            return [
                _read_member(members, members.getinfo(f"arr_{i}.npy"))
                for i in range(len(members.infolist()))
            ]


def _read_member(members: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return one array, after a check of its size.

    The check comes first because NumPy allocates what the header promises before it reads on.
    """
    with members.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_head = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_head(file)
        n_values = 1
        for length in shape:
            n_values *= length
        if min(shape, default=0) < 0 or n_values * dtype.itemsize > member.file_size:
            raise ValueError(f"an array of shape {shape} is larger than the archive that holds it")
    with members.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
