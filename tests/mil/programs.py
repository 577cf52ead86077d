# SPDX-License-Identifier: Apache-2.0
"""Writes small MIL programs for the tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

BUILD_INFO = (
    '[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3510.2.1"}, '
    '{"coremlc-version", "3505.4.1"}, {"coremltools-version", "9.0"}})]'
)


def tensor(dtype: str, dims: Sequence[int]) -> str:
    return f"tensor<{dtype}, [{', '.join(map(str, dims))}]>"


def number(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(value)
    return float(value).hex()


def const(name: str, dtype: str, value: object) -> str:
    """Returns a const statement: a scalar, a string or a flat list."""
    if dtype == "string":
        return f'string {name} = const()[name = string("{name}"), val = string("{value}")];'
    array = np.asarray(value)
    if array.ndim == 0:
        return (
            f'{dtype} {name} = const()[name = string("{name}"), '
            f"val = {dtype}({number(array.item())})];"
        )
    type_ = tensor(dtype, array.shape)
    items = ", ".join(number(v) for v in array.ravel().tolist())
    return f'{type_} {name} = const()[name = string("{name}"), val = {type_}([{items}])];'


def op(name: str, dims: Sequence[int], call: str, dtype: str = "fp16") -> str:
    return f'{tensor(dtype, dims)} {name} = {call}[name = string("{name}")];'


def program(inputs: dict[str, tuple], body: Sequence[str], outputs: Sequence[str]) -> str:
    """Returns the text; `inputs` maps names to (dtype, dims)."""
    arguments = ", ".join(f"{tensor(dtype, dims)} {name}" for name, (dtype, dims) in inputs.items())
    lines = "\n".join(f"        {line}" for line in body)
    return (
        f"program(1.3)\n{BUILD_INFO}\n{{\n    func main<ios18>({arguments}) {{\n{lines}\n"
        f"    }} -> ({', '.join(outputs)});\n}}\n"
    )


_BLOB_CODES = {
    np.dtype(np.float16): 1,
    np.dtype(np.float32): 2,
    np.dtype(np.uint8): 3,
    np.dtype(np.int8): 4,
}


def blob(*arrays: np.ndarray) -> tuple[bytes, list[int]]:
    """Returns a blob file of the arrays and the offsets that MIL names."""
    out = bytearray(struct.pack("<II", len(arrays), 2) + bytes(56))
    offsets = []
    for array in arrays:
        out += bytes(-len(out) % 64)
        offsets.append(len(out))
        data = array.tobytes()
        code = _BLOB_CODES[array.dtype]
        out += struct.pack("<IIQQQ", 0xDEADBEEF, code, len(data), len(out) + 64, 0) + bytes(32)
        out += data
    return bytes(out), offsets


def blob_const(name: str, dtype: str, dims: Sequence[int], path: str, offset: int) -> str:
    type_ = tensor(dtype, dims)
    return (
        f'{type_} {name} = const()[name = string("{name}"), val = {type_}('
        f'BLOBFILE(path = string("{path}"), offset = uint64({offset})))];'
    )
