# SPDX-License-Identifier: Apache-2.0
"""Control flow, transformations of functions, and their combinations."""

from __future__ import annotations

import functools

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..case import ANE, AUTO, EAGER, EXACT, HOST, Family, grid, integers

CONTROL = Family("control", modes=(HOST, AUTO, ANE, EAGER), tolerance=3e-2)
TRANSFORM = Family("transform", tolerance=3e-2)
FAMILIES = [CONTROL, TRANSFORM]

X, W = grid(5, 6, limit=1.0), grid(6, 6, limit=0.5)
ONE = np.float32(1.0)

LOOPS = {
    "scan": lambda x, w: lax.scan(lambda c, r: (jnp.tanh(c @ w + r), c.sum()), x[0], x),
    "scan_reverse": lambda x, w: lax.scan(lambda c, r: (c + r @ w, c), x[0], x, reverse=True),
    "scan_unroll": lambda x, w: lax.scan(lambda c, r: (c + r @ w, c), x[0], x, unroll=2),
    "scan_no_inputs": lambda x, w: lax.scan(lambda c, _: (c @ w, c[0]), x, None, length=3),
    "scan_no_carry": lambda x, w: lax.scan(lambda c, r: (c, r @ w), None, x),
    "scan_length_0": lambda x, w: lax.scan(lambda c, r: (c + r, c), x[0], x[:0]),
    "scan_tree": lambda x, w: lax.scan(
        lambda c, r: ({"a": c["a"] + r[0], "n": c["n"] + 1}, {"y": r[1] * 2}),
        {"a": x[0], "n": 0}, (x, x)),
    "scan_of_scan": lambda x, w: lax.scan(
        lambda c, r: (lax.scan(lambda d, s: (d * 0.5 + s, None), c, r)[0], c), 0.0, x),
    "while": lambda x, w: lax.while_loop(
        lambda s: s[1] < 4, lambda s: (jnp.tanh(s[0] @ w), s[1] + 1), (x, 0)),
    "while_never": lambda x, w: lax.while_loop(lambda s: s[0, 0] > 100, lambda s: s + 1, x),
    "while_on_data": lambda x, w: lax.while_loop(
        lambda s: s < 100.0, lambda s: s * 2, jnp.abs(x[0, 0]) + 1.0),
    "fori": lambda x, w: lax.fori_loop(0, 4, lambda i, s: s * 0.5 + x[i], x[0]),
    "fori_dynamic": lambda x, w: lax.fori_loop(
        0, jnp.argmax(x[:, 0]) + 2, lambda i, s: s @ w + i, x),
    "fori_negative": lambda x, w: lax.fori_loop(3, 1, lambda i, s: s * 2, x),
    "fori_integers": lambda x, w: lax.fori_loop(0, 40, lambda i, s: s * 3 + i, jnp.int32(1)),
    "map": lambda x, w: lax.map(lambda r: jnp.tanh(r @ w), x),
    "map_batch": lambda x, w: lax.map(lambda r: jnp.tanh(r @ w), x, batch_size=2),
    "associative_scan": lambda x, w: (lax.associative_scan(jnp.add, x),
        lax.associative_scan(jnp.maximum, x, axis=1, reverse=True)),
    "cond": lambda x, w: lax.cond(x[0, 0] > 0, lambda v: v @ w, lambda v: -v, x),
    "cond_other": lambda x, w: lax.cond(x[0, 0] <= 0, lambda v: v @ w, lambda v: -v, x),
    "cond_no_operands": lambda x, w: lax.cond(x[0, 0] > 0, lambda: 1.5, lambda: 2.5),
    "cond_number": lambda x, w: lax.cond(x.sum().astype(int), lambda: x, lambda: x * 2),
    "cond_nested": lambda x, w: lax.cond(
        x[0, 0] > 0, lambda: lax.cond(x[1, 0] > 0, lambda: x, lambda: x @ w), lambda: x - 1),
    "cond_captured": lambda x, w: (lambda h: lax.cond(
        h[0, 0] > 0, lambda: h @ w, lambda: jnp.tanh(h) @ w))(x @ w),
    "cond_captured_twice": lambda x, w: (lambda h: lax.cond(h[0, 0] > 9, lambda: h @ w, lambda: lax.cond(
        h[1, 1] > 0, lambda: (h * 2) @ w, lambda: (h @ w) @ w)) + h)(x @ w),
    "cond_captured_in_loop": lambda x, w: (lambda h: lax.fori_loop(
        0, 3, lambda i, c: lax.cond(i > 1, lambda: c @ w + h, lambda: h @ w), h))(x @ w),
    "cond_tree": lambda x, w: lax.cond(
        x[0, 0] > 0, lambda d: {"a": d["b"], "b": d["a"]}, lambda d: d, {"a": x, "b": x * 2}),
    "switch": lambda x, w: [lax.switch(i, [lambda v: v, lambda v: v @ w, lambda v: v * 3], x)
        for i in (0, 1, 2)],
    "switch_clamped": lambda x, w: [lax.switch(
        jnp.argmax(x[0]) * 0 + i, [lambda v: v, lambda v: v * 2, lambda v: v * 3], x)
        for i in (-5, 9)],
    "select_n": lambda x, w: lax.select_n(
        (jnp.abs(x) * 16).astype(jnp.int32) % 3, x, x * 2, x * 3),
    "platform_dependent": lambda x, w: lax.platform_dependent(x, default=lambda v: v * 2),
    "custom_root": lambda x, w: lax.custom_root(
        lambda v: v * v - 2.0, 1.0,
        lambda f, v: lax.fori_loop(0, 20, lambda i, z: z - (z * z - 2.0) / (2 * z), v),
        lambda g, y: y / g(1.0)),
    "custom_linear_solve": lambda x, w: lax.custom_linear_solve(
        lambda v: 2.0 * v, x, lambda m, b: b / 2.0, lambda m, b: b / 2.0),
    "random_walk": lambda x, w: lax.scan(
        lambda k, _: (jax.random.split(k)[0], jax.random.bits(k, (2,))),
        jax.random.key(0), None, length=4)[1],
    "update_in_loop": lambda x, w: lax.fori_loop(
        0, 5, lambda i, s: s.at[i].set(s[i] * i), x),
    "bool_carry": lambda x, w: lax.scan(
        lambda c, r: (c ^ (r[0] > 0), c), False, x),
    "int4_carry": lambda x, w: lax.scan(
        lambda c, r: (c + jnp.int4(1), c), jnp.int4(5), x),
    "key_carry": lambda x, w: lax.while_loop(
        lambda s: s[1] < 2, lambda s: (jax.random.fold_in(s[0], s[1]), s[1] + 1),
        (jax.random.key(1), 0))[0],
}  # fmt: skip
CONTROL.add_all(LOOPS, X, W)
CONTROL.add("switch_by_argument", lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.tan], x),
            np.int32(1), X)  # fmt: skip


