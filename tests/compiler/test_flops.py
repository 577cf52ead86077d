# SPDX-License-Identifier: Apache-2.0
"""FLOP counts against counts by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import records, stablehlo_of
from jax import lax


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


CASES = {
    "dot": ("dot_general", jnp.dot, (ones(3, 5), ones(5, 7)), 2 * 3 * 5 * 7),
    "dot_batch": ("dot_general", jnp.matmul, (ones(2, 3, 5), ones(2, 5, 7)), 2 * 2 * 3 * 5 * 7),
    "conv": (
        "convolution", lambda x, w: lax.conv(x, w, (1, 1), "VALID"),
        (ones(2, 3, 6, 6), ones(4, 3, 3, 3)), 2 * 2 * 4 * 4 * 4 * 27),
    "conv_grouped": (
        "convolution",
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID", feature_group_count=2),
        (ones(1, 4, 5, 5), ones(6, 2, 3, 3)), 2 * 6 * 9 * 18),
    "add": ("add", lambda x: x + x, (ones(4, 6),), 24),
    "reduce": ("reduce", jnp.sum, (ones(4, 6),), 24),
    "window": (
        "reduce_window", lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 3), (1, 1), "VALID"),
        (ones(4, 6),), 3 * 4 * 6),
    "transpose": ("transpose", jnp.transpose, (ones(4, 6),), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_flops(name):
    op, fn, args, want = CASES[name]
    assert records(stablehlo_of(fn, *args))[op].flops == want


def test_bytes_count_each_tensor_in_its_own_type():
    halves = ones(3, 5, dtype=np.float16), ones(5, 7, dtype=np.float16)
    found = records(stablehlo_of(jnp.dot, *halves))
    assert found["dot_general"].bytes == 2 * (15 + 35 + 21)
    mask = records(stablehlo_of(lambda x: x > x.T, ones(4, 4)))["compare"]
    assert mask.bytes == 2 * 64 + 16
