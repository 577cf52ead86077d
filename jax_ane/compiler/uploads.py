# SPDX-License-Identifier: Apache-2.0
"""Which weights a program changes itself, as a training step does: they go to the device each call.

A program's arguments are taken to stay the same from call to call (compiler/cost.py), so they cost
no copy. But of a step that returns its weights updated the next call brings new ones, and each that
an ANE program reads is converted and copied again, once a call however many programs read it.

A weight is updated where a result of its type is made of it by ops on elements alone, as
`w - rate * gradient` is, or by a loop or a choice that hands it on. Weights that only bodies of
loops read are counted where the loop gets them. What else changes from call to call, such as a
batch, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

from jax_ane.compiler import optable, updates
from jax_ane.compiler.graph import Block, Value
from jax_ane.compiler.optable import Kind
from jax_ane.compiler.partition import Plan


def updated(plans: Sequence[Plan]) -> list[Value]:
    """Returns the arguments of the program that it updates and that ANE programs read."""
    if not any(plan.clusters for plan in plans):
        return []
    main = next(plan for plan in plans if plan.block.path == "main")
    changed = _changed(main.block)
    read = _read(main, any(plan.clusters for plan in plans if plan is not main))
    return [v for v in main.block.arguments if v.index in changed and v.index in read]


def _changed(block: Block) -> set[int]:
    """Returns the arguments, by index, of which a returned value of their type is made."""
    arguments = {value.index for value in block.arguments}
    seen: set[int] = set()
    waiting = [v for v in block.returned if v.type is not None and v.type.is_float]
    waiting = [v for v in waiting if v.producer is not None]
    while waiting:
        value = waiting.pop()
        if value.index in seen:
            continue
        seen.add(value.index)
        waiting += [v for v in _made_of(value) if v.type == value.type]
    return seen & arguments


def _made_of(value: Value) -> Sequence[Value]:
    """Returns the operands whose elements become those of a value."""
    op = value.producer
    if op is None:
        return ()
    if op.name == "stablehlo.while":
        return (op.operands[op.results.index(value)],)
    if updates.is_native(op.mlir):
        result = op.results.index(value)  # never the count, which is no float
        return (op.operands[updates.operand_of(result)],)
    is_elementwise = optable.row(op.name).kind is Kind.ARITHMETIC
    return op.operands if is_elementwise or op.name in _KEEP else ()


# Not arithmetic to the partitioner, and yet element by element, or one of several values.
_KEEP = frozenset({"stablehlo.case", "stablehlo.if", "stablehlo.optimization_barrier"})
_BODIES = frozenset({"stablehlo.case", "stablehlo.if", "stablehlo.while"})


def _read(plan: Plan, has_programs_inside: bool) -> set[int]:
    """Returns the arguments, by index, that programs of a block or of its bodies read."""
    readers = [value for cluster in plan.clusters for value in cluster.inputs]
    if has_programs_inside:
        readers += [v for op in plan.block.ops if op.name in _BODIES for v in op.operands]
    return {_origin(value).index for value in readers}


def _origin(value: Value) -> Value:
    """Returns what a value is, moved or converted; what is picked at run time is its own."""
    while (
        value.producer is not None
        and value.producer.operands
        and value.producer.name not in _PICKS
        and optable.row(value.producer.name).kind is Kind.MOVEMENT
    ):
        value = value.producer.operands[0]
    return value


_PICKS = frozenset({
    "stablehlo.dynamic_slice", "stablehlo.dynamic_update_slice", "stablehlo.gather",
})  # fmt: skip
