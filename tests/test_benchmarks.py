# SPDX-License-Identifier: Apache-2.0
"""The model table's programs and the benchmarks that plan without running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optax", reason="the models train with optax, which is not installed")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TRAINED = sorted(
    path.stem
    for path in (BENCHMARKS / "models").glob("*.py")
    if "\ndef train_step_args" in path.read_text()
)


def test_the_model_table_has_all_models():
    assert len(TRAINED) == 12
    assert {"gpt2", "llama", "resnet", "vit", "diffusion"} <= set(TRAINED)


def run(folder, *arguments):
    """Runs Python in `folder`, with the benchmarks' modules at hand."""
    paths = (str(BENCHMARKS), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, cwd=folder, env=environment, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["mlp", "gru", "gpt2-decode"])
def test_placement_meets_its_bounds(name, tmp_path):
    done = run(tmp_path, BENCHMARKS / "placement.py", "--plan", "--json", "--only", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])


def test_gradients_of_the_small_transformer_are_within_the_bound(tmp_path):
    done = run(tmp_path, BENCHMARKS / "placement.py", "--json", "--size", "small",
               "--only", "gpt2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    distances = [row["distance"] for row in rows if row.get("distance") is not None]
    assert len(distances) == 3
    assert max(distances) < 5e-3


@pytest.mark.parametrize("name", ["mlp", "lstm", "transformer, LoRA"])
def test_training_is_that_of_float32(name, tmp_path):
    done = run(tmp_path, BENCHMARKS / "train.py", "--check", "--json", "--steps", 20,
               "--only", name)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert row["name"] == name and row["last"] < row["first"] and row["recompiled"] == 0


def test_training_speed_is_measured_on_all_three(tmp_path):
    done = run(tmp_path, BENCHMARKS / "train_speed.py", "--small", "--json", "--rounds", 2,
               "--only", "Stories")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert row["name"].startswith("Stories-110M")
    assert min(row["plain_s"], row["guarded_s"], row["cpu_s"]) > 1e-4
    assert min(row["plain_gib"], row["cpu_gib"]) > 0.05


def test_explain_takes_a_model_of_the_table(tmp_path):
    page = tmp_path / "out.html"
    file = BENCHMARKS / "models" / "mlp.py"
    done = run(tmp_path, "-m", "jax_ane", "explain", f"{file}:train_step", "--html", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 program(s)" in done.stdout
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_the_pass_table_shows_what_a_pass_does(tmp_path):
    """One softmax in the forward pass of a small decoder, two variants of its programs."""
    done = run(
        tmp_path, BENCHMARKS / "passes.py", "--only=gpt2-decode", "--pass=raise_softmax",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *table, data = done.stdout.splitlines()
    effects = json.loads(data)
    assert {e["name"] for e in effects} == {"raise_softmax"}  # no gradient in this model
    (effect,) = effects
    assert effect["plan"]["mil_ops"] < effect["without"]["mil_ops"]
    assert effect["plan"]["estimate_s"] < effect["without"]["estimate_s"]
    assert 0 < effect["distance"] < 5e-3
    assert effect["distance"] == effect["distance_without"]  # the same bits
    assert effect["time_ratio"] > 0
    rows = {line.split("|")[1].strip(): line for line in table[2:]}
    assert set(rows) == {"`raise_softmax`", "`raise_softmax_gradient`"}
    assert (
        f"{effect['plan']['mil_ops']} → {effect['without']['mil_ops']}" in rows["`raise_softmax`"]
    )
    assert rows["`raise_softmax_gradient`"].startswith("| `raise_softmax_gradient` | 0 |")


def test_the_pass_table_has_every_pass():
    done = run(
        BENCHMARKS, "-c",
        "import passes; from jax_ane.compiler import passes as ours; "
        "assert passes.NAMES == (*(p.name for p in ours.PIPELINE), *sorted(ours.AROUND))",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_means_of_the_pass_table():
    """Ratios are averaged by their logarithms, and the model that stands out is named."""
    code = """
import math
from passes import Effect, Plan, line, row
plan = lambda ops: Plan({"a": 1}, ops, 1e-3)
made = [
    Effect("m", "outputs", "p", plan(10), plan(20), 1e-3, 4e-3, 2.0),
    Effect("n", "outputs", "p", plan(1), plan(2), 1e-3, 1e-3, 0.5),
    Effect("n", "gradients", "q", plan(1), plan(2), 1e-3, 1e-3, 1.0),
]
values = row("p", made)
assert values["models"] == ["m", "n"] and values["mil_ops"] == (11, 22)
assert math.isclose(values["outputs"]["mean"], 2.0) and values["outputs"]["model"] == "m"
assert values["gradients"] is None and math.isclose(values["time_ratio"], 1.0)
assert line(values) == "| `p` | 2 | 11 → 22 | 2 → 2 | 2.00 → 2.00 | 2 (4 m) |  | 1.000 |"
assert line(row("r", made)) == "| `r` | 0 | | | | | | |"
"""
    done = run(BENCHMARKS, "-c", code)
    assert done.returncode == 0, done.stderr


def test_dispatch_is_measured_step_by_step(tmp_path):
    done = run(tmp_path, BENCHMARKS / "dispatch.py", "--json", "--seconds", 0.5)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [(r["inputs"], r["outputs"]) for r in rows] == [(1, 1), (10, 10), (450, 450), (450, 1)]
    for row in rows:
        assert 0 < row["host_us"] < row["ane_us"] and 0.5 < row["ratio"] < 5


def test_a_warm_start_is_shorter_than_a_cold_one(tmp_path):
    done = run(tmp_path, BENCHMARKS / "warm_start.py", "--small", "--rounds", 1, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["cache"] for row in rows] == ["jax", "jax-ane"]
    assert all(row["ratio"] < 0.5 and row["mib"] > 0.01 for row in rows)
