# SPDX-License-Identifier: Apache-2.0
"""optax's AdamW over all parameters in one native call.

`recognise` looks into an optax transformation; where it is AdamW (or Adam), alone or behind
`precision.sanitize_gradients`, a train step updates by one custom call that reads each gradient
once, as the fp16 the engine wrote where it did, and writes parameters and moments in place. A step
that is skipped writes nothing. The arithmetic is optax's, and so are the bits, if optax runs op by
op; where it is compiled, XLA fuses products and sums into one rounding.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_ane.compiler import updates
from jax_ane.precision import SanitizeState


@dataclasses.dataclass(frozen=True)
class AdamW:
    """An optimiser that was recognised.

    Attributes:
        b1, b2, eps, eps_root: of Adam.
        decay: weight decay, 0 for none.
        mask: which leaves decay: a tree of bools, a function of the parameters, or None for all.
        rate: minus the learning rate, or a function of the count that returns it.
        sanitizes: gradients that are not finite count as 0.
    """

    b1: float
    b2: float
    eps: float
    eps_root: float
    decay: float
    mask: Any
    rate: float | Callable[[Any], Any]
    sanitizes: bool

    def fits(self, params: Any, opt_state: Any) -> bool:
        """Whether all parameters and moments are float32."""
        adam = _find(opt_state, optax.ScaleByAdamState)
        leaves = jax.tree.leaves((params, adam.mu, adam.nu))
        return bool(leaves) and all(leaf.dtype == jnp.float32 for leaf in leaves)

    def update(
        self,
        gradients: Any,
        factor: jax.Array,
        applies: jax.Array,
        finite: jax.Array,
        opt_state: Any,
        params: Any,
    ) -> tuple[Any, Any, jax.Array]:
        """Returns the new parameters, the optimiser's new state and a count.

        The count, an int32 scalar, is of the gradient elements that are infinite or NaN.

        Args:
            gradients: like `params`, as they left the loss function's gradient.
            factor: float32 scalar that they are multiplied by.
            applies: bool scalar; False leaves parameters and state as they are.
            finite: bool scalar; True promises that all gradients are, and spares counting.
            opt_state: the optimiser's state.
            params: a tree of float32 arrays.
        """
        adam = _find(opt_state, optax.ScaleByAdamState)
        count = optax.safe_increment(adam.count)
        rate = self.rate
        if callable(rate):
            rate = rate(_find(opt_state, optax.ScaleByScheduleState).count)
        inverses = [1 / (1 - decay**count) for decay in (self.b1, self.b2)]
        scalars = [factor, *inverses, rate, applies, ~finite]
        leaves, tree = jax.tree.flatten(params)
        groups = zip(
            leaves, *(jax.tree.leaves(t) for t in (adam.mu, adam.nu, gradients)), strict=True
        )
        operands = [jnp.stack([jnp.asarray(s, jnp.float32) for s in scalars])]
        for group in groups:
            operands += [*group, jnp.float32(1)]
        *results, nonfinite = self._call(operands, leaves, self._decays(params))
        new, mu, nu = (jax.tree.unflatten(tree, results[i::3]) for i in range(3))
        counted = functools.partial(jnp.where, applies)

        def renew(state: Any) -> Any:
            if isinstance(state, optax.ScaleByAdamState):
                return optax.ScaleByAdamState(counted(count, state.count), mu, nu)
            if isinstance(state, optax.ScaleByScheduleState):
                after = optax.safe_increment(state.count)
                return optax.ScaleByScheduleState(counted(after, state.count))
            if isinstance(state, SanitizeState):
                replaced = SanitizeState(nonfinite, state.total + nonfinite)
                return jax.tree.map(counted, replaced, state)
            return state

        return new, jax.tree.map(renew, opt_state, is_leaf=_is_known), nonfinite

    def _decays(self, params: Any) -> list[bool]:
        if self.mask is None or not self.decay:
            return [bool(self.decay)] * len(jax.tree.leaves(params))
        mask = self.mask(params) if callable(self.mask) else self.mask
        whole = jax.tree.map(lambda m, p: jax.tree.map(lambda _: bool(m), p), mask, params)
        return jax.tree.leaves(whole)

    def _call(self, operands: list[Any], leaves: list[Any], decays: list[bool]) -> list[Any]:
        updates.register()
        shapes = [
            jax.ShapeDtypeStruct(leaf.shape, jnp.float32)
            for leaf in leaves
            for _ in range(updates.RESULTS)
        ]
        call = jax.ffi.ffi_call(
            updates.TARGET,
            [*shapes, jax.ShapeDtypeStruct((), jnp.int32)],
            input_output_aliases={updates.operand_of(i): i for i in range(len(shapes))},
        )
        f32 = np.float32
        return list(call(
            *operands,
            b1=f32(self.b1), rest1=f32(1 - self.b1), b2=f32(self.b2), rest2=f32(1 - self.b2),
            eps=f32(self.eps), eps_root=f32(self.eps_root), decay=f32(self.decay),
            sanitizes=self.sanitizes, decays=np.array(decays, np.int64),
        ))  # fmt: skip


def recognise(optimizer: Any) -> AdamW | None:
    """Returns what an optax transformation does if that is AdamW or Adam, else None.

    optax does not tell; its functions' closures do. Whatever looks otherwise than expected, a
    version that spells it otherwise among it, is not recognised.
    """
    try:
        return _read(_parts(optimizer.update))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _parts(update: Any) -> list[tuple[str, dict[str, Any]]]:
    """Returns a chain's transformations in order: the name of each, and what it closes over."""
    name = update.__qualname__.split(".")[0]
    values = _closed_over(update)
    if name == "with_extra_args_support":
        return _parts(values["tx"].update)
    if name == "chain":
        return [part for inner in values["update_fns"] for part in _parts(inner)]
    if name == "masked":
        return [(f"masked {inner}", {**closed, "mask": values["mask"]})
                for inner, closed in _parts(values["inner"].update)]  # fmt: skip
    return [(name, values)]


def _closed_over(function: Any) -> dict[str, Any]:
    return dict(inspect.getclosurevars(function).nonlocals)


def _read(parts: list[tuple[str, dict[str, Any]]]) -> AdamW | None:
    sanitizes = parts[0][0] == "sanitize_gradients"
    if sanitizes:
        if _closed_over(parts[0][1]["clean"])["largest"] is not None:
            return None
        parts = parts[1:]
    (name, adam), *rest = parts
    if name != "scale_by_adam" or adam["nesterov"] or adam["mu_dtype"] not in (None, jnp.float32):
        return None
    decay, mask = 0.0, None
    if len(rest) == 2 and rest[0][0].removeprefix("masked ") == "add_decayed_weights":
        decay, mask = rest[0][1]["weight_decay"], rest[0][1].get("mask")
        rest = rest[1:]
    if len(rest) != 1:
        return None
    name, last = rest[0]
    rate = {"scale": "step_size", "scale_by_schedule": "step_size_fn"}[name]
    numbers = [adam[key] for key in ("b1", "b2", "eps", "eps_root")] + [decay]
    if not all(isinstance(number, int | float) for number in numbers):
        return None
    b1, b2, eps, eps_root, decay = map(float, numbers)
    return AdamW(b1, b2, eps, eps_root, decay, mask, last[rate], sanitizes)


def _is_known(state: Any) -> bool:
    return isinstance(state, optax.ScaleByAdamState | optax.ScaleByScheduleState | SanitizeState)


def _find(opt_state: Any, kind: type) -> Any:
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
    return next(node for node in nodes if isinstance(node, kind))
