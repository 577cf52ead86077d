# SPDX-License-Identifier: Apache-2.0
"""Prints a MIL program in the dialect that Apple's in-memory compiler takes.

Every optional argument is a named constant, floats are hexadecimal, names sort in logical order;
larger constants go to blob files.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jax_ane.compiler import blob, mil

_INLINE_LIMIT = 16  # elements; larger constants go to a blob file


@dataclasses.dataclass(frozen=True)
class Printed:
    """A program as the device takes it: UTF-8 text and blob files by their path in the text.

    `weights` are those files that hold zeros until a call tells what they are.
    """

    text: str
    blobs: dict[str, bytes]
    weights: dict[str, mil.Weight] = dataclasses.field(default_factory=dict)


_HEADER = (
    "program(1.3)\n"
    '[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3510.2.1"}, '
    '{"coremlc-version", "3505.4.1"}})]\n'
)


class _Printer:
    def __init__(self, program: mil.Program) -> None:
        self.program = program
        self.names: dict[int, str] = {}
        self.lines: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.params: dict[str, str] = {}
        self.weights: dict[str, mil.Weight] = {}

    def run(self) -> Printed:
        program = self.program
        for value, name in zip(program.inputs, program.input_names(), strict=True):
            self.names[id(value)] = name
        for value, name in zip(program.outputs, program.output_names(), strict=True):
            self.names[id(value)] = name
        for op in program.ops:
            self.print_op(op)
        arguments = ", ".join(
            f"{value.type} {name}"
            for value, name in zip(program.inputs, program.input_names(), strict=True)
        )
        body = "\n".join(f"        {line}" for line in self.lines)
        returned = ", ".join(program.output_names())
        text = (
            f"{_HEADER}{{\n    func main<ios18>({arguments}) {{\n{body}\n"
            f"    }} -> ({returned});\n}}\n"
        )
        return Printed(text, self.blobs, self.weights)

    def name(self, value: mil.Value) -> str:
        return self.names.setdefault(id(value), f"v{len(self.names):04d}")

    def print_op(self, op: mil.Op) -> None:
        if op.value is not None:
            name = self.name(op.result)
            self.const(name, str(op.result.type), self.literal(op.value, name))
            return
        if op.opcode == "weight":
            name, weight = self.name(op.result), op.params["weight"]
            literal = self.file(np.zeros(weight.shape, np.float16), name)
            self.const(name, str(op.result.type), literal)
            self.weights[_path(name)] = weight
            return
        arguments = []
        for key, operand in op.inputs.items():
            text = (
                f"({', '.join(self.name(v) for v in operand)})"
                if isinstance(operand, tuple)
                else self.name(operand)
            )
            arguments.append(f"{key} = {text}")
        arguments += [f"{key} = {self.param(value)}" for key, value in op.params.items()]
        name = self.name(op.result)
        self.lines.append(
            f"{op.result.type} {name} = {op.opcode}({', '.join(arguments)})"
            f'[name = string("{name}")];'
        )

    def const(self, name: str, type_: str, literal: str) -> None:
        self.lines.append(f'{type_} {name} = const()[name = string("{name}"), val = {literal}];')

    def literal(self, array: np.ndarray, name: str) -> str:
        type_ = mil.Type("fp16", array.shape)
        if array.ndim == 0:
            return f"fp16({_hex(array[()])})"
        if array.size <= _INLINE_LIMIT:
            return f"{type_}({_nested(array)})"
        return self.file(array, name)

    def file(self, array: np.ndarray, name: str) -> str:
        self.blobs[_path(name)] = blob.write([array])
        type_ = mil.Type("fp16", array.shape)
        return f'{type_}(BLOBFILE(path = string("{_path(name)}"), offset = uint64(64)))'

    def param(self, value: Any) -> str:
        """Returns the name of the constant that holds a parameter, made once a program."""
        if isinstance(value, bool):
            type_, literal = "bool", f"bool({str(value).lower()})"
        elif isinstance(value, int):
            type_, literal = "int32", f"int32({value})"
        elif isinstance(value, str):
            type_, literal = "string", f'string("{value}")'
        elif isinstance(value, np.floating):
            type_, literal = "fp16", f"fp16({_hex(value)})"
        else:
            type_ = f"tensor<int32, [{len(value)}]>"
            literal = f"{type_}([{', '.join(map(str, value))}])"
        if literal not in self.params:
            name = self.params[literal] = f"k{len(self.params):04d}"
            self.const(name, type_, literal)
        return self.params[literal]


def _path(name: str) -> str:
    return f"@model_path/weights/{name}.bin"


def _hex(value: Any) -> str:
    return float(value).hex()


def _nested(array: np.ndarray) -> str:
    if array.ndim == 1:
        return f"[{', '.join(_hex(v) for v in array)}]"
    return f"[{', '.join(_nested(row) for row in array)}]"


def to_text(program: mil.Program) -> Printed:
    """Prints a verified program as MIL text and its blob files."""
    return _Printer(program).run()
