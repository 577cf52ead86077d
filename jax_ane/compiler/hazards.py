# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in fp16, as far as a program shows it before it runs.

Each rule looks at one op, its operands' intervals and constants, and knows a remedy. A rule speaks
only where the program's shape gives reason: nothing bounds what an exponential gets, a sum is long
enough for values of ordinary size to overflow, a constant is not what the user wrote.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jax_ane.compiler import intervals, mil
from jax_ane.compiler.graph import Location
from jax_ane.compiler.intervals import Bounds

FP16_MAX = 65504.0
EXP_LIMIT = math.log(FP16_MAX)  # 11.09
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


def find(program: mil.Program) -> tuple[Hazard, ...]:
    """Returns the hazards of a program, each cause once."""
    known = intervals.bounds(program)
    found: dict[Hazard, None] = {}
    for op in program.ops:
        for rule in _RULES.get(op.opcode, ()):
            found.update(dict.fromkeys(rule(op, known)))
    found.update(dict.fromkeys(_constants(program)))
    return tuple(found)


# ---------------------------------------------------------------------------- overflow


def _exponential(op: mil.Op, known: Bounds) -> Iterator[Hazard]:
    high = known[id(op.input("x"))].high
    if high <= EXP_LIMIT:
        return
    reach = "nothing bounds what it gets" if math.isinf(high) else f"it gets up to {high:.4g}"
    yield Hazard(
        "exp-overflow", op.opcode, op.location, EXP_LIMIT,
        f"exp is infinite above {EXP_LIMIT:.2f}, and {reach}",
        "subtract the maximum first, as jax.nn.softmax does, or clip the operand",
    )  # fmt: skip


def _sum(op: mil.Op, known: Bounds) -> Iterator[Hazard]:
    terms, x = intervals.terms_of(op), known[id(op.input("x"))]
    if known[id(op.result)].magnitude <= FP16_MAX:
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


def _accumulator(op: mil.Op, known: Bounds) -> Iterator[Hazard]:
    x, y = (known[id(value)] for value in intervals.factors(op))
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


def _dropped_products(op: mil.Op, known: Bounds) -> Iterator[Hazard]:
    typical = [_typical(value, known) for value in intervals.factors(op)]
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


def _logarithm(op: mil.Op, known: Bounds) -> Iterator[Hazard]:
    x = known[id(op.input("x"))]
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


_RULES: dict[str, tuple[Callable[[mil.Op, Bounds], Iterator[Hazard]], ...]] = {
    "exp": (_exponential,),
    "log": (_logarithm,),
    **dict.fromkeys(("conv", "matmul"), (_accumulator, _dropped_products)),
    "reduce_sum": (_sum,),
    "reduce_sum_square": (_sum,),
}
