# SPDX-License-Identifier: Apache-2.0
"""scale_operands: which inputs are scaled, and that small gradients survive by it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import assert_same_bits, normal, relative_error, run

import jax_ane
from jax_ane.compiler import mil, scaling

ROWS, WIDTH = 64, 48
X, W, V = normal(ROWS, WIDTH), normal(WIDTH, WIDTH, seed=1) / 7, normal(WIDTH, 96, seed=2) / 7


def program(build, *shapes):
    builder = mil.Builder()
    inputs = [builder.input(mil.Type("fp16", shape)) for shape in shapes]
    outputs = build(builder, *inputs)
    builder.program.outputs = list(outputs)
    mil.verify(builder.program)
    return builder.program


def matmul(builder, x, y, transpose_x=False, transpose_y=False):
    return builder.op("matmul", {"x": x, "y": y}, transpose_x=transpose_x, transpose_y=transpose_y)


S = (8, 8)


def backward(b, dy, x, w):
    """Gradients of tanh(x @ w) by the outputs' gradient, weights and input."""
    return matmul(b, dy, w, transpose_y=True), matmul(b, x, dy, transpose_x=True)


def test_a_backward_pass_is_linear_in_the_gradient_that_enters():
    found = scaling.find(program(backward, S, S, S), {0, 1, 2})
    assert found == scaling.Scaling((0,), (0, 1))


def test_what_may_not_be_scaled_is_not():
    assert scaling.find(program(backward, S, S, S), {1, 2}) == scaling.NOTHING
    assert scaling.find(program(backward, S, S, S), set()) == scaling.NOTHING


def test_of_a_lone_product_the_one_computed_input_is_scaled_where_it_is_small():
    lone = program(lambda b, x, w: [matmul(b, x, w)], S, S)
    assert scaling.find(lone, {0}) == scaling.Scaling((0,), (0,), scaling.BELOW_LONE)
    assert scaling.find(lone, {0, 1}) == scaling.NOTHING  # which of them?


def chain(last):
    def build(b, dy, x, w):
        return [last(b, matmul(b, matmul(b, dy, w), w), x)]

    return build


