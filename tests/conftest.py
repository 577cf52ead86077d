# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may use: the two devices, faults, and Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest

# Subprocesses import the installed package, not the source tree that pytest may stand in.
os.environ["PYTHONSAFEPATH"] = "1"
# Tests compile what they test, and leave nothing in the user's cache.
os.environ["JAX_ANE_CACHE_DIR"] = "off"

RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def ane() -> jax.Device:
    """Returns the first ane device."""
    return jax.devices("ane")[0]


@pytest.fixture(scope="session")
def cpu() -> jax.Device:
    """Returns JAX's own CPU device."""
    return jax.devices("cpu")[0]


@pytest.fixture
def faults(ane: jax.Device) -> Iterator[Callable[[str], None]]:
    """Sets a plan of faults for programs compiled in the test."""
    from jax_ane import _native  # not before a test asks: some ask what importing jax imports

    yield _native.set_faults
    _native.set_faults("")


@pytest.fixture
def python(tmp_path: Path) -> RunPython:
    """Returns a function that runs the interpreter in an empty folder.

    Its arguments are the interpreter's; keyword arguments are environment variables, and those
    that steer JAX or jax-ane are unset otherwise.
    """

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        steering = ("JAX_PLATFORMS", "JAX_ANE_", "XLA_FLAGS")
        env = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
        env["XDG_CACHE_HOME"] = str(tmp_path / "caches")
        return subprocess.run(
            [sys.executable, *arguments],
            env=env | environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
