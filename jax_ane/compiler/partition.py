# SPDX-License-Identifier: Apache-2.0
"""Which ops of a block go to the ANE, as which clusters, and why.

Ops alternate between two kinds along every path: those the ANE can run and those it cannot. An op's
*level* is the largest number of alternations on any path that ends at it; all ops of one level are
of one kind, so the connected groups of ANE ops of one level are convex by construction: sorting a
block by (level, cluster, index) is always a valid order.

A cluster is kept only around heavy ops. In `auto`, arithmetic joins where it lies *between* heavy
ops of its cluster, data movement also on either side, and bias adds and relus also after them. That
keeps optimiser arithmetic, losses and statistics in float32 on the host.
"""

from __future__ import annotations

import dataclasses
import heapq
from itertools import accumulate

import numpy as np

from jax_ane.compiler import able, barriers, float32, heavy, optable
from jax_ane.compiler.able import Reason
from jax_ane.compiler.graph import Block, Op, Value
from jax_ane.compiler.operands import data_operands
from jax_ane.compiler.optable import Kind

_SINKING = (Kind.MOVEMENT, Kind.ARITHMETIC)
_ROUNDS = 16  # pruning converges in two or three; the cap only bounds a surprise

HEAVY = Reason("heavy", "a matrix product or convolution: what the engine is for")
BETWEEN = Reason("between", "lies between matrix products, so its data stays on the engine")
MOVED = Reason("movement", "moves data next to a matrix product")
EPILOGUE = Reason("epilogue", "bias or relu of a matrix product's result")
LEGAL = Reason("legal", "placement='ane' puts everything legal on the engine")
ASKED_HOST = Reason("placement", "placement='host' keeps everything on the host")
PLACED_HOST = Reason("placed", "jax_ane.place('host') or full_precision keeps it on the host")
PLACED_ANE = Reason("placed", "jax_ane.place('ane') puts it on the engine")
NOT_BETWEEN = Reason(
    "not-between",
    "float32 on the host costs nothing here: no matrix product needs it on the engine",
    "use jax_ane.config(placement='ane') to force it",
)
FREE = Reason("constant", "a constant, copied to wherever it is used")
FOLLOWS = Reason("barrier", "an identity, in the hands of a reader that is on the host")
SHARDED = Reason(
    "sharded",
    "it is left to XLA to split this program over several devices, and then it runs on the host",
    "say in jax.shard_map what each device does",
)
PER_DEVICE = Reason("per-device", "what each device does: its operations are placed one by one")


@dataclasses.dataclass(eq=False)
class Cluster:
    """Ops of one future ANE program. Inputs and outputs are in order of first use.

    `again` are ops of other clusters that this one computes once more (recompute.py).
    """

    number: int
    level: int
    ops: list[Op]
    again: list[Op] = dataclasses.field(default_factory=list)
    inputs: list[Value] = dataclasses.field(default_factory=list)
    outputs: list[Value] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Plan:
    """A block's clusters and each op's reason."""

    block: Block
    clusters: list[Cluster]
    reasons: list[Reason]  # by op index
    cluster_of: dict[int, Cluster]  # op index -> cluster
    levels: list[int]  # by op index, before any cluster was split or dropped


