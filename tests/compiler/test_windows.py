# SPDX-License-Identifier: Apache-2.0
"""Cumulative ops, long windows and products: right, and in few steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import stablehlo_of
from jax import lax
from parity_tools import assert_close, check_parity, normal, run

import jax_ane
from jax_ane.compiler.lower.windows import LEAST_LONG, MAX_FACTORS, band

CUMULATIVE = {"cumsum": lax.cumsum, "cumprod": lax.cumprod, "cummax": lax.cummax,
              "cummin": lax.cummin}  # fmt: skip
INITIAL = {lax.add: 0.0, lax.max: -jnp.inf, lax.min: jnp.inf, lax.mul: 1.0}


def data(name: str, *shape: int) -> np.ndarray:
    if name == "cumprod":
        return near_one(*shape)
    return normal(*shape)


def near_one(*shape: int) -> np.ndarray:
    """Numbers that fp16 holds, whose product stays near 1: a product keeps its factors' errors."""
    x = 1 + normal(*shape, scale=0.5 / np.sqrt(max(shape)))
    return x.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("name", CUMULATIVE)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((40,), 0), ((5, 40), 1), ((40, 5), 0), ((3, 40, 5), 1), ((2, 7), 1), ((1, 1), 0)],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative_op(name, shape, axis, reverse):
    check_parity(lambda x: CUMULATIVE[name](x, axis, reverse), data(name, *shape),
                 placements=("ane",))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "length"),
    [("cumsum", 1024), ("cumsum", 1025), ("cumsum", 3000), ("cummax", 3000), ("cumprod", 128)],
)
def test_long_cumulative_op_in_few_steps(name, length):
    """Slice by slice this would be two ops an element."""
    x = data(name, 4, length) / (8 if name == "cumsum" else 1)
    fn = lambda x: CUMULATIVE[name](x, 1)  # noqa: E731
    with jax_ane.config(placement="ane"):
        (program,) = jax_ane.explain(fn, x).programs
    assert program.op_count <= 6 * np.log2(length)
    check_parity(fn, x, placements=("ane",))


@pytest.mark.parametrize("name", ["cumsum", "cummax"])
def test_cumulative_gradient(name):
    fn = jax.grad(lambda x: (CUMULATIVE[name](x, 1) ** 2).mean())
    check_parity(fn, normal(6, 30), placements=("ane",), tolerance=1e-2)


@pytest.mark.parametrize("combine", INITIAL, ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [LEAST_LONG - 1, LEAST_LONG, 16, 31])
@pytest.mark.parametrize(
    "options",
    [{}, {"window_strides": (3, 1)}, {"window_dilation": (2, 1)}, {"base_dilation": (3, 1)},
     {"padding": ((7, 2), (0, 1))}, {"padding": ((-2, 5), (1, -1)), "window_strides": (2, 2)}],
    ids=str,
)  # fmt: skip
def test_long_window(combine, size, options):
    x = data("cumprod" if combine is lax.mul else "", 70, 6)
    options = {"window_strides": (1, 1), "padding": "VALID", **options}
    check_parity(lambda x: lax.reduce_window(x, INITIAL[combine], combine, (size, 2), **options), x,
                 placements=("ane",))  # fmt: skip


def test_band_is_the_window_of_each_output():
    extent, size, stride, dilation, low, gap = 7, 3, 2, 2, 1, 1
    matrix = band(extent, 5, size, stride, dilation, low, gap)
    x = np.arange(1.0, extent + 1)
    spread = np.zeros(low + extent * (gap + 1) + 8)
    spread[low : low + extent * (gap + 1) : gap + 1] = x
    want = [sum(spread[o * stride + t * dilation] for t in range(size)) for o in range(5)]
    np.testing.assert_array_equal(x @ matrix, want)


@pytest.mark.parametrize("extent", [1, 2, 3, 7, 64, 100])
@pytest.mark.parametrize("axes", [0, 1, (0, 2), None])
def test_product_of_elements(extent, axes):
    x = near_one(3, extent, 2)
    few = axes is not None or x.size <= MAX_FACTORS
    check_parity(lambda x: jnp.prod(x, axes), x, placements=("ane",), on_ane=few)


def test_product_with_an_initial_value():
    x = 1 + normal(4, 6, scale=0.1)
    check_parity(lambda x: lax.reduce(x, np.float32(2.5), lax.mul, (1,)), x, placements=("ane",))


def test_axis_beside_one_too_long_for_a_matrix():
    """Merged, the axes around the summed one would be longer than the chip's longest."""
    x = normal(12, 200, 200)
    with jax_ane.config(placement="ane", chip="M1"):
        (program,) = jax_ane.explain(lambda x: lax.cumsum(x, 0), x).programs
        assert "matmul" not in program.text
        got = run(lambda x: lax.cumsum(x, 0), (x,), "ane", "ane")
    assert_close(got, [np.cumsum(x, 0)], 5e-3)
    with jax_ane.config(placement="ane"):
        assert "matmul" in jax_ane.explain(lambda x: lax.cumsum(x, 0), x).programs[0].text


def test_cumulative_sum_between_products_is_one_program():
    program = stablehlo_of(lambda x: jnp.cumsum(x @ x, 1) @ x, normal(16, 16))
    assert len(jax_ane.report.explain_program(program).programs) == 1
