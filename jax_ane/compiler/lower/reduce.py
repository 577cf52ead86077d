# SPDX-License-Identifier: Apache-2.0
"""Lowering of reductions: `reduce` over axes, `reduce_window` as a fold over shifted slices."""

from __future__ import annotations

import itertools

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import Context, lowers, mil_shape
from jax_ane.compiler.lower.shape import pad_axes

# Reducer op -> (MIL reduction, MIL binary op).
REDUCERS = {
    "stablehlo.add": ("reduce_sum", "add"),
    "stablehlo.maximum": ("reduce_max", "maximum"),
    "stablehlo.minimum": ("reduce_min", "minimum"),
}


def reducer(op: Op) -> str | None:
    """Returns the one op of a reduction's body, or None if the body is anything else."""
    body = list(op.mlir.regions[0].blocks[0].operations)
    if len(body) != 2 or len(body[0].operation.operands) != 2:
        return None
    arguments = set(op.mlir.regions[0].blocks[0].arguments)
    first = body[0].operation
    if set(first.operands) != arguments or list(body[1].operation.operands) != [first.results[0]]:
        return None
    return first.name


@lowers("stablehlo.reduce")
def lower_reduce(context: Context, op: Op) -> mil.Value:
    opcode, combine = REDUCERS[reducer(op) or ""]
    axes = op.ints("dimensions")
    source = context.dense(op.operands[0])
    if axes:
        source = context.op(opcode, {"x": source}, axes=axes, keep_dims=True)
    # Keeping the axes and reshaping never meets a rank of 0 inside the program.
    held = context.reshape(source, mil_shape(op.type))
    return _with_initial(context, op, held, combine)


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
    if combine == "add":
        return value == 0.0
    return value <= -65504 if combine == "maximum" else value >= 65504


@lowers("stablehlo.reduce_window")
def lower_reduce_window(context: Context, op: Op) -> mil.Value:
    _, combine = REDUCERS[reducer(op) or ""]
    rank = len(op.type.shape)
    padding = [int(v) for v in op.attr("padding")] if op.attr("padding") else [0] * (2 * rank)
    ones = (1,) * rank

    def ints(name: str) -> tuple[int, ...]:
        return op.ints(name) if op.attr(name) is not None else ones

    held = pad_axes(
        context,
        context.dense(op.operands[0]),
        padding[0::2],
        padding[1::2],
        [d - 1 for d in ints("base_dilations")],
    )
    dilation, strides = ints("window_dilations"), ints("window_strides")
    total: mil.Value | None = None
    for offset in itertools.product(*map(range, op.ints("window_dimensions"))):
        begin = [o * d for o, d in zip(offset, dilation, strict=True)]
        tap = context.slice(held, begin, op.type.shape, strides)
        total = tap if total is None else context.op(combine, {"x": total, "y": tap})
    assert total is not None
    return _with_initial(context, op, total, combine)
