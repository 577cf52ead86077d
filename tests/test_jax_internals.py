# SPDX-License-Identifier: Apache-2.0
"""Every private name of JAX that the package touches still exists, and only one module does it."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.extend.core
import pytest
from jax.interpreters import mlir

import jax_ane
from jax_ane import _jax_internals as internals


@pytest.mark.parametrize(
    ("module", "path"),
    [(m, p) for m, p, _ in internals.PRIVATE_NAMES],
    ids=lambda v: v,
)
def test_private_name_exists(module, path):
    assert internals.lookup(module, path) is not None, f"JAX no longer has {module}.{path}"


def test_missing_names_are_reported_in_words(monkeypatch):
    gone = ("jax._src.nowhere", "name", "something")
    monkeypatch.setattr(internals, "PRIVATE_NAMES", (*internals.PRIVATE_NAMES, gone))
    assert internals.missing() == ["jax._src.nowhere.name (something)"]


def test_required_name_that_is_gone_says_which():
    with pytest.raises(RuntimeError, match=r"jax\._src\.xla_bridge\.no_such_name"):
        internals._require("jax._src.xla_bridge", "no_such_name")


def test_no_other_module_touches_private_names():
    package = Path(jax_ane.__file__).parent
    private = re.compile(r"jax\._src|jaxlib\._jax\b|jaxlib\.xla_client|_mlir_libs")
    offenders = [
        str(path.relative_to(package))
        for path in sorted(package.rglob("*.py"))
        if path.name != "_jax_internals.py" and private.search(path.read_text())
    ]
    assert offenders == []


def test_callback_of_another_process_is_an_error():
    with pytest.raises(ValueError, match="another process"):
        internals.callback(10**9)


def test_rules_that_cpu_gets_later_are_those_of_ane(ane):
    """checkify and others register theirs when they are first imported."""
    primitive = jax.extend.core.Primitive("registered_after_the_device")
    primitive.def_abstract_eval(lambda value: value)
    mlir.register_lowering(primitive, lambda ctx, value: [value], platform="cpu")
    assert jax.jit(primitive.bind)(jax.device_put(3, ane)) == 3
