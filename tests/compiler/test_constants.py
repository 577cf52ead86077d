# SPDX-License-Identifier: Apache-2.0
"""Constants of types that NumPy itself lacks are nobody's business in the compiler."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ane


@pytest.mark.parametrize("placement", ["auto", "ane"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4", "complex64"])
def test_array_times_a_constant_of_its_own_type(ane, dtype, placement):
    value = np.arange(1, 7).reshape(2, 3).astype(jnp.dtype(dtype))
    with jax_ane.config(placement=placement), jax.default_device(ane):
        got = np.asarray(jax.jit(lambda v: v * v.dtype.type(2))(value))
    assert got.tobytes() == (value * value.dtype.type(2)).tobytes()
