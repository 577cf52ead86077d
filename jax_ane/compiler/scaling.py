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
from collections.abc import Callable, Collection

from jax_ane.compiler import mil

NAME = "scale_operands"
# A lone product is left as it is: a backward pass has one for the input and one for the weights.
LEAST_PRODUCTS = 2
_MOST_MERGES = 8  # inputs that must be scaled together


@dataclasses.dataclass(frozen=True, slots=True)
class Scaling:
    """Positions of the inputs that are scaled and of the outputs that are scaled with them."""

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


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

    Args:
        program: the program after its passes.
        allowed: positions of the inputs that may be scaled at all.
    """
    alias = list(range(len(program.inputs)))
    for _ in range(_MOST_MERGES if allowed else 0):
        analysis = _Analysis(program, alias, allowed)
        chosen = analysis.best()
        if chosen is not None:
            return analysis.scaling(chosen)
        pair = analysis.conflict()
        if pair is None:
            break
        kept, other = pair
        alias = [kept if a == other else a for a in alias]
    return NOTHING


class _Analysis:
    """One pass over the program; inputs of one alias are scaled together."""

    def __init__(self, program: mil.Program, alias: list[int], allowed: Collection[int]) -> None:
        self.program, self.alias = program, alias
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
        if common == 0 and len(terms) == 2 and len(self.conflicts) < 64:
            self._note(terms[0], terms[1])
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

    def _is_scalable(self, bit: int) -> bool:
        mask = 1 << bit
        degrees = (self.degrees[id(value)] for value in self.program.outputs)
        return all(not d.depends & mask or d.linear & mask for d in degrees)

    def best(self) -> int | None:
        """Returns the alias behind most products that every output allows to scale."""
        sizes = {
            bit: sum(v.type.size for v, a in zip(self.program.inputs, self.alias, strict=True)
                     if a == bit)
            for bit in self.products
        }  # fmt: skip
        ranked = sorted(self.products, key=lambda bit: (-self.products[bit], sizes[bit], bit))
        for bit in ranked:
            if self.products[bit] < LEAST_PRODUCTS:
                break
            if self._is_scalable(bit):
                return bit
        return None

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
