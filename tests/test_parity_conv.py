# SPDX-License-Identifier: Apache-2.0
"""Convolutions in all forms that models and their gradients make: `ane` against `cpu`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from parity_tools import check_exact, check_parity, normal

import jax_ane

# name: (lhs shape, rhs shape, options of conv_general_dilated)
FORMS = {
    "nhwc": ((2, 9, 8, 3), (3, 3, 3, 5), {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}),
    "nchw": ((2, 3, 9, 8), (5, 3, 3, 3), {}),
    "nchw_large": ((2, 3, 12, 12), (5, 3, 3, 3), {}),
    "chwn": ((3, 9, 8, 2), (3, 3, 3, 5), {"dimension_numbers": ("CHWN", "IHWO", "CHWN")}),
    "hwcn_to_nchw": ((9, 8, 3, 2), (5, 3, 3, 3), {"dimension_numbers": ("HWCN", "OIHW", "NCHW")}),
    "nhwc_to_nchw": ((2, 9, 8, 3), (3, 5, 3, 3), {"dimension_numbers": ("NHWC", "IOHW", "NCHW")}),
    "wnhc": ((8, 2, 9, 3), (3, 5, 3, 3), {"dimension_numbers": ("WNHC", "HOWI", "HNCW")}),
    "one_by_one": ((2, 16, 6, 6), (8, 16, 1, 1), {}),
    "whole_window": ((2, 3, 6, 6), (4, 3, 6, 6), {"padding": "VALID"}),
    "strided": ((2, 3, 9, 8), (5, 3, 3, 3), {"strides": (2, 3)}),
    "strided_valid": ((2, 3, 11, 10), (5, 3, 3, 2), {"strides": (2, 2), "padding": "VALID"}),
    "rhs_dilated": ((2, 3, 11, 10), (5, 3, 3, 3), {"rhs_dilation": (2, 3)}),
    "lhs_dilated": ((2, 3, 5, 4), (5, 3, 3, 3), {"lhs_dilation": (2, 3)}),
    "both_dilated": (
        (2, 3, 6, 5), (5, 3, 2, 3),
        {"lhs_dilation": (3, 2), "rhs_dilation": (2, 2), "strides": (2, 1)}),
    "padded_unevenly": ((2, 3, 6, 5), (5, 3, 3, 3), {"padding": ((0, 3), (2, 1))}),
    "padded_negatively": ((2, 3, 9, 8), (5, 3, 3, 3), {"padding": ((-1, 2), (-2, -1))}),
    "negative_pad_dilated": (
        (2, 3, 6, 5), (5, 3, 3, 3), {"padding": ((-2, 1), (1, -3)), "lhs_dilation": (2, 2)}),
    "padded_beyond_window": ((1, 2, 3, 3), (2, 2, 2, 2), {"padding": ((5, 5), (4, 6))}),
    "grouped": ((2, 6, 8, 7), (8, 3, 3, 3), {"feature_group_count": 2}),
    "grouped_nhwc": (
        (2, 8, 7, 6), (3, 3, 2, 9),
        {"feature_group_count": 3, "dimension_numbers": ("NHWC", "HWIO", "NHWC")}),
    "depthwise": ((2, 6, 8, 7), (6, 1, 3, 3), {"feature_group_count": 6}),
    "depthwise_wide": (
        (2, 9, 8, 40), (5, 7, 1, 40),
        {"feature_group_count": 40, "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
         "strides": (2, 1), "rhs_dilation": (1, 2)}),
    "depthwise_line": ((2, 6, 12), (6, 1, 4), {"feature_group_count": 6}),
    "depthwise_volume": ((1, 6, 4, 5, 3), (6, 1, 2, 3, 2), {"feature_group_count": 6}),
    "depthwise_multiplied": ((2, 4, 8, 7), (8, 1, 3, 3), {"feature_group_count": 4}),
    "batch_grouped": ((4, 3, 8, 7), (6, 3, 3, 3), {"batch_group_count": 2}),
    "batch_grouped_whole": ((4, 3, 6, 6), (8, 3, 5, 5), {"batch_group_count": 4,
                                                        "padding": "VALID"}),
    "grouped_large_window": ((2, 6, 7, 7), (8, 3, 6, 6), {"feature_group_count": 2,
                                                         "padding": "VALID"}),
    "grouped_strided_dilated": (
        (2, 6, 9, 9), (4, 3, 3, 3),
        {"feature_group_count": 2, "strides": (2, 2), "rhs_dilation": (2, 1)}),
    "line": ((2, 3, 17), (5, 3, 4), {}),
    "line_strided": ((2, 17, 3), (4, 3, 5), {"dimension_numbers": ("NWC", "WIO", "NWC"),
                                            "strides": (3,)}),
    "volume": ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {}),
    "volume_channels_last": (
        (1, 5, 6, 4, 2), (2, 3, 2, 2, 3),
        {"dimension_numbers": ("NDHWC", "DHWIO", "NDHWC"), "strides": (1, 2, 2)}),
    "single_batch": ((1, 3, 8, 8), (4, 3, 3, 3), {}),
    "single_channel": ((3, 1, 8, 8), (1, 1, 3, 3), {}),
    "even_window": ((2, 3, 8, 8), (4, 3, 2, 4), {}),
}  # fmt: skip


def convolution(name):
    lhs, rhs, options = FORMS[name]
    options = dict(options)
    spatial = len(lhs) - 2
    strides = options.pop("strides", (1,) * spatial)
    padding = options.pop(
        "padding", "SAME" if "lhs_dilation" not in options else [(1, 1)] * spatial
    )
    fn = lambda x, w: lax.conv_general_dilated(x, w, strides, padding, **options)  # noqa: E731
    return fn, normal(*lhs), normal(*rhs, seed=1)


@pytest.mark.parametrize("name", FORMS)
def test_convolution(name):
    check_parity(*convolution(name))


@pytest.mark.parametrize("name", FORMS)
def test_convolution_gradients(name):
    """The input's gradient is dilated and reversed, the weights' has an image-sized window."""
    fn, x, w = convolution(name)
    check_parity(
        jax.grad(lambda x, w: (fn(x, w) ** 2).sum(), argnums=(0, 1)), x, w,
        tolerance=1e-2, placements=("auto",),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_convolution_second_gradients(name):
    fn, x, w = convolution(name)

    def slope(x, w):
        return (jax.grad(lambda x: (fn(x, w) ** 2).mean())(x) ** 2).sum() * 100

    check_parity(jax.grad(slope, argnums=1), x, w, tolerance=2e-2, placements=("auto",))


def test_depthwise_convolution_is_not_a_product_of_one_column():
    fn, x, w = convolution("depthwise_wide")
    explained = jax_ane.explain(fn, x, w)
    (program,) = explained.programs
    assert "matmul" not in program.text
    # 35 taps: as many products, one addition less.
    assert program.text.count(" mul(") == program.text.count(" add(") + 1 == 35


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv_transpose(padding, stride):
    check_parity(
        lambda x, w: lax.conv_transpose(x, w, (stride, stride), padding),
        normal(2, 5, 6, 3), normal(3, 3, 3, 4, seed=1),
    )  # fmt: skip


def test_convolution_of_halves():
    fn, x, w = convolution("nhwc")
    check_parity(fn, x.astype("float16"), w.astype("float16"))


@pytest.mark.parametrize("name", ["nhwc", "grouped"])
def test_convolution_highest_stays_on_host(name):
    lhs, rhs, options = FORMS[name]
    check_exact(
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", precision="highest", **options),
        normal(*lhs), normal(*rhs),
    )  # fmt: skip


def test_convolution_of_bfloat16_stays_on_host():
    fn, x, w = convolution("nchw")
    check_exact(fn, x.astype("bfloat16"), w.astype("bfloat16"))


def test_convolution_of_many_taps_stays_on_host():
    """A 20 x 20 window over 24 x 24 outputs would be 400 slices."""
    check_exact(
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME"),
        normal(1, 1, 24, 24), normal(1, 1, 20, 20),
    )  # fmt: skip


def test_convolution_whose_padding_crops_everything_stays_on_host():
    check_exact(
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), ((-9, 12), (1, 1))),
        normal(1, 2, 8, 8), normal(2, 2, 3, 3),
    )  # fmt: skip


def test_stack_with_biases_pools_and_strides():
    def fn(x, w1, b1, w2, w3):
        numbers = ("NHWC", "HWIO", "NHWC")
        h = lax.conv_general_dilated(x, w1, (1, 1), "SAME", dimension_numbers=numbers) + b1
        h = jax.nn.relu(h)
        h = lax.reduce_window(h, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
        h = lax.conv_general_dilated(h, w2, (2, 2), "SAME", dimension_numbers=numbers)
        return jax.nn.relu(h).reshape(h.shape[0], -1) @ w3

    # This seed keeps every relu's input away from 0: a mask that flips is a whole gradient wrong.
    args = (
        normal(2, 12, 12, 3, seed=10), normal(3, 3, 3, 8, seed=1, scale=0.3), normal(8, seed=2),
        normal(3, 3, 8, 8, seed=3, scale=0.2), normal(72, 5, seed=4, scale=0.2),
    )  # fmt: skip
    check_parity(fn, *args)
    check_parity(
        jax.grad(lambda *a: (fn(*a) ** 2).mean(), argnums=(1, 2, 3, 4)), *args, tolerance=2e-2
    )


POOLS = {
    "halving": ((2, 2), (2, 2), "VALID"),
    "overlapping": ((3, 3), (2, 2), "SAME"),
    "overlapping_by_one": ((3, 3), (1, 1), "SAME"),
    "gaps_between": ((2, 2), (3, 3), "VALID"),
    "uncovered_edge": ((2, 2), (2, 2), ((0, 0), (0, 0))),
    "one_axis": ((1, 4), (1, 3), ((0, 0), (2, 1))),
}


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("name", POOLS)
def test_max_pool_and_its_gradient(name, ties):
    """Of equal largest elements the first one takes the gradient, as on cpu."""
    size, strides, padding = POOLS[name]
    if not isinstance(padding, str):
        padding = ((0, 0), *padding, (0, 0))
    x, w = normal(2, 9, 8, 4), normal(4, 4, seed=1, scale=0.5)
    x = np.round(2 * x) if ties else x.astype(np.float16).astype(np.float32)

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, *size, 1), (1, *strides, 1), padding)

    def fn(x, w):
        return pool(x) @ w

    check_parity(fn, x, w)
    check_parity(jax.grad(lambda *a: (fn(*a) ** 2).mean() * 64, argnums=(0, 1)), x, w,
                 tolerance=1e-2)  # fmt: skip


@pytest.mark.parametrize("function", ["max", "min"])
def test_pool_of_negative_numbers_ignores_its_padding(function):
    init, reducer = {"max": (-jnp.inf, lax.max), "min": (jnp.inf, lax.min)}[function]
    sign = -1 if function == "max" else 1

    def fn(a, b):
        x = sign * jnp.abs(a @ b) - sign
        return lax.reduce_window(
            x, init, reducer, (2, 3), (2, 1), ((1, 0), (2, 2)), base_dilation=(1, 2)
        ) @ jnp.ones((33, 4))

    check_parity(fn, normal(16, 24, scale=0.4), normal(24, 16, seed=1, scale=0.4))


def test_average_pool_and_its_gradient():
    def fn(x, w):
        y = lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME") / 9
        return y @ w

    x, w = normal(2, 9, 8, 4), normal(4, 4, seed=1, scale=0.5)
    check_parity(fn, x, w)
    check_parity(jax.grad(lambda *a: (fn(*a) ** 2).mean() * 64, argnums=(0, 1)), x, w,
                 tolerance=1e-2)  # fmt: skip


def test_long_axes_are_padded_and_contracted_in_rows():
    """Neither a pad in front of long rows nor a long contraction needs a longer axis."""
    x = normal(4, 300, 256, scale=0.1)
    check_parity(lambda x, w: jnp.pad(x, ((0, 0), (1, 2), (0, 0))) @ w, x, normal(256, 4))
    x, y = normal(4, 12000, 8, scale=0.1), normal(4, 12000, 4, seed=1, scale=0.1)
    check_parity(lambda x, y: jnp.einsum("bki,bkj->ij", x, y), x, y)
