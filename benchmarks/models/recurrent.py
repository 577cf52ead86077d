# SPDX-License-Identifier: Apache-2.0
"""Recurrent language models: an embedding, two layers scanned over time, a linear head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from models import common
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = (650, 10000, 35, 20), (64, 256, 8, 4)  # width, words, steps, batch
LAYERS = 2
Cell = Callable[[Params, Any, jax.Array], tuple[Any, jax.Array]]


def init(seed: int | None, small: bool, gates: int) -> Params:
    """Returns random weights; each layer has `gates` matrices side by side."""
    weights, (width, words, _, _) = Weights(seed), SMALL if small else FULL

    def layer() -> Params:
        return {
            "input": weights.dense(width, gates * width),
            "state": weights.dense(width, gates * width),
        }

    return {
        "word": weights.normal(words, width, scale=1.0),
        "layers": [layer() for _ in range(LAYERS)],
        "head": weights.dense(width, words),
    }


def forward(cell: Cell, start: Any, params: Params, tokens: jax.Array) -> jax.Array:
    """Returns the logits `[steps, batch, words]` of int32 `tokens` `[steps, batch]`.

    Args:
        cell: maps weights, carry and input to the next carry and the output.
        start: a tree of zeros per carry, of the number of leaves that `cell` carries.
        params: the weights.
        tokens: time first.
    """
    x = params["word"][tokens]
    for p in params["layers"]:
        carry = jax.tree.map(lambda _, x=x: jnp.zeros_like(x[0]), start)
        _, x = jax.lax.scan(lambda carry, x, p=p: cell(p, carry, x), carry, x)
    return common.dense(params["head"], x)


def example(small: bool = False) -> tuple[Spec, Spec]:
    _, words, steps, batch = SMALL if small else FULL
    tokens = Spec((steps, batch), high=words)
    return tokens, tokens
