# SPDX-License-Identifier: Apache-2.0
"""Recognises activations that are one operation of the chip.

before:  v1 = abs(x = a); v2 = add(x = v1, y = 1); v3 = real_div(x = a, y = v2)
after:   v3 = softsign(x = a)

`relu`, `relu6`, `clip`, `leaky_relu` and `softsign` by their shape. jax's exact gelu, an
erfc of two polynomials (67 ops, spelled differently by each version), by its values: each chain of
elementwise ops with scalar constants is evaluated in float64 at some points and compared. It
becomes x * (1 + erf(x / sqrt 2)) / 2. The chip's own `gelu` is a table that is wrong by 2.4e-3
(relative L2, inputs of N(0, 1)), four times as much as the short spellings, so these stay.

1 / (1 + exp(-x)) stays spelled out, too: it is wrong by 3.3e-4 where the chip's `sigmoid` is by
2.7e-3 and its `silu` by 8.1e-3, and a Llama's outputs were by 2.5e-3 in place of 5.1e-3. `softplus`
collapses above 10.4.
All ops raised here are native on every chip (op-legality.csv).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.rewrite import Edit, Uses, scalar, scalar_operand, turn_into

Rule = Callable[[mil.Op, Uses, Edit], bool]


def raise_activations(program: mil.Program) -> int:
    """Raises in place and returns how many activations were found."""
    uses, edit = Uses(program), Edit(program)
    finder = _GeluFinder(uses, edit)
    search = any(op.opcode in ("tanh", "erf", "exp") for op in program.ops)
    count = 0
    for op in program.ops:
        rule = _RULES.get(op.opcode)
        raised = rule is not None and rule(op, uses, edit)
        if search and not raised:
            raised = finder.visit(op)
        count += raised
    edit.commit()
    return count


# ---------------------------------------------------------------------------- by shape


def _raise_maximum(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    split = scalar_operand(op, "maximum")
    if split is None:
        return False
    if split[1] == 0.0 and not _inner(split[0], "minimum", uses, op):
        turn_into(op, "relu", {"x": split[0]})
        return True
    return _into_clip(op, split, "minimum", uses)


def _raise_minimum(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    split = scalar_operand(op, "minimum")
    if split is None:
        return False
    source = split[0].op
    if source is not None and source.opcode == "relu" and uses.only_user(split[0]) is op:
        if split[1] == 6.0:
            turn_into(op, "relu6", {"x": source.input("x")})
            return True
        if split[1] > 0:
            _turn_into_clip(op, source.input("x"), 0.0, split[1])
            return True
        return False
    return _into_clip(op, split, "maximum", uses)


def _into_clip(op: mil.Op, outer: tuple[mil.Value, float], opcode: str, uses: Uses) -> bool:
    inner = _inner(outer[0], opcode, uses, op)
    if inner is None:
        return False
    low, high = sorted((inner[1], outer[1]))
    if (inner[1] == low) != (opcode == "maximum") or low == high:
        return False  # the bounds cross: the result is a constant
    _turn_into_clip(op, inner[0], low, high)
    return True


def _turn_into_clip(op: mil.Op, x: mil.Value, low: float, high: float) -> None:
    turn_into(op, "clip", {"x": x}, {"alpha": np.float16(low), "beta": np.float16(high)})


def _inner(
    value: mil.Value, opcode: str, uses: Uses, reader: mil.Op
) -> tuple[mil.Value, float] | None:
    if value.op is None or uses.only_user(value) is not reader:
        return None
    return scalar_operand(value.op, opcode)


def _raise_select(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    """select(x >= 0, x, alpha * x), select(x > c, c, x) and their mirror images."""
    cond = op.input("cond").op
    if cond is None or cond.opcode not in ("greater", "greater_equal", "less", "less_equal"):
        return False
    x, bound = cond.input("x"), scalar(cond.input("y"))
    if bound is None or x.type != op.result.type:
        return False
    above, below = op.input("a"), op.input("b")
    if cond.opcode.startswith("less"):
        above, below = below, above
    if bound == 0.0 and above is x and below.op is not None:
        split = scalar_operand(below.op, "mul")
        if split is not None and split[0] is x and below.op in uses.dying(op, kept=(x,)):
            turn_into(op, "leaky_relu", {"x": x}, {"alpha": np.float16(split[1])})
            return True
    if cond not in uses.dying(op, kept=(above, below)):
        return False
    if scalar(above) == bound and _follows(below, x, bound):
        turn_into(op, "minimum", {"x": below, "y": above})
        return True
    if scalar(below) == bound and above is x:
        turn_into(op, "maximum", {"x": above, "y": below})
        return True
    return False


def _follows(value: mil.Value, x: mil.Value, bound: float) -> bool:
    """Whether value is x, or x bounded from below by no more than `bound`."""
    if value is x:
        return True
    split = scalar_operand(value.op, "maximum") if value.op is not None else None
    return split is not None and split[0] is x and split[1] <= bound


def _raise_quotient(op: mil.Op, uses: Uses, edit: Edit) -> bool:
    """x / (1 + |x|)."""
    shifted = op.input("y").op
    split = scalar_operand(shifted, "add") if shifted is not None else None
    if shifted is None or split is None or split[1] != 1.0 or split[0].op is None:
        return False
    grown = split[0].op
    if grown.opcode != "abs" or grown.input("x") is not op.input("x"):
        return False
    if grown not in uses.dying(op) or grown.result.type != op.result.type:
        return False
    turn_into(op, "softsign", {"x": op.input("x")})
    return True


_RULES: dict[str, Rule] = {
    "maximum": _raise_maximum,
    "minimum": _raise_minimum,
    "select": _raise_select,
    "real_div": _raise_quotient,
}


# ---------------------------------------------------------------------------- by value

_HALF = np.array([0.01, 0.1, 0.3, 0.6, 0.9, 1.2, 1.39, 1.45, 1.8, 2.2, 2.7, 3.3, 4, 5, 8, 30])
_POINTS = np.concatenate([-_HALF[::-1], _HALF])
_MAX_SOURCES = 12
_LEAST_OPS = 12  # that a gelu must make superfluous: the spellings by tanh and erf are shorter


def _erf(values: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in values.ravel()]).reshape(values.shape)


_GELU = 0.5 * _POINTS * (1 + _erf(_POINTS / np.sqrt(2)))
# Constants are fp16 by now: jax's polynomials then miss the function by up to 7e-4.
_ABSOLUTE, _RELATIVE = 1e-3, 1e-3

_EVALUATE: dict[str, Callable[..., np.ndarray]] = {
    "abs": np.abs,
    "add": np.add,
    "erf": _erf,
    "exp": np.exp,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mul": np.multiply,
    "real_div": np.divide,
    "select": np.where,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "square": np.square,
    "sub": np.subtract,
    "tanh": np.tanh,
}
_ORDER = ("cond", "a", "b", "x", "y")


class _GeluFinder:
    """Walks a program in order and keeps, for each value, its samples as a function of others.

    A source is a value that more than one op reads, as gelu's input is. Only the last few sources
    that a value depends on, and on nothing else, are kept, so that the walk is linear.
    """

    def __init__(self, uses: Uses, edit: Edit) -> None:
        self._uses, self._edit = uses, edit
        self._samples: dict[int, dict[int, np.ndarray]] = {}  # by id(value), then by source
        self._sources: list[mil.Value] = []

    def visit(self, op: mil.Op) -> bool:
        """Notes an op's samples, and spells it by `erf` if they are gelu's."""
        function = _EVALUATE.get(op.opcode)
        if function is None:
            return False
        columns: list[float | dict[int, np.ndarray]] = []
        for name in _ORDER:
            if name not in op.inputs:
                continue
            value = op.input(name)
            number = scalar(value)
            columns.append(self._of(value) if number is None else number)
        tables = [set(column) for column in columns if isinstance(column, dict)]
        sources = sorted(set[int].intersection(*tables) if tables else set[int]())[-_MAX_SOURCES:]
        with np.errstate(all="ignore"):
            samples = {
                source: function(*(c[source] if isinstance(c, dict) else c for c in columns))
                for source in sources
            }
        if samples:
            self._samples[id(op.result)] = samples
        return op.opcode == "mul" and self._raise(op, samples)

    def _of(self, value: mil.Value) -> dict[int, np.ndarray]:
        """Returns a value's samples by source, itself included if it is one."""
        samples = self._samples.setdefault(id(value), {})
        is_source = any(self._sources[number] is value for number in samples)
        if value.constant is None and not is_source and len(self._uses.of(value)) > 1:
            samples[len(self._sources)] = _POINTS
            self._sources.append(value)
        return samples

    def _raise(self, op: mil.Op, samples: dict[int, np.ndarray]) -> bool:
        for number, values in samples.items():
            x = self._sources[number]
            if x.type != op.result.type:
                continue
            close = np.abs(values - _GELU) <= _ABSOLUTE + _RELATIVE * np.abs(_GELU)
            if close.all() and len(self._uses.dying(op, kept=(x,))) >= _LEAST_OPS:
                self._spell(op, x)
                return True
        return False

    def _spell(self, op: mil.Op, x: mil.Value) -> None:
        """Turns `op` into x * (1 + erf(x / sqrt 2)) / 2."""

        def step(opcode: str, value: mil.Value, number: float | None = None) -> mil.Value:
            inputs = {"x": value}
            if number is not None:
                inputs["y"] = self._edit.constant(op, number)
            return self._edit.op(op, opcode, inputs)

        grown = step("add", step("erf", step("mul", x, math.sqrt(0.5))), 1.0)
        turn_into(op, "mul", {"x": x, "y": step("mul", grown, 0.5)})
