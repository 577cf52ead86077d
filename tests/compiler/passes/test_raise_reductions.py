# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from parity_tools import check_parity, normal
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

import jax_ane
from jax_ane.compiler.passes.raise_norms import raise_norms
from jax_ane.compiler.passes.raise_reductions import raise_reductions


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("square", ["mul", "square"])
@pytest.mark.parametrize("shape", [(37, 21), (5, 700)])
def test_raises_and_keeps_the_bits(axes, square, shape):
    made = []
    for _ in range(2):
        m = Maker()
        x = m.x(*shape)
        squares = m.binary("mul", x, x) if square == "mul" else m.unary("square", x)
        made.append(m.finish(m.reduce("reduce_sum", squares, axes)))
    assert clean(made[0], raise_reductions) == 1
    assert opcodes(made[0]) == ["reduce_sum_square"]
    assert_same_bits(evaluate(made[0]), evaluate(made[1]))
    assert_within_ulp(*(evaluate(program, "fast") for program in made), 2)


def near_misses():
    def product_of_two(m, x):
        return [m.reduce("reduce_sum", m.binary("mul", x, m.x(4, 8)))]

    def squares_read(m, x):
        squares = m.binary("mul", x, x)
        return [m.reduce("reduce_sum", squares), m.unary("exp", squares)]

    def squares_returned(m, x):
        squares = m.binary("mul", x, x)
        return [m.reduce("reduce_sum", squares), squares]

    def maximum_of_squares(m, x):
        return [m.reduce("reduce_max", m.binary("mul", x, x))]

    def sum_of_twice(m, x):
        return [m.reduce("reduce_sum", m.binary("add", x, x))]

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("build", near_misses(), ids=lambda f: f.__name__)
def test_near_misses_are_not_raised(build):
    m = Maker()
    program = m.finish(*build(m, m.x(4, 8)))
    assert clean(program, raise_reductions) == 0


@pytest.mark.parametrize("clamp", [True, False])
def test_norms_are_found_behind_sums_of_squares(clamp):
    m = Maker()
    x = m.x(4, 96)
    mean = m.mean(x)
    v = m.binary("sub", m.mean(m.binary("mul", x, x)), m.binary("mul", mean, mean))
    v = m.binary("add", m.binary("maximum", v, 0.0) if clamp else v, 1e-5)
    s = m.unary("rsqrt", v, epsilon=np.float16(6e-8))
    program = m.finish(m.binary("mul", m.binary("sub", x, mean), s))
    assert clean(program, raise_reductions, raise_norms) == 2
    assert opcodes(program) == ["layer_norm"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*SIMPLE, "norm", "flax_norm"))
def test_random_programs_keep_their_bits(instructions):
    assert_same_bits(*on_and_off(instructions, raise_reductions))


def l2_norm(x, gamma):
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-5) * gamma


def test_jax_l2_norm_sums_squares_in_one_op():
    args = [normal(8, 64), normal(64, seed=1)]
    with jax_ane.config(placement="ane"):
        text = jax_ane.explain(l2_norm, *args).programs[0].text
    assert "= reduce_sum_square(" in text and "= reduce_sum(" not in text
    check_parity(l2_norm, *args, placements=("ane",))
