# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from pass_tools import (
    SIMPLE,
    Maker,
    assert_same_bits,
    assert_within_ulp,
    clean,
    evaluate,
    on_and_off,
    opcodes,
    programs,
)

from jax_ane.compiler.passes.drop_identities import drop_identities
from jax_ane.compiler.passes.simplify_arithmetic import simplify_arithmetic


def simplified(build):
    """Builds a program by a function of (maker, x, y); returns it simplified, and plain."""
    made = []
    for _ in range(2):
        m = Maker()
        made.append(m.finish(*build(m, m.x(4, 8), m.x(4, 8))))
    clean(made[0], simplify_arithmetic, drop_identities)
    return made


def chain(*steps):
    def build(m, x, y):
        for opcode, number in steps:
            x = m.binary(opcode, x, number)
        return [m.unary("tanh", x)]

    return build


@pytest.mark.parametrize(
    "steps, left",
    [
        ([("mul", 2.0), ("mul", 0.5)], []),
        ([("mul", -1.0), ("mul", -1.0)], []),
        ([("mul", 4.0), ("mul", -0.25)], ["mul"]),
        ([("real_div", 8.0), ("mul", 3.0)], ["mul"]),
        ([("real_div", 4.0)], ["mul"]),
        ([("add", 1.0), ("add", 2.0)], ["add"]),
        ([("sub", 1.0), ("sub", 2.0), ("sub", 4.0)], ["add"]),
        ([("maximum", -65504.0)], []),
        ([("minimum", 65504.0), ("maximum", -65504.0)], []),
    ],
)
def test_merges_constants(steps, left):
    on, off = simplified(chain(*steps))
    assert opcodes(on) == [*left, "tanh"]
    assert_same_bits(evaluate(on), evaluate(off))


@pytest.mark.parametrize(
    "steps",
    [
        [("mul", 2.0**-12), ("mul", 2.0**-12)],  # the product is no normal number
        [("mul", 60000.0), ("mul", 2.0)],  # nor is this
        [("mul", 0.0), ("mul", 2.0)],
        [("add", 1024.0), ("add", -1024.0)],  # rounds x, and may mean to
        [("add", 1024.0), ("sub", 1024.0)],
        [("real_div", 3.0)],
        [("real_div", 2.0**15)],
        [("maximum", -65472.0)],
        [("minimum", -65504.0)],
        [("maximum", 65504.0)],
    ],
)
def test_near_misses_are_not_merged(steps):
    on, off = simplified(chain(*steps))
    assert len(opcodes(on)) == len(opcodes(off))
    assert_same_bits(evaluate(on), evaluate(off))


def test_a_value_that_others_read_is_not_merged():
    on, off = simplified(lambda m, x, y: [m.binary("mul", v := m.binary("mul", x, 2.0), 4.0), v])
    assert len(opcodes(on)) == len(opcodes(off)) == 2


def test_adds_and_subtracts_negatives():
    def build(m, x, y):
        negative = m.binary("mul", y, -1.0)
        return [m.binary("add", x, negative)]

    on, off = simplified(build)
    assert opcodes(on) == ["sub"]
    assert_same_bits(evaluate(on), evaluate(off))

    on, off = simplified(lambda m, x, y: [m.binary("sub", x, m.binary("mul", y, -1.0))])
    assert opcodes(on) == ["add"]
    assert_same_bits(evaluate(on), evaluate(off))


def test_the_negative_of_a_minuend_is_not_touched():
    on, _ = simplified(lambda m, x, y: [m.binary("sub", m.binary("mul", y, -1.0), x)])
    assert opcodes(on) == ["mul", "sub"]


def test_select_of_one_value_is_that_value():
    def build(m, x, y):
        e = m.unary("exp", x)
        return [m.unary("tanh", m.op("select", {"cond": m.binary("less", x, y), "a": e, "b": e}))]

    assert opcodes(simplified(build)[0]) == ["exp", "tanh"]


def test_factors_that_broadcast_are_not_merged():
    def build(m, x, y):
        row = m.constant(np.full((1, 1, 1), 2.0).repeat(2, axis=0))
        return [m.binary("mul", m.binary("mul", row, x), 4.0)]

    on, off = simplified(build)
    assert len(opcodes(on)) == len(opcodes(off))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs("mul_number", "real_div_number", "add", "sub", "abs", "transpose"))
def test_random_products_stay_within_an_ulp_a_merge(instructions):
    on, off = on_and_off(instructions, simplify_arithmetic)
    if not all(np.isfinite(a).all() and (np.abs(a) < 30000).all() for a in off):
        return
    # Each merge saves a rounding of a value that is at most what follows can make larger: a sum
    # of values that nearly cancel keeps the error of its terms.
    assert_within_ulp(on, off, 2.0 * len(instructions), of=8.0 ** len(instructions))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*(k for k in SIMPLE if not k.endswith("_number")), "repeat"))
def test_random_programs_without_numbers_keep_their_bits(instructions):
    assert_same_bits(*on_and_off(instructions, simplify_arithmetic))
