# SPDX-License-Identifier: Apache-2.0
"""One training step: a pure function of a state and a batch, compiled once.

Weights are arguments of the programs on the engine, so a step compiles nothing after the first.
Masters, moments and sums of gradients are float32 and stay on the host. AdamW is one native call
over all parameters (`_adamw.py`), any other optimiser what optax makes of it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jax_ane import precision
from jax_ane._tree_paths import Freeze, describe, merge, path_of, split, trained
from jax_ane.precision import DynamicLossScale, LossScale, SanitizeState
from jax_ane.training import _adamw
from jax_ane.training._pending import Pending
from jax_ane.training._weight_gradients import Divided, DividedStep, divide

LossFn = Callable[..., Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a run consists of besides its data: a pytree.

    Attributes:
        params: the tree given to `init`; floating-point leaves are float32 (or float64).
        opt_state: the optimiser's state for the leaves that are trained.
        step: int32 scalar, steps taken, with skipped ones.
        loss_scale: the loss scale, or None.
        model_state: what the model changes as it runs (statistics of batches, random streams), or
            None.
        pending: with `update_every`, the gradients since the last update; None without.
    """

    params: Any
    opt_state: Any
    step: jax.Array
    loss_scale: LossScale | None
    model_state: Any = None
    pending: Pending | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Metrics(Mapping[str, Any]):
    """What a step measured: scalars, also by name (`metrics["loss"]`).

    Attributes:
        loss: float32, before the update; the mean over accumulated micro-batches.
        grad_norm: float32, 2-norm over all gradients, unscaled, before clipping.
        loss_scale: float32, the scale that this step used.
        skipped: int32, 1 when the update was left out because gradients were not finite.
        clamped: int32, clamped tensors that reached their limit.
        nonfinite: int32, gradient elements that were infinite or NaN.
        recompiled: int32, compilations that this step caused and the first did not.
        aux: what the loss function returned beside the loss. Of accumulated micro-batches,
            floating-point leaves are averaged and integers added up.
    """

    loss: jax.Array
    grad_norm: jax.Array
    loss_scale: jax.Array
    skipped: jax.Array
    clamped: jax.Array
    nonfinite: jax.Array
    recompiled: jax.Array
    aux: Any = None

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (f.name for f in dataclasses.fields(self) if f.name != "aux" or self.aux is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)


class _Loss(NamedTuple):
    """What a loss function returned, and how many clamps were reached on the way."""

    loss: jax.Array
    aux: Any
    reached: jax.Array
    model_state: Any


