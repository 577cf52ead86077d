# SPDX-License-Identifier: Apache-2.0
"""Lowering of reductions: `reduce` over axes, `reduce_window` as a fold over shifted slices."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxlib.mlir import ir

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Op, Value, constant_of
from jax_ane.compiler.lower import MAX_RANK, Context, lowers, merge_axes, mil_shape
from jax_ane.compiler.lower.shape import inside_mask, pad_axes
from jax_ane.compiler.lower.windows import (
    band,
    fold_axis,
    is_banded,
    multiply_all,
    multiply_axis,
)

_LONGEST_MEAN = 1024  # elements, of order 8 squared at most, whose sum fp16 holds

# Reducer op -> (MIL reduction, MIL binary op). Products have no reduction on any chip.
REDUCERS = {
    "stablehlo.add": ("reduce_sum", "add"),
    "stablehlo.maximum": ("reduce_max", "maximum"),
    "stablehlo.minimum": ("reduce_min", "minimum"),
    "stablehlo.multiply": ("", "mul"),
}
# The number that pads a window and that the op ignores.
_NEUTRAL = {"add": 0.0, "maximum": -65504.0, "minimum": 65504.0, "mul": 1.0}

# The same for masks, as the numbers 0 and 1.
MASK_REDUCERS = {
    "stablehlo.and": ("reduce_min", "minimum"),
    "stablehlo.or": ("reduce_max", "maximum"),
}


def reducer(op: Op) -> str | None:
    """Returns the one op of a reduction's body, or None if the body is anything else."""
    return region_op(op.mlir.regions[0].blocks[0])


def region_op(block: ir.Block) -> str | None:
    """Returns the one op that combines a block's two arguments, or None if it holds more."""
    body = list(block.operations)
    if len(body) != 2 or len(body[0].operation.operands) != 2:
        return None
    first = body[0].operation
    if set(first.operands) != set(block.arguments):
        return None
    return first.name if list(body[1].operation.operands) == [first.results[0]] else None


@lowers("stablehlo.reduce")
def lower_reduce(context: Context, op: Op) -> mil.Value:
    is_mask = op.type.dtype == "i1"
    opcode, combine = (MASK_REDUCERS if is_mask else REDUCERS)[reducer(op) or ""]
    source = context.dense(op.operands[0])
    held = _reduce(context, opcode, context.to_fp16(source) if is_mask else source, op)
    # Keeping the axes and reshaping never meets a rank of 0 inside the program.
    held = context.reshape(held, mil_shape(op.type))
    if is_mask:
        return context.to_bool(held)
    return _with_initial(context, op, held, combine)


def reduce_runs(op: Op) -> list[tuple[object, int]]:
    """Returns the operand's axes as runs: (are they reduced, elements)."""
    shape, axes = op.operands[0].tensor.shape, op.ints("dimensions")
    return merge_axes([axis in axes for axis in range(len(shape))], shape)


def _reduce(context: Context, opcode: str, held: mil.Value, op: Op) -> mil.Value:
    """Reduces over the op's axes, which stay as axes of 1."""
    axes = op.ints("dimensions")
    if len(op.operands[0].tensor.shape) > MAX_RANK:
        runs = reduce_runs(op)
        held = context.reshape(held, [extent for _, extent in runs])
        axes = tuple(i for i, (reduced, _) in enumerate(runs) if reduced)
    if not opcode:
        for axis in axes:
            held = multiply_all(context, held, axis)
        return held
    if opcode == "reduce_mean":
        for step in _steps(held.shape, axes):
            held = context.op(opcode, {"x": held}, axes=step, keep_dims=True)
        return held
    return context.op(opcode, {"x": held}, axes=axes, keep_dims=True) if axes else held


def mean_of(context: Context, total: Value, count: float) -> mil.Value | None:
    """Returns `total / count` where that is a mean: a sum of `count` elements of the program.

    The chip rounds the sum to fp16 before it divides, so long sums are taken in steps: a mean over
    few axes, then the mean of those. None overflows then that would not as a result.
    """
    op = total.producer
    while op is not None and op.name in ("stablehlo.broadcast_in_dim", "stablehlo.reshape"):
        if op.operands[0].tensor.size != op.type.size:
            return None
        op = op.operands[0].producer
    if op is None or op.name != "stablehlo.reduce" or reducer(op) != "stablehlo.add":
        return None
    initial = constant_of(op.operands[1])
    is_mean = op.operands[0].tensor.size == count * op.type.size
    if not is_mean or initial is None or np.any(initial) or not context.holds(op.operands[0]):
        return None
    held = _reduce(context, "reduce_mean", context.dense(op.operands[0]), op)
    return context.reshape(held, mil_shape(total.tensor))


