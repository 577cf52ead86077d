# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in fp16, as far as a program shows it before it runs.

Each rule looks at one op, its operands' intervals and constants, some also at what becomes of its
result, and knows a remedy. A rule speaks
only where the program's shape gives reason: nothing bounds what an exponential gets, a sum is long
enough for values of ordinary size to overflow, a constant is not what the user wrote.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jax_ane.compiler import intervals, mil
from jax_ane.compiler.graph import Location
from jax_ane.compiler.intervals import Bounds, Interval

FP16_MAX = 65504.0
EXP_LIMIT = math.log(FP16_MAX)  # 11.09
SQUARE_LIMIT = math.sqrt(FP16_MAX)  # 255.9
MAC_LIMIT = 2.0**15  # partial sums are infinite from here on
MAC_STEP = 2.0**-16  # products are rounded to multiples of it
# Values of this size are nothing unusual in a network; a sum that overflows on them needs a word.
ORDINARY = 16.0
# Below this typical product a sum loses more than a few per cent of what it adds.
SMALL_PRODUCT = 2.0**-11


@dataclasses.dataclass(frozen=True, slots=True)
class Hazard:
    """One finding.

    Attributes:
        code: which rule found it.
        op: the MIL op.
        location: the user's line.
        value: the limit or constant that it is about.
        text: what can happen.
        remedy: what to do about it.
        is_note: it changes no result that matters; `strict` ignores it.
    """

    code: str
    op: str
    location: Location
    value: float
    text: str
    remedy: str
    is_note: bool = False

    def __str__(self) -> str:
        return f"{self.code}: {self.text} ({self.op} at {self.location}). Do: {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "op": self.op,
            "file": self.location.file,
            "line": self.location.line,
            "function": self.location.function,
            "value": self.value,
            "text": self.text,
            "remedy": self.remedy,
            "note": self.is_note,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a program, values by id.

    Attributes:
        known: their intervals.
        users: who reads them.
        outputs: which are outputs.
        under_roots: of which a reciprocal root is taken (`_find_under_roots`).
    """

    known: Bounds
    users: Mapping[int, list[mil.Op]]
    outputs: Collection[int]
    under_roots: set[int] = dataclasses.field(default_factory=set)

    def of(self, value: mil.Value) -> Interval:
        return self.known[id(value)]

    def readers(self, value: mil.Value) -> Sequence[mil.Op]:
        return self.users.get(id(value), ())


def find(program: mil.Program) -> tuple[Hazard, ...]:
    """Returns the hazards of a program, each cause once."""
    facts = _Facts(
        intervals.bounds(program), program.users(), {id(value) for value in program.outputs}
    )
    _find_under_roots(program, facts)
    found: dict[Hazard, None] = {}
    for op in program.ops:
        for rule in _RULES.get(op.opcode, ()):
            found.update(dict.fromkeys(rule(op, facts)))
    found.update(dict.fromkeys(_constants(program)))
    return tuple(found)


# ---------------------------------------------------------------------------- overflow


def _exponential(op: mil.Op, facts: _Facts) -> Iterator[Hazard]:
    high = facts.of(op.input("x")).high
    if high <= EXP_LIMIT or _only_divides(op.result, facts):
        return
    reach = "nothing bounds what it gets" if math.isinf(high) else f"it gets up to {high:.4g}"
    yield Hazard(
        "exp-overflow", op.opcode, op.location, EXP_LIMIT,
        f"exp is infinite above {EXP_LIMIT:.2f}, and {reach}",
        "subtract the maximum first, as jax.nn.softmax does, or clip the operand",
    )  # fmt: skip


def _only_divides(value: mil.Value, facts: _Facts, is_added_to: bool = False) -> bool:
    """Whether a value is only added to what is positive, and that only divides bounded numbers.

    So does the exponential in a sigmoid, 1 / (1 + exp(-x)): where it is infinite the quotient is 0,
    which is what it should be but for less than fp16 can tell from it.
    """
    readers = facts.readers(value)
    if id(value) in facts.outputs or not readers:
        return False
    return all(_divides(op, value, facts, is_added_to) for op in readers)


def _divides(op: mil.Op, value: mil.Value, facts: _Facts, is_added_to: bool) -> bool:
    if op.opcode in ("reshape", "transpose", "cast"):
        return _only_divides(op.result, facts, is_added_to)
    if op.opcode == "inverse":
        return is_added_to
    if op.opcode == "real_div":
        return is_added_to and op.inputs["x"] is not value and facts.of(op.input("x")).is_bounded
    if op.opcode != "add" or op.inputs["x"] is op.inputs["y"]:
        return False
    other = facts.of(op.input("y" if op.inputs["x"] is value else "x"))
    return other.is_bounded and other.low >= 0 and _only_divides(op.result, facts, True)


def _square(op: mil.Op, facts: _Facts) -> Iterator[Hazard]:
    if op.opcode == "mul" and not intervals.is_square(op):
        return
    magnitude = facts.of(op.input("x")).magnitude
    if magnitude <= SQUARE_LIMIT or id(op.result) not in facts.under_roots:
        return
    if op.opcode == "reduce_sum_square" and any(_sum(op, facts)):
        return
    unbounded = math.isinf(magnitude)
    reach = "nothing bounds them" if unbounded else f"they may be as large as {magnitude:.4g}"
    yield Hazard(
        "square-overflow", op.opcode, op.location, SQUARE_LIMIT,
        f"squares of values above {SQUARE_LIMIT:.1f} are infinite, and {reach}; one over their "
        f"root is then 0, and so is all that it scales and every gradient through it, without an "
        f"infinity or a NaN to see",
        "keep the norm in float32 with jax_ane.full_precision, clip the values to 255, or divide "
        "them by their largest magnitude first",
    )  # fmt: skip


def _find_under_roots(program: mil.Program, facts: _Facts) -> None:
    """Finds the values that end in a reciprocal root, over sums, factors and additions.

    Where a sum on the way is a hazard by itself, that one is enough; a clip leaves no infinity.
    """
    roots: set[int] = set()  # values that end in a division, should they be roots
    under = facts.under_roots
    for op in reversed(program.ops):
        result = id(op.result)
        for value in op.operands():
            if op.opcode == "rsqrt" or (op.opcode == "pow" and facts.of(op.input("y")).high < 0):
                under.add(id(value))
            elif op.opcode == "inverse" or (op.opcode == "real_div" and op.inputs["y"] is value):
                roots.add(id(value))
            elif op.opcode == "sqrt" and result in roots:
                under.add(id(value))
            elif op.opcode in _CARRY or (op.opcode in ("mul", "real_div") and _scales(op, value)):
                if result in under and not (op.opcode == "reduce_sum" and any(_sum(op, facts))):
                    under.add(id(value))
                if result in roots:
                    roots.add(id(value))


def _scales(op: mil.Op, value: mil.Value) -> bool:
    """Whether an op multiplies or divides a value by a constant."""
    other = op.input("y" if op.inputs["x"] is value else "x")
    return other.constant is not None


def _sum(op: mil.Op, facts: _Facts) -> Iterator[Hazard]:
    terms, x = intervals.terms_of(op), facts.of(op.input("x"))
    if facts.of(op.result).magnitude <= FP16_MAX:
        return
    producer = intervals.base(op.input("x")).op
    squares = op.opcode == "reduce_sum_square" or (
        producer is not None and intervals.is_square(producer)
    )
    limit = math.sqrt(FP16_MAX / terms) if squares else FP16_MAX / terms
    if not x.is_bounded and limit > (ORDINARY / 2 if squares else ORDINARY):
        return
    what = (
        "squares overflows where their root mean square"
        if squares
        else ("values overflows where their mean")
    )
    yield Hazard(
        "sum-overflow", op.opcode, op.location, limit,
        f"a sum of {terms:,} {what} is above {limit:.3g}",
        "scale the values down before the sum, or keep it in float32 with jax_ane.place('host')",
    )  # fmt: skip


def _accumulator(op: mil.Op, facts: _Facts) -> Iterator[Hazard]:
    x, y = (facts.of(value) for value in intervals.factors(op))
    terms = intervals.contraction(op)
    if not (x.is_bounded and y.is_bounded):
        return
    reach = terms * x.magnitude * y.magnitude
    if reach < MAC_LIMIT:
        return
    yield Hazard(
        "mac-overflow", op.opcode, op.location, MAC_LIMIT,
        f"a sum of {terms:,} products of up to {x.magnitude:.3g} and {y.magnitude:.3g} may pass "
        f"2^15, where the accumulator stays infinite",
        "scale an operand down and the result up",
    )  # fmt: skip


# ---------------------------------------------------------------------------- underflow


def _dropped_products(op: mil.Op, facts: _Facts) -> Iterator[Hazard]:
    typical = [_typical(value, facts.known) for value in intervals.factors(op)]
    product = math.prod(1.0 if t is None else t for t in typical)
    if product >= SMALL_PRODUCT:
        return
    yield Hazard(
        "dropped-products", op.opcode, op.location, MAC_STEP,
        f"products of about {product:.2g} are rounded to multiples of 2^-16, the smaller half of "
        f"them to nothing",
        "scale an operand up and the result down by a power of two",
    )  # fmt: skip


def _typical(value: mil.Value, known: Bounds) -> float | None:
    """Returns the root mean square of a constant, or the mean of a softmax; None when unknown."""
    origin = intervals.base(value)
    if origin.constant is not None:
        return float(np.sqrt(np.mean(np.square(origin.constant.astype(np.float64)))))
    op = origin.op
    if op is not None and op.opcode == "softmax":
        return 1.0 / op.result.shape[op.params["axis"]]
    if op is not None and op.opcode == "real_div":
        total = intervals.base(op.input("y")).op
        dividend = intervals.base(op.input("x"))
        if total is not None and total.opcode == "reduce_sum":
            is_softmax = intervals.base(total.input("x")) is dividend
            return 1.0 / intervals.terms_of(total) if is_softmax else None
    magnitude = known[id(value)].magnitude
    return magnitude if 0 < magnitude < SMALL_PRODUCT else None


def _logarithm(op: mil.Op, facts: _Facts) -> Iterator[Hazard]:
    x = facts.of(op.input("x"))
    producer = intervals.base(op.input("x")).op
    if x.low > 0 or x.high > 1 or producer is None:
        return
    yield Hazard(
        "log-of-underflow", op.opcode, op.location, 2.0**-24,
        "probabilities below 6e-8 are 0 in fp16, and so is what tells their logarithms apart",
        "use jax.nn.log_softmax or jax.nn.log_sigmoid",
    )  # fmt: skip


# ---------------------------------------------------------------------------- constants


def _constants(program: mil.Program) -> Iterator[Hazard]:
    users = program.users() if program.rounded else {}
    for rounded in program.rounded:
        for user in users.get(id(rounded.value), ())[:1]:
            # The maximum with -inf, by which jax.nn.softmax starts, is the other operand.
            if not (user.opcode == "maximum" and rounded.given < -FP16_MAX):
                yield _constant(rounded, user)


def _constant(rounded: mil.Rounded, user: mil.Op) -> Hazard:
    assert rounded.value.constant is not None
    held = rounded.value.constant.astype(np.float64).reshape(-1)
    given = rounded.given
    near = float(held[np.argmin(np.abs(held - np.clip(given, -FP16_MAX, FP16_MAX)))])
    if abs(given) > FP16_MAX:
        is_mask = user.opcode in ("select", "add") and given < 0
        return Hazard(
            "mask" if is_mask else "constant-overflow", user.opcode, user.location, given,
            f"{given:.4g} is held as {near:.6g}" + (", which exp takes to 0" if is_mask else ""),
            "nothing" if is_mask else "use a constant within 65504",
            is_note=is_mask,
        )  # fmt: skip
    return Hazard(
        "constant-rounded", user.opcode, user.location, given,
        f"{given:.4g} is held as {near:.4g}, {100 * abs(near / given - 1):.1f} % off: fp16 has no "
        f"more digits there",
        "use a constant of at least 6e-5, or keep the line in float32 with jax_ane.place('host')",
    )  # fmt: skip


# What a square goes through on its way to a root and stays infinite.
_CARRY = frozenset({
    "add", "cast", "maximum", "reduce_max", "reduce_mean", "reduce_sum", "relu", "reshape", "sub",
    "transpose",
})  # fmt: skip
_RULES: dict[str, tuple[Callable[[mil.Op, _Facts], Iterator[Hazard]], ...]] = {
    "exp": (_exponential,),
    "log": (_logarithm,),
    **dict.fromkeys(("conv", "matmul"), (_accumulator, _dropped_products)),
    "reduce_sum": (_sum,),
    "reduce_sum_square": (_sum, _square),
    **dict.fromkeys(("mul", "square"), (_square,)),
}
