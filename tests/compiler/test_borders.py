# SPDX-License-Identifier: Apache-2.0
"""Results that stay fp16 between programs and on their way to host loops."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import stablehlo_of
from jaxlib.mlir import ir
from parity_tools import assert_same_bits, normal, run

import jax_ane
from jax_ane.compiler import borders, frontend
from jax_ane.compiler.loading import TARGET
from jax_ane.compiler.pipeline import compile as compile_program

NOTHING = borders.Narrow(frozenset(), frozenset())
X = normal(64, 64, scale=0.125)


def calls(fn, *args):
    """Returns the result types of each program that `fn` calls, and the host module."""
    compiled = compile_program(stablehlo_of(fn, *args), load=False)
    module = frontend.parse(compiled.host_module)
    found = []

    def visit(op):
        if op.name == "stablehlo.custom_call" and TARGET in str(op.attributes["call_target_name"]):
            found.append([str(result.type) for result in op.results])
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return found, str(module)


def test_result_that_a_host_loop_reads_stays_fp16():
    found, text = calls(lambda x: jnp.sin(x @ x) + 1, X)
    assert found == [["tensor<64x64xf32>"]]  # what sine is made of is no loop of our list
    found, text = calls(lambda x: jnp.sum(x @ x) * 2, X)
    assert found == [["tensor<64x64xf32>"]]  # its library of reductions reads float32
    found, text = calls(lambda x: jnp.square(x @ x)[:5] * 2, X)
    assert found == [["tensor<64x64xf16>"]]
    assert "stablehlo.convert" in text


def test_result_that_is_returned_is_not_widened_twice():
    found, text = calls(lambda x: x @ x, X)
    assert found == [["tensor<64x64xf32>"]]
    assert "stablehlo.convert" not in text


def test_result_between_two_programs_is_never_widened():
    def fn(x):
        y = x @ x
        with jax_ane.place("host"):  # between two programs
            scale = jnp.exp(y / 64)
        return (y * scale) @ x

    found, _ = calls(fn, X)
    assert len(found) == 2
    assert any("f16" in kind for kind in found[0])
    (got,), (want,) = run(fn, (X,), "ane"), run(fn, (X,), "cpu")
    np.testing.assert_allclose(got, want, atol=0.02)


def test_branch_captures_fp16():
    def fn(x, flag):
        gradient = x.T @ x
        return jax.lax.cond(flag, lambda: gradient * 0.5 + x, lambda: x)

    found, text = calls(fn, X, np.bool_(True))
    assert found == [["tensor<64x64xf16>"]]
    widening = re.search(r"stablehlo.convert .*tensor<64x64xf16>", text)
    assert widening is not None
    assert text.index("stablehlo.case") < widening.start()


@pytest.mark.parametrize("shape", [(64, 64), (5, 7), (3, 33, 33)])
@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_bits_are_those_of_the_wide_border(shape, numerics, monkeypatch):
    """Dense layouts are read and written in place, others by way of surfaces."""
    x = normal(*shape)

    def fn(x):
        y = x @ jnp.swapaxes(x, -1, -2)
        z = jax.nn.softmax(jnp.cumsum(y, -1)) @ x
        return jnp.abs(y) + 1, jnp.sum(z, -1), z * y[..., :1]

    with jax_ane.config(numerics=numerics):
        narrow = run(fn, (x,), "ane")
        monkeypatch.setattr(borders, "narrow", lambda *_: NOTHING)
        assert_same_bits(narrow, run(fn, (x,), "ane"))


def loss(weights, x):
    for w in weights:
        x = jnp.tanh(x @ w) + w[0]
    return jnp.mean(jnp.square(x)) * 1e-6


WEIGHTS = [normal(64, 64, scale=0.125, seed=seed) for seed in range(3)]


def test_scaled_result_that_is_returned_is_scaled_back():
    """Small gradients come back scaled, where fp16 would lose them."""
    got, want = (run(jax.grad(loss), (WEIGHTS, X), kind) for kind in ("ane", "cpu"))
    for mine, theirs in zip(got, want, strict=True):
        assert np.max(np.abs(theirs)) < 1e-7
        np.testing.assert_allclose(mine, theirs, rtol=0.03, atol=3e-2 * np.max(np.abs(theirs)))


def update(weights, x):
    gradients = jax.grad(loss)(weights, x)
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(g * 1e6)) for g in gradients))
    step = jax.lax.cond(
        jnp.isfinite(norm),
        lambda: [w - 1e6 * g / norm for w, g in zip(weights, gradients, strict=True)],
        lambda: weights,
    )
    return norm, step


def test_scaled_results_that_an_update_reads_keep_their_scale(monkeypatch):
    found, text = calls(update, WEIGHTS, X)
    assert found[-1][-1] == "tensor<f32>"  # the factor
    assert found[-1].count("tensor<64x64xf16>") >= len(WEIGHTS)
    assert "keep_scale = array<i64: " in text
    narrow = run(update, (WEIGHTS, X), "ane")
    monkeypatch.setattr(borders, "narrow", lambda *_: NOTHING)
    assert_same_bits(narrow, run(update, (WEIGHTS, X), "ane"))


def test_lifted_constants_are_taken_back_with_the_scale(monkeypatch):
    """The program itself makes such results larger, each by a power of two of its own."""

    def step(x, w, dy):
        pooled = jnp.sort(dy, 0) @ w
        spread = (pooled / 256)[:, None] * jnp.ones((1, 256, 1), jnp.float32)
        gradient = jnp.einsum("bti,bto->io", x, spread)
        return pooled, w - 1e3 * gradient @ w

    args = normal(4, 256, 16), normal(16, 16), normal(4, 16, scale=1e-4)
    (program,) = jax_ane.explain(step, *args).programs
    assert any(program.scaling.lifted)
    narrow = run(step, args, "ane")
    monkeypatch.setattr(borders, "narrow", lambda *_: NOTHING)
    assert_same_bits(narrow, run(step, args, "ane"))


def test_scaled_result_that_a_program_reads_is_scaled_back(monkeypatch):
    """The second program could not tell how the first was scaled."""

    def fn(weights, x):
        gradients = jax.grad(loss)(weights, x)
        with jax_ane.place("host"):
            norm = jnp.max(jnp.abs(gradients[0])) * 1e3
        return norm, gradients[0] @ gradients[1] * 1e12 / norm

    narrow = run(fn, (WEIGHTS, X), "ane")
    monkeypatch.setattr(borders, "narrow", lambda *_: NOTHING)
    assert_same_bits(narrow, run(fn, (WEIGHTS, X), "ane"))
