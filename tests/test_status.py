# SPDX-License-Identifier: Apache-2.0
"""info, stats and doctor: what they say when all is well, and when something is broken."""

from __future__ import annotations

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ane
from jax_ane import _jax_internals, _plugin

# A program that shows that JAX works without the device, and what doctor says of it.
BROKEN = """
import json, jax
{breakage}
assert float(jax.numpy.ones(3).sum()) == 3.0
assert jax.default_backend() == "cpu"
try:
    jax.devices("ane")
    reason = ""
except RuntimeError as error:
    reason = str(error)
import jax_ane
findings = [f for f in jax_ane.doctor() if f.level == "fatal"]
print(json.dumps([reason, [[f.text, f.fix] for f in findings]]))
"""
BREAKAGES = {
    "library missing": (
        "import jax_ane._plugin as p; p.library_path = lambda: None\n"
        "import sys; sys.modules['jax_ane._native'] = None",
        {}, "native library", "reinstall",
    ),
    "library that does not load": (
        "import pathlib, jax_ane._plugin as p\n"
        "pathlib.Path('broken.so').write_bytes(b'not a library')\n"
        "p.library_path = lambda: pathlib.Path('broken.so').absolute()",
        {}, "broken.so does not load", "reinstall",
    ),
    "jax out of range": (
        "import jax_ane._plugin as p; p._required_range = lambda: '>=99.0,<100'",
        {}, "jax-ane needs jax>=99.0,<100", "pip install",
    ),
    "wrong value": ("", {"JAX_ANE_PLACEMENT": "moon"}, "auto, ane, host", "choices"),
    "no such engine": ("", {"JAX_ANE_DEVICE": "apple"}, "JAX_ANE_DEVICE=apple", "unset"),
}  # fmt: skip


@pytest.mark.parametrize("case", BREAKAGES)
def test_jax_works_and_doctor_says_why(python, case):
    breakage, environ, why, fix = BREAKAGES[case]
    done = python("-c", BROKEN.format(breakage=breakage), **environ)
    assert done.returncode == 0, done.stderr
    reason, findings = json.loads(done.stdout)
    assert why in reason, "jax.devices('ane') must give the reason"
    assert findings, done.stderr
    assert any(why in text for text, _ in findings), findings
    assert any(fix in remedy for _, remedy in findings), findings


def test_doctor_finds_nothing_wrong_here():
    findings = jax_ane.doctor()
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert all(finding.text and not finding.fix for finding in findings)


def test_doctor_puts_the_worst_first(monkeypatch):
    monkeypatch.setenv("JAX_ANE_NUMERIC", "fast")
    gone = ("jax._src.nowhere", "name", "nothing much")
    monkeypatch.setattr(_jax_internals, "PRIVATE_NAMES", (*_jax_internals.PRIVATE_NAMES, gone))
    monkeypatch.setattr(_plugin, "version_problem", lambda: "jax 1 is installed")
    levels = [finding.level for finding in jax_ane.doctor()]
    assert levels == sorted(levels, key=["fatal", "warning", "ok"].index)
    assert levels[0] == "fatal" and levels.count("warning") == 2


def test_doctor_notices_a_wrong_product(monkeypatch):
    monkeypatch.setattr(jnp, "dot", lambda a, b: np.zeros((4, 4), np.float32))
    (finding,) = [f for f in jax_ane.doctor() if f.level == "fatal"]
    assert "product is wrong" in finding.text


def test_finding_prints_its_fix():
    finding = jax_ane.doctor()[0]
    assert str(finding) == f"[ok] {finding.text}"
    broken = type(finding)("fatal", "it broke", "mend it")
    assert str(broken) == "[fatal] it broke\n    do: mend it"


def test_info_shows_versions_engine_and_flags():
    info = jax_ane.info()
    values = info.to_dict()
    assert values["jax"] == jax.__version__
    assert values["python"] == ".".join(map(str, sys.version_info[:3]))
    assert values["engine"] == "Software ANE (M4)"
    assert "macOS" in values["engine_why"] or "bridge" in values["engine_why"]
    assert values["isa"] in ("scalar", "avx2", "avx512", "amx", "neon")
    assert values["memory"].endswith(" GiB")
    assert values["program_cache"].startswith("in memory, ")
    assert values["flags_off_default"] == {"cache_dir": "off"}  # as conftest sets it
    assert values["disk_cache"] == "off"
    for name, value in values.items():
        assert f"{name} " in repr(info) and str(value) in repr(info)
        assert f"<td>{name}</td>" in info._repr_html_()
    with jax_ane.config(numerics="fast"):
        off = {"cache_dir": "off", "numerics": "fast"}
        assert jax_ane.info().to_dict()["flags_off_default"] == off


def test_stats_count_compilations_evaluations_and_bytes(ane):
    x = jax.device_put(np.ones((96, 96), np.float32), ane)
    product = jax.jit(lambda v: jnp.sort(jnp.tanh(v @ v)))
    jax_ane.reset_stats()
    product(x).block_until_ready()
    first = jax_ane.stats()
    assert first.compilations == 1
    assert first.programs_compiled == 1
    assert first.evaluations == 1
    assert first.bytes_in >= 2 * 96 * 96 and first.bytes_out >= 2 * 96 * 96
    assert sum(first.host_fallbacks.values()) >= 1
    for _ in range(3):
        product(x).block_until_ready()
    then = jax_ane.stats()
    assert (then.compilations, then.programs_compiled) == (1, 1), "a hot call compiles nothing"
    assert then.evaluations == 4
    assert then.bytes_in == 4 * first.bytes_in


def test_equal_programs_are_compiled_once(ane):
    x = jax.device_put(np.ones((80, 80), np.float32), ane)
    first, second = (jax.jit(lambda v, n=n: (v @ v, v.sum() + n)) for n in range(2))
    first(x)
    jax_ane.reset_stats()
    second(x)
    stats = jax_ane.stats()
    assert (stats.compilations, stats.programs_compiled, stats.program_cache_hits) == (1, 0, 1)


def test_reset_makes_every_counter_zero(ane):
    x = jax.device_put(np.ones((72, 72), np.float32), ane)
    held = jax.jit(lambda v: v @ v)
    held(x)
    assert jax_ane.stats().evaluations > 0
    jax_ane.reset_stats()
    stats = jax_ane.stats()
    assert (stats.compilations, stats.programs_compiled, stats.program_cache_hits) == (0, 0, 0)
    assert (stats.evaluations, stats.bytes_in, stats.bytes_out) == (0, 0, 0)
    assert stats.host_fallbacks == {}
    held(x)
    assert jax_ane.stats().evaluations == 1


def test_stats_survive_json():
    data = jax_ane.stats().to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data.keys() >= {"programs_compiled", "evaluations", "host_fallbacks", "programs"}


def test_totals_do_not_fall_when_a_program_is_dropped(ane):
    import gc

    def run_once():
        with jax.default_device(ane):
            jax.jit(lambda x: x @ x * 3.0)(jnp.ones((37, 37))).block_until_ready()

    jax_ane.reset_stats()
    run_once()
    before = jax_ane.stats().evaluations
    jax.clear_caches()
    gc.collect()
    assert before >= 1
    assert jax_ane.stats().evaluations == before
    run_once()
    assert jax_ane.stats().evaluations == before + 1
