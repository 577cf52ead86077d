# SPDX-License-Identifier: Apache-2.0
"""May this op run on the ANE? The checks that need only the op itself, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from jax_ane import _chips
from jax_ane.compiler import graph, optable
from jax_ane.compiler.graph import Op, constant_of, passes_constant
from jax_ane.compiler.lower import MAX_RANK, NARROWEST_LIMIT, dot
from jax_ane.compiler.lower import reduce as reduce_rules
from jax_ane.compiler.lower.angles import COMPOSITES
from jax_ane.compiler.lower.conv import conv_spec, tap_count
from jax_ane.compiler.lower.index import (
    combiner,
    gather_indexing,
    gather_problem,
    scatter_indexing,
    scatter_problem,
)
from jax_ane.compiler.lower.shape import (
    broadcast_runs,
    inside_mask,
    reverse_runs,
    slice_runs,
    transpose_runs,
)
from jax_ane.compiler.lower.windows import MAX_FACTORS
from jax_ane.compiler.operands import data_operands, indices, known_value
from jax_ane.compiler.reasons import Reason

MAX_TAPS = 256  # slices that one convolution or window may become
_EXPONENT_BITS, _MANTISSA_BITS = 5, 10  # of fp16
_LOGARITHMIC = ("chlo.acosh", "chlo.asinh", "chlo.atanh")
_MAX_MASK = 2**18  # elements of the constant that pads a window with other than zero


__all__ = [
    "MAX_RANK",
    "MAX_TAPS",
    "Reason",
    "constant_of",
    "constant_refusal",
    "passes_constant",
    "refusal",
]


def refusal(op: Op, chip: str) -> Reason | None:
    """Returns why `op` cannot run on the ANE of a chip, or None if it can."""
    row = optable.row(op.name)
    if row.reason is not None:
        return row.reason
    if row.needs and not _chips.load(chip)[row.needs]["value"]:
        name = op.name.removeprefix("stablehlo.")
        return Reason("ANE022", f"{chip} has no {name}", _remedy_of_old_chip(row.needs))
    for check in (_check_types, _check_size, _CHECKS.get(op.name, _no_check)):
        reason = check(op)
        if reason is not None:
            return reason
    return None


def _remedy_of_old_chip(needed: str) -> str:
    having = [name for name in _chips.names() if _chips.load(name)[needed]["value"]]
    return f"the chips {', '.join(having)} have it" if having else ""


def _no_check(op: Op) -> Reason | None:
    return None


def _check_types(op: Op) -> Reason | None:
    if any(known_value(start) is None for start in indices(op)):
        return Reason("dynamic", "its indices are known only at run time, and the chip has none")
    if len(op.results) != 1:
        return _several_results(op)
    for value in (*data_operands(op), *op.results):
        if value.type is None:
            return Reason("type", "a token, tuple or dynamic shape cannot enter the ANE")
        if value.type.dtype not in ("f16", "f32", "i1"):
            return Reason(
                "dtype",
                f"{value.type.dtype} is never narrowed to fp16",
                "cast to float32 or float16 if fp16 range and precision are enough",
            )
    return None


def _several_results(op: Op) -> Reason:
    if op.name == "stablehlo.reduce" and _finds_places(op):
        return Reason(
            "indices",
            "an argmax or argmin is an int32, which every chip's compiler refuses",
            "where only the value matters, use max or min",
        )
    if op.name == "stablehlo.composite":
        return Reason("indices", "the chip's top-k fails or is slow, and its indices are integers")
    return Reason("results", "an op with several results has no lowering rule yet")


def _finds_places(op: Op) -> bool:
    """Says whether a reduction carries the places of its elements along."""
    return any(v.type is not None and not v.type.is_float for v in op.results)


def _check_size(op: Op) -> Reason | None:
    for value in (*data_operands(op), *op.results):
        assert value.type is not None
        if value.type.size == 0:
            return Reason("empty", "an empty tensor has nothing for the ANE to do")
    rank = max(len(v.tensor.shape) for v in (*data_operands(op), *op.results))
    if rank > MAX_RANK and not _folds(op):
        return Reason("ANE001", f"rank {rank} is above 5", "merge axes by reshape")
    return None


def _folds(op: Op) -> bool:
    """Says whether an op of a rank above 5 can be written with fewer axes."""
    if op.name == "stablehlo.broadcast_in_dim":
        dims = op.ints("broadcast_dimensions")
        return list(dims) == sorted(dims) and len(broadcast_runs(op)) <= MAX_RANK
    if op.name == "stablehlo.reduce":
        return len(reduce_rules.reduce_runs(op)) <= MAX_RANK
    if op.name == "stablehlo.transpose":
        runs = transpose_runs(op.ints("permutation"), op.operands[0].tensor.shape)
        return len(runs) <= MAX_RANK
    if op.name in _FOLDS:
        return _FOLDS[op.name](op)
    is_arithmetic = optable.row(op.name).kind is optable.Kind.ARITHMETIC
    windowed = ("stablehlo.reduce_window", "stablehlo.select_and_scatter", "stablehlo.scatter")
    return (is_arithmetic and op.name not in windowed) or op.name in (
        "stablehlo.reshape", "stablehlo.convert", "stablehlo.constant", "stablehlo.concatenate",
        "stablehlo.optimization_barrier",
    )  # fmt: skip


def _check_precision(op: Op) -> Reason | None:
    algorithm = op.attr("algorithm")
    if "HIGHEST" in str(op.attr("precision_config")):
        return Reason(
            "precision",
            "precision HIGHEST keeps float32",
            "drop precision='highest' here or in jax.default_matmul_precision",
        )
    if algorithm is not None and "f32" in str(algorithm).lower():
        return Reason("precision", "the dot algorithm asks for float32 arithmetic")
    if not all(v.type.is_float for v in op.operands if v.type):
        return Reason("dtype", "a product of masks stays on the host")
    return None


def _check_convolution(op: Op) -> Reason | None:
    reason = _check_precision(op)
    if reason is not None:
        return reason
    spec = conv_spec(op)
    if spec.rank == 0 or spec.rank > 3:
        return Reason("ANE001", f"a convolution over {spec.rank} spatial axes has no lowering")
    if any(edge < 0 for edge in (*spec.low, *spec.high)):
        extents = [op.operands[0].tensor.shape[a] for a in spec.lhs_axes[2:]]
        for i, extent in enumerate(extents):
            dilated = (extent - 1) * spec.lhs_dilation[i] + 1
            if dilated + min(spec.low[i], 0) + min(spec.high[i], 0) <= 0:
                return Reason("empty", "padding crops the whole input away")
    taps = tap_count(op, spec)
    if taps > MAX_TAPS:
        return Reason("taps", f"{taps} shifted slices are more than the {MAX_TAPS} that pay")
    return None


def _check_reduce(op: Op) -> Reason | None:
    name = reduce_rules.reducer(op)
    if op.type.dtype == "i1" and name in reduce_rules.MASK_REDUCERS:
        initial = constant_of(op.operands[1])
        neutral = name == "stablehlo.and"
        if initial is None or bool(initial.flat[0]) is not neutral:
            return Reason("reducer", "a reduction of masks starts from its neutral value only")
        return None
    if name not in reduce_rules.REDUCERS:
        return Reason("reducer", "only sums, products, maxima and minima can be reduced to")
    if not op.type.is_float:
        return Reason("dtype", "arithmetic on masks stays on the host")
    if name == "stablehlo.multiply" and op.name == "stablehlo.reduce":
        return _check_factors(op.operands[0].tensor.size // op.type.size)
    return None


def _check_factors(count: int) -> Reason | None:
    if count > MAX_FACTORS:
        text = f"fp16 would round a product of {count} factors {count} times"
        return Reason("digits", text, "sum logarithms instead")
    return None


def _check_reduce_window(op: Op) -> Reason | None:
    reason = _check_reduce(op)
    if reason is not None or op.type.dtype == "i1":
        return reason or Reason("reducer", "a window over masks stays on the host")
    if reduce_rules.reducer(op) == "stablehlo.multiply":
        reason = _check_factors(math.prod(reduce_rules.Window(op).size))
        if reason is not None:
            return reason
    return _check_window(reduce_rules.Window(op), op, reduce_rules.reducer(op) != "stablehlo.add")


def _check_window(window: reduce_rules.Window, op: Op, has_mask: bool) -> Reason | None:
    if any(n <= 0 for n in window.filled_shape):
        return Reason("empty", "padding crops the whole input away")
    longest = max(window.filled_shape, default=0)
    if longest > max(NARROWEST_LIMIT, *window.shape):
        return Reason("ANE002", f"padded, an axis of {longest} is longer than chips allow")
    if has_mask and window.is_filled:
        size = window.fill_mask(op.operands[0].tensor.shape).size
        if size > _MAX_MASK:
            return Reason("pad", f"a constant of {size} elements would have to pad the window")
    return None


def _check_select_and_scatter(op: Op) -> Reason | None:
    if not op.type.is_float:
        return Reason("dtype", "arithmetic on masks stays on the host")
    select, scatter = (region.blocks[0] for region in op.mlir.regions)
    compare = select.operations[0].operation
    in_order = list(compare.operands) == list(select.arguments)
    first_largest = (
        len(select.operations) == 2
        and compare.name == "stablehlo.compare"
        and "GE" in str(compare.attributes["comparison_direction"])
        and in_order
    )
    if not first_largest or reduce_rules.region_op(scatter) != "stablehlo.add":
        return Reason("reducer", "only the gradient of a max pool is known")
    initial = constant_of(op.operands[2])
    if initial is None or np.any(initial):
        return Reason("reducer", "only a sum that starts from 0 is known")
    window = reduce_rules.Window(op)
    if math.prod(window.size) > MAX_TAPS or len(op.type.shape) > MAX_RANK - 1:
        return Reason("taps", "the window has more elements or axes than pay")
    return _check_window(window, op, has_mask=True)


def _check_pad(op: Op) -> Reason | None:
    value = constant_of(op.operands[1])
    if value is None:
        return Reason("pad", "the chip pads with numbers that are known beforehand only")
    shape = op.operands[0].tensor.shape
    edges = [
        op.ints(f"{name}_padding{side}")
        for name, side in (("edge", "_low"), ("edge", "_high"), ("interior", ""))
    ]
    if np.any(value):
        size = inside_mask(shape, *edges).size
        if size > _MAX_MASK:
            return Reason("pad", f"a constant of {size} elements would have to pad it")
    shape = op.operands[0].tensor.shape
    for extent, low, high in zip(shape, *edges[:2], strict=True):
        if extent + min(low, 0) + min(high, 0) <= 0:
            return Reason("empty", "padding crops the whole input away")
    return None


def _check_gather(op: Op) -> Reason | None:
    indexing = gather_indexing(op)
    problem = "" if indexing is None else gather_problem(indexing)
    return Reason("indices", problem) if problem else None


def _check_scatter(op: Op) -> Reason | None:
    indexing = scatter_indexing(op)
    problem = "" if indexing is None else scatter_problem(op, indexing)
    if not problem and op.type.dtype == "i1" and combiner(op):
        problem = "masks can be replaced only"
    return Reason("indices", problem) if problem else None


def _check_composite(op: Op) -> Reason | None:
    name = op.attr("name").value
    if name in COMPOSITES:
        return None
    if name in _LOGARITHMIC:
        return optable.LOGARITHM
    return optable.no_rule(name)


def constant_refusal(array: np.ndarray, is_made: bool = False) -> Reason | None:
    """Returns why a constant's values cannot enter the ANE; its own type does not matter.

    Args:
        array: the values.
        is_made: they were computed. Then only what vanishes as a whole is refused: the sine of
            pi is a small number, too.
    """
    if array.dtype == np.bool_:
        return None
    array = array.astype(np.float32)
    if np.isnan(array).any():
        return Reason("nan", "the constant holds NaN, which the chip reads as a number")
    sizes = np.abs(array[array != 0])
    if sizes.size == 0:
        return None
    size = float(sizes.max() if is_made else sizes.min())
    if size < 2.0**-25:
        return Reason(
            "vanishes",
            f"the constant {size:.3g} vanishes in fp16",
            "use a value of at least 6e-8, or accept the host",
        )
    return None


def _check_constant(op: Op) -> Reason | None:
    return constant_refusal(graph.dense(op.attr("value")))


def _check_reduce_precision(op: Op) -> Reason | None:
    exponent, mantissa = (int(op.attr(f"{name}_bits")) for name in ("exponent", "mantissa"))
    if exponent < _EXPONENT_BITS or mantissa < _MANTISSA_BITS:
        return Reason("digits", f"the chip cannot round to {mantissa} bits: fp16 keeps more")
    return None


def _check_arithmetic(op: Op) -> Reason | None:
    if op.type.dtype == "i1":
        return Reason("dtype", "arithmetic on masks stays on the host")
    return None


def _check_logical(op: Op) -> Reason | None:
    if op.type.dtype != "i1":
        return Reason("dtype", "the chip has no bit operations")
    return None


_FOLDS: dict[str, Callable[[Op], bool]] = {
    "stablehlo.dot_general": dot.folds,
    "stablehlo.reverse": lambda op: len(reverse_runs(op)) <= MAX_RANK,
    "stablehlo.slice": lambda op: len(slice_runs(op)) <= MAX_RANK,
}
_NUMBERS_ONLY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power")
_CHECKS: dict[str, Callable[[Op], Reason | None]] = {
    "stablehlo.dot_general": _check_precision,
    "stablehlo.convolution": _check_convolution,
    "stablehlo.reduce": _check_reduce,
    "stablehlo.reduce_window": _check_reduce_window,
    "stablehlo.select_and_scatter": _check_select_and_scatter,
    "stablehlo.pad": _check_pad,
    "stablehlo.composite": _check_composite,
    "stablehlo.gather": _check_gather,
    "stablehlo.scatter": _check_scatter,
    "stablehlo.reduce_precision": _check_reduce_precision,
    "stablehlo.constant": _check_constant,
    **dict.fromkeys(
        (f"stablehlo.{n}" for n in _NUMBERS_ONLY),
        _check_arithmetic,
    ),
    **dict.fromkeys((f"stablehlo.{n}" for n in ("and", "or", "xor", "not")), _check_logical),
}
