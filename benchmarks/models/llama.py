# SPDX-License-Identifier: Apache-2.0
"""A Llama of 110 million weights: rotary positions, RMS norm, SwiGLU, no biases."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models import common, transformer
from models.common import Spec, Weights

Params = dict[str, Any]
# width, hidden width, blocks, words, length
FULL, SMALL = (768, 2048, 12, 32000, 256), (128, 384, 2, 512, 32)


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    weights, (width, hidden, depth, words, _) = Weights(seed), SMALL if small else FULL

    def matrix(inputs: int, outputs: int) -> Any:
        return weights.normal(inputs, outputs, scale=inputs**-0.5)

    def block() -> Params:
        return {
            "norm1": weights.fill(1, width),
            **{name: matrix(width, width) for name in ("q", "k", "v", "out")},
            "norm2": weights.fill(1, width),
            "gate": matrix(width, hidden),
            "up": matrix(width, hidden),
            "down": matrix(hidden, width),
        }

    return {
        "word": weights.normal(words, width, scale=1.0),
        "blocks": [block() for _ in range(depth)],
        "norm": weights.fill(1, width),
        "head": matrix(width, words),
    }


def _rms_norm(scale: jax.Array, x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + common.EPSILON) * scale


def _rotate(x: jax.Array) -> jax.Array:
    """Turns the halves of each head by angles that grow with the position."""
    half = x.shape[-1] // 2
    rate = 10000.0 ** (-np.arange(half) / half)
    angle = (np.arange(x.shape[2])[:, None] * rate).astype(np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _block(p: Params, x: jax.Array) -> jax.Array:
    h = _rms_norm(p["norm1"], x)
    q, k, v = (transformer.split_heads(h @ p[name]) for name in ("q", "k", "v"))
    mask = transformer.causal_mask(x.shape[1])
    mixed = transformer.attend(_rotate(q), _rotate(k), v, mask)
    x = x + transformer.merge_heads(mixed) @ p["out"]
    h = _rms_norm(p["norm2"], x)
    return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]


def forward(params: Params, tokens: jax.Array) -> jax.Array:
    """Returns the logits `[batch, length, words]` of int32 `tokens` `[batch, length]`."""
    x = params["word"][tokens]
    for p in params["blocks"]:
        x = _block(p, x)
    return _rms_norm(params["norm"], x) @ params["head"]


def loss(params: Params, tokens: jax.Array, following: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, tokens), following)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    _, _, _, words, length = SMALL if small else FULL
    tokens = Spec((2 if small else 1, length), high=words)
    return tokens, tokens


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
