# SPDX-License-Identifier: Apache-2.0
"""What the models share: random weights, layers in plain JAX, losses, the AdamW training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Params = dict[str, Any]
OPTIMISER = optax.adamw(1e-3, weight_decay=1e-2)
EPSILON = 1e-5


class Weights:
    """Draws random float32 weights. Without a seed it hands out shapes, which need no memory."""

    def __init__(self, seed: int | None) -> None:
        self._random = None if seed is None else np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float) -> Any:
        if self._random is None:
            return jax.ShapeDtypeStruct(shape, jnp.float32)
        return self._random.standard_normal(shape, np.float32) * np.float32(scale)

    def fill(self, value: float, *shape: int) -> Any:
        if self._random is None:
            return jax.ShapeDtypeStruct(shape, jnp.float32)
        return np.full(shape, value, np.float32)

    def dense(self, inputs: int, outputs: int, scale: float | None = None) -> Params:
        """Returns a kernel `[in, out]` and a bias; without a scale results keep the variance."""
        scale = inputs**-0.5 if scale is None else scale
        return {
            "kernel": self.normal(inputs, outputs, scale=scale),
            "bias": self.fill(0, outputs),
        }

    def conv(self, size: int, inputs: int, outputs: int) -> Params:
        """Returns a kernel `[size, size, in of one group, out]`, scaled for a relu, and a bias."""
        scale = (2 / (size * size * inputs)) ** 0.5
        return {
            "kernel": self.normal(size, size, inputs, outputs, scale=scale),
            "bias": self.normal(outputs, scale=0.1),
        }

    def norm(self, width: int) -> Params:
        return {"scale": self.fill(1, width), "bias": self.fill(0, width)}


@dataclasses.dataclass(frozen=True)
class Spec:
    """One array that a model takes. Integers lie in [0, high), floats are N(0, 1)."""

    shape: tuple[int, ...]
    high: int = 0

    @property
    def struct(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(self.shape, jnp.int32 if self.high else jnp.float32)

    def sample(self, random: np.random.Generator) -> np.ndarray:
        if self.high:
            return random.integers(0, self.high, self.shape, np.int32)
        return random.standard_normal(self.shape, np.float32)


def dense(p: Params, x: jax.Array) -> jax.Array:
    return x @ p["kernel"] + p["bias"]


def conv(
    p: Params, x: jax.Array, stride: int = 1, padding: str = "SAME", groups: int = 1
) -> jax.Array:
    """Convolves NHWC images."""
    y = jax.lax.conv_general_dilated(
        x, p["kernel"], (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip
    return y + p["bias"]


def max_pool(x: jax.Array, size: int, stride: int, padding: str = "VALID") -> jax.Array:
    """Takes the largest of each `size` x `size` window of NHWC images."""
    return jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, size, size, 1), (1, stride, stride, 1), padding
    )


def normalise(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    mean = x.mean(axes, keepdims=True)
    variance = jnp.square(x - mean).mean(axes, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + EPSILON)


def layer_norm(p: Params, x: jax.Array) -> jax.Array:
    return normalise(x, (-1,)) * p["scale"] + p["bias"]


def group_norm(p: Params, x: jax.Array, groups: int = 8) -> jax.Array:
    """Normalises NHWC images over space and each group of neighbouring channels."""
    batch, height, width, channels = x.shape
    grouped = x.reshape(batch, height * width, groups, channels // groups)
    return normalise(grouped, (1, 3)).reshape(x.shape) * p["scale"] + p["bias"]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def mean_square(predicted: jax.Array, wanted: jax.Array) -> jax.Array:
    return jnp.square(predicted - wanted).mean()


def adamw_step(loss: Callable[[Any, Any, Any], jax.Array]) -> Callable[..., Any]:
    """Returns `train_step(params, opt_state, inputs, targets) -> (params, opt_state, loss)`."""

    def train_step(params: Any, opt_state: Any, inputs: Any, targets: Any) -> tuple[Any, Any, Any]:
        value, gradient = jax.value_and_grad(loss)(params, inputs, targets)
        updates, opt_state = OPTIMISER.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    return train_step


def step_arguments(params: Any, example: tuple[Any, Any]) -> tuple[Any, ...]:
    """Returns the shapes that a training step takes: weights, optimiser's state, a batch."""
    state = jax.eval_shape(OPTIMISER.init, params)
    batch = jax.tree.map(lambda s: s.struct, example, is_leaf=lambda s: isinstance(s, Spec))
    return params, state, *batch
