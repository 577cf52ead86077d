# SPDX-License-Identifier: Apache-2.0
"""Element types: PJRT's numbers, numpy's dtypes and MLIR's names."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np

# numpy's name for each PJRT_Buffer_Type; None where numpy has none.
_TYPE_NAMES: tuple[str | None, ...] = (
    None, "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "bfloat16", "complex64", "complex128", "float8_e5m2",
    "float8_e4m3fn", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float8_e4m3fnuz", "int4", "uint4",
    None, "int2", "uint2", "float8_e4m3", "float8_e3m4", "float8_e8m0fnu", "float4_e2m1fn",
    "int1", "uint1",
)  # fmt: skip
TOKEN = 23

# PJRT_Buffer_Type of each MLIR element type.
MLIR_TYPES: dict[str, int] = {
    "i1": 1, "i8": 2, "i16": 3, "i32": 4, "i64": 5, "ui8": 6, "ui16": 7, "ui32": 8, "ui64": 9,
    "f16": 10, "f32": 11, "f64": 12, "bf16": 13, "complex<f32>": 14, "complex<f64>": 15,
    "f8E5M2": 16, "f8E4M3FN": 17, "f8E4M3B11FNUZ": 18, "f8E5M2FNUZ": 19, "f8E4M3FNUZ": 20,
    "i4": 21, "ui4": 22, "i2": 24, "ui2": 25, "f8E4M3": 26, "f8E3M4": 27, "f8E8M0FNU": 28,
    "f4E2M1FN": 29,
}  # fmt: skip


@functools.cache
def dtype_of(type_code: int) -> np.dtype:
    """Returns the numpy dtype of a PJRT_Buffer_Type.

    Raises:
        NotImplementedError: numpy and ml_dtypes have no such type.
    """
    name = _TYPE_NAMES[type_code]
    if name is not None:
        scalar = getattr(ml_dtypes, name, None)
        if scalar is not None:
            return np.dtype(scalar)
        if hasattr(np, name):
            return np.dtype(name)
    raise NotImplementedError(f"numpy has no dtype for {name or 'PJRT type'} ({type_code})")
