# SPDX-License-Identifier: Apache-2.0
"""Merges arithmetic with scalar constants, and spells it in the chip's cheapest way.

before:  v1 = real_div(x = a, y = 8); v2 = mul(x = v1, y = 3); v3 = mul(x = v2, y = -1)
after:   v3 = mul(x = a, y = -0.375)

Also: x + c1 + c2 of one sign, `x - c` to `x + (-c)`, `y + x * -1` to `y - x`, `y - x * -1` to
`y + x`, `maximum` with the least fp16 number and `minimum` with the greatest (what -inf and inf
became), `select` of twice the same. Products merge only where the new factor is a normal fp16
number; an inner op that others read stays.
"""

from __future__ import annotations

import math

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.passes.fold_constants import round_half_away
from jax_ane.compiler.rewrite import Edit, Uses, replace_values, scalar_operand, turn_into

_GREATEST = 65504.0
_LEAST_NORMAL = 2.0**-14


def simplify_arithmetic(program: mil.Program) -> int:
    """Rewrites in place and returns the number of changes."""
    uses, edit = Uses(program), Edit(program)
    replacement: dict[int, mil.Value] = {}
    count = 0
    for op in program.ops:
        op.replace_operands(replacement)
        same = _bound_that_never_binds(op) or _select_of_one(op)
        if same is not None and same.type == op.result.type and not uses.is_output(op.result):
            replacement[id(op.result)] = same
            count += 1
            continue
        for rule in _RULES.get(op.opcode, ()):
            count += rule(op, uses, edit)
    replace_values(program, replacement)
    program.ops = [op for op in program.ops if id(op.result) not in replacement]
    edit.commit()
    return count


def _bound_that_never_binds(op: mil.Op) -> mil.Value | None:
    for opcode, bound in (("maximum", -_GREATEST), ("minimum", _GREATEST)):
        split = scalar_operand(op, opcode)
        if split is not None and split[1] == bound:
            return split[0]
    return None


def _select_of_one(op: mil.Op) -> mil.Value | None:
    if op.opcode == "select" and op.inputs["a"] is op.inputs["b"]:
        return op.input("a")
    return None


def _divide_by_power_of_two(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    split = scalar_operand(op, "real_div")
    if split is None or not _is_normal(split[1]) or not _is_normal(1 / split[1]):
        return False
    if abs(math.frexp(split[1])[0]) != 0.5:
        return False
    turn_into(op, "mul", {"x": split[0], "y": edit.constant(op, 1 / split[1])})
    return True


def _subtract_number(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    split = scalar_operand(op, "sub")
    if split is None:
        return False
    turn_into(op, "add", {"x": split[0], "y": edit.constant(op, -split[1])})
    return True


def _merge_factors(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    outer = scalar_operand(op, "mul")
    inner = _inner(outer, "mul", op, uses)
    if outer is None or inner is None:
        return False
    factor = float(round_half_away(np.array(outer[1] * inner[1])))
    if not _is_normal(factor):
        return False
    turn_into(op, "mul", {"x": inner[0], "y": edit.constant(op, factor)})
    return True


def _merge_terms(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    outer = scalar_operand(op, "add")
    inner = _inner(outer, "add", op, uses)
    if outer is None or inner is None or outer[1] * inner[1] <= 0:
        return False  # of two signs: x + 1024 - 1024 rounds x, and may mean to
    term = float(round_half_away(np.array(outer[1] + inner[1])))
    if not _is_normal(term):
        return False
    turn_into(op, "add", {"x": inner[0], "y": edit.constant(op, term)})
    return True


def _inner(
    outer: tuple[mil.Value, float] | None, opcode: str, op: mil.Op, uses: Uses
) -> tuple[mil.Value, float] | None:
    """Splits the op behind `outer`'s operand, if only `op` reads it."""
    if outer is None or outer[0].op is None or uses.only_user(outer[0]) is not op:
        return None
    return scalar_operand(outer[0].op, opcode)


def _add_negative(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    """y + x * -1 is y - x; y - x * -1 is y + x: the same bits."""
    if op.opcode not in ("add", "sub"):
        return False
    for name, other in (("y", "x"), ("x", "y")):
        negative = op.input(name)
        if negative.op is None or (name == "x" and op.opcode == "sub"):
            continue
        split = scalar_operand(negative.op, "mul")
        if split is None or split[1] != -1.0 or uses.only_user(negative) is not op:
            continue
        turn_into(op, "sub" if op.opcode == "add" else "add", {"x": op.input(other), "y": split[0]})
        return True
    return False


def _is_normal(number: float) -> bool:
    return _LEAST_NORMAL <= abs(number) <= _GREATEST


# In turn: a rule may make the op one that the next knows.
_RULES = {
    "real_div": (_divide_by_power_of_two, _merge_factors),
    "sub": (_subtract_number, _merge_terms, _add_negative),
    "mul": (_merge_factors,),
    "add": (_merge_terms, _add_negative),
}
