# SPDX-License-Identifier: Apache-2.0
"""MLP-Mixer S/16: MLPs over patches and over channels in turn."""

from __future__ import annotations

from typing import Any

import jax

from models import common
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = (512, 256, 8, 224), (64, 32, 2, 64)  # width, hidden of the patches, blocks, image
PATCH = 16


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    weights, (width, hidden, depth, size) = Weights(seed), SMALL if small else FULL
    patches = (size // PATCH) ** 2

    def mlp(inputs: int, inner: int) -> Params:
        return {
            "norm": weights.norm(width),
            "up": weights.dense(inputs, inner),
            "down": weights.dense(inner, inputs),
        }

    return {
        "patch": weights.conv(PATCH, 3, width),
        "blocks": [
            {"patches": mlp(patches, hidden), "channels": mlp(width, 4 * width)}
            for _ in range(depth)
        ],
        "norm": weights.norm(width),
        "head": weights.dense(width, 1000),
    }


def _mlp(p: Params, x: jax.Array) -> jax.Array:
    return common.dense(p["down"], jax.nn.gelu(common.dense(p["up"], x)))


def forward(params: Params, images: jax.Array) -> jax.Array:
    """Returns the logits `[batch, 1000]` of `images` `[batch, height, width, 3]`."""
    x = common.conv(params["patch"], images, PATCH, "VALID")
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    for block in params["blocks"]:
        p = block["patches"]
        y = common.layer_norm(p["norm"], x).transpose(0, 2, 1)
        x = x + _mlp(p, y).transpose(0, 2, 1)
        p = block["channels"]
        x = x + _mlp(p, common.layer_norm(p["norm"], x))
    return common.dense(params["head"], common.layer_norm(params["norm"], x).mean(1))


def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, images), labels)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    batch, size = (2, SMALL[3]) if small else (8, FULL[3])
    return Spec((batch, size, size, 3)), Spec((batch,), high=1000)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
