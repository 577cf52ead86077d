# SPDX-License-Identifier: Apache-2.0
"""Removes ops whose result nothing uses.

before:  v1 = exp(x = a); v2 = add(x = a, y = a) -> (v2)
after:   v2 = add(x = a, y = a) -> (v2)

Program inputs stay, used or not: they are the program's interface.
"""

from __future__ import annotations

from jax_ane.compiler import mil


def eliminate_dead_code(program: mil.Program) -> int:
    """Removes dead ops in place and returns how many there were."""
    live = {id(value) for value in program.outputs}
    kept: list[mil.Op] = []
    for op in reversed(program.ops):
        if id(op.result) in live:
            live.update(map(id, op.operands()))
            kept.append(op)
    removed = len(program.ops) - len(kept)
    program.ops = kept[::-1]
    return removed
