# SPDX-License-Identifier: Apache-2.0
"""Everything that may lie between matrix products, and how values cross cluster borders."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from parity_tools import check_exact, check_parity, normal, run

import jax_ane

A, B = normal(16, 24, scale=0.4), normal(24, 16, seed=1, scale=0.4)

ELEMENTWISE = {
    "add": lambda h, b: h + b,
    "subtract": lambda h, b: h - b,
    "multiply": lambda h, b: h * b,
    "divide": lambda h, b: h / (jnp.abs(b) + 1),
    "negate": lambda h, b: -h,
    "abs": lambda h, b: jnp.abs(h),
    "sign_and_magnitude": lambda h, b: jnp.sign(h) * (1 + jnp.abs(h)),
    "maximum": lambda h, b: jnp.maximum(h, b),
    "minimum": lambda h, b: jnp.minimum(h, 0.25),
    "clamp": lambda h, b: lax.clamp(-0.5, h, 0.5),
    "clamp_by_arrays": lambda h, b: lax.clamp(-jnp.abs(b), h, jnp.abs(b)),
    "clamp_by_run_time_scalar": lambda h, b: lax.clamp(-jnp.abs(b[0, 0]), h, jnp.abs(b[0, 1])),
    "expm1": lambda h, b: jnp.expm1(h),
    "expm1_of_small": lambda h, b: 3 * jnp.expm1(0.1 * h),
    "divide_by_more_than_fp16_holds": lambda h, b: (h * 500) / 1e5 * 200,
    "floor_of_steps": lambda h, b: h + 0.5 * jnp.floor(h),
    "exp": lambda h, b: jnp.exp(h),
    "exp_of_negative": lambda h, b: jnp.exp(-jnp.abs(h)),
    "tanh": lambda h, b: jnp.tanh(h),
    "logistic": lambda h, b: jax.nn.sigmoid(h),
    "sqrt": lambda h, b: jnp.sqrt(jnp.abs(h) + 0.5),
    "rsqrt": lambda h, b: lax.rsqrt(jnp.abs(h) + 0.5),
    "erf": lambda h, b: lax.erf(h),
    "erfc": lambda h, b: lax.erfc(3 * h),
    "select": lambda h, b: jnp.where(b > 0, h, -h),
    "select_by_scalar": lambda h, b: lax.select(b[0, 0] > 0, h, -h),
    "compare_chain": lambda h, b: jnp.where((b > 0) & (b < 1), h, 0.5),
    "mask_or": lambda h, b: jnp.where((b > 1) | (b < -1), h, 0.5),
    "mask_xor": lambda h, b: jnp.where((b > 0) ^ (b < 0.5), h, 0.5),
    "mask_not": lambda h, b: jnp.where(~(b > 0), h, 0.5),
    "mask_to_number": lambda h, b: h * (b > 0).astype(jnp.float32),
    "mask_of_masks": lambda h, b: jnp.where((b > 0) == (b > 0.5), h, 2.0),
    "mask_select": lambda h, b: jnp.where(jnp.where(b > 0, b > 1, b < -1), h, 2.0),
    "square": lambda h, b: h**2,
    "integer_power": lambda h, b: h**3,
    "reciprocal_square": lambda h, b: (jnp.abs(h) + 1) ** -2,
    "power_of_half": lambda h, b: (jnp.abs(h) + 0.5) ** 0.5,
    "power_of_minus_half": lambda h, b: (jnp.abs(h) + 0.5) ** -0.5,
    "power_by_a_fraction": lambda h, b: (jnp.abs(h) + 0.5) ** 1.3,
    "power_by_an_array": lambda h, b: (jnp.abs(h) + 0.5) ** b,
    "remainder": lambda h, b: h + lax.rem(b, 0.75),
    "modulo": lambda h, b: h + jnp.mod(b, 0.75),
    "round": lambda h, b: h + jnp.round(4 * b) / 4,
    "round_away": lambda h, b: h + lax.round(4 * b) / 4,
    "cube_root": lambda h, b: jnp.cbrt(jnp.abs(h) + 0.5),
    "sine": lambda h, b: jnp.sin(h),
    "cosine": lambda h, b: jnp.cos(3 * h),
    "tangent": lambda h, b: jnp.tan(jnp.tanh(h)),
    "arctangent": lambda h, b: jnp.arctan(h),
    "angle": lambda h, b: jnp.arctan2(h, jnp.where(b > 0, b + 0.5, b - 0.5)),
    "arcsine": lambda h, b: jnp.arcsin(0.9 * jnp.tanh(h)),
    "arccosine": lambda h, b: jnp.arccos(0.9 * jnp.tanh(h)),
    "hyperbolic_sine": lambda h, b: jnp.sinh(jnp.tanh(h)),
    "hyperbolic_cosine": lambda h, b: jnp.cosh(jnp.tanh(h)),
    "arcsinh": lambda h, b: jnp.arcsinh(h),
    "arctanh": lambda h, b: jnp.arctanh(0.5 * jnp.tanh(h)),
    "erf_inv": lambda h, b: lax.erf_inv(0.5 * jnp.tanh(h)),
    "digits_of_fp16": lambda h, b: lax.reduce_precision(h, 5, 10),
    "digits_of_bf16": lambda h, b: h + lax.reduce_precision(b, 8, 7),
    "dropout": lambda h, b: jnp.where(b > 0, h / 0.8, 0.0),
}
MOVEMENT = {
    "reshape": lambda h, b: h.reshape(8, 2, 16).reshape(16, 16),
    "reshape_ones": lambda h, b: h.reshape(1, 16, 1, 16)[0, :, 0],
    "transpose": lambda h, b: h.T,
    "transpose_blocks": lambda h, b: h.reshape(4, 4, 2, 8).transpose(2, 0, 3, 1).reshape(16, 16),
    "slice": lambda h, b: jnp.concatenate([h[4:], h[:4]]),
    "slice_strided": lambda h, b: jnp.concatenate([h[::2], h[1::2]]),
    "slice_columns": lambda h, b: jnp.concatenate([h[:, 1::3], h[:, ::3], h[:, 2::3]], 1),
    "reverse": lambda h, b: h[::-1, ::-1],
    "pad": lambda h, b: jnp.pad(h[2:-1, 1:], ((1, 2), (0, 1))),
    "pad_interior": lambda h, b: lax.pad(h[:8, :4], 0.0, ((0, 1, 1), (1, 2, 3))),
    "pad_negative": lambda h, b: lax.pad(h, 0.0, ((-2, 2, 0), (3, -3, 0))),
    "pad_with_a_number": lambda h, b: jnp.pad(h[2:-1, 1:], ((1, 2), (0, 1)), constant_values=0.5),
    "pad_interior_with_a_number": lambda h, b: lax.pad(h[:8, :4], 2.0, ((0, 1, 1), (1, 2, 3))),
    "pad_with_infinity": lambda h, b: jnp.maximum(
        lax.pad(h[1:], -jnp.inf, ((1, 0, 0), (0, 0, 0))), b
    ),
    "move_masks": lambda h, b: jnp.where(
        jnp.concatenate([(b > 0).T[:8], (b < 0.5)[::-1][:8]]), h, 0.5
    ),
    "pad_mask": lambda h, b: jnp.where(lax.pad(b[1:] > 0, True, ((1, 0, 0), (0, 0, 0))), h, 0.5),
    "dynamic_slice_from_the_middle": lambda h, b: jnp.tile(
        lax.dynamic_slice(h, (np.int32(3), np.int32(12)), (8, 8)), (2, 2)
    ),
    "dynamic_update_slice": lambda h, b: lax.dynamic_update_slice(
        h, b[:5, :4], (np.int32(2), np.int32(14))
    ),
    "six_axes": lambda h, b: (
        (h.reshape(2, 2, 2, 2, 4, 4) * 2.0).transpose(2, 3, 0, 1, 4, 5).reshape(16, 16)
    ),
    "six_axes_repeated": lambda h, b: jnp.broadcast_to(
        h[:4, :4].reshape(2, 1, 2, 2, 1, 2), (2, 4, 2, 2, 4, 2)
    ).reshape(16, 16),
    "six_axes_reduced": lambda h, b: (
        h - jnp.tile(h.reshape(2, 4, 2, 2, 4, 2).mean((1, 4)).reshape(4, 4), (4, 4))
    ),
    "six_axes_sliced": lambda h, b: jnp.tile(
        h.reshape(2, 2, 4, 2, 2, 4)[:, 1:, :, :, :, ::2].reshape(4, 16), (4, 1)
    ),
    "six_axes_reversed": lambda h, b: lax.rev(h.reshape(2, 2, 4, 2, 2, 4), (1, 2, 5)).reshape(
        16, 16
    ),
    "six_axes_joined": lambda h, b: jnp.concatenate(
        [h.reshape(2, 2, 4, 2, 2, 4)[:, :, :1], b.reshape(2, 2, 4, 2, 2, 4)[:, :, 1:]], 2
    ).reshape(16, 16),
    "six_axes_multiplied": lambda h, b: jnp.einsum(
        "abcdef,cfg->abdeg", h.reshape(2, 2, 4, 2, 2, 4), b.reshape(4, 4, 16)
    ).reshape(16, 16),
    "concatenate": lambda h, b: jnp.concatenate([h[:, :8], b[:, 8:]], 1),
    "broadcast_rows": lambda h, b: h * b[0],
    "broadcast_columns": lambda h, b: h * b[:, :1],
    "broadcast_inside": lambda h, b: jnp.broadcast_to(h[:, None, :4], (16, 4, 4)).reshape(16, 16),
    "stack": lambda h, b: jnp.stack([h[:8], h[8:]], 1).reshape(16, 16),
    "roll": lambda h, b: jnp.roll(h, 3, 1),
    "triangle": lambda h, b: jnp.tril(h),
    "repeat": lambda h, b: jnp.repeat(h[:, :8], 2, 1),
    "halves": lambda h, b: h.astype(jnp.float16).astype(jnp.float32),
}
REDUCTION = {
    "sum_rows": lambda h, b: h / (1 + jnp.abs(h).sum(1, keepdims=True)),
    "sum_all": lambda h, b: h / (1 + jnp.abs(h).sum() / 256),
    "mean_columns": lambda h, b: h - h.mean(0),
    "max_rows": lambda h, b: h - h.max(1, keepdims=True),
    "min_columns": lambda h, b: h - h.min(0),
    "variance": lambda h, b: h - h.var(1, keepdims=True),
    "sum_two_axes": lambda h, b: h * (1 + h.reshape(4, 4, 4, 4).mean((1, 3)).sum()),
    "window_sum": lambda h, b: lax.reduce_window(h, 0.0, lax.add, (2, 3), (1, 1), "SAME") / 6,
    "window_max": lambda h, b: jnp.tile(
        lax.reduce_window(h, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID"), (2, 2)),
    "window_max_padded": lambda h, b: lax.reduce_window(
        h, -jnp.inf, lax.max, (3, 3), (1, 1), "SAME"),
    "window_sum_dilated": lambda h, b: lax.reduce_window(
        h, 0.0, lax.add, (2, 2), (1, 1), ((1, 1), (1, 1)), window_dilation=(2, 2)) / 4,
    "window_sum_base_dilated": lambda h, b: lax.reduce_window(
        h[:8, :8], 0.0, lax.add, (2, 2), (1, 1), ((1, 1), (1, 1)), base_dilation=(2, 2)),
    "softmax": lambda h, b: jax.nn.softmax(h),
    "log_softmax": lambda h, b: jax.nn.log_softmax(h),
    "product": lambda h, b: h * (1 + 0.01 * jnp.prod(h[:, :2])),
    "cumulative_product": lambda h, b: jnp.cumprod(1 + 0.1 * h, 1),
    "cumulative_maximum": lambda h, b: lax.cummax(h, 0),
    "cumulative": lambda h, b: jnp.cumsum(h, 1) / 4,
    "long_mean": lambda h, b: h - jnp.broadcast_to(h * 9, (300, 16, 16)).mean((0, 1, 2)),
    "all": lambda h, b: jnp.where((h > -1).all(1, keepdims=True), h, h * 2),
    "any": lambda h, b: jnp.where((h > 9).any(), h, h * 2),
    "argmax": lambda h, b: h + jnp.argmax(b, 1)[:, None] * 0.1,
    "sort": lambda h, b: jnp.sort(h, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", [*ELEMENTWISE, *MOVEMENT, *REDUCTION])
def test_between_products(name):
    middle = {**ELEMENTWISE, **MOVEMENT, **REDUCTION}[name]
    check_parity(lambda a, b, c: middle(a @ b, c) @ b.T, A, B, normal(16, 16, seed=2))


@pytest.mark.parametrize("name", [*ELEMENTWISE, *MOVEMENT, *REDUCTION])
def test_between_products_gradient(name):
    if name in ("floor_of_steps",):
        pytest.skip("the slope of a step is 0: covered by its value")
    middle = {**ELEMENTWISE, **MOVEMENT, **REDUCTION}[name]
    check_parity(
        jax.grad(lambda a, b, c: ((middle(a @ b, c) @ b.T) ** 2).mean() * 16, argnums=(0, 1)),
        A, B, normal(16, 16, seed=2), tolerance=1.5e-2, placements=("auto",),
    )  # fmt: skip


def test_mask_leaves_and_enters_clusters():
    """A mask made in one cluster is returned, used on the host and read by a second cluster."""

    def fn(a, b):
        h = a @ b
        mask = h > 3.0 * jnp.sign(b[0, 0])
        order = jnp.sort(jnp.where(mask, h, 0.0), axis=1)
        return jnp.where(mask, order, 0.25) @ b.T, mask

    check_parity(fn, A * 4, B)


def test_ops_on_constants_alone():
    """An op on rank-0 constants keeps the rank of its type inside the program."""

    def fn(a, b):
        one = lax.full((16, 16), 1.0)
        values = [jnp.exp(one), -one, lax.convert_element_type(one, jnp.float16), one + one,
                  lax.clamp(0.0, one, 2.0), jnp.where(one > 0.5, one, 2.0), lax.rsqrt(one),
                  lax.erf(one), jnp.tanh(one)]  # fmt: skip
        return (a @ b + sum(v.astype(jnp.float32) for v in values)) @ b.T, *values

    check_parity(fn, A, B)


def test_mask_argument_and_mask_result():
    mask = normal(16, 16, seed=5) > 0
    check_parity(lambda a, b, m: (jnp.where(m, a @ b, 1.0) @ b.T, m, ~m), A, B, mask)


def test_value_used_by_host_and_cluster():
    def fn(a, b):
        h = jnp.tanh(a @ b)
        return h @ b.T, jnp.sort(h, axis=0), (h**2).sum()

    check_parity(fn, A, B)


def test_same_value_returned_twice_and_inputs_returned():
    def fn(a, b):
        h = a @ b
        return h, h, a, b, a, h.T, h.reshape(-1)

    check_parity(fn, A, B)
    out = run(fn, (A, B), "ane")
    assert out[2].tobytes() == A.tobytes()
    assert out[3].tobytes() == B.tobytes()


def test_same_argument_on_both_sides():
    check_parity(lambda a: a @ a.T, A)
    check_parity(lambda a: (a @ a.T) @ (a @ a.T), A)


def test_two_products_of_one_input_and_their_sum():
    check_parity(lambda a, b, c: a @ b + a @ c, A, B, normal(24, 16, seed=4, scale=0.4))


def test_unused_and_constant_results():
    check_parity(lambda a, b: (a @ b, jnp.float32(3), jnp.zeros((2, 3)), jnp.arange(4)), A, B)


def test_constant_operands():
    table = normal(16, 16, seed=9, scale=0.3)
    check_parity(lambda a, b: (a @ b) @ table + table[0], A, B)


def test_product_of_constants_only():
    check_parity(lambda a: a + jnp.asarray(A) @ jnp.asarray(B), normal(16, 16), tolerance=1e-3)


@pytest.mark.parametrize("rank", range(9))
def test_elementwise_of_every_rank(rank):
    """Data of rank 6 and more stays on the host; a rank-0 value may enter a cluster."""
    shape = (2,) * rank
    x = normal(*shape)

    def fn(a, b, x):
        h = (a @ b).sum() / 16
        return jnp.tanh(x * h) + 1, (a @ b) * x.sum()

    check_parity(fn, A, B, x)


@pytest.mark.parametrize("rank", range(2, 8))
def test_product_of_every_rank(rank):
    """Rank 8 is left out: there jaxlib 0.10.2's own CPU client aborts the process."""
    lead = (2,) * (rank - 2)
    fn = lambda a, b: jnp.tanh(a @ b) @ jnp.swapaxes(b, -1, -2)  # noqa: E731
    args = normal(*lead, 3, 8), normal(*lead, 8, 4, seed=1)
    check_parity(fn, *args)


