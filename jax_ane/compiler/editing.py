# SPDX-License-Identifier: Apache-2.0
"""Changes to a block before its programs are cut: operands exchanged, ops put in, ops dropped.

New ops are collected by the index of the op that each stands before; `commit` gives them numbers.
"""

from __future__ import annotations

from jaxlib.mlir import ir

from jax_ane.compiler.graph import Block, Op, Value

Placed = dict[int, list[Op]]


def set_operand(op: Op, at: int, value: Value) -> None:
    """Lets an op read another value."""
    old = op.operands[at]
    op.mlir.operands[at] = value.mlir
    op.operands[at] = value
    if old not in op.operands:
        old.users.remove(op)
    _add_user(value, op)


def new_op(name: str, like: Value, operands: list[Value], before: Op, placed: Placed) -> Value:
    """Puts an op of one result, typed as `like`, right before another op; returns its result."""
    with before.mlir.context, ir.InsertionPoint(before.mlir):
        mlir = ir.Operation.create(
            name,
            results=[like.mlir.type],
            operands=[operand.mlir for operand in operands],
            loc=before.mlir.location,
        )
    value = Value(-1, like.type, mlir.results[0])
    op = Op(before.index, mlir.name, list(operands), [value], mlir, before.place, before.reader)
    value.producer = op
    placed.setdefault(before.index, []).append(op)
    for operand in operands:
        _add_user(operand, op)
    return value


def commit(block: Block, placed: Placed) -> None:
    """Puts the new ops into their places and drops what nobody reads."""
    returned = {value.index for value in block.returned}
    new = [op for ops in placed.values() for op in ops]
    for number, op in enumerate(new, block.unused_index()):
        op.results[0].index = number
    kept: list[Op] = []
    for op in reversed(block.ops):
        is_read = any([value.users or value.index in returned for value in op.results])
        if is_read or op.has_effect or op.mlir.regions or not op.results:
            kept.append(op)
            kept += reversed(placed.get(op.index, ()))
        else:
            op.remove()
    block.set_ops(kept[::-1])


def _add_user(value: Value, op: Op) -> None:
    if op not in value.users:
        value.users = sorted([*value.users, op], key=lambda user: user.index)
