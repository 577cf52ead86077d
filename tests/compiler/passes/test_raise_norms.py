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
    assert_within_ulp,
    clean,
    evaluate,
    on_and_off,
    opcodes,
    programs,
)

import jax_ane
from jax_ane.compiler.passes.raise_norms import raise_norms

EPSILON = 1e-5


def deviations(m, x, axes=(1,)):
    d = m.binary("sub", x, m.mean(x, axes))
    return d, m.mean(m.binary("mul", d, d), axes)


def scale_of(m, variance, epsilon=EPSILON):
    held = m.binary("add", variance, epsilon)
    return m.unary("rsqrt", held, epsilon=np.float16(6e-8))


def by_deviations(m, x, axes=(1,)):
    d, v = deviations(m, x, axes)
    return m.binary("mul", d, scale_of(m, v))


def by_quotient(m, x, axes=(1,)):
    d, v = deviations(m, x, axes)
    return m.binary("real_div", d, m.unary("sqrt", m.binary("add", v, EPSILON)))


def by_squares(m, x, axes=(1,), clamp="maximum"):
    mean = m.mean(x, axes)
    v = m.binary("sub", m.mean(m.binary("mul", x, x), axes), m.binary("mul", mean, mean))
    if clamp == "maximum":
        v = m.binary("maximum", 0.0, v)
    if clamp == "relu":
        v = m.unary("relu", v)
    return m.binary("mul", m.binary("sub", x, mean), scale_of(m, v))


SPELLINGS = {
    "deviations": by_deviations,
    "quotient": by_quotient,
    "squares": by_squares,
    "squares, relu": lambda m, x: by_squares(m, x, clamp="relu"),
    "squares, unclamped": lambda m, x: by_squares(m, x, clamp=""),
    "two axes": lambda m, x: by_deviations(m, x, (0, 1)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_raises_and_stays_within_its_tolerance(spelling, numerics):
    made = []
    for _ in range(2):
        m = Maker()
        made.append(m.finish(SPELLINGS[spelling](m, m.x(32, 96))))
    assert clean(made[0], raise_norms) == 1
    assert opcodes(made[0]) == ["layer_norm"]
    on, off = (evaluate(program, numerics) for program in made)
    assert_within_ulp(on, off, 3)


def test_the_exacter_form_of_a_variance_that_cancels():
    m = Maker()
    program = m.finish(by_squares(m, m.binary("add", m.x(16, 64), 30.0)))
    assert clean(program, raise_norms) == 1
    got = evaluate(program)[0].astype(float)
    x = np.random.default_rng(0).standard_normal((16, 64)).astype(np.float16) + np.float16(30)
    x = x.astype(float)
    want = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + EPSILON)
    assert np.linalg.norm(got - want) < 0.02 * np.linalg.norm(want)


def test_a_scale_inside_becomes_a_product_after():
    m = Maker()
    x, gamma = m.x(4, 96), m.x(1, 96)
    d, v = deviations(m, x)
    program = m.finish(m.binary("mul", d, m.binary("mul", scale_of(m, v), gamma)))
    assert clean(program, raise_norms) == 1
    assert opcodes(program) == ["layer_norm", "mul"]


def test_constant_scale_and_offset_are_taken_in():
    m = Maker()
    gamma = m.constant(np.linspace(1, 2, 96).reshape(1, 96))
    beta = m.constant(np.linspace(-1, 1, 96))
    scaled = m.binary("mul", by_deviations(m, m.x(4, 96)), gamma)
    program = m.finish(m.binary("add", beta, scaled))
    assert clean(program, raise_norms) == 3
    assert opcodes(program) == ["layer_norm"]
    assert set(program.outputs[0].op.inputs) == {"x", "gamma", "beta"}


def test_scale_and_offset_that_are_inputs_are_not_taken_in():
    m = Maker()
    scaled = m.binary("mul", by_deviations(m, m.x(4, 96)), m.x(1, 96))
    program = m.finish(m.binary("add", scaled, m.x(1, 96)))
    assert clean(program, raise_norms) == 1
    assert opcodes(program) == ["layer_norm", "mul", "add"]


def test_a_constant_of_a_row_or_after_an_offset_is_not_taken_in():
    m = Maker()
    column = m.constant(np.linspace(1, 2, 4).reshape(4, 1))
    beta, gamma = (m.constant(np.linspace(1, end, 96)) for end in (2, 3))
    norm = by_deviations(m, m.x(4, 96))
    value = m.binary("mul", m.binary("add", norm, beta), gamma)
    program = m.finish(value, m.binary("mul", by_deviations(m, m.x(4, 96)), column))
    clean(program, raise_norms)
    assert opcodes(program) == ["layer_norm", "mul", "layer_norm", "mul"]


def near_misses():
    def variance_read(m, x):
        d, v = deviations(m, x)
        return [m.binary("mul", d, scale_of(m, v)), m.unary("exp", v)]

    def scale_read(m, x):
        d, v = deviations(m, x)
        s = scale_of(m, v)
        return [m.binary("mul", d, s), m.unary("exp", s)]

    def mean_read(m, x):
        mean = m.mean(x)
        d = m.binary("sub", x, mean)
        v = m.mean(m.binary("mul", d, d))
        return [m.binary("mul", d, scale_of(m, v)), m.unary("exp", mean)]

    def rms(m, x):
        return [m.binary("mul", x, scale_of(m, m.mean(m.binary("mul", x, x))))]

    def no_epsilon(m, x):
        d, v = deviations(m, x)
        return [m.binary("mul", d, m.unary("rsqrt", v, epsilon=np.float16(6e-8)))]

    def epsilon_in_both(m, x):
        d, v = deviations(m, x)
        held = m.binary("add", v, EPSILON)
        return [m.binary("mul", d, m.unary("rsqrt", held, epsilon=np.float16(1e-3)))]

    def unbiased(m, x):
        d = m.binary("sub", x, m.mean(x))
        v = m.binary("real_div", m.reduce("reduce_sum", m.binary("mul", d, d)), 95.0)
        return [m.binary("mul", d, scale_of(m, v))]

    def other_axes(m, x):
        d = m.binary("sub", x, m.mean(x, (1,)))
        return [m.binary("mul", d, scale_of(m, m.mean(m.binary("mul", d, d), (0,))))]

    def product_of_two(m, x):
        d = m.binary("sub", x, m.mean(x))
        return [m.binary("mul", d, scale_of(m, m.mean(m.binary("mul", d, x))))]

    def variance_of_another(m, x):
        d = m.binary("sub", x, m.mean(x))
        _, v = deviations(m, m.x(4, 96))
        return [m.binary("mul", d, scale_of(m, v))]

    def quotient_by_rsqrt(m, x):
        d, v = deviations(m, x)
        return [m.binary("real_div", d, scale_of(m, v))]

    def inverted(m, x):
        d, v = deviations(m, x)
        return [m.binary("real_div", m.unary("sqrt", m.binary("add", v, EPSILON)), d)]

    def sum_of_squares_and_mean(m, x):
        mean = m.mean(x)
        v = m.binary("add", m.mean(m.binary("mul", x, x)), m.binary("mul", mean, mean))
        return [m.binary("mul", m.binary("sub", x, mean), scale_of(m, v))]

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("build", near_misses(), ids=lambda f: f.__name__)
def test_near_misses_are_not_raised(build):
    m = Maker()
    program = m.finish(*build(m, m.x(4, 96)))
    assert clean(program, raise_norms) == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs("tanh", "abs", "add", "maximum", "transpose", "norm"))
