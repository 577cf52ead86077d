# SPDX-License-Identifier: Apache-2.0
"""Programs without ANE parts give the bits of JAX's own CPU, for every dtype and transformation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

X = np.random.RandomState(0).randn(8, 8).astype(np.float32)
SYMMETRIC = (X @ X.T + 8 * np.eye(8)).astype(np.float32)

PROGRAMS = {
    "grad": jax.grad(lambda x: jnp.tanh(jnp.cos(x)).sum()),
    "vmap": jax.vmap(lambda row: row / row.sum()),
    "scan": lambda x: lax.scan(lambda c, a: (c + a, c * a), x[0], x),
    "while": lambda x: lax.while_loop(lambda s: s[1] < 5, lambda s: (s[0] * x, s[1] + 1), (x, 0)),
    "cond": lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
    "fft": jnp.fft.fft2,
    "sort": lambda x: (jnp.sort(x), jnp.argsort(x), lax.top_k(x, 3)),
    "gather": lambda x: x[jnp.array([1, 3]), ::2],
    "scatter": lambda x: x.at[jnp.array([1, 3])].add(2.0),
    "erf": lambda x: (jax.scipy.special.erf(x), lax.lgamma(x)),
    "convolution": lambda x: lax.conv(
        x[None, None], x[None, None, :3, :3], (1, 1), "SAME", precision="highest"
    ),
    "cumsum": lambda x: jnp.cumsum(x, 1),
}
LINALG = ["eigh", "svd", "qr", "cholesky", "inv", "det", "eig"]
DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "float16",
    "bfloat16",
    "float32",
    "complex64",
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3",
    "float8_e3m4",
    "float8_e8m0fnu",
    "float8_e4m3b11fnuz",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "int4",
    "uint4",
    "int2",
    "uint2",
    "float4_e2m1fn",
]
WIDE_DTYPES = ["float64", "int64", "uint64", "complex128"]


def _dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def _bits(tree: object) -> list[tuple[np.dtype, tuple[int, ...], bytes]]:
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return [(a.dtype, a.shape, a.tobytes()) for a in arrays]


def check_parity(cpu, ane, program, *args) -> None:
    """Fails unless `program` gives the same bits, dtypes and shapes on both devices."""
    outputs = []
    for device in (cpu, ane):
        with jax.default_device(device):
            out = jax.jit(program)(*[jax.device_put(a, device) for a in args])
        assert all(leaf.devices() == {device} for leaf in jax.tree.leaves(out))
        outputs.append(_bits(out))
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_matches_cpu(cpu, ane, name):
    check_parity(cpu, ane, PROGRAMS[name], X)


@pytest.mark.parametrize("name", LINALG)
def test_linalg_matches_cpu(cpu, ane, name):
    check_parity(cpu, ane, getattr(jnp.linalg, name), SYMMETRIC)


def test_solve_matches_cpu(cpu, ane):
    check_parity(cpu, ane, jnp.linalg.solve, SYMMETRIC, X)


@pytest.mark.parametrize("name", DTYPES)
def test_dtype_round_trips_and_computes(cpu, ane, name):
    dtype = _dtype(name)
    value = np.arange(6).astype(dtype)
    put = jax.device_put(value, ane)
    assert put.dtype == dtype
    assert np.asarray(put).tobytes() == value.tobytes()
    check_parity(cpu, ane, lambda v: (v, v[::-1], v.reshape(2, 3).T), value)
    wide = jnp.complex64 if dtype.kind == "c" else jnp.float32
    check_parity(cpu, ane, lambda v: (v.astype(wide) * 2).astype(v.dtype), value)


@pytest.mark.parametrize("name", WIDE_DTYPES)
def test_wide_dtype_computes(cpu, ane, name):
    with jax.enable_x64(True):
        value = np.arange(1, 7).astype(name)
        check_parity(cpu, ane, lambda v: (v * 3, v.sum(), v[::-1]), value)


def test_random_bits_match_cpu(cpu, ane):
    def draw(key):
        return (
            jax.random.normal(key, (33,)),
            jax.random.bits(key, (5,)),
            jax.random.permutation(key, 10),
            jax.random.gamma(key, 2.0, (3,)),
            jax.random.split(key),
        )

    check_parity(cpu, ane, draw, jax.random.PRNGKey(3))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_other_generators_match_cpu(cpu, ane, impl):
    key = jax.random.key_data(jax.random.key(5, impl=impl))
    check_parity(
        cpu, ane, lambda k: jax.random.normal(jax.random.wrap_key_data(k, impl=impl), (9,)), key
    )


def test_callbacks_run_and_their_errors_arrive(ane, capfd):
    x = jax.device_put(X, ane)
    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
    sine = jax.jit(lambda v: jax.pure_callback(np.sin, shape, v))(x)
    np.testing.assert_array_equal(np.asarray(sine), np.sin(X))

    def fail(value):
        raise KeyError("the callback's own text")

    with pytest.raises(jax.errors.JaxRuntimeError, match="the callback's own text"):
        jax.jit(lambda v: jax.pure_callback(fail, shape, v))(x).block_until_ready()
    capfd.readouterr()


def test_ordered_prints_stay_in_order(ane, capfd):
    x = jax.device_put(np.float32(1.5), ane)

    @jax.jit
    def say(value):
        jax.debug.print("first {}", value, ordered=True)
        jax.debug.print("second {}", value + 1, ordered=True)
        return value + 2

    for _ in range(2):
        assert float(say(x)) == 3.5
    jax.effects_barrier()
    assert capfd.readouterr().out == "first 1.5\nsecond 2.5\n" * 2
