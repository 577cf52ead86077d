# SPDX-License-Identifier: Apache-2.0
"""Small clusters beside a program's main work go to the host; the main work never does."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from parity_tools import assert_close, normal, run

import jax_ane

X, SMALL = normal(256, 256) / 16, normal(8, 8, seed=1)


def both(x, small):
    """A product of 33 MFLOP, and one of a thousand FLOPs that only a sort could lead to."""
    return x @ x, jnp.sort(small) @ small


def products(fn, *args, placement="auto"):
    with jax_ane.config(placement=placement):
        report = jax_ane.explain(fn, *args)
    return [op for op in report.placement.ops if op.op == "stablehlo.dot_general"]


def test_a_small_product_beside_a_large_one_is_the_hosts():
    large, small = products(both, X, SMALL)
    assert (large.placement, large.reason.code) == ("ane", "heavy")
    assert (small.placement, small.reason.code) == ("host", "cost")
    assert " ms" in small.reason.text and "place" in small.reason.remedy
    got, want = (run(both, (X, SMALL), device) for device in ("ane", "cpu"))
    assert_close(got[0], want[0], 1e-2)
    np.testing.assert_array_equal(got[1], want[1])


def test_a_small_product_alone_stays():
    (small,) = products(lambda small: jnp.sort(small) @ small, SMALL)
    assert small.placement == "ane"


def test_what_the_user_placed_stays():
    assert all(op.placement == "ane" for op in products(both, X, SMALL, placement="ane"))

    def placed(x, small):
        with jax_ane.place("ane"):
            y = jnp.sort(small) @ small
        return x @ x, y

    assert all(op.placement == "ane" for op in products(placed, X, SMALL))


def test_a_part_that_takes_the_host_longer_stays():
    """Two of 134 MFLOP among a hundred: less than 1 % each, and ten times a call's time."""
    x, large = np.ones((512, 512), np.float32), np.ones((4096, 4096), np.float32)

    def fn(x, large):
        return large @ large, jnp.sort(x) @ x

    assert [op.placement for op in products(fn, x, large)] == ["ane", "ane"]


def test_small_products_in_a_loop_stay():
    def fn(x, small):
        return x @ x, lax.fori_loop(0, 100, lambda i, h: jnp.tanh(jnp.sort(h) @ small), small)

    assert all(op.placement == "ane" for op in products(fn, X, SMALL))
