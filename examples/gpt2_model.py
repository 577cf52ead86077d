# SPDX-License-Identifier: Apache-2.0
"""GPT-2 in plain JAX, its weights under the names that Hugging Face's files give them.

The tree's paths are those names: `h/0/attn/c_attn/weight` is `h.0.attn.c_attn.weight`. Matrices are
[in, out]. Nothing in it is about the ANE but what `_layer_norm` says.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Params = dict[str, Any]
EPSILON = 1e-5


def forward(params: Params, tokens: jax.Array, heads: int) -> jax.Array:
    """Returns the logits `[batch, length, words]` of int32 `tokens` `[batch, length]`.

    Args:
        params: the weights.
        tokens: not longer than `wpe` has positions.
        heads: of each attention; a divisor of the width.
    """
    x = params["wte"]["weight"][tokens] + params["wpe"]["weight"][: tokens.shape[1]]
    for p in params["h"]:
        x = x + _attention(p["attn"], _layer_norm(p["ln_1"], x), heads)
        h = _dense(p["mlp"]["c_fc"], _layer_norm(p["ln_2"], x))
        x = x + _dense(p["mlp"]["c_proj"], jax.nn.gelu(h, approximate=True))
    x = _layer_norm(params["ln_f"], x)
    return jax.lax.dot_general(x, params["wte"]["weight"], (((2,), (1,)), ((), ())))


def loss(params: Params, batch: dict[str, jax.Array], heads: int) -> jax.Array:
    """Returns the mean cross-entropy, in nats a token, of predicting each token from those before.

    Args:
        params: the weights.
        batch: `{"tokens": int32 [batch, length + 1]}`.
        heads: of each attention.
    """
    tokens = batch["tokens"]
    logits = forward(params, tokens[:, :-1], heads)
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


def decays(params: Params) -> Any:
    """Returns which weights to decay, for `optax.adamw(mask=...)`: all matrices but embeddings."""
    mask = jax.tree.map(lambda weight: np.ndim(weight) >= 2, params)
    return {**mask, **{name: {"weight": False} for name in ("wte", "wpe")}}


def _layer_norm(p: Params, x: jax.Array) -> jax.Array:
    # Divided by its largest magnitude first, which changes nothing but the numbers on the way: a
    # trained GPT-2 has channels in the thousands, whose squares would leave fp16's range, and a
    # fresh one has variances that would fall below it.
    x = x - x.mean(-1, keepdims=True)
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.abs(x).max(-1, keepdims=True), 1e-2))
    x = x / largest
    variance = jnp.square(x).mean(-1, keepdims=True) + EPSILON / jnp.square(largest)
    return x / jnp.sqrt(variance) * p["weight"] + p["bias"]


def _attention(p: Params, x: jax.Array, heads: int) -> jax.Array:
    batch, length, width = x.shape
    q, k, v = (
        t.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)
        for t in jnp.split(_dense(p["c_attn"], x), 3, axis=-1)
    )
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads)
    seen = jnp.tril(jnp.ones((length, length), bool))
    mixed = jax.nn.softmax(jnp.where(seen, scores, -1e4)) @ v
    return _dense(p["c_proj"], mixed.transpose(0, 2, 1, 3).reshape(x.shape))


def _dense(p: Params, x: jax.Array) -> jax.Array:
    return x @ p["weight"] + p["bias"]
