# SPDX-License-Identifier: Apache-2.0
"""The kinds of memory that cpu has, ane has: values move between them, in programs and outside."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

KINDS = ["device", "pinned_host", "unpinned_host"]
X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_where_they_were_put(ane, kind):
    target = SingleDeviceSharding(ane, memory_kind=kind)
    uploaded = jax.device_put(X, target)
    moved = jax.device_put(jax.device_put(X, ane), target)
    made = jax.jit(lambda v: v + 1, out_shardings=target)(jax.device_put(X, ane))
    for array, want in ((uploaded, X), (moved, X), (made, X + 1)):
        assert array.sharding.memory_kind == kind
        np.testing.assert_array_equal(np.asarray(array), want)
        back = jax.device_put(array, SingleDeviceSharding(ane))
        assert back.sharding.memory_kind == "device"
        np.testing.assert_array_equal(np.asarray(back), want)


def test_kinds_inside_of_a_program(ane, cpu):
    def fn(v):
        host = jax.device_put(v * 2, jax.memory.Space.Host)
        return host, jax.device_put(host, jax.memory.Space.Device) + 1, v

    results = [jax.jit(fn)(jax.device_put(X, device)) for device in (cpu, ane)]
    kinds = [[leaf.sharding.memory_kind for leaf in result] for result in results]
    assert kinds[0] == kinds[1] == ["pinned_host", "device", "device"]
    for want, got in zip(*results, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def test_offloaded_residuals(ane, cpu):
    policy = jax.checkpoint_policies.offload_dot_with_no_batch_dims("device", "pinned_host")

    def loss(v):
        return jnp.sin(jax.checkpoint(lambda u: jnp.sin(u @ u.T) @ u, policy=policy)(v)).sum()

    with jax.default_matmul_precision("highest"):
        want, got = (jax.jit(jax.grad(loss))(jax.device_put(X / 8, d)) for d in (cpu, ane))
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-5, atol=1e-5)
