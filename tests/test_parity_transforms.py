# SPDX-License-Identifier: Apache-2.0
"""Loops, branches, transformations, donation and callbacks around matrix products."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from parity_tools import assert_close, check_exact, check_parity, normal, run

W = normal(16, 16, scale=0.25)
X = normal(6, 16, seed=1)


def test_scan_with_products_in_its_body():
    def fn(x, w):
        def step(carry, row):
            carry = jnp.tanh(carry @ w + row)
            return carry, carry @ w.T

        return lax.scan(step, jnp.zeros(16), x)

    check_parity(fn, X, W)
    check_parity(jax.grad(lambda x, w: fn(x, w)[1].sum(), argnums=(0, 1)), X, W, tolerance=1e-2)


@pytest.mark.parametrize("options", [{"reverse": True}, {"unroll": 3}, {"unroll": True}], ids=str)
def test_scan_options(options):
    check_parity(
        lambda x, w: lax.scan(lambda c, r: ((c + r) @ w, c @ w.T), X[0], x, **options), X, W
    )


def test_while_with_products():
    def fn(x, w):
        return lax.while_loop(
            lambda s: s[1] < 4, lambda s: (jnp.tanh(s[0] @ w) @ w.T, s[1] + 1), (x, 0)
        )

    check_parity(fn, X, W)


def test_while_whose_condition_is_a_product():
    def fn(x, w):
        return lax.while_loop(lambda s: jnp.vdot(s, s) > 0.5, lambda s: s @ w * 0.9, x[0])

    check_parity(fn, X, W)


def test_fori_over_arrays_read_from_outside():
    stack = normal(4, 16, 16, seed=3, scale=0.25)
    check_parity(lambda x, s: lax.fori_loop(0, 4, lambda i, h: jnp.tanh(h @ s[i]), x), X, stack)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cond_with_products(sign):
    def fn(s, x, w):
        return lax.cond(s > 0, lambda v: jnp.tanh(v @ w) @ w, lambda v: v @ w.T, x)

    check_parity(fn, np.float32(sign), X, W)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_switch_with_products(index):
    branches = [lambda x, w: x @ w, lambda x, w: (x @ w) @ w, lambda x, w: x * w[0]]
    check_parity(lambda i, x, w: lax.switch(i, branches, x, w), np.int32(index), X, W)


def test_nested_control_flow():
    def fn(x, w):
        def step(h, row):
            h = lax.cond(row[0] > 0, lambda h: h @ w, lambda h: jnp.tanh(h @ w.T) @ w, h)
            return lax.fori_loop(0, 2, lambda i, h: jnp.tanh(h @ w), h), h.sum()

        return lax.scan(step, x, x)

    check_parity(fn, X, W, tolerance=2e-2)


def test_associative_scan_of_matrices():
    stack = normal(5, 8, 8, scale=0.3)
    check_parity(lambda s: lax.associative_scan(jnp.matmul, s), stack)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)], ids=str)
def test_vmap(axes):
    shapes = [{None: s, 0: (3, *s), 1: (s[0], 3, s[1]), 2: (*s, 3)}[a]
              for a, s in zip(axes, [(6, 16), (16, 16)], strict=True)]  # fmt: skip
    check_parity(
        jax.vmap(lambda x, w: jnp.tanh(x @ w) @ w.T, in_axes=axes),
        normal(*shapes[0]), normal(*shapes[1], seed=1, scale=0.3),
    )  # fmt: skip


def model(x, w):
    return jnp.tanh(jnp.tanh(x @ w) @ w)


def loss(x, w):
    return (model(x, w) ** 2).sum()


TRANSFORMS = {
    "grad": jax.grad(loss, argnums=(0, 1)),
    "value_and_grad": jax.value_and_grad(loss, argnums=1),
    "jvp": lambda x, w: jax.jvp(model, (x, w), (x, w)),
    "vjp": lambda x, w: jax.vjp(model, x, w)[1](x),
    "jacrev": lambda x, w: jax.jacrev(lambda v: model(v, w))(x[0]),
    "jacfwd": lambda x, w: jax.jacfwd(lambda v: model(v, w))(x[0]),
    "hessian": lambda x, w: jax.hessian(lambda v: loss(v, w))(x[0]),
    "remat": jax.grad(jax.checkpoint(loss), argnums=1),
    "linearize": lambda x, w: jax.linearize(lambda w: model(x, w), w)[1](w),
    "grad_of_vmap": jax.grad(lambda x, w: jax.vmap(lambda r: loss(r, w))(x).sum(), argnums=1),
    "nested_jit": lambda x, w: jax.jit(model)(jax.jit(model)(x, w), w),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transformation(name):
    check_parity(TRANSFORMS[name], X, W, tolerance=1e-2)


def test_custom_vjp_and_custom_jvp():
    @jax.custom_vjp
    def clipped(x, w):
        return x @ w

    clipped.defvjp(
        lambda x, w: (x @ w, (x, w)),
        lambda kept, g: (jnp.clip(g @ kept[1].T, -1, 1), kept[0].T @ g),
    )

    @jax.custom_jvp
    def soft(x):
        return jnp.tanh(x)

    soft.defjvp(lambda p, t: (soft(p[0]), t[0] * (1 - jnp.tanh(p[0]) ** 2)))
    check_parity(
        jax.grad(lambda x, w: (soft(clipped(x, w)) @ w).sum(), argnums=(0, 1)), X, W,
        tolerance=1e-2,
    )  # fmt: skip


@pytest.mark.parametrize("placement", ["auto", "ane"])
def test_donation_with_clusters(ane, placement):
    """The donated buffer is reused for the result that a cluster helps to make."""

    def step(w, x):
        return w - 0.1 * (x.T @ (x @ w)), (x @ w).sum()

    import jax_ane

    with jax_ane.config(placement=placement), jax.default_device(ane):
        jitted = jax.jit(step, donate_argnums=0)
        # JAX aliases a NumPy array where it can, and that memory cannot be donated.
        w, x = jax.device_put(W, ane) + 0, jax.device_put(X, ane)
        pointer = w.unsafe_buffer_pointer()
        updated, _ = jitted(w, x)
        assert w.is_deleted()
        assert updated.unsafe_buffer_pointer() == pointer
        for _ in range(3):
            updated, _ = jitted(updated, x)
    want = W
    for _ in range(4):
        want = want - 0.1 * (X.T @ (X @ want))
    assert_close([np.asarray(updated)], [want], 5e-3)


def test_callbacks_keep_their_order_among_clusters(ane, capfd):
    def fn(x, w):
        h = x @ w
        jax.debug.print("first {:.0f}", x[0, 0] * 0 + 1, ordered=True)
        h = jnp.tanh(h) @ w
        jax.debug.print("second {:.0f}", h[0, 0] * 0 + 2, ordered=True)
        h = h @ w.T
        jax.debug.print("third {:.0f}", h[0, 0] * 0 + 3, ordered=True)
        return h

    with jax.default_device(ane):
        jitted = jax.jit(fn)
        for _ in range(3):
            jitted(X, W).block_until_ready()
        jax.effects_barrier()
    assert capfd.readouterr().out == "first 1\nsecond 2\nthird 3\n" * 3


def test_callback_result_feeds_a_product():
    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
    check_parity(lambda x, w: jax.pure_callback(np.sin, shape, x @ w) @ w.T, X, W)


@pytest.mark.parametrize("length", [3, 40])
def test_momentum_unrolled_keeps_small_updates(length):
    """A parameter that the program takes and returns is updated in float32."""

    def fn(w, x):
        for _ in range(length):
            w = w - 1e-5 * (x.T @ (x @ w))
        return w

    want = run(fn, (W + 4, X), "cpu")[0]
    got = run(fn, (W + 4, X), "ane")[0]
    moved = np.linalg.norm(want - (W + 4))
    assert np.linalg.norm(got - want) < 0.02 * moved


def test_sharded_over_one_device():
    def sharded(device):
        mesh = jax.sharding.Mesh(np.array([device]), ("i",))
        spec = jax.sharding.PartitionSpec("i")
        fn = jax.shard_map(
            lambda x, w: lax.psum(jnp.tanh(x @ w) @ w, "i"), mesh=mesh,
            in_specs=(spec, jax.sharding.PartitionSpec()), out_specs=jax.sharding.PartitionSpec(),
        )  # fmt: skip
        return [np.asarray(jax.jit(fn)(X, W))]

    cpu, ane = (sharded(jax.devices(name)[0]) for name in ("cpu", "ane"))
    assert_close(ane, cpu, 5e-3)


def test_pmap_over_one_device():
    def mapped(device):
        fn = jax.pmap(lambda x, w: lax.psum(jnp.tanh(x @ w) @ w, "i"), "i", devices=[device])
        return [np.asarray(fn(X[None], W[None]))]

    cpu, ane = (mapped(jax.devices(name)[0]) for name in ("cpu", "ane"))
    assert_close(ane, cpu, 5e-3)


LINALG = {
    "solve": lambda a, b: jnp.linalg.solve(a, b),
    "inv": lambda a, b: jnp.linalg.inv(a) @ b,
    "cholesky": lambda a, b: jnp.linalg.cholesky(a) @ b,
    "eigh": lambda a, b: jnp.linalg.eigh(a)[0],
    "det": lambda a, b: jnp.log(jnp.linalg.det(a)),
    "lstsq": lambda a, b: jnp.linalg.lstsq(a, b)[0],
    "norm": lambda a, b: jnp.linalg.norm(a @ b),
    "matrix_power": lambda a, b: jnp.linalg.matrix_power(a / 4, 3),
    "qr": lambda a, b: jnp.abs(jnp.linalg.qr(a)[1]),
    "svdvals": lambda a, b: jnp.linalg.svd(a, compute_uv=False),
    "slogdet": lambda a, b: jnp.linalg.slogdet(a),
    "triangular": lambda a, b: jax.scipy.linalg.solve_triangular(jnp.tril(a), b, lower=True),
    "kron": lambda a, b: jnp.kron(a[:3, :3], b[:2]),
}


@pytest.mark.parametrize("name", LINALG)
def test_linalg(name):
    a = normal(8, 8, scale=0.3)
    check_parity(LINALG[name], a @ a.T + np.eye(8, dtype=np.float32), normal(8, 5),
                 on_ane=False, tolerance=1e-2)  # fmt: skip


@pytest.mark.parametrize("fn", [jnp.cov, jnp.correlate, jnp.convolve], ids=lambda f: f.__name__)
def test_numpy_functions_made_of_products(fn):
    args = (normal(3, 40),) if fn is jnp.cov else (normal(40), normal(7, seed=1))
    check_parity(fn, *args, on_ane=False, tolerance=1e-2)


def test_integers_between_products_stay_exact():
    def fn(x, w):
        ranks = jnp.argsort(x[:, 0])
        return (x @ w)[ranks], ranks, jnp.arange(6) * 100_003

    check_parity(fn, X, W)


def test_random_bits_beside_products_stay_exact():
    def fn(key, x, w):
        noise = jax.random.normal(key, x.shape)
        return noise, jax.random.bits(key, (4,)), (x + noise) @ w

    key = np.array([0, 7], np.uint32)
    want, got = (run(fn, (key, X, W), device) for device in ("cpu", "ane"))
    assert [a.tobytes() for a in got[:2]] == [a.tobytes() for a in want[:2]]
    assert_close(got[2:], want[2:], 5e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision_block(dtype):
    def fn(x, w):
        h = (x.astype(dtype) @ w.astype(dtype)).astype(jnp.float32)
        return jnp.tanh(h) @ w

    check_parity(fn, X, W)


def test_checkpoint_policies_and_scan_of_layers():
    stack = normal(3, 16, 16, seed=3, scale=0.25)
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable

    def fn(x, stack):
        body = jax.checkpoint(lambda h, w: (jnp.tanh(h @ w), None), policy=policy)
        return (lax.scan(body, x, stack)[0] ** 2).sum()

    check_parity(jax.grad(fn, argnums=(0, 1)), X, stack, tolerance=1e-2)


def test_static_and_keyword_arguments():
    @functools.partial(jax.jit, static_argnames=("n",))
    def power(x, w, *, n):
        for _ in range(n):
            x = jnp.tanh(x @ w)
        return x

    check_parity(lambda x, w: power(x, w, n=3), X, W)


def test_f64_program_stays_exact():
    with jax.enable_x64(True):
        check_exact(lambda x, w: jnp.tanh(x @ w) @ w.T, X.astype(np.float64), W.astype(np.float64),
                    placements=("auto", "ane", "host"))  # fmt: skip
