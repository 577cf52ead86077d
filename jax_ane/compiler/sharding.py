# SPDX-License-Identifier: Apache-2.0
"""Programs over several devices, rewritten into what each device does.

XLA's partitioner cannot see into an ANE program: it would gather the operands of its call. So
Shardy's own passes partition the module first, into a per-device module with explicit collectives,
and that becomes the body of one `sdy.manual_computation` over all axes of the mesh: what
`jax.shard_map` lowers to, and what XLA leaves as it is. In such bodies clusters are ordinary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import sdy, stablehlo
from jaxlib.mlir.passmanager import PassManager

from jax_ane import _jax_internals as internals

_MANUAL = "sdy.manual_computation"
# Up to here values have their whole shapes, and shardings beside them.
_RESHARD = (
    "builtin.module(sdy-propagation-pipeline,sdy-close-shardings,"
    "func.func(sdy-sharding-constraint-to-reshard,"
    # Without the full version no all-gathers appear, and the last pass fails.
    "sdy-insert-explicit-reshards{enable-full-version=true},sdy-reshard-to-collectives))"
)
_LOCALISE = "builtin.module(sdy-convert-global-to-local)"
# Ops that mean the same on a shard as on the whole array, along any axis; Shardy's passes put
# collectives around those that contract or reduce a sharded one.
_ANY_AXIS = frozenset(
    f"stablehlo.{name}"
    for name in ("abs", "add", "and", "atan2", "bitcast_convert", "broadcast_in_dim", "case",
                 "cbrt", "ceil", "clamp", "compare", "complex", "convert", "cosine",
                 "count_leading_zeros", "divide", "dot_general", "exponential",
                 "exponential_minus_one", "floor", "if", "imag", "iota", "is_finite", "log",
                 "log_plus_one", "logistic", "maximum", "minimum", "multiply", "negate", "not",
                 "optimization_barrier", "or", "popcnt", "power", "real",
                 "reduce_precision", "remainder", "reshape", "return", "round_nearest_afz",
                 "round_nearest_even", "rsqrt", "select", "shift_left", "shift_right_arithmetic",
                 "shift_right_logical", "sign", "sine", "sqrt", "subtract", "tan", "tanh",
                 "transpose", "while", "xor")
) | {
    "func.return", "sdy.all_gather", "sdy.all_reduce", "sdy.all_slice", "sdy.all_to_all",
}  # fmt: skip
_ALL_REDUCES = ("sdy.all_reduce", "stablehlo.all_reduce")
_BRANCHING = ("stablehlo.while", "stablehlo.case", "stablehlo.if")


def partitions(module: ir.Module) -> int:
    """Returns over how many devices the module says that it runs."""
    attributes = module.operation.attributes
    name = "mhlo.num_partitions"
    return ir.IntegerAttr(attributes[name]).value if name in attributes else 1


def localise(module: ir.Module) -> bool:
    """Rewrites a module whose partitioning is left to the compiler, in place.

    Args:
        module: with its calls inlined: `main` is its only function but for those of reducers.

    Returns:
        Whether it was rewritten. Otherwise it is as it was: it has bodies of `jax.shard_map`
        already, or something whose partitioning is not known to be right.
    """
    mesh = _mesh(module)
    if mesh is None or not all(_is_partitionable(op) for op in _nested(module.operation)):
        return False
    with module.context, ir.Location.unknown():
        local = ir.Module.parse(internals.module_to_bytecode(module))
        try:
            PassManager.parse(_RESHARD).run(local.operation)
            if not _Shardings(local).are_sound():
                return False
            PassManager.parse(_LOCALISE).run(local.operation)
            _join(local)
            _wrap(_main(module), _main(local), *mesh)
            if not local.operation.verify():
                return False
        except (ir.MLIRError, ValueError):
            return False
        for op in list(module.body.operations):
            op.operation.erase()
        for op in list(local.body.operations):
            module.body.append(op)
    return True


def is_per_device(block: ir.Block, module: ir.Module) -> bool:
    """Returns whether a block is what one device does: within a body over all axes of the mesh."""
    op: Any = block.owner
    while op is not None:
        op = op.operation
        if op.name == _MANUAL:
            mesh = _mesh(module)
            axes = sdy.ManualAxesAttr(op.attributes["manual_axes"])
            return mesh is not None and {axes[i] for i in range(len(axes))} == set(mesh[1])
        op = op.parent
    return False


def _mesh(module: ir.Module) -> tuple[str, list[str]] | None:
    """Returns the name and the axes of the module's one mesh, or None.

    Newer versions of jax write it twice, under two names.
    """
    meshes = [op.operation for op in module.body.operations if op.operation.name == "sdy.mesh"]
    if len({str(mesh.attributes["mesh"]) for mesh in meshes}) != 1:
        return None
    mesh = meshes[0]
    axes = [sdy.MeshAxisAttr(axis).name for axis in sdy.MeshAttr(mesh.attributes["mesh"]).axes]
    return ir.StringAttr(mesh.attributes["sym_name"]).value, axes


def _main(module: ir.Module) -> ir.Operation:
    return ir.SymbolTable(module.operation)["main"].operation


def _nested(op: ir.Operation) -> Iterator[ir.Operation]:
    for region in op.regions:
        for block in region.blocks:
            for inner in block.operations:
                yield inner.operation
                yield from _nested(inner.operation)


def _is_partitionable(op: ir.Operation) -> bool:
    return op.name not in (_MANUAL, "stablehlo.custom_call", "stablehlo.composite")


class _Shardings:
    """Along which axes the values of a partitioned module are split, and whether that is right.

    The last of Shardy's passes ends the process where a sharding does not divide a shape, and makes
    a wrong program of some ops (`reverse`) along a split axis: what is not known to be right is
    refused here.
    """

    def __init__(self, module: ir.Module) -> None:
        mesh: Any = next(o for o in module.body.operations if o.operation.name == "sdy.mesh")
        axes = sdy.MeshAttr(mesh.attributes["mesh"]).axes
        self._sizes = {sdy.MeshAxisAttr(a).name: sdy.MeshAxisAttr(a).size for a in axes}
        self._main = _main(module)
        self._split: dict[ir.Value, tuple[int, ...]] = {}

    def are_sound(self) -> bool:
        """Returns whether every value is cut evenly, along axes that its op may be cut along."""
        try:
            types = ir.FunctionType(ir.TypeAttr(self._main.attributes["function_type"]).value)
            given = _shardings(self._main, "arg_attrs", types.inputs, next(iter(self._sizes)))
            block = self._main.regions[0].blocks[0]
            for argument, sharding in zip(block.arguments, given, strict=True):
                self._split[argument] = self._axes(sharding, argument)
            return self._is_sound(block)
        except _Uneven:
            return False

    def _is_sound(self, block: ir.Block) -> bool:
        for view in block.operations:
            op = view.operation
            per_value: Any = op.attributes.get("sdy.sharding")
            shardings = per_value and sdy.TensorShardingPerValueAttr(per_value).shardings
            for number, result in enumerate(op.results):
                axes = self._axes(shardings[number], result) if shardings else ()
                self._split[result] = axes
            if op.name == "stablehlo.while":
                for region in op.regions:
                    for argument, result in zip(
                        region.blocks[0].arguments, op.results, strict=True
                    ):
                        self._split[argument] = self._split[result]
            if op.name in _BRANCHING and not all(
                self._is_sound(inner) for region in op.regions for inner in region.blocks
            ):
                return False
            if not self._may_be_cut(op):
                return False
        return True

    def _axes(self, sharding: Any, value: ir.Value) -> tuple[int, ...]:
        """Returns the numbers of the axes that are split."""
        split = []
        for number, dim in enumerate(sdy.TensorShardingAttr(sharding).dimension_shardings):
            refs = [sdy.AxisRefAttr(ref) for ref in sdy.DimensionShardingAttr(dim).axes]
            parts = math.prod(self._sizes[ref.name] for ref in refs)
            if any(ref.sub_axis_info is not None for ref in refs):
                raise _Uneven
            if ir.RankedTensorType(value.type).shape[number] % parts:
                raise _Uneven
            if parts > 1:
                split.append(number)
        return tuple(split)

    def _may_be_cut(self, op: ir.Operation) -> bool:
        values = [*op.operands, *op.results]
        if op.name in _ANY_AXIS or not any(self._split.get(value) for value in values):
            return True
        rule = _AXES_OF.get(op.name)
        if rule is None:
            return False
        touched = rule(op)
        return all(
            not set(self._split.get(value, ())) & axes
            for value, axes in zip(values, touched, strict=True)
        )


class _Uneven(Exception):
    """A sharding does not divide a shape, or an axis of the mesh is itself cut."""


# Of ops that mean something else on a shard than on the whole along some axes: those axes, of each
# operand and result.
_Axes = list[set[int]]


def _ints(op: ir.Operation, name: str, default: int, count: int) -> list[int]:
    attribute: Any = op.attributes.get(name)
    return [default] * count if attribute is None else [int(i) for i in attribute]


def _rank(value: ir.Value) -> int:
    return ir.RankedTensorType(value.type).rank


def _of_slice(op: ir.Operation) -> _Axes:
    whole, part = (ir.RankedTensorType(v.type).shape for v in (op.operands[0], op.results[0]))
    axes = {i for i, (a, b) in enumerate(zip(whole, part, strict=True)) if a != b}
    return [axes, axes]


def _of_pad(op: ir.Operation) -> _Axes:
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    padding = zip(*(_ints(op, name, 0, 0) for name in names), strict=True)
    axes = {i for i, amounts in enumerate(padding) if any(amounts)}
    return [axes, set(), axes]


def _of_reverse(op: ir.Operation) -> _Axes:
    axes = set(_ints(op, "dimensions", 0, 0))
    return [axes, axes]


def _of_dimension(op: ir.Operation) -> _Axes:
    axis = ir.IntegerAttr(op.attributes["dimension"]).value
    return [{axis}] * (len(op.operands) + len(op.results))


def _of_window(op: ir.Operation) -> _Axes:
    rank = _rank(op.operands[0])
    axes = {
        i
        for name in ("window_dimensions", "window_strides", "base_dilations", "window_dilations")
        for i, size in enumerate(_ints(op, name, 1, rank))
        if size != 1
    }
    return [axes & set(range(_rank(v))) for v in (*op.operands, *op.results)]


def _of_convolution(op: ir.Operation) -> _Axes:
    numbers: Any = stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    spatial = [set(numbers.input_spatial_dimensions), set(numbers.kernel_spatial_dimensions),
               set(numbers.output_spatial_dimensions)]  # fmt: skip
    groups = ("feature_group_count", "batch_group_count")
    if all(ir.IntegerAttr(op.attributes[name]).value == 1 for name in groups):
        return spatial
    kept = [{numbers.input_batch_dimension}, set(), {numbers.output_batch_dimension}]
    if ir.IntegerAttr(op.attributes["batch_group_count"]).value != 1:
        kept = [set(), set(), set()]
    return [
        set(range(_rank(v))) - k for v, k in zip((*op.operands, op.results[0]), kept, strict=True)
    ]


def _of_constant(op: ir.Operation) -> _Axes:
    is_splat = ir.DenseElementsAttr(op.attributes["value"]).is_splat
    return [set() if is_splat else set(range(_rank(op.results[0])))]


def _of_dynamic_slice(op: ir.Operation) -> _Axes:
    """Of a slice that is read or written at run time: the axes that it does not span."""
    slices = [op.operands[0], *(op.operands[1:2] if "update" in op.name else []), op.results[0]]
    shapes = [ir.RankedTensorType(value.type).shape for value in slices]
    axes = {i for i, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1}
    return [axes if _rank(v) == len(shapes[0]) else set() for v in (*op.operands, *op.results)]


def _of_gather(op: ir.Operation) -> _Axes:
    """Batching axes, and those that each slice spans, may be split."""
    numbers: Any = stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    shape = ir.RankedTensorType(op.operands[0].type).shape
    batching, collapsed = numbers.operand_batching_dims, numbers.collapsed_slice_dims
    sizes = _ints(op, "slice_sizes", 0, 0)
    operand = {i for i, size in enumerate(sizes) if size != shape[i] and i not in batching}
    windows = [i for i in range(len(shape)) if i not in (*batching, *collapsed)]
    result = {at for at, i in zip(numbers.offset_dims, windows, strict=True) if i in operand}
    return [operand, {numbers.index_vector_dim}, result]


def _of_scatter(op: ir.Operation) -> _Axes:
    """Batching axes, and those that each window spans, may be split.

    Along others each device would add its shard's updates to an operand of its own.
    """
    numbers: Any = stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    count = len(op.results)
    shape = ir.RankedTensorType(op.operands[0].type).shape
    update_shape = ir.RankedTensorType(op.operands[-1].type).shape
    batching = numbers.input_batching_dims
    windows = [i for i in range(len(shape)) if i not in (*batching, *numbers.inserted_window_dims)]
    whole = [(u, i) for u, i in zip(numbers.update_window_dims, windows, strict=True)
             if update_shape[u] == shape[i]]  # fmt: skip
    operand = set(range(len(shape))) - {*batching, *(i for _, i in whole)}
    of_indices = numbers.scatter_indices_batching_dims
    indices = set(range(_rank(op.operands[count]))) - set(of_indices)
    scattered = [u for u in range(len(update_shape)) if u not in numbers.update_window_dims]
    at = [i for i in range(_rank(op.operands[count])) if i != numbers.index_vector_dim]
    batched = {u for u, i in zip(scattered, at, strict=True) if i in of_indices}
    updates = set(range(len(update_shape))) - batched - {u for u, _ in whole}
    return [operand] * count + [indices] + [updates] * count + [operand] * count


def _of_reduce(op: ir.Operation) -> _Axes:
    """Nothing where shards' results may be joined by the op's own body, which `_join` sees to."""
    axes = set() if _joint(op) else set(_ints(op, "dimensions", 0, 0))
    return [axes if _rank(v) else set() for v in op.operands] + [set() for _ in op.results]


def _joint(op: ir.Operation) -> str:
    """Returns the one op by which a reduction joins elements, and may join shards; "" if none."""
    body = [inner.operation for inner in op.regions[0].blocks[0].operations]
    readers = [use.owner.operation.name for use in op.results[0].uses]
    if len(op.results) != 1 or len(body) != 2 or set(readers) - set(_ALL_REDUCES):
        return ""
    name = body[0].name.removeprefix("stablehlo.")
    start: Any = op.operands[-1].owner
    is_zero = (
        not isinstance(start, ir.Block)
        and start.operation.name in ("stablehlo.constant", "sdy.constant")
        and not np.any(np.asarray(ir.DenseElementsAttr(start.attributes["value"])))
    )
    is_mask = str(ir.RankedTensorType(op.results[0].type).element_type) == "i1"
    if name in ("maximum", "minimum", "and", "or") or (name == "add" and is_zero and not is_mask):
        return name
    return ""


def _join(module: ir.Module) -> None:
    """Makes shards of a maximum be joined by a maximum: Shardy's pass adds up, whatever it is."""
    for op in _nested(module.operation):
        source: Any = op.operands[0].owner if op.name == "stablehlo.all_reduce" else None
        if source is None or isinstance(source, ir.Block):
            continue
        name = _joint(source.operation) if source.operation.name == "stablehlo.reduce" else "add"
        block = op.regions[0].blocks[0]
        (old, _) = (inner.operation for inner in block.operations)
        if old.name != f"stablehlo.{name}":
            new = ir.Operation.create(
                f"stablehlo.{name}", results=[old.results[0].type], operands=list(old.operands),
                ip=ir.InsertionPoint(old),
            )  # fmt: skip
            old.results[0].replace_all_uses_with(new.results[0])
            old.erase()


