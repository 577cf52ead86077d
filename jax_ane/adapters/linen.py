# SPDX-License-Identifier: Apache-2.0
"""Flax Linen models in `jax_ane.training`: collections and random streams as one state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import core, errors
from flax import linen as nn

from jax_ane._tree_paths import Freeze, describe, path_of
from jax_ane.adapters._step import ModelStep, loss_and_aux
from jax_ane.adapters._step import Parameters as Parameters
from jax_ane.training import TrainState, TrainStep
from jax_ane.training import train_step as plain_train_step


class LinenStep(ModelStep):
    """A training step of a Linen model; `train_step` makes it.

    Attributes:
        step: the step that `training.fit` takes.
        parameters: what is trained.
    """

    def __init__(
        self,
        model: nn.Module,
        step: TrainStep,
        params: Any,
        model_state: Any,
        wrt: str,
        freeze: Freeze,
    ) -> None:
        super().__init__(step, params, freeze)
        self._model = model
        self._params = params
        self._model_state = model_state
        self._wrt = wrt

    def init(self) -> TrainState:
        """Returns the state at the start: the variables and streams, copied."""
        return self.step.init(self._params, self._model_state)

    def variables(self, state: TrainState) -> dict[str, Any]:
        """Returns a state's variables, parameters and other collections, for `model.apply`."""
        return {self._wrt: state.params, **state.model_state["collections"]}

    def model(self, state: TrainState) -> nn.Module:
        """Returns the model bound to a state's variables: call it on inputs to predict.

        It changes nothing: call it as for inference, with running averages and no dropout.
        """
        return self._model.bind(self.variables(state))


def train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    loss_fn: Callable[[Any, Any], Any],
    *,
    variables: Mapping[str, Any],
    rngs: Mapping[str, jax.Array] | None = None,
    wrt: str = "params",
    freeze: Freeze = None,
    **options: Any,
) -> LinenStep:
    """Makes a training step of a Linen model.

    What the model changes as it runs (batch statistics, the place in its random streams) is part of
    the state; a step that is skipped leaves that alone too.

    Args:
        model: the model, unbound.
        optimizer: any optax transformation.
        loss_fn: `loss_fn(model, batch) -> loss` or `(loss, aux)`. The model that it gets is bound:
            it is called on inputs (`model(batch["x"], train=True)`) without `apply`, and may change
            every collection but `wrt`.
        variables: all collections at the start, as `model.init` returns them.
        rngs: the key of each random stream that the model draws from in training, such as
            `{"dropout": jax.random.key(0)}`. Each step, and each micro-batch, has keys of its own,
            folded from these; the same keys give the same run.
        wrt: the collection of the parameters.
        freeze: parameters that are not trained, by path: see `training.train_step`.
        options: the others of `training.train_step`.

    Raises:
        TypeError: the model is no Linen module, or a stream's key is no key.
        ValueError: the variables have no parameters; or, at the first step, the model draws from a
            stream that `rngs` lacks, or changes a collection's shape.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from flax import linen as nn
        >>> from jax_ane.adapters import linen as ane_linen
        >>> model, x = nn.Dense(2), jnp.ones((3, 4))
        >>> step = ane_linen.train_step(
        ...     model, optax.sgd(0.1), lambda m, x: jnp.mean(m(x) ** 2),
        ...     variables=model.init(jax.random.key(0), x),
        ... )
        >>> state, metrics = step(step.init(), x)
        >>> step.model(state)(x).shape, step.parameters.trainable
        ((3, 2), 10)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the model is {_kind(model)}, not an instance of flax.linen.Module; "
            "for Flax NNX take jax_ane.adapters.nnx"
        )
    collections: dict[str, Any] = core.unfreeze(dict(variables))
    params = collections.pop(wrt, None)
    if not jax.tree.leaves(params):
        have = ", ".join(sorted(variables)) or "nothing"
        raise ValueError(
            f"the variables hold no parameters in the collection {wrt!r}, only {have}; give all "
            "that model.init(key, inputs) returns, and wrt= if the parameters are elsewhere"
        )
    keys = {name: _checked_key(name, key) for name, key in (rngs or {}).items()}
    model_state = {"collections": collections, "rngs": keys, "draws": jnp.int32(0)}
    bound_loss = nn.apply(loss_fn, model, mutable=list(collections))

    def pure(params: Any, model_state: Any, batch: Any) -> tuple[Any, tuple[Any, Any]]:
        held, keys, draws = (model_state[name] for name in ("collections", "rngs", "draws"))
        fresh = {name: jax.random.fold_in(key, draws) for name, key in keys.items()}
        try:
            out, changed = bound_loss({wrt: params, **held}, batch, rngs=fresh)
        except errors.InvalidRngError as error:
            raise ValueError(
                f"the model draws from a random stream that has no key ({error}); give one: "
                'linen.train_step(..., rngs={"dropout": jax.random.key(0)})'
            ) from error
        loss, aux = loss_and_aux(out)
        changed = {**held, **core.unfreeze(changed)}
        _check_same(held, changed)
        state = {"collections": changed, "rngs": keys, "draws": draws + 1}
        return loss, (state, aux)

    step = plain_train_step(pure, optimizer, freeze=freeze, **options)
    return LinenStep(model, step, params, model_state, wrt, freeze)


def _kind(model: Any) -> str:
    return f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"


def _checked_key(name: str, key: Any) -> jax.Array:
    dtype, shape = getattr(key, "dtype", None), np.shape(key)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    if not new and not (dtype == jnp.uint32 and len(shape) == 1):
        raise TypeError(
            f"rngs[{name!r}] is a {type(key).__name__} of shape {list(shape)}, not one random key; "
            "make it by jax.random.key(seed)"
        )
    return key


def _check_same(before: Any, after: Any) -> None:
    """Refuses collections of another structure, which the next step could not take."""

    def types(tree: Any) -> dict[str, str]:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {path_of(keys): describe(jnp.asarray(leaf)) for keys, leaf in leaves}

    was, now = types(before), types(after)
    for path in sorted(was.keys() | now.keys()):
        if was.get(path) != now.get(path):
            raise ValueError(
                f"the model changed {path} from {was.get(path, 'nothing')} to "
                f"{now.get(path, 'nothing')}; each step must leave its collections as they were in "
                "shape: leave out of variables what the model collects by sow, and initialise "
                "with a batch of the training's shape"
            )
