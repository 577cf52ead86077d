# SPDX-License-Identifier: Apache-2.0
"""Clamping, loss scales and sanitised gradients, as transforms on JAX functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jax_ane
from jax_ane import precision
from jax_ane.precision import _clamp

ANE = jax.devices("ane")[0]
RNG = np.random.default_rng(0)


def normal(*shape: int, scale: float = 1.0) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape) * scale, jnp.float32)


PARAMS = {
    "gain": jnp.ones(32),
    "bias": jnp.zeros(32),
    "up": normal(32, 64, scale=0.2),
    "down": normal(64, 32, scale=0.2),
}
X = normal(4, 32)


def block(params, x):
    """A residual block: norm, gelu, two products, one connection."""
    h = x - x.mean(-1, keepdims=True)
    h = h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + 1e-5)
    h = h * params["gain"] + params["bias"]
    return x + jax.nn.gelu(h @ params["up"]) @ params["down"]


def clamps(fn, *args) -> int:
    """Clamps in the traced function."""
    text = str(jax.make_jaxpr(precision.clamp_activations(fn))(*args))
    return text.count("custom_jvp_call[\n") or text.count("custom_jvp_call[")


def checkpointed(params, x):
    return jax.checkpoint(block)(params, x)


def scanned(params, x):
    return jax.lax.scan(lambda c, _: (block(params, c), c.sum()), x, None, length=3)


def looped(params, x):
    return jax.lax.fori_loop(0, 3, lambda _, c: block(params, c), x)


def branched(params, x):
    return jax.lax.cond(x.sum() > 0, lambda c: block(params, c), lambda c: c @ c.T @ c, x)


def jitted(params, x):
    return jax.jit(block)(params, x), {"twice": jax.jit(block)(params, 2 * x)}


def mapped(params, x):
    return jax.vmap(block, (None, 0))(params, x[:, None, :])


FORMS = [block, checkpointed, scanned, looped, branched, jitted, mapped]


@pytest.mark.parametrize("fn", FORMS, ids=lambda f: f.__name__)
def test_values_in_range_pass_bit_for_bit(fn):
    expected = jax.jit(fn)(PARAMS, X)
    got, count = jax.jit(precision.clamp_activations(fn, with_count=True))(PARAMS, X)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert int(count) == 0
    assert jax.tree.structure(got) == jax.tree.structure(expected)


@pytest.mark.parametrize("fn", [block, checkpointed, scanned, jitted, branched, mapped],
                         ids=lambda f: f.__name__)  # fmt: skip
def test_gradients_in_range_are_those_of_the_function(fn):
    def loss(fn):
        return lambda p, x: sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(fn(p, x)))

    expected = jax.jit(jax.grad(loss(fn)))(PARAMS, X)
    got = jax.jit(jax.grad(loss(precision.clamp_activations(fn))))(PARAMS, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6), got, expected)


@pytest.mark.parametrize("fn", FORMS, ids=lambda f: f.__name__)
def test_clamps_in_every_form_are_reached_and_counted(fn):
    big = jax.tree.map(lambda leaf: leaf * 1e5, PARAMS)
    x = jnp.abs(X) + 0.1  # the branch with the block
    got, count = jax.jit(precision.clamp_activations(fn, with_count=True))(big, x)
    assert int(count) > 0
    for leaf in jax.tree.leaves(got):
        if leaf.ndim > 1:  # sums of the carry are sums, not clamped
            assert float(jnp.abs(leaf).max()) <= precision.JOIN_LIMIT


def test_contractions_and_joins_have_their_own_limits():
    product = precision.clamp_activations(jnp.dot)
    assert float(product(jnp.float32([300.0]), jnp.float32([300.0]))) == 32752.0
    join = precision.clamp_activations(lambda a, b: jnp.sin(a) * 6e4 + jnp.cos(b) * 6e4)
    a, b = jnp.full((3,), np.pi / 2, jnp.float32), jnp.zeros(3)
    np.testing.assert_array_equal(join(a, b), np.full(3, 65504.0, np.float32))


def test_gradient_is_zero_where_the_limit_was_reached_and_one_elsewhere():
    product = precision.clamp_activations(lambda a, b: jnp.einsum("ij,jk->ik", a, b), limit=10.0)
    a = jnp.float32([[1.0], [3.0]])
    gradient = jax.grad(lambda a: product(a, jnp.float32([[4.0]])).sum())(a)
    np.testing.assert_array_equal(gradient, [[4.0], [0.0]])


def test_insides_of_norms_softmax_and_gelu_are_not_clamped():
    assert clamps(lambda x: jax.nn.softmax(x, -1), X) == 0
    assert clamps(lambda x: jax.nn.gelu(x), X) == 0
    assert clamps(lambda x: jax.nn.silu(x), X) == 0
    assert clamps(lambda p, x: block(p, x) - x, PARAMS, X) == 4  # two products, two connections


def test_float64_integers_and_host_parts_are_not_clamped():
    with jax.enable_x64(True):
        x = jnp.full((2, 2), 1e6)
        assert x.dtype == jnp.float64
        np.testing.assert_array_equal(precision.clamp_activations(jnp.dot)(x, x), x @ x)
    n = jnp.full((2, 2), 10**6)
    np.testing.assert_array_equal(precision.clamp_activations(lambda a: a + (a * 2 - a))(n), 2 * n)
    x = jnp.full((2, 2), 1e6)

    def on_host(x):
        with jax_ane.place("host"):
            return x @ x

    np.testing.assert_array_equal(precision.clamp_activations(on_host)(x), x @ x)
    highest = precision.clamp_activations(lambda a: jnp.dot(a, a, precision="highest"))
    np.testing.assert_array_equal(highest(x), x @ x)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_limits_are_numbers_of_the_dtype(dtype):
    x = jnp.full((1, 1), 3e4, dtype)
    got = float(precision.clamp_activations(lambda a: a @ jnp.full((1, 1), 2, dtype))(x)[0, 0])
    assert got == (32752.0 if dtype == jnp.float16 else 32640.0)


def test_rules_of_the_user_stand():
    @jax.custom_vjp
    def f(x):
        return x @ x

    f.defvjp(lambda x: (f(x), x), lambda x, g: (g * 7,))
    x = jnp.full((2, 2), 1e6)
    clamped = precision.clamp_activations(f)
    np.testing.assert_array_equal(clamped(x), x @ x)
    np.testing.assert_array_equal(jax.grad(lambda x: clamped(x).sum())(x), np.full((2, 2), 7))


def test_python_arguments_stay_concrete():
    def fn(x, times, *, name):
        assert isinstance(times, int) and name == "n"
        return {name: [x @ x for _ in range(times)]}

    assert len(precision.clamp_activations(fn)(jnp.eye(2), 3, name="n")["n"]) == 3


def test_marks_and_names_of_the_function_are_kept():
    def fn(x):
        with jax.named_scope("inner"), jax_ane.place("host"):
            return jnp.tanh(x)

    text = jax.jit(precision.clamp_activations(fn)).lower(X).as_text(debug_info=True)
    assert "inner" in text and "host" in text


def lines_of(report, first):
    """Returns the lines, counted from `first`, of the ops by their names."""
    lines = {}
    for op in report.ops:
        assert op.location.file == __file__ or not op.flops
        lines.setdefault(op.op.removeprefix("stablehlo."), set()).add(op.location.line - first)
    return lines


@pytest.mark.parametrize("with_count", [False, True])
def test_clamps_have_the_lines_of_what_they_clamp(with_count):
    def loss(p, x):
        y = jnp.tanh(x @ p)
        z = y @ p
        return (x * z).sum()

    first = loss.__code__.co_firstlineno
    clamped = precision.clamp_activations(loss, with_count=with_count)
    report = jax_ane.explain(jax.grad(clamped, has_aux=with_count), jnp.eye(64), jnp.eye(64))
    lines = lines_of(report, first)
    assert lines["clamp"] == lines["select"] == {1, 2, 3}
    assert lines["dot_general"] == {1, 2} and lines["tanh"] == {1}
    assert {"maximum", "reduce"} <= lines.keys() or not with_count
    assert not with_count or lines["maximum"] == {1, 2, 3}


def test_clamps_in_loops_have_the_lines_of_the_loops():
    def loss(p, x):
        def body(y, _):
            return y @ p, None

        y, _ = jax.lax.scan(body, x, None, length=3)
        z = jax.lax.fori_loop(0, 3, lambda _, y: y + y @ p, y)
        return jax.checkpoint(lambda z: z @ p)(z).sum()

    first = loss.__code__.co_firstlineno
    clamped = precision.clamp_activations(loss, with_count=True)
    lines = lines_of(jax_ane.explain(clamped, jnp.eye(64), jnp.eye(64)), first)
    assert lines["clamp"] == {2, 5, 6}
    assert lines["while"] == {4, 5}


def test_without_the_private_name_the_clamps_are_there(monkeypatch):
    monkeypatch.setattr(_clamp.internals, "_user_context", lambda: None)
    product = precision.clamp_activations(jnp.dot, limit=100.0)
    assert float(product(jnp.float32([30.0]), jnp.float32([40.0]))) == 100.0


def test_an_overflow_on_the_engine_becomes_the_limit():
    def gram(x):
        hidden = 60 * jnp.tanh(x @ jnp.ones((16, 16)))  # not linear in x: nothing scales it down
        return hidden @ hidden.T

    x = jnp.ones((4, 16))  # sums of 57,600
    with jax.default_device(ANE):
        plain = jax.jit(gram)(x)
        clamped = jax.jit(precision.clamp_activations(gram))(x)
    assert np.isinf(plain).all()
    np.testing.assert_array_equal(clamped, np.full((4, 4), 32752.0, np.float32))


def test_clamps_stay_in_the_programs_on_the_engine():
    def loss(p, x):
        return jnp.square(block(p, block(p, x))).mean()

    plain = jax_ane.explain(jax.grad(loss), PARAMS, X)
    clamped = jax_ane.explain(jax.grad(precision.clamp_activations(loss)), PARAMS, X)
    assert clamped.ane_flop_fraction >= 0.99 * plain.ane_flop_fraction
    assert len(clamped.programs) <= len(plain.programs)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_wrong_limits_are_refused(limit):
    with pytest.raises(ValueError, match="limit"):
        precision.clamp_activations(block, limit=limit)


# ---- Loss scales


def test_dynamic_scale_grows_and_backs_off_within_its_bounds():
    scale = precision.DynamicLossScale(4.0, growth_interval=2, max_scale=16.0, min_scale=1.0)
    adjust = jax.jit(lambda s, finite: s.adjust(finite))
    seen = []
    for finite in [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0]:
        scale = adjust(scale, bool(finite))
        seen.append(float(scale.scale))
    assert seen == [4, 8, 8, 16, 16, 16, 8, 4, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("scale", [precision.StaticLossScale(256), precision.DynamicLossScale()])
def test_scales_are_pytrees_that_keep_every_field(scale):
    leaves, tree = jax.tree.flatten(scale)
    again = jax.tree.unflatten(tree, [jnp.asarray(leaf) for leaf in leaves])
    assert type(again) is type(scale)
    assert str(again) == str(scale)
    assert str(jax.jit(lambda s: s)(scale)) == str(scale)
    assert jax.eval_shape(lambda s: s, scale).scale.dtype == jnp.float32


def test_unscaling_gives_float32_and_undoes_scaling():
    scale = precision.StaticLossScale(1024)
    gradient = {"w": jnp.float16([2.0**-10, 3.0])}
    restored = scale.unscale(gradient)["w"]
    assert restored.dtype == jnp.float32
    np.testing.assert_array_equal(restored, [2.0**-20, 3.0 / 1024])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: precision.StaticLossScale(0), "scale"),
        (lambda: precision.StaticLossScale(float("inf")), "scale"),
        (lambda: precision.DynamicLossScale(growth_interval=0), "growth_interval"),
        (lambda: precision.DynamicLossScale(growth_factor=1.0), "growth_factor"),
        (lambda: precision.DynamicLossScale(backoff_factor=2.0), "backoff_factor"),
        (lambda: precision.DynamicLossScale(1.0, min_scale=2.0), "min_scale"),
        (lambda: precision.DynamicLossScale(min_scale=4.0, max_scale=2.0), "max_scale"),
        (lambda: precision.sanitize_gradients(largest=0), "largest"),
    ],
)
def test_settings_that_cannot_work_are_refused(make, word):
    with pytest.raises(ValueError, match=word):
        make()


# ---- Gradients


def test_sanitised_gradients_leave_the_optimiser_finite():
    opt = optax.chain(precision.sanitize_gradients(largest=100.0), optax.adam(1.0))
    params = {"w": jnp.zeros(4), "n": jnp.zeros(())}
    gradients = {"w": jnp.array([1.0, jnp.nan, -jnp.inf, 1e9]), "n": jnp.float32(jnp.nan)}
    state = opt.init(params)
    for _ in range(2):
        updates, state = jax.jit(opt.update)(gradients, state, params)
    assert bool(precision.all_finite((updates, state)))
    assert int(state[0].replaced) == 3 and int(state[0].total) == 6
    assert float(updates["w"][1]) == 0 and float(updates["n"]) == 0
    assert float(state[1][0].mu["w"][3]) == pytest.approx(100 * (1 - 0.9**2))


def test_finiteness_of_trees():
    tree = {"a": jnp.ones(3), "b": jnp.arange(3), "c": jnp.float16([np.inf])}
    assert not bool(precision.all_finite(tree)) and int(precision.count_nonfinite(tree)) == 1
    assert bool(precision.all_finite({})) and int(precision.count_nonfinite({})) == 0
