# SPDX-License-Identifier: Apache-2.0
"""The fine-tuning example, shortened."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("flax", reason="the example's model is Flax's, which is not installed")
pytest.importorskip("sklearn", reason="the example's scans ship with scikit-learn")
SCRIPT = Path(__file__).parents[1] / "examples" / "finetune_digits.py"


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip


def test_a_new_head_learns_on_a_frozen_backbone(tmp_path):
    done = run(tmp_path, "--epochs", "3", "--checkpoint-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "conv2/kernel" in done.stdout and "trainable 66,954, frozen 74,496" in done.stdout
    assert done.stdout.count("0 skipped, 0 recompilations") == 3
    (tuned,) = re.findall(r": ([0-9.]+)% with the trained backbone", done.stdout)
    assert float(tuned) > 75
    again = run(tmp_path, "--epochs", "3", "--checkpoint-dir", tmp_path / "run")
    assert again.returncode == 0, again.stderr  # the run is complete: nothing is left to do
    assert f"{tuned}% with the trained backbone" in again.stdout


def test_no_epochs_are_refused(tmp_path):
    done = run(tmp_path, "--epochs", "0")
    assert done.returncode == 2 and "--epochs" in done.stderr