def _steps(shape: tuple[int, ...], axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns the axes in groups, last ones first, of at most _LONGEST_MEAN elements if may be."""
    groups: list[tuple[int, ...]] = []
    for axis in sorted(axes, reverse=True):
        if groups and shape[axis] * math.prod(shape[a] for a in groups[-1]) <= _LONGEST_MEAN:
            groups[-1] = (axis, *groups[-1])
        else:
            groups.append((axis,))
    return groups


def _with_initial(context: Context, op: Op, held: mil.Value, combine: str) -> mil.Value:
    """Combines with the initial value. Neutral ones (the usual case) vanish in folding."""
    initial = context.get(op.operands[1])
    if initial.shape == (1,) and len(held.shape) > 1:
        initial = context.reshape(initial, (1,) * len(held.shape))
    if initial.constant is not None and is_neutral(combine, float(initial.constant)):
        return held
    return context.op(combine, {"x": held, "y": initial})


def is_neutral(combine: str, value: float) -> bool:
    """Says whether `combine(x, value)` is x for every finite fp16 x."""
    if combine in ("add", "mul"):
        return value == _NEUTRAL[combine]
    return value <= -65504 if combine == "maximum" else value >= 65504


class Window:
    """The attributes of a `reduce_window` or `select_and_scatter`, one entry per axis."""

    def __init__(self, op: Op) -> None:
        rank = len(op.operands[0].tensor.shape)

        def ints(name: str) -> tuple[int, ...]:
            return op.ints(name) if op.attr(name) is not None else (1,) * rank

        padding = [int(v) for v in op.attr("padding")] if op.attr("padding") else [0] * (2 * rank)
        self.size = ints("window_dimensions")
        self.strides = ints("window_strides")
        self.dilation = ints("window_dilations")
        self.gaps = [d - 1 for d in ints("base_dilations")]
        self.low, self.high = padding[0::2], padding[1::2]
        self.shape = op.operands[0].tensor.shape

    @property
    def is_filled(self) -> bool:
        """Whether padding or dilation puts anything into the operand."""
        return any(self.gaps) or any(e > 0 for e in (*self.low, *self.high))

    @property
    def filled_shape(self) -> tuple[int, ...]:
        """The operand's shape with its padding and dilation."""
        return tuple(
            n + (n - 1) * gap + low + high
            for n, gap, low, high in zip(self.shape, self.gaps, self.low, self.high, strict=True)
        )

    def without(self, axis: int, extent: int) -> Window:
        """Returns the window after an axis was folded to that extent."""
        rest = copy.copy(self)
        for name, value in (("size", 1), ("strides", 1), ("dilation", 1), ("gaps", 0), ("low", 0),
                            ("high", 0), ("shape", extent)):  # fmt: skip
            entries = [*getattr(self, name)]
            entries[axis] = value
            setattr(rest, name, tuple(entries))
        return rest

    def fill_mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns where the padded and dilated operand holds elements."""
        return inside_mask(shape, self.low, self.high, self.gaps)


@lowers("stablehlo.reduce_window")
def lower_reduce_window(context: Context, op: Op) -> mil.Value:
    _, combine = REDUCERS[reducer(op) or ""]
    window, held, out = Window(op), context.dense(op.operands[0]), op.type.shape
    if combine == "add":
        held, window = _sum_long_windows(context, held, window, out)
    held = _fold(context, _filled(context, held, window, combine), window, combine, out)
    return _with_initial(context, op, held, combine)


def _sum_long_windows(
    context: Context, held: mil.Value, window: Window, out: tuple[int, ...]
) -> tuple[mil.Value, Window]:
    """Sums the axes with long windows by matrices; returns what is left to do of the window."""
    for axis, size in enumerate(window.size):
        if not is_banded(window.shape[axis], out[axis], size):
            continue
        matrix = band(
            window.shape[axis], out[axis], size, window.strides[axis], window.dilation[axis],
            window.low[axis], window.gaps[axis],
        )  # fmt: skip
        summed = multiply_axis(context, held, axis, matrix)
        if summed is not None:
            held, window = summed, window.without(axis, out[axis])
    return held, window


def _filled(context: Context, held: mil.Value, window: Window, combine: str) -> mil.Value:
    """Returns the operand padded and dilated with the value that `combine` ignores.

    The chip pads with zeros only; a constant makes them the least (or greatest) number.
    """
    shape = held.shape
    held = pad_axes(context, held, window.low, window.high, window.gaps)
    if combine == "add" or not window.is_filled:
        return held
    shift = np.where(window.fill_mask(shape), 0.0, _NEUTRAL[combine])
    return context.op("add", {"x": held, "y": context.constant(shift)})


def _fold(
    context: Context, held: mil.Value, window: Window, combine: str, out: tuple[int, ...]
) -> mil.Value:
    """Combines each window, one axis after the other."""
    for axis, size in enumerate(window.size):
        if size > 1 or window.strides[axis] > 1:
            stride, dilation = window.strides[axis], window.dilation[axis]
            held = fold_axis(context, held, axis, combine, size, out[axis], stride, dilation)
    return held


@lowers("stablehlo.select_and_scatter")
def lower_select_and_scatter(context: Context, op: Op) -> mil.Value:
    """The gradient of a max pool: each window hands its number to its first largest element.

    Window offsets are tried in order; what is left of the source after an offset took its part is
    0 there. Offsets equal modulo the stride fall on the same elements, so they are added, shifted,
    before these residue classes are interleaved.
    """
    window, out = Window(op), op.operands[1].tensor.shape
    held = _filled(context, context.dense(op.operands[0]), window, "maximum")
    largest = _fold(context, held, window, "maximum", out)
    left = context.dense(op.operands[1])
    zero = context.constant(0.0)
    reach = [(size - 1) // step for size, step in zip(window.size, window.strides, strict=True)]
    classes: dict[tuple[int, ...], mil.Value] = {}
    for offset in itertools.product(*map(range, window.size)):
        tap = context.slice(held, offset, out, window.strides)
        is_first = context.op("equal", {"x": tap, "y": largest})
        part = context.op("select", {"cond": is_first, "a": left, "b": zero})
        left = context.op("select", {"cond": is_first, "a": zero, "b": left})
        shift = [o // step for o, step in zip(offset, window.strides, strict=True)]
        rest = [far - near for far, near in zip(reach, shift, strict=True)]
        part = pad_axes(context, part, shift, rest, [0] * len(out))
        residue = tuple(o % step for o, step in zip(offset, window.strides, strict=True))
        if residue in classes:
            part = context.op("add", {"x": classes[residue], "y": part})
        classes[residue] = part
    spread = _interleave(context, classes, window.strides)
    shape = op.type.shape
    low = [-edge for edge in window.low]
    high = [n + a - b for n, a, b in zip(shape, window.low, spread.shape, strict=True)]
    return pad_axes(context, spread, low, high, [0] * len(shape))


def _interleave(
    context: Context, classes: dict[tuple[int, ...], mil.Value], strides: tuple[int, ...]
) -> mil.Value:
    """Puts element i of the class with residue r at `i * stride + r`; absent classes are 0."""
    for axis in reversed(range(len(strides))):
        step = strides[axis]
        merged: dict[tuple[int, ...], mil.Value] = {}
        for outer in dict.fromkeys(residue[:axis] for residue in classes):
            parts = [classes.get((*outer, r)) for r in range(step)]
            some = next(part for part in parts if part is not None)
            if step == 1:
                merged[outer] = some
                continue
            shape = some.shape
            column = (*shape[: axis + 1], 1, *shape[axis + 1 :])
            nothing = None
            columns: list[mil.Value] = []
            for part in parts:
                if part is None:
                    nothing = nothing or context.op("sub", {"x": some, "y": some})
                columns.append(context.reshape(part or nothing or some, column))
            joined = context.concat(columns, axis + 1)
            merged[outer] = context.reshape(
                joined, (*shape[:axis], shape[axis] * step, *shape[axis + 1 :])
            )
        classes = merged
    return classes[()]
