# SPDX-License-Identifier: Apache-2.0
"""Libraries above lax: jax.nn, sparse, checkify, callbacks, Pallas in interpret mode, sharding."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import checkify, io_callback, sparse
from jax.experimental import pallas as pl

from ..case import EXACT, Family, grid, integers, positive

SPARSE = Family("sparse", modes=EXACT)
CALLBACK = Family("callback", modes=EXACT, alone=True)
CHECKIFY = Family("checkify", modes=EXACT, alone=True)
PALLAS = Family("pallas")
FAMILIES = [SPARSE, CALLBACK, CHECKIFY, PALLAS]

X, W = grid(5, 6), grid(6, 4, limit=1.0)
HOLES = np.where(abs(X) > 1.5, X, 0).astype(np.float32)


def _of(x):
    return sparse.BCOO.fromdense(x, nse=30)


SPARSE.add_all({
    "round_trip": lambda x, w: _of(x).todense(),
    "matmul": lambda x, w: _of(x) @ w,
    "rmatmul": lambda x, w: w.T @ _of(x).T,
    "product": lambda x, w: (_of(x) @ _of(x).T).todense(),
    "sum": lambda x, w: (_of(x).sum(0).todense(), _of(x).sum()),
    "transpose": lambda x, w: _of(x).T.todense(),
    "add": lambda x, w: (_of(x) + _of(x)).todense(),
    "scale": lambda x, w: ((_of(x) * 3.0).todense(), (_of(x) * x).todense()),
    "reshape": lambda x, w: _of(x).reshape(3, 10).todense(),
    "slice": lambda x, w: _of(x)[1:3, ::2].todense(),
    "batched": lambda x, w: sparse.bcoo_todense(sparse.bcoo_fromdense(x, n_batch=1, nse=6)),
    "dense_axes": lambda x, w: sparse.bcoo_fromdense(x, n_dense=1, nse=5).todense(),
    "sorted": lambda x, w: _of(x).sort_indices().indices,
    "duplicates": lambda x, w: (_of(x) + _of(x)).sum_duplicates(nse=30).data,
    "gradient": jax.grad(lambda x, w: (_of(x) @ w).sum(), 1),
    "sparsify": lambda x, w: sparse.sparsify(lambda m, v: (m @ v).sum(0))(_of(x), w),
    "vmap": lambda x, w: jax.vmap(lambda r: sparse.BCOO.fromdense(r, nse=6).todense())(x),
    "bcsr": lambda x, w: sparse.BCSR.fromdense(x, nse=30) @ w,
    "bcsr_dense": lambda x, w: sparse.BCSR.from_bcoo(_of(x)).todense(),
    "concatenate": lambda x, w: sparse.bcoo_concatenate([_of(x), _of(x)], dimension=0).todense(),
    "coo": lambda x, w: sparse.COO.fromdense(x, nse=30) @ w,
    "csr": lambda x, w: sparse.CSR.fromdense(x, nse=30) @ w,
    "random": lambda x, w: sparse.random_bcoo(jax.random.key(0), (5, 6), nse=0.3).todense(),
    "eye": lambda x, w: sparse.eye(4).todense(),
}, HOLES, W)  # fmt: skip


def _same(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _fails(*_):
    raise KeyError("the callback's own text")


CALLBACK.add("pure_wrong_shape", lambda x, w: jax.pure_callback(lambda a: a[0], _same(x), x), X, W,
             raises=True)  # fmt: skip
CALLBACK.add_all({
    "pure": lambda x, w: jax.pure_callback(np.sin, _same(x), x),
    "pure_two": lambda x, w: jax.pure_callback(
        lambda a, b: (a + 1, b * 2), (_same(x), _same(w)), x, w),
    "pure_tree": lambda x, w: jax.pure_callback(
        lambda d: {"y": d["x"] * 2}, {"y": _same(x)}, {"x": x}),
    "pure_scan": lambda x, w: lax.scan(
        lambda c, r: (jax.pure_callback(np.add, _same(c), c, r), c), x[0], x),
    "pure_cond": lambda x, w: lax.cond(
        x[0, 0] > 0, lambda: jax.pure_callback(np.sin, _same(x), x), lambda: x),
    "pure_while": lambda x, w: lax.while_loop(lambda s: s[1] < 3, lambda s: (
        jax.pure_callback(np.cos, _same(x), s[0]), s[1] + 1), (x, 0)),
    **{f"pure_vmap_{m}": lambda x, w, m=m: jax.vmap(lambda r: jax.pure_callback(
        lambda a: np.asarray(a) * 2, _same(r), r, vmap_method=m))(x)
        for m in ("sequential", "expand_dims", "broadcast_all", "legacy_vectorized",
                  "sequential_unrolled")},
    "pure_dtypes": lambda x, w: [jax.pure_callback(lambda a: a, _same(v), v) for v in (
        x.astype(jnp.int8), x > 0, x.astype(jnp.bfloat16), x.astype(jnp.float16),
        x.astype(jnp.complex64), x.astype(jnp.int4), x.astype(jnp.float8_e4m3fn))],
    "pure_scalar": lambda x, w: jax.pure_callback(lambda a: np.float32(a) + 1, _same(x[0, 0]), x[0, 0]),
    "pure_empty": lambda x, w: jax.pure_callback(lambda a: a, _same(x[:0]), x[:0]),
    "pure_no_arguments": lambda x, w: jax.pure_callback(
        lambda: np.arange(3, dtype=np.int32), jax.ShapeDtypeStruct((3,), jnp.int32)),
    "pure_custom_vjp": lambda x, w: _with_gradient(x),
    "io": lambda x, w: io_callback(lambda a: a * 2, _same(x), x),
    "io_ordered": lambda x, w: io_callback(lambda a: a * 2, _same(x), x, ordered=True),
    "io_ordered_scan": lambda x, w: lax.scan(lambda c, r: (
        io_callback(lambda a: a + 1, _same(c), c, ordered=True), r), 0.0, x),
    "io_none": lambda x, w: (io_callback(lambda a: None, None, x), x)[1],
    "io_vmap": lambda x, w: jax.vmap(lambda r: io_callback(lambda a: a, _same(r), r))(x),
    "debug": lambda x, w: (jax.debug.callback(lambda a: None, x), x * 2)[1],
    "debug_vmap": lambda x, w: jax.vmap(lambda r: (jax.debug.callback(lambda a: None, r), r)[1])(x),
    "debug_grad": jax.grad(lambda x, w: (jax.debug.callback(lambda a: None, x), (x * x).sum())[1]),
    "between_products": lambda x, w: jax.pure_callback(np.tanh, _same(x @ w), x @ w) @ w.T,
}, X, W)  # fmt: skip


@jax.custom_jvp
def _host_sine(x):
    return jax.pure_callback(np.sin, _same(x), x, vmap_method="expand_dims")


_host_sine.defjvp(lambda p, t: (_host_sine(p[0]), jnp.cos(p[0]) * t[0]))


def _with_gradient(x):
    return jax.grad(lambda v: _host_sine(v).sum())(x)


def _checked(errors, fn):
    def run(*args):
        error, value = checkify.checkify(fn, errors=errors)(*args)
        return error.get() is None, value

    return run


def _messages(errors, fn, *args):
    """The message, which checkify keeps outside of jit."""

    def run(device):
        error, _ = jax.jit(checkify.checkify(fn, errors=errors))(*jax.device_put(args, device))
        return str(error.get())

    return run


for name, (errors, fn, *args) in {
    "user": (checkify.user_checks, lambda x: (checkify.check(x[0, 0] > 100, "small {v}",
             v=x[0, 0]), x)[1], X),
    "passes": (checkify.user_checks, lambda x: (checkify.check(x[0, 0] < 100, "large"), x)[1], X),
    "nan": (checkify.nan_checks, lambda x: jnp.log(-jnp.abs(x)), X),
    "index": (checkify.index_checks, lambda x: x[jnp.argmax(x[0]) + 9], X),
    "division": (checkify.div_checks, lambda x: x / (x - x), X),
    "all": (checkify.all_checks, lambda x: jnp.sqrt(-jnp.abs(x))[0], X),
    "scan": (checkify.user_checks, lambda x: lax.scan(lambda c, r: (checkify.check(
             c < 2, "carry {c}", c=c), (c + 1, r))[1], 0, x), X),
    "while": (checkify.user_checks, lambda x: lax.while_loop(lambda s: s < 5, lambda s: (
              checkify.check(s != 3, "three"), s + 1)[1], 0), X),
    "cond": (checkify.user_checks, lambda x: lax.cond(x[0, 0] > -9, lambda: (checkify.check(
             False, "inside"), x)[1], lambda: x), X),
    "vmap": (checkify.user_checks, jax.vmap(lambda r: (checkify.check(r[0] > 0, "row"), r)[1]), X),
    "product": (checkify.float_checks, lambda x: (x / 0) @ x.T, X),
    "out_of_bounds_update": (checkify.index_checks, lambda x: x.at[jnp.argmax(x[0]) + 9].set(1), X),
}.items():  # fmt: skip
    CHECKIFY.add(name, _messages(errors, fn, *args), modes=("device",))


def _add_one(x_ref, o_ref):
    o_ref[...] = x_ref[...] + 1


def _block_product(x_ref, w_ref, o_ref):
    @pl.when(pl.program_id(2) == 0)
    def _():
        o_ref[...] = jnp.zeros_like(o_ref)

    o_ref[...] += x_ref[...] @ w_ref[...]


def _row_softmax(x_ref, o_ref):
    x = x_ref[...]
    e = jnp.exp(x - x.max(-1, keepdims=True))
    o_ref[...] = e / e.sum(-1, keepdims=True)


def _loop(x_ref, o_ref):
    o_ref[...] = lax.fori_loop(0, 3, lambda i, s: s * 2 + i, x_ref[...])


PALLAS.add_all({
    "add": lambda x: pl.pallas_call(_add_one, out_shape=_same(x), interpret=True)(x),
    "grid": lambda x: pl.pallas_call(_add_one, out_shape=_same(x), grid=(2, 2), interpret=True,
        in_specs=[pl.BlockSpec((4, 4), lambda i, j: (i, j))],
        out_specs=pl.BlockSpec((4, 4), lambda i, j: (i, j)))(x),
    "product": lambda x: pl.pallas_call(_block_product, out_shape=_same(x), grid=(2, 2, 2),
        in_specs=[pl.BlockSpec((4, 4), lambda i, j, k: (i, k)),
                  pl.BlockSpec((4, 4), lambda i, j, k: (k, j))],
        out_specs=pl.BlockSpec((4, 4), lambda i, j, k: (i, j)), interpret=True)(x, x),
    "softmax": lambda x: pl.pallas_call(_row_softmax, out_shape=_same(x), grid=(4,),
        in_specs=[pl.BlockSpec((2, 8), lambda i: (i, 0))],
        out_specs=pl.BlockSpec((2, 8), lambda i: (i, 0)), interpret=True)(x),
    "loop": lambda x: pl.pallas_call(_loop, out_shape=_same(x), interpret=True)(x),
    "alias": lambda x: pl.pallas_call(_add_one, out_shape=_same(x), input_output_aliases={0: 0},
        interpret=True)(x),
    "vmap": jax.vmap(lambda r: pl.pallas_call(_add_one, out_shape=_same(r), interpret=True)(r)),
}, grid(8, 8, limit=1.0), tolerance=2e-2)  # fmt: skip

_OWN_TABLE = "Pallas has its own table of platforms: NotImplementedError, not cpu's ValueError"
PALLAS.add("compiled", lambda x: pl.pallas_call(_add_one, out_shape=_same(x))(x), grid(8, 8),
           modes=EXACT, raises=True, known={mode: _OWN_TABLE for mode in EXACT})  # fmt: skip

NN = Family("nn")
FAMILIES.append(NN)
_ACTIVATIONS = (
    "celu elu gelu glu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid "
    "log_softmax logsumexp mish relu relu6 selu sigmoid silu soft_sign softmax softplus "
    "sparse_plus sparse_sigmoid squareplus standardize swish tanh identity log1mexp"
).split()
for name in _ACTIVATIONS:
    fn = getattr(jax.nn, name, None)
    if fn is None:
        NN.lacks(f"jax.nn.{name}")
        continue
    data = positive(5, 6) if name == "log1mexp" else X
    NN.add(name, fn, data, tolerance=2e-2)
    NN.add(f"gradient_{name}", jax.grad(lambda x, f=fn: f(x).sum() * 1.0), data,
           modes=EXACT, alone=False)  # fmt: skip
    NN.add(f"vmap_{name}", jax.vmap(fn), data, modes=EXACT)
    NN.add(f"bf16_{name}", fn, data.astype(jnp.bfloat16), modes=EXACT)
NN.add_all({
    "softmax_axis": lambda x: (jax.nn.softmax(x, 0), jax.nn.softmax(x, (0, 1)),
        jax.nn.softmax(x, where=x > 0)),
    "gelu_exact": functools.partial(jax.nn.gelu, approximate=False),
    "standardize_axis": lambda x: jax.nn.standardize(x, 0),
    "relu_gradients": jax.vmap(jax.vmap(jax.grad(jax.nn.relu))),
}, X, tolerance=2e-2)  # fmt: skip
for name in ("glorot_normal", "he_uniform", "lecun_normal", "orthogonal", "truncated_normal",
             "variance_scaling", "delta_orthogonal", "uniform", "normal", "zeros", "ones",
             "constant"):  # fmt: skip
    maker = getattr(jax.nn.initializers, name)
    made = {"variance_scaling": lambda m=maker: m(1.0, "fan_in", "normal"),
            "constant": lambda m=maker: m(2.0)}  # fmt: skip
    initial = maker if name in ("zeros", "ones") else made[name]() if name in made else maker()
    shape = (3, 4, 4) if name == "delta_orthogonal" else (4, 5)
    NN.add(f"initializer_{name}", lambda f=initial, s=shape: f(jax.random.key(0), s, jnp.float32),
           modes=EXACT)  # fmt: skip
NN.add("segments_of_ids", lambda x, i: jax.nn.one_hot(i, 3) @ jnp.ones((3, 2)) + x[:, :2],
       X, integers(5, low=0, high=3))  # fmt: skip
if hasattr(jax.nn, "scaled_matmul"):
    NN.add("dot_product_attention_mask", lambda q: jax.nn.dot_product_attention(
        q, q, q, bias=jnp.ones((1, 1, 4, 4)), mask=jnp.tril(jnp.ones((4, 4), bool))[None, None],
        scale=0.5), grid(2, 4, 3, 8, limit=1.0), tolerance=3e-2)  # fmt: skip
