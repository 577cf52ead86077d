# SPDX-License-Identifier: Apache-2.0
"""`scale_operands`: which inputs of a program may be scaled by a power of two, and undone after.

Gradients are small: of a loss that is a mean over tokens, most lie below fp16's subnormals or below
2^-16, the step of the MAC's accumulator. But a backward pass is linear in the gradients that enter
it. So where every output of a program is linear in some inputs, or independent of them, these
inputs are multiplied by a power of two while they are converted to fp16, and the linear outputs
divided by it while they are converted back: no op more, and exact but for what fp16 now keeps.

The scale is chosen at each call from the inputs' magnitude alone (pjrt_plugin/runtime/scaling.h).

Before: 3e-8 * w drops out.    After: (3e-8 * 2^20) * w, and the sum divided by 2^20 in float32.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection

from jax_ane.compiler import lifting, mil

NAME = "scale_operands"
_MOST_MERGES = 12  # inputs that must be scaled together
_MOST_JOINED = 4  # further groups of inputs that take the same scale
# Inputs are scaled where their largest magnitude lies below 2^this. A backward pass has a product
# for the input and one for the weights; a lone product may be any, so only small inputs count.
BELOW, BELOW_LONE = 5, -6


@dataclasses.dataclass(frozen=True, slots=True)
class Scaling:
    """Positions of the inputs that are scaled and of the outputs that are scaled with them.

    Larger inputs than 2^`below` stay as they are. `lifted` has each output's own exponent, which
    the program's constants hold (lifting.py); empty where all are 0.
    """

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    below: int = BELOW
    lifted: tuple[int, ...] = ()


NOTHING = Scaling()


@dataclasses.dataclass(slots=True)
class _Degree:
    """In which inputs a value is homogeneous of degree one, and on which it depends (bits)."""

    linear: int = 0
    depends: int = 0
    is_zero: bool = False


_KEEP = (
    "abs", "cast", "expand_dims", "leaky_relu", "pad", "reduce_max", "reduce_mean", "reduce_min",
    "reduce_sum", "relu", "reshape", "reverse", "slice_by_index", "slice_by_size", "squeeze",
    "transpose",
)  # fmt: skip
_SUMS = ("add", "sub", "maximum", "minimum", "concat", "select")
_PRODUCTS = ("mul", "matmul", "conv")


def find(program: mil.Program, allowed: Collection[int]) -> Scaling:
    """Returns the inputs to scale, those behind most products; empty where none may be.

    Small constants behind them are lifted, in place.

    Args:
        program: the program after its passes.
        allowed: positions of the inputs that may be scaled at all.
    """
    if not allowed:
        return NOTHING
    alias = list(range(len(program.inputs)))
    most, best = 1, None
    for _ in range(_MOST_MERGES):
        analysis = _Analysis(program, alias, allowed)
        chosen = analysis.best()
        if chosen is not None and analysis.products[chosen] > most:
            most, best = analysis.products[chosen], (analysis, chosen)
        pair = analysis.conflict()
        if pair is None:
            break
        alias = _merged(alias, *pair)
    if best is None:
        return _lone(program, allowed)
    analysis, chosen = _joined(*best), best[1]
    found = analysis.scaling(chosen)
    exponents = lifting.lift(program, lambda value: analysis.is_linear(value, chosen))
    lifted = tuple(exponents.get(id(value), 0) for value in program.outputs)
    return dataclasses.replace(found, lifted=lifted) if any(lifted) else found


def _merged(alias: list[int], kept: int, other: int) -> list[int]:
    return [kept if a == other else a for a in alias]


def _joined(analysis: _Analysis, chosen: int) -> _Analysis:
    """Adds the other inputs that may be scaled, as far as they may be together."""
    others = [bit for bit in analysis.ranked() if bit != chosen and analysis.is_scalable(bit)]
    for other in others[:_MOST_JOINED]:
        alias = _merged(analysis.alias, chosen, other)
        together = _Analysis(analysis.program, alias, analysis.allowed)
        if together.is_scalable(chosen):
            analysis = together
    return analysis


def _lone(program: mil.Program, allowed: Collection[int]) -> Scaling:
    """Scales the one input of a lone product that may be: a first layer's gradient is such."""
    analysis = _Analysis(program, list(range(len(program.inputs))), allowed)
    found = [bit for bit in analysis.ranked() if analysis.is_scalable(bit)]
    if len(analysis.products) != 1 or not found:
        return NOTHING
    return dataclasses.replace(analysis.scaling(found[0]), below=BELOW_LONE)


