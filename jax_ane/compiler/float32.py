# SPDX-License-Identifier: Apache-2.0
"""Arithmetic that loses in fp16 what matters: the host does it in float32, in `auto` placement.

Two kinds: updates of a value that the program takes and returns (a step below 2^-11 of a parameter
is nothing in fp16), and the division by a large number with which the gradient of a loss begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from jax_ane.compiler import able, optable
from jax_ane.compiler.able import Reason
from jax_ane.compiler.graph import Block, Op, Value
from jax_ane.compiler.optable import Kind

STATE = Reason(
    "state", "updates a value that the program takes and returns; float32 keeps small updates"
)
_SINKING = 2.0**-10  # smaller factors make what they scale sink
_MOST_BEHIND = 32  # values that are looked at behind such a product


def needed(block: Block) -> Iterator[tuple[Op, Reason]]:
    """Yields the ops that are better on the host, with the reason."""
    for op in _state_updates(block):
        yield op, STATE
    for op in block.ops:
        reason = _sinks(op)
        if reason is not None:
            yield op, reason


def _state_updates(block: Block) -> Iterable[Op]:
    """Yields adds and subtracts on a path of such ops from an argument to a returned value.

    That is how a parameter is updated, also several times in one program. In fp16 an update below
    2^-11 of its parameter would be lost. A residual block has the same form and is told apart.
    """
    names = ("stablehlo.add", "stablehlo.subtract")
    carried = {value.index for value in block.arguments}
    forward: list[Op] = []
    for op in block.ops:
        if (
            op.name in names
            and op.type.shape
            and any(v.index in carried and v.type == op.type for v in op.operands)
            and not _is_residual(op, carried)
        ):
            carried.add(op.results[0].index)
            forward.append(op)
    reaching = {value.index for value in block.returned}
    for op in reversed(forward):
        if op.results[0].index in reaching:
            reaching.update(v.index for v in op.operands if v.index in carried)
            yield op


def _is_residual(op: Op, carried: set[int]) -> bool:
    """Says whether an op adds to a value what a layer made of it: x + f(x) @ w + b.

    A parameter's update comes out of a scaling by the learning rate, and a running sum (of
    gradients, say) is no input of what is added to it.
    """
    if op.name != "stablehlo.add":
        return False
    for kept, added in (op.operands, op.operands[::-1]):
        if kept.index in carried and added.index not in carried and _is_layer(added):
            return _depends(added, kept)
    return False


def _is_layer(value: Value) -> bool:
    """Says whether a value is a heavy op's result, moved and with a bias at most."""
    op = value.producer
    while op is not None:
        kind = optable.row(op.name).kind
        if kind is Kind.HEAVY:
            return True
        if op.name == "stablehlo.add":
            rest = [v for v in op.operands if not is_spread(v)]
            if len(rest) != 1:
                return False
            op = rest[0].producer
        elif kind is Kind.MOVEMENT and len(op.operands) == 1:
            op = op.operands[0].producer
        else:
            return False
    return False


def _depends(value: Value, source: Value) -> bool:
    """Says whether a value is computed from another one."""
    stack, seen = [value], {value.index}
    while stack:
        producer = stack.pop().producer
        for operand in producer.operands if producer else ():
            if operand is source:
                return True
            if operand.index not in seen:
                seen.add(operand.index)
                stack.append(operand)
    return False


def is_spread(value: Value) -> bool:
    """Says whether a value varies along fewer axes than it has: a bias, say."""
    op = value.producer
    if op is None or op.name != "stablehlo.broadcast_in_dim":
        return False
    source = op.operands[0].type
    return source is not None and source.size * 2 <= math.prod(op.type.shape)


def _sinks(op: Op) -> Reason | None:
    """Returns why an op that divides by a large number is better on the host.

    That is how the gradient of a loss begins: 2 / N times a difference. What follows would sink
    towards the MAC's 2^-16; from the host it is scaled on its way in. Means within a layer divide
    what a sum has made large before, and fewer elements than they are taken over.
    """
    if op.name not in ("stablehlo.multiply", "stablehlo.divide") or op.type.size == 1:
        return None
    for value, number in (op.operands, op.operands[::-1]):
        array = able.constant_of(number)
        if array is None or array.size != 1 or _is_sum(value):
            continue
        factor = abs(float(array.flat[0]))
        if op.name == "stablehlo.divide":
            factor = 1 / factor if factor and number is op.operands[1] else 1.0
        if 0 < factor < _SINKING and factor * op.type.size >= 0.5:
            return Reason(
                "sinks",
                f"times {factor:.3g}: what follows would sink below the steps of fp16",
                "scale the loss, or place it with jax_ane.place('ane')",
            )
    return None


def _is_sum(value: Value) -> bool:
    """Says whether a value comes from a sum by elementwise ops and movement."""
    stack, seen = [value], {value.index}
    while stack and len(seen) < _MOST_BEHIND:
        op = stack.pop().producer
        if op is None or optable.row(op.name).kind in (Kind.HEAVY, Kind.HOST):
            continue
        if op.name.startswith("stablehlo.reduce"):
            return True
        fresh = [v for v in op.operands if v.index not in seen]
        seen.update(v.index for v in fresh)
        stack.extend(fresh)
    return False
