# SPDX-License-Identifier: Apache-2.0
"""Flax NNX models in `jax_ane.training`: parameters, statistics and random streams as one state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax
from flax import nnx

from jax_ane._tree_paths import Freeze
from jax_ane.adapters._step import ModelStep, loss_and_aux
from jax_ane.adapters._step import Parameters as Parameters
from jax_ane.training import TrainState, TrainStep
from jax_ane.training import train_step as plain_train_step


class NnxStep(ModelStep):
    """A training step of an NNX model; `train_step` makes it.

    Attributes:
        step: the step that `training.fit` takes.
        parameters: what is trained.
    """

    def __init__(
        self, model: nnx.Module, step: TrainStep, graph: Any, wrt: Any, freeze: Freeze
    ) -> None:
        super().__init__(step, nnx.to_pure_dict(nnx.state(model, wrt)), freeze)
        self._model = model
        self._graph = graph
        self._wrt = wrt

    def init(self) -> TrainState:
        """Returns the state at the start: the model's, copied."""
        _, params, rest = nnx.split(self._model, self._wrt, ...)
        return self.step.init(nnx.to_pure_dict(params), nnx.to_pure_dict(rest))

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
        loss, aux = loss_and_aux(loss_fn(merged, batch))
        _, _, changed = nnx.split(merged, wrt, ...)
        return loss, (nnx.to_pure_dict(changed), aux)

    step = plain_train_step(pure, optimizer, freeze=freeze, **options)
    return NnxStep(model, step, graph, wrt, freeze)


def _merged(graph: Any, model: nnx.Module, wrt: Any, params: Any, rest: Any) -> nnx.Module:
    _, params_like, rest_like = nnx.split(model, wrt, ...)
    nnx.replace_by_pure_dict(params_like, params)
    nnx.replace_by_pure_dict(rest_like, rest)
    return nnx.merge(graph, params_like, rest_like)
