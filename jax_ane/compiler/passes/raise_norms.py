# SPDX-License-Identifier: Apache-2.0
"""Recognises layer norm.

before:  m = reduce_mean(x = a); d = sub(x = a, y = m)
         v = reduce_mean(x = mul(x = d, y = d))
         r = mul(x = d, y = rsqrt(x = add(x = v, y = eps)))
after:   r = layer_norm(x = a, axes = [2], epsilon = eps)

A mean may also be a sum times 1/n, the variance E[a^2] - E[a]^2 (clamped at 0 or not), the quotient
d / sqrt(v + eps), the scale multiplied into the rsqrt first. `layer_norm` takes only constant gamma
and beta, so a scale or offset that is an input stays an op after it. Nothing is raised where others
(a backward pass) still need the mean or the variance.

RMS norm stays primitive ops: the chip has no such op, and `l2_norm` sums the last three axes whole
and was never seen to give right values (op-legality.csv), while these ops are known to run
(mil-text.md, 2.3). `raise_reductions` makes one op of its square and sum.
"""

from __future__ import annotations

import math

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Edit, Uses, scalar_operand, square_root, turn_into

_SUMS = ("reduce_sum", "reduce_sum_square")
_TINY = 1e-7  # below the smallest epsilon that fp16 holds as a normal number or with some digits


def raise_norms(program: mil.Program) -> int:
    """Raises in place and returns the number of changes."""
    if not any(op.opcode in ("rsqrt", "sqrt", "layer_norm") for op in program.ops):
        return 0
    uses, edit = Uses(program), Edit(program)
    count = 0
    for op in program.ops:
        if op.opcode in ("mul", "real_div"):
            count += _raise(op, uses, edit)
        if op.opcode in ("mul", "add"):
            count += _take_constant(op, uses, edit)
    edit.commit()
    return count


def _raise(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    for left, right in (("x", "y"), ("y", "x")):
        deviation = op.input(left).op
        if deviation is None or deviation.opcode != "sub" or (op.opcode, left) == ("real_div", "y"):
            continue
        scale, factor = _split_factor(op, op.input(right))
        spread = _spread(op, scale)
        norm = spread and _norm_of(deviation, *spread)
        if not norm:
            continue
        x, axes, epsilon, reductions = norm
        if x.type != op.result.type:
            continue
        dying = uses.dying(op, kept=(x, *([factor] if factor else [])))
        if not all(reduction in dying for reduction in reductions):
            continue
        params = {"axes": axes, "epsilon": np.float16(epsilon)}
        if factor is None:
            turn_into(op, "layer_norm", {"x": x}, params)
        else:
            normalised = edit.op(op, "layer_norm", {"x": x}, **params)
            turn_into(op, "mul", {"x": normalised, "y": factor})
        return True
    return False


def _split_factor(op: mil.Op, value: mil.Value) -> tuple[mil.Value, mil.Value | None]:
    """Splits `rsqrt * gamma` into the two; anything else is returned whole."""
    if op.opcode == "mul" and value.op is not None and value.op.opcode == "mul":
        for name, other in (("x", "y"), ("y", "x")):
            inner = value.op.input(name)
            if inner.op is not None and inner.op.opcode == "rsqrt":
                return inner, value.op.input(other)
    return value, None


def _spread(op: mil.Op, scale: mil.Value) -> tuple[mil.Value, float] | None:
    """Returns variance and epsilon behind `rsqrt(v + eps)`, of a quotient `sqrt(v + eps)`."""
    wanted = "rsqrt" if op.opcode == "mul" else "sqrt"
    if scale.op is None or scale.op.opcode != wanted:
        return None
    if float(scale.op.params.get("epsilon", 0)) > _TINY:
        return None
    shifted = scale.op.input("x").op
    split = scalar_operand(shifted, "add") if shifted is not None else None
    return split if split is not None and split[1] > 0 else None


def _norm_of(
    deviation: mil.Op, variance: mil.Value, epsilon: float
) -> tuple[mil.Value, tuple[int, ...], float, list[mil.Op]] | None:
    """Returns (x, axes, epsilon, the reductions) if `variance` is that of `deviation`'s x."""
    x, mean = deviation.input("x"), deviation.input("y")
    first = _mean(mean)
    if first is None or first.opcode == "reduce_sum_square" or first.input("x") is not x:
        return None
    second = _mean(variance)
    if second is not None:
        squared = deviation.result  # E[(x - mean)^2]
    else:
        difference = _without_clamp(variance)
        if difference is None or difference.opcode != "sub":
            return None
        second, squared = _mean(difference.input("x")), x  # E[x^2] - mean^2
        if second is None or square_root(difference.input("y")) is not mean:
            return None
    axes = tuple(first.params["axes"])
    if _summed_square(second) is not squared or tuple(second.params["axes"]) != axes:
        return None
    return x, axes, epsilon, [first, second]


def _mean(value: mil.Value) -> mil.Op | None:
    """Returns the sum of which `value` is the mean, or the mean itself."""
    if value.op is None:
        return None
    if value.op.opcode == "reduce_mean":
        return value.op if value.op.params["keep_dims"] is True else None
    for opcode in ("mul", "real_div"):
        split = scalar_operand(value.op, opcode)
        if split is None or split[0].op is None or split[0].op.opcode not in _SUMS:
            continue
        total = split[0].op
        terms = math.prod(total.input("x").shape[axis] for axis in total.params["axes"])
        wanted = np.float16(terms) if opcode == "real_div" else np.float16(1 / terms)
        if total.params["keep_dims"] is True and split[1] == float(wanted):
            return total
    return None


def _summed_square(total: mil.Op) -> mil.Value | None:
    """Returns x if `total` sums x * x."""
    x = total.input("x")
    return x if total.opcode == "reduce_sum_square" else square_root(x)


def _without_clamp(value: mil.Value) -> mil.Op | None:
    op = value.op
    if op is None:
        return None
    if op.opcode == "relu":
        return op.input("x").op
    split = scalar_operand(op, "maximum")
    return split[0].op if split is not None and split[1] == 0.0 else op


def _take_constant(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    """Lets a layer norm take a constant scale or offset that follows it."""
    for left, right in (("x", "y"), ("y", "x")):
        norm, constant = op.input(left).op, op.input(right).constant
        if norm is None or norm.opcode != "layer_norm" or constant is None:
            continue
        name = "gamma" if op.opcode == "mul" else "beta"
        if "beta" in norm.inputs or name in norm.inputs or uses.only_user(norm.result) is not op:
            continue
        axes = norm.params["axes"]
        shape = tuple(norm.result.shape[axis] for axis in axes)
        rank = len(norm.result.shape)
        trailing = tuple(axes) == tuple(range(rank - len(axes), rank))
        if norm.result.type != op.result.type or not trailing or constant.size != math.prod(shape):
            continue
        if constant.shape != (1,) * (constant.ndim - len(shape)) + shape:
            continue
        held = edit.constant(op, constant.reshape(shape))
        turn_into(op, "layer_norm", {**norm.inputs, name: held}, dict(norm.params))
        return True
    return False
