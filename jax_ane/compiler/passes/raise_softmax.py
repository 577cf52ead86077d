# SPDX-License-Identifier: Apache-2.0
"""Recognises softmax.

before:  v1 = reduce_max(x = a); v2 = sub(x = a, y = v1); v3 = exp(x = v2); v4 = reduce_sum(x = v3)
         v5 = real_div(x = v3, y = v4)
after:   v5 = softmax(x = a, axis = 2)

One reduced axis, the same in both reductions. The mask of a masked softmax is an op before it and
stays. `softmax` is native on every chip (op-legality.csv), but one report (constraints.md,
K-SOFTMAX2) has it refused along a channel axis whose extent is no power of two: those stay spelled
out, as does a softmax of which others read the exponentials, and `log_softmax`, whose logarithm the
host computes.
"""

from __future__ import annotations

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Uses, turn_into


def raise_softmax(program: mil.Program) -> int:
    """Raises in place and returns how many softmaxes were found."""
    if not any(op.opcode == "exp" for op in program.ops):
        return 0
    uses = Uses(program)
    return sum(_raise(op, uses) for op in program.ops if op.opcode == "real_div")


def _raise(op: mil.Op, uses: Uses) -> bool:
    exp, total = op.input("x").op, op.input("y").op
    if exp is None or exp.opcode != "exp" or not _reduces(total, "reduce_sum", exp.result):
        return False
    shifted = exp.input("x").op
    if shifted is None or shifted.opcode != "sub":
        return False
    x, top = shifted.input("x"), shifted.input("y").op
    if not _reduces(top, "reduce_max", x):
        return False
    assert total is not None and top is not None
    axes = total.params["axes"]
    if len(axes) != 1 or tuple(top.params["axes"]) != tuple(axes) or x.type != op.result.type:
        return False
    if not _is_safe_axis(x.shape, axes[0]) or exp not in uses.dying(op, kept=(x,)):
        return False
    turn_into(op, "softmax", {"x": x}, {"axis": int(axes[0])})
    return True


def _reduces(op: mil.Op | None, opcode: str, value: mil.Value) -> bool:
    return (
        op is not None
        and op.opcode == opcode
        and op.input("x") is value
        and op.params["keep_dims"] is True
    )


def _is_safe_axis(shape: tuple[int, ...], axis: int) -> bool:
    is_channel = len(shape) >= 3 and axis == len(shape) - 3
    return not is_channel or shape[axis] & (shape[axis] - 1) == 0
