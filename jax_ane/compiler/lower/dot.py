# SPDX-License-Identifier: Apache-2.0
"""Lowering of `dot_general` to `matmul`, and the matmul helper that convolutions share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import MAX_RANK, Context, lowers, mil_shape
from jax_ane.compiler.lower.shape import move_axes, significant_runs

# Every chip refuses a contraction of 40,000 and takes 32,768 (op-legality.csv, matmul).
MAX_CONTRACTION = 32768
_MAX_ROWS = 16384  # the narrowest chip's axis limit


@lowers("stablehlo.dot_general")
def lower_dot_general(context: Context, op: Op) -> mil.Value:
    lhs_batch, rhs_batch, lhs_contract, rhs_contract = dot_dimensions(op)
    lhs, rhs = op.operands
    x, transpose_x = _operand(context, lhs, lhs_batch, lhs_contract, contract_last=True)
    y, transpose_y = _operand(context, rhs, rhs_batch, rhs_contract, contract_last=False)
    product = matmul(context, x, y, transpose_x, transpose_y)
    return context.reshape(product, mil_shape(op.type))


def dot_dimensions(op: Op) -> tuple[tuple[int, ...], ...]:
    """Returns (lhs batch, rhs batch, lhs contracting, rhs contracting) axes."""
    from jaxlib.mlir.dialects import stablehlo

    numbers = stablehlo.DotDimensionNumbers(op.attr("dot_dimension_numbers"))
    return (
        tuple(numbers.lhs_batching_dimensions),
        tuple(numbers.rhs_batching_dimensions),
        tuple(numbers.lhs_contracting_dimensions),
        tuple(numbers.rhs_contracting_dimensions),
    )


def folds(op: Op) -> bool:
    """Says whether a product of operands of any rank can be written with at most 5 axes."""
    lhs_batch, rhs_batch, lhs_contract, rhs_contract = dot_dimensions(op)
    sides = ((op.operands[0], lhs_batch, lhs_contract), (op.operands[1], rhs_batch, rhs_contract))
    for value, batch, contract in sides:
        shape = value.tensor.shape
        free = [i for i in range(len(shape)) if i not in batch and i not in contract]
        ways = ((*batch, *free, *contract), (*batch, *contract, *free))
        if min(len(significant_runs(way, shape)) for way in ways) > MAX_RANK:
            return False
    return True


def _operand(
    context: Context, value, batch: Sequence[int], contract: Sequence[int], contract_last: bool
) -> tuple[mil.Value, bool]:
    """Returns an operand as [batch, rows, columns] and whether matmul must transpose it.

    Axes move only where neither order of (free, contracted) is already there.
    """
    held = context.dense(value)
    shape = mil_shape(value.type) if len(value.type.shape) <= MAX_RANK else value.type.shape
    batch = [] if value.type.shape == () else list(batch)
    contract = [] if value.type.shape == () else list(contract)
    free = [i for i in range(len(shape)) if i not in batch and i not in contract]

    def size(axes: Sequence[int]) -> int:
        return math.prod(shape[i] for i in axes)

    wanted = [*batch, *free, *contract] if contract_last else [*batch, *contract, *free]
    swapped = [*batch, *contract, *free] if contract_last else [*batch, *free, *contract]
    moved = _significant(shape, swapped) == sorted(_significant(shape, swapped))
    straight = _significant(shape, wanted) == sorted(_significant(shape, wanted))
    transpose = moved and not straight
    if not (moved or straight):
        held = move_axes(context, held, shape, wanted)
    first, second = (free, contract) if contract_last != transpose else (contract, free)
    return context.reshape(held, (size(batch), size(first), size(second))), transpose


def _significant(shape: Sequence[int], order: Sequence[int]) -> list[int]:
    """Returns the axes of `order` that hold more than one element: only they can move data."""
    return [axis for axis in order if shape[axis] != 1]


def matmul(
    context: Context,
    x: mil.Value,
    y: mil.Value,
    transpose_x: bool = False,
    transpose_y: bool = False,
) -> mil.Value:
    """Multiplies [B, M, K] by [B, K, N] (or their transposes).

    Long contractions are split and added; too many rows become a batch, so callers must reshape
    the result to what they need.
    """
    x = _fold_rows(context, x, transpose_x, y)
    axis_x, axis_y = (1 if transpose_x else 2), (2 if transpose_y else 1)
    length = x.shape[axis_x]
    if length > MAX_CONTRACTION and axis_x == axis_y == 1 and x.shape[0] == y.shape[0] == 1:
        folded = _fold_contraction(context, x, y)
        if folded is not None:
            return folded
    pieces = -(-length // MAX_CONTRACTION)
    step = -(-length // pieces)
    total: mil.Value | None = None
    for begin in range(0, length, step):
        part = context.op(
            "matmul",
            {
                "x": _take(context, x, axis_x, begin, min(step, length - begin)),
                "y": _take(context, y, axis_y, begin, min(step, length - begin)),
            },
            transpose_x=transpose_x,
            transpose_y=transpose_y,
        )
        total = part if total is None else context.op("add", {"x": total, "y": part})
    assert total is not None
    return total


def _fold_contraction(context: Context, x: mil.Value, y: mil.Value) -> mil.Value | None:
    """Multiplies x [1, K, M], transposed, by y [1, K, N] as a batch over pieces of K, added up.

    No axis is K long then. None where K has no divisor that makes pieces of a fair length.
    """
    length = x.shape[1]
    least = -(-length // MAX_CONTRACTION)
    pieces = next((n for n in range(least, 8 * least) if length % n == 0), None)
    if pieces is None:
        return None
    parts = context.op(
        "matmul",
        {
            "x": context.reshape(x, (pieces, length // pieces, x.shape[2])),
            "y": context.reshape(y, (pieces, length // pieces, y.shape[2])),
        },
        transpose_x=True,
        transpose_y=False,
    )
    return context.op("reduce_sum", {"x": parts}, axes=(0,), keep_dims=True)


def _fold_rows(context: Context, x: mil.Value, transposed: bool, y: mil.Value) -> mil.Value:
    batch, rows, depth = x.shape
    if transposed or batch != 1 or y.shape[0] != 1 or rows <= _MAX_ROWS:
        return x
    pieces = next(n for n in range(-(-rows // _MAX_ROWS), rows + 1) if rows % n == 0)
    return context.reshape(x, (pieces, rows // pieces, depth))


def _take(context: Context, held: mil.Value, axis: int, begin: int, size: int) -> mil.Value:
    start = [0] * len(held.shape)
    extent = list(held.shape)
    start[axis], extent[axis] = begin, size
    return context.slice(held, start, extent)