class _Analysis:
    """One pass over the program; inputs of one alias are scaled together."""

    def __init__(self, program: mil.Program, alias: list[int], allowed: Collection[int]) -> None:
        self.program, self.alias, self.allowed = program, alias, allowed
        self.degrees: dict[int, _Degree] = {}
        self.products: dict[int, int] = {}  # alias -> products whose result is linear in it
        self.conflicts: list[tuple[int, int]] = []  # (linear on one side only, on the other only)
        for position, value in enumerate(program.inputs):
            # What may not be scaled is like a constant.
            bit = 1 << alias[position] if position in allowed else 0
            self.degrees[id(value)] = _Degree(bit, bit)
        for op in program.ops:
            self.degrees[id(op.result)] = self._degree(op)
            if op.opcode in ("matmul", "conv"):
                for bit in _bits(self.degrees[id(op.result)].linear):
                    self.products[bit] = self.products.get(bit, 0) + 1

    def _degree(self, op: mil.Op) -> _Degree:
        if op.value is not None:
            return _Degree(is_zero=not op.value.any())
        operands = [self.degrees[id(value)] for value in op.operands()]
        depends = 0
        for operand in operands:
            depends |= operand.depends
        rule = _RULES.get(op.opcode)
        return _Degree(rule(self, op, operands), depends) if rule else _Degree(0, depends)

    def _keep(self, op: mil.Op, operands: list[_Degree]) -> int:
        if op.opcode == "pad" and op.params.get("constant_val"):
            return 0
        return operands[0].linear

    def _sum(self, op: mil.Op, operands: list[_Degree]) -> int:
        common = -1
        if op.opcode == "select":
            condition, *operands = operands
            common = ~condition.depends  # a mask that does not know the scale
        terms = [operand for operand in operands if not operand.is_zero]
        if not terms:
            return 0
        for term in terms:
            common &= term.linear
        if common == 0 and len(self.conflicts) < 64:
            for a, b in itertools.pairwise(terms):
                self._note(a, b)
        return common

    def _note(self, a: _Degree, b: _Degree) -> None:
        """Remembers two inputs that would have to be scaled together for this sum."""
        left, right = a.linear & ~b.depends, b.linear & ~a.depends
        for i in _bits(left):
            for j in _bits(right):
                self.conflicts.append((i, j))

    def _product(self, op: mil.Op, operands: list[_Degree]) -> int:
        if op.opcode == "mul" and op.input("x") is op.input("y"):
            return 0
        x, y = operands[:2]
        return (x.linear & ~y.depends) | (y.linear & ~x.depends)

    def _quotient(self, op: mil.Op, operands: list[_Degree]) -> int:
        x, y = operands
        return x.linear & ~y.depends

    def is_linear(self, value: mil.Value, bit: int) -> bool:
        return bool(self.degrees[id(value)].linear >> bit & 1)

    def is_scalable(self, bit: int) -> bool:
        """Whether every output is linear in an alias or does not depend on it."""
        mask = 1 << bit
        degrees = (self.degrees[id(value)] for value in self.program.outputs)
        return all(not d.depends & mask or d.linear & mask for d in degrees)

    def ranked(self) -> list[int]:
        """Returns the aliases behind products, those behind most first."""
        sizes = {
            bit: sum(v.type.size for v, a in zip(self.program.inputs, self.alias, strict=True)
                     if a == bit)
            for bit in self.products
        }  # fmt: skip
        return sorted(self.products, key=lambda bit: (-self.products[bit], sizes[bit], bit))

    def best(self) -> int | None:
        """Returns the alias behind most products that every output allows to scale."""
        return next((bit for bit in self.ranked() if self.is_scalable(bit)), None)

    def conflict(self) -> tuple[int, int] | None:
        """Returns two aliases that stand in each other's way, those with most products first."""
        pairs = [(i, j) for i, j in self.conflicts if i != j]
        if not pairs:
            return None
        i, j = max(pairs, key=lambda p: self.products.get(p[0], 0) + self.products.get(p[1], 0))
        return min(i, j), max(i, j)

    def scaling(self, bit: int) -> Scaling:
        mask = 1 << bit
        degrees = [self.degrees[id(value)] for value in self.program.outputs]
        return Scaling(
            tuple(i for i, a in enumerate(self.alias) if a == bit),
            tuple(i for i, degree in enumerate(degrees) if degree.linear & mask),
        )


_Rule = Callable[[_Analysis, mil.Op, list[_Degree]], int]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_KEEP, _Analysis._keep),
    **dict.fromkeys(_SUMS, _Analysis._sum),
    **dict.fromkeys(_PRODUCTS, _Analysis._product),
    "real_div": _Analysis._quotient,
}


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
