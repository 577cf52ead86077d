# SPDX-License-Identifier: Apache-2.0
"""Lowering of powers, roots, remainders and rounding to whole numbers."""

from __future__ import annotations

import numpy as np

from jax_ane.compiler import graph, mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import Context, lowers

# From 1024 on fp16 has no halves, and the chip's `round` is wrong (1024 becomes 1025).
_FIRST_WITHOUT_HALVES = 1024.0
# Powers up to this one are products; each doubling rounds once more, so longer chains lose to
# `pow`.
_LONGEST_PRODUCT = 8


@lowers("stablehlo.power")
def lower_power(context: Context, op: Op) -> mil.Value:
    x = context.ranked(op.operands[0])
    exponent = graph.constant_of(op.operands[1])
    if exponent is not None and (exponent == exponent.flat[0]).all():
        return _power_of_constant(context, x, float(exponent.flat[0]))
    return _power(context, x, context.ranked(op.operands[1]))


def _power_of_constant(context: Context, x: mil.Value, exponent: float) -> mil.Value:
    if exponent in (0.5, -0.5):
        if exponent > 0:
            return context.op("sqrt", {"x": x})
        return context.op("rsqrt", {"x": x}, epsilon=np.float16(6e-8))
    whole = exponent == np.floor(exponent)
    if whole and 1 <= abs(exponent) <= _LONGEST_PRODUCT:
        if exponent < 0:
            # First the reciprocal: a power that overflows may have one that fp16 holds.
            x = context.op("real_div", {"x": context.constant(1.0), "y": x})
        return _product(context, x, int(abs(exponent)))
    y = context.constant(exponent)
    if not whole:
        return context.op("pow", {"x": x, "y": y})
    size = context.op("pow", {"x": context.op("abs", {"x": x}), "y": y})
    if exponent % 2 == 0:
        return size
    return context.op("mul", {"x": size, "y": context.op("sign", {"x": x})})


def _product(context: Context, x: mil.Value, count: int) -> mil.Value:
    """Multiplies x by itself by repeated squaring."""
    total: mil.Value | None = None
    while True:
        if count & 1:
            total = x if total is None else context.op("mul", {"x": total, "y": x})
        count >>= 1
        if not count:
            assert total is not None
            return total
        x = context.op("mul", {"x": x, "y": x})


def _power(context: Context, x: mil.Value, y: mil.Value) -> mil.Value:
    """Returns x^y of any signs. The chip's `pow` goes by a logarithm: 0 for a negative base.

    There, whole exponents give |x|^y with the sign of their parity; others have no real value.
    """
    size = context.op("pow", {"x": context.op("abs", {"x": x}), "y": y})
    half = context.op("floor", {"x": context.op("mul", {"x": y, "y": context.constant(0.5)})})
    parity = context.op("sub", {"x": y, "y": context.op("add", {"x": half, "y": half})})
    is_odd = context.op("equal", {"x": parity, "y": context.constant(1.0)})
    is_negative = context.op("less", {"x": x, "y": context.constant(0.0)})
    turned = context.op("mul", {"x": size, "y": context.constant(-1.0)})
    of_negative = context.op("select", {"cond": is_odd, "a": turned, "b": size})
    return context.op("select", {"cond": is_negative, "a": of_negative, "b": size})


@lowers("stablehlo.cbrt")
def lower_cbrt(context: Context, op: Op) -> mil.Value:
    x = context.ranked(op.operands[0])
    third = context.constant(1.0 / 3.0)
    root = context.op("pow", {"x": context.op("abs", {"x": x}), "y": third})
    return context.op("mul", {"x": root, "y": context.op("sign", {"x": x})})


@lowers("stablehlo.remainder")
def lower_remainder(context: Context, op: Op) -> mil.Value:
    # |x| - |y| floor(|x| / |y|), with the sign of x. Only `floor_div` has the floor of the exact
    # quotient; that of a rounded one would be off by one next to a whole number.
    x, y = context.ranked(op.operands[0]), context.get(op.operands[1])
    size, step = context.op("abs", {"x": x}), _magnitude(context, y)
    times = context.op("floor_div", {"x": size, "y": step})
    rest = context.op("sub", {"x": size, "y": context.op("mul", {"x": times, "y": step})})
    rest = context.op("maximum", {"x": rest, "y": context.constant(0.0)})
    turned = context.op("mul", {"x": rest, "y": context.constant(-1.0)})
    is_negative = context.op("less", {"x": x, "y": context.constant(0.0)})
    return context.op("select", {"cond": is_negative, "a": turned, "b": rest})


def _magnitude(context: Context, value: mil.Value) -> mil.Value:
    if value.constant is not None:
        return context.constant(np.abs(value.constant))
    return context.op("abs", {"x": value})


@lowers("stablehlo.round_nearest_afz")
def lower_round_nearest_afz(context: Context, op: Op) -> mil.Value:
    x = context.ranked(op.operands[0])
    return _whole_already(context, x, context.op("round", {"x": x}))


@lowers("stablehlo.round_nearest_even")
def lower_round_nearest_even(context: Context, op: Op) -> mil.Value:
    # `round` takes halves away from zero. Half way between two whole numbers, twice the rounded
    # half of x is the even one of them.
    x = context.ranked(op.operands[0])
    halved = context.op("mul", {"x": x, "y": context.constant(0.5)})
    half = context.op("round", {"x": halved})
    fraction = context.op("sub", {"x": x, "y": context.op("floor", {"x": x})})
    is_tie = context.op("equal", {"x": fraction, "y": context.constant(0.5)})
    even = context.op("add", {"x": half, "y": half})
    nearest = context.op("select", {"cond": is_tie, "a": even, "b": context.op("round", {"x": x})})
    return _whole_already(context, x, nearest)


def _whole_already(context: Context, x: mil.Value, rounded: mil.Value) -> mil.Value:
    """Keeps x where fp16 has whole numbers only."""
    size = context.op("abs", {"x": x})
    is_small = context.op("less", {"x": size, "y": context.constant(_FIRST_WITHOUT_HALVES)})
    return context.op("select", {"cond": is_small, "a": rounded, "b": x})
