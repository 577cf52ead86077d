# SPDX-License-Identifier: Apache-2.0
"""Clamps where a program's values can leave fp16: a transform on JAX functions.

The function is traced and evaluated again op by op. Two kinds of results are clamped, because an
overflow starts in one of them: contractions (a sum of the engine's MAC is infinite from 2^15 on)
and joins, sums and products of two independently computed tensors, such as a residual connection
or a gate (fp16 ends at 65,504). Everything between, such as the inside of a norm, of a softmax or
of a gelu, is left as it is, for the compiler recognises these as wholes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_ane import _jax_internals as internals
from jax_ane._scopes import place
from jax_ane.compiler.graph import PLACE_ATTRIBUTE

_P = ParamSpec("_P")
_R = TypeVar("_R")

# The largest fp16 number below 2^15, where the MAC's sums become infinite.
CONTRACTION_LIMIT = 32752.0
# The largest fp16 number.
JOIN_LIMIT = 65504.0

_CONTRACTIONS = {"dot_general", "conv_general_dilated"}
_JOINS = {"add", "sub", "mul", "add_any"}
# Ops that give each element of one operand a new value or place: the result has that operand's
# origin.
_ELEMENTWISE_OF_ONE = {
    "neg", "sign", "floor", "ceil", "round", "exp", "exp2", "expm1", "log", "log1p", "tanh", "sin",
    "cos", "tan", "logistic", "erf", "erfc", "erf_inv", "rsqrt", "sqrt", "cbrt", "abs",
    "integer_pow", "square", "convert_element_type", "reshape", "transpose", "squeeze",
    "expand_dims", "copy", "stop_gradient", "reduce_precision", "rev", "name",
}  # fmt: skip
_INLINED = {"jit", "pjit", "closed_call", "core_call", "custom_lin"}


@jax.custom_jvp
def _clamp(x: jax.Array, limit: jax.Array) -> jax.Array:
    return lax.clamp(-limit, x, limit)


@_clamp.defjvp
def _clamp_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # From the result, which the backward pass has anyway, not from what went in.
    y = _clamp(*primals)
    with place("ane"):
        inside = lax.abs(y) < primals[1]
    return y, lax.select(inside, tangents[0], lax.full_like(tangents[0], 0))


@dataclasses.dataclass(frozen=True)
class _Limits:
    contraction: float
    join: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Origin:
    """Where a value was last computed from more than one tensor; equal only to itself."""


@dataclasses.dataclass(frozen=True)
class _Value:
    """A value and its origin; constants and what is spread over an axis have none."""

    value: Any
    origin: _Origin | None


class _Evaluator:
    """Evaluates equations with clamps and counts the clamps that were reached."""

    def __init__(self, limits: _Limits, counts: bool) -> None:
        self.limits = limits
        self.counts = counts
        self.reached: list[jax.Array] = []

    def jaxpr(
        self, jaxpr: jex.Jaxpr, consts: Sequence[Any], args: Sequence[_Value]
    ) -> list[_Value]:
        """Evaluates all equations; returns the outputs."""
        environment: dict[Any, _Value] = {}

        def read(atom: Any) -> _Value:
            if isinstance(atom, jex.Literal):
                return _Value(atom.val, None)
            return environment[atom]

        for variable, constant in zip(jaxpr.constvars, consts, strict=True):
            environment[variable] = _Value(constant, _Origin() if np.ndim(constant) else None)
        environment.update(zip(jaxpr.invars, args, strict=True))
        for eqn in jaxpr.eqns:
            results = self.equation(jaxpr, eqn, [read(atom) for atom in eqn.invars])
            environment.update(zip(eqn.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def equation(self, jaxpr: Any, eqn: Any, operands: list[_Value]) -> list[_Value]:
        """Evaluates one equation of a jaxpr."""
        name = eqn.primitive.name
        if name in _INLINED and "jaxpr" in eqn.params:
            return self._inlined(eqn.params["jaxpr"], operands)
        rule = _RULES.get(name)
        values = [operand.value for operand in operands]
        if rule is not None:
            with internals.at_line_of(eqn):
                return [_Value(v, _Origin()) for v in rule(self, eqn, values)]
        results = _bind(jaxpr, eqn, values)
        origin = _origin(eqn, operands)
        limit = self._limit(eqn, operands)
        if limit is not None:
            with internals.at_line_of(eqn):
                results = [self._clamped(result, limit) for result in results]
        return [_Value(result, origin) for result in results]

    def closed(self, closed: Any) -> Callable[..., tuple[list[Any], jax.Array]]:
        """Returns a closed jaxpr as a function of values that also returns its count."""

        def function(*values: Any) -> tuple[list[Any], jax.Array]:
            inner = _Evaluator(self.limits, self.counts)
            args = [_Value(value, _Origin()) for value in values]
            outputs = inner.jaxpr(closed.jaxpr, closed.consts, args)
            return [output.value for output in outputs], inner.total()

        return function

    def add(self, count: jax.Array) -> None:
        """Counts what a nested function counted."""
        if self.counts:
            self.reached.append(count)

    def total(self) -> jax.Array:
        """Returns how many clamps were reached, int32."""
        return functools.reduce(lax.add, self.reached, jnp.int32(0))

    def _inlined(self, jaxpr: Any, operands: list[_Value]) -> list[_Value]:
        if isinstance(jaxpr, jex.ClosedJaxpr):
            return self.jaxpr(jaxpr.jaxpr, jaxpr.consts, operands)
        return self.jaxpr(jaxpr, (), operands)

    def _limit(self, eqn: Any, operands: list[_Value]) -> float | None:
        (aval, *others) = (variable.aval for variable in eqn.outvars)
        dtype = getattr(aval, "dtype", None)
        if others or dtype not in (jnp.float32, jnp.float16, jnp.bfloat16) or _on_host(eqn):
            return None
        if eqn.primitive.name in _CONTRACTIONS:
            return self.limits.contraction
        origins = [operand.origin for operand in operands]
        joins = None not in origins and len(set(origins)) > 1
        return self.limits.join if eqn.primitive.name in _JOINS and joins else None

    def _clamped(self, x: jax.Array, limit: float) -> jax.Array:
        bound = _at_most(limit, x.dtype)
        y = _clamp(x, bound)
        if self.counts:
            with place("ane"):
                largest = jnp.max(lax.abs(lax.stop_gradient(y)), initial=0)
            self.reached.append((largest >= bound).astype(jnp.int32))
        return y


def _at_most(limit: float, dtype: Any) -> jax.Array:
    """The largest number of the dtype that is not above the limit."""
    bound = np.asarray(limit).astype(dtype)
    if float(bound) > limit:
        bound = np.nextafter(bound, np.zeros_like(bound))
    return jnp.asarray(bound)


def _on_host(eqn: Any) -> bool:
    """Whether the user keeps the op off the engine, in float32."""
    marks: Mapping[str, Any] = getattr(eqn.ctx, "xla_metadata", None) or {}
    if marks.get(PLACE_ATTRIBUTE) == "host":
        return True
    precision = eqn.params.get("precision")
    return precision is not None and lax.Precision.HIGHEST in np.ravel(np.asarray(precision))


def _origin(eqn: Any, operands: list[_Value]) -> _Origin | None:
    name = eqn.primitive.name
    known = [operand.origin for operand in operands]
    if name == "broadcast_in_dim" or not any(known):
        return None
    if name in _ELEMENTWISE_OF_ONE:
        return known[0]
    if name in _JOINS or name in {"div", "max", "min", "pow", "clamp", "select_n"}:
        distinct = {origin for origin in known if origin is not None}
        return distinct.pop() if len(distinct) == 1 else _Origin()
    if name.startswith("reduce_") or name.startswith("arg"):
        # What a row was reduced to is spread over it again.
        return None
    return _Origin()


def _bind(jaxpr: Any, eqn: Any, values: Sequence[Any]) -> list[Any]:
    """Evaluates one equation as it was traced: its marks, its names, its place in the source."""
    given = {
        variable: value
        for variable, value in zip(eqn.invars, values, strict=True)
        if not isinstance(variable, jex.Literal)
    }
    single = jaxpr.replace(
        constvars=[], invars=list(given), outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects
    )
    return jex.jaxpr_as_fun(jex.ClosedJaxpr(single, []))(*given.values())


# ---- Functions of functions. Rules of the user's own (custom_jvp, custom_vjp) stand as they are.


def _remat(evaluator: _Evaluator, eqn: Any, values: list[Any]) -> list[Any]:
    function = evaluator.closed(jex.ClosedJaxpr(eqn.params["jaxpr"], []))
    policy, prevent_cse = eqn.params["policy"], eqn.params["prevent_cse"]
    outputs, count = jax.checkpoint(function, policy=policy, prevent_cse=prevent_cse)(*values)
    evaluator.add(count)
    return outputs


def _scan(evaluator: _Evaluator, eqn: Any, values: list[Any]) -> list[Any]:
    params = eqn.params
    body = evaluator.closed(params["jaxpr"])
    consts, carry, xs = internals.scan_groups(params, values)
    carries = len(carry)

    def step(carry: list[Any], xs: list[Any]) -> tuple[list[Any], tuple[list[Any], jax.Array]]:
        outputs, count = body(*consts, *carry, *xs)
        return outputs[:carries], (outputs[carries:], count)

    last, (ys, counts) = lax.scan(
        step,
        carry,
        xs,
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    evaluator.add(counts.sum(dtype=jnp.int32))
    return [*last, *ys]


def _while(evaluator: _Evaluator, eqn: Any, values: list[Any]) -> list[Any]:
    params = eqn.params
    asks, does = params["cond_nconsts"], params["body_nconsts"]
    condition = jex.jaxpr_as_fun(params["cond_jaxpr"])
    body = evaluator.closed(params["body_jaxpr"])
    asking, doing = values[:asks], values[asks : asks + does]

    def step(state: tuple[list[Any], jax.Array]) -> tuple[list[Any], jax.Array]:
        outputs, count = body(*doing, *state[0])
        return outputs, state[1] + count

    outputs, count = lax.while_loop(
        lambda state: condition(*asking, *state[0])[0],
        step,
        (values[asks + does :], jnp.int32(0)),
    )
    evaluator.add(count)
    return outputs


def _cond(evaluator: _Evaluator, eqn: Any, values: list[Any]) -> list[Any]:
    index, *operands = values
    branches = [evaluator.closed(branch) for branch in eqn.params["branches"]]
    outputs, count = lax.switch(index, branches, *operands)
    evaluator.add(count)
    return outputs


_RULES: dict[str, Callable[[_Evaluator, Any, list[Any]], list[Any]]] = {
    "checkpoint": _remat,
    "remat": _remat,
    "remat2": _remat,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}


# ---- The transform


def clamp_activations(
    fn: Callable[_P, _R], limit: float | None = None, with_count: bool = False
) -> Callable[_P, Any]:
    """Returns `fn` with its activations clamped to what fp16 holds.

    Clamped are the results of contractions (`dot_general`, convolutions) and of sums and products
    that join two computed tensors (residual connections, gates), in float32, float16 and bfloat16,
    also inside `jit`, `scan`, `while_loop`, `cond` and `checkpoint`. Values in range pass
    unchanged, bit for bit; NaN passes; the gradient is that of a clamp: 0 where the limit was
    reached, the identity elsewhere. Functions with derivative rules of their own (`custom_jvp`,
    `custom_vjp`) are left as they are, and so is what the user keeps on the host by
    `place("host")` or `precision="highest"`. Composes with jit, grad, vmap, scan and remat.

    Args:
        fn: a JAX function of pytrees. Arrays among its arguments are traced; Python numbers,
            strings and booleans stay what they are.
        limit: one magnitude for all of them; None takes `CONTRACTION_LIMIT` (32,752: the engine's
            sums are infinite from 2^15 on) and `JOIN_LIMIT` (65,504: fp16's largest number).
        with_count: also return how many of the clamped tensors reached their limit, an int32
            scalar; in loops each turn counts.

    Returns:
        A function of the same arguments that returns what `fn` returns, or with `with_count` a
        pair of that and the count.

    Raises:
        ValueError: `limit` is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jax_ane import precision
        >>> product = precision.clamp_activations(jnp.dot, limit=100.0)
        >>> float(product(jnp.float32([30.0]), jnp.float32([40.0])))
        100.0
        >>> jax.grad(product)(jnp.float32([30.0]), jnp.float32([40.0])).tolist()
        [0.0]
    """
    if limit is not None and not limit > 0:
        raise ValueError(f"limit={limit} must be positive")
    limits = _Limits(limit or CONTRACTION_LIMIT, limit or JOIN_LIMIT)

    @functools.wraps(fn)
    def clamped(*args: _P.args, **kwargs: _P.kwargs) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        traced = [isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves]

        def on_arrays(arrays: list[Any]) -> Any:
            remaining = iter(arrays)
            merged = [
                next(remaining) if is_array else leaf
                for leaf, is_array in zip(leaves, traced, strict=True)
            ]
            positional, named = jax.tree.unflatten(tree, merged)
            call: Callable[..., Any] = fn
            return call(*positional, **named)

        arrays = [leaf for leaf, is_array in zip(leaves, traced, strict=True) if is_array]
        closed, shape = jax.make_jaxpr(on_arrays, return_shape=True)(arrays)
        evaluator = _Evaluator(limits, with_count)
        values = [_Value(array, _Origin()) for array in arrays]
        outputs = evaluator.jaxpr(closed.jaxpr, closed.consts, values)
        result = jax.tree.unflatten(jax.tree.structure(shape), [output.value for output in outputs])
        return (result, evaluator.total()) if with_count else result

    return clamped
