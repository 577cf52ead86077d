# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may use: the two devices."""

from __future__ import annotations

import jax
import pytest


@pytest.fixture(scope="session")
def ane() -> jax.Device:
    """Returns the first ane device."""
    return jax.devices("ane")[0]


@pytest.fixture(scope="session")
def cpu() -> jax.Device:
    """Returns JAX's own CPU device."""
    return jax.devices("cpu")[0]