def test_empty_arrays_beside_products():
    empty = np.zeros((0, 16), np.float32)
    check_parity(lambda a, b, e: (jnp.concatenate([a @ b, e]) @ b.T, e, e.sum()), A, B, empty)


def test_wide_integers_and_halves_beside_products():
    ints = np.arange(16, dtype=np.int32) * 100_003
    check_parity(lambda a, b, i: ((a @ b) * (i % 7), i * 3, i.astype(jnp.bfloat16)), A, B, ints)


def test_scalar_results():
    check_parity(lambda a, b: (a[0] @ b[:, 0], (a @ b)[3, 4], (a @ b).max()), A * 2, B)


def test_nan_input_to_host_part_stays_nan():
    """A NaN on the host's side must not be touched by the cluster beside it."""
    x = normal(16, 16, seed=6)
    x[2, 3] = np.nan
    want, got = (run(lambda a, b, x: (a @ b, x * 2), (A, B, x), d) for d in ("cpu", "ane"))
    assert got[1].tobytes() == want[1].tobytes()


def test_small_products_are_dropped_as_documented():
    """numerics.md section 1: a product below 2^-16 is worth 0, on every chip."""
    tiny = np.full((4, 4), 2.0**-9, np.float32)
    with jax_ane.config(numerics="exact"):
        assert not run(lambda a, b: a @ b, (tiny, tiny), "ane")[0].any()
    with jax_ane.config(numerics="fast"):
        assert run(lambda a, b: a @ b, (tiny, tiny), "ane")[0].all()


def test_complementary_error_function_on_the_host_has_the_bits_of_cpu():
    """Newer jax hands it over whole; the compiler spells it out as XLA does."""
    values = np.concatenate([np.linspace(-12, 12, 20001), [0, -0.0, np.inf, -np.inf, 1e-30]])
    check_exact(lax.erfc, values.astype(np.float32), placements=("auto", "host"))
