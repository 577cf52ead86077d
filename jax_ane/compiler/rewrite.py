# SPDX-License-Identifier: Apache-2.0
"""What passes share: replacing values, placing new ops, and who uses what.

Nothing that these helpers say about uses is needed for a rewrite to be right: a pass turns an op in
place into one of the same value, and what nobody reads any more goes with dead code. Uses decide
whether a rewrite pays, so an index made once a pass serves all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

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


def scalar(value: mil.Value) -> float | None:
    """Returns the number that a one-element constant holds, or None."""
    array = value.constant
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def scalar_operand(op: mil.Op, opcode: str) -> tuple[mil.Value, float] | None:
    """Splits `x <opcode> number`, or `number <opcode> x` of a commutative op, of x's own type."""
    if op.opcode != opcode:
        return None
    x, y = op.input("x"), op.input("y")
    number = scalar(y)
    if number is None and opcode in ("add", "mul", "maximum", "minimum"):
        x, number = y, scalar(x)
    if number is None or x.constant is not None or x.type != op.result.type:
        return None
    return x, number


def square_root(value: mil.Value) -> mil.Value | None:
    """Returns x if `value` is x * x."""
    op = value.op
    if op is None or op.opcode not in ("mul", "square"):
        return None
    x = op.input("x")
    return x if op.opcode == "square" or op.inputs["y"] is x else None


def turn_into(
    op: mil.Op,
    opcode: str,
    inputs: Mapping[str, mil.Value | tuple[mil.Value, ...]],
    params: dict[str, Any] | None = None,
) -> None:
    """Makes `op` another op with the same result."""
    op.opcode, op.inputs, op.params = opcode, dict(inputs), params or {}


class Uses:
    """Who reads each value, as it was when this index was made."""

    def __init__(self, program: mil.Program) -> None:
        self._users = program.users()
        self._outputs = {id(value) for value in program.outputs}

    def of(self, value: mil.Value) -> Sequence[mil.Op]:
        return self._users.get(id(value), ())

    def is_output(self, value: mil.Value) -> bool:
        return id(value) in self._outputs

    def only_user(self, value: mil.Value) -> mil.Op | None:
        """Returns the op that alone reads `value`; None for outputs and shared values."""
        users = self.of(value)
        return users[0] if len(users) == 1 and not self.is_output(value) else None

    def dying(self, root: mil.Op, kept: Collection[mil.Value] = ()) -> list[mil.Op]:
        """Returns the ops that nothing would use if `root` read no more than `kept`.

        Constants do not count. Takes time in the ops returned and their operands.
        """
        spared = {id(value) for value in kept}
        dead: dict[int, mil.Op] = {id(root): root}
        waiting = list(root.operands())
        while waiting:
            value = waiting.pop()
            op = value.op
            if op is None or id(op) in dead or id(value) in spared or self.is_output(value):
                continue
            if op.opcode != "const" and all(id(user) in dead for user in self.of(value)):
                dead[id(op)] = op
                waiting.extend(op.operands())
        return list(dead.values())[1:]


class Edit:
    """New ops, each to stand before an op of the program; `commit` places them all in one walk."""

    def __init__(self, program: mil.Program) -> None:
        self._program = program
        self._before: dict[int, list[mil.Op]] = {}

    def op(
        self, before: mil.Op, opcode: str, inputs: Mapping[str, mil.Value], **params: Any
    ) -> mil.Value:
        return self._place(before, mil.make_op(opcode, inputs, params, before.location))

    def constant(self, before: mil.Op, array: np.ndarray | float) -> mil.Value:
        return self._place(before, mil.make_constant(array, before.location))

    def _place(self, before: mil.Op, op: mil.Op) -> mil.Value:
        self._before.setdefault(id(before), []).append(op)
        return op.result

    def commit(self) -> None:
        if self._before:
            placed: list[mil.Op] = []
            for op in self._program.ops:
                placed += self._before.get(id(op), ())
                placed.append(op)
            self._program.ops = placed
            self._before = {}