def test_random_programs_stay_within_the_tolerance(instructions):
    on, off = on_and_off(instructions, raise_norms)
    # A norm may be the input of the next, whose smallest scale is 1/sqrt(epsilon).
    nested = sum(kind == "norm" for kind, *_ in instructions)
    assert_within_ulp(on, off, 3.0 * 10.0 ** max(nested - 1, 0), of=2.0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*SIMPLE))
def test_random_programs_without_norms_are_not_touched(instructions):
    on, off = on_and_off(instructions, raise_norms)
    for a, b in zip(on, off, strict=True):
        np.testing.assert_array_equal(a, b)


def layer_norm(x, gamma, beta):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * gamma + beta


def flax_layer_norm(x, gamma, beta):
    """As flax.linen.LayerNorm spells it."""
    mean, mean2 = x.mean(-1), jax.lax.square(x).mean(-1)
    variance = jnp.maximum(0.0, mean2 - jax.lax.square(mean))
    mul = jax.lax.rsqrt(jnp.expand_dims(variance, -1) + 1e-6) * gamma
    return (x - jnp.expand_dims(mean, -1)) * mul + beta


@pytest.mark.parametrize(
    "fn", [layer_norm, flax_layer_norm, lambda x, g, b: jax.nn.standardize(x) * g + b],
    ids=["plain", "flax", "standardize"],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(8, 64), (2, 4, 96)])
def test_jax_layer_norm_is_raised(fn, shape):
    args = [normal(*shape), normal(shape[-1], seed=1), normal(shape[-1], seed=2)]
    with jax_ane.config(placement="ane"):
        text = jax_ane.explain(fn, *args).programs[0].text
    assert "= layer_norm(" in text and "reduce" not in text and "rsqrt" not in text
    check_parity(fn, *args, placements=("ane",))


def test_jax_training_keeps_what_the_backward_pass_reads():
    def loss(x, w, gamma, beta):
        return (layer_norm(x @ w, gamma, beta) ** 2).mean()

    args = [normal(16, 32), normal(32, 64), normal(64, seed=1), normal(64, seed=2)]
    gradient = jax.grad(loss, argnums=(0, 1, 2, 3))
    check_parity(gradient, *args, placements=("ane",), tolerance=2e-2)
