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
from jax_ane.compiler.passes.raise_softmax import raise_softmax


def spell(m, x, max_axes=(1,), sum_axes=(1,), seen=None):
    """The usual spelling; `seen` collects the exponentials."""
    e = m.unary("exp", m.binary("sub", x, m.reduce("reduce_max", x, max_axes)))
    if seen is not None:
        seen.append(e)
    return m.binary("real_div", e, m.reduce("reduce_sum", e, sum_axes))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_raises_and_keeps_the_bits(axis, scale):
    made = []
    for _ in range(2):
        m = Maker()
        made.append(m.finish(spell(m, m.x(64, 200), (axis,), (axis,))))
    assert clean(made[0], raise_softmax) == 1
    assert opcodes(made[0]) == ["softmax"]
    assert_same_bits(evaluate(made[0], scale=scale), evaluate(made[1], scale=scale))
    fast = [evaluate(program, "fast") for program in made]
    assert_within_ulp(*fast, 6)


def test_the_maximum_may_have_other_readers():
    m = Maker()
    x = m.x(4, 8)
    top = m.reduce("reduce_max", x)
    e = m.unary("exp", m.binary("sub", x, top))
    program = m.finish(m.binary("real_div", e, m.reduce("reduce_sum", e)), m.unary("exp", top))
    assert clean(program, raise_softmax) == 1


def near_misses():
    def other_axis(m, x):
        return [spell(m, x, (0,), (1,))]

    def two_axes(m, x):
        return [spell(m, x, (0, 1), (0, 1))]

    def exponentials_read(m, x):
        seen = []
        return [spell(m, x, seen=seen), *seen]

    def no_maximum(m, x):
        e = m.unary("exp", x)
        return [m.binary("real_div", e, m.reduce("reduce_sum", e))]

    def maximum_of_another(m, x):
        e = m.unary("exp", m.binary("sub", x, m.reduce("reduce_max", m.x(4, 8))))
        return [m.binary("real_div", e, m.reduce("reduce_sum", e))]

    def minimum(m, x):
        e = m.unary("exp", m.binary("sub", x, m.reduce("reduce_min", x)))
        return [m.binary("real_div", e, m.reduce("reduce_sum", e))]

    def sum_of_another(m, x):
        e = m.unary("exp", m.binary("sub", x, m.reduce("reduce_max", x)))
        return [m.binary("real_div", e, m.reduce("reduce_sum", m.unary("abs", x)))]

    def inverted(m, x):
        e = m.unary("exp", m.binary("sub", x, m.reduce("reduce_max", x)))
        return [m.binary("real_div", m.reduce("reduce_sum", e), e)]

    def channels(m, x):
        return [spell(m, m.x(3, 2, 2), (0,), (0,))]  # not a power of two

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("build", near_misses(), ids=lambda f: f.__name__)
def test_near_misses_are_not_raised(build):
    m = Maker()
    program = m.finish(*build(m, m.x(4, 8)))
    assert clean(program, raise_softmax) == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*SIMPLE[:-6], "softmax", "softmax"))
def test_random_programs_keep_their_bits(instructions):
    assert_same_bits(*on_and_off(instructions, raise_softmax))


MASK = np.tril(np.ones((16, 16), bool))


@pytest.mark.parametrize(
    "fn, args",
    [
        (jax.nn.softmax, [normal(8, 64)]),
        (lambda x: jax.nn.softmax(x, axis=0), [normal(8, 64)]),
        (lambda x: jax.nn.softmax(jnp.where(MASK, x, -1e9)), [normal(2, 16, 16)]),
        (lambda x: jax.nn.softmax(jnp.where(MASK, x, -jnp.inf)), [normal(2, 16, 16)]),
        (lambda a, b: jax.nn.softmax(a @ b / 4, axis=-1) @ b, [normal(16, 16), normal(16, 16)]),
    ],
    ids=["rows", "columns", "masked", "masked by -inf", "attention"],
)
def test_jax_softmax_is_raised(fn, args):
    with jax_ane.config(placement="ane"):
        text = jax_ane.explain(fn, *args).programs[0].text
    assert "= softmax(" in text and "exp(" not in text and "reduce" not in text
    check_parity(fn, *args, placements=("ane",))


def test_jax_gradient_agrees():
    def loss(x, w):
        return (jax.nn.softmax(x @ w) ** 2).sum()

    args = [normal(16, 32), normal(32, 24)]
    check_parity(jax.grad(loss), *args, placements=("ane",), tolerance=1e-2)
