# SPDX-License-Identifier: Apache-2.0
"""The compiler's view of a block of StableHLO: values and ops as plain records.

MLIR stays the truth; a record keeps its MLIR op so that lowering rules can read attributes, but all
planning is done on the integer indices here.
"""

from __future__ import annotations

import dataclasses
import math
import re
from functools import lru_cache
from typing import Any

import numpy as np
from jaxlib.mlir import ir


@dataclasses.dataclass(frozen=True, slots=True)
class TensorType:
    """A ranked tensor: `shape` in elements, `dtype` in MLIR's spelling ("f32", "i1", "ui8")."""

    shape: tuple[int, ...]
    dtype: str
    # Elements, and bytes of the dense array, one a mask's element: asked for again and again.
    size: int = dataclasses.field(init=False, compare=False, repr=False)
    bytes: int = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        size = math.prod(self.shape)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "bytes", size * _element_bytes(self.dtype))

    @property
    def is_float(self) -> bool:
        return self.dtype in ("f16", "f32")

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@lru_cache
def _element_bytes(dtype: str) -> int:
    digits = "".join(c for c in dtype if c.isdigit())[:3]
    bits = int(digits) if digits and not dtype.startswith("f8") else 8
    return 1 if dtype == "i1" else max(bits, 8) // 8


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Value:
    """One SSA value of a block. `producer` is None for block arguments and outer values."""

    index: int
    type: TensorType | None  # None: not a ranked tensor (token, tuple)
    mlir: ir.Value
    producer: Op | None = None
    users: list[Op] = dataclasses.field(default_factory=list)
    known: np.ndarray | None = None  # what compiler/known.py found it to be

    def __repr__(self) -> str:  # a graph's own would be as long as the graph, many times over
        return f"<%{self.index}: {self.type}>"

    @property
    def tensor(self) -> TensorType:
        """The type of a value that is known to be a tensor."""
        assert self.type is not None
        return self.type


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Op:
    """One operation of a block. `operands` ends with what its regions capture."""

    index: int
    name: str
    operands: list[Value]
    results: list[Value]
    mlir: ir.Operation
    place: str = ""  # what `jax_ane.place` asked for: "host", "ane" or nothing
    reader: Reader | None = None  # of the op's module
    flops: int | None = None  # once `flops.count` has counted them
    # All parts of the barrier of which this op is one (compiler/barriers.py): one list for all.
    parts: list[Op] = dataclasses.field(default_factory=list)
    # What the properties of these names have read.
    _location: Location | None = None
    _has_effect: bool | None = None

    def __repr__(self) -> str:
        return f"<{self.index} {self.name} {self.operands} -> {self.results}>"

    def attr(self, name: str) -> Any:
        """Returns the MLIR attribute `name`, or None."""
        return self.mlir.attributes.get(name)

    def ints(self, name: str) -> tuple[int, ...]:
        """Returns an integer-array attribute as a tuple."""
        return tuple(map(int, self.attr(name)))

    @property
    def location(self) -> Location:
        if self._location is None:
            self._location = (self.reader or Reader()).location(self.mlir.location)
        return self._location

    @property
    def has_effect(self) -> bool:
        """Whether the op must keep its place among others with an effect."""
        if self._has_effect is None:
            attribute = self.attr("has_side_effect")
            self._has_effect = (attribute is not None and bool(attribute)) or any(
                [value.type is None for value in (*self.operands, *self.results)]
            )
        return self._has_effect

    @property
    def type(self) -> TensorType:
        """The type of the first result, which must be a tensor."""
        result = self.results[0].type
        assert result is not None
        return result

    def signature(self) -> str:
        """Returns the op with its types, as errors print it."""
        operands = ", ".join(str(v.type) for v in self.operands)
        return f"{self.name.removeprefix('stablehlo.')}({operands})"

    def remove(self) -> None:
        """Erases the op, which nobody reads any more, from its MLIR and its operands' users."""
        for operand in dict.fromkeys(self.operands):
            operand.users.remove(self)
        if self in self.parts:
            self.parts.remove(self)
        self.mlir.erase()


