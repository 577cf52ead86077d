# SPDX-License-Identifier: Apache-2.0
"""Keeps the gradient of a norm's reciprocal root in fp16's range.

    before: g = s * (c * (rsqrt(m) / m))
    after:  g = c * (((s * rsqrt(m)) * rsqrt(m)) * rsqrt(m))

The inner quotient is m^-1.5: 125,000 for a mean square of 4e-4, that of an embedding as GPT-2
initialises it, and infinite in fp16. It meets the sum s that it belongs to only in the backward
pass. Factor by factor what lies between grows only as far as the gradient itself does.

It changes float32 results by roundings, so it is for ops that go to the ANE: `compile` undoes it
where one of them stays on the host.
"""

from __future__ import annotations

from jax_ane.compiler import able, editing
from jax_ane.compiler.graph import Block, Op, Value, constant_of

NAME = "spread_powers"


def rewrite(block: Block, chip: str, likely: set[int] | None = None) -> list[Op]:
    """Rewrites in place, as far as the chip has the ops; returns those that now round otherwise.

    `likely` are the indices of the ops that may go to the ANE; None for all.
    """
    changed: list[Op] = []
    placed: editing.Placed = {}
    for op in block.ops:
        if op.name != "stablehlo.multiply" or op.place == "host":
            continue
        if likely is not None and op.index not in likely:
            continue
        for at in (0, 1):
            found, product = _steep(op.operands[at]), op.operands[1 - at]
            if found is None or able.refusal(op, chip) is not None:
                continue
            root, constant = found
            for _ in range(3):
                operands = [product, root]
                product = editing.new_op("stablehlo.multiply", root, operands, op, placed)
                if product.producer is not None:
                    changed.append(product.producer)
            editing.set_operand(op, 1 - at, product)
            editing.set_operand(op, at, constant)
            changed.append(op)
            break
    if changed:
        editing.commit(block, placed)
    return changed


def _steep(value: Value) -> tuple[Value, Value] | None:
    """Returns rsqrt(m) and c where a value is c * (rsqrt(m) / m) and read by products only."""
    op = value.producer
    if op is None or op.name != "stablehlo.multiply":
        return None
    if any(user.name != "stablehlo.multiply" for user in value.users):
        return None
    for quotient, constant in (op.operands, op.operands[::-1]):
        divide = quotient.producer
        if divide is None or divide.name != "stablehlo.divide" or constant_of(constant) is None:
            continue
        root, m = divide.operands
        rsqrt = root.producer
        if rsqrt is not None and rsqrt.name == "stablehlo.rsqrt" and rsqrt.operands[0] is m:
            return root, constant
    return None
