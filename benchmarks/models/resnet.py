# SPDX-License-Identifier: Apache-2.0
"""ResNet-18, NHWC, for 224x224 images or, with a 3x3 stem and no pool, for CIFAR's 32x32.

Inference has the batch norms folded into kernels and biases. Training normalises over the batch;
the last norm of each block begins with a scale of 0, so that a block begins as the identity (Goyal
et al., "Accurate, Large Minibatch SGD", arXiv 1706.02677). Without that, rounding the weights and
images alone to fp16 moves the first gradient by 7 %, whoever computes it.
"""

from __future__ import annotations

from typing import Any

import jax

from models import common
from models.common import Spec, Weights

Params = dict[str, Any]
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
_SMALL_STAGES = ((16, 1), (32, 2))


def init(
    seed: int | None = 0, small: bool = False, cifar: bool = False, classes: int = 1000
) -> Params:
    """Returns random float32 weights: kernels `[height, width, in, out]` and biases `[out]`."""
    weights, stages = Weights(seed), _SMALL_STAGES if small else STAGES
    inputs = stages[0][0]

    def layer(size: int, inputs: int, width: int, scale: float = 1.0) -> Params:
        return {**weights.conv(size, inputs, width), "scale": weights.fill(scale, width)}

    params: Params = {"stem": layer(3 if cifar else 7, 3, inputs)}
    for stage, (width, stride) in enumerate(stages):
        for block in range(2):
            step = stride if block == 0 else 1
            p = {"first": layer(3, inputs, width), "second": layer(3, width, width, scale=0.0)}
            if step != 1 or inputs != width:
                p["shortcut"] = layer(1, inputs, width)
            params[f"block{stage}{block}"] = p
            inputs = width
    params["head"] = weights.dense(inputs, 10 if cifar else classes)
    return params


def _conv(p: Params, x: jax.Array, stride: int = 1, train: bool = False) -> jax.Array:
    if not train:
        return common.conv(p, x, stride)
    bare = {"kernel": p["kernel"], "bias": 0.0}
    return common.normalise(common.conv(bare, x, stride), (0, 1, 2)) * p["scale"] + p["bias"]


def apply(params: Params, images: jax.Array, train: bool = False) -> jax.Array:
    """Returns the logits `[batch, classes]` of `images`: float32 `[batch, height, width, 3]`."""
    cifar = params["stem"]["kernel"].shape[0] == 3
    x = jax.nn.relu(_conv(params["stem"], images, 1 if cifar else 2, train))
    if not cifar:
        x = common.max_pool(x, 3, 2, "SAME")
    for name in sorted(n for n in params if n.startswith("block")):
        p = params[name]
        step = 2 if name[-1] == "0" and name != "block00" else 1
        y = jax.nn.relu(_conv(p["first"], x, step, train))
        y = _conv(p["second"], y, 1, train)
        x = jax.nn.relu(y + (_conv(p["shortcut"], x, step, train) if "shortcut" in p else x))
    return common.dense(params["head"], x.mean((1, 2)))


forward = apply


def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    return common.cross_entropy(apply(params, images, train=True), labels)


train_step = common.adamw_step(loss)


def example(small: bool = False, cifar: bool = False) -> tuple[Spec, Spec]:
    batch, size = (64, 32) if cifar else (8, 224)
    if small:
        batch, size = (4, 16) if cifar else (2, 64)
    return Spec((batch, size, size, 3)), Spec((batch,), high=10 if cifar else 1000)


def train_step_args() -> tuple[Any, ...]:
    """Returns the shapes that `train_step` takes, for `jax-ane explain`."""
    return common.step_arguments(init(None), example())
