# SPDX-License-Identifier: Apache-2.0
"""An LSTM language model."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from models import common, recurrent

Params = dict[str, Any]
example = recurrent.example


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    return recurrent.init(seed, small, gates=4)


def _cell(p: Params, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    memory, hidden = carry
    gates = common.dense(p["input"], x) + common.dense(p["state"], hidden)
    write, keep, read, value = jnp.split(gates, 4, axis=-1)
    memory = jax.nn.sigmoid(keep + 1) * memory + jax.nn.sigmoid(write) * jnp.tanh(value)
    hidden = jax.nn.sigmoid(read) * jnp.tanh(memory)
    return (memory, hidden), hidden


def forward(params: Params, tokens: jax.Array) -> jax.Array:
    """Returns the logits `[steps, batch, words]` of int32 `tokens` `[steps, batch]`."""
    return recurrent.forward(_cell, (0, 0), params, tokens)


def loss(params: Params, tokens: jax.Array, following: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, tokens), following)


train_step = common.adamw_step(loss)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
