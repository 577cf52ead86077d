# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks of GPT-2 (pre-norm, causal) and BERT (post-norm), 12 heads of 64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, Any]
WIDTH, HEADS = 768, 12


def init_block(seed: int = 0, width: int = WIDTH) -> Params:
    """Returns one block's float32 weights: matrices `[in, out]`, biases and norms `[out]`."""
    random = np.random.default_rng(seed)

    def dense(inputs: int, outputs: int) -> Params:
        kernel = random.standard_normal((inputs, outputs)) * 0.02
        return {"kernel": kernel.astype(np.float32), "bias": np.zeros(outputs, np.float32)}

    def norm() -> Params:
        return {"scale": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}

    return {
        "norm1": norm(),
        "qkv": dense(width, 3 * width),
        "out": dense(width, width),
        "norm2": norm(),
        "up": dense(width, 4 * width),
        "down": dense(4 * width, width),
    }


def _dense(p: Params, x: jax.Array) -> jax.Array:
    return x @ p["kernel"] + p["bias"]


def _norm(p: Params, x: jax.Array) -> jax.Array:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p["scale"] + p["bias"]


def _attention(p: Params, x: jax.Array, causal: bool) -> jax.Array:
    batch, length, width = x.shape
    q, k, v = jnp.split(_dense(p["qkv"], x), 3, axis=-1)

    def heads(t: jax.Array) -> jax.Array:
        return t.reshape(batch, length, HEADS, width // HEADS).transpose(0, 2, 1, 3)

    scores = heads(q) @ heads(k).transpose(0, 1, 3, 2) / np.sqrt(width // HEADS)
    if causal:
        mask = jnp.tril(jnp.ones((length, length), bool))
        scores = jnp.where(mask, scores, -1e4)
    mixed = jax.nn.softmax(scores) @ heads(v)
    return _dense(p["out"], mixed.transpose(0, 2, 1, 3).reshape(batch, length, width))


def gpt2_block(p: Params, x: jax.Array) -> jax.Array:
    """Maps `x`, float32 `[batch, length, width]`, to the same shape."""
    x = x + _attention(p, _norm(p["norm1"], x), causal=True)
    return x + _dense(p["down"], jax.nn.gelu(_dense(p["up"], _norm(p["norm2"], x))))


def bert_encoder(blocks: list[Params], x: jax.Array) -> jax.Array:
    """Maps embeddings `x`, float32 `[batch, length, width]`, through all blocks."""
    for p in blocks:
        x = _norm(p["norm1"], x + _attention(p, x, causal=False))
        hidden = jax.nn.gelu(_dense(p["up"], x))  # by tanh, as the original does
        x = _norm(p["norm2"], x + _dense(p["down"], hidden))
    return x
