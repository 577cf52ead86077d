# SPDX-License-Identifier: Apache-2.0
"""Weights that stay are converted once; bytes that change are never served from an old image."""

from __future__ import annotations

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture
def product(ane):
    """`x @ w` on `ane`, and its answer in float32 on the host for comparison."""
    run = jax.jit(lambda x, w: x @ w)

    def check(x: jax.Array, w: jax.Array, expected_w: np.ndarray) -> None:
        result = np.asarray(run(x, w))
        np.testing.assert_allclose(result, np.asarray(x) @ expected_w, rtol=2e-2, atol=2e-2)

    return check


def arrays(ane, seed: int, columns: int = 96) -> tuple[jax.Array, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(3, 128)).astype(np.float32)
    w = (random.normal(size=(128, columns)) / 11).astype(np.float32)
    return jax.device_put(x, ane), w


@pytest.mark.parametrize("columns", [96, 97, 31])
def test_repeated_calls_with_the_same_weights_agree(ane, product, columns):
    x, w = arrays(ane, 0, columns)
    on_device = jax.device_put(w, ane)
    for _ in range(5):
        product(x, on_device, w)


def test_two_weights_in_turn_do_not_mix(ane, product):
    x, first = arrays(ane, 1)
    _, second = arrays(ane, 2)
    pair = [(jax.device_put(w, ane), w) for w in (first, second)]
    for _ in range(4):
        for on_device, w in pair:
            product(x, on_device, w)


def test_memory_that_is_reused_is_not_taken_for_the_old_weights(ane, product):
    x, _ = arrays(ane, 3)
    for seed in range(20):
        _, w = arrays(ane, 100 + seed)
        on_device = jax.device_put(w, ane)
        for _ in range(3):
            product(x, on_device, w)
        on_device.delete()
        gc.collect()


def test_donated_weights_are_read_anew(ane, product):
    x, w = arrays(ane, 4)
    update = jax.jit(lambda w: w * -0.5 + 0.01, donate_argnums=0)
    on_device = jax.device_put(w, ane)
    for _ in range(6):
        for _ in range(3):
            product(x, on_device, w)
        on_device = update(on_device)
        w = w * np.float32(-0.5) + np.float32(0.01)


def test_images_count_as_memory_and_go_with_their_buffer(ane):
    x, w = arrays(ane, 5, 1024)
    run = jax.jit(lambda x, w: x @ w)
    on_device = jax.device_put(w, ane)
    run(x, on_device).block_until_ready()
    before = ane.memory_stats()["bytes_in_use"]
    for _ in range(3):
        run(x, on_device).block_until_ready()
    gc.collect()
    held = ane.memory_stats()["bytes_in_use"] - before
    # The fp16 image and its packed form, and no more than a third copy.
    assert w.nbytes // 2 <= held <= 3 * w.nbytes // 2
    on_device.delete()
    gc.collect()
    assert ane.memory_stats()["bytes_in_use"] <= before - w.nbytes + 4096


def test_a_program_that_is_dropped_in_flight_finishes(ane):
    x = jax.device_put(np.eye(400, dtype=np.float32), ane)
    for i in range(20):
        # The jitted function dies before its execution is over.
        result = jax.jit(lambda x, i=i: (x @ x) * float(i) @ x)(x)
        gc.collect()
        assert float(jnp.trace(result)) == 400.0 * i
