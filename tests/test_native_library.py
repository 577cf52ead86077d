# SPDX-License-Identifier: Apache-2.0
"""The native library as a file: what it exports, and what its object files share."""

from __future__ import annotations

import ast
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from jax_ane import _native, _plugin

BUILD = Path(__file__).parents[1] / "build"
NM = shutil.which("nm")
needs_nm = pytest.mark.skipif(NM is None, reason="nm (binutils) is not installed")


def symbols(file: Path, *options: str) -> dict[str, str]:
    """Returns the defined symbols of a library or object file, with nm's letter for each."""
    assert NM is not None
    done = subprocess.run(
        [NM, "--defined-only", *options, str(file)], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    return {row[-1]: row[-2] for row in rows if len(row) >= 2}


@needs_nm
def test_library_exports_two_symbols():
    library = _plugin.library_path()
    assert library is not None
    assert {name.lstrip("_") for name in symbols(library, "-D")} == {
        "GetPjrtApi",
        "PyInit__native",
    }


@needs_nm
def test_kernels_for_an_instruction_set_share_no_code():
    # A weak symbol of such a file, an inline function say, may be the copy that the linker keeps
    # for every other file: its instructions would then run on machines that lack them. Unique
    # symbols (u) are data. In build/neon, for 64-bit Arm, these files are empty; the sanitized
    # builds run where they were built, and their checks keep functions from being inlined.
    others = {BUILD / "neon", BUILD / "sanitized", BUILD / "sanitized-clang"}
    objects = sorted(
        path
        for path in BUILD.glob("**/*.o")
        if path.name.endswith(("_avx2.cc.o", "_avx512.cc.o", "_amx.cc.o"))
        and others.isdisjoint(path.parents)
    )
    if not objects:
        pytest.skip(f"no object files of *_avx2.cc or *_avx512.cc below {BUILD}")
    for path in objects:
        weak = {name for name, letter in symbols(path).items() if letter in "WwVv"}
        assert weak - {"DW.ref.__gxx_personality_v0"} == set(), path
        assert any(letter == "T" for letter in symbols(path).values()), path


def test_package_data_is_installed():
    package = files("jax_ane")
    chips = [item.name for item in (package / "chips").iterdir() if item.name.endswith(".json")]
    assert "M4.json" in chips
    for name in ("compiler/constraints.json", "py.typed", "_native.pyi"):
        assert (package / name).is_file(), name


def test_stub_names_what_the_library_has():
    stub = ast.parse((files("jax_ane") / "_native.pyi").read_text())
    stated = {node.name for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    known = {name for name in dir(_native) if not name.startswith("_")}
    assert stated == known, "run: python -m nanobind.stubgen -m jax_ane._native -o _native.pyi"
