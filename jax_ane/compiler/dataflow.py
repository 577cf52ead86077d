# SPDX-License-Identifier: Apache-2.0
"""How data flows between the parts of a compilation: ANE calls and stretches of host code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax_ane.compiler import flops
from jax_ane.compiler.graph import Value
from jax_ane.compiler.partition import FREE, Plan
from jax_ane.compiler.programs import AneProgram


@dataclasses.dataclass(eq=False)
class Part:
    """One call of an ANE program, or the host ops between two calls.

    Attributes:
        name: of the program; "host", "arguments" or "results" otherwise.
        kind: "ane", "host", or "border" for a block's arguments and results.
        region: "main", or the path of a loop body or branch.
        rank: how many parts follow one another before it.
        ops: how many ops it holds.
        flops: of these ops.
        sources: bytes that come from each other part, by its position in the list.
    """

    name: str
    kind: str
    region: str
    rank: int
    ops: int = 0
    flops: int = 0
    sources: dict[int, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        fields["sources"] = [{"part": part, "bytes": n} for part, n in self.sources.items()]
        return fields


def parts(plans: Sequence[Plan], built: Sequence[dict[int, AneProgram]]) -> list[Part]:
    """Returns the parts of all blocks; blocks without an ANE call are left out."""
    found: list[Part] = []
    for plan, programs in zip(plans, built, strict=True):
        if plan.clusters:
            _Reader(found, plan, programs).read()
    return found


class _Reader:
    """Reads one block."""

    def __init__(self, found: list[Part], plan: Plan, programs: dict[int, AneProgram]) -> None:
        self.found, self.plan, self.programs = found, plan, programs
        self.positions: dict[tuple[str, int], int] = {}

    def read(self) -> None:
        plan = self.plan
        self.part(("arguments", 0), "arguments", "border", 0)
        for op in plan.block.ops:
            if plan.reasons[op.index] is FREE:
                continue
            cluster = plan.cluster_of.get(op.index)
            # Ranks start behind the arguments; host and ANE levels alternate.
            level = plan.levels[op.index] + 1
            if cluster is None:
                at = self.part(("host", level), "host", "host", level)
            else:
                name = self.programs[cluster.number].name
                at = self.part(("ane", cluster.number), name, "ane", level)
            self.found[at].ops += 1
            self.found[at].flops += flops.count(op)
        for op in plan.block.ops:
            if plan.reasons[op.index] is not FREE:
                target = self.position_of_op(op.index)
                for operand in dict.fromkeys(op.operands):
                    self.connect(operand, target)
        last = 1 + max(self.found[at].rank for at in self.positions.values())
        results = self.part(("results", 0), "results", "border", last)
        for value in dict.fromkeys(plan.block.returned):
            self.connect(value, results)

    def part(self, key: tuple[str, int], name: str, kind: str, rank: int) -> int:
        if key not in self.positions:
            self.positions[key] = len(self.found)
            self.found.append(Part(name, kind, self.plan.block.path, rank))
        return self.positions[key]

    def position_of_op(self, index: int) -> int:
        cluster = self.plan.cluster_of.get(index)
        if cluster is None:
            return self.positions["host", self.plan.levels[index] + 1]
        return self.positions["ane", cluster.number]

    def connect(self, value: Value, target: int) -> None:
        producer = value.producer
        if producer is not None and self.plan.reasons[producer.index] is FREE:
            return
        source = (
            self.positions["arguments", 0]
            if producer is None
            else self.position_of_op(producer.index)
        )
        if source != target and value.type is not None:
            sources = self.found[target].sources
            sources[source] = sources.get(source, 0) + flops.tensor_bytes(value.type)
