# SPDX-License-Identifier: Apache-2.0
"""Slices, gathers and scatters of every mode, sorts, reductions and windows."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..case import ANE, AUTO, EXACT, HOST, Family, booleans, grid, integers, positive

INDEX = Family("index")
SORT = Family("sort", modes=EXACT)
REDUCE = Family("reduce")
FAMILIES = [INDEX, SORT, REDUCE]

X = grid(5, 6)
I = np.array([3, 0, 7, -2, 4], np.int32)  # noqa: E741  some beyond the axis
FAR = np.array([[3, 9], [-1, 2], [0, -8]], np.int32)

for mode in ("clip", "fill", "promise_in_bounds", "wrap", "drop"):
    if mode != "drop":
        safe = I % 5 if mode == "promise_in_bounds" else I
        INDEX.add(
            f"take_{mode}",
            lambda x, i, m=mode: jnp.take(x, i, 0, mode="clip" if m == "promise_in_bounds" else m),
            X,
            safe,
        )
        INDEX.add(
            f"get_{mode}",
            lambda x, i, m=mode: x.at[i].get(
                mode="clip" if m == "wrap" else m, wrap_negative_indices=m != "wrap"
            ),
            X,
            safe,
        )
        INDEX.add(
            f"get_integers_{mode}",
            lambda x, i, m=mode: x.at[i].get(
                mode="clip" if m == "wrap" else m, wrap_negative_indices=m != "wrap"
            ),
            integers(5, 6),
            safe,
        )
    if mode == "wrap":
        continue
    safe = I % 5 if mode == "promise_in_bounds" else I
    for how in ("set", "add", "multiply", "min", "max", "divide", "power", "subtract"):
        if not hasattr(X, "at") and not hasattr(jnp.zeros(1).at[0], how):
            INDEX.lacks(f"at.{how}")
            continue
        distinct = np.array([3, 0, 7, -7, 4], np.int32) if mode != "promise_in_bounds" else safe
        where = distinct if how in ("set",) and mode != "promise_in_bounds" else safe
        if how == "set" and mode == "promise_in_bounds":
            where = np.array([3, 0, 1, 2, 4], np.int32)
        INDEX.add(
            f"{how}_{mode}",
            lambda x, i, y, h=how, m=mode: getattr(x.at[i], h)(y, mode=m),
            positive(5, 6), where, positive(5, 6, seed=2, limit=2.0),
            modes=EXACT if how == "power" else (HOST, AUTO, ANE),
        )  # fmt: skip
        INDEX.add(
            f"{how}_{mode}_integers",
            lambda x, i, y, h=how, m=mode: getattr(x.at[i], h)(y, mode=m),
            integers(5, 6, low=1), where, integers(5, 6, low=1, high=4, seed=2), modes=EXACT,
            alone=how in ("divide", "power"),
        )  # fmt: skip
INDEX.add_all({
    "two_arrays": lambda x, i: x[i[:, 0], i[:, 1]],
    "array_and_slice": lambda x, i: (x[i[:, 0], 1:4], x[1:4, i[:, 1]], x[i], x[i[:, 0], ::-2]),
    "mask_constant": lambda x, i: x[np.array([True, False, True, True, False])],
    "new_axes": lambda x, i: (x[None, :, None], x[..., None, 2], x[i[0], None, i[1]]),
    "negative": lambda x, i: (x[-1], x[:, -2], x[-3:-1], x[4:1:-1], x[10:], x[-100:2]),
    "scalar_array": lambda x, i: (x[i[0, 0]], x[i[0, 0], i[1, 1]], x[jnp.uint8(3)]),
    "dynamic_index": lambda x, i: (lax.dynamic_index_in_dim(x, i[0, 0], 0),
        lax.dynamic_index_in_dim(x, -2, 1, keepdims=False), lax.dynamic_slice_in_dim(x, 4, 3)),
    "dynamic_slice": lambda x, i: [lax.dynamic_slice(x, (a, b), (2, 3)) for a, b in
        [(0, 0), (9, 9), (-1, -3), (i[0, 0], i[0, 1])]],
    "dynamic_update": lambda x, i: [lax.dynamic_update_slice(x, x[:2, :2], (a, b)) for a, b in
        [(0, 0), (9, 9), (-1, -3), (i[0, 0], i[0, 1])]],
    "dynamic_update_in_dim": lambda x, i: (
        lax.dynamic_update_slice_in_dim(x, x[:1], i[1, 1], 0),
        lax.dynamic_update_index_in_dim(x, x[0], i[0, 0], 0)),
    "slices": lambda x, i: (lax.slice(x, (1, 0), (4, 5), (2, 3)), lax.slice_in_dim(x, 1, 4, 2, 1)),
    "take_along_axis": lambda x, i: (jnp.take_along_axis(x, i[:, :1] % 5, 0),
        jnp.take_along_axis(x, i[:, :1], 0), jnp.take_along_axis(x, i[:, :1], 0, mode="clip")),
    "put_along_axis": lambda x, i: jnp.put_along_axis(x, i[:, :1] % 5, 1.5, 0, inplace=False),
    "take_flat": lambda x, i: (jnp.take(x, i), jnp.take(x, 2), jnp.take(x, i, fill_value=-9.0)),
    "nd_update": lambda x, i: (x.at[i[:, 0], i[:, 1]].add(1.0), x.at[:, i[:, 1]].set(0.0),
        x.at[1:3, i[:, 1]].multiply(2.0), x.at[..., 0].set(5), x.at[::2].add(x[::2])),
    "apply": lambda x, i: x.at[i[:, 0]].apply(jnp.tanh),
    "sorted_unique": lambda x, i: (
        x.at[jnp.array([0, 2, 4])].get(indices_are_sorted=True, unique_indices=True),
        x.at[jnp.array([0, 2, 4])].add(1.0, indices_are_sorted=True, unique_indices=True)),
    "gather_gradient": lambda x, i: jax.grad(lambda v: (v[i[:, 0]] ** 2).sum())(x),
    "scatter_gradient": lambda x, i: jax.grad(
        lambda v: (v.at[i[:, 0]].add(v[:3]) ** 2).sum())(x),
    "take_vmap": lambda x, i: jax.vmap(lambda r, j: r[j], (0, None))(x, i),
    "update_vmap": lambda x, i: jax.vmap(lambda r, j: r.at[j].add(1.0), (0, None))(x, i[:, 0]),
    "segment": lambda x, i: (jax.ops.segment_sum(x, jnp.array([0, 1, 0, 2, 9]), 3),
        jax.ops.segment_max(x, jnp.array([0, 1, 0, 2, 1]), 4),
        jax.ops.segment_min(x, jnp.array([0, 0, 0, 2, 1]), 4)),
    "segment_prod": lambda x, i: jax.ops.segment_prod(x, jnp.array([0, 1, 0, 2, 1]), 4),
    "one_hot": lambda x, i: (jax.nn.one_hot(i, 5), jax.nn.one_hot(i, 5, axis=0, dtype=jnp.int8)),
    "select_and_gather_add": lambda x, i: jax.jvp(
        lambda v: lax.reduce_window(v, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID"), (x,), (x,)),
    "set_scalar": lambda x, i: (x.at[2, 3].set(7), x.at[i[0, 0]].set(1), x.at[9, 9].set(3.0),
        x.at[2, 3].get(), x.at[99].get(mode="fill", fill_value=-1)),
    "empty_index": lambda x, i: (x[()], x[...], x.at[()].add(1.0), x.at[...].set(2.0)),
}, X, FAR)  # fmt: skip
for dtype in ("int8", "uint8", "int16", "uint32", "uint16"):
    INDEX.add(f"index_{dtype}", lambda x, i: (x[i], x.at[i].add(1.0), jnp.take(x, i, 1)),
              X, np.array([0, 3, 4, 100], dtype))  # fmt: skip
INDEX.add("index_int64", lambda x, i: (x[i], x.at[i].add(1.0), lax.dynamic_slice_in_dim(x, i[0], 2)),
          X, np.array([2**40, 3, -1], np.int64), x64=True)  # fmt: skip
for offset in range(3):  # lax.gather and scatter with batching and collapsed axes
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(offset % 2,)
    )
    sizes = (1, 3)
    INDEX.add(f"lax_gather_{offset}", lambda x, i, n=numbers, s=sizes, o=offset: lax.gather(
        x, i[:, :1], n, s, mode=("clip", "fill", "clip")[o]), X, FAR)  # fmt: skip
INDEX.add("lax_gather_batching", lambda x, i: lax.gather(
    x, i[..., None], lax.GatherDimensionNumbers((), (1,), (1,), operand_batching_dims=(0,),
    start_indices_batching_dims=(0,)), (1, 1), mode="clip"), X, integers(5, 2, low=0, high=6))  # fmt: skip
for name in ("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max", "scatter_sub"):
    if not hasattr(lax, name):
        INDEX.lacks(f"lax.{name}")
        continue
    for mode in ("clip", "drop"):
        INDEX.add(f"lax_{name}_{mode}", lambda x, i, u, n=name, m=mode: getattr(lax, n)(
            x, i, u, lax.ScatterDimensionNumbers((1,), (0,), (0,)), mode=m),
            X, np.array([[3], [9], [0]], np.int32), grid(3, 6, seed=3))  # fmt: skip
INDEX.add("scatter_apply", lambda x, i: lax.scatter_apply(
    x, i, jnp.sin, lax.ScatterDimensionNumbers((1,), (0,), (0,)), update_shape=(3, 6)),
    X, np.array([[3], [1], [0]], np.int32))  # fmt: skip

DUPLICATES = integers(6, 9, low=0, high=4)
_SORTS = {
    "ascending": lambda x: (jnp.sort(x), jnp.sort(x, 0), jnp.sort(x, None)),
    "descending": lambda x: (jnp.sort(x, descending=True), jnp.argsort(x, descending=True)),
    "stable": lambda x: (jnp.argsort(x, stable=True), jnp.argsort(x, 0, stable=True)),
    "unstable": lambda x: jnp.sort(x, stable=False),
    "keys": lambda x: lax.sort((x, x * 2, jnp.arange(9)[None] + x), num_keys=2),
    "one_key": lambda x: lax.sort((x, jnp.broadcast_to(jnp.arange(9), x.shape)), num_keys=1),
    "dimension": lambda x: lax.sort(x, dimension=0),
    "key_val": lambda x: lax.sort_key_val(x, -x, dimension=0),
    "lexsort": lambda x: jnp.lexsort((x[0], x[1])),
    "top_k": lambda x: (lax.top_k(x, 4), lax.top_k(x[0], 9), lax.top_k(x, 0)),
    "approximate_top_k": lambda x: (
        lax.approx_max_k(x.astype(jnp.float32), 3), lax.approx_min_k(x.astype(jnp.float32), 3)),
    "unique": lambda x: jnp.unique(x, size=6, return_index=True, return_inverse=True,
        return_counts=True, fill_value=-1),
    "searchsorted": lambda x: [jnp.searchsorted(jnp.sort(x[0]), x[1:], side=s, method=m)
        for s in ("left", "right") for m in ("scan", "sort", "compare_all", "scan_unrolled")],
    "partition": lambda x: (jnp.partition(x, 3), jnp.argpartition(x, 3)),
    "median": lambda x: (jnp.median(x, 0), jnp.quantile(x, 0.3, axis=1), jnp.percentile(x, 20)),
    "vmap": lambda x: jax.vmap(jnp.argsort)(x),
    "sets": lambda x: (jnp.union1d(x[0], x[1], size=9), jnp.intersect1d(x[0], x[1], size=4),
        jnp.setdiff1d(x[0], x[1], size=5), jnp.isin(x[0], x[1]), jnp.setxor1d(x[0], x[1], size=9)),
    "bincount": lambda x: (jnp.bincount(x[0].astype(int), length=5), jnp.digitize(x,
        jnp.array([0, 2, 3]))),
}  # fmt: skip
SORT.add_all({f"{n}_integers": fn for n, fn in _SORTS.items()}, DUPLICATES)
SORT.add_all({f"{n}_floats": fn for n, fn in _SORTS.items()}, DUPLICATES.astype(np.float32) / 4)
SORT.add_all({f"{n}_bf16": fn for n, fn in _SORTS.items()}, DUPLICATES.astype(jnp.bfloat16))
SORT.add("gradient", jax.grad(lambda x: (jnp.sort(x) * jnp.arange(6.0)).sum()), X)
SORT.add("complex", lambda z: (jnp.sort(z), jnp.argsort(z), jnp.sort_complex(z)),
         (grid(7) + 1j * grid(7, seed=1)).astype(np.complex64))  # fmt: skip
SORT.add("masks", lambda b: (jnp.sort(b), jnp.argsort(b), jnp.nonzero(b, size=9),
         jnp.argwhere(b, size=5, fill_value=-1), jnp.flatnonzero(b, size=4)), booleans(4, 5))  # fmt: skip
SORT.add("long", lambda x: (jnp.sort(x), jnp.argsort(x), lax.top_k(x, 50)), grid(3001))

for name in "sum prod max min mean std var any all argmax argmin nansum nanmean ptp".split():
    fn = getattr(jnp, name)
    REDUCE.add(f"{name}_axes", lambda x, fn=fn: (fn(x), fn(x, 0), fn(x, 1, keepdims=True)), X)
    if not name.startswith("arg"):
        REDUCE.add(f"{name}_pairs", lambda x, fn=fn: [fn(x, axis=a) for a in
                   itertools.combinations(range(3), 2)], grid(2, 3, 4, limit=1.5))  # fmt: skip
    if name not in ("argmax", "argmin", "nanmean", "ptp"):
        REDUCE.add(f"{name}_where", lambda x, b, fn=fn: fn(x, where=b, **(
            {"initial": 0.5} if fn in (jnp.max, jnp.min) else {})), X, booleans(5, 6))  # fmt: skip
REDUCE.add_all({
    "lax_reduce": lambda x: (lax.reduce(x, 0.0, lax.add, (0,)), lax.reduce(x, 1.0, lax.max, (1,)),
        lax.reduce(x, -jnp.inf, lambda a, b: jnp.where(a > b, a, b), (0, 1))),
    "lax_reduce_two": lambda x: lax.reduce(
        (x, x * 2), (0.0, 1.0), lambda a, b: (a[0] + b[0], jnp.maximum(a[1], b[1])), (1,)),
    "lax_reduce_custom": lambda x: lax.reduce(x, 0.0, lambda a, b: a + b * 1, (1,)),
    "lax_reduce_bits": lambda x: [f((x * 16).astype(jnp.int32), axes=(1,)) for f in
        (lax.reduce_and, lax.reduce_or, lax.reduce_xor)] if hasattr(lax, "reduce_and") else [],
    "cumulative": lambda x: (lax.cumsum(x, 1), lax.cummax(x, 0), lax.cummin(x, 1),
        lax.cumsum(x, 0, reverse=True), lax.cummax(x, 1, reverse=True)),
    "cumprod": lambda x: lax.cumprod(x / 2, 1),
    "cumlogsumexp": lambda x: lax.cumlogsumexp(x, 1),
    "norms": lambda x: [jnp.linalg.norm(x, o) for o in (None, "fro", 1, jnp.inf, -1)],
    "logsumexp": lambda x: (jax.nn.logsumexp(x, 1), jax.scipy.special.logsumexp(
        x, 0, b=jnp.abs(x), return_sign=True)),
    "average": lambda x: jnp.average(x, 1, jnp.abs(x[0])),
    "trace": lambda x: (jnp.trace(x), jnp.trace(x, 1), jnp.diagonal(x, -1)),
    "gradients": lambda x: [jax.grad(lambda v, f=f: (f(v, 0) ** 2).sum())(x) for f in
        (jnp.sum, jnp.mean, jnp.max, jnp.min)],
    "gradient_of_prod": jax.grad(lambda x: jnp.prod(x, 1).sum()),
    "gradient_of_std": jax.grad(lambda x: jnp.std(x, 1).sum()),
    "gradient_of_cumulative": jax.grad(lambda x: (jnp.cumsum(x, 1) ** 2 + lax.cummax(x, 0)).sum()),
    "sum_dtype": lambda x: (x.sum(dtype=jnp.int32), (x > 0).sum(), x.astype(jnp.int8).sum(),
        x.astype(jnp.bfloat16).sum(1), x.astype(jnp.float16).mean(0)),
}, X, tolerance=2e-2)  # fmt: skip

WINDOWS = {
    "sum": (0.0, lax.add), "max": (-jnp.inf, lax.max), "min": (jnp.inf, lax.min),
    "prod": (1.0, lax.mul), "sum_from_2": (2.0, lax.add),
}  # fmt: skip
for name, (start, fn) in WINDOWS.items():
    for padding in ("SAME", "VALID", ((1, 2), (0, 3))):
        label = padding if isinstance(padding, str) else "explicit"
        REDUCE.add(f"window_{name}_{label}", lambda x, s=start, f=fn, p=padding: (
            lax.reduce_window(x, s, f, (2, 3), (1, 2), p),
            lax.reduce_window(x, s, f, (3, 1), (2, 1), p, base_dilation=(1, 2)),
            lax.reduce_window(x, s, f, (2, 2), (1, 1), p, window_dilation=(2, 1)),
        ), grid(7, 8, limit=1.5), tolerance=2e-2)  # fmt: skip
    REDUCE.add(f"window_{name}_integers", lambda x, s=start, f=fn: lax.reduce_window(
        x, np.int32({-np.inf: -2**31, np.inf: 2**31 - 1}.get(s, s)), f, (2, 2), (1, 1), "SAME"),
        integers(5, 6))  # fmt: skip
REDUCE.add_all({
    "window_gradient_sum": jax.grad(lambda x: (lax.reduce_window(
        x, 0.0, lax.add, (2, 3), (2, 1), "SAME") ** 2).sum()),
    "window_gradient_max": jax.grad(lambda x: (lax.reduce_window(
        x, -jnp.inf, lax.max, (2, 3), (2, 1), "SAME") ** 2).sum()),
    "window_gradient_min": jax.grad(lambda x: (lax.reduce_window(
        x, jnp.inf, lax.min, (2, 3), (2, 1), "VALID") ** 2).sum()),
    "window_two": lambda x: lax.reduce_window((x, x), (0.0, -jnp.inf), lambda a, b: (
        a[0] + b[0], jnp.maximum(a[1], b[1])), (2, 2), (1, 1), "VALID"),
    "window_custom": lambda x: lax.reduce_window(
        x, 0.0, lambda a, b: jnp.maximum(a, b) + 0.0, (2, 2), (1, 1), "VALID"),
    "window_of_masks": lambda x: (lax.reduce_window(x > 0, False, lax.bitwise_or, (2, 2), (1, 1),
        "SAME"), lax.reduce_window(x > 0, True, lax.bitwise_and, (2, 2), (1, 1), "SAME")),
}, grid(7, 8, limit=1.5), tolerance=2e-2)  # fmt: skip
