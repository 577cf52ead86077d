# SPDX-License-Identifier: Apache-2.0
"""A multilayer perceptron on flat images."""

from __future__ import annotations

import itertools
from typing import Any

import jax

from models import common
from models.common import Spec, Weights

FULL, SMALL = (784, 1024, 1024, 1024, 10), (64, 96, 96, 10)


def init(seed: int | None = 0, small: bool = False) -> list[common.Params]:
    """Returns one dense layer a step of the widths; shapes only without a seed."""
    weights, widths = Weights(seed), SMALL if small else FULL
    return [weights.dense(a, b, (2 / a) ** 0.5) for a, b in itertools.pairwise(widths)]


def forward(params: list[common.Params], images: jax.Array) -> jax.Array:
    """Returns the logits `[batch, classes]` of float32 `images` `[batch, pixels]`."""
    x = images
    for p in params[:-1]:
        x = jax.nn.relu(common.dense(p, x))
    return common.dense(params[-1], x)


def loss(params: list[common.Params], images: jax.Array, labels: jax.Array) -> jax.Array:
    return common.cross_entropy(forward(params, images), labels)


train_step = common.adamw_step(loss)


def example(small: bool = False) -> tuple[Spec, Spec]:
    batch, pixels = (32, SMALL[0]) if small else (256, FULL[0])
    return Spec((batch, pixels)), Spec((batch,), high=10)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
