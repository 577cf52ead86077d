# SPDX-License-Identifier: Apache-2.0
"""Values that are known when a program is compiled: what is made of counters and constants alone.

Causal masks, position tables and the guards of `jnp.var` are computed in the program from `iota`
and constants. Evaluated here, with NumPy, they are constants of the ANE programs that read them;
the host keeps its own ops. A `select` whose condition is known and uniform is its chosen operand.

    before: select(compare(iota, iota), scores, -1e9)       after: select(mask, scores, -1e9)
    before: select(compare(n - 1, 0), variance, nan)        after: variance
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jax_ane.compiler import graph
from jax_ane.compiler.graph import NUMPY_DTYPES, Block, Op, Value, varying

# Elements of one value, and of all of a block, that are evaluated: a mask of 1,024 tokens squared
# is 2^20.
MOST_ELEMENTS, MOST_IN_ALL = 2**20, 2**24

Array = np.ndarray
Rule = Callable[[Op, list[Array]], Array]


def evaluate(block: Block) -> None:
    """Sets `known` on what is known, and takes decided selects out of the block and its MLIR."""
    with np.errstate(all="ignore"):
        decided = _evaluate(block)
    if decided:
        block.set_ops([op for op in block.ops if op not in decided])


def _evaluate(block: Block) -> set[Op]:
    """Sets `known`; returns the selects that are decided."""
    budget = MOST_IN_ALL
    decided: set[Op] = set()
    for op in block.ops:
        if len(op.results) != 1 or op.results[0].type is None:
            continue
        if op.name == "stablehlo.select" and _forward(block, op):
            decided.add(op)
            continue
        rule = _RULES.get(op.name)
        if rule is None or op.type.dtype not in NUMPY_DTYPES:
            continue
        operands = [array for array in map(_array, op.operands) if array is not None]
        if len(operands) < len(op.operands):
            continue
        try:
            array = rule(op, operands)
        except _Unknown:
            continue
        budget -= varying(array).size
        if budget < 0:
            break
        array = array.astype(NUMPY_DTYPES[op.type.dtype], copy=False)
        if array.shape != op.type.shape:
            array = np.broadcast_to(array, op.type.shape)
        op.results[0].known = array
    return decided


class _Unknown(Exception):
    """A value that this module does not evaluate."""


def _array(value: Value) -> Array | None:
    """Returns a known value; constants are read when something is made of them."""
    if value.known is None and value.producer is not None:
        constant = value.producer
        if (
            constant.name == "stablehlo.constant"
            and constant.type.dtype in NUMPY_DTYPES
            and constant.type.size <= MOST_ELEMENTS
        ):
            value.known = _compact(graph.dense(constant.attr("value")))
    return value.known


def _compact(array: Array) -> Array:
    """Returns an array that repeats its only value as one that holds it once."""
    if array.size > 1 and (array == array.flat[0]).all():
        return np.broadcast_to(array.flat[0], array.shape)
    return array


def _forward(block: Block, op: Op) -> bool:
    """Lets a known, uniform condition choose: what read the select reads its operand."""
    condition = _array(op.operands[0])
    if condition is None or varying(condition).size != 1:
        return False
    chosen, result = op.operands[1 if condition.flat[0] else 2], op.results[0]
    for user in result.users:
        user.operands = [chosen if value is result else value for value in user.operands]
    chosen.users = sorted({*chosen.users, *result.users}, key=lambda user: user.index)
    block.returned = [chosen if value is result else value for value in block.returned]
    result.mlir.replace_all_uses_with(chosen.mlir)
    op.remove()
    return True


# ---------------------------------------------------------------------------- rules


def _elementwise(function: Callable[..., Array]) -> Rule:
    def rule(op: Op, operands: list[Array]) -> Array:
        arrays = np.broadcast_arrays(*(varying(array) for array in operands))
        if arrays[0].size > MOST_ELEMENTS:
            raise _Unknown
        return function(*arrays)

    return rule


def _real(function: Callable[..., Array]) -> Rule:
    """A function of floats, in float64: within half an ulp of float32."""

    def of_floats(*arrays: Array) -> Array:
        if arrays[0].dtype.kind != "f":
            raise _Unknown
        return function(*(array.astype(np.float64) for array in arrays)).astype(arrays[0].dtype)

    return _elementwise(of_floats)


def _iota(op: Op, operands: list[Array]) -> Array:
    axis = int(op.attr("iota_dimension").value)
    if op.type.shape[axis] > MOST_ELEMENTS:
        raise _Unknown
    shape = [1] * len(op.type.shape)
    shape[axis] = -1
    return np.arange(op.type.shape[axis]).reshape(shape)


def _compare(op: Op, operands: list[Array]) -> Array:
    direction = graph.comparison_direction(op)
    if "TOTALORDER" in str(op.attr("compare_type")):
        raise _Unknown
    return _elementwise(_COMPARISONS[direction])(op, operands)


def _divide(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return x / y
    if x.dtype.kind not in "iu" or not y.all():
        raise _Unknown
    return (x - np.fmod(x, y)) // y  # towards zero


def _remainder(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu" and not y.all():
        raise _Unknown
    return np.fmod(x, y)


def _convert(op: Op, operands: list[Array]) -> Array:
    (array,) = operands
    if array.dtype.kind == "f" and op.type.dtype not in ("f16", "f32", "f64"):
        raise _Unknown  # what is out of range is the host's to say
    return varying(array).astype(NUMPY_DTYPES[op.type.dtype])


def _broadcast(op: Op, operands: list[Array]) -> Array:
    (array,) = operands
    dims = op.ints("broadcast_dimensions")
    array = varying(array).transpose(sorted(range(len(dims)), key=lambda i: dims[i]))
    shape = [1] * len(op.type.shape)
    for extent, dim in zip(array.shape, sorted(dims), strict=True):
        shape[dim] = extent
    return array.reshape(shape)


def _reshape(op: Op, operands: list[Array]) -> Array:
    (array,) = operands
    if varying(array).size == 1:
        return np.broadcast_to(array.flat[0], op.type.shape)
    if array.size > MOST_ELEMENTS:
        raise _Unknown
    return array.reshape(op.type.shape)


def _slice(op: Op, operands: list[Array]) -> Array:
    bounds = zip(*(op.ints(f"{name}") for name in ("start_indices", "limit_indices", "strides")),
                 strict=True)  # fmt: skip
    return operands[0][tuple(slice(*bound) for bound in bounds)]


def _concatenate(op: Op, operands: list[Array]) -> Array:
    if op.type.size > MOST_ELEMENTS:
        raise _Unknown
    return np.concatenate(operands, int(op.attr("dimension").value))


def _reduce(op: Op, operands: list[Array]) -> Array:
    """The check of jax that all of an index's parts are inside."""
    array, initial = operands
    body = op.mlir.regions[0].blocks[0].operations
    function = _MASK_REDUCERS.get(body[0].operation.name)
    if op.type.dtype != "i1" or len(body) != 2 or function is None or array.size > MOST_ELEMENTS:
        raise _Unknown
    return function(function.reduce(array, axis=op.ints("dimensions")), initial)


