# SPDX-License-Identifier: Apache-2.0
"""What passes share: replacing values throughout a program."""

from __future__ import annotations

from jax_ane.compiler import mil


def replace_values(program: mil.Program, replacement: dict[int, mil.Value]) -> None:
    """Replaces uses of values, outputs included; `replacement` maps `id(old)` to the new value.

    Chains (a -> b, b -> c) are followed to their end.
    """
    if not replacement:
        return

    def final(value: mil.Value) -> mil.Value:
        while id(value) in replacement:
            value = replacement[id(value)]
        return value

    resolved = {old: final(new) for old, new in replacement.items()}
    for op in program.ops:
        op.replace_operands(resolved)
    program.outputs = [resolved.get(id(v), v) for v in program.outputs]
