# SPDX-License-Identifier: Apache-2.0
"""A Llama of the size of Stories-110M, the model of `examples/`, here with a head of its own."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax

from models import common
from models.common import Spec, Weights

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
from stories_model import STORIES_110M, forward

Params = dict[str, Any]
# width, hidden width, blocks, words, length
FULL, SMALL = dataclasses.astuple(STORIES_110M), (128, 384, 2, 512, 32)


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
