# SPDX-License-Identifier: Apache-2.0
"""The MIL IR: values, ops, a builder that infers types, and a verifier.

A `Program` is one straight line of ops on fp16 (and interior bool) tensors. Shapes are checked as
each op is built, so a wrong lowering fails in its own rule; `verify` runs the same inference over
the whole program after passes. `mil_text` prints it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from jax_ane.compiler.graph import Location

MAX_CONSTANT_ERROR = 0.01  # relative; beyond it a constant is worth a word


class MilBuildError(ValueError):
    """An op was given operands or parameters that MIL does not allow."""


@dataclasses.dataclass(frozen=True, slots=True)
class Type:
    """A MIL tensor type: `dtype` is "fp16" or "bool"."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        if not self.shape:
            return self.dtype
        return f"tensor<{self.dtype}, [{', '.join(map(str, self.shape))}]>"


@dataclasses.dataclass(slots=True, eq=False)
class Value:
    """One SSA value; `op` is None for program inputs."""

    type: Type
    op: Op | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def constant(self) -> np.ndarray | None:
        """The value, if it is a compile-time constant."""
        return self.op.value if self.op is not None else None


@dataclasses.dataclass(slots=True, eq=False)
class Op:
    """One operation. `inputs` are run-time operands, `params` compile-time ones by MIL name."""

    opcode: str
    inputs: dict[str, Value | tuple[Value, ...]]
    params: dict[str, Any]
    result: Value
    location: Location
    value: np.ndarray | None = None  # of a "const"

    def input(self, name: str) -> Value:
        """Returns the one operand called `name`."""
        operand = self.inputs[name]
        assert isinstance(operand, Value)
        return operand

    def operands(self) -> Collection[Value]:
        """Returns the operands in order, those of a list one by one."""
        held: Any = self.inputs.values()
        if tuple in map(type, held):
            return [v for x in held for v in (x if isinstance(x, tuple) else (x,))]
        return held

    def replace_operands(self, replacement: Mapping[int, Value]) -> None:
        """Replaces operands; `replacement` maps `id(old)` to the new value."""
        if not replacement:
            return
        for name, operand in self.inputs.items():
            if isinstance(operand, tuple):
                self.inputs[name] = tuple(replacement.get(id(v), v) for v in operand)
            else:
                self.inputs[name] = replacement.get(id(operand), operand)


Move = tuple[tuple[int, ...], tuple[int, ...]]  # (shape, perm): a transposition of row-major data


