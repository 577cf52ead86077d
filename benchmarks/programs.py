# SPDX-License-Identifier: Apache-2.0
"""Small MIL programs with random inputs, loaded and bound: what the kernel benchmarks evaluate."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jax_ane import mil
from jax_ane.compiler import blob

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """A program's text, its inputs by name, and its blob files."""

    text: str
    inputs: dict[str, np.ndarray]
    blobs: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def load(self, numerics: str = "fast") -> Any:
        """Returns the loaded program with its inputs in place: `.evaluate()` runs it."""
        program = mil.load(self.text, self.blobs, numerics=numerics)
        program.bind({name: array.tobytes() for name, array in self.inputs.items()})
        return program


def _tensor(shape: Shape) -> str:
    return f"tensor<fp16, [{', '.join(map(str, shape))}]>"


def _const(type_: str, name: str, value: str) -> str:
    return f'{type_} {name} = const()[name = string("{name}"), val = {value}];\n'


def _source(inputs: dict[str, Shape], consts: str, call: str, result: Shape) -> Source:
    """A program of one call, whose result has the shape `result`."""
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal(s).astype(np.float16) for name, s in inputs.items()}
    arguments = ", ".join(f"{_tensor(shape)} {name}" for name, shape in inputs.items())
    text = (
        f"program(1.3)\n{{\nfunc main<ios18>({arguments}) {{\n{consts}"
        f'{_tensor(result)} z = {call}[name = string("z")];\n}} -> (z);\n}}\n'
    )
    return Source(text, arrays)


def matmul(m: int, k: int, n: int) -> Source:
    """A product `[m, k] x [k, n]` whose entries are of order 1."""
    consts = _const("bool", "no", "bool(false)")
    call = "matmul(x = x, y = y, transpose_x = no, transpose_y = no)"
    source = _source({"x": (m, k), "y": (k, n)}, consts, call, (m, n))
    source.inputs["x"] /= np.float16(np.sqrt(k))
    return source


def layer_norm(rows: int, width: int) -> Source:
    """Layer norm of rows with a scale and an offset."""
    random = np.random.default_rng(1)
    type_ = _tensor((width,))
    consts = _const("tensor<int32, [1]>", "ax", "tensor<int32, [1]>([-1])")
    consts += _const("fp16", "eps", "fp16(0x1.5p-17)")
    blobs = {}
    for name in ("g", "b"):
        path = f"@model_path/weights/{name}.bin"
        blobs[path] = blob.write([random.standard_normal(width).astype(np.float16)])
        consts += _const(
            type_, name, f'{type_}(BLOBFILE(path = string("{path}"), offset = uint64(64)))'
        )
    call = "layer_norm(x = x, axes = ax, gamma = g, beta = b, epsilon = eps)"
    source = _source({"x": (rows, width)}, consts, call, (rows, width))
    return dataclasses.replace(source, blobs=blobs)


def softmax(rows: int, width: int) -> Source:
    """Softmax of rows."""
    consts = _const("int32", "ax", "int32(-1)")
    return _source({"x": (rows, width)}, consts, "softmax(x = x, axis = ax)", (rows, width))


def gelu(rows: int, width: int) -> Source:
    """Gelu of every element, by tanh."""
    consts = _const("string", "mode", 'string("TANH_APPROXIMATION")')
    return _source({"x": (rows, width)}, consts, "gelu(x = x, mode = mode)", (rows, width))


def silu(rows: int, width: int) -> Source:
    """Silu of every element."""
    return _source({"x": (rows, width)}, "", "silu(x = x)", (rows, width))
