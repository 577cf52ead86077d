# SPDX-License-Identifier: Apache-2.0
"""U-Net for segmentation: two convolutions a level, max pools down, transposed convolutions up."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from models import common
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = (64, 128, 256, 512), (16, 32)
CLASSES = 8


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights: levels from fine to coarse."""
    weights, widths = Weights(seed), SMALL if small else FULL

    def pair(inputs: int, width: int) -> Params:
        return {"first": weights.conv(3, inputs, width), "second": weights.conv(3, width, width)}

    return {
        "down": [pair(a, b) for a, b in zip((3, *widths), widths, strict=False)],
        "up": [weights.conv(2, b, a) for a, b in itertools.pairwise(widths)],
        "merge": [pair(2 * width, width) for width in widths[:-1]],
        "head": weights.conv(1, widths[0], CLASSES),
    }


def _pair(p: Params, x: jax.Array) -> jax.Array:
    return jax.nn.relu(common.conv(p["second"], jax.nn.relu(common.conv(p["first"], x))))


def forward(params: Params, images: jax.Array) -> jax.Array:
    """Returns logits `[batch, height, width, classes]` of `images` `[batch, height, width, 3]`."""
    x, skipped = _pair(params["down"][0], images), []
    for p in params["down"][1:]:
        skipped.append(x)
        x = _pair(p, common.max_pool(x, 2, 2))
    for up, merge, fine in zip(
        params["up"][::-1], params["merge"][::-1], skipped[::-1], strict=True
    ):
        x = jax.lax.conv_transpose(x, up["kernel"], (2, 2), "VALID") + up["bias"]
        x = _pair(merge, jnp.concatenate([x, fine], -1))
    return common.conv(params["head"], x)


def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, images), labels)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    batch, size = (2, 16) if small else (4, 128)
    return Spec((batch, size, size, 3)), Spec((batch, size, size), high=CLASSES)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
