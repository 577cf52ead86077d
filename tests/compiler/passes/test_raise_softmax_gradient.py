# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity_tools import check_parity, normal
from pass_tools import Maker, assert_within_ulp, clean, evaluate, opcodes

import jax_ane
from jax_ane.compiler import passes
from jax_ane.compiler.passes.merge_common import merge_common
from jax_ane.compiler.passes.raise_softmax import raise_softmax
from jax_ane.compiler.passes.raise_softmax_gradient import raise_softmax_gradient


def forward(m, x, axes=(1,)):
    """Returns the exponentials, their sum and the softmax."""
    e = m.unary("exp", m.binary("sub", x, m.reduce("reduce_max", x, axes)))
    s = m.reduce("reduce_sum", e, axes)
    return e, s, m.binary("real_div", e, s)


def backward(m, e, s, g, axes=(1,), turned=False, weighted=None, i=None):
    """JAX's gradient of the quotient; `turned` swaps the factors of each product."""

    def product(a, b):
        return m.binary("mul", b, a) if turned else m.binary("mul", a, b)

    i = i if i is not None else m.binary("real_div", 1.0, m.binary("mul", s, s))
    w = weighted if weighted is not None else product(product(g, i), e)
    t = m.reduce("reduce_sum", w, axes)
    return product(m.binary("sub", m.binary("real_div", g, s), t), e)


def made(rows=4, columns=32, axes=(1,), turned=False):
    m = Maker()
    e, s, y = forward(m, m.x(rows, columns), axes)
    return m.finish(y, backward(m, e, s, m.x(rows, columns), axes, turned))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("axes", [(0,), (1,)])
def test_both_directions_read_the_softmax(axes, turned):
    program = made(axes=axes, turned=turned)
    assert clean(program, raise_softmax_gradient, merge_common) == 2
    assert clean(program, raise_softmax) == 1  # now that the old form is gone
    assert opcodes(program) == ["softmax", "mul", "reduce_sum", "sub", "mul"]


def test_factors_may_be_grouped_the_other_way():
    m = Maker()
    e, s, y = forward(m, m.x(4, 8))
    g = m.x(4, 8)
    i = m.binary("real_div", 1.0, m.unary("square", s))
    weighted = m.binary("mul", i, m.binary("mul", e, g))
    program = m.finish(y, backward(m, e, s, g, weighted=weighted))
    assert clean(program, raise_softmax_gradient) == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 8), st.integers(1, 64), st.sampled_from([(0,), (1,)]), st.integers(0, 99),
    st.sampled_from([0.1, 1.0, 10.0]),
)  # fmt: skip
def test_results_stay_within_the_tolerance(rows, columns, axes, seed, scale):
    on, off = made(rows, columns, axes), made(rows, columns, axes)
    clean(on, raise_softmax_gradient)
    (y_on, r_on), (y_off, r_off) = (evaluate(p, seed=seed, scale=scale) for p in (on, off))
    np.testing.assert_array_equal(y_on, y_off)
    # Of a gradient that comes in (N(0, scale)) times y: what is subtracted may be as large as that.
    assert_within_ulp([r_on], [r_off], 4, of=3 * scale * float(np.abs(y_off).max()))


def error_of(program, columns):
    """Returns the gradient's relative L2 error for scores near 0, where all weights are alike."""
    results = evaluate(program, scale=0.25)
    random = np.random.default_rng(0)
    x, g = ((0.25 * random.standard_normal((4, columns))).astype(np.float16) for _ in range(2))
    e = np.exp(x.astype(float))
    y = e / e.sum(1, keepdims=True)
    want = y * (g - (g * y).sum(1, keepdims=True))
    return float(np.linalg.norm(results[1] - want) / np.linalg.norm(want))


def test_long_rows_keep_their_gradient():
    on, off = made(columns=1024), made(columns=1024)
    clean(on, raise_softmax_gradient)
    assert error_of(on, 1024) < 5e-3
    assert error_of(off, 1024) > 3 * error_of(on, 1024)


def near_misses():
    def weights_of_another(m, e, s, g):
        return backward(m, e, s, g, weighted=m.binary("mul", m.binary("mul", g, s), e))

    def inverse_of_another(m, e, s, g):
        return backward(m, e, s, g, i=m.binary("real_div", 1.0, m.binary("mul", s, m.x(4, 1))))

    def two_over(m, e, s, g):
        return backward(m, e, s, g, i=m.binary("real_div", 2.0, m.binary("mul", s, s)))

    def other_axis(m, e, s, g):
        return backward(m, e, s, g, axes=(0,))

    def another_gradient(m, e, s, g):
        i = m.binary("real_div", 1.0, m.binary("mul", s, s))
        weighted = m.binary("mul", m.binary("mul", m.x(4, 8), i), e)
        return backward(m, e, s, g, weighted=weighted)

    def no_exponential(m, e, s, g):
        a = m.unary("abs", g)
        return backward(m, a, m.reduce("reduce_sum", a), g)

    def sum_of_another(m, e, s, g):
        return backward(m, e, m.reduce("reduce_sum", m.unary("abs", g)), g)

    def one_factor_more(m, e, s, g):
        i = m.binary("real_div", 1.0, m.binary("mul", s, s))
        weighted = m.binary("mul", m.binary("mul", m.binary("mul", g, i), e), e)
        return backward(m, e, s, g, weighted=weighted)

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("build", near_misses(), ids=lambda f: f.__name__)
def test_near_misses_are_left_alone(build):
    m = Maker()
    e, s, y = forward(m, m.x(4, 8))
    program = m.finish(y, build(m, e, s, m.x(4, 8)))
    assert clean(program, raise_softmax_gradient) == 0


def attention(q, k, v):
    scores = jax.numpy.einsum("htd,hsd->hts", q, k) / 4
    mask = np.tril(np.ones((32, 32), bool))
    return jax.nn.softmax(jax.numpy.where(mask, scores, -1e9)) @ v


def loss(q, k, v):
    return (attention(q, k, v) ** 2).sum()


def test_attention_is_trained_through_one_softmax():
    args = [normal(4, 32, 16) for _ in range(3)]
    (program,) = jax_ane.explain(jax.grad(loss, argnums=(0, 1, 2)), *args).programs
    assert "= softmax(" in program.text and "= exp(" not in program.text
    with jax_ane.config(disable_passes="raise_softmax_gradient"):
        (spelt,) = jax_ane.explain(jax.grad(loss, argnums=(0, 1, 2)), *args).programs
    assert spelt.op_count >= program.op_count + 8
    assert spelt.estimate.engine_s > 1.15 * program.estimate.engine_s
    check_parity(jax.grad(loss), *args, tolerance=1e-2)


def test_a_softmax_that_no_product_reads_is_left_to_this_pass():
    """compiler/residuals.py, before programs are cut, is for attention."""

    def entropy(x):
        return (jax.nn.softmax(x) ** 2).sum()

    with jax_ane.config(placement="ane"):
        (program,) = jax_ane.explain(jax.grad(entropy), normal(8, 32)).programs
    assert program.pass_statistics["raise_softmax_gradient"] == 1
    assert "= softmax(" in program.text and "= exp(" not in program.text


def test_it_stands_before_softmax():
    names = [p.name for p in passes.PIPELINE]
    assert names.index("raise_softmax_gradient") < names.index("raise_softmax")
