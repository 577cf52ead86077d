# SPDX-License-Identifier: Apache-2.0
"""Operands that say where, not what: an ANE program is built with them and never reads them."""

from __future__ import annotations

import numpy as np

from jax_ane.compiler import graph
from jax_ane.compiler.graph import Op, Value

# Which operands of these hold data; all others are indices.
_DATA_OPERANDS = {
    "stablehlo.dynamic_slice": slice(0, 1),
    "stablehlo.dynamic_update_slice": slice(0, 2),
    "stablehlo.gather": slice(0, 1),
    "stablehlo.scatter": slice(0, None, 2),
}


def data_operands(op: Op) -> list[Value]:
    """Returns the operands that an ANE program reads: all but indices."""
    data = _DATA_OPERANDS.get(op.name)
    return op.operands if data is None else op.operands[data]


def indices(op: Op) -> list[Value]:
    """Returns the operands that say where, of ops that take such."""
    if op.name not in _DATA_OPERANDS:
        return []
    data = data_operands(op)
    return [operand for operand in op.operands if operand not in data]


def known_value(value: Value) -> np.ndarray | None:
    """Returns what a value is known to be when the program is compiled, in its own shape."""
    if value.known is not None:
        return value.known
    if value.producer is None or value.producer.name != "stablehlo.constant":
        return None
    return graph.dense(value.producer.attr("value"))
