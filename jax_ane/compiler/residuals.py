# SPDX-License-Identifier: Apache-2.0
"""Lets the backward pass of an attention read the softmax's result, not its exponentials.

    before: r = (g / s - sum(g * (1 / s^2) * e)) * e        (y = e / s)
    after:  r = (g - sum(g * y)) * y

What `passes.raise_softmax_gradient` does inside one program, done before programs are cut: with the
loss on the host, forward and backward pass are two, and e, s and 1 / s^2 would cross the border
beside y. Only where y goes into a matrix product, as in attention. Operands are exchanged and what
nobody reads then is taken out; no op is new.

It changes float32 results by roundings, so it is for ops that go to the ANE: `compile` undoes it
where one of them stays on the host.
"""

from __future__ import annotations

import numpy as np

from jax_ane.compiler import able, editing, optable
from jax_ane.compiler.graph import Block, Op, Value, constant_of
from jax_ane.compiler.lower import reduce as reduce_rules
from jax_ane.compiler.optable import Kind

NAME = "raise_softmax_gradient"  # the pass that this one goes with, on and off
Axes = tuple[int, ...]


def rewrite(block: Block, chip: str, likely: set[int] | None = None) -> list[Op]:
    """Rewrites in place, as far as the chip has the ops; returns those that now round otherwise.

    `likely` are the indices of the ops that may go to the ANE; None for all.
    """
    changed: list[Op] = []
    placed: editing.Placed = {}  # new ops, by the index of the one that each stands before
    for op in block.ops:
        if op.name == "stablehlo.multiply" and (likely is None or op.index in likely):
            changed += _rewrite(op, placed, chip)
    if changed:
        editing.commit(block, placed)
    return changed


def _rewrite(root: Op, placed: editing.Placed, chip: str) -> list[Op]:
    for at in (0, 1):
        e, difference = root.operands[at], _made(root.operands[1 - at], "add")
        exponential = _made(e, "exponential")
        if exponential is None or difference is None:
            continue
        for q_at in (0, 1):
            found = _match(e, difference, q_at)
            if found is None:
                continue
            g, y, weighted = found
            ops = [weighted, difference, root]
            late = y.producer is None or y.producer.index > weighted.index
            if late or any(op.place == "host" or able.refusal(op, chip) is not None for op in ops):
                continue
            y = _as_it_crosses(y, weighted, placed)
            editing.set_operand(weighted, 0, g)
            editing.set_operand(weighted, 1, y)
            editing.set_operand(difference, q_at, g)
            editing.set_operand(root, at, y)
            return ops
    return []


def _match(e: Value, difference: Op, q_at: int) -> tuple[Value, Value, Op] | None:
    """Returns g, y and the op that becomes g * y."""
    quotient = _made(difference.operands[q_at], "divide")
    total = _sum_of(e)
    if quotient is None or total is None:
        return None
    s, kept = total
    g = quotient.operands[0]
    if not _repeats(quotient.operands[1], s, kept):
        return None
    ys = [user.results[0] for user in e.users if _is_softmax(user, e, s, kept)]
    weighted = _weighted(difference.operands[1 - q_at], kept)
    if not ys or weighted is None or not _feeds_product(ys[0]):
        return None
    for inner_at in (0, 1):
        inner = _made(weighted.operands[inner_at], "multiply")
        if inner is None or weighted.operands[1 - inner_at] is not e:
            continue
        for i_at in (0, 1):
            is_ours = inner.operands[1 - i_at] is g
            if is_ours and _is_inverse_square(inner.operands[i_at], s, kept):
                return g, ys[0], weighted
    return None


def _made(value: Value, name: str) -> Op | None:
    op = value.producer
    return op if op is not None and op.name == f"stablehlo.{name}" else None


def _is_sum(op: Op | None) -> bool:
    """Whether an op is a sum that starts from 0."""
    if op is None or op.name != "stablehlo.reduce" or len(op.results) != 1:
        return False
    initial = constant_of(op.operands[1])
    return reduce_rules.reducer(op) == "stablehlo.add" and initial is not None and not initial.any()


def _sum_of(e: Value) -> tuple[Value, Axes] | None:
    """Returns the sum of e along one axis, and the axes that it keeps."""
    for user in e.users:
        if _is_sum(user) and user.operands[0] is e and len(user.ints("dimensions")) == 1:
            summed = user.ints("dimensions")[0]
            return user.results[0], tuple(i for i in range(len(e.tensor.shape)) if i != summed)
    return None


