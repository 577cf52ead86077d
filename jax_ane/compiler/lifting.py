# SPDX-License-Identifier: Apache-2.0
"""Small constants on the way of scaled gradients: 1/196 becomes 256/196, taken back at the end.

A mean over positions divides a gradient in the middle of a backward pass, after its scale at the
border was chosen, and what follows sinks towards 2^-16, the step of the MAC's accumulator. What
follows is linear, so the constant may be larger by a power of two if the outputs behind it are
divided by it, in float32, when they are read.

before:  v1 = mul(x = dy, y = 0x1.4ep-8); v2 = matmul(x = v1, y = w)
after:   v1 = mul(x = dy, y = 0x1.4ep-1); v2 = matmul(x = v1, y = w)      v2's exponent: 7
"""

from __future__ import annotations

import math
from collections.abc import Callable

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Edit, scalar_operand, turn_into

# Larger constants stay: an attention's scale, say. In 1/16 of the range nothing is lost yet.
_SMALL = 2.0**-4
# Those met first matter: everything behind them gains. Means within norms are joined again.
_MOST_TRIED = 8

Exponents = dict[int, int]  # id of a value -> the power of two that it is too large by


def lift(program: mil.Program, is_linear: Callable[[mil.Value], bool]) -> Exponents:
    """Raises constants in place and returns the exponents of what they are multiplied into.

    Args:
        program: the program, after its passes.
        is_linear: whether a value is linear in the inputs that are scaled.
    """
    candidates = {}
    for op in program.ops:
        factor = _factor(op) if is_linear(op.result) else None
        if factor is not None and 0 < abs(factor[1]) < _SMALL:
            candidates[id(op)] = (op, *factor)
    lifted: Exponents = {}
    found: Exponents = {}
    for key, (_, _, number) in list(candidates.items())[:_MOST_TRIED]:
        trial = {**lifted, key: math.floor(-math.log2(abs(number)))}
        exponents = _exponents(program, is_linear, trial)
        if exponents is not None:
            lifted, found = trial, exponents
    edit = Edit(program)
    for key, exponent in lifted.items():
        op, x, number = candidates[key]
        constant = edit.constant(op, number * 2.0**exponent)
        turn_into(op, "mul", {"x": x, "y": constant})
    edit.commit()
    return found


def _factor(op: mil.Op) -> tuple[mil.Value, float] | None:
    """Splits a product with a number, or a quotient by one."""
    product = scalar_operand(op, "mul")
    if product is not None:
        return product
    quotient = scalar_operand(op, "real_div")
    if quotient is not None and quotient[1]:
        return quotient[0], 1 / quotient[1]
    return None


def _exponents(
    program: mil.Program, is_linear: Callable[[mil.Value], bool], lifted: Exponents
) -> Exponents | None:
    """Returns the exponents of all linear values; None where two that differ would be added."""
    exponents: Exponents = {}
    for op in program.ops:
        if not is_linear(op.result):
            continue
        before = {exponents.get(id(v), 0) for v in op.operands() if is_linear(v)}
        if len(before) > 1:
            return None
        exponents[id(op.result)] = sum(before) + lifted.get(id(op), 0)
    return exponents
