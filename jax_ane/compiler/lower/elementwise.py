# SPDX-License-Identifier: Apache-2.0
"""Lowering of elementwise ops: arithmetic, comparison, masks, selection, tables."""

from __future__ import annotations

import numpy as np

from jax_ane.compiler import graph, mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import Context, lowers, mil_shape, reduce

MAX_FP16 = 65504.0

UNARY = {
    "stablehlo.abs": "abs",
    "stablehlo.ceil": "ceil",
    "stablehlo.exponential": "exp",
    "stablehlo.floor": "floor",
    "stablehlo.sign": "sign",
    "stablehlo.sqrt": "sqrt",
    "stablehlo.tanh": "tanh",
}
BINARY = {
    "stablehlo.add": "add",
    "stablehlo.maximum": "maximum",
    "stablehlo.minimum": "minimum",
    "stablehlo.multiply": "mul",
    "stablehlo.subtract": "sub",
}
COMPARE = {
    "EQ": "equal",
    "NE": "not_equal",
    "LT": "less",
    "LE": "less_equal",
    "GT": "greater",
    "GE": "greater_equal",
}
# Masks are computed as the numbers 0 and 1: the chip has no logical ops.
LOGICAL = {"stablehlo.and": "mul", "stablehlo.or": "maximum", "stablehlo.xor": "not_equal"}


@lowers(*UNARY)
def lower_unary(context: Context, op: Op) -> mil.Value:
    return context.op(UNARY[op.name], {"x": context.ranked(op.operands[0])})


@lowers("stablehlo.rsqrt")
def lower_rsqrt(context: Context, op: Op) -> mil.Value:
    # The smallest epsilon that fp16 holds: MIL's default of 1e-12 would vanish.
    return context.op("rsqrt", {"x": context.ranked(op.operands[0])}, epsilon=np.float16(6e-8))


@lowers("stablehlo.exponential_minus_one")
def lower_exponential_minus_one(context: Context, op: Op) -> mil.Value:
    # tanh(x/2) (exp(x) + 1): near 0 nothing cancels, so small results keep their digits.
    x = context.ranked(op.operands[0])
    half = context.op("mul", {"x": x, "y": context.constant(0.5)})
    raised = context.op("add", {"x": context.op("exp", {"x": x}), "y": context.constant(1.0)})
    return context.op("mul", {"x": context.op("tanh", {"x": half}), "y": raised})


@lowers("stablehlo.logistic")
def lower_logistic(context: Context, op: Op) -> mil.Value:
    # 1 / (1 + exp(-x)), as jax spells it: the chip's sigmoid is wrong by eight times as much.
    x = context.ranked(op.operands[0])
    raised = context.op("exp", {"x": context.op("mul", {"x": x, "y": context.constant(-1.0)})})
    below = context.op("add", {"x": raised, "y": context.constant(1.0)})
    return context.op("real_div", {"x": context.constant(1.0), "y": below})


@lowers("stablehlo.negate")
def lower_negate(context: Context, op: Op) -> mil.Value:
    return context.op("mul", {"x": context.ranked(op.operands[0]), "y": context.constant(-1.0)})


@lowers(*BINARY)
def lower_binary(context: Context, op: Op) -> mil.Value:
    x, y = _pair(context, op)
    return context.op(BINARY[op.name], {"x": x, "y": y})


@lowers("stablehlo.divide")
def lower_divide(context: Context, op: Op) -> mil.Value:
    divisor = graph.constant_of(op.operands[1])
    if divisor is not None and divisor.size and (divisor == divisor.flat[0]).all():
        number = float(divisor.flat[0])
        mean = reduce.mean_of(context, op.operands[0], number)
        if mean is not None:
            return mean
        if MAX_FP16 < abs(number) < np.inf:
            # Two factors that fp16 holds.
            x = context.ranked(op.operands[0])
            part = context.op("mul", {"x": x, "y": context.constant(2.0**-10)})
            rest = context.constant(2.0**10 / number)
            return context.op("mul", {"x": part, "y": rest})
    x, y = _pair(context, op)
    return context.op("real_div", {"x": x, "y": y})


def _pair(context: Context, op: Op) -> tuple[mil.Value, mil.Value]:
    """Returns two operands of which one has the rank: folding constants is a pass's business."""
    x, y = (context.get(v) for v in op.operands)
    return (context.ranked(op.operands[0]) if x.shape == y.shape == () else x), y


@lowers("stablehlo.compare")
def lower_compare(context: Context, op: Op) -> mil.Value:
    direction = graph.comparison_direction(op)
    if op.operands[0].tensor.dtype == "i1":
        x, y = (context.to_fp16(context.get(v)) for v in op.operands)
    else:
        x, y = _pair(context, op)
    return context.op(COMPARE[direction], {"x": x, "y": y})


@lowers(*LOGICAL)
def lower_logical(context: Context, op: Op) -> mil.Value:
    x, y = (context.to_fp16(context.get(v)) for v in op.operands)
    number = context.op(LOGICAL[op.name], {"x": x, "y": y})
    return number if number.type.dtype == "bool" else context.to_bool(number)


@lowers("stablehlo.not")
def lower_not(context: Context, op: Op) -> mil.Value:
    number = context.to_fp16(context.get(op.operands[0]))
    return context.op("equal", {"x": number, "y": context.constant(0.0)})


@lowers("stablehlo.select")
def lower_select(context: Context, op: Op) -> mil.Value:
    predicate, on_true, on_false = op.operands
    cond = context.get(predicate)
    if predicate.tensor.shape != op.type.shape and cond.shape == (1,):
        cond = context.reshape(cond, (1,) * len(mil_shape(op.type)))
    if op.type.dtype == "i1":
        a, b = (context.to_fp16(context.get(v)) for v in (on_true, on_false))
        return context.to_bool(context.op("select", {"cond": cond, "a": a, "b": b}))
    a, b = context.get(on_true), context.get(on_false)
    return context.op("select", {"cond": cond, "a": a, "b": b})


@lowers("stablehlo.clamp")
def lower_clamp(context: Context, op: Op) -> mil.Value:
    low, value, high = op.operands
    rank = len(mil_shape(op.type))

    def bound(operand: graph.Value) -> mil.Value:
        held = context.get(operand)
        if operand.tensor.shape == () and held.shape == (1,):
            return context.reshape(held, (1,) * rank)
        return held

    raised = context.op("maximum", {"x": context.ranked(value), "y": bound(low)})
    return context.op("minimum", {"x": raised, "y": bound(high)})


@lowers("stablehlo.convert", "stablehlo.reduce_precision")
def lower_convert(context: Context, op: Op) -> mil.Value:
    source = context.get(op.operands[0])
    if source.constant is not None and op.type.is_float:
        return source  # a constant is written in the program's own type
    source = context.ranked(op.operands[0])
    if op.operands[0].tensor.dtype == "i1":
        return context.to_fp16(source)
    if op.type.dtype == "i1":
        return context.to_bool(source)
    # Every float of a cluster is fp16, so this is the identity; the cast pass removes it. A
    # rounding to fewer digits than fp16's stays on the host.
    return context.op("cast", {"x": source}, dtype="fp16")
