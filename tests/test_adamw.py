# SPDX-License-Identifier: Apache-2.0
"""optax's AdamW as one native call: recognised, and the same bits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity_tools import assert_same_bits, normal

from jax_ane import precision, training
from jax_ane.compiler import borders
from jax_ane.training import _adamw

SCHEDULE = optax.warmup_cosine_decay_schedule(1e-5, 1e-3, 3, 20, 1e-4)


def large(params):
    """Which weights decay: those with more than one axis."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


KNOWN = {
    "adamw": optax.adamw(1e-3),
    "schedule": optax.adamw(SCHEDULE, b1=0.8, b2=0.95, weight_decay=0.1, mask=large),
    "sanitized": optax.chain(precision.sanitize_gradients(), optax.adamw(SCHEDULE)),
    "adam": optax.adam(2e-3, eps=1e-6, eps_root=1e-9),
    "no decay": optax.adamw(1e-3, weight_decay=0.0),
}
OTHERS = {
    "sgd": optax.sgd(0.1),
    "nesterov": optax.nadam(1e-3),
    "narrow moments": optax.adamw(1e-3, mu_dtype=jnp.bfloat16),
    "clipped": optax.chain(optax.clip(1.0), optax.adamw(1e-3)),
    "cut": optax.chain(precision.sanitize_gradients(10.0), optax.adamw(1e-3)),
    "hyperparameters in the state": optax.inject_hyperparams(optax.adamw)(1e-3),
    "no optimiser": object(),
}


@pytest.mark.parametrize("name", KNOWN)
def test_bits_are_those_of_optax_op_by_op(name):
    optimiser, params = KNOWN[name], {"w": normal(37, 53), "b": normal(11)}
    found = _adamw.recognise(optimiser)
    assert found is not None
    mine, theirs = params, params
    my_state = their_state = optimiser.init(params)
    factor = jnp.float32(0.37)
    for step in range(4):
        gradients = {"w": normal(37, 53, seed=step), "b": normal(11, seed=step)}
        with jax.disable_jit():
            true = jax.tree.map(lambda g: g * factor, gradients)
            updates, their_state = optimiser.update(true, their_state, theirs)
            theirs = optax.apply_updates(theirs, updates)
            mine, my_state, count = found.update(
                gradients, factor, jnp.bool_(True), jnp.bool_(True), my_state, mine
            )
        assert int(count) == 0
        got, want = (
            [np.asarray(leaf) for leaf in jax.tree.leaves(trees)]
            for trees in ((mine, my_state), (theirs, their_state))
        )
        assert_same_bits(got, want)
    assert jax.tree.structure(my_state) == jax.tree.structure(their_state)


@pytest.mark.parametrize("name", OTHERS)
def test_other_optimisers_are_not_recognised(name):
    assert _adamw.recognise(OTHERS[name]) is None


def test_step_that_is_left_out_changes_nothing_and_counts():
    optimiser, params = KNOWN["sanitized"], {"w": normal(300, 300), "b": normal(3)}
    found, state = _adamw.recognise(optimiser), optimiser.init(params)
    assert found is not None
    gradients = {"w": np.array(params["w"]), "b": np.array([np.inf, np.nan, 1], np.float32)}
    new, after, count = found.update(
        gradients, jnp.float32(1), jnp.bool_(False), jnp.bool_(False), state, params
    )
    assert int(count) == 2
    assert_same_bits(jax.tree.leaves((new, after)), jax.tree.leaves((params, state)))


def test_gradients_that_are_not_finite_count_as_zero_where_asked():
    optimiser, params = KNOWN["sanitized"], {"b": normal(3)}
    found, state = _adamw.recognise(optimiser), optimiser.init(params)
    assert found is not None
    bad = {"b": np.array([np.inf, np.nan, 1], np.float32)}
    new, after, count = found.update(
        bad, jnp.float32(1), jnp.bool_(True), jnp.bool_(False), state, params
    )
    with jax.disable_jit():
        updates, want = optimiser.update(bad, state, params)
        assert_same_bits([new["b"]], [optax.apply_updates(params, updates)["b"]])
    assert_same_bits(jax.tree.leaves(after), jax.tree.leaves(want))
    assert int(count) == int(after[0].replaced) == 2


def loss(params, batch):
    hidden = jnp.tanh(batch["x"] @ params["up"])
    return jnp.mean(jnp.square(hidden @ params["down"])) * 1e-5


PARAMS = {"up": normal(64, 128, scale=0.125), "down": normal(128, 32, scale=0.125)}
BATCH = {"x": normal(16, 64)}


def taken(steps=3, device="ane", **options):
    """Returns the leaves of the state after some steps."""
    with jax.default_device(jax.devices(device)[0]):
        step = training.train_step(loss, KNOWN["schedule"], **options)
        state = step.init(PARAMS)
        for _ in range(steps):
            state, _ = step(state, BATCH)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_fp16_gradients_with_their_scale_give_the_bits_of_float32_ones(monkeypatch):
    kept = []
    widen = borders.widen_for_host

    def watched(value, result, inside, factor, lifted):
        kept.append(factor is not None)
        widen(value, result, inside, factor, lifted)

    monkeypatch.setattr(borders, "widen_for_host", watched)
    narrow = taken()
    assert any(kept)
    monkeypatch.setattr(borders, "narrow", lambda *_: borders.Narrow(frozenset(), frozenset()))
    assert_same_bits(narrow, taken())


@pytest.mark.parametrize("device", ["ane", "cpu"])
def test_steps_are_those_without_the_native_call(device, monkeypatch):
    options = {"loss_scale": precision.DynamicLossScale(256.0), "clip_norm": 1e-9}
    native = taken(device=device, **options)
    monkeypatch.setattr(_adamw, "recognise", lambda optimizer: None)
    for mine, other in zip(native, taken(device=device, **options), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=1e-7)


def test_parameters_are_updated_in_place():
    step = training.train_step(loss, KNOWN["adamw"])
    state = jax.eval_shape(step.init, PARAMS)
    memory = step.compile(state, BATCH).memory_analysis()
    weights = sum(leaf.nbytes for leaf in PARAMS.values())
    assert memory.alias_size_in_bytes >= 3 * weights
    # The gradients and what the forward pass keeps; a copy of the state would be 3 * weights.
    assert memory.temp_size_in_bytes < 2.5 * weights


def test_frozen_parameters_stay():
    with jax.default_device(jax.devices("ane")[0]):
        step = training.train_step(loss, KNOWN["adamw"], freeze="up")
        state, _ = step(step.init(PARAMS), BATCH)
    assert_same_bits([np.asarray(state.params["up"])], [PARAMS["up"]])
    assert np.any(np.asarray(state.params["down"]) != PARAMS["down"])
