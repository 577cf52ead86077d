# SPDX-License-Identifier: Apache-2.0
"""What ran where and why, as plain data: the result that every report reads."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

from jax_ane import _chips
from jax_ane.compiler import cost, dataflow, flops, uploads
from jax_ane.compiler.able import Reason
from jax_ane.compiler.graph import Location
from jax_ane.compiler.hazards import Hazard
from jax_ane.compiler.partition import FOLLOWS, FREE, PLACED_HOST, Plan
from jax_ane.compiler.programs import AneProgram
from jax_ane.compiler.settings import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class OpRecord:
    """One op of the program: its types, the user's line, its place and why, and its work."""

    op: str
    result: str
    location: Location
    placement: str  # "ane" or "host"
    reason: Reason
    flops: int
    bytes: int
    program: str | None  # name of its ANE program
    region: str  # "main", or the path of the loop body or branch
    hazards: tuple[Hazard, ...] = ()  # of the program's ops that stem from the same line
    is_refused: bool = False  # asked to be on the ANE by the user, and is not

    def to_dict(self) -> dict[str, Any]:
        return {
            "op": self.op,
            "result": self.result,
            "file": self.location.file,
            "line": self.location.line,
            "function": self.location.function,
            "placement": self.placement,
            "reason": self.reason.code,
            "why": self.reason.text,
            "remedy": self.reason.remedy,
            "flops": self.flops,
            "bytes": self.bytes,
            "program": self.program,
            "region": self.region,
            "hazards": [hazard.to_dict() for hazard in self.hazards],
        }


@dataclasses.dataclass(eq=False)
class Placement:
    """Every op's place, and the programs of a compilation (equal ones once, with a count)."""

    ops: list[OpRecord]
    programs: list[AneProgram]
    calls: dict[str, int]  # program name -> clusters that call it
    chip: str
    numerics: str
    parts: list[dataflow.Part] = dataclasses.field(default_factory=list)  # for reports
    compile_seconds: float = 0.0
    updated_elements: int = 0  # of weights that the program changes, so that each call brings new

    @property
    def ane_flops(self) -> int:
        return sum(op.flops for op in self.ops if op.placement == "ane")

    @property
    def total_flops(self) -> int:
        return sum(op.flops for op in self.ops)

    @property
    def ane_flop_fraction(self) -> float:
        """Share of the FLOPs on the ANE, 0 to 1; 0 for a program without FLOPs."""
        return self.ane_flops / self.total_flops if self.total_flops else 0.0

    @property
    def estimate(self) -> cost.Estimate:
        """What the programs' calls take on the chip together, each loop's body once.

        With one upload of each weight that the program updates.
        """
        weights = cost.upload(self.updated_elements, _chips.load(self.chip))
        return sum((p.estimate * self.calls[p.name] for p in self.programs), weights)

    @property
    def hazards(self) -> list[Hazard]:
        """All programs' findings, each once."""
        return list(dict.fromkeys(h for program in self.programs for h in program.hazards))

    def to_text(self, mil: bool = False) -> str:
        """Returns a table of lines and reasons, and the programs, with their MIL if asked."""
        lines = [
            f"ANE {100 * self.ane_flop_fraction:.2f} % of {self.total_flops:,} FLOPs in "
            f"{len(self.programs)} program(s), chip {self.chip}, {self.numerics} numerics",
            *([f"estimated {self.estimate} on {self.chip}"] if self.programs else []),
            *self._updates(),
            "",
            f"{'place':5} {'count':>5} {'FLOPs':>14}  {'op':24} {'where':44} why",
        ]
        lines += self._rows()
        remedies = self._remedies()
        if remedies:
            lines += ["", "what brings host ops to the engine, or spares them", *remedies]
        if self.hazards:
            lines += ["", "fp16 hazards"]
            lines += [f"{'note' if h.is_note else 'warn':5} {h}" for h in self.hazards]
        for program in self.programs:
            lines += ["", _program_line(program, self.calls[program.name], self.chip)]
            if mil:
                lines.append(program.text)
        return "\n".join(lines) + "\n"

    def _updates(self) -> list[str]:
        if not self.updated_elements:
            return []
        moved = f"{self.updated_elements:,} weights that the program updates"
        return [f"with one upload a call of {moved}"]

    def _rows(self) -> list[str]:
        groups: dict[tuple[str, ...], list[OpRecord]] = collections.defaultdict(list)
        for op in self.ops:
            if op.reason.code == "constant":
                continue
            name = op.op.removeprefix("stablehlo.")
            groups[(op.placement, name, str(op.location), op.reason.text)].append(op)
        ordered = sorted(
            groups.items(), key=lambda item: (item[0][0], -sum(op.flops for op in item[1]))
        )
        return [
            f"{place:5} {len(ops):5d} {sum(op.flops for op in ops):14,d}  {name:24} "
            f"{_short(where):44} {why}"
            for (place, name, where, why), ops in ordered
        ]

    def _remedies(self) -> list[str]:
        host = (op for op in self.ops if op.placement == "host" and op.reason.remedy)
        lines = (
            f"{op.op.removeprefix('stablehlo.')} ({op.reason.code}): {op.reason.remedy}"
            for op in host
        )
        return list(dict.fromkeys(lines))

    def to_dict(self) -> dict[str, Any]:
        """Returns the whole as JSON-ready data."""
        return {
            "chip": self.chip,
            "numerics": self.numerics,
            "ane_flop_fraction": self.ane_flop_fraction,
            "ane_flops": self.ane_flops,
            "total_flops": self.total_flops,
            "compile_seconds": self.compile_seconds,
            "estimate": self.estimate.to_dict(),
            "updated_elements": self.updated_elements,
            "ops": [op.to_dict() for op in self.ops],
            "hazards": [hazard.to_dict() for hazard in self.hazards],
            "parts": [part.to_dict() for part in self.parts],
            "programs": [
                {
                    "name": p.name,
                    "fingerprint": p.fingerprint,
                    "calls": self.calls[p.name],
                    "flops": p.flops,
                    "mil_ops": p.op_count,
                    "estimate": p.estimate.to_dict(),
                    "inputs": [str(t) for t in p.inputs],
                    "outputs": [str(t) for t in p.outputs],
                    "file": p.location.file,
                    "line": p.location.line,
                    "passes": p.pass_statistics,
                    "spills": [spill.to_dict() for spill in p.spills],
                    "scaled_inputs": list(p.scaling.inputs),
                    "scaled_outputs": list(p.scaling.outputs),
                }
                for p in self.programs
            ],
        }