LINEAR = {
    "mul": lambda b, v, x: b.op("mul", {"x": x, "y": v}),
    "mul_by_constant": lambda b, v, x: b.op("mul", {"x": v, "y": b.constant(0.3)}),
    "divided": lambda b, v, x: b.op("real_div", {"x": v, "y": x}),
    "masked": lambda b, v, x: b.op(
        "select",
        {"cond": b.op("greater", {"x": x, "y": b.constant(0.0)}), "a": v, "b": b.constant(0.0)},
    ),
    "added_to_itself": lambda b, v, x: b.op("add", {"x": v, "y": v}),
    "relu": lambda b, v, x: b.op("relu", {"x": v}),
    "peak": lambda b, v, x: b.op("reduce_max", {"x": v}, axes=(1,), keep_dims=True),
    "moved": lambda b, v, x: b.op("transpose", {"x": v}, perm=(1, 0)),
}
NOT_LINEAR = {
    "squared": lambda b, v, x: b.op("mul", {"x": v, "y": v}),
    "tanh": lambda b, v, x: b.op("tanh", {"x": v}),
    "added_constant": lambda b, v, x: b.op("add", {"x": v, "y": b.constant(1.0)}),
    "divisor": lambda b, v, x: b.op("real_div", {"x": x, "y": v}),
    "own_mask": lambda b, v, x: b.op(
        "select", {"cond": b.op("greater", {"x": v, "y": b.constant(1.0)}), "a": v, "b": x}
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_operations_pass_the_scale_on(name):
    found = scaling.find(program(chain(LINEAR[name]), S, S, S), {0, 1})
    assert found == scaling.Scaling((0,), (0,))


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_other_operations_forbid_it(name):
    assert scaling.find(program(chain(NOT_LINEAR[name]), S, S, S), {0}) == scaling.NOTHING


def test_an_output_that_is_not_scaled_is_told_apart():
    def build(b, dy, x, w):
        return *backward(b, dy, x, w), b.op("tanh", {"x": x})

    assert scaling.find(program(build, S, S, S), {0, 1}) == scaling.Scaling((0,), (0, 1))


def test_gradients_that_are_added_are_scaled_together():
    def build(b, d1, d2, x, w):
        total = b.op("add", {"x": matmul(b, d1, w), "y": d2})
        return backward(b, total, x, w)

    assert scaling.find(program(build, S, S, S, S), {0, 1}) == scaling.Scaling((0, 1), (0, 1))
    assert scaling.find(program(build, S, S, S, S), {0}) == scaling.NOTHING


def test_parts_that_are_joined_are_scaled_together():
    def build(b, d1, d2, d3, x, w):
        total = b.op("concat", {"values": (d1, d2, d3)}, axis=0, interleave=False)
        return backward(b, total, x, w)

    wide = (24, 8)
    found = scaling.find(program(build, S, S, S, wide, S), {0, 1, 2})
    assert found == scaling.Scaling((0, 1, 2), (0, 1))


def test_independent_gradients_share_the_scale():
    """The smaller group is found first; the larger one needs a merge, and then both are taken."""

    def build(b, d1, d2, d3, x, w):
        total = matmul(b, b.op("add", {"x": matmul(b, d1, w), "y": d2}), w)
        return *backward(b, total, x, w), *backward(b, d3, x, w)

    found = scaling.find(program(build, S, S, S, S, S), {0, 1, 2})
    assert found == scaling.Scaling((0, 1, 2), (0, 1, 2, 3))


def test_inputs_of_one_product_are_not_scaled_together():
    def build(b, d1, d2, x, w):
        return *backward(b, d1, x, w), matmul(b, matmul(b, d1, w), d2)

    assert scaling.find(program(build, S, S, S, S), {0, 1}) == scaling.Scaling((0,), (0, 1, 2))


# ------------------------------------------------------------------------- on the device


def head(w, v, x, labels):
    """A small network whose loss is a mean over many tokens."""
    logits = jnp.tanh(x @ w) @ v
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
    return -chosen.mean()


LABELS = np.arange(ROWS) % 96


def gradients(device, weight=1.0, disabled=""):
    def fn(w, v, x, labels):
        return jax.grad(lambda w, v: weight * head(w, v, x, labels), argnums=(0, 1))(w, v)

    with jax_ane.config(disable_passes=disabled):
        return run(fn, (W, V, X, LABELS), device)


@pytest.mark.parametrize("weight", [1.0, 1e-3, 1e-7])
@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_small_gradients_survive(weight, numerics):
    want = gradients("cpu", weight)
    with jax_ane.config(numerics=numerics):
        got = gradients("ane", weight)
    for a, b in zip(got, want, strict=True):
        assert relative_error(a, b) < 5e-3


def test_without_it_they_do_not():
    want = gradients("cpu", 1e-3)
    got = gradients("ane", 1e-3, disabled=scaling.NAME)
    assert min(relative_error(a, b) for a, b in zip(got, want, strict=True)) > 0.1


def test_equal_calls_give_equal_bits_whatever_was_between():
    first = gradients("ane", 1e-3)
    gradients("ane", 1e-7)
    gradients("ane", 1.0)
    assert_same_bits(gradients("ane", 1e-3), first)


def test_a_first_layers_gradient_survives():
    def fn(x, dy):
        return x.T @ jnp.sort(dy, 0)

    args = normal(64, 16), normal(64, 16, seed=1) * np.float32(1e-7)
    assert relative_error(run(fn, args, "ane"), run(fn, args, "cpu")) < 1e-3
    with jax_ane.config(disable_passes=scaling.NAME):
        assert relative_error(run(fn, args, "ane"), run(fn, args, "cpu")) > 0.1


def test_gradients_carried_by_a_loop_survive():
    """An LSTM's: four gates' gradients, joined in the body of the backward scan."""

    def loss(w, x):
        def step(carry, row):
            h, c = carry
            i, f, g, o = jnp.split(jnp.concatenate([row, h], -1) @ w, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((x.shape[1], 16))
        (h, _), _ = jax.lax.scan(step, (zero, zero), x)
        return 1e-5 * (h * h).mean()

    w, x = normal(32, 64, seed=3) / 5, normal(6, 8, 16, seed=4)
    got, want = (run(jax.grad(loss), (w, x), device) for device in ("ane", "cpu"))
    assert relative_error(got, want) < 5e-3


def two_products(x, w, dy):
    """What one layer's backward pass computes, of a gradient that the host made."""
    dy = jnp.sort(dy, 0)
    return dy @ w.T, x.T @ dy


@pytest.mark.parametrize("size", [1.0, 100.0, 3000.0])
def test_a_scale_that_overflows_is_taken_back(size):
    """Sums over rows of large activations: the scaled sum passes 2^15, the true one does not."""
    x = np.full((512, 16), size, np.float32)
    dy = np.full((512, 16), 2.0**-8, np.float32)
    w = np.eye(16, dtype=np.float32)
    got, want = (run(two_products, (x, w, dy), device) for device in ("ane", "cpu"))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3)


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan, 32.0, 1e30, 1e-40])
def test_values_that_need_no_scale_or_allow_none(value):
    dy = np.full((8, 16), 2.0**-8, np.float32)
    dy[3, 4] = value
    x, w = np.ones((8, 16), np.float32), np.eye(16, dtype=np.float32)
    got = run(two_products, (x, w, dy), "ane")
    with jax_ane.config(disable_passes=scaling.NAME):
        plain = run(two_products, (x, w, dy), "ane")
    assert_same_bits(got, plain)


def test_halves_and_padded_rows_are_scaled_too():
    def fn(x, w, dy):
        return two_products(x, w, dy)

    x, w = normal(24, 20), normal(20, 20, seed=1)
    dy = normal(24, 20, seed=2) * np.float32(1e-5)
    for dtype, limit in ((np.float32, 1e-3), (np.float16, 2e-2)):
        args = [a.astype(dtype) for a in (x, w, dy)]
        want = run(fn, [a.astype(np.float32) for a in args], "cpu")
        got = run(fn, args, "ane")
        for a, b in zip(got, want, strict=True):
            assert relative_error(a, b) < limit


def test_arguments_and_counters_are_never_scaled():
    def fn(x, w):
        return x @ w.T, x.T @ w, jnp.arange(16.0).reshape(4, 4) @ w

    (program,) = jax_ane.explain(fn, normal(4, 4), normal(4, 4)).programs
    assert program.scaling == scaling.NOTHING
