# SPDX-License-Identifier: Apache-2.0
"""ConvNeXt-tiny: 7x7 depthwise convolutions, layer norm, pointwise MLPs with gelu."""

from __future__ import annotations

from typing import Any

import jax

from models import common
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = ((96, 3), (192, 3), (384, 9), (768, 3)), ((32, 1), (64, 1))


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights; each stage is a list of blocks after a patch convolution."""
    weights, stages = Weights(seed), SMALL if small else FULL

    def block(width: int) -> Params:
        return {
            "depthwise": weights.conv(7, 1, width),
            "norm": weights.norm(width),
            "up": weights.dense(width, 4 * width),
            "down": weights.dense(4 * width, width),
            "scale": weights.fill(0.1, width),
        }

    params: Params = {"stages": [], "patch": [], "patch_norm": []}
    inputs = 3
    for number, (width, depth) in enumerate(stages):
        params["patch"].append(weights.conv(2 if number else 4, inputs, width))
        params["patch_norm"].append(weights.norm(inputs if number else width))
        params["stages"].append([block(width) for _ in range(depth)])
        inputs = width
    params["norm"] = weights.norm(inputs)
    params["head"] = weights.dense(inputs, 1000)
    return params


def _block(p: Params, x: jax.Array) -> jax.Array:
    y = common.layer_norm(p["norm"], common.conv(p["depthwise"], x, groups=x.shape[-1]))
    y = common.dense(p["down"], jax.nn.gelu(common.dense(p["up"], y)))
    return x + p["scale"] * y


def forward(params: Params, images: jax.Array) -> jax.Array:
    """Returns the logits `[batch, 1000]` of `images` `[batch, height, width, 3]`."""
    x = images
    for number, (patch, norm) in enumerate(zip(params["patch"], params["patch_norm"], strict=True)):
        if number:
            x = common.conv(patch, common.layer_norm(norm, x), 2, "VALID")
        else:
            x = common.layer_norm(norm, common.conv(patch, x, 4, "VALID"))
        for p in params["stages"][number]:
            x = _block(p, x)
    x = common.layer_norm(params["norm"], x.mean((1, 2)))
    return common.dense(params["head"], x)


def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, images), labels)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    batch, size = (2, 64) if small else (8, 224)
    return Spec((batch, size, size, 3)), Spec((batch,), high=1000)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