class TrainStep:
    """A compiled training step; `train_step` makes it.

    Calling it takes the state's memory over (it is donated): keep the state that it returns.
    """

    def __init__(
        self,
        loss_fn: LossFn,
        optimizer: optax.GradientTransformation,
        loss_scale: LossScale | None,
        clamp: bool | float,
        accumulate: int,
        update_every: int,
        clip_norm: float | None,
        freeze: Freeze,
        fixed_shapes: bool,
        weight_gradients: Any,
    ) -> None:
        self._loss_fn = loss_fn
        self._optimizer = optimizer
        self._adamw = _adamw.recognise(optimizer)
        self._loss_scale = loss_scale
        self._clamp = clamp
        self._accumulate = accumulate
        self._update_every = update_every
        self._clip_norm = clip_norm
        self._freeze = freeze
        self._fixed_shapes = fixed_shapes
        self._weight_device = weight_gradients
        self._compiled: dict[Any, Any] = {}
        self._first_batch: Any = None
        self._jitted = {
            native: jax.jit(functools.partial(self._update, native=native), donate_argnums=0)
            for native in (False, True)
        }

    @property
    def compilations(self) -> int:
        """How many shapes of batches were compiled."""
        return len(self._compiled)

    def init(self, params: Any, model_state: Any = None) -> TrainState:
        """Returns the state at the start of a run.

        Args:
            params: a pytree of arrays. They are copied, and float16 and bfloat16 become float32.
            model_state: a pytree of what the model changes as it runs, copied; with it the loss
                function is `loss_fn(params, model_state, batch)` and returns
                `(loss, model_state)` or `(loss, (model_state, aux))`.

        Raises:
            TypeError: a leaf is no array.
            ValueError: nothing is left to train, or `freeze` matches nothing.
        """
        for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
            if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int):
                raise TypeError(
                    f"the parameter {path_of(keys)} is a {type(leaf).__name__}, not an array; "
                    "keep what is not trained out of the tree, or close over it"
                )
        masters = jax.tree.map(_master, params)
        chosen, _ = split(masters, trained(masters, self._freeze))
        scale, model_state = jax.tree.map(_copy, (self._loss_scale, model_state))
        opt_state = self._optimizer.init(chosen)
        pending = Pending.start(chosen) if self._update_every > 1 else None
        return TrainState(masters, opt_state, jnp.int32(0), scale, model_state, pending)

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        """Takes one step.

        Args:
            state: from `init`, or of the step before; its memory is taken over.
            batch: a pytree of arrays, what the loss function takes. With `accumulate=K` the
                leading axis of each is cut into K micro-batches.

        Raises:
            ValueError: the batch is empty, cannot be cut, or has other shapes than the first one.
        """
        before = self.compilations
        compiled = self.compile(state, batch)
        state, metrics = compiled(state, batch)
        recompiled = self.compilations - before if before else 0
        if recompiled:
            metrics = dataclasses.replace(metrics, recompiled=jnp.int32(recompiled))
        return state, metrics

    def compile(self, state: Any, batch: Any) -> Any:
        """Returns the step compiled for such a state and batch, made on the first request.

        Args:
            state, batch: as for a call, or trees of `jax.ShapeDtypeStruct`.
        """
        key = self._key(batch)
        if key not in self._compiled:
            self._check(batch)
            self._compiled[key] = self._compile(state, batch)
            if self._first_batch is None:
                self._first_batch = jax.tree.map(_shape, batch)
        return self._compiled[key]

    def lower(self, state: Any, batch: Any) -> Any:
        """Returns the step traced for such a state and batch, as `jax.jit(...).lower` does.

        It lets `jax_ane.explain(step, state, batch)` say where each op of a step goes. With
        `weight_gradients` it is the part for the device that trains, without the update.

        Args:
            state, batch: as for a call, or trees of `jax.ShapeDtypeStruct`.
        """
        if self._weight_device is not None:
            return self._divide(state, batch).lowered
        # The native update is no program of several devices.
        return self._jitted[_is_on_one_device(state)].lower(state, batch)

    def _compile(self, state: Any, batch: Any) -> Any:
        if self._weight_device is None:
            return self.lower(state, batch).compile()
        apply = functools.partial(self._apply, native=True)
        return DividedStep(self._divide(state, batch), apply, state, self._weight_device)

    def _divide(self, state: Any, batch: Any) -> Divided:
        if not _is_on_one_device(state):
            raise ValueError("weight_gradients: the state must be on one device")
        return divide(self._measure, state, batch)

    def loss(self, params: Any, model_state: Any, batch: Any) -> _Loss:
        """Returns what the clamped loss function does."""
        loss_fn, clamp = self._loss_fn, self._clamp
        has_state = model_state is not None
        arguments = (params, model_state, batch) if has_state else (params, batch)
        out: Any
        if clamp is False:
            out, reached = loss_fn(*arguments), jnp.int32(0)
        else:
            limit = None if clamp is True else float(clamp)
            clamped = precision.clamp_activations(loss_fn, limit, with_count=True)
            out, reached = clamped(*arguments)
        loss: Any = out
        aux: Any = None
        if isinstance(out, tuple) and len(out) == 2:
            loss, aux = out
        if has_state:
            with_aux = isinstance(aux, tuple) and len(aux) == 2
            model_state, aux = aux if with_aux else (aux, None)
        shape, dtype = jnp.shape(loss), jnp.result_type(loss)
        if shape != () or not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"the loss function returned {dtype}{list(shape)}; a loss is one floating-point "
                "number, such as the mean over the batch"
            )
        return _Loss(loss, aux, reached, model_state)

    # ---- The step itself, traced once

    def _update(self, state: TrainState, batch: Any, native: bool) -> tuple[TrainState, Metrics]:
        return self._apply(state, *self._measure(state, batch), native=native)

    def _measure(self, state: TrainState, batch: Any) -> tuple[Any, _Loss]:
        params, frozen = split(state.params, trained(state.params, self._freeze))
        return self._gradients(params, frozen, state, batch)

    def _apply(
        self, state: TrainState, gradients: Any, measured: _Loss, native: bool
    ) -> tuple[TrainState, Metrics]:
        params, frozen = split(state.params, trained(state.params, self._freeze))
        scale = state.loss_scale
        loss = measured.loss
        inverse = jnp.float32(1) if scale is None else scale.unscale(jnp.float32(1))
        norm = optax.tree.norm(gradients).astype(jnp.float32) * inverse
        finite = jnp.isfinite(norm) & jnp.isfinite(loss)
        skips = self._skips(state)
        keeps = finite if skips else jnp.bool_(True)
        model_state = jax.tree.map(
            lambda new, kept: jnp.where(keeps, new, kept), measured.model_state, state.model_state
        )
        native = native and self._adamw is not None and self._adamw.fits(params, state.opt_state)
        nonfinite: Any = None
        if state.pending is not None or not native:
            nonfinite = lax.cond(
                jnp.isfinite(norm),
                lambda: jnp.int32(0),
                functools.partial(precision.count_nonfinite, gradients),
            )
        pending, applies, of_update = state.pending, keeps, norm
        if pending is not None:
            pending = pending.add(gradients, inverse, keeps)
            due = pending.steps == self._update_every
            applies = due & (pending.taken > 0)
            gradients = _times(pending.sums, 1 / jnp.maximum(pending.taken, 1))
            inverse = jnp.float32(1)
            of_update = optax.tree.norm(gradients).astype(jnp.float32)
            pending = pending.cleared(due)
        factor = self._factor(of_update, inverse)
        if native:
            assert self._adamw is not None
            params, opt_state, counted = self._adamw.update(
                gradients, jnp.float32(1) if factor is None else factor, applies,
                jnp.isfinite(of_update), state.opt_state, params,
            )  # fmt: skip
            nonfinite = counted if nonfinite is None else nonfinite
        else:
            old = params, state.opt_state

            def update() -> tuple[Any, Any]:
                # Unscaled and clipped here, where the optimiser's own loops take it along.
                true = gradients if factor is None else _times(gradients, factor)
                updates, opt_state = self._optimizer.update(true, state.opt_state, params)
                return optax.apply_updates(params, updates), opt_state

            # A branch: a select would have to keep the old values beside the new.
            always = not skips and pending is None
            params, opt_state = update() if always else lax.cond(applies, update, lambda: old)
        metrics = Metrics(
            loss=loss.astype(jnp.float32),
            grad_norm=norm,
            loss_scale=jnp.float32(1) if scale is None else jnp.float32(scale.scale),
            skipped=(~finite).astype(jnp.int32) if skips else jnp.int32(0),
            clamped=measured.reached,
            nonfinite=nonfinite,
            recompiled=jnp.int32(0),
            aux=measured.aux,
        )
        new_scale = None if scale is None else scale.adjust(jnp.isfinite(norm))
        whole = merge(params, frozen)
        after = TrainState(whole, opt_state, state.step + 1, new_scale, model_state, pending)
        return after, metrics

    def _gradients(
        self, params: Any, frozen: Any, state: TrainState, batch: Any
    ) -> tuple[Any, _Loss]:
        """Returns scaled gradients and what was measured, means over the micro-batches."""
        scale = state.loss_scale

        def scaled(params: Any, model_state: Any, batch: Any) -> tuple[jax.Array, _Loss]:
            found = self.loss(merge(params, frozen), model_state, batch)
            loss = found.loss.astype(jnp.promote_types(found.loss.dtype, jnp.float32))
            scaled_loss = loss if scale is None else scale.scale_loss(loss)
            return scaled_loss, found._replace(loss=loss)

        gradient = jax.grad(scaled, has_aux=True)
        if self._accumulate == 1:
            return gradient(params, state.model_state, batch)
        parts = jax.tree.map(
            lambda leaf: jnp.reshape(leaf, (self._accumulate, -1, *leaf.shape[1:])), batch
        )

        def add(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], _Loss]:
            sums, model_state = carry
            gradients, found = gradient(params, model_state, part)
            sums = jax.tree.map(jnp.add, sums, gradients)
            return (sums, found.model_state), found._replace(model_state=None)

        start = jax.tree.map(jnp.zeros_like, params), state.model_state
        (sums, model_state), found = lax.scan(add, start, parts)
        share = jnp.float32(1 / self._accumulate)
        return _times(sums, share), _Loss(
            found.loss.mean(),
            jax.tree.map(_joined, found.aux),
            found.reached.sum(dtype=jnp.int32),
            model_state,
        )

    def _factor(self, norm: jax.Array, inverse: jax.Array) -> jax.Array | None:
        """Returns what gradients are multiplied by to be unscaled and clipped."""
        if self._clip_norm is None:
            return None if self._loss_scale is None else inverse
        clip = jnp.minimum(1.0, self._clip_norm / jnp.maximum(norm, 1e-12))
        # Where some are not finite, a sanitising optimiser wants the others as they are.
        return inverse * jnp.where(jnp.isfinite(norm), clip, 1.0)

    def _skips(self, state: TrainState) -> bool:
        """Whether a step that is not finite is left out: not where the optimiser cleans up."""
        if isinstance(state.loss_scale, DynamicLossScale):
            return True
        nodes = jax.tree.leaves(
            state.opt_state, is_leaf=lambda node: isinstance(node, SanitizeState)
        )
        return not any(isinstance(node, SanitizeState) for node in nodes)

    # ---- Batches

    @staticmethod
    def _key(batch: Any) -> Any:
        leaves, tree = jax.tree.flatten(batch)
        return tree, tuple((np.shape(leaf), np.dtype(leaf.dtype)) for leaf in map(_array, leaves))

    def _check(self, batch: Any) -> None:
        leaves = jax.tree_util.tree_flatten_with_path(batch)[0]
        if not leaves:
            raise ValueError("the batch holds no arrays")
        for keys, leaf in leaves:
            if 0 in leaf.shape:
                raise ValueError(f"batch {path_of(keys)} {describe(leaf)} is empty")
            if self._accumulate > 1 and (not leaf.shape or leaf.shape[0] % self._accumulate):
                raise ValueError(
                    f"batch {path_of(keys)} {describe(leaf)} cannot be cut into "
                    f"accumulate={self._accumulate} micro-batches along its first axis"
                )
        if self._first_batch is None or not self._fixed_shapes:
            return
        first = jax.tree_util.tree_flatten_with_path(self._first_batch)[0]
        if [keys for keys, _ in first] != [keys for keys, _ in leaves]:
            raise ValueError(
                "the batch has other leaves than the first one: "
                f"{[path_of(keys) for keys, _ in leaves]}, "
                f"then {[path_of(keys) for keys, _ in first]}"
            )
        for (keys, leaf), (_, was) in zip(leaves, first, strict=True):
            if (leaf.shape, leaf.dtype) != (was.shape, was.dtype):
                raise ValueError(
                    f"batch {path_of(keys)} is {describe(leaf)} and was {describe(was)} before; "
                    "another shape is another compilation: drop or pad the last batch, or say "
                    "train_step(..., fixed_shapes=False)"
                )


