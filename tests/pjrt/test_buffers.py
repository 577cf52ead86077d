# SPDX-License-Identifier: Apache-2.0
"""Transfers, donation, views and accounting of ane arrays."""

from __future__ import annotations

import gc

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.experimental import io_callback
from jax.experimental.layout import Format, Layout
from jax.sharding import SingleDeviceSharding

BASE = np.arange(64, dtype=np.float32).reshape(4, 4, 4)


@pytest.mark.parametrize(
    "value",
    [
        BASE[::-1, ::-2],
        BASE.transpose(2, 0, 1),
        BASE[:, ::-1].transpose(2, 0, 1),
        np.broadcast_to(BASE[0, 0], (5, 4)),
        np.zeros((0, 3), np.float32),
        np.zeros((3, 0), ml_dtypes.bfloat16),
        np.float32(3),
        np.asfortranarray(BASE[0]),
        BASE[:, 1:3, 2],
        np.arange(9).astype(ml_dtypes.int4)[::-2],
        (np.arange(12) * (1 + 2j)).astype(np.complex64).reshape(3, 4)[:, ::-1],
    ],
    ids=str,
)
def test_strided_and_odd_arrays_round_trip(ane, cpu, value):
    there = jax.device_put(value, ane)
    assert np.asarray(there).tobytes() == np.asarray(value).tobytes()
    back = jax.device_put(jax.device_put(there, cpu), ane)
    assert np.asarray(back).tobytes() == np.asarray(value).tobytes()
    assert back.devices() == {ane}


def test_copy_is_independent_of_its_source(ane):
    source = jax.device_put(BASE, ane)
    copy = jnp.array(source, copy=True)
    source.delete()
    np.testing.assert_array_equal(np.asarray(copy), BASE)


def test_aligned_upload_is_kept_alive(ane):
    raw = np.zeros(1 << 18, np.uint8)
    start = -raw.ctypes.data % 64
    aligned = raw[start : start + (1 << 17)].view(np.float32)
    aligned[:] = 7
    there = jax.device_put(aligned, ane)
    del raw, aligned
    gc.collect()
    junk = [np.ones(1 << 17, np.uint8) for _ in range(8)]
    assert float(there.min()) == float(there.max()) == 7
    del junk


def test_donated_input_is_deleted_and_its_memory_reused(ane):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    first = step(jax.device_put(BASE, ane))
    address = first.unsafe_buffer_pointer()
    second = step(first)
    assert first.is_deleted()
    assert second.unsafe_buffer_pointer() == address
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(first)


def test_numpy_view_never_changes_after_donation(ane):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    first = step(jax.device_put(BASE, ane))
    view = np.asarray(first)
    second = step(first)
    third = step(second)
    np.testing.assert_array_equal(view, BASE + 1)
    np.testing.assert_array_equal(np.asarray(third), BASE + 3)
    assert first.is_deleted()


def test_host_array_is_not_overwritten_by_donation(ane):
    value = np.arange(1 << 16, dtype=np.float32)
    expected = value.copy()
    there = jax.device_put(value, ane)
    jax.jit(lambda x: x * 2, donate_argnums=0)(there)
    assert there.is_deleted()
    np.testing.assert_array_equal(value, expected)


def test_reads_share_memory(ane):
    out = jax.jit(lambda x: x + 1)(jax.device_put(BASE, ane))
    assert np.asarray(out).ctypes.data == out.unsafe_buffer_pointer()
    assert out.unsafe_buffer_pointer() % 64 == 0


def test_memory_stats_count_arrays(ane):
    gc.collect()
    jax.jit(lambda: jnp.zeros(()))().block_until_ready()
    before = ane.memory_stats()
    value = jax.device_put(np.ones((1 << 20,), np.float32), ane)
    result = jax.jit(lambda x: x + 1)(value)
    during = ane.memory_stats()
    assert during["bytes_in_use"] - before["bytes_in_use"] == 2 << 22
    assert during["peak_bytes_in_use"] >= during["bytes_in_use"]
    assert during["bytes_limit"] > 1 << 28
    del value, result
    gc.collect()  # JAX drops what XLA:CPU borrowed from numpy in a hook of the collector.
    assert ane.memory_stats()["bytes_in_use"] == before["bytes_in_use"]


def test_too_large_upload_names_bytes_needed_and_free(ane):
    huge = np.broadcast_to(np.float32(0), (1 << 40,))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"4398046511104 bytes.*free") as caught:
        jax.device_put(huge, ane)
    assert str(caught.value).startswith("RESOURCE_EXHAUSTED")


def test_layout_of_reads_is_row_major_for_transposed_results(ane):
    out = jax.jit(lambda x: x.transpose(2, 0, 1))(jax.device_put(BASE, ane))
    np.testing.assert_array_equal(np.asarray(out), BASE.transpose(2, 0, 1))


def test_results_in_an_order_of_axes_that_was_asked_for(ane):
    """XLA:CPU's array has that order; what the host reads is row-major."""
    value = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    form = Format(Layout((1, 0, 2)), SingleDeviceSharding(ane))
    put = jax.device_put(value, form)
    made = jax.jit(lambda v: v * 2, out_shardings=form)(value)
    for array, want in ((put, value), (made, value * 2), (put + made, value * 3)):
        np.testing.assert_array_equal(np.asarray(array), want)
    assert put.format.layout.major_to_minor == made.format.layout.major_to_minor == (1, 0, 2)
    view = np.asarray(put)
    jax.jit(lambda v: v * 0, donate_argnums=0)(put).block_until_ready()
    np.testing.assert_array_equal(view, value)


@pytest.mark.parametrize("ordered", [False, True])
def test_results_in_an_asked_order_beside_an_effect(ane, ordered):
    """A program with tokens, whose layouts jaxlib does not tell."""
    value = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    form = Format(Layout((1, 0, 2)), SingleDeviceSharding(ane))

    def call(v):
        return io_callback(lambda x: x, jax.ShapeDtypeStruct(v.shape, v.dtype), v, ordered=ordered)

    got = jax.jit(lambda v: (call(v) * 2, v + 1), out_shardings=(form, None))(value)
    for array, want in zip(got, (value * 2, value + 1), strict=True):
        np.testing.assert_array_equal(np.asarray(array), want)


def test_dlpack_shares_memory_that_a_donation_leaves_alone(ane):
    array = jax.device_put(np.arange(6, dtype=np.float32), ane) + 0
    view = np.from_dlpack(array)
    assert view.ctypes.data == array.unsafe_buffer_pointer()
    assert np.from_dlpack(array, copy=True).ctypes.data != view.ctypes.data
    assert array.__dlpack_device__() == (1, 0)
    jax.jit(lambda v: v * 0 - 7, donate_argnums=0)(array).block_until_ready()
    np.testing.assert_array_equal(view, np.arange(6, dtype=np.float32))
    with pytest.raises(BufferError, match="host's memory"):
        jax.device_put(view, ane).__dlpack__(dl_device=(2, 0))


def test_deleted_argument_is_named_as_on_cpu(ane):
    fn = jax.jit(lambda v: v + 1, donate_argnums=0)
    said = []
    for device in (jax.devices("cpu")[0], ane):
        array = jax.device_put(np.ones(3, np.float32), device) + 0
        fn(array)
        with pytest.raises((ValueError, RuntimeError), match="has been deleted") as error:
            fn(array)
        said.append((error.type, str(error.value)))
    assert said[0] == said[1]
