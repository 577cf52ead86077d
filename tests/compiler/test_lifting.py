# SPDX-License-Identifier: Apache-2.0
"""Small constants behind a scaled gradient are lifted, and outputs take it back."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import assert_same_bits, normal, relative_error, run
from test_scaling import S, matmul, program

import jax_ane
from jax_ane.compiler import mil, scaling


def constants(built: mil.Program) -> list[float]:
    return sorted(float(op.value.flat[0]) for op in built.ops if op.value is not None)


def pooled(number, opcode="mul"):
    """The backward pass of a mean in the middle: one gradient before it, two behind."""

    def build(b, dy, x, w):
        before = matmul(b, x, dy, transpose_x=True)
        spread = b.op(opcode, {"x": matmul(b, dy, w), "y": b.constant(number)})
        return before, matmul(b, x, spread, transpose_x=True), matmul(b, spread, w)

    return build


@pytest.mark.parametrize(
    "opcode, number, exponent, held",
    [("mul", 1 / 256, 8, 1.0), ("mul", 1 / 196, 7, 128 / 196), ("real_div", 49.0, 5, 32 / 49),
     ("mul", -1 / 256, 8, -1.0)],
)  # fmt: skip
def test_a_mean_is_lifted(opcode, number, exponent, held):
    built = program(pooled(number, opcode), S, S, S)
    found = scaling.find(built, {0})
    assert (found.inputs, found.outputs, found.lifted) == ((0,), (0, 1, 2), (0, exponent, exponent))
    mil.verify(built)
    assert np.float16(held) in constants(built)


@pytest.mark.parametrize("number", [1 / 16, 1.0, 0.0, 100.0])
def test_ordinary_constants_are_not(number):
    built = program(pooled(number), S, S, S)
    assert scaling.find(built, {0}).lifted == ()
    assert float(np.float16(number)) in constants(built)


def test_a_mean_that_is_added_to_what_it_was_made_of_is_not():
    """A norm's: dy - mean(dy)."""

    def build(b, dy, x, w):
        total = b.op("reduce_sum", {"x": dy}, axes=(1,), keep_dims=True)
        mean = b.op("mul", {"x": total, "y": b.constant(1 / 256)})
        centred = b.op("sub", {"x": dy, "y": mean})
        return matmul(b, x, centred, transpose_x=True), matmul(b, centred, w)

    assert scaling.find(program(build, S, S, S), {0}).lifted == ()


def test_of_two_means_the_one_that_can_be_is_lifted():
    def build(b, dy, x, w):
        spread = b.op("mul", {"x": dy, "y": b.constant(1 / 256)})
        mean = b.op("mul", {"x": spread, "y": b.constant(1 / 64)})
        centred = b.op("sub", {"x": spread, "y": mean})
        return matmul(b, x, centred, transpose_x=True), matmul(b, centred, w)

    assert scaling.find(program(build, S, S, S), {0}).lifted == (8, 8)


# ------------------------------------------------------------------------- on the device


def backward(x, w, dy):
    """A gradient that the host made, averaged over 1,024 positions, through two layers."""
    dy = jnp.sort(dy, 0)
    spread = (dy / 1024)[:, None] * jnp.ones((1, 1024, 1), jnp.float32)
    hidden = spread @ w.T
    return (
        dy @ w.T,
        jnp.einsum("bti,bto->io", x, spread),
        jnp.einsum("bti,bto->io", x, hidden),
        hidden @ w.T,
    )


X, W = normal(4, 1024, 16), normal(16, 16, seed=1) / 4


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 30.0, 1e3, 4e3])
def test_gradients_behind_a_mean_survive_and_large_ones_do_not_overflow(size):
    args = X, W, normal(4, 16, seed=2) * np.float32(size)
    got, want = (run(backward, args, device) for device in ("ane", "cpu"))
    for a, b in zip(got, want, strict=True):
        assert relative_error(a, b) < 2e-3


def test_without_it_they_sink():
    args = X, W, normal(4, 16, seed=2)
    want = run(backward, args, "cpu")
    got = run(backward, args, "ane")
    with jax_ane.config(disable_passes=scaling.NAME):
        plain = run(backward, args, "ane")
    for a, b, w in zip(got[1:], plain[1:], want[1:], strict=True):
        assert relative_error(a, w) < 2e-3 < 4e-3 < relative_error(b, w)


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_what_is_not_finite_stays_so(value):
    dy = normal(4, 16, seed=2)
    dy[1, 3] = value
    got = run(backward, (X, W, dy), "ane")
    with jax_ane.config(disable_passes=scaling.NAME):
        plain = run(backward, (X, W, dy), "ane")
    for a, b in zip(got, plain, strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    assert_same_bits(got, run(backward, (X, W, dy), "ane"))
