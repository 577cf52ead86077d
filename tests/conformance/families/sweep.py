# SPDX-License-Identifier: Apache-2.0
"""Every public function of jax.numpy, jax.lax, jax.nn, jax.scipy and their modules.

A table says how each is called; `unlisted` names the functions of this version of jax that no table
has and no other family covers, and a test fails on them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..case import (
    COMPUTED,
    EXACT,
    Family,
    booleans,
    complexes,
    definite,
    grid,
    integers,
    positive,
    unit,
)

NUMPY = Family("jax.numpy", modes=COMPUTED, tolerance=2e-2)
LAX = Family("jax.lax", modes=COMPUTED, tolerance=2e-2)
SCIPY = Family("jax.scipy", modes=EXACT)
FAMILIES = [NUMPY, LAX, SCIPY]


class Args(NamedTuple):
    """What a call may use."""

    x: Any  # float32 [5, 6]
    y: Any  # float32 [5, 6]
    p: Any  # float32 [5, 6], positive
    u: Any  # float32 [5, 6], in (0, 1)
    i: Any  # int32 [5, 6]
    j: Any  # int32 [5, 6], 1 to 8
    b: Any  # bool [5, 6]
    z: Any  # complex64 [5, 6]
    m: Any  # float32 [4, 4]
    s: Any  # float32 [4, 4], symmetric positive definite
    v: Any  # float32 [7]
    c: Any  # float32 [2, 3, 4]


ARGS = Args(
    grid(5, 6), grid(5, 6, seed=1), positive(5, 6), unit(5, 6), integers(5, 6),
    integers(5, 6, low=1, high=9), booleans(5, 6), complexes(5, 6), grid(4, 4), definite(4),
    grid(7), grid(2, 3, 4),
)  # fmt: skip

Call = Callable[[Callable[..., Any], Args], Any]


def _alike(names: str, call: Call) -> dict[str, Call]:
    return dict.fromkeys(names.split(), call)


NUMPY_CALLS: dict[str, Call] = {
    "minmax": lambda f, a: f(a.x, axis=1),
    "top_k": lambda f, a: f(a.x, 3),
    **_alike("abs absolute arctan arcsinh asinh atan ceil conj conjugate copy cos cosh deg2rad "
             "degrees exp exp2 expm1 fabs fix floor i0 imag iscomplex isfinite isinf isnan isneginf "
             "isposinf isreal nan_to_num negative positive rad2deg radians ravel real rint sign "
             "signbit sin sinc sinh sort square tanh trunc angle array asarray amax amin all any "
             "argmax argmin argsort average count_nonzero cumprod cumsum diag diagonal "
             "diff ediff1d flip fliplr flipud gradient logical_not max mean median min nanargmax "
             "nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanstd "
             "nansum nanvar ones_like zeros_like prod ptp ndim iscomplexobj isrealobj isscalar "
             "rot90 size shape squeeze std sum trace transpose matrix_transpose tril triu var "
             "frexp modf cov corrcoef empty_like nanprod "
             "atleast_1d atleast_2d atleast_3d diagflat unwrap spacing", lambda f, a: f(a.x)),
    **_alike("log log10 log1p log2 sqrt cbrt reciprocal", lambda f, a: f(a.p)),
    **_alike("arccosh acosh", lambda f, a: f(1 + a.p)),
    **_alike("arcsin arccos arctanh asin acos atanh", lambda f, a: f(a.u * 2 - 1)),
    "tan": lambda f, a: f(a.u),
    **_alike("add arctan2 atan2 copysign equal float_power fmax fmin greater greater_equal "
             "heaviside hypot less less_equal logaddexp logaddexp2 logical_and logical_or "
             "logical_xor maximum minimum multiply not_equal subtract allclose array_equal "
             "array_equiv isclose nextafter vdot vecdot",
             lambda f, a: (f(a.x, a.y), f(a.x, 2)) if f.__name__ not in ("vdot", "vecdot",
             "float_power") else f(abs(a.x), a.y)),
    **_alike("divide true_divide", lambda f, a: f(a.x, a.p)),
    **_alike("floor_divide divmod mod remainder fmod", lambda f, a: (f(a.x, a.p), f(a.i, a.j))),
    **_alike("power pow", lambda f, a: (f(a.p, a.u), f(a.i, 2), f(a.x, 3))),
    **_alike("bitwise_and bitwise_or bitwise_xor gcd lcm", lambda f, a: f(a.i, a.j)),
    **_alike("left_shift right_shift bitwise_left_shift bitwise_right_shift",
             lambda f, a: (f(a.i, a.j), f(a.i.astype(jnp.uint8), a.j.astype(jnp.uint8)))),
    **_alike("bitwise_not bitwise_invert invert bitwise_count", lambda f, a: (f(a.i), f(a.i.astype(
        jnp.int8)))),
    "append": lambda f, a: (f(a.x, a.y), f(a.x, a.y, 1)),
    "apply_along_axis": lambda f, a: f(jnp.sum, 0, a.x),
    "apply_over_axes": lambda f, a: f(jnp.sum, a.c, [0, 2]),
    "arange": lambda f, a: (f(5), f(2, 9, 3), f(0.0, 1.0, 0.25), f(5, 0, -2), f(3, dtype=jnp.int8)),
    "argpartition": lambda f, a: f(a.x, 2),
    **_alike("around round", lambda f, a: (f(a.x), f(a.x, 1), f(a.i, 1))),
    **_alike("array_split split", lambda f, a: (f(a.x, 3, 1), f(a.x, [2, 3]))),
    "astype": lambda f, a: (f(a.x, int), f(a.i, jnp.float16), f(a.b, jnp.int8)),
    **_alike("bartlett blackman hamming hanning", lambda f, a: (f(6), f(1), f(0))),
    "kaiser": lambda f, a: f(6, 2.0),
    "bincount": lambda f, a: (f(a.j[0], length=9), f(a.j[0], a.p[0], length=5)),
    "block": lambda f, a: f([[a.x, a.y], [a.y, a.x]]),
    "broadcast_arrays": lambda f, a: f(a.x, a.x[0], 1.0),
    "broadcast_shapes": lambda f, a: f((3, 1), (1, 4)),
    "broadcast_to": lambda f, a: f(a.x, (2, 5, 6)),
    "can_cast": lambda f, a: f("int32", "float32"),
    "choose": lambda f, a: f(a.j % 3, [a.x, a.y, a.p], mode="clip"),
    "clip": lambda f, a: (f(a.x, -1, 1), f(a.x, None, 0.5), f(a.i, 2, 3)),
    **_alike("column_stack dstack hstack vstack stack", lambda f, a: f([a.x, a.y])),
    **_alike("concatenate concat", lambda f, a: (f([a.x, a.y]), f([a.x, a.i], axis=1), f([a.x], axis=None) if
             f is jnp.concatenate else 0)),
    "compress": lambda f, a: f(np.array([True, False, True]), a.x, 0, size=2),
    **_alike("convolve correlate", lambda f, a: [f(a.v, a.v[:3], m) for m in ("full", "same", "valid")]),
    "cross": lambda f, a: f(a.x[:, :3], a.y[:, :3]),
    "cumulative_sum": lambda f, a: (f(a.v), f(a.x, axis=1, include_initial=True)),
    "cumulative_prod": lambda f, a: (f(a.v), f(a.x, axis=1, include_initial=True)),
    "delete": lambda f, a: (f(a.x, 1, 0), f(a.x, np.array([0, 2]), 1)),
    "diag_indices": lambda f, a: f(3),
    "diag_indices_from": lambda f, a: f(a.m),
    "digitize": lambda f, a: (f(a.x, jnp.array([-1.0, 0.0, 1.0])), f(a.x, jnp.array([1.0, 0.0]), True)),
    "dot": lambda f, a: (f(a.m, a.s), f(a.v, a.v), f(2, a.x), f(a.c, a.m)),
    "dsplit": lambda f, a: f(a.c, 2),
    "einsum": lambda f, a: (f("ij,kj->ik", a.x, a.y), f("ij->ji", a.x), f("ijk->", a.c)),
    "einsum_path": lambda f, a: str(f("ij,jk", a.m, a.s)[0]) and 0,
    "empty": lambda f, a: f((0, 3)),
    "expand_dims": lambda f, a: (f(a.x, 1), f(a.x, (0, -1))),
    "extract": lambda f, a: f(a.b, a.x, size=7, fill_value=-1),
    "eye": lambda f, a: (f(3), f(3, 5, 1), f(4, k=-2, dtype=int)),
    "fill_diagonal": lambda f, a: f(a.m, 7, inplace=False),
    "argwhere": lambda f, a: f(a.b, size=9),
    "flatnonzero": lambda f, a: f(a.b, size=9),
    "fromfunction": lambda f, a: f(lambda i, j: i * 2 + j, (3, 4)),
    "frombuffer": lambda f, a: f(b"\x01\x02\x03\x04", jnp.uint8),
    "fromstring": lambda f, a: f("1 2 3", sep=" "),
    "frompyfunc": lambda f, a: (f(jnp.add, 2, 1, identity=0).reduce(a.x), f(jnp.add, 2, 1)(a.x, 1)),
    "full": lambda f, a: (f((2, 3), 7), f((2,), a.v[:2]), f(3, 2.5, jnp.bfloat16)),
    "full_like": lambda f, a: (f(a.x, 2), f(a.i, 3, dtype=float, shape=(2,))),
    "geomspace": lambda f, a: f(1.0, 100.0, 5),
    "histogram": lambda f, a: (f(a.x, 5), f(a.x, jnp.array([-3.0, 0, 3]), weights=a.p)),
    "histogram2d": lambda f, a: f(a.v, a.v[::-1], 3),
    "histogram_bin_edges": lambda f, a: f(a.x, 4),
    "histogramdd": lambda f, a: f(a.x[:, :2], 3),
    "hsplit": lambda f, a: f(a.x, 2),
    "vsplit": lambda f, a: f(a.m, 2),
    "identity": lambda f, a: f(3),
    "indices": lambda f, a: (f((2, 3)), f((2, 3), sparse=True)),
    **_alike("inner outer", lambda f, a: f(a.v, a.v)),
    "insert": lambda f, a: (f(a.v, 2, 9.0), f(a.x, np.array([1, 3]), 0.5, axis=1)),
    "interp": lambda f, a: (f(a.x, jnp.arange(4.0), jnp.array([1.0, 3, 2, 0])), f(a.x, jnp.arange(
        4.0), jnp.array([1.0, 3, 2, 0]), period=3)),
    "intersect1d": lambda f, a: f(a.j[0], a.j[1], size=4),
    "isdtype": lambda f, a: f(a.x.dtype, "real floating"),
    "isin": lambda f, a: (f(a.i, a.j), f(a.i, a.j, invert=True)),
    "issubdtype": lambda f, a: f(jnp.int8, jnp.integer),
    "iterable": lambda f, a: f(a.x),
    "ix_": lambda f, a: f(jnp.arange(2), jnp.arange(3)),
    "kron": lambda f, a: f(a.m, a.x[:2, :2]),
    "ldexp": lambda f, a: f(a.x, a.j),
    "lexsort": lambda f, a: f((a.i, a.j)),
    **_alike("linspace", lambda f, a: (f(0, 1, 7), f(0, 5, 4, endpoint=False), f(a.v, 1, 3,
        retstep=True), f(0, 9, 4, dtype=int))),
    "logspace": lambda f, a: f(0, 2, 5),
    "mask_indices": lambda f, a: f(3, jnp.triu, size=6),
    **_alike("matmul", lambda f, a: (f(a.m, a.s), f(a.c, a.m), f(a.m, a.v[:4]))),
    "matvec": lambda f, a: f(a.m, a.v[:4]),
    "vecmat": lambda f, a: f(a.v[:4], a.m),
    "meshgrid": lambda f, a: (f(a.v, a.x[0]), f(a.v, a.x[0], indexing="ij", sparse=True)),
    "moveaxis": lambda f, a: f(a.c, 0, -1),
    "rollaxis": lambda f, a: f(a.c, 2),
    "swapaxes": lambda f, a: f(a.c, 0, 2),
    "permute_dims": lambda f, a: f(a.c, (2, 0, 1)),
    "nonzero": lambda f, a: f(a.b, size=11, fill_value=-1),
    "ones": lambda f, a: (f((2, 3)), f(2, int)),
    "zeros": lambda f, a: (f((2, 3)), f((), bool)),
    "packbits": lambda f, a: (f(a.b), f(a.b, 0, "little")),
    "unpackbits": lambda f, a: (f(a.j.astype(jnp.uint8), 1), f(a.j.astype(jnp.uint8), 1, 3, "little")),
    "pad": lambda f, a: [f(a.x, ((1, 2), (0, 3)), m) for m in ("constant", "edge", "reflect",
        "symmetric", "wrap", "linear_ramp", "maximum", "mean", "median", "minimum", "empty")[:10]],
    "partition": lambda f, a: f(a.x, 2, 0),
    **_alike("percentile nanpercentile", lambda f, a: [f(a.x, 30, method=m) for m in (
        "linear", "lower", "higher", "midpoint", "nearest")]),
    **_alike("quantile nanquantile", lambda f, a: f(a.x, jnp.array([0.1, 0.5]), axis=1)),
    "piecewise": lambda f, a: f(a.x, [a.x < -1, a.x > 1], [-1.0, lambda v: v * 2, 0.0]),
    "place": lambda f, a: f(a.x, a.b, jnp.array([1.0, 2.0]), inplace=False),
    "put": lambda f, a: [f(a.x, jnp.array([3, 40, -1]), 9.0, mode=m, inplace=False) for m in ("clip", "wrap")],
    "put_along_axis": lambda f, a: f(a.x, a.j[:, :1] % 5, 1.0, 1, inplace=False),
    "poly": lambda f, a: f(a.v[:4]),
    "polyadd": lambda f, a: f(a.v, a.v[:3]),
    "polysub": lambda f, a: f(a.v, a.v[:3]),
    "polymul": lambda f, a: f(a.v, a.v[:3]),
    "polyder": lambda f, a: f(a.v, 2),
    "polyint": lambda f, a: f(a.v, 2),
    "polydiv": lambda f, a: f(a.v, a.v[:3]),
    "polyval": lambda f, a: f(a.v[:4], a.u),
    "polyfit": lambda f, a: f(jnp.arange(7.0), a.v, 2),
    "roots": lambda f, a: f(a.v[:4], strip_zeros=False),
    "promote_types": lambda f, a: jnp.zeros((), f("int8", "uint8")),
    "result_type": lambda f, a: jnp.zeros((), f(a.x, "int8")),
    "ravel_multi_index": lambda f, a: f((a.j[0] % 3, a.j[1] % 4), (3, 4), mode="wrap"),
    "unravel_index": lambda f, a: f(a.j, (3, 4)),
    "repeat": lambda f, a: (f(a.x, 2), f(a.x, 3, 1), f(a.v, a.j[0, :1], total_repeat_length=9)),
    "reshape": lambda f, a: (f(a.x, (3, -1)), f(a.x, (6, 5), order="F")),
    "resize": lambda f, a: (f(a.x, (4, 9)), f(a.v, (2,))),
    "roll": lambda f, a: (f(a.x, 2), f(a.x, (1, -2), (0, 1)), f(a.v, a.j[0, 0])),
    "searchsorted": lambda f, a: f(jnp.arange(5.0) - 2, a.x, side="right"),
    "select": lambda f, a: f([a.x < 0, a.x > 1], [a.x, a.y], 7.0),
    "setdiff1d": lambda f, a: f(a.i[0], a.j[0], size=5),
    "setxor1d": lambda f, a: f(a.i[0], a.j[0], size=9),
    "union1d": lambda f, a: f(a.i[0], a.j[0], size=9),
    "sort_complex": lambda f, a: f(a.z[0]),
    "take": lambda f, a: (f(a.x, a.j % 5, 0), f(a.x, a.i), f(a.x, a.i, mode="clip")),
    "take_along_axis": lambda f, a: f(a.x, a.j % 5, 0),
    "tensordot": lambda f, a: (f(a.c, a.m, 1), f(a.x, a.y, ((0, 1), (0, 1)))),
    "tile": lambda f, a: (f(a.x, 2), f(a.x, (2, 1, 3))),
    "trapezoid": lambda f, a: (f(a.x), f(a.x, dx=0.5, axis=0), f(a.v, jnp.arange(7.0))),
    "tri": lambda f, a: f(3, 4, 1),
    **_alike("tril_indices triu_indices", lambda f, a: f(4, 1)),
    **_alike("tril_indices_from triu_indices_from", lambda f, a: f(a.m, -1)),
    "unique": lambda f, a: (f(a.j, size=9, return_counts=True), f(a.j, axis=1, size=6)),
    **_alike("unique_all unique_counts unique_inverse unique_values", lambda f, a: f(a.j, size=9)),
    "unstack": lambda f, a: (f(a.x), f(a.c, axis=1)),
    "vander": lambda f, a: (f(a.v, 3), f(a.v, 3, increasing=True)),
    "vectorize": lambda f, a: f(lambda p, q: p * q.sum(), signature="(),(n)->()")(2.0, a.x),
    "where": lambda f, a: (f(a.b, a.x, 0), f(a.b, a.i, a.x), f(a.b, size=9)),
    "from_dlpack": lambda f, a: f(np.arange(3.0, dtype=np.float32)),
}  # fmt: skip
NOT_NUMPY = {
    "fromfile": "needs a file", "load": "needs a file", "save": "needs a file",
    "fromiter": "raises NotImplementedError everywhere", "array_repr": "formats text",
    "array_str": "formats text", "trim_zeros": "the shape depends on the values",
    "savez": "needs a file", "get_printoptions": "formats text", "set_printoptions": "formats text",
    "printoptions": "formats text",
}  # fmt: skip
# The engine drops digits that decide here: comparisons for equality, ranks among near values, and
# results that are tiny beside their operands.
NOT_IN_HALVES = {
    "spacing", "nextafter", "polydiv", "polyfit", "roots", "poly", "histogram", "histogram2d",
    "histogramdd", "isclose", "unwrap", "interp", "digitize", "frexp", "ldexp", "geomspace",
    "logspace", "corrcoef", "modf", "sinc", "piecewise",
}  # fmt: skip

LAX_CALLS: dict[str, Call] = {
    "log2": lambda f, a: f(a.p),
    "one_minus_square": lambda f, a: f(a.u),
    "polynomial": lambda f, a: f(a.u, (1.0, -0.5, 0.25)),
    **_alike("batch_matmul", lambda f, a: f(a.c, a.c.swapaxes(1, 2))),
    "argmax": lambda f, a: f(a.x, 1, jnp.int32),
    "argmin": lambda f, a: f(a.x, 0, jnp.uint8),
    "bitcast_convert_type": lambda f, a: f(a.x, jnp.int32),
    **_alike("bitwise_and bitwise_or bitwise_xor mulhi", lambda f, a: f(a.i, a.j)),
    "bitwise_not": lambda f, a: (f(a.i), f(a.b)),
    "broadcast": lambda f, a: f(a.x, (2, 3)),
    "broadcast_in_dim": lambda f, a: f(a.x, (5, 2, 6), (0, 2)),
    "broadcast_like": lambda f, a: f(a.x[0], a.x) if False else a.x,
    "broadcast_to_rank": lambda f, a: f(a.x, 4),
    "broadcasted_iota": lambda f, a: (f(jnp.int32, (3, 4), 1), f(jnp.float32, (3,), 0), f(jnp.uint8, (2, 2), 0)),
    "collapse": lambda f, a: f(a.c, 1, 3),
    "complex": lambda f, a: f(a.x, a.y),
    "composite": lambda f, a: f(lambda v: v * 2, "my.double")(a.x),
    "concatenate": lambda f, a: f([a.x, a.y], 1),
    **_alike("conj real imag", lambda f, a: f(a.z)),
    "convert_element_type": lambda f, a: (f(a.x, jnp.int8), f(a.i, bool)),
    "conv_with_general_padding": lambda f, a: f(a.c[:, None], a.c[:1, None, :2, :2], (1, 1), ((0, 1), (1, 0)), None, None),
    "dce_sink": lambda f, a: (f(a.x), a.x)[1],
    "empty": lambda f, a: f((0, 2), jnp.float32),
    "fft": lambda f, a: f(a.z, "fft", (6,)),
    "full": lambda f, a: f((2, 3), 7.0),
    "full_like": lambda f, a: f(a.x, 2.0, shape=(3,)),
    "igamma_grad_a": lambda f, a: f(a.p, a.u),
    "index_in_dim": lambda f, a: f(a.x, 2, 0),
    "index_take": lambda f, a: f(a.x, (jnp.array([1, 3]),), (0,)),
    "iota": lambda f, a: (f(jnp.int32, 5), f(jnp.bfloat16, 3)),
    "pad": lambda f, a: f(a.x, 1.5, ((1, 2, 1), (-1, 0, 2))),
    "ragged_dot_general": lambda f, a: f(a.m, jnp.stack([a.s, a.m]), jnp.array([1, 3]),
        lax.RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), [0], [0])),
    **_alike("reduce_and reduce_or", lambda f, a: (f(a.b, (1,)), f(a.i, (0,)))),
    "reduce_xor": lambda f, a: f(a.i, (1,)),
    **_alike("reduce_max reduce_min reduce_sum reduce_prod", lambda f, a: f(a.x, (1,))),
    "reshape": lambda f, a: (f(a.x, (6, 5)), f(a.x, (30,), (1, 0))),
    "rev": lambda f, a: f(a.x, (0, 1)),
    "rng_bit_generator": lambda f, a: [f(jnp.arange(4, dtype=jnp.uint32), (3,), algorithm=g) for g in (
        lax.RandomAlgorithm.RNG_PHILOX, lax.RandomAlgorithm.RNG_THREE_FRY, lax.RandomAlgorithm.RNG_DEFAULT)],
    "rng_uniform": lambda f, a: (lambda v: ((v >= 0) & (v < 1)).all())(f(jnp.float32(0), jnp.float32(1), (4,))),
    "scaled_dot": lambda f, a: f(a.m[None], a.s[None]) if False else a.m,
    "shape_as_value": lambda f, a: f((2, 3)),
    "split": lambda f, a: f(a.x, (2, 4), 1),
    "squeeze": lambda f, a: f(a.x[None, :, None], (0, 2)),
    "stack": lambda f, a: f([a.x, a.y]),
    "unstack": lambda f, a: f(a.x),
    "stop_gradient": lambda f, a: f(a.x),
    "tile": lambda f, a: f(a.x, (2, 1)),
    "transpose": lambda f, a: f(a.c, (2, 0, 1)),
    "dtype": lambda f, a: jnp.zeros((), f(a.x)),
    "after_all": lambda f, a: (f(lax.create_token()), a.x)[1],
    "create_token": lambda f, a: (f(), a.x)[1],
    "pbroadcast": lambda f, a: a.x,
    "copy_p": lambda f, a: a.x,
}  # fmt: skip
# Covered by other families, under their own names.
ELSEWHERE = set(
    "DotDimensionNumbers PrecisionLike ConvGeneralDilatedDimensionNumbers all_gather all_to_all "
    "approx_max_k approx_min_k associative_scan axis_index cond conv conv_general_dilated "
    "conv_general_dilated_local conv_general_dilated_patches conv_transpose cumlogsumexp cummax "
    "cummin cumprod cumsum custom_linear_solve custom_root dot dot_general dynamic_index_in_dim "
    "dynamic_slice dynamic_slice_in_dim dynamic_update_index_in_dim dynamic_update_slice "
    "dynamic_update_slice_in_dim expand_dims fori_loop gather map optimization_barrier "
    "platform_dependent pmax pmean pmin ppermute psum psum_scatter ragged_dot random_gamma_grad "
    "reduce reduce_precision reduce_window scan scatter scatter_add scatter_apply scatter_max "
    "scatter_min scatter_mul scatter_sub select select_n shift_left shift_right_arithmetic "
    "shift_right_logical slice slice_in_dim sort sort_key_val switch top_k while_loop "
    "with_sharding_constraint population_count clz betainc is_finite".split()
)
NOT_LAX = {
    **dict.fromkeys(("broadcast_shapes", "conv_dimension_numbers", "conv_general_permutations",
                     "conv_general_shape_tuple", "conv_shape_tuple", "conv_transpose_shape_tuple",
                     "padtype_to_pads", "reduce_window_shape_tuple"), "computes shapes only"),
    **dict.fromkeys(("axis_size", "pcast", "pshuffle", "pswapaxes", "precv", "psend",
                     "psum_scatter_start",
                     "ragged_all_to_all"), "between devices: other suites have it"),
    "stage": "for tracing only",
}  # fmt: skip

SPECIAL_CALLS: dict[str, Call] = {
    **_alike("bessel_jn", lambda f, a: f(a.v, v=3)),
    **_alike("beta betaln rel_entr kl_div xlogy xlog1py gammainc gammaincc", lambda f, a: f(a.p, a.u)),
    **_alike("boxcox boxcox1p", lambda f, a: f(a.p, a.u)),
    "betainc": lambda f, a: f(a.p, a.p, a.u),
    "bernoulli": lambda f, a: f(8),
    **_alike("comb", lambda f, a: f(a.j, 2)),
    "factorial": lambda f, a: f(a.j),
    **_alike("dawsn digamma erf erfc erfcx expi expit fresnel gamma gammaln gammasgn i0 i0e i1 i1e "
             "log_ndtr ndtr sici loggamma", lambda f, a: f(a.x)),
    **_alike("entr exp1 spence", lambda f, a: f(a.p)),
    "expn": lambda f, a: f(a.j, a.p),
    **_alike("erfinv erfcinv logit ndtri", lambda f, a: f(a.u)),
    "hyp1f1": lambda f, a: f(1.5, 2.5, a.u),
    "hyp2f1": lambda f, a: f(1.5, 0.5, 2.5, a.u / 2),
    **_alike("log_softmax softmax logsumexp", lambda f, a: f(a.x, axis=1)),
    "multigammaln": lambda f, a: f(a.p + 3, 2),
    "owens_t": lambda f, a: f(a.x, a.u),
    "poch": lambda f, a: f(a.p, a.u),
    "polygamma": lambda f, a: f(1, a.p),
    "sph_harm_y": lambda f, a: f(jnp.array([2]), jnp.array([1]), a.u[0, :1], a.u[1, :1], n_max=3),
    "wofz": lambda f, a: f(a.z),
    "zeta": lambda f, a: f(a.p + 1.5, a.u),
}  # fmt: skip
LINALG_CALLS: dict[str, Call] = {
    **_alike("circulant companion fiedler_companion", lambda f, a: f(a.v)),
    "fiedler": lambda f, a: f(a.v),
    "convolution_matrix": lambda f, a: f(a.v, 4),
    **_alike("dft hadamard hilbert invhilbert pascal invpascal", lambda f, a: f(4)),
    "helmert": lambda f, a: f(4),
    "hankel": lambda f, a: f(a.v, a.v),
    "leslie": lambda f, a: f(a.v, a.v[1:]),
    "expm_frechet": lambda f, a: f(a.m / 4, a.s / 8),
    "qr_multiply": lambda f, a: f(a.m, a.s),
    "solve_triangular": lambda f, a: [f(a.s, a.m, trans=t, lower=w) for t in (0, 1) for w in (0, 1)],
    **_alike("cho_factor cholesky det inv svd schur hessenberg lu lu_factor polar sqrtm",
             lambda f, a: f(a.s)),
}  # fmt: skip
STATS_ARGS: dict[str, tuple[str, tuple[Any, ...]]] = {
    # distribution -> argument of the first parameter, the others
    "bernoulli": ("b", (0.3,)), "beta": ("u", (2.0, 3.0)), "betabinom": ("j", (9, 2.0, 3.0)),
    "binom": ("j", (9, 0.3)), "cauchy": ("x", ()), "chi2": ("p", (3.0,)), "expon": ("p", ()),
    "gamma": ("p", (2.0,)), "gennorm": ("x", (1.5,)), "geom": ("j", (0.3,)), "gumbel_l": ("x", ()),
    "gumbel_r": ("x", ()), "laplace": ("x", ()), "logistic": ("x", ()), "nbinom": ("j", (5, 0.4)),
    "norm": ("x", ()), "pareto": ("p", (2.0,)), "poisson": ("j", (3.0,)), "t": ("x", (3.0,)),
    "truncnorm": ("u", (-1.0, 2.0)), "uniform": ("u", ()), "vonmises": ("x", (1.5,)),
    "wrapcauchy": ("x", (0.5,)),
}  # fmt: skip


def _public(module: Any) -> list[str]:
    return [
        n
        for n in dir(module)
        if not n.startswith("_")
        and callable(getattr(module, n))
        and not inspect.isclass(getattr(module, n))
    ]


def _add(
    family: Family, module: Any, calls: dict[str, Call], prefix: str = "", **options: Any
) -> None:
    for name, call in calls.items():
        fn = getattr(module, name, None)
        if fn is None:
            family.lacks(f"{module.__name__}.{name}")
            continue
        more = {"modes": EXACT} if name in NOT_IN_HALVES else {}
        family.add(
            prefix + name,
            lambda a, f=fn, c=call: c(f, Args(*a)),
            tuple(ARGS),
            **{**options, **more},
        )


_add(NUMPY, jnp, NUMPY_CALLS)
_add(LAX, lax, LAX_CALLS)
special, linalg, stats = (
    importlib.import_module(f"jax.scipy.{n}") for n in ("special", "linalg", "stats")
)
_add(SCIPY, special, SPECIAL_CALLS, "special.")
_add(SCIPY, linalg, LINALG_CALLS, "linalg.")
for distribution, (first, others) in STATS_ARGS.items():
    for name in _public(getattr(stats, distribution)):
        source = "u" if name in ("ppf", "isf") else first
        fn = getattr(getattr(stats, distribution), name)
        SCIPY.add(
            f"stats.{distribution}.{name}",
            lambda a, f=fn, s=source, o=others, n=name: (
                f(*o) if n == "entropy" else f(getattr(Args(*a), s), *o)),
            tuple(ARGS),
        )  # fmt: skip
_MORE: dict[str, Callable[[Args], Any]] = {
    "stats.dirichlet": lambda a: (stats.dirichlet.pdf(a.u[:3, 0] / a.u[:3, 0].sum(), a.p[:3, 0]),
        stats.dirichlet.logpdf(a.u[:3, 0] / a.u[:3, 0].sum(), a.p[:3, 0])),
    "stats.multinomial": lambda a: (stats.multinomial.pmf(jnp.array([1, 2, 3]), 6, jnp.array(
        [0.2, 0.3, 0.5])), stats.multinomial.logpmf(jnp.array([1, 2, 3]), 6, jnp.array([0.2, 0.3, 0.5]))),
    "stats.multivariate_normal": lambda a: (stats.multivariate_normal.pdf(a.m, a.v[:4], a.s),
        stats.multivariate_normal.logpdf(a.m, a.v[:4], a.s)),
    "stats.mode": lambda a: stats.mode(a.j),
    "stats.rankdata": lambda a: [stats.rankdata(a.j, method=m) for m in ("average", "min", "max", "dense", "ordinal")],
    "stats.sem": lambda a: stats.sem(a.x),
    "stats.kde": lambda a: jax.scipy.stats.gaussian_kde(a.v).evaluate(a.x[0]),
    "ndimage.map_coordinates": lambda a: [jax.scipy.ndimage.map_coordinates(a.x, [a.p, a.p], o, mode=m)
        for o in (0, 1) for m in ("constant", "nearest", "wrap", "mirror", "reflect")],
    "integrate.trapezoid": lambda a: jax.scipy.integrate.trapezoid(a.x),
    "vq": lambda a: jax.scipy.cluster.vq.vq(a.x, a.y[:3]),
    "minimize": lambda a: jax.scipy.optimize.minimize(
        lambda v: ((v - 1.0) ** 2).sum(), a.v[:3], method="BFGS").x,
    "interpolate": lambda a: jax.scipy.interpolate.RegularGridInterpolator(
        (jnp.arange(5.0), jnp.arange(6.0)), a.x)(a.p[:, :2]),
    "rotation": lambda a: jax.scipy.spatial.transform.Rotation.from_rotvec(a.x[0, :3]).as_matrix(),
    "rotation_quaternion": lambda a: jax.scipy.spatial.transform.Rotation.from_euler(
        "xyz", a.x[0, :3]).as_quat(),
    "signal.csd": lambda a: jax.scipy.signal.csd(a.x.ravel(), a.y.ravel(), nperseg=8),
    "signal.correlate2d": lambda a: jax.scipy.signal.correlate2d(a.x, a.m),
    "image.resize": lambda a: [jax.image.resize(a.x, (8, 9), m) for m in (
        "nearest", "linear", "cubic", "lanczos3", "lanczos5")],
    "image.shrink": lambda a: jax.image.resize(a.x, (3, 4), "linear", antialias=True),
    "image.scale_and_translate": lambda a: jax.image.scale_and_translate(
        a.x, (5, 6), (0, 1), jnp.array([1.5, 0.5]), jnp.array([0.5, -1.0]), "linear"),
    "flatten_util": lambda a: jax.flatten_util.ravel_pytree({"a": a.x, "b": a.i})[0],
}  # fmt: skip
for _module in (
    "ndimage",
    "integrate",
    "cluster.vq",
    "optimize",
    "interpolate",
    "spatial.transform",
    "signal",
):
    importlib.import_module(f"jax.scipy.{_module}")
importlib.import_module("jax.image")
importlib.import_module("jax.flatten_util")
for name, call in _MORE.items():
    SCIPY.add(name, lambda a, c=call: c(Args(*a)), tuple(ARGS))


def unlisted() -> list[str]:
    """Returns the public functions of jax.numpy and jax.lax that the suite does not call."""
    found = [f"jax.numpy.{n}" for n in _public(jnp) if n not in NUMPY_CALLS and n not in NOT_NUMPY]
    from . import elementwise

    known = {*LAX_CALLS, *ELSEWHERE, *NOT_LAX, *elementwise.SMOOTH, *elementwise.STEPS}
    found += [f"jax.lax.{n}" for n in _public(lax) if n not in known]
    found += [f"jax.scipy.special.{n}" for n in _public(special) if n not in SPECIAL_CALLS]
    return found
