# SPDX-License-Identifier: Apache-2.0
"""Computes cheap values again in the program that reads them, in place of sending them there.

    before: forward makes s = logistic(x), y = x * s, m = y * up; backward reads x, up, s, y and m
    after:  backward reads x and up, and makes s, y and m again

JAX keeps for a backward pass whatever a derivative mentions. Each of these values is copied out of
one program and into the other, and takes memory in between; the engine makes an elementwise one
again, from values that cross anyway, in a small part of that time. So a value is made again where
the chip's cost model says so: what is cheap joins the reader's cluster as `Cluster.again`, and the
value no longer crosses. The op itself stays where it was.

Results differ by roundings where a pass fuses what one of the two programs alone has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jax_ane.compiler import cost, flops, partition, worth
from jax_ane.compiler.graph import Op, Value
from jax_ane.compiler.operands import data_operands
from jax_ane.compiler.partition import Cluster, Plan

NAME = "recompute"
_MOST_OPS = 8  # made again for one value
_PASSES = frozenset(
    f"stablehlo.{name}"
    for name in (
        "abs", "add", "clamp", "compare", "divide", "exponential", "logistic", "maximum",
        "minimum", "multiply", "negate", "rsqrt", "select", "sqrt", "subtract", "tanh",
    )
)  # fmt: skip
_FREE = frozenset({"stablehlo.broadcast_in_dim", "stablehlo.convert", "stablehlo.reshape"})
_DMA = frozenset({"stablehlo.transpose"})


def apply(plans: Sequence[Plan], chip: Mapping[str, Any]) -> None:
    """Adds the ops to compute again to the plans' clusters, in place.

    Args:
        plans: of all blocks of a program, as planned.
        chip: the chip's file.
    """
    facts = cost.values_of(chip)
    work = {id(c): sum(map(flops.count, c.ops)) for plan in plans for c in plan.clusters}
    total = sum(work.values())
    for plan in plans:
        # What is small may leave for the host, and would take with it who needs no value sent.
        readers = [c for c in plan.clusters if not worth.is_small(work[id(c)], total)]
        if any([_Reader(plan, cluster, facts).run() for cluster in readers]):
            _connect_outputs(plan)


def undo(plan: Plan) -> None:
    """Takes back what `apply` did to a plan."""
    for cluster in plan.clusters:
        cluster.again = []
    partition.connect(plan)


class _Reader:
    """One cluster, and what it could make itself."""

    def __init__(self, plan: Plan, cluster: Cluster, facts: Mapping[str, float]) -> None:
        self._plan, self._cluster, self._facts = plan, cluster, facts
        self._returned = {value.index for value in plan.block.returned}
        self._at_hand = {value.index for value in cluster.inputs}

    def run(self) -> bool:
        """Chooses; returns whether there was anything."""
        again: dict[int, Op] = {}
        # The last ones first: each is made of those before it, which may be made in turn.
        for value in sorted(self._cluster.inputs, key=lambda v: v.index, reverse=True):
            found = self._made_of(value)
            if found is None:
                continue
            ops, leaves = found
            price = sum(map(self._seconds, ops)) + sum(map(self._sent, leaves))
            if price < self._saved(value):
                again.update((op.index, op) for op in ops)
                self._at_hand.update(v.index for op in ops for v in op.results)
                self._at_hand.update(leaf.index for leaf in leaves)
        self._cluster.again = [again[index] for index in sorted(again)]
        if again:
            partition.connect_inputs(self._cluster, self._plan)
        return bool(again)

    def _made_of(self, value: Value) -> tuple[list[Op], list[Value]] | None:
        """Returns the ops that make a value, and what they need that is not at hand."""
        if not self._is_cheap(value.producer):
            return None
        ops: dict[int, Op] = {}
        leaves: dict[int, Value] = {}
        waiting = [value]
        while waiting:
            op = waiting.pop().producer
            if op is None or op.index in ops:
                continue
            ops[op.index] = op
            if len(ops) > _MOST_OPS:
                return None
            for operand in data_operands(op):
                if operand.index in self._at_hand or partition.is_free(self._plan, operand):
                    continue
                if self._is_cheap(operand.producer):
                    waiting.append(operand)
                else:
                    leaves[operand.index] = operand
        return list(ops.values()), list(leaves.values())

    def _is_cheap(self, op: Op | None) -> bool:
        return (
            op is not None
            and op.index in self._plan.cluster_of
            and self._plan.cluster_of[op.index] is not self._cluster
            and op.name in _PASSES | _FREE | _DMA
        )

    def _saved(self, value: Value) -> float:
        readers = {id(self._plan.cluster_of.get(user.index)) for user in value.users}
        producer = value.producer
        assert producer is not None
        readers.discard(id(self._plan.cluster_of[producer.index]))
        on_host = value.index in self._returned or id(None) in readers
        return self._copy(value) * (1 if on_host else 1 + 1 / len(readers))

    def _sent(self, leaf: Value) -> float:
        """Returns what a leaf costs that this cluster does not read yet."""
        cluster = self._plan.cluster_of.get(leaf.producer.index) if leaf.producer else None
        is_new = cluster is not None and leaf not in cluster.outputs
        return self._copy(leaf) * (2 if is_new else 1)

    def _copy(self, value: Value) -> float:
        return cost.copy_s(self._facts, value.tensor.size)

    def _seconds(self, op: Op) -> float:
        if op.name in _FREE:
            return 0.0
        if op.name in _DMA:
            return cost.move_s(self._facts, op.type.size)
        return cost.planar_s(self._facts, op.type.size)


def _connect_outputs(plan: Plan) -> None:
    """Fills in the results that somebody reads."""
    needed = {value.index for value in plan.block.returned}
    needed.update(value.index for cluster in plan.clusters for value in cluster.inputs)

    def crosses(value: Value) -> bool:
        on_host = any([user.index not in plan.cluster_of for user in value.users])
        return value.index in needed or on_host

    for cluster in plan.clusters:
        cluster.outputs = [v for op in cluster.ops for v in op.results if crosses(v)]