def _is_softmax(op: Op, e: Value, s: Value, kept: Axes) -> bool:
    return (
        op.name == "stablehlo.divide"
        and op.operands[0] is e
        and _repeats(op.operands[1], s, kept)
    )  # fmt: skip


def _weighted(value: Value, kept: Axes) -> Op | None:
    """Returns the product of which `value` is the negative sum, repeated along the summed axis."""
    for negate, places in _origins(value):
        if negate.name != "stablehlo.negate":
            continue
        for total, inner in _origins(negate.operands[0]):
            if not _is_sum(total) or len(total.ints("dimensions")) != 1:
                continue
            shape = total.operands[0].tensor.shape
            summed = total.ints("dimensions")[0]
            here = tuple(i for i in range(len(shape)) if i != summed)
            composed = tuple(places[i] if i >= 0 else -1 for i in inner)
            if here == kept and _same(composed, kept, total.results[0]):
                return _made(total.operands[0], "multiply")
    return None


def _is_inverse_square(value: Value, s: Value, kept: Axes) -> bool:
    for divide, places in _origins(value):
        if divide.name != "stablehlo.divide":
            continue
        one, square = constant_of(divide.operands[0]), _made(divide.operands[1], "multiply")
        if one is None or not np.all(one == 1) or square is None:
            return False
        inner = _places(square.operands[0], s)
        if square.operands[0] is not square.operands[1] or inner is None:
            return False
        composed = tuple(places[i] if i >= 0 else -1 for i in inner)
        return _same(composed, kept, s)
    return False


def _feeds_product(value: Value) -> bool:
    """Whether a value is an operand of a matrix product, moved or not."""
    waiting, seen = [value], {value.index}
    while waiting:
        for user in waiting.pop().users:
            kind = optable.row(user.name).kind
            if kind is Kind.HEAVY:
                return True
            if kind is Kind.MOVEMENT and user.results[0].index not in seen:
                seen.add(user.results[0].index)
                waiting.append(user.results[0])
    return False


# ---------------------------------------------------------------------------- repetition


def _origins(value: Value) -> list[tuple[Op, Axes]]:
    """Returns the op behind each step of a chain that repeats or reshapes by axes of 1.

    With it, to which axis of `value` each axis of its result went; -1 for axes of 1.
    """
    found: list[tuple[Op, Axes]] = []
    places: Axes = tuple(range(len(value.tensor.shape)))
    while value.producer is not None:
        op = value.producer
        found.append((op, places))
        step = _step(op)
        if step is None:
            break
        places = tuple(places[i] if i >= 0 else -1 for i in step)
        value = op.operands[0]
    return found


def _step(op: Op) -> Axes | None:
    """Returns to which axis of the result each axis of the operand goes."""
    if not op.operands or op.operands[0].type is None:
        return None
    before = op.operands[0].tensor.shape
    if op.name == "stablehlo.broadcast_in_dim":
        return op.ints("broadcast_dimensions")
    after = op.type.shape if op.results[0].type is not None else ()
    units = _is_sum(op) and all(before[i] == 1 for i in op.ints("dimensions"))
    if op.name != "stablehlo.reshape" and not units:
        return None
    long = [i for i, extent in enumerate(after) if extent != 1]
    if [after[i] for i in long] != [extent for extent in before if extent != 1]:
        return None
    numbers = iter(long)
    return tuple(next(numbers) if extent != 1 else -1 for extent in before)


def _places(value: Value, root: Value) -> Axes | None:
    """Returns to which axis of `value` each axis of `root` went; None if it is another value."""
    if value is root:
        return tuple(range(len(root.tensor.shape)))
    return next((p for op, p in _origins(value) if root in op.results), None)


def _same(places: Axes, kept: Axes, root: Value) -> bool:
    pairs = zip(places, kept, root.tensor.shape, strict=True)
    return all(extent == 1 or place == axis for place, axis, extent in pairs)


def _repeats(value: Value, root: Value, kept: Axes) -> bool:
    places = _places(value, root)
    return places is not None and len(places) == len(kept) and _same(places, kept, root)


def _as_it_crosses(y: Value, before: Op, placed: editing.Placed) -> Value:
    """Returns y, made of the reshaped form in which matrix products read it, if there is one.

    The backward pass's product reads that form too, so that one value crosses, not two.
    """
    shaped = (user for user in y.users if user.name == "stablehlo.reshape")
    reshaped = next((op.results[0] for op in shaped if op.index < before.index), None)
    if reshaped is None:
        return y
    return editing.new_op("stablehlo.reshape", y, [reshaped], before, placed)
