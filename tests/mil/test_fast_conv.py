# SPDX-License-Identifier: Apache-2.0
"""Convolutions through JAX in fast numerics against float32: Winograd and gathered rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ane


@pytest.fixture(autouse=True)
def fast():
    with jax_ane.config(numerics="fast"):
        yield


def relative_error(function, ane, cpu, *arrays, calls=3) -> float:
    jitted = jax.jit(function)
    theirs = np.asarray(jitted(*jax.device_put(arrays, cpu)), np.float64)
    on_ane = jax.device_put(arrays, ane)
    for _ in range(calls):  # plain, then with the weights' images, then with those found again
        ours = np.asarray(jitted(*on_ane), np.float64)
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    return float(error)


def conv(stride=1, padding="SAME"):
    def function(x, w):
        dims = ("NHWC", "HWIO", "NHWC")
        return jnp.maximum(
            jax.lax.conv_general_dilated(x, w, (stride,) * 2, padding, dimension_numbers=dims), 0
        )

    return function


def arrays(batch, height, width, inputs, outputs, kernel):
    random = np.random.default_rng(height * width + inputs)
    x = random.standard_normal((batch, height, width, inputs)).astype(np.float32)
    w = random.standard_normal((kernel, kernel, inputs, outputs)) / np.sqrt(kernel**2 * inputs)
    return x, w.astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "inputs", "outputs"),
    [(14, 14, 32, 32), (15, 17, 64, 48), (16, 13, 33, 70), (30, 9, 32, 40)],
)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_3x3_is_close_to_float32(ane, cpu, batch, height, width, inputs, outputs, padding):
    x, w = arrays(batch, height, width, inputs, outputs, 3)
    assert relative_error(conv(1, padding), ane, cpu, x, w) < 1.5e-3


@pytest.mark.parametrize(
    ("stride", "kernel", "inputs"), [(2, 3, 32), (2, 7, 3), (1, 5, 16), (1, 3, 5)]
)
def test_other_windows_are_close_to_float32(ane, cpu, stride, kernel, inputs):
    x, w = arrays(2, 21, 20, inputs, 40, kernel)
    assert relative_error(conv(stride), ane, cpu, x, w) < 6e-4


def test_winograd_is_not_for_exact_numerics(ane, cpu):
    x, w = arrays(1, 16, 16, 32, 32, 3)
    with jax_ane.config(numerics="exact"):
        assert relative_error(conv(), ane, cpu, x, w) < 6e-4


def test_new_weights_are_transformed_anew(ane, cpu):
    x, w = arrays(1, 16, 16, 32, 32, 3)
    run = jax.jit(conv())
    for scale in (1.0, -2.0, 0.5):
        assert relative_error(run, ane, cpu, x, w * np.float32(scale)) < 1.5e-3
