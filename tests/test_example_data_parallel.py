# SPDX-License-Identifier: Apache-2.0
"""`examples/data_parallel.py`, shortened: each run has its own number of devices."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the example's scans ship with scikit-learn")
pytest.importorskip("flax", reason="jax_ane.demo needs it")
SCRIPT = str(Path(__file__).parents[1] / "examples" / "data_parallel.py")


def number(pattern: str, text: str) -> float:
    (found,) = re.findall(pattern, text)
    return float(found)


def test_four_engines_do_what_one_does(python):
    done = python(SCRIPT, "--steps", "6", "--batch", "16")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert out.startswith("4 x Software ANE")
    assert number(r"a device: ([0-9.]+)% of", out) > 90
    assert "8 of 8 products and convolutions" in out
    evaluations = number(r"all devices: (\d+) evaluations", out)
    assert evaluations > 0 and evaluations % (4 * 6) == 0
    rows = re.findall(r"^ +(\d+) +([0-9.]+) +([0-9.]+) +([0-9.e+-]+)$", out, re.MULTILINE)
    assert [row[0] for row in rows] == ["1", "5", "6"]
    assert float(rows[0][3]) < 1e-6
    assert max(float(row[3]) for row in rows) < 1e-3
    assert "losses of the first step's examples: bit-equal" in out
    assert number(r"weights after 6 steps: apart by ([0-9.e+-]+);", out) < 2e-2
    assert "the devices' copies are bit-equal" in out


def test_the_same_code_runs_on_cpu(python):
    done = python(SCRIPT, "--steps", "3", "--batch", "16", "--devices", "2", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 x cpu")
    assert number(r"weights after 3 steps: apart by ([0-9.e+-]+);", done.stdout) < 1e-4


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["--batch", "10"], "cannot be split evenly over 4"), (["--steps", "0"], "at least 1")],
)
def test_the_command_line_is_checked(python, arguments, why):
    done = python(SCRIPT, *arguments)
    assert done.returncode == 2 and why in done.stderr
