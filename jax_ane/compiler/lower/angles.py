# SPDX-License-Identifier: Apache-2.0
"""Lowering of trigonometric and hyperbolic functions and their inverses, where they have a form."""

from __future__ import annotations

import math
from collections.abc import Callable

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import Context, lowers

# atan(a) / a as a polynomial in a^2 for a in [0, 1], fitted to the least largest error (2.7e-5).
# The chip has an arctangent, but it is off by up to 1.9 % (op-legality.csv).
_ARCTANGENT = (0.99997321, -0.33180318, 0.1857289, -0.09274931, 0.02427532)
_SMALLEST = 2.0**-24  # of fp16's numbers above 0

TRIGONOMETRIC = {"stablehlo.sine": "sin", "stablehlo.cosine": "cos"}


@lowers(*TRIGONOMETRIC)
def lower_trigonometric(context: Context, op: Op) -> mil.Value:
    return context.op(TRIGONOMETRIC[op.name], {"x": context.ranked(op.operands[0])})


@lowers("stablehlo.atan2")
def lower_atan2(context: Context, op: Op) -> mil.Value:
    return _atan2(context, *(context.ranked(v) for v in op.operands))


def _atan2(context: Context, y: mil.Value, x: mil.Value) -> mil.Value:
    """Returns the angle of (x, y): the arctangent of an eighth of the circle, mirrored thrice."""
    zero = context.constant(0.0)
    high, wide = (context.op("abs", {"x": v}) for v in (y, x))
    longer = context.op("maximum", {"x": high, "y": wide})
    shorter = context.op("minimum", {"x": high, "y": wide})
    longer = context.op("maximum", {"x": longer, "y": context.constant(_SMALLEST)})  # of 0 / 0
    ratio = context.op("real_div", {"x": shorter, "y": longer})
    square = context.op("mul", {"x": ratio, "y": ratio})
    total = context.constant(_ARCTANGENT[-1])
    for coefficient in reversed(_ARCTANGENT[:-1]):
        product = context.op("mul", {"x": square, "y": total})
        total = context.op("add", {"x": product, "y": context.constant(coefficient)})
    angle = context.op("mul", {"x": ratio, "y": total})
    is_steep = context.op("greater", {"x": high, "y": wide})
    angle = _mirrored(context, is_steep, angle, math.pi / 2)
    is_left = context.op("less", {"x": x, "y": zero})
    angle = _mirrored(context, is_left, angle, math.pi)
    is_below = context.op("less", {"x": y, "y": zero})
    return _mirrored(context, is_below, angle, 0.0)


def _mirrored(context: Context, cond: mil.Value, angle: mil.Value, about: float) -> mil.Value:
    mirrored = context.op("sub", {"x": context.constant(about), "y": angle})
    return context.op("select", {"cond": cond, "a": mirrored, "b": angle})


def lower_asin(context: Context, x: mil.Value) -> mil.Value:
    return _atan2(context, x, _opposite(context, x))


def lower_acos(context: Context, x: mil.Value) -> mil.Value:
    return _atan2(context, _opposite(context, x), x)


def _opposite(context: Context, x: mil.Value) -> mil.Value:
    """Returns sqrt(1 - x^2) as sqrt((1 - x)(1 + x)), of which nothing cancels."""
    one = context.constant(1.0)
    below, above = context.op("sub", {"x": one, "y": x}), context.op("add", {"x": one, "y": x})
    return context.op("sqrt", {"x": context.op("mul", {"x": below, "y": above})})


def lower_cosh(context: Context, x: mil.Value) -> mil.Value:
    # The halves are in the exponents: e^x alone overflows at 11.1.
    half = context.constant(math.log(2.0))
    turned = context.op("mul", {"x": x, "y": context.constant(-1.0)})
    parts = (context.op("sub", {"x": side, "y": half}) for side in (x, turned))
    raised, lowered = (context.op("exp", {"x": part}) for part in parts)
    return context.op("add", {"x": raised, "y": lowered})


def lower_sinh(context: Context, x: mil.Value) -> mil.Value:
    # tanh(x) cosh(x): a difference of exponentials would lose the digits of small results.
    return context.op("mul", {"x": context.op("tanh", {"x": x}), "y": lower_cosh(context, x)})


def lower_erf(context: Context, x: mil.Value) -> mil.Value:
    return context.op("erf", {"x": x})


# What JAX hands over whole.
COMPOSITES: dict[str, Callable[[Context, mil.Value], mil.Value]] = {
    "chlo.acos": lower_acos,
    "chlo.asin": lower_asin,
    "chlo.cosh": lower_cosh,
    "chlo.erf": lower_erf,
    "chlo.sinh": lower_sinh,
}


@lowers("stablehlo.composite")
def lower_composite(context: Context, op: Op) -> mil.Value:
    # Partitioning admits the names above only.
    return COMPOSITES[op.attr("name").value](context, context.ranked(op.operands[0]))
