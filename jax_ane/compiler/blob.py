# SPDX-License-Identifier: Apache-2.0
"""The weight-blob file: little-endian, everything 64-byte aligned.

A 64-byte header (count, version 2), then for each tensor a 64-byte metadata record (sentinel, type,
payload bytes, payload offset) and the payload. MIL's `offset` names the metadata record.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

ALIGNMENT = 64
_SENTINEL = 0xDEADBEEF
_VERSION = 2
_TYPE_CODES = {"float16": 1, "float32": 2, "uint8": 3, "int8": 4, "int16": 6, "uint16": 7}


def write(arrays: Sequence[np.ndarray]) -> bytes:
    """Returns a blob file of `arrays`, row-major in their own shapes.

    Raises:
        KeyError: a dtype that the format has no code for.
    """
    out = bytearray(struct.pack("<II", len(arrays), _VERSION).ljust(ALIGNMENT, b"\0"))
    for array in arrays:
        payload = np.ascontiguousarray(array).tobytes()
        record = struct.pack(
            "<IIQQQ",
            _SENTINEL,
            _TYPE_CODES[array.dtype.name],
            len(payload),
            len(out) + ALIGNMENT,
            0,
        )
        out += record.ljust(ALIGNMENT, b"\0") + payload
        out += b"\0" * (-len(out) % ALIGNMENT)
    return bytes(out)


def offsets(arrays: Sequence[np.ndarray]) -> list[int]:
    """Returns the MIL offset of each array in the file that `write` makes."""
    position, result = ALIGNMENT, []
    for array in arrays:
        result.append(position)
        position += ALIGNMENT + array.nbytes
        position += -position % ALIGNMENT
    return result
