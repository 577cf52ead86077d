# SPDX-License-Identifier: Apache-2.0
"""Removes casts that keep the value.

before:  v1 = cast(x = a, dtype = "fp16")   (a is fp16)
after:   a

Only a cast to the type that the operand already has is removed: one that narrows and widens again
rounds, and stays.
"""

from __future__ import annotations

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import replace_values


def fuse_casts(program: mil.Program) -> int:
    """Removes value-preserving casts in place and returns how many there were."""
    replacement = {}
    for op in program.ops:
        if op.opcode != "cast" or op.params["dtype"] != op.input("x").type.dtype:
            continue
        if any(op.result is output for output in program.outputs) and _is_border(op.input("x")):
            continue
        replacement[id(op.result)] = op.input("x")
    replace_values(program, replacement)
    program.ops = [op for op in program.ops if id(op.result) not in replacement]
    return len(replacement)


def _is_border(value: mil.Value) -> bool:
    return value.op is None or value.constant is not None
