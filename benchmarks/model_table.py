# SPDX-License-Identifier: Apache-2.0
"""The models that the benchmarks plan, run and compare, each in a small and its full size."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from models import (
    bert,
    common,
    convnext,
    diffusion,
    gpt2,
    gru,
    llama,
    lstm,
    mixer,
    mlp,
    resnet,
    unet,
    vit,
)

import jax_ane


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of the table.

    Attributes:
        kinds: how many kinds of layers it has: the most ANE programs that its forward pass may be.
        init: returns weights by seed (None: shapes) and size.
        forward: the forward pass, of weights and what `example` says.
        example: returns the specs of inputs and targets by size.
        loss, train_step: of weights, inputs and targets; None for a model that is not trained.
    """

    kinds: int
    init: Callable[..., Any]
    forward: Callable[..., Any]
    example: Callable[..., Any]
    loss: Callable[..., Any] | None = None
    train_step: Callable[..., Any] | None = None


def _model(module: Any, kinds: int, **size: bool) -> Model:
    return Model(
        kinds,
        functools.partial(module.init, **size),
        module.forward,
        functools.partial(module.example, **size),
        module.loss,
        module.train_step,
    )


def _decode(params: Any, inputs: tuple[Any, ...]) -> Any:
    return gpt2.decode_step(params, *inputs)


MODELS: dict[str, Model] = {
    "mlp": _model(mlp, 2),
    "resnet18-cifar": _model(resnet, 9, cifar=True),
    "resnet18": _model(resnet, 9),
    "unet": _model(unet, 8),
    "convnext-tiny": _model(convnext, 9),
    "vit-s16": _model(vit, 3),
    "bert-base": _model(bert, 2),
    "gpt2": _model(gpt2, 2),
    "gpt2-decode": Model(4, gpt2.init, _decode, lambda small: (gpt2.cache_example(small), None)),
    "llama-110m": _model(llama, 2),
    "lstm": _model(lstm, 2),
    "gru": _model(gru, 2),
    "mixer-s16": _model(mixer, 3),
    "diffusion": _model(diffusion, 8),
}


def structs(specs: Any) -> Any:
    return jax.tree.map(lambda s: s.struct, specs, is_leaf=lambda s: isinstance(s, common.Spec))


def samples(specs: Any) -> Any:
    random = np.random.default_rng(1)
    is_spec = lambda s: isinstance(s, common.Spec)  # noqa: E731
    return jax.tree.map(lambda s: s.sample(random), specs, is_leaf=is_spec)


def run(function: Callable[..., Any], arguments: Any, platform: str) -> np.ndarray:
    """Runs a function on a platform's device; returns all results as one float64 vector."""
    device = jax.devices(platform)[0]
    with jax.default_device(device):
        results = jax.jit(function)(*jax.device_put(arguments, device))
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(results)]
    return np.concatenate(leaves)


def distance(function: Callable[..., Any], *arguments: Any) -> float:
    """Returns the relative L2 distance of `ane` in `exact` numerics from float32 on `cpu`."""
    want = run(function, arguments, "cpu")
    with jax_ane.config(numerics="exact"):
        got = run(function, arguments, "ane")
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))
