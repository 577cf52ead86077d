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
    clean,
    evaluate,
    on_and_off,
    opcodes,
    programs,
)

import jax_ane
from jax_ane.compiler.passes.raise_activations import raise_activations


def relu(m, x):
    return m.binary("maximum", 0.0, x)


def relu6(m, x):
    return m.binary("minimum", relu(m, x), 6.0)


def clip(m, x, low=-0.5, high=1.5):
    return m.binary("minimum", m.binary("maximum", x, low), high)


def clip_from_above(m, x):
    return m.binary("maximum", m.binary("minimum", 1.5, x), -0.5)


def leaky(m, x, opcode="greater_equal"):
    scaled = m.binary("mul", x, 0.01)
    cond = m.binary(opcode, x, 0.0)
    a, b = (scaled, x) if opcode.startswith("less") else (x, scaled)
    return m.op("select", {"cond": cond, "a": a, "b": b})


def softsign(m, x):
    return m.binary("real_div", x, m.binary("add", m.unary("abs", x), 1.0))


def gelu_by_tanh(m, x, cubic=0.044715, slope=0.79788):
    cube = m.binary("mul", x, m.binary("mul", x, x))
    inner = m.binary("mul", m.binary("add", x, m.binary("mul", cube, cubic)), slope)
    return m.binary("mul", m.binary("mul", m.binary("add", m.unary("tanh", inner), 1.0), 0.5), x)


def gelu_by_erf(m, x, inside=0.70711):
    e = m.binary("add", 1.0, m.unary("erf", m.binary("mul", x, inside)))
    return m.binary("mul", m.binary("mul", x, 0.5), e)


def select(m, x, opcode, bound, a, b):
    return m.op("select", {"cond": m.binary(opcode, x, bound), "a": a, "b": b})


def hard_tanh(m, x):
    inner = select(m, x, "less", -1.0, m.constant(-1.0), x)
    return select(m, x, "greater", 1.0, m.constant(1.0), inner)


EXACT = {
    "hard tanh": (hard_tanh, ["clip"]),
    "where(x > 0, x, 0)": (lambda m, x: select(m, x, "greater", 0, x, m.constant(0)), ["relu"]),
    "where(x < 2, x, 2)": (lambda m, x: select(m, x, "less", 2, x, m.constant(2)), ["minimum"]),
    "relu": (relu, ["relu"]),
    "relu6": (relu6, ["relu6"]),
    "clip": (clip, ["clip"]),
    "clip from above": (clip_from_above, ["clip"]),
    "clip at 0": (lambda m, x: clip(m, x, 0.0, 4.0), ["clip"]),
    "leaky_relu": (leaky, ["leaky_relu"]),
    "leaky_relu, less": (lambda m, x: leaky(m, x, "less"), ["leaky_relu"]),
    "leaky_relu, greater": (lambda m, x: leaky(m, x, "greater"), ["leaky_relu"]),
}


TABLES = {
    "softsign": (softsign, ["softsign"], 1e-3),
}


def two(build):
    made = []
    for _ in range(2):
        m = Maker()
        made.append(m.finish(build(m, m.x(64, 128))))
    return made


@pytest.mark.parametrize("name", EXACT)
def test_raises_and_keeps_the_bits(name):
    build, left = EXACT[name]
    on, off = two(build)
    assert clean(on, raise_activations, raise_activations, raise_activations) > 0
    assert opcodes(on) == left
    for numerics in ("exact", "fast"):
        assert_same_bits(evaluate(on, numerics, scale=3), evaluate(off, numerics, scale=3))


@pytest.mark.parametrize("name", TABLES)
def test_raises_and_stays_within_the_tables_error(name):
    build, left, bound = TABLES[name]
    on, off = two(build)
    assert clean(on, raise_activations) > 0
    assert opcodes(on) == left
    for numerics, allowed in (("exact", bound), ("fast", 2e-3)):
        got, want = (evaluate(p, numerics)[0].astype(float) for p in (on, off))
        # What the primitive ops round on the way counts too.
        np.testing.assert_allclose(got, want, rtol=4e-3, atol=allowed)


