# SPDX-License-Identifier: Apache-2.0
"""Which values of a program do not stay on chip: too large, and no tile of them serves all readers.

A chip keeps a tensor of up to 2 MiB between two ops; larger ones its compiler cuts into tiles, and
runs a chain of ops tile by tile (cost-model.md sections 1.4 and 5: no knee in times of chains up
to 16 MB). That takes a cut which its producer and all its readers can work along: rows of a matmul
and a softmax, pixels of convolutions. Where one reader wants rows and another columns, as the two
gradients of a layer do, or a reader adds up what the producer does not finish first, the value
goes to memory and comes back once a reader: it is spilled.

Ops that only move data go through memory in any case, which their own cost says; what passes a
program's border is in memory already. What a tile costs beside, weights read again for each, never
shows: a tile of 1 MiB takes a product longer than the weights that pass the 64 KiB of each core.

This knows of one value at a time whether a cut exists, not whether one cut goes through a whole
chain, so it counts the least.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Location

_FP16 = 2  # bytes
# Tiles are cut at multiples of so many elements along the innermost axis (cost-model.md section 5).
_WIDTH = 128
_ELEMENTWISE = mil.UNARY | mil.BINARY | mil.COMPARISONS | {"select"}
_SAME_ORDER = frozenset({"reshape", "identity", "cast"})  # nothing moves
_ALONG_AXES = frozenset({"softmax", "layer_norm"}) | mil.REDUCTIONS
_COMPUTES = _ELEMENTWISE | _ALONG_AXES | {"matmul", "conv"}

# Axes on which a value can be cut, whatever its shape: [inner, outer) of the row-major position,
# both in elements. An axis of extent 4 with 64 elements below it is (64, 256).
Spans = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Spill:
    """A value that goes to memory and comes back.

    Attributes:
        opcode: of the op that makes it.
        location: the user's line.
        size_bytes: of the value.
        times: how often that many bytes move: once out unless it is an output, once in a reader.
    """

    opcode: str
    location: Location
    size_bytes: int
    times: int

    @property
    def moved_bytes(self) -> int:
        return self.size_bytes * self.times

    def to_dict(self) -> dict[str, Any]:
        return {
            "op": self.opcode,
            "file": self.location.file,
            "line": self.location.line,
            "bytes": self.size_bytes,
            "times": self.times,
        }

    def __str__(self) -> str:
        mib = self.size_bytes / 2**20
        return f"{mib:.1f} MiB of {self.opcode} at {self.location}, moved {self.times}x"


def find(program: mil.Program, budget_bytes: int) -> tuple[Spill, ...]:
    """Returns what a program spills on a chip that keeps tensors of `budget_bytes`."""
    found: list[Spill] = []
    users: Mapping[int, list[mil.Op]] | None = None
    outputs = {id(value) for value in program.outputs}
    for op in program.ops:
        size = _FP16 * op.result.type.size
        if size <= budget_bytes or op.opcode not in _COMPUTES:
            continue
        users = program.users() if users is None else users
        readers = list(_readers(op.result, users))
        spans = _cuts(op.result.shape, _made_along(op))
        for reader, value in readers:
            spans = _common(spans, _read_along(reader, value))
        if readers and size > budget_bytes * _pieces(spans):
            is_output = any(id(v) in outputs for v in _names(op.result, users))
            found.append(Spill(op.opcode, op.location, size, len(readers) + (not is_output)))
    return tuple(found)


def _names(value: mil.Value, users: Mapping[int, list[mil.Op]]) -> Iterator[mil.Value]:
    """Yields a value and what is the same in memory."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        yield value
        waiting += [op.result for op in users.get(id(value), ()) if op.opcode in _SAME_ORDER]


def _readers(
    value: mil.Value, users: Mapping[int, list[mil.Op]]
) -> Iterator[tuple[mil.Op, mil.Value]]:
    """Yields the ops that compute with a value, each with the value as it reads it."""
    for name in _names(value, users):
        for op in users.get(id(name), ()):
            if op.opcode in _COMPUTES:
                yield op, name


def _made_along(op: mil.Op) -> set[int]:
    """Returns the axes of an op's result that it can make piece by piece."""
    axes = set(range(len(op.result.shape)))
    if op.opcode == "softmax":
        return axes - {op.params["axis"]}
    if op.opcode == "layer_norm":
        return axes - set(op.params["axes"])
    return axes


def _read_along(op: mil.Op, value: mil.Value) -> Spans:
    """Returns where an op can take an operand piece by piece and finish each before the next."""
    rank = len(value.shape)
    axes = set(range(rank))
    if op.opcode == "softmax":
        axes -= {op.params["axis"]}
    elif op.opcode in _ALONG_AXES:
        axes -= set(op.params["axes"])
    elif op.opcode == "matmul":
        if op.inputs["x"] is value:
            axes -= {rank - 2 if op.params["transpose_x"] else rank - 1}
        if op.inputs["y"] is value:
            axes -= {rank - 1 if op.params["transpose_y"] else rank - 2}
    elif op.opcode == "conv":
        axes -= {1, 2, 3} if op.inputs["weight"] is value else {1}
    return _cuts(value.shape, axes)


def _cuts(shape: Sequence[int], axes: set[int]) -> Spans:
    spans: Spans = []
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        if axis not in axes or shape[axis] == 1:
            continue
        outer = inner * shape[axis]
        if spans and spans[-1][0] == outer:
            spans[-1] = (inner, spans[-1][1])
        else:
            spans.append((inner, outer))
    return spans


def _common(a: Spans, b: Spans) -> Spans:
    both = ((max(i, k), min(j, n)) for i, j in a for k, n in b)
    return [(inner, outer) for inner, outer in both if outer > inner and outer % inner == 0]


def _pieces(spans: Spans) -> int:
    """Returns into how many tiles a value can be cut."""
    return math.prod(max(outer // max(inner, _WIDTH), 1) for inner, outer in spans)
