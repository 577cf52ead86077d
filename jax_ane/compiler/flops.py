# SPDX-License-Identifier: Apache-2.0
"""Work of an op in FLOPs: one for each multiplication, addition or function value; MAC = 2."""

from __future__ import annotations

import math

from jax_ane.compiler import optable
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower.conv import conv_spec
from jax_ane.compiler.lower.dot import dot_dimensions
from jax_ane.compiler.optable import Kind

_FREE = frozenset(
    {"constant", "iota", "custom_call", "while", "case", "if", "tuple", "composite", "gather"}
)


def count(op: Op) -> int:
    """Returns the FLOPs of one op; 0 for ops that only move data or are not counted."""
    if op.flops is None:
        op.flops = _count(op)
    return op.flops


def _count(op: Op) -> int:
    if not op.results or op.results[0].type is None:
        return 0
    name = op.name.removeprefix("stablehlo.")
    out = op.type.size
    if name == "dot_general":
        contracting = dot_dimensions(op)[2]
        shape = op.operands[0].type.shape if op.operands[0].type else ()
        return 2 * out * math.prod(shape[i] for i in contracting)
    if name == "convolution":
        spec = conv_spec(op)
        weights = op.operands[1].type.shape if op.operands[1].type else ()
        return 2 * out * math.prod(weights[a] for a in spec.rhs_axes[1:])
    if name == "reduce":
        return sum(v.type.size for v in op.operands[: len(op.operands) // 2] if v.type)
    if name == "scatter":
        updates = op.operands[len(op.operands) - len(op.results)].type
        return updates.size if updates else 0
    if name == "reduce_window":
        return out * math.prod(op.ints("window_dimensions"))
    if name in _FREE or optable.row(op.name).kind is Kind.MOVEMENT:
        return 0
    return out


def moved_bytes(op: Op) -> int:
    """Returns the bytes an op reads and writes, each tensor once, in its own dtype."""
    return sum([v.type.bytes for v in (*op.operands, *op.results) if v.type is not None])
