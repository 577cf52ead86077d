# SPDX-License-Identifier: Apache-2.0
"""A GRU language model."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from models import common, recurrent

Params = dict[str, Any]
example = recurrent.example


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    return recurrent.init(seed, small, gates=3)


def _cell(p: Params, hidden: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    from_input = jnp.split(common.dense(p["input"], x), 3, axis=-1)
    from_state = jnp.split(common.dense(p["state"], hidden), 3, axis=-1)
    reset = jax.nn.sigmoid(from_input[0] + from_state[0])
    keep = jax.nn.sigmoid(from_input[1] + from_state[1])
    new = jnp.tanh(from_input[2] + reset * from_state[2])
    hidden = keep * hidden + (1 - keep) * new
    return hidden, hidden


def forward(params: Params, tokens: jax.Array) -> jax.Array:
    """Returns the logits `[steps, batch, words]` of int32 `tokens` `[steps, batch]`."""
    return recurrent.forward(_cell, 0, params, tokens)


def loss(params: Params, tokens: jax.Array, following: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, tokens), following)


train_step = common.adamw_step(loss)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
