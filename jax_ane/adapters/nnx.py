# SPDX-License-Identifier: Apache-2.0
"""Flax NNX models in `jax_ane.training`: parameters, statistics and random streams as one state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from jax_ane._tree_paths import Freeze, path_of, trained
from jax_ane.training import TrainState, TrainStep
from jax_ane.training import train_step as plain_train_step


@dataclasses.dataclass(frozen=True)
class Parameters:
    """How much of a model is trained.

    Attributes:
        rows: (path, shape, elements, is trained) of each parameter.
    """

    rows: list[tuple[str, tuple[int, ...], int, bool]]

    @property
    def trainable(self) -> int:
        """Elements that are trained."""
        return sum(count for _, _, count, is_trained in self.rows if is_trained)

    @property
    def total(self) -> int:
        """All elements."""
        return sum(count for _, _, count, _ in self.rows)

    def __str__(self) -> str:
        width = max(len(path) for path, *_ in self.rows)
        lines = [
            f"{path:{width}}  {list(shape)!s:18}{count:12,}  {'trained' if chosen else 'frozen'}"
            for path, shape, count, chosen in self.rows
        ]
        frozen = self.total - self.trainable
        lines.append(f"trainable {self.trainable:,}, frozen {frozen:,}, total {self.total:,}")
        return "\n".join(lines)


class NnxStep:
    """A training step of an NNX model; `train_step` makes it.

    Attributes:
        step: the step that `training.fit` takes.
        parameters: what is trained.
    """

    def __init__(
        self, model: nnx.Module, step: TrainStep, graph: Any, wrt: Any, freeze: Freeze
    ) -> None:
        self._model = model
        self._graph = graph
        self._wrt = wrt
        self.step = step
        params = nnx.to_pure_dict(nnx.state(model, wrt))
        leaves = jax.tree_util.tree_flatten_with_path(params)[0]
        chosen = jax.tree.leaves(trained(params, freeze))
        self.parameters = Parameters(
            [(path_of(keys), leaf.shape, int(np.size(leaf)), bool(is_trained))
             for (keys, leaf), is_trained in zip(leaves, chosen, strict=True)]
        )  # fmt: skip

    def init(self) -> TrainState:
        """Returns the state at the start: the model's, copied."""
        _, params, rest = nnx.split(self._model, self._wrt, ...)
        return self.step.init(nnx.to_pure_dict(params), nnx.to_pure_dict(rest))

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, Any]:
        """Takes a step; as a `TrainStep`."""
        return self.step(state, batch)

    def model(self, state: TrainState) -> nnx.Module:
        """Returns a model with a state's parameters, statistics and random streams."""
        return _merged(self._graph, self._model, self._wrt, state.params, state.model_state)

    def update(self, state: TrainState) -> None:
        """Puts a state's values into the model that the step was made of."""
        nnx.update(self._model, nnx.state(self.model(state)))


def train_step(
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    loss_fn: Callable[[Any, Any], Any],
    *,
    wrt: Any = nnx.Param,
    freeze: Freeze = None,
    **options: Any,
) -> NnxStep:
    """Makes a training step of an NNX model.

    What the model changes as it runs (batch statistics, dropout's random streams) is part of the
    state; a step that is skipped leaves that alone too.

    Args:
        model: the model; it is copied, and changes only by `NnxStep.update`.
        optimizer: any optax transformation.
        loss_fn: `loss_fn(model, batch) -> loss` or `(loss, aux)`.
        wrt: which variables are parameters, an NNX filter.
        freeze: parameters that are not trained, by path: see `training.train_step`.
        options: the others of `training.train_step`.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from flax import nnx
        >>> from jax_ane.adapters import nnx as ane_nnx
        >>> model = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
        >>> step = ane_nnx.train_step(model, optax.sgd(0.1), lambda m, x: jnp.mean(m(x) ** 2))
        >>> state, metrics = step(step.init(), jnp.ones((3, 4)))
        >>> step.update(state)
        >>> step.parameters.trainable
        10
    """
    graph, _, _ = nnx.split(model, wrt, ...)

    def pure(params: Any, rest: Any, batch: Any) -> tuple[Any, tuple[Any, Any]]:
        merged = _merged(graph, model, wrt, params, rest)
        out = loss_fn(merged, batch)
        loss, aux = out if isinstance(out, tuple) and len(out) == 2 else (out, None)
        _, _, changed = nnx.split(merged, wrt, ...)
        return loss, (nnx.to_pure_dict(changed), aux)

    step = plain_train_step(pure, optimizer, freeze=freeze, **options)
    return NnxStep(model, step, graph, wrt, freeze)


def _merged(graph: Any, model: nnx.Module, wrt: Any, params: Any, rest: Any) -> nnx.Module:
    _, params_like, rest_like = nnx.split(model, wrt, ...)
    nnx.replace_by_pure_dict(params_like, params)
    nnx.replace_by_pure_dict(rest_like, rest)
    return nnx.merge(graph, params_like, rest_like)