_AXES_OF: dict[str, Callable[[ir.Operation], _Axes]] = {
    "sdy.constant": _of_constant,
    "stablehlo.constant": _of_constant,
    "stablehlo.dynamic_slice": _of_dynamic_slice,
    "stablehlo.dynamic_update_slice": _of_dynamic_slice,
    "stablehlo.slice": _of_slice,
    "stablehlo.pad": _of_pad,
    "stablehlo.reverse": _of_reverse,
    "stablehlo.concatenate": _of_dimension,
    "stablehlo.sort": _of_dimension,
    "stablehlo.reduce": _of_reduce,
    "stablehlo.reduce_window": _of_window,
    "stablehlo.select_and_scatter": _of_window,
    "stablehlo.convolution": _of_convolution,
    "stablehlo.gather": _of_gather,
    "stablehlo.scatter": _of_scatter,
}


def _wrap(whole: ir.Operation, local: ir.Operation, mesh: str, axes: list[str]) -> None:
    """Makes the body of the local `main` a manual computation within one of whole arrays."""
    types = ir.FunctionType(ir.TypeAttr(whole.attributes["function_type"]).value)
    body = local.regions[0].blocks[0]
    ends = body.operations[len(body.operations) - 1].operation
    returned = list(ends.operands)
    ends.erase()
    for op in _nested(local):  # what the body's values are is said by their types now
        if "sdy.sharding" in op.attributes:
            del op.attributes["sdy.sharding"]
    inputs = _shardings(local, "arg_attrs", types.inputs, mesh)
    outputs = _shardings(local, "res_attrs", types.results, mesh)
    entry = ir.Block.create_at_start(local.regions[0], list(types.inputs))
    call = ir.Operation.create(
        _MANUAL,
        results=list(types.results),
        operands=list(entry.arguments),
        attributes={
            "in_shardings": sdy.TensorShardingPerValueAttr.get(inputs),
            "out_shardings": sdy.TensorShardingPerValueAttr.get(outputs),
            "manual_axes": sdy.ManualAxesAttr.get([ir.StringAttr.get(axis) for axis in axes]),
        },
        regions=1,
        ip=ir.InsertionPoint(entry),
    )
    ir.Operation.create("func.return", operands=list(call.results), ip=ir.InsertionPoint(entry))
    ir.Operation.create("sdy.return", operands=returned, ip=ir.InsertionPoint(body))
    body.append_to(call.regions[0])
    local.attributes["function_type"] = ir.TypeAttr.get(types)


def _shardings(main: ir.Operation, name: str, types: Any, mesh: str) -> list[ir.Attribute]:
    """Returns the sharding of each argument or result after propagation; replicated if none."""
    held: Any = main.attributes.get(name)
    found = []
    for number, type_ in enumerate(types):
        own = None if held is None else ir.DictAttr(held[number])
        if own is not None and "sdy.sharding" in own:
            found.append(own["sdy.sharding"])
        else:
            rank = ir.RankedTensorType(type_).rank
            dims = [sdy.DimensionShardingAttr.get([], is_closed=True)] * rank
            found.append(sdy.TensorShardingAttr.get(mesh, dims))
    return found
