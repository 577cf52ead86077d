# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 for 224x224 images, NHWC, batch norm folded into each convolution's bias."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, Any]
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def init(seed: int = 0, classes: int = 1000) -> Params:
    """Returns random float32 weights: kernels `[height, width, in, out]` and biases `[out]`."""
    random = np.random.default_rng(seed)

    def conv(size: int, inputs: int, outputs: int) -> Params:
        scale = np.sqrt(2 / (size * size * inputs))
        shape = (size, size, inputs, outputs)
        return {
            "kernel": (random.standard_normal(shape) * scale).astype(np.float32),
            "bias": (random.standard_normal(outputs) * 0.1).astype(np.float32),
        }

    params: Params = {"stem": conv(7, 3, 64)}
    inputs = 64
    for stage, (width, stride) in enumerate(STAGES):
        for block in range(2):
            step = stride if block == 0 else 1
            weights = {"first": conv(3, inputs, width), "second": conv(3, width, width)}
            if step != 1 or inputs != width:
                weights["shortcut"] = conv(1, inputs, width)
            params[f"block{stage}{block}"] = weights
            inputs = width
    params["head"] = {
        "kernel": (random.standard_normal((512, classes)) / 23).astype(np.float32),
        "bias": np.zeros(classes, np.float32),
    }
    return params


def _conv(p: Params, x: jax.Array, stride: int = 1) -> jax.Array:
    dims = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, p["kernel"], (stride, stride), "SAME", dimension_numbers=dims
    )
    return y + p["bias"]


def apply(params: Params, images: jax.Array) -> jax.Array:
    """Returns the logits `[batch, classes]` of `images`: float32 `[batch, 224, 224, 3]`."""
    x = jax.nn.relu(_conv(params["stem"], images, 2))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
    for stage, (_, stride) in enumerate(STAGES):
        for block in range(2):
            p = params[f"block{stage}{block}"]
            step = stride if block == 0 else 1
            y = jax.nn.relu(_conv(p["first"], x, step))
            y = _conv(p["second"], y)
            shortcut = _conv(p["shortcut"], x, step) if "shortcut" in p else x
            x = jax.nn.relu(y + shortcut)
    x = x.mean((1, 2))
    return x @ params["head"]["kernel"] + params["head"]["bias"]
