# SPDX-License-Identifier: Apache-2.0
"""Cheap values that a program computes again instead of reading them from another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import assert_same_bits, normal, run

import jax_ane

X = normal(128, 256)
UP, GATE = (normal(256, 512, seed=seed, scale=0.06) for seed in (1, 2))
DOWN = normal(512, 256, scale=0.05)


def block(x, up, gate, down):
    return (jax.nn.silu(x @ gate) * (x @ up)) @ down


def loss(*args):
    """Its logarithm stays on the host, so forward and backward pass are two programs."""
    return jnp.mean(jax.nn.logsumexp(block(*args), -1))


GRADIENT = jax.grad(loss, argnums=(0, 1, 2, 3))
ARGS = X, UP, GATE, DOWN


def crossing(programs):
    """Returns the elements that the programs write, gradients of the arguments among them."""
    return sum(t.size for program in programs for t in program.outputs)


def test_backward_pass_reads_products_and_makes_the_rest():
    programs = jax_ane.explain(GRADIENT, *ARGS).programs
    with jax_ane.config(disable_passes="recompute"):
        sent = jax_ane.explain(GRADIENT, *ARGS).programs
    assert len(programs) == len(sent) == 2
    hidden = 128 * 512
    # Gate and up alone; before, also the gate's sigmoid, silu and their product.
    assert crossing(sent) - crossing(programs) >= 2 * hidden
    total = sum(p.estimate.total_s for p in programs)
    assert total < sum(p.estimate.total_s for p in sent)


def test_results_are_the_same_up_to_fp16():
    got = run(GRADIENT, ARGS, "ane")
    with jax_ane.config(disable_passes="recompute"):
        sent = run(GRADIENT, ARGS, "ane")
    for mine, other, true in zip(got, sent, run(GRADIENT, ARGS, "cpu"), strict=True):
        scale = np.linalg.norm(true)
        assert np.linalg.norm(mine - other) < 2e-3 * scale
        assert np.linalg.norm(mine - true) < 1e-2 * scale


def test_what_only_adds_and_multiplies_has_the_same_bits():
    def fn(x, w):
        y = x @ w
        scaled = y * 0.5 + 1
        z = scaled @ w
        with jax_ane.place("host"):
            middle = jnp.sin(z)
        return (middle @ w * scaled) @ (scaled * y)

    args = normal(128, 128), normal(128, 128, scale=0.06)
    assert any(
        program.pass_statistics.get("recompute") for program in jax_ane.explain(fn, *args).programs
    )
    got = run(fn, args, "ane")
    with jax_ane.config(disable_passes="recompute"):
        assert_same_bits(got, run(fn, args, "ane"))


def test_products_and_reductions_are_never_made_again():
    def fn(x, w):
        y = jax.nn.softmax(x @ w)
        z = y @ w
        with jax_ane.place("host"):
            middle = jnp.sin(z)
        return (middle * y) @ w

    args = normal(256, 256), normal(256, 256, scale=0.06)
    text = "".join(program.text for program in jax_ane.explain(fn, *args).programs)
    assert text.count("matmul(") == 3
    assert text.count("softmax(") == 1


def test_value_that_the_host_reads_too_is_still_sent():
    def fn(x, w):
        y = x @ w
        scaled = jnp.abs(y)
        with jax_ane.place("host"):
            middle = jnp.sin(scaled)
        return (middle * scaled) @ w.T, y @ w.T

    args = X, normal(256, 256, scale=0.06)
    for mine, true in zip(run(fn, args, "ane"), run(fn, args, "cpu"), strict=True):
        np.testing.assert_allclose(mine, true, atol=2e-2 * np.max(np.abs(true)))


@pytest.mark.parametrize("layers", [2, 24])
def test_program_with_too_many_borders_is_cut_first(layers):
    """Of 24 layers, more values cross than a program may have surfaces."""

    def deep(weights, x):
        for w in weights:
            x = x + jax.nn.silu(x @ w) * 0.5 @ w
        return jnp.mean(jax.nn.logsumexp(x, -1))

    weights = [normal(64, 64, seed=i, scale=0.1) for i in range(layers)]
    x = normal(32, 64)
    gradient = jax.grad(deep)
    report = jax_ane.explain(gradient, weights, x)
    assert report.ane_flop_fraction > 0.95
    for mine, true in zip(
        run(gradient, (weights, x), "ane"), run(gradient, (weights, x), "cpu"), strict=True
    ):
        assert np.linalg.norm(mine - true) < 2e-2 * np.linalg.norm(true)
