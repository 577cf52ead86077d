# SPDX-License-Identifier: Apache-2.0
"""Registration: what a user of JAX sees, with and without trouble."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import pytest

from jax_ane import _plugin


def run_python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_PLATFORMS", "JAX_ANE_"))}
    env["JAX_ANE_CACHE_DIR"] = "off"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_cpu_stays_the_default():
    assert jax.default_backend() == "cpu"
    assert jax.devices()[0].platform == "cpu"


def test_device_names_itself(ane):
    assert repr(ane) == "AneDevice(id=0)"
    assert ane.platform == "ane"
    assert ane.device_kind == "Software ANE (M4)"
    assert ane.default_memory().kind == "device"
    assert [m.kind for m in ane.addressable_memories()] == [
        "device",
        "pinned_host",
        "unpinned_host",
    ]
    assert "jax-ane" in ane.client.platform_version


def test_initialize_twice_is_harmless():
    _plugin.initialize()
    _plugin.initialize()
    assert _plugin.findings == []


def test_idle_plugin_loads_no_compiler():
    done = run_python(
        "import sys, jax; jax.devices(); "
        "print([m for m in sys.modules if m.startswith(('flax', 'jax_ane.compiler', "
        "'jax_ane._host', 'jax_ane._native'))])"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("platforms", ["ane,cpu", "ane"])
def test_jax_platforms_makes_it_the_default(platforms):
    done = run_python(
        "import jax; print(jax.devices(), jax.numpy.ones(3).sum())", JAX_PLATFORMS=platforms
    )
    assert done.stdout.strip() == "[AneDevice(id=0)] 3.0", done.stderr


def test_callbacks_without_cpu_name_what_jax_needs():
    """JAX hands a callback its arguments on a device of cpu; it says so on any other platform."""
    done = run_python(
        "import jax\n"
        "try:\n    jax.debug.print('{}', jax.numpy.ones(3).sum()); jax.effects_barrier()\n"
        "except RuntimeError as error:\n    print(error)\n",
        JAX_PLATFORMS="ane",
    )
    assert 'Make sure "cpu" is listed' in done.stdout, done.stderr


def test_wrong_flag_leaves_cpu_working_and_names_the_choices():
    done = run_python(
        "import jax\n"
        "print(jax.numpy.ones(3).sum())\n"
        "try:\n    jax.devices('ane')\n"
        "except RuntimeError as error:\n    print(error)\n",
        JAX_ANE_NUMERICS="sloppy",
    )
    assert done.returncode == 0, done.stderr
    first, rest = done.stdout.split("\n", 1)
    assert first == "3.0"
    assert "JAX_ANE_NUMERICS" in rest and "exact, fast" in rest


@pytest.mark.parametrize(
    ("breakage", "reason"),
    [
        (
            "p._required_range = lambda: '>=0.10.2,<0.10.3' if jax.__version__ > '0.10.2' else "
            "'>=0.1,<0.2'",
            "jax-ane needs jax",
        ),
        ("p.library_path = lambda: None", "not installed for this Python"),
        ("p.library_path = lambda: __import__('pathlib').Path('/nowhere/lib.so')", "does not load"),
    ],
    ids=["range", "missing", "unloadable"],
)
def test_broken_plugin_leaves_cpu_working_and_says_why(breakage, reason):
    done = run_python(
        f"import jax\nimport jax_ane._plugin as p\n{breakage}\n"
        "print(jax.numpy.ones(3).sum())\n"
        "try:\n    jax.devices('ane')\n"
        "except RuntimeError as error:\n    print(error)\n"
        "assert len(p.findings) == 1, p.findings\nprint(p.findings)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3.0\n")
    assert done.stdout.count(reason) == 2, done.stdout + done.stderr
    assert done.stderr.count(reason) == 1


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("0.10.2", True),
        ("0.10.1", False),
        ("0.12.0.1", True),
        ("0.13.0", False),
        ("0.13.0.dev2027", False),
        ("0.11.0+local7", True),
    ],
)
def test_version_range(version, fits):
    assert _plugin._in_range(version, ">=0.10.2,<0.13") is fits
