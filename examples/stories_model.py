# SPDX-License-Identifier: Apache-2.0
"""A Llama-style decoder in plain JAX: rotary positions, RMS norm, SwiGLU, no biases.

`STORIES_110M` is the size of the Stories-110M model. Nothing in it is about the ANE.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Params = dict[str, Any]
HEAD_WIDTH = 64
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a model is.

    Attributes:
        width: of the residual stream, a multiple of 64: each head is 64 wide.
        hidden: of the feed-forward layers.
        depth: blocks.
        words: tokens of the vocabulary.
        length: tokens of context that it is trained with.
    """

    width: int
    hidden: int
    depth: int
    words: int
    length: int


STORIES_110M = Size(768, 2048, 12, 32000, 256)
TINY = Size(64, 192, 2, 512, 32)


def init(size: Size, seed: int = 0) -> Params:
    """Returns float32 weights as GPT-2 starts with them, the embedding tied to the output.

    All matrices are N(0, 0.02); those that write to the residual stream, `out` and `down`, are
    smaller by sqrt(2 depth), so that the stream's variance does not grow with the depth.

    Returns:
        `word` [words, width], `norm` [width] and `blocks`, a list of dicts: `norm1`, `norm2`
        [width]; `q`, `k`, `v`, `out` [width, width]; `gate`, `up` [width, hidden]; `down`
        [hidden, width]. Matrices are [in, out].
    """
    random = np.random.default_rng(seed)
    residual = 0.02 / (2 * size.depth) ** 0.5

    def normal(*shape: int, scale: float = 0.02) -> np.ndarray:
        return random.standard_normal(shape, np.float32) * np.float32(scale)

    def block() -> Params:
        width, hidden = size.width, size.hidden
        return {
            "norm1": np.ones(width, np.float32),
            **{name: normal(width, width) for name in ("q", "k", "v")},
            "out": normal(width, width, scale=residual),
            "norm2": np.ones(width, np.float32),
            "gate": normal(width, hidden),
            "up": normal(width, hidden),
            "down": normal(hidden, width, scale=residual),
        }

    return {
        "word": normal(size.words, size.width),
        "blocks": [block() for _ in range(size.depth)],
        "norm": np.ones(size.width, np.float32),
    }


def forward(params: Params, tokens: jax.Array, head_width: int = HEAD_WIDTH) -> jax.Array:
    """Returns the logits `[batch, length, words]` of int32 `tokens` `[batch, length]`.

    Weights without a `head` [width, words] take the embedding for it.
    """
    x = params["word"][tokens]
    for p in params["blocks"]:
        x = block(p, x, head_width)
    x = _rms_norm(params["norm"], x)
    if "head" in params:
        return x @ params["head"]
    return jax.lax.dot_general(x, params["word"], (((2,), (1,)), ((), ())))


def loss(params: Params, batch: dict[str, jax.Array], head_width: int = HEAD_WIDTH) -> jax.Array:
    """Returns the mean cross-entropy, in nats a token, of predicting each token from those before.

    Args:
        params: the weights.
        batch: `{"tokens": int32 [batch, length + 1]}`.
        head_width: columns of a head.
    """
    tokens = batch["tokens"]
    logits = forward(params, tokens[:, :-1], head_width)
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


def decays(params: Params) -> Any:
    """Returns which weights to decay, for `optax.adamw(mask=...)`: the blocks' matrices.

    Gains of norms are vectors; the embedding's rows of rare tokens get almost no gradient, and
    would be decayed away.
    """
    mask = jax.tree.map(lambda weight: np.ndim(weight) >= 2, params)
    return {**mask, "word": False}


def count(params: Params) -> int:
    """Returns the number of weights."""
    return sum(np.size(weight) for weight in jax.tree.leaves(params))


def block(p: Params, x: jax.Array, head_width: int = HEAD_WIDTH) -> jax.Array:
    """Maps `x` `[batch, length, width]` through one block.

    Args:
        p: one of `blocks`. `k` and `v` may have fewer columns than `q`: then each of their heads
            serves a group of queries.
        x: the residual stream.
        head_width: columns of a head.
    """
    h = _rms_norm(p["norm1"], x)
    q, k, v = (_split_heads(h @ p[name], head_width) for name in ("q", "k", "v"))
    x = x + _merge_heads(_attend(_rotate(q), _rotate(k), v)) @ p["out"]
    h = _rms_norm(p["norm2"], x)
    return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]


def _rms_norm(scale: jax.Array, x: jax.Array) -> jax.Array:
    # Not by rsqrt: its gradient has rsqrt(m)^3 / 2, which leaves fp16's range for a mean m below
    # 4e-4, and a fresh embedding's is 4e-4. What is divided by here is its square root, and its
    # square.
    return x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON) * scale


def _rotate(x: jax.Array) -> jax.Array:
    """Turns the halves of each head by angles that grow with the position."""
    half = x.shape[-1] // 2
    rate = 10000.0 ** (-np.arange(half) / half)
    angle = (np.arange(x.shape[2])[:, None] * rate).astype(np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Mixes the values `[batch, heads, length, head width]` of each token and those before it."""
    if (group := q.shape[1] // k.shape[1]) > 1:
        k, v = (jnp.repeat(x, group, axis=1) for x in (k, v))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
    seen = jnp.tril(jnp.ones((q.shape[2], q.shape[2]), bool))
    return jax.nn.softmax(jnp.where(seen, scores, -1e4)) @ v


def _split_heads(x: jax.Array, head_width: int) -> jax.Array:
    batch, length, width = x.shape
    return x.reshape(batch, length, width // head_width, head_width).transpose(0, 2, 1, 3)


def _merge_heads(x: jax.Array) -> jax.Array:
    batch, heads, length, head_width = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, heads * head_width)
