# SPDX-License-Identifier: Apache-2.0
"""A small classifier and its data, for tests of training and the processes that they start."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np
import optax

from jax_ane import precision, training
from jax_ane.data import write_tokens

# What other processes need to find this module.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
    ),
}


def mlp_params() -> dict:
    rng = np.random.default_rng(1)

    def layer(n, m):
        weight = rng.normal(size=(n, m)) / np.sqrt(n)
        return {"w": np.float32(weight), "b": np.zeros(m, np.float32)}

    return {"encoder": layer(16, 64), "head": layer(64, 4)}


def logits(params, x):
    hidden = jax.nn.gelu(x @ params["encoder"]["w"] + params["encoder"]["b"])
    return hidden @ params["head"]["w"] + params["head"]["b"]


def loss_fn(params, batch):
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(params, batch["x"]), batch["y"])
    return losses.mean()


def batch_of(size: int = 32, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 16)).astype(np.float32)
    return {"x": x, "y": (x[:, :4].argmax(-1)).astype(np.int32)}


def write_chain(path, words: int, count: int) -> None:
    """Writes a file of tokens of which each, mostly, decides the next one."""
    random = np.random.default_rng(0)
    following = random.permutation(words)
    ids = [0]
    for surprise in random.random(count - 1):
        ids.append(int(following[ids[-1]] if surprise > 0.05 else random.integers(words)))
    write_tokens(path, [ids])


BATCHES = [batch_of(seed=seed) for seed in range(6)]


def new_step():
    scale = precision.DynamicLossScale(64.0, growth_interval=4)
    return training.train_step(loss_fn, optax.adamw(1e-2), clamp=True, loss_scale=scale)


def fit(steps: int, folder=None, batches=BATCHES, **options):
    step = options.pop("step", None) or new_step()
    return training.fit(step, step.init(mlp_params()), batches, steps=steps, progress=False,
                        checkpoint_dir=folder, **options)  # fmt: skip
