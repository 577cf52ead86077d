# SPDX-License-Identifier: Apache-2.0
"""BERT-base encoder with its masked-word head, whose matrix is the word embedding."""

from __future__ import annotations

from typing import Any

import jax

from models import common, transformer
from models.common import Spec, Weights

Params = dict[str, Any]
FULL, SMALL = (768, 12, 30522, 128), (128, 2, 512, 32)  # width, blocks, words, length


def init(seed: int | None = 0, small: bool = False) -> Params:
    """Returns random weights."""
    weights, (width, depth, words, length) = Weights(seed), SMALL if small else FULL
    return {
        "word": weights.normal(words, width, scale=0.05),
        "position": weights.normal(length, width, scale=0.05),
        "norm": weights.norm(width),
        "blocks": [transformer.draw_block(weights, width) for _ in range(depth)],
        "head": weights.dense(width, width),
        "head_norm": weights.norm(width),
    }


def forward(params: Params, tokens: jax.Array) -> jax.Array:
    """Returns the hidden states `[batch, length, width]` of int32 `tokens` `[batch, length]`."""
    x = params["word"][tokens] + params["position"][: tokens.shape[1]]
    return transformer.bert_encoder(params["blocks"], common.layer_norm(params["norm"], x))


def loss(params: Params, tokens: jax.Array, words: jax.Array) -> jax.Array:
    x = jax.nn.gelu(common.dense(params["head"], forward(params, tokens)))
    x = common.layer_norm(params["head_norm"], x)
    return common.cross_entropy(x @ params["word"].T, words)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    _, _, words, length = SMALL if small else FULL
    tokens = Spec((2 if small else 8, length), high=words)
    return tokens, tokens


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