def train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    loss_scale: LossScale | None = None,
    clamp: bool | float = False,
    accumulate: int = 1,
    update_every: int = 1,
    clip_norm: float | None = None,
    freeze: Freeze = None,
    fixed_shapes: bool = True,
    weight_gradients: Any = None,
) -> TrainStep:
    """Makes a training step of a loss function and an optax optimiser.

    A step whose gradients are not finite leaves parameters and optimiser as they are and counts as
    skipped, unless the optimiser cleans gradients itself (`precision.sanitize_gradients`) and the
    loss scale is not dynamic.

    Args:
        loss_fn: `loss_fn(params, batch) -> loss` or `(loss, aux)`; a JAX function, the loss one
            floating-point number, aux a pytree of arrays.
        optimizer: any optax transformation. Its state is float32, on the host.
        loss_scale: `precision.StaticLossScale`, `precision.DynamicLossScale` or None.
        clamp: True clamps activations to fp16's limits (`precision.clamp_activations`), a number
            to that magnitude.
        accumulate: micro-batches a batch is cut into along its leading axis; gradients are
            averaged in float32 before the one update.
        update_every: steps that share one update, of the mean of their gradients. Between updates
            the weights stay as they are, which `jax_ane.config(weights="baked")` profits from; it
            costs one more float32 copy of the trained parameters.
        clip_norm: gradients with a larger 2-norm over all of them are scaled down to it.
        freeze: parameters that are not trained: a regular expression that is searched in their
            paths (`"encoder/"`), or a function of the path. They have neither gradients nor
            optimiser state.
        fixed_shapes: refuse a batch of another shape than the first; False compiles once for each.
        weight_gradients: a device, such as `jax.devices("cpu")[0]`, for the products that make the
            gradients of weights, in the dtypes they have there; their operands are copied to it,
            and the gradients back. None computes them with the rest. Products in loops and under
            `jax.checkpoint` stay where the rest is, and so does everything else.

    Raises:
        ValueError: a number that cannot work.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jax_ane import training
        >>> def loss_fn(params, batch):
        ...     return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2)
        >>> step = training.train_step(loss_fn, optax.sgd(0.1))
        >>> state = step.init({"w": jnp.zeros((2, 1))})
        >>> batch = {"x": jnp.eye(2), "y": jnp.ones((2, 1))}
        >>> for _ in range(3):
        ...     state, metrics = step(state, batch)
        >>> int(state.step), int(metrics.recompiled), float(metrics.loss) < 1
        (3, 0, True)
    """
    if accumulate < 1:
        raise ValueError(f"accumulate={accumulate} must be at least 1")
    if update_every < 1:
        raise ValueError(f"update_every={update_every} must be at least 1")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm={clip_norm} must be positive")
    if weight_gradients is not None and accumulate > 1:
        raise ValueError(
            "weight_gradients cannot be taken out of the loop that accumulate= makes; "
            "use update_every= instead"
        )
    if not isinstance(clamp, bool) and not clamp > 0:
        raise ValueError(f"clamp={clamp} must be True, False or a positive magnitude")
    return TrainStep(
        loss_fn, optimizer, loss_scale, clamp, accumulate, update_every, clip_norm, freeze,
        fixed_shapes, weight_gradients,
    )  # fmt: skip


def _master(leaf: Any) -> jax.Array:
    array = jnp.array(leaf, copy=True)
    narrow = array.dtype in (jnp.float16, jnp.bfloat16)
    return array.astype(jnp.float32) if narrow else array


def _copy(leaf: Any) -> jax.Array:
    return jnp.array(leaf, copy=True)


def _times(tree: Any, factor: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)


def _joined(leaf: jax.Array) -> jax.Array:
    return leaf.mean(0) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.sum(0)


def _array(leaf: Any) -> Any:
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)


def _is_on_one_device(tree: Any) -> bool:
    shardings = (getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(tree))
    return all(sharding is None or len(sharding.device_set) == 1 for sharding in shardings)


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    array = _array(leaf)
    return jax.ShapeDtypeStruct(array.shape, array.dtype)