def plan_block(block: Block, placement: str, chip: str, sharded: bool = False) -> Plan:
    """Decides each op's place.

    Args:
        block: the block, as the frontend read it.
        placement: the flag's value: "auto", "ane" or "host".
        chip: the chip's name: an op that it lacks goes to the host alone, not with its cluster.
        sharded: the block is of whole arrays that XLA splits over several devices, where it would
            gather what an ANE program reads: all of it stays on the host.
    """
    ops = block.ops
    if placement == "host" or sharded:
        reason = SHARDED if sharded else ASKED_HOST
        of_all = [PER_DEVICE if op.name == "sdy.manual_computation" else reason for op in ops]
        return Plan(block, [], of_all, {}, [0] * len(ops))
    free = _free_ops(ops)
    reasons: list[Reason | None] = [None] * len(ops)
    for op in ops:
        reasons[op.index] = FREE if op.index in free else _refusal(op, free, chip)
        if op.place == "host" and op.index not in free:
            reasons[op.index] = PLACED_HOST
    if placement == "auto":
        for op, reason in float32.needed(block):
            if op.place != "ane":
                reasons[op.index] = reasons[op.index] or reason
    on_ane = {op.index for op in ops if reasons[op.index] is None}
    on_ane -= _without_reader(block, on_ane)
    levels: list[int] = []
    groups: list[list[Op]] = []
    why: dict[int, Reason] = {}
    for _ in range(_ROUNDS):
        levels, sunk = _levels(block, on_ane, free)
        groups = _groups(ops, on_ane, levels, free)
        kept, why = _prune(groups, placement, sunk)
        kept -= _without_reader(block, kept)
        for index in on_ane - kept:
            reasons[index] = NOT_BETWEEN
        if kept == on_ane:
            break
        on_ane = kept
    for index in _without_reader(block, on_ane) - free:
        reasons[index] = FOLLOWS
    for index in on_ane:
        reasons[index] = why[index]
    clusters = [
        Cluster(number, levels[group[0].index], group) for number, group in enumerate(groups)
    ]
    final = [reason or FREE for reason in reasons]
    cluster_of = {op.index: cluster for cluster in clusters for op in cluster.ops}
    plan = Plan(block, clusters, final, cluster_of, levels)
    connect(plan)
    return plan


def schedule(plan: Plan) -> list[Op | Cluster]:
    """Returns the clusters and all other ops in an order in which each may run.

    Levels alone give one only as long as no cluster was split or dropped; they still decide where
    there is a choice.
    """
    unit_of: dict[int, Op | Cluster] = {op.index: op for op in plan.block.ops}
    unit_of.update(plan.cluster_of)
    first: dict[int, tuple[int, int]] = {}  # of a unit, by id: level and index of its first op
    waits_for: dict[int, set[int]] = {}
    units: dict[int, Op | Cluster] = {}
    last_effect: int | None = None
    for op in plan.block.ops:
        unit = unit_of[op.index]
        key = id(unit)
        units[key] = unit
        level = -1 if plan.reasons[op.index] is FREE else plan.levels[op.index]
        first.setdefault(key, (level, op.index))
        needs = waits_for.setdefault(key, set())
        for operand in op.operands:
            if operand.producer is not None:
                needs.add(id(unit_of[operand.producer.index]))
        if op.has_effect:
            if last_effect is not None:
                needs.add(last_effect)
            last_effect = key
        needs.discard(key)
    followers: dict[int, list[int]] = {}
    for key, needs in waits_for.items():
        for need in needs:
            followers.setdefault(need, []).append(key)
    missing = {key: len(needs) for key, needs in waits_for.items()}
    ready = [(*first[key], key) for key, count in missing.items() if count == 0]
    heapq.heapify(ready)
    order: list[Op | Cluster] = []
    while ready:
        key = heapq.heappop(ready)[-1]
        order.append(units[key])
        for follower in followers.get(key, ()):
            missing[follower] -= 1
            if missing[follower] == 0:
                heapq.heappush(ready, (*first[follower], follower))
    if len(order) != len(units):
        raise RuntimeError("the clusters depend on each other in a circle: please report this")
    return order


def drop_cluster(plan: Plan, cluster: Cluster, reason: Reason) -> None:
    """Sends a cluster back to the host, in place."""
    plan.clusters.remove(cluster)
    for op in cluster.ops:
        plan.reasons[op.index] = reason
        del plan.cluster_of[op.index]


