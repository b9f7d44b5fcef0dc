"""Arrays that begin where vector instructions want them, so that equal values give equal bits.

MKL, which multiplies torch's matrices, adds up in another order if an operand begins 8 bytes beside
a multiple of 16 (it asks for multiples of 64 where results have to repeat: Intel, *oneMKL Developer
Guide*, "Obtaining Numerically Reproducible Results"). The layers of a fitted network begin
anywhere in the vector that was trained, and those of its pickle elsewhere.
"""

from __future__ import annotations

import numpy as np

ALIGNMENT = 64  # bytes; what torch allocates begins at a multiple of it


def aligned(array: np.ndarray) -> np.ndarray:
    """The array if it begins at a multiple of `ALIGNMENT`, else a copy that does.

    One of objects is returned as it is: they are no bytes that could stand anywhere.
    """
    if array.dtype.hasobject or array.__array_interface__["data"][0] % ALIGNMENT == 0:
        return array
    is_transposed = array.flags.f_contiguous and not array.flags.c_contiguous
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.__array_interface__["data"][0] % ALIGNMENT
    copy = np.ndarray(array.shape, array.dtype, room, start, order="F" if is_transposed else "C")
    copy[...] = array
    return copy
