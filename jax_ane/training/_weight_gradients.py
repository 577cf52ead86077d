# SPDX-License-Identifier: Apache-2.0
"""The gradients of weights on a device of their own.

The gradient of a weight is a product at the very end of the backward pass: nothing but the update
reads it. So the function that computes all gradients is cut in two: one part for the device that
trains, which also gives the operands of those products, and one of the products alone.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

CONTRACTIONS = ("dot_general", "conv_general_dilated")
# What may stand between a product and the gradient that is made of it.
MOVES = (
    "transpose", "reshape", "convert_element_type", "squeeze", "expand_dims", "rev", "slice", "pad",
    "mul", "div", "neg", "add", "add_any", "concatenate", "reduce_sum", "copy",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Halves:
    """A function cut in two, both of flat lists of arrays.

    Attributes:
        first: arguments to the results that stay, followed by the operands of `second`.
        second: operands to the results that were cut off.
        moved: the places of these among the results of the whole.
        results: how many results the whole has.
    """

    first: core.ClosedJaxpr
    second: core.ClosedJaxpr
    moved: tuple[int, ...]
    results: int

    def join(self, stayed: Sequence[Any], moved: Sequence[Any]) -> list[Any]:
        """Returns the results of the whole, in their order."""
        by_place = dict(zip(self.moved, moved, strict=True))
        rest = iter(stayed)
        return [by_place[i] if i in by_place else next(rest) for i in range(self.results)]

    @property
    def num_stayed(self) -> int:
        """How many results of `first` are results of the whole."""
        return self.results - len(self.moved)


def cut(closed: core.ClosedJaxpr, num_gradients: int) -> Halves:
    """Cuts the products off that make the first `num_gradients` results of a traced function.

    Args:
        closed: the function, as `jax.make_jaxpr` gives it.
        num_gradients: how many of its first results may be computed elsewhere.

    Raises:
        ValueError: none of them is made by a product that could be cut off.
    """
    jaxpr, consts = closed.jaxpr, closed.consts
    eqns = _inlined(jaxpr)
    makers = {var: i for i, eqn in enumerate(eqns) for var in eqn.outvars}
    uses = Counter(v for eqn in eqns for v in eqn.invars if isinstance(v, core.Var))
    uses.update(v for v in jaxpr.outvars if isinstance(v, core.Var))
    tail: set[int] = set()
    moved = tuple(
        i for i, var in enumerate(jaxpr.outvars[:num_gradients])
        if isinstance(var, core.Var) and _take(var, eqns, makers, uses, tail)
    )  # fmt: skip
    if not moved:
        raise ValueError(
            "weight_gradients: no gradient of a parameter is a product at the end of the step that "
            "could be computed on another device (those inside loops and jax.checkpoint cannot)"
        )
    second = [eqn for i, eqn in enumerate(eqns) if i in tail]
    made = {var for eqn in second for var in eqn.outvars}
    operands = list(
        dict.fromkeys(
            v for eqn in second for v in eqn.invars if isinstance(v, core.Var) and v not in made
        )
    )
    stayed = [var for i, var in enumerate(jaxpr.outvars) if i not in moved]
    first = [eqn for i, eqn in enumerate(eqns) if i not in tail]
    names = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    return Halves(
        core.ClosedJaxpr(
            jaxpr.replace(eqns=first, outvars=[*stayed, *operands], debug_info=names), consts
        ),
        core.ClosedJaxpr(
            jaxpr.replace(
                constvars=[], invars=operands, eqns=second, debug_info=names,
                outvars=[jaxpr.outvars[i] for i in moved], effects=core.no_effects,
            ),
            [],
        ),
        moved,
        len(jaxpr.outvars),
    )  # fmt: skip


def _take(
    var: core.Var,
    eqns: Sequence[core.JaxprEqn],
    makers: dict[core.Var, int],
    uses: Counter[core.Var],
    tail: set[int],
) -> bool:
    """Puts the products that `var` is made of, and what follows them, into `tail`."""
    number = makers.get(var)
    if number is None or uses[var] != 1:
        return False
    eqn = eqns[number]
    if eqn.primitive.name not in CONTRACTIONS:
        if eqn.primitive.name not in MOVES:
            return False
        sources = [v for v in eqn.invars if isinstance(v, core.Var)]
        if not any([_take(v, eqns, makers, uses, tail) for v in sources]):
            return False
    tail.add(number)
    return True


def _inlined(jaxpr: core.Jaxpr) -> list[core.JaxprEqn]:
    """Returns the equations with those of inner `jit`s in their place."""
    found: list[core.JaxprEqn] = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name not in ("jit", "pjit") or eqn.effects:
            found.append(eqn)
            continue
        inner = eqn.params["jaxpr"]
        if inner.consts:
            found.append(eqn)
            continue
        names: dict[core.Var, Any] = dict(zip(inner.jaxpr.invars, eqn.invars, strict=True))
        steps = _inlined(inner.jaxpr)
        made = {var for step in steps for var in step.outvars}
        direct = all(isinstance(v, core.Var) and v in made for v in inner.jaxpr.outvars)
        if not direct or len(set(inner.jaxpr.outvars)) != len(inner.jaxpr.outvars):
            found.append(eqn)  # a result is an argument, or given twice
            continue
        names.update(zip(inner.jaxpr.outvars, eqn.outvars, strict=True))
        for step in steps:
            outvars = [names.setdefault(v, core.Var(v.aval)) for v in step.outvars]
            invars = [names[v] if isinstance(v, core.Var) else v for v in step.invars]
            found.append(step.replace(invars=invars, outvars=outvars))
    return found


@dataclasses.dataclass(frozen=True)
class Divided:
    """What a training step measures, cut in two and traced, not compiled yet.

    Attributes:
        halves: of the leaves of state and batch, to those of gradients and of what else there is.
        results: the structure of the pair of these.
        lowered: the first half, for the device that trains.
    """

    halves: Halves
    results: Any
    lowered: Any


def divide(measure: Callable[[Any, Any], tuple[Any, Any]], state: Any, batch: Any) -> Divided:
    """Cuts the function in two that measures gradients.

    Args:
        measure: of state and batch, to gradients and what else was measured.
        state, batch: arrays, or their shapes.

    Raises:
        ValueError: as for `cut`.
    """
    closed, shapes = jax.make_jaxpr(measure, return_shape=True)(state, batch)
    halves = cut(closed, len(jax.tree.leaves(shapes[0])))
    lowered = jax.jit(core.jaxpr_as_fun(halves.first)).lower(*jax.tree.leaves((state, batch)))
    return Divided(halves, jax.tree.structure(shapes), lowered)


class DividedStep:
    """A training step in three programs: all but the products, the products, the update."""

    def __init__(
        self, divided: Divided, apply: Callable[[Any, Any, Any], Any], state: Any, device: Any
    ) -> None:
        """Compiles it.

        Args:
            divided: from `divide`.
            apply: of state, gradients and the rest, to the next state and metrics.
            state: as it was divided for.
            device: where the products are computed.
        """
        self._divided = divided
        self._device = device
        halves = divided.halves
        self._first = divided.lowered.compile()
        there = jax.sharding.SingleDeviceSharding(device)
        operands = [
            jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=there) for v in halves.second.in_avals
        ]
        self._second = jax.jit(core.jaxpr_as_fun(halves.second)).lower(*operands).compile()
        stayed = halves.first.out_avals[: halves.num_stayed]
        measured = self._join(stayed, halves.second.out_avals)
        self._apply = jax.jit(apply, donate_argnums=0).lower(state, *measured).compile()
        self.input_shardings = self._first.input_shardings
        self.programs = self._first, self._second, self._apply

    def __call__(self, state: Any, batch: Any) -> Any:
        results = self._first(*jax.tree.leaves((state, batch)))
        count = self._divided.halves.num_stayed
        stayed, operands = results[:count], results[count:]
        moved = self._second(*jax.device_put(operands, self._device))
        home = next(iter(jax.tree.leaves(self.input_shardings)))
        return self._apply(state, *self._join(stayed, jax.device_put(moved, home)))

    def _join(self, stayed: Sequence[Any], moved: Sequence[Any]) -> tuple[Any, Any]:
        """Returns gradients and what else was measured."""
        return self._divided.results.unflatten(self._divided.halves.join(stayed, moved))
