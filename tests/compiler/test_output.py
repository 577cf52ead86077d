# SPDX-License-Identifier: Apache-2.0
"""What a compilation hands on: host module, placement records, reports, dumps."""

from __future__ import annotations

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from compiler_tools import stablehlo_of
from jax import lax

import jax_ane
from jax_ane.compiler import frontend, pipeline
from jax_ane.compiler.loading import TARGET

X = np.ones((8, 8), np.float32)


def program(x):
    y = jnp.sort(jnp.tanh(x @ x) @ x)
    return lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ x) @ x, y).sum()


def calls_in(text: str) -> int:
    return text.count(f"@{TARGET}")


def test_host_module_verifies_and_calls_each_cluster():
    compiled = pipeline.compile(stablehlo_of(program, X), load=False)
    module = frontend.parse(compiled.host_module)
    assert module.operation.verify()
    text = str(module)
    assert calls_in(text) == sum(compiled.placement.calls.values()) == 2
    assert "dot_general" not in text
    assert "stablehlo.sort" in text


def test_host_module_without_clusters_is_the_program():
    with jax_ane.config(placement="host"):
        compiled = pipeline.compile(stablehlo_of(program, X), load=False)
    text = str(frontend.parse(compiled.host_module))
    assert calls_in(text) == 0
    assert text.count("dot_general") == 4
    assert compiled.placement.programs == []


def test_without_clusters_the_functions_of_a_program_stay():
    """XLA fuses by how a program is written: inlined, it rounded two results otherwise than cpu."""

    @jax.jit
    def inner(x):
        return jnp.sort(x) + 1

    given = stablehlo_of(lambda x: inner(x) * inner(x + 1), X)
    compiled = pipeline.compile(given, load=False)
    assert str(frontend.parse(compiled.host_module)) == str(frontend.parse(given))
    assert "call @inner" in str(frontend.parse(given))


def test_custom_calls_are_row_major_on_every_side():
    text = str(frontend.parse(pipeline.compile(stablehlo_of(program, X), load=False).host_module))
    (line, *_) = (row for row in text.splitlines() if TARGET in row)
    assert "dense<[1, 0]>" in line
    assert "has_side_effect = true" not in line


def test_every_op_has_one_record():
    placed = pipeline.compile(stablehlo_of(program, X), load=False).placement
    assert all(op.placement in ("ane", "host") and op.reason.code for op in placed.ops)
    assert {op.region for op in placed.ops} >= {"main"}
    assert any("while" in op.region for op in placed.ops)
    named = {p.name for p in placed.programs}
    assert {op.program for op in placed.ops} == named | {None}
    dots = [op for op in placed.ops if op.op == "stablehlo.dot_general"]
    assert {op.placement for op in dots} == {"ane"}
    assert all(op.location.file == __file__ for op in dots)
    assert sum(op.flops for op in placed.ops) == placed.total_flops
    assert placed.ane_flops == sum(op.flops for op in placed.ops if op.placement == "ane")


def test_report_in_its_forms():
    report = jax_ane.explain(program, X)
    assert 0.5 < report.ane_flop_fraction < 1
    data = json.loads(json.dumps(report.to_dict()))
    assert len(data["ops"]) == len(report.ops)
    assert {p["name"] for p in data["programs"]} == {p.name for p in report.programs}
    assert "matrix product" in report.to_text()
    assert "<table>" in report.to_html()
    assert repr(report) == report.to_text()


def test_report_of_nothing():
    report = jax_ane.explain(lambda x: x, X)
    assert report.ane_flop_fraction == 0.0
    assert report.to_text()


def test_lower_and_save(tmp_path):
    lowered = jax_ane.lower(program, X)
    folder = lowered.save(tmp_path / "out")
    assert calls_in((folder / "host.mlir").read_text()) == 2
    for p in lowered.programs:
        assert (folder / p.name / "model.mil").read_text() == p.text
        assert jax_ane.mil.check(p.text, blobs=folder / p.name) == []


def test_constants_go_to_blobs_that_the_program_finds(tmp_path):
    table = np.arange(64, dtype=np.float32).reshape(8, 8) / 64
    lowered = jax_ane.lower(lambda x: jnp.tanh(x @ x * jnp.asarray(table)) @ x, X)
    folder = lowered.save(tmp_path)
    (p,) = lowered.programs
    assert p.blobs
    inputs = {f"a{i:03d}": X.reshape(1, -1) for i in range(len(p.inputs))}
    out = jax_ane.mil.run(p.text, inputs, blobs=folder / p.name)
    want = np.tanh(X @ X * table) @ X
    np.testing.assert_allclose(out["r000"].reshape(8, 8), want, rtol=1e-2)


def test_dump_reproduces(tmp_path, ane):
    with jax_ane.config(dump_dir=str(tmp_path)), jax.default_device(ane):
        jax.jit(lambda x: program(x) * 1.5)(X).block_until_ready()
    dumps = [d for d in tmp_path.iterdir() if list(d.glob("90_*"))]
    (dump,) = dumps
    assert {"00_program.mlirbc", "50_host.mlir", "README", "report.json"} <= {
        f.name for f in dump.iterdir()
    }
    assert all((d / "model.mil").is_file() for d in dump.glob("90_*"))
    told = json.loads((dump / "report.json").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "jax_ane", "explain", "00_program.mlirbc", "--json"],
        cwd=dump, capture_output=True, text=True, check=True,
    )  # fmt: skip
    again = json.loads(done.stdout)
    for key in ("ops", "ane_flops", "chip", "numerics"):
        assert again[key] == told[key], key
    assert [p["fingerprint"] for p in again["programs"]] == [
        p["fingerprint"] for p in told["programs"]
    ]