@dataclasses.dataclass(frozen=True, slots=True)
class Weight:
    """One constant that is made of an argument.

    Attributes:
        argument: its position among the arguments of the program's caller.
        shape: the constant's.
        moves: the transpositions from the one to the other, in order.
    """

    argument: int
    shape: tuple[int, ...]
    moves: tuple[Move, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Rounded:
    """A constant that fp16 holds badly: `value` in the program, and what was given for it."""

    value: Value
    given: float


@dataclasses.dataclass(slots=True, eq=False)
class Program:
    """A MIL program: inputs, ops in order, outputs.

    `rounded` lists constants that are more than 1 % off in fp16, for the hazard analysis; passes
    may have dropped their last use.
    """

    inputs: list[Value] = dataclasses.field(default_factory=list)
    ops: list[Op] = dataclasses.field(default_factory=list)
    outputs: list[Value] = dataclasses.field(default_factory=list)
    rounded: list[Rounded] = dataclasses.field(default_factory=list)

    def input_names(self) -> list[str]:
        return [f"a{i:03d}" for i in range(len(self.inputs))]

    def output_names(self) -> list[str]:
        return [f"r{i:03d}" for i in range(len(self.outputs))]

    def users(self) -> dict[int, list[Op]]:
        """Returns the ops that read each value, in order, by `id(value)`; unread ones are absent.

        One walk over the program. An op that reads a value twice is listed once.
        """
        users: dict[int, list[Op]] = {}
        for op in self.ops:
            for operand in op.operands():
                readers = users.setdefault(id(operand), [])
                if not readers or readers[-1] is not op:
                    readers.append(op)
        return users


# ---------------------------------------------------------------------------- inference


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the NumPy broadcast of shapes, or raises MilBuildError."""
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise MilBuildError(f"shapes {shapes} do not broadcast") from None


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise MilBuildError(message)


def _elementwise(result_dtype: str, names: tuple[str, ...], dtypes: tuple[str, ...]) -> Callable:
    def infer(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
        for name, dtype in zip(names, dtypes, strict=True):
            _require(inputs[name].type.dtype == dtype, f"operand {name} must be {dtype}")
        return Type(result_dtype, broadcast_shapes(*(inputs[name].shape for name in names)))

    return infer


def _infer_matmul(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x, y = inputs["x"].shape, inputs["y"].shape
    _require(len(x) >= 2 and len(y) >= 2, "matmul needs rank 2 or more")
    m, k = (x[-1], x[-2]) if params["transpose_x"] else (x[-2], x[-1])
    k2, n = (y[-1], y[-2]) if params["transpose_y"] else (y[-2], y[-1])
    _require(k == k2, f"matmul contracts {k} with {k2}")
    return Type("fp16", (*broadcast_shapes(x[:-2], y[:-2]), m, n))


def _infer_conv(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x, weight = inputs["x"].shape, inputs["weight"].shape
    _require(len(x) == 4 and len(weight) == 4, "conv needs rank 4")
    _require(x[1] == weight[1] * params["groups"], "conv channels and groups disagree")
    spatial = []
    for axis in range(2):
        window = (weight[2 + axis] - 1) * params["dilations"][axis] + 1
        padded = x[2 + axis] + sum(params["pad"][2 * axis : 2 * axis + 2])
        spatial.append((padded - window) // params["strides"][axis] + 1)
    return Type("fp16", (x[0], weight[0], *spatial))


def _infer_reshape(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x = inputs["x"].type
    _require(x.size == math.prod(params["shape"]), f"reshape {x} to {params['shape']}")
    return Type(x.dtype, tuple(params["shape"]))


def _infer_transpose(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x, perm = inputs["x"].type, params["perm"]
    _require(sorted(perm) == list(range(len(x.shape))), f"perm {perm} of {x}")
    return Type(x.dtype, tuple(x.shape[i] for i in perm))


def _infer_slice_by_size(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x = inputs["x"].type
    for size, begin, extent in zip(params["size"], params["begin"], x.shape, strict=True):
        _require(begin >= 0 and size > 0 and begin + size <= extent, f"slice of {x}: {params}")
    return Type(x.dtype, tuple(params["size"]))


def _infer_slice_by_index(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x = inputs["x"].type
    shape = []
    for begin, end, stride, extent in zip(
        params["begin"], params["end"], params["stride"], x.shape, strict=True
    ):
        _require(0 <= begin < end <= extent and stride > 0, f"slice of {x}: {params}")
        shape.append(-(-(end - begin) // stride))
    return Type(x.dtype, tuple(shape))


def _infer_concat(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    values, axis = inputs["values"], params["axis"]
    first = values[0].type
    for value in values:
        same = all(
            a == b
            for i, (a, b) in enumerate(zip(value.shape, first.shape, strict=True))
            if i != axis
        )
        _require(same and value.type.dtype == first.dtype, "concat of unequal shapes")
    shape = list(first.shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    return Type(first.dtype, tuple(shape))


def _infer_pad(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x, pad = inputs["x"].type, params["pad"]
    _require(len(pad) == 2 * len(x.shape) and min(pad) >= 0, f"pad {pad} of {x}")
    return Type(x.dtype, tuple(d + pad[2 * i] + pad[2 * i + 1] for i, d in enumerate(x.shape)))


def _infer_reduce(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x, axes = inputs["x"].type, set(params["axes"])
    keep = params["keep_dims"]
    shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes)
    return Type("fp16", shape)


def _infer_same(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    return inputs["x"].type


def _infer_softmax(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x = inputs["x"].type
    _require(x.dtype == "fp16", "operand x must be fp16")
    _require(0 <= params["axis"] < len(x.shape), f"softmax of {x} along {params['axis']}")
    return x


def _infer_layer_norm(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    x = inputs["x"].type
    _require(x.dtype == "fp16", "operand x must be fp16")
    wanted = tuple(x.shape[axis] for axis in params["axes"])
    for name in ("gamma", "beta"):
        if name in inputs:
            _require(inputs[name].shape == wanted, f"{name} must have the shape {wanted}")
            _require(inputs[name].constant is not None, f"{name} must be a constant")
    return x


def _infer_weight(inputs: dict[str, Any], params: dict[str, Any]) -> Type:
    return Type("fp16", params["weight"].shape)


_UNARY = _elementwise("fp16", ("x",), ("fp16",))
_BINARY = _elementwise("fp16", ("x", "y"), ("fp16", "fp16"))
_COMPARE = _elementwise("bool", ("x", "y"), ("fp16", "fp16"))

# fmt: off
UNARY = frozenset({
    "abs", "ceil", "clip", "cos", "erf", "exp", "floor", "gelu", "inverse", "leaky_relu", "log",
    "relu", "relu6", "round", "rsqrt", "sigmoid", "sign", "sin", "softsign", "sqrt", "square",
    "tanh",
})
BINARY = frozenset({"add", "floor_div", "maximum", "minimum", "mul", "pow", "real_div", "sub"})
COMPARISONS = frozenset({
    "equal", "greater", "greater_equal", "less", "less_equal", "not_equal",
})
REDUCTIONS = frozenset({
    "reduce_max", "reduce_mean", "reduce_min", "reduce_sum", "reduce_sum_square",
})
# fmt: on

INFER: dict[str, Callable[[dict[str, Any], dict[str, Any]], Type]] = {
    **dict.fromkeys(UNARY, _UNARY),
    **dict.fromkeys(BINARY, _BINARY),
    **dict.fromkeys(COMPARISONS, _COMPARE),
    "select": _elementwise("fp16", ("cond", "a", "b"), ("bool", "fp16", "fp16")),
    "cast": _infer_same,
    "barrier": _infer_same,  # of the passes alone (compiler/barriers.py): MIL has none
    "weight": _infer_weight,  # printed as a constant (compiler/baking.py)
    "matmul": _infer_matmul,
    "conv": _infer_conv,
    "reshape": _infer_reshape,
    "transpose": _infer_transpose,
    "slice_by_size": _infer_slice_by_size,
    "slice_by_index": _infer_slice_by_index,
    "concat": _infer_concat,
    "pad": _infer_pad,
    "reverse": _infer_same,
    "softmax": _infer_softmax,
    "layer_norm": _infer_layer_norm,
    **dict.fromkeys(REDUCTIONS, _infer_reduce),
}


# ---------------------------------------------------------------------------- builder


def make_op(
    opcode: str,
    inputs: Mapping[str, Value | Sequence[Value]],
    params: dict[str, Any],
    location: Location,
) -> Op:
    """Returns an op of no program yet, its result's type inferred.

    Raises:
        MilBuildError: the operands do not fit the op.
    """
    held = {k: v if isinstance(v, Value) else tuple(v) for k, v in inputs.items()}
    result = Value(INFER[opcode](held, params))
    result.op = Op(opcode, held, params, result, location)
    return result.op


def make_constant(array: np.ndarray | float, location: Location) -> Op:
    """Returns an fp16 "const" op of no program yet."""
    array = to_fp16(np.asarray(array))
    result = Value(Type("fp16", array.shape))
    result.op = Op("const", {}, {}, result, location, array)
    return result.op


class Builder:
    """Appends ops to a program. `location` is stamped on each op built."""

    def __init__(self) -> None:
        self.program = Program()
        self.location = Location()
        self._constants: dict[tuple[Any, ...], Value] = {}
        self._numbers: dict[float | None, Value] = {}  # the scalars among them, by what was given

    def input(self, type_: Type) -> Value:
        value = Value(type_)
        self.program.inputs.append(value)
        return value

    def op(
        self,
        opcode: str,
        inputs: Mapping[str, Value | Sequence[Value]],
        **params: Any,
    ) -> Value:
        """Appends `opcode` and returns its result.

        Raises:
            MilBuildError: the operands do not fit the op.
        """
        op = make_op(opcode, inputs, params, self.location)
        self.program.ops.append(op)
        return op.result

    def constant(self, array: np.ndarray | float) -> Value:
        """Returns an fp16 constant; a one-element array becomes a scalar."""
        number = array if isinstance(array, float) else None
        if number in self._numbers:
            return self._numbers[number]
        given = np.asarray(array)
        array = to_fp16(given)
        if array.size == 1:
            array = array.reshape(())
        key = (array.shape, array.tobytes())
        if key not in self._constants:
            op = make_constant(array, self.location)
            self.program.ops.append(op)
            self._constants[key] = op.result
            self._note_rounding(op.result, given)
        if number:  # 0 and -0 are equal as keys, and are not the same
            self._numbers[number] = self._constants[key]
        return self._constants[key]

    def _note_rounding(self, value: Value, given: np.ndarray) -> None:
        assert value.constant is not None
        # In fp16 terms -inf is a mask like any other number below its range.
        exact = np.clip(np.asarray(given, np.float64).reshape(-1), -1e300, 1e300)
        held = value.constant.astype(np.float64).reshape(-1)
        error = np.abs(held - exact) / np.maximum(np.abs(exact), 1e-300)
        worst = int(np.argmax(error)) if error.size else 0
        if error.size and error[worst] > MAX_CONSTANT_ERROR:
            self.program.rounded.append(Rounded(value, float(given.reshape(-1)[worst])))


def to_fp16(array: np.ndarray) -> np.ndarray:
    """Rounds to fp16; infinities and values beyond its range become +-65504.

    MIL text has no spelling for infinities; a mask of -inf or -1e30 becomes the most negative
    number, which `exp` takes to 0.
    """
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return np.where(np.isinf(half), np.copysign(np.float16(65504), half), half).astype(np.float16)


# ---------------------------------------------------------------------------- verifier


def verify(program: Program) -> None:
    """Checks order, types and outputs of a program.

    Raises:
        MilBuildError: naming the op and the rule that it breaks.
    """
    defined = {id(value) for value in program.inputs}
    for op in program.ops:
        for operand in op.operands():
            _require(id(operand) in defined, f"{op.opcode} uses a value before its definition")
        if op.opcode != "const":
            inferred = INFER[op.opcode](op.inputs, op.params)
            _require(inferred == op.result.type, f"{op.opcode}: {inferred} != {op.result.type}")
        defined.add(id(op.result))
    for value in program.outputs:
        _require(id(value) in defined, "an output is never computed")
        _require(value.op is not None, "an output is an input unchanged")
        _require(value.type.dtype == "fp16", "an output is not fp16")
