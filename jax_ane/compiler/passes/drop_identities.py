# SPDX-License-Identifier: Apache-2.0
"""Removes ops that change nothing, and merges chains of reshapes and of transposes.

before:  v1 = reshape(x = a, shape = [2, 8]); v2 = reshape(x = v1, shape = [16])
after:   v2 = reshape(x = a, shape = [16])

Also: reshape or transpose to the same order, `mul` by 1, `add` of or `sub` of 0, `real_div` by 1, a
whole `slice_by_size`, reductions over axes of 1, a `not_equal(select(mask, 1, 0), 0)` back to the
mask. An output stays the result of an op of its own: the chip's compiler crashes on a program that
returns its input.
"""

from __future__ import annotations

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import replace_values

_NEUTRAL = {"mul": 1.0, "real_div": 1.0, "add": 0.0, "sub": 0.0}
_REDUCTIONS = mil.REDUCTIONS - {"reduce_sum_square"}
_COMMUTES = frozenset({"mul", "add"})


def drop_identities(program: mil.Program) -> int:
    """Rewrites in place and returns the number of changes."""
    merged = sum(_merge_chain(op) for op in program.ops)
    outputs = {id(value) for value in program.outputs}
    replacement: dict[int, mil.Value] = {}
    taken: set[int] = set()  # values that already stand for an output
    for op in program.ops:
        same = _same_value(op)
        if same is None or same.type != op.result.type:
            continue
        if id(op.result) in outputs:
            source = same
            while id(source) in replacement:
                source = replacement[id(source)]
            border = source.op is None or source.constant is not None
            if border or id(source) in outputs or id(source) in taken:
                continue
            taken.add(id(source))
        replacement[id(op.result)] = same
    replace_values(program, replacement)
    program.ops = [op for op in program.ops if id(op.result) not in replacement]
    return merged + len(replacement)


def _merge_chain(op: mil.Op) -> int:
    """Lets a reshape of a reshape (a transpose of a transpose) read the first one's operand."""
    if op.opcode not in ("reshape", "transpose"):
        return 0
    source = op.inputs["x"]
    assert isinstance(source, mil.Value)
    if source.op is None or source.op.opcode != op.opcode:
        return 0
    inner = source.op
    if op.opcode == "transpose":
        op.params["perm"] = tuple(inner.params["perm"][i] for i in op.params["perm"])
    op.inputs["x"] = inner.inputs["x"]
    return 1


def _same_value(op: mil.Op) -> mil.Value | None:
    """Returns the operand that `op` merely repeats, if there is one."""
    x = op.inputs.get("x")
    if not isinstance(x, mil.Value):
        return None
    if op.opcode == "reshape" and tuple(op.params["shape"]) == x.shape:
        return x
    if op.opcode == "transpose" and op.params["perm"] == tuple(range(len(x.shape))):
        return x
    if op.opcode == "slice_by_size" and tuple(op.params["size"]) == x.shape:
        return x
    if op.opcode in _REDUCTIONS and x.shape == op.result.shape:
        return x
    if op.opcode in _NEUTRAL:
        y = op.inputs["y"]
        assert isinstance(y, mil.Value)
        if _is_constant(y, _NEUTRAL[op.opcode]):
            return x
        if op.opcode in _COMMUTES and _is_constant(x, _NEUTRAL[op.opcode]):
            return y
    if op.opcode == "not_equal":
        return _mask_behind(op)
    return None


def _mask_behind(op: mil.Op) -> mil.Value | None:
    x, y = op.inputs["x"], op.inputs["y"]
    assert isinstance(x, mil.Value) and isinstance(y, mil.Value)
    if not _is_constant(y, 0.0) or x.op is None or x.op.opcode != "select":
        return None
    a, b, cond = (x.op.inputs[name] for name in ("a", "b", "cond"))
    assert isinstance(a, mil.Value) and isinstance(b, mil.Value) and isinstance(cond, mil.Value)
    return cond if _is_constant(a, 1.0) and _is_constant(b, 0.0) else None


def _is_constant(value: mil.Value, number: float) -> bool:
    array = value.constant
    return array is not None and bool(np.all(array == np.float16(number)))
