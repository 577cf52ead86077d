# SPDX-License-Identifier: Apache-2.0
"""jax.lax element by element: values, gradients, vmap, eager, and each dtype."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax

from ..case import (
    ANE,
    AUTO,
    EAGER,
    EXACT,
    HOST,
    Family,
    booleans,
    complexes,
    grid,
    integers,
    positive,
    unit,
)

VALUE = Family("value", modes=(HOST, AUTO, ANE, EAGER))
GRADIENT = Family("gradient")
VMAP = Family("vmap")
DTYPE = Family("dtype", modes=(HOST, AUTO))
FAMILIES = [VALUE, GRADIENT, VMAP, DTYPE]

X, Y = grid(5, 6), grid(5, 6, seed=1)
P, U = positive(5, 6), unit(5, 6)
SMALL = grid(5, 6, limit=1.0) * np.float32(0.9375)

# name -> (function, arguments); all of them of float32.
SMOOTH = {
    **{
        name: (getattr(lax, name), (X,))
        for name in (
            "sin cos tanh logistic exp expm1 erf erfc abs neg square sinh cosh atan asinh "
            "tan cbrt lgamma digamma bessel_i0e bessel_i1e exp2".split()
        )
    },
    **{name: (getattr(lax, name), (P,)) for name in "log log1p sqrt rsqrt".split()},
    **{name: (getattr(lax, name), (SMALL,)) for name in "asin acos atanh erf_inv".split()},
    "acosh": (lambda x: lax.acosh(1 + x), (P,)),
    "reciprocal": (lax.reciprocal, (P,)),
    "integer_pow": (lambda x: lax.integer_pow(x, 3), (X,)),
    "integer_pow_negative": (lambda x: lax.integer_pow(x, -2), (P,)),
    "add": (lax.add, (X, Y)),
    "sub": (lax.sub, (X, Y)),
    "mul": (lax.mul, (X, Y)),
    "div": (lax.div, (X, P)),
    "max": (lax.max, (X, Y)),
    "min": (lax.min, (X, Y)),
    "pow": (lax.pow, (P, SMALL)),
    "atan2": (lax.atan2, (X, P)),
    "igamma": (lax.igamma, (P, positive(5, 6, seed=2))),
    "igammac": (lax.igammac, (P, positive(5, 6, seed=2))),
    "polygamma": (lambda x: lax.polygamma(jnp.float32(2.0), x), (P,)),
    "zeta": (lambda x: lax.zeta(2 + x, jnp.float32(1.5)), (P,)),
    "regularized_incomplete_beta": (lambda x: lax.betainc(jnp.float32(2), jnp.float32(3), x), (U,)),
    "random_gamma_grad": (lax.random_gamma_grad, (P, positive(5, 6, seed=2))),
    "clamp": (lambda x: lax.clamp(-1.0, x, 1.0), (X,)),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 5, 10), (X,)),
    "logaddexp": (jnp.logaddexp, (X, Y)),
    "select": (lambda x, y: lax.select(x > 0, x, y), (X, Y)),
}
STEPS = {
    **{name: (getattr(lax, name), (X,)) for name in "floor ceil round sign is_finite".split()},
    "round_even": (lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), (X * 4,)),
    "rem": (lax.rem, (X, positive(5, 6, seed=3))),
    "nextafter": (lax.nextafter, (X, Y)),
    **{name: (getattr(lax, name), (X, Y)) for name in "eq ne lt le gt ge".split()},
}
# Series and continued fractions in float32's smallest numbers, which fp16 does not have.
ITERATED = ("regularized_incomplete_beta", "random_gamma_grad")
for name, (fn, args) in {**SMOOTH, **STEPS}.items():
    options = {"modes": EXACT} if name in ("nextafter", "tan", *ITERATED) else {}
    VALUE.add(name, fn, *args, **options)
    if name in ("floor", "ceil"):
        VALUE.add(f"{name}_of_negative", lambda x, fn=fn: fn(x * 0.5), -P)


def _pulled_back(fn):
    def gradient(*args):
        value, pull = jax.vjp(fn, *args)
        return pull(jnp.ones_like(value))

    return gradient


def _pushed(fn):
    return lambda *args: jax.jvp(fn, args, tuple(jnp.ones_like(a) for a in args))[1]


UNSTABLE = (*ITERATED, "lgamma", "digamma", "igamma", "igammac", "zeta", "polygamma")
for name, (fn, args) in SMOOTH.items():
    modes = EXACT if name in (*UNSTABLE, "tan") else (HOST, AUTO, ANE)
    if name not in ("random_gamma_grad", "zeta"):  # jax has no rule
        GRADIENT.add(f"vjp_{name}", _pulled_back(fn), *args, modes=modes)
        GRADIENT.add(f"jvp_{name}", _pushed(fn), *args, modes=EXACT)
    VMAP.add(f"rows_{name}", jax.vmap(fn), *args, modes=modes)
    VMAP.add(f"columns_{name}", jax.vmap(fn, 1, 1), *args, modes=EXACT)
for name in ("sin", "tanh", "exp", "logistic", "erf", "pow", "atan2", "integer_pow", "cbrt"):
    fn, args = SMOOTH[name]
    GRADIENT.add(f"second_{name}", jax.vmap(jax.vmap(jax.hessian(fn))), *args, modes=EXACT)


def _dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, None) or name)


INTEGERS = "int2 int4 int8 int16 int32 int64 uint2 uint4 uint8 uint16 uint32 uint64".split()
FLOATS = (
    "float4_e2m1fn float8_e3m4 float8_e4m3 float8_e4m3fn float8_e4m3fnuz float8_e4m3b11fnuz "
    "float8_e5m2 float8_e5m2fnuz float8_e8m0fnu bfloat16 float16 float32 float64"
).split()
COMPLEX = ["complex64", "complex128"]
WIDE = ("int64", "uint64", "float64", "complex128")


def _values(name: str, seed: int = 0) -> np.ndarray:
    dtype = _dtype(name)
    if name == "bool":
        return booleans(4, 5, seed=seed)
    if name in COMPLEX:
        return complexes(4, 5, seed=seed, dtype=dtype)
    if name in INTEGERS:
        info = jnp.iinfo(dtype)
        low, high = max(int(info.min), -9), min(int(info.max), 9)
        return integers(4, 5, low=low, high=high + 1, seed=seed).astype(dtype)
    return abs(grid(4, 5, seed=seed, limit=2.0)).astype(dtype)


COMMON = {
    "pick": lambda x, y: (x[1], x[::-1], x.T, x.reshape(2, 10), x[jnp.array([0, 3])]),
    "join": lambda x, y: (jnp.concatenate([x, y]), jnp.stack([x, y], 1), jnp.tile(x, (2, 1))),
    "choose": lambda x, y: (jnp.where(x == y, x, y), x == y, x != y),
    "put": lambda x, y: (x.at[1].set(y[0]), lax.dynamic_update_slice(x, y[:2, :2], (1, 1))),
    "pad": lambda x, y: lax.pad(x, y[0, 0], ((1, 0, 1), (0, 2, 0))),
    "full": lambda x, y: (jnp.zeros_like(x), jnp.ones_like(x), jnp.full_like(x, 1)),
    "to": lambda x, y: [
        x.astype(t) for t in (jnp.int32, jnp.float32, jnp.int8, jnp.bfloat16, bool, jnp.uint4)
    ],
    "loop": lambda x, y: lax.fori_loop(0, 3, lambda i, s: (s[1], s[0]), (x, y)),
    "cond": lambda x, y: lax.cond(x[0, 0] == y[0, 0], lambda: x, lambda: y),
}
ORDERED = {
    "compare": lambda x, y: (x < y, x <= y, x > y, x >= y),
    "sort": lambda x, y: (jnp.sort(x, 0), jnp.argsort(x, 1), jnp.sort(y, 1, descending=True)),
    "extremes": lambda x, y: (x.max(0), x.min(1), jnp.argmax(x, 0), jnp.argmin(x, 1)),
    "limit": lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, y), jnp.clip(x, y, y)),
}
NUMERIC = {
    "arithmetic": lambda x, y: (x + y, x - y, x * y, -x, x / y),
    "sum": lambda x, y: (x.sum(0), x.prod(1), jnp.cumsum(x, 0), x.mean()),
    "product": lambda x, y: (x @ y.T, jnp.einsum("ij,ij->i", x, y)),
    "scatter": lambda x, y: (
        x.at[jnp.array([0, 0])].add(y[:2]),
        x.at[jnp.array([1, 2])].mul(y[:2]),
    ),
    "power": lambda x, y: (x**2, x**3),
}
WHOLE = {
    "divide": lambda x, y: (x // y, x % y, lax.div(x, y), lax.rem(x, y)),
    "bits": lambda x, y: (x & y, x | y, x ^ y, ~x),
    "shifts": lambda x, y: (
        lax.shift_left(x, y), lax.shift_right_logical(x, y), lax.shift_right_arithmetic(x, y),
    ),
    "counts": lambda x, y: (lax.population_count(x), lax.clz(x)),
    "sign": lambda x, y: lax.sign(x),
}  # fmt: skip
REAL = {
    "functions": lambda x, y: (jnp.exp(x), jnp.log(x), jnp.tanh(x), jnp.sqrt(x), jnp.sin(x)),
    "roundings": lambda x, y: (jnp.floor(x), jnp.ceil(x), jnp.round(x), jnp.sign(x), jnp.abs(x)),
    "tests": lambda x, y: (jnp.isfinite(x), jnp.isnan(x), jnp.isinf(x), jnp.signbit(x)),
    "divide": lambda x, y: (x // y, x % y, lax.rem(x, y), jnp.power(x, y), jnp.arctan2(x, y)),
    "softmax": lambda x, y: (jax.nn.softmax(x), jax.nn.gelu(x), jax.nn.relu(x)),
    "gradient": lambda x, y: jax.grad(lambda v: (jnp.tanh(v) * y).sum())(x),
}
PARTS = {
    "parts": lambda x, y: (x.real, x.imag, jnp.conj(x), jnp.abs(x), jnp.angle(x)),
    "functions": lambda x, y: (jnp.exp(x), jnp.log(x), jnp.tanh(x), jnp.sqrt(x), jnp.sin(x), x**y),
    "gradient": lambda x, y: jax.grad(lambda v: jnp.abs(v * y).sum())(x),
    "matrices": lambda x, y: (jnp.fft.fft(x), jnp.linalg.norm(x)),
}
# jaxlib 0.10.2's own CPU client aborts the process while it compiles these, on cpu as on ane: it
# cannot concatenate elements below a byte.
ABORTS = {(n, "join") for n in ("int2", "uint2", "int4", "uint4", "float4_e2m1fn")}
# A softmax starts a maximum at -inf, which is NaN in types without infinities: whether XLA:CPU keeps
# it in float32 for a while, and so what comes out, depends on what it compiles along with it.
UNSETTLED = {(n, "softmax") for n in FLOATS if n.startswith("float") and "fn" in n}
for name in ["bool", *INTEGERS, *FLOATS, *COMPLEX]:
    tables = [COMMON]
    if name != "bool":
        tables.append(NUMERIC)
    if name not in COMPLEX:
        tables.append(ORDERED)
    tables += [WHOLE] if name in (*INTEGERS,) else [REAL] if name in FLOATS else []
    tables += [PARTS] if name in COMPLEX else []
    for table in tables:
        for what, fn in table.items():
            if (name, what) in ABORTS | UNSETTLED:
                continue
            narrow = _dtype(name).itemsize == 1 and name not in ("bool", "int8", "uint8")
            DTYPE.add(
                f"{name}_{what}",
                fn,
                _values(name),
                _values(name, seed=7),
                x64=name in WIDE,
                raises=None if narrow else False,
            )
DTYPE.add("bool_logic", lambda x, y: (x & y, x | y, x ^ y, ~x, x.sum(), x.all(0), x.any(1)),
          booleans(4, 5), booleans(4, 5, seed=1))  # fmt: skip
