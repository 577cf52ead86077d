# SPDX-License-Identifier: Apache-2.0
"""Which results of a cluster cross the border as the fp16 that the engine wrote.

A float32 result is the engine's fp16, widened. Where only other clusters read it, nobody needs it
wide; where host arithmetic does, XLA:CPU widens in the loop that reads. Either way half the memory,
no copy where the engine's layout is dense, and the same bits. Results that are scaled at each call
do need float32: scaled back, they may lie beyond fp16.
"""

from __future__ import annotations

from jaxlib.mlir import ir

from jax_ane.compiler.graph import Value
from jax_ane.compiler.partition import Cluster, Plan
from jax_ane.compiler.programs import AneProgram

# What XLA:CPU compiles into a loop that can convert as it reads.
_LOOPS = frozenset(
    f"stablehlo.{name}"
    for name in (
        "abs", "add", "clamp", "compare", "convert", "divide", "exponential", "is_finite", "log",
        "maximum", "minimum", "multiply", "negate", "power", "reduce", "rsqrt", "select", "sqrt",
        "subtract", "tanh",
    )
)  # fmt: skip


def narrow(cluster: Cluster, program: AneProgram, inside: set[ir.Value]) -> set[int]:
    """Returns the positions of the results that may cross the border in fp16.

    Args:
        cluster: the cluster, its ops still in the module.
        program: what it became.
        inside: from `results_of`.
    """
    return {
        i
        for i, value in enumerate(cluster.outputs)
        if value.tensor.dtype == "f32"
        and i not in program.scaling.outputs
        and all(use.owner.name in _LOOPS for use in _outside(value, inside))
    }


def widen_for_host(value: Value, result: ir.Value, inside: set[ir.Value]) -> None:
    """Lets host ops read an fp16 `result` in place of a float32 value, each through a conversion.

    The conversion stands before its reader, so that a branch that is captured into keeps reading
    fp16; XLA:CPU merges equal ones.
    """
    for use in _outside(value, inside):
        reader = use.owner.operation
        with reader.context, reader.location, ir.InsertionPoint(reader):
            wide = ir.Operation.create(
                "stablehlo.convert", results=[value.mlir.type], operands=[result]
            )
        reader.operands[use.operand_number] = wide.result


def results_of(plan: Plan) -> set[ir.Value]:
    """Returns the first result of each op in a cluster: ops have no hash that lasts."""
    return {op.mlir.results[0] for cluster in plan.clusters for op in cluster.ops}


def _outside(value: Value, inside: set[ir.Value]) -> list[ir.OpOperand]:
    return [
        use
        for use in value.mlir.uses
        if not use.owner.operation.results or use.owner.operation.results[0] not in inside
    ]
