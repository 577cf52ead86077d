# SPDX-License-Identifier: Apache-2.0
"""A small diffusion U-Net: residual blocks told the time, attention where images are small."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models import common, transformer
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = (64, 128, 256), (32, 64)  # widths, fine to coarse; attention at the coarsest
_STEPS = 1000


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    weights, widths = Weights(seed), SMALL if small else FULL
    time = 4 * widths[0]

    def block(inputs: int, width: int) -> Params:
        p = {
            "norm1": weights.norm(inputs),
            "conv1": weights.conv(3, inputs, width),
            "time": weights.dense(time, width),
            "norm2": weights.norm(width),
            "conv2": weights.conv(3, width, width),
        }
        return p if inputs == width else {**p, "shortcut": weights.conv(1, inputs, width)}

    coarse = widths[-1]
    return {
        "time1": weights.dense(widths[0], time),
        "time2": weights.dense(time, time),
        "stem": weights.conv(3, 3, widths[0]),
        "down": [block(a, b) for a, b in zip((widths[0], *widths), widths, strict=False)],
        "norm": weights.norm(coarse),
        "qkv": weights.dense(coarse, 3 * coarse),
        "out": weights.dense(coarse, coarse),
        "middle": block(coarse, coarse),
        "up": [block(a + b, b) for a, b in zip(widths[1:], widths, strict=False)],
        "head_norm": weights.norm(widths[0]),
        "head": weights.conv(3, widths[0], 3),
    }


def _embed(time: jax.Array, width: int) -> jax.Array:
    rate = np.exp(-np.log(1e4) * np.arange(width // 2) / (width // 2)).astype(np.float32)
    angle = time[:, None].astype(jnp.float32) * rate
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def _block(p: Params, x: jax.Array, time: jax.Array) -> jax.Array:
    y = common.conv(p["conv1"], jax.nn.silu(common.group_norm(p["norm1"], x)))
    y = y + common.dense(p["time"], time)[:, None, None]
    y = common.conv(p["conv2"], jax.nn.silu(common.group_norm(p["norm2"], y)))
    return y + (common.conv(p["shortcut"], x) if "shortcut" in p else x)


def _attention(params: Params, x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    y = common.group_norm(params["norm"], x).reshape(batch, height * width, channels)
    q, k, v = jnp.split(common.dense(params["qkv"], y), 3, axis=-1)
    mixed = transformer.attend(*(transformer.split_heads(t) for t in (q, k, v)))
    return x + common.dense(params["out"], transformer.merge_heads(mixed)).reshape(x.shape)


def _half(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _double(x: jax.Array) -> jax.Array:
    return x.repeat(2, 1).repeat(2, 2)


def forward(params: Params, inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Returns the noise in images `[batch, height, width, 3]` at int32 times `[batch]`."""
    images, time = inputs
    embedded = _embed(time, params["stem"]["kernel"].shape[-1])
    time = jax.nn.silu(common.dense(params["time1"], embedded))
    time = jax.nn.silu(common.dense(params["time2"], time))
    x, skipped = common.conv(params["stem"], images), []
    for number, p in enumerate(params["down"]):
        x = _block(p, _half(x) if number else x, time)
        skipped.append(x)
    x = _block(params["middle"], _attention(params, x), time)
    for p, fine in zip(params["up"][::-1], skipped[-2::-1], strict=True):
        x = _block(p, jnp.concatenate([_double(x), fine], -1), time)
    return common.conv(params["head"], jax.nn.silu(common.group_norm(params["head_norm"], x)))


def loss(params: Params, inputs: tuple[jax.Array, jax.Array], noise: jax.Array) -> jax.Array:
    return common.mean_square(forward(params, inputs), noise)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[tuple[Spec, Spec], Spec]:
    batch, size = (2, 16) if small else (8, 32)
    images = Spec((batch, size, size, 3))
    return (images, Spec((batch,), high=_STEPS)), images


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
