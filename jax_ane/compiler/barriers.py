# SPDX-License-Identifier: Apache-2.0
"""Optimization barriers: what `jax.checkpoint` computes again stays computed again.

JAX puts one barrier over all that a rematerialised block starts from: its inputs, its weights and
the gradient that it waits for. Whole, it would cut every program in two and send weights through
the host. Split, it is an identity that goes where its reader goes: host readers keep a barrier of
XLA's; programs read through a `barrier` op, behind which no pass finds what was computed before.

before:  x', w', g' = barrier(x, w, g); a = dot(x', w'); b = add(x', g')
after:   a = dot(barrier(x), barrier(w)); b = add(barrier(x), barrier(g))     each waits for x, w, g
"""

from __future__ import annotations

import itertools

from jaxlib.mlir import ir

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Block, Op, Value
from jax_ane.compiler.rewrite import replace_values, turn_into

NAME = "stablehlo.optimization_barrier"


def split(block: Block) -> None:
    """Gives each reader of a barrier's result a barrier of its own, in the block and its MLIR."""
    if not any(op.name == NAME for op in block.ops):
        return
    numbers = itertools.count(block.unused_index())
    ops: list[Op] = []
    for op in block.ops:
        if op.name == NAME and not op.has_effect:
            ops += _parts(block, op, numbers)
            op.remove()
        else:
            ops.append(op)
    block.set_ops(ops)


def _parts(block: Block, joint: Op, numbers: itertools.count[int]) -> list[Op]:
    parts: list[Op] = []
    for operand, result in zip(joint.operands, joint.results, strict=True):
        for reader in list(result.users):
            part = _part(joint, operand, next(numbers), parts)
            _exchange(reader.mlir, result.mlir, part.results[0].mlir)
            reader.operands = [part.results[0] if v is result else v for v in reader.operands]
            part.results[0].users = [reader]
        if result in block.returned:
            part = _part(joint, operand, next(numbers), parts)
            result.mlir.replace_all_uses_with(part.results[0].mlir)
            block.returned = [part.results[0] if v is result else v for v in block.returned]
    return parts


def _part(joint: Op, operand: Value, number: int, parts: list[Op]) -> Op:
    with operand.mlir.context, ir.InsertionPoint(joint.mlir):
        mlir = ir.Operation.create(
            NAME, results=[operand.mlir.type], operands=[operand.mlir], loc=joint.mlir.location
        )
    result = Value(number, operand.type, mlir.results[0])
    part = Op(joint.index, NAME, [operand], [result], mlir, joint.place, joint.reader, parts=parts)
    parts.append(part)
    result.producer = part
    operand.users.append(part)
    return part


def _exchange(op: ir.Operation, old: ir.Value, new: ir.Value) -> None:
    """Lets an op, and what its regions hold, read another value."""
    for position, operand in enumerate(op.operands):
        if operand == old:
            op.operands[position] = new
    for inner in (inner for region in op.regions for block in region.blocks for inner in block):
        _exchange(inner.operation, old, new)


def drop(program: mil.Program) -> None:
    """Takes the barriers out of a program after its passes: the chip has no such op."""
    outputs = {id(value) for value in program.outputs}
    replacement: dict[int, mil.Value] = {}
    kept: list[mil.Op] = []
    for op in program.ops:
        if op.opcode == "barrier" and id(op.result) not in outputs:
            replacement[id(op.result)] = op.input("x")
            continue
        if op.opcode == "barrier":  # an output stays the result of an op of its own
            one = mil.make_constant(1.0, op.location)
            turn_into(op, "mul", {"x": op.input("x"), "y": one.result})
            kept.append(one)
        kept.append(op)
    program.ops = kept
    replace_values(program, replacement)
