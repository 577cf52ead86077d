# SPDX-License-Identifier: Apache-2.0
"""The stages of the compiler: a StableHLO program in, ANE programs and a host module out.

`compile` is the list of them. Everything here runs once per program; nothing runs per call.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from types import ModuleType
from typing import Any

from jaxlib.mlir import ir

from jax_ane import _chips, _counters
from jax_ane import _jax_internals as internals
from jax_ane.compiler import (
    baking,
    collector,
    dump,
    frontend,
    heavy,
    hostmodule,
    loading,
    partition,
    placement,
    programs,
    recompute,
    residuals,
    roots,
    sharding,
    strictness,
    worth,
)
from jax_ane.compiler.graph import Block, Op
from jax_ane.compiler.placement import Placement
from jax_ane.compiler.programs import AneProgram
from jax_ane.compiler.settings import Settings


@dataclasses.dataclass(eq=False)
class Compiled:
    """What a compilation yields.

    Attributes:
        host_module: StableHLO bytecode for XLA:CPU, with a custom call per cluster.
        placement: every op's place and reason, and the ANE programs.
        keepalive: keeps the loaded programs alive as long as the executable.
        images: the loaded programs themselves, each once.
        fallbacks: ops on the host by reason code.
    """

    host_module: bytes
    placement: Placement
    keepalive: Any
    images: list[loading.Image]
    fallbacks: dict[str, int]

    @property
    def flops(self) -> float:
        return self.placement.total_flops

    @property
    def bytes_accessed(self) -> float:
        return float(sum(op.bytes for op in self.placement.ops))

    @property
    def text(self) -> str:
        """What `compiled.as_text()` shows: placements, then each program's MIL."""
        return self.placement.to_text(mil=True)


@collector.paused()
def compile(
    program: bytes | str,
    num_devices: int = 1,
    load: bool = True,
    module: ir.Module | None = None,
) -> Compiled:
    """Compiles a program.

    Args:
        program: a StableHLO portable artifact, MLIR bytecode or text.
        num_devices: over how many devices one call runs, if more than the module says.
        load: load the ANE programs; False only analyses (for reports).
        module: the program, where the caller has parsed it already; it is changed.

    Returns:
        The compiled program.

    Raises:
        ValueError: the bytes are not a program.
    """
    start = time.perf_counter()
    module = module or frontend.parse(program)
    settings = Settings.current(internals.take_flags(module))
    is_sharded = max(num_devices, sharding.partitions(module)) > 1
    planned = None
    # What cannot be had in full is tried with less, on the program as it was.
    for rewriting, localising in ((True, True), (False, True), (False, False)):
        if not is_sharded and not localising:
            break
        planned = _plan(module, settings, is_sharded, rewriting, localising)
        if planned is not None:
            break
        module = _parse_again(program)
    assert planned is not None
    plans, built = planned
    result = placement.describe(plans, built, settings, for_report=not load)
    if load:
        strictness.apply(result, settings.strict)
        for ane_program in (p for group in built for p in group.values()):
            programs.load(ane_program, settings)
    if any(built):
        # Inner blocks first: their programs may read values of outer ones, which are replaced then.
        for plan, group in reversed(list(zip(plans, built, strict=True))):
            hostmodule.replace(plan, group)
    else:
        # As it came: XLA fuses, and so rounds, by how a program is written.
        module = _parse_again(program)
        frontend.prepare(module)
    host_module = frontend.serialise(module)
    result.compile_seconds = time.perf_counter() - start
    fallbacks = collections.Counter(op.reason.code for op in result.ops if op.placement == "host")
    if load:
        _counters.add("compilations")
        for code, count in fallbacks.items():
            _counters.add_fallback(code, count)
    if settings.dump_dir:
        dump.write(settings.dump_dir, program, module, result, settings)
    every = [program for group in built for program in group.values()]
    images = {p.fingerprint: p.image for p in every if p.image is not None}
    handles = [p.handle for p in every]
    return Compiled(host_module, result, handles, list(images.values()), dict(fallbacks))


