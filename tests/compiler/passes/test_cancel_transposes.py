# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import HealthCheck, given, settings
from pass_tools import (
    SIMPLE,
    Maker,
    assert_same_bits,
    clean,
    evaluate,
    on_and_off,
    opcodes,
    programs,
)

from jax_ane.compiler.passes.cancel_transposes import cancel_transposes
from jax_ane.compiler.passes.drop_identities import drop_identities

SWAP = (0, 2, 1)


def check(build):
    """Returns the opcodes that the pass leaves; the results have the same bits."""
    made = []
    for _ in range(2):
        m = Maker()
        made.append(m.finish(*build(m, m.x(2, 4, 8), m.x(2, 4, 8))))
    for _ in range(4):
        clean(made[0], cancel_transposes, drop_identities)
    assert_same_bits(evaluate(made[0]), evaluate(made[1]))
    return opcodes(made[0])


def test_transposes_cancel_through_elementwise_ops():
    def build(m, x, y):
        v = m.unary("transpose", x, perm=(2, 0, 1))
        v = m.unary("tanh", m.binary("mul", v, 2.0))
        return [m.unary("abs", m.unary("transpose", v, perm=(1, 2, 0)))]

    assert check(build) == ["mul", "tanh", "abs"]


def test_reshapes_of_one_axis_cancel():
    def build(m, x, y):
        total = m.unary("reshape", m.reduce("reduce_sum", x, (2,)), shape=(2, 4))
        mean = m.binary("add", m.binary("mul", total, 0.125), 1.0)
        return [m.binary("sub", x, m.unary("reshape", mean, shape=(2, 4, 1)))]

    assert check(build) == ["reduce_sum", "mul", "add", "sub"]


def test_two_equal_transposes_become_one():
    def build(m, x, y):
        a, b = (m.unary("transpose", v, perm=SWAP) for v in (x, y))
        return [m.binary("add", a, b)]

    assert check(build) == ["add", "transpose"]


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_matmul_absorbs_a_transposed_operand(name):
    def build(m, x, y):
        turned = {"x": x, "y": m.unary("exp", y)}
        other = turned[name]
        turned[name] = m.unary("transpose", other, perm=SWAP)
        flags = {"transpose_x": name == "y", "transpose_y": name == "x"}
        if name == "x":
            return [m.op("matmul", turned, transpose_x=False, transpose_y=False)]
        return [m.op("matmul", turned, **(flags | {"transpose_x": False}))]

    assert "transpose" not in check(build)


def test_a_matmul_absorbs_through_a_reshape_of_the_batch():
    def build(m, x, y):
        turned = m.unary("transpose", m.unary("reshape", x, shape=(1, 2, 4, 8)), perm=(0, 1, 3, 2))
        folded = m.unary("reshape", turned, shape=(2, 8, 4))
        return [m.op("matmul", {"x": y, "y": folded}, transpose_x=False, transpose_y=False)]

    assert check(build) == ["matmul"]


def test_a_transposed_product_is_the_product_of_the_swapped():
    def build(m, x, y):
        y = m.unary("tanh", y)
        product = m.op("matmul", {"x": x, "y": y}, transpose_x=True, transpose_y=False)
        return [m.unary("transpose", product, perm=SWAP)]

    assert check(build) == ["tanh", "matmul"]


def test_a_product_with_weights_is_not_turned():
    def build(m, x, y):
        weights = m.unary("reshape", y, shape=(2, 4, 8))
        flags = {"transpose_x": True, "transpose_y": False}
        product = m.op("matmul", {"x": m.unary("tanh", x), "y": weights}, **flags)
        return [m.unary("transpose", product, perm=SWAP)]

    assert "transpose" in check(build)


def test_a_transposed_product_behind_a_reshape_of_the_batch():
    def build(m, x, y):
        y = m.unary("tanh", y)
        product = m.op("matmul", {"x": x, "y": y}, transpose_x=False, transpose_y=True)
        wide = m.unary("reshape", product, shape=(1, 2, 4, 4))
        return [m.unary("transpose", wide, perm=(0, 1, 3, 2))]

    assert check(build) == ["tanh", "matmul", "reshape"]


def test_a_transposed_product_of_other_rows_is_not_turned():
    def build(m, x, y):
        y = m.unary("tanh", y)
        product = m.op("matmul", {"x": x, "y": y}, transpose_x=True, transpose_y=False)
        wide = m.unary("reshape", product, shape=(2, 4, 16))
        return [m.unary("transpose", wide, perm=SWAP)]

    assert check(build) == ["tanh", "matmul", "reshape", "transpose"]


def test_a_transpose_of_axes_of_one_becomes_a_reshape():
    def build(m, x, y):
        v = m.unary("reshape", x, shape=(2, 1, 4, 8))
        return [m.unary("tanh", m.unary("transpose", v, perm=(1, 0, 2, 3)))]

    assert check(build) == ["reshape", "tanh"]


def test_a_product_that_others_read_is_not_turned():
    def build(m, x, y):
        y = m.unary("tanh", y)
        product = m.op("matmul", {"x": x, "y": y}, transpose_x=True, transpose_y=False)
        return [m.unary("transpose", product, perm=SWAP), product]

    assert check(build) == ["tanh", "matmul", "transpose"]


def test_a_matmul_does_not_absorb_a_transpose_of_the_batch():
    def build(m, x, y):
        v = m.unary("transpose", m.unary("reshape", x, shape=(4, 2, 8)), perm=(1, 0, 2))
        return [m.op("matmul", {"x": v, "y": y}, transpose_x=False, transpose_y=True)]

    assert "transpose" in check(build)


def test_different_transposes_do_not_sink():
    def build(m, x, y):
        a = m.unary("transpose", m.unary("reshape", x, shape=(4, 4, 4)), perm=(2, 1, 0))
        b = m.unary("transpose", m.unary("reshape", y, shape=(4, 4, 4)), perm=(0, 2, 1))
        return [m.binary("add", a, b)]

    assert check(build).count("transpose") == 2


def test_a_reshape_of_more_than_axes_of_one_does_not_sink_alone():
    def build(m, x, y):
        v = m.unary("tanh", m.unary("reshape", x, shape=(8, 8)))
        return [m.unary("abs", m.unary("exp", v))]

    assert check(build)[0] == "reshape"


def test_an_operand_that_broadcasts_does_not_sink():
    def build(m, x, y):
        row = m.unary("reshape", m.x(8), shape=(1, 1, 8))
        return [m.unary("reshape", m.binary("mul", m.unary("tanh", x), row), shape=(8, 8))]

    assert check(build) == ["reshape", "tanh", "mul", "reshape"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*SIMPLE, "transpose", "reshape", "unsqueeze", "squeeze", "product"))
def test_random_programs_keep_their_bits(instructions):
    assert_same_bits(*on_and_off(instructions, cancel_transposes))
