# SPDX-License-Identifier: Apache-2.0
"""Lowering of ops that move data: constants, broadcast, reshape, transpose, slice, pad, concat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jax_ane.compiler import graph, mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import MAX_RANK, Context, fitting, lowers, merge_axes, mil_shape
from jax_ane.compiler.operands import known_value


@lowers("stablehlo.constant")
def lower_constant(context: Context, op: Op) -> mil.Value:
    array = graph.dense(op.attr("value")).reshape(mil_shape(op.type) if op.type.shape else ())
    if op.type.dtype == "i1":
        return context.to_bool(context.expand(_fold_splat(context, array), mil_shape(op.type)))
    return _fold_splat(context, array)


def _fold_splat(context: Context, array: np.ndarray) -> mil.Value:
    array = array.astype(np.float32)
    if array.size and (array == array.flat[0]).all():
        return context.constant(array.flat[0])
    return context.constant(array)


@lowers("stablehlo.optimization_barrier")
def lower_optimization_barrier(context: Context, op: Op) -> mil.Value:
    # All parts of one barrier that hold one value are one: readers of x and x find each other.
    key = id(op.parts), op.operands[0].index
    if key not in context.barriers:
        held = context.get(op.operands[0])
        context.barriers[key] = _barrier(context, held, len(context.barriers))
    return context.barriers[key]


def _barrier(context: Context, held: mil.Value, number: int) -> mil.Value:
    """Puts a barrier before what reshapes a value: behind it, reshapes meet again."""
    if held.constant is not None:
        return held
    if held.op is not None and held.op.opcode in ("reshape", "transpose"):
        source = _barrier(context, held.op.input("x"), number)
        return context.op(held.op.opcode, {"x": source}, **held.op.params)
    return context.op("barrier", {"x": held}, number=number)


@lowers("stablehlo.broadcast_in_dim")
def lower_broadcast_in_dim(context: Context, op: Op) -> mil.Value:
    held = context.get(op.operands[0])
    if held.shape == ():
        return held
    dims = op.ints("broadcast_dimensions")
    if max(len(op.type.shape), len(op.operands[0].tensor.shape)) > MAX_RANK:
        return _broadcast_folded(context, op, dims)
    shape = [1] * max(len(op.type.shape), 1)
    for axis, dim in enumerate(dims):
        shape[dim] = held.shape[axis]
    if list(dims) != sorted(dims):
        order = sorted(range(len(dims)), key=lambda axis: dims[axis])
        held = context.transpose(held, order)
    return context.reshape(held, shape)


def broadcast_runs(op: Op) -> list[tuple[object, int]]:
    """Returns a broadcast's result as runs: (does the operand vary there, elements)."""
    dims, source = op.ints("broadcast_dimensions"), op.operands[0].tensor.shape
    varies = [False] * len(op.type.shape)
    for axis, dim in enumerate(dims):
        varies[dim] = source[axis] != 1
    return merge_axes(varies, op.type.shape)


def _broadcast_folded(context: Context, op: Op, dims: Sequence[int]) -> mil.Value:
    # Partitioning admits this with the operand's axes in order and at most 5 runs.
    runs = broadcast_runs(op)
    held = context.dense(op.operands[0])
    held = context.reshape(held, [extent if varies else 1 for varies, extent in runs])
    held = context.expand(held, tuple(extent for _, extent in runs))
    return context.reshape(held, mil_shape(op.type))


@lowers("stablehlo.reshape")
def lower_reshape(context: Context, op: Op) -> mil.Value:
    held = context.get(op.operands[0])
    if held.shape == ():
        return held
    if math.prod(held.shape) == 1:
        return context.reshape(held, (1,) * len(mil_shape(op.type)))
    source, target = op.operands[0].tensor, op.type
    if max(len(source.shape), len(target.shape)) <= MAX_RANK:
        kept = unit_reshape(held.shape, mil_shape(source), mil_shape(target))
        if kept is not None:
            return context.reshape(held, kept)
    return context.reshape(context.dense(op.operands[0]), mil_shape(op.type))


