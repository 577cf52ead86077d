# SPDX-License-Identifier: Apache-2.0
"""How data flows between the parts of a compilation: ANE calls and stretches of host code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax_ane.compiler import flops
from jax_ane.compiler.graph import Op, Value
from jax_ane.compiler.partition import FREE, Cluster, Plan, schedule
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
        self.positions: dict[tuple[str, int], int] = {}  # kind and number or rank -> part
        self.producer_part: dict[int, int] = {}  # index of a value -> part

    def read(self) -> None:
        arguments = self.part(("arguments", 0), "arguments", "border", 0)
        self.producer_part.update((v.index, arguments) for v in self.plan.block.arguments)
        for unit in schedule(self.plan):
            if isinstance(unit, Cluster):
                name = self.programs[unit.number].name
                rank = 1 + max(map(self.rank, unit.inputs), default=0)
                self.add(unit.ops, self.part(("ane", unit.number), name, "ane", rank))
            elif self.plan.reasons[unit.index] is not FREE:
                # Host code joins host code of the same rank.
                rank = max((self.rank(v, "host") for v in unit.operands), default=1)
                self.add([unit], self.part(("host", rank), "host", "host", rank))
        last = 1 + max(part.rank for part in self.found[arguments:])
        results = self.part(("results", 0), "results", "border", last)
        for value in dict.fromkeys(self.plan.block.returned):
            self.connect(value, results)

    def part(self, key: tuple[str, int], name: str, kind: str, rank: int) -> int:
        if key not in self.positions:
            self.positions[key] = len(self.found)
            self.found.append(Part(name, kind, self.plan.block.path, rank))
        return self.positions[key]

    def rank(self, value: Value, kind: str = "") -> int:
        """Returns the rank of the part that a value comes from, one more if of another kind."""
        if value.index not in self.producer_part:
            return 1  # a constant
        part = self.found[self.producer_part[value.index]]
        return part.rank if not kind or part.kind == kind else part.rank + 1

    def add(self, ops: Sequence[Op], at: int) -> None:
        part = self.found[at]
        for op in ops:
            part.ops += 1
            part.flops += flops.count(op)
            for operand in dict.fromkeys(op.operands):
                self.connect(operand, at)
            self.producer_part.update((v.index, at) for v in op.results)

    def connect(self, value: Value, target: int) -> None:
        source = self.producer_part.get(value.index, target)
        if source != target and value.type is not None:
            sources = self.found[target].sources
            sources[source] = sources.get(source, 0) + value.type.bytes
