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
    h = x @ W
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ W


def long_squares(x):
    h = x @ ones(64, 4096)
    return (h * jax.lax.rsqrt(jnp.sum(h * h, -1, keepdims=True) + 1e-5)) @ ones(4096, 64)


def long_mean(x):
    """Is taken in steps, none of which overflows."""
    h = x @ ones(64, 4096)
    return (h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5)) @ ones(4096, 64)


def small_weights(x):
    return jnp.tanh(x @ (W * 0 + 1)) @ np.full((64, 64), 2.0**-13, np.float32)


def bounded_product(x):
    return jnp.tanh(x @ W) @ (600 * jnp.tanh(x @ W).T)


def attention_over_many(x):
    h = x @ ones(64, 8192)
    return jax.nn.softmax(h) @ ones(8192, 8)


HAZARDS = {
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


def test_small_constant_weights_are_found():
    def fn(x):
        return jnp.tanh(x @ W) @ np.full((64, 64), 2.0**-13, np.float32)

    assert set(found(fn, X)) == {"dropped-products"}


def test_values_say_what_the_limits_are():
    assert found(exponential, X)["exp-overflow"].value == pytest.approx(11.09, abs=0.01)
    assert found(long_squares, X)["sum-overflow"].value == pytest.approx((65504 / 4096) ** 0.5)
    assert "1.192e-07" in found(small_epsilon, X)["constant-rounded"].text


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
