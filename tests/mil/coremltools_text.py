# SPDX-License-Identifier: Apache-2.0
"""Prints a coremltools program as the MIL text and blob files that a compiled model holds.

coremltools writes protobufs; the text is made by Apple's compiler. This follows what is known of
that text: canonical scalars and `program(1.0)` up to ios17, short ones and `program(1.3)` from
ios18, data of more than ten elements in a blob file, constexpr operations with their data inline
(attributes before ios18, parenthesised arguments after).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil.mil import types
from programs import blob

PATH = "@model_path/weights/weight.bin"
INLINE = 10
BUILD_INFO = (
    ("coremlc-component-MIL", "3510.2.1"),
    ("coremlc-version", "3505.4.1"),
    ("coremltools-component-milinternal", ""),
    ("coremltools-version", "9.0"),
)


class Printer:
    """Prints one program; `short` chooses the dialect of scalars."""

    def __init__(self, program: Any) -> None:
        self.function = program.functions["main"]
        self.opset = self.function.opset_version.name.lower()
        if self.opset.startswith("coreml"):
            self.opset = f"ios{int(self.function.opset_version) + 9}"
        self.short = self.opset >= "ios18"
        self.arrays: list[np.ndarray] = []

    def type(self, dtype: str, shape: tuple[int, ...]) -> str:
        if self.short and not shape:
            return dtype
        return f"tensor<{dtype}, [{', '.join(map(str, shape))}]>"

    def var_type(self, var: Any) -> str:
        return self.type(types.builtin_to_string(var.dtype), tuple(var.shape or ()))

    def literal(self, var: Any) -> str:
        """A constant's typed value, in the text or as a place in the blob file."""
        dtype = types.builtin_to_string(var.dtype)
        value = var.val
        if dtype == "string":
            return f'{self.type("string", ())}("{value}")'
        array = np.asarray(value)
        type_ = self.type(dtype, array.shape)
        if array.size > INLINE and dtype in ("fp16", "int8", "uint8"):
            self.arrays.append(np.ascontiguousarray(array))
            offset = f"#{len(self.arrays) - 1}#"
            path, number = self.type("string", ()), self.type("uint64", ())
            return f'{type_}(BLOBFILE(path = {path}("{PATH}"), offset = {number}({offset})))'
        items = [self.number(dtype, v) for v in array.ravel().tolist()]
        inner = items[0] if array.ndim == 0 else f"[{', '.join(items)}]"
        return f"{type_}({inner})"

    @staticmethod
    def number(dtype: str, value: Any) -> str:
        if dtype == "bool":
            return "true" if value else "false"
        return float(value).hex() if dtype in ("fp16", "fp32") else str(int(value))

    def arguments(self, op: Any) -> list[str]:
        written = []
        for name, value in op.inputs.items():
            if value is None:
                continue
            if isinstance(value, list | tuple):
                written.append(f"{name} = ({', '.join(v.name for v in value)})")
            elif op.op_type.startswith("constexpr_") and value.op.op_type == "const":
                text = self.literal(value)
                written.append(f"{name} = ({text})" if self.short else f"{name} = {text}")
            else:
                written.append(f"{name} = {value.name}")
        return written

    def statement(self, op: Any) -> str:
        results = ", ".join(f"{self.var_type(v)} {v.name}" for v in op.outputs)
        name = f'name = {self.type("string", ())}("{op.name}")'
        if op.op_type == "const":
            return f"{results} = const()[{name}, val = {self.literal(op.outputs[0])}];"
        arguments = self.arguments(op)
        if op.op_type.startswith("constexpr_") and not self.short:
            return f"{results} = {op.op_type}()[{', '.join([*arguments, name])}];"
        return f"{results} = {op.op_type}({', '.join(arguments)})[{name}];"

    def text(self) -> tuple[str, dict[str, bytes]]:
        string = self.type("string", ())
        pairs = [f'{{{string}("{k}"), {string}("{v}")}}' for k, v in BUILD_INFO]
        if self.short:
            pairs = [f'{{"{k}", "{v}"}}' for k, v in BUILD_INFO]
        inputs = ", ".join(f"{self.var_type(v)} {v.name}" for v in self.function.inputs.values())
        body = "\n".join(f"            {self.statement(op)}" for op in self.operations())
        outputs = ", ".join(v.name for v in self.function.outputs)
        file, offsets = blob(*self.arrays)
        for i, offset in enumerate(offsets):
            body = body.replace(f"#{i}#", str(offset))
        version = "1.3" if self.short else "1.0"
        text = (
            f"program({version})\n[buildInfo = dict<{string}, {string}>({{{', '.join(pairs)}}})]\n"
            f"{{\n    func main<{self.opset}>({inputs}) {{\n{body}\n        }} -> ({outputs});\n}}"
        )
        return text, {PATH: file}

    def operations(self) -> list[Any]:
        """Without the constants that only constexpr operations read: those hold them inline."""
        return [
            op
            for op in self.function.operations
            if op.op_type != "const"
            or any(not child.op_type.startswith("constexpr_") for child in op.outputs[0].child_ops)
        ]


def to_text(program: Any) -> tuple[str, dict[str, bytes]]:
    """Returns the MIL text of a coremltools program and its blob files."""
    return Printer(program).text()