def split_cluster(plan: Plan, cluster: Cluster) -> tuple[Cluster, Cluster] | None:
    """Cuts a cluster in two, in place, where few values cross; None when it has one heavy op.

    The first half depends on nothing of the second.
    """
    ops = _late(cluster)
    is_heavy = [optable.row(op.name).kind is Kind.HEAVY for op in ops]
    if sum(is_heavy) < 2:
        return None
    at = _best_cut(ops, is_heavy)
    halves = (
        Cluster(cluster.number, cluster.level, ops[:at]),
        Cluster(max(c.number for c in plan.clusters) + 1, cluster.level, ops[at:]),
    )
    place = plan.clusters.index(cluster)
    plan.clusters[place : place + 1] = halves
    for half in halves:
        _connect(half, plan)
        for op in half.ops:
            plan.cluster_of[op.index] = half
    return halves


def connect(plan: Plan) -> None:
    """Fills in the values that cross the clusters' borders, with nothing computed again."""
    for cluster in plan.clusters:
        _connect(cluster, plan)


def connect_inputs(cluster: Cluster, plan: Plan) -> None:
    """Fills in what a cluster reads, those of its ops that are others' as well included."""
    ops = [*cluster.again, *cluster.ops]
    members = {op.index for op in ops}
    inputs: dict[int, Value] = {}
    for op in ops:
        for operand in data_operands(op):
            producer = operand.producer
            if producer is None or (producer.index not in members and not is_free(plan, operand)):
                inputs.setdefault(operand.index, operand)
    cluster.inputs = list(inputs.values())


def is_free(plan: Plan, value: Value) -> bool:
    """Whether a value is a constant, which each cluster has of its own."""
    return value.producer is not None and plan.reasons[value.producer.index] is FREE


def _late(cluster: Cluster) -> list[Op]:
    """Returns a cluster's ops in program order, but what no heavy op leads to before its reader.

    A backward pass reads the first layer last, what was derived for it in the forward pass too.
    """
    members = {op.index for op in cluster.ops}
    bound = heavy.behind(cluster.ops, heavy.indices(cluster.ops))
    at: dict[int, int] = {}
    for op in reversed(cluster.ops):
        users = [user.index for result in op.results for user in result.users]
        readers = [at[index] for index in users if index in members]
        at[op.index] = op.index if op.index in bound else min(readers, default=op.index)
    return sorted(cluster.ops, key=lambda op: (at[op.index], op.index))


