# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks of GPT-2 and ViT (pre-norm) and BERT (post-norm), heads of 64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models import common
from models.common import Weights

Params = dict[str, Any]
WIDTH, HEAD_WIDTH = 768, 64


def init_block(seed: int = 0, width: int = WIDTH) -> Params:
    """Returns one block's float32 weights: matrices `[in, out]`, biases and norms `[out]`."""
    return draw_block(Weights(seed), width)


def draw_block(weights: Weights, width: int) -> Params:
    """Draws one block's weights of the scale that GPT-2 and BERT start with, at width 768."""
    scale = 0.02 * (768 / width) ** 0.5
    return {
        "norm1": weights.norm(width),
        "qkv": weights.dense(width, 3 * width, scale),
        "out": weights.dense(width, width, scale),
        "norm2": weights.norm(width),
        "up": weights.dense(width, 4 * width, scale),
        "down": weights.dense(4 * width, width, scale / 2),
    }


def split_heads(x: jax.Array) -> jax.Array:
    """Turns `[batch, length, width]` into `[batch, heads, length, 64]`."""
    batch, length, width = x.shape
    return x.reshape(batch, length, width // HEAD_WIDTH, HEAD_WIDTH).transpose(0, 2, 1, 3)


def merge_heads(x: jax.Array) -> jax.Array:
    batch, heads, length, _ = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, heads * HEAD_WIDTH)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Mixes values `[batch, heads, length, 64]`; where `mask` is False nothing is seen."""
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(HEAD_WIDTH)
    if mask is not None:
        scores = jnp.where(mask, scores, -1e4)
    return jax.nn.softmax(scores) @ v


def causal_mask(length: int) -> jax.Array:
    return jnp.tril(jnp.ones((length, length), bool))


def attention(p: Params, x: jax.Array, causal: bool) -> jax.Array:
    """Maps `x` `[batch, length, width]` through self-attention."""
    q, k, v = (split_heads(t) for t in jnp.split(common.dense(p["qkv"], x), 3, axis=-1))
    mask = causal_mask(x.shape[1]) if causal else None
    return common.dense(p["out"], merge_heads(attend(q, k, v, mask)))


def mlp(p: Params, x: jax.Array) -> jax.Array:
    return common.dense(p["down"], jax.nn.gelu(common.dense(p["up"], x)))


def pre_norm_block(p: Params, x: jax.Array, causal: bool) -> jax.Array:
    x = x + attention(p, common.layer_norm(p["norm1"], x), causal)
    return x + mlp(p, common.layer_norm(p["norm2"], x))


def gpt2_block(p: Params, x: jax.Array) -> jax.Array:
    """Maps `x`, float32 `[batch, length, width]`, to the same shape."""
    return pre_norm_block(p, x, causal=True)


def bert_encoder(blocks: list[Params], x: jax.Array) -> jax.Array:
    """Maps embeddings `x`, float32 `[batch, length, width]`, through all blocks."""
    for p in blocks:
        x = common.layer_norm(p["norm1"], x + attention(p, x, causal=False))
        x = common.layer_norm(p["norm2"], x + mlp(p, x))  # gelu by tanh, as the original does
    return x