def _positions(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _short(where: str, width: int = 44) -> str:
    return where if len(where) <= width else "..." + where[-(width - 3) :]


def _program_line(program: AneProgram, calls: int, chip: str) -> str:
    inputs = ", ".join(map(str, program.inputs))
    outputs = ", ".join(map(str, program.outputs))
    if program.scaling.inputs:
        outputs += (
            f"\n  scaled at each call: inputs {_positions(program.scaling.inputs)}, with them "
        )
        outputs += f"outputs {_positions(program.scaling.outputs)}"
    return (
        f"{program.name}: {program.op_count} MIL ops, {program.flops:,} FLOPs, called {calls}x, "
        f"from {program.location}\n  estimated {program.estimate} on {chip}\n{spills_text(program)}"
        f"  ({inputs})\n  -> ({outputs})"
    )


_MOST_SPILLS = 4  # named of a program


def spills_text(program: AneProgram) -> str:
    """Says what does not stay on chip, the largest first; empty where all does."""
    if not program.spills:
        return ""
    ordered = sorted(program.spills, key=lambda spill: -spill.moved_bytes)
    lines = [f"    {spill}" for spill in ordered[:_MOST_SPILLS]]
    moved = sum(spill.moved_bytes for spill in ordered) / 2**20
    what = f"{len(ordered)} value(s)" if len(ordered) > _MOST_SPILLS else "these"
    head = f"  {moved:.1f} MiB through memory, since no tile on chip serves all that read {what}:"
    return "\n".join([head, *lines]) + "\n"


# Ops that are on the host because the user said so, or that have nothing to compute.
_NOT_REFUSED = (FREE, PLACED_HOST, FOLLOWS)


def _on_line(program: AneProgram | None, location: Location) -> tuple[Hazard, ...]:
    if program is None or not program.hazards:
        return ()
    return tuple(hazard for hazard in program.hazards if hazard.location == location)


def describe(
    plans: Sequence[Plan],
    built: Sequence[dict[int, AneProgram]],
    settings: Settings,
    for_report: bool = False,
) -> Placement:
    """Collects the records of all blocks, for a report also what flows between its parts.

    Must run before the module is changed.
    """
    records: list[OpRecord] = []
    unique: dict[str, AneProgram] = {}
    calls: collections.Counter[str] = collections.Counter()
    for plan, group in zip(plans, built, strict=True):
        for program in group.values():
            unique.setdefault(program.name, program)
            calls[program.name] += 1
        for op in plan.block.ops:
            cluster = plan.cluster_of.get(op.index)
            program = None if cluster is None else group[cluster.number]
            reason = plan.reasons[op.index]
            wanted = op.place == "ane" or settings.placement == "ane"
            result = op.results[0].type if op.results else None
            records.append(
                OpRecord(
                    op=op.name,
                    result=str(result) if result else "",
                    location=op.location,
                    placement="host" if cluster is None else "ane",
                    reason=reason,
                    flops=0 if reason is FREE else flops.count(op),
                    bytes=flops.moved_bytes(op),
                    program=program.name if program else None,
                    region=plan.block.path,
                    hazards=_on_line(program, op.location),
                    is_refused=wanted and program is None and reason not in _NOT_REFUSED,
                )
            )
    return Placement(
        records,
        list(unique.values()),
        dict(calls),
        settings.chip,
        settings.numerics,
        dataflow.parts(plans, built) if for_report else [],
        updated_elements=sum(value.tensor.size for value in uploads.updated(plans)),
    )
