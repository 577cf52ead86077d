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
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
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


def test_explain_takes_a_model_of_the_table(tmp_path):
    page = tmp_path / "out.html"
    file = BENCHMARKS / "models" / "mlp.py"
    done = run(tmp_path, "-m", "jax_ane", "explain", f"{file}:train_step", "--html", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 program(s)" in done.stdout
    assert page.read_text().startswith("<!DOCTYPE html>")
