# SPDX-License-Identifier: Apache-2.0
"""Lowering: one rule a StableHLO op, from a cluster to a MIL program.

A rule is a function `(context, op) -> mil.Value` registered under the op's name by `@lowers`.
Values are kept *lazily broadcast*: the MIL shape of a value has the rank of its StableHLO type,
with 1 where the value does not vary, or is a rank-0 constant. Elementwise rules use that directly;
rules that need every element ask for `context.dense(value)`. Rank 0 is MIL shape [1]; a rank above
5 is folded: the same elements in order, all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Op, TensorType, Value, varying

Rule = Callable[["Context", Op], mil.Value]
RULES: dict[str, Rule] = {}

MAX_RANK = 5  # of any chip
NARROWEST_LIMIT = 16384  # the axis limit that every chip keeps
_ROW_ELEMENTS = 32  # 64 bytes of fp16: rows this long need no padding


def lowers(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for ops by name; a second rule for a name raises."""

    def register(rule: Rule) -> Rule:
        for name in names:
            if name in RULES:
                raise ValueError(f"two lowering rules for {name}")
            RULES[name] = rule
        return rule

    return register


def mil_shape(type_: TensorType) -> tuple[int, ...]:
    """Returns the MIL shape of a StableHLO tensor: rank 0 becomes [1], above 5 it is folded."""
    if len(type_.shape) > MAX_RANK:
        return boundary_shape(type_.shape)
    return type_.shape or (1,)


def merge_axes(kinds: Sequence[object], shape: Sequence[int]) -> list[tuple[object, int]]:
    """Returns runs of neighbouring axes of one kind as (kind, elements); axes of 1 fit anywhere."""
    runs: list[tuple[object, int]] = []
    for kind, extent in zip(kinds, shape, strict=True):
        if runs and (runs[-1][0] == kind or extent == 1):
            runs[-1] = (runs[-1][0], runs[-1][1] * extent)
        else:
            runs.append((kind, extent))
    return runs