def _best_cut(ops: list[Op], is_heavy: list[bool]) -> int:
    """Returns where the fewest values cross, a third of the heavy ops or more on either side."""
    position = {op.index: i for i, op in enumerate(ops)}
    opened, closed = ([0] * (len(ops) + 1) for _ in range(2))
    for i, op in enumerate(ops):
        for result in op.results:
            opened[i + 1] += 1
            last = max((position.get(user.index, i) for user in result.users), default=i)
            closed[last + 1] += 1
    crossing = [a - b for a, b in zip(accumulate(opened), accumulate(closed), strict=True)]
    before = list(accumulate(is_heavy, initial=0))
    least_share = max(1, before[-1] // 3)
    cuts = [c for c, n in enumerate(before) if least_share <= n <= before[-1] - least_share]
    return min(cuts, key=lambda cut: crossing[cut])


# ---------------------------------------------------------------------------- labels


def _free_ops(ops: list[Op]) -> set[int]:
    """Returns what is copied into every user: constants, what is known, and scalars repeated."""
    free: set[int] = set()
    for op in ops:
        is_known = bool(op.results) and op.results[0].known is not None
        is_repeated = (
            able.passes_constant(op)
            and op.operands[0].producer is not None
            and op.operands[0].producer.index in free
            and op.operands[0].type is not None
            and op.operands[0].type.size == 1
        )
        if op.name == "stablehlo.constant" or is_known or is_repeated:
            free.add(op.index)
    return free


def _refusal(op: Op, free: set[int], chip: str) -> Reason | None:
    reason = able.refusal(op, chip)
    if reason is not None:
        return reason
    for operand in data_operands(op):
        producer = operand.producer
        if producer is None or producer.index not in free:
            continue
        array = able.constant_of(operand)
        if array is None:
            continue
        reason = able.constant_refusal(array, is_made=operand.known is not None)
        if reason is not None and not _is_initial_value(op, operand):
            return reason
        if op.name == "stablehlo.multiply" and _overflows(array):
            return Reason("overflows", "multiplies by a constant beyond fp16's 65504")
    return None


def _without_reader(block: Block, on_ane: set[int]) -> set[int]:
    """Returns the barriers whose reader is not on the ANE: they go where it goes."""
    found: set[int] = set()
    for op in reversed(block.ops):
        if op.name == barriers.NAME:
            readers = {user.index for result in op.results for user in result.users}
            if not readers or not readers <= on_ane - found:
                found.add(op.index)
    return found


def _is_initial_value(op: Op, operand: Value) -> bool:
    return op.name.startswith("stablehlo.reduce") and operand is op.operands[-1]


def _overflows(array: np.ndarray) -> bool:
    return bool((np.abs(array.astype(np.float32)) > 65504).any())


# ---------------------------------------------------------------------------- clusters


def _levels(block: Block, on_ane: set[int], free: set[int]) -> tuple[list[int], set[int]]:
    """Returns each op's level, and what a heavy op leads to that was moved to a later level."""
    levels = [0] * len(block.ops)
    effect_level = 0
    for op in block.ops:
        kind = op.index in on_ane
        level = 1 if kind else 0
        operands = data_operands(op) if kind else op.operands
        if kind and op.parts:
            operands = [*operands, *(v for part in op.parts for v in part.operands)]
        for operand in operands:
            producer = operand.producer
            if producer is None or producer.index in free:
                continue
            same = (producer.index in on_ane) == kind
            level = max(level, levels[producer.index] + (0 if same else 1))
        if op.has_effect:
            level = effect_level = max(level, effect_level)
        levels[op.index] = level
    sunk = _sink(block, on_ane, levels, free)
    return levels, sunk & _after_heavy(block, on_ane)


def _sink(block: Block, on_ane: set[int], levels: list[int], free: set[int]) -> set[int]:
    """Moves what only makes values larger to the level of its users, in place; returns it.

    A bias is broadcast from an argument, so nothing holds that back to the product it belongs to.
    What JAX derives in the forward pass for the backward pass alone, as s * (1 - s), is made there,
    of values that cross anyway.
    """
    sunk: set[int] = set()
    returned = {value.index for value in block.returned}
    for op in reversed(block.ops):
        if op.index not in on_ane or optable.row(op.name).kind not in _SINKING:
            continue
        result = op.results[0]
        if result.index in returned or not result.users:
            continue
        latest = min(levels[user.index] - (user.index not in on_ane) for user in result.users)
        if latest <= levels[op.index]:
            continue
        taken = [v for v in op.operands if not (v.producer and v.producer.index in free)]
        if optable.row(op.name).kind is Kind.ARITHMETIC:
            taken = [v for v in dict.fromkeys(taken) if not _goes_on(v, op, latest, levels, on_ane)]
        if sum(v.tensor.size for v in taken) <= result.tensor.size:
            levels[op.index] = latest
            sunk.add(op.index)
    return sunk


def _goes_on(value: Value, op: Op, level: int, levels: list[int], on_ane: set[int]) -> bool:
    """Whether a value reaches a level through another reader than this op."""
    return any(
        user is not op and user.index in on_ane and levels[user.index] >= level
        for user in value.users
    )


def _groups(ops: list[Op], on_ane: set[int], levels: list[int], free: set[int]) -> list[list[Op]]:
    """Returns the connected groups of ANE ops of one level, each in program order."""
    parent = list(range(len(ops)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    reader: dict[tuple[int, int], int] = {}
    for op in ops:
        if op.index not in on_ane:
            continue
        for operand in data_operands(op):
            producer = operand.producer
            if producer is not None and producer.index in free:
                continue
            near = producer if producer is not None and producer.index in on_ane else None
            if near is not None and levels[near.index] == levels[op.index]:
                parent[find(op.index)] = find(near.index)
                continue
            # Two readers of one large outside value share its conversion.
            key = (operand.index, levels[op.index])
            if operand.type is not None and operand.type.size > 1:
                first = reader.setdefault(key, op.index)
                parent[find(op.index)] = find(first)
    groups: dict[int, list[Op]] = {}
    for op in ops:
        if op.index in on_ane:
            groups.setdefault(find(op.index), []).append(op)
    return list(groups.values())


def _after_heavy(block: Block, on_ane: set[int]) -> set[int]:
    """Returns the ops that heavy ops reach without the host."""
    ops = [op for op in block.ops if op.index in on_ane]
    return heavy.behind(ops, heavy.indices(ops))


def _prune(
    groups: list[list[Op]], placement: str, sunk: set[int]
) -> tuple[set[int], dict[int, Reason]]:
    """Returns the op indices worth keeping on the ANE, and why each is."""
    kept: set[int] = set()
    why: dict[int, Reason] = {}
    for group in groups:
        if placement == "ane":
            why.update((op.index, LEGAL) for op in group)
            kept.update(op.index for op in group)
            continue
        for op, reason in _worth(group, sunk).items():
            kept.add(op.index)
            why[op.index] = reason
    return kept, why


def _worth(group: list[Op], sunk: set[int]) -> dict[Op, Reason]:
    """Returns the ops of a group that join its heavy ops, with the reason for each.

    `sunk` are the ops that heavy ones of an earlier group lead to, without the host between.
    """
    wanted = heavy.indices(group)
    after, before = heavy.behind(group, wanted), heavy.ahead(group, wanted)
    reasons: dict[Op, Reason] = {}
    tail: set[int] = set()  # kept ops of which an epilogue may follow
    for op in group:
        movement = optable.row(op.name).kind is Kind.MOVEMENT
        follows = any(v.producer is not None and v.producer.index in tail for v in op.operands)
        if op.index in wanted:
            reasons[op] = PLACED_ANE if op.place == "ane" else HEAVY
        elif op.index in before and (op.index in after or op.index in sunk):
            reasons[op] = BETWEEN
        elif op.index in before and movement:
            if _feeds_through_movement(op, wanted, before):
                reasons[op] = MOVED
        elif follows and movement:
            reasons[op] = MOVED
        elif follows and _is_epilogue(op):
            reasons[op] = EPILOGUE
        if op in reasons and op.index in after:
            tail.add(op.index)
    for op in reversed(group):
        users = [user for result in op.results for user in result.users]
        moves = op not in reasons and optable.row(op.name).kind is Kind.MOVEMENT
        if moves and users and all(user in reasons for user in users):
            reasons[op] = MOVED  # a bias is cheaper to broadcast inside
    return reasons


def _feeds_through_movement(op: Op, wanted: set[int], before: set[int]) -> bool:
    """Says whether a heavy op is reached through movement ops alone."""
    stack, seen = [op], {op.index}
    while stack:
        for user in (u for result in stack.pop().results for u in result.users):
            if user.index in wanted:
                return True
            fresh = user.index in before and user.index not in seen
            if fresh and optable.row(user.name).kind is Kind.MOVEMENT:
                seen.add(user.index)
                stack.append(user)
    return False


def _is_epilogue(op: Op) -> bool:
    """Bias adds (an operand that varies along fewer axes), relus and their masks.

    A mask crosses the border in a quarter of the bytes of what it was made of. Scalings are left
    out: on a gradient they are the optimiser's first step.
    """
    if op.name == "stablehlo.add":
        return any(float32.is_spread(v) for v in op.operands)
    if op.name in ("stablehlo.maximum", "stablehlo.compare"):
        constants = [able.constant_of(v) for v in op.operands]
        return any(c is not None and c.size == 1 for c in constants)
    return False


def _connect(cluster: Cluster, plan: Plan) -> None:
    connect_inputs(cluster, plan)
    members = {op.index for op in cluster.ops}
    returned = {value.index for value in plan.block.returned}

    def crosses(result: Value) -> bool:
        return result.index in returned or not members.issuperset([u.index for u in result.users])

    cluster.outputs = [result for op in cluster.ops for result in op.results if crosses(result)]
