# SPDX-License-Identifier: Apache-2.0
"""Lowering of ops that move data: constants, broadcast, reshape, transpose, slice, pad, concat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jax_ane.compiler import graph, mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import Context, lowers, mil_shape


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
    # Partitioning admits pads with zeros only.
    return pad_axes(
        context,
        context.dense(op.operands[0]),
        op.ints("edge_padding_low"),
        op.ints("edge_padding_high"),
        op.ints("interior_padding"),
    )


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
    rows = context.reshape(held, (lead * extent, rest))
    rows = context.op("pad", {"x": rows}, pad=(0, 0, 0, gap * rest))
    stuffed = (*shape[:axis], extent * (gap + 1), *shape[axis + 1 :])
    size = (*shape[:axis], (extent - 1) * (gap + 1) + 1, *shape[axis + 1 :])
    return context.slice(context.reshape(rows, stuffed), (0,) * len(shape), size)


def _pad_edges(
    context: Context, held: mil.Value, low: Sequence[int], high: Sequence[int]
) -> mil.Value:
    """Pads with zeros, two neighbouring axes at a time, each pair seen as the last two axes."""
    axes = [axis for axis in range(len(low)) if low[axis] or high[axis]]
    while axes:
        axis = axes.pop(0)
        shape = held.shape
        paired = bool(axes) and axes[0] == axis + 1
        if paired:
            axes.pop(0)
        last = axis + 1 if paired else axis
        rest = math.prod(shape[last + 1 :])
        lead = math.prod(shape[:axis])
        pad = [0, 0]
        if paired:
            view = (lead, shape[axis], shape[last] * rest)
            pad += [low[axis], high[axis]]
        else:
            view = (lead, shape[axis] * rest)
        pad += [low[last] * rest, high[last] * rest]
        target = list(shape)
        for changed in range(axis, last + 1):
            target[changed] += low[changed] + high[changed]
        held = context.op("pad", {"x": context.reshape(held, view)}, pad=tuple(pad))
        held = context.reshape(held, target)
    return held
