# SPDX-License-Identifier: Apache-2.0
"""`examples/plot_runs.py`: reading logs, smoothing, comparing, drawing."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def plot_runs(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    sys.modules.pop("plot_runs", None)
    import plot_runs

    return plot_runs


@pytest.fixture
def log(tmp_path):
    def write(name, losses, first=0):
        lines = [json.dumps({"step": first + i, "loss": loss}) for i, loss in enumerate(losses)]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(['{"config": {}}', *lines, '{"summary": {}}']) + "\n")
        return path

    return write


def test_smoothing_is_the_mean_of_a_window_that_ends_at_the_step(plot_runs):
    run = plot_runs.Run("a", np.arange(5), np.array([1.0, 2.0, 6.0, 3.0, 0.0]))
    assert run.smoothed(3).tolist() == [1.0, 1.5, 3.0, 11 / 3, 3.0]
    assert run.smoothed(1).tolist() == run.losses.tolist()
    assert run.smoothed(99).tolist() == [1.0, 1.5, 3.0, 3.0, 2.4]


def test_largest_difference_is_told_with_its_step(plot_runs, log, capsys):
    """Outside the range, and where only one run has steps, nothing is compared."""
    ours, theirs = np.full(40, 2.0), np.full(50, 2.0)
    ours[0], ours[30], theirs[45] = 9.0, 2.1, 7.0
    arguments = [str(log("ours", ours)), str(log("theirs", theirs))]
    assert plot_runs.main([*arguments, "--compare", "10", "48", "--window", "2"]) == 0
    assert capsys.readouterr().out == (
        "ours against theirs: 2.500% at most, at step 30, over 30 steps\n"
    )


def test_a_step_that_comes_twice_counts_as_the_later(plot_runs, log):
    path = log("run", [5.0, 4.0, 3.0])
    path.write_text(path.read_text() + '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.0}\n')
    run = plot_runs.read(path)
    assert (run.steps.tolist(), run.losses.tolist()) == ([0, 1, 2], [5.0, 2.5, 2.0])


def test_a_run_that_diverged_is_not_close_to_anything(plot_runs, log):
    bad = plot_runs.read(log("bad", [2.0, None, 2.0]))
    good = plot_runs.read(log("good", [2.0, 2.0, 2.0]))
    assert math.isnan(bad.losses[1])
    far = plot_runs.compare(bad, good, 0, 2, 1)
    assert math.isnan(far.relative) and far.step == 1


def test_one_bad_step_does_not_spoil_the_windows_without_it(plot_runs):
    run = plot_runs.Run("a", np.arange(5), np.array([1.0, math.nan, 2.0, 4.0, 6.0]))
    assert np.array_equal(run.smoothed(2), [1.0, math.nan, math.nan, 3.0, 5.0], equal_nan=True)


def test_curves_are_drawn(plot_runs, log, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "plot.svg"
    logs = [str(log("first", [3.0, 2.0])), str(log("second", [3.0, 2.5]))]
    assert plot_runs.main([*logs, "--out", str(out)]) == 0
    text = out.read_text()
    assert "<svg" in text
    assert all(name in text for name in ("first", "second"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("not json\n", "line 1"),
        ('{"step": 0, "loss": "x"}\n', "line 1"),
        ('{"step": 3}\n', "no line has a step and a loss"),
        ("", "no line has a step and a loss"),
    ],
)
def test_other_files_are_not_read(plot_runs, tmp_path, capsys, content, why):
    path = tmp_path / "other.jsonl"
    path.write_text(content)
    assert plot_runs.main([str(path)]) == 2
    error = capsys.readouterr().err
    assert "other.jsonl is not a log" in error and why in error and "\n  do: " in error


def test_runs_without_a_shared_step_are_not_compared(plot_runs, log, capsys):
    logs = [str(log("a", [1.0])), str(log("b", [1.0], first=5))]
    assert plot_runs.main([*logs, "--compare", "0", "9"]) == 2
    assert "they share no step from 0 to 9" in capsys.readouterr().err


def test_missing_log_is_a_usage_error(plot_runs, tmp_path, capsys):
    assert plot_runs.main([str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err
