# SPDX-License-Identifier: Apache-2.0
"""Gradients of norms whose mean square is small."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import normal, relative_error

import jax_ane
from jax_ane import report
from jax_ane.compiler import frontend, partition, roots

WEIGHTS = {"gain": np.ones(64, np.float32), "up": normal(64, 64, scale=0.125),
           "down": normal(64, 64, seed=1, scale=0.125)}  # fmt: skip
X = normal(4, 16, 64)


def rms_norm(x, gain):
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * gain


def layer_norm(x, gain):
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-6) * gain


def gradient_of(norm):
    def loss(w, x):
        """A classifier's, on the host, so that gradients enter the backward pass."""
        hidden = norm(x @ w["down"], w["gain"])
        logits = jnp.tanh(hidden @ w["up"]) @ w["down"]
        return (jax.scipy.special.logsumexp(logits, axis=-1) - logits[..., 0]).mean()

    return jax.grad(loss, argnums=(0, 1))


def block_of(fn, *args):
    module = frontend.parse(report._stablehlo(fn, args, {}))
    frontend.normalise(module)
    return module, frontend.code_blocks(module)[0]


def gradients(norm, scale: float, device: str) -> list[np.ndarray]:
    target = jax.devices(device)[0]
    with jax.default_device(target):
        found = jax.jit(gradient_of(norm))(WEIGHTS, scale * X)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found)]


@pytest.mark.parametrize("norm", [rms_norm, layer_norm], ids=lambda f: f.__name__)
@pytest.mark.parametrize("scale", [1.0, 0.02, 0.004])
def test_gradients_of_small_inputs_are_those_of_float32(norm, scale):
    want = gradients(norm, scale, "cpu")
    with jax_ane.config(numerics="fast"):
        got = gradients(norm, scale, "ane")
    for a, b in zip(got, want, strict=True):
        assert relative_error(a, b) <= 1e-2


def test_left_out_the_gradient_leaves_fp16():
    with jax_ane.config(numerics="fast", disable_passes=roots.NAME):
        got = gradients(rms_norm, 0.004, "ane")
    assert not all(np.isfinite(leaf).all() for leaf in got)


def test_the_rewritten_module_is_sound():
    module, block = block_of(gradient_of(rms_norm), WEIGHTS, X)
    before = [op.name for op in block.ops]
    changed = roots.rewrite(block, "M4")
    assert [op.name for op in changed] == ["stablehlo.multiply"] * 4 and module.operation.verify()
    assert [op.index for op in block.ops] == list(range(len(block.ops)))
    after = [op.name for op in block.ops]
    assert after.count("stablehlo.divide") == before.count("stablehlo.divide") - 1
    assert after.count("stablehlo.multiply") == before.count("stablehlo.multiply") + 2
    fresh = frontend.code_blocks(module)[0]
    assert [op.name for op in fresh.ops] == after
    for old, new in zip(block.ops, fresh.ops, strict=True):
        assert [v.type for v in old.operands] == [v.type for v in new.operands]
        assert [u.index for v in old.results for u in v.users] == [
            u.index for v in new.results for u in v.users
        ]
    assert roots.rewrite(block, "M4") == []


def test_every_product_of_the_chain_is_named():
    """Each has to be on the engine: on the host its float32 result would be a new one."""
    _, block = block_of(gradient_of(rms_norm), WEIGHTS, X)
    *chain, last = roots.rewrite(block, "M4")
    assert [block.ops[op.index] for op in (*chain, last)] == [*chain, last]
    root = chain[0].operands[1]
    assert root.producer.name == "stablehlo.rsqrt"
    for product, following in zip(chain, (*chain[1:], last), strict=True):
        assert product.operands[1] is root
        assert product.results[0] in following.operands


@pytest.mark.parametrize("at", range(4))
def test_undone_where_one_of_them_stays_on_the_host(monkeypatch, at):
    """Then the whole program is planned as it was written."""
    names, plan_block, rewrite = [], partition.plan_block, roots.rewrite
    moved = []

    def rewriting(block, *arguments):
        changed = rewrite(block, *arguments)
        moved[:] = changed[at : at + 1]
        return changed

    def planning(block, *arguments):
        plan = plan_block(block, *arguments)
        names.append([op.name for op in block.ops])
        for op in moved:
            plan.cluster_of.pop(op.index, None)
        moved.clear()
        return plan

    monkeypatch.setattr(roots, "rewrite", rewriting)
    monkeypatch.setattr(partition, "plan_block", planning)
    jax_ane.explain(gradient_of(rms_norm), WEIGHTS, X)
    rewritten, *again = names
    assert len(again) == 1
    assert again[0].count("stablehlo.divide") == rewritten.count("stablehlo.divide") + 1


def test_not_behind_the_last_product(monkeypatch):
    """The first norm's gradient, of an embedding: it stays on the host, and so as it was written.

    The other norm's is rewritten all the same, and the program planned once.
    """

    def loss(w, table, tokens):
        x = table[tokens]
        for _ in range(2):
            x = x + jnp.tanh(rms_norm(x, w["gain"]) @ w["up"]) @ w["down"]
        return (jax.scipy.special.logsumexp(x, axis=-1) - x[..., 0]).mean()

    chains, planned = [], []
    rewrite, plan_block = roots.rewrite, partition.plan_block
    monkeypatch.setattr(roots, "rewrite", lambda *a: [chains.append(rewrite(*a)), chains[-1]][-1])
    monkeypatch.setattr(
        partition, "plan_block", lambda *a: [planned.append(a[0]), plan_block(*a)][-1]
    )
    arguments = WEIGHTS, normal(32, 64), np.arange(8)
    jax_ane.explain(jax.grad(loss, argnums=(0, 1)), *arguments)
    assert [len(chain) for chain in chains] == [4] and len(planned) == 1
    assert [op.name for op in planned[0].ops].count("stablehlo.rsqrt") == 2


def test_not_where_the_steep_factor_itself_is_wanted():
    def fn(m, s):
        steep = jax.lax.rsqrt(m) / m * -0.5
        return s * steep, jnp.tanh(steep)

    module, block = block_of(fn, jnp.ones((4, 1)), jnp.ones((4, 1)))
    assert roots.rewrite(block, "M4") == []
    assert module.operation.verify()


def test_not_where_the_user_keeps_it_on_the_host():
    def fn(m, s):
        with jax_ane.place("host"):
            return s * (jax.lax.rsqrt(m) / m * -0.5)

    _, block = block_of(fn, jnp.ones((4, 1)), jnp.ones((4, 1)))
    assert roots.rewrite(block, "M4") == []


def test_host_bits_are_those_of_cpu_where_nothing_goes_to_the_engine():
    def fn(m, s):
        return s * (jax.lax.rsqrt(m) / m * -0.5)

    m, s = np.abs(normal(64, 1)) + 1e-3, normal(64, 1, seed=2)
    got, want = (
        np.asarray(jax.jit(fn)(*jax.device_put((m, s), jax.devices(d)[0]))) for d in ("ane", "cpu")
    )
    np.testing.assert_array_equal(got, want)
