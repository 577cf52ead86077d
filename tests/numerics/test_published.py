# SPDX-License-Identifier: Apache-2.0
"""The published chip figures, through plain JAX on the `ane` device."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

DATA = json.loads((Path(__file__).parents[1] / "data" / "numerics-data.json").read_text())
FINGERPRINTS = DATA["fingerprints"]


@pytest.fixture(autouse=True)
def on_ane():
    with jax.default_device(jax.devices("ane")[0]):
        yield


def relative_error(device, reference):
    device = np.asarray(device, np.float64)
    return np.linalg.norm(device - reference) / np.linalg.norm(reference)


@pytest.mark.parametrize("size", [512, 1024, 2048])
def test_gemm_square(size):
    rng = np.random.default_rng(0)
    scale = np.float32(np.sqrt(size))
    x, w = (rng.standard_normal((size, size)).astype(np.float32) / scale for _ in range(2))
    device = jax.jit(lambda a, b: jnp.dot(a, b.T))(x[:256], w)
    reference = x[:256].astype(np.float64) @ w.T.astype(np.float64)
    published = FINGERPRINTS["gemm_square"]["relerr"][str(size)]
    assert relative_error(device, reference) == pytest.approx(published, rel=1e-12)


def test_gemm_rectangular():
    m, k, n = 64, 256, 256
    rng = np.random.default_rng(0)
    x = rng.standard_normal((m, k)).astype(np.float32) / np.sqrt(k)
    w = rng.standard_normal((n, k)).astype(np.float32) / np.sqrt(k)
    device = jnp.dot(x.astype(np.float16), w.T.astype(np.float16))
    published = FINGERPRINTS["gemm_rect"]["relerr"]["64x256x256"]
    assert relative_error(device, x @ w.T) == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize("size", [512, 1024, 2048, 4096])
def test_gemv(size):
    """rng(0): x (1, K) in float32 divided by sqrt(K) in float64, then W (K, K) the same way."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, size)).astype(np.float32) / np.sqrt(size)
    w = rng.standard_normal((size, size)).astype(np.float32) / np.sqrt(size)
    device = jnp.dot(x.astype(np.float16), w.astype(np.float16).T)
    published = FINGERPRINTS["gemv"]["relerr"][str(size)]
    assert relative_error(device, x @ w.T) == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", ["C64B8", "C64B16", "C128B8"])
def test_conv3x3_direct(case, layout):
    channels, batch = (int(part) for part in case[1:].split("B"))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((batch, channels, 64, 64)).astype(np.float32)[:1]
    w = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
    w = w * np.sqrt(2 / (9 * channels))
    reference = direct_convolution(x[0].astype(np.float64), w)
    x16, w16 = x.astype(np.float16), w.astype(np.float16)
    if layout == "NHWC":
        x16, w16 = x16.transpose(0, 2, 3, 1), w16.transpose(2, 3, 1, 0)
    numbers = (layout, "HWIO" if layout == "NHWC" else "OIHW", layout)
    device = lax.conv_general_dilated(x16, w16, (1, 1), "SAME", dimension_numbers=numbers)
    device = np.asarray(device)[0]
    if layout == "NHWC":
        device = device.transpose(2, 0, 1)
    published = FINGERPRINTS["conv3x3_direct"]["relerr"][case]
    assert relative_error(device, reference) == pytest.approx(published, rel=1e-12)


def direct_convolution(x, w):
    """Returns the zero-padded 3x3 convolution of x [C, H, W] with w [O, C, 3, 3] in float64."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    out = np.zeros((w.shape[0], height * width))
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            out += w[:, :, row, column] @ window.reshape(len(x), -1)
    return out.reshape(-1, height, width)
