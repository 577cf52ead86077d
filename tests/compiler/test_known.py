# SPDX-License-Identifier: Apache-2.0
"""Values known at compile time: masks and tables are constants, decided selects are gone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import plans_of, stablehlo_of
from jax import lax
from parity_tools import assert_close, normal, run

import jax_ane
from jax_ane.compiler import frontend, graph

N = 8
X = normal(N, N)


def values_of(fn, *args):
    """Returns what is known of the results of `fn`, next to what the host computes."""
    module = frontend.parse(stablehlo_of(fn, *args))
    frontend.normalise(module)
    block = frontend.code_blocks(module)[0]
    got = [value.known for value in block.returned]
    with jax.default_device(jax.devices("cpu")[0]):
        want = jax.tree.leaves(jax.jit(fn)(*args))
    return got, [np.asarray(w) for w in want]


i32 = lambda: lax.iota("int32", N)  # noqa: E731
f32 = lambda: lax.iota("float32", N)  # noqa: E731
MADE = {
    "causal": lambda: jnp.tril(jnp.ones((N, N), bool)),
    "window": lambda: jnp.abs(i32()[:, None] - i32()[None]) < 3,
    "blocks": lambda: (i32() // 3)[:, None] == (i32() // 3)[None],
    "negative_floor": lambda: (i32() - 4) // 3,
    "remainder": lambda: (i32() - 4) % 3,
    "truncated": lambda: lax.div(i32() - 4, jnp.int32(3)),
    "signed_remainder": lambda: lax.rem(i32() - 4, jnp.int32(3)),
    "wraps": lambda: i32().astype(jnp.int8) * jnp.int8(100),
    "unsigned": lambda: jnp.uint8(3) - i32().astype(jnp.uint8),
    "bias": lambda: jnp.where(jnp.eye(N, dtype=bool), 0.0, -1e9),
    "alibi": lambda: f32()[None, :] * -(2.0 ** -jnp.arange(1.0, 5)[:, None]),
    "rotary": lambda: jnp.cos(f32()[:, None] / 10000 ** (jnp.arange(0, 8, 2) / 8)),
    "sine": lambda: jnp.sin(3.0 * f32()),
    "moved": lambda: jnp.flip(i32().reshape(2, 4).T, 0)[1:, ::-1],
    "joined": lambda: jnp.concatenate([i32(), jnp.zeros(3, jnp.int32)]),
    "clipped": lambda: jnp.clip(i32(), 2, 5),
    "logic": lambda: ~(i32() > 3) ^ (i32() == 1) | (i32() < 7) & (i32() > 5),
    "bits": lambda: (i32() & 5) | 8,
    "spread": lambda: jnp.broadcast_to(i32()[:, None], (N, 3)),
    "constant": lambda: jnp.asarray(np.arange(6.0)) * 2,
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_counters_is_known(name):
    got, want = values_of(MADE[name])
    for a, b in zip(got, want, strict=True):
        assert a is not None
        assert a.shape == b.shape and a.dtype == b.dtype
        if b.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)


UNKNOWN = {
    "argument": lambda x: x + 1,
    "division_by_zero": lambda x: lax.div(i32(), i32()),
    "out_of_range": lambda x: (f32() * 1e30).astype(jnp.int32),
    "too_large": lambda x: (
        lax.broadcasted_iota("int32", (2048, 2048), 0)
        + lax.broadcasted_iota("int32", (2048, 2048), 1)
    ),
    "random": lambda x: jax.random.bits(jax.random.key(0), (4,)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_evaluated_stays_unknown(name):
    got, _ = values_of(UNKNOWN[name], X)
    assert got == [None] * len(got)


def test_repeated_values_are_held_once():
    got, _ = values_of(lambda: jnp.broadcast_to(i32()[:, None, None] * 2, (N, 512, 512)))
    assert graph.varying(got[0]).size == N
    got, _ = values_of(lambda: lax.broadcasted_iota("int32", (2048, 2048), 0) > 5)
    assert graph.varying(got[0]).shape == (2048, 1)


def attend(x):
    scores = x @ x.T
    mask = lax.broadcasted_iota("int32", (N, N), 0) >= lax.broadcasted_iota("int32", (N, N), 1)
    return jax.nn.softmax(jnp.where(mask, scores, -1e9)) @ x


def test_a_causal_mask_is_a_constant_of_its_program():
    report = jax_ane.explain(attend, X)
    assert [len(p.inputs) for p in report.programs] == [1]
    assert {op.reason.code for op in report.placement.ops if op.placement == "host"} == {"constant"}
    assert report.placement.ane_flop_fraction == 1.0
    assert_close(*(run(attend, (X,), d) for d in ("ane", "cpu")), 1e-2)


def test_tables_and_masks_of_every_rank_reach_the_engine():
    def fn(x):
        table = jnp.cos(f32()[:, None] * 0.3 + f32()[None] * 0.1)
        far = jnp.abs(i32()[:, None, None] - i32()[None, :, None]) < 3
        h = (x @ x)[None] * table + jnp.where(far, 1.0, 0.0)
        return h @ x, jnp.where(i32() > 2, x @ x, 0.5) @ x

    assert all(len(p.inputs) == 1 for p in jax_ane.explain(fn, X).programs)
    got, want = (run(fn, (X,), d) for d in ("ane", "cpu"))
    for a, b in zip(got, want, strict=True):
        assert_close(a, b, 1e-2)


def test_the_guard_of_a_variance_is_decided():
    def fn(x):
        h = x @ x
        return ((h - h.mean(1, keepdims=True)) / jnp.sqrt(jnp.var(h, 1, keepdims=True) + 1e-3)) @ x

    report = jax_ane.explain(fn, X)
    assert len(report.programs) == 1
    assert report.placement.ane_flop_fraction == 1.0
    assert_close(*(run(fn, (X,), d) for d in ("ane", "cpu")), 1e-2)


@pytest.mark.parametrize("condition", [True, False])
def test_a_decided_select_is_its_operand(condition):
    def fn(x, y):
        decided = jnp.full((N, N), condition)
        chosen = lax.select(decided, lax.select(decided, x, y), y)
        return chosen, lax.fori_loop(0, 3, lambda i, h: h + chosen, x), chosen @ x

    args = X, normal(N, N, seed=1)
    for plan in plans_of(stablehlo_of(fn, *args)):
        assert all(not op.results[0].users for op in plan.block.ops if op.name.endswith("select"))
    got, want = (run(fn, args, d) for d in ("ane", "cpu"))
    for a, b in zip(got, want, strict=True):
        assert_close(a, b, 1e-2)


def test_a_small_entry_of_a_table_does_not_send_it_to_the_host():
    fn = lambda x: (x @ x * jnp.sin(f32() * np.float32(np.pi))) @ x  # noqa: E731
    report = jax_ane.explain(fn, X)
    assert all(op.placement == "ane" for op in report.placement.ops if "multiply" in op.op
               and op.reason.code != "constant")  # fmt: skip
    vanishing = jax_ane.explain(lambda x: (x @ x + f32() * 1e-12) @ x, X)
    assert any(op.reason.code == "vanishes" for op in vanishing.placement.ops)
