# SPDX-License-Identifier: Apache-2.0
"""Gradients that wait for an update: `train_step(..., update_every=K)`.

Between updates the weights stay as they are, so an engine that holds them as constants
(`jax_ane.config(weights="baked")`) loads them once for K steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pending:
    """Part of a train state, a pytree.

    Attributes:
        sums: float32 gradients since the last update, unscaled, like the trained parameters.
        taken: int32 scalar, how many gradients are in the sums.
        steps: int32 scalar, steps since the last update, those that were skipped too.
    """

    sums: Any
    taken: jax.Array
    steps: jax.Array

    @classmethod
    def start(cls, params: Any) -> Pending:
        """Returns no gradients at all, for a tree of parameters."""
        return cls(jax.tree.map(jnp.zeros_like, params), jnp.int32(0), jnp.int32(0))

    def add(self, gradients: Any, factor: jax.Array, takes: jax.Array) -> Pending:
        """Adds one step's gradients times `factor`, or counts the step alone.

        Args:
            gradients: like `sums`.
            factor: float32 scalar.
            takes: bool scalar; False leaves the sums as they are.
        """
        sums = jax.tree.map(
            lambda s, g: jnp.where(takes, s + g * factor.astype(s.dtype), s), self.sums, gradients
        )
        return Pending(sums, self.taken + takes.astype(jnp.int32), self.steps + 1)

    def cleared(self, due: jax.Array) -> Pending:
        """Returns no gradients at all where an update was due, a bool scalar."""
        return jax.tree.map(lambda leaf: jnp.where(due, jnp.zeros_like(leaf), leaf), self)
