# SPDX-License-Identifier: Apache-2.0
"""Bytes of a program -> normalised StableHLO -> the compiler's own graph.

PJRT hands over a StableHLO portable artifact (VHLO bytecode). It is deserialised with jaxlib's own
bindings, its function calls are inlined, and each block that may hold clusters (main, loop bodies,
branches) becomes a `graph.Block`: plain Python records with integer indices, so that planning never
touches MLIR objects (their hashes change when the module does).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo
from jaxlib.mlir.passmanager import PassManager

from jax_ane import _jax_internals as internals
from jax_ane.compiler import barriers, graph, known

# Regions of these ops are ordinary code: clusters may live there. Regions of all others (reducers,
# comparators, scatter updates) are arguments of their op and must stay as they are.
CODE_REGIONS = frozenset(
    {"func.func", "stablehlo.while", "stablehlo.case", "stablehlo.if", "sdy.manual_computation"}
)
_MAX_INLINED_OPS = 200_000
# CHLO ops that JAX hands to a device whole, as composites.
_WHOLE_CHLO = ("acos", "acosh", "asin", "asinh", "atanh", "cosh", "sinh", "erf", "top_k")
# Composites of newer jax that XLA has no instruction for and spells out itself, to the same bits:
# done here, their ops may go to the ANE.
_SPELT_OUT = frozenset({"chlo.erfc"})


def parse(program: bytes | str) -> ir.Module:
    """Returns the program as a StableHLO module in a context of its own.

    Args:
        program: a StableHLO portable artifact, MLIR bytecode or MLIR text.

    Raises:
        ValueError: the bytes are none of the three.
    """
    context = internals.make_ir_context()
    context.allow_unregistered_dialects = True
    data = program.encode() if isinstance(program, str) else program
    errors: list[str] = []
    # Plain bytecode and text parse directly; a portable artifact holds VHLO ops that only its
    # own reader turns back into StableHLO.
    readers = (
        lambda: stablehlo.deserialize_portable_artifact(context, data),
        lambda: ir.Module.parse(data, context=context),
    )
    if not data.startswith(b"ML\xefR") or b"StableHLO_v" not in data[:256]:
        readers = readers[::-1]
    for reader in readers:
        try:
            module = reader()
            if len(module.body.operations):
                return module
            errors.append("it holds no function")  # MLIR reads nothing as an empty module
        except (ir.MLIRError, ValueError) as error:
            errors.append(str(error).strip().splitlines()[0] if str(error).strip() else "no detail")
    raise ValueError(
        f"the program ({len(data)} bytes) is neither a StableHLO artifact nor MLIR: "
        + "; ".join(dict.fromkeys(errors))
    )


def prepare(module: ir.Module) -> None:
    """Makes a module one that XLA:CPU takes, in place: to the bits that it gives for `cpu`.

    Spells CHLO out, and drops kinds of memory: all are the host's, and only the buffers tell them
    apart.
    """
    with module.context, ir.Location.unknown():
        if _holds_chlo(module.operation):
            _legalise_chlo(module)
        _drop_memory_kinds(module)
        _drop_placements(module.operation)


def normalise(module: ir.Module) -> None:
    """Prepares a module, inlines every call and drops what is then unused, in place."""
    prepare(module)
    with module.context, ir.Location.unknown():
        _spell_out_composites(module.operation)
        inline_calls(module)
        PassManager.parse("builtin.module(symbol-dce)").run(module.operation)


def _holds_chlo(op: ir.Operation) -> bool:
    return any(
        inner.name.startswith("chlo.") or _holds_chlo(inner)
        for region in op.regions
        for block in region.blocks
        for inner in (wrapper.operation for wrapper in block.operations)
    )


def _legalise_chlo(module: ir.Module) -> None:
    """Does what JAX does on the way to a device; programs for reports come as JAX lowers them.

    A few ops stay whole, as composites that the compiler may know.
    """
    stablehlo.register_stablehlo_passes()
    whole = ",".join(f"chlo.{name}" for name in _WHOLE_CHLO)
    for pipeline in (
        f"builtin.module(stablehlo-wrap-in-composite{{op-names={whole} version=1}})",
        "builtin.module(func.func(chlo-legalize-to-stablehlo))",
    ):
        PassManager.parse(pipeline).run(module.operation)


def _drop_memory_kinds(module: ir.Module) -> None:
    kind = internals.MEMORY_KIND
    for function in module.body.operations:
        for name in ("arg_attrs", "res_attrs"):
            if name in function.attributes and kind in str(function.attributes[name]):
                each = [ir.DictAttr(a) for a in ir.ArrayAttr(function.attributes[name])]
                kept = [{i.name: i.attr for i in a if i.name != kind} for a in each]
                function.attributes[name] = ir.ArrayAttr.get([ir.DictAttr.get(a) for a in kept])


def _spell_out_composites(op: ir.Operation) -> None:
    """Replaces the composites of _SPELT_OUT by calls of their decompositions."""
    for inner in list(_named(op, "stablehlo.composite")):
        if ir.StringAttr(inner.attributes["name"]).value not in _SPELT_OUT:
            continue
        call = ir.Operation.create(
            "func.call",
            results=[result.type for result in inner.results],
            operands=list(inner.operands),
            attributes={"callee": inner.attributes["decomposition"]},
            ip=ir.InsertionPoint(inner),
            loc=inner.location,
        )
        for old, new in zip(inner.results, call.results, strict=True):
            old.replace_all_uses_with(new)
        inner.erase()


def _drop_placements(op: ir.Operation) -> None:
    """Replaces values that are to be placed in a kind of memory by themselves."""
    for call in list(_named(op, "stablehlo.custom_call")):
        target = ir.StringAttr(call.attributes["call_target_name"]).value
        if target == "annotate_device_placement":
            call.results[0].replace_all_uses_with(call.operands[0])
            call.erase()


def inline_calls(module: ir.Module) -> None:
    """Replaces each `func.call` by its callee's body, innermost callees first."""
    functions: dict[str, Any] = {
        ir.StringAttr(op.attributes["sym_name"]).value: op
        for op in module.body.operations
        if op.operation.name == "func.func"
    }
    done: set[str] = set()
    budget = [_MAX_INLINED_OPS]

    def visit(name: str) -> None:
        if name in done:
            return
        done.add(name)
        for call in list(_named(functions[name].operation, "func.call")):
            callee = ir.FlatSymbolRefAttr(call.attributes["callee"]).value
            if callee not in functions:
                continue
            visit(callee)
            target = functions[callee]
            if not _is_inlinable(target):
                continue
            budget[0] -= len(target.regions[0].blocks[0].operations)
            if budget[0] < 0:
                return
            values = _inlined(call, target.operation)
            for old, new in zip(call.results, values, strict=True):
                old.replace_all_uses_with(new)
            call.erase()

    for name in functions:
        visit(name)


