"""Copy arrays to aligned addresses, so that equal values give results with equal bits.

MKL, which multiplies torch's matrices, sums in a different order if an operand begins 8 bytes after
a multiple of 16. Intel asks for multiples of 64 where results have to be reproducible (*oneMKL
Developer Guide*, "Obtaining Numerically Reproducible Results"). The layers of a fitted network
begin anywhere in the vector that was trained, and those of its pickle begin somewhere else.
"""

from __future__ import annotations

import numpy as np

ALIGNMENT = 64  # In bytes. The memory that torch allocates begins at a multiple of this.


def aligned(array: np.ndarray) -> np.ndarray:
    """Return the array if it begins at a multiple of `ALIGNMENT`, else a copy that does.

    An array of objects is returned unchanged: NumPy cannot place objects in a buffer of bytes.
    """
    if array.dtype.hasobject or array.__array_interface__["data"][0] % ALIGNMENT == 0:
        return array
    is_transposed = array.flags.f_contiguous and not array.flags.c_contiguous
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.__array_interface__["data"][0] % ALIGNMENT
    copy = np.ndarray(array.shape, array.dtype, room, start, order="F" if is_transposed else "C")
    copy[...] = array
    return copy
