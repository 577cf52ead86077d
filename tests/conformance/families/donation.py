# SPDX-License-Identifier: Apache-2.0
"""What becomes of arrays that are donated, and of what was read from them before."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..case import DEVICE, Family, grid
from ..observed import adder, raised

DONATION = Family("donation", modes=(DEVICE,))
FAMILIES = [DONATION]
case = adder(DONATION)

X, W = grid(5, 6), grid(6, 4, limit=1.0)


@case
def donation_deletes_and_reuses(device):
    x = jax.device_put(X, device) + 0
    pointer = x.unsafe_buffer_pointer()
    y = jax.jit(lambda v: v + 1, donate_argnums=0)(x)
    return x.is_deleted(), y.unsafe_buffer_pointer() == pointer, y, raised(lambda: x + 1)


@case
def donation_by_name(device):
    x = jax.device_put(X, device) + 0
    y = jax.jit(lambda v: v * 2, donate_argnames="v")(v=x)
    return x.is_deleted(), y


@case
def donation_of_a_tree(device):
    tree = {"a": jax.device_put(X, device) + 0, "b": jax.device_put(W, device) + 0}
    out = jax.jit(lambda t: jax.tree.map(lambda v: v * 2, t), donate_argnums=0)(tree)
    return [v.is_deleted() for v in jax.tree.leaves(tree)], out


@case
def donation_of_two_of_one_type(device):
    a, b = (jax.device_put(X + i, device) + 0 for i in range(2))
    out = jax.jit(lambda a, b: (b + 1, a + 2), donate_argnums=(0, 1))(a, b)
    return a.is_deleted(), b.is_deleted(), out


@case
def donation_unusable(device):
    x = jax.device_put(X, device) + 0
    y = jax.jit(lambda v: v.sum(), donate_argnums=0)(x)
    return x.is_deleted(), y


@case
def donation_of_another_dtype(device):
    x = jax.device_put(X, device) + 0
    y = jax.jit(lambda v: v.view(jnp.int32), donate_argnums=0)(x)
    return x.is_deleted(), y


@case
def donation_twice(device):
    x = jax.device_put(X, device) + 0
    return raised(lambda: jax.jit(lambda a, b: (a + b, a), donate_argnums=(0, 1))(x, x))


@case
def donation_and_use(device):
    x = jax.device_put(X, device) + 0
    return raised(lambda: jax.jit(lambda a, b: a + b, donate_argnums=0)(x, x))


@case
def donation_of_deleted(device):
    x = jax.device_put(X, device) + 0
    f = jax.jit(lambda v: v + 1, donate_argnums=0)
    f(x)
    return raised(lambda: f(x)), raised(lambda: np.asarray(x)), raised(lambda: x[0])


@case
def donation_in_a_loop(device):
    f = jax.jit(lambda v: lax.fori_loop(0, 3, lambda i, s: s * 1.5, v), donate_argnums=0)
    x = jax.device_put(X, device) + 0
    pointers = set()
    for _ in range(4):
        x = f(x)
        pointers.add(x.unsafe_buffer_pointer())
    return len(pointers), x


@case
def donation_of_empty(device):
    x = jax.device_put(np.zeros((0, 3), np.float32), device) + 0
    y = jax.jit(lambda v: v + 1, donate_argnums=0)(x)
    return x.is_deleted(), y


@case
def donation_of_scalar(device):
    x = jax.device_put(np.float32(3), device) + 0
    y = jax.jit(lambda v: v + 1, donate_argnums=0)(x)
    return x.is_deleted(), y


@case
def donation_of_int4(device):
    x = jax.device_put(np.arange(6), device).astype(jnp.int4)
    y = jax.jit(lambda v: v + jnp.int4(1), donate_argnums=0)(x)
    return x.is_deleted(), y


@case
def donated_view_keeps_its_values(device):
    x = jax.device_put(X, device) + 0
    view = np.asarray(x)
    before = view.copy()
    y = jax.jit(lambda v: v * 0 - 7, donate_argnums=0)(x)
    y.block_until_ready()
    return np.array_equal(view, before), view.flags.writeable, y


@case
def donated_dlpack_keeps_its_values(device):
    x = jax.device_put(X, device) + 0
    view = np.from_dlpack(x)
    y = jax.jit(lambda v: v * 0 - 7, donate_argnums=0)(x)
    y.block_until_ready()
    return np.array_equal(view, X)


@case
def donated_numpy_source_is_untouched(device):
    source = X.copy()
    y = jax.jit(lambda v: v * 0, donate_argnums=0)(jax.device_put(source, device))
    y.block_until_ready()
    return np.array_equal(source, X)


@case
def donate_in_device_put(device):
    x = jax.device_put(X, device) + 0
    y = jax.device_put(x, device, donate=True)
    return x.is_deleted(), y


@case
def alias_in_device_put(device):
    x = jax.device_put(X, device) + 0
    y = jax.device_put(x, device, may_alias=True)
    z = jax.device_put(x, device, may_alias=False)
    return x.unsafe_buffer_pointer() == y.unsafe_buffer_pointer(), (
        x.unsafe_buffer_pointer() == z.unsafe_buffer_pointer()), z  # fmt: skip