@dataclasses.dataclass(eq=False, repr=False)
class Block:
    """One block of code: its ops in order, and the values its terminator returns."""

    path: str
    ops: list[Op]
    arguments: list[Value]
    returned: list[Value]
    mlir: ir.Block

    def __repr__(self) -> str:
        return f"<block {self.path!r} of {len(self.ops)} ops>"

    def set_ops(self, ops: list[Op]) -> None:
        """Takes other ops, in their order, and numbers them."""
        self.ops = ops
        for index, op in enumerate(ops):
            op.index = index

    def unused_index(self) -> int:
        """Returns an index above those of all values."""
        highest = max((v.index for v in (*self.arguments, *self.returned)), default=0)
        for op in self.ops:
            for value in (*op.operands, *op.results):
                highest = max(highest, value.index)
        return 1 + highest


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """Where in the user's code an op comes from; `file` is "" when nothing is known."""

    file: str = ""
    line: int = 0
    function: str = ""

    def __str__(self) -> str:
        if not self.file:
            return "unknown location"
        where = f" in {self.function}" if self.function else ""
        return f"{self.file}:{self.line}{where}"


_FRAME = re.compile(r'"([^"]*)"\("([^"]+)":(\d+):\d+')
_PLAIN = re.compile(r'\("([^"]+)":(\d+):\d+')
# Libraries whose frames are not the user's own code, if a caller outside of them is known.
_LIBRARY = re.compile(
    r"[/\\](site|dist)-packages[/\\](?!jax_ane[/\\]demo\.py)"
    r"|[/\\]jax_ane[/\\](?!demo\.py)|^<frozen"
)


@lru_cache(maxsize=65536)
def parse_location(text: str) -> Location:
    """Returns the innermost frame of a printed MLIR location that is the user's own code."""
    frames = [Location(file, int(line), name) for name, file, line in _FRAME.findall(text)]
    frames = frames or [Location(file, int(line)) for file, line in _PLAIN.findall(text)]
    own = [frame for frame in frames if not _LIBRARY.search(frame.file)]
    return (own or frames or [Location()])[0]


class Reader:
    """Reads types and locations of one module, each distinct one once: printing them is slow."""

    def __init__(self) -> None:
        self._types: dict[ir.Type, TensorType | None] = {}
        self._locations: dict[ir.Attribute, Location] = {}

    def type(self, mlir: ir.Type) -> TensorType | None:
        """Returns what `tensor_type` returns."""
        if mlir not in self._types:
            self._types[mlir] = tensor_type(mlir)
        return self._types[mlir]

    def location(self, mlir: ir.Location) -> Location:
        """Returns what `parse_location` makes of a location's text."""
        key = mlir.attr
        if key not in self._locations:
            self._locations[key] = parse_location(str(mlir))
        return self._locations[key]


# The frontend attribute by which `jax_ane.place` marks the ops that are traced inside it.
PLACE_ATTRIBUTE = "jax_ane_place"


def place_of(op: ir.Operation) -> str:
    """Returns what `jax_ane.place` asked for an op, or ""."""
    attributes: Any = op.attributes.get("mhlo.frontend_attributes")
    if attributes is None or PLACE_ATTRIBUTE not in attributes:
        return ""
    return attributes[PLACE_ATTRIBUTE].value


def build_block(block: ir.Block, path: str, place: str = "", reader: Reader | None = None) -> Block:
    """Reads one MLIR block into records.

    Args:
        block: the block.
        path: its name in reports.
        place: holds for ops that have none of their own.
        reader: of the block's module.
    """
    reader = reader or Reader()
    values: dict[ir.Value, Value] = {}
    ops: list[Op] = []

    def value_of(mlir: ir.Value) -> Value:
        value = values.get(mlir)
        if value is None:
            value = values[mlir] = Value(len(values), reader.type(mlir.type), mlir)
        return value

    arguments = [value_of(argument) for argument in block.arguments]
    returned: list[Value] = []
    count = len(block.operations)
    for position, wrapper in enumerate(block.operations):
        mlir = wrapper.operation
        operands = [value_of(v) for v in mlir.operands]
        if position == count - 1:
            returned = operands
            break
        if mlir.regions:
            operands += [value_of(v) for v in _captured(mlir)]
        results = [value_of(v) for v in mlir.results]
        op = Op(position, mlir.name, operands, results, mlir, place_of(mlir) or place, reader)
        for result in op.results:
            result.producer = op
        for operand in dict.fromkeys(operands):
            operand.users.append(op)
        ops.append(op)
    return Block(path, ops, arguments, returned, block)