def unit_reshape(
    lazy: tuple[int, ...], source: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Returns the lazy shape after a reshape that only adds or drops axes of 1, else None."""
    if [d for d in source if d != 1] != [d for d in target if d != 1]:
        return None
    kept = iter([have for have, want in zip(lazy, source, strict=True) if want != 1])
    return tuple(next(kept) if d != 1 else 1 for d in target)


def _number(context: Context, value: graph.Value) -> mil.Value:
    """Returns every element of a value; a mask as 0 and 1, for only numbers can be moved."""
    held = context.dense(value)
    return context.to_fp16(held) if held.type.dtype == "bool" else held


def _like(context: Context, op: Op, held: mil.Value) -> mil.Value:
    return context.to_bool(held) if op.type.dtype == "i1" else held


@lowers("stablehlo.transpose")
def lower_transpose(context: Context, op: Op) -> mil.Value:
    held, perm = context.get(op.operands[0]), op.ints("permutation")
    if held.shape == ():
        return held
    if held.type.dtype == "bool":
        held = context.to_fp16(held)
    if len(perm) > MAX_RANK:
        held = move_axes(context, held, op.operands[0].tensor.shape, perm)
        return _like(context, op, context.reshape(held, mil_shape(op.type)))
    return _like(context, op, context.transpose(held, perm))


def transpose_runs(perm: Sequence[int], shape: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the result's axes as runs that stay together: (first operand axis, elements)."""
    runs: list[tuple[int, int]] = []
    previous: int | None = None
    for axis in perm:
        if previous is not None and axis == previous + 1:
            runs[-1] = (runs[-1][0], runs[-1][1] * shape[axis])
        else:
            runs.append((axis, shape[axis]))
        previous = axis
    return runs


def move_axes(
    context: Context, held: mil.Value, shape: Sequence[int], perm: Sequence[int]
) -> mil.Value:
    """Permutes the axes of `shape`, of any rank, as runs; the result keeps the runs' shape."""
    runs = significant_runs(perm, shape)
    if not runs:
        return held
    order = sorted(range(len(runs)), key=lambda i: runs[i][0])
    held = context.reshape(held, [runs[i][1] for i in order])
    return context.transpose(held, [order.index(i) for i in range(len(runs))])


def significant_runs(perm: Sequence[int], shape: Sequence[int]) -> list[tuple[int, int]]:
    """Returns `transpose_runs` without axes of 1, which fit anywhere."""
    kept = [axis for axis in range(len(shape)) if shape[axis] != 1]
    place = {axis: i for i, axis in enumerate(kept)}
    return transpose_runs([place[a] for a in perm if a in place], [shape[a] for a in kept])


@lowers("stablehlo.slice")
def lower_slice(context: Context, op: Op) -> mil.Value:
    if context.get(op.operands[0]).shape == ():
        return context.get(op.operands[0])
    begin, stride = op.ints("start_indices"), op.ints("strides")
    held, size = _number(context, op.operands[0]), op.type.shape
    if len(size) > MAX_RANK:
        runs = slice_runs(op)
        held = context.reshape(held, [extent for _, extent in runs])
        cut = [axis for axis, _ in runs]
        begin, stride = ([0 if a < 0 else v[a] for a in cut] for v in (begin, stride))
        size = [extent if a < 0 else op.type.shape[a] for a, extent in runs]
        stride = [step or 1 for step in stride]
        held = context.slice(held, begin, size, stride)
        return _like(context, op, context.reshape(held, mil_shape(op.type)))
    return _like(context, op, context.slice(held, begin, size, stride))


def slice_runs(op: Op) -> list[tuple[int, int]]:
    """Returns a slice's operand as runs: (the axis if it is cut, else -1; elements)."""
    shape, size = op.operands[0].tensor.shape, op.type.shape
    runs: list[tuple[int, int]] = []
    for axis, (extent, kept) in enumerate(zip(shape, size, strict=True)):
        if extent == kept and runs and runs[-1][0] < 0:
            runs[-1] = (-1, runs[-1][1] * extent)
        else:
            runs.append((-1 if extent == kept else axis, extent))
    return runs


@lowers("stablehlo.dynamic_slice")
def lower_dynamic_slice(context: Context, op: Op) -> mil.Value:
    # Partitioning admits constant starts only.
    if context.get(op.operands[0]).shape == ():
        return context.get(op.operands[0])
    held = _number(context, op.operands[0])
    begin = constant_starts(op.operands[1:], op.operands[0].tensor.shape, op.type.shape)
    return _like(context, op, context.slice(held, begin, op.type.shape))


@lowers("stablehlo.dynamic_update_slice")
def lower_dynamic_update_slice(context: Context, op: Op) -> mil.Value:
    # Partitioning admits constant starts only.
    held, update = (_number(context, v) for v in op.operands[:2])
    begin = constant_starts(op.operands[2:], op.type.shape, update.shape)
    return _like(context, op, _overwrite(context, held, update, begin, 0))


def _overwrite(
    context: Context, held: mil.Value, update: mil.Value, begin: Sequence[int], axis: int
) -> mil.Value:
    """Puts `update` into `held`: what lies before and after it along each axis is kept."""
    while axis < len(begin) and held.shape[axis] == update.shape[axis]:
        axis += 1
    if axis == len(begin):
        return update

    def piece(first: int, size: int) -> mil.Value:
        start, extent = [0] * len(begin), list(held.shape)
        start[axis], extent[axis] = first, size
        return context.slice(held, start, extent)

    first, size = begin[axis], update.shape[axis]
    inner = _overwrite(context, piece(first, size), update, begin, axis + 1)
    after = held.shape[axis] - first - size
    pieces = [piece(0, first)] if first else []
    pieces += [inner, piece(first + size, after)] if after else [inner]
    return context.concat(pieces, axis)


def constant_starts(
    starts: Sequence[graph.Value], shape: Sequence[int], size: Sequence[int]
) -> list[int]:
    """Returns the starts of a slice, moved so that it lies inside, as StableHLO says."""
    numbers = [known_value(start) for start in starts]
    return [
        min(max(int(number.flat[0]), 0), extent - n)
        for number, extent, n in zip(numbers, shape, size, strict=True)
        if number is not None
    ]


@lowers("stablehlo.concatenate")
def lower_concatenate(context: Context, op: Op) -> mil.Value:
    axis = int(op.attr("dimension"))
    operands = [v for v in op.operands if v.tensor.shape[axis]]
    pieces = [_number(context, v) for v in operands]
    if len(op.type.shape) > MAX_RANK:
        shapes = [v.tensor.shape for v in operands]
        pieces = [
            context.reshape(piece, (math.prod(shape[:axis]), math.prod(shape[axis:])))
            for piece, shape in zip(pieces, shapes, strict=True)
        ]
        joined = context.concat(pieces, 1)
        return _like(context, op, context.reshape(joined, mil_shape(op.type)))
    return _like(context, op, context.concat(pieces, axis))


@lowers("stablehlo.reverse")
def lower_reverse(context: Context, op: Op) -> mil.Value:
    held, axes = _number(context, op.operands[0]), op.ints("dimensions")
    if len(op.type.shape) > MAX_RANK:
        runs = reverse_runs(op)
        held = context.reshape(held, [extent for _, extent in runs])
        axes = tuple(i for i, (turned, _) in enumerate(runs) if turned)
    held = context.op("reverse", {"x": held}, axes=axes)
    return _like(context, op, context.reshape(held, mil_shape(op.type)))


def reverse_runs(op: Op) -> list[tuple[object, int]]:
    """Returns a reversal's axes as runs: (are they turned round, elements)."""
    axes, shape = op.ints("dimensions"), op.type.shape
    return merge_axes([axis in axes for axis in range(len(shape))], shape)


@lowers("stablehlo.pad")
def lower_pad(context: Context, op: Op) -> mil.Value:
    # Partitioning admits constant pad values only.
    low, high = op.ints("edge_padding_low"), op.ints("edge_padding_high")
    interior = op.ints("interior_padding")
    held = context.dense(op.operands[0])
    is_mask = held.type.dtype == "bool"
    shape = held.shape
    held = pad_axes(context, context.to_fp16(held) if is_mask else held, low, high, interior)
    value = graph.constant_of(op.operands[1])
    assert value is not None
    number = float(value.flat[0])
    if number != 0.0:
        # The chip pads with zeros only; a constant that is 0 inside makes them the number.
        inside = inside_mask(shape, low, high, interior)
        held = context.op("add", {"x": held, "y": context.constant(np.where(inside, 0.0, number))})
    return context.to_bool(held) if is_mask else held


def inside_mask(
    shape: Sequence[int], low: Sequence[int], high: Sequence[int], interior: Sequence[int]
) -> np.ndarray:
    """Returns where a padded tensor holds elements of the operand, as 1 along unpadded axes."""
    mask = np.ones((1,) * len(shape), bool)
    for axis, extent in enumerate(shape):
        step = interior[axis] + 1
        spread = (extent - 1) * step + 1
        place = np.arange(spread + low[axis] + high[axis]) - low[axis]
        inside = (place >= 0) & (place < spread) & (place % step == 0)
        if not inside.all():
            mask = mask & inside.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return mask


def pad_axes(
    context: Context,
    held: mil.Value,
    low: Sequence[int],
    high: Sequence[int],
    interior: Sequence[int],
) -> mil.Value:
    """Pads with zeros; negative edges crop. All sequences have one entry per axis, in elements."""
    for axis, gap in enumerate(interior):
        if gap:
            held = _stuff(context, held, axis, gap)
    if any(edge < 0 for edge in (*low, *high)):
        begin = [max(0, -edge) for edge in low]
        size = [
            extent - first - max(0, -edge)
            for extent, first, edge in zip(held.shape, begin, high, strict=True)
        ]
        held = context.slice(held, begin, size)
    low = [max(0, edge) for edge in low]
    high = [max(0, edge) for edge in high]
    return _pad_edges(context, held, low, high)


def _stuff(context: Context, held: mil.Value, axis: int, gap: int) -> mil.Value:
    """Puts `gap` zeros between neighbours of an axis: pad each row after it, then drop the tail.

    The chip pads only the last two axes, so the tensor is seen as rows of one axis step.
    """
    shape = held.shape
    lead, extent, rest = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    steps = folded(lead * extent, context.axis_limit)
    if rest * (gap + 1) <= context.axis_limit:
        view, pad = (*steps, rest), (0, 0, 0, gap * rest)
    else:
        width = fitting(rest, context.axis_limit)
        view, pad = (*steps, rest // width, width), (0, gap * (rest // width), 0, 0)
    pad = (0,) * (2 * len(view) - 4) + pad
    rows = context.op("pad", {"x": context.reshape(held, view)}, pad=pad)
    stuffed = (*shape[:axis], extent * (gap + 1), *shape[axis + 1 :])
    size = (*shape[:axis], (extent - 1) * (gap + 1) + 1, *shape[axis + 1 :])
    return context.slice(context.reshape(rows, stuffed), (0,) * len(shape), size)


def _pad_edges(
    context: Context, held: mil.Value, low: Sequence[int], high: Sequence[int]
) -> mil.Value:
    """Pads with zeros, two neighbouring axes at a time where they fit, seen as the last two."""
    axes = [axis for axis in range(len(low)) if low[axis] or high[axis]]
    limit = context.axis_limit
    while axes:
        axis = axes.pop(0)
        shape = held.shape
        lead, rest = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        target = list(shape)
        target[axis] += low[axis] + high[axis]
        longest = max(shape[axis] + low[axis] + high[axis], lead)
        if axes and axes[0] == axis + 1 and longest <= limit:
            second = axis + 1
            inner = math.prod(shape[second + 1 :])
            if (shape[second] + low[second] + high[second]) * inner <= limit:
                axes.pop(0)
                target[second] += low[second] + high[second]
                view = (lead, shape[axis], rest)
                pad = (low[axis], high[axis], low[second] * inner, high[second] * inner)
                held = context.op("pad", {"x": context.reshape(held, view)}, pad=(0, 0, *pad))
                held = context.reshape(held, target)
                continue
        # The axis becomes rows of a width that fits: padding is whole rows.
        width = fitting(rest, limit)
        rows = rest // width
        view = (*folded(lead, limit), shape[axis] * rows, width)
        pad = (0,) * (2 * len(view) - 4) + (low[axis] * rows, high[axis] * rows, 0, 0)
        if rest == 1:
            view, pad = (*view[:-2], shape[axis]), (*pad[:-4], low[axis], high[axis])
        held = context.op("pad", {"x": context.reshape(held, view)}, pad=pad)
        held = context.reshape(held, target)
    return held


def folded(extent: int, limit: int) -> tuple[int, ...]:
    """Returns an extent as one axis, or as two where it is longer than the limit."""
    width = fitting(extent, limit)
    return (extent,) if width == extent else (extent // width, width)
