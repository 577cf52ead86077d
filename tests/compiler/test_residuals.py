# SPDX-License-Identifier: Apache-2.0
"""The softmax's gradient across the border between two programs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import check_parity, normal

import jax_ane
from jax_ane import report
from jax_ane.compiler import able, frontend, pipeline, programs, residuals

Q, K, V = (normal(2, 16, 8) for _ in range(3))
ROWS = normal(2, 16)


def attention(q, k, v):
    scores = jnp.where(np.tril(np.ones((16, 16), bool)), jnp.einsum("htd,hsd->hts", q, k), -1e9)
    return jax.nn.softmax(scores) @ v


def loss(q, k, v):
    """Its logarithm stays on the host, so forward and backward pass are two programs."""
    return jax.scipy.special.logsumexp(attention(q, k, v), axis=-1).sum()


GRADIENT = jax.grad(loss, argnums=(0, 1, 2))


def block_of(fn, *args):
    module = frontend.parse(report._stablehlo(fn, args, {}))
    frontend.normalise(module)
    return module, frontend.code_blocks(module)[0]


def names(block):
    return [op.name.removeprefix("stablehlo.") for op in block.ops]


def test_the_exponentials_stay_in_their_program():
    programs = jax_ane.explain(GRADIENT, Q, K, V).programs
    assert len(programs) == 2
    text = "".join(program.text for program in programs)
    assert text.count("= softmax(") == 1 and "= exp(" not in text and "real_div" not in text
    with jax_ane.config(disable_passes="raise_softmax_gradient"):
        spelt = jax_ane.explain(GRADIENT, Q, K, V).programs
    crossing, before = (sum(t.bytes for p in ps for t in p.outputs) for ps in (programs, spelt))
    assert before - crossing >= 4 * 2 * 16 * 16  # e, in float32
    check_parity(GRADIENT, Q, K, V, tolerance=1e-2)


def test_the_rewritten_module_is_sound():
    module, block = block_of(GRADIENT, Q, K, V)
    before = names(block)
    changed = residuals.rewrite(block, "M4")
    assert [op.name for op in changed] == [
        "stablehlo.multiply", "stablehlo.add", "stablehlo.multiply",
    ]  # fmt: skip
    assert module.operation.verify()
    assert [op.index for op in block.ops] == list(range(len(block.ops)))
    assert names(block).count("divide") == before.count("divide") - 2
    fresh = frontend.code_blocks(module)[0]
    assert names(fresh) == names(block)
    for old, new in zip(block.ops, fresh.ops, strict=True):
        assert [v.type for v in old.operands] == [v.type for v in new.operands]
        assert [u.index for v in old.results for u in v.users] == [
            u.index for v in new.results for u in v.users
        ]


def test_what_crosses_crosses_once():
    """With a batch of one, products read the weights in a shape of their own."""
    q, k, v = (x[None] for x in (Q, K, V))

    def forward(q, k, v):
        scores = jnp.einsum("bhtd,bhsd->bhts", q, k)
        return jnp.einsum("bhts,bhsd->bhtd", jax.nn.softmax(scores), v)

    def fn(q, k, v):
        return jax.scipy.special.logsumexp(forward(q, k, v), axis=-1).sum()

    gradient = jax.grad(fn, argnums=(0, 1, 2))
    _, block = block_of(gradient, q, k, v)
    assert len(residuals.rewrite(block, "M4")) == 3
    indices = [v.index for op in block.ops for v in op.results]
    assert len(set(indices)) == len(indices) and -1 not in indices
    programs = jax_ane.explain(gradient, q, k, v).programs
    crossing = [t for p in programs for t in p.outputs if t.size == 2 * 16 * 16]
    assert len(crossing) == 1
    check_parity(gradient, q, k, v, tolerance=1e-2)


def near_misses():
    def no_product_follows(x):
        return (jax.nn.softmax(x) ** 2).sum()

    def on_the_host(x):
        with jax_ane.place("host"):
            return (jax.nn.softmax(x @ x.T) @ x).sum()

    def two_axes(x):
        return (jax.nn.softmax(x @ x.T, axis=(0, 1)) @ x).sum()

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("fn", near_misses(), ids=lambda fn: fn.__name__)
def test_near_misses_are_left_alone(fn):
    module, block = block_of(jax.grad(fn), ROWS)
    before = str(module)
    assert residuals.rewrite(block, "M4") == []
    assert str(module) == before


@pytest.mark.parametrize("axis", [0, 1])
def test_a_square_softmax_keeps_its_axis(axis):
    """The sum of a square matrix fits along either axis; only the right one is matched."""

    def fn(x, w):
        return jax.scipy.special.logsumexp(jax.nn.softmax(x @ w, axis=axis) @ w, axis=-1).sum()

    x, w = normal(16, 16), normal(16, 16)
    _, block = block_of(jax.grad(fn), x, w)
    assert len(residuals.rewrite(block, "M4")) == 3
    check_parity(jax.grad(fn, argnums=(0, 1)), x, w, tolerance=1e-2)


WRONG_AXIS = """module {{ func.func public @main(%x: tensor<4x4xf32>, %g: tensor<4x4xf32>)
    -> (tensor<4x4xf32>, tensor<4x4xf32>) {{
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %one = stablehlo.constant dense<1.0> : tensor<4xf32>
  %e = stablehlo.exponential %x : tensor<4x4xf32>
  %s = stablehlo.reduce(%e init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<4x4xf32>, tensor<f32>) -> tensor<4xf32>
  %sb = stablehlo.broadcast_in_dim %s, dims = [0] : (tensor<4xf32>) -> tensor<4x4xf32>
  %y = stablehlo.divide %e, %sb : tensor<4x4xf32>
  %o = stablehlo.dot_general %y, %x, contracting_dims = [1] x [0]
    : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %ss = stablehlo.multiply %s, %s : tensor<4xf32>
  %i = stablehlo.divide %one, %ss : tensor<4xf32>
  %ib = stablehlo.broadcast_in_dim %i, dims = [{inverse}] : (tensor<4xf32>) -> tensor<4x4xf32>
  %m1 = stablehlo.multiply %g, %ib : tensor<4x4xf32>
  %m2 = stablehlo.multiply %m1, %e : tensor<4x4xf32>
  %t = stablehlo.reduce(%m2 init: %zero) applies stablehlo.add across dimensions = [{summed}]
    : (tensor<4x4xf32>, tensor<f32>) -> tensor<4xf32>
  %n = stablehlo.negate %t : tensor<4xf32>
  %nb = stablehlo.broadcast_in_dim %n, dims = [{negative}] : (tensor<4xf32>) -> tensor<4x4xf32>
  %qb = stablehlo.broadcast_in_dim %s, dims = [{quotient}] : (tensor<4xf32>) -> tensor<4x4xf32>
  %q = stablehlo.divide %g, %qb : tensor<4x4xf32>
  %d = stablehlo.add %q, %nb : tensor<4x4xf32>
  %r = stablehlo.multiply %d, %e : tensor<4x4xf32>
  return %o, %r : tensor<4x4xf32>, tensor<4x4xf32>
}} }}"""
RIGHT = {"inverse": 0, "summed": 1, "negative": 0, "quotient": 0}


@pytest.mark.parametrize("turned", [None, *RIGHT])
def test_what_is_repeated_along_another_axis_is_another_formula(turned):
    text = WRONG_AXIS.format(**RIGHT | ({turned: 1 - RIGHT[turned]} if turned else {}))
    module = frontend.parse(text)
    (block,) = frontend.code_blocks(module)
    assert len(residuals.rewrite(block, "M4")) == (0 if turned else 3)


def test_an_op_that_ends_on_the_host_undoes_it(monkeypatch):
    """A refused program's ops run on XLA:CPU, to the bits that they always had."""
    calls = []
    build = programs.build

    def refuse(cluster, *rest):
        calls.append(cluster)
        raise programs.Illegal(able.Reason("ANE099", "refused"))

    monkeypatch.setattr(programs, "build", refuse)
    program = report._stablehlo(GRADIENT, (Q, K, V), {})
    refused = pipeline.compile(program, load=False)
    assert calls and not refused.placement.programs
    with jax_ane.config(disable_passes="raise_softmax_gradient"):
        never = pipeline.compile(program, load=False)
    assert refused.host_module == never.host_module
    monkeypatch.setattr(programs, "build", build)
    assert pipeline.compile(program, load=False).placement.programs
