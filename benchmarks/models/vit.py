# SPDX-License-Identifier: Apache-2.0
"""ViT-S/16: patches of 16x16 pixels, a class token, twelve pre-norm blocks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from models import common, transformer
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = (384, 12, 224), (128, 2, 64)  # width, blocks, image size
PATCH = 16


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    weights, (width, depth, size) = Weights(seed), SMALL if small else FULL
    tokens = (size // PATCH) ** 2 + 1
    return {
        "patch": weights.conv(PATCH, 3, width),
        "class": weights.normal(1, 1, width, scale=0.5),
        "position": weights.normal(1, tokens, width, scale=0.5),
        "blocks": [transformer.draw_block(weights, width) for _ in range(depth)],
        "norm": weights.norm(width),
        "head": weights.dense(width, 1000),
    }


def forward(params: Params, images: jax.Array) -> jax.Array:
    """Returns the logits `[batch, 1000]` of `images` `[batch, height, width, 3]`."""
    x = common.conv(params["patch"], images, PATCH, "VALID")
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height * width, channels)
    token = jnp.broadcast_to(params["class"], (batch, 1, channels))
    x = jnp.concatenate([token, x], 1) + params["position"]
    for p in params["blocks"]:
        x = transformer.pre_norm_block(p, x, causal=False)
    return common.dense(params["head"], common.layer_norm(params["norm"], x[:, 0]))


def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, images), labels)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    batch, size = (2, SMALL[2]) if small else (8, FULL[2])
    return Spec((batch, size, size, 3)), Spec((batch,), high=1000)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
