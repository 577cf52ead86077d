# SPDX-License-Identifier: Apache-2.0
"""Computes equal values once.

before:  v1 = sub(x = a, y = m); v2 = mul(x = v1, y = v1); v3 = sub(x = a, y = m)
after:   v1 = sub(x = a, y = m); v2 = mul(x = v1, y = v1)   (v1 for v3)

Two ops are equal if opcode, operands and parameters are; `add` and `mul` in either order. Outputs
stay results of ops of their own.
"""

from __future__ import annotations

from collections.abc import Hashable

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import replace_values

_COMMUTES = frozenset({"add", "mul"})
_MAX_CONSTANT = 1 << 16  # bytes; larger constants are compared by identity


def merge_common(program: mil.Program) -> int:
    """Merges in place and returns how many ops went."""
    outputs = {id(value) for value in program.outputs}
    first: dict[Hashable, mil.Value] = {}
    replacement: dict[int, mil.Value] = {}
    for op in program.ops:
        op.replace_operands(replacement)
        if op.value is not None and op.value.nbytes > _MAX_CONSTANT:
            continue
        known = first.setdefault(_key(op), op.result)
        if known is not op.result and id(op.result) not in outputs:
            replacement[id(op.result)] = known
    replace_values(program, replacement)
    program.ops = [op for op in program.ops if id(op.result) not in replacement]
    return len(replacement)


def _key(op: mil.Op) -> Hashable:
    if op.value is not None:
        return op.result.type, op.value.tobytes()
    operands: list[Hashable] = [
        (name, tuple(map(id, held)) if isinstance(held, tuple) else id(held))
        for name, held in op.inputs.items()
    ]
    if op.opcode in _COMMUTES:
        operands = [frozenset(map(id, op.operands()))]
    return op.opcode, tuple(operands), tuple(op.params.items())
