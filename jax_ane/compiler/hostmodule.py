# SPDX-License-Identifier: Apache-2.0
"""The rest of the module: clusters replaced by custom calls, ready for XLA:CPU.

All planning was done on indices; here the module is changed. Each block is put into the order that
makes its clusters contiguous (level, cluster, index), each cluster becomes one custom call that
names its loaded program by id, and the cluster's ops are erased.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from jaxlib.mlir import ir

from jax_ane.compiler.graph import Op, Value
from jax_ane.compiler.partition import FREE, Cluster, Plan

TARGET = "jax_ane_program"  # the FFI handler's name (pjrt_plugin/runtime/ffi_handler.cc)


def replace(plan: Plan, program_ids: Mapping[int, int]) -> None:
    """Replaces the clusters of a block; `program_ids` maps cluster number to loaded program."""
    if not plan.clusters:
        return
    _sort(plan)
    for cluster in plan.clusters:
        _outline(cluster, program_ids[cluster.number])


def _sort(plan: Plan) -> None:
    """Puts the block's ops in order: clusters in one piece each, and all after what they read.

    Levels are that order, but for what became of a cluster that was cut: its pieces have one level.
    """
    nodes: dict[int, list[Op]] = {}  # by the index of a node's first op
    node_of: dict[int, int] = {}
    for op in plan.block.ops:
        cluster = plan.cluster_of.get(op.index)
        first = op.index if cluster is None else cluster.ops[0].index
        nodes.setdefault(first, []).append(op)
        node_of[op.index] = first
    readers: dict[int, set[int]] = {node: set() for node in nodes}
    for op in plan.block.ops:
        for operand in op.operands:
            if operand.producer is not None:
                readers[node_of[operand.producer.index]].add(node_of[op.index])
    waiting = dict.fromkeys(nodes, 0)
    for source, targets in readers.items():
        targets.discard(source)
        for target in targets:
            waiting[target] += 1

    def key(node: int) -> tuple[int, int]:
        # Constants depend on constants only.
        return -1 if plan.reasons[node] is FREE else plan.levels[node], node

    ready = [key(node) for node, count in waiting.items() if not count]
    heapq.heapify(ready)
    terminator = plan.block.mlir.operations[len(plan.block.mlir.operations) - 1]
    while ready:
        _, node = heapq.heappop(ready)
        for op in nodes[node]:
            op.mlir.move_before(terminator.operation)
        for target in readers[node]:
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, key(target))


def _outline(cluster: Cluster, program_id: int) -> None:
    first = cluster.ops[0].mlir
    context = first.context
    results = [value.mlir.type for value in cluster.outputs]
    with context, ir.Location.unknown(), ir.InsertionPoint(cluster.ops[-1].mlir):
        call = ir.Operation.create(
            "stablehlo.custom_call",
            results=results,
            operands=[value.mlir for value in cluster.inputs],
            attributes={
                "call_target_name": ir.StringAttr.get(TARGET),
                "api_version": ir.IntegerAttr.get(ir.IntegerType.get_signless(32), 4),
                "backend_config": ir.DictAttr.get(
                    {"program": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), program_id)}
                ),
                "has_side_effect": ir.BoolAttr.get(False),
                # Row-major on every side: XLA:CPU is otherwise free to choose.
                "operand_layouts": _layouts(cluster.inputs),
                "result_layouts": _layouts(cluster.outputs),
            },
            loc=cluster.ops[-1].mlir.location,
        )
    for value, result in zip(cluster.outputs, call.results, strict=True):
        value.mlir.replace_all_uses_with(result)
        value.mlir = result  # later clusters read it; the old one dies with its op
    for op in reversed(cluster.ops):
        op.mlir.erase()


def _layouts(values: list[Value]) -> ir.ArrayAttr:
    index = ir.IndexType.get()

    def layout(value: Value) -> ir.Attribute:
        assert value.type is not None
        rank = len(value.type.shape)
        order = ", ".join(map(str, range(rank - 1, -1, -1)))
        text = f"dense<[{order}]> : tensor<{rank}x{index}>"
        return ir.Attribute.parse(text if rank else f"dense<> : tensor<0x{index}>")

    return ir.ArrayAttr.get([layout(value) for value in values])