def _inlined(call: ir.Operation, target: ir.Operation) -> list[ir.Value]:
    """Copies the callee's body to before the call; what was asked of the call holds for it all."""
    marked = None
    if graph.place_of(call):
        marked = target.clone(ip=ir.InsertionPoint(target)).operation
        for op in marked.regions[0].blocks[0].operations:
            if not graph.place_of(op.operation):
                _mark(op.operation, call.attributes["mhlo.frontend_attributes"])
    with ir.InsertionPoint(call):
        values = internals.inlined_func_call(marked or target, list(call.operands), call.location)
    if marked is not None:
        marked.erase()
    return values


def _mark(op: ir.Operation, attributes: Any) -> None:
    """Adds the place in `attributes` to an op's frontend attributes."""
    own: Any = op.attributes.get("mhlo.frontend_attributes")
    held = {} if own is None else {item.name: item.attr for item in own}
    held[graph.PLACE_ATTRIBUTE] = attributes[graph.PLACE_ATTRIBUTE]
    op.attributes["mhlo.frontend_attributes"] = ir.DictAttr.get(held)


def _is_inlinable(function: ir.Operation) -> bool:
    return len(function.regions[0].blocks) == 1


def _named(op: ir.Operation, name: str) -> Iterator[ir.Operation]:
    """Yields the ops of a name within an op, inner ones first."""
    for region in op.regions:
        for block in region.blocks:
            for inner in block.operations:
                inner = inner.operation
                if inner.regions:
                    yield from _named(inner, name)
                if inner.name == name:
                    yield inner


def code_blocks(module: ir.Module) -> list[graph.Block]:
    """Returns every block that may hold clusters, main's first."""
    blocks: list[graph.Block] = []
    reader = graph.Reader()
    composites = _named(module.operation, "stablehlo.composite")
    decomposition_names = {
        ir.FlatSymbolRefAttr(op.attributes["decomposition"]).value for op in composites
    }
    for op in module.body.operations:
        op = op.operation
        if op.name != "func.func":
            continue
        name = ir.StringAttr(op.attributes["sym_name"]).value
        if name in decomposition_names:
            continue  # the body of a composite: its caller decides as a whole
        for block in op.regions[0].blocks:
            _collect(block, name, "", blocks, reader)
    blocks.sort(key=lambda block: block.path != "main")
    return blocks


def _collect(
    block: ir.Block, path: str, place: str, blocks: list[graph.Block], reader: graph.Reader
) -> None:
    blocks.append(graph.build_block(block, path, place, reader))
    barriers.split(blocks[-1])
    known.evaluate(blocks[-1])  # before inner blocks are read: they may use what it takes out
    for index, op in enumerate(block.operations):
        op = op.operation
        if op.name not in CODE_REGIONS:
            continue
        for number, region in enumerate(op.regions):
            for inner in region.blocks:
                label = f"{path}/{op.name.removeprefix('stablehlo.')}{index}.{number}"
                _collect(inner, label, graph.place_of(op) or place, blocks, reader)


def serialise(module: ir.Module) -> bytes:
    """Returns the module as MLIR bytecode, which XLA:CPU takes as it is."""
    return internals.module_to_bytecode(module)
