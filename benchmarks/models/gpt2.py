# SPDX-License-Identifier: Apache-2.0
"""GPT-2 124M: whole sequences, a training step, and one decoding step with a KV cache."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from models import common, transformer
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = (768, 12, 50257, 256), (128, 2, 512, 32)  # width, blocks, words, length


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    weights, (width, depth, words, length) = Weights(seed), SMALL if small else FULL
    return {
        "word": weights.normal(words, width, scale=0.05),
        "position": weights.normal(length, width, scale=0.05),
        "blocks": [transformer.draw_block(weights, width) for _ in range(depth)],
        "norm": weights.norm(width),
    }


def forward(params: Params, tokens: jax.Array) -> jax.Array:
    """Returns the logits `[batch, length, words]` of int32 `tokens` `[batch, length]`."""
    x = params["word"][tokens] + params["position"][: tokens.shape[1]]
    for p in params["blocks"]:
        x = transformer.gpt2_block(p, x)
    return common.layer_norm(params["norm"], x) @ params["word"].T


def loss(params: Params, tokens: jax.Array, following: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, tokens), following)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    _, _, words, length = SMALL if small else FULL
    tokens = Spec((2 if small else 1, length), high=words)
    return tokens, tokens


def cache_example(small: bool = False) -> tuple[Any, Spec, Spec]:
    """Returns what `decode_step` takes after the weights: cache, token and position."""
    width, depth, words, length = SMALL if small else FULL
    held = Spec((1, width // transformer.HEAD_WIDTH, length, transformer.HEAD_WIDTH))
    return [(held, held)] * depth, Spec((1,), high=words), Spec((), high=length)


def decode_step(
    params: Params, cache: Any, token: jax.Array, position: jax.Array
) -> tuple[jax.Array, Any]:
    """Returns the logits `[1, words]` after `token` at `position`, and the cache with it.

    Args:
        params: the weights.
        cache: a pair of keys and values, float32 `[1, heads, length, 64]`, per block.
        token: int32 `[1]`.
        position: int32, how many tokens the cache holds already.
    """
    x = params["word"][token][None] + params["position"][position]
    length = cache[0][0].shape[2]
    mask = jnp.arange(length) <= position
    kept = []
    for p, (keys, values) in zip(params["blocks"], cache, strict=True):
        qkv = common.dense(p["qkv"], common.layer_norm(p["norm1"], x))
        q, k, v = (transformer.split_heads(t) for t in jnp.split(qkv, 3, axis=-1))
        start = (0, 0, position, 0)
        keys = jax.lax.dynamic_update_slice(keys, k, start)
        values = jax.lax.dynamic_update_slice(values, v, start)
        kept.append((keys, values))
        mixed = transformer.merge_heads(transformer.attend(q, keys, values, mask))
        x = x + common.dense(p["out"], mixed)
        x = x + transformer.mlp(p, common.layer_norm(p["norm2"], x))
    return common.layer_norm(params["norm"], x)[0] @ params["word"].T, kept


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