def boundary_shape(shape: tuple[int, ...], limit: int = NARROWEST_LIMIT) -> tuple[int, ...]:
    """Folds a shape so that rows are long: the same elements in order, rank at most 3.

    Rows at a program's border are padded to 64 bytes, so trailing axes are merged until a row is a
    multiple of 32 elements (or everything is one row). An axis beyond the chip's limit is halved,
    thirded and so on into rows or planes; a prime one stays as it is, for the chip to refuse.

    Args:
        shape: a MIL shape.
        limit: the chip's longest axis.
    """
    dims = list(shape)
    width = dims.pop()
    while dims and width % _ROW_ELEMENTS and width * dims[-1] <= limit:
        width *= dims.pop()
    if not dims:
        return (width // fitting(width, limit), fitting(width, limit))
    height = dims.pop()
    if not dims and max(height, width) <= limit:
        return (height, width)
    rows = math.prod(dims) * height
    if width > limit:
        rows, width = rows * (width // fitting(width, limit)), fitting(width, limit)
        height = rows
    if height > limit:
        height = fitting(height, limit)
    return (rows // height, height, width)


def fitting(extent: int, limit: int) -> int:
    """Returns the largest divisor of `extent` within the limit, or `extent` if prime."""
    if extent <= limit:
        return extent
    pieces = range(2, math.isqrt(extent) + 1)
    found = next(
        (extent // n for n in pieces if extent % n == 0 and extent // n <= limit),
        None,
    )
    return found or extent


class Context:
    """State of one cluster's lowering: the builder and the values lowered so far.

    Args:
        axis_limit: the chip's longest axis.
        constants: inputs, by index, that become constants of the program (compiler/baking.py).
    """

    def __init__(
        self, axis_limit: int = NARROWEST_LIMIT, constants: Collection[int] = frozenset()
    ) -> None:
        self.axis_limit = axis_limit
        self.constants = constants
        self.builder = mil.Builder()
        self.barriers: dict[tuple[int, int], mil.Value] = {}  # by the whole one and the operand
        self._values: dict[int, mil.Value] = {}

    # -- values ------------------------------------------------------------------

    def bind_input(self, value: Value) -> None:
        """Declares `value` a program input; masks cross the border as fp16 0 and 1."""
        assert value.type is not None
        shape = mil_shape(value.type)
        held = self.builder.input(mil.Type("fp16", boundary_shape(shape, self.axis_limit)))
        held = self.reshape(held, shape)
        if value.type.dtype == "i1":
            held = self.to_bool(held)
        self._values[value.index] = held

    def bind_output(self, value: Value) -> None:
        """Makes `value` a program output."""
        assert value.type is not None
        held = self.dense(value)
        if held.type.dtype == "bool":
            held = self.to_fp16(held)
        held = self.reshape(held, boundary_shape(mil_shape(value.type), self.axis_limit))
        if held.op is None or held.op.opcode == "const" or held in self.builder.program.outputs:
            held = self.op("mul", {"x": held, "y": self.constant(1.0)})
        self.builder.program.outputs.append(held)

    def set(self, value: Value, lowered: mil.Value) -> None:
        self._values[value.index] = lowered

    def holds(self, value: Value) -> bool:
        """Says whether `value` was lowered already."""
        return value.index in self._values

    def get(self, value: Value) -> mil.Value:
        """Returns the lowered value, lazily broadcast."""
        if value.index not in self._values:
            if value.known is not None:
                self._values[value.index] = self._known(value)
            else:
                assert value.producer is not None
                self.lower(value.producer)  # a constant, or a broadcast of one
        return self._values[value.index]

    def _known(self, value: Value) -> mil.Value:
        """Returns a known value as a constant; a mask as the numbers 0 and 1, compared with 0."""
        assert value.known is not None and value.type is not None
        array = varying(value.known).astype(np.float32)
        is_mask = value.type.dtype == "i1"
        if array.size == 1 and not is_mask:
            return self.constant(float(array.flat[0]))
        if len(array.shape) > MAX_RANK:
            array = np.broadcast_to(array, value.type.shape).reshape(mil_shape(value.type))
        number = self.constant(array)
        if not is_mask:
            return number
        return self.to_bool(self.expand(number, array.shape or (1,)))

    def dense(self, value: Value) -> mil.Value:
        """Returns the lowered value with every element of its type present."""
        assert value.type is not None
        return self.expand(self.get(value), mil_shape(value.type))

    def ranked(self, value: Value) -> mil.Value:
        """Returns the lowered value with its type's rank; axes of 1 may still be broadcast."""
        held = self.get(value)
        assert value.type is not None
        rank = len(mil_shape(value.type))
        return held if len(held.shape) == rank else self.expand(held, (1,) * rank)

    def lower(self, op: Op) -> None:
        around = self.builder.location  # a constant is lowered in the middle of its user
        self.builder.location = op.location
        self.set(op.results[0], RULES[op.name](self, op))
        self.builder.location = around

    # -- ops ---------------------------------------------------------------------

    def op(self, opcode: str, inputs: dict, **params) -> mil.Value:
        return self.builder.op(opcode, inputs, **params)

    def constant(self, array: np.ndarray | float) -> mil.Value:
        return self.builder.constant(array)

    def expand(self, held: mil.Value, shape: tuple[int, ...]) -> mil.Value:
        """Broadcasts to `shape`. Adding zeros is MIL's way: `tile` is not safe on the chip."""
        if held.shape == shape:
            return held
        if held.type.dtype == "bool":
            return self.to_bool(self.expand(self.to_fp16(held), shape))
        if held.constant is not None and held.shape == ():
            return (
                self.builder.constant(np.full(shape, held.constant))
                if math.prod(shape) > 1
                else self.op("add", {"x": held, "y": self._zeros(shape)})
            )
        missing = tuple(
            want if have == 1 else 1 for have, want in zip(held.shape, shape, strict=True)
        )
        return self.op("add", {"x": held, "y": self._zeros(missing)})

    def _zeros(self, shape: tuple[int, ...]) -> mil.Value:
        value = mil.Value(mil.Type("fp16", shape))
        value.op = mil.Op(
            "const", {}, {}, value, self.builder.location, np.zeros(shape, np.float16)
        )
        self.builder.program.ops.append(value.op)
        return value

    def reshape(self, held: mil.Value, shape: Sequence[int]) -> mil.Value:
        shape = tuple(shape)
        return held if held.shape == shape else self.op("reshape", {"x": held}, shape=shape)

    def transpose(self, held: mil.Value, perm: Sequence[int]) -> mil.Value:
        perm = tuple(perm)
        if perm == tuple(range(len(perm))):
            return held
        return self.op("transpose", {"x": held}, perm=perm)

    def slice(
        self,
        held: mil.Value,
        begin: Sequence[int],
        size: Sequence[int],
        stride: Sequence[int] | None = None,
    ) -> mil.Value:
        """Takes `size[i]` elements of axis i from `begin[i]`, `stride[i]` apart."""
        stride = tuple(stride or (1,) * len(size))
        if all(s == 1 for s in stride):
            if tuple(size) == held.shape:
                return held
            return self.op("slice_by_size", {"x": held}, begin=tuple(begin), size=tuple(size))
        end = tuple(b + (n - 1) * s + 1 for b, n, s in zip(begin, size, stride, strict=True))
        return self.op("slice_by_index", {"x": held}, begin=tuple(begin), end=end, stride=stride)

    def concat(self, values: Sequence[mil.Value], axis: int) -> mil.Value:
        if len(values) == 1:
            return values[0]
        return self.op("concat", {"values": values}, axis=axis, interleave=False)

    def to_fp16(self, mask: mil.Value) -> mil.Value:
        return self.op("select", {"cond": mask, "a": self.constant(1.0), "b": self.constant(0.0)})

    def to_bool(self, number: mil.Value) -> mil.Value:
        return self.op("not_equal", {"x": number, "y": self.constant(0.0)})

    def finish(self) -> mil.Program:
        return self.builder.program


def _load_rules() -> None:
    from jax_ane.compiler.lower import (  # noqa: F401
        angles,
        conv,
        dot,
        elementwise,
        index,
        powers,
        reduce,
        shape,
    )


_load_rules()
