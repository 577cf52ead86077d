# SPDX-License-Identifier: Apache-2.0
"""The plugin's own tests look at the host engine: nothing goes to the ANE, so bits equal cpu's."""

import pytest

import jax_ane


@pytest.fixture(autouse=True)
def on_the_host():
    with jax_ane.config(placement="host"):
        yield
