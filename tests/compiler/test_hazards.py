# SPDX-License-Identifier: Apache-2.0
"""fp16 hazards that the compiler sees: found where they are, and not where they are not."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import normal, run

import jax_ane

X, W = normal(8, 64), normal(64, 64, seed=1)


def ones(*shape):
    return np.ones(shape, np.float32)


def found(fn, *args):
    return {hazard.code: hazard for hazard in jax_ane.explain(fn, *args).hazards}


def exponential(x):
    h = jnp.exp(x @ W)
    return (h / h.sum(-1, keepdims=True)) @ W


def clipped_exponential(x):
    h = jnp.exp(jnp.minimum(x @ W, 5.0))
    return (h / h.sum(-1, keepdims=True)) @ W


def softmax(x):
    return jax.nn.softmax(x @ W) @ W


def masked_softmax(x):
    scores = x @ W
    return jax.nn.softmax(jnp.where(scores > 0, scores, -1e9)) @ W


def infinite_mask(x):
    scores = x @ W
    return jax.nn.softmax(jnp.where(scores > 0, scores, -jnp.inf)) @ W


def small_epsilon(x):
    h = x @ W
    return (h / (jnp.abs(h) + 1e-7)) @ W


def usual_epsilon(x):
    h = jnp.tanh(x @ W)
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ W


def long_squares(x):
    h = x @ ones(64, 4096)
    return (h * jax.lax.rsqrt(jnp.sum(h * h, -1, keepdims=True) + 1e-5)) @ ones(4096, 64)


def long_mean(x):
    """Is taken in steps, none of which overflows."""
    h = 8 * jnp.tanh(x @ ones(64, 4096))
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ ones(4096, 64)


def small_weights(x):
    return jnp.tanh(x @ (W * 0 + 1)) @ np.full((64, 64), 2.0**-13, np.float32)


def bounded_product(x):
    return jnp.tanh(x @ W) @ (600 * jnp.tanh(x @ W).T)


def attention_over_many(x):
    h = x @ ones(64, 8192)
    return jax.nn.softmax(h) @ ones(8192, 8)


def rms_norm(x):
    h = x @ W
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ W


HAZARDS = {
    "square-overflow": rms_norm,
    "exp-overflow": exponential,
    "mask": masked_softmax,
    "constant-rounded": small_epsilon,
    "sum-overflow": long_squares,
    "mac-overflow": bounded_product,
    "dropped-products": attention_over_many,
}


@pytest.mark.parametrize("code", HAZARDS)
def test_hazard_is_found_with_the_users_line(code):
    fn = HAZARDS[code]
    hazard = found(fn, X)[code]
    first = fn.__code__.co_firstlineno
    assert hazard.location.file == __file__
    assert first < hazard.location.line <= first + 3
    assert hazard.text and hazard.remedy and hazard.op
    report = jax_ane.explain(fn, X)
    assert any(hazard in op.hazards for op in report.ops)
    assert hazard.text in report.to_text()
    assert code in {h["code"] for h in report.to_dict()["hazards"]}
    assert code in report.to_html()


@pytest.mark.parametrize("fn", [clipped_exponential, softmax, usual_epsilon, long_mean])
def test_ordinary_code_has_none(fn):
    assert found(fn, X) == {}


def sigmoid(x):
    return (1 / (1 + jnp.exp(-(x @ W)))) @ W


def silu_gradient(x):
    return jax.grad(lambda x: (jax.nn.silu(x @ W) @ W).sum())(x)


@pytest.mark.parametrize(
    "fn",
    [sigmoid, silu_gradient, lambda x: jax.nn.silu(x @ W) @ W, lambda x: jax.nn.sigmoid(x @ W) @ W],
)
def test_the_exponential_of_a_sigmoid_may_be_infinite(fn):
    assert found(fn, X) == {}
    got = run(fn, (50 * X,), "ane")[0]
    assert np.isfinite(got).all()


def odds(x):
    e = jnp.exp(x @ W)
    return (e / (1 + e)) @ W


def sigmoid_and_exponential(x):
    e = jnp.exp(x @ W)
    return (1 / (1 + e)) @ W, e @ W


def difference(x):
    return (1 / (1 - jnp.exp(x @ W))) @ W


@pytest.mark.parametrize(
    "fn", [odds, sigmoid_and_exponential, difference, lambda x: (1 / jnp.exp(x @ W) - 1) @ W]
)
def test_other_exponentials_that_divide_are_not_harmless(fn):
    assert "exp-overflow" in found(fn, X)


def l2_norm(x):
    h = x @ W
    return (h / jnp.sqrt(jnp.sum(h**2, -1, keepdims=True) + 1e-5)) @ W


def root_of_a_power(x):
    h = x @ W
    return (h * (jnp.mean(jnp.square(h), -1, keepdims=True) + 1e-5) ** -0.5) @ W


def scaled_by_a_large_gain(x):
    h = 300 * jnp.tanh(x @ W)
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ W


def one_over_a_root(x):
    h = x @ W
    return (h * (1 / (jnp.sqrt(jnp.mean(h * h, -1, keepdims=True)) + 1e-3))) @ W


@pytest.mark.parametrize("fn", [l2_norm, root_of_a_power, scaled_by_a_large_gain, one_over_a_root])
def test_squares_under_a_reciprocal_root_are_found(fn):
    hazard = found(fn, X)["square-overflow"]
    assert hazard.value == pytest.approx(255.9, abs=0.1)
    assert "full_precision" in hazard.remedy and not hazard.is_note
    assert ("as large as 300" in hazard.text) == (fn is scaled_by_a_large_gain)


def test_what_the_hazard_says_happens():
    """Zeros, and nothing that is not finite."""
    got = run(rms_norm, (1000 * X,), "ane")[0]
    assert (got == 0).any(axis=-1).all() and np.isfinite(got).all()
    assert np.abs(run(rms_norm, (1000 * X,), "cpu")[0]).min() > 0


def test_flax_norms_are_found_where_they_stay_primitive():
    linen = pytest.importorskip("flax.linen")
    for norm, is_found in ((linen.RMSNorm(epsilon=1e-3), True), (linen.LayerNorm(), False)):
        params = norm.init(jax.random.key(0), X)

        def fn(params, x, norm=norm):
            return norm.apply(params, x @ W) @ W

        hazards = found(fn, params, X)
        assert set(hazards) == ({"square-overflow"} if is_found else set())
        with jax_ane.config(disable_passes="raise_norms"):
            assert "square-overflow" in found(fn, params, X)


def divided_first(x):
    h = x @ W
    h = h / (jnp.max(jnp.abs(h), -1, keepdims=True) + 1e-3)
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ W


def clipped_first(x):
    h = jnp.clip(x @ W, -255, 255)
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ W


def squares_clipped(x):
    h = x @ W
    squares = jnp.minimum(h * h, 6e4)
    return (h * jax.lax.rsqrt(jnp.mean(squares, -1, keepdims=True) + 1e-5)) @ W


def squares_returned(x):
    h = x @ W
    return h * h @ W


def norm_in_float32(x):
    @jax_ane.full_precision
    def norm(h):
        return h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)

    return norm(x @ W) @ W


def divided_by_squares(x):
    """Is 0 for large values as it should be."""
    h = x @ W
    return (1 / (1 + h * h)) @ W


@pytest.mark.parametrize(
    "fn",
    [divided_first, clipped_first, squares_clipped, squares_returned, norm_in_float32,
     divided_by_squares],
)  # fmt: skip
def test_bounded_squares_and_other_squares_have_no_hazard(fn):
    assert found(fn, X) == {}


def test_small_constant_weights_are_found():
    def fn(x):
        return jnp.tanh(x @ W) @ np.full((64, 64), 2.0**-13, np.float32)

    assert set(found(fn, X)) == {"dropped-products"}


def test_values_say_what_the_limits_are():
    assert found(exponential, X)["exp-overflow"].value == pytest.approx(11.09, abs=0.01)
    assert found(long_squares, X)["sum-overflow"].value == pytest.approx((65504 / 4096) ** 0.5)
    assert "1.192e-07" in found(small_epsilon, X)["constant-rounded"].text


def test_of_a_long_sum_of_squares_the_sum_is_the_hazard():
    assert set(found(long_squares, X)) == {"sum-overflow"}


def test_infinite_masks_are_notes_and_mean_the_same():
    hazard = found(infinite_mask, X)["mask"]
    assert hazard.is_note
    got, want = run(infinite_mask, (X,), "ane"), run(infinite_mask, (X,), "cpu")
    np.testing.assert_allclose(got[0], want[0], rtol=0, atol=0.02)


def compiled(fn, *args):
    device = jax.devices("ane")[0]
    return jax.jit(fn).lower(*jax.device_put(args, device)).compile()


def test_strict_warns_of_hazards_and_refused_ops():
    with jax_ane.config(strict="warn"), pytest.warns(jax_ane.AneWarning) as caught:
        compiled(exponential, X)
    (warning,) = caught
    text = str(warning.message)
    assert text.startswith("exp is not safe in fp16\n  at ")
    assert "because exp-overflow" in text and "do: subtract the maximum" in text


def refused(x):
    with jax_ane.place("ane"):
        return jnp.sort(x), x @ W


def test_strict_errors_name_op_line_reason_and_remedy():
    with jax_ane.config(strict="error"), pytest.raises(Exception) as caught:
        compiled(refused, X)
    text = str(caught.value)
    assert "sort -> f32[8,64] cannot run on the ANE" in text
    assert f"{__file__}:" in text and "in refused" in text
    assert "because " in text and "do: " in text


@pytest.mark.parametrize("fn", [masked_softmax, softmax, lambda x: jnp.sort(x) @ W])
def test_strict_is_silent_about_notes_and_what_nobody_asked_for(fn):
    with jax_ane.config(strict="error"), warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(fn, X)


def test_strict_is_off_by_default():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(exponential, X)
        compiled(refused, X)


def test_placement_ane_asks_for_everything():
    with jax_ane.config(strict="error", placement="ane"), pytest.raises(Exception, match="sort"):
        compiled(lambda x: jnp.sort(x) @ W, X)
