# SPDX-License-Identifier: Apache-2.0
"""Gradients that are not finite: finding them, counting them, replacing them."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    import optax


def _inexact(tree: Any) -> list[jax.Array]:
    leaves = (jnp.asarray(leaf) for leaf in jax.tree.leaves(tree))
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def all_finite(tree: Any) -> jax.Array:
    """Returns a bool scalar: whether no leaf of the tree holds an infinity or a NaN."""
    checks = [jnp.isfinite(leaf).all() for leaf in _inexact(tree)]
    return functools.reduce(operator.and_, checks, jnp.bool_(True))


def count_nonfinite(tree: Any) -> jax.Array:
    """Returns an int32 scalar: how many elements of the tree's leaves are infinite or NaN."""
    counts = [jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in _inexact(tree)]
    return functools.reduce(operator.add, counts, jnp.int32(0))


class SanitizeState(NamedTuple):
    """State of `sanitize_gradients`.

    Attributes:
        replaced: int32 scalar, elements replaced in the last step.
        total: int32 scalar, elements replaced since the start.
    """

    replaced: jax.Array
    total: jax.Array


def sanitize_gradients(largest: float | None = None) -> optax.GradientTransformation:
    """Returns an optax transform that replaces gradients which are not finite by 0.

    One overflow then costs one element's update, not the run: an infinity that reaches Adam's
    moments stays there. Put it first in the chain. With a `DynamicLossScale` a train step skips
    such steps before they come here.

    Args:
        largest: gradients beyond it in magnitude are cut to it; None leaves finite ones alone.

    Raises:
        ValueError: `largest` is not positive.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jax_ane import precision
        >>> opt = optax.chain(precision.sanitize_gradients(), optax.sgd(1.0))
        >>> params = jnp.zeros(3)
        >>> updates, state = opt.update(jnp.array([1.0, jnp.nan, jnp.inf]), opt.init(params))
        >>> updates.tolist(), int(state[0].replaced)
        ([-1.0, -0.0, -0.0], 2)
    """
    if largest is not None and not largest > 0:
        raise ValueError(f"largest={largest} must be positive")
    import optax  # of the extra `train`; the rest of this package does without

    def init(params: Any) -> SanitizeState:
        del params
        return SanitizeState(jnp.int32(0), jnp.int32(0))

    def clean(gradient: jax.Array) -> jax.Array:
        gradient = jnp.where(jnp.isfinite(gradient), gradient, jnp.zeros_like(gradient))
        return gradient if largest is None else jnp.clip(gradient, -largest, largest)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, SanitizeState]:
        del params
        replaced = count_nonfinite(updates)
        return jax.tree.map(clean, updates), SanitizeState(replaced, state.total + replaced)

    return optax.GradientTransformation(init, update)
