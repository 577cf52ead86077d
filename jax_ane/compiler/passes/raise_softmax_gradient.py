# SPDX-License-Identifier: Apache-2.0
"""Writes the gradient of a softmax in terms of its result.

before:  y = real_div(x = e, y = s); i = real_div(x = 1, y = mul(x = s, y = s))
         t = reduce_sum(x = mul(x = mul(x = g, y = i), y = e))
         r = mul(x = sub(x = real_div(x = g, y = s), y = t), y = e)
after:   y = real_div(x = e, y = s); t = reduce_sum(x = mul(x = g, y = y))
         r = mul(x = sub(x = g, y = t), y = y)

e are exponentials and s their sum, as JAX differentiates the quotient. Two operations on every
element less; and nothing but the sum and y reads e then, so that `raise_softmax` finds the softmax.
On the chip the first form fails for long rows: s * s is infinite from s = 256 on, which takes t to
0, and 1 / s^2 loses digits from s = 64 on.
"""

from __future__ import annotations

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Edit, scalar, square_root, turn_into


def raise_softmax_gradient(program: mil.Program) -> int:
    """Rewrites in place and returns how many gradients were found."""
    if not any(op.opcode == "exp" for op in program.ops):
        return 0
    edit = Edit(program)
    count = sum(_raise(op, edit) for op in program.ops if op.opcode == "mul")
    edit.commit()
    return count


def _raise(op: mil.Op, edit: Edit) -> bool:
    for left, right in (("x", "y"), ("y", "x")):
        difference, e = op.input(left).op, op.input(right)
        if difference is None or difference.opcode != "sub" or not _is(e.op, "exp"):
            continue
        quotient, total = difference.input("x").op, difference.input("y").op
        if quotient is None or quotient.opcode != "real_div":
            continue
        g, s = quotient.input("x"), quotient.input("y")
        axes = _summed_axes(s.op)
        if axes is None or s.op is None or s.op.input("x") is not e or total is None:
            continue
        if _summed_axes(total) != axes or not _is_weighted(total.input("x"), g, e, s):
            continue
        if not g.type == e.type == op.result.type:
            continue
        y = edit.op(op, "real_div", {"x": e, "y": s})
        weighted = edit.op(op, "mul", {"x": g, "y": y})
        mean = edit.op(op, "reduce_sum", {"x": weighted}, axes=axes, keep_dims=True)
        turn_into(op, "mul", {"x": edit.op(op, "sub", {"x": g, "y": mean}), "y": y})
        return True
    return False


def _is(op: mil.Op | None, opcode: str) -> bool:
    return op is not None and op.opcode == opcode


def _summed_axes(op: mil.Op | None) -> tuple[int, ...] | None:
    if op is None or op.opcode != "reduce_sum" or op.params["keep_dims"] is not True:
        return None
    return tuple(op.params["axes"])


def _is_weighted(value: mil.Value, g: mil.Value, e: mil.Value, s: mil.Value) -> bool:
    """Whether a value is g * e / s^2, in any order of the factors."""
    factors, waiting = [], [value]
    while waiting and len(factors) <= 3:
        factor = waiting.pop()
        if factor not in (g, e) and factor.op is not None and factor.op.opcode == "mul":
            waiting += [factor.op.input("x"), factor.op.input("y")]
        else:
            factors.append(factor)
    others = [factor for factor in factors if factor is not g and factor is not e]
    return len(factors) == 3 and len(others) == 1 and g in factors and e in factors and (
        _is_inverse_square(others[0].op, s)
    )  # fmt: skip


def _is_inverse_square(op: mil.Op | None, s: mil.Value) -> bool:
    if op is None or op.opcode != "real_div" or scalar(op.input("x")) != 1.0:
        return False
    return square_root(op.input("y")) is s
