# SPDX-License-Identifier: Apache-2.0
"""Optimization barriers: no program is cut at one, and nothing is merged across it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import main, plans_of, records, run_text, stablehlo_of
from jax import lax
from parity_tools import assert_close, check_parity, normal, run

import jax_ane
from jax_ane.compiler import barriers, mil, passes, residuals
from jax_ane.compiler.graph import Location

WIDTH = 64
X, Y = normal(16, WIDTH), normal(16, WIDTH, seed=1)


def id_of(fn):
    return fn


def weights(*shapes):
    return [normal(*s, seed=i, scale=s[0] ** -0.5) for i, s in enumerate(shapes)]


def mlp(p, x):
    return x + jnp.tanh(x @ p[0] + p[1]) @ p[2]


def norm(x):
    x = x - x.mean(-1, keepdims=True)
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def transformer(p, x):
    q, k, v = ((norm(x) @ w).reshape(-1, 4, WIDTH // 4).swapaxes(0, 1) for w in p[:3])
    scores = jnp.where(np.tril(np.ones((16, 16), bool)), q @ k.swapaxes(1, 2) / 4, -1e9)
    x = x + (jax.nn.softmax(scores) @ v).swapaxes(0, 1).reshape(x.shape) @ p[3]
    return x + jax.nn.gelu(norm(x) @ p[4]) @ p[5]


MODELS = {
    "mlp": (mlp, weights((WIDTH, 256), (256,), (256, WIDTH))),
    "transformer": (
        transformer, weights(*[(WIDTH, WIDTH)] * 4, (WIDTH, 256), (256, WIDTH))),
}  # fmt: skip


def gradient(layer, wrap, depth=3):
    """Its logarithm stays on the host, so forward and backward pass are two programs."""

    def loss(p, x, y):
        for _ in range(depth):
            x = wrap(layer)(p, x)
        return jax.scipy.special.logsumexp(x - y, axis=-1).mean()

    return jax.grad(loss)


def matmuls(report):
    return sum(program.text.count("= matmul(") for program in report.programs)


@pytest.mark.parametrize("name", MODELS)
def test_checkpointed_gradient_is_as_many_programs(name):
    layer, p = MODELS[name]
    whole = jax_ane.explain(gradient(layer, id_of), p, X, Y)
    again = jax_ane.explain(gradient(layer, jax.checkpoint), p, X, Y)
    assert len(again.programs) == len(whole.programs) == 2
    assert again.ane_flop_fraction == pytest.approx(whole.ane_flop_fraction, abs=5e-3)
    # What the forward pass made is not kept for the backward pass, but made again there.
    products = {"mlp": 1, "transformer": 7}[name]
    assert matmuls(again) >= matmuls(whole) + 3 * products
    crossing, kept = (
        sum(t.bytes for program in r.programs for t in program.outputs) for r in (again, whole)
    )
    assert crossing < kept
    checkpointed = gradient(layer, jax.checkpoint)
    check_parity(checkpointed, p, X, Y, tolerance=1e-2, placements=("auto",))
    for placement in ("auto", "ane"):
        got, want = (
            run(fn, (p, X, Y), "ane", placement) for fn in (checkpointed, gradient(layer, id_of))
        )
        assert_close(got, want, 2e-3, placement)


def test_nothing_is_merged_across_a_barrier_within_one_program():
    """Without a loss on the host, forward and backward pass are one program."""

    def pull(wrap):
        return lambda x, w, g: jax.vjp(wrap(lambda x: jnp.exp(x @ w) @ w), x)[1](g)

    w, g = normal(WIDTH, WIDTH, scale=0.02), normal(16, WIDTH, seed=2)
    (whole,) = jax_ane.explain(pull(id_of), X, w, g).programs

    def twice(x, w, g):
        y = jnp.exp(x @ w) @ w
        return y, *pull(jax.checkpoint)(x, w, g)

    (again,) = jax_ane.explain(twice, X, w, g).programs
    assert whole.text.count("= exp(") == 1 and again.text.count("= exp(") == 2
    assert "barrier" not in again.text
    check_parity(twice, X, w, g, tolerance=1e-2)


def test_dropout_and_host_ops_in_a_layer():
    """Keys and tokens cross the barrier as integers, and stay on the host."""

    def layer(p, x, key):
        kept = jax.random.bernoulli(key, 0.9, x.shape)
        return x + jnp.where(kept, jnp.tanh(x @ p[0] + p[1]) @ p[2] / 0.9, 0.0)

    def gradient_of(wrap):
        def loss(p, tokens, key):
            x = wrap(lambda p, tokens: jnp.tile(p[2], (1, 1))[tokens])(p, tokens)
            for i in range(2):
                x = wrap(layer)(p, x, jax.random.fold_in(key, i))
            return jax.scipy.special.logsumexp(x, axis=-1).sum()

        return jax.grad(loss)

    args = MODELS["mlp"][1], np.arange(16), jax.random.PRNGKey(0)
    whole = jax_ane.explain(gradient_of(id_of), *args)
    again = jax_ane.explain(gradient_of(jax.checkpoint), *args)
    assert len(again.programs) == len(whole.programs)
    check_parity(gradient_of(jax.checkpoint), *args, tolerance=2e-2)


TEXT = main(
    """
    %0:3 = stablehlo.optimization_barrier %x, %w, %n
        : tensor<4x4xf32>, tensor<4x4xf32>, tensor<i32>
    %1 = stablehlo.dot_general %0#0, %0#1, contracting_dims = [1] x [0]
        : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %2:2 = stablehlo.while(%i = %0#2, %c = %0#1) : tensor<i32>, tensor<4x4xf32>
     cond {
      %3 = stablehlo.compare LT, %i, %0#2 : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %3 : tensor<i1>
     } do {
      %3 = stablehlo.add %c, %0#0 : tensor<4x4xf32>
      stablehlo.return %i, %3 : tensor<i32>, tensor<4x4xf32>
     }
    return %1, %2#1, %0#0 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
    """,
    "%x: tensor<4x4xf32>, %w: tensor<4x4xf32>, %n: tensor<i32>",
    "tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>",
)  # fmt: skip


def test_each_reader_gets_a_barrier_where_it_is_itself():
    plan = plans_of(TEXT)[0]
    placed = {}
    for op in plan.block.ops:
        if op.name == barriers.NAME:
            (reader,) = op.results[0].users or [None]
            place = "ane" if op.index in plan.cluster_of else "host"
            placed.setdefault(reader.name[10:] if reader else "return", []).append(place)
    # The loop starts from w and n; its regions read x and n.
    assert placed == {"dot_general": ["ane", "ane"], "while": ["host"] * 3, "return": ["host"]}


def test_values_of_host_readers_keep_their_float32_bits():
    x, w = normal(4, 4), normal(4, 4, seed=1)
    product, looped, same = run_text(TEXT, x, w, np.int32(0))
    np.testing.assert_array_equal(looped, w)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_allclose(product, x @ w, atol=1e-2)


def test_what_is_known_is_known_behind_a_barrier():
    def fn(x):
        at, low = lax.optimization_barrier((np.arange(0, 8, 2), jnp.float32(0.5)))
        return (x @ x.T)[at] + jnp.maximum(x @ x.T, low)[:4] @ x @ x.T

    found = records(stablehlo_of(fn, X), "ane")
    assert found["gather"].placement == "ane" and found["maximum"].placement == "ane"


def test_parts_forget_what_is_taken_out():
    """A decided select behind the barrier is gone, and so is the softmax's spelt gradient."""

    def pull(q, k, v, g, wrap):
        def fn(q, k, v):
            def attend(scores, other, v):
                return jax.nn.softmax(jnp.where(jnp.arange(4)[0] < 1, scores, other)) @ v

            return wrap(attend)(q @ k.T, q, v)

        return jax.vjp(fn, q, k, v)[1](jnp.log(g))

    args = [normal(16, 16, seed=i) for i in range(3)] + [np.full((16, 16), 2.0, np.float32)]
    for fn in (jax.checkpoint, id_of):
        block = plans_of(stablehlo_of(lambda *a, fn=fn: pull(*a, fn), *args))[0].block
        assert residuals.rewrite(block, "M4")
        assert any(op.parts for op in block.ops) is (fn is jax.checkpoint)
        for op in block.ops:
            assert all(part in block.ops for part in op.parts)
            held = [v.producer for part in op.parts for v in part.operands]
            assert all(made is None or made in block.ops for made in held)
    check_parity(lambda *a: pull(*a, jax.checkpoint), *args, tolerance=2e-2)


def program_with_barrier(is_output):
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (4, 4)))
    held = builder.op("barrier", {"x": x}, number=0)
    first, again = (builder.op("exp", {"x": v}) for v in (x, held))
    builder.program.outputs = [builder.op("sub", {"x": first, "y": again})]
    builder.program.outputs += [held] * is_output
    return builder.program


@pytest.mark.parametrize("is_output", [False, True])
def test_passes_keep_it_and_drop_takes_it_out(is_output):
    program = program_with_barrier(is_output)
    passes.run(program, validate=True)
    assert sorted(op.opcode for op in program.ops) == ["barrier", "exp", "exp", "sub"]
    barriers.drop(program)
    mil.verify(program)  # no output is an input
    left = [op.opcode for op in program.ops if op.value is None]
    assert left == [*["mul"] * is_output, "exp", "exp", "sub"]
    assert all(op.location == Location() for op in program.ops)
