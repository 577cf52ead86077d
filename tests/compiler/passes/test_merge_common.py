# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import HealthCheck, given, settings
from pass_tools import SIMPLE, Maker, assemble, clean, evaluate, opcodes, programs

from jax_ane.compiler.passes.merge_common import merge_common


def test_merges_equal_ops_and_what_follows_from_them():
    m = Maker()
    x = m.x(4, 8)
    one, two = (m.unary("tanh", m.binary("mul", x, 2.0)) for _ in range(2))
    program = m.finish(m.binary("add", one, two))
    assert clean(program, merge_common) == 2
    assert opcodes(program) == ["mul", "tanh", "add"]


def test_merges_either_order_of_a_sum_but_not_of_a_difference():
    m = Maker()
    x, y = m.x(4, 8), m.x(4, 8)
    sums = [m.binary("add", x, y), m.binary("add", y, x)]
    differences = [m.binary("sub", x, y), m.binary("sub", y, x)]
    program = m.finish(m.binary("mul", m.binary("mul", *sums), m.binary("mul", *differences)))
    assert clean(program, merge_common) == 1
    assert opcodes(program).count("sub") == 2


def test_a_square_is_not_a_product():
    m = Maker()
    x, y = m.x(4, 8), m.x(4, 8)
    program = m.finish(m.binary("add", m.binary("mul", x, x), m.binary("mul", x, y)))
    assert clean(program, merge_common) == 0


def test_equal_constants_merge_and_others_do_not():
    m = Maker()
    x = m.x(4, 8)
    a = [np.full((4, 8), 2.0), np.full((8,), 2.0), np.full((4, 8), 2.0)]
    for array in a:
        m._constants.clear()
        x = m.binary("add", x, m.constant(array))
    program = m.finish(x)
    assert clean(program, merge_common) == 1


def test_ops_of_other_parameters_do_not_merge():
    m = Maker()
    x = m.x(8, 8)
    program = m.finish(
        m.binary("add", m.reduce("reduce_sum", x, (0,)), m.reduce("reduce_sum", x, (1,)))
    )
    assert clean(program, merge_common) == 0


def test_outputs_do_not_merge():
    m = Maker()
    x = m.x(4, 8)
    program = m.finish(m.unary("exp", x), m.unary("exp", x))
    assert clean(program, merge_common) == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*SIMPLE))
def test_random_programs_keep_their_bits(instructions):
    merged, plain = assemble(instructions), assemble(instructions)
    clean(merged, merge_common)
    for a, b in zip(evaluate(merged), evaluate(plain), strict=True):
        np.testing.assert_array_equal(a, b)
