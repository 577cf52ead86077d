# SPDX-License-Identifier: Apache-2.0
"""Interval analysis of MIL programs: between which numbers every value lies, whatever comes in.

Program inputs may be anything, so most values are unbounded; what is bounded is bounded by its
shape: exponentials, sigmoids, squares, x - max(x), sums of bounded terms.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from jax_ane.compiler import mil


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """Closed; an end that is infinite is unknown."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def magnitude(self) -> float:
        """The largest absolute value, infinite when unknown."""
        return max(abs(self.low), abs(self.high))

    @property
    def is_bounded(self) -> bool:
        return math.isfinite(self.magnitude)


ANYTHING = Interval()
_MOVES = ("cast", "reshape", "transpose", "slice_by_size", "slice_by_index", "reverse", "identity")
# Between which values some results lie for any operand.
_RANGES = {
    "sigmoid": Interval(0, 1),
    "tanh": Interval(-1, 1),
    "erf": Interval(-1, 1),
    "softmax": Interval(0, 1),
    "softsign": Interval(-1, 1),
    "relu6": Interval(0, 6),
    "sign": Interval(-1, 1),
    "sin": Interval(-1, 1),
    "cos": Interval(-1, 1),
}
Bounds = dict[int, Interval]  # by id of the value
Rule = Callable[[mil.Op, Bounds], Interval]


def bounds(program: mil.Program) -> Bounds:
    """Returns each value's interval, by `id(value)`."""
    known: Bounds = {id(value): ANYTHING for value in program.inputs}
    for op in program.ops:
        known[id(op.result)] = _result(op, known)
    return known


def base(value: mil.Value) -> mil.Value:
    """Returns the value of which this one only moves or repeats elements."""
    while value.op is not None:
        op = value.op
        if op.opcode in _MOVES:
            value = op.input("x")
        elif op.opcode == "add" and is_zero(op.input("y")):
            value = op.input("x")  # how MIL broadcasts
        elif op.opcode == "add" and is_zero(op.input("x")):
            value = op.input("y")
        else:
            break
    return value


def is_square(op: mil.Op) -> bool:
    """Whether an op multiplies a value by itself."""
    if op.opcode == "mul":
        return base(op.input("x")) is base(op.input("y"))
    return op.opcode == "square"


def is_zero(value: mil.Value) -> bool:
    return value.constant is not None and not value.constant.any()


def _result(op: mil.Op, known: Bounds) -> Interval:
    if op.value is not None:
        if op.value.dtype == np.bool_ or not op.value.size:
            return ANYTHING
        return Interval(float(op.value.min()), float(op.value.max()))
    if op.opcode in _RANGES:
        return _RANGES[op.opcode]
    rule = _RULES.get(op.opcode)
    return rule(op, known) if rule else ANYTHING


def _x(op: mil.Op, known: Bounds) -> Interval:
    return known[id(op.input("x"))]


def _xy(op: mil.Op, known: Bounds) -> tuple[Interval, Interval]:
    return known[id(op.input("x"))], known[id(op.input("y"))]


def _moved(op: mil.Op, known: Bounds) -> Interval:
    return _x(op, known)


def _union(*parts: Interval) -> Interval:
    return Interval(min(p.low for p in parts), max(p.high for p in parts))


def _add(op: mil.Op, known: Bounds) -> Interval:
    x, y = _xy(op, known)
    return Interval(x.low + y.low, x.high + y.high)


def _sub(op: mil.Op, known: Bounds) -> Interval:
    x, y = _xy(op, known)
    high = x.high - y.low
    if _is_maximum_of(op.input("y"), base(op.input("x"))):
        high = 0.0
    return Interval(x.low - y.high, high)


def _is_maximum_of(value: mil.Value, x: mil.Value) -> bool:
    """Whether `value` is the maximum of x along some axes, as softmax subtracts it."""
    op = base(value).op
    if op is not None and op.opcode == "maximum":  # with the mask's value, where all is masked
        sides = [s for s in (op.input("x"), op.input("y")) if s.constant is None]
        op = base(sides[0]).op if len(sides) == 1 else None
    return op is not None and op.opcode == "reduce_max" and base(op.input("x")) is x


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _mul(op: mil.Op, known: Bounds) -> Interval:
    x, y = _xy(op, known)
    if is_square(op):
        return Interval(0, _times(x.magnitude, x.magnitude))
    ends = [_times(a, b) for a in (x.low, x.high) for b in (y.low, y.high)]
    return Interval(min(ends), max(ends))


def _square(op: mil.Op, known: Bounds) -> Interval:
    magnitude = _x(op, known).magnitude
    return Interval(0, magnitude * magnitude)


def _div(op: mil.Op, known: Bounds) -> Interval:
    x, y = _xy(op, known)
    if _is_largest_of(op.input("y"), base(op.input("x")), known):
        return Interval(-1, 1)
    if y.low <= 0 <= y.high:
        same_sign = x.low >= 0 and y.low >= 0
        return Interval(0, math.inf) if same_sign else ANYTHING
    ends = [a / b for a in (x.low, x.high) for b in (y.low, y.high) if math.isfinite(b)]
    ends += [0.0] if not y.is_bounded else []
    return Interval(min(ends), max(ends)) if ends else ANYTHING