def near_misses():
    def maximum_of_two(m, x):
        return [m.binary("maximum", x, m.x(64, 128))]

    def crossed_bounds(m, x):
        return [clip(m, x, 2.0, 1.0)]

    def minimum_alone(m, x):
        return [m.binary("minimum", x, 6.0)]

    def clip_read_inside(m, x):
        inside = m.binary("maximum", x, -1.0)
        return [m.binary("minimum", inside, 1.0), m.unary("exp", inside)]

    def leaky_at_one(m, x):
        cond = m.binary("greater", x, 1.0)
        return [m.op("select", {"cond": cond, "a": x, "b": m.binary("mul", x, 0.01)})]

    def leaky_mirrored(m, x):
        cond = m.binary("less", x, 0.0)
        return [m.op("select", {"cond": cond, "a": x, "b": m.binary("mul", x, 0.01)})]

    def leaky_of_another(m, x):
        cond = m.binary("greater", x, 0.0)
        scaled = m.binary("mul", m.x(64, 128), 0.01)
        return [m.op("select", {"cond": cond, "a": x, "b": scaled})]

    def select_another_number(m, x):
        return [select(m, x, "greater", 1.0, m.constant(2.0), x)]

    def select_the_wrong_side(m, x):
        return [select(m, x, "greater", 1.0, x, m.constant(2.0))]

    def select_crossed_bounds(m, x):
        high = m.binary("maximum", x, 2.0)
        return [select(m, x, "greater", 1.0, m.constant(1.0), m.unary("abs", high))]

    def exponential_read(m, x):
        e = m.unary("exp", m.binary("mul", x, -1.0))
        return [m.binary("real_div", 1.0, m.binary("add", 1.0, e)), e]

    def sigmoid(m, x):
        e = m.unary("exp", m.binary("mul", x, -1.0))
        return [m.binary("real_div", 1.0, m.binary("add", 1.0, e))]

    def silu(m, x):
        return [m.binary("mul", x, *sigmoid(m, x))]

    def two_over(m, x):
        return [m.binary("real_div", x, m.binary("add", 2.0, m.unary("abs", x)))]

    def softsign_of_another(m, x):
        return [m.binary("real_div", x, m.binary("add", m.unary("abs", m.x(64, 128)), 1.0))]

    def quick_gelu(m, x):
        return [m.binary("mul", x, m.unary("sigmoid", m.binary("mul", x, 1.702)))]

    def short_gelu_by_tanh(m, x):
        return [gelu_by_tanh(m, x)]

    def short_gelu_by_erf(m, x):
        return [gelu_by_erf(m, x)]

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("build", near_misses(), ids=lambda f: f.__name__)
def test_near_misses_are_not_raised(build):
    m = Maker()
    program = m.finish(*build(m, m.x(64, 128)))
    assert clean(program, raise_activations) == 0


def test_activations_one_after_another_are_all_found():
    m = Maker()
    x = m.x(4, 8)
    for _ in range(20):
        x = softsign(m, relu(m, x))
    program = m.finish(x)
    assert clean(program, raise_activations) == 40
    assert set(opcodes(program)) == {"softsign", "relu"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*SIMPLE, "clip", "leaky"))
def test_random_programs_of_exact_activations_keep_their_bits(instructions):
    assert_same_bits(*on_and_off(instructions, raise_activations))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs("tanh", "abs", "maximum", "minimum", "transpose", "gelu", "softsign"))
def test_random_programs_stay_within_the_tables_error(instructions):
    on, off = on_and_off(instructions, raise_activations)
    raised = sum(kind in ("gelu", "softsign") for kind, *_ in instructions)
    # No function of these steepens an error by more than 1.13, gelu's largest slope.
    for a, b in zip(on, off, strict=True):
        allowed = 4e-3 * raised * 1.13 ** len(instructions)
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=0, atol=allowed)


CASES = {
    "gelu, exact": (lambda x: jax.nn.gelu(x, approximate=False), "erf"),
    "relu": (jax.nn.relu, "relu"),
    "relu6": (jax.nn.relu6, "relu6"),
    "leaky_relu": (jax.nn.leaky_relu, "leaky_relu"),
    "soft_sign": (jax.nn.soft_sign, "softsign"),
    "clip": (lambda x: jnp.clip(x, -1, 2), "clip"),
    "hard_tanh": (jax.nn.hard_tanh, "clip"),
}


@pytest.mark.parametrize("name", CASES)
def test_jax_activation_is_raised(name):
    fn, opcode = CASES[name]
    x = normal(16, 64, scale=2)
    with jax_ane.config(placement="ane"):
        text = jax_ane.explain(fn, x).programs[0].text
    assert f"= {opcode}(" in text and "exp(" not in text
    check_parity(fn, x, placements=("ane",))


def test_jax_gradient_of_gelu_agrees():
    def loss(x, w):
        return (jax.nn.gelu(x @ w) ** 2).mean()

    args = [normal(16, 32), normal(32, 24)]
    check_parity(jax.grad(loss, argnums=(0, 1)), *args, placements=("ane",), tolerance=2e-2)


def erfc_steeper(x):
    return 0.5 * x * jax.lax.erfc(-x)


def erfc_gated(x):
    return 0.5 * jnp.tanh(x) * jax.lax.erfc(-x * 0.5**0.5)


@pytest.mark.parametrize("fn", [erfc_steeper, erfc_gated])
def test_other_polynomials_are_not_taken_for_gelu(fn):
    with jax_ane.config(placement="ane"):
        text = jax_ane.explain(fn, normal(16, 64)).programs[0].text
    assert "erf(" not in text


def test_exact_gelu_is_five_operations_and_as_good_as_its_polynomials():
    x = normal(64, 128, scale=2)
    fn = lambda x: jax.nn.gelu(x, approximate=False)  # noqa: E731
    with jax_ane.config(placement="ane"):
        (program,) = jax_ane.explain(fn, x).programs
    assert program.op_count < 10 < 60 < program.lowered_op_count
    check_parity(fn, x, placements=("ane",), tolerance=1.5e-3)