def _captured(op: ir.Operation) -> list[ir.Value]:
    """Returns the values that regions of `op` use but do not define."""
    inside: set[ir.Value] = set()
    used: dict[ir.Value, None] = {}

    def walk(owner: ir.Operation) -> None:
        for region in owner.regions:
            for block in region.blocks:
                inside.update(block.arguments)
                for inner in block.operations:
                    inner = inner.operation
                    inside.update(inner.results)
                    used.update(dict.fromkeys(inner.operands))
                    walk(inner)

    walk(op)
    return [v for v in used if v not in inside]


@lru_cache(maxsize=65536)
def _parse_type(text: str) -> TensorType | None:
    match = re.fullmatch(r"tensor<((?:\d+x)*)([A-Za-z0-9_<>]+)>", text)
    if match is None:
        return None
    return TensorType(tuple(int(d) for d in match[1].split("x")[:-1]), match[2])


def tensor_type(mlir: ir.Type) -> TensorType | None:
    """Returns a ranked static tensor type, or None for any other type."""
    return _parse_type(str(mlir))


def dense(attribute: Any) -> np.ndarray:
    """Returns a dense elements attribute as a NumPy array of its full shape."""
    attribute = ir.DenseElementsAttr(attribute)
    type_ = tensor_type(attribute.type)
    assert type_ is not None
    if attribute.is_splat:
        value = attribute.get_splat_value().value
        return np.full(type_.shape, value, dtype=NUMPY_DTYPES[type_.dtype])
    return np.array(attribute).reshape(type_.shape)


def varying(array: np.ndarray) -> np.ndarray:
    """Returns an array with extent 1 along the axes that it repeats."""
    if 0 not in array.strides:
        return array
    repeats = (stride == 0 and n > 1 for stride, n in zip(array.strides, array.shape, strict=True))
    return array[tuple(slice(0, 1) if repeat else slice(None) for repeat in repeats)]


def constant_of(value: Value) -> np.ndarray | None:
    """Returns the constant behind a value, looking through broadcasts and conversions.

    None where there is none, and where its type is one that NumPy itself does not have. Its shape
    is not the value's where it does not vary: extents are 1 there, or axes are missing.
    """
    if value.known is not None:
        return varying(value.known)
    op = value.producer
    while op is not None and passes_constant(op):
        value = op.operands[0]
        if value.known is not None:
            return varying(value.known)
        op = value.producer
    if op is None or op.name != "stablehlo.constant":
        return None
    if value.type is None or value.type.dtype not in NUMPY_DTYPES:
        return None
    return dense(op.attr("value"))


def comparison_direction(op: Op) -> str:
    """Returns "EQ", "NE", "LT", "LE", "GT" or "GE"."""
    return str(op.attr("comparison_direction")).split()[-1].rstrip(">")


def passes_constant(op: Op) -> bool:
    """Says whether `op` repeats its operand's value: a broadcast, barrier, harmless conversion."""
    if op.name in ("stablehlo.broadcast_in_dim", "stablehlo.optimization_barrier"):
        return True
    if op.name != "stablehlo.convert":
        return False
    source, target = op.operands[0].type, op.results[0].type
    return (
        source is not None
        and target is not None
        and (target.is_float and source.dtype in ("i1", "f16", "f32", "i8", "i16", "i32", "i64"))
    )


NUMPY_DTYPES: dict[str, Any] = {
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "i1": np.bool_,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "ui8": np.uint8,
    "ui16": np.uint16,
    "ui32": np.uint32,
    "ui64": np.uint64,
}
