# SPDX-License-Identifier: Apache-2.0
"""Weights that a step updates are uploaded once a call, and the estimate says so."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ane
from jax_ane import _chips

W1, W2, B = (np.ones(shape, np.float32) for shape in ((64, 256), (256, 8), (8,)))
X, Y = np.ones((512, 64), np.float32), np.zeros((512, 8), np.float32)
PARAMS = {"w1": W1, "w2": W2}


def loss(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["w1"]) @ params["w2"] - y) ** 2)


def sgd(params, x, y):
    grads = jax.grad(loss)(params, x, y)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)


def momentum(params, state, x, y):
    grads = jax.grad(loss)(params, x, y)
    state = jax.tree.map(lambda m, g: 0.9 * m + g, state, grads)
    return jax.tree.map(lambda p, m: p - 0.1 * m, params, state), state


def skipping(params, x, y):
    new = sgd(params, x, y)
    good = jnp.isfinite(loss(new, x, y))
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, params)


def choosing(params, x, y):
    good = x.sum() > 0
    return jax.lax.cond(good, lambda p: sgd(p, x, y), lambda p: p, params)


def looping(params, x, y):
    return jax.lax.scan(lambda p, _: (sgd(p, x, y), None), params, None, length=3)[0]


def one_frozen(params, x, y):
    new = sgd(params, x, y)
    return {"w1": new["w1"], "w2": params["w2"]}


def updated(fn, *args):
    return jax_ane.explain(fn, *args).placement.updated_elements


@pytest.mark.parametrize("fn", [sgd, skipping, choosing, looping, jax.jit(sgd, donate_argnums=0)])
def test_each_updated_weight_counts_once(fn):
    assert updated(fn, PARAMS, X, Y) == W1.size + W2.size


def test_optimiser_state_stays_on_the_host():
    assert updated(momentum, PARAMS, PARAMS, X, Y) == W1.size + W2.size


def test_frozen_weights_are_not_uploaded():
    assert updated(one_frozen, PARAMS, X, Y) == W1.size


@pytest.mark.parametrize(
    "fn",
    [
        loss,
        jax.grad(loss),
        lambda params, x, y: (params, loss(params, x, y)),
        lambda params, x, y: jnp.tanh(x @ params["w1"]) @ params["w2"],
    ],
)
def test_programs_that_update_nothing_upload_nothing(fn):
    report = jax_ane.explain(fn, PARAMS, X, Y)
    assert report.programs and report.placement.updated_elements == 0
    assert "one upload" not in report.to_text() and report.placement.estimate.weights_s == 0


def test_what_only_the_host_reads_is_not_uploaded():
    def fn(params, x, y):
        table = params["table"]
        new = sgd({"w1": params["w1"], "w2": params["w2"]}, x, y)
        return {**new, "table": table * 0.9}

    assert updated(fn, {**PARAMS, "table": np.ones((1000, 64), np.float32)}, X, Y) == sum(
        w.size for w in PARAMS.values()
    )


def test_rows_picked_of_a_table_are_not_the_table():
    def step(params, tokens, y):
        def of(params):
            return loss(params, params["table"][tokens], y)

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(of)(params))

    params = {**PARAMS, "table": np.ones((1000, 64), np.float32)}
    assert updated(step, params, np.zeros(512, np.int32), Y) == W1.size + W2.size


@pytest.mark.parametrize("chip", ["M1", "M4", "M6"])
def test_the_estimate_has_one_upload_at_the_copy_rate(chip):
    with jax_ane.config(chip=chip, placement="ane"):
        report = jax_ane.explain(sgd, PARAMS, X, Y)
    calls = report.placement.calls
    whole = report.placement.estimate
    rate = _chips.load(chip)["copy_gb_per_s"]["value"] * 1e9
    assert whole.weights_s == pytest.approx(2 * (W1.size + W2.size) / rate)
    parts = functools.reduce(
        lambda a, b: a + b, [p.estimate * calls[p.name] for p in report.programs]
    )
    assert whole.total_s == pytest.approx(parts.total_s + whole.weights_s)
    text = report.to_text()
    assert " weights)" in text
    assert f"with one upload a call of {W1.size + W2.size:,} weights" in text
    assert report.to_dict()["estimate"]["weights_s"] == whole.weights_s
