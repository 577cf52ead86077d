# SPDX-License-Identifier: Apache-2.0
"""Folding along an axis: windows of any length, cumulative ops, products of all elements.

A short window is one shifted slice per element. A long one (a cumulative op is a window as long as
its axis) takes far fewer steps: a sum is a product with a constant banded matrix, one `matmul`
whose sums the engine does not round; everything else doubles, from folds of 1 to 2, 4, 8 elements,
so that there are twice as many steps as the length has binary digits.
"""

from __future__ import annotations

import math

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.lower import Context
from jax_ane.compiler.lower.dot import matmul

# Windows from this length on are not taken slice by slice.
LEAST_LONG = 9
# A product is rounded once a factor, in any order: 0.4 % off at this many, typically.
MAX_FACTORS = 128
_LARGEST_BAND = 2**20  # elements of the constant matrix: 2 MB, a cumulative sum of 1024


def is_banded(extent: int, out: int, size: int) -> bool:
    """Says whether a sum over windows of an axis goes by a matrix."""
    return size >= LEAST_LONG and extent * out <= _LARGEST_BAND


def band(
    extent: int, out: int, size: int, stride: int, dilation: int, low: int, gap: int
) -> np.ndarray:
    """Returns the matrix [extent, out] whose product with an axis is its windows' sums.

    Args:
        extent: of the axis, in elements.
        out: how many windows.
        size: elements of a window.
        stride: from window to window.
        dilation: from element to element of a window.
        low: padding before the axis, negative to crop.
        gap: zeros between the axis' elements.
    """
    place = np.arange(extent)[:, None] * (gap + 1) + low - np.arange(out)[None, :] * stride
    inside = (place >= 0) & (place <= (size - 1) * dilation) & (place % dilation == 0)
    return inside.astype(np.float32)


def multiply_axis(
    context: Context, held: mil.Value, axis: int, matrix: np.ndarray
) -> mil.Value | None:
    """Multiplies an axis by a constant matrix [old extent, new extent].

    None where the axes beside it, merged, are longer than the chip's longest.
    """
    shape = held.shape
    lead, rest = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    old, new = matrix.shape
    out = (*shape[:axis], new, *shape[axis + 1 :])
    if rest == 1:
        rows = context.reshape(held, (1, lead, old))
        return context.reshape(matmul(context, rows, _stored(context, matrix)), out)
    if max(lead, rest) > context.axis_limit:
        return None
    columns = context.reshape(held, (lead, old, rest))
    return context.reshape(matmul(context, _stored(context, matrix.T), columns), out)


def _stored(context: Context, matrix: np.ndarray) -> mil.Value:
    """Returns the matrix as a constant of rank 3, also where it has one element."""
    stored = context.constant(matrix[None])
    return stored if stored.shape else context.expand(stored, (1, 1, 1))


def fold_axis(
    context: Context,
    held: mil.Value,
    axis: int,
    combine: str,
    size: int,
    out: int,
    stride: int,
    dilation: int,
) -> mil.Value:
    """Folds `out` windows of an axis that is padded already with the MIL op `combine`."""

    def tap(source: mil.Value, first: int, extent: int, step: int) -> mil.Value:
        begin, shape, steps = [0] * len(held.shape), list(source.shape), [1] * len(held.shape)
        begin[axis], shape[axis], steps[axis] = first * dilation, extent, step
        return context.slice(source, begin, shape, steps)

    def joined(x: mil.Value | None, y: mil.Value) -> mil.Value:
        return y if x is None else context.op(combine, {"x": x, "y": y})

    total: mil.Value | None = None
    if size < LEAST_LONG:
        for offset in range(size):
            total = joined(total, tap(held, offset, out, stride))
        assert total is not None
        return total
    span, done = 1, 0  # of elements: that `held` folds by now, and that `total` holds
    while True:
        if size & span:
            total = joined(total, tap(held, done, out, stride))
            done += span
        if 2 * span > size:
            assert total is not None
            return total
        extent = held.shape[axis] - span * dilation
        held = joined(tap(held, 0, extent, 1), tap(held, span, extent, 1))
        span *= 2


def multiply_all(context: Context, held: mil.Value, axis: int) -> mil.Value:
    """Returns the product of all elements along an axis, which stays as an axis of 1.

    Halves are multiplied with each other: the chip has no reduction by products.
    """

    def part(first: int, extent: int) -> mil.Value:
        begin, shape = [0] * len(held.shape), list(held.shape)
        begin[axis], shape[axis] = first, extent
        return context.slice(held, begin, shape)

    odd: mil.Value | None = None
    while (length := held.shape[axis]) > 1:
        half = length // 2
        if length % 2:
            last = part(length - 1, 1)
            odd = last if odd is None else context.op("mul", {"x": odd, "y": last})
        held = context.op("mul", {"x": part(0, half), "y": part(half, half)})
    return held if odd is None else context.op("mul", {"x": held, "y": odd})
