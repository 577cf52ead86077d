# SPDX-License-Identifier: Apache-2.0
"""Values and shapes at the edge: non-finite, denormal, extreme, empty, of every rank."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..case import EXACT, Family, grid, integers

EDGE = Family("edge", modes=EXACT)
SHAPE = Family("shape", modes=EXACT)
FAMILIES = [EDGE, SHAPE]

_F32 = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38,
     1.0, -1.0, 0.5, 2.0**24 + 2, 2.0**31, -(2.0**31), 2.0**63, 1e-30, 65504.0, 65520.0, 6e-8, 88.8,
     -103.9, 0.49999997],
    np.float32,
)  # fmt: skip
_UNARY = (
    "sin cos tan tanh logistic exp exp2 expm1 erf erfc erf_inv abs neg square sinh cosh asin acos "
    "atan asinh acosh atanh log log1p sqrt rsqrt cbrt floor ceil round sign is_finite lgamma "
    "digamma bessel_i0e bessel_i1e reciprocal"
).split()
# Not igamma: on such values its loop runs for a minute, on cpu.
_BINARY = "add sub mul div max min pow atan2 rem nextafter eq ne lt le gt ge".split()
_PAIRS = np.meshgrid(_F32, _F32)


def _of(dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return _F32.astype(jnp.dtype(dtype))


for name in _UNARY:
    EDGE.add(f"float32_{name}", getattr(lax, name), _F32)
for dtype in ("float16", "bfloat16"):
    for name in _UNARY:
        EDGE.add(f"{dtype}_{name}", getattr(lax, name), _of(dtype))
for name in _UNARY:
    EDGE.add(f"float64_{name}", getattr(lax, name), _F32.astype(np.float64), x64=True)
for name in _BINARY:
    EDGE.add(f"float32_{name}", getattr(lax, name), _PAIRS[0], _PAIRS[1])
    EDGE.add(f"bfloat16_{name}", getattr(lax, name), *(a.astype(jnp.bfloat16) for a in _PAIRS))
_NUMPY = {
    "maximum": jnp.maximum, "fmax": jnp.fmax, "fmin": jnp.fmin, "mod": jnp.mod,
    "floor_divide": jnp.floor_divide, "fmod": jnp.fmod, "hypot": jnp.hypot,
    "copysign": jnp.copysign, "heaviside": jnp.heaviside, "logaddexp": jnp.logaddexp,
    "ldexp": lambda x, y: jnp.ldexp(x, jnp.int32(5)), "isclose": jnp.isclose,
    "float_power": jnp.float_power, "clip": lambda x, y: jnp.clip(x, y, 2 * y),
}  # fmt: skip
EDGE.add_all(_NUMPY, *_PAIRS)
_REDUCTIONS = {
    "sum": jnp.sum, "max": jnp.max, "min": jnp.min, "prod": jnp.prod, "argmax": jnp.argmax,
    "argmin": jnp.argmin, "nanmax": jnp.nanmax, "nansum": jnp.nansum, "sort": jnp.sort,
    "argsort": jnp.argsort, "mean": jnp.mean, "logsumexp": jax.nn.logsumexp, "var": jnp.var,
    "softmax": jax.nn.softmax, "cumsum": jnp.cumsum, "cummax": lax.cummax, "unique": lambda x:
    jnp.unique(x, size=24), "nan_to_num": jnp.nan_to_num, "median": jnp.median, "ptp": jnp.ptp,
    "top_k": lambda x: lax.top_k(x, 5), "nanargmax": jnp.nanargmax, "frexp": jnp.frexp,
    "modf": jnp.modf, "any": jnp.any, "cumlogsumexp": lax.cumlogsumexp, "count_nonzero":
    jnp.count_nonzero, "descending": lambda x: jnp.sort(x, descending=True), "trunc": jnp.trunc,
}  # fmt: skip
EDGE.add_all({f"of_all_{n}": fn for n, fn in _REDUCTIONS.items()}, _F32)
EDGE.add_all({f"of_matrix_{n}": fn for n, fn in _REDUCTIONS.items() if n not in ("unique",)
              and n not in ("cummax", "cumlogsumexp")}, _PAIRS[0] * np.float32(0.5))  # fmt: skip

_INTEGERS = "int8 int16 int32 uint8 uint16 uint32 int64 uint64 int4 uint4 int2 uint2".split()


def _extremes(name: str) -> np.ndarray:
    info = jnp.iinfo(name)
    near = [0, 1, 2, 3, int(info.min), int(info.min) + 1, int(info.max), int(info.max) - 1]
    values = [v for v in [*near, -1, -2, 7, 31] if info.min <= v <= info.max]
    return np.array(values, dtype=jnp.dtype(name))


_WHOLE = {
    "arithmetic": lambda x, y: (x + y, x - y, x * y, -x),
    "div": lambda x, y: (lax.div(x, y), lax.rem(x, y)),
    "floor_divide": lambda x, y: (x // y, x % y, jnp.divmod(x, y)),
    "true_divide": lambda x, y: x / y,
    "shifts": lambda x, y: (
        lax.shift_left(x, y), lax.shift_right_logical(x, y), lax.shift_right_arithmetic(x, y),
    ),
    "numpy_shifts": lambda x, y: (x << y, x >> y),
    "compare": lambda x, y: (x < y, x >= y, jnp.maximum(x, y), jnp.minimum(x, y)),
    "one_operand": lambda x, y: (lax.sign(x), lax.population_count(x), lax.clz(x), ~x),
    "power": lambda x, y: (x**2, x**3, lax.integer_pow(x, 5)),
    "to_float": lambda x, y: (x.astype(jnp.float32), x.astype(jnp.float16), x.astype(jnp.bfloat16)),
    "to_integer": lambda x, y: [x.astype(t) for t in (
        jnp.int8, jnp.uint8, jnp.int16, jnp.uint16, jnp.int32, jnp.uint32, jnp.int4, bool)],
    "reduce": lambda x, y: (x.sum(), x.max(), x.min(), x.prod(), jnp.argmax(x), jnp.argmin(x)),
    "sort": lambda x, y: (jnp.sort(x, 0), jnp.argsort(x, 0), jnp.sort(x, 0, descending=True)),
}  # fmt: skip
for dtype in _INTEGERS:
    values = _extremes(dtype)
    pair = [a.astype(values.dtype) for a in np.meshgrid(values, values)]
    for name, fn in _WHOLE.items():
        raises = None if dtype.endswith(("int2", "int4")) else False
        EDGE.add(f"{dtype}_{name}", fn, *pair, x64=dtype.endswith("64"), raises=raises)
_TARGETS = "int8 uint8 int16 uint16 int32 uint32 bool float16 bfloat16 int4 uint4".split()
for dtype in _TARGETS:
    EDGE.add(f"float32_to_{dtype}", lambda x, t=dtype: x.astype(t), _F32)
for dtype in (n for n in dir(jnp) if n.startswith(("float8", "float4", "int2", "uint2"))):
    EDGE.add(f"float32_to_{dtype}", lambda x, t=dtype: x.astype(t).astype(jnp.float32), _F32)
    EDGE.add(f"float32_rounded_to_{dtype}", lambda x, t=dtype: x.astype(t), grid(40))
EDGE.add("float64_to_all", lambda x: [x.astype(t) for t in (
    jnp.int64, jnp.uint64, jnp.int32, jnp.float32, jnp.float16, jnp.bfloat16)],
    _F32.astype(np.float64) * (1 + 2**-30), x64=True)  # fmt: skip
_COMPLEX = np.stack(_PAIRS, -1).view(np.complex64)[..., 0]
for name in ("sin cos tan tanh exp log log1p sqrt rsqrt sinh cosh asinh acosh atanh abs neg sign "
             "logistic expm1 cbrt asin acos atan").split():  # fmt: skip
    if hasattr(lax, name) and name != "cbrt":
        EDGE.add(f"complex64_{name}", getattr(lax, name), _COMPLEX)
EDGE.add("complex64_arithmetic", lambda x, y: (x * y, x / y, x + y, x == y, x**y),
         _COMPLEX[:8, :8], _COMPLEX[8:16, 8:16])  # fmt: skip
EDGE.add("bitcasts", lambda x: [lax.bitcast_convert_type(x, t) for t in (
    jnp.int32, jnp.uint32, jnp.uint8, jnp.float16, jnp.bfloat16, jnp.int16)], _F32)  # fmt: skip
EDGE.add("bitcasts_back", lambda x: (lax.bitcast_convert_type(x, jnp.float32),
         lax.bitcast_convert_type(x[:, :2], jnp.float16)), integers(3, 4, dtype=np.uint8))  # fmt: skip

# Empty arrays and axes of extent 0, and each number of axes.
for shape in [(0,), (0, 3), (3, 0), (0, 0), (2, 0, 3)]:
    x = np.zeros(shape, np.float32)
    label = "x".join(map(str, shape))
    SHAPE.add_all({
        f"empty_{label}_elementwise": lambda x: (x + 1, jnp.tanh(x), x.astype(jnp.int8), x > 0),
        f"empty_{label}_sums": lambda x: (x.sum(), x.sum(0), x.prod(-1), x.any(), x.all(-1)),
        f"empty_{label}_moves": lambda x: (x.T, x[::-1], x.reshape(-1), jnp.concatenate([x, x]),
            jnp.pad(x, 1), jnp.stack([x, x]), jnp.broadcast_to(x, (2, *x.shape))),
        f"empty_{label}_sort": lambda x: (jnp.sort(x), jnp.argsort(x), jnp.cumsum(x, 0)),
        f"empty_{label}_max": lambda x: x.max(initial=-1.0),
        f"empty_{label}_argmax": lambda x: jnp.argmax(jnp.append(x, 1.0)),
        f"empty_{label}_mean": lambda x: x.mean(),
        f"empty_{label}_gradient": jax.grad(lambda x: (x * x).sum()),
        f"empty_{label}_scan": lambda x: lax.scan(lambda c, r: (c + r.sum(), r), 0.0, x),
        f"empty_{label}_map": lambda x: lax.map(lambda r: r * 2, x),
        f"empty_{label}_where": lambda x: jnp.where(x > 0, x, 0),
    }, x)  # fmt: skip
    if len(shape) == 2:
        SHAPE.add(f"empty_{label}_product", lambda x: (x @ x.T, x.T @ x, jnp.dot(x, x.T)), x)
SHAPE.add("empty_product_of_nothing", lambda x, y: x @ y,
          np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32), modes=(*EXACT, "ane"))  # fmt: skip
SHAPE.add("empty_convolution", lambda x, y: lax.conv(x, y, (1, 1), "SAME"),
          np.zeros((0, 2, 5, 5), np.float32), grid(3, 2, 3, 3), modes=(*EXACT, "ane"))  # fmt: skip
SHAPE.add("empty_gather", lambda x: (x[jnp.zeros((0,), jnp.int32)], x[2:2], x[:, 3:]), grid(4, 3))
SHAPE.add("empty_scatter", lambda x: x.at[jnp.zeros((0,), jnp.int32)].add(1.0), grid(4, 3))
SHAPE.add("no_results", lambda x: (), grid(3))
SHAPE.add("nothing_in_nothing_out", lambda: ())
SHAPE.add("no_arguments", lambda: (jnp.arange(5), jnp.ones(3), 2.5, 3, True))
SHAPE.add("same_twice", lambda x: (x, x, {"a": x, "b": None}), grid(3))
SHAPE.add("weak_types", lambda x: (x * 2, 2, 2.0, jnp.asarray(3), jnp.sum(1), x[0] + 1j), grid(3))
for rank in range(9):
    x = grid(*(2,) * rank)
    SHAPE.add_all({
        f"rank_{rank}_elementwise": lambda x: (jnp.tanh(x) + 1, x > 0, jnp.where(x > 0, x, -x)),
        f"rank_{rank}_sums": lambda x: (x.sum(), x.max(), jnp.argmax(x), x.std()),
        f"rank_{rank}_moves": lambda x: (x.T, x.ravel(), jnp.broadcast_to(x, (3, *x.shape)),
            jnp.flip(x), jnp.expand_dims(x, 0), x.astype(jnp.int4)),
        f"rank_{rank}_gradient": jax.grad(lambda x: (jnp.sin(x) ** 2).sum()),
    }, x, modes=(*EXACT, "ane"))  # fmt: skip
    if rank:
        SHAPE.add_all({
            f"rank_{rank}_axes": lambda x: [x.sum(i) for i in range(x.ndim)],
            f"rank_{rank}_sort": lambda x: [jnp.sort(x, i) for i in (0, -1)],
            f"rank_{rank}_cumulative": lambda x: (jnp.cumsum(x, 0), jnp.cumprod(x, -1)),
            f"rank_{rank}_index": lambda x: (x[0], x[..., 1], x[jnp.array([1, 0, 1])], x[None]),
            f"rank_{rank}_update": lambda x: (x.at[0].set(3), x.at[..., 1].mul(2)),
            f"rank_{rank}_pad": lambda x: (jnp.pad(x, 1), lax.pad(x, 2.0, [(-1, 1, 1)] * x.ndim)),
            f"rank_{rank}_window": lambda x: lax.reduce_window(
                x, -jnp.inf, lax.max, (2,) * x.ndim, (1,) * x.ndim, "SAME"),
        }, x)  # fmt: skip