def _loss(fn):
    """The sum of what is real in a function's results."""

    def total(*args):
        leaves = [v for v in jax.tree.leaves(fn(*args)) if jnp.issubdtype(v.dtype, jnp.floating)]
        return sum(jnp.sum(v) for v in leaves)

    return total


_NO_REVERSE = ("while", "while_never", "while_on_data", "fori_dynamic", "key_carry", "random_walk",
               "bool_carry", "int4_carry", "fori_integers", "scan_length_0")  # fmt: skip
for name, fn in LOOPS.items():
    if name not in _NO_REVERSE and name != "custom_root":
        TRANSFORM.add(f"gradient_of_{name}", jax.grad(_loss(fn), argnums=(0, 1)), X, W)
    if name not in ("random_walk", "key_carry", "switch", "switch_clamped"):
        TRANSFORM.add(
            f"vmap_of_{name}", jax.vmap(fn, in_axes=(0, None)), grid(3, 5, 6, limit=1.0), W
        )
for name in ("while", "fori_dynamic", "while_on_data"):
    TRANSFORM.add(f"jvp_of_{name}", lambda x, w, fn=LOOPS[name]: jax.jvp(fn, (x, w), (x, w))[0],
                  X, W)  # fmt: skip
    TRANSFORM.add(f"vjp_of_{name}", jax.grad(_loss(LOOPS[name])), X, W, alone=True, raises=True)


def model(x, w):
    return jnp.tanh(jnp.tanh(x @ w) @ w)


def loss(x, w):
    return (model(x, w) ** 2).sum()


