# SPDX-License-Identifier: Apache-2.0
"""Loss scales: the gradients of fp16 products are multiplied up, so that small ones survive.

The smallest gradients of a transformer are near 1e-6, below fp16's normal range (6.1e-5); the
engine rounds them away. A loss multiplied by S has gradients S times as large; they are divided by
S again in float32.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp

_T = TypeVar("_T")


class LossScale(Protocol):
    """What a train step asks of a loss scale. Both classes here are pytrees of scalars."""

    @property
    def scale(self) -> jax.Array | float:
        """float32 scalar: what the loss is multiplied by."""
        ...

    def scale_loss(self, loss: jax.Array) -> jax.Array:
        """Returns `loss` multiplied by the scale."""
        ...

    def unscale(self, tree: Any) -> Any:
        """Returns a tree of gradients divided by the scale, in float32."""
        ...

    def adjust(self, finite: jax.Array) -> LossScale:
        """Returns the scale for the next step, given whether this one's gradients were finite."""
        ...


class _Scaling:
    """What both kinds of scale do with theirs."""

    scale: jax.Array | float

    def scale_loss(self, loss: jax.Array) -> jax.Array:
        """Returns `loss` multiplied by the scale."""
        return loss * jnp.asarray(self.scale).astype(loss.dtype)

    def unscale(self, tree: _T) -> _T:
        """Returns a tree of gradients divided by the scale, in float32."""
        factor = 1 / jnp.asarray(self.scale)
        return jax.tree.map(
            lambda g: g.astype(jnp.promote_types(g.dtype, jnp.float32)) * factor, tree
        )


def _checked(name: str, value: Any, least: float) -> None:
    """Python numbers are checked; tracers, and what comes out of a checkpoint, are not."""
    if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= least):
        raise ValueError(f"{name}={value!r} must be a finite number, at least {least:g}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StaticLossScale(_Scaling):
    """A loss scale that never changes.

    Attributes:
        scale: float32 scalar. Powers of two lose no bits; 256 to 1024 suits transformers of a
            hundred million parameters.

    Raises:
        ValueError: the scale is not a positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> from jax_ane.precision import StaticLossScale
        >>> scale = StaticLossScale(256)
        >>> float(scale.scale_loss(jnp.float32(0.5))), float(scale.unscale(jnp.float32(128)))
        (128.0, 0.5)
    """

    scale: jax.Array | float

    def __post_init__(self) -> None:
        _checked("scale", self.scale, least=2.0**-126)
        if isinstance(self.scale, (int, float)):
            object.__setattr__(self, "scale", jnp.float32(self.scale))

    def adjust(self, finite: jax.Array) -> StaticLossScale:
        """Returns itself."""
        del finite
        return self


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DynamicLossScale(_Scaling):
    """A loss scale that grows while gradients are finite and backs off when they are not.

    A step whose gradients are not finite is skipped: parameters and the optimiser's state stay as
    they are. Every field lives through `jit`, checkpoints and `jax.tree.map`.

    Attributes:
        scale: float32 scalar, now.
        finite_steps: int32 scalar, finite steps since the last change.
        growth_interval: finite steps after which the scale is multiplied by `growth_factor`.
        growth_factor, backoff_factor: powers of two keep every gradient's bits.
        min_scale, max_scale: bounds.

    Raises:
        ValueError: a number that cannot work: a factor on the wrong side of 1, bounds that exclude
            the scale, an interval below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from jax_ane.precision import DynamicLossScale
        >>> scale = DynamicLossScale(1024.0, growth_interval=1)
        >>> float(scale.adjust(jnp.bool_(True)).scale), float(scale.adjust(jnp.bool_(False)).scale)
        (2048.0, 512.0)
    """

    scale: jax.Array | float = 2.0**15
    finite_steps: jax.Array | int = 0
    growth_interval: int = dataclasses.field(default=1000, metadata={"static": True})
    growth_factor: float = dataclasses.field(default=2.0, metadata={"static": True})
    backoff_factor: float = dataclasses.field(default=0.5, metadata={"static": True})
    min_scale: float = dataclasses.field(default=1.0, metadata={"static": True})
    max_scale: float = dataclasses.field(default=2.0**24, metadata={"static": True})

    def __post_init__(self) -> None:
        _checked("scale", self.scale, least=2.0**-126)
        if self.growth_interval < 1:
            raise ValueError(f"growth_interval={self.growth_interval} must be at least 1")
        if not self.growth_factor > 1 or not 0 < self.backoff_factor < 1:
            raise ValueError(
                f"growth_factor={self.growth_factor} must be above 1, "
                f"backoff_factor={self.backoff_factor} between 0 and 1"
            )
        if not 0 < self.min_scale <= self.max_scale:
            raise ValueError(
                f"min_scale={self.min_scale} must be positive and at most "
                f"max_scale={self.max_scale}"
            )
        if isinstance(self.scale, (int, float)):
            if not self.min_scale <= self.scale <= self.max_scale:
                raise ValueError(
                    f"scale={self.scale} is outside min_scale={self.min_scale} to "
                    f"max_scale={self.max_scale}"
                )
            object.__setattr__(self, "scale", jnp.float32(self.scale))
        if isinstance(self.finite_steps, int):
            object.__setattr__(self, "finite_steps", jnp.int32(self.finite_steps))

    def adjust(self, finite: jax.Array) -> DynamicLossScale:
        """Returns the scale for the next step.

        Args:
            finite: bool scalar: whether all of this step's gradients were finite.
        """
        steps = jnp.asarray(self.finite_steps) + 1
        grows = steps >= self.growth_interval
        scale = jnp.asarray(self.scale)
        grown = jnp.where(grows, jnp.minimum(scale * self.growth_factor, self.max_scale), scale)
        shrunk = jnp.maximum(scale * self.backoff_factor, self.min_scale)
        return dataclasses.replace(
            self,
            scale=jnp.where(finite, grown, shrunk),
            finite_steps=jnp.where(finite & ~grows, steps, 0),
        )
