# SPDX-License-Identifier: Apache-2.0
"""Which results of a cluster cross the border as the fp16 that the engine wrote.

A float32 result is the engine's fp16, widened. Where only other clusters read it, nobody needs it
wide; where host arithmetic does, XLA:CPU widens in the loop that reads. Either way half the memory,
no copy where the engine's layout is dense, and the same bits. Results that are scaled at each call
may lie beyond fp16 once they are scaled back: host arithmetic reads them as the engine wrote them
and multiplies by the call's factor, programs read them wide.
"""

from __future__ import annotations

import dataclasses

from jaxlib.mlir import ir

from jax_ane.compiler import updates
from jax_ane.compiler.graph import Value
from jax_ane.compiler.partition import Cluster, Plan
from jax_ane.compiler.programs import AneProgram

# What XLA:CPU compiles into a loop that can convert as it reads. Not reductions: for the library
# that does them it would have to make a float32 copy.
_LOOPS = frozenset(
    f"stablehlo.{name}"
    for name in (
        "abs", "add", "broadcast_in_dim", "clamp", "compare", "convert", "divide", "dynamic_slice",
        "exponential", "gather", "is_finite", "log", "maximum", "minimum", "multiply", "negate",
        "power", "reshape", "rsqrt", "select", "slice", "sqrt", "subtract", "tanh", "transpose",
    )
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Narrow:
    """Positions of the results that cross the border in fp16, as they are or with their scale."""

    plain: frozenset[int]
    scaled: frozenset[int]

    def __contains__(self, position: int) -> bool:
        return position in self.plain or position in self.scaled


def narrow(cluster: Cluster, program: AneProgram, inside: set[ir.Value]) -> Narrow:
    """Returns which results may cross the border in fp16.

    Args:
        cluster: the cluster, its ops still in the module.
        program: what it became.
        inside: from `results_of`.
    """
    own = {op.mlir.results[0] for op in cluster.ops}
    found = {
        i
        for i, value in enumerate(cluster.outputs)
        if value.tensor.dtype == "f32" and all(_reads_fp16(use) for use in _outside(value, inside))
    }
    scaled = found.intersection(program.scaling.outputs)
    stays = {
        i
        for i in scaled
        if all(_is_by(use, own) or not _is_by(use, inside) for use in cluster.outputs[i].mlir.uses)
    }
    return Narrow(frozenset(found - scaled), frozenset(stays))


def widen_for_host(
    value: Value, result: ir.Value, inside: set[ir.Value], factor: ir.Value | None, lifted: int
) -> None:
    """Lets host ops read an fp16 `result` in place of a float32 value, each through a conversion.

    The conversion stands before its reader, so that a branch that is captured into keeps reading
    fp16; XLA:CPU merges equal ones.

    Args:
        value: the float32 value, its readers still those of the program.
        result: what is read in its place.
        inside: from `results_of`.
        factor: a float32 scalar that `result` must be multiplied by, or None.
        lifted: the power of two that it must be divided by beside that.
    """
    for use in _outside(value, inside):
        reader = use.owner.operation
        with reader.context, reader.location, ir.InsertionPoint(reader):
            if _is_gradient(use):
                reader.operands[use.operand_number] = result
                if factor is not None:
                    reader.operands[use.operand_number + 1] = _taken_back(factor, lifted)
                continue
            wide = _op("convert", value.mlir.type, [result])
            if factor is not None:
                wide = _op("multiply", wide.type, [wide, _everywhere(wide.type, factor, lifted)])
        reader.operands[use.operand_number] = wide


def _reads_fp16(use: ir.OpOperand) -> bool:
    return use.owner.name in _LOOPS or _is_gradient(use)


def _is_gradient(use: ir.OpOperand) -> bool:
    """Whether a value is a gradient of a native update, which reads fp16 and takes a scale."""
    return updates.is_native(use.owner.operation) and updates.is_gradient(use.operand_number)


def _everywhere(type_: ir.Type, factor: ir.Value, lifted: int) -> ir.Value:
    nothing = ir.DenseI64ArrayAttr.get([])
    factor = _taken_back(factor, lifted)
    return _op("broadcast_in_dim", type_, [factor], broadcast_dimensions=nothing)


def _taken_back(factor: ir.Value, lifted: int) -> ir.Value:
    """Returns what a result must be multiplied by that the program itself has made larger."""
    if lifted:
        power = ir.DenseElementsAttr.get_splat(
            factor.type, ir.FloatAttr.get(ir.F32Type.get(), 2.0**-lifted)
        )
        constant = _op("constant", factor.type, [], value=power)
        factor = _op("multiply", factor.type, [factor, constant])
    return factor


def _op(
    name: str, type_: ir.Type, operands: list[ir.Value], **attributes: ir.Attribute
) -> ir.Value:
    return ir.Operation.create(
        f"stablehlo.{name}", results=[type_], operands=operands, attributes=attributes
    ).result


def results_of(plan: Plan) -> set[ir.Value]:
    """Returns the first result of each op in a cluster: ops have no hash that lasts."""
    return {op.mlir.results[0] for cluster in plan.clusters for op in cluster.ops}


def _outside(value: Value, inside: set[ir.Value]) -> list[ir.OpOperand]:
    return [use for use in value.mlir.uses if not _is_by(use, inside)]


def _is_by(use: ir.OpOperand, ops: set[ir.Value]) -> bool:
    results = use.owner.operation.results
    return bool(results) and results[0] in ops