TRANSFORM.add_all({
    "grad": jax.grad(loss, (0, 1)),
    "value_and_grad": jax.value_and_grad(loss),
    "has_aux": jax.grad(lambda x, w: (loss(x, w), x), has_aux=True),
    "jacrev": lambda x, w: jax.jacrev(lambda v: model(v, w))(x[0]),
    "jacfwd": lambda x, w: jax.jacfwd(lambda v: model(v, w))(x[0]),
    "hessian": lambda x, w: jax.hessian(lambda v: loss(v, w))(x[0]),
    "linearize": lambda x, w: jax.linearize(lambda v: model(v, w), x)[1](x),
    "linear_transpose": lambda x, w: jax.linear_transpose(lambda v: v @ w, x)(x),
    "vjp": lambda x, w: jax.vjp(model, x, w)[1](x),
    "jvp_of_vjp": lambda x, w: jax.jvp(jax.grad(loss), (x, w), (x, w)),
    "vmap_of_grad": lambda x, w: jax.vmap(jax.grad(loss), (0, None))(x, w),
    "vmap_axis_name": lambda x, w: jax.vmap(lambda r: (lax.psum(r, "i"), lax.pmean(r, "i"),
        lax.pmax(r, "i"), lax.axis_index("i"), lax.all_gather(r, "i"),
        lax.ppermute(r, "i", [(n, (n + 1) % 5) for n in range(5)])), axis_name="i")(x),
    "vmap_spmd_all_to_all": lambda x, w: jax.vmap(
        lambda r: lax.all_to_all(r, "i", 0, 0), axis_name="i")(w),
    "vmap_out_axes": lambda x, w: jax.vmap(lambda r: r @ w, out_axes=1)(x),
    "vmap_tree": lambda x, w: jax.vmap(lambda d: d["a"] + d["b"][0], in_axes=(
        {"a": 0, "b": None},))({"a": x, "b": w}),
    "remat": jax.grad(jax.checkpoint(loss), (0, 1)),
    "remat_policy": jax.grad(jax.checkpoint(
        loss, policy=jax.checkpoint_policies.dots_saveable), (0, 1)),
    "remat_in_scan": jax.grad(lambda x, w: lax.scan(
        jax.checkpoint(lambda c, r: (jnp.tanh(c @ w + r), None)), x[0], x)[0].sum(), 1),
    "checkpoint_name": jax.grad(jax.checkpoint(
        lambda x, w: loss(jax.ad_checkpoint.checkpoint_name(x @ w, "h"), w),
        policy=jax.checkpoint_policies.save_only_these_names("h"))),
    "nested_jit": lambda x, w: jax.jit(model)(jax.jit(lambda a: a * 2)(x), w),
    "inlined_jit": lambda x, w: jax.jit(model, inline=True)(x, w),
    "stop_gradient": jax.grad(lambda x, w: loss(lax.stop_gradient(x) * x, w)),
    "closure_convert": lambda x, w: jax.closure_convert(lambda a: a @ w, x)[0](
        x, *jax.closure_convert(lambda a: a @ w, x)[1]),
    "eval_shape": lambda x, w: jnp.zeros(jax.eval_shape(model, x, w).shape),
    "named_call": lambda x, w: jax.named_call(model, name="m")(x, w),
    "named_scope": lambda x, w: jax.named_scope("s")(model)(x, w),
    "optimization_barrier": lambda x, w: lax.optimization_barrier((x * 2, w)),
    "grad_of_barrier": jax.grad(lambda x, w: lax.optimization_barrier(x * x).sum()),
    "tree_reduce": lambda x, w: jax.tree.reduce(jnp.add, [x.sum(), w.sum(), 1.0]),
    "vectorize": lambda x, w: jnp.vectorize(
        lambda a, b: a @ b, signature="(n),(n,m)->(m)")(x, w),
    "apply_along_axis": lambda x, w: jnp.apply_along_axis(jnp.cumsum, 1, x),
    "expand_dims": lambda x, w: lax.expand_dims(x, (0, 2)),
    "custom_gradient": jax.grad(lambda x, w: jax.custom_gradient(
        lambda v: (v * 2, lambda g: g * 5))(x).sum()),
    "fixed_clip": jax.grad(lambda x, w: jnp.clip(x, -0.5, 0.5).sum()),
    "grad_of_integers": jax.grad(lambda x, w: (x * jnp.arange(6)).sum()),
    "grad_of_where_nan": jax.grad(
        lambda x, w: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0).sum()),
}, X, W)  # fmt: skip
TRANSFORM.add("grad_float0", jax.grad(lambda i, x: (i * x).sum(), (0, 1), allow_int=True),
              integers(6), grid(6), modes=EXACT)  # fmt: skip
TRANSFORM.add("grad_complex", jax.grad(lambda z: (z * z).real, holomorphic=False),
              np.complex64(1 + 2j), modes=EXACT)  # fmt: skip
TRANSFORM.add("grad_holomorphic", jax.grad(jnp.sin, holomorphic=True), np.complex64(1 + 2j),
              modes=EXACT)  # fmt: skip


@jax.custom_jvp
def soft(x):
    return jnp.log1p(jnp.exp(x))


soft.defjvp(lambda p, t: (soft(p[0]), t[0] * jax.nn.sigmoid(p[0])))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scaled(x, factor):
    return x * factor


scaled.defvjp(lambda x, factor: (x * factor, (x,)), lambda factor, kept, g: (g + kept[0],))


@functools.partial(jax.custom_batching.custom_vmap)
def own_vmap(x):
    return x * 2


@own_vmap.def_vmap
def _(axis_size, in_batched, x):
    return x * 3, in_batched[0]


TRANSFORM.add_all({
    "custom_jvp": soft,
    "custom_jvp_grad": jax.grad(lambda x: soft(x).sum()),
    "custom_jvp_second": jax.vmap(jax.vmap(jax.grad(jax.grad(soft)))),
    "custom_jvp_vmap": jax.vmap(jax.grad(lambda r: soft(r).sum())),
    "custom_vjp": lambda x: scaled(x, 3.0),
    "custom_vjp_grad": jax.grad(lambda x: scaled(x, 3.0).sum()),
    "custom_vjp_vmap": jax.vmap(jax.grad(lambda r: scaled(r, 3.0).sum())),
    "custom_vjp_in_scan": jax.grad(lambda x: lax.scan(
        lambda c, r: (scaled(c, 0.5) + r, None), x[0], x)[0].sum()),
    "custom_vmap": own_vmap,
    "custom_vmap_vmapped": jax.vmap(own_vmap),
}, X)  # fmt: skip