def _is_largest_of(value: mil.Value, x: mil.Value, known: Bounds) -> bool:
    """Whether `value` is at least the largest magnitude of x, as one divides by it."""
    op = base(value).op
    while op is not None and op.opcode in ("add", "maximum"):
        sides = [op.input("x"), op.input("y")]
        least = [s for s in sides if s.constant is not None]
        if len(least) != 1 or (op.opcode == "add" and known[id(least[0])].low < 0):
            return False
        op = base(next(s for s in sides if s.constant is None)).op
    if op is None or op.opcode != "reduce_max":
        return False
    magnitude = base(op.input("x")).op
    return magnitude is not None and magnitude.opcode == "abs" and base(magnitude.input("x")) is x


def _maximum(op: mil.Op, known: Bounds) -> Interval:
    x, y = _xy(op, known)
    return Interval(max(x.low, y.low), max(x.high, y.high))


def _minimum(op: mil.Op, known: Bounds) -> Interval:
    x, y = _xy(op, known)
    return Interval(min(x.low, y.low), min(x.high, y.high))


def _clip(op: mil.Op, known: Bounds) -> Interval:
    x = _x(op, known)
    low, high = float(op.params["alpha"]), float(op.params["beta"])
    return Interval(min(max(x.low, low), high), min(max(x.high, low), high))


def _exp(op: mil.Op, known: Bounds) -> Interval:
    x = _x(op, known)
    return Interval(math.exp(min(x.low, 80.0)), math.exp(x.high) if x.high < 80 else math.inf)


def _abs(op: mil.Op, known: Bounds) -> Interval:
    x = _x(op, known)
    low = 0.0 if x.low <= 0 <= x.high else min(abs(x.low), abs(x.high))
    return Interval(low, x.magnitude)


def _relu(op: mil.Op, known: Bounds) -> Interval:
    x = _x(op, known)
    return Interval(max(x.low, 0.0), max(x.high, 0.0))


def _sqrt(op: mil.Op, known: Bounds) -> Interval:
    high = _x(op, known).high
    return Interval(0, math.sqrt(max(high, 0.0)))


def _select(op: mil.Op, known: Bounds) -> Interval:
    return _union(known[id(op.input("a"))], known[id(op.input("b"))])


def _concat(op: mil.Op, known: Bounds) -> Interval:
    return _union(*(known[id(value)] for value in op.operands()))


def _pad(op: mil.Op, known: Bounds) -> Interval:
    return _union(_x(op, known), Interval(0, 0))


def _reduce_sum(op: mil.Op, known: Bounds) -> Interval:
    x, terms = _x(op, known), terms_of(op)
    return Interval(_times(terms, x.low), _times(terms, x.high))


def _reduce_sum_square(op: mil.Op, known: Bounds) -> Interval:
    magnitude = _x(op, known).magnitude
    return Interval(0, _times(terms_of(op), _times(magnitude, magnitude)))


def _layer_norm(op: mil.Op, known: Bounds) -> Interval:
    """At most the root of the row's length, and what gamma and beta make of that."""
    reach = math.sqrt(math.prod(op.result.shape[axis] for axis in op.params["axes"]))
    for name in ("gamma", "beta"):
        constant = op.input(name).constant if name in op.inputs else None
        if constant is not None:
            largest = float(np.abs(constant).max())
            reach = reach * largest if name == "gamma" else reach + largest
    return Interval(-reach, reach)


def _gelu(op: mil.Op, known: Bounds) -> Interval:
    return Interval(-0.2, max(_x(op, known).high, 0.0))


def _product(op: mil.Op, known: Bounds) -> Interval:
    x, y = (known[id(value)] for value in factors(op))
    reach = _times(contraction(op), _times(x.magnitude, y.magnitude))
    positive = x.low >= 0 and y.low >= 0
    return Interval(0.0 if positive else -reach, reach)


def terms_of(op: mil.Op) -> int:
    """Returns how many elements a reduction puts into one."""
    return op.input("x").type.size // max(op.result.type.size, 1)


def factors(op: mil.Op) -> tuple[mil.Value, mil.Value]:
    """Returns what a matmul or a convolution multiplies."""
    return op.input("x"), op.input("weight" if op.opcode == "conv" else "y")


def contraction(op: mil.Op) -> int:
    """Returns how many products a matmul or a convolution adds up."""
    if op.opcode == "conv":
        return math.prod(op.input("weight").shape[1:])
    return op.input("x").shape[-2 if op.params.get("transpose_x") else -1]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES, _moved),
    **dict.fromkeys(("reduce_max", "reduce_mean", "reduce_min", "floor", "ceil"), _moved),
    "abs": _abs,
    "add": _add,
    "clip": _clip,
    "concat": _concat,
    "conv": _product,
    "exp": _exp,
    "gelu": _gelu,
    "layer_norm": _layer_norm,
    "matmul": _product,
    "maximum": _maximum,
    "minimum": _minimum,
    "mul": _mul,
    "pad": _pad,
    "real_div": _div,
    "reduce_sum": _reduce_sum,
    "reduce_sum_square": _reduce_sum_square,
    "relu": _relu,
    "select": _select,
    "sqrt": _sqrt,
    "square": _square,
    "sub": _sub,
}