def _parse_again(program: bytes | str) -> ir.Module:
    """Returns the module as it came, without the flags that are known by now."""
    module = frontend.parse(program)
    internals.take_flags(module)
    return module


def _plan(
    module: ir.Module, settings: Settings, is_sharded: bool, rewriting: bool, localising: bool
) -> tuple[list[partition.Plan], list[dict[int, AneProgram]]] | None:
    """Returns each block's plan and programs.

    None where an op that was rewritten for the ANE is on the host after all (its float32 results
    would be others than XLA:CPU's), or where a module was partitioned for nothing.
    """
    frontend.normalise(module)
    may_use_ane = settings.placement != "host"
    is_localised = is_sharded and localising and may_use_ane and sharding.localise(module)
    blocks = frontend.code_blocks(module)
    split = [is_sharded and not sharding.is_per_device(b.mlir, module) for b in blocks]
    rewriting &= may_use_ane
    rules = [r for r in (residuals, roots) if rewriting and r.NAME not in settings.disabled_passes]
    changed = [
        [] if s or not rules else _rewrite(b, rules, settings)
        for b, s in zip(blocks, split, strict=True)
    ]
    plans = [
        partition.plan_block(b, settings.placement, settings.chip, s)
        for b, s in zip(blocks, split, strict=True)
    ]
    if settings.placement == "auto" and recompute.NAME not in settings.disabled_passes:
        _recompute(plans, settings.chip)
    built = [_build_programs(plan, settings) for plan in plans]
    if settings.placement == "auto":
        worth.drop_small(plans, built)
    for plan, ops in zip(plans, changed, strict=True):
        if any(op.index not in plan.cluster_of for op in ops):
            return None
    if is_localised and not any(built):
        return None
    return plans, built


def _rewrite(block: Block, rules: list[ModuleType], settings: Settings) -> list[Op]:
    """Applies rules where ops will go to the ANE; returns what they changed."""
    changed: list[Op] = []
    everywhere = settings.placement == "ane"
    likely = None if everywhere else heavy.between(block.ops)
    for rule in rules:
        new = rule.rewrite(block, settings.chip, likely)
        if new and not everywhere:
            likely = heavy.between(block.ops)  # the ops have new numbers
        changed += new
    return changed


def _recompute(plans: list[partition.Plan], chip: str) -> None:
    """Lets programs compute values again, in place; cuts first those that have too many borders."""
    facts = _chips.load(chip)
    while True:
        recompute.apply(plans, facts)
        large = [
            (plan, cluster)
            for plan in plans
            for cluster in plan.clusters
            if programs.surfaces(cluster) > facts["max_surfaces"]["value"]
        ]
        if not large:
            return
        for plan in plans:
            recompute.undo(plan)
        halves = [partition.split_cluster(plan, cluster) for plan, cluster in large]
        if not any(halves):
            return  # refused, with the reason, when they are built


def _build_programs(plan: partition.Plan, settings: Settings) -> dict[int, AneProgram]:
    """Builds each cluster's program; what the chip refuses is cut in two or goes to the host."""
    weights = baking.arguments(plan.block) if settings.weights == "baked" else frozenset()
    if any(cluster.again for cluster in plan.clusters):
        try:
            return {c.number: programs.build(c, settings, weights) for c in plan.clusters}
        except programs.Illegal:  # clusters may be cut or dropped, and must stand alone
            recompute.undo(plan)
    built: dict[int, AneProgram] = {}
    waiting = list(plan.clusters)
    while waiting:
        cluster = waiting.pop()
        try:
            built[cluster.number] = programs.build(cluster, settings, weights)
        except programs.Illegal as refusal:
            # Too large for one program: two halves may pass.
            too_large = refusal.reason.code in programs.SIZE_LIMITS
            halves = partition.split_cluster(plan, cluster) if too_large else None
            if halves:
                waiting.extend(halves)
            else:
                partition.drop_cluster(plan, cluster, refusal.reason)
    return built