def _clamp(low: Array, value: Array, high: Array) -> Array:
    return np.minimum(np.maximum(value, low), high)


_MASK_REDUCERS = {"stablehlo.and": np.logical_and, "stablehlo.or": np.logical_or}
_COMPARISONS: dict[str, Any] = {
    "EQ": np.equal, "NE": np.not_equal, "LT": np.less, "LE": np.less_equal, "GT": np.greater,
    "GE": np.greater_equal,
}  # fmt: skip

_RULES: dict[str, Rule] = {
    f"stablehlo.{name}": rule
    for name, rule in {
        "iota": _iota,
        "compare": _compare,
        "convert": _convert,
        "broadcast_in_dim": _broadcast,
        "reshape": _reshape,
        "transpose": lambda op, a: a[0].transpose(op.ints("permutation")),
        "reverse": lambda op, a: np.flip(a[0], op.ints("dimensions")),
        "slice": _slice,
        "concatenate": _concatenate,
        "reduce": _reduce,
        "add": _elementwise(lambda x, y: x | y if x.dtype == np.bool_ else x + y),
        "subtract": _elementwise(np.subtract),
        "multiply": _elementwise(lambda x, y: x & y if x.dtype == np.bool_ else x * y),
        "divide": _elementwise(_divide),
        "remainder": _elementwise(_remainder),
        "maximum": _elementwise(np.maximum),
        "minimum": _elementwise(np.minimum),
        "clamp": _elementwise(_clamp),
        "negate": _elementwise(np.negative),
        "abs": _elementwise(np.abs),
        "sign": _elementwise(np.sign),
        "and": _elementwise(np.bitwise_and),
        "or": _elementwise(np.bitwise_or),
        "xor": _elementwise(np.bitwise_xor),
        "not": _elementwise(np.invert),
        "select": _elementwise(np.where),
        "sine": _real(np.sin),
        "cosine": _real(np.cos),
        "exponential": _real(np.exp),
        "log": _real(np.log),
        "sqrt": _real(np.sqrt),
        "rsqrt": _real(lambda x: 1 / np.sqrt(x)),
        "power": _real(np.power),
        "floor": _elementwise(np.floor),
        "optimization_barrier": lambda op, a: a[0],
    }.items()
}
