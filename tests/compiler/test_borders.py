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
from jax_ane.compiler import compile as compile_program
from jax_ane.compiler.hostmodule import TARGET

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
            scale = jnp.exp(jnp.sum(y, 0) / 64)
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
        monkeypatch.setattr(borders, "narrow", lambda *_: set())
        assert_same_bits(narrow, run(fn, (x,), "ane"))


def test_scaled_results_are_not_narrow():
    """Small gradients come back scaled, where fp16 would lose them."""

    def loss(w, x):
        return jnp.sum(jnp.square(x @ w)) * 1e-9

    w = jax.grad(loss)
    (got,), (want,) = run(w, (X, X), "ane"), run(w, (X, X), "cpu")
    assert np.max(np.abs(want)) < 2e-8
    np.testing.assert_allclose(got, want, rtol=0.02, atol=2e-12)
