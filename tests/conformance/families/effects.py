# SPDX-License-Identifier: Apache-2.0
"""Prints, callbacks and checks of programs: what the user sees of them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..case import DEVICE, Family, grid
from ..observed import adder, raised

EFFECTS = Family("effect", modes=(DEVICE,))
FAMILIES = [EFFECTS]
case = adder(EFFECTS)

X = grid(5, 6)


def _printed(fn: Callable[[], Any]) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        jax.block_until_ready(fn())
        jax.effects_barrier()
    return out.getvalue().splitlines()


@case
def debug_print(device):
    x = jax.device_put(X, device)
    return _printed(lambda: jax.jit(lambda v: jax.debug.print("a {} {y:.2f}", v[0], y=v[1, 1]))(x))


@case
def debug_print_ordered(device):
    def fn(v):
        def step(c, r):
            jax.debug.print("row {}", r[0], ordered=True)
            return c + r, None

        return lax.scan(step, v[0], v)[0]

    x = jax.device_put(X, device)
    return _printed(lambda: jax.jit(fn)(x))


@case
def debug_print_vmap_cond_grad(device):
    x = jax.device_put(X, device)
    say = lambda v: jax.debug.print("v {}", v)
    return (sorted(_printed(lambda: jax.jit(jax.vmap(lambda r: say(r[0])))(x))), _printed(
        lambda: jax.jit(lambda v: lax.cond(v[0, 0] > -99, lambda: say(v[0]), lambda: None))(x)),
        _printed(lambda: jax.grad(lambda v: (say(v[0]), v.sum())[1])(x)), _printed(lambda: say(x[0])))  # fmt: skip


@case
def io_callback_order(device):
    from jax.experimental import io_callback

    seen = []

    def fn(v):
        for i in range(4):
            io_callback(lambda a, i=i: seen.append((i, float(a))), None, v[0, i], ordered=True)
        return v

    for _ in range(2):
        jax.jit(fn)(jax.device_put(X, device)).block_until_ready()
    jax.effects_barrier()
    return seen


@case
def callback_sees_arrays(device):
    seen = []
    x = jax.device_put(X, device)
    jax.jit(lambda v: jax.debug.callback(lambda a, k: seen.append(
        (type(a).__name__, a.dtype.name, a.shape, k)), v, 3))(x)  # fmt: skip
    jax.effects_barrier()
    return seen


@case
def callback_uses_jax(device):
    x = jax.device_put(X, device)
    return jax.jit(lambda v: jax.pure_callback(lambda a: np.asarray(jnp.sin(np.asarray(a))),
                   jax.ShapeDtypeStruct(v.shape, v.dtype), v))(x)  # fmt: skip


class _Own(Exception):
    pass


def _raise(*_):
    raise _Own("the callback's own text")


@case
def callback_raises(device):
    x = jax.device_put(X, device)
    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)

    def told(fn):
        try:
            jax.block_until_ready(jax.jit(fn)(x))
            jax.effects_barrier()
        except Exception as error:
            return (
                type(error).__name__,
                "the callback's own text" in str(error),
                "_Own" in str(error),
            )
        return "nothing"

    return [
        told(lambda v: jax.pure_callback(_raise, shape, v)),
        told(lambda v: lax.scan(lambda c, r: (c, jax.pure_callback(_raise, shape, v)), 0, v)),
        told(lambda v: jax.pure_callback(_raise, shape, v) @ v.T),
        [float(v) for v in jax.device_put(X, device)[0]],
    ]


@case
def works_after_an_error(device):
    x = jax.device_put(X, device)
    f = jax.jit(lambda v: jax.pure_callback(_raise, jax.ShapeDtypeStruct(X.shape, X.dtype), v))
    kinds = [raised(lambda: f(x), whole=False) for _ in range(2)]
    return kinds, x + 1, jax.jit(jnp.sin)(x)


@case
def effects_keep_result_of_failed_callback_out(device):
    x = jax.device_put(X, device)
    y = jax.jit(lambda v: v + 1)(x)
    raised(lambda: jax.jit(lambda v: jax.pure_callback(_raise, v, v))(y), whole=False)
    return y


@case
def debug_nans(device):
    x = jax.device_put(-abs(X), device)
    with jax.debug_nans(True):
        return raised(lambda: jax.jit(jnp.log)(x)), raised(lambda: jnp.log(x))


@case
def debug_infs(device):
    x = jax.device_put(X * 0, device)
    with jax.debug_infs(True):
        return raised(lambda: jax.jit(lambda v: 1 / v)(x))
