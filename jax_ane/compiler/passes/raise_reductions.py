# SPDX-License-Identifier: Apache-2.0
"""Recognises sums of squares, which RMS norms and losses are full of.

before:  v1 = mul(x = a, y = a); v2 = reduce_sum(x = v1, axes = [1])
after:   v2 = reduce_sum_square(x = a, axes = [1])

The squares are rounded to fp16 before they are added, as without the pass (exact numerics; fast
numerics add in float32, where squares beyond fp16 survive). `reduce_sum_square` is native on every
chip (op-legality.csv). A mean of squares stays a mean: long ones are taken in steps, so that no sum
overflows (lower/reduce.py).
"""

from __future__ import annotations

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Uses, square_root, turn_into


def raise_reductions(program: mil.Program) -> int:
    """Raises in place and returns the number of changes."""
    sums = [op for op in program.ops if op.opcode == "reduce_sum"]
    if not sums:
        return 0
    uses, count = Uses(program), 0
    for op in sums:
        root = square_root(op.input("x"))
        if root is None or uses.only_user(op.input("x")) is not op:
            continue
        turn_into(op, "reduce_sum_square", {"x": root}, op.params)
        count += 1
    return count
