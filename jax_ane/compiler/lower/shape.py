# SPDX-License-Identifier: Apache-2.0
"""Lowering of ops that move data: constants, broadcast, reshape, transpose, slice, pad, concat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jax_ane.compiler import graph, mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import Context, fitting, lowers, mil_shape


@lowers("stablehlo.constant")
def lower_constant(context: Context, op: Op) -> mil.Value:
    array = graph.dense(op.attr("value"))
    if op.type.dtype == "i1":
        return context.to_bool(context.expand(_fold_splat(context, array), mil_shape(op.type)))
    return _fold_splat(context, array)


def _fold_splat(context: Context, array: np.ndarray) -> mil.Value:
    array = array.astype(np.float32)
    if array.size and (array == array.flat[0]).all():
        return context.constant(array.flat[0])
    return context.constant(array)


@lowers("stablehlo.broadcast_in_dim")
def lower_broadcast_in_dim(context: Context, op: Op) -> mil.Value:
    held = context.get(op.operands[0])
    if held.shape == ():
        return held
    dims = op.ints("broadcast_dimensions")
    shape = [1] * max(len(op.type.shape), 1)
    for axis, dim in enumerate(dims):
        shape[dim] = held.shape[axis]
    if list(dims) != sorted(dims):
        order = sorted(range(len(dims)), key=lambda axis: dims[axis])
        held = context.transpose(held, order)
    return context.reshape(held, shape)


@lowers("stablehlo.reshape")
def lower_reshape(context: Context, op: Op) -> mil.Value:
    held = context.get(op.operands[0])
    if held.shape == ():
        return held
    if math.prod(held.shape) == 1:
        return context.reshape(held, (1,) * len(mil_shape(op.type)))
    kept = unit_reshape(held.shape, mil_shape(op.operands[0].tensor), mil_shape(op.type))
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


@lowers("stablehlo.transpose")
def lower_transpose(context: Context, op: Op) -> mil.Value:
    held = context.get(op.operands[0])
    return held if held.shape == () else context.transpose(held, op.ints("permutation"))


@lowers("stablehlo.slice")
def lower_slice(context: Context, op: Op) -> mil.Value:
    if context.get(op.operands[0]).shape == ():
        return context.get(op.operands[0])
    return context.slice(
        context.dense(op.operands[0]), op.ints("start_indices"), op.type.shape, op.ints("strides")
    )


@lowers("stablehlo.concatenate")
def lower_concatenate(context: Context, op: Op) -> mil.Value:
    axis = int(op.attr("dimension"))
    return context.concat([context.dense(v) for v in op.operands if v.tensor.shape[axis]], axis)


@lowers("stablehlo.reverse")
def lower_reverse(context: Context, op: Op) -> mil.Value:
    return context.op("reverse", {"x": context.dense(op.operands[0])}, axes=op.ints("dimensions"))


@lowers("stablehlo.pad")
def lower_pad(context: Context, op: Op) -> mil.Value:
    # Partitioning admits constant pad values only.
    low, high = op.ints("edge_padding_low"), op.ints("edge_padding_high")
    interior = op.ints("interior_padding")
    held = context.dense(op.operands[0])
    is_mask = held.type.dtype == "bool"
    shape = held.shape
    held = pad_axes(context, context.to_fp16(held) if is_mask else held, low, high, interior)
    value = op.operands[1].producer
    assert value is not None
    number = float(graph.dense(value.attr("value")).astype(np.float32))
    if number != 0.0:
        # The chip pads with zeros only; a constant that is 0 inside makes them the number.
        inside = inside_mask(shape, low, high, interior)
        held = context.op(
            "add", {"x": held, "y": context.constant(np.where(inside, 0.0, number))}
        )
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
    steps = _folded(lead * extent, context.axis_limit)
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
        view = (*_folded(lead, limit), shape[axis] * rows, width)
        pad = (0,) * (2 * len(view) - 4) + (low[axis] * rows, high[axis] * rows, 0, 0)
        if rest == 1:
            view, pad = (*view[:-2], shape[axis]), (*pad[:-4], low[axis], high[axis])
        held = context.op("pad", {"x": context.reshape(held, view)}, pad=pad)
        held = context.reshape(held, target)
    return held


def _folded(extent: int, limit: int) -> tuple[int, ...]:
    """Returns an extent as one axis, or as two where it is longer than the limit."""
    width = fitting(extent, limit)
    return (extent,) if width == extent else (extent // width, width)
