# SPDX-License-Identifier: Apache-2.0
"""A compiler bug of some chips: the scalar of `floor(x) * 0.5` is dropped.

before:  v1 = floor(x = a); v2 = mul(x = v1, y = 0.5)
after:   v1 = floor(x = a); v2 = mul(x = v1, y = [0.5, 0.5, ...])      (ANE034)

Known from one report (M5, macOS 26.5), for floor, ceil and round, with the full constant as the way
around it. Nobody has tried how near the two must stand, or other chips: so `floor_div` is guarded
as well, and what only reshapes in between does not count. Other chips keep the scalar.
"""

from __future__ import annotations

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Edit, scalar_operand, turn_into

_ROUNDING = frozenset({"floor", "ceil", "round", "floor_div"})


def guard(program: mil.Program) -> int:
    """Widens such scalars in place, after all passes, and returns how many."""
    edit = Edit(program)
    full: dict[tuple[float, tuple[int, ...]], mil.Value] = {}
    count = 0
    for op in program.ops:
        split = scalar_operand(op, "mul")
        if split is None or not _is_rounded(split[0]):
            continue
        value, number = split
        key = (number, value.shape)
        if key not in full:
            full[key] = edit.constant(op, np.full(value.shape, number))
        turn_into(op, "mul", {"x": value, "y": full[key]})
        count += 1
    edit.commit()
    return count


def _is_rounded(value: mil.Value) -> bool:
    while value.op is not None and value.op.opcode == "reshape":
        value = value.op.input("x")
    return value.op is not None and value.op.opcode in _ROUNDING
