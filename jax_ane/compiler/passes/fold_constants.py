# SPDX-License-Identifier: Apache-2.0
"""Computes ops whose operands are all constants.

before:  c = const(val = [1, 2]); v = mul(x = c, y = c)
after:   v = const(val = [1, 4])

Only ops whose bits on the chip are certain are folded: data movement, and addition, subtraction and
multiplication rounded half away from zero as the planar engine does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jax_ane.compiler import mil

_MAX_ELEMENTS = 1 << 20  # a folded constant is stored; larger ones are cheaper to compute


def round_half_away(values: np.ndarray) -> np.ndarray:
    """Rounds float64 to fp16, ties away from zero, subnormals kept; overflow is +-inf."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float16)
        finite = np.isfinite(nearest)
        # Nudge away from zero: at an exact tie both neighbours are equally far.
        away = np.nextafter(nearest, np.copysign(np.float16(np.inf), values).astype(np.float16))
    error = values - nearest.astype(np.float64)
    away64 = away.astype(np.float64)
    tie = finite & np.isfinite(away64) & (error == away64 - values) & (error != 0)
    return np.where(tie, away, nearest).astype(np.float16)


def _constant(value: mil.Value) -> np.ndarray:
    assert value.constant is not None
    return value.constant


def _arithmetic(function: Callable) -> Callable:
    def fold(op: mil.Op) -> np.ndarray:
        x, y = (_constant(op.input(name)).astype(np.float64) for name in ("x", "y"))
        return round_half_away(np.asarray(function(x, y)))

    return fold


def _fold_slice(op: mil.Op) -> np.ndarray:
    begin, size = op.params["begin"], op.params["size"]
    index = tuple(slice(b, b + s) for b, s in zip(begin, size, strict=True))
    return _constant(op.input("x"))[index]


_FOLD: dict[str, Callable[[mil.Op], np.ndarray]] = {
    "add": _arithmetic(np.add),
    "sub": _arithmetic(np.subtract),
    "mul": _arithmetic(np.multiply),
    "reshape": lambda op: _constant(op.input("x")).reshape(op.params["shape"]),
    "transpose": lambda op: _constant(op.input("x")).transpose(op.params["perm"]),
    "reverse": lambda op: np.flip(_constant(op.input("x")), op.params["axes"]),
    "slice_by_size": _fold_slice,
    "concat": lambda op: np.concatenate([_constant(v) for v in op.operands()], op.params["axis"]),
}


def fold_constants(program: mil.Program) -> int:
    """Folds in place and returns how many ops became constants."""
    count = 0
    outputs = {id(value) for value in program.outputs}
    for op in program.ops:
        if op.opcode not in _FOLD or id(op.result) in outputs:
            continue
        if op.result.type.size > _MAX_ELEMENTS or not all(
            operand.constant is not None for operand in op.operands()
        ):
            continue
        value = np.ascontiguousarray(_FOLD[op.opcode](op)).reshape(op.result.shape)
        if not np.isfinite(value).all():
            continue  # MIL text has no spelling for infinity
        op.opcode, op.inputs, op.params, op.value = "const", {}, {}, value
        count += 1
    return count
