# SPDX-License-Identifier: Apache-2.0
"""The rest of the module: clusters replaced by custom calls, ready for XLA:CPU.

All planning was done on indices; here the module is changed. Each block is put into an order that
makes its clusters contiguous, each cluster becomes one custom call that names its program by a
key that is the same in every process, and the cluster's ops are erased.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxlib.mlir import ir

from jax_ane.compiler import borders, concurrency, loading
from jax_ane.compiler.graph import Op
from jax_ane.compiler.partition import Cluster, Plan, schedule
from jax_ane.compiler.programs import AneProgram


def replace(plan: Plan, programs: Mapping[int, AneProgram]) -> None:
    """Replaces the clusters of a block by calls; `programs` are by cluster number."""
    if not plan.clusters:
        return
    units = _sort(plan)
    clusters = [unit for unit in units if isinstance(unit, Cluster)]
    concurrent = concurrency.independent(units)
    inside = borders.results_of(plan)
    for cluster in clusters:
        _outline(cluster, programs[cluster.number], inside, cluster.number in concurrent)
    # Last, and from the end: a value that is computed again is read by another cluster's ops.
    for cluster in reversed(clusters):
        for op in reversed(cluster.ops):
            op.mlir.erase()


def _sort(plan: Plan) -> list[Op | Cluster]:
    """Sorts the block; returns its clusters and other ops in their new order."""
    terminator = plan.block.mlir.operations[len(plan.block.mlir.operations) - 1]
    units = schedule(plan)
    for unit in units:
        for op in unit.ops if isinstance(unit, Cluster) else (unit,):
            op.mlir.move_before(terminator.operation)
    return units


def _outline(
    cluster: Cluster, program: AneProgram, inside: set[ir.Value], is_concurrent: bool
) -> None:
    context = cluster.ops[0].mlir.context
    key = loading.key_of(program.fingerprint)
    narrow = borders.narrow(cluster, program, inside)
    with context, ir.Location.unknown(), ir.InsertionPoint(cluster.ops[-1].mlir):
        half = ir.F16Type.get()
        results: list[ir.Type] = [
            ir.RankedTensorType.get(value.tensor.shape, half) if i in narrow else value.mlir.type
            for i, value in enumerate(cluster.outputs)
        ]
        if narrow.scaled:
            results.append(ir.RankedTensorType.get([], ir.F32Type.get()))
        call = ir.Operation.create(
            "stablehlo.custom_call",
            results=results,
            operands=[value.mlir for value in cluster.inputs],
            attributes={
                "call_target_name": ir.StringAttr.get(loading.TARGET),
                "api_version": ir.IntegerAttr.get(ir.IntegerType.get_signless(32), 4),
                "backend_config": ir.DictAttr.get(
                    {
                        "program": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), key),
                        "concurrent": ir.BoolAttr.get(is_concurrent),
                        "keep_scale": ir.DenseI64ArrayAttr.get(sorted(narrow.scaled)),
                    }
                ),
                "has_side_effect": ir.BoolAttr.get(False),
                # Row-major on every side: XLA:CPU is otherwise free to choose.
                "operand_layouts": _layouts([value.mlir.type for value in cluster.inputs]),
                "result_layouts": _layouts(results),
            },
            loc=cluster.ops[-1].mlir.location,
        )
    lifted = program.scaling.lifted or [0] * len(cluster.outputs)
    for i, value in enumerate(cluster.outputs):
        result = call.results[i]
        if i in narrow:
            factor = call.results[-1] if i in narrow.scaled else None
            borders.widen_for_host(value, result, inside, factor, lifted[i])
        value.mlir.replace_all_uses_with(result)
        value.mlir = result  # later clusters read it; the old one dies with its op


def _layouts(types: list[ir.Type]) -> ir.ArrayAttr:
    index = ir.IndexType.get()

    def layout(tensor: ir.Type) -> ir.Attribute:
        rank = ir.RankedTensorType(tensor).rank
        order = ", ".join(map(str, range(rank - 1, -1, -1)))
        text = f"dense<[{order}]> : tensor<{rank}x{index}>"
        return ir.Attribute.parse(text if rank else f"dense<> : tensor<0x{index}>")

    return ir.ArrayAttr.get([layout(tensor) for tensor in types])
