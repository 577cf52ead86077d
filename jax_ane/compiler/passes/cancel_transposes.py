# SPDX-License-Identifier: Apache-2.0
"""Moves transposes and reshapes to where they meet their inverse or a `matmul`, which absorbs them.

before:  v1 = reshape(x = a, shape = [8]); v2 = exp(x = v1); v3 = reshape(x = v2, shape = [8, 1])
after:   v2 = exp(x = a); v3 = reshape(x = v2, shape = [8, 1])   (nothing, if a is [8, 1])

A transpose or reshape sinks below an elementwise op whose other operands are scalars or moved the
same way, if that adds none: two become one, or one comes nearer to its inverse (of reshapes only
those of axes of 1 go without a reshape in sight). A swap of the last two axes of a matmul's operand
becomes its flag, one of its result both flags and the operands' order; a transpose that moves only
axes of 1 becomes a reshape. Chains are merged by `drop_identities`.
"""

from __future__ import annotations

import math

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Edit, Uses, turn_into

_MOVERS = ("reshape", "transpose")
_ELEMENTWISE = mil.UNARY | mil.BINARY | mil.COMPARISONS | {"select"}


def cancel_transposes(program: mil.Program) -> int:
    """Rewrites in place and returns the number of changes."""
    uses, edit = Uses(program), Edit(program)
    count = 0
    for op in program.ops:
        if op.opcode == "transpose":
            count += _into_reshape(op) or _into_product(op, uses, edit)
        elif op.opcode == "matmul":
            count += _absorb(op, "x", edit) + _absorb(op, "y", edit)
        elif op.opcode in _ELEMENTWISE:
            count += _sink(op, uses, edit)
    edit.commit()
    return count


def _into_reshape(op: mil.Op) -> bool:
    """A transpose that keeps the order of all axes longer than 1 is a reshape."""
    shape = op.input("x").shape
    moved = [axis for axis in op.params["perm"] if shape[axis] != 1]
    if moved != sorted(moved):
        return False
    turn_into(op, "reshape", {"x": op.input("x")}, {"shape": op.result.shape})
    return True


def _swaps_last_two(op: mil.Op) -> bool:
    if op.opcode != "transpose":
        return False
    rank = len(op.params["perm"])
    return tuple(op.params["perm"]) == (*range(rank - 2), rank - 1, rank - 2)


def _absorb(op: mil.Op, name: str, edit: Edit) -> bool:
    """matmul(transpose(a)) is matmul(a) with the flag turned; a reshape of batch axes may stand
    between."""
    value = op.input(name)
    flag = f"transpose_{name}"
    source = value
    if value.op is not None and value.op.opcode == "reshape" and _keeps_last_two(value.op):
        source = value.op.input("x")
    if source.op is None or not _swaps_last_two(source.op):
        return False
    swapped = source.op.input("x")
    if source is not value:
        shape = (*value.shape[:-2], value.shape[-1], value.shape[-2])
        swapped = edit.op(op, "reshape", {"x": swapped}, shape=shape)
    op.inputs[name] = swapped
    op.params[flag] = not op.params[flag]
    return True


def _into_product(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    """transpose(matmul(a, b)) is matmul(transpose(b), transpose(a)); a reshape of batch axes may
    stand between.

    A right operand that comes from outside stays where it is: weights there are packed once, not
    at every call.
    """
    source, reader = op.input("x").op, op
    if source is not None and source.opcode == "reshape" and _keeps_last_two(source):
        if uses.only_user(source.result) is not op:
            return False
        source, reader = source.input("x").op, source
    if source is None or source.opcode != "matmul" or not _swaps_last_two(op):
        return False
    if uses.only_user(source.result) is not reader or _is_given(source.input("y")):
        return False
    inputs = {"x": source.input("y"), "y": source.input("x")}
    flags = {
        "transpose_x": not source.params["transpose_y"],
        "transpose_y": not source.params["transpose_x"],
    }
    if reader is op:
        turn_into(op, "matmul", inputs, flags)
    else:
        product = edit.op(op, "matmul", inputs, **flags)
        turn_into(op, "reshape", {"x": product}, {"shape": op.result.shape})
    return True


def _is_given(value: mil.Value) -> bool:
    """Whether a value is an input or a constant, moved or not."""
    while value.op is not None and value.op.opcode in _MOVERS:
        value = value.op.input("x")
    return value.op is None or value.constant is not None


def _keeps_last_two(reshape: mil.Op) -> bool:
    before, after = reshape.input("x").shape, reshape.result.shape
    return len(before) > 1 and len(after) > 1 and before[-2:] == after[-2:]


def _sink(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    movers: dict[int, mil.Op] = {}
    for operand in op.operands():
        if operand.constant is not None and operand.shape == ():
            continue
        mover = operand.op
        if mover is None or mover.opcode not in _MOVERS or operand.shape != op.result.shape:
            return False
        movers[id(mover)] = mover
    if not movers or not _alike(list(movers.values())) or not _pays(op, movers, uses):
        return False
    inputs = {}
    for name, operand in op.inputs.items():
        assert isinstance(operand, mil.Value) and operand.op is not None
        inputs[name] = operand.op.input("x") if id(operand.op) in movers else operand
    mover = next(iter(movers.values()))
    if mover.opcode == "transpose" and op.result.type.dtype == "bool":
        return False
    inner = edit.op(op, op.opcode, inputs, **op.params)
    turn_into(op, mover.opcode, {"x": inner}, dict(mover.params))
    return True


def _alike(movers: list[mil.Op]) -> bool:
    """Whether all move equal shapes in the same way."""
    first = movers[0]
    return all(
        mover.opcode == first.opcode
        and mover.input("x").shape == first.input("x").shape
        and mover.params == first.params
        for mover in movers
    )


def _pays(op: mil.Op, movers: dict[int, mil.Op], uses: Uses) -> bool:
    freed = sum(uses.only_user(mover.result) is op for mover in movers.values())
    if freed != 1:
        return freed > 1
    mover = next(iter(movers.values()))
    if uses.is_output(op.result):
        return False
    reader = uses.only_user(op.result)
    return (
        mover.opcode == "transpose"
        or _moves_units(mover)
        or (reader is not None and reader.opcode == "reshape")
    )


def _moves_units(mover: mil.Op) -> bool:
    """Whether a reshape only adds or drops axes of 1."""
    if mover.opcode != "reshape":
        return False
    before, after = mover.input("x").shape, mover.result.shape
    kept = [extent for extent in before if extent != 1]
    return kept == [e for e in after if e != 1] and math.prod(before) == math.prod(after)
